/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the placement (place*.c) share; nothing of it is for others. */
#pragma once

#include <inttypes.h>

#include "place.h"
#include "place_search.h"
#include "sbuf.h"

/* Domains that float over the same CPUs. */
struct place_crowd {
	const struct idset *set;
	unsigned int n_cpus; /* online ones in it */
	uint64_t load;       /* their vCPUs per CPU, in thousandths */
};

/* A huge page pool of a node, as seen from this request. HOST_UNKNOWN: not known. */
struct place_pool {
	uint64_t ready; /* pages that nobody uses or has claimed and that the limits allow */
	uint64_t room;  /* those, and what can be added */
};

/* One node as a candidate. */
struct place_node {
	const struct host_node *node;
	struct idset cpus;     /* CPUs that vCPUs of this request may get here */
	unsigned int n_cpus;
	int mem_index;         /* of the node its memory comes from: itself, or the nearest with memory; -1: none */
	uint64_t memory;       /* bytes of ordinary memory a guest can get here; HOST_UNKNOWN: not known */
	uint64_t growable;     /* bytes by which its pools may grow */
	struct place_pool pools[HOST_POOLS_MAX]; /* as node->pools */
};

/* One combination of demands that is tried; place_steps() gives them in order of preference. */
struct place_step {
	uint64_t page_size; /* 0: ordinary pages */
	bool memory;        /* it has to fit */
	bool spread;        /* over several nodes; else on one */
	bool ready;         /* of huge pages that are there: none is added */
};
#define PLACE_STEPS_MAX 12

struct place_ctx {
	const struct host *h;
	const struct place_request *q;
	const struct ledger *l;
	const char *self;
	struct placement *p;

	struct idset cpus;     /* q->cpus cut to online; all online ones where there is no (usable) restriction */
	struct idset held;     /* claimed by others */
	struct idset avoid;    /* the owner's lists for emulator and I/O threads: no dedicated CPU if possible */
	struct idset kept;     /* of the core that stays with the host, what dedicated vCPUs could otherwise get */
	struct idset blocked;  /* held, exclusive, reserved, kept, pinned by this very domain, or to be avoided */
	struct idset free;     /* online, not blocked */
	struct idset *pins;    /* n_vcpus sets, empty: that vCPU is not pinned; NULL: none is */
	unsigned int n_pinned;
	struct idset pinned;   /* CPUs claimed for pins */

	struct place_node *nodes;   /* as h->nodes */
	struct place_crowd *crowds; /* scratch, one per floater at most */
	uint64_t *loads;            /* per h->cpus[]: floating vCPUs on it, in thousandths */
	uint64_t *node_loads, *room, *ready, *want; /* per h->nodes[]: the search's inputs; scratch */

	bool dedicated;        /* what is being placed now: one CPU per vCPU, or floating ones */
	unsigned int need;     /* vCPUs that are not pinned */
	bool extra;            /* one further CPU for emulator or I/O threads */
	int extra_cpu;         /* that one; -1 */

	/* The guest as the search sees it (place_guest.c). */
	struct search_part parts[SEARCH_PARTS_MAX];
	unsigned int n_parts;
	unsigned int *order;   /* n_vcpus: the vCPUs of all parts, in order */
	int *cpu;              /* the CPU of each of them (and of the further one) */
	bool in_cells;         /* parts are the guest's cells */
	bool whole_cores;      /* some guest core has all its threads in one part */
	unsigned int *vcpu_cell;  /* n_vcpus: the cell of each */
	struct idset *cell_nodes; /* q->n_cells: where the memory of each goes */

	struct search search;         /* the last one that found something; n_parts 0: none has */
	struct search_result found;

	struct place_step step; /* the one that was met */
	struct idset memory_nodes; /* where memory has to be or is: q->home, or q->nodes as far as they have memory */
	struct idset page_nodes;   /* where memory goes if no vCPU is placed; else empty */

	/* Floating sets by number, until they are settled at the end; -1: none. */
	int *vcpu_floater;     /* n_vcpus */
	int emulator_floater, iothreads_floater;
};

/* place.c */

/* Recompute what may be given; to be called after held, pinned, avoid or cpus changed. */
void place_refresh(struct place_ctx *c);
bool place_vcpu_is_online(const struct place_ctx *c, unsigned int vcpu);
bool place_vcpu_is_pinned(const struct place_ctx *c, unsigned int vcpu);
struct idset place_all_pins(const struct place_ctx *c);
/* online, neither reserved nor in somebody else's exclusive cpuset: shared, were nothing claimed. */
struct idset place_sharable(const struct place_ctx *c);

/* place_dedicated.c */

/* 0: placed; -ENOSPC: impossible, the message is there; -ENOMEM. */
int place_dedicated(struct place_ctx *c);

/* place_float.c */

/* Floating vCPUs. 0 (also with nothing but an unmet demand) or -ENOMEM. */
int place_floating(struct place_ctx *c);
/* The floater of these threads, a new one unless there is the same already: its number, or -ENOMEM. */
int place_add_floater(struct place_ctx *c, const struct idset *home, const struct idset *limit, unsigned int vcpus);
/* Once all claims and floaters are known: where each floats, into it and into everything that belongs to it. */
void place_settle_floaters(struct place_ctx *c);

/* place_cpu.c: CPUs beside those of the vCPUs. */

/* What of the core that stays with the host would be free; see there. */
struct idset place_kept(const struct place_ctx *c);
/*
 * One further CPU, claimed, for emulator or I/O threads: of `near` if there is one, else of whatever is free. It is
 * added to *claim. -1, with a message, if there is none.
 */
int place_claim_extra(struct place_ctx *c, const struct idset *near, struct idset *claim);
/* Whether the policy lets this domain claim these CPUs. */
bool place_within_limit(const struct place_ctx *c, const struct idset *claim);

/* place_guest.c: the guest's own topology. */

/* Fill c->vcpu_cell. */
void place_guest_init(struct place_ctx *c);
/* The guest as one part: c->parts, c->order. */
void place_guest_whole(struct place_ctx *c);
/* The same by its cells; false: it has none that could be told apart here. */
bool place_guest_cells(struct place_ctx *c);
/* Where each cell's memory goes, from c->found (if `searched`) and the pins. */
void place_guest_settle(struct place_ctx *c, bool searched);
/* What guest and host say differently of cells and threads, with the fix. */
void place_guest_notes(struct place_ctx *c);
/* Whether two of the vCPUs that were placed are on one core. */
bool place_guest_has_siblings(const struct place_ctx *c);

/* place_node.c: nodes. */

/* Fill c->nodes for what is being placed. */
void place_nodes_init(struct place_ctx *c);
/* What floats where: c->loads. Before the rest where vCPUs float. */
void place_loads_init(struct place_ctx *c);
/* Floating vCPUs per CPU on these CPUs, in thousandths. */
uint64_t place_load(struct place_ctx *c, const struct idset *cpus);
/* Nodes (and CPUs) for the first step that can be met: c->step, c->search, c->found, c->cpu. 0, -ENOSPC, -ENOMEM. */
int place_find(struct place_ctx *c);
/* vCPUs that fit on node i by the request's threads rule. */
unsigned int place_capacity(const struct place_ctx *c, unsigned int i);
struct idset place_nodes_of(const struct host *h, const struct idset *cpus);

/* place_mem.c: memory and pages. */

unsigned int place_steps(const struct place_ctx *c, struct place_step steps[PLACE_STEPS_MAX]);
void place_memory_nodes_init(struct place_ctx *c);
/* Fill memory and pages of c->nodes. 0 or -ENOMEM. */
int place_memory_init(struct place_ctx *c);
/* Memory nodes that go with these CPU nodes. */
struct idset place_memory_nodes(const struct place_ctx *c, const struct idset *cpu_nodes);
/* Bytes of ordinary memory that a guest can still get on a node. */
uint64_t place_node_memory(const struct place_ctx *c, const struct host_node *n);
/* Its pool of a size; one without pages if it has none. */
struct place_pool place_node_pool(const struct place_ctx *c, const struct host_node *n, uint64_t size);
/* What a step may take of node i, in bytes or pages; *ret_ready: without anything being added. */
uint64_t place_step_room(const struct place_ctx *c, const struct place_step *step, unsigned int i, uint64_t *ret_ready);
/* Whether the guest's memory fits on these nodes: its cells where they are settled, else split evenly. */
bool place_memory_fits(const struct place_ctx *c, const struct place_step *step, const struct idset *memory_nodes);
/* The nodes are settled (c->p->nodes): into c->step which step the memory meets there. */
void place_settle_step(struct place_ctx *c);
/* Whether the guest, and each of its cells, is a whole number of such pages. */
bool place_is_multiple(const struct place_request *q, uint64_t size);
uint64_t place_default_page_size(const struct host *h);
/* Once the nodes are known: memory nodes, pages, claims, reasons. 0 or -ENOMEM. */
int place_memory(struct place_ctx *c);

/* place_pages.c: huge pages of nodes that are settled. */

/* Claims of pages for the step that was met, or of the definition's own <hugepages>; p->page_size, thp, why_pages. */
int place_pages(struct place_ctx *c, const struct idset *nodes);
/* Units of guest memory per node: c->want. size: bytes per unit, 0: bytes. */
void place_want(const struct place_ctx *c, uint64_t size, const struct idset *nodes);
/* Claim what c->want says. 0 or -ENOMEM. */
int place_claim_wanted(struct place_ctx *c, uint64_t size);
int place_add_claim(struct place_ctx *c, int node, uint64_t size, uint64_t count);

/* place_words.c: sentences. */

const char *place_page_name(uint64_t size, char *buf, size_t len); /* "2M", "1G", "64K" */
void place_add_bytes(struct sbuf *b, uint64_t bytes);               /* "512 MiB" */
void place_add_list(struct sbuf *b, const struct idset *s);         /* "0-3,8", cut after some 60 characters */
/* A clause into a fixed buffer, cut where it is too long. */
void place_say(char *buf, size_t size, const char *fmt, ...) PRINTF(3, 4);
/* Into why_nodes: what the search found, and what decided (place_search_why_nodes()). */
void place_say_nodes(struct place_ctx *c);
/* "(4 held by db1, 2 reserved)" of these CPUs; nothing if there is nothing to say. */
void place_add_holders(struct sbuf *b, const struct place_ctx *c, const struct idset *among);
/* The same for huge pages of this size (0: bytes of memory) on these nodes. */
void place_add_page_holders(struct sbuf *b, const struct place_ctx *c, uint64_t size, const struct idset *nodes);
/* The claim with most of these CPUs, NULL if there is none. */
const struct claim *place_top_holder(const struct place_ctx *c, const struct idset *among);
/* A name of somebody else's domain, fit for one line of text. */
void place_add_name(struct sbuf *b, const char *name);
void place_unmet(struct place_ctx *c, struct sbuf *b); /* takes the text */
void place_note(struct place_ctx *c, struct sbuf *b);

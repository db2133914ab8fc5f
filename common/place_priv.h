/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the placement (place*.c) share; nothing of it is for others. */
#pragma once

#include <inttypes.h>

#include "place.h"
#include "sbuf.h"

/* One core, as seen from a set of CPUs that is looked at. */
struct place_core {
	unsigned int total;      /* online siblings */
	unsigned int blocked;    /* of them, those in place_ctx.blocked */
	unsigned int first;      /* its lowest CPU */
	int l3, kind;
	unsigned int count;      /* siblings in the set */
	unsigned int take;       /* vCPUs it gets */
	unsigned int group_room; /* vCPUs that its L3 group could get */
};

/* Domains that float over the same CPUs. */
struct place_crowd {
	const struct idset *set;
	unsigned int n_cpus; /* online ones in it */
	uint64_t load;       /* their vCPUs per CPU, in thousandths */
};

/* One node as a candidate. */
struct place_node {
	const struct host_node *node;
	struct idset cpus;     /* CPUs that vCPUs of this request may get here */
	unsigned int capacity; /* vCPUs that fit on them, by the threads rule */
	int mem_index;         /* of the node its memory comes from: itself, or the nearest with memory; -1: none */
	uint64_t memory;       /* bytes of ordinary memory a guest can get here; HOST_UNKNOWN: not known */
	uint64_t pages[HOST_POOLS_MAX]; /* pages of node->pools[] a guest can get here; HOST_UNKNOWN */
	uint64_t load;         /* floating vCPUs per shared CPU, in thousandths */
};

/* One combination of demands that is tried; place_steps() gives them in order of preference. */
struct place_step {
	uint64_t page_size; /* 0: ordinary pages */
	bool memory;        /* it has to fit */
	bool spread;        /* over several nodes; else on one */
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
	struct idset blocked;  /* held, or reserved, or pinned by this very domain, or to be avoided */
	struct idset free;     /* online, not blocked */
	struct idset *pins;    /* n_vcpus sets, empty: that vCPU is not pinned; NULL: none is */
	unsigned int n_pinned;
	struct idset pinned;   /* CPUs claimed for pins */

	struct place_node *nodes; /* as h->nodes */
	struct place_core *cores;  /* h->n_cores */
	struct place_core **order; /* scratch of the same length */
	struct idset *kinds;      /* h->n_kinds sets of CPUs */
	uint64_t *loads;          /* per h->cpus[]: floating vCPUs on it, in thousandths */
	struct place_crowd *crowds; /* scratch, one per floater at most */
	int *out;                 /* scratch, n_vcpus */

	bool dedicated;        /* what is being placed now: one CPU per vCPU, or floating ones */
	unsigned int need;     /* vCPUs that are not pinned */
	bool extra;            /* one further CPU for emulator or I/O threads */
	int extra_cpu;         /* that one; -1 */
	struct idset floating; /* what unpinned vCPUs float over; empty: dedicated ones */

	struct place_step step; /* the one that was met */
	struct idset memory_nodes; /* q->nodes, as far as they have memory */
	struct idset page_nodes;   /* where memory goes if no vCPU is placed; else empty */
};

/* place.c */

/* Recompute what may be given; to be called after held, pinned, avoid or cpus changed. */
void place_refresh(struct place_ctx *c);
bool place_vcpu_is_online(const struct place_ctx *c, unsigned int vcpu);
bool place_vcpu_is_pinned(const struct place_ctx *c, unsigned int vcpu);
struct idset place_all_pins(const struct place_ctx *c);
/* The nodes are settled (c->p->nodes): into c->step which step the memory meets there. */
void place_settle_step(struct place_ctx *c);

/* place_dedicated.c */

/* 0: placed; -ENOSPC: impossible, the message is there; -ENOMEM. */
int place_dedicated(struct place_ctx *c);
/*
 * One further CPU, claimed, for emulator or I/O threads: of `near` if there is one, else of whatever is free. It is
 * added to *claim. -1, with a message, if there is none.
 */
int place_claim_extra(struct place_ctx *c, const struct idset *near, struct idset *claim);

/* place_cpu.c: CPUs within a set. */

void place_cores_init(struct place_ctx *c); /* once c->blocked is known */

/* vCPUs that fit on `from` by the request's threads rule; *ret_whole (may be NULL): those of them on whole cores. */
unsigned int place_capacity(struct place_ctx *c, const struct idset *from, unsigned int *ret_whole);
/*
 * Choose c->need CPUs of `from`, out[0..need): siblings next to each other. ret_idle: siblings that must stay
 * idle. 0, or -ENOSPC.
 */
int place_pick(struct place_ctx *c, const struct idset *from, unsigned int need, int *out, struct idset *ret_idle);
/* The CPU of `from` that breaks the fewest whole cores; -1: `from` is empty. */
int place_pick_extra(struct place_ctx *c, const struct idset *from);

/* place_node.c: nodes. */

/* Fill c->nodes for what is being placed. */
void place_nodes_init(struct place_ctx *c);
/* Floating vCPUs per CPU on these CPUs, in thousandths; with !c->dedicated only. */
uint64_t place_load(struct place_ctx *c, const struct idset *cpus);
/*
 * The node or the fewest nodes that meet the first step that can be met, and the kind of CPU (-1: any).
 * Returns 0 or -ENOSPC; the step is then in c->step.
 */
int place_nodes_find(struct place_ctx *c, const struct place_step *steps, unsigned int n_steps, struct idset *ret_nodes,
		     int *ret_kind);
struct idset place_nodes_of(const struct host *h, const struct idset *cpus);

/* place_mem.c: memory and pages. */

unsigned int place_steps(const struct place_ctx *c, struct place_step steps[PLACE_STEPS_MAX]);
void place_memory_nodes_init(struct place_ctx *c);
/* Fill memory and pages of c->nodes. 0 or -ENOMEM. */
int place_memory_init(struct place_ctx *c);
/* Memory nodes that go with these CPU nodes. */
struct idset place_memory_nodes(const struct place_ctx *c, const struct idset *cpu_nodes);
/* Bytes of ordinary memory, pages of a pool, that a guest can still get on a node. */
uint64_t place_node_memory(const struct place_ctx *c, const struct host_node *n);
uint64_t place_node_pages(const struct place_ctx *c, const struct host_node *n, uint64_t size);
/* Whether the guest's memory fits on these nodes, split evenly; *ret_slack: what stays, in thousandths of the node. */
bool place_memory_fits(const struct place_ctx *c, const struct place_step *step, const struct idset *memory_nodes,
		       uint64_t *ret_slack);
/* Once the nodes are known: memory nodes, pages, claims, reasons. 0 or -ENOMEM. */
int place_memory(struct place_ctx *c);

/* place_words.c: sentences. */

const char *place_page_name(uint64_t size, char *buf, size_t len); /* "2M", "1G", "64K" */
void place_add_bytes(struct sbuf *b, uint64_t bytes);               /* "512 MiB" */
void place_add_list(struct sbuf *b, const struct idset *s);         /* "0-3,8", cut after some 60 characters */
/* A clause into a fixed buffer, cut where it is too long. */
void place_say(char *buf, size_t size, const char *fmt, ...) PRINTF(3, 4);
/* "(4 held by db1, 2 reserved)" of these CPUs; nothing if there is nothing to say. */
void place_add_holders(struct sbuf *b, const struct place_ctx *c, const struct idset *among);
/* The claim with most of these CPUs, NULL if there is none. */
const struct claim *place_top_holder(const struct place_ctx *c, const struct idset *among);
/* A name of somebody else's domain, fit for one line of text. */
void place_add_name(struct sbuf *b, const char *name);
void place_unmet(struct place_ctx *c, struct sbuf *b); /* takes the text */
void place_note(struct place_ctx *c, struct sbuf *b);

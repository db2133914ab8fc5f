/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the placement (place*.c) share; nothing of it is for others. */
#pragma once

#include "place.h"
#include "sbuf.h"

/* One node as a candidate. */
struct place_node {
	const struct host_node *node;
	struct idset cpus;     /* CPUs that vCPUs of this request may get here */
	unsigned int capacity; /* vCPUs that fit on them, by the threads rule */
	int mem_index;         /* index of the node its memory comes from: itself, the nearest for a memoryless one; -1 */
	uint64_t memory;       /* bytes of ordinary memory a guest can get here; HOST_UNKNOWN: not known */
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
	struct idset blocked;  /* held, or reserved, or pinned by this very domain */
	struct idset free;     /* online, not blocked */
	struct idset *pins;    /* n_vcpus sets; empty: that vCPU is not pinned */
	unsigned int n_pinned;
	struct idset pinned;   /* CPUs claimed for pins */

	struct place_node *nodes; /* as h->nodes */
	struct place_core *cores; /* scratch, h->n_cores */
	struct idset *kinds;      /* h->n_kinds sets of CPUs */

	bool dedicated;        /* what is being placed now: one CPU per vCPU, or floating ones */
	unsigned int need;     /* vCPUs that are not pinned */
	bool extra;            /* one further CPU for emulator or I/O threads */

	struct place_step step; /* the one that was met */
	bool fits_memory;       /* the step that was met asked for memory */
};

/* place_cpu.c: CPUs within a set. */

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
/*
 * The node or the fewest nodes that meet the first step that can be met, and the kind of CPU (-1: any).
 * Returns 0 or -ENOSPC; the step is then in c->step.
 */
int place_nodes_find(struct place_ctx *c, const struct place_step *steps, unsigned int n_steps, struct idset *ret_nodes,
		     int *ret_kind);
struct idset place_nodes_of(const struct host *h, const struct idset *cpus);

/* place_mem.c: memory and pages. */

unsigned int place_steps(const struct place_ctx *c, struct place_step steps[PLACE_STEPS_MAX]);
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
/* A name of somebody else's domain, fit for one line of text. */
void place_add_name(struct sbuf *b, const char *name);
void place_unmet(struct place_ctx *c, struct sbuf *b); /* takes the text */
void place_note(struct place_ctx *c, struct sbuf *b);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hosts and claims in memory, and placements as text, for the tests of placement and plan. */
#pragma once

#include <inttypes.h>
#include <stdarg.h>

#include "common/place.h"
#include "common/sbuf.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define PAGE_2M (2 * MIB)
#define PAGE_1G GIB

/*
 * Regular hosts, numbered as Intel does: thread t of core c of node n is CPU t * cores in all + n * cores + c.
 * The defaults (0) are in host_make().
 */
struct host_spec {
	unsigned int nodes, cores, threads; /* cores per node, threads per core */
	unsigned int l3;                    /* cores per L3 group; 0: one group per node */
	unsigned int slow;                  /* the last so many cores of each node are a slower kind */
	unsigned int gib;                   /* memory per node; 0: 64 */
	unsigned int free_gib[8];           /* per node; 0: all of it */
	unsigned int pages_2m[8], pages_1g[8];
	unsigned int used_2m[8];
	unsigned int cpuless;               /* the last so many nodes have memory only */
	bool memory_unknown, pools_unknown, no_pools;
	const char *thp;
};

static inline void *must_alloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p)
		exit(2);
	return p;
}

static inline void host_free(struct host *h)
{
	for (unsigned int i = 0; i < h->n_nodes; i++)
		free(h->nodes[i].distance);
	free(h->nodes);
	free(h->cpus);
	msgs_fini(&h->warnings);
}

/* The last n nodes lose their CPUs. */
static inline void host_drop_cpus(struct host *h, unsigned int n)
{
	unsigned int kept = 0;

	if (n == 0)
		return;
	for (unsigned int i = h->n_nodes - n; i < h->n_nodes; i++) {
		idset_andnot(&h->online, &h->nodes[i].cpus);
		h->nodes[i].cpus = IDSET_EMPTY;
		h->nodes[i].holds_guests = false;
	}
	/* Cores are numbered by their lowest CPU: those of the first nodes come first. */
	for (unsigned int i = 0; i < h->n_cpus; i++)
		if (idset_has(&h->online, (unsigned int)h->cpus[i].id))
			h->cpus[kept++] = h->cpus[i];
	h->n_cpus = kept;
	h->n_cores = h->n_cores / h->n_nodes * (h->n_nodes - n);
}

static inline void host_make(struct host *h, const struct host_spec *s)
{
	unsigned int nodes = s->nodes ? s->nodes : 1, cores = s->cores ? s->cores : 4;
	unsigned int threads = s->threads ? s->threads : 1, all = nodes * cores, l3 = s->l3 ? s->l3 : cores;

	memset(h, 0, sizeof(*h));
	h->n_cpus = all * threads;
	h->n_cores = all;
	h->n_kinds = s->slow ? 2 : 1;
	h->n_nodes = nodes;
	h->cpus = must_alloc(h->n_cpus, sizeof(*h->cpus));
	h->nodes = must_alloc(nodes, sizeof(*h->nodes));
	(void)snprintf(h->thp, sizeof(h->thp), "%s", s->thp ? s->thp : "madvise");
	for (unsigned int id = 0; id < h->n_cpus; id++) {
		unsigned int core = id % all, node = core / cores;

		h->cpus[id] = (struct host_cpu){
			.id = (int)id, .core = (int)core, .node = (int)node, .package = (int)node, .die = -1,
			.cluster = -1, .l3 = (int)(core / l3), .kind = s->slow && core % cores >= cores - s->slow,
		};
		idset_add(&h->online, id);
		idset_add(&h->nodes[node].cpus, id);
	}
	for (unsigned int i = 0; i < nodes; i++) {
		struct host_node *n = &h->nodes[i];
		unsigned int gib = s->gib ? s->gib : 64, k = i % 8;

		n->id = (int)i;
		n->holds_guests = true;
		n->mem_total = s->memory_unknown ? HOST_UNKNOWN : gib * GIB;
		n->mem_free = s->memory_unknown ? HOST_UNKNOWN : (s->free_gib[k] ? s->free_gib[k] : gib) * GIB;
		n->n_pools = s->no_pools ? 0 : 2;
		n->pools[0] = (struct host_pool){ PAGE_2M, s->pages_2m[k], s->pages_2m[k] - s->used_2m[k] };
		n->pools[1] = (struct host_pool){ PAGE_1G, s->pages_1g[k], s->pages_1g[k] };
		for (unsigned int j = 0; s->pools_unknown && j < n->n_pools; j++)
			n->pools[j].total = n->pools[j].free = HOST_UNKNOWN;
		n->distance = must_alloc(nodes, sizeof(*n->distance));
		for (unsigned int j = 0; j < nodes; j++)
			n->distance[j] = i == j ? 10 : i / 2 == j / 2 ? 16 : 32;
	}
	host_drop_cpus(h, s->cpuless);
}

static inline struct idset set_of(const char *list)
{
	struct idset s = IDSET_EMPTY;

	if (list && *list && idset_parse(list, &s)) {
		fprintf(stderr, "not a list: %s\n", list);
		exit(2);
	}
	return s;
}

static inline void claim_hold(struct ledger *l, struct claim *c, const char *cpus)
{
	struct idset set = set_of(cpus);

	c->cpus = ledger_set(l, &set);
	if (!c->cpus)
		exit(2);
}

/* So many vCPUs that float over these CPUs and nothing else. */
static inline void claim_float(struct ledger *l, struct claim *c, const char *cpus, unsigned int vcpus)
{
	struct idset set = set_of(cpus);

	if (*cpus && claim_add_floater(l, c, &set, &set, &set, vcpus))
		exit(2);
}

static inline struct claim *claim_make(struct ledger *l, const char *name, const char *cpus)
{
	char uuid[37];
	struct claim *c;

	(void)snprintf(uuid, sizeof(uuid), "00000000-0000-4000-8000-%012u", l->n_claims + 1);
	c = ledger_add(l, uuid, name);
	if (!c)
		exit(2);
	claim_hold(l, c, cpus);
	return c;
}

static inline void show_set(struct sbuf *b, const char *what, const struct idset *s)
{
	char *text = idset_text(s);

	if (text && *text)
		sbuf_addf(b, " %s=%s", what, text);
	free(text);
}

static inline void show_msgs(struct sbuf *b, const char *what, const struct msgs *l)
{
	for (size_t i = 0; i < l->n; i++)
		sbuf_addf(b, "\n%s: %s", what, l->m[i].text);
}

/* Everything of a placement in one text; parts that are empty are left out. */
static inline char *placement_text(const struct placement *p)
{
	struct sbuf b = { 0 };

	sbuf_add(&b, place_policy_name(p->policy));
	show_set(&b, "nodes", &p->nodes);
	for (unsigned int i = 0, n; i < p->n_vcpus; i += n) {
		char *text = idset_text(&p->vcpus[i].cpus);

		for (n = 1; i + n < p->n_vcpus && idset_equal(&p->vcpus[i].cpus, &p->vcpus[i + n].cpus);)
			n++;
		sbuf_addf(&b, "%s%s", i ? " " : " vcpus=", text && *text ? text : "-");
		if (n > 1)
			sbuf_addf(&b, "*%u", n);
		free(text);
	}
	show_set(&b, "emu", &p->emulator);
	for (unsigned int i = 0; i < p->n_iothreads; i++) {
		char what[32];

		(void)snprintf(what, sizeof(what), "io%u", p->iothreads[i].id);
		show_set(&b, what, &p->iothreads[i].cpus);
	}
	show_set(&b, "claim", &p->claimed);
	if (p->memory_policy != PLACE_MEMORY_NONE)
		show_set(&b, place_memory_name(p->memory_policy), &p->memory_nodes);
	for (unsigned int i = 0; i < p->n_pages; i++) {
		const struct claim_pages *g = &p->pages[i];

		if (g->size)
			sbuf_addf(&b, " %" PRIu64 "x%" PRIu64 "M@%d", g->count, g->size / MIB, g->node);
		else
			sbuf_addf(&b, " %" PRIu64 "M@%d", g->count / MIB, g->node);
		if (g->grow)
			sbuf_addf(&b, "(+%" PRIu64 ")", g->grow);
	}
	for (unsigned int i = 0; i < p->n_cells; i++) {
		char what[32];

		(void)snprintf(what, sizeof(what), "cell%u", p->cells[i].id);
		show_set(&b, what, &p->cells[i].nodes);
	}
	if (p->page_size)
		sbuf_addf(&b, " pages=%" PRIu64 "M", p->page_size / MIB);
	if (p->thp)
		sbuf_add(&b, " thp");
	show_msgs(&b, "unmet", &p->unmet);
	show_msgs(&b, "note", &p->notes);
	return sbuf_steal(&b);
}

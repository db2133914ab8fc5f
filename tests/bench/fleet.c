/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fleets, and the packers that take guests as they come: domtune's own, and first-fit.
 *
 * Guests have 1 to 64 vCPUs (at most half the host), mostly powers of two; half are dedicated, of those some want whole
 * cores for each vCPU (isolate) or sibling pairs (require); 1 to 4 GiB per vCPU, a quarter on 2M pages. The host is
 * filled, then a guest stops at random whenever the next one does not fit.
 */
#include "tests/bench/fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/param.h>

#include "common/place_share.h"
#include "common/plan.h"

#define GIB (UINT64_C(1) << 30)
#define PAGE_2M (UINT64_C(2) << 20)
#define MEMORY_PERCENT 95 /* the default policy's max-memory */

void *bench_alloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p) {
		fprintf(stderr, "no memory\n");
		exit(2);
	}
	return p;
}

static unsigned int rnd(uint64_t *seed, unsigned int below)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (unsigned int)(*seed >> 20) % below;
}

/* Online CPUs of the largest core and of the smallest. */
struct smt {
	unsigned int most, least;
};

static struct smt host_smt(const struct host *h)
{
	struct smt smt = { .most = 1, .least = h->n_cpus };

	for (unsigned int i = 0; i < h->n_cpus; i++) {
		struct idset s = host_siblings(h, h->cpus[i].id);

		smt.most = MAX(smt.most, idset_count(&s));
		smt.least = MIN(smt.least, idset_count(&s));
	}
	return smt;
}

struct idset fleet_reserved(const struct host *h)
{
	struct policy p = { 0 };

	return place_reserved(h, &p);
}

static uint64_t pool_bytes(const struct host_node *n)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < n->n_pools; i++)
		if (n->pools[i].size == PAGE_2M && n->pools[i].free != HOST_UNKNOWN)
			sum += n->pools[i].free * PAGE_2M;
	return sum;
}

static uint64_t all_pools(const struct host_node *n)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < n->n_pools; i++)
		if (n->pools[i].total != HOST_UNKNOWN)
			sum += n->pools[i].total * n->pools[i].size;
	return sum;
}

uint64_t fleet_node_memory(const struct host_node *n, bool huge)
{
	uint64_t may, pools = all_pools(n);

	if (!n->holds_guests)
		return 0;
	if (huge)
		return pool_bytes(n);
	if (n->mem_total == HOST_UNKNOWN)
		return HOST_UNKNOWN;
	may = n->mem_total / 100 * MEMORY_PERCENT;
	may = may > pools ? may - pools : 0;
	return n->mem_free < may ? n->mem_free : may;
}

/* What is taken of the whole host, in counts: the generator knows no nodes. */
struct total {
	uint64_t cpus, vcpus, memory, huge;
};

static void total_add(struct total *t, const struct guest *g, bool add)
{
	int64_t sign = add ? 1 : -1;

	t->cpus += (uint64_t)(sign * g->need);
	t->vcpus += (uint64_t)(sign * (g->need ? 0 : g->vcpus));
	*(g->huge ? &t->huge : &t->memory) += (uint64_t)sign * g->memory;
}

static bool total_fits(const struct total *t, const struct total *all, const struct guest *g)
{
	return t->cpus + g->need <= all->cpus && t->vcpus + (g->need ? 0 : g->vcpus) <= all->vcpus &&
	       (g->huge ? t->huge + g->memory <= all->huge : t->memory + g->memory <= all->memory);
}

static struct guest random_guest(const struct host *h, struct smt smt, bool pools, uint64_t *seed)
{
	static const unsigned char sizes[] = { 1, 2, 2, 2, 4, 4, 4, 4, 8, 8, 8, 16, 16, 24, 32, 64 };
	struct guest g = { 0 };
	unsigned int most = MAX(h->n_cpus / 2, 1u), kind;

	do
		g.vcpus = rnd(seed, 10) ? sizes[rnd(seed, ARRAY_SIZE(sizes))] : 1 + rnd(seed, 12);
	while (g.vcpus > most);
	g.memory = g.vcpus * GIB << rnd(seed, 3);
	g.huge = pools && rnd(seed, 4) == 0;
	kind = rnd(seed, 20);
	if (kind >= 10)
		return g; /* shared */
	g.need = g.need_least = g.vcpus;
	if (kind == 0 && g.vcpus * smt.most <= most) {
		g.threads = PLACE_THREADS_ISOLATE;
		g.need = g.vcpus * smt.most;
		g.need_least = g.vcpus * smt.least;
	} else if (kind == 1 && smt.most > 1 && g.vcpus % smt.most == 0) {
		g.threads = PLACE_THREADS_REQUIRE;
	}
	return g;
}

static struct total host_total(const struct host *h, unsigned int percent)
{
	struct idset reserved = fleet_reserved(h);
	struct total all = { .cpus = h->n_cpus * percent / 100 };

	all.cpus = MIN(all.cpus, (uint64_t)(h->n_cpus - idset_count(&reserved)));
	all.vcpus = (h->n_cpus - all.cpus) * 2 + 1; /* shared CPUs twice over */
	for (unsigned int i = 0; i < h->n_nodes; i++) {
		uint64_t memory = fleet_node_memory(&h->nodes[i], false);

		all.memory = memory == HOST_UNKNOWN ? HOST_UNKNOWN : all.memory + memory;
		all.huge += fleet_node_memory(&h->nodes[i], true);
	}
	/* The last tenth would be a matter of bytes, not of nodes. */
	all.memory = all.memory == HOST_UNKNOWN ? HOST_UNKNOWN / 2 : all.memory / 10 * 9;
	all.huge = all.huge / 10 * 9;
	return all;
}

void fleet_make(const struct host *h, uint64_t seed, unsigned int percent, unsigned int starts, struct fleet *ret)
{
	struct total all = host_total(h, percent), now = { 0 };
	struct fleet f = { .guests = bench_alloc(starts, sizeof(*f.guests)),
			   .events = bench_alloc(2 * (size_t)starts, sizeof(*f.events)) };
	unsigned int *living = bench_alloc(starts, sizeof(*living)), n_living = 0;
	struct smt smt = host_smt(h);

	seed = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	while (f.n_guests < starts) {
		struct guest g = random_guest(h, smt, all.huge > 0, &seed);

		while (n_living > 0 && (!total_fits(&now, &all, &g) || rnd(&seed, 8) == 0)) {
			unsigned int k = rnd(&seed, n_living), out = living[k];

			f.guests[out].stop = f.n_events;
			f.events[f.n_events++] = (struct event){ .guest = out };
			total_add(&now, &f.guests[out], false);
			living[k] = living[--n_living];
		}
		if (!total_fits(&now, &all, &g))
			continue; /* too large for the empty host */
		g.start = f.n_events;
		f.events[f.n_events++] = (struct event){ .guest = f.n_guests, .start = true };
		total_add(&now, &g, true);
		living[n_living++] = f.n_guests;
		f.guests[f.n_guests++] = g;
	}
	for (unsigned int i = 0; i < n_living; i++)
		f.guests[living[i]].stop = f.n_events;
	free(living);
	*ret = f;
}

void fleet_fini(struct fleet *f)
{
	free(f->guests);
	free(f->events);
}

void outcome_init(struct outcome *o, const struct fleet *f)
{
	*o = (struct outcome){ .one_node = bench_alloc(f->n_guests, sizeof(bool)),
			       .one_l3 = bench_alloc(f->n_guests, sizeof(bool)) };
}

void outcome_fini(struct outcome *o)
{
	free(o->one_node);
	free(o->one_l3);
}

/* --- ours --- */

static bool in_one_l3(const struct host *h, const struct idset *cpus)
{
	int l3 = -1;

	IDSET_FOREACH (id, cpus) {
		const struct host_cpu *c = host_cpu(h, id);

		if (!c || c->l3 < 0 || (l3 >= 0 && c->l3 != l3))
			return false;
		l3 = c->l3;
	}
	return l3 >= 0;
}

static void ask(const struct host *h, const struct guest *g, struct place_request *q)
{
	*q = (struct place_request){
		.policy = g->need ? PLACE_DEDICATED : PLACE_SHARED,
		.threads = g->threads,
		.n_vcpus = g->vcpus,
		.memory = g->memory,
		.memory_policy = g->need ? PLACE_MEMORY_STRICT : PLACE_MEMORY_PREFERRED,
		.pages = g->huge ? PLACE_PAGES_HUGE : PLACE_PAGES_DEFAULT,
		.page_size = g->huge ? PAGE_2M : 0,
		.reserved = fleet_reserved(h),
		.max_dedicated = h->n_cpus,
		.max_hugepages = { .num = MEMORY_PERCENT, .is_percent = true },
		.max_memory = { .num = MEMORY_PERCENT, .is_percent = true },
		.max_vcpus_per_cpu = 8,
		.no_growth = true,
	};
}

static void start_ours(const struct host *h, const struct guest *g, unsigned int number, struct ledger *l,
		       struct outcome *ret)
{
	struct plan plan = { 0 };
	struct placement *p = &plan.placement;
	struct place_request q;
	struct idset cpus = IDSET_EMPTY;
	struct claim *c;
	char uuid[37];

	ask(h, g, &q);
	(void)snprintf(uuid, sizeof(uuid), "00000000-0000-4000-8000-%012u", number);
	if (place(h, &q, l, uuid, p) || !(c = ledger_add(l, uuid, "guest")) || plan_fill_claim(&plan, l, c)) {
		fprintf(stderr, "no memory\n");
		exit(2);
	}
	c->kind = CLAIM_OURS;
	c->phase = CLAIM_STARTED;
	for (unsigned int i = 0; i < p->n_vcpus; i++)
		idset_or(&cpus, &p->vcpus[i].cpus);
	ret->one_node[number] = idset_count(&p->nodes) == 1 && idset_equal(&p->nodes, &p->memory_nodes) &&
				(!g->huge || p->page_size == PAGE_2M) && (!g->need || p->policy == PLACE_DEDICATED);
	ret->one_l3[number] = ret->one_node[number] && g->need && in_one_l3(h, &cpus);
	ret->unmet += g->need && p->policy != PLACE_DEDICATED;
	placement_fini(p);
}

void play_ours(const struct host *h, const struct fleet *f, struct outcome *ret)
{
	struct idset reserved = fleet_reserved(h);
	struct ledger l = { 0 };

	if (place_share_note(&l, h, &reserved))
		exit(2);
	for (unsigned int i = 0; i < f->n_events; i++) {
		unsigned int number = f->events[i].guest;
		char uuid[37];

		if (f->events[i].start) {
			start_ours(h, &f->guests[number], number, &l, ret);
		} else {
			(void)snprintf(uuid, sizeof(uuid), "00000000-0000-4000-8000-%012u", number);
			ledger_remove(&l, uuid);
		}
		if (place_share_update(&l) < 0)
			exit(2);
	}
	ledger_fini(&l);
}

/* --- first-fit --- */

struct ff_node {
	uint64_t memory[2]; /* left: ordinary, 2M pages */
};

struct ff_place {
	struct idset cpus;      /* taken from the others */
	uint64_t *memory;       /* per node */
};

struct first_fit {
	const struct host *h;
	struct idset free;
	struct ff_node *nodes;
	struct ff_place *places; /* per guest */
};

/* The lowest CPUs of `from` for this guest; false: there are too few. */
static bool lowest(const struct first_fit *s, const struct guest *g, const struct idset *from, struct idset *ret)
{
	struct idset left = *from, got = IDSET_EMPTY;
	unsigned int n = 0;

	for (int id = idset_first(&left); id >= 0 && n < g->vcpus; id = idset_next(&left, id)) {
		struct idset core = host_siblings(s->h, id);

		if (idset_has(&got, (unsigned int)id))
			continue;
		if (g->threads == PLACE_THREADS_PREFER) {
			idset_add(&got, (unsigned int)id);
			n++;
			continue;
		}
		if (!idset_is_subset(&core, from))
			continue;
		idset_or(&got, &core);
		n += g->threads == PLACE_THREADS_ISOLATE ? 1 : idset_count(&core);
	}
	*ret = got;
	return n >= g->vcpus;
}

static bool take_memory(struct first_fit *s, const struct guest *g, unsigned int node, uint64_t *taken, uint64_t *wanted)
{
	uint64_t *left = &s->nodes[node].memory[g->huge], n = MIN(*left, *wanted);

	if (*left != HOST_UNKNOWN)
		*left -= n;
	taken[node] += n;
	*wanted -= n;
	return *wanted == 0;
}

/* The one node that has all these CPUs, by index; -1: several. */
static int only_node(const struct host *h, const struct idset *cpus)
{
	for (unsigned int i = 0; i < h->n_nodes; i++)
		if (idset_is_subset(cpus, &h->nodes[i].cpus))
			return (int)i;
	return -1;
}

/* The first node that has room for all of it; -1: none. */
static int node_with_room(const struct first_fit *s, const struct guest *g, struct idset *ret_cpus)
{
	for (unsigned int i = 0; i < s->h->n_nodes; i++) {
		struct idset of_node = s->h->nodes[i].cpus;

		idset_and(&of_node, &s->free);
		if (s->nodes[i].memory[g->huge] < g->memory)
			continue;
		if (g->need ? lowest(s, g, &of_node, ret_cpus) : s->h->n_nodes == 1 || idset_count(&of_node) >= g->vcpus)
			return (int)i;
	}
	return -1;
}

static void start_first_fit(struct first_fit *s, const struct guest *g, unsigned int number, bool by_node,
			    struct outcome *ret)
{
	struct ff_place *p = &s->places[number];
	uint64_t wanted = g->memory;
	int node = -1;

	p->memory = bench_alloc(s->h->n_nodes, sizeof(*p->memory));
	if (!g->need || by_node)
		node = node_with_room(s, g, &p->cpus);
	if (g->need && node < 0) {
		if (!lowest(s, g, &s->free, &p->cpus)) {
			p->cpus = IDSET_EMPTY;
			ret->unmet++;
		} else {
			node = only_node(s->h, &p->cpus);
		}
	}
	idset_andnot(&s->free, &p->cpus);
	ret->one_node[number] = node >= 0 && take_memory(s, g, (unsigned int)node, p->memory, &wanted);
	ret->one_l3[number] = ret->one_node[number] && g->need && in_one_l3(s->h, &p->cpus);
	for (unsigned int i = 0; i < s->h->n_nodes && wanted > 0; i++)
		(void)take_memory(s, g, i, p->memory, &wanted);
}

static void stop_first_fit(struct first_fit *s, const struct guest *g, unsigned int number)
{
	struct ff_place *p = &s->places[number];

	idset_or(&s->free, &p->cpus);
	for (unsigned int i = 0; i < s->h->n_nodes; i++)
		if (s->nodes[i].memory[g->huge] != HOST_UNKNOWN)
			s->nodes[i].memory[g->huge] += p->memory[i];
	free(p->memory);
	p->memory = NULL;
}

void play_first_fit(const struct host *h, const struct fleet *f, bool by_node, struct outcome *ret)
{
	struct first_fit s = { .h = h, .free = h->online, .nodes = bench_alloc(h->n_nodes, sizeof(*s.nodes)),
			       .places = bench_alloc(f->n_guests, sizeof(*s.places)) };
	struct idset reserved = fleet_reserved(h);

	idset_andnot(&s.free, &reserved);
	for (unsigned int i = 0; i < h->n_nodes; i++)
		for (int huge = 0; huge < 2; huge++)
			s.nodes[i].memory[huge] = fleet_node_memory(&h->nodes[i], huge);
	for (unsigned int i = 0; i < f->n_events; i++) {
		unsigned int number = f->events[i].guest;

		if (f->events[i].start)
			start_first_fit(&s, &f->guests[number], number, by_node, ret);
		else
			stop_first_fit(&s, &f->guests[number], number);
	}
	for (unsigned int i = 0; i < f->n_guests; i++)
		free(s.places[i].memory);
	free(s.places);
	free(s.nodes);
}

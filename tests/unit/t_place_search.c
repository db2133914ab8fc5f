/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The search against exhaustive enumeration on random hosts of up to 16 CPUs, properties, and cases whose answer is
 * known. What is shared with the search is the cost of a given place only; which places are possible is said here anew.
 *
 * DOMTUNE_SEARCH_CASES=N: so many random cases (default 2,500); DOMTUNE_SEARCH_SEED: another sequence.
 */
#include "common/place_search.h"
#include "tests/unit/placehost.h"
#include "tests/unit/tap.h"

#define CPUS_MAX 16

/* --- random numbers --- */

static uint64_t random_state = 1;

/* xorshift64*, Vigna 2016 */
static unsigned int below(unsigned int n)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (unsigned int)((random_state * UINT64_C(2685821657736338717) >> 33) % n);
}

static bool chance(unsigned int percent)
{
	return below(100) < percent;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

/* --- random cases --- */

struct random_case {
	struct host h;
	struct search s;
	struct search_part parts[4];
	uint64_t load[4], room[4], ready[4];
};

static unsigned int core_width(unsigned int style)
{
	static const unsigned int widths[] = {1, 2, 4};

	return style < 3 ? widths[style] : widths[below(3)];
}

/* CPUs core by core; numbers, groups and nodes as they come. */
static void random_host(struct host *h, unsigned int max_cpus)
{
	unsigned int n = chance(20) ? 1 + below(max_cpus) : max_cpus - below(max_cpus / 3), style = below(5),
		     kinds = chance(25) ? 2 + below(2) : 1;
	unsigned int ids[3 * CPUS_MAX], nodes = 1 + below(4), l3 = 0, die = 0, core = 0;
	bool has_l3 = chance(85), has_dies = chance(40), sizes = chance(35), lost = chance(4);
	uint64_t size = 32;

	memset(h, 0, sizeof(*h));
	h->cpus = must_alloc(CPUS_MAX, sizeof(*h->cpus));
	h->nodes = must_alloc(nodes, sizeof(*h->nodes));
	h->n_nodes = nodes;
	for (unsigned int i = 0; i < nodes; i++)
		h->nodes[i] = (struct host_node){.id = (int)(2 * i + (i > 1)), .mem_total = GIB, .mem_free = GIB};
	while (h->n_cpus < n) {
		unsigned int width = core_width(style), node = below(nodes), kind = below(kinds);

		if (has_l3 && chance(40)) {
			l3++;
			size = sizes ? 32 << below(2) : 32;
		}
		if (chance(25))
			die++;
		for (; width > 0 && h->n_cpus < n; width--)
			h->cpus[h->n_cpus++] = (struct host_cpu){
				.core = (int)core,
				.package = -1,
				.cluster = -1,
				.kind = (int)kind,
				.l3_size = size,
				.node = lost && chance(20) ? -1 : h->nodes[node].id,
				.l3 = has_l3 ? (int)l3 : -1,
				.die = has_dies ? (int)die : -1,
			};
		core++;
	}
	h->n_cores = core;
	h->n_kinds = kinds;
	/* Numbers with holes, siblings not next to each other; cpus[] ascends. */
	for (unsigned int i = 0; i < ARRAY_SIZE(ids); i++)
		ids[i] = i;
	for (unsigned int i = 0; i < n; i++) {
		unsigned int j = i + below((chance(50) ? n : 3 * CPUS_MAX) - i), id = ids[j];

		ids[j] = ids[i];
		ids[i] = id;
		h->cpus[i].id = (int)id;
	}
	for (unsigned int i = 1; i < n; i++)
		for (unsigned int j = i; j > 0 && h->cpus[j].id < h->cpus[j - 1].id; j--) {
			struct host_cpu c = h->cpus[j];

			h->cpus[j] = h->cpus[j - 1];
			h->cpus[j - 1] = c;
		}
	for (unsigned int i = 0; i < n; i++) {
		struct host_node *node = host_node(h, h->cpus[i].node);

		idset_add(&h->online, (unsigned int)h->cpus[i].id);
		if (node)
			idset_add(&node->cpus, (unsigned int)h->cpus[i].id);
	}
	for (unsigned int i = 0; i < nodes; i++) {
		bool regular = chance(50);

		h->nodes[i].holds_guests = !idset_is_empty(&h->nodes[i].cpus);
		h->nodes[i].distance = must_alloc(nodes, sizeof(unsigned int));
		for (unsigned int j = 0; j < nodes; j++)
			h->nodes[i].distance[j] = i == j ? 10 : regular ? 20 : 11 + 5 * below(3);
	}
}

static void random_occupancy(struct random_case *c)
{
	unsigned int full = chance(40) ? 0 : below(50);
	bool outside = chance(20), current = chance(30);

	for (unsigned int i = 0; i < c->h.n_cpus; i++) {
		unsigned int id = (unsigned int)c->h.cpus[i].id;

		if (chance(full))
			idset_add(&c->s.busy, id);
		else if (!(outside && chance(30)))
			idset_add(&c->s.free, id);
		if (current && chance(40))
			idset_add(&c->s.current, id);
	}
	for (unsigned int i = 0; i < c->h.n_nodes; i++) {
		if (chance(15))
			idset_add(&c->s.devices, (unsigned int)c->h.nodes[i].id);
		if (chance(10))
			idset_add(&c->s.anchor, (unsigned int)c->h.nodes[i].id);
	}
	if (chance(5))
		idset_add(&c->s.devices, 77);
}

static void random_case(struct random_case *c, unsigned int max_cpus)
{
	static const unsigned int guest_threads[] = {0, 1, 2, 2, 4};
	unsigned int n, most;

	memset(c, 0, sizeof(*c));
	random_host(&c->h, max_cpus);
	c->s.h = &c->h;
	random_occupancy(c);
	most = idset_count(&c->s.free) + 1;
	c->s.threads = (enum place_threads)below(3);
	c->s.guest_threads = guest_threads[below(ARRAY_SIZE(guest_threads))];
	c->s.latency = chance(30);
	c->s.floating = chance(25);
	c->s.n_parts = chance(60) ? 1 : 2 + below(3);
	c->s.split = c->s.n_parts == 1 && chance(60);
	c->s.parts = c->parts;
	n = chance(30) ? below(most + 1) : 1 + below(most / 2 + 1);
	if (c->s.threads == PLACE_THREADS_REQUIRE && c->s.n_parts == 1 && chance(70))
		n += n % 2;
	for (unsigned int i = 0; i < c->s.n_parts; i++) {
		unsigned int share = chance(70) ? n / c->s.n_parts : below(n / c->s.n_parts + 2);

		c->parts[i] = (struct search_part){.vcpus = share, .units = below(12)};
	}
	for (unsigned int i = 0; i < c->h.n_nodes; i++) {
		c->load[i] = 500 * below(5);
		c->room[i] = chance(20) ? HOST_UNKNOWN : 4 + below(20);
		c->ready[i] = chance(20) ? c->room[i] : below(10);
	}
	c->s.load = chance(70) ? c->load : NULL;
	c->s.room = chance(50) ? c->room : NULL;
	c->s.ready = c->s.room && chance(50) ? c->ready : NULL;
}

static void free_case(struct random_case *c)
{
	host_free(&c->h);
}

/* --- what is possible --- */

/* The nodes as this file sees them: those of the host, then one for CPUs of unknown node. */
struct places {
	const struct search *s;
	unsigned int n_nodes;
	unsigned int node_of[CPUS_MAX]; /* by position in h->cpus */
	unsigned int free_of[5];
	bool usable[5];
	bool found;
	struct search_cost best;
	uint64_t count;
	const char *bad;
};

static bool same_core(const struct host_cpu *a, const struct host_cpu *b)
{
	return a->core == b->core && a->node == b->node;
}

/* The rule of threads for a set of positions. */
static bool is_allowed(const struct search *s, unsigned int set)
{
	const struct host *h = s->h;

	for (unsigned int i = 0; i < h->n_cpus; i++) {
		unsigned int mates = 0, busy = 0;

		if (!(set >> i & 1))
			continue;
		if (!idset_has(&s->free, (unsigned int)h->cpus[i].id))
			return false;
		for (unsigned int j = 0; j < h->n_cpus; j++)
			if (i != j && same_core(&h->cpus[i], &h->cpus[j])) {
				mates += set >> j & 1;
				busy += idset_has(&s->busy, (unsigned int)h->cpus[j].id);
			}
		if ((s->threads == PLACE_THREADS_ISOLATE && (mates > 0 || busy > 0)) ||
		    (s->threads == PLACE_THREADS_REQUIRE && mates == 0))
			return false;
	}
	return true;
}

static uint64_t room_of(const struct places *p, unsigned int node)
{
	return p->s->room && node < p->s->h->n_nodes ? p->s->room[node] : HOST_UNKNOWN;
}

static void look(struct places *p, const int *cpu, unsigned int nodes, const unsigned int *node_of_part)
{
	struct search_result r = {.nodes = IDSET_EMPTY};

	for (unsigned int i = 0; i < p->s->h->n_nodes; i++)
		if (nodes >> i & 1)
			idset_add(&r.nodes, (unsigned int)p->s->h->nodes[i].id);
	for (unsigned int i = 0; i < p->s->n_parts; i++)
		r.node_of_part[i] =
			node_of_part && node_of_part[i] < p->s->h->n_nodes ? p->s->h->nodes[node_of_part[i]].id : -1;
	if (place_search_cost(p->s, cpu, &r))
		exit(2);
	p->count++;
	if (!p->found || search_cost_compare(&r.cost, &p->best) < 0)
		p->best = r.cost;
	p->found = true;
}

/* Does one part on all of these nodes, or do several on their nodes, fit; counts: vCPUs per node, NULL: they float. */
static void look_at_nodes(struct places *p, const int *cpu, const unsigned int *counts)
{
	const struct search *s = p->s;
	unsigned int need = 0, all = 1u << p->n_nodes;

	for (unsigned int i = 0; i < s->n_parts; i++)
		need += s->parts[i].vcpus;
	for (unsigned int set = 1; s->n_parts == 1 && set < all; set++) {
		unsigned int m = (unsigned int)__builtin_popcount(set), j = 0, room = 0, one[1] = {0};
		bool fits = m == 1 || (s->split && !(set >> s->h->n_nodes & 1));

		for (unsigned int i = 0; i < p->n_nodes; i++) {
			if (!(set >> i & 1)) {
				fits = fits && (!counts || counts[i] == 0);
				continue;
			}
			fits = fits && p->usable[i] &&
			       room_of(p, i) >= s->parts[0].units / m + (j < s->parts[0].units % m);
			room += p->free_of[i];
			one[0] = i;
			j++;
		}
		if (fits && (counts || room >= need))
			look(p, cpu, set, m == 1 ? one : NULL);
	}
	for (unsigned int code = 0; s->n_parts > 1 && code < 625; code++) {
		unsigned int where[4], vcpus[5] = {0}, set = 0, rest = code;
		uint64_t units[5] = {0};
		bool fits = true;

		for (unsigned int i = 0; i < 4; i++, rest /= 5) {
			where[i] = rest % 5;
			if (i >= s->n_parts) {
				fits = fits && where[i] == 0;
				continue;
			}
			fits = fits && where[i] < p->n_nodes && p->usable[where[i]];
			vcpus[where[i]] += s->parts[i].vcpus;
			units[where[i]] += s->parts[i].units;
			set |= 1u << where[i];
		}
		if (set >> s->h->n_nodes & 1 && set != 1u << s->h->n_nodes)
			continue;
		for (unsigned int i = 0; fits && i < p->n_nodes; i++)
			fits = units[i] <= room_of(p, i) &&
			       (counts ? vcpus[i] == counts[i] : vcpus[i] <= p->free_of[i]);
		if (fits)
			look(p, cpu, set, where);
	}
}

static void look_at_all(struct places *p, const struct search *s)
{
	const struct host *h = s->h;
	unsigned int need = 0;
	int cpu[CPUS_MAX] = {0};

	*p = (struct places){.s = s, .n_nodes = h->n_nodes};
	for (unsigned int i = 0; i < s->n_parts; i++)
		need += s->parts[i].vcpus;
	for (unsigned int i = 0; i < h->n_cpus; i++) {
		unsigned int node = 0;

		while (node < h->n_nodes && h->nodes[node].id != h->cpus[i].node)
			node++;
		p->node_of[i] = node;
		if (node == h->n_nodes)
			p->n_nodes = h->n_nodes + 1;
		p->free_of[node] += idset_has(&s->free, (unsigned int)h->cpus[i].id);
		for (unsigned int j = 0; j < h->n_cpus; j++) {
			bool pair = s->threads == PLACE_THREADS_REQUIRE && same_core(&h->cpus[i], &h->cpus[j]);

			if (s->floating || s->threads == PLACE_THREADS_PREFER)
				p->usable[node] = p->free_of[node] > 0;
			else if ((i == j || pair) && is_allowed(s, 1u << i | 1u << j))
				p->usable[node] = true;
		}
	}
	for (unsigned int i = 0; need == 0 && i <= h->n_nodes; i++)
		p->usable[i] = i < h->n_nodes && h->nodes[i].holds_guests;
	if (s->floating) {
		look_at_nodes(p, NULL, NULL);
		return;
	}
	for (unsigned int set = 0; set < 1u << h->n_cpus; set++) {
		unsigned int counts[5] = {0}, n = 0;

		if ((unsigned int)__builtin_popcount(set) != need || !is_allowed(s, set))
			continue;
		for (unsigned int i = 0; i < h->n_cpus; i++)
			if (set >> i & 1) {
				counts[p->node_of[i]]++;
				cpu[n++] = h->cpus[i].id;
			}
		look_at_nodes(p, cpu, counts);
	}
}

/* --- is a result what it says --- */

static unsigned int intact_guest_cores(const struct search *s, const int *cpu)
{
	unsigned int n = 0, t = s->guest_threads;

	for (unsigned int i = 0, v = 0; i < s->n_parts; v += s->parts[i++].vcpus)
		for (unsigned int k = 0; k + t <= s->parts[i].vcpus; k += t) {
			bool intact = true;

			for (unsigned int j = 1; j < t; j++)
				intact =
					intact && same_core(host_cpu(s->h, cpu[v + k]), host_cpu(s->h, cpu[v + k + j]));
			n += intact;
		}
	return n;
}

static const char *why_invalid(const struct search *s, const int *cpu, const struct search_result *r)
{
	struct idset cpus = IDSET_EMPTY;
	unsigned int need = 0, set = 0, chunks = 0;

	for (unsigned int i = 0; i < s->n_parts; i++)
		for (unsigned int k = 0; k < s->parts[i].vcpus; k++, need++) {
			const struct host_cpu *c = s->floating ? NULL : host_cpu(s->h, cpu[need]);

			if (s->floating)
				continue;
			if (!c || !idset_has(&s->free, (unsigned int)c->id))
				return "a CPU that is not free";
			if (idset_has(&cpus, (unsigned int)c->id))
				return "a CPU twice";
			if (r->node_of_part[i] >= 0 && r->node_of_part[i] != c->node)
				return "a part's CPU is not on its node";
			if (c->node >= 0 && !idset_has(&r->nodes, (unsigned int)c->node))
				return "a CPU outside the nodes";
			idset_add(&cpus, (unsigned int)c->id);
			set |= 1u << (c - s->h->cpus);
		}
	if (s->floating)
		return idset_is_subset(&r->cpus, &s->free) && idset_is_empty(&r->idle) ? NULL : "floats outside free";
	if (!idset_equal(&cpus, &r->cpus))
		return "cpus is not what cpu[] says";
	if (!is_allowed(s, set))
		return "against the rule of threads";
	for (unsigned int i = 0; i < s->h->n_cpus; i++) {
		unsigned int same = 0;
		bool idle = idset_has(&r->idle, (unsigned int)s->h->cpus[i].id), first = true;

		for (unsigned int j = 0; j < s->h->n_cpus; j++)
			if (same_core(&s->h->cpus[i], &s->h->cpus[j])) {
				same += set >> j & 1;
				first = first && j >= i;
			}
		if (idle != (s->threads == PLACE_THREADS_ISOLATE && same > 0 && !(set >> i & 1)))
			return "wrong idle siblings";
		if (first && s->guest_threads > 1)
			chunks += same / s->guest_threads;
	}
	if (s->guest_threads > 1 && s->n_parts == 1) {
		unsigned int most = need / s->guest_threads;

		if (intact_guest_cores(s, cpu) != (most < chunks ? most : chunks))
			return "guest cores are torn for nothing";
	}
	return NULL;
}

static void show_cost(const char *what, const struct search_cost *c)
{
	printf("# %s:", what);
	for (unsigned int i = 0; i < COST_IDS; i++)
		if (c->v[i])
			printf(" %s=%llu", search_cost_name((enum search_cost_id)i), (unsigned long long)c->v[i]);
	printf("\n");
}

static void show_case(const struct random_case *c)
{
	printf("# threads %d guest_threads %u latency %d floating %d split %d\n", (int)c->s.threads, c->s.guest_threads,
	       c->s.latency, c->s.floating, c->s.split);
	for (unsigned int i = 0; i < c->s.n_parts; i++)
		printf("# part %u vCPUs, %llu units\n", c->parts[i].vcpus, (unsigned long long)c->parts[i].units);
	for (unsigned int i = 0; i < c->h.n_cpus; i++) {
		const struct host_cpu *p = &c->h.cpus[i];
		unsigned int id = (unsigned int)p->id;

		printf("# cpu %d node %d die %d l3 %d (%llu) core %d kind %d%s%s%s\n", p->id, p->node, p->die, p->l3,
		       (unsigned long long)p->l3_size, p->core, p->kind, idset_has(&c->s.free, id) ? " free" : "",
		       idset_has(&c->s.busy, id) ? " busy" : "", idset_has(&c->s.current, id) ? " current" : "");
	}
	for (unsigned int i = 0; i < c->h.n_nodes; i++) {
		printf("# node %d%s%s", c->h.nodes[i].id,
		       idset_has(&c->s.devices, (unsigned int)c->h.nodes[i].id) ? " device" : "",
		       idset_has(&c->s.anchor, (unsigned int)c->h.nodes[i].id) ? " anchor" : "");
		if (c->s.room)
			printf(" room %lld", (long long)c->room[i]);
		if (c->s.ready)
			printf(" ready %lld", (long long)c->ready[i]);
		if (c->s.load)
			printf(" load %lld", (long long)c->load[i]);
		printf(" distances");
		for (unsigned int j = 0; j < c->h.n_nodes; j++)
			printf(" %u", c->h.nodes[i].distance[j]);
		printf("\n");
	}
}

struct totals {
	unsigned int placed, impossible, floating, cells, split;
	uint64_t places;
};

static void compare_case(struct random_case *c, uint64_t number, struct totals *sum)
{
	int cpu[4 * (CPUS_MAX + 3)], again[4 * (CPUS_MAX + 3)];
	struct search_result r, r2;
	const char *bad = NULL;
	struct places all;
	int got = place_search(&c->s, cpu, &r), before = tap_failed;

	look_at_all(&all, &c->s);
	sum->places += all.count;
	if (got == 0) {
		sum->placed++;
		sum->floating += c->s.floating;
		sum->cells += c->s.n_parts > 1 && idset_count(&r.nodes) > 1;
		sum->split += c->s.n_parts == 1 && idset_count(&r.nodes) > 1;
		bad = why_invalid(&c->s, cpu, &r);
	} else {
		sum->impossible++;
	}
	if (got != 0 && got != -ENOSPC)
		TAP_FAIL("case %llu: %d", (unsigned long long)number, got);
	else if (bad)
		TAP_FAIL("case %llu: %s", (unsigned long long)number, bad);
	else if ((got == 0) != all.found)
		TAP_FAIL("case %llu: %s", (unsigned long long)number,
			 all.found ? "a place is not found" : "impossible");
	else if (got == 0 && search_cost_compare(&r.cost, &all.best) != 0)
		TAP_FAIL("case %llu: not the least cost", (unsigned long long)number);
	if (got == 0) {
		r2 = r;
		OK(place_search_cost(&c->s, cpu, &r2) == 0 && search_cost_compare(&r.cost, &r2.cost) == 0);
		memset(&r2, 0x5a, sizeof(r2));
		OK(place_search(&c->s, again, &r2) == 0 && idset_equal(&r.cpus, &r2.cpus) &&
		   idset_equal(&r.nodes, &r2.nodes));
		for (unsigned int i = 0, v = 0; i < c->s.n_parts && !c->s.floating; i++)
			for (unsigned int k = 0; k < c->parts[i].vcpus; k++, v++)
				OK(cpu[v] == again[v]);
	}
	if (tap_failed > before && before < 2) {
		show_case(c);
		if (got == 0)
			show_cost("found", &r.cost);
		if (all.found)
			show_cost("least", &all.best);
	}
}

TEST(equals_exhaustive_search)
{
	uint64_t seed = setting("DOMTUNE_SEARCH_SEED", 1), cases = setting("DOMTUNE_SEARCH_CASES", 2500);
	struct totals sum = {0};

	for (uint64_t i = 0; i < cases; i++) {
		struct random_case c;

		random_state = (seed * UINT64_C(1000003) + i + 1) * UINT64_C(0x9e3779b97f4a7c15);
		/* Mostly small ones: subsets double with each CPU. Every 50th is as large as may be. */
		random_case(&c, i % 50 == 0 ? CPUS_MAX : 8 + (unsigned int)(i % 5));
		compare_case(&c, i, &sum);
		free_case(&c);
	}
	printf("# %llu cases: %u placed (%u floating, %u on nodes, %u cells on nodes), %u impossible; %llu places\n",
	       (unsigned long long)cases, sum.placed, sum.floating, sum.split, sum.cells, sum.impossible,
	       (unsigned long long)sum.places);
	/* The generator is worth something. */
	OK(cases < 1000 || (sum.placed > cases / 3 && sum.floating > cases / 20 && sum.split > cases / 100 &&
			    sum.cells > cases / 100 && sum.impossible > cases / 20));
}

/* --- cases whose answer is known --- */

struct known {
	const char *what;
	struct host_spec host;
	const char *busy, *outside, *current, *devices, *anchor; /* lists; outside: neither free nor busy */
	struct search s;                                         /* without host and sets */
	unsigned int vcpus[4];                                   /* of the parts; units: as many */
	uint64_t room[4], ready[4], load[4];                     /* all 0: not given */
	const char *want; /* CPUs of the vCPUs in order, or "floats LIST"; NULL: impossible */
	const char *nodes, *idle;
};

#define PREFER  .threads = PLACE_THREADS_PREFER
#define ISOLATE .threads = PLACE_THREADS_ISOLATE
#define REQUIRE .threads = PLACE_THREADS_REQUIRE

static const struct known known[] = {
	/* 2 nodes, 4 cores each, 2 threads: CPU 0-3 and 8-11 are node 0, siblings are 8 apart */
	{"whole cores first, siblings next to each other",
	 {.nodes = 2, .threads = 2},
	 .s = {PREFER},
	 .vcpus = {4},
	 .want = "0 8 1 9",
	 .nodes = "0"},
	{"the tighter node, so that the larger hole stays",
	 {.nodes = 2, .threads = 2},
	 .busy = "4,12",
	 .s = {PREFER},
	 .vcpus = {4},
	 .want = "5 13 6 14",
	 .nodes = "1"},
	{"an odd one fills a hole rather than break a core",
	 {.nodes = 1, .threads = 2},
	 .busy = "0",
	 .s = {PREFER},
	 .vcpus = {3},
	 .want = "4 1 5",
	 .nodes = "0"},
	{"but two do not sit in two holes where a core is whole",
	 {.nodes = 1, .threads = 2},
	 .busy = "0,1",
	 .s = {PREFER},
	 .vcpus = {2},
	 .want = "2 6",
	 .nodes = "0"},
	{"a core of whose siblings one is not to be given is no whole one",
	 {.nodes = 1, .threads = 2},
	 .outside = "0,4,1",
	 .s = {PREFER},
	 .vcpus = {2},
	 .want = "2 6",
	 .nodes = "0"},
	{"one per core, siblings idle",
	 {.nodes = 1, .threads = 2},
	 .s = {ISOLATE},
	 .vcpus = {3},
	 .want = "0 1 2",
	 .nodes = "0",
	 .idle = "4-6"},
	{"not beside somebody else",
	 {.nodes = 1, .threads = 2},
	 .busy = "4,1",
	 .s = {ISOLATE},
	 .vcpus = {2},
	 .want = "2 3",
	 .nodes = "0",
	 .idle = "6-7"},
	{"an idle sibling may be outside of what is given",
	 {.nodes = 1, .threads = 2},
	 .outside = "4-7",
	 .s = {ISOLATE},
	 .vcpus = {4},
	 .want = "0 1 2 3",
	 .nodes = "0",
	 .idle = "4-7"},
	{"more than there are cores", {.nodes = 1, .threads = 2}, .s = {ISOLATE}, .vcpus = {5}},
	{"an odd number leaves one alone", {.nodes = 1, .threads = 2}, .s = {REQUIRE}, .vcpus = {3}},
	{"pairs only",
	 {.nodes = 1, .threads = 2},
	 .busy = "0,5",
	 .s = {REQUIRE},
	 .vcpus = {4},
	 .want = "2 6 3 7",
	 .nodes = "0"},
	{"three of four siblings are together",
	 {.nodes = 1, .threads = 4},
	 .s = {REQUIRE},
	 .vcpus = {3},
	 .want = "0 4 8",
	 .nodes = "0"},
	{"five are three and two",
	 {.nodes = 1, .cores = 2, .threads = 4},
	 .s = {REQUIRE},
	 .vcpus = {5},
	 .want = "0 2 4 1 3",
	 .nodes = "0"},
	{"no siblings at all", {.nodes = 1, .threads = 1}, .s = {REQUIRE}, .vcpus = {2}},

	/* nodes */
	{"the devices' node, though the other is tighter",
	 {.nodes = 2, .threads = 2},
	 .busy = "4,12",
	 .devices = "0",
	 .s = {PREFER},
	 .vcpus = {2},
	 .want = "0 8",
	 .nodes = "0"},
	{"one node rather than the devices'",
	 {.nodes = 2},
	 .busy = "0-2",
	 .devices = "0",
	 .s = {PREFER},
	 .vcpus = {4},
	 .want = "4 5 6 7",
	 .nodes = "1"},
	{"the nearest node to the devices'",
	 {.nodes = 4},
	 .busy = "8-10",
	 .devices = "2",
	 .s = {PREFER},
	 .vcpus = {2},
	 .want = "12 13",
	 .nodes = "3"},
	{"where the memory is, before the devices",
	 {.nodes = 2},
	 .devices = "0",
	 .anchor = "1",
	 .s = {PREFER},
	 .vcpus = {2},
	 .want = "4 5",
	 .nodes = "1"},
	{"no split unless it may be", {.nodes = 2}, .s = {PREFER}, .vcpus = {6}},
	{"near nodes, evenly, the tighter pair",
	 {.nodes = 4},
	 .busy = "8",
	 .s = {PREFER, .split = true},
	 .vcpus = {6},
	 .want = "9 10 11 12 13 14",
	 .nodes = "2-3"},
	{"near nodes, though others would be filled",
	 {.nodes = 4},
	 .busy = "0-1,8-9",
	 .s = {PREFER, .split = true},
	 .vcpus = {5},
	 .want = "2 3 4 5 6",
	 .nodes = "0-1"},
	{"evenly up to whole cores",
	 {.nodes = 2, .cores = 4, .threads = 2},
	 .s = {PREFER, .split = true},
	 .vcpus = {10},
	 .want = "0 8 1 9 2 10 4 12 5 13",
	 .nodes = "0-1"},
	{"memory alone asks for a second node",
	 {.nodes = 2},
	 .s = {PREFER, .split = true},
	 .vcpus = {4},
	 .room = {2, 3},
	 .want = "0 1 4 5",
	 .nodes = "0-1"},
	{"memory is a reason for a node",
	 {.nodes = 2},
	 .s = {PREFER},
	 .vcpus = {4},
	 .room = {3, 4},
	 .want = "4 5 6 7",
	 .nodes = "1"},
	{"memory nowhere", {.nodes = 2}, .s = {PREFER}, .vcpus = {4}, .room = {3, 3}},
	{"pages that are there, before such as have to be added",
	 {.nodes = 2},
	 .s = {PREFER},
	 .vcpus = {2},
	 .room = {9, 9},
	 .ready = {1, 2},
	 .want = "4 5",
	 .nodes = "1"},

	/* L3 groups and kinds */
	{"one L3 group, the tighter one",
	 {.nodes = 1, .cores = 8, .l3 = 4},
	 .busy = "4",
	 .s = {PREFER},
	 .vcpus = {3},
	 .want = "5 6 7",
	 .nodes = "0"},
	{"one L3 group rather than filling two holes",
	 {.nodes = 1, .cores = 12, .l3 = 4},
	 .busy = "0-2,4-6",
	 .s = {PREFER},
	 .vcpus = {2},
	 .want = "8 9",
	 .nodes = "0"},
	{"the node with one L3 group for it",
	 {.nodes = 2, .cores = 4, .l3 = 2},
	 .busy = "0,2",
	 .s = {PREFER},
	 .vcpus = {2},
	 .want = "4 5",
	 .nodes = "1"},
	{"one kind of core, the fast one",
	 {.nodes = 1, .cores = 6, .slow = 3},
	 .s = {PREFER},
	 .vcpus = {3},
	 .want = "0 1 2",
	 .nodes = "0"},
	{"one kind, though there are fast ones",
	 {.nodes = 1, .cores = 6, .slow = 4},
	 .s = {PREFER, .latency = true},
	 .vcpus = {3},
	 .want = "2 3 4",
	 .nodes = "0"},
	{"two kinds only where neither is enough",
	 {.nodes = 1, .cores = 6, .slow = 3},
	 .s = {PREFER},
	 .vcpus = {4},
	 .want = "0 1 2 3",
	 .nodes = "0"},
	{"fast cores for latency, on a worse node",
	 {.nodes = 2, .cores = 4, .slow = 2},
	 .busy = "0",
	 .devices = "0",
	 .s = {PREFER, .latency = true},
	 .vcpus = {2},
	 .want = "4 5",
	 .nodes = "1"},

	/* guests with SMT and with cells */
	{"guest cores on host cores",
	 {.nodes = 1, .cores = 4, .threads = 2},
	 .busy = "0",
	 .s = {PREFER, .guest_threads = 2},
	 .vcpus = {4},
	 .want = "1 5 2 6",
	 .nodes = "0"},
	{"the guest core that must be torn is the last",
	 {.nodes = 1, .cores = 3, .threads = 2},
	 .busy = "0,4",
	 .s = {PREFER, .guest_threads = 2},
	 .vcpus = {4},
	 .want = "2 5 3 1",
	 .nodes = "0"},
	{"cells on one node if it holds them",
	 {.nodes = 2},
	 .s = {PREFER, .n_parts = 2},
	 .vcpus = {2, 2},
	 .want = "0 1 2 3",
	 .nodes = "0"},
	{"each cell on its node",
	 {.nodes = 2},
	 .s = {PREFER, .n_parts = 2},
	 .vcpus = {3, 3},
	 .want = "0 1 2 4 5 6",
	 .nodes = "0-1"},
	{"as evenly as cells allow",
	 {.nodes = 2, .cores = 8},
	 .s = {PREFER, .n_parts = 4},
	 .vcpus = {6, 2, 2, 2},
	 .want = "0 1 2 3 4 5 8 9 10 11 12 13",
	 .nodes = "0-1"},
	{"a cell is not split", {.nodes = 2}, .busy = "0,4", .s = {PREFER, .n_parts = 2}, .vcpus = {4, 1}},
	{"cells where their memory fits",
	 {.nodes = 2},
	 .s = {PREFER, .n_parts = 2},
	 .vcpus = {1, 3},
	 .room = {3, 1},
	 .want = "4 0 1 2",
	 .nodes = "0-1"},

	/* again */
	{"not moved for a place that is no better",
	 {.nodes = 2},
	 .current = "6-7",
	 .s = {PREFER},
	 .vcpus = {2},
	 .want = "6 7",
	 .nodes = "1"},
	{"moved for a whole core",
	 {.nodes = 1, .threads = 2},
	 .current = "0,1",
	 .s = {PREFER},
	 .vcpus = {2},
	 .want = "0 4",
	 .nodes = "0"},

	{"a floating one is not moved for a little less load",
	 {.nodes = 2},
	 .current = "4-7",
	 .load = {100, 600},
	 .s = {.floating = true},
	 .vcpus = {1},
	 .want = "floats 4-7",
	 .nodes = "1"},
	{"but where it has no CPU to itself",
	 {.nodes = 2},
	 .current = "4-7",
	 .load = {100, 1600},
	 .s = {.floating = true},
	 .vcpus = {1},
	 .want = "floats 0-3",
	 .nodes = "0"},

	/* floating */
	{"floats over all free CPUs of a node",
	 {.nodes = 2},
	 .busy = "0",
	 .s = {.floating = true},
	 .vcpus = {4},
	 .want = "floats 4-7",
	 .nodes = "1"},
	{"over two",
	 {.nodes = 2},
	 .busy = "0,5",
	 .s = {.floating = true, .split = true},
	 .vcpus = {4},
	 .want = "floats 1-4,6-7",
	 .nodes = "0-1"},
	{"nothing free", {.nodes = 2}, .busy = "0-7", .s = {.floating = true}, .vcpus = {1}},
	{"no vCPU at all: where the memory fits",
	 {.nodes = 2},
	 .busy = "0-7",
	 .s = {PREFER},
	 .vcpus = {0},
	 .want = "",
	 .nodes = "0"},
};

static void sets_of_known(const struct known *k, const struct host *h, struct search *s)
{
	struct idset outside = set_of(k->outside);

	s->h = h;
	s->busy = set_of(k->busy);
	s->free = h->online;
	idset_andnot(&s->free, &s->busy);
	idset_andnot(&s->free, &outside);
	s->current = set_of(k->current);
	s->devices = set_of(k->devices);
	s->anchor = set_of(k->anchor);
}

static void is_list(const char *what, const struct idset *set, const char *want)
{
	char *text = idset_text(set);

	if (!streq(text, want ? want : ""))
		TAP_FAIL("%s: %s, not %s", what, text, want ? want : "nothing");
	free(text);
}

TEST(known_answers)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		const struct known *k = &known[i];
		struct search_part parts[4];
		struct search s = k->s;
		struct search_result r;
		struct sbuf got = {0};
		struct host h;
		int cpu[64], ret;

		host_make(&h, &k->host);
		sets_of_known(k, &h, &s);
		s.parts = parts;
		s.n_parts = s.n_parts ? s.n_parts : 1;
		for (unsigned int j = 0; j < 4; j++)
			parts[j] = (struct search_part){k->vcpus[j], k->vcpus[j]};
		s.room = k->room[0] ? k->room : NULL;
		s.ready = k->ready[0] ? k->ready : NULL;
		s.load = k->load[0] ? k->load : NULL;
		ret = place_search(&s, cpu, &r);
		if (ret || !k->want) {
			if ((ret == -ENOSPC) != !k->want)
				TAP_FAIL("%s: %d", k->what, ret);
			host_free(&h);
			continue;
		}
		for (unsigned int j = 0, v = 0; j < s.n_parts && !s.floating; v += parts[j++].vcpus)
			for (unsigned int n = 0; n < parts[j].vcpus; n++)
				sbuf_addf(&got, "%s%d", v + n > 0 ? " " : "", cpu[v + n]);
		if (s.floating) {
			char *text = idset_text(&r.cpus);

			sbuf_addf(&got, "floats %s", text);
			free(text);
		}
		if (!streq(got.s ? got.s : "", k->want))
			TAP_FAIL("%s: '%s', not '%s'", k->what, got.s ? got.s : "", k->want);
		is_list(k->what, &r.nodes, k->nodes);
		is_list(k->what, &r.idle, k->idle);
		sbuf_fini(&got);
		host_free(&h);
	}
}

/* Ryzen 7950X3D and the like: one of two dies has more L3. */
TEST(the_large_cache_is_preferred)
{
	struct host_spec spec = {.cores = 8, .threads = 2, .l3 = 4};
	struct search_part part = {.vcpus = 4};
	struct search s = {.parts = &part, .n_parts = 1};
	struct search_result r;
	struct host h;
	char why[256];
	int cpu[16];

	host_make(&h, &spec);
	for (unsigned int i = 0; i < h.n_cpus; i++)
		h.cpus[i].l3_size = (h.cpus[i].l3 == 1 ? 96 : 32) * MIB;
	s.h = &h;
	s.free = h.online;
	IS_INT(place_search(&s, cpu, &r), 0);
	is_list("4 vCPUs", &r.cpus, "4-5,12-13");
	place_search_why_cpus(&s, &r, why, sizeof(why));
	IS_STR(why, "one L3 group, the large cache, whole cores");
	/* But one group rather than the larger cache for a part. */
	part.vcpus = 8;
	idset_del(&s.free, 7);
	IS_INT(place_search(&s, cpu, &r), 0);
	is_list("8 vCPUs", &r.cpus, "0-3,8-11");
	place_search_why_cpus(&s, &r, why, sizeof(why));
	IS_STR(why, "one L3 group, 8 vCPUs without the large cache, whole cores");
	/* A size that is not known is no reason. */
	for (unsigned int i = 0; i < h.n_cpus; i++)
		h.cpus[i].l3_size = h.cpus[i].l3 == 1 ? 96 * MIB : 0;
	part.vcpus = 4;
	idset_add(&s.free, 7);
	IS_INT(place_search(&s, cpu, &r), 0);
	is_list("size unknown", &r.cpus, "0-1,8-9");
	host_free(&h);
}

TEST(reasons)
{
	static const struct {
		struct host_spec host;
		const char *busy, *devices, *anchor, *current;
		struct search s;
		unsigned int vcpus[2];
		const char *why, *cpus;
	} cases[] = {
		{{.nodes = 1}, .s = {PREFER}, .vcpus = {2}, .why = "the only node", .cpus = ""},
		{{.nodes = 2},
		 .devices = "1",
		 .s = {PREFER},
		 .vcpus = {2},
		 .why = "one node is enough, where its devices are",
		 .cpus = "one L3 group"},
		{{.nodes = 2},
		 .busy = "4",
		 .devices = "1",
		 .s = {PREFER},
		 .vcpus = {4},
		 .why = "one node is enough, the nearest to its devices",
		 .cpus = "one L3 group"},
		{{.nodes = 4, .threads = 2},
		 .s = {PREFER, .split = true},
		 .vcpus = {9},
		 .why = "2 nodes, none has room for its CPUs, near each other",
		 .cpus = "2 L3 groups, whole cores but for 1 vCPU"},
		{{.nodes = 2},
		 .s = {PREFER, .n_parts = 2},
		 .vcpus = {3, 3},
		 .why = "2 guest cells on 2 nodes, each whole",
		 .cpus = "2 L3 groups"},
		{{.threads = 2},
		 .current = "1,5",
		 .s = {PREFER, .guest_threads = 2},
		 .vcpus = {2},
		 .why = "the only node",
		 .cpus = "whole cores, guest cores on host cores, where it is"},
		{{.threads = 2}, .s = {ISOLATE}, .vcpus = {2}, .why = "the only node",
		 .cpus = ""},
		{{.cores = 6, .slow = 3}, .s = {PREFER}, .vcpus = {3}, .why = "the only node",
		 .cpus = "fast cores"},
		{{.cores = 6, .slow = 3}, .s = {PREFER}, .vcpus = {4}, .why = "the only node",
		 .cpus = "no kind of core has enough"},
		{{.nodes = 2},
		 .anchor = "1",
		 .s = {.floating = true},
		 .vcpus = {2},
		 .why = "one node is enough, with its memory",
		 .cpus = ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct search_part parts[2] = {{.vcpus = cases[i].vcpus[0]}, {.vcpus = cases[i].vcpus[1]}};
		struct search s = cases[i].s;
		struct search_result r;
		struct host h;
		char why[256], cut[20];
		int cpu[64];

		host_make(&h, &cases[i].host);
		s.h = &h;
		s.busy = set_of(cases[i].busy);
		s.free = h.online;
		idset_andnot(&s.free, &s.busy);
		s.devices = set_of(cases[i].devices);
		s.anchor = set_of(cases[i].anchor);
		s.current = set_of(cases[i].current);
		s.parts = parts;
		s.n_parts = s.n_parts ? s.n_parts : 1;
		IS_INT(place_search(&s, cpu, &r), 0);
		place_search_why_nodes(&s, &r, why, sizeof(why));
		IS_STR(why, cases[i].why);
		place_search_why_cpus(&s, &r, why, sizeof(why));
		IS_STR(why, cases[i].cpus);
		/* Too small a buffer: whole items only. */
		place_search_why_cpus(&s, &r, cut, sizeof(cut));
		OK(strlen(cut) < sizeof(cut) && str_starts(why, cut));
		host_free(&h);
	}
}

/* Large hosts: domains come and go; every place is one, and no CPU is given twice. */
TEST(sequences_on_large_hosts)
{
	static const struct host_spec specs[] = {
		{.nodes = 16, .cores = 16, .threads = 2, .l3 = 4},
		{.nodes = 8, .cores = 12, .threads = 2, .l3 = 3},
		{.nodes = 2, .cores = 64, .threads = 1},
		{.nodes = 4, .cores = 8, .threads = 8},
		{.nodes = 1, .cores = 128, .threads = 2, .l3 = 8, .slow = 32},
	};
	enum { DOMAINS = 60 };

	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		struct idset held[DOMAINS] = {IDSET_EMPTY}, taken = IDSET_EMPTY;
		unsigned int placed = 0;
		struct host h;

		random_state = i + 1;
		host_make(&h, &specs[i]);
		for (unsigned int step = 0; step < 150; step++) {
			struct search_part parts[8];
			struct search s = {.h = &h, .busy = taken, .free = h.online, .parts = parts};
			unsigned int which = below(DOMAINS), cells = chance(30) ? 1 + below(8) : 1, need = 0, v = 0;
			struct search_result r, r2;
			int cpu[128], again[128];

			if (!idset_is_empty(&held[which])) {
				idset_andnot(&taken, &held[which]);
				held[which] = IDSET_EMPTY;
				continue;
			}
			idset_andnot(&s.free, &s.busy);
			s.threads = (enum place_threads)below(3);
			s.guest_threads = below(3);
			s.n_parts = cells;
			s.split = cells == 1 && chance(50);
			for (unsigned int k = 0; k < cells; k++) {
				parts[k] = (struct search_part){.vcpus = 2 + 2 * below(cells > 1 ? 4 : 12)};
				need += parts[k].vcpus;
			}
			if (place_search(&s, cpu, &r) < 0)
				continue;
			placed++;
			IS_INT(idset_count(&r.cpus), need);
			OK(idset_is_subset(&r.cpus, &s.free) && !idset_intersects(&r.cpus, &r.idle));
			OK(!idset_intersects(&r.idle, &taken) && idset_is_subset(&r.idle, &h.online));
			for (unsigned int k = 0; k < cells; k++)
				for (unsigned int n = 0; n < parts[k].vcpus; n++, v++) {
					const struct host_cpu *c = host_cpu(&h, cpu[v]);

					OK(c && idset_has(&r.cpus, (unsigned int)cpu[v]) &&
					   idset_has(&r.nodes, (unsigned int)c->node));
					OK(c && (r.node_of_part[k] < 0 ? s.split : r.node_of_part[k] == c->node));
				}
			IS_INT(place_search(&s, again, &r2), 0);
			OK(memcmp(cpu, again, need * sizeof(cpu[0])) == 0);
			held[which] = r.cpus;
			idset_or(&held[which], &r.idle);
			idset_or(&taken, &held[which]);
		}
		OK(placed > 20);
		host_free(&h);
	}
}

TEST(capacity)
{
	struct host_spec spec = {.cores = 4, .threads = 2};
	struct search s = {PREFER};
	struct idset cpus = set_of("0-5");
	struct host h;

	host_make(&h, &spec);
	s.h = &h;
	s.busy = set_of("6");
	IS_INT(place_search_capacity(&s, &cpus), 6);
	s.threads = PLACE_THREADS_REQUIRE;
	IS_INT(place_search_capacity(&s, &cpus), 4);
	s.threads = PLACE_THREADS_ISOLATE;
	IS_INT(place_search_capacity(&s, &cpus), 3);
	s.floating = true;
	IS_INT(place_search_capacity(&s, &cpus), 6);
	host_free(&h);
}

TAP_MAIN

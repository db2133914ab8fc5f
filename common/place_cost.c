/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a place costs: the list in place_search.h, as code.
 *
 * Each term is either a property of the set of nodes used, or a sum over the nodes, dies, L3 groups and cores of the
 * tree (place_search_tree.c) of something that depends only on how many vCPUs are there: that is what lets the search
 * be exact.
 */
#include "place_search_priv.h"

#define KIND_FACTOR_MAX 7 /* see struct search_local: further kinds are as slow as this one */

/* Where the terms of struct search_local are, in their order; bits 0: it is none of them. */
static const struct {
	unsigned char word, shift, bits;
} fields[COST_IDS] = {
	[COST_UNEVEN] = {0, 48, 14}, [COST_L3] = {0, 32, 16},      [COST_DIES] = {0, 16, 16},
	[COST_CACHE] = {0, 0, 16},   [COST_SLOWER] = {1, 48, 16},  [COST_TORN] = {1, 32, 16},
	[COST_SHARED] = {1, 16, 16}, [COST_IDLE] = {1, 0, 16},     [COST_BROKEN] = {2, 50, 14},
	[COST_MOVED] = {2, 36, 14},  [COST_HOLE_L3] = {2, 22, 14}, [COST_HOLE_NODE] = {2, 0, 22},
};

static const char *const names[COST_IDS] = {
	[COST_KINDS] = "kinds",   [COST_SLOW] = "slow",       [COST_NODES] = "nodes",
	[COST_CROWD] = "crowd",   [COST_ANCHOR] = "anchor",   [COST_DEVICES] = "devices",
	[COST_SPREAD] = "spread", [COST_GROW] = "grow",       [COST_UNEVEN] = "uneven",
	[COST_LOAD] = "load",     [COST_L3] = "l3",           [COST_DIES] = "dies",
	[COST_CACHE] = "cache",   [COST_SLOWER] = "slower",   [COST_TORN] = "torn",
	[COST_SHARED] = "shared", [COST_IDLE] = "idle",       [COST_BROKEN] = "broken",
	[COST_MOVED] = "moved",   [COST_HOLE_L3] = "hole_l3", [COST_HOLE_NODE] = "hole_node",
};

const char *search_cost_name(enum search_cost_id id)
{
	return names[id];
}

int search_cost_compare(const struct search_cost *a, const struct search_cost *b)
{
	for (unsigned int i = 0; i < COST_IDS; i++)
		if (a->v[i] != b->v[i])
			return a->v[i] < b->v[i] ? -1 : 1;
	return 0;
}

static inline void put(struct search_local *l, enum search_cost_id id, uint64_t value)
{
	l->w[fields[id].word] += value << fields[id].shift;
}

void search_unpack(const struct search_local *l, struct search_cost *add)
{
	for (unsigned int i = 0; i < COST_IDS; i++)
		if (fields[i].bits > 0)
			add->v[i] += l->w[fields[i].word] >> fields[i].shift & ((UINT64_C(1) << fields[i].bits) - 1);
}

/* --- the terms --- */

bool search_core_allows(const struct search_tree *t, const struct search_core *c, unsigned int n)
{
	if (n > c->free)
		return false;
	switch (t->s->threads) {
	case PLACE_THREADS_ISOLATE:
		return n == 0 || (n == 1 && !c->busy);
	case PLACE_THREADS_REQUIRE:
		return n != 1;
	case PLACE_THREADS_PREFER:
	default:
		return true;
	}
}

struct search_local search_core_cost(const struct search_tree *t, const struct search_group *l3,
				     const struct search_core *c, unsigned int n, unsigned int moved)
{
	unsigned int factor = c->kind < KIND_FACTOR_MAX ? c->kind : KIND_FACTOR_MAX;
	struct search_local l = {{0}};

	if (n == 0)
		return l;
	put(&l, COST_CACHE, l3->small_cache ? n : 0);
	put(&l, COST_SLOWER, n * factor);
	put(&l, COST_TORN, t->s->guest_threads > 1 ? n % t->s->guest_threads : 0);
	put(&l, COST_MOVED, moved);
	if (t->s->threads == PLACE_THREADS_ISOLATE) {
		put(&l, COST_IDLE, c->total - n);
	} else if (n < c->total) {
		put(&l, COST_SHARED, n);
		put(&l, COST_BROKEN, !c->busy);
	}
	return l;
}

struct search_local search_l3_cost(const struct search_group *l3, unsigned int n)
{
	struct search_local l = {{0}};

	if (n > 0 && l3->known) {
		put(&l, COST_L3, 1);
		put(&l, COST_HOLE_L3, l3->free - n);
	}
	return l;
}

struct search_local search_die_cost(const struct search_group *die, unsigned int n)
{
	struct search_local l = {{0}};

	put(&l, COST_DIES, n > 0 && die->known);
	return l;
}

struct search_local search_node_cost(const struct search_tree *t, const struct search_node *node, unsigned int n)
{
	struct search_local l = {{0}};

	if (!t->s->floating && t->most_free > 0)
		put(&l, COST_HOLE_NODE, UINT64_C(1000) * (node->dies.free - n) / t->most_free);
	return l;
}

unsigned int search_even_share(const struct search_tree *t, unsigned int m)
{
	unsigned int share = (t->need + m - 1) / m;

	return (share + t->width - 1) / t->width * t->width;
}

struct search_local search_uneven_cost(unsigned int n, unsigned int share)
{
	struct search_local l = {{0}};

	put(&l, COST_UNEVEN, n > share ? n - share : 0);
	return l;
}

/* 1000 * a / b, b > 0, a <= b */
static uint64_t thousandths(uint64_t a, uint64_t b)
{
	while (a > UINT64_MAX / 1000) {
		a >>= 1;
		b >>= 1;
	}
	return b > 0 ? a * 1000 / b : 0;
}

void search_memory_cost(const struct search_tree *t, const struct search_node *node, uint64_t units,
			struct search_cost *add)
{
	if (!t->s->room || node->room == HOST_UNKNOWN)
		return;
	if (t->s->ready && node->ready != HOST_UNKNOWN && units > node->ready)
		add->v[COST_GROW] += units - node->ready;
	if (t->most_room > 0 && node->room > units)
		add->v[COST_HOLE_NODE] += thousandths(node->room - units, t->most_room);
}

/* ACPI SLIT: 255 is unreachable; so are CPUs of which we know no node. */
unsigned int search_distance(const struct search_tree *t, unsigned int from, unsigned int to)
{
	return from < t->h->n_nodes && to < t->h->n_nodes ? t->h->nodes[from].distance[to] : 255;
}

static uint64_t nearness(const struct search_tree *t, const unsigned int *points, unsigned int n,
			 const unsigned int *set, unsigned int m)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < n; i++) {
		unsigned int best = UINT32_MAX;

		for (unsigned int j = 0; j < m; j++) {
			unsigned int d = search_distance(t, t->nodes[set[j]].index, points[i]);

			best = d < best ? d : best;
		}
		sum += best;
	}
	return sum;
}

/* vCPUs per CPU once the domain is there, in thousandths. */
static uint64_t load_after(const struct search_tree *t, const unsigned int *set, unsigned int m)
{
	uint64_t load = UINT64_C(1000) * t->need, cpus = 0;

	for (unsigned int j = 0; j < m; j++) {
		const struct search_node *n = &t->nodes[set[j]];

		cpus += n->dies.free;
		if (t->s->load && n->index < t->h->n_nodes)
			load += t->s->load[n->index] * n->dies.free;
	}
	return cpus > 0 ? load / cpus : 0;
}

void search_set_cost(const struct search_tree *t, const unsigned int *set, unsigned int m, struct search_cost *ret)
{
	uint64_t *v = ret->v, load;

	memset(ret, 0, sizeof(*ret));
	v[COST_NODES] = m;
	for (unsigned int j = 0; j < m; j++) {
		v[COST_NODES] += t->nodes[set[j]].index == t->h->n_nodes;
		for (unsigned int i = 0; i < j; i++)
			v[COST_SPREAD] += t->pairs[set[j] * t->n_nodes + set[i]];
	}
	v[COST_ANCHOR] = nearness(t, t->anchor, t->n_anchor, set, m);
	v[COST_DEVICES] = nearness(t, t->devices, t->n_devices, set, m);
	if (!t->s->floating)
		return;
	load = load_after(t, set, m);
	v[COST_CROWD] = load > 1000 ? (load - 1) / 1000 : 0;
	v[COST_LOAD] = load;
	for (unsigned int i = 0, j = 0; i < t->n_nodes; i++) {
		if (j < m && set[j] == i)
			j++;
		else
			v[COST_MOVED] += t->nodes[i].current;
	}
}

void search_kinds_cost(const struct search_tree *t, uint64_t kinds, struct search_cost *add)
{
	if (t->s->floating || kinds == 0)
		return;
	add->v[COST_KINDS] = (uint64_t)__builtin_popcountll(kinds) - 1;
	for (uint64_t left = t->s->latency ? kinds : 0; left; left &= left - 1)
		add->v[COST_SLOW] += (uint64_t)__builtin_ctzll(left);
}

/* --- a given place --- */

/* How many vCPUs of a given place are where, and how much memory. */
struct tally {
	unsigned int *core, *moved, *l3, *die, *node; /* vCPUs */
	uint64_t *units;                              /* by node */
	unsigned int *set, m;                         /* the nodes used */
	bool *used;
	uint64_t kinds;
};

static void tally_fini(struct tally *y)
{
	free(y->core);
	free(y->moved);
	free(y->l3);
	free(y->die);
	free(y->node);
	free(y->units);
	free(y->set);
	free(y->used);
}

static int tally_init(struct tally *y, const struct search_tree *t)
{
	size_t n = t->h->n_cpus + 1u;

	*y = (struct tally){0};
	y->core = calloc(n, sizeof(*y->core));
	y->moved = calloc(n, sizeof(*y->moved));
	y->l3 = calloc(n, sizeof(*y->l3));
	y->die = calloc(n, sizeof(*y->die));
	y->node = calloc(t->n_nodes + 1u, sizeof(*y->node));
	y->units = calloc(t->n_nodes + 1u, sizeof(*y->units));
	y->set = calloc(t->n_nodes + 1u, sizeof(*y->set));
	y->used = calloc(t->n_nodes + 1u, sizeof(*y->used));
	return y->core && y->moved && y->l3 && y->die && y->node && y->units && y->set && y->used ? 0 : -ENOMEM;
}

static void tally_cpus(struct tally *y, const struct search_tree *t, const int *cpu)
{
	for (unsigned int i = 0; !t->s->floating && i < t->need; i++) {
		const struct host_cpu *c = host_cpu(t->h, cpu[i]);
		unsigned int core = c ? t->core_of[c - t->h->cpus] : 0;

		if (!c)
			continue;
		y->core[core]++;
		y->moved[core] += !idset_is_empty(&t->s->current) && !idset_has(&t->s->current, (unsigned int)c->id);
		y->kinds |= search_kind_bit(&t->cores[core]);
	}
	for (unsigned int i = 0; i < t->n_l3s; i++)
		for (unsigned int j = 0; j < t->l3s[i].n; j++)
			y->l3[i] += y->core[t->l3s[i].first + j];
	for (unsigned int i = 0; i < t->n_dies; i++)
		for (unsigned int j = 0; j < t->dies[i].n; j++)
			y->die[i] += y->l3[t->dies[i].first + j];
	for (unsigned int i = 0; i < t->n_nodes; i++)
		for (unsigned int j = 0; j < t->nodes[i].dies.n; j++)
			y->node[i] += y->die[t->nodes[i].dies.first + j];
}

/* Which node of the tree part i is on; n_nodes: on all that are used. */
static unsigned int part_node(const struct search_tree *t, const struct tally *y, const struct search_result *r,
			      unsigned int i)
{
	int id = r->node_of_part[i];

	for (unsigned int j = 0; j < t->n_nodes; j++) {
		bool known = t->nodes[j].index < t->h->n_nodes;

		if (id >= 0 ? known && t->h->nodes[t->nodes[j].index].id == id : !known && y->used[j])
			return j;
	}
	return t->n_nodes;
}

static void tally_nodes(struct tally *y, const struct search_tree *t, const struct search_result *r)
{
	for (unsigned int i = 0; i < t->n_nodes; i++) {
		bool known = t->nodes[i].index < t->h->n_nodes;

		y->used[i] = y->node[i] > 0 ||
			     (known && idset_has(&r->nodes, (unsigned int)t->h->nodes[t->nodes[i].index].id));
		/* Only CPUs of unknown node are left. */
		if (!known && idset_is_empty(&r->nodes))
			y->used[i] = true;
		if (y->used[i])
			y->set[y->m++] = i;
	}
	for (unsigned int i = 0; i < t->s->n_parts; i++) {
		unsigned int node = part_node(t, y, r, i);

		if (node == t->n_nodes)
			for (unsigned int j = 0; j < y->m; j++)
				y->units[y->set[j]] += t->s->parts[i].units / y->m + (j < t->s->parts[i].units % y->m);
		else
			y->units[node] += t->s->parts[i].units;
		if (t->s->floating && node < t->n_nodes)
			y->node[node] += t->s->parts[i].vcpus;
	}
}

static void add_local(struct search_cost *to, struct search_local l)
{
	search_unpack(&l, to);
}

int search_result_cost(const struct search_tree *t, const int *cpu, struct search_result *ret)
{
	_cleanup_(tally_fini) struct tally y = {0};
	struct search_cost *cost = &ret->cost;
	unsigned int share;

	if (tally_init(&y, t))
		return -ENOMEM;
	tally_cpus(&y, t, cpu);
	tally_nodes(&y, t, ret);
	share = search_even_share(t, y.m ? y.m : 1);
	search_set_cost(t, y.set, y.m, cost);
	search_kinds_cost(t, y.kinds, cost);
	for (unsigned int j = 0; j < y.m; j++) {
		const struct search_node *n = &t->nodes[y.set[j]];

		search_memory_cost(t, n, y.units[y.set[j]], cost);
		add_local(cost, search_node_cost(t, n, y.node[y.set[j]]));
		add_local(cost, search_uneven_cost(y.node[y.set[j]], share));
	}
	for (unsigned int i = 0; i < t->n_dies; i++)
		add_local(cost, search_die_cost(&t->dies[i], y.die[i]));
	for (unsigned int i = 0; i < t->n_l3s; i++) {
		const struct search_group *l3 = &t->l3s[i];

		add_local(cost, search_l3_cost(l3, y.l3[i]));
		for (unsigned int j = l3->first; j < l3->first + l3->n; j++)
			add_local(cost, search_core_cost(t, l3, &t->cores[j], y.core[j], y.moved[j]));
	}
	return 0;
}

int place_search_cost(const struct search *s, const int *cpu, struct search_result *ret)
{
	_cleanup_(search_tree_fini) struct search_tree t = {0};
	int r = search_tree_init(&t, s);

	return r < 0 ? r : search_result_cost(&t, cpu, ret);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sets of nodes, and how vCPUs and guest cells are divided among the nodes of a set.
 */
#include "place_search_priv.h"

/* --- sets of nodes: what they cost --- */

/* n vCPUs on a node, which has room for them. */
static inline struct search_local node_local(const struct finder *f, unsigned int node, unsigned int n)
{
	struct search_local l = {{0}};

	if (!f->s->floating)
		l = f->dies[node].best[n];
	if (n > f->share) {
		struct search_local own = search_uneven_cost(n, f->share);

		search_local_add(&l, &own);
	}
	return l;
}

static void keep(struct finder *f)
{
	struct place_found old = f->best;

	f->hit = f->try.any = true;
	f->try.kinds = f->kinds;
	f->try.m = f->m;
	memcpy(f->try.set, f->set, f->m * sizeof(f->set[0]));
	if (f->best.any && search_cost_compare(&f->try.cost, &f->best.cost) >= 0)
		return;
	f->best = f->try;
	f->try = old;
}

/* The split that costs least, into try.vcpus; NEVER: there is none. 0 or -ENOMEM. */
static int split_exactly(struct finder *f, struct search_local *ret)
{
	_cleanup_(search_fold_fini) struct search_fold all = {0};
	unsigned int later = 0, k = f->t.need;
	const struct search_local *table;

	if (search_fold_init(&all, f->m, f->t.need))
		return -ENOMEM;
	for (unsigned int j = 0; j < f->m; j++)
		later += f->cap[f->set[j]];
	for (unsigned int j = f->m; j-- > 0;) {
		unsigned int node = f->set[j], low, steps;

		later -= f->cap[node];
		low = f->t.need > later ? f->t.need - later : 0;
		table = f->dies[node].best;
		if (f->cap[node] > f->share) {
			for (unsigned int n = 0; n <= f->cap[node]; n++)
				f->scratch[n] = node_local(f, node, n);
			table = f->scratch;
		}
		steps = (unsigned int)search_fold_add(&all, table, f->cap[node], low);
		f->steps -= steps < f->steps ? steps : f->steps;
	}
	*ret = all.best[f->t.need];
	for (unsigned int j = 0; j < f->m && !search_local_never(ret); j++)
		f->try.vcpus[j] = search_fold_take(&all, f->m - 1 - j, &k);
	return 0;
}

static void split_evenly(struct finder *f, struct search_local *ret)
{
	unsigned int share = f->share, rest = f->t.need;

	memset(f->try.vcpus, 0, f->m * sizeof(f->try.vcpus[0]));
	for (unsigned int pass = 0; pass < 2; pass++)
		for (unsigned int j = 0; j < f->m; j++) {
			unsigned int room = f->cap[f->set[j]] - f->try.vcpus[j];
			unsigned int more = pass == 0 && room > share ? share : room;

			more = more < rest ? more : rest;
			/* A number that the rule of threads does not allow: one less. */
			if (more > 0 && search_local_never(&f->dies[f->set[j]].best[f->try.vcpus[j] + more]))
				more--;
			f->try.vcpus[j] += more;
			rest -= more;
		}
	*ret = (struct search_local){{rest > 0 ? SEARCH_NEVER : 0, 0, 0}};
	for (unsigned int j = 0; j < f->m && !search_local_never(ret); j++) {
		struct search_local l = node_local(f, f->set[j], f->try.vcpus[j]);

		search_local_add(ret, &l);
	}
}

/* One part, on all nodes of the set. */
static int try_whole(struct finder *f)
{
	struct search_local local = {{0}};
	int r = 0;

	for (unsigned int j = 0; j < f->m; j++)
		search_memory_cost(&f->t, &f->t.nodes[f->set[j]], search_share(&f->t, f->m, j), &f->try.cost);
	if (f->m == 1) {
		f->try.vcpus[0] = f->t.need;
		if (f->cap[f->set[0]] < f->t.need)
			return 0;
		local = node_local(f, f->set[0], f->t.need);
	} else if (!f->s->floating) {
		if (f->small || f->steps > 0)
			r = split_exactly(f, &local);
		else
			split_evenly(f, &local);
	}
	if (r < 0 || search_local_never(&local))
		return r;
	search_unpack(&local, &f->try.cost);
	keep(f);
	return 0;
}

/* All parts are somewhere: f->x. */
static void try_distribution(struct finder *f)
{
	struct search_cost before = f->try.cost;
	struct search_local all = {{0}};

	f->visits -= f->m < f->visits ? f->m : f->visits;
	for (unsigned int j = 0; j < f->m; j++) {
		struct search_local l = node_local(f, f->set[j], f->node_vcpus[j]);

		if (f->node_parts[j] == 0 || search_local_never(&l))
			return;
		search_local_add(&all, &l);
	}
	for (unsigned int j = 0; j < f->m; j++) {
		search_memory_cost(&f->t, &f->t.nodes[f->set[j]], f->node_units[j], &f->try.cost);
		f->try.vcpus[j] = f->node_vcpus[j];
	}
	search_unpack(&all, &f->try.cost);
	for (unsigned int i = 0; i < f->n_sorts; i++)
		for (unsigned int j = 0, at = 0; j < f->m; j++)
			for (unsigned int k = 0; k < f->x[i * f->m + j]; k++)
				f->try.node_of_part[f->sorts[i].parts[at++]] = j;
	keep(f);
	f->try.cost = before;
}

/* How many parts of a sort node j of the set can still take, `left` at most. */
static unsigned int fitting(const struct finder *f, const struct part_sort *sort, unsigned int j, unsigned int left)
{
	const struct search_node *node = &f->t.nodes[f->set[j]];
	unsigned int n = left;

	if (sort->vcpus > 0 && (f->cap[f->set[j]] - f->node_vcpus[j]) / sort->vcpus < n)
		n = (f->cap[f->set[j]] - f->node_vcpus[j]) / sort->vcpus;
	if (sort->units > 0 && node->room != HOST_UNKNOWN && (node->room - f->node_units[j]) / sort->units < n)
		n = (unsigned int)((node->room - f->node_units[j]) / sort->units);
	return n;
}

static void put_parts(struct finder *f, unsigned int i, unsigned int j, int n)
{
	f->x[i * f->m + j] += n;
	f->node_parts[j] += n;
	f->node_vcpus[j] += n * f->sorts[i].vcpus;
	f->node_units[j] += (uint64_t)(int64_t)n * f->sorts[i].units;
}

static void distribute(struct finder *f, unsigned int i, unsigned int j, unsigned int left);

static void try_count(struct finder *f, unsigned int i, unsigned int j, unsigned int left, unsigned int n)
{
	put_parts(f, i, j, (int)n);
	distribute(f, i, j + 1, left - n);
	put_parts(f, i, j, -(int)n);
}

/* Sort i, node j of the set: how many of the `left` parts are here, the most even number first. */
static void distribute(struct finder *f, unsigned int i, unsigned int j, unsigned int left)
{
	const struct part_sort *sort;
	unsigned int most, even, target = (f->t.need + f->m - 1) / f->m;

	if (i == f->n_sorts) {
		try_distribution(f);
		return;
	}
	if (f->visits == 0)
		return;
	f->visits--;
	sort = &f->sorts[i];
	if (j == f->m) {
		if (left == 0)
			distribute(f, i + 1, 0, i + 1 < f->n_sorts ? f->sorts[i + 1].count : 0);
		return;
	}
	most = fitting(f, sort, j, left);
	if (j == f->m - 1) {
		if (most == left)
			try_count(f, i, j, left, left);
		return;
	}
	even = (left + f->m - j - 1) / (f->m - j);
	if (sort->vcpus > 0 && f->n_sorts > 1)
		even = target > f->node_vcpus[j] ? (target - f->node_vcpus[j]) / sort->vcpus : 0;
	even = even < most ? even : most;
	for (unsigned int d = 0; d <= most; d++) {
		if (even + d <= most)
			try_count(f, i, j, left, even + d);
		if (d > 0 && d <= even)
			try_count(f, i, j, left, even - d);
	}
}

static int try_parts(struct finder *f)
{
	/* A part of what is left for each set, but enough for one distribution. */
	uint64_t allowed = f->small ? f->visits : f->visits / 8 + 2 * (uint64_t)f->n_sorts * (f->m + 1u);
	uint64_t left;

	allowed = allowed < f->visits ? allowed : f->visits;
	left = f->visits - allowed;
	f->visits = allowed;
	memset(f->x, 0, (size_t)f->n_sorts * f->m * sizeof(f->x[0]));
	distribute(f, 0, 0, f->sorts[0].count);
	f->visits += left;
	return 0;
}

/* --- sets of nodes: which --- */

/* Is the vector's part that depends on the set alone less? */
static int compare_sets(const struct search_cost *a, const struct search_cost *b)
{
	for (unsigned int i = 0; i <= COST_SPREAD; i++)
		if (a->v[i] != b->v[i])
			return a->v[i] < b->v[i] ? -1 : 1;
	return 0;
}

static uint64_t add_room(uint64_t a, uint64_t b)
{
	return b > HOST_UNKNOWN - a ? HOST_UNKNOWN : a + b;
}

/* By counting alone; with several parts each node may have any part of the memory. */
static bool set_is_possible(const struct finder *f)
{
	unsigned int cpus = 0;
	uint64_t room = 0;

	for (unsigned int j = 0; j < f->m; j++) {
		const struct search_node *n = &f->t.nodes[f->set[j]];

		cpus += f->cap[f->set[j]];
		room = add_room(room, n->room);
		if (f->s->n_parts <= 1 && n->room < search_share(&f->t, f->m, j))
			return false;
	}
	return cpus >= f->t.need && room >= f->t.units;
}

/* On large hosts sets of nodes that are the same in every respect are tried once. */
static bool was_seen(struct finder *f)
{
	uint64_t sum = 0;

	if (f->small)
		return false;
	for (unsigned int j = 0; j < f->m; j++) {
		/* splitmix64's multiplier and shift: sums of different sets of twins differ. */
		uint64_t x = (f->twin[f->set[j]] + 1) * UINT64_C(0x9e3779b97f4a7c15);

		sum += (x ^ x >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
	}
	for (unsigned int i = 0; i < f->n_seen; i++)
		if (f->seen[i] == sum)
			return true;
	if (f->n_seen < SEEN_MAX)
		f->seen[f->n_seen++] = sum;
	return false;
}

/* f->set, in two rounds: first the least cost of the set alone is found, then those that have it are tried. */
static int visit_set(struct finder *f, bool try)
{
	struct search_cost cost;

	if (!set_is_possible(f))
		return 0;
	search_set_cost(&f->t, f->set, f->m, &cost);
	if (!try) {
		if ((!f->has_floor || compare_sets(&cost, &f->floor) > 0) &&
		    (!f->has_least || compare_sets(&cost, &f->least) < 0)) {
			f->least = cost;
			f->has_least = true;
		}
		return 0;
	}
	if (compare_sets(&cost, &f->least) != 0 || was_seen(f))
		return 0;
	if (!f->small && f->tries == 0 && f->hit)
		return 0;
	f->tries -= f->tries > 0;
	search_kinds_cost(&f->t, f->kinds, &cost);
	f->try.cost = cost;
	return f->s->n_parts > 1 ? try_parts(f) : try_whole(f);
}

/* All sets of m candidates, in ascending order. */
static int visit_all(struct finder *f, unsigned int depth, unsigned int from, bool try)
{
	int r = 0;

	if (depth == f->m)
		return visit_set(f, try);
	for (unsigned int i = from; r == 0 && i + (f->m - depth) <= f->n_cand; i++) {
		f->set[depth] = f->cand[i];
		r = visit_all(f, depth + 1, i + 1, try);
	}
	return r;
}

struct neighbour {
	unsigned int node, distance, free;
};

static int compare_neighbours(const void *pa, const void *pb)
{
	const struct neighbour *a = pa, *b = pb;

	if (a->distance != b->distance)
		return a->distance < b->distance ? -1 : 1;
	if (a->free != b->free)
		return a->free > b->free ? -1 : 1;
	return a->node < b->node ? -1 : 1;
}

/* f->near: for each node all of them by distance, itself first; in the last row by free CPUs alone. 0 or -ENOMEM. */
static int sort_neighbours(struct finder *f)
{
	unsigned int n = f->t.n_nodes, unknown = f->t.h->n_nodes;
	_cleanup_free_ struct neighbour *row = calloc(n + 1u, sizeof(*row));

	f->near = calloc((n + 1u) * (size_t)n, sizeof(*f->near));
	if (!row || !f->near)
		return -ENOMEM;
	for (unsigned int i = 0; i <= n; i++) {
		unsigned int from = i < n ? f->t.nodes[i].index : unknown;

		for (unsigned int j = 0; j < n; j++) {
			unsigned int to = f->t.nodes[j].index;

			row[j] = (struct neighbour){.node = j, .free = f->t.nodes[j].dies.free};
			/* Itself, whatever the firmware says of distances. */
			if (from != unknown && i != j)
				row[j].distance = to != unknown ? f->t.h->nodes[from].distance[to] : UINT32_MAX;
		}
		qsort(row, n, sizeof(*row), compare_neighbours);
		for (unsigned int j = 0; j < n; j++)
			f->near[i * n + j] = row[j].node;
	}
	return 0;
}

/* The first m candidates of a row of f->near, into f->set, ascending. */
static void gather_set(struct finder *f, unsigned int seed)
{
	const unsigned int *row = &f->near[seed * f->t.n_nodes];
	unsigned int n = 0;

	memset(f->marked, 0, f->t.n_nodes * sizeof(f->marked[0]));
	for (unsigned int i = 0; i < f->n_cand; i++)
		f->marked[f->cand[i]] = true;
	for (unsigned int i = 0; i < f->t.n_nodes; i++)
		if (f->marked[row[i]] && n++ >= f->m)
			f->marked[row[i]] = false;
	n = 0;
	for (unsigned int i = 0; i < f->t.n_nodes; i++)
		if (f->marked[i])
			f->set[n++] = i;
}

static int visit_neighbours(struct finder *f, bool try)
{
	unsigned int most = SEEDS_WORK / (f->m * f->m);
	int r = f->near ? 0 : sort_neighbours(f);

	for (unsigned int i = 0; r == 0 && i < f->n_cand && i < most; i++) {
		gather_set(f, f->cand[i]);
		r = visit_set(f, try);
	}
	if (r == 0) {
		gather_set(f, f->t.n_nodes);
		r = visit_set(f, try);
	}
	return r;
}

/* n over k, SETS_MAX + 1 for anything above. */
static unsigned int count_sets(unsigned int n, unsigned int k)
{
	uint64_t count = 1;

	k = k < n - k ? k : n - k;
	for (unsigned int i = 1; i <= k && count <= SETS_MAX; i++)
		count = count * (n - k + i) / i;
	return count > SETS_MAX ? SETS_MAX + 1 : (unsigned int)count;
}

static int visit_sets(struct finder *f, bool try)
{
	unsigned int n = count_sets(f->n_cand, f->m);

	if (!f->small && (n > SETS_MAX || n > f->sets))
		return visit_neighbours(f, try);
	if (!f->small)
		f->sets -= n;
	return visit_all(f, 0, 0, try);
}

/* Could node i be in a set of the present size: can it take its share, or the smallest of the parts? */
static bool is_candidate(const struct finder *f, unsigned int i)
{
	const struct search_node *n = &f->t.nodes[i];

	/* CPUs of unknown node are not combined with others: nobody could say where the memory should be. */
	if (f->m > 1 && n->index == f->t.h->n_nodes)
		return false;
	if (f->t.need == 0 ? n->index == f->t.h->n_nodes || !f->t.h->nodes[n->index].holds_guests : !n->usable)
		return false;
	if (f->s->n_parts <= 1)
		return n->room >= f->t.units / f->m;
	for (unsigned int k = 0; k < f->n_sorts; k++)
		if (f->cap[i] >= f->sorts[k].vcpus && n->room >= f->sorts[k].units)
			return true;
	return false;
}

/* Is there a node for each part, were it the only one? */
static bool parts_fit_alone(const struct finder *f)
{
	for (unsigned int k = 0; f->s->n_parts > 1 && k < f->n_sorts; k++) {
		bool fits = false;

		for (unsigned int i = 0; i < f->n_cand && !fits; i++)
			fits = f->cap[f->cand[i]] >= f->sorts[k].vcpus &&
			       f->t.nodes[f->cand[i]].room >= f->sorts[k].units;
		if (!fits)
			return false;
	}
	return true;
}

/* False if there are too few, or they have too little room all together. */
static bool find_candidates(struct finder *f)
{
	uint64_t cpus = 0, room = 0;

	f->n_cand = 0;
	for (unsigned int i = 0; i < f->t.n_nodes; i++) {
		if (!is_candidate(f, i))
			continue;
		f->cand[f->n_cand++] = i;
		cpus += f->cap[i];
		room = add_room(room, f->t.nodes[i].room);
	}
	return f->n_cand >= f->m && cpus >= f->t.need && room >= f->t.units && parts_fit_alone(f);
}

/* Sets of f->m nodes, those that cost least first. */
static int try_size(struct finder *f)
{
	int r = 0;

	f->has_floor = f->hit = false;
	f->share = search_even_share(&f->t, f->m);
	if (!find_candidates(f))
		return 0;
	for (bool first = true; !f->hit && (f->small || first || f->levels > 0); first = false) {
		f->levels -= !first && f->levels > 0;
		f->has_least = false;
		f->n_seen = 0;
		r = visit_sets(f, false);
		if (r == 0 && f->has_least)
			r = visit_sets(f, true);
		if (r < 0 || !f->has_least)
			return r;
		f->floor = f->least;
		f->has_floor = true;
	}
	return 0;
}

int search_sets(struct finder *f)
{
	unsigned int most = f->s->n_parts > 1 ? f->s->n_parts : f->s->split ? f->t.n_nodes : 1;
	bool found = false;
	int r = 0;

	if (most > f->t.n_nodes)
		most = f->t.n_nodes;
	/* A node that is not known counts as two: two that are known may be better. */
	for (f->m = 1; r == 0 && f->m <= most && !(found && f->m > f->best.cost.v[COST_NODES]); f->m++) {
		r = try_size(f);
		found |= f->hit;
	}
	return r;
}

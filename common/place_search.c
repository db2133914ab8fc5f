/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the least cost is found.
 *
 * All terms inside a node are sums over its L3 groups, dies and cores, so the least cost of k vCPUs on a node, for
 * every k, comes from one operation, the min-plus convolution of such tables ("fold"): cores into an L3 group, L3
 * groups into a die, dies into a node, and nodes into a set of nodes. That is exact, and takes no more steps than the
 * square of the number of CPUs. Each fold remembers its choices, so the CPUs are read off backwards.
 *
 * Sets of nodes are looked at by size, the smallest first; within a size, first the terms of the set alone (up to
 * `spread`), then only sets that are best in these. One kind of core first, then sets of two kinds, and so on.
 * Guest cells are distributed by trying how many of each sort of cell a node gets, the most even numbers first.
 *
 * What is bounded, on hosts of more than 16 CPUs (numbers: place_search_priv.h). With these no request on 512 CPUs and
 * 16 nodes was seen to take 10 million instructions (callgrind, the slowest of thousands of random ones).
 *   SETS_MAX,   If there are more sets of a size than this (16 nodes: from 5 to 11 of them), or SETS_ALL were looked
 *   SETS_ALL    at, only those are looked at that are made of a node and its nearest neighbours. Lost: nodes that are
 *               nearer to each other than to any one of them.
 *   TRIES_MAX   Of the sets that are equal up to `spread`, so many are tried in full, twins (sets of nodes that are the
 *               same in every respect) once. Lost: a tighter fit on a later one.
 *   STEPS_MAX   Steps of folding sets. Once they are used up, vCPUs are split evenly over a set without asking whether
 *               another split that is just as even would need fewer L3 groups or leave smaller holes.
 *   VISITS_MAX  Steps of distributing guest cells. Once they are used up, the best distribution so far is taken; the
 *               first one that is tried is even. If there was none, the cells are said not to fit.
 *   LEVELS_MAX  Where sets fit by number, but not by their parts or by the rule of threads, the next dearer ones are
 *               tried, so often in all.
 *   KINDS_MAX   With more kinds of cores than this only neighbouring kinds are combined (on any host).
 */
#include "place_search_priv.h"

static void folds_fini(struct finder *f)
{
	for (unsigned int i = 0; i < f->t.n_l3s; i++)
		search_fold_fini(&f->cores[i]);
	for (unsigned int i = 0; i < f->t.n_dies; i++)
		search_fold_fini(&f->l3s[i]);
	for (unsigned int i = 0; i < f->t.n_nodes; i++)
		search_fold_fini(&f->dies[i]);
}

static void finder_fini(struct finder *f)
{
	if (f->cores && f->l3s && f->dies)
		folds_fini(f);
	free(f->cores);
	free(f->l3s);
	free(f->dies);
	free(f->cap);
	free(f->twin);
	free(f->scratch);
	free(f->cand);
	free(f->set);
	free(f->marked);
	free(f->near);
	free(f->best.set);
	free(f->best.vcpus);
	free(f->try.set);
	free(f->try.vcpus);
	free(f->sorts);
	free(f->x);
	free(f->node_vcpus);
	free(f->node_parts);
	free(f->node_units);
	search_tree_fini(&f->t);
}

/* Parts by size, the largest first. */
static void sort_parts(struct finder *f)
{
	const struct search *s = f->s;

	for (unsigned int i = 0; i < s->n_parts; i++) {
		const struct search_part *p = &s->parts[i];
		unsigned int at = 0;

		while (at < f->n_sorts && (f->sorts[at].vcpus > p->vcpus ||
					   (f->sorts[at].vcpus == p->vcpus && f->sorts[at].units > p->units)))
			at++;
		if (at == f->n_sorts || f->sorts[at].vcpus != p->vcpus || f->sorts[at].units != p->units) {
			memmove(&f->sorts[at + 1], &f->sorts[at], (f->n_sorts - at) * sizeof(f->sorts[0]));
			f->sorts[at] = (struct part_sort){.vcpus = p->vcpus, .units = p->units};
			f->n_sorts++;
		}
		f->sorts[at].parts[f->sorts[at].count++] = i;
	}
}

static int finder_init(struct finder *f, const struct search *s)
{
	size_t n;
	int r;

	*f = (struct finder){.s = s, .small = s->h->n_cpus <= SMALL_CPUS, .steps = STEPS_MAX};
	f->has_current = !idset_is_empty(&s->current);
	f->sets = SETS_ALL;
	f->tries = TRIES_MAX;
	f->levels = LEVELS_MAX;
	r = search_tree_init(&f->t, s);
	if (r < 0)
		return r;
	f->visits = f->small ? VISITS_SMALL_MAX : VISITS_MAX;
	n = f->t.n_nodes + 1u;
	f->cores = calloc(f->t.n_l3s + 1u, sizeof(*f->cores));
	f->l3s = calloc(f->t.n_dies + 1u, sizeof(*f->l3s));
	f->dies = calloc(n, sizeof(*f->dies));
	f->cap = calloc(n, sizeof(*f->cap));
	f->twin = calloc(n, sizeof(*f->twin));
	f->scratch = calloc((s->h->n_cpus > f->t.need ? s->h->n_cpus : f->t.need) + 1u, sizeof(*f->scratch));
	f->cand = calloc(n, sizeof(*f->cand));
	f->set = calloc(n, sizeof(*f->set));
	f->marked = calloc(n, sizeof(*f->marked));
	f->best.set = calloc(n, sizeof(*f->best.set));
	f->best.vcpus = calloc(n, sizeof(*f->best.vcpus));
	f->try.set = calloc(n, sizeof(*f->try.set));
	f->try.vcpus = calloc(n, sizeof(*f->try.vcpus));
	f->sorts = calloc(s->n_parts + 1u, sizeof(*f->sorts));
	f->x = calloc((s->n_parts + 1u) * (s->n_parts + 1u), sizeof(*f->x));
	f->node_vcpus = calloc(n, sizeof(*f->node_vcpus));
	f->node_parts = calloc(n, sizeof(*f->node_parts));
	f->node_units = calloc(n, sizeof(*f->node_units));
	if (!f->cores || !f->l3s || !f->dies || !f->cap || !f->twin || !f->scratch || !f->cand || !f->set ||
	    !f->marked || !f->best.set || !f->best.vcpus || !f->try.set || !f->try.vcpus || !f->sorts || !f->x ||
	    !f->node_vcpus || !f->node_parts || !f->node_units)
		return -ENOMEM;
	sort_parts(f);
	return 0;
}

/* --- tables of the nodes --- */

/* The least costs of 0..n vCPUs on a core, n being returned: its CPUs that the domain has now go first. */
static unsigned int core_table(const struct finder *f, const struct search_group *l3, const struct search_core *c,
			       struct search_local *ret)
{
	unsigned int last = 0;

	if (!(f->kinds & search_kind_bit(c)))
		return 0;
	for (unsigned int n = 0; n <= c->free && n <= f->t.need; n++) {
		if (search_core_allows(&f->t, c, n)) {
			ret[n] = search_core_cost(&f->t, l3, c, n,
						  f->has_current && n > c->current ? n - c->current : 0);
			last = n;
		} else {
			ret[n] = (struct search_local){{SEARCH_NEVER, 0, 0}};
		}
	}
	return last;
}

static unsigned int limit_of(const struct finder *f, const struct search_group *g)
{
	return g->free < f->t.need ? g->free : f->t.need;
}

static int fold_cores(struct finder *f, unsigned int i)
{
	const struct search_group *l3 = &f->t.l3s[i];
	struct search_fold *to = &f->cores[i];

	if (search_fold_init(to, l3->n, limit_of(f, l3)))
		return -ENOMEM;
	for (unsigned int j = l3->n; j-- > 0;) {
		const struct search_core *c = &f->t.cores[l3->first + j];
		struct search_local small[9], *table = c->total < ARRAY_SIZE(small) ? small : f->scratch;

		table[0] = (struct search_local){{0}};
		(void)search_fold_add(to, table, core_table(f, l3, c, table), 0);
	}
	for (unsigned int k = 1; k <= to->size; k++) {
		struct search_local own = search_l3_cost(l3, k);

		search_local_add(&to->best[k], &own);
	}
	return 0;
}

static int fold_l3s(struct finder *f, unsigned int i)
{
	const struct search_group *die = &f->t.dies[i];
	struct search_fold *to = &f->l3s[i];

	if (search_fold_init(to, die->n, limit_of(f, die)))
		return -ENOMEM;
	for (unsigned int j = die->n; j-- > 0;)
		(void)search_fold_add(to, f->cores[die->first + j].best, f->cores[die->first + j].size, 0);
	for (unsigned int k = 1; k <= to->size; k++) {
		struct search_local own = search_die_cost(die, k);

		search_local_add(&to->best[k], &own);
	}
	return 0;
}

static int fold_dies(struct finder *f, unsigned int i)
{
	const struct search_group *dies = &f->t.nodes[i].dies;
	struct search_fold *to = &f->dies[i];

	if (search_fold_init(to, dies->n, limit_of(f, dies)))
		return -ENOMEM;
	for (unsigned int j = dies->n; j-- > 0;)
		(void)search_fold_add(to, f->l3s[dies->first + j].best, f->l3s[dies->first + j].size, 0);
	for (unsigned int k = 0; k <= to->size; k++) {
		struct search_local own = search_node_cost(&f->t, &f->t.nodes[i], k);

		search_local_add(&to->best[k], &own);
	}
	return 0;
}

static bool are_twins(const struct finder *f, unsigned int i, unsigned int j)
{
	const struct search_node *a = &f->t.nodes[i], *b = &f->t.nodes[j];

	return f->cap[i] == f->cap[j] && a->dies.free == b->dies.free && a->room == b->room && a->ready == b->ready &&
	       (f->s->floating
			? a->current == b->current
			: memcmp(f->dies[i].best, f->dies[j].best, (f->cap[i] + 1u) * sizeof(f->dies[i].best[0])) == 0);
}

/* Tables of all nodes, for the kinds of cores that may be used now. */
static int solve_nodes(struct finder *f)
{
	int r = 0;

	folds_fini(f);
	if (!f->s->floating) {
		for (unsigned int i = 0; r == 0 && i < f->t.n_l3s; i++)
			r = fold_cores(f, i);
		for (unsigned int i = 0; r == 0 && i < f->t.n_dies; i++)
			r = fold_l3s(f, i);
		for (unsigned int i = 0; r == 0 && i < f->t.n_nodes; i++)
			r = fold_dies(f, i);
	}
	for (unsigned int i = 0; r == 0 && i < f->t.n_nodes; i++) {
		f->cap[i] = f->s->floating ? limit_of(f, &f->t.nodes[i].dies) : f->dies[i].size;
		f->twin[i] = i;
		for (unsigned int j = 0; j < i && f->twin[i] == i; j++)
			if (f->twin[j] == j && are_twins(f, j, i))
				f->twin[i] = j;
	}
	return r;
}

/* --- kinds of cores --- */

static uint64_t kinds_present(const struct finder *f)
{
	uint64_t kinds = 0;

	for (unsigned int i = 0; i < f->t.n_cores; i++)
		if (f->t.cores[i].free > 0)
			kinds |= search_kind_bit(&f->t.cores[i]);
	return kinds;
}

static int try_kinds(struct finder *f, uint64_t kinds)
{
	struct search_cost own = {{0}};
	int r;

	search_kinds_cost(&f->t, kinds, &own);
	if (f->best.any && own.v[COST_SLOW] > f->best.cost.v[COST_SLOW])
		return 0;
	f->kinds = f->solved = kinds;
	r = solve_nodes(f);
	return r < 0 ? r : search_sets(f);
}

/* All combinations of n kinds; `from`: those below are settled. Too many kinds: successive ones only. */
static int combine_kinds(struct finder *f, uint64_t present, uint64_t chosen, unsigned int n, unsigned int from)
{
	bool many = __builtin_popcountll(present) > KINDS_MAX;
	int r = 0;

	if (n == 0)
		return try_kinds(f, chosen);
	for (unsigned int i = from; r == 0 && i < 64; i++) {
		if (!(present >> i & 1))
			continue;
		r = combine_kinds(f, present, chosen | UINT64_C(1) << i, n - 1, i + 1);
		if (many && chosen)
			break;
	}
	return r;
}

static int find(struct finder *f)
{
	uint64_t present = kinds_present(f);
	int r = 0;

	if (f->s->floating || f->t.need == 0)
		return try_kinds(f, UINT64_MAX);
	for (unsigned int n = 1; r == 0 && !f->best.any && n <= (unsigned int)__builtin_popcountll(present); n++)
		r = combine_kinds(f, present, 0, n, 0);
	return r;
}

int place_search(const struct search *s, int *cpu, struct search_result *ret)
{
	_cleanup_(finder_fini) struct finder f = {0};
	int r;

	if (s->n_parts > SEARCH_PARTS_MAX)
		return -ENOSPC;
	r = finder_init(&f, s);
	if (r == 0)
		r = find(&f);
	if (r < 0)
		return r;
	if (!f.best.any)
		return -ENOSPC;
	if (f.solved != f.best.kinds) {
		f.kinds = f.best.kinds;
		r = solve_nodes(&f);
	}
	return r < 0 ? r : search_read_off(&f, cpu, ret);
}

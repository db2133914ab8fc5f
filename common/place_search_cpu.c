/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From how many vCPUs are on each node to which CPU each of them gets: the folds' choices backwards, then guest cores
 * onto host cores. The cost is settled by how many vCPUs a core has; what is free here goes to CPUs that the domain has
 * now, then to the lowest numbers, and successive vCPUs get CPUs next to each other.
 */
#include "place_search_priv.h"

/* vCPUs per core, die by die and L3 group by L3 group; items were folded with the last one first. */
static void take_cores(const struct finder *f, unsigned int node, unsigned int n, unsigned int *take)
{
	const struct search_group *dies = &f->t.nodes[node].dies;

	for (unsigned int d = 0; d < dies->n; d++) {
		const struct search_group *die = &f->t.dies[dies->first + d];
		unsigned int in_die = search_fold_take(&f->dies[node], dies->n - 1 - d, &n);

		for (unsigned int g = 0; g < die->n; g++) {
			const struct search_group *l3 = &f->t.l3s[die->first + g];
			unsigned int in_l3 = search_fold_take(&f->l3s[dies->first + d], die->n - 1 - g, &in_die);

			for (unsigned int c = 0; c < l3->n; c++)
				take[l3->first + c] =
					search_fold_take(&f->cores[die->first + g], l3->n - 1 - c, &in_l3);
		}
	}
}

/* The CPUs of a core that are taken, ascending, in place of the core's CPUs in order[]. */
static void pick_cpus(const struct finder *f, const struct search_core *c, unsigned int n, int *order,
		      struct search_result *ret)
{
	const struct search *s = f->s;
	struct idset own = IDSET_EMPTY;
	unsigned int left = n;

	for (unsigned int pass = 0; pass < 2; pass++)
		for (unsigned int i = c->first; i < c->first + c->total && left > 0; i++) {
			unsigned int id = (unsigned int)f->t.h->cpus[f->t.cpus[i]].id;

			if (!idset_has(&s->free, id) || idset_has(&own, id) ||
			    (pass == 0 && !idset_has(&s->current, id)))
				continue;
			idset_add(&own, id);
			left--;
		}
	for (unsigned int i = c->first, at = c->first; i < c->first + c->total; i++) {
		unsigned int id = (unsigned int)f->t.h->cpus[f->t.cpus[i]].id;

		if (idset_has(&own, id)) {
			order[at++] = (int)id;
			idset_add(&ret->cpus, id);
		} else if (s->threads == PLACE_THREADS_ISOLATE && n > 0) {
			idset_add(&ret->idle, id);
		}
	}
}

/* CPUs that were taken and have no vCPU yet: `left` of each core, the last ones of its part of order[]. */
struct pool {
	const struct search_core *cores;
	unsigned int from, to; /* cores */
	unsigned int *take, *left;
	const int *order;
};

static int draw(struct pool *p, unsigned int core)
{
	return p->order[p->cores[core].first + p->take[core] - p->left[core]--];
}

/* Whole guest cores of one part onto cores with room for one; the others stay -1. *at: the first core with room. */
static void give_guest_cores(struct pool *p, unsigned int threads, unsigned int vcpus, int *cpu, unsigned int *at)
{
	for (unsigned int v = 0; v + threads <= vcpus; v += threads) {
		while (*at < p->to && p->left[*at] < threads)
			(*at)++;
		if (*at == p->to)
			return;
		for (unsigned int i = 0; i < threads; i++)
			cpu[v + i] = draw(p, *at);
	}
}

static void give_rest(struct pool *p, unsigned int vcpus, int *cpu, unsigned int *at)
{
	for (unsigned int v = 0; v < vcpus; v++) {
		if (cpu[v] >= 0)
			continue;
		while (*at < p->to && p->left[*at] == 0)
			(*at)++;
		if (*at < p->to)
			cpu[v] = draw(p, *at);
	}
}

/* The parts on position j of the set (any: all of them), from the cores of the pool. */
static void give(const struct finder *f, struct pool *p, unsigned int j, bool any, int *cpu)
{
	const struct search *s = f->s;
	unsigned int threads = s->guest_threads, at = p->from;

	for (unsigned int pass = threads > 1 ? 0 : 1; pass < 2; pass++, at = p->from)
		for (unsigned int i = 0, v = 0; i < s->n_parts; v += s->parts[i++].vcpus) {
			if (!any && f->best.node_of_part[i] != j)
				continue;
			if (pass == 0)
				give_guest_cores(p, threads, s->parts[i].vcpus, cpu + v, &at);
			else
				give_rest(p, s->parts[i].vcpus, cpu + v, &at);
		}
}

static void node_range(const struct search_tree *t, unsigned int node, struct pool *p)
{
	const struct search_group *dies = &t->nodes[node].dies;
	const struct search_group *last_die = &t->dies[dies->first + dies->n - 1];
	const struct search_group *last_l3 = &t->l3s[last_die->first + last_die->n - 1];

	p->from = t->l3s[t->dies[dies->first].first].first;
	p->to = last_l3->first + last_l3->n;
}

static int read_off_cpus(struct finder *f, int *cpu, struct search_result *ret)
{
	const struct search_tree *t = &f->t;
	_cleanup_free_ unsigned int *take = calloc(t->n_cores + 1u, sizeof(*take));
	_cleanup_free_ unsigned int *left = calloc(t->n_cores + 1u, sizeof(*left));
	_cleanup_free_ int *order = calloc(t->h->n_cpus + 1u, sizeof(*order));
	struct pool p = {.cores = t->cores, .to = t->n_cores};

	if (!take || !left || !order)
		return -ENOMEM;
	for (unsigned int v = 0; v < t->need; v++)
		cpu[v] = -1;
	for (unsigned int j = 0; j < f->best.m; j++)
		take_cores(f, f->best.set[j], f->best.vcpus[j], take);
	for (unsigned int i = 0; i < t->n_cores; i++) {
		left[i] = take[i];
		if (take[i] > 0)
			pick_cpus(f, &t->cores[i], take[i], order, ret);
	}
	p.take = take;
	p.left = left;
	p.order = order;
	if (f->s->n_parts <= 1) {
		give(f, &p, 0, true, cpu);
		return 0;
	}
	for (unsigned int j = 0; j < f->best.m; j++) {
		node_range(t, f->best.set[j], &p);
		give(f, &p, j, false, cpu);
	}
	return 0;
}

static int node_id(const struct finder *f, unsigned int j)
{
	const struct search_node *n = &f->t.nodes[f->best.set[j]];

	return n->index < f->t.h->n_nodes ? f->t.h->nodes[n->index].id : -1;
}

int search_read_off(struct finder *f, int *cpu, struct search_result *ret)
{
	int r;

	*ret = (struct search_result){.nodes = IDSET_EMPTY};
	for (unsigned int j = 0; j < f->best.m; j++)
		if (node_id(f, j) >= 0)
			idset_add(&ret->nodes, (unsigned int)node_id(f, j));
	for (unsigned int i = 0; i < SEARCH_PARTS_MAX; i++) {
		ret->node_of_part[i] = -1;
		if (i < f->s->n_parts && (f->s->n_parts > 1 || f->best.m == 1))
			ret->node_of_part[i] = node_id(f, f->s->n_parts > 1 ? f->best.node_of_part[i] : 0);
	}
	if (f->s->floating) {
		for (unsigned int j = 0; j < f->best.m; j++) {
			struct pool p = {.to = 0};

			node_range(&f->t, f->best.set[j], &p);
			for (unsigned int i = f->t.cores[p.from].first;
			     i < f->t.cores[p.to - 1].first + f->t.cores[p.to - 1].total; i++)
				idset_add(&ret->cpus, (unsigned int)f->t.h->cpus[f->t.cpus[i]].id);
		}
		idset_and(&ret->cpus, &f->s->free);
	} else {
		r = read_off_cpus(f, cpu, ret);
		if (r < 0)
			return r;
	}
	return search_result_cost(&f->t, cpu, ret);
}

unsigned int place_search_capacity(const struct search *s, const struct idset *cpus)
{
	const struct host *h = s->h;
	_cleanup_free_ unsigned int *count = calloc(h->n_cores + 1u, sizeof(*count));
	_cleanup_free_ bool *busy = calloc(h->n_cores + 1u, sizeof(*busy));
	unsigned int n = 0;

	if (!count || !busy)
		return 0;
	for (unsigned int i = 0; i < h->n_cpus; i++) {
		const struct host_cpu *c = &h->cpus[i];

		count[c->core] += idset_has(cpus, (unsigned int)c->id);
		busy[c->core] |= idset_has(&s->busy, (unsigned int)c->id);
	}
	for (unsigned int i = 0; i < h->n_cores; i++) {
		if (!s->floating && s->threads == PLACE_THREADS_ISOLATE)
			n += count[i] > 0 && !busy[i];
		else if (!s->floating && s->threads == PLACE_THREADS_REQUIRE)
			n += count[i] >= 2 ? count[i] : 0;
		else
			n += count[i];
	}
	return n;
}

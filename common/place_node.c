/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which nodes a domain gets: one where it fits, else the fewest.
 *
 * Dedicated domains take the tightest fit, so that large holes stay whole: what would be left of the node's CPUs,
 * memory and (where wanted) huge pages, each as a share of the node, counts equally. Floating ones take the least
 * loaded node. Several nodes are near each other (kernel: Documentation/admin-guide/mm/numaperf.rst, distances of
 * node*\/distance), and each can hold an even share of the memory, since that is how it is split.
 */
#include "place_priv.h"

struct candidate {
	unsigned int k;
	unsigned int idx[HOST_NODES_MAX];
	bool extra;         /* the further CPU is there too */
	unsigned int near;  /* nodes that the owner named, by pins or memory.nodes */
	unsigned int whole; /* vCPUs on whole cores */
	uint64_t distance;  /* of all pairs */
	uint64_t score;     /* slack, or load: less is better */
};

struct idset place_nodes_of(const struct host *h, const struct idset *cpus)
{
	struct idset nodes = IDSET_EMPTY;

	IDSET_FOREACH (id, cpus) {
		const struct host_cpu *cpu = host_cpu(h, id);

		if (cpu && cpu->node >= 0)
			idset_add(&nodes, (unsigned int)cpu->node);
	}
	return nodes;
}

/* The node that memory for CPUs of node i comes from: the nearest that has any. */
static int memory_index(const struct host *h, unsigned int i)
{
	int best = -1;

	if (h->nodes[i].mem_total != 0)
		return (int)i;
	for (unsigned int j = 0; j < h->n_nodes; j++)
		if (h->nodes[j].mem_total != 0 && h->nodes[j].holds_guests &&
		    (best < 0 || h->nodes[i].distance[j] < h->nodes[i].distance[best]))
			best = (int)j;
	return best;
}

#define CROWDS_LOOKED_AT 16

/* The crowd of a set; a new one where it is not among the first few: then one set may have several. */
static struct place_crowd *find_crowd(struct place_ctx *c, const struct idset *set, unsigned int *n)
{
	struct place_crowd *new;

	for (unsigned int i = 0; i < *n && i < CROWDS_LOOKED_AT; i++)
		if (idset_equal(c->crowds[i].set, set))
			return &c->crowds[i];
	new = &c->crowds[(*n)++];
	*new = (struct place_crowd){ .set = set };
	for (unsigned int i = 0; i < c->h->n_cpus; i++)
		new->n_cpus += idset_has(set, (unsigned int)c->h->cpus[i].id);
	return new;
}

/*
 * Floating vCPUs per CPU in thousandths: each claim spreads its vCPUs over the CPUs it may use. Most domains of a
 * host float over one of a few sets, so these are summed first: with 1,000 of them on 80 CPUs, one by one was nine
 * tenths of a placement (measured).
 */
static void add_loads(struct place_ctx *c)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < c->l->n_claims; i++) {
		const struct claim *k = &c->l->claims[i];

		if (k->kind == CLAIM_OBSERVE || streq(k->uuid, c->self))
			continue;
		for (unsigned int j = 0; j < k->n_floats; j++) {
			struct place_crowd *crowd;

			if (k->floats[j].vcpus == 0)
				continue;
			crowd = find_crowd(c, k->floats[j].now, &n);
			if (crowd->n_cpus > 0)
				crowd->load += (uint64_t)k->floats[j].vcpus * 1000 / crowd->n_cpus;
		}
	}
	for (unsigned int i = 0; i < n; i++)
		for (unsigned int j = 0; j < c->h->n_cpus; j++)
			if (idset_has(c->crowds[i].set, (unsigned int)c->h->cpus[j].id))
				c->loads[j] += c->crowds[i].load;
}

uint64_t place_load(struct place_ctx *c, const struct idset *cpus)
{
	uint64_t sum = 0;
	unsigned int n = 0;

	IDSET_FOREACH (id, cpus) {
		const struct host_cpu *cpu = host_cpu(c->h, id);

		if (cpu) {
			sum += c->loads[cpu - c->h->cpus];
			n++;
		}
	}
	return n > 0 ? sum / n : 0;
}

void place_nodes_init(struct place_ctx *c)
{
	memset(c->loads, 0, c->h->n_cpus * sizeof(c->loads[0]));
	if (!c->dedicated)
		add_loads(c);
	for (unsigned int i = 0; i < c->h->n_nodes; i++) {
		struct place_node *n = &c->nodes[i];
		struct idset id = IDSET_EMPTY;

		n->node = &c->h->nodes[i];
		idset_add(&id, (unsigned int)n->node->id);
		n->cpus = host_node_cpus(c->h, &id);
		idset_and(&n->cpus, &c->free);
		idset_and(&n->cpus, &c->cpus);
		n->capacity = c->dedicated ? place_capacity(c, &n->cpus, NULL) : idset_count(&n->cpus);
		n->mem_index = memory_index(c->h, i);
		n->load = c->dedicated ? 0 : place_load(c, &n->cpus);
	}
}

/* Slack of the CPUs in thousandths of what these nodes have; false: they do not hold the vCPUs. */
static bool holds_cpus(struct place_ctx *c, const struct idset *from, const struct idset *nodes, struct candidate *ret,
		       uint64_t *ret_slack)
{
	struct idset all = host_node_cpus(c->h, nodes), left = *from, idle;
	unsigned int room, whole = 0, n_all = idset_count(&all), width = 1;

	room = c->dedicated ? place_capacity(c, from, &whole) : idset_count(from);
	if (room < c->need)
		return false;
	*ret_slack = n_all > 0 ? (uint64_t)(room - c->need) * 1000 / n_all : 0;
	ret->whole = 0;
	ret->extra = !c->extra || room > c->need;
	if (!c->dedicated)
		return room > 0;
	if (place_pick(c, from, c->need, c->out, &idle))
		return false;
	for (unsigned int i = 0; i < c->need; i++)
		idset_del(&left, (unsigned int)c->out[i]);
	idset_andnot(&left, &idle);
	ret->extra = !c->extra || !idset_is_empty(&left);
	for (unsigned int i = 0; i < c->h->n_cores; i++)
		if (c->cores[i].total > width)
			width = c->cores[i].total;
	ret->whole = c->need / width * width < whole ? c->need / width * width : whole;
	return true;
}

static bool evaluate(struct place_ctx *c, const struct place_step *step, int kind, struct candidate *t)
{
	struct idset nodes = IDSET_EMPTY, from = IDSET_EMPTY, memory_nodes, named;
	uint64_t cpu_slack, mem_slack = 0;

	for (unsigned int i = 0; i < t->k; i++) {
		idset_add(&nodes, (unsigned int)c->nodes[t->idx[i]].node->id);
		idset_or(&from, &c->nodes[t->idx[i]].cpus);
	}
	if (kind >= 0)
		idset_and(&from, &c->kinds[kind]);
	if (!holds_cpus(c, &from, &nodes, t, &cpu_slack))
		return false;
	memory_nodes = place_memory_nodes(c, &nodes);
	if (!place_memory_fits(c, step, &memory_nodes, &mem_slack))
		return false;

	t->score = mem_slack == HOST_UNKNOWN ? cpu_slack : (cpu_slack + mem_slack) / 2;
	if (!c->dedicated)
		t->score = place_load(c, &from);
	named = c->n_pinned > 0 ? place_nodes_of(c->h, &c->pinned) : c->memory_nodes;
	idset_and(&named, &nodes);
	t->near = idset_count(&named);
	t->distance = 0;
	for (unsigned int i = 0; i < t->k; i++)
		for (unsigned int j = i + 1; j < t->k; j++)
			t->distance += c->h->nodes[t->idx[i]].distance[t->idx[j]];
	return true;
}

/* Candidates of equal size; the caller tries them in ascending order, so that the first of equals stays. */
static bool is_better(const struct candidate *a, const struct candidate *b)
{
	if (a->extra != b->extra)
		return a->extra;
	if (a->near != b->near)
		return a->near > b->near;
	if (a->whole != b->whole)
		return a->whole > b->whole;
	if (a->distance != b->distance)
		return a->distance < b->distance;
	return a->score < b->score;
}

static void keep_better(struct candidate *best, const struct candidate *try)
{
	if (best->k == 0 || is_better(try, best))
		*best = *try;
}

/* Both leave best->k 0 where nothing fits. */
static void find_single(struct place_ctx *c, const struct place_step *step, int kind, struct candidate *best,
			struct candidate *try)
{
	for (unsigned int i = 0; i < c->h->n_nodes; i++) {
		try->k = 1;
		try->idx[0] = i;
		if (c->nodes[i].capacity >= c->need && evaluate(c, step, kind, try))
			keep_better(best, try);
	}
}

/* Nodes with room, nearest to `seed` first (seed n_nodes: the roomiest first), into idx. */
static unsigned int order_nodes(const struct place_ctx *c, unsigned int seed, unsigned int *idx)
{
	const struct host *h = c->h;
	unsigned int n = 0;

	for (unsigned int i = 0; i < h->n_nodes; i++) {
		unsigned int at = n;

		if (c->nodes[i].capacity == 0)
			continue;
		for (; at > 0; at--) {
			unsigned int o = idx[at - 1];
			unsigned int d_i = seed < h->n_nodes ? h->nodes[seed].distance[i] : 0;
			unsigned int d_o = seed < h->n_nodes ? h->nodes[seed].distance[o] : 0;

			/* The seed itself is first whatever its firmware says of distances. */
			if (o == seed ||
			    (i != seed && (d_o < d_i || (d_o == d_i && c->nodes[o].capacity >= c->nodes[i].capacity))))
				break;
			idx[at] = o;
		}
		idx[at] = i;
		n++;
	}
	return n;
}

/* The first k nodes of an order that can hold their share of the memory. False: there are not as many, or no room. */
static bool first_k(const struct place_ctx *c, const struct place_step *step, const unsigned int *order, unsigned int n,
		    unsigned int k, struct candidate *try)
{
	uint64_t room = 0;

	try->k = 0;
	for (unsigned int i = 0; i < n && try->k < k; i++) {
		const struct place_node *node = &c->nodes[order[i]];
		const struct host_node *from = node->mem_index >= 0 ? &c->h->nodes[node->mem_index] : NULL;

		if (step->memory && idset_is_empty(&c->memory_nodes)) {
			uint64_t has;

			if (!from)
				continue;
			has = step->page_size ? place_node_pages(c, from, step->page_size) : place_node_memory(c, from);
			/* Exact for the even split but for nodes that share a memory node: evaluate() settles these. */
			if (has < c->q->memory / (step->page_size ? step->page_size : 1) / k)
				continue;
		}
		room += node->capacity;
		try->idx[try->k++] = order[i];
	}
	return try->k == k && room >= c->need;
}

static void find_several(struct place_ctx *c, const struct place_step *step, int kind, struct candidate *best,
			 struct candidate *try)
{
	unsigned int order[HOST_NODES_MAX];
	uint64_t room = 0;

	for (unsigned int i = 0; i < c->h->n_nodes; i++)
		room += c->nodes[i].capacity;
	if (room < c->need)
		return;
	for (unsigned int k = 2; k <= c->h->n_nodes && best->k == 0; k++)
		for (unsigned int seed = 0; seed <= c->h->n_nodes; seed++) {
			unsigned int n;

			if (seed < c->h->n_nodes && c->nodes[seed].capacity == 0)
				continue;
			n = order_nodes(c, seed, order);
			if (first_k(c, step, order, n, k, try) && evaluate(c, step, kind, try))
				keep_better(best, try);
		}
}

int place_nodes_find(struct place_ctx *c, const struct place_step *steps, unsigned int n_steps, struct idset *ret_nodes,
		     int *ret_kind)
{
	struct candidate best = { 0 }, try = { 0 };
	int n_kinds = c->dedicated && c->h->n_kinds > 1 ? (int)c->h->n_kinds : 0;

	for (unsigned int s = 0; s < n_steps; s++) {
		/* One kind of core for the whole domain, the fastest first; then whatever there is. */
		for (int i = 0; i <= n_kinds; i++) {
			int kind = i < n_kinds ? i : -1;

			if (steps[s].spread)
				find_several(c, &steps[s], kind, &best, &try);
			else
				find_single(c, &steps[s], kind, &best, &try);
			if (best.k == 0)
				continue;
			*ret_nodes = IDSET_EMPTY;
			for (unsigned int j = 0; j < best.k; j++)
				idset_add(ret_nodes, (unsigned int)c->h->nodes[best.idx[j]].id);
			*ret_kind = kind;
			c->step = steps[s];
			return 0;
		}
	}
	return -ENOSPC;
}

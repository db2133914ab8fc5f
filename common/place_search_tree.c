/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host as a tree: node, die, L3 group, core, CPU. Every online CPU is in exactly one of each. Where the host's own
 * groups cut across each other (an L3 over two nodes, as with sub-NUMA clustering, or firmware that contradicts itself)
 * a group is cut at the border of the higher level, and its pieces are groups of their own.
 */
#include "place_search_priv.h"

struct sort_key {
	uint64_t high, low; /* node and die; L3 group, core and kind */
	unsigned int cpu;   /* position in h->cpus */
};

static int compare_keys(const void *pa, const void *pb)
{
	const struct sort_key *a = pa, *b = pb;

	if (a->high != b->high)
		return a->high < b->high ? -1 : 1;
	if (a->low != b->low)
		return a->low < b->low ? -1 : 1;
	return a->cpu < b->cpu ? -1 : 1;
}

/* Index in h->nodes, which ascends; n_nodes: it is not there. */
static unsigned int node_index(const struct host *h, int id)
{
	unsigned int low = 0, high = h->n_nodes;

	while (low < high) {
		unsigned int mid = low + (high - low) / 2;

		if (h->nodes[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low < h->n_nodes && id >= 0 && h->nodes[low].id == id ? low : h->n_nodes;
}

#define KEY_NODE(k) ((unsigned int)((k)->high >> 32))
#define KEY_DIE(k)  ((k)->high)      /* with the node */
#define KEY_L3(k)   ((k)->low >> 48) /* within a die */

static struct sort_key *sorted_cpus(const struct host *h)
{
	struct sort_key *keys = calloc(h->n_cpus ? h->n_cpus : 1, sizeof(*keys));

	for (unsigned int i = 0; keys && i < h->n_cpus; i++) {
		const struct host_cpu *c = &h->cpus[i];
		bool same = i > 0 && c->node == h->cpus[i - 1].node;
		unsigned int node = same ? (unsigned int)(keys[i - 1].high >> 32) : node_index(h, c->node);

		/* -1, unknown, comes first; there are at most IDSET_MAX groups of a sort. */
		keys[i].high = (uint64_t)node << 32 | (uint64_t)(c->die + 1);
		keys[i].low = (uint64_t)(c->l3 + 1) << 48 | (uint64_t)c->core << 16 | (uint64_t)(c->kind & 0xffff);
		keys[i].cpu = i;
	}
	if (keys)
		qsort(keys, h->n_cpus, sizeof(*keys), compare_keys);
	return keys;
}

static void open_node(struct search_tree *t, unsigned int index)
{
	const struct search *s = t->s;
	bool known = index < t->h->n_nodes;

	t->nodes[t->n_nodes++] = (struct search_node){
		.dies = {.first = t->n_dies, .known = known},
		.index = index,
		.room = known && s->room ? s->room[index] : HOST_UNKNOWN,
		.ready = known && s->ready ? s->ready[index] : HOST_UNKNOWN,
	};
}

/* One more CPU; `level` says what begins with it: 0 nothing, 1 a core, 2 an L3 group, 3 a die, 4 a node. */
static void add_cpu(struct search_tree *t, const struct sort_key *k, unsigned int i, unsigned int level)
{
	const struct host_cpu *cpu = &t->h->cpus[k->cpu];
	struct search_core *core;
	bool is_free = idset_has(&t->s->free, (unsigned int)cpu->id);
	bool is_current = idset_has(&t->s->current, (unsigned int)cpu->id);

	if (level >= 4)
		open_node(t, KEY_NODE(k));
	if (level >= 3) {
		t->dies[t->n_dies++] = (struct search_group){.first = t->n_l3s, .known = cpu->die >= 0};
		t->nodes[t->n_nodes - 1].dies.n++;
	}
	if (level >= 2) {
		t->l3s[t->n_l3s++] = (struct search_group){.first = t->n_cores, .known = cpu->l3 >= 0};
		t->dies[t->n_dies - 1].n++;
	}
	if (level >= 1) {
		t->cores[t->n_cores++] = (struct search_core){.first = i, .kind = (unsigned int)cpu->kind};
		t->l3s[t->n_l3s - 1].n++;
	}
	core = &t->cores[t->n_cores - 1];
	t->cpus[i] = k->cpu;
	t->core_of[k->cpu] = t->n_cores - 1;
	core->total++;
	core->busy |= idset_has(&t->s->busy, (unsigned int)cpu->id);
	core->current += is_free && is_current;
	core->free += is_free;
	t->l3s[t->n_l3s - 1].free += is_free;
	t->dies[t->n_dies - 1].free += is_free;
	t->nodes[t->n_nodes - 1].dies.free += is_free;
	t->nodes[t->n_nodes - 1].current += is_current;
}

/* Some hosts have dies with more cache (AMD's 3D V-Cache): which are the others. */
static void mark_small_caches(struct search_tree *t)
{
	uint64_t largest = 0;

	for (unsigned int i = 0; i < t->h->n_cpus; i++)
		if (t->h->cpus[i].l3_size > largest)
			largest = t->h->cpus[i].l3_size;
	for (unsigned int i = 0; i < t->n_l3s; i++) {
		uint64_t size = t->h->cpus[t->cpus[t->cores[t->l3s[i].first].first]].l3_size;

		t->l3s[i].small_cache = size > 0 && size < largest;
	}
}

static unsigned int node_points(const struct search_tree *t, const struct idset *ids, unsigned int *ret)
{
	unsigned int n = 0;

	IDSET_FOREACH (id, ids) {
		unsigned int index = node_index(t->h, id);

		if (index < t->h->n_nodes)
			ret[n++] = index;
	}
	return n;
}

/* Once, since the search looks at thousands of sets. */
static int measure_pairs(struct search_tree *t)
{
	unsigned int n = t->n_nodes;

	t->pairs = calloc((size_t)n * n + 1, sizeof(*t->pairs));
	for (unsigned int i = 0; t->pairs && i < n; i++)
		for (unsigned int j = 0; j < n; j++)
			t->pairs[i * n + j] = search_distance(t, t->nodes[i].index, t->nodes[j].index) +
					      search_distance(t, t->nodes[j].index, t->nodes[i].index);
	return t->pairs ? 0 : -ENOMEM;
}

/* Isolating one vCPU, or a group of siblings, is possible on some core. */
static void mark_usable(struct search_tree *t, struct search_node *node)
{
	const struct search_group *dies = &node->dies;

	for (unsigned int d = dies->first; d < dies->first + dies->n; d++)
		for (unsigned int g = t->dies[d].first; g < t->dies[d].first + t->dies[d].n; g++)
			for (unsigned int c = t->l3s[g].first; c < t->l3s[g].first + t->l3s[g].n; c++)
				node->usable |= t->s->floating ? t->cores[c].free > 0
							       : search_core_allows(t, &t->cores[c], 1) ||
									 search_core_allows(t, &t->cores[c], 2);
}

static void sum_up(struct search_tree *t)
{
	const struct search *s = t->s;

	t->n_devices = node_points(t, &s->devices, t->devices);
	t->n_anchor = node_points(t, &s->anchor, t->anchor);
	for (unsigned int i = 0; i < s->n_parts; i++) {
		t->need += s->parts[i].vcpus;
		t->units += s->parts[i].units;
	}
	t->width = 1;
	for (unsigned int i = 0; i < t->n_cores; i++)
		if (s->threads != PLACE_THREADS_ISOLATE && !s->floating && t->cores[i].total > t->width)
			t->width = t->cores[i].total;
	for (unsigned int i = 0; i < t->n_nodes; i++) {
		struct search_node *n = &t->nodes[i];

		mark_usable(t, n);
		if (n->dies.free > t->most_free)
			t->most_free = n->dies.free;
		if (n->room != HOST_UNKNOWN && n->room > t->most_room)
			t->most_room = n->room;
	}
}

int search_tree_init(struct search_tree *t, const struct search *s)
{
	const struct host *h = s->h;
	unsigned int n = h->n_cpus ? h->n_cpus : 1;
	_cleanup_free_ struct sort_key *keys = sorted_cpus(h);

	*t = (struct search_tree){.s = s, .h = h};
	t->cpus = calloc(n, sizeof(*t->cpus));
	t->core_of = calloc(n, sizeof(*t->core_of));
	t->cores = calloc(n, sizeof(*t->cores));
	t->l3s = calloc(n, sizeof(*t->l3s));
	t->dies = calloc(n, sizeof(*t->dies));
	t->nodes = calloc(h->n_nodes + 1u, sizeof(*t->nodes));
	t->devices = calloc(h->n_nodes + 1u, sizeof(*t->devices));
	t->anchor = calloc(h->n_nodes + 1u, sizeof(*t->anchor));
	if (!keys || !t->cpus || !t->core_of || !t->cores || !t->l3s || !t->dies || !t->nodes || !t->devices ||
	    !t->anchor) {
		search_tree_fini(t);
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < h->n_cpus; i++) {
		const struct sort_key *k = &keys[i], *before = k - 1;
		unsigned int level = 0;

		if (i == 0 || KEY_NODE(k) != KEY_NODE(before))
			level = 4;
		else if (KEY_DIE(k) != KEY_DIE(before))
			level = 3;
		else if (KEY_L3(k) != KEY_L3(before))
			level = 2;
		else if (k->low != before->low)
			level = 1;
		add_cpu(t, k, i, level);
	}
	mark_small_caches(t);
	sum_up(t);
	if (measure_pairs(t) == 0)
		return 0;
	search_tree_fini(t);
	return -ENOMEM;
}

void search_tree_fini(struct search_tree *t)
{
	free(t->cpus);
	free(t->core_of);
	free(t->cores);
	free(t->l3s);
	free(t->dies);
	free(t->nodes);
	free(t->devices);
	free(t->anchor);
	free(t->pairs);
	*t = (struct search_tree){0};
}

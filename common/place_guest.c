/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest's own topology: its NUMA cells become parts of the search, its SMT threads go onto host siblings, and where
 * guest and host say different things there is a note with the fix. None of this changes what the guest sees.
 *
 * Cells can be told apart if there are several, the host has several nodes, and the owner has pinned no vCPU (pins are
 * where they are). The memory of a cell is where its vCPUs are; vCPUs that no cell names belong to the first.
 */
#include "place_priv.h"

/* With policy none nobody places vCPUs. */
static bool is_wanted(const struct place_ctx *c, unsigned int vcpu)
{
	return c->need > 0 && place_vcpu_is_online(c, vcpu) && !place_vcpu_is_pinned(c, vcpu);
}

/* Whether all threads of a vCPU's guest core are in this set. */
static bool core_is_in(const struct place_ctx *c, const struct idset *set, unsigned int vcpu)
{
	unsigned int threads = c->q->guest_threads, first = vcpu / threads * threads;

	for (unsigned int i = 0; i < threads; i++)
		if (!idset_has(set, first + i))
			return false;
	return true;
}

/*
 * These vCPUs into c->order from `n` on. The search takes so many successive ones for a guest core: whole guest cores
 * come first, then what is left of others, whose threads are offline, pinned or in another cell. Returns the new n.
 */
static unsigned int put_in_order(struct place_ctx *c, const struct idset *vcpus, unsigned int n)
{
	bool smt = c->q->guest_threads > 1;

	for (int pass = smt ? 0 : 1; pass < 2; pass++)
		IDSET_FOREACH (v, vcpus) {
			bool whole = smt && core_is_in(c, vcpus, (unsigned int)v);

			if (whole == (pass == 0))
				c->order[n++] = (unsigned int)v;
			c->whole_cores |= whole;
		}
	return n;
}

static struct idset wanted_vcpus(const struct place_ctx *c)
{
	struct idset ret = IDSET_EMPTY;

	for (unsigned int v = 0; v < c->q->n_vcpus; v++)
		if (is_wanted(c, v))
			idset_add(&ret, v);
	return ret;
}

void place_guest_whole(struct place_ctx *c)
{
	struct idset all = wanted_vcpus(c);

	c->whole_cores = false;
	c->parts[0] = (struct search_part){ .vcpus = put_in_order(c, &all, 0) };
	c->n_parts = 1;
	c->in_cells = false;
}

/* The first that names it, else the first of all. */
void place_guest_init(struct place_ctx *c)
{
	for (unsigned int i = c->q->n_cells; i-- > 0;)
		IDSET_FOREACH (v, &c->q->cells[i].vcpus)
			if ((unsigned int)v < c->q->n_vcpus)
				c->vcpu_cell[v] = i;
}

bool place_guest_cells(struct place_ctx *c)
{
	const struct place_request *q = c->q;
	struct idset all = wanted_vcpus(c);
	unsigned int n = 0;

	if (q->n_cells < 2 || q->n_cells > SEARCH_PARTS_MAX || c->h->n_nodes < 2 || c->n_pinned > 0)
		return false;
	c->whole_cores = false;
	for (unsigned int i = 0; i < q->n_cells; i++) {
		struct idset in = IDSET_EMPTY;
		unsigned int first = n;

		IDSET_FOREACH (v, &all)
			if (c->vcpu_cell[v] == i)
				idset_add(&in, (unsigned int)v);
		n = put_in_order(c, &in, n);
		c->parts[i] = (struct search_part){ .vcpus = n - first };
	}
	c->n_parts = q->n_cells;
	c->in_cells = true;
	return true;
}

/* CPUs of a cell's vCPUs, as far as each has its own. */
static struct idset cpus_of_cell(const struct place_ctx *c, unsigned int cell, bool searched)
{
	struct idset ret = IDSET_EMPTY;

	for (unsigned int i = 0; searched && c->dedicated && i < c->need; i++)
		if (c->vcpu_cell[c->order[i]] == cell && c->cpu[i] >= 0)
			idset_add(&ret, (unsigned int)c->cpu[i]);
	for (unsigned int v = 0; c->pins && v < c->q->n_vcpus; v++)
		if (c->vcpu_cell[v] == cell)
			idset_or(&ret, &c->pins[v]);
	return ret;
}

void place_guest_settle(struct place_ctx *c, bool searched)
{
	const struct idset all = searched ? c->found.nodes : c->p->nodes;

	for (unsigned int i = 0; i < c->q->n_cells; i++) {
		struct idset nodes = IDSET_EMPTY, cpus;

		if (searched && c->in_cells && c->found.node_of_part[i] >= 0) {
			idset_add(&nodes, (unsigned int)c->found.node_of_part[i]);
		} else {
			cpus = cpus_of_cell(c, i, searched);
			nodes = place_nodes_of(c->h, &cpus);
		}
		if (idset_is_empty(&nodes) || c->q->memory_policy == PLACE_MEMORY_INTERLEAVE)
			nodes = all;
		c->cell_nodes[i] = place_memory_nodes(c, &nodes);
	}
}

/* notes */

/* A cell that no node could hold were all of it free: n_cells if there is none. */
static unsigned int find_large_cell(const struct place_ctx *c, unsigned int *ret_cpus, uint64_t *ret_memory)
{
	*ret_cpus = 0;
	*ret_memory = 0;
	for (unsigned int i = 0; i < c->h->n_nodes; i++) {
		const struct host_node *n = &c->h->nodes[i];
		struct idset cpus = n->cpus, sharable = place_sharable(c);

		idset_and(&cpus, &sharable);
		idset_and(&cpus, &c->cpus);
		if (idset_count(&cpus) > *ret_cpus)
			*ret_cpus = idset_count(&cpus);
		if (n->holds_guests && n->mem_total > *ret_memory)
			*ret_memory = n->mem_total;
	}
	for (unsigned int i = 0; i < c->q->n_cells; i++) {
		unsigned int vcpus = 0;

		for (unsigned int v = 0; v < c->q->n_vcpus; v++)
			vcpus += is_wanted(c, v) && c->vcpu_cell[v] == i;
		if (vcpus > *ret_cpus || c->q->cells[i].memory > *ret_memory)
			return i;
	}
	return c->q->n_cells;
}

/* The cells could not be kept together: why, and what would help. */
static void note_cells(struct place_ctx *c)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	unsigned int cpus, large;
	uint64_t memory;

	if (c->in_cells || c->q->n_cells < 2 || idset_count(&c->p->nodes) < 2 || c->n_pinned > 0)
		return;
	large = find_large_cell(c, &cpus, &memory);
	if (large < c->q->n_cells) {
		sbuf_addf(&b, "guest cell %u is larger than any node here (%u CPUs for guests, ",
			  c->q->cells[large].id, cpus);
		place_add_bytes(&b, memory);
		sbuf_add(&b, "), its cells are not kept together: smaller <cell>s");
	} else {
		sbuf_add(&b, "the guest's cells do not fit on nodes as they are used now, so they are not kept "
			     "together: fewer guests here, or smaller <cell>s");
	}
	place_note(c, &b);
}

/* A guest without cells on several nodes takes all memory for equally near. */
static void note_split(struct place_ctx *c)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	unsigned int n = idset_count(&c->p->nodes);

	/* Where nothing was found it is spread over whatever there is: fewer guests would help first. */
	if (n < 2 || c->q->n_cells >= 2 || c->n_pinned > 0 || c->need < 2 || c->search.n_parts == 0)
		return;
	sbuf_add(&b, "the guest is split over nodes ");
	place_add_list(&b, &c->p->nodes);
	sbuf_addf(&b, " and cannot see it: %u <cell>s in its <cpu><numa>, or a guest that fits on one", n);
	place_note(c, &b);
}

/* Cores of the host with several of its vCPUs; *ret_most: vCPUs on the one that has most. */
static int count_on_cores(const struct place_ctx *c, unsigned int **ret, unsigned int *ret_most)
{
	unsigned int *on = calloc(c->h->n_cores + 1u, sizeof(*on));

	*ret_most = 0;
	if (!on)
		return -ENOMEM;
	for (unsigned int i = 0; i < c->need; i++) {
		const struct host_cpu *cpu = host_cpu(c->h, c->cpu[i]);

		if (cpu && ++on[cpu->core] > *ret_most)
			*ret_most = on[cpu->core];
	}
	*ret = on;
	return 0;
}

static int core_of(const struct place_ctx *c, unsigned int at)
{
	const struct host_cpu *cpu = host_cpu(c->h, c->cpu[at]);

	return cpu ? cpu->core : -1;
}

/* The guest sees cores of one thread, but some of its vCPUs are siblings. */
static void note_hidden_siblings(struct place_ctx *c)
{
	_cleanup_free_ unsigned int *on = NULL;
	_cleanup_sbuf_ struct sbuf b = { 0 };
	unsigned int most, pairs = 0, first = 0;

	if (count_on_cores(c, &on, &most)) {
		c->p->notes.failed = true;
		return;
	}
	if (most < 2)
		return;
	for (unsigned int i = 0; i < c->h->n_cores; i++)
		pairs += on[i] > 1;
	while (on[core_of(c, first)] < 2)
		first++;
	for (unsigned int i = first + 1; i < c->need; i++)
		if (core_of(c, i) == core_of(c, first)) {
			sbuf_addf(&b, "vCPUs %u and %u share a core", c->order[first], c->order[i]);
			break;
		}
	if (pairs > 1)
		sbuf_addf(&b, " (%u cores are shared so)", pairs);
	sbuf_add(&b, " and the guest cannot see it: ");
	if (c->q->n_vcpus % most == 0)
		sbuf_addf(&b, "threads='%u' in its <topology>, or ", most);
	sbuf_add(&b, "cpu threads isolate");
	place_note(c, &b);
}

bool place_guest_has_siblings(const struct place_ctx *c)
{
	for (unsigned int i = 0; i < c->need; i++)
		for (unsigned int j = i + 1; j < c->need && core_of(c, i) >= 0; j++)
			if (core_of(c, i) == core_of(c, j))
				return true;
	return false;
}

/* The guest takes vCPUs for siblings that are not. */
static void note_torn_cores(struct place_ctx *c)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	unsigned int threads = c->q->guest_threads, torn = 0;

	for (unsigned int i = 1; i < c->need; i++) {
		if (c->order[i] / threads != c->order[i - 1] / threads || core_of(c, i) == core_of(c, i - 1))
			continue;
		if (torn++ == 0)
			sbuf_addf(&b, "vCPUs %u and %u are threads of one core to the guest, but not on one core here",
				  c->order[i - 1], c->order[i]);
	}
	if (torn == 0)
		return;
	sbuf_add(&b, ": threads='1' in its <topology>");
	if (c->q->threads == PLACE_THREADS_ISOLATE)
		sbuf_add(&b, ", or cpu threads prefer");
	else if (c->h->n_cores < c->h->n_cpus)
		sbuf_add(&b, ", or fewer guests here, so that whole cores are free");
	place_note(c, &b);
}

void place_guest_notes(struct place_ctx *c)
{
	if (c->p->policy == PLACE_NONE)
		return;
	note_cells(c);
	note_split(c);
	if (!c->dedicated || c->need < 2)
		return;
	/* A definition without <topology> says nothing that could be wrong; say_dedicated() mentions it. */
	if (c->q->guest_threads > 1)
		note_torn_cores(c);
	else if (c->q->guest_threads == 1)
		note_hidden_siblings(c);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Nodes as candidates, and the way from a request to the search.
 *
 * place_steps() (place_mem.c) says what would be nicest, next nicest and so on: a page size, does the memory have to
 * fit, one node or several. Each step that is not out of the question by mere counting is one place_search(); the first
 * place that is found is taken, unless it is away from the guest's devices only because its pages are there already.
 * Within a step the search's cost decides (place_search.h): nodes of the guest's devices and of its memory first, free
 * pages before such as would have to be added.
 *
 * A guest with cells is first tried as one part on one node, then by its cells; if these cannot be kept together at
 * all, as if it had none.
 */
#include "place_priv.h"

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

	/* The ledger keeps equal sets once (ledger_set()). */
	for (unsigned int i = 0; i < *n && i < CROWDS_LOOKED_AT; i++)
		if (c->crowds[i].set == set)
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
void place_loads_init(struct place_ctx *c)
{
	unsigned int n = 0;

	memset(c->loads, 0, c->h->n_cpus * sizeof(c->loads[0]));
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
	for (unsigned int i = 0; i < c->h->n_nodes; i++) {
		struct place_node *n = &c->nodes[i];

		n->node = &c->h->nodes[i];
		n->cpus = n->node->cpus;
		idset_and(&n->cpus, &c->free);
		idset_and(&n->cpus, &c->cpus);
		n->n_cpus = idset_count(&n->cpus);
		n->mem_index = memory_index(c->h, i);
		c->node_loads[i] = c->dedicated ? 0 : place_load(c, &n->cpus);
	}
}

/* Everything that does not depend on the step. */
static void start_search(const struct place_ctx *c, struct search *s)
{
	const struct place_request *q = c->q;

	memset(s, 0, sizeof(*s));
	s->h = c->h;
	s->free = c->free;
	idset_and(&s->free, &c->cpus);
	s->busy = c->blocked;
	s->threads = q->threads;
	s->floating = !c->dedicated;
	s->latency = q->latency;
	s->load = c->dedicated ? NULL : c->node_loads;
	s->parts = c->parts;
	s->current = q->current;
	for (unsigned int i = 0; i < q->n_devices; i++)
		if (q->devices[i].node >= 0)
			idset_add(&s->devices, (unsigned int)q->devices[i].node);
	s->anchor_is_pins = c->n_pinned > 0;
	s->anchor = c->n_pinned > 0 ? place_nodes_of(c->h, &c->pinned) : c->memory_nodes;
}

unsigned int place_capacity(const struct place_ctx *c, unsigned int i)
{
	struct search s;

	start_search(c, &s);
	return place_search_capacity(&s, &c->nodes[i].cpus);
}

/* By counting alone: could any node, or all of them together, do. It spares most of the searches that find nothing. */
static bool is_thinkable(const struct place_ctx *c, const struct search *s)
{
	unsigned int vcpus = 0, cpus = idset_count(&s->free);
	uint64_t units = 0, room = 0;
	bool one = false;

	for (unsigned int i = 0; i < s->n_parts; i++) {
		vcpus += s->parts[i].vcpus;
		units += s->parts[i].units;
	}
	for (unsigned int i = 0; i < c->h->n_nodes; i++) {
		uint64_t has = s->room ? s->room[i] : HOST_UNKNOWN;

		room = has > HOST_UNKNOWN - room ? HOST_UNKNOWN : room + has;
		one |= c->nodes[i].n_cpus >= vcpus && has >= units && (c->nodes[i].n_cpus > 0 || vcpus == 0);
	}
	return one || ((s->split || s->n_parts > 1) && cpus >= vcpus && room >= units);
}

/* c->parts and c->order are there. 0, -ENOSPC, -ENOMEM. */
static int try_parts(struct place_ctx *c, const struct place_step *step, bool split)
{
	struct search s;
	struct idset nodes;
	bool settled = !idset_is_empty(&c->memory_nodes);
	int r;

	start_search(c, &s);
	s.n_parts = c->n_parts;
	s.split = split;
	s.guest_threads = c->whole_cores ? c->q->guest_threads : 0;
	if (step->memory && !settled) {
		for (unsigned int i = 0; i < c->h->n_nodes; i++)
			c->room[i] = place_step_room(c, step, i, &c->ready[i]);
		s.room = c->room;
		s.ready = step->page_size ? c->ready : NULL;
	}
	if (!is_thinkable(c, &s))
		return -ENOSPC;
	r = place_search(&s, c->cpu, &c->found);
	if (r < 0)
		return r;
	place_guest_settle(c, true);
	nodes = place_memory_nodes(c, &c->found.nodes);
	/* What the search cannot see: nodes that take their memory from the same one. */
	if (!place_memory_fits(c, step, &nodes))
		return -ENOSPC;
	c->search = s;
	return 0;
}

static void set_units(struct place_ctx *c, uint64_t size)
{
	uint64_t unit = size ? size : 1;

	if (!c->in_cells) {
		c->parts[0].units = c->q->memory / unit;
		return;
	}
	for (unsigned int i = 0; i < c->n_parts; i++)
		c->parts[i].units = c->q->cells[i].memory / unit;
}

static int try_step(struct place_ctx *c, const struct place_step *step, bool cells)
{
	if (step->spread && cells) {
		if (!place_guest_cells(c))
			return -ENOSPC;
	} else {
		place_guest_whole(c);
	}
	if (c->extra && !c->dedicated)
		c->parts[0].vcpus++; /* it comes out of what they float over */
	set_units(c, step->page_size);
	return try_parts(c, step, step->spread && !cells);
}

/* Whether all devices of a known node are on nodes that were found. */
static bool is_at_devices(const struct place_ctx *c)
{
	for (unsigned int i = 0; i < c->q->n_devices; i++) {
		int node = c->q->devices[i].node;

		if (node >= 0 && host_node(c->h, node) && !idset_has(&c->found.nodes, (unsigned int)node))
			return false;
	}
	return true;
}

/*
 * Step `at` found a place whose pages are there already, but not the nodes of the devices: one that is nearer to these
 * is better, if its pages only have to be added. 0 or -ENOMEM.
 */
static int come_nearer(struct place_ctx *c, const struct place_step *steps, unsigned int n, unsigned int at, bool cells)
{
	uint64_t far = c->found.cost.v[COST_DEVICES];

	for (unsigned int i = at + 1; i < n && steps[i].page_size > 0 && steps[i].spread == steps[at].spread; i++) {
		int r = try_step(c, &steps[i], cells);

		if (r == -ENOMEM)
			return r;
		if (r == 0 && c->found.cost.v[COST_DEVICES] < far) {
			c->step = steps[i];
			return 0;
		}
	}
	return try_step(c, &steps[at], cells);
}

int place_find(struct place_ctx *c)
{
	struct place_step steps[PLACE_STEPS_MAX];
	unsigned int n = place_steps(c, steps);
	bool cells = place_guest_cells(c);

	for (;; cells = false) {
		for (unsigned int i = 0; i < n; i++) {
			int r = try_step(c, &steps[i], cells);

			if (r == 0)
				c->step = steps[i];
			if (r == 0 && steps[i].ready && !is_at_devices(c))
				r = come_nearer(c, steps, n, i, cells);
			if (r != -ENOSPC)
				return r;
		}
		if (!cells)
			return -ENOSPC;
	}
}

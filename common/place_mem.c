/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory of a placement: what a node still has, what is claimed of it, and in which order page sizes are tried.
 *
 * Ordinary memory of a node is what all guests together may take by policy, less what guests have claimed and what
 * stands in huge page pools; and never more than is free now, less what guests in preparation will take. Pages of
 * a pool are those that nobody uses or has claimed (place_pool.c), and those that can be added: as far as
 * max-hugepages and max-memory allow, ordinary memory is left for them, and GROW_RESERVE stays free for the kernel.
 * What growing has shown already (request.caps) counts more than any of this. Cells have their memory where they are;
 * a guest without cells shares it evenly over its nodes. What the host does not say (HOST_UNKNOWN) does not limit, but
 * `auto` never steps up on it and no pool grows on it.
 */
#include "place_priv.h"

#define SIZE_2M (UINT64_C(2) << 20)
#define SIZE_1G (UINT64_C(1) << 30)

/*
 * What stays free when a pool grows. The kernel keeps up to 5 % of low memory free for compaction itself
 * (mm/khugepaged.c, set_recommended_min_free_kbytes()) and wakes kswapd 0.1 % of a zone above that, and stops it
 * another 0.1 % higher (Documentation/admin-guide/sysctl/vm.rst, watermark_scale_factor): a 16th of a small node, and
 * no more than 1 GiB of a large one, is above all of these.
 */
#define GROW_RESERVE_PART 16
#define GROW_RESERVE_MAX  SIZE_1G

/* What `auto` tries, in this order. */
static const uint64_t ladder[] = { SIZE_1G, SIZE_2M };

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

struct usage {
	uint64_t ordinary;  /* bytes claimed */
	uint64_t in_flight; /* of them, by guests that have not started yet */
	uint64_t huge;      /* bytes of huge pages claimed */
	uint64_t growing;   /* of them, those that are to be added to pools */
};

static void add_usage(const struct place_ctx *c, const struct claim *k, const struct claim_pages *pages,
		      struct usage *usage)
{
	for (unsigned int i = 0; i < c->h->n_nodes; i++) {
		struct usage *u = &usage[i];

		if (c->h->nodes[i].id != pages->node)
			continue;
		if (pages->size > 0) {
			u->huge += pages->size * pages->count;
			u->growing += pages->size * pages->grow;
			continue;
		}
		u->ordinary += pages->count;
		if (k->phase == CLAIM_PREPARED)
			u->in_flight += pages->count;
	}
}

static int read_usage(const struct place_ctx *c, struct usage **ret)
{
	struct usage *usage = calloc(c->h->n_nodes + 1u, sizeof(*usage));

	if (!usage)
		return -ENOMEM;
	for (unsigned int i = 0; i < c->l->n_claims; i++) {
		const struct claim *k = &c->l->claims[i];

		if (k->kind == CLAIM_OBSERVE || streq(k->uuid, c->self))
			continue;
		for (unsigned int j = 0; j < k->n_pages; j++)
			add_usage(c, k, &k->pages[j], usage);
	}
	*ret = usage;
	return 0;
}

/*
 * Pages of 1 GiB that `auto` may hope for: a free range of that size and alignment is found where most of the node is
 * free or movable (mm/hugetlb.c, alloc_contig_pages()), so none on a node that is more than half used, and no
 * more than half of what is free. Who asks for 1G by name has it tried.
 */
static uint64_t plausible(const struct place_ctx *c, const struct host_node *n, uint64_t size, uint64_t pages)
{
	if (size < SIZE_1G || c->q->pages != PLACE_PAGES_AUTO || c->q->n_backing > 0)
		return pages;
	return n->mem_free / 2 < n->mem_total / 4 ? 0 : min_u64(pages, n->mem_free / 2 / size);
}

static uint64_t cap_of(const struct place_ctx *c, int node, uint64_t size)
{
	uint64_t cap = HOST_UNKNOWN;

	for (unsigned int i = 0; i < c->q->n_caps; i++)
		if (c->q->caps[i].node == node && c->q->caps[i].size == size)
			cap = min_u64(cap, c->q->caps[i].pages);
	return cap;
}

static void init_pool(struct place_ctx *c, struct place_node *node, unsigned int j, uint64_t huge_limit)
{
	const struct host_node *n = node->node;
	uint64_t size = n->pools[j].size, cap = cap_of(c, n->id, size), ready, room;

	ready = room = place_free_pages(n, size, c->l, c->self);
	if (ready != HOST_UNKNOWN)
		room += plausible(c, n, size, node->growable / size);
	if (ready != HOST_UNKNOWN && huge_limit != HOST_UNKNOWN) {
		ready = min_u64(ready, huge_limit / size);
		room = min_u64(room, huge_limit / size);
	}
	node->pools[j] = (struct place_pool){ .ready = min_u64(ready, cap), .room = min_u64(room, cap) };
}

/* What c->nodes[i] can still give: bytes of ordinary memory, pages of each pool. */
int place_memory_init(struct place_ctx *c)
{
	_cleanup_free_ struct usage *usage = NULL;

	if (read_usage(c, &usage))
		return -ENOMEM;
	for (unsigned int i = 0; i < c->h->n_nodes; i++) {
		const struct host_node *n = &c->h->nodes[i];
		struct place_node *node = &c->nodes[i];
		struct usage u = usage[i];
		uint64_t pools = u.growing, by_limit = HOST_UNKNOWN, huge_limit = HOST_UNKNOWN, by_free = n->mem_free;

		node->node = n;
		for (unsigned int j = 0; j < n->n_pools; j++)
			if (n->pools[j].total != HOST_UNKNOWN)
				pools += n->pools[j].total * n->pools[j].size;
		if (n->mem_total != HOST_UNKNOWN) {
			uint64_t all = place_limit(c->q->max_memory, n->mem_total);

			by_limit = less(all, u.ordinary + (pools > u.huge ? pools : u.huge));
			huge_limit = min_u64(less(place_limit(c->q->max_hugepages, n->mem_total), u.huge),
					     less(all, u.huge + u.ordinary));
		}
		if (by_free != HOST_UNKNOWN)
			by_free = less(by_free, u.in_flight + u.growing);
		node->memory = min_u64(by_limit, by_free);
		if (!c->q->no_growth && n->mem_total != HOST_UNKNOWN && by_free != HOST_UNKNOWN) {
			uint64_t reserve = min_u64(n->mem_total / GROW_RESERVE_PART, GROW_RESERVE_MAX);

			node->growable = min_u64(min_u64(by_limit, less(by_free, reserve)),
						 less(place_limit(c->q->max_hugepages, n->mem_total), pools));
		}
		for (unsigned int j = 0; j < n->n_pools; j++)
			init_pool(c, node, j, huge_limit);
	}
	return 0;
}

uint64_t place_node_memory(const struct place_ctx *c, const struct host_node *n)
{
	return c->nodes[n - c->h->nodes].memory;
}

struct place_pool place_node_pool(const struct place_ctx *c, const struct host_node *n, uint64_t size)
{
	const struct host_pool *pool = host_pool(n, size);

	return pool ? c->nodes[n - c->h->nodes].pools[pool - n->pools] : (struct place_pool){ 0 };
}

struct idset place_memory_nodes(const struct place_ctx *c, const struct idset *cpu_nodes)
{
	struct idset ret = IDSET_EMPTY;

	if (!idset_is_empty(&c->memory_nodes))
		return c->memory_nodes;
	for (unsigned int i = 0; i < c->h->n_nodes; i++)
		if (idset_has(cpu_nodes, (unsigned int)c->h->nodes[i].id) && c->nodes[i].mem_index >= 0)
			idset_add(&ret, (unsigned int)c->h->nodes[c->nodes[i].mem_index].id);
	return ret;
}

/* What a node can give to this step: bytes or pages. A pool that cannot be read gives nothing to `auto`. */
static uint64_t room_at(const struct place_ctx *c, const struct place_step *step, const struct host_node *n,
			uint64_t *ret_ready)
{
	struct place_pool pool;

	if (step->page_size == 0)
		return *ret_ready = place_node_memory(c, n);
	pool = place_node_pool(c, n, step->page_size);
	if (pool.room == HOST_UNKNOWN && c->q->n_backing == 0 && c->q->pages == PLACE_PAGES_AUTO)
		pool = (struct place_pool){ 0 };
	*ret_ready = pool.ready;
	return step->ready ? pool.ready : pool.room;
}

uint64_t place_step_room(const struct place_ctx *c, const struct place_step *step, unsigned int i, uint64_t *ret_ready)
{
	*ret_ready = 0;
	/* Memory of a node without CPUs is chosen by nobody but the owner. */
	if (c->nodes[i].mem_index < 0 || idset_is_empty(&c->h->nodes[i].cpus))
		return 0;
	return room_at(c, step, &c->h->nodes[c->nodes[i].mem_index], ret_ready);
}

bool place_memory_fits(const struct place_ctx *c, const struct place_step *step, const struct idset *memory_nodes)
{
	uint64_t ready;

	if (!step->memory || c->q->memory == 0)
		return true;
	if (idset_is_empty(memory_nodes))
		return step->page_size == 0;
	place_want(c, step->page_size, memory_nodes);
	for (unsigned int i = 0; i < c->h->n_nodes; i++)
		if (c->want[i] > 0 && c->want[i] > room_at(c, step, &c->h->nodes[i], &ready))
			return false;
	return true;
}

/* The size that stands for "the host's default": 2M where there is such a pool, else the smallest there is. */
uint64_t place_default_page_size(const struct host *h)
{
	uint64_t best = 0;

	for (unsigned int i = 0; i < h->n_nodes; i++)
		for (unsigned int j = 0; j < h->nodes[i].n_pools; j++) {
			uint64_t size = h->nodes[i].pools[j].size;

			if (size == SIZE_2M)
				return size;
			if (best == 0 || size < best)
				best = size;
		}
	return best;
}

bool place_is_multiple(const struct place_request *q, uint64_t size)
{
	if (size == 0 || q->memory == 0 || q->memory % size > 0)
		return false;
	for (unsigned int i = 0; i < q->n_cells; i++)
		if (q->cells[i].memory % size > 0)
			return false;
	return true;
}

static void add_step(struct place_step *steps, unsigned int *n, uint64_t size, bool memory, bool spread)
{
	steps[(*n)++] = (struct place_step){ .page_size = size, .memory = memory, .spread = spread };
}

/*
 * What `auto` tries before ordinary pages: the largest size that is there, then the largest that can be added. Growing
 * makes this start and whoever calls libvirt meanwhile wait, and 1G pages instead of 2M are not worth that.
 */
static void add_ladder(const struct place_request *q, struct place_step *steps, unsigned int *n, bool spread)
{
	for (int grow = 0; grow < 2; grow++)
		for (size_t i = 0; i < ARRAY_SIZE(ladder); i++) {
			if (!place_is_multiple(q, ladder[i]) || (grow && q->no_growth))
				continue;
			add_step(steps, n, ladder[i], true, spread);
			steps[*n - 1].ready = !grow;
		}
}

unsigned int place_steps(const struct place_ctx *c, struct place_step steps[PLACE_STEPS_MAX])
{
	const struct place_request *q = c->q;
	uint64_t wanted = q->n_backing == 1 ? q->backing[0].size : q->pages == PLACE_PAGES_HUGE ? q->page_size : 0;
	bool step_up = q->n_backing == 0 && q->pages == PLACE_PAGES_AUTO;
	unsigned int n = 0;

	if (q->n_backing == 1 && wanted == 0)
		wanted = place_default_page_size(c->h);
	/* Memory that is there already neither fits nor does not. Pages asked for by size are worth several nodes. */
	for (int spread = 0; idset_is_empty(&q->home) && place_is_multiple(q, wanted) && spread < 2; spread++)
		add_step(steps, &n, wanted, true, spread);
	/* With auto one node comes first. */
	for (int spread = 0; idset_is_empty(&q->home) && spread < 2; spread++) {
		if (step_up)
			add_ladder(q, steps, &n, spread);
		add_step(steps, &n, 0, true, spread);
	}
	/* CPUs of one's own are worth having where the memory is not; floating ones then go over all nodes. */
	for (int spread = 0; (c->dedicated || !idset_is_empty(&q->home)) && spread < 2; spread++)
		add_step(steps, &n, 0, false, spread);
	return n;
}

void place_settle_step(struct place_ctx *c)
{
	struct place_step steps[PLACE_STEPS_MAX];
	struct idset nodes = place_memory_nodes(c, &c->p->nodes);
	unsigned int n = place_steps(c, steps);

	c->step = (struct place_step){ 0 };
	for (unsigned int i = 0; i < n; i++)
		if (place_memory_fits(c, &steps[i], &nodes)) {
			c->step = steps[i];
			return;
		}
}

static void unmet_strict(struct place_ctx *c, const struct idset *nodes)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };

	sbuf_add(&b, "strict placement of ");
	place_add_bytes(&b, c->q->memory);
	sbuf_add(&b, " asked, ");
	IDSET_FOREACH (id, nodes) {
		const struct host_node *n = host_node(c->h, id);

		sbuf_add(&b, id == idset_first(nodes) ? "" : ", ");
		place_add_bytes(&b, n ? place_node_memory(c, n) : 0);
		sbuf_addf(&b, " left on node %d", id);
	}
	place_add_page_holders(&b, c, 0, nodes);
	sbuf_add(&b, ": a smaller guest, memory placement preferred, or fewer guests there");
	place_unmet(c, &b);
}

/* What is left of the memory policy once it is known whether the memory fits. */
static void choose_policy(struct place_ctx *c, const struct idset *nodes)
{
	const struct place_step ordinary = { .page_size = c->p->page_size, .memory = true };
	struct placement *p = c->p;
	struct idset all = IDSET_EMPTY;

	p->memory_policy = idset_is_empty(nodes) ? PLACE_MEMORY_NONE : c->q->memory_policy;
	for (unsigned int i = 0; i < c->h->n_nodes; i++)
		if (c->h->nodes[i].holds_guests)
			idset_add(&all, (unsigned int)c->h->nodes[i].id);
	if (p->memory_policy == PLACE_MEMORY_STRICT && idset_is_empty(&c->q->home) &&
	    !place_memory_fits(c, &ordinary, nodes)) {
		unmet_strict(c, nodes);
		p->memory_policy = PLACE_MEMORY_PREFERRED;
	}
	/* With cells each of them has nodes to prefer. */
	if (p->memory_policy == PLACE_MEMORY_PREFERRED && idset_is_empty(&c->memory_nodes) && !c->in_cells &&
	    c->h->n_nodes > 1 && idset_is_subset(&all, nodes)) {
		p->memory_policy = PLACE_MEMORY_NONE;
		place_say(p->why_nodes, sizeof(p->why_nodes),
			  "the domain is on all nodes, none of them can be preferred");
	}
	if (p->memory_policy != PLACE_MEMORY_NONE)
		p->memory_nodes = *nodes;
}

static int put_cells(struct place_ctx *c)
{
	struct placement *p = c->p;
	const struct place_request *q = c->q;

	if (q->n_cells == 0 || (p->memory_policy == PLACE_MEMORY_NONE && p->page_size == 0))
		return 0;
	p->cells = calloc(q->n_cells, sizeof(*p->cells));
	if (!p->cells)
		return -ENOMEM;
	p->n_cells = q->n_cells;
	for (unsigned int i = 0; i < q->n_cells; i++)
		p->cells[i] = (struct placed_cell){ .id = q->cells[i].id, .nodes = c->cell_nodes[i],
						    .page_size = p->page_size };
	return 0;
}

int place_memory(struct place_ctx *c)
{
	struct idset nodes = c->page_nodes;

	if (idset_is_empty(&nodes))
		nodes = place_memory_nodes(c, &c->p->nodes);
	if (place_pages(c, &nodes))
		return -ENOMEM;
	choose_policy(c, &nodes);
	if (put_cells(c))
		return -ENOMEM;
	if (c->p->page_size > 0 || c->q->n_backing > 0 || idset_is_empty(&nodes))
		return 0;
	place_want(c, 0, &nodes);
	return place_claim_wanted(c, 0);
}

/* The owner's list of memory nodes, cut to those that have memory; of a running domain, where its memory is. */
void place_memory_nodes_init(struct place_ctx *c)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	struct idset gone = c->q->nodes;
	const struct idset *from = idset_is_empty(&c->q->home) ? &c->q->nodes : &c->q->home;

	c->memory_nodes = IDSET_EMPTY;
	for (unsigned int i = 0; i < c->h->n_nodes; i++)
		if (idset_has(from, (unsigned int)c->h->nodes[i].id) && c->h->nodes[i].mem_total != 0)
			idset_add(&c->memory_nodes, (unsigned int)c->h->nodes[i].id);
	idset_andnot(&gone, &c->memory_nodes);
	if (idset_is_empty(&gone) || from != &c->q->nodes)
		return;
	sbuf_add(&b, "memory nodes ");
	place_add_list(&b, &gone);
	if (idset_is_empty(&c->memory_nodes)) {
		sbuf_add(&b, " asked, this host has no such node with memory: other nodes, or auto");
		place_unmet(c, &b);
	} else {
		sbuf_add(&b, " are not there or have no memory, left out");
		place_note(c, &b);
	}
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory and pages of a placement: what a node still has, what is claimed of it, and which page size it becomes.
 *
 * Ordinary memory of a node is what all guests together may take by policy, less what guests have claimed and what
 * stands in huge page pools; and never more than is free now, less what guests in preparation will take. Pages of
 * a pool are those that nobody uses or has claimed (place_pool.c). Several nodes share the guest's memory evenly.
 * What the host does not say (HOST_UNKNOWN) does not limit, but `auto` never steps up on it.
 */
#include "place_priv.h"

#define SIZE_2M (UINT64_C(2) << 20)
#define SIZE_1G (UINT64_C(1) << 30)

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

/* What c->nodes[i] can still give: bytes of ordinary memory, pages of each pool. */
int place_memory_init(struct place_ctx *c)
{
	_cleanup_free_ struct usage *usage = NULL;

	if (read_usage(c, &usage))
		return -ENOMEM;
	for (unsigned int i = 0; i < c->h->n_nodes; i++) {
		const struct host_node *n = &c->h->nodes[i];
		struct usage u = usage[i];
		uint64_t pools = 0, by_limit = HOST_UNKNOWN, huge_limit = HOST_UNKNOWN, by_free = n->mem_free;

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
			by_free = less(by_free, u.in_flight);
		c->nodes[i].memory = min_u64(by_limit, by_free);
		for (unsigned int j = 0; j < n->n_pools; j++) {
			uint64_t avail = place_free_pages(n, n->pools[j].size, c->l, c->self);

			if (avail != HOST_UNKNOWN && huge_limit != HOST_UNKNOWN)
				avail = min_u64(avail, huge_limit / n->pools[j].size);
			c->nodes[i].pages[j] = avail;
		}
	}
	return 0;
}

uint64_t place_node_memory(const struct place_ctx *c, const struct host_node *n)
{
	return c->nodes[n - c->h->nodes].memory;
}

uint64_t place_node_pages(const struct place_ctx *c, const struct host_node *n, uint64_t size)
{
	const struct host_pool *pool = host_pool(n, size);

	return pool ? c->nodes[n - c->h->nodes].pages[pool - n->pools] : 0;
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

/* The i-th of k even parts of n units; the first ones are one larger. */
static uint64_t share_of(uint64_t n, unsigned int k, unsigned int i)
{
	return n / k + (i < n % k ? 1 : 0);
}

bool place_memory_fits(const struct place_ctx *c, const struct place_step *step, const struct idset *memory_nodes,
		       uint64_t *ret_slack)
{
	unsigned int k = idset_count(memory_nodes), i = 0, known = 0;
	uint64_t units = step->page_size ? c->q->memory / step->page_size : c->q->memory, slack = 0;

	*ret_slack = HOST_UNKNOWN;
	if (!step->memory || units == 0)
		return true;
	if (k == 0)
		return step->page_size == 0;
	IDSET_FOREACH (id, memory_nodes) {
		const struct host_node *n = host_node(c->h, id);
		uint64_t share = share_of(units, k, i++), has, all;

		if (!n)
			return false;
		if (step->page_size) {
			const struct host_pool *pool = host_pool(n, step->page_size);

			has = place_node_pages(c, n, step->page_size);
			all = pool ? pool->total : 0;
			if (has == HOST_UNKNOWN && c->q->pages == PLACE_PAGES_AUTO)
				return false;
		} else {
			has = place_node_memory(c, n);
			all = n->mem_total;
		}
		if (has < share)
			return false;
		if (has != HOST_UNKNOWN && all != HOST_UNKNOWN && all > 0) {
			slack += (uint64_t)((__uint128_t)(has - share) * 1000 / all);
			known++;
		}
	}
	if (known > 0)
		*ret_slack = slack / known;
	return true;
}

/* The size that stands for "the host's default": 2M where there is such a pool, else the smallest there is. */
static uint64_t default_page_size(const struct host *h)
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

static uint64_t backing_size(const struct place_ctx *c, unsigned int i)
{
	return c->q->backing[i].size ? c->q->backing[i].size : default_page_size(c->h);
}

static bool is_multiple(uint64_t memory, uint64_t size)
{
	return size > 0 && memory > 0 && memory % size == 0;
}

static void add_step(struct place_step *steps, unsigned int *n, uint64_t size, bool memory, bool spread)
{
	steps[(*n)++] = (struct place_step){ .page_size = size, .memory = memory, .spread = spread };
}

unsigned int place_steps(const struct place_ctx *c, struct place_step steps[PLACE_STEPS_MAX])
{
	const struct place_request *q = c->q;
	uint64_t wanted = q->n_backing == 1 ? backing_size(c, 0) : q->pages == PLACE_PAGES_HUGE ? q->page_size : 0;
	bool step_up = q->n_backing == 0 && q->pages == PLACE_PAGES_AUTO;
	unsigned int n = 0;

	/* Pages that were asked for by size are worth several nodes; with auto one node comes first. */
	if (is_multiple(q->memory, wanted))
		for (int spread = 0; spread < 2; spread++)
			add_step(steps, &n, wanted, true, spread);
	for (int spread = 0; spread < 2; spread++) {
		for (unsigned int i = 0; step_up && i < ARRAY_SIZE(ladder); i++)
			if (is_multiple(q->memory, ladder[i]))
				add_step(steps, &n, ladder[i], true, spread);
		add_step(steps, &n, 0, true, spread);
	}
	/* CPUs of one's own are worth having where the memory is not; floating ones then go over all nodes. */
	for (int spread = 0; c->dedicated && spread < 2; spread++)
		add_step(steps, &n, 0, false, spread);
	return n;
}

static int add_claim(struct place_ctx *c, int node, uint64_t size, uint64_t count)
{
	struct placement *p = c->p;
	struct claim_pages *grown;

	if (count == 0)
		return 0;
	for (unsigned int i = 0; i < p->n_pages; i++)
		if (p->pages[i].node == node && p->pages[i].size == size) {
			p->pages[i].count += count;
			return 0;
		}
	grown = reallocarray(p->pages, p->n_pages + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	p->pages = grown;
	p->pages[p->n_pages++] = (struct claim_pages){ .node = node, .size = size, .count = count };
	return 0;
}

static int claim_evenly(struct place_ctx *c, const struct idset *nodes, uint64_t size, uint64_t count)
{
	unsigned int k = idset_count(nodes), i = 0;

	IDSET_FOREACH (id, nodes)
		if (add_claim(c, id, size, share_of(count, k, i++)))
			return -ENOMEM;
	return 0;
}

/* Pages that are left on a node after what this placement has claimed already. */
static uint64_t pages_left(const struct place_ctx *c, const struct host_node *n, uint64_t size)
{
	uint64_t left = place_node_pages(c, n, size);

	for (unsigned int i = 0; left != HOST_UNKNOWN && i < c->p->n_pages; i++)
		if (c->p->pages[i].node == n->id && c->p->pages[i].size == size)
			left = less(left, c->p->pages[i].count);
	return left;
}

static bool pools_are_visible(const struct host *h)
{
	for (unsigned int i = 0; i < h->n_nodes; i++)
		if (h->nodes[i].n_pools > 0)
			return true;
	return false;
}

/* Nothing binds the owner's own huge pages to nodes: the wanted nodes first, then wherever there are any. */
static int claim_backing(struct place_ctx *c, unsigned int which, const struct idset *nodes)
{
	uint64_t size = backing_size(c, which), want, total;
	unsigned int k = idset_count(nodes), i = 0;
	_cleanup_sbuf_ struct sbuf b = { 0 };
	char name[32];

	if (size == 0 || !pools_are_visible(c->h))
		return 0;
	want = total = c->q->backing[which].bytes / size + (c->q->backing[which].bytes % size > 0);
	IDSET_FOREACH (id, nodes) {
		const struct host_node *n = host_node(c->h, id);
		uint64_t take = n ? min_u64(share_of(total, k, i++), pages_left(c, n, size)) : 0;

		if (add_claim(c, id, size, take))
			return -ENOMEM;
		want -= take;
	}
	for (int pass = 0; pass < 2; pass++)
		for (unsigned int j = 0; j < c->h->n_nodes && want > 0; j++) {
			const struct host_node *n = &c->h->nodes[j];
			uint64_t take = min_u64(want, pages_left(c, n, size));

			if (idset_has(nodes, (unsigned int)n->id) != (pass == 0) || (pass == 1 && c->q->memory_given))
				continue;
			if (add_claim(c, n->id, size, take))
				return -ENOMEM;
			want -= take;
		}
	if (want > 0) {
		sbuf_addf(&b, "%" PRIu64 " pages of %s asked by the definition's <hugepages>, %" PRIu64 " free", total,
			  place_page_name(size, name, sizeof(name)), total - want);
		sbuf_add(&b, ": a larger pool, or a smaller guest");
		place_unmet(c, &b);
	}
	return b.failed ? -ENOMEM : 0;
}

/* The largest guest that the pools could hold, split evenly over some k of these nodes. */
static uint64_t largest_guest(const struct place_ctx *c, const struct idset *nodes, uint64_t size)
{
	uint64_t best = 0;

	IDSET_FOREACH (least, nodes) {
		const struct host_node *floor = host_node(c->h, least);
		uint64_t level = floor ? place_node_pages(c, floor, size) : 0;
		unsigned int k = 0;

		IDSET_FOREACH (id, nodes) {
			const struct host_node *n = host_node(c->h, id);

			k += n && place_node_pages(c, n, size) >= level;
		}
		if (level != HOST_UNKNOWN && level * k > best)
			best = level * k;
	}
	return best * size;
}

static void add_pool_state(struct sbuf *b, const struct place_ctx *c, const struct host_node *n, uint64_t size)
{
	uint64_t has = place_node_pages(c, n, size), nobody = place_free_pages(n, size, c->l, c->self);
	const struct host_pool *pool = host_pool(n, size);

	if (has == HOST_UNKNOWN)
		sbuf_addf(b, "an unknown number on node %d", n->id);
	else if (!pool || pool->total == 0)
		sbuf_addf(b, "no pool on node %d", n->id);
	else if (has < nobody)
		sbuf_addf(b, "%" PRIu64 " of %" PRIu64 " free ones allowed on node %d by max-hugepages or max-memory",
			  has, nobody, n->id);
	else
		sbuf_addf(b, "%" PRIu64 " free on node %d", has, n->id);
}

static void unmet_pages(struct place_ctx *c)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	struct idset nodes = idset_is_empty(&c->memory_nodes) ? IDSET_EMPTY : c->memory_nodes;
	uint64_t size = c->q->page_size, want = c->q->memory / size, largest;
	unsigned int named = 0;
	char name[32];

	place_page_name(size, name, sizeof(name));
	if (idset_is_empty(&nodes))
		for (unsigned int i = 0; i < c->h->n_nodes; i++)
			if (c->h->nodes[i].holds_guests)
				idset_add(&nodes, (unsigned int)c->h->nodes[i].id);
	if (c->q->memory == 0) {
		sbuf_addf(&b, "%s pages asked, but the definition does not say how much memory the guest has", name);
		place_unmet(c, &b);
		return;
	}
	if (!is_multiple(c->q->memory, size)) {
		sbuf_addf(&b, "%s pages asked, but the guest's ", name);
		place_add_bytes(&b, c->q->memory);
		sbuf_add(&b, " are no multiple of that: another amount of memory, or smaller pages");
		place_say(c->p->why_pages, sizeof(c->p->why_pages), "memory is no multiple of %s", name);
		place_unmet(c, &b);
		return;
	}
	largest = largest_guest(c, &nodes, size);
	sbuf_addf(&b, "%" PRIu64 " pages of %s asked, ", want, name);
	IDSET_FOREACH (id, &nodes) {
		const struct host_node *n = host_node(c->h, id);

		if (!n || named++ > 3)
			continue;
		sbuf_add(&b, named > 1 ? ", " : "");
		add_pool_state(&b, c, n, size);
	}
	if (named > 4)
		sbuf_addf(&b, " and %u more nodes", named - 4);
	sbuf_add(&b, ": a larger pool");
	if (largest > 0) {
		sbuf_add(&b, ", or a guest of at most ");
		place_add_bytes(&b, largest);
	}
	place_say(c->p->why_pages, sizeof(c->p->why_pages), "too few %s pages are free", name);
	place_unmet(c, &b);
}

static void note_inert_thp(struct place_ctx *c)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };

	if (!c->p->thp || !streq(c->h->thp, "never"))
		return;
	sbuf_add(&b, "transparent huge pages are switched off on this host (enable: echo madvise "
		     ">/sys/kernel/mm/transparent_hugepage/enabled)");
	place_note(c, &b);
}

/* "auto, no 1G: memory is no multiple; no 2M: 20 of 512 pages free" */
static int say_stepped_down(struct place_ctx *c, const struct idset *nodes)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	char name[32];

	sbuf_add(&b, "auto");
	for (size_t i = 0; i < ARRAY_SIZE(ladder); i++) {
		uint64_t want = c->q->memory / ladder[i], has = 0;
		bool seen = false, known = true;

		IDSET_FOREACH(id, nodes) {
			const struct host_node *n = host_node(c->h, id);
			uint64_t on_node = n ? place_node_pages(c, n, ladder[i]) : 0;

			seen |= n && host_pool(n, ladder[i]);
			known &= on_node != HOST_UNKNOWN;
			has += known ? on_node : 0;
		}
		sbuf_addf(&b, "%s no %s: ", i ? ";" : ",", place_page_name(ladder[i], name, sizeof(name)));
		if (!is_multiple(c->q->memory, ladder[i]))
			sbuf_add(&b, "memory is no multiple");
		else if (!seen || !known)
			sbuf_add(&b, seen ? "the pool cannot be read" : "there is no pool");
		else
			sbuf_addf(&b, "%" PRIu64 " of %" PRIu64 " pages free", has, want);
	}
	if (b.failed)
		return -ENOMEM;
	place_say(c->p->why_pages, sizeof(c->p->why_pages), "%s", b.s);
	return 0;
}

/* Which pages back the guest, and why; the nodes are given. */
static int choose_pages(struct place_ctx *c, const struct idset *nodes)
{
	struct placement *p = c->p;
	uint64_t size = c->step.page_size;
	char name[32];

	if (c->q->n_backing > 0) {
		for (unsigned int i = 0; i < c->q->n_backing; i++)
			if (claim_backing(c, i, nodes))
				return -ENOMEM;
		place_say(p->why_pages, sizeof(p->why_pages), "the definition has <hugepages>");
		return 0;
	}
	switch (c->q->pages) {
	case PLACE_PAGES_HUGE:
	case PLACE_PAGES_AUTO:
		if (size > 0) {
			p->page_size = size;
			place_say(p->why_pages, sizeof(p->why_pages), "%" PRIu64 " pages of %s are free",
				  c->q->memory / size, place_page_name(size, name, sizeof(name)));
			return claim_evenly(c, nodes, size, c->q->memory / size);
		}
		if (c->q->pages == PLACE_PAGES_HUGE)
			unmet_pages(c);
		else if (say_stepped_down(c, nodes))
			return -ENOMEM;
		p->thp = true;
		break;
	case PLACE_PAGES_THP:
		p->thp = true;
		break;
	case PLACE_PAGES_DEFAULT:
	default:
		break;
	}
	note_inert_thp(c);
	return 0;
}

/* What is left of the memory policy once it is known whether the memory fits. */
static void choose_policy(struct place_ctx *c, const struct idset *nodes)
{
	const struct place_step ordinary = { .page_size = c->p->page_size, .memory = true };
	struct placement *p = c->p;
	_cleanup_sbuf_ struct sbuf b = { 0 };
	struct idset all = IDSET_EMPTY;
	uint64_t slack;

	p->memory_policy = idset_is_empty(nodes) ? PLACE_MEMORY_NONE : c->q->memory_policy;
	for (unsigned int i = 0; i < c->h->n_nodes; i++)
		if (c->h->nodes[i].holds_guests)
			idset_add(&all, (unsigned int)c->h->nodes[i].id);
	if (p->memory_policy == PLACE_MEMORY_STRICT && !place_memory_fits(c, &ordinary, nodes, &slack)) {
		sbuf_add(&b, "strict placement of ");
		place_add_bytes(&b, c->q->memory);
		sbuf_add(&b, " asked, ");
		IDSET_FOREACH (id, nodes) {
			const struct host_node *n = host_node(c->h, id);

			sbuf_add(&b, id == idset_first(nodes) ? "" : ", ");
			place_add_bytes(&b, n ? place_node_memory(c, n) : 0);
			sbuf_addf(&b, " left on node %d", id);
		}
		sbuf_add(&b, ": a smaller guest, memory placement preferred, or fewer guests there");
		place_unmet(c, &b);
		p->memory_policy = PLACE_MEMORY_PREFERRED;
	}
	if (p->memory_policy == PLACE_MEMORY_PREFERRED && idset_is_empty(&c->memory_nodes) && c->h->n_nodes > 1 &&
	    idset_is_subset(&all, nodes)) {
		p->memory_policy = PLACE_MEMORY_NONE;
		place_say(p->why_nodes, sizeof(p->why_nodes),
			  "the domain is on all nodes, none of them can be preferred");
	}
	if (p->memory_policy != PLACE_MEMORY_NONE)
		p->memory_nodes = *nodes;
}

int place_memory(struct place_ctx *c)
{
	struct idset nodes = c->page_nodes;

	if (idset_is_empty(&nodes))
		nodes = place_memory_nodes(c, &c->p->nodes);
	if (choose_pages(c, &nodes))
		return -ENOMEM;
	choose_policy(c, &nodes);
	if (c->p->page_size > 0 || c->q->n_backing > 0 || idset_is_empty(&nodes))
		return 0;
	return claim_evenly(c, &nodes, 0, c->q->memory);
}

/* The owner's list of memory nodes, cut to those that have memory. */
void place_memory_nodes_init(struct place_ctx *c)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	struct idset gone = c->q->nodes;

	c->memory_nodes = IDSET_EMPTY;
	for (unsigned int i = 0; i < c->h->n_nodes; i++)
		if (idset_has(&c->q->nodes, (unsigned int)c->h->nodes[i].id) && c->h->nodes[i].mem_total != 0)
			idset_add(&c->memory_nodes, (unsigned int)c->h->nodes[i].id);
	idset_andnot(&gone, &c->memory_nodes);
	if (idset_is_empty(&gone))
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

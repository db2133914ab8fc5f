/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pages of guest RAM on nodes that are settled: which size, how many of them on each node, how many of those have to be
 * added to its pool, and in words why not more or larger ones.
 *
 * A claim takes pages that are free and unclaimed first; only what is missing is to be added (claim_pages.grow), and
 * never more in sum than the node's memory allows (place_node.growable), whatever the sizes.
 */
#include "place_priv.h"

#define NODES_SHOWN 4

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The i-th of k even parts of n units; the first ones are one larger. */
static uint64_t share_of(uint64_t n, unsigned int k, unsigned int i)
{
	return n / k + (i < n % k ? 1 : 0);
}

static void want_evenly(const struct place_ctx *c, uint64_t units, const struct idset *nodes)
{
	unsigned int k = idset_count(nodes), i = 0;

	for (unsigned int j = 0; k > 0 && j < c->h->n_nodes; j++)
		if (idset_has(nodes, (unsigned int)c->h->nodes[j].id))
			c->want[j] += share_of(units, k, i++);
}

void place_want(const struct place_ctx *c, uint64_t size, const struct idset *nodes)
{
	uint64_t unit = size ? size : 1, left = c->q->memory / unit;

	memset(c->want, 0, c->h->n_nodes * sizeof(c->want[0]));
	for (unsigned int i = 0; i < c->q->n_cells; i++) {
		uint64_t units = c->q->cells[i].memory / unit;

		want_evenly(c, units, &c->cell_nodes[i]);
		left = less(left, units);
	}
	/* Without cells all of it; else what no cell has: memory devices. */
	want_evenly(c, left, nodes);
}

int place_add_claim(struct place_ctx *c, int node, uint64_t size, uint64_t count)
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

int place_claim_wanted(struct place_ctx *c, uint64_t size)
{
	for (unsigned int i = 0; i < c->h->n_nodes; i++)
		if (place_add_claim(c, c->h->nodes[i].id, size, c->want[i]))
			return -ENOMEM;
	return 0;
}

/* Of the claims, what the pools do not have yet. */
static void settle_growth(struct place_ctx *c)
{
	for (unsigned int i = 0; i < c->p->n_pages; i++) {
		struct claim_pages *g = &c->p->pages[i];
		const struct host_node *n = host_node(c->h, g->node);
		struct place_pool pool;

		if (g->size == 0 || !n)
			continue;
		pool = place_node_pool(c, n, g->size);
		g->grow = pool.ready == HOST_UNKNOWN ? 0 : less(g->count, pool.ready);
	}
}

/* Pages that are left on a node after what this placement has claimed already, of whatever sizes. */
static struct place_pool pool_left(const struct place_ctx *c, const struct host_node *n, uint64_t size)
{
	struct place_pool left = place_node_pool(c, n, size);
	uint64_t growable = c->nodes[n - c->h->nodes].growable;

	if (left.ready == HOST_UNKNOWN)
		return left;
	for (unsigned int i = 0; i < c->p->n_pages; i++) {
		const struct claim_pages *g = &c->p->pages[i];
		struct place_pool pool;

		if (g->node != n->id || g->size == 0)
			continue;
		pool = place_node_pool(c, n, g->size);
		growable = less(growable, less(g->count, pool.ready) * g->size);
		if (g->size == size) {
			left.ready = less(left.ready, g->count);
			left.room = less(left.room, g->count);
		}
	}
	left.room = min_u64(left.room, left.ready + growable / size);
	return left;
}

static bool pools_are_visible(const struct host *h)
{
	for (unsigned int i = 0; i < h->n_nodes; i++)
		if (h->nodes[i].n_pools > 0)
			return true;
	return false;
}

/* Up to *want pages of each of these nodes (or of all others), free ones only or such as can be added too. */
static int take_pages(struct place_ctx *c, const struct idset *nodes, bool others, bool grow, uint64_t size,
		      uint64_t *want)
{
	for (unsigned int i = 0; i < c->h->n_nodes && *want > 0; i++) {
		const struct host_node *n = &c->h->nodes[i];
		struct place_pool left;
		uint64_t take;

		if (idset_has(nodes, (unsigned int)n->id) == others || (others && !n->holds_guests && grow))
			continue;
		left = pool_left(c, n, size);
		take = min_u64(*want, grow ? left.room : left.ready);
		if (place_add_claim(c, n->id, size, take))
			return -ENOMEM;
		*want -= take;
	}
	return 0;
}

static void unmet_backing(struct place_ctx *c, uint64_t size, uint64_t total, uint64_t had, const struct idset *nodes)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	char name[32];

	sbuf_addf(&b, "%" PRIu64 " pages of %s asked by the definition's <hugepages>, %" PRIu64 " free or to be added",
		  total, place_page_name(size, name, sizeof(name)), had);
	place_add_page_holders(&b, c, size, nodes);
	sbuf_add(&b, ": a larger pool, more free memory, or a smaller guest");
	place_unmet(c, &b);
}

/*
 * Nothing binds the owner's own huge pages to nodes: an even share of each wanted node (free pages, and such as can be
 * added there), then whatever these nodes have, then wherever there are any, and only then more elsewhere.
 */
static int claim_backing(struct place_ctx *c, unsigned int which, const struct idset *nodes)
{
	uint64_t size = c->q->backing[which].size, bytes = c->q->backing[which].bytes, want, total;
	static const struct {
		bool others, grow;
	} passes[] = { { false, true }, { true, false }, { true, true } };
	unsigned int k = idset_count(nodes), at = 0;

	size = size ? size : place_default_page_size(c->h);
	if (size == 0 || !pools_are_visible(c->h))
		return 0;
	want = total = bytes / size + (bytes % size > 0);
	IDSET_FOREACH (id, nodes) {
		const struct host_node *n = host_node(c->h, id);
		uint64_t share = share_of(total, k, at++), take = n ? min_u64(share, pool_left(c, n, size).room) : 0;

		if (place_add_claim(c, id, size, take))
			return -ENOMEM;
		want -= take;
	}
	for (size_t i = 0; i < ARRAY_SIZE(passes); i++)
		if (!(passes[i].others && c->q->memory_given) &&
		    take_pages(c, nodes, passes[i].others, passes[i].grow, size, &want))
			return -ENOMEM;
	if (want > 0)
		unmet_backing(c, size, total, total - want, nodes);
	return 0;
}

/* The largest guest that the pools could hold, split evenly over some k of these nodes. */
static uint64_t largest_guest(const struct place_ctx *c, const struct idset *nodes, uint64_t size)
{
	uint64_t best = 0;

	IDSET_FOREACH (least, nodes) {
		const struct host_node *floor = host_node(c->h, least);
		uint64_t level = floor ? place_node_pool(c, floor, size).room : 0;
		unsigned int k = 0;

		IDSET_FOREACH (id, nodes) {
			const struct host_node *n = host_node(c->h, id);

			k += n && place_node_pool(c, n, size).room >= level;
		}
		if (level != HOST_UNKNOWN && level * k > best)
			best = level * k;
	}
	return best * size;
}

/* "100 free on node 0", "100 free and 212 to be added on node 0", ... */
static void add_pool_state(struct sbuf *b, const struct place_ctx *c, const struct host_node *n, uint64_t size)
{
	struct place_pool has = place_node_pool(c, n, size);
	uint64_t nobody = place_free_pages(n, size, c->l, c->self);

	if (!host_pool(n, size))
		sbuf_addf(b, "no such pool on node %d", n->id);
	else if (has.ready == HOST_UNKNOWN)
		sbuf_addf(b, "an unknown number on node %d", n->id);
	else if (has.room > has.ready)
		sbuf_addf(b, "%" PRIu64 " free and %" PRIu64 " more possible on node %d", has.ready,
			  has.room - has.ready, n->id);
	else if (has.ready < nobody)
		sbuf_addf(b, "%" PRIu64 " of %" PRIu64 " free ones allowed on node %d by max-hugepages or max-memory",
			  has.ready, nobody, n->id);
	else
		sbuf_addf(b, "%" PRIu64 " free on node %d", has.ready, n->id);
}

static struct idset nodes_for_pages(const struct place_ctx *c)
{
	struct idset ret = c->memory_nodes;

	for (unsigned int i = 0; idset_is_empty(&c->memory_nodes) && i < c->h->n_nodes; i++)
		if (c->h->nodes[i].holds_guests)
			idset_add(&ret, (unsigned int)c->h->nodes[i].id);
	return ret;
}

static void unmet_pages(struct place_ctx *c)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	struct idset nodes = nodes_for_pages(c);
	uint64_t size = c->q->page_size, largest;
	unsigned int named = 0;
	bool seen = false;
	char name[32];

	place_page_name(size, name, sizeof(name));
	if (c->q->memory == 0) {
		sbuf_addf(&b, "%s pages asked, but the definition does not say how much memory the guest has", name);
		place_unmet(c, &b);
		return;
	}
	if (!place_is_multiple(c->q, size)) {
		sbuf_addf(&b, "%s pages asked, but the guest's ", name);
		place_add_bytes(&b, c->q->memory);
		sbuf_addf(&b, " are no multiple of that%s: another amount of memory, or smaller pages",
			  c->q->memory % size == 0 ? " in each cell" : "");
		place_say(c->p->why_pages, sizeof(c->p->why_pages), "memory is no multiple of %s", name);
		place_unmet(c, &b);
		return;
	}
	largest = largest_guest(c, &nodes, size);
	sbuf_addf(&b, "%" PRIu64 " pages of %s asked, ", c->q->memory / size, name);
	IDSET_FOREACH (id, &nodes) {
		const struct host_node *n = host_node(c->h, id);

		seen |= n && host_pool(n, size);
		if (!n || named++ >= NODES_SHOWN)
			continue;
		sbuf_add(&b, named > 1 ? ", " : "");
		add_pool_state(&b, c, n, size);
	}
	if (named > NODES_SHOWN)
		sbuf_addf(&b, " and %u more nodes", named - NODES_SHOWN);
	place_add_page_holders(&b, c, size, &nodes);
	sbuf_add(&b, seen ? ": a larger pool, more free memory" : ": pages of another size");
	if (largest > 0) {
		sbuf_add(&b, ", or a guest of at most ");
		place_add_bytes(&b, largest);
	}
	place_say(c->p->why_pages, sizeof(c->p->why_pages), "too few %s pages are free or can be added", name);
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

/* "no 2M: 20 of 512 pages free, 30 more possible" */
static void add_step_down(struct sbuf *b, const struct place_ctx *c, uint64_t size, const struct idset *nodes)
{
	uint64_t ready = 0, room = 0;
	bool seen = false, known = true;
	char name[32];

	IDSET_FOREACH (id, nodes) {
		const struct host_node *n = host_node(c->h, id);
		struct place_pool pool = n ? place_node_pool(c, n, size) : (struct place_pool){ 0 };

		seen |= n && host_pool(n, size);
		known &= pool.ready != HOST_UNKNOWN;
		ready += known ? pool.ready : 0;
		room += known ? pool.room : 0;
	}
	sbuf_addf(b, "no %s: ", place_page_name(size, name, sizeof(name)));
	if (!place_is_multiple(c->q, size)) {
		sbuf_add(b, "memory is no multiple");
		return;
	}
	if (!seen || !known) {
		sbuf_add(b, seen ? "the pool cannot be read" : "there is no pool");
		return;
	}
	sbuf_addf(b, "%" PRIu64 " of %" PRIu64 " pages free", ready, c->q->memory / size);
	if (room > ready)
		sbuf_addf(b, ", %" PRIu64 " more possible", room - ready);
}

/* "auto, no 1G: memory is no multiple; no 2M: 20 of 512 pages free" */
static void say_stepped_down(struct place_ctx *c, const struct idset *nodes)
{
	static const uint64_t sizes[] = { UINT64_C(1) << 30, UINT64_C(2) << 20 };
	_cleanup_sbuf_ struct sbuf b = { 0 };

	sbuf_add(&b, "auto");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		sbuf_add(&b, i ? "; " : ", ");
		add_step_down(&b, c, sizes[i], nodes);
	}
	if (b.failed)
		c->p->notes.failed = true;
	else
		place_say(c->p->why_pages, sizeof(c->p->why_pages), "%s", b.s);
}

/* "512 pages of 2M are free"; "512 pages of 2M: 100 free, 412 to be added on node 0" */
static void say_pages(struct place_ctx *c, const char *lead)
{
	struct placement *p = c->p;
	uint64_t count = 0, grow = 0, size = p->page_size;
	struct idset nodes = IDSET_EMPTY;
	_cleanup_sbuf_ struct sbuf b = { 0 };
	char name[32];

	for (unsigned int i = 0; i < p->n_pages; i++) {
		if (p->pages[i].size == 0)
			continue;
		size = p->pages[i].size;
		count += p->pages[i].count;
		grow += p->pages[i].grow;
		if (p->pages[i].grow > 0 && p->pages[i].node >= 0)
			idset_add(&nodes, (unsigned int)p->pages[i].node);
	}
	sbuf_add(&b, lead);
	if (grow > 0 || !*lead)
		sbuf_addf(&b, "%s%" PRIu64 " page%s of %s", *lead ? ": " : "", count, count == 1 ? "" : "s",
			  place_page_name(size, name, sizeof(name)));
	if (grow > 0) {
		sbuf_addf(&b, ": %" PRIu64 " free, %" PRIu64 " to be added on node%s ", count - grow, grow,
			  idset_count(&nodes) > 1 ? "s" : "");
		place_add_list(&b, &nodes);
	} else if (!*lead) {
		sbuf_add(&b, count == 1 ? " is free" : " are free");
	}
	if (b.failed)
		p->notes.failed = true;
	else
		place_say(p->why_pages, sizeof(p->why_pages), "%s", b.s);
}

static int claim_definition(struct place_ctx *c, const struct idset *nodes)
{
	for (unsigned int i = 0; i < c->q->n_backing; i++)
		if (claim_backing(c, i, nodes))
			return -ENOMEM;
	settle_growth(c);
	say_pages(c, "the definition has <hugepages>");
	return 0;
}

int place_pages(struct place_ctx *c, const struct idset *nodes)
{
	struct placement *p = c->p;
	bool asked = c->q->pages == PLACE_PAGES_HUGE || c->q->pages == PLACE_PAGES_AUTO;

	/* A running guest has the pages it has. */
	if (!idset_is_empty(&c->q->home))
		return 0;
	if (c->q->n_backing > 0)
		return claim_definition(c, nodes);
	if (asked && c->step.page_size > 0) {
		p->page_size = c->step.page_size;
		place_want(c, p->page_size, nodes);
		if (place_claim_wanted(c, p->page_size))
			return -ENOMEM;
		settle_growth(c);
		say_pages(c, "");
		return 0;
	}
	if (c->q->pages == PLACE_PAGES_HUGE)
		unmet_pages(c);
	else if (c->q->pages == PLACE_PAGES_AUTO)
		say_stepped_down(c, nodes);
	p->thp = asked || c->q->pages == PLACE_PAGES_THP;
	note_inert_thp(c);
	return 0;
}

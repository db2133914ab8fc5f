/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Huge page pools: who has how much of them.
 *
 * The kernel says how many pages are free, the claims how many we gave away, and neither implies the other: a guest
 * in preparation has claimed pages that are still free, a running one uses what it claimed. So the ledger keeps, per
 * pool, the pages that others use, as of the last time when none of our claims on it was in flight. What is left:
 *
 *     total - max(used, others + claims)
 *
 * which counts no page twice in any phase, and errs on the side of too few while others' use changes.
 *
 * A claim whose pages are still being added (claim_pages.grow) holds those it had when it was made; those that have
 * arrived so far, which is what the pool has beyond ledger_pool.total, are nobody else's either.
 */
#include "place_priv.h"

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

struct pool_claims {
	uint64_t all;       /* of everybody but self, without what is still to be added */
	uint64_t started;   /* of running domains, self included */
	uint64_t self_used; /* of self, if it runs */
	bool in_flight;
};

static struct pool_claims claims_on(const struct ledger *l, int node, uint64_t size, const char *self)
{
	struct pool_claims r = { 0 };

	for (unsigned int i = 0; i < l->n_claims; i++) {
		const struct claim *c = &l->claims[i];
		bool is_self = streq(c->uuid, self);

		if (c->kind == CLAIM_OBSERVE)
			continue;
		for (unsigned int j = 0; j < c->n_pages; j++) {
			uint64_t count = less(c->pages[j].count, c->pages[j].grow);

			if (c->pages[j].node != node || c->pages[j].size != size)
				continue;
			if (!is_self)
				r.all += count;
			if (c->phase == CLAIM_STARTED) {
				r.started += count;
				r.self_used += is_self ? count : 0;
			} else {
				r.in_flight = true;
			}
		}
	}
	return r;
}

static struct ledger_pool *find_pool(const struct ledger *l, int node, uint64_t size)
{
	for (unsigned int i = 0; i < l->n_pools; i++)
		if (l->pools[i].node == node && l->pools[i].size == size)
			return &l->pools[i];
	return NULL;
}

/* Of the pages being added, those that are there. Surplus pages of others may pass for some: too few are left then. */
static uint64_t arrived(const struct ledger_pool *p, uint64_t total)
{
	uint64_t beyond = less(total, p->total);

	return beyond < p->pending ? beyond : p->pending;
}

uint64_t place_pool_left(const struct ledger *l, int node, uint64_t size, uint64_t total, uint64_t unused,
			 const char *self)
{
	const struct ledger_pool *known = find_pool(l, node, size);
	struct pool_claims claims = claims_on(l, node, size, self);
	uint64_t used = less(less(total, unused), claims.self_used);
	/* Without a record, use beyond the claims is taken for that of others. */
	uint64_t taken = known ? known->others + claims.all : claims.all;

	if (known)
		total = less(total, arrived(known, total));
	return less(total, used > taken ? used : taken);
}

uint64_t place_free_pages(const struct host_node *n, uint64_t size, const struct ledger *l, const char *self)
{
	const struct host_pool *pool = host_pool(n, size);

	if (!pool)
		return 0;
	if (pool->total == HOST_UNKNOWN || pool->free == HOST_UNKNOWN)
		return HOST_UNKNOWN;
	return place_pool_left(l, n->id, size, pool->total, pool->free, self);
}

static struct ledger_pool *add_pool(struct ledger *l, int node, uint64_t size)
{
	struct ledger_pool *grown = reallocarray(l->pools, l->n_pools + 1, sizeof(*grown));

	if (!grown)
		return NULL;
	l->pools = grown;
	grown[l->n_pools] = (struct ledger_pool){ .node = node, .size = size };
	return &grown[l->n_pools++];
}

struct ledger_pool *place_pool_find(struct ledger *l, int node, uint64_t size)
{
	struct ledger_pool *p = find_pool(l, node, size);

	return p ? p : add_pool(l, node, size);
}

void place_pool_update(const struct ledger *l, struct ledger_pool *p, uint64_t total, uint64_t unused)
{
	struct pool_claims claims = claims_on(l, p->node, p->size, "");

	if (!claims.in_flight)
		p->others = less(less(total, unused), claims.started);
}

/* Forget pools that the host no longer has: a node that went offline. What we changed is hugepool.h's to settle. */
static void drop_gone(struct ledger *l, const struct host *h)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < l->n_pools; i++) {
		const struct ledger_pool *p = &l->pools[i];
		const struct host_node *n = host_node(h, p->node);

		if ((n && host_pool(n, p->size)) || p->grown || p->pending || p->adopted || p->leaving)
			l->pools[kept++] = l->pools[i];
	}
	l->n_pools = kept;
}

void place_update_pools(struct ledger *l, const struct host *h)
{
	drop_gone(l, h);
	for (unsigned int i = 0; i < h->n_nodes; i++)
		for (unsigned int j = 0; j < h->nodes[i].n_pools; j++) {
			const struct host_pool *pool = &h->nodes[i].pools[j];
			struct ledger_pool *known = find_pool(l, h->nodes[i].id, pool->size);

			if (pool->total == HOST_UNKNOWN || pool->free == HOST_UNKNOWN || (!known && pool->total == 0))
				continue;
			/* Without memory for it there is no record, and place_free_pages() does without. */
			if (!known && !claims_on(l, h->nodes[i].id, pool->size, "").in_flight)
				known = add_pool(l, h->nodes[i].id, pool->size);
			if (known)
				place_pool_update(l, known, pool->total, pool->free);
		}
}

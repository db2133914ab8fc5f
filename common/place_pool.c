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
 */
#include "place_priv.h"

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

struct pool_claims {
	uint64_t all;       /* of everybody but self */
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
			if (c->pages[j].node != node || c->pages[j].size != size)
				continue;
			if (!is_self)
				r.all += c->pages[j].count;
			if (c->phase == CLAIM_STARTED) {
				r.started += c->pages[j].count;
				r.self_used += is_self ? c->pages[j].count : 0;
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

uint64_t place_free_pages(const struct host_node *n, uint64_t size, const struct ledger *l, const char *self)
{
	const struct host_pool *pool = host_pool(n, size);
	const struct ledger_pool *known;
	struct pool_claims claims;
	uint64_t used, taken;

	if (!pool)
		return 0;
	if (pool->total == HOST_UNKNOWN || pool->free == HOST_UNKNOWN)
		return HOST_UNKNOWN;
	if (pool->total == 0)
		return 0;
	claims = claims_on(l, n->id, size, self);
	known = find_pool(l, n->id, size);
	used = less(less(pool->total, pool->free), claims.self_used);
	/* Without a record, use beyond the claims is taken for that of others. */
	taken = known ? known->others + claims.all : claims.all;
	return less(pool->total, used > taken ? used : taken);
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

/* Forget pools that the host no longer has: a node that went offline. */
static void drop_gone(struct ledger *l, const struct host *h)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < l->n_pools; i++) {
		const struct host_node *n = host_node(h, l->pools[i].node);

		if (n && host_pool(n, l->pools[i].size))
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
			struct pool_claims claims;

			if (pool->total == HOST_UNKNOWN || pool->free == HOST_UNKNOWN || (!known && pool->total == 0))
				continue;
			claims = claims_on(l, h->nodes[i].id, pool->size, "");
			if (claims.in_flight)
				continue;
			if (!known)
				known = add_pool(l, h->nodes[i].id, pool->size);
			/* Without memory for it there is no record, and place_free_pages() does without. */
			if (known)
				known->others = less(less(pool->total, pool->free), claims.started);
		}
}

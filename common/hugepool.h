/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The huge page broker: pools grow for a start and shrink when nobody needs the pages any more.
 *
 * nr_hugepages of a node is absolute, is everybody's, and growing it takes time: the kernel compacts memory for it
 * (Documentation/admin-guide/mm/hugetlbpage.rst), page by page, and gives what it gets. So
 *
 *   1. under the ledger's lock the claim says how many pages of each node it takes and how many of those have to be
 *      added (claim_pages.grow); hugepool_begin() records that ahead (ledger_pool.pending, .total);
 *   2. without the lock hugepool_grow() adds them in small pieces, each a read, a write and a read back, until they
 *      are there, a piece gains nothing even after compaction, or time is up;
 *   3. under the lock hugepool_end() records what came of it. Too few: the caller takes the claim back, which gives the
 *      pages back, and decides again, knowing what the pool could give (place_cap).
 *
 * Pools are shrunk to what was there before us plus what living claims need of ours, never below what is in use or
 * promised (free_hugepages less resv_hugepages is what may go), surplus pages (nr_overcommit_hugepages) left alone.
 * If nr_hugepages is not what we left, somebody else has decided meanwhile: it stays, ours are forgotten, and the log
 * says so. A grower that was killed is found by `pending` with no claim left that grows, and settled by reading.
 *
 * Two growers at a time: pieces are taken in turns, under flock(2) on the pool's directory, since the file says an
 * absolute number.
 */
#pragma once

#include "ledger.h"

struct hugepool_got {
	uint64_t pages;     /* added */
	uint64_t has;       /* free and unclaimed ones plus those, as far as known */
	int code;           /* errno of the write that failed; ETIMEDOUT: time was up; 0 */
};

/* Record ahead what this claim (of l) is about to add; the lock is held, the caller writes the ledger. 0, -ENOMEM. */
int hugepool_begin(const struct hostfs *fs, struct ledger *l, const struct claim *c);

/* Add pages until the clock (CLOCK_MONOTONIC, ms) says `until`. Never fails: what was added is in *ret. */
void hugepool_grow(const struct hostfs *fs, int node, uint64_t size, uint64_t pages, uint64_t until,
		   struct hugepool_got *ret);

/*
 * The lock is held: note for one node and size of the claim that `asked` are not growing any more and `added` were
 * added. The claim's .grow becomes 0.
 */
void hugepool_end(struct ledger *l, struct claim *c, int node, uint64_t size, uint64_t asked, uint64_t added);

/*
 * The lock is held and claims that end are gone from l (all others are there): settle what killed growers left, take
 * away pages of ours that no claim needs. Repeatable. Returns the pages taken away, or -errno of a write that
 * was refused; the caller writes the ledger in any case. Cheap if no pool has grown pages: nothing is read.
 */
int64_t hugepool_shrink(const struct hostfs *fs, struct ledger *l);

/* Pages of ours that hugepool_shrink() would take away, for `verify`: leftovers. */
uint64_t hugepool_surplus(const struct ledger *l, const struct ledger_pool *p);

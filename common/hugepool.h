/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The huge page broker: pools grow for a start and shrink when nobody needs the pages any more.
 *
 * nr_hugepages of a node is absolute, is everybody's, and growing it takes time: the kernel compacts memory for it
 * (Documentation/admin-guide/mm/hugetlbpage.rst), page by page, and gives what it gets. So
 *
 *   1. under the ledger's lock the claim says how many pages of each node it takes and how many of those have to be
 *      added (claim_pages.grow); hugepool_begin() records that ahead (ledger_pool.pending, .total);
 *   2. without the lock hugepool_grow() adds them in pieces, each a read, a write and a read back, until they are
 *      there, a piece gains nothing even after compaction, or time is up;
 *   3. under the lock hugepool_end() records what came of it. Too few: the caller takes the claim back, which gives the
 *      pages back, and decides again, knowing what the pool could give (place_cap).
 *
 * Pools are shrunk to what was there before us plus what living claims need of ours, never below what is in use or
 * promised (free_hugepages less resv_hugepages is what may go). Surplus pages of others (nr_overcommit_hugepages) that
 * the kernel makes persistent as a pool grows (set_max_huge_pages(), mm/hugetlb.c) become surplus again with the last
 * of ours. If the number of persistent pages is not what we left, somebody else has decided meanwhile: it stays, ours
 * are forgotten, and the log says so.
 *
 * All that is recorded ahead, so a kill leaves something to settle, never something unknown: pages that a killed
 * grower added, by `pending` with no claim left that grows; those a killed shrinker took away, by `leaving`.
 *
 * Locks: byte ranges of run/domtune/lock (F_OFD_SETLK), which do not meet the ledger's flock(2) on it. Pieces of one
 * page size are taken in turns, since the file says an absolute number; and a grower that lives holds a byte for
 * reading, so that nobody settles its pages meanwhile. Not a lock on sysfs: any user can lock a directory there.
 */
#pragma once

#include "ledger.h"

struct hugepool_got {
	uint64_t pages;     /* added */
	uint64_t adopted;   /* surplus pages of others that became persistent */
	bool contended;     /* it fell short while somebody else was adding pages, too */
	bool stuck;         /* the last write could not be ended: pages may still come, and are settled later */
	int code;           /* errno of the write that failed; ETIMEDOUT: time was up; 0 */
};

/* Milliseconds of CLOCK_MONOTONIC. */
uint64_t hugepool_now(void);

/* A pool's pages, surplus ones included, and those that nobody uses. -errno: both are as they were. */
int hugepool_count(const struct hostfs *fs, int node, uint64_t size, uint64_t *ret_total, uint64_t *ret_free);

/*
 * Record ahead what this claim (of l) is about to add; the lock is held, the caller writes the ledger. 0, -ENOMEM, or
 * why a pool cannot be read.
 */
int hugepool_begin(const struct hostfs *fs, struct ledger *l, const struct claim *c, struct err *e);

/*
 * Add pages until hugepool_now() says `until`; it returns at most HUGEPOOL_KILL_MS later. Never fails: what was added
 * is in *ret. Forks for each write, since only SIGKILL ends one that waits for memory (see .c).
 *
 * Several growers take turns, piece by piece. Where that leaves each with half of what it needs (`contended`), they
 * give it back and try again `alone`: one after the other.
 */
#define HUGEPOOL_KILL_MS 100
void hugepool_grow(const struct hostfs *fs, int node, uint64_t size, uint64_t pages, uint64_t until, bool alone,
		   struct hugepool_got *ret);

/*
 * The lock is held: note for one node and size of the claim that `asked` are not growing any more and what was added.
 * The claim's .grow becomes 0; c may be NULL: somebody has taken it away meanwhile.
 */
void hugepool_end(struct ledger *l, struct claim *c, int node, uint64_t size, uint64_t asked,
		  const struct hugepool_got *got);

/*
 * The lock is held, all claims are in l: find out by reading what killed growers and shrinkers left. Changes no pool.
 * Returns whether l has changed (the caller writes it), or -errno. Reads nothing if there is nothing to settle.
 */
int hugepool_settle(const struct hostfs *fs, struct ledger *l);

/*
 * The lock is held and claims that end are gone from l (all others are there): settle, and take away pages of ours that
 * no claim needs. Writes the ledger itself before it touches a pool. Repeatable, and to be repeated under a new
 * hold of the lock while it returns more than 0: one call takes away HUGEPOOL_SHRINK_MAX bytes of a pool at most.
 * Returns the pages taken away, or -errno of a write that was refused; the caller writes the ledger in any case.
 * Cheap if no pool has grown pages: nothing is read. While somebody adds a piece nothing is taken away: he
 * does it at his end.
 */
#define HUGEPOOL_SHRINK_MAX (UINT64_C(256) << 30) /* freeing 2M pages takes 5 us each (measured, Linux 6.18): 0.6 s */
int64_t hugepool_shrink(const struct hostfs *fs, struct ledger *l);

/* Pages of ours that hugepool_shrink() would take away, for `verify`: leftovers. Only the ledger is looked at. */
uint64_t hugepool_surplus(const struct ledger *l, const struct ledger_pool *p);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How pages are added. A write that raises nr_hugepages returns when the kernel has them or gives up; between two
 * pages it looks for any signal, but within one, while it compacts or migrates for a gigantic page
 * (alloc_contig_range(), mm/page_alloc.c), and in compaction of a whole node (mm/compaction.c), only for a fatal one.
 * So each of these writes is done by a child that is killed when time is up. It shares the descriptors that hold
 * our locks: if it cannot die at once, the pool stays locked until it has, and nobody counts pages that still come.
 *
 * A piece is 64 MiB at first, twice as much each time one was given in full, at most 1 GiB: short enough for others to
 * have their turn, and a few dozen children for the largest guest (a fork costs 0.1 ms here). What a piece gained is
 * the difference of two reads under the lock that only growers and shrinkers of ours take; an administrator who writes
 * in just that moment is counted as ours.
 *
 * In the ledger, per pool, outside of any change:
 *
 *     total   = persistent pages that there should be
 *     grown   = of them, ours; without us there would be total - grown - adopted
 *
 * and while something changes: total <= persistent <= total + pending (and surplus that is being adopted), or
 * total - leaving <= persistent <= total; never both. Anything else is somebody else's decision.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "hugepool_priv.h"
#include "log.h"
#include "place.h"

#define PIECE_MIN (UINT64_C(64) << 20)
#define PIECE_MAX (UINT64_C(1) << 30)
/* A piece of a grower whom a shrinker meets takes some ms; one that takes longer is its owner's to follow up. */
#define SHRINK_WAIT_MS 20

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t hugepool_now(void)
{
	struct timespec t = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int hugepool_count(const struct hostfs *fs, int node, uint64_t size, uint64_t *ret_total, uint64_t *ret_free)
{
	struct hugepool_pool pool;
	struct hugepool_state now;
	int r = hugepool_find(fs, node, size, &pool);

	if (r == 0)
		r = hugepool_read(fs, &pool, &now);
	if (r < 0)
		return r;
	*ret_total = now.nr;
	*ret_free = min_u64(now.free, now.nr);
	return 0;
}

/* ---- a write that can be ended ---- */

/* The child's status by `until`, in slices that grow. False: it has not ended. */
static bool wait_child(pid_t pid, uint64_t until, int *ret_status)
{
	struct timespec pause = { .tv_nsec = 50000 };

	for (;;) {
		pid_t got = waitpid(pid, ret_status, WNOHANG);

		if (got == pid)
			return true;
		if (got < 0 && errno != EINTR) {
			*ret_status = 0; /* somebody has reaped it for us */
			return true;
		}
		if (hugepool_now() >= until)
			return false;
		(void)nanosleep(&pause, NULL);
		if (pause.tv_nsec < 2000000)
			pause.tv_nsec *= 2;
	}
}

/* What a child is to do: set a pool, or (pool NULL) compact a node. */
struct job {
	const struct hostfs *fs;
	const struct hugepool_pool *pool;
	uint64_t pages;
	int node;
};

static int do_job(const struct job *j)
{
	return j->pool ? hugepool_set(j->fs, j->pool, j->pages) : hugepool_kernel.compact(j->fs, j->node);
}

/* 0, -errno of the write, -ETIMEDOUT (*ret_stuck: and it is still at it). */
static int run_killable(const struct job *j, uint64_t until, bool *ret_stuck)
{
	pid_t self = getpid(), pid;
	int status = 0;

	hostfs_durable(); /* for tests: we are killed before it; the child counts its own */
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(getppid() == self ? -do_job(j) & 0xff : ECANCELED); /* an errno of Linux is below 134 */
	}
	if (!wait_child(pid, until, &status)) {
		(void)kill(pid, SIGKILL);
		*ret_stuck = !wait_child(pid, hugepool_now() + HUGEPOOL_KILL_MS, &status);
		return -ETIMEDOUT;
	}
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

/* ---- growing ---- */

struct grower {
	const struct hostfs *fs;
	struct hugepool_pool pool;
	int lock; /* descriptor */
	bool alone; /* the lock is held all the time */
	uint64_t until;
	struct hugepool_got *got;
};

/* One piece of n pages. Returns as run_killable(); *ret_gained in any case. */
static int add_piece(struct grower *g, uint64_t n, uint64_t *ret_gained)
{
	struct hugepool_state before, after;
	struct job j = { .fs = g->fs, .pool = &g->pool };
	uint64_t more;
	int r = hugepool_lock(g->lock, HUGEPOOL_LOCK_PIECE, g->pool.size, g->until), code;

	*ret_gained = 0;
	if (r < 0)
		return r == -EAGAIN ? -ETIMEDOUT : r;
	code = hugepool_read(g->fs, &g->pool, &before);
	if (code < 0)
		goto out;
	j.pages = before.nr + n; /* surplus pages are made persistent first, whatever is asked */
	code = run_killable(&j, g->until, &g->got->stuck);
	r = hugepool_read(g->fs, &g->pool, &after);
	if (r < 0) {
		g->got->stuck = true; /* pages may have come */
		code = r;
		goto out;
	}
	more = less(after.persistent, before.persistent);
	*ret_gained = min_u64(less(after.nr, before.nr), more);
	g->got->pages += *ret_gained;
	g->got->adopted += more - *ret_gained;
out:
	if (!g->got->stuck && !g->alone)
		hugepool_unlock(g->lock, HUGEPOOL_LOCK_PIECE, g->pool.size);
	return code;
}

/* Once, and not all the time that is left: pages have to be added after it. */
static void compact(const struct grower *g, bool *ret_stuck)
{
	const struct job j = { .fs = g->fs, .node = g->pool.node };
	uint64_t now = hugepool_now();
	int r = run_killable(&j, now + less(g->until, now) / 2, ret_stuck);

	log_debug("node %d: compacted: %s", g->pool.node, r < 0 ? err_name(-r) : "done");
}

static void grow(struct grower *g, uint64_t pages)
{
	struct hugepool_got *got = g->got;
	uint64_t piece = PIECE_MIN / g->pool.size, most = PIECE_MAX / g->pool.size;
	bool compacted = false;

	piece = piece ? piece : 1;
	while (got->pages < pages && got->code == 0) {
		uint64_t n = min_u64(piece, pages - got->pages), gained = 0;
		int r = hugepool_now() >= g->until ? -ETIMEDOUT : add_piece(g, n, &gained);

		if (r < 0)
			got->code = -r;
		else if (gained >= n)
			piece = piece * 2 <= most ? piece * 2 : piece;
		else if (compacted && gained == 0)
			return;
		else if (!compacted) {
			compacted = true;
			compact(g, &got->stuck);
		}
	}
}

void hugepool_grow(const struct hostfs *fs, int node, uint64_t size, uint64_t pages, uint64_t until, bool alone,
		   struct hugepool_got *ret)
{
	_cleanup_close_ int lock = -1;
	struct grower g = { .fs = fs, .alone = alone, .until = until, .got = ret };
	int r = hugepool_find(fs, node, size, &g.pool);

	memset(ret, 0, sizeof(*ret));
	if (r == 0)
		r = g.lock = lock = hugepool_open_lock(fs);
	if (r >= 0)
		r = hugepool_lock(lock, HUGEPOOL_LOCK_LIVING, 0, until);
	if (r == 0 && alone)
		r = hugepool_lock(lock, HUGEPOOL_LOCK_PIECE, size, until);
	if (r < 0) {
		ret->code = r == -EAGAIN ? ETIMEDOUT : -r;
		return;
	}
	grow(&g, pages);
	/* Asking for the lock that excludes all others tells whether there are any; a refusal leaves ours as it was. */
	if (ret->pages < pages && !alone)
		ret->contended = hugepool_lock(lock, HUGEPOOL_LOCK_NOBODY, 0, 0) < 0;
}

/* ---- the ledger's side ---- */

static struct ledger_pool *find_record(struct ledger *l, int node, uint64_t size)
{
	for (unsigned int i = 0; i < l->n_pools; i++)
		if (l->pools[i].node == node && l->pools[i].size == size)
			return &l->pools[i];
	return NULL;
}

static bool is_ours(const struct ledger_pool *p)
{
	return p->grown || p->adopted || p->pending || p->leaving;
}

/* Somebody has decided meanwhile how large the pool is to be. */
static void forget(struct ledger_pool *p, uint64_t persistent)
{
	log_notice("node %d: its pool of %llu KiB pages has %llu pages, not %llu as we left it: it stays so, nothing "
		   "of it is taken away", p->node, (unsigned long long)(p->size >> 10), (unsigned long long)persistent,
		   (unsigned long long)p->total);
	p->grown = p->adopted = p->leaving = 0;
	p->total = persistent;
}

int hugepool_begin(const struct hostfs *fs, struct ledger *l, const struct claim *c, struct err *e)
{
	for (unsigned int i = 0; i < c->n_pages; i++) {
		const struct claim_pages *want = &c->pages[i];
		struct hugepool_state now;
		struct hugepool_pool pool;
		struct ledger_pool *p;
		int r;

		if (want->size == 0 || want->grow == 0)
			continue;
		r = hugepool_find(fs, want->node, want->size, &pool);
		if (r == 0)
			r = hugepool_read(fs, &pool, &now);
		if (r < 0)
			return err_set(e, -r, "node %d: its pool of %llu KiB pages: %s", want->node,
				       (unsigned long long)(want->size >> 10), err_name(-r));
		p = place_pool_find(l, want->node, want->size);
		if (!p)
			return err_set(e, ENOMEM, "claim: %s", err_name(ENOMEM));
		if (!is_ours(p))
			p->total = now.persistent;
		else if (!p->pending && now.persistent != p->total)
			forget(p, now.persistent);
		p->pending += want->grow;
	}
	return 0;
}

void hugepool_end(struct ledger *l, struct claim *c, int node, uint64_t size, uint64_t asked,
		  const struct hugepool_got *got)
{
	struct ledger_pool *p = find_record(l, node, size);

	for (unsigned int i = 0; c && i < c->n_pages; i++)
		if (c->pages[i].node == node && c->pages[i].size == size)
			c->pages[i].grow = 0;
	if (!p)
		return;
	/* What a write that could not be ended still brings is found as a killed grower's is. */
	p->pending = less(p->pending, got->stuck ? got->pages : asked);
	p->grown += got->pages;
	p->adopted += got->adopted;
	p->total += got->pages + got->adopted;
}

/* ---- settling ---- */

/* A claim whose domain runs, or has ended, does not grow any more: who made it was killed. It keeps what was there. */
static bool end_growth(struct ledger *l)
{
	bool changed = false;

	for (unsigned int i = 0; i < l->n_claims; i++) {
		bool grows = false;

		for (unsigned int j = 0; j < l->claims[i].n_pages; j++)
			grows |= l->claims[i].pages[j].grow > 0;
		if (grows && l->claims[i].phase != CLAIM_PREPARED) {
			struct claim *c = ledger_find(l, l->claims[i].uuid);

			for (unsigned int j = 0; c && j < c->n_pages; j++) {
				c->pages[j].count = less(c->pages[j].count, c->pages[j].grow);
				c->pages[j].grow = 0;
			}
			changed = true;
		}
	}
	return changed;
}

/* Pages that claims on a pool are still waiting for. */
static uint64_t awaited(const struct ledger *l, const struct ledger_pool *p)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < l->n_claims; i++)
		for (unsigned int j = 0; j < l->claims[i].n_pages; j++)
			if (l->claims[i].pages[j].node == p->node && l->claims[i].pages[j].size == p->size &&
			    l->claims[i].kind != CLAIM_OBSERVE)
				n += l->claims[i].pages[j].grow;
	return n;
}

static int read_record(const struct hostfs *fs, struct ledger_pool *p, struct hugepool_pool *pool,
		       struct hugepool_state *now)
{
	int r = hugepool_find(fs, p->node, p->size, pool);

	if (r == 0)
		r = hugepool_read(fs, pool, now);
	if (r == -ENOENT) /* the node has gone, and its pages with it */
		p->grown = p->adopted = p->pending = p->leaving = p->total = 0;
	return r;
}

/* Nobody adds or takes away now: what there is beyond total came from killed growers, what lacks is gone. */
static void settle_pool(struct ledger_pool *p, const struct hugepool_state *now)
{
	uint64_t came = min_u64(less(now->persistent, p->total), p->pending);
	uint64_t went = min_u64(less(p->total, now->persistent), p->leaving);

	p->grown += came;
	p->total += came;
	p->pending = 0;
	if (went) {
		uint64_t ours = min_u64(p->grown, went);

		p->grown -= ours;
		p->adopted = less(p->adopted, went - ours);
		p->total -= went;
	}
	p->leaving = 0;
}

int hugepool_settle(const struct hostfs *fs, struct ledger *l)
{
	_cleanup_close_ int lock = -1;
	int changed = end_growth(l);

	for (unsigned int i = 0; i < l->n_pools; i++) {
		struct ledger_pool *p = &l->pools[i];
		struct hugepool_pool pool;
		struct hugepool_state now;
		int r;

		/* A shrinker holds the ledger's lock while it lives. */
		if (!p->leaving && (p->pending == 0 || awaited(l, p) > 0))
			continue;
		if (lock < 0)
			lock = hugepool_open_lock(fs);
		if (lock < 0)
			return lock;
		if (p->pending && hugepool_lock(lock, HUGEPOOL_LOCK_NOBODY, 0, 0) < 0)
			continue;
		r = read_record(fs, p, &pool, &now);
		if (r == 0)
			settle_pool(p, &now);
		else if (r != -ENOENT)
			return r;
		changed = 1;
	}
	return changed;
}

/* ---- shrinking ---- */

uint64_t hugepool_surplus(const struct ledger *l, const struct ledger_pool *p)
{
	/* As if nobody used more than the ledger knows of. */
	return min_u64(p->grown, place_pool_left(l, p->node, p->size, p->total, p->total, ""));
}

/* Of free pages, those that are promised to nobody: a reservation is of the host, not of a node. */
static uint64_t unpromised(const struct hostfs *fs, const struct ledger_pool *p, uint64_t unused)
{
	unsigned long long kib = p->size >> 10;
	uint64_t promised, all;

	if (hostfs_read_u64(fs, &promised, "sys/kernel/mm/hugepages/hugepages-%llukB/resv_hugepages", kib) < 0 ||
	    promised == 0)
		return unused;
	if (hostfs_read_u64(fs, &all, "sys/kernel/mm/hugepages/hugepages-%llukB/free_hugepages", kib) < 0)
		return 0;
	return min_u64(unused, less(all, promised));
}

/* How many of our pages may go now. */
static uint64_t spare_pages(const struct hostfs *fs, const struct ledger *l, const struct ledger_pool *p,
			    const struct hugepool_state *now)
{
	uint64_t n = min_u64(p->grown, place_pool_left(l, p->node, p->size, now->nr, now->free, ""));

	n = min_u64(n, unpromised(fs, p, now->free));
	return min_u64(n, HUGEPOOL_SHRINK_MAX / p->size + 1);
}

/* What is to leave this pool, noted in p->leaving. Whether anything is. */
static bool plan_shrink(const struct hostfs *fs, struct ledger *l, struct ledger_pool *p)
{
	struct hugepool_pool pool;
	struct hugepool_state now;
	uint64_t spare;

	/* Whoever is adding pages comes here at his end. */
	if ((!p->grown && !p->adopted) || p->pending)
		return false;
	if (read_record(fs, p, &pool, &now) < 0)
		return false;
	if (now.persistent != p->total) {
		forget(p, now.persistent);
		return false;
	}
	place_pool_update(l, p, now.nr, now.free);
	spare = spare_pages(fs, l, p, &now);
	p->leaving = spare == p->grown ? spare + p->adopted : spare;
	return p->leaving > 0;
}

/* Take away `pages`; *ret is how many have gone. Pages that somebody took in this moment became surplus: never mind. */
static int take_away(const struct hostfs *fs, const struct hugepool_pool *pool, uint64_t pages, bool may_use,
		     uint64_t *ret)
{
	struct hugepool_state before, after;
	int r = hugepool_read(fs, pool, &before);

	*ret = 0;
	if (r == 0)
		r = hugepool_set(fs, pool, less(before.persistent, pages));
	if (r < 0 || hugepool_read(fs, pool, &after) < 0)
		return r;
	if (!may_use && after.surplus > before.surplus) {
		r = hugepool_set(fs, pool, after.persistent + (after.surplus - before.surplus));
		if (r < 0 || hugepool_read(fs, pool, &after) < 0)
			return r;
	}
	*ret = less(before.persistent, after.persistent);
	return 0;
}

/* p->leaving is on record. Returns pages, or -errno. */
static int64_t shrink_pool(const struct hostfs *fs, struct ledger_pool *p)
{
	struct hugepool_pool pool;
	uint64_t gone = 0, back = 0, ours = min_u64(p->leaving, p->grown);
	bool with_adopted = p->leaving > p->grown;
	int r = hugepool_find(fs, p->node, p->size, &pool);

	if (r == 0 && ours)
		r = take_away(fs, &pool, ours, false, &gone);
	p->grown = less(p->grown, gone);
	p->total = less(p->total, gone);
	/* Others' pages in use become what they were before. */
	if (r == 0 && with_adopted && p->grown == 0) {
		r = take_away(fs, &pool, p->adopted, true, &back);
		p->total = less(p->total, back);
		p->adopted = less(p->adopted, back);
	}
	p->leaving = 0;
	if (gone)
		log_debug("node %d: %llu pages of %llu KiB given back", p->node, (unsigned long long)gone,
			  (unsigned long long)(p->size >> 10));
	return r < 0 ? r : (int64_t)gone;
}

int64_t hugepool_shrink(const struct hostfs *fs, struct ledger *l)
{
	_cleanup_close_ int lock = -1;
	bool any = false, ours = false;
	int64_t sum = 0;
	int r = hugepool_settle(fs, l);

	for (unsigned int i = 0; i < l->n_pools; i++)
		ours |= l->pools[i].grown || l->pools[i].adopted;
	if (r < 0 || !ours)
		return r < 0 ? r : 0;
	lock = hugepool_open_lock(fs);
	if (lock < 0)
		return lock;
	if (hugepool_lock(lock, HUGEPOOL_LOCK_ALL, 0, hugepool_now() + SHRINK_WAIT_MS) < 0)
		return 0;
	for (unsigned int i = 0; i < l->n_pools; i++)
		any |= plan_shrink(fs, l, &l->pools[i]);
	r = any ? ledger_write(fs, l, NULL) : 0;
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < l->n_pools; i++) {
		int64_t n = l->pools[i].leaving ? shrink_pool(fs, &l->pools[i]) : 0;

		if (n < 0)
			r = (int)n;
		else
			sum += n;
	}
	return r < 0 ? r : sum;
}

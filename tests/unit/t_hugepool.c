/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The huge page broker below a fake root, with the model of a kernel that comes with it, and with unwilling kernels. */
#include <signal.h>
#include <sys/mman.h>

#include "common/hugepool_priv.h"
#include "common/place.h"
#include "root.h"

#define M2 (UINT64_C(2) << 20)
#define G1 (UINT64_C(1) << 30)
#define NODE "sys/devices/system/node/node%d/"
#define POOL NODE "hugepages/hugepages-%llukB/"
#define UUID_A "00000000-0000-4000-8000-00000000000a"
#define UUID_B "00000000-0000-4000-8000-00000000000b"

static struct root r;

static void put_number(const char *name, int node, uint64_t size, uint64_t n)
{
	char path[200], text[32];

	snprintf(path, sizeof(path), POOL "%s", node, (unsigned long long)size >> 10, name);
	snprintf(text, sizeof(text), "%llu\n", (unsigned long long)n);
	root_put(&r, path, text);
}

static uint64_t get_number(const char *name, int node, uint64_t size)
{
	uint64_t n = 0;

	if (hostfs_read_u64(&r.fs, &n, POOL "%s", node, (unsigned long long)size >> 10, name) < 0)
		TAP_FAIL("%s of node %d cannot be read", name, node);
	return n;
}

static void put_pool(int node, uint64_t size, uint64_t nr, uint64_t unused, uint64_t surplus)
{
	put_number("nr_hugepages", node, size, nr);
	put_number("free_hugepages", node, size, unused);
	put_number("surplus_hugepages", node, size, surplus);
}

static void put_memory(int node, unsigned int free_mib)
{
	char path[100], text[200];

	snprintf(path, sizeof(path), NODE "meminfo", node);
	snprintf(text, sizeof(text), "Node %d MemTotal:        4194304 kB\nNode %d MemFree:        %8u kB\n"
		 "Node %d MemUsed:               1 kB\n", node, node, free_mib * 1024, node);
	root_put(&r, path, text);
}

/* Two nodes with 2M and 1G pools, and 1 GiB free on each. */
static void begin(void)
{
	root_init(&r);
	for (int node = 0; node < 2; node++) {
		put_pool(node, M2, 10, 10, 0);
		put_pool(node, G1, 0, 0, 0);
		put_memory(node, 1024);
	}
	if (ledger_make_dirs(&r.fs, NULL) < 0)
		TAP_FAIL("state directories");
}

/* Files of both nodes as one text, to compare. */
static char *all(void)
{
	static const char *const names[] = { "nr_hugepages", "free_hugepages", "surplus_hugepages" };
	static char texts[2][4096];
	static int turn;
	char *text = texts[turn++ & 1];
	size_t len = 0;

	for (int node = 0; node < 2; node++) {
		for (int size = 0; size < 2; size++)
			for (int i = 0; i < 3; i++)
				len += (size_t)snprintf(text + len, sizeof(texts[0]) - len, "%llu ",
							(unsigned long long)get_number(names[i], node, size ? G1 : M2));
		(void)hostfs_read(&r.fs, text + len, sizeof(texts[0]) - len, NODE "meminfo", node);
		len = strlen(text);
	}
	return text;
}

static struct claim *add_claim(struct ledger *l, const char *uuid, int node, uint64_t size, uint64_t count,
			       uint64_t grow)
{
	struct claim *c = ledger_find(l, uuid);

	if (!c)
		c = ledger_add(l, uuid, "guest");
	if (!c || claim_add_pages(c, node, size, count) < 0)
		exit(2);
	c->pages[c->n_pages - 1].grow = grow;
	return c;
}

static struct hugepool_got grow(int node, uint64_t size, uint64_t pages)
{
	struct hugepool_got got;

	hugepool_grow(&r.fs, node, size, pages, hugepool_now() + 60000, false, &got);
	return got;
}

/* All of a start: claim, pages, ledger. */
static struct hugepool_got start(struct ledger *l, const char *uuid, int node, uint64_t size, uint64_t count,
				 uint64_t more)
{
	struct claim *c = add_claim(l, uuid, node, size, count, more);
	struct hugepool_got got;

	IS_INT(hugepool_begin(&r.fs, l, c, NULL), 0);
	got = grow(node, size, more);
	hugepool_end(l, c, node, size, more, &got);
	return got;
}

/* The domain's QEMU takes its pages, or gives them back. */
static void use(int node, uint64_t size, int64_t pages)
{
	put_number("free_hugepages", node, size, get_number("free_hugepages", node, size) - (uint64_t)pages);
}

TEST(there_and_back)
{
	struct ledger l = { 0 };
	struct hugepool_got got;
	char *before;

	begin();
	before = all();
	got = start(&l, UUID_A, 1, M2, 100, 90);
	IS_INT(got.pages, 90);
	IS_INT(got.code, 0);
	IS_INT(get_number("nr_hugepages", 1, M2), 100);
	IS_INT(get_number("nr_hugepages", 0, M2), 10);
	IS_INT(l.pools[0].grown, 90);
	IS_INT(l.pools[0].total, 100);
	IS_INT(l.pools[0].pending, 0);
	IS_INT(l.claims[0].pages[0].grow, 0);
	IS_INT(hugepool_shrink(&r.fs, &l), 0); /* it is claimed */
	IS_INT(get_number("nr_hugepages", 1, M2), 100);
	IS_INT(hugepool_surplus(&l, &l.pools[0]), 0);
	use(1, M2, 100);
	l.claims[0].phase = CLAIM_STARTED;
	IS_INT(hugepool_shrink(&r.fs, &l), 0);
	use(1, M2, -100);
	ledger_remove(&l, UUID_A);
	IS_INT(hugepool_surplus(&l, &l.pools[0]), 90);
	IS_INT(hugepool_shrink(&r.fs, &l), 90);
	IS_INT(hugepool_shrink(&r.fs, &l), 0);
	IS_STR(all(), before);
	IS_INT(l.pools[0].grown + l.pools[0].leaving, 0);
	IS_INT(hugepool_surplus(&l, &l.pools[0]), 0);
	ledger_fini(&l);
	root_fini(&r);
}

TEST(less_than_asked)
{
	struct ledger l = { 0 };
	struct hugepool_got got;
	char *before;

	begin();
	before = all();
	got = start(&l, UUID_A, 0, M2, 1000, 990); /* 512 fit into 1 GiB */
	IS_INT(got.pages, 512);
	IS_INT(got.code, 0);
	ledger_remove(&l, UUID_A);
	IS_INT(hugepool_shrink(&r.fs, &l), 512);
	IS_STR(all(), before);
	got = start(&l, UUID_A, 0, G1, 2, 2);
	IS_INT(got.pages, 1);
	ledger_remove(&l, UUID_A);
	IS_INT(hugepool_shrink(&r.fs, &l), 1);
	IS_STR(all(), before);
	ledger_fini(&l);
	root_fini(&r);
}

/* ---- unwilling kernels; they run in a child of the broker's, so what they count is shared ---- */

static struct unwilling {
	unsigned int sets, compactions, stuck_at;
	int code;
	uint64_t limit, after_compaction; /* pages that it gives in all */
} *k;

static int unwilling_set(const struct hostfs *fs, const struct hugepool_pool *p, uint64_t pages)
{
	uint64_t most = k->compactions ? k->after_compaction : k->limit;

	(void)fs;
	if (++k->sets == k->stuck_at)
		for (;;)
			(void)pause();
	if (k->code)
		return k->code;
	pages = pages < most ? pages : most;
	put_pool(p->node, p->size, pages, pages, 0);
	return 0;
}

static int unwilling_compact(const struct hostfs *fs, int node)
{
	(void)fs;
	IS_INT(node, 0);
	k->compactions++;
	return 0;
}

static void unwilling(void)
{
	begin();
	k = mmap(NULL, sizeof(*k), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (k == MAP_FAILED)
		exit(2);
	hugepool_kernel = (struct hugepool_kernel){ unwilling_set, unwilling_compact };
}

TEST(compacts_once)
{
	struct hugepool_got got;

	unwilling();
	k->limit = 20;
	k->after_compaction = 30;
	got = grow(0, M2, 100);
	IS_INT(got.pages, 20); /* 10 were there */
	IS_INT(got.code, 0);
	IS_INT(k->compactions, 1);
	root_fini(&r);
}

TEST(compaction_helps)
{
	struct hugepool_got got;

	unwilling();
	k->limit = 20;
	k->after_compaction = 1000;
	got = grow(0, M2, 100);
	IS_INT(got.pages, 100);
	IS_INT(k->compactions, 1);
	root_fini(&r);
}

TEST(no_compaction_without_need)
{
	struct hugepool_got got;

	unwilling();
	k->limit = 100000;
	got = grow(0, M2, 20000);
	IS_INT(got.pages, 20000);
	IS_INT(k->compactions, 0);
	OK(k->sets < 64); /* 40 GiB: pieces become larger */
	root_fini(&r);
}

TEST(refused_write)
{
	struct hugepool_got got;

	unwilling();
	k->code = -EINVAL;
	got = grow(0, M2, 100);
	IS_INT(got.pages, 0);
	IS_INT(got.code, EINVAL);
	IS_INT(k->sets, 1);
	got = grow(7, M2, 1);
	IS_INT(got.code, ENOENT);
	got = grow(0, 65536, 1);
	IS_INT(got.code, ENOENT);
	root_fini(&r);
}

TEST(blocked_write_ends)
{
	struct hugepool_got got;

	unwilling();
	k->limit = 100000;
	k->stuck_at = 2;
	hugepool_grow(&r.fs, 0, M2, 1000, hugepool_now() + 100, false, &got);
	IS_INT(got.code, ETIMEDOUT);
	IS_INT(got.pages, 32); /* the first piece */
	OK(!got.stuck);
	hugepool_grow(&r.fs, 0, M2, 1000, hugepool_now(), true, &got);
	IS_INT(got.code, ETIMEDOUT);
	IS_INT(got.pages, 0);
	IS_INT(k->sets, 2); /* after the deadline nothing is tried */
	root_fini(&r);
}

/* ---- others ---- */

TEST(surplus_of_others)
{
	struct ledger l = { 0 };
	struct hugepool_got got;
	char *before;

	begin();
	put_pool(0, M2, 14, 0, 4);
	before = all();
	got = start(&l, UUID_A, 0, M2, 6, 6);
	IS_INT(got.pages, 6);
	IS_INT(got.adopted, 4);
	IS_INT(get_number("nr_hugepages", 0, M2), 20);
	IS_INT(get_number("surplus_hugepages", 0, M2), 0);
	ledger_remove(&l, UUID_A);
	IS_INT(hugepool_shrink(&r.fs, &l), 6);
	IS_STR(all(), before);
	IS_INT(l.pools[0].adopted, 0);

	/* Their owner gives them back meanwhile: as surplus pages they would have gone. */
	(void)start(&l, UUID_A, 0, M2, 6, 6);
	use(0, M2, -4);
	ledger_remove(&l, UUID_A);
	(void)hugepool_shrink(&r.fs, &l);
	IS_INT(get_number("nr_hugepages", 0, M2), 10);
	IS_INT(get_number("free_hugepages", 0, M2), 0);
	IS_INT(get_number("surplus_hugepages", 0, M2), 0);
	ledger_fini(&l);
	root_fini(&r);
}

TEST(changed_by_somebody_else)
{
	static const uint64_t theirs[] = { 64, 12, 5, 0 };

	for (size_t i = 0; i < ARRAY_SIZE(theirs); i++) {
		struct ledger l = { 0 };

		begin();
		(void)start(&l, UUID_A, 0, M2, 40, 30);
		put_pool(0, M2, theirs[i], theirs[i], 0);
		ledger_remove(&l, UUID_A);
		IS_INT(hugepool_shrink(&r.fs, &l), 0);
		IS_INT(get_number("nr_hugepages", 0, M2), theirs[i]);
		IS_INT(l.pools[0].grown, 0);
		/* A later start begins from there, and goes back to there. */
		(void)start(&l, UUID_A, 0, M2, theirs[i] + 8, 8);
		ledger_remove(&l, UUID_A);
		IS_INT(hugepool_shrink(&r.fs, &l), 8);
		IS_INT(get_number("nr_hugepages", 0, M2), theirs[i]);
		ledger_fini(&l);
		root_fini(&r);
	}
}

TEST(used_by_others)
{
	struct ledger l = { 0 };

	begin();
	(void)start(&l, UUID_A, 0, M2, 40, 30);
	ledger_remove(&l, UUID_A);
	use(0, M2, 25); /* 15 of ours are used by a stranger */
	IS_INT(hugepool_shrink(&r.fs, &l), 15);
	IS_INT(get_number("nr_hugepages", 0, M2), 25);
	IS_INT(get_number("surplus_hugepages", 0, M2), 0);
	use(0, M2, -25);
	IS_INT(hugepool_shrink(&r.fs, &l), 15);
	IS_INT(get_number("nr_hugepages", 0, M2), 10);

	/* Promised by a reservation: mmap(2) of a file whose pages were not touched yet. */
	(void)start(&l, UUID_A, 0, M2, 40, 30);
	ledger_remove(&l, UUID_A);
	root_put(&r, "sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "35\n");
	root_put(&r, "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "50\n");
	IS_INT(hugepool_shrink(&r.fs, &l), 15);
	IS_INT(get_number("nr_hugepages", 0, M2), 25);
	ledger_fini(&l);
	root_fini(&r);
}

/* Free pages of the host are as good as ours: what is kept depends on who is there, not on who came first. */
TEST(claims_of_several)
{
	struct ledger l = { 0 };
	char *before;

	begin();
	before = all();
	(void)start(&l, UUID_A, 0, M2, 10, 0);
	(void)start(&l, UUID_B, 0, M2, 30, 30);
	IS_INT(get_number("nr_hugepages", 0, M2), 40);
	ledger_remove(&l, UUID_A);
	IS_INT(hugepool_shrink(&r.fs, &l), 10);
	IS_INT(get_number("nr_hugepages", 0, M2), 30);
	ledger_remove(&l, UUID_B);
	IS_INT(hugepool_shrink(&r.fs, &l), 20);
	IS_STR(all(), before);
	ledger_fini(&l);
	root_fini(&r);
}

TEST(node_that_vanished)
{
	struct ledger l = { 0 };

	begin();
	(void)start(&l, UUID_A, 1, M2, 40, 30);
	(void)start(&l, UUID_A, 0, M2, 40, 30);
	ledger_remove(&l, UUID_A);
	IS_INT(hostfs_unlink(&r.fs, POOL "nr_hugepages", 1, 2048ull), 0);
	IS_INT(hugepool_shrink(&r.fs, &l), 30);
	IS_INT(l.pools[0].grown + l.pools[1].grown, 0);
	ledger_fini(&l);
	root_fini(&r);
}

/* ---- killed ---- */

TEST(killed_grower)
{
	struct ledger l = { 0 };
	struct claim *c;
	char *before;

	begin();
	before = all();
	c = add_claim(&l, UUID_A, 0, M2, 40, 30);
	IS_INT(hugepool_begin(&r.fs, &l, c, NULL), 0);
	(void)grow(0, M2, 20); /* and then nothing more is heard of it */
	IS_INT(hugepool_settle(&r.fs, &l), 0); /* its claim is there: perhaps it lives */
	ledger_remove(&l, UUID_A);
	IS_INT(hugepool_settle(&r.fs, &l), 1);
	IS_INT(l.pools[0].grown, 20);
	IS_INT(l.pools[0].pending, 0);
	IS_INT(hugepool_shrink(&r.fs, &l), 20);
	IS_STR(all(), before);

	/* Its domain runs all the same: what was to be added is no longer claimed. */
	c = add_claim(&l, UUID_A, 0, M2, 40, 30);
	IS_INT(hugepool_begin(&r.fs, &l, c, NULL), 0);
	(void)grow(0, M2, 20);
	c->phase = CLAIM_STARTED;
	IS_INT(hugepool_shrink(&r.fs, &l), 20);
	IS_INT(l.claims[0].pages[0].count, 10);
	IS_INT(l.claims[0].pages[0].grow, 0);
	IS_STR(all(), before);
	ledger_fini(&l);
	root_fini(&r);
}

TEST(living_grower_without_claim)
{
	struct ledger l = { 0 };
	struct hugepool_got got;
	struct claim *c;
	char *before;
	int living;

	begin();
	before = all();
	c = add_claim(&l, UUID_A, 0, M2, 40, 30);
	IS_INT(hugepool_begin(&r.fs, &l, c, NULL), 0);
	ledger_remove(&l, UUID_A); /* somebody has released it */
	living = hugepool_open_lock(&r.fs);
	IS_INT(hugepool_lock(living, HUGEPOOL_LOCK_LIVING, 0, 0), 0);
	IS_INT(hugepool_shrink(&r.fs, &l), 0);
	IS_INT(l.pools[0].pending, 30);
	got = grow(0, M2, 30);
	IS_INT(hugepool_shrink(&r.fs, &l), 0);
	IS_INT(get_number("nr_hugepages", 0, M2), 40);
	close(living);
	hugepool_end(&l, NULL, 0, M2, 30, &got);
	IS_INT(hugepool_shrink(&r.fs, &l), 30);
	IS_STR(all(), before);
	ledger_fini(&l);
	root_fini(&r);
}

TEST(killed_shrinker)
{
	for (uint64_t went = 0; went <= 30; went += 10) {
		struct ledger l = { 0 };
		char *before;

		begin();
		before = all();
		(void)start(&l, UUID_A, 0, M2, 40, 30);
		ledger_remove(&l, UUID_A);
		l.pools[0].leaving = 30;
		put_pool(0, M2, 40 - went, 40 - went, 0);
		put_memory(0, 1024 - 60 + 2 * (unsigned int)went);
		IS_INT(hugepool_shrink(&r.fs, &l), 30 - went);
		IS_STR(all(), before);
		IS_INT(l.pools[0].leaving + l.pools[0].grown, 0);
		ledger_fini(&l);
		root_fini(&r);
	}
}

/* What a shrinker means to do is in the ledger before it does it. */
static int look_first(const struct hostfs *fs, const struct hugepool_pool *p, uint64_t pages)
{
	struct ledger l;

	(void)p;
	(void)pages;
	if (ledger_read(fs, &l, NULL) < 0 || l.n_pools != 1 || l.pools[0].leaving != 30 || l.pools[0].grown != 30 ||
	    l.n_claims != 0)
		TAP_FAIL("the ledger does not say so");
	ledger_fini(&l);
	return -EIO;
}

TEST(shrinks_after_record)
{
	struct ledger l = { 0 };

	begin();
	hostfs_boot_id(&r.fs, l.boot_id);
	(void)start(&l, UUID_A, 0, M2, 40, 30);
	ledger_remove(&l, UUID_A);
	hugepool_kernel.set = look_first;
	IS_INT(hugepool_shrink(&r.fs, &l), -EIO);
	IS_INT(l.pools[0].grown, 30);
	IS_INT(l.pools[0].leaving, 0);
	ledger_fini(&l);
	root_fini(&r);
}

/* ---- two at a time ---- */

/* How many of n growers at once get all they ask for. */
static int race(const uint64_t *pages, int n, bool alone)
{
	int status, well = 0;
	pid_t pids[8];

	for (int i = 0; i < n; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			struct hugepool_got got;

			hugepool_grow(&r.fs, 0, M2, pages[i], hugepool_now() + 60000, alone, &got);
			_exit(got.pages == pages[i] && got.code == 0 && !got.contended ? 0 : 1);
		}
	}
	for (int i = 0; i < n; i++)
		well += waitpid(pids[i], &status, 0) == pids[i] && status == 0;
	return well;
}

TEST(several_growers)
{
	static const uint64_t few[] = { 100, 110, 120 }, many[] = { 400, 400, 400, 400 };

	begin();
	IS_INT(race(few, 3, false), 3);
	IS_INT(get_number("nr_hugepages", 0, M2), 340);
	IS_INT(get_number("free_hugepages", 0, M2), 340);
	root_fini(&r);

	begin();
	IS_INT(race(many, 4, true), 1); /* of 512: not each a part, but one of them all */
	IS_INT(get_number("nr_hugepages", 0, M2), 522);
	root_fini(&r);
}

TEST(contended)
{
	struct hugepool_got got;
	int other;

	begin();
	got = grow(0, M2, 600);
	OK(!got.contended);
	other = hugepool_open_lock(&r.fs);
	IS_INT(hugepool_lock(other, HUGEPOOL_LOCK_LIVING, 0, 0), 0);
	got = grow(0, M2, 600);
	OK(got.contended);
	hugepool_grow(&r.fs, 0, M2, 600, hugepool_now() + 60000, true, &got);
	OK(!got.contended);
	got = grow(0, M2, 0);
	OK(!got.contended);
	close(other);
	root_fini(&r);
}

/* ---- what is left for others ---- */

TEST(pages_left)
{
	static const struct {
		uint64_t nr, unused;             /* of the pool */
		uint64_t total, others, pending; /* of the ledger */
		uint64_t count, grow;            /* of a claim */
		enum claim_phase phase;
		uint64_t left;
	} cases[] = {
		{ 10, 10, 10, 0, 0, 4, 0, CLAIM_PREPARED, 6 },
		{ 10, 6, 10, 0, 0, 4, 0, CLAIM_STARTED, 6 },
		{ 10, 3, 10, 3, 0, 4, 0, CLAIM_STARTED, 3 },
		/* 20 to be added to the 4 it has */
		{ 10, 10, 10, 0, 20, 24, 20, CLAIM_PREPARED, 6 },
		{ 15, 15, 10, 0, 20, 24, 20, CLAIM_PREPARED, 6 },
		{ 30, 30, 10, 0, 20, 24, 20, CLAIM_PREPARED, 6 },
		{ 30, 30, 30, 0, 0, 24, 0, CLAIM_PREPARED, 6 },
		/* somebody else has added 7 beyond those */
		{ 37, 37, 10, 0, 20, 24, 20, CLAIM_PREPARED, 13 },
		/* or has taken some away */
		{ 5, 5, 10, 0, 20, 24, 20, CLAIM_PREPARED, 1 },
		{ 3, 3, 10, 0, 20, 24, 20, CLAIM_PREPARED, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ledger l = { 0 };
		struct ledger_pool *p = place_pool_find(&l, 0, M2);
		struct claim *c = add_claim(&l, UUID_A, 0, M2, cases[i].count, cases[i].grow);

		p->total = cases[i].total;
		p->others = cases[i].others;
		p->pending = cases[i].pending;
		c->phase = cases[i].phase;
		IS_INT(place_pool_left(&l, 0, M2, cases[i].nr, cases[i].unused, ""), cases[i].left);
		ledger_fini(&l);
	}
}

TAP_MAIN

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Moving a guest's memory, in a kernel of the test's own: a page has a node, may be pinned, huge, or not there. And the
 * real system call on a process of the test's, as far as one node lets it show.
 */
#include "tap.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "common/migrate_priv.h"
#include "root_bytes.h"

#define PID   4711
#define BASE  UINT64_C(0x7f0000000000)
#define PAGES 8192
#define PAGE  4096
#define MIB   (UINT64_C(1) << 20)

/* Pages of two mappings of 16 MiB, one behind the other. */
static struct world {
	int node[PAGES]; /* or the errno that the kernel has for it, negative */
	bool pinned[PAGES];
	bool hidden[PAGES];   /* the kernel says -EFAULT until somebody comes for it */
	int touch;            /* what reading a page comes to: 0 or -errno */
	struct root *after;   /* where numa_maps is to say, once pages were read, where they are */
	bool huge;            /* 2 MiB move together */
	bool gone;            /* the process has no memory any more */
	bool full;            /* no memory left where they are to go */
	uint64_t clock, tick; /* ms; of each call that moves */
	unsigned int asked, told, touched, most;
	int alive;        /* so many questions more; negative: for ever */
	unsigned int bad; /* calls that no caller should make */
} world;

static unsigned int page_number(void *page)
{
	uint64_t n = ((uintptr_t)page - BASE) / PAGE;

	world.bad += n >= PAGES;
	return n < PAGES ? (unsigned int)n : 0;
}

static void move_one(unsigned int n, int to)
{
	unsigned int first = world.huge ? n & ~511u : n, count = world.huge ? 512 : 1;

	for (unsigned int i = first; i < first + count; i++)
		if (world.node[i] >= 0)
			world.node[i] = to;
}

static int fake_move(void *state, int pid, unsigned long n, void **pages, const int *nodes, int *status)
{
	bool first_of_huge[PAGES / 512] = {false};
	int left = 0;

	(void)state;
	world.bad += pid != PID || n == 0;
	world.most = n > world.most ? (unsigned int)n : world.most;
	if (nodes)
		world.told++;
	else
		world.asked++;
	world.clock += nodes ? world.tick : 0;
	if (world.gone)
		return -EINVAL;
	for (unsigned long i = 0; i < n; i++) {
		unsigned int at = page_number(pages[i]);

		status[i] = world.hidden[at] ? -EFAULT : world.node[at];
		if (!nodes || status[i] < 0 || status[i] == nodes[i])
			continue;
		/* The others of a huge page that is on its way are busy (mm/migrate.c, add_page_for_migration). */
		if (world.pinned[at] || (world.huge && first_of_huge[at / 512])) {
			status[i] = -EBUSY;
			left++;
			continue;
		}
		if (world.full)
			return -ENOMEM;
		first_of_huge[at / 512] = true;
		move_one(at, nodes[i]);
		status[i] = nodes[i];
	}
	return left;
}

static void put_numa_maps(struct root *t)
{
	unsigned int n[2][2] = {{0}};
	char text[256];

	for (unsigned int i = 0; i < PAGES; i++)
		if (world.node[i] >= 0 && world.node[i] < 2)
			n[i / (PAGES / 2)][world.node[i]]++;
	(void)snprintf(text, sizeof(text), "7f0000000000 default N0=%u N1=%u\n7f0001000000 default N0=%u N1=%u\n",
		       n[0][0], n[0][1], n[1][0], n[1][1]);
	root_put(t, "proc/4711/numa_maps", text);
}

static int fake_touch(void *state, int pid, unsigned long n, void **pages)
{
	(void)state;
	world.bad += pid != PID || n == 0;
	for (unsigned long i = 0; i < n && world.touch == 0; i++) {
		unsigned int at = page_number(pages[i]);

		world.bad += world.node[at] < 0; /* nobody reads what is not there: that would make a page */
		world.hidden[at] = false;
		world.touched++;
	}
	return world.touch;
}

static uint64_t fake_now(void *state)
{
	(void)state;
	return world.clock;
}

static bool fake_alive(void *state)
{
	(void)state;
	if (world.after)
		put_numa_maps(world.after);
	return world.alive < 0 || world.alive-- > 0;
}

static const struct migrate_kernel kernel = {fake_move, fake_touch, fake_now, fake_alive, NULL};

#define MAPS                                                                                                           \
	"7f0000000000-7f0001000000 rw-p 00000000 00:00 0 \n"                                                           \
	"7f0001000000-7f0002000000 rw-p 00000000 00:00 0 [anon]\n"                                                     \
	"7f0003000000-7f0004000000 r-xp 00000000 00:00 0 /usr/lib/x.so\n"
#define CELLS                                                                                                          \
	"qemu\0-machine\0pc\0-object\0memory-backend-ram,id=a,size=16M\0-numa\0node,nodeid=0,memdev=a\0"               \
	"-object\0memory-backend-ram,id=b,size=16M\0-numa\0node,nodeid=1,memdev=b"

static void put_guest(struct root *t, const char *numa_maps)
{
	root_put_bytes(t, "proc/4711/cmdline", CELLS, sizeof(CELLS));
	root_put(t, "proc/4711/maps", MAPS);
	root_put(t, "proc/4711/numa_maps", numa_maps);
}

static void fresh_world(int node)
{
	memset(&world, 0, sizeof(world));
	world.alive = -1;
	for (unsigned int i = 0; i < PAGES; i++)
		world.node[i] = node;
}

#define ALL_ON_0 \
	"7f0000000000 default anon=4096 N0=4096 kernelpagesize_kB=4\n" \
	"7f0001000000 default anon=4096 N0=4096 kernelpagesize_kB=4\n"

struct result_text {
	char s[160];
};

static struct result_text migrate(struct root *t, const char *nodes, unsigned int budget_ms)
{
	struct migrate_result m = {0};
	struct result_text text;
	struct err e = ERR_INIT;
	struct idset to;
	int r;

	IS_INT(idset_parse(nodes, &to), 0);
	r = migrate_with(&t->fs, &kernel, PID, 32 * MIB, &to, budget_ms, &m, &e);
	(void)snprintf(text.s, sizeof(text.s), "%d looked %llu moved %llu refused %llu elsewhere %llu KiB%s", r,
		       (unsigned long long)m.looked_at >> 10, (unsigned long long)m.moved >> 10,
		       (unsigned long long)m.refused >> 10, (unsigned long long)m.elsewhere >> 10,
		       m.out_of_time ? ", late" : m.full ? ", full" : "");
	IS_INT(world.bad, 0);
	OK(r == 0 || e.text[0]);
	return text;
}

TEST(moves)
{
	struct root t;

	root_init(&t);
	put_guest(&t, ALL_ON_0);
	fresh_world(0);
	IS_STR(migrate(&t, "1", 1000).s, "0 looked 32768 moved 32768 refused 0 elsewhere 0 KiB");
	for (unsigned int i = 0; i < PAGES; i++)
		OK(world.node[i] == 1);
	OK(world.most <= 4096 && world.told > 1); /* in pieces */
	/* Again: nothing is to be done, and only asked. */
	world.told = 0;
	put_guest(&t, "7f0000000000 default N1=4096\n7f0001000000 default N1=4096\n");
	IS_STR(migrate(&t, "1", 1000).s, "0 looked 32768 moved 0 refused 0 elsewhere 0 KiB");
	IS_INT(world.told, 0);
	root_fini(&t);
}

TEST(several_nodes)
{
	unsigned int on[4] = {0};
	struct root t;

	root_init(&t);
	put_guest(&t, ALL_ON_0);
	fresh_world(0);
	IS_STR(migrate(&t, "1,3", 1000).s, "0 looked 32768 moved 32768 refused 0 elsewhere 0 KiB");
	for (unsigned int i = 0; i < PAGES; i++) {
		on[world.node[i]]++;
		OK(world.node[i] == world.node[i & ~511u]); /* 2 MiB go to one node */
	}
	IS_INT(on[1], PAGES / 2);
	IS_INT(on[3], PAGES / 2);
	/* What is on one of them stays there. */
	world.told = 0;
	IS_STR(migrate(&t, "1,3", 1000).s,
	       "0 looked 32768 moved 0 refused 0 elsewhere 32768 KiB"); /* an old numa_maps */
	IS_INT(world.told, 0);
	root_fini(&t);
}

/* The kernel calls the rest of a huge page busy, although it goes with the first. */
TEST(transparent_huge_pages)
{
	struct root t;

	root_init(&t);
	put_guest(&t, ALL_ON_0);
	fresh_world(0);
	world.huge = true;
	IS_STR(migrate(&t, "1-2", 1000).s, "0 looked 32768 moved 32768 refused 0 elsewhere 0 KiB");
	root_fini(&t);
}

TEST(pages_that_cannot)
{
	struct root t;

	root_init(&t);
	put_guest(&t, "7f0000000000 default N0=4086\n7f0001000000 default N0=4096\n");
	fresh_world(0);
	for (unsigned int i = 0; i < 100; i++)
		world.pinned[i * 7] = true;
	for (unsigned int i = 0; i < 10; i++)
		world.node[3000 + i] = i % 2 ? -ENOENT : -EFAULT; /* never touched, or the page of zeros */
	IS_STR(migrate(&t, "1", 1000).s, "0 looked 32768 moved 32328 refused 400 elsewhere 400 KiB");
	fresh_world(0);
	put_guest(&t, ALL_ON_0);
	world.full = true;
	IS_STR(migrate(&t, "1", 1000).s, "0 looked 32768 moved 0 refused 32768 elsewhere 32768 KiB");
	root_fini(&t);
}

TEST(within_a_budget)
{
	struct root t;

	root_init(&t);
	put_guest(&t, ALL_ON_0);
	fresh_world(0);
	world.tick = 10;
	IS_STR(migrate(&t, "1", 0).s, "0 looked 0 moved 0 refused 0 elsewhere 32768 KiB, late");
	IS_STR(migrate(&t, "1", 80).s, "0 looked 16384 moved 16384 refused 0 elsewhere 16384 KiB, late");
	/* The next call goes on: what is there costs only the question. */
	put_guest(&t, "7f0000000000 default N1=4096\n7f0001000000 default N0=4096\n");
	IS_STR(migrate(&t, "1", 100).s, "0 looked 32768 moved 16384 refused 0 elsewhere 0 KiB");
	root_fini(&t);
}

TEST(process_that_goes)
{
	struct root t;

	root_init(&t);
	put_guest(&t, ALL_ON_0);
	fresh_world(0);
	world.alive = 2;
	IS_STR(migrate(&t, "1", 1000).s, "-3 looked 16384 moved 16384 refused 0 elsewhere 16384 KiB");
	/* Between two looks: the kernel's word is another then. */
	fresh_world(0);
	world.alive = 1;
	world.gone = true;
	IS_STR(migrate(&t, "1", 1000).s, "-3 looked 0 moved 0 refused 0 elsewhere 32768 KiB");
	world.gone = false;
	world.alive = 0;
	root_remove(&t, "proc/4711/numa_maps");
	IS_STR(migrate(&t, "1", 1000).s, "-3 looked 0 moved 0 refused 0 elsewhere 0 KiB");
	world.alive = -1;
	IS_STR(migrate(&t, "1", 1000).s, "-95 looked 0 moved 0 refused 0 elsewhere 0 KiB"); /* a kernel without NUMA */
	root_remove(&t, "proc/4711/cmdline");
	IS_STR(migrate(&t, "1", 1000).s, "-3 looked 0 moved 0 refused 0 elsewhere 0 KiB");
	root_fini(&t);
}

/* Pages of a pool are left where they are. */
TEST(hugetlb)
{
	struct root t;

	root_init(&t);
	put_guest(
		&t,
		"7f0000000000 bind:0 file=/memfd:x\\040(deleted) huge anon=8 dirty=8 N0=6 N1=2 kernelpagesize_kB=2048\n"
		"7f0001000000 default N0=4096 kernelpagesize_kB=4\n");
	fresh_world(0);
	IS_STR(migrate(&t, "1", 1000).s, "0 looked 32768 moved 16384 refused 12288 elsewhere 12288 KiB");
	IS_INT(world.node[0], 0);
	IS_INT(world.node[4096], 1);
	/* None there yet, and the guest touches them meanwhile. */
	put_guest(&t, "7f0000000000 bind:0 file=/memfd:x\\040(deleted) huge\n7f0001000000 default N0=4096\n");
	fresh_world(0);
	IS_STR(migrate(&t, "1", 1000).s, "0 looked 16384 moved 16384 refused 0 elsewhere 0 KiB");
	IS_INT(world.node[0], 0);
	root_fini(&t);
}

/* Where free memory is short nothing is moved: the kernel would swap others out for it. */
TEST(node_without_room)
{
	static const struct {
		const char *meminfo, *want;
	} cases[] = {
		{"Node 1 MemTotal:  1048576 kB\nNode 1 MemFree:     16383 kB\n",
		 "0 looked 8192 moved 0 refused 8192 elsewhere 32768 KiB, full"},
		{"Node 1 MemTotal:  1048576 kB\nNode 1 MemFree:     16384 kB\n",
		 "0 looked 32768 moved 32768 refused 0 elsewhere 0 KiB"},
		{"Node 1 MemFree:  0 kB\n", "0 looked 32768 moved 32768 refused 0 elsewhere 0 KiB"},
		{"Node 1 MemTotal: kB\nNode 1 MemFree: x\n", "0 looked 32768 moved 32768 refused 0 elsewhere 0 KiB"},
	};
	struct root t;

	root_init(&t);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put_guest(&t, ALL_ON_0);
		root_put(&t, "sys/devices/system/node/node1/meminfo", cases[i].meminfo);
		fresh_world(0);
		IS_STR(migrate(&t, "1", 1000).s, cases[i].want);
	}
	root_fini(&t);
}

/* What the lines of numa_maps come to, in words of bytes elsewhere; no time to move any. */
TEST(numa_maps)
{
	static const struct {
		const char *numa_maps, *want;
	} cases[] = {
		{ALL_ON_0, "0 looked 0 moved 0 refused 0 elsewhere 32768 KiB, late"},
		{"7f0000000000 default N0=2 N2=3 kernelpagesize_kB=4\n7f0003000000 default N1=99\n",
		 "0 looked 0 moved 0 refused 0 elsewhere 20 KiB, late"},
		{"7f0000000000 prefer:1 huge N2=1 kernelpagesize_kB=2048\n",
		 "0 looked 2048 moved 0 refused 2048 elsewhere 2048 KiB, late"},
		{"7f0000000000 default N9999=1 N=2 Nx=1 N0=x N0= N1=18446744073709551615 N2=1\n",
		 "0 looked 0 moved 0 refused 0 elsewhere 4 KiB, late"},
		{"7f0000000000 default N5=1 N9=7\n", "0 looked 0 moved 0 refused 0 elsewhere 4 KiB, late"},
		{"", "0 looked 0 moved 0 refused 0 elsewhere 0 KiB, late"},
		{"7f0000000000", "0 looked 0 moved 0 refused 0 elsewhere 0 KiB, late"},
		{"7f0000000000000000 default N0=1\nx N0=1\n", "0 looked 0 moved 0 refused 0 elsewhere 0 KiB, late"},
	};
	struct root t;

	root_init(&t);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put_guest(&t, cases[i].numa_maps);
		fresh_world(0);
		IS_STR(migrate(&t, "9", 0).s, cases[i].want);
	}
	root_fini(&t);
}

/* proc/PID/pagemap, as far as the two mappings: present where the world has a page. */
static void put_pagemap(struct root *t, unsigned int n)
{
	uint64_t *map = calloc(n, sizeof(*map));
	char path[PATH_MAX];
	int fd;

	for (unsigned int i = 0; i < n; i++)
		map[i] = world.node[i] >= 0 ? UINT64_C(1) << 63 | i : 0;
	root_put(t, "proc/4711/pagemap", "");
	(void)snprintf(path, sizeof(path), "%s/proc/4711/pagemap", t->dir);
	fd = open(path, O_WRONLY);
	OK(pwrite(fd, map, n * sizeof(*map), (off_t)(BASE / PAGE * sizeof(*map))) == (ssize_t)(n * sizeof(*map)));
	(void)close(fd);
	free(map);
}

/* Pages that NUMA balancing has hidden: seen with Linux 6.1, where an idle guest's are all so. */
TEST(hidden_pages)
{
	struct root t;

	root_init(&t);
	put_guest(&t, ALL_ON_0);
	fresh_world(0);
	for (unsigned int i = 0; i < PAGES; i++) {
		world.hidden[i] = i % 3 != 0;
		if (i % 64 == 1)
			world.node[i] = -EFAULT; /* not there at all */
	}
	put_pagemap(&t, PAGES);
	world.after = &t;
	put_numa_maps(&t);
	IS_STR(migrate(&t, "1", 1000).s, "0 looked 32768 moved 24192 refused 0 elsewhere 8064 KiB");
	OK(world.touched > PAGES / 2);
	put_numa_maps(&t); /* the last piece was not told of above */
	IS_STR(migrate(&t, "1", 1000).s, "0 looked 32768 moved 0 refused 0 elsewhere 0 KiB");

	/* It may not be read (ptrace is forbidden): they stay, and count. */
	fresh_world(0);
	put_guest(&t, ALL_ON_0);
	for (unsigned int i = 0; i < PAGES; i++)
		world.hidden[i] = i >= 1024;
	world.touch = -EPERM;
	IS_STR(migrate(&t, "1", 1000).s, "0 looked 32768 moved 4096 refused 0 elsewhere 28672 KiB");

	/* A pagemap that is cut off, or not there: nothing is read blindly. */
	for (int i = 0; i < 2; i++) {
		fresh_world(0);
		for (unsigned int k = 0; k < PAGES; k++)
			world.hidden[k] = k >= 1024;
		if (i == 0)
			put_pagemap(&t, 100);
		else
			root_remove(&t, "proc/4711/pagemap");
		IS_STR(migrate(&t, "1", 1000).s, "0 looked 32768 moved 4096 refused 0 elsewhere 28672 KiB");
		IS_INT(world.touched, 0);
	}
	root_fini(&t);
}

/* A child with 8 MiB of its own, told by their size. Where the machine has one node there is nowhere else to go. */
TEST(real_process)
{
	const size_t size = 8 * MIB;
	struct migrate_result m = {0};
	struct err e = ERR_INIT;
	struct hostfs fs = HOSTFS_INIT;
	struct idset nodes = IDSET_EMPTY, none = IDSET_EMPTY;
	uint64_t start;
	int ready[2], r;
	char byte;
	pid_t pid;

	OK(pipe(ready) == 0);
	pid = fork();
	if (pid == 0) {
		char *at = mmap(NULL, size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (at == MAP_FAILED || mprotect(at + PAGE, size, PROT_READ | PROT_WRITE) < 0)
			_exit(1);
		for (size_t i = 0; i < size / 2; i += PAGE) /* half of it is never touched */
			at[PAGE + i] = 1;
		(void)!write(ready[1], "r", 1);
		for (;;)
			pause();
	}
	OK(pid > 0 && read(ready[0], &byte, 1) == 1);
	IS_INT(hostfs_init(&fs, NULL, &e), 0);
	start = hostfs_proc_start(&fs, pid);
	r = hostfs_read_idset(&fs, &nodes, "sys/devices/system/node/online");
	if (r >= 0) {
		r = migrate_pages_of(&fs, pid, start, size, &nodes, 10000, &m, &e);
		if (r == -EPERM || r == -EOPNOTSUPP) {
			printf("# %s\n", e.text);
		} else {
			IS_INT(r, 0);
			OK(m.looked_at >= size && m.moved == 0 && m.refused == 0 && m.elsewhere == 0 && !m.out_of_time);
		}
		IS_INT(migrate_pages_of(&fs, pid, start + 1, size, &nodes, 1000, &m, &e), -ESRCH);
		IS_INT(migrate_pages_of(&fs, pid, start, size, &none, 1000, &m, &e), -EINVAL);
	} else {
		printf("# no nodes here: %d\n", r);
	}
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	IS_INT(migrate_pages_of(&fs, pid, start, size, &nodes, 1000, &m, &e), -ESRCH);
	hostfs_fini(&fs);
	(void)close(ready[0]);
	(void)close(ready[1]);
}

TEST(another_root)
{
	struct migrate_result m;
	struct err e = ERR_INIT;
	struct idset to = IDSET_EMPTY;
	struct root t;

	root_init(&t);
	idset_add(&to, 0);
	IS_INT(migrate_pages_of(&t.fs, PID, 1, MIB, &to, 1000, &m, &e), -EOPNOTSUPP);
	root_fini(&t);
}

TAP_MAIN

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files of a pool, who may change them now, and how they are changed: by the kernel, or, below another root than
 * "/", by a model of it. There a write to nr_hugepages would say pages that free_hugepages does not know of, and a
 * captured host has only the memory it has; so the model keeps nr_hugepages, free_hugepages, surplus_hugepages and
 * MemFree of the node in step as set_max_huge_pages() does (mm/hugetlb.c), and gives no more than MemFree.
 */
#include <fcntl.h>
#include <time.h>

#include "hugepool_priv.h"
#include "log.h"
#include "num.h"
#include "paths.h"

#define NODES_DIR "sys/devices/system/node"
#define LIVING 64 /* bytes 0 to 63 are page sizes, by their power of two */

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- files ---- */

int hugepool_find(const struct hostfs *fs, int node, uint64_t size, struct hugepool_pool *ret)
{
	unsigned long long kib = size >> 10;

	*ret = (struct hugepool_pool){ .node = node, .size = size };
	(void)snprintf(ret->dir, sizeof(ret->dir), NODES_DIR "/node%d/hugepages/hugepages-%llukB", node, kib);
	/* Without CONFIG_NUMA the host is one node (host_node.c) and the global pool is its. */
	if (node == 0 && !hostfs_exists(fs, NODES_DIR "/node0"))
		(void)snprintf(ret->dir, sizeof(ret->dir), "sys/kernel/mm/hugepages/hugepages-%llukB", kib);
	return hostfs_exists(fs, "%s/nr_hugepages", ret->dir) ? 0 : -ENOENT;
}

/* A plain file below another root is empty for a moment while the model writes it; sysfs never is. */
static int read_number(const struct hostfs *fs, const struct hugepool_pool *p, const char *name, uint64_t *ret)
{
	struct timespec pause = { .tv_nsec = 500000 };
	int r = hostfs_read_u64(fs, ret, "%s/%s", p->dir, name);

	for (int i = 0; i < 100 && r == -EINVAL && !fs->real; i++) {
		(void)nanosleep(&pause, NULL);
		r = hostfs_read_u64(fs, ret, "%s/%s", p->dir, name);
	}
	return r;
}

int hugepool_read(const struct hostfs *fs, const struct hugepool_pool *p, struct hugepool_state *ret)
{
	struct hugepool_state s;
	int r = read_number(fs, p, "nr_hugepages", &s.nr);

	if (r == 0)
		r = read_number(fs, p, "free_hugepages", &s.free);
	if (r == 0 && read_number(fs, p, "surplus_hugepages", &s.surplus) < 0)
		s.surplus = 0; /* not every capture has it */
	if (r < 0)
		return r;
	s.persistent = less(s.nr, s.surplus);
	*ret = s;
	return 0;
}

/* ---- locks ---- */

int hugepool_open_lock(const struct hostfs *fs)
{
	return hostfs_open(fs, O_RDWR | O_CREAT, PATH_LOCK);
}

static struct flock lock_range(enum hugepool_lock which, uint64_t size)
{
	struct flock k = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LIVING, .l_len = 1 };

	if (which == HUGEPOOL_LOCK_LIVING)
		k.l_type = F_RDLCK;
	if (which == HUGEPOOL_LOCK_PIECE)
		k.l_start = size ? __builtin_ctzll(size) : 0;
	if (which == HUGEPOOL_LOCK_ALL) {
		k.l_start = 0;
		k.l_len = LIVING;
	}
	return k;
}

int hugepool_lock(int fd, enum hugepool_lock which, uint64_t size, uint64_t until)
{
	struct timespec pause = { .tv_nsec = 1000000 };
	struct flock k = lock_range(which, size);

	while (fcntl(fd, F_OFD_SETLK, &k) < 0) {
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return -errno;
		if (hugepool_now() >= until)
			return -EAGAIN;
		(void)nanosleep(&pause, NULL); /* a shorter pause only asks again sooner */
	}
	return 0;
}

void hugepool_unlock(int fd, enum hugepool_lock which, uint64_t size)
{
	struct flock k = lock_range(which, size);

	k.l_type = F_UNLCK;
	(void)fcntl(fd, F_OFD_SETLK, &k); /* closing does it too */
}

/* ---- the model ---- */

/* meminfo of a node, and where in it the number of MemFree is. */
struct meminfo {
	char dir[64], text[16384];
	size_t len, at, width; /* width 0: not known */
	uint64_t free_kib;
};

static void read_meminfo(const struct hostfs *fs, int node, struct meminfo *m)
{
	const char *key, *digits;
	char number[24];
	size_t n;
	int len;

	(void)snprintf(m->dir, sizeof(m->dir), NODES_DIR "/node%d", node);
	m->width = 0;
	len = hostfs_read(fs, m->text, sizeof(m->text) - 1, "%s/meminfo", m->dir);
	key = len > 0 ? strstr(m->text, "MemFree:") : NULL;
	if (!key)
		return;
	m->len = (size_t)len;
	key += strlen("MemFree:");
	digits = key + strspn(key, " \t");
	n = strspn(digits, "0123456789");
	if (n == 0 || n >= sizeof(number))
		return;
	memcpy(number, digits, n);
	number[n] = '\0';
	if (num_parse_u64(number, &m->free_kib) < 0)
		return;
	m->at = (size_t)(key - m->text);
	m->width = (size_t)(digits - key) + n;
}

/* Not hostfs_write(): a kernel does all of it or nothing, and so is it for a test that kills us between two writes. */
static void put(const struct hostfs *fs, const char *dir, const char *name, const char *text, size_t len)
{
	_cleanup_close_ int fd = hostfs_open(fs, O_WRONLY | O_TRUNC, "%s/%s", dir, name);

	if (fd >= 0 && write(fd, text, len) != (ssize_t)len)
		log_debug("%s/%s: %s", dir, name, err_name(errno)); /* a full disk below a fake root */
}

static void put_number(const struct hostfs *fs, const char *dir, const char *name, uint64_t n)
{
	char text[24];
	int len = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)n);

	put(fs, dir, name, text, (size_t)len);
}

static void put_meminfo(const struct hostfs *fs, struct meminfo *m)
{
	char number[64];
	int n = snprintf(number, sizeof(number), "%*llu", (int)m->width, (unsigned long long)m->free_kib);

	if (m->width == 0 || (size_t)n != m->width)
		return;
	memcpy(m->text + m->at, number, m->width);
	m->text[m->len] = '\n';
	put(fs, m->dir, "meminfo", m->text, m->len + 1);
}

static int model_set(const struct hostfs *fs, const struct hugepool_pool *p, uint64_t pages)
{
	uint64_t adopt = 0, add = 0, drop = 0, freed = 0, kib = p->size >> 10;
	struct hugepool_state s;
	struct meminfo m;
	char number[24];
	int r = hugepool_read(fs, p, &s);

	if (r < 0)
		return r;
	read_meminfo(fs, p->node, &m);
	if (pages > s.persistent) {
		adopt = min_u64(s.surplus, pages - s.persistent);
		add = pages - s.persistent - adopt;
		if (m.width)
			add = min_u64(add, m.free_kib / kib);
	} else {
		drop = s.persistent - pages;
		freed = min_u64(drop, s.free);
	}
	(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)(s.nr + add - freed));
	r = hostfs_write(fs, number, "%s/nr_hugepages", p->dir);
	if (r < 0)
		return r;
	put_number(fs, p->dir, "free_hugepages", s.free + add - freed);
	put_number(fs, p->dir, "surplus_hugepages", s.surplus - adopt + (drop - freed));
	m.free_kib += (freed - add) * kib; /* unsigned: one of them is 0 */
	put_meminfo(fs, &m);
	return 0;
}

/* ---- the kernel ---- */

static int kernel_set(const struct hostfs *fs, const struct hugepool_pool *p, uint64_t pages)
{
	char number[24];

	if (!fs->real)
		return model_set(fs, p, pages);
	(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)pages);
	return hostfs_write(fs, number, "%s/nr_hugepages", p->dir);
}

static int kernel_compact(const struct hostfs *fs, int node)
{
	return fs->real ? hostfs_write(fs, "1", NODES_DIR "/node%d/compact", node) : -EOPNOTSUPP;
}

struct hugepool_kernel hugepool_kernel = { .set = kernel_set, .compact = kernel_compact };

int hugepool_set(const struct hostfs *fs, const struct hugepool_pool *p, uint64_t pages)
{
	return hugepool_kernel.set(fs, p, pages);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between hugepool.c (what the pools should have) and hugepool_set.c (making it so); and for tests. */
#pragma once

#include "hugepool.h"

/* One pool's files. */
struct hugepool_pool {
	int node;
	uint64_t size;
	char dir[128];
};

struct hugepool_state {
	uint64_t nr;         /* all pages, surplus ones included */
	uint64_t surplus, free;
	uint64_t persistent; /* nr - surplus: what writing nr_hugepages sets */
};

/* -ENOENT: no such node, or no pool of that size. */
int hugepool_find(const struct hostfs *fs, int node, uint64_t size, struct hugepool_pool *ret);
int hugepool_read(const struct hostfs *fs, const struct hugepool_pool *p, struct hugepool_state *ret);

/* Set the number of persistent pages; what came of it is read by the caller. May take long when that adds pages. */
int hugepool_set(const struct hostfs *fs, const struct hugepool_pool *p, uint64_t pages);

/* What does it: the kernel, or for roots other than "/" a model of it. Tests put a kernel of their own here. */
struct hugepool_kernel {
	int (*set)(const struct hostfs *fs, const struct hugepool_pool *p, uint64_t pages);
	int (*compact)(const struct hostfs *fs, int node);
};
extern struct hugepool_kernel hugepool_kernel;

/* Byte ranges of run/domtune/lock, see hugepool.h. */
enum hugepool_lock {
	HUGEPOOL_LOCK_ALL,     /* all page sizes, for writing */
	HUGEPOOL_LOCK_PIECE,   /* that of `size`, for writing */
	HUGEPOOL_LOCK_LIVING,  /* for reading: a grower lives */
	HUGEPOOL_LOCK_NOBODY,  /* the same for writing: none does */
};
int hugepool_open_lock(const struct hostfs *fs); /* a descriptor, which holds its locks until it is closed */
int hugepool_lock(int fd, enum hugepool_lock which, uint64_t size, uint64_t until); /* 0, -EAGAIN, -errno */
void hugepool_unlock(int fd, enum hugepool_lock which, uint64_t size);

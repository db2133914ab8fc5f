/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tries: does the kernel let this process, with QEMU's uid, label, cgroups and nodes, do what a rewritten
 * argument will make QEMU do? Each leaves the process as it was. Return 0, or a negative errno with the
 * reason in e. A table, so that the rewriting can be tested on command lines of other machines.
 */
#pragma once

#include "common/hostfs.h"

/* One back end of guest RAM: what QEMU will ask for it. */
struct tryout_part {
	uint64_t page;       /* bytes per huge page; 0: ordinary ones */
	uint64_t bytes;
	char policy[16];     /* "bind", "preferred", "interleave", or "" with nodes empty */
	struct idset nodes;
};

struct tryout {
	/* Huge pages for all these parts at once: two cells may want the same node's. */
	int (*pages)(const struct hostfs *fs, const struct tryout_part *parts, unsigned int n, struct err *e);
	/* Ordinary memory under a policy. */
	int (*placement)(const char *policy, const struct idset *nodes, struct err *e);
	/* Ordinary memory for all these parts at once, when it is populated at start. */
	int (*memory)(const struct hostfs *fs, const struct tryout_part *parts, unsigned int n, struct err *e);
	/* A thread that runs on these CPUs. */
	int (*cpus)(const struct idset *cpus, struct err *e);
	/* Locking `bytes` of address space; UINT64_MAX: without any limit. */
	int (*lock)(uint64_t bytes, struct err *e);
	/* Memory that may be merged with equal pages. */
	int (*merge)(struct err *e);
	/* A ring for as many requests as QEMU's. own_workers: the kernel's helpers are threads of the process. */
	int (*io_uring)(bool own_workers, struct err *e);
	/* A context for as many events as QEMU's, with aio=native. */
	int (*native)(const struct hostfs *fs, struct err *e);
	/*
	 * The image, open for reading with O_DIRECT, read at an alignment that QEMU finds, and closed again. fixed: it is
	 * written to and cannot grow (a raw one), so its size must be a multiple of that.
	 */
	int (*direct)(const struct hostfs *fs, const char *path, bool fixed, struct err *e);
	/* A program (absolute path) linked with this library ("liburing.so"). */
	int (*linked)(const struct hostfs *fs, const char *program, const char *library, struct err *e);
	/* Whether a file there would be on huge pages. */
	bool (*is_hugetlbfs)(const char *path);
};

extern const struct tryout tryout_kernel;

/* "2M", "1G", "64K": a page size as people say it. */
const char *tryout_page_text(uint64_t page, char buf[24]);

/* set_mempolicy(2)'s and mbind(2)'s mode and mask. tryout_mode: -EINVAL if it is no policy's name. */
int tryout_mode(const char *policy);
#define TRYOUT_NODES_MAX 1024 /* MAX_NUMNODES of any distribution's kernel */
struct tryout_mask {
	unsigned long w[TRYOUT_NODES_MAX / (8 * sizeof(unsigned long))];
};
int tryout_mask(const struct idset *nodes, struct tryout_mask *ret); /* -ERANGE */

/* sched_setaffinity(2) of the calling thread with a set of any size. 0 or -errno. */
int tryout_set_affinity(const struct idset *cpus);

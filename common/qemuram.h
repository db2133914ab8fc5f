/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest RAM of a running QEMU: the back ends on its command line, and the mappings that are theirs. The command line is
 * scanned, not parsed: the objects in question are written by libvirt or by our wrapper, as JSON or as key=value.
 *
 * Nothing in /proc says which mapping is guest RAM. Its size does: QEMU maps a back end whole, with a page that cannot
 * be accessed behind it (util/mmap-alloc.c, qemu_ram_mmap), so that it never melts with a neighbour, and nothing in it
 * is executable. Where no back end is named (-m alone), it is whatever is as large as the guest's memory, or up to
 * twice that.
 */
#pragma once

#include "hostfs.h"

#define QEMURAM_VALUE 1024

/* NUL-separated strings, as in /proc/PID/cmdline and environ; a NUL is behind the last one too. */
struct strings {
	char *text;
	size_t len;
};

/* 0, or hostfs_read_all()'s error. *ret is zeroed on failure. */
int strings_read(const struct hostfs *fs, int pid, const char *file, struct strings *ret);
/* The one after p, the first one after NULL; NULL at the end. */
const char *strings_next(const struct strings *s, const char *p);
/* The argument of the last `option`; NULL: it is not there. */
const char *strings_option(const struct strings *argv, const char *option);

/* A property of an -object's or -machine's argument (NULL: none): its text, a list as "0,1". "" if it is not there. */
bool qemu_value(const char *arg, const char *key, char buf[QEMURAM_VALUE]);
bool qemu_says_yes(const char *arg, const char *key);
/* QEMU's sizes: bytes, or with a suffix (util/cutils.c, qemu_strtosz). 0: not understood. */
uint64_t qemu_size(const char *text);

struct qemuram_backend {
	int cell;        /* the guest's number for it; -1: the whole guest */
	const char *arg; /* of -object, within the command line */
	uint64_t size;
};

struct qemuram {
	struct strings argv;
	struct qemuram_backend *backends; unsigned int n_backends;
};

/* -ESRCH: gone; -ENOMEM; else as reading. */
int qemuram_read(const struct hostfs *fs, int pid, struct qemuram *ret);
void qemuram_fini(struct qemuram *r);

/* One of guest RAM's mappings, from smaps (proc(5)) or, without `pages`, from maps. */
struct qemuram_map {
	uint64_t start, size;
	bool hugetlb;           /* not known without `pages` */
	bool mergeable;         /* VmFlags has mg; only with `pages` */
	uint64_t huge;          /* bytes of transparent huge pages; only with `pages` */
	uint64_t resident;      /* bytes present, only with `pages` */
};

/*
 * memory: bytes of the whole guest, for the case without back ends. pages: walks the page tables, seconds per TiB.
 * Returns how many (*ret is malloc'ed), or as above.
 */
int qemuram_maps(const struct hostfs *fs, int pid, const struct qemuram *r, uint64_t memory, bool pages,
		 struct qemuram_map **ret);

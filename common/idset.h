/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sets of CPU and node numbers. A value type: no allocation, copied by assignment. */
#pragma once

#include "util.h"

/* Linux for x86-64 distributions is built with NR_CPUS=8192 (include/linux/cpumask.h, CONFIG_MAXSMP). */
#define IDSET_MAX 8192

struct idset {
	uint64_t w[IDSET_MAX / 64];
};

#define IDSET_EMPTY ((struct idset){ { 0 } })

void idset_add(struct idset *s, unsigned int id); /* id < IDSET_MAX, else ignored */
void idset_del(struct idset *s, unsigned int id);
bool idset_has(const struct idset *s, unsigned int id);
unsigned int idset_count(const struct idset *s);
bool idset_is_empty(const struct idset *s);
bool idset_is_subset(const struct idset *s, const struct idset *of);
bool idset_intersects(const struct idset *a, const struct idset *b);
bool idset_equal(const struct idset *a, const struct idset *b);
void idset_or(struct idset *to, const struct idset *s);
void idset_and(struct idset *to, const struct idset *s);
void idset_andnot(struct idset *to, const struct idset *s);

/* Smallest member, and smallest member above `after`; -1 if none. */
int idset_first(const struct idset *s);
int idset_next(const struct idset *s, int after);
#define IDSET_FOREACH(id, set) for (int id = idset_first(set); id >= 0; id = idset_next(set, id))

/*
 * libvirt's cpuset spelling: "0-3,^2,8" (virBitmapParse); also what the kernel prints ("0-3,8", and the
 * "0-31:1/2" step form of its bitmap-list). Blanks around commas are allowed, a trailing newline too.
 * -EINVAL: not a list; -ERANGE: a number of IDSET_MAX or more; -ENODATA: the list names nothing.
 */
int idset_parse(const char *text, struct idset *ret);

/* The kernel's mask spelling: "ff,00000003" (32-bit words, most significant first). Errors as above. */
int idset_parse_mask(const char *text, struct idset *ret);

/* Canonical list "0-3,8", "" for the empty set. Returns malloc'ed text, NULL only without memory. */
char *idset_text(const struct idset *s);

/* Into a caller's buffer. Returns the length, or -E2BIG (buf then holds ""). */
int idset_format(const struct idset *s, char *buf, size_t size);

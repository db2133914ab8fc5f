/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where in an array the entries of a name are: for lists that a thousand others are looked up in. The array stays the
 * caller's, who compares; here are only hashes and numbers. All zero is an empty index.
 */
#pragma once

#include "util.h"

struct strindex {
	struct strindex_slot {
		uint32_t hash, number; /* number + 1; 0: free */
	} *slots;
	unsigned int room, n; /* room: a power of two, or 0 */
};

uint32_t strindex_hash(const char *a, const char *b);
/* 0 or -ENOMEM: then the index is as it was. */
int strindex_add(struct strindex *x, uint32_t hash, unsigned int number);
/*
 * Numbers that were added with this hash, one a call, in no certain order: *at begins with 0. The caller looks whether
 * the entry has the name.
 */
bool strindex_next(const struct strindex *x, uint32_t hash, unsigned int *at, unsigned int *ret);
void strindex_fini(struct strindex *x);

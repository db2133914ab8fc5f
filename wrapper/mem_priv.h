/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of mem.c share: guest RAM as the command line has it, and the work on it. */
#pragma once

#include "wrapper/mem.h"

#define NOT_IMPLIED "" /* obj_parse(): no member has this name, so every one is written with its own */

/* One back end. */
struct ram {
	int cell;           /* the guest's number for it, or WPLAN_WHOLE */
	char *id;
	int at;             /* index of the -object's value */
	struct obj o;
	uint64_t size;      /* 0: not understood */
	const struct wplan_memory *want; /* NULL: the plan wants nothing of it */
	char policy[16];    /* that it will have: the owner's or ours */
	struct idset nodes;
	const char *fixed;  /* why it may be given nodes and a policy, but nothing else; NULL: anything */
	bool placed;        /* nodes and policy are to be set */
	bool changed;
};

struct found {
	struct ram *ram; unsigned int n;
	struct obj machine; int machine_at;
	struct obj overcommit; int overcommit_at;
	unsigned int n_overcommit;
	bool hot_plug;      /* -m has maxmem= */
	char why[160];      /* why nothing of all this is to be touched; "": it may be */
	char why_ram[160];  /* why the back ends are not */
};

struct job {
	const struct hostfs *fs;
	const struct wplan *w;
	unsigned int qemu;
	const struct tryout *t;
	struct kept *kept;
	struct found f;
};

/* mem_find.c: fill j->f. Returns 0 or -ENOMEM. */
int mem_find(const struct argv_edit *e, struct job *j);
void mem_found_fini(struct found *f);

/* mem_process.c: -overcommit mem-lock= and -machine mem-merge=, once the back ends are what they will be. */
int mem_lock(struct job *j, struct argv_edit *e);
int mem_merge(struct job *j, struct argv_edit *e);

/* Whether a back end is, or all of guest RAM is, on huge pages of a pool. */
bool mem_is_huge(const struct job *j, const struct ram *r);
bool mem_all_huge(const struct job *j);

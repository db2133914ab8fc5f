/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the host can share out of its L3 caches and its memory bandwidth (Linux: Documentation/arch/x86/resctrl.rst):
 * the resctrl file system, if somebody has mounted it. A class of service is a directory there; it has a mask of ways for
 * each L3 cache, a limit of bandwidth for each, and threads. The default group is the root: whatever is in no other.
 *
 * Numbers: a cache has the id that the kernel gives it; ways are the bits of its mask. In plan, records and reasons
 * they are lists ("4-7"); hexadecimal is the kernel's.
 */
#pragma once

#include "host.h"

#define RESCTRL_DIR    "sys/fs/resctrl"
#define RESCTRL_PREFIX "domtune-" /* of our groups; the domain's UUID follows */
#define RESCTRL_NAME   256
#define RESCTRL_MAX    256        /* caches, and groups: today's hardware has 32 and 16 */

enum resctrl_state {
	RESCTRL_ABSENT,    /* neither CPU nor kernel, or not both */
	RESCTRL_UNMOUNTED,
	RESCTRL_MOUNTED,
};

struct resctrl_cache {
	unsigned int id;
	struct idset cpus; /* online ones that it serves; empty: not known */
};

struct resctrl_group {
	char name[RESCTRL_NAME]; /* "" the default group */
	bool is_exclusive;       /* nobody else may have any of its ways: mode exclusive, pseudo-locked and the like */
	uint64_t *bits;          /* ways, by index of the cache; with CDP those of code and of data */
};

struct resctrl_facts {
	enum resctrl_state state;
	bool has_l3;                /* caches can be shared out */
	bool has_cdp;               /* code and data apart: "L3CODE", "L3DATA" in the place of "L3" */
	uint64_t mask;              /* all ways */
	uint64_t shareable;         /* those that devices write to as well */
	unsigned int min_bits;      /* the fewest that a group may have */
	bool has_mb;
	bool mb_is_percent;         /* not MB/s (mount option mba_MBps), nor units of 1/8 GB/s (AMD) */
	unsigned int mb_min, mb_step; /* percent */
	unsigned int n_classes;     /* that there can be, the default group included; 0 not known */
	struct resctrl_cache *caches; unsigned int n_caches;
	unsigned int *mb_ids; unsigned int n_mb; /* what bandwidth is counted for */
	struct resctrl_group *groups; unsigned int n_groups; /* the default group is the first */
};

/* Only -ENOMEM is an error; what cannot be read is not there. */
int resctrl_read(const struct hostfs *fs, const struct host *h, struct resctrl_facts *ret);
void resctrl_fini(struct resctrl_facts *f);

/* "domtune-UUID" */
bool resctrl_is_ours(const char *name);

/*
 * One value of a schemata file's text: "L3", 0 of "    L3:0=ff0;1=00f". resource MB is decimal, the others are
 * hexadecimal. -ENOENT: there is no such line, cache, or number.
 */
int resctrl_value(const char *schemata, const char *resource, unsigned int id, uint64_t *ret);

/* One part of a setting's value, "L3:0=4-7;1=0-3" or, with several resources, "L3CODE:0=4-7 L3DATA:0=4-7". */
struct resctrl_item {
	char resource[16];
	unsigned int id;
	char value[32]; /* a list of ways, or a percentage */
};

/* The next one; *pos is moved behind it. *ret is the one before, at first all zero. 1, 0 at the end, -EINVAL. */
int resctrl_next(const char **pos, struct resctrl_item *ret);
bool resctrl_is_cache(const char *resource); /* "L3", "L3CODE", "L3DATA" */

/* Ways as a list, and back; 0 for what is no list of ways. */
const char *resctrl_list(uint64_t bits, char buf[256]);
uint64_t resctrl_bits(const char *list);
/* The longest run of successive bits, of equally long ones the lowest. */
uint64_t resctrl_run(uint64_t bits);

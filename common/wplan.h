/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The wrapper's part of a plan, /run/domtune/plan/UUID (0644, no secrets): records
 *
 *   head      1, boot id, uuid, domain id, real emulator, QEMU version
 *   attr      name, value        process attributes, set in this order before exec (wrapper/attr.c's table)
 *   memory    kind ("huge" or "keep"), page size in bytes, host nodes, policy ("bind", "preferred",
 *             "interleave", ""), prealloc ("yes", "no", ""), prealloc threads, CPUs for them
 *   end
 *
 * Without a valid end record the file is not used. Pure but for load and save.
 */
#pragma once

#include "hostfs.h"
#include "plan.h"

#define WPLAN_ATTRS_MAX 16

struct wplan_attr {
	char *name, *value;
};

struct wplan {
	char boot_id[BOOT_ID_SIZE];
	char uuid[37];
	int id;
	char *emulator;
	unsigned int qemu; /* as plan_wrapper.qemu */
	struct wplan_attr attrs[WPLAN_ATTRS_MAX]; unsigned int n_attrs;
	bool memory;              /* a memory record is there: guest RAM back end is to be changed */
	uint64_t page_size;       /* 0: keep ordinary pages */
	struct idset nodes;       /* host-nodes; empty: none */
	char policy[16];          /* "bind", "preferred", "interleave" or "" */
	int prealloc;             /* 1 yes, 0 no, -1 as it is */
	unsigned int prealloc_threads; /* 0: QEMU's choice */
	struct idset prealloc_cpus;    /* for a thread-context's cpu-affinity; empty: none */
};

/* Made from the plan's exec-stage settings. No exec-stage settings: ret->n_attrs 0, memory false. */
int wplan_from_plan(const struct plan *p, const struct host *h, const char *boot_id, struct wplan *ret);
int wplan_save(const struct hostfs *fs, const struct wplan *w, struct err *e);
/* -ENOENT, -EBADMSG (no head, no end), -ENOMEM. */
int wplan_load(const struct hostfs *fs, const char *uuid, struct wplan *ret);
void wplan_fini(struct wplan *w);

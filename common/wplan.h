/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The wrapper's part of a plan, /run/domtune/plan/UUID (0644, no secrets): records
 *
 *   head      1, boot id, uuid, domain id, real emulator, QEMU version
 *   attr      name, value        process attributes, set in this order before exec (wrapper/attr.c's table)
 *   memory    kind ("huge" or "keep"), page size in bytes, host nodes, policy ("bind", "preferred",
 *             "interleave", ""), prealloc ("yes", "no", ""), prealloc threads, CPUs for them, guest cell
 *             ("": the whole guest)
 *   lock      bytes of address space that a QEMU of which all is locked may come to
 *   merge     "yes" or "no"
 *   disk      target, alias of its -device, path of its active image ("": not known), then what its block nodes are
 *             to have: aio ("auto", "threads", "native", "io_uring"), cache ("none", "writeback", "unsafe"), discard
 *             ("unmap", "ignore"), detect-zeroes ("off", "on", "unmap"), most bytes of cached L2 tables for each
 *             qcow2 image; "" in place of what stays
 *   end
 *
 * There is one memory record for the whole guest, or one for each guest cell that has memory. Without a valid end
 * record the file is not used. Pure but for load and save.
 */
#pragma once

#include "hostfs.h"
#include "plan.h"

#define WPLAN_ATTRS_MAX 16
#define WPLAN_MEMORY_MAX DOMAIN_CELLS_MAX
#define WPLAN_WHOLE (-1) /* in a cell's place */

struct wplan_attr {
	char *name, *value;
};

/* What the back end of one guest cell, or each one of the guest, is to be. */
struct wplan_memory {
	int cell;                 /* the guest's number for it, or WPLAN_WHOLE */
	uint64_t page_size;       /* 0: keep ordinary pages */
	struct idset nodes;       /* host-nodes; empty: none */
	char policy[16];          /* "bind", "preferred", "interleave" or "" */
	int prealloc;             /* 1 yes, 0 no, -1 as it is */
	unsigned int prealloc_threads; /* 0: QEMU's choice */
	struct idset prealloc_cpus;    /* for a thread-context's cpu-affinity; empty: none */
};

/* What the block nodes of one disk are to have; "" and no metadata: what stays as it is. */
struct wplan_disk {
	char *target, *alias, *path;
	char io[16], cache[16], discard[16], zeroes[16];
	bool metadata;       /* the next is a limit */
	uint64_t metadata_bytes; /* at most INT64_MAX: QEMU takes no more */
};

struct wplan {
	char boot_id[BOOT_ID_SIZE];
	char uuid[37];
	int id;
	char *emulator;
	unsigned int qemu; /* as plan_wrapper.qemu */
	struct wplan_attr attrs[WPLAN_ATTRS_MAX]; unsigned int n_attrs;
	struct wplan_memory *memory; unsigned int n_memory; /* 0: back ends of guest RAM stay as they are */
	uint64_t lock; /* RLIMIT_MEMLOCK has to be so much for QEMU to lock itself; 0: it is not to */
	int merge;     /* guest RAM may be merged with equal pages (KSM): 1 yes, 0 no, -1 as it is */
	struct wplan_disk *disks; unsigned int n_disks;
};

/* Whether anything on the command line is to change: of guest RAM, of all. */
static inline bool wplan_edits_memory(const struct wplan *w)
{
	return w->n_memory > 0 || w->lock > 0 || w->merge >= 0;
}

static inline bool wplan_edits(const struct wplan *w)
{
	return wplan_edits_memory(w) || w->n_disks > 0;
}

/* Made from the plan's exec-stage settings. No exec-stage settings: ret->n_attrs 0, wplan_edits() false. */
int wplan_from_plan(const struct plan *p, const struct host *h, const char *boot_id, struct wplan *ret);
int wplan_save(const struct hostfs *fs, const struct wplan *w, struct err *e);
/* -ENOENT, -EBADMSG (no head, no end), -ENOMEM. */
int wplan_load(const struct hostfs *fs, const char *uuid, struct wplan *ret);
void wplan_fini(struct wplan *w);

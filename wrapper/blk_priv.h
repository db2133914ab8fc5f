/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of blk.c share: the block nodes that the command line has, and those of one disk. */
#pragma once

#include "wrapper/blk.h"

#define BLK_DISK_NODES_MAX 512 /* of one disk: libvirt follows chains of up to 200 images (virstoragefile.c) */

/* What a node is; "other" nodes (network protocols) have no files of this host. */
enum blk_role { BLK_FILTER, BLK_FORMAT, BLK_FILE, BLK_OTHER };

struct blk_node {
	struct obj o;
	const char *name, *driver;     /* within o; "" absent */
	int at;                        /* index of the -blockdev's value */
	bool twice;                    /* another one has this name */
	const struct wplan_disk *disk; /* whose it is; NULL: of none that was looked at */
	bool changed;
};

/* A node of the disk in question. */
struct blk_part {
	struct blk_node *node;
	enum blk_role role;
	bool active; /* of the image that the guest writes to, not of one behind it */
};

/* What a tryout that is the same for all disks has answered. */
struct blk_once {
	bool done;
	int r;
	struct err e;
};

struct blk {
	const struct hostfs *fs;
	const struct tryout *t;
	const char *emulator;
	struct kept *kept;
	struct argv_edit *edit;
	struct blk_node *nodes;
	int *devices; /* indices of values of -device */
	unsigned int n_nodes, n_devices;
	struct blk_once ring[2], events, liburing, libaio; /* ring: without and with workers of its own */
	/* Of the disk in question: */
	const struct wplan_disk *want;
	struct blk_part *parts;
	unsigned int n_parts; /* from the guest down, the active image first */
	char why[160];        /* why nothing of it is to be touched */
	bool own_write_cache; /* the device says something else than on */
};

/* blk_find.c: all -blockdev, and where -device are. 0 or -ENOMEM. */
int blk_read_nodes(struct blk *b);
/* The parts of b->want; 0 with b->why filled if they are not all understood; -ENOMEM. */
int blk_find_disk(struct blk *b);
void blk_fini(struct blk *b);

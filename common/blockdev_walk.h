/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one walk down stacks of block devices, for blockdev.c (request queues) and device.c (NUMA nodes).
 *
 * sysfs is a graph: a partition lies on its disk, device mapper, md and bcache on their `slaves`, a loop device on its
 * backing file, a file on its file system's devices. Each device is looked at once and remembered with the set of
 * leaves it comes to, so that shared parts cost nothing and circles end. Depth and number of devices are bounded.
 */
#pragma once

#include "hostfs.h"

#define WALK_NAME 64
#define WALK_LEAVES 64  /* one bit each */
#define WALK_NODES 512  /* devices looked at for one domain */
#define WALK_DEPTH 16   /* partition on LVM on crypt on md on a partition on a loop device is 7 */
#define WALK_PATH 4096
#define WALK_WHY 160

enum walk_mode {
	/*
	 * To what schedules requests: also a request-based multipath device, which has a scheduler of its own and whose
	 * requests bypass those of its paths (block/blk-mq.c, blk_insert_cloned_request(): "Since we have a scheduler
	 * attached on the top device, bypass a potential scheduler on the bottom device for insert"); so do limits of
	 * cgroups, which are applied to bios. Memory, ZFS volumes and network block devices are no such thing.
	 */
	WALK_TO_QUEUES,
	/* To what has a place in the machine: paths of any multipath, controllers of a shared NVMe namespace. */
	WALK_TO_HARDWARE,
};

/* A block device that was looked at. */
struct walk_node {
	char name[WALK_NAME]; /* sysfs' ("cciss!c0d0") */
	unsigned int major, minor;
	int whole;            /* index of the disk a partition is on; its own */
	uint64_t leaves;
	const char *why;      /* no leaves: what it is ("a ZFS volume"), NULL nothing is known */
};

struct walk_leaf {
	char name[WALK_NAME]; /* of the device; to hardware, of a shared NVMe namespace: of the controller */
	char dir[WALK_NAME * 2 + 32]; /* its directory in sysfs */
	int node;             /* the device that data is sent to: of an NVMe path its namespace, else itself */
	bool is_path;         /* such a path: a hidden device, without a number of its own */
};

/* A line of mountinfo, proc(5). */
struct walk_mount {
	uint64_t id;
	unsigned int major, minor;
	const char *point, *type, *source;
};

struct walk {
	const struct hostfs *fs;
	enum walk_mode mode;
	struct walk_node nodes[WALK_NODES]; unsigned int n_nodes;
	struct walk_leaf leaves[WALK_LEAVES]; unsigned int n_leaves;
	bool cut;             /* there is more than could be looked at */
	char *mount_text;     /* NULL: not read yet */
	struct walk_mount *mounts; size_t n_mounts;
};

/* What a path comes to. */
struct walk_found {
	uint64_t leaves;
	int node;             /* the block device it names, or that its file system is on; -1 none, or several */
	unsigned int mode;    /* st_mode of what it names, 0: nothing could be looked at */
	bool is_block;        /* it names a block device */
	char why[WALK_WHY];   /* no leaves: the reason, a clause */
};

/* NULL: no memory. */
struct walk *walk_new(const struct hostfs *fs, enum walk_mode mode);
void walk_free(struct walk *w);

/*
 * path: absolute; a file, directory or device node. Links are followed. Below another root, where device nodes are, if
 * anything, plain files and links, the name that a /dev path comes to is the device's, and a file's mount is the one
 * with the longest path, as the captured mountinfo has it.
 */
void walk_path(struct walk *w, const char *path, struct walk_found *ret);

/* For blockdev_mount.c: a device by number or name; index of its node, -1. depth: 0.. */
int walk_number(struct walk *w, unsigned int major, unsigned int minor, int depth);
int walk_name(struct walk *w, const char *name, int depth);
void walk_path_at(struct walk *w, const char *path, int depth, struct walk_found *ret);

/* A volume's path, from libvirt's own files of the pool. 0, or -ENOENT with the reason. */
int walk_volume(const struct hostfs *fs, const char *pool, const char *volume, char path[WALK_PATH],
		char why[WALK_WHY]);

static inline void cleanup_walk(struct walk **w)
{
	walk_free(*w);
}

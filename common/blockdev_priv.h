/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between blockdev.c and blockdev_qcow2.c. */
#pragma once

#include <sys/types.h>

#include "blockdev_walk.h"

#define QCOW2_NAME 1024 /* QEMU takes 1023 bytes at most (block/qcow2.c, qcow2_do_open()) */

/* What the header of one image says. */
struct qcow2 {
	uint64_t size, cluster;
	uint64_t l2_bytes;          /* of L2 tables that cover it */
	char backing[QCOW2_NAME];   /* as written, "" none */
	char format[32];            /* of the backing image, "" not said */
	char data_file[QCOW2_NAME]; /* external data file, "" none */
	dev_t dev;                  /* of the file, to tell a circle */
	ino_t ino;
};

/*
 * Read it, by root, from a file that a tenant may have written: nothing but a regular file or block device is opened
 * (below another root: but a regular file), and, where the name came out of an image (`follow` false), no link to a
 * file. mode: what the path was just seen to name (walk_found). -errno, with a reason that names no path.
 */
int qcow2_read(const struct hostfs *fs, const char *path, unsigned int mode, bool follow, struct qcow2 *ret,
	       char why[WALK_WHY]);

/* The path that a name in the header of the image at `base` means. -ENOENT, with the reason: no file of this host. */
int qcow2_resolve(const char *base, const char *name, char path[WALK_PATH], char why[WALK_WHY]);

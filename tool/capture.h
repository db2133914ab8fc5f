/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between cmd_capture.c, which has the table of files, and capture_block.c, which follows links of block devices. */
#pragma once

#include "tool/tar.h"
#include "tool/tool.h"

struct capture {
	const struct hostfs *fs;
	unsigned int files;
	unsigned int dev_links; /* in /dev */
	int failed; /* negative errno of the output */
};

/* What is absent, or of a name too long for the archive, is left out. */
void capture_file(struct capture *c, const char *path);
/* A relative symbolic link as it is; its text in target. False: it is none, or was left out. */
bool capture_link(struct capture *c, const char *path, char target[TAR_TARGET_MAX]);
/* What fnmatch(3) patterns, component by component, come to. */
void capture_expand(struct capture *c, const char *pattern, void (*take)(struct capture *c, const char *path));
/* Names of a directory that match, sorted; free each and the list. Returns how many. */
size_t capture_list(const struct hostfs *fs, const char *dir, const char *pattern, char ***ret);

/*
 * Block devices as blockdev.c walks them, and what NUMA nodes they are on: the links of sysfs' flat listings, the
 * devices' own directories, links in /dev to them. A device node is an empty file. At most 1024 devices.
 */
void capture_blocks(struct capture *c);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A tar archive on a stream, in the ustar format (POSIX.1-1988, pax(1) "ustar Interchange Format"): regular files
 * and symbolic links, owner root, no times, so that the same files give the same bytes. Where a link goes further than
 * ustar can say, as those of sysfs do, a pax extended header says it.
 */
#pragma once

#include "common/util.h"

/* Longest name: 155 bytes of directory, a "/", 100 bytes of the rest. */
#define TAR_NAME_MAX 256
#define TAR_TARGET_MAX 1024

/* Append one file. -ENAMETOOLONG: the name does not fit the format; -EIO: the stream. */
int tar_add(FILE *f, const char *name, unsigned int mode, const char *data, size_t len);
/* The same for a symbolic link. */
int tar_link(FILE *f, const char *name, const char *target);
/* The two empty blocks at the end. */
int tar_end(FILE *f);

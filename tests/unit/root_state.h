/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* More of root.h, for tests of what is kept in run/domtune. */
#pragma once

#include "root_bytes.h"

#define ROOT(r)                                                                                                        \
	_cleanup_(root_fini) struct root r = {.fs = HOSTFS_INIT};                                                      \
	root_init(&r)

/* The text of a file; the caller frees it. */
static inline char *root_dup(struct root *r, const char *path)
{
	return strdup(root_get(r, path));
}

/* Permissions of what is there, links not followed; -1: nothing. */
static inline int root_mode(struct root *r, const char *path)
{
	struct stat st;

	return fstatat(r->fs.fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -1 : (int)(st.st_mode & 07777);
}

/* proc/PID/stat with this start time. */
static inline void root_put_stat(struct root *r, int pid, int start)
{
	char path[64], text[128];

	(void)snprintf(path, sizeof(path), "proc/%d/stat", pid);
	(void)snprintf(text, sizeof(text), "%d (x) S 1 1 1 0 -1 4 1 2 3 4 5 6 7 8 20 0 3 0 %d 1000 10 184467\n", pid,
		       start);
	root_put(r, path, text);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A fake root in a temporary directory, for the life of one test. */
#pragma once

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#include "common/hostfs.h"
#include "tap.h"

struct root {
	struct hostfs fs;
	char dir[64];
};

static inline void root_init(struct root *r)
{
	struct err e = ERR_INIT;

	snprintf(r->dir, sizeof(r->dir), "/tmp/domtune-unit-XXXXXX");
	r->fs = HOSTFS_INIT;
	if (!mkdtemp(r->dir) || hostfs_init(&r->fs, r->dir, &e) < 0) {
		printf("# no fake root in %s: %s\n", r->dir, e.text);
		exit(2);
	}
}

static inline void root_mkdir(struct root *r, const char *path)
{
	if (hostfs_mkdir(&r->fs, 0755, "%s", path) < 0)
		TAP_FAIL("mkdir %s", path);
}

/* Create or overwrite a file with its directories. */
static inline void root_put(struct root *r, const char *path, const char *text)
{
	char dir[256];
	const char *slash = strrchr(path, '/');
	int fd;

	if (slash) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
		root_mkdir(r, dir);
	}
	fd = openat(r->fs.fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		TAP_FAIL("write %s", path);
	if (fd >= 0)
		close(fd);
}

static inline int root_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void root_fini(struct root *r)
{
	hostfs_fini(&r->fs);
	(void)nftw(r->dir, root_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

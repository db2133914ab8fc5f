/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The layout of the real host, by libcgroup. Of that library only what neither writes nor allocates on our
 * behalf for long is used: the mount table. Its default logger prints to stdout, which libvirt reads as the
 * domain's XML in some phases: a silent one is installed before anything else.
 */
#include "cgroup.h"

#include <libcgroup.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <sys/vfs.h>

static void silent(void *userdata, int level, const char *fmt, va_list ap)
{
	(void)userdata;
	(void)level;
	(void)fmt;
	(void)ap;
}

/* 1 or 2 by the type of the file system that is mounted there, 0: none of the two. */
static int version_at(const struct hostfs *fs, const char *path)
{
	_cleanup_close_ int fd = hostfs_open(fs, O_RDONLY | O_DIRECTORY, "%s", path);
	struct statfs s;

	if (fd < 0 || fstatfs(fd, &s) < 0)
		return 0;
	if (s.f_type == CGROUP2_SUPER_MAGIC)
		return 2;
	return s.f_type == CGROUP_SUPER_MAGIC ? 1 : 0;
}

/* "io" is "blkio" where it is a hierarchy of its own. */
static const char *const names[CGROUP_CONTROLLER_MAX][2] = {
	[CGROUP_CPU] = {"cpu", NULL},
	[CGROUP_CPUSET] = {"cpuset", NULL},
	[CGROUP_MEMORY] = {"memory", NULL},
	[CGROUP_IO] = {"io", "blkio"},
};

static void find_controller(const struct hostfs *fs, enum cgroup_which c, struct cgroup_layout *l)
{
	for (unsigned int i = 0; i < 2 && names[c][i]; i++) {
		_cleanup_free_ char *dir = NULL;
		const char *path;
		int version;

		if (cgroup_get_subsys_mount_point(names[c][i], &dir) != 0 || !dir)
			continue;
		path = dir + strspn(dir, "/");
		version = version_at(fs, path);
		if (!version || strlen(path) >= sizeof(l->at[c].path))
			continue;
		l->at[c].version = version;
		memcpy(l->at[c].path, path, strlen(path) + 1);
		return;
	}
}

int cgroup_layout_find(const struct hostfs *fs, struct cgroup_layout *ret, struct err *e)
{
	struct cgroup_layout l = {0};
	bool found = false;
	int r;

	/* proc/mounts is needed in any case: libcgroup does not name a v2 mount without controllers. */
	r = cgroup_layout_mounts(fs, &l);
	if (r < 0)
		return err_set(e, -r, "proc/mounts names no cgroup file system: %s", err_name(-r));
	if (!fs->real) {
		*ret = l;
		return 0;
	}
	cgroup_set_logger(silent, CGROUP_LOG_ERROR, NULL);
	/* Fails where /proc/cgroups is hidden (mount option subset=pid); proc/mounts is as good then. */
	if (cgroup_init() == 0) {
		struct cgroup_layout asked = {0};

		for (unsigned int c = 0; c < CGROUP_CONTROLLER_MAX; c++) {
			find_controller(fs, (enum cgroup_which)c, &asked);
			found = found || asked.at[c].version;
		}
		if (found)
			memcpy(l.at, asked.at, sizeof(l.at));
	}
	*ret = l;
	return 0;
}

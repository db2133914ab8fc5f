/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sysfs' directories of block devices are reached by links, left by "..", and joined by further links; so the links
 * themselves are taken, and below sys/devices the few files that say something.
 */
#include <sys/stat.h>

#include "common/blockdev.h"
#include "tool/capture.h"

#define DEVICES_MAX   1024
#define ANCESTORS_MAX 24
#define DEV_LINKS_MAX 8192

struct blocks {
	struct capture *c;
	char **seen; /* directories whose numa_node was looked for */
	size_t n_seen;
};

static void free_list(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

/* "a/b" and "../c" make "a/c". False: it leaves the root, or is too long. */
static bool join(const char *dir, const char *target, char path[TAR_NAME_MAX + 1])
{
	size_t len = strlen(dir);

	if (len > TAR_NAME_MAX)
		return false;
	memcpy(path, dir, len + 1);
	while (str_starts(target, "../")) {
		char *slash = strrchr(path, '/');

		if (!*path)
			return false;
		*(slash ? slash : path) = '\0';
		target += 3;
	}
	len = strlen(path);
	return snprintf(path + len, TAR_NAME_MAX + 1 - len, "%s%s", len ? "/" : "", target) <
	       (int)(TAR_NAME_MAX + 1 - len);
}

/* The NUMA node of the device, or of a bridge above it. */
static void take_nodes(struct blocks *b, const char *dir)
{
	char path[TAR_NAME_MAX + 1], file[TAR_NAME_MAX + 16];

	(void)snprintf(path, sizeof(path), "%s", dir); /* fits: made by join() */
	for (int i = 0; i < ANCESTORS_MAX && str_starts(path, "sys/devices/"); i++) {
		char **more;

		for (size_t k = 0; k < b->n_seen; k++)
			if (streq(b->seen[k], path))
				return;
		more = reallocarray(b->seen, b->n_seen + 1, sizeof(*more));
		if (!more)
			return;
		b->seen = more;
		b->seen[b->n_seen] = strdup(path);
		if (!b->seen[b->n_seen])
			return;
		b->n_seen++;
		(void)snprintf(file, sizeof(file), "%s/numa_node", path);
		capture_file(b->c, file);
		*strrchr(path, '/') = '\0';
	}
}

static void take_queue(struct capture *c, const char *dir)
{
	static const char *const names[] = {
		"uevent",
		"loop/backing_file",
		"queue/scheduler",
		"queue/rotational",
		"queue/nr_requests",
		"queue/read_ahead_kb",
		"queue/rq_affinity",
		"queue/wbt_lat_usec",
		"queue/nomerges",
	};
	char path[TAR_NAME_MAX + 32];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]); /* fits; too long for tar is left out */
		capture_file(c, path);
	}
}

static void take_links(struct capture *c, const char *dir, const char *pattern, unsigned int max)
{
	char path[TAR_NAME_MAX + 300], target[TAR_TARGET_MAX], **names;
	size_t n = capture_list(c->fs, dir, pattern, &names);

	for (size_t i = 0; i < n && i < max; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		(void)capture_link(c, path, target);
	}
	free_list(names, n);
}

/* Beside a namespace with native multipath: links to its controllers, and where those are. */
static void take_controllers(struct blocks *b, const char *dir)
{
	char parent[TAR_NAME_MAX + 1], path[TAR_NAME_MAX + 300], target[TAR_TARGET_MAX], **names;
	size_t n;

	if (!strstr(dir, "/nvme-subsys") || !join(dir, "../.", parent))
		return;
	parent[strlen(parent) - 2] = '\0';
	n = capture_list(b->c->fs, parent, "nvme*[0-9]", &names);
	for (size_t i = 0; i < n; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", parent, names[i]);
		if (capture_link(b->c, path, target) && join(parent, target, path))
			take_nodes(b, path);
	}
	free_list(names, n);
}

/* An empty file for the node, and the link of its number. */
static void take_node(struct capture *c, const char *name, const char *dir)
{
	char path[TAR_NAME_MAX + 1], target[TAR_TARGET_MAX], number[32];

	if (hostfs_read(c->fs, number, sizeof(number), "%s/dev", dir) > 0 &&
	    snprintf(path, sizeof(path), "sys/dev/block/%s", number) < (int)sizeof(path))
		(void)capture_link(c, path, target);
	if (snprintf(path, sizeof(path), "dev/%s", name) >= (int)sizeof(path))
		return;
	for (char *at = strchr(path, '!'); at; at = strchr(at, '!'))
		*at = '/';
	if (hostfs_exists(c->fs, "%s", path) && tar_add(stdout, path, 0644, "", 0) == -EIO)
		c->failed = -EIO;
}

static void take_device(struct blocks *b, const char *name)
{
	char path[TAR_NAME_MAX + 32], dir[TAR_NAME_MAX + 1], target[TAR_TARGET_MAX];

	(void)snprintf(path, sizeof(path), "sys/class/block/%s", name); /* fits: a name has 255 bytes */
	if (!capture_link(b->c, path, target) || !join("sys/class/block", target, dir) ||
	    !str_starts(dir, "sys/devices/"))
		return;
	(void)snprintf(path, sizeof(path), "sys/block/%s", name);
	(void)capture_link(b->c, path, target);
	take_queue(b->c, dir);
	(void)snprintf(path, sizeof(path), "%s/slaves", dir);
	take_links(b->c, path, "*", BLOCKDEV_MAX);
	take_node(b->c, name, dir);
	take_nodes(b, dir);
	take_controllers(b, dir);
}

static void take_any_link(struct capture *c, const char *path)
{
	char target[TAR_TARGET_MAX];

	(void)capture_link(c, path, target);
}

/* A logical volume, a multipath device, or one by another of its names. */
static void take_dev_link(struct capture *c, const char *path)
{
	struct stat st;

	if (hostfs_stat(c->fs, &st, "%s", path) == 0 &&
	    (S_ISBLK(st.st_mode) || (!c->fs->real && S_ISREG(st.st_mode))) && c->dev_links++ < DEV_LINKS_MAX)
		take_any_link(c, path);
}

void capture_blocks(struct capture *c)
{
	static const char *const dev_links[] = {"dev/*/*", "dev/disk/*/*"};
	struct blocks b = {.c = c};
	char **names;
	size_t n = capture_list(c->fs, "sys/class/block", "*", &names);

	for (size_t i = 0; i < n && i < DEVICES_MAX && !c->failed; i++)
		take_device(&b, names[i]);
	free_list(names, n);
	free_list(b.seen, b.n_seen);
	capture_expand(c, "sys/fs/btrfs/*/devices/*", take_any_link);
	for (size_t i = 0; i < ARRAY_SIZE(dev_links) && !c->failed; i++)
		capture_expand(c, dev_links[i], take_dev_link);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A device is named by its uevent file (MAJOR, MINOR, DEVNAME, DEVTYPE: one read says it all) and lies in the flat
 * listing class/block; from there ".." is the real parent, since the kernel resolves it behind the link.
 *
 * What the data of a device comes to, in this order: a partition's disk; `slaves`; a loop device's file; the paths of a
 * shared NVMe namespace (native multipath: hidden devices nvmeIcCnN below the controllers nvmeC that are linked beside
 * it, drivers/nvme/host/multipath.c); else it is a leaf itself. A queue/scheduler file with brackets in it tells a
 * device that queues requests from one that only passes bios on (block/elevator.c: "none" without, or no file).
 */
#include "blockdev_walk.h"

#include "num.h"

struct walk *walk_new(const struct hostfs *fs, enum walk_mode mode)
{
	struct walk *w = malloc(sizeof(*w)); /* its tables, 64 KiB, are filled entry by entry */

	if (!w)
		return NULL;
	w->fs = fs;
	w->mode = mode;
	w->n_nodes = 0;
	w->n_leaves = 0;
	w->cut = false;
	w->mount_text = NULL;
	w->mounts = NULL;
	w->n_mounts = 0;
	return w;
}

void walk_free(struct walk *w)
{
	if (!w)
		return;
	free(w->mounts);
	free(w->mount_text);
	free(w);
}

static void dir_of(const char *name, char dir[WALK_NAME + 32])
{
	(void)snprintf(dir, WALK_NAME + 32, "sys/class/block/%s", name); /* fits */
}

/* --- what the kernel says of one device */

struct uevent {
	char name[WALK_NAME];
	unsigned int major, minor;
	bool partition;
};

static void take_number(const char *text, unsigned int *ret)
{
	uint64_t v;

	if (num_parse_range(text, 0, UINT32_MAX, &v) == 0)
		*ret = (unsigned int)v;
}

/* DEVNAME is a path below /dev; sysfs has "!" for its slashes. */
static void take_name(const char *text, char name[WALK_NAME])
{
	if (strlen(text) >= WALK_NAME)
		return;
	memcpy(name, text, strlen(text) + 1);
	for (char *c = strchr(name, '/'); c; c = strchr(c, '/'))
		*c = '!';
}

static bool read_uevent(const struct hostfs *fs, const char *dir, struct uevent *ret)
{
	char text[1024], *rest = text, *line;

	*ret = (struct uevent){0};
	if (hostfs_read(fs, text, sizeof(text), "%s/uevent", dir) < 0)
		return false;
	while ((line = strsep(&rest, "\n"))) {
		if (str_starts(line, "MAJOR="))
			take_number(line + strlen("MAJOR="), &ret->major);
		else if (str_starts(line, "MINOR="))
			take_number(line + strlen("MINOR="), &ret->minor);
		else if (str_starts(line, "DEVNAME="))
			take_name(line + strlen("DEVNAME="), ret->name);
		else if (streq(line, "DEVTYPE=partition"))
			ret->partition = true;
	}
	return hostfs_is_name(ret->name);
}

static bool queues_requests(const struct hostfs *fs, const char *name)
{
	char text[512];

	return hostfs_read(fs, text, sizeof(text), "sys/block/%s/queue/scheduler", name) > 0 && strchr(text, '[');
}

/* Devices that end the walk with none of this host's disks behind them, by the names that their drivers give. */
static const char *no_disk(const char *name)
{
	static const struct {
		const char *prefix, *what;
	} rows[] = {
		{"zd", "a ZFS volume"},
		{"rbd", "a Ceph (rbd) device"},
		{"nbd", "a network block device (nbd)"},
		{"zram", "compressed memory (zram)"},
		{"ram", "memory (brd)"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t len = strlen(rows[i].prefix);

		if (str_starts(name, rows[i].prefix) && name[len] >= '0' && name[len] <= '9')
			return rows[i].what;
	}
	return NULL;
}

/* --- leaves */

static uint64_t add_leaf(struct walk *w, const char *name, const char *dir, int node, bool is_path)
{
	struct walk_leaf *l;

	for (unsigned int i = 0; i < w->n_leaves; i++)
		if (w->leaves[i].node == node && streq(w->leaves[i].name, name))
			return UINT64_C(1) << i;
	if (w->n_leaves == WALK_LEAVES) {
		w->cut = true;
		return 0;
	}
	l = &w->leaves[w->n_leaves];
	*l = (struct walk_leaf){.node = node, .is_path = is_path};
	(void)snprintf(l->name, sizeof(l->name), "%s", name); /* fits: of a node, or checked by the caller */
	(void)snprintf(l->dir, sizeof(l->dir), "%s", dir);
	return UINT64_C(1) << w->n_leaves++;
}

static uint64_t leaf_of(struct walk *w, int i)
{
	char dir[WALK_NAME + 32];

	dir_of(w->nodes[i].name, dir);
	if (w->mode == WALK_TO_QUEUES)
		w->nodes[i].why = no_disk(w->nodes[i].name);
	return w->nodes[i].why ? 0 : add_leaf(w, w->nodes[i].name, dir, i, false);
}

/* "nvme3n1": 3 and 1. */
static bool nvme_numbers(const char *name, unsigned int *subsystem, unsigned int *namespace)
{
	int end = 0;

	return sscanf(name, "nvme%9un%9u%n", subsystem, namespace, &end) == 2 && !name[end];
}

/* The path of a namespace behind one controller, or, to hardware, that controller. */
static uint64_t nvme_path(struct walk *w, int i, unsigned int controller)
{
	unsigned int subsystem, namespace;
	char dir[WALK_NAME * 2 + 32], name[WALK_NAME];

	if (!nvme_numbers(w->nodes[i].name, &subsystem, &namespace))
		return 0;
	if (w->mode == WALK_TO_HARDWARE) {
		(void)snprintf(name, sizeof(name), "nvme%u", controller);
		(void)snprintf(dir, sizeof(dir), "sys/class/block/%s/../%s", w->nodes[i].name, name);
		return add_leaf(w, name, dir, i, true);
	}
	(void)snprintf(name, sizeof(name), "nvme%uc%un%u", subsystem, controller, namespace);
	dir_of(name, dir);
	return hostfs_exists(w->fs, "%s", dir) ? add_leaf(w, name, dir, i, true) : 0;
}

/* The links nvme0, nvme1 to controllers beside a shared namespace; none beside others. */
static uint64_t nvme_paths(struct walk *w, int i)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	uint64_t leaves = 0, controller;

	if (!str_starts(w->nodes[i].name, "nvme") || queues_requests(w->fs, w->nodes[i].name))
		return 0;
	dir = hostfs_opendir(w->fs, "sys/class/block/%s/..", w->nodes[i].name);
	while (dir && (entry = readdir(dir)))
		if (str_starts(entry->d_name, "nvme") &&
		    num_parse_range(entry->d_name + strlen("nvme"), 0, INT32_MAX, &controller) == 0)
			leaves |= nvme_path(w, i, (unsigned int)controller);
	return leaves;
}

/* --- down */

static int walk_dir(struct walk *w, const char *dir, int depth);

/* *ret_any: it has slaves, whatever they come to. */
static uint64_t slaves(struct walk *w, int of, int depth, bool *ret_any)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(w->fs, "sys/class/block/%s/slaves", w->nodes[of].name);
	struct dirent *entry;
	uint64_t leaves = 0;

	*ret_any = false;
	while (dir && (entry = readdir(dir))) {
		int i;

		if (entry->d_name[0] == '.')
			continue;
		*ret_any = true;
		if (w->n_leaves == WALK_LEAVES) {
			w->cut = true;
			break;
		}
		i = walk_name(w, entry->d_name, depth + 1);
		if (i < 0)
			continue;
		leaves |= w->nodes[i].leaves;
		if (w->nodes[i].why)
			w->nodes[of].why = w->nodes[i].why;
	}
	return leaves;
}

static uint64_t loop_file(struct walk *w, const char *name, int depth)
{
	struct walk_found found;
	char path[WALK_PATH];

	if (!str_starts(name, "loop") ||
	    hostfs_read(w->fs, path, sizeof(path), "sys/class/block/%s/loop/backing_file", name) <= 0)
		return 0;
	walk_path_at(w, path, depth + 1, &found);
	return found.leaves;
}

static uint64_t partition(struct walk *w, int i, int depth)
{
	char dir[WALK_NAME + 64];
	int whole;

	(void)snprintf(dir, sizeof(dir), "sys/class/block/%s/..", w->nodes[i].name);
	whole = walk_dir(w, dir, depth + 1);
	if (whole < 0 || whole == i)
		return 0;
	w->nodes[i].whole = whole;
	w->nodes[i].why = w->nodes[whole].why;
	return w->nodes[whole].leaves;
}

static uint64_t disk(struct walk *w, int i, int depth)
{
	const char *name = w->nodes[i].name;
	uint64_t leaves;
	bool any;

	if (w->mode == WALK_TO_QUEUES && str_starts(name, "dm-") && queues_requests(w->fs, name))
		return leaf_of(w, i);
	leaves = slaves(w, i, depth, &any);
	if (!leaves)
		leaves = loop_file(w, name, depth);
	if (!leaves)
		leaves = nvme_paths(w, i);
	return leaves || any ? leaves : leaf_of(w, i);
}

static int find_node(const struct walk *w, const char *name)
{
	for (unsigned int i = 0; i < w->n_nodes; i++)
		if (streq(w->nodes[i].name, name))
			return (int)i;
	return -1;
}

/* A device by its directory. While it is being looked at it comes to nothing: so a circle ends. */
static int walk_dir(struct walk *w, const char *dir, int depth)
{
	struct uevent u;
	int i;

	if (!read_uevent(w->fs, dir, &u))
		return -1;
	i = find_node(w, u.name);
	if (i >= 0)
		return i;
	if (depth > WALK_DEPTH || w->n_nodes == WALK_NODES) {
		w->cut = true;
		return -1;
	}
	i = (int)w->n_nodes++;
	w->nodes[i] = (struct walk_node){.major = u.major, .minor = u.minor, .whole = i};
	memcpy(w->nodes[i].name, u.name, sizeof(u.name));
	w->nodes[i].leaves = u.partition ? partition(w, i, depth) : disk(w, i, depth);
	return i;
}

int walk_name(struct walk *w, const char *name, int depth)
{
	char dir[WALK_NAME + 32];
	int i;

	if (!hostfs_is_name(name) || strlen(name) >= WALK_NAME)
		return -1;
	i = find_node(w, name);
	if (i >= 0)
		return i;
	dir_of(name, dir);
	return walk_dir(w, dir, depth);
}

int walk_number(struct walk *w, unsigned int major, unsigned int minor, int depth)
{
	char dir[64];

	for (unsigned int i = 0; i < w->n_nodes; i++)
		if (w->nodes[i].major == major && w->nodes[i].minor == minor)
			return (int)i;
	(void)snprintf(dir, sizeof(dir), "sys/dev/block/%u:%u", major, minor); /* fits */
	return walk_dir(w, dir, depth);
}

void walk_path(struct walk *w, const char *path, struct walk_found *ret)
{
	walk_path_at(w, path, 0, ret);
}

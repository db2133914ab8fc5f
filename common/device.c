/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From what the XML names to the function that does the I/O, through the links of sysfs.
 *
 * A device's directory is reached by one of sysfs' flat listings (class/block, class/net, bus/pci/devices) and then
 * left upwards with "..", which the kernel resolves behind the symlink: the first numa_node on the way that is not -1
 * is the device's (PCI functions have one, NVMe controllers, and platform and VMBus devices; a function that firmware
 * says nothing about inherits its bridge's). What is stacked is taken apart first: dm, md and bcache have `slaves`, a
 * loop device its backing file; an NVMe namespace with native multipath lies beside links to its controllers. Network
 * devices come from netdev.c.
 *
 * Names from the XML become parts of paths only after hostfs_is_name(); an image's path is resolved below the root.
 * A stack may be deep, wide or (a loop device on its own file system) circular: depth and visits are bounded.
 */
#include "device.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "num.h"
#include "xml.h"

#define DEPTH_MAX 8    /* partition on LVM on crypt on md on a partition is 5 */
#define VISITS_MAX 512 /* of block devices, for one domain */
#define PATH_SIZE 1024
#define CONFIG_MAX (64u << 10) /* of a libvirt pool's XML */

struct finder {
	const struct hostfs *fs;
	struct device_nodes *ret;
	unsigned int visits;
};

static void add(struct finder *f, const char *name, int node)
{
	struct device_nodes *l = f->ret;

	for (unsigned int i = 0; i < l->n; i++)
		if (l->d[i].node == node && streq(l->names[i], name))
			return;
	if (l->n >= DEVICE_NODES_MAX)
		return;
	(void)snprintf(l->names[l->n], sizeof(l->names[0]), "%s", name); /* cut is fine: it is for people */
	l->d[l->n] = (struct place_device){ .name = l->names[l->n], .node = node };
	l->n++;
}

static void add_above(struct finder *f, const char *name, const char *dir)
{
	int node = host_node_above(f->fs, dir);

	if (node >= 0)
		add(f, name, node);
}

/* Entries of a directory that a visitor takes; returns how many it took. */
typedef bool visitor(struct finder *f, const char *dir, const char *entry, int depth);

static unsigned int each_entry(struct finder *f, const char *dir, visitor *visit, int depth)
{
	_cleanup_closedir_ DIR *d = hostfs_opendir(f->fs, "%s", dir);
	struct dirent *entry;
	unsigned int n = 0;

	while (d && (entry = readdir(d)))
		if (entry->d_name[0] != '.')
			n += visit(f, dir, entry->d_name, depth);
	return n;
}

/* Block devices */

static void path_down(struct finder *f, const char *path, int depth);
static void block_down(struct finder *f, const char *dir, int depth);

static bool visit_slave(struct finder *f, const char *dir, const char *entry, int depth)
{
	char path[PATH_SIZE];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, entry) < sizeof(path))
		block_down(f, path, depth + 1);
	return true;
}

/* Beside a namespace with native multipath: links nvme0, nvme1 to its controllers (nvme0n1 is a namespace). */
static bool visit_controller(struct finder *f, const char *dir, const char *entry, int depth)
{
	char path[PATH_SIZE];
	uint64_t number;

	(void)depth;
	if (!str_starts(entry, "nvme") || num_parse_u64(entry + 4, &number) < 0 ||
	    (size_t)snprintf(path, sizeof(path), "%s/%s", dir, entry) >= sizeof(path))
		return false;
	add_above(f, entry, path);
	return true;
}

/* The kernel's name of a block device, from its uevent. */
static bool block_name(const struct hostfs *fs, const char *dir, char name[64])
{
	char text[1024], *rest = text, *line;

	if (hostfs_read(fs, text, sizeof(text), "%s/uevent", dir) < 0)
		return false;
	while ((line = strsep(&rest, "\n")))
		if (str_starts(line, "DEVNAME=") && line[8]) {
			(void)snprintf(name, 64, "%s", line + 8); /* cut is fine */
			return true;
		}
	return false;
}

/* dir: a block device's directory, whole disk or partition. */
static void block_down(struct finder *f, const char *dir, int depth)
{
	char path[PATH_SIZE], backing[PATH_SIZE], name[64];
	bool partition;

	if (depth > DEPTH_MAX || ++f->visits > VISITS_MAX)
		return;
	partition = hostfs_exists(f->fs, "%s/partition", dir);
	if ((size_t)snprintf(path, sizeof(path), "%s%s/slaves", dir, partition ? "/.." : "") >= sizeof(path))
		return;
	if (each_entry(f, path, visit_slave, depth) > 0)
		return;
	path[strlen(path) - strlen("/slaves")] = '\0';
	if (hostfs_read(f->fs, backing, sizeof(backing), "%s/loop/backing_file", path) > 0) {
		path_down(f, backing, depth + 1);
		return;
	}
	if (!block_name(f->fs, path, name))
		return;
	if (host_node_above(f->fs, path) >= 0) {
		add_above(f, name, path);
		return;
	}
	if (strlen(path) + sizeof("/..") <= sizeof(path) && str_starts(name, "nvme"))
		(void)each_entry(f, strcat(path, "/.."), visit_controller, depth);
}

/*
 * The device behind a mount whose files have no device of their own (btrfs): mountinfo, proc(5), by the mount's
 * number; its second last field is the source. "" none: tmpfs, NFS, overlay.
 */
static void source_of_mount(const struct hostfs *fs, uint64_t mount, char source[PATH_SIZE])
{
	_cleanup_free_ char *text = NULL;
	char *rest, *line;

	source[0] = '\0';
	if (hostfs_read_all(fs, 4u << 20, &text, NULL, "proc/self/mountinfo") < 0)
		return;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		char *fields = strstr(line, " - "), *id = strsep(&line, " "), *from;
		uint64_t number;

		if (!fields || num_parse_u64(id, &number) < 0 || number != mount)
			continue;
		fields += 3;
		(void)strsep(&fields, " "); /* the file system's type */
		from = strsep(&fields, " ");
		if (from && str_starts(from, "/dev/") && strlen(from) < PATH_SIZE)
			memcpy(source, from, strlen(from) + 1);
		return;
	}
}

static void number_down(struct finder *f, dev_t dev, int depth)
{
	char dir[64];

	(void)snprintf(dir, sizeof(dir), "sys/dev/block/%u:%u", major(dev), minor(dev)); /* fits */
	block_down(f, dir, depth);
}

/*
 * Below another root device nodes are, if anything, plain files and links, and files lie on our own disks: only the
 * name that a /dev path comes to says something there.
 */
static void captured_path_down(struct finder *f, int fd, int depth)
{
	char link[64], path[PATH_SIZE], dir[PATH_SIZE];
	const char *base;
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd); /* fits */
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return;
	path[n] = '\0';
	base = strrchr(path, '/');
	if (!str_starts(path, f->fs->root) || !str_starts(path + strlen(f->fs->root), "/dev/") || !base ||
	    (size_t)snprintf(dir, sizeof(dir), "sys/class/block%s", base) >= sizeof(dir))
		return;
	block_down(f, dir, depth);
}

/* path: absolute, of an image or a block device. */
static void path_down(struct finder *f, const char *path, int depth)
{
	_cleanup_close_ int fd = -1;
	char source[PATH_SIZE];
	struct statx mount;
	struct stat st;

	if (depth > DEPTH_MAX || ++f->visits > VISITS_MAX)
		return;
	fd = hostfs_open(f->fs, O_PATH, "%s", path + strspn(path, "/"));
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	if (S_ISBLK(st.st_mode))
		number_down(f, st.st_rdev, depth + 1);
	else if (!f->fs->real)
		captured_path_down(f, fd, depth + 1);
	else if (major(st.st_dev) != 0)
		number_down(f, st.st_dev, depth + 1);
	else if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &mount) == 0 && (mount.stx_mask & STATX_MNT_ID)) {
		source_of_mount(f->fs, mount.stx_mnt_id, source);
		if (*source)
			path_down(f, source, depth + 1);
	}
}

/* What libvirt keeps in files: pools, as they are now or as they are defined */

static xmlDoc *read_config(const struct hostfs *fs, const char *const *dirs, size_t n_dirs, const char *name)
{
	for (size_t i = 0; i < n_dirs; i++) {
		_cleanup_free_ char *text = NULL;
		size_t len;

		if (hostfs_read_all(fs, CONFIG_MAX, &text, &len, "%s/%s.xml", dirs[i], name) == 0) {
			struct err e;

			return xml_parse(text, len, CONFIG_MAX, &e); /* NULL: as if it were not there */
		}
	}
	return NULL;
}

/* The element itself, or the child of that name: a state file has it within another. */
static const xmlNode *root_named(xmlDoc *doc, const char *name)
{
	const xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;

	return root && !xml_is(root, NULL, name) ? xml_child(root, NULL, name) : root;
}

/* A volume of the pools whose volumes are files or nodes of one directory (dir, fs, logical, disk, mpath). */
static void volume_down(struct finder *f, const char *pool, const char *volume)
{
	static const char *const dirs[] = { "run/libvirt/storage", "etc/libvirt/storage" };
	_cleanup_xmldoc_ xmlDoc *doc = read_config(f->fs, dirs, ARRAY_SIZE(dirs), pool);
	const xmlNode *target = xml_child(root_named(doc, "pool"), NULL, "target");
	_cleanup_free_ char *dir = xml_text(xml_child(target, NULL, "path"));
	char path[PATH_SIZE];

	if (dir && dir[0] == '/' && (size_t)snprintf(path, sizeof(path), "%s/%s", dir, volume) < sizeof(path))
		path_down(f, path, 0);
}

/* What the definition names directly by a directory of sysfs. */
static void bus_device(struct finder *f, const char *bus, const char *name)
{
	char dir[320];

	(void)snprintf(dir, sizeof(dir), "sys/bus/%s/devices/%s", bus, name); /* fits */
	if (hostfs_exists(f->fs, "%s", dir))
		add_above(f, name, dir);
}

static void find_one(struct finder *f, const struct domain_device *d)
{
	if (d->kind != DOMAIN_DEVICE_PATH && !hostfs_is_name(d->name))
		return;
	switch (d->kind) {
	case DOMAIN_DEVICE_PCI:
		bus_device(f, "pci", d->name);
		break;
	case DOMAIN_DEVICE_MDEV:
		bus_device(f, "mdev", d->name);
		break;
	case DOMAIN_DEVICE_PATH:
		path_down(f, d->name, 0);
		break;
	case DOMAIN_DEVICE_VOLUME:
		if (hostfs_is_name(d->more))
			volume_down(f, d->name, d->more);
		break;
	case DOMAIN_DEVICE_KIND_MAX:
		break;
	}
}

void device_nodes_find(const struct hostfs *fs, const struct domain *d, const struct netdev_facts *nets,
		       struct device_nodes *ret)
{
	struct finder f = { .fs = fs, .ret = ret };

	ret->n = 0;
	for (unsigned int i = 0; i < d->n_devices; i++)
		find_one(&f, &d->devices[i]);
	for (unsigned int i = 0; i < nets->n_devices; i++)
		if (nets->devices[i].node >= 0)
			add(&f, nets->devices[i].name, nets->devices[i].node);
}

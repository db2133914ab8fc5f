/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From what the XML names to the function that does the I/O, through the links of sysfs.
 *
 * A device's directory is reached by one of sysfs' flat listings (class/block, class/net, bus/pci/devices) and then
 * left upwards with "..", which the kernel resolves behind the symlink: the first numa_node on the way that is not -1
 * is the device's (PCI functions have one, NVMe controllers, and platform and VMBus devices; a function that firmware
 * says nothing about inherits its bridge's). What is stacked is taken apart first: block devices by blockdev_walk.c,
 * bridges, bonds, VLANs and macvtaps by `lower_*` (before Linux 3.14 only `brif` and `bonding/slaves`).
 *
 * Names from the XML become parts of paths only after hostfs_is_name(). A stack may be deep, wide or circular: depth
 * and visits are bounded.
 */
#include "device.h"

#include "blockdev_walk.h"
#include "xml.h"

#define DEPTH_MAX 8    /* a bridge on a VLAN on a bond is 4 */
#define VISITS_MAX 512 /* of network devices, for one domain */
#define LEVELS_MAX 16  /* from a disk behind a SAS expander up to its PCI function: 11 */
#define PATH_SIZE 1024
#define CONFIG_MAX (64u << 10) /* of a libvirt network's XML */

struct finder {
	const struct hostfs *fs;
	struct device_nodes *ret;
	struct walk *walk; /* NULL: no path was looked at yet */
	uint64_t leaves;   /* of it, that were taken */
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

/* The node of the nearest device at or above a directory of sysfs; -1 unknown. */
static int node_above(const struct hostfs *fs, const char *dir)
{
	char path[PATH_SIZE + LEVELS_MAX * 3];
	size_t len = (size_t)snprintf(path, PATH_SIZE, "%s", dir);

	if (len >= PATH_SIZE)
		return -1;
	for (int i = 0; i < LEVELS_MAX; i++) {
		uint64_t node;

		/* "-1" is no number here. */
		if (hostfs_read_u64(fs, &node, "%s/numa_node", path) == 0 && node < HOST_NODES_MAX)
			return (int)node;
		memcpy(path + len, "/..", sizeof("/.."));
		len += 3;
	}
	return -1;
}

static void add_above(struct finder *f, const char *name, const char *dir)
{
	int node = node_above(f->fs, dir);

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

static void path_down(struct finder *f, const char *path)
{
	struct walk_found found;

	if (!f->walk)
		f->walk = walk_new(f->fs, WALK_TO_HARDWARE);
	if (!f->walk)
		return;
	walk_path(f->walk, path, &found);
	for (unsigned int i = 0; i < f->walk->n_leaves; i++)
		if (found.leaves & ~f->leaves & UINT64_C(1) << i)
			add_above(f, f->walk->leaves[i].name, f->walk->leaves[i].dir);
	f->leaves |= found.leaves;
}

static void volume_down(struct finder *f, const char *pool, const char *volume)
{
	char path[WALK_PATH], why[WALK_WHY];

	if (walk_volume(f->fs, pool, volume, path, why) == 0)
		path_down(f, path);
}

/* Network devices */

static void net_down(struct finder *f, const char *name, int depth);

static bool visit_lower(struct finder *f, const char *dir, const char *entry, int depth)
{
	(void)dir;
	if (!str_starts(entry, "lower_"))
		return false;
	/* libvirt's name for the guests' taps, of which a bridge may have a thousand: nothing is below them. */
	if (!str_starts(entry + 6, "vnet"))
		net_down(f, entry + 6, depth + 1);
	return true;
}

static bool visit_port(struct finder *f, const char *dir, const char *entry, int depth)
{
	(void)dir;
	if (!str_starts(entry, "vnet"))
		net_down(f, entry, depth + 1);
	return true;
}

static void slaves_down(struct finder *f, const char *name, int depth)
{
	char text[1024], *rest = text, *slave;

	if (hostfs_read(f->fs, text, sizeof(text), "sys/class/net/%s/bonding/slaves", name) <= 0)
		return;
	while ((slave = strsep(&rest, " ")))
		net_down(f, slave, depth + 1);
}

static void net_down(struct finder *f, const char *name, int depth)
{
	char dir[320];

	if (!hostfs_is_name(name) || depth > DEPTH_MAX || ++f->visits > VISITS_MAX)
		return;
	(void)snprintf(dir, sizeof(dir), "sys/class/net/%s/device", name); /* fits: a name has 255 bytes at most */
	if (hostfs_exists(f->fs, "%s", dir)) {
		add_above(f, name, dir);
		return;
	}
	dir[strlen(dir) - strlen("/device")] = '\0';
	if (each_entry(f, dir, visit_lower, depth) > 0)
		return;
	slaves_down(f, name, depth);
	(void)snprintf(dir, sizeof(dir), "sys/class/net/%s/brif", name); /* fits */
	(void)each_entry(f, dir, visit_port, depth);
}

/* What libvirt keeps in files: networks, as they are now or as they are defined */

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

static void attr_net_down(struct finder *f, const xmlNode *n, const char *attr)
{
	_cleanup_free_ char *name = xml_attr(n, attr);

	if (name)
		net_down(f, name, 0);
}

/* A network's bridge, what it forwards to, or the devices its macvtaps may be on. */
static void network_down(struct finder *f, const char *name)
{
	static const char *const dirs[] = { "run/libvirt/network", "etc/libvirt/qemu/networks" };
	_cleanup_xmldoc_ xmlDoc *doc = read_config(f->fs, dirs, ARRAY_SIZE(dirs), name);
	const xmlNode *network = root_named(doc, "network");
	const xmlNode *forward = xml_child(network, NULL, "forward");

	attr_net_down(f, xml_child(network, NULL, "bridge"), "name");
	attr_net_down(f, forward, "dev");
	for (const xmlNode *i = xml_child(forward, NULL, "interface"); i; i = xml_next(i, NULL, "interface"))
		attr_net_down(f, i, "dev");
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
		path_down(f, d->name);
		break;
	case DOMAIN_DEVICE_VOLUME:
		if (hostfs_is_name(d->more))
			volume_down(f, d->name, d->more);
		break;
	case DOMAIN_DEVICE_NET:
		net_down(f, d->name, 0);
		break;
	case DOMAIN_DEVICE_NETWORK:
		network_down(f, d->name);
		break;
	case DOMAIN_DEVICE_KIND_MAX:
		break;
	}
}

void device_nodes_find(const struct hostfs *fs, const struct domain *d, struct device_nodes *ret)
{
	struct finder f = { .fs = fs, .ret = ret };

	ret->n = 0;
	for (unsigned int i = 0; i < d->n_devices; i++)
		find_one(&f, &d->devices[i]);
	walk_free(f.walk);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From what the XML names to the function that does the I/O, through the links of sysfs.
 *
 * A device's directory is reached by one of sysfs' flat listings (class/block, class/net, bus/pci/devices) and then
 * left upwards with "..", which the kernel resolves behind the symlink: the first numa_node on the way that is not -1
 * is the device's (PCI functions have one, NVMe controllers, and platform and VMBus devices; a function that firmware
 * says nothing about inherits its bridge's). Stacks of block devices are taken apart by blockdev_walk.c; network
 * devices come from netdev.c.
 *
 * Names from the XML become parts of paths only after hostfs_is_name().
 */
#include "device.h"

#include "blockdev_walk.h"

struct finder {
	const struct hostfs *fs;
	struct device_nodes *ret;
	struct walk *walk; /* NULL: nothing was walked yet */
	uint64_t leaves;   /* of the walk: those that are in the list */
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
	walk_free(f.walk);
}

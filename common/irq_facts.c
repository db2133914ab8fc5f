/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices that are one PCI function (two disks of an adapter, two ports of a card) have the same vectors, and are one here,
 * under the name of the first. Disks are followed to the hardware (blockdev_walk.h): the paths of a multipath device are
 * all used.
 */
#include "irq_facts.h"

#include "blockdev_walk.h"

struct finder {
	const struct hostfs *fs;
	struct irq_facts *f;
	struct {
		uint64_t dev, ino;
	} seen[IRQ_FACTS_MAX];
	struct walk *walk;
	uint64_t leaves; /* of the walk: those that were looked up */
	int rc;
};

const char *irq_policy_of(const struct intent *in)
{
	bool isolated = in->v[KNOB_CPU_POLICY].text && streq(in->v[KNOB_CPU_POLICY].text, "isolated");

	return intent_word(in, KNOB_IRQ_POLICY, isolated ? "avoid" : "none");
}

static void add(struct finder *x, const char *name, enum irq_use use)
{
	struct irq_device d = {0};
	struct irq_fact *f;
	int r;

	for (unsigned int i = 0; i < x->f->n; i++)
		if (streq(x->f->d[i].name, name))
			return;
	if (x->f->n >= IRQ_FACTS_MAX || x->rc < 0)
		return;
	r = irq_find_device(x->fs, name, &d);
	if (r == -ENOMEM)
		x->rc = r;
	if (r < 0)
		return; /* virtual, or gone */
	for (unsigned int i = 0; i < x->f->n && d.ino; i++)
		if (x->seen[i].dev == d.dev && x->seen[i].ino == d.ino) {
			x->f->d[i].others++;
			irq_device_fini(&d);
			return;
		}
	f = &x->f->d[x->f->n];
	*f = (struct irq_fact){.use = use, .n = d.set.n, .node = d.node};
	memcpy(f->name, d.name, sizeof(f->name));
	x->seen[x->f->n].dev = d.dev;
	x->seen[x->f->n++].ino = d.ino;
	irq_device_fini(&d);
}

static void add_disk(struct finder *x, const char *path)
{
	struct walk_found found;

	if (!x->walk)
		x->walk = walk_new(x->fs, WALK_TO_HARDWARE);
	if (!x->walk) {
		x->rc = -ENOMEM;
		return;
	}
	walk_path(x->walk, path, &found);
	for (unsigned int i = 0; i < x->walk->n_leaves; i++)
		if (found.leaves & ~x->leaves & UINT64_C(1) << i)
			add(x, x->walk->leaves[i].name, IRQ_USE_DISK);
	x->leaves |= found.leaves;
}

static void add_device(struct finder *x, const struct domain_device *d)
{
	char path[WALK_PATH], why[WALK_WHY];

	switch (d->kind) {
	case DOMAIN_DEVICE_PCI:
		if (hostfs_is_name(d->name))
			add(x, d->name, IRQ_USE_PASSED);
		break;
	case DOMAIN_DEVICE_PATH:
		add_disk(x, d->name);
		break;
	case DOMAIN_DEVICE_VOLUME:
		if (hostfs_is_name(d->name) && hostfs_is_name(d->more) &&
		    walk_volume(x->fs, d->name, d->more, path, why) == 0)
			add_disk(x, path);
		break;
	case DOMAIN_DEVICE_MDEV: /* its parent's, which are everybody's */
	case DOMAIN_DEVICE_KIND_MAX:
		break;
	}
}

int irq_facts_find(const struct hostfs *fs, const struct domain *d, const struct netdev_facts *nets,
		   struct irq_facts *ret)
{
	struct finder x = {.fs = fs, .f = ret};
	struct irq_set all = {0};

	*ret = (struct irq_facts){0};
	if (irq_find_all(fs, &all) == -ENOMEM)
		return -ENOMEM;
	ret->n_all = all.n;
	free(all.irq);
	if (!ret->n_all)
		return 0;
	for (unsigned int i = 0; i < nets->n_interfaces; i++)
		for (unsigned int k = 0; k < nets->interfaces[i].n; k++)
			add(&x, nets->devices[nets->interfaces[i].uplinks[k]].name, IRQ_USE_UPLINK);
	for (unsigned int i = 0; i < d->n_devices; i++)
		add_device(&x, &d->devices[i]);
	walk_free(x.walk);
	return x.rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What each kind of interface is connected to, and from there down (netdev_walk.c). Interfaces with the same source
 * are looked at once: a guest's are mostly on one bridge or network.
 */
#include "netdev_priv.h"

#include "host.h"
#include "knob.h"

struct finder {
	const struct hostfs *fs;
	struct netdev_facts *facts;
	struct netdev_walk walk;
};

/* ---- devices ---- */

/* speed is in Mbit/s, -1 or an error where it is not known (speed_show(), net/core/net-sysfs.c). */
static uint64_t read_speed(const struct hostfs *fs, const char *name)
{
	uint64_t mbit;

	if (hostfs_read_u64(fs, &mbit, "sys/class/net/%s/speed", name) < 0 || mbit >= INT32_MAX)
		return 0;
	return mbit * 1000000;
}

static unsigned int count_queues(const struct hostfs *fs, const char *name)
{
	_cleanup_closedir_ DIR *d = hostfs_opendir(fs, "sys/class/net/%s/queues", name);
	struct dirent *entry;
	unsigned int n = 0;

	while (d && (entry = readdir(d)))
		n += str_starts(entry->d_name, "tx-");
	return n;
}

static void fill_device(const struct hostfs *fs, const struct netdev_leaf *l, struct netdev *ret)
{
	char dir[64];
	uint64_t index, mtu;

	*ret = (struct netdev){.node = -1};
	memcpy(ret->name, l->name, sizeof(ret->name));
	if (hostfs_read_u64(fs, &index, "sys/class/net/%s/ifindex", l->name) == 0 && index <= INT32_MAX)
		ret->ifindex = (unsigned int)index;
	if (hostfs_read_u64(fs, &mtu, "sys/class/net/%s/mtu", l->name) == 0 && mtu <= INT32_MAX)
		ret->mtu = (unsigned int)mtu;
	ret->n_txq = count_queues(fs, l->name);
	if (l->is_veth)
		return; /* its speed is made up */
	ret->speed = read_speed(fs, l->name);
	(void)snprintf(dir, sizeof(dir), "sys/class/net/%s/device", l->name); /* fits */
	ret->node = host_node_above(fs, dir);
}

/* Index of a device in the facts; -1: there is no room. */
static int add_device(struct finder *f, const struct netdev_leaf *l)
{
	struct netdev_facts *facts = f->facts;

	for (unsigned int i = 0; i < facts->n_devices; i++)
		if (streq(facts->devices[i].name, l->name))
			return (int)i;
	if (facts->n_devices >= NETDEV_MAX)
		return -1;
	fill_device(f->fs, l, &facts->devices[facts->n_devices]);
	return (int)facts->n_devices++;
}

/* What the walk has come to. False: nothing that carries the traffic out. */
static bool take_leaves(struct finder *f, enum netdev_way way, struct netdev_interface *r)
{
	for (unsigned int i = 0; i < f->walk.n_leaves; i++) {
		const struct netdev_leaf *l = &f->walk.leaves[i];
		int index = add_device(f, l);

		if (index >= 0 && !l->is_tunnelled && r->n < NETDEV_MAX)
			r->uplinks[r->n++] = (unsigned int)index;
	}
	r->way = r->n ? way : NETDEV_NONE;
	return r->n > 0;
}

/* ---- ways ---- */

static void set_name(char ret[NETDEV_NAME], const char *name)
{
	if (netdev_is_name(name))
		memcpy(ret, name, strlen(name) + 1);
}

static void go_direct(struct finder *f, const char *dev, struct netdev_interface *r)
{
	netdev_walk(&f->walk, dev);
	(void)take_leaves(f, NETDEV_DIRECT, r);
}

/* By the host's routes. dev: the owner's choice, NULL none. */
static void go_routed(struct finder *f, const char *dev, bool ipv4, bool ipv6, struct netdev_interface *r)
{
	char found[2][NETDEV_NAME] = {"", ""};

	if (dev) {
		set_name(found[0], dev);
	} else {
		if (ipv4 || !ipv6)
			netdev_default_ipv4(f->fs, found[0]);
		if (ipv6 || !found[0][0])
			netdev_default_ipv6(f->fs, found[1]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(found); i++)
		if (found[i][0] && !(i && streq(found[i], found[0])))
			netdev_walk(&f->walk, found[i]);
	if (!found[0][0] && !found[1][0])
		netdev_obstacle(&f->walk, "the host routes its traffic, and has no default route");
	(void)take_leaves(f, NETDEV_ROUTED, r);
}

static bool has_physical(const struct netdev_walk *w)
{
	for (unsigned int i = 0; i < w->n_leaves; i++)
		if (!w->leaves[i].is_veth && !w->leaves[i].is_tunnelled)
			return true;
	return false;
}

/*
 * A bridge that is the host's way to a subnet, but not to everywhere, and has no ports or those of containers only:
 * traffic is routed on.
 */
static bool is_gateway(const struct finder *f, const char *bridge)
{
	char dev[NETDEV_NAME];

	if (has_physical(&f->walk) || !netdev_is_routed(f->fs, bridge))
		return false;
	netdev_default_ipv4(f->fs, dev);
	return dev[0] ? !streq(dev, bridge) : f->walk.n_leaves == 0;
}

static void go_bridged(struct finder *f, const char *bridge, struct netdev_interface *r)
{
	char shown[KNOB_SHOW_SIZE];

	set_name(r->bridge, bridge);
	netdev_walk(&f->walk, bridge);
	if (r->bridge[0] && is_gateway(f, bridge)) {
		netdev_walk_reset(&f->walk);
		go_routed(f, NULL, true, false, r);
		return;
	}
	if (take_leaves(f, NETDEV_BRIDGED, r) || !r->bridge[0])
		return;
	if (!hostfs_exists(f->fs, "sys/class/net/%s/bridge", bridge) &&
	    hostfs_exists(f->fs, "sys/class/net/%s", bridge) && hostfs_exists(f->fs, "sys/class/net/ovs-system"))
		(void)snprintf(f->walk.why, sizeof(f->walk.why),
			       "'%s' is no bridge of the kernel's, Open vSwitch decides", knob_show(bridge, shown));
}

static void is_open_vswitch(struct finder *f, const char *bridge)
{
	char shown[KNOB_SHOW_SIZE];

	netdev_obstacle(&f->walk, "it is a port of Open vSwitch bridge '%s', whose flows decide where traffic goes",
			knob_show(bridge, shown));
}

/* ---- kinds ---- */

typedef int resolver(struct finder *f, const struct domain_interface *i, struct netdev_interface *r);

static int find_bridge(struct finder *f, const struct domain_interface *i, struct netdev_interface *r)
{
	if (i->has & INTERFACE_IS_OVS)
		is_open_vswitch(f, i->source);
	else
		go_bridged(f, i->source, r);
	return 0;
}

static int find_direct(struct finder *f, const struct domain_interface *i, struct netdev_interface *r)
{
	go_direct(f, i->source, r);
	return 0;
}

/* The devices of a pool, or the one that libvirt has chosen for this guest. */
static void go_pool(struct finder *f, const struct domain_interface *i, const struct netdev_network *net,
		    struct netdev_interface *r)
{
	char shown[KNOB_SHOW_SIZE];

	if (*i->more) {
		go_direct(f, i->more, r);
		return;
	}
	for (unsigned int k = 0; k < net->n_devices; k++)
		netdev_walk(&f->walk, net->devices[k]);
	if (net->n_devices == 0)
		netdev_obstacle(&f->walk, "network '%s' names no device", knob_show(i->source, shown));
	(void)take_leaves(f, NETDEV_DIRECT, r);
}

/* What the running domain's XML says of a network that is not known here. */
static void go_unknown(struct finder *f, const struct domain_interface *i, struct netdev_interface *r)
{
	char shown[KNOB_SHOW_SIZE];

	if (netdev_is_name(i->more) && hostfs_exists(f->fs, "sys/class/net/%s/bridge", i->more))
		go_bridged(f, i->more, r);
	else if (netdev_is_name(i->more))
		go_direct(f, i->more, r);
	else
		netdev_obstacle(&f->walk, "network '%s' is not known here", knob_show(i->source, shown));
}

static int find_network(struct finder *f, const struct domain_interface *i, struct netdev_interface *r)
{
	char shown[KNOB_SHOW_SIZE];
	struct netdev_network net;
	int e = netdev_network_read(f->fs, i->source, &net);

	if (e == -ENOMEM)
		return e;
	if (e < 0) {
		go_unknown(f, i, r);
		return 0;
	}
	if (net.is_ovs || (i->has & INTERFACE_IS_OVS)) {
		is_open_vswitch(f, net.bridge[0] ? net.bridge : i->source);
		return 0;
	}
	switch (net.forward) {
	case FORWARD_ISOLATED:
		set_name(r->bridge, net.bridge);
		netdev_obstacle(&f->walk, "network '%s' is isolated", knob_show(i->source, shown));
		break;
	case FORWARD_ROUTED:
		set_name(r->bridge, net.bridge);
		go_routed(f, net.n_devices ? net.devices[0] : NULL, net.ipv4, net.ipv6, r);
		break;
	case FORWARD_BRIDGE:
		go_bridged(f, net.bridge, r);
		break;
	case FORWARD_DIRECT:
		go_pool(f, i, &net, r);
		break;
	case FORWARD_FUNCTION:
		netdev_obstacle(&f->walk, "network '%s' gives each guest a PCI function", knob_show(i->source, shown));
		break;
	}
	return 0;
}

/* A tap that somebody else has connected: by then it has a master, or a route. */
static void go_from_tap(struct finder *f, const char *tap, struct netdev_interface *r)
{
	char dir[64], master[32];

	(void)snprintf(dir, sizeof(dir), "sys/class/net/%s/master", tap); /* fits: it is a name */
	netdev_uevent(f->fs, dir, "INTERFACE", master);
	if (streq(master, "ovs-system"))
		netdev_obstacle(&f->walk,
				"its tap '%s' is a port of Open vSwitch, whose flows decide where traffic goes", tap);
	else if (master[0])
		go_bridged(f, master, r);
	else if (netdev_is_routed(f->fs, tap))
		go_routed(f, NULL, true, false, r);
	else
		netdev_obstacle(&f->walk, "its tap '%s' is connected to nothing", tap);
}

static int find_tap(struct finder *f, const struct domain_interface *i, struct netdev_interface *r)
{
	char shown[KNOB_SHOW_SIZE];

	if (netdev_is_name(i->target) && hostfs_exists(f->fs, "sys/class/net/%s", i->target))
		go_from_tap(f, i->target, r);
	else
		netdev_obstacle(&f->walk, "its tap '%s' is not there yet, and others connect it",
				knob_show(i->target, shown));
	return 0;
}

static int find_function(struct finder *f, const struct domain_interface *i, struct netdev_interface *r)
{
	char shown[KNOB_SHOW_SIZE];

	(void)r;
	netdev_obstacle(&f->walk, "it is a PCI function of the guest's own (%s)", knob_show(i->source, shown));
	return 0;
}

static int find_other(struct finder *f, const struct domain_interface *i, struct netdev_interface *r)
{
	char shown[KNOB_SHOW_SIZE];

	(void)r;
	netdev_obstacle(&f->walk, "an interface of type '%s' has no tap", knob_show(i->type, shown));
	return 0;
}

static resolver *const resolvers[] = {
	[DOMAIN_INTERFACE_OTHER] = find_other,     [DOMAIN_INTERFACE_BRIDGE] = find_bridge,
	[DOMAIN_INTERFACE_NETWORK] = find_network, [DOMAIN_INTERFACE_DIRECT] = find_direct,
	[DOMAIN_INTERFACE_ETHERNET] = find_tap,    [DOMAIN_INTERFACE_HOSTDEV] = find_function,
};

static bool is_same(const struct domain_interface *a, const struct domain_interface *b)
{
	return a->kind == b->kind && streq(a->source, b->source) && streq(a->more, b->more) &&
	       ((a->has ^ b->has) & INTERFACE_IS_OVS) == 0 && streq(a->type, b->type) &&
	       (a->kind != DOMAIN_INTERFACE_ETHERNET || streq(a->target, b->target));
}

static int find_one(struct finder *f, const struct domain *d, unsigned int at)
{
	struct netdev_interface *all = f->facts->interfaces;
	int r;

	for (unsigned int i = 0; i < at; i++)
		if (is_same(&d->interfaces[i], &d->interfaces[at])) {
			all[at] = all[i];
			return 0;
		}
	netdev_walk_reset(&f->walk);
	r = resolvers[d->interfaces[at].kind](f, &d->interfaces[at], &all[at]);
	if (all[at].way == NETDEV_NONE)
		memcpy(all[at].why, f->walk.why, sizeof(all[at].why));
	return r;
}

int netdev_find(const struct hostfs *fs, const struct domain *d, struct netdev_facts *ret)
{
	struct finder f = {.fs = fs, .facts = ret, .walk = {.fs = fs}};
	int r = 0;

	*ret = (struct netdev_facts){0};
	if (d->n_interfaces == 0)
		return 0;
	ret->interfaces = calloc(d->n_interfaces, sizeof(ret->interfaces[0]));
	if (!ret->interfaces)
		return -ENOMEM;
	ret->n_interfaces = d->n_interfaces;
	for (unsigned int i = 0; i < d->n_interfaces && r == 0; i++)
		r = find_one(&f, d, i);
	if (r < 0)
		netdev_fini(ret);
	return r;
}

void netdev_fini(struct netdev_facts *f)
{
	free(f->interfaces);
	*f = (struct netdev_facts){0};
}

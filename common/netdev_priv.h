/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between the parts of netdev: netdev.c, and those named below. */
#pragma once

#include "netdev.h"

#define NETDEV_WHY 160
#define NETDEV_STACKED_MAX 256 /* devices without hardware whose directories are listed for one interface: 30 us each */
#define NETDEV_VISITS_MAX 2048 /* devices looked at for one domain, 10 us each (measured) */

/* A name that a network device can have (net/core/dev.c, dev_valid_name(), as far as paths go). */
bool netdev_is_name(const char *text);
/*
 * A value of a device's uevent (net/core/net-sysfs.c, netdev_uevent()): INTERFACE is its name, DEVTYPE the kind of a
 * stacked one ("vlan", "bridge", "vxlan", ...). dir: a directory of sysfs. "" it is not there.
 */
void netdev_uevent(const struct hostfs *fs, const char *dir, const char *key, char ret[32]);

/* ---- netdev_walk.c ---- */

/* Where a way down ends. */
struct netdev_leaf {
	char name[NETDEV_NAME];
	bool is_veth;      /* else physical */
	bool is_tunnelled; /* reached through a tunnel: the packets there are the host's own */
};

struct netdev_walk {
	const struct hostfs *fs;
	unsigned int visits; /* of all walks for one domain */
	struct netdev_leaf known[NETDEV_MAX]; unsigned int n_known; /* ends of all walks */
	struct {
		char name[NETDEV_NAME];
		bool tunnelled;
	} seen[NETDEV_STACKED_MAX]; unsigned int n_seen; /* stacked devices of this walk */
	unsigned int tunnels; /* that the walk is in */
	struct netdev_leaf leaves[NETDEV_MAX]; unsigned int n_leaves;    /* ends of this walk, each once */
	char why[NETDEV_WHY]; /* what stood in the way first; "" nothing did */
};

/* Forget leaves, what was seen, and why. */
void netdev_walk_reset(struct netdev_walk *w);
/* Add what is below a device. A name that is none, a device that is not there: said in why. */
void netdev_walk(struct netdev_walk *w, const char *name);
/* The first reason counts. */
void netdev_obstacle(struct netdev_walk *w, const char *fmt, ...) PRINTF(2, 3);

/* ---- netdev_network.c ---- */

enum netdev_forward {
	FORWARD_ISOLATED,
	FORWARD_ROUTED, /* nat, route, open */
	FORWARD_BRIDGE, /* an existing bridge */
	FORWARD_DIRECT, /* bridge, private, vepa, passthrough: macvtaps on devices of a pool */
	FORWARD_FUNCTION, /* hostdev */
};

/* A libvirt network, as far as traffic needs it. */
struct netdev_network {
	enum netdev_forward forward;
	bool is_ovs;
	bool ipv4, ipv6; /* it has addresses of that family */
	char bridge[NETDEV_NAME];
	char devices[NETDEV_MAX][NETDEV_NAME]; unsigned int n_devices; /* of <forward> */
};

/* As it is now, else as it is defined. -ENOENT: there is none of that name; -EBADMSG; -ENOMEM; as reading. */
int netdev_network_read(const struct hostfs *fs, const char *name, struct netdev_network *ret);

/* ---- netdev_route.c ---- */

/* The device of the default route; "" there is none, or it cannot be read. */
void netdev_default_ipv4(const struct hostfs *fs, char dev[NETDEV_NAME]);
void netdev_default_ipv6(const struct hostfs *fs, char dev[NETDEV_NAME]);
/* Whether the host forwards IPv4 packets that come in from a device, and has a route back to it. */
bool netdev_is_routed(const struct hostfs *fs, const char *dev);

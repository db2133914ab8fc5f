/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a domain's interface to the device that carries its traffic out of the host: the ports of its bridge, the
 * device below its macvtap, the slaves of a bond, the lower device of a VLAN, what a libvirt network forwards to
 * (routed and NAT: the device of the route). Reads sysfs, proc and libvirt's own files; bounded; no netlink.
 */
#pragma once

#include "domain.h"
#include "hostfs.h"

#define NETDEV_NAME 16 /* IFNAMSIZ, include/uapi/linux/if.h */
#define NETDEV_MAX 32  /* uplinks of one domain */

/* How traffic gets from the guest to the uplink: it decides what can tell it apart there. */
enum netdev_way {
	NETDEV_NONE,    /* no uplink: why says it */
	NETDEV_BRIDGED, /* through a bridge: skb->priority survives, and the guest's MAC is seen */
	NETDEV_ROUTED,  /* forwarded by the host (routed, NAT): only a mark survives */
	NETDEV_DIRECT,  /* macvtap: the guest's MAC is seen, there is no tap whose ingress could mark */
};

/* An uplink: physical (it has a device), or veth. */
struct netdev {
	char name[NETDEV_NAME];
	unsigned int ifindex;
	uint64_t speed;      /* bit/s, 0 not known (virtual devices, no carrier) */
	unsigned int n_txq;  /* transmit queues */
	int node;            /* NUMA node, -1 not known */
};

struct netdev_interface {
	enum netdev_way way;
	unsigned int uplinks[NETDEV_MAX]; unsigned int n; /* indices of netdev_facts.devices; more than one: a bond, or a bridge with several */
	char bridge[NETDEV_NAME];  /* "" none */
	char why[160];             /* way NETDEV_NONE: a clause */
};

struct netdev_facts {
	struct netdev devices[NETDEV_MAX]; unsigned int n_devices;
	struct netdev_interface *interfaces; unsigned int n_interfaces; /* as domain.interfaces, by index */
};

/* Only -ENOMEM is an error. *ret is zeroed on failure. */
int netdev_find(const struct hostfs *fs, const struct domain *d, struct netdev_facts *ret);
void netdev_fini(struct netdev_facts *f);

/* A running domain's tap or macvtap, as QEMU has it open. */
struct netdev_tap {
	char mac[18];          /* lower case */
	char alias[64];        /* QEMU's id of the device */
	char name[NETDEV_NAME];
	unsigned int ifindex;
};

/*
 * From the command line (-netdev and -device) and /proc/PID/fd, fdinfo ("iff:", drivers/net/tun.c) of the process;
 * links no XML parser. Returns how many (*ret is malloc'ed), or -ESRCH, -ENOMEM. Below another root: what is in files.
 */
int netdev_taps(const struct hostfs *fs, int pid, struct netdev_tap **ret);

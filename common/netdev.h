/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a domain's interface to the device that carries its traffic out of the host: the ports of its bridge, the
 * device below its macvtap, the slaves of a bond, the lower device of a VLAN, what a libvirt network forwards to
 * (routed and NAT: the device of the route). Reads sysfs, proc and libvirt's own files; bounded; no netlink.
 *
 * A stack is followed down to the devices that have a queue. Bridges, bonds, teams, VLANs and macvtaps' lower devices
 * that are one of those are IFF_NO_QUEUE (br_dev_setup(), bond_setup(), team_setup(), vlan_setup()): their root qdisc
 * is noqueue, and each packet goes on to dev_queue_xmit() of the device below (br_dev_queue_push_xmit(),
 * bond_dev_queue_xmit(), team_dev_queue_xmit(), vlan_dev_hard_start_xmit()), with skb->priority and skb->mark as they
 * were. So of a bond or team all slaves are uplinks: only a slave's driver stops its queue when the ring is full, so
 * that a class there gets its share of what the link really does, whatever the hash makes of it, and with active-backup
 * the class is there already when the other slave takes over. What that means for a rate: it holds on each slave. (A
 * qdisc on the bond itself would see no back pressure, and one lock would be taken by the queues of all slaves.) In
 * modes balance-tlb and balance-alb the slave may put its own address in place of the guest's.
 *
 * The walk ends at a veth, whose peer may be in another network namespace; a bridge's veth ports count only where no
 * port leads to a physical device, and not where the bridge is the host's way to a subnet that it routes for (then they
 * are containers'). Taps are guests' ports, never uplinks.
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
	unsigned int mtu;    /* bytes, 0 not known */
	int node;            /* NUMA node, -1 not known */
};

struct netdev_interface {
	enum netdev_way way;
	/* Indices of netdev_facts.devices; several: a bond, a bridge with several ports, a network that takes turns. */
	unsigned int uplinks[NETDEV_MAX]; unsigned int n;
	char bridge[NETDEV_NAME];  /* that its tap is a port of, also of a routed network; "" none */
	char why[160];             /* way NETDEV_NONE: a clause */
};

struct netdev_facts {
	/* Each once. A device that only a tunnel leads to is here (for its node), and nobody's uplink. */
	struct netdev devices[NETDEV_MAX]; unsigned int n_devices;
	struct netdev_interface *interfaces; unsigned int n_interfaces; /* as domain.interfaces, by index */
};

/* Only -ENOMEM is an error. *ret is zeroed on failure. */
int netdev_find(const struct hostfs *fs, const struct domain *d, struct netdev_facts *ret);
void netdev_fini(struct netdev_facts *f);

/* A running domain's tap or macvtap, as QEMU has it open. */
struct netdev_tap {
	char mac[18];          /* lower case: the guest's; of a hot-plugged one the host device's, see netdev_tap_is() */
	char alias[64];        /* QEMU's id of the device; "" of one that was hot-plugged */
	char name[NETDEV_NAME];
	unsigned int ifindex;
};

/*
 * From the command line (-netdev and -device) and /proc/PID/fd, fdinfo ("iff:", drivers/net/tun.c) of the process;
 * links no XML parser. Those that the command line does not name were hot-plugged: libvirt passes their descriptors and
 * devices over the monitor. Each device once, however many queues it has open, in no certain order. Returns how many
 * (*ret is malloc'ed), or -ESRCH, -ENOMEM. Below another root: what is in files.
 */
int netdev_taps(const struct hostfs *fs, int pid, struct netdev_tap **ret);
/*
 * Those that the command line names only: all of a guest that has just been started. Costs nothing for other
 * descriptors, where netdev_taps() takes some 10 us for each (measured), which is milliseconds for a large guest.
 */
int netdev_taps_of_start(const struct hostfs *fs, int pid, struct netdev_tap **ret);

/* The index of a device by its name; 0: there is none. One system call on the real host. */
unsigned int netdev_index(const struct hostfs *fs, const char *name);

/*
 * Whether it is the interface with this MAC (lower case). libvirt gives a tap the guest's MAC with fe as the first byte
 * (src/util/virnetdevtap.c), and refuses guests that have such a MAC; a macvtap has the guest's.
 */
bool netdev_tap_is(const struct netdev_tap *t, const char *mac);

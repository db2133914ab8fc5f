/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is there of a network device's traffic control and rings, for who decides. Read only, over netlink: below
 * another root than "/" there is none (-EOPNOTSUPP), nor without libnl.
 */
#pragma once

#include "hostfs.h"

/* The queueing discipline at a device's root. Kinds: Documentation of tc(8); "noqueue" where the device has none. */
struct net_root {
	char kind[16];      /* "mq", "fq_codel", "htb", ... */
	uint32_t handle;    /* MAJOR << 16 */
	bool is_default;    /* nobody configured it: the kernel's own have the handle 0: */
	bool is_ours;       /* the tree of uplinks or the limit of taps */
	unsigned tx_queues; /* transmit queues the device was made with; "mq" has a leaf for each in use */
};

/* -ENODEV: no such device; -EOPNOTSUPP. */
int net_root_read(const struct hostfs *fs, const char *dev, struct net_root *ret);

/* Descriptors in the rings of a NIC, and the most that it takes. Virtual devices have none: 0 in all four. */
struct net_rings {
	uint32_t rx, tx, rx_max, tx_max;
};

/* -ENODEV; -EOPNOTSUPP: no netlink, no ethtool netlink (before Linux 5.7). */
int net_ring_read(const struct hostfs *fs, const char *dev, struct net_rings *ret);

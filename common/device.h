/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The NUMA nodes of the devices a domain uses, where the host knows them: `numa_node` of a passed-through PCI function
 * (Documentation/ABI/testing/sysfs-bus-pci), of the block device an image lies on (down through partitions, device
 * mapper and md to the physical devices), and of the network devices that carry an interface's traffic out (netdev.h).
 * What has no node (-1, virtual devices, network disks) is not in the list.
 */
#pragma once

#include "domain.h"
#include "hostfs.h"
#include "netdev.h"
#include "place.h"

#define DEVICE_NODES_MAX 64

struct device_nodes {
	struct place_device d[DEVICE_NODES_MAX]; unsigned int n;
	char names[DEVICE_NODES_MAX][64];
};

/* Reads sysfs and the images' file system; what cannot be read is left out. No error. */
void device_nodes_find(const struct hostfs *fs, const struct domain *d, const struct netdev_facts *nets,
		       struct device_nodes *ret);

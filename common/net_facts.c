/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "net_facts.h"

#include "netinfo.h"

static void read_nic(const struct hostfs *fs, const char *dev, struct plan_nic *ret)
{
	struct net_root root;
	struct net_rings rings;

	if (net_root_read(fs, dev, &root) == 0) {
		memcpy(ret->root, root.kind, sizeof(ret->root));
		ret->handle = root.is_default ? 0 : root.handle;
		ret->is_ours = root.is_ours;
	}
	if (net_ring_read(fs, dev, &rings) == 0) {
		ret->rx = rings.rx;
		ret->tx = rings.tx;
		ret->rx_max = rings.rx_max;
		ret->tx_max = rings.tx_max;
	}
}

void net_facts_read(const struct hostfs *fs, const struct netdev_facts *nets, struct plan_nic ret[NETDEV_MAX])
{
	bool wanted[NETDEV_MAX] = {false};

	memset(ret, 0, NETDEV_MAX * sizeof(*ret));
	for (unsigned int i = 0; i < nets->n_interfaces; i++)
		for (unsigned int k = 0; k < nets->interfaces[i].n; k++)
			if (nets->interfaces[i].uplinks[k] < nets->n_devices)
				wanted[nets->interfaces[i].uplinks[k]] = true;
	for (unsigned int i = 0; i < nets->n_devices; i++)
		if (wanted[i])
			read_nic(fs, nets->devices[i].name, &ret[i]);
}

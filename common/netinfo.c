/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "be_net_priv.h"

static void take_queues(struct nl_msg *msg, unsigned int which, void *arg)
{
	struct nlattr *attrs[IFLA_NUM_TX_QUEUES + 1];
	unsigned *ret = arg;

	(void)which;
	if (nl.nlmsg_parse(nl.nlmsg_hdr(msg), sizeof(struct ifinfomsg), attrs, IFLA_NUM_TX_QUEUES, NULL) == 0)
		*ret = nl_get_u32(attrs[IFLA_NUM_TX_QUEUES]);
}

static int read_queues(int ifindex, unsigned *ret)
{
	const struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_index = ifindex};
	struct nl_batch b = {0};
	int r;

	nl_ask(&b, RTM_GETLINK, 0);
	nl_append(&b, &info, sizeof(info));
	r = nl_exchange(&b, take_queues, ret);
	return r < 0 ? r : net_first_failure(&b, 0);
}

int net_root_read(const struct hostfs *fs, const char *dev, struct net_root *ret)
{
	struct net_root root;
	unsigned queues = 0;
	int ifindex, r;

	if (!fs->real)
		return -EOPNOTSUPP;
	ifindex = nl_device_index(dev);
	if (ifindex < 0)
		return ifindex;
	r = net_read_tc(ifindex, NULL, 0, &root, NULL);
	if (r == 0)
		r = read_queues(ifindex, &queues);
	if (r < 0)
		return r;
	root.tx_queues = queues;
	*ret = root;
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <linux/ethtool_netlink.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include "netinfo_priv.h"

void net_put_tc(struct nl_batch *b, int ifindex, uint32_t parent, uint32_t handle, uint32_t info)
{
	const struct tcmsg tc = {
		.tcm_family = AF_UNSPEC,
		.tcm_ifindex = ifindex,
		.tcm_parent = parent,
		.tcm_handle = handle,
		.tcm_info = info,
	};

	nl_append(b, &tc, sizeof(tc));
}

bool net_is_htb(const struct net_root *root)
{
	return streq(root->kind, "htb") && TC_H_MAJ(root->handle);
}

void net_take_root(struct nl_msg *msg, struct net_root *ret)
{
	struct nlmsghdr *header = nl.nlmsg_hdr(msg);
	struct nlattr *attrs[TCA_MAX + 1];
	const struct tcmsg *tc = nl.nlmsg_data(header);

	if (nl.nlmsg_parse(header, sizeof(*tc), attrs, TCA_MAX, NULL) < 0)
		return;
	ret->handle = tc->tcm_handle;
	ret->is_default = TC_H_MAJ(tc->tcm_handle) == 0;
	(void)snprintf(ret->kind, sizeof(ret->kind), "%s", nl_get_string(attrs[TCA_KIND]));
	ret->is_ours = net_is_htb(ret) && (ret->handle == NET_TREE_ROOT || ret->handle == NET_LIMIT_ROOT);
}

void net_ask_root(struct nl_batch *b, int ifindex)
{
	nl_ask(b, RTM_GETQDISC, 0);
	net_put_tc(b, ifindex, TC_H_ROOT, 0, 0);
}

/* The kernel has no words for the built-in ones: EINVAL or nothing, ENOENT while the device is being set up. */
int net_root_result(int code)
{
	return code == -EINVAL || code == -ENOENT ? 0 : code;
}

static void take_link(struct nl_msg *msg, struct net_root *ret)
{
	struct nlattr *attrs[IFLA_NUM_TX_QUEUES + 1];

	if (nl.nlmsg_parse(nl.nlmsg_hdr(msg), sizeof(struct ifinfomsg), attrs, IFLA_NUM_TX_QUEUES, NULL) == 0)
		ret->tx_queues = nl_get_u32(attrs[IFLA_NUM_TX_QUEUES]);
}

enum { ROOT, LINK };

static void take_root_and_link(struct nl_msg *msg, unsigned int which, void *arg)
{
	if (which == ROOT)
		net_take_root(msg, arg);
	else
		take_link(msg, arg);
}

int net_root_read(const struct hostfs *fs, const char *dev, struct net_root *ret)
{
	struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
	struct net_root root = NET_NO_ROOT;
	struct nl_batch b = {0};
	int r;

	if (!fs->real)
		return -EOPNOTSUPP;
	info.ifi_index = nl_device_index(dev);
	if (info.ifi_index < 0)
		return info.ifi_index;
	net_ask_root(&b, info.ifi_index);
	nl_ask(&b, RTM_GETLINK, 0);
	nl_append(&b, &info, sizeof(info));
	r = nl_exchange(&b, take_root_and_link, &root);
	if (r == 0)
		r = net_root_result(b.codes[ROOT]);
	if (r == 0)
		r = b.codes[LINK];
	if (r == 0)
		*ret = root;
	return r;
}

void net_start_rings(struct nl_batch *b, int family, int command, int ifindex, bool is_change)
{
	const struct genlmsghdr header = {.cmd = (uint8_t)command, .version = ETHTOOL_GENL_VERSION};
	struct nlattr *nest;

	b->is_generic = true;
	if (is_change)
		nl_change(b, family, 0);
	else
		nl_ask(b, family, 0);
	nl_append(b, &header, sizeof(header));
	nest = nl_nest(b, NLA_F_NESTED | ETHTOOL_A_RINGS_HEADER);
	nl_put_u32(b, ETHTOOL_A_HEADER_DEV_INDEX, (uint32_t)ifindex);
	nl_nest_end(b, nest);
}

static void take_rings(struct nl_msg *msg, unsigned int which, void *arg)
{
	struct nlattr *attrs[ETHTOOL_A_RINGS_TX + 1];
	struct net_rings *ret = arg;

	(void)which;
	if (nl.nlmsg_parse(nl.nlmsg_hdr(msg), GENL_HDRLEN, attrs, ETHTOOL_A_RINGS_TX, NULL) < 0)
		return;
	ret->rx = nl_get_u32(attrs[ETHTOOL_A_RINGS_RX]);
	ret->tx = nl_get_u32(attrs[ETHTOOL_A_RINGS_TX]);
	ret->rx_max = nl_get_u32(attrs[ETHTOOL_A_RINGS_RX_MAX]);
	ret->tx_max = nl_get_u32(attrs[ETHTOOL_A_RINGS_TX_MAX]);
}

int net_read_rings(int family, int ifindex, struct net_rings *ret)
{
	struct nl_batch b = {0};
	int r;

	*ret = (struct net_rings){0};
	net_start_rings(&b, family, ETHTOOL_MSG_RINGS_GET, ifindex, false);
	r = nl_exchange(&b, take_rings, ret);
	if (r == 0)
		r = nl_first_failure(&b, EOPNOTSUPP);
	return r;
}

int net_ring_read(const struct hostfs *fs, const char *dev, struct net_rings *ret)
{
	struct net_rings rings;
	int ifindex, family, r;

	if (!fs->real)
		return -EOPNOTSUPP;
	ifindex = nl_device_index(dev);
	if (ifindex < 0)
		return ifindex;
	family = nl_ethtool();
	if (family < 0)
		return family;
	r = net_read_rings(family, ifindex, &rings);
	if (r == 0)
		*ret = rings;
	return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Roots and rings as questions: netinfo.c for who decides, back end "net" (be_net*.c) for who acts. */
#pragma once

#include "netinfo.h"
#include "nl.h"

/* Handles of our roots: the tree on an uplink, the limit on a tap. */
#define NET_TREE_ROOT  0xd0700000u
#define NET_LIMIT_ROOT 0xd0710000u

/* Fixed part of a traffic control message. */
void net_put_tc(struct nl_batch *b, int ifindex, uint32_t parent, uint32_t handle, uint32_t info);

/* The root of a device: the question, the answer, and what the question's code means. NET_NO_ROOT where nothing came.
 */
void net_ask_root(struct nl_batch *b, int ifindex);
void net_take_root(struct nl_msg *msg, struct net_root *ret);
int net_root_result(int code);
#define NET_NO_ROOT ((struct net_root){.kind = "noqueue", .is_default = true})

/* Whether classes can be hung below it: HTB, ours or somebody else's. */
bool net_is_htb(const struct net_root *root);

/* A message of ethtool about a device's rings; family: nl_ethtool(). Numbers to set come behind it. */
void net_start_rings(struct nl_batch *b, int family, int command, int ifindex, bool is_change);
/* A device without rings, or one whose driver says nothing of them, has none: zeros. */
int net_read_rings(int family, int ifindex, struct net_rings *ret);

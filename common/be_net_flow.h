/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of subject "flow" share: be_net_flow.c texts and choice, _tap.c the tap's ingress, _uplink.c filters.
 */
#pragma once

#include "be_net_priv.h"

enum net_flow_kind {
	NET_FLOW_NONE,
	/* wanted */
	NET_FLOW_BRIDGED,
	NET_FLOW_ROUTED,
	NET_FLOW_DIRECT,
	/* found; the first four are ways to do it */
	NET_FLOW_PRIORITY,
	NET_FLOW_MARK,
	NET_FLOW_FLOWER,
	NET_FLOW_U32,
	NET_FLOW_MARKED, /* the tap's half of NET_FLOW_MARK: the uplink's is gone */
	NET_FLOW_FW,     /* the uplink's half: the tap's is gone, or the tap */
	NET_FLOW_KIND_MAX
};

struct net_flow {
	enum net_flow_kind kind;
	char tap[IFNAMSIZ];
	int tap_ifindex; /* 0: not said */
	uint8_t mac[6];
	uint32_t mark, mask;
	uint32_t class_id; /* found: where it leads to */
	bool has_made_ingress; /* to be made: the tap's ingress was made for it */
	bool has_action;   /* the number that a flow of this class would use at a tap is taken */
};

/*
 * At the tap: NET_FLOW_PRIORITY, and NET_FLOW_MARK with its half at the uplink, in one batch. put: -EOPNOTSUPP: the
 * kernel cannot; -ENODEV: there is no such tap. net_tap_ask() is a question whose answer net_tap_take() reads
 * into ret; kind stays NET_FLOW_NONE if it is not ours. An action outlives its filter by some milliseconds:
 * net_tap_check() looks for the filter (-ENOENT: there is none), net_tap_wait() until the action has gone (-EBUSY: it
 * stays).
 */
void net_tap_ask(struct nl_batch *b, const struct net_object *o);
void net_tap_take(struct nl_msg *msg, const struct net_object *o, struct net_flow *ret);
int net_tap_check(const struct net_object *o, int tap_ifindex);
int net_tap_wait(const struct net_object *o);
int net_tap_put(const struct net_object *o, uint32_t class_id, const struct net_flow *flow);
int net_tap_remove(const struct net_object *o, const struct net_flow *flow);

/*
 * Filters at the uplink's root, an HTB. put: -EOPNOTSUPP: no such classifier here. flower can be asked for by class; fw
 * (by mark only) and u32 are looked for by net_uplink_find(): 0, also if there is none (kind is NET_FLOW_NONE then).
 */
int net_uplink_find(const struct net_object *o, uint32_t class_id, struct net_flow *ret);

void net_flower_ask(struct nl_batch *b, const struct net_object *o);
void net_flower_take(struct nl_msg *msg, struct net_flow *ret);
int net_flower_put(const struct net_object *o, uint32_t class_id, const struct net_flow *flow);
int net_flower_remove(const struct net_object *o);

int net_fw_class(const struct net_object *o, uint32_t mark, uint32_t *ret); /* ret 0: the mark leads nowhere */
void net_fw_put(struct nl_batch *b, const struct net_object *o, uint32_t class_id, const struct net_flow *flow);
void net_fw_delete(struct nl_batch *b, const struct net_object *o, uint32_t mark);

/* One key, by its MAC; the answer counts if it leads to that class. */
void net_u32_ask(struct nl_batch *b, const struct net_object *o, const uint8_t mac[6]);
void net_u32_take(struct nl_msg *msg, uint32_t class_id, struct net_flow *ret);
int net_u32_put(const struct net_object *o, uint32_t class_id, const struct net_flow *flow);
int net_u32_remove(const struct net_object *o, uint32_t class_id);

/* tcm_info of a filter: its preference, for all protocols. */
uint32_t net_filter_info(unsigned int preference);

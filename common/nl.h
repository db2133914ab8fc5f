/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Netlink through libnl, loaded at the first use: only a domain with classes, limits or rings needs it, and linking it
 * would cost every hook phase its relocations. One route socket per process, kept until it ends.
 *
 * Requests go in batches: one send for all messages of a batch, and an answer only for questions, failures, and the
 * last message. The kernel works through a batch in order and in the sender's context (netlink_rcv_skb()), so a process
 * that is killed has sent all of it or nothing: what a batch makes needs no state in between.
 *
 * libnl 3.6 or later (64 bit rates of HTB); an older one counts as none.
 */
#pragma once

#include <netlink/attr.h>
#include <netlink/cache.h>
#include <netlink/genl/ctrl.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/object.h>
#include <netlink/route/class.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/htb.h>
#include <netlink/route/tc.h>

#include "util.h"

/* What is called of libnl-3 and libnl-route-3; libnl-genl-3 is loaded by nl_ethtool(). */
#define NL_FUNCTIONS(X)                                                                                                \
	X(nl_connect)                                                                                                  \
	X(nl_msg_parse)                                                                                                \
	X(nl_sendto)                                                                                                   \
	X(nl_socket_alloc)                                                                                             \
	X(nl_socket_free)                                                                                              \
	X(nl_socket_get_fd)                                                                                            \
	X(nla_data)                                                                                                    \
	X(nla_len)                                                                                                     \
	X(nla_nest_end)                                                                                                \
	X(nla_nest_start)                                                                                              \
	X(nla_parse_nested)                                                                                            \
	X(nla_put)                                                                                                     \
	X(nlmsg_alloc_simple)                                                                                          \
	X(nlmsg_append)                                                                                                \
	X(nlmsg_convert)                                                                                               \
	X(nlmsg_data)                                                                                                  \
	X(nlmsg_free)                                                                                                  \
	X(nlmsg_hdr)                                                                                                   \
	X(nlmsg_parse)                                                                                                 \
	X(nlmsg_set_proto)                                                                                             \
	X(rtnl_class_alloc)                                                                                            \
	X(rtnl_class_build_add_request)                                                                                \
	X(rtnl_class_put)                                                                                              \
	X(rtnl_htb_get_ceil64)                                                                                         \
	X(rtnl_htb_get_prio)                                                                                           \
	X(rtnl_htb_get_rate64)                                                                                         \
	X(rtnl_htb_get_rbuffer)                                                                                        \
	X(rtnl_htb_set_cbuffer)                                                                                        \
	X(rtnl_htb_set_ceil64)                                                                                         \
	X(rtnl_htb_set_defcls)                                                                                         \
	X(rtnl_htb_set_prio)                                                                                           \
	X(rtnl_htb_set_quantum)                                                                                        \
	X(rtnl_htb_set_rate64)                                                                                         \
	X(rtnl_htb_set_rbuffer)                                                                                        \
	X(rtnl_qdisc_alloc)                                                                                            \
	X(rtnl_qdisc_build_add_request)                                                                                \
	X(rtnl_qdisc_put)                                                                                              \
	X(rtnl_tc_get_handle)                                                                                          \
	X(rtnl_tc_get_kind)                                                                                            \
	X(rtnl_tc_get_parent)                                                                                          \
	X(rtnl_tc_set_handle)                                                                                          \
	X(rtnl_tc_set_ifindex)                                                                                         \
	X(rtnl_tc_set_kind)                                                                                            \
	X(rtnl_tc_set_parent)

/* The functions, by their own names: nl.nlmsg_free(m). Valid once nl_open() has returned 0. */
struct nl_functions {
#define X(name) __typeof__(&name) name;
	NL_FUNCTIONS(X)
#undef X
};
extern struct nl_functions nl;

/* Load the library and open the socket, once per process. -EOPNOTSUPP: no library, or no netlink here. */
int nl_open(void);

/* The number of ethtool's generic netlink family, a positive one; -EOPNOTSUPP: it has none, or there is no
 * libnl-genl-3. */
int nl_ethtool(void);

/*
 * Find functions of a library by name: `functions` are n pairs of a name and an offset into `into`, where pointers go.
 * -EOPNOTSUPP: the library or one of them is missing.
 */
struct nl_function {
	const char *name;
	size_t offset;
};
int nl_load(const char *library, const struct nl_function *functions, size_t n, void *into);

#define NL_BATCH_MAX 8

/*
 * A batch: {0} to begin with, messages added one after the other, attributes always to the last. A failed
 * allocation is kept and reported by nl_exchange().
 */
struct nl_batch {
	struct nl_msg *msgs[NL_BATCH_MAX];
	int codes[NL_BATCH_MAX]; /* after nl_exchange(): what the kernel said of each, 0 or -errno */
	unsigned int n;
	bool changes;    /* one of them is more than a question */
	bool is_generic; /* generic netlink: the type is what nl_ethtool() gave */
	int failed;      /* -errno */
};

/* A question (RTM_GET...; flags NLM_F_DUMP: all of them, only as the last), or a change (RTM_NEW..., RTM_DEL...). */
void nl_ask(struct nl_batch *b, int type, int flags);
void nl_change(struct nl_batch *b, int type, int flags);
/* A message that libnl-route has built; takes it. r: what the builder returned. */
void nl_change_built(struct nl_batch *b, int r, struct nl_msg *msg);

void nl_append(struct nl_batch *b, const void *data, size_t len); /* the fixed part behind the header */
void nl_put(struct nl_batch *b, int attribute, const void *data, size_t len);
void nl_put_u32(struct nl_batch *b, int attribute, uint32_t value);
void nl_put_string(struct nl_batch *b, int attribute, const char *text);
struct nlattr *nl_nest(struct nl_batch *b, int attribute);
void nl_nest_end(struct nl_batch *b, struct nlattr *nest);

/* One answer: `which` message of the batch it is for. A dump has many. */
typedef void nl_reply(struct nl_msg *msg, unsigned int which, void *arg);

/*
 * Send the batch and wait for its end; frees the messages. 0: all codes are the kernel's. Negative: nothing is known
 * (-ENOMEM, -EOPNOTSUPP, -EIO), all codes say so too. reply may be NULL.
 */
int nl_exchange(struct nl_batch *b, nl_reply *reply, void *arg);

/* The code of the first message of a batch that failed, but for -`except`; 0: none. */
int nl_first_failure(const struct nl_batch *b, int except);

/* Name and number of a device are asked for on the same socket (netdevice(7)). -ENODEV: none, or another by that name.
 */
int nl_check_device(int ifindex, const char *name);
int nl_device_index(const char *name);          /* or -ENODEV */
int nl_device_mtu(const char *name);            /* or -errno */
int nl_device_name(int ifindex, char name[16]); /* IFNAMSIZ; 0 or -ENODEV */

/* Attributes of an answer: the u32 (0 if absent or of another size), the text ("" likewise). */
uint32_t nl_get_u32(struct nlattr *attr);
const char *nl_get_string(struct nlattr *attr);

/* For tests: a kernel of theirs. It sets codes and calls reply as nl_exchange() would. NULL: the kernel. */
extern int (*nl_stand_in)(struct nl_batch *b, nl_reply *reply, void *arg);

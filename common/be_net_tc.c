/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Traffic control as back end "net" uses it: roots and HTB classes. Built and taken apart by libnl-route; asked for one
 * by one, so that it costs the same beside a thousand other guests: libnl's caches load every class of the device, and
 * every root of the host.
 */
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/netlink.h>
#include <stdarg.h>

#include "be_net_priv.h"
#include "num.h"

#define DUMP_TRIES 3

/*
 * Tokens for one tick must fit, "burst: rate/HZ" in tc-htb(8): HTB wakes up by a high resolution timer, but works
 * for two jiffies at most (htb_do_events(), net/sched/sch_htb.c). 250 is what distributions build with.
 */
#define TICKS_PER_SECOND 250
#define MIN_BURST_MTUS   2
#define ETHERNET_HEADER  18 /* with one VLAN tag */

/*
 * What a class may send in one turn. HTB takes rate / 10 (r2q) and complains below 1000 and above 200000 bytes
 * (htb_change_class()); 60000 is where tc-htb(8) says to stop.
 */
#define RATE_TO_QUANTUM 10
#define MAX_QUANTUM     60000

/* Bursts are kept as time at the class's rate, in ticks of 64 ns in 32 bits: 274 s (PSCHED_TICKS2NS). */
#define MAX_BURST_SECONDS 200

int net_print(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return n < 0 || (size_t)n >= size ? -EFBIG : n;
}

int net_parse_numbers(const char *text, const char *const keys[], size_t n, uint64_t ret[])
{
	for (size_t i = 0; i < n; i++) {
		size_t key = strlen(keys[i]), len;
		char number[24];

		if (strncmp(text, keys[i], key) != 0 || text[key] != '=')
			return -EINVAL;
		text += key + 1;
		len = strcspn(text, " ");
		if (len >= sizeof(number) || (text[len] == ' ') != (i + 1 < n))
			return -EINVAL;
		memcpy(number, text, len);
		number[len] = '\0';
		if (num_parse_u64(number, &ret[i]) < 0)
			return -EINVAL;
		text += len + (i + 1 < n);
	}
	return *text ? -EINVAL : 0;
}

bool net_same_burst(uint64_t rate, uint64_t a, uint64_t b)
{
	uint64_t off = a > b ? a - b : b - a;

	/* Cut to whole microseconds when written, and once more when read (rtnl_tc_calc_txtime(), nl_ticks2us()). */
	return off <= rate / 500000 + 2;
}

struct tc_answer {
	struct net_root *root;
	struct net_class_state *classes;
};

static void take_class(struct nl_object *object, void *arg)
{
	struct rtnl_class *class = (struct rtnl_class *)object;
	struct net_class_state *ret = arg;
	const char *kind = nl.rtnl_tc_get_kind(TC_CAST(class));

	if (!kind || !streq(kind, "htb") || nl.rtnl_htb_get_rate64(class, &ret->rate) < 0 ||
	    nl.rtnl_htb_get_ceil64(class, &ret->ceil) < 0)
		return;
	ret->id = nl.rtnl_tc_get_handle(TC_CAST(class));
	ret->parent = nl.rtnl_tc_get_parent(TC_CAST(class));
	ret->burst = nl.rtnl_htb_get_rbuffer(class);
	ret->prio = nl.rtnl_htb_get_prio(class);
	ret->is_there = true;
}

static void take_tc(struct nl_msg *msg, unsigned int which, void *arg)
{
	struct tc_answer *a = arg;

	if (which == 0)
		net_take_root(msg, a->root);
	else
		(void)nl.nl_msg_parse(msg, take_class, &a->classes[which - 1]); /* not understood: not there */
}

int net_read_tc(int ifindex, const uint32_t ids[], size_t n, struct net_root *ret_root, struct net_class_state ret[])
{
	struct tc_answer a = {ret_root, ret};
	struct nl_batch b = {0};
	int r;

	*ret_root = NET_NO_ROOT;
	net_ask_root(&b, ifindex);
	for (size_t i = 0; i < n; i++) {
		ret[i] = (struct net_class_state){0};
		nl_ask(&b, RTM_GETTCLASS, 0);
		net_put_tc(&b, ifindex, 0, ids[i], 0);
	}
	r = nl_exchange(&b, take_tc, &a);
	/* Neither no such class, nor a root without classes, is an error: a device that went was told by the root. */
	return r < 0 ? r : net_root_result(b.codes[0]);
}

int net_print_foreign(const struct net_root *root, bool joined, char *buf, size_t size)
{
	return net_print(buf, size, "%s %s %x:", joined ? "joined" : "foreign", root->kind, root->handle >> 16);
}

void net_put_htb(struct nl_batch *b, int ifindex, uint32_t handle, uint32_t default_minor)
{
	struct rtnl_qdisc *q = b->failed || (b->failed = nl_open()) < 0 ? NULL : nl.rtnl_qdisc_alloc();
	struct nl_msg *msg = NULL;
	int r = -1;

	if (q) {
		nl.rtnl_tc_set_ifindex(TC_CAST(q), ifindex);
		nl.rtnl_tc_set_parent(TC_CAST(q), TC_H_ROOT);
		nl.rtnl_tc_set_handle(TC_CAST(q), handle);
		if (nl.rtnl_tc_set_kind(TC_CAST(q), "htb") == 0 && nl.rtnl_htb_set_defcls(q, default_minor) == 0)
			r = nl.rtnl_qdisc_build_add_request(q, NLM_F_CREATE | NLM_F_EXCL, &msg);
		nl.rtnl_qdisc_put(q);
	}
	nl_change_built(b, r, msg);
}

static uint32_t tick_of(uint64_t rate, unsigned int mtu)
{
	uint64_t least = (uint64_t)MIN_BURST_MTUS * (mtu + ETHERNET_HEADER), burst = rate / TICKS_PER_SECOND;

	if (burst < least)
		burst = least;
	return burst > INT32_MAX ? INT32_MAX : (uint32_t)burst; /* libnl computes in int */
}

static uint32_t quantum_of(uint64_t rate, unsigned int mtu)
{
	uint64_t quantum = rate / RATE_TO_QUANTUM;

	if (quantum > MAX_QUANTUM)
		quantum = MAX_QUANTUM;
	return quantum < mtu + ETHERNET_HEADER ? mtu + ETHERNET_HEADER : (uint32_t)quantum;
}

int net_check_class(const struct net_class_state *c)
{
	if (c->rate == 0 || c->ceil < c->rate || c->prio > 7)
		return -EINVAL;
	return c->burst > INT32_MAX || c->burst / MAX_BURST_SECONDS > c->rate ? -ERANGE : 0;
}

void net_put_class(struct nl_batch *b, int ifindex, const struct net_class_state *c, unsigned int mtu)
{
	struct rtnl_class *class = b->failed || (b->failed = nl_open()) < 0 ? NULL : nl.rtnl_class_alloc();
	uint32_t burst = c->burst ? c->burst : tick_of(c->rate, mtu);
	struct nl_msg *msg = NULL;
	int r = -1;

	if (class) {
		nl.rtnl_tc_set_ifindex(TC_CAST(class), ifindex);
		nl.rtnl_tc_set_parent(TC_CAST(class), c->parent);
		nl.rtnl_tc_set_handle(TC_CAST(class), c->id);
		if (nl.rtnl_tc_set_kind(TC_CAST(class), "htb") == 0 && nl.rtnl_htb_set_rate64(class, c->rate) == 0 &&
		    nl.rtnl_htb_set_ceil64(class, c->ceil) == 0 && nl.rtnl_htb_set_rbuffer(class, burst) == 0 &&
		    nl.rtnl_htb_set_cbuffer(class, tick_of(c->ceil, mtu)) == 0 &&
		    nl.rtnl_htb_set_prio(class, c->prio) == 0 &&
		    nl.rtnl_htb_set_quantum(class, quantum_of(c->rate, mtu)) == 0)
			r = nl.rtnl_class_build_add_request(class, NLM_F_CREATE, &msg);
		nl.rtnl_class_put(class);
	}
	nl_change_built(b, r, msg);
}

void net_put_delete_root(struct nl_batch *b, int ifindex, uint32_t handle)
{
	nl_change(b, RTM_DELQDISC, 0);
	net_put_tc(b, ifindex, TC_H_ROOT, handle, 0);
}

static const char *const leaves[] = {"fq_codel", "sfq"};
static bool is_absent[ARRAY_SIZE(leaves)];

/* A leaf from the i-th kind on; which one it is. */
static size_t put_leaf(struct nl_batch *b, size_t i, int ifindex, uint32_t class_id)
{
	while (i < ARRAY_SIZE(leaves) && is_absent[i])
		i++;
	if (i < ARRAY_SIZE(leaves)) {
		nl_change(b, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL);
		net_put_tc(b, ifindex, class_id, 0, 0);
		nl_put_string(b, TCA_KIND, leaves[i]);
	}
	return i;
}

int net_exchange_with_leaf(struct nl_batch *b, int ifindex, uint32_t class_id)
{
	unsigned int leaf = b->n;
	size_t i = put_leaf(b, 0, ifindex, class_id);
	int r = nl_exchange(b, NULL, NULL), code;

	if (r < 0 || i == ARRAY_SIZE(leaves))
		return r;
	code = b->codes[leaf];
	b->codes[leaf] = 0;
	if (leaf > 0 && b->codes[leaf - 1] < 0)
		return 0; /* there is no class, and of the leaf nothing is known */
	while (code == -ENOENT) {
		struct nl_batch next = {0};

		is_absent[i] = true;
		i = put_leaf(&next, i + 1, ifindex, class_id);
		if (i == ARRAY_SIZE(leaves) || nl_exchange(&next, NULL, NULL) < 0)
			break;
		code = next.codes[0];
	}
	return 0;
}

int net_dump(void (*make)(struct nl_batch *b, const void *arg), const void *arg, nl_reply *reply, void *reply_arg,
	     void (*reset)(void *reply_arg))
{
	int r = -EAGAIN;

	for (int i = 0; i < DUMP_TRIES && r == -EAGAIN; i++) {
		struct nl_batch b = {0};

		reset(reply_arg);
		make(&b, arg);
		r = nl_exchange(&b, reply, reply_arg);
		if (r == 0)
			r = nl_first_failure(&b, 0);
	}
	return r;
}

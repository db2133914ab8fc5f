/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tap's half of a flow: what the guest sends comes in there, and a filter of preference 208 sets priority or mark.
 *
 * Plain "ingress", joined if it is there, made if not; never clsact, with which `virsh domiftune --outbound` fails
 * ("Exclusivity flag on"; seen with libvirt 9.0 and 11.3). Our action says "continue" (TC_ACT_UNSPEC), so that
 * libvirt's police filter behind it still acts. A later domiftune deletes the whole ingress, our filter with it.
 *
 * A class does not say who uses it. The skbedit action does: its number is made of uplink and MINOR, so that it can be
 * asked for, and its cookie names the uplink and the tap, and says whether the ingress was made for it: one that somebody
 * had made, empty or not, stays when the filter goes. The action ends with its filter, or some milliseconds later; a filter
 * that is made meanwhile under the same number would get the old action, whatever it says itself (tcf_skbedit_init()).
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_skbedit.h>
#include <time.h>

#include "be_net_flow.h"

#define PREFERENCE     208
#define INGRESS_HANDLE 0xffff0000u
#define INGRESS_PARENT 0xfffffff2u /* where filters of ingress go, and of somebody's clsact: TC_H_MIN_INGRESS */
#define ACTION_ORDER   1

/* A filter's action is let go when nobody looks at it any more (u32_delete_key_freepf_work()): a grace period or two.
 */
#define ACTION_TRIES    20
#define ACTION_PAUSE_MS 10

uint32_t net_filter_info(unsigned int preference)
{
	return preference << 16 | htons(ETH_P_ALL);
}

/* The kernel gives actions numbers from 1 on; those with the highest bits set are nobody's. */
static uint32_t action_index(const struct net_object *o)
{
	return 0xd0000000u | ((uint32_t)o->ifindex & 0xffff) << 12 | (o->minor & 0xfff);
}

/* Two uplinks whose indexes differ by 65536 have the same number for a MINOR: the cookie tells them apart. */
struct cookie {
	uint32_t uplink, tap, minor;
	uint32_t has_made; /* the ingress, or another flow of ours that still is there has */
};
_Static_assert(sizeof(struct cookie) <= 16, "TC_COOKIE_MAX_SIZE in the kernel");

/* One action of a kind; index 0: without any. */
static void ask_action(struct nl_batch *b, int type, uint32_t index)
{
	const struct tcamsg head = {.tca_family = AF_UNSPEC};
	struct nlattr *table, *action;

	nl_ask(b, type, 0);
	nl_append(b, &head, sizeof(head));
	table = nl_nest(b, TCA_ACT_TAB);
	action = nl_nest(b, ACTION_ORDER);
	nl_put_string(b, TCA_ACT_KIND, "skbedit");
	if (index)
		nl_put_u32(b, TCA_ACT_INDEX, index);
	else
		nl_nest_end(b, nl_nest(b, TCA_ACT_OPTIONS));
	nl_nest_end(b, action);
	nl_nest_end(b, table);
}

void net_tap_ask(struct nl_batch *b, const struct net_object *o)
{
	ask_action(b, RTM_GETACTION, action_index(o));
}

struct edit {
	struct cookie cookie;
	uint32_t index, priority, mark, mask;
	bool has_priority, has_mark;
};

/* One skbedit action; false: another kind, or nothing that we would have made. */
static bool take_edit(struct nlattr *action, struct edit *ret)
{
	struct nlattr *act[TCA_ACT_MAX + 1], *options[TCA_SKBEDIT_MAX + 1];
	struct tc_skbedit parms;

	*ret = (struct edit){.mask = UINT32_MAX};
	if (!action || nl.nla_parse_nested(act, TCA_ACT_MAX, action, NULL) < 0 ||
	    !streq(nl_get_string(act[TCA_ACT_KIND]), "skbedit") || !act[TCA_ACT_OPTIONS] ||
	    nl.nla_parse_nested(options, TCA_SKBEDIT_MAX, act[TCA_ACT_OPTIONS], NULL) < 0)
		return false;
	if (!options[TCA_SKBEDIT_PARMS] || nl.nla_len(options[TCA_SKBEDIT_PARMS]) < (int)sizeof(parms) ||
	    !act[TCA_ACT_COOKIE] || nl.nla_len(act[TCA_ACT_COOKIE]) != (int)sizeof(ret->cookie))
		return false;
	memcpy(&parms, nl.nla_data(options[TCA_SKBEDIT_PARMS]), sizeof(parms));
	memcpy(&ret->cookie, nl.nla_data(act[TCA_ACT_COOKIE]), sizeof(ret->cookie));
	ret->index = parms.index;
	ret->has_priority = options[TCA_SKBEDIT_PRIORITY];
	ret->priority = nl_get_u32(options[TCA_SKBEDIT_PRIORITY]);
	ret->has_mark = options[TCA_SKBEDIT_MARK];
	ret->mark = nl_get_u32(options[TCA_SKBEDIT_MARK]);
	if (options[TCA_SKBEDIT_MASK])
		ret->mask = nl_get_u32(options[TCA_SKBEDIT_MASK]);
	return true;
}

static bool is_ours(const struct edit *e, const struct net_object *o)
{
	return e->index == action_index(o) && e->cookie.uplink == (uint32_t)o->ifindex && e->cookie.minor == o->minor &&
	       e->has_priority != e->has_mark;
}

void net_tap_take(struct nl_msg *msg, const struct net_object *o, struct net_flow *ret)
{
	struct nlattr *table[TCA_ACT_TAB + 1], *actions[ACTION_ORDER + 1];
	struct edit e;

	ret->has_action = true;
	if (nl.nlmsg_parse(nl.nlmsg_hdr(msg), sizeof(struct tcamsg), table, TCA_ACT_TAB, NULL) < 0 ||
	    !table[TCA_ACT_TAB] || nl.nla_parse_nested(actions, ACTION_ORDER, table[TCA_ACT_TAB], NULL) < 0 ||
	    !take_edit(actions[ACTION_ORDER], &e) || !is_ours(&e, o))
		return;
	ret->kind = e.has_mark ? NET_FLOW_MARK : NET_FLOW_PRIORITY;
	ret->tap_ifindex = (int)e.cookie.tap;
	ret->mark = e.mark;
	ret->mask = e.mask;
	ret->class_id = e.has_priority ? e.priority : 0;
}

static void put_edit(struct nl_batch *b, const struct net_object *o, uint32_t class_id, const struct net_flow *f)
{
	const struct cookie cookie = {(uint32_t)o->ifindex, (uint32_t)f->tap_ifindex, o->minor, f->has_made_ingress};
	const struct tc_skbedit parms = {.index = action_index(o), .action = TC_ACT_UNSPEC};
	struct nlattr *options;

	nl_put_string(b, TCA_ACT_KIND, "skbedit");
	nl_put(b, TCA_ACT_COOKIE, &cookie, sizeof(cookie));
	options = nl_nest(b, TCA_ACT_OPTIONS);
	nl_put(b, TCA_SKBEDIT_PARMS, &parms, sizeof(parms));
	if (f->kind == NET_FLOW_PRIORITY) {
		nl_put_u32(b, TCA_SKBEDIT_PRIORITY, class_id);
	} else {
		nl_put_u32(b, TCA_SKBEDIT_MARK, f->mark);
		nl_put_u32(b, TCA_SKBEDIT_MASK, f->mask);
	}
	nl_nest_end(b, options);
}

static void put_ingress(struct nl_batch *b, int type, int flags, int ifindex)
{
	nl_change(b, type, flags);
	net_put_tc(b, ifindex, TC_H_INGRESS, INGRESS_HANDLE, 0);
	nl_put_string(b, TCA_KIND, "ingress");
}

static void put_filter(struct nl_batch *b, const struct net_object *o, uint32_t class_id, const struct net_flow *f)
{
	/* No key: everything matches, frames that are too short for one too. matchall may be missing where u32 is not.
	 */
	const struct tc_u32_sel all = {.flags = TC_U32_TERMINAL};
	struct nlattr *options, *actions, *action;

	nl_change(b, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL);
	net_put_tc(b, f->tap_ifindex, INGRESS_PARENT, 0, net_filter_info(PREFERENCE));
	nl_put_string(b, TCA_KIND, "u32");
	options = nl_nest(b, TCA_OPTIONS);
	nl_put(b, TCA_U32_SEL, &all, sizeof(all));
	actions = nl_nest(b, TCA_U32_ACT);
	action = nl_nest(b, ACTION_ORDER);
	put_edit(b, o, class_id, f);
	nl_nest_end(b, action);
	nl_nest_end(b, actions);
	nl_nest_end(b, options);
}

/*
 * Whether the kernel has skbedit, or a module of it, which is loaded then. Asked before the tap is touched, by an
 * action without parameters, which is none (EINVAL): a kill between an ingress and its removal would leave it at the
 * tap.
 */
static int check_skbedit(void)
{
	static bool is_there;
	struct nl_batch b = {0};
	int r;

	if (is_there)
		return 0;
	ask_action(&b, RTM_NEWACTION, 0);
	r = nl_exchange(&b, NULL, NULL);
	if (r < 0)
		return r;
	if (b.codes[0] != -EINVAL)
		return b.codes[0] == -ENOENT || b.codes[0] == 0 ? -EOPNOTSUPP : b.codes[0];
	is_there = true;
	return 0;
}

/* What is at a tap's ingress. */
struct ingress {
	const struct net_object *o;
	bool is_there;
	bool is_plain;   /* "ingress", and not somebody's clsact */
	bool is_made;    /* by us: a filter of ours says so, of whichever flow */
	bool has_other;  /* a filter that is not ours */
	bool is_shared;  /* and one of our preference */
	uint32_t handle; /* of ours; 0: none */
};

static void ask_ingress(struct nl_batch *b, const void *arg)
{
	const int *ifindex = arg;

	nl_ask(b, RTM_GETQDISC, 0);
	net_put_tc(b, *ifindex, TC_H_INGRESS, 0, 0);
	nl_ask(b, RTM_GETTFILTER, NLM_F_DUMP);
	net_put_tc(b, *ifindex, INGRESS_PARENT, 0, 0);
}

static void take_ingress_filter(struct nl_msg *msg, struct ingress *in)
{
	struct nlmsghdr *header = nl.nlmsg_hdr(msg);
	const struct tcmsg *tc = nl.nlmsg_data(header);
	struct nlattr *attrs[TCA_MAX + 1], *options[TCA_U32_MAX + 1], *actions[ACTION_ORDER + 1];
	struct edit e;
	bool is_edit;

	if (tc->tcm_info >> 16 != PREFERENCE) {
		in->has_other = true;
		return;
	}
	if (TC_U32_NODE(tc->tcm_handle) == 0)
		return; /* the classifier itself, and its table */
	is_edit = nl.nlmsg_parse(header, sizeof(*tc), attrs, TCA_MAX, NULL) == 0 && attrs[TCA_OPTIONS] &&
		  nl.nla_parse_nested(options, TCA_U32_MAX, attrs[TCA_OPTIONS], NULL) == 0 && options[TCA_U32_ACT] &&
		  nl.nla_parse_nested(actions, ACTION_ORDER, options[TCA_U32_ACT], NULL) == 0 &&
		  take_edit(actions[ACTION_ORDER], &e);
	if (is_edit && e.cookie.has_made && e.cookie.tap == (uint32_t)tc->tcm_ifindex)
		in->is_made = true;
	if (is_edit && is_ours(&e, in->o))
		in->handle = tc->tcm_handle;
	else
		in->has_other = in->is_shared = true;
}

static void take_ingress(struct nl_msg *msg, unsigned int which, void *arg)
{
	struct nlmsghdr *header = nl.nlmsg_hdr(msg);
	struct nlattr *attrs[TCA_MAX + 1];
	struct ingress *in = arg;

	if (which == 1) {
		take_ingress_filter(msg, in);
		return;
	}
	in->is_there = true;
	if (nl.nlmsg_parse(header, sizeof(struct tcmsg), attrs, TCA_MAX, NULL) == 0)
		in->is_plain = streq(nl_get_string(attrs[TCA_KIND]), "ingress");
}

static void forget_ingress(void *arg)
{
	struct ingress *in = arg;

	*in = (struct ingress){.o = in->o};
}

/* 0 with in->handle 0: tap or ingress have gone, filter and all. */
static int look_at_ingress(int tap_ifindex, struct ingress *in)
{
	int r = net_dump(ask_ingress, &tap_ifindex, take_ingress, in, forget_ingress);

	if (r < 0)
		forget_ingress(in);
	return r == -ENODEV || r == -ENOENT || r == -EINVAL ? 0 : r;
}

int net_tap_check(const struct net_object *o, int tap_ifindex)
{
	struct ingress in = {.o = o};
	int r = look_at_ingress(tap_ifindex, &in);

	return r == 0 && !in.handle ? -ENOENT : r;
}

int net_tap_put(const struct net_object *o, uint32_t class_id, const struct net_flow *flow)
{
	enum { INGRESS, FILTER, FW };
	struct ingress in = {.o = o};
	struct nl_batch b = {0}, undo = {0};
	struct net_flow copy = *flow;
	const struct net_flow *f = &copy;
	bool has_fw = f->kind == NET_FLOW_MARK;
	int r = check_skbedit();

	if (r == 0)
		r = look_at_ingress(f->tap_ifindex, &in);
	if (r < 0)
		return r;
	copy.has_made_ingress = !in.is_there || in.is_made;
	put_ingress(&b, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, f->tap_ifindex);
	put_filter(&b, o, class_id, f);
	if (has_fw)
		net_fw_put(&b, o, class_id, f);
	r = nl_exchange(&b, NULL, NULL);
	if (r < 0)
		return r;
	if (b.codes[INGRESS] < 0 && b.codes[INGRESS] != -EEXIST)
		r = b.codes[INGRESS]; /* what the filter says then is that it has no parent */
	else
		r = b.codes[FILTER] < 0 ? b.codes[FILTER] : has_fw ? b.codes[FW] : 0;
	if (r == 0)
		return 0;
	/* Taken back as far as it came; that it failed is what is told. */
	if (has_fw && b.codes[FW] == 0)
		net_fw_delete(&undo, o, f->mark);
	if (b.codes[FILTER] < 0 && b.codes[INGRESS] == 0)
		put_ingress(&undo, RTM_DELQDISC, 0, f->tap_ifindex);
	(void)nl_exchange(&undo, NULL, NULL);
	if (b.codes[FILTER] == 0) {
		const struct net_flow half = {.kind = NET_FLOW_MARKED, .tap_ifindex = f->tap_ifindex};

		(void)net_tap_remove(o, &half);
	}
	if (r == -EEXIST)
		return -EBUSY;                 /* somebody else's packets have that mark */
	return r == -ENOENT ? -EOPNOTSUPP : r; /* no such kind of discipline, classifier or action */
}

int net_tap_wait(const struct net_object *o)
{
	const struct timespec pause = {0, ACTION_PAUSE_MS * 1000000};

	for (int i = 0; i < ACTION_TRIES; i++) {
		struct nl_batch b = {0};
		int r;

		if (i > 0)
			(void)nanosleep(&pause, NULL); /* cut short by a signal: asked again sooner */
		net_tap_ask(&b, o);
		r = nl_exchange(&b, NULL, NULL);
		if (r < 0 || b.codes[0] < 0)
			return r;
	}
	return -EBUSY;
}

int net_tap_remove(const struct net_object *o, const struct net_flow *f)
{
	struct ingress in = {.o = o};
	struct nl_batch b = {0};
	int r = look_at_ingress(f->tap_ifindex, &in);

	if (r < 0)
		return r;
	if (f->kind == NET_FLOW_MARK)
		net_fw_delete(&b, o, f->mark);
	if (in.handle) {
		/* Without a handle, all of the preference: the kernel keeps an empty u32 where it has another one. */
		nl_change(&b, RTM_DELTFILTER, 0);
		net_put_tc(&b, f->tap_ifindex, INGRESS_PARENT, in.is_shared ? in.handle : 0,
			   net_filter_info(PREFERENCE));
		nl_put_string(&b, TCA_KIND, "u32");
		if (in.is_plain && in.is_made && !in.has_other)
			put_ingress(&b, RTM_DELQDISC, 0, f->tap_ifindex);
	}
	r = nl_exchange(&b, NULL, NULL);
	r = r < 0 ? r : nl_first_failure(&b, ENOENT);
	return r == -ENODEV ? 0 : r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Back end net against a kernel of ours, which has the classifiers and the action that this machine's may lack, NICs
 * with rings, and fails where it is told to. It keeps filters as they were sent, and answers with them.
 */
#include "netns.h"

#include <arpa/inet.h>
#include <linux/ethtool_netlink.h>
#include <linux/genetlink.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_skbedit.h>

#include "common/be_net_priv.h"
#include "common/backend.h"
#include "common/netinfo.h"

#define FILTERS 32

static struct {
	const char *lacks; /* kinds, as words */
	struct filter {
		struct tcmsg tc;
		unsigned char *attrs;
		size_t len;
	} filters[FILTERS];
	bool has_ingress[8]; /* by the last three bits of the interface */
	const char *ingress_kind;
	uint32_t root;
	struct net_rings rings;
	unsigned int changes, exchanges, dumps, ring_sets;
	uint32_t set_rx, set_tx;
	struct filter late; /* comes when the link to the table of u32 goes */
	int next_failure;   /* of the next change of a filter of this preference */
	uint32_t failing;
} fake;

static struct hostfs fs = {.fd = -1};
static int uplink, tap;

static struct nlattr *attribute(struct nlattr *head, int len, int type)
{
	struct nlattr *a = head;

	for (; len >= (int)sizeof(*a) && a->nla_len >= sizeof(*a) && a->nla_len <= len;
	     len -= (int)NLA_ALIGN(a->nla_len), a = (struct nlattr *)(void *)((char *)a + NLA_ALIGN(a->nla_len)))
		if ((a->nla_type & NLA_TYPE_MASK) == type)
			return a;
	return NULL;
}

static struct nlattr *nested(struct nlattr *a, int type)
{
	return a ? attribute(nl.nla_data(a), nl.nla_len(a), type) : NULL;
}

static struct nlattr *of_filter(const struct filter *f, int type)
{
	return attribute((struct nlattr *)(void *)f->attrs, (int)f->len, type);
}

static struct nlattr *action_of(const struct filter *f)
{
	return nested(nested(of_filter(f, TCA_OPTIONS), TCA_U32_ACT), 1);
}

static uint32_t action_index(struct nlattr *action)
{
	struct nlattr *parms = nested(nested(action, TCA_ACT_OPTIONS), TCA_SKBEDIT_PARMS);

	return parms ? ((struct tc_skbedit *)nl.nla_data(parms))->index : 0;
}

static bool lacks(const char *kind)
{
	return fake.lacks && strstr(fake.lacks, kind);
}

static struct filter *find_filter(const struct tcmsg *tc)
{
	for (int i = 0; i < FILTERS; i++)
		if (fake.filters[i].attrs && fake.filters[i].tc.tcm_ifindex == tc->tcm_ifindex &&
		    fake.filters[i].tc.tcm_info == tc->tcm_info && fake.filters[i].tc.tcm_handle == tc->tcm_handle)
			return &fake.filters[i];
	return NULL;
}

static void drop(struct filter *f)
{
	free(f->attrs);
	*f = (struct filter){0};
}

static void answer(nl_reply *reply, void *arg, unsigned int which, int type, const void *head, size_t head_len,
		   const void *attrs, size_t len)
{
	struct nl_batch b = {0};

	nl_ask(&b, type, 0);
	nl_append(&b, head, head_len);
	nl_append(&b, attrs, len);
	reply(b.msgs[0], which, arg);
	nl.nlmsg_free(b.msgs[0]);
}

static void answer_filter(nl_reply *reply, void *arg, unsigned int which, const struct filter *f)
{
	answer(reply, arg, which, RTM_NEWTFILTER, &f->tc, sizeof(f->tc), f->attrs, f->len);
}

static int new_filter(const struct tcmsg *tc, struct nlattr *attrs, int len, int flags)
{
	const char *kind = nl_get_string(attribute(attrs, len, TCA_KIND));
	struct nlattr *options = attribute(attrs, len, TCA_OPTIONS), *action = nested(nested(options, TCA_U32_ACT), 1);
	struct filter *f = find_filter(tc);

	if (fake.next_failure && tc->tcm_info >> 16 == fake.failing)
		return -fake.next_failure;
	if (lacks(kind) || (action && lacks(nl_get_string(nested(action, TCA_ACT_KIND)))))
		return -ENOENT;
	if (tc->tcm_parent == 0xfffffff2 && !fake.has_ingress[tc->tcm_ifindex % 8])
		return -EINVAL;
	if (f && tc->tcm_handle)
		return flags & NLM_F_EXCL ? -EEXIST : -EINVAL;
	for (int i = 0; i < FILTERS; i++) {
		f = &fake.filters[i];
		if (f->attrs)
			continue;
		f->tc = *tc;
		if (!f->tc.tcm_handle)
			f->tc.tcm_handle = 0x80000800u + (unsigned int)i;
		f->attrs = malloc((size_t)len);
		f->len = (size_t)len;
		memcpy(f->attrs, attrs, (size_t)len);
		return 0;
	}
	return -ENOMEM;
}

/* One, or without a handle all of its preference. */
static int del_filters(const struct tcmsg *tc)
{
	int r = -ENOENT;

	for (int i = 0; i < FILTERS; i++) {
		struct filter *f = &fake.filters[i];

		if (f->attrs && f->tc.tcm_ifindex == tc->tcm_ifindex && f->tc.tcm_info == tc->tcm_info &&
		    (!tc->tcm_handle || f->tc.tcm_handle == tc->tcm_handle)) {
			drop(f);
			r = 0;
		}
	}
	if (r == 0 && tc->tcm_handle == 1 && fake.late.attrs) {
		fake.filters[FILTERS - 1] = fake.late;
		fake.late = (struct filter){0};
	}
	return r;
}

static int get_filters(const struct tcmsg *tc, int flags, nl_reply *reply, void *arg, unsigned int which)
{
	const struct filter *f = find_filter(tc);

	if ((flags & NLM_F_DUMP) == NLM_F_DUMP) {
		fake.dumps++;
		for (int i = 0; i < FILTERS; i++)
			if (fake.filters[i].attrs && fake.filters[i].tc.tcm_ifindex == tc->tcm_ifindex &&
			    (!tc->tcm_info || fake.filters[i].tc.tcm_info == tc->tcm_info))
				answer_filter(reply, arg, which, &fake.filters[i]);
		return 0;
	}
	if (!f)
		return -ENOENT;
	answer_filter(reply, arg, which, f);
	return 0;
}

static int get_action(struct nlattr *attrs, int len, nl_reply *reply, void *arg, unsigned int which)
{
	uint32_t index = nl_get_u32(nested(nested(attribute(attrs, len, TCA_ACT_TAB), 1), TCA_ACT_INDEX));

	if (lacks("skbedit"))
		return -EINVAL;
	for (int i = 0; i < FILTERS; i++) {
		struct nlattr *action = fake.filters[i].attrs ? action_of(&fake.filters[i]) : NULL, head;
		const struct tcamsg tca = {0};
		struct nl_batch b = {0};

		if (!action || action_index(action) != index)
			continue;
		head = (struct nlattr){.nla_len = (uint16_t)(action->nla_len + sizeof(head)), .nla_type = TCA_ACT_TAB};
		nl_ask(&b, RTM_GETACTION, 0);
		nl_append(&b, &tca, sizeof(tca));
		nl_append(&b, &head, sizeof(head));
		nl_append(&b, action, action->nla_len);
		reply(b.msgs[0], which, arg);
		nl.nlmsg_free(b.msgs[0]);
		return 0;
	}
	return -ENOENT;
}

static int qdisc(int type, const struct tcmsg *tc, nl_reply *reply, void *arg, unsigned int which)
{
	bool *ingress = &fake.has_ingress[tc->tcm_ifindex % 8];
	struct tcmsg now = *tc;
	struct {
		struct nlattr head;
		char kind[16];
	} attrs = {.head = {sizeof(attrs), TCA_KIND}};

	if (type == RTM_GETQDISC) {
		if (tc->tcm_parent == TC_H_INGRESS && !*ingress)
			return -ENOENT;
		now.tcm_handle = tc->tcm_parent == TC_H_INGRESS ? 0xffff0000 : fake.root;
		(void)snprintf(attrs.kind, sizeof(attrs.kind), "%s",
			       tc->tcm_parent == TC_H_INGRESS ? fake.ingress_kind : "htb");
		attrs.head.nla_len = (uint16_t)(sizeof(attrs.head) + strlen(attrs.kind) + 1);
		answer(reply, arg, which, RTM_NEWQDISC, &now, sizeof(now), &attrs, NLA_ALIGN(attrs.head.nla_len));
		return 0;
	}
	if (type == RTM_NEWQDISC && *ingress)
		return -EEXIST;
	if (type == RTM_DELQDISC && !*ingress)
		return -ENOENT;
	for (int i = 0; i < FILTERS && type == RTM_DELQDISC; i++)
		if (fake.filters[i].tc.tcm_ifindex == tc->tcm_ifindex)
			drop(&fake.filters[i]);
	*ingress = type == RTM_NEWQDISC;
	return 0;
}

static int rings(struct nlmsghdr *h, nl_reply *reply, void *arg, unsigned int which)
{
	const struct genlmsghdr *g = nl.nlmsg_data(h);
	struct nlattr *attrs = (struct nlattr *)(void *)((char *)nl.nlmsg_data(h) + GENL_HDRLEN);
	int len = (int)(h->nlmsg_len - NLMSG_HDRLEN - GENL_HDRLEN);
	struct nl_batch b = {0};

	IS_INT(nl_get_u32(nested(attribute(attrs, len, ETHTOOL_A_RINGS_HEADER), ETHTOOL_A_HEADER_DEV_INDEX)), uplink);
	if (fake.rings.rx_max == 0 && fake.rings.tx_max == 0)
		return -EOPNOTSUPP;
	if (g->cmd == ETHTOOL_MSG_RINGS_SET) {
		struct nlattr *rx = attribute(attrs, len, ETHTOOL_A_RINGS_RX),
			      *tx = attribute(attrs, len, ETHTOOL_A_RINGS_TX);

		fake.ring_sets++;
		if (nl_get_u32(rx) > fake.rings.rx_max || nl_get_u32(tx) > fake.rings.tx_max)
			return -EINVAL;
		fake.rings.rx = rx ? nl_get_u32(rx) : fake.rings.rx;
		fake.rings.tx = tx ? nl_get_u32(tx) : fake.rings.tx;
		return 0;
	}
	nl_ask(&b, h->nlmsg_type, 0);
	nl_append(&b, g, sizeof(*g));
	nl_put_u32(&b, ETHTOOL_A_RINGS_RX_MAX, fake.rings.rx_max);
	nl_put_u32(&b, ETHTOOL_A_RINGS_TX_MAX, fake.rings.tx_max);
	nl_put_u32(&b, ETHTOOL_A_RINGS_RX, fake.rings.rx);
	nl_put_u32(&b, ETHTOOL_A_RINGS_TX, fake.rings.tx);
	reply(b.msgs[0], which, arg);
	nl.nlmsg_free(b.msgs[0]);
	return 0;
}

static int serve(struct nlmsghdr *h, bool is_generic, nl_reply *reply, void *arg, unsigned int which)
{
	const struct tcmsg *tc = nl.nlmsg_data(h);
	bool is_action = h->nlmsg_type == RTM_GETACTION || h->nlmsg_type == RTM_NEWACTION;
	size_t fixed = is_action ? NLMSG_ALIGN(sizeof(struct tcamsg)) : sizeof(*tc);
	struct nlattr *attrs = (struct nlattr *)(void *)((char *)nl.nlmsg_data(h) + fixed);
	int len = (int)(h->nlmsg_len - NLMSG_HDRLEN - fixed);

	if (is_generic)
		return rings(h, reply, arg, which);
	switch (h->nlmsg_type) {
	case RTM_GETQDISC:
	case RTM_NEWQDISC:
	case RTM_DELQDISC:
		return qdisc(h->nlmsg_type, tc, reply, arg, which);
	case RTM_NEWTFILTER:
		return new_filter(tc, attrs, len, h->nlmsg_flags);
	case RTM_DELTFILTER:
		return del_filters(tc);
	case RTM_GETTFILTER:
		return get_filters(tc, h->nlmsg_flags, reply, arg, which);
	case RTM_NEWACTION:
		return lacks("skbedit") ? -ENOENT : -EINVAL;
	case RTM_GETACTION:
		return get_action(attrs, len, reply, arg, which);
	}
	return -EOPNOTSUPP;
}

static void nobody_asked(struct nl_msg *msg, unsigned int which, void *arg)
{
	(void)msg;
	(void)which;
	(void)arg;
}

static int stand_in(struct nl_batch *b, nl_reply *reply, void *arg)
{
	reply = reply ? reply : nobody_asked;
	fake.exchanges++;
	fake.changes += b->changes;
	for (unsigned int i = 0; i < b->n; i++)
		b->codes[i] = serve(nl.nlmsg_hdr(b->msgs[i]), b->is_generic, reply, arg, i);
	return 0;
}

#define ENTER(what)                                                                                                    \
	do {                                                                                                           \
		const char *why = netns_enter();                                                                       \
		if (why)                                                                                               \
			SKIP(why);                                                                                     \
		enter(what);                                                                                           \
	} while (0)

/* Devices are real, what is asked of them is not. */
static void enter(const char *lacking)
{
	struct err e = ERR_INIT;

	IS_INT(hostfs_init(&fs, "/", &e), 0);
	sh("ip link add nic type veth peer name vnet0 && ip link add vnet1 type veth peer name vnet2");
	uplink = (int)if_nametoindex("nic");
	tap = (int)if_nametoindex("vnet0");
	IS_INT(nl_open(), 0);
	fake.lacks = lacking;
	fake.root = NET_TREE_ROOT;
	fake.ingress_kind = "ingress";
	nl_stand_in = stand_in;
}

static const char *object(const char *rest)
{
	static char texts[4][64];
	static unsigned int n;
	char *text = texts[n++ % 4];

	(void)snprintf(text, sizeof(texts[0]), "nic:%d/%s", uplink, rest);
	return text;
}

static const char *get(const char *o)
{
	static char texts[4][256];
	static unsigned int n;
	char *text = texts[n++ % 4];
	int r = be_net.read(&fs, o, text, sizeof(texts[0]));

	if (r < 0)
		(void)snprintf(text, sizeof(texts[0]), "error %d", -r);
	return text;
}

static int put(const char *o, const char *value)
{
	return be_net.write(&fs, o, value);
}

static const char *value(const char *kind, const char *dev, const char *rest)
{
	static char texts[4][128];
	static unsigned int n;
	char *text = texts[n++ % 4];

	(void)snprintf(text, sizeof(texts[0]), "%s dev=%s %s", kind, netns_id(dev), rest);
	return text;
}

static unsigned int n_filters(void)
{
	unsigned int n = 0;

	for (int i = 0; i < FILTERS; i++)
		n += fake.filters[i].attrs != NULL;
	return n;
}

static const struct filter *filter_at(int ifindex, uint32_t preference)
{
	for (int i = 0; i < FILTERS; i++)
		if (fake.filters[i].attrs && fake.filters[i].tc.tcm_ifindex == ifindex &&
		    fake.filters[i].tc.tcm_info >> 16 == preference)
			return &fake.filters[i];
	TAP_FAIL("no filter of preference %u", preference);
	return NULL;
}

#define MAC "mac=52:54:00:11:22:33"

TEST(a_bridged_flow_is_a_priority_set_at_the_tap)
{
	const struct filter *f;
	const struct tc_u32_sel *sel;
	struct nlattr *options, *action;

	ENTER(NULL);
	IS_INT(put(object("flow/d001"), value("bridged", "vnet0", MAC)), 0);
	IS_STR(get(object("flow/d001")), "priority via vnet0");
	IS_INT(n_filters(), 1);
	f = filter_at(tap, 208);
	if (!f)
		return;
	IS_INT(f->tc.tcm_info & 0xffff, htons(ETH_P_ALL));
	IS_INT(f->tc.tcm_parent, 0xfffffff2);
	IS_STR(nl_get_string(of_filter(f, TCA_KIND)), "u32");
	sel = nl.nla_data(nested(of_filter(f, TCA_OPTIONS), TCA_U32_SEL));
	IS_INT(sel->nkeys, 0);
	IS_INT(sel->flags, TC_U32_TERMINAL);
	OK(!nested(of_filter(f, TCA_OPTIONS), TCA_U32_CLASSID));
	action = action_of(f);
	IS_STR(nl_get_string(nested(action, TCA_ACT_KIND)), "skbedit");
	options = nested(action, TCA_ACT_OPTIONS);
	IS_INT(nl_get_u32(nested(options, TCA_SKBEDIT_PRIORITY)), 0xd070d001);
	OK(!nested(options, TCA_SKBEDIT_MARK) && !nested(options, TCA_SKBEDIT_MASK));
	IS_INT(((struct tc_skbedit *)nl.nla_data(nested(options, TCA_SKBEDIT_PARMS)))->action, TC_ACT_UNSPEC);
	IS_INT(nl.nla_len(nested(action, TCA_ACT_COOKIE)), 16);
	/* Again, nothing is sent but questions. */
	fake.changes = 0;
	IS_INT(put(object("flow/d001"), value("bridged", "vnet0", MAC)), 0);
	IS_INT(fake.changes, 0);
	/* Another class is another flow. */
	IS_STR(get(object("flow/d002")), "");
	IS_INT(put(object("flow/d002"), value("bridged", "vnet1", MAC)), 0);
	IS_INT(put(object("flow/d001"), ""), 0);
	IS_STR(get(object("flow/d001")), "");
	OK(!fake.has_ingress[tap]);
	IS_STR(get(object("flow/d002")), "priority via vnet1");
	IS_INT(put(object("flow/d002"), ""), 0);
	IS_INT(n_filters(), 0);
}

TEST(the_root_that_is_joined_has_its_own_number)
{
	const struct filter *f;

	ENTER(NULL);
	fake.root = 0x10000;
	IS_INT(put(object("flow/d001"), value("bridged", "vnet0", MAC)), 0);
	f = filter_at(tap, 208);
	if (f)
		IS_INT(nl_get_u32(nested(nested(action_of(f), TCA_ACT_OPTIONS), TCA_SKBEDIT_PRIORITY)), 0x1d001);
	/* Somebody has put another root there: the flow leads nowhere, until it is written again. */
	fake.root = 0x20000;
	IS_STR(get(object("flow/d001")), "priority via vnet0");
	IS_INT(put(object("flow/d001"), value("bridged", "vnet0", MAC)), 0);
	f = filter_at(tap, 208);
	if (f)
		IS_INT(nl_get_u32(nested(nested(action_of(f), TCA_ACT_OPTIONS), TCA_SKBEDIT_PRIORITY)), 0x2d001);
	IS_INT(n_filters(), 1);
}

TEST(a_routed_flow_is_a_mark_and_its_class)
{
	const char *wanted;
	const struct filter *f;
	struct nlattr *options;

	ENTER(NULL);
	wanted = value("routed", "vnet0", MAC " mark=0x1200/0xff00");
	IS_INT(put(object("flow/d001"), wanted), 0);
	IS_STR(get(object("flow/d001")), "mark 0x1200/0xff00 via vnet0");
	IS_INT(n_filters(), 2);
	f = filter_at(tap, 208);
	options = f ? nested(action_of(f), TCA_ACT_OPTIONS) : NULL;
	IS_INT(nl_get_u32(nested(options, TCA_SKBEDIT_MARK)), 0x1200);
	IS_INT(nl_get_u32(nested(options, TCA_SKBEDIT_MASK)), 0xff00);
	OK(!nested(options, TCA_SKBEDIT_PRIORITY));
	f = filter_at(uplink, 0xd0d2);
	if (!f)
		return;
	IS_INT(f->tc.tcm_handle, 0x1200);
	IS_STR(nl_get_string(of_filter(f, TCA_KIND)), "fw");
	IS_INT(nl_get_u32(nested(of_filter(f, TCA_OPTIONS), TCA_FW_MASK)), 0xff00);
	IS_INT(nl_get_u32(nested(of_filter(f, TCA_OPTIONS), TCA_FW_CLASSID)), 0xd070d001);
	fake.changes = 0;
	IS_INT(put(object("flow/d001"), wanted), 0);
	IS_INT(fake.changes, 0);
	/* Another mark, as a policy was changed. */
	IS_INT(put(object("flow/d001"), value("routed", "vnet0", MAC " mark=0x1300/0xff00")), 0);
	IS_STR(get(object("flow/d001")), "mark 0x1300/0xff00 via vnet0");
	IS_INT(n_filters(), 2);
	/* Somebody's marks are theirs. */
	IS_INT(put(object("flow/d002"), value("routed", "vnet1", MAC " mark=0x1300/0xff00")), -EBUSY);
	IS_STR(get(object("flow/d002")), "");
	IS_INT(n_filters(), 2);
	OK(!fake.has_ingress[if_nametoindex("vnet1")]);
	/* One half goes: the tap's, as with the tap at the guest's end. */
	fake.has_ingress[tap] = false;
	drop((struct filter *)(uintptr_t)filter_at(tap, 208));
	IS_STR(get(object("flow/d001")), "fw 0x1300/0xff00");
	OK(!be_net.same(object("flow/d001"), wanted, get(object("flow/d001"))));
	IS_INT(put(object("flow/d001"), ""), 0);
	IS_INT(n_filters(), 0);
	/* The uplink's. */
	IS_INT(put(object("flow/d001"), wanted), 0);
	drop((struct filter *)(uintptr_t)filter_at(uplink, 0xd0d2));
	IS_STR(get(object("flow/d001")), "marked 0x1200/0xff00 via vnet0");
	IS_INT(put(object("flow/d001"), wanted), 0);
	IS_STR(get(object("flow/d001")), "mark 0x1200/0xff00 via vnet0");
	IS_INT(put(object("flow/d001"), ""), 0);
	IS_INT(n_filters(), 0);
	OK(!fake.has_ingress[tap]);
}

TEST(a_direct_flow_is_a_flower_on_the_source)
{
	static const uint8_t mac[] = {0x52, 0x54, 0x00, 0x11, 0x22, 0x33};
	const struct filter *f;
	struct nlattr *options;

	ENTER(NULL);
	IS_INT(put(object("flow/d0ff"), "direct " MAC), 0);
	IS_STR(get(object("flow/d0ff")), "flower 52:54:00:11:22:33");
	f = filter_at(uplink, 0xd0d1);
	if (!f)
		return;
	options = of_filter(f, TCA_OPTIONS);
	IS_INT(f->tc.tcm_handle, 0xd0ff);
	IS_STR(nl_get_string(of_filter(f, TCA_KIND)), "flower");
	IS_INT(nl_get_u32(nested(options, TCA_FLOWER_CLASSID)), 0xd070d0ff);
	OK(memcmp(nl.nla_data(nested(options, TCA_FLOWER_KEY_ETH_SRC)), mac, 6) == 0);
	OK(memcmp(nl.nla_data(nested(options, TCA_FLOWER_KEY_ETH_SRC_MASK)), "\377\377\377\377\377\377", 6) == 0);
	OK(!nested(options, TCA_FLOWER_KEY_ETH_TYPE)); /* tagged frames too */
	IS_INT(put(object("flow/d0ff"), "direct mac=52:54:00:11:22:34"), 0);
	IS_STR(get(object("flow/d0ff")), "flower 52:54:00:11:22:34");
	IS_INT(n_filters(), 1);
	IS_INT(put(object("flow/d0ff"), ""), 0);
	IS_INT(n_filters(), 0);
}

TEST(what_the_kernel_lacks_is_done_otherwise)
{
	static const struct {
		const char *lacks, *kind, *rest, *reads;
	} cases[] = {
		{NULL, "bridged", MAC, "priority via vnet0"},
		{"skbedit", "bridged", MAC, "flower 52:54:00:11:22:33"},
		{"skbedit flower", "bridged", MAC, "u32 52:54:00:11:22:33"},
		{"skbedit flower u32", "bridged", MAC, NULL},
		{"flower", "bridged", MAC, "priority via vnet0"},
		{"skbedit", "routed", MAC " mark=0x1/0x1", NULL},
		{"fw", "routed", MAC " mark=0x1/0x1", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int status;
		pid_t pid = fork(); /* what is lacking is remembered */

		if (pid == 0) {
			const char *why = netns_enter();
			int r;

			if (why)
				exit(77);
			enter(cases[i].lacks);
			r = put(object("flow/d001"), value(cases[i].kind, "vnet0", cases[i].rest));
			if (r != (cases[i].reads ? 0 : -EOPNOTSUPP))
				TAP_FAIL("%s without %s: %d", cases[i].kind, cases[i].lacks, r);
			IS_STR(get(object("flow/d001")), cases[i].reads ? cases[i].reads : "");
			if (!cases[i].reads)
				IS_INT(n_filters(), 0);
			OK(fake.has_ingress[tap] == (cases[i].reads && str_starts(cases[i].reads, "priority")));
			/* Tried once: the next goes straight to what there is. */
			fake.changes = 0;
			(void)put(object("flow/d002"), value(cases[i].kind, "vnet1", cases[i].rest));
			IS_INT(fake.changes, cases[i].reads ? 1 : 0);
			IS_INT(put(object("flow/d001"), ""), 0);
			IS_STR(get(object("flow/d001")), "");
			fflush(stdout);
			_exit(tap_failed ? 1 : 0);
		}
		IS_INT(waitpid(pid, &status, 0), pid);
		if (WEXITSTATUS(status) == 77)
			SKIP("needs root and network namespaces");
		IS_INT(status, 0);
	}
}

/* A write takes what the read before it has found, once; reading back asks for what was made, not for all. */
TEST(nothing_is_asked_twice)
{
	unsigned int before;

	ENTER("skbedit flower");
	IS_STR(get(object("flow/d001")), "");
	before = fake.exchanges;
	IS_INT(put(object("flow/d001"), "direct " MAC), 0);
	IS_INT(fake.exchanges - before, 2); /* flower, which is lacking, and u32 */
	fake.dumps = 0;
	IS_STR(get(object("flow/d001")), "u32 52:54:00:11:22:33");
	IS_INT(fake.dumps, 0);
	/* What somebody has taken away meanwhile is not there, whatever was read before. */
	for (int i = 0; i < FILTERS; i++)
		drop(&fake.filters[i]);
	IS_INT(put(object("flow/d001"), "direct " MAC), 0); /* taken from that read, in which it was there */
	IS_STR(get(object("flow/d001")), "");
	IS_INT(put(object("flow/d001"), "direct " MAC), 0);
	IS_STR(get(object("flow/d001")), "u32 52:54:00:11:22:33");
}

TEST(the_ingress_of_somebody_stays)
{
	const struct tcmsg police = {.tcm_ifindex = 0, .tcm_parent = 0xffff0000, .tcm_info = 49152u << 16};

	ENTER(NULL);
	/* As libvirt makes it of <outbound>. */
	fake.has_ingress[tap] = true;
	fake.filters[FILTERS - 1] = (struct filter){.tc = police, .attrs = calloc(1, 8), .len = 8};
	fake.filters[FILTERS - 1].tc.tcm_ifindex = tap;
	IS_INT(put(object("flow/d001"), value("bridged", "vnet0", MAC)), 0);
	IS_STR(get(object("flow/d001")), "priority via vnet0");
	IS_INT(put(object("flow/d001"), ""), 0);
	OK(fake.has_ingress[tap]);
	IS_INT(n_filters(), 1);
	/* `virsh domiftune --outbound` takes all of it away. */
	IS_INT(put(object("flow/d001"), value("bridged", "vnet0", MAC)), 0);
	for (int i = 0; i < FILTERS; i++)
		drop(&fake.filters[i]);
	IS_STR(get(object("flow/d001")), "");
	IS_INT(put(object("flow/d001"), ""), 0);
	OK(fake.has_ingress[tap]);
	/* Also an empty one, that somebody had made before us; but not what was made for another flow that is left. */
	IS_INT(put(object("flow/d001"), value("bridged", "vnet0", MAC)), 0);
	IS_INT(put(object("flow/d001"), ""), 0);
	OK(fake.has_ingress[tap]);
	fake.has_ingress[tap] = false;
	IS_INT(put(object("flow/d001"), value("bridged", "vnet0", MAC)), 0);
	IS_INT(put(object("flow/d002"), value("bridged", "vnet0", MAC)), 0);
	IS_INT(put(object("flow/d001"), ""), 0);
	OK(fake.has_ingress[tap]);
	IS_INT(put(object("flow/d002"), ""), 0);
	OK(!fake.has_ingress[tap]);
	fake.has_ingress[tap] = true;
	/* Somebody has our preference as well. */
	IS_INT(put(object("flow/d001"), value("bridged", "vnet0", MAC)), 0);
	fake.filters[FILTERS - 1] = (struct filter){.tc = police, .attrs = calloc(1, 8), .len = 8};
	fake.filters[FILTERS - 1].tc.tcm_ifindex = tap;
	fake.filters[FILTERS - 1].tc.tcm_handle = 0x80000801;
	fake.filters[FILTERS - 1].tc.tcm_info = 208u << 16 | htons(ETH_P_ALL);
	IS_STR(get(object("flow/d001")), "priority via vnet0");
	IS_INT(put(object("flow/d001"), ""), 0);
	OK(fake.has_ingress[tap]);
	IS_INT(n_filters(), 1);
	drop(&fake.filters[FILTERS - 1]);
	/* A clsact of somebody is not ours to remove, even if nothing of it can be seen. */
	fake.ingress_kind = "clsact";
	IS_INT(put(object("flow/d001"), value("bridged", "vnet0", MAC)), 0);
	IS_INT(put(object("flow/d001"), ""), 0);
	OK(fake.has_ingress[tap]);
}

TEST(a_failure_leaves_nothing)
{
	static const struct {
		const char *kind, *rest;
		uint32_t preference;
		int code;
	} cases[] = {
		{"bridged", MAC, 208, EPERM},
		{"bridged", MAC, 208, ENOMEM},
		{"routed", MAC " mark=0x1/0x1", 208, ENOMEM},
		{"routed", MAC " mark=0x1/0x1", 0xd0d2, ENOMEM},
		{"routed", MAC " mark=0x1/0x1", 0xd0d2, EINVAL}, /* the classifier has another mask */
	};

	ENTER(NULL);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fake.next_failure = cases[i].code;
		fake.failing = cases[i].preference;
		IS_INT(put(object("flow/d001"), value(cases[i].kind, "vnet0", cases[i].rest)), -cases[i].code);
		fake.next_failure = 0;
		IS_INT(n_filters(), 0);
		OK(!fake.has_ingress[tap]);
		IS_STR(get(object("flow/d001")), "");
	}
}

/* The action of a flow that was just removed is still there for a moment, and one of that number is not made meanwhile.
 */
TEST(a_number_that_is_taken_is_not_used)
{
	struct filter *left = &fake.filters[FILTERS - 1];

	ENTER(NULL);
	IS_INT(put(object("flow/d001"), value("bridged", "vnet0", MAC)), 0);
	/* What of it remains is not at the tap any more. */
	*left = fake.filters[0];
	fake.filters[0] = (struct filter){0};
	left->tc.tcm_ifindex = 7;
	IS_STR(get(object("flow/d001")), "");
	IS_INT(put(object("flow/d001"), value("bridged", "vnet0", MAC)), -EBUSY);
	IS_INT(n_filters(), 1);
	drop(left);
	IS_INT(put(object("flow/d001"), value("bridged", "vnet0", MAC)), 0);
}

/* Two uplinks whose indexes end alike have one number for a MINOR. */
TEST(the_number_of_another_uplink_is_not_ours)
{
	char other[64];

	ENTER(NULL);
	sh("ip link add name nic2 index %d type veth peer name nic3", uplink + 65536);
	(void)snprintf(other, sizeof(other), "nic2:%d/flow/d001", uplink + 65536);
	IS_INT(put(object("flow/d001"), value("bridged", "vnet0", MAC)), 0);
	IS_STR(get(other), "");
	IS_INT(put(other, ""), 0);
	IS_INT(put(other, value("bridged", "vnet1", MAC)), -EBUSY);
	IS_STR(get(object("flow/d001")), "priority via vnet0");
	IS_INT(put(object("flow/d001"), ""), 0);
	IS_INT(n_filters(), 0);
}

/* Another process adds a key when the last one out has just removed the link. */
TEST(a_key_that_comes_late_gets_its_link_back)
{
	const struct filter *key = NULL;

	ENTER("skbedit flower");
	IS_INT(put(object("flow/d002"), "direct mac=52:54:00:11:22:44"), 0);
	IS_INT(n_filters(), 3); /* table, link, key */
	for (int i = 0; i < FILTERS; i++)
		if (fake.filters[i].attrs && fake.filters[i].tc.tcm_handle == 0x0d044002) {
			fake.late = fake.filters[i];
			fake.filters[i] = (struct filter){0};
			key = &fake.late;
		}
	OK(key);
	IS_INT(put(object("flow/d001"), "direct " MAC), 0);
	IS_INT(put(object("flow/d001"), ""), 0);
	OK(!fake.late.attrs);
	IS_INT(n_filters(), 3);
	IS_STR(get(object("flow/d001")), "");
	IS_STR(get(object("flow/d002")), "u32 52:54:00:11:22:44");
	IS_INT(put(object("flow/d002"), ""), 0);
	IS_INT(n_filters(), 0);
}

TEST(rings_are_set_when_they_change)
{
	static const struct {
		const char *ring, *value;
		int code;
		unsigned int sets;
		uint32_t rx, tx;
	} cases[] = {
		{"rx-ring", "512", 0, 0, 512, 256}, /* is there */
		{"rx-ring", "1024", 0, 1, 1024, 256},     {"tx-ring", "1024", 0, 1, 1024, 1024},
		{"rx-ring", "99999", 0, 1, 4096, 1024}, /* the most it takes */
		{"rx-ring", "99999", 0, 0, 4096, 1024},   {"tx-ring", "4294967295", 0, 1, 4096, 2048},
		{"tx-ring", "0", -EINVAL, 0, 4096, 2048}, {"tx-ring", "max", -EINVAL, 0, 4096, 2048},
		{"tx-ring", "", -EINVAL, 0, 4096, 2048},  {"tx-ring", "4294967296", -EINVAL, 0, 4096, 2048},
		{"tx-ring", "256", 0, 1, 4096, 256},      {"rx-ring", "512", 0, 1, 512, 256},
	};
	struct net_rings r = {0};

	ENTER(NULL);
	if (nl_ethtool() < 0)
		SKIP("no ethtool netlink, or no libnl-genl-3");
	IS_STR(get(object("rx-ring")), "error 95");
	IS_INT(put(object("rx-ring"), "512"), -EOPNOTSUPP);
	fake.rings = (struct net_rings){512, 256, 4096, 2048};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[16];

		fake.ring_sets = 0;
		if (put(object(cases[i].ring), cases[i].value) != cases[i].code || fake.ring_sets != cases[i].sets ||
		    fake.rings.rx != cases[i].rx || fake.rings.tx != cases[i].tx)
			TAP_FAIL("%s %s: %u sent, rx %u, tx %u", cases[i].ring, cases[i].value, fake.ring_sets,
				 fake.rings.rx, fake.rings.tx);
		(void)snprintf(text, sizeof(text), "%u", cases[i].rx);
		IS_STR(get(object("rx-ring")), text);
	}
	IS_INT(net_ring_read(&fs, "nic", &r), 0);
	IS_INT(r.rx, 512);
	IS_INT(r.rx_max, 4096);
	IS_INT(r.tx, 256);
	IS_INT(r.tx_max, 2048);
	/* A NIC with one ring that can be told. */
	fake.rings = (struct net_rings){0, 256, 0, 2048};
	IS_STR(get(object("rx-ring")), "error 95");
	IS_STR(get(object("tx-ring")), "256");
}

TAP_MAIN

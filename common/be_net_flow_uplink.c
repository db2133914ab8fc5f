/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Filters at the uplink's root. libnl-route knows neither the class of flower nor what fw and u32 say when read, so
 * these are put together by hand, from linux/pkt_cls.h.
 *
 * A preference has one kind of classifier: one for each of ours. flower has MINOR as the handle, fw the mark. u32:
 *
 *   table d0:   256 buckets, by the last byte of the source MAC; the key of an interface has MINOR as its node
 *   link        a key in the classifier's root table that every frame matches, which leads to the table
 *
 * so that a frame is compared with those guests only whose MACs end alike. Offsets count from the network header
 * (u32_classify()), before which the Ethernet header lies also where a frame has a VLAN tag: the tag is kept apart from
 * the frame until behind the queue. -8: the first four bytes of the source MAC, -4: the last two and the type.
 *
 * The last one out takes link and table away without a lock, and never another guest's key with them: u32_delete()
 * refuses a table that a link leads to. So first the link goes; if a look afterwards finds a key that came meanwhile,
 * the link is put back; who adds a key always adds table and link.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <time.h>

#include "be_net_flow.h"

#define U32_PREFERENCE    0xd0d0u
#define FLOWER_PREFERENCE 0xd0d1u
#define FW_PREFERENCE     0xd0d2u

#define TABLE     0x0d000000u /* its number, twelve bits, then bucket and node (TC_U32_HTID() etc.) */
#define DIVISOR   256
#define LINK_NODE 1

#define TABLE_TRIES    10
#define TABLE_PAUSE_MS 10

/* parent 0: the root, whatever its handle. */
static void start(struct nl_batch *b, const struct net_object *o, int type, int flags, unsigned int preference,
		  uint32_t handle, const char *kind)
{
	bool is_question = type == RTM_GETTFILTER;

	if (is_question)
		nl_ask(b, type, flags);
	else
		nl_change(b, type, flags);
	net_put_tc(b, o->ifindex, 0, handle, net_filter_info(preference));
	if (!is_question)
		nl_put_string(b, TCA_KIND, kind);
}

/* An answer's options; false: not one of that preference. */
static bool parse_options(struct nl_msg *msg, unsigned int preference, struct nlattr *ret[], int max,
			  uint32_t *ret_handle)
{
	struct nlmsghdr *header = nl.nlmsg_hdr(msg);
	const struct tcmsg *tc = nl.nlmsg_data(header);
	struct nlattr *attrs[TCA_MAX + 1];

	*ret_handle = tc->tcm_handle;
	return tc->tcm_info >> 16 == preference && nl.nlmsg_parse(header, sizeof(*tc), attrs, TCA_MAX, NULL) == 0 &&
	       attrs[TCA_OPTIONS] && nl.nla_parse_nested(ret, max, attrs[TCA_OPTIONS], NULL) == 0;
}

/* Of a filter that was to be made with NLM_F_EXCL. */
static int put_result(int code)
{
	if (code == -EEXIST)
		return -EBUSY; /* the same MAC goes to another class, or somebody else has taken the handle */
	return code == -ENOENT ? -EOPNOTSUPP : code; /* no such kind of classifier */
}

/* --- flower ------------------------------------------------------------------------------------------------------ */

void net_flower_ask(struct nl_batch *b, const struct net_object *o)
{
	start(b, o, RTM_GETTFILTER, 0, FLOWER_PREFERENCE, o->minor, NULL);
}

void net_flower_take(struct nl_msg *msg, struct net_flow *ret)
{
	struct nlattr *options[TCA_FLOWER_KEY_ETH_SRC_MASK + 1], *mac;
	uint32_t handle;

	if (!parse_options(msg, FLOWER_PREFERENCE, options, TCA_FLOWER_KEY_ETH_SRC_MASK, &handle))
		return;
	mac = options[TCA_FLOWER_KEY_ETH_SRC];
	if (!mac || nl.nla_len(mac) != (int)sizeof(ret->mac))
		return;
	memcpy(ret->mac, nl.nla_data(mac), sizeof(ret->mac));
	ret->class_id = nl_get_u32(options[TCA_FLOWER_CLASSID]);
	ret->kind = NET_FLOW_FLOWER;
}

int net_flower_put(const struct net_object *o, uint32_t class_id, const struct net_flow *f)
{
	static const uint8_t whole[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct nl_batch b = {0};
	struct nlattr *options;
	int r;

	start(&b, o, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, FLOWER_PREFERENCE, o->minor, "flower");
	options = nl_nest(&b, TCA_OPTIONS);
	nl_put_u32(&b, TCA_FLOWER_CLASSID, class_id);
	nl_put(&b, TCA_FLOWER_KEY_ETH_SRC, f->mac, sizeof(f->mac));
	nl_put(&b, TCA_FLOWER_KEY_ETH_SRC_MASK, whole, sizeof(whole));
	nl_nest_end(&b, options);
	r = nl_exchange(&b, NULL, NULL);
	return r < 0 ? r : put_result(b.codes[0]);
}

int net_flower_remove(const struct net_object *o)
{
	struct nl_batch b = {0};
	int r;

	start(&b, o, RTM_DELTFILTER, 0, FLOWER_PREFERENCE, o->minor, "flower");
	r = nl_exchange(&b, NULL, NULL);
	return r < 0 ? r : nl_first_failure(&b, ENOENT);
}

/* --- fw ---------------------------------------------------------------------------------------------------------- */

static void take_fw(struct nl_msg *msg, uint32_t class_id, struct net_flow *ret)
{
	struct nlattr *options[TCA_FW_MAX + 1];
	uint32_t handle;

	if (!parse_options(msg, FW_PREFERENCE, options, TCA_FW_MAX, &handle) || handle == 0 ||
	    nl_get_u32(options[TCA_FW_CLASSID]) != class_id)
		return;
	ret->kind = NET_FLOW_FW;
	ret->class_id = class_id;
	ret->mark = handle;
	ret->mask = options[TCA_FW_MASK] ? nl_get_u32(options[TCA_FW_MASK]) : UINT32_MAX; /* fw_dump() */
}

static void take_class(struct nl_msg *msg, unsigned int which, void *arg)
{
	struct nlattr *options[TCA_FW_MAX + 1];
	uint32_t handle, *class_id = arg;

	(void)which;
	if (parse_options(msg, FW_PREFERENCE, options, TCA_FW_MAX, &handle))
		*class_id = nl_get_u32(options[TCA_FW_CLASSID]);
}

int net_fw_class(const struct net_object *o, uint32_t mark, uint32_t *ret)
{
	struct nl_batch b = {0};
	int r;

	*ret = 0;
	start(&b, o, RTM_GETTFILTER, 0, FW_PREFERENCE, mark, NULL);
	r = nl_exchange(&b, take_class, ret);
	/* No such classifier, none of that mark, a root that has none: all the same. */
	return r < 0 ? r : b.codes[0] == -ENODEV ? -ENODEV : 0;
}

void net_fw_put(struct nl_batch *b, const struct net_object *o, uint32_t class_id, const struct net_flow *f)
{
	struct nlattr *options;

	start(b, o, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, FW_PREFERENCE, f->mark, "fw");
	options = nl_nest(b, TCA_OPTIONS);
	nl_put_u32(b, TCA_FW_CLASSID, class_id);
	nl_put_u32(b, TCA_FW_MASK, f->mask);
	nl_nest_end(b, options);
}

void net_fw_delete(struct nl_batch *b, const struct net_object *o, uint32_t mark)
{
	start(b, o, RTM_DELTFILTER, 0, FW_PREFERENCE, mark, "fw");
}

/* --- u32 --------------------------------------------------------------------------------------------------------- */

#define MAC_KEYS 2

/* A selector and its keys, which follow it (linux/pkt_cls.h: an array without a size). */
#define SELECTOR_SIZE (sizeof(struct tc_u32_sel) + MAC_KEYS * sizeof(struct tc_u32_key))

static uint32_t key_handle(const struct net_object *o, const uint8_t mac[6])
{
	return TABLE | (uint32_t)mac[5] << 12 | (o->minor & 0xfff);
}

static void put_table(struct nl_batch *b, const struct net_object *o)
{
	struct nlattr *options;

	start(b, o, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, U32_PREFERENCE, TABLE, "u32");
	options = nl_nest(b, TCA_OPTIONS);
	nl_put_u32(b, TCA_U32_DIVISOR, DIVISOR);
	nl_nest_end(b, options);
}

static void put_link(struct nl_batch *b, const struct net_object *o)
{
	const struct tc_u32_sel sel = {.hoff = -4, .hmask = htonl(0x00ff0000)}; /* the last byte of the source MAC */
	struct nlattr *options;

	start(b, o, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, U32_PREFERENCE, LINK_NODE, "u32");
	options = nl_nest(b, TCA_OPTIONS);
	nl_put_u32(b, TCA_U32_LINK, TABLE);
	nl_put(b, TCA_U32_SEL, &sel, sizeof(sel));
	nl_nest_end(b, options);
}

static void put_key(struct nl_batch *b, const struct net_object *o, uint32_t class_id, const uint8_t mac[6])
{
	const struct tc_u32_sel sel = {.flags = TC_U32_TERMINAL, .nkeys = MAC_KEYS};
	struct tc_u32_key keys[MAC_KEYS] = {
		{.mask = htonl(0xffffffff), .off = -8},
		{.mask = htonl(0xffff0000), .off = -4},
	};
	uint8_t selector[SELECTOR_SIZE];
	uint32_t handle = key_handle(o, mac);
	struct nlattr *options;

	memcpy(&keys[0].val, mac, 4);
	memcpy(&keys[1].val, mac + 4, 2);
	memcpy(selector, &sel, sizeof(sel));
	memcpy(selector + sizeof(sel), keys, sizeof(keys));
	start(b, o, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, U32_PREFERENCE, handle, "u32");
	options = nl_nest(b, TCA_OPTIONS);
	nl_put_u32(b, TCA_U32_CLASSID, class_id);
	nl_put_u32(b, TCA_U32_HASH, handle & ~0xfffu);
	nl_put(b, TCA_U32_SEL, selector, sizeof(selector));
	nl_nest_end(b, options);
}

int net_u32_put(const struct net_object *o, uint32_t class_id, const struct net_flow *f)
{
	enum { THE_TABLE, THE_LINK, THE_KEY };
	struct nl_batch b = {0};
	int r;

	/* The first two may be there: EEXIST, and ENOSPC for a node that is taken (u32_change()). */
	put_table(&b, o);
	put_link(&b, o);
	put_key(&b, o, class_id, f->mac);
	r = nl_exchange(&b, NULL, NULL);
	return r < 0 ? r : put_result(b.codes[THE_KEY]);
}

/* What the preference has. */
struct table {
	uint32_t class_id;        /* that is looked for */
	struct net_flow *flow;    /* its key */
	uint32_t key, link;       /* handles, 0: none */
	bool is_there, has_other; /* a key of another class */
};

static void ask_u32(struct nl_batch *b, const void *arg)
{
	start(b, arg, RTM_GETTFILTER, NLM_F_DUMP, U32_PREFERENCE, 0, NULL);
}

static bool take_mac(struct nlattr *attr, uint8_t mac[6])
{
	struct tc_u32_sel sel;
	struct tc_u32_key keys[MAC_KEYS];

	if (!attr || nl.nla_len(attr) < (int)SELECTOR_SIZE)
		return false;
	memcpy(&sel, nl.nla_data(attr), sizeof(sel));
	memcpy(keys, (const char *)nl.nla_data(attr) + sizeof(sel), sizeof(keys));
	if (sel.nkeys != MAC_KEYS || keys[0].off != -8 || keys[1].off != -4)
		return false;
	memcpy(mac, &keys[0].val, 4);
	memcpy(mac + 4, &keys[1].val, 2);
	return true;
}

static void take_u32(struct nl_msg *msg, unsigned int which, void *arg)
{
	struct table *t = arg;
	struct net_flow *flow = t->flow;
	struct nlattr *options[TCA_U32_MAX + 1];
	uint32_t handle;

	(void)which;
	if (!parse_options(msg, U32_PREFERENCE, options, TCA_U32_MAX, &handle))
		return;
	if (handle == TABLE)
		t->is_there = true;
	if (nl_get_u32(options[TCA_U32_LINK]) == TABLE)
		t->link = handle;
	if (TC_U32_HTID(handle) != TABLE || TC_U32_NODE(handle) == 0)
		return;
	if (nl_get_u32(options[TCA_U32_CLASSID]) == t->class_id && take_mac(options[TCA_U32_SEL], flow->mac)) {
		flow->kind = NET_FLOW_U32;
		flow->class_id = t->class_id;
		t->key = handle;
	} else {
		t->has_other = true;
	}
}

void net_u32_ask(struct nl_batch *b, const struct net_object *o, const uint8_t mac[6])
{
	start(b, o, RTM_GETTFILTER, 0, U32_PREFERENCE, key_handle(o, mac), NULL);
}

void net_u32_take(struct nl_msg *msg, uint32_t class_id, struct net_flow *ret)
{
	struct table t = {.class_id = class_id, .flow = ret};

	take_u32(msg, 0, &t);
}

static void forget_table(void *arg)
{
	struct table *t = arg;

	*t = (struct table){.class_id = t->class_id, .flow = t->flow};
	t->flow->kind = NET_FLOW_NONE;
}

static int find_u32(const struct net_object *o, uint32_t class_id, struct net_flow *flow, struct table *ret)
{
	*ret = (struct table){.class_id = class_id, .flow = flow};
	return net_dump(ask_u32, o, take_u32, ret, forget_table);
}

static void ask_all(struct nl_batch *b, const void *arg)
{
	const struct net_object *o = arg;

	nl_ask(b, RTM_GETTFILTER, NLM_F_DUMP);
	net_put_tc(b, o->ifindex, 0, 0, 0);
}

static void take_any(struct nl_msg *msg, unsigned int which, void *arg)
{
	struct table *t = arg;

	take_fw(msg, t->class_id, t->flow);
	take_u32(msg, which, arg);
}

int net_uplink_find(const struct net_object *o, uint32_t class_id, struct net_flow *ret)
{
	struct table t = {.class_id = class_id, .flow = ret};

	return net_dump(ask_all, o, take_any, &t, forget_table);
}

/*
 * The link has gone: table and classifier follow, unless a key came meanwhile, which gets its link back. They still are
 * there only on a joined root where somebody else has u32 filters (u32_delete() takes the classifier along otherwise),
 * and the kernel lets go of the table some milliseconds later than of the link (tcf_queue_work()).
 */
static int remove_table(const struct net_object *o, uint32_t class_id)
{
	const struct timespec pause = {0, TABLE_PAUSE_MS * 1000000};
	int r = -EBUSY;

	for (int i = 0; i < TABLE_TRIES && r == -EBUSY; i++) {
		struct nl_batch b = {0}, last = {0};
		struct net_flow flow;
		struct table t;

		if (i > 0)
			(void)nanosleep(&pause, NULL); /* cut short by a signal: asked again sooner */
		r = find_u32(o, class_id, &flow, &t);
		if (r < 0 || !t.is_there || t.link)
			return r;
		if (t.key || t.has_other) {
			put_link(&b, o);
			return nl_exchange(&b, NULL, NULL); /* ENOSPC: who added the key has added a link */
		}
		start(&b, o, RTM_DELTFILTER, 0, U32_PREFERENCE, TABLE, "u32");
		r = nl_exchange(&b, NULL, NULL);
		if (r == 0)
			r = nl_first_failure(&b, ENOENT);
		if (r == 0) {
			start(&last, o, RTM_DELTFILTER, 0, U32_PREFERENCE, 0, "u32");
			r = nl_exchange(&last, NULL, NULL);
		}
	}
	return r == -EBUSY ? 0 : r; /* an empty table that nothing leads to is in nobody's way */
}

int net_u32_remove(const struct net_object *o, uint32_t class_id)
{
	struct nl_batch b = {0};
	struct net_flow flow;
	struct table t;
	int r = find_u32(o, class_id, &flow, &t);
	bool is_last = !t.has_other && t.link;

	if (r < 0 || !t.key)
		return r;
	start(&b, o, RTM_DELTFILTER, 0, U32_PREFERENCE, t.key, "u32");
	if (is_last)
		start(&b, o, RTM_DELTFILTER, 0, U32_PREFERENCE, t.link, "u32");
	r = nl_exchange(&b, NULL, NULL);
	if (r == 0)
		r = nl_first_failure(&b, ENOENT);
	return r == 0 && is_last ? remove_table(o, class_id) : r;
}

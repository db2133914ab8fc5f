/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Subject "flow": what an interface sends goes to class MINOR of the uplink. Wanted:
 *
 *   bridged dev=TAP:IFINDEX mac=MAC                   frames reach the uplink as the guest sent them
 *   routed dev=TAP:IFINDEX mac=MAC mark=0xV/0xM       forwarded (NAT, routed): another source MAC, another priority
 *   direct mac=MAC                                    macvtap: there is no tap to look at
 *
 * How it is done is what reads back, and the wanted value says which of these fit, the best first:
 *
 *   priority via TAP       skb->priority is set to the class at the tap's ingress, and HTB takes it as such
 *                          (htb_classify()): no filter on the uplink, no cost that grows with the guests. bridged
 *   flower MAC             one hash look-up on the uplink for all guests. bridged, direct
 *   u32 MAC                a hash table on the uplink, by the MAC's last byte. bridged, direct
 *   mark 0xV/0xM via TAP   mark at the tap's ingress, the hashed fw classifier on the uplink. routed: forwarding sets
 *                          the priority from the TOS (ip_forward()). Without skbedit and fw: -EOPNOTSUPP
 *   marked 0xV/0xM via TAP and fw 0xV/0xM: one half of that, what remains when the uplink's root was replaced, or
 *                          when the tap or its ingress has gone. Neither fits what is wanted, both are ours
 */
#include "be_net_flow.h"

#include <inttypes.h>

#include "num.h"

/* --- texts ------------------------------------------------------------------------------------------------------- */

static int parse_mac(const char *text, struct net_flow *f)
{
	for (size_t i = 0; i < sizeof(f->mac); i++) {
		char byte[3] = {0};
		uint64_t value;

		strncpy(byte, text, 2);
		if (strlen(byte) != 2 || num_parse_hex(byte, &value) < 0 ||
		    text[2] != (i + 1 < sizeof(f->mac) ? ':' : '\0'))
			return -EINVAL;
		f->mac[i] = (uint8_t)value;
		text += 3;
	}
	return 0;
}

static int parse_tap(const char *text, struct net_flow *f)
{
	size_t len = strlen(text);

	if (len >= sizeof(f->tap) || !hostfs_is_name(text))
		return -EINVAL;
	memcpy(f->tap, text, len + 1);
	return 0;
}

static int parse_dev(const char *text, struct net_flow *f)
{
	const char *colon = strrchr(text, ':');
	char name[IFNAMSIZ];
	uint64_t ifindex;

	if (!colon || (size_t)(colon - text) >= sizeof(name) || num_parse_range(colon + 1, 1, INT32_MAX, &ifindex) < 0)
		return -EINVAL;
	memcpy(name, text, (size_t)(colon - text));
	name[colon - text] = '\0';
	f->tap_ifindex = (int)ifindex;
	return parse_tap(name, f);
}

static int parse_hex32(const char *text, size_t len, uint32_t *ret)
{
	char digits[9];
	uint64_t value;

	if (len < 3 || len - 2 >= sizeof(digits) || strncmp(text, "0x", 2) != 0)
		return -EINVAL;
	memcpy(digits, text + 2, len - 2);
	digits[len - 2] = '\0';
	if (num_parse_hex(digits, &value) < 0)
		return -EINVAL;
	*ret = (uint32_t)value;
	return 0;
}

/* A mark of 0 is what packets of nobody have, and bits outside the mask would never be found (fw_classify()). */
static int parse_mark(const char *text, struct net_flow *f)
{
	size_t len = strcspn(text, "/");

	if (!text[len] || parse_hex32(text, len, &f->mark) < 0 ||
	    parse_hex32(text + len + 1, strlen(text + len + 1), &f->mask) < 0)
		return -EINVAL;
	return f->mark == 0 || (f->mark & ~f->mask) ? -EINVAL : 0;
}

static int parse_nothing(const char *text, struct net_flow *f)
{
	(void)f;
	return *text ? -EINVAL : 0;
}

struct word {
	const char *prefix;
	int (*parse)(const char *text, struct net_flow *f);
};

static const struct word w_dev = {"dev=", parse_dev}, w_mac = {"mac=", parse_mac}, w_mark = {"mark=", parse_mark},
			 w_bare_mac = {"", parse_mac}, w_bare_mark = {"", parse_mark}, w_via = {"via", parse_nothing},
			 w_tap = {"", parse_tap};

#define WAYS_MAX 3

/* A kind: its name, the words behind it, and the ways that lead there, the best first (a way leads to itself). */
static const struct kind {
	const char *name;
	const struct word *words[3];
	enum net_flow_kind ways[WAYS_MAX];
} kinds[NET_FLOW_KIND_MAX] = {
	[NET_FLOW_BRIDGED] = {"bridged", {&w_dev, &w_mac}, {NET_FLOW_PRIORITY, NET_FLOW_FLOWER, NET_FLOW_U32}},
	[NET_FLOW_ROUTED] = {"routed", {&w_dev, &w_mac, &w_mark}, {NET_FLOW_MARK}},
	[NET_FLOW_DIRECT] = {"direct", {&w_mac}, {NET_FLOW_FLOWER, NET_FLOW_U32}},
	[NET_FLOW_PRIORITY] = {"priority", {&w_via, &w_tap}, {NET_FLOW_PRIORITY}},
	[NET_FLOW_MARK] = {"mark", {&w_bare_mark, &w_via, &w_tap}, {NET_FLOW_MARK}},
	[NET_FLOW_FLOWER] = {"flower", {&w_bare_mac}, {NET_FLOW_FLOWER}},
	[NET_FLOW_U32] = {"u32", {&w_bare_mac}, {NET_FLOW_U32}},
	[NET_FLOW_MARKED] = {"marked", {&w_bare_mark, &w_via, &w_tap}, {0}},
	[NET_FLOW_FW] = {"fw", {&w_bare_mark}, {0}},
};

static enum net_flow_kind find_kind(const char *name)
{
	for (int k = 1; k < NET_FLOW_KIND_MAX; k++)
		if (streq(kinds[k].name, name))
			return (enum net_flow_kind)k;
	return NET_FLOW_NONE;
}

/* 0, also for "" (NET_FLOW_NONE); -EINVAL. */
static int parse_flow(const char *text, struct net_flow *ret)
{
	char copy[128], *rest = copy, *word;
	size_t len = strlen(text);

	*ret = (struct net_flow){0};
	if (len == 0)
		return 0;
	if (len >= sizeof(copy) || strchr(text, ' ') == NULL)
		return -EINVAL;
	memcpy(copy, text, len + 1);
	ret->kind = find_kind(strsep(&rest, " "));
	for (size_t i = 0; i < ARRAY_SIZE(kinds->words) && kinds[ret->kind].words[i]; i++) {
		const struct word *w = kinds[ret->kind].words[i];

		word = strsep(&rest, " ");
		if (!word || !str_starts(word, w->prefix) || w->parse(word + strlen(w->prefix), ret) < 0)
			return -EINVAL;
	}
	return ret->kind == NET_FLOW_NONE || rest ? -EINVAL : 0;
}

static int print_flow(const struct net_flow *f, char *buf, size_t size)
{
	const uint8_t *m = f->mac;
	const char *name = kinds[f->kind].name;

	if (f->kind == NET_FLOW_NONE)
		return net_print(buf, size, "%s", "");
	if (f->kind == NET_FLOW_PRIORITY)
		return net_print(buf, size, "%s via %s", name, f->tap);
	if (f->kind == NET_FLOW_FW)
		return net_print(buf, size, "%s 0x%" PRIx32 "/0x%" PRIx32, name, f->mark, f->mask);
	if (f->kind == NET_FLOW_MARK || f->kind == NET_FLOW_MARKED)
		return net_print(buf, size, "%s 0x%" PRIx32 "/0x%" PRIx32 " via %s", name, f->mark, f->mask, f->tap);
	return net_print(buf, size, "%s %02x:%02x:%02x:%02x:%02x:%02x", name, m[0], m[1], m[2], m[3], m[4], m[5]);
}

static bool has_word(enum net_flow_kind kind, int (*parse)(const char *text, struct net_flow *f))
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds->words) && kinds[kind].words[i]; i++)
		if (kinds[kind].words[i]->parse == parse)
			return true;
	return false;
}

static bool both_say(const struct net_flow *a, const struct net_flow *b, int (*parse)(const char *, struct net_flow *))
{
	return has_word(a->kind, parse) && has_word(b->kind, parse);
}

/* Where both name it: the tap, the MAC, the mark. */
static bool is_alike(const struct net_flow *a, const struct net_flow *b)
{
	bool a_tap = *a->tap, b_tap = *b->tap;

	if (a_tap && b_tap && !streq(a->tap, b->tap))
		return false;
	if (a->tap_ifindex && b->tap_ifindex && a->tap_ifindex != b->tap_ifindex)
		return false;
	if (both_say(a, b, parse_mac) && memcmp(a->mac, b->mac, sizeof(a->mac)) != 0)
		return false;
	return !both_say(a, b, parse_mark) || (a->mark == b->mark && a->mask == b->mask);
}

static bool fits(const struct net_flow *wanted, const struct net_flow *found)
{
	for (size_t i = 0; i < WAYS_MAX; i++)
		if (kinds[wanted->kind].ways[i] == found->kind && found->kind != NET_FLOW_NONE)
			return is_alike(wanted, found);
	return false;
}

/* made: as it was wanted, or as it was read back. */
static bool flow_remains(const char *now, const char *made)
{
	struct net_flow half, whole;

	if (parse_flow(now, &half) < 0 || parse_flow(made, &whole) < 0)
		return false;
	return (half.kind == NET_FLOW_FW || half.kind == NET_FLOW_MARKED) &&
	       (whole.kind == NET_FLOW_MARK || whole.kind == NET_FLOW_ROUTED) && is_alike(&half, &whole);
}

static bool flow_same(const char *a, const char *b)
{
	struct net_flow x, y;

	if (parse_flow(a, &x) < 0 || parse_flow(b, &y) < 0)
		return streq(a, b);
	if (x.kind == y.kind)
		return is_alike(&x, &y);
	return fits(&x, &y) || fits(&y, &x);
}

/* --- what is there ----------------------------------------------------------------------------------------------- */

enum { ASKED_ROOT, ASKED_TAP, ASKED_FLOWER, ASKED_KEY };

struct found {
	const struct net_object *o;
	struct net_root *root;
	struct net_flow tap, flower, key;
	uint32_t key_class; /* that the key leads to, if it still is that one */
};

static void take_found(struct nl_msg *msg, unsigned int which, void *arg)
{
	struct found *f = arg;

	if (which == ASKED_ROOT)
		net_take_root(msg, f->root);
	else if (which == ASKED_TAP)
		net_tap_take(msg, f->o, &f->tap);
	else if (which == ASKED_FLOWER)
		net_flower_take(msg, &f->flower);
	else
		net_u32_take(msg, f->key_class, &f->key);
}

/* What the tap has of it, and what the uplink should have then. */
static int find_at_tap(const struct net_object *o, const struct net_root *root, struct net_flow *f)
{
	int r = net_tap_check(o, f->tap_ifindex);

	if (r == 0)
		r = nl_device_name(f->tap_ifindex, f->tap);
	if (r == -ENOENT || r == -ENODEV) {
		f->kind = NET_FLOW_NONE; /* the tap has gone, or its ingress, and took it along */
		return 0;
	}
	if (r < 0 || f->kind != NET_FLOW_MARK)
		return r;
	r = net_fw_class(o, f->mark, &f->class_id);
	if (r == 0 && f->class_id != (root->handle | o->minor))
		f->kind = NET_FLOW_MARKED;
	return r;
}

/*
 * Keys of u32 that this process has made: reading back asks for them by their handles. Elsewhere such a filter is found
 * among all of the uplink's only.
 */
static struct made {
	int ifindex;
	uint32_t minor, class_id;
	uint8_t mac[6];
} made[16];
static unsigned int next_made;

static void note_made(const struct net_object *o, uint32_t class_id, const struct net_flow *f)
{
	struct made *m = &made[next_made++ % ARRAY_SIZE(made)];

	m->ifindex = o->ifindex;
	m->minor = o->minor;
	m->class_id = class_id;
	memcpy(m->mac, f->mac, sizeof(m->mac));
}

static const struct made *find_made(const struct net_object *o)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(made); i++) {
		const struct made *m = &made[(next_made - 1 - i) % ARRAY_SIZE(made)];

		if (m->ifindex == o->ifindex && m->minor == o->minor)
			return m;
	}
	return NULL;
}

/* A filter on the uplink keeps its class, which the kernel does not delete then (htb_delete()). */
static bool has_no_class(const struct net_object *o)
{
	struct net_tc tc;

	return net_peek(o, &net_class, &tc, sizeof(tc)) && !tc.class.is_there;
}

/* The root, and the flow of one class, however it was made. */
static int find_flow(const struct net_object *o, struct net_root *root, struct net_flow *ret)
{
	const struct made *m = find_made(o);
	struct found found = {.o = o, .root = root, .key_class = m ? m->class_id : 0};
	struct nl_batch b = {0};
	int r;

	*root = NET_NO_ROOT;
	net_ask_root(&b, o->ifindex);
	net_tap_ask(&b, o);
	net_flower_ask(&b, o);
	if (m)
		net_u32_ask(&b, o, m->mac);
	r = nl_exchange(&b, take_found, &found);
	if (r == 0)
		r = net_root_result(b.codes[ASKED_ROOT]);
	if (r == 0 && found.tap.kind != NET_FLOW_NONE)
		r = find_at_tap(o, root, &found.tap);
	if (r < 0)
		return r;
	*ret = found.tap;
	if (ret->kind != NET_FLOW_NONE || !net_is_htb(root))
		return 0;
	*ret = found.flower.kind != NET_FLOW_NONE ? found.flower : found.key;
	ret->has_action = found.tap.has_action;
	if (ret->kind != NET_FLOW_NONE || has_no_class(o))
		return 0;
	return net_uplink_find(o, root->handle | o->minor, ret);
}

struct seen_flow {
	struct net_root root;
	struct net_flow flow;
};
_Static_assert(sizeof(struct seen_flow) <= NET_SEEN_SIZE, "a flow can be remembered");

static int flow_read(const struct net_object *o, char *buf, size_t size)
{
	struct seen_flow now;
	int r = find_flow(o, &now.root, &now.flow);

	if (r < 0)
		return r;
	net_remember(o, &now, sizeof(now));
	return print_flow(&now.flow, buf, size);
}

/* --- change ------------------------------------------------------------------------------------------------------ */

static int remove_fw(const struct net_object *o, uint32_t mark)
{
	struct nl_batch b = {0};
	int r;

	net_fw_delete(&b, o, mark);
	r = nl_exchange(&b, NULL, NULL);
	return r < 0 ? r : nl_first_failure(&b, ENOENT);
}

static int remove_flow(const struct net_object *o, const struct net_flow *f)
{
	switch (f->kind) {
	case NET_FLOW_PRIORITY:
	case NET_FLOW_MARK:
	case NET_FLOW_MARKED:
		return net_tap_remove(o, f);
	case NET_FLOW_FW:
		return remove_fw(o, f->mark);
	case NET_FLOW_FLOWER:
		return net_flower_remove(o);
	case NET_FLOW_U32:
		return net_u32_remove(o, f->class_id);
	case NET_FLOW_NONE:
	case NET_FLOW_BRIDGED:
	case NET_FLOW_ROUTED:
	case NET_FLOW_DIRECT:
	case NET_FLOW_KIND_MAX:
		break;
	}
	return 0;
}

typedef int put_way(const struct net_object *o, uint32_t class_id, const struct net_flow *f);

static put_way *const put_ways[NET_FLOW_KIND_MAX] = {
	[NET_FLOW_PRIORITY] = net_tap_put,
	[NET_FLOW_MARK] = net_tap_put,
	[NET_FLOW_FLOWER] = net_flower_put,
	[NET_FLOW_U32] = net_u32_put,
};

/* By the first way that this kernel has. Which it lacks it tells once per process. */
static int put_flow(const struct net_object *o, uint32_t class_id, const struct net_flow *wanted)
{
	static bool is_absent[NET_FLOW_KIND_MAX];
	int r = -EOPNOTSUPP;

	for (size_t i = 0; i < WAYS_MAX && r == -EOPNOTSUPP; i++) {
		struct net_flow f = *wanted;

		f.kind = kinds[wanted->kind].ways[i];
		if (f.kind == NET_FLOW_NONE)
			break;
		if (is_absent[f.kind])
			continue;
		r = put_ways[f.kind](o, class_id, &f);
		is_absent[f.kind] = r == -EOPNOTSUPP;
		if (r == 0 && f.kind == NET_FLOW_U32)
			note_made(o, class_id, &f);
	}
	return r;
}

/* The tap that is meant must be there: its index if the value says one, else whichever has the name. */
static int find_tap(struct net_flow *f)
{
	int r;

	if (!*f->tap)
		return 0;
	if (f->tap_ifindex)
		return nl_check_device(f->tap_ifindex, f->tap);
	r = nl_device_index(f->tap);
	if (r < 0)
		return r;
	f->tap_ifindex = r;
	return 0;
}

static int flow_write(const struct net_object *o, const char *value)
{
	struct net_flow wanted, now;
	struct net_root root;
	struct seen_flow seen;
	uint32_t class_id;
	int r = parse_flow(value, &wanted);

	if (r < 0 || (wanted.kind != NET_FLOW_NONE && kinds[wanted.kind].ways[0] == NET_FLOW_NONE))
		return -EINVAL;
	if (!net_recall(o, &seen, sizeof(seen)))
		r = find_flow(o, &seen.root, &seen.flow);
	if (r < 0)
		return r;
	root = seen.root;
	now = seen.flow;
	if (wanted.kind == NET_FLOW_NONE)
		return remove_flow(o, &now);
	if (!net_is_htb(&root))
		return root.is_default ? -ENOENT : -EBUSY; /* there is no class that it could lead to */
	class_id = root.handle | o->minor;
	r = find_tap(&wanted);
	if (r < 0 || (fits(&wanted, &now) && now.class_id == class_id))
		return r;
	r = remove_flow(o, &now);
	if (r == 0 && now.has_action && *wanted.tap)
		r = net_tap_wait(o);
	return r < 0 ? r : put_flow(o, class_id, &wanted);
}

const struct net_subject net_flow = {
	.name = "flow",
	.has_minor = true,
	.read = flow_read,
	.write = flow_write,
	.same = flow_same,
	.remains = flow_remains,
};

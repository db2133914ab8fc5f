/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Subjects "tree" and "class": HTB on an uplink.
 *
 *   d070:      the root, made only where the kernel's default was, with NLM_F_EXCL: who comes first has it
 *     d070:1     the whole link
 *       d070:2     the rest: whatever is not classified
 *       d070:dNNN  one for each interface that asked for it
 *
 * Somebody else's HTB is joined: classes are hung below its root, and where they go in it is all that is ours.
 */
#include <inttypes.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include "be_net_priv.h"

enum { LINK, REST, TREE_PRIO, TREE_KEYS };
static const char *const tree_keys[TREE_KEYS] = {"link", "rest", "prio"};

enum { RATE, CEIL, BURST, PRIO, CLASS_KEYS };
static const char *const class_keys[CLASS_KEYS] = {"rate", "ceil", "burst", "prio"};

static bool is_tree(const struct net_root *root)
{
	return net_is_htb(root) && root->handle == NET_TREE_ROOT;
}

static int read_tree(const struct net_object *o, struct net_root *root, struct net_class_state *link,
		     struct net_class_state *rest)
{
	const uint32_t ids[] = {NET_TREE_LINK, NET_TREE_REST};
	struct net_class_state classes[2];
	int r = net_read_tc(o->ifindex, ids, 2, root, classes);

	*link = classes[0];
	*rest = classes[1];
	if (r == 0)
		net_remember(o, root, sizeof(*root));
	return r;
}

static int tree_read(const struct net_object *o, char *buf, size_t size)
{
	struct net_class_state link, rest;
	struct net_root root;
	int r = read_tree(o, &root, &link, &rest);

	if (r < 0)
		return r;
	if (root.is_default)
		return net_print(buf, size, "%s", "");
	if (!is_tree(&root))
		return net_print_foreign(&root, net_is_htb(&root), buf, size);
	return net_print(buf, size, "link=%" PRIu64 " rest=%" PRIu64 " prio=%" PRIu32, NET_BITS(link.rate),
			 NET_BITS(rest.rate), rest.prio);
}

struct class_list {
	uint32_t root;
	bool has_other;
};

static void ask_classes(struct nl_batch *b, const void *arg)
{
	const struct net_object *o = arg;

	nl_ask(b, RTM_GETTCLASS, NLM_F_DUMP);
	net_put_tc(b, o->ifindex, NET_TREE_ROOT, 0, 0); /* those of this discipline only */
}

static void take_listed(struct nl_msg *msg, unsigned int which, void *arg)
{
	const struct tcmsg *tc = nl.nlmsg_data(nl.nlmsg_hdr(msg));
	struct class_list *list = arg;

	(void)which;
	if (TC_H_MAJ(tc->tcm_handle) == NET_TREE_ROOT && tc->tcm_handle != NET_TREE_LINK &&
	    tc->tcm_handle != NET_TREE_REST)
		list->has_other = true;
}

static void forget_listed(void *arg)
{
	((struct class_list *)arg)->has_other = false;
}

/* Deletes by handle, which the kernel compares: a root that somebody put there meanwhile stays. */
static int remove_tree(const struct net_object *o)
{
	struct class_list list = {0};
	struct nl_batch b = {0};
	int r = net_dump(ask_classes, o, take_listed, &list, forget_listed);

	if (r < 0)
		return r;
	if (list.has_other)
		return -EBUSY;
	net_put_delete_root(&b, o->ifindex, NET_TREE_ROOT);
	r = nl_exchange(&b, NULL, NULL);
	return r < 0 ? r : nl_first_failure(&b, ENOENT);
}

static int put_tree(const struct net_object *o, const uint64_t wanted[], bool exists)
{
	struct net_class_state link = {
		.id = NET_TREE_LINK,
		.parent = NET_TREE_ROOT,
		.rate = NET_BYTES(wanted[LINK]),
		.ceil = NET_BYTES(wanted[LINK]),
	};
	struct net_class_state rest = {
		.id = NET_TREE_REST,
		.parent = NET_TREE_LINK,
		.rate = NET_BYTES(wanted[REST]),
		.ceil = link.ceil,
		.prio = wanted[TREE_PRIO] > 7 ? 8 : (uint32_t)wanted[TREE_PRIO],
	};
	struct nl_batch b = {0}, undo = {0};
	int mtu, r;

	if (net_check_class(&link) < 0 || net_check_class(&rest) < 0)
		return -EINVAL;
	mtu = nl_device_mtu(o->dev);
	if (mtu < 0)
		return mtu;
	if (!exists)
		net_put_htb(&b, o->ifindex, NET_TREE_ROOT, TC_H_MIN(NET_TREE_REST));
	net_put_class(&b, o->ifindex, &link, (unsigned int)mtu);
	net_put_class(&b, o->ifindex, &rest, (unsigned int)mtu);
	r = exists ? nl_exchange(&b, NULL, NULL) : net_exchange_with_leaf(&b, o->ifindex, NET_TREE_REST);
	if (r < 0)
		return r;
	if (!exists && b.codes[0] < 0) /* ENOENT: no such kind of discipline */
		return b.codes[0] == -EEXIST ? -EBUSY : b.codes[0] == -ENOENT ? -EOPNOTSUPP : b.codes[0];
	r = nl_first_failure(&b, 0);
	if (r < 0 && !exists) {
		net_put_delete_root(&undo, o->ifindex, NET_TREE_ROOT);
		(void)nl_exchange(&undo, NULL, NULL); /* what made it fail is told */
	}
	return r;
}

static int tree_write(const struct net_object *o, const char *value)
{
	struct net_class_state link, rest;
	uint64_t wanted[TREE_KEYS];
	struct net_root root;
	int r;

	if (*value && net_parse_numbers(value, tree_keys, TREE_KEYS, wanted) < 0)
		return -EINVAL;
	r = net_recall(o, &root, sizeof(root)) ? 0 : read_tree(o, &root, &link, &rest);
	net_forget(o->ifindex);
	if (r < 0)
		return r;
	if (!*value)
		return is_tree(&root) ? remove_tree(o) : 0; /* nothing of ours is there */
	if (root.is_default || is_tree(&root))
		return put_tree(o, wanted, is_tree(&root));
	return net_is_htb(&root) ? 0 : -EBUSY;
}

static bool tree_same(const char *a, const char *b)
{
	uint64_t x[TREE_KEYS], y[TREE_KEYS];
	bool a_tree = net_parse_numbers(a, tree_keys, TREE_KEYS, x) == 0;
	bool b_tree = net_parse_numbers(b, tree_keys, TREE_KEYS, y) == 0;

	if (a_tree && b_tree)
		return NET_BYTES(x[LINK]) == NET_BYTES(y[LINK]) && NET_BYTES(x[REST]) == NET_BYTES(y[REST]) &&
		       x[TREE_PRIO] == y[TREE_PRIO];
	/* Somebody else's HTB does for any tree: nothing is written, nothing will be undone. */
	return (a_tree && str_starts(b, "joined ")) || (b_tree && str_starts(a, "joined ")) || streq(a, b);
}

const struct net_subject net_tree = {
	.name = "tree",
	.read = tree_read,
	.write = tree_write,
	.same = tree_same,
};

static int read_class(const struct net_object *o, struct net_tc *ret)
{
	return net_read_tc(o->ifindex, &o->minor, 1, &ret->root, &ret->class);
}

static int class_read(const struct net_object *o, char *buf, size_t size)
{
	struct net_tc now;
	int r = read_class(o, &now);

	if (r < 0)
		return r;
	net_remember(o, &now, sizeof(now));
	if (!now.class.is_there)
		return net_print(buf, size, "%s", "");
	return net_print(buf, size, "rate=%" PRIu64 " ceil=%" PRIu64 " burst=%" PRIu32 " prio=%" PRIu32,
			 NET_BITS(now.class.rate), NET_BITS(now.class.ceil), now.class.burst, now.class.prio);
}

static int remove_class(const struct net_object *o, uint32_t id)
{
	struct nl_batch b = {0};
	int r;

	nl_change(&b, RTM_DELTCLASS, 0);
	net_put_tc(&b, o->ifindex, 0, id, 0);
	r = nl_exchange(&b, NULL, NULL);
	return r < 0 ? r : nl_first_failure(&b, ENOENT);
}

static int put_class(const struct net_object *o, const uint64_t wanted[], const struct net_root *root,
		     const struct net_class_state *now)
{
	struct net_class_state class = {
		.id = TC_H_MAJ(root->handle) | o->minor,
		.parent = is_tree(root) ? NET_TREE_LINK : root->handle,
		.rate = NET_BYTES(wanted[RATE]),
		.ceil = NET_BYTES(wanted[CEIL]),
		.burst = wanted[BURST] > INT32_MAX ? UINT32_MAX : (uint32_t)wanted[BURST],
		.prio = wanted[PRIO] > 7 ? 8 : (uint32_t)wanted[PRIO],
	};
	struct nl_batch b = {0};
	int r = net_check_class(&class), mtu;

	if (r < 0)
		return r;
	mtu = nl_device_mtu(o->dev);
	if (mtu < 0)
		return mtu;
	net_put_class(&b, o->ifindex, &class, (unsigned int)mtu);
	r = now->is_there ? nl_exchange(&b, NULL, NULL) : net_exchange_with_leaf(&b, o->ifindex, class.id);
	return r < 0 ? r : nl_first_failure(&b, 0);
}

static int class_write(const struct net_object *o, const char *value)
{
	uint64_t wanted[CLASS_KEYS];
	struct net_tc now;
	int r;

	if (*value && net_parse_numbers(value, class_keys, CLASS_KEYS, wanted) < 0)
		return -EINVAL;
	r = net_recall(o, &now, sizeof(now)) ? 0 : read_class(o, &now);
	if (r < 0)
		return r;
	if (!*value)
		return now.class.is_there ? remove_class(o, now.class.id) : 0;
	if (!net_is_htb(&now.root))
		return now.root.is_default ? -ENOENT : -EBUSY; /* nothing to hang it below */
	return put_class(o, wanted, &now.root, &now.class);
}

static bool class_same(const char *a, const char *b)
{
	uint64_t x[CLASS_KEYS], y[CLASS_KEYS];

	if (net_parse_numbers(a, class_keys, CLASS_KEYS, x) < 0 || net_parse_numbers(b, class_keys, CLASS_KEYS, y) < 0)
		return streq(a, b);
	return NET_BYTES(x[RATE]) == NET_BYTES(y[RATE]) && NET_BYTES(x[CEIL]) == NET_BYTES(y[CEIL]) &&
	       x[PRIO] == y[PRIO] &&
	       (x[BURST] == 0 || y[BURST] == 0 || net_same_burst(NET_BYTES(x[RATE]), x[BURST], y[BURST]));
}

const struct net_subject net_class = {
	.name = "class",
	.has_minor = true,
	.read = class_read,
	.write = class_write,
	.same = class_same,
};

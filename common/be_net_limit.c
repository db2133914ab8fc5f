/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Subject "limit": traffic towards the guest, by an HTB of one class at the root of its tap, d071:. tbf would be one
 * message less, but libnl-route has no 64 bit rates for it. What somebody put there, libvirt's <bandwidth><inbound>
 * (htb 1:) first of all, stays.
 *
 * But for "noqueue": libvirt gives that to every tap that it makes (virNetDevSetRootQDisc()), so it is what has to come
 * back. It reads as "noqueue", and is written so; it limits no more than "", which is what libvirt leaves when it
 * changes a <bandwidth>. There is no state between the one and the other: noqueue goes, and comes, in the batch that puts
 * the other in its place.
 */
#include <inttypes.h>
#include <linux/pkt_sched.h>

#include "be_net_priv.h"

enum { RATE, BURST, LIMIT_KEYS };
static const char *const keys[LIMIT_KEYS] = {"rate", "burst"};

static const uint32_t class_id = NET_LIMIT_CLASS;

static bool is_limit(const struct net_root *root)
{
	return net_is_htb(root) && root->handle == NET_LIMIT_ROOT;
}

/* Not the kernel's own, which has no handle. */
static bool is_noqueue(const struct net_root *root)
{
	return !root->is_default && streq(root->kind, "noqueue");
}

static int limit_read(const struct net_object *o, char *buf, size_t size)
{
	struct net_class_state class;
	struct net_root root;
	int r = net_read_tc(o->ifindex, &class_id, 1, &root, &class);

	if (r < 0)
		return r;
	net_remember(o, &root, sizeof(root));
	if (root.is_default)
		return net_print(buf, size, "%s", "");
	if (is_noqueue(&root))
		return net_print(buf, size, "noqueue");
	if (!is_limit(&root))
		return net_print_foreign(&root, false, buf, size);
	return net_print(buf, size, "rate=%" PRIu64 " burst=%" PRIu32, NET_BITS(class.rate), class.burst);
}

/* With a handle: without one the kernel replaces whatever is there, NLM_F_EXCL or not (tc_modify_qdisc(); seen, 6.18). */
static void put_noqueue(struct nl_batch *b, const struct net_object *o)
{
	nl_change(b, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL);
	net_put_tc(b, o->ifindex, TC_H_ROOT, NET_NOQUEUE_ROOT, 0);
	nl_put_string(b, TCA_KIND, "noqueue");
}

/* What of ours is there goes; noqueue comes back where it was. A root that somebody put there meanwhile stays. */
static int remove_limit(const struct net_object *o, bool is_there, bool back)
{
	struct nl_batch b = {0};
	int r;

	if (is_there)
		net_put_delete_root(&b, o->ifindex, NET_LIMIT_ROOT);
	if (back)
		put_noqueue(&b, o);
	r = nl_exchange(&b, NULL, NULL);
	return r < 0 ? r : nl_first_failure(&b, is_there ? ENOENT : 0);
}

/*
 * noqueue: the root that is replaced. Behind the HTB it is asked for once more: where the kernel has made no HTB, it is
 * there again before anybody could see it gone, else this is refused (EEXIST).
 */
static int put_limit(const struct net_object *o, const uint64_t wanted[], bool exists, uint32_t noqueue)
{
	const struct net_class_state class = {
		.id = NET_LIMIT_CLASS,
		.parent = NET_LIMIT_ROOT,
		.rate = NET_BYTES(wanted[RATE]),
		.ceil = NET_BYTES(wanted[RATE]),
		.burst = wanted[BURST] > INT32_MAX ? UINT32_MAX : (uint32_t)wanted[BURST],
	};
	struct nl_batch b = {0};
	unsigned int htb = 0, made;
	int r = net_check_class(&class), mtu;

	if (r < 0)
		return r;
	mtu = nl_device_mtu(o->dev);
	if (mtu < 0)
		return mtu;
	if (noqueue)
		net_put_delete_root(&b, o->ifindex, noqueue);
	htb = b.n;
	if (!exists)
		net_put_htb(&b, o->ifindex, NET_LIMIT_ROOT, TC_H_MIN(NET_LIMIT_CLASS));
	if (noqueue)
		put_noqueue(&b, o);
	made = b.n;
	net_put_class(&b, o->ifindex, &class, (unsigned int)mtu);
	r = exists ? nl_exchange(&b, NULL, NULL) : net_exchange_with_leaf(&b, o->ifindex, NET_LIMIT_CLASS);
	if (r < 0)
		return r;
	if (!exists && b.codes[htb] < 0)
		return b.codes[htb] == -EEXIST ? -EBUSY : b.codes[htb] == -ENOENT ? -EOPNOTSUPP : b.codes[htb];
	r = b.codes[made];
	if (r < 0 && !exists)
		(void)remove_limit(o, true, noqueue != 0); /* what made it fail is told */
	return r;
}

static int limit_write(const struct net_object *o, const char *value)
{
	uint64_t wanted[LIMIT_KEYS];
	struct net_root root;
	int r;

	bool back = streq(value, "noqueue");

	if (*value && !back && net_parse_numbers(value, keys, LIMIT_KEYS, wanted) < 0)
		return -EINVAL;
	r = net_recall(o, &root, sizeof(root)) ? 0 : net_read_tc(o->ifindex, NULL, 0, &root, NULL);
	net_forget(o->ifindex);
	if (r < 0)
		return r;
	if (back || !*value) {
		back = back && (is_limit(&root) || root.is_default); /* else nothing of ours is there */
		return is_limit(&root) || back ? remove_limit(o, is_limit(&root), back) : 0;
	}
	if (!root.is_default && !is_limit(&root) && !is_noqueue(&root))
		return -EBUSY;
	return put_limit(o, wanted, is_limit(&root), is_noqueue(&root) ? root.handle : 0);
}

/* No limit of ours, nor of anybody's. */
static bool is_none(const char *value)
{
	return !*value || streq(value, "noqueue");
}

static bool limit_same(const char *a, const char *b)
{
	uint64_t x[LIMIT_KEYS], y[LIMIT_KEYS];

	if (is_none(a) || is_none(b))
		return is_none(a) && is_none(b);
	if (net_parse_numbers(a, keys, LIMIT_KEYS, x) < 0 || net_parse_numbers(b, keys, LIMIT_KEYS, y) < 0)
		return streq(a, b);
	return NET_BYTES(x[RATE]) == NET_BYTES(y[RATE]) &&
	       (x[BURST] == 0 || y[BURST] == 0 || net_same_burst(NET_BYTES(x[RATE]), x[BURST], y[BURST]));
}

const struct net_subject net_limit = {
	.name = "limit",
	.read = limit_read,
	.write = limit_write,
	.same = limit_same,
};

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Subjects "rx-ring" and "tx-ring": descriptors in the rings of a NIC, over ethtool netlink (Linux 5.7;
 * Documentation/networking/ethtool-netlink.rst, RINGS_GET and RINGS_SET). Many drivers take the link down for a
 * new size, so a set that would change nothing is never sent.
 */
#include <inttypes.h>
#include <linux/ethtool_netlink.h>

#include "be_net_priv.h"
#include "num.h"

/* The two subjects: the attribute that sets it, and where its numbers are. */
struct ring {
	int attribute;
	size_t now, max;
};

static const struct ring rx = {ETHTOOL_A_RINGS_RX, offsetof(struct net_rings, rx), offsetof(struct net_rings, rx_max)};
static const struct ring tx = {ETHTOOL_A_RINGS_TX, offsetof(struct net_rings, tx), offsetof(struct net_rings, tx_max)};

static uint32_t number_at(const struct net_rings *rings, size_t offset)
{
	uint32_t number;

	memcpy(&number, (const char *)rings + offset, sizeof(number));
	return number;
}

/* ret_now, ret_max of one ring; -EOPNOTSUPP: there is no such ring. */
static int read_ring(const struct net_object *o, const struct ring *ring, int *ret_family, uint32_t *ret_now,
		     uint32_t *ret_max)
{
	struct net_rings rings;
	int r = nl_ethtool();

	if (r < 0)
		return r;
	*ret_family = r;
	r = net_read_rings(r, o->ifindex, &rings);
	if (r < 0)
		return r;
	*ret_now = number_at(&rings, ring->now);
	*ret_max = number_at(&rings, ring->max);
	return *ret_max ? 0 : -EOPNOTSUPP;
}

static int ring_read(const struct net_object *o, const struct ring *ring, char *buf, size_t size)
{
	uint32_t now, max;
	int family, r = read_ring(o, ring, &family, &now, &max);

	return r < 0 ? r : net_print(buf, size, "%" PRIu32, now);
}

static int ring_write(const struct net_object *o, const struct ring *ring, const char *value)
{
	struct nl_batch b = {0};
	uint64_t wanted;
	uint32_t now, max;
	int family, r;

	if (num_parse_range(value, 1, UINT32_MAX, &wanted) < 0)
		return -EINVAL;
	r = read_ring(o, ring, &family, &now, &max);
	if (r < 0)
		return r;
	if (wanted > max)
		wanted = max;
	if (wanted == now)
		return 0;
	net_start_rings(&b, family, ETHTOOL_MSG_RINGS_SET, o->ifindex, true);
	nl_put_u32(&b, ring->attribute, (uint32_t)wanted);
	r = nl_exchange(&b, NULL, NULL);
	return r < 0 ? r : nl_first_failure(&b, 0);
}

static int rx_read(const struct net_object *o, char *buf, size_t size)
{
	return ring_read(o, &rx, buf, size);
}

static int tx_read(const struct net_object *o, char *buf, size_t size)
{
	return ring_read(o, &tx, buf, size);
}

static int rx_write(const struct net_object *o, const char *value)
{
	return ring_write(o, &rx, value);
}

static int tx_write(const struct net_object *o, const char *value)
{
	return ring_write(o, &tx, value);
}

static bool ring_same(const char *a, const char *b)
{
	uint64_t x, y;

	return num_parse_u64(a, &x) == 0 && num_parse_u64(b, &y) == 0 && x == y;
}

const struct net_subject net_rx_ring = {
	.name = "rx-ring",
	.read = rx_read,
	.write = rx_write,
	.same = ring_same,
};

const struct net_subject net_tx_ring = {
	.name = "tx-ring",
	.read = tx_read,
	.write = tx_write,
	.same = ring_same,
};

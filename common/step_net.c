/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the objects of an interface's settings are: on its uplinks, which the plan has on record (struct plan_uplink
 * and plan_link), and on the tap that the running QEMU holds open for it. Objects and values are those of the back ends
 * `net` and `mask`. An interface without its tap (it was unplugged) has no objects at all.
 */
#include "step_priv.h"

#include <inttypes.h>

/* The device of this MAC address; NULL (x->why says so): QEMU has none open. */
static const struct run_tap *tap_of(struct expansion *x)
{
	for (unsigned int i = 0; i < x->run->n_taps; i++)
		if (netdev_tap_is(&x->run->taps[i].tap, x->setting->target))
			return &x->run->taps[i];
	(void)snprintf(x->why, sizeof(x->why), "QEMU has no host device open for it"); /* fits */
	return NULL;
}

/* The classes of the setting's interface, one after the other: *at is moved on. NULL: no more. */
static const struct plan_link *next_link(const struct expansion *x, unsigned int *at)
{
	while (*at < x->plan->n_links) {
		const struct plan_link *l = &x->plan->links[(*at)++];

		if (streq(l->mac, x->setting->target))
			return l;
	}
	return NULL;
}

/*
 * "eth0:2/tree", "eth0:2/class/d001" of each uplink; value_of makes the value from the class. Nothing if the interface
 * has no tap.
 */
static int at_uplinks(struct expansion *x, bool numbered,
		      void (*value_of)(const struct plan_uplink *u, const struct plan_link *l,
				       const struct run_tap *tap, char *buf, size_t size))
{
	const struct run_tap *tap = tap_of(x);
	const struct plan_link *l;
	unsigned int at = 0;
	int r = 0;

	while (tap && r == 0 && (l = next_link(x, &at))) {
		const struct plan_uplink *u = plan_find_uplink(x->plan, l->uplink);
		char object[64], number[16] = "", value[192];
		struct step *s;

		if (!u)
			continue;
		if (numbered)
			(void)snprintf(number, sizeof(number), "/%x", l->number); /* fits */
		(void)snprintf(object, sizeof(object), "%s:%u/%s%s", u->name, u->ifindex, x->row->name,
			       number); /* fits */
		value_of(u, l, tap, value, sizeof(value));
		r = step_add(x, "net", object, value, &s);
		if (r == 0)
			s->is_vital = true;
	}
	return r;
}

/* All of these fit: names of devices, MAC addresses, numbers. */

static void tree_value(const struct plan_uplink *u, const struct plan_link *l, const struct run_tap *tap, char *buf,
		       size_t size)
{
	(void)l;
	(void)tap;
	(void)snprintf(buf, size, "link=%" PRIu64 " rest=%" PRIu64 " prio=%d", u->link, u->rest, PLAN_PRIORITY_DEFAULT);
}

/*
 * A class may send as much at once as comes between two ticks of the kernel's timer, as tc-htb(8) says of burst, here of
 * HZ=250 (Debian's), and two frames at least, with a VLAN tag.
 */
static uint64_t burst_of(const struct plan_uplink *u, const struct plan_link *l, uint64_t rate)
{
	uint64_t least = 2 * ((u && u->mtu ? u->mtu : 1500u) + UINT64_C(18)), burst = rate / 8 / 250;

	if (l->burst)
		return l->burst;
	burst = burst < least ? least : burst;
	return burst > INT32_MAX ? INT32_MAX : burst; /* libnl computes in int */
}

static void class_value(const struct plan_uplink *u, const struct plan_link *l, const struct run_tap *tap, char *buf,
			size_t size)
{
	(void)tap;
	(void)snprintf(buf, size, "rate=%" PRIu64 " ceil=%" PRIu64 " burst=%" PRIu64 " prio=%u", l->rate, l->ceil,
		       burst_of(u, l, l->rate), l->priority);
}

static void flow_value(const struct plan_uplink *u, const struct plan_link *l, const struct run_tap *tap, char *buf,
		       size_t size)
{
	(void)u;
	if (l->way == NETDEV_DIRECT)
		(void)snprintf(buf, size, "direct mac=%s", l->mac);
	else if (l->way == NETDEV_ROUTED)
		(void)snprintf(buf, size, "routed dev=%s:%u mac=%s mark=0x%x/0x%x", tap->tap.name, tap->tap.ifindex,
			       l->mac, l->mark, l->mask);
	else
		(void)snprintf(buf, size, "bridged dev=%s:%u mac=%s", tap->tap.name, tap->tap.ifindex, l->mac);
}

int step_at_trees(struct expansion *x)
{
	return at_uplinks(x, false, tree_value);
}

int step_at_classes(struct expansion *x)
{
	return at_uplinks(x, true, class_value);
}

int step_at_flows(struct expansion *x)
{
	return at_uplinks(x, true, flow_value);
}

/* Towards the guest, on its tap. What of ceil is on the uplink is the class's part. */
int step_at_limit(struct expansion *x)
{
	const struct run_tap *tap = tap_of(x);
	unsigned int at = 0;
	const struct plan_link *l = next_link(x, &at);
	char object[64], value[64];

	if (!tap || !l || l->limit == 0)
		return 0;
	(void)snprintf(object, sizeof(object), "%s:%u/%s", tap->tap.name, tap->tap.ifindex, x->row->name); /* fits */
	(void)snprintf(value, sizeof(value), "rate=%" PRIu64 " burst=%" PRIu64, l->limit,
		       burst_of(plan_find_uplink(x->plan, l->uplink), l, l->limit)); /* fits */
	return step_add(x, "net", object, value, NULL);
}

static int add_queues(struct expansion *x, const struct netdev_tap *tap, const char *direction, unsigned int n,
		      const char *file)
{
	char object[128];
	int r = 0;

	for (unsigned int i = 0; i < n && r == 0; i++) {
		(void)snprintf(object, sizeof(object), "sys/class/net/%s:%u/queues/%s-%u/%s", tap->name, tap->ifindex,
			       direction, i, file); /* fits */
		r = step_add(x, "mask", object, x->value, NULL);
	}
	return r;
}

/* A device with one transmit queue has nothing to choose from: its xps_cpus is -ENOENT (net/core/net-sysfs.c). */
int step_at_queues(struct expansion *x)
{
	const struct run_tap *tap = tap_of(x);
	int r;

	if (!tap)
		return 0;
	(void)snprintf(x->why, sizeof(x->why), "%s has no receive queue", tap->tap.name); /* fits */
	r = add_queues(x, &tap->tap, "rx", tap->n_rxq, "rps_cpus");
	return r < 0 || tap->n_txq < 2 ? r : add_queues(x, &tap->tap, "tx", tap->n_txq, "xps_cpus");
}

/* "eth0:2/rx-ring" */
int step_at_ring(struct expansion *x)
{
	const struct plan_uplink *u = plan_find_uplink(x->plan, x->setting->target);
	char object[64];

	(void)snprintf(x->why, sizeof(x->why), "the plan does not know this device"); /* fits */
	if (!u)
		return 0;
	(void)snprintf(object, sizeof(object), "%s:%u/%s", u->name, u->ifindex, x->row->name); /* fits */
	return step_add(x, "net", object, x->value, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Back end "net": links, over netlink. The object is "DEV:IFINDEX/SUBJECT" or "DEV:IFINDEX/SUBJECT/MINOR"; a device
 * that went and came back under its name has another index, and what was ours went with the old one: -ENOENT. "" is the
 * value of whatever is not there.
 *
 *   tree             "link=BITS rest=BITS prio=N", "joined KIND HANDLE", "foreign KIND HANDLE"    be_net_tree.c
 *   class/MINOR      "rate=BITS ceil=BITS burst=BYTES prio=N"                                    be_net_tree.c
 *   flow/MINOR       which packets go to that class                                              be_net_flow.c
 *   limit            "rate=BITS burst=BYTES"                                                     be_net_limit.c
 *   rx-ring, tx-ring "N"                                                                         be_net_ring.c
 *
 * There is no state but the object and what the kernel says (or has just said: net_remember()). Below another root than "/" there are no links:
 * -EOPNOTSUPP, and so it is without libnl.
 */
#include "backend.h"
#include "be_net_priv.h"
#include "num.h"

static const struct net_subject *const subjects[] = {
	&net_tree, &net_class, &net_flow, &net_limit, &net_rx_ring, &net_tx_ring,
};

#define SEEN_MAX 32 /* objects that are read before the first of them is written; more are asked for again */

static struct seen {
	int ifindex;
	uint32_t minor;
	const struct net_subject *subject; /* NULL: free */
	size_t len;
	unsigned char data[NET_SEEN_SIZE];
} seen[SEEN_MAX];
static unsigned int next_seen;

static struct seen *find_seen(const struct net_object *o, const struct net_subject *subject)
{
	for (size_t i = 0; i < ARRAY_SIZE(seen); i++)
		if (seen[i].subject == subject && seen[i].ifindex == o->ifindex && seen[i].minor == o->minor)
			return &seen[i];
	return NULL;
}

void net_remember(const struct net_object *o, const void *data, size_t len)
{
	struct seen *s = find_seen(o, o->subject);

	if (len > sizeof(s->data))
		return;
	if (!s)
		s = &seen[next_seen++ % SEEN_MAX];
	s->ifindex = o->ifindex;
	s->minor = o->minor;
	s->subject = o->subject;
	s->len = len;
	memcpy(s->data, data, len);
}

bool net_peek(const struct net_object *o, const struct net_subject *subject, void *data, size_t len)
{
	const struct seen *s = find_seen(o, subject);

	if (!s || s->len != len)
		return false;
	memcpy(data, s->data, len);
	return true;
}

bool net_recall(const struct net_object *o, void *data, size_t len)
{
	bool is_known = net_peek(o, o->subject, data, len);
	struct seen *s = find_seen(o, o->subject);

	if (s)
		s->subject = NULL;
	return is_known;
}

void net_forget(int ifindex)
{
	for (size_t i = 0; i < ARRAY_SIZE(seen); i++)
		if (seen[i].ifindex == ifindex)
			seen[i].subject = NULL;
}

static const struct net_subject *find_subject(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++)
		if (strlen(subjects[i]->name) == len && memcmp(subjects[i]->name, name, len) == 0)
			return subjects[i];
	return NULL;
}

/* "d001" to "dfff", in just that spelling: one class, one object. */
static int parse_minor(const char *text, uint32_t *ret)
{
	uint64_t minor;
	char again[8];

	if (strlen(text) != 4 || num_parse_hex(text, &minor) < 0 || minor < NET_MINOR_FIRST || minor > NET_MINOR_LAST)
		return -EINVAL;
	(void)snprintf(again, sizeof(again), "%x", (unsigned int)minor);
	*ret = (uint32_t)minor;
	return streq(again, text) ? 0 : -EINVAL;
}

static int parse_object(const char *object, struct net_object *ret)
{
	const char *colon = strchr(object, ':'), *slash = colon ? strchr(colon, '/') : NULL, *minor;
	size_t name = colon ? (size_t)(colon - object) : 0, digits = slash ? (size_t)(slash - colon) - 1 : 0;
	char number[12];
	uint64_t ifindex;

	if (name == 0 || name >= sizeof(ret->dev) || digits == 0 || digits >= sizeof(number))
		return -EINVAL;
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->dev, object, name);
	memcpy(number, colon + 1, digits);
	number[digits] = '\0';
	if (!hostfs_is_name(ret->dev) || num_parse_range(number, 1, INT32_MAX, &ifindex) < 0)
		return -EINVAL;
	ret->ifindex = (int)ifindex;
	minor = strchr(slash + 1, '/');
	ret->subject = find_subject(slash + 1, minor ? (size_t)(minor - slash) - 1 : strlen(slash + 1));
	if (!ret->subject)
		return -EOPNOTSUPP;
	if (ret->subject->has_minor != (minor != NULL))
		return -EINVAL;
	return minor ? parse_minor(minor + 1, &ret->minor) : 0;
}

static int find_object(const struct hostfs *fs, const char *object, struct net_object *ret)
{
	int r;

	if (!fs->real)
		return -EOPNOTSUPP;
	r = parse_object(object, ret);
	/* The index is the device; it may have got another name since. */
	return r < 0 ? r : nl_device_name(ret->ifindex, ret->dev);
}

static int gone(int r)
{
	return r == -ENODEV ? -ENOENT : r;
}

static int net_probe(const struct hostfs *fs, const char *object)
{
	struct net_object o;

	return gone(find_object(fs, object, &o));
}

static int net_read(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	struct net_object o;
	int r = find_object(fs, object, &o);

	return gone(r < 0 ? r : o.subject->read(&o, buf, size));
}

static int net_write(const struct hostfs *fs, const char *object, const char *value)
{
	struct net_object o;
	int r = find_object(fs, object, &o);

	if (r == 0)
		r = -hostfs_fault(object);
	return gone(r < 0 ? r : o.subject->write(&o, value));
}

static bool net_same(const char *object, const char *a, const char *b)
{
	struct net_object o;

	return parse_object(object, &o) == 0 ? o.subject->same(a, b) : streq(a, b);
}

static bool net_remains(const char *object, const char *now, const char *made)
{
	struct net_object o;

	return parse_object(object, &o) == 0 && o.subject->remains && o.subject->remains(now, made);
}

const struct backend be_net = {
	.name = "net",
	.probe = net_probe,
	.read = net_read,
	.write = net_write,
	.same = net_same,
	.remains = net_remains,
	.is_each_its_own = true,
};

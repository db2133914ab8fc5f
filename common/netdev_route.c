/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Default routes, from the tables that /proc/net shows: `route` is the main table (net/ipv4/fib_trie.c,
 * fib_route_seq_show()), `ipv6_route` all of them (net/ipv6/route.c, ipv6_route_seq_show()). Rules of policy routing and
 * further next hops are not in them.
 *
 * A router's tables have a million lines. IPv4's come in the order of their prefixes, the default routes first, so that
 * the beginning is enough; IPv6's do not, and a table over the limit is as if there was none.
 */
#include <fcntl.h>

#include "netdev_priv.h"
#include "num.h"

#define IPV4_TEXT  65536      /* 511 lines, each padded to 127 characters */
#define IPV6_TEXT  (1u << 20) /* 7,000 routes */
#define RTF_UP     0x0001     /* include/uapi/linux/route.h */
#define RTF_REJECT 0x0200

/* The beginning of a file, up to size - 1 bytes, ending with a whole line. False: nothing. */
static bool read_beginning(const struct hostfs *fs, const char *path, char *buf, size_t size)
{
	_cleanup_close_ int fd = hostfs_open(fs, O_RDONLY | O_NONBLOCK, "%s", path);
	size_t len = 0;
	ssize_t n = 1;
	char *end;

	while (fd >= 0 && n > 0 && len < size - 1) {
		n = read(fd, buf + len, size - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	buf[len] = '\0';
	end = strrchr(buf, '\n');
	if (end)
		end[1] = '\0';
	return end != NULL;
}

/* The fields of a line, split by blanks. Returns how many, at most max. */
static unsigned int split(char *line, char **fields, unsigned int max)
{
	unsigned int n = 0;
	char *save = NULL;

	for (char *f = strtok_r(line, " \t", &save); f && n < max; f = strtok_r(NULL, " \t", &save))
		fields[n++] = f;
	return n;
}

static bool is_usable(const char *flags)
{
	uint64_t v;

	return num_parse_hex(flags, &v) == 0 && (v & RTF_UP) && !(v & RTF_REJECT);
}

/* What a look at the routes is for. */
struct search {
	const char *back_to; /* NULL: the default route */
	bool found;
	unsigned int prefix;
	uint64_t metric;
	char dev[NETDEV_NAME]; /* of the best one so far */
};

static void take(struct search *s, const char *dev, unsigned int prefix, uint64_t metric)
{
	if (!netdev_is_name(dev) || (s->found && (prefix < s->prefix || (prefix == s->prefix && metric >= s->metric))))
		return;
	s->found = true;
	s->prefix = prefix;
	s->metric = metric;
	memcpy(s->dev, dev, strlen(dev) + 1);
}

/*
 * Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT. Numbers are in network order, as the host
 * prints them: 0.0.0.0 with the mask 128.0.0.0 is what a VPN puts over the default route.
 */
static void look_at_ipv4(struct search *s, char *line)
{
	char *f[8];
	uint64_t metric, mask;

	if (split(line, f, ARRAY_SIZE(f)) < ARRAY_SIZE(f) || !is_usable(f[3]) || num_parse_u64(f[6], &metric) < 0 ||
	    num_parse_hex(f[7], &mask) < 0)
		return;
	if (s->back_to)
		s->found |= streq(f[0], s->back_to) && mask != 0;
	else if (streq(f[1], "00000000") && (mask == 0 || mask == 0x80 || mask == 0x80000000))
		take(s, f[0], mask != 0, metric);
}

/* Destination, prefix, source, prefix, next hop, metric, references, use, flags, device; hexadecimal. */
static void look_at_ipv6(struct search *s, char *line)
{
	char *f[10];
	uint64_t metric, prefix;

	if (split(line, f, ARRAY_SIZE(f)) < ARRAY_SIZE(f) || !is_usable(f[8]) || num_parse_hex(f[5], &metric) < 0 ||
	    num_parse_hex(f[1], &prefix) < 0 || prefix > 1 || f[0][strspn(f[0], "0")])
		return;
	take(s, f[9], (unsigned int)prefix, metric);
}

static void each_line(struct search *s, char *text, void (*look)(struct search *s, char *line))
{
	char *line;

	while ((line = strsep(&text, "\n")))
		look(s, line);
}

static void search_ipv4(const struct hostfs *fs, struct search *s)
{
	_cleanup_free_ char *text = malloc(IPV4_TEXT); /* not zeroed, which a local array would be at some cost */

	if (text && read_beginning(fs, "proc/net/route", text, IPV4_TEXT))
		each_line(s, text, look_at_ipv4);
}

void netdev_default_ipv4(const struct hostfs *fs, char dev[NETDEV_NAME])
{
	struct search s = {0};

	search_ipv4(fs, &s);
	memcpy(dev, s.dev, NETDEV_NAME);
}

void netdev_default_ipv6(const struct hostfs *fs, char dev[NETDEV_NAME])
{
	_cleanup_free_ char *text = NULL;
	struct search s = {0};

	if (hostfs_read_all(fs, IPV6_TEXT, &text, NULL, "proc/net/ipv6_route") == 0)
		each_line(&s, text, look_at_ipv6);
	memcpy(dev, s.dev, NETDEV_NAME);
}

bool netdev_is_routed(const struct hostfs *fs, const char *dev)
{
	struct search s = {.back_to = dev};
	char forwarding[8];

	if (hostfs_read(fs, forwarding, sizeof(forwarding), "proc/sys/net/ipv4/conf/%s/forwarding", dev) <= 0 ||
	    !streq(forwarding, "1"))
		return false;
	search_ipv4(fs, &s);
	return s.found;
}

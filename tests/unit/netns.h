/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A network namespace for the life of one test, taps that are written to as a guest would, and what tc(8) says. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "tap.h"

/* A shell command; what it says on stdout, without the last newline. It must succeed. */
static inline const char *sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static inline const char *sh(const char *fmt, ...)
{
	static char out[65536];
	char command[2048];
	size_t len;
	va_list ap;
	FILE *p;

	va_start(ap, fmt);
	(void)vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	fflush(stdout);
	p = popen(command, "r");
	len = p ? fread(out, 1, sizeof(out) - 1, p) : 0;
	while (len > 0 && out[len - 1] == '\n')
		len--;
	out[len] = '\0';
	if (!p || pclose(p) != 0)
		TAP_FAIL("%s", command);
	return out;
}

/* No traffic of the host's own: counters are the test's alone. 0, or why not. */
static inline const char *netns_enter(void)
{
	if (geteuid() != 0)
		return "needs root";
	if (unshare(CLONE_NEWNET) < 0)
		return "no network namespaces here";
	if (system("ip link set lo up && tc qdisc show >/dev/null") != 0)
		return "no ip(8) or tc(8) here";
	(void)!system("for f in all default; do echo 1 >/proc/sys/net/ipv6/conf/$f/disable_ipv6; done 2>/dev/null");
	return NULL;
}

/* An uplink: a veth whose other end is there as well. */
static inline void netns_uplink(const char *name)
{
	sh("ip link add %s type veth peer name %s-peer && ip link set %s up && ip link set %s-peer up", name, name,
	   name, name);
}

/* The descriptor is the guest's end. */
static inline int netns_tap(const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0) {
		TAP_FAIL("tap %s: %s", name, strerror(errno));
		return -1;
	}
	sh("ip link set %s up", name);
	return fd;
}

/* "DEV:IFINDEX" */
static inline const char *netns_id(const char *dev)
{
	static char ids[4][32];
	static unsigned int n;
	char *id = ids[n++ % 4];

	(void)snprintf(id, sizeof(ids[0]), "%s:%u", dev, if_nametoindex(dev));
	return id;
}

/* Packets that a class has sent so far. */
static inline long netns_packets(const char *dev, const char *class)
{
	return strtol(
		sh("tc -s class show dev %s classid %s | sed -n 's/.*bytes \\([0-9]*\\) pkt.*/\\1/p'", dev, class),
		NULL, 10);
}

/* Counters move when the kernel gets to it: asked until it says so, or not for long. */
static inline int netns_sends(const char *dev, const char *class, long want)
{
	for (int i = 0; i < 500 && netns_packets(dev, class) < want; i++)
		usleep(10000);
	return netns_packets(dev, class) == want;
}

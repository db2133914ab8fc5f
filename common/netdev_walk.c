/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Down a stack of network devices, by the links of sysfs (Documentation/ABI/testing/sysfs-class-net): `device` is a
 * physical one, or virtio's and the like; `lower_NAME` is one link per device below (since Linux 3.14; before that only
 * `brif` of bridges and `bonding/slaves`). A device that has neither is a tap (`tun_flags`), a veth, or leads nowhere.
 *
 * A bridge may have a thousand taps. Those of libvirt are told by their name, which it keeps for itself ("vnet", Linux
 * bridge ports of QEMU; src/util/virnetdev.h, VIR_NET_GENERATED_VNET_PREFIX), without a look at each; names that begin
 * with "tap" are looked at only if no other port leads out. What is looked at is counted, each device is looked at once
 * per walk, and the kernel stacks no more than 8 (include/linux/netdevice.h, MAX_NEST_DEV).
 */
#include "netdev_priv.h"

#include <stdarg.h>

#include "knob.h"

#define DEPTH_MAX 8

bool netdev_is_name(const char *text)
{
	return hostfs_is_name(text) && strlen(text) < NETDEV_NAME;
}

void netdev_uevent(const struct hostfs *fs, const char *dir, const char *key, char ret[32])
{
	char text[1024], *rest = text, *line;
	size_t n = strlen(key);

	ret[0] = '\0';
	if (hostfs_read(fs, text, sizeof(text), "%s/uevent", dir) < 0)
		return;
	while ((line = strsep(&rest, "\n")))
		if (str_starts(line, key) && line[n] == '=' && strlen(line + n + 1) < 32)
			memcpy(ret, line + n + 1, strlen(line + n + 1) + 1);
}

static void read_type(const struct hostfs *fs, const char *name, char type[32])
{
	char dir[64];

	(void)snprintf(dir, sizeof(dir), "sys/class/net/%s", name); /* fits: it is a name */
	netdev_uevent(fs, dir, "DEVTYPE", type);
}

void netdev_obstacle(struct netdev_walk *w, const char *fmt, ...)
{
	va_list ap;

	if (w->why[0])
		return;
	va_start(ap, fmt);
	(void)vsnprintf(w->why, sizeof(w->why), fmt, ap); /* cut is fine: it is for people */
	va_end(ap);
	/* The kernel's names have no blanks and no "/" or ":", but may have anything else. */
	for (char *c = w->why; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
}

void netdev_walk_reset(struct netdev_walk *w)
{
	w->total += w->n_seen;
	w->n_seen = 0;
	w->n_leaves = 0;
	w->why[0] = '\0';
}

static void add_leaf(struct netdev_walk *w, const char *name, bool is_veth)
{
	struct netdev_leaf *l = &w->leaves[w->n_leaves];

	if (w->n_leaves >= NETDEV_MAX)
		return;
	*l = (struct netdev_leaf){.is_veth = is_veth};
	memcpy(l->name, name, strlen(name));
	w->n_leaves++;
}

/* Whether to look at it at all; it is then marked as seen. */
static bool is_new(struct netdev_walk *w, const char *name, int depth)
{
	for (unsigned int i = 0; i < w->n_seen; i++)
		if (streq(w->seen[i], name))
			return false;
	if (depth > DEPTH_MAX || w->n_seen >= NETDEV_WALK_MAX || w->total + w->n_seen >= NETDEV_VISITS_MAX) {
		netdev_obstacle(w, "too many devices are stacked, '%s' was not looked at", name);
		return false;
	}
	memcpy(w->seen[w->n_seen], name, strlen(name) + 1);
	w->n_seen++;
	return true;
}

/* What a device's directory has. */
struct listing {
	bool is_bridge, is_bond, is_tap;
	unsigned int lower; /* devices below, taps included */
};

/* Which of the lower devices a pass is for. */
enum pass { PASS_OTHERS, PASS_TAPS, PASS_NEVER };

static enum pass pass_of(const char *name)
{
	if (str_starts(name, "vnet"))
		return PASS_NEVER;
	return str_starts(name, "tap") ? PASS_TAPS : PASS_OTHERS;
}

static void visit(struct netdev_walk *w, const char *name, int depth);

static void note_entry(struct listing *l, const char *entry)
{
	l->is_bridge |= streq(entry, "bridge");
	l->is_bond |= streq(entry, "bonding");
	l->is_tap |= streq(entry, "tun_flags");
}

/* prefix: of the entries that are lower devices; "" all are. False: there is no such directory. */
static bool go_down(struct netdev_walk *w, const char *dir, const char *prefix, enum pass pass, int depth,
		    struct listing *l)
{
	_cleanup_closedir_ DIR *d = hostfs_opendir(w->fs, "%s", dir);
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		const char *lower = entry->d_name + strlen(prefix);

		note_entry(l, entry->d_name);
		if (entry->d_name[0] == '.' || !str_starts(entry->d_name, prefix))
			continue;
		l->lower++;
		if (pass_of(lower) == pass)
			visit(w, lower, depth + 1);
	}
	return d != NULL;
}

static void go_down_bond(struct netdev_walk *w, const char *name, int depth, struct listing *l)
{
	char text[1024], *rest = text, *slave;

	if (hostfs_read(w->fs, text, sizeof(text), "sys/class/net/%s/bonding/slaves", name) <= 0)
		return;
	while ((slave = strsep(&rest, " "))) {
		l->lower++;
		visit(w, slave, depth + 1);
	}
}

/* All ways down from a device. False: it is not there. */
static bool look_below(struct netdev_walk *w, const char *name, int depth, struct listing *l)
{
	unsigned int before = w->n_leaves;
	const char *prefix = "lower_";
	char dir[64];

	(void)snprintf(dir, sizeof(dir), "sys/class/net/%s", name); /* fits: it is a name */
	if (!go_down(w, dir, prefix, PASS_OTHERS, depth, l))
		return false;
	if (l->lower == 0 && l->is_bond)
		go_down_bond(w, name, depth, l);
	if (l->lower == 0 && l->is_bridge) {
		(void)snprintf(dir, sizeof(dir), "sys/class/net/%s/brif", name); /* fits */
		prefix = "";
		(void)go_down(w, dir, prefix, PASS_OTHERS, depth, l);
	}
	if (w->n_leaves == before && l->is_bridge && l->lower > 0)
		(void)go_down(w, dir, prefix, PASS_TAPS, depth, l);
	return true;
}

/*
 * A veth says that its link is another device than itself (veth_get_iflink(): the peer, which may have the same number
 * in its own namespace), and, when it is up, that it is full duplex (veth_get_link_ksettings()).
 */
static bool is_veth(const struct hostfs *fs, const char *name)
{
	uint64_t self, link;
	char duplex[16];

	if (hostfs_read_u64(fs, &self, "sys/class/net/%s/ifindex", name) == 0 &&
	    hostfs_read_u64(fs, &link, "sys/class/net/%s/iflink", name) == 0 && link != 0 && link != self)
		return true;
	return hostfs_read(fs, duplex, sizeof(duplex), "sys/class/net/%s/duplex", name) > 0 && streq(duplex, "full");
}

static void judge_end(struct netdev_walk *w, const char *name)
{
	char type[32];

	read_type(w->fs, name, type);
	if (!*type && is_veth(w->fs, name))
		add_leaf(w, name, true);
	else
		netdev_obstacle(w, "'%s' (%s) has no device below it", name, *type ? type : "virtual");
}

/* The host wraps the frames up and sends them as its own. */
static bool is_tunnel(const char *type)
{
	return streq(type, "vxlan") || streq(type, "batadv");
}

static void judge_stacked(struct netdev_walk *w, const char *name, unsigned int before)
{
	char type[32];

	read_type(w->fs, name, type);
	if (!is_tunnel(type))
		return;
	netdev_obstacle(w, "'%s' is a tunnel (%s): what leaves the host are packets of its own", name, type);
	for (unsigned int i = before; i < w->n_leaves; i++)
		w->leaves[i].is_tunnelled = true;
}

/* A bridge's other veths lead to containers, as its taps do to guests, if it has a port that leads out. */
static void judge_ports(struct netdev_walk *w, const char *name, unsigned int before)
{
	unsigned int kept = before;
	bool physical = false;

	for (unsigned int i = before; i < w->n_leaves; i++)
		physical |= !w->leaves[i].is_veth && !w->leaves[i].is_tunnelled;
	for (unsigned int i = before; i < w->n_leaves; i++)
		if (!physical || !w->leaves[i].is_veth)
			w->leaves[kept++] = w->leaves[i];
	w->n_leaves = kept;
	if (kept == before)
		netdev_obstacle(w, "no port of bridge '%s' leads out of the host", name);
}

static void visit(struct netdev_walk *w, const char *name, int depth)
{
	unsigned int before = w->n_leaves;
	struct listing l = {0};

	if (!netdev_is_name(name) || !is_new(w, name, depth))
		return;
	if (hostfs_exists(w->fs, "sys/class/net/%s/device", name))
		add_leaf(w, name, false);
	else if (!look_below(w, name, depth, &l))
		netdev_obstacle(w, "there is no device '%s'", name);
	else if (l.is_tap && depth > 0)
		; /* a port like the guest's own: that nothing else was found is said of the bridge */
	else if (l.is_tap)
		netdev_obstacle(w, "'%s' is a tap", name);
	else if (l.is_bridge)
		judge_ports(w, name, before);
	else if (l.lower == 0 && !l.is_bond)
		judge_end(w, name);
	else if (!l.is_bond)
		judge_stacked(w, name, before);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct netdev_leaf *)a)->name, ((const struct netdev_leaf *)b)->name);
}

void netdev_walk(struct netdev_walk *w, const char *name)
{
	char shown[KNOB_SHOW_SIZE];

	if (!netdev_is_name(name))
		netdev_obstacle(w, "'%s' is no name of a device", knob_show(name, shown));
	visit(w, name, 0);
	/* The order of a directory says nothing. */
	qsort(w->leaves, w->n_leaves, sizeof(w->leaves[0]), by_name);
	if (w->n_leaves == 0)
		netdev_obstacle(w, "nothing below '%s' leads out of the host", knob_show(name, shown));
}

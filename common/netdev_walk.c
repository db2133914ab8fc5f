/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Down a stack of network devices, by the links of sysfs (Documentation/ABI/testing/sysfs-class-net): `device` is a
 * physical one, or virtio's and the like; `lower_NAME` is one link per device below (since Linux 3.14; before that only
 * `brif` of bridges and `bonding/slaves`). A device that has neither is a tap (`tun_flags`), a veth, or leads nowhere.
 *
 * A bridge may have a thousand taps. They are told by their names, without a look at each: "vnet" libvirt keeps for
 * itself (src/util/virnetdev.h, VIR_NET_GENERATED_VNET_PREFIX), "tap" is what others call theirs (OpenStack, Proxmox;
 * such ports of a bridge that are no taps lead to containers). What is looked at is counted, what others are stacked on
 * is looked at once per walk, and the kernel stacks no more than 8 (include/linux/netdevice.h, MAX_NEST_DEV).
 */
#include "netdev_priv.h"

#include <stdarg.h>

#include "knob.h"

#define DEPTH_MAX 8

bool netdev_is_name(const char *text)
{
	return hostfs_is_name(text) && strlen(text) < NETDEV_NAME;
}

/* key=VALUE of a line, if it is that one and fits. */
static void take_line(const char *line, const char *key, char ret[32])
{
	size_t n = strlen(key);

	if (str_starts(line, key) && line[n] == '=' && strlen(line + n + 1) < 32)
		memcpy(ret, line + n + 1, strlen(line + n + 1) + 1);
}

void netdev_uevent(const struct hostfs *fs, const char *dir, const char *key, char ret[32])
{
	char text[1024], *rest = text, *line;

	ret[0] = '\0';
	if (hostfs_read(fs, text, sizeof(text), "%s/uevent", dir) < 0)
		return;
	while ((line = strsep(&rest, "\n")))
		take_line(line, key, ret);
}

/* Of a device without hardware: its kind, "" unsaid; its number, "" likewise. */
struct identity {
	char type[32], index[32];
};

static void read_identity(const struct hostfs *fs, const char *name, struct identity *ret)
{
	char text[1024], *rest = text, *line;

	*ret = (struct identity){0};
	if (hostfs_read(fs, text, sizeof(text), "sys/class/net/%s/uevent", name) < 0)
		return;
	while ((line = strsep(&rest, "\n"))) {
		take_line(line, "DEVTYPE", ret->type);
		take_line(line, "IFINDEX", ret->index);
	}
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
	w->n_seen = 0;
	w->n_leaves = 0;
	w->why[0] = '\0';
}

static struct netdev_leaf *find_leaf(struct netdev_leaf *l, unsigned int n, const char *name)
{
	for (unsigned int i = 0; i < n; i++)
		if (streq(l[i].name, name))
			return &l[i];
	return NULL;
}

/* Each once; directly rather than through a tunnel, and physical ones first where there is no room. */
static void take_leaf(struct netdev_walk *w, const struct netdev_leaf *l)
{
	struct netdev_leaf *place = find_leaf(w->leaves, w->n_leaves, l->name);

	if (place) {
		place->is_tunnelled &= w->tunnels > 0;
		return;
	}
	if (w->n_leaves < NETDEV_MAX)
		place = &w->leaves[w->n_leaves++];
	for (unsigned int i = 0; !place && !l->is_veth && i < NETDEV_MAX; i++)
		if (w->leaves[i].is_veth)
			place = &w->leaves[i];
	if (!place)
		return;
	*place = *l;
	place->is_tunnelled = w->tunnels > 0;
}

static void add_leaf(struct netdev_walk *w, const char *name, bool is_veth)
{
	struct netdev_leaf l = {.is_veth = is_veth};

	memcpy(l.name, name, strlen(name) + 1);
	take_leaf(w, &l);
	if (w->n_known < NETDEV_MAX)
		w->known[w->n_known++] = l;
}

static bool may_look(struct netdev_walk *w, const char *name, int depth)
{
	if (depth <= DEPTH_MAX && w->visits < NETDEV_VISITS_MAX) {
		w->visits++;
		return true;
	}
	netdev_obstacle(w, "too many devices are stacked, '%s' was not looked at", name);
	return false;
}

/* Whether to list what is below it; it is then marked. Again, if it was reached through a tunnel only. */
static bool is_new(struct netdev_walk *w, const char *name)
{
	unsigned int i = 0;

	while (i < w->n_seen && !streq(w->seen[i].name, name))
		i++;
	if (i < w->n_seen && (!w->seen[i].tunnelled || w->tunnels > 0))
		return false;
	if (i >= NETDEV_STACKED_MAX) {
		netdev_obstacle(w, "too many devices are stacked, '%s' was not looked at", name);
		return false;
	}
	memcpy(w->seen[i].name, name, strlen(name) + 1);
	w->seen[i].tunnelled = w->tunnels > 0;
	w->n_seen += i == w->n_seen;
	return true;
}

/* What a device's directory has. */
struct listing {
	bool is_bridge, is_bond;
	unsigned int lower; /* devices below, taps included */
};

static void visit(struct netdev_walk *w, const char *name, int depth);

/* prefix: of the entries that are lower devices; "" all are. False: there is no such directory. */
static bool go_down(struct netdev_walk *w, const char *dir, const char *prefix, int depth, struct listing *l)
{
	_cleanup_closedir_ DIR *d = hostfs_opendir(w->fs, "%s", dir);
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		const char *lower = entry->d_name + strlen(prefix);

		l->is_bridge |= streq(entry->d_name, "bridge");
		l->is_bond |= streq(entry->d_name, "bonding");
		if (entry->d_name[0] == '.' || !str_starts(entry->d_name, prefix))
			continue;
		l->lower++;
		if (!str_starts(lower, "vnet") && !str_starts(lower, "tap"))
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
	char dir[64];

	(void)snprintf(dir, sizeof(dir), "sys/class/net/%s", name); /* fits: it is a name */
	if (!go_down(w, dir, "lower_", depth, l))
		return false;
	if (l->lower == 0 && l->is_bond)
		go_down_bond(w, name, depth, l);
	if (l->lower == 0 && l->is_bridge) {
		(void)snprintf(dir, sizeof(dir), "sys/class/net/%s/brif", name); /* fits */
		(void)go_down(w, dir, "", depth, l);
	}
	return true;
}

/*
 * A veth says that its link is another device than itself (veth_get_iflink(): the peer, which may have the same number
 * in its own namespace), and, when it is up, that it is full duplex (veth_get_link_ksettings()).
 */
static bool is_veth(const struct hostfs *fs, const char *name, const struct identity *id)
{
	char link[32], duplex[16];

	if (id->type[0])
		return false;
	if (hostfs_read(fs, link, sizeof(link), "sys/class/net/%s/iflink", name) > 0 && !streq(link, "0") &&
	    id->index[0] && !streq(link, id->index))
		return true;
	return hostfs_read(fs, duplex, sizeof(duplex), "sys/class/net/%s/duplex", name) > 0 && streq(duplex, "full");
}

static void judge_end(struct netdev_walk *w, const char *name, const struct identity *id)
{
	if (is_veth(w->fs, name, id))
		add_leaf(w, name, true);
	else
		netdev_obstacle(w, "'%s' (%s) has no device below it", name, id->type[0] ? id->type : "virtual");
}

/* The host wraps the frames up and sends them as its own. */
static bool is_tunnel(const char *type)
{
	return streq(type, "vxlan") || streq(type, "batadv");
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

static void visit_stacked(struct netdev_walk *w, const char *name, int depth)
{
	unsigned int before = w->n_leaves;
	struct identity id;
	struct listing l = {0};
	bool tunnel;

	if (!is_new(w, name))
		return;
	read_identity(w->fs, name, &id);
	tunnel = is_tunnel(id.type);
	if (tunnel)
		netdev_obstacle(w, "'%s' is a tunnel (%s): what leaves the host are packets of its own", name, id.type);
	w->tunnels += tunnel;
	if (!look_below(w, name, depth, &l))
		netdev_obstacle(w, "there is no device '%s'", name);
	else if (l.is_bridge)
		judge_ports(w, name, before);
	else if (l.lower == 0 && !l.is_bond)
		judge_end(w, name, &id);
	w->tunnels -= tunnel;
}

static void visit(struct netdev_walk *w, const char *name, int depth)
{
	const struct netdev_leaf *known = find_leaf(w->known, w->n_known, name);

	if (known)
		take_leaf(w, known);
	else if (!netdev_is_name(name) || !may_look(w, name, depth))
		;
	else if (hostfs_exists(w->fs, "sys/class/net/%s/device", name))
		add_leaf(w, name, false);
	else if (!hostfs_exists(w->fs, "sys/class/net/%s/tun_flags", name))
		visit_stacked(w, name, depth);
	else if (depth == 0) /* deeper, it is a port like the guest's own */
		netdev_obstacle(w, "'%s' is a tap", name);
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

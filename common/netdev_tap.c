/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A tap is an open file of QEMU's: /dev/net/tun, whose fdinfo names the interface (tun_chr_show_fdinfo(), since Linux
 * 3.18), or /dev/tapN of a macvtap with the interface's number N (drivers/net/macvtap.c). libvirt opens both and hands
 * the descriptors down: at a start on the command line (-netdev fd= or fds=, one per queue), on hot-plug over the
 * monitor. So all of the process's descriptors are looked at, each by one readlink(2), since a guest with many CPUs
 * and queues has a thousand; then the command line says which device is whose. What it names alone needs no list of
 * them: the kernel makes an inode for each entry of /proc/PID/fd, so that it is the list that costs.
 */
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "netdev_priv.h"
#include "num.h"
#include "qemuram.h"

#define TAPS_MAX 512 /* twice the interfaces that are looked at in a definition */

struct finder {
	const struct hostfs *fs;
	int pid;
	DIR *fds;
	struct netdev_tap *taps;
	unsigned int n;
};

/* ---- descriptors ---- */

/* "iff:\tvnet0" among the lines of fdinfo; empty for a descriptor that is not attached. */
static void read_iff(const struct finder *f, const char *fd, char name[NETDEV_NAME])
{
	char text[1024], *rest = text, *line;

	if (hostfs_read(f->fs, text, sizeof(text), "proc/%d/fdinfo/%s", f->pid, fd) < 0)
		return;
	while ((line = strsep(&rest, "\n"))) {
		if (!str_starts(line, "iff:"))
			continue;
		line += strlen("iff:");
		line += strspn(line, " \t");
		if (netdev_is_name(line))
			memcpy(name, line, strlen(line) + 1);
	}
}

/* The interface of /dev/tapN: the parent of the character device of that name. QEMU's /dev may be one of its own. */
static void read_macvtap(const struct hostfs *fs, const char *node, char name[NETDEV_NAME])
{
	char dir[64], text[32];

	(void)snprintf(dir, sizeof(dir), "sys/class/macvtap/%.15s/device", node); /* "tap" and a number */
	netdev_uevent(fs, dir, "INTERFACE", text);
	if (netdev_is_name(text))
		memcpy(name, text, strlen(text) + 1);
}

/* The interface behind a descriptor; "" it is no tap. */
static void read_fd(const struct finder *f, const char *fd, char name[NETDEV_NAME])
{
	char link[256];
	const char *base;
	uint64_t index;

	name[0] = '\0';
	if (hostfs_readlink_in(f->fds, fd, link, sizeof(link)) <= 0)
		return;
	base = strrchr(link, '/');
	if (!base)
		return; /* "socket:[1]", "anon_inode:kvm-vcpu:0" */
	if (streq(link, "/dev/net/tun"))
		read_iff(f, fd, name);
	else if (str_starts(base, "/tap") && num_parse_range(base + strlen("/tap"), 1, INT32_MAX, &index) == 0)
		read_macvtap(f->fs, base + 1, name);
}

static struct netdev_tap *find_tap(const struct finder *f, const char *name)
{
	for (unsigned int i = 0; i < f->n; i++)
		if (streq(f->taps[i].name, name))
			return &f->taps[i];
	return NULL;
}

unsigned int netdev_index(const struct hostfs *fs, const char *name)
{
	static int fd = -1; /* any socket will do (netdevice(7)); kept until the process ends */
	struct ifreq ifr = {0};
	size_t len = strlen(name);
	uint64_t index;

	if (fs->real && fd < 0)
		fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fs->real && fd >= 0 && len < sizeof(ifr.ifr_name)) {
		memcpy(ifr.ifr_name, name, len + 1);
		return ioctl(fd, SIOCGIFINDEX, &ifr) == 0 && ifr.ifr_ifindex > 0 ? (unsigned int)ifr.ifr_ifindex : 0;
	}
	return hostfs_read_u64(fs, &index, "sys/class/net/%s/ifindex", name) == 0 && index <= INT32_MAX
		       ? (unsigned int)index
		       : 0;
}

static int add_tap(struct finder *f, const char *name)
{
	struct netdev_tap *grown, *t;

	if (find_tap(f, name) || f->n >= TAPS_MAX)
		return 0;
	grown = reallocarray(f->taps, f->n + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	f->taps = grown;
	t = &grown[f->n++];
	*t = (struct netdev_tap){0};
	memcpy(t->name, name, strlen(name) + 1);
	t->ifindex = netdev_index(f->fs, name);
	return 0;
}

static int take_descriptors(struct finder *f)
{
	char name[NETDEV_NAME];
	struct dirent *entry;
	int r = 0;

	while (r == 0 && (entry = readdir(f->fds))) {
		read_fd(f, entry->d_name, name);
		if (name[0])
			r = add_tap(f, name);
	}
	return r;
}

/* ---- command line ---- */

struct netdevs {
	const char **args;
	unsigned int n; /* of -netdev */
};

static int find_netdevs(const struct strings *argv, struct netdevs *ret)
{
	for (const char *p = strings_next(argv, NULL); p && ret->n < TAPS_MAX; p = strings_next(argv, p)) {
		const char *arg = streq(p, "-netdev") ? strings_next(argv, p) : NULL, **grown;

		if (!arg)
			continue;
		grown = reallocarray(ret->args, ret->n + 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		ret->args = grown;
		grown[ret->n++] = arg;
	}
	return 0;
}

static const char *find_netdev(const struct netdevs *l, const char *id)
{
	char value[QEMURAM_VALUE];

	for (unsigned int i = 0; i < l->n; i++)
		if (strstr(l->args[i], id) && qemu_value(l->args[i], "id", value) && streq(value, id))
			return l->args[i];
	return NULL;
}

/*
 * The first queue's descriptor says it; in a command line that libvirt has not written a name may, of one that is open.
 * *ret is NULL if it is no tap.
 */
static int tap_of_netdev(struct finder *f, const char *arg, struct netdev_tap **ret)
{
	char value[QEMURAM_VALUE], name[NETDEV_NAME] = "";
	int r = 0;

	if (qemu_value(arg, "fd", value) || qemu_value(arg, "fds", value)) {
		value[strcspn(value, ":,")] = '\0';
		read_fd(f, value, name);
		r = name[0] ? add_tap(f, name) : 0;
	} else if (qemu_value(arg, "ifname", value) && netdev_is_name(value)) {
		memcpy(name, value, strlen(value) + 1);
	}
	*ret = find_tap(f, name);
	return r;
}

static void set_mac(struct netdev_tap *t, const char *text)
{
	(void)snprintf(t->mac, sizeof(t->mac), "%s", text); /* cut is fine: then it is none */
	for (char *c = t->mac; *c; c++)
		if (*c >= 'A' && *c <= 'F')
			*c = (char)(*c + ('a' - 'A'));
}

static int take_device(struct finder *f, const struct netdevs *l, const char *arg)
{
	char value[QEMURAM_VALUE];
	const char *netdev = qemu_value(arg, "netdev", value) && value[0] ? find_netdev(l, value) : NULL;
	struct netdev_tap *t = NULL;
	int r = netdev ? tap_of_netdev(f, netdev, &t) : 0;

	if (!t)
		return r;
	if (qemu_value(arg, "id", value))
		(void)snprintf(t->alias, sizeof(t->alias), "%.63s", value); /* one that is cut fits nobody */
	if (qemu_value(arg, "mac", value))
		set_mac(t, value);
	return r;
}

static int take_command_line(struct finder *f, const struct strings *argv)
{
	struct netdevs l = {0};
	int r = find_netdevs(argv, &l);

	for (const char *p = strings_next(argv, NULL); p && r == 0 && l.n; p = strings_next(argv, p)) {
		const char *arg = streq(p, "-device") ? strings_next(argv, p) : NULL;

		if (arg)
			r = take_device(f, &l, arg);
	}
	free(l.args);
	return r;
}

/* What the command line does not name has the host device's MAC. */
static void fill_rest(struct finder *f)
{
	for (unsigned int i = 0; i < f->n; i++) {
		char mac[32];

		if (!f->taps[i].mac[0] &&
		    hostfs_read(f->fs, mac, sizeof(mac), "sys/class/net/%s/address", f->taps[i].name) > 0)
			set_mac(&f->taps[i], mac);
	}
}

static int find_taps(const struct hostfs *fs, int pid, bool all, struct netdev_tap **ret)
{
	struct finder f = {.fs = fs, .pid = pid};
	_cleanup_closedir_ DIR *fds = NULL;
	struct strings argv;
	int r = strings_read(fs, pid, "cmdline", &argv);

	if (r == -ENOENT || (r == 0 && argv.len == 0)) /* a process that has ended has an empty one */
		r = -ESRCH;
	if (r == 0) {
		f.fds = fds = hostfs_opendir(fs, "proc/%d/fd", pid);
		if (!fds)
			r = errno == ENOENT ? -ESRCH : -errno;
	}
	if (r == 0 && all)
		r = take_descriptors(&f);
	if (r == 0 && (f.n || !all))
		r = take_command_line(&f, &argv);
	free(argv.text);
	if (r < 0) {
		free(f.taps);
		return r;
	}
	fill_rest(&f);
	*ret = f.taps;
	return (int)f.n;
}

int netdev_taps(const struct hostfs *fs, int pid, struct netdev_tap **ret)
{
	return find_taps(fs, pid, true, ret);
}

int netdev_taps_of_start(const struct hostfs *fs, int pid, struct netdev_tap **ret)
{
	return find_taps(fs, pid, false, ret);
}

bool netdev_tap_is(const struct netdev_tap *t, const char *mac)
{
	if (streq(t->mac, mac))
		return true;
	return !t->alias[0] && str_starts(t->mac, "fe:") && strlen(mac) == strlen(t->mac) && streq(t->mac + 2, mac + 2);
}

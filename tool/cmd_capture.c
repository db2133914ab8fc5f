/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * domtune capture: what plans are made of, as a tar that --root understands when unpacked elsewhere. One table of
 * patterns says what is taken; a file that is absent or that nobody may read is left out, as it would be unknown
 * on this host too. Kernel files say 4096 bytes whatever they hold, so each is read before its header is written.
 */
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>

#include "common/paths.h"
#include "tool/capture.h"

#define FILE_LIMIT (8u << 20) /* /proc/cpuinfo of 8192 CPUs is some MiB */

/* Names that libvirt and others give to guests' taps are left out (FNM_EXTMATCH). */
#define NO_TAP "!(vnet*|tap*|macvtap*)"

/* Patterns of fnmatch(3), component by component. */
static const char *const patterns[] = {
	"proc/cpuinfo",
	"proc/meminfo",
	"proc/mounts",
	"proc/self/mountinfo",
	"proc/cgroups",
	"proc/cmdline",
	"proc/sys/kernel/osrelease",
	"proc/sys/kernel/random/boot_id", /* the ledger below is this boot's */
	"proc/sys/kernel/numa_balancing",
	"proc/sys/kernel/sched_*",
	"proc/swaps",
	"proc/version", /* PREEMPT_RT */
	"proc/sys/net/core/*mem_*",
	"proc/sys/vm/nr_*hugepages*",
	"proc/sys/vm/zone_reclaim_mode",
	"sys/devices/system/cpu/online",
	"sys/devices/system/cpu/offline",
	"sys/devices/system/cpu/possible",
	"sys/devices/system/cpu/present",
	"sys/devices/system/cpu/isolated",
	"sys/devices/system/cpu/nohz_full",
	"sys/devices/system/cpu/kernel_max",
	"sys/devices/system/cpu/smt/*",
	"sys/devices/system/cpu/cpu[0-9]*/online",
	"sys/devices/system/cpu/cpu[0-9]*/cpu_capacity",
	"sys/devices/system/cpu/cpu[0-9]*/topology/*",
	"sys/devices/system/cpu/cpu[0-9]*/cache/index[0-9]*/*",
	"sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_*_freq",
	"sys/devices/system/cpu/cpu[0-9]*/cpufreq/base_frequency",
	"sys/devices/system/cpu/cpufreq/policy[0-9]*/related_cpus",
	"sys/devices/system/cpu/cpufreq/policy[0-9]*/scaling_driver",
	"sys/devices/system/cpu/cpufreq/policy[0-9]*/scaling_governor",
	"sys/devices/system/cpu/cpufreq/policy[0-9]*/scaling_available_governors",
	"sys/devices/system/cpu/cpufreq/policy[0-9]*/energy_performance_*",
	"sys/devices/system/cpu/cpu[0-9]*/acpi_cppc/highest_perf",
	"sys/devices/system/cpu/cpu[0-9]*/power/pm_qos_resume_latency_us",
	"sys/devices/system/node/online",
	"sys/devices/system/node/possible",
	"sys/devices/system/node/has_*",
	"sys/devices/system/node/node[0-9]*/cpulist",
	"sys/devices/system/node/node[0-9]*/cpumap",
	"sys/devices/system/node/node[0-9]*/distance",
	"sys/devices/system/node/node[0-9]*/meminfo",
	"sys/devices/system/node/node[0-9]*/hugepages/hugepages-*/*",
	"sys/kernel/mm/hugepages/hugepages-*/*",
	"sys/kernel/mm/transparent_hugepage/*",
	"sys/kernel/mm/ksm/run",
	"sys/kernel/realtime",
	"sys/module/kvm/parameters/halt_poll*",
	"sys/module/kvm_intel/parameters/nested",
	"sys/module/kvm_amd/parameters/nested",
	"sys/fs/resctrl/schemata",
	"sys/fs/resctrl/info/*/*",
	"sys/fs/resctrl/*/schemata",
	"sys/fs/resctrl/*/mode",
	"sys/fs/cgroup/cgroup.controllers",
	"sys/fs/cgroup/cgroup.subtree_control",
	"sys/fs/cgroup/*/cpuset.cpus", /* CPUs that others keep for themselves */
	"sys/fs/cgroup/*/cpuset.cpus.exclusive.effective",
	"sys/fs/cgroup/*/cpuset.cpus.partition",
	"sys/fs/cgroup/cpuset/*/cpuset.cpu_exclusive",
	"sys/fs/cgroup/cpuset/*/cpuset.cpus",
	"sys/fs/cgroup/io.cost.qos",
	"sys/fs/cgroup/unified/io.cost.qos",
	"sys/bus/pci/devices/*/numa_node", /* where passed-through functions and NICs are (device.c) */
	"sys/class/net/*/device/numa_node",
	/* Stacks of network devices (netdev.c), but for guests' taps, of which there may be thousands. */
	"sys/class/net/" NO_TAP "/ifindex",
	"sys/class/net/" NO_TAP "/iflink",
	"sys/class/net/" NO_TAP "/uevent",
	"sys/class/net/" NO_TAP "/speed",
	"sys/class/net/" NO_TAP "/duplex",
	"sys/class/net/" NO_TAP "/tun_flags",
	"sys/class/net/" NO_TAP "/master/uevent",
	"sys/class/net/" NO_TAP "/device/uevent",
	"sys/class/net/" NO_TAP "/bridge/stp_state",
	"sys/class/net/" NO_TAP "/bonding/slaves",
	"sys/class/net/" NO_TAP "/lower_" NO_TAP "/ifindex",
	"sys/class/net/" NO_TAP "/queues/tx-*/tx_timeout",
	"proc/irq/default_smp_affinity", /* interrupts, and whose they are (irq.c) */
	"proc/irq/[0-9]*/smp_affinity_list",
	"proc/irq/[0-9]*/effective_affinity_list",
	"proc/irq/[0-9]*/node",
	"sys/bus/pci/devices/*/irq",
	"sys/bus/pci/devices/*/msi_irqs/*",
	"proc/net/route",
	"proc/net/ipv6_route",
	"proc/sys/net/ipv4/conf/" NO_TAP "/forwarding",
	"run/libvirt/network/*.xml",
	"etc/libvirt/qemu/networks/*.xml",
	"etc/domtune/policy.xml",
	"etc/domtune/disabled",
	"etc/domtune/profiles/*.xml",
	"usr/share/domtune/profiles/*.xml",
	PATH_LEDGER,
	"etc/libvirt/storage/*.xml", /* volumes of disks */
	"run/libvirt/storage/*.xml",
	"var/cache/libvirt/qemu/capabilities/*.xml", /* which QEMU is behind which path */
};

void capture_file(struct capture *c, const char *path)
{
	_cleanup_free_ char *data = NULL;
	struct stat st;
	size_t len;
	int r;

	if (hostfs_stat(c->fs, &st, "%s", path) < 0 || !S_ISREG(st.st_mode))
		return;
	if (hostfs_read_all(c->fs, FILE_LIMIT, &data, &len, "%s", path) < 0)
		return;
	r = tar_add(stdout, path, 0644, data, len);
	if (r == 0)
		c->files++;
	else if (r != -ENAMETOOLONG)
		c->failed = r;
}

bool capture_link(struct capture *c, const char *path, char target[TAR_TARGET_MAX])
{
	_cleanup_close_ int fd = hostfs_open(c->fs, O_PATH | O_NOFOLLOW, "%s", path);
	ssize_t n = fd < 0 ? -1 : readlinkat(fd, "", target, TAR_TARGET_MAX - 1);
	int r;

	if (n <= 0)
		return false;
	target[n] = '\0';
	if (n == TAR_TARGET_MAX - 1 || target[0] == '/')
		return false;
	r = tar_link(stdout, path, target);
	if (r < 0 && r != -ENAMETOOLONG)
		c->failed = r;
	return r == 0;
}

static int by_name(const void *a, const void *b)
{
	/* cpu2 before cpu10: a person may list the archive. */
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

size_t capture_list(const struct hostfs *fs, const char *dir_path, const char *pattern, char ***ret)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, "%s", dir_path);
	char **names = NULL;
	size_t n = 0;

	for (const struct dirent *d = dir ? readdir(dir) : NULL; d; d = readdir(dir)) {
		char **more;

		if (fnmatch(pattern, d->d_name, FNM_PERIOD | FNM_EXTMATCH) != 0)
			continue;
		more = reallocarray(names, n + 1, sizeof(*names));
		if (!more)
			break;
		names = more;
		names[n] = strdup(d->d_name);
		if (!names[n])
			break;
		n++;
	}
	if (n)
		qsort(names, n, sizeof(*names), by_name);
	*ret = names;
	return n;
}

typedef void taker(struct capture *c, const char *path);

/* done: the part of the path that is literal; rest: what of the pattern follows, "" at the end. */
static void expand(struct capture *c, const char *done, const char *rest, taker *take)
{
	char path[TAR_NAME_MAX + 1], component[TAR_NAME_MAX + 1];
	size_t len = strcspn(rest, "/");
	char **names = NULL;
	size_t n;

	if (!*rest) {
		take(c, done);
		return;
	}
	(void)snprintf(component, sizeof(component), "%.*s", (int)len, rest);
	rest += len + (rest[len] == '/');
	if (!strpbrk(component, "*?[")) {
		if (snprintf(path, sizeof(path), "%s%s%s", done, *done ? "/" : "", component) < (int)sizeof(path))
			expand(c, path, rest, take);
		return;
	}
	n = capture_list(c->fs, done, component, &names);
	for (size_t i = 0; i < n; i++) {
		if (!c->failed && snprintf(path, sizeof(path), "%s/%s", done, names[i]) < (int)sizeof(path))
			expand(c, path, rest, take);
		free(names[i]);
	}
	free(names);
}

void capture_expand(struct capture *c, const char *pattern, taker *take)
{
	expand(c, "", pattern, take);
}

int cmd_capture(struct tool *t)
{
	struct capture c = { .fs = &t->fs };

	if (isatty(STDOUT_FILENO))
		return tool_fail(TOOL_USAGE, "capture", "this is a terminal; domtune capture >host.tar");
	for (size_t i = 0; i < ARRAY_SIZE(patterns) && !c.failed; i++)
		capture_expand(&c, patterns[i], capture_file);
	if (!c.failed)
		capture_blocks(&c);
	if (!c.failed)
		c.failed = tar_end(stdout);
	if (c.failed)
		return tool_fail_err("stdout", c.failed, NULL);
	if (!c.files)
		return tool_fail(TOOL_CANNOT, t->root ? t->root : "/", "nothing of a host is to be read there");
	return TOOL_OK;
}

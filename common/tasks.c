/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One directory (the root of the cpuset hierarchy), a few files for each of its groups, and one level more of each to
 * see whether guests are in there. Groups are systemd's where it runs (/run/systemd/system, sd_booted(3)), the hierarchy
 * is the unified one, and their name is a unit's; systemd does nothing with cpusets of v1.
 */
#include "tasks.h"

#include "cgroup.h"
#include "num.h"
#include "xml.h"

#define ENTRIES_MAX 4096 /* of one directory; system.slice has about a hundred */
#define DEPTH_MAX   3    /* of slices within slices, v1 groups within groups */

/* machine.slice with systemd, machine without (libvirt: src/util/vircgroup.c), and that of its older versions. */
static bool is_for_guests(const char *name)
{
	return streq(name, "machine.slice") || streq(name, "machine") || streq(name, "libvirt");
}

static bool has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);

	return n > m && streq(name + n - m, suffix);
}

/* Groups of guests, as machined ("machine-qemu\x2d1\x2dx.scope") and libvirt itself name them ("qemu-1-x.libvirt-qemu"). */
static bool is_guest(const char *name)
{
	return (str_starts(name, "machine-") && has_suffix(name, ".scope")) || strstr(name, ".libvirt-") != NULL;
}

/* Other units of systemd that are no slices may lie there as well (mounts): nothing runs in them. */
static bool is_other_unit(const char *name)
{
	static const char *const suffixes[] = {".mount", ".swap", ".socket", ".service"};

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++)
		if (has_suffix(name, suffixes[i]))
			return true;
	return false;
}

static bool is_directory(const struct dirent *d)
{
	return (d->d_type == DT_DIR || d->d_type == DT_UNKNOWN) && hostfs_is_name(d->d_name);
}

static bool holds_guests(const struct hostfs *fs, const char *path, int depth)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, "%s", path);
	char below[1024];
	struct dirent *d;

	for (int n = 0; dir && n < ENTRIES_MAX && (d = readdir(dir)); n++) {
		if (!is_directory(d))
			continue;
		if (is_guest(d->d_name))
			return true;
		if (depth > 0 && (has_suffix(d->d_name, ".slice") || has_suffix(d->d_name, ".partition")) &&
		    (size_t)snprintf(below, sizeof(below), "%s/%s", path, d->d_name) < sizeof(below) &&
		    holds_guests(fs, below, depth - 1))
			return true;
	}
	return false;
}

/* cpusets.rst (v1), section 1.6: a group's CPUs are a subset of its parent's, or the write is refused. */
static void find_children(const struct hostfs *fs, const char *path, int depth, struct task_group *g)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, "%s", path);
	char below[1024];
	struct dirent *d;

	for (int n = 0; dir && n < ENTRIES_MAX && (d = readdir(dir)); n++) {
		struct idset cpus;

		if (!is_directory(d) ||
		    (size_t)snprintf(below, sizeof(below), "%s/%s", path, d->d_name) >= sizeof(below) ||
		    hostfs_read_idset(fs, &cpus, "%s/cpuset.cpus", below) < 0)
			continue;
		if (!idset_is_empty(&cpus) && (!g->child[0] || strcmp(d->d_name, g->child) < 0))
			(void)snprintf(g->child, sizeof(g->child), "%s", d->d_name); /* a name has 255 bytes */
		idset_or(&g->child_cpus, &cpus);
		if (depth > 0)
			find_children(fs, below, depth - 1, g);
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct task_group *)a)->name, ((const struct task_group *)b)->name);
}

/* The top-level group that a <partition> lies in: "/foo/bar" is foo.slice with systemd, foo.partition without. */
static void partition_top(const struct domain *d, char buf[256])
{
	const xmlNode *root = d->doc ? xmlDocGetRootElement(d->doc) : NULL;
	const xmlNode *resource = root ? xml_child(root, NULL, "resource") : NULL;
	const xmlNode *partition = resource ? xml_child(resource, NULL, "partition") : NULL;
	_cleanup_free_ char *text = partition ? xml_text(partition) : NULL;
	const char *first = text && *text == '/' ? text + 1 : "";

	(void)snprintf(buf, 256, "%.*s", (int)strcspn(first, "/"), first); /* cut: it is no group's name then */
}

static bool is_in_partition(const char *group, const char *top)
{
	size_t n = strlen(top);

	return n > 0 && strncmp(group, top, n) == 0 &&
	       (!group[n] || streq(group + n, ".slice") || streq(group + n, ".partition"));
}

/*
 * Whether libvirt is told to make no cpuset groups (cgroup_controllers of qemu.conf, a list that may have several lines):
 * guests then stay in the daemon's own, which is system.slice's.
 */
static bool guests_stay(const struct hostfs *fs)
{
	static const char key[] = "cgroup_controllers";
	_cleanup_free_ char *text = NULL;
	bool stay = false;

	if (hostfs_read_all(fs, 1u << 20, &text, NULL, "etc/libvirt/qemu.conf") < 0)
		return false;
	for (char *line = text; line; line = strchr(line, '\n')) {
		const char *list, *cpuset;

		line += *line == '\n';
		if (!str_starts(line + strspn(line, " \t"), key))
			continue;
		list = strchr(line, '[');
		cpuset = list ? strstr(list, "\"cpuset\"") : NULL;
		stay = list && !(cpuset && strchr(list, ']') && cpuset < strchr(list, ']'));
	}
	return stay;
}

static void read_group(const struct hostfs *fs, struct tasks_facts *f, const char *name, const char *top, bool systemd)
{
	struct task_group *g = &f->groups[f->n_groups];
	char path[600];

	if (f->n_groups == TASK_GROUPS_MAX) {
		f->more_groups = true;
		return;
	}
	memset(g, 0, sizeof(*g));
	(void)snprintf(g->name, sizeof(g->name), "%s", name); /* a name has 255 bytes */
	(void)snprintf(path, sizeof(path), "%s/%s", f->mount, name); /* fits */
	g->is_unit = systemd && (has_suffix(name, ".slice") || has_suffix(name, ".scope"));
	g->holds_guests = is_in_partition(name, top) || holds_guests(fs, path, DEPTH_MAX);
	if (hostfs_read_idset(fs, &g->cpus, "%s/cpuset.cpus", path) < 0) {
		g->cpus = IDSET_EMPTY;
		if (!g->is_unit)
			return; /* no cpuset of its own: it is as its parent */
	}
	if (f->version == 1)
		find_children(fs, path, DEPTH_MAX, g);
	f->n_groups++;
}

/* What systemd itself starts everything in; a slice has no group before something runs there. */
static const char *const units[] = {"init.scope", "system.slice", "user.slice"};

static bool is_known(const struct tasks_facts *f, const char *name)
{
	for (unsigned int i = 0; i < f->n_groups; i++)
		if (streq(f->groups[i].name, name))
			return true;
	return false;
}

static void read_groups(const struct hostfs *fs, const struct domain *d, struct tasks_facts *f)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, "%s", f->mount);
	bool systemd = f->version == 2 && hostfs_exists(fs, "run/systemd/system");
	struct dirent *entry;
	char top[256];

	partition_top(d, top);
	for (int n = 0; dir && n < ENTRIES_MAX && (entry = readdir(dir)); n++)
		if (is_directory(entry) && !is_for_guests(entry->d_name) && !(systemd && is_other_unit(entry->d_name)))
			read_group(fs, f, entry->d_name, top, systemd);
	for (size_t i = 0; systemd && i < ARRAY_SIZE(units); i++)
		if (!is_known(f, units[i]))
			read_group(fs, f, units[i], top, systemd);
	for (unsigned int i = 0; i < f->n_groups; i++)
		f->groups[i].holds_guests |= streq(f->groups[i].name, "system.slice") && guests_stay(fs);
	qsort(f->groups, f->n_groups, sizeof(f->groups[0]), by_name);
}

/* Whether one of the processes in the root group is a program: kernel threads have no command line. */
static bool has_programs(const struct hostfs *fs, const struct tasks_facts *f)
{
	_cleanup_free_ char *text = NULL;
	char line[8], *pid, *save = NULL;
	uint64_t number;

	if (hostfs_read_all(fs, 1u << 20, &text, NULL, "%s/cgroup.procs", f->mount) < 0)
		return false;
	for (pid = strtok_r(text, "\n", &save); pid; pid = strtok_r(NULL, "\n", &save)) {
		int r = num_parse_u64(pid, &number) < 0 || number > INT32_MAX
				? 0
				: hostfs_read(fs, line, sizeof(line), "proc/%d/cmdline", (int)number);

		if (r > 0 || r == -EFBIG)
			return true;
	}
	return false;
}

static bool read_mask(const struct hostfs *fs, struct idset *ret, const char *path)
{
	char text[8192];

	return hostfs_read(fs, text, sizeof(text), "%s", path) >= 0 && idset_parse_mask(text, ret) == 0;
}

/* --- others who set CPUs aside ------------------------------------------------------------------------------------ */

/* Whether the process that a file names is this one; a number may be another's by now. */
static bool runs(const struct hostfs *fs, const char *pid_file, const char *name)
{
	char comm[32];
	uint64_t pid;

	return hostfs_read_u64(fs, &pid, "%s", pid_file) == 0 && pid <= INT32_MAX &&
	       hostfs_read(fs, comm, sizeof(comm), "proc/%d/comm", (int)pid) > 0 && streq(comm, name);
}

/*
 * "isolated_cores=2-7", also with blanks and quotes; lines that begin with "#" say nothing. The last one counts. Whether cores
 * are isolated; *ret stays empty where a function of tuned's says which, as it comes ("${f:calc_isolated_cores:1}").
 */
static bool read_variables(const struct hostfs *fs, const char *file, struct idset *ret)
{
	_cleanup_free_ char *text = NULL;
	char *line, *save = NULL;
	bool any = false;

	if (hostfs_read_all(fs, 65536, &text, NULL, "etc/tuned/%s", file) < 0)
		return false;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		static const char key[] = "isolated_cores";

		line += strspn(line, " \t");
		if (!str_starts(line, key))
			continue;
		line += strlen(key);
		line += strspn(line, " \t");
		if (*line++ != '=')
			continue;
		line += strspn(line, " \t\"'");
		line[strcspn(line, "\"'#")] = '\0';
		any = idset_parse(line, ret) == 0 || str_starts(line, "${f:");
		if (str_starts(line, "${f:"))
			*ret = IDSET_EMPTY;
	}
	return any;
}

/*
 * tuned keeps the names of its active profiles, and what is chosen for them, in /etc/tuned (tuned-profiles(7)). They remain
 * when it has been stopped and has put everything back.
 */
static void read_tuned(const struct hostfs *fs, struct tasks_facts *f)
{
	char text[512], *name, *save = NULL, file[600];

	if (!runs(fs, "run/tuned/tuned.pid", "tuned") || hostfs_read(fs, text, sizeof(text), "etc/tuned/active_profile") <= 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	for (name = strtok_r(text, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
		struct idset cpus = IDSET_EMPTY;

		if (!hostfs_is_name(name))
			continue;
		(void)snprintf(file, sizeof(file), "%s-variables.conf", name); /* fits */
		if (!read_variables(fs, file, &cpus))
			continue;
		f->tuned_cpus = cpus;
		(void)snprintf(f->tuned, sizeof(f->tuned), "%s", name); /* cut: it is for people */
	}
}

/* `cset shield` and `cset set` make these two, exclusive ones, and move all tasks there (cset-shield(1)). */
static bool made_by_cset(const struct hostfs *fs, const struct tasks_facts *f)
{
	uint64_t user, system;

	return f->version == 1 && hostfs_read_u64(fs, &user, "%s/user/cpuset.cpu_exclusive", f->mount) == 0 &&
	       hostfs_read_u64(fs, &system, "%s/system/cpuset.cpu_exclusive", f->mount) == 0 && (user || system);
}

int tasks_read(const struct hostfs *fs, const struct domain *d, struct tasks_facts *ret)
{
	struct cgroup_layout layout;
	int r = cgroup_layout_load(fs, &layout);

	memset(ret, 0, sizeof(*ret));
	if (r < 0)
		r = cgroup_layout_mounts(fs, &layout);
	if (r == -ENOMEM)
		return r;
	if (r == 0 && layout.at[CGROUP_CPUSET].version) {
		ret->version = layout.at[CGROUP_CPUSET].version;
		memcpy(ret->mount, layout.at[CGROUP_CPUSET].path, sizeof(ret->mount));
		read_groups(fs, d, ret);
		ret->in_root = has_programs(fs, ret);
		ret->cset = made_by_cset(fs, ret);
	}
	ret->has_workqueue = read_mask(fs, &ret->workqueue, "sys/devices/virtual/workqueue/cpumask");
	ret->has_writeback = read_mask(fs, &ret->writeback, "sys/devices/virtual/workqueue/writeback/cpumask");
	read_tuned(fs, ret);
	ret->numad = runs(fs, "run/numad.pid", "numad");
	return 0;
}

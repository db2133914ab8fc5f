/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPUs that belong to somebody by way of the kernel. A valid partition of cgroup v2 has its CPUs to itself (kernel:
 * Documentation/admin-guide/cgroup-v2.rst, cpuset.cpus.partition): a group outside that names them in cpuset.cpus does
 * not get them. On v1 no sibling of a cpu_exclusive group may even name them (admin-guide/cgroup-v1/cpusets.rst).
 *
 * Only groups right below the root are asked, since there is where init systems and container runtimes make them;
 * libvirt's own top-level groups are left out: what is exclusive in there is ours to give. What cannot be read is not
 * there. Costs a directory and one file per top-level group, of which a host has about ten.
 */
#include "cgroup.h"
#include "host_priv.h"

#define GROUPS_MAX 1024

/* machine.slice with systemd, machine without (libvirt: src/util/vircgroup.c), and that of its older versions. */
static bool is_for_guests(const char *name)
{
	return streq(name, "machine.slice") || streq(name, "machine") || streq(name, "libvirt");
}

static void add_file(const struct hostfs *fs, const char *group, const char *name, const char *file, struct idset *to)
{
	struct idset set;

	if (hostfs_read_idset(fs, &set, "%s/%s/%s", group, name, file) == 0)
		idset_or(to, &set);
}

/* "root", "isolated"; "root invalid (...)" has nothing to itself, "member" neither. */
static bool is_partition(const struct hostfs *fs, const char *top, const char *name)
{
	char text[256];

	if (hostfs_read(fs, text, sizeof(text), "%s/%s/cpuset.cpus.partition", top, name) < 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return streq(text, "root") || streq(text, "isolated");
}

/*
 * cpuset.cpus.effective lacks what the partition has handed on to partitions below it. Since 6.7
 * cpuset.cpus.exclusive.effective has all of it; before, cpuset.cpus was it.
 */
static struct idset partition_cpus(const struct hostfs *fs, const char *top, const char *name)
{
	struct idset set = IDSET_EMPTY;

	add_file(fs, top, name, "cpuset.cpus.exclusive.effective", &set);
	if (idset_is_empty(&set))
		add_file(fs, top, name, "cpuset.cpus", &set);
	add_file(fs, top, name, "cpuset.cpus.effective", &set);
	return set;
}

static bool is_exclusive_v1(const struct hostfs *fs, const char *top, const char *name)
{
	uint64_t on;

	return hostfs_read_u64(fs, &on, "%s/%s/cpuset.cpu_exclusive", top, name) == 0 && on == 1;
}

static void take_group(struct host_reader *rd, const struct cgroup_layout *l, const char *name)
{
	const char *top = l->at[CGROUP_CPUSET].path;
	struct host *h = rd->h;
	struct idset set = IDSET_EMPTY;

	if (l->at[CGROUP_CPUSET].version == 2 && is_partition(rd->fs, top, name))
		set = partition_cpus(rd->fs, top, name);
	else if (l->at[CGROUP_CPUSET].version == 1 && is_exclusive_v1(rd->fs, top, name))
		add_file(rd->fs, top, name, "cpuset.cpus", &set);
	idset_and(&set, &h->online);
	if (idset_is_empty(&set))
		return;
	idset_or(&h->exclusive, &set);
	/* The first by name, whatever the order of the directory. */
	if (!h->exclusive_name[0] || strcmp(name, h->exclusive_name) < 0)
		(void)snprintf(h->exclusive_name, sizeof(h->exclusive_name), "%s", name);
}

int host_read_exclusive(struct host_reader *rd)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct cgroup_layout l;
	struct dirent *d;
	int r = cgroup_layout_load(rd->fs, &l);

	if (r < 0)
		r = cgroup_layout_mounts(rd->fs, &l);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	if (!l.at[CGROUP_CPUSET].version)
		return 0;
	dir = hostfs_opendir(rd->fs, "%s", l.at[CGROUP_CPUSET].path);
	for (unsigned int n = 0; dir && n < GROUPS_MAX && (d = readdir(dir));) {
		if ((d->d_type != DT_DIR && d->d_type != DT_UNKNOWN) || !hostfs_is_name(d->d_name) ||
		    is_for_guests(d->d_name))
			continue;
		n++;
		take_group(rd, &l, d->d_name);
	}
	return 0;
}

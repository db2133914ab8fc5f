/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * AllowedCPUs of a slice or scope: the CPUs that everything in it may use (systemd.resource-control(5), since systemd
 * 244, cgroup v2 only). systemd writes them to the unit's cpuset.cpus, whenever they are set and at each daemon-reload.
 *
 * Canonical value: the CPU list, "" where nobody has given one; where the kernel does not follow, what it has instead. A list that is only in cpuset.cpus, so that systemd does
 * not know it, is somebody's choice as well and counts like one of the property; one that has every online CPU says no
 * more than none.
 *
 * systemd never takes a set back from the kernel: an emptied property, like a reverted one, leaves cpuset.cpus as it was,
 * unless no unit needs the controller any more, when it goes with its files (seen with systemd 257). And the kernel does not
 * empty the set of a group with tasks below it (ENOSPC, see be_cgroup.c): all online CPUs are as wide. So to empty it is
 * three steps: the kernel gets the empty set, or all; the property goes; then the kernel's side once more, in case that
 * systemd wrote it meanwhile; all of it is read back. Whoever is killed after the first leaves a property that still says
 * what it said, and all is done again; after the second, nothing is left to be done. What stays is the property's drop-in of
 * that boot, below /run/systemd, which says "AllowedCPUs=".
 */
#include "be_unit_priv.h"

#include "backend.h"
#include "cgroup.h"

/* "" is the empty set here, which idset_parse() takes for a mistake. */
static int parse_cpus(const char *text, struct idset *ret)
{
	*ret = IDSET_EMPTY;
	return text[strspn(text, " ")] ? idset_parse(text, ret) : 0;
}

bool unit_cpus_same(const char *a, const char *b)
{
	struct idset x, y;

	return parse_cpus(a, &x) == 0 && parse_cpus(b, &y) == 0 && idset_equal(&x, &y);
}

static int read_online(const struct hostfs *fs, struct idset *ret)
{
	return hostfs_read_idset(fs, ret, "sys/devices/system/cpu/online");
}

int unit_cpus_whole(const struct hostfs *fs, char *buf, size_t size)
{
	struct idset online;
	int r = read_online(fs, &online);

	return r < 0 ? r : idset_format(&online, buf, size);
}

/* The unit's group below the root; "": it has none. -EOPNOTSUPP: on cgroup v1 the property does nothing. */
static int find_group(const struct hostfs *fs, const struct unit_object *o, char group[1300])
{
	struct cgroup_layout layout;
	char path[1024];
	int r;

	if ((cgroup_layout_load(fs, &layout) < 0 && cgroup_layout_mounts(fs, &layout) < 0) ||
	    layout.at[CGROUP_CPUSET].version != 2)
		return -EOPNOTSUPP;
	/* An answer of the manager's: what it was told before has been carried out by now. */
	r = unit_bus->get_group(o->unit, o->interface, path, sizeof(path));
	group[0] = '\0';
	if (r < 0)
		return r == -ENOENT ? 0 : r; /* not loaded: there is nothing in it */
	if (path[0] == '/' && path[1])
		(void)snprintf(group, 1300, "%s%s", layout.at[CGROUP_CPUSET].path, path); /* fits */
	return 0;
}

/* What the kernel keeps the group on; empty: nothing of its own, or it has no cpuset controller at present. */
static struct idset kernel_cpus(const struct hostfs *fs, const char *group)
{
	struct idset cpus = IDSET_EMPTY, online;

	if (!group[0] || hostfs_read_idset(fs, &cpus, "%s/cpuset.cpus", group) < 0)
		return IDSET_EMPTY;
	return read_online(fs, &online) == 0 && idset_is_subset(&online, &cpus) ? IDSET_EMPTY : cpus;
}

/* What systemd has taken is in force only if the kernel has it, too. Where that cannot be read nothing else is known. */
static bool is_in_force(const struct hostfs *fs, const char *group, const struct idset *wanted)
{
	struct idset effective;

	return !group[0] || hostfs_read_idset(fs, &effective, "%s/cpuset.cpus.effective", group) < 0 ||
	       idset_is_subset(&effective, wanted);
}

int unit_cpus_read(const struct hostfs *fs, const struct unit_object *o, char *buf, size_t size)
{
	struct idset cpus;
	char group[1300];
	int r = find_group(fs, o, group);

	if (r == 0)
		r = unit_bus->get_cpus(o->unit, o->interface, o->property, &cpus);
	if (r < 0)
		return r;
	if (idset_is_empty(&cpus))
		cpus = kernel_cpus(fs, group);
	else if (!is_in_force(fs, group, &cpus))
		(void)hostfs_read_idset(fs, &cpus, "%s/cpuset.cpus.effective", group);
	r = idset_format(&cpus, buf, size);
	return r == -E2BIG ? -EFBIG : r;
}

/* As wide as the group above it. */
static int widen_kernel(const struct hostfs *fs, const char *group)
{
	_cleanup_free_ char *all = NULL;
	struct idset online;
	int r = group[0] ? hostfs_write(fs, "", "%s/cpuset.cpus", group) : -ENOENT;

	if (r == -ENOSPC && read_online(fs, &online) == 0) {
		all = idset_text(&online);
		r = all ? hostfs_write(fs, all, "%s/cpuset.cpus", group) : -ENOMEM;
	}
	return r == -ENOENT || r == -ENODEV ? 0 : r; /* no controller, no set */
}

static int empty(const struct hostfs *fs, const struct unit_object *o)
{
	struct idset cpus = IDSET_EMPTY, above, effective;
	char group[1300];
	int r = find_group(fs, o, group);

	if (r == 0)
		r = widen_kernel(fs, group);
	if (r == 0)
		r = unit_bus->set_cpus(o->unit, o->property, &cpus);
	if (r == 0)
		r = find_group(fs, o, group);
	if (r == 0)
		r = widen_kernel(fs, group);
	if (r == 0)
		r = unit_bus->get_cpus(o->unit, o->interface, o->property, &cpus);
	if (r < 0)
		return r;
	above = kernel_cpus(fs, group);
	if (!idset_is_empty(&cpus) || !idset_is_empty(&above))
		return -EINVAL;
	/* All that the group above it has; where these cannot be read there is no controller. */
	if (!strrchr(group, '/') || hostfs_read_idset(fs, &effective, "%s/cpuset.cpus.effective", group) < 0 ||
	    hostfs_read_idset(fs, &above, "%.*s/cpuset.cpus.effective", (int)(strrchr(group, '/') - group), group) < 0)
		return 0;
	return idset_is_subset(&above, &effective) ? 0 : -EINVAL;
}

int unit_cpus_write(const struct hostfs *fs, const struct unit_object *o, const char *value)
{
	struct idset cpus;
	char group[1300];
	int r = parse_cpus(value, &cpus);

	if (r < 0)
		return -EINVAL;
	if (idset_is_empty(&cpus))
		return empty(fs, o);
	r = find_group(fs, o, group);
	if (r == 0)
		r = unit_bus->set_cpus(o->unit, o->property, &cpus);
	if (r == 0)
		r = find_group(fs, o, group);
	return r < 0 || is_in_force(fs, group, &cpus) ? r : -EINVAL;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Back end "unit": a runtime property of a systemd unit, set over D-Bus as `systemctl set-property --runtime` does.
 * What machine scopes compete with each other for has to go this way: systemd owns the scope's control files and
 * writes its own idea of them at daemon-reload, libvirt asks systemd at `virsh schedinfo`.
 *
 * The object is "UNIT/PROPERTY"; the value is a number, or "unset" for UINT64_MAX, which is what systemd has
 * for a weight, quota or limit that nobody gave (src/shared/cgroup-setup.h: CGROUP_WEIGHT_INVALID, USEC_INFINITY,
 * CGROUP_LIMIT_MAX). What it has for protection that nobody gave is 0, as if it had been given.
 *
 * Weights and limits of block devices are lists of (device node, number); there the object is "UNIT/PROPERTY MAJ:MIN",
 * one entry of the list. systemd forgets an entry that is taken away, and tells the kernel so of limits, but not of
 * weights (src/core/cgroup.c, cgroup_context_apply()): the kernel is made to forget those here. That comes first, so
 * that whoever is killed in between leaves a property that still says what it said, and all of it is done again.
 *
 * AllowedCPUs is a set of CPUs, "0-3,8": be_unit_cpus.c.
 */
#include "backend.h"

#include <inttypes.h>

#include "be_unit_priv.h"
#include "cgroup.h"
#include "num.h"

#define UNSET "unset"
#define NODES "/dev/block/"

const struct unit_bus_ops *unit_bus = &unit_bus_system;

/* Which interface has the resource properties of a unit, by the unit's suffix. */
static const struct {
	const char *suffix, *interface;
} unit_types[] = {
	{".scope", "org.freedesktop.systemd1.Scope"},
	{".slice", "org.freedesktop.systemd1.Slice"},
	{".service", "org.freedesktop.systemd1.Service"},
};

/* Properties that are lists, one entry per device. */
static const struct {
	const char *property;
	bool keeps; /* the kernel keeps what an entry said that is taken away */
} device_properties[] = {
	{"IODeviceWeight", true},      {"IOReadBandwidthMax", false}, {"IOWriteBandwidthMax", false},
	{"IOReadIOPSMax", false},      {"IOWriteIOPSMax", false},
};

/* The property that is a set of CPUs. */
static const char cpus_property[] = "AllowedCPUs";

/* "PROPERTY MAJ:MIN"; a list has entries of devices, and nothing else has. */
static int parse_property(const char *text, struct unit_object *ret)
{
	size_t n = strcspn(text, " ");
	const char *device = text[n] ? text + n + 1 : NULL;
	bool is_list = false;

	if (n == 0 || n >= sizeof(ret->property))
		return -EINVAL;
	memcpy(ret->property, text, n);
	ret->property[n] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(device_properties); i++)
		if (streq(device_properties[i].property, ret->property)) {
			is_list = true;
			ret->keeps = device_properties[i].keeps;
		}
	ret->node[0] = '\0';
	ret->is_cpus = streq(ret->property, cpus_property);
	if (is_list != (device != NULL))
		return -EINVAL;
	if (!device)
		return 0;
	if (!*device || strlen(device) > 24 || device[strspn(device, "0123456789:")])
		return -EINVAL;
	(void)snprintf(ret->node, sizeof(ret->node), NODES "%s", device); /* fits */
	return 0;
}

static int parse_object(const struct hostfs *fs, const char *object, struct unit_object *ret)
{
	const char *slash = strrchr(object, '/'), *suffix;
	size_t len;

	if (!fs->real)
		return -EOPNOTSUPP;
	len = slash ? (size_t)(slash - object) : 0;
	if (len == 0 || len >= sizeof(ret->unit) || !slash[1])
		return -EINVAL;
	memcpy(ret->unit, object, len);
	ret->unit[len] = '\0';
	if (parse_property(slash + 1, ret) < 0)
		return -EINVAL;
	suffix = strrchr(ret->unit, '.');
	for (size_t i = 0; suffix && i < ARRAY_SIZE(unit_types); i++)
		if (streq(unit_types[i].suffix, suffix)) {
			ret->interface = unit_types[i].interface;
			return 0;
		}
	return -EOPNOTSUPP;
}

static int unit_read(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	struct unit_object o;
	uint64_t value;
	int r = parse_object(fs, object, &o);

	if (r == 0 && o.is_cpus)
		return unit_cpus_read(fs, &o, buf, size);
	if (r == 0 && o.node[0])
		r = unit_bus->get_device(o.unit, o.interface, o.property, o.node, &value);
	else if (r == 0)
		r = unit_bus->get(o.unit, o.interface, o.property, &value);
	if (r < 0)
		return r;
	if (value == UINT64_MAX)
		r = snprintf(buf, size, UNSET);
	else
		r = snprintf(buf, size, "%" PRIu64, value);
	return r < 0 || (size_t)r >= size ? -EFBIG : r;
}

static int unit_probe(const struct hostfs *fs, const char *object)
{
	_cleanup_free_ char *text = malloc(BACKEND_VALUE_MAX);
	int r = text ? unit_read(fs, object, text, BACKEND_VALUE_MAX) : -ENOMEM;

	return r < 0 ? r : 0;
}

/*
 * Where systemd writes weights of devices (src/core/cgroup.c, cgroup_apply_io_device_weight()). On v1 it knows cfq's
 * file alone, which went in Linux 5.0.
 */
static const char *const weight_files[] = {"io.weight", "io.bfq.weight"};

/*
 * The unit's group has no weight for this device any more; "default" takes the line away (cgroup-v2.rst, io.weight;
 * block/bfq-cgroup.c). A file that is not there, or that the kernel refuses (-EOPNOTSUPP: nothing on this device heeds
 * it), has nothing to be forgotten.
 */
static int forget_weight(const struct hostfs *fs, const struct unit_object *o)
{
	struct cgroup_layout layout;
	char group[1024], line[64];
	int r = unit_bus->get_group(o->unit, o->interface, group, sizeof(group));

	if (r < 0)
		return r;
	if (group[0] != '/' || (cgroup_layout_load(fs, &layout) < 0 && cgroup_layout_mounts(fs, &layout) < 0) ||
	    layout.at[CGROUP_IO].version != 2)
		return 0;
	(void)snprintf(line, sizeof(line), "%s default", o->node + strlen(NODES)); /* fits: 24 and a word */
	for (size_t i = 0; i < ARRAY_SIZE(weight_files); i++)
		(void)hostfs_write(fs, line, "%s%s/%s", layout.at[CGROUP_IO].path, group, weight_files[i]);
	return 0;
}

static int unit_write(const struct hostfs *fs, const char *object, const char *value)
{
	struct unit_object o;
	uint64_t number = UINT64_MAX;
	int r = parse_object(fs, object, &o);

	if (r < 0)
		return r;
	if (o.is_cpus)
		return unit_cpus_write(fs, &o, value);
	if (!streq(value, UNSET) && num_parse_u64(value, &number) < 0)
		return -EINVAL;
	if (!o.node[0])
		return unit_bus->set(o.unit, o.property, number);
	if (o.keeps && number == UINT64_MAX)
		r = forget_weight(fs, &o);
	return r < 0 ? r : unit_bus->set_device(o.unit, o.interface, o.property, o.node, number);
}

static bool unit_same(const char *object, const char *a, const char *b)
{
	const char *property = strrchr(object, '/');
	uint64_t x, y;

	if (property && streq(property + 1, cpus_property))
		return unit_cpus_same(a, b);
	if (num_parse_u64(a, &x) < 0 || num_parse_u64(b, &y) < 0)
		return streq(a, b);
	return x == y;
}

static int unit_whole(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	struct unit_object o;
	int r = parse_object(fs, object, &o);

	if (r == 0 && !o.is_cpus)
		r = -EOPNOTSUPP;
	return r < 0 ? r : unit_cpus_whole(fs, buf, size);
}

const struct backend be_unit = {
	.name = "unit",
	.probe = unit_probe,
	.read = unit_read,
	.write = unit_write,
	.same = unit_same,
	.whole = unit_whole,
	.ends_with_domain = true,
};

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Back end "unit": a runtime property of a systemd unit, set over D-Bus as `systemctl set-property --runtime` does.
 * What machine scopes compete with each other for has to go this way: systemd owns the scope's control files and
 * writes its own idea of them at daemon-reload, libvirt asks systemd at `virsh schedinfo`.
 *
 * The object is "UNIT/PROPERTY"; the value is a number, or "unset" for UINT64_MAX, which is what systemd has
 * for a weight, quota or limit that nobody gave (src/shared/cgroup-setup.h: CGROUP_WEIGHT_INVALID, USEC_INFINITY,
 * CGROUP_LIMIT_MAX). What it has for protection that nobody gave is 0, as if it had been given.
 */
#include "backend.h"

#include <inttypes.h>

#include "be_unit_priv.h"
#include "num.h"

#define UNSET "unset"

const struct unit_bus_ops *unit_bus = &unit_bus_system;

/* Which interface has the resource properties of a unit, by the unit's suffix. */
static const struct {
	const char *suffix, *interface;
} unit_types[] = {
	{".scope", "org.freedesktop.systemd1.Scope"},
	{".slice", "org.freedesktop.systemd1.Slice"},
	{".service", "org.freedesktop.systemd1.Service"},
};

struct unit_object {
	char unit[256]; /* UNIT_NAME_MAX, systemd, src/basic/unit-def.h */
	const char *property, *interface;
};

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
	ret->property = slash + 1;
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

	if (r == 0)
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
	char text[32];
	int r = unit_read(fs, object, text, sizeof(text));

	return r < 0 ? r : 0;
}

static int unit_write(const struct hostfs *fs, const char *object, const char *value)
{
	struct unit_object o;
	uint64_t number = UINT64_MAX;
	int r = parse_object(fs, object, &o);

	if (r < 0)
		return r;
	if (!streq(value, UNSET) && num_parse_u64(value, &number) < 0)
		return -EINVAL;
	return unit_bus->set(o.unit, o.property, number);
}

static bool unit_same(const char *object, const char *a, const char *b)
{
	uint64_t x, y;

	(void)object; /* all properties compare alike */
	if (num_parse_u64(a, &x) < 0 || num_parse_u64(b, &y) < 0)
		return streq(a, b);
	return x == y;
}

const struct backend be_unit = {
	.name = "unit",
	.probe = unit_probe,
	.read = unit_read,
	.write = unit_write,
	.same = unit_same,
	.ends_with_domain = true,
};

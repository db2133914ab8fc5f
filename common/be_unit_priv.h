/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The seam between back end "unit" and the bus: unit tests put a manager of their own there. */
#pragma once

#include "util.h"

struct unit_bus_ops {
	/* interface: of the unit's type, "org.freedesktop.systemd1.Scope". 0, -ENOENT: no such unit, -EOPNOTSUPP:
	   no bus, no library or no such property, -ETIMEDOUT, -EACCES, other errno. */
	int (*get)(const char *unit, const char *interface, const char *property, uint64_t *ret);
	int (*set)(const char *unit, const char *property, uint64_t value);
	/* The unit's control group, "/machine.slice/x.scope"; "": it has none. -EFBIG too. */
	int (*get_group)(const char *unit, const char *interface, char *buf, size_t size);
	/*
	 * The same for one entry of a property that is a list of (device node, number). *ret is UINT64_MAX where it has
	 * none; so has it after that value is set, in one call, with no other value in between. The other entries stay.
	 */
	int (*get_device)(const char *unit, const char *interface, const char *property, const char *node, uint64_t *ret);
	int (*set_device)(const char *unit, const char *interface, const char *property, const char *node, uint64_t value);
};

extern const struct unit_bus_ops *unit_bus; /* in be_unit.c; the real one to begin with */
extern const struct unit_bus_ops unit_bus_system;

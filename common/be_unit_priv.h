/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The seam between back end "unit" and the bus: unit tests put a manager of their own there. */
#pragma once

#include "hostfs.h"

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
	/* The same for a property that is a set of CPUs; empty: it is unset. */
	int (*get_cpus)(const char *unit, const char *interface, const char *property, struct idset *ret);
	int (*set_cpus)(const char *unit, const char *property, const struct idset *cpus);
};

/* "UNIT/PROPERTY" or "UNIT/PROPERTY MAJ:MIN", taken apart. */
struct unit_object {
	char unit[256]; /* UNIT_NAME_MAX, systemd, src/basic/unit-def.h */
	char property[64];
	const char *interface;
	char node[64]; /* "/dev/block/8:0", "": the property is no list */
	bool keeps;
	bool is_cpus;
};

/* be_unit_cpus.c: a unit's AllowedCPUs, and what the kernel makes of it. As a back end's read, write, whole. */
int unit_cpus_read(const struct hostfs *fs, const struct unit_object *o, char *buf, size_t size);
int unit_cpus_write(const struct hostfs *fs, const struct unit_object *o, const char *value);
int unit_cpus_whole(const struct hostfs *fs, char *buf, size_t size);
bool unit_cpus_same(const char *a, const char *b);

extern const struct unit_bus_ops *unit_bus; /* in be_unit.c; the real one to begin with */
extern const struct unit_bus_ops unit_bus_system;

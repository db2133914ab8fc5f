/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Block devices in a fake root, as sysfs shows them: directories below sys/devices, links of the flat listings. */
#pragma once

#include "root_bytes.h"

#define VIRTUAL "sys/devices/virtual/block"

static inline void root_link(struct root *r, const char *path, const char *to)
{
	char dir[256];

	(void)snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
	root_mkdir(r, dir);
	if (symlinkat(to, r->fs.fd, path) < 0)
		TAP_FAIL("link %s", path);
}

/* "sda/sda1", "md0/md0p1", but not "nvme0/nvme0n1". */
static inline bool is_partition(const char *dir)
{
	const char *name = strrchr(dir, '/') + 1, *disk = name - 1;
	size_t len;

	while (disk > dir && disk[-1] != '/')
		disk--;
	len = (size_t)(name - 1 - disk);
	if (strncmp(disk, name, len) != 0)
		return false;
	name += len;
	name += *name == 'p';
	return *name && name[strspn(name, "0123456789")] == '\0';
}

/* dir: below sys/devices. number: "8:0", NULL for a hidden device. In dev, the node is a plain file. */
static inline void put_block(struct root *r, const char *dir, const char *number)
{
	const char *name = strrchr(dir, '/') + 1;
	char path[256], to[256], devname[64];

	(void)snprintf(devname, sizeof(devname), "%s", name);
	for (char *c = strchr(devname, '!'); c; c = strchr(c, '!'))
		*c = '/';
	(void)snprintf(path, sizeof(path), "%s/uevent", dir);
	if (number)
		root_putf(r, path, "MAJOR=%.*s\nMINOR=%s\nDEVNAME=%s\nDEVTYPE=%s\nDISKSEQ=1\n",
			  (int)strcspn(number, ":"), number, strchr(number, ':') + 1, devname,
			  is_partition(dir) ? "partition" : "disk");
	else
		root_put(r, path, "DEVTYPE=disk\nDISKSEQ=1\n");
	(void)snprintf(to, sizeof(to), "../../../%s", dir);
	(void)snprintf(path, sizeof(path), "sys/class/block/%s", name);
	root_link(r, path, to);
	if (number) {
		(void)snprintf(path, sizeof(path), "sys/dev/block/%s", number);
		root_link(r, path, to);
		(void)snprintf(path, sizeof(path), "dev/%s", devname);
		root_put(r, path, "");
	}
	if (is_partition(dir))
		return;
	(void)snprintf(path, sizeof(path), "%s/slaves", dir);
	root_mkdir(r, path);
	(void)snprintf(to, sizeof(to), "../../%s", dir);
	(void)snprintf(path, sizeof(path), "sys/block/%s", name);
	root_link(r, path, to);
}

static inline void put_slave(struct root *r, const char *of, const char *slave)
{
	char path[256], to[256];

	(void)snprintf(path, sizeof(path), "%s/slaves/%s", of, slave);
	(void)snprintf(to, sizeof(to), "../../../../../class/block/%s", slave);
	root_link(r, path, to);
}

/* schedulers: as the kernel prints them. */
static inline void put_queue(struct root *r, const char *name, const char *schedulers, int rotational)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "sys/class/block/%s/queue/scheduler", name);
	root_putf(r, path, "%s\n", schedulers);
	(void)snprintf(path, sizeof(path), "sys/class/block/%s/queue/rotational", name);
	root_putf(r, path, "%d\n", rotational);
}

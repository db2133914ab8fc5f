/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A back end is one row: how one kind of host object is read, written and compared. One file each
 * (be_*.c), with its own library; none knows another, a knob, or the ledger. Objects are texts that name
 * them completely, so that undo needs nothing but the record:
 *
 *   file     path below the root                           "proc/sys/net/core/rmem_max"
 *   cgroup   path of a control file below the root         "sys/fs/cgroup/cpuset/machine/qemu-1-x/vcpu0/cpuset.cpus"
 *   thread   "PID:START/TID:START/ATTRIBUTE"               "812:44211/815:44213/affinity"
 *   unit     systemd unit and property, and the device     "machine-qemu\x2d1\x2dx.scope/CPUWeight",
 *            where that is a list of them                  "machine-qemu\x2d1\x2dx.scope/IODeviceWeight 8:0",
 *                                                          "system.slice/AllowedCPUs"
 *   cgkey    path of a control file below the root, block  "sys/fs/cgroup/machine/qemu-1-x/libvirt/io.max 8:0 rbps"
 *            device, and key where it has several
 *   mask     path of a file that holds a CPU mask          "sys/class/net/vnet0:17/queues/rx-0/rps_cpus"
 *   net      device, its index, what of it                 "eth0:2/class/d001" (be_net.c)
 */
#pragma once

#include "hostfs.h"

#define BACKEND_VALUE_MAX 32768 /* a CPU list of every second of 8192 CPUs */

struct backend {
	const char *name;
	/* Can this object be acted on here: 0, -ENOENT (absent, gone), -EOPNOTSUPP (kind not on this host or root). */
	int (*probe)(const struct hostfs *fs, const char *object);
	/* Current value, canonical, into buf. Length or -errno. */
	int (*read)(const struct hostfs *fs, const char *object, char *buf, size_t size);
	int (*write)(const struct hostfs *fs, const char *object, const char *value);
	/* Whether two values mean the same (a list written otherwise, a rounded number). Pure. */
	bool (*same)(const char *object, const char *a, const char *b);
	/* The object ends with the QEMU process or its cgroup: undo at release may find it gone, which is success. */
	bool ends_with_domain;
	/* Objects are devices' and the like: what one answers (EIO) says nothing of the others. Else it is not asked on. */
	bool is_each_its_own;
	/*
	 * The object that this one, if it is younger than a value of that, has had its value from: threads have
	 * attributes from their process. False: none. NULL: there are no such objects. Pure.
	 */
	bool (*source)(const char *object, char *buf, size_t size);
	/* Calls found() for each object of now whose source() this one is. 0, or -errno where they cannot be listed. */
	int (*heirs)(const struct hostfs *fs, const char *object, void (*found)(void *data, const char *object),
		     void *data);
	/*
	 * The set that an empty value of this object stands for: what is taken away from "as much as there is"
	 * (FOLD_WITHOUT) needs to know how much that is. Length or -errno. NULL: no object is like that.
	 */
	int (*whole)(const struct hostfs *fs, const char *object, char *buf, size_t size);
};

/* By name; NULL if this program has none of that name. The table is in backend.c. */
const struct backend *backend_find(const char *name);

extern const struct backend be_file, be_cgroup, be_thread, be_unit, be_cgkey, be_mask, be_net;

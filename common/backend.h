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
 *   resctrl  group, line of a schemata file, or thread     "sys/fs/resctrl/domtune-UUID/schemata L3:0" (be_resctrl.c)
 *   irq      path of an interrupt's CPUs below the root     "proc/irq/45/smp_affinity_list"
 *   irqbalance  what the daemon is told                     "cpus", "irqs" (be_irqbalance.c)
 */
#pragma once

#include "hostfs.h"

#define BACKEND_AWAY "away" /* what a back end that comes_and_goes reads while it is not there */
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
	 * There may be a thousand of them, and somebody else may have moved any for a reason of his own (a driver that was
	 * loaded anew): what is shared and says something else is set again from there, one that was refused is left alone
	 * for as long as the start lives, and what has to be said is said of all together (apply_many.c).
	 */
	bool is_many;
	/*
	 * The object is a daemon's, which may end, and begin again with what it had at first. It is read as BACKEND_AWAY then,
	 * and takes any value; what it was told it may show only some seconds later. -ETIMEDOUT: it does not answer, but may
	 * have what it was told.
	 */
	bool comes_and_goes;
	/* Shared objects are written in the order of their ranks, 0 first, at most BACKEND_RANK_MAX; NULL: 1. */
	unsigned int (*rank)(const char *object);
#define BACKEND_RANK_MAX 3
	/*
	 * The object that this one, if it is younger than a value of that, has had its value from: threads have
	 * attributes from their process. False: none. NULL: there are no such objects. Pure.
	 */
	bool (*source)(const char *object, char *buf, size_t size);
	/* Calls found() for each object of now whose source() this one is. 0, or -errno where they cannot be listed. */
	int (*heirs)(const struct hostfs *fs, const char *object, void (*found)(void *data, const char *object),
		     void *data);
	/*
	 * What the kernel said of the last write to this object that failed, beyond its errno; "" nothing. NULL: such
	 * objects have no words.
	 */
	void (*reason)(const char *object, char *buf, size_t size);
	/*
	 * The set that an empty value of this object stands for: what is taken away from "as much as there is"
	 * (FOLD_WITHOUT) needs to know how much that is. Length or -errno. NULL: no object is like that.
	 */
	int (*whole)(const struct hostfs *fs, const char *object, char *buf, size_t size);
	/*
	 * Whether `now` is what others have left of `made`, a value of ours: undone as ours and made whole again, but not in
	 * force. NULL: no value has parts. Pure.
	 */
	bool (*remains)(const char *object, const char *now, const char *made);
};

/* By name; NULL if this program has none of that name. The table is in backend.c. */
const struct backend *backend_find(const char *name);

extern const struct backend be_file, be_cgroup, be_thread, be_unit, be_cgkey, be_mask, be_net, be_resctrl, be_irq,
	be_irqbalance;

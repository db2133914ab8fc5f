/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the host's own work is, for cpu.policy isolated: the groups right below the root of the cpuset hierarchy, kernel
 * work queues, and who else sets CPUs aside. Reads control groups, sysfs and a few files of /etc, /run and /proc; bounded.
 */
#pragma once

#include "domain.h"
#include "hostfs.h"

#define TASK_GROUPS_MAX 64 /* systemd has three, container runtimes add a few */

struct task_group {
	char name[256];         /* "system.slice" */
	bool is_unit;           /* systemd's: what is written there directly is systemd's to overwrite */
	bool holds_guests;      /* domains of libvirt are in it, by a custom <partition>, or this one will be */
	struct idset cpus;      /* its own cpuset.cpus; empty: none */
	char child[256];        /* v1: a group below that has tasks' CPUs of its own, which the kernel keeps inside of it; "" none */
	struct idset child_cpus; /* of all such groups */
};

struct tasks_facts {
	int version;            /* of the cpuset hierarchy; 0: there is none */
	char mount[256];        /* its mount point, without leading "/" */
	struct task_group groups[TASK_GROUPS_MAX]; /* by name; never libvirt's own */
	unsigned int n_groups;
	bool more_groups;       /* than fit */
	bool in_root;           /* programs (not only kernel threads) are in the root group, which cannot be restricted */
	bool has_workqueue, has_writeback; /* masks of unbound kernel work, of writeback */
	struct idset workqueue, writeback;
	char tuned[128];        /* active profile of tuned if that isolates CPUs; "" none */
	struct idset tuned_cpus; /* empty: of its own choice */
	bool cset;              /* v1: `cset` has made its sets "system" and "user" */
	bool numad;             /* runs */
};

/* What cannot be read is not there. Only -ENOMEM is an error. */
int tasks_read(const struct hostfs *fs, const struct domain *d, struct tasks_facts *ret);

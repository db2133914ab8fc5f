/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between host.c, host_cpu.c and host_node.c. */
#pragma once

#include "host.h"

#define HOST_CPU_DIR "sys/devices/system/cpu"
#define HOST_NODE_DIR "sys/devices/system/node"

/* Classes of holes and contradictions; each is one warning at most. */
enum host_warning {
	HOST_WARN_ONLINE,
	HOST_WARN_SIBLINGS,
	HOST_WARN_CONTRADICTION,
	HOST_WARN_NODE_CPUS,
	HOST_WARN_MEMORY,
	HOST_WARN_DISTANCE,
	HOST_WARN_POOLS,
	HOST_WARN_MAX,
};

struct host_reader {
	const struct hostfs *fs;
	struct host *h;
	unsigned int warned; /* bits of enum host_warning */
};

/* A partition of the online CPUs, made from files that may overlap. */
struct host_groups {
	int *of;              /* by position in h->cpus; -1: in none */
	unsigned int *claims; /* by group: online CPUs that its file names */
	unsigned int n;
};

void host_warn_once(struct host_reader *rd, enum host_warning w);
/* Position in h->cpus, -1: not online. */
int host_cpu_index(const struct host *h, int id);

int host_groups_init(struct host_groups *g, const struct host *h, unsigned int max);
/* The next group (of at most `max`), of these CPUs: offline ones are dropped, the smaller group wins. */
void host_groups_add(struct host_reader *rd, struct host_groups *g, const struct idset *cpus);
void host_groups_fini(struct host_groups *g);

/* Entries of a directory that are PREFIX and a number below limit. -errno if it cannot be read. */
int host_read_numbered(const struct hostfs *fs, const char *path, const char *prefix, unsigned int limit,
		       struct idset *ret);

/* The stages of host_read(), in this order. 0, -ENOMEM, and -ENODEV from the first. */
int host_read_online(struct host_reader *rd, struct err *e);
int host_read_cores(struct host_reader *rd);
int host_read_groups(struct host_reader *rd); /* packages, dies, clusters, L3 caches */
int host_read_kinds(struct host_reader *rd);
int host_read_nodes(struct host_reader *rd);
int host_read_exclusive(struct host_reader *rd);

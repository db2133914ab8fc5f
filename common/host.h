/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host model: CPUs, cores, caches, NUMA nodes, huge page pools, all from files below one root
 * (kernel: Documentation/admin-guide/cputopology.rst, ABI/testing/sysfs-devices-system-cpu,
 * ABI/stable/sysfs-devices-node, admin-guide/mm/hugetlbpage.rst).
 *
 * What cannot be read is unknown, never 0: an unknown amount of memory does not limit, an unknown distance
 * is 10 to the node itself and 20 to others, CPUs of unknown node belong to the only node or to none. Files
 * that contradict each other are settled in favour of "online" and of the smaller group; each such case and
 * each class of missing file is at most one warning (none for what many hosts lack: dies, clusters, L3 caches,
 * package numbers, kinds of cores).
 */
#pragma once

#include "hostfs.h"
#include "msgs.h"

#define HOST_UNKNOWN UINT64_MAX
#define HOST_POOLS_MAX 8 /* huge page sizes: x86 has 2, arm64 4 */
#define HOST_NODES_MAX 1024 /* MAX_NUMNODES of any distribution kernel */

struct host_cpu {
	int id;         /* kernel's number; host.cpus[] holds online CPUs only, ascending */
	int core;       /* index of its core in host: equal for SMT siblings; 0.. in order of the lowest CPU */
	int node;       /* kernel's node number, -1 unknown */
	int package;    /* physical_package_id, -1 unknown */
	int die, cluster; /* group indices 0.. over the host, -1 unknown */
	int l3;         /* group index 0.. over the host, -1 unknown */
	uint64_t l3_size; /* bytes of that cache, 0 unknown */
	int kind;       /* 0: the fastest kind of core, 1: the next, ...: by cpu_capacity, cpufreq/cpuinfo_max_freq
	                   or acpi_cppc/highest_perf; all 0 where the kinds are not known. A new kind begins where
	                   neighbouring values differ by 10 % of the maximum or more (see host.c). */
};

struct host_pool {
	uint64_t size;  /* bytes per page */
	uint64_t total; /* nr_hugepages of the node; HOST_UNKNOWN */
	uint64_t free;  /* free_hugepages */
};

struct host_node {
	int id;
	struct idset cpus;       /* online ones */
	uint64_t mem_total;      /* bytes, HOST_UNKNOWN */
	uint64_t mem_free;       /* what a new guest could get: MemFree + Inactive(file) + SReclaimable; HOST_UNKNOWN */
	bool holds_guests;       /* has CPUs and memory (or memory is unknown): guest RAM may go there by default */
	struct host_pool pools[HOST_POOLS_MAX];
	unsigned int n_pools;
	unsigned int *distance;  /* to host.nodes[j], by index j */
};

struct host {
	struct idset online;
	/*
	 * CPUs of exclusive cpusets that are not for virtual machines: on cgroup v2 valid partitions below the root
	 * (cpuset.cpus.partition), on v1 top-level groups with cpuset.cpu_exclusive, other than libvirt's own. Nothing else
	 * may use these CPUs, or can. Name: of the first such group, for messages; "" if there is none.
	 */
	struct idset exclusive;
	char exclusive_name[256];
	struct host_cpu *cpus;
	unsigned int n_cpus;
	unsigned int n_cores;
	struct host_node *nodes; /* ascending; a host without a node directory has one node 0 with all CPUs */
	unsigned int n_nodes;
	unsigned int n_kinds;    /* 1.. */
	char thp[16];            /* the mode in force: "always", "madvise", "never", "" unknown */
	bool ksm_off;            /* /sys/kernel/mm/ksm/run says that nothing is merged now; false also: not known */
	unsigned int kernel;     /* 6.1 is 601, 5.10 is 510; 0 unknown. From /proc/sys/kernel/osrelease */
	struct msgs warnings;
};

/* Reads everything. Only -ENOMEM and -ENODEV (not one online CPU can be found) are errors. */
int host_read(const struct hostfs *fs, struct host *ret, struct err *e);
void host_fini(struct host *h);

/* By kernel number; NULL if there is none (or it is offline). */
const struct host_cpu *host_cpu(const struct host *h, int id);
struct host_node *host_node(const struct host *h, int id);
/* Online CPUs of the core that `id` belongs to, itself included. */
struct idset host_siblings(const struct host *h, int id);
/* Union of the CPUs of these nodes; CPUs whose node is unknown belong to every node. */
struct idset host_node_cpus(const struct host *h, const struct idset *nodes);
/*
 * The node of the nearest device at or above a directory of sysfs (dir, without a leading "/"; it may be a link): the
 * first numa_node that is not -1. -1: not known.
 */
int host_node_above(const struct hostfs *fs, const char *dir);
/* The pool of a page size on a node, NULL if it has none. */
struct host_pool *host_pool(const struct host_node *n, uint64_t size);

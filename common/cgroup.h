/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where cgroup controllers are mounted. On the real host libcgroup finds the mounts; below another root
 * (libcgroup reads /proc/mounts and cannot be rooted) getmntent(3) on ROOT/proc/mounts does. The layout is
 * kept in /run/domtune/cache/cgroup for one boot, since cgroup_init() alone costs as much as starting
 * /bin/true; only `decide` and the tool call cgroup_layout_find(), so only they link libcgroup.
 */
#pragma once

#include "hostfs.h"

enum cgroup_which { CGROUP_CPU, CGROUP_CPUSET, CGROUP_MEMORY, CGROUP_IO, CGROUP_CONTROLLER_MAX };

struct cgroup_layout {
	struct {
		int version;     /* 1, 2, 0: not mounted */
		char path[256];  /* mount point without leading "/", e.g. "sys/fs/cgroup/cpuset" */
	} at[CGROUP_CONTROLLER_MAX];
	char unified[256];       /* the v2 hierarchy's mount point, "" if none: also on hybrid hosts */
};

const char *cgroup_controller_name(enum cgroup_which c); /* "cpu", ...; CGROUP_IO is "blkio" on v1, "io" on v2 */

/* Ask libcgroup (real root) or proc/mounts (other roots). -ENOENT: no cgroup file system at all. */
int cgroup_layout_find(const struct hostfs *fs, struct cgroup_layout *ret, struct err *e);

/* What proc/mounts says, by getmntent(3): needs no libcgroup. -ENOENT: no cgroup file system at all. */
int cgroup_layout_mounts(const struct hostfs *fs, struct cgroup_layout *ret);

/* The cached layout of this boot: -ENOENT if there is none or a mount point has gone. */
int cgroup_layout_load(const struct hostfs *fs, struct cgroup_layout *ret);
int cgroup_layout_save(const struct hostfs *fs, const struct cgroup_layout *l);

/*
 * The groups of one thread, from /proc/TID/cgroup (never computed: names are cut and escaped).
 * ret[c] is a path below the root without leading "/" ("sys/fs/cgroup/cpuset/machine/qemu-1-x/vcpu0"), ""
 * where the controller is not mounted. -ESRCH: no such thread; -E2BIG: a path over 1023 bytes.
 */
struct cgroup_paths {
	char at[CGROUP_CONTROLLER_MAX][1024];
};
int cgroup_paths_of(const struct hostfs *fs, const struct cgroup_layout *l, int tid, struct cgroup_paths *ret);
/* The same by process and thread (proc/PID/task/TID/cgroup): a captured tree has no proc/TID. */
int cgroup_paths_of_thread(const struct hostfs *fs, const struct cgroup_layout *l, int pid, int tid,
			   struct cgroup_paths *ret);
/* The same for the text of a /proc/.../cgroup file (cgroups(7)), which is modified. 0 or -E2BIG. */
int cgroup_paths_parse(char *text, const struct cgroup_layout *l, struct cgroup_paths *ret);

/*
 * The group of the whole domain above a thread's group: libvirt's "emulator", "vcpuN", "iothreadN" is cut.
 * On a machined scope of v2 that leaves ".../machine-qemu....scope/libvirt", the delegated group; else the
 * domain's own group. scope: name of the systemd scope in the path ("machine-qemu\\x2d1\\x2dx.scope"), "" if
 * it is not in one. Both buffers hold 1024 bytes.
 */
void cgroup_domain_group(const char *thread_group, char *ret_group, char *ret_scope);
/* Whether a group is one that libvirt makes for threads: its last component is one of those three. */
bool cgroup_is_thread_group(const char *group);

/* cgroup v1 shares of a v2 weight: weight * 1024 / 100, within 2..262144 (as systemd converts); pure. */
uint64_t cgroup_shares_of_weight(uint64_t weight);

/*
 * bfq's weight (1..1000, 100 is its default) of a v2 weight (1..10000, 100 likewise): the same number, so that the
 * ratios of weights are what is asked for, and at most 1000. And the weight of which systemd makes that one: above 100
 * it maps its longer range onto bfq's (BFQ_WEIGHT(), src/shared/cgroup-setup.h, since 247). Pure.
 */
uint64_t cgroup_bfq_of_weight(uint64_t weight);
uint64_t cgroup_unit_of_bfq(uint64_t weight);

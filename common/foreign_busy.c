/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPUs that programs of others keep busy: packet processing that polls (DPDK, Open vSwitch, SPDK) pins a thread to a
 * CPU with sched_setaffinity(2) and never sleeps. A guest that got such a CPU would have half of it.
 *
 * A CPU counts as occupied if a thread may run on that one only and has used four fifths of it since the thread began,
 * at least a second ago. Being pinned alone says little: web servers and runtimes have one pinned thread per CPU that
 * sleeps (nginx, worker_cpu_affinity auto). And if it were more than half of all CPUs, nobody set them aside: it is
 * a computation that uses what it can get, and gives way as any other task; then none is counted.
 *
 * Kernel threads are left out (they belong to their CPU), and QEMU: guests of libvirt are foreign.c's, whose claims
 * name them. Cost: one read per thread of the host, once per boot, at most FOREIGN_THREADS_MAX of them.
 */
#include <unistd.h>

#include "foreign.h"
#include "foreign_priv.h"
#include "num.h"

#define FOREIGN_THREADS_MAX 8192 /* 10 us each (measured) */
#define BUSY_PERCENT 80
#define LEAST_AGE_S 1
#define PF_KTHREAD 0x00200000 /* include/linux/sched.h; the same in every kernel since 2.6.27 */

/* What proc_pid_stat(5) says of a thread. */
struct thread_stat {
	char comm[32];
	uint64_t flags, ticks, start;
};

struct scan {
	const struct hostfs *fs;
	const struct idset *online;
	struct ledger *known, *found;
	uint64_t now, hz; /* ticks since boot */
	unsigned int threads;
	struct idset all;
};

/* Fields 9 (flags), 14 and 15 (utime, stime), 22 (starttime); comm is the second, in parentheses, and may hold any. */
static int read_stat(const struct hostfs *fs, int pid, const char *tid, struct thread_stat *ret)
{
	char text[1024], *open, *at, *field = NULL;
	uint64_t v[23] = { 0 };

	if (hostfs_read(fs, text, sizeof(text), "proc/%d/task/%s/stat", pid, tid) <= 0)
		return -ESRCH;
	open = strchr(text, '(');
	at = strrchr(text, ')');
	if (!open || !at || at < open || at[1] != ' ')
		return -EINVAL;
	*at = '\0';
	(void)snprintf(ret->comm, sizeof(ret->comm), "%s", open + 1);
	at += 2;
	for (unsigned int i = 3; i < ARRAY_SIZE(v); i++) {
		field = strsep(&at, " ");
		if (!field)
			return -EINVAL;
		if (num_parse_u64(field, &v[i]) < 0)
			v[i] = 0; /* a letter, or a negative number: none of those we need */
	}
	ret->flags = v[9];
	ret->ticks = v[14] + v[15];
	ret->start = v[22];
	return 0;
}

/* The CPU that this thread keeps busy, -1. */
static int busy_cpu(const struct scan *s, int pid, const char *tid, const struct thread_stat *t)
{
	uint64_t age = s->now > t->start ? s->now - t->start : 0;
	struct idset cpus = IDSET_EMPTY;

	if (age < LEAST_AGE_S * s->hz || t->ticks * 100 < age * BUSY_PERCENT)
		return -1;
	if (foreign_thread_cpus(s->fs, pid, tid, &cpus) < 0 || idset_count(&cpus) != 1)
		return -1;
	idset_and(&cpus, s->online);
	return idset_first(&cpus);
}

static int scan_process(struct scan *s, int pid)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(s->fs, "proc/%d/task", pid);
	struct idset cpus = IDSET_EMPTY;
	struct thread_stat t, main_thread = { "", 0, 0, 0 };
	struct dirent *entry;
	char self[16];

	(void)snprintf(self, sizeof(self), "%d", pid);
	if (!dir || read_stat(s->fs, pid, self, &main_thread) < 0)
		return 0;
	if (main_thread.flags & PF_KTHREAD || str_starts(main_thread.comm, "qemu"))
		return 0;
	while (s->threads < FOREIGN_THREADS_MAX && (entry = readdir(dir))) {
		int cpu;

		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		s->threads++;
		if (read_stat(s->fs, pid, entry->d_name, &t) < 0)
			continue;
		cpu = busy_cpu(s, pid, entry->d_name, &t);
		if (cpu >= 0)
			idset_add(&cpus, (unsigned int)cpu);
	}
	if (idset_is_empty(&cpus))
		return 0;
	idset_or(&s->all, &cpus);
	return foreign_add_process(s->known, s->found, main_thread.comm, pid, main_thread.start, &cpus);
}

static int is_claimed(const struct ledger *l, int pid)
{
	for (unsigned int i = 0; i < l->n_claims; i++)
		if (l->claims[i].pid == pid)
			return true;
	return false;
}

static int scan_processes(struct scan *s)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(s->fs, "proc");
	struct dirent *entry;
	int added = 0;

	while (dir && s->threads < FOREIGN_THREADS_MAX && (entry = readdir(dir))) {
		uint64_t pid;
		int r;

		if (num_parse_range(entry->d_name, 1, INT32_MAX, &pid) < 0 || (int)pid == getpid())
			continue;
		if (is_claimed(s->known, (int)pid) || is_claimed(s->found, (int)pid))
			continue;
		r = scan_process(s, (int)pid);
		if (r < 0)
			return r;
		added += r;
	}
	return added;
}

/* Seconds with two digits after the point (proc_uptime(5)). 0: not known. */
static uint64_t read_uptime(const struct hostfs *fs)
{
	char text[64], *point;
	uint64_t s;

	if (hostfs_read(fs, text, sizeof(text), "proc/uptime") <= 0)
		return 0;
	point = strchr(text, '.');
	if (point)
		*point = '\0';
	return num_parse_u64(text, &s) == 0 ? s : 0;
}

int foreign_scan_busy(const struct hostfs *fs, struct ledger *known, const struct idset *online, struct ledger *found)
{
	struct scan s = { .fs = fs, .online = online, .known = known, .found = found };
	unsigned int before = found->n_claims;
	long hz = sysconf(_SC_CLK_TCK);
	int added;

	s.hz = hz > 0 ? (uint64_t)hz : 100;
	s.now = read_uptime(fs) * s.hz;
	if (s.now == 0)
		return 0;
	added = scan_processes(&s);
	if (added <= 0 || 2 * idset_count(&s.all) <= idset_count(online))
		return added;
	while (found->n_claims > before) {
		char uuid[37];

		memcpy(uuid, found->claims[found->n_claims - 1].uuid, sizeof(uuid));
		ledger_remove(found, uuid);
	}
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vhost workers that are threads of the kernel: up to Linux 6.3 (drivers/vhost/vhost.c, kthread_create("vhost-%d",
 * owner's pid)), and again since 6.17 where the device was told so (fork_from_owner_default of module vhost). Each is a
 * child of kthreadd and a process of its own, which the kernel puts into all groups of its owner, QEMU's main thread
 * (vhost_attach_cgroups()): so the list of who is in the emulator's group names them, one file beside the task list of
 * QEMU. Where libvirt makes no groups, all processes are looked through, if QEMU has a vhost device open at all.
 *
 * From Linux 6.4 on they are threads of QEMU like others, and found with them (kernel/vhost_task.c).
 */
#include "run_priv.h"

#include <limits.h>

#include "num.h"

#define LIST_MAX (1u << 20) /* 8192 threads at 8 bytes are far below */
#define TASKS_FROM 604      /* "vhost: use vhost_tasks for worker threads" */
#define SWITCH_FROM 617     /* "vhost: Reintroduce kthread API and add mode selection" */

static bool kernel_has_them(unsigned int version)
{
	return version < TASKS_FROM || version >= SWITCH_FROM;
}

static bool is_known(const struct run *r, uint64_t tid)
{
	for (unsigned int i = 0; i < r->n_threads; i++)
		if ((uint64_t)r->threads[i].tid == tid)
			return true;
	return false;
}

/* "vhost-OWNER"; owner 0: whoever. */
static bool is_worker_name(const char *comm, int owner)
{
	uint64_t pid;

	return str_starts(comm, "vhost-") && num_parse_range(comm + 6, 1, INT_MAX, &pid) == 0 &&
	       (!owner || (int)pid == owner);
}

/* Add a process if it is one of them. 0 or -ENOMEM. */
static int consider(const struct hostfs *fs, struct run *r, uint64_t pid, int owner)
{
	struct run_thread t = {.tid = (int)pid, .kind = RUN_EMULATOR, .is_process = true, .groups = r->threads[0].groups};
	struct run_thread *more;
	struct thread_stat s;
	char text[1024];

	if (hostfs_read(fs, text, sizeof(text), "proc/%d/stat", t.tid) < 0 || run_parse_stat(text, &s) < 0 ||
	    !(s.flags & TASK_KERNEL_THREAD) || !is_worker_name(s.comm, owner))
		return 0;
	t.start = s.start;
	t.is_fixed = s.flags & TASK_NO_SETAFFINITY;
	more = reallocarray(r->threads, r->n_threads + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	r->threads = more;
	r->threads[r->n_threads++] = t;
	return 0;
}

/* The file that lists the threads of the main thread's group; false: it is in no group of libvirt's. */
static bool find_list(struct run *r)
{
	static const enum cgroup_which which[] = {CGROUP_CPUSET, CGROUP_CPU};

	for (size_t i = 0; i < ARRAY_SIZE(which); i++) {
		const char *group = r->threads[0].groups->at[which[i]];

		if (!cgroup_is_thread_group(group))
			continue;
		(void)snprintf(r->workers, sizeof(r->workers), "%s/%s", group,
			       r->layout.at[which[i]].version == 1 ? "tasks" : "cgroup.threads"); /* 1023 at most */
		return true;
	}
	return false;
}

/* The next number of a list, a line each; 0: no more. What lives in another process namespace is a 0 of its own. */
static uint64_t next_number(char **text)
{
	uint64_t pid;
	char *line;

	while ((line = strsep(text, "\n")))
		if (num_parse_range(line, 1, INT_MAX, &pid) == 0)
			return pid;
	return 0;
}

static int from_list(const struct hostfs *fs, struct run *r)
{
	_cleanup_free_ char *text = NULL;
	uint64_t pid;
	char *pos;
	int rc = 0;

	if (hostfs_read_all(fs, LIST_MAX, &text, NULL, "%s", r->workers) < 0)
		return 0;
	for (pos = text; rc == 0 && (pid = next_number(&pos));) {
		r->tasks += run_mix(pid);
		if (!is_known(r, pid))
			rc = consider(fs, r, pid, 0);
	}
	return rc;
}

uint64_t run_look_workers(const struct hostfs *fs, const char *file)
{
	_cleanup_free_ char *text = NULL;
	uint64_t pid, sum = 0;

	if (hostfs_read_all(fs, LIST_MAX, &text, NULL, "%s", file) == 0)
		for (char *pos = text; (pid = next_number(&pos));)
			sum += run_mix(pid);
	return sum;
}

static bool holds_vhost(const struct hostfs *fs, int pid)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, "proc/%d/fd", pid);
	char target[64];
	struct dirent *d;

	while (dir && (d = readdir(dir)))
		if (hostfs_readlink_in(dir, d->d_name, target, sizeof(target)) > 0 && str_starts(target, "/dev/vhost-"))
			return true;
	return false;
}

static int from_all(const struct hostfs *fs, struct run *r)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, "proc");
	struct dirent *d;
	uint64_t pid;
	int rc = 0;

	while (dir && rc == 0 && (d = readdir(dir)))
		if (num_parse_range(d->d_name, 1, INT_MAX, &pid) == 0)
			rc = consider(fs, r, pid, r->pid);
	return rc;
}

int run_find_workers(const struct hostfs *fs, struct run *r)
{
	if (!kernel_has_them(r->kernel))
		return 0;
	if (find_list(r))
		return from_list(fs, r);
	return holds_vhost(fs, r->pid) ? from_all(fs, r) : 0;
}

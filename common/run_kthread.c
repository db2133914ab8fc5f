/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads of the kernel that can be moved. They are children of kthreadd, whose number is 2 in every kernel since 2.6;
 * /proc/2/task/2/children names them where the kernel was built with CONFIG_PROC_CHILDREN (Debian's is), else each
 * process is asked for its parent. Those that belong to their CPU say so by a flag, and so do all workers of work queues.
 *
 * What works for a guest has the number of its QEMU at the end of its name: "kvm-pit/812", "vhost-812",
 * "kvm-nx-lpage-recovery-812" (arch/x86/kvm/i8254.c, drivers/vhost/vhost.c, arch/x86/kvm/mmu/mmu.c). stat has 15 bytes
 * of it; comm has all since Linux 5.17 (6b59808bfe48, "kthread: Show the full name"). Where the number is cut off the
 * thread counts as anybody's.
 */
#include "lines.h"
#include "num.h"
#include "step.h"

#define KTHREADD 2
#define KTHREADS_MAX 16384 /* 80 CPUs have about 1,500 */
/* include/linux/sched.h; the same in every kernel since 3.10 */
#define PF_KTHREAD        0x00200000
#define PF_NO_SETAFFINITY 0x04000000

/* Fields 4 (parent), 9 (flags) and 22 (start time) of stat (proc_pid_stat(5)); comm may hold anything. */
struct kthread_stat {
	char comm[64];
	uint64_t parent, flags, start;
};

static int read_stat(const struct hostfs *fs, int tid, struct kthread_stat *ret)
{
	char text[1024], *open, *at, *field;

	if (hostfs_read(fs, text, sizeof(text), "proc/%d/stat", tid) <= 0)
		return -ESRCH;
	open = strchr(text, '(');
	at = strrchr(text, ')');
	if (!open || !at || at < open || at[1] != ' ')
		return -EINVAL;
	*at = '\0';
	(void)snprintf(ret->comm, sizeof(ret->comm), "%s", open + 1); /* cut is fine */
	at += 2;
	for (int i = 3; i <= 22; i++) {
		uint64_t *to = i == 4 ? &ret->parent : i == 9 ? &ret->flags : i == 22 ? &ret->start : NULL;

		field = strsep(&at, " ");
		if (!field || (to && num_parse_u64(field, to) < 0))
			return -EINVAL;
	}
	return 0;
}

enum owner { OWNER_NOBODY, OWNER_US, OWNER_OTHER };

static enum owner owner_of(const struct hostfs *fs, int tid, struct kthread_stat *s, int pid)
{
	static const char *const prefixes[] = {"kvm-pit/", "vhost-", "kvm-nx-lpage-recovery-"};
	uint64_t number;

	if (str_starts(s->comm, "irq/"))
		return OWNER_OTHER; /* it goes where its interrupt goes (kernel/irq/manage.c, irq_thread_check_affinity()) */
	if (str_starts(s->comm, "kvm-nx-lpage"))
		(void)hostfs_read(fs, s->comm, sizeof(s->comm), "proc/%d/comm", tid); /* else as it is */
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (str_starts(s->comm, prefixes[i]) && num_parse_u64(s->comm + strlen(prefixes[i]), &number) == 0)
			return number != (uint64_t)pid || prefixes[i][0] == 'v' ? OWNER_OTHER : OWNER_US;
	return OWNER_NOBODY;
}

/* 0 or -ENOMEM. known: that its parent is kthreadd. */
static int take(const struct hostfs *fs, struct run *r, int tid, bool known)
{
	struct kthread_stat s;
	struct run_kthread *t;
	enum owner owner;

	if (r->n_kthreads >= KTHREADS_MAX || read_stat(fs, tid, &s) < 0 || (!known && s.parent != KTHREADD) ||
	    (s.flags & (PF_KTHREAD | PF_NO_SETAFFINITY)) != PF_KTHREAD)
		return 0;
	owner = owner_of(fs, tid, &s, r->pid);
	if (owner == OWNER_OTHER)
		return 0;
	t = GROW(r->kthreads, r->n_kthreads);
	if (!t)
		return -ENOMEM;
	*t = (struct run_kthread){.tid = tid, .start = s.start, .is_ours = owner == OWNER_US};
	r->n_kthreads++;
	return 0;
}

static int take_children(const struct hostfs *fs, struct run *r, char *text)
{
	char *word, *save = NULL;
	uint64_t tid;
	int rc = 0;

	for (word = strtok_r(text, " \n", &save); word && rc == 0; word = strtok_r(NULL, " \n", &save))
		if (num_parse_range(word, 1, INT32_MAX, &tid) == 0)
			rc = take(fs, r, (int)tid, true);
	return rc;
}

static int take_all(const struct hostfs *fs, struct run *r)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, "proc");
	struct dirent *d;
	uint64_t tid;
	int rc = 0;

	while (dir && rc == 0 && (d = readdir(dir)))
		if (num_parse_range(d->d_name, 1, INT32_MAX, &tid) == 0)
			rc = take(fs, r, (int)tid, false);
	return rc;
}

void run_read_kthreads(const struct hostfs *fs, struct run *r, const struct plan *p)
{
	_cleanup_free_ char *text = NULL;
	int rc = 0;

	free(r->kthreads);
	r->kthreads = NULL;
	r->n_kthreads = 0;
	if (!steps_need_kthreads(p))
		return;
	if (hostfs_read_all(fs, KTHREADS_MAX * 12, &text, NULL, "proc/%d/task/%d/children", KTHREADD, KTHREADD) > 0)
		rc = take_children(fs, r, text);
	else
		rc = take_all(fs, r);
	if (rc < 0)
		r->n_kthreads = 0; /* out of memory: they are the next run's */
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looking up a running domain: pid file, threads, groups. Threads are told apart by the group that libvirt put them
 * in (a worker that an I/O thread started shares that thread's), and where that says nothing by the names that QEMU
 * gives them with debug-threads=on, which libvirt always asks for ("CPU 3/KVM", "IO iothread1"; everything else is
 * the emulator's). A thread whose group says it needs one file read less; its start time is read when it is wanted.
 *
 * A pid file may be stale and its pid in use again: a process whose command line names another guest is not
 * taken. Threads come and go while we read; one that vanishes in between is left out.
 */
#include "run_priv.h"

#include <fcntl.h>
#include <limits.h>

#include "num.h"
#include "paths.h"

#define COMM_MAX          15         /* TASK_COMM_LEN - 1, include/linux/sched.h */
#define NUMBER_UNKNOWN    UINT_MAX   /* a thread whose number was cut off its name */
#define CMDLINE_MAX       (4u << 20) /* a domain with hundreds of devices has some 100 kB */
#define CGROUP_FILE_MAX   65536      /* a dozen hierarchies, each path up to PATH_MAX */
#define PERIOD_DEFAULT_US 100000     /* Documentation/scheduler/sched-bwc.rst */

/* "TID (comm) S ...": flags are field 9, the start time is field 22. */
int run_parse_stat(char *text, struct thread_stat *ret)
{
	char *open = strchr(text, '('), *close = strrchr(text, ')'), *save = NULL, *field;
	int number = 3;

	if (!open || !close || close < open || (size_t)(close - open) > sizeof(ret->comm))
		return -EBADMSG;
	*close = '\0';
	memcpy(ret->comm, open + 1, (size_t)(close - open));
	ret->flags = 0;
	for (field = strtok_r(close + 1, " ", &save); field; field = strtok_r(NULL, " ", &save), number++) {
		if (number == 9 && num_parse_u64(field, &ret->flags) < 0)
			return -EBADMSG;
		if (number == 22)
			return num_parse_u64(field, &ret->start);
	}
	return -EBADMSG;
}

/* A file of proc/PID/task/TID as text; one read: the kernel makes these in one piece (fs/proc/base.c, ONE()). */
static int read_task_file(const struct hostfs *fs, int pid, int tid, const char *name, char *buf, size_t size)
{
	_cleanup_close_ int fd = hostfs_open(fs, O_RDONLY | O_NONBLOCK, "proc/%d/task/%d/%s", pid, tid, name);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, buf, size);
	if (n < 0)
		return -errno;
	if ((size_t)n == size)
		return -EFBIG;
	buf[n] = '\0';
	return 0;
}

static int read_stat(const struct hostfs *fs, int pid, int tid, struct thread_stat *ret)
{
	char text[1024];
	int r = read_task_file(fs, pid, tid, "stat", text, sizeof(text));

	return r < 0 ? r : run_parse_stat(text, ret);
}

/* Digits at the start of text, up to one of `ends` ('\0' counts as one). */
static bool leading_number(const char *text, const char *ends, unsigned int *ret)
{
	size_t n = strspn(text, "0123456789");
	char digits[12];
	uint64_t v;

	if (n == 0 || n >= sizeof(digits) || (text[n] && !strchr(ends, text[n])) || (!text[n] && *ends))
		return false;
	memcpy(digits, text, n);
	digits[n] = '\0';
	if (num_parse_range(digits, 0, UINT_MAX - 1, &v) < 0)
		return false;
	*ret = (unsigned int)v;
	return true;
}

/* By name: QEMU, accel/{kvm,tcg}/..., "CPU %d/KVM"; iothread.c, "IO %s" with the id that libvirt gave. */
static void classify_name(const char *comm, struct run_thread *t)
{
	t->kind = RUN_EMULATOR;
	t->number = 0;
	if (str_starts(comm, "CPU ") && leading_number(comm + 4, "/", &t->number)) {
		t->kind = RUN_VCPU;
	} else if (str_starts(comm, "IO iothread") && leading_number(comm + 11, "", &t->number)) {
		t->kind = RUN_IOTHREAD;
		if (strlen(comm) >= COMM_MAX)
			t->number = NUMBER_UNKNOWN;
	}
}

/* By group: libvirt's "vcpuN" and "iothreadN" below the domain's. False: neither, t is as it was. */
static bool classify_group(const struct cgroup_paths *g, struct run_thread *t)
{
	static const struct {
		const char *prefix;
		enum run_thread_kind kind;
	} kinds[] = {{"vcpu", RUN_VCPU}, {"iothread", RUN_IOTHREAD}};
	const char *path = g->at[CGROUP_CPUSET][0] ? g->at[CGROUP_CPUSET] : g->at[CGROUP_CPU];
	const char *name = strrchr(path, '/');

	for (size_t i = 0; name && i < ARRAY_SIZE(kinds); i++) {
		unsigned int number;

		if (!str_starts(name + 1, kinds[i].prefix) ||
		    !leading_number(name + 1 + strlen(kinds[i].prefix), "", &number))
			continue;
		t->kind = kinds[i].kind;
		t->number = number;
		return true;
	}
	return false;
}

/* The groups of a kind and number, kept once; NULL without memory. */
static struct cgroup_paths *keep_groups(struct run *r, const struct run_thread *t, const struct cgroup_paths *g)
{
	struct cgroup_paths **more, *copy;

	for (unsigned int i = 0; i < r->n_threads; i++)
		if (r->threads[i].groups && r->threads[i].kind == t->kind && r->threads[i].number == t->number)
			return r->threads[i].groups;
	more = reallocarray(r->groups, r->n_groups + 1, sizeof(*more));
	if (!more)
		return NULL;
	r->groups = more;
	copy = malloc(sizeof(*copy));
	if (!copy)
		return NULL;
	*copy = *g;
	r->groups[r->n_groups++] = copy;
	return copy;
}

/* buf: CGROUP_FILE_MAX bytes. 0, also for a thread that has gone meanwhile; -ENOMEM. */
static int add_thread(const struct hostfs *fs, struct run *r, int tid, char *buf, unsigned int *told_cpus)
{
	struct run_thread t = {.tid = tid};
	struct cgroup_paths g;
	struct thread_stat s;

	if (read_task_file(fs, r->pid, tid, "cgroup", buf, CGROUP_FILE_MAX) < 0 ||
	    cgroup_paths_parse(buf, &r->layout, &g) < 0)
		memset(&g, 0, sizeof(g));
	if (tid != r->pid && classify_group(&g, &t)) {
		*told_cpus += t.kind == RUN_VCPU;
	} else {
		if (read_stat(fs, r->pid, tid, &s) < 0)
			return 0;
		*told_cpus += str_starts(s.comm, "CPU ") || str_starts(s.comm, "ALL CPUs/");
		t.start = s.start;
		t.is_fixed = s.flags & TASK_NO_SETAFFINITY;
		classify_name(s.comm, &t);
	}
	t.groups = keep_groups(r, &t, &g);
	if (!t.groups)
		return -ENOMEM;
	r->threads[r->n_threads++] = t;
	return 0;
}

static int compare_ints(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

/* Thread ids, ascending, the process's own first. Returns how many, at most STEP_RUN_THREADS_MAX. */
static int list_threads(const struct hostfs *fs, int pid, int **ret)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, "proc/%d/task", pid);
	_cleanup_free_ int *tids = NULL;
	int n = 1, room = 0;
	struct dirent *d;

	if (!dir)
		return errno == ENOENT ? -ESRCH : -errno;
	while ((d = readdir(dir)) && n < STEP_RUN_THREADS_MAX) {
		uint64_t tid;

		if (num_parse_range(d->d_name, 1, INT_MAX, &tid) < 0 || (int)tid == pid)
			continue;
		if (n >= room) {
			int *more = reallocarray(tids, (size_t)(room += 64), sizeof(*tids));

			if (!more)
				return -ENOMEM;
			tids = more;
		}
		tids[n++] = (int)tid;
	}
	if (!tids) {
		tids = malloc(sizeof(*tids));
		if (!tids)
			return -ENOMEM;
	}
	tids[0] = pid;
	qsort(tids + 1, (size_t)n - 1, sizeof(*tids), compare_ints);
	*ret = steal_ptr(&tids);
	return n;
}

static int find_threads(const struct hostfs *fs, struct run *r, struct err *e)
{
	_cleanup_free_ int *tids = NULL;
	_cleanup_free_ char *buf = malloc(CGROUP_FILE_MAX);
	unsigned int told_cpus = 0;
	int n = list_threads(fs, r->pid, &tids);

	if (n < 0)
		return err_set(e, -n, "process %d: %s", r->pid, err_name(-n));
	r->threads = calloc((size_t)n, sizeof(*r->threads));
	if (!r->threads || !buf)
		return err_set(e, ENOMEM, "no memory");
	for (int i = 0; i < n; i++) {
		r->tasks += run_mix((unsigned int)tids[i]);
		if (add_thread(fs, r, tids[i], buf, &told_cpus) < 0)
			return err_set(e, ENOMEM, "no memory");
	}
	if (r->n_threads == 0)
		return err_set(e, ESRCH, "process %d has ended", r->pid);
	if (!told_cpus)
		return err_set(e, EINVAL, "threads of process %d have no names (QEMU without debug-threads)", r->pid);
	return 0;
}

/*
 * Whether the command line is one of another guest. libvirt writes "-name guest=NAME,debug-threads=on" and
 * doubles commas in the name (src/qemu/qemu_command.c, qemuBuildNameCommandLine).
 */
static bool is_other_guest(const struct hostfs *fs, int pid, const char *name)
{
	_cleanup_free_ char *text = NULL;
	const char *p, *end;
	size_t len;

	if (hostfs_read_all(fs, CMDLINE_MAX, &text, &len, "proc/%d/cmdline", pid) < 0)
		return false;
	end = text + len;
	for (p = text; p < end && !streq(p, "-name"); p += strlen(p) + 1)
		;
	p += sizeof("-name");
	if (p >= end || !str_starts(p, "guest="))
		return false;
	for (p += strlen("guest="); *name && *p == *name; p++, name++)
		if (*p == ',' && *++p != ',')
			return true;
	return *name || (*p && (*p != ',' || p[1] == ','));
}

static int find_process(const struct hostfs *fs, const char *name, struct run *r, struct err *e)
{
	char file[256], text[32];
	uint64_t pid;
	int n;

	n = snprintf(file, sizeof(file), "%s.pid", name);
	if (!*name || n < 0 || (size_t)n >= sizeof(file) || !hostfs_is_name(file))
		return err_set(e, EINVAL, "a domain of this name has no pid file");
	n = hostfs_read(fs, text, sizeof(text), PATH_LIBVIRT_RUN "/%s", file);
	if (n < 0)
		return err_set(e, n == -ENOENT ? ESRCH : -n, "/" PATH_LIBVIRT_RUN "/%s: %s", file, err_name(-n));
	if (num_parse_range(text, 1, INT_MAX, &pid) < 0)
		return err_set(e, ESRCH, "/" PATH_LIBVIRT_RUN "/%s holds no process id", file);
	r->pid = (int)pid;
	r->start = hostfs_proc_start(fs, r->pid);
	if (r->start == 0)
		return err_set(e, ESRCH, "process %d has ended", r->pid);
	if (is_other_guest(fs, r->pid, name))
		return err_set(e, ESRCH, "process %d is another guest's: the pid file is stale", r->pid);
	return 0;
}

/*
 * Groups of the whole domain. Where libvirt made none (it may run without a controller, or without cgroups at
 * all) the threads are in its own or the session's group, which is not ours to change: cpu and cpuset must
 * have a thread group below; on v1, where memory and blkio have none, the place must be the same as theirs.
 */
static void find_domain_groups(struct run *r)
{
	const struct cgroup_paths *g = r->threads[0].groups;
	static const enum cgroup_which with_threads[] = {CGROUP_CPU, CGROUP_CPUSET};
	char scope[1024];

	for (unsigned int c = 0; c < CGROUP_CONTROLLER_MAX; c++)
		if (cgroup_is_thread_group(g->at[c])) {
			cgroup_domain_group(g->at[c], r->domain_group[c], scope);
			if (!r->scope[0])
				memcpy(r->scope, scope, sizeof(scope));
		}
	for (unsigned int c = 0; c < CGROUP_CONTROLLER_MAX; c++) {
		if (r->domain_group[c][0] || !g->at[c][0])
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(with_threads); i++) {
			enum cgroup_which other = with_threads[i];
			const char *mine = g->at[c] + strlen(r->layout.at[c].path);

			if (r->domain_group[other][0] &&
			    streq(mine, r->domain_group[other] + strlen(r->layout.at[other].path)))
				memcpy(r->domain_group[c], g->at[c], sizeof(g->at[c]));
		}
	}
}

/* v1: cpu.cfs_period_us; v2: the second number of cpu.max. */
static uint64_t read_period(const struct hostfs *fs, const struct run *r)
{
	const char *group = r->domain_group[CGROUP_CPU], *number = NULL;
	uint64_t period = 0;
	char text[64];

	if (group[0] && r->layout.at[CGROUP_CPU].version == 1) {
		(void)hostfs_read_u64(fs, &period, "%s/cpu.cfs_period_us", group); /* 0 stays */
	} else if (group[0] && hostfs_read(fs, text, sizeof(text), "%s/cpu.max", group) > 0) {
		number = strchr(text, ' ');
		if (number)
			(void)num_parse_u64(number + 1, &period); /* 0 stays */
	}
	return period ? period : PERIOD_DEFAULT_US;
}

/* libvirt makes its group below a scope with the controllers that it found enabled there. */
static bool find_io_max(const struct hostfs *fs, const struct run *r)
{
	const char *group = r->domain_group[CGROUP_IO];

	return group[0] && r->layout.at[CGROUP_IO].version == 2 && hostfs_exists(fs, "%s/io.max", group);
}

/* "6.1.0-18-amd64" is 601; 0 if it does not look like that. */
static unsigned int kernel_version(const struct hostfs *fs)
{
	unsigned int major, minor;
	const char *dot;
	char text[128];

	if (hostfs_read(fs, text, sizeof(text), "proc/sys/kernel/osrelease") < 0)
		return 0;
	dot = strchr(text, '.');
	if (!dot || !leading_number(text, ".", &major) || major > 1000)
		return 0;
	text[(size_t)(dot + 1 - text) + strspn(dot + 1, "0123456789")] = '\0';
	return leading_number(dot + 1, "", &minor) && minor < 100 ? major * 100 + minor : 0;
}

void run_read_budgets(const struct hostfs *fs, struct run *r, const struct plan *p)
{
	bool any = false;

	for (size_t i = 0; i < p->n_settings; i++)
		any |= streq(p->settings[i].knob, "cpu.priority"); /* which nothing else has */
	for (unsigned int i = 0; i < r->n_threads && any; i++) {
		struct run_thread *t = &r->threads[i];
		const char *group = t->groups ? t->groups->at[CGROUP_CPU] : "";
		uint64_t runtime;

		t->no_budget = t->kind == RUN_VCPU && *group && r->layout.at[CGROUP_CPU].version == 1 &&
			       hostfs_read_u64(fs, &runtime, "%s/cpu.rt_runtime_us", group) == 0 && runtime == 0;
	}
}

void run_read_starts(const struct hostfs *fs, struct run *r)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < r->n_threads; i++) {
		struct run_thread t = r->threads[i];
		struct thread_stat s;

		if (t.start == 0) {
			if (read_stat(fs, r->pid, t.tid, &s) < 0)
				continue;
			t.start = s.start;
			t.is_fixed = s.flags & TASK_NO_SETAFFINITY;
		}
		r->threads[n++] = t;
	}
	r->n_threads = n;
}

int run_find(const struct hostfs *fs, const char *name, struct run *ret, struct err *e)
{
	int rc = run_find_groups(fs, name, ret, e);

	if (rc == 0)
		run_read_starts(fs, ret);
	return rc;
}

int run_find_groups(const struct hostfs *fs, const char *name, struct run *ret, struct err *e)
{
	struct run r = {0};
	int n = find_process(fs, name, &r, e);

	if (n < 0)
		return n;
	if (cgroup_layout_load(fs, &r.layout) < 0 && cgroup_layout_mounts(fs, &r.layout) < 0)
		memset(&r.layout, 0, sizeof(r.layout));
	r.kernel = kernel_version(fs);
	n = find_threads(fs, &r, e);
	if (n == 0 && run_find_workers(fs, &r) < 0)
		n = err_set(e, ENOMEM, "no memory");
	if (n < 0) {
		run_fini(&r);
		return n;
	}
	find_domain_groups(&r);
	r.period_us = read_period(fs, &r);
	r.has_io_max = find_io_max(fs, &r);
	r.has_exclusive = r.domain_group[CGROUP_CPUSET][0] &&
			  hostfs_exists(fs, "%s/cpuset.cpus.exclusive", r.domain_group[CGROUP_CPUSET]);
	*ret = r;
	return 0;
}

int run_look(const struct hostfs *fs, int pid, const char *workers, uint64_t *ret)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, "proc/%d/task", pid);
	uint64_t tid, sum = 0;
	struct dirent *d;

	if (!dir)
		return errno == ENOENT ? -ESRCH : -errno;
	while ((d = readdir(dir)))
		if (num_parse_range(d->d_name, 1, INT_MAX, &tid) == 0)
			sum += run_mix(tid);
	*ret = sum + (*workers ? run_look_workers(fs, workers) : 0);
	return 0;
}

void run_read_more(const struct hostfs *fs, struct run *r, const struct plan *p, bool starts)
{
	run_read_taps(fs, r, p, starts);
	run_read_budgets(fs, r, p);
	run_read_kthreads(fs, r, p);
}

void run_fini(struct run *r)
{
	for (unsigned int i = 0; i < r->n_groups; i++)
		free(r->groups[i]);
	free(r->groups);
	free(r->threads);
	free(r->taps);
	free(r->kthreads);
	memset(r, 0, sizeof(*r));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Back ends cgroup, cgkey, thread and unit: in fake roots, on private groups and threads of this machine, on a bus of ours. */
#include "tap.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "common/backend.h"
#include "common/be_unit_priv.h"
#include "common/cgroup.h"
#include "root_bytes.h"

static void is_value(const struct backend *be, const struct hostfs *fs, const char *object, const char *want)
{
	char buf[BACKEND_VALUE_MAX];
	int n = be->read(fs, object, buf, sizeof(buf));

	IS_INT(n, (int)strlen(want));
	if (n >= 0)
		IS_STR(buf, want);
}

TEST(same_values)
{
	static const struct {
		const struct backend *be;
		const char *object, *a, *b;
		bool same;
	} cases[] = {
		{&be_cgroup, "x/cpuset.cpus", "0-3,8", "8,0,1-3", true},
		{&be_cgroup, "x/cpuset.cpus", "0-3,8", "0-3", false},
		{&be_cgroup, "x/cpuset.cpus", "", "", true},
		{&be_cgroup, "x/cpuset.cpus", "", " ", true},
		{&be_cgroup, "x/cpuset.cpus", "", "0", false},
		{&be_cgroup, "x/cpuset.cpus", "0", "", false},
		{&be_cgroup, "x/cpuset.cpus", "nonsense", "nonsense", false},
		{&be_cgroup, "x/cpuset.mems", "0-1", "0,1", true},
		{&be_cgroup, "x/cpu.max", "max 100000", "max 100000", true},
		{&be_cgroup, "x/cpu.max", "max", "max 100000", true},
		{&be_cgroup, "x/cpu.max", "200000 100000", "200000 50000", false},
		{&be_cgroup, "x/cpu.max", "200000 100000", "max 100000", false},
		{&be_cgroup, "x/cpu.max", "20000", "200000 100000", false},
		{&be_cgroup, "x/cpu.shares", "1024", "01024", true},
		{&be_cgroup, "x/cpu.shares", "1024", "1025", false},
		{&be_cgroup, "x/cpu.cfs_quota_us", "-1", "-1", true},
		{&be_cgroup, "x/cpu.cfs_quota_us", "-1", "1", false},
		{&be_cgroup, "cpuset.cpus", "1,0", "0-1", true},
		{&be_cgroup, "x/cpuset.cpus.exclusive", "1,0", "0-1", true},
		{&be_cgroup, "x/cpuset.cpus.exclusive", "", " ", true},
		{&be_cgroup, "x/cpuset.cpus.partition", "isolated", "isolated", true},
		{&be_cgroup, "x/cpuset.cpus.partition", "isolated", "isolated invalid (Cpu list in cpuset.cpus not exclusive)", false},
		{&be_unit, "system.slice/AllowedCPUs", "0-1", "1,0", true},
		{&be_unit, "system.slice/AllowedCPUs", "", "", true},
		{&be_unit, "system.slice/AllowedCPUs", "", "0", false},
		{&be_thread, "1:2/3:4/affinity", "0-1", "1,0", true},
		{&be_thread, "1:2/3:4/affinity", "0-1", "0", false},
		{&be_thread, "1:2/3:4/affinity", "", "", false}, /* no thread is nowhere */
		{&be_unit, "x.scope/CPUWeight", "100", "100", true},
		{&be_unit, "x.scope/CPUWeight", "unset", "unset", true},
		{&be_unit, "x.scope/CPUWeight", "unset", "100", false},
		{&be_thread, "1:2/3:4/ioprio", "be:0", "be:0", true},
		{&be_thread, "1:2/3:4/ioprio", "be:0", "be:1", false},
		{&be_thread, "1:2/3:4/sched", "fifo:1", "fifo:1", true},
		{&be_thread, "1:2/3:4/sched", "fifo:1", "rr:1", false},
		{&be_cgkey, "x/io.max 8:0 rbps", "max", "max", true},
		{&be_cgkey, "x/io.max 8:0 rbps", "max", "0", false},
		{&be_cgkey, "x/io.weight 8:0", "0100", "100", true},
		{&be_mask, "x/rps_cpus", "0-3,8", "8,0,1-3", true},
		{&be_mask, "x/rps_cpus", "0-3", "0-2", false},
		{&be_mask, "x/rps_cpus", "", "", true},
		{&be_mask, "x/rps_cpus", "", "0", false},
		{&be_mask, "x/rps_cpus", "nonsense", "nonsense", true},
		{&be_mask, "x/rps_cpus", "nonsense", "0", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (cases[i].be->same(cases[i].object, cases[i].a, cases[i].b) != cases[i].same)
			TAP_FAIL("%s: '%s' and '%s': not %d", cases[i].object, cases[i].a, cases[i].b, cases[i].same);
}

/* Whatever was in the file is in it again after it was changed and put back. */
TEST(cgroup_file_is_restored)
{
	static const struct {
		const char *file, *content, *value, *other;
	} cases[] = {
		{"cpuset.cpus", "0-3\n", "0-3", "1"},
		{"cpuset.cpus", "\n", "", "0-1"},
		{"cpuset.cpus", "", " ", "0-1"},
		{"cpu.max", "max 100000\n", "max 100000", "5000 100000"},
		{"cpu.cfs_quota_us", "-1\n", "-1", "200000"},
		{"cpu.shares", "1024\n", "1024", "2"},
	};
	struct root t;
	char path[128];

	root_init(&t);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char value[64];

		(void)snprintf(path, sizeof(path), "sys/fs/cgroup/machine.slice/a\\x2db.scope/libvirt/%s",
			       cases[i].file);
		root_put(&t, path, cases[i].content);
		IS_INT(be_cgroup.probe(&t.fs, path), 0);
		is_value(&be_cgroup, &t.fs, path, cases[i].value);
		OK(be_cgroup.read(&t.fs, path, value, sizeof(value)) >= 0);
		IS_INT(be_cgroup.write(&t.fs, path, cases[i].other), 0);
		is_value(&be_cgroup, &t.fs, path, cases[i].other);
		IS_INT(be_cgroup.write(&t.fs, path, value), 0);
		IS_STR(root_get(&t, path), cases[i].content);
	}
	root_fini(&t);
}

TEST(cgroup_absent_and_odd)
{
	char buf[64], tiny[1];
	struct root t;

	root_init(&t);
	root_put(&t, "sys/fs/cgroup/a/cpuset.cpus", "0-3\n");
	root_put(&t, "sys/fs/cgroup/a/empty", "");
	IS_INT(be_cgroup.probe(&t.fs, "sys/fs/cgroup/b/cpuset.cpus"), -ENOENT);
	IS_INT(be_cgroup.probe(&t.fs, "sys/fs/cgroup/a"), -ENOENT);
	IS_INT(be_cgroup.probe(&t.fs, "sys/fs/cgroup/a/cpuset.cpus/x"), -ENOENT);
	IS_INT(be_cgroup.read(&t.fs, "sys/fs/cgroup/b/cpuset.cpus", buf, sizeof(buf)), -ENOENT);
	IS_INT(be_cgroup.write(&t.fs, "sys/fs/cgroup/b/cpuset.cpus", "0"), -ENOENT);
	IS_INT(be_cgroup.write(&t.fs, "sys/fs/cgroup/a/none", " "), -ENOENT);
	IS_INT(be_cgroup.read(&t.fs, "sys/fs/cgroup/a/cpuset.cpus", buf, 3), -EFBIG);
	IS_INT(be_cgroup.read(&t.fs, "sys/fs/cgroup/a/empty", tiny, sizeof(tiny)), -EFBIG);
	IS_STR(root_get(&t, "sys/fs/cgroup/b/cpuset.cpus"), "(absent)");
	root_fini(&t);
}

/* A group of our own below a controller's mount point; false with the reason where that cannot be had. */
struct own_group {
	struct hostfs fs;
	struct cgroup_layout layout;
	char path[512];
};

static const char *own_group_make(struct own_group *g, enum cgroup_which which, const char *file)
{
	const char *why = NULL;

	*g = (struct own_group){.fs = HOSTFS_INIT};
	if (geteuid() != 0)
		return "not root";
	if (hostfs_init(&g->fs, NULL, NULL) < 0 || cgroup_layout_mounts(&g->fs, &g->layout) < 0 ||
	    !g->layout.at[which].version)
		why = "no such controller here";
	(void)snprintf(g->path, sizeof(g->path), "/%s/domtune-test-%d", g->layout.at[which].path, (int)getpid());
	if (!why && mkdir(g->path, 0755) < 0)
		why = "no group can be made here";
	if (!why && !hostfs_exists(&g->fs, "%s/%s", g->path + 1, file)) {
		(void)rmdir(g->path);
		why = "the controller is not enabled for groups here";
	}
	if (why)
		hostfs_fini(&g->fs);
	return why;
}

static void own_group_end(struct own_group *g)
{
	/* The kernel takes a moment to let go of a task that has just ended. */
	for (int i = 0; rmdir(g->path) < 0; i++) {
		if (errno != EBUSY || i == 1000) {
			TAP_FAIL("rmdir %s: %s", g->path, strerror(errno));
			break;
		}
		usleep(1000);
	}
	hostfs_fini(&g->fs);
}

TEST(real_cpuset)
{
	char object[600], mems[64], online[64], pid[16];
	struct own_group g;
	const char *why = own_group_make(&g, CGROUP_CPUSET, "cpuset.cpus");
	pid_t child;
	int r;

	if (why)
		SKIP(why);
	(void)snprintf(object, sizeof(object), "%s/cpuset.cpus", g.path + 1);
	IS_INT(be_cgroup.probe(&g.fs, object), 0);
	is_value(&be_cgroup, &g.fs, object, "");
	IS_INT(be_cgroup.write(&g.fs, object, "0"), 0);
	is_value(&be_cgroup, &g.fs, object, "0");
	r = be_cgroup.write(&g.fs, object, "8191");
	OK(r == -EINVAL || r == -ERANGE || r == -EACCES || (r == 0 && g.layout.at[CGROUP_CPUSET].version == 2));
	IS_INT(be_cgroup.write(&g.fs, object, "0-"), -EINVAL);
	IS_INT(be_cgroup.write(&g.fs, object, ""), 0);
	is_value(&be_cgroup, &g.fs, object, "");

	/* With a task in it, v1 refuses to empty it and v2 lets it inherit again. */
	OK(hostfs_read(&g.fs, online, sizeof(online), "sys/devices/system/cpu/online") > 0);
	IS_INT(be_cgroup.write(&g.fs, object, online), 0);
	if (g.layout.at[CGROUP_CPUSET].version == 1) {
		OK(hostfs_read(&g.fs, mems, sizeof(mems), "%s/cpuset.mems", g.layout.at[CGROUP_CPUSET].path) > 0);
		IS_INT(hostfs_write(&g.fs, mems, "%s/cpuset.mems", g.path + 1), 0);
	}
	child = fork();
	if (child == 0) {
		(void)pause();
		_exit(0);
	}
	(void)snprintf(pid, sizeof(pid), "%d", (int)child);
	IS_INT(hostfs_write(&g.fs, pid, "%s/cgroup.procs", g.path + 1), 0);
	IS_INT(be_cgroup.write(&g.fs, object, ""), g.layout.at[CGROUP_CPUSET].version == 1 ? -ENOSPC : 0);

	/* A thread cannot leave it; where two CPUs are online, one is outside. */
	IS_INT(be_cgroup.write(&g.fs, object, "0"), 0);
	if (!streq(online, "0")) {
		char thread[128];
		uint64_t start = hostfs_proc_start(&g.fs, (int)child);

		(void)snprintf(thread, sizeof(thread), "%d:%" PRIu64 "/%d:%" PRIu64 "/affinity", (int)child, start,
			       (int)child, start);
		IS_INT(be_thread.write(&g.fs, thread, "1"), -EINVAL);
		is_value(&be_thread, &g.fs, thread, "0");
		IS_INT(be_thread.write(&g.fs, thread, "0-1"), 0); /* cut to the group's */
		is_value(&be_thread, &g.fs, thread, "0");
	}
	(void)kill(child, SIGKILL);
	(void)waitpid(child, NULL, 0);
	own_group_end(&g);
}

TEST(removed_group)
{
	char object[600], buf[64];
	struct own_group g;
	const char *why = own_group_make(&g, CGROUP_CPUSET, "cpuset.cpus");

	if (why)
		SKIP(why);
	(void)snprintf(object, sizeof(object), "%s/cpuset.cpus", g.path + 1);
	IS_INT(rmdir(g.path), 0);
	IS_INT(be_cgroup.probe(&g.fs, object), -ENOENT);
	IS_INT(be_cgroup.read(&g.fs, object, buf, sizeof(buf)), -ENOENT);
	IS_INT(be_cgroup.write(&g.fs, object, "0"), -ENOENT);
	hostfs_fini(&g.fs);
}

/* What the kernel makes of weights and quotas reads back, and goes back. */
TEST(real_cpu)
{
	static const struct {
		int version;
		const char *file, *value, *readback;
	} cases[] = {
		{1, "cpu.shares", "2048", "2048"},
		{1, "cpu.shares", "1", "2"}, /* raised to the least */
		{1, "cpu.cfs_quota_us", "250000", "250000"},
		{2, "cpu.weight", "200", "200"},
		{2, "cpu.max", "250000 100000", "250000 100000"},
	};
	struct own_group g;
	const char *why = own_group_make(&g, CGROUP_CPU, "cgroup.procs");

	if (why)
		SKIP(why);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char object[600], original[64];

		(void)snprintf(object, sizeof(object), "%s/%s", g.path + 1, cases[i].file);
		if (cases[i].version != g.layout.at[CGROUP_CPU].version || be_cgroup.probe(&g.fs, object) < 0)
			continue;
		OK(be_cgroup.read(&g.fs, object, original, sizeof(original)) > 0);
		IS_INT(be_cgroup.write(&g.fs, object, cases[i].value), 0);
		is_value(&be_cgroup, &g.fs, object, cases[i].readback);
		IS_INT(be_cgroup.write(&g.fs, object, original), 0);
		is_value(&be_cgroup, &g.fs, object, original);
	}
	own_group_end(&g);
}

struct sleeper {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int tid; /* 0 not yet, -1 it shall end */
};

static void *sleeper_main(void *data)
{
	struct sleeper *s = data;

	(void)pthread_mutex_lock(&s->lock);
	s->tid = (int)syscall(SYS_gettid);
	(void)pthread_cond_broadcast(&s->changed);
	while (s->tid > 0)
		(void)pthread_cond_wait(&s->changed, &s->lock);
	(void)pthread_mutex_unlock(&s->lock);
	return NULL;
}

static int sleeper_start(struct sleeper *s)
{
	int tid;

	*s = (struct sleeper){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
	if (pthread_create(&s->thread, NULL, sleeper_main, s) != 0)
		exit(2);
	(void)pthread_mutex_lock(&s->lock);
	while (!s->tid)
		(void)pthread_cond_wait(&s->changed, &s->lock);
	tid = s->tid;
	(void)pthread_mutex_unlock(&s->lock);
	return tid;
}

static void sleeper_end(struct sleeper *s)
{
	int tid;

	(void)pthread_mutex_lock(&s->lock);
	tid = s->tid;
	s->tid = -1;
	(void)pthread_cond_broadcast(&s->changed);
	(void)pthread_mutex_unlock(&s->lock);
	(void)pthread_join(s->thread, NULL);
	/* The number is given back a moment after the join. */
	while (syscall(SYS_tgkill, getpid(), tid, 0) == 0)
		usleep(1000);
}

static unsigned int heirs_found;

static void is_heir(void *data, const char *object)
{
	heirs_found += streq(object, (const char *)data);
}

/* Policy and priority change; the nice value, and that its children are ordinary, do not. */
static void schedulers(const struct hostfs *fs, const char *object, int tid)
{
	static const char *const words[] = {"batch", "fifo:1", "idle", "rr:10", "other", "fifo:99", "batch", "other"};
	static const char *const none[] = {"",       "fifo",   "fifo:", "fifo:0", "fifo:100", "rr",    "other:0",
					   "batch:1", "FIFO:1", "deadline", "fif:1", "fifo:1 ", "fifo:x", "others"};
	const struct sched_param zero = {0};
	char value[32], tiny[3];

	is_value(&be_thread, fs, object, "other");
	OK(!be_thread.source(object, value, sizeof(value)));
	IS_INT(setpriority(PRIO_PROCESS, (id_t)tid, 7), 0);
	IS_INT(sched_setscheduler(tid, SCHED_OTHER | SCHED_RESET_ON_FORK, &zero), 0);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		int r = be_thread.write(fs, object, words[i]);

		/* Real-time ones are for root, and for a group with a budget (CONFIG_RT_GROUP_SCHED). */
		if (r == -EPERM && strchr(words[i], ':')) {
			printf("# %s: not permitted here\n", words[i]);
			continue;
		}
		IS_INT(r, 0);
		is_value(&be_thread, fs, object, words[i]);
		IS_INT(getpriority(PRIO_PROCESS, (id_t)tid), 7);
		OK(sched_getscheduler(tid) & SCHED_RESET_ON_FORK);
	}
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		IS_INT(be_thread.write(fs, object, none[i]), -EINVAL);
	is_value(&be_thread, fs, object, "other");
	OK(be_thread.read(fs, object, tiny, sizeof(tiny)) != 0);
}

TEST(thread_attributes)
{
	static const char *const priorities[] = {"be:7", "be:0", "idle", "rt:0", "rt:7", "none"};
	static const char *const no_priorities[] = {"",     "be",   "be:8", "be:",  "be:-1",   "rt:x",
						    "none:0", "idle:0", "BE:0", "be:00x", "best:0"};
	char object[128], other[128], original[BACKEND_VALUE_MAX];
	struct hostfs fs = HOSTFS_INIT;
	struct sleeper s;
	struct idset cpus;
	uint64_t start, thread_start;
	int pid = (int)getpid(), tid, n;

	IS_INT(hostfs_init(&fs, NULL, NULL), 0);
	tid = sleeper_start(&s);
	start = hostfs_proc_start(&fs, pid);
	thread_start = hostfs_proc_start(&fs, tid);
	(void)snprintf(object, sizeof(object), "%d:%" PRIu64 "/%d:%" PRIu64 "/affinity", pid, start, tid, thread_start);
	IS_INT(be_thread.probe(&fs, object), 0);
	OK(be_thread.read(&fs, object, original, sizeof(original)) > 0);
	IS_INT(idset_parse(original, &cpus), 0);
	for (int cpu = idset_first(&cpus); cpu >= 0; cpu = idset_next(&cpus, cpu)) {
		char one[16];

		(void)snprintf(one, sizeof(one), "%d", cpu);
		IS_INT(be_thread.write(&fs, object, one), 0);
		is_value(&be_thread, &fs, object, one);
	}
	IS_INT(be_thread.write(&fs, object, original), 0);
	is_value(&be_thread, &fs, object, original);
	IS_INT(be_thread.write(&fs, object, ""), -EINVAL);
	IS_INT(be_thread.write(&fs, object, "8191"), -EINVAL);
	IS_INT(be_thread.write(&fs, object, "x"), -EINVAL);
	IS_INT(be_thread.read(&fs, object, original, 1), -E2BIG);

	(void)snprintf(strrchr(object, '/'), 16, "/ioprio");
	OK(be_thread.read(&fs, object, original, sizeof(original)) > 0);
	for (size_t i = 0; i < ARRAY_SIZE(priorities); i++) {
		n = be_thread.write(&fs, object, priorities[i]);
		/* the realtime class, and the way out of idle before Linux 5.14, are for who may */
		if (n == -EPERM && geteuid() != 0)
			continue;
		IS_INT(n, 0);
		is_value(&be_thread, &fs, object, priorities[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(no_priorities); i++)
		IS_INT(be_thread.write(&fs, object, no_priorities[i]), -EINVAL);
	IS_INT(be_thread.read(&fs, object, original, 3), -EFBIG);
	/* a thread has it from its process, and is found there */
	OK(be_thread.source(object, original, sizeof(original)));
	(void)snprintf(other, sizeof(other), "%d:%" PRIu64 "/%d:%" PRIu64 "/ioprio", pid, start, pid, start);
	IS_STR(original, other);
	OK(!be_thread.source(other, original, sizeof(original)));
	IS_INT(be_thread.heirs(&fs, other, is_heir, object), 0);
	IS_INT(heirs_found, 1);
	IS_INT(be_thread.heirs(&fs, object, is_heir, object), 0);
	(void)snprintf(strrchr(object, '/'), 16, "/affinity");
	(void)snprintf(strrchr(other, '/'), 16, "/affinity");
	OK(!be_thread.source(object, original, sizeof(original)));
	IS_INT(be_thread.heirs(&fs, other, is_heir, object), 0);
	(void)snprintf(other, sizeof(other), "%d:%" PRIu64 "/%d:%" PRIu64 "/ioprio", pid, start + 1, pid, start + 1);
	IS_INT(be_thread.heirs(&fs, other, is_heir, object), -ENOENT);
	IS_INT(heirs_found, 1);

	(void)snprintf(strrchr(object, '/'), 16, "/sched");
	schedulers(&fs, object, tid);

	(void)snprintf(strrchr(object, '/'), 16, "/affinity");
	/* another start of either number, a thread of another process */
	for (n = 0; n < 3; n++) {
		(void)snprintf(other, sizeof(other), "%d:%" PRIu64 "/%d:%" PRIu64 "/affinity", n == 2 ? getppid() : pid,
			       n == 2 ? hostfs_proc_start(&fs, getppid()) : start + (n == 0), tid,
			       thread_start + (n == 1));
		IS_INT(be_thread.probe(&fs, other), -ENOENT);
		IS_INT(be_thread.write(&fs, other, "0"), -ENOENT);
	}
	sleeper_end(&s);
	IS_INT(be_thread.probe(&fs, object), -ENOENT);
	IS_INT(be_thread.read(&fs, object, original, sizeof(original)), -ENOENT);
	IS_INT(be_thread.write(&fs, object, "0"), -ENOENT);
	hostfs_fini(&fs);
}

/* A thread of the kernel's is a process by itself (run_worker.c). Only looked at. */
TEST(thread_of_the_kernel)
{
	char object[128], value[BACKEND_VALUE_MAX], text[1024];
	struct hostfs fs = HOSTFS_INIT;
	unsigned int n = 0;

	IS_INT(hostfs_init(&fs, NULL, NULL), 0);
	for (int pid = 3; pid < 1000 && n < 3; pid++) {
		uint64_t start = hostfs_proc_start(&fs, pid);
		const char *end = hostfs_read(&fs, text, sizeof(text), "proc/%d/stat", pid) > 0 ? strrchr(text, ')') : NULL;
		unsigned long flags;

		if (!start || !end || sscanf(end, ") %*c 2 %*d %*d %*d %*d %lu", &flags) != 1 || !(flags & 0x200000))
			continue;
		n++;
		(void)snprintf(object, sizeof(object), "%d:%" PRIu64 "/%d:%" PRIu64 "/affinity", pid, start, pid, start);
		IS_INT(be_thread.probe(&fs, object), 0);
		OK(be_thread.read(&fs, object, value, sizeof(value)) > 0);
		OK(!be_thread.source(object, value, sizeof(value)));
		(void)snprintf(object, sizeof(object), "%d:%" PRIu64 "/%d:%" PRIu64 "/affinity", (int)getpid(),
			       hostfs_proc_start(&fs, (int)getpid()), pid, start);
		IS_INT(be_thread.probe(&fs, object), -ENOENT); /* not a thread of ours */
	}
	hostfs_fini(&fs);
	if (n == 0)
		SKIP("no threads of the kernel are seen here");
}

TEST(thread_objects)
{
	static const struct {
		const char *object;
		int result;
	} cases[] = {
		{"", -EINVAL},
		{"1:1", -EINVAL},
		{"1:1/1:1", -EINVAL},
		{"1/1:1/affinity", -EINVAL},
		{"0:1/1:1/affinity", -EINVAL},
		{"-1:1/1:1/affinity", -EINVAL},
		{"1:x/1:1/affinity", -EINVAL},
		{"1:1/4294967297:1/affinity", -EINVAL},
		{"1:1/1:1/colour", -EOPNOTSUPP},
		{"1:1/1:1/", -EOPNOTSUPP},
		{"1:1/../../etc/affinity", -EINVAL},
		{"1:1111111111111111111111111111111111111111111111111111111111111111111111111111111111111111/"
		 "1:11111111111111111111111111111111111111111111111111111111111/affinity",
		 -EINVAL},
	};
	struct hostfs fs = HOSTFS_INIT;
	struct root t;

	IS_INT(hostfs_init(&fs, NULL, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		IS_INT(be_thread.probe(&fs, cases[i].object), cases[i].result);
	hostfs_fini(&fs);
	/* Below another root there are no threads, whatever its proc says. */
	root_init(&t);
	root_put(&t, "proc/1/stat", "1 (init) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 1 20\n");
	IS_INT(be_thread.probe(&t.fs, "1:1/1:1/affinity"), -EOPNOTSUPP);
	IS_INT(be_thread.write(&t.fs, "1:1/1:1/affinity", "0"), -EOPNOTSUPP);
	root_fini(&t);
}

/* --- one device's line of a control file ------------------------------------------------------------------------ */

/* Values go in and come back; what else the file has stays, and in the end it is what it was. */
TEST(lines_of_devices)
{
	static const struct {
		const char *file, *text; /* before */
		const char *key, *original, *value, *after;
	} cases[] = {
		{"io.max", "", " rbps", "max", "1000", "8:0 rbps=1000 wbps=max riops=max wiops=max\n"},
		{"io.max", "8:16 rbps=5 wbps=max riops=max wiops=max\n", " wiops", "max", "7",
		 "8:16 rbps=5 wbps=max riops=max wiops=max\n8:0 rbps=max wbps=max riops=max wiops=7\n"},
		{"io.max", "8:0 rbps=5 wbps=max riops=max wiops=max\n8:16 rbps=5 wbps=max riops=max wiops=9\n", " rbps", "5",
		 "6", "8:0 rbps=6 wbps=max riops=max wiops=max\n8:16 rbps=5 wbps=max riops=max wiops=9\n"},
		{"io.max", "8:0 rbps=5 wbps=6 riops=max wiops=8\n", " riops", "max", "7",
		 "8:0 rbps=5 wbps=6 riops=7 wiops=8\n"},
		{"io.weight", "default 100\n", "", "default", "300", "default 100\n8:0 300\n"},
		{"io.weight", "default 100\n8:0 5\n18:0 6\n", "", "5", "300", "default 100\n8:0 300\n18:0 6\n"},
		{"io.bfq.weight", "default 100\n", "", "default", "300", "default 100\n8:0 300\n"},
		{"blkio.throttle.read_bps_device", "8:16 4096\n", "", "0", "300", "8:16 4096\n8:0 300\n"},
		{"blkio.throttle.write_iops_device", "", "", "0", "300", "8:0 300\n"},
		{"blkio.bfq.weight_device", "8:00 9\n", "", "default", "300", "8:00 9\n8:0 300\n"},
	};
	char object[160], path[128], buf[64];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct root t;

		root_init(&t);
		(void)snprintf(path, sizeof(path), "sys/fs/cgroup/a b/%s", cases[i].file);
		(void)snprintf(object, sizeof(object), "%s 8:0%s", path, cases[i].key);
		root_put(&t, path, cases[i].text);
		IS_INT(be_cgkey.probe(&t.fs, object), 0);
		is_value(&be_cgkey, &t.fs, object, cases[i].original);
		IS_INT(be_cgkey.write(&t.fs, object, cases[i].value), 0);
		is_value(&be_cgkey, &t.fs, object, cases[i].value);
		IS_STR(root_get(&t, path), cases[i].after);
		IS_INT(be_cgkey.read(&t.fs, object, buf, strlen(cases[i].value)), -EFBIG);
		IS_INT(be_cgkey.write(&t.fs, object, cases[i].original), 0);
		IS_STR(root_get(&t, path), cases[i].text);
		root_fini(&t);
	}
}

TEST(lines_that_are_none)
{
	static const struct {
		const char *object;
		int result;
	} cases[] = {
		{"", -EINVAL},
		{"io.max 8:0 rbps", -EINVAL},
		{"a/io.max", -EINVAL},
		{"a/io.max 8:0", -EINVAL},
		{"a/io.max 8:0 colour", -EINVAL},
		{"a/io.max 8:0 rbps wbps", -EINVAL},
		{"a/io.max 8 rbps", -EINVAL},
		{"a/io.max sda rbps", -EINVAL},
		{"a/io.max 4096:0 rbps", -EINVAL},
		{"a/io.max 8:1048576 rbps", -EINVAL},
		{"a/io.max :0 rbps", -EINVAL},
		{"a/io.weight 8:0 rbps", -EINVAL},
		{"a/io.colour 8:0", -EOPNOTSUPP},
		{"a/io.weight 8:0", -ENOENT},
		{"b/io.weight/io.weight 8:0", -ENOENT},
		{"b/c/io.weight 8:0", -ENOENT},
	};
	char buf[64];
	struct root t;

	root_init(&t);
	root_put(&t, "b/io.weight", "default 100\n");
	root_mkdir(&t, "b/c/io.weight");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		IS_INT(be_cgkey.probe(&t.fs, cases[i].object), cases[i].result);
		if (i + 1 < ARRAY_SIZE(cases)) {
			IS_INT(be_cgkey.read(&t.fs, cases[i].object, buf, sizeof(buf)), cases[i].result);
			IS_INT(be_cgkey.write(&t.fs, cases[i].object, "1"), cases[i].result);
		}
	}
	root_fini(&t);
}

/* A manager with one scope. */
static struct {
	uint64_t weight;
	uint64_t device[2], seen[4]; /* entries of a list; values that a device has had */
	unsigned int n_seen;
	int error;
	bool no_group;
	char interface[64];
} manager;

static int fake_get(const char *unit, const char *interface, const char *property, uint64_t *ret)
{
	(void)snprintf(manager.interface, sizeof(manager.interface), "%s", interface);
	if (manager.error)
		return manager.error;
	if (!streq(unit, "machine-qemu\\x2d1\\x2dx.scope"))
		return -ENOENT;
	if (!streq(property, "CPUWeight"))
		return -EOPNOTSUPP;
	*ret = manager.weight;
	return 0;
}

static int fake_set(const char *unit, const char *property, uint64_t value)
{
	uint64_t old;
	int r = fake_get(unit, manager.interface, property, &old);

	if (r == 0)
		manager.weight = value;
	return r;
}

static uint64_t *fake_entry(const char *unit, const char *property, const char *node)
{
	static const char *const nodes[] = {"/dev/block/8:0", "/dev/block/259:1"};

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		if (streq(nodes[i], node) && str_starts(property, "IO") && streq(unit, "machine-qemu\\x2d1\\x2dx.scope"))
			return &manager.device[i];
	return NULL;
}

static int fake_get_device(const char *unit, const char *interface, const char *property, const char *node,
			   uint64_t *ret)
{
	const uint64_t *entry = fake_entry(unit, property, node);

	(void)interface;
	if (!entry)
		return -ENOENT;
	*ret = *entry;
	return manager.error;
}

static int fake_set_device(const char *unit, const char *interface, const char *property, const char *node,
			   uint64_t value)
{
	uint64_t *entry = fake_entry(unit, property, node);

	(void)interface;
	if (!entry)
		return -ENOENT;
	if (manager.error)
		return manager.error;
	*entry = value;
	if (manager.n_seen < ARRAY_SIZE(manager.seen))
		manager.seen[manager.n_seen++] = value;
	return 0;
}

static int fake_get_group(const char *unit, const char *interface, char *buf, size_t size)
{
	(void)interface;
	(void)snprintf(buf, size, "%s%s", manager.no_group ? "" : "/machine.slice/", manager.no_group ? "" : unit);
	return manager.error;
}

/* A slice as systemd has it: what is set is written to its group, what is unset is not. */
static struct {
	struct root *t;
	struct idset property;
	bool is_loaded, is_deaf;
	int error;
	unsigned int n_sets;
	char at_unset[64]; /* what the kernel had when the property went */
} slice;

#define SLICE_CPUS "sys/fs/cgroup/system.slice/cpuset.cpus"

static int fake_get_cpus(const char *unit, const char *interface, const char *property, struct idset *ret)
{
	if (slice.error)
		return slice.error;
	if (!streq(unit, "system.slice") || !streq(interface, "org.freedesktop.systemd1.Slice") ||
	    !streq(property, "AllowedCPUs"))
		return -EOPNOTSUPP;
	*ret = slice.property;
	return 0;
}

static int fake_set_cpus(const char *unit, const char *property, const struct idset *cpus)
{
	_cleanup_free_ char *text = idset_text(cpus);
	char line[64];

	if (slice.error)
		return slice.error;
	if (!streq(unit, "system.slice") || !streq(property, "AllowedCPUs"))
		return -EOPNOTSUPP;
	hostfs_durable();
	slice.property = *cpus;
	slice.n_sets++;
	if (idset_is_empty(cpus))
		(void)snprintf(slice.at_unset, sizeof(slice.at_unset), "%.60s", root_get(slice.t, SLICE_CPUS));
	if (idset_is_empty(cpus) || slice.is_deaf)
		return 0;
	(void)snprintf(line, sizeof(line), "%s\n", text);
	root_put(slice.t, SLICE_CPUS, line);
	root_put(slice.t, SLICE_CPUS ".effective", line);
	return 0;
}

static int fake_slice_group(const char *unit, const char *interface, char *buf, size_t size)
{
	(void)interface;
	(void)snprintf(buf, size, "/%s", unit);
	return slice.is_loaded ? 0 : -ENOENT;
}

static const struct unit_bus_ops slice_bus = {.get_group = fake_slice_group, .get_cpus = fake_get_cpus,
					       .set_cpus = fake_set_cpus};
static const struct unit_bus_ops fake_bus = {fake_get,	       fake_set, fake_get_group, fake_get_device,
					      fake_set_device, NULL,	 NULL};

static void put_slice(struct root *t)
{
	root_init(t);
	t->fs.real = true;
	unit_bus = &slice_bus;
	memset(&slice, 0, sizeof(slice));
	slice.t = t;
	slice.is_loaded = true;
	root_put(t, "proc/mounts", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n");
	root_put(t, "sys/fs/cgroup/cgroup.controllers", "cpuset cpu\n");
	root_put(t, "sys/fs/cgroup/cpuset.cpus.effective", "0-7\n");
	root_put(t, "sys/devices/system/cpu/online", "0-7\n");
}

#define ALLOWED "system.slice/AllowedCPUs"

TEST(cpus_of_a_slice)
{
	char buf[64];
	struct root t;

	put_slice(&t);
	/* before anybody needs it the controller is not even there */
	is_value(&be_unit, &t.fs, ALLOWED, "");
	OK(be_unit.whole(&t.fs, ALLOWED, buf, sizeof(buf)) > 0);
	IS_STR(buf, "0-7");
	IS_INT(be_unit.whole(&t.fs, "x.scope/CPUWeight", buf, sizeof(buf)), -EOPNOTSUPP);
	IS_INT(be_unit.write(&t.fs, ALLOWED, "0-3"), 0);
	is_value(&be_unit, &t.fs, ALLOWED, "0-3");
	IS_STR(root_get(&t, SLICE_CPUS), "0-3\n");
	/* emptied: the kernel first, so that a kill in between leaves the property as it was */
	root_put(&t, SLICE_CPUS ".effective", "0-7\n"); /* what comes of an empty set */
	IS_INT(be_unit.write(&t.fs, ALLOWED, ""), 0);
	IS_STR(slice.at_unset, "\n");
	IS_STR(root_get(&t, SLICE_CPUS), "\n");
	is_value(&be_unit, &t.fs, ALLOWED, "");
	/* all of them, where the kernel does not empty it, say as much as none */
	root_put(&t, SLICE_CPUS, "0-8\n");
	is_value(&be_unit, &t.fs, ALLOWED, "");
	/* a list that systemd does not know is somebody's all the same */
	root_put(&t, SLICE_CPUS, "0-5\n");
	is_value(&be_unit, &t.fs, ALLOWED, "0-5");
	/* not loaded: nothing runs there, and what is set holds as soon as something does */
	slice.is_loaded = false;
	is_value(&be_unit, &t.fs, ALLOWED, "");
	IS_INT(be_unit.write(&t.fs, ALLOWED, "0-3"), 0);
	is_value(&be_unit, &t.fs, ALLOWED, "0-3");
	IS_INT(be_unit.write(&t.fs, ALLOWED, ""), 0);
	is_value(&be_unit, &t.fs, ALLOWED, "");
	IS_INT(be_unit.write(&t.fs, ALLOWED, "x"), -EINVAL);
	root_fini(&t);
}

TEST(cpus_of_a_slice_refused)
{
	struct root t;

	put_slice(&t);
	/* refused by systemd */
	slice.error = -EACCES;
	IS_INT(be_unit.write(&t.fs, ALLOWED, "0-3"), -EACCES);
	slice.error = 0;
	/* taken by systemd, not by the kernel: what is in force is what is read */
	root_put(&t, SLICE_CPUS, "\n");
	root_put(&t, SLICE_CPUS ".effective", "0-7\n");
	slice.is_deaf = true;
	IS_INT(be_unit.write(&t.fs, ALLOWED, "0-3"), -EINVAL);
	is_value(&be_unit, &t.fs, ALLOWED, "0-7");
	IS_INT(be_unit.write(&t.fs, ALLOWED, ""), 0);
	/* the property is gone, the group is still narrow: that is not put back */
	root_put(&t, SLICE_CPUS ".effective", "0-3\n");
	IS_INT(be_unit.write(&t.fs, ALLOWED, ""), -EINVAL);
	/* v1: systemd has the property, and nothing comes of it */
	root_put(&t, "proc/mounts", "cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n");
	IS_INT(be_unit.probe(&t.fs, ALLOWED), -EOPNOTSUPP);
	IS_INT(be_unit.write(&t.fs, ALLOWED, "0-3"), -EOPNOTSUPP);
	IS_INT(slice.n_sets, 3);
	root_fini(&t);
	put_slice(&t);
	t.fs.real = false; /* a captured tree has no bus */
	IS_INT(be_unit.probe(&t.fs, ALLOWED), -EOPNOTSUPP);
	root_fini(&t);
}

/* One of ours that the kernel has made invalid since is still ours. */
TEST(partitions_that_became_invalid)
{
	static const char file[] = "x/vcpu0/cpuset.cpus.partition";

	OK(be_cgroup.remains(file, "isolated invalid (Cpu list in cpuset.cpus not exclusive)", "isolated"));
	OK(!be_cgroup.remains(file, "isolated", "isolated"));
	OK(!be_cgroup.remains(file, "root invalid (whatever)", "isolated"));
	OK(!be_cgroup.remains(file, "member", "isolated"));
	OK(!be_cgroup.remains("x/vcpu0/cpuset.cpus", "isolated invalid (x)", "isolated"));
}

/* A partition that cannot be one says so in the file, not by an error. */
TEST(invalid_partitions)
{
#define PARTITION "sys/fs/cgroup/machine/q/vcpu0/cpuset.cpus.partition"
	char buf[64];
	struct root t;

	root_init(&t);
	root_put(&t, PARTITION, "member\n");
	IS_INT(be_cgroup.write(&t.fs, PARTITION, "isolated"), 0);
	is_value(&be_cgroup, &t.fs, PARTITION, "isolated");
	IS_INT(be_cgroup.write(&t.fs, PARTITION, "isolated invalid (Parent is not a partition root)"), -EINVAL);
	root_put(&t, "sys/devices/system/cpu/online", "0-3\n");
	OK(be_cgroup.whole(&t.fs, "sys/fs/cgroup/docker/cpuset.cpus", buf, sizeof(buf)) > 0);
	IS_STR(buf, "0-3");
	IS_INT(be_cgroup.whole(&t.fs, PARTITION, buf, sizeof(buf)), -EOPNOTSUPP);
	root_fini(&t);
#undef PARTITION
}

/* One entry of a list; the others are not ours. */
TEST(unit_list)
{
#define UNIT "machine-qemu\\x2d1\\x2dx.scope/"
	static const char *const bad[] = {
		UNIT "IODeviceWeight",        UNIT "IODeviceWeight ",     UNIT "IODeviceWeight sda",
		UNIT "CPUWeight 8:0",         UNIT "IODeviceWeight 8:0 ",
		UNIT "IODeviceWeight 1111111111:22222222222222222", UNIT " 8:0",
	};
	struct hostfs fs = HOSTFS_INIT;

	IS_INT(hostfs_init(&fs, NULL, NULL), 0);
	unit_bus = &fake_bus;
	manager.device[0] = UINT64_MAX;
	manager.device[1] = 7;
	is_value(&be_unit, &fs, UNIT "IODeviceWeight 8:0", "unset");
	is_value(&be_unit, &fs, UNIT "IODeviceWeight 259:1", "7");
	IS_INT(be_unit.write(&fs, UNIT "IODeviceWeight 8:0", "300"), 0);
	is_value(&be_unit, &fs, UNIT "IODeviceWeight 8:0", "300");
	/* nothing in between: a kill leaves the entry as it was, or as it is to be */
	manager.n_seen = 0;
	IS_INT(be_unit.write(&fs, UNIT "IODeviceWeight 8:0", "unset"), 0);
	IS_INT(manager.n_seen, 1);
	OK(manager.seen[0] == UINT64_MAX);
	manager.n_seen = 0;
	IS_INT(be_unit.write(&fs, UNIT "IOReadBandwidthMax 8:0", "unset"), 0);
	IS_INT(manager.n_seen, 1);
	OK(manager.device[1] == 7);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		IS_INT(be_unit.probe(&fs, bad[i]), -EINVAL);
		IS_INT(be_unit.write(&fs, bad[i], "1"), -EINVAL);
	}
	manager.error = -ETIMEDOUT;
	IS_INT(be_unit.write(&fs, UNIT "IODeviceWeight 8:0", "unset"), -ETIMEDOUT);
	manager.error = 0;
	hostfs_fini(&fs);
#undef UNIT
}

/* systemd forgets a weight that is taken away, but does not tell the kernel. */
TEST(weights_that_the_kernel_keeps)
{
#define OBJECT SCOPE "/IODeviceWeight 8:0"
#define SCOPE  "machine-qemu\\x2d1\\x2dx.scope"
#define GROUP  "sys/fs/cgroup/machine.slice/" SCOPE
#define KEPT   "default 100\n8:0 300\n"
	struct root t;

	root_init(&t);
	t.fs.real = true; /* what is there of a group is in the tree, the rest at the manager's */
	unit_bus = &fake_bus;
	root_put(&t, "proc/mounts", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n");
	root_put(&t, "sys/fs/cgroup/cgroup.controllers", "io\n");
	root_put(&t, GROUP "/io.weight", KEPT);
	manager.device[0] = UINT64_MAX;
	IS_INT(be_unit.write(&t.fs, OBJECT, "300"), 0);
	IS_STR(root_get(&t, GROUP "/io.weight"), KEPT); /* systemd's part */
	/* as the kernel is told; a file that is not there is none */
	IS_INT(be_unit.write(&t.fs, OBJECT, "unset"), 0);
	IS_STR(root_get(&t, GROUP "/io.weight"), "8:0 default\n");
	OK(!hostfs_exists(&t.fs, GROUP "/io.bfq.weight"));
	OK(manager.device[0] == UINT64_MAX);
	/* a manager that does not answer: the entry stays, and so does what tells that it is ours */
	root_put(&t, GROUP "/io.bfq.weight", KEPT);
	IS_INT(be_unit.write(&t.fs, OBJECT, "300"), 0);
	manager.error = -ETIMEDOUT;
	IS_INT(be_unit.write(&t.fs, OBJECT, "unset"), -ETIMEDOUT);
	manager.error = 0;
	is_value(&be_unit, &t.fs, OBJECT, "300");
	IS_INT(be_unit.write(&t.fs, OBJECT, "unset"), 0);
	IS_STR(root_get(&t, GROUP "/io.bfq.weight"), "8:0 default\n");
	/* limits are told by systemd itself; a unit without a group has nothing to be forgotten */
	root_put(&t, GROUP "/io.weight", KEPT);
	IS_INT(be_unit.write(&t.fs, SCOPE "/IOReadBandwidthMax 8:0", "unset"), 0);
	manager.no_group = true;
	IS_INT(be_unit.write(&t.fs, OBJECT, "unset"), 0);
	manager.no_group = false;
	IS_STR(root_get(&t, GROUP "/io.weight"), KEPT);
	root_fini(&t);
#undef OBJECT
#undef SCOPE
#undef GROUP
#undef KEPT
}

TEST(unit_property)
{
	static const char object[] = "machine-qemu\\x2d1\\x2dx.scope/CPUWeight";
	struct hostfs fs = HOSTFS_INIT;
	char buf[64];
	struct root t;

	IS_INT(hostfs_init(&fs, NULL, NULL), 0);
	unit_bus = &fake_bus;
	manager.weight = UINT64_MAX;
	IS_INT(be_unit.probe(&fs, object), 0);
	IS_STR(manager.interface, "org.freedesktop.systemd1.Scope");
	is_value(&be_unit, &fs, object, "unset");
	IS_INT(be_unit.write(&fs, object, "200"), 0);
	is_value(&be_unit, &fs, object, "200");
	IS_INT(be_unit.write(&fs, object, "unset"), 0);
	OK(manager.weight == UINT64_MAX);
	is_value(&be_unit, &fs, object, "unset");
	IS_INT(be_unit.write(&fs, object, "-1"), -EINVAL);
	IS_INT(be_unit.write(&fs, object, ""), -EINVAL);
	IS_INT(be_unit.read(&fs, object, buf, 5), -EFBIG);
	OK(manager.weight == UINT64_MAX);

	IS_INT(be_unit.probe(&fs, "other.scope/CPUWeight"), -ENOENT);
	IS_INT(be_unit.write(&fs, "other.scope/CPUWeight", "1"), -ENOENT);
	IS_INT(be_unit.probe(&fs, "machine-qemu\\x2d1\\x2dx.scope/Colour"), -EOPNOTSUPP);
	IS_INT(be_unit.probe(&fs, "a.mount/CPUWeight"), -EOPNOTSUPP);
	IS_INT(be_unit.probe(&fs, "/CPUWeight"), -EINVAL);
	IS_INT(be_unit.probe(&fs, "a.scope/"), -EINVAL);
	IS_INT(be_unit.probe(&fs, "a.scope"), -EINVAL);
	manager.error = -ETIMEDOUT;
	IS_INT(be_unit.read(&fs, object, buf, sizeof(buf)), -ETIMEDOUT);
	hostfs_fini(&fs);

	/* The bus is this host's, not the one of a captured tree. */
	manager.error = 0;
	root_init(&t);
	IS_INT(be_unit.probe(&t.fs, object), -EOPNOTSUPP);
	IS_INT(be_unit.write(&t.fs, object, "1"), -EOPNOTSUPP);
	root_fini(&t);
}

/* No bus at that address: a quick answer, and the same the second time. */
TEST(no_bus)
{
	uint64_t value = 7;

	(void)setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
	for (int i = 0; i < 2; i++) {
		IS_INT(unit_bus_system.get("a.scope", "org.freedesktop.systemd1.Scope", "CPUWeight", &value),
		       -EOPNOTSUPP);
		IS_INT(unit_bus_system.set("a.scope", "CPUWeight", 1), -EOPNOTSUPP);
		IS_INT(unit_bus_system.get_device("a.scope", "x.Scope", "IODeviceWeight", "/dev/x", &value), -EOPNOTSUPP);
		IS_INT(unit_bus_system.set_device("a.scope", "x.Scope", "IODeviceWeight", "/dev/x", 1), -EOPNOTSUPP);
	}
	IS_INT(value, 7);
}

TEST(what_ends_with_the_domain)
{
	OK(be_cgkey.ends_with_domain && be_cgroup.ends_with_domain && be_thread.ends_with_domain && be_unit.ends_with_domain);
}

/* As the kernel prints and takes them: bitmap_parse(), lib/bitmap-str.c. */
TEST(masks)
{
	static const struct {
		const char *file, *list, *written;
	} cases[] = {
		{"0\n", "", "0\n"},
		{"00000000,00000000\n", "", "0\n"},
		{"\n", "", "0\n"},
		{"1\n", "0", "1\n"},
		{"f\n", "0-3", "f\n"},
		{"00000001,80000000\n", "31-32", "1,80000000\n"},
		{"ffffffff,00000000,00000001\n", "0,64-95", "ffffffff,00000000,00000001\n"},
	};
	static const char *const bad[] = {"x\n", "1,\n", ",1\n", "123456789\n"};
	char buf[64];
	struct root r;

	root_init(&r);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		root_put(&r, "sys/x", cases[i].file);
		IS_INT(be_mask.read(&r.fs, "sys/x", buf, sizeof(buf)), strlen(cases[i].list));
		IS_STR(buf, cases[i].list);
		IS_INT(be_mask.write(&r.fs, "sys/x", cases[i].list), 0);
		IS_STR(root_get(&r, "sys/x"), cases[i].written);
	}
	IS_INT(be_mask.write(&r.fs, "sys/x", "0-8191"), 0);
	is_value(&be_mask, &r.fs, "sys/x", "0-8191");
	IS_INT(strlen(root_get(&r, "sys/x")), 256 * 9);
	IS_INT(be_mask.write(&r.fs, "sys/x", "nonsense"), -EINVAL);
	IS_INT(be_mask.probe(&r.fs, "sys/x"), 0);
	IS_INT(be_mask.probe(&r.fs, "sys/y"), -ENOENT);
	/* a network device's, if it is still that one */
	root_put(&r, "sys/class/net/vnet0/ifindex", "17\n");
	root_put(&r, "sys/class/net/vnet0/queues/rx-0/rps_cpus", "3\n");
	is_value(&be_mask, &r.fs, "sys/class/net/vnet0:17/queues/rx-0/rps_cpus", "0-1");
	IS_INT(be_mask.probe(&r.fs, "sys/class/net/vnet0:17/queues/rx-0/rps_cpus"), 0);
	IS_INT(be_mask.write(&r.fs, "sys/class/net/vnet0:17/queues/rx-0/rps_cpus", "2"), 0);
	IS_INT(be_mask.write(&r.fs, "sys/class/net/vnet0:18/queues/rx-0/rps_cpus", "3"), -ENOENT);
	IS_INT(be_mask.probe(&r.fs, "sys/class/net/vnet0:18/queues/rx-0/rps_cpus"), -ENOENT);
	IS_INT(be_mask.read(&r.fs, "sys/class/net/vnet1:17/queues/rx-0/rps_cpus", buf, sizeof(buf)), -ENOENT);
	IS_INT(be_mask.read(&r.fs, "sys/class/net/vnet0:x/queues/rx-0/rps_cpus", buf, sizeof(buf)), -EINVAL);
	IS_STR(root_get(&r, "sys/class/net/vnet0/queues/rx-0/rps_cpus"), "4\n");
	IS_INT(be_mask.read(&r.fs, "sys/y", buf, sizeof(buf)), -ENOENT);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		root_put(&r, "sys/x", bad[i]);
		IS_INT(be_mask.read(&r.fs, "sys/x", buf, sizeof(buf)), -EINVAL);
	}
	root_fini(&r);
}

TAP_MAIN

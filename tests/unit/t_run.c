/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tap.h"

#include "common/paths.h"
#include "common/step.h"
#include "root_bytes.h"

#define PID   4711
#define SCOPE "machine-qemu\\x2d3\\x2dweb1.scope"

static const char mounts_v1[] = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"
				"cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n"
				"cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
				"cgroup /sys/fs/cgroup/blkio cgroup rw,blkio 0 0\n";
static const char mounts_v2[] = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";

/* A thread as /proc shows it. Start times are 100 + tid, so that a mix-up is seen. */
static void put_thread(struct root *t, int tid, const char *comm, const char *cgroup)
{
	char path[128], stat[512];

	(void)snprintf(stat, sizeof(stat), "%d (%s) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 %d 20 21\n", tid,
		       comm, 100 + tid);
	(void)snprintf(path, sizeof(path), "proc/%d/task/%d/stat", PID, tid);
	root_put(t, path, stat);
	(void)snprintf(path, sizeof(path), "proc/%d/task/%d/cgroup", PID, tid);
	if (cgroup)
		root_put(t, path, cgroup);
	if (tid == PID) {
		(void)snprintf(path, sizeof(path), "proc/%d/stat", tid);
		root_put(t, path, stat);
	}
}

static void put_group(struct root *t, int tid, const char *comm, const char *group)
{
	char text[512];

	(void)snprintf(text, sizeof(text),
		       "5:cpuset:/machine/q/%s\n4:cpu,cpuacct:/machine/q/%s\n3:memory:/machine/q\n"
		       "2:blkio:/elsewhere\n",
		       group, group);
	put_thread(t, tid, comm, text);
}

static void put_v2(struct root *t)
{
	root_put(t, "proc/mounts", mounts_v2);
	root_put(t, "sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory\n");
	put_thread(t, PID, "qemu-system-x86", "0::/machine.slice/" SCOPE "/libvirt/emulator\n");
	put_thread(t, PID + 1, "CPU 0/KVM", "0::/machine.slice/" SCOPE "/libvirt/vcpu0\n");
}

static const struct run_thread *thread(const struct run *r, int tid)
{
	for (unsigned int i = 0; i < r->n_threads; i++)
		if (r->threads[i].tid == tid)
			return &r->threads[i];
	return NULL;
}

static const struct cgroup_paths *groups_of(const struct run *r, int tid)
{
	static const struct cgroup_paths none;
	const struct run_thread *t = thread(r, tid);

	return t ? t->groups : &none;
}

static void is_thread(const struct run *r, int tid, enum run_thread_kind kind, unsigned int number)
{
	const struct run_thread *t = thread(r, tid);

	if (!t) {
		TAP_FAIL("no thread %d", tid);
		return;
	}
	IS_INT(t->start, 100 + tid);
	IS_INT(t->kind, kind);
	IS_INT(t->number, number);
}

TEST(v1_without_machined)
{
	struct run r;
	struct root t;

	root_init(&t);
	root_put(&t, "proc/mounts", mounts_v1);
	root_put(&t, "proc/sys/kernel/osrelease", "6.1.0-18-amd64\n");
	root_put(&t, PATH_LIBVIRT_RUN "/web1.pid", "4711\n");
	root_put(&t, "sys/fs/cgroup/cpu,cpuacct/machine/q/cpu.cfs_period_us", "50000\n");
	put_group(&t, 4720, "worker", "iothread2"); /* started by the I/O thread, not the emulator */
	put_group(&t, PID, "qemu-system-x86", "emulator");
	put_group(&t, 4712, "call_rcu", "emulator");
	put_group(&t, 4713, "IO mon_iothread", "emulator");
	put_group(&t, 4714, "IO iothread2", "iothread2");
	put_group(&t, 4715, "CPU 0/KVM", "vcpu0");
	put_group(&t, 4716, "CPU 11/TCG", "vcpu11");
	put_group(&t, 4717, "IO iothread1234", "iothread12345"); /* comm has 15 characters */
	put_group(&t, 4718, "a) S (CPU 3/KVM", "emulator");      /* QEMU may call its threads what it likes */
	put_group(&t, 4719, "CPU x/KVM", "emulator");
	root_put(&t, "proc/4711/task/4721/stat", "torn");
	IS_INT(run_find(&t.fs, "web1", &r, NULL), 0);
	IS_INT(r.pid, PID);
	IS_INT(r.start, 100 + PID);
	IS_INT(r.kernel, 601);
	IS_INT(r.period_us, 50000);
	IS_INT(r.n_threads, 10);
	IS_INT(r.threads[0].tid, PID);
	is_thread(&r, PID, RUN_EMULATOR, 0);
	is_thread(&r, 4712, RUN_EMULATOR, 0);
	is_thread(&r, 4713, RUN_EMULATOR, 0);
	is_thread(&r, 4714, RUN_IOTHREAD, 2);
	is_thread(&r, 4715, RUN_VCPU, 0);
	is_thread(&r, 4716, RUN_VCPU, 11);
	is_thread(&r, 4717, RUN_IOTHREAD, 12345);
	is_thread(&r, 4718, RUN_EMULATOR, 0);
	is_thread(&r, 4719, RUN_EMULATOR, 0);
	is_thread(&r, 4720, RUN_IOTHREAD, 2);
	OK(groups_of(&r, 4720) == groups_of(&r, 4714));
	OK(groups_of(&r, 4712) == groups_of(&r, PID));
	IS_INT(r.n_groups, 5);
	IS_STR(groups_of(&r, 4716)->at[CGROUP_CPUSET], "sys/fs/cgroup/cpuset/machine/q/vcpu11");
	IS_STR(r.domain_group[CGROUP_CPU], "sys/fs/cgroup/cpu,cpuacct/machine/q");
	IS_STR(r.domain_group[CGROUP_CPUSET], "sys/fs/cgroup/cpuset/machine/q");
	IS_STR(r.domain_group[CGROUP_MEMORY], "sys/fs/cgroup/memory/machine/q");
	IS_STR(r.domain_group[CGROUP_IO], ""); /* not the domain's */
	IS_STR(r.scope, "");
	run_fini(&r);
	root_fini(&t);
}

TEST(v2_with_machined)
{
	struct run r;
	struct root t;

	root_init(&t);
	put_v2(&t);
	root_put(&t, PATH_LIBVIRT_RUN "/web1.pid", "4711");
	root_put(&t, "sys/fs/cgroup/machine.slice/" SCOPE "/libvirt/cpu.max", "max 20000\n");
	IS_INT(run_find(&t.fs, "web1", &r, NULL), 0);
	for (unsigned int c = 0; c < CGROUP_CONTROLLER_MAX; c++)
		IS_STR(r.domain_group[c], "sys/fs/cgroup/machine.slice/" SCOPE "/libvirt");
	IS_STR(r.scope, SCOPE);
	IS_INT(r.kernel, 0); /* not known */
	IS_INT(r.period_us, 20000);
	run_fini(&r);
	root_fini(&t);
}

/* Without groups of libvirt's the threads are in its own, or in a login session: neither is the domain's. */
TEST(groups_of_others_are_not_ours)
{
	static const char *const groups[] = {"0::/system.slice/libvirtd.service\n", "0::/user.slice/session-3.scope\n",
					     "0::/\n", NULL};
	struct run r;
	struct root t;

	root_init(&t);
	put_v2(&t);
	root_put(&t, PATH_LIBVIRT_RUN "/web1.pid", "4711");
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		if (groups[i]) {
			put_thread(&t, PID, "qemu-system-x86", groups[i]);
			put_thread(&t, PID + 1, "CPU 0/KVM", groups[i]);
		} else {
			root_remove(&t, "proc/4711/task/4711/cgroup");
			root_remove(&t, "proc/4711/task/4712/cgroup");
		}
		IS_INT(run_find(&t.fs, "web1", &r, NULL), 0);
		for (unsigned int c = 0; c < CGROUP_CONTROLLER_MAX; c++)
			IS_STR(r.domain_group[c], "");
		IS_STR(r.scope, "");
		IS_INT(r.period_us, 100000);
		is_thread(&r, PID + 1, RUN_VCPU, 0);
		run_fini(&r);
	}
	root_fini(&t);
}

/* No cgroup file system, an unreadable release: threads are found all the same. */
TEST(nothing_mounted)
{
	static const struct {
		const char *release;
		unsigned int kernel;
	} cases[] = {{"5.10.0", 510}, {"6.12", 612}, {"7.0-rc1", 700}, {"six", 0},
		     {"6", 0},        {"", 0},       {"6.x", 0},       {"6.123.1", 0}};
	struct run r;
	struct root t;

	root_init(&t);
	put_thread(&t, PID, "qemu-system-x86", "0::/a\n");
	put_thread(&t, PID + 1, "ALL CPUs/TCG", "0::/a\n");
	root_put(&t, PATH_LIBVIRT_RUN "/web1.pid", "4711");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		root_put(&t, "proc/sys/kernel/osrelease", cases[i].release);
		IS_INT(run_find(&t.fs, "web1", &r, NULL), 0);
		IS_INT(r.kernel, cases[i].kernel);
		is_thread(&r, PID + 1, RUN_EMULATOR, 0);
		IS_STR(r.threads[0].groups->at[CGROUP_CPUSET], "");
		run_fini(&r);
	}
	root_fini(&t);
}

TEST(names)
{
	static const char *const good[] = {"a b", "-rm", "..", ".", "x;y", "\xc3\xa9", "$(id)", "a\nb", "%s%n"};
	static const char *const bad[] = {"", "a/b", "../x", "/etc/passwd"};
	char path[300], longest[300];
	struct err e = ERR_INIT;
	struct run r;
	struct root t;

	root_init(&t);
	put_v2(&t);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		IS_INT(run_find(&t.fs, good[i], &r, &e), -ESRCH);
		(void)snprintf(path, sizeof(path), PATH_LIBVIRT_RUN "/%s.pid", good[i]);
		root_put(&t, path, "4711");
		IS_INT(run_find(&t.fs, good[i], &r, &e), 0);
		run_fini(&r);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		IS_INT(run_find(&t.fs, bad[i], &r, &e), -EINVAL);
	memset(longest, 'n', sizeof(longest));
	longest[251] = '\0'; /* with ".pid" 255, NAME_MAX */
	IS_INT(run_find(&t.fs, longest, &r, &e), -ESRCH);
	longest[251] = 'n';
	longest[252] = '\0';
	IS_INT(run_find(&t.fs, longest, &r, &e), -EINVAL);
	root_fini(&t);
}

TEST(pid_files)
{
	static const char *const bad[] = {"", "0", "-1", "4712", "4711 x", "99999999999", "4711\n4712", "x"};
	struct err e = ERR_INIT;
	struct run r;
	struct root t;

	root_init(&t);
	put_v2(&t);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		root_put(&t, PATH_LIBVIRT_RUN "/web1.pid", bad[i]);
		e = ERR_INIT;
		IS_INT(run_find(&t.fs, "web1", &r, &e), -ESRCH);
		OK(e.text[0] != '\0');
	}
	root_fini(&t);
}

/* The pid in a stale file may be another guest's by now. */
TEST(stale_pid_file)
{
	static const struct {
		const char *name, *guest;
		int result;
	} cases[] = {
		{"web1", "guest=web1,debug-threads=on", 0},
		{"web1", "guest=web1", 0},
		{"web1", "guest=web12,debug-threads=on", -ESRCH},
		{"web12", "guest=web1,debug-threads=on", -ESRCH},
		{"web1", "guest=,debug-threads=on", -ESRCH},
		{"a,b", "guest=a,,b,debug-threads=on", 0},
		{"a,", "guest=a,,,debug-threads=on", 0},
		{"a", "guest=a,,b,debug-threads=on", -ESRCH},
		{"a,b", "guest=a,b", -ESRCH},
		{"web1", "something=else", 0}, /* not libvirt's spelling: nothing is known */
	};
	char path[128], argv[256];
	struct run r;
	struct root t;

	root_init(&t);
	put_v2(&t);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int n = snprintf(argv, sizeof(argv), "qemu%c-name%c%s%c-S", 0, 0, cases[i].guest, 0);

		root_put_bytes(&t, "proc/4711/cmdline", argv, (size_t)n + 1);
		(void)snprintf(path, sizeof(path), PATH_LIBVIRT_RUN "/%s.pid", cases[i].name);
		root_put(&t, path, "4711");
		IS_INT(run_find(&t.fs, cases[i].name, &r, NULL), cases[i].result);
		if (cases[i].result == 0)
			run_fini(&r);
	}
	/* a command line that ends in the middle */
	root_put_bytes(&t, "proc/4711/cmdline", "qemu\0-name", 10);
	IS_INT(run_find(&t.fs, "web1", &r, NULL), 0);
	run_fini(&r);
	root_fini(&t);
}

TEST(threads_without_names)
{
	struct err e = ERR_INIT;
	struct run r;
	struct root t;

	root_init(&t);
	put_v2(&t);
	root_put(&t, PATH_LIBVIRT_RUN "/web1.pid", "4711");
	put_thread(&t, PID + 1, "qemu-system-x86", "0::/machine.slice/" SCOPE "/libvirt/emulator\n");
	IS_INT(run_find(&t.fs, "web1", &r, &e), -EINVAL);
	OK(strstr(e.text, "debug-threads") != NULL);
	/* Groups tell them as well. */
	put_thread(&t, PID + 1, "qemu-system-x86", "0::/machine.slice/" SCOPE "/libvirt/vcpu3\n");
	IS_INT(run_find_groups(&t.fs, "web1", &r, &e), 0);
	IS_INT(r.n_threads, 2);
	IS_INT(r.threads[1].kind, RUN_VCPU);
	IS_INT(r.threads[1].number, 3);
	OK(r.threads[0].start != 0 && r.threads[1].start == 0);
	run_read_starts(&t.fs, &r);
	IS_INT(r.n_threads, 2);
	IS_INT(r.threads[1].start, 100 + PID + 1);
	/* One that has gone before its start was read is none any more. */
	r.threads[1].start = 0;
	(void)hostfs_unlink(&t.fs, "proc/%d/task/%d/stat", PID, PID + 1);
	run_read_starts(&t.fs, &r);
	IS_INT(r.n_threads, 1);
	run_fini(&r);
	root_fini(&t);
}

/* The process ends while it is looked at. */
TEST(process_vanishes)
{
	struct err e = ERR_INIT;
	struct run r;
	struct root t;

	root_init(&t);
	root_put(&t, PATH_LIBVIRT_RUN "/web1.pid", "4711");
	root_put(&t, "proc/4711/stat", "4711 (q) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4811 20\n");
	IS_INT(run_find(&t.fs, "web1", &r, &e), -ESRCH);
	root_mkdir(&t, "proc/4711/task/4711");
	IS_INT(run_find(&t.fs, "web1", &r, &e), -ESRCH);
	root_fini(&t);
}

TEST(many_threads)
{
	struct run r;
	struct root t;

	root_init(&t);
	put_v2(&t);
	root_put(&t, PATH_LIBVIRT_RUN "/web1.pid", "4711");
	for (int i = 0; i < 300; i++) {
		char comm[32], group[128];

		(void)snprintf(comm, sizeof(comm), "CPU %d/KVM", i);
		(void)snprintf(group, sizeof(group), "0::/machine.slice/" SCOPE "/libvirt/vcpu%d\n", i);
		put_thread(&t, PID + 300 - i, comm, group);
	}
	IS_INT(run_find(&t.fs, "web1", &r, NULL), 0);
	IS_INT(r.n_threads, 301);
	for (unsigned int i = 1; i < r.n_threads; i++) {
		OK(r.threads[i].tid > r.threads[i - 1].tid);
		is_thread(&r, (int)(PID + i), RUN_VCPU, 300 - i);
	}
	run_fini(&r);
	run_fini(&r); /* once more does nothing */
	root_fini(&t);
}

/* Taps are read for plans that are about them only, with the queues that they have. */
TEST(taps_and_their_queues)
{
	static const char argv[] = "qemu\0-netdev\0{\"type\":\"tap\",\"fds\":\"30:31\",\"id\":\"hostnet0\"}\0"
				   "-device\0{\"driver\":\"virtio-net-pci\",\"netdev\":\"hostnet0\",\"id\":\"net0\","
				   "\"mac\":\"52:54:00:00:00:01\"}";
	static const char *const queues[] = {"rx-0", "rx-1", "tx-0", "tx-1", "tx-2", "rx-x", "other"};
	struct run run = {.pid = PID};
	struct plan p = {0};
	struct root t;

	root_init(&t);
	root_put_bytes(&t, "proc/4711/cmdline", argv, sizeof(argv));
	root_mkdir(&t, "proc/4711/fd");
	for (int fd = 30; fd <= 31; fd++) {
		char path[64];

		(void)snprintf(path, sizeof(path), "proc/4711/fd/%d", fd);
		IS_INT(symlinkat("/dev/net/tun", t.fs.fd, path), 0);
		(void)snprintf(path, sizeof(path), "proc/4711/fdinfo/%d", fd);
		root_put(&t, path, "pos:\t0\niff:\tvnet7\n");
	}
	root_put(&t, "sys/class/net/vnet7/ifindex", "12\n");
	for (size_t i = 0; i < ARRAY_SIZE(queues); i++) {
		char path[64];

		(void)snprintf(path, sizeof(path), "sys/class/net/vnet7/queues/%s", queues[i]);
		root_mkdir(&t, path);
	}
	run_read_taps(&t.fs, &run, &p, false);
	IS_INT(run.n_taps, 0);
	IS_INT(plan_add_setting(&p, "interface.rx-ring", "eth0", STAGE_PREPARE, "512", "", ""), 0);
	run_read_taps(&t.fs, &run, &p, false);
	IS_INT(run.n_taps, 0);
	IS_INT(plan_add_setting(&p, "interface.steering", "52:54:00:00:00:01", STAGE_STARTED, "0", "", ""), 0);
	for (int starts = 0; starts <= 1; starts++) {
		run_read_taps(&t.fs, &run, &p, starts);
		IS_INT(run.n_taps, 1);
		IS_STR(run.taps[0].tap.name, "vnet7");
		IS_STR(run.taps[0].tap.mac, "52:54:00:00:00:01");
		IS_INT(run.taps[0].tap.ifindex, 12);
		IS_INT(run.taps[0].n_rxq, 2);
		IS_INT(run.taps[0].n_txq, 3);
	}
	run.pid++; /* gone */
	run_read_taps(&t.fs, &run, &p, false);
	IS_INT(run.n_taps, 0);
	run_fini(&run);
	plan_fini(&p);
	root_fini(&t);
}

/* Only where real-time threads are to be made, and only of v1 groups of vCPUs. */
TEST(budgets)
{
	static const struct {
		const char *budget; /* NULL: the kernel does not count */
		bool realtime, none;
	} rows[] = {{"0\n", true, true}, {"0\n", false, false}, {"100000\n", true, false}, {"-1\n", true, false},
		    {NULL, true, false}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct plan p = {.id = -1};
		struct run_thread threads[] = {{.tid = 1, .kind = RUN_EMULATOR}, {.tid = 2, .kind = RUN_VCPU}};
		struct cgroup_paths groups = {0};
		struct run r = {.threads = threads, .n_threads = 2};
		struct root t;

		root_init(&t);
		(void)snprintf(groups.at[CGROUP_CPU], sizeof(groups.at[CGROUP_CPU]), "sys/fs/cgroup/cpu/machine/q/vcpu0");
		threads[0].groups = threads[1].groups = &groups;
		r.layout.at[CGROUP_CPU].version = 1;
		root_put(&t, "sys/fs/cgroup/cpu/machine/q/vcpu0/cpu.shares", "1024\n");
		if (rows[i].budget)
			root_put(&t, "sys/fs/cgroup/cpu/machine/q/vcpu0/cpu.rt_runtime_us", rows[i].budget);
		if (rows[i].realtime)
			IS_INT(plan_add_setting(&p, "cpu.priority", "vcpu0", STAGE_STARTED, "1", "x", "x"), 0);
		run_read_budgets(&t.fs, &r, &p);
		IS_INT(threads[1].no_budget, rows[i].none);
		OK(!threads[0].no_budget);
		r.layout.at[CGROUP_CPU].version = 2;
		run_read_budgets(&t.fs, &r, &p);
		OK(!threads[1].no_budget);
		plan_fini(&p);
		root_fini(&t);
	}
}

/* --- vhost workers ---------------------------------------------------------------------------------------------- */

#define FLAGS_KTHREAD "2129984" /* 0x208040: PF_KTHREAD and others, as Linux 6.1 shows vhost workers */

/* A process of its own; field 9 of its stat are the flags. */
static void put_process(struct root *t, int pid, const char *comm, const char *flags)
{
	char path[128], stat[512];

	(void)snprintf(stat, sizeof(stat), "%d (%s) S 2 0 0 0 -1 %s 8 9 10 11 12 13 14 15 16 17 18 19 %d 20 21\n", pid, comm,
		       flags, 100 + pid);
	(void)snprintf(path, sizeof(path), "proc/%d/stat", pid);
	root_put(t, path, stat);
	(void)snprintf(path, sizeof(path), "proc/%d/task/%d", pid, pid);
	root_mkdir(t, path);
}

static void put_workers(struct root *t, const char *kernel)
{
	root_init(t);
	root_put(t, "proc/sys/kernel/osrelease", kernel);
	root_put(t, PATH_LIBVIRT_RUN "/web1.pid", "4711");
	put_process(t, 900, "vhost-4711", FLAGS_KTHREAD);
	put_process(t, 901, "vhost-4711", "64");          /* a program that calls itself so */
	put_process(t, 902, "vhost-999", FLAGS_KTHREAD);  /* another guest's */
	put_process(t, 903, "kworker/0:1", FLAGS_KTHREAD);
	put_process(t, 904, "passt", "64");
}

static void is_worker(const struct run *r, int pid)
{
	const struct run_thread *x = thread(r, pid);

	is_thread(r, pid, RUN_EMULATOR, 0);
	OK(x && x->is_process && !x->is_fixed);
	OK(x && x->groups == r->threads[0].groups);
}

/* Up to Linux 6.3: the list of the emulator's group names them, for either version of control groups. */
TEST(vhost_workers_of_the_kernel)
{
	for (int version = 1; version <= 2; version++) {
		uint64_t seen;
		struct run r;
		struct root t;
		const char *list = version == 1 ? "sys/fs/cgroup/cpuset/machine/q/emulator/tasks"
						: "sys/fs/cgroup/machine.slice/" SCOPE "/libvirt/emulator/cgroup.threads";

		put_workers(&t, "6.1.0-18-amd64\n");
		if (version == 1) {
			root_put(&t, "proc/mounts", mounts_v1);
			put_group(&t, PID, "qemu-system-x86", "emulator");
			put_group(&t, PID + 1, "CPU 0/KVM", "vcpu0");
		} else {
			put_v2(&t);
		}
		root_put(&t, list, "4711\n900\n901\n903\n904\n0\n77777\n");
		IS_INT(run_find(&t.fs, "web1", &r, NULL), 0);
		IS_INT(r.n_threads, 3);
		is_worker(&r, 900);
		IS_STR(r.workers, list);
		IS_INT(run_look(&t.fs, PID, r.workers, &seen), 0);
		OK(seen == r.tasks);
		root_put(&t, list, "4711\n900\n901\n903\n904\n0\n77777\n905\n");
		IS_INT(run_look(&t.fs, PID, r.workers, &seen), 0);
		OK(seen != r.tasks);
		run_fini(&r);
		root_fini(&t);
	}
}

/* Linux 6.4: threads of QEMU's, and nobody reads a list; 6.17 may have either. */
TEST(vhost_workers_that_are_threads)
{
	static const struct {
		const char *kernel;
		bool looks;
	} cases[] = {{"6.4.0\n", false}, {"6.12.3\n", false}, {"6.16\n", false}, {"6.17.0\n", true}, {"7.0.1\n", true},
		     {"5.10.0\n", true}, {"6.3.9\n", true}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct run r;
		struct root t;

		put_workers(&t, cases[i].kernel);
		put_v2(&t);
		put_thread(&t, PID + 2, "vhost-4711", "0::/machine.slice/" SCOPE "/libvirt/emulator\n");
		root_put(&t, "sys/fs/cgroup/machine.slice/" SCOPE "/libvirt/emulator/cgroup.threads", "4711\n4713\n900\n");
		IS_INT(run_find(&t.fs, "web1", &r, NULL), 0);
		IS_INT(r.n_threads, cases[i].looks ? 4 : 3);
		is_thread(&r, PID + 2, RUN_EMULATOR, 0);
		OK(thread(&r, PID + 2) && !thread(&r, PID + 2)->is_process);
		OK(!*r.workers == !cases[i].looks);
		run_fini(&r);
		root_fini(&t);
	}
}

/* Without groups of libvirt's: all processes, by QEMU's number, if QEMU has a vhost device open. */
TEST(vhost_workers_without_groups)
{
	for (int open = 0; open <= 1; open++) {
		struct run r;
		struct root t;

		put_workers(&t, "5.15.0\n");
		root_put(&t, "proc/mounts", mounts_v2);
		put_thread(&t, PID, "qemu-system-x86", "0::/system.slice/libvirtd.service\n");
		put_thread(&t, PID + 1, "CPU 0/KVM", "0::/system.slice/libvirtd.service\n");
		root_mkdir(&t, "proc/4711/fd");
		IS_INT(symlinkat("/dev/kvm", t.fs.fd, "proc/4711/fd/9"), 0);
		if (open)
			IS_INT(symlinkat("/dev/vhost-net", t.fs.fd, "proc/4711/fd/30"), 0);
		IS_INT(run_find(&t.fs, "web1", &r, NULL), 0);
		IS_INT(r.n_threads, open ? 3 : 2);
		if (open)
			is_worker(&r, 900);
		IS_STR(r.workers, "");
		run_fini(&r);
		root_fini(&t);
	}
}

TEST(a_thread_that_comes_or_goes_is_seen)
{
	uint64_t now;
	struct run r;
	struct root t;

	root_init(&t);
	put_v2(&t);
	root_put(&t, PATH_LIBVIRT_RUN "/web1.pid", "4711");
	root_put(&t, "proc/sys/kernel/osrelease", "6.12.0\n");
	IS_INT(run_find_groups(&t.fs, "web1", &r, NULL), 0);
	IS_INT(run_look(&t.fs, PID, r.workers, &now), 0);
	OK(now == r.tasks);
	put_thread(&t, PID + 9, "CPU 1/KVM", NULL);
	IS_INT(run_look(&t.fs, PID, r.workers, &now), 0);
	OK(now != r.tasks);
	IS_INT(run_look(&t.fs, PID + 1, r.workers, &now), -ESRCH);
	run_fini(&r);
	root_fini(&t);
}

/* Workers of io_uring up to Linux 6.2: PF_NO_SETAFFINITY, found when start times are. */
TEST(threads_that_stay_where_they_are)
{
	struct run r;
	struct root t;

	root_init(&t);
	put_v2(&t);
	root_put(&t, PATH_LIBVIRT_RUN "/web1.pid", "4711");
	put_thread(&t, PID + 2, "iou-wrk-4711", "0::/machine.slice/" SCOPE "/libvirt/emulator\n");
	put_thread(&t, PID + 3, "iou-wrk-4714", "0::/machine.slice/" SCOPE "/libvirt/iothread1\n");
	for (int tid = PID + 2; tid <= PID + 3; tid++) {
		char path[64], stat[256];

		(void)snprintf(path, sizeof(path), "proc/4711/task/%d/stat", tid);
		(void)snprintf(stat, sizeof(stat), "%d (iou-wrk-1) S 1 1 1 0 -1 71303232 0 0 0 0 0 0 0 0 20 0 1 0 %d 0\n", tid,
			       100 + tid); /* 0x4400040 */
		root_put(&t, path, stat);
	}
	IS_INT(run_find(&t.fs, "web1", &r, NULL), 0);
	is_thread(&r, PID + 2, RUN_EMULATOR, 0);
	is_thread(&r, PID + 3, RUN_IOTHREAD, 1);
	OK(thread(&r, PID + 2)->is_fixed);
	OK(thread(&r, PID + 3)->is_fixed);
	OK(!thread(&r, PID + 1)->is_fixed);
	run_fini(&r);
	root_fini(&t);
}

/* Threads of the kernel: those that may be moved, and whose they are. */
static void put_kthread(struct root *t, int tid, const char *comm, int parent, unsigned int flags)
{
	char path[64], text[256];

	(void)snprintf(text, sizeof(text), "%d (%s) S %d 0 0 0 -1 %u 10 11 12 13 14 15 16 17 18 19 20 21 %d 23\n", tid, comm,
		       parent, flags, 100 + tid);
	(void)snprintf(path, sizeof(path), "proc/%d/stat", tid);
	root_put(t, path, text);
}

#define KTHREAD 0x00200000u
#define BOUND   (KTHREAD | 0x04000000u)

TEST(threads_of_the_kernel)
{
	struct plan p = {.id = -1};
	struct run r = {.pid = PID};
	struct root t;

	root_init(&t);
	put_kthread(&t, 2, "kthreadd", 0, KTHREAD);
	put_kthread(&t, 14, "rcu_preempt", 2, KTHREAD);
	put_kthread(&t, 15, "migration/0", 2, BOUND);
	put_kthread(&t, 16, "a ) b", 2, KTHREAD);
	put_kthread(&t, 17, "irq/9-acpi", 2, KTHREAD);
	put_kthread(&t, 18, "kvm-pit/4711", 2, KTHREAD);
	put_kthread(&t, 19, "kvm-pit/4712", 2, KTHREAD);
	put_kthread(&t, 20, "vhost-4711", 2, KTHREAD);
	put_kthread(&t, 21, "kvm-nx-lpage-re", 2, KTHREAD);
	root_put(&t, "proc/21/comm", "kvm-nx-lpage-recovery-4711\n");
	put_kthread(&t, 22, "kvm-nx-lpage-re", 2, KTHREAD);
	root_put(&t, "proc/22/comm", "kvm-nx-lpage-re\n"); /* before Linux 5.17: whose it is cannot be told */
	put_kthread(&t, 30, "bash", 2, 0x400000); /* a container's number 2 is no kthreadd */
	put_kthread(&t, 31, "init", 1, 0);
	run_read_kthreads(&t.fs, &r, &p); /* nobody asks */
	IS_INT(r.n_kthreads, 0);
	IS_INT(plan_add_setting(&p, "cpu.policy", "kernel-threads", STAGE_STARTED, "2", "annotation", "for a test"), 0);
	for (int named = 0; named <= 1; named++) {
		char seen[128] = "";

		if (named)
			root_put(&t, "proc/2/task/2/children", "14 15 16 17 18 19 20 21 22 30 99 ");
		run_read_kthreads(&t.fs, &r, &p);
		for (int tid = 1; tid < 40; tid++)
			for (unsigned int i = 0; i < r.n_kthreads; i++)
				if (r.kthreads[i].tid == tid) {
					IS_INT(r.kthreads[i].start, 100 + tid);
					(void)snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%d%s ", tid,
						       r.kthreads[i].is_ours ? "!" : "");
				}
		IS_STR(seen, "14 16 18! 21! 22 ");
	}
	run_fini(&r);
	plan_fini(&p);
	root_fini(&t);
}

TAP_MAIN

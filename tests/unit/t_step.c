/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Each case: a plan's settings and a running domain in, the list of steps as text out. */
#include "tap.h"

#include "common/sbuf.h"
#include "common/step.h"

#define SCOPE "machine-qemu\\x2d3\\x2dweb1.scope"
#define PID   100

struct world {
	struct plan plan;
	struct run run;
	char *text;
};

/* "0-3:2" is vCPU 0, ...: where the domain is, one per layout. */
enum where { V1, V1_SCOPE, V2, V2_MACHINED, V2_SCOPE_ONLY, V2_SLICES, V2_NESTED, NO_CPUSET, NO_GROUPS };

static const struct {
	int cpu, cpuset; /* versions */
	const char *cpu_mount, *cpuset_mount;
	const char *group, *scope; /* of the domain, below the mounts */
} places[] = {
	[V1] = {1, 1, "cpu", "cpuset", "/machine/q", ""},
	[V1_SCOPE] = {1, 1, "cpu", "cpuset", "/machine.slice/" SCOPE, SCOPE},
	[V2] = {2, 2, "cg", "cg", "/machine/q", ""},
	[V2_MACHINED] = {2, 2, "cg", "cg", "/" SCOPE "/libvirt", SCOPE},
	[V2_SCOPE_ONLY] = {2, 2, "cg", "cg", "/" SCOPE, SCOPE},
	[V2_SLICES] = {2, 2, "sys/cg", "sys/cg", "/machine.slice/machine-gold.slice/" SCOPE "/libvirt", SCOPE},
	[V2_NESTED] = {2, 2, "cg", "cg", "/machine/gold.partition/q/libvirt", ""},
	[NO_CPUSET] = {1, 0, "cpu", "", "/machine/q", ""},
	[NO_GROUPS] = {2, 2, "cg", "cg", NULL, ""},
};

static void add_thread(struct world *w, enum where where, int tid, enum run_thread_kind kind, unsigned int number,
		       const char *name)
{
	struct run *r = &w->run;
	struct cgroup_paths *g = calloc(1, sizeof(*g));
	const char *group = places[where].group;

	r->threads = reallocarray(r->threads, r->n_threads + 1, sizeof(*r->threads));
	r->groups = reallocarray(r->groups, r->n_groups + 1, sizeof(*r->groups));
	if (!g || !r->threads || !r->groups)
		exit(2);
	for (unsigned int c = CGROUP_CPU; c <= CGROUP_IO; c++) {
		const char *mount = c == CGROUP_CPUSET ? places[where].cpuset_mount : places[where].cpu_mount;

		if (!mount[0])
			continue;
		if (group)
			(void)snprintf(g->at[c], sizeof(g->at[c]), "%s%s/%s", mount, group, name);
		else
			(void)snprintf(g->at[c], sizeof(g->at[c]), "%s/system.slice/libvirtd.service", mount);
		if (group)
			(void)snprintf(r->domain_group[c], sizeof(r->domain_group[c]), "%s%s", mount, group);
	}
	r->threads[r->n_threads++] = (struct run_thread){tid, 1000 + (uint64_t)tid, kind, number, g};
	r->groups[r->n_groups++] = g;
}

/* A domain with two vCPUs, an I/O thread and two threads of the emulator. */
static void world_init(struct world *w, enum where where, unsigned int kernel)
{
	struct run *r = &w->run;

	memset(w, 0, sizeof(*w));
	r->pid = PID;
	r->start = 1000 + PID;
	r->kernel = kernel;
	r->period_us = 100000;
	r->has_io_max = places[where].cpu == 2;
	r->layout.at[CGROUP_CPU].version = places[where].cpu;
	r->layout.at[CGROUP_CPUSET].version = places[where].cpuset;
	r->layout.at[CGROUP_MEMORY] = r->layout.at[CGROUP_IO] = r->layout.at[CGROUP_CPU];
	(void)snprintf(r->layout.at[CGROUP_CPU].path, 256, "%s", places[where].cpu_mount);
	(void)snprintf(r->layout.at[CGROUP_CPUSET].path, 256, "%s", places[where].cpuset_mount);
	(void)snprintf(r->layout.at[CGROUP_MEMORY].path, 256, "%s", places[where].cpu_mount);
	(void)snprintf(r->scope, sizeof(r->scope), "%s", places[where].scope);
	add_thread(w, where, 100, RUN_EMULATOR, 0, "emulator");
	add_thread(w, where, 101, RUN_EMULATOR, 0, "emulator");
	add_thread(w, where, 102, RUN_IOTHREAD, 1, "iothread1");
	add_thread(w, where, 103, RUN_VCPU, 0, "vcpu0");
	add_thread(w, where, 104, RUN_VCPU, 1, "vcpu1");
}

/* vcpus: one list per vCPU, separated by blanks; "-" leaves it alone. */
static void place_at(struct world *w, const char *vcpus, const char *emulator, const char *iothread)
{
	struct placement *p = &w->plan.placement;
	char text[128], *save = NULL, *word;

	(void)snprintf(text, sizeof(text), "%s", vcpus);
	for (word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		p->vcpus = reallocarray(p->vcpus, p->n_vcpus + 1, sizeof(*p->vcpus));
		if (!p->vcpus)
			exit(2);
		p->vcpus[p->n_vcpus].cpus = IDSET_EMPTY;
		(void)idset_parse(word, &p->vcpus[p->n_vcpus++].cpus);
	}
	(void)idset_parse(emulator, &p->emulator);
	p->iothreads = calloc(1, sizeof(*p->iothreads));
	if (!p->iothreads)
		exit(2);
	p->iothreads[0].id = 1;
	(void)idset_parse(iothread, &p->iothreads[0].cpus);
	p->n_iothreads = 1;
}

static void set(struct world *w, const char *knob, const char *target, enum stage stage, const char *value)
{
	IS_INT(plan_add_setting(&w->plan, knob, target, stage, value, "annotation", "for a test"), 0);
}

/* "BACKEND OBJECT=VALUE" per step, dependants indented, "keep" for restore_only, then what was skipped. */
static const char *steps_text(struct world *w, enum stage stage, bool running)
{
	_cleanup_sbuf_ struct sbuf b = {0};
	struct steps s;
	unsigned int group = 0;

	IS_INT(steps_make(&w->plan, stage, running ? &w->run : NULL, &s), 0);
	for (unsigned int i = 0; i < s.n; i++) {
		const struct step *x = &s.s[i];

		sbuf_addf(&b, "%s%s %s=%s%s\n", x->is_dependant ? " " : "", x->backend, x->object, x->value,
			  x->follows ? "follow" : x->restore_only ? "keep" : "");
		/* groups are runs: a cause, then its dependants */
		if (x->is_dependant)
			IS_INT(x->group, group);
		else
			OK(x->group != group);
		group = x->group;
	}
	steps_fini(&s);
	for (size_t i = 0; i < w->plan.n_skipped; i++)
		sbuf_addf(&b, "skipped %s[%s]: %s\n", w->plan.skipped[i].knob, w->plan.skipped[i].target,
			  w->plan.skipped[i].why);
	free(w->text);
	w->text = sbuf_steal(&b);
	return w->text;
}

static void world_fini(struct world *w)
{
	for (unsigned int i = 0; i < w->run.n_groups; i++)
		free(w->run.groups[i]);
	free(w->run.groups);
	free(w->run.threads);
	free(w->text);
	plan_fini(&w->plan);
}

#define T(tid) "thread 100:1100/" tid ":1" tid "/affinity="
#define T100   T("100")
#define T101   T("101")
#define T102   T("102")
#define T103   T("103")
#define T104   T("104")
#define T105   T("105")

TEST(dedicated_vcpu)
{
	static const char *const lists[] = {"vcpu0", "vcpu1"};
	struct world w;

	world_init(&w, V2_MACHINED, 612);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		set(&w, "cpu.policy", lists[i], STAGE_STARTED, i ? "3" : "2");
	set(&w, "cpu.emulator", "", STAGE_STARTED, "1,0");
	set(&w, "cpu.iothreads", "iothread1", STAGE_STARTED, "0-1");
	IS_STR(steps_text(&w, STAGE_STARTED, true), "cgroup cg/" SCOPE "/libvirt/vcpu0/cpuset.cpus=2\n"
						    " " T103 "2\n"
						    "cgroup cg/" SCOPE "/libvirt/vcpu1/cpuset.cpus=3\n"
						    " " T104 "3\n"
						    "cgroup cg/" SCOPE "/libvirt/emulator/cpuset.cpus=0-1\n"
						    " " T100 "0-1\n"
						    " " T101 "0-1\n"
						    "cgroup cg/" SCOPE "/libvirt/iothread1/cpuset.cpus=0-1\n"
						    " " T102 "0-1\n");
	IS_STR(steps_text(&w, STAGE_PREPARE, true), "");
	world_fini(&w);
}

TEST(shared_on_v2_is_one_write)
{
	struct world w;

	world_init(&w, V2_MACHINED, 612);
	place_at(&w, "2-5 2-5", "2-3", "2-5");
	set(&w, "cpu.policy", "", STAGE_STARTED, "2-5");
	set(&w, "cpu.emulator", "", STAGE_STARTED, "2-3");
	IS_STR(steps_text(&w, STAGE_STARTED, true), "cgroup cg/" SCOPE "/libvirt/cpuset.cpus=2-5\n"
						    "cgroup cg/" SCOPE "/libvirt/emulator/cpuset.cpus=2-3\n"
						    " " T100 "2-3\n"
						    " " T101 "2-3\n");
	world_fini(&w);
}

TEST(old_kernels_lose_affinities)
{
	static const unsigned int kernels[] = {601, 0, 510};
	struct world w;

	for (size_t i = 0; i < ARRAY_SIZE(kernels); i++) {
		world_init(&w, V2, kernels[i]);
		place_at(&w, "2-5 2-5", "2-5", "2-5");
		set(&w, "cpu.policy", "", STAGE_STARTED, "2-5");
		IS_STR(steps_text(&w, STAGE_STARTED, true), "cgroup cg/machine/q/cpuset.cpus=2-5\n"
							    " " T100 "keep\n"
							    " " T101 "keep\n"
							    " " T102 "keep\n"
							    " " T103 "keep\n"
							    " " T104 "keep\n");
		world_fini(&w);
	}
}

/* A vCPU that was plugged in later follows the domain, whichever way that floats. */
TEST(later_vcpus_float_along)
{
	struct world w;

	world_init(&w, V2, 612);
	place_at(&w, "2-5", "2-5", "2-5");
	set(&w, "cpu.policy", "", STAGE_STARTED, "2-5");
	IS_STR(steps_text(&w, STAGE_STARTED, true), "cgroup cg/machine/q/cpuset.cpus=2-5\n");
	world_fini(&w);
	world_init(&w, V1, 612);
	place_at(&w, "7", "-", "-");
	set(&w, "cpu.policy", "", STAGE_STARTED, "2-5");
	IS_STR(steps_text(&w, STAGE_STARTED, true), "cgroup cpuset/machine/q/vcpu1/cpuset.cpus=2-5\n");
	world_fini(&w);
}

/* A worker that is the kernel's is a process by itself; one that the kernel keeps to itself goes with its group only. */
TEST(workers_of_the_kernel)
{
	struct world w;

	world_init(&w, V1, 601);
	add_thread(&w, V1, 900, RUN_EMULATOR, 0, "emulator");
	w.run.threads[w.run.n_threads - 1].is_process = true;
	w.run.threads[1].is_fixed = true;
	place_at(&w, "2 3", "0-1", "0-1");
	set(&w, "cpu.emulator", "", STAGE_STARTED, "0-1");
	IS_STR(steps_text(&w, STAGE_STARTED, true), "cgroup cpuset/machine/q/emulator/cpuset.cpus=0-1\n"
						    " " T100 "0-1\n thread 900:1900/900:1900/affinity=0-1\n");
	world_fini(&w);
	world_init(&w, V1, 601);
	w.run.threads[1].is_process = true;
	set(&w, "io.priority", "", STAGE_STARTED, "idle");
	OK(!strstr(steps_text(&w, STAGE_STARTED, true), "101:1101"));
	world_fini(&w);
}

TEST(what_can_come_late)
{
	static const struct {
		const char *knob, *target;
		enum stage stage;
		bool late;
	} cases[] = {
		{"cpu.policy", "vcpu3", STAGE_STARTED, true},      {"cpu.policy", "", STAGE_STARTED, true},
		{"cpu.emulator", "", STAGE_STARTED, true},         {"cpu.emulator", "", STAGE_EXEC, false},
		{"cpu.iothreads", "iothread1", STAGE_STARTED, true}, {"io.priority", "", STAGE_STARTED, true},
		{"interface.steering", "52:54:00:00:00:01", STAGE_STARTED, true}, {"irq.policy", "", STAGE_PREPARE, true},
		{"cpu.weight", "", STAGE_STARTED, false},          {"memory.min", "", STAGE_STARTED, false},
		{"disk.scheduler", "sda", STAGE_PREPARE, false},   {"sysctl", "a.b", STAGE_PREPARE, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct plan p = {0};

		IS_INT(plan_add_setting(&p, cases[i].knob, cases[i].target, cases[i].stage, "1", "", ""), 0);
		if (steps_come_late(&p) != cases[i].late)
			TAP_FAIL("%s %s", cases[i].knob, cases[i].target);
		OK(steps_watch_irqs(&p) == streq(cases[i].knob, "irq.policy"));
		OK(steps_watch_queues(&p) == streq(cases[i].knob, "interface.steering"));
		plan_fini(&p);
	}
}

/* What would end up outside of the domain's group keeps the domain's group as it is. */
TEST(shared_with_others_outside)
{
	static const struct {
		const char *vcpus, *emulator, *iothread, *emulator_setting, *steps;
	} cases[] = {
		/* the emulator is on reserved CPUs */
		{"2-5 2-5", "0", "2-5", "0",
		 "cgroup cg/machine/q/iothread1/cpuset.cpus=2-5\n"
		 "cgroup cg/machine/q/vcpu0/cpuset.cpus=2-5\n"
		 "cgroup cg/machine/q/vcpu1/cpuset.cpus=2-5\n"
		 "cgroup cg/machine/q/emulator/cpuset.cpus=0\n"
		 " " T100 "0\n " T101 "0\n"},
		/* <vcpupin> of vCPU 1, <emulatorpin>, <iothreadpin>: not to be touched */
		{"2-5 7", "-", "-", NULL, "cgroup cg/machine/q/vcpu0/cpuset.cpus=2-5\n"},
		{"2-5 2", "2-5", "2-5", NULL, "cgroup cg/machine/q/cpuset.cpus=2-5\n"},
		{"2-5 2-5", "-", "2-5", NULL,
		 "cgroup cg/machine/q/iothread1/cpuset.cpus=2-5\n"
		 "cgroup cg/machine/q/vcpu0/cpuset.cpus=2-5\n"
		 "cgroup cg/machine/q/vcpu1/cpuset.cpus=2-5\n"},
		/* pins everywhere */
		{"7 7", "6", "6", NULL, "skipped cpu.policy[]: every thread has CPUs of its own\n"},
	};
	struct world w;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		world_init(&w, V2, 612);
		place_at(&w, cases[i].vcpus, cases[i].emulator, cases[i].iothread);
		set(&w, "cpu.policy", "", STAGE_STARTED, "2-5");
		if (cases[i].emulator_setting)
			set(&w, "cpu.emulator", "", STAGE_STARTED, cases[i].emulator_setting);
		IS_STR(steps_text(&w, STAGE_STARTED, true), cases[i].steps);
		world_fini(&w);
	}
}

TEST(shared_on_v1_is_every_child)
{
	struct world w;

	world_init(&w, V1, 601);
	place_at(&w, "2-5 2-5", "2-5", "0-1");
	set(&w, "cpu.policy", "", STAGE_STARTED, "2-5");
	set(&w, "cpu.iothreads", "iothread1", STAGE_STARTED, "0-1");
	IS_STR(steps_text(&w, STAGE_STARTED, true), "cgroup cpuset/machine/q/emulator/cpuset.cpus=2-5\n"
						    " " T100 "keep\n"
						    " " T101 "keep\n"
						    "cgroup cpuset/machine/q/vcpu0/cpuset.cpus=2-5\n"
						    " " T103 "keep\n"
						    "cgroup cpuset/machine/q/vcpu1/cpuset.cpus=2-5\n"
						    " " T104 "keep\n"
						    "cgroup cpuset/machine/q/iothread1/cpuset.cpus=0-1\n"
						    " " T102 "0-1\n");
	world_fini(&w);
}

/* States of CPUs: a clock's preference goes with its governor; another domain of the same clock meets the same object. */
TEST(cpu_states)
{
	struct world w;

	world_init(&w, V2, 612);
	set(&w, "cpu.governor", "cpu4", STAGE_PREPARE, "performance");
	set(&w, "cpu.governor", "cpu6", STAGE_PREPARE, "schedutil");
	set(&w, "cpu.energy", "cpu6", STAGE_PREPARE, "power");
	set(&w, "cpu.energy", "cpu7", STAGE_PREPARE, "power");
	set(&w, "cpu.wakeup", "cpu4", STAGE_PREPARE, "n/a");
	set(&w, "cpu.halt-poll", "", STAGE_PREPARE, "500000");
	set(&w, "cpu.governor", "cpux", STAGE_PREPARE, "performance");
	set(&w, "cpu.governor", "cpu99999", STAGE_PREPARE, "performance");
#define POLICY(n) "sys/devices/system/cpu/cpufreq/policy" n
	IS_STR(steps_text(&w, STAGE_PREPARE, false),
	       "file " POLICY("4") "/scaling_governor=performance\n"
	       " file " POLICY("4") "/energy_performance_preference=follow\n"
	       "file " POLICY("6") "/scaling_governor=schedutil\n"
	       " file " POLICY("6") "/energy_performance_preference=power\n"
	       "file " POLICY("7") "/energy_performance_preference=power\n"
	       "file sys/devices/system/cpu/cpu4/power/pm_qos_resume_latency_us=n/a\n"
	       "file sys/module/kvm/parameters/halt_poll_ns=500000\n"
	       "skipped cpu.governor[cpux]: not in this version\n"
	       "skipped cpu.governor[cpu99999]: not in this version\n");
	world_fini(&w);
}

TEST(schedulers)
{
	struct world w;
	struct steps s;

	world_init(&w, V2, 612);
	set(&w, "cpu.scheduler", "", STAGE_STARTED, "batch");
	OK(steps_need_starts(&w.plan, &w.run));
	IS_STR(steps_text(&w, STAGE_STARTED, true), "thread 100:1100/103:1103/sched=batch\n"
						    "thread 100:1100/104:1104/sched=batch\n");
	world_fini(&w);

	/* A real-time thread needs its place; one that has none of ours (<vcpupin>) has it from libvirt. */
	world_init(&w, V1, 612);
	set(&w, "cpu.policy", "vcpu0", STAGE_STARTED, "2");
	set(&w, "cpu.scheduler", "vcpu0", STAGE_STARTED, "fifo");
	set(&w, "cpu.priority", "vcpu0", STAGE_STARTED, "3");
	set(&w, "cpu.scheduler", "vcpu1", STAGE_STARTED, "rr");
	set(&w, "cpu.priority", "vcpu1", STAGE_STARTED, "4");
	IS_INT(steps_make(&w.plan, STAGE_STARTED, &w.run, &s), 0);
	IS_INT(s.n, 4);
	if (s.n == 4) {
		IS_STR(s.s[2].value, "fifo:3");
		OK(s.s[2].needs == &w.plan.settings[0]);
		IS_STR(s.s[3].value, "rr:4");
		OK(!s.s[3].needs);
	}
	IS_INT(w.plan.n_skipped, 0);
	steps_fini(&s);

	/* Without a budget it cannot be one. */
	w.run.threads[3].no_budget = true;
	set(&w, "cpu.scheduler", "vcpu7", STAGE_STARTED, "rr");
	IS_STR(steps_text(&w, STAGE_STARTED, true),
	       "cgroup cpuset/machine/q/vcpu0/cpuset.cpus=2\n"
	       " " T103 "2\n"
	       "thread 100:1100/104:1104/sched=rr:4\n"
	       "skipped cpu.scheduler[vcpu0]: its group has no real-time budget (cpu.rt_runtime_us 0): give it and those "
	       "above it one, or boot with cgroup v2\n"
	       "skipped cpu.priority[vcpu0]: its group has no real-time budget (cpu.rt_runtime_us 0): give it and those "
	       "above it one, or boot with cgroup v2\n"
	       "skipped cpu.scheduler[vcpu7]: it has no such thread in this QEMU\n");
	world_fini(&w);
}

/* Before libvirt 7.1 the scope itself is the domain's group: systemd's to write. */
TEST(shared_in_a_bare_scope)
{
	struct world w;

	world_init(&w, V2_SCOPE_ONLY, 612);
	place_at(&w, "2-5 2-5", "2-5", "2-5");
	set(&w, "cpu.policy", "", STAGE_STARTED, "2-5");
	IS_STR(steps_text(&w, STAGE_STARTED, true), "cgroup cg/" SCOPE "/emulator/cpuset.cpus=2-5\n"
						    "cgroup cg/" SCOPE "/iothread1/cpuset.cpus=2-5\n"
						    "cgroup cg/" SCOPE "/vcpu0/cpuset.cpus=2-5\n"
						    "cgroup cg/" SCOPE "/vcpu1/cpuset.cpus=2-5\n");
	world_fini(&w);
}

/* Affinity alone where there is no group that is the domain's. */
TEST(no_cpuset)
{
	static const enum where wheres[] = {NO_CPUSET, NO_GROUPS};
	struct world w;

	for (size_t i = 0; i < ARRAY_SIZE(wheres); i++) {
		world_init(&w, wheres[i], 601);
		place_at(&w, "2-5 2-5", "-", "-");
		set(&w, "cpu.policy", "vcpu0", STAGE_STARTED, "4");
		set(&w, "cpu.policy", "", STAGE_STARTED, "2-5");
		IS_STR(steps_text(&w, STAGE_STARTED, true), T103 "4\n" T104 "2-5\n");
		world_fini(&w);
	}
}

TEST(weight_and_quota)
{
	static const struct {
		enum where where;
		const char *weight, *quota;
		uint64_t period;
		const char *steps;
	} cases[] = {
		{V1, "200", "250%", 100000,
		 "cgroup cpu/machine/q/cpu.shares=2048\ncgroup cpu/machine/q/cpu.cfs_quota_us=250000\n"},
		{V1, "1", "50%", 20000,
		 "cgroup cpu/machine/q/cpu.shares=10\ncgroup cpu/machine/q/cpu.cfs_quota_us=10000\n"},
		{V1, "10000", "1%", 20000,
		 "cgroup cpu/machine/q/cpu.shares=102400\ncgroup cpu/machine/q/cpu.cfs_quota_us=1000\n"},
		{V2, "200", "250%", 100000,
		 "cgroup cg/machine/q/cpu.weight=200\n"
		 "cgroup cg/machine/q/cpu.max=250000 100000\n"},
		{V2, "200", "819200%", 50000,
		 "cgroup cg/machine/q/cpu.weight=200\ncgroup cg/machine/q/cpu.max=409600000 50000\n"},
		{V2_MACHINED, "200", "250%", 100000,
		 "unit " SCOPE "/CPUWeight=200\ncgroup cg/" SCOPE "/libvirt/cpu.max=250000 100000\n"},
		{V2_SCOPE_ONLY, "200", "250%", 100000,
		 "unit " SCOPE "/CPUWeight=200\nunit " SCOPE "/CPUQuotaPerSecUSec=2500000\n"},
		{V1_SCOPE, "200", "250%", 100000,
		 "unit " SCOPE "/CPUWeight=200\nunit " SCOPE "/CPUQuotaPerSecUSec=2500000\n"},
		{NO_GROUPS, "200", "250%", 100000,
		 "skipped cpu.weight[]: libvirt made no cpu group for this domain\n"
		 "skipped cpu.quota[]: libvirt made no cpu group for this domain\n"},
		{V1, "0", "0%", 100000,
		 "skipped cpu.weight[]: '0' is no value for it\n"
		 "skipped cpu.quota[]: '0%' is no value for it\n"},
		{V1, "x", "200", 100000,
		 "skipped cpu.weight[]: 'x' is no value for it\n"
		 "skipped cpu.quota[]: '200' is no value for it\n"},
	};
	struct world w;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		world_init(&w, cases[i].where, 612);
		w.run.period_us = cases[i].period;
		set(&w, "cpu.weight", "", STAGE_STARTED, cases[i].weight);
		set(&w, "cpu.quota", "", STAGE_STARTED, cases[i].quota);
		IS_STR(steps_text(&w, STAGE_STARTED, true), cases[i].steps);
		world_fini(&w);
	}
}

TEST(burst)
{
	static const struct {
		enum where where;
		const char *quota, *burst;
		uint64_t period;
		const char *steps;
	} cases[] = {
		{V1, "200%", "50", 100000,
		 "cgroup cpu/machine/q/cpu.cfs_quota_us=200000\ncgroup cpu/machine/q/cpu.cfs_burst_us=50000\n"},
		{V2_MACHINED, "200%", "200", 100000,
		 "cgroup cg/" SCOPE "/libvirt/cpu.max=200000 100000\ncgroup cg/" SCOPE
		 "/libvirt/cpu.max.burst=200000\n"},
		/* no more than one period's quota, whatever the period is */
		{V2, "200%", "200", 50000,
		 "cgroup cg/machine/q/cpu.max=100000 50000\ncgroup cg/machine/q/cpu.max.burst=100000\n"},
		/* systemd has no property for it and does not touch it */
		{V2_SCOPE_ONLY, "100%", "1", 100000,
		 "unit " SCOPE "/CPUQuotaPerSecUSec=1000000\ncgroup cg/" SCOPE "/cpu.max.burst=1000\n"},
		{NO_GROUPS, "100%", "1", 100000,
		 "skipped cpu.quota[]: libvirt made no cpu group for this domain\n"
		 "skipped cpu.burst[]: libvirt made no cpu group for this domain\n"},
		{V2, "100%", "x", 100000,
		 "cgroup cg/machine/q/cpu.max=100000 100000\nskipped cpu.burst[]: 'x' is no value for it\n"},
	};
	struct world w;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		world_init(&w, cases[i].where, 612);
		w.run.period_us = cases[i].period;
		set(&w, "cpu.quota", "", STAGE_STARTED, cases[i].quota);
		set(&w, "cpu.burst", "", STAGE_STARTED, cases[i].burst);
		IS_STR(steps_text(&w, STAGE_STARTED, true), cases[i].steps);
		world_fini(&w);
	}
}

/* Protection: the whole chain above the domain, from the top down, as sums; then what is the domain's own. */
TEST(memory_protection)
{
	static const struct {
		enum where where;
		const char *knob, *steps;
	} cases[] = {
		{V2_SLICES, "memory.min",
		 "unit machine.slice/MemoryMin=4096\nunit machine-gold.slice/MemoryMin=4096\nunit " SCOPE
		 "/MemoryMin=4096\ncgroup sys/cg/machine.slice/machine-gold.slice/" SCOPE
		 "/libvirt/memory.min=4096\n"},
		{V2_SLICES, "memory.low",
		 "unit machine.slice/MemoryLow=4096\nunit machine-gold.slice/MemoryLow=4096\nunit " SCOPE
		 "/MemoryLow=4096\ncgroup sys/cg/machine.slice/machine-gold.slice/" SCOPE
		 "/libvirt/memory.low=4096\n"},
		{V2_SLICES, "memory.high",
		 "cgroup sys/cg/machine.slice/machine-gold.slice/" SCOPE "/libvirt/memory.high=4096\n"},
		{V2_MACHINED, "memory.min",
		 "unit " SCOPE "/MemoryMin=4096\ncgroup cg/" SCOPE "/libvirt/memory.min=4096\n"},
		{V2_SCOPE_ONLY, "memory.min", "unit " SCOPE "/MemoryMin=4096\n"},
		{V2_SCOPE_ONLY, "memory.high", "unit " SCOPE "/MemoryHigh=4096\n"},
		/* without systemd: files, also where a name only looks like a unit's */
		{V2_NESTED, "memory.min",
		 "cgroup cg/machine/memory.min=4096\ncgroup cg/machine/gold.partition/memory.min=4096\n"
		 "cgroup cg/machine/gold.partition/q/memory.min=4096\n"
		 "cgroup cg/machine/gold.partition/q/libvirt/memory.min=4096\n"},
		{V1, "memory.min", "skipped memory.min[]: cgroup v1 has no memory.min\n"},
		{V1_SCOPE, "memory.low", "skipped memory.low[]: cgroup v1 has no memory.low\n"},
		{V1, "memory.high", "skipped memory.high[]: cgroup v1 has no memory.high\n"},
		{NO_GROUPS, "memory.min", "skipped memory.min[]: libvirt made no memory group for this domain\n"},
	};
	struct world w;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		world_init(&w, cases[i].where, 612);
		set(&w, cases[i].knob, "", STAGE_STARTED, "4096");
		IS_STR(steps_text(&w, STAGE_STARTED, true), cases[i].steps);
		world_fini(&w);
	}
	world_init(&w, V2, 612);
	w.run.layout.at[CGROUP_MEMORY].version = 0;
	set(&w, "memory.min", "", STAGE_STARTED, "4096");
	IS_STR(steps_text(&w, STAGE_STARTED, true), "skipped memory.min[]: no memory controller here\n");
	world_fini(&w);
}

/* Domains below one slice add up there; scope and own group are nobody else's. */
TEST(protection_of_ancestors_is_shared)
{
	struct steps s;
	struct world w;

	world_init(&w, V2_SLICES, 612);
	set(&w, "memory.min", "", STAGE_STARTED, "4096");
	IS_INT(steps_make(&w.plan, STAGE_STARTED, &w.run, &s), 0);
	IS_INT(s.n, 4);
	for (unsigned int i = 0; i < s.n; i++)
		IS_INT(s.s[i].fold, i < 2 ? FOLD_SUM : FOLD_NONE);
	steps_fini(&s);
	world_fini(&w);
}

TEST(no_controller)
{
	struct world w;

	world_init(&w, NO_CPUSET, 612);
	w.run.layout.at[CGROUP_CPU].version = 0;
	w.run.domain_group[CGROUP_CPU][0] = '\0';
	set(&w, "cpu.weight", "", STAGE_STARTED, "200");
	set(&w, "cpu.quota", "", STAGE_STARTED, "200%");
	IS_STR(steps_text(&w, STAGE_STARTED, true), "skipped cpu.weight[]: no cpu controller here\n"
						    "skipped cpu.quota[]: no cpu controller here\n");
	world_fini(&w);
}

TEST(sysctls)
{
	static const struct {
		const char *name, *object;
	} cases[] = {
		{"net.core.rmem_max", "proc/sys/net/core/rmem_max"},
		{"net/core/rmem_max", "proc/sys/net/core/rmem_max"},
		{"vm.nr-x_9", "proc/sys/vm/nr-x_9"},
		{"a", "proc/sys/a"},
		{"", NULL},
		{".", NULL},
		{"..", NULL},
		{"net..core", NULL},
		{".net", NULL},
		{"net.", NULL},
		{"../../etc/passwd", NULL},
		{"net/../x", NULL},
		{"/etc/passwd", NULL},
		{"net core", NULL},
		{"net.Core", NULL},
		{"net.%s", NULL},
		{"net\n", NULL},
	};
	char expected[256];
	struct world w;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		world_init(&w, V2, 612);
		set(&w, "sysctl", cases[i].name, STAGE_PREPARE, "16777216");
		if (cases[i].object)
			(void)snprintf(expected, sizeof(expected), "file %s=16777216\n", cases[i].object);
		else
			(void)snprintf(expected, sizeof(expected), "skipped sysctl[%s]: %s\n", cases[i].name,
				       cases[i].name[0] ? "not the name of a sysctl" : "not in this version");
		IS_STR(steps_text(&w, STAGE_PREPARE, false), expected);
		world_fini(&w);
	}
}

TEST(sysctl_is_shared)
{
	struct world w;
	struct steps s;

	world_init(&w, V2, 612);
	set(&w, "sysctl", "net.core.rmem_max", STAGE_PREPARE, "16777216");
	IS_INT(steps_make(&w.plan, STAGE_PREPARE, NULL, &s), 0);
	IS_INT(s.n, 1);
	OK(s.n == 1 && s.s[0].fold == FOLD_MAX && s.s[0].setting == &w.plan.settings[0]);
	steps_fini(&s);
	steps_fini(&s); /* once more does nothing */
	world_fini(&w);
}

TEST(what_is_not_there)
{
	struct world w;

	world_init(&w, V2, 612);
	set(&w, "cpu.policy", "vcpu7", STAGE_STARTED, "2");
	set(&w, "cpu.policy", "vcpux", STAGE_STARTED, "2");
	set(&w, "cpu.policy", "vcpu0", STAGE_STARTED, "share");
	set(&w, "cpu.iothreads", "iothread99999999999", STAGE_STARTED, "2");
	set(&w, "disk.scheduler", "vda", STAGE_STARTED, "none");
	set(&w, "memory.pages", "", STAGE_EXEC, "2M");
	IS_STR(steps_text(&w, STAGE_STARTED, true), "skipped cpu.policy[vcpu7]: vcpu7 has no thread in this QEMU\n"
						    "skipped cpu.policy[vcpux]: not in this version\n"
						    "skipped cpu.policy[vcpu0]: 'share' is no value for it\n"
						    "skipped cpu.iothreads[iothread99999999999]: not in this version\n"
						    "skipped disk.scheduler[vda]: not in this version\n");
	world_fini(&w);
	world_init(&w, V2, 612);
	set(&w, "cpu.policy", "vcpu0", STAGE_STARTED, "2");
	for (int again = 0; again < 2; again++)
		IS_STR(steps_text(&w, STAGE_STARTED, false), "skipped cpu.policy[vcpu0]: the domain is not running\n");
	world_fini(&w);
}

/* A vCPU's helper thread goes where its group goes. */
TEST(several_threads_of_one_vcpu)
{
	struct world w;

	world_init(&w, V1, 612);
	add_thread(&w, V1, 105, RUN_VCPU, 0, "vcpu0");
	set(&w, "cpu.policy", "vcpu0", STAGE_STARTED, "2");
	IS_STR(steps_text(&w, STAGE_STARTED, true), "cgroup cpuset/machine/q/vcpu0/cpuset.cpus=2\n"
						    " " T103 "2\n"
						    " " T105 "2\n");
	world_fini(&w);
}

/* A disk's queue: what a switch of the scheduler resets comes after it, wanted or not. */
TEST(queue_of_a_disk)
{
#define Q "file sys/block/sda/queue/"
	struct world w;

	world_init(&w, V2, 612);
	set(&w, "disk.scheduler", "sda", STAGE_PREPARE, "bfq");
	set(&w, "disk.scheduler", "sdb", STAGE_PREPARE, "none");
	set(&w, "disk.read-ahead", "sda", STAGE_PREPARE, "512");
	set(&w, "disk.requests", "sda", STAGE_PREPARE, "64");
	IS_STR(steps_text(&w, STAGE_PREPARE, false), Q "scheduler=bfq\n"
						     " " Q "nr_requests=64\n"
						     " " Q "wbt_lat_usec=follow\n"
						     "file sys/block/sdb/queue/scheduler=none\n"
						     " file sys/block/sdb/queue/nr_requests=keep\n"
						     " file sys/block/sdb/queue/wbt_lat_usec=follow\n" Q
						     "read_ahead_kb=512\n");
	IS_STR(steps_text(&w, STAGE_STARTED, true), "");
	world_fini(&w);

	world_init(&w, V2, 612);
	set(&w, "disk.requests", "sda", STAGE_PREPARE, "64");
	set(&w, "disk.latency", "sda", STAGE_PREPARE, "0");
	set(&w, "disk.affinity", "sda", STAGE_PREPARE, "2");
	set(&w, "disk.merges", "sda", STAGE_PREPARE, "1");
	set(&w, "disk.scheduler", "../sda", STAGE_PREPARE, "bfq");
	set(&w, "disk.merges", "..", STAGE_PREPARE, "1");
	IS_STR(steps_text(&w, STAGE_PREPARE, false), Q "nr_requests=64\n" Q "wbt_lat_usec=0\n" Q "rq_affinity=2\n" Q
						       "nomerges=1\n"
						       "skipped disk.scheduler[../sda]: not the name of a block device\n"
						       "skipped disk.merges[..]: not the name of a block device\n");
	world_fini(&w);
#undef Q
}

/* Each step is about the setting whose wish it is: status shows it there. */
TEST(steps_of_a_queue_belong_to_their_settings)
{
	struct world w;
	struct steps s;

	world_init(&w, V2, 612);
	set(&w, "disk.latency", "sda", STAGE_PREPARE, "75000");
	set(&w, "disk.scheduler", "sda", STAGE_PREPARE, "bfq");
	IS_INT(steps_make(&w.plan, STAGE_PREPARE, NULL, &s), 0);
	IS_INT(s.n, 3);
	IS_STR(s.s[0].setting->knob, "disk.scheduler");
	IS_STR(s.s[0].order, "bfq mq-deadline kyber none");
	IS_STR(s.s[1].setting->knob, "disk.scheduler");
	IS_INT(s.s[1].fold, FOLD_LARGEST);
	OK(s.s[1].restore_only && !s.s[1].follows);
	IS_STR(s.s[2].setting->knob, "disk.latency");
	IS_INT(s.s[2].fold, FOLD_SMALLEST);
	OK(!s.s[2].restore_only && !s.s[2].follows && s.s[2].is_dependant);
	steps_fini(&s);
	world_fini(&w);
}

TEST(weights_and_limits_of_devices)
{
	static const struct {
		enum where where;
		const char *steps;
	} cases[] = {
		{V1, "cgkey cpu/machine/q/blkio.bfq.weight_device 8:16=300\n"
		     "cgkey cpu/machine/q/blkio.bfq.weight_device 259:0=50\n"
		     "cgkey cpu/machine/q/blkio.throttle.read_bps_device 8:16=1000\n"
		     "cgkey cpu/machine/q/blkio.throttle.write_bps_device 8:16=2000\n"
		     "cgkey cpu/machine/q/blkio.throttle.read_iops_device 8:16=3000\n"
		     "cgkey cpu/machine/q/blkio.throttle.write_iops_device 8:16=4000\n"},
		{V2, "cgkey cg/machine/q/io.bfq.weight 8:16=300\n"
		     "cgkey cg/machine/q/io.weight 259:0=50\n"
		     "cgkey cg/machine/q/io.max 8:16 rbps=1000\n"
		     "cgkey cg/machine/q/io.max 8:16 wbps=2000\n"
		     "cgkey cg/machine/q/io.max 8:16 riops=3000\n"
		     "cgkey cg/machine/q/io.max 8:16 wiops=4000\n"},
		{V2_MACHINED, "unit " SCOPE "/IODeviceWeight 8:16=2300\n"
			      "unit " SCOPE "/IODeviceWeight 259:0=50\n"
			      "cgkey cg/" SCOPE "/libvirt/io.max 8:16 rbps=1000\n"
			      "cgkey cg/" SCOPE "/libvirt/io.max 8:16 wbps=2000\n"
			      "cgkey cg/" SCOPE "/libvirt/io.max 8:16 riops=3000\n"
			      "cgkey cg/" SCOPE "/libvirt/io.max 8:16 wiops=4000\n"},
		{V2_SCOPE_ONLY, "unit " SCOPE "/IODeviceWeight 8:16=2300\n"
				"unit " SCOPE "/IODeviceWeight 259:0=50\n"
				"unit " SCOPE "/IOReadBandwidthMax 8:16=1000\n"
				"unit " SCOPE "/IOWriteBandwidthMax 8:16=2000\n"
				"unit " SCOPE "/IOReadIOPSMax 8:16=3000\n"
				"unit " SCOPE "/IOWriteIOPSMax 8:16=4000\n"},
		{NO_GROUPS, "skipped disk.weight[sdb]: libvirt made no io group for this domain\n"
			    "skipped disk.weight[nvme0n1]: libvirt made no io group for this domain\n"
			    "skipped disk.read-bps[sdb]: libvirt made no io group for this domain\n"
			    "skipped disk.write-bps[sdb]: libvirt made no io group for this domain\n"
			    "skipped disk.read-iops[sdb]: libvirt made no io group for this domain\n"
			    "skipped disk.write-iops[sdb]: libvirt made no io group for this domain\n"},
	};
	struct world w;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		world_init(&w, cases[i].where, 612);
		IS_INT(plan_add_block(&w.plan, "sdb", 8, 16, true), 0);
		IS_INT(plan_add_block(&w.plan, "nvme0n1", 259, 0, false), 0);
		set(&w, "disk.weight", "sdb", STAGE_STARTED, "300");
		set(&w, "disk.weight", "nvme0n1", STAGE_STARTED, "50");
		set(&w, "disk.read-bps", "sdb", STAGE_STARTED, "1000");
		set(&w, "disk.write-bps", "sdb", STAGE_STARTED, "2000");
		set(&w, "disk.read-iops", "sdb", STAGE_STARTED, "3000");
		set(&w, "disk.write-iops", "sdb", STAGE_STARTED, "4000");
		IS_STR(steps_text(&w, STAGE_STARTED, true), cases[i].steps);
		world_fini(&w);
	}
	/* libvirt's own group without the controller: then the scope's are the domain's */
	world_init(&w, V2_MACHINED, 612);
	w.run.has_io_max = false;
	IS_INT(plan_add_block(&w.plan, "sdb", 8, 16, true), 0);
	set(&w, "disk.read-bps", "sdb", STAGE_STARTED, "1000");
	IS_STR(steps_text(&w, STAGE_STARTED, true), "unit " SCOPE "/IOReadBandwidthMax 8:16=1000\n");
	world_fini(&w);
	/* a record that was damaged */
	world_init(&w, V2_MACHINED, 612);
	set(&w, "disk.read-bps", "sdb", STAGE_STARTED, "1000");
	set(&w, "disk.weight", "sdb", STAGE_STARTED, "1000");
	IS_STR(steps_text(&w, STAGE_STARTED, true), "skipped disk.read-bps[sdb]: the number of this device is not known\n"
						    "skipped disk.weight[sdb]: the number of this device is not known\n");
	world_fini(&w);
}

TEST(io_priority_of_every_thread)
{
#define P(tid, value) "thread 100:1100/" tid ":1" tid "/ioprio=" value "\n"
	struct world w;
	struct steps s;

	world_init(&w, V1, 612);
	set(&w, "io.priority", "", STAGE_STARTED, "be:1");
	OK(steps_need_starts(&w.plan, &w.run));
	IS_STR(steps_text(&w, STAGE_STARTED, true),
	       P("100", "be:1") P("101", "be:1") P("102", "be:1") P("103", "be:1") P("104", "be:1"));
	IS_INT(steps_make(&w.plan, STAGE_STARTED, &w.run, &s), 0);
	OK(!s.s[4].before);
	steps_fini(&s);
	/* What the wrapper has begun is undone to what libvirt would have given. */
	set(&w, "io.priority", "", STAGE_EXEC, "be:1");
	IS_INT(steps_make(&w.plan, STAGE_STARTED, &w.run, &s), 0);
	IS_STR(s.s[4].before, "none");
	steps_fini(&s);
	world_fini(&w);
#undef P
}

TEST(classes_of_service)
{
#define DIR     "resctrl sys/fs/resctrl/"
#define MINE    DIR "domtune-11111111-2222-4333-8444-555555555555"
#define G(tid)  DIR "tasks 100:1100/" tid ":1" tid "=domtune-x\n"
	struct world w;
	struct steps s;

	world_init(&w, V2, 612);
	memcpy(w.plan.uuid, "11111111-2222-4333-8444-555555555555", sizeof(w.plan.uuid));
	set(&w, "cpu.cache", "", STAGE_PREPARE, "L3CODE:0=4-7;8=0-3 L3DATA:0=4-7");
	set(&w, "cpu.cache", "threads", STAGE_STARTED, "domtune-x");
	set(&w, "memory.bandwidth", "", STAGE_PREPARE, "MB:0=50;8=60");
	OK(steps_need_starts(&w.plan, &w.run));
	/* The group, what the default group gives up, its own lines; the second setting has only lines. */
	IS_STR(steps_text(&w, STAGE_PREPARE, false),
	       MINE "=there\n"
	       DIR "schemata L3CODE:0=4-7\n" DIR "schemata L3CODE:8=0-3\n" DIR "schemata L3DATA:0=4-7\n"
	       MINE "/schemata L3CODE:0=4-7\n" MINE "/schemata L3CODE:8=0-3\n" MINE "/schemata L3DATA:0=4-7\n"
	       MINE "/schemata MB:0=50\n" MINE "/schemata MB:8=60\n");
	IS_INT(steps_make(&w.plan, STAGE_PREPARE, NULL, &s), 0);
	for (unsigned int i = 0; i < s.n; i++) {
		IS_INT(s.s[i].fold, i >= 1 && i <= 3 ? FOLD_RUN : FOLD_NONE);
		OK((s.s[i].needs == s.s[i].setting) == (i > 0));
	}
	steps_fini(&s);
	IS_STR(steps_text(&w, STAGE_STARTED, true), G("100") G("101") G("102") G("103") G("104"));
	plan_fini(&w.plan);
	memset(&w.plan, 0, sizeof(w.plan));
	memcpy(w.plan.uuid, "11111111-2222-4333-8444-555555555555", sizeof(w.plan.uuid));
	set(&w, "memory.bandwidth", "", STAGE_PREPARE, "MB:0=50");
	IS_STR(steps_text(&w, STAGE_PREPARE, false), MINE "=there\n" MINE "/schemata MB:0=50\n");
	world_fini(&w);
#undef DIR
#undef MINE
#undef G
}

/* --- interfaces --- */

#define MAC1 "52:54:00:00:00:01"
#define MAC2 "52:54:00:00:00:02"

static void add_uplink(struct world *w, const char *name, unsigned int ifindex, uint64_t link)
{
	struct plan_uplink *u = plan_add_uplink(&w->plan, name, ifindex);

	OK(u != NULL);
	u->link = link;
	u->rest = link / 20;
}

static void add_link(struct world *w, const char *mac, const char *uplink, enum netdev_way way, unsigned int number,
		     uint64_t limit)
{
	struct plan_link l = {.way = way, .number = number, .rate = 1000, .ceil = 2000, .priority = 1, .limit = limit};

	(void)snprintf(l.mac, sizeof(l.mac), "%s", mac);
	(void)snprintf(l.uplink, sizeof(l.uplink), "%s", uplink);
	if (way == NETDEV_ROUTED) {
		l.mark = 0x200;
		l.mask = 0xff00;
	}
	IS_INT(plan_add_link(&w->plan, &l), 0);
}

static void add_tap(struct world *w, const char *mac, const char *name, unsigned int ifindex, unsigned int queues)
{
	struct run_tap *t;

	w->run.taps = reallocarray(w->run.taps, w->run.n_taps + 1, sizeof(*w->run.taps));
	if (!w->run.taps)
		exit(2);
	t = &w->run.taps[w->run.n_taps++];
	memset(t, 0, sizeof(*t));
	(void)snprintf(t->tap.mac, sizeof(t->tap.mac), "%s", mac);
	(void)snprintf(t->tap.name, sizeof(t->tap.name), "%s", name);
	t->tap.ifindex = ifindex;
	t->n_rxq = t->n_txq = queues;
}

static void net_fini(struct world *w)
{
	free(w->run.taps);
	world_fini(w);
}

/* The tree, the class, what leads to it; the ceiling on the tap. Burst and priority are in the class. */
/* --- the host's own work ------------------------------------------------------------------------------------------ */

TEST(host_groups_and_masks)
{
	static const char *const targets[] = {"system.slice", "init.scope", "sys/fs/cgroup/docker", "workqueue",
					      "writeback"};
	struct steps s;
	struct world w;

	world_init(&w, V2_MACHINED, 612);
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
		set(&w, "cpu.policy", targets[i], STAGE_PREPARE, "3,2");
	set(&w, "cpu.policy", "nonsense", STAGE_PREPARE, "3,2");
	IS_STR(steps_text(&w, STAGE_PREPARE, false),
	       "unit system.slice/AllowedCPUs=2-3\n"
	       "unit init.scope/AllowedCPUs=2-3\n"
	       "cgroup sys/fs/cgroup/docker/cpuset.cpus=2-3\n"
	       "mask sys/devices/virtual/workqueue/cpumask=2-3\n"
	       "mask sys/devices/virtual/workqueue/writeback/cpumask=2-3\n"
	       "skipped cpu.policy[nonsense]: not in this version\n");
	IS_INT(steps_make(&w.plan, STAGE_PREPARE, NULL, &s), 0);
	for (unsigned int i = 0; i < s.n; i++)
		IS_INT(s.s[i].fold, FOLD_WITHOUT);
	steps_fini(&s);
	world_fini(&w);
}

TEST(threads_of_the_kernel)
{
	struct run_kthread threads[] = {{11, 5, false}, {12, 6, true}, {13, 7, false}};
	struct steps s;
	struct world w;

	world_init(&w, V2_MACHINED, 612);
	OK(!steps_need_kthreads(&w.plan));
	set(&w, "cpu.policy", "vcpu0", STAGE_STARTED, "2");
	OK(!steps_need_kthreads(&w.plan));
	set(&w, "cpu.policy", "kernel-threads", STAGE_STARTED, "2-3");
	OK(steps_need_kthreads(&w.plan));
	set(&w, "cpu.policy", "kvm-threads", STAGE_STARTED, "0");
	w.run.kthreads = threads;
	w.run.n_kthreads = ARRAY_SIZE(threads);
	IS_STR(steps_text(&w, STAGE_STARTED, true), "thread 11:5/11:5/affinity=2-3\n"
						    "thread 13:7/13:7/affinity=2-3\n"
						    "cgroup cg/" SCOPE "/libvirt/vcpu0/cpuset.cpus=2\n"
						    " " T103 "2\n"
						    "thread 12:6/12:6/affinity=0\n");
	IS_INT(steps_make(&w.plan, STAGE_STARTED, &w.run, &s), 0);
	IS_INT(s.s[0].fold, FOLD_WITHOUT);
	OK(!s.s[0].insists);
	IS_INT(s.s[4].fold, FOLD_NONE); /* its own */
	steps_fini(&s);
	/* a partition moves threads that have nobody's choice */
	set(&w, "cpu.policy", "partition", STAGE_STARTED, "2");
	w.run.has_exclusive = true;
	IS_INT(steps_make(&w.plan, STAGE_STARTED, &w.run, &s), 0);
	OK(s.s[0].insists && s.s[1].insists);
	steps_fini(&s);
	w.run.has_exclusive = false;
	IS_INT(steps_make(&w.plan, STAGE_STARTED, &w.run, &s), 0);
	OK(!s.s[0].insists);
	steps_fini(&s);
	w.run.kthreads = NULL;
	w.run.n_kthreads = 0;
	OK(strstr(steps_text(&w, STAGE_STARTED, true),
		  "skipped cpu.policy[kvm-threads]: the kernel has none for this guest, or they are threads of QEMU"));
	world_fini(&w);
}

/* From the top down, shared above the scope; then each vCPU that has its CPU alone. */
TEST(partitions)
{
#define X "/cpuset.cpus.exclusive="
#define G "sys/cg/machine.slice/machine-gold.slice/" SCOPE
	static const struct {
		enum where where;
		unsigned int shared;
		const char *want;
	} cases[] = {
		{V2_SLICES, 2,
		 "cgroup sys/cg/machine.slice" X "2-3\ncgroup sys/cg/machine.slice/machine-gold.slice" X "2-3\n"
		 "cgroup " G X "2-3\ncgroup " G "/libvirt" X "2-3\n"
		 "cgroup " G "/libvirt/vcpu0" X "2\ncgroup " G "/libvirt/vcpu0/cpuset.cpus.partition=isolated\n"
		 "cgroup " G "/libvirt/vcpu1" X "3\ncgroup " G "/libvirt/vcpu1/cpuset.cpus.partition=isolated\n"},
		{V2, 1,
		 "cgroup cg/machine" X "2-3\ncgroup cg/machine/q" X "2-3\n"
		 "cgroup cg/machine/q/vcpu0" X "2\ncgroup cg/machine/q/vcpu0/cpuset.cpus.partition=isolated\n"
		 "cgroup cg/machine/q/vcpu1" X "3\ncgroup cg/machine/q/vcpu1/cpuset.cpus.partition=isolated\n"},
	};
	struct steps s;
	struct world w;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		world_init(&w, cases[i].where, 612);
		place_at(&w, "2 3 -", "0", "0");
		set(&w, "cpu.policy", "partition", STAGE_STARTED, "2-3");
		w.run.has_exclusive = true;
		IS_STR(steps_text(&w, STAGE_STARTED, true), cases[i].want);
		IS_INT(steps_make(&w.plan, STAGE_STARTED, &w.run, &s), 0);
		for (unsigned int k = 0; k < s.n; k++) {
			IS_INT(s.s[k].fold, k < cases[i].shared ? FOLD_UNION : FOLD_NONE);
			OK(s.s[k].all_or_none);
		}
		steps_fini(&s);
		world_fini(&w);
	}
	/* a vCPU of which others have the CPU as well */
	world_init(&w, V2, 612);
	place_at(&w, "2 3", "0", "0");
	set(&w, "cpu.policy", "partition", STAGE_STARTED, "3");
	w.run.has_exclusive = true;
	OK(!strstr(steps_text(&w, STAGE_STARTED, true), "vcpu0"));
	OK(strstr(w.text, "vcpu1/cpuset.cpus.partition=isolated"));
	w.run.has_exclusive = false;
	IS_STR(steps_text(&w, STAGE_STARTED, true), "skipped cpu.policy[partition]: no cpuset.cpus.exclusive here (Linux 6.7): "
						    "done by cpusets alone\n");
	world_fini(&w);
#undef X
#undef G
}

TEST(classes_of_an_interface)
{
	static const struct {
		enum netdev_way way;
		uint64_t limit;
		const char *flow, *rest;
	} cases[] = {
		{NETDEV_BRIDGED, 2000, "bridged dev=vnet7:12 mac=" MAC1, "net vnet7:12/limit=rate=2000 burst=3036\n"},
		{NETDEV_BRIDGED, 0, "bridged dev=vnet7:12 mac=" MAC1, ""},
		{NETDEV_ROUTED, 0, "routed dev=vnet7:12 mac=" MAC1 " mark=0x200/0xff00", ""},
		{NETDEV_DIRECT, 0, "direct mac=" MAC1, ""},
	};
	static const char *const knobs[] = {"interface.rate", "interface.ceil", "interface.burst", "interface.priority"};
	char expected[512];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct world w;

		world_init(&w, V2, 612);
		add_uplink(&w, "eth0", 2, 1000000);
		add_link(&w, MAC1, "eth0", cases[i].way, 0xd00f, cases[i].limit);
		add_tap(&w, MAC2, "vnet6", 11, 1);
		add_tap(&w, MAC1, "vnet7", 12, 1);
		for (size_t k = 0; k < ARRAY_SIZE(knobs); k++)
			set(&w, knobs[k], MAC1, STAGE_STARTED, "1000");
		(void)snprintf(expected, sizeof(expected),
			       "net eth0:2/tree=link=1000000 rest=50000 prio=3\n"
			       "net eth0:2/class/d00f=rate=1000 ceil=2000 burst=3036 prio=1\n"
			       "net eth0:2/flow/d00f=%s\n%s",
			       cases[i].flow, cases[i].rest);
		OK(steps_need_taps(&w.plan));
		IS_STR(steps_text(&w, STAGE_STARTED, true), expected);
		net_fini(&w);
	}
}

/* One hold of the lock for the trees of all interfaces, and what hangs in them after them. */
TEST(shared_steps_come_first)
{
	struct world w;

	world_init(&w, V2, 612);
	add_uplink(&w, "eth0", 2, 1000000);
	add_uplink(&w, "eth1", 3, 1000000);
	add_link(&w, MAC1, "eth0", NETDEV_BRIDGED, 0xd001, 0);
	add_link(&w, MAC2, "eth1", NETDEV_BRIDGED, 0xd002, 0);
	add_tap(&w, MAC1, "vnet6", 11, 1);
	add_tap(&w, MAC2, "vnet7", 12, 1);
	set(&w, "interface.rate", MAC1, STAGE_STARTED, "1000");
	set(&w, "interface.rate", MAC2, STAGE_STARTED, "1000");
	IS_STR(steps_text(&w, STAGE_STARTED, true), "net eth0:2/tree=link=1000000 rest=50000 prio=3\n"
						    "net eth1:3/tree=link=1000000 rest=50000 prio=3\n"
						    "net eth0:2/class/d001=rate=1000 ceil=2000 burst=3036 prio=1\n"
						    "net eth0:2/flow/d001=bridged dev=vnet6:11 mac=" MAC1 "\n"
						    "net eth1:3/class/d002=rate=1000 ceil=2000 burst=3036 prio=1\n"
						    "net eth1:3/flow/d002=bridged dev=vnet7:12 mac=" MAC2 "\n");
	net_fini(&w);
}

TEST(classes_on_two_uplinks)
{
	struct world w;
	struct steps s;

	world_init(&w, V2, 612);
	add_uplink(&w, "eth0", 2, 1000000);
	add_uplink(&w, "eth1", 3, 2000000);
	add_link(&w, MAC2, "eth1", NETDEV_BRIDGED, 0xd001, 0);
	add_link(&w, MAC1, "eth0", NETDEV_BRIDGED, 0xd002, 0);
	add_link(&w, MAC1, "eth1", NETDEV_BRIDGED, 0xd002, 0);
	add_tap(&w, MAC1, "vnet7", 12, 1);
	set(&w, "interface.rate", MAC1, STAGE_STARTED, "1000");
	IS_STR(steps_text(&w, STAGE_STARTED, true),
	       "net eth0:2/tree=link=1000000 rest=50000 prio=3\n"
	       "net eth1:3/tree=link=2000000 rest=100000 prio=3\n"
	       "net eth0:2/class/d002=rate=1000 ceil=2000 burst=3036 prio=1\n"
	       "net eth1:3/class/d002=rate=1000 ceil=2000 burst=3036 prio=1\n"
	       "net eth0:2/flow/d002=bridged dev=vnet7:12 mac=" MAC1 "\n"
	       "net eth1:3/flow/d002=bridged dev=vnet7:12 mac=" MAC1 "\n");
	IS_INT(steps_make(&w.plan, STAGE_STARTED, &w.run, &s), 0);
	for (unsigned int i = 0; i < s.n; i++) {
		IS_INT(s.s[i].fold, i < 2 ? FOLD_FIRST : FOLD_NONE);
		OK(s.s[i].is_vital);
	}
	steps_fini(&s);
	net_fini(&w);
}

/* What came by hot-plug has no alias that anybody knows, and the host's MAC address. */
TEST(a_tap_that_was_plugged_in)
{
	struct world w;

	world_init(&w, V2, 612);
	add_tap(&w, "fe:54:00:00:00:02", "vnet5", 10, 1);
	add_tap(&w, "fe:54:00:00:00:01", "vnet6", 11, 1);
	(void)snprintf(w.run.taps[1].tap.alias, sizeof(w.run.taps[1].tap.alias), "net0");
	add_tap(&w, "fe:54:00:00:00:01", "vnet7", 12, 1);
	set(&w, "interface.steering", MAC1, STAGE_STARTED, "0-1");
	IS_STR(steps_text(&w, STAGE_STARTED, true), "mask sys/class/net/vnet7:12/queues/rx-0/rps_cpus=0-1\n");
	net_fini(&w);
}

/* Unplugged, or a tap that cannot be read: nothing is made for nobody, and the reason is the same for all. */
TEST(an_interface_without_its_tap)
{
	static const char why[] = "QEMU has no host device open for it";
	struct world w;
	char expected[512];

	world_init(&w, V2, 612);
	add_uplink(&w, "eth0", 2, 1000000);
	add_link(&w, MAC1, "eth0", NETDEV_BRIDGED, 0xd001, 2000);
	add_tap(&w, MAC2, "vnet6", 11, 1);
	set(&w, "interface.rate", MAC1, STAGE_STARTED, "1000");
	set(&w, "interface.ceil", MAC1, STAGE_STARTED, "2000");
	set(&w, "interface.priority", MAC1, STAGE_STARTED, "1");
	set(&w, "interface.steering", MAC1, STAGE_STARTED, "0-1");
	(void)snprintf(expected, sizeof(expected),
		       "skipped interface.rate[%s]: %s\nskipped interface.ceil[%s]: %s\n"
		       "skipped interface.priority[%s]: %s\nskipped interface.steering[%s]: %s\n",
		       MAC1, why, MAC1, why, MAC1, why, MAC1, why);
	IS_STR(steps_text(&w, STAGE_STARTED, true), expected);
	net_fini(&w);
}

/* The limit of a tap whose interface has no class: no uplink has any part of it. */
TEST(a_limit_alone)
{
	struct plan_link l = {.way = NETDEV_ROUTED, .limit = 8000000, .mac = MAC1};
	struct world w;

	world_init(&w, V2, 612);
	IS_INT(plan_add_link(&w.plan, &l), 0);
	add_tap(&w, MAC1, "vnet7", 12, 1);
	set(&w, "interface.ceil", MAC1, STAGE_STARTED, "8000000");
	IS_STR(steps_text(&w, STAGE_STARTED, true), "net vnet7:12/limit=rate=8000000 burst=4000\n");
	net_fini(&w);
}

TEST(steering)
{
	static const struct {
		unsigned int queues;
		const char *steps;
	} cases[] = {
		{0, "skipped interface.steering[" MAC1 "]: vnet7 has no receive queue\n"},
		{1, "mask sys/class/net/vnet7:12/queues/rx-0/rps_cpus=0-3\n"},
		{2, "mask sys/class/net/vnet7:12/queues/rx-0/rps_cpus=0-3\n"
		    "mask sys/class/net/vnet7:12/queues/rx-1/rps_cpus=0-3\n"
		    "mask sys/class/net/vnet7:12/queues/tx-0/xps_cpus=0-3\n"
		    "mask sys/class/net/vnet7:12/queues/tx-1/xps_cpus=0-3\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct world w;

		world_init(&w, V2, 612);
		add_tap(&w, MAC1, "vnet7", 12, cases[i].queues);
		set(&w, "interface.steering", MAC1, STAGE_STARTED, "3,0-2");
		IS_STR(steps_text(&w, STAGE_STARTED, true), cases[i].steps);
		net_fini(&w);
	}
}

TEST(rings)
{
	struct world w;
	struct steps s;

	world_init(&w, V2, 612);
	add_uplink(&w, "eth0", 2, 0);
	set(&w, "interface.rx-ring", "eth0", STAGE_PREPARE, "4096");
	set(&w, "interface.tx-ring", "eth1", STAGE_PREPARE, "4096");
	OK(!steps_need_taps(&w.plan));
	IS_STR(steps_text(&w, STAGE_PREPARE, false),
	       "net eth0:2/rx-ring=4096\nskipped interface.tx-ring[eth1]: the plan does not know this device\n");
	IS_INT(steps_make(&w.plan, STAGE_PREPARE, NULL, &s), 0);
	OK(s.n == 1 && s.s[0].fold == FOLD_MAX);
	steps_fini(&s);
	world_fini(&w);
}

TAP_MAIN

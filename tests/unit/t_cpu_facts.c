/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files of a host in, what is known of its CPUs' states and of real-time scheduling out. */
#include "common/cpu_facts.h"

#include "root.h"

static void ask(struct intent *in, enum knob_id id, const char *value)
{
	struct err e = ERR_INIT;

	IS_INT(knob_parse_value(id, value, &in->v[id], &e), 0);
}

static void unask(struct intent *in)
{
	for (unsigned int i = 0; i < KNOB_ID_MAX; i++)
		value_fini(&in->v[i]);
}

static void online(struct host *h, const char *list)
{
	memset(h, 0, sizeof(*h));
	h->kernel = 601;
	IS_INT(idset_parse(list, &h->online), 0);
}

static void put_policy(struct root *t, unsigned int number, const char *related, const char *governor)
{
	static const char *const files[][2] = {
		{"scaling_driver", "acpi-cpufreq\n"},
		{"scaling_available_governors", "performance schedutil\n"},
		{"energy_performance_available_preferences", "default performance \n"},
	};
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		(void)snprintf(path, sizeof(path), "sys/devices/system/cpu/cpufreq/policy%u/%s", number, files[i][0]);
		root_put(t, path, files[i][1]);
	}
	(void)snprintf(path, sizeof(path), "sys/devices/system/cpu/cpufreq/policy%u/related_cpus", number);
	root_put(t, path, related);
	(void)snprintf(path, sizeof(path), "sys/devices/system/cpu/cpufreq/policy%u/scaling_governor", number);
	root_put(t, path, governor);
}

TEST(asked)
{
	static const struct {
		enum knob_id id;
		const char *value;
		bool asked;
	} rows[] = {
		{KNOB_CPU_GOVERNOR, "performance", true},  {KNOB_CPU_ENERGY, "power", true},
		{KNOB_CPU_WAKEUP, "0", true},              {KNOB_CPU_HALT_POLL, "0", true},
		{KNOB_CPU_CORE_SCHED, "yes", true},        {KNOB_CPU_SCHEDULER, "fifo", true},
		{KNOB_CPU_SCHEDULER, "rr", true},          {KNOB_CPU_SCHEDULER, "batch", false},
		{KNOB_CPU_WEIGHT, "5", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct intent in = {0};

		ask(&in, rows[i].id, rows[i].value);
		IS_INT(cpu_facts_are_asked(&in), rows[i].asked);
		unask(&in);
	}
}

TEST(policies)
{
	struct intent in = {0};
	struct cpu_facts f;
	struct host h;
	struct root t;

	root_init(&t);
	online(&h, "0-5");
	ask(&in, KNOB_CPU_GOVERNOR, "performance");
	IS_INT(cpu_facts_read(&t.fs, &in, &h, &f), 0);
	IS_INT(f.n_policy, 0);
	OK(!f.rt_known && !f.has_wakeup && !*f.sched_core);
	cpu_facts_fini(&f);

	put_policy(&t, 0, "0 1 2 \n", "schedutil\n");
	put_policy(&t, 3, "3 4 9\n", "performance\n");
	root_mkdir(&t, "sys/devices/system/cpu/cpufreq/boost");
	IS_INT(cpu_facts_read(&t.fs, &in, &h, &f), 0);
	IS_INT(f.n_policy, 6);
	IS_INT(f.policy[2], 0);
	IS_INT(f.policy[3], 3);
	IS_INT(f.policy[4], 3);
	IS_INT(f.policy[5], -1);
	IS_STR(f.driver, "acpi-cpufreq");
	IS_STR(f.governors, "performance schedutil");
	OK(!f.governor);
	cpu_facts_fini(&f);

	/* Where each CPU has its own the others' lists are not looked at. */
	for (unsigned int i = 1; i < 6; i++)
		put_policy(&t, i, "nonsense", "schedutil\n");
	ask(&in, KNOB_CPU_ENERGY, "power");
	IS_INT(cpu_facts_read(&t.fs, &in, &h, &f), 0);
	IS_INT(f.policy[2], 2);
	IS_INT(f.policy[5], 5);
	IS_STR(f.governor[5], "schedutil");
	OK(f.governor && strstr(f.preferences, "performance"));
	cpu_facts_fini(&f);
	unask(&in);
	root_fini(&t);
}

static void read_rt(struct root *t, unsigned int kernel, struct cpu_facts *f)
{
	struct intent in = {0};
	struct host h;

	online(&h, "0-3");
	h.kernel = kernel;
	ask(&in, KNOB_CPU_SCHEDULER, "fifo");
	IS_INT(cpu_facts_read(&t->fs, &in, &h, f), 0);
	OK(f->rt_known);
	unask(&in);
}

static bool is_set(const struct idset *set, const char *list)
{
	_cleanup_free_ char *text = idset_text(set);

	return text && streq(text, list);
}

TEST(throttling)
{
	static const struct {
		unsigned int kernel;
		const char *runtime, *period;
		bool throttles;
		unsigned int left;
	} rows[] = {
		{601, "950000\n", "1000000\n", true, 5}, {601, "-1\n", "1000000\n", false, 0},
		{601, "1000000\n", "1000000\n", false, 0}, {601, "500000\n", "1000000\n", true, 50},
		{601, "0\n", "1000000\n", true, 100},    {601, "x\n", "1000000\n", true, 0},
		{611, "-1\n", "1000000\n", false, 0},    {612, "-1\n", "1000000\n", true, 5},
	};
	struct cpu_facts f;
	struct root t;

	root_init(&t);
	read_rt(&t, 601, &f);
	OK(f.throttles && f.left == 0 && !f.preempts && !f.swaps && !f.merges && f.n_kthreads == 0);
	cpu_facts_fini(&f);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		root_put(&t, "proc/sys/kernel/sched_rt_runtime_us", rows[i].runtime);
		root_put(&t, "proc/sys/kernel/sched_rt_period_us", rows[i].period);
		read_rt(&t, rows[i].kernel, &f);
		if (f.throttles != rows[i].throttles || f.left != rows[i].left)
			TAP_FAIL("%u, %s: %d %u", rows[i].kernel, rows[i].runtime, f.throttles, f.left);
		cpu_facts_fini(&f);
	}
	root_put(&t, "sys/kernel/debug/sched/fair_server/cpu1/runtime", "0\n");
	root_put(&t, "sys/kernel/debug/sched/fair_server/cpu2/runtime", "50000000\n");
	read_rt(&t, 612, &f);
	OK(is_set(&f.unserved, "1"));
	cpu_facts_fini(&f);
	root_fini(&t);
}

TEST(boot)
{
	static const struct {
		const char *cmdline, *nohz_full, *nocbs;
	} rows[] = {
		{"quiet rcu_nocbs=1-2", "", "1-2"},   {"rcu_nocbs=all quiet", "", "0-3"},
		{"rcu_nocbs", "", ""},                {"xrcu_nocbs=1", "", ""},
		{"rcu_nocbs=1 rcu_nocbs=2", "", "2"}, {"rcu_nocbs=nonsense", "", ""},
		{"rcu_nocbs=1", "3\n", "1,3"},        {"", "(null)\n", ""},
	};
	struct cpu_facts f;
	struct root t;

	root_init(&t);
	root_put(&t, "sys/devices/system/cpu/isolated", "2-3\n");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		root_put(&t, "proc/cmdline", rows[i].cmdline);
		root_put(&t, "sys/devices/system/cpu/nohz_full", rows[i].nohz_full);
		read_rt(&t, 601, &f);
		if (!is_set(&f.nocbs, rows[i].nocbs) || !is_set(&f.isolated, "2-3"))
			TAP_FAIL("%s", rows[i].cmdline);
		cpu_facts_fini(&f);
	}
	root_put(&t, "proc/version", "Linux version 6.1.0-18-rt-amd64 (...) #1 SMP PREEMPT_RT Debian\n");
	root_put(&t, "proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 8 0 -2\n");
	root_put(&t, "sys/kernel/mm/ksm/run", "1\n");
	read_rt(&t, 601, &f);
	OK(f.preempts && f.swaps && f.merges);
	cpu_facts_fini(&f);
	root_put(&t, "proc/version", "Linux version 6.1.0-18-amd64 (...) #1 SMP PREEMPT_DYNAMIC Debian\n");
	root_put(&t, "proc/swaps", "Filename Type Size Used Priority\n");
	root_put(&t, "sys/kernel/mm/ksm/run", "2\n");
	read_rt(&t, 601, &f);
	OK(!f.preempts && !f.swaps && !f.merges);
	cpu_facts_fini(&f);
	root_put(&t, "sys/kernel/realtime", "1\n");
	read_rt(&t, 601, &f);
	OK(f.preempts);
	cpu_facts_fini(&f);
	root_fini(&t);
}

/* proc(5): priority is field 40. */
static void put_kthread(struct root *t, unsigned int pid, const char *comm, unsigned int priority)
{
	char path[64], text[256];
	int n = snprintf(text, sizeof(text), "%u (%s) S 2", pid, comm);

	for (int i = 5; i < 40; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, " 0");
	(void)snprintf(text + n, sizeof(text) - (size_t)n, " %u 1 0 0\n", priority);
	(void)snprintf(path, sizeof(path), "proc/%u/stat", pid);
	root_put(t, path, text);
}

TEST(kernel_threads)
{
	struct cpu_facts f;
	struct root t;

	root_init(&t);
	root_put(&t, "proc/2/task/2/children", "3 14 15 16 17 18 99 .. x/y\n");
	put_kthread(&t, 14, "ksoftirqd/0", 0);
	put_kthread(&t, 15, "rcuc/0", 4);
	put_kthread(&t, 16, "ktimers/0", 2);
	put_kthread(&t, 17, "migration/1", 99);
	put_kthread(&t, 18, "ktimers/1", 1);
	put_kthread(&t, 3, "rcuc/x", 1);
	read_rt(&t, 612, &f);
	IS_INT(f.n_kthreads, 2);
	if (f.n_kthreads == 2) {
		IS_STR(f.kthreads[0].name, "ktimers");
		IS_INT(f.kthreads[0].cpu, 0);
		IS_INT(f.kthreads[0].priority, 2);
		IS_INT(f.kthreads[1].cpu, 1);
		IS_INT(f.kthreads[1].priority, 1);
	}
	cpu_facts_fini(&f);
	root_fini(&t);
}

TEST(core_scheduling)
{
	static const struct {
		const char *conf, *want;
	} rows[] = {
		{"", "none"},
		{"# sched_core = \"full\"\n", "none"},
		{"sched_core = \"vcpus\"\n", "vcpus"},
		{"  sched_core=\"full\" # why\n", "full"},
		{"sched_core = \"full\"\nsched_core = \"none\"\n", "none"},
		{"sched_cores = \"full\"\n", "none"},
		{"sched_core = full\n", "none"},
		{"sched_core = \"a very long word that is none of them\"\n", "none"},
	};
	struct intent in = {0};
	struct cpu_facts f;
	struct host h;
	struct root t;

	root_init(&t);
	online(&h, "0-3");
	ask(&in, KNOB_CPU_CORE_SCHED, "yes");
	IS_INT(cpu_facts_read(&t.fs, &in, &h, &f), 0);
	IS_STR(f.sched_core, "none");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		root_put(&t, "etc/libvirt/qemu.conf", rows[i].conf);
		IS_INT(cpu_facts_read(&t.fs, &in, &h, &f), 0);
		IS_STR(f.sched_core, rows[i].want);
		cpu_facts_fini(&f);
	}
	unask(&in);
	root_fini(&t);
}

TAP_MAIN

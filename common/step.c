/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From settings to host objects. One table, rows[]: a setting takes every row of its knob and target kind whose
 * condition holds; the row's place says which objects, its value function how the value is spelled there. A
 * setting for which no row found an object is reported as skipped with the reason that the last place gave. The places
 * are in step_place.c.
 *
 * Nothing here reads the host: threads and groups are in struct run.
 */
#include "step_priv.h"

#include <inttypes.h>

#include "num.h"

#define QUOTA_MIN_US 1000 /* min_cfs_quota_period, kernel/sched/core.c */

/* conditions */

static bool on_v1(const struct expansion *x)
{
	return x->run->layout.at[x->row->controller].version == 1;
}

static bool in_scope(const struct expansion *x)
{
	return x->run->scope[0] != '\0';
}

static bool v1_without_scope(const struct expansion *x)
{
	return !in_scope(x) && on_v1(x);
}

static bool v2_without_scope(const struct expansion *x)
{
	return !in_scope(x) && !on_v1(x);
}

static bool v1_own_group(const struct expansion *x)
{
	return on_v1(x) && !step_domain_is_scope(x);
}

static bool v2_own_group(const struct expansion *x)
{
	return !on_v1(x) && !step_domain_is_scope(x);
}

/* Limits need not be where weights are: the scope's are only for a domain whose own group has no I/O controller. */
static bool io_of_scope(const struct expansion *x)
{
	return step_domain_is_scope(x) || (in_scope(x) && !on_v1(x) && !x->run->has_io_max);
}

static bool v2_io_of_group(const struct expansion *x)
{
	return !on_v1(x) && !io_of_scope(x);
}

static bool on_v2(const struct expansion *x)
{
	return x->run->layout.at[x->row->controller].version == 2;
}

static bool not_v1(const struct expansion *x)
{
	return !on_v1(x);
}

static bool not_v2(const struct expansion *x)
{
	return !on_v2(x);
}

static bool v2_not_scope(const struct expansion *x)
{
	return on_v2(x) && !step_domain_is_scope(x);
}

static bool v2_in_scope(const struct expansion *x)
{
	return on_v2(x) && in_scope(x) && x->run->domain_group[x->row->controller][0];
}

static bool v2_is_scope(const struct expansion *x)
{
	return on_v2(x) && step_domain_is_scope(x);
}

static bool has_bfq(const struct expansion *x)
{
	const struct plan_device *d = plan_find_block(x->plan, x->setting->target);

	return d && d->bfq;
}

static bool v2_scope_bfq(const struct expansion *x)
{
	return in_scope(x) && !on_v1(x) && has_bfq(x);
}

static bool v2_scope_no_bfq(const struct expansion *x)
{
	return in_scope(x) && !on_v1(x) && !has_bfq(x);
}

static bool v2_bfq(const struct expansion *x)
{
	return v2_without_scope(x) && has_bfq(x);
}

static bool v2_no_bfq(const struct expansion *x)
{
	return v2_without_scope(x) && !has_bfq(x);
}

static bool parts_float(const struct expansion *x)
{
	return !step_whole_domain_floats(x);
}

/* Not one of the kernel's masks: those have rows of their own. */
static bool is_host_group(const struct expansion *x)
{
	return strchr(x->setting->target, '/') || strchr(x->setting->target, '.');
}

/* values */

static int as_written(const struct expansion *x, char *buf, size_t size)
{
	int n = snprintf(buf, size, "%s", x->setting->value);

	return n < 0 || (size_t)n >= size ? -EINVAL : 0;
}

static int cpu_list(const struct expansion *x, char *buf, size_t size)
{
	struct idset cpus;

	return idset_parse(x->setting->value, &cpus) < 0 || idset_format(&cpus, buf, size) < 0 ? -EINVAL : 0;
}

static int weight_as(const struct expansion *x, uint64_t (*convert)(uint64_t weight), char *buf, size_t size)
{
	uint64_t weight;

	if (num_parse_range(x->setting->value, 1, 10000, &weight) < 0)
		return -EINVAL;
	(void)snprintf(buf, size, "%" PRIu64, convert(weight)); /* 20 digits always fit */
	return 0;
}

static int shares(const struct expansion *x, char *buf, size_t size)
{
	return weight_as(x, cgroup_shares_of_weight, buf, size);
}

static int bfq_weight(const struct expansion *x, char *buf, size_t size)
{
	return weight_as(x, cgroup_bfq_of_weight, buf, size);
}

/* systemd makes a bfq weight of it. */
static int unit_bfq_weight(const struct expansion *x, char *buf, size_t size)
{
	return weight_as(x, cgroup_unit_of_bfq, buf, size);
}

static uint64_t quota_of(uint64_t percent, uint64_t period)
{
	uint64_t quota = percent * period / 100;

	return quota < QUOTA_MIN_US ? QUOTA_MIN_US : quota;
}

/* CPU time per period of `period` microseconds. */
static int quota_us(const struct expansion *x, uint64_t period, uint64_t *ret)
{
	uint64_t percent;

	if (num_parse_percent(x->setting->value, &percent) < 0 || percent == 0 || percent > UINT32_MAX ||
	    period > UINT32_MAX)
		return -EINVAL;
	*ret = quota_of(percent, period);
	return 0;
}

static int cpu_max(const struct expansion *x, char *buf, size_t size)
{
	uint64_t quota;
	int r = quota_us(x, x->run->period_us, &quota);

	if (r == 0)
		(void)snprintf(buf, size, "%" PRIu64 " %" PRIu64, quota, x->run->period_us); /* fits */
	return r;
}

/* The period stays what it is, so that this is one write, and one object. */
static int cfs_quota(const struct expansion *x, char *buf, size_t size)
{
	uint64_t quota;
	int r = quota_us(x, x->run->period_us, &quota);

	if (r == 0)
		(void)snprintf(buf, size, "%" PRIu64, quota); /* fits */
	return r;
}

/* systemd's CPUQuotaPerSecUSec */
static int quota_per_second(const struct expansion *x, char *buf, size_t size)
{
	uint64_t quota;
	int r = quota_us(x, 1000000, &quota);

	if (r == 0)
		(void)snprintf(buf, size, "%" PRIu64, quota); /* fits */
	return r;
}

/* The plan's milliseconds, but no more than the quota gives in one period of this group: the kernel refuses more. */
static int burst_us(const struct expansion *x, char *buf, size_t size)
{
	uint64_t burst, percent, most = UINT64_MAX;

	if (num_parse_range(x->setting->value, 0, 1000000, &burst) < 0)
		return -EINVAL;
	burst *= 1000;
	for (size_t i = 0; i < x->plan->n_settings; i++)
		if (streq(x->plan->settings[i].knob, "cpu.quota") &&
		    num_parse_percent(x->plan->settings[i].value, &percent) == 0)
			most = quota_of(percent, x->run->period_us);
	(void)snprintf(buf, size, "%" PRIu64, burst < most ? burst : most); /* fits */
	return 0;
}

/* places */

/*
 * Protection reaches a group only as far as every group above it has it too (cgroup-v2.rst, memory.min: the effective
 * boundary is limited by all ancestors). So the ancestors get the sum of what the domains below them ask for, and
 * the chain is written from the top down.
 *
 * cpuset.mems is in no row: on v2 such a write moves all memory of the group before it returns
 * (Documentation/admin-guide/cgroup-v2.rst), seconds per GiB.
 *
 * What wins where domains disagree about a disk: the scheduler that does most for fairness; the domain that asks for
 * more requests or more read-ahead, since too few stall it while too many only cost memory; completions as near as one
 * asks for, since 2 spreads the work that 0 and 1 pile up; merges, as long as one wants them, since a merge that is
 * looked for in vain costs some cycles, one that is not made costs a request; the lower latency target, and throttling
 * rather than none (0). The original has no say: who asks for less than there was gets less if he is alone.
 */
/* clang-format off */
static const struct row rows[] = {
	{ "cpu.policy", "vcpu", STAGE_STARTED, NULL, step_at_target_group, cpu_list,
	  "cpuset.cpus", CGROUP_CPUSET, AFFINITY_SET, FOLD_NONE, NULL },
	{ "cpu.policy", "", STAGE_STARTED, step_whole_domain_floats, step_at_domain_group, cpu_list,
	  "cpuset.cpus", CGROUP_CPUSET, AFFINITY_KEEP, FOLD_NONE, NULL },
	{ "cpu.policy", "", STAGE_STARTED, parts_float, step_at_floating_groups, cpu_list,
	  "cpuset.cpus", CGROUP_CPUSET, AFFINITY_KEEP, FOLD_NONE, NULL },
	{ "cpu.policy", "workqueue", STAGE_PREPARE, NULL, step_at_mask, cpu_list,
	  "sys/devices/virtual/workqueue/cpumask", CGROUP_CPUSET, AFFINITY_NONE, FOLD_WITHOUT, NULL },
	{ "cpu.policy", "writeback", STAGE_PREPARE, NULL, step_at_mask, cpu_list,
	  "sys/devices/virtual/workqueue/writeback/cpumask", CGROUP_CPUSET, AFFINITY_NONE, FOLD_WITHOUT, NULL },
	{ "cpu.policy", "*", STAGE_PREPARE, is_host_group, step_at_host_group, cpu_list,
	  "cpuset.cpus", CGROUP_CPUSET, AFFINITY_NONE, FOLD_WITHOUT, NULL },
	{ "cpu.policy", "kernel-threads", STAGE_STARTED, NULL, step_at_kthreads, cpu_list,
	  "affinity", CGROUP_CPUSET, AFFINITY_NONE, FOLD_WITHOUT, NULL },
	{ "cpu.policy", "kvm-threads", STAGE_STARTED, NULL, step_at_own_kthreads, cpu_list,
	  "affinity", CGROUP_CPUSET, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "cpu.policy", "partition", STAGE_STARTED, NULL, step_at_partition, cpu_list,
	  "cpuset.cpus.exclusive", CGROUP_CPUSET, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "cpu.emulator", "", STAGE_STARTED, NULL, step_at_target_group, cpu_list,
	  "cpuset.cpus", CGROUP_CPUSET, AFFINITY_SET, FOLD_NONE, NULL },
	{ "cpu.iothreads", "iothread", STAGE_STARTED, NULL, step_at_target_group, cpu_list,
	  "cpuset.cpus", CGROUP_CPUSET, AFFINITY_SET, FOLD_NONE, NULL },

	{ "cpu.weight", "", STAGE_STARTED, in_scope, step_at_scope, as_written,
	  "CPUWeight", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "cpu.weight", "", STAGE_STARTED, v1_without_scope, step_at_domain_group, shares,
	  "cpu.shares", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "cpu.weight", "", STAGE_STARTED, v2_without_scope, step_at_domain_group, as_written,
	  "cpu.weight", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },

	{ "cpu.quota", "", STAGE_STARTED, step_domain_is_scope, step_at_scope, quota_per_second,
	  "CPUQuotaPerSecUSec", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "cpu.quota", "", STAGE_STARTED, v1_own_group, step_at_domain_group, cfs_quota,
	  "cpu.cfs_quota_us", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "cpu.quota", "", STAGE_STARTED, v2_own_group, step_at_domain_group, cpu_max,
	  "cpu.max", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },

	{ "cpu.burst", "", STAGE_STARTED, on_v1, step_at_domain_group, burst_us,
	  "cpu.cfs_burst_us", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "cpu.burst", "", STAGE_STARTED, not_v1, step_at_domain_group, burst_us,
	  "cpu.max.burst", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },

	{ "cpu.cache", "", STAGE_PREPARE, NULL, step_at_class, as_written,
	  "", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "cpu.cache", "*", STAGE_STARTED, NULL, step_at_class_threads, as_written,
	  "", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "memory.bandwidth", "", STAGE_PREPARE, NULL, step_at_class, as_written,
	  "", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "memory.bandwidth", "*", STAGE_STARTED, NULL, step_at_class_threads, as_written,
	  "", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "cpu.scheduler", "vcpu", STAGE_STARTED, NULL, step_at_vcpu_threads, step_sched_value,
	  "sched", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "cpu.scheduler", "", STAGE_STARTED, NULL, step_at_vcpu_threads, step_sched_value,
	  "sched", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },

	/*
	 * Of a clock that several CPUs have the fastest answer wins. A CPU is claimed by one domain: two claims on its sleep
	 * meet only while one of them goes. KVM's polling is only raised, since most guests of the host have not asked.
	 */
	{ "cpu.governor", "cpu", STAGE_PREPARE, NULL, step_at_governor, as_written,
	  "scaling_governor", CGROUP_CPU, AFFINITY_NONE, FOLD_STRONGEST, PLAN_GOVERNORS },
	{ "cpu.energy", "cpu", STAGE_PREPARE, NULL, step_at_energy, as_written,
	  "energy_performance_preference", CGROUP_CPU, AFFINITY_NONE, FOLD_STRONGEST, PLAN_PREFERENCES },
	{ "cpu.wakeup", "cpu", STAGE_PREPARE, NULL, step_at_cpu, as_written,
	  "power/pm_qos_resume_latency_us", CGROUP_CPU, AFFINITY_NONE, FOLD_STRONGEST, "n/a" },
	{ "cpu.halt-poll", "", STAGE_PREPARE, NULL, step_at_file, as_written,
	  "sys/module/kvm/parameters/halt_poll_ns", CGROUP_CPU, AFFINITY_NONE, FOLD_MAX, NULL },

	{ "memory.min", "", STAGE_STARTED, on_v2, step_at_ancestors, as_written,
	  "memory.min", CGROUP_MEMORY, AFFINITY_NONE, FOLD_SUM, NULL },
	{ "memory.min", "", STAGE_STARTED, v2_in_scope, step_at_scope, as_written,
	  "MemoryMin", CGROUP_MEMORY, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "memory.min", "", STAGE_STARTED, v2_not_scope, step_at_domain_group, as_written,
	  "memory.min", CGROUP_MEMORY, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "memory.min", "", STAGE_STARTED, not_v2, step_at_nothing, as_written,
	  "memory.min", CGROUP_MEMORY, AFFINITY_NONE, FOLD_NONE, NULL },

	{ "memory.low", "", STAGE_STARTED, on_v2, step_at_ancestors, as_written,
	  "memory.low", CGROUP_MEMORY, AFFINITY_NONE, FOLD_SUM, NULL },
	{ "memory.low", "", STAGE_STARTED, v2_in_scope, step_at_scope, as_written,
	  "MemoryLow", CGROUP_MEMORY, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "memory.low", "", STAGE_STARTED, v2_not_scope, step_at_domain_group, as_written,
	  "memory.low", CGROUP_MEMORY, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "memory.low", "", STAGE_STARTED, not_v2, step_at_nothing, as_written,
	  "memory.low", CGROUP_MEMORY, AFFINITY_NONE, FOLD_NONE, NULL },

	{ "memory.high", "", STAGE_STARTED, v2_is_scope, step_at_scope, as_written,
	  "MemoryHigh", CGROUP_MEMORY, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "memory.high", "", STAGE_STARTED, v2_not_scope, step_at_domain_group, as_written,
	  "memory.high", CGROUP_MEMORY, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "memory.high", "", STAGE_STARTED, not_v2, step_at_nothing, as_written,
	  "memory.high", CGROUP_MEMORY, AFFINITY_NONE, FOLD_NONE, NULL },

	{ "io.priority", "", STAGE_STARTED, NULL, step_at_threads, as_written,
	  "ioprio", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },

	{ "disk.scheduler", "*", STAGE_PREPARE, NULL, step_at_scheduler, as_written,
	  "scheduler", CGROUP_IO, AFFINITY_NONE, FOLD_STRONGEST, PLAN_SCHEDULERS },
	{ "disk.requests", "*", STAGE_PREPARE, NULL, step_at_queue, as_written,
	  "nr_requests", CGROUP_IO, AFFINITY_NONE, FOLD_LARGEST, NULL },
	{ "disk.read-ahead", "*", STAGE_PREPARE, NULL, step_at_queue, as_written,
	  "read_ahead_kb", CGROUP_IO, AFFINITY_NONE, FOLD_LARGEST, NULL },
	{ "disk.affinity", "*", STAGE_PREPARE, NULL, step_at_queue, as_written,
	  "rq_affinity", CGROUP_IO, AFFINITY_NONE, FOLD_STRONGEST, PLAN_AFFINITIES },
	{ "disk.latency", "*", STAGE_PREPARE, NULL, step_at_queue, as_written,
	  "wbt_lat_usec", CGROUP_IO, AFFINITY_NONE, FOLD_SMALLEST, NULL },
	{ "disk.merges", "*", STAGE_PREPARE, NULL, step_at_queue, as_written,
	  "nomerges", CGROUP_IO, AFFINITY_NONE, FOLD_STRONGEST, PLAN_MERGES },

	/* On v1 systemd knows blkio.weight_device alone, which went with cfq in Linux 5.0. */
	{ "disk.weight", "*", STAGE_STARTED, v2_scope_bfq, step_at_scope_device, unit_bfq_weight,
	  "IODeviceWeight", CGROUP_IO, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "disk.weight", "*", STAGE_STARTED, v2_scope_no_bfq, step_at_scope_device, as_written,
	  "IODeviceWeight", CGROUP_IO, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "disk.weight", "*", STAGE_STARTED, on_v1, step_at_group_device, bfq_weight,
	  "blkio.bfq.weight_device", CGROUP_IO, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "disk.weight", "*", STAGE_STARTED, v2_bfq, step_at_group_device, bfq_weight,
	  "io.bfq.weight", CGROUP_IO, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "disk.weight", "*", STAGE_STARTED, v2_no_bfq, step_at_group_device, as_written,
	  "io.weight", CGROUP_IO, AFFINITY_NONE, FOLD_NONE, NULL },

	{ "disk.read-bps", "*", STAGE_STARTED, io_of_scope, step_at_scope_device, as_written,
	  "IOReadBandwidthMax", CGROUP_IO, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "disk.read-bps", "*", STAGE_STARTED, v1_own_group, step_at_group_device, as_written,
	  "blkio.throttle.read_bps_device", CGROUP_IO, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "disk.read-bps", "*", STAGE_STARTED, v2_io_of_group, step_at_group_device, as_written,
	  "io.max rbps", CGROUP_IO, AFFINITY_NONE, FOLD_NONE, NULL },

	{ "disk.write-bps", "*", STAGE_STARTED, io_of_scope, step_at_scope_device, as_written,
	  "IOWriteBandwidthMax", CGROUP_IO, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "disk.write-bps", "*", STAGE_STARTED, v1_own_group, step_at_group_device, as_written,
	  "blkio.throttle.write_bps_device", CGROUP_IO, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "disk.write-bps", "*", STAGE_STARTED, v2_io_of_group, step_at_group_device, as_written,
	  "io.max wbps", CGROUP_IO, AFFINITY_NONE, FOLD_NONE, NULL },

	{ "disk.read-iops", "*", STAGE_STARTED, io_of_scope, step_at_scope_device, as_written,
	  "IOReadIOPSMax", CGROUP_IO, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "disk.read-iops", "*", STAGE_STARTED, v1_own_group, step_at_group_device, as_written,
	  "blkio.throttle.read_iops_device", CGROUP_IO, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "disk.read-iops", "*", STAGE_STARTED, v2_io_of_group, step_at_group_device, as_written,
	  "io.max riops", CGROUP_IO, AFFINITY_NONE, FOLD_NONE, NULL },

	{ "disk.write-iops", "*", STAGE_STARTED, io_of_scope, step_at_scope_device, as_written,
	  "IOWriteIOPSMax", CGROUP_IO, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "disk.write-iops", "*", STAGE_STARTED, v1_own_group, step_at_group_device, as_written,
	  "blkio.throttle.write_iops_device", CGROUP_IO, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "disk.write-iops", "*", STAGE_STARTED, v2_io_of_group, step_at_group_device, as_written,
	  "io.max wiops", CGROUP_IO, AFFINITY_NONE, FOLD_NONE, NULL },
	/* The tree before what hangs on it, the class before what leads to it; undone in reverse, the shared tree last. */
	{ "interface.rate", "*", STAGE_STARTED, NULL, step_at_trees, as_written,
	  "tree", CGROUP_CPU, AFFINITY_NONE, FOLD_FIRST, NULL },
	{ "interface.rate", "*", STAGE_STARTED, NULL, step_at_classes, as_written,
	  "class", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "interface.rate", "*", STAGE_STARTED, NULL, step_at_flows, as_written,
	  "flow", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "interface.ceil", "*", STAGE_STARTED, NULL, step_at_limit, as_written,
	  "limit", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },

	{ "interface.steering", "*", STAGE_STARTED, NULL, step_at_queues, cpu_list,
	  "rps_cpus", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "interface.rx-ring", "*", STAGE_PREPARE, NULL, step_at_ring, as_written,
	  "rx-ring", CGROUP_CPU, AFFINITY_NONE, FOLD_MAX, NULL },
	{ "interface.tx-ring", "*", STAGE_PREPARE, NULL, step_at_ring, as_written,
	  "tx-ring", CGROUP_CPU, AFFINITY_NONE, FOLD_MAX, NULL },

	{ "irq.policy", "", STAGE_PREPARE, NULL, step_at_interrupts, as_written,
	  "avoid:", CGROUP_CPU, AFFINITY_NONE, FOLD_IRQ, NULL },
	{ "irq.policy", "*", STAGE_PREPARE, NULL, step_at_device_interrupts, as_written,
	  "local:", CGROUP_CPU, AFFINITY_NONE, FOLD_IRQ, NULL },

	{ "sysctl", "*", STAGE_PREPARE, NULL, step_at_sysctl, as_written,
	  "proc/sys", CGROUP_CPU, AFFINITY_NONE, FOLD_MAX, NULL },
};
/* clang-format on */

/* Settings that are parts of the objects of another. */
static const struct {
	const char *knob, *lead;
} led[] = {
	{ "cpu.priority", "cpu.scheduler" },
	{ "interface.ceil", "interface.rate" },
	{ "interface.burst", "interface.rate" },
	{ "interface.priority", "interface.rate" },
};

const char *step_lead(const char *knob)
{
	for (size_t i = 0; i < ARRAY_SIZE(led); i++)
		if (streq(led[i].knob, knob))
			return led[i].lead;
	return NULL;
}

bool step_is_led(const char *knob)
{
	for (size_t i = 0; i < ARRAY_SIZE(led); i++)
		if (streq(led[i].knob, knob) || streq(led[i].lead, knob))
			return true;
	return false;
}

bool step_is_about(const struct setting *of_step, const struct setting *s)
{
	const char *lead = step_lead(s->knob);

	return of_step == s || (lead && streq(lead, of_step->knob) && streq(of_step->target, s->target));
}

static bool target_matches(const struct row *row, const char *target)
{
	size_t n = strlen(row->target);
	uint64_t number;

	if (streq(row->target, "*"))
		return *target != '\0';
	if (n == 0)
		return *target == '\0';
	if (streq(row->target, target))
		return true;
	return strncmp(target, row->target, n) == 0 && num_parse_u64(target + n, &number) == 0;
}

/* Once is enough, however often the steps of a running domain are made. */
static int add_skipped(struct expansion *x)
{
	const struct setting *s = x->setting;

	for (size_t i = 0; i < x->plan->n_skipped; i++)
		if (streq(x->plan->skipped[i].knob, s->knob) && streq(x->plan->skipped[i].target, s->target))
			return 0;
	return plan_add_skipped(x->plan, s->knob, s->target, x->why);
}

const struct row *step_find_row(const char *knob)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (streq(rows[i].knob, knob))
			return &rows[i];
	return NULL;
}

/* Whether the setting that leads this one has steps; else this one has none either, for the same reason. */
static bool is_led(struct expansion *x)
{
	const struct setting *s = x->setting;
	const char *lead = step_lead(s->knob);

	for (unsigned int i = 0; lead && i < x->steps->n; i++)
		if (step_is_about(x->steps->s[i].setting, s) && x->steps->s[i].setting != s)
			return true;
	for (size_t i = 0; lead && i < x->plan->n_skipped; i++)
		if (streq(x->plan->skipped[i].knob, lead) && streq(x->plan->skipped[i].target, s->target))
			(void)snprintf(x->why, sizeof(x->why), "%s", x->plan->skipped[i].why); /* cut */
	return false;
}

/* All rows of one setting. */
static int expand(struct expansion *x)
{
	unsigned int before = x->steps->n;
	int r = 0;

	x->elsewhere = false;
	(void)snprintf(x->why, sizeof(x->why), "not in this version"); /* fits */
	for (size_t i = 0; i < ARRAY_SIZE(rows) && r == 0; i++) {
		x->row = &rows[i];
		if (x->row->stage != x->setting->stage || !streq(x->row->knob, x->setting->knob) ||
		    !target_matches(x->row, x->setting->target))
			continue;
		if (x->row->stage == STAGE_STARTED && !x->run) {
			(void)snprintf(x->why, sizeof(x->why), "the domain is not running"); /* fits */
			continue;
		}
		if (x->row->when && !x->row->when(x))
			continue;
		if (x->row->value(x, x->value, sizeof(x->value)) < 0)
			(void)snprintf(x->why, sizeof(x->why), "'%.80s' is no value for it",
				       x->setting->value); /* cut */
		else
			r = x->row->place(x);
	}
	if (r == 0 && x->steps->n == before && !x->elsewhere && !is_led(x))
		r = add_skipped(x);
	return r;
}

bool steps_need_taps(const struct plan *p)
{
	for (size_t i = 0; i < p->n_settings; i++)
		if (p->settings[i].stage == STAGE_STARTED && str_starts(p->settings[i].knob, "interface."))
			return true;
	return false;
}

bool steps_need_kthreads(const struct plan *p)
{
	for (size_t i = 0; i < p->n_settings; i++)
		for (size_t j = 0; j < ARRAY_SIZE(rows); j++)
			if ((rows[j].place == step_at_kthreads || rows[j].place == step_at_own_kthreads) &&
			    p->settings[i].stage == rows[j].stage && streq(rows[j].knob, p->settings[i].knob) &&
			    target_matches(&rows[j], p->settings[i].target))
				return true;
	return false;
}

bool steps_need_starts(const struct plan *p, const struct run *run)
{
	for (size_t i = 0; i < p->n_settings; i++)
		for (size_t j = 0; j < ARRAY_SIZE(rows); j++) {
			const struct row *row = &rows[j];
			/* The emulator's threads are told by their names, so theirs were read. */
			bool sets = (row->affinity == AFFINITY_SET && *row->target) || row->place == step_at_threads ||
				    row->place == step_at_class_threads || row->place == step_at_vcpu_threads;
			bool keeps = row->affinity == AFFINITY_KEEP && run->kernel < KERNEL_KEEPS_AFFINITY;

			if ((sets || keeps) && p->settings[i].stage == row->stage &&
			    streq(row->knob, p->settings[i].knob) && target_matches(row, p->settings[i].target))
				return true;
		}
	return false;
}

/*
 * Shared objects first, else in their order: all of them then take one hold of the lock and two writes of the ledger,
 * and what they are the ground for (classes in a tree, weights of a scheduler) comes after them as before. One that waits
 * for others of its setting stays behind them.
 */
static int put_shared_first(struct steps *s)
{
	_cleanup_free_ struct step *own = calloc(s->n ? s->n : 1, sizeof(*own));
	unsigned int n_shared = 0, n_own = 0;

	if (!own)
		return -ENOMEM;
	for (unsigned int i = 0; i < s->n; i++)
		if (s->s[i].fold == FOLD_NONE || s->s[i].needs)
			own[n_own++] = s->s[i];
		else
			s->s[n_shared++] = s->s[i];
	if (n_own)
		memcpy(s->s + n_shared, own, n_own * sizeof(*own));
	return 0;
}

static bool is_about_irqs(const struct setting *s)
{
	return str_starts(s->knob, "irq.");
}

bool step_comes_late(const struct setting *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		bool threads = row->affinity != AFFINITY_NONE || row->place == step_at_threads ||
			       row->place == step_at_vcpu_threads || row->place == step_at_class_threads;

		if ((threads || row->place == step_at_queues) && s->stage == row->stage && streq(row->knob, s->knob) &&
		    target_matches(row, s->target))
			return true;
	}
	return is_about_irqs(s) && s->stage != STAGE_EXEC && s->stage != STAGE_DEFINITION;
}

bool steps_come_late(const struct plan *p)
{
	for (size_t i = 0; i < p->n_settings; i++)
		if (step_comes_late(&p->settings[i]))
			return true;
	return false;
}

bool steps_watch_irqs(const struct plan *p)
{
	for (size_t i = 0; i < p->n_settings; i++)
		if (is_about_irqs(&p->settings[i]))
			return true;
	return false;
}

bool steps_watch_queues(const struct plan *p)
{
	for (size_t i = 0; i < p->n_settings; i++) {
		const struct row *row = step_find_row(p->settings[i].knob);

		if (row && row->place == step_at_queues)
			return true;
	}
	return false;
}

int steps_make(struct plan *p, enum stage stage, const struct run *run, struct steps *ret)
{
	struct steps steps = {0};
	_cleanup_free_ struct expansion *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	x->plan = p;
	x->run = run;
	x->steps = &steps;
	for (size_t i = 0; i < p->n_settings; i++) {
		if (p->settings[i].stage != stage)
			continue;
		x->setting = &p->settings[i];
		if (expand(x) < 0) {
			steps_fini(&steps);
			return -ENOMEM;
		}
	}
	if (put_shared_first(&steps) < 0) {
		steps_fini(&steps);
		return -ENOMEM;
	}
	*ret = steps;
	return 0;
}

void steps_fini(struct steps *s)
{
	for (unsigned int i = 0; i < s->n; i++) {
		free(s->s[i].object);
		free(s->s[i].value);
	}
	free(s->s);
	msgs_fini(&s->warnings);
	memset(s, 0, sizeof(*s));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the objects of CPUs' states and of vCPU threads' scheduling are. */
#include "step_priv.h"

#include <inttypes.h>

#include "num.h"

/* "cpu3" */
static bool target_cpu(const struct expansion *x, unsigned int *ret)
{
	uint64_t number;

	if (num_parse_range(x->setting->target + strlen("cpu"), 0, IDSET_MAX - 1, &number) < 0)
		return false;
	*ret = (unsigned int)number;
	return true;
}

static const struct setting *find_setting(const struct expansion *x, const char *knob)
{
	for (size_t i = 0; i < x->plan->n_settings; i++)
		if (streq(x->plan->settings[i].knob, knob) &&
		    streq(x->plan->settings[i].target, x->setting->target))
			return &x->plan->settings[i];
	return NULL;
}

static void policy_file(unsigned int policy, const char *file, char *buf, size_t size)
{
	(void)snprintf(buf, size, "sys/devices/system/cpu/cpufreq/policy%u/%s", policy, file); /* fits */
}

/*
 * The governor, then the preference in the same group: intel_pstate and amd-pstate-epp make it performance with the
 * governor of that name, and what it was (or their own idea) when that goes. Without a wish it follows the governor.
 */
int step_at_governor(struct expansion *x)
{
	const struct setting *wish = find_setting(x, "cpu.energy");
	const struct row *row = step_find_row("cpu.energy");
	unsigned int policy;
	char object[128];
	struct step *s;
	int r;

	if (!target_cpu(x, &policy))
		return 0;
	policy_file(policy, x->row->name, object, sizeof(object));
	r = step_add(x, "file", object, x->value, NULL);
	if (r < 0)
		return r;
	policy_file(policy, row->name, object, sizeof(object));
	r = step_add(x, "file", object, wish ? wish->value : "", &s);
	if (r < 0)
		return r;
	s->group = --x->last_group;
	s->fold = row->fold;
	s->order = row->order;
	s->is_dependant = true;
	s->restore_only = s->follows = !wish;
	if (wish)
		s->setting = wish;
	return 0;
}

int step_at_energy(struct expansion *x)
{
	unsigned int policy;
	char object[128];

	x->elsewhere = find_setting(x, "cpu.governor") != NULL;
	if (x->elsewhere || !target_cpu(x, &policy))
		return 0;
	policy_file(policy, x->row->name, object, sizeof(object));
	return step_add(x, "file", object, x->value, NULL);
}

int step_at_cpu(struct expansion *x)
{
	unsigned int cpu;
	char object[128];

	if (!target_cpu(x, &cpu))
		return 0;
	(void)snprintf(object, sizeof(object), "sys/devices/system/cpu/cpu%u/%s", cpu, x->row->name); /* fits */
	return step_add(x, "file", object, x->value, NULL);
}

int step_at_file(struct expansion *x)
{
	return step_add(x, "file", x->row->name, x->value, NULL);
}

/* --- scheduling ------------------------------------------------------------------------------------------------- */

int step_sched_value(const struct expansion *x, char *buf, size_t size)
{
	const struct setting *priority = find_setting(x, "cpu.priority");
	int n = priority ? snprintf(buf, size, "%s:%s", x->setting->value, priority->value)
			 : snprintf(buf, size, "%s", x->setting->value);

	return n < 0 || (size_t)n >= size ? -EINVAL : 0;
}

/*
 * All vCPU threads, or the one of the target. A real-time thread that is not on its CPU would keep somebody else's: it
 * becomes one only where it has got there.
 */
int step_at_vcpu_threads(struct expansion *x)
{
	const char *target = x->setting->target;
	const struct setting *place = strchr(x->value, ':') ? find_setting(x, "cpu.policy") : NULL;
	uint64_t number = UINT64_MAX;
	char object[128];
	struct step *s;
	int r = 0;

	if (*target && num_parse_u64(target + strlen("vcpu"), &number) < 0)
		return 0;
	(void)snprintf(x->why, sizeof(x->why), "it has no such thread in this QEMU"); /* fits */
	for (unsigned int i = 0; i < x->run->n_threads && r == 0; i++) {
		const struct run_thread *t = &x->run->threads[i];

		if (t->kind != RUN_VCPU || (*target && t->number != number))
			continue;
		if (t->no_budget && strchr(x->value, ':')) {
			(void)snprintf(x->why, sizeof(x->why),
				       "its group has no real-time budget (cpu.rt_runtime_us 0): give it and those above it "
				       "one, or boot with cgroup v2"); /* fits */
			continue;
		}
		(void)snprintf(object, sizeof(object), "%d:%" PRIu64 "/%d:%" PRIu64 "/%s", x->run->pid, x->run->start,
			       t->tid, t->start, x->row->name); /* four numbers and a short name fit */
		r = step_add(x, "thread", object, x->value, &s);
		if (r == 0)
			s->needs = place;
	}
	return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From settings to host objects. One table, rows[]: a setting takes every row of its knob and target kind whose
 * condition holds; the row's place says which objects, its value function how the value is spelled there. A
 * setting for which no row found an object is reported as skipped with the reason that the last place gave.
 *
 * Nothing here reads the host: threads and groups are in struct run.
 */
#include "step.h"

#include <inttypes.h>

#include "backend.h"
#include "num.h"

#define KERNEL_KEEPS_AFFINITY 602  /* 8f9ea86fdf99 "sched: Always preserve the user requested cpumask" */
#define QUOTA_MIN_US          1000 /* min_cfs_quota_period, kernel/sched/core.c */

struct expansion;

/* What becomes of the affinity of threads in a group whose CPUs are written. */
enum affinity { AFFINITY_NONE, AFFINITY_SET, AFFINITY_KEEP };

struct row {
	const char *knob;
	const char *target; /* "" none, "vcpu" and "iothread" with a number, "*" any text */
	enum stage stage;
	bool (*when)(const struct expansion *x);                         /* NULL: always */
	int (*place)(struct expansion *x);                               /* adds the steps; 0 or -ENOMEM */
	int (*value)(const struct expansion *x, char *buf, size_t size); /* 0, or -EINVAL: no such value */
	const char *name; /* control file, property, directory: what the place needs */
	enum cgroup_which controller;
	enum affinity affinity;
	enum fold fold;
	const char *order;
};

struct expansion {
	struct plan *plan;
	const struct run *run; /* NULL: not running yet */
	const struct setting *setting;
	const struct row *row;
	char value[BACKEND_VALUE_MAX];
	struct steps *steps;
	unsigned int last_group;
	char why[160]; /* why there is no object */
};

/* conditions */

static bool on_v1(const struct expansion *x)
{
	return x->run->layout.at[x->row->controller].version == 1;
}

/* The domain's own group is the scope itself: what is written there directly is systemd's to overwrite. */
static bool domain_is_scope(const struct expansion *x)
{
	const char *name = strrchr(x->run->domain_group[x->row->controller], '/');

	return name && x->run->scope[0] && streq(name + 1, x->run->scope);
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
	return on_v1(x) && !domain_is_scope(x);
}

static bool v2_own_group(const struct expansion *x)
{
	return !on_v1(x) && !domain_is_scope(x);
}

static bool whole_domain_floats(const struct expansion *x);

static bool parts_float(const struct expansion *x)
{
	return !whole_domain_floats(x);
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

static int shares(const struct expansion *x, char *buf, size_t size)
{
	uint64_t weight;

	if (num_parse_range(x->setting->value, 1, 10000, &weight) < 0)
		return -EINVAL;
	(void)snprintf(buf, size, "%" PRIu64, cgroup_shares_of_weight(weight)); /* 20 digits always fit */
	return 0;
}

/* CPU time per period of `period` microseconds. */
static int quota_us(const struct expansion *x, uint64_t period, uint64_t *ret)
{
	uint64_t percent;

	if (num_parse_percent(x->setting->value, &percent) < 0 || percent == 0 || percent > UINT32_MAX ||
	    period > UINT32_MAX)
		return -EINVAL;
	*ret = percent * period / 100;
	if (*ret < QUOTA_MIN_US)
		*ret = QUOTA_MIN_US;
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

/* places */

static int at_target_group(struct expansion *x);
static int at_domain_group(struct expansion *x);
static int at_floating_groups(struct expansion *x);
static int at_scope(struct expansion *x);
static int at_sysctl(struct expansion *x);

/*
 * cpuset.mems is in no row: on v2 such a write moves all memory of the group before it returns
 * (Documentation/admin-guide/cgroup-v2.rst), seconds per GiB.
 */
/* clang-format off */
static const struct row rows[] = {
	{ "cpu.policy", "vcpu", STAGE_STARTED, NULL, at_target_group, cpu_list,
	  "cpuset.cpus", CGROUP_CPUSET, AFFINITY_SET, FOLD_NONE, NULL },
	{ "cpu.policy", "", STAGE_STARTED, whole_domain_floats, at_domain_group, cpu_list,
	  "cpuset.cpus", CGROUP_CPUSET, AFFINITY_KEEP, FOLD_NONE, NULL },
	{ "cpu.policy", "", STAGE_STARTED, parts_float, at_floating_groups, cpu_list,
	  "cpuset.cpus", CGROUP_CPUSET, AFFINITY_KEEP, FOLD_NONE, NULL },
	{ "cpu.emulator", "", STAGE_STARTED, NULL, at_target_group, cpu_list,
	  "cpuset.cpus", CGROUP_CPUSET, AFFINITY_SET, FOLD_NONE, NULL },
	{ "cpu.iothreads", "iothread", STAGE_STARTED, NULL, at_target_group, cpu_list,
	  "cpuset.cpus", CGROUP_CPUSET, AFFINITY_SET, FOLD_NONE, NULL },

	{ "cpu.weight", "", STAGE_STARTED, in_scope, at_scope, as_written,
	  "CPUWeight", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "cpu.weight", "", STAGE_STARTED, v1_without_scope, at_domain_group, shares,
	  "cpu.shares", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "cpu.weight", "", STAGE_STARTED, v2_without_scope, at_domain_group, as_written,
	  "cpu.weight", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },

	{ "cpu.quota", "", STAGE_STARTED, domain_is_scope, at_scope, quota_per_second,
	  "CPUQuotaPerSecUSec", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "cpu.quota", "", STAGE_STARTED, v1_own_group, at_domain_group, cfs_quota,
	  "cpu.cfs_quota_us", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },
	{ "cpu.quota", "", STAGE_STARTED, v2_own_group, at_domain_group, cpu_max,
	  "cpu.max", CGROUP_CPU, AFFINITY_NONE, FOLD_NONE, NULL },

	{ "sysctl", "*", STAGE_PREPARE, NULL, at_sysctl, as_written,
	  "proc/sys", CGROUP_CPU, AFFINITY_NONE, FOLD_MAX, NULL },
};
/* clang-format on */

static const struct {
	const char *word; /* as in targets */
	enum run_thread_kind kind;
} thread_words[] = {{"vcpu", RUN_VCPU}, {"iothread", RUN_IOTHREAD}};

/* "vcpu3": kind and number; "" is the emulator. */
static bool parse_target(const char *target, enum run_thread_kind *ret_kind, unsigned int *ret_number)
{
	*ret_kind = RUN_EMULATOR;
	*ret_number = 0;
	if (!*target)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(thread_words); i++) {
		size_t n = strlen(thread_words[i].word);
		uint64_t number;

		if (strncmp(target, thread_words[i].word, n) == 0 &&
		    num_parse_range(target + n, 0, UINT32_MAX - 1, &number) == 0) {
			*ret_kind = thread_words[i].kind;
			*ret_number = (unsigned int)number;
			return true;
		}
	}
	return false;
}

static bool target_matches(const struct row *row, const char *target)
{
	size_t n = strlen(row->target);
	uint64_t number;

	if (streq(row->target, "*"))
		return *target != '\0';
	if (n == 0)
		return *target == '\0';
	return strncmp(target, row->target, n) == 0 && num_parse_u64(target + n, &number) == 0;
}

/* Whether the plan itself has this setting for that thread; its value in *ret. */
static bool has_own_setting(const struct expansion *x, enum run_thread_kind kind, unsigned int number,
			    struct idset *ret)
{
	static const char *const knobs[] = {
		[RUN_VCPU] = "cpu.policy",
		[RUN_IOTHREAD] = "cpu.iothreads",
		[RUN_EMULATOR] = "cpu.emulator",
	};

	for (size_t i = 0; i < x->plan->n_settings; i++) {
		const struct setting *s = &x->plan->settings[i];
		enum run_thread_kind k;
		unsigned int n;

		if (s->stage == STAGE_STARTED && streq(s->knob, knobs[kind]) && parse_target(s->target, &k, &n) &&
		    k == kind && n == number && idset_parse(s->value, ret) == 0)
			return true;
	}
	return false;
}

/* Where the placement has a thread: empty if it leaves it alone, e.g. because the XML pins it. */
static struct idset placed_at(const struct expansion *x, enum run_thread_kind kind, unsigned int number)
{
	const struct placement *p = &x->plan->placement;
	struct idset none = IDSET_EMPTY;

	if (kind == RUN_EMULATOR)
		return p->emulator;
	if (kind == RUN_VCPU)
		return number < p->n_vcpus ? p->vcpus[number].cpus : none;
	for (unsigned int i = 0; i < p->n_iothreads; i++)
		if (p->iothreads[i].id == number)
			return p->iothreads[i].cpus;
	return none;
}

/* A vCPU that came after the placement was made (virsh setvcpus): it goes where the domain goes. */
static bool is_later_vcpu(const struct expansion *x, const struct run_thread *t)
{
	return t->kind == RUN_VCPU && t->number >= x->plan->placement.n_vcpus;
}

/*
 * cpu.policy without a target: the domain floats over one set. On v2 that is one write to its own group, which
 * later vCPUs follow, if everything below stays inside of the set: what a child group wants beyond its parent's
 * CPUs has no effect (cgroup-v2.rst, cpuset.cpus). On v1 the kernel refuses a parent's set that is not a superset
 * of each child's, and libvirt gives every child one.
 */
static bool whole_domain_floats(const struct expansion *x)
{
	struct idset all, own;

	if (x->run->layout.at[CGROUP_CPUSET].version != 2 || !x->run->domain_group[CGROUP_CPUSET][0] ||
	    domain_is_scope(x) || idset_parse(x->setting->value, &all) < 0)
		return false;
	for (unsigned int i = 0; i < x->run->n_threads; i++) {
		const struct run_thread *t = &x->run->threads[i];

		if (is_later_vcpu(x, t))
			continue;
		if (!has_own_setting(x, t->kind, t->number, &own))
			own = placed_at(x, t->kind, t->number);
		if (idset_is_empty(&own) || !idset_is_subset(&own, &all))
			return false;
	}
	return true;
}

/* Whether a thread follows the domain's floating set: no setting of its own, and placed exactly there. */
static bool floats(const struct expansion *x, const struct run_thread *t)
{
	struct idset all, own;

	if (has_own_setting(x, t->kind, t->number, &own) || idset_parse(x->setting->value, &all) < 0)
		return false;
	own = placed_at(x, t->kind, t->number);
	return is_later_vcpu(x, t) || idset_equal(&own, &all);
}

static int add_step(struct expansion *x, const char *backend, const char *object, const char *value, struct step **ret)
{
	struct step *more = reallocarray(x->steps->s, x->steps->n + 1, sizeof(*more)), *s;

	if (!more)
		return -ENOMEM;
	x->steps->s = more;
	s = &more[x->steps->n];
	*s = (struct step){
		.setting = x->setting,
		.backend = backend,
		.object = strdup(object),
		.value = strdup(value),
		.fold = x->row->fold,
		.order = x->row->order,
		.group = ++x->last_group,
	};
	if (!s->object || !s->value) {
		free(s->object);
		free(s->value);
		return -ENOMEM;
	}
	x->steps->n++;
	if (ret)
		*ret = s;
	return 0;
}

/* One thread's affinity, as a dependant of the group step before, or on its own where there is no group. */
static int add_affinity(struct expansion *x, const struct run_thread *t, bool has_cause)
{
	bool keep = has_cause && x->row->affinity == AFFINITY_KEEP;
	char object[128];
	struct step *s;
	int r;

	(void)snprintf(object, sizeof(object), "%d:%" PRIu64 "/%d:%" PRIu64 "/affinity", x->run->pid, x->run->start,
		       t->tid, t->start); /* four numbers fit */
	r = add_step(x, "thread", object, keep ? "" : x->value, &s);
	if (r < 0 || !has_cause)
		return r;
	s->group = --x->last_group;
	s->is_dependant = true;
	s->restore_only = keep;
	return 0;
}

/*
 * One group's CPUs, then the affinity of the threads in it. path "": no such group; then affinity alone does it.
 * all: the threads of the whole domain, else those of kind and number.
 */
static int add_cpus(struct expansion *x, const char *path, bool all, enum run_thread_kind kind, unsigned int number)
{
	char object[1024 + 64];
	int r = 0;

	if (path[0]) {
		(void)snprintf(object, sizeof(object), "%s/%s", path, x->row->name); /* path has 1023 at most */
		r = add_step(x, "cgroup", object, x->value, NULL);
	}
	if (path[0] && x->row->affinity == AFFINITY_KEEP && x->run->kernel >= KERNEL_KEEPS_AFFINITY)
		return r;
	for (unsigned int i = 0; i < x->run->n_threads && r == 0; i++) {
		const struct run_thread *t = &x->run->threads[i];

		if (all || (t->kind == kind && t->number == number))
			r = add_affinity(x, t, path[0] != '\0');
	}
	return r;
}

/* The group of one kind of thread; "" if libvirt made none for it, so that what it is in is others' too. */
static const char *thread_group(const struct expansion *x, const struct run_thread *t)
{
	const char *path = t->groups ? t->groups->at[x->row->controller] : "";

	return cgroup_is_thread_group(path) ? path : "";
}

static void no_group(struct expansion *x)
{
	const char *name = cgroup_controller_name(x->row->controller);

	if (x->run->layout.at[x->row->controller].version == 0)
		(void)snprintf(x->why, sizeof(x->why), "no %s controller here", name); /* fits */
	else
		(void)snprintf(x->why, sizeof(x->why), "libvirt made no %s group for this domain", name); /* fits */
}

static int at_target_group(struct expansion *x)
{
	enum run_thread_kind kind;
	unsigned int number;

	if (!parse_target(x->setting->target, &kind, &number))
		return 0;
	for (unsigned int i = 0; i < x->run->n_threads; i++) {
		const struct run_thread *t = &x->run->threads[i];

		if (t->kind == kind && t->number == number)
			return add_cpus(x, thread_group(x, t), false, kind, number);
	}
	(void)snprintf(x->why, sizeof(x->why), "%.40s has no thread in this QEMU", x->setting->target); /* cut at 40 */
	return 0;
}

static int at_domain_group(struct expansion *x)
{
	const char *path = x->run->domain_group[x->row->controller];
	char object[1024 + 64];

	if (!path[0]) {
		no_group(x);
		return 0;
	}
	if (x->row->affinity != AFFINITY_NONE)
		return add_cpus(x, path, true, RUN_EMULATOR, 0);
	(void)snprintf(object, sizeof(object), "%s/%s", path, x->row->name); /* path has 1023 at most */
	return add_step(x, "cgroup", object, x->value, NULL);
}

/* Each group of threads that floats; a kind and number once, at its first thread. */
static int at_floating_groups(struct expansion *x)
{
	int r = 0;

	(void)snprintf(x->why, sizeof(x->why), "every thread has CPUs of its own"); /* fits */
	for (unsigned int i = 0; i < x->run->n_threads && r == 0; i++) {
		const struct run_thread *t = &x->run->threads[i];
		bool seen = false;

		for (unsigned int j = 0; j < i && !seen; j++)
			seen = x->run->threads[j].kind == t->kind && x->run->threads[j].number == t->number;
		if (!seen && floats(x, t))
			r = add_cpus(x, thread_group(x, t), false, t->kind, t->number);
	}
	return r;
}

static int at_scope(struct expansion *x)
{
	char object[1024 + 64];

	(void)snprintf(object, sizeof(object), "%s/%s", x->run->scope, x->row->name); /* scope has 1023 at most */
	return add_step(x, "unit", object, x->value, NULL);
}

/* "net.core.rmem_max" or "net/core/rmem_max" */
static int at_sysctl(struct expansion *x)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
	char object[256];
	int n = snprintf(object, sizeof(object), "%s/%s", x->row->name, x->setting->target);
	char *p = object + strlen(x->row->name) + 1;

	(void)snprintf(x->why, sizeof(x->why), "not the name of a sysctl"); /* fits */
	if (n < 0 || (size_t)n >= sizeof(object))
		return 0;
	for (;;) {
		size_t len = strspn(p, allowed);

		if (len == 0)
			return 0;
		p += len;
		if (!*p)
			break;
		if (*p != '.' && *p != '/')
			return 0;
		*p++ = '/';
	}
	return add_step(x, "file", object, x->value, NULL);
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

/* All rows of one setting. */
static int expand(struct expansion *x)
{
	unsigned int before = x->steps->n;
	int r = 0;

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
	if (r == 0 && x->steps->n == before)
		r = add_skipped(x);
	return r;
}

bool steps_need_starts(const struct plan *p, const struct run *run)
{
	for (size_t i = 0; i < p->n_settings; i++)
		for (size_t j = 0; j < ARRAY_SIZE(rows); j++) {
			const struct row *row = &rows[j];
			/* The emulator's threads are told by their names, so theirs were read. */
			bool sets = row->affinity == AFFINITY_SET && *row->target;
			bool keeps = row->affinity == AFFINITY_KEEP && run->kernel < KERNEL_KEEPS_AFFINITY;

			if ((sets || keeps) && p->settings[i].stage == row->stage &&
			    streq(row->knob, p->settings[i].knob) && target_matches(row, p->settings[i].target))
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

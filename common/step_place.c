/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the objects of a setting are: groups of threads, of the domain, above it; its scope; threads. Each place takes
 * what it needs from struct run and the row's name, and says in x->why what is not there.
 */
#include "step_priv.h"

#include <inttypes.h>

#include "num.h"

/* The domain's own group is the scope itself: what is written there directly is systemd's to overwrite. */
bool step_domain_is_scope(const struct expansion *x)
{
	const char *name = strrchr(x->run->domain_group[x->row->controller], '/');

	return name && x->run->scope[0] && streq(name + 1, x->run->scope);
}

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

/* The plan's own setting for that thread, NULL if there is none; its value in *ret. */
static const struct setting *own_setting(const struct expansion *x, enum run_thread_kind kind, unsigned int number,
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
			return s;
	}
	return NULL;
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
bool step_whole_domain_floats(const struct expansion *x)
{
	struct idset all, own;

	if (x->run->layout.at[CGROUP_CPUSET].version != 2 || !x->run->domain_group[CGROUP_CPUSET][0] ||
	    step_domain_is_scope(x) || idset_parse(x->setting->value, &all) < 0)
		return false;
	for (unsigned int i = 0; i < x->run->n_threads; i++) {
		const struct run_thread *t = &x->run->threads[i];
		const struct setting *setting;

		if (is_later_vcpu(x, t))
			continue;
		setting = own_setting(x, t->kind, t->number, &own);
		/* A list that stays where it is while the domain's set moves away would be outside of it then. */
		if (setting && setting->floater != x->setting->floater)
			return false;
		if (!setting)
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

	if (own_setting(x, t->kind, t->number, &own) || idset_parse(x->setting->value, &all) < 0)
		return false;
	own = placed_at(x, t->kind, t->number);
	return is_later_vcpu(x, t) || idset_equal(&own, &all);
}

int step_add(struct expansion *x, const char *backend, const char *object, const char *value, struct step **ret)
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

	if (t->is_fixed)
		return 0; /* workers of io_uring up to Linux 6.2 (io_uring/io-wq.c): a cpuset moves them, nothing else does */
	(void)snprintf(object, sizeof(object), "%d:%" PRIu64 "/%d:%" PRIu64 "/affinity",
		       t->is_process ? t->tid : x->run->pid, t->is_process ? t->start : x->run->start, t->tid,
		       t->start); /* four numbers fit */
	r = step_add(x, "thread", object, keep ? "" : x->value, &s);
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
		r = step_add(x, "cgroup", object, x->value, NULL);
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

int step_at_target_group(struct expansion *x)
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

int step_at_domain_group(struct expansion *x)
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
	return step_add(x, "cgroup", object, x->value, NULL);
}

/* Each group of threads that floats; a kind and number once, at its first thread. */
int step_at_floating_groups(struct expansion *x)
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

int step_at_scope(struct expansion *x)
{
	char object[1024 + 64];

	(void)snprintf(object, sizeof(object), "%s/%s", x->run->scope, x->row->name); /* scope has 1023 at most */
	return step_add(x, "unit", object, x->value, NULL);
}

/* What systemd calls the control files that it writes for its units. */
static const struct {
	const char *file, *property;
} unit_properties[] = {
	{ "memory.min", "MemoryMin" },
	{ "memory.low", "MemoryLow" },
};

static bool is_unit(const char *name)
{
	static const char *const suffixes[] = { ".slice", ".scope", ".service" };
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && dot != name && i < ARRAY_SIZE(suffixes); i++)
		if (streq(dot, suffixes[i]))
			return true;
	return false;
}

/* One ancestor, by its path: through systemd where the group is a unit of it, which would write its own idea again. */
static int add_ancestor(struct expansion *x, const char *path)
{
	const char *name = strrchr(path, '/') + 1, *file = x->row->name;
	char object[1024 + 64];

	for (size_t i = 0; is_unit(name) && i < ARRAY_SIZE(unit_properties); i++)
		if (streq(unit_properties[i].file, file)) {
			(void)snprintf(object, sizeof(object), "%s/%s", name, unit_properties[i].property); /* fits */
			return step_add(x, "unit", object, x->value, NULL);
		}
	(void)snprintf(object, sizeof(object), "%s/%s", path, file); /* path has 1023 at most */
	return step_add(x, "cgroup", object, x->value, NULL);
}

/* Groups above the domain's own and its scope, below the mount point, from the top down. */
int step_at_ancestors(struct expansion *x)
{
	const char *mount = x->run->layout.at[x->row->controller].path;
	const char *group = x->run->domain_group[x->row->controller];
	size_t n = strlen(mount);
	char path[1024];
	int r = 0;

	if (strncmp(group, mount, n) != 0 || group[n] != '/') {
		no_group(x);
		return 0;
	}
	for (const char *slash = strchr(group + n + 1, '/'); slash && r == 0; slash = strchr(slash + 1, '/')) {
		(void)snprintf(path, sizeof(path), "%.*s", (int)(slash - group), group); /* fits: group has 1023 */
		if (x->run->scope[0] && streq(strrchr(path, '/') + 1, x->run->scope))
			break;
		r = add_ancestor(x, path);
	}
	return r;
}

int step_at_nothing(struct expansion *x)
{
	if (x->run->layout.at[x->row->controller].version == 1)
		(void)snprintf(x->why, sizeof(x->why), "cgroup v1 has no %s", x->row->name); /* fits */
	else
		no_group(x);
	return 0;
}

/* "net.core.rmem_max" or "net/core/rmem_max" */
int step_at_sysctl(struct expansion *x)
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
	return step_add(x, "file", object, x->value, NULL);
}

/* Whether the wrapper has given the process its I/O priority already; libvirt gives none. */
static bool was_started_with(const struct expansion *x)
{
	for (size_t i = 0; i < x->plan->n_settings; i++)
		if (x->plan->settings[i].stage == STAGE_EXEC &&
		    streq(x->plan->settings[i].knob, x->setting->knob))
			return true;
	return false;
}

/*
 * The I/O priority of every thread that there is. Those to come have it from the one that makes them (clone(2)), and are
 * undone by what is on record of the process (apply_heirs.c).
 */
int step_at_threads(struct expansion *x)
{
	const char *before = was_started_with(x) ? "none" : NULL;
	char object[128];
	struct step *s;
	int r = 0;

	(void)snprintf(x->why, sizeof(x->why), "no thread of this QEMU can be told apart"); /* fits */
	for (unsigned int i = 0; i < x->run->n_threads && r == 0; i++) {
		const struct run_thread *t = &x->run->threads[i];

		if (t->is_process)
			continue; /* it has nothing from QEMU, and its I/O is not QEMU's */
		(void)snprintf(object, sizeof(object), "%d:%" PRIu64 "/%d:%" PRIu64 "/%s", x->run->pid, x->run->start,
			       t->tid, t->start, x->row->name); /* four numbers and a short name fit */
		r = step_add(x, "thread", object, x->value, &s);
		if (r == 0)
			s->before = before;
	}
	return r;
}

/* --- block devices ---------------------------------------------------------------------------------------------- */

/* What the switch of a queue's scheduler resets, and what becomes of it where nobody asks for a value. */
static const struct {
	const char *knob;
	/*
	 * nr_requests is the new scheduler's idea after every switch (block/elevator.c, block/blk-mq-sched.c; seen on loop
	 * devices, Linux 6.18: 256, and 128 for none): it keeps the value that somebody has chosen. wbt_lat_usec changes
	 * only where nobody had chosen one, and there it should: bfq switches writeback throttling off, since the two
	 * disturb each other, and on again when it goes (block/bfq-iosched.c, wbt_disable_default()). Nothing else of the
	 * queue is reset: rq_affinity, nomerges, read_ahead_kb were not.
	 */
	bool follows;
} resets[] = {{"disk.requests", false}, {"disk.latency", true}};

static const struct setting *find_setting(const struct expansion *x, const char *knob)
{
	for (size_t i = 0; i < x->plan->n_settings; i++)
		if (streq(x->plan->settings[i].knob, knob) &&
		    streq(x->plan->settings[i].target, x->setting->target))
			return &x->plan->settings[i];
	return NULL;
}

/* A file of the device's queue; false: the target is no name of a device. */
static bool queue_file(struct expansion *x, const char *file, char *buf, size_t size)
{
	const char *device = x->setting->target;

	if (hostfs_is_name(device)) {
		(void)snprintf(buf, size, "sys/block/%s/queue/%s", device, file); /* a name has 255 bytes */
		return true;
	}
	(void)snprintf(x->why, sizeof(x->why), "not the name of a block device"); /* fits */
	return false;
}

/* The scheduler first, then what its write resets, all in one group. */
int step_at_scheduler(struct expansion *x)
{
	char object[512];
	int r = 0;

	if (!queue_file(x, x->row->name, object, sizeof(object)))
		return 0;
	r = step_add(x, "file", object, x->value, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(resets) && r == 0; i++) {
		const struct setting *wish = find_setting(x, resets[i].knob);
		const struct row *row = step_find_row(resets[i].knob);
		struct step *s;

		(void)queue_file(x, row->name, object, sizeof(object)); /* as above */
		r = step_add(x, "file", object, wish ? wish->value : "", &s);
		if (r < 0)
			break;
		s->group = --x->last_group;
		s->fold = row->fold;
		s->order = row->order;
		s->is_dependant = true;
		s->restore_only = !wish;
		s->follows = !wish && resets[i].follows;
		if (wish)
			s->setting = wish;
	}
	return r;
}

int step_at_queue(struct expansion *x)
{
	char object[512];

	for (size_t i = 0; i < ARRAY_SIZE(resets) && !x->elsewhere; i++)
		x->elsewhere = streq(resets[i].knob, x->setting->knob) && find_setting(x, "disk.scheduler");
	if (x->elsewhere || !queue_file(x, x->row->name, object, sizeof(object)))
		return 0;
	return step_add(x, "file", object, x->value, NULL);
}

static const struct plan_device *find_device(struct expansion *x)
{
	const struct plan_device *d = plan_find_block(x->plan, x->setting->target);

	if (!d)
		(void)snprintf(x->why, sizeof(x->why), "the number of this device is not known"); /* fits */
	return d;
}

/* One device's line of a control file of the domain's own group; the row's name is "FILE" or "FILE KEY". */
int step_at_group_device(struct expansion *x)
{
	const char *path = x->run->domain_group[x->row->controller];
	size_t n = strcspn(x->row->name, " ");
	const struct plan_device *d = find_device(x);
	char object[1024 + 128];

	if (!d)
		return 0;
	if (!path[0]) {
		no_group(x);
		return 0;
	}
	(void)snprintf(object, sizeof(object), "%s/%.*s %u:%u%s", path, (int)n, x->row->name, d->major, d->minor,
		       x->row->name + n); /* path has 1023 at most */
	return step_add(x, "cgkey", object, x->value, NULL);
}

int step_at_scope_device(struct expansion *x)
{
	const struct plan_device *d = find_device(x);
	char object[1024 + 128];

	if (!d)
		return 0;
	(void)snprintf(object, sizeof(object), "%s/%s %u:%u", x->run->scope, x->row->name, d->major,
		       d->minor); /* scope has 1023 at most */
	return step_add(x, "unit", object, x->value, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the host's own work is kept off a guest's CPUs (plan_tasks.c says which settings there are): its groups, masks of
 * the kernel, threads of the kernel, and the partitions that the guest's own groups become.
 */
#include "step_priv.h"

#include <inttypes.h>

/* A unit's property, or, of a group that is named by its directory, the control file. */
int step_at_host_group(struct expansion *x)
{
	const char *target = x->setting->target;
	bool is_path = strchr(target, '/') != NULL;
	char object[1024];
	int n = snprintf(object, sizeof(object), "%s/%s", target, is_path ? x->row->name : "AllowedCPUs");

	if (n < 0 || (size_t)n >= sizeof(object)) {
		(void)snprintf(x->why, sizeof(x->why), "not the name of a group"); /* fits */
		return 0;
	}
	return step_add(x, is_path ? "cgroup" : "unit", object, x->value, NULL);
}

int step_at_mask(struct expansion *x)
{
	return step_add(x, "mask", x->row->name, x->value, NULL);
}

/* Whether there will be a partition. */
static bool has_partition(const struct expansion *x)
{
	for (size_t i = 0; i < x->plan->n_settings; i++)
		if (streq(x->plan->settings[i].knob, x->setting->knob) &&
		    streq(x->plan->settings[i].target, "partition"))
			return x->run->has_exclusive;
	return false;
}

/*
 * A partition that comes or goes gives all threads of the root group, which the kernel's are in, whatever CPUs no
 * partition has (update_tasks_cpumask(), kernel/cgroup/cpuset.c): kswapd0, bound to its node, was seen on all nodes
 * afterwards. But what was once chosen by sched_setaffinity(2) is kept (since Linux 6.2). So where there will be one each
 * thread is given its CPUs, also those that have none of the guest's.
 */
static int at_kthreads(struct expansion *x, bool own)
{
	bool insists = !own && has_partition(x);
	char object[128];
	struct step *s;
	int r = 0;

	(void)snprintf(x->why, sizeof(x->why), own ? "the kernel has none for this guest, or they are threads of QEMU"
						   : "no thread of the kernel can be seen"); /* fits */
	for (unsigned int i = 0; i < x->run->n_kthreads && r == 0; i++) {
		const struct run_kthread *t = &x->run->kthreads[i];

		if (t->is_ours != own)
			continue;
		(void)snprintf(object, sizeof(object), "%d:%" PRIu64 "/%d:%" PRIu64 "/%s", t->tid, t->start, t->tid,
			       t->start, x->row->name); /* four numbers and a short name fit */
		r = step_add(x, "thread", object, x->value, &s);
		if (r == 0)
			s->insists = insists;
	}
	return r;
}

int step_at_kthreads(struct expansion *x)
{
	return at_kthreads(x, false);
}

int step_at_own_kthreads(struct expansion *x)
{
	return at_kthreads(x, true);
}

/* --- partitions --------------------------------------------------------------------------------------------------- */

/* One link of the chain; shared: other guests are below it, too. */
static int add_exclusive(struct expansion *x, const char *group, size_t len, const char *cpus, bool shared)
{
	char object[1024 + 64];
	struct step *s;
	int r;

	(void)snprintf(object, sizeof(object), "%.*s/%s", (int)len, group, x->row->name); /* group has 1023 at most */
	r = step_add(x, "cgroup", object, cpus, &s);
	if (r < 0)
		return r;
	s->all_or_none = true;
	if (shared)
		s->fold = FOLD_UNION;
	return 0;
}

/* From the top down to the domain's group: slices and the like are everybody's, from the scope on it is the domain's own. */
static int add_chain(struct expansion *x)
{
	const char *mount = x->run->layout.at[x->row->controller].path;
	const char *group = x->run->domain_group[x->row->controller];
	size_t n = strlen(mount);
	bool is_own = !x->run->scope[0];
	int r = 0;

	for (const char *slash = group + n; slash && r == 0;) {
		const char *name = slash + 1, *end = strchr(name, '/');
		size_t len = end ? (size_t)(end - name) : strlen(name);

		/* Without a scope the last one is the domain's. */
		if (x->run->scope[0])
			is_own = is_own || (strlen(x->run->scope) == len && strncmp(name, x->run->scope, len) == 0);
		r = add_exclusive(x, group, (size_t)(name - group) + len, x->value, x->run->scope[0] ? !is_own : end != NULL);
		slash = end;
	}
	return r;
}

static int add_partition(struct expansion *x, const char *group, const struct idset *cpus)
{
	_cleanup_free_ char *list = idset_text(cpus);
	char object[1024 + 64];
	struct step *s;
	int r = list ? add_exclusive(x, group, strlen(group), list, false) : -ENOMEM;

	if (r < 0)
		return r;
	(void)snprintf(object, sizeof(object), "%s/cpuset.cpus.partition", group); /* as above */
	r = step_add(x, "cgroup", object, "isolated", &s);
	if (r == 0)
		s->all_or_none = true;
	return r;
}

/* The thread of this vCPU; NULL: there is none. */
static const struct run_thread *find_vcpu(const struct expansion *x, unsigned int number)
{
	for (unsigned int i = 0; i < x->run->n_threads; i++)
		if (x->run->threads[i].kind == RUN_VCPU && x->run->threads[i].number == number)
			return &x->run->threads[i];
	return NULL;
}

/*
 * Remote partitions (cgroup-v2.rst, cpuset.cpus.exclusive and cpuset.cpus.partition): CPUs are handed down a chain of
 * groups, none of which need be a partition, from the top; then each vCPU's group becomes an isolated one. Undone in
 * reverse.
 */
int step_at_partition(struct expansion *x)
{
	const char *group = x->run->domain_group[x->row->controller], *mount = x->run->layout.at[x->row->controller].path;
	const struct placement *p = &x->plan->placement;
	struct idset all;
	int r;

	if (!x->run->has_exclusive) {
		(void)snprintf(x->why, sizeof(x->why),
			       "no cpuset.cpus.exclusive here (Linux 6.7): done by cpusets alone"); /* fits */
		return 0;
	}
	if (!str_starts(group, mount) || group[strlen(mount)] != '/' || idset_parse(x->value, &all) < 0)
		return 0;
	r = add_chain(x);
	for (unsigned int i = 0; i < p->n_vcpus && r == 0; i++) {
		const struct run_thread *t = find_vcpu(x, i);
		const char *own = t && t->groups ? t->groups->at[x->row->controller] : "";

		if (!idset_is_empty(&p->vcpus[i].cpus) && idset_is_subset(&p->vcpus[i].cpus, &all) &&
		    cgroup_is_thread_group(own))
			r = add_partition(x, own, &p->vcpus[i].cpus);
	}
	return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cpu.policy isolated: the host's own work leaves the domain's CPUs and the rest of their cores (plan_isolate.c, `quiet`).
 * Each setting is one place where such work is; all of them take CPUs away from what is there (FOLD_WITHOUT), so that
 * several isolated domains add up, and what somebody else has narrowed before stays as narrow:
 *
 *   prepare  UNIT              a top-level slice or scope of systemd: its AllowedCPUs
 *            PATH              a top-level group that is nobody's unit: its cpuset.cpus
 *            workqueue         unbound kernel work; writeback: that of dirty pages
 *   started  kernel-threads    all that let themselves be moved
 *            kvm-threads       the kernel's threads for this guest, to where its emulator is
 *            partition         the vCPUs' groups are made cpuset partitions: nobody else can have their CPUs
 *
 * Groups of guests are never narrowed. Who has narrowed something with a tool of his own keeps it, as far as it is the
 * same thing that is set: tuned (work queues and kernel threads), cset (its own cpusets).
 *
 * A host that would be left without a whole core and its boot CPU is left alone altogether: that is an unmet demand.
 */
#include "plan_priv.h"
#include "tasks.h"

#define KERNEL_HAS_EXCLUSIVE  607 /* 0c7f293efc87 "cgroup/cpuset: Add cpuset.cpus.exclusive.effective for v2" and those around it */
#define KERNEL_KEEPS_AFFINITY 602 /* 8f9ea86fdf99 "sched: Always preserve the user requested cpumask" */

static void skip(struct maker *m, const char *target, const char *why)
{
	plan_skip(m, KNOB_CPU_POLICY, target, why);
}

static void set(struct maker *m, const char *target, enum stage stage, const struct idset *cpus, const char *why)
{
	const struct value *v = &m->in->intent->v[KNOB_CPU_POLICY];
	_cleanup_free_ char *list = idset_text(cpus);

	if (!list ||
	    plan_add_setting(m->p, knob_table[KNOB_CPU_POLICY].name, target, stage, list,
			     v->text && v->source ? v->source : "default", why) < 0)
		m->failed = true;
}

/* Whether an object is one that a domain of ours has set already: what it says now is no choice of somebody else's. */
static bool is_ours(const struct maker *m, const char *backend, const char *object)
{
	return ledger_see_shared(m->in->ledger, backend, object);
}

/* --- control groups ----------------------------------------------------------------------------------------------- */

/* Why a group stays as it is; NULL: it does not. */
static const char *why_not_group(const struct maker *m, const struct task_group *g, const struct idset *quiet, bool ours,
				 char *buf, size_t size)
{
	const struct tasks_facts *f = m->in->tasks;
	_cleanup_free_ char *text = NULL;

	if (g->holds_guests)
		return "guests are in it, and these are never narrowed";
	if (f->cset && (streq(g->name, "user") || streq(g->name, "system")))
		return "cset has made it and keeps it";
	if (idset_intersects(&g->child_cpus, quiet)) {
		(void)snprintf(buf, size,
			       "the group %.60s below it has some of these CPUs, and the kernel keeps a group's CPUs "
			       "within those of the one above",
			       g->child); /* cut at 60 */
		return buf;
	}
	if (!ours && !idset_is_empty(&g->cpus) && idset_is_subset(&g->cpus, quiet)) {
		text = idset_text(&g->cpus);
		(void)snprintf(buf, size, "somebody keeps it on CPUs %.80s, all of which this guest was given",
			       text ? text : ""); /* cut at 80 */
		return buf;
	}
	return NULL;
}

static void settle_group(struct maker *m, const struct task_group *g, const struct idset *quiet)
{
	const struct tasks_facts *f = m->in->tasks;
	char target[600], object[640], why[320], buf[256];
	const struct idset *online = &m->in->host->online;
	_cleanup_free_ char *theirs = NULL;
	const char *why_not;
	bool ours;

	if (g->is_unit) {
		(void)snprintf(target, sizeof(target), "%s", g->name); /* fits, as the others do */
		(void)snprintf(object, sizeof(object), "%s/AllowedCPUs", target);
	} else {
		(void)snprintf(target, sizeof(target), "%s/%s", f->mount, g->name);
		(void)snprintf(object, sizeof(object), "%s/cpuset.cpus", target);
	}
	ours = is_ours(m, g->is_unit ? "unit" : "cgroup", object);
	why_not = why_not_group(m, g, quiet, ours, buf, sizeof(buf));
	if (why_not) {
		skip(m, target, why_not);
		if (!g->holds_guests)
			msgs_warn(&m->p->warnings, "cpu.policy isolated: tasks of %s may run on its CPUs: %s", target,
				  why_not);
		return;
	}
	if (!ours && !idset_is_empty(&g->cpus) && !idset_is_subset(online, &g->cpus))
		theirs = idset_text(&g->cpus);
	(void)snprintf(why, sizeof(why), "what runs there leaves these CPUs%s%.80s%s%s",
		       theirs ? "; somebody keeps it on " : "", theirs ? theirs : "",
		       theirs ? ", of which the rest stays, until it is put back" : "",
		       m->in->host->kernel && m->in->host->kernel < KERNEL_KEEPS_AFFINITY
			       ? "; this kernel then forgets the affinities of threads in it"
			       : ""); /* fits */
	set(m, target, STAGE_PREPARE, quiet, why);
}

static void settle_groups(struct maker *m, const struct idset *quiet)
{
	const struct tasks_facts *f = m->in->tasks;

	if (f->version == 0) {
		skip(m, "groups", "no cpuset controller here");
		return;
	}
	for (unsigned int i = 0; i < f->n_groups; i++)
		settle_group(m, &f->groups[i], quiet);
	if (f->more_groups)
		skip(m, "groups", "there are more top-level groups than are looked at");
	if (f->in_root)
		skip(m, f->mount, "programs are in the root group, which no cpuset can keep off any CPU");
}

/* --- the kernel's own --------------------------------------------------------------------------------------------- */

static void settle_mask(struct maker *m, const char *target, const char *object, const struct idset *mask,
			const struct idset *quiet, const char *what)
{
	const struct idset *online = &m->in->host->online;
	bool ours = is_ours(m, "mask", object), narrowed = !ours && !idset_is_subset(online, mask);
	_cleanup_free_ char *theirs = narrowed ? idset_text(mask) : NULL;
	char why[256];

	if (!ours && idset_is_subset(mask, quiet)) {
		skip(m, target, "somebody has put it on this guest's CPUs alone");
		msgs_warn(&m->p->warnings,
			  "cpu.policy isolated: %s of the kernel runs on its CPUs: somebody has put it there alone", what);
		return;
	}
	(void)snprintf(why, sizeof(why), "%s of the kernel leaves these CPUs%s%.80s%s", what,
		       theirs ? "; somebody keeps it on " : "", theirs ? theirs : "",
		       theirs ? ", of which the rest stays" : ""); /* fits */
	set(m, target, STAGE_PREPARE, quiet, why);
}

static void settle_kernel(struct maker *m, const struct idset *quiet)
{
	const struct tasks_facts *f = m->in->tasks;
	static const char *const targets[] = {"workqueue", "writeback", "kernel-threads"};
	char why[224];

	if (*f->tuned) {
		(void)snprintf(why, sizeof(why), "tuned (profile %s) has isolated cores and keeps it", f->tuned); /* fits */
		for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
			skip(m, targets[i], why);
		return;
	}
	if (f->has_workqueue)
		settle_mask(m, "workqueue", "sys/devices/virtual/workqueue/cpumask", &f->workqueue, quiet,
			    "unbound work");
	else
		skip(m, "workqueue", "the kernel has no mask of unbound work");
	if (f->has_writeback)
		settle_mask(m, "writeback", "sys/devices/virtual/workqueue/writeback/cpumask", &f->writeback, quiet,
			    "writeback");
	else
		skip(m, "writeback", "the kernel has no mask of writeback");
	set(m, "kernel-threads", STAGE_STARTED, quiet, "those that can be moved leave these CPUs");
}

static void settle_kvm(struct maker *m)
{
	const struct placement *pl = &m->p->placement;

	if (streq(m->in->domain->type, "kvm") && !idset_is_empty(&pl->emulator))
		set(m, "kvm-threads", STAGE_STARTED, &pl->emulator,
		    "the kernel's threads for this guest (kvm-pit, kvm-nx-lpage-recovery) run where its emulator does");
}

/* --- partitions --------------------------------------------------------------------------------------------------- */

/* CPUs of vCPUs that have theirs alone. */
static struct idset partition_cpus(const struct maker *m)
{
	const struct placement *pl = &m->p->placement;
	struct idset cpus = IDSET_EMPTY, twice = IDSET_EMPTY;

	for (unsigned int i = 0; i < pl->n_vcpus; i++) {
		struct idset own = pl->vcpus[i].cpus;

		if (!idset_is_subset(&own, &pl->claimed))
			continue;
		idset_and(&own, &cpus);
		idset_or(&twice, &own);
		idset_or(&cpus, &pl->vcpus[i].cpus);
	}
	idset_andnot(&cpus, &twice);
	return cpus;
}

static void settle_partition(struct maker *m)
{
	const unsigned int kernel = m->in->host->kernel;
	struct idset cpus = partition_cpus(m);
	char why[192];

	if (m->in->tasks->version != 2) {
		skip(m, "partition", "cpuset partitions are cgroup v2's: done by cpusets alone");
	} else if (kernel && kernel < KERNEL_HAS_EXCLUSIVE) {
		(void)snprintf(why, sizeof(why),
			       "partitions below groups that are none need Linux 6.7 (cpuset.cpus.exclusive), this is %u.%u: "
			       "done by cpusets alone",
			       kernel / 100, kernel % 100); /* fits */
		skip(m, "partition", why);
	} else if (!idset_is_empty(&cpus)) {
		set(m, "partition", STAGE_STARTED, &cpus,
		    "its vCPUs' groups as isolated cpuset partitions: no other group can have these CPUs");
	}
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static void say_rivals(struct maker *m, const struct idset *quiet)
{
	const struct tasks_facts *f = m->in->tasks;
	_cleanup_free_ char *theirs = idset_text(&f->tuned_cpus);

	if (*f->tuned && idset_is_empty(&f->tuned_cpus))
		msgs_warn(&m->p->warnings,
			  "tuned (profile %s) isolates CPUs of its own choice: work of the kernel may run on this guest's",
			  f->tuned);
	else if (*f->tuned && !idset_is_subset(quiet, &f->tuned_cpus))
		msgs_warn(&m->p->warnings,
			  "tuned (profile %s) isolates CPUs %s, not all of this guest's: work of the kernel may run on the others",
			  f->tuned, theirs ? theirs : "");
	if (f->numad)
		msgs_warn(&m->p->warnings,
			  "numad runs and moves processes to where it likes, QEMU too: stop it, or numad -x PID");
}

/* At least one core and the boot CPU stay with the host. */
static bool is_too_much(struct maker *m, const struct plan_isolation *iso)
{
	if (iso->boot_cpu && iso->whole_core)
		return false;
	skip(m, "", "the host would be left without CPUs: it is dedicated, and host tasks may still run on its CPUs");
	msgs_warn(&m->p->placement.unmet,
		  "cpu.policy isolated asked, but the host would be left without CPUs: at least one core and the boot CPU stay "
		  "with it: fewer isolated vCPUs, or policy dedicated%s",
		  iso->boot_cpu ? "" : ", or the boot CPU's core among the policy's reserved-cpus");
	return true;
}

void plan_tasks(struct maker *m)
{
	struct plan_isolation iso;

	if (m->p->placement.policy != PLACE_ISOLATED)
		return;
	plan_isolation(m, &iso);
	if (is_too_much(m, &iso))
		return;
	if (!m->in->tasks) {
		skip(m, "", "where the host's tasks are is not known");
		return;
	}
	if (idset_is_empty(&iso.quiet)) {
		skip(m, "", "its CPUs are all reserved for the host, whose tasks stay there");
		return;
	}
	settle_groups(m, &iso.quiet);
	settle_kernel(m, &iso.quiet);
	settle_kvm(m);
	settle_partition(m);
	say_rivals(m, &iso.quiet);
}

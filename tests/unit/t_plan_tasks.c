/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cpu.policy isolated: host, its tasks, and others' claims in; the settings that move the host's work out. */
#include "tap.h"

#include "common/irq.h"
#include "common/plan.h"
#include "common/tasks.h"

#include "placehost.h"

#define UUID "11111111-2222-4333-8444-555555555555"
#define SMT2 { .nodes = 1, .cores = 4, .threads = 2 }

struct world {
	struct domain domain;
	struct intent intent;
	struct policy policy;
	struct host host;
	struct ledger ledger;
	struct tasks_facts tasks;
	struct domain_pin pin;
	struct plan plan;
	char name[8], type[8], empty[1];
	char policy_word[16], *source;
};

static void add_group(struct world *w, const char *name, bool unit, const char *cpus)
{
	struct task_group *g = &w->tasks.groups[w->tasks.n_groups++];

	memset(g, 0, sizeof(*g));
	(void)snprintf(g->name, sizeof(g->name), "%s", name);
	g->is_unit = unit;
	g->cpus = set_of(cpus);
}

static struct world *world_new(struct host_spec spec, unsigned int vcpus)
{
	static char source[] = "annotation";
	struct world *w = calloc(1, sizeof(*w));
	struct domain *d;

	if (!w)
		exit(2);
	d = &w->domain;
	host_make(&w->host, &spec);
	w->host.kernel = 612;
	(void)snprintf(w->policy_word, sizeof(w->policy_word), "isolated");
	w->intent.profile = w->empty;
	w->intent.v[KNOB_CPU_POLICY].text = w->policy_word;
	w->intent.v[KNOB_CPU_POLICY].source = source;
	w->policy.max_dedicated = w->policy.max_hugepages = w->policy.max_memory = w->policy.max_protection =
		(struct policy_limit){.num = 100, .is_percent = true};
	(void)snprintf(w->name, sizeof(w->name), "web1");
	(void)snprintf(w->type, sizeof(w->type), "kvm");
	(void)snprintf(d->uuid, sizeof(d->uuid), "%s", UUID);
	d->name = w->name;
	d->type = w->type;
	d->vcpus = d->vcpus_max = vcpus;
	for (unsigned int i = 0; i < vcpus; i++)
		idset_add(&d->vcpus_online, i);
	d->memory = GIB;
	w->tasks.version = 2;
	(void)snprintf(w->tasks.mount, sizeof(w->tasks.mount), "cg");
	w->tasks.has_workqueue = w->tasks.has_writeback = true;
	w->tasks.workqueue = w->tasks.writeback = w->host.online;
	add_group(w, "init.scope", true, "");
	add_group(w, "system.slice", true, "");
	return w;
}

/* Settings of cpu.policy that are no vCPU's, what is skipped of it, warnings. */
static void is_plan(struct world *w, const char *want)
{
	_cleanup_sbuf_ struct sbuf b = {0};
	const struct plan_inputs in = {
		.domain = &w->domain, .intent = &w->intent, .policy = &w->policy, .host = &w->host, .ledger = &w->ledger,
		.wrapper = {.emulator = w->empty}, .tasks = w->tasks.mount[0] ? &w->tasks : NULL,
	};
	struct plan *p = &w->plan;

	IS_INT(plan_make(&in, p), 0);
	for (size_t i = 0; i < p->n_settings; i++) {
		const struct setting *s = &p->settings[i];

		if (!streq(s->knob, "cpu.policy") || str_starts(s->target, "vcpu"))
			continue;
		IS_STR(s->source, "annotation");
		sbuf_addf(&b, "%s %s %s", stage_name(s->stage), s->target, s->value);
		if (strstr(s->why, "somebody") || strstr(s->why, "forgets"))
			sbuf_addf(&b, ": %s", strchr(s->why, ';') + 2);
		sbuf_add(&b, "\n");
	}
	for (size_t i = 0; i < p->n_skipped; i++)
		if (streq(p->skipped[i].knob, "cpu.policy"))
			sbuf_addf(&b, "skip [%s] %s\n", p->skipped[i].target, p->skipped[i].why);
	for (size_t i = 0; i < p->warnings.n; i++)
		sbuf_addf(&b, "warn %s\n", p->warnings.m[i].text);
	if (p->refused)
		sbuf_addf(&b, "refused %s\n", p->refused);
	IS_STR(b.s ? b.s : "", want);
	plan_fini(p);
}

static void world_free(struct world *w)
{
	host_free(&w->host);
	ledger_fini(&w->ledger);
	free(w);
}

#define KERNEL                                                                                                         \
	"prepare workqueue 1,5\nprepare writeback 1,5\nstarted kernel-threads 1,5\nstarted kvm-threads 2-3,6-7\n"

TEST(all_of_it)
{
	struct world *w = world_new((struct host_spec)SMT2, 2);
	struct shared *s;

	is_plan(w, "prepare init.scope 1,5\nprepare system.slice 1,5\n" KERNEL "started partition 1,5\n");
	/* the rest of the core goes as well; a guest of software emulation has no threads in KVM */
	w->domain.vcpus = w->domain.vcpus_max = 1;
	idset_del(&w->domain.vcpus_online, 1);
	(void)snprintf(w->type, sizeof(w->type), "qemu");
	is_plan(w, "prepare init.scope 1,5\nprepare system.slice 1,5\n"
		   "prepare workqueue 1,5\nprepare writeback 1,5\nstarted kernel-threads 1,5\nstarted partition 1\n");
	/* but not what is another guest's */
	claim_make(&w->ledger, "db1", "5");
	w->pin = (struct domain_pin){.id = 0, .cpus = set_of("1")};
	w->domain.vcpupin = &w->pin;
	w->domain.n_vcpupin = 1;
	is_plan(w, "prepare init.scope 1\nprepare system.slice 1\nprepare workqueue 1\nprepare writeback 1\n"
		   "started kernel-threads 1\nstarted partition 1\nskip [vcpu0] the definition has <vcpupin>\n");
	/* unless he keeps it clear as well: what is there when he has gone would be on our core */
	s = ledger_add_shared(&w->ledger, "irq", IRQ_DEFAULT);
	OK(s && shared_set_claim(s, w->ledger.claims[0].uuid, "!1,5") == 0);
	is_plan(w, "prepare init.scope 1,5\nprepare system.slice 1,5\nprepare workqueue 1,5\nprepare writeback 1,5\n"
		   "started kernel-threads 1,5\nstarted partition 1\nskip [vcpu0] the definition has <vcpupin>\n");
	world_free(w);
	w = world_new((struct host_spec)SMT2, 2);
	w->tasks.mount[0] = '\0'; /* not looked at */
	is_plan(w, "skip [] where the host's tasks are is not known\n");
	world_free(w);
	w = world_new((struct host_spec)SMT2, 2);
	(void)snprintf(w->policy_word, sizeof(w->policy_word), "dedicated");
	is_plan(w, "");
	world_free(w);
}

TEST(what_is_not_there)
{
	struct world *w = world_new((struct host_spec)SMT2, 2);

	w->tasks.version = 1;
	w->tasks.n_groups = 0;
	w->tasks.in_root = true;
	w->tasks.has_workqueue = w->tasks.has_writeback = false;
	is_plan(w, "started kernel-threads 1,5\nstarted kvm-threads 2-3,6-7\n"
		   "skip [cg] programs are in the root group, which no cpuset can keep off any CPU\n"
		   "skip [workqueue] the kernel has no mask of unbound work\n"
		   "skip [writeback] the kernel has no mask of writeback\n"
		   "skip [partition] cpuset partitions are cgroup v2's: done by cpusets alone\n");
	w->tasks.version = 0;
	w->tasks.in_root = false;
	is_plan(w, "started kernel-threads 1,5\nstarted kvm-threads 2-3,6-7\n"
		   "skip [groups] no cpuset controller here\n"
		   "skip [workqueue] the kernel has no mask of unbound work\n"
		   "skip [writeback] the kernel has no mask of writeback\n"
		   "skip [partition] cpuset partitions are cgroup v2's: done by cpusets alone\n");
	world_free(w);
	w = world_new((struct host_spec)SMT2, 2);
	w->host.kernel = 601;
	is_plan(w, "prepare init.scope 1,5: this kernel then forgets the affinities of threads in it\n"
		   "prepare system.slice 1,5: this kernel then forgets the affinities of threads in it\n" KERNEL
		   "skip [partition] partitions below groups that are none need Linux 6.7 (cpuset.cpus.exclusive), this is 6.1: "
		   "done by cpusets alone\n");
	world_free(w);
}

TEST(groups)
{
	struct world *w = world_new((struct host_spec)SMT2, 2);
	struct shared *s;

	w->tasks.n_groups = 0;
	add_group(w, "gold.slice", true, "");
	w->tasks.groups[0].holds_guests = true;
	add_group(w, "docker", false, "");
	add_group(w, "system.slice", true, "0-1,4-6");
	add_group(w, "user.slice", true, "1");
	is_plan(w, "prepare cg/docker 1,5\n"
		   "prepare system.slice 1,5: somebody keeps it on 0-1,4-6, of which the rest stays, until it is put back\n"
		   KERNEL "started partition 1,5\n"
		   "skip [gold.slice] guests are in it, and these are never narrowed\n"
		   "skip [user.slice] somebody keeps it on CPUs 1, all of which this guest was given\n"
		   "warn cpu.policy isolated: tasks of user.slice may run on its CPUs: somebody keeps it on CPUs 1, all of which "
		   "this guest was given\n");
	/* another guest of ours has narrowed it */
	s = ledger_add_shared(&w->ledger, "unit", "system.slice/AllowedCPUs");
	OK(s != NULL);
	w->tasks.n_groups = 0;
	add_group(w, "system.slice", true, "0-1,4-6");
	is_plan(w, "prepare system.slice 1,5\n" KERNEL "started partition 1,5\n");
	world_free(w);

	/* v1: a group's CPUs are within those of the one above */
	w = world_new((struct host_spec)SMT2, 2);
	w->tasks.version = 1;
	w->tasks.n_groups = 0;
	add_group(w, "apps", false, "0-7");
	w->tasks.groups[0].child_cpus = set_of("0,2-4");
	(void)snprintf(w->tasks.groups[0].child, sizeof(w->tasks.groups[0].child), "a");
	add_group(w, "jobs", false, "0-7");
	w->tasks.groups[1].child_cpus = set_of("5");
	(void)snprintf(w->tasks.groups[1].child, sizeof(w->tasks.groups[1].child), "b");
	w->tasks.cset = true;
	add_group(w, "system", false, "0-3");
	is_plan(w, "prepare cg/apps 1,5\n" KERNEL
		   "skip [cg/jobs] the group b below it has some of these CPUs, and the kernel keeps a group's CPUs within those "
		   "of the one above\n"
		   "skip [cg/system] cset has made it and keeps it\n"
		   "skip [partition] cpuset partitions are cgroup v2's: done by cpusets alone\n"
		   "warn cpu.policy isolated: tasks of cg/jobs may run on its CPUs: the group b below it has some of these CPUs, "
		   "and the kernel keeps a group's CPUs within those of the one above\n"
		   "warn cpu.policy isolated: tasks of cg/system may run on its CPUs: cset has made it and keeps it\n");
	world_free(w);
}

TEST(rivals)
{
	struct world *w = world_new((struct host_spec)SMT2, 2);

	(void)snprintf(w->tasks.tuned, sizeof(w->tasks.tuned), "cpu-partitioning");
	w->tasks.tuned_cpus = set_of("1-3");
	w->tasks.numad = true;
	is_plan(w, "prepare init.scope 1,5\nprepare system.slice 1,5\nstarted kvm-threads 2-3,6-7\nstarted partition 1,5\n"
		   "skip [workqueue] tuned (profile cpu-partitioning) has isolated cores and keeps it\n"
		   "skip [writeback] tuned (profile cpu-partitioning) has isolated cores and keeps it\n"
		   "skip [kernel-threads] tuned (profile cpu-partitioning) has isolated cores and keeps it\n"
		   "warn tuned (profile cpu-partitioning) isolates CPUs 1-3, not all of this guest's: work of the kernel may run "
		   "on the others\n"
		   "warn numad runs and moves processes to where it likes, QEMU too: stop it, or numad -x PID\n");
	world_free(w);
	w = world_new((struct host_spec)SMT2, 2);
	w->tasks.workqueue = set_of("0-2");
	w->tasks.writeback = set_of("5");
	is_plan(w, "prepare init.scope 1,5\nprepare system.slice 1,5\n"
		   "prepare workqueue 1,5: somebody keeps it on 0-2, of which the rest stays\n"
		   "started kernel-threads 1,5\nstarted kvm-threads 2-3,6-7\nstarted partition 1,5\n"
		   "skip [writeback] somebody has put it on this guest's CPUs alone\n"
		   "warn cpu.policy isolated: writeback of the kernel runs on its CPUs: somebody has put it there alone\n");
	world_free(w);
}

/* At least one core and the boot CPU stay with the host: refused where that was asked for, else one warning. */
TEST(too_much)
{
#define TOO_MUCH(end)                                                                                                  \
	"cpu.policy isolated asked, but the host would be left without CPUs: at least one core and the boot CPU stay with it: " \
	"fewer isolated vCPUs, or policy dedicated" end "\n"
	static const char skipped[] =
		"skip [] the host would be left without CPUs: it is dedicated, and host tasks may still run on its CPUs\n";
	/* the boot CPU, which an owner's pin names, or which is not reserved */
	struct world *w = world_new((struct host_spec){.nodes = 1, .cores = 4, .threads = 1}, 1);
	char want[1024];

	w->policy.reserved = set_of("1");
	w->policy.reserved_given = true;
	w->pin = (struct domain_pin){.id = 0, .cpus = set_of("0")};
	w->domain.vcpupin = &w->pin;
	w->domain.n_vcpupin = 1;
	(void)snprintf(want, sizeof(want), "skip [vcpu0] the definition has <vcpupin>\n%swarn %s", skipped,
		       TOO_MUCH(", or the boot CPU's core among the policy's reserved-cpus"));
	is_plan(w, want);
	w->intent.fail = true;
	(void)snprintf(want, sizeof(want), "skip [vcpu0] the definition has <vcpupin>\n%srefused %s", skipped,
		       TOO_MUCH(", or the boot CPU's core among the policy's reserved-cpus"));
	is_plan(w, want);
	world_free(w);
	/* halves of cores are left, no whole one */
	w = world_new((struct host_spec){.nodes = 1, .cores = 2, .threads = 2}, 1);
	claim_make(&w->ledger, "db1", "2");
	w->policy.reserved = set_of("0");
	w->policy.reserved_given = true;
	w->pin = (struct domain_pin){.id = 0, .cpus = set_of("1")};
	w->domain.vcpupin = &w->pin;
	w->domain.n_vcpupin = 1;
	(void)snprintf(want, sizeof(want), "skip [vcpu0] the definition has <vcpupin>\n%swarn %s", skipped, TOO_MUCH(""));
	is_plan(w, want);
	world_free(w);
}

TAP_MAIN

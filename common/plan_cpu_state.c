/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * States of CPUs: how fast they run, how deep they sleep, and how long KVM waits before it lets them. Only of CPUs that
 * the domain has claimed, since another's work there is nobody's wish, but for KVM's polling, which is the host's.
 *
 * Governor and preference belong to a cpufreq policy, which may have several CPUs, also other domains': a setting's
 * target is the CPU that the policy is named for. What drives the hardware by itself (intel_pstate, amd-pstate-epp)
 * takes no preference but performance under the governor performance (EBUSY; admin-guide/pm/intel_pstate.rst), so there
 * it is not asked for.
 */
#include "plan_priv.h"

#include <inttypes.h>

#include "cpu_facts.h"

struct states {
	struct maker *m;
	const struct cpu_facts *f;
	struct plan_isolation set;
	struct idset policies; /* of the claimed CPUs */
};

static void set_state(struct maker *m, enum knob_id id, const char *target, const char *value, const char *why)
{
	const struct value *v = plan_wanted(m, id);

	m->failed |= plan_add_setting(m->p, knob_table[id].name, target, STAGE_PREPARE, value,
				      v && v->source ? v->source : "default", why) < 0;
}

/* --- clock ------------------------------------------------------------------------------------------------------ */

static struct idset policies_of(const struct cpu_facts *f, const struct idset *cpus)
{
	struct idset all = IDSET_EMPTY;

	IDSET_FOREACH (cpu, cpus)
		if ((unsigned int)cpu < f->n_policy && f->policy[cpu] >= 0)
			idset_add(&all, (unsigned int)f->policy[cpu]);
	return all;
}

static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word), n;

	for (; *(list += strspn(list, " ")); list += n) {
		n = strcspn(list, " ");
		if (n == len && memcmp(list, word, n) == 0)
			return true;
	}
	return false;
}

/* Whether a name can be chosen; "" in why: it can. */
static bool is_offered(const char *list, const char *what, const char *name, char *why, size_t size)
{
	if (!*list)
		(void)snprintf(why, size, "the host's cpufreq driver has no %s", what); /* fits */
	else if (!has_word(list, name))
		(void)snprintf(why, size, "the host has no such %s: %.256s", what, list); /* fits */
	else
		return true;
	return false;
}

/* "a clock of its own", or whose it is too. */
static void say_clock(const struct states *x, unsigned int policy, char *buf, size_t size)
{
	struct idset cpus = IDSET_EMPTY;
	char list[96];

	for (unsigned int i = 0; i < x->f->n_policy; i++)
		if (x->f->policy[i] == (int)policy && idset_has(&x->m->in->host->online, i))
			idset_add(&cpus, i);
	if (idset_format(&cpus, list, sizeof(list)) < 0)
		(void)snprintf(list, sizeof(list), "%u in all", idset_count(&cpus)); /* fits */
	if (idset_count(&cpus) < 2)
		(void)snprintf(buf, size, "of a CPU of its own"); /* fits */
	else if (idset_is_subset(&cpus, &x->set.claimed))
		(void)snprintf(buf, size, "CPUs %s have one clock", list); /* fits */
	else
		(void)snprintf(buf, size, "CPUs %s have one clock, others' too", list); /* fits */
}

static void set_clocks(struct states *x, enum knob_id id, const struct idset *policies)
{
	char target[16], why[160];

	IDSET_FOREACH (policy, policies) {
		(void)snprintf(target, sizeof(target), "cpu%d", policy); /* fits */
		say_clock(x, (unsigned int)policy, why, sizeof(why));
		set_state(x->m, id, target, plan_word(x->m, id), why);
	}
}

/* What this domain's governor can be; "" where it asks for none, or for none that there is. */
static const char *own_governor(const struct states *x)
{
	const char *word = plan_word(x->m, KNOB_CPU_GOVERNOR);

	return has_word(x->f->governors, word) ? word : "";
}

static void plan_governor(struct states *x)
{
	const char *word = plan_word(x->m, KNOB_CPU_GOVERNOR);
	char why[320];

	if (!*word)
		return;
	if (is_offered(x->f->governors, "governor", word, why, sizeof(why)))
		set_clocks(x, KNOB_CPU_GOVERNOR, &x->policies);
	else
		plan_skip(x->m, KNOB_CPU_GOVERNOR, "", why);
}

/* The governor that a policy has for others' sake: of their claims, else what it was, or is. */
static const char *others_governor(const struct states *x, unsigned int policy)
{
	const char *found = NULL;
	const struct shared *s;
	char object[96];

	(void)snprintf(object, sizeof(object), "sys/devices/system/cpu/cpufreq/policy%u/scaling_governor",
		       policy); /* fits */
	s = ledger_see_shared(x->m->in->ledger, "file", object);
	if (!s)
		return x->f->governor ? x->f->governor[policy] : "";
	for (unsigned int k = 0; k < s->n_claims; k++)
		if (!streq(s->claims[k].uuid, x->m->p->uuid) && (!found || streq(s->claims[k].wanted, "performance")))
			found = s->claims[k].wanted;
	return found ? found : s->original;
}

/* The hardware chooses the clock by itself, and the preference is how. */
static bool drives_itself(const struct cpu_facts *f)
{
	return streq(f->driver, "intel_pstate") || streq(f->driver, "amd-pstate-epp");
}

static void plan_energy(struct states *x)
{
	const char *word = plan_word(x->m, KNOB_CPU_ENERGY);
	bool is_bound = drives_itself(x->f) && !streq(word, "performance");
	struct idset free = IDSET_EMPTY;
	char why[320], target[16];

	if (!*word)
		return;
	if (!is_offered(x->f->preferences, "energy preference", word, why, sizeof(why))) {
		plan_skip(x->m, KNOB_CPU_ENERGY, "", why);
		return;
	}
	if (is_bound && streq(own_governor(x), "performance")) {
		(void)snprintf(why, sizeof(why), "with the governor performance %s takes performance only",
			       x->f->driver); /* fits */
		plan_skip(x->m, KNOB_CPU_ENERGY, "", why);
		return;
	}
	IDSET_FOREACH (policy, &x->policies) {
		if (!is_bound || *own_governor(x) || !streq(others_governor(x, (unsigned int)policy), "performance")) {
			idset_add(&free, (unsigned int)policy);
			continue;
		}
		(void)snprintf(target, sizeof(target), "cpu%d", policy); /* fits */
		(void)snprintf(why, sizeof(why), "its governor is performance, with which %s takes performance only",
			       x->f->driver); /* fits */
		plan_skip(x->m, KNOB_CPU_ENERGY, target, why);
	}
	set_clocks(x, KNOB_CPU_ENERGY, &free);
}

/* --- sleep ------------------------------------------------------------------------------------------------------ */

/*
 * Claimed CPUs that threads of the guest run on. A sibling that is claimed to be idle may sleep: nobody waits for it to
 * wake up, and waiting in a loop it would take from the core what it is kept idle for.
 */
static struct idset working_cpus(const struct states *x)
{
	const struct placement *pl = &x->m->p->placement;
	struct idset cpus = pl->emulator;

	for (unsigned int i = 0; i < pl->n_vcpus; i++)
		idset_or(&cpus, &pl->vcpus[i].cpus);
	for (unsigned int i = 0; i < pl->n_iothreads; i++)
		idset_or(&cpus, &pl->iothreads[i].cpus);
	idset_and(&cpus, &x->set.claimed);
	return cpus;
}

/*
 * Of the kernel's file "0" says that there is no limit, and "n/a" that nothing is tolerated
 * (ABI/testing/sysfs-devices-power); asked for are microseconds, of which 0 is none.
 */
static void plan_wakeup(struct states *x)
{
	const struct value *v = plan_wanted(x->m, KNOB_CPU_WAKEUP);
	struct idset cpus = working_cpus(x);
	char target[16];

	if (!v)
		return;
	if (!x->f->has_wakeup) {
		plan_skip(x->m, KNOB_CPU_WAKEUP, "", "the host's CPUs have no pm_qos_resume_latency_us");
		return;
	}
	IDSET_FOREACH (cpu, &cpus) {
		(void)snprintf(target, sizeof(target), "cpu%d", cpu); /* fits */
		set_state(x->m, KNOB_CPU_WAKEUP, target, v->num ? v->text : "n/a",
			  v->num ? "microseconds to wake up in, at most"
				 : "0 us, for which the kernel says n/a: idle it waits in a loop, at full power");
	}
}

/*
 * The host's, so it is only ever raised: who asks for less than there is would take it from guests that have not asked.
 * Who asks is a guest of KVM.
 */
static void plan_halt_poll(struct maker *m, const struct cpu_facts *f)
{
	const char *type = m->in->domain->type;
	char why[128];

	if (!plan_wanted(m, KNOB_CPU_HALT_POLL))
		return;
	if (type && !streq(type, "kvm")) {
		(void)snprintf(why, sizeof(why), "type='%.32s' is not KVM's: its vCPUs do not halt there", type); /* fits */
		plan_skip(m, KNOB_CPU_HALT_POLL, "", why);
	} else if (!f || !f->has_halt_poll) {
		plan_skip(m, KNOB_CPU_HALT_POLL, "", f ? "the host's kvm has no halt_poll_ns" : "it was not looked at");
	} else {
		set_state(m, KNOB_CPU_HALT_POLL, "", plan_word(m, KNOB_CPU_HALT_POLL),
			  "for the whole host at least this, in ns: KVM polls before a vCPU sleeps, where that pays");
	}
}

void plan_cpu_states(struct maker *m)
{
	static const enum knob_id of_claimed[] = { KNOB_CPU_GOVERNOR, KNOB_CPU_ENERGY, KNOB_CPU_WAKEUP };
	struct states x = { .m = m, .f = m->in->cpus };
	const char *why = NULL;

	plan_isolation(m, &x.set);
	if (!x.f)
		why = "states of CPUs were not looked at";
	else if (idset_is_empty(&x.set.claimed))
		why = "only of claimed CPUs, and it claims none (cpu policy dedicated or isolated)";
	for (size_t i = 0; why && i < ARRAY_SIZE(of_claimed); i++)
		if (plan_wanted(m, of_claimed[i]))
			plan_skip(m, of_claimed[i], "", why);
	if (!why) {
		x.policies = policies_of(x.f, &x.set.claimed);
		for (size_t i = 0; idset_is_empty(&x.policies) && i < 2; i++)
			if (plan_wanted(m, of_claimed[i]))
				plan_skip(m, of_claimed[i], "", "the host has no cpufreq");
		if (!idset_is_empty(&x.policies)) {
			plan_governor(&x);
			plan_energy(&x);
		}
		plan_wakeup(&x);
	}
	plan_halt_poll(m, x.f);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * irq.policy: one setting of the domain, "avoid:SET", that all interrupts leave the CPUs it has to itself, and one of each
 * device it uses, "local:SET", that this one's come to CPUs which serve the domain. Which interrupts these are is found out
 * when they are moved (step_irq.c), since they come and go. cpu.policy isolated implies avoid where nothing is written.
 */
#include "plan_priv.h"

#include "irq_facts.h"
#include "sbuf.h"

static const char *source_of(const struct maker *m)
{
	const struct value *v = &m->in->intent->v[KNOB_IRQ_POLICY];

	if (!v->text)
		v = &m->in->intent->v[KNOB_CPU_POLICY]; /* isolated implies it */
	return v->source ? v->source : "default";
}

static void add(struct maker *m, const char *target, const char *verb, const struct idset *cpus, const char *why)
{
	_cleanup_free_ char *list = idset_text(cpus), *value = NULL;

	if (!list || asprintf(&value, "%s:%s", verb, list) < 0) {
		m->failed = true;
		value = NULL;
		return;
	}
	m->failed |= plan_add_setting(m->p, knob_table[KNOB_IRQ_POLICY].name, target, STAGE_PREPARE, value,
				      source_of(m), why) < 0;
}

/* Why nothing can be kept clear. NULL: it can. */
static const char *why_no_avoid(const struct maker *m, const struct plan_isolation *i)
{
	if (idset_is_empty(&i->claimed))
		return m->p->placement.policy == PLACE_SHARED || m->q.policy == PLACE_SHARED
			       ? "it shares its CPUs: only those that it has to itself can be kept clear"
			       : "it has no CPUs of its own that could be kept clear";
	if (!i->boot_cpu || !i->whole_core)
		return "the boot CPU and one whole core at least have to stay with the host";
	return NULL;
}

static void settle_avoid(struct maker *m)
{
	struct plan_isolation i;
	const char *why;
	struct idset off;
	char words[160];

	plan_isolation(m, &i);
	why = why_no_avoid(m, &i);
	if (why) {
		plan_skip(m, KNOB_IRQ_POLICY, "", why);
		if (!idset_is_empty(&i.claimed))
			msgs_warn(&m->impossible, "irq.policy avoid asked, but %s", why);
		return;
	}
	off = i.claimed;
	idset_or(&off, &i.quiet);
	(void)snprintf(words, sizeof(words), "all interrupts that can be moved leave its own CPUs%s%s, new ones too",
		       idset_is_empty(&i.quiet) || idset_is_subset(&i.quiet, &i.claimed) ? "" : " and the rest of their cores",
		       m->in->intent->v[KNOB_IRQ_POLICY].text ? "" : " (isolated)"); /* fits */
	add(m, "", "avoid", &off, words);
}

/* The CPUs of QEMU's other threads and I/O threads; of a domain that is not placed the shared ones of its node. */
static struct idset serving_cpus(const struct maker *m, bool *ret_own)
{
	const struct placement *pl = &m->p->placement;
	struct idset cpus = pl->emulator, vcpus = IDSET_EMPTY, claimed = place_claimed(m->in->ledger, m->p->uuid), left;
	struct plan_isolation isolation;

	for (unsigned int i = 0; i < pl->n_iothreads; i++)
		idset_or(&cpus, &pl->iothreads[i].cpus);
	idset_and(&cpus, &m->in->host->online);
	idset_andnot(&cpus, &claimed);
	if (pl->policy == PLACE_DEDICATED || pl->policy == PLACE_ISOLATED) {
		for (unsigned int i = 0; i < pl->n_vcpus; i++)
			idset_or(&vcpus, &pl->vcpus[i].cpus);
		left = cpus;
		idset_andnot(&left, &vcpus);
		cpus = left;
	}
	/* Not to siblings of isolated vCPUs, if there is anything else. */
	plan_isolation(m, &isolation);
	left = cpus;
	idset_andnot(&left, &isolation.quiet);
	if (!idset_is_empty(&left))
		cpus = left;
	*ret_own = !idset_is_empty(&cpus);
	if (*ret_own || idset_is_empty(&pl->nodes))
		return cpus;
	idset_or(&claimed, &pl->claimed);
	cpus = place_shared(m->in->host, &m->q.reserved, &claimed);
	left = host_node_cpus(m->in->host, &pl->nodes);
	idset_and(&cpus, &left);
	if (idset_is_empty(&cpus)) {
		cpus = m->q.reserved;
		idset_and(&cpus, &left);
	}
	return cpus;
}

static void settle_device(struct maker *m, const struct irq_fact *f, const struct idset *serving, bool own)
{
	static const char *const uses[] = {
		[IRQ_USE_UPLINK] = "uplink of its interfaces",
		[IRQ_USE_DISK] = "below its disks",
		[IRQ_USE_PASSED] = "passed through to it",
	};
	_cleanup_sbuf_ struct sbuf why = {0};
	struct idset cpus = *serving, near = IDSET_EMPTY, node = IDSET_EMPTY;

	if (f->node >= 0) {
		idset_add(&node, (unsigned int)f->node);
		near = host_node_cpus(m->in->host, &node);
		idset_and(&near, serving);
	}
	if (!idset_is_empty(&near))
		cpus = near;
	sbuf_add(&why, uses[f->use]);
	if (f->others)
		sbuf_addf(&why, ", as %u more of its devices", f->others);
	if (f->n)
		sbuf_addf(&why, ": %u interrupt%s now", f->n, f->n == 1 ? "" : "s");
	else
		sbuf_add(&why, f->use == IRQ_USE_PASSED ? ": its interrupts come with the guest's driver"
							: ": it has no interrupts now");
	sbuf_addf(&why, "; %s", own ? "to the CPUs of QEMU's other threads" : "to shared CPUs of its node");
	if (f->n > 1 && f->n <= idset_count(&cpus))
		sbuf_add(&why, ", one each");
	if (f->node >= 0 && idset_is_empty(&near))
		sbuf_addf(&why, " (it is on node %d, none of them is)", f->node);
	if (why.failed)
		m->failed = true;
	else
		add(m, f->name, "local", &cpus, why.s);
}

static void settle_local(struct maker *m)
{
	const struct irq_facts *f = m->in->irqs;
	bool own;
	struct idset serving = serving_cpus(m, &own);

	if (f->n == 0) {
		plan_skip(m, KNOB_IRQ_POLICY, "local", "no device of the host is known that it uses");
		return;
	}
	if (idset_is_empty(&serving)) {
		plan_skip(m, KNOB_IRQ_POLICY, "local", "it is not placed, so no CPUs are nearer to it than others");
		return;
	}
	for (unsigned int i = 0; i < f->n; i++)
		settle_device(m, &f->d[i], &serving, own);
}

void plan_irq(struct maker *m)
{
	const char *policy = irq_policy_of(m->in->intent);
	bool all = streq(policy, "all");

	if (streq(policy, "none") || m->suppressed[KNOB_IRQ_POLICY] ||
	    (!m->in->intent->v[KNOB_IRQ_POLICY].text && m->suppressed[KNOB_CPU_POLICY]))
		return;
	if (!m->in->irqs || !m->in->irqs->n_all) {
		plan_skip(m, KNOB_IRQ_POLICY, "",
			  m->in->irqs ? "there are no interrupts to be seen here (/proc/irq)" : "interrupts were not looked at");
		return;
	}
	if (all || streq(policy, "avoid"))
		settle_avoid(m);
	if (all || streq(policy, "local"))
		settle_local(m);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which CPUs a domain is to have to itself, against the host's own work: what interrupts, host tasks, kernel threads and
 * the states of CPUs are planned from.
 */
#include "irq.h"
#include "plan_priv.h"

/* The cores of these CPUs, with siblings that are idle or shared. */
static struct idset whole_cores(const struct host *h, const struct idset *cpus)
{
	struct idset all = *cpus;

	IDSET_FOREACH (cpu, cpus) {
		struct idset core = host_siblings(h, cpu);

		idset_or(&all, &core);
	}
	return all;
}

/* CPUs where interrupts of a guest's devices are to come. */
static struct idset serving(const struct ledger *l, const char *uuid)
{
	struct idset all = IDSET_EMPTY, one;

	for (unsigned int i = 0; i < l->n_shared; i++) {
		const struct shared *s = &l->shared[i];

		const char *wanted = s->fold == FOLD_IRQ ? shared_claim_of(s, uuid) : NULL;

		if (wanted && irq_asked(wanted, &one))
			idset_or(&all, &one);
	}
	return all;
}

/*
 * Others' own CPUs that they keep clear themselves, by their claim on where new interrupts go, and want nothing to come to. For
 * them it is the same if we keep them clear, too; and when they have gone it is still true of the rest of our cores.
 */
static struct idset kept_clear(const struct ledger *l, const char *uuid)
{
	const struct shared *s = ledger_see_shared(l, "irq", IRQ_DEFAULT);
	struct idset all = IDSET_EMPTY, one, to;

	for (unsigned int i = 0; s && i < s->n_claims; i++) {
		const struct claim *own = ledger_see(l, s->claims[i].uuid);

		if (!own || streq(own->uuid, uuid) || !irq_kept_clear(s->claims[i].wanted, &one))
			continue;
		to = serving(l, own->uuid);
		idset_and(&one, own->cpus);
		idset_andnot(&one, &to);
		idset_or(&all, &one);
	}
	return all;
}

void plan_isolation(const struct maker *m, struct plan_isolation *ret)
{
	const struct host *h = m->in->host;
	const struct placement *pl = &m->p->placement;
	struct idset others = place_claimed(m->in->ledger, m->p->uuid), foreign = others;
	struct idset clear = kept_clear(m->in->ledger, m->p->uuid);

	*ret = (struct plan_isolation){.claimed = pl->claimed, .housekeeping = h->online};
	if (pl->policy == PLACE_ISOLATED)
		ret->quiet = whole_cores(h, &pl->claimed);
	/* A sibling that is another guest's is else his business, and reserved CPUs are what the host is to have. */
	idset_andnot(&foreign, &clear);
	idset_andnot(&ret->quiet, &foreign);
	idset_andnot(&ret->quiet, &m->q.reserved);
	idset_or(&others, &ret->claimed);
	idset_or(&others, &ret->quiet);
	idset_andnot(&ret->housekeeping, &others);
	ret->boot_cpu = idset_has(&ret->housekeeping, (unsigned int)idset_first(&h->online));
	IDSET_FOREACH (cpu, &ret->housekeeping) {
		struct idset core = host_siblings(h, cpu);

		ret->whole_core |= idset_is_subset(&core, &ret->housekeeping);
	}
}

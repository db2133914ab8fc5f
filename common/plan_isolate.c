/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which CPUs a domain is to have to itself, against the host's own work: what interrupts, host tasks, kernel threads and
 * the states of CPUs are planned from.
 */
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

void plan_isolation(const struct maker *m, struct plan_isolation *ret)
{
	const struct host *h = m->in->host;
	const struct placement *pl = &m->p->placement;
	struct idset others = place_claimed(m->in->ledger, m->p->uuid);

	*ret = (struct plan_isolation){.claimed = pl->claimed, .housekeeping = h->online};
	if (pl->policy == PLACE_ISOLATED)
		ret->quiet = whole_cores(h, &pl->claimed);
	/* A sibling that is another guest's is his business, and reserved CPUs are what the host is to have. */
	idset_andnot(&ret->quiet, &others);
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

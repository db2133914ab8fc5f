/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPUs beside those of the vCPUs: the one more that emulator and I/O threads may ask for, and the core that stays with
 * the host.
 *
 * Of a host with several cores at least one is claimed by nobody, not even in part, whatever max-dedicated-cpus says:
 * the host's own tasks, libvirt and the guests that float run somewhere. Reserved CPUs that include a whole core are
 * that already (the default is the core of the lowest CPU). Else one core that is nobody's yet is kept, for as long
 * as a choice can be made: the one with most reserved CPUs, then the one with fewest CPUs that this domain is
 * restricted to (so that a list of CPUs is not refused while another core could be kept), then the lowest. The owner's
 * pins are no choice; where they or foreign claims have taken a part of every core there is none to keep any more, and
 * a CPU that nobody has is kept instead, unless one is reserved.
 */
#include "place_priv.h"

/* Nobody has a claim on it, and the host's own tasks may run there. */
static struct idset untouched(const struct place_ctx *c)
{
	struct idset ret = c->h->online;

	idset_andnot(&ret, &c->held);
	idset_andnot(&ret, &c->h->exclusive);
	idset_andnot(&ret, &c->pinned);
	return ret;
}

struct core {
	struct idset cpus;
	unsigned int reserved, asked; /* of them: reserved ones, and those this domain may have */
};

static bool is_better(const struct core *a, const struct core *b)
{
	if (a->reserved != b->reserved)
		return a->reserved > b->reserved;
	return a->asked < b->asked;
}

static unsigned int count_common(const struct idset *a, const struct idset *b)
{
	struct idset s = *a;

	idset_and(&s, b);
	return idset_count(&s);
}

struct idset place_kept(const struct place_ctx *c)
{
	struct idset nobodys = untouched(c), left = nobodys;
	struct core best = { 0 };
	bool found = false;

	if (c->h->n_cores < 2)
		return IDSET_EMPTY;
	/* Ascending: the lowest of equals stays. */
	for (int id = idset_first(&left); id >= 0; id = idset_first(&left)) {
		struct core t = { .cpus = host_siblings(c->h, id) };

		idset_del(&left, (unsigned int)id);
		idset_andnot(&left, &t.cpus);
		if (!idset_is_subset(&t.cpus, &nobodys))
			continue;
		t.reserved = count_common(&t.cpus, &c->q->reserved);
		t.asked = count_common(&t.cpus, &c->cpus);
		if (!found || is_better(&t, &best))
			best = t;
		found = true;
		if (best.reserved == idset_count(&best.cpus))
			break;
	}
	if (!found && !idset_is_empty(&nobodys) && !idset_intersects(&nobodys, &c->q->reserved))
		idset_add(&best.cpus, (unsigned int)idset_first(&nobodys));
	idset_andnot(&best.cpus, &c->q->reserved);
	return best.cpus;
}

bool place_within_limit(const struct place_ctx *c, const struct idset *claim)
{
	struct idset all = c->held;

	idset_or(&all, claim);
	return idset_count(&all) <= c->q->max_dedicated;
}

/*
 * The CPU of `from` that leaves most whole cores whole; of these one of the slowest kind, since what QEMU's own threads
 * do gains least from a fast core; then the lowest. -1: `from` is empty.
 */
static int pick_extra(const struct place_ctx *c, const struct idset *from)
{
	int best = -1, best_kind = 0;
	unsigned int best_free = 0;

	IDSET_FOREACH (id, from) {
		const struct host_cpu *cpu = host_cpu(c->h, id);
		struct idset core = host_siblings(c->h, id);
		unsigned int n_free;

		if (!cpu)
			continue;
		n_free = count_common(&core, from);
		if (best >= 0 && (n_free > best_free || (n_free == best_free && cpu->kind <= best_kind)))
			continue;
		best = id;
		best_kind = cpu->kind;
		best_free = n_free;
	}
	return best;
}

int place_claim_extra(struct place_ctx *c, const struct idset *near, struct idset *claim)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	struct idset from = *near, with = *claim, kept = place_kept(c);
	int id;

	idset_and(&from, &c->free); /* never a reserved one */
	idset_andnot(&from, &kept);
	idset_andnot(&from, claim);
	id = pick_extra(c, &from);
	if (id < 0) {
		from = c->free;
		idset_and(&from, &c->cpus);
		idset_andnot(&from, &kept);
		idset_andnot(&from, claim);
		id = pick_extra(c, &from);
	}
	/* The last CPU of those that float stays theirs. */
	if (!c->dedicated && idset_count(near) < 2)
		id = -1;
	if (id >= 0) {
		idset_add(&with, (unsigned int)id);
		if (place_within_limit(c, &with)) {
			*claim = with;
			return id;
		}
	}
	sbuf_add(&b, "one further CPU asked for the emulator or I/O threads, ");
	if (id >= 0)
		sbuf_addf(&b, "the policy's max-dedicated-cpus is %" PRIu64, c->q->max_dedicated);
	else
		sbuf_add(&b, "none is free");
	sbuf_add(&b, ": fewer vCPUs, or share");
	place_unmet(c, &b);
	return -1;
}

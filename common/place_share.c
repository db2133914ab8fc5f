/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Floaters are computed from claims alone, never from where they were: whoever comes and goes in whatever order, the
 * same claims give the same sets, and a set that stays the same is not touched. The only exception is said in
 * place_share.h: where nothing is left at all a floater stays where it is.
 *
 * A thousand domains have some ten different floaters between them, and sets of a ledger are interned (ledger_set()):
 * a floater with the same home, limit and number of vCPUs as the one before it gets the same answer.
 */
#include "place_share.h"

#include "place.h"

int place_share_note(struct ledger *l, const struct host *h, const struct idset *reserved)
{
	const struct idset *online, *kept = ledger_set(l, reserved);
	struct idset ours = h->online;

	/* What somebody else's exclusive cpuset has is nobody's to share. */
	idset_andnot(&ours, &h->exclusive);
	online = ledger_set(l, &ours);
	if (!online || !kept)
		return -ENOMEM;
	l->online = online;
	l->reserved = kept;
	return 0;
}

/* What of `from` is online and nobody's. */
static struct idset unclaimed(const struct idset *from, const struct idset *online, const struct idset *claimed)
{
	struct idset s = *from;

	idset_and(&s, online);
	idset_andnot(&s, claimed);
	return s;
}

void place_share_set(const struct idset *online, const struct idset *reserved, const struct idset *claimed,
		     const struct idset *home, const struct idset *limit, unsigned int vcpus, struct idset *ret)
{
	struct idset at_home = unclaimed(home, online, claimed), wider;
	unsigned int need = vcpus ? vcpus : 1, n = idset_count(&at_home);

	if (n >= need) {
		*ret = at_home;
		return;
	}
	wider = unclaimed(limit, online, claimed);
	if (idset_count(&wider) <= n)
		wider = at_home;
	if (idset_is_empty(&wider)) {
		wider = unclaimed(online, online, claimed);
		idset_andnot(&wider, reserved);
	}
	if (idset_is_empty(&wider)) {
		wider = *reserved;
		idset_and(&wider, online);
	}
	*ret = wider;
}

/* One floater and its answer: the next one is likely to ask the same. */
struct answer {
	const struct floater *to; /* NULL: none yet */
	struct idset set;
};

static void ask(const struct ledger *l, const struct idset *claimed, const struct floater *f, struct answer *a)
{
	if (a->to && a->to->home == f->home && a->to->limit == f->limit && a->to->vcpus == f->vcpus)
		return;
	place_share_set(l->online, l->reserved, claimed, f->home, f->limit, f->vcpus, &a->set);
	a->to = f;
}

/* 1: it is to be somewhere else now; 0; -ENOMEM. */
static int update_floater(struct ledger *l, const struct idset *claimed, struct floater *f, struct answer *a)
{
	const struct idset *now;

	ask(l, claimed, f, a);
	if (idset_is_empty(&a->set) || idset_equal(&a->set, f->now))
		return 0;
	now = ledger_set(l, &a->set);
	if (!now)
		return -ENOMEM;
	f->now = now;
	f->moved = true;
	return 1;
}

int place_share_update(struct ledger *l)
{
	bool known = l->online && !idset_is_empty(l->online);
	struct idset claimed = place_claimed(l, "");
	struct answer a = {0};
	int marked = 0;

	for (unsigned int i = 0; i < l->n_claims; i++) {
		struct claim *c = &l->claims[i];

		if (c->kind != CLAIM_OURS)
			continue;
		for (unsigned int j = 0; j < c->n_floats; j++) {
			int moved = known ? update_floater(l, &claimed, &c->floats[j], &a) : 0;

			if (moved < 0)
				return moved;
			if (moved) {
				c->line = NULL;
				/* Others take theirs when they start. */
				l->moves |= c->phase == CLAIM_STARTED;
			}
			marked += c->floats[j].moved;
		}
	}
	return marked;
}

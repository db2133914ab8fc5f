/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sets of CPUs and limits that the placement and the tool look at alike. */
#include "place.h"

struct idset place_reserved(const struct host *h, const struct policy *p)
{
	struct idset ret = IDSET_EMPTY;

	if (p->reserved_given) {
		ret = p->reserved;
		idset_and(&ret, &h->online);
	}
	/* A list of which nothing is online was written for another host: that is no wish to reserve nothing. */
	if ((!p->reserved_given || (idset_is_empty(&ret) && !idset_is_empty(&p->reserved))) && h->n_cores > 1)
		ret = host_siblings(h, idset_first(&h->online));
	return ret;
}

struct idset place_claimed(const struct ledger *l, const char *self)
{
	const struct idset *last = NULL; /* equal sets are one (ledger_set()): most claims hold none */
	struct idset ret = IDSET_EMPTY;

	for (unsigned int i = 0; i < l->n_claims; i++)
		if (l->claims[i].cpus != last && l->claims[i].kind != CLAIM_OBSERVE &&
		    !streq(l->claims[i].uuid, self)) {
			last = l->claims[i].cpus;
			idset_or(&ret, last);
		}
	return ret;
}

struct idset place_shared(const struct host *h, const struct idset *reserved, const struct idset *claimed)
{
	struct idset ret = h->online;

	idset_andnot(&ret, &h->exclusive);
	idset_andnot(&ret, reserved);
	idset_andnot(&ret, claimed);
	return ret;
}

uint64_t place_limit(struct policy_limit limit, uint64_t of)
{
	__uint128_t n;

	if (!limit.is_percent)
		return limit.num;
	if (of == HOST_UNKNOWN)
		return HOST_UNKNOWN;
	n = (__uint128_t)of * limit.num / 100;
	return n < HOST_UNKNOWN ? (uint64_t)n : HOST_UNKNOWN;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The shared pool: where domains that float go as dedicated ones come and go. Pure: it changes the ledger only; who
 * called carries it out (apply_moves()), under no lock.
 *
 *     online = reserved + claimed + shared, always disjoint
 *
 * A floater is to be on home \ claimed. If that has fewer CPUs than its vCPUs (than one, without vCPUs) and fewer
 * than limit \ claimed, it is on limit \ claimed; if that is empty, on the shared pool; then on the reserved CPUs;
 * and if there is nothing at all it stays where it is. So the same claims give the same sets, whatever came before,
 * and a floater whose set would not change is not touched.
 */
#pragma once

#include "host.h"
#include "ledger.h"

/* Note what there is to share. 0, or -ENOMEM. */
int place_share_note(struct ledger *l, const struct host *h, const struct idset *reserved);

/*
 * Recompute every floater of CLAIM_OURS (all claims must be in l: ledger_read()). Those that changed are marked
 * `moved`, and only the lines of their claims are rewritten; if one of them runs, ledger.moves says so. Without
 * place_share_note() in this boot nothing is done. Returns how many floaters are marked, new ones and those that were
 * before; -ENOMEM.
 */
int place_share_update(struct ledger *l);

/* The set of one floater, as above; *ret is empty where nothing is left at all. claimed: place_claimed(). */
void place_share_set(const struct idset *online, const struct idset *reserved, const struct idset *claimed,
		     const struct idset *home, const struct idset *limit, unsigned int vcpus, struct idset *ret);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Moving the memory of a running guest to other nodes (libnuma, move_pages(2)), for guests that were started without
 * the wrapper. Only `retune` calls it: a hook makes libvirt wait. In pieces, so that the guest's faults wait for at
 * most one of them, and only so long as the budget lasts; the next call goes on where this one stopped, since pages
 * that are there already cost only the question.
 */
#pragma once

#include "hostfs.h"
#include "idset.h"

#define MIGRATE_PIECE 2048       /* pages in one call: 8 MiB, four transparent huge ones */
#define MIGRATE_BUDGET_MS 30000  /* of one `domtune retune` of one domain */

struct migrate_result {
	uint64_t looked_at, moved, refused; /* bytes: of the guest's RAM, moved by this call, not movable */
	uint64_t elsewhere;                 /* bytes still on other nodes */
	bool out_of_time;
	bool full;                          /* stopped: a node has no free memory to spare for them */
};

/*
 * Move the pages of process pid's guest RAM (qemuram.h says which mappings that is; memory: bytes of it all) to
 * `nodes`; if there are several, they take turns every 2 MiB. start: its start time, so that a recycled pid is not
 * touched.
 * -ESRCH: gone; -EPERM; -EOPNOTSUPP: below another root, or no NUMA.
 */
int migrate_pages_of(const struct hostfs *fs, int pid, uint64_t start, uint64_t memory, const struct idset *nodes,
		     unsigned int budget_ms, struct migrate_result *ret, struct err *e);

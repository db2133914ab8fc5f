/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A placement as a thing: its words and its end. For `apply`, which reads placements but makes none. */
#include "place.h"

const char *place_policy_name(enum place_policy p)
{
	static const char *const names[] = {
		[PLACE_NONE] = "none",
		[PLACE_SHARED] = "shared",
		[PLACE_DEDICATED] = "dedicated",
		[PLACE_ISOLATED] = "isolated",
	};

	return (size_t)p < ARRAY_SIZE(names) ? names[p] : names[PLACE_NONE];
}

const char *place_memory_name(enum place_memory m)
{
	static const char *const names[] = {
		[PLACE_MEMORY_NONE] = "none",
		[PLACE_MEMORY_PREFERRED] = "preferred",
		[PLACE_MEMORY_STRICT] = "strict",
		[PLACE_MEMORY_INTERLEAVE] = "interleave",
	};

	return (size_t)m < ARRAY_SIZE(names) ? names[m] : names[PLACE_MEMORY_NONE];
}

const char *place_node_word(const struct idset *nodes)
{
	return idset_count(nodes) > 1 ? "nodes " : "node ";
}

void placement_fini(struct placement *p)
{
	free(p->vcpus);
	free(p->iothreads);
	free(p->pages);
	free(p->floaters);
	free(p->cells);
	msgs_fini(&p->unmet);
	msgs_fini(&p->notes);
	memset(p, 0, sizeof(*p));
}

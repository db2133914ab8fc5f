/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The search for a place: which nodes, and for dedicated vCPUs which CPUs, cost least. Pure.
 *
 * The cost is a list of numbers, compared from the first to the last; a later one only decides between places that are
 * equal in all earlier ones. This is the list; place_cost.c computes it, nothing else does (the search minimises what
 * the same functions give it). "d" is for dedicated vCPUs only, "f" for floating ones only.
 *
 *   kinds    d kinds of cores used beyond one
 *   slow     d with `latency`: numbers of the kinds used, added up (0 is the fastest)
 *   nodes      NUMA nodes used; CPUs whose node is not known are one node, which is not combined with others and
 *              counts as two
 *   crowd    f vCPUs per CPU of these nodes, this domain's included, in whole ones beyond the first: as long as each
 *              can have a CPU to itself, what comes below decides
 *   anchor     sum over the nodes its memory is on whatever is chosen, of the distance to the nearest node used
 *   devices    sum over the nodes of its devices, of the same
 *   spread     sum of the distances between the nodes used, both ways
 *   grow       units of memory that are not ready (huge pages to be added to pools)
 *   uneven     vCPUs of a node beyond an even share, which is rounded up to whole host cores
 *   l3       d L3 groups used (one that spans nodes or dies counts in each of them)
 *   dies     d dies used (likewise)
 *   cache    d vCPUs on an L3 that is smaller than the host's largest
 *   slower   d vCPUs that are not on the fastest kind of core, each times its kind
 *   torn     d vCPUs on host cores that hold no multiple of guest_threads: that many are not with their guest core
 *   shared   d vCPUs on cores that are not this domain's alone
 *   idle     d CPUs that are taken only to keep them idle
 *   broken   d cores, until now nobody's, that are left in part
 *   moved      d: vCPUs that leave `current`; f: CPUs of `current` on nodes that are left
 *   load     f vCPUs per CPU of these nodes, in thousandths
 *   hole_l3  d free CPUs that are left in the L3 groups used: small holes are filled, large ones stay
 *   hole_node  free CPUs (d) and memory left in the nodes used, each in thousandths of the most that any node has free
 *
 * Places that are equal in all of these: the lowest numbers, as far as the search looks.
 *
 * For hosts of up to 16 CPUs the result has the least cost of all possible places (t_place_search compares with
 * exhaustive enumeration). What is bounded on larger ones is said in place_search.c.
 */
#pragma once

#include "host.h"
#include "place.h"

#define SEARCH_PARTS_MAX 64 /* DOMAIN_CELLS_MAX */

/* What has to be on one node: a guest cell, or the whole guest. */
struct search_part {
	unsigned int vcpus;   /* that need a CPU (dedicated), or CPUs to float over */
	uint64_t units;       /* its memory, in the unit of search.room */
};

/* Zero is off for every member but h, free and parts. */
struct search {
	const struct host *h;
	struct idset free;    /* CPUs that may be given */
	struct idset busy;    /* CPUs of others (claimed, reserved, to be avoided): no whole core has one of them */
	enum place_threads threads;
	unsigned int guest_threads; /* so many successive vCPUs are one guest core; 0, 1: no SMT seen by the guest */
	const struct search_part *parts; unsigned int n_parts;
	/* One part only: it may be on several nodes, its memory then evenly; the first nodes get what is left over. */
	bool split;
	bool floating;        /* no CPU of their own: a node holds as many vCPUs as it has free CPUs */
	bool latency;         /* the fast kind of cores is better */
	const uint64_t *load; /* per h->nodes[]: floating vCPUs per CPU that are there already, in thousandths */
	/* Per h->nodes[]: units of memory that vCPUs there can get, HOST_UNKNOWN: no limit. NULL: it does not count. */
	const uint64_t *room;
	const uint64_t *ready; /* of room: what needs no growing; NULL: all of it */
	struct idset devices; /* nodes of devices it uses */
	struct idset anchor;  /* nodes its memory is on whatever is chosen; room is then NULL */
	bool anchor_is_pins;  /* the anchor is where vCPUs are pinned, for the words only */
	struct idset current; /* CPUs it has now */
};

enum search_cost_id {
	COST_KINDS, COST_SLOW, COST_NODES, COST_CROWD, COST_ANCHOR, COST_DEVICES, COST_SPREAD, COST_GROW, COST_UNEVEN,
	COST_L3, COST_DIES, COST_CACHE, COST_SLOWER, COST_TORN, COST_SHARED, COST_IDLE, COST_BROKEN, COST_MOVED,
	COST_LOAD, COST_HOLE_L3, COST_HOLE_NODE, COST_IDS
};

struct search_cost {
	uint64_t v[COST_IDS];
};

struct search_result {
	struct idset nodes;    /* kernel numbers of the nodes used */
	struct idset cpus;     /* dedicated: the CPUs of the vCPUs; floating: all free ones of those nodes */
	struct idset idle;     /* siblings that must stay idle (threads isolate) */
	int node_of_part[SEARCH_PARTS_MAX]; /* kernel number; -1: on all of `nodes`, or the node is unknown */
	struct search_cost cost;
};

/*
 * cpu[] (dedicated only; room for all parts' vCPUs): the CPU of each vCPU, parts in order, guest cores on host cores
 * where they fit. By `threads`: any CPU that is free (prefer); one per core, none of whose CPUs is busy (isolate);
 * none alone on its core (require). Nodes are used that have a CPU to give, or, for a request without any vCPU, that
 * hold guests. 0; -ENOSPC: no place; -ENOMEM.
 */
int place_search(const struct search *s, int *cpu, struct search_result *ret);

/*
 * The cost of a place that somebody else has chosen: cpu[] (each of them online), ret->nodes and ret->node_of_part
 * given; fills ret->cost. 0 or -ENOMEM.
 */
int place_search_cost(const struct search *s, const int *cpu, struct search_result *ret);
int search_cost_compare(const struct search_cost *a, const struct search_cost *b);
const char *search_cost_name(enum search_cost_id id); /* as in the list above */

/* vCPUs that fit on these CPUs by the threads rule, on one node. With `floating` their number. */
unsigned int place_search_capacity(const struct search *s, const struct idset *cpus);

/*
 * Why this and not another: what decided, in one clause each ("one node is enough, where its devices are"; "one L3
 * group, whole cores", empty for vCPUs that float).
 */
void place_search_why_nodes(const struct search *s, const struct search_result *r, char *buf, size_t size);
void place_search_why_cpus(const struct search *s, const struct search_result *r, char *buf, size_t size);

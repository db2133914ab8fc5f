/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What place_cost.c and place_search*.c share: the host as a tree, the cost as a sum over it, the search's state. */
#pragma once

#include "place_search.h"

/* All CPUs of one core, as far as they are in the same node, die and L3 group and of the same kind. */
struct search_core {
	unsigned int first, total; /* in search_tree.cpus */
	unsigned int kind;
	unsigned int free;         /* of search.free */
	unsigned int current;      /* of those: in search.current */
	bool busy;                 /* one of them is somebody else's */
};

/* An L3 group, a die, a node: `n` successive members of the next lower level. */
struct search_group {
	unsigned int first, n;
	unsigned int free;
	bool known;       /* the host says which group it is */
	bool small_cache; /* L3 groups: smaller than the largest one */
};

struct search_node {
	struct search_group dies;
	unsigned int index; /* in h->nodes; h->n_nodes: CPUs of unknown node */
	unsigned int current;
	bool usable;        /* it has a CPU that may be given, of whatever kind */
	uint64_t room, ready;
};

struct search_tree {
	const struct search *s;
	const struct host *h;
	unsigned int *cpus;    /* positions in h->cpus, core by core */
	unsigned int *core_of; /* by position in h->cpus */
	struct search_core *cores;
	struct search_group *l3s, *dies;
	struct search_node *nodes; /* ascending, those with online CPUs */
	unsigned int n_cores, n_l3s, n_dies, n_nodes;
	unsigned int need;     /* vCPUs of all parts */
	uint64_t units;        /* of all parts */
	unsigned int width;    /* vCPUs that a whole core of this host holds */
	unsigned int most_free;
	uint64_t most_room;
	unsigned int *devices, *anchor; /* indices in h->nodes */
	unsigned int n_devices, n_anchor;
	unsigned int *pairs; /* n_nodes squared: distance of each pair of nodes, both ways */
};

/*
 * The terms that are sums over parts of the tree, packed so that adding and comparing them is adding and comparing
 * three words. No field can overflow into the next: each is at most a count of CPUs (IDSET_MAX, 2^13) times 7, or
 * 2,000 thousandths per node.
 */
struct search_local {
	uint64_t w[3];
};
#define SEARCH_NEVER (UINT64_C(1) << 62) /* in w[0]: cannot be */

static inline bool search_local_never(const struct search_local *l)
{
	return l->w[0] >= SEARCH_NEVER;
}

static inline void search_local_add(struct search_local *to, const struct search_local *l)
{
	for (unsigned int i = 0; i < 3; i++)
		to->w[i] += l->w[i];
}

/* place_search_tree.c. 0 or -ENOMEM. */
int search_tree_init(struct search_tree *t, const struct search *s);
void search_tree_fini(struct search_tree *t);

/* The rule of threads: may n vCPUs be on this core. */
bool search_core_allows(const struct search_tree *t, const struct search_core *c, unsigned int n);
/* Terms of n vCPUs on a core, `moved` of them on CPUs that are not current; on an L3 group, a die, a node. */
struct search_local search_core_cost(const struct search_tree *t, const struct search_group *l3,
				     const struct search_core *c, unsigned int n, unsigned int moved);
struct search_local search_l3_cost(const struct search_group *l3, unsigned int n);
struct search_local search_die_cost(const struct search_group *die, unsigned int n);
struct search_local search_node_cost(const struct search_tree *t, const struct search_node *node, unsigned int n);
/* An even share of the vCPUs on each of m nodes, in whole cores; what n vCPUs on a node are beyond it. */
unsigned int search_even_share(const struct search_tree *t, unsigned int m);
struct search_local search_uneven_cost(unsigned int n, unsigned int share);
/* What so much memory on a node adds. */
void search_memory_cost(const struct search_tree *t, const struct search_node *node, uint64_t units,
			struct search_cost *add);
/* What depends on the set of nodes (ascending, in t->nodes) alone. */
void search_set_cost(const struct search_tree *t, const unsigned int *set, unsigned int m, struct search_cost *ret);
unsigned int search_distance(const struct search_tree *t, unsigned int from, unsigned int to); /* in h->nodes */
void search_kinds_cost(const struct search_tree *t, uint64_t kinds, struct search_cost *add);
void search_unpack(const struct search_local *l, struct search_cost *add);

/* place_search_cost() where there is a tree already. */
int search_result_cost(const struct search_tree *t, const int *cpu, struct search_result *ret);

/* The j-th of m even shares of the memory. */
static inline uint64_t search_share(const struct search_tree *t, unsigned int m, unsigned int j)
{
	return t->units / m + (j < t->units % m);
}

static inline uint64_t search_kind_bit(const struct search_core *c)
{
	return UINT64_C(1) << (c->kind < 63 ? c->kind : 63);
}

/* --- folding: place_search_fold.c --- */

/* best[k] for k up to size: the least cost of k vCPUs on the items so far; choice: how many of them the item has. */
struct search_fold {
	struct search_local *best;
	uint16_t *choice;
	unsigned int n_items, limit, size;
};

int search_fold_init(struct search_fold *f, unsigned int max_items, unsigned int limit); /* 0 or -ENOMEM */
void search_fold_fini(struct search_fold *f);
uint64_t search_fold_add(struct search_fold *f, const struct search_local *item, unsigned int n, unsigned int low);
unsigned int search_fold_take(const struct search_fold *f, unsigned int i, unsigned int *k);

/* --- the state of one search --- */

#define SMALL_CPUS 16
#define SETS_MAX   2000
#define SETS_ALL   4000
#define SEEDS_WORK 4096 /* seeds, times the square of the size of the sets */
#define LEVELS_MAX 12
#define TRIES_MAX  300
#define STEPS_MAX  80000
#define VISITS_MAX 7000
#define VISITS_SMALL_MAX 4000000
#define KINDS_MAX  6
#define SEEN_MAX   64

/* A place on nodes: how many vCPUs are where. */
struct place_found {
	struct search_cost cost;
	uint64_t kinds;
	unsigned int m;
	unsigned int *set, *vcpus;                    /* m of t.nodes, and theirs */
	unsigned int node_of_part[SEARCH_PARTS_MAX];  /* position in set; with several parts only */
	bool any;
};

/* Parts of equal size. */
struct part_sort {
	unsigned int vcpus, count;
	uint64_t units;
	unsigned int parts[SEARCH_PARTS_MAX];
};

struct finder {
	const struct search *s;
	struct search_tree t;
	bool small;            /* everything is looked at */
	bool has_current;
	uint64_t kinds;        /* that may be used now */
	uint64_t solved;       /* those that the folds are of */
	struct search_fold *cores, *l3s, *dies; /* by L3 group, die, node: what is folded there */
	unsigned int *cap;     /* by node: vCPUs that can be there, need at most */
	unsigned int *twin;    /* by node: the first one that is the same in every respect */
	struct search_local *scratch;
	unsigned int *cand, n_cand; /* nodes that may be in sets of the present size */
	unsigned int *set, m;
	unsigned int share;    /* search_even_share() of m */
	bool *marked;          /* scratch, by node */
	struct place_found best, try;
	uint64_t steps, visits, sets, tries, levels; /* that are left */
	unsigned int *near;         /* by node: all nodes, the nearest first; NULL: not yet needed */

	/* The present size: the least cost up to COST_SPREAD that is above `floor`, and what was tried of it. */
	struct search_cost floor, least;
	bool has_floor, has_least;
	bool hit;                /* there is a place of this size */
	uint64_t seen[SEEN_MAX];
	unsigned int n_seen;

	struct part_sort *sorts;
	unsigned int n_sorts;
	unsigned int *x;         /* n_sorts times m: how many of a sort are on a node */
	unsigned int *node_vcpus, *node_parts;
	uint64_t *node_units;
};

/* place_search_set.c: the least cost over all sets of nodes, into f->best. 0 or -ENOMEM. */
int search_sets(struct finder *f);
/* place_search_cpu.c: the CPUs of f->best, into cpu[] and ret. 0 or -ENOMEM. */
int search_read_off(struct finder *f, int *cpu, struct search_result *ret);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The omniscient packer: it knows every guest, start and stop beforehand and gives each guest a group (a node; or an L3 group)
 * once and for all, so that as many guests as possible lie within one. Those it leaves out are spread over what the
 * others leave, which always suffices (fleet.h).
 *
 * To pack best is NP-hard: this is the best of four orders (small first, little CPU time first, large first, as they
 * come), each bettered for so many rounds by putting those that found no place further to the front ("squeaky wheel"
 * optimization, Joslin and Clements, 1999). Each guest goes where it leaves least room over its whole life. What makes
 * it easier than it is counts for the packer: CPUs are numbers, so that whole cores can always be found; CPUs and
 * memory of guests that are spread are nobody's loss; nodes and L3 groups are two packings, each the best of its own.
 */
#include "tests/bench/fleet.h"

#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

struct packer {
	const struct fleet *f;
	unsigned int n_groups, n_nodes;
	unsigned int *capacity;      /* CPUs of each group */
	unsigned int *node_of;       /* of each group */
	uint64_t *room[2];           /* of each node */
	bool by_l3;
	/* Taken, [group or node][event]. */
	unsigned int *cpus;
	uint64_t *memory[2];
};

static bool wanted(const struct packer *p, const struct guest *g)
{
	return g->need || !p->by_l3;
}

/* A shared guest takes none, but its node must have so many when it starts; the only node there is always has. */
static unsigned int cpus_of(const struct packer *p, const struct guest *g)
{
	return g->need ? g->need_least : p->n_nodes > 1 ? g->vcpus : 0;
}

/* CPUs left over the guest's life, at the least, once it is in this group; -1: it does not fit. */
static int64_t left_over(const struct packer *p, const struct guest *g, unsigned int group)
{
	const unsigned int *cpus = &p->cpus[(size_t)group * p->f->n_events];
	unsigned int node = p->node_of[group], need = cpus_of(p, g), most = cpus[g->start];
	const uint64_t *memory = &p->memory[g->huge][(size_t)node * p->f->n_events];
	uint64_t room = p->room[g->huge][node];

	if (g->memory > room || cpus[g->start] + need > p->capacity[group])
		return -1;
	for (unsigned int t = g->start; t < g->stop; t++) {
		most = g->need && cpus[t] > most ? cpus[t] : most;
		if (most + need > p->capacity[group] || memory[t] + g->memory > room)
			return -1;
	}
	return (int64_t)p->capacity[group] - most - need;
}

static void put(struct packer *p, const struct guest *g, unsigned int group)
{
	unsigned int *cpus = &p->cpus[(size_t)group * p->f->n_events];
	uint64_t *memory = &p->memory[g->huge][(size_t)p->node_of[group] * p->f->n_events];

	for (unsigned int t = g->start; t < g->stop; t++) {
		cpus[t] += g->need ? g->need_least : 0;
		memory[t] += g->memory;
	}
}

/* In this order, dedicated guests first (they take the CPUs); returns how many found a place. */
static unsigned int pack(struct packer *p, const unsigned int *order, bool *placed)
{
	unsigned int n = 0, events = p->f->n_events;

	memset(p->cpus, 0, sizeof(*p->cpus) * p->n_groups * events);
	for (int huge = 0; huge < 2; huge++)
		memset(p->memory[huge], 0, sizeof(uint64_t) * p->n_nodes * events);
	memset(placed, 0, p->f->n_guests * sizeof(*placed));
	for (int shared = 0; shared < 2; shared++)
		for (unsigned int i = 0; i < p->f->n_guests; i++) {
			const struct guest *g = &p->f->guests[order[i]];
			int64_t best = INT64_MAX;
			unsigned int at = 0;

			if (shared == (g->need > 0) || !wanted(p, g))
				continue;
			for (unsigned int k = 0; k < p->n_groups; k++) {
				int64_t left = left_over(p, g, k);

				if (left >= 0 && left < best) {
					best = left;
					at = k;
				}
			}
			if (best == INT64_MAX)
				continue;
			put(p, g, at);
			placed[order[i]] = true;
			n++;
		}
	return n;
}

struct rank {
	double key;
	unsigned int guest;
};

static int compare_rank(const void *a, const void *b)
{
	const struct rank *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->guest < y->guest ? -1 : x->guest > y->guest;
}

static double first_key(const struct guest *g, unsigned int order)
{
	double size = g->need ? g->need : g->vcpus, life = g->stop - g->start;

	switch (order) {
	case 0: return size;
	case 1: return size * life;
	case 2: return -size;
	default: return g->start;
	}
}

static void pack_best(struct packer *p, unsigned int rounds, bool *best)
{
	unsigned int n = p->f->n_guests, most = 0, possible = 0;
	struct rank *rank = bench_alloc(n, sizeof(*rank));
	unsigned int *order = bench_alloc(n, sizeof(*order));
	bool *placed = bench_alloc(n, sizeof(*placed));

	for (unsigned int i = 0; i < n; i++)
		possible += wanted(p, &p->f->guests[i]);
	for (unsigned int o = 0; o < 4 && most < possible; o++) {
		for (unsigned int i = 0; i < n; i++)
			rank[i] = (struct rank){ .key = first_key(&p->f->guests[i], o), .guest = i };
		for (unsigned int round = 0; round < rounds && most < possible; round++) {
			unsigned int found;

			qsort(rank, n, sizeof(*rank), compare_rank);
			for (unsigned int i = 0; i < n; i++) {
				order[i] = rank[i].guest;
				rank[i].key = i;
			}
			found = pack(p, order, placed);
			if (found > most) {
				most = found;
				memcpy(best, placed, n * sizeof(*best));
			}
			for (unsigned int i = 0; i < n; i++)
				if (wanted(p, &p->f->guests[order[i]]) && !placed[order[i]])
					rank[i].key -= n / 10.0 + round % 7;
		}
	}
	free(rank);
	free(order);
	free(placed);
}

/* The group of a CPU: its node, or what its L3 has on its node. A new pair gets the next number. */
static unsigned int group_of(const struct host *h, const struct host_cpu *c, bool by_l3, unsigned int *groups)
{
	for (const struct host_cpu *k = h->cpus; k < c; k++)
		if (k->node == c->node && (!by_l3 || k->l3 == c->l3))
			return groups[k - h->cpus];
	groups[h->n_cpus]++;
	return groups[h->n_cpus] - 1;
}

static void packer_init(struct packer *p, const struct host *h, const struct fleet *f, bool by_l3)
{
	unsigned int *groups = bench_alloc(h->n_cpus + 1u, sizeof(*groups)); /* of each CPU; the last: how many */
	struct idset reserved = fleet_reserved(h);

	for (unsigned int i = 0; i < h->n_cpus; i++)
		groups[i] = group_of(h, &h->cpus[i], by_l3, groups);
	*p = (struct packer){ .f = f, .n_groups = groups[h->n_cpus], .n_nodes = h->n_nodes, .by_l3 = by_l3 };
	p->capacity = bench_alloc(p->n_groups, sizeof(*p->capacity));
	p->node_of = bench_alloc(p->n_groups, sizeof(*p->node_of));
	p->cpus = bench_alloc((size_t)p->n_groups * f->n_events, sizeof(*p->cpus));
	for (int huge = 0; huge < 2; huge++) {
		p->room[huge] = bench_alloc(h->n_nodes, sizeof(uint64_t));
		p->memory[huge] = bench_alloc((size_t)h->n_nodes * f->n_events, sizeof(uint64_t));
		for (unsigned int i = 0; i < h->n_nodes; i++)
			p->room[huge][i] = fleet_node_memory(&h->nodes[i], huge);
	}
	for (unsigned int i = 0; i < h->n_cpus; i++) {
		const struct host_cpu *c = &h->cpus[i];

		for (unsigned int k = 0; k < h->n_nodes; k++)
			if (h->nodes[k].id == c->node)
				p->node_of[groups[i]] = k;
		if (!idset_has(&reserved, (unsigned int)c->id) && (!by_l3 || c->l3 >= 0))
			p->capacity[groups[i]]++;
	}
	free(groups);
}

static void packer_fini(struct packer *p)
{
	free(p->capacity);
	free(p->node_of);
	free(p->cpus);
	for (int huge = 0; huge < 2; huge++) {
		free(p->room[huge]);
		free(p->memory[huge]);
	}
}

void play_omniscient(const struct host *h, const struct fleet *f, unsigned int rounds, struct outcome *ret)
{
	for (int by_l3 = 0; by_l3 < 2; by_l3++) {
		struct packer p;

		packer_init(&p, h, f, by_l3);
		pack_best(&p, rounds, by_l3 ? ret->one_l3 : ret->one_node);
		packer_fini(&p);
	}
}

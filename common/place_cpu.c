/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPUs within a set: which ones a domain's vCPUs get, by the request's rule for SMT siblings.
 *
 *   prefer   whole cores first, then the core whose free siblings are just enough
 *   isolate  one vCPU per core; all online siblings of that core must be nobody's, they stay idle
 *   require  every vCPU has a sibling of its own domain beside it
 *
 * If one L3 group (cluster of cores with a common last-level cache) holds all of them, the tightest such group is
 * taken; else the groups with most room come first, so that few of them are cut. Ties go to the lowest CPU number:
 * the result depends on the sets alone.
 */
#include "place_priv.h"

/* vCPUs that may come to this core. */
static unsigned int core_room(const struct place_ctx *c, const struct place_core *k)
{
	switch (c->q->threads) {
	case PLACE_THREADS_ISOLATE:
		return k->count > 0 && k->blocked == 0 ? 1 : 0;
	case PLACE_THREADS_REQUIRE:
		return k->count >= 2 ? k->count : 0;
	case PLACE_THREADS_PREFER:
	default:
		return k->count;
	}
}

static bool core_is_whole(const struct place_core *k)
{
	return k->count == k->total;
}

/* The cores that `from` has CPUs of, into c->order. */
static unsigned int gather(struct place_ctx *c, const struct idset *from)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < c->h->n_cores; i++)
		c->cores[i].count = c->cores[i].take = 0;
	IDSET_FOREACH (id, from) {
		const struct host_cpu *cpu = host_cpu(c->h, id);
		struct place_core *k;

		if (!cpu)
			continue;
		k = &c->cores[cpu->core];
		if (k->count++ == 0)
			c->order[n++] = k;
	}
	return n;
}

unsigned int place_capacity(struct place_ctx *c, const struct idset *from, unsigned int *ret_whole)
{
	unsigned int n = gather(c, from), room = 0, whole = 0;

	for (unsigned int i = 0; i < n; i++) {
		unsigned int r = core_room(c, c->order[i]);

		room += r;
		if (core_is_whole(c->order[i]))
			whole += r;
	}
	if (ret_whole)
		*ret_whole = whole;
	return room;
}

static int by_l3(const void *pa, const void *pb)
{
	const struct place_core *a = *(const struct place_core *const *)pa;
	const struct place_core *b = *(const struct place_core *const *)pb;

	if (a->l3 != b->l3)
		return a->l3 < b->l3 ? -1 : 1;
	return a->first < b->first ? -1 : a->first > b->first;
}

static int by_preference(const void *pa, const void *pb)
{
	const struct place_core *a = *(const struct place_core *const *)pa;
	const struct place_core *b = *(const struct place_core *const *)pb;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (core_is_whole(a) != core_is_whole(b))
		return core_is_whole(a) ? -1 : 1;
	if (a->group_room != b->group_room)
		return a->group_room > b->group_room ? -1 : 1;
	return by_l3(pa, pb);
}

static int by_number(const void *pa, const void *pb)
{
	const struct place_core *a = *(const struct place_core *const *)pa;
	const struct place_core *b = *(const struct place_core *const *)pb;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return a->first < b->first ? -1 : a->first > b->first;
}

/* The untaken core with just enough room for `need`, else the one with most. */
static struct place_core *best_fit(struct place_core **cores, unsigned int n, unsigned int need)
{
	struct place_core *best = NULL;

	for (unsigned int i = 0; i < n; i++) {
		struct place_core *k = cores[i];
		bool enough = k->count >= need;

		if (k->take > 0)
			continue;
		if (!best || (enough && best->count < need) || (enough && k->count < best->count) ||
		    (!enough && best->count < need && k->count > best->count))
			best = k;
	}
	return best;
}

static bool take_prefer(struct place_core **cores, unsigned int n, unsigned int need)
{
	for (unsigned int i = 0; i < n && need > 0; i++)
		if (core_is_whole(cores[i]) && cores[i]->total <= need) {
			cores[i]->take = cores[i]->total;
			need -= cores[i]->total;
		}
	while (need > 0) {
		struct place_core *k = best_fit(cores, n, need);

		if (!k)
			return false;
		k->take = k->count < need ? k->count : need;
		need -= k->take;
	}
	return true;
}

static bool take_isolate(struct place_core **cores, unsigned int n, unsigned int need)
{
	for (unsigned int i = 0; i < n && need > 0; i++)
		if (cores[i]->count > 0 && cores[i]->blocked == 0) {
			cores[i]->take = 1;
			need--;
		}
	return need == 0;
}

/* No core may be left with a single vCPU of ours: neither this one nor the last one. */
static bool take_require(struct place_core **cores, unsigned int n, unsigned int need)
{
	for (unsigned int i = 0; i < n && need > 0; i++) {
		unsigned int take = cores[i]->count < need ? cores[i]->count : need;

		if (need - take == 1)
			take--;
		if (take < 2)
			continue;
		cores[i]->take = take;
		need -= take;
	}
	return need == 0;
}

static bool take(struct place_ctx *c, struct place_core **cores, unsigned int n, unsigned int need)
{
	static bool (*const rules[])(struct place_core **, unsigned int, unsigned int) = {
		[PLACE_THREADS_PREFER] = take_prefer,
		[PLACE_THREADS_ISOLATE] = take_isolate,
		[PLACE_THREADS_REQUIRE] = take_require,
	};

	for (unsigned int i = 0; i < n; i++)
		cores[i]->take = 0;
	qsort(cores, n, sizeof(cores[0]), by_preference);
	return rules[c->q->threads](cores, n, need);
}

/*
 * Try the tightest L3 group that holds all of them. What matters before tightness is how many vCPUs come to whole
 * cores there. Leaves each core's group_room set. Returns whether they were taken.
 */
static bool take_in_l3(struct place_ctx *c, unsigned int n, unsigned int need)
{
	unsigned int best = 0, best_n = 0, best_whole = 0, best_room = 0, width = 1;

	qsort(c->order, n, sizeof(c->order[0]), by_l3);
	for (unsigned int i = 0; i < n; i++)
		if (c->order[i]->total > width)
			width = c->order[i]->total;
	for (unsigned int i = 0, end; i < n; i = end) {
		unsigned int room = 0, whole = 0;

		for (end = i; end < n && c->order[end]->l3 == c->order[i]->l3; end++) {
			room += core_room(c, c->order[end]);
			if (core_is_whole(c->order[end]))
				whole += core_room(c, c->order[end]);
		}
		for (unsigned int j = i; j < end; j++)
			c->order[j]->group_room = room;
		if (whole > need / width * width)
			whole = need / width * width;
		if (c->order[i]->l3 < 0 || room < need)
			continue;
		if (best_n == 0 || whole > best_whole || (whole == best_whole && room < best_room)) {
			best = i;
			best_n = end - i;
			best_whole = whole;
			best_room = room;
		}
	}
	return best_n > 0 && take(c, c->order + best, best_n, need);
}

int place_pick(struct place_ctx *c, const struct idset *from, unsigned int need, int *out, struct idset *ret_idle)
{
	unsigned int n = gather(c, from), got = 0;

	*ret_idle = IDSET_EMPTY;
	if (need == 0)
		return 0;
	if (!take_in_l3(c, n, need)) {
		for (unsigned int i = 0; i < n; i++)
			c->order[i]->take = 0;
		if (!take(c, c->order, n, need))
			return -ENOSPC;
	}
	qsort(c->order, n, sizeof(c->order[0]), by_number);
	for (unsigned int i = 0; i < n; i++) {
		unsigned int left = c->order[i]->take;
		struct idset siblings;

		if (left == 0)
			continue;
		siblings = host_siblings(c->h, (int)c->order[i]->first);
		IDSET_FOREACH (id, &siblings) {
			if (left > 0 && idset_has(from, (unsigned int)id)) {
				out[got++] = id;
				left--;
			} else if (c->q->threads == PLACE_THREADS_ISOLATE) {
				idset_add(ret_idle, (unsigned int)id);
			}
		}
	}
	return got == need ? 0 : -ENOSPC;
}

int place_pick_extra(struct place_ctx *c, const struct idset *from)
{
	unsigned int n = gather(c, from);
	struct place_core *best = NULL;

	/* Of the slowest kind: what QEMU's own threads do gains least from a fast core. */
	for (unsigned int i = 0; i < n; i++) {
		struct place_core *k = c->order[i];

		if (!best || k->count < best->count || (k->count == best->count && k->kind > best->kind))
			best = k;
	}
	if (!best)
		return -1;
	IDSET_FOREACH (id, from) {
		const struct host_cpu *cpu = host_cpu(c->h, id);

		if (cpu && &c->cores[cpu->core] == best)
			return id;
	}
	return -1;
}

void place_cores_init(struct place_ctx *c)
{
	for (unsigned int i = 0; i < c->h->n_cpus; i++) {
		const struct host_cpu *cpu = &c->h->cpus[i];
		struct place_core *k = &c->cores[cpu->core];

		if (k->total++ == 0) {
			k->first = (unsigned int)cpu->id;
			k->l3 = cpu->l3;
			k->kind = cpu->kind;
		}
		if (idset_has(&c->blocked, (unsigned int)cpu->id))
			k->blocked++;
	}
}

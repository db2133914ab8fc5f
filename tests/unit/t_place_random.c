/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What holds for every placement, over random hosts, requests and orders of start and stop, and over the real
 * topologies below $DOMTUNE_TOPOLOGIES (directories with a sys/). The seed is fixed: a failure is repeatable.
 */
#include "tap.h"

#include "common/hostfs.h"
#include "common/place_share.h"

#include "placehost.h"

#define LIVING_MAX 12

static uint64_t seed = 0x9e3779b97f4a7c15;

static unsigned int rnd(unsigned int below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned int)(seed >> 20) % below;
}

static bool chance(unsigned int percent)
{
	return rnd(100) < percent;
}

static struct idset random_subset(const struct idset *of, unsigned int percent)
{
	struct idset s = IDSET_EMPTY;

	IDSET_FOREACH (id, of)
		if (chance(percent))
			idset_add(&s, (unsigned int)id);
	return s;
}

/* Take a CPU away, as the kernel does when it goes offline; cores are numbered anew. */
static void drop_cpu(struct host *h, unsigned int at)
{
	int id = h->cpus[at].id, map[1024], next = 0;

	memmove(&h->cpus[at], &h->cpus[at + 1], (h->n_cpus - at - 1) * sizeof(*h->cpus));
	h->n_cpus--;
	idset_del(&h->online, (unsigned int)id);
	for (unsigned int i = 0; i < h->n_nodes; i++)
		idset_del(&h->nodes[i].cpus, (unsigned int)id);
	memset(map, -1, sizeof(map));
	for (unsigned int i = 0; i < h->n_cpus; i++) {
		if (map[h->cpus[i].core] < 0)
			map[h->cpus[i].core] = next++;
		h->cpus[i].core = map[h->cpus[i].core];
	}
	h->n_cores = (unsigned int)next;
}

static void forget_node(struct host *h, unsigned int at)
{
	for (unsigned int i = 0; i < h->n_nodes; i++)
		idset_del(&h->nodes[i].cpus, (unsigned int)h->cpus[at].id);
	h->cpus[at].node = -1;
}

static void random_host(struct host *h)
{
	struct host_spec s = {
		.nodes = 1 + rnd(4),
		.cores = 1 + rnd(6),
		.threads = 1u << rnd(3),
		.l3 = rnd(3),
		.gib = 1 + rnd(8),
		.memory_unknown = chance(10),
		.no_pools = chance(10),
		.pools_unknown = chance(5),
	};

	if (chance(20) && s.cores > 1)
		s.slow = 1 + rnd(s.cores - 1);
	for (unsigned int i = 0; i < 4; i++) {
		s.pages_2m[i] = chance(70) ? rnd(600) : 0;
		s.used_2m[i] = s.pages_2m[i] ? rnd(s.pages_2m[i]) / 4 : 0;
		s.pages_1g[i] = chance(30) ? rnd(3) : 0;
		s.free_gib[i] = chance(30) ? 1 + rnd(s.gib) : 0;
	}
	host_make(h, &s);
	for (unsigned int i = rnd(4); i > 0 && h->n_cpus > 1; i--)
		drop_cpu(h, rnd(h->n_cpus));
	if (chance(20)) {
		int core = h->cpus[rnd(h->n_cpus)].core;

		for (unsigned int i = 0; i < h->n_cpus; i++)
			if (h->cpus[i].core == core)
				forget_node(h, i);
	}
	if (chance(20) && h->n_nodes > 1) {
		struct host_node *n = &h->nodes[rnd(h->n_nodes)];

		n->mem_total = n->mem_free = 0;
		n->holds_guests = false;
		n->n_pools = 0;
	}
	if (chance(15))
		h->exclusive = random_subset(&h->online, 15);
	if (chance(30)) { /* sparse node numbers */
		for (unsigned int i = 0; i < h->n_nodes; i++)
			h->nodes[i].id *= 3;
		for (unsigned int i = 0; i < h->n_cpus; i++)
			h->cpus[i].node = h->cpus[i].node < 0 ? -1 : h->cpus[i].node * 3;
	}
}

struct asked {
	struct place_request q;
	struct domain_pin pins[2];
	unsigned int iothreads[2];
	struct place_cell cells[4];
	struct place_device devices[2];
	struct place_cap caps[2];
};

/* vCPUs of a cell are successive, or (as nobody forbids) every so many; the last vCPU may be in no cell. */
static void random_cells(struct asked *a)
{
	struct place_request *q = &a->q;
	unsigned int n = 1 + rnd(4);
	bool striped = chance(20);

	if (q->memory == 0 || q->n_vcpus < n)
		return;
	for (unsigned int v = 0; v + chance(10) < q->n_vcpus; v++)
		idset_add(&a->cells[striped ? v % n : v * n / q->n_vcpus].vcpus, v);
	for (unsigned int i = 0; i < n; i++) {
		a->cells[i].id = i;
		a->cells[i].memory = (q->memory / MIB / n + (i == 0 ? q->memory / MIB % n : 0)) * MIB;
	}
	q->cells = a->cells;
	q->n_cells = n;
}

static void random_surroundings(const struct host *h, struct asked *a)
{
	struct place_request *q = &a->q;

	q->devices = a->devices;
	q->caps = a->caps;
	for (unsigned int i = 0; i < 2 && chance(20); i++)
		a->devices[q->n_devices++] =
			(struct place_device){ .name = "dev", .node = chance(90) ? h->nodes[rnd(h->n_nodes)].id : -1 };
	for (unsigned int i = 0; i < 2 && chance(20); i++)
		a->caps[q->n_caps++] = (struct place_cap){ .node = h->nodes[rnd(h->n_nodes)].id, .size = PAGE_2M,
							   .pages = rnd(600) };
	q->no_growth = chance(30);
	q->latency = chance(30);
	q->guest_threads = rnd(4);
}

static void random_request(const struct host *h, const struct idset *reserved, uint64_t max, struct asked *a)
{
	static const enum place_policy policies[] = { PLACE_NONE, PLACE_SHARED, PLACE_DEDICATED, PLACE_DEDICATED,
						      PLACE_ISOLATED };
	struct place_request *q = &a->q;

	memset(a, 0, sizeof(*a));
	q->policy = policies[rnd(ARRAY_SIZE(policies))];
	q->threads = rnd(3);
	q->emulator_where = rnd(3);
	q->iothreads_where = rnd(3);
	q->emulator_list = random_subset(&h->online, 30);
	q->iothreads_list = random_subset(&h->online, 30);
	if (idset_is_empty(&q->emulator_list))
		q->emulator_where = PLACE_WHERE_SHARE;
	if (idset_is_empty(&q->iothreads_list))
		q->iothreads_where = PLACE_WHERE_SHARE;
	if (chance(25))
		q->cpus = random_subset(&h->online, 50);
	q->n_vcpus = 1 + rnd(h->n_cpus > 12 ? 12 : h->n_cpus);
	if (chance(15)) {
		a->pins[0] = (struct domain_pin){ .id = rnd(q->n_vcpus), .cpus = random_subset(&h->online, 20) };
		a->pins[1] = (struct domain_pin){ .id = rnd(q->n_vcpus), .cpus = random_subset(&h->online, 20) };
		q->n_pins = 1 + rnd(2);
	}
	q->pins = a->pins;
	a->iothreads[0] = 1 + rnd(5);
	a->iothreads[1] = 7;
	q->iothreads = a->iothreads;
	q->n_iothreads = rnd(3);
	q->memory = chance(20) ? 0 : (1 + rnd(4)) * (chance(50) ? GIB : 128 * MIB);
	q->memory_policy = rnd(4);
	if (chance(15))
		idset_add(&q->nodes, (unsigned int)h->nodes[rnd(h->n_nodes)].id);
	q->pages = rnd(4);
	q->page_size = chance(70) ? PAGE_2M : PAGE_1G;
	if (chance(10))
		q->backing[q->n_backing++] =
			(struct place_backing){ .size = chance(50) ? PAGE_2M : 0, .bytes = q->memory };
	if (chance(30) && q->n_backing == 0)
		random_cells(a);
	random_surroundings(h, a);
	q->reserved = *reserved;
	q->max_dedicated = max;
	q->max_memory = (struct policy_limit){ .num = 95, .is_percent = true };
	q->max_hugepages = (struct policy_limit){ .num = 80, .is_percent = true };
	q->max_vcpus_per_cpu = 8;
}

static bool is_dedicated(enum place_policy p)
{
	return p == PLACE_DEDICATED || p == PLACE_ISOLATED;
}

static bool disjoint(const struct idset *a, const struct idset *b)
{
	return !idset_intersects(a, b);
}

static void check_siblings(const struct host *h, const struct place_request *q, const struct placement *p)
{
	struct idset others;

	for (unsigned int i = 0; i < p->n_vcpus; i++) {
		struct idset with = host_siblings(h, idset_first(&p->vcpus[i].cpus));
		unsigned int mates = 0;

		for (unsigned int j = 0; j < p->n_vcpus; j++)
			if (j != i)
				mates += idset_intersects(&with, &p->vcpus[j].cpus);
		others = with;
		idset_andnot(&others, &p->claimed);
		if (q->threads == PLACE_THREADS_ISOLATE)
			OK(mates == 0 && idset_is_empty(&others));
		if (q->threads == PLACE_THREADS_REQUIRE)
			OK(mates > 0);
	}
}

/* Without pins, what a dedicated placement is. */
static void check_dedicated(const struct host *h, const struct place_request *q, const struct placement *p,
			    const struct idset *held)
{
	struct idset seen = IDSET_EMPTY, all = *held, allowed = h->online;

	idset_and(&allowed, &q->cpus);
	for (unsigned int i = 0; i < p->n_vcpus; i++) {
		const struct idset *c = &p->vcpus[i].cpus;

		IS_INT(idset_count(c), 1);
		OK(disjoint(c, &seen) && disjoint(c, held) && disjoint(c, &q->reserved) &&
		   idset_is_subset(c, &p->claimed));
		if (!idset_is_empty(&allowed))
			OK(idset_is_subset(c, &allowed));
		idset_or(&seen, c);
	}
	idset_or(&all, &p->claimed);
	OK(idset_count(&all) <= q->max_dedicated);
	OK(disjoint(&p->claimed, held) && disjoint(&p->claimed, &q->reserved) && disjoint(&p->claimed, &h->exclusive) &&
	   idset_is_subset(&p->claimed, &h->online));
	check_siblings(h, q, p);
}

static bool has_core(const struct host *h, const struct idset *without)
{
	IDSET_FOREACH (id, &h->online) {
		struct idset core = host_siblings(h, id);

		if (disjoint(&core, without))
			return true;
	}
	return false;
}

/* A claim made by choice leaves a whole core to the host, if there was one and it is not the only one. */
static void check_core_stays(const struct host *h, const struct placement *p, const struct idset *held)
{
	struct idset before = *held, after;

	idset_or(&before, &h->exclusive);
	after = before;
	idset_or(&after, &p->claimed);
	if (h->n_cores > 1 && has_core(h, &before))
		OK(has_core(h, &after));
}

/* CPUs of the core that stays although none is reserved as a whole. */
static unsigned int may_be_kept(const struct host *h, const struct idset *reserved)
{
	IDSET_FOREACH (id, reserved) {
		struct idset core = host_siblings(h, id);

		if (idset_is_subset(&core, reserved) && disjoint(&core, &h->exclusive))
			return 0;
	}
	return h->n_cores > 1 ? 4 : 0;
}

/* CPUs of unknown node are not combined with others. */
static struct idset of_known_node(const struct host *h)
{
	struct idset ret = h->online;

	for (unsigned int i = 0; i < h->n_cpus; i++)
		if (h->cpus[i].node < 0)
			idset_del(&ret, (unsigned int)h->cpus[i].id);
	return ret;
}

/* Where it would have been possible by counting alone, it was done. */
static void check_not_missed(const struct host *h, const struct place_request *q, const struct placement *p,
			     const struct idset *held)
{
	struct idset free = place_shared(h, &q->reserved, held), all = *held, cut = q->cpus, known = of_known_node(h);
	bool one = false;

	idset_and(&free, &known);
	idset_and(&cut, &h->online);
	if (!idset_is_empty(&cut))
		idset_and(&free, &cut);
	if (q->threads != PLACE_THREADS_PREFER || idset_count(&free) < q->n_vcpus + may_be_kept(h, &q->reserved) ||
	    idset_count(&all) + q->n_vcpus > q->max_dedicated)
		return;
	OK(is_dedicated(p->policy));
	for (unsigned int i = 0; i < h->n_nodes; i++) {
		struct idset id = IDSET_EMPTY, on;

		idset_add(&id, (unsigned int)h->nodes[i].id);
		on = host_node_cpus(h, &id);
		idset_and(&on, &free);
		idset_andnot(&on, &q->emulator_list);
		idset_andnot(&on, &q->iothreads_list);
		one |= idset_count(&on) >= q->n_vcpus;
	}
	if (one && q->memory == 0 && q->n_backing == 0 && may_be_kept(h, &q->reserved) == 0)
		OK(idset_count(&p->nodes) <= 1);
}

static void check_floating(const struct host *h, const struct place_request *q, const struct placement *p,
			   const struct idset *held)
{
	struct idset shared = place_shared(h, &q->reserved, held), inside = q->cpus;

	idset_and(&inside, &shared);
	for (unsigned int i = 0; i < p->n_vcpus; i++) {
		const struct idset *c = &p->vcpus[i].cpus;

		OK(!idset_is_empty(c) && disjoint(c, held));
		OK(q->n_cells > 1 || idset_equal(c, &p->vcpus[0].cpus));
		OK(disjoint(c, &q->reserved) || idset_is_empty(&shared));
		if (!idset_is_empty(&q->cpus))
			OK(idset_is_subset(c, &inside) || p->unmet.n > 0 ||
			   (idset_is_empty(&shared) && p->notes.n > 0));
	}
	OK(disjoint(&p->claimed, held) && disjoint(&p->claimed, &q->reserved));
}

static void check_threads(const struct host *h, const struct place_request *q, const struct placement *p,
			  const struct idset *held)
{
	OK(!idset_is_empty(&p->emulator) && idset_is_subset(&p->emulator, &h->online) && disjoint(&p->emulator, held));
	for (unsigned int i = 0; i < p->n_iothreads; i++) {
		OK(!idset_is_empty(&p->iothreads[i].cpus) && disjoint(&p->iothreads[i].cpus, held));
		OK(i == 0 || p->iothreads[i - 1].id <= p->iothreads[i].id);
	}
	if (q->emulator_where == PLACE_WHERE_ISOLATE && !is_dedicated(p->policy) &&
	    !idset_intersects(&p->emulator, &p->claimed))
		OK(p->unmet.n > 0);
}

static void check_growth(const struct host *h, const struct ledger *l, const struct place_request *q,
			 const struct claim_pages *g)
{
	const struct host_node *n = host_node(h, g->node);
	uint64_t free = n ? place_free_pages(n, g->size, l, "") : 0;

	OK(n && g->grow <= g->count);
	if (!n || g->size == 0 || q->no_growth || free == HOST_UNKNOWN) {
		IS_INT(g->grow, 0);
		return;
	}
	OK(g->count <= free + g->grow && g->grow * g->size <= n->mem_free);
	for (unsigned int i = 0; i < q->n_caps; i++)
		if (q->caps[i].node == g->node && q->caps[i].size == g->size)
			OK(g->count <= q->caps[i].pages);
}

static void check_cells(const struct host *h, const struct place_request *q, const struct placement *p)
{
	OK(p->n_cells == 0 || p->n_cells == q->n_cells);
	for (unsigned int i = 0; i < p->n_cells; i++) {
		OK(p->cells[i].id == i && p->cells[i].page_size == p->page_size && !idset_is_empty(&p->cells[i].nodes));
		IDSET_FOREACH (id, &p->cells[i].nodes)
			OK(host_node(h, id) && host_node(h, id)->mem_total != 0);
	}
}

static void check_pages(const struct host *h, const struct ledger *l, const struct place_request *q,
			const struct placement *p)
{
	uint64_t huge = 0, ordinary = 0;

	check_cells(h, q, p);
	for (unsigned int i = 0; i < p->n_pages; i++) {
		OK(p->pages[i].count > 0);
		check_growth(h, l, q, &p->pages[i]);
		if (p->pages[i].size)
			huge += p->pages[i].size * p->pages[i].count;
		else
			ordinary += p->pages[i].count;
	}
	if (p->page_size > 0)
		OK(huge == q->memory && ordinary == 0);
	else if (q->n_backing == 0)
		OK(huge == 0 && (ordinary == q->memory || ordinary == 0));
	if (q->n_backing == 0 && q->pages == PLACE_PAGES_HUGE && p->page_size == 0)
		OK(p->unmet.n > 0);
	OK(!(p->page_size > 0 && p->thp));
}

static void check(const struct host *h, const struct ledger *l, const struct asked *a, const struct placement *p,
		  const struct idset *held)
{
	const struct place_request *q = &a->q;

	check_pages(h, l, q, p);
	if (q->n_pins > 0) {
		if (p->policy != PLACE_NONE)
			for (unsigned int i = 0; i < q->n_vcpus; i++)
				OK(!idset_is_empty(&p->vcpus[i].cpus));
		return;
	}
	check_core_stays(h, p, held);
	if (is_dedicated(p->policy))
		check_dedicated(h, q, p, held);
	if (is_dedicated(q->policy)) {
		OK(p->policy == q->policy || p->unmet.n > 0);
		check_not_missed(h, q, p, held);
	}
	if (p->policy == PLACE_SHARED)
		check_floating(h, q, p, held);
	if (p->policy != PLACE_NONE)
		check_threads(h, q, p, held);
	else
		OK(q->policy == PLACE_NONE || p->unmet.n > 0);
}

/* The same claims the other way round. */
static void reverse(struct ledger *l)
{
	for (unsigned int i = 0; i < l->n_claims / 2; i++) {
		struct claim c = l->claims[i];

		l->claims[i] = l->claims[l->n_claims - 1 - i];
		l->claims[l->n_claims - 1 - i] = c;
	}
}

/* Pages that a pool gets for a domain, or loses again: direction 1, -1. */
static void grow_pool(struct host *h, const struct claim_pages *g, int direction)
{
	struct host_node *n = host_node(h, g->node);
	struct host_pool *pool = n ? host_pool(n, g->size) : NULL;

	if (!pool || g->grow == 0)
		return;
	pool->total += (uint64_t)direction * g->grow;
	pool->free += (uint64_t)direction * g->grow;
	n->mem_free -= (uint64_t)direction * g->grow * pool->size;
}

/* What QEMU does with its pages: direction 1 takes them, -1 gives them back. */
static void use_pages(struct host *h, const struct claim *c, int direction)
{
	for (unsigned int i = 0; i < c->n_pages; i++) {
		struct host_node *n = host_node(h, c->pages[i].node);
		struct host_pool *pool = n ? host_pool(n, c->pages[i].size) : NULL;

		if (!pool || pool->free == HOST_UNKNOWN)
			continue;
		if (direction > 0 && pool->free < c->pages[i].count)
			TAP_FAIL("node %d: %" PRIu64 " pages claimed, %" PRIu64 " are free", n->id, c->pages[i].count,
				 pool->free);
		else
			pool->free -= (uint64_t)direction * c->pages[i].count;
	}
}

struct life {
	struct host *h;
	struct ledger l;
	struct idset reserved;
	uint64_t max;
	unsigned int number;
	struct {
		unsigned int number; /* of the domain; 0: nobody's */
		struct claim_pages pages;
	} grown[LIVING_MAX * 16];
};

/* What was added to pools for a new domain: done at once, and remembered for its end. */
static void add_pages(struct life *v, const struct claim_pages *g)
{
	unsigned int i = 0;

	while (v->grown[i].number)
		i++;
	v->grown[i].number = v->number + 1;
	v->grown[i].pages = *g;
	grow_pool(v->h, g, 1);
}

static void drop_pages(struct life *v, unsigned int number)
{
	for (size_t i = 0; i < ARRAY_SIZE(v->grown); i++)
		if (v->grown[i].number == number + 1) {
			grow_pool(v->h, &v->grown[i].pages, -1);
			v->grown[i].number = 0;
		}
}

static void keep_sets(const struct ledger *l, const struct idset **before)
{
	for (unsigned int i = 0, k = 0; i < l->n_claims; i++)
		for (unsigned int j = 0; j < l->claims[i].n_floats; j++)
			before[k++] = l->claims[i].floats[j].now;
}

/*
 * The claims have changed: everybody who floats is where the claims alone say, is somewhere, is marked only if that is
 * elsewhere than before, and stays away from claimed CPUs while there are others.
 */
static void settle(struct life *v)
{
	struct ledger *l = &v->l;
	const struct idset *before[LIVING_MAX * 8];
	struct idset claimed = place_claimed(l, ""), shared = place_shared(v->h, &v->reserved, &claimed);
	struct idset all = shared, now;
	unsigned int k = 0;

	OK(disjoint(&shared, &claimed) && disjoint(&shared, &v->reserved) && disjoint(&shared, &v->h->exclusive));
	idset_or(&all, &claimed);
	idset_or(&all, &v->reserved);
	idset_or(&all, &v->h->exclusive);
	OK(idset_equal(&all, &v->h->online));

	keep_sets(l, before);
	OK(place_share_update(l) >= 0);
	for (unsigned int i = 0; i < l->n_claims; i++)
		for (unsigned int j = 0; j < l->claims[i].n_floats; j++, k++) {
			struct floater *f = &l->claims[i].floats[j];

			IS_INT(f->moved, !idset_equal(f->now, before[k]));
			OK(!idset_is_empty(f->now));
			place_share_set(l->online, l->reserved, &claimed, f->home, f->limit, f->vcpus, &now);
			OK(idset_is_empty(&now) || idset_equal(&now, f->now));
			if (!idset_is_empty(&shared))
				OK(disjoint(f->now, &claimed));
			f->moved = false;
		}
}

static void add_claim(struct life *v, const struct placement *p)
{
	struct ledger *l = &v->l;
	struct claim *c;
	char name[32];

	(void)snprintf(name, sizeof(name), "d%u", v->number);
	c = claim_make(l, name, "");
	(void)snprintf(c->uuid, sizeof(c->uuid), "00000000-0000-4000-9000-%012u", v->number);
	c->cpus = ledger_set(l, &p->claimed);
	for (unsigned int i = 0; i < p->n_pages; i++) {
		if (claim_add_pages(c, p->pages[i].node, p->pages[i].size, p->pages[i].count))
			exit(2);
		if (p->pages[i].grow > 0)
			add_pages(v, &p->pages[i]);
	}
	for (unsigned int i = 0; i < p->n_floaters; i++)
		if (claim_add_floater(l, c, &p->floaters[i].now, &p->floaters[i].home, &p->floaters[i].limit,
				      p->floaters[i].vcpus))
			exit(2);
}

static void start_one(struct life *v, const struct asked *a)
{
	struct ledger *l = &v->l;
	struct idset held = place_claimed(l, "");
	struct placement p, again;
	char *text, *text2;
	unsigned int mine = 0;

	place_update_pools(l, v->h);
	IS_INT(place(v->h, &a->q, l, "", &p), 0);
	reverse(l);
	IS_INT(place(v->h, &a->q, l, "", &again), 0);
	reverse(l);
	text = placement_text(&p);
	text2 = placement_text(&again);
	IS_STR(text2, text);
	check(v->h, l, a, &p, &held);
	add_claim(v, &p);
	mine = l->n_claims - 1;
	/* Where it is said to float is where it is to be: its own claim moves others, if any, never itself. */
	for (unsigned int i = 0; i < p.n_floaters; i++) {
		struct idset claimed = place_claimed(l, ""), now;
		const struct floater *f = &l->claims[mine].floats[i];

		place_share_set(l->online, l->reserved, &claimed, f->home, f->limit, f->vcpus, &now);
		OK(idset_is_empty(&now) || idset_equal(&now, f->now));
	}
	settle(v);
	if (tap_failed && tap_failed < 4)
		printf("# number %u, policy %s, %u vCPUs, %u CPUs: %s\n", v->number, place_policy_name(a->q.policy),
		       a->q.n_vcpus, v->h->n_cpus, text);
	v->number++;
	free(text);
	free(text2);
	placement_fini(&p);
	placement_fini(&again);
}

static void end_one(struct life *v, unsigned int at)
{
	struct claim *c = &v->l.claims[at];

	if (c->phase == CLAIM_STARTED)
		use_pages(v->h, c, -1);
	drop_pages(v, (unsigned int)strtoul(c->name + 1, NULL, 10));
	ledger_remove(&v->l, c->uuid);
	settle(v);
}

/* One step of a living domain: it runs, it ends, it is gone. */
static void advance(struct life *v, unsigned int at)
{
	struct claim *c = &v->l.claims[at];

	if (c->phase == CLAIM_PREPARED && chance(80)) {
		use_pages(v->h, c, 1);
		c->phase = CLAIM_STARTED;
	} else if (c->phase == CLAIM_STARTED && chance(70)) {
		use_pages(v->h, c, -1);
		c->phase = CLAIM_STOPPED;
	} else {
		end_one(v, at);
	}
}

static void begin(struct life *v, struct host *h)
{
	struct policy policy = { .reserved_given = chance(50), .reserved = random_subset(&h->online, 10) };
	struct idset others = h->online;

	*v = (struct life){ .h = h, .reserved = place_reserved(h, &policy) };
	idset_andnot(&h->exclusive, &v->reserved);
	idset_andnot(&others, &h->exclusive);
	if (idset_is_empty(&others))
		h->exclusive = IDSET_EMPTY;
	v->max = chance(50) ? h->n_cpus : h->n_cpus * 3 / 4;
	IS_INT(place_share_note(&v->l, h, &v->reserved), 0);
}

static void live(struct host *h, unsigned int steps)
{
	struct life v;
	struct asked a;

	begin(&v, h);
	for (unsigned int i = 0; i < steps; i++) {
		if (v.l.n_claims < LIVING_MAX && (v.l.n_claims == 0 || chance(50))) {
			random_request(h, &v.reserved, v.max, &a);
			start_one(&v, &a);
		} else {
			advance(&v, rnd(v.l.n_claims));
		}
	}
	ledger_fini(&v.l);
}

/* Whoever came and went: with the same domains left, everything is as it was, pools and their free pages too. */
static void come_and_go(struct host *h)
{
	const struct idset *was[LIVING_MAX * 8];
	struct host_pool pools[8][HOST_POOLS_MAX];
	struct asked a;
	struct life v;
	unsigned int stay, k = 0;

	begin(&v, h);
	for (unsigned int i = 0; i < 3; i++) {
		random_request(h, &v.reserved, v.max, &a);
		a.q.policy = PLACE_SHARED;
		a.q.n_pins = 0;
		start_one(&v, &a);
	}
	stay = v.l.n_claims;
	keep_sets(&v.l, was);
	for (unsigned int i = 0; i < h->n_nodes; i++)
		memcpy(pools[i], h->nodes[i].pools, sizeof(pools[i]));
	for (unsigned int i = 0; i < 6; i++) {
		random_request(h, &v.reserved, v.max, &a);
		start_one(&v, &a);
	}
	while (v.l.n_claims > stay)
		end_one(&v, stay + rnd(v.l.n_claims - stay));
	for (unsigned int i = 0; i < stay; i++)
		for (unsigned int j = 0; j < v.l.claims[i].n_floats; j++)
			OK(idset_equal(v.l.claims[i].floats[j].now, was[k++]));
	for (unsigned int i = 0; i < h->n_nodes; i++)
		OK(memcmp(pools[i], h->nodes[i].pools, sizeof(pools[i])) == 0);
	ledger_fini(&v.l);
}

TEST(random_hosts)
{
	for (unsigned int i = 0; i < 400; i++) {
		struct host h;

		random_host(&h);
		live(&h, 40);
		host_free(&h);
	}
}

TEST(undone_exactly)
{
	for (unsigned int i = 0; i < 250; i++) {
		struct host h;

		random_host(&h);
		come_and_go(&h);
		host_free(&h);
	}
}

TEST(topologies)
{
	const char *dir = getenv("DOMTUNE_TOPOLOGIES");
	unsigned int n = 0;
	struct dirent *e;
	DIR *d;

	if (!dir || !*dir)
		SKIP("DOMTUNE_TOPOLOGIES names no directory of host trees");
	d = opendir(dir);
	if (!d)
		SKIP("the directory DOMTUNE_TOPOLOGIES cannot be read");
	while ((e = readdir(d))) {
		struct hostfs fs = HOSTFS_INIT;
		struct host h;
		char path[4096];

		(void)snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (e->d_name[0] == '.' || hostfs_init(&fs, path, NULL) || host_read(&fs, &h, NULL)) {
			hostfs_fini(&fs);
			continue;
		}
		live(&h, 60);
		if (tap_failed)
			printf("# in %s\n", path);
		host_fini(&h);
		hostfs_fini(&fs);
		n++;
	}
	closedir(d);
	OK(n > 0);
}

TAP_MAIN

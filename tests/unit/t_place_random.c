/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What holds for every placement, over random hosts, requests and orders of start and stop, and over the real
 * topologies below $DOMTUNE_TOPOLOGIES (directories with a sys/). The seed is fixed: a failure is repeatable.
 */
#include "tap.h"

#include "common/hostfs.h"

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
	if (chance(20))
		h->cpus[rnd(h->n_cpus)].node = -1;
	if (chance(20) && h->n_nodes > 1) {
		struct host_node *n = &h->nodes[rnd(h->n_nodes)];

		n->mem_total = n->mem_free = 0;
		n->holds_guests = false;
		n->n_pools = 0;
	}
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
};

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
	OK(disjoint(&p->claimed, held) && disjoint(&p->claimed, &q->reserved) &&
	   idset_is_subset(&p->claimed, &h->online));
	check_siblings(h, q, p);
}

/* Where it would have been possible by counting alone, it was done. */
static void check_not_missed(const struct host *h, const struct place_request *q, const struct placement *p,
			     const struct idset *held)
{
	struct idset free = place_shared(h, &q->reserved, held), all = *held, cut = q->cpus;
	bool one = false;

	idset_and(&cut, &h->online);
	if (!idset_is_empty(&cut))
		idset_and(&free, &cut);
	if (q->threads != PLACE_THREADS_PREFER || idset_count(&free) < q->n_vcpus ||
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
	if (one && q->memory == 0 && q->n_backing == 0)
		OK(idset_count(&p->nodes) <= 1);
}

static void check_floating(const struct host *h, const struct place_request *q, const struct placement *p,
			   const struct idset *held)
{
	struct idset shared = place_shared(h, &q->reserved, held), inside = q->cpus;

	idset_and(&inside, &shared);
	for (unsigned int i = 0; i < p->n_vcpus; i++) {
		const struct idset *c = &p->vcpus[i].cpus;

		OK(!idset_is_empty(c) && disjoint(c, held) && idset_equal(c, &p->vcpus[0].cpus));
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

static void check_pages(const struct place_request *q, const struct placement *p)
{
	uint64_t huge = 0, ordinary = 0;

	for (unsigned int i = 0; i < p->n_pages; i++) {
		OK(p->pages[i].count > 0);
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

static void check(const struct host *h, const struct asked *a, const struct placement *p, const struct idset *held)
{
	const struct place_request *q = &a->q;

	check_pages(q, p);
	if (q->n_pins > 0) {
		if (p->policy != PLACE_NONE)
			for (unsigned int i = 0; i < q->n_vcpus; i++)
				OK(!idset_is_empty(&p->vcpus[i].cpus));
		return;
	}
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

static void start_one(const struct host *h, struct ledger *l, const struct asked *a, unsigned int number)
{
	struct idset held = place_claimed(l, "");
	struct placement p, again;
	char name[32], *text, *text2;
	struct claim *c;

	place_update_pools(l, h);
	IS_INT(place(h, &a->q, l, "", &p), 0);
	reverse(l);
	IS_INT(place(h, &a->q, l, "", &again), 0);
	reverse(l);
	text = placement_text(&p);
	text2 = placement_text(&again);
	IS_STR(text2, text);
	check(h, a, &p, &held);
	if (tap_failed && tap_failed < 4)
		printf("# number %u, policy %s, %u vCPUs, %u CPUs: %s\n", number, place_policy_name(a->q.policy),
		       a->q.n_vcpus, h->n_cpus, text);

	(void)snprintf(name, sizeof(name), "d%u", number);
	c = claim_make(l, name, "");
	(void)snprintf(c->uuid, sizeof(c->uuid), "00000000-0000-4000-9000-%012u", number);
	c->cpus = ledger_set(l, &p.claimed);
	for (unsigned int i = 0; i < p.n_pages; i++)
		if (claim_add_pages(c, p.pages[i].node, p.pages[i].size, p.pages[i].count))
			exit(2);
	for (unsigned int i = 0; i < p.n_floaters; i++)
		if (claim_add_floater(l, c, &p.floaters[i].now, &p.floaters[i].home, &p.floaters[i].limit,
				      p.floaters[i].vcpus))
			exit(2);
	free(text);
	free(text2);
	placement_fini(&p);
	placement_fini(&again);
}

/* One step of a living domain: it runs, it ends, it is gone. */
static void advance(struct host *h, struct ledger *l, unsigned int at)
{
	struct claim *c = &l->claims[at];

	if (c->phase == CLAIM_PREPARED && chance(80)) {
		use_pages(h, c, 1);
		c->phase = CLAIM_STARTED;
	} else if (c->phase == CLAIM_STARTED && chance(70)) {
		use_pages(h, c, -1);
		c->phase = CLAIM_STOPPED;
	} else {
		if (c->phase == CLAIM_STARTED)
			use_pages(h, c, -1);
		ledger_remove(l, c->uuid);
	}
}

static void live(struct host *h, unsigned int steps)
{
	struct policy policy = { .reserved_given = chance(50), .reserved = random_subset(&h->online, 10) };
	struct idset reserved = place_reserved(h, &policy);
	uint64_t max = chance(50) ? h->n_cpus : h->n_cpus * 3 / 4;
	struct ledger l = { 0 };
	struct asked a;

	for (unsigned int i = 0; i < steps; i++) {
		if (l.n_claims < LIVING_MAX && (l.n_claims == 0 || chance(50))) {
			random_request(h, &reserved, max, &a);
			start_one(h, &l, &a, i);
		} else {
			advance(h, &l, rnd(l.n_claims));
		}
	}
	ledger_fini(&l);
}

TEST(random_hosts)
{
	for (unsigned int i = 0; i < 2000; i++) {
		struct host h;

		random_host(&h);
		live(&h, 40);
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

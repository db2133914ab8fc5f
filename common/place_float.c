/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Floating vCPUs, and the sets of shared CPUs that threads float over (struct place_floater).
 *
 * vCPUs float over the shared CPUs of the fewest nodes that hold them and their memory, else over all; a guest whose
 * cells lie on several nodes has a floater on each. Where they float now follows from home, limit and claims alone
 * (place_share_set()), so what place() says and what place_share_update() will say later are the same. So do
 * emulator and I/O threads that share: with the vCPUs, or by a floater without vCPUs, whose limit is the shared CPUs of
 * the domain's nodes and the reserved ones.
 *
 * A list of CPUs of which none is shared at the moment stays the limit: the domain runs elsewhere, with an unmet
 * sentence, and goes there as soon as it can.
 */
#include "place_priv.h"

#include "place_share.h"

int place_add_floater(struct place_ctx *c, const struct idset *home, const struct idset *limit, unsigned int vcpus)
{
	struct placement *p = c->p;
	struct place_floater *grown;

	for (unsigned int i = 0; i < p->n_floaters; i++)
		if (idset_equal(&p->floaters[i].home, home) && idset_equal(&p->floaters[i].limit, limit)) {
			p->floaters[i].vcpus += vcpus;
			return (int)i;
		}
	grown = reallocarray(p->floaters, p->n_floaters + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	p->floaters = grown;
	p->floaters[p->n_floaters] = (struct place_floater){ .home = *home, .limit = *limit, .vcpus = vcpus };
	return (int)p->n_floaters++;
}

/* What a floater is on, given the claims; where nothing at all is left, CPUs of the domain itself. */
static void settle_one(const struct place_ctx *c, struct place_floater *f)
{
	struct idset online = c->h->online, claimed = c->held;

	idset_andnot(&online, &c->h->exclusive);
	idset_or(&claimed, &c->p->claimed);
	f->now = IDSET_EMPTY;
	place_share_set(&online, &c->q->reserved, &claimed, &f->home, &f->limit, f->vcpus, &f->now);
	if (!idset_is_empty(&f->now))
		return;
	f->now = c->p->claimed;
	for (unsigned int i = 0; i < c->q->n_vcpus; i++)
		if (c->vcpu_floater[i] < 0)
			idset_or(&f->now, &c->p->vcpus[i].cpus);
}

static void renumber(struct place_ctx *c, int from, int to)
{
	int *numbers[] = { &c->emulator_floater, &c->iothreads_floater };

	for (unsigned int i = 0; i < c->q->n_vcpus; i++)
		if (c->vcpu_floater[i] == from)
			c->vcpu_floater[i] = to;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (*numbers[i] == from)
			*numbers[i] = to;
}

/* Those that are on the same CPUs are one: which one a thread belongs to is told by its CPUs. */
static bool merge_equal(struct place_ctx *c)
{
	struct placement *p = c->p;

	for (unsigned int i = 0; i < p->n_floaters; i++)
		for (unsigned int j = i + 1; j < p->n_floaters; j++) {
			struct place_floater *a = &p->floaters[i], *b = &p->floaters[j];

			if (!idset_equal(&a->now, &b->now))
				continue;
			idset_or(&a->home, &b->home);
			idset_or(&a->limit, &b->limit);
			a->vcpus += b->vcpus;
			settle_one(c, a);
			renumber(c, (int)j, (int)i);
			for (unsigned int k = j + 1; k < p->n_floaters; k++) {
				p->floaters[k - 1] = p->floaters[k];
				renumber(c, (int)k, (int)k - 1);
			}
			p->n_floaters--;
			return true;
		}
	return false;
}

static void note_crowd(struct place_ctx *c, const struct place_floater *f)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	unsigned int n = idset_count(&f->now);
	uint64_t load = place_load(c, &f->now) + (n > 0 ? (uint64_t)f->vcpus * 1000 / n : 0);

	if (c->q->max_vcpus_per_cpu == 0 || f->vcpus == 0 || load <= c->q->max_vcpus_per_cpu * 1000)
		return;
	load = (load + 99) / 100; /* rounded up: what is over the limit does not look like it */
	sbuf_addf(&b, "%" PRIu64 ".%" PRIu64 " vCPUs per CPU on CPUs ", load / 10, load % 10);
	place_add_list(&b, &f->now);
	sbuf_addf(&b, ", over the policy's max-vcpus-per-cpu %" PRIu64, c->q->max_vcpus_per_cpu);
	place_note(c, &b);
}

void place_settle_floaters(struct place_ctx *c)
{
	struct placement *p = c->p;

	for (unsigned int i = 0; i < p->n_floaters; i++)
		settle_one(c, &p->floaters[i]);
	while (merge_equal(c))
		;
	for (unsigned int i = 0; i < c->q->n_vcpus; i++)
		if (c->vcpu_floater[i] >= 0)
			p->vcpus[i].cpus = p->floaters[c->vcpu_floater[i]].now;
	if (c->emulator_floater >= 0)
		p->emulator = p->floaters[c->emulator_floater].now;
	for (unsigned int i = 0; c->iothreads_floater >= 0 && i < p->n_iothreads; i++)
		p->iothreads[i].cpus = p->floaters[c->iothreads_floater].now;
	for (unsigned int i = 0; i < p->n_floaters; i++)
		note_crowd(c, &p->floaters[i]);
}

static void unmet_list(struct place_ctx *c)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };

	sbuf_add(&b, "CPUs ");
	place_add_list(&b, &c->cpus);
	sbuf_add(&b, " asked, none of them is shared");
	place_add_holders(&b, c, &c->cpus);
	sbuf_add(&b, ": a list with other CPUs");
	place_unmet(c, &b);
}

/* No shared CPU is left at all. False: there is nothing else for it either. */
static bool last_resort(struct place_ctx *c)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	struct idset reserved = c->q->reserved;
	bool any;

	idset_and(&reserved, &c->h->online);
	any = !idset_is_empty(&reserved) || !idset_is_empty(&c->pinned);
	sbuf_add(&b, "shared CPUs asked, none is left and ");
	sbuf_add(&b, !idset_is_empty(&reserved) ? "the vCPUs are on the reserved ones" : "none is reserved");
	place_add_holders(&b, c, &c->h->online);
	sbuf_add(&b, !idset_is_empty(&reserved) ? ": fewer dedicated CPUs, a lower max-dedicated-cpus"
						: ": reserve CPUs in the policy, or a lower max-dedicated-cpus");
	place_unmet(c, &b);
	return any;
}

/* Where the vCPUs may be at all, into *ret_limit; c->free is then what the search may offer. False: nowhere. */
static bool find_limit(struct place_ctx *c, struct idset *ret_limit)
{
	struct idset all = place_sharable(c), limit = all, now;
	bool any = !idset_is_empty(&c->free);

	idset_and(&limit, &c->cpus);
	now = limit;
	idset_and(&now, &c->free);
	if (idset_is_empty(&now) && any)
		unmet_list(c);
	if (idset_is_empty(&limit)) {
		c->cpus = c->h->online;
		limit = all;
	}
	*ret_limit = limit;
	if (!any && !last_resort(c))
		return false;
	if (idset_is_empty(&now)) {
		/* For its nodes what counts is where it will go. */
		now = limit;
		idset_and(&now, &c->free);
		c->free = idset_is_empty(&now) ? limit : now;
	}
	place_nodes_init(c);
	return true;
}

/* One floater for all of them, or one per node that has cells. */
static int add_vcpu_floaters(struct place_ctx *c, const struct idset *nodes, const struct idset *limit)
{
	bool by_node = c->search.n_parts > 1 && c->in_cells && idset_count(nodes) > 1;
	unsigned int at = 0;

	for (unsigned int i = 0; i < c->n_parts; i++) {
		struct idset on = *nodes, home;
		unsigned int n = c->parts[i].vcpus - (c->extra && i == 0);
		int number;

		if (by_node && c->found.node_of_part[i] >= 0) {
			on = IDSET_EMPTY;
			idset_add(&on, (unsigned int)c->found.node_of_part[i]);
		}
		home = host_node_cpus(c->h, &on);
		idset_and(&home, limit);
		if (idset_is_empty(&home))
			home = *limit;
		number = n > 0 ? place_add_floater(c, &home, limit, n) : 0;
		if (number < 0)
			return number;
		for (unsigned int j = 0; j < n; j++)
			c->vcpu_floater[c->order[at + j]] = number;
		at += n;
	}
	return 0;
}

static struct idset guest_nodes(const struct host *h)
{
	struct idset ret = IDSET_EMPTY;

	for (unsigned int i = 0; i < h->n_nodes; i++)
		if (h->nodes[i].holds_guests)
			idset_add(&ret, (unsigned int)h->nodes[i].id);
	return ret;
}

/* The nodes of the unpinned vCPUs: the search's, or all there are. */
static int find_nodes(struct place_ctx *c, const struct idset *limit, struct idset *ret_nodes)
{
	struct placement *p = c->p;
	int r = place_find(c);

	if (r == -ENOMEM)
		return r;
	if (r == 0) {
		*ret_nodes = c->found.nodes;
		place_say(p->why_cpus, sizeof(p->why_cpus), "the shared CPUs of its nodes");
		place_say_nodes(c);
		return 0;
	}
	place_guest_whole(c);
	c->parts[0].vcpus += c->extra;
	*ret_nodes = place_nodes_of(c->h, limit);
	if (idset_is_empty(ret_nodes)) /* CPUs of unknown node */
		*ret_nodes = guest_nodes(c->h);
	place_say(p->why_cpus, sizeof(p->why_cpus), "all shared CPUs");
	place_say(p->why_nodes, sizeof(p->why_nodes), "no fewer nodes hold its CPUs and memory");
	return 0;
}

static int place_unpinned(struct place_ctx *c, struct idset *ret_nodes)
{
	struct idset limit, free = c->free, near;
	int r;

	if (!find_limit(c, &limit)) {
		c->p->policy = PLACE_NONE;
		return 0;
	}
	r = find_nodes(c, &limit, ret_nodes);
	if (r < 0)
		return r;
	c->free = free;
	place_nodes_init(c);
	if (c->extra) {
		near = host_node_cpus(c->h, ret_nodes);
		idset_and(&near, &limit);
		idset_and(&near, &c->free);
		c->extra_cpu = place_claim_extra(c, &near, &c->p->claimed);
	}
	r = add_vcpu_floaters(c, ret_nodes, &limit);
	if (idset_is_empty(&free))
		place_say(c->p->why_cpus, sizeof(c->p->why_cpus), "no shared CPU is left");
	return r < 0 ? r : 0;
}

int place_floating(struct place_ctx *c)
{
	struct idset nodes = IDSET_EMPTY, pins = place_all_pins(c), pinned_nodes = place_nodes_of(c->h, &pins);
	int r;

	c->dedicated = false;
	c->avoid = IDSET_EMPTY;
	c->search.n_parts = 0;
	place_loads_init(c);
	place_refresh(c);
	c->p->policy = PLACE_SHARED;
	c->p->claimed = c->pinned;
	if (c->need > 0 || c->extra) {
		r = place_unpinned(c, &nodes);
		if (r < 0)
			return r;
		if (c->p->policy == PLACE_NONE) {
			place_guest_settle(c, false);
			return 0;
		}
	}
	if (c->need == 0) {
		place_say(c->p->why_cpus, sizeof(c->p->why_cpus), "pinned by the definition");
		place_say(c->p->why_nodes, sizeof(c->p->why_nodes), "where it is pinned");
		nodes = IDSET_EMPTY;
	}
	c->p->nodes = nodes;
	idset_or(&c->p->nodes, &pinned_nodes);
	for (unsigned int i = 0; i < c->q->n_vcpus; i++)
		if (place_vcpu_is_pinned(c, i))
			c->p->vcpus[i].cpus = c->pins[i];
	if (c->search.n_parts == 0 || c->n_pinned > 0) {
		place_guest_settle(c, c->search.n_parts > 0);
		place_settle_step(c);
	}
	return 0;
}

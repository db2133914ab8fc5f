/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One CPU per vCPU: find the nodes, pick the CPUs, claim them; and say in one sentence why it cannot be done.
 */
#include "place_priv.h"

static void start_unmet_cpus(struct place_ctx *c, struct sbuf *b)
{
	static const char *const things[] = {
		[PLACE_THREADS_PREFER] = "dedicated CPUs",
		[PLACE_THREADS_ISOLATE] = "whole cores",
		[PLACE_THREADS_REQUIRE] = "dedicated CPUs with their siblings",
	};

	sbuf_addf(b, "%u %s asked", c->need, things[c->q->threads]);
}

/* What would help: ": fewer vCPUs, cpu policy shared, or stop db1". */
static void end_unmet_cpus(struct place_ctx *c, struct sbuf *b, const char *help)
{
	struct idset elsewhere = c->cpus;
	const struct claim *holder;

	idset_and(&elsewhere, &c->held);
	holder = place_top_holder(c, &elsewhere);
	sbuf_addf(b, ": %s%s cpu policy shared", help, holder ? "," : " or");
	if (holder) {
		sbuf_add(b, ", or stop ");
		place_add_name(b, holder->name ? holder->name : holder->uuid);
	}
	place_unmet(c, b);
}

/* Why no set of nodes holds the dedicated vCPUs. */
static void unmet_cpus(struct place_ctx *c)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	unsigned int room = 0, named = 0;

	for (unsigned int i = 0; i < c->h->n_nodes; i++)
		room += c->nodes[i].capacity;
	start_unmet_cpus(c, &b);
	if (c->q->threads == PLACE_THREADS_REQUIRE && c->h->n_cores == c->h->n_cpus) {
		sbuf_add(&b, ", this host has no SMT siblings: threads prefer");
		place_unmet(c, &b);
		return;
	}
	if (c->q->threads == PLACE_THREADS_REQUIRE && room >= c->need) {
		sbuf_add(&b, ", but that leaves one without a sibling: an even number of vCPUs, or threads prefer");
		place_unmet(c, &b);
		return;
	}
	for (unsigned int i = 0; i < c->h->n_nodes; i++) {
		if (c->nodes[i].capacity == 0)
			continue;
		if (named++ < 4)
			sbuf_addf(&b, named == 1 ? ", %u free on node %d" : ", %u on node %d", c->nodes[i].capacity,
				  c->nodes[i].node->id);
	}
	if (named > 4)
		sbuf_addf(&b, ", %u in all", room);
	if (named == 0)
		sbuf_add(&b, ", none free");
	place_add_holders(&b, c, &c->cpus);
	end_unmet_cpus(c, &b, "fewer vCPUs");
}

static void unmet_limit(struct place_ctx *c, unsigned int more)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	unsigned int held = idset_count(&c->held);

	start_unmet_cpus(c, &b);
	if (more > c->need)
		sbuf_addf(&b, " (%u CPUs)", more);
	sbuf_addf(&b, ", the policy's max-dedicated-cpus is %" PRIu64 " of %u and %u are claimed", c->q->max_dedicated,
		  c->h->n_cpus, held);
	end_unmet_cpus(c, &b, "a higher limit, fewer vCPUs");
}

static bool within_limit(const struct place_ctx *c, const struct idset *claim)
{
	struct idset all = c->held;

	idset_or(&all, claim);
	return idset_count(&all) <= c->q->max_dedicated;
}

/*
 * One further CPU, claimed, for emulator or I/O threads: of `near` if there is one, else of whatever is free. It is
 * added to *claim. -1, with a message, if there is none.
 */
int place_claim_extra(struct place_ctx *c, const struct idset *near, struct idset *claim)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	struct idset from = *near, with = *claim;
	int id;

	idset_and(&from, &c->free); /* never a reserved one */
	idset_andnot(&from, claim);
	id = place_pick_extra(c, &from);
	if (id < 0) {
		from = c->free;
		idset_and(&from, &c->cpus);
		idset_andnot(&from, claim);
		id = place_pick_extra(c, &from);
	}
	/* The last CPU of those that float stays theirs. */
	if (!c->dedicated && idset_count(near) < 2)
		id = -1;
	if (id >= 0) {
		idset_add(&with, (unsigned int)id);
		if (within_limit(c, &with)) {
			*claim = with;
			return id;
		}
	}
	sbuf_add(&b, "one further CPU asked for the emulator or I/O threads, ");
	if (id >= 0)
		sbuf_addf(&b, "the policy's max-dedicated-cpus is %" PRIu64, c->q->max_dedicated);
	else
		sbuf_add(&b, "none is free");
	sbuf_add(&b, ": fewer vCPUs, or share");
	place_unmet(c, &b);
	return -1;
}

/*
 * The vCPUs on several nodes, as evenly as the memory; where that does not come out, in whatever way they fit.
 * ret_idle: idle siblings.
 */
static int pick_spread(struct place_ctx *c, const struct idset *nodes, int kind, struct idset *ret_idle)
{
	struct idset all = host_node_cpus(c->h, nodes), taken = IDSET_EMPTY;
	unsigned int left = c->need, n = idset_count(nodes), pair = c->q->threads == PLACE_THREADS_ISOLATE ? 1 : 2;
	_cleanup_free_ int *out = calloc(c->need + 1u, sizeof(*out));

	if (!out)
		return -ENOMEM;
	idset_and(&all, &c->free);
	idset_and(&all, &c->cpus);
	if (kind >= 0)
		idset_and(&all, &c->kinds[kind]);
	*ret_idle = IDSET_EMPTY;
	IDSET_FOREACH (id, nodes) {
		struct idset one = IDSET_EMPTY, from, idle;
		unsigned int want = (left + n - 1) / n, room;

		want = (want + pair - 1) / pair * pair;
		idset_add(&one, (unsigned int)id);
		from = host_node_cpus(c->h, &one);
		idset_and(&from, &all);
		idset_andnot(&from, &taken); /* CPUs of unknown node are every node's */
		room = place_capacity(c, &from, NULL);
		want = want > left ? left : want;
		want = want > room ? room : want;
		n--;
		if (place_pick(c, &from, want, out + (c->need - left), &idle))
			break;
		for (unsigned int i = 0; i < want; i++)
			idset_add(&taken, (unsigned int)out[c->need - left + i]);
		idset_or(&taken, &idle);
		idset_or(ret_idle, &idle);
		left -= want;
	}
	if (left > 0)
		return place_pick(c, &all, c->need, c->out, ret_idle);
	memcpy(c->out, out, c->need * sizeof(*out));
	return 0;
}

static int pick(struct place_ctx *c, const struct idset *nodes, int kind, struct idset *ret_idle)
{
	struct idset from = host_node_cpus(c->h, nodes);

	if (idset_count(nodes) > 1)
		return pick_spread(c, nodes, kind, ret_idle);
	idset_and(&from, &c->free);
	idset_and(&from, &c->cpus);
	if (kind >= 0)
		idset_and(&from, &c->kinds[kind]);
	return place_pick(c, &from, c->need, c->out, ret_idle);
}

/* Find nodes and CPUs: c->out and *ret_claim. 0, -ENOSPC, -ENOMEM. */
static int find_dedicated(struct place_ctx *c, struct idset *ret_nodes, struct idset *ret_claim)
{
	struct place_step steps[PLACE_STEPS_MAX];
	struct idset idle;
	int kind, r;

	place_refresh(c);
	r = place_nodes_find(c, steps, place_steps(c, steps), ret_nodes, &kind);
	if (r == 0)
		r = pick(c, ret_nodes, kind, &idle);
	if (r < 0)
		return r;
	*ret_claim = c->pinned;
	for (unsigned int i = 0; i < c->need; i++)
		idset_add(ret_claim, (unsigned int)c->out[i]);
	idset_or(ret_claim, &idle);
	return 0;
}

static void say_dedicated(struct place_ctx *c)
{
	static const char *const rules[] = {
		[PLACE_THREADS_PREFER] = "whole cores first",
		[PLACE_THREADS_ISOLATE] = "one vCPU per core",
		[PLACE_THREADS_REQUIRE] = "siblings together",
	};
	struct placement *p = c->p;

	if (c->need == 0)
		place_say(p->why_cpus, sizeof(p->why_cpus), "pinned by the definition");
	else
		place_say(p->why_cpus, sizeof(p->why_cpus), "%s%s", rules[c->q->threads],
			  idset_is_empty(&c->q->cpus) ? "" : ", of the CPUs that were given");
	if (idset_count(&p->nodes) == 1)
		place_say(p->why_nodes, sizeof(p->why_nodes), c->n_pinned ? "where it is pinned" : "the tightest fit");
	else
		place_say(p->why_nodes, sizeof(p->why_nodes), "the fewest nodes that hold it");
}

/* 0: placed; -ENOSPC: impossible, the message is there; -ENOMEM. */
int place_dedicated(struct place_ctx *c)
{
	struct idset nodes = IDSET_EMPTY, claim = c->pinned, pins = place_all_pins(c), near;
	unsigned int next = 0;
	int r = 0;

	c->dedicated = true;
	if (c->need > 0) {
		r = find_dedicated(c, &nodes, &claim);
		if (r == -ENOSPC && !idset_is_empty(&c->avoid)) {
			c->avoid = IDSET_EMPTY;
			r = find_dedicated(c, &nodes, &claim);
		}
		if (r == -ENOSPC)
			unmet_cpus(c);
		else if (r == 0 && !within_limit(c, &claim)) {
			struct idset own = claim;

			idset_andnot(&own, &c->held);
			unmet_limit(c, idset_count(&own));
			r = -ENOSPC;
		}
		if (r < 0)
			return r;
	} else {
		place_refresh(c);
	}
	c->p->policy = c->q->policy;
	c->p->nodes = place_nodes_of(c->h, &pins);
	idset_or(&c->p->nodes, &nodes);
	if (idset_is_empty(&c->p->nodes))
		c->p->nodes = place_nodes_of(c->h, &claim);
	for (unsigned int i = 0; i < c->q->n_vcpus; i++)
		if (place_vcpu_is_pinned(c, i))
			c->p->vcpus[i].cpus = c->pins[i];
		else if (place_vcpu_is_online(c, i))
			idset_add(&c->p->vcpus[i].cpus, (unsigned int)c->out[next++]);
	if (c->extra) {
		near = host_node_cpus(c->h, &c->p->nodes);
		idset_and(&near, &c->free);
		idset_and(&near, &c->cpus);
		c->extra_cpu = place_claim_extra(c, &near, &claim);
	}
	c->p->claimed = claim;
	place_settle_step(c);
	say_dedicated(c);
	return 0;
}

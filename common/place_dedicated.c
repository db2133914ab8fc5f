/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One CPU per vCPU: find nodes and CPUs, claim them; and say in one sentence why it cannot be done.
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

	start_unmet_cpus(c, &b);
	if (c->q->threads == PLACE_THREADS_REQUIRE && c->h->n_cores == c->h->n_cpus) {
		sbuf_add(&b, ", this host has no SMT siblings: threads prefer");
		place_unmet(c, &b);
		return;
	}
	for (unsigned int i = 0; i < c->h->n_nodes; i++) {
		unsigned int has = place_capacity(c, i);

		room += has;
		if (has > 0 && named++ < 4)
			sbuf_addf(&b, named == 1 ? ", %u free on node %d" : ", %u on node %d", has,
				  c->nodes[i].node->id);
	}
	if (c->q->threads == PLACE_THREADS_REQUIRE && room >= c->need) {
		sbuf_add(&b, ", but that leaves one without a sibling: an even number of vCPUs, or threads prefer");
		place_unmet(c, &b);
		return;
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

/* What is left of the nodes found. */
static struct idset left_there(const struct place_ctx *c)
{
	struct idset ret = host_node_cpus(c->h, &c->found.nodes);

	idset_and(&ret, &c->free);
	idset_and(&ret, &c->cpus);
	idset_andnot(&ret, &c->found.cpus);
	idset_andnot(&ret, &c->found.idle);
	return ret;
}

/*
 * The further CPU is to be near: if the node found has none left, another single node that has one is better. Only
 * nodes that could have one are offered then; if none of them will do, the first answer stands.
 */
static int find_with_extra(struct place_ctx *c)
{
	struct idset free = c->free, left;
	int r = place_find(c);

	if (r < 0 || !c->extra || idset_count(&c->found.nodes) > 1)
		return r;
	left = left_there(c);
	if (!idset_is_empty(&left))
		return 0;
	for (unsigned int i = 0; i < c->h->n_nodes; i++)
		if (c->nodes[i].n_cpus <= c->need || idset_has(&c->found.nodes, (unsigned int)c->h->nodes[i].id))
			idset_andnot(&c->free, &c->nodes[i].cpus);
	place_nodes_init(c);
	r = place_find(c);
	left = left_there(c);
	c->free = free;
	place_nodes_init(c);
	if (r == -ENOMEM || (r == 0 && idset_count(&c->found.nodes) == 1 && !idset_is_empty(&left)))
		return r;
	return place_find(c);
}

/* Find nodes and CPUs: c->found, c->cpu and *ret_claim. 0, -ENOSPC, -ENOMEM. */
static int find_dedicated(struct place_ctx *c, struct idset *ret_claim)
{
	int r;

	place_refresh(c);
	r = find_with_extra(c);
	if (r < 0)
		return r;
	*ret_claim = c->pinned;
	idset_or(ret_claim, &c->found.cpus);
	idset_or(ret_claim, &c->found.idle);
	return 0;
}

static int claim_dedicated(struct place_ctx *c, struct idset *claim)
{
	int r = find_dedicated(c, claim);

	if (r == -ENOSPC && !idset_is_empty(&c->avoid)) {
		c->avoid = IDSET_EMPTY;
		r = find_dedicated(c, claim);
	}
	if (r == -ENOSPC) {
		unmet_cpus(c);
	} else if (r == 0 && !place_within_limit(c, claim)) {
		struct idset own = *claim;

		idset_andnot(&own, &c->held);
		unmet_limit(c, idset_count(&own));
		r = -ENOSPC;
	}
	return r;
}

static void say_dedicated(struct place_ctx *c)
{
	static const char *const rules[] = {
		[PLACE_THREADS_PREFER] = "a CPU for each vCPU",
		[PLACE_THREADS_ISOLATE] = "a core for each vCPU, its siblings idle",
		[PLACE_THREADS_REQUIRE] = "a CPU for each vCPU, siblings together",
	};
	struct placement *p = c->p;
	char what[112]; /* fits with the rest into why_cpus */

	if (c->need == 0) {
		place_say(p->why_cpus, sizeof(p->why_cpus), "pinned by the definition");
		place_say(p->why_nodes, sizeof(p->why_nodes), "where it is pinned");
		return;
	}
	place_search_why_cpus(&c->search, &c->found, what, sizeof(what));
	place_say(p->why_cpus, sizeof(p->why_cpus), "%s%s%s%s%s", rules[c->q->threads],
		  idset_is_empty(&c->q->cpus) ? "" : ", of the CPUs that were given", *what ? ", " : "", what,
		  c->q->guest_threads == 0 && place_guest_has_siblings(c)
			  ? ", siblings show in the guest only with threads= in its <topology>" : "");
	place_say_nodes(c);
}

int place_dedicated(struct place_ctx *c)
{
	struct idset claim = c->pinned, pins = place_all_pins(c), near;
	int r;

	c->dedicated = true;
	if (c->need > 0) {
		r = claim_dedicated(c, &claim);
		if (r < 0)
			return r;
	} else {
		place_refresh(c);
	}
	c->p->policy = c->q->policy;
	c->p->nodes = place_nodes_of(c->h, &pins);
	if (c->need > 0)
		idset_or(&c->p->nodes, &c->found.nodes);
	if (idset_is_empty(&c->p->nodes))
		c->p->nodes = place_nodes_of(c->h, &claim);
	for (unsigned int i = 0; i < c->q->n_vcpus; i++)
		if (place_vcpu_is_pinned(c, i))
			c->p->vcpus[i].cpus = c->pins[i];
	for (unsigned int i = 0; i < c->need; i++)
		idset_add(&c->p->vcpus[c->order[i]].cpus, (unsigned int)c->cpu[i]);
	if (c->extra) {
		near = host_node_cpus(c->h, &c->p->nodes);
		idset_and(&near, &c->free);
		idset_and(&near, &c->cpus);
		c->extra_cpu = place_claim_extra(c, &near, &claim);
	}
	c->p->claimed = claim;
	if (c->n_pinned > 0) {
		place_guest_settle(c, c->need > 0);
		place_settle_step(c);
	}
	say_dedicated(c);
	return 0;
}

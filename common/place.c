/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Placement of one domain among those that live.
 *
 * Order: what the owner pinned is taken as it is; then the vCPUs that are left, as dedicated (place_dedicated.c) or as
 * floating ones (place_float.c): steps of preference outside (place_mem.c), one place_search() for each of them
 * (place_node.c), with the guest's own topology as its parts (place_guest.c); then memory and pages on those nodes
 * (place_mem.c, place_pages.c); then the emulator and the I/O threads beside them, and in the end where everything that
 * floats is. A dedicated demand that cannot be met becomes an `unmet` sentence and a floating placement of the whole
 * domain.
 *
 * Guarantees, whatever the input: no CPU that another claim or somebody's exclusive cpuset holds is given to anybody by
 * choice (an explicit pin or the lack of any other CPU are the exceptions, both with a message); reserved CPUs run no
 * vCPU unless there is nothing else; a claim made by choice leaves a core to the host (place_cpu.c); the claims of this
 * placement are disjoint from those of others but for explicit pins; what floats is where place_share_update() would
 * put it.
 */
#include "place_priv.h"

static void ctx_fini(struct place_ctx *c)
{
	free(c->pins);
	free(c->nodes);
	free(c->crowds);
	free(c->loads);
	free(c->node_loads);
	free(c->order);
	free(c->cpu);
	free(c->vcpu_cell);
	free(c->cell_nodes);
	free(c->vcpu_floater);
}

static void ctx_freep(struct place_ctx **c)
{
	if (*c) {
		ctx_fini(*c);
		free(*c);
	}
}

static int ctx_alloc(struct place_ctx *c)
{
	const struct host *h = c->h;
	size_t vcpus = c->q->n_vcpus + 2u; /* the further CPU; and never 0: calloc() may then return NULL */
	size_t floats = 0, nodes = h->n_nodes + 1u;

	if (c->q->n_pins > 0)
		c->pins = calloc(vcpus, sizeof(*c->pins)); /* 1 KiB each */
	c->order = calloc(vcpus, sizeof(*c->order));
	c->cpu = calloc(vcpus, sizeof(*c->cpu));
	c->vcpu_floater = calloc(vcpus, sizeof(*c->vcpu_floater));
	c->nodes = calloc(nodes, sizeof(*c->nodes));
	c->loads = calloc(h->n_cpus + 1u, sizeof(*c->loads));
	c->node_loads = calloc(4 * nodes, sizeof(*c->node_loads));
	c->vcpu_cell = calloc(vcpus, sizeof(*c->vcpu_cell));
	c->cell_nodes = calloc(c->q->n_cells + 1u, sizeof(*c->cell_nodes));
	for (unsigned int i = 0; i < c->l->n_claims; i++)
		floats += c->l->claims[i].n_floats;
	c->crowds = calloc(floats + 1, sizeof(*c->crowds));
	if ((c->q->n_pins > 0 && !c->pins) || !c->order || !c->cpu || !c->vcpu_floater || !c->nodes || !c->loads ||
	    !c->node_loads || !c->vcpu_cell || !c->cell_nodes || !c->crowds)
		return -ENOMEM;
	c->room = c->node_loads + nodes;
	c->ready = c->room + nodes;
	c->want = c->ready + nodes;
	for (size_t i = 0; i < vcpus; i++)
		c->vcpu_floater[i] = -1;
	c->emulator_floater = c->iothreads_floater = c->extra_cpu = -1;
	return 0;
}

struct idset place_sharable(const struct place_ctx *c)
{
	return place_shared(c->h, &c->q->reserved, &IDSET_EMPTY);
}

/* Recompute what may be given; to be called after held, pinned, avoid or cpus changed. */
void place_refresh(struct place_ctx *c)
{
	c->kept = c->dedicated ? place_kept(c) : IDSET_EMPTY;
	c->blocked = c->held;
	idset_or(&c->blocked, &c->h->exclusive);
	idset_or(&c->blocked, &c->q->reserved);
	idset_or(&c->blocked, &c->pinned);
	idset_or(&c->blocked, &c->avoid);
	idset_or(&c->blocked, &c->kept);
	c->free = c->h->online;
	idset_andnot(&c->free, &c->blocked);
	place_nodes_init(c);
}

static void restrict_cpus(struct place_ctx *c)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	struct idset offline = c->q->cpus;

	c->cpus = c->h->online;
	if (idset_is_empty(&c->q->cpus))
		return;
	idset_and(&c->cpus, &c->q->cpus);
	idset_andnot(&offline, &c->h->online);
	if (idset_is_empty(&offline))
		return;
	sbuf_add(&b, "CPUs ");
	place_add_list(&b, &offline);
	if (!idset_is_empty(&c->cpus)) {
		sbuf_add(&b, " of the CPU list are not online, left out");
		place_note(c, &b);
		return;
	}
	sbuf_add(&b, " asked, none of them is online: a list of online CPUs");
	place_unmet(c, &b);
	c->cpus = c->h->online;
}

bool place_vcpu_is_online(const struct place_ctx *c, unsigned int vcpu)
{
	return idset_is_empty(&c->q->vcpus) || idset_has(&c->q->vcpus, vcpu);
}

bool place_vcpu_is_pinned(const struct place_ctx *c, unsigned int vcpu)
{
	return c->pins && !idset_is_empty(&c->pins[vcpu]);
}

static void note_conflict(struct place_ctx *c, unsigned int vcpu, const struct idset *cpus)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };

	sbuf_addf(&b, "vCPU %u is pinned by the definition to CPUs ", vcpu);
	place_add_list(&b, cpus);
	sbuf_add(&b, ", not its own alone");
	place_add_holders(&b, c, cpus);
	place_note(c, &b);
}

/* A pin to everything that runs guests is no choice: it is kept, but takes nothing from others. */
static bool is_no_choice(const struct place_ctx *c, const struct idset *pin)
{
	struct idset all = c->h->online;

	idset_andnot(&all, &c->q->reserved);
	return idset_count(&c->h->online) > 1 && idset_is_subset(&all, pin);
}

static void take_pins(struct place_ctx *c)
{
	for (unsigned int i = 0; i < c->q->n_pins; i++)
		if (c->q->pins[i].id < c->q->n_vcpus && place_vcpu_is_online(c, c->q->pins[i].id))
			idset_or(&c->pins[c->q->pins[i].id], &c->q->pins[i].cpus);
	for (unsigned int i = 0; i < c->q->n_vcpus; i++) {
		_cleanup_sbuf_ struct sbuf b = { 0 };
		struct idset conflict;

		if (!place_vcpu_is_pinned(c, i))
			continue;
		if (!idset_is_subset(&c->pins[i], &c->h->online)) {
			sbuf_addf(&b, "vCPU %u is pinned to CPUs ", i);
			place_add_list(&b, &c->pins[i]);
			sbuf_add(&b, " by the definition, not all of them are online");
			place_note(c, &b);
			idset_and(&c->pins[i], &c->h->online);
			if (idset_is_empty(&c->pins[i]))
				continue;
		}
		c->n_pinned++;
		if (is_no_choice(c, &c->pins[i]))
			continue;
		conflict = c->held;
		idset_or(&conflict, &c->h->exclusive);
		idset_or(&conflict, &c->q->reserved);
		idset_and(&conflict, &c->pins[i]);
		if (!idset_is_empty(&conflict))
			note_conflict(c, i, &conflict);
		idset_or(&c->pinned, &c->pins[i]);
	}
	/* online = reserved + claimed + shared: a reserved CPU stays one, whoever is pinned to it. */
	idset_andnot(&c->pinned, &c->q->reserved);
}

struct idset place_all_pins(const struct place_ctx *c)
{
	struct idset ret = IDSET_EMPTY;

	for (unsigned int i = 0; c->pins && i < c->q->n_vcpus; i++)
		idset_or(&ret, &c->pins[i]);
	return ret;
}

/* vCPUs stay where libvirt puts them; memory goes where the owner says, or where the wanted pages are. */
static int place_nothing(struct place_ctx *c)
{
	struct idset pins = place_all_pins(c), nodes = place_nodes_of(c->h, &pins);
	bool pages = c->q->n_backing > 0 || c->q->pages == PLACE_PAGES_HUGE || c->q->pages == PLACE_PAGES_AUTO;
	bool searched = false;

	c->p->policy = PLACE_NONE;
	c->p->claimed = c->pinned;
	c->dedicated = false;
	c->need = 0;
	c->extra = false;
	place_loads_init(c);
	place_refresh(c);
	if (idset_is_empty(&nodes) && idset_is_empty(&c->memory_nodes)) {
		int r = pages ? place_find(c) : -ENOSPC;

		if (r == -ENOMEM)
			return r;
		if (r < 0 || c->step.page_size == 0) {
			c->step = (struct place_step){ 0 };
			place_say(c->p->why_nodes, sizeof(c->p->why_nodes), "its vCPUs are not placed");
			return 0;
		}
		nodes = c->found.nodes;
		searched = true;
	}
	c->page_nodes = place_memory_nodes(c, &nodes);
	c->p->nodes = nodes;
	place_guest_settle(c, searched);
	place_settle_step(c);
	c->p->nodes = IDSET_EMPTY;
	return 0;
}

/* Of the domain's own nodes, shared or not. */
static struct idset sharable_near(const struct place_ctx *c)
{
	struct idset on = host_node_cpus(c->h, &c->p->nodes), sharable = place_sharable(c), inside, left;

	idset_and(&on, &sharable);
	inside = on;
	idset_and(&inside, &c->cpus);
	left = inside;
	idset_andnot(&left, &c->p->claimed);
	/* A list of CPUs that is just enough for the vCPUs is not meant for the others. */
	return idset_is_empty(&left) ? on : inside;
}

/*
 * Threads that share go with the vCPUs, if these float together; else over the shared CPUs of the domain's nodes, and
 * over the reserved ones if those are none. The floater's number, or -ENOMEM.
 */
static int beside(struct place_ctx *c)
{
	struct idset home, limit;
	int together = -1;

	for (unsigned int i = 0; i < c->q->n_vcpus; i++) {
		if (c->vcpu_floater[i] >= 0 && together >= 0 && c->vcpu_floater[i] != together)
			together = -2;
		else if (c->vcpu_floater[i] >= 0 && together == -1)
			together = c->vcpu_floater[i];
	}
	if (together >= 0)
		return together;
	home = sharable_near(c);
	limit = c->q->reserved;
	idset_and(&limit, &c->h->online);
	idset_or(&limit, &home);
	return place_add_floater(c, &home, &limit, 0);
}

/* In words, once it is settled. */
static const char *say_beside(const struct place_ctx *c, int number)
{
	const struct place_floater *f = &c->p->floaters[number];
	struct idset near = host_node_cpus(c->h, &c->p->nodes), own = c->p->claimed;

	for (unsigned int i = 0; i < c->q->n_vcpus; i++)
		if (c->vcpu_floater[i] < 0)
			idset_or(&own, &c->p->vcpus[i].cpus);
	if (f->vcpus > 0)
		return "with the vCPUs";
	if (idset_is_subset(&f->now, &c->q->reserved))
		return "reserved CPUs, no shared one is on its nodes";
	if (idset_is_subset(&f->now, &own))
		return "the vCPUs' own CPUs, no other is left";
	return idset_intersects(&f->now, &near) ? "shared CPUs near the vCPUs" : "shared CPUs of other nodes";
}

/* The owner's list, less what others hold and what is the vCPUs' own; empty: share. */
static struct idset listed(struct place_ctx *c, const struct idset *list, const char *whose)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	struct idset ret = *list, gone = *list, rest;

	idset_and(&ret, &c->h->online);
	idset_andnot(&ret, &c->held);
	idset_andnot(&ret, &c->h->exclusive);
	rest = ret;
	idset_andnot(&rest, &c->p->claimed);
	if (!idset_is_empty(&rest))
		ret = rest;
	idset_andnot(&gone, &ret);
	if (idset_is_empty(&gone))
		return ret;
	sbuf_add(&b, "CPUs ");
	place_add_list(&b, &gone);
	sbuf_addf(&b, " asked for the %s are offline, held, or the vCPUs' own", whose);
	place_add_holders(&b, c, &gone);
	if (idset_is_empty(&ret)) {
		sbuf_add(&b, ": a list with other CPUs, or share");
		place_unmet(c, &b);
		return ret;
	}
	sbuf_add(&b, ", left out");
	place_note(c, &b);
	return ret;
}

/* CPUs of threads that have their own: *ret, and why; empty: they share. */
static struct idset own_cpus(struct place_ctx *c, enum place_where where, const struct idset *list, const char *whose,
			     const char **ret_why)
{
	struct idset ret = IDSET_EMPTY;

	*ret_why = "as asked";
	if (where == PLACE_WHERE_LIST)
		return listed(c, list, whose);
	if (where == PLACE_WHERE_ISOLATE && c->extra_cpu >= 0) {
		idset_add(&ret, (unsigned int)c->extra_cpu);
		*ret_why = "a CPU of their own";
	}
	return ret;
}

static int by_id(const void *pa, const void *pb)
{
	const struct place_thread *a = pa, *b = pb;

	return a->id < b->id ? -1 : a->id > b->id;
}

static int place_emulator(struct place_ctx *c)
{
	const struct place_request *q = c->q;
	struct placement *p = c->p;
	const char *why = "pinned by the definition";

	if (idset_is_empty(&q->emulatorpin)) {
		p->emulator = own_cpus(c, q->emulator_where, &q->emulator_list, "emulator", &why);
		if (idset_is_empty(&p->emulator))
			c->emulator_floater = beside(c);
	}
	place_say(p->why_emulator, sizeof(p->why_emulator), "%s", why);
	return c->emulator_floater == -ENOMEM ? -ENOMEM : 0;
}

static int place_iothreads(struct place_ctx *c)
{
	const struct place_request *q = c->q;
	struct placement *p = c->p;
	struct idset cpus;
	const char *why;

	if (q->n_iothreads == 0)
		return 0;
	cpus = own_cpus(c, q->iothreads_where, &q->iothreads_list, "I/O threads", &why);
	if (idset_is_empty(&cpus))
		c->iothreads_floater = beside(c);
	place_say(p->why_iothreads, sizeof(p->why_iothreads), "%s", why);
	for (unsigned int i = 0; i < p->n_iothreads; i++)
		p->iothreads[i].cpus = cpus;
	return c->iothreads_floater == -ENOMEM ? -ENOMEM : 0;
}

static int place_others(struct place_ctx *c)
{
	const struct place_request *q = c->q;
	struct placement *p = c->p;

	for (unsigned int i = 0; i < q->n_iothreads; i++)
		p->iothreads[i].id = q->iothreads[i];
	qsort(p->iothreads, p->n_iothreads, sizeof(p->iothreads[0]), by_id);
	if (p->policy == PLACE_NONE)
		return 0;
	if (place_emulator(c) || place_iothreads(c))
		return -ENOMEM;
	place_settle_floaters(c);
	if (c->emulator_floater >= 0)
		place_say(p->why_emulator, sizeof(p->why_emulator), "%s", say_beside(c, c->emulator_floater));
	if (c->iothreads_floater >= 0)
		place_say(p->why_iothreads, sizeof(p->why_iothreads), "%s", say_beside(c, c->iothreads_floater));
	for (unsigned int i = 0; i < q->n_iothreadpins; i++)
		for (unsigned int j = 0; j < p->n_iothreads; j++)
			if (p->iothreads[j].id == q->iothreadpins[i].id)
				p->iothreads[j].cpus = IDSET_EMPTY;
	return 0;
}

static void add_lists(struct place_ctx *c)
{
	if (c->q->emulator_where == PLACE_WHERE_LIST && idset_is_empty(&c->q->emulatorpin))
		idset_or(&c->avoid, &c->q->emulator_list);
	if (c->q->iothreads_where == PLACE_WHERE_LIST && c->q->n_iothreads > 0)
		idset_or(&c->avoid, &c->q->iothreads_list);
}

static int place_vcpus(struct place_ctx *c)
{
	int r;

	switch (c->q->policy) {
	case PLACE_DEDICATED:
	case PLACE_ISOLATED:
		r = place_dedicated(c);
		return r == -ENOSPC ? place_floating(c) : r;
	case PLACE_SHARED:
		return place_floating(c);
	case PLACE_NONE:
	default:
		return place_nothing(c);
	}
}

static int run(struct place_ctx *c)
{
	const struct place_request *q = c->q;
	struct placement *p = c->p;
	int r;

	if (ctx_alloc(c))
		return -ENOMEM;
	p->vcpus = calloc(q->n_vcpus + 1u, sizeof(*p->vcpus));
	p->iothreads = calloc(q->n_iothreads + 1u, sizeof(*p->iothreads));
	if (!p->vcpus || !p->iothreads)
		return -ENOMEM;
	p->n_vcpus = q->n_vcpus;
	p->n_iothreads = q->n_iothreads;

	c->held = place_claimed(c->l, c->self);
	c->extra = (q->emulator_where == PLACE_WHERE_ISOLATE && idset_is_empty(&q->emulatorpin)) ||
		   (q->iothreads_where == PLACE_WHERE_ISOLATE && q->n_iothreads > q->n_iothreadpins);
	place_guest_init(c);
	restrict_cpus(c);
	take_pins(c);
	add_lists(c);
	place_memory_nodes_init(c);
	if (place_memory_init(c))
		return -ENOMEM;
	for (unsigned int i = 0; i < q->n_vcpus; i++)
		c->need += place_vcpu_is_online(c, i) && !place_vcpu_is_pinned(c, i);

	r = place_vcpus(c);
	if (r == 0)
		r = place_memory(c);
	if (r == 0)
		r = place_others(c);
	if (r < 0)
		return r;
	place_guest_notes(c);
	if (p->policy == PLACE_NONE) {
		p->n_vcpus = 0;
		p->n_iothreads = 0;
	}
	return p->unmet.failed || p->notes.failed ? -ENOMEM : 0;
}

int place(const struct host *h, const struct place_request *q, const struct ledger *occupied, const char *self,
	  struct placement *ret)
{
	_cleanup_(ctx_freep) struct place_ctx *c = calloc(1, sizeof(*c));
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!c)
		return -ENOMEM;
	c->h = h;
	c->q = q;
	c->l = occupied;
	c->self = self;
	c->p = ret;
	r = run(c);
	if (r < 0)
		placement_fini(ret);
	return r;
}

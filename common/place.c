/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Placement of one domain among those that live.
 *
 * Order: what the owner pinned is taken as it is; then the vCPUs that are left, as dedicated or as floating ones
 * (place_node.c chooses nodes, place_cpu.c CPUs); then memory and pages on those nodes (place_mem.c); then the
 * emulator and the I/O threads beside them. A dedicated demand that cannot be met becomes an `unmet` sentence and a
 * floating placement of the whole domain.
 *
 * Guarantees, whatever the input: no CPU that another claim holds is given to anybody by choice (an explicit pin
 * or the lack of any other CPU are the exceptions, both with a message); reserved CPUs run no vCPU unless there is
 * nothing else; the claims of this placement are disjoint from those of others but for explicit pins.
 */
#include "place_priv.h"

static void ctx_fini(struct place_ctx *c)
{
	free(c->pins);
	free(c->nodes);
	free(c->cores);
	free(c->order);
	free(c->kinds);
	free(c->loads);
	free(c->crowds);
	free(c->out);
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
	size_t vcpus = c->q->n_vcpus + 1u; /* never 0: calloc() may then return NULL */
	size_t floats = 0;

	if (c->q->n_pins > 0)
		c->pins = calloc(vcpus, sizeof(*c->pins)); /* 1 KiB each */
	c->out = calloc(vcpus, sizeof(*c->out));
	c->nodes = calloc(h->n_nodes + 1u, sizeof(*c->nodes));
	c->cores = calloc(h->n_cores + 1u, sizeof(*c->cores));
	c->order = calloc(h->n_cores + 1u, sizeof(*c->order));
	c->kinds = calloc(h->n_kinds + 1u, sizeof(*c->kinds));
	c->loads = calloc(h->n_cpus + 1u, sizeof(*c->loads));
	for (unsigned int i = 0; i < c->l->n_claims; i++)
		floats += c->l->claims[i].n_floats;
	c->crowds = calloc(floats + 1, sizeof(*c->crowds));
	if ((c->q->n_pins > 0 && !c->pins) || !c->out || !c->nodes || !c->cores || !c->order || !c->kinds ||
	    !c->loads || !c->crowds)
		return -ENOMEM;
	for (unsigned int i = 0; i < h->n_cpus; i++)
		if (h->cpus[i].kind >= 0 && (unsigned int)h->cpus[i].kind < h->n_kinds)
			idset_add(&c->kinds[h->cpus[i].kind], (unsigned int)h->cpus[i].id);
	return 0;
}

/* Recompute what may be given; to be called after held, pinned, avoid or cpus changed. */
void place_refresh(struct place_ctx *c)
{
	c->blocked = c->held;
	idset_or(&c->blocked, &c->q->reserved);
	idset_or(&c->blocked, &c->pinned);
	idset_or(&c->blocked, &c->avoid);
	c->free = c->h->online;
	idset_andnot(&c->free, &c->blocked);
	memset(c->cores, 0, c->h->n_cores * sizeof(c->cores[0]));
	place_cores_init(c);
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

/* The nodes are settled: which step does the memory meet there. */
void place_settle_step(struct place_ctx *c)
{
	struct place_step steps[PLACE_STEPS_MAX];
	struct idset nodes = place_memory_nodes(c, &c->p->nodes);
	unsigned int n = place_steps(c, steps);
	uint64_t slack;

	c->step = (struct place_step){ 0 };
	for (unsigned int i = 0; i < n; i++)
		if (place_memory_fits(c, &steps[i], &nodes, &slack)) {
			c->step = steps[i];
			return;
		}
}

/* No shared CPU is left for this domain: where else can it run. Empty: nowhere. */
static struct idset last_resort(struct place_ctx *c)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	struct idset ret = c->pinned;

	if (!idset_is_empty(&ret))
		return ret;
	ret = c->q->reserved;
	idset_and(&ret, &c->h->online);
	idset_andnot(&ret, &c->held);
	if (idset_is_empty(&ret)) {
		sbuf_add(&b, "shared CPUs asked, none is left and none is reserved");
		place_add_holders(&b, c, &c->h->online);
		sbuf_add(&b, ": reserve CPUs in the policy, or a lower max-dedicated-cpus");
		place_unmet(c, &b);
		return ret;
	}
	sbuf_add(&b, "shared CPUs asked, none is left and the vCPUs are on the reserved ones");
	place_add_holders(&b, c, &c->h->online);
	sbuf_add(&b, ": fewer dedicated CPUs, a lower max-dedicated-cpus");
	place_unmet(c, &b);
	return ret;
}

static void note_crowd(struct place_ctx *c, const struct idset *floating)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	unsigned int n = idset_count(floating);
	uint64_t load = place_load(c, floating) + (n > 0 ? (uint64_t)c->need * 1000 / n : 0);

	if (c->q->max_vcpus_per_cpu == 0 || c->need == 0 || load <= c->q->max_vcpus_per_cpu * 1000)
		return;
	sbuf_addf(&b, "%" PRIu64 ".%" PRIu64 " vCPUs per CPU on CPUs ", load / 1000, load % 1000 / 100);
	place_add_list(&b, floating);
	sbuf_addf(&b, ", over the policy's max-vcpus-per-cpu %" PRIu64, c->q->max_vcpus_per_cpu);
	place_note(c, &b);
}

static struct idset guest_nodes(const struct host *h)
{
	struct idset ret = IDSET_EMPTY;

	for (unsigned int i = 0; i < h->n_nodes; i++)
		if (h->nodes[i].holds_guests)
			idset_add(&ret, (unsigned int)h->nodes[i].id);
	return ret;
}

/* The CPUs of the least loaded nodes that hold the domain, else all there are; *ret_nodes. */
static struct idset find_floating(struct place_ctx *c, struct idset *ret_nodes)
{
	struct place_step steps[PLACE_STEPS_MAX];
	struct idset base = c->free;
	struct placement *p = c->p;
	_cleanup_sbuf_ struct sbuf b = { 0 };
	int kind;

	idset_and(&base, &c->cpus);
	if (idset_is_empty(&base) && !idset_is_empty(&c->free)) {
		sbuf_add(&b, "CPUs ");
		place_add_list(&b, &c->cpus);
		sbuf_add(&b, " asked, none of them is shared");
		place_add_holders(&b, c, &c->cpus);
		sbuf_add(&b, ": a list with other CPUs");
		place_unmet(c, &b);
		c->cpus = c->h->online;
		place_refresh(c);
		base = c->free;
	}
	if (idset_is_empty(&base)) {
		base = last_resort(c);
		*ret_nodes = place_nodes_of(c->h, &base);
		place_say(p->why_cpus, sizeof(p->why_cpus), "no shared CPU is left");
		return base;
	}
	if (place_nodes_find(c, steps, place_steps(c, steps), ret_nodes, &kind) == 0) {
		struct idset on = host_node_cpus(c->h, ret_nodes);

		idset_and(&base, &on);
		place_say(p->why_cpus, sizeof(p->why_cpus), "the shared CPUs of its nodes");
		place_say(p->why_nodes, sizeof(p->why_nodes),
			  idset_count(ret_nodes) > 1 ? "the fewest nodes that hold its CPUs and memory"
						     : "the least loaded node that holds it");
		return base;
	}
	*ret_nodes = place_nodes_of(c->h, &base);
	if (idset_is_empty(ret_nodes)) /* CPUs of unknown node */
		*ret_nodes = guest_nodes(c->h);
	place_say(p->why_cpus, sizeof(p->why_cpus), "all shared CPUs");
	place_say(p->why_nodes, sizeof(p->why_nodes), "no fewer nodes hold its CPUs and memory");
	return base;
}

static int place_floating(struct place_ctx *c)
{
	struct idset nodes = IDSET_EMPTY, floating, pins = place_all_pins(c),
		     pinned_nodes = place_nodes_of(c->h, &pins);

	c->dedicated = false;
	c->avoid = IDSET_EMPTY;
	place_refresh(c);
	floating = find_floating(c, &nodes);
	c->p->claimed = c->pinned;
	if (idset_is_empty(&floating)) {
		c->p->policy = PLACE_NONE;
		return 0;
	}
	if (c->extra) {
		struct idset rest = floating;

		c->extra_cpu = place_claim_extra(c, &floating, &c->p->claimed);
		idset_andnot(&rest, &c->p->claimed);
		if (!idset_is_empty(&rest))
			floating = rest;
	}
	c->p->policy = PLACE_SHARED;
	c->p->nodes = nodes;
	if (c->need == 0)
		c->p->nodes = pinned_nodes;
	else
		idset_or(&c->p->nodes, &pinned_nodes);
	for (unsigned int i = 0; i < c->q->n_vcpus; i++)
		if (place_vcpu_is_pinned(c, i))
			c->p->vcpus[i].cpus = c->pins[i];
		else if (place_vcpu_is_online(c, i))
			c->p->vcpus[i].cpus = floating;
	c->floating = floating;
	note_crowd(c, &floating);
	place_settle_step(c);
	return 0;
}

/* vCPUs stay where libvirt puts them; memory goes where the owner says, or where the wanted pages are. */
static int place_nothing(struct place_ctx *c)
{
	struct idset pins = place_all_pins(c), nodes = place_nodes_of(c->h, &pins);
	struct place_step steps[PLACE_STEPS_MAX];
	bool pages = c->q->n_backing > 0 || c->q->pages == PLACE_PAGES_HUGE || c->q->pages == PLACE_PAGES_AUTO;
	int kind;

	c->p->policy = PLACE_NONE;
	c->p->claimed = c->pinned;
	c->dedicated = false;
	c->need = 0;
	place_refresh(c);
	if (idset_is_empty(&nodes) && idset_is_empty(&c->memory_nodes)) {
		if (!pages || place_nodes_find(c, steps, place_steps(c, steps), &nodes, &kind) || !c->step.page_size) {
			c->step = (struct place_step){ 0 };
			place_say(c->p->why_nodes, sizeof(c->p->why_nodes), "its vCPUs are not placed");
			return 0;
		}
	}
	c->page_nodes = place_memory_nodes(c, &nodes);
	c->p->nodes = nodes;
	place_settle_step(c);
	c->p->nodes = IDSET_EMPTY;
	return 0;
}

/*
 * Shared CPUs of the domain's nodes, of the given ones if it may be; else reserved ones, else any shared ones, else
 * those of its own vCPUs.
 */
static struct idset beside(struct place_ctx *c, const char **ret_why)
{
	static const char *const whys[] = {
		"shared CPUs near the vCPUs",
		"shared CPUs near the vCPUs",
		"reserved CPUs, no shared one is on its nodes",
		"shared CPUs of other nodes",
		"the vCPUs' own CPUs, no other is left",
	};
	struct idset claimed = c->held, shared, on = host_node_cpus(c->h, &c->p->nodes), own = IDSET_EMPTY;
	struct idset reserved = c->q->reserved, choices[5];

	*ret_why = whys[0];
	if (!idset_is_empty(&c->floating))
		return c->floating;
	idset_or(&claimed, &c->p->claimed);
	idset_and(&reserved, &c->h->online);
	idset_andnot(&reserved, &c->held);
	shared = place_shared(c->h, &c->q->reserved, &claimed);
	for (unsigned int i = 0; i < c->q->n_vcpus; i++)
		idset_or(&own, &c->p->vcpus[i].cpus);
	choices[1] = choices[3] = shared;
	idset_and(&choices[1], &on);
	choices[0] = choices[1];
	idset_and(&choices[0], &c->cpus);
	choices[2] = reserved;
	choices[4] = own;
	for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
		*ret_why = whys[i];
		if (!idset_is_empty(&choices[i]))
			return choices[i];
	}
	return own;
}

/* The owner's list, less what others hold and what is the vCPUs' own. */
static struct idset listed(struct place_ctx *c, const struct idset *list, const char *whose, const char **ret_why)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	struct idset ret = *list, gone = *list, rest;

	idset_and(&ret, &c->h->online);
	idset_andnot(&ret, &c->held);
	rest = ret;
	idset_andnot(&rest, &c->p->claimed);
	if (!idset_is_empty(&rest))
		ret = rest;
	idset_andnot(&gone, &ret);
	*ret_why = "as asked";
	if (idset_is_empty(&gone))
		return ret;
	sbuf_add(&b, "CPUs ");
	place_add_list(&b, &gone);
	sbuf_addf(&b, " asked for the %s are offline, held, or the vCPUs' own", whose);
	place_add_holders(&b, c, &gone);
	if (idset_is_empty(&ret)) {
		sbuf_add(&b, ": a list with other CPUs, or share");
		place_unmet(c, &b);
		return beside(c, ret_why);
	}
	sbuf_add(&b, ", left out");
	place_note(c, &b);
	return ret;
}

static struct idset resolve(struct place_ctx *c, enum place_where where, const struct idset *list, const char *whose,
			    const char **ret_why)
{
	struct idset ret = IDSET_EMPTY;

	if (where == PLACE_WHERE_LIST)
		return listed(c, list, whose, ret_why);
	if (where == PLACE_WHERE_ISOLATE && c->extra_cpu >= 0) {
		idset_add(&ret, (unsigned int)c->extra_cpu);
		*ret_why = "a CPU of their own";
		return ret;
	}
	return beside(c, ret_why);
}

static int by_id(const void *pa, const void *pb)
{
	const struct place_thread *a = pa, *b = pb;

	return a->id < b->id ? -1 : a->id > b->id;
}

static void place_others(struct place_ctx *c)
{
	const struct place_request *q = c->q;
	struct placement *p = c->p;
	const char *why = "pinned by the definition";
	struct idset cpus;

	for (unsigned int i = 0; i < q->n_iothreads; i++)
		p->iothreads[i].id = q->iothreads[i];
	qsort(p->iothreads, p->n_iothreads, sizeof(p->iothreads[0]), by_id);
	if (p->policy == PLACE_NONE)
		return;
	if (idset_is_empty(&q->emulatorpin))
		p->emulator = resolve(c, q->emulator_where, &q->emulator_list, "emulator", &why);
	place_say(p->why_emulator, sizeof(p->why_emulator), "%s", why);
	if (q->n_iothreads == 0)
		return;
	cpus = resolve(c, q->iothreads_where, &q->iothreads_list, "I/O threads", &why);
	place_say(p->why_iothreads, sizeof(p->why_iothreads), "%s", why);
	for (unsigned int i = 0; i < p->n_iothreads; i++)
		p->iothreads[i].cpus = cpus;
	for (unsigned int i = 0; i < q->n_iothreadpins; i++)
		for (unsigned int j = 0; j < p->n_iothreads; j++)
			if (p->iothreads[j].id == q->iothreadpins[i].id)
				p->iothreads[j].cpus = IDSET_EMPTY;
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
	c->extra_cpu = -1;
	c->extra = (q->emulator_where == PLACE_WHERE_ISOLATE && idset_is_empty(&q->emulatorpin)) ||
		   (q->iothreads_where == PLACE_WHERE_ISOLATE && q->n_iothreads > q->n_iothreadpins);
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
	if (r < 0)
		return r;
	place_others(c);
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

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Classes of interfaces on their uplinks: rate, ceiling, burst, priority. What an uplink carries is the policy's word,
 * else the device's own speed. A twentieth of that is kept for everything that has no class (the host, other guests,
 * ARP); the rest can be promised. Whoever comes gets what is left of it, and the reason names who holds what. HTB has no
 * class without a rate, so an interface that only asks for a ceiling or a priority gets a small one. Where a bond or a
 * bridge has several uplinks it decides for each packet which of them carries it: the interface has the same class on
 * each, and what it is promised is what the tightest can give.
 *
 * Manners. A root that somebody has configured is joined if it is HTB, else left alone; the kernel's own choice is
 * replaced, but for mq, which only the policy can give up.
 *
 * Numbers of classes and marks are told apart from those of living claims, and kept when a running domain is decided
 * again.
 */
#include "plan_net_priv.h"

#include <inttypes.h>

#include "sbuf.h"

#define REST_DIVISOR  20    /* of the link, for all that has no class */
#define SMALL_DIVISOR 100   /* of the link, for a class that nobody asked a rate for */
#define RATE_LEAST    64000 /* bit/s: five full frames a second keep a connection alive, and a class needs some rate */
#define LINK_ASSUMED  UINT64_C(100000000000) /* bit/s, where the speed is not known: more than it will carry */
#define HOLDERS_SHOWN 3

static const enum knob_id class_knobs[] = {KNOB_NET_RATE, KNOB_NET_CEIL, KNOB_NET_BURST, KNOB_NET_PRIORITY};

/* One uplink of an interface. */
struct port {
	const struct netdev *dev;
	const struct plan_nic *nic;         /* NULL: not known */
	const struct policy_uplink *policy; /* NULL: it has no row */
	uint64_t link;                      /* bit/s */
	uint64_t left;                      /* of what can be promised; UINT64_MAX: nobody knows */
	bool known;                         /* link is not just assumed */
	bool joins;                         /* below a root that is there */
	bool gives_up;                      /* its mq root */
};

/* One interface that is to have a class. */
struct classing {
	struct maker *m;
	const struct domain_interface *itf;
	const struct netdev_interface *where;           /* NULL: not looked at */
	const struct value *v[ARRAY_SIZE(class_knobs)]; /* NULL: not asked for, or skipped already */
	struct port ports[NETDEV_MAX];
	unsigned int n_ports;
	char left_out[256]; /* an uplink that it gets no class on, and why; "" none */
	struct plan_link link;
	const char *rate_source;
	struct sbuf rate_why; /* what became of the rate that was asked for; empty: nothing */
};

enum { RATE, CEIL, BURST, PRIORITY }; /* as class_knobs[] */

/* ---- words ---- */

#define RATE_SIZE 32

/* "950 Mbit/s": in the largest unit that shows it exactly. */
static const char *rate_text(uint64_t rate, char buf[RATE_SIZE])
{
	static const struct {
		uint64_t unit;
		const char *prefix;
	} units[] = {{UINT64_C(1000000000), "G"}, {1000000, "M"}, {1000, "k"}, {1, ""}};
	size_t i = 0;

	while (rate % units[i].unit)
		i++;
	(void)snprintf(buf, RATE_SIZE, "%" PRIu64 " %sbit/s", rate / units[i].unit,
		       rate ? units[i].prefix : ""); /* fits */
	return buf;
}

/* ---- uplinks ---- */

static const struct policy_uplink *policy_of(const struct policy *p, const char *device)
{
	for (size_t i = 0; i < p->n_uplinks; i++)
		if (streq(p->uplinks[i].device, device))
			return &p->uplinks[i];
	return NULL;
}

/* Whose rates and numbers count: an observed domain holds nothing. */
static bool is_holder(const struct maker *m, const struct claim *c)
{
	return c->kind != CLAIM_OBSERVE && !streq(c->uuid, m->p->uuid);
}

static uint64_t held_by(const struct claim *c, const char *device)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < c->n_links; i++)
		if (streq(c->links[i].device, device) && __builtin_add_overflow(sum, c->links[i].rate, &sum))
			return UINT64_MAX;
	return sum;
}

/* By the interfaces of this domain that were decided before. */
static uint64_t held_by_itself(const struct maker *m, const char *device)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < m->p->n_links; i++)
		if (streq(m->p->links[i].uplink, device) && __builtin_add_overflow(sum, m->p->links[i].rate, &sum))
			return UINT64_MAX;
	return sum;
}

static uint64_t promised(uint64_t link)
{
	return link - link / REST_DIVISOR;
}

static uint64_t left_on(const struct maker *m, const char *device, uint64_t link)
{
	const struct ledger *l = m->in->ledger;
	uint64_t held = held_by_itself(m, device), all = promised(link);

	for (unsigned int i = 0; i < l->n_claims && held < all; i++)
		if (is_holder(m, &l->claims[i]) && __builtin_add_overflow(held, held_by(&l->claims[i], device), &held))
			return 0;
	return held < all ? all - held : 0;
}

/* What of the uplink's root is in the way. NULL: nothing. */
static const char *why_no_tree(struct port *p, char *buf, size_t size)
{
	const struct plan_nic *nic = p->nic;
	bool known = nic && *nic->root;
	bool is_mq = known ? nic->handle == 0 && streq(nic->root, "mq") : p->dev->n_txq > 1;

	p->joins = known && nic->handle && !nic->is_ours && streq(nic->root, "htb");
	if (known && nic->handle && !nic->is_ours && !p->joins) {
		(void)snprintf(buf, size, "the root of %s is %s %x:, which somebody else has configured: it stays",
			       p->dev->name, nic->root, nic->handle >> 16); /* fits */
		return buf;
	}
	p->gives_up = is_mq && p->policy && p->policy->replace_mq;
	if (!is_mq || p->gives_up)
		return NULL;
	(void)snprintf(buf, size,
		       "%s has %u transmit queues (mq), and classes would put them all behind one lock: <uplink "
		       "device='%s' replace-mq='yes'/> allows that",
		       p->dev->name, p->dev->n_txq, p->dev->name); /* fits */
	return buf;
}

/* The uplinks that can have a class; why holds the reason of the first one that cannot. */
static void find_ports(struct classing *c, char *why, size_t size)
{
	const struct plan_inputs *in = c->m->in;

	*why = '\0';
	for (unsigned int i = 0; i < c->where->n && i < NETDEV_MAX; i++) {
		unsigned int at = c->where->uplinks[i];
		struct port *p = &c->ports[c->n_ports];
		char buf[256];

		if (at >= in->nets->n_devices)
			continue;
		*p = (struct port){.dev = &in->nets->devices[at], .nic = in->nics ? &in->nics[at] : NULL};
		p->policy = policy_of(in->policy, p->dev->name);
		if (why_no_tree(p, buf, sizeof(buf))) {
			if (!*why)
				(void)snprintf(why, size, "%s", buf);
			continue;
		}
		p->link = p->policy && p->policy->rate ? p->policy->rate : p->dev->speed;
		p->known = p->link > 0;
		p->left = p->known ? left_on(c->m, p->dev->name, p->link) : UINT64_MAX;
		if (!p->known)
			p->link = LINK_ASSUMED;
		c->n_ports++;
	}
	(void)snprintf(c->left_out, sizeof(c->left_out), "%s", c->n_ports ? why : ""); /* cut where it is too long */
	if (!c->n_ports && !*why)
		(void)snprintf(why, size, "no uplink of it is known"); /* fits */
}

/* The port with the least of it. */
static const struct port *tightest(const struct classing *c)
{
	const struct port *p = &c->ports[0];

	for (unsigned int i = 1; i < c->n_ports; i++)
		if (c->ports[i].left < p->left)
			p = &c->ports[i];
	return p;
}

static uint64_t smallest_link(const struct classing *c)
{
	uint64_t link = UINT64_MAX;

	for (unsigned int i = 0; i < c->n_ports; i++)
		if (c->ports[i].link < link)
			link = c->ports[i].link;
	return link;
}

/* ---- numbers ---- */

/* Class and mark that this interface had there before; NULL: none. */
static const struct plan_link *link_before(const struct classing *c)
{
	const struct plan *was = c->m->in->was;

	for (unsigned int i = 0; was && i < was->n_links; i++)
		if (streq(was->links[i].mac, c->itf->mac) && streq(was->links[i].uplink, c->ports[0].dev->name))
			return &was->links[i];
	return NULL;
}

static bool has_port(const struct classing *c, const char *device)
{
	for (unsigned int i = 0; i < c->n_ports; i++)
		if (streq(c->ports[i].dev->name, device))
			return true;
	return false;
}

static void take_number(bool *taken, unsigned int number)
{
	if (number >= PLAN_CLASS_MIN && number <= PLAN_CLASS_MAX)
		taken[number - PLAN_CLASS_MIN] = true;
}

/* One that is free on all of its uplinks: a packet's priority names one class, whichever of them it leaves by. */
static unsigned int find_number(const struct classing *c)
{
	bool taken[PLAN_CLASS_MAX - PLAN_CLASS_MIN + 1] = {false};
	const struct plan_link *before = link_before(c);
	const struct ledger *l = c->m->in->ledger;

	for (unsigned int i = 0; i < l->n_claims; i++)
		for (unsigned int k = 0; is_holder(c->m, &l->claims[i]) && k < l->claims[i].n_links; k++)
			if (has_port(c, l->claims[i].links[k].device))
				take_number(taken, l->claims[i].links[k].number);
	for (unsigned int i = 0; i < c->m->p->n_links; i++)
		if (has_port(c, c->m->p->links[i].uplink))
			take_number(taken, c->m->p->links[i].number);
	if (before && !taken[before->number - PLAN_CLASS_MIN])
		return before->number;
	for (unsigned int i = 0; i < ARRAY_SIZE(taken); i++)
		if (!taken[i])
			return PLAN_CLASS_MIN + i;
	return 0;
}

static bool is_marked(const struct classing *c, uint32_t mark)
{
	const struct ledger *l = c->m->in->ledger;

	for (unsigned int i = 0; i < l->n_claims; i++)
		for (unsigned int k = 0; is_holder(c->m, &l->claims[i]) && k < l->claims[i].n_links; k++)
			if (l->claims[i].links[k].mark == mark)
				return true;
	for (unsigned int i = 0; i < c->m->p->n_links; i++)
		if (c->m->p->links[i].mark == mark)
			return true;
	return false;
}

/* The lowest value in the mask that is free, not 0: that is what unmarked packets have. 0: there is none. */
static uint32_t find_mark(const struct classing *c, uint32_t mask)
{
	const struct plan_link *before = link_before(c);

	if (before && before->mark && !(before->mark & ~mask) && !is_marked(c, before->mark))
		return before->mark;
	/* Counts through the values of the mask's bits: the carry skips those between. */
	for (uint32_t mark = (0 - mask) & mask; mark; mark = (mark - mask) & mask)
		if (!is_marked(c, mark))
			return mark;
	return 0;
}

/* Forwarding overwrites a packet's priority (seen): only a mark stays. False: none can be had, why says it. */
static bool settle_mark(struct classing *c, char *why, size_t size)
{
	uint32_t mask = c->ports[0].policy ? c->ports[0].policy->mark_mask : 0;
	const char *device = c->ports[0].dev->name;

	if (c->link.way != NETDEV_ROUTED)
		return true;
	for (unsigned int i = 1; i < c->n_ports; i++)
		if (!c->ports[i].policy || c->ports[i].policy->mark_mask != mask) {
			device = c->ports[i].dev->name;
			mask = 0;
		}
	c->link.mask = mask;
	c->link.mark = mask ? find_mark(c, mask) : 0;
	if (c->link.mark)
		return true;
	if (mask)
		(void)snprintf(why, size, "the mark-mask 0x%x of %s has no value left", mask, device); /* fits */
	else
		(void)snprintf(why, size,
			       "forwarded packets are told apart by a mark only, and the policy gives none%s: <uplink "
			       "device='%s' mark-mask='0xff00'/>",
			       c->n_ports > 1 ? " that all its uplinks share" : "", device); /* fits */
	return false;
}

/* ---- rates ---- */

/* "db1 holds 600 Mbit/s, web2 300 Mbit/s" */
static void say_holders(const struct maker *m, const char *device, struct sbuf *b)
{
	const struct ledger *l = m->in->ledger;
	uint64_t own = held_by_itself(m, device);
	unsigned int n = 0, more = 0;
	char shown[KNOB_SHOW_SIZE], rate[RATE_SIZE];

	for (unsigned int i = 0; i < l->n_claims; i++) {
		uint64_t held = is_holder(m, &l->claims[i]) ? held_by(&l->claims[i], device) : 0;

		if (held == 0)
			continue;
		if (n == HOLDERS_SHOWN) {
			more++;
			continue;
		}
		sbuf_addf(b, "%s%s%s %s", n ? ", " : "", knob_show(l->claims[i].name, shown), n ? "" : " holds",
			  rate_text(held, rate));
		n++;
	}
	if (more)
		sbuf_addf(b, ", %u other domains the rest", more);
	if (own)
		sbuf_addf(b, "%sits own interfaces before this one %s", n ? ", " : "", rate_text(own, rate));
	else if (n == 0)
		sbuf_add(b, "nobody holds any");
}

/* A class that nobody asked a rate for: a small part, of what is left if that is less, but never nothing. */
static uint64_t small_rate(const struct classing *c)
{
	uint64_t rate = smallest_link(c) / SMALL_DIVISOR, left = tightest(c)->left;

	if (rate > left)
		rate = left;
	return rate > RATE_LEAST ? rate : RATE_LEAST;
}

/* What is asked and cannot be promised, with who has it, in c->rate_why. */
static void say_short(struct classing *c, const struct port *p, uint64_t asked)
{
	char all[RATE_SIZE], wanted[RATE_SIZE], left[RATE_SIZE];
	struct msgs *to = &c->m->impossible;
	_cleanup_sbuf_ struct sbuf who = {0};

	say_holders(c->m, p->dev->name, &who);
	sbuf_addf(&c->rate_why, "%s asked: of the %s that %s can promise %s", rate_text(asked, wanted),
		  rate_text(promised(p->link), all), p->dev->name, who.s ? who.s : "");
	msgs_warn(to,
		  "interface.rate %s asked for %s, but of the %s that %s can promise %s are left (%s): a lower rate, "
		  "or <uplink device='%s' rate=> if it carries more",
		  wanted, c->itf->mac, all, p->dev->name, p->left ? rate_text(p->left, left) : "none",
		  who.s ? who.s : "", p->dev->name);
	c->m->failed |= who.failed;
}

/* False: there is nothing left, and nothing else that a class would be for. */
static bool settle_rate(struct classing *c)
{
	const struct port *p = tightest(c);
	uint64_t asked = c->v[RATE] ? c->v[RATE]->num : 0;
	char small[RATE_SIZE];

	if (!asked) {
		c->link.rate = small_rate(c);
		c->rate_source = "default";
		sbuf_addf(&c->rate_why,
			  "no rate was asked for, and a class needs one: %s, 1 %% of the link or what is left",
			  rate_text(c->link.rate, small));
		return true;
	}
	c->rate_source = c->v[RATE]->source ? c->v[RATE]->source : "default";
	/* Of an uplink whose speed is not known it is a class's rate, whether it can be had or not. */
	if (asked <= p->left) {
		c->link.rate = asked;
		return true;
	}
	say_short(c, p, asked);
	c->link.rate = p->left;
	c->rate_source = "limit";
	if (p->left >= RATE_LEAST)
		return true;
	if (!c->v[CEIL] && !c->v[PRIORITY] && !c->v[BURST])
		return false;
	c->link.rate = RATE_LEAST;
	return true;
}

static void put(struct classing *c, unsigned int k, uint64_t value, const char *source, const char *why)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRIu64, value); /* fits */
	c->m->failed |= plan_add_setting(c->m->p, knob_table[class_knobs[k]].name, c->itf->mac, STAGE_STARTED, text,
					 source, why) < 0;
}

/* "eth0", "each of eth0, eth1" */
static void say_ports(const struct classing *c, struct sbuf *b)
{
	if (c->n_ports > 1)
		sbuf_add(b, "each of ");
	for (unsigned int i = 0; i < c->n_ports; i++)
		sbuf_addf(b, "%s%s", i ? ", " : "", c->ports[i].dev->name);
}

static void say_class(struct classing *c, struct sbuf *b)
{
	char link[RATE_SIZE], rest[RATE_SIZE];

	sbuf_add(b, "guaranteed on ");
	say_ports(c, b);
	sbuf_addf(b, "%s: class %x", c->n_ports > 1 ? " (bond or bridge decides which of them a packet takes)" : "",
		  c->link.number);
	for (unsigned int i = 0; i < c->n_ports; i++) {
		const struct port *p = &c->ports[i];

		if (p->joins)
			sbuf_addf(b, " below the HTB root %x: that %s has", p->nic->handle >> 16, p->dev->name);
		else
			sbuf_addf(b, "%s of %s (%s), %s of them for all other traffic", i ? "," : "",
				  rate_text(p->link, link),
				  !p->known                      ? "assumed"
				  : p->policy && p->policy->rate ? "the policy"
								 : "its speed",
				  rate_text(p->link / REST_DIVISOR, rest));
		if (p->gives_up)
			sbuf_addf(b, ", its mq root is replaced: %u transmit queues behind one lock", p->dev->n_txq);
	}
	if (c->link.mark)
		sbuf_addf(b, ", by mark 0x%x/0x%x", c->link.mark, c->link.mask);
	if (c->rate_why.len)
		sbuf_addf(b, "; %s", c->rate_why.s);
	if (*c->left_out)
		sbuf_addf(b, "; not everywhere: %s", c->left_out);
}

static void settle_ceil(struct classing *c)
{
	const struct value *ceil = c->v[CEIL], *rate = c->v[RATE];
	uint64_t link = smallest_link(c);
	_cleanup_sbuf_ struct sbuf why = {0};
	const char *source;
	char a[RATE_SIZE], b[RATE_SIZE];

	c->link.ceil = link > c->link.rate ? link : c->link.rate;
	if (!ceil)
		return;
	source = plan_net_source(ceil);
	c->link.ceil = ceil->num;
	if (rate && ceil->num < rate->num) {
		msgs_warn(&c->m->p->warnings, "interface.ceil %s of %s is less than its rate: it is raised to %s",
			  rate_text(ceil->num, a), c->itf->mac, rate_text(rate->num, b));
		c->link.ceil = rate->num;
		source = "limit";
	}
	if (c->link.ceil > link) {
		sbuf_addf(&why, "%s asked, but %s carries no more; ", rate_text(c->link.ceil, a),
			  c->ports[0].dev->name);
		c->link.ceil = link;
		source = "limit";
	}
	if (c->link.ceil < c->link.rate)
		c->link.ceil = c->link.rate;
	sbuf_add(&why, "at most this on ");
	say_ports(c, &why);
	if (c->itf->has & INTERFACE_HAS_INBOUND)
		sbuf_add(&why, "; what comes towards the guest is limited by <inbound>");
	else if (c->link.way == NETDEV_DIRECT)
		sbuf_add(&why, "; not towards the guest: a macvtap has no queue there");
	else
		sbuf_add(&why, ", and towards the guest on its tap");
	if (!(c->itf->has & INTERFACE_HAS_INBOUND) && c->link.way != NETDEV_DIRECT)
		c->link.limit = c->link.ceil;
	c->m->failed |= why.failed;
	if (!why.failed)
		put(c, CEIL, c->link.ceil, source, why.s);
}

static void settle_rest(struct classing *c)
{
	c->link.burst = c->v[BURST] ? c->v[BURST]->num : 0;
	c->link.priority = c->v[PRIORITY] ? (unsigned int)c->v[PRIORITY]->num : PLAN_PRIORITY_DEFAULT;
	if (c->v[BURST])
		put(c, BURST, c->link.burst, plan_net_source(c->v[BURST]), "bytes that its class may send at once");
	if (c->v[PRIORITY])
		put(c, PRIORITY, c->link.priority, plan_net_source(c->v[PRIORITY]),
		    "who is first offered what nobody's guarantee needs: 0 before 7, 3 is everybody else's");
}

static void add_links(struct classing *c)
{
	for (unsigned int i = 0; i < c->n_ports; i++) {
		const struct port *p = &c->ports[i];
		struct plan_uplink *u = plan_add_uplink(c->m->p, p->dev->name, p->dev->ifindex);

		if (!u) {
			c->m->failed = true;
			return;
		}
		if (!p->known && u->link == 0)
			msgs_warn(&c->m->p->warnings,
				  "how much %s carries is not known, so that guarantees on it cannot be shared out: "
				  "<uplink device='%s' rate='10gbit'/> in the policy says it",
				  p->dev->name, p->dev->name);
		u->link = p->link;
		u->rest = p->link / REST_DIVISOR;
		u->mtu = p->dev->mtu;
		memcpy(c->link.uplink, p->dev->name, sizeof(c->link.uplink));
		c->m->failed |= plan_add_link(c->m->p, &c->link) < 0;
	}
}

/* ---- one interface ---- */

static void skip_class(struct classing *c, const char *target, const char *why)
{
	for (unsigned int k = 0; k < ARRAY_SIZE(class_knobs); k++)
		if (c->v[k])
			plan_skip(c->m, class_knobs[k], target, why);
}

/* <outbound> polices what the guest sends: rate, ceiling and burst are the owner's then. */
static void take_wishes(struct classing *c, const char *target)
{
	for (unsigned int k = 0; k < ARRAY_SIZE(class_knobs); k++) {
		c->v[k] = plan_interface_value(c->m->in->intent, class_knobs[k], c->itf);
		if (!c->v[k] || k == PRIORITY || !(c->itf->has & INTERFACE_HAS_OUTBOUND))
			continue;
		plan_skip(c->m, class_knobs[k], target, "the definition has <bandwidth><outbound>");
		c->v[k] = NULL;
	}
}

/* Why it gets no class at all, whatever is asked for. NULL: it may. */
static const char *why_no_class(const struct classing *c, char *buf, size_t size)
{
	const char *why = plan_net_why_not_ours(c->m, c->itf, buf, size);

	if (why)
		return why;
	if (c->itf->has & INTERFACE_IS_OVS)
		return "it is a port of Open vSwitch, which shapes its ports itself";
	if (!c->where)
		return "the host's network devices were not looked at";
	if (c->where->way != NETDEV_NONE)
		return NULL;
	return *c->where->why ? c->where->why : "no uplink of it is known";
}

/*
 * Without a mark there is no class, but what comes towards the guest passes its tap, marked or not. That part of a
 * ceiling is a link without uplink, number and rate: nothing is held of what others share.
 */
static void settle_tap_alone(struct classing *c, const char *target, const char *no_class)
{
	_cleanup_sbuf_ struct sbuf why = {0};
	const struct value *ceil = c->itf->has & INTERFACE_HAS_INBOUND ? NULL : c->v[CEIL];

	if (ceil)
		c->v[CEIL] = NULL;
	skip_class(c, target, no_class);
	if (!ceil)
		return;
	c->link.number = 0;
	c->link.mask = c->link.mark = 0;
	c->link.limit = ceil->num;
	sbuf_addf(&why, "at most this towards the guest, on its tap; not on its uplink: %s", no_class);
	c->m->failed |= why.failed || plan_add_link(c->m->p, &c->link) < 0;
	if (!why.failed)
		put(c, CEIL, c->link.limit, plan_net_source(ceil), why.s);
}

static void settle_class(struct classing *c, const char *target)
{
	_cleanup_sbuf_ struct sbuf why = {0};
	char buf[256];
	const char *no;
	size_t at;

	take_wishes(c, target);
	if (!c->v[RATE] && !c->v[CEIL] && !c->v[BURST] && !c->v[PRIORITY])
		return;
	no = why_no_class(c, buf, sizeof(buf));
	if (!no) {
		find_ports(c, buf, sizeof(buf));
		no = c->n_ports ? NULL : buf;
	}
	if (no) {
		skip_class(c, target, no);
		return;
	}
	c->link.way = c->where->way;
	memcpy(c->link.mac, c->itf->mac, sizeof(c->link.mac));
	c->link.number = find_number(c);
	if (c->link.number == 0 || c->m->p->n_links + c->n_ports > CLAIM_LINKS_MAX) {
		skip_class(c, target, "no number is left for another class");
		return;
	}
	if (!settle_mark(c, buf, sizeof(buf))) {
		settle_tap_alone(c, target, buf);
		return;
	}
	if (!settle_rate(c)) {
		skip_class(c, target, c->rate_why.s ? c->rate_why.s : "");
		return;
	}
	say_class(c, &why);
	c->m->failed |= why.failed;
	at = c->m->p->n_settings;
	put(c, RATE, c->link.rate, c->rate_source, why.s ? why.s : "");
	if (streq(c->rate_source, "limit") && c->m->p->n_settings > at)
		msgs_warn(&c->m->p->warnings, "interface.rate of %s is scaled down: %s", c->itf->mac, c->rate_why.s);
	settle_ceil(c);
	settle_rest(c);
	add_links(c);
}

void plan_net_class(struct maker *m, const struct domain_interface *itf, const struct netdev_interface *where,
		    const char *target)
{
	struct classing c = {.m = m, .itf = itf, .where = where};

	settle_class(&c, target);
	m->failed |= c.rate_why.failed;
	sbuf_fini(&c.rate_why);
}

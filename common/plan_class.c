/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Classes of service: from cpu.cache and memory.bandwidth to ways of L3 caches and a limit of bandwidth (resctrl.h). Pure.
 *
 * Ways are given to domains with CPUs of their own, in the caches of these CPUs: a guest that floats would take ways of
 * every cache that it may come to. They are nobody else's: not of another class, which is known from claims and from
 * the groups that are there, not of the default group, which gives them up, and not those that devices write to as
 * well. A mask has no gaps, so what the default group keeps is the longest run that is left of what it had
 * (FOLD_RUN); the choice is what leaves it most. Whoever comes gets what is left, and the reason says who holds what.
 *
 * Groups of others that have all ways, as the kernel makes them, go on using all: they are named.
 *
 * Bandwidth is a throttle, not a promise: nobody has less of it for that, and any guest may ask.
 */
#include "plan_priv.h"

#include <inttypes.h>

#include "resctrl.h"
#include "sbuf.h"

#define HOST_WAYS     2 /* with one way each line that is fetched drives out the last one of its set */
#define HOLDERS_SHOWN 3
#define NO_HOLE       64

/* What of one cache can be had. */
struct cache {
	const struct resctrl_cache *cache;
	unsigned int at;     /* its index among the facts */
	uint64_t had;        /* by the default group, before any claim */
	uint64_t held;       /* claimed by other domains */
	uint64_t taken;      /* by any class that has ways of its own, held included */
	uint64_t given;      /* to this domain */
};

/* ---- what is there ---- */

static bool is_holder(const struct maker *m, const struct claim *c)
{
	return c->kind != CLAIM_OBSERVE && !streq(c->uuid, m->p->uuid);
}

static void group_name(const char *uuid, char name[RESCTRL_NAME])
{
	(void)snprintf(name, RESCTRL_NAME, RESCTRL_PREFIX "%s", uuid); /* fits */
}

static const struct resctrl_group *find_group(const struct resctrl_facts *f, const char *uuid)
{
	char name[RESCTRL_NAME];

	group_name(uuid, name);
	for (unsigned int i = 1; i < f->n_groups; i++)
		if (streq(f->groups[i].name, name))
			return &f->groups[i];
	return NULL;
}

/* Groups that there are, and those that were promised and are not made yet. */
static unsigned int classes_in_use(const struct maker *m)
{
	const struct resctrl_facts *f = m->in->resctrl;
	const struct ledger *l = m->in->ledger;
	unsigned int n = f->n_groups;

	for (unsigned int i = 0; i < l->n_claims; i++)
		n += l->claims[i].has_class && is_holder(m, &l->claims[i]) && !find_group(f, l->claims[i].uuid);
	return n;
}

/* Why it can have no class at all. NULL: it can. */
static const char *why_no_class(const struct maker *m, char *buf, size_t size)
{
	const struct resctrl_facts *f = m->in->resctrl;

	if (!f)
		return "resctrl was not looked at";
	if (f->state == RESCTRL_ABSENT)
		return "this host has no resctrl: its CPUs or its kernel lack it";
	if (f->state == RESCTRL_UNMOUNTED)
		return "resctrl is not mounted: mount -t resctrl resctrl /sys/fs/resctrl";
	if (!f->has_l3 && !f->has_mb)
		return "resctrl can only watch on this host, not share out";
	if (!f->n_classes || find_group(f, m->p->uuid) || classes_in_use(m) < f->n_classes)
		return NULL;
	(void)snprintf(buf, size, "all %u classes of service of this hardware are taken", f->n_classes); /* fits */
	return buf;
}

static void skip_class(struct maker *m, enum knob_id id, const char *why)
{
	plan_skip(m, id, "", why);
	msgs_warn(&m->impossible, "%s %s asked, but %s", knob_table[id].name, plan_word(m, id), why);
}

/* Ways that no group with ways for itself has, as the kernel gives them to a new group. */
static bool is_open(const struct resctrl_facts *f, const struct resctrl_group *g, unsigned int at)
{
	uint64_t exclusive = 0, left;

	for (unsigned int i = 1; i < f->n_groups; i++)
		if (f->groups[i].is_exclusive)
			exclusive |= f->groups[i].bits[at];
	left = f->mask & ~exclusive;
	return !g->is_exclusive && (g->bits[at] == f->mask || g->bits[at] == left ||
				    g->bits[at] == (left & ~(left + (left & ~(left - 1)))));
}

static uint64_t ways_of_claim(const struct claim *c, unsigned int cache)
{
	for (unsigned int i = 0; i < c->n_ways; i++)
		if (c->ways[i].cache == cache)
			return c->ways[i].bits;
	return 0;
}

/* What the default group had before the first claim is on record with the claims. */
static uint64_t had_by_default(const struct maker *m, const struct resctrl_facts *f, unsigned int at)
{
	uint64_t had = 0;

	for (unsigned int k = 0; k < 2; k++) {
		const struct shared *s;
		char object[64];

		(void)snprintf(object, sizeof(object), RESCTRL_DIR "/schemata %s:%u",
			       !f->has_cdp ? "L3" : k ? "L3DATA" : "L3CODE", f->caches[at].id); /* fits */
		s = ledger_see_shared(m->in->ledger, "resctrl", object);
		if (s)
			had |= resctrl_bits(s->original);
	}
	return had ? had : f->groups[0].bits[at];
}

static struct cache look_at(const struct maker *m, unsigned int at)
{
	const struct resctrl_facts *f = m->in->resctrl;
	const struct ledger *l = m->in->ledger;
	struct cache c = {.cache = &f->caches[at], .at = at, .had = had_by_default(m, f, at)};
	char own[RESCTRL_NAME];

	group_name(m->p->uuid, own);
	for (unsigned int i = 0; i < l->n_claims; i++)
		if (is_holder(m, &l->claims[i]))
			c.held |= ways_of_claim(&l->claims[i], c.cache->id);
	c.taken = c.held;
	for (unsigned int i = 1; i < f->n_groups; i++)
		if (!streq(f->groups[i].name, own) && !is_open(f, &f->groups[i], at))
			c.taken |= f->groups[i].bits[at];
	return c;
}

/* ---- the choice ---- */

static unsigned int count(uint64_t bits)
{
	return (unsigned int)__builtin_popcountll(bits);
}

/* What the default group would have: see fold.h. */
static uint64_t left_to_host(const struct cache *c, uint64_t given)
{
	return resctrl_run(c->had & ~c->held & ~given);
}

static unsigned int host_least(const struct resctrl_facts *f)
{
	return count(f->mask) < 2 * HOST_WAYS || f->min_bits > HOST_WAYS ? f->min_bits : HOST_WAYS;
}

/* Of the run of unused ways around these: the smaller, the better. */
static unsigned int hole_around(const struct resctrl_facts *f, const struct cache *c, uint64_t bits)
{
	uint64_t unused = f->mask & ~f->shareable & ~c->taken & ~left_to_host(c, 0), hole = bits;

	if (bits & ~unused)
		return NO_HOLE;
	for (uint64_t before = 0; before != hole;) {
		before = hole;
		hole |= (hole << 1 | hole >> 1) & unused;
	}
	return count(hole);
}

/* n successive ways, 0: they cannot be had. was: those that the running domain has. */
static uint64_t choose(const struct resctrl_facts *f, const struct cache *c, unsigned int n, uint64_t was)
{
	uint64_t free = f->mask & ~f->shareable & ~c->taken, best = 0;
	unsigned int least = host_least(f), had = count(left_to_host(c, 0)), best_left = 0, best_hole = 0;

	if (n == 0 || n > 63)
		return 0;
	if (had < least)
		least = had; /* somebody else's choice: what it does not have is not taken from it */
	for (unsigned int from = 0; from + n <= 64; from++) {
		uint64_t bits = ((UINT64_C(1) << n) - 1) << from;
		unsigned int left = count(left_to_host(c, bits)), hole;

		if ((bits & ~free) || left < least)
			continue;
		if (bits == was)
			return bits;
		hole = hole_around(f, c, bits);
		if (best && (left < best_left || (left == best_left && hole > best_hole)))
			continue;
		best = bits;
		best_left = left;
		best_hole = hole;
	}
	return best;
}

/* Ways that this domain's plan gave it before, in this cache. */
static uint64_t ways_before(const struct maker *m, unsigned int cache)
{
	const struct plan *was = m->in->was;

	for (size_t i = 0; was && i < was->n_settings; i++) {
		const struct setting *s = &was->settings[i];
		struct resctrl_item item = {.id = 0};
		const char *pos = s->value;

		if (s->stage != STAGE_PREPARE || !streq(s->knob, knob_table[KNOB_CPU_CACHE].name))
			continue;
		while (resctrl_next(&pos, &item) > 0)
			if (item.id == cache)
				return resctrl_bits(item.value);
	}
	return 0;
}

static void give(const struct maker *m, struct cache *c, unsigned int wanted)
{
	const struct resctrl_facts *f = m->in->resctrl;
	uint64_t was = ways_before(m, c->cache->id);

	for (unsigned int n = wanted; n >= f->min_bits && !c->given; n--)
		c->given = choose(f, c, n, was);
}

/* ---- words ---- */

/* Who has ways of a cache: domains by their claims, then groups of others. */
static void say_holders(const struct maker *m, const struct cache *c, struct sbuf *b)
{
	const struct resctrl_facts *f = m->in->resctrl;
	const struct ledger *l = m->in->ledger;
	char shown[KNOB_SHOW_SIZE];
	unsigned int n = 0;

	for (unsigned int i = 0; i < l->n_claims; i++) {
		uint64_t bits = is_holder(m, &l->claims[i]) ? ways_of_claim(&l->claims[i], c->cache->id) : 0;

		if (bits && n++ < HOLDERS_SHOWN)
			sbuf_addf(b, "%s %u, ", knob_show(l->claims[i].name, shown), count(bits));
	}
	for (unsigned int i = 1; i < f->n_groups; i++) {
		const struct resctrl_group *g = &f->groups[i];

		if (!resctrl_is_ours(g->name) && !is_open(f, g, c->at) && g->bits[c->at] && n++ < HOLDERS_SHOWN)
			sbuf_addf(b, "group '%s' %u, ", knob_show(g->name, shown), count(g->bits[c->at]));
	}
	if (n > HOLDERS_SHOWN)
		sbuf_addf(b, "%u others the rest, ", n - HOLDERS_SHOWN);
	if (f->shareable)
		sbuf_addf(b, "devices write to %u, ", count(f->shareable));
	sbuf_addf(b, "%u stay%s for the host", host_least(f), host_least(f) == 1 ? "s" : "");
}

/* Somebody else's groups with all ways: what we give is theirs as well. */
static void say_open_groups(const struct maker *m, unsigned int at, struct sbuf *b)
{
	const struct resctrl_facts *f = m->in->resctrl;
	char shown[KNOB_SHOW_SIZE];
	unsigned int n = 0;

	for (unsigned int i = 1; i < f->n_groups; i++) {
		if (resctrl_is_ours(f->groups[i].name) || !is_open(f, &f->groups[i], at))
			continue;
		if (n++ < HOLDERS_SHOWN)
			sbuf_addf(b, "%s '%s'", n == 1 ? "; not kept from group" : ",",
				  knob_show(f->groups[i].name, shown));
	}
	if (n > HOLDERS_SHOWN)
		sbuf_addf(b, " and %u more", n - HOLDERS_SHOWN);
	if (n)
		sbuf_addf(b, ", which ha%s all ways", n == 1 ? "s" : "ve");
}

static void say_short(struct maker *m, const struct cache *c, unsigned int wanted, struct sbuf *b)
{
	const struct resctrl_facts *f = m->in->resctrl;
	_cleanup_sbuf_ struct sbuf who = {0};

	say_holders(m, c, &who);
	m->failed |= who.failed;
	sbuf_addf(b, "%u asked: of the %u ways of L3 cache %u %s", wanted, count(f->mask), c->cache->id,
		  who.s ? who.s : "");
	msgs_warn(&m->impossible, "cpu.cache %s asked, but of the %u ways of L3 cache %u %u can be had (%s): fewer ways",
		  plan_word(m, KNOB_CPU_CACHE), count(f->mask), c->cache->id, count(c->given), who.s ? who.s : "");
}

static const char *source_of(const struct value *v)
{
	return v->source ? v->source : "default";
}

static void put(struct maker *m, enum knob_id id, const char *value, const char *source, const char *why)
{
	m->failed |= plan_add_setting(m->p, knob_table[id].name, "", STAGE_PREPARE, value, source, why) < 0;
}

/* The first setting of a class brings the threads along. */
static void put_threads(struct maker *m, enum knob_id id, const char *source)
{
	char group[RESCTRL_NAME];

	for (size_t i = 0; i < m->p->n_settings; i++)
		if (m->p->settings[i].stage == STAGE_STARTED &&
		    streq(m->p->settings[i].knob, knob_table[KNOB_CPU_CACHE].name))
			return;
	group_name(m->p->uuid, group);
	m->failed |= plan_add_setting(m->p, knob_table[id].name, "threads", STAGE_STARTED, group, source,
				      "its threads are in this class of service, those to come with them") < 0;
}

/* ---- cpu.cache ---- */

static unsigned int wanted_ways(const struct resctrl_facts *f, const struct value *v, struct sbuf *why)
{
	unsigned int all = count(f->mask), n = v->num < all ? (unsigned int)v->num : all;

	if (v->is_percent)
		n = (unsigned int)((v->num * all + 99) / 100);
	if (n < f->min_bits) {
		sbuf_addf(why, "; %s asked: the hardware gives %u at least", v->text, f->min_bits);
		n = f->min_bits;
	} else if (v->is_percent) {
		sbuf_addf(why, "; %s are %u of them%s", v->text, n, v->num * all % 100 ? ", rounded up" : "");
	} else if (v->num > all) {
		sbuf_addf(why, "; %s asked", v->text);
	}
	return n;
}

/* "L3:0=4-7;1=4-7" */
static void format_ways(const struct resctrl_facts *f, const struct cache *caches, unsigned int n, struct sbuf *b)
{
	static const char *const one[] = {"L3"}, *const two[] = {"L3CODE", "L3DATA"};
	char list[256];

	for (unsigned int k = 0; k < (f->has_cdp ? 2 : 1); k++)
		for (unsigned int i = 0; i < n; i++)
			sbuf_addf(b, "%s%s%s%u=%s", i == 0 && k ? " " : i ? ";" : "",
				  i ? "" : (f->has_cdp ? two : one)[k], i ? "" : ":", caches[i].cache->id,
				  resctrl_list(caches[i].given, list));
}

/* The caches that the domain's own CPUs have. */
static unsigned int find_caches(const struct maker *m, struct cache *ret)
{
	const struct resctrl_facts *f = m->in->resctrl;
	unsigned int n = 0;

	for (unsigned int i = 0; i < f->n_caches; i++)
		if (idset_intersects(&f->caches[i].cpus, &m->p->placement.claimed))
			ret[n++] = look_at(m, i);
	return n;
}

/* The cache that gave least, if it is less than wanted. */
static const struct cache *shortest(const struct cache *caches, unsigned int n, unsigned int wanted)
{
	const struct cache *least = NULL;

	for (unsigned int i = 0; i < n; i++)
		if (count(caches[i].given) < (least ? count(least->given) : wanted))
			least = &caches[i];
	return least;
}

static const char *why_no_ways(const struct maker *m, char *buf, size_t size)
{
	const char *why = why_no_class(m, buf, size);

	if (why)
		return why;
	if (!m->in->resctrl->has_l3)
		return "the L3 caches of this host cannot be shared out";
	if (idset_is_empty(&m->p->placement.claimed))
		return "it has no CPUs of its own (cpu policy dedicated or isolated): it would take ways of every "
		       "cache that it may come to";
	return NULL;
}

static void settle_ways(struct maker *m, const struct value *v, struct cache *caches, unsigned int n)
{
	const struct resctrl_facts *f = m->in->resctrl;
	_cleanup_sbuf_ struct sbuf value = {0}, why = {0}, round = {0}, less = {0};
	unsigned int wanted = wanted_ways(f, v, &round);
	const struct cache *least;

	for (unsigned int i = 0; i < n; i++)
		give(m, &caches[i], wanted);
	least = shortest(caches, n, wanted);
	if (least)
		say_short(m, least, wanted, &less);
	m->failed |= less.failed || round.failed;
	if (least && !least->given) {
		plan_skip(m, KNOB_CPU_CACHE, "", less.s ? less.s : "");
		return;
	}
	format_ways(f, caches, n, &value);
	sbuf_addf(&why, "%u of the %u ways of L3 cache%s ", count((least ? least : caches)->given), count(f->mask),
		  n > 1 ? "s" : "");
	for (unsigned int i = 0; i < n; i++)
		sbuf_addf(&why, "%s%u", i ? ", " : "", caches[i].cache->id);
	sbuf_addf(&why, " for it alone%s", round.len ? round.s : "");
	if (less.len)
		sbuf_addf(&why, "; %s", less.s);
	say_open_groups(m, caches[0].at, &why);
	m->failed |= value.failed || why.failed;
	if (m->failed)
		return;
	if (least)
		msgs_warn(&m->p->warnings, "cpu.cache is scaled down: %s", less.s);
	put(m, KNOB_CPU_CACHE, value.s, least ? "limit" : source_of(v), why.s);
	put_threads(m, KNOB_CPU_CACHE, source_of(v));
}

void plan_cache(struct maker *m)
{
	const struct value *v = plan_wanted(m, KNOB_CPU_CACHE);
	char buf[128];
	const char *no = v ? why_no_ways(m, buf, sizeof(buf)) : NULL;
	_cleanup_free_ struct cache *caches = NULL;
	unsigned int n;

	if (!v)
		return;
	if (no) {
		skip_class(m, KNOB_CPU_CACHE, no);
		return;
	}
	caches = calloc(m->in->resctrl->n_caches, sizeof(*caches));
	if (!caches) {
		m->failed = true;
		return;
	}
	n = find_caches(m, caches);
	if (n == 0)
		skip_class(m, KNOB_CPU_CACHE, "which L3 caches its CPUs have is not known");
	else
		settle_ways(m, v, caches, n);
}

/* ---- memory.bandwidth ---- */

static const char *why_no_bandwidth(const struct maker *m, char *buf, size_t size)
{
	const struct resctrl_facts *f = m->in->resctrl;
	bool has_class = false;

	for (size_t i = 0; i < m->p->n_settings; i++)
		has_class |= streq(m->p->settings[i].knob, knob_table[KNOB_CPU_CACHE].name);
	if (!has_class && why_no_class(m, buf, size))
		return why_no_class(m, buf, size);
	if (!f->has_mb)
		return "memory bandwidth cannot be limited on this host";
	return f->mb_is_percent ? NULL
				: "bandwidth is counted in units here, not in percent (AMD, or the mount option mba_MBps)";
}

void plan_bandwidth(struct maker *m)
{
	const struct resctrl_facts *f = m->in->resctrl;
	const struct value *v = plan_wanted(m, KNOB_MEM_BANDWIDTH);
	_cleanup_sbuf_ struct sbuf value = {0}, why = {0};
	unsigned int percent;
	char buf[128];
	const char *no = v ? why_no_bandwidth(m, buf, sizeof(buf)) : NULL;

	if (!v)
		return;
	if (no) {
		skip_class(m, KNOB_MEM_BANDWIDTH, no);
		return;
	}
	percent = v->num > f->mb_min ? (unsigned int)v->num : f->mb_min;
	percent = f->mb_min + (percent - f->mb_min + f->mb_step - 1) / f->mb_step * f->mb_step;
	if (percent > 100)
		percent = 100;
	sbuf_add(&why, "throttled to about this part of what its cores can transfer");
	if (percent != v->num)
		sbuf_addf(&why, "; %s asked: the hardware has %u%% and steps of %u%% above that", v->text, f->mb_min,
			  f->mb_step);
	if (percent == 100) {
		(void)snprintf(buf, sizeof(buf), "%s", v->num == 100 ? "100% is no limit"
								     : "the next step of the hardware is 100%: no limit"); /* fits */
		plan_skip(m, KNOB_MEM_BANDWIDTH, "", buf);
		return;
	}
	for (unsigned int i = 0; i < f->n_mb; i++)
		sbuf_addf(&value, "%s%u=%u", i ? ";" : "MB:", f->mb_ids[i], percent);
	m->failed |= value.failed || why.failed;
	if (m->failed)
		return;
	put(m, KNOB_MEM_BANDWIDTH, value.s, percent > v->num ? "limit" : source_of(v), why.s);
	put_threads(m, KNOB_MEM_BANDWIDTH, source_of(v));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From intent to plan: pure, and the only place where it is decided what happens to a domain.
 *
 *  1. What cannot or must not be done is listed with its reason: attributes of later versions, attributes whose
 *     meaning the owner's XML already decides (explicit_parts[]), and what needs the wrapper where there is none.
 *  2. What is left becomes the placement's request (plan_ask.c). Pages and memory policy that cannot be had are not
 *     asked for, so that nothing is claimed in vain.
 *  3. The placement becomes settings (plan_settle.c), in the order of the vocabulary, then the policy's host-wide
 *     values.
 *
 * Every attribute of the intent is in the end a setting, an entry of `skipped`, or an input of the placement that
 * the reasons name. A domain that runs and is decided again (plan_inputs.was) keeps what its process was started with:
 * the settings of the exec stage, memory, pages; a demand that differs from them is skipped until its next start.
 */
#include "plan_priv.h"

#include <inttypes.h>

#include "migrate.h"
#include "sbuf.h"

const struct value *plan_wanted(const struct maker *m, enum knob_id id)
{
	const struct value *v = &m->in->intent->v[id];

	return v->text && !m->suppressed[id] ? v : NULL;
}

const char *plan_word(const struct maker *m, enum knob_id id)
{
	const struct value *v = plan_wanted(m, id);

	return v ? v->text : "";
}

void plan_skip(struct maker *m, enum knob_id id, const char *target, const char *why)
{
	m->failed |= plan_add_skipped(m->p, knob_table[id].name, target, why) < 0;
}

/* 1. what is not done */

/* What the definition says itself, and which attribute then gives way (only that one). */
static const struct {
	enum domain_explicit has;
	enum knob_id id;
	const char *what;
} explicit_parts[] = {
	{ DOMAIN_HAS_SHARES, KNOB_CPU_WEIGHT, "<shares>" },
	{ DOMAIN_HAS_QUOTA, KNOB_CPU_QUOTA, "a quota" },
	{ DOMAIN_HAS_QUOTA, KNOB_CPU_BURST, "a quota" },
	{ DOMAIN_HAS_SCHED, KNOB_CPU_SCHEDULER, "<vcpusched> or the like" },
	{ DOMAIN_HAS_SCHED, KNOB_CPU_PRIORITY, "<vcpusched> or the like" },
	{ DOMAIN_HAS_EMULATORPIN, KNOB_CPU_EMULATOR, "<emulatorpin>" },
	{ DOMAIN_HAS_VCPU_CPUSET, KNOB_CPU_CPUS, "<vcpu cpuset>" },
	{ DOMAIN_HAS_HUGEPAGES, KNOB_MEM_PAGES, "<hugepages>" },
	{ DOMAIN_HAS_MEMSOURCE, KNOB_MEM_PAGES, "a memory <source> or <access>" },
	{ DOMAIN_HAS_NUMATUNE, KNOB_MEM_PLACEMENT, "<numatune>" },
	{ DOMAIN_HAS_NUMATUNE, KNOB_MEM_NODES, "<numatune>" },
	/* The policy gives way too as soon as libvirt has read it: it adds <numatune> with numad's nodes. */
	{ DOMAIN_HAS_PLACEMENT_AUTO, KNOB_MEM_NODES, "placement='auto'" },
	{ DOMAIN_HAS_ALLOCATION, KNOB_MEM_PREALLOC, "<allocation>" },
	{ DOMAIN_HAS_LOCKED, KNOB_MEM_LOCK, "<locked>" },
	{ DOMAIN_HAS_NOSHAREPAGES, KNOB_MEM_MERGE, "<nosharepages>" },
	{ DOMAIN_HAS_MIN_GUARANTEE, KNOB_MEM_MIN, "<min_guarantee>" },
	{ DOMAIN_HAS_SOFT_LIMIT, KNOB_MEM_HIGH, "<soft_limit>" },
	/* A thread is in one group of resctrl: in libvirt's, whatever that group was made for. */
	{ DOMAIN_HAS_CACHETUNE, KNOB_CPU_CACHE, "<cachetune>" },
	{ DOMAIN_HAS_CACHETUNE, KNOB_MEM_BANDWIDTH, "<cachetune>, whose group its threads are in" },
	{ DOMAIN_HAS_MEMORYTUNE, KNOB_CPU_CACHE, "<memorytune>, whose group its threads are in" },
	{ DOMAIN_HAS_MEMORYTUNE, KNOB_MEM_BANDWIDTH, "<memorytune>" },
};

static void skip_explicit(struct maker *m)
{
	char why[96];

	for (size_t i = 0; i < ARRAY_SIZE(explicit_parts); i++) {
		enum knob_id id = explicit_parts[i].id;

		if (!(m->in->domain->has & explicit_parts[i].has) || !plan_wanted(m, id))
			continue;
		(void)snprintf(why, sizeof(why), "the definition has %s", explicit_parts[i].what); /* fits */
		plan_skip(m, id, "", why);
		m->suppressed[id] = true;
	}
}

const char *plan_not_yet(enum knob_id id)
{
	static const char *const why[] = {
		[KNOB_SINCE_NOW] = NULL,
		[KNOB_SINCE_LATER] = "not in this version",
		[KNOB_SINCE_PLANNED] = NULL,
		[KNOB_SINCE_DEFINITION] = "not in this version, and later by `rewrite` and `apply` only",
	};

	return why[knob_table[id].since];
}

static void skip_later(struct maker *m)
{
	for (unsigned int id = 0; id < KNOB_ID_MAX; id++)
		if (plan_not_yet(id) && plan_wanted(m, id)) {
			plan_skip(m, id, "", plan_not_yet(id));
			m->suppressed[id] = true;
		}
}

/* What in the definition has chosen the memory's back end, which then stays as it is. NULL: nothing. */
static const char *own_back_end(const struct domain *d)
{
	if (d->has & DOMAIN_HAS_HUGEPAGES)
		return "<hugepages>";
	return d->has & DOMAIN_HAS_MEMSOURCE ? "a memory <source> or <access>" : NULL;
}

/* What becomes of memory.placement without the wrapper: `retune` moves what cannot stay where it is. */
static void say_unwrapped(const struct maker *m, enum knob_id id, char *buf, size_t size)
{
	const char *word = plan_word(m, id);
	int n = snprintf(buf, size, "the emulator is not the wrapper: domtune wrap %.200s", m->p->name);

	for (char *c = buf; *c; c++)
		*c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
	/* What is preferred says where pages come from, not where they have to be. */
	if (id != KNOB_MEM_PLACEMENT || n < 0 || (size_t)n >= size || streq(word, "preferred"))
		return;
	(void)snprintf(buf + n, size - (size_t)n,
		       ", or, while it runs, domtune retune: it moves up to %" PRIu64
		       " MiB, %d pages at a time, for at "
		       "most %d s a call",
		       m->in->domain->memory >> 20, MIGRATE_PIECE, MIGRATE_BUDGET_MS / 1000); /* fits */
}

/*
 * Why the wrapper cannot bring this into force. NULL: it can. The owner's back end is not rewritten, but takes its
 * pages by the policy of the process, which is the wrapper's.
 */
static const char *why_no_memory(const struct maker *m, enum knob_id id, bool of_back_end, char *buf, size_t size)
{
	const struct domain *d = m->in->domain;

	if (d->has & DOMAIN_HAS_LAUNCH_SECURITY)
		return "confidential guest";
	if (of_back_end && own_back_end(d)) {
		(void)snprintf(buf, size, "the definition has %s", own_back_end(d)); /* fits */
		return buf;
	}
	if (!m->in->wrapper.present) {
		say_unwrapped(m, id, buf, size);
		return buf;
	}
	return m->in->running ? "the guest runs already: at its next start" : NULL;
}

const struct setting *plan_carried(const struct maker *m, enum knob_id id)
{
	const struct plan *was = m->in->was;

	for (size_t i = 0; was && i < was->n_settings; i++)
		if (was->settings[i].stage == STAGE_EXEC && streq(was->settings[i].knob, knob_table[id].name))
			return &was->settings[i];
	return NULL;
}

/* Whether the process was started with what is wanted now. */
static bool is_as_wanted(const struct maker *m, enum knob_id id, const struct setting *was)
{
	const char *word = plan_word(m, id);
	const struct value *nodes = plan_wanted(m, KNOB_MEM_NODES);
	size_t n = strcspn(was->value, ":");

	if (id != KNOB_MEM_PLACEMENT)
		return streq(word, "auto") || streq(word, was->value);
	if (nodes && !idset_is_empty(&nodes->set) && !idset_equal(&nodes->set, &m->in->was->placement.memory_nodes))
		return false;
	/* Strict huge pages of several nodes are interleaved, so that each gives what was claimed there. */
	return (strlen(word) == n && strncmp(word, was->value, n) == 0) ||
	       (streq(word, "strict") && str_starts(was->value, "interleave:") && m->in->was->placement.page_size > 0);
}

bool plan_is_demand(enum knob_id id, const char *value)
{
	static const struct {
		enum knob_id id;
		const char *value;
	} demands[] = {
		{ KNOB_MEM_PAGES, "2M" },
		{ KNOB_MEM_PAGES, "1G" },
		{ KNOB_MEM_PLACEMENT, "strict" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(demands); i++)
		if (demands[i].id == id && streq(demands[i].value, value))
			return true;
	return false;
}

/* Memory that is not bound, because the back end is the owner's, is not what strict asks for. */
static void note_not_bound(struct maker *m)
{
	const char *own = own_back_end(m->in->domain);

	if (!own || !streq(plan_word(m, KNOB_MEM_PLACEMENT), "strict"))
		return;
	msgs_warn(&m->impossible,
		  "memory.placement strict asked, but the definition has %s, which is not bound: <numatune>, or "
		  "memory.placement preferred",
		  own);
	m->not_bound = own;
}

/* One attribute that the wrapper brings into force. nothing: the value that asks for nothing, NULL: none does. */
static void skip_memory_part(struct maker *m, enum knob_id id, const char *nothing, bool of_back_end)
{
	const struct value *v = plan_wanted(m, id);
	bool needless = id == KNOB_MEM_PLACEMENT && m->in->host->n_nodes < 2;
	const struct setting *was = plan_carried(m, id);
	char buf[384];
	const char *why = why_no_memory(m, id, of_back_end, buf, sizeof(buf));

	if (!v || (nothing && streq(v->text, nothing)))
		return;
	/* QEMU advises THP for its RAM by itself, with or without cells. */
	if (streq(v->text, "thp") && !m->in->running && !(m->in->domain->has & DOMAIN_HAS_LAUNCH_SECURITY))
		return;
	if (was && is_as_wanted(m, id, was)) {
		m->suppressed[id] = true;
		return;
	}
	if (!why && !needless) {
		if (id == KNOB_MEM_PLACEMENT)
			note_not_bound(m);
		return;
	}
	plan_skip(m, id, "", needless ? "the host has one node" : why);
	if (plan_is_demand(id, v->text) && !needless)
		msgs_warn(&m->impossible, "%s %s asked, but %s", knob_table[id].name, v->text, why);
	m->suppressed[id] = true;
}

static void skip_memory(struct maker *m)
{
	static const struct {
		enum knob_id id;
		const char *nothing;
		bool of_back_end; /* is an attribute of the memory's back end */
	} parts[] = {
		{ KNOB_MEM_PAGES, "default", true },	{ KNOB_MEM_PLACEMENT, "none", false },
		{ KNOB_MEM_PREALLOC, "no", true },	{ KNOB_MEM_LOCK, "no", false },
		{ KNOB_MEM_MERGE, NULL, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		skip_memory_part(m, parts[i].id, parts[i].nothing, parts[i].of_back_end);
}

/* messages */

static void copy_msgs(struct msgs *to, const struct msgs *from)
{
	for (size_t i = 0; i < from->n; i++)
		msgs_add(to, from->m[i].level, from->m[i].file, from->m[i].line, from->m[i].column, "%s",
			 from->m[i].text);
}

static void refuse(struct maker *m)
{
	const struct msgs *lists[] = { &m->p->placement.unmet, &m->impossible };
	_cleanup_sbuf_ struct sbuf b = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(lists) && !m->p->refused; i++) {
		if (lists[i]->n == 0)
			continue;
		sbuf_add(&b, lists[i]->m[0].text); /* who reports it names us and the domain */
		m->p->refused = sbuf_steal(&b);
		if (!m->p->refused) {
			m->failed = true;
			return;
		}
		for (char *c = m->p->refused; *c; c++)
			*c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
	}
}

static void say_messages(struct maker *m)
{
	struct plan *p = m->p;
	const struct host *h = m->in->host;

	copy_msgs(&p->warnings, &m->in->intent->msgs);
	copy_msgs(&p->warnings, &p->placement.notes);
	/* A running guest is not refused any more, and one that is only observed never was. */
	if (p->fail && !m->in->running && !p->observe)
		refuse(m);
	if (!p->refused)
		copy_msgs(&p->warnings, &p->placement.unmet);
	if (h->warnings.n > 0)
		msgs_warn(&p->warnings, "the host model has gaps: %s", h->warnings.m[0].text);
	m->failed |= p->warnings.failed || m->impossible.failed;
}

static int start(struct maker *m)
{
	const struct plan_inputs *in = m->in;
	struct plan *p = m->p;

	memcpy(p->uuid, in->domain->uuid, sizeof(p->uuid));
	p->id = in->domain->id;
	p->name = strdup(in->domain->name ? in->domain->name : "");
	p->profile = strdup(in->intent->profile ? in->intent->profile : "");
	p->profile_source = in->intent->source;
	p->fail = in->intent->fail;
	p->observe = in->policy->mode == POLICY_OBSERVE;
	p->wrapper.present = in->wrapper.present;
	p->wrapper.qemu = in->wrapper.qemu;
	p->wrapper.emulator = strdup(in->wrapper.emulator ? in->wrapper.emulator : "");
	p->memory = in->domain->memory;
	return p->name && p->profile && p->wrapper.emulator ? 0 : -ENOMEM;
}

static int make(struct maker *m)
{
	struct plan *p = m->p;

	if (start(m))
		return -ENOMEM;
	skip_explicit(m);
	skip_later(m);
	plan_skip_targets(m);
	skip_memory(m);
	plan_ask(m);
	if (place(m->in->host, &m->q, m->in->ledger, p->uuid, &p->placement) || plan_carry(m))
		return -ENOMEM;
	plan_settle(m);
	say_messages(m);
	return m->failed ? -ENOMEM : 0;
}

int plan_make(const struct plan_inputs *in, struct plan *ret)
{
	_cleanup_free_ struct maker *m = calloc(1, sizeof(*m));
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!m)
		return -ENOMEM;
	m->in = in;
	m->p = ret;
	r = make(m);
	msgs_fini(&m->impossible);
	if (r < 0)
		plan_fini(ret);
	return r;
}

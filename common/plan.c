/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From intent to plan: pure, and the only place where it is decided what happens to a domain.
 *
 *  1. What cannot or must not be done is listed with its reason: attributes of later versions, attributes whose
 *     meaning the owner's XML already decides (explicit_parts[]), and what needs the wrapper where there is none.
 *  2. What is left becomes the placement's request. Pages and memory policy that cannot be had are not asked for,
 *     so that nothing is claimed in vain.
 *  3. The placement becomes settings, in the order of the vocabulary, then the policy's host-wide values.
 *
 * Every attribute of the intent is in the end a setting, an entry of `skipped`, or an input of the placement that
 * the reasons name.
 */
#include "plan.h"

#include <inttypes.h>

#include "sbuf.h"

#define SIZE_2M  (UINT64_C(2) << 20)
#define SIZE_1G  (UINT64_C(1) << 30)
#define WHY_SIZE 640 /* two reasons of the placement and a few words */

struct maker {
	const struct plan_inputs *in;
	struct plan *p;
	struct place_request q;
	bool suppressed[KNOB_ID_MAX]; /* skipped already, or not asked for */
	const char *not_bound;        /* the part of the definition for which strict became preferred; NULL: none */
	struct msgs impossible;       /* demands that are not met whatever the placement says */
	bool failed;                  /* out of memory */
};

static const struct value *wanted(const struct maker *m, enum knob_id id)
{
	const struct value *v = &m->in->intent->v[id];

	return v->text && !m->suppressed[id] ? v : NULL;
}

/* The value's word, "" if it is absent or suppressed. */
static const char *word(const struct maker *m, enum knob_id id)
{
	const struct value *v = wanted(m, id);

	return v ? v->text : "";
}

static const char *source_of(const struct maker *m, enum knob_id id)
{
	const struct value *v = &m->in->intent->v[id];

	if (!v->text && (id == KNOB_CPU_EMULATOR || id == KNOB_CPU_IOTHREADS))
		v = &m->in->intent->v[KNOB_CPU_POLICY]; /* their default comes with it */
	return v->text && v->source ? v->source : "default";
}

static void skip(struct maker *m, enum knob_id id, const char *target, const char *why)
{
	m->failed |= plan_add_skipped(m->p, knob_table[id].name, target, why) < 0;
}

static void set(struct maker *m, enum knob_id id, const char *target, enum stage stage, const char *value,
		const char *why)
{
	m->failed |= plan_add_setting(m->p, knob_table[id].name, target, stage, value, source_of(m, id), why) < 0;
}

static void set_cpus(struct maker *m, enum knob_id id, const char *target, enum stage stage, const struct idset *cpus,
		     const char *why)
{
	_cleanup_free_ char *list = idset_text(cpus);

	if (!list)
		m->failed = true;
	else
		set(m, id, target, stage, list, why);
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
	{ DOMAIN_HAS_MEMTUNE, KNOB_MEM_MIN, "<memtune>" },
	{ DOMAIN_HAS_MEMTUNE, KNOB_MEM_LOW, "<memtune>" },
	{ DOMAIN_HAS_MEMTUNE, KNOB_MEM_HIGH, "<memtune>" },
};

static void skip_explicit(struct maker *m)
{
	char why[96];

	for (size_t i = 0; i < ARRAY_SIZE(explicit_parts); i++) {
		enum knob_id id = explicit_parts[i].id;

		if (!(m->in->domain->has & explicit_parts[i].has) || !wanted(m, id))
			continue;
		(void)snprintf(why, sizeof(why), "the definition has %s", explicit_parts[i].what); /* fits */
		skip(m, id, "", why);
		m->suppressed[id] = true;
	}
}

static const char *not_yet(enum knob_id id)
{
	return knob_table[id].since == KNOB_SINCE_DEFINITION
		       ? "not in this version, and later by `rewrite` and `apply` only"
		       : "not in this version";
}

static void skip_later(struct maker *m)
{
	for (unsigned int id = 0; id < KNOB_ID_MAX; id++)
		if (knob_table[id].since != KNOB_SINCE_NOW && wanted(m, id)) {
			skip(m, id, "", not_yet(id));
			m->suppressed[id] = true;
		}
}

/* An attribute that an earlier entry of the same target has said already: the annotation's come first. */
static bool said_before(const struct intent *in, size_t n, enum knob_id id)
{
	for (size_t i = 0; i < n; i++)
		if (in->targets[i].element == in->targets[n].element && in->targets[i].v[id].text &&
		    streq(in->targets[i].target, in->targets[n].target))
			return true;
	return false;
}

static void skip_targets(struct maker *m)
{
	const struct intent *in = m->in->intent;

	for (size_t i = 0; i < in->n_targets; i++)
		for (unsigned int id = 0; id < KNOB_ID_MAX; id++)
			if (in->targets[i].v[id].text && !said_before(in, i, id))
				skip(m, id, in->targets[i].target, not_yet(id));
}

/* What in the definition has chosen the memory's back end, which then stays as it is. NULL: nothing. */
static const char *own_back_end(const struct domain *d)
{
	if (d->has & DOMAIN_HAS_HUGEPAGES)
		return "<hugepages>";
	return d->has & DOMAIN_HAS_MEMSOURCE ? "a memory <source> or <access>" : NULL;
}

/*
 * Why the wrapper cannot bring this into force. NULL: it can. For pages, placement, prealloc. The owner's back end
 * is not rewritten, but takes its pages by the policy of the process, which is the wrapper's.
 */
static const char *why_no_memory(const struct maker *m, enum knob_id id, char *buf, size_t size)
{
	const struct domain *d = m->in->domain;

	if (d->has & DOMAIN_HAS_LAUNCH_SECURITY)
		return "confidential guest";
	if (d->n_cells > 0)
		return "guest cells: not in this version";
	if (id != KNOB_MEM_PLACEMENT && own_back_end(d)) {
		(void)snprintf(buf, size, "the definition has %s", own_back_end(d)); /* fits */
		return buf;
	}
	if (!m->in->wrapper.present) {
		(void)snprintf(buf, size, "the emulator is not the wrapper: domtune wrap %s",
			       m->p->name); /* cut is fine */
		for (char *c = buf; *c; c++)
			*c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
		return buf;
	}
	return m->in->running ? "the guest runs already: at its next start" : NULL;
}

/* A demand (not a wish: auto and preferred are content with less) that cannot be met. */
static bool is_demand(enum knob_id id, const char *value)
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

static void skip_memory(struct maker *m)
{
	static const struct {
		enum knob_id id;
		const char *nothing; /* the value that asks for nothing */
	} parts[] = {
		{ KNOB_MEM_PAGES, "default" },
		{ KNOB_MEM_PLACEMENT, "none" },
		{ KNOB_MEM_PREALLOC, "no" },
	};
	const char *own = own_back_end(m->in->domain);
	bool one_node = m->in->host->n_nodes < 2;
	char buf[384];

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		const struct value *v = wanted(m, parts[i].id);
		bool placement = parts[i].id == KNOB_MEM_PLACEMENT;
		const char *why = why_no_memory(m, parts[i].id, buf, sizeof(buf));

		if (!v || streq(v->text, parts[i].nothing))
			continue;
		/* QEMU advises THP for its RAM by itself, with or without cells. */
		if (streq(v->text, "thp") && !m->in->running && !(m->in->domain->has & DOMAIN_HAS_LAUNCH_SECURITY))
			continue;
		if (!why && !(placement && one_node)) {
			if (!placement || !own || !streq(v->text, "strict"))
				continue;
			msgs_warn(&m->impossible,
				  "memory.placement strict asked, but the definition has %s, which is not bound: "
				  "<numatune>, or memory.placement preferred",
				  own);
			m->not_bound = own;
			continue;
		}
		skip(m, parts[i].id, "", placement && one_node ? "the host has one node" : why);
		if (is_demand(parts[i].id, v->text) && !(placement && one_node))
			msgs_warn(&m->impossible, "%s %s asked, but %s", knob_table[parts[i].id].name, v->text, why);
		m->suppressed[parts[i].id] = true;
	}
}

/* 2. the request */

static unsigned int word_index(const char *text, const char *const *words, unsigned int n, unsigned int fallback)
{
	for (unsigned int i = 0; i < n; i++)
		if (streq(text, words[i]))
			return i;
	return fallback;
}

static enum place_where where_of(const struct maker *m, enum knob_id id, struct idset *ret_list)
{
	const struct value *v = wanted(m, id);

	if (!v || streq(v->text, "share"))
		return PLACE_WHERE_SHARE;
	if (streq(v->text, "isolate"))
		return PLACE_WHERE_ISOLATE;
	*ret_list = v->set;
	return PLACE_WHERE_LIST;
}

/* A list of the policy is cut to what is online, as any list of CPUs; what is said of it is said here. */
static void warn_reserved(struct maker *m)
{
	const struct policy *policy = m->in->policy;
	struct idset gone = policy->reserved;
	_cleanup_free_ char *list = NULL;

	idset_andnot(&gone, &m->in->host->online);
	if (!policy->reserved_given || idset_is_empty(&gone))
		return;
	list = idset_text(&gone);
	if (!list)
		m->failed = true;
	else if (idset_intersects(&policy->reserved, &m->in->host->online))
		msgs_warn(&m->p->warnings, "reserved-cpus: CPUs %s are not online, left out", list);
	else
		msgs_warn(&m->p->warnings, "reserved-cpus: none of %s is online, the default is used", list);
}

static void ask_cpus(struct maker *m)
{
	static const char *const policies[] = { "none", "shared", "dedicated", "isolated" };
	static const char *const threads[] = { "prefer", "isolate", "require" };
	const struct domain *d = m->in->domain;
	const struct value *cpus = wanted(m, KNOB_CPU_CPUS);
	struct place_request *q = &m->q;

	q->policy = word_index(word(m, KNOB_CPU_POLICY), policies, ARRAY_SIZE(policies), PLACE_NONE);
	q->threads = word_index(word(m, KNOB_CPU_THREADS), threads, ARRAY_SIZE(threads), PLACE_THREADS_PREFER);
	q->emulator_where = where_of(m, KNOB_CPU_EMULATOR, &q->emulator_list);
	q->iothreads_where = where_of(m, KNOB_CPU_IOTHREADS, &q->iothreads_list);
	if (d->has & DOMAIN_HAS_VCPU_CPUSET)
		q->cpus = d->vcpu_cpuset;
	else if (cpus)
		q->cpus = cpus->set;
	q->vcpus = d->vcpus_online;
	for (int id = idset_first(&d->vcpus_online); id >= 0; id = idset_next(&d->vcpus_online, id))
		q->n_vcpus = (unsigned int)id + 1;
	if (q->n_vcpus == 0)
		q->n_vcpus = d->vcpus;
	q->pins = d->vcpupin;
	q->n_pins = d->n_vcpupin;
	q->emulatorpin = d->emulatorpin;
	q->iothreadpins = d->iothreadpin;
	q->n_iothreadpins = d->n_iothreadpin;
	q->iothreads = d->iothreads;
	q->n_iothreads = d->n_iothreads;
	q->reserved = place_reserved(m->in->host, m->in->policy);
	warn_reserved(m);
	q->max_dedicated = place_limit(m->in->policy->max_dedicated, m->in->host->n_cpus);
	q->max_vcpus_per_cpu = m->in->policy->max_vcpus_per_cpu;
}

static void add_backing(struct place_request *q, uint64_t size, uint64_t bytes)
{
	for (unsigned int i = 0; i < q->n_backing; i++)
		if (q->backing[i].size == size) {
			q->backing[i].bytes += bytes;
			return;
		}
	if (q->n_backing < PLACE_BACKING_MAX)
		q->backing[q->n_backing++] = (struct place_backing){ .size = size, .bytes = bytes };
}

/* The <page> of a guest cell: the one that names it, else the one that names none (libvirt: formatdomain). */
static const struct domain_hugepage *page_of_cell(const struct domain *d, unsigned int cell)
{
	const struct domain_hugepage *rest = NULL;

	for (unsigned int i = 0; i < d->n_hugepages; i++) {
		if (idset_has(&d->hugepages[i].cells, cell))
			return &d->hugepages[i];
		if (!rest && idset_is_empty(&d->hugepages[i].cells))
			rest = &d->hugepages[i];
	}
	return rest;
}

static void ask_backing(struct maker *m)
{
	const struct domain *d = m->in->domain;

	if (!(d->has & DOMAIN_HAS_HUGEPAGES))
		return;
	for (unsigned int i = 0; i < d->n_cells; i++) {
		const struct domain_hugepage *page = page_of_cell(d, d->cells[i].id);

		if (page || d->n_hugepages == 0)
			add_backing(&m->q, page ? page->size : 0, d->cells[i].memory);
	}
	/* Without cells, cell 0 is the whole guest. */
	if (d->n_cells == 0) {
		const struct domain_hugepage *page = page_of_cell(d, 0);

		if (page || d->n_hugepages == 0)
			add_backing(&m->q, page ? page->size : 0, d->memory);
	}
}

static void ask_memory(struct maker *m)
{
	static const char *const policies[] = { "none", "preferred", "strict", "interleave" };
	static const struct {
		const char *word;
		enum place_pages pages;
		uint64_t size;
	} pages[] = {
		{ "default", PLACE_PAGES_DEFAULT, 0 }, { "thp", PLACE_PAGES_THP, 0 },
		{ "2M", PLACE_PAGES_HUGE, SIZE_2M },   { "1G", PLACE_PAGES_HUGE, SIZE_1G },
		{ "auto", PLACE_PAGES_AUTO, 0 },
	};
	const struct domain *d = m->in->domain;
	const struct value *nodes = wanted(m, KNOB_MEM_NODES);
	struct place_request *q = &m->q;

	q->memory = d->memory;
	q->memory_policy = word_index(word(m, KNOB_MEM_PLACEMENT), policies, ARRAY_SIZE(policies), PLACE_MEMORY_NONE);
	if (m->not_bound)
		q->memory_policy = PLACE_MEMORY_PREFERRED;
	q->memory_given = d->has & DOMAIN_HAS_NUMATUNE;
	if (q->memory_given)
		q->nodes = d->numatune_nodes;
	else if (nodes)
		q->nodes = nodes->set;
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		if (streq(word(m, KNOB_MEM_PAGES), pages[i].word)) {
			q->pages = pages[i].pages;
			q->page_size = pages[i].size;
		}
	q->max_hugepages = m->in->policy->max_hugepages;
	q->max_memory = m->in->policy->max_memory;
	ask_backing(m);
}

/* 3. settings */

static bool is_pinned(const struct domain *d, unsigned int vcpu)
{
	for (unsigned int i = 0; i < d->n_vcpupin; i++)
		if (d->vcpupin[i].id == vcpu && !idset_is_empty(&d->vcpupin[i].cpus))
			return true;
	return false;
}

/* "node 0, the tightest fit; whole cores first" */
static void say_cpus(const struct placement *pl, char *buf, size_t size)
{
	_cleanup_free_ char *nodes = idset_text(&pl->nodes);

	(void)snprintf(buf, size, "%s%s%s%s%s%s", nodes && *nodes ? "node " : "", nodes ? nodes : "",
		       *pl->why_nodes ? ", " : "", pl->why_nodes, *pl->why_cpus ? "; " : "", pl->why_cpus); /* fits */
}

static const struct idset *first_online(const struct placement *pl)
{
	for (unsigned int i = 0; i < pl->n_vcpus; i++)
		if (!idset_is_empty(&pl->vcpus[i].cpus))
			return &pl->vcpus[i].cpus;
	return NULL;
}

static void settle_vcpus(struct maker *m)
{
	const struct placement *pl = &m->p->placement;
	bool any_pin = false;
	char why[WHY_SIZE], target[32];

	if (m->q.policy == PLACE_NONE)
		return;
	if (pl->policy == PLACE_NONE) {
		skip(m, KNOB_CPU_POLICY, "", "no CPU is left for it");
		return;
	}
	say_cpus(pl, why, sizeof(why));
	for (unsigned int i = 0; i < pl->n_vcpus; i++)
		any_pin |= is_pinned(m->in->domain, i);
	if (pl->policy == PLACE_SHARED && !any_pin && first_online(pl)) {
		set_cpus(m, KNOB_CPU_POLICY, "", STAGE_STARTED, first_online(pl), why);
		return;
	}
	for (unsigned int i = 0; i < pl->n_vcpus; i++) {
		if (idset_is_empty(&pl->vcpus[i].cpus))
			continue;
		(void)snprintf(target, sizeof(target), "vcpu%u", i); /* fits */
		if (is_pinned(m->in->domain, i))
			skip(m, KNOB_CPU_POLICY, target, "the definition has <vcpupin>");
		else
			set_cpus(m, KNOB_CPU_POLICY, target, STAGE_STARTED, &pl->vcpus[i].cpus, why);
	}
	if (pl->policy == PLACE_ISOLATED) {
		skip(m, KNOB_CPU_POLICY, "",
		     "isolated is dedicated in this version: host tasks may still run on its CPUs");
		if (!m->in->intent->v[KNOB_IRQ_POLICY].text)
			skip(m, KNOB_IRQ_POLICY, "", "avoid, which isolated implies: not in this version");
	}
}

/* Whether these threads simply float with the vCPUs, by the one setting of the whole domain. */
static bool floats_along(const struct maker *m, const struct idset *cpus)
{
	const struct plan *p = m->p;

	for (size_t i = 0; i < p->n_settings; i++)
		if (streq(p->settings[i].knob, knob_table[KNOB_CPU_POLICY].name) && !*p->settings[i].target)
			return idset_equal(cpus, first_online(&p->placement));
	return false;
}

static void settle_others(struct maker *m)
{
	const struct domain *d = m->in->domain;
	const struct placement *pl = &m->p->placement;
	char target[32];

	if (pl->policy == PLACE_NONE) {
		if (wanted(m, KNOB_CPU_EMULATOR))
			skip(m, KNOB_CPU_EMULATOR, "", "nothing is placed with cpu policy none");
		if (wanted(m, KNOB_CPU_IOTHREADS))
			skip(m, KNOB_CPU_IOTHREADS, "", "nothing is placed with cpu policy none");
		return;
	}
	if (!idset_is_empty(&pl->emulator)) {
		if (m->in->wrapper.present && !m->in->running)
			set_cpus(m, KNOB_CPU_EMULATOR, "", STAGE_EXEC, &pl->emulator, pl->why_emulator);
		if (!floats_along(m, &pl->emulator))
			set_cpus(m, KNOB_CPU_EMULATOR, "", STAGE_STARTED, &pl->emulator, pl->why_emulator);
	}
	for (unsigned int i = 0; i < pl->n_iothreads; i++) {
		(void)snprintf(target, sizeof(target), "iothread%u", pl->iothreads[i].id); /* fits */
		if (!idset_is_empty(&pl->iothreads[i].cpus) && !floats_along(m, &pl->iothreads[i].cpus))
			set_cpus(m, KNOB_CPU_IOTHREADS, target, STAGE_STARTED, &pl->iothreads[i].cpus,
				 pl->why_iothreads);
	}
	for (unsigned int i = 0; i < d->n_iothreadpin; i++) {
		(void)snprintf(target, sizeof(target), "iothread%u", d->iothreadpin[i].id); /* fits */
		skip(m, KNOB_CPU_IOTHREADS, target, "the definition has <iothreadpin>");
	}
}

static void settle_cgroup(struct maker *m)
{
	if (wanted(m, KNOB_CPU_WEIGHT))
		set(m, KNOB_CPU_WEIGHT, "", STAGE_STARTED, word(m, KNOB_CPU_WEIGHT), "its part of contended CPUs");
	if (wanted(m, KNOB_CPU_QUOTA))
		set(m, KNOB_CPU_QUOTA, "", STAGE_STARTED, word(m, KNOB_CPU_QUOTA), "limit for the whole domain");
}

/*
 * Strict memory of several nodes is bound, and the kernel then takes the pages of the nearest node first. Huge pages are
 * claimed on each node, and a claim is only true if that node gives them: so page by page.
 */
static bool must_interleave(const struct maker *m)
{
	const struct placement *pl = &m->p->placement;

	return !m->not_bound && pl->memory_policy == PLACE_MEMORY_STRICT && pl->page_size > 0 &&
	       idset_count(&pl->memory_nodes) > 1;
}

static void settle_placement(struct maker *m)
{
	struct placement *pl = &m->p->placement;
	_cleanup_free_ char *nodes = idset_text(&pl->memory_nodes);
	_cleanup_sbuf_ struct sbuf value = { 0 };
	_cleanup_sbuf_ struct sbuf because = { 0 };
	const char *why = *pl->why_nodes ? pl->why_nodes : "memory of its nodes";

	if (m->q.memory_policy == PLACE_MEMORY_NONE)
		return;
	if (pl->memory_policy == PLACE_MEMORY_NONE) {
		skip(m, KNOB_MEM_PLACEMENT, "", why);
		if (is_demand(KNOB_MEM_PLACEMENT, word(m, KNOB_MEM_PLACEMENT)))
			msgs_warn(&m->impossible, "memory.placement strict asked, but %s: memory.nodes, or a cpu policy", why);
		return;
	}
	sbuf_add(&because, why);
	if (m->not_bound)
		sbuf_addf(&because, "; not strict, since the definition has %s, which is not bound", m->not_bound);
	if (must_interleave(m)) {
		pl->memory_policy = PLACE_MEMORY_INTERLEAVE;
		sbuf_add(&because, "; interleaved, so that each node gives the huge pages that were claimed there");
	}
	sbuf_addf(&value, "%s:%s", place_memory_name(pl->memory_policy), nodes ? nodes : "");
	if (!nodes || value.failed || because.failed)
		m->failed = true;
	else
		set(m, KNOB_MEM_PLACEMENT, "", STAGE_EXEC, value.s, because.s);
}

static void settle_pages(struct maker *m)
{
	const struct placement *pl = &m->p->placement;
	const struct value *prealloc = wanted(m, KNOB_MEM_PREALLOC);

	if (wanted(m, KNOB_MEM_PAGES) && pl->page_size > 0)
		set(m, KNOB_MEM_PAGES, "", STAGE_EXEC, pl->page_size == SIZE_1G ? "1G" : "2M", pl->why_pages);
	else if (wanted(m, KNOB_MEM_PAGES) && pl->thp)
		set(m, KNOB_MEM_PAGES, "", STAGE_EXEC, "thp",
		    *pl->why_pages ? pl->why_pages : "QEMU advises them for its RAM");
	if (!prealloc)
		return;
	if (streq(prealloc->text, "yes"))
		set(m, KNOB_MEM_PREALLOC, "", STAGE_EXEC, "yes", "populated before the guest runs");
	else if (pl->page_size > 0)
		skip(m, KNOB_MEM_PREALLOC, "",
		     "huge pages are populated at start: one that is missing later ends the guest");
}

static void settle_sysctls(struct maker *m)
{
	const struct policy *policy = m->in->policy;
	char value[24];

	if (m->p->n_settings == 0)
		return;
	for (size_t i = 0; i < policy->n_sysctls; i++) {
		(void)snprintf(value, sizeof(value), "%" PRIu64, policy->sysctls[i].at_least); /* 20 digits fit */
		m->failed |= plan_add_setting(m->p, "sysctl", policy->sysctls[i].name, STAGE_PREPARE, value, "default",
					      "the policy: at least this while a tuned domain runs") < 0;
	}
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
	skip_targets(m);
	skip_memory(m);
	ask_cpus(m);
	ask_memory(m);
	if (place(m->in->host, &m->q, m->in->ledger, p->uuid, &p->placement))
		return -ENOMEM;
	settle_vcpus(m);
	settle_others(m);
	settle_cgroup(m);
	settle_placement(m);
	settle_pages(m);
	settle_sysctls(m);
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

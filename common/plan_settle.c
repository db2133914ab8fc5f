/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the placement to settings, in the order of the vocabulary, then the policy's host-wide values.
 */
#include "plan_priv.h"

#include <inttypes.h>

#include "num.h"
#include "sbuf.h"

/* Profile `off`, or nothing at all: whatever can be put back is to be. */
static bool asks_nothing(const struct maker *m)
{
	const struct intent *in = m->in->intent;

	for (unsigned int id = 0; id < KNOB_ID_MAX; id++)
		if (in->v[id].text && !(id == KNOB_CPU_POLICY && streq(in->v[id].text, "none")))
			return false;
	return in->n_targets == 0;
}

static int carry_pages(struct placement *pl, const struct placement *was, bool huge_only)
{
	struct claim_pages *pages = was->n_pages ? calloc(was->n_pages, sizeof(*pages)) : NULL;

	if (was->n_pages && !pages)
		return -ENOMEM;
	free(pl->pages);
	pl->pages = pages;
	pl->n_pages = 0;
	for (unsigned int i = 0; i < was->n_pages; i++) {
		if (huge_only && was->pages[i].size == 0)
			continue;
		pages[pl->n_pages] = was->pages[i];
		pages[pl->n_pages++].grow = 0; /* they are there */
	}
	return 0;
}

int plan_carry(struct maker *m)
{
	const struct placement *was = m->in->was ? &m->in->was->placement : NULL;
	struct placement *pl = &m->p->placement;
	bool off = asks_nothing(m);

	if (!was)
		return 0;
	if (carry_pages(pl, was, off))
		return -ENOMEM;
	if (off)
		return 0;
	free(pl->cells);
	pl->n_cells = 0;
	pl->cells = was->n_cells ? calloc(was->n_cells, sizeof(*pl->cells)) : NULL;
	if (was->n_cells && !pl->cells)
		return -ENOMEM;
	for (; pl->n_cells < was->n_cells; pl->n_cells++)
		pl->cells[pl->n_cells] = was->cells[pl->n_cells];
	pl->memory_nodes = was->memory_nodes;
	pl->memory_policy = was->memory_policy;
	pl->page_size = was->page_size;
	pl->thp = was->thp;
	memcpy(pl->why_pages, was->why_pages, sizeof(pl->why_pages));
	return 0;
}

static const char *source_of(const struct maker *m, enum knob_id id)
{
	const struct value *v = &m->in->intent->v[id];

	if (!v->text && (id == KNOB_CPU_EMULATOR || id == KNOB_CPU_IOTHREADS))
		v = &m->in->intent->v[KNOB_CPU_POLICY]; /* their default comes with it */
	return v->text && v->source ? v->source : "default";
}

static void set(struct maker *m, enum knob_id id, const char *target, enum stage stage, const char *value,
		const char *why)
{
	m->failed |= plan_add_setting(m->p, knob_table[id].name, target, stage, value, source_of(m, id), why) < 0;
}

/* Whose CPUs follow the shared pool: no_floater if they are the owner's or claimed. */
enum { no_floater = -1 };

static bool set_cpus(struct maker *m, enum knob_id id, const char *target, enum stage stage, const struct idset *cpus,
		     int floater, const char *why)
{
	_cleanup_free_ char *list = idset_text(cpus);

	if (!list)
		m->failed = true;
	else
		set(m, id, target, stage, list, why);
	if (m->failed)
		return false;
	m->p->settings[m->p->n_settings - 1].floater = floater;
	return true;
}

/* Host CPUs on which the memory of a vCPU's cell is; empty: all of the guest's memory is alike. */
static struct idset home_of_vcpu(const struct maker *m, unsigned int vcpu)
{
	const struct placement *pl = &m->p->placement;
	const struct domain *d = m->in->domain;

	for (unsigned int i = 0; i < d->n_cells; i++)
		for (unsigned int k = 0; idset_has(&d->cells[i].vcpus, vcpu) && k < pl->n_cells; k++)
			if (pl->cells[k].id == d->cells[i].id)
				return host_node_cpus(m->in->host, &pl->cells[k].nodes);
	return IDSET_EMPTY;
}

/*
 * The floater that threads on these CPUs belong to. Two that are on the same CPUs now (their own have been claimed)
 * differ in where they belong.
 */
static int floater_of(const struct maker *m, const struct idset *cpus, const struct idset *home)
{
	const struct placement *pl = &m->p->placement;
	int found = no_floater;

	for (unsigned int i = 0; i < pl->n_floaters; i++) {
		if (!idset_equal(&pl->floaters[i].now, cpus))
			continue;
		if (idset_is_empty(home) || idset_intersects(&pl->floaters[i].home, home))
			return (int)i;
		if (found == no_floater)
			found = (int)i;
	}
	return found;
}

static int floater_of_vcpu(const struct maker *m, unsigned int vcpu)
{
	struct idset home = home_of_vcpu(m, vcpu);

	return floater_of(m, &m->p->placement.vcpus[vcpu].cpus, &home);
}

/* Of threads for which the owner may have given a list. */
static int floater_of_others(const struct maker *m, enum place_where where, const struct idset *cpus)
{
	return where == PLACE_WHERE_SHARE ? floater_of(m, cpus, &IDSET_EMPTY) : no_floater;
}

int plan_floater_of_emulator(const struct maker *m)
{
	return floater_of_others(m, m->q.emulator_where, &m->p->placement.emulator);
}

static bool is_pinned(const struct domain *d, unsigned int vcpu)
{
	for (unsigned int i = 0; i < d->n_vcpupin; i++)
		if (d->vcpupin[i].id == vcpu && !idset_is_empty(&d->vcpupin[i].cpus))
			return true;
	return false;
}

/* "node 0, one node is enough; a CPU for each vCPU, whole cores" */
static void say_cpus(const struct placement *pl, char *buf, size_t size)
{
	_cleanup_free_ char *nodes = idset_text(&pl->nodes);

	(void)snprintf(buf, size, "%s%s%s%s%s%s", nodes && *nodes ? place_node_word(&pl->nodes) : "",
		       nodes ? nodes : "", *pl->why_nodes ? ", " : "", pl->why_nodes, *pl->why_cpus ? "; " : "",
		       pl->why_cpus); /* fits */
}

static const struct idset *first_online(const struct placement *pl)
{
	for (unsigned int i = 0; i < pl->n_vcpus; i++)
		if (!idset_is_empty(&pl->vcpus[i].cpus))
			return &pl->vcpus[i].cpus;
	return NULL;
}

/*
 * One set for the whole domain: it floats, no vCPU is pinned, and guest cells do not lie on different nodes (or do, but
 * belong to one floater: what they have in common by chance today they may not have tomorrow).
 */
static bool floats_as_one(const struct maker *m)
{
	const struct placement *pl = &m->p->placement;
	const struct idset *first = first_online(pl);
	int floater = no_floater;

	if (pl->policy != PLACE_SHARED || !first)
		return false;
	for (unsigned int i = 0; i < pl->n_vcpus; i++) {
		if (is_pinned(m->in->domain, i))
			return false;
		if (idset_is_empty(&pl->vcpus[i].cpus))
			continue;
		if (&pl->vcpus[i].cpus == first)
			floater = floater_of_vcpu(m, i);
		else if (!idset_equal(&pl->vcpus[i].cpus, first) || floater_of_vcpu(m, i) != floater)
			return false;
	}
	return true;
}

static void settle_vcpus(struct maker *m)
{
	const struct placement *pl = &m->p->placement;
	char why[WHY_SIZE], target[32];

	if (m->q.policy == PLACE_NONE)
		return;
	if (pl->policy == PLACE_NONE) {
		plan_skip(m, KNOB_CPU_POLICY, "", "no CPU is left for it");
		return;
	}
	say_cpus(pl, why, sizeof(why));
	if (floats_as_one(m)) {
		const struct idset *cpus = first_online(pl);

		(void)set_cpus(m, KNOB_CPU_POLICY, "", STAGE_STARTED, cpus, floater_of(m, cpus, &IDSET_EMPTY), why);
		return;
	}
	for (unsigned int i = 0; i < pl->n_vcpus; i++) {
		if (idset_is_empty(&pl->vcpus[i].cpus))
			continue;
		(void)snprintf(target, sizeof(target), "vcpu%u", i); /* fits */
		if (is_pinned(m->in->domain, i))
			plan_skip(m, KNOB_CPU_POLICY, target, "the definition has <vcpupin>");
		else
			(void)set_cpus(m, KNOB_CPU_POLICY, target, STAGE_STARTED, &pl->vcpus[i].cpus,
				       pl->policy == PLACE_SHARED ? floater_of_vcpu(m, i) : no_floater, why);
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

static void settle_emulator(struct maker *m)
{
	const struct placement *pl = &m->p->placement;
	int floater = plan_floater_of_emulator(m);

	if (idset_is_empty(&pl->emulator))
		return;
	if (m->in->wrapper.present && !m->in->running)
		(void)set_cpus(m, KNOB_CPU_EMULATOR, "", STAGE_EXEC, &pl->emulator, floater, pl->why_emulator);
	if (!floats_along(m, &pl->emulator))
		(void)set_cpus(m, KNOB_CPU_EMULATOR, "", STAGE_STARTED, &pl->emulator, floater, pl->why_emulator);
}

static void settle_others(struct maker *m)
{
	const struct domain *d = m->in->domain;
	const struct placement *pl = &m->p->placement;
	char target[32];

	if (pl->policy == PLACE_NONE) {
		if (plan_wanted(m, KNOB_CPU_EMULATOR))
			plan_skip(m, KNOB_CPU_EMULATOR, "", "nothing is placed with cpu policy none");
		if (plan_wanted(m, KNOB_CPU_IOTHREADS))
			plan_skip(m, KNOB_CPU_IOTHREADS, "", "nothing is placed with cpu policy none");
		return;
	}
	settle_emulator(m);
	for (unsigned int i = 0; i < pl->n_iothreads; i++) {
		const struct idset *cpus = &pl->iothreads[i].cpus;

		(void)snprintf(target, sizeof(target), "iothread%u", pl->iothreads[i].id); /* fits */
		if (!idset_is_empty(cpus) && !floats_along(m, cpus))
			(void)set_cpus(m, KNOB_CPU_IOTHREADS, target, STAGE_STARTED, cpus,
				       floater_of_others(m, m->q.iothreads_where, cpus), pl->why_iothreads);
	}
	for (unsigned int i = 0; i < d->n_iothreadpin; i++) {
		(void)snprintf(target, sizeof(target), "iothread%u", d->iothreadpin[i].id); /* fits */
		plan_skip(m, KNOB_CPU_IOTHREADS, target, "the definition has <iothreadpin>");
	}
}

/*
 * The kernel refuses a burst over the quota of one period (kernel/sched/core.c, tg_set_cfs_bandwidth()). Its period and
 * libvirt's is 100 ms, so that N% are N ms; what the group's really is counts when it is written (step.c).
 */
static void settle_burst(struct maker *m)
{
	const struct value *burst = plan_wanted(m, KNOB_CPU_BURST), *quota = plan_wanted(m, KNOB_CPU_QUOTA);
	char value[24], why[128] = "unused time of earlier periods, for a short peak";

	if (!burst || burst->num == 0)
		return;
	if (!quota) {
		plan_skip(m, KNOB_CPU_BURST, "", "there is no cpu.quota that it could exceed");
		return;
	}
	if (burst->num > quota->num)
		(void)snprintf(why, sizeof(why), "%" PRIu64 " ms asked: no more than the quota gives in one period",
			       burst->num); /* fits */
	(void)snprintf(value, sizeof(value), "%" PRIu64, burst->num < quota->num ? burst->num : quota->num); /* fits */
	set(m, KNOB_CPU_BURST, "", STAGE_STARTED, value, why);
}

static void settle_bandwidth(struct maker *m)
{
	if (plan_wanted(m, KNOB_CPU_WEIGHT))
		set(m, KNOB_CPU_WEIGHT, "", STAGE_STARTED, plan_word(m, KNOB_CPU_WEIGHT), "its part of contended CPUs");
	if (plan_wanted(m, KNOB_CPU_QUOTA))
		set(m, KNOB_CPU_QUOTA, "", STAGE_STARTED, plan_word(m, KNOB_CPU_QUOTA), "limit for the whole domain");
	settle_burst(m);
}

/* memory.min, memory.low, memory.high */

struct protection {
	const char *uuid;
	uint64_t bytes;
};

static int by_uuid(const void *a, const void *b)
{
	const struct protection *x = a, *y = b;

	return strcmp(x->uuid, y->uuid);
}

/*
 * What living domains have protected: of each the larger of min and low, which cover the same memory. Their shares of
 * the ancestors' protection are shared objects of the ledger (step.c), several for one domain where slices are nested.
 * *ret is untouched without memory.
 */
static void sum_protection(struct maker *m, uint64_t *ret)
{
	const struct ledger *l = m->in->ledger;
	_cleanup_free_ struct protection *all = NULL;
	size_t n = 0, room = 0;
	uint64_t sum = 0;

	for (unsigned int i = 0; i < l->n_shared; i++)
		room += l->shared[i].n_claims;
	all = calloc(room + 1, sizeof(*all));
	if (!all) {
		m->failed = true;
		return;
	}
	for (unsigned int i = 0; i < l->n_shared; i++) {
		const struct shared *s = &l->shared[i];
		bool counts = streq(s->knob, "memory.min") || streq(s->knob, "memory.low");

		for (unsigned int k = 0; counts && k < s->n_claims; k++)
			if (!streq(s->claims[k].uuid, m->p->uuid) &&
			    num_parse_u64(s->claims[k].wanted, &all[n].bytes) == 0)
				all[n++].uuid = s->claims[k].uuid;
	}
	qsort(all, n, sizeof(*all), by_uuid);
	for (size_t i = 0, k; i < n; i = k) {
		uint64_t most = 0;

		for (k = i; k < n && streq(all[k].uuid, all[i].uuid); k++)
			most = all[k].bytes > most ? all[k].bytes : most;
		if (__builtin_add_overflow(sum, most, &sum))
			sum = UINT64_MAX;
	}
	*ret = sum;
}

/* Bytes that this domain may have protected; UINT64_MAX where the host's memory is not known. */
static uint64_t protection_left(struct maker *m)
{
	const struct host *h = m->in->host;
	uint64_t total = 0, others = 0, limit;

	for (unsigned int i = 0; i < h->n_nodes; i++) {
		if (h->nodes[i].mem_total == HOST_UNKNOWN)
			return UINT64_MAX;
		total += h->nodes[i].mem_total;
	}
	limit = place_limit(m->in->policy->max_protection, total);
	sum_protection(m, &others);
	return others < limit ? limit - others : 0;
}

static void settle_protection(struct maker *m, enum knob_id id, const char *why)
{
	const struct value *v = plan_wanted(m, id);
	uint64_t left;
	char value[24], because[192];

	if (!v || v->num == 0)
		return;
	left = protection_left(m);
	if (v->num <= left) {
		set(m, id, "", STAGE_STARTED, v->text, why);
		return;
	}
	(void)snprintf(because, sizeof(because), "%s asked: no more is left of the policy's max-memory-protection",
		       v->text); /* fits: a number */
	if (left == 0) {
		plan_skip(m, id, "", because);
		return;
	}
	(void)snprintf(value, sizeof(value), "%" PRIu64, left); /* fits */
	m->failed |= plan_add_setting(m->p, knob_table[id].name, "", STAGE_STARTED, value, "limit", because) < 0;
}

static void settle_high(struct maker *m)
{
	const struct value *v = plan_wanted(m, KNOB_MEM_HIGH);

	if (!v)
		return;
	if (v->num == 0) {
		plan_skip(m, KNOB_MEM_HIGH, "",
			  "0 would stop the guest: it could not use a page without being throttled");
		return;
	}
	if (v->num < m->p->memory)
		msgs_warn(&m->p->warnings,
			  "memory.high of %s bytes is less than the guest's memory of %" PRIu64
			  ": what it uses beyond is swapped out while it waits",
			  v->text, m->p->memory);
	set(m, KNOB_MEM_HIGH, "", STAGE_STARTED, v->text, "throttled and reclaimed above this");
}

/* memory.placement, pages, prealloc, lock, merge */

/*
 * Strict memory of several nodes is bound, and the kernel then takes the pages of the nearest node first. Huge pages
 * are claimed on each node, and a claim is only true if that node gives them: so page by page. Guest cells have each
 * its own back end and nodes, so there it is the wrapper's part, cell by cell.
 */
static bool must_interleave(const struct maker *m)
{
	const struct placement *pl = &m->p->placement;

	return !m->not_bound && pl->memory_policy == PLACE_MEMORY_STRICT && pl->page_size > 0 && pl->n_cells == 0 &&
	       idset_count(&pl->memory_nodes) > 1;
}

/* "; guest cells 0-1 on node 0, 2 on node 1": cells that lie alike are named together. */
static void say_cells(const struct placement *pl, struct sbuf *b)
{
	struct idset said = IDSET_EMPTY;

	for (unsigned int i = 0; i < pl->n_cells; i++) {
		struct idset alike = IDSET_EMPTY;
		_cleanup_free_ char *nodes = idset_text(&pl->cells[i].nodes), *ids = NULL;

		for (unsigned int k = i; k < pl->n_cells && !idset_has(&said, pl->cells[i].id); k++)
			if (idset_equal(&pl->cells[k].nodes, &pl->cells[i].nodes))
				idset_add(&alike, pl->cells[k].id);
		if (idset_is_empty(&alike))
			continue;
		ids = idset_text(&alike);
		if (!ids || !nodes)
			b->failed = true;
		else
			sbuf_addf(b, "%s%s on %s%s", idset_is_empty(&said) ? "; guest cells " : ", ", ids,
				  place_node_word(&pl->cells[i].nodes), nodes);
		idset_or(&said, &alike);
	}
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
		plan_skip(m, KNOB_MEM_PLACEMENT, "", why);
		if (plan_is_demand(KNOB_MEM_PLACEMENT, plan_word(m, KNOB_MEM_PLACEMENT)))
			msgs_warn(&m->impossible,
				  "memory.placement strict asked, but %s: memory.nodes, or a cpu policy", why);
		return;
	}
	sbuf_add(&because, why);
	if (m->not_bound)
		sbuf_addf(&because, "; not strict, since the definition has %s, which is not bound", m->not_bound);
	say_cells(pl, &because);
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
	const struct value *prealloc = plan_wanted(m, KNOB_MEM_PREALLOC);

	if (plan_wanted(m, KNOB_MEM_PAGES) && pl->page_size > 0)
		set(m, KNOB_MEM_PAGES, "", STAGE_EXEC, pl->page_size == SIZE_1G ? "1G" : "2M", pl->why_pages);
	else if (plan_wanted(m, KNOB_MEM_PAGES) && pl->thp)
		set(m, KNOB_MEM_PAGES, "", STAGE_EXEC, "thp",
		    *pl->why_pages ? pl->why_pages : "QEMU advises them for its RAM");
	if (!prealloc)
		return;
	if (streq(prealloc->text, "yes"))
		set(m, KNOB_MEM_PREALLOC, "", STAGE_EXEC, "yes", "populated before the guest runs");
	else if (pl->page_size > 0)
		plan_skip(m, KNOB_MEM_PREALLOC, "",
			  "huge pages are populated at start: one that is missing later ends the guest");
}

/* Whether all of the guest's RAM is on pages of a pool, by us or by its own definition. */
static bool on_huge_pages(const struct maker *m)
{
	return m->p->placement.page_size > 0 || (m->in->domain->has & DOMAIN_HAS_HUGEPAGES);
}

static void settle_lock(struct maker *m)
{
	if (!streq(plan_word(m, KNOB_MEM_LOCK), "yes"))
		return;
	set(m, KNOB_MEM_LOCK, "", STAGE_EXEC, "yes",
	    on_huge_pages(m)
		    ? "huge pages are never swapped out"
		    : "if the limit that QEMU gets from libvirt covers it, else by <locked> in the definition");
}

static void settle_merge(struct maker *m)
{
	bool yes = streq(plan_word(m, KNOB_MEM_MERGE), "yes");

	if (!plan_wanted(m, KNOB_MEM_MERGE))
		return;
	if (yes && on_huge_pages(m)) {
		plan_skip(m, KNOB_MEM_MERGE, "", "the kernel merges no huge pages");
		return;
	}
	if (yes && m->in->host->ksm_off)
		msgs_warn(&m->p->warnings,
			  "memory.merge yes asked, but the host merges nothing now: echo 1 > /sys/kernel/mm/ksm/run");
	set(m, KNOB_MEM_MERGE, "", STAGE_EXEC, yes ? "yes" : "no",
	    yes ? "equal pages may be merged by the kernel (KSM)" : "its pages are not scanned for equal ones (KSM)");
}

/* What the process was started with is in force as it was; what its threads may have otherwise since is history. */
static void settle_as_it_was(struct maker *m)
{
	const struct plan *was = m->in->was;

	for (size_t i = 0; i < was->n_settings; i++) {
		const struct setting *s = &was->settings[i];

		if (s->stage == STAGE_EXEC && !streq(s->knob, knob_table[KNOB_CPU_EMULATOR].name) &&
		    !streq(s->knob, knob_table[KNOB_IO_PRIORITY].name))
			m->failed |= plan_add_setting(m->p, s->knob, s->target, s->stage, s->value, s->source,
						      s->why) < 0;
	}
	for (size_t i = 0; i < was->n_disks; i++)
		m->failed |= plan_add_disk(m->p, was->disks[i].target, was->disks[i].alias, was->disks[i].path) < 0;
}

static void settle_memory(struct maker *m)
{
	if (m->in->was && asks_nothing(m))
		return;
	if (m->in->was) {
		settle_as_it_was(m);
	} else {
		settle_placement(m);
		settle_pages(m);
		settle_lock(m);
		settle_merge(m);
	}
	settle_protection(m, KNOB_MEM_MIN, "never reclaimed, as far as the groups above it give as much");
	settle_protection(m, KNOB_MEM_LOW, "reclaimed only if nothing else is left");
	settle_high(m);
}

static void settle_sysctls(struct maker *m)
{
	const struct policy *policy = m->in->policy;
	char value[24];

	if (plan_n_acting(m->p) == 0)
		return;
	for (size_t i = 0; i < policy->n_sysctls; i++) {
		(void)snprintf(value, sizeof(value), "%" PRIu64, policy->sysctls[i].at_least); /* 20 digits fit */
		m->failed |= plan_add_setting(m->p, "sysctl", policy->sysctls[i].name, STAGE_PREPARE, value, "default",
					      "the policy: at least this while a tuned domain runs") < 0;
	}
}

void plan_settle(struct maker *m)
{
	settle_vcpus(m);
	settle_others(m);
	plan_tasks(m);
	settle_bandwidth(m);
	plan_schedulers(m);
	plan_cpu_states(m);
	plan_cache(m);
	settle_memory(m);
	plan_bandwidth(m);
	plan_realtime_advice(m);
	plan_irq(m);
	plan_disks(m);
	plan_net(m);
	plan_nodes(m);
	plan_queues(m);
	settle_sysctls(m);
}

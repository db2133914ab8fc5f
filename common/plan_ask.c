/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From intent and definition to the placement's request. A running domain that is decided again brings along what its
 * process was started with: where its memory is, on which pages; that is not asked for again, only kept near.
 */
#include "plan_priv.h"

static unsigned int word_index(const char *text, const char *const *words, unsigned int n, unsigned int fallback)
{
	for (unsigned int i = 0; i < n; i++)
		if (streq(text, words[i]))
			return i;
	return fallback;
}

static enum place_where where_of(const struct maker *m, enum knob_id id, struct idset *ret_list)
{
	const struct value *v = plan_wanted(m, id);

	if (!v || streq(v->text, "share"))
		return PLACE_WHERE_SHARE;
	if (streq(v->text, "isolate"))
		return PLACE_WHERE_ISOLATE;
	*ret_list = v->set;
	return PLACE_WHERE_LIST;
}

/*
 * Who gains from the fast kind of core and the large cache: who has CPUs of its own, and who says so by the name of
 * its profile. The others leave them free for these.
 */
static bool wants_latency(const struct maker *m)
{
	return m->q.policy == PLACE_DEDICATED || m->q.policy == PLACE_ISOLATED || streq(m->p->profile, "latency");
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
	const struct value *cpus = plan_wanted(m, KNOB_CPU_CPUS);
	struct place_request *q = &m->q;

	q->policy = word_index(plan_word(m, KNOB_CPU_POLICY), policies, ARRAY_SIZE(policies), PLACE_NONE);
	q->threads = word_index(plan_word(m, KNOB_CPU_THREADS), threads, ARRAY_SIZE(threads), PLACE_THREADS_PREFER);
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
	q->latency = wants_latency(m);
	q->devices = m->in->devices;
	q->n_devices = m->in->n_devices;
}

static void ask_guest(struct maker *m)
{
	const struct domain *d = m->in->domain;

	for (unsigned int i = 0; i < d->n_cells && i < ARRAY_SIZE(m->cells); i++)
		m->cells[i] = (struct place_cell){ d->cells[i].id, d->cells[i].vcpus, d->cells[i].memory };
	m->q.cells = m->cells;
	m->q.n_cells = d->n_cells < ARRAY_SIZE(m->cells) ? d->n_cells : ARRAY_SIZE(m->cells);
	m->q.guest_threads = d->threads;
}

/*
 * A process that runs keeps its memory: it is not to be fitted in anywhere, and what it holds is carried over
 * (plan_carry()). CPUs are chosen anew.
 */
static void ask_as_it_was(struct maker *m)
{
	const struct placement *was = &m->in->was->placement;
	struct place_request *q = &m->q;

	for (unsigned int i = 0; i < was->n_vcpus; i++)
		idset_or(&q->current, &was->vcpus[i].cpus);
	q->home = was->memory_nodes;
	q->memory_policy = PLACE_MEMORY_NONE;
	q->pages = PLACE_PAGES_DEFAULT;
	q->n_backing = 0;
	q->memory = 0;
	for (unsigned int i = 0; i < q->n_cells; i++)
		m->cells[i].memory = 0;
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
	const struct value *nodes = plan_wanted(m, KNOB_MEM_NODES);
	struct place_request *q = &m->q;

	q->memory = d->memory;
	q->memory_policy =
		word_index(plan_word(m, KNOB_MEM_PLACEMENT), policies, ARRAY_SIZE(policies), PLACE_MEMORY_NONE);
	if (m->not_bound)
		q->memory_policy = PLACE_MEMORY_PREFERRED;
	q->memory_given = d->has & DOMAIN_HAS_NUMATUNE;
	if (q->memory_given)
		q->nodes = d->numatune_nodes;
	else if (nodes)
		q->nodes = nodes->set;
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		if (streq(plan_word(m, KNOB_MEM_PAGES), pages[i].word)) {
			q->pages = pages[i].pages;
			q->page_size = pages[i].size;
		}
	q->max_hugepages = m->in->policy->max_hugepages;
	q->max_memory = m->in->policy->max_memory;
	q->caps = m->in->caps;
	q->n_caps = m->in->n_caps;
	q->no_growth = m->in->running || m->p->observe;
	ask_backing(m);
}

void plan_ask(struct maker *m)
{
	ask_cpus(m);
	ask_guest(m);
	ask_memory(m);
	if (m->in->was)
		ask_as_it_was(m);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The wrapper's part of a plan. What a setting of the exec stage becomes is one row of rules[]; everything else
 * (nodes, threads, CPUs) follows from the placement.
 *
 * Guest RAM gets a policy of its own where that is worth an argument: with `strict` and `interleave`, and always
 * with huge pages, whose claim is per node. The process itself never binds, it only prefers: QEMU's own memory on
 * a full node would otherwise end in its death (Documentation/admin-guide/mm/numa_memory_policy.rst).
 */
#include "wplan.h"

#include <inttypes.h>

#include "num.h"
#include "paths.h"

#define WPLAN_FORMAT "1"
/* QEMU uses no more, whatever it is told (util/oslib-posix.c, MAX_MEM_PREALLOC_THREAD_COUNT). */
#define PREALLOC_THREADS_MAX 16
#define WPLAN_MAX            (256u << 10) /* a few lists of CPUs */
#define NUMBER_MAX           24

void wplan_fini(struct wplan *w)
{
	for (unsigned int i = 0; i < w->n_attrs; i++) {
		free(w->attrs[i].name);
		free(w->attrs[i].value);
	}
	free(w->emulator);
	memset(w, 0, sizeof(*w));
}

static int add_attr(struct wplan *w, const char *name, const char *value)
{
	struct wplan_attr *a = &w->attrs[w->n_attrs];

	if (w->n_attrs >= WPLAN_ATTRS_MAX)
		return 0;
	a->name = strdup(name);
	a->value = strdup(value);
	if (!a->name || !a->value) {
		free(a->name);
		free(a->value);
		*a = (struct wplan_attr){ 0 };
		return -ENOMEM;
	}
	w->n_attrs++;
	return 0;
}

static int rule_affinity(const struct plan *p, const struct setting *s, struct wplan *w)
{
	(void)p;
	return add_attr(w, "affinity", s->value);
}

static int rule_placement(const struct plan *p, const struct setting *s, struct wplan *w)
{
	static const struct {
		enum place_memory policy;
		const char *process, *backend; /* words of set_mempolicy(2) and of QEMU's HostMemPolicy */
	} words[] = {
		{ PLACE_MEMORY_PREFERRED, "preferred", "preferred" },
		{ PLACE_MEMORY_STRICT, "preferred", "bind" },
		{ PLACE_MEMORY_INTERLEAVE, "interleave", "interleave" },
	};
	_cleanup_free_ char *nodes = idset_text(&p->placement.memory_nodes);
	_cleanup_sbuf_ struct sbuf b = { 0 };

	(void)s;
	if (!nodes)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (words[i].policy != p->placement.memory_policy || !*nodes)
			continue;
		sbuf_addf(&b, "%s:%s", words[i].process, nodes);
		if (b.failed || add_attr(w, "mempolicy", b.s))
			return -ENOMEM;
		(void)snprintf(w->policy, sizeof(w->policy), "%s", words[i].backend); /* fits */
		w->nodes = p->placement.memory_nodes;
		w->memory |= words[i].policy != PLACE_MEMORY_PREFERRED;
	}
	return 0;
}

/* The nodes that the pages were claimed on; where nobody asked for a policy, one that takes them there. */
static int rule_pages(const struct plan *p, const struct setting *s, struct wplan *w)
{
	if (p->placement.page_size == 0 || streq(s->value, "thp"))
		return 0;
	w->memory = true;
	w->page_size = p->placement.page_size;
	if (w->policy[0])
		return 0;
	for (unsigned int i = 0; i < p->placement.n_pages; i++)
		if (p->placement.pages[i].size == w->page_size && p->placement.pages[i].node >= 0)
			idset_add(&w->nodes, (unsigned int)p->placement.pages[i].node);
	if (!idset_is_empty(&w->nodes))
		(void)snprintf(w->policy, sizeof(w->policy), "%s",
			       idset_count(&w->nodes) > 1 ? "interleave" : "preferred"); /* fits */
	return 0;
}

static int rule_prealloc(const struct plan *p, const struct setting *s, struct wplan *w)
{
	(void)p;
	w->prealloc = streq(s->value, "yes");
	/* "no" is what QEMU does by itself. */
	w->memory |= w->prealloc == 1;
	return 0;
}

/* In this order: the pages' policy is the placement's where there is one. */
static const struct {
	const char *knob;
	int (*rule)(const struct plan *p, const struct setting *s, struct wplan *w);
} rules[] = {
	{ "cpu.emulator", rule_affinity },
	{ "memory.placement", rule_placement },
	{ "memory.pages", rule_pages },
	{ "memory.prealloc", rule_prealloc },
};

/*
 * Threads that populate RAM: on the guest's own CPUs, one for each of them, but no more than it has vCPUs. So its
 * start takes no more of the host than it may take later.
 */
static void set_prealloc(const struct plan *p, const struct host *h, struct wplan *w)
{
	struct idset cpus = p->placement.emulator;
	unsigned int n = p->placement.n_vcpus, n_cpus;

	for (unsigned int i = 0; i < p->placement.n_vcpus; i++)
		idset_or(&cpus, &p->placement.vcpus[i].cpus);
	idset_and(&cpus, &h->online);
	n_cpus = idset_count(&cpus);
	if (n > n_cpus)
		n = n_cpus;
	w->prealloc_cpus = cpus;
	w->prealloc_threads = n > PREALLOC_THREADS_MAX ? PREALLOC_THREADS_MAX : n;
}

int wplan_from_plan(const struct plan *p, const struct host *h, const char *boot_id, struct wplan *ret)
{
	struct wplan w = { .prealloc = -1, .id = p->id, .qemu = p->wrapper.qemu };
	int r = 0;

	(void)snprintf(w.boot_id, sizeof(w.boot_id), "%s", boot_id);
	(void)snprintf(w.uuid, sizeof(w.uuid), "%s", p->uuid);
	w.emulator = strdup(p->wrapper.emulator ? p->wrapper.emulator : "");
	if (!w.emulator)
		r = -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(rules) && r == 0; i++)
		for (size_t j = 0; j < p->n_settings && r == 0; j++)
			if (p->settings[j].stage == STAGE_EXEC && streq(p->settings[j].knob, rules[i].knob))
				r = rules[i].rule(p, &p->settings[j], &w);
	if (r < 0) {
		wplan_fini(&w);
		return r;
	}
	/* Huge pages are reserved for the host, not for a node: a page that is missing later is a SIGBUS. */
	if (w.page_size > 0)
		w.prealloc = 1;
	if (w.prealloc == 1)
		set_prealloc(p, h, &w);
	if (!w.memory) {
		w.policy[0] = '\0';
		w.nodes = IDSET_EMPTY;
	}
	*ret = w;
	return 0;
}

static const char *number(char buf[NUMBER_MAX], uint64_t n)
{
	(void)snprintf(buf, NUMBER_MAX, "%" PRIu64, n); /* 20 digits fit */
	return buf;
}

static void put_memory(struct sbuf *b, const struct wplan *w)
{
	_cleanup_free_ char *nodes = idset_text(&w->nodes), *cpus = idset_text(&w->prealloc_cpus);
	char size[NUMBER_MAX], threads[NUMBER_MAX];

	if (!nodes || !cpus) {
		b->failed = true;
		return;
	}
	record_add(b, "memory", w->page_size ? "huge" : "keep", number(size, w->page_size), nodes, w->policy,
		   w->prealloc > 0    ? "yes"
		   : w->prealloc == 0 ? "no"
				      : "",
		   number(threads, w->prealloc_threads), cpus, NULL);
}

int wplan_save(const struct hostfs *fs, const struct wplan *w, struct err *e)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	char id[NUMBER_MAX], qemu[NUMBER_MAX];
	int r;

	if (!uuid_is_valid(w->uuid))
		return err_set(e, EINVAL, "wrapper's plan: '%s' is no UUID", w->uuid);
	record_add(&b, "head", WPLAN_FORMAT, w->boot_id, w->uuid, w->id < 0 ? "" : number(id, (uint64_t)w->id),
		   w->emulator ? w->emulator : "", number(qemu, w->qemu), NULL);
	for (unsigned int i = 0; i < w->n_attrs; i++)
		record_add(&b, "attr", w->attrs[i].name, w->attrs[i].value, NULL);
	if (w->memory)
		put_memory(&b, w);
	record_add(&b, "end", NULL);
	if (b.failed)
		return err_set(e, ENOMEM, "wrapper's plan: %s", err_name(ENOMEM));
	r = hostfs_replace(fs, b.s, b.len, 0644, "%s/%s", PATH_PLAN, w->uuid);
	if (r < 0)
		return err_set(e, -r, "/%s/%s: %s", PATH_PLAN, w->uuid, err_name(-r));
	return 0;
}

static int take_head(struct wplan *w, const struct record *r)
{
	uint64_t id = record_u64(r, 4, UINT64_MAX), qemu = record_u64(r, 6, 0);

	if (w->emulator || !streq(record_str(r, 1), WPLAN_FORMAT))
		return -EBADMSG;
	(void)snprintf(w->boot_id, sizeof(w->boot_id), "%s", record_str(r, 2)); /* what is longer matches nothing */
	(void)snprintf(w->uuid, sizeof(w->uuid), "%s", record_str(r, 3));
	w->id = id > INT32_MAX ? -1 : (int)id;
	w->qemu = qemu > UINT32_MAX ? 0 : (unsigned int)qemu;
	w->emulator = strdup(record_str(r, 5));
	return w->emulator ? 0 : -ENOMEM;
}

/* "" is the empty set. */
static int parse_set(const char *text, struct idset *ret)
{
	*ret = IDSET_EMPTY;
	return *text && idset_parse(text, ret) ? -EBADMSG : 0;
}

static int take_memory(struct wplan *w, const struct record *r)
{
	static const char *const policies[] = { "", "bind", "preferred", "interleave" };
	const char *policy = record_str(r, 4), *prealloc = record_str(r, 5);
	uint64_t size, threads = record_u64(r, 6, UINT64_MAX);
	bool known = false;

	for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
		known |= streq(policy, policies[i]);
	size = record_u64(r, 2, UINT64_MAX);
	if (w->memory || !known || threads > UINT32_MAX || size == UINT64_MAX ||
	    streq(record_str(r, 1), "huge") != (size > 0) || parse_set(record_str(r, 3), &w->nodes) ||
	    parse_set(record_str(r, 7), &w->prealloc_cpus))
		return -EBADMSG;
	w->memory = true;
	w->page_size = size;
	(void)snprintf(w->policy, sizeof(w->policy), "%s", policy); /* one of the above */
	w->prealloc = streq(prealloc, "yes") ? 1 : streq(prealloc, "no") ? 0 : -1;
	w->prealloc_threads = (unsigned int)threads;
	return 0;
}

/* 1 at the end record, 0 go on. A type that a later version added is none of this one's business. */
static int take_record(struct wplan *w, const struct record *r)
{
	const char *type = record_str(r, 0);

	if (streq(type, "head"))
		return take_head(w, r);
	if (!w->emulator)
		return -EBADMSG;
	if (streq(type, "attr"))
		return add_attr(w, record_str(r, 1), record_str(r, 2));
	if (streq(type, "memory"))
		return take_memory(w, r);
	return streq(type, "end");
}

int wplan_load(const struct hostfs *fs, const char *uuid, struct wplan *ret)
{
	struct wplan w = { .prealloc = -1 };
	_cleanup_free_ char *text = NULL;
	unsigned int bad = 0;
	struct record rec;
	char *pos;
	int r;

	if (!uuid_is_valid(uuid))
		return -EBADMSG;
	r = hostfs_read_all(fs, WPLAN_MAX, &text, NULL, "%s/%s", PATH_PLAN, uuid);
	if (r < 0)
		return r;
	pos = text;
	r = 0;
	while (r == 0 && record_next(&pos, &rec, &bad) > 0)
		r = take_record(&w, &rec);
	/* Half of a plan is worse than none: one line that does not hold spoils it. */
	if (r == 0 || (r > 0 && (bad > 0 || !streq(w.uuid, uuid))))
		r = -EBADMSG;
	if (r < 0) {
		wplan_fini(&w);
		return r;
	}
	*ret = w;
	return 0;
}

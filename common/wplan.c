/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The wrapper's part of a plan. What a setting of the exec stage becomes is one row of rules[]; everything else
 * (cells, nodes, threads, CPUs) follows from the placement.
 *
 * Guest RAM gets a policy of its own where that is worth an argument: with `strict` and `interleave`, with huge
 * pages, whose claim is per node, and where guest cells lie on different nodes. The process itself never binds, it only
 * prefers: QEMU's own memory on a full node would otherwise end in its death
 * (Documentation/admin-guide/mm/numa_memory_policy.rst).
 */
#include "wplan.h"

#include <inttypes.h>
#include <stddef.h>

#include "blockdev.h"
#include "num.h"
#include "paths.h"

#define WPLAN_FORMAT "1"
/*
 * QEMU uses no more threads for one back end, whatever it is told (util/oslib-posix.c, MAX_MEM_PREALLOC_THREAD_COUNT),
 * and clearing pages is bound by a node's memory by then.
 */
#define PREALLOC_THREADS_MAX 16
#define WPLAN_MAX            (4u << 20) /* a list of CPUs for each of 64 cells, a path for each of 256 disks */
#define NUMBER_MAX           24

/*
 * What QEMU maps beside guest RAM, all of which mlockall(2) counts, touched or not: a thread has a stack of 8 MiB
 * (RLIMIT_STACK) and may have a heap of 64 MiB (glibc, HEAP_MAX_SIZE); I/O threads and the main loop may each have 64
 * workers (util/thread-pool.c), which come when they are needed, and QEMU aborts where one cannot be made. The rest
 * (program, libraries, video RAM, 1 GiB for translated code without KVM) was 0.3 to 1.4 GiB with QEMU 7.2 (measured).
 */
#define LOCK_THREAD  (UINT64_C(72) << 20)
#define LOCK_WORKERS 64
#define LOCK_REST    (UINT64_C(2) << 30)

/* The rules' common part of all memory records. */
struct draft {
	struct wplan *w;
	struct wplan_memory all;
	bool placed; /* the back ends need the policy */
	bool pages;  /* memory.pages asks for huge ones */
};

static void disk_fini(struct wplan_disk *k)
{
	free(k->target);
	free(k->alias);
	free(k->path);
}

void wplan_fini(struct wplan *w)
{
	for (unsigned int i = 0; i < w->n_disks; i++)
		disk_fini(&w->disks[i]);
	free(w->disks);
	for (unsigned int i = 0; i < w->n_attrs; i++) {
		free(w->attrs[i].name);
		free(w->attrs[i].value);
	}
	free(w->memory);
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
		*a = (struct wplan_attr){0};
		return -ENOMEM;
	}
	w->n_attrs++;
	return 0;
}

static int rule_affinity(const struct plan *p, const struct setting *s, struct draft *d)
{
	(void)p;
	return add_attr(d->w, "affinity", s->value);
}

static int rule_ioprio(const struct plan *p, const struct setting *s, struct draft *d)
{
	(void)p;
	return add_attr(d->w, "ioprio", s->value);
}

static int rule_core(const struct plan *p, const struct setting *s, struct draft *d)
{
	(void)p;
	return add_attr(d->w, "core-sched", s->value);
}

static int rule_placement(const struct plan *p, const struct setting *s, struct draft *d)
{
	static const struct {
		enum place_memory policy;
		const char *process, *backend; /* words of set_mempolicy(2) and of QEMU's HostMemPolicy */
	} words[] = {
		{PLACE_MEMORY_PREFERRED, "preferred", "preferred"},
		{PLACE_MEMORY_STRICT, "preferred", "bind"},
		{PLACE_MEMORY_INTERLEAVE, "interleave", "interleave"},
	};
	_cleanup_free_ char *nodes = idset_text(&p->placement.memory_nodes);
	_cleanup_sbuf_ struct sbuf b = {0};

	(void)s;
	if (!nodes)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (words[i].policy != p->placement.memory_policy || !*nodes)
			continue;
		sbuf_addf(&b, "%s:%s", words[i].process, nodes);
		if (b.failed || add_attr(d->w, "mempolicy", b.s))
			return -ENOMEM;
		(void)snprintf(d->all.policy, sizeof(d->all.policy), "%s", words[i].backend); /* fits */
		d->all.nodes = p->placement.memory_nodes;
		d->placed |= words[i].policy != PLACE_MEMORY_PREFERRED;
	}
	return 0;
}

static int rule_pages(const struct plan *p, const struct setting *s, struct draft *d)
{
	if (p->placement.page_size == 0 || streq(s->value, "thp"))
		return 0;
	d->pages = true;
	d->all.page_size = p->placement.page_size;
	for (unsigned int i = 0; i < p->placement.n_pages && !d->all.policy[0]; i++)
		if (p->placement.pages[i].size == d->all.page_size && p->placement.pages[i].node >= 0)
			idset_add(&d->all.nodes, (unsigned int)p->placement.pages[i].node);
	return 0;
}

static int rule_prealloc(const struct plan *p, const struct setting *s, struct draft *d)
{
	(void)p;
	d->all.prealloc = streq(s->value, "yes");
	return 0;
}

static int rule_lock(const struct plan *p, const struct setting *s, struct draft *d)
{
	const struct placement *pl = &p->placement;
	uint64_t loops = pl->n_iothreads + UINT64_C(1);

	if (streq(s->value, "yes"))
		d->w->lock = p->memory + LOCK_REST + (pl->n_vcpus + loops * (LOCK_WORKERS + 1)) * LOCK_THREAD;
	return 0;
}

static int rule_merge(const struct plan *p, const struct setting *s, struct draft *d)
{
	(void)p;
	d->w->merge = streq(s->value, "yes");
	return 0;
}

static int add_disk(struct wplan *w, const char *target, const char *alias, const char *path, struct wplan_disk **ret)
{
	struct wplan_disk *grown = reallocarray(w->disks, w->n_disks + 1, sizeof(*grown)), *k;

	if (!grown)
		return -ENOMEM;
	w->disks = grown;
	k = &grown[w->n_disks];
	*k = (struct wplan_disk){.target = strdup(target), .alias = strdup(alias), .path = strdup(path)};
	if (!k->target || !k->alias || !k->path) {
		disk_fini(k);
		return -ENOMEM;
	}
	w->n_disks++;
	*ret = k;
	return 0;
}

/* The words of a disk's record, in its order. */
static const struct disk_word {
	const char *knob;
	size_t at; /* in struct wplan_disk */
	const char *words[5];
} disk_words[] = {
	{"disk.io", offsetof(struct wplan_disk, io), {"auto", "threads", "native", "io_uring"}},
	{"disk.cache", offsetof(struct wplan_disk, cache), {"none", "writeback", "unsafe"}},
	{"disk.discard", offsetof(struct wplan_disk, discard), {"unmap", "ignore"}},
	{"disk.detect-zeroes", offsetof(struct wplan_disk, zeroes), {"off", "on", "unmap"}},
};

#define DISK_WORD_SIZE sizeof(((struct wplan_disk *)NULL)->io)

/* False: not one of its words. */
static bool set_disk_word(struct wplan_disk *k, const struct disk_word *d, const char *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(d->words) && d->words[i]; i++)
		if (streq(value, d->words[i])) {
			(void)snprintf((char *)k + d->at, DISK_WORD_SIZE, "%s", value); /* fits */
			return true;
		}
	return false;
}

static int get_disk(const struct plan *p, const char *target, struct wplan *w, struct wplan_disk **ret)
{
	const struct plan_disk *disk = plan_find_disk(p, target);

	*ret = NULL;
	for (unsigned int i = 0; i < w->n_disks; i++)
		if (streq(w->disks[i].target, target))
			*ret = &w->disks[i];
	return *ret || !disk ? 0 : add_disk(w, target, disk->alias, disk->path, ret);
}

static int rule_disk_word(const struct plan *p, const struct setting *s, struct draft *d)
{
	struct wplan_disk *k;
	int r = get_disk(p, s->target, d->w, &k);

	for (size_t i = 0; i < ARRAY_SIZE(disk_words) && k; i++)
		if (streq(s->knob, disk_words[i].knob))
			(void)set_disk_word(k, &disk_words[i], s->value); /* the plan knows no others */
	return r;
}

static int rule_metadata(const struct plan *p, const struct setting *s, struct draft *d)
{
	struct wplan_disk *k;
	int r = get_disk(p, s->target, d->w, &k);

	if (k)
		k->metadata = num_parse_range(s->value, 0, INT64_MAX, &k->metadata_bytes) == 0;
	return r;
}

/* In this order: the pages' policy is the placement's where there is one. */
static const struct {
	const char *knob;
	int (*rule)(const struct plan *p, const struct setting *s, struct draft *d);
} rules[] = {
	{"cpu.emulator", rule_affinity},    {"memory.placement", rule_placement}, {"memory.pages", rule_pages},
	{"memory.prealloc", rule_prealloc}, {"memory.lock", rule_lock},           {"memory.merge", rule_merge},
	{"io.priority", rule_ioprio},       {"cpu.core-scheduling", rule_core},
	{"disk.io", rule_disk_word},        {"disk.cache", rule_disk_word},       {"disk.discard", rule_disk_word},
	{"disk.detect-zeroes", rule_disk_word}, {"disk.metadata-cache", rule_metadata},
};

/*
 * Threads that populate RAM: on those of the guest's CPUs that are on its nodes (all of its own where none is: memory
 * without CPUs), one for each of them, but no more than it has vCPUs. So its start takes no more of the host than it
 * may take later.
 */
static void set_prealloc(const struct plan *p, const struct host *h, struct wplan_memory *m)
{
	struct idset cpus = p->placement.emulator, near = host_node_cpus(h, &m->nodes);
	unsigned int n = p->placement.n_vcpus, n_cpus;

	for (unsigned int i = 0; i < p->placement.n_vcpus; i++)
		idset_or(&cpus, &p->placement.vcpus[i].cpus);
	idset_and(&cpus, &h->online);
	idset_and(&near, &cpus);
	if (!idset_is_empty(&near))
		cpus = near;
	n_cpus = idset_count(&cpus);
	if (n > n_cpus)
		n = n_cpus;
	m->prealloc_cpus = cpus;
	m->prealloc_threads = n > PREALLOC_THREADS_MAX ? PREALLOC_THREADS_MAX : n;
}

/*
 * Policy for huge pages that nobody asked a policy for: one that takes them where they are claimed. And bound ones of
 * several nodes are taken page by page, since bind would take all of the nearest first, and each node is to give what
 * was claimed there.
 */
static void spread_pages(struct wplan_memory *m)
{
	bool several = idset_count(&m->nodes) > 1;

	if (m->page_size == 0 || idset_is_empty(&m->nodes))
		return;
	if (!m->policy[0])
		(void)snprintf(m->policy, sizeof(m->policy), "%s", several ? "interleave" : "preferred"); /* fits */
	else if (streq(m->policy, "bind") && several)
		(void)snprintf(m->policy, sizeof(m->policy), "interleave"); /* fits */
}

/* One record for the whole guest, or, where the placement says where its cells go, one for each. */
static void make_records(const struct plan *p, const struct host *h, const struct draft *d)
{
	const struct placement *pl = &p->placement;
	struct wplan *w = d->w;
	bool cells = (d->pages || d->all.policy[0]) && pl->n_cells > 0, needed = d->placed || d->pages;

	w->n_memory = cells ? pl->n_cells : 1;
	for (unsigned int i = 0; i < w->n_memory; i++) {
		struct wplan_memory *m = &w->memory[i];

		*m = d->all;
		if (cells) {
			m->cell = (int)pl->cells[i].id;
			m->nodes = pl->cells[i].nodes;
			m->page_size = d->pages ? pl->cells[i].page_size : 0;
			needed |= !idset_equal(&m->nodes, &pl->memory_nodes);
		}
		spread_pages(m);
		/* Huge pages are reserved for the host, not for a node: a page that is missing later is a SIGBUS. */
		if (m->page_size > 0)
			m->prealloc = 1;
		/* "no" is what QEMU does by itself. */
		needed |= m->prealloc == 1;
		if (m->prealloc == 1)
			set_prealloc(p, h, m);
	}
	if (!needed)
		w->n_memory = 0;
}

/* Caches of L2 tables are locked, too: at most so much for each image of a chain. */
static void lock_caches(struct wplan *w)
{
	uint64_t bytes;

	for (unsigned int i = 0; i < w->n_disks && w->lock; i++)
		if (__builtin_mul_overflow(w->disks[i].metadata_bytes, BLOCKDEV_CHAIN, &bytes) ||
		    __builtin_add_overflow(w->lock, bytes, &w->lock))
			w->lock = UINT64_MAX;
}

int wplan_from_plan(const struct plan *p, const struct host *h, const char *boot_id, struct wplan *ret)
{
	struct wplan w = {.merge = -1, .id = p->id, .qemu = p->wrapper.qemu};
	struct draft d = {.w = &w, .all = {.cell = WPLAN_WHOLE, .prealloc = -1}};
	int r = 0;

	(void)snprintf(w.boot_id, sizeof(w.boot_id), "%s", boot_id);
	(void)snprintf(w.uuid, sizeof(w.uuid), "%s", p->uuid);
	w.emulator = strdup(p->wrapper.emulator ? p->wrapper.emulator : "");
	w.memory = calloc(p->placement.n_cells + 1, sizeof(*w.memory));
	if (!w.emulator || !w.memory)
		r = -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(rules) && r == 0; i++)
		for (size_t j = 0; j < p->n_settings && r == 0; j++)
			if (p->settings[j].stage == STAGE_EXEC && streq(p->settings[j].knob, rules[i].knob))
				r = rules[i].rule(p, &p->settings[j], &d);
	if (r < 0) {
		wplan_fini(&w);
		return r;
	}
	make_records(p, h, &d);
	lock_caches(&w);
	*ret = w;
	return 0;
}

static const char *number(char buf[NUMBER_MAX], uint64_t n)
{
	(void)snprintf(buf, NUMBER_MAX, "%" PRIu64, n); /* 20 digits fit */
	return buf;
}

static void put_memory(struct sbuf *b, const struct wplan_memory *m)
{
	_cleanup_free_ char *nodes = idset_text(&m->nodes), *cpus = idset_text(&m->prealloc_cpus);
	char size[NUMBER_MAX], threads[NUMBER_MAX], cell[NUMBER_MAX];

	if (!nodes || !cpus) {
		b->failed = true;
		return;
	}
	record_add(b, "memory", m->page_size ? "huge" : "keep", number(size, m->page_size), nodes, m->policy,
		   m->prealloc > 0    ? "yes"
		   : m->prealloc == 0 ? "no"
				      : "",
		   number(threads, m->prealloc_threads), cpus, m->cell < 0 ? "" : number(cell, (uint64_t)m->cell),
		   NULL);
}

static void put_disk(struct sbuf *b, const struct wplan_disk *k)
{
	char bytes[NUMBER_MAX];

	record_add(b, "disk", k->target, k->alias, k->path, k->io, k->cache, k->discard, k->zeroes,
		   k->metadata ? number(bytes, k->metadata_bytes) : "", NULL);
}

int wplan_save(const struct hostfs *fs, const struct wplan *w, struct err *e)
{
	_cleanup_sbuf_ struct sbuf b = {0};
	char id[NUMBER_MAX], qemu[NUMBER_MAX];
	int r;

	if (!uuid_is_valid(w->uuid))
		return err_set(e, EINVAL, "wrapper's plan: '%s' is no UUID", w->uuid);
	record_add(&b, "head", WPLAN_FORMAT, w->boot_id, w->uuid, w->id < 0 ? "" : number(id, (uint64_t)w->id),
		   w->emulator ? w->emulator : "", number(qemu, w->qemu), NULL);
	for (unsigned int i = 0; i < w->n_attrs; i++)
		record_add(&b, "attr", w->attrs[i].name, w->attrs[i].value, NULL);
	for (unsigned int i = 0; i < w->n_memory; i++)
		put_memory(&b, &w->memory[i]);
	if (w->lock)
		record_add(&b, "lock", number(id, w->lock), NULL);
	if (w->merge >= 0)
		record_add(&b, "merge", w->merge ? "yes" : "no", NULL);
	for (unsigned int i = 0; i < w->n_disks; i++)
		put_disk(&b, &w->disks[i]);
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

/* Records of cells beside one of the whole guest, or of the same cell, contradict each other. */
static bool has_room(const struct wplan *w, int cell)
{
	for (unsigned int i = 0; i < w->n_memory; i++)
		if (w->memory[i].cell == cell || w->memory[i].cell < 0 || cell < 0)
			return false;
	return w->n_memory < WPLAN_MEMORY_MAX;
}

static int take_memory(struct wplan *w, const struct record *r)
{
	static const char *const policies[] = {"", "bind", "preferred", "interleave"};
	const char *policy = record_str(r, 4), *prealloc = record_str(r, 5);
	uint64_t size = record_u64(r, 2, UINT64_MAX), threads = record_u64(r, 6, UINT64_MAX);
	uint64_t cell = record_u64(r, 8, UINT64_MAX);
	struct wplan_memory *grown, m = {.page_size = size, .prealloc_threads = (unsigned int)threads};
	bool known = false, whole = !*record_str(r, 8);

	for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
		known |= streq(policy, policies[i]);
	if (!known || threads > UINT32_MAX || size == UINT64_MAX || streq(record_str(r, 1), "huge") != (size > 0) ||
	    (!whole && cell > INT32_MAX) || parse_set(record_str(r, 3), &m.nodes) ||
	    parse_set(record_str(r, 7), &m.prealloc_cpus))
		return -EBADMSG;
	m.cell = whole ? WPLAN_WHOLE : (int)cell;
	(void)snprintf(m.policy, sizeof(m.policy), "%s", policy); /* one of the above */
	m.prealloc = streq(prealloc, "yes") ? 1 : streq(prealloc, "no") ? 0 : -1;
	if (!has_room(w, m.cell))
		return -EBADMSG;
	grown = reallocarray(w->memory, w->n_memory + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	w->memory = grown;
	grown[w->n_memory++] = m;
	return 0;
}

static int take_lock(struct wplan *w, const struct record *r)
{
	w->lock = record_u64(r, 1, 0);
	return w->lock ? 0 : -EBADMSG;
}

static int take_merge(struct wplan *w, const struct record *r)
{
	const char *value = record_str(r, 1);

	w->merge = streq(value, "yes");
	return w->merge || streq(value, "no") ? 0 : -EBADMSG;
}

static int take_attr(struct wplan *w, const struct record *r)
{
	return add_attr(w, record_str(r, 1), record_str(r, 2));
}

static int take_disk(struct wplan *w, const struct record *r)
{
	const char *bytes = record_str(r, 8);
	struct wplan_disk *k;
	int e;

	if (w->n_disks >= DOMAIN_DISKS_MAX || !*record_str(r, 1) || !*record_str(r, 2))
		return -EBADMSG;
	for (unsigned int i = 0; i < w->n_disks; i++)
		if (streq(w->disks[i].target, record_str(r, 1)) || streq(w->disks[i].alias, record_str(r, 2)))
			return -EBADMSG;
	e = add_disk(w, record_str(r, 1), record_str(r, 2), record_str(r, 3), &k);
	if (e < 0)
		return e;
	for (unsigned int i = 0; i < ARRAY_SIZE(disk_words); i++)
		if (*record_str(r, 4 + i) && !set_disk_word(k, &disk_words[i], record_str(r, 4 + i)))
			return -EBADMSG;
	k->metadata = *bytes != '\0';
	return k->metadata && num_parse_range(bytes, 0, INT64_MAX, &k->metadata_bytes) < 0 ? -EBADMSG : 0;
}

/* 1 at the end record, 0 go on. A type that a later version added is none of this one's business. */
static int take_record(struct wplan *w, const struct record *r)
{
	static const struct {
		const char *type;
		int (*take)(struct wplan *w, const struct record *r);
	} types[] = {{"attr", take_attr}, {"memory", take_memory}, {"lock", take_lock}, {"merge", take_merge},
		     {"disk", take_disk}};
	const char *type = record_str(r, 0);

	if (streq(type, "head"))
		return take_head(w, r);
	if (!w->emulator)
		return -EBADMSG;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (streq(type, types[i].type))
			return types[i].take(w, r);
	return streq(type, "end");
}

int wplan_load(const struct hostfs *fs, const char *uuid, struct wplan *ret)
{
	struct wplan w = {.merge = -1};
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

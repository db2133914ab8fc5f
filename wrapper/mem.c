/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The back ends of guest RAM. Left as they are, whatever the plan says: a confidential guest's (the firmware measures
 * or converts it), those of a guest with memory devices, RAM that others share (vhost-user, virtiofsd have it mapped by
 * its kind), RAM with a file or memfd behind it (the owner chose that), and an argument that we would not print back
 * byte for byte. Members the owner wrote (host-nodes, policy, prealloc-threads, ...) are his.
 *
 * Each part of the plan (pages, placement, prealloc) is done to all guest cells or to none: they are tried together,
 * since two cells may want the same node's memory, and what cannot be had for one of them is left for all.
 *
 * The name of the RAM block in the migration stream is the object's id. For machine types up to 3.1 a memfd's
 * would be its whole path, "/objects/pc.ram" (measured with QEMU 7.2), without
 * x-use-canonical-path-for-ramblock-id=off.
 */
#include "wrapper/mem.h"

#include "wrapper/mem_priv.h"

#define QOM        "qom-type"
#define CONTEXT_ID "domtune-tc%u" /* not "iothread...": libvirt counts those */
#define CANONICAL  "x-use-canonical-path-for-ramblock-id"

/* thread-context objects and prealloc-context came with QEMU 7.2 (qapi/qom.json). */
#define QEMU_THREAD_CONTEXT 7002000u

/* The thread-contexts that were made: one for each set of CPUs. */
struct contexts {
	const struct idset **cpus;
	char **text; /* -object's value; NULL: used up */
	unsigned int n;
};

static void contexts_fini(struct contexts *c)
{
	for (unsigned int i = 0; i < c->n; i++)
		free(c->text[i]);
	free(c->text);
	free(c->cpus);
}

static bool wants_pages(const struct ram *r)
{
	return r->want->page_size > 0;
}

static bool wants_placement(const struct ram *r)
{
	return r->want->policy[0] && !idset_is_empty(&r->want->nodes);
}

/* Huge pages are reserved for the host, not for a node: populated now, they cannot be missing later. */
static bool wants_prealloc(const struct ram *r)
{
	return r->want->prealloc == 1 || (wants_pages(r) && r->want->prealloc != 0);
}

static bool any(const struct job *j, bool (*wants)(const struct ram *r))
{
	for (unsigned int i = 0; i < j->f.n; i++)
		if (j->f.ram[i].want && wants(&j->f.ram[i]))
			return true;
	return false;
}

/* One reason for every part that the plan asks for. */
static void keep_all(const struct job *j, const char *why)
{
	bool pages = false, placement = false, prealloc = false;

	for (unsigned int i = 0; i < j->w->n_memory; i++) {
		pages |= j->w->memory[i].page_size > 0;
		placement |= j->w->memory[i].policy[0] != '\0';
		prealloc |= j->w->memory[i].prealloc == 1;
	}
	if (pages)
		kept_add(j->kept, "memory.pages", "%s", why);
	if (placement)
		kept_add(j->kept, "memory.placement", "%s", why);
	if (prealloc)
		kept_add(j->kept, "memory.prealloc", "%s", why);
}

/* The owner's nodes, where he gave a back end any. */
static bool take_own_placement(struct ram *r)
{
	const char *own = obj_str(&r->o, "policy");

	if (!obj_has(&r->o, "host-nodes") && !own)
		return false;
	if (own && strlen(own) < sizeof(r->policy) && tryout_mode(own) >= 0 &&
	    obj_ids(&r->o, "host-nodes", &r->nodes) == 0)
		memcpy(r->policy, own, strlen(own) + 1);
	return true;
}

/* Nodes and policy that each will have: the owner's, else the plan's if all of them may be had, else none. */
static void choose_placement(struct job *j)
{
	struct err e = ERR_INIT;
	bool own = false;

	for (unsigned int i = 0; i < j->f.n; i++)
		own |= take_own_placement(&j->f.ram[i]);
	if (!any(j, wants_placement))
		return;
	if (own) {
		kept_add(j->kept, "memory.placement", "the memory back end has nodes of its own");
		return;
	}
	for (unsigned int i = 0; i < j->f.n; i++) {
		const struct wplan_memory *want = j->f.ram[i].want;

		if (wants_placement(&j->f.ram[i]) && j->t->placement(want->policy, &want->nodes, &e) < 0) {
			kept_add(j->kept, "memory.placement", "%s", e.text);
			return;
		}
	}
	for (unsigned int i = 0; i < j->f.n; i++) {
		struct ram *r = &j->f.ram[i];

		if (!wants_placement(r))
			continue;
		memcpy(r->policy, r->want->policy, sizeof(r->policy));
		r->nodes = r->want->nodes;
		r->placed = true;
	}
}

/* What QEMU will ask for at start, of huge pages and (populated ones) of ordinary memory. NULL: no memory. */
static struct tryout_part *make_parts(const struct job *j, bool huge, unsigned int *ret_n)
{
	struct tryout_part *parts = calloc(j->f.n + 1, sizeof(*parts));

	*ret_n = 0;
	for (unsigned int i = 0; parts && i < j->f.n; i++) {
		const struct ram *r = &j->f.ram[i];
		struct tryout_part *p = &parts[*ret_n];

		if (huge ? !wants_pages(r) : wants_pages(r) || !wants_prealloc(r))
			continue;
		*p = (struct tryout_part){.page = r->want->page_size, .bytes = r->size, .nodes = r->nodes};
		memcpy(p->policy, r->policy, sizeof(p->policy));
		++*ret_n;
	}
	return parts;
}

static int set_huge(struct ram *r)
{
	struct obj *o = &r->o;
	int e = obj_set_str(o, QOM, "memory-backend-memfd");

	if (e == 0)
		e = obj_set_bool(o, "hugetlb", true);
	if (e == 0)
		e = obj_set_u64(o, "hugetlbsize", r->want->page_size);
	if (e == 0)
		e = obj_set_bool(o, "share", false); /* memfd's default is true */
	if (e == 0 && !obj_has(o, CANONICAL))
		e = obj_set_bool(o, CANONICAL, false);
	return e;
}

static int set_placement(struct ram *r)
{
	int e = obj_set_ids(&r->o, "host-nodes", &r->nodes);

	return e < 0 ? e : obj_set_str(&r->o, "policy", r->policy);
}

/* The id of a thread-context on these CPUs, one that is there already or a new one. */
static int get_context(struct contexts *c, bool json, const struct idset *cpus, char id[32])
{
	_cleanup_obj_ struct obj context = {0};
	unsigned int i = 0;
	int r;

	while (i < c->n && !idset_equal(c->cpus[i], cpus))
		i++;
	(void)snprintf(id, 32, CONTEXT_ID, i); /* fits */
	if (i < c->n)
		return 0;
	/* node-affinity would be shorter, but makes QEMU read sysfs, which its profile may deny. */
	r = obj_new(json, "thread-context", id, &context);
	if (r == 0)
		r = obj_set_ids(&context, "cpu-affinity", cpus);
	if (r == 0 && !(c->text[i] = obj_text(&context, QOM)))
		r = -ENOMEM;
	c->cpus[i] = cpus;
	c->n += r == 0;
	return r;
}

/* Populate at start, in parallel, by threads that run where the memory is. */
static int set_prealloc(struct ram *r, bool on_cpus, struct contexts *c)
{
	const struct wplan_memory *want = r->want;
	char id[32];
	int e = 0;

	if (obj_bool(&r->o, "prealloc") != 1) {
		e = obj_set_bool(&r->o, "prealloc", true);
		r->changed = true;
	}
	if (e == 0 && want->prealloc_threads && !obj_has(&r->o, "prealloc-threads")) {
		e = obj_set_u64(&r->o, "prealloc-threads", want->prealloc_threads);
		r->changed = true;
	}
	if (e < 0 || !on_cpus || idset_is_empty(&want->prealloc_cpus) || obj_has(&r->o, "prealloc-context"))
		return e;
	e = get_context(c, r->o.json, &want->prealloc_cpus, id);
	r->changed = true;
	return e < 0 ? e : obj_set_str(&r->o, "prealloc-context", id);
}

/* Whether threads may be put on the CPUs that the plan has for them: on all of these, or none is. */
static bool may_have_contexts(struct job *j)
{
	struct err e = ERR_INIT;

	for (unsigned int i = 0; i < j->f.n && j->qemu >= QEMU_THREAD_CONTEXT; i++) {
		const struct ram *r = &j->f.ram[i];

		if (!wants_prealloc(r) || idset_is_empty(&r->want->prealloc_cpus) ||
		    obj_has(&r->o, "prealloc-context") || j->t->cpus(&r->want->prealloc_cpus, &e) == 0)
			continue;
		kept_add(j->kept, "memory.prealloc", "on no particular CPUs: %s", e.text);
		return false;
	}
	return j->qemu >= QEMU_THREAD_CONTEXT;
}

/* What of the plan can be had. Negative: no memory. */
static int try_parts(struct job *j, bool *ret_pages, bool *ret_populate)
{
	_cleanup_free_ struct tryout_part *huge = NULL, *ordinary = NULL;
	unsigned int n_huge, n_ordinary;
	struct err e = ERR_INIT;

	choose_placement(j);
	huge = make_parts(j, true, &n_huge);
	ordinary = make_parts(j, false, &n_ordinary);
	if (!huge || !ordinary)
		return -ENOMEM;
	*ret_pages = n_huge == 0 || j->t->pages(j->fs, huge, n_huge, &e) == 0;
	if (!*ret_pages) {
		/* The nodes were judged by their huge pages; nobody knows whether they have as much ordinary memory. */
		kept_add(j->kept, "memory.pages", "%s", e.text);
		return 0;
	}
	*ret_populate = n_ordinary == 0 || j->t->memory(j->fs, ordinary, n_ordinary, &e) == 0;
	if (!*ret_populate)
		kept_add(j->kept, "memory.prealloc", "%s", e.text);
	return 0;
}

static bool wants_prealloc_said(const struct ram *r)
{
	return r->want->prealloc == 1;
}

static bool is_placed(const struct ram *r)
{
	return r->placed;
}

static void keep_with_pages(struct job *j)
{
	if (any(j, is_placed))
		kept_add(j->kept, "memory.placement", "as memory.pages");
	if (any(j, wants_prealloc_said))
		kept_add(j->kept, "memory.prealloc", "as memory.pages");
	for (unsigned int i = 0; i < j->f.n; i++)
		if (j->f.ram[i].placed) {
			j->f.ram[i].policy[0] = '\0';
			j->f.ram[i].nodes = IDSET_EMPTY;
		}
}

static int rewrite(struct job *j, struct contexts *c)
{
	bool pages = false, populate = false, on_cpus = false;
	int r = try_parts(j, &pages, &populate);

	if (r < 0)
		return r;
	if (!pages) {
		keep_with_pages(j);
		return 0;
	}
	for (unsigned int i = 0; i < j->f.n && r == 0; i++) {
		struct ram *ram = &j->f.ram[i];

		ram->changed = wants_pages(ram) || ram->placed;
		if (wants_pages(ram))
			r = set_huge(ram);
		if (r == 0 && ram->placed)
			r = set_placement(ram);
	}
	if (r == 0 && any(j, wants_prealloc))
		on_cpus = may_have_contexts(j);
	for (unsigned int i = 0; i < j->f.n && r == 0; i++)
		if (wants_prealloc(&j->f.ram[i]) && (populate || wants_pages(&j->f.ram[i])))
			r = set_prealloc(&j->f.ram[i], on_cpus, c);
	return r;
}

/* The changed words; then the new objects, all before the first back end, since QEMU makes them in this order. */
static int put_back(struct job *j, struct contexts *c, struct argv_edit *edit)
{
	int r = 0, first = edit->n;

	for (unsigned int i = 0; i < j->f.n && r == 0; i++) {
		const struct ram *ram = &j->f.ram[i];

		if (ram->at > 0 && ram->at < first)
			first = ram->at;
		if (ram->changed)
			r = argv_edit_replace(edit, ram->at, obj_text(&ram->o, QOM));
	}
	for (unsigned int i = c->n; i > 0 && r == 0; i--)
		r = argv_edit_insert(edit, first - 1, "-object", steal_ptr(&c->text[i - 1]));
	return r;
}

int mem_rewrite(const struct hostfs *fs, const struct wplan *w, unsigned int qemu, const struct tryout *t,
		struct argv_edit *edit, struct kept *kept)
{
	struct job j = {.fs = fs, .w = w, .qemu = qemu, .t = t, .kept = kept};
	_cleanup_(contexts_fini) struct contexts c = {0};
	int r;

	if (!wplan_edits_memory(w))
		return 0;
	r = mem_find(edit, &j);
	if (r == 0) {
		c.cpus = calloc(j.f.n + 1, sizeof(*c.cpus));
		c.text = calloc(j.f.n + 1, sizeof(*c.text));
		r = c.cpus && c.text ? 0 : -ENOMEM;
	}
	if (r == 0 && j.f.why_ram[0])
		keep_all(&j, j.f.why_ram);
	else if (r == 0 && w->n_memory > 0)
		r = rewrite(&j, &c);
	if (r == 0)
		r = mem_lock(&j, edit);
	if (r == 0)
		r = mem_merge(&j, edit);
	if (r == 0)
		r = put_back(&j, &c, edit);
	mem_found_fini(&j.f);
	return r;
}

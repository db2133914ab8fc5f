/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Left as it is, whatever the plan says: a confidential guest's RAM (the firmware measures or converts it),
 * RAM that others share (vhost-user, virtiofsd have it mapped by its kind), RAM with a file or memfd behind it
 * (the owner chose that), back ends of NUMA cells and of memory devices, and an argument that we would not
 * print back byte for byte. Members the owner wrote (host-nodes, policy, prealloc-threads, ...) are his.
 *
 * The name of the RAM block in the migration stream is the object's id. For machine types up to 3.1 a memfd's
 * would be its whole path, "/objects/pc.ram" (measured with QEMU 7.2), without
 * x-use-canonical-path-for-ramblock-id=off.
 */
#include "wrapper/mem.h"

#define QOM "qom-type"
#define CONTEXT_ID "domtune-tc0" /* not "iothread...": libvirt counts those */
#define CANONICAL "x-use-canonical-path-for-ramblock-id"

/* thread-context objects and prealloc-context came with QEMU 7.2 (qapi/qom.json). */
#define QEMU_THREAD_CONTEXT 7002000u

struct ram {
	int at;             /* index of the -object's value */
	struct obj o;
	uint64_t size;
	const char *why;    /* why it must stay as it is; NULL: it may be changed */
};

struct job {
	const struct hostfs *fs;
	const struct wplan *w;
	unsigned int qemu;
	const struct tryout *t;
	struct kept *kept;
	struct ram ram;
	bool changed;
};

/* One reason for every part that the plan asks for. */
static void keep_all(const struct job *j, const char *why)
{
	if (j->w->page_size)
		kept_add(j->kept, "memory.pages", "%s", why);
	if (j->w->policy[0])
		kept_add(j->kept, "memory.placement", "%s", why);
	if (j->w->prealloc == 1)
		kept_add(j->kept, "memory.prealloc", "%s", why);
}

/* The id that -machine names, malloc'ed; NULL with *ret_why set where RAM is not to be looked at. */
static char *find_backend_id(const struct argv_edit *e, const char **ret_why)
{
	_cleanup_obj_ struct obj machine = { 0 };
	struct argv_option o;
	bool cells = false;
	const char *id;
	int pos = 1;

	*ret_why = NULL;
	while (argv_next(e->n, e->v, &pos, &o) > 0) {
		if (streq(o.name, "numa"))
			cells = true;
		if (streq(o.name, "mem-path") || streq(o.name, "mem-prealloc"))
			*ret_why = "guest RAM is set by -mem-path or -mem-prealloc";
		if (streq(o.name, "machine") && !machine.o && obj_parse(o.value, "type", &machine) < 0)
			*ret_why = "-machine is not understood";
	}
	if (!*ret_why && !machine.o)
		*ret_why = "guest RAM has no back end on the command line";
	if (*ret_why)
		return NULL;
	/* The first is QEMU's word since 6.0, the second before. */
	if (obj_has(&machine, "confidential-guest-support") || obj_has(&machine, "memory-encryption")) {
		*ret_why = "confidential guest";
		return NULL;
	}
	id = obj_str(&machine, "memory-backend");
	if (!id)
		*ret_why = cells ? "guest has NUMA cells" : "guest RAM has no back end on the command line";
	return id ? strdup(id) : NULL;
}

/* Find and read the object. Its `why` says whether it may be changed. -ENOENT: there is not exactly one. */
static int find_ram(const struct argv_edit *e, const char *id, struct ram *ret)
{
	struct argv_option o;
	int pos = 1, found = 0, r;

	while (argv_next(e->n, e->v, &pos, &o) > 0) {
		_cleanup_obj_ struct obj obj = { 0 };
		const char *have;

		if (!streq(o.name, "object") || !strstr(o.value, id))
			continue;
		r = obj_parse(o.value, QOM, &obj);
		if (r == -ENOMEM)
			return r;
		have = r < 0 ? NULL : obj_str(&obj, "id");
		if (!have || !streq(have, id))
			continue;
		if (found++ == 0) {
			ret->at = o.at;
			ret->o = obj;
			obj = (struct obj){ 0 };
		}
	}
	return found == 1 ? 0 : -ENOENT;
}

static const char *why_fixed(const struct argv_edit *e, struct ram *ram)
{
	const char *type = obj_str(&ram->o, QOM);
	int share = obj_bool(&ram->o, "share");

	if (!type || !streq(type, "memory-backend-ram"))
		return "guest RAM has a file or memfd behind it already";
	if (share == 1)
		return "guest RAM is shared";
	if (share == -EBADMSG || obj_u64(&ram->o, "size", &ram->size) < 0 || !ram->size ||
	    !obj_is_faithful(&ram->o, QOM, e->v[ram->at]))
		return "the memory back end's argument is not understood";
	/* Without reservation a page that is missing later ends the guest. */
	if (obj_has(&ram->o, "reserve"))
		return "the memory back end has a `reserve` of its own";
	return NULL;
}

/* Set a member. Only memory can be short; the caller then drops everything. */
static int put(struct job *j, int r)
{
	j->changed = true;
	return r;
}

/* Nodes and policy that RAM will have: the owner's, else the plan's if they may be had, else none. */
static void choose_placement(struct job *j, char policy[16], struct idset *nodes, bool *ret_ours)
{
	const struct wplan *w = j->w;
	struct err e = ERR_INIT;

	policy[0] = '\0';
	*nodes = IDSET_EMPTY;
	*ret_ours = false;
	if (obj_has(&j->ram.o, "host-nodes") || obj_has(&j->ram.o, "policy")) {
		const char *own = obj_str(&j->ram.o, "policy");

		if (w->policy[0])
			kept_add(j->kept, "memory.placement", "the memory back end has nodes of its own");
		if (own && strlen(own) < 16 && tryout_mode(own) >= 0 && obj_ids(&j->ram.o, "host-nodes", nodes) == 0)
			memcpy(policy, own, strlen(own) + 1);
		return;
	}
	if (!w->policy[0] || idset_is_empty(&w->nodes))
		return;
	if (j->t->placement(w->policy, &w->nodes, &e) < 0) {
		kept_add(j->kept, "memory.placement", "%s", e.text);
		return;
	}
	memcpy(policy, w->policy, sizeof(w->policy));
	*nodes = w->nodes;
	*ret_ours = true;
}

static int set_placement(struct job *j, const char *policy, const struct idset *nodes)
{
	int r = put(j, obj_set_ids(&j->ram.o, "host-nodes", nodes));

	return r < 0 ? r : put(j, obj_set_str(&j->ram.o, "policy", policy));
}

static int set_huge(struct job *j)
{
	struct obj *o = &j->ram.o;
	int r = put(j, obj_set_str(o, QOM, "memory-backend-memfd"));

	if (r == 0)
		r = obj_set_bool(o, "hugetlb", true);
	if (r == 0)
		r = obj_set_u64(o, "hugetlbsize", j->w->page_size);
	if (r == 0)
		r = obj_set_bool(o, "share", false); /* memfd's default is true */
	if (r == 0 && !obj_has(o, CANONICAL))
		r = obj_set_bool(o, CANONICAL, false);
	return r;
}

/* Populate at start, in parallel, by threads that run where the memory is. */
static int set_prealloc(struct job *j, char **ret_context)
{
	_cleanup_obj_ struct obj context = { 0 };
	const struct wplan *w = j->w;
	struct obj *o = &j->ram.o;
	struct err e = ERR_INIT;
	int r = 0;

	if (obj_bool(o, "prealloc") != 1)
		r = put(j, obj_set_bool(o, "prealloc", true));
	/* prealloc-threads is of QEMU 5.0, as memory-backend= of -machine is, which brought us here. */
	if (r == 0 && w->prealloc_threads && !obj_has(o, "prealloc-threads"))
		r = put(j, obj_set_u64(o, "prealloc-threads", w->prealloc_threads));
	if (r < 0 || idset_is_empty(&w->prealloc_cpus) || j->qemu < QEMU_THREAD_CONTEXT ||
	    obj_has(o, "prealloc-context"))
		return r;
	if (j->t->cpus(&w->prealloc_cpus, &e) < 0) {
		kept_add(j->kept, "memory.prealloc", "on no particular CPUs: %s", e.text);
		return 0;
	}
	/* node-affinity would be shorter, but makes QEMU read sysfs, which its profile may deny. */
	r = obj_new(o->json, "thread-context", CONTEXT_ID, &context);
	if (r == 0)
		r = obj_set_ids(&context, "cpu-affinity", &w->prealloc_cpus);
	if (r == 0)
		r = put(j, obj_set_str(o, "prealloc-context", CONTEXT_ID));
	if (r == 0 && !(*ret_context = obj_text(&context, QOM)))
		r = -ENOMEM;
	return r;
}

static int rewrite(struct job *j, char **ret_context)
{
	const struct wplan *w = j->w;
	struct idset nodes;
	char policy[16];
	bool ours, huge = w->page_size != 0, populate = w->prealloc == 1 || (huge && w->prealloc != 0);
	struct err e = ERR_INIT;
	int r = 0;

	choose_placement(j, policy, &nodes, &ours);
	if (huge && j->t->pages(j->fs, w->page_size, j->ram.size, policy, &nodes, &e) < 0) {
		/* The node was judged by its huge pages; nobody knows whether it has as much ordinary memory. */
		kept_add(j->kept, "memory.pages", "%s", e.text);
		if (ours)
			kept_add(j->kept, "memory.placement", "as memory.pages");
		if (w->prealloc == 1)
			kept_add(j->kept, "memory.prealloc", "as memory.pages");
		return 0;
	}
	if (huge)
		r = set_huge(j);
	if (r == 0 && ours)
		r = set_placement(j, policy, &nodes);
	if (r == 0 && populate && !huge && j->t->memory(j->fs, j->ram.size, policy, &nodes, &e) < 0) {
		kept_add(j->kept, "memory.prealloc", "%s", e.text);
		return 0;
	}
	/* Huge pages are reserved for the host, not for a node: populated now, they cannot be missing later. */
	return r == 0 && populate ? set_prealloc(j, ret_context) : r;
}

int mem_rewrite(const struct hostfs *fs, const struct wplan *w, unsigned int qemu, const struct tryout *t,
		struct argv_edit *edit, struct kept *kept)
{
	struct job j = { .fs = fs, .w = w, .qemu = qemu, .t = t, .kept = kept };
	_cleanup_free_ char *id = NULL, *context = NULL;
	const char *why = NULL;
	int r;

	if (!w->memory)
		return 0;
	id = find_backend_id(edit, &why);
	if (!id) {
		keep_all(&j, why ? why : "out of memory");
		return 0;
	}
	r = find_ram(edit, id, &j.ram);
	if (r == 0)
		j.ram.why = why_fixed(edit, &j.ram);
	else if (r == -ENOENT)
		j.ram.why = "guest RAM has no back end on the command line";
	if (j.ram.why)
		keep_all(&j, j.ram.why);
	else if (r == 0)
		r = rewrite(&j, &context);
	if (r == 0 && j.changed)
		r = argv_edit_replace(edit, j.ram.at, obj_text(&j.ram.o, QOM));
	if (r == 0 && context)
		r = argv_edit_insert(edit, j.ram.at - 1, "-object", steal_ptr(&context));
	obj_fini(&j.ram.o);
	return r == -ENOENT ? 0 : r;
}

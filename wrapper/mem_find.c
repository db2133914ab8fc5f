/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest RAM on the command line. It has a back end that "-machine memory-backend=ID" names, or one for each guest cell,
 * by "-numa node,nodeid=N,memdev=ID". Anything else (mem=, -mem-path, neither) has no object that could be changed.
 *
 * Two kinds of reasons come of it: `why` for guests that are left alone altogether, and `why_ram` for back ends that
 * are. With several cells one reason holds for all: a guest with half of its cells rewritten would have some memory
 * where the plan wants it and claims for the rest that nobody uses.
 */
#include "wrapper/mem_priv.h"

#define QOM "qom-type"

/* What is set on back ends here is of 5.0 (prealloc-threads) and 4.0 (the name of a memfd's RAM block). */
#define QEMU_ENOUGH 5000000u

static void because(char why[160], const char *text)
{
	if (!why[0])
		(void)snprintf(why, 160, "%s", text); /* cut is fine */
}

static int add_ram(struct found *f, int cell, const char *id)
{
	struct ram *grown = reallocarray(f->ram, f->n + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	f->ram = grown;
	grown[f->n] = (struct ram){.cell = cell, .id = strdup(id)};
	return grown[f->n++].id ? 0 : -ENOMEM;
}

static int see_machine(struct found *f, const struct argv_option *o)
{
	if (f->machine.o)
		return 0;
	f->machine_at = o->at;
	return obj_parse(o->value, "type", &f->machine);
}

static int see_numa(struct found *f, const struct argv_option *o)
{
	_cleanup_obj_ struct obj node = {0};
	uint64_t cell;
	int r = obj_parse(o->value, "type", &node);

	if (r < 0 || !obj_str(&node, "type"))
		return r < 0 ? r : -EBADMSG;
	if (!streq(obj_str(&node, "type"), "node"))
		return 0;
	if (obj_has(&node, "mem"))
		because(f->why_ram, "guest cells are set by mem=");
	if (!obj_has(&node, "memdev"))
		return 0; /* a cell of CPUs alone */
	if (!obj_str(&node, "memdev") || obj_u64(&node, "nodeid", &cell) < 0 || cell > INT32_MAX)
		return -EBADMSG;
	for (unsigned int i = 0; i < f->n; i++)
		if (f->ram[i].cell == (int)cell || streq(f->ram[i].id, obj_str(&node, "memdev")))
			return -EBADMSG;
	return add_ram(f, (int)cell, obj_str(&node, "memdev"));
}

/* Memory devices: each has a back end and an address of its own, may be plugged and unplugged, and be a file. */
static int see_device(struct found *f, const struct argv_option *o)
{
	static const char *const types[] = {"pc-dimm", "nvdimm", "virtio-mem", "virtio-pmem", "sgx-epc"};
	_cleanup_obj_ struct obj device = {0};
	const char *driver;
	bool any = false;
	char why[64];
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		any |= strstr(o->value, types[i]) != NULL;
	if (!any)
		return 0;
	r = obj_parse(o->value, "driver", &device);
	driver = r < 0 ? NULL : obj_str(&device, "driver");
	for (size_t i = 0; driver && i < ARRAY_SIZE(types); i++) {
		if (!str_starts(driver, types[i]))
			continue;
		(void)snprintf(why, sizeof(why), "guest has a memory device (%s)", types[i]); /* fits */
		because(f->why, why);
	}
	return r == -ENOMEM ? r : 0; /* other devices are not our business, whatever their spelling */
}

static int see_object(struct found *f, const struct argv_option *o)
{
	static const char *const types[] = {"sev-", "tdx-", "pef-guest", "s390-pv-guest", "memory-backend-epc"};
	_cleanup_obj_ struct obj object = {0};
	const char *type;
	bool any = false;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		any |= strstr(o->value, types[i]) != NULL;
	if (!any)
		return 0;
	r = obj_parse(o->value, QOM, &object);
	type = r < 0 ? NULL : obj_str(&object, QOM);
	for (size_t i = 0; type && i < ARRAY_SIZE(types); i++)
		if (str_starts(type, types[i]))
			because(f->why, "confidential guest");
	return r == -ENOMEM ? r : 0;
}

static int see_overcommit(struct found *f, const struct argv_option *o)
{
	if (f->n_overcommit++)
		return 0;
	f->overcommit_at = o->at;
	(void)obj_parse(o->value, NOT_IMPLIED, &f->overcommit); /* not understood: mem_lock() sees it is not there */
	return 0;
}

static int see_size(struct found *f, const struct argv_option *o)
{
	f->hot_plug |= strstr(o->value, "maxmem=") != NULL;
	return 0;
}

static int see_global(struct found *f, const struct argv_option *o)
{
	(void)o;
	because(f->why_ram, "guest RAM is set by -mem-path or -mem-prealloc");
	return 0;
}

static const struct {
	const char *name, *why; /* where it is not understood */
	int (*read)(struct found *f, const struct argv_option *o);
} ram_options[] = {
	{"machine", "-machine is not understood", see_machine},
	{"numa", "-numa is not understood", see_numa},
	{"device", "-device is not understood", see_device},
	{"object", "-object is not understood", see_object},
	{"overcommit", "-overcommit is not understood", see_overcommit},
	{"m", "-m is not understood", see_size},
	{"mem-path", "", see_global},
	{"mem-prealloc", "", see_global},
};

static int see_options(const struct argv_edit *e, struct found *f)
{
	struct argv_option o;
	int pos = 1, r;

	while (argv_next(e->n, e->v, &pos, &o) > 0) {
		for (size_t i = 0; i < ARRAY_SIZE(ram_options); i++) {
			r = streq(o.name, ram_options[i].name) ? ram_options[i].read(f, &o) : 0;
			if (r == -ENOMEM)
				return r;
			if (r < 0)
				because(f->why, ram_options[i].why);
		}
	}
	return 0;
}

static int read_backend_id(struct found *f)
{
	const char *id = f->machine.o ? obj_str(&f->machine, "memory-backend") : NULL;

	/* The first is QEMU's word since 6.0, the second before. */
	if (f->machine.o &&
	    (obj_has(&f->machine, "confidential-guest-support") || obj_has(&f->machine, "memory-encryption")))
		because(f->why, "confidential guest");
	if (id && f->n > 0)
		because(f->why, "guest RAM is named twice");
	else if (id)
		return add_ram(f, WPLAN_WHOLE, id);
	else if (f->n == 0)
		because(f->why_ram, "guest RAM has no back end on the command line");
	return 0;
}

/* Find and read the -object. -ENOENT: there is not exactly one. */
static int find_object(const struct argv_edit *e, struct ram *ret)
{
	struct argv_option o;
	int pos = 1, found = 0, r;

	while (argv_next(e->n, e->v, &pos, &o) > 0) {
		_cleanup_obj_ struct obj obj = {0};
		const char *have;

		if (!streq(o.name, "object") || !strstr(o.value, ret->id))
			continue;
		r = obj_parse(o.value, QOM, &obj);
		if (r == -ENOMEM)
			return r;
		have = r < 0 ? NULL : obj_str(&obj, "id");
		if (!have || !streq(have, ret->id))
			continue;
		if (found++ == 0) {
			ret->at = o.at;
			ret->o = obj;
			obj = (struct obj){0};
		}
	}
	return found == 1 ? 0 : -ENOENT;
}

/*
 * Whether the owner's kind of back end is one that mbind(2) cannot fail for: a new memfd, or a new file on huge pages.
 * An old file may have pages in memory that stay where they are, and QEMU then ends.
 */
static bool can_be_placed(const struct job *j, const struct ram *ram, const char *type)
{
	return ram->size && (streq(type, "memory-backend-memfd") || mem_is_huge(j, ram));
}

/* Why this back end must stay as it is; NULL: it may be changed. */
static const char *why_fixed(const struct job *j, const struct argv_edit *e, struct ram *ram)
{
	const char *type = obj_str(&ram->o, QOM);
	int share = obj_bool(&ram->o, "share");
	bool faithful = obj_is_faithful(&ram->o, QOM, e->v[ram->at]);

	if (!type || !streq(type, "memory-backend-ram")) {
		const char *why = "guest RAM has a file or memfd behind it already";

		if (!type || !faithful || !can_be_placed(j, ram, type))
			return why;
		ram->fixed = why;
		return NULL;
	}
	if (share == 1)
		return "guest RAM is shared";
	if (share == -EBADMSG || !ram->size || !faithful)
		return "the memory back end's argument is not understood";
	/* Without reservation a page that is missing later ends the guest. */
	if (obj_has(&ram->o, "reserve"))
		return "the memory back end has a `reserve` of its own";
	/* JSON is of 6.0, memory-backend= of 5.0; memdev= alone says nothing. */
	if (ram->cell != WPLAN_WHOLE && !ram->o.json && j->qemu < QEMU_ENOUGH)
		return "QEMU is older than 5.0, or of unknown version";
	return NULL;
}

static void because_of(struct found *f, const struct ram *ram, const char *why)
{
	char text[160];

	if (ram->cell == WPLAN_WHOLE)
		(void)snprintf(text, sizeof(text), "%s", why); /* fits */
	else
		(void)snprintf(text, sizeof(text), "cell %d: %s", ram->cell, why); /* fits */
	because(f->why_ram, text);
}

static int read_backends(const struct argv_edit *e, struct job *j)
{
	struct found *f = &j->f;

	for (unsigned int i = 0; i < f->n; i++) {
		struct ram *ram = &f->ram[i];
		const char *why;
		int r = find_object(e, ram);

		if (r == -ENOMEM)
			return r;
		if (r == 0 && obj_u64(&ram->o, "size", &ram->size) < 0)
			ram->size = 0;
		why = r < 0 ? "guest RAM has no back end on the command line" : why_fixed(j, e, ram);
		if (why)
			because_of(f, ram, why);
	}
	return 0;
}

/* Nodes and a policy that QEMU can do without pages of: all that the owner's kind of back end may be given. */
static bool is_wish(const struct wplan_memory *m)
{
	return m->page_size == 0 && m->prealloc != 1 && !streq(m->policy, "bind");
}

/* What the plan wants of each; all cells or none. */
static void match_plan(const struct wplan *w, struct found *f)
{
	unsigned int matched = 0;

	for (unsigned int i = 0; i < f->n; i++) {
		for (unsigned int k = 0; k < w->n_memory && !f->ram[i].want; k++)
			if (w->memory[k].cell == WPLAN_WHOLE || w->memory[k].cell == f->ram[i].cell)
				f->ram[i].want = &w->memory[k];
		matched += f->ram[i].want != NULL;
	}
	if (w->n_memory == 0)
		return;
	if (matched < f->n || (w->memory[0].cell != WPLAN_WHOLE && matched < w->n_memory))
		because(f->why_ram, "the plan has other guest cells than the command line");
	for (unsigned int i = 0; i < f->n; i++)
		if (f->ram[i].fixed && f->ram[i].want && !is_wish(f->ram[i].want))
			because_of(f, &f->ram[i], f->ram[i].fixed);
}

int mem_find(const struct argv_edit *e, struct job *j)
{
	struct found *f = &j->f;
	int r = see_options(e, f);

	if (r == 0)
		r = read_backend_id(f);
	if (r == 0)
		r = read_backends(e, j);
	if (r == 0)
		match_plan(j->w, f);
	if (f->why[0])
		memcpy(f->why_ram, f->why, sizeof(f->why_ram));
	return r;
}

void mem_found_fini(struct found *f)
{
	for (unsigned int i = 0; i < f->n; i++) {
		free(f->ram[i].id);
		obj_fini(&f->ram[i].o);
	}
	free(f->ram);
	obj_fini(&f->machine);
	obj_fini(&f->overcommit);
	*f = (struct found){0};
}

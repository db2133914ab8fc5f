/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is not said of a back end: locking (-overcommit mem-lock=) and merging (-machine mem-merge=, from which back
 * ends take their default: backends/hostmem.c, host_memory_backend_init). libvirt writes -overcommit for every guest,
 * with mem-lock=off where the definition does not have <locked/>.
 *
 * QEMU locks by mlockall(2) for all that is and will be mapped, once its RAM has been placed (QEMU 7.2, strace). A
 * limit that holds then but not later would end the guest while it runs, when QEMU cannot make a thread: hence the
 * plan's number, which is an upper bound (common/wplan.c), and none at all where memory may be plugged in.
 */
#include "wrapper/mem_priv.h"

#define QOM "qom-type"

bool mem_is_huge(const struct job *j, const struct ram *r)
{
	const char *type = r->o.o ? obj_str(&r->o, QOM) : NULL, *path;

	if (!type)
		return false;
	if (streq(type, "memory-backend-memfd"))
		return obj_bool(&r->o, "hugetlb") == 1;
	path = streq(type, "memory-backend-file") ? obj_str(&r->o, "mem-path") : NULL;
	return path && j->t->is_hugetlbfs(path);
}

bool mem_all_huge(const struct job *j)
{
	for (unsigned int i = 0; i < j->f.n; i++)
		if (!mem_is_huge(j, &j->f.ram[i]))
			return false;
	return j->f.n > 0;
}

/* Locking populates what is not of a pool, so there has to be as much. */
static int may_lock(const struct job *j, struct err *e)
{
	_cleanup_free_ struct tryout_part *parts = calloc(j->f.n + 1, sizeof(*parts));
	unsigned int n = 0;
	int r;

	if (!parts)
		return -ENOMEM;
	r = j->t->lock(j->f.hot_plug ? UINT64_MAX : j->w->lock, e);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < j->f.n; i++) {
		const struct ram *ram = &j->f.ram[i];

		if (ram->size == 0)
			return err_set(e, EINVAL, "the memory back end's argument is not understood");
		if (mem_is_huge(j, ram))
			continue;
		parts[n].bytes = ram->size;
		memcpy(parts[n].policy, ram->policy, sizeof(parts[n].policy));
		parts[n++].nodes = ram->nodes;
	}
	return j->t->memory(j->fs, parts, n, e);
}

int mem_lock(struct job *j, struct argv_edit *e)
{
	struct found *f = &j->f;
	struct err err = ERR_INIT;
	const char *now = f->overcommit.o ? obj_str(&f->overcommit, "mem-lock") : NULL;
	int r;

	if (j->w->lock == 0)
		return 0;
	if (f->why[0] || f->n == 0) {
		kept_add(j->kept, "memory.lock", "%s", f->why[0] ? f->why : f->why_ram);
		return 0;
	}
	/* Pages of a pool are never swapped. */
	if (mem_all_huge(j) || (now && streq(now, "on")))
		return 0;
	if (f->n_overcommit != 1 || !now || !streq(now, "off") ||
	    !obj_is_faithful(&f->overcommit, NOT_IMPLIED, e->v[f->overcommit_at])) {
		kept_add(j->kept, "memory.lock", "-overcommit mem-lock=off is not on the command line");
		return 0;
	}
	r = may_lock(j, &err);
	if (r == -ENOMEM && !err.code)
		return r;
	if (r < 0) {
		kept_add(j->kept, "memory.lock", "%s", err.text);
		return 0;
	}
	r = obj_set_bool(&f->overcommit, "mem-lock", true);
	return r < 0 ? r : argv_edit_replace(e, f->overcommit_at, obj_text(&f->overcommit, NOT_IMPLIED));
}

/* Why the machine's word stays as it is; NULL: it may be changed. */
static const char *why_not_merge(const struct job *j, const struct argv_edit *e, struct err *err)
{
	const struct found *f = &j->f;

	if (f->why[0])
		return f->why;
	if (!f->machine.o || !obj_is_faithful(&f->machine, "type", e->v[f->machine_at]))
		return "-machine is not understood";
	if (obj_has(&f->machine, "mem-merge") && obj_bool(&f->machine, "mem-merge") != j->w->merge)
		return "-machine has a mem-merge of its own";
	if (j->w->merge == 1 && mem_all_huge(j))
		return "huge pages are not merged";
	if (j->w->merge == 1 && j->t->merge(err) < 0)
		return err->text;
	return NULL;
}

int mem_merge(struct job *j, struct argv_edit *e)
{
	struct found *f = &j->f;
	struct err err = ERR_INIT;
	const char *why;
	int r;

	if (j->w->merge < 0)
		return 0;
	why = why_not_merge(j, e, &err);
	if (why) {
		kept_add(j->kept, "memory.merge", "%s", why);
		return 0;
	}
	/* A back end that cannot be rewritten takes the machine's word, too, unless the owner gave it one. */
	for (unsigned int i = 0; i < f->n && !f->why_ram[0]; i++) {
		if (f->ram[i].fixed || obj_has(&f->ram[i].o, "merge"))
			continue;
		f->ram[i].changed = true;
		r = obj_set_bool(&f->ram[i].o, "merge", j->w->merge);
		if (r < 0)
			return r;
	}
	if (obj_has(&f->machine, "mem-merge"))
		return 0;
	r = obj_set_bool(&f->machine, "mem-merge", j->w->merge);
	return r < 0 ? r : argv_edit_replace(e, f->machine_at, obj_text(&f->machine, "type"));
}

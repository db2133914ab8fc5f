/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What of a plan a disk's nodes get, in this order, since later parts need earlier ones:
 *
 *   cache           "cache" of every format and file node, backing images included: options are not handed down to
 *                   nodes that are named, and a chain half of which goes through the host's page cache is none
 *   discard         of the active image's nodes; libvirt sets it on file nodes whatever the definition says
 *   detect-zeroes   of the active image's uppermost node, as libvirt does
 *   aio             of every file node; native only where every one of them bypasses the page cache, or QEMU ends
 *   l2-cache-size   of every qcow2 node; QEMU takes less where less covers the image
 *
 * Each is done to all nodes that it is for, or to none. A property that a node has already, other than wanted, is
 * libvirt's, from the definition, and stays.
 */
#include "wrapper/blk_priv.h"

#include <stdarg.h>

#define IO_URING_LIBRARY "liburing.so"
#define NATIVE_LIBRARY   "libaio.so"

/* "disk.io vda"; the target cannot break the line's form. */
PRINTF(3, 4) static void keep(struct blk *b, const char *knob, const char *fmt, ...)
{
	char name[64], why[224];
	va_list ap;

	(void)snprintf(name, sizeof(name), "%s %.32s", knob, b->want->target); /* fits */
	for (char *c = name; *c; c++)
		if (*c == ';' || *c == ':')
			*c = '?';
	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap); /* cut where it is too long */
	va_end(ap);
	kept_add(b->kept, name, "%s", why);
}

static bool has_cache(const struct blk_part *p)
{
	return p->role == BLK_FORMAT || p->role == BLK_FILE;
}

static int flag_of(const struct blk_part *p, const char *key)
{
	int r = obj_bool_in(&p->node->o, "cache", key);

	return r == -ENOENT ? 0 : r;
}

/* Whether all files are, or all that have one will be, open with O_DIRECT. */
static bool is_direct(const struct blk *b)
{
	for (unsigned int i = 0; i < b->n_parts; i++)
		if (b->parts[i].role == BLK_FILE && flag_of(&b->parts[i], "direct") != 1)
			return false;
	return true;
}

/*
 * Whether a file is written to and stays as long as it is: the active image's, where nothing above it is a format that
 * takes the right to make its file longer (block.c, bdrv_default_perms_for_storage()). raw and luks do not.
 */
static bool is_fixed(const struct blk *b, const struct blk_part *file)
{
	for (unsigned int i = 0; i < b->n_parts; i++) {
		const struct blk_part *p = &b->parts[i];

		if (!p->active)
			continue;
		if (obj_bool(&p->node->o, "read-only") == 1)
			return false;
		if (p->role == BLK_FORMAT && !streq(p->node->driver, "raw") && !streq(p->node->driver, "luks"))
			return false;
	}
	return file->active;
}

/* Why the nodes do not get this mode; NULL: they do, or (*ret_same) have it. */
static const char *why_no_cache(const struct blk *b, int direct, int no_flush, bool *ret_same, struct err *e)
{
	*ret_same = true;
	for (unsigned int i = 0; i < b->n_parts; i++) {
		const struct blk_part *p = &b->parts[i];
		bool same = flag_of(p, "direct") == direct && flag_of(p, "no-flush") == no_flush;

		if (!has_cache(p))
			continue;
		*ret_same &= same;
		if (!same && obj_has(&p->node->o, "cache"))
			return "libvirt has given it a cache mode";
		if (!same && p->role == BLK_FILE && direct &&
		    b->t->direct(b->fs, obj_str(&p->node->o, "filename"), is_fixed(b, p), e) < 0)
			return e->text;
	}
	return !*ret_same && b->own_write_cache ? "its device has a write-cache of its own" : NULL;
}

static int set_cache(struct blk *b)
{
	bool direct = streq(b->want->cache, "none"), no_flush = streq(b->want->cache, "unsafe"), same;
	struct err e = ERR_INIT;
	const char *why = why_no_cache(b, direct, no_flush, &same, &e);
	int r = 0;

	if (why)
		keep(b, "disk.cache", "%s", why);
	for (unsigned int i = 0; i < b->n_parts && !why && !same && r == 0; i++) {
		struct blk_node *n = b->parts[i].node;

		if (!has_cache(&b->parts[i]))
			continue;
		r = obj_set_bool_in(&n->o, "cache", "direct", direct);
		if (r == 0)
			r = obj_set_bool_in(&n->o, "cache", "no-flush", no_flush);
		n->changed = true;
	}
	return r;
}

/* The uppermost node of the active image that is no filter; there is one (blk_find.c). */
static struct blk_node *top_node(const struct blk *b)
{
	unsigned int i = 0;

	while (i + 1 < b->n_parts && b->parts[i].role == BLK_FILTER)
		i++;
	return b->parts[i].node;
}

/* A property of a node, and what QEMU takes where it is absent. */
static const char *property(const struct blk_node *n, const char *key, const char *by_default)
{
	const char *value = obj_str(&n->o, key);

	return obj_has(&n->o, key) ? value ? value : "?" : by_default;
}

static int set_property(struct blk_node *n, const char *key, const char *value)
{
	n->changed = true;
	return obj_set_str(&n->o, key, value);
}

static int set_discard(struct blk *b)
{
	const char *want = b->want->discard;
	struct blk_node *top = top_node(b);
	int r = 0;

	if (obj_has(&top->o, "discard") && !streq(property(top, "discard", ""), want)) {
		keep(b, "disk.discard", "libvirt has given it discard=%s", property(top, "discard", ""));
		return 0;
	}
	if (streq(want, property(top, "discard", "ignore")) && streq(want, "ignore"))
		return 0;
	for (unsigned int i = 0; i < b->n_parts && r == 0; i++)
		if (b->parts[i].active && has_cache(&b->parts[i]) &&
		    !streq(property(b->parts[i].node, "discard", "ignore"), want))
			r = set_property(b->parts[i].node, "discard", want);
	return r;
}

static int set_zeroes(struct blk *b)
{
	const char *want = b->want->zeroes;
	struct blk_node *top = top_node(b);
	const char *have = property(top, "detect-zeroes", "off");

	if (streq(have, want))
		return 0;
	if (obj_has(&top->o, "detect-zeroes"))
		keep(b, "disk.detect-zeroes", "libvirt has given it detect-zeroes=%s", have);
	else if (streq(want, "unmap") && !streq(property(top, "discard", "ignore"), "unmap"))
		keep(b, "disk.detect-zeroes", "unmap needs discard=unmap, it has %s",
		     property(top, "discard", "ignore"));
	else
		return set_property(top, "detect-zeroes", want);
	return 0;
}

static bool is_linked(const struct blk *b, const char *library, struct blk_once *o, struct err *e)
{
	if (!o->done)
		o->r = b->emulator ? b->t->linked(b->fs, b->emulator, library, &o->e)
				   : err_set(&o->e, ENOENT, "the emulator is not known");
	o->done = true;
	if (o->r < 0)
		*e = o->e;
	return o->r == 0;
}

static bool has_ring(struct blk *b, bool own_workers, struct err *e)
{
	struct blk_once *o = &b->ring[own_workers];

	if (!o->done)
		o->r = b->t->io_uring(own_workers, &o->e);
	o->done = true;
	if (o->r < 0)
		*e = o->e;
	return o->r == 0;
}

static bool has_events(struct blk *b, struct err *e)
{
	struct blk_once *o = &b->events;

	if (!o->done)
		o->r = b->t->native(b->fs, &o->e);
	o->done = true;
	if (o->r < 0)
		*e = o->e;
	return o->r == 0;
}

/* Whether this can be had. `gentle`: only if it does no harm elsewhere (auto). */
static bool can_io(struct blk *b, const char *how, bool gentle, struct err *e)
{
	if (streq(how, "io_uring"))
		return is_linked(b, IO_URING_LIBRARY, &b->liburing, e) && has_ring(b, gentle, e);
	if (streq(how, "threads"))
		return true;
	if (!is_direct(b)) {
		(void)err_set(e, EINVAL, "native needs the host's page cache bypassed"); /* the text is the answer */
		return false;
	}
	return is_linked(b, NATIVE_LIBRARY, &b->libaio, e) && has_events(b, e);
}

/* What `auto` comes to. Why not better is kept. */
static const char *choose_io(struct blk *b)
{
	struct err uring = ERR_INIT, native = ERR_INIT;

	if (can_io(b, "io_uring", true, &uring))
		return "io_uring";
	if (can_io(b, "native", true, &native)) {
		keep(b, "disk.io", "%s", uring.text);
		return "native";
	}
	keep(b, "disk.io", "%s, %s", uring.text, native.text);
	return "threads";
}

static int set_io(struct blk *b)
{
	bool is_auto = streq(b->want->io, "auto"), same = true;
	const char *how = b->want->io;
	struct err e = ERR_INIT;
	int r = 0;

	for (unsigned int i = 0; i < b->n_parts; i++) {
		const struct blk_node *n = b->parts[i].node;

		if (b->parts[i].role != BLK_FILE)
			continue;
		same &= streq(property(n, "aio", is_auto ? "" : "threads"), how);
		if (obj_has(&n->o, "aio") && !streq(property(n, "aio", ""), how)) {
			keep(b, "disk.io", "libvirt has given it aio=%s", property(n, "aio", ""));
			return 0;
		}
	}
	if (is_auto)
		how = choose_io(b);
	else if (!same && !can_io(b, how, false, &e))
		keep(b, "disk.io", "%s", e.text);
	for (unsigned int i = 0; i < b->n_parts && r == 0 && !same && !e.code; i++)
		if (b->parts[i].role == BLK_FILE)
			r = set_property(b->parts[i].node, "aio", how);
	return r;
}

static int set_metadata(struct blk *b)
{
	static const char *const sizes[] = {"cache-size", "l2-cache-size", "refcount-cache-size"};
	unsigned int n = 0;
	int r = 0;

	for (unsigned int i = 0; i < b->n_parts; i++) {
		n += streq(b->parts[i].node->driver, "qcow2");
		for (size_t k = 0; k < ARRAY_SIZE(sizes); k++)
			if (obj_has(&b->parts[i].node->o, sizes[k])) {
				keep(b, "disk.metadata-cache", "libvirt has given it a %s", sizes[k]);
				return 0;
			}
	}
	if (n == 0)
		keep(b, "disk.metadata-cache", "none of its images is qcow2");
	for (unsigned int i = 0; i < b->n_parts && r == 0; i++) {
		struct blk_node *node = b->parts[i].node;

		if (!streq(node->driver, "qcow2"))
			continue;
		node->changed = true;
		r = obj_set_u64(&node->o, "l2-cache-size", b->want->metadata_bytes);
	}
	return r;
}

static int rewrite_disk(struct blk *b)
{
	int r = blk_find_disk(b);

	if (r == 0 && b->why[0]) {
		keep(b, "disk", "%s", b->why);
		return 0;
	}
	if (r == 0 && b->want->cache[0])
		r = set_cache(b);
	if (r == 0 && b->want->discard[0])
		r = set_discard(b);
	if (r == 0 && b->want->zeroes[0])
		r = set_zeroes(b);
	if (r == 0 && b->want->io[0])
		r = set_io(b);
	if (r == 0 && b->want->metadata)
		r = set_metadata(b);
	return r;
}

int blk_rewrite(const struct hostfs *fs, const struct wplan *w, const char *emulator, const struct tryout *t,
		struct argv_edit *edit, struct kept *kept)
{
	struct blk b = {.fs = fs, .t = t, .emulator = emulator, .kept = kept, .edit = edit};
	int r = w->n_disks ? blk_read_nodes(&b) : 0;

	for (unsigned int i = 0; i < w->n_disks && r == 0; i++) {
		b.want = &w->disks[i];
		r = rewrite_disk(&b);
	}
	for (unsigned int i = 0; i < b.n_nodes && r == 0; i++)
		if (b.nodes[i].changed)
			r = argv_edit_replace(edit, b.nodes[i].at, obj_text(&b.nodes[i].o, "driver"));
	blk_fini(&b);
	return r;
}

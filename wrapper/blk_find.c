/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a disk's device to its block nodes. A chain is followed by the names that libvirt gives (it always does, and
 * ends it with "backing":null), and whatever is not just so (an inline node, a name that is used twice or by another
 * disk, an argument that we would not print back byte for byte) leaves the whole disk as it is.
 */
#include "wrapper/blk_priv.h"

#include <stdarg.h>

#define NODE_TYPE "driver" /* what a first word without "=" would mean, of -device and -blockdev */

static const char *text_or_empty(const struct obj *o, const char *key)
{
	const char *text = obj_str(o, key);

	return text ? text : "";
}

static struct blk_node *find_node(struct blk *b, const char *name)
{
	for (unsigned int i = 0; i < b->n_nodes; i++)
		if (streq(b->nodes[i].name, name))
			return &b->nodes[i];
	return NULL;
}

static int add_node(struct blk *b, const struct argv_option *o)
{
	struct blk_node n = {.at = o->at}, *same;
	int r = obj_parse(o->value, NODE_TYPE, &n.o);

	if (r < 0)
		return r == -ENOMEM ? r : 0; /* a disk that needs it has a node that is not there */
	n.name = text_or_empty(&n.o, "node-name");
	n.driver = text_or_empty(&n.o, NODE_TYPE);
	same = find_node(b, n.name);
	if (same)
		same->twice = true;
	b->nodes[b->n_nodes++] = n;
	return 0;
}

int blk_read_nodes(struct blk *b)
{
	struct argv_option o;
	size_t most = (size_t)b->edit->n / 2 + 1; /* each is two words */
	int pos = 1, r = 0;

	b->nodes = calloc(most, sizeof(*b->nodes));
	b->devices = calloc(most, sizeof(*b->devices));
	b->parts = calloc(BLK_DISK_NODES_MAX, sizeof(*b->parts));
	if (!b->nodes || !b->devices || !b->parts)
		return -ENOMEM;
	while (r == 0 && argv_next(b->edit->n, b->edit->v, &pos, &o) > 0) {
		if (streq(o.name, "blockdev"))
			r = add_node(b, &o);
		else if (streq(o.name, "device"))
			b->devices[b->n_devices++] = o.at;
	}
	return r;
}

void blk_fini(struct blk *b)
{
	for (unsigned int i = 0; i < b->n_nodes; i++)
		obj_fini(&b->nodes[i].o);
	free(b->nodes);
	free(b->devices);
	free(b->parts);
}

/* The first reason counts. */
PRINTF(2, 3) static void not_understood(struct blk *b, const char *fmt, ...)
{
	va_list ap;

	if (b->why[0])
		return;
	va_start(ap, fmt);
	(void)vsnprintf(b->why, sizeof(b->why), fmt, ap); /* cut is fine */
	va_end(ap);
}

/* The device with the disk's alias. -ENOENT: there is not exactly one. */
static int find_device(const struct blk *b, struct obj *ret)
{
	int found = 0, r;

	for (unsigned int i = 0; i < b->n_devices; i++) {
		const char *text = b->edit->v[b->devices[i]];
		_cleanup_obj_ struct obj device = {0};

		if (!strstr(text, b->want->alias))
			continue;
		r = obj_parse(text, NODE_TYPE, &device);
		if (r == -ENOMEM)
			return r;
		if (r < 0 || !streq(text_or_empty(&device, "id"), b->want->alias))
			continue;
		if (found++ == 0) {
			*ret = device;
			device = (struct obj){0};
		}
	}
	return found == 1 ? 0 : -ENOENT;
}

static enum blk_role role_of(const struct blk_node *n)
{
	static const struct {
		const char *driver;
		enum blk_role role;
	} roles[] = {
		{"file", BLK_FILE},
		{"host_device", BLK_FILE},
		{"copy-on-read", BLK_FILTER},
		{"throttle", BLK_FILTER},
	};

	for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
		if (streq(n->driver, roles[i].driver))
			return roles[i].role;
	return obj_has(&n->o, "file") ? BLK_FORMAT : BLK_OTHER;
}

/* Images that name one behind them: QEMU would look for it itself if it were not told. */
static bool may_have_backing(const struct blk_node *n)
{
	static const char *const without[] = {"raw", "luks"};

	for (size_t i = 0; i < ARRAY_SIZE(without); i++)
		if (streq(n->driver, without[i]))
			return false;
	return true;
}

static bool is_null(const struct obj *o, const char *key)
{
	struct json_object *v = NULL;

	return json_object_object_get_ex(o->o, key, &v) && !v;
}

/* Take one node; NULL, with b->why: it must not be. */
static struct blk_part *take_node(struct blk *b, const char *name, bool active)
{
	struct blk_node *n = find_node(b, name);

	if (!n) {
		not_understood(b, "block node %.64s is not on the command line", name);
	} else if (n->twice || n->disk) {
		not_understood(b, "block node %.64s is used twice", name);
	} else if (!n->o.json || !obj_is_faithful(&n->o, NODE_TYPE, b->edit->v[n->at])) {
		not_understood(b, "block node %.64s is not understood", name);
	} else if (b->n_parts == BLK_DISK_NODES_MAX) {
		not_understood(b, "it has more block nodes than are looked at");
	} else {
		n->disk = b->want;
		b->parts[b->n_parts] = (struct blk_part){.node = n, .role = role_of(n), .active = active};
		return &b->parts[b->n_parts++];
	}
	return NULL;
}

/* The file beside a qcow2 image that has the data. */
static void take_data_file(struct blk *b, const struct blk_node *n, bool active)
{
	const char *data = obj_str(&n->o, "data-file");
	struct blk_part *p = data ? take_node(b, data, active) : NULL;

	if (!p || p->role != BLK_FILE)
		not_understood(b, "the data file of block node %.64s is not understood", n->name);
}

/*
 * One image: filters, formats, the file or device below, and then what is beside it: check_path() takes the first.
 * Returns the name of the image behind it, NULL: none.
 */
static const char *walk_image(struct blk *b, const char *name, bool active)
{
	const struct blk_node *beside = NULL;
	const char *backing = NULL;

	while (name && !b->why[0]) {
		struct blk_part *p = take_node(b, name, active);
		const struct obj *o = p ? &p->node->o : NULL;

		if (!p || p->role == BLK_FILE || p->role == BLK_OTHER)
			break;
		name = obj_str(o, "file");
		if (!name)
			not_understood(b, "the file of block node %.64s is not a name", p->node->name);
		if (obj_has(o, "data-file"))
			beside = p->node;
		if (p->role == BLK_FILTER || is_null(o, "backing"))
			continue;
		if (obj_str(o, "backing"))
			backing = obj_str(o, "backing");
		else if (obj_has(o, "backing") || may_have_backing(p->node))
			not_understood(b, "what is behind block node %.64s is not on the command line", p->node->name);
	}
	if (beside && !b->why[0])
		take_data_file(b, beside, active);
	return backing;
}

/* The file below the active image: the plan's, or something has changed since. */
static void check_path(struct blk *b)
{
	const char *path = "";

	for (unsigned int i = 0; i < b->n_parts && !*path; i++)
		if (b->parts[i].active && b->parts[i].role == BLK_FILE)
			path = text_or_empty(&b->parts[i].node->o, "filename");
	if (b->want->path[0] && !streq(path, b->want->path))
		not_understood(b, "the plan has another image than QEMU, %.100s", path);
}

static void check_files(struct blk *b)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < b->n_parts; i++) {
		const char *path = text_or_empty(&b->parts[i].node->o, "filename");

		if (b->parts[i].role != BLK_FILE)
			continue;
		n += b->parts[i].active;
		if (str_starts(path, "/dev/fdset/"))
			not_understood(b, "libvirt has opened its image itself (%.64s)", path);
		else if (path[0] != '/')
			not_understood(b, "block node %.64s is not understood", b->parts[i].node->name);
	}
	if (n == 0)
		not_understood(b, "its data is not in a file or device of this host");
}

/* The device's words: which node it is on; "" (with b->why) if that is not for us. */
static const char *read_device(struct blk *b, const struct obj *device)
{
	const char *driver = text_or_empty(device, NODE_TYPE), *drive = text_or_empty(device, "drive");
	const char *cache = obj_str(device, "write-cache");

	if (streq(driver, "scsi-block") || streq(driver, "scsi-generic"))
		not_understood(b, "SCSI passthrough (%s)", driver);
	else if (!*drive)
		not_understood(b, "its device (%.64s) has no block node", driver);
	else if (!find_node(b, drive) && str_starts(drive, "drive-"))
		not_understood(b, "its block nodes are a -drive (%.64s), as libvirt before 6.0 has it", drive);
	/* QEMU's own choice, "auto", is on (hw/block/block.c, blkconf_apply_backend_options()). */
	b->own_write_cache = obj_has(device, "write-cache") && !(cache && (streq(cache, "on") || streq(cache, "auto")));
	return b->why[0] ? "" : drive;
}

int blk_find_disk(struct blk *b)
{
	_cleanup_obj_ struct obj device = {0};
	int r = find_device(b, &device);
	const char *name;

	b->n_parts = 0;
	b->why[0] = '\0';
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		not_understood(b, "its device (%.64s) is not on the command line", b->want->alias);
		return 0;
	}
	name = read_device(b, &device);
	for (bool active = true; *name && !b->why[0]; active = false) {
		name = walk_image(b, name, active);
		if (!name)
			break;
	}
	check_files(b);
	check_path(b);
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each disk's images are walked down (blockdev_walk.h); leaves are devices, by the same index. What is behind an image
 * is what the definition says, as far as it says something, since that is what libvirt gives to QEMU; from there on
 * what headers say. An image is read only where its format is known to be qcow2 without looking. A header, which a
 * tenant may have written, is followed only to images of a format that is followed: to others no path is looked at.
 */
#include "blockdev.h"

#include <stdarg.h>

#include "blockdev_priv.h"
#include "knob.h"
#include "num.h"

_Static_assert(BLOCKDEV_MAX == WALK_LEAVES, "a device per leaf");
_Static_assert(sizeof(((struct blockdev *)0)->name) == WALK_NAME, "names of leaves");
_Static_assert(sizeof(((struct blockdev_disk *)0)->why) == WALK_WHY, "reasons");
_Static_assert(sizeof(((struct blockdev_disk *)0)->chain_why) == WALK_WHY, "reasons");

/* --- devices */

/* "none [mq-deadline] kyber": the one in brackets is in force; a device that queues nothing says "none". */
static void take_schedulers(struct blockdev *b, char *text)
{
	char *word;
	size_t len = 0;

	while ((word = strsep(&text, " "))) {
		size_t n = strlen(word);
		bool active = n > 2 && word[0] == '[' && word[n - 1] == ']';

		if (active) {
			word[n - 1] = '\0';
			word++;
			n -= 2;
		}
		if (!n || n >= sizeof(b->scheduler) || len + n + 2 > sizeof(b->schedulers))
			continue;
		len += (size_t)snprintf(b->schedulers + len, sizeof(b->schedulers) - len, "%s%s", len ? " " : "", word);
		if (active)
			memcpy(b->scheduler, word, n + 1);
	}
	if (streq(b->schedulers, "none"))
		memcpy(b->scheduler, "none", sizeof("none"));
}

static bool is_virtio_name(const char *name)
{
	return str_starts(name, "vd") && name[2] >= 'a' && name[2] <= 'z'; /* drivers/block/virtio_blk.c */
}

static void fill_device(const struct hostfs *fs, const struct walk *w, const struct walk_leaf *l, struct blockdev *b)
{
	char text[512];
	uint64_t rotational;

	memcpy(b->name, l->name, sizeof(b->name));
	if (!l->is_path) {
		b->major = w->nodes[l->node].major;
		b->minor = w->nodes[l->node].minor;
	}
	b->is_nvme = str_starts(l->name, "nvme");
	b->is_virtio = is_virtio_name(l->name);
	if (hostfs_read_u64(fs, &rotational, "sys/block/%s/queue/rotational", l->name) == 0)
		b->rotational = rotational != 0;
	if (hostfs_read(fs, text, sizeof(text), "sys/block/%s/queue/scheduler", l->name) > 0)
		take_schedulers(b, text);
}

/* cgroup-v2.rst, io.cost.qos: "8:16 enable=1 ctrl=auto ..."; only in the root of the version 2 tree. */
static bool io_cost_is_on(char *text, unsigned int major, unsigned int minor)
{
	char key[32], *line;

	(void)snprintf(key, sizeof(key), "%u:%u", major, minor); /* fits */
	while ((line = strsep(&text, "\n"))) {
		char *word = strsep(&line, " ");

		if (!streq(word, key))
			continue;
		while ((word = strsep(&line, " ")))
			if (streq(word, "enable=1"))
				return true;
	}
	return false;
}

static bool io_cost_enabled(const struct hostfs *fs, unsigned int major, unsigned int minor)
{
	static const char *const roots[] = {"sys/fs/cgroup", "sys/fs/cgroup/unified"};
	_cleanup_free_ char *text = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(roots) && !text; i++)
		if (hostfs_read_all(fs, 64u << 10, &text, NULL, "%s/io.cost.qos", roots[i]) < 0)
			text = NULL;
	return text && io_cost_is_on(text, major, minor);
}

static bool weight_acts(const struct hostfs *fs, const struct blockdev *b)
{
	if (streq(b->scheduler, "bfq") || streq(b->scheduler, "cfq"))
		return true;
	return (b->major || b->minor) && io_cost_enabled(fs, b->major, b->minor);
}

static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = text; (p = strstr(p, word)); p += len)
		if ((p == text || p[-1] == ' ') && (!p[len] || p[len] == ' '))
			return true;
	return false;
}

/*
 * Schedulers that are modules and not loaded: writing the name loads them (block/elevator.c, elv_iosched_load_module()),
 * so they are to be had where the file is. Debian's bfq is one.
 */
static unsigned int find_loadable(const struct hostfs *fs, const char *ret[], unsigned int max)
{
	static const struct {
		const char *file, *name;
	} modules[] = {{"bfq.ko", "bfq"}, {"kyber-iosched.ko", "kyber"}, {"mq-deadline.ko", "mq-deadline"}};
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	unsigned int n = 0;
	char release[128];

	if (hostfs_read(fs, release, sizeof(release), "proc/sys/kernel/osrelease") > 0 && hostfs_is_name(release))
		dir = hostfs_opendir(fs, "lib/modules/%s/kernel/block", release);
	while (dir && n < max && (entry = readdir(dir)))
		for (size_t i = 0; i < ARRAY_SIZE(modules); i++)
			if (str_starts(entry->d_name, modules[i].file)) /* ".ko.xz" */
				ret[n++] = modules[i].name;
	return n;
}

/* A queue that lists none but "none" takes no other. */
static void add_loadable(struct blockdev *b, const char *const names[], unsigned int n)
{
	for (unsigned int i = 0; i < n && strchr(b->schedulers, ' '); i++) {
		size_t len = strlen(b->schedulers);

		if (!has_word(b->schedulers, names[i]) && len + strlen(names[i]) + 2 <= sizeof(b->schedulers))
			(void)snprintf(b->schedulers + len, sizeof(b->schedulers) - len, " %s", names[i]); /* fits */
	}
}

static void fill_devices(const struct hostfs *fs, const struct walk *w, struct blockdev_facts *f)
{
	const char *loadable[4];
	unsigned int n_loadable = w->n_leaves ? find_loadable(fs, loadable, ARRAY_SIZE(loadable)) : 0;

	f->n_devices = w->n_leaves;
	for (unsigned int i = 0; i < w->n_leaves; i++) {
		fill_device(fs, w, &w->leaves[i], &f->devices[i]);
		add_loadable(&f->devices[i], loadable, n_loadable);
		f->cgroup_weight_acts[i] = weight_acts(fs, &f->devices[i]);
	}
}

/* --- images */

struct image {
	struct walk *w;
	struct blockdev_disk *k;
	uint64_t leaves;   /* of the chain so far */
	unsigned int mode; /* of its last file */
};

/* All its data goes through one device: that; else through that on which it lies. */
static void find_limit(const struct walk *w, const struct walk_found *found, struct blockdev_disk *k)
{
	int node = -1;

	for (unsigned int i = 0; i < w->n_leaves; i++) {
		if (!(found->leaves & UINT64_C(1) << i))
			continue;
		if (node >= 0 && node != w->leaves[i].node) {
			node = found->node >= 0 ? w->nodes[found->node].whole : -1;
			break;
		}
		node = w->leaves[i].node;
	}
	if (node < 0)
		return;
	memcpy(k->limit, w->nodes[node].name, sizeof(k->limit));
	k->limit_major = w->nodes[node].major;
	k->limit_minor = w->nodes[node].minor;
}

static void active_image(struct image *m, const char *path)
{
	struct blockdev_disk *k = m->k;
	struct walk_found found;

	walk_path(m->w, path, &found);
	m->mode = found.mode;
	m->leaves |= found.leaves;
	if (!found.leaves)
		memcpy(k->why, found.why, sizeof(k->why));
	if (strlen(path) < sizeof(k->path))
		memcpy(k->path, path, strlen(path) + 1);
	find_limit(m->w, &found, k);
}

/* The chain is known no further than this image, or name. */
PRINTF(3, 4) static void chain_stops(struct image *m, const char *name, const char *fmt, ...)
{
	char shown[KNOB_SHOW_SIZE], why[WALK_WHY];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap); /* cut is fine */
	va_end(ap);
	(void)snprintf(m->k->chain_why, sizeof(m->k->chain_why), "%s: %.60s", knob_show(name, shown), why);
}

static void further_path(struct image *m, const char *path)
{
	struct walk_found found;

	walk_path(m->w, path, &found);
	m->mode = found.mode;
	m->leaves |= found.leaves;
}

/* A further file of the chain, whose name stands in the header of the image at `base`. False: it is no file. */
static bool further_file(struct image *m, const char *base, const char *name, char path[WALK_PATH])
{
	char why[WALK_WHY];

	if (qcow2_resolve(base, name, path, why) < 0) {
		chain_stops(m, name, "%s", why);
		return false;
	}
	further_path(m, path);
	return true;
}

static void count_qcow2(struct blockdev_disk *k, const struct qcow2 *q)
{
	if (k->n_qcow2++ == 0) {
		k->size = q->size;
		k->cluster = q->cluster;
	}
	k->chain_bytes += q->l2_bytes; /* 16 of less than 2^60 */
}

/* One image of a chain. */
struct link {
	char path[WALK_PATH];
	char format[32];
	bool is_said; /* by the definition, not by a header */
};

/* The qcow2 images so far, to tell a circle. */
struct seen {
	unsigned int n;
	dev_t dev[BLOCKDEV_CHAIN];
	ino_t ino[BLOCKDEV_CHAIN];
};

/* The header of a qcow2 image, and the file with its data beside it. False: the chain is known no further. */
static bool look_inside(struct image *m, struct seen *seen, const struct link *at, struct qcow2 *q)
{
	char why[WALK_WHY], data[WALK_PATH];

	if (qcow2_read(m->w->fs, at->path, m->mode, at->is_said, q, why) < 0) {
		chain_stops(m, at->path, "%s", why);
		return false;
	}
	for (unsigned int i = 0; i < seen->n; i++)
		if (seen->dev[i] == q->dev && seen->ino[i] == q->ino) {
			chain_stops(m, at->path, "it is its own backing file");
			return false;
		}
	seen->dev[seen->n] = q->dev;
	seen->ino[seen->n++] = q->ino;
	count_qcow2(m->k, q);
	return !*q->data_file || further_file(m, at->path, q->data_file, data);
}

/* Formats that have no image behind them. */
static bool ends_chain(const char *format)
{
	static const char *const without[] = {"raw", "luks", "vdi", "vpc"};

	for (size_t i = 0; i < ARRAY_SIZE(without); i++)
		if (streq(format, without[i]))
			return true;
	return false;
}

/* What the definition says is next. False: it is no file. */
static bool said_image(struct image *m, const struct domain_image *said, struct link *next)
{
	char why[WALK_WHY] = "it is no file of this host";

	switch (said->kind) {
	case DOMAIN_DISK_FILE:
	case DOMAIN_DISK_BLOCK:
	case DOMAIN_DISK_DIR:
		if (snprintf(next->path, sizeof(next->path), "%s", said->source) < (int)sizeof(next->path))
			break;
		chain_stops(m, said->source, "%s", err_name(ENAMETOOLONG));
		return false;
	case DOMAIN_DISK_VOLUME:
		if (walk_volume(m->w->fs, said->source, said->more, next->path, why) == 0)
			break;
		chain_stops(m, said->more, "%s", why);
		return false;
	case DOMAIN_DISK_NONE:
	case DOMAIN_DISK_NETWORK:
	case DOMAIN_DISK_NVME:
	case DOMAIN_DISK_VHOSTUSER:
		chain_stops(m, *said->source ? said->source : "<backingStore>", "%s", why);
		return false;
	}
	(void)snprintf(next->format, sizeof(next->format), "%s",
		       said->kind == DOMAIN_DISK_DIR ? "raw" : said->format); /* a longer one is none that is known */
	next->is_said = true;
	further_path(m, next->path);
	return true;
}

/* What a header says is next; its format is checked before anything is looked at. False: nothing, or not known. */
static bool image_of_header(struct image *m, const struct link *at, const struct qcow2 *q, struct link *next)
{
	if (ends_chain(at->format))
		return false;
	if (!streq(at->format, "qcow2")) {
		chain_stops(m, at->path, "what is behind a %s image is not looked for", at->format);
		return false;
	}
	if (!*q->backing)
		return false;
	if (!streq(q->format, "qcow2") && !ends_chain(q->format)) {
		if (*q->format)
			chain_stops(m, q->backing, "images of this format are not followed");
		else
			chain_stops(m, q->backing, "its format is not said");
		return false;
	}
	memcpy(next->format, q->format, sizeof(next->format));
	next->is_said = false;
	return further_file(m, at->path, q->backing, next->path);
}

/* The images of a chain that begins with the one at `path`, whose devices are known. */
static void chain(struct image *m, const struct domain_disk *d, const char *path)
{
	struct link links[2] = {{.is_said = true}}, *at = &links[0], *next;
	struct seen seen = {0};

	(void)snprintf(at->path, sizeof(at->path), "%s", path); /* a path of this length was not found */
	(void)snprintf(at->format, sizeof(at->format), "%s", *d->format ? d->format : "raw"); /* libvirt's default */
	for (unsigned int i = 0;; i++) {
		struct qcow2 q = {0};

		if (i == BLOCKDEV_CHAIN) {
			chain_stops(m, at->path, "there are more than %d images before it", BLOCKDEV_CHAIN);
			return;
		}
		if (streq(at->format, "qcow2") && !look_inside(m, &seen, at, &q))
			return;
		if (i == d->n_chain && (d->has & DISK_CHAIN_ENDS))
			return;
		next = &links[(i + 1) % 2];
		if (i < d->n_chain ? !said_image(m, &d->chain[i], next) : !image_of_header(m, at, &q, next))
			return;
		at = next;
	}
}

static void take_leaves(const struct image *m)
{
	for (unsigned int i = 0; i < WALK_LEAVES; i++)
		if (m->leaves & UINT64_C(1) << i)
			m->k->devices[m->k->n++] = i;
}

static void image(struct walk *w, const struct domain_disk *d, const char *path, struct blockdev_disk *k)
{
	struct image m = {.w = w, .k = k};

	active_image(&m, path);
	if (d->kind != DOMAIN_DISK_DIR)
		chain(&m, d, path);
	take_leaves(&m);
}

static void volume(struct walk *w, const struct domain_disk *d, struct blockdev_disk *k)
{
	char path[WALK_PATH];

	if (walk_volume(w->fs, d->source, d->more, path, k->why) == 0) {
		k->why[0] = '\0';
		image(w, d, path, k);
	}
}

static void one_disk(struct walk *w, const struct domain_disk *d, struct blockdev_disk *k)
{
	static const char *const whys[] = {
		[DOMAIN_DISK_NONE] = "it has no image",
		[DOMAIN_DISK_NETWORK] = "not applicable: a network disk",
		[DOMAIN_DISK_NVME] = "not applicable: QEMU's own driver has the NVMe controller",
		[DOMAIN_DISK_VHOSTUSER] = "not applicable: another process does its I/O (vhost-user)",
	};
	char shown[KNOB_SHOW_SIZE];

	switch (d->kind) {
	case DOMAIN_DISK_FILE:
	case DOMAIN_DISK_BLOCK:
	case DOMAIN_DISK_DIR:
		image(w, d, d->source, k);
		break;
	case DOMAIN_DISK_VOLUME:
		volume(w, d, k);
		break;
	case DOMAIN_DISK_NONE:
	case DOMAIN_DISK_NETWORK:
	case DOMAIN_DISK_NVME:
	case DOMAIN_DISK_VHOSTUSER:
		(void)snprintf(k->why, sizeof(k->why), *d->source ? "%s (%s)" : "%s", whys[d->kind],
			       knob_show(d->source, shown));
		break;
	}
}

/* --- all */

/* After the disks: devices that no disk lies on are no devices of the domain. */
static void owners_devices(struct walk *w, const struct domain *d, struct blockdev_facts *f)
{
	for (unsigned int i = 0; i < d->n_blkio; i++) {
		struct walk_found found;

		walk_path(w, d->blkio[i].path, &found);
		if (found.is_block && found.node >= 0)
			memcpy(f->blkio[i], w->nodes[w->nodes[found.node].whole].name, sizeof(f->blkio[i]));
	}
}

int blockdev_find(const struct hostfs *fs, const struct domain *d, struct blockdev_facts *ret)
{
	_cleanup_(cleanup_walk) struct walk *w = walk_new(fs, WALK_TO_QUEUES);

	memset(ret, 0, sizeof(*ret));
	ret->disks = calloc(d->n_disks ? d->n_disks : 1, sizeof(*ret->disks));
	ret->blkio = calloc(d->n_blkio ? d->n_blkio : 1, sizeof(*ret->blkio));
	if (!w || !ret->disks || !ret->blkio) {
		blockdev_fini(ret);
		return -ENOMEM;
	}
	ret->n_disks = d->n_disks;
	ret->n_blkio = d->n_blkio;
	for (unsigned int i = 0; i < d->n_disks; i++)
		one_disk(w, &d->disks[i], &ret->disks[i]);
	fill_devices(fs, w, ret);
	ret->cut = w->cut;
	owners_devices(w, d, ret);
	return 0;
}

void blockdev_fini(struct blockdev_facts *f)
{
	free(f->disks);
	free(f->blkio);
	memset(f, 0, sizeof(*f));
}

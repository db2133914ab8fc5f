/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disks as QEMU's block layer has them: what the wrapper is to change of the nodes that libvirt puts on the command
 * line. All of it is the host's side; a cache mode is one only as long as it leaves the guest's write-cache bit alone.
 *
 * Left alone whatever is asked: disks whose data is not a file or device of this host; LUN passthrough (the guest's
 * SCSI commands go to the device, there is no image); removable drives, since a new medium comes with new nodes. Of
 * disks that are shared between guests libvirt bypasses the host's page cache by itself
 * (qemuDomainPrepareDiskCachemode()), and any other mode would be incoherent; the rest is theirs as well. Of read-only
 * ones nothing is discarded.
 */
#include "plan_priv.h"

#include <inttypes.h>

#include "blockdev.h"

/* QEMU's own limit for the L2 tables of one image on Linux (block/qcow2.h, DEFAULT_L2_CACHE_MAX_SIZE, since 3.1). */
#define METADATA_DEFAULT (UINT64_C(32) << 20)
/*
 * And ours for `auto`, for all images of a disk together: with clusters of 64 KiB it covers 2 TiB. QEMU never allocates
 * more for an image than covers it (block/qcow2.c, read_cache_sizes()).
 */
#define METADATA_MAX (UINT64_C(256) << 20)

struct node {
	struct maker *m;
	const struct domain_disk *disk;
	const struct blockdev_disk *facts; /* NULL: not looked at */
	char value[24], why[256];          /* room for a number, and for a reason or a value's why */
};

/* What a setting is made of; NULL value: none, and why is the reason ("": none is needed). */
struct answer {
	const char *value, *why;
};

/* As libvirt and QEMU translate <driver cache=> (qemu(1), -drive cache=). Absent, or "default", is writeback. */
static const struct cache_mode {
	const char *name;
	bool write_cache, direct, no_flush;
	const char *why;
} modes[] = {
	{"writeback", true, false, false, "the host's page cache is used, and flushed when the guest says so"},
	{"none", true, true, false, "the host's page cache is bypassed (O_DIRECT); the guest's write cache stays"},
	{"writethrough", false, false, false, NULL},
	{"directsync", false, true, false, NULL},
	{"unsafe", true, false, true, "flushes are dropped: data is lost if the host fails"},
};

static const struct cache_mode *find_mode(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (streq(modes[i].name, name))
			return &modes[i];
	return &modes[0];
}

static const struct value *wanted(const struct node *n, enum knob_id id, unsigned int own)
{
	return n->disk->has & own ? NULL : plan_disk_value(n->m->in->intent, id, n->disk);
}

static bool is_wanted(const struct node *n, enum knob_id id, unsigned int own, const char *word)
{
	const struct value *v = wanted(n, id, own);

	return v && streq(v->text, word);
}

/* libvirt gives these cache mode none, unless the definition has another. */
static bool is_shared(const struct domain_disk *k)
{
	return (k->has & DISK_IS_SHARED) && !(k->has & DISK_IS_READ_ONLY);
}

/* Whether the images will be open with O_DIRECT. */
static bool is_direct(const struct node *n)
{
	if (n->disk->has & DISK_HAS_CACHE)
		return find_mode(n->disk->cache)->direct;
	return is_shared(n->disk) || is_wanted(n, KNOB_DISK_CACHE, 0, "none");
}

static struct answer io_of(struct node *n, const struct value *v)
{
	static const struct {
		const char *word, *why;
	} whys[] = {
		{"threads", "by QEMU's thread pool"},
		{"native", "the kernel's own asynchronous I/O"},
		{"io_uring", "by io_uring"},
	};

	if (streq(v->text, "native") && !is_direct(n))
		return (struct answer){
			.why = "native needs the host's page cache bypassed: cache none, here or in the definition"};
	for (size_t i = 0; i < ARRAY_SIZE(whys); i++)
		if (streq(v->text, whys[i].word))
			return (struct answer){v->text, whys[i].why};
	return (struct answer){v->text, is_direct(n)
						? "io_uring where kernel and QEMU have it, else native, else threads"
						: "io_uring where kernel and QEMU have it, else threads: native "
						  "needs the host's page cache bypassed"};
}

static struct answer cache_of(struct node *n, const struct value *v)
{
	const struct cache_mode *now = find_mode("writeback"), *mode = find_mode(v->text);
	char shown[KNOB_SHOW_SIZE];

	if (streq(v->text, "default"))
		return (struct answer){.why = ""};
	if (is_shared(n->disk))
		return (struct answer){.why = "a shared disk: libvirt bypasses the host's page cache by itself"};
	if (mode->write_cache != now->write_cache) {
		(void)snprintf(n->why, sizeof(n->why),
			       "it would take the write cache away that the guest sees: cache='%s' in the definition",
			       v->text); /* fits */
		return (struct answer){.why = n->why};
	}
	if (mode->no_flush)
		msgs_warn(&n->m->p->warnings,
			  "disk.cache unsafe of %s: what the guest believes to be stored is lost if "
			  "the host fails",
			  knob_show(n->disk->target, shown));
	return (struct answer){mode->name, mode->why};
}

static struct answer discard_of(struct node *n, const struct value *v)
{
	if (n->disk->has & DISK_IS_READ_ONLY)
		return (struct answer){.why = "the disk is read-only"};
	return (struct answer){v->text, streq(v->text, "unmap") ? "what the guest discards is given back to the host"
								: "what the guest discards stays allocated"};
}

static struct answer zeroes_of(struct node *n, const struct value *v)
{
	bool discards = (n->disk->has & DISK_DISCARDS) || is_wanted(n, KNOB_DISK_DISCARD, DISK_HAS_DISCARD, "unmap");

	if (n->disk->has & DISK_IS_READ_ONLY)
		return (struct answer){.why = "the disk is read-only"};
	if (streq(v->text, "unmap") && !discards)
		return (struct answer){.why = "unmap needs discard unmap, here or in the definition"};
	return (struct answer){v->text, streq(v->text, "unmap") ? "zeroes that are written are given back to the host"
					: streq(v->text, "on")  ? "zeroes are written as zeroes, not as data"
								: "writes of zeroes are not looked for"};
}

/* "256 GiB", "1536 MiB" */
static void say_size(uint64_t bytes, char buf[24])
{
	bool gib = bytes >= UINT64_C(1) << 30 && (bytes & ((UINT64_C(1) << 30) - 1)) == 0;

	(void)snprintf(buf, 24, "%" PRIu64 " %s", bytes >> (gib ? 30 : 20), gib ? "GiB" : "MiB"); /* fits */
}

/*
 * Whether QEMU's own limit, which is for each image, suffices. Of the active one its tables are known (8 bytes a
 * cluster, docs/interop/qcow2.txt), of the others the sum; entries of 16 bytes make that sum too large, never too
 * small.
 */
static bool is_covered(const struct blockdev_disk *f)
{
	uint64_t active = f->cluster && f->n_qcow2 > 1 ? f->size / f->cluster * 8 : f->chain_bytes;

	if (active > f->chain_bytes)
		active = f->chain_bytes;
	return active <= METADATA_DEFAULT && f->chain_bytes - active <= METADATA_DEFAULT;
}

/*
 * The limit is for each image, and QEMU takes no more for any than it needs: with the sum of all as limit, all have
 * what they need, and no more than that sum.
 */
static struct answer cover(struct node *n)
{
	const struct blockdev_disk *f = n->facts;
	uint64_t limit, mib;
	const char *images;
	char size[24];

	if (!f || !f->chain_bytes || !f->n_qcow2)
		return (struct answer){.why = "its image could not be looked at"};
	if (is_covered(f))
		return (struct answer){.why = "the 32 MiB that QEMU uses by itself cover its image"};
	limit = f->chain_bytes > METADATA_MAX ? METADATA_MAX / f->n_qcow2 : f->chain_bytes;
	mib = (f->chain_bytes >> 20) + ((f->chain_bytes & ((1u << 20) - 1)) != 0);
	images = f->n_qcow2 == 1 ? "" : "s";
	say_size(f->size, size);
	(void)snprintf(n->why, sizeof(n->why), "%s L2 tables of %s, %" PRIu64 " MiB in %u image%s%s",
		       limit < f->chain_bytes ? "covers a part of the" : "covers the", size, mib, f->n_qcow2, images,
		       limit < f->chain_bytes ? ": auto takes 256 MiB at most" : ""); /* fits */
	(void)snprintf(n->value, sizeof(n->value), "%" PRIu64, limit);                /* fits */
	return (struct answer){n->value, n->why};
}

static struct answer metadata_of(struct node *n, const struct value *v)
{
	const char *format = n->disk->format;
	char shown[KNOB_SHOW_SIZE];

	if (!streq(format, "qcow2") && (*format || !n->facts || !n->facts->n_qcow2)) {
		(void)snprintf(n->why, sizeof(n->why), "its image is not qcow2%s%s", *format ? " but " : "",
			       knob_show(format, shown)); /* fits */
		return (struct answer){.why = n->why};
	}
	if (!streq(v->text, "auto") && v->num > INT64_MAX) /* qapi's "int" */
		return (struct answer){.why = "QEMU takes no such number"};
	if (!streq(v->text, "auto"))
		return (struct answer){v->text, "for the L2 tables of each image"};
	return cover(n);
}

/* In the order of the vocabulary. */
static const struct row {
	enum knob_id id;
	unsigned int own; /* of domain_disk.has: the definition says it itself */
	const char *what;
	struct answer (*answer)(struct node *n, const struct value *v);
} rows[] = {
	{KNOB_DISK_IO, DISK_HAS_IO, "io=", io_of},
	{KNOB_DISK_CACHE, DISK_HAS_CACHE, "cache=", cache_of},
	{KNOB_DISK_DISCARD, DISK_HAS_DISCARD, "discard=", discard_of},
	{KNOB_DISK_ZEROES, DISK_HAS_ZEROES, "detect_zeroes=", zeroes_of},
	{KNOB_DISK_METADATA, DISK_HAS_METADATA, "<metadata_cache>", metadata_of},
};

/* Why nothing is done to this disk's nodes; NULL: it may be. */
static const char *why_not(struct node *n)
{
	const struct plan_inputs *in = n->m->in;
	const struct domain_disk *k = n->disk;
	char shown[KNOB_SHOW_SIZE];

	if (k->has & DISK_IS_REMOVABLE)
		return k->kind == DOMAIN_DISK_NONE ? "an empty drive" : "a drive whose medium may be changed";
	if (k->kind == DOMAIN_DISK_NETWORK) {
		(void)snprintf(n->why, sizeof(n->why), "a network disk (%s)", knob_show(k->source, shown)); /* fits */
		return n->why;
	}
	if (k->kind == DOMAIN_DISK_NVME)
		return "an NVMe controller that QEMU drives itself";
	if (k->kind == DOMAIN_DISK_VHOSTUSER)
		return "another process serves it (vhost-user)";
	if (k->kind == DOMAIN_DISK_DIR)
		return "a directory, not an image";
	if (k->kind == DOMAIN_DISK_NONE)
		return "it has no image";
	if (k->has & DISK_IS_LUN)
		return "LUN passthrough: the guest's SCSI commands go to the device";
	if (!*k->alias)
		return "libvirt's name for its device is not known";
	if (!in->wrapper.present) {
		(void)snprintf(n->why, sizeof(n->why), "the emulator is not the wrapper: domtune wrap %s",
			       knob_show(n->m->p->name, shown)); /* fits */
		return n->why;
	}
	return in->running ? "the guest runs already: at its next start" : NULL;
}

/* Whether the process was started with this already, and nothing else will be done to it. */
static bool is_carried(const struct node *n, const struct row *row, const struct value *v)
{
	const struct plan *p = n->m->p;

	for (size_t i = 0; n->m->in->was && i < p->n_settings; i++) {
		const struct setting *s = &p->settings[i];

		if (s->stage == STAGE_EXEC && streq(s->knob, knob_table[row->id].name) &&
		    streq(s->target, n->disk->target))
			return streq(v->text, "auto") || streq(v->text, s->value);
	}
	return false;
}

static void add_disk(struct node *n)
{
	const struct domain_disk *k = n->disk;
	const char *path = k->kind == DOMAIN_DISK_VOLUME ? n->facts ? n->facts->path : "" : k->source;

	if (!plan_find_disk(n->m->p, k->target))
		n->m->failed |= plan_add_disk(n->m->p, k->target, k->alias, path) < 0;
}

static void settle_row(struct node *n, const struct row *row)
{
	const struct value *v = plan_disk_value(n->m->in->intent, row->id, n->disk);
	struct answer a = {0};

	if (!v || is_carried(n, row, v))
		return;
	if (n->disk->has & row->own) {
		(void)snprintf(n->why, sizeof(n->why), "the definition has %s", row->what); /* fits */
		a.why = n->why;
	} else {
		a.why = why_not(n);
	}
	if (!a.why)
		a = row->answer(n, v);
	if (a.value) {
		add_disk(n);
		n->m->failed |= plan_add_setting(n->m->p, knob_table[row->id].name, n->disk->target, STAGE_EXEC,
						 a.value, v->source ? v->source : "default", a.why) < 0;
	} else if (*a.why) {
		plan_skip(n->m, row->id, n->disk->target, a.why);
	}
}

/* That something is asked of whatever disk there will be. Where none is tuned nobody need know. */
static void add_all(struct maker *m)
{
	for (size_t k = 0; k < ARRAY_SIZE(rows) && m->p->n_disks > 0; k++) {
		const struct value *v = plan_disk_value(m->in->intent, rows[k].id, NULL);

		if (v && !streq(v->text, "default") && !plan_find_disk(m->p, "*"))
			m->failed |= plan_add_disk(m->p, "*", "", "") < 0;
	}
}

void plan_nodes(struct maker *m)
{
	const struct domain *d = m->in->domain;
	const struct blockdev_facts *facts = m->in->blocks;

	for (unsigned int i = 0; i < d->n_disks; i++) {
		struct node n = {
			.m = m,
			.disk = &d->disks[i],
			.facts = facts && i < facts->n_disks ? &facts->disks[i] : NULL,
		};

		for (size_t k = 0; k < ARRAY_SIZE(rows); k++)
			settle_row(&n, &rows[k]);
	}
	add_all(m);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From what is wanted of the domain's disks to settings of the devices behind them, and the I/O priority.
 *
 *  1. For each disk, which value of each attribute is in force (plan_target.c): annotation before profile, and there a
 * named target before `*`; without what the definition says itself of that disk or device.
 *  2. For each physical device, what the disks on it make together: scheduler, queue, weight. Limits are set where they
 *     count once: on the device that the active image's data goes through (blockdev_disk.limit), as a sum.
 *  3. What the scheduler that will be in force there makes of weights and priorities: claims of other domains on that
 *     device are in the ledger, and the strongest of all counts.
 *
 * A removable drive is not meant by `*`: what is put into it is seldom what the guest works on.
 */
#include "plan_priv.h"

#include <inttypes.h>

#include "blockdev.h"
#include "cgroup.h"
#include "num.h"
#include "sbuf.h"

#define WISHES_MAX 12
#define IOPS_MOST  (UINT32_MAX - 1) /* the kernel keeps 32 bits, and UINT_MAX is no limit (block/blk-throttle.c) */
#define NAMES_SAID 4                /* disks that a reason names; the others are counted */

enum where { ON_DEVICES, AT_LIMIT };

/* Attributes of disks that the hook brings into force. */
static const struct attribute {
	enum knob_id id;
	enum stage stage;
	enum where where;
	unsigned int has; /* enum domain_disk_explicit: the definition says it itself */
	enum fold fold;   /* of disks on one device; between domains it is the same, but for limits */
	const char *order;
	const char *which; /* what of several values it is */
	const char *why;
	uint64_t most; /* 0: any number */
} attributes[] = {
	{KNOB_DISK_SCHEDULER, STAGE_PREPARE, ON_DEVICES, 0, FOLD_STRONGEST, PLAN_SCHEDULERS, "the strongest", "", 0},
	{KNOB_DISK_REQUESTS, STAGE_PREPARE, ON_DEVICES, 0, FOLD_LARGEST, NULL, "the largest", "", 0},
	{KNOB_DISK_READ_AHEAD, STAGE_PREPARE, ON_DEVICES, 0, FOLD_LARGEST, NULL, "the largest", "", 0},
	{KNOB_DISK_AFFINITY, STAGE_PREPARE, ON_DEVICES, 0, FOLD_STRONGEST, PLAN_AFFINITIES, "the largest", "", 0},
	{KNOB_DISK_LATENCY, STAGE_PREPARE, ON_DEVICES, 0, FOLD_SMALLEST, NULL, "the smallest", "", 0},
	{KNOB_DISK_MERGES, STAGE_PREPARE, ON_DEVICES, 0, FOLD_STRONGEST, PLAN_MERGES, "the smallest", "", 0},
	{KNOB_DISK_WEIGHT, STAGE_STARTED, ON_DEVICES, DISK_HAS_WEIGHT, FOLD_LARGEST, NULL, "the largest",
	 "its part of contended I/O", 0},
	{KNOB_DISK_READ_BPS, STAGE_STARTED, AT_LIMIT, DISK_HAS_READ_BPS, FOLD_SUM, NULL, "the sum", "bytes per second",
	 0},
	{KNOB_DISK_WRITE_BPS, STAGE_STARTED, AT_LIMIT, DISK_HAS_WRITE_BPS, FOLD_SUM, NULL, "the sum",
	 "bytes per second", 0},
	{KNOB_DISK_READ_IOPS, STAGE_STARTED, AT_LIMIT, DISK_HAS_READ_IOPS, FOLD_SUM, NULL, "the sum",
	 "requests per second", IOPS_MOST},
	{KNOB_DISK_WRITE_IOPS, STAGE_STARTED, AT_LIMIT, DISK_HAS_WRITE_IOPS, FOLD_SUM, NULL, "the sum",
	 "requests per second", IOPS_MOST},
};
_Static_assert(ARRAY_SIZE(attributes) <= WISHES_MAX, "a disk's wishes have room for each attribute");

/* One disk: what is in force for it, by index of attributes[]; NULL: nothing. */
struct wishes {
	const struct value *v[WISHES_MAX];
	bool any;
};

struct disks {
	struct maker *m;
	const struct domain *d;
	const struct blockdev_facts *f;
	struct wishes *w; /* by index of d->disks */
};

/* --- 1. what is in force for each disk -------------------------------------------------------------------------- */

static void skip_disk(struct maker *m, const char *target, const char *why)
{
	char shown[KNOB_SHOW_SIZE];

	m->failed |= plan_add_skipped(m->p, "disk", knob_show(target, shown), why) < 0;
}

/* The same thing said twice is said once. */
static void skip_once(struct maker *m, enum knob_id id, const char *target, const char *why)
{
	char shown[KNOB_SHOW_SIZE];

	(void)knob_show(target, shown);
	for (size_t i = 0; i < m->p->n_skipped; i++)
		if (streq(m->p->skipped[i].knob, knob_table[id].name) && streq(m->p->skipped[i].target, shown) &&
		    streq(m->p->skipped[i].why, why))
			return;
	plan_skip(m, id, shown, why);
}

/* What the definition says of this disk, or of the whole domain, itself. */
static bool is_said(struct disks *x, const struct domain_disk *disk, const struct attribute *a)
{
	if (a->id == KNOB_DISK_WEIGHT && (x->d->has & DOMAIN_HAS_BLKIO_WEIGHT)) {
		skip_once(x->m, a->id, "", "the definition has <blkiotune><weight>");
		return true;
	}
	if (!(disk->has & a->has))
		return false;
	skip_once(x->m, a->id, disk->target, "the definition has <iotune> for it");
	return true;
}

/* Whether something behind the disk can be set. What cannot is said, of a disk that something is wanted of. */
static bool has_devices(struct disks *x, unsigned int i)
{
	const struct domain_disk *disk = &x->d->disks[i];
	const struct blockdev_disk *b = x->f && i < x->f->n_disks ? &x->f->disks[i] : NULL;
	const char *why = "what it lies on was not looked at";

	if (b)
		why = *b->why ? b->why : b->n == 0 ? "it has no physical device" : b->chain_why;
	if (x->w[i].any && *why && disk->kind != DOMAIN_DISK_NONE)
		skip_disk(x->m, disk->target, why);
	return b && b->n;
}

static void collect(struct disks *x, unsigned int i)
{
	const struct domain_disk *disk = &x->d->disks[i];
	struct wishes *w = &x->w[i];

	for (size_t k = 0; k < ARRAY_SIZE(attributes); k++) {
		w->v[k] = plan_disk_value(x->m->in->intent, attributes[k].id, disk);
		w->any |= w->v[k] != NULL;
	}
	if (!has_devices(x, i)) {
		memset(w, 0, sizeof(*w));
		return;
	}
	for (size_t k = 0; k < ARRAY_SIZE(attributes); k++)
		if (w->v[k] && is_said(x, disk, &attributes[k]))
			w->v[k] = NULL;
}

/* --- 2. what they make together --------------------------------------------------------------------------------- */

/* The disks' values for one attribute of one device. */
struct together {
	const struct value *v[DOMAIN_DISKS_MAX];
	const char *text[DOMAIN_DISKS_MAX]; /* as words and numbers fold; auto has become one of them */
	const char *disk[DOMAIN_DISKS_MAX];
	unsigned int n;
	char *value;     /* what they make */
	const char *why; /* why auto is what it is; NULL */
};

static bool is_on(const struct blockdev_disk *b, unsigned int device)
{
	for (unsigned int i = 0; i < b->n; i++)
		if (b->devices[i] == device)
			return true;
	return false;
}

/* Place of a word in a blank-separated list, 0..; UINT32_MAX: it is not there. */
static unsigned int place_of(const char *list, const char *word)
{
	unsigned int place = 0;

	for (size_t n; *(list += strspn(list, " ")); list += n, place++) {
		n = strcspn(list, " ");
		if (n == strlen(word) && strncmp(list, word, n) == 0)
			return place;
	}
	return UINT32_MAX;
}

static bool has_word(const char *list, const char *word)
{
	return place_of(list, word) != UINT32_MAX;
}

/* Which value decides: its source is the setting's. */
static const struct value *decider(const struct together *t)
{
	for (unsigned int i = 0; i < t->n; i++)
		if (streq(t->text[i], t->value))
			return t->v[i];
	return t->v[0];
}

/* "behind vda, vdb: the largest" */
static void say_disks(const struct together *t, const struct attribute *a, struct sbuf *b)
{
	char shown[KNOB_SHOW_SIZE];
	bool differ = a->fold == FOLD_SUM && t->n > 1;

	sbuf_addf(b, "%s%sbehind ", a->why, *a->why ? ", " : "");
	for (unsigned int i = 0; i < t->n && i < NAMES_SAID; i++)
		sbuf_addf(b, "%s%s", i ? ", " : "", knob_show(t->disk[i], shown));
	if (t->n > NAMES_SAID)
		sbuf_addf(b, " and %u more", t->n - NAMES_SAID);
	for (unsigned int i = 1; i < t->n; i++)
		differ |= !streq(t->text[i], t->text[0]);
	if (differ)
		sbuf_addf(b, ": %s", a->which);
	if (t->why)
		sbuf_addf(b, "; %s", t->why);
}

static bool fold_together(struct maker *m, const struct attribute *a, struct together *t)
{
	/* All values are within the knob's range, so that they fold. */
	char most[24];
	uint64_t n;

	if (t->n && fold_values(a->fold, a->order, "0", t->text, t->n, &t->value) < 0)
		m->failed = true;
	if (t->value && a->most && num_parse_u64(t->value, &n) == 0 && n > a->most) {
		free(t->value);
		t->value = NULL;
		(void)snprintf(most, sizeof(most), "%" PRIu64, a->most); /* 20 digits fit */
		t->value = strdup(most);
		m->failed |= !t->value;
	}
	return t->value != NULL;
}

static void add(struct together *t, const struct value *v, const char *text, const char *disk)
{
	t->v[t->n] = v;
	t->text[t->n] = text;
	t->disk[t->n++] = disk;
}

static void settle(struct maker *m, const struct attribute *a, const char *device, const struct together *t,
		   const char *more)
{
	_cleanup_sbuf_ struct sbuf why = {0};
	const struct value *v = decider(t);

	say_disks(t, a, &why);
	sbuf_add(&why, more);
	m->failed |= why.failed || plan_add_setting(m->p, knob_table[a->id].name, device, a->stage, t->value,
						    v->source ? v->source : "default", why.s) < 0;
}

static unsigned int index_of(enum knob_id id)
{
	unsigned int k = 0;

	while (attributes[k].id != id)
		k++;
	return k;
}

static bool asks_priority(const struct maker *m)
{
	const struct value *v = plan_wanted(m, KNOB_IO_PRIORITY);

	return v && !streq(v->text, "none");
}

/* Some mechanism heeds weights there already, whatever the scheduler is (io.cost). */
static bool has_cost_model(const struct blockdev_facts *f, unsigned int device)
{
	return f->cgroup_weight_acts[device] && !streq(f->devices[device].scheduler, "bfq");
}

static bool asks_weight(const struct disks *x, unsigned int device)
{
	unsigned int k = index_of(KNOB_DISK_WEIGHT);

	for (unsigned int i = 0; i < x->d->n_disks; i++)
		if (x->w[i].v[k] && is_on(&x->f->disks[i], device))
			return true;
	return false;
}

/* What auto means for this device, and why. */
static const char *automatic(const struct disks *x, unsigned int device, const char **ret_why)
{
	const struct blockdev *b = &x->f->devices[device];
	bool has_bfq = has_word(b->schedulers, "bfq");

	if (has_bfq && asks_weight(x, device) && !has_cost_model(x->f, device)) {
		*ret_why = "auto: weights need it";
		return "bfq";
	}
	if (has_bfq && asks_priority(x->m)) {
		*ret_why = "auto: I/O priorities need it";
		return "bfq";
	}
	if (b->is_nvme || b->is_virtio) {
		*ret_why = b->is_nvme ? "auto: NVMe" : "auto: virtio, the host behind it schedules";
		return "none";
	}
	if (b->rotational && has_bfq) {
		*ret_why = "auto: rotational";
		return "bfq";
	}
	*ret_why = b->rotational ? "auto: rotational, and there is no bfq" : "auto: an SSD";
	/* A device may have no scheduler at all. */
	return streq(b->schedulers, "none") ? "none" : "mq-deadline";
}

/* Whether the device has it; what it does not have is skipped with what it has. */
static bool is_available(struct maker *m, const struct blockdev *b, const char *word)
{
	char why[256];

	if (has_word(b->schedulers, word))
		return true;
	if (*b->schedulers)
		(void)snprintf(why, sizeof(why), "%s has no %s, but: %s", b->name, word, b->schedulers); /* fits */
	else
		(void)snprintf(why, sizeof(why), "the schedulers of %s are not known", b->name); /* fits */
	skip_once(m, KNOB_DISK_SCHEDULER, b->name, why);
	return false;
}

static void gather(struct disks *x, unsigned int k, unsigned int device, struct together *t)
{
	const struct blockdev *b = &x->f->devices[device];
	bool is_scheduler = attributes[k].id == KNOB_DISK_SCHEDULER;

	for (unsigned int i = 0; i < x->d->n_disks; i++) {
		const struct value *v = x->w[i].v[k];
		const char *text = v ? v->text : NULL;

		if (!v || !is_on(&x->f->disks[i], device))
			continue;
		if (is_scheduler && streq(text, "auto"))
			text = automatic(x, device, &t->why);
		if (!is_scheduler || is_available(x->m, b, text))
			add(t, v, text, x->d->disks[i].target);
	}
	if (fold_together(x->m, &attributes[k], t) && t->why && !streq(decider(t)->text, "auto"))
		t->why = NULL; /* it was not auto that decided */
}

/* --- what other domains want of a scheduler --------------------------------------------------------------------- */

static const struct shared *shared_scheduler(const struct maker *m, const char *device)
{
	char object[BLOCKDEV_NAME + 64];

	(void)snprintf(object, sizeof(object), "sys/block/%s/queue/scheduler", device); /* fits */
	return ledger_see_shared(m->in->ledger, "file", object);
}

/* The scheduler that will be in force: the strongest of ours (NULL: none) and other domains', else what is there. */
static const char *scheduler_in_force(const struct maker *m, const struct blockdev *b, const char *ours)
{
	const struct shared *s = shared_scheduler(m, b->name);
	const char *best = ours;

	for (unsigned int i = 0; s && i < s->n_claims; i++) {
		const char *wanted = s->claims[i].wanted;

		if (!streq(s->claims[i].uuid, m->p->uuid) &&
		    (!best || place_of(PLAN_SCHEDULERS, wanted) < place_of(PLAN_SCHEDULERS, best)))
			best = wanted;
	}
	if (best)
		return best;
	/* What an earlier plan of this domain had made of it goes. */
	return s && s->original ? s->original : b->scheduler;
}

/* "; bfq is in force as long as another domain wants it", and what does not come back with the scheduler that goes: its
 * iosched/. */
static void say_switch(const struct maker *m, const struct blockdev *b, const char *ours, char *buf, size_t size)
{
	const char *word = scheduler_in_force(m, b, ours);

	buf[0] = '\0';
	if (!streq(word, ours))
		(void)snprintf(buf, size, "; %.40s is in force as long as another domain wants it", word); /* fits */
	else if (*b->scheduler && !streq(b->scheduler, "none") && !streq(b->scheduler, ours))
		(void)snprintf(buf, size, "; %.40s's own tunables do not come back", b->scheduler); /* fits */
}

/* --- 3. settings ------------------------------------------------------------------------------------------------ */

/* <blkiotune><device>: what the definition says of one device itself. */
static bool is_said_of_device(struct disks *x, const char *device, const struct attribute *a)
{
	for (unsigned int i = 0; i < x->d->n_blkio && i < x->f->n_blkio; i++)
		if ((x->d->blkio[i].has & a->has) && streq(x->f->blkio[i], device)) {
			skip_once(x->m, a->id, device, "the definition has <blkiotune> for it");
			return true;
		}
	return false;
}

static void settle_weight(struct disks *x, unsigned int device, const struct attribute *a, const struct together *t,
			  const char *scheduler)
{
	const struct blockdev *b = &x->f->devices[device];
	bool is_bfq = streq(scheduler, "bfq");
	uint64_t weight;
	char why[192];

	if (is_said_of_device(x, b->name, a))
		return;
	if (b->major == 0) {
		skip_once(x->m, a->id, b->name, "control groups cannot name it: it is a path of a multipath device");
		return;
	}
	if (!is_bfq && !has_cost_model(x->f, device)) {
		(void)snprintf(
			why, sizeof(why),
			"it would be inert: %s heeds no weights, and io.cost is not enabled for %s (disk.scheduler "
			"auto or bfq)",
			*scheduler ? scheduler : "its scheduler", b->name); /* fits */
		skip_once(x->m, a->id, b->name, why);
		return;
	}
	if (num_parse_u64(t->value, &weight) < 0)
		weight = 0; /* a number, as it was parsed */
	settle(x->m, a, b->name, t,
	       !is_bfq					? ", by io.cost"
	       : cgroup_bfq_of_weight(weight) < weight ? ", by bfq, for which 1000 is the most"
							: ", by bfq");
	x->m->failed |= plan_add_block(x->m->p, b->name, b->major, b->minor, is_bfq) < 0;
}

/* What belongs to one physical device. */
static void settle_device(struct disks *x, unsigned int device)
{
	const struct blockdev *b = &x->f->devices[device];
	_cleanup_free_ struct together *t = calloc(1, sizeof(*t));
	char ours[32] = "", more[128];

	if (!t) {
		x->m->failed = true;
		return;
	}
	for (unsigned int k = 0; k < ARRAY_SIZE(attributes); k++) {
		const struct attribute *a = &attributes[k];

		if (a->where != ON_DEVICES)
			continue;
		memset(t, 0, sizeof(*t));
		gather(x, k, device, t);
		if (!t->value)
			continue;
		if (a->id == KNOB_DISK_SCHEDULER) {
			(void)snprintf(ours, sizeof(ours), "%s", t->value); /* fits: a word of the vocabulary */
			say_switch(x->m, b, ours, more, sizeof(more));
			settle(x->m, a, b->name, t, more);
		} else if (a->id == KNOB_DISK_WEIGHT) {
			settle_weight(x, device, a, t, scheduler_in_force(x->m, b, *ours ? ours : NULL));
		} else {
			settle(x->m, a, b->name, t,
			       a->id == KNOB_DISK_LATENCY ? "; set by hand from then on, also when it is put back"
							  : "");
		}
		free(t->value);
	}
}

/*
 * Another disk whose data goes through the same device and that has no such limit: it would be held to it as well. A
 * removable or read-only one is no reason to leave it; nor does its own <iotune> count here, which is QEMU's.
 */
static const char *unlimited(const struct disks *x, unsigned int k, const char *device)
{
	bool is_write = attributes[k].id == KNOB_DISK_WRITE_BPS || attributes[k].id == KNOB_DISK_WRITE_IOPS;
	unsigned int harmless = DISK_IS_REMOVABLE | (is_write ? DISK_IS_READ_ONLY : 0u);

	for (unsigned int i = 0; i < x->d->n_disks; i++)
		if (!x->w[i].v[k] && !(x->d->disks[i].has & harmless) && x->f->disks[i].n &&
		    streq(x->f->disks[i].limit, device))
			return x->d->disks[i].target;
	return NULL;
}

static void settle_limit(struct disks *x, unsigned int k, unsigned int first)
{
	const struct attribute *a = &attributes[k];
	const struct blockdev_disk *b = &x->f->disks[first];
	_cleanup_free_ struct together *t = calloc(1, sizeof(*t));
	const char *other = unlimited(x, k, b->limit);
	char shown[KNOB_SHOW_SIZE], why[KNOB_SHOW_SIZE + 96];

	if (!t) {
		x->m->failed = true;
		return;
	}
	if (other) {
		(void)snprintf(why, sizeof(why), "it would hold %s too, which lies there without a limit of its own",
			       knob_show(other, shown)); /* fits */
		skip_once(x->m, a->id, b->limit, why);
		return;
	}
	if (is_said_of_device(x, b->limit, a))
		return;
	for (unsigned int i = first; i < x->d->n_disks; i++)
		if (x->w[i].v[k] && streq(x->f->disks[i].limit, b->limit))
			add(t, x->w[i].v[k], x->w[i].v[k]->text, x->d->disks[i].target);
	if (fold_together(x->m, a, t)) {
		settle(x->m, a, b->limit, t, "");
		x->m->failed |= plan_add_block(x->m->p, b->limit, b->limit_major, b->limit_minor, false) < 0;
	}
	free(t->value);
}

/* Each device with a limit once, at its first disk. */
static void settle_limits(struct disks *x, unsigned int k)
{
	for (unsigned int i = 0; i < x->d->n_disks; i++) {
		const char *device = x->f->disks[i].limit;
		bool seen = false;

		if (!x->w[i].v[k])
			continue;
		if (!*device) {
			skip_once(x->m, attributes[k].id, x->d->disks[i].target,
				  "it is not known on which device a limit would count once");
			continue;
		}
		for (unsigned int j = 0; j < i && !seen; j++)
			seen = x->w[j].v[k] && streq(x->f->disks[j].limit, device);
		if (!seen)
			settle_limit(x, k, i);
	}
}

/* --- I/O priority ----------------------------------------------------------------------------------------------- */

static const char *planned_scheduler(const struct plan *p, const char *device)
{
	for (size_t i = 0; i < p->n_settings; i++)
		if (streq(p->settings[i].knob, knob_table[KNOB_DISK_SCHEDULER].name) &&
		    streq(p->settings[i].target, device))
			return p->settings[i].value;
	return NULL;
}

/* What schedulers do with priorities: bfq heeds class and level, mq-deadline the class (block/mq-deadline.c, 5.14). */
static void warn_priority(struct maker *m, const char *priority)
{
	const struct blockdev_facts *f = m->in->blocks;
	_cleanup_sbuf_ struct sbuf ignored = {0}, class_only = {0};
	bool has_level = strchr(priority, ':');

	for (unsigned int i = 0; f && i < f->n_devices; i++) {
		const struct blockdev *b = &f->devices[i];
		const char *word = scheduler_in_force(m, b, planned_scheduler(m->p, b->name));

		if (streq(word, "none") || streq(word, "kyber"))
			sbuf_addf(&ignored, "%s%s (%s)", ignored.len ? ", " : "", b->name, word);
		else if (streq(word, "mq-deadline") && has_level)
			sbuf_addf(&class_only, "%s%s", class_only.len ? ", " : "", b->name);
	}
	if (ignored.failed || class_only.failed) {
		m->failed = true;
		return;
	}
	if (ignored.len)
		msgs_warn(&m->p->warnings, "io.priority %s: ignored by the scheduler of %s", priority, ignored.s);
	if (class_only.len)
		msgs_warn(&m->p->warnings, "io.priority %s: mq-deadline heeds the class only, not the level: %s",
			  priority, class_only.s);
}

static void settle_priority(struct maker *m)
{
	const struct value *v = plan_wanted(m, KNOB_IO_PRIORITY);
	const char *name = knob_table[KNOB_IO_PRIORITY].name, *source;
	bool is_rt;

	if (!asks_priority(m))
		return;
	is_rt = str_starts(v->text, "rt:");
	source = v->source ? v->source : "default";
	/* Without privileges the kernel refuses the realtime class (ioprio_set(2)). */
	if (m->in->wrapper.present && !m->in->running && !is_rt)
		m->failed |= plan_add_setting(m->p, name, "", STAGE_EXEC, v->text, source,
					      "before QEMU makes its first thread") < 0;
	m->failed |= plan_add_setting(m->p, name, "", STAGE_STARTED, v->text, source,
				      is_rt ? "all of its threads; the realtime class is not for the wrapper"
					    : "all of its threads") < 0;
	warn_priority(m, v->text);
}

void plan_disks(struct maker *m)
{
	struct disks x = {.m = m, .d = m->in->domain, .f = m->in->blocks};

	x.w = calloc(x.d->n_disks + 1, sizeof(*x.w));
	if (!x.w) {
		m->failed = true;
		return;
	}
	for (unsigned int i = 0; i < x.d->n_disks; i++)
		collect(&x, i);
	for (unsigned int i = 0; x.f && i < x.f->n_devices; i++)
		settle_device(&x, i);
	if (x.f && x.f->cut)
		msgs_warn(&m->p->warnings, "its disks lie on more than %d devices: the others are left as they are",
			  BLOCKDEV_MAX);
	for (unsigned int k = 0; x.f && k < ARRAY_SIZE(attributes); k++)
		if (attributes[k].where == AT_LIMIT)
			settle_limits(&x, k);
	free(x.w);
	settle_priority(m);
}

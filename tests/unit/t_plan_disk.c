/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks, the devices behind them and what is wanted in; settings, what is skipped and warned of out. */
#include "tap.h"

#include "common/blockdev.h"
#include "common/plan.h"
#include "common/sbuf.h"

#include "placehost.h"

#define UUID  "11111111-2222-4333-8444-555555555555"
#define OTHER "99999999-2222-4333-8444-555555555555"

/* Devices by number, as devices[] below names them. */
static const struct blockdev known[] = {
	{"sda", 8, 0, .rotational = true, .scheduler = "mq-deadline", .schedulers = "none mq-deadline kyber bfq"},
	{"sdb", 8, 16, .scheduler = "mq-deadline", .schedulers = "none mq-deadline kyber bfq"},
	{"nvme0n1", 259, 0, .is_nvme = true, .scheduler = "none", .schedulers = "none mq-deadline kyber bfq"},
	{"vda", 252, 0, .is_virtio = true, .rotational = true, .scheduler = "mq-deadline",
	 .schedulers = "none mq-deadline kyber bfq"},
	{"sdc", 8, 32, .rotational = true, .scheduler = "none", .schedulers = "none mq-deadline"},
	{"md0", 9, 0, .scheduler = "none", .schedulers = "none"},
	{"sdd", 8, 48},
	{"nvme1c0n1", 0, 0, .is_nvme = true, .scheduler = "none", .schedulers = "none mq-deadline kyber bfq"},
};

struct disk_spec {
	const char *target;
	const char *devices; /* digits */
	int limit;           /* its device; -1: not known */
	unsigned int has;
	enum domain_disk_kind kind; /* DOMAIN_DISK_NONE: of a file, unless it has no devices and no reason */
	const char *why, *chain_why;
};

struct dcase {
	const char *name;
	struct disk_spec disks[4];
	const char *intent; /* "vda.scheduler=bfq" of the profile, "!vda.scheduler=bfq" of the annotation,
			       "io.priority=.." */
	const char *held;   /* "0=bfq": another domain's claim on the scheduler of a device */
	const char *mine;   /* likewise our own, of an earlier plan */
	const char *costs;  /* digits of devices with io.cost */
	unsigned int has;   /* of the domain */
	int blkio;          /* + 1: device of a <blkiotune><device> with all that there is */
	bool wrapper, running, not_looked, cut;
	const char *want;
};

static void add_wish(struct intent *in, char *word)
{
	bool annotation = *word == '!';
	char *target = word + annotation, *value = strchr(word, '='), *attribute;
	struct tune_target *t;
	struct err e = ERR_INIT;
	struct value *v;
	enum knob_id id;

	*value++ = '\0';
	attribute = strrchr(target, '.');
	*attribute++ = '\0';
	if (streq(target, "io")) {
		id = KNOB_IO_PRIORITY;
		v = &in->v[id];
	} else {
		in->targets = reallocarray(in->targets, in->n_targets + 1, sizeof(*in->targets));
		t = &in->targets[in->n_targets++];
		memset(t, 0, sizeof(*t));
		t->element = KNOB_ELEMENT_DISK;
		t->target = strdup(target);
		id = knob_find("disk", attribute);
		v = &t->v[id];
	}
	if (knob_parse_value(id, value, v, &e)) {
		fprintf(stderr, "%s\n", e.text);
		exit(2);
	}
	v->source = strdup(annotation ? "annotation" : "profile p");
}

static void claim_scheduler(struct ledger *l, const char *what, const char *uuid)
{
	char object[64];
	struct shared *s;

	if (!what)
		return;
	(void)snprintf(object, sizeof(object), "sys/block/%s/queue/scheduler", known[*what - '0'].name);
	s = ledger_find_shared(l, "file", object);
	if (!s)
		s = ledger_add_shared(l, "file", object);
	(void)shared_set(s, &s->original, "kyber");
	IS_INT(shared_set_claim(s, uuid, what + 2), 0);
}

struct world {
	struct domain domain;
	struct domain_disk disks[4];
	struct domain_blkio blkio;
	struct blockdev_facts *facts;
	struct blockdev_disk *on;
	char blkio_name[1][BLOCKDEV_NAME];
	struct intent intent;
	struct policy policy;
	struct host host;
	struct ledger ledger;
	char text[512], empty[1], name[8];
};

static struct plan_inputs make_world(struct world *w, const struct dcase *c)
{
	static const struct host_spec spec = {.nodes = 1, .cores = 2};
	struct domain *d = &w->domain;
	char *save = NULL;

	memset(w, 0, sizeof(*w));
	host_make(&w->host, &spec);
	(void)snprintf(w->text, sizeof(w->text), "%s", c->intent ? c->intent : "");
	w->intent.profile = strdup("p");
	for (char *word = strtok_r(w->text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		add_wish(&w->intent, word);
	(void)snprintf(w->name, sizeof(w->name), "web1");
	(void)snprintf(d->uuid, sizeof(d->uuid), "%s", UUID);
	d->name = w->name;
	d->vcpus = d->vcpus_max = 1;
	idset_add(&d->vcpus_online, 0);
	d->memory = GIB;
	d->has = c->has;
	d->disks = w->disks;
	w->facts = must_alloc(1, sizeof(*w->facts));
	w->on = must_alloc(4, sizeof(*w->on));
	w->facts->disks = w->on;
	memcpy(w->facts->devices, known, sizeof(known));
	w->facts->n_devices = ARRAY_SIZE(known);
	w->facts->cut = c->cut;
	for (const char *p = c->costs ? c->costs : ""; *p; p++)
		w->facts->cgroup_weight_acts[*p - '0'] = true;
	for (; d->n_disks < 4 && c->disks[d->n_disks].target; d->n_disks++) {
		const struct disk_spec *s = &c->disks[d->n_disks];
		struct blockdev_disk *on = &w->on[d->n_disks];

		w->disks[d->n_disks] =
			(struct domain_disk){.target = (char *)(uintptr_t)s->target, .has = s->has, .kind = s->kind};
		if (!s->kind && (s->devices || s->why))
			w->disks[d->n_disks].kind = DOMAIN_DISK_FILE;
		for (const char *p = s->devices ? s->devices : ""; *p; p++)
			on->devices[on->n++] = (unsigned int)(*p - '0');
		if (on->n && s->limit >= 0) {
			(void)snprintf(on->limit, sizeof(on->limit), "%s", known[s->limit].name);
			on->limit_major = known[s->limit].major;
			on->limit_minor = known[s->limit].minor;
		}
		(void)snprintf(on->why, sizeof(on->why), "%s", s->why ? s->why : "");
		(void)snprintf(on->chain_why, sizeof(on->chain_why), "%s", s->chain_why ? s->chain_why : "");
	}
	w->facts->n_disks = d->n_disks;
	if (c->blkio) {
		w->blkio = (struct domain_blkio){.path = w->empty, .has = DISK_HAS_WEIGHT | DISK_HAS_READ_BPS};
		d->blkio = &w->blkio;
		d->n_blkio = w->facts->n_blkio = 1;
		(void)snprintf(w->blkio_name[0], BLOCKDEV_NAME, "%s", known[c->blkio - 1].name);
		w->facts->blkio = w->blkio_name;
	}
	claim_scheduler(&w->ledger, c->held, OTHER);
	claim_scheduler(&w->ledger, c->mine, UUID);
	return (struct plan_inputs){.domain = d,
				    .intent = &w->intent,
				    .policy = &w->policy,
				    .host = &w->host,
				    .ledger = &w->ledger,
				    .blocks = c->not_looked ? NULL : w->facts,
				    .wrapper = {.present = c->wrapper, .emulator = w->empty},
				    .running = c->running};
}

static void free_world(struct world *w)
{
	for (unsigned int i = 0; i < KNOB_ID_MAX; i++)
		value_fini(&w->intent.v[i]);
	for (size_t t = 0; t < w->intent.n_targets; t++) {
		for (unsigned int i = 0; i < KNOB_ID_MAX; i++)
			value_fini(&w->intent.targets[t].v[i]);
		free(w->intent.targets[t].target);
	}
	free(w->intent.targets);
	free(w->intent.profile);
	free(w->facts);
	free(w->on);
	ledger_fini(&w->ledger);
	host_free(&w->host);
}

/* "KNOB TARGET STAGE VALUE (SOURCE: WHY)" */
static char *text_of(const struct plan *p)
{
	struct sbuf b = {0};

	for (size_t i = 0; i < p->n_settings; i++) {
		const struct setting *s = &p->settings[i];

		sbuf_addf(&b, "%s %s%s%s %s (%s: %s)\n", s->knob, s->target, *s->target ? " " : "",
			  stage_name(s->stage), s->value, s->source, s->why);
	}
	for (size_t i = 0; i < p->n_block; i++)
		sbuf_addf(&b, "block %s %u:%u%s\n", p->block[i].name, p->block[i].major, p->block[i].minor,
			  p->block[i].bfq ? " bfq" : "");
	for (size_t i = 0; i < p->n_skipped; i++)
		sbuf_addf(&b, "skip %s %s: %s\n", p->skipped[i].knob, p->skipped[i].target, p->skipped[i].why);
	for (size_t i = 0; i < p->warnings.n; i++)
		sbuf_addf(&b, "warn %s\n", p->warnings.m[i].text);
	return sbuf_steal(&b);
}

/* clang-format off */
static const struct dcase cases[] = {
	{ .name = "nothing wanted", .disks = { { "vda", "0" } }, .want = "" },
	{ .name = "nothing there", .intent = "*.scheduler=auto *.weight=5 *.read-bps=5",
	  .want = "skip disk.scheduler *: the domain has no disk\n"
		  "skip disk.weight *: the domain has no disk\n"
		  "skip disk.read-bps *: the domain has no disk\n" },
	{ .name = "all of a queue", .disks = { { "vda", "1", 1 } },
	  .intent = "vda.scheduler=kyber vda.requests=64 vda.read-ahead=512 vda.affinity=2 vda.latency=2000 vda.merges=1",
	  .want = "disk.scheduler sdb prepare kyber (profile p: behind vda; mq-deadline's own tunables do not come back)\n"
		  "disk.requests sdb prepare 64 (profile p: behind vda)\n"
		  "disk.read-ahead sdb prepare 512 (profile p: behind vda)\n"
		  "disk.affinity sdb prepare 2 (profile p: behind vda)\n"
		  "disk.latency sdb prepare 2000 (profile p: behind vda; set by hand from then on, also when it is put back)\n"
		  "disk.merges sdb prepare 1 (profile p: behind vda)\n" },
	{ .name = "auto", .disks = { { "vda", "01234", -1 } }, .intent = "*.scheduler=auto",
	  .want = "disk.scheduler sda prepare bfq (profile p: behind vda; auto: rotational; mq-deadline's own tunables do not come back)\n"
		  "disk.scheduler sdb prepare mq-deadline (profile p: behind vda; auto: an SSD)\n"
		  "disk.scheduler nvme0n1 prepare none (profile p: behind vda; auto: NVMe)\n"
		  "disk.scheduler vda prepare none (profile p: behind vda; auto: virtio, the host behind it schedules; mq-deadline's own tunables do not come back)\n"
		  "disk.scheduler sdc prepare mq-deadline (profile p: behind vda; auto: rotational, and there is no bfq)\n" },
	{ .name = "auto where there is no scheduler", .disks = { { "vda", "56", -1 } }, .intent = "*.scheduler=auto",
	  .want = "disk.scheduler md0 prepare none (profile p: behind vda; auto: an SSD)\n"
		  "skip disk.scheduler sdd: the schedulers of sdd are not known\n" },
	{ .name = "auto with a weight", .disks = { { "vda", "2", 2 } }, .intent = "*.scheduler=auto *.weight=300",
	  .want = "disk.scheduler nvme0n1 prepare bfq (profile p: behind vda; auto: weights need it)\n"
		  "disk.weight nvme0n1 started 300 (profile p: its part of contended I/O, behind vda, by bfq)\n"
		  "block nvme0n1 259:0 bfq\n" },
	{ .name = "auto with a weight of another disk", .disks = { { "vda", "1", 1 }, { "vdb", "12", -1 } },
	  .intent = "*.scheduler=auto vda.weight=300",
	  .want = "disk.scheduler sdb prepare bfq (profile p: behind vda, vdb; auto: weights need it; mq-deadline's own tunables do not come back)\n"
		  "disk.weight sdb started 300 (profile p: its part of contended I/O, behind vda, by bfq)\n"
		  "disk.scheduler nvme0n1 prepare none (profile p: behind vdb; auto: NVMe)\n"
		  "block sdb 8:16 bfq\n" },
	{ .name = "auto with a weight that io.cost heeds", .disks = { { "vda", "2", 2 } }, .costs = "2",
	  .intent = "*.scheduler=auto *.weight=300",
	  .want = "disk.scheduler nvme0n1 prepare none (profile p: behind vda; auto: NVMe)\n"
		  "disk.weight nvme0n1 started 300 (profile p: its part of contended I/O, behind vda, by io.cost)\n"
		  "block nvme0n1 259:0\n" },
	{ .name = "auto with a priority", .disks = { { "vda", "2", 2 } }, .intent = "*.scheduler=auto io.priority=be:1",
	  .want = "disk.scheduler nvme0n1 prepare bfq (profile p: behind vda; auto: I/O priorities need it)\n"
		  "io.priority started be:1 (profile p: all of its threads)\n"
		  "warn io.priority be:1: ignored by the scheduler of sdc (none), md0 (none), nvme1c0n1 (none)\n"
		  "warn io.priority be:1: mq-deadline heeds the class only, not the level: sda, sdb, vda\n" },
	{ .name = "what the device does not have", .disks = { { "vda", "4", 4 }, { "vdb", "4", 4 }, { "vdc", "4", 4 } },
	  .intent = "vda.scheduler=bfq vdb.scheduler=bfq vdc.scheduler=none",
	  .want = "disk.scheduler sdc prepare none (profile p: behind vdc)\n"
		  "skip disk.scheduler sdc: sdc has no bfq, but: none mq-deadline\n" },
	{ .name = "disks on one device", .disks = { { "vda", "1", 1 }, { "vdb", "1", 1 } },
	  .intent = "vda.scheduler=none vdb.scheduler=mq-deadline vda.requests=64 vdb.requests=32 vda.read-ahead=4 "
		    "vdb.read-ahead=4 vda.affinity=1 vdb.affinity=2 vda.latency=0 vdb.latency=500 vda.merges=2 "
		    "!vdb.merges=0 vda.read-bps=1MiB vdb.read-bps=3MiB vda.write-iops=4294967295 vdb.write-iops=5",
	  .want = "disk.scheduler sdb prepare mq-deadline (profile p: behind vda, vdb: the strongest)\n"
		  "disk.requests sdb prepare 64 (profile p: behind vda, vdb: the largest)\n"
		  "disk.read-ahead sdb prepare 4 (profile p: behind vda, vdb)\n"
		  "disk.affinity sdb prepare 2 (profile p: behind vda, vdb: the largest)\n"
		  "disk.latency sdb prepare 500 (profile p: behind vda, vdb: the smallest; set by hand from then on, also when it is put back)\n"
		  "disk.merges sdb prepare 0 (annotation: behind vda, vdb: the smallest)\n"
		  "disk.read-bps sdb started 4194304 (profile p: bytes per second, behind vda, vdb: the sum)\n"
		  "disk.write-iops sdb started 4294967294 (profile p: requests per second, behind vda, vdb: the sum)\n"
		  "block sdb 8:16\n" },
	{ .name = "who goes before whom", .disks = { { "vda", "0", 0 }, { "vdb", "1", 1 }, { "vdc", "2", 2 } },
	  .intent = "!vda.requests=11 !*.requests=12 vda.requests=13 vdb.requests=14 *.requests=15 vdb.merges=1 "
		    "*.merges=2 !vdc.read-ahead=8 *.read-ahead=16",
	  .want = "disk.requests sda prepare 11 (annotation: behind vda)\n"
		  "disk.read-ahead sda prepare 16 (profile p: behind vda)\n"
		  "disk.merges sda prepare 2 (profile p: behind vda)\n"
		  "disk.requests sdb prepare 12 (annotation: behind vdb)\n"
		  "disk.read-ahead sdb prepare 16 (profile p: behind vdb)\n"
		  "disk.merges sdb prepare 1 (profile p: behind vdb)\n"
		  "disk.requests nvme0n1 prepare 12 (annotation: behind vdc)\n"
		  "disk.read-ahead nvme0n1 prepare 8 (annotation: behind vdc)\n"
		  "disk.merges nvme0n1 prepare 2 (profile p: behind vdc)\n" },
	{ .name = "a weight that nothing heeds", .disks = { { "vda", "12", 1 } }, .intent = "*.weight=50",
	  .want = "skip disk.weight sdb: it would be inert: mq-deadline heeds no weights, and io.cost is not enabled for "
		  "sdb (disk.scheduler auto or bfq)\n"
		  "skip disk.weight nvme0n1: it would be inert: none heeds no weights, and io.cost is not enabled for "
		  "nvme0n1 (disk.scheduler auto or bfq)\n" },
	{ .name = "a weight that another domain's bfq heeds", .disks = { { "vda", "1", 1 } }, .held = "1=bfq",
	  .intent = "*.weight=50 *.scheduler=none",
	  .want = "disk.scheduler sdb prepare none (profile p: behind vda; bfq is in force as long as another domain "
		  "wants it)\n"
		  "disk.weight sdb started 50 (profile p: its part of contended I/O, behind vda, by bfq)\n"
		  "block sdb 8:16 bfq\n" },
	{ .name = "stronger than another domain", .disks = { { "vda", "1", 1 } }, .held = "1=none",
	  .intent = "*.scheduler=bfq", .want = "disk.scheduler sdb prepare bfq (profile p: behind vda; mq-deadline's own tunables do not come back)\n" },
	{ .name = "what an earlier plan had made of it goes", .disks = { { "vda", "1", 1 } }, .mine = "1=bfq",
	  .intent = "*.weight=50",
	  .want = "skip disk.weight sdb: it would be inert: kyber heeds no weights, and io.cost is not enabled for sdb "
		  "(disk.scheduler auto or bfq)\n" },
	{ .name = "a path without a number", .disks = { { "vda", "7", 2 } }, .intent = "*.weight=50 *.read-iops=9 *.scheduler=bfq",
	  .want = "disk.scheduler nvme1c0n1 prepare bfq (profile p: behind vda)\n"
		  "disk.read-iops nvme0n1 started 9 (profile p: requests per second, behind vda)\n"
		  "block nvme0n1 259:0\n"
		  "skip disk.weight nvme1c0n1: control groups cannot name it: it is a path of a multipath device\n" },
	{ .name = "limits count once", .disks = { { "vda", "01", 5 } }, .intent = "*.read-bps=100 *.write-bps=200",
	  .want = "disk.read-bps md0 started 100 (profile p: bytes per second, behind vda)\n"
		  "disk.write-bps md0 started 200 (profile p: bytes per second, behind vda)\n"
		  "block md0 9:0\n" },
	{ .name = "no device for a limit", .disks = { { "vda", "01", -1 } }, .intent = "*.read-bps=100",
	  .want = "skip disk.read-bps vda: it is not known on which device a limit would count once\n" },
	{ .name = "a limit would hold another disk",
	  .disks = { { "vda", "1", 1 }, { "vdb", "1", 1 }, { "sdx", "1", 1, DISK_IS_REMOVABLE }, { "vdc", "2", 2 } },
	  .intent = "vda.read-bps=100 vdc.read-bps=100 vda.write-iops=7 vdb.write-iops=8",
	  .want = "disk.read-bps nvme0n1 started 100 (profile p: bytes per second, behind vdc)\n"
		  "disk.write-iops sdb started 15 (profile p: requests per second, behind vda, vdb: the sum)\n"
		  "block nvme0n1 259:0\n"
		  "block sdb 8:16\n"
		  "skip disk.read-bps sdb: it would hold vdb too, which lies there without a limit of its own\n" },
	{ .name = "nobody writes to a read-only one",
	  .disks = { { "vda", "1", 1 }, { "vdb", "1", 1, DISK_IS_READ_ONLY } }, .intent = "vda.write-bps=100",
	  .want = "disk.write-bps sdb started 100 (profile p: bytes per second, behind vda)\n"
		  "block sdb 8:16\n" },
	{ .name = "iotune", .disks = { { "vda", "1", 1, DISK_HAS_READ_BPS | DISK_HAS_WRITE_IOPS } },
	  .intent = "*.read-bps=1 *.write-bps=2 *.read-iops=3 *.write-iops=4",
	  .want = "disk.write-bps sdb started 2 (profile p: bytes per second, behind vda)\n"
		  "disk.read-iops sdb started 3 (profile p: requests per second, behind vda)\n"
		  "block sdb 8:16\n"
		  "skip disk.read-bps vda: the definition has <iotune> for it\n"
		  "skip disk.write-iops vda: the definition has <iotune> for it\n" },
	{ .name = "blkiotune of a device", .disks = { { "vda", "1", 1 }, { "vdb", "0", 0 } }, .blkio = 1 + 1,
	  .intent = "*.scheduler=bfq *.weight=7000 *.read-bps=1 *.write-bps=2",
	  .want = "disk.scheduler sda prepare bfq (profile p: behind vdb; mq-deadline's own tunables do not come back)\n"
		  "disk.weight sda started 7000 (profile p: its part of contended I/O, behind vdb, by bfq, for which 1000 is the most)\n"
		  "disk.scheduler sdb prepare bfq (profile p: behind vda; mq-deadline's own tunables do not come back)\n"
		  "disk.read-bps sda started 1 (profile p: bytes per second, behind vdb)\n"
		  "disk.write-bps sdb started 2 (profile p: bytes per second, behind vda)\n"
		  "disk.write-bps sda started 2 (profile p: bytes per second, behind vdb)\n"
		  "block sda 8:0 bfq\n"
		  "block sdb 8:16\n"
		  "skip disk.weight sdb: the definition has <blkiotune> for it\n"
		  "skip disk.read-bps sdb: the definition has <blkiotune> for it\n" },
	{ .name = "blkiotune of the domain", .disks = { { "vda", "1", 1 }, { "vdb", "0", 0 } },
	  .has = DOMAIN_HAS_BLKIO_WEIGHT, .intent = "*.scheduler=auto *.weight=7",
	  .want = "disk.scheduler sda prepare bfq (profile p: behind vdb; auto: rotational; mq-deadline's own tunables do not come back)\n"
		  "disk.scheduler sdb prepare mq-deadline (profile p: behind vda; auto: an SSD)\n"
		  "skip disk.weight : the definition has <blkiotune><weight>\n" },
	{ .name = "no device", .disks = { { "vda", .why = "it is on NFS" }, { "vdb", .why = "network disk (rbd)" },
					  { "vdc" }, { "vdd", "1", -1, .why = "it is on NFS" } },
	  .intent = "*.scheduler=auto *.weight=7 !vdb.requests=5 *.read-bps=7",
	  .want = "disk.scheduler sdb prepare bfq (profile p: behind vdd; auto: weights need it; mq-deadline's own tunables do not come back)\n"
		  "disk.weight sdb started 7 (profile p: its part of contended I/O, behind vdd, by bfq)\n"
		  "block sdb 8:16 bfq\n"
		  "skip disk vda: it is on NFS\n"
		  "skip disk vdb: network disk (rbd)\n"
		  "skip disk vdd: it is on NFS\n"
		  "skip disk.read-bps vdd: it is not known on which device a limit would count once\n" },
	{ .name = "nothing wanted of what has no device", .disks = { { "vda", .why = "it is on NFS" }, { "vdb", "1", 1 } },
	  .intent = "vdb.requests=5", .want = "disk.requests sdb prepare 5 (profile p: behind vdb)\n" },
	{ .name = "a chain with an end that is not known",
	  .disks = { { "vda", "1", 1, .chain_why = "its backing image is on NFS" } }, .intent = "*.requests=5",
	  .want = "disk.requests sdb prepare 5 (profile p: behind vda)\n"
		  "skip disk vda: its backing image is on NFS\n" },
	{ .name = "removable ones only by name", .disks = { { "sda", "0", 0, DISK_IS_REMOVABLE }, { "sdb", "1", 1, DISK_IS_REMOVABLE } },
	  .intent = "*.requests=5 sdb.requests=6", .want = "disk.requests sdb prepare 6 (profile p: behind sdb)\n" },
	{ .name = "no such disk", .disks = { { "vda", "1", 1 } },
	  .intent = "vdz.requests=5 ../../x.requests=5 vdz.merges=1 !vdz.weight=1 a\tb.requests=5",
	  .want = "skip disk.requests vdz: the domain has no disk 'vdz'\n"
		  "skip disk.requests ../../x: the domain has no disk '../../x'\n"
		  "skip disk.merges vdz: the domain has no disk 'vdz'\n"
		  "skip disk.weight vdz: the domain has no disk 'vdz'\n"
		  "skip disk.requests a?b: the domain has no disk 'a?b'\n" },
	{ .name = "not looked at", .disks = { { "vda", "1", 1 } }, .not_looked = true,
	  .intent = "*.requests=5 *.read-bps=5 io.priority=idle",
	  .want = "io.priority started idle (profile p: all of its threads)\n"
		  "skip disk vda: what it lies on was not looked at\n" },
	{ .name = "too many devices", .disks = { { "vda", "1", 1 } }, .cut = true, .intent = "*.merges=1",
	  .want = "disk.merges sdb prepare 1 (profile p: behind vda)\n"
		  "warn its disks lie on more than 64 devices: the others are left as they are\n" },
	{ .name = "more disks than are named",
	  .disks = { { "a\tb", "1", 1 }, { "vdb", "1", 1 }, { "vdc", "1", 1 }, { "vdd", "1", 1 } },
	  .intent = "*.read-iops=1", .want =
		  "disk.read-iops sdb started 4 (profile p: requests per second, behind a?b, vdb, vdc, vdd: the sum)\n"
		  "block sdb 8:16\n" },
	{ .name = "priority before exec", .wrapper = true, .intent = "io.priority=be:0", .not_looked = true,
	  .want = "io.priority exec be:0 (profile p: before QEMU makes its first thread)\n"
		  "io.priority started be:0 (profile p: all of its threads)\n" },
	{ .name = "realtime is the hook's", .wrapper = true, .intent = "io.priority=rt:4", .not_looked = true,
	  .want = "io.priority started rt:4 (profile p: all of its threads; the realtime class is not for the wrapper)\n" },
	{ .name = "priority of a running guest", .wrapper = true, .running = true, .intent = "io.priority=idle",
	  .not_looked = true, .want = "io.priority started idle (profile p: all of its threads)\n" },
	{ .name = "priority none", .wrapper = true, .intent = "io.priority=none", .want = "" },
	{ .name = "what schedulers make of priorities", .disks = { { "vda", "0123", -1 } }, .held = "0=bfq",
	  .intent = "io.priority=be:0 !vda.scheduler=kyber",
	  .want = "disk.scheduler sda prepare kyber (annotation: behind vda; bfq is in force as long as another domain "
		  "wants it)\n"
		  "disk.scheduler sdb prepare kyber (annotation: behind vda; mq-deadline's own tunables do not come back)\n"
		  "disk.scheduler nvme0n1 prepare kyber (annotation: behind vda)\n"
		  "disk.scheduler vda prepare kyber (annotation: behind vda; mq-deadline's own tunables do not come back)\n"
		  "io.priority started be:0 (profile p: all of its threads)\n"
		  "warn io.priority be:0: ignored by the scheduler of sdb (kyber), nvme0n1 (kyber), vda (kyber), sdc (none), "
		  "md0 (none), nvme1c0n1 (none)\n" },
	{ .name = "a class that mq-deadline heeds", .intent = "io.priority=idle",
	  .want = "io.priority started idle (profile p: all of its threads)\n"
		  "warn io.priority idle: ignored by the scheduler of nvme0n1 (none), sdc (none), md0 (none), nvme1c0n1 "
		  "(none)\n" },
	{ .name = "a level that it does not", .intent = "io.priority=be:7",
	  .want = "io.priority started be:7 (profile p: all of its threads)\n"
		  "warn io.priority be:7: ignored by the scheduler of nvme0n1 (none), sdc (none), md0 (none), nvme1c0n1 "
		  "(none)\n"
		  "warn io.priority be:7: mq-deadline heeds the class only, not the level: sda, sdb, vda\n" },
};
/* clang-format on */

TEST(plans)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct plan p, q = {0};
		struct world w;
		struct plan_inputs in = make_world(&w, &cases[i]);
		_cleanup_sbuf_ struct sbuf b = {0};
		_cleanup_free_ char *text = NULL, *again = NULL;
		unsigned int bad = 0;
		struct record r;
		char *pos;

		IS_INT(plan_make(&in, &p), 0);
		text = text_of(&p);
		if (!streq(text ? text : "", cases[i].want))
			TAP_FAIL("%s:\n--- got\n%s--- want\n%s", cases[i].name, text ? text : "", cases[i].want);
		/* and through undo/UUID */
		plan_put_records(&p, &b);
		for (pos = b.s; record_next(&pos, &r, &bad);)
			IS_INT(plan_take_record(&q, &r), 1);
		again = text_of(&q);
		IS_STR(again, text);
		plan_fini(&p);
		plan_fini(&q);
		free_world(&w);
	}
}

/* A device that undo/UUID names in a way that cannot be: ignored. */
TEST(bad_records)
{
	static const char *const lines[][6] = {
		{"block", NULL},
		{"block", "sda", "x", "0", "1", NULL},
		{"block", "sda", "8", "99999999999", "1", NULL},
		{"block", "", "8", "0", "1", NULL},
	};
	struct plan p = {0};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct record r = {0};

		for (; lines[i][r.n]; r.n++)
			r.f[r.n] = (char *)(uintptr_t)lines[i][r.n];
		IS_INT(plan_take_record(&p, &r), 1);
	}
	IS_INT(p.n_block, 0);
	IS_INT(plan_add_block(&p, "sda", 8, 0, false), 0);
	IS_INT(plan_add_block(&p, "sda", 9, 9, true), 0);
	IS_INT(p.n_block, 1);
	OK(plan_find_block(&p, "sda")->major == 8 && !plan_find_block(&p, "sdb"));
	plan_fini(&p);
}

TAP_MAIN

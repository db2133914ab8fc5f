/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What becomes of disk.io, cache, discard, detect-zeroes and metadata-cache of one disk: intent and facts in, plan out.
 */
#include "tap.h"

#include "common/blockdev.h"
#include "common/plan.h"

#include "placehost.h"

#define UUID    "11111111-2222-4333-8444-555555555555"
#define TEXT(s) ((char *)(uintptr_t)(s))

struct ncase {
	const char *name;
	const char *annotation, *profile; /* "vda.io=auto *.cache=none" */
	/* the definition; zero: a qcow2 file on virtio */
	enum domain_disk_kind kind;
	const char *source, *format, *cache;
	unsigned int has;
	bool no_alias, no_disk, no_wrapper, running, was_tuned;
	/* facts; n_qcow2 0: not looked at */
	uint64_t size, cluster, chain_bytes;
	unsigned int n_qcow2;
	const char *want;
};

static void add_values(struct intent *in, const char *text, const char *source)
{
	char *copy = strdup(text ? text : ""), *save = NULL;

	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		char *equals = strchr(w, '='), *dot = memrchr(w, '.', (size_t)(equals - w));
		struct err e = ERR_INIT;
		struct tune_target *t;
		enum knob_id id;

		*dot = *equals = '\0';
		in->targets = reallocarray(in->targets, in->n_targets + 1, sizeof(*in->targets));
		t = &in->targets[in->n_targets++];
		*t = (struct tune_target){.element = KNOB_ELEMENT_DISK, .target = strdup(w)};
		id = knob_find("disk", dot + 1);
		if (id == KNOB_ID_MAX || knob_parse_value(id, equals + 1, &t->v[id], &e) < 0) {
			printf("# %s %s\n", dot + 1, e.text);
			exit(2);
		}
		t->v[id].source = strdup(source);
	}
	free(copy);
}

static char *plan_text(const struct plan *p, bool whys)
{
	struct sbuf b = {0};

	for (size_t i = 0; i < p->n_settings; i++) {
		const struct setting *s = &p->settings[i];

		IS_INT(s->stage, STAGE_EXEC);
		sbuf_addf(&b, "%s[%s] %s %s%s%s\n", s->knob, s->target, s->value, s->source, whys ? ": " : "",
			  whys ? s->why : "");
	}
	for (size_t i = 0; i < p->n_skipped; i++)
		sbuf_addf(&b, "skip %s[%s]: %s\n", p->skipped[i].knob, p->skipped[i].target, p->skipped[i].why);
	for (size_t i = 0; i < p->warnings.n; i++)
		sbuf_addf(&b, "warn %s\n", p->warnings.m[i].text);
	for (size_t i = 0; i < p->n_disks; i++)
		sbuf_addf(&b, "disk %s %s %s\n", p->disks[i].target, p->disks[i].alias, p->disks[i].path);
	return sbuf_steal(&b);
}

static struct domain_disk make_disk(const struct ncase *t)
{
	return (struct domain_disk){
		.target = TEXT("vda"),
		.bus = TEXT("virtio"),
		.alias = TEXT(t->no_alias ? "" : "virtio-disk0"),
		.kind = t->kind || t->source ? t->kind : DOMAIN_DISK_FILE,
		.source = TEXT(t->source ? t->source : "/i/a"),
		.more = TEXT(""),
		.format = TEXT(t->format ? t->format : "qcow2"),
		.cache = TEXT(t->cache ? t->cache : ""),
		.has = t->has,
	};
}

static void run_case(const struct ncase *t)
{
	const struct host_spec spec = {.cores = 2};
	struct domain_disk disk = make_disk(t);
	struct domain d = {.name = TEXT("web1"),
			   .uuid = UUID,
			   .id = 3,
			   .vcpus = 1,
			   .vcpus_max = 1,
			   .memory = GIB,
			   .disks = &disk,
			   .n_disks = t->no_disk ? 0 : 1};
	struct blockdev_disk facts_disk = {.size = t->size,
					   .cluster = t->cluster,
					   .chain_bytes = t->chain_bytes,
					   .n_qcow2 = t->n_qcow2,
					   .path = "/pool/b"};
	struct blockdev_facts *facts = must_alloc(1, sizeof(*facts));
	struct intent in = {.profile = strdup("p")};
	struct policy policy = {.mode = POLICY_ENFORCE};
	struct ledger ledger = {0};
	struct host host;
	struct plan p, was = {0};
	struct plan_inputs inputs = {.domain = &d,
				     .intent = &in,
				     .policy = &policy,
				     .host = &host,
				     .ledger = &ledger,
				     .wrapper = {.present = !t->no_wrapper, .emulator = TEXT("")},
				     .running = t->running};
	char *text;

	facts->disks = &facts_disk;
	facts->n_disks = 1;
	inputs.blocks = t->n_qcow2 ? facts : NULL;
	host_make(&host, &spec);
	add_values(&in, t->annotation, "annotation");
	add_values(&in, t->profile, "profile p");
	if (t->was_tuned) {
		IS_INT(plan_add_setting(&was, "disk.io", "vda", STAGE_EXEC, "auto", "annotation", "as it was"), 0);
		IS_INT(plan_add_setting(&was, "disk.metadata-cache", "vda", STAGE_EXEC, "99", "annotation",
					"as it was"),
		       0);
		IS_INT(plan_add_disk(&was, "vda", "virtio-disk0", "/i/a"), 0);
		inputs.was = &was;
	}
	IS_INT(plan_make(&inputs, &p), 0);
	text = plan_text(&p, strstr(t->want, " annotation: ") != NULL);
	if (strcmp(text, t->want) != 0)
		printf("# case: %s\n", t->name);
	IS_STR(text, t->want);
	free(text);
	plan_fini(&p);
	plan_fini(&was);
	for (size_t i = 0; i < in.n_targets; i++) {
		for (unsigned int k = 0; k < KNOB_ID_MAX; k++)
			value_fini(&in.targets[i].v[k]);
		free(in.targets[i].target);
	}
	free(in.targets);
	free(in.profile);
	free(facts);
	host_free(&host);
}

static void run_cases(const struct ncase *t, size_t n)
{
	for (size_t i = 0; i < n; i++)
		run_case(&t[i]);
}

#define SKIPPED(knob, why) "skip disk." knob "[vda]: " why "\n"
#define DISK               "disk vda virtio-disk0 /i/a\n"
#define ALL                "disk *  \n"

/* clang-format off */
TEST(which_value)
{
	static const struct ncase cases[] = {
		{ "nothing asked", .want = "" },
		{ "a name before *", .annotation = "*.io=threads vda.io=io_uring",
		  .want = "disk.io[vda] io_uring annotation\n" DISK ALL },
		{ "attribute by attribute", .annotation = "*.io=threads *.cache=none vda.io=io_uring",
		  .want = "disk.io[vda] io_uring annotation\ndisk.cache[vda] none annotation\n" DISK ALL },
		{ "annotation before profile", .annotation = "*.io=threads", .profile = "vda.io=io_uring vda.cache=none",
		  .want = "disk.io[vda] threads annotation\ndisk.cache[vda] none profile p\n" DISK ALL },
		{ "the first of two counts", .annotation = "vda.io=threads vda.io=io_uring",
		  .want = "disk.io[vda] threads annotation\n" DISK },
		{ "default says nothing of later ones", .annotation = "*.cache=default vda.io=threads",
		  .want = "disk.io[vda] threads annotation\n" DISK },
		{ "no such disk", .annotation = "vdz.io=auto vdz.io=threads ../../x.cache=none", .profile = "vdz.io=auto",
		  .want = "skip disk.io[vdz]: the domain has no disk 'vdz'\n"
			  "skip disk.cache[../../x]: the domain has no disk '../../x'\n" },
		{ "no disks at all", .no_disk = true, .profile = "*.io=auto",
		  .want = "skip disk.io[*]: the domain has no disk\n" },
	};

	run_cases(cases, ARRAY_SIZE(cases));
}

TEST(io)
{
	static const struct ncase cases[] = {
		{ "auto", .annotation = "vda.io=auto",
		  .want = "disk.io[vda] auto annotation: io_uring where kernel and QEMU have it, else threads: native needs the "
			  "host's page cache bypassed\n" DISK },
		{ "auto, direct", .annotation = "vda.io=auto vda.cache=none",
		  .want = "disk.io[vda] auto annotation: io_uring where kernel and QEMU have it, else native, else threads\n"
			  "disk.cache[vda] none annotation: the host's page cache is bypassed (O_DIRECT); the guest's write "
			  "cache stays\n" DISK },
		{ "native", .annotation = "vda.io=native",
		  .want = SKIPPED("io", "native needs the host's page cache bypassed: cache none, here or in the definition") },
		{ "native, writeback", .annotation = "vda.io=native vda.cache=writeback",
		  .want = "disk.cache[vda] writeback annotation: the host's page cache is used, and flushed when the guest says "
			  "so\n" SKIPPED("io", "native needs the host's page cache bypassed: cache none, here or in the definition")
			  DISK },
		{ "native, direct by the definition", .annotation = "vda.io=native", .has = DISK_HAS_CACHE, .cache = "directsync",
		  .want = "disk.io[vda] native annotation\n" DISK },
		{ "native, not direct by the definition", .annotation = "vda.io=native vda.cache=none", .has = DISK_HAS_CACHE,
		  .cache = "writeback",
		  .want = SKIPPED("io", "native needs the host's page cache bypassed: cache none, here or in the definition")
			  SKIPPED("cache", "the definition has cache=") },
		{ "native, a shared disk", .annotation = "vda.io=native vda.cache=unsafe", .has = DISK_IS_SHARED,
		  .want = "disk.io[vda] native annotation: the kernel's own asynchronous I/O\n"
			  SKIPPED("cache", "a shared disk: libvirt bypasses the host's page cache by itself") DISK },
		{ "shared, but only read", .annotation = "vda.cache=none", .has = DISK_IS_SHARED | DISK_IS_READ_ONLY,
		  .want = "disk.cache[vda] none annotation\n" DISK },
	};

	run_cases(cases, ARRAY_SIZE(cases));
}

TEST(cache)
{
	static const struct ncase cases[] = {
		{ "default is nothing", .annotation = "vda.cache=default", .profile = "vda.cache=none", .want = "" },
		{ "writethrough", .annotation = "vda.cache=writethrough",
		  .want = SKIPPED("cache", "it would take the write cache away that the guest sees: cache='writethrough' in the "
			       "definition") },
		{ "directsync", .annotation = "vda.cache=directsync",
		  .want = SKIPPED("cache", "it would take the write cache away that the guest sees: cache='directsync' in the "
			       "definition") },
		{ "unsafe", .annotation = "vda.cache=unsafe",
		  .want = "disk.cache[vda] unsafe annotation\n"
			  "warn disk.cache unsafe of vda: what the guest believes to be stored is lost if the host fails\n"
			  DISK },
	};

	run_cases(cases, ARRAY_SIZE(cases));
}

TEST(discard_and_zeroes)
{
	static const struct ncase cases[] = {
		{ "both", .annotation = "vda.discard=unmap vda.detect-zeroes=unmap",
		  .want = "disk.discard[vda] unmap annotation\ndisk.detect-zeroes[vda] unmap annotation\n" DISK },
		{ "zeroes alone", .annotation = "vda.detect-zeroes=unmap",
		  .want = SKIPPED("detect-zeroes", "unmap needs discard unmap, here or in the definition") },
		{ "on", .annotation = "vda.detect-zeroes=on", .want = "disk.detect-zeroes[vda] on annotation\n" DISK },
		{ "discards by the definition", .annotation = "vda.discard=ignore vda.detect-zeroes=unmap",
		  .has = DISK_HAS_DISCARD | DISK_DISCARDS,
		  .want = "disk.detect-zeroes[vda] unmap annotation: zeroes that are written are given back to the host\n"
			  SKIPPED("discard", "the definition has discard=") DISK },
		{ "no discards by the definition", .annotation = "vda.discard=unmap vda.detect-zeroes=unmap",
		  .has = DISK_HAS_DISCARD,
		  .want = SKIPPED("discard", "the definition has discard=")
			  SKIPPED("detect-zeroes", "unmap needs discard unmap, here or in the definition") },
		{ "read-only", .annotation = "vda.discard=unmap vda.detect-zeroes=on vda.io=threads", .has = DISK_IS_READ_ONLY,
		  .want = "disk.io[vda] threads annotation: by QEMU's thread pool\n"
			  SKIPPED("discard", "the disk is read-only") SKIPPED("detect-zeroes", "the disk is read-only") DISK },
	};

	run_cases(cases, ARRAY_SIZE(cases));
}

#define METADATA .annotation = "vda.metadata-cache=auto"
#define CLUSTER 65536

TEST(metadata)
{
	static const struct ncase cases[] = {
		{ "a size", .annotation = "vda.metadata-cache=64MiB",
		  .want = "disk.metadata-cache[vda] 67108864 annotation: for the L2 tables of each image\n" DISK },
		{ "a size that QEMU would refuse to start with", .annotation = "vda.metadata-cache=9223372036854775808",
		  .want = SKIPPED("metadata-cache", "QEMU takes no such number") },
		{ "no facts", METADATA, .want = SKIPPED("metadata-cache", "its image could not be looked at") },
		{ "raw", METADATA, .format = "raw", .want = SKIPPED("metadata-cache", "its image is not qcow2 but raw") },
		{ "no word of it", METADATA, .format = "", .want = SKIPPED("metadata-cache", "its image is not qcow2") },
		{ "the format by the facts", METADATA, .format = "", .n_qcow2 = 1, .size = 512 * GIB, .cluster = CLUSTER,
		  .chain_bytes = 64 * MIB,
		  .want = "disk.metadata-cache[vda] 67108864 annotation: covers the L2 tables of 512 GiB, 64 MiB in 1 image\n"
			  DISK },
		{ "covered", METADATA, .n_qcow2 = 1, .size = 256 * GIB, .cluster = CLUSTER, .chain_bytes = 32 * MIB,
		  .want = SKIPPED("metadata-cache", "the 32 MiB that QEMU uses by itself cover its image") },
		{ "covered, each", METADATA, .n_qcow2 = 2, .size = 256 * GIB, .cluster = CLUSTER, .chain_bytes = 64 * MIB,
		  .want = SKIPPED("metadata-cache", "the 32 MiB that QEMU uses by itself cover its image") },
		{ "a larger one behind it", METADATA, .n_qcow2 = 2, .size = 100 * GIB, .cluster = CLUSTER,
		  .chain_bytes = 112 * MIB,
		  .want = "disk.metadata-cache[vda] 117440512 annotation: covers the L2 tables of 100 GiB, 112 MiB in 2 images\n"
			  DISK },
		{ "capped", METADATA, .n_qcow2 = 4, .size = 2048 * GIB, .cluster = CLUSTER, .chain_bytes = 1024 * MIB,
		  .want = "disk.metadata-cache[vda] 67108864 annotation: covers a part of the L2 tables of 2048 GiB, 1024 MiB "
			  "in 4 images: auto takes 256 MiB at most\n" DISK },
		{ "nonsense of an image", METADATA, .n_qcow2 = 1, .size = UINT64_MAX, .cluster = 512, .chain_bytes = UINT64_MAX,
		  .want = "disk.metadata-cache[vda] 268435456 annotation: covers a part of the L2 tables of 17592186044415 MiB, "
			  "17592186044416 MiB in 1 image: auto takes 256 MiB at most\n" DISK },
		{ "the definition's", METADATA, .has = DISK_HAS_METADATA,
		  .want = SKIPPED("metadata-cache", "the definition has <metadata_cache>") },
	};

	run_cases(cases, ARRAY_SIZE(cases));
}

#define IO .annotation = "*.io=io_uring"
#define IO_OF_VDA .annotation = "vda.io=io_uring"

TEST(left_alone)
{
	static const struct ncase cases[] = {
		{ "a network disk", IO, .kind = DOMAIN_DISK_NETWORK, .source = "rbd", .want = SKIPPED("io", "a network disk (rbd)") },
		{ "NVMe", IO, .kind = DOMAIN_DISK_NVME, .source = "0000:01:00.0",
		  .want = SKIPPED("io", "an NVMe controller that QEMU drives itself") },
		{ "vhost-user", IO, .kind = DOMAIN_DISK_VHOSTUSER, .want = SKIPPED("io", "another process serves it (vhost-user)") },
		{ "a directory", IO, .kind = DOMAIN_DISK_DIR, .source = "/d", .want = SKIPPED("io", "a directory, not an image") },
		{ "an empty drive", IO_OF_VDA, .kind = DOMAIN_DISK_NONE, .source = "", .has = DISK_IS_REMOVABLE,
		  .want = SKIPPED("io", "an empty drive") },
		{ "removable, among all", IO, .has = DISK_IS_REMOVABLE, .want = "" },
		{ "a CD", IO_OF_VDA, .has = DISK_IS_REMOVABLE, .want = SKIPPED("io", "a drive whose medium may be changed") },
		{ "a form that is not known", IO, .kind = DOMAIN_DISK_NONE, .source = "", .want = SKIPPED("io", "it has no image") },
		{ "a LUN", IO, .kind = DOMAIN_DISK_BLOCK, .source = "/dev/sda", .has = DISK_IS_LUN,
		  .want = SKIPPED("io", "LUN passthrough: the guest's SCSI commands go to the device") },
		{ "no alias", IO, .no_alias = true, .want = SKIPPED("io", "libvirt's name for its device is not known") },
		{ "no wrapper", IO, .no_wrapper = true, .want = SKIPPED("io", "the emulator is not the wrapper: domtune wrap web1") },
		{ "running", IO, .running = true, .want = SKIPPED("io", "the guest runs already: at its next start") },
		{ "a volume", IO, .kind = DOMAIN_DISK_VOLUME, .source = "pool", .n_qcow2 = 1,
		  .want = "disk.io[vda] io_uring annotation\ndisk vda virtio-disk0 /pool/b\n" ALL },
		{ "a volume that nobody found", IO, .kind = DOMAIN_DISK_VOLUME, .source = "pool",
		  .want = "disk.io[vda] io_uring annotation\ndisk vda virtio-disk0 \n" ALL },
	};

	run_cases(cases, ARRAY_SIZE(cases));
}

/* Decided again while it runs: what its process has stays, and is not asked for once more. */
TEST(retuned)
{
	static const struct ncase cases[] = {
		{ "as it was", .annotation = "vda.io=auto vda.metadata-cache=auto", .running = true, .was_tuned = true,
		  .want = "disk.io[vda] auto annotation\ndisk.metadata-cache[vda] 99 annotation\n" DISK },
		{ "otherwise", .annotation = "vda.io=threads vda.cache=none", .running = true, .was_tuned = true,
		  .want = "disk.io[vda] auto annotation: as it was\ndisk.metadata-cache[vda] 99 annotation: as it was\n"
			  SKIPPED("io", "the guest runs already: at its next start")
			  SKIPPED("cache", "the guest runs already: at its next start") DISK },
		{ "off", .running = true, .was_tuned = true, .want = "" },
	};

	run_cases(cases, ARRAY_SIZE(cases));
}
/* clang-format on */

TEST(records)
{
	struct plan p = {.name = strdup("web1"), .profile = strdup(""), .uuid = UUID}, again = {0};
	struct sbuf b = {0};
	struct record r;
	char *pos;

	p.wrapper.emulator = strdup("");
	IS_INT(plan_add_disk(&p, "vda", "virtio-disk0", "/i/tab\there"), 0);
	IS_INT(plan_add_disk(&p, "sdb", "ua-x", ""), 0);
	plan_put_records(&p, &b);
	pos = b.s;
	while (record_next(&pos, &r, NULL) > 0)
		IS_INT(plan_take_record(&again, &r), 1);
	IS_INT(again.n_disks, 2);
	OK(plan_find_disk(&again, "vda") && plan_find_disk(&again, "sdb") && !plan_find_disk(&again, "vd"));
	if (again.n_disks == 2) {
		IS_STR(again.disks[0].path, "/i/tab\there");
		IS_STR(again.disks[1].alias, "ua-x");
		IS_STR(again.disks[1].path, "");
	}
	plan_fini(&p);
	plan_fini(&again);
	sbuf_fini(&b);
}

TAP_MAIN

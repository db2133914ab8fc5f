/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The wrapper's rewriting of disks: command lines (tests/data/argv/; see t_wrapper.c), disk records of a plan, what the
 * tryouts would answer; changed words and reasons out. Run from the top directory, or with DOMTUNE_SOURCE set to it.
 */
#include <sys/mount.h>

#include "tests/unit/tap.h"

#include "common/exec_disk.h"
#include "root.h"

/* The wrapper is one program, not part of the archive that tests are linked with. */
#include "wrapper/argv.c"
#include "wrapper/blk.c"
#include "wrapper/blk_find.c"
#include "wrapper/kept.c"
#include "wrapper/linked.c"
#include "wrapper/obj.c"
#include "wrapper/tryout.c"

#define WORDS_MAX  512
#define WORD(text) ((char *)(uintptr_t)(text))

struct words {
	char *text;
	char *v[WORDS_MAX + 1];
	int n;
};

static void words_load(const char *name, struct words *w)
{
	const char *top = getenv("DOMTUNE_SOURCE");
	char path[4096], *rest, *line;
	_cleanup_fclose_ FILE *f = NULL;
	size_t size = 0;

	(void)snprintf(path, sizeof(path), "%s/tests/data/argv/%s.args", top ? top : ".", name);
	f = fopen(path, "re");
	if (!f || getdelim(&w->text, &size, '\0', f) < 0) {
		printf("# %s: %s\n", path, strerror(errno));
		exit(2);
	}
	rest = w->text;
	while ((line = strsep(&rest, "\n")) && w->n < WORDS_MAX)
		if (*line && *line != '#')
			w->v[w->n++] = line;
}

/* What the tryouts answer. */
static struct {
	const char *io_uring, *native, *direct, *linked; /* NULL: possible; direct: paths with this in them are not */
	const char *odd_end; /* paths with this in them are not, if they cannot grow */
	bool old_workers;
	unsigned int tried; /* images opened */
	unsigned int contexts;
} fake;

static int fake_io_uring(bool own_workers, struct err *e)
{
	if (own_workers && fake.old_workers)
		return err_set(e, EOPNOTSUPP, "old workers");
	return fake.io_uring ? err_set(e, EPERM, "%s", fake.io_uring) : 0;
}

static int fake_native(const struct hostfs *fs, struct err *e)
{
	(void)fs;
	fake.contexts++;
	return fake.native ? err_set(e, EAGAIN, "%s", fake.native) : 0;
}

static int fake_direct(const struct hostfs *fs, const char *path, bool fixed, struct err *e)
{
	(void)fs;
	fake.tried++;
	if (fixed && fake.odd_end && strstr(path, fake.odd_end))
		return err_set(e, EINVAL, "O_DIRECT, %s: odd end", path);
	return fake.direct && strstr(path, fake.direct) ? err_set(e, EINVAL, "O_DIRECT, %s: no", path) : 0;
}

static int fake_linked(const struct hostfs *fs, const char *program, const char *library, struct err *e)
{
	(void)fs;
	IS_STR(program, "/usr/bin/qemu-system-x86_64");
	return fake.linked && strstr(fake.linked, library) ? err_set(e, ENOENT, "built without %s", library) : 0;
}

static const struct tryout fakes = {
	.io_uring = fake_io_uring,
	.native = fake_native,
	.direct = fake_direct,
	.linked = fake_linked,
};

struct blk_case {
	const char *args;
	/* the plan's record, and the host */
	const char *alias, *path, *io, *cache, *discard, *zeroes;
	uint64_t metadata; /* + 1 */
	const char *no_uring, *no_native, *no_direct, *odd_end, *not_linked;
	bool old_workers, no_emulator;
	/* what comes out: for each changed word its node's name and what it has more than before; reasons */
	const char *want, *kept;
};

static void put_word(char *to, const char *text)
{
	(void)snprintf(to, 16, "%s", text ? text : "");
}

static void make_disk(const struct blk_case *c, struct wplan_disk *k)
{
	*k = (struct wplan_disk){
		.target = WORD("vda"),
		.alias = WORD(c->alias ? c->alias : "virtio-disk0"),
		.path = WORD(c->path ? c->path : ""),
		.metadata = c->metadata > 0,
		.metadata_bytes = c->metadata ? c->metadata - 1 : 0,
	};
	put_word(k->io, c->io);
	put_word(k->cache, c->cache);
	put_word(k->discard, c->discard);
	put_word(k->zeroes, c->zeroes);
}

/* "libvirt-8-format +MORE" for each word that is the old one with members added at its end; else the whole word. */
static char *describe(const struct words *w, const struct argv_edit *e)
{
	_cleanup_sbuf_ struct sbuf b = {0};

	IS_INT(e->n, w->n);
	for (int i = 0; i < e->n; i++) {
		size_t same = 0;
		const char *name;

		if (e->v[i] == w->v[i])
			continue;
		while (w->v[i][same] && w->v[i][same] == e->v[i][same])
			same++;
		name = strstr(w->v[i], "\"node-name\":\"");
		if (!streq(w->v[i] + same, "}") || !name) {
			sbuf_addf(&b, "%s%s", b.len ? " " : "", e->v[i]);
			continue;
		}
		name += strlen("\"node-name\":\"");
		sbuf_addf(&b, "%s%.*s %.*s", b.len ? "; " : "", (int)strcspn(name, "\""), name,
			  (int)strlen(e->v[i] + same) - 1, e->v[i] + same);
	}
	return sbuf_steal(&b);
}

static void run_case(const struct blk_case *c)
{
	struct words w = {0};
	_cleanup_free_ char *got = NULL;
	struct wplan_disk disk;
	struct wplan plan = {.merge = -1, .disks = &disk, .n_disks = 1};
	struct argv_edit edit = {0};
	struct kept kept = {.text = ""};

	memset(&fake, 0, sizeof(fake));
	fake.io_uring = c->no_uring;
	fake.native = c->no_native;
	fake.direct = c->no_direct;
	fake.odd_end = c->odd_end;
	fake.linked = c->not_linked;
	fake.old_workers = c->old_workers;
	words_load(c->args ? c->args : "json-disks", &w);
	make_disk(c, &disk);
	IS_INT(argv_edit_init(&edit, w.n, w.v), 0);
	IS_INT(blk_rewrite(NULL, &plan, c->no_emulator ? NULL : "/usr/bin/qemu-system-x86_64", &fakes, &edit, &kept),
	       0);
	got = describe(&w, &edit);
	IS_STR(got ? got : "", c->want ? c->want : "");
	IS_STR(kept.len ? kept.text + strlen(KEPT_NAME "=") : "", c->kept ? c->kept : "");
	if (strcmp(got ? got : "", c->want ? c->want : "") != 0 ||
	    strcmp(kept.len ? kept.text + strlen(KEPT_NAME "=") : "", c->kept ? c->kept : "") != 0)
		printf("# case %s %s io %s cache %s\n", c->args ? c->args : "json-disks", disk.alias, disk.io,
		       disk.cache);
	argv_edit_fini(&edit);
	free(w.text);
}

static void run_cases(const struct blk_case *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		run_case(&c[i]);
}

#define DIRECT   ",\"cache\":{\"direct\":true,\"no-flush\":false}"
#define AIO(how) ",\"aio\":\"" how "\""
#define CHAIN    .path = "/srv/images/chain.qcow2"
#define NATIVE   .alias = "virtio-disk1", .path = "/srv/images/native.raw"
#define OWN      .alias = "virtio-disk2", .path = "/srv/images/own.qcow2"
#define DEVICE   .alias = "scsi0-0-0-0", .path = "/srv/images/device"
#define SATA     .alias = "sata0-0-3", .path = "/srv/images/sata.raw"
#define NO_URING .no_uring = "io_uring: no"

/* clang-format off */
TEST(cache_of_a_whole_chain)
{
	static const struct blk_case cases[] = {
		{ CHAIN, .cache = "none",
		  .want = "libvirt-10-storage " DIRECT "; libvirt-10-format " DIRECT "; libvirt-9-storage " DIRECT
			  "; libvirt-9-format " DIRECT "; libvirt-8-storage " DIRECT "; libvirt-8-format " DIRECT },
		{ CHAIN, .cache = "writeback" },
		{ DEVICE, .cache = "unsafe",
		  .want = "libvirt-4-storage ,\"cache\":{\"direct\":false,\"no-flush\":true}; "
			  "libvirt-4-format ,\"cache\":{\"direct\":false,\"no-flush\":true}" },
		/* One image that cannot be opened so: all stay. */
		{ CHAIN, .cache = "none", .no_direct = "base.raw", .kept = "disk.cache vda: O_DIRECT, /srv/images/base.raw: no" },
		{ CHAIN, .cache = "none", .no_direct = "chain", .kept = "disk.cache vda: O_DIRECT, /srv/images/chain.qcow2: no" },
		/* The end counts of what is written to and does not grow: not of qcow2, nor of what is behind it. */
		{ DEVICE, .cache = "none", .odd_end = "device", .kept = "disk.cache vda: O_DIRECT, /srv/images/device: odd end" },
		{ DEVICE, .cache = "unsafe", .odd_end = "device",
		  .want = "libvirt-4-storage ,\"cache\":{\"direct\":false,\"no-flush\":true}; "
			  "libvirt-4-format ,\"cache\":{\"direct\":false,\"no-flush\":true}" },
		{ CHAIN, .cache = "none", .odd_end = "/srv",
		  .want = "libvirt-10-storage " DIRECT "; libvirt-10-format " DIRECT "; libvirt-9-storage " DIRECT
			  "; libvirt-9-format " DIRECT "; libvirt-8-storage " DIRECT "; libvirt-8-format " DIRECT },
		{ .args = "json-storage", .alias = "virtio-disk0", .cache = "none", .odd_end = "a.raw",
		  .kept = "disk.cache vda: O_DIRECT, /srv/images/a.raw: odd end" },
		{ .alias = "scsi0-0-0-2", .cache = "none", .odd_end = "medium",
		  .want = "libvirt-2-storage " DIRECT "; libvirt-2-format " DIRECT },
		/* What it has already is not done again; what libvirt wrote stays. */
		{ NATIVE, .cache = "none" },
		{ NATIVE, .cache = "writeback", .kept = "disk.cache vda: libvirt has given it a cache mode" },
		{ .args = "json-storage", .alias = "ua-data", .cache = "none",
		  .kept = "disk.cache vda: its device has a write-cache of its own" },
	};

	run_cases(cases, ARRAY_SIZE(cases));
	run_case(&cases[0]);
	IS_INT(fake.tried, 3);
}

TEST(asynchronous_io)
{
	static const struct blk_case cases[] = {
		{ DEVICE, .io = "io_uring", .want = "libvirt-4-storage " AIO("io_uring") },
		{ DEVICE, .io = "auto", .want = "libvirt-4-storage " AIO("io_uring") },
		{ CHAIN, .io = "io_uring",
		  .want = "libvirt-10-storage " AIO("io_uring") "; libvirt-9-storage " AIO("io_uring")
			  "; libvirt-8-storage " AIO("io_uring") },
		/* What `auto` steps down to. */
		{ DEVICE, .io = "auto", NO_URING, .want = "libvirt-4-storage " AIO("threads"),
		  .kept = "disk.io vda: io_uring: no, native needs the host's page cache bypassed" },
		{ DEVICE, .io = "auto", .old_workers = true, .want = "libvirt-4-storage " AIO("threads"),
		  .kept = "disk.io vda: old workers, native needs the host's page cache bypassed" },
		{ DEVICE, .io = "io_uring", .old_workers = true, .want = "libvirt-4-storage " AIO("io_uring") },
		{ DEVICE, .io = "auto", .cache = "none", NO_URING,
		  .want = "libvirt-4-storage " DIRECT AIO("native") "; libvirt-4-format " DIRECT,
		  .kept = "disk.io vda: io_uring: no" },
		{ DEVICE, .io = "auto", .cache = "none", .not_linked = "liburing.so libaio.so",
		  .want = "libvirt-4-storage " DIRECT AIO("threads") "; libvirt-4-format " DIRECT,
		  .kept = "disk.io vda: built without liburing.so, built without libaio.so" },
		/* Asked by name it is that or nothing. */
		{ DEVICE, .io = "io_uring", NO_URING, .kept = "disk.io vda: io_uring: no" },
		{ DEVICE, .io = "io_uring", .not_linked = "liburing.so", .kept = "disk.io vda: built without liburing.so" },
		{ DEVICE, .io = "io_uring", .no_emulator = true, .kept = "disk.io vda: the emulator is not known" },
		{ DEVICE, .io = "native", .kept = "disk.io vda: native needs the host's page cache bypassed" },
		{ DEVICE, .io = "native", .cache = "none", .no_direct = "device",
		  .kept = "disk.cache vda: O_DIRECT, /srv/images/device: no; "
			  "disk.io vda: native needs the host's page cache bypassed" },
		{ DEVICE, .io = "native", .cache = "none", .not_linked = "libaio.so",
		  .want = "libvirt-4-storage " DIRECT "; libvirt-4-format " DIRECT,
		  .kept = "disk.io vda: built without libaio.so" },
		/* The host's events are used up: QEMU would end. */
		{ DEVICE, .io = "native", .cache = "none", .no_native = "no room",
		  .want = "libvirt-4-storage " DIRECT "; libvirt-4-format " DIRECT, .kept = "disk.io vda: no room" },
		{ DEVICE, .io = "auto", .cache = "none", NO_URING, .no_native = "no room",
		  .want = "libvirt-4-storage " DIRECT AIO("threads") "; libvirt-4-format " DIRECT,
		  .kept = "disk.io vda: io_uring: no, no room" },
		{ DEVICE, .io = "threads" },
		/* libvirt's cache mode will do; libvirt's own words stay. */
		{ .alias = "scsi0-0-0-1", .path = "/srv/images/shared.raw", .io = "native",
		  .want = "libvirt-3-storage " AIO("native") },
		{ NATIVE, .io = "native" },
		{ NATIVE, .io = "auto", .kept = "disk.io vda: libvirt has given it aio=native" },
	};

	run_cases(cases, ARRAY_SIZE(cases));
}

/* One context is tried, however many disks are to have it, and none where native is not asked for. */
TEST(native_is_tried_once)
{
	struct wplan_disk disks[2];
	struct wplan plan = {.merge = -1, .disks = disks, .n_disks = 2};
	struct words w = {0};
	struct argv_edit edit = {0};
	struct kept kept = {.text = ""};

	memset(&fake, 0, sizeof(fake));
	make_disk(&(struct blk_case){ DEVICE, .io = "native", .cache = "none" }, &disks[0]);
	make_disk(&(struct blk_case){ CHAIN, .io = "native", .cache = "none" }, &disks[1]);
	words_load("json-disks", &w);
	IS_INT(argv_edit_init(&edit, w.n, w.v), 0);
	IS_INT(blk_rewrite(NULL, &plan, "/usr/bin/qemu-system-x86_64", &fakes, &edit, &kept), 0);
	IS_INT(kept.len, 0);
	IS_INT(fake.contexts, 1);
	argv_edit_fini(&edit);
	free(w.text);
	run_case(&(struct blk_case){ DEVICE, .io = "auto", .cache = "none",
		 .want = "libvirt-4-storage " DIRECT AIO("io_uring") "; libvirt-4-format " DIRECT });
	IS_INT(fake.contexts, 0);
}

TEST(discards_zeroes_metadata)
{
	static const struct blk_case cases[] = {
		{ DEVICE, .discard = "unmap", .want = "libvirt-4-format ,\"discard\":\"unmap\"" },
		{ DEVICE, .discard = "ignore" },
		{ CHAIN, .discard = "unmap", .zeroes = "unmap",
		  .want = "libvirt-8-format ,\"discard\":\"unmap\",\"detect-zeroes\":\"unmap\"" },
		{ CHAIN, .zeroes = "on", .want = "libvirt-8-format ,\"detect-zeroes\":\"on\"" },
		{ CHAIN, .zeroes = "off" },
		{ CHAIN, .zeroes = "unmap", .kept = "disk.detect-zeroes vda: unmap needs discard=unmap, it has ignore" },
		{ SATA, .discard = "unmap", .zeroes = "unmap",
		  .kept = "disk.discard vda: libvirt has given it discard=ignore; "
			  "disk.detect-zeroes vda: unmap needs discard=unmap, it has ignore" },
		{ SATA, .discard = "ignore" },
		{ OWN, .discard = "unmap", .zeroes = "unmap" },
		{ OWN, .zeroes = "on", .kept = "disk.detect-zeroes vda: libvirt has given it detect-zeroes=unmap" },
		{ CHAIN, .metadata = 67108865,
		  .want = "libvirt-9-format ,\"l2-cache-size\":67108864; libvirt-8-format ,\"l2-cache-size\":67108864" },
		{ DEVICE, .metadata = 1, .kept = "disk.metadata-cache vda: none of its images is qcow2" },
		{ OWN, .metadata = 1, .kept = "disk.metadata-cache vda: libvirt has given it a cache-size" },
		/* Raw images of newer libvirt have the file node alone, below a filter of limits. */
		{ .args = "json-storage", .path = "/srv/images/a.raw", .discard = "unmap", .zeroes = "unmap", .io = "auto",
		  .cache = "none", .want = "libvirt-4-storage " DIRECT ",\"discard\":\"unmap\",\"detect-zeroes\":\"unmap\""
		  AIO("io_uring") },
		{ .args = "json-storage", .alias = "ua-data", .path = "/srv/images/b.qcow2", .io = "io_uring", .discard = "unmap",
		  .metadata = 5, .want = "libvirt-5-storage " AIO("io_uring") "; libvirt-3-storage " AIO("io_uring")
		  "; libvirt-3-format ,\"discard\":\"unmap\",\"l2-cache-size\":4" },
	};

	run_cases(cases, ARRAY_SIZE(cases));
}

TEST(what_is_not_understood_stays)
{
	static const struct blk_case cases[] = {
		{ .io = "threads", .path = "/srv/images/other.qcow2",
		  .kept = "disk vda: the plan has another image than QEMU, /srv/images/chain.qcow2" },
		{ .io = "auto", .alias = "virtio-disk", .kept = "disk vda: its device (virtio-disk) is not on the command line" },
		{ .io = "auto", .alias = "virtio-disk3", .kept = "disk vda: its data is not in a file or device of this host" },
		{ .args = "json-storage", .io = "auto", .alias = "virtio-disk2",
		  .kept = "disk vda: libvirt has opened its image itself (/dev/fdset/0)" },
		{ .args = "json-storage", .io = "auto", .alias = "virtio-disk3",
		  .kept = "disk vda: what is behind block node libvirt-1-format is not on the command line" },
		{ .args = "json-storage", .io = "auto", .alias = "virtio-disk4",
		  .kept = "disk vda: the file of block node libvirt-6-format is not a name" },
		{ .args = "json-storage", .io = "auto", .alias = "virtio-disk5",
		  .kept = "disk vda: block node libvirt-7-format is not understood" },
		{ .args = "json-storage", .io = "auto", .alias = "scsi0-0-0-0", .kept = "disk vda: SCSI passthrough (scsi-block)" },
		{ .args = "json-storage", .io = "auto", .alias = "virtio-disk6",
		  .kept = "disk vda: block node libvirt-9-format is not on the command line" },
		{ .args = "json-storage", .io = "auto", .alias = "virtio-disk7",
		  .kept = "disk vda: its device (vhost-user-blk-pci) has no block node" },
		{ .args = "words-disks", .io = "auto", .cache = "none",
		  .kept = "disk vda: its block nodes are a -drive (drive-virtio-disk0), as libvirt before 6.0 has it" },
	};

	run_cases(cases, ARRAY_SIZE(cases));
}
/* clang-format on */

static void rewrite_words(char **v, int n, const char *want, const char *left)
{
	struct wplan_disk disks[] = {
		{.target = WORD("v;:"), .alias = WORD("d0"), .path = WORD(""), .io = "threads", .cache = "none"},
		{.target = WORD("vdb"), .alias = WORD("d1"), .path = WORD(""), .discard = "unmap"},
	};
	struct wplan plan = {.merge = -1, .disks = disks, .n_disks = ARRAY_SIZE(disks)};
	struct argv_edit edit = {0};
	struct kept kept = {.text = ""};

	memset(&fake, 0, sizeof(fake));
	IS_INT(argv_edit_init(&edit, n, v), 0);
	IS_INT(blk_rewrite(NULL, &plan, "/usr/bin/qemu-system-x86_64", &fakes, &edit, &kept), 0);
	for (int i = 0; i < n; i++)
		if (edit.v[i] != v[i])
			IS_STR(edit.v[i], want);
	IS_STR(kept.len ? kept.text + strlen(KEPT_NAME "=") : "", left);
	argv_edit_fini(&edit);
}

#define DEV(n, node) WORD("-device"), WORD("{\"driver\":\"virtio-blk-pci\",\"drive\":\"" node "\",\"id\":\"" n "\"}")
#define NODE_FILE(node, file)                                                                                          \
	WORD("-blockdev"), WORD("{\"driver\":\"file\",\"filename\":\"" file "\",\"node-name\":\"" node "\"}")
#define RAW(node, file) WORD("-blockdev"), WORD("{\"node-name\":\"" node "\",\"driver\":\"raw\",\"file\":\"" file "\"}")

/* Nodes that two disks, or one twice, refer to; chains without end; names that mean nothing. */
TEST(hostile_nodes)
{
	char *shared[] = {WORD("q"), NODE_FILE("s", "/a"), DEV("d0", "s"), DEV("d1", "s")};
	char *loop[] = {WORD("q"), RAW("a", "b"), RAW("b", "a"), DEV("d0", "a"), DEV("d1", "")};
	char *twice[] = {WORD("q"), NODE_FILE("s", "/a"), NODE_FILE("s", "/b"), DEV("d0", "s"), DEV("d1", "x")};
	char *devices[] = {WORD("q"), NODE_FILE("s", "/a"), DEV("d0", "s"), DEV("d0", "s"), WORD("-device"), WORD("{")};
	char *relative[] = {WORD("q"),         NODE_FILE("s", "a"),       DEV("d0", "s"),
			    WORD("-blockdev"), WORD("{\"node-name\":3}"), DEV("d1", "3")};

	rewrite_words(shared, ARRAY_SIZE(shared),
		      "{\"driver\":\"file\",\"filename\":\"/a\",\"node-name\":\"s\",\"cache\":{\"direct\":true,"
		      "\"no-flush\":false}}",
		      "disk vdb: block node s is used twice");
	rewrite_words(loop, ARRAY_SIZE(loop), "",
		      "disk v??: block node a is used twice; disk vdb: its device (virtio-blk-pci) has no block node");
	rewrite_words(twice, ARRAY_SIZE(twice), "",
		      "disk v??: block node s is used twice; disk vdb: block node x is not on the command line");
	rewrite_words(devices, ARRAY_SIZE(devices), "",
		      "disk v??: its device (d0) is not on the command line; disk vdb: its device (d1) is not on the "
		      "command line");
	rewrite_words(relative, ARRAY_SIZE(relative), "",
		      "disk v??: block node s is not understood; disk vdb: block node 3 is not on the command line");
}

/* What the wrapper writes is what `status` then reads (common/exec_disk.c), with another parser. */
TEST(status_reads_what_was_written)
{
	static const struct {
		const char *target, *alias;
		struct {
			const char *knob, *value, *effective;
			bool ok;
		} settings[5];
		unsigned int index;
	} cases[] = {
		{"vda",
		 "virtio-disk0",
		 {{"disk.io", "auto", "io_uring", true},
		  {"disk.cache", "none", "none", true},
		  {"disk.discard", "unmap", "unmap", true},
		  {"disk.detect-zeroes", "unmap", "unmap", true},
		  {"disk.metadata-cache", "7", "7", true}},
		 8},
		/* What libvirt had written stays: read as it is. */
		{"vdb",
		 "virtio-disk1",
		 {{"disk.io", "io_uring", "native", false}, {"disk.cache", "writeback", "none", false}},
		 7},
		{"vdc",
		 "virtio-disk2",
		 {{"disk.io", "auto", "threads", true}, /* it says so itself */
		  {"disk.cache", "unsafe", "writeback", false},
		  {"disk.metadata-cache", "7", "default", false},
		  {"disk.detect-zeroes", "off", "unmap", false}},
		 6},
		{"sda",
		 "scsi0-0-0-0",
		 {{"disk.discard", "ignore", "ignore", true}, {"disk.detect-zeroes", "off", "off", true}},
		 4},
		{"sdd",
		 "sata0-0-3",
		 {{"disk.io", "threads", "threads", true}, {"disk.cache", "writeback", "writeback", true}},
		 1},
		{"vdz", "virtio-disk9", {{"disk.io", "auto", "", false}}, 0},
	};
	struct wplan_disk disks[ARRAY_SIZE(cases)] = {0};
	struct wplan plan = {.merge = -1, .disks = disks, .n_disks = ARRAY_SIZE(cases)};
	struct words w = {0};
	struct argv_edit edit = {0};
	struct kept kept = {.text = ""};
	struct strings argv = {0};
	struct sbuf b = {0};

	memset(&fake, 0, sizeof(fake));
	words_load("json-disks", &w);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct wplan_disk *k = &disks[i];

		*k = (struct wplan_disk){
			.target = WORD(cases[i].target), .alias = WORD(cases[i].alias), .path = WORD("")};
		for (size_t s = 0; s < ARRAY_SIZE(cases[i].settings) && cases[i].settings[s].knob; s++) {
			const char *knob = cases[i].settings[s].knob, *value = cases[i].settings[s].value;

			k->metadata |= streq(knob, "disk.metadata-cache");
			k->metadata_bytes = 7;
			put_word(streq(knob, "disk.io")              ? k->io
				 : streq(knob, "disk.cache")         ? k->cache
				 : streq(knob, "disk.discard")       ? k->discard
				 : streq(knob, "disk.detect-zeroes") ? k->zeroes
								     : (char[16]){""},
				 value);
		}
	}
	IS_INT(argv_edit_init(&edit, w.n, w.v), 0);
	IS_INT(blk_rewrite(NULL, &plan, "/usr/bin/qemu-system-x86_64", &fakes, &edit, &kept), 0);
	for (int i = 0; i < edit.n; i++)
		sbuf_addn(&b, edit.v[i], strlen(edit.v[i]) + 1);
	argv = (struct strings){b.s, b.len};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct plan_disk disk = {WORD(cases[i].target), WORD(cases[i].alias), WORD("")};

		IS_INT(exec_disk_index(&argv, &disk), cases[i].index);
		for (size_t s = 0; s < ARRAY_SIZE(cases[i].settings) && cases[i].settings[s].knob; s++) {
			const struct setting setting = {.knob = WORD(cases[i].settings[s].knob),
							.value = WORD(cases[i].settings[s].value),
							.target = WORD(cases[i].target)};
			struct exec_result a = {0};

			exec_disk_answer(&argv, &disk, &setting, &a);
			IS_STR(a.effective, cases[i].settings[s].effective);
			IS_INT(a.ok, cases[i].settings[s].ok);
		}
	}
	sbuf_fini(&b);
	argv_edit_fini(&edit);
	free(w.text);
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* A byte, or a word, is changed, lost or doubled. */
static void mutate(struct words *w, uint32_t *seed)
{
	int at = 1 + (int)(next_random(seed) % (unsigned int)(w->n - 1));
	char *word = w->v[at];
	size_t len = strlen(word);

	switch (next_random(seed) % 4) {
	case 0:
		memmove(&w->v[at], &w->v[at + 1], (size_t)(w->n - at) * sizeof(w->v[0]));
		w->n--;
		break;
	case 1:
		w->v[at] = w->v[1 + (int)(next_random(seed) % (unsigned int)(w->n - 1))];
		break;
	default:
		if (len)
			word[next_random(seed) % len] = "{}[]\":,0\1x"[next_random(seed) % 11];
	}
}

/* Whatever becomes of the words: nothing but arguments of -blockdev changes, and each is JSON that we would print so.
 */
TEST(mutated_command_lines)
{
	static const char *const files[] = {"json-disks", "json-rich", "json-storage", "words-disks"};
	struct wplan_disk disks[] = {
		{.target = WORD("vda"),
		 .alias = WORD("virtio-disk0"),
		 .path = WORD(""),
		 .io = "auto",
		 .cache = "none",
		 .discard = "unmap",
		 .zeroes = "unmap",
		 .metadata = true,
		 .metadata_bytes = 1},
		{.target = WORD("sda"),
		 .alias = WORD("scsi0-0-0-0"),
		 .path = WORD("/srv/images/device"),
		 .cache = "unsafe",
		 .io = "native"},
		{.target = WORD("vdc"),
		 .alias = WORD("ua-data"),
		 .path = WORD(""),
		 .discard = "ignore",
		 .zeroes = "on",
		 .io = "threads"},
	};
	const struct wplan plan = {.merge = -1, .disks = disks, .n_disks = ARRAY_SIZE(disks)};
	unsigned int changed = 0, kept_some = 0;
	uint32_t seed = 7;

	memset(&fake, 0, sizeof(fake));
	for (unsigned int i = 0; i < 4000; i++) {
		struct argv_edit edit = {0};
		struct kept kept = {.text = ""};
		struct words w = {0};
		bool any = false;

		words_load(files[i % ARRAY_SIZE(files)], &w);
		for (uint32_t n = 1 + next_random(&seed) % 4; n && w.n > 2; n--)
			mutate(&w, &seed);
		IS_INT(argv_edit_init(&edit, w.n, w.v), 0);
		IS_INT(blk_rewrite(NULL, &plan, "/usr/bin/qemu-system-x86_64", &fakes, &edit, &kept), 0);
		IS_INT(edit.n, w.n);
		for (int k = 0; k < edit.n; k++) {
			_cleanup_obj_ struct obj o = {0};

			if (edit.v[k] == w.v[k])
				continue;
			any = true;
			OK(k > 0 && strstr(w.v[k - 1], "-blockdev") != NULL);
			OK(obj_parse(edit.v[k], "driver", &o) == 0 && o.json &&
			   obj_is_faithful(&o, "driver", edit.v[k]));
		}
		changed += any;
		kept_some += kept.len > 0;
		argv_edit_fini(&edit);
		free(w.text);
	}
	OK(changed > 400 && changed < 3900);
	OK(kept_some > 400);
}

/* The real tryouts, as far as every machine answers alike. */
TEST(tryouts)
{
	struct hostfs fs = HOSTFS_INIT;
	struct err e = ERR_INIT;
	struct root t;
	char path[128];
	int r;

	root_init(&t);
	IS_INT(hostfs_init(&fs, NULL, &e), 0);
	root_put(&t, "image", "data");
	(void)snprintf(path, sizeof(path), "%s/nothing", t.dir);
	IS_INT(tryout_kernel.direct(&fs, path, false, &e), -ENOENT);
	OK(strstr(e.text, path) != NULL);
	(void)snprintf(path, sizeof(path), "%s", t.dir);
	IS_INT(tryout_kernel.direct(&fs, path, false, &e), -EINVAL);
	IS_INT(tryout_kernel.direct(&fs, "image", false, &e), -EINVAL);
	(void)snprintf(path, sizeof(path), "%s/image", t.dir);
	r = tryout_kernel.direct(&fs, path, false, &e);
	OK(r == 0 || r == -EINVAL); /* tmpfs: from Linux 6.6 on */
	r = tryout_kernel.io_uring(false, &e);
	OK(r == 0 || str_starts(e.text, "io_uring: "));
	IS_INT(tryout_kernel.linked(&t.fs, "/image", "libc.so", &e), -ENOEXEC);
	IS_INT(tryout_kernel.linked(&t.fs, "/nothing", "libc.so", &e), -ENOENT);
	IS_INT(tryout_kernel.linked(&fs, "/proc/self/exe", "libc.so", &e), -ELOOP); /* no magic links */
	IS_INT(tryout_kernel.linked(&fs, "/bin/sh", "libc.so", &e), 0);
	IS_INT(tryout_kernel.linked(&fs, "/bin/sh", "liburing.so", &e), -ENOENT);
	IS_STR(e.text, "/bin/sh was built without liburing.so");
	hostfs_fini(&fs);
	root_fini(&t);
}

static bool shell(const char *fmt, ...) PRINTF(1, 2);
static bool shell(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return system(text) == 0;
}

/* A file of that many bytes in dir, with data at its begin, or nothing but a hole. */
static void put_bytes(const char *path, off_t size, bool hole)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char block[4096];

	memset(block, 'x', sizeof(block));
	if (fd < 0 || (!hole && pwrite(fd, block, sizeof(block), 0) != sizeof(block)) || ftruncate(fd, size) < 0 ||
	    fsync(fd) < 0)
		TAP_FAIL("%s", path);
	if (fd >= 0)
		(void)close(fd);
}

/* What a file system with sectors of 4096 bytes lets QEMU have; dir is on one, disk its device. */
static void ends_of_files(const char *dir, const char *disk)
{
	struct hostfs fs = HOSTFS_INIT;
	struct err e = ERR_INIT;
	char path[160], want[256];

	IS_INT(hostfs_init(&fs, NULL, &e), 0);
	(void)snprintf(path, sizeof(path), "%s/image", dir);
	(void)snprintf(want, sizeof(want), "O_DIRECT, %s: its size (12800) is no multiple of 4096", path);
	for (int hole = 0; hole < 2; hole++) {
		put_bytes(path, 4096 * 3 + 512, hole);
		IS_INT(tryout_kernel.direct(&fs, path, true, &e), -EINVAL);
		IS_STR(e.text, want);
		IS_INT(tryout_kernel.direct(&fs, path, false, &e), 0);
		put_bytes(path, 4096 * 3, hole);
		IS_INT(tryout_kernel.direct(&fs, path, true, &e), 0);
		put_bytes(path, 4096 * 4 - 1, hole); /* up to 512 it is a multiple */
		IS_INT(tryout_kernel.direct(&fs, path, true, &e), 0);
	}
	put_bytes(path, 0, true);
	IS_INT(tryout_kernel.direct(&fs, path, true, &e), 0);
	IS_INT(tryout_kernel.direct(&fs, disk, true, &e), 0);
	hostfs_fini(&fs);
}

/* A loop device of such sectors over the file: its path in ret. */
static bool attach_loop(const char *file, char ret[64])
{
	char command[256];
	FILE *f;
	bool got;

	put_bytes(file, 16 << 20, true);
	(void)snprintf(command, sizeof(command), "losetup -f --show --sector-size 4096 %s 2>&1", file);
	f = popen(command, "re");
	got = f && fgets(ret, 64, f);
	if (f)
		(void)pclose(f);
	if (got)
		ret[strcspn(ret, "\n")] = '\0';
	return got && str_starts(ret, "/dev/loop");
}

/* Mounted where nobody else sees it. */
TEST(ends_of_images)
{
	char disk[64], file[128], dir[128];
	struct root t;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		SKIP("only root can mount");
	root_init(&t);
	root_mkdir(&t, "on");
	(void)snprintf(dir, sizeof(dir), "%s/on", t.dir);
	(void)snprintf(file, sizeof(file), "%s/disk", t.dir);
	if (!attach_loop(file, disk)) {
		root_fini(&t);
		SKIP("no loop device with sectors of 4096 bytes can be attached");
	}
	if (shell("mkfs.ext4 -q %s >/dev/null 2>&1", disk) && mount(disk, dir, "ext4", 0, NULL) == 0) {
		ends_of_files(dir, disk);
		IS_INT(umount(dir), 0);
	} else {
		tap_skip_why = "no ext4 can be made and mounted";
	}
	OK(shell("losetup -d %s", disk));
	root_fini(&t);
}

/* Where a hole or data begins the image, and sectors are smaller, it is another alignment; it is found, or none is. */
TEST(alignments_of_this_machine)
{
	struct hostfs fs = HOSTFS_INIT;
	struct err e = ERR_INIT;
	struct root t;
	char path[128];

	root_init(&t);
	IS_INT(hostfs_init(&fs, NULL, &e), 0);
	(void)snprintf(path, sizeof(path), "%s/image", t.dir);
	put_bytes(path, 4096 * 3, false);
	if (tryout_kernel.direct(&fs, path, false, &e) == 0) {
		IS_INT(tryout_kernel.direct(&fs, path, true, &e), 0);
		put_bytes(path, 4096 * 3 + 512, false);
		IS_INT(tryout_kernel.direct(&fs, path, false, &e), 0);
		if (tryout_kernel.direct(&fs, path, true, &e) < 0)
			OK(strstr(e.text, "its size (12800) is no multiple of ") != NULL);
	}
	hostfs_fini(&fs);
	root_fini(&t);
}

/* Room for a context's events, where the kernel says what there is. */
TEST(events_of_the_host)
{
	static const struct {
		const char *used, *most, *why; /* why NULL: as this machine has it */
	} cases[] = {
		{ "0", "1023", "fs.aio-max-nr leaves native no room (want 1024, used 0 of 1023)" },
		{ "64513", "65536", "fs.aio-max-nr leaves native no room (want 1024, used 64513 of 65536)" },
		{ "65537", "65536", "fs.aio-max-nr leaves native no room (want 1024, used 65537 of 65536)" },
		{ "64512", "65536", NULL },
		{ "x", "1", NULL },
	};
	struct err e = ERR_INIT;
	struct root t;
	int here;

	root_init(&t);
	here = tryout_kernel.native(&t.fs, &e); /* nothing can be read */
	OK(here == 0 || str_starts(e.text, "native: io_setup: "));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		root_put(&t, "proc/sys/fs/aio-nr", cases[i].used);
		root_put(&t, "proc/sys/fs/aio-max-nr", cases[i].most);
		IS_INT(tryout_kernel.native(&t.fs, &e), cases[i].why ? -EAGAIN : here);
		if (cases[i].why)
			IS_STR(e.text, cases[i].why);
	}
	root_fini(&t);
}

/* A program file that was cut or overwritten at any place is none, or says no; never a crash (ASan). */
TEST(damaged_programs)
{
	struct hostfs fs = HOSTFS_INIT;
	_cleanup_free_ char *text = NULL;
	struct err e = ERR_INIT;
	struct root t;
	size_t len = 0;

	root_init(&t);
	IS_INT(hostfs_init(&fs, NULL, &e), 0);
	IS_INT(hostfs_read_all(&fs, 64u << 20, &text, &len, "bin/sh"), 0);
	for (size_t at = 0; text && at < 1200; at += 7) {
		size_t cut = at % 2 ? len : at;
		char was = text[at];

		text[at] = (char)0xff;
		IS_INT(hostfs_replace(&t.fs, text, cut < 4096 ? cut : 4096 + at, 0755, "sh"), 0);
		(void)linked_with(&t.fs, "/sh", "libc.so", &e);
		text[at] = was;
	}
	hostfs_fini(&fs);
	root_fini(&t);
}

TAP_MAIN

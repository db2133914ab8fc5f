/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The wrapper's plan: from settings; written, read again, and not read when anything is wrong with it. */
#include "common/wplan.h"

#include "common/paths.h"
#include "placehost.h"
#include "root.h"
#include "tap.h"

#define UUID "11111111-2222-4333-8444-555555555555"
#define BOOT "22222222-2222-4333-8444-555555555555"

static char *wplan_text(const struct wplan *w)
{
	struct sbuf b = { 0 };

	for (unsigned int i = 0; i < w->n_attrs; i++)
		sbuf_addf(&b, "%s=%s ", w->attrs[i].name, w->attrs[i].value);
	for (unsigned int i = 0; i < w->n_memory; i++) {
		const struct wplan_memory *m = &w->memory[i];

		sbuf_addf(&b, "%smemory %" PRIu64 "M %s", i ? "; " : "", m->page_size / MIB,
			  *m->policy ? m->policy : "-");
		show_set(&b, "nodes", &m->nodes);
		sbuf_addf(&b, " prealloc=%d threads=%u", m->prealloc, m->prealloc_threads);
		show_set(&b, "on", &m->prealloc_cpus);
		if (m->cell >= 0)
			sbuf_addf(&b, " cell=%d", m->cell);
	}
	if (w->lock)
		sbuf_addf(&b, "lock=%" PRIu64 "M ", w->lock / MIB);
	if (w->merge >= 0)
		sbuf_addf(&b, "merge=%d", w->merge);
	for (unsigned int i = 0; i < w->n_disks; i++) {
		const struct wplan_disk *k = &w->disks[i];

		sbuf_addf(&b, "%s %s %s [%s %s %s %s] ", k->target, k->alias, k->path, k->io, k->cache, k->discard, k->zeroes);
		if (k->metadata)
			sbuf_addf(&b, "%" PRIu64 " ", k->metadata_bytes);
	}
	return sbuf_steal(&b);
}

struct wcase {
	const char *emulator;                    /* exec-stage affinity */
	enum place_memory memory; const char *nodes;
	uint64_t page_size; const char *page_nodes; /* pages evenly there */
	bool thp;
	const char *prealloc;
	unsigned int vcpus; const char *vcpu_cpus;
	struct { const char *nodes; uint64_t page_size; } cells[4]; /* ids 0, 1, ... */
	const char *lock, *merge, *priority, *core;
	struct { const char *knob, *target, *value; } disks[8]; /* settings; vda and sdb are known */
	const char *want;
};

/* clang-format off */
static const struct wcase cases[] = {
	{ .want = "" },
	{ .emulator = "2-3", .want = "affinity=2-3 " },
	{ .priority = "be:0", .want = "ioprio=be:0 " },
	{ .core = "yes", .want = "core-sched=yes " },
	{ .memory = PLACE_MEMORY_PREFERRED, .nodes = "0", .want = "mempolicy=preferred:0 " },
	{ .memory = PLACE_MEMORY_PREFERRED, .nodes = "0-1", .want = "mempolicy=preferred:0-1 " },
	{ .memory = PLACE_MEMORY_STRICT, .nodes = "1",
	  .want = "mempolicy=preferred:1 memory 0M bind nodes=1 prealloc=-1 threads=0" },
	{ .memory = PLACE_MEMORY_INTERLEAVE, .nodes = "0-1",
	  .want = "mempolicy=interleave:0-1 memory 0M interleave nodes=0-1 prealloc=-1 threads=0" },
	{ .thp = true, .want = "" },
	{ .page_size = PAGE_2M, .page_nodes = "0", .vcpus = 2, .vcpu_cpus = "1", .emulator = "3",
	  .want = "affinity=3 memory 2M preferred nodes=0 prealloc=1 threads=2 on=1,3" },
	{ .page_size = PAGE_2M, .page_nodes = "0-1", .want = "memory 2M interleave nodes=0-1 prealloc=1 threads=0" },
	{ .page_size = PAGE_1G, .page_nodes = "1", .memory = PLACE_MEMORY_STRICT, .nodes = "1", .vcpus = 32,
	  .vcpu_cpus = "0-31",
	  .want = "mempolicy=preferred:1 memory 1024M bind nodes=1 prealloc=1 threads=16 on=16-31" },
	{ .page_size = PAGE_2M, .page_nodes = "1", .memory = PLACE_MEMORY_PREFERRED, .nodes = "1", .vcpus = 1,
	  .vcpu_cpus = "0-31",
	  .want = "mempolicy=preferred:1 memory 2M preferred nodes=1 prealloc=1 threads=1 on=16-31" },
	/* No CPU of its own where its memory is: all that it has. */
	{ .page_size = PAGE_2M, .page_nodes = "1", .memory = PLACE_MEMORY_STRICT, .nodes = "1", .vcpus = 4,
	  .vcpu_cpus = "0-3", .emulator = "31-40",
	  .want = "affinity=31-40 mempolicy=preferred:1 memory 2M bind nodes=1 prealloc=1 threads=1 on=31" },
	{ .page_size = PAGE_2M, .page_nodes = "1", .memory = PLACE_MEMORY_STRICT, .nodes = "1", .vcpus = 4,
	  .vcpu_cpus = "0-3",
	  .want = "mempolicy=preferred:1 memory 2M bind nodes=1 prealloc=1 threads=4 on=0-3" },
	{ .prealloc = "yes", .vcpus = 8, .vcpu_cpus = "4-7", .want = "memory 0M - prealloc=1 threads=4 on=4-7" },
	{ .prealloc = "no", .want = "" },
	{ .prealloc = "no", .page_size = PAGE_2M, .page_nodes = "0",
	  .want = "memory 2M preferred nodes=0 prealloc=1 threads=0" },
	{ .prealloc = "yes", .memory = PLACE_MEMORY_PREFERRED, .nodes = "0", .vcpus = 2, .vcpu_cpus = "1-9",
	  .want = "mempolicy=preferred:0 memory 0M preferred nodes=0 prealloc=1 threads=2 on=1-9" },
	/* Cells. The process prefers the nodes of all of them. */
	{ .memory = PLACE_MEMORY_STRICT, .nodes = "0-1", .cells = { { "0" }, { "1" } },
	  .want = "mempolicy=preferred:0-1 memory 0M bind nodes=0 prealloc=-1 threads=0 cell=0; "
		  "memory 0M bind nodes=1 prealloc=-1 threads=0 cell=1" },
	{ .memory = PLACE_MEMORY_PREFERRED, .nodes = "0-1", .cells = { { "1" }, { "0" } },
	  .want = "mempolicy=preferred:0-1 memory 0M preferred nodes=1 prealloc=-1 threads=0 cell=0; "
		  "memory 0M preferred nodes=0 prealloc=-1 threads=0 cell=1" },
	/* Both where the process's policy takes them anyway. */
	{ .memory = PLACE_MEMORY_PREFERRED, .nodes = "1", .cells = { { "1" }, { "1" } },
	  .want = "mempolicy=preferred:1 " },
	{ .memory = PLACE_MEMORY_STRICT, .nodes = "0-1", .page_size = PAGE_2M, .page_nodes = "0-1",
	  .cells = { { "0", PAGE_2M }, { "1", PAGE_2M } }, .vcpus = 40, .vcpu_cpus = "0-31",
	  .want = "mempolicy=preferred:0-1 memory 2M bind nodes=0 prealloc=1 threads=16 on=0-15 cell=0; "
		  "memory 2M bind nodes=1 prealloc=1 threads=16 on=16-31 cell=1" },
	/* A cell that no node holds: page by page, as the whole guest would be. */
	{ .memory = PLACE_MEMORY_STRICT, .nodes = "0-1", .page_size = PAGE_2M, .page_nodes = "0-1",
	  .cells = { { "0-1", PAGE_2M }, { "1" } }, .vcpus = 2, .vcpu_cpus = "15-16",
	  .want = "mempolicy=preferred:0-1 memory 2M interleave nodes=0-1 prealloc=1 threads=2 on=15-16 cell=0; "
		  "memory 0M bind nodes=1 prealloc=-1 threads=0 cell=1" },
	{ .memory = PLACE_MEMORY_STRICT, .nodes = "0-1", .page_size = PAGE_2M, .page_nodes = "0-1",
	  .want = "mempolicy=preferred:0-1 memory 2M interleave nodes=0-1 prealloc=1 threads=0" },
	{ .page_size = PAGE_2M, .page_nodes = "0-1", .cells = { { "0", PAGE_2M }, { "0-1", PAGE_2M } },
	  .want = "memory 2M preferred nodes=0 prealloc=1 threads=0 cell=0; "
		  "memory 2M interleave nodes=0-1 prealloc=1 threads=0 cell=1" },
	/* Nothing is placed, so it does not matter which cell it is. */
	{ .prealloc = "yes", .cells = { { "0" }, { "1" } }, .vcpus = 2, .vcpu_cpus = "4-7",
	  .want = "memory 0M - prealloc=1 threads=2 on=4-7" },
	/* Its own 4096 MiB, 2048 for QEMU, 72 for each vCPU, and for the main loop and its 64 workers. */
	{ .lock = "yes", .want = "lock=10824M " },
	{ .lock = "yes", .vcpus = 4, .want = "lock=11112M " },
	{ .lock = "no", .merge = "no", .want = "merge=0" },
	{ .merge = "yes", .want = "merge=1" },
	/* Disks in the order of the rules; of one that the plan does not know, and of another stage, nothing. */
	{ .disks = { { "disk.cache", "sdb", "unsafe" }, { "disk.io", "vda", "auto" }, { "disk.metadata-cache", "vda", "0" },
		     { "disk.detect-zeroes", "vda", "unmap" }, { "disk.discard", "vda", "unmap" },
		     { "disk.io", "vdz", "auto" }, { "disk.cache", "vda", "nonsense" } },
	  .want = "vda virtio-disk0 /i/a\tb [auto  unmap unmap] 0 sdb ua-2  [ unsafe  ] " },
	/* Sixteen caches of 64 MiB may be locked beside the rest. */
	{ .lock = "yes", .disks = { { "disk.metadata-cache", "vda", "67108864" } },
	  .want = "lock=11848M vda virtio-disk0 /i/a\tb [   ] 67108864 " },
	{ .lock = "yes", .disks = { { "disk.metadata-cache", "vda", "9223372036854775807" } },
	  .want = "lock=17592186044415M vda virtio-disk0 /i/a\tb [   ] 9223372036854775807 " },
	{ .disks = { { "disk.metadata-cache", "vda", "9223372036854775808" } }, .want = "vda virtio-disk0 /i/a\tb [   ] " },
};
/* clang-format on */

static void make_plan(struct plan *p, const struct wcase *t)
{
	const char *size = t->page_size == PAGE_1G ? "1G" : "2M";
	struct idset nodes = set_of(t->page_nodes);

	memset(p, 0, sizeof(*p));
	(void)snprintf(p->uuid, sizeof(p->uuid), "%s", UUID);
	p->id = 7;
	p->wrapper = (struct plan_wrapper){ .present = true, .emulator = strdup("/usr/bin/a b\tc"), .qemu = 7002022 };
	p->placement.emulator = set_of(t->emulator);
	p->placement.memory_policy = t->memory;
	p->placement.memory_nodes = set_of(t->nodes);
	p->placement.page_size = t->page_size;
	p->placement.vcpus = must_alloc(t->vcpus, sizeof(*p->placement.vcpus));
	p->placement.n_vcpus = t->vcpus;
	for (unsigned int i = 0; i < t->vcpus; i++)
		p->placement.vcpus[i].cpus = set_of(t->vcpu_cpus);
	p->placement.pages = must_alloc(idset_count(&nodes), sizeof(*p->placement.pages));
	IDSET_FOREACH(id, &nodes)
		p->placement.pages[p->placement.n_pages++] =
			(struct claim_pages){ .node = id, .size = t->page_size, .count = 5 };
	p->memory = 4 * GIB;
	p->placement.cells = must_alloc(ARRAY_SIZE(t->cells), sizeof(*p->placement.cells));
	for (unsigned int i = 0; i < ARRAY_SIZE(t->cells) && t->cells[i].nodes; i++)
		p->placement.cells[p->placement.n_cells++] =
			(struct placed_cell){ i, set_of(t->cells[i].nodes), t->cells[i].page_size };
	if (t->lock)
		IS_INT(plan_add_setting(p, "memory.lock", "", STAGE_EXEC, t->lock, "x", "x"), 0);
	if (t->merge)
		IS_INT(plan_add_setting(p, "memory.merge", "", STAGE_EXEC, t->merge, "x", "x"), 0);
	/* Out of order, and among settings of other stages. */
	IS_INT(plan_add_setting(p, "memory.prealloc", "", STAGE_STARTED, "yes", "x", "x"), 0);
	if (t->prealloc)
		IS_INT(plan_add_setting(p, "memory.prealloc", "", STAGE_EXEC, t->prealloc, "x", "x"), 0);
	if (t->page_size)
		IS_INT(plan_add_setting(p, "memory.pages", "", STAGE_EXEC, size, "x", "x"), 0);
	if (t->thp)
		IS_INT(plan_add_setting(p, "memory.pages", "", STAGE_EXEC, "thp", "x", "x"), 0);
	if (t->memory)
		IS_INT(plan_add_setting(p, "memory.placement", "", STAGE_EXEC, "x", "x", "x"), 0);
	if (t->priority)
		IS_INT(plan_add_setting(p, "io.priority", "", STAGE_EXEC, t->priority, "x", "x"), 0);
	if (t->core)
		IS_INT(plan_add_setting(p, "cpu.core-scheduling", "", STAGE_EXEC, t->core, "x", "x"), 0);
	IS_INT(plan_add_setting(p, "io.priority", "", STAGE_STARTED, "rt:1", "x", "x"), 0);
	if (t->emulator)
		IS_INT(plan_add_setting(p, "cpu.emulator", "", STAGE_EXEC, t->emulator, "x", "x"), 0);
	IS_INT(plan_add_setting(p, "cpu.emulator", "", STAGE_STARTED, "0", "x", "x"), 0);
	IS_INT(plan_add_disk(p, "vda", "virtio-disk0", "/i/a\tb"), 0);
	IS_INT(plan_add_disk(p, "sdb", "ua-2", ""), 0);
	IS_INT(plan_add_setting(p, "disk.io", "vda", STAGE_STARTED, "threads", "x", "x"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(t->disks) && t->disks[i].knob; i++)
		IS_INT(plan_add_setting(p, t->disks[i].knob, t->disks[i].target, STAGE_EXEC, t->disks[i].value, "x", "x"), 0);
}

TEST(from_plan_and_back)
{
	const struct host_spec spec = { .nodes = 2, .cores = 16 };
	struct host h;
	struct root root;

	host_make(&h, &spec);
	root_init(&root);
	root_mkdir(&root, PATH_PLAN);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct wplan w, again;
		struct err e = ERR_INIT;
		struct plan p;
		char *text, *text2;

		make_plan(&p, &cases[i]);
		IS_INT(wplan_from_plan(&p, &h, BOOT, &w), 0);
		text = wplan_text(&w);
		IS_STR(text, cases[i].want);
		IS_INT(wplan_save(&root.fs, &w, &e), 0);
		IS_INT(wplan_load(&root.fs, UUID, &again), 0);
		text2 = wplan_text(&again);
		IS_STR(text2, text);
		IS_STR(again.uuid, UUID);
		IS_STR(again.boot_id, BOOT);
		IS_STR(again.emulator, "/usr/bin/a b\tc");
		IS_INT(again.id, 7);
		IS_INT(again.qemu, 7002022);
		free(text);
		free(text2);
		wplan_fini(&w);
		wplan_fini(&again);
		plan_fini(&p);
	}
	root_fini(&root);
	host_free(&h);
}

/* A good file cut or edited: each is refused as a whole. */
struct damage {
	const char *name;
	const char *records[8][10];
	int want;
};

#define HEAD { "head", "1", BOOT, UUID, "3", "/e", "7002022", NULL }
#define MEMORY "memory", "huge", "2097152", "0", "bind"

static const struct damage damages[] = {
	{ "good", { HEAD, { "attr", "a", "b" }, { MEMORY, "yes", "2", "0-1" }, { "end" } }, 0 },
	{ "no memory, no id", { { "head", "1", BOOT, UUID, "", "", "0" }, { "end" } }, 0 },
	{ "something new", { HEAD, { "later", "x" }, { "end" } }, 0 },
	{ "behind the end", { HEAD, { "end" }, { "attr", "x", "y" } }, 0 },
	{ "empty", { { NULL } }, -EBADMSG },
	{ "no end", { HEAD, { "attr", "a", "b" } }, -EBADMSG },
	{ "no head", { { "attr", "a", "b" }, { "end" } }, -EBADMSG },
	{ "two heads", { HEAD, HEAD, { "end" } }, -EBADMSG },
	{ "another format", { { "head", "2", BOOT, UUID, "3", "/e", "0" }, { "end" } }, -EBADMSG },
	{ "another domain", { { "head", "1", BOOT, BOOT, "3", "/e", "0" }, { "end" } }, -EBADMSG },
	{ "a policy nobody knows", { HEAD, { "memory", "keep", "0", "0", "local", "", "0", "" },
	  { "end" } }, -EBADMSG },
	{ "huge without a size", { HEAD, { "memory", "huge", "0", "0", "bind", "", "0", "" }, { "end" } }, -EBADMSG },
	{ "keep with a size", { HEAD, { "memory", "keep", "4096", "0", "bind", "", "0", "" }, { "end" } }, -EBADMSG },
	{ "no list of nodes", { HEAD, { "memory", "keep", "0", "x", "bind", "", "0", "" }, { "end" } }, -EBADMSG },
	{ "no list of CPUs", { HEAD, { "memory", "keep", "0", "0", "bind", "", "0", "9999" }, { "end" } }, -EBADMSG },
	{ "no number of threads", { HEAD, { "memory", "keep", "0", "0", "bind", "", "", "" }, { "end" } }, -EBADMSG },
	{ "memory twice", { HEAD, { MEMORY, "", "0", "" }, { MEMORY, "", "0", "" }, { "end" } }, -EBADMSG },
	{ "two cells", { HEAD, { MEMORY, "", "0", "", "0" }, { MEMORY, "", "0", "", "1" }, { "end" } }, 0 },
	{ "a cell twice", { HEAD, { MEMORY, "", "0", "", "1" }, { MEMORY, "", "0", "", "1" }, { "end" } }, -EBADMSG },
	{ "a cell and the whole", { HEAD, { MEMORY, "", "0", "", "1" }, { MEMORY, "", "0", "" }, { "end" } },
	  -EBADMSG },
	{ "the whole and a cell", { HEAD, { MEMORY, "", "0", "" }, { MEMORY, "", "0", "", "1" }, { "end" } },
	  -EBADMSG },
	{ "no number of a cell", { HEAD, { MEMORY, "", "0", "", "x" }, { "end" } }, -EBADMSG },
	{ "a large number of a cell", { HEAD, { MEMORY, "", "0", "", "2147483648" }, { "end" } }, -EBADMSG },
	{ "lock and merge", { HEAD, { "lock", "1" }, { "merge", "no" }, { "end" } }, 0 },
	{ "lock without a size", { HEAD, { "lock", "yes" }, { "end" } }, -EBADMSG },
	{ "disks", { HEAD, { "disk", "vda", "d0", "", "auto", "none", "unmap", "on", "7" }, { "disk", "vdb", "d1" },
	  { "end" } }, 0 },
	{ "a disk twice", { HEAD, { "disk", "vda", "d0", "" }, { "disk", "vda", "d1", "" }, { "end" } }, -EBADMSG },
	{ "an alias twice", { HEAD, { "disk", "vda", "d0", "" }, { "disk", "vdb", "d0", "" }, { "end" } }, -EBADMSG },
	{ "a disk without alias", { HEAD, { "disk", "vda", "", "/i" }, { "end" } }, -EBADMSG },
	{ "a cache mode nobody knows", { HEAD, { "disk", "vda", "d0", "", "", "directsync" }, { "end" } }, -EBADMSG },
	{ "a discard nobody knows", { HEAD, { "disk", "vda", "d0", "", "", "", "on" }, { "end" } }, -EBADMSG },
	{ "more bytes than QEMU takes", { HEAD, { "disk", "vda", "d0", "", "", "", "", "", "9223372036854775808" },
	  { "end" } }, -EBADMSG },
	{ "no number of bytes", { HEAD, { "disk", "vda", "d0", "", "", "", "", "", "1M" }, { "end" } }, -EBADMSG },
	{ "merge perhaps", { HEAD, { "merge", "maybe" }, { "end" } }, -EBADMSG },
};

static void put(struct root *root, const struct damage *d, bool torn)
{
	struct sbuf b = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(d->records) && d->records[i][0]; i++) {
		const char *const *f = d->records[i];

		record_add(&b, f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8], NULL); /* to the first NULL */
	}
	if (torn && b.s)
		b.s[6] ^= 1;
	root_put(root, PATH_PLAN "/" UUID, b.s ? b.s : "");
	sbuf_fini(&b);
}

TEST(damage)
{
	struct root root;
	struct wplan w;

	root_init(&root);
	IS_INT(wplan_load(&root.fs, UUID, &w), -ENOENT);
	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		for (int torn = 0; torn < 2; torn++) {
			int r, want = torn ? -EBADMSG : damages[i].want;

			put(&root, &damages[i], torn);
			r = wplan_load(&root.fs, UUID, &w);
			if (r != want)
				TAP_FAIL("%s%s: %d, not %d", damages[i].name, torn ? ", torn" : "", r, want);
			if (r == 0)
				wplan_fini(&w);
		}
	}
	IS_INT(wplan_load(&root.fs, "../../etc/passwd", &w), -EBADMSG);
	root_fini(&root);
}

TEST(many_attributes)
{
	struct sbuf b = { 0 };
	struct root root;
	struct wplan w;

	record_add(&b, "head", "1", BOOT, UUID, "3", "/e", "0", NULL);
	for (int i = 0; i < 3 * WPLAN_ATTRS_MAX; i++)
		record_add(&b, "attr", "n", "v", NULL);
	record_add(&b, "end", NULL);
	root_init(&root);
	root_put(&root, PATH_PLAN "/" UUID, b.s);
	IS_INT(wplan_load(&root.fs, UUID, &w), 0);
	IS_INT(w.n_attrs, WPLAN_ATTRS_MAX);
	wplan_fini(&w);
	root_fini(&root);
	sbuf_fini(&b);
}

TAP_MAIN

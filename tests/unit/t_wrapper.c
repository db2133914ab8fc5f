/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The wrapper's rewriting, argv in and argv out: command lines in libvirt's spelling (tests/data/argv/, one
 * word per line; the first line says which were recorded from libvirt, and which written by hand), a plan, and what the
 * tryouts would answer on that host.
 * Run from the top directory, or with DOMTUNE_SOURCE set to it.
 */
#include "tests/unit/tap.h"

#include <sys/syscall.h>

#include "common/sbuf.h"
#include "root.h"

/* The wrapper is one program, not part of the archive that tests are linked with. */
#include "wrapper/argv.c"
#include "wrapper/kept.c"
#include "wrapper/linked.c"
#include "wrapper/mem.c"
#undef QOM
#include "wrapper/mem_find.c"
#undef QOM
#include "wrapper/mem_process.c"
#include "wrapper/obj.c"
#include "wrapper/tryout.c"

#define WORDS_MAX 512
#define UUID "6b3ee6a0-2c1d-4d0e-9a57-0c4f8a3b1d21"
#define MIB (1ull << 20)
#define WORD(text) ((char *)(uintptr_t)(text)) /* main()'s argv is not const */

struct words {
	char *text;
	char *v[WORDS_MAX + 1];
	int n;
};

static void words_fini(struct words *w)
{
	free(w->text);
}
#define _cleanup_words_ _cleanup_(words_fini)

static void split(struct words *w)
{
	char *rest = w->text, *line;

	while ((line = strsep(&rest, "\n")) && w->n < WORDS_MAX) {
		if (*line && *line != '#')
			w->v[w->n++] = line;
	}
}

static void words_load(const char *name, struct words *w)
{
	const char *top = getenv("DOMTUNE_SOURCE");
	char path[4096];
	_cleanup_fclose_ FILE *f = NULL;
	size_t size = 0;

	(void)snprintf(path, sizeof(path), "%s/tests/data/argv/%s.args", top ? top : ".", name);
	f = fopen(path, "re");
	if (!f || getdelim(&w->text, &size, '\0', f) < 0) {
		TAP_FAIL("%s: %s", path, strerror(errno));
		w->n = 1;
		w->v[0] = path;
		return;
	}
	split(w);
}

/* What the tryouts answer; the same for all. */
static struct {
	const char *pages, *placement, *memory, *cpus, *merge; /* NULL: possible */
	uint64_t limit; /* RLIMIT_MEMLOCK; 0: as much as one wants */
	bool hugetlbfs;
	char seen[512]; /* the parts that pages() was asked for */
} fake;

static int answer(const char *why, struct err *e)
{
	return why ? err_set(e, ENOMEM, "%s", why) : 0;
}

static int fake_pages(const struct hostfs *fs, const struct tryout_part *parts, unsigned int n, struct err *e)
{
	(void)fs;
	fake.seen[0] = '\0';
	for (unsigned int i = 0; i < n; i++) {
		char nodes[64], page[24];
		size_t len = strlen(fake.seen);

		(void)idset_format(&parts[i].nodes, nodes, sizeof(nodes));
		(void)snprintf(fake.seen + len, sizeof(fake.seen) - len, "%s%llu MiB in %s %s:%s", i ? ", " : "",
			       (unsigned long long)(parts[i].bytes / MIB), tryout_page_text(parts[i].page, page),
			       parts[i].policy, nodes);
	}
	return answer(fake.pages, e);
}

static int fake_placement(const char *policy, const struct idset *nodes, struct err *e)
{
	(void)policy;
	return answer(fake.placement && !idset_has(nodes, 0) ? fake.placement : NULL, e);
}

static int fake_memory(const struct hostfs *fs, const struct tryout_part *parts, unsigned int n, struct err *e)
{
	(void)fs;
	(void)parts;
	OK(n > 0);
	return answer(fake.memory, e);
}

static int fake_cpus(const struct idset *cpus, struct err *e)
{
	(void)cpus;
	return answer(fake.cpus, e);
}

static int fake_lock(uint64_t bytes, struct err *e)
{
	return answer(fake.limit && bytes > fake.limit ? "RLIMIT_MEMLOCK is small" : NULL, e);
}

static int fake_merge(struct err *e)
{
	return answer(fake.merge, e);
}

static bool fake_hugetlbfs(const char *path)
{
	(void)path;
	return fake.hugetlbfs;
}

static const struct tryout fakes = {
	.pages = fake_pages,
	.placement = fake_placement,
	.memory = fake_memory,
	.cpus = fake_cpus,
	.lock = fake_lock,
	.merge = fake_merge,
	.is_hugetlbfs = fake_hugetlbfs,
};

struct mem_case {
	const char *args;
	/* the plan */
	uint64_t page;
	const char *policy, *nodes;
	int prealloc;
	unsigned int threads;
	const char *cpus;
	unsigned int qemu;
	/* the host */
	const char *pages, *placement, *memory, *cpu;
	/* what comes out: changed and added words, "" none; reasons */
	const char *want, *kept;
};

static void make_plan(const struct mem_case *c, struct wplan *w, struct wplan_memory *m)
{
	*m = (struct wplan_memory){ .cell = WPLAN_WHOLE, .page_size = c->page, .prealloc = c->prealloc,
				    .prealloc_threads = c->threads };
	*w = (struct wplan){ .memory = m, .n_memory = 1, .merge = -1 };
	if (c->policy)
		(void)snprintf(m->policy, sizeof(m->policy), "%s", c->policy);
	if (c->nodes && idset_parse(c->nodes, &m->nodes) < 0)
		TAP_FAIL("nodes '%s'", c->nodes);
	if (c->cpus && idset_parse(c->cpus, &m->prealloc_cpus) < 0)
		TAP_FAIL("CPUs '%s'", c->cpus);
}

/* "+WORD" for each added word, "=WORD" for each changed one, separated by blanks. */
static char *describe(int argc, char *const *argv, const struct argv_edit *e)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	int i = 0;

	for (int k = 0; k < e->n; k++) {
		bool added = e->n - k > argc - i;

		if (i < argc && e->v[k] == argv[i]) {
			i++;
			continue;
		}
		sbuf_addf(&b, "%s%s%s", b.len ? " " : "", added ? "+" : "=", e->v[k]);
		i += !added;
	}
	OK(i == argc && e->v[e->n] == NULL);
	return sbuf_steal(&b);
}

static void run_plan(const char *args, const struct wplan *plan, unsigned int qemu, const char *want, const char *left)
{
	_cleanup_words_ struct words w = { 0 };
	_cleanup_free_ char *got = NULL;
	struct argv_edit edit = { 0 };
	struct kept kept = { .text = "" };

	words_load(args, &w);
	IS_INT(argv_edit_init(&edit, w.n, w.v), 0);
	IS_INT(mem_rewrite(NULL, plan, qemu, &fakes, &edit, &kept), 0);
	got = describe(w.n, w.v, &edit);
	if (!got || strcmp(got, want) != 0 || strcmp(kept.len ? kept.text + 13 : "", left ? left : "") != 0)
		printf("# case %s\n", args);
	IS_STR(got, want);
	IS_STR(kept.len ? kept.text + strlen(KEPT_NAME "=") : "", left ? left : "");
	argv_edit_fini(&edit);
}

static void run_case(const struct mem_case *c)
{
	struct wplan_memory memory;
	struct wplan plan;

	make_plan(c, &plan, &memory);
	memset(&fake, 0, sizeof(fake));
	fake.pages = c->pages;
	fake.placement = c->placement;
	fake.memory = c->memory;
	fake.cpus = c->cpu;
	run_plan(c->args, &plan, c->qemu, c->want, c->kept);
}

static void run_cases(const struct mem_case *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		run_case(&c[i]);
}

#define MEMFD "={\"qom-type\":\"memory-backend-memfd\",\"id\":\"pc.ram\",\"size\":201326592"
#define HUGE ",\"hugetlb\":true,\"hugetlbsize\":2097152,\"share\":false,\"x-use-canonical-path-for-ramblock-id\":false"
#define RAM "={\"qom-type\":\"memory-backend-ram\",\"id\":\"pc.ram\",\"size\":201326592"

TEST(huge_pages_as_json)
{
	static const struct mem_case cases[] = {
		{ "json-plain", .page = 2 * MIB, .policy = "bind", .nodes = "0", .prealloc = -1,
		  .want = MEMFD HUGE ",\"host-nodes\":[0],\"policy\":\"bind\",\"prealloc\":true}" },
		{ "json-plain", .page = 2 * MIB, .prealloc = 0, .want = MEMFD HUGE "}" },
		{ "json-restore", .page = 2 * MIB, .prealloc = 1, .threads = 4,
		  .want = MEMFD HUGE ",\"prealloc\":true,\"prealloc-threads\":4}" },
		{ "json-plain", .page = 2 * MIB, .policy = "interleave", .nodes = "0-1,3", .prealloc = 1, .threads = 2,
		  .cpus = "2-3,6", .qemu = 7002022,
		  .want = "+-object +{\"qom-type\":\"thread-context\",\"id\":\"domtune-tc0\",\"cpu-affinity\":[2,3,6]} "
			  MEMFD HUGE ",\"host-nodes\":[0,1,3],\"policy\":\"interleave\",\"prealloc\":true,"
			  "\"prealloc-threads\":2,\"prealloc-context\":\"domtune-tc0\"}" },
		/* The version decides: 7.1 and unknown have no thread-context. */
		{ "json-plain", .page = 2 * MIB, .prealloc = 1, .threads = 2, .cpus = "2-3", .qemu = 7001099,
		  .want = MEMFD HUGE ",\"prealloc\":true,\"prealloc-threads\":2}" },
		{ "json-plain", .page = 2 * MIB, .prealloc = 1, .threads = 2, .cpus = "2-3",
		  .want = MEMFD HUGE ",\"prealloc\":true,\"prealloc-threads\":2}" },
		{ "json-q35-10.0", .page = 1024 * MIB, .policy = "bind", .nodes = "1", .prealloc = 1, .qemu = 10000000,
		  .want = "={\"qom-type\":\"memory-backend-memfd\",\"id\":\"pc.ram\",\"size\":2147483648,"
			  "\"hugetlb\":true,"
			  "\"hugetlbsize\":1073741824,\"share\":false,\"x-use-canonical-path-for-ramblock-id\":false,"
			  "\"host-nodes\":[1],\"policy\":\"bind\",\"prealloc\":true}" },
		{ "json-aarch64", .page = 32 * MIB, .prealloc = -1,
		  .want = "={\"qom-type\":\"memory-backend-memfd\",\"id\":\"mach-virt.ram\",\"size\":1073741824,"
			  "\"hugetlb\":true,\"hugetlbsize\":33554432,\"share\":false,"
			  "\"x-use-canonical-path-for-ramblock-id\":false,\"prealloc\":true}" },
		{ "json-kernel", .page = 2 * MIB, .prealloc = -1, .want = MEMFD HUGE ",\"prealloc\":true}" },
	};

	run_cases(cases, ARRAY_SIZE(cases));
}

TEST(huge_pages_as_words)
{
	static const struct mem_case cases[] = {
		{ "words-plain", .page = 2 * MIB, .policy = "bind", .nodes = "0-1,3", .prealloc = -1, .threads = 2,
		  .cpus = "0-3", .qemu = 5002000,
		  .want = "=memory-backend-memfd,id=pc.ram,size=201326592,hugetlb=on,hugetlbsize=2097152,share=off,"
			  "x-use-canonical-path-for-ramblock-id=off,host-nodes=0-1,host-nodes=3,policy=bind,"
			  "prealloc=on,prealloc-threads=2" },
		{ "words-plain", .page = 2 * MIB, .prealloc = 1, .cpus = "0-3,8", .qemu = 7002000,
		  .want = "+-object +thread-context,id=domtune-tc0,cpu-affinity=0-3,cpu-affinity=8 "
			  "=memory-backend-memfd,id=pc.ram,size=201326592,hugetlb=on,hugetlbsize=2097152,share=off,"
			  "x-use-canonical-path-for-ramblock-id=off,prealloc=on,prealloc-context=domtune-tc0" },
		{ "words-nodes", .page = 2 * MIB, .prealloc = -1,
		  .want = "=memory-backend-memfd,id=pc.ram,size=201326592,host-nodes=0-1,host-nodes=4,policy=bind,"
			  "hugetlb=on,hugetlbsize=2097152,share=off,x-use-canonical-path-for-ramblock-id=off,"
			  "prealloc=on" },
	};

	run_cases(cases, ARRAY_SIZE(cases));
	IS_STR(fake.seen, "192 MiB in 2M bind:0-1,4"); /* of the last case: tried on the owner's nodes */
}

TEST(what_the_owner_wrote_stays)
{
	static const struct mem_case cases[] = {
		{ "json-rich", .page = 2 * MIB, .policy = "bind", .nodes = "1", .prealloc = -1,
		  .want = MEMFD ",\"host-nodes\":[0],"
			  "\"policy\":\"bind\"" HUGE ",\"prealloc\":true}",
		  .kept = "memory.placement: the memory back end has nodes of its own" },
		{ "json-immediate", .page = 2 * MIB, .prealloc = 1, .threads = 8, .cpus = "0-7", .qemu = 7002000,
		  .want = "={\"qom-type\":\"memory-backend-memfd\",\"id\":\"pc.ram\",\"prealloc\":true,"
			  "\"prealloc-threads\":2,\"size\":201326592,\"host-nodes\":[0],\"policy\":\"bind\","
			  "\"prealloc-context\":\"tc-pc.ram\"" HUGE "}" },
		{ "json-immediate", .prealloc = 1, .threads = 8, .cpus = "0-7", .qemu = 7002000, .want = "" },
		{ "words-nodes", .policy = "bind", .nodes = "0", .prealloc = -1, .want = "",
		  .kept = "memory.placement: the memory back end has nodes of its own" },
	};

	run_cases(cases, ARRAY_SIZE(cases));
}

TEST(ordinary_pages)
{
	static const struct mem_case cases[] = {
		{ "json-plain", .policy = "preferred", .nodes = "1", .prealloc = -1,
		  .want = RAM ",\"host-nodes\":[1],\"policy\":\"preferred\"}" },
		{ "json-plain", .policy = "bind", .nodes = "0", .prealloc = 1, .threads = 3, .cpus = "5",
		  .qemu = 9000000,
		  .want = "+-object +{\"qom-type\":\"thread-context\",\"id\":\"domtune-tc0\",\"cpu-affinity\":[5]} " RAM
			  ",\"host-nodes\":[0],\"policy\":\"bind\",\"prealloc\":true,\"prealloc-threads\":3,"
			  "\"prealloc-context\":\"domtune-tc0\"}" },
		{ "words-plain", .policy = "bind", .nodes = "2", .prealloc = 1,
		  .want = "=memory-backend-ram,id=pc.ram,size=201326592,host-nodes=2,policy=bind,prealloc=on" },
		{ "json-plain", .prealloc = -1, .want = "" },
		{ "json-plain", .prealloc = 0, .want = "" },
		{ "json-plain", .policy = "bind", .prealloc = -1, .want = "" }, /* no nodes: nothing to say */
	};

	run_cases(cases, ARRAY_SIZE(cases));
}

TEST(failed_tryouts_keep_the_argument)
{
	static const struct mem_case cases[] = {
		{ "json-plain", .page = 2 * MIB, .policy = "bind", .nodes = "0", .prealloc = 1,
		  .pages = "no free 2M pages on node 0 (want 96, free 12)", .want = "",
		  .kept = "memory.pages: no free 2M pages on node 0 (want 96, free 12); "
			  "memory.placement: as memory.pages; memory.prealloc: as memory.pages" },
		{ "json-plain", .page = 2 * MIB, .prealloc = -1, .want = "",
		  .pages = "2M pages: memfd: Permission denied",
		  .kept = "memory.pages: 2M pages: memfd: Permission denied" },
		{ "json-plain", .page = 2 * MIB, .policy = "bind", .nodes = "1", .prealloc = -1,
		  .placement = "node 1 may not be used here", .want = MEMFD HUGE ",\"prealloc\":true}",
		  .kept = "memory.placement: node 1 may not be used here" },
		{ "json-plain", .policy = "bind", .nodes = "1", .prealloc = -1, .placement = "no", .want = "",
		  .kept = "memory.placement: no" },
		{ "json-plain", .policy = "bind", .nodes = "1", .prealloc = 1, .memory = "not enough", .threads = 2,
		  .want = RAM ",\"host-nodes\":[1],\"policy\":\"bind\"}", .kept = "memory.prealloc: not enough" },
		{ "json-plain", .page = 2 * MIB, .prealloc = -1, .cpus = "9", .qemu = 8000000,
		  .cpu = "Invalid argument",
		  .want = MEMFD HUGE ",\"prealloc\":true}",
		  .kept = "memory.prealloc: on no particular CPUs: Invalid argument" },
	};

	run_cases(cases, ARRAY_SIZE(cases));
}

/* One memory record a cell, in the order given. */
struct cell_case {
	const char *args;
	unsigned int qemu;
	struct {
		int cell; /* + 1; 0: no more */
		uint64_t page;
		const char *policy, *nodes, *cpus;
		int prealloc;
	} cells[4];
	const char *pages, *placement, *memory, *cpu; /* of the host */
	bool hugetlbfs;
	const char *want, *kept, *seen;
};

#define CELL(n, more) "={\"qom-type\":\"memory-backend-ram\",\"id\":\"ram-node" n "\",\"size\":100663296" more
#define CELL_HUGE(n, more) \
	"={\"qom-type\":\"memory-backend-memfd\",\"id\":\"ram-node" n "\",\"size\":100663296" HUGE more
#define NODES(list, policy) ",\"host-nodes\":[" list "],\"policy\":\"" policy "\""
#define CONTEXT(n, cpus) \
	"+-object +{\"qom-type\":\"thread-context\",\"id\":\"domtune-tc" n "\",\"cpu-affinity\":[" cpus "]} "
#define POPULATED(threads, n) \
	",\"prealloc\":true,\"prealloc-threads\":" threads ",\"prealloc-context\":\"domtune-tc" n "\"}"

static void run_cells(const struct cell_case *c)
{
	struct wplan_memory memory[4] = { 0 };
	struct wplan plan = { .memory = memory, .merge = -1 };

	for (unsigned int i = 0; i < ARRAY_SIZE(c->cells) && c->cells[i].cell; i++) {
		struct wplan_memory *m = &memory[plan.n_memory++];

		m->cell = c->cells[i].cell - 1;
		m->page_size = c->cells[i].page;
		m->prealloc = c->cells[i].prealloc ? c->cells[i].prealloc : -1;
		m->prealloc_threads = m->prealloc == 1 ? 2 : 0;
		if (c->cells[i].policy)
			(void)snprintf(m->policy, sizeof(m->policy), "%s", c->cells[i].policy);
		OK(!c->cells[i].nodes || !*c->cells[i].nodes || idset_parse(c->cells[i].nodes, &m->nodes) == 0);
		OK(!c->cells[i].cpus || !*c->cells[i].cpus || idset_parse(c->cells[i].cpus, &m->prealloc_cpus) == 0);
	}
	memset(&fake, 0, sizeof(fake));
	fake.pages = c->pages;
	fake.placement = c->placement;
	fake.memory = c->memory;
	fake.cpus = c->cpu;
	fake.hugetlbfs = c->hugetlbfs;
	run_plan(c->args, &plan, c->qemu, c->want, c->kept);
	if (c->seen)
		IS_STR(fake.seen, c->seen);
}

TEST(guest_cells)
{
	static const struct cell_case cases[] = {
		{ "json-cells", .cells = { { 1, 0, "bind", "0" }, { 2, 0, "bind", "1" } },
		  .want = CELL("0", NODES("0", "bind") "}") " " CELL("1", NODES("1", "bind") "}") },
		{ "json-cells", .cells = { { 2, 0, "preferred", "0" }, { 1, 0, "preferred", "1" } },
		  .want = CELL("0", NODES("1", "preferred") "}") " " CELL("1", NODES("0", "preferred") "}") },
		/* A context for each set of CPUs, all before the first back end. */
		{ "json-cells", .qemu = 7002000,
		  .cells = { { 1, 2 * MIB, "bind", "0", "0-1", 1 }, { 2, 2 * MIB, "bind", "1", "4-5", 1 } },
		  .want = CONTEXT("0", "0,1") CONTEXT("1", "4,5") CELL_HUGE("0", NODES("0", "bind") POPULATED("2", "0"))
			  " " CELL_HUGE("1", NODES("1", "bind") POPULATED("2", "1")),
		  .seen = "96 MiB in 2M bind:0, 96 MiB in 2M bind:1" },
		/* Two cells on one node are tried together, and share its threads. */
		{ "json-cells", .qemu = 7002000,
		  .cells = { { 1, 2 * MIB, "bind", "1", "4-5", 1 }, { 2, 2 * MIB, "bind", "1", "4-5", 1 } },
		  .want = CONTEXT("0", "4,5") CELL_HUGE("0", NODES("1", "bind") POPULATED("2", "0"))
			  " " CELL_HUGE("1", NODES("1", "bind") POPULATED("2", "0")),
		  .seen = "96 MiB in 2M bind:1, 96 MiB in 2M bind:1" },
		/* A cell over two nodes, and one on ordinary pages. */
		{ "json-cells", .cells = { { 1, 2 * MIB, "interleave", "0-1", "", 1 }, { 2, 0, "bind", "1" } },
		  .want = CELL_HUGE("0", NODES("0,1", "interleave") ",\"prealloc\":true,\"prealloc-threads\":2}") " "
			  CELL("1", NODES("1", "bind") "}"),
		  .seen = "96 MiB in 2M interleave:0-1" },
		{ "words-cells", .qemu = 5002000, .cells = { { 1, 2 * MIB, "bind", "0" }, { 2, 2 * MIB, "bind", "1" } },
		  .want = "=memory-backend-memfd,id=ram-node0,size=100663296,hugetlb=on,hugetlbsize=2097152,share=off,"
			  CANONICAL "=off,host-nodes=0,policy=bind,prealloc=on "
			  "=memory-backend-memfd,id=ram-node1,size=100663296,hugetlb=on,hugetlbsize=2097152,share=off,"
			  CANONICAL "=off,host-nodes=1,policy=bind,prealloc=on" },
		{ "json-cells-10.0", .qemu = 10000000, .cells = { { 1, 0, "bind", "0", "0-1", 1 },
		  { 2, 0, "bind", "1", "2-3", 1 } },
		  .want = CONTEXT("0", "0,1") CONTEXT("1", "2,3")
			  "={\"qom-type\":\"memory-backend-ram\",\"id\":\"ram-node0\",\"size\":1073741824"
			  NODES("0", "bind") POPULATED("2", "0") " "
			  "={\"qom-type\":\"memory-backend-ram\",\"id\":\"ram-node1\",\"size\":1073741824"
			  NODES("1", "bind") POPULATED("2", "1") },
		/* The owner's kind of back end gets nodes where QEMU can do without their pages. */
		{ "json-cells-pages", .hugetlbfs = true,
		  .cells = { { 1, 0, "preferred", "0" }, { 2, 0, "preferred", "1" } },
		  .want = "={\"qom-type\":\"memory-backend-file\",\"id\":\"ram-node0\",\"mem-path\":\"/dev/hugepages/"
			  "libvirt/qemu/20-pages\",\"prealloc\":true,\"size\":100663296" NODES("0", "preferred") "} "
			  CELL("1", NODES("1", "preferred") "}") },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		run_cells(&cases[i]);
}

/* All cells or none. */
TEST(guest_cells_that_stay)
{
#define BOTH { { 1, 2 * MIB, "bind", "0", "0", 1 }, { 2, 2 * MIB, "bind", "1", "1", 1 } }
#define PLACED(policy) { { 1, 0, policy, "0" }, { 2, 0, policy, "1" } }
	static const struct cell_case cases[] = {
		{ "json-cells", .cells = BOTH, .pages = "no free 2M pages on node 1", .want = "",
		  .kept = "memory.pages: no free 2M pages on node 1; memory.placement: as memory.pages; "
			  "memory.prealloc: as memory.pages" },
		{ "json-cells", .cells = PLACED("bind"), .placement = "node 1 may not be used here", .want = "",
		  .kept = "memory.placement: node 1 may not be used here" },
		{ "json-cells", .cells = { { 1, 0, "bind", "0", "", 1 }, { 2, 0, "bind", "1", "", 1 } }, .memory = "no",
		  .want = CELL("0", NODES("0", "bind") "}") " " CELL("1", NODES("1", "bind") "}"),
		  .kept = "memory.prealloc: no" },
		{ "json-cells", .qemu = 9000000, .cells = { { 1, 0, "", "", "0", 1 }, { 2, 0, "", "", "1", 1 } },
		  .cpu = "Invalid argument",
		  .want = CELL("0", ",\"prealloc\":true,\"prealloc-threads\":2}") " "
			  CELL("1", ",\"prealloc\":true,\"prealloc-threads\":2}"),
		  .kept = "memory.prealloc: on no particular CPUs: Invalid argument" },
		{ "json-cells-shared", .cells = PLACED("preferred"), .want = "",
		  .kept = "memory.placement: cell 1: guest RAM has a file or memfd behind it already" },
		{ "json-cells-pages", .cells = PLACED("preferred"), .want = "", /* not on huge pages, it seems */
		  .kept = "memory.placement: cell 0: guest RAM has a file or memfd behind it already" },
		{ "json-cells-pages", .hugetlbfs = true, .cells = PLACED("bind"), .want = "",
		  .kept = "memory.placement: cell 0: guest RAM has a file or memfd behind it already" },
		{ "json-cells-4", .cells = { { 1, 0, "bind", "0" }, { 2, 0, "bind", "0" }, { 3, 0, "bind", "1" },
		  { 4, 0, "bind", "1" } },
		  .want = "", .kept = "memory.placement: the memory back end has nodes of its own" },
		{ "json-cells-4", .cells = PLACED("bind"), .want = "",
		  .kept = "memory.placement: the plan has other guest cells than the command line" },
		{ "json-cells", .cells = { { 1, 0, "bind", "0" }, { 2, 0, "bind", "0" }, { 3, 0, "bind", "1" } },
		  .want = "", .kept = "memory.placement: the plan has other guest cells than the command line" },
		{ "json-plain", .cells = PLACED("bind"), .want = "",
		  .kept = "memory.placement: the plan has other guest cells than the command line" },
		{ "words-cells", .cells = PLACED("bind"), .want = "",
		  .kept = "memory.placement: cell 0: QEMU is older than 5.0, or of unknown version" },
		{ "json-cells-mem", .cells = PLACED("bind"), .want = "",
		  .kept = "memory.placement: guest cells are set by mem=" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		run_cells(&cases[i]);
}

/* One record for the whole guest is for each of its cells. */
TEST(all_cells_alike)
{
	static const struct mem_case cases[] = {
		{ "json-cells", .prealloc = 1, .threads = 2, .cpus = "0-1", .qemu = 8000000,
		  .want = CONTEXT("0", "0,1") CELL("0", POPULATED("2", "0")) " " CELL("1", POPULATED("2", "0")) },
		{ "json-cells", .page = 2 * MIB, .policy = "interleave", .nodes = "0-1", .prealloc = -1,
		  .want = CELL_HUGE("0", NODES("0,1", "interleave") ",\"prealloc\":true}") " "
			  CELL_HUGE("1", NODES("0,1", "interleave") ",\"prealloc\":true}") },
		{ "json-cell-hotplug", .page = 2 * MIB, .policy = "bind", .nodes = "1", .prealloc = -1,
		  .want = "={\"qom-type\":\"memory-backend-memfd\",\"id\":\"ram-node0\",\"size\":201326592" HUGE
			  NODES("1", "bind") ",\"prealloc\":true}" },
		/* The owner's nodes for one of four: ours for none, but pages for all. */
		{ "json-cells-4", .page = 2 * MIB, .policy = "bind", .nodes = "1", .prealloc = 0,
		  .want = "={\"qom-type\":\"memory-backend-memfd\",\"id\":\"ram-node0\",\"size\":50331648" HUGE "} "
			  "={\"qom-type\":\"memory-backend-memfd\",\"id\":\"ram-node1\",\"size\":50331648" HUGE "} "
			  "={\"qom-type\":\"memory-backend-memfd\",\"id\":\"ram-node2\",\"size\":50331648" HUGE "} "
			  "={\"qom-type\":\"memory-backend-memfd\",\"id\":\"ram-node3\",\"size\":50331648"
			  NODES("0", "preferred") HUGE "}",
		  .kept = "memory.placement: the memory back end has nodes of its own" },
	};

	run_cases(cases, ARRAY_SIZE(cases));
	IS_STR(fake.seen, "48 MiB in 2M :, 48 MiB in 2M :, 48 MiB in 2M :, 48 MiB in 2M preferred:0");
}

struct process_case {
	const char *args;
	uint64_t page, lock;
	int merge; /* + 2; 0: as it is */
	uint64_t limit;
	const char *memory, *ksm;
	bool hugetlbfs;
	const char *want, *kept;
};

TEST(lock_and_merge)
{
#define ON "=mem-lock=on"
#define MACHINE "=pc-q35-7.2,usb=off,dump-guest-core=off,memory-backend=pc.ram,mem-merge="
	static const struct process_case cases[] = {
		{ "json-plain", .lock = 1, .want = ON },
		{ "json-plain", .lock = 1000, .limit = 1000, .want = ON },
		{ "json-plain", .lock = 1001, .limit = 1000, .want = "",
		  .kept = "memory.lock: RLIMIT_MEMLOCK is small" },
		{ "json-plain", .lock = 1, .memory = "not enough free memory", .want = "",
		  .kept = "memory.lock: not enough free memory" },
		{ "json-cells", .lock = 1, .want = ON },
		{ "words-plain", .lock = 1, .want = ON },
		{ "json-cell-hotplug", .lock = 1, .want = ON },
		/* Nobody knows what will be plugged in. */
		{ "json-cell-hotplug", .lock = 1, .limit = 1000, .want = "",
		  .kept = "memory.lock: RLIMIT_MEMLOCK is small" },
		{ "json-virtio-mem", .lock = 1, .want = "",
		  .kept = "memory.lock: guest has a memory device (virtio-mem)" },
		{ "json-sev", .lock = 1, .merge = 2, .want = "",
		  .kept = "memory.lock: confidential guest; memory.merge: confidential guest" },
		/* Huge pages count as locked. */
		{ "json-plain", .page = 2 * MIB, .lock = 1, .limit = 1, .want = MEMFD HUGE ",\"prealloc\":true}" },
		{ "json-hugepages", .lock = 1, .limit = 1, .hugetlbfs = true, .want = "" },
		{ "json-memfd", .lock = 1, .want = ON },
		{ "json-cells-pages", .lock = 1, .hugetlbfs = true, .want = ON },
		{ "json-plain", .merge = 2, .want = MACHINE "off " RAM ",\"merge\":false}" },
		{ "json-plain", .merge = 3, .want = MACHINE "on " RAM ",\"merge\":true}" },
		{ "json-plain", .merge = 3, .ksm = "KSM: Invalid argument", .want = "",
		  .kept = "memory.merge: KSM: Invalid argument" },
		{ "json-plain", .page = 2 * MIB, .merge = 3, .want = MEMFD HUGE ",\"prealloc\":true}",
		  .kept = "memory.merge: huge pages are not merged" },
		{ "json-memfd", .merge = 2, .want = MACHINE "off" },
		{ "json-nosharepages", .merge = 2, .want = RAM ",\"merge\":false}" },
		{ "json-nosharepages", .merge = 3, .want = "",
		  .kept = "memory.merge: -machine has a mem-merge of its own" },
		{ "json-cells", .merge = 2,
		  .want = "=pc-q35-7.2,usb=off,dump-guest-core=off,mem-merge=off " CELL("0", ",\"merge\":false}") " "
			  CELL("1", ",\"merge\":false}") },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct wplan_memory memory = { .cell = WPLAN_WHOLE, .page_size = cases[i].page, .prealloc = -1 };
		struct wplan plan = { .memory = &memory, .n_memory = cases[i].page > 0, .lock = cases[i].lock,
				      .merge = cases[i].merge - 2 };

		if (cases[i].merge == 0)
			plan.merge = -1;
		memset(&fake, 0, sizeof(fake));
		fake.limit = cases[i].limit;
		fake.memory = cases[i].memory;
		fake.merge = cases[i].ksm;
		fake.hugetlbfs = cases[i].hugetlbfs;
		run_plan(cases[i].args, &plan, 7002000, cases[i].want, cases[i].kept);
	}
}

TEST(never_touched)
{
#define ALL(why) "memory.pages: " why "; memory.placement: " why "; memory.prealloc: " why
	static const struct {
		const char *args, *kept;
	} cases[] = {
		{ "json-sev", ALL("confidential guest") },
		{ "words-sev", ALL("confidential guest") },
		{ "json-hugepages", ALL("guest RAM has a file or memfd behind it already") },
		{ "json-memfd", ALL("guest RAM has a file or memfd behind it already") },
		{ "json-cells-mem", ALL("guest cells are set by mem=") },
		{ "json-cells-shared", ALL("cell 1: guest RAM has a file or memfd behind it already") },
		{ "json-dimm", ALL("guest has a memory device (pc-dimm)") },
		{ "json-virtio-mem", ALL("guest has a memory device (virtio-mem)") },
		{ "json-tdx", ALL("confidential guest") },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct mem_case c = { cases[i].args, .page = 2 * MIB, .policy = "bind", .nodes = "0", .prealloc = 1,
				      .threads = 4, .cpus = "0", .qemu = 10000000, .want = "",
				      .kept = cases[i].kept };
		run_case(&c);
	}
}

/* One plain command line with the -object that it is about. */
static void run_object(const char *object, const char *want, const char *kept)
{
	char *argv[] = { WORD("/w/qemu-system-x86_64"), WORD("-machine"), WORD("q35,memory-backend=r"),
			 WORD("-object"), NULL, NULL };
	struct wplan_memory memory = { .cell = WPLAN_WHOLE, .page_size = 2 * MIB, .prealloc = 0 };
	struct wplan plan = { .memory = &memory, .n_memory = 1, .merge = -1 };
	_cleanup_free_ char *word = strdup(object), *got = NULL;
	struct argv_edit edit = { 0 };
	struct kept k = { .text = "" };

	argv[4] = word;
	memset(&fake, 0, sizeof(fake));
	IS_INT(argv_edit_init(&edit, 5, argv), 0);
	IS_INT(mem_rewrite(NULL, &plan, 0, &fakes, &edit, &k), 0);
	got = describe(5, argv, &edit);
	IS_STR(got, want);
	IS_STR(k.len ? k.text + strlen(KEPT_NAME "=") : "", kept);
	argv_edit_fini(&edit);
}

#define NOT_UNDERSTOOD "memory.pages: the memory back end's argument is not understood"
#define NONE_THERE "memory.pages: guest RAM has no back end on the command line"

TEST(odd_spellings_stay)
{
	static const struct {
		const char *object, *kept;
	} cases[] = {
		{ "{\"qom-type\":\"memory-backend-ram\",\"id\":\"r\",\"size\":4194304,\"share\":true}",
		  "memory.pages: guest RAM is shared" },
		{ "memory-backend-ram,id=r,size=4194304,share=on", "memory.pages: guest RAM is shared" },
		{ "memory-backend-ram,id=r,size=4194304,share=yes", NOT_UNDERSTOOD },
		{ "memory-backend-ram,id=r,size=4194304,share", NOT_UNDERSTOOD },
		{ "memory-backend-ram,id=r,size=4194304,share=off,share=on", NOT_UNDERSTOOD },
		{ "memory-backend-ram,id=r,size=4M", NOT_UNDERSTOOD },
		{ "memory-backend-ram,id=r,size=0", NOT_UNDERSTOOD },
		{ "memory-backend-ram,id=r", NOT_UNDERSTOOD },
		{ "memory-backend-ram,id=r,size=4194304,reserve=off",
		  "memory.pages: the memory back end has a `reserve` of its own" },
		{ "qom-type=memory-backend-ram,id=r,size=4194304", NOT_UNDERSTOOD },
		{ "memory-backend-ram,id=r,size=4194304,", NONE_THERE },
		{ "memory-backend-ram,,x,id=r,size=4194304",
		  "memory.pages: guest RAM has a file or memfd behind it already" },
		{ "memory-backend-ram,id=r,,x,size=4194304", NONE_THERE },
		{ "{\"qom-type\":\"memory-backend-ram\",\"id\":\"r\",\"size\": 4194304}", NOT_UNDERSTOOD },
		{ "{\"qom-type\":\"memory-backend-ram\",\"id\":\"r\",\"size\":4194304,\"size\":8388608}",
		  NOT_UNDERSTOOD },
		{ "{\"qom-type\":\"memory-backend-ram\",\"id\":\"r\",\"size\":99999999999999999999999}",
		  NOT_UNDERSTOOD },
		{ "{\"qom-type\":\"memory-backend-ram\",\"id\":\"r\",\"size\":-4194304}", NOT_UNDERSTOOD },
		{ "{\"qom-type\":\"memory-backend-ram\",\"id\":\"r\",\"size\":4194304.0}", NOT_UNDERSTOOD },
		{ "{\"qom-type\":\"memory-backend-ram\",\"id\":\"r\",\"size\":\"4194304\"}", NOT_UNDERSTOOD },
		{ "{\"qom-type\":\"memory-backend-ram\",\"id\":\"r\",\"size\":4194304} ", NOT_UNDERSTOOD },
		{ "{\"qom-type\":\"memory-backend-ram\",\"id\":\"r\",\"size\":4194304", NONE_THERE },
		{ "{'qom-type':'memory-backend-ram','id':'r','size':4194304}", NONE_THERE },
		{ "{\"qom-type\":\"memory-backend-ram\",\"id\":[\"r\"],\"size\":4194304}", NONE_THERE },
		{ "{\"qom-type\":\"memory-backend-ram\",\"id\":\"r\",\"a\":[[[[[[[[[[1]]]]]]]]]]}", NONE_THERE },
		{ "{}", NONE_THERE },
		{ "[]", NONE_THERE },
		{ "", NONE_THERE },
		{ "r", NONE_THERE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		run_object(cases[i].object, "", cases[i].kept);
		if (tap_failed) {
			printf("# object %s\n", cases[i].object);
			break;
		}
	}
}

TEST(unknown_members_are_carried)
{
	run_object("{\"qom-type\":\"memory-backend-ram\",\"id\":\"r\",\"size\":4194304,\"x\":18446744073709551615,"
		   "\"y\":-9223372036854775808,\"f\":0.1000000000000000055511151231257827,\"n\":null,"
		   "\"s\":\"\\\"a/b\\\\\\n\xc3\xa9\",\"o\":{\"b\":[1,{}]},\"dump\":false}",
		   "={\"qom-type\":\"memory-backend-memfd\",\"id\":\"r\",\"size\":4194304,\"x\":18446744073709551615,"
		   "\"y\":-9223372036854775808,\"f\":0.1000000000000000055511151231257827,\"n\":null,"
		   "\"s\":\"\\\"a/b\\\\\\n\xc3\xa9\",\"o\":{\"b\":[1,{}]},\"dump\":false,\"hugetlb\":true,"
		   "\"hugetlbsize\":2097152,\"share\":false,\"x-use-canonical-path-for-ramblock-id\":false}", "");
	run_object("memory-backend-ram,id=r,size=4194304,merge=off,x=a,,b=,,,flag,y=,"
		   "x-use-canonical-path-for-ramblock-id=on",
		   "=memory-backend-memfd,id=r,size=4194304,merge=off,x=a,,b=,,,flag,y=,"
		   "x-use-canonical-path-for-ramblock-id=on,hugetlb=on,hugetlbsize=2097152,share=off", "");
}

TEST(which_guest)
{
	static const struct {
		const char *args;
		int result, id;
	} cases[] = {
		{ "json-plain", 0, 3 },          { "json-rich", 0, 90 },           { "json-restore", 0, 91 },
		{ "json-kernel", 0, 17 },        { "json-q35-10.0", 0, 1 },        { "json-aarch64", 0, 2 },
		{ "json-cells", 0, 15 },         { "json-cells-4", 0, 18 },        { "words-cells", 0, 10 },
		{ "json-cells-10.0", 0, 4 },     { "json-dimm", 0, 21 },           { "json-tdx", 0, 5 },
		{ "json-cells-mem", 0, 6 },             { "words-plain", 0, 7 },          { "words-sev", 0, 9 },
		{ "none-probe-kvm", -ENOENT, 0 },{ "none-probe-tcg", -ENOENT, 0 }, { "none-version", -ENOENT, 0 },
		{ "none-hand", -ENOENT, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_words_ struct words w = { 0 };
		struct argv_guest g = { .uuid = "", .id = 0 };

		words_load(cases[i].args, &w);
		IS_INT(argv_read_guest(w.n, w.v, &g), cases[i].result);
		IS_INT(g.id, cases[i].id);
		IS_STR(g.uuid, cases[i].result ? "" : UUID);
		/* A word that means nothing behind the others is a doubt about all of them. */
		w.v[w.n] = WORD("surplus");
		if (cases[i].result == 0)
			IS_INT(argv_read_guest(w.n + 1, w.v, &g), -EBADMSG);
	}
}

/* Names the domain twice, with a path each; NULL: that option is not there. */
static int guest_of(const char *key_file, const char *monitor)
{
	_cleanup_free_ char *object = NULL, *chardev = NULL;
	struct argv_guest g = { .id = 0 };
	char *argv[16] = { WORD("qemu"), WORD("-name"), WORD("guest=x"), WORD("-machine"), WORD("q35"),
			   WORD("--uuid"), WORD(UUID) };
	int n = 7, r;

	if (key_file && asprintf(&object, "secret,id=masterKey0,format=raw,file=%s", key_file) > 0) {
		argv[n++] = WORD("-object");
		argv[n++] = object;
	}
	if (monitor && asprintf(&chardev, "socket,id=charmonitor,path=%s,server,nowait", monitor) > 0) {
		argv[n++] = WORD("-chardev");
		argv[n++] = chardev;
	}
	r = argv_read_guest(n, argv, &g);
	return r < 0 ? r : g.id;
}

TEST(domain_ids)
{
	static const struct {
		const char *key_file, *monitor;
		int want;
	} cases[] = {
		{ "/var/lib/libvirt/qemu/domain-3-web1/master-key.aes", NULL, 3 },
		{ NULL, "/var/lib/libvirt/qemu/domain-3-web1/monitor.sock", 3 },
		{ "/a/domain-3-web1/master-key.aes", "/a/domain-3-web1/monitor.sock", 3 },
		{ "/a/domain-3-web1/master-key.aes", "/a/domain-4-web1/monitor.sock", -EBADMSG },
		{ "/a/domain-3-4-x/master-key.aes", NULL, 3 },
		{ "/a/domain-3--/master-key.aes", NULL, 3 },
		{ "/a/domain-3-a,,b c;d/master-key.aes", NULL, 3 },
		{ "/a/domain-2147483647-x/master-key.aes", NULL, 2147483647 },
		{ "/a/domain-2147483648-x/master-key.aes", NULL, -EBADMSG },
		{ "/a/domain-99999999999999999999999-x/master-key.aes", NULL, -EBADMSG },
		{ "/a/domain-0-x/master-key.aes", NULL, -EBADMSG },
		{ "/a/domain-03-x/master-key.aes", NULL, -EBADMSG },
		{ "/a/domain--3-x/master-key.aes", NULL, -EBADMSG },
		{ "/a/domain-+3-x/master-key.aes", NULL, -EBADMSG },
		{ "/a/domain-3x/master-key.aes", NULL, -EBADMSG },
		{ "/a/domain-3-/master-key.aes", NULL, -EBADMSG },
		{ "/a/domain-3/master-key.aes", NULL, -EBADMSG },
		{ "/a/domain-/master-key.aes", NULL, -EBADMSG },
		{ "/a/domain-3-x/y/master-key.aes", NULL, -ENOENT },
		{ "/a/domain-3-x/master-key.aes.bak", NULL, -ENOENT },
		{ "/a/other-3-x/master-key.aes", NULL, -ENOENT },
		{ "master-key.aes", NULL, -ENOENT },
		{ "domain-5-x/master-key.aes", NULL, 5 },
		{ "/a/domain-3-web1/master-key.aes", "/srv/other/monitor.sock", 3 },
		{ NULL, NULL, -ENOENT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int got = guest_of(cases[i].key_file, cases[i].monitor);

		if (got != cases[i].want)
			printf("# %s %s\n", cases[i].key_file, cases[i].monitor);
		IS_INT(got, cases[i].want);
	}
}

TEST(walking)
{
	char *argv[] = { WORD("q"), WORD("-S"), WORD("--nographic"), WORD("-append"), WORD("-S"), WORD("-x"),
			 NULL };
	struct argv_option o;
	int pos = 1;

	IS_INT(argv_next(6, argv, &pos, &o), 1);
	OK(streq(o.name, "S") && !o.value);
	IS_INT(argv_next(6, argv, &pos, &o), 1);
	OK(streq(o.name, "nographic") && !o.value);
	IS_INT(argv_next(6, argv, &pos, &o), 1);
	OK(streq(o.name, "append") && streq(o.value, "-S") && o.at == 4);
	IS_INT(argv_next(6, argv, &pos, &o), -EBADMSG); /* without its argument */
	pos = 1;
	IS_INT(argv_next(1, argv, &pos, &o), 0);
	argv[1] = WORD("-");
	IS_INT(argv_next(6, argv, &pos, &o), -EBADMSG);
	argv[1] = WORD("");
	IS_INT(argv_next(6, argv, &pos, &o), -EBADMSG);
	/* Every row of the table is found, i.e. it is sorted: first, last and some between. */
	for (const char *const *f = (const char *const[]){ "-S", "-alt-grab", "-h", "-xen-domid-restrict", "-usb", "-s",
							   "-nodefaults", "-no-user-config", "-daemonize", NULL };
	     *f; f++) {
		argv[1] = WORD(*f);
		pos = 1;
		IS_INT(argv_next(2, argv, &pos, &o), 1);
		OK(!o.value);
	}
}

TEST(reasons_are_one_short_line)
{
	struct kept k = { .text = "" };

	kept_add(&k, "a", "x\ny\t\xc3\xa9 %d; b", 7);
	IS_STR(k.text, "DOMTUNE_KEPT=a: x?y??? 7, b");
	for (int i = 0; i < KEPT_MAX / 10; i++)
		kept_add(&k, "memory.pages", "reason %d", i);
	OK(k.len <= KEPT_MAX && strlen(k.text) == k.len + strlen(KEPT_NAME "="));
	IS_STR(k.text + strlen(k.text) - 5, "; ...");
	k = (struct kept){ .text = "" };
	kept_add(&k, "k", "%0500d", 1);
	OK(k.len < 300);
	for (int i = 0; i < KEPT_MAX / 250; i++)
		kept_add(&k, "k", "%0500d", 1);
	OK(k.len <= KEPT_MAX && k.full);
}

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u; /* Numerical Recipes' constants; the same on every run */
	return *state >> 8;
}

static void mutate(struct words *w, uint32_t *seed)
{
	static const char bytes[] = ",={}[]\":-\\ u0139naextf\x80\xff";
	int at = 1 + (int)(next_random(seed) % (uint32_t)(w->n - 1));
	size_t len = strlen(w->v[at]);

	switch (next_random(seed) % 6) {
	case 0: /* a word less */
		memmove(&w->v[at], &w->v[at + 1], (size_t)(w->n - at) * sizeof(w->v[0]));
		w->n--;
		break;
	case 1: /* two words change places */
	{
		int with = 1 + (int)(next_random(seed) % (uint32_t)(w->n - 1));
		char *word = w->v[at];

		w->v[at] = w->v[with];
		w->v[with] = word;
		break;
	}
	case 2: /* cut */
		if (len)
			w->v[at][next_random(seed) % len] = '\0';
		break;
	default: /* another byte */
		if (len)
			w->v[at][next_random(seed) % len] = bytes[next_random(seed) % (sizeof(bytes) - 1)];
	}
}

/* The options whose values may be changed, and how many of them at most. */
static const struct {
	const char *option;
	int most;
} changes[] = { { "-object", 2 }, { "-machine", 1 }, { "-overcommit", 1 } };

static bool is_changeable(const char *option, int counts[ARRAY_SIZE(changes)])
{
	option += str_starts(option, "--");
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		if (streq(option, changes[i].option))
			return ++counts[i] <= changes[i].most;
	return false;
}

/* Whatever the words: only these values change, and at most one -object is added before the first back end. */
TEST(mutated_command_lines)
{
	static const char *const files[] = { "json-plain", "json-rich", "json-immediate", "words-plain", "words-nodes",
					     "json-kernel", "json-cells" };
	struct wplan_memory memory = { .cell = WPLAN_WHOLE, .page_size = 2 * MIB, .policy = "bind", .prealloc = 1,
				       .prealloc_threads = 2 };
	struct wplan plan = { .memory = &memory, .n_memory = 1, .merge = 0, .lock = 1 };
	uint32_t seed = 1;
	int changed = 0, guests = 0;

	idset_add(&memory.nodes, 1);
	idset_add(&memory.prealloc_cpus, 3);
	memset(&fake, 0, sizeof(fake));
	for (int i = 0; i < 6000; i++) {
		_cleanup_words_ struct words w = { 0 };
		struct argv_edit edit = { 0 };
		struct argv_guest guest;
		struct kept kept = { .text = "" };
		int differ = 0, added, counts[ARRAY_SIZE(changes)] = { 0 };

		words_load(files[(unsigned int)i % ARRAY_SIZE(files)], &w);
		for (uint32_t n = 1 + next_random(&seed) % 4; n && w.n > 2; n--)
			mutate(&w, &seed);
		guests += argv_read_guest(w.n, w.v, &guest) == 0;
		IS_INT(argv_edit_init(&edit, w.n, w.v), 0);
		IS_INT(mem_rewrite(NULL, &plan, 7002000, &fakes, &edit, &kept), 0);
		added = edit.n - w.n;
		OK(added == 0 || added == 2);
		for (int k = 0, from = 0; k < edit.n; k++) {
			if (from < w.n && edit.v[k] == w.v[from]) {
				from++;
			} else if (added && streq(edit.v[k], "-object") && strstr(edit.v[k + 1], "thread-context")) {
				k++;
				added = 0;
			} else {
				OK(is_changeable(w.v[from - 1], counts));
				differ++;
				from++;
			}
		}
		OK(added == 0);
		changed += differ > 0;
		argv_edit_fini(&edit);
	}
	/* The mutations must leave enough to be of use, and break enough. */
	OK(changed > 500 && changed < 5900);
	OK(guests > 500 && guests < 5900);
}

/* What is populated at start has to fit the limits of the groups that the process is in, or the kernel kills it. */
TEST(limit_of_the_group)
{
	static const struct {
		const char *group, *files[6][2];
		const char *why; /* NULL: it fits */
	} cases[] = {
		{ "0::/machine.slice/x.scope/libvirt/emulator", { { NULL } }, NULL },
		{ "0::/", { { NULL } }, NULL },
		{ "torn\n0::\n:memory:\n4:memory", { { NULL } }, NULL },
		{ "0::/machine.slice/x.scope/libvirt/emulator",
		  { { "sys/fs/cgroup/machine.slice/x.scope/memory.max", "max" },
		    { "sys/fs/cgroup/machine.slice/x.scope/memory.current", "4096" } },
		  NULL },
		/* 64 MiB of RAM, 256 MiB of rest. */
		{ "0::/machine.slice/x.scope/libvirt/emulator",
		  { { "sys/fs/cgroup/machine.slice/x.scope/memory.max", "335544319" },
		    { "sys/fs/cgroup/machine.slice/x.scope/memory.current", "0" } },
		  "a memory limit of its control group (want 320 MiB, left 319 MiB)" },
		/* Of those above, too; what is cache gives way. */
		{ "1:name=systemd:/\n0::/machine.slice/x.scope",
		  { { "sys/fs/cgroup/machine.slice/memory.max", "1073741824" },
		    { "sys/fs/cgroup/machine.slice/memory.current", "1063256064" },
		    { "sys/fs/cgroup/machine.slice/memory.stat", "anon 1\nactive_file 5\ninactive_file 10485760" } },
		  "a memory limit of its control group (want 320 MiB, left 20 MiB)" },
		{ "0::/machine.slice/x.scope",
		  { { "sys/fs/cgroup/machine.slice/memory.max", "1073741824" },
		    { "sys/fs/cgroup/machine.slice/memory.current", "1063256064" },
		    { "sys/fs/cgroup/machine.slice/memory.stat", "inactive_file 1048576000" } },
		  NULL },
		{ "8:cpu,cpuacct:/a\n4:memory:/machine/q",
		  { { "sys/fs/cgroup/memory/machine/q/memory.limit_in_bytes", "104857600" },
		    { "sys/fs/cgroup/memory/machine/q/memory.usage_in_bytes", "1048576" },
		    { "sys/fs/cgroup/memory/machine/q/memory.stat", "inactive_file 9\ntotal_inactive_file 0" } },
		  "a memory limit of its control group (want 320 MiB, left 99 MiB)" },
	};
	static const struct tryout_part huge = { .page = 2 * MIB, .bytes = 64 * MIB }, part = { .bytes = 64 * MIB };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = ERR_INIT;
		struct root t;

		root_init(&t);
		root_put(&t, "proc/self/cgroup", cases[i].group);
		for (size_t k = 0; k < ARRAY_SIZE(cases[i].files) && cases[i].files[k][0]; k++)
			root_put(&t, cases[i].files[k][0], cases[i].files[k][1]);
		IS_INT(tryout_kernel.memory(&t.fs, &part, 1, &e), cases[i].why ? -ENOMEM : 0);
		IS_STR(e.text, cases[i].why ? cases[i].why : "");
		IS_INT(tryout_kernel.memory(&t.fs, &huge, 1, &e), 0); /* not counted (hugetlb.c) */
		root_fini(&t);
	}
}

/* In libc's place. */
static unsigned int memfd_flags;
int memfd_create(const char *name, unsigned int how)
{
	memfd_flags = how;
	return (int)syscall(SYS_memfd_create, name, how);
}

/* What QEMU's memory-backend-memfd asks the kernel for (util/memfd.c): sealing is on unless switched off. */
TEST(memfd_is_tried_as_qemu_makes_it)
{
	const struct tryout_part part = { .page = 2 * MIB, .bytes = 2 * MIB };
	_cleanup_(hostfs_fini) struct hostfs fs = HOSTFS_INIT;
	struct err e = ERR_INIT;

	IS_INT(hostfs_init(&fs, NULL, NULL), 0);
	(void)tryout_kernel.pages(&fs, &part, 1, &e); /* whether there are pages or not */
	IS_INT(memfd_flags & (MFD_HUGETLB | MFD_ALLOW_SEALING), MFD_HUGETLB | MFD_ALLOW_SEALING);
	IS_INT(memfd_flags >> MFD_HUGE_SHIFT, 21);
}

TAP_MAIN

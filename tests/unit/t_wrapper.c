/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The wrapper's rewriting, argv in and argv out: command lines in libvirt's spelling (tests/data/argv/, one
 * word per line; the first line says which were recorded from libvirt, and which written by hand), a plan, and what the tryouts would answer on that host.
 * Run from the top directory, or with DOMTUNE_SOURCE set to it.
 */
#include "tests/unit/tap.h"

#include <sys/syscall.h>

#include "common/sbuf.h"

/* The wrapper is one program, not part of the archive that tests are linked with. */
#include "wrapper/argv.c"
#include "wrapper/kept.c"
#include "wrapper/mem.c"
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
	const char *pages, *placement, *memory, *cpus; /* NULL: possible */
	uint64_t seen_page, seen_bytes;
	char seen_policy[16], seen_nodes[64];
} fake;

static int answer(const char *why, struct err *e)
{
	return why ? err_set(e, ENOMEM, "%s", why) : 0;
}

static int fake_pages(const struct hostfs *fs, uint64_t page, uint64_t bytes, const char *policy,
		      const struct idset *nodes, struct err *e)
{
	(void)fs;
	fake.seen_page = page;
	fake.seen_bytes = bytes;
	(void)snprintf(fake.seen_policy, sizeof(fake.seen_policy), "%s", policy);
	(void)idset_format(nodes, fake.seen_nodes, sizeof(fake.seen_nodes));
	return answer(fake.pages, e);
}

static int fake_placement(const char *policy, const struct idset *nodes, struct err *e)
{
	(void)policy;
	(void)nodes;
	return answer(fake.placement, e);
}

static int fake_memory(const struct hostfs *fs, uint64_t bytes, const char *policy, const struct idset *nodes,
		       struct err *e)
{
	(void)fs;
	(void)bytes;
	(void)policy;
	(void)nodes;
	return answer(fake.memory, e);
}

static int fake_cpus(const struct idset *cpus, struct err *e)
{
	(void)cpus;
	return answer(fake.cpus, e);
}

static const struct tryout fakes = {
	.pages = fake_pages,
	.placement = fake_placement,
	.memory = fake_memory,
	.cpus = fake_cpus,
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

static void make_plan(const struct mem_case *c, struct wplan *w)
{
	*w = (struct wplan){ .memory = true, .page_size = c->page, .prealloc = c->prealloc,
			     .prealloc_threads = c->threads };
	if (c->policy)
		(void)snprintf(w->policy, sizeof(w->policy), "%s", c->policy);
	if (c->nodes && idset_parse(c->nodes, &w->nodes) < 0)
		TAP_FAIL("nodes '%s'", c->nodes);
	if (c->cpus && idset_parse(c->cpus, &w->prealloc_cpus) < 0)
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

static void run_case(const struct mem_case *c)
{
	_cleanup_words_ struct words w = { 0 };
	_cleanup_free_ char *got = NULL;
	struct argv_edit edit = { 0 };
	struct kept kept = { .text = "" };
	struct wplan plan;

	words_load(c->args, &w);
	make_plan(c, &plan);
	memset(&fake, 0, sizeof(fake));
	fake.pages = c->pages;
	fake.placement = c->placement;
	fake.memory = c->memory;
	fake.cpus = c->cpu;
	IS_INT(argv_edit_init(&edit, w.n, w.v), 0);
	IS_INT(mem_rewrite(NULL, &plan, c->qemu, &fakes, &edit, &kept), 0);
	got = describe(w.n, w.v, &edit);
	if (!got || strcmp(got, c->want) != 0 || strcmp(kept.len ? kept.text + 13 : "", c->kept ? c->kept : "") != 0)
		printf("# case %s\n", c->args);
	IS_STR(got, c->want);
	IS_STR(kept.len ? kept.text + strlen(KEPT_NAME "=") : "", c->kept ? c->kept : "");
	argv_edit_fini(&edit);
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
	IS_STR(fake.seen_policy, "bind"); /* of the last case: tried on the owner's nodes */
	IS_STR(fake.seen_nodes, "0-1,4");
	IS_INT(fake.seen_bytes, 192 * MIB);
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
		{ "json-cells", ALL("guest has NUMA cells") },
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
	struct wplan plan = { .memory = true, .page_size = 2 * MIB, .prealloc = 0 };
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
		{ "json-cells", 0, 15 },         { "words-plain", 0, 7 },          { "words-sev", 0, 9 },
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
	for (int i = 0; i < 100; i++)
		kept_add(&k, "memory.pages", "reason %d", i);
	OK(k.len <= KEPT_MAX && strlen(k.text) == k.len + strlen(KEPT_NAME "="));
	IS_STR(k.text + strlen(k.text) - 5, "; ...");
	k = (struct kept){ .text = "" };
	kept_add(&k, "k", "%0500d", 1);
	OK(k.len < 300);
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

/* Whatever the words: only the value of one -object changes, and at most one -object is added before it. */
TEST(mutated_command_lines)
{
	static const char *const files[] = { "json-plain", "json-rich", "json-immediate", "words-plain", "words-nodes",
					     "json-kernel" };
	struct wplan plan = { .memory = true, .page_size = 2 * MIB, .policy = "bind", .prealloc = 1,
			      .prealloc_threads = 2 };
	uint32_t seed = 1;
	int changed = 0, guests = 0;

	idset_add(&plan.nodes, 1);
	idset_add(&plan.prealloc_cpus, 3);
	memset(&fake, 0, sizeof(fake));
	for (int i = 0; i < 6000; i++) {
		_cleanup_words_ struct words w = { 0 };
		struct argv_edit edit = { 0 };
		struct argv_guest guest;
		struct kept kept = { .text = "" };
		int differ = 0, added;

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
				OK(streq(w.v[from - 1], "-object") || streq(w.v[from - 1], "--object"));
				differ++;
				from++;
			}
		}
		OK(differ <= 1 && added == 0);
		changed += differ;
		argv_edit_fini(&edit);
	}
	/* The mutations must leave enough to be of use, and break enough. */
	OK(changed > 500 && changed < 5900);
	OK(guests > 500 && guests < 5900);
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
	static const struct idset none;
	_cleanup_(hostfs_fini) struct hostfs fs = HOSTFS_INIT;
	struct err e = ERR_INIT;

	IS_INT(hostfs_init(&fs, NULL, NULL), 0);
	(void)tryout_kernel.pages(&fs, 2 * MIB, 2 * MIB, "", &none, &e); /* whether there are pages or not */
	IS_INT(memfd_flags & (MFD_HUGETLB | MFD_ALLOW_SEALING), MFD_HUGETLB | MFD_ALLOW_SEALING);
	IS_INT(memfd_flags >> MFD_HUGE_SHIFT, 21);
}

TAP_MAIN

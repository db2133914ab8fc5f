/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Each case: the command line, environment and /proc of a QEMU in, what is said of one setting out. */
#include "tap.h"

#include "common/apply.h"
#include "common/exec_result.h"
#include "common/ioprio.h"
#include "common/paths.h"
#include "root_bytes.h"

#define UUID    "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"
#define PID     4711
#define NOT_RUN "the wrapper did not run (see the domain's log)"

struct qemu_case {
	const char *knob, *value;
	const char *object; /* its guest RAM, NULL: none */
	const char *env;    /* DOMTUNE_KEPT, NULL: not there */
	bool ok;
	const char *effective, *why;
};

/* '|' separates the strings. */
static void put_strings(struct root *t, const char *path, const char *text)
{
	char bytes[4096];
	size_t len = strlen(text);

	memcpy(bytes, text, len + 1);
	for (size_t i = 0; i < len; i++)
		if (bytes[i] == '|')
			bytes[i] = '\0';
	root_put_bytes(t, path, bytes, len + 1);
}

static void put_qemu(struct root *t, const char *machine, const char *object, const char *env)
{
	char text[3000];

	(void)snprintf(text, sizeof(text),
		       "/usr/bin/qemu-system-x86_64|-name|guest=web1,debug-threads=on|-S|-object|"
		       "{\"qom-type\":\"secret\",\"id\":\"masterKey0\",\"format\":\"raw\"}|-machine|%s%s%s|-uuid|" UUID,
		       machine, object ? "|-object|" : "", object ? object : "");
	put_strings(t, "proc/4711/cmdline", text);
	(void)snprintf(text, sizeof(text), "LC_ALL=C|HOME=/var/lib%s%s", env ? "|DOMTUNE_KEPT=" : "", env ? env : "");
	put_strings(t, "proc/4711/environ", text);
}

static void setting(struct plan *p, const char *knob, const char *value)
{
	IS_INT(plan_add_setting(p, knob, "", STAGE_EXEC, value, "annotation", "for a test"), 0);
}

/* An undo file with one exec-stage setting. */
static void open_undo(struct root *t, struct undo *u, const char *knob, const char *value)
{
	struct plan p = {.uuid = UUID, .id = 3, .name = strdup("web1"), .profile = strdup("latency")};
	struct err e = ERR_INIT;

	p.wrapper.emulator = strdup("/usr/bin/qemu-system-x86_64");
	setting(&p, knob, value);
	IS_INT(plan_add_setting(&p, "cpu.weight", "", STAGE_STARTED, "200", "annotation", "not of this stage"), 0);
	IS_INT(ledger_make_dirs(&t->fs, &e), 0);
	IS_INT(undo_create(&t->fs, &p, 1, &e), 0);
	IS_INT(undo_open(&t->fs, UUID, true, u, &e), 0);
	if (e.text[0])
		TAP_FAIL("%s", e.text);
	plan_fini(&p);
}

static void is_answer(struct root *t, const struct qemu_case *c)
{
	struct run run = {.pid = PID};
	struct undo u;

	open_undo(t, &u, c->knob, c->value);
	IS_INT(apply_read_exec(&t->fs, &u, &run), 0);
	IS_INT(u.n_execs, 1);
	if (u.n_execs == 1) {
		IS_STR(u.execs[0].knob, c->knob);
		IS_STR(u.execs[0].effective, c->effective);
		IS_STR(u.execs[0].why, c->why);
		IS_INT(u.execs[0].ok, c->ok);
	}
	/* What is answered is not asked again. */
	IS_INT(apply_read_exec(&t->fs, &u, &run), 0);
	IS_INT(u.n_execs, 1);
	undo_fini(&u);
}

#define MACHINE  "pc-q35-7.2,usb=off,dump-guest-core=off,memory-backend=pc.ram"
#define JSON_RAM "{\"qom-type\":\"memory-backend-ram\",\"id\":\"pc.ram\",\"size\":201326592}"
#define JSON_HUGE                                                                                                      \
	"{\"qom-type\":\"memory-backend-memfd\",\"id\":\"pc.ram\",\"size\":201326592,\"hugetlb\":true,"                \
	"\"hugetlbsize\":2097152,\"prealloc\":true,\"host-nodes\":[1],\"policy\":\"bind\",\"share\":false}"
#define PLAIN_HUGE                                                                                                     \
	"memory-backend-memfd,id=pc.ram,size=192M,hugetlb=on,hugetlbsize=2M,host-nodes=1,policy=bind,prealloc=on"

TEST(guest_ram)
{
	static const struct qemu_case cases[] = {
		{"memory.pages", "2M", JSON_HUGE, NULL, true, "2M", ""},
		{"memory.pages", "2M", PLAIN_HUGE, NULL, true, "2M", ""},
		{"memory.pages", "1G", JSON_HUGE, NULL, false, "2M", NOT_RUN},
		{"memory.pages", "2M", JSON_RAM, NULL, false, "default", NOT_RUN},
		{"memory.pages", "2M", JSON_RAM, "memory.pages: only 3 of 96 pages are free on node 1", false,
		 "default", "only 3 of 96 pages are free on node 1"},
		{"memory.pages", "default", JSON_RAM, NULL, true, "default", ""},
		{"memory.pages", "2M", NULL, NULL, false, "default", NOT_RUN},
		/* another object's huge pages are not guest RAM's; an id is not a prefix */
		{"memory.pages", "2M",
		 "{\"qom-type\":\"memory-backend-memfd\",\"id\":\"pc.ram2\",\"hugetlb\":true,"
		 "\"hugetlbsize\":2097152}",
		 NULL, false, "default", NOT_RUN},
		{"memory.pages", "2M", "memory-backend-memfd,id=dimm0,hugetlb=on,hugetlbsize=2M", NULL, false,
		 "default", NOT_RUN},
		{"memory.pages", "2M",
		 "{ \"qom-type\" : \"memory-backend-memfd\", \"id\" : \"pc.ram\", \"hugetlb\" : true, "
		 "\"hugetlbsize\" : 2097152 }",
		 NULL, true, "2M", ""},
		{"memory.pages", "1G", "memory-backend-memfd,id=pc.ram,hugetlb=on,hugetlbsize=1G", NULL, true, "1G",
		 ""},
		{"memory.pages", "1G", "memory-backend-memfd,id=pc.ram,hugetlb=on,hugetlbsize=1073741824", NULL, true,
		 "1G", ""},
		{"memory.pages", "2M", "memory-backend-memfd,id=pc.ram,hugetlb=on", NULL, false, "hugetlb", NOT_RUN},
		{"memory.pages", "2M", "memory-backend-memfd,id=pc.ram,hugetlb=off,hugetlbsize=2M", NULL, false,
		 "default", NOT_RUN},
		{"memory.pages", "2M", "{\"qom-type\":\"memory-backend-memfd\",\"id\":\"pc.ram\",\"hugetlb\":", NULL,
		 false, "default", NOT_RUN},
		/* what the wrapper says of all, where it says nothing of one; nodes go with their placement */
		{"memory.pages", "2M", JSON_RAM, "wrapper: the plan is of another start", false, "default",
		 "the plan is of another start"},
		{"memory.pages", "2M", JSON_RAM, "wrapper: /x is not there any more; memory.pages: no room", false,
		 "default", "no room"},
		{"memory.nodes", "0", JSON_RAM, "memory.pages: no; memory.placement: no such node", false, "",
		 "no such node"},
		{"memory.nodes", "0", JSON_RAM, "wrapper: switched off", false, "", "switched off"},
		{"memory.prealloc", "yes", JSON_HUGE, NULL, true, "yes", ""},
		{"memory.prealloc", "yes", PLAIN_HUGE, NULL, true, "yes", ""},
		{"memory.prealloc", "no", JSON_HUGE, NULL, false, "yes", NOT_RUN},
		{"memory.prealloc", "no", JSON_RAM, NULL, true, "no", ""},
		{"memory.placement", "strict:1", JSON_HUGE, NULL, true, "strict:1", ""},
		{"memory.placement", "strict:1", PLAIN_HUGE, NULL, true, "strict:1", ""},
		{"memory.placement", "preferred:1", JSON_HUGE, NULL, false, "strict:1", NOT_RUN},
		{"memory.placement", "strict", JSON_HUGE, NULL, false, "strict:1", NOT_RUN},
		{"memory.placement", "stric:1", JSON_HUGE, NULL, false, "strict:1", NOT_RUN},
		{"memory.placement", "strict:1", "memory-backend-ram,id=pc.ram,host-nodes=0,policy=bind",
		 "memory.placement: the memory back end has nodes of its own", false, "strict:0",
		 "the memory back end has nodes of its own"},
		{"memory.placement", "interleave:0-1",
		 "{\"qom-type\":\"memory-backend-ram\",\"id\":\"pc.ram\","
		 "\"host-nodes\":[0,1],\"policy\":\"interleave\"}",
		 NULL, true, "interleave:0-1", ""},
		{"memory.placement", "interleave:0-1",
		 "memory-backend-ram,id=pc.ram,host-nodes=0,host-nodes=1,policy=interleave", NULL, true,
		 "interleave:0-1", ""},
		{"memory.placement", "preferred:1", "memory-backend-ram,id=pc.ram,host-nodes.0=1,policy=preferred",
		 NULL, true, "preferred:1", ""},
		{"memory.placement", "strict:1", JSON_RAM, NULL, false, "none", NOT_RUN},
		{"memory.colour", "red", JSON_RAM, NULL, false, "", NOT_RUN},
	};
	struct root t;

	root_init(&t);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put_qemu(&t, MACHINE, cases[i].object, cases[i].env);
		is_answer(&t, &cases[i]);
	}
	root_fini(&t);
}

/* No back end is named: the objects there are (cells, dimms) are not what the setting is about. */
TEST(no_memory_backend)
{
	static const char *const machines[] = {"pc-q35-7.2", "none",
					       "pc,memory-backend=", "pc,x-memory-backend=pc.ram"};
	static const struct qemu_case c = {
		"memory.pages",        "2M", JSON_HUGE, "memory.pages: guest has NUMA cells; x: y", false, "default",
		"guest has NUMA cells"};
	struct root t;

	root_init(&t);
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		put_qemu(&t, machines[i], c.object, c.env);
		is_answer(&t, &c);
	}
	root_fini(&t);
}

/* A guest with cells, looked at as `verify` does (thorough) or `started`. */
struct look_case {
	const char *knob, *value;
	const char *argv; /* behind the first words */
	bool ok;
	const char *effective, *why;
};

static void is_looked(struct root *t, const struct plan *p, const struct look_case *c, bool thorough)
{
	struct setting s = {.knob = (char *)(uintptr_t)c->knob, .value = (char *)(uintptr_t)c->value};
	struct exec_result a;
	struct exec_look *q = NULL;
	char text[3000];

	(void)snprintf(text, sizeof(text), "qemu|-name|guest=web1|%s", c->argv);
	put_strings(t, "proc/4711/cmdline", text);
	put_strings(t, "proc/4711/environ", "LC_ALL=C");
	IS_INT(exec_look(&t->fs, p, PID, thorough, &q), 0);
	if (!q)
		return;
	exec_answer(q, &s, &a);
	IS_STR(a.effective, c->effective);
	IS_STR(a.why, c->why);
	IS_INT(a.ok, c->ok);
	exec_look_free(q);
}

#define CELL(n, more)                                                                                                  \
	"|-object|{\"qom-type\":\"memory-backend-ram\",\"id\":\"ram-node" n "\",\"size\":1048576" more "}|-numa|"      \
	"node,nodeid=" n ",cpus=" n ",memdev=ram-node" n
#define CELL_HUGE(n, more)                                                                                             \
	"|-object|{\"qom-type\":\"memory-backend-memfd\",\"id\":\"ram-node" n "\",\"size\":4194304,"                   \
	"\"hugetlb\":true,\"hugetlbsize\":2097152" more "}|-numa|node,nodeid=" n ",cpus=" n ",memdev=ram-node" n
#define ON(nodes, policy) ",\"host-nodes\":[" nodes "],\"policy\":\"" policy "\""
#define PC                "-machine|pc-q35-7.2,usb=off"

TEST(guest_cells)
{
	static const struct look_case cases[] = {
		{"memory.placement", "strict:0-1", PC CELL("0", ON("0", "bind")) CELL("1", ON("1", "bind")), true,
		 "strict:0-1", ""},
		{"memory.placement", "strict:0-1", PC CELL("0", ON("1", "bind")) CELL("1", ON("0", "bind")), false,
		 "cell 0 strict:1, cell 1 strict:0", NOT_RUN},
		{"memory.placement", "strict:0-1", PC CELL("0", ON("0", "bind")) CELL("1", ""), false,
		 "cell 0 strict:0, cell 1 none", NOT_RUN},
		{"memory.placement", "preferred:0-1", PC CELL("0", ON("0", "bind")) CELL("1", ON("1", "preferred")),
		 false, "cell 0 strict:0, cell 1 preferred:1", NOT_RUN},
		{"memory.pages", "2M", PC CELL_HUGE("0", "") CELL_HUGE("1", ""), true, "2M", ""},
		{"memory.pages", "2M", PC CELL_HUGE("0", "") CELL("1", ""), false, "cell 0 2M, cell 1 default",
		 NOT_RUN},
		{"memory.prealloc", "yes", PC CELL("0", ",\"prealloc\":true") CELL("1", ""), false, "no", NOT_RUN},
		{"memory.prealloc", "yes", PC CELL("0", ",\"prealloc\":true") CELL("1", ",\"prealloc\":true"), true,
		 "yes", ""},
		/* A cell of CPUs alone, and one whose object is not there. */
		{"memory.placement", "strict:0-1",
		 PC CELL("0", ON("0", "bind")) "|-numa|node,nodeid=2,cpus=4|-numa|node,nodeid="
					       "1,memdev=gone",
		 true, "strict:0-1", ""},
	};
	struct placed_cell cells[2] = {{.id = 0, .page_size = 2 << 20}, {.id = 1, .page_size = 2 << 20}};
	struct plan p = {.placement.cells = cells, .placement.n_cells = 2};
	const struct look_case spread = {"memory.placement",
					 "strict:0-1",
					 PC CELL_HUGE("0", ON("0,1", "interleave")) CELL("1", ON("1", "bind")),
					 true,
					 "strict:0-1",
					 ""};
	const struct look_case one_huge = {"memory.pages", "2M", PC CELL_HUGE("0", "") CELL("1", ""), true, "2M", ""};
	struct root t;

	idset_add(&cells[0].nodes, 0);
	idset_add(&cells[1].nodes, 1);
	root_init(&t);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		is_looked(&t, &p, &cases[i], false);
	/* The second on ordinary pages, the first over both nodes and so page by page. */
	cells[1].page_size = 0;
	idset_add(&cells[0].nodes, 1);
	is_looked(&t, &p, &one_huge, false);
	is_looked(&t, &p, &spread, false);
	cells[0].page_size = 0;
	idset_del(&cells[0].nodes, 1);
	is_looked(&t, &p,
		  &(struct look_case){"memory.placement", "strict:0-1", spread.argv, false,
				      "cell 0 interleave:0-1, cell 1 strict:1", NOT_RUN},
		  false);
	root_fini(&t);
}

#define DISK_DEVICE "-device|{\"driver\":\"virtio-blk-pci\",\"drive\":\"libvirt-1-format\",\"id\":\"virtio-disk0\"}"
#define DISK_NODES(format, file)                                                                                       \
	"|-blockdev|{\"node-name\":\"libvirt-1-format\",\"driver\":\"raw\",\"file\":\"libvirt-1-storage\"" format "}"           \
	"|-blockdev|{\"driver\":\"file\",\"filename\":\"/i\",\"node-name\":\"libvirt-1-storage\"" file "}"

/* Reasons of disks: of one property, of the whole disk, of all; and what `auto` stepped down to. */
TEST(disks)
{
	static const struct {
		const char *knob, *value, *argv, *env;
		bool ok;
		const char *effective, *why;
	} cases[] = {
		{"disk.io", "io_uring", DISK_DEVICE DISK_NODES("", ",\"aio\":\"io_uring\""), "LC_ALL=C", true, "io_uring", ""},
		{"disk.io", "io_uring", DISK_DEVICE DISK_NODES("", ""), "LC_ALL=C", false, "threads", NOT_RUN},
		{"disk.io", "auto", DISK_DEVICE DISK_NODES("", ""), "LC_ALL=C", false, "threads", NOT_RUN},
		{"disk.io", "auto", DISK_DEVICE DISK_NODES("", ",\"aio\":\"threads\""),
		 "DOMTUNE_KEPT=disk.io vdaa: no; disk.io vda: io_uring: Operation not permitted, native needs more; x: y", true,
		 "threads (io_uring: Operation not permitted, native needs more)", ""},
		{"disk.io", "native", DISK_DEVICE DISK_NODES("", ""), "DOMTUNE_KEPT=disk.io vda: no libaio; disk vda: x", false,
		 "threads", "no libaio"},
		{"disk.cache", "none", DISK_DEVICE DISK_NODES("", ""), "DOMTUNE_KEPT=disk vda: a -drive; disk.io vdb: y", false,
		 "writeback", "a -drive"},
		{"disk.cache", "none", DISK_DEVICE DISK_NODES("", ",\"cache\":{\"direct\":true,\"no-flush\":false}"),
		 "DOMTUNE_KEPT=wrapper: switched off", false, "writeback, none", "switched off"},
		{"disk.cache", "none",
		 DISK_DEVICE DISK_NODES(",\"cache\":{\"direct\":true}", ",\"cache\":{\"direct\":true,\"no-flush\":false}"),
		 "LC_ALL=C", true, "none", ""},
		{"disk.cache", "unsafe",
		 DISK_DEVICE DISK_NODES(",\"cache\":{\"no-flush\":true}", ",\"cache\":{\"direct\":false,\"no-flush\":true}"),
		 "LC_ALL=C", true, "unsafe", ""},
		{"disk.discard", "unmap", DISK_DEVICE DISK_NODES("", ",\"discard\":\"unmap\""), "LC_ALL=C", false, "ignore",
		 NOT_RUN},
		{"disk.io", "auto", "-device|{\"drive\":\"x\",\"id\":\"virtio-disk00\"}", "LC_ALL=C", false, "",
		 "its block nodes are not on QEMU's command line"},
		{"disk.io", "auto", DISK_DEVICE, "DOMTUNE_KEPT=disk vda: why", false, "", "why"},
	};
	char target[] = "vda", alias[] = "virtio-disk0", path[] = "/i";
	struct plan_disk disk = {target, alias, path};
	const struct plan p = {.disks = &disk, .n_disks = 1};
	struct root t;

	root_init(&t);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct setting s = {.knob = (char *)(uintptr_t)cases[i].knob,
					  .target = (char *)(uintptr_t)"vda",
					  .value = (char *)(uintptr_t)cases[i].value};
		struct exec_look *q = NULL;
		struct exec_result a;
		char text[2000];

		(void)snprintf(text, sizeof(text), "qemu|-name|guest=web1|%s", cases[i].argv);
		put_strings(&t, "proc/4711/cmdline", text);
		put_strings(&t, "proc/4711/environ", cases[i].env);
		IS_INT(exec_look(&t.fs, &p, PID, false, &q), 0);
		exec_answer(q, &s, &a);
		if (a.ok != cases[i].ok || !streq(a.effective, cases[i].effective) || !streq(a.why, cases[i].why))
			printf("# case %zu\n", i);
		IS_STR(a.effective, cases[i].effective);
		IS_STR(a.why, cases[i].why);
		IS_INT(a.ok, cases[i].ok);
		IS_INT(exec_disk_node(q, "vda"), strstr(cases[i].argv, "-blockdev") ? 1 : 0);
		IS_INT(exec_disk_node(q, "vdb"), 0);
		exec_look_free(q);
	}
	root_fini(&t);
}

#define SMAPS(start, end, rights, huge, flags)                                                                         \
	start "-" end " " rights                                                                                       \
	      " 00000000 00:00 0 \nSize: 1 kB\nKernelPageSize: 4 kB\nRss: 900 kB\nAnonHugePages: " huge                \
	      " kB\nShmemPmdMapped: 0 kB\nVmFlags: rd wr mr mw me " flags "\n"

TEST(thorough)
{
	static const char argv[] = PC CELL("0", "") CELL("1", "");
	static const struct {
		const char *smaps;
		struct look_case c;
		bool shallow;
	} cases[] = {
		/* Of what lies around guest RAM nothing is counted: other sizes, code, no access. */
		{SMAPS("7f0000000000", "7f0000100000", "rw-p", "1024", "hg")
			 SMAPS("7f0000200000", "7f0000300000", "rw-p", "512", "hg")
				 SMAPS("7f0000400000", "7f0000500000", "rwxp", "0", "hg")
					 SMAPS("7f0000600000", "7f0000800000", "rw-p", "0", "hg")
						 SMAPS("7f0000900000", "7f0000a00000", "---p", "0", "hg"),
		 {"memory.pages", "thp", argv, true, "thp (74% of 2 MiB)", ""},
		 false},
		{SMAPS("7f0000000000", "7f0000100000", "rw-p", "1024", "hg")
			 SMAPS("7f0000200000", "7f0000300000", "rw-p", "1024", "hg"),
		 {"memory.pages", "thp", argv, true, "thp (100% of 2 MiB)", ""},
		 false},
		{SMAPS("7f0000000000", "7f0000100000", "rw-p", "0", "hg"),
		 {"memory.pages", "thp", argv, true, "thp (0% of 1 MiB)", ""},
		 false},
		{"", {"memory.pages", "thp", argv, true, "thp", ""}, false},
		{"torn-", {"memory.pages", "thp", argv, true, "thp", ""}, false},
		/* `started` does not read it. */
		{SMAPS("7f0000000000", "7f0000100000", "rw-p", "1024", "hg"),
		 {"memory.pages", "thp", argv, true, "thp", ""},
		 true},
		/* What the kernel says, not what QEMU was told. */
		{SMAPS("7f0000000000", "7f0000100000", "rw-p", "0", "hg mg"),
		 {"memory.merge", "yes", argv, true, "yes", ""},
		 false},
		{SMAPS("7f0000000000", "7f0000100000", "rw-p", "0", "hg"),
		 {"memory.merge", "yes", argv, false, "no", NOT_RUN},
		 false},
		{SMAPS("7f0000000000", "7f0000100000", "rw-p", "0", "hg"),
		 {"memory.merge", "no", argv, true, "no", ""},
		 false},
		/* Without back ends: whatever is as large as the guest. */
		{SMAPS("7f0000000000", "7f0000300000", "rw-p", "3072", "hg")
			 SMAPS("7f0000400000", "7f0000500000", "rw-p", "0", "hg"),
		 {"memory.pages", "thp", "-machine|pc|-m|3", true, "thp (100% of 3 MiB)", ""},
		 false},
	};
	const struct plan p = {.memory = 3 << 20};
	struct root t;

	root_init(&t);
	root_put(&t, "sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		root_put(&t, "proc/4711/smaps", cases[i].smaps);
		is_looked(&t, &p, &cases[i].c, !cases[i].shallow);
	}
	/* Kernel and process may go away between two reads. */
	root_remove(&t, "proc/4711/smaps");
	is_looked(&t, &p, &(struct look_case){"memory.pages", "thp", argv, true, "thp", ""}, true);
	root_fini(&t);
}

TEST(locked_and_merged)
{
	static const char mounts[] = "rootfs / rootfs rw 0 0\nhugetlbfs /dev/hugepages hugetlbfs rw 0 0\n"
				     "tmpfs /dev/hugepages/plain tmpfs rw 0 0\n";
#define FILE_AT(path)                                                                                                  \
	PC "|-object|{\"qom-type\":\"memory-backend-file\",\"id\":\"ram-node0\",\"size\":4194304,\"mem-path\":\"" path \
	   "\"}|-numa|node,nodeid=0,memdev=ram-node0"
	static const struct {
		const char *status;
		struct look_case c;
	} cases[] = {
		{"VmLck:\t    2048 kB\n", {"memory.lock", "yes", PC CELL("0", "") CELL("1", ""), true, "yes", ""}},
		{"VmLck:\t    2047 kB\n", {"memory.lock", "yes", PC CELL("0", "") CELL("1", ""), false, "no", NOT_RUN}},
		{"VmLck:\t       0 kB\n", {"memory.lock", "yes", PC CELL_HUGE("0", ""), true, "yes (huge pages)", ""}},
		{"VmLck:\t       0 kB\n",
		 {"memory.lock", "yes", PC CELL_HUGE("0", "") CELL("1", ""), false, "no", NOT_RUN}},
		{"", {"memory.lock", "no", PC CELL("0", ""), true, "no", ""}},
		{"VmLck:\t    1024 kB\n", {"memory.lock", "no", PC CELL("0", ""), false, "yes", NOT_RUN}},
		/* Without back ends the plan knows how much there is: 3 MiB. */
		{"VmLck:\t    3072 kB\n", {"memory.lock", "yes", PC, true, "yes", ""}},
		{"VmLck:\t    2048 kB\n", {"memory.lock", "yes", PC, false, "no", NOT_RUN}},
		{"",
		 {"memory.lock", "yes", FILE_AT("/dev/hugepages/libvirt/qemu/3-web1"), true, "yes (huge pages)", ""}},
		{"", {"memory.lock", "yes", FILE_AT("/dev/hugepages/plain/x"), false, "no", NOT_RUN}},
		{"", {"memory.lock", "yes", FILE_AT("/dev/hugepagesx/3-web1"), false, "no", NOT_RUN}},
		{"", {"memory.merge", "no", FILE_AT("/dev/hugepages/libvirt/qemu/3-web1"), true, "no", ""}},
		{"",
		 {"memory.merge", "yes", FILE_AT("/dev/hugepages/libvirt/qemu/3-web1"), false, "no",
		  "huge pages are not merged"}},
		/* On by default; a back end's own word counts more than the machine's. */
		{"", {"memory.merge", "yes", PC CELL("0", ""), true, "yes", ""}},
		{"", {"memory.merge", "no", PC CELL("0", ""), false, "yes", NOT_RUN}},
		{"", {"memory.merge", "no", PC ",mem-merge=off" CELL("0", ""), true, "no", ""}},
		{"", {"memory.merge", "no", PC ",mem-merge=off" CELL("0", ",\"merge\":true"), false, "yes", NOT_RUN}},
		{"", {"memory.merge", "no", PC ",mem-merge=on" CELL("0", ",\"merge\":false"), true, "no", ""}},
		{"", {"memory.merge", "no", PC ",mem-merge=off", true, "no", ""}},
	};
	const struct plan p = {.memory = 3 << 20};
	struct root t;

	root_init(&t);
	root_put(&t, "proc/4711/mounts", mounts);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		root_put(&t, "proc/4711/status", cases[i].status);
		is_looked(&t, &p, &cases[i].c, false);
	}
	root_fini(&t);
}

TEST(process_policy)
{
	static const struct {
		const char *maps, *value;
		bool ok;
		const char *effective, *why;
	} cases[] = {
		{"55d0 prefer:1 file=/usr/bin/qemu mapped=3 N1=3\n", "preferred:1", true, "preferred:1", ""},
		{"55d0 bind:1 file=/usr/bin/qemu\n", "strict:1", true, "strict:1", ""},
		{"55d0 bind=static:1 file=/usr/bin/qemu\n", "strict:1", true, "strict:1", ""},
		{"55d0 interleave:0-1 anon=1\n", "interleave:1", false, "interleave:0-1", NOT_RUN},
		{"55d0 prefer (many):1 anon=1\n", "preferred:1", true, "preferred:1", ""},
		{"55d0 default file=/usr/bin/qemu:1\n", "preferred:1", false, "none", NOT_RUN},
		{"55d0 prefer:0 anon=1\n55d1 prefer:1 x\n", "preferred:1", false, "preferred:0", NOT_RUN},
		{"", "strict:1", false, "none", NOT_RUN},
		{"torn", "strict:1", false, "none", NOT_RUN},
	};
	struct root t;

	root_init(&t);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct qemu_case c = {"memory.placement", cases[i].value,     NULL,        NULL,
				      cases[i].ok,        cases[i].effective, cases[i].why};

		put_qemu(&t, MACHINE, JSON_RAM, NULL);
		root_put(&t, "proc/4711/numa_maps", cases[i].maps);
		is_answer(&t, &c);
	}
	root_fini(&t);
}

TEST(transparent_pages)
{
	static const struct {
		const char *mode;
		bool ok;
	} cases[] = {{"always [madvise] never\n", true},
		     {"[always] madvise never\n", true},
		     {"always madvise [never]\n", false},
		     {"", false}};
	struct root t;

	root_init(&t);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct qemu_case c = {"memory.pages",
				      "thp",
				      NULL,
				      NULL,
				      cases[i].ok,
				      cases[i].ok ? "thp" : "default",
				      cases[i].ok ? "" : "transparent huge pages are switched off on this host"};

		put_qemu(&t, MACHINE, JSON_RAM, NULL);
		root_put(&t, "sys/kernel/mm/transparent_hugepage/enabled", cases[i].mode);
		is_answer(&t, &c);
	}
	root_fini(&t);
}

TEST(affinity)
{
	static const struct {
		const char *status, *value;
		bool ok;
		const char *effective, *why;
	} cases[] = {
		{"Name:\tqemu\nCpus_allowed:\t3\nCpus_allowed_list:\t0-1\nMems_allowed:\t1\n", "0-1", true, "0-1", ""},
		{"Cpus_allowed_list:\t0\n", "0-1", true, "0", ""},
		{"Cpus_allowed_list:\t0-7\n", "0-1", false, "0-7", NOT_RUN},
		{"Name:\tqemu\n", "0-1", false, "", "its affinity cannot be read"},
	};
	struct root t;

	root_init(&t);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct qemu_case c = {"cpu.emulator", cases[i].value,     NULL,        NULL,
				      cases[i].ok,    cases[i].effective, cases[i].why};

		put_qemu(&t, MACHINE, JSON_RAM, NULL);
		root_put(&t, "proc/4711/status", cases[i].status);
		is_answer(&t, &c);
	}
	root_fini(&t);
}

/* Of a process of this host: below another root a number would name a stranger. */
TEST(io_priority)
{
	static const char *const words[] = {"be:3", "idle", "none"};
	struct plan p = {.id = -1};
	struct exec_look *q;
	struct exec_result a = {0};
	struct hostfs fs = HOSTFS_INIT;
	struct root t;

	IS_INT(plan_add_setting(&p, "io.priority", "", STAGE_EXEC, "be:3", "x", "x"), 0);
	IS_INT(hostfs_init(&fs, NULL, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		memset(&a, 0, sizeof(a));
		IS_INT(ioprio_set_thread(0, ioprio_parse(words[i])), 0);
		IS_INT(exec_look(&fs, &p, getpid(), false, &q), 0);
		exec_answer(q, &p.settings[0], &a);
		exec_look_free(q);
		IS_STR(a.effective, words[i]);
		IS_INT(a.ok, i == 0);
		IS_INT(!*a.why, i == 0);
	}
	hostfs_fini(&fs);
	root_init(&t);
	put_qemu(&t, MACHINE, JSON_RAM, NULL);
	memset(&a, 0, sizeof(a));
	IS_INT(exec_look(&t.fs, &p, PID, false, &q), 0);
	exec_answer(q, &p.settings[0], &a);
	exec_look_free(q);
	OK(!a.ok);
	IS_STR(a.why, "its I/O priority cannot be read");
	root_fini(&t);
	plan_fini(&p);
}

/* Reasons come from QEMU's environment, which QEMU can write: text, cut and made harmless. */
TEST(reasons)
{
	static const struct {
		const char *env, *why;
	} cases[] = {
		{"memory.pages: a", "a"},
		{"cpu.emulator: b; memory.pages: a: b", "a: b"},
		{"memory.pagesx: a", "the wrapper left it as it was"},
		{"x memory.pages: a", "the wrapper left it as it was"},
		{"memory.placement: a; ...", "the wrapper left it as it was"},
		{"", "the wrapper left it as it was"},
		{";;;", "the wrapper left it as it was"},
		{"memory.pages:", "the wrapper left it as it was"},
		{"memory.pages: \x1b[31mred\n\ttext\x7f", "?[31mred??text?"},
	};
	char long_env[1200] = "memory.pages: ";
	struct qemu_case c = {"memory.pages", "2M", NULL, NULL, false, "default", NULL};
	char expected[256];
	struct root t;

	root_init(&t);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put_qemu(&t, MACHINE, JSON_RAM, cases[i].env);
		c.why = cases[i].why;
		is_answer(&t, &c);
	}
	memset(long_env + strlen(long_env), 'r', sizeof(long_env) - strlen(long_env) - 1);
	memset(expected, 'r', sizeof(expected) - 1);
	expected[sizeof(expected) - 1] = '\0';
	put_qemu(&t, MACHINE, JSON_RAM, long_env);
	c.why = expected;
	is_answer(&t, &c);

	root_remove(&t, "proc/4711/environ");
	c.why = "QEMU has it otherwise, and its environment cannot be read";
	is_answer(&t, &c);
	root_fini(&t);
}

TEST(process_has_gone)
{
	struct run run = {.pid = PID};
	struct undo u;
	struct root t;

	root_init(&t);
	open_undo(&t, &u, "memory.pages", "2M");
	IS_INT(apply_read_exec(&t.fs, &u, &run), -ESRCH);
	IS_INT(u.n_execs, 0);
	undo_fini(&u);
	root_fini(&t);
}

/* Command lines that are cut anywhere. */
TEST(torn_command_line)
{
	static const char whole[] = "qemu\0-machine\0pc,memory-backend=pc.ram\0-object\0" JSON_HUGE;
	struct run run = {.pid = PID};
	struct undo u;
	struct root t;

	root_init(&t);
	for (size_t n = 0; n <= sizeof(whole); n++) {
		root_put_bytes(&t, "proc/4711/cmdline", whole, n < sizeof(whole) ? n : sizeof(whole));
		open_undo(&t, &u, "memory.pages", "2M");
		IS_INT(apply_read_exec(&t.fs, &u, &run), 0);
		IS_INT(u.n_execs, 1);
		undo_fini(&u);
	}
	root_fini(&t);
}

TAP_MAIN

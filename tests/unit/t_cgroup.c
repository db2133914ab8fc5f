/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tap.h"

#include "common/cgroup.h"
#include "common/paths.h"
#include "root_bytes.h"

#define SCOPE "machine-qemu\\x2d3\\x2dweb1.scope"

TEST(weights_become_shares)
{
	static const struct {
		uint64_t weight, shares;
	} cases[] = {
		{0, 2},      {1, 10},         {100, 1024},     {99, 1013},
		{200, 2048}, {10000, 102400}, {10001, 262144}, {UINT64_MAX, 262144},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		IS_INT(cgroup_shares_of_weight(cases[i].weight), cases[i].shares);
}

/* bfq's own, and what systemd has to be told for it: 100 + (w - 100) * 900 / 9900 of that has to be it. */
TEST(weights_become_bfqs)
{
	static const struct {
		uint64_t weight, bfq, unit;
	} cases[] = {{0, 1, 1}, {1, 1, 1}, {50, 50, 50}, {100, 100, 100}, {101, 101, 111}, {400, 400, 3400}, {1000, 1000, 10000}, {10000, 1000, 10000}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		IS_INT(cgroup_bfq_of_weight(cases[i].weight), cases[i].bfq);
		IS_INT(cgroup_unit_of_bfq(cases[i].weight), cases[i].unit);
		IS_INT(cases[i].unit <= 100 ? cases[i].unit : 100 + (cases[i].unit - 100) * 900 / 9900, cases[i].bfq);
	}
}

TEST(groups_of_threads_are_known)
{
	static const struct {
		const char *path, *group, *scope;
		bool thread;
	} cases[] = {
		{"sys/fs/cgroup/cpu/machine/qemu-1-x.libvirt-qemu/vcpu0",
		 "sys/fs/cgroup/cpu/machine/qemu-1-x.libvirt-qemu", "", true},
		{"a/emulator", "a", "", true},
		{"a/iothread12", "a", "", true},
		{"a/vcpu", "a/vcpu", "", false},
		{"a/vcpu1x", "a/vcpu1x", "", false},
		{"a/emulator2", "a/emulator2", "", false},
		{"a/vcpu0/b", "a/vcpu0/b", "", false},
		{"emulator", "emulator", "", false}, /* not below anything: not libvirt's */
		{"sys/fs/cgroup/machine.slice/" SCOPE "/libvirt/vcpu7", "sys/fs/cgroup/machine.slice/" SCOPE "/libvirt",
		 SCOPE, true},
		{"sys/fs/cgroup/machine.slice/" SCOPE "/emulator", "sys/fs/cgroup/machine.slice/" SCOPE, SCOPE, true},
		{"u/session-3.scope/x/" SCOPE "/libvirt", "u/session-3.scope/x/" SCOPE "/libvirt", SCOPE, false},
		{"a/.scope/vcpu1", "a/.scope", "", true},
		{"", "", "", false},
	};
	char group[1024], scope[1024];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cgroup_domain_group(cases[i].path, group, scope);
		IS_STR(group, cases[i].group);
		IS_STR(scope, cases[i].scope);
		IS_INT(cgroup_is_thread_group(cases[i].path), cases[i].thread);
	}
}

static const struct cgroup_layout layout_v1 = {
	.at = {[CGROUP_CPU] = {1, "sys/fs/cgroup/cpu,cpuacct"},
	       [CGROUP_CPUSET] = {1, "sys/fs/cgroup/cpuset"},
	       [CGROUP_MEMORY] = {1, "sys/fs/cgroup/memory"},
	       [CGROUP_IO] = {1, "sys/fs/cgroup/blkio"}},
	.unified = "sys/fs/cgroup/unified",
};
static const struct cgroup_layout layout_v2 = {
	.at = {[CGROUP_CPU] = {2, "sys/fs/cgroup"},
	       [CGROUP_CPUSET] = {2, "sys/fs/cgroup"},
	       [CGROUP_MEMORY] = {2, "sys/fs/cgroup"}},
	.unified = "sys/fs/cgroup",
};

TEST(proc_cgroup_is_read)
{
	static const struct {
		const struct cgroup_layout *layout;
		const char *text, *cpu, *cpuset, *memory, *io;
	} cases[] = {
		{&layout_v1, "6:memory:/machine/q\n5:cpuset:/machine/q/vcpu0\n4:cpuacct,cpu:/machine/q/vcpu0\n0::/u\n",
		 "sys/fs/cgroup/cpu,cpuacct/machine/q/vcpu0", "sys/fs/cgroup/cpuset/machine/q/vcpu0",
		 "sys/fs/cgroup/memory/machine/q", ""},
		{&layout_v2, "0::/machine.slice/" SCOPE "/libvirt/vcpu0\n",
		 "sys/fs/cgroup/machine.slice/" SCOPE "/libvirt/vcpu0",
		 "sys/fs/cgroup/machine.slice/" SCOPE "/libvirt/vcpu0",
		 "sys/fs/cgroup/machine.slice/" SCOPE "/libvirt/vcpu0", ""},
		/* the path is what is behind the second colon */
		{&layout_v1, "2:blkio:/a:b:c\n1:name=systemd:/x\n", "", "", "", "sys/fs/cgroup/blkio/a:b:c"},
		{&layout_v1, "2:cpuset:/\n", "", "sys/fs/cgroup/cpuset", "", ""},
		/* outside of our cgroup namespace */
		{&layout_v2, "0::/../../x\n", "", "", "", ""},
		{&layout_v2, "0::/x/..\n", "", "", "", ""},
		{&layout_v2, "0::/a..b/..c\n", "sys/fs/cgroup/a..b/..c", "sys/fs/cgroup/a..b/..c",
		 "sys/fs/cgroup/a..b/..c", ""},
		/* a name is not a prefix; the v2 line is no v1 line */
		{&layout_v1, "2:cpusetx:/a\n3:cpuacct:/b\n0::/c\n", "", "", "", ""},
		{&layout_v2, "1:cpu:/a\n", "", "", "", ""},
		{&layout_v1, "", "", "", "", ""},
		{&layout_v1, "nonsense\n2:cpu\n3:cpuset:relative\n::\n", "", "", "", ""},
	};
	struct cgroup_paths p;
	char text[512];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memcpy(text, cases[i].text, strlen(cases[i].text) + 1);
		IS_INT(cgroup_paths_parse(text, cases[i].layout, &p), 0);
		IS_STR(p.at[CGROUP_CPU], cases[i].cpu);
		IS_STR(p.at[CGROUP_CPUSET], cases[i].cpuset);
		IS_STR(p.at[CGROUP_MEMORY], cases[i].memory);
		IS_STR(p.at[CGROUP_IO], cases[i].io);
	}
}

TEST(long_group_is_refused)
{
	static char text[2048];
	struct cgroup_paths p;

	memset(text, 'a', sizeof(text) - 1);
	memcpy(text, "0::/", 4);
	IS_INT(cgroup_paths_parse(text, &layout_v2, &p), -E2BIG);
	memcpy(text, "0::/", 4);                         /* parsing cuts the text */
	text[1023 - strlen("sys/fs/cgroup") + 3] = '\0'; /* three bytes are before the path */
	IS_INT(cgroup_paths_parse(text, &layout_v2, &p), 0);
	IS_INT(strlen(p.at[CGROUP_CPU]), 1023);
}

static const char mounts_v1[] = "tmpfs /sys/fs/cgroup tmpfs ro,mode=755 0 0\n"
				"cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nsdelegate 0 0\n"
				"cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd 0 0\n"
				"cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"
				"cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset,clone_children 0 0\n"
				"cgroup /mnt/again cgroup rw,cpuset 0 0\n"
				"cgroup /sys/fs/my\\040blkio cgroup rw,blkio 0 0\n";

TEST(mounts_v1_and_hybrid)
{
	struct cgroup_layout l, found;
	struct root t;

	root_init(&t);
	root_put(&t, "proc/mounts", mounts_v1);
	root_put(&t, "sys/fs/cgroup/unified/cgroup.controllers", "hugetlb memory cpuset\n");
	IS_INT(cgroup_layout_mounts(&t.fs, &l), 0);
	IS_INT(l.at[CGROUP_CPU].version, 1);
	IS_STR(l.at[CGROUP_CPU].path, "sys/fs/cgroup/cpu,cpuacct");
	IS_INT(l.at[CGROUP_CPUSET].version, 1);
	IS_STR(l.at[CGROUP_CPUSET].path, "sys/fs/cgroup/cpuset");
	IS_INT(l.at[CGROUP_MEMORY].version, 2);
	IS_STR(l.at[CGROUP_MEMORY].path, "sys/fs/cgroup/unified");
	IS_INT(l.at[CGROUP_IO].version, 1);
	IS_STR(l.at[CGROUP_IO].path, "sys/fs/my blkio");
	IS_STR(l.unified, "sys/fs/cgroup/unified");
	IS_INT(cgroup_layout_find(&t.fs, &found, NULL), 0);
	IS_INT(memcmp(&l, &found, sizeof(l)), 0);
	root_fini(&t);
}

TEST(mounts_v2)
{
	struct cgroup_layout l;
	struct root t;

	root_init(&t);
	root_put(&t, "proc/mounts", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n");
	root_put(&t, "sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
	IS_INT(cgroup_layout_mounts(&t.fs, &l), 0);
	for (unsigned int c = 0; c < CGROUP_CONTROLLER_MAX; c++) {
		IS_INT(l.at[c].version, 2);
		IS_STR(l.at[c].path, "sys/fs/cgroup");
	}
	root_remove(&t, "sys/fs/cgroup/cgroup.controllers");
	IS_INT(cgroup_layout_mounts(&t.fs, &l), 0);
	IS_INT(l.at[CGROUP_CPU].version, 0);
	IS_STR(l.unified, "sys/fs/cgroup");
	root_fini(&t);
}

TEST(no_mounts)
{
	static const char *const texts[] = {"", "proc /proc proc rw 0 0\n", "\n\n", "cgroup\n", "garbage"};
	struct cgroup_layout l = {.unified = "untouched"};
	struct err e = ERR_INIT;
	struct root t;

	root_init(&t);
	IS_INT(cgroup_layout_find(&t.fs, &l, &e), -ENOENT);
	OK(e.text[0] != '\0');
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		root_put(&t, "proc/mounts", texts[i]);
		IS_INT(cgroup_layout_mounts(&t.fs, &l), -ENOENT);
	}
	IS_STR(l.unified, "untouched");
	root_fini(&t);
}

/* A mount point that does not fit is as good as none. */
TEST(long_mount_point)
{
	struct cgroup_layout l;
	char line[700] = "cgroup /", rest[] = " cgroup rw,cpu 0 0\n";
	struct root t;

	memset(line + 8, 'x', 300);
	memcpy(line + 308, rest, sizeof(rest));
	root_init(&t);
	root_put(&t, "proc/mounts", line);
	IS_INT(cgroup_layout_mounts(&t.fs, &l), 0);
	IS_INT(l.at[CGROUP_CPU].version, 0);
	root_fini(&t);
}

TEST(cache_is_of_one_boot)
{
	struct cgroup_layout l, loaded;
	struct root t;
	_cleanup_free_ char *text = NULL;

	root_init(&t);
	root_put(&t, "proc/mounts", mounts_v1);
	root_put(&t, "proc/sys/kernel/random/boot_id", "b007b007-0000-4000-8000-000000000001\n");
	root_put(&t, "sys/fs/cgroup/unified/cgroup.controllers", "\n");
	root_put(&t, "sys/fs/cgroup/cpu,cpuacct/cpu.shares", "1024\n");
	root_put(&t, "sys/fs/cgroup/cpuset/cpuset.cpus", "0\n");
	root_put(&t, "sys/fs/my blkio/x", "\n");
	root_put(&t, PATH_CACHE "/other", "");
	IS_INT(cgroup_layout_load(&t.fs, &loaded), -ENOENT);
	IS_INT(cgroup_layout_mounts(&t.fs, &l), 0);
	IS_INT(cgroup_layout_save(&t.fs, &l), 0);
	IS_INT(cgroup_layout_load(&t.fs, &loaded), 0);
	IS_INT(memcmp(&l, &loaded, sizeof(l)), 0);

	/* torn, edited, empty */
	text = strdup(root_get(&t, PATH_CACHE "/cgroup"));
	for (size_t n = 0; text && n + 1 < strlen(text); n += 7) {
		root_put_bytes(&t, PATH_CACHE "/cgroup", text, n);
		IS_INT(cgroup_layout_load(&t.fs, &loaded), -ENOENT);
	}
	root_put(&t, PATH_CACHE "/cgroup", text ? text : "");
	IS_INT(cgroup_layout_load(&t.fs, &loaded), 0);

	root_put(&t, "proc/sys/kernel/random/boot_id", "b007b007-0000-4000-8000-000000000002\n");
	IS_INT(cgroup_layout_load(&t.fs, &loaded), -ENOENT);
	root_put(&t, "proc/sys/kernel/random/boot_id", "b007b007-0000-4000-8000-000000000001\n");
	root_remove(&t, "sys/fs/cgroup/cpuset/cpuset.cpus");
	root_remove(&t, "sys/fs/cgroup/cpuset");
	IS_INT(cgroup_layout_load(&t.fs, &loaded), -ENOENT);
	root_fini(&t);
}

TEST(no_such_thread)
{
	struct cgroup_paths p;
	struct root t;

	root_init(&t);
	IS_INT(cgroup_paths_of(&t.fs, &layout_v1, 4711, &p), -ESRCH);
	IS_INT(cgroup_paths_of_thread(&t.fs, &layout_v1, 4711, 4712, &p), -ESRCH);
	root_put(&t, "proc/4711/task/4712/cgroup", "3:cpuset:/a/vcpu1\n");
	IS_INT(cgroup_paths_of_thread(&t.fs, &layout_v1, 4711, 4712, &p), 0);
	IS_STR(p.at[CGROUP_CPUSET], "sys/fs/cgroup/cpuset/a/vcpu1");
	root_fini(&t);
}

/* libcgroup and our reader agree on the machine that runs this; libcgroup prints nothing, whatever it is told. */
TEST(libcgroup_agrees)
{
	struct cgroup_layout asked, read_;
	struct hostfs fs = HOSTFS_INIT;
	struct cgroup_paths p;
	struct stat st;
	struct err e = ERR_INIT;
	FILE *out = tmpfile();
	int saved = dup(1), r;

	IS_INT(hostfs_init(&fs, NULL, NULL), 0);
	if (cgroup_layout_mounts(&fs, &read_) < 0) {
		(void)close(saved);
		(void)fclose(out);
		hostfs_fini(&fs);
		SKIP("no cgroup file system here");
	}
	(void)setenv("CGROUP_LOGLEVEL", "DEBUG", 1);
	(void)fflush(stdout);
	(void)dup2(fileno(out), 1);
	r = cgroup_layout_find(&fs, &asked, &e);
	(void)fflush(stdout);
	(void)dup2(saved, 1);
	(void)close(saved);
	IS_INT(r, 0);
	IS_INT(fstat(fileno(out), &st), 0);
	IS_INT(st.st_size, 0);
	(void)fclose(out);
	for (unsigned int c = 0; c < CGROUP_CONTROLLER_MAX; c++) {
		IS_INT(asked.at[c].version, read_.at[c].version);
		IS_STR(asked.at[c].path, read_.at[c].path);
	}
	IS_STR(asked.unified, read_.unified);

	IS_INT(cgroup_paths_of(&fs, &asked, getpid(), &p), 0);
	for (unsigned int c = 0; c < CGROUP_CONTROLLER_MAX; c++)
		OK(p.at[c][0] == '\0' || hostfs_exists(&fs, "%s/cgroup.procs", p.at[c]));
	hostfs_fini(&fs);
}

TAP_MAIN

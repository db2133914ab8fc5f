/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The back end of classes over plain files: its objects, what it reads, and that such a tree is left as it is. How it writes
 * is seen in tests/contract/t_class.py, which has a file system that behaves as resctrl does.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>

#include "common/backend.h"
#include "common/resctrl.h"

#include "root_state.h"

#define UUID  "11111111-2222-4333-8444-555555555555"
#define GROUP RESCTRL_DIR "/domtune-" UUID
#define LINE  GROUP "/schemata "
#define TASK  RESCTRL_DIR "/tasks "

static void put_host(struct root *r)
{
	root_put(r, RESCTRL_DIR "/schemata", "    L3:0=0ff;8=7ff\n    MB:0=100;8=100\n");
	root_put(r, RESCTRL_DIR "/info/L3/cbm_mask", "7ff\n");
	root_put(r, RESCTRL_DIR "/info/last_cmd_status", "Out of CLOSIDs\n");
	root_put(r, "proc/100/stat", "100 (x) S 1 1 1 0 -1 4 1 2 3 4 5 6 7 8 20 0 3 0 900 1000 10 1\n");
	root_put(r, "proc/100/task/100/stat", "100 (x) S 1 1 1 0 -1 4 1 2 3 4 5 6 7 8 20 0 3 0 900 1000 10 1\n");
	root_put(r, "proc/100/task/101/stat", "101 (x) S 1 1 1 0 -1 4 1 2 3 4 5 6 7 8 20 0 3 0 905 1000 10 1\n");
}

static int read_into(struct root *r, const char *object, char buf[256])
{
	int n = be_resctrl.read(&r->fs, object, buf, 256);

	if (n < 0)
		buf[0] = '\0';
	IS_INT(n < 0 ? 0 : (int)strlen(buf), n < 0 ? 0 : n);
	return n < 0 ? n : 0;
}

#define READS(object, want)                                                                                            \
	do {                                                                                                           \
		char buf_[256];                                                                                        \
		IS_INT(read_into(&r, object, buf_), 0);                                                                \
		IS_STR(buf_, want);                                                                                    \
	} while (0)
#define FAILS(object, code)                                                                                            \
	do {                                                                                                           \
		char buf_[256];                                                                                        \
		IS_INT(read_into(&r, object, buf_), code);                                                             \
		IS_INT(be_resctrl.probe(&r.fs, object), code);                                                         \
	} while (0)

TEST(objects)
{
	static const char *const bad[] = {
		"", "sys/fs/resctrl", "sys/fs/resctrl/", "sys/fs/resctrl/p0", "sys/fs/resctrl/domtune-x", "proc/1",
		GROUP "/", GROUP "/mode", LINE "L3", LINE ":0", LINE "L3:", LINE "L3:x", LINE "L2:0", LINE "L3:0;1",
		LINE "L3:4294967296", RESCTRL_DIR "/schemata MB:0", RESCTRL_DIR "/schemata x:0", TASK "100", TASK "100:900",
		TASK "100:900/101", TASK "100:900/0:905", TASK "x:900/101:905", TASK "100:900/101:905/more",
		RESCTRL_DIR "/../x", RESCTRL_DIR "/domtune-" UUID "0",
	};
	ROOT(r);

	put_host(&r);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char buf[64];

		IS_INT(be_resctrl.read(&r.fs, bad[i], buf, sizeof(buf)), -EINVAL);
		IS_INT(be_resctrl.write(&r.fs, bad[i], ""), -EINVAL);
		IS_INT(be_resctrl.probe(&r.fs, bad[i]), -EINVAL);
	}
}

TEST(reading)
{
	ROOT(r);

	FAILS(GROUP, -ENOENT);
	FAILS(LINE "L3:0", -ENOENT);
	put_host(&r);
	READS(GROUP, "");
	READS(LINE "L3:0", "");
	READS(LINE "MB:0", "");
	READS(RESCTRL_DIR "/schemata L3:0", "0-7");
	READS(RESCTRL_DIR "/schemata L3:8", "0-10");
	root_put(&r, GROUP "/schemata", "    L3:0=700;8=7ff\n    MB:0= 50;8=100\n");
	READS(GROUP, "there");
	READS(LINE "L3:0", "8-10");
	READS(LINE "L3:8", "");
	READS(LINE "MB:0", "50");
	READS(LINE "MB:8", "");
	IS_INT(read_into(&r, LINE "L3:5", (char[256]){0}), -ENOENT); /* a cache whose CPUs are all offline */
	/* What is exclusive is in no new group. */
	root_put(&r, RESCTRL_DIR "/p0/schemata", "    L3:0=700;8=0f0\n    MB:0=100;8=100\n");
	root_put(&r, RESCTRL_DIR "/p0/mode", "exclusive\n");
	root_put(&r, GROUP "/schemata", "    L3:0=0ff;8=00f\n    MB:0= 50;8=100\n");
	READS(LINE "L3:0", "");
	READS(LINE "L3:8", ""); /* the first run of what is left */
	root_put(&r, RESCTRL_DIR "/p0/mode", "shareable\n");
	READS(LINE "L3:0", "0-7");
}

TEST(threads)
{
	ROOT(r);

	put_host(&r);
	READS(TASK "100:900/101:905", "/");
	root_put(&r, RESCTRL_DIR "/p0/tasks", "7\n1011\n101\n");
	READS(TASK "100:900/101:905", "p0");
	READS(TASK "100:900/100:900", "/");
	/* Since Linux 5.6 the thread says it itself. */
	root_put(&r, "proc/100/task/101/cpu_resctrl_groups", "res:/\nmon:\n");
	READS(TASK "100:900/101:905", "/");
	root_put(&r, "proc/100/task/101/cpu_resctrl_groups", "res:/\nmon:m0\n");
	READS(TASK "100:900/101:905", "/m0");
	root_put(&r, "proc/100/task/101/cpu_resctrl_groups", "res:p0\nmon:m1\n");
	READS(TASK "100:900/101:905", "p0/m1");
	root_put(&r, "proc/100/task/101/cpu_resctrl_groups", "res:p0\nmon:\n");
	READS(TASK "100:900/101:905", "p0");
	/* Its number is another's by now. */
	FAILS(TASK "100:900/101:906", -ENOENT);
	FAILS(TASK "100:901/101:905", -ENOENT);
	FAILS(TASK "100:900/102:905", -ENOENT);
	IS_INT(be_resctrl.write(&r.fs, TASK "100:900/101:906", "/"), -ENOENT);
	IS_INT(be_resctrl.write(&r.fs, TASK "100:900/101:905", ""), -EINVAL);
	IS_INT(be_resctrl.write(&r.fs, TASK "100:900/101:905", "p0/m1/x"), -EINVAL);
	IS_INT(be_resctrl.write(&r.fs, TASK "100:900/101:905", ".."), -EINVAL);
	IS_INT(be_resctrl.write(&r.fs, TASK "100:900/101:905", "p1"), -ENOENT);
}

static void count_heir(void *data, const char *object)
{
	IS_STR(object, TASK "100:900/101:905");
	++*(int *)data;
}

TEST(heirs)
{
	ROOT(r);
	char source[128];
	int n = 0;

	put_host(&r);
	OK(be_resctrl.source(TASK "100:900/101:905", source, sizeof(source)));
	IS_STR(source, TASK "100:900/100:900");
	OK(!be_resctrl.source(TASK "100:900/100:900", source, sizeof(source)));
	OK(!be_resctrl.source(GROUP, source, sizeof(source)));
	IS_INT(be_resctrl.heirs(&r.fs, TASK "100:900/100:900", count_heir, &n), 0);
	IS_INT(n, 1);
	IS_INT(be_resctrl.heirs(&r.fs, GROUP, count_heir, &n), 0);
	IS_INT(n, 1);
}

TEST(comparing)
{
	static const struct {
		const char *object, *a, *b;
		bool same;
	} cases[] = {
		{GROUP, "there", "there", true},          {GROUP, "there", "", false},
		{LINE "L3:0", "4-7", "4,5,6,7", true},    {LINE "L3:0", "4-7", "4-6", false},
		{LINE "L3:0", "", "", true},              {LINE "L3:0", "0", "", false},
		{LINE "L3:0", "x", "x", false},           {LINE "MB:0", "50", "050", true},
		{LINE "MB:0", "50", "", false},           {RESCTRL_DIR "/schemata L3:0", "0-3", "0-3", true},
		{TASK "1:1/1:1", "/", "/", true},         {TASK "1:1/1:1", "/", "/m0", false},
		{TASK "1:1/1:1", "p0", "p0/m0", false},   {TASK "1:1/1:1", "domtune-" UUID, "domtune-" UUID "/m0", true},
		{TASK "1:1/1:1", "domtune-" UUID, "domtune-" UUID "0", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		IS_INT(be_resctrl.same(cases[i].object, cases[i].a, cases[i].b), cases[i].same);
		IS_INT(be_resctrl.same(cases[i].object, cases[i].b, cases[i].a), cases[i].same);
	}
}

/* A captured tree: mkdir makes nothing but a directory there, which is taken away again. */
TEST(no_resctrl)
{
	ROOT(r);
	char reason[64];

	put_host(&r);
	IS_INT(be_resctrl.write(&r.fs, GROUP, "there"), -EOPNOTSUPP);
	OK(!hostfs_exists(&r.fs, GROUP));
	be_resctrl.reason(GROUP, reason, sizeof(reason));
	IS_STR(reason, "Out of CLOSIDs"); /* whatever was there */
	be_resctrl.reason(LINE "L3:0", reason, sizeof(reason));
	IS_STR(reason, "");
	IS_INT(be_resctrl.write(&r.fs, GROUP, ""), 0);
	IS_INT(be_resctrl.write(&r.fs, GROUP, "x"), -EINVAL);
	IS_INT(be_resctrl.write(&r.fs, LINE "L3:0", ""), 0); /* not there, so not restricted */
	IS_INT(be_resctrl.write(&r.fs, LINE "L3:0", "4-7"), -ENOENT);
	IS_INT(be_resctrl.write(&r.fs, LINE "MB:0", "101"), -EINVAL);
	IS_INT(be_resctrl.write(&r.fs, RESCTRL_DIR "/schemata L3:0", ""), -EINVAL);
	IS_STR(root_get(&r, RESCTRL_DIR "/schemata"), "    L3:0=0ff;8=7ff\n    MB:0=100;8=100\n");
}

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A hundred threads' writes, and the ledger's lock is held meanwhile. */
TEST(somebody_holds_the_lock)
{
	ROOT(r);
	int64_t begin = now_ms();
	char reason[64];
	int lock;

	put_host(&r);
	lock = openat(r.fs.fd, RESCTRL_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	OK(lock >= 0 && flock(lock, LOCK_EX) == 0);
	for (int i = 0; i < 100; i++)
		IS_INT(be_resctrl.write(&r.fs, GROUP, ""), -ETIMEDOUT);
	OK(now_ms() - begin >= 100 && now_ms() - begin < 2000); /* each once: 10 s */
	OK(err_classify(ETIMEDOUT) != ERR_BUSY);
	be_resctrl.reason(GROUP, reason, sizeof(reason));
	IS_STR(reason, "somebody holds the lock of resctrl");
	(void)close(lock);
	IS_INT(be_resctrl.write(&r.fs, GROUP, ""), 0);
}

TAP_MAIN

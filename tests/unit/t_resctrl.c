/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is read of resctrl, and its words. */
#include "common/resctrl.h"

#include "root_state.h"

#define UUID "11111111-2222-4333-8444-555555555555"

TEST(names)
{
	OK(resctrl_is_ours("domtune-" UUID));
	OK(!resctrl_is_ours("domtune-x") && !resctrl_is_ours(UUID) && !resctrl_is_ours("domtune-" UUID "0"));
	OK(!resctrl_is_ours("") && !resctrl_is_ours("info"));
	OK(resctrl_is_cache("L3") && resctrl_is_cache("L3DATA") && !resctrl_is_cache("MB") && !resctrl_is_cache("L2"));
}

TEST(values_of_schemata)
{
	/* As Linux prints it: names and numbers are padded. */
	static const char text[] = "    L2:0=ff;1=ff\n    L3:0=000ff;2=fff00;11=fffff\n    MB:0=100;2= 50;11=  5\nL3X:0=1\n";
	uint64_t v = 7;

	IS_INT(resctrl_value(text, "L3", 0, &v), 0);
	OK(v == 0xff);
	IS_INT(resctrl_value(text, "L3", 11, &v), 0);
	OK(v == 0xfffff);
	IS_INT(resctrl_value(text, "MB", 2, &v), 0);
	OK(v == 50);
	IS_INT(resctrl_value(text, "MB", 11, &v), 0);
	OK(v == 5);
	IS_INT(resctrl_value(text, "L3", 1, &v), -ENOENT);
	IS_INT(resctrl_value(text, "L3CODE", 0, &v), -ENOENT);
	IS_INT(resctrl_value("L3:uninitialized\n", "L3", 0, &v), -ENOENT);
	IS_INT(resctrl_value("L3:0=xyz\n", "L3", 0, &v), -ENOENT);
	IS_INT(resctrl_value("L3:0=\n", "L3", 0, &v), -ENOENT);
	IS_INT(resctrl_value("L3:=5\n", "L3", 0, &v), -ENOENT);
	IS_INT(resctrl_value("", "L3", 0, &v), -ENOENT);
	OK(v == 5);
}

TEST(items_of_settings)
{
	static const struct {
		const char *text, *want; /* "!": -EINVAL at the end */
	} cases[] = {
		{"L3:0=4-7", "L3:0=4-7,"},
		{"L3:0=4-7;1=0-3", "L3:0=4-7,L3:1=0-3,"},
		{"L3CODE:0=4;8=5 L3DATA:0=4;8=5", "L3CODE:0=4,L3CODE:8=5,L3DATA:0=4,L3DATA:8=5,"},
		{"MB:0=50", "MB:0=50,"},
		{"", ""},
		{"0=4", "!"},
		{"L3:0", "!"},
		{"L3:0=", "!"},
		{":0=4", "!"},
		{"L3:x=4", "!"},
		{"sixteen-letters-:0=4", "!"},
		{"L3:0=4;1", "L3:0=4,!"},
		{"L3:0=4 L3", "L3:0=4,!"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct resctrl_item item = {.id = 0};
		const char *pos = cases[i].text;
		char got[256] = "";
		int r;

		while ((r = resctrl_next(&pos, &item)) > 0)
			(void)snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s:%u=%s,", item.resource, item.id,
				       item.value);
		if (r < 0)
			strcat(got, "!");
		IS_STR(got, cases[i].want);
	}
}

TEST(ways)
{
	char list[256];

	IS_STR(resctrl_list(0x7f3, list), "0-1,4-10");
	IS_STR(resctrl_list(0, list), "");
	OK(resctrl_bits("0-1,4-10") == 0x7f3 && resctrl_bits("63") == UINT64_C(1) << 63);
	OK(resctrl_bits("") == 0 && resctrl_bits("64") == 0 && resctrl_bits("3,70") == 0 && resctrl_bits("x") == 0);
	OK(resctrl_run(0x7f3) == 0x7f0 && resctrl_run(0x33) == 0x03 && resctrl_run(0) == 0);
	OK(resctrl_run(UINT64_MAX) == UINT64_MAX && resctrl_run(UINT64_C(3) << 62 | 1) == UINT64_C(3) << 62);
}

/* A host of four CPUs, two on each cache. */
static void make_host(struct host *h, struct host_cpu cpus[4], struct root *r)
{
	memset(h, 0, sizeof(*h));
	h->cpus = cpus;
	h->n_cpus = 4;
	for (int i = 0; i < 4; i++) {
		char path[128];

		cpus[i] = (struct host_cpu){.id = i, .l3 = i / 2};
		/* What is index3 elsewhere is index2 here: there is no cache of level 2. */
		(void)snprintf(path, sizeof(path), "sys/devices/system/cpu/cpu%d/cache/index2/level", i);
		root_put(r, path, "3\n");
		(void)snprintf(path, sizeof(path), "sys/devices/system/cpu/cpu%d/cache/index2/id", i);
		root_put(r, path, i < 2 ? "0\n" : "8\n");
	}
}

static void put_mounted(struct root *r)
{
	root_put(r, RESCTRL_DIR "/schemata", "    L3:0=7ff;8=7ff\n    MB:0=100;8=100\n");
	root_put(r, RESCTRL_DIR "/mode", "shareable\n");
	root_put(r, RESCTRL_DIR "/info/L3/cbm_mask", "7ff\n");
	root_put(r, RESCTRL_DIR "/info/L3/min_cbm_bits", "2\n");
	root_put(r, RESCTRL_DIR "/info/L3/shareable_bits", "600\n");
	root_put(r, RESCTRL_DIR "/info/L3/num_closids", "16\n");
	root_put(r, RESCTRL_DIR "/info/L3_MON/num_rmids", "176\n");
	root_put(r, RESCTRL_DIR "/info/MB/bandwidth_gran", "10\n");
	root_put(r, RESCTRL_DIR "/info/MB/min_bandwidth", "10\n");
	root_put(r, RESCTRL_DIR "/info/MB/num_closids", "8\n");
}

TEST(facts)
{
	ROOT(r);
	struct host_cpu cpus[4];
	struct resctrl_facts f;
	struct host h;
	char list[64];

	make_host(&h, cpus, &r);
	IS_INT(resctrl_read(&r.fs, &h, &f), 0);
	IS_INT(f.state, RESCTRL_ABSENT);
	root_mkdir(&r, RESCTRL_DIR);
	IS_INT(resctrl_read(&r.fs, &h, &f), 0);
	IS_INT(f.state, RESCTRL_UNMOUNTED);
	put_mounted(&r);
	root_put(&r, RESCTRL_DIR "/qemu-7-web2-vcpus_0/schemata", "L3:0=00f;8=7ff\nMB:0=100;8=100\n");
	root_put(&r, RESCTRL_DIR "/qemu-7-web2-vcpus_0/mode", "shareable\n");
	root_put(&r, RESCTRL_DIR "/a-lock/schemata", "L3:0=070;8=700\nMB:0=100;8=100\n");
	root_put(&r, RESCTRL_DIR "/a-lock/mode", "pseudo-locked\n");
	IS_INT(resctrl_read(&r.fs, &h, &f), 0);
	IS_INT(f.state, RESCTRL_MOUNTED);
	OK(f.has_l3 && !f.has_cdp && f.has_mb && f.mb_is_percent);
	OK(f.mask == 0x7ff && f.shareable == 0x600);
	IS_INT(f.min_bits, 2);
	IS_INT(f.n_classes, 8); /* the least of all */
	IS_INT(f.mb_min, 10);
	IS_INT(f.mb_step, 10);
	IS_INT(f.n_caches, 2);
	IS_INT(f.caches[1].id, 8);
	(void)idset_format(&f.caches[1].cpus, list, sizeof(list));
	IS_STR(list, "2-3");
	IS_INT(f.n_mb, 2);
	IS_INT(f.mb_ids[1], 8);
	IS_INT(f.n_groups, 3);
	IS_STR(f.groups[0].name, "");
	IS_STR(f.groups[1].name, "a-lock");
	IS_STR(f.groups[2].name, "qemu-7-web2-vcpus_0");
	OK(!f.groups[0].is_exclusive && f.groups[1].is_exclusive && !f.groups[2].is_exclusive);
	OK(f.groups[1].bits[0] == 0x70 && f.groups[1].bits[1] == 0x700 && f.groups[2].bits[1] == 0x7ff);
	resctrl_fini(&f);
}

TEST(facts_of_other_hardware)
{
	ROOT(r);
	struct host_cpu cpus[4];
	struct resctrl_facts f;
	struct host h;

	make_host(&h, cpus, &r);
	put_mounted(&r);
	/* Code and data apart. */
	root_put(&r, RESCTRL_DIR "/schemata", "L3DATA:0=0ff;8=7ff\nL3CODE:0=00f;8=7f0\n    MB:0=100;8=100\n");
	root_put(&r, RESCTRL_DIR "/info/L3CODE/cbm_mask", "7ff\n");
	IS_INT(resctrl_read(&r.fs, &h, &f), 0);
	OK(f.has_l3 && f.has_cdp && f.groups[0].bits[0] == 0xff && f.groups[0].bits[1] == 0x7ff);
	IS_INT(f.min_bits, 1);
	resctrl_fini(&f);
	/* AMD counts bandwidth in 1/8 GB/s; 2048 is all. */
	root_put(&r, RESCTRL_DIR "/schemata", "    L3:0=7ff;8=7ff\n    MB:0=2048;8=2048\n");
	root_put(&r, RESCTRL_DIR "/info/MB/min_bandwidth", "0\n");
	root_put(&r, RESCTRL_DIR "/info/MB/bandwidth_gran", "1\n");
	IS_INT(resctrl_read(&r.fs, &h, &f), 0);
	OK(f.has_mb && !f.mb_is_percent);
	resctrl_fini(&f);
	/* mba_MBps: the numbers of the hardware stay. */
	root_put(&r, RESCTRL_DIR "/schemata", "    L3:0=7ff;8=7ff\n    MB:0=4294967295;8=4294967295\n");
	root_put(&r, RESCTRL_DIR "/info/MB/min_bandwidth", "10\n");
	IS_INT(resctrl_read(&r.fs, &h, &f), 0);
	OK(f.has_mb && !f.mb_is_percent);
	resctrl_fini(&f);
	/* No L3: bandwidth alone, and nothing at all. */
	root_put(&r, RESCTRL_DIR "/schemata", "MB:0=100;8=100\n");
	root_put(&r, RESCTRL_DIR "/info/L3/cbm_mask", "0\n");
	IS_INT(resctrl_read(&r.fs, &h, &f), 0);
	OK(!f.has_l3 && f.has_mb && f.mb_is_percent && f.n_groups == 1);
	resctrl_fini(&f);
	root_remove(&r, RESCTRL_DIR "/schemata");
	IS_INT(resctrl_read(&r.fs, &h, &f), 0);
	IS_INT(f.state, RESCTRL_MOUNTED);
	OK(!f.has_l3 && !f.has_mb);
	resctrl_fini(&f);
}

TAP_MAIN

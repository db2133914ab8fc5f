/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "common/gate.h"
#include "common/ledger.h"
#include "common/paths.h"
#include "root.h"
#include "tap.h"

static const char policy[] = "<policy xmlns='urn:domtune:1'><default profile='off'/></policy>\n";
static const struct gate saved = { .idle_untouched = true, .deadline_ms = 1234, .grow_deadline_ms = 60000 };

/* A root with a policy, and the gate that belongs to it. */
static void save(struct root *r)
{
	root_init(r);
	root_put(r, "proc/sys/kernel/random/boot_id", "11111111-2222-3333-4444-555555555555\n");
	root_put(r, PATH_POLICY, policy);
	root_mkdir(r, PATH_CACHE);
	IS_INT(gate_save(&r->fs, &saved), 0);
}

TEST(what_was_saved_is_loaded)
{
	struct root r;
	struct gate g;

	save(&r);
	IS_INT(gate_load(&r.fs, &g), 0);
	OK(g.idle_untouched);
	OK(!g.observe);
	IS_INT(g.deadline_ms, 1234);
	IS_INT(g.grow_deadline_ms, 60000);
	root_fini(&r);
}

TEST(none_is_stale_and_gives_the_default)
{
	struct root r;
	struct gate g;

	root_init(&r);
	IS_INT(gate_load(&r.fs, &g), -ESTALE);
	OK(!g.idle_untouched);
	IS_INT(g.deadline_ms, 2000);
	IS_INT(g.grow_deadline_ms, 5000);
	root_fini(&r);
}

/* ---- everything that makes it stale ---- */

static void change_policy_size(struct root *r)
{
	root_put(r, PATH_POLICY, "<policy xmlns='urn:domtune:1'/>\n");
}

/* Same length, old mtime put back: only ctime tells. */
static void change_policy_quietly(struct root *r)
{
	struct timespec times[2];
	struct stat st;

	IS_INT(hostfs_stat(&r->fs, &st, PATH_POLICY), 0);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	usleep(20000); /* the kernel's clock for time stamps advances by up to 10 ms at a time (CONFIG_HZ=100) */
	root_put(r, PATH_POLICY, "<policy xmlns='urn:domtune:1'><default profile='xxx'/></policy>\n");
	IS_INT(utimensat(r->fs.fd, PATH_POLICY, times, 0), 0);
}

static void replace_policy_by_rename(struct root *r)
{
	root_put(r, PATH_ETC "/new", policy);
	IS_INT(renameat(r->fs.fd, PATH_ETC "/new", r->fs.fd, PATH_POLICY), 0);
}

static void remove_policy(struct root *r)
{
	IS_INT(hostfs_unlink(&r->fs, PATH_POLICY), 0);
}

static void reboot(struct root *r)
{
	root_put(r, "proc/sys/kernel/random/boot_id", "99999999-2222-3333-4444-555555555555\n");
}

static void add_profile(struct root *r)
{
	root_put(r, PATH_ETC "/profiles/off.xml", "<profile xmlns='urn:domtune:1' name='off'/>\n");
}

static void tear_gate(struct root *r)
{
	char text[512];
	int n = hostfs_read(&r->fs, text, sizeof(text), PATH_CACHE "/gate");

	OK(n > 20);
	text[n / 2] = '\0';
	root_put(r, PATH_CACHE "/gate", text);
}

static void edit_gate(struct root *r)
{
	char text[512], *at;

	OK(hostfs_read(&r->fs, text, sizeof(text), PATH_CACHE "/gate") > 0);
	at = strstr(text, "1234");
	OK(at);
	if (at)
		*at = '2';
	root_put(r, PATH_CACHE "/gate", text);
}

static void empty_gate(struct root *r)
{
	root_put(r, PATH_CACHE "/gate", "");
}

static void huge_gate(struct root *r)
{
	char text[8192];

	memset(text, 'g', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	root_put(r, PATH_CACHE "/gate", text);
}

static void gate_is_a_directory(struct root *r)
{
	IS_INT(hostfs_unlink(&r->fs, PATH_CACHE "/gate"), 0);
	root_mkdir(r, PATH_CACHE "/gate");
}

TEST(changes_make_it_stale)
{
	static void (*const changes[])(struct root *) = {
		change_policy_size, change_policy_quietly, replace_policy_by_rename, remove_policy,
		reboot,             add_profile,           tear_gate,                edit_gate,
		empty_gate,         huge_gate,             gate_is_a_directory,
	};

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct root r;
		struct gate g;

		save(&r);
		changes[i](&r);
		if (gate_load(&r.fs, &g) != -ESTALE)
			TAP_FAIL("change %zu went unnoticed", i);
		OK(!g.idle_untouched);
		IS_INT(g.deadline_ms, 2000);
		root_fini(&r);
	}
}

TEST(absent_policy_is_a_state_too)
{
	struct root r;
	struct gate g;

	root_init(&r);
	root_mkdir(&r, PATH_CACHE);
	IS_INT(gate_save(&r.fs, &saved), 0);
	IS_INT(gate_load(&r.fs, &g), 0);
	root_put(&r, PATH_POLICY, policy);
	IS_INT(gate_load(&r.fs, &g), -ESTALE);
	root_fini(&r);
}

/* The policy is replaced between its reading and gate_save(): the gate must not pass for the new one. */
TEST(a_stamp_taken_before_reading_holds)
{
	struct root r;
	struct gate g = saved;

	save(&r);
	gate_stamp(&r.fs, &g);
	change_policy_size(&r);
	IS_INT(gate_save(&r.fs, &g), 0);
	IS_INT(gate_load(&r.fs, &g), -ESTALE);
	root_fini(&r);
}

TEST(limits_of_deadlines)
{
	static const struct {
		unsigned int ms;
		int want;
	} cases[] = { { 0, -ESTALE }, { 1, 0 }, { 600000, 0 }, { 600001, -ESTALE } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gate g = saved;
		struct root r;

		save(&r);
		g.deadline_ms = cases[i].ms;
		IS_INT(gate_save(&r.fs, &g), 0);
		IS_INT(gate_load(&r.fs, &g), cases[i].want);
		root_fini(&r);
	}
}

TEST(no_room_for_it_is_an_error)
{
	struct root r;

	root_init(&r); /* without cache/ */
	IS_INT(gate_save(&r.fs, &saved), -ENOENT);
	root_fini(&r);
}

TEST(the_switch)
{
	struct root r;

	root_init(&r);
	OK(!gate_is_disabled(&r.fs));
	root_put(&r, PATH_DISABLED, "");
	OK(gate_is_disabled(&r.fs));
	root_fini(&r);
}

TAP_MAIN

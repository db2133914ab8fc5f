/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domains that float and give way, and running domains that get another plan: over files that behave as a kernel before
 * 6.2 does. Writing a group's CPUs gives its threads exactly those; a thread takes of what it is told what its group
 * allows, and refuses if that is nothing.
 */
#include <fcntl.h>
#include <signal.h>

#include "common/apply_priv.h"
#include "common/num.h"
#include "common/paths.h"
#include "common/place_share.h"
#include "root_state.h"
#include "tap.h"

#define WEB1 "aaaaaaaa-2222-3333-4444-555555555555"
#define WEB2 "bbbbbbbb-2222-3333-4444-555555555555"
#define DB1  "cccccccc-2222-3333-4444-555555555555"
#define DB2  "dddddddd-2222-3333-4444-555555555555"

/* --- back ends -------------------------------------------------------------------------------------------------- */

static int group_writes, thread_writes;
static void (*on_group_write)(void); /* once, what happens at the worst moment */

static bool set_same(const char *object, const char *a, const char *b)
{
	struct idset x, y;
	int r = idset_parse(a, &x), s = idset_parse(b, &y);

	(void)object;
	if (r == -ENODATA || s == -ENODATA)
		return r == s;
	return r == 0 && s == 0 && idset_equal(&x, &y);
}

static int set_probe(const struct hostfs *fs, const char *object)
{
	return hostfs_exists(fs, "%s", object) ? 0 : -ENOENT;
}

static int set_read(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	return hostfs_read(fs, buf, size, "%s", object);
}

static const char *const threads[] = {"t1", "t2", "t3"};

static int group_write(const struct hostfs *fs, const char *object, const char *value)
{
	const char *slash = strrchr(object, '/');
	int dir = (int)(slash - object), rc = hostfs_write(fs, value, "%s", object);
	void (*then)(void) = on_group_write;

	group_writes++;
	on_group_write = NULL;
	if (then)
		then();
	for (size_t i = 0; i < ARRAY_SIZE(threads) && rc == 0; i++)
		if (hostfs_exists(fs, "%.*s/%s", dir, object, threads[i]))
			rc = hostfs_write(fs, *value ? value : "0-15", "%.*s/%s", dir, object, threads[i]);
	return rc;
}

static int thread_write(const struct hostfs *fs, const char *object, const char *value)
{
	const char *slash = strrchr(object, '/');
	struct idset group, wanted;
	char text[256];

	thread_writes++;
	if (idset_parse(value, &wanted) < 0 ||
	    hostfs_read_idset(fs, &group, "%.*s/cpuset.cpus", (int)(slash - object), object) < 0)
		return -EINVAL;
	if (!idset_is_empty(&group))
		idset_and(&wanted, &group);
	if (idset_is_empty(&wanted) || idset_format(&wanted, text, sizeof(text)) < 0)
		return -EINVAL;
	return hostfs_write(fs, text, "%s", object);
}

const struct backend *backend_find(const char *name)
{
	static const struct backend all[] = {
		{"cgroup", set_probe, set_read, group_write, set_same, true},
		{"thread", set_probe, set_read, thread_write, set_same, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (streq(all[i].name, name))
			return &all[i];
	return name[0] == 'f' ? &be_file : NULL;
}

/* --- a host with guests ----------------------------------------------------------------------------------------- */

static struct idset set(const char *text)
{
	struct idset s = IDSET_EMPTY;

	if (*text && idset_parse(text, &s) < 0)
		TAP_FAIL("'%s' is no set", text);
	return s;
}

/* 16 CPUs, of which 0-1 are the host's; groups of the guests. */
static void put_host(struct root *r)
{
	struct ledger l = {0};
	struct host h = {.online = set("0-15")};
	struct idset reserved = set("0-1");

	root_put(r, "cg/web1/cpuset.cpus", "\n");
	root_put(r, "cg/web1/t1", "0-15\n");
	root_put(r, "cg/web1/t2", "4-5\n");
	root_put(r, "cg/web2/cpuset.cpus", "\n");
	root_put(r, "cg/db1/emulator/cpuset.cpus", "\n");
	root_put(r, "cg/db1/emulator/t3", "0-15\n");
	IS_INT(ledger_make_dirs(&r->fs, NULL), 0);
	IS_INT(ledger_read(&r->fs, &l, NULL), 0);
	IS_INT(place_share_note(&l, &h, &reserved), 0);
	IS_INT(ledger_write(&r->fs, &l, NULL), 0);
	ledger_fini(&l);
}

static bool is_host(struct root *r)
{
	return streq(root_get(r, "cg/web1/cpuset.cpus"), "\n") && streq(root_get(r, "cg/web1/t1"), "0-15\n") &&
	       streq(root_get(r, "cg/web1/t2"), "4-5\n") && streq(root_get(r, "cg/web2/cpuset.cpus"), "\n") &&
	       streq(root_get(r, "cg/db1/emulator/cpuset.cpus"), "\n") &&
	       streq(root_get(r, "cg/db1/emulator/t3"), "0-15\n");
}

static void add_floating(struct plan *p, const char *knob, const char *value)
{
	IS_INT(plan_add_setting(p, knob, "", STAGE_STARTED, value, "default", ""), 0);
	p->settings[p->n_settings - 1].floater = 0;
}

static void make_plan(struct plan *p, const char *uuid, const char *knob, const char *now, unsigned int vcpus)
{
	*p = (struct plan){.id = -1, .name = strdup(streq(uuid, WEB1)   ? "web1"
						    : streq(uuid, WEB2) ? "web2"
						    : streq(uuid, DB1)  ? "db1"
									: "db2")};
	(void)snprintf(p->uuid, sizeof(p->uuid), "%s", uuid);
	p->profile = strdup("balanced");
	p->placement.n_floaters = 1;
	p->placement.floaters = calloc(1, sizeof(*p->placement.floaters));
	p->placement.floaters[0] = (struct place_floater){set(now), set("2-15"), set("2-15"), vcpus};
	add_floating(p, knob, now);
}

/* What `decide` does: a claim that takes `cpus` and floats over the rest, and who has to move for it. */
static void prepare(struct root *r, const char *uuid, const char *knob, const char *cpus, unsigned int vcpus)
{
	_cleanup_(ledger_fini) struct ledger l = {0};
	_cleanup_(plan_fini) struct plan p = {0};
	_cleanup_close_ int lock = ledger_lock(&r->fs, NULL);
	struct idset home = set("2-15"), own = set(cpus), claimed, now;
	_cleanup_free_ char *text = NULL;
	struct claim *c;

	OK(lock >= 0);
	IS_INT(ledger_read(&r->fs, &l, NULL), 0);
	c = ledger_add(&l, uuid, uuid[0] == 'a' ? "web1" : uuid[0] == 'b' ? "web2" : uuid[0] == 'c' ? "db1" : "db2");
	c->cpus = ledger_set(&l, &own);
	claimed = place_claimed(&l, "");
	place_share_set(l.online, l.reserved, &claimed, &home, &home, vcpus, &now);
	text = idset_text(&now);
	IS_INT(claim_add_floater(&l, c, &now, &home, &home, vcpus), 0);
	make_plan(&p, uuid, knob, text, vcpus);
	IS_INT(undo_create(&r->fs, &p, c->generation, NULL), 0);
	OK(place_share_update(&l) >= 0);
	IS_INT(ledger_write(&r->fs, &l, NULL), 0);
}

/* The group of a guest and its threads. */
static void make_steps(const struct plan *p, const char *dir, bool keep, const char *const *tids, unsigned int n,
		       struct steps *ret)
{
	char object[64];

	ret->s = calloc(n + 1, sizeof(*ret->s));
	for (unsigned int i = 0; i <= n; i++) {
		struct step *s = &ret->s[ret->n++];

		(void)snprintf(object, sizeof(object), "cg/%s/%s", dir, i ? tids[i - 1] : "cpuset.cpus");
		*s = (struct step){.setting = &p->settings[0], .backend = i ? "thread" : "cgroup", .group = 1};
		s->object = strdup(object);
		s->value = strdup(i && keep ? "" : p->settings[0].value);
		s->is_dependant = i > 0;
		s->restore_only = i && keep;
	}
}

static void start(struct root *r, const char *uuid, const char *dir, bool keep, const char *const *tids, unsigned int n)
{
	_cleanup_(ledger_fini) struct ledger l = {0};
	_cleanup_(undo_fini) struct undo u = {.fd = -1};
	_cleanup_(steps_fini) struct steps s = {0};
	struct apply_count count = {0};
	int lock;

	if (undo_open(&r->fs, uuid, true, &u, NULL) < 0)
		return;
	IS_INT(undo_set_phase(&u, CLAIM_STARTED), 0);
	lock = ledger_lock(&r->fs, NULL);
	IS_INT(ledger_read_one(&r->fs, uuid, &l, NULL), 0);
	if (ledger_find(&l, uuid)) {
		ledger_find(&l, uuid)->phase = CLAIM_STARTED;
		IS_INT(apply_follow(&u, ledger_find(&l, uuid)), 0);
		IS_INT(ledger_write(&r->fs, &l, NULL), 0);
	}
	close(lock);
	make_steps(&u.plan, dir, keep, tids, n, &s);
	IS_INT(apply_steps(&r->fs, &u, &s, &count), 0);
	IS_INT(count.failed, 0);
	IS_INT(apply_settle(&r->fs, &u), 0);
}

static void start_web1(struct root *r)
{
	start(r, WEB1, "web1", true, threads, 2);
}

static void start_web2(struct root *r)
{
	start(r, WEB2, "web2", true, threads, 0);
}

static void start_db1(struct root *r)
{
	start(r, DB1, "db1/emulator", false, threads + 2, 1);
}

static struct apply_count move(struct root *r)
{
	struct apply_count c = {0};
	struct err e = {0};

	if (apply_moves(&r->fs, NULL, &c, &e) < 0)
		TAP_FAIL("%s", e.text);
	return c;
}

static struct apply_count release(struct root *r, const char *uuid)
{
	struct apply_count c = {0};
	struct err e = {0};

	if (undo_all(&r->fs, uuid, &c, &e) < 0)
		TAP_FAIL("%s", e.text);
	return c;
}

/* Both shared guests run. */
static void two_shared(struct root *r)
{
	put_host(r);
	prepare(r, WEB1, "cpu.policy", "", 2);
	start_web1(r);
	prepare(r, WEB2, "cpu.policy", "", 2);
	start_web2(r);
}

static bool is_marked(struct root *r, const char *uuid)
{
	_cleanup_(ledger_fini) struct ledger l = {0};

	IS_INT(ledger_read(&r->fs, &l, NULL), 0);
	return ledger_find(&l, uuid) && ledger_find(&l, uuid)->floats[0].moved;
}

#define IS_FILE(r, path, want) IS_STR(root_get(r, path), want "\n")

/* --- moves ------------------------------------------------------------------------------------------------------ */

TEST(they_give_way_and_come_back)
{
	ROOT(r);
	struct apply_count c;
	struct undo u;

	two_shared(&r);
	IS_FILE(&r, "cg/web1/cpuset.cpus", "2-15");
	IS_FILE(&r, "cg/web1/t1", "2-15");
	IS_FILE(&r, "cg/web1/t2", "4-5");
	OK(!ledger_has_moves(&r.fs));
	prepare(&r, DB1, "cpu.emulator", "4-7", 0);
	OK(ledger_has_moves(&r.fs));
	OK(is_marked(&r, WEB1) && is_marked(&r, WEB2));
	group_writes = 0;
	c = move(&r);
	IS_INT(c.in_force, 2);
	IS_INT(c.failed + c.late, 0);
	IS_INT(group_writes, 2); /* one each */
	IS_FILE(&r, "cg/web1/cpuset.cpus", "2-3,8-15");
	IS_FILE(&r, "cg/web2/cpuset.cpus", "2-3,8-15");
	/* What it resets is given back, as far as it goes. */
	IS_FILE(&r, "cg/web1/t1", "2-3,8-15");
	IS_FILE(&r, "cg/web1/t2", "2-3,8-15");
	OK(!is_marked(&r, WEB1) && !is_marked(&r, WEB2));
	OK(!ledger_has_moves(&r.fs));
	IS_INT(undo_open(&r.fs, WEB1, false, &u, NULL), 0);
	IS_STR(u.plan.settings[0].value, "2-3,8-15");
	IS_INT(u.n_steps, 3);
	for (unsigned int i = 0; i < u.n_steps; i++)
		IS_INT(u.steps[i].state, UNDO_DONE);
	IS_STR(u.steps[0].original, "");
	IS_STR(u.steps[0].wanted, "2-3,8-15");
	undo_fini(&u);

	start_db1(&r);
	IS_FILE(&r, "cg/db1/emulator/cpuset.cpus", "2-3,8-15");
	IS_FILE(&r, "cg/db1/emulator/t3", "2-3,8-15");
	/* Another one takes more; the emulator of the first gives way, too, and its thread goes along. */
	prepare(&r, DB2, "cpu.emulator", "2-3", 0);
	IS_INT(move(&r).in_force, 3);
	IS_FILE(&r, "cg/web2/cpuset.cpus", "8-15");
	IS_FILE(&r, "cg/db1/emulator/cpuset.cpus", "8-15");
	IS_FILE(&r, "cg/db1/emulator/t3", "8-15");
	c = release(&r, DB2);
	OK(c.moves);
	IS_INT(move(&r).in_force, 3);
	IS_FILE(&r, "cg/db1/emulator/t3", "2-3,8-15");
	OK(release(&r, DB1).moves);
	group_writes = 0;
	IS_INT(move(&r).in_force, 2);
	IS_INT(group_writes, 2);
	IS_FILE(&r, "cg/web1/cpuset.cpus", "2-15");
	IS_FILE(&r, "cg/web1/t1", "2-15");
	IS_FILE(&r, "cg/web1/t2", "4-5"); /* there is room again for what it was given */
	c = release(&r, WEB1);
	OK(!c.moves); /* a shared one leaves nobody more room */
	release(&r, WEB2);
	OK(is_host(&r));
}

TEST(nobody_moves_for_nothing)
{
	ROOT(r);
	struct apply_count c;

	two_shared(&r);
	group_writes = thread_writes = 0;
	c = move(&r);
	IS_INT(c.in_force + c.failed + c.late, 0);
	/* One that comes back before anybody was moved for its end. */
	prepare(&r, DB1, "cpu.emulator", "4-7", 0);
	move(&r);
	group_writes = 0;
	OK(release(&r, DB1).moves);
	prepare(&r, DB1, "cpu.emulator", "4-7", 0);
	IS_INT(move(&r).in_force, 0);
	IS_INT(group_writes, 0);
	OK(!is_marked(&r, WEB1) && !ledger_has_moves(&r.fs));
	for (int i = 0; i < 3; i++)
		release(&r, i == 0 ? DB1 : i == 1 ? WEB1 : WEB2);
	OK(is_host(&r));
}

/* Its group said already what it was to say: nothing is written, and yet it moves, and goes back to that. */
TEST(on_record_without_a_write)
{
	ROOT(r);

	put_host(&r);
	root_put(&r, "cg/web1/cpuset.cpus", "2-15\n");
	root_put(&r, "cg/web1/t1", "2-15\n");
	prepare(&r, WEB1, "cpu.policy", "", 2);
	group_writes = thread_writes = 0;
	start_web1(&r);
	IS_INT(group_writes + thread_writes, 0);
	prepare(&r, DB1, "cpu.emulator", "4-7", 0);
	IS_INT(move(&r).in_force, 1);
	IS_FILE(&r, "cg/web1/cpuset.cpus", "2-3,8-15");
	release(&r, WEB1);
	IS_FILE(&r, "cg/web1/cpuset.cpus", "2-15");
	IS_FILE(&r, "cg/web1/t1", "2-15");
	IS_FILE(&r, "cg/web1/t2", "4-5");
}

TEST(what_somebody_else_has_set_stays)
{
	ROOT(r);
	struct apply_count c;

	two_shared(&r);
	root_put(&r, "cg/web1/cpuset.cpus", "9\n");
	prepare(&r, DB1, "cpu.emulator", "4-7", 0);
	c = move(&r);
	IS_INT(c.in_force, 1);
	IS_INT(c.failed, 0);
	IS_FILE(&r, "cg/web1/cpuset.cpus", "9");
	IS_FILE(&r, "cg/web2/cpuset.cpus", "2-3,8-15");
	OK(!is_marked(&r, WEB1)); /* said once, not at every phase */
	release(&r, WEB1);
	IS_FILE(&r, "cg/web1/cpuset.cpus", "9");
}

/* A thread that somebody has pinned since keeps that, also at the end. */
TEST(a_thread_pinned_since)
{
	ROOT(r);

	two_shared(&r);
	root_put(&r, "cg/web1/t1", "9\n");
	prepare(&r, DB1, "cpu.emulator", "4-7", 0);
	IS_INT(move(&r).in_force, 2);
	IS_FILE(&r, "cg/web1/t1", "9");
	IS_FILE(&r, "cg/web1/t2", "2-3,8-15");
	release(&r, WEB1);
	IS_FILE(&r, "cg/web1/cpuset.cpus", "");
	IS_FILE(&r, "cg/web1/t1", "9");
	IS_FILE(&r, "cg/web1/t2", "4-5");
}

TEST(one_that_cannot_be_moved)
{
#if defined(DT_SAN) || defined(DT_TEST)
	ROOT(r);
	struct apply_count c;

	two_shared(&r);
	prepare(&r, DB1, "cpu.emulator", "4-7", 0);
	setenv("DOMTUNE_FAULT", "web1/cpuset.cpus:22*1", 1);
	c = move(&r);
	IS_INT(c.in_force, 1);
	IS_INT(c.failed, 1);
	IS_FILE(&r, "cg/web1/cpuset.cpus", "2-15");
	IS_FILE(&r, "cg/web1/t2", "4-5");
	OK(is_marked(&r, WEB1) && !is_marked(&r, WEB2));
	OK(!ledger_has_moves(&r.fs)); /* not every phase tries in vain */
	/* With its record unsettled it is undone all the same. */
	unsetenv("DOMTUNE_FAULT");
	for (int moved = 0; moved < 2; moved++) {
		if (moved) {
			prepare(&r, WEB1, "cpu.policy", "", 2);
			start_web1(&r);
			prepare(&r, DB2, "cpu.emulator", "2-3", 0);
			setenv("DOMTUNE_FAULT", "web1/cpuset.cpus:22*9", 1);
			IS_INT(move(&r).failed, 1);
			unsetenv("DOMTUNE_FAULT");
			/* The next one that looks finds it still marked. */
			c = move(&r);
			IS_INT(c.in_force, 1);
			IS_FILE(&r, "cg/web1/cpuset.cpus", "8-15");
			OK(!is_marked(&r, WEB1));
		}
		release(&r, WEB1);
		IS_FILE(&r, "cg/web1/cpuset.cpus", "");
		IS_FILE(&r, "cg/web1/t1", "0-15");
		IS_FILE(&r, "cg/web1/t2", "4-5");
	}
#else
	SKIP("needs a build with SAN=1 or -DDT_TEST");
#endif
}

/* No room for the record: nothing is written, and it is tried again. */
TEST(a_move_that_cannot_be_recorded)
{
#if defined(DT_SAN) || defined(DT_TEST)
	ROOT(r);
	struct apply_count c;

	two_shared(&r);
	prepare(&r, DB1, "cpu.emulator", "4-7", 0);
	setenv("DOMTUNE_FAULT", WEB1 ":28", 1);
	c = move(&r);
	IS_INT(c.failed, 1);
	IS_FILE(&r, "cg/web1/cpuset.cpus", "2-15");
	OK(is_marked(&r, WEB1));
	setenv("DOMTUNE_FAULT", "domtune/ledger:28", 1);
	OK(apply_moves(&r.fs, NULL, &c, NULL) < 0);
	unsetenv("DOMTUNE_FAULT");
	OK(is_marked(&r, WEB1));
	move(&r);
	IS_FILE(&r, "cg/web1/cpuset.cpus", "2-3,8-15");
	OK(!is_marked(&r, WEB1));
#else
	SKIP("needs a build with SAN=1 or -DDT_TEST");
#endif
}

/* Whoever has its record open does it himself; until then the head says that there is something to do. */
TEST(one_that_is_busy)
{
	ROOT(r);
	struct apply_count c;
	struct undo u;

	two_shared(&r);
	prepare(&r, DB1, "cpu.emulator", "4-7", 0);
	IS_INT(undo_open(&r.fs, WEB1, true, &u, NULL), 0);
	c = move(&r);
	IS_INT(c.in_force, 1);
	IS_INT(c.late, 1);
	OK(ledger_has_moves(&r.fs));
	OK(is_marked(&r, WEB1));
	IS_INT(apply_settle(&r.fs, &u), 0);
	IS_FILE(&r, "cg/web1/cpuset.cpus", "2-3,8-15");
	OK(!is_marked(&r, WEB1));
	undo_fini(&u);
	c = move(&r);
	IS_INT(c.in_force + c.late + c.failed, 0);
	OK(!ledger_has_moves(&r.fs));
	/* Left out on demand. */
	release(&r, DB1);
	memset(&c, 0, sizeof(c));
	IS_INT(apply_moves(&r.fs, WEB1, &c, NULL), 0);
	IS_INT(c.in_force, 1);
	OK(is_marked(&r, WEB1));
}

static struct root *meanwhile_root;

/* Another dedicated one comes, and moves everybody but the one that is being moved just now. */
static void meanwhile(void)
{
	struct apply_count c;

	prepare(meanwhile_root, DB2, "cpu.emulator", "2-3", 0);
	c = move(meanwhile_root);
	IS_INT(c.in_force, 1);
	IS_INT(c.late, 1);
	IS_FILE(meanwhile_root, "cg/web2/cpuset.cpus", "8-15");
	OK(!is_marked(meanwhile_root, WEB2));
}

/* Two that move the same guests: the older wish never comes last. */
TEST(overtaken_by_another_mover)
{
	ROOT(r);

	two_shared(&r);
	prepare(&r, DB1, "cpu.emulator", "4-7", 0);
	meanwhile_root = &r;
	on_group_write = meanwhile;
	move(&r);
	IS_FILE(&r, "cg/web1/cpuset.cpus", "8-15");
	IS_FILE(&r, "cg/web2/cpuset.cpus", "8-15");
	OK(!is_marked(&r, WEB1) && !is_marked(&r, WEB2));
	OK(!ledger_has_moves(&r.fs));
}

/* Moved between prepare and started: it starts where the ledger says by then. */
TEST(one_that_has_not_started)
{
	ROOT(r);

	put_host(&r);
	prepare(&r, WEB1, "cpu.policy", "", 2);
	prepare(&r, DB1, "cpu.emulator", "4-7", 0);
	OK(is_marked(&r, WEB1));
	OK(!ledger_has_moves(&r.fs));
	IS_INT(move(&r).in_force, 0);
	IS_FILE(&r, "cg/web1/cpuset.cpus", "");
	group_writes = 0;
	start_web1(&r);
	IS_INT(group_writes, 1);
	IS_FILE(&r, "cg/web1/cpuset.cpus", "2-3,8-15");
	OK(!is_marked(&r, WEB1));
	release(&r, WEB1);
	release(&r, DB1);
	OK(is_host(&r));
}

/* Nothing of what it says is believed where the start is another one, or ends. */
TEST(records_of_others)
{
	ROOT(r);
	_cleanup_(plan_fini) struct plan p = {0};
	struct apply_count c;

	two_shared(&r);
	prepare(&r, DB1, "cpu.emulator", "4-7", 0);
	make_plan(&p, WEB1, "cpu.policy", "2-15", 2);
	IS_INT(undo_create(&r.fs, &p, 9999, NULL), 0);
	IS_INT(undo_remove(&r.fs, WEB2), 0);
	c = move(&r);
	IS_INT(c.in_force + c.late, 0);
	IS_INT(c.failed, 1); /* no record at all */
	IS_FILE(&r, "cg/web1/cpuset.cpus", "2-15");
	IS_FILE(&r, "cg/web2/cpuset.cpus", "2-15");
	OK(!ledger_has_moves(&r.fs));
}

/* More than one hold of the lock is good for. */
TEST(many_guests)
{
	ROOT(r);
	struct ledger l = {0};
	struct apply_count c;
	enum { MANY = 150 };

	put_host(&r);
	for (unsigned int i = 0; i < MANY; i++) {
		char uuid[40], dir[16], path[64];

		(void)snprintf(uuid, sizeof(uuid), "b%07x-2222-3333-4444-555555555555", i);
		(void)snprintf(dir, sizeof(dir), "g%u", i);
		(void)snprintf(path, sizeof(path), "cg/%s/cpuset.cpus", dir);
		root_put(&r, path, "\n");
		prepare(&r, uuid, "cpu.policy", "", 2);
		start(&r, uuid, dir, true, threads, 0);
	}
	prepare(&r, DB1, "cpu.emulator", "4-7", 0);
	group_writes = 0;
	c = move(&r);
	IS_INT(c.in_force, MANY);
	IS_INT(group_writes, MANY);
	IS_FILE(&r, "cg/g0/cpuset.cpus", "2-3,8-15");
	IS_FILE(&r, "cg/g149/cpuset.cpus", "2-3,8-15");
	IS_INT(ledger_read(&r.fs, &l, NULL), 0);
	for (unsigned int i = 0; i < l.n_claims; i++)
		OK(!l.claims[i].floats[0].moved);
	ledger_fini(&l);
}

/* --- another plan ----------------------------------------------------------------------------------------------- */

/* Two objects, of which the first is in both plans, the second in the old one, the third in the new one. */
static struct apply_count retune(struct root *r, const char *first, const char *third)
{
	_cleanup_(undo_fini) struct undo u = {.fd = -1};
	_cleanup_(plan_fini) struct plan p = {0};
	_cleanup_(steps_fini) struct steps s = {0};
	struct apply_count back = {0}, count = {0};
	struct err e = {0};

	make_plan(&p, WEB1, "cpu.policy", first, 2);
	IS_INT(plan_add_setting(&p, "cpu.weight", "", STAGE_STARTED, third, "default", ""), 0);
	if (undo_open(&r->fs, WEB1, true, &u, &e) < 0 || undo_rewrite(&r->fs, &u, &p, &e) < 0) {
		TAP_FAIL("%s", e.text);
		return back;
	}
	make_steps(&u.plan, "web1", true, threads, 2, &s);
	s.s = reallocarray(s.s, s.n + 1, sizeof(struct step));
	s.s[s.n++] = (struct step){.setting = &u.plan.settings[1], .backend = "file", .object = strdup("sys/third"),
				   .value = strdup(third), .group = 2};
	if (apply_undo_others(&r->fs, &u, &s, 1, &back, &e) < 0)
		TAP_FAIL("%s", e.text);
	IS_INT(apply_steps(&r->fs, &u, &s, &count), 0);
	IS_INT(count.failed, 0);
	return back;
}

static void apply_second(struct root *r)
{
	_cleanup_(undo_fini) struct undo u = {.fd = -1};
	struct setting setting = {.knob = strdup("cpu.quota"), .target = strdup(""), .value = strdup("2"),
				  .floater = -1};
	struct step one[2] = {{.setting = &setting, .backend = "file", .object = strdup("sys/second"),
			       .value = strdup("2"), .group = 9},
			      {.setting = &setting, .backend = "file", .object = strdup("sys/shared"),
			       .value = strdup("20"), .group = 10, .fold = FOLD_SUM}};
	struct steps s = {.s = one, .n = 2};
	struct apply_count count = {0};

	if (undo_open(&r->fs, WEB1, true, &u, NULL) == 0)
		IS_INT(apply_steps(&r->fs, &u, &s, &count), 0);
	for (int i = 0; i < 2; i++) {
		free(one[i].object);
		free(one[i].value);
	}
	free(setting.knob);
	free(setting.target);
	free(setting.value);
}

static void put_more(struct root *r)
{
	root_put(r, "sys/second", "1\n");
	root_put(r, "sys/shared", "5\n");
	root_put(r, "sys/third", "1\n");
}

TEST(from_one_plan_to_another)
{
	ROOT(r);
	struct apply_count back;
	struct undo u;

	two_shared(&r);
	put_more(&r);
	apply_second(&r);
	IS_FILE(&r, "sys/second", "2");
	IS_FILE(&r, "sys/shared", "25");
	group_writes = 0;
	back = retune(&r, "10-15", "3");
	IS_INT(back.in_force, 2); /* the quota and its shared part */
	IS_INT(back.failed, 0);
	IS_INT(group_writes, 1); /* from one value to the other, with nothing in between */
	IS_FILE(&r, "cg/web1/cpuset.cpus", "10-15");
	IS_FILE(&r, "sys/second", "1");
	IS_FILE(&r, "sys/shared", "5");
	IS_FILE(&r, "sys/third", "3");
	IS_INT(undo_open(&r.fs, WEB1, false, &u, NULL), 0);
	for (unsigned int i = 0; i < u.n_steps; i++)
		if (streq(u.steps[i].object, "cg/web1/cpuset.cpus"))
			IS_STR(u.steps[i].original, "");
	undo_fini(&u);
	/* The same plan once more: nothing is to be done. */
	group_writes = 0;
	back = retune(&r, "10-15", "3");
	IS_INT(back.in_force, 0);
	IS_INT(group_writes, 0);
	release(&r, WEB1);
	release(&r, WEB2);
	IS_FILE(&r, "cg/web1/cpuset.cpus", "");
	IS_FILE(&r, "sys/third", "1");
}

/* The kernel refuses a quota below the burst: whichever would be refused goes last. */
TEST(quota_and_burst)
{
	static const struct {
		const char *had, *wanted;
		bool swapped;
	} cases[] = {{"20000", "5000", true}, {"20000", "20000", false}, {"5000", "20000", false}, {"max", "1", false}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ROOT(r);
		_cleanup_(undo_fini) struct undo u = {.fd = -1};
		char quota[] = "cpu.quota", burst[] = "cpu.burst", none[] = "";
		char object[] = "cg/cpu.max.burst", other[] = "cg/cpu.max", value[16], max[] = "50000 100000";
		struct setting settings[2] = {{.knob = quota, .target = none}, {.knob = burst, .target = none}};
		struct step s[2] = {{.setting = &settings[0], .backend = "cgroup", .object = other, .value = max},
				    {.setting = &settings[1], .backend = "cgroup", .object = object, .value = value}};
		struct steps steps = {.s = s, .n = 2};
		int n;

		(void)snprintf(value, sizeof(value), "%s", cases[i].wanted);
		put_host(&r);
		prepare(&r, WEB1, "cpu.policy", "", 2);
		IS_INT(undo_open(&r.fs, WEB1, true, &u, NULL), 0);
		apply_order_burst(&u, &steps);
		IS_STR(steps.s[0].object, other); /* a first one: as the plan has them */
		n = undo_intent(&u, burst, "", "cgroup", object, "0", cases[i].had, false);
		OK(n > 0 && undo_done(&u, (unsigned int)n, cases[i].had) == 0);
		apply_order_burst(&u, &steps);
		IS_STR(steps.s[0].object, cases[i].swapped ? object : other);
		IS_STR(steps.s[1].object, cases[i].swapped ? other : object);
	}
}

/* --- kill -9 ---------------------------------------------------------------------------------------------------- */

#if defined(DT_SAN) || defined(DT_TEST)
/* In a child that is killed before its n-th durable action from here (0: never). Whether it was. */
static bool killed_in(struct root *r, void (*run)(struct root *), int n)
{
	char at[16];
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		(void)snprintf(at, sizeof(at), "%d", n);
		if (n)
			setenv("DOMTUNE_CRASH_AT", at, 1);
		run(r);
		_exit(tap_failed ? 1 : 0);
	}
	while (waitpid(pid, &status, 0) < 0)
		;
	OK(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
	return WIFSIGNALED(status);
}

static void shrink(struct root *r)
{
	prepare(r, DB1, "cpu.emulator", "4-7", 0);
	move(r);
	start_db1(r);
}

static void grow(struct root *r)
{
	release(r, DB1);
	move(r);
}

/* What the next phase of any domain does. */
static void sweep(struct root *r)
{
	if (ledger_has_moves(&r->fs))
		move(r);
}

static void end_all(struct root *r)
{
	release(r, DB1);
	release(r, WEB1);
	release(r, WEB2);
}

/* Every group says what the ledger says of its floater, and nothing waits. */
static void is_consistent(struct root *r, const char *what, int n)
{
	_cleanup_(ledger_fini) struct ledger l = {0};

	IS_INT(ledger_read(&r->fs, &l, NULL), 0);
	for (unsigned int i = 0; i < l.n_claims; i++) {
		const struct claim *c = &l.claims[i];
		_cleanup_free_ char *now = idset_text(c->floats[0].now);
		char path[64], want[64];

		if (c->phase != CLAIM_STARTED || c->uuid[0] == 'c')
			continue;
		(void)snprintf(path, sizeof(path), "cg/%s/cpuset.cpus", c->name);
		(void)snprintf(want, sizeof(want), "%s\n", now);
		if (c->floats[0].moved || !streq(root_get(r, path), want))
			TAP_FAIL("%s killed at %d: %s is on %s, not on %s", what, n, c->name, root_get(r, path), want);
	}
}

static int kill_everywhere(void (*before)(struct root *), void (*run)(struct root *), const char *what)
{
	bool killed = true;
	int n = 0;

	while (killed) {
		ROOT(r);

		n++;
		(void)killed_in(&r, two_shared, 0);
		if (before)
			(void)killed_in(&r, before, 0);
		killed = killed_in(&r, run, n);
		/* Killed once more on the way, now and then. */
		if (n % 3 == 0)
			(void)killed_in(&r, sweep, 1 + n / 3);
		(void)killed_in(&r, sweep, 0);
		is_consistent(&r, what, n);
		(void)killed_in(&r, end_all, 0);
		(void)killed_in(&r, sweep, 0);
		if (!is_host(&r) || strstr(root_get(&r, PATH_LEDGER), "claim\t"))
			TAP_FAIL("%s killed at %d: the host is not as it was", what, n);
	}
	printf("# %d durable actions, %s\n", n - 1, what);
	return n;
}

TEST(killed_while_they_give_way)
{
	OK(kill_everywhere(NULL, shrink, "giving way") > 15);
}

TEST(killed_while_they_come_back)
{
	OK(kill_everywhere(shrink, grow, "coming back") > 15);
}

static void retune_one(struct root *r)
{
	retune(r, "10-15", "3");
}

static void prepare_more(struct root *r)
{
	put_more(r);
	apply_second(r);
}

static void release_web1(struct root *r)
{
	release(r, WEB1);
}

TEST(killed_while_retuned)
{
	bool killed = true;
	int n = 0;

	while (killed) {
		ROOT(r);

		n++;
		(void)killed_in(&r, two_shared, 0);
		(void)killed_in(&r, prepare_more, 0);
		killed = killed_in(&r, retune_one, n);
		/* Either it is carried on, or the domain ends. */
		if (n % 2) {
			(void)killed_in(&r, retune_one, 0);
			IS_FILE(&r, "cg/web1/cpuset.cpus", "10-15");
			IS_FILE(&r, "sys/second", "1");
			IS_FILE(&r, "sys/shared", "5");
			IS_FILE(&r, "sys/third", "3");
		}
		(void)killed_in(&r, release_web1, 0);
		IS_FILE(&r, "sys/second", "1");
		IS_FILE(&r, "sys/shared", "5");
		IS_FILE(&r, "sys/third", "1");
		IS_FILE(&r, "cg/web1/cpuset.cpus", "");
		IS_FILE(&r, "cg/web1/t1", "0-15");
		IS_FILE(&r, "cg/web1/t2", "4-5");
		if (tap_failed) {
			printf("# killed at %d\n", n);
			return;
		}
	}
	printf("# %d durable actions in a retune\n", n - 1);
	OK(n > 15);
}
#else
TEST(killed_at_every_action)
{
	SKIP("needs a build with SAN=1 or -DDT_TEST");
}
#endif

TAP_MAIN

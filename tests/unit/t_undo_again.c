/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an undo file says a second time: other values for steps and settings, the whole file anew; and who may write. */
#include "common/undo.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/paths.h"
#include "root_state.h"
#include "tap.h"

#define UUID    "11111111-2222-3333-4444-555555555555"
#define FILE_OF PATH_UNDO "/" UUID

static struct idset set(const char *text)
{
	struct idset s = IDSET_EMPTY;

	if (*text && idset_parse(text, &s) < 0)
		TAP_FAIL("'%s' is no set", text);
	return s;
}

static const char *text_of(const struct idset *s)
{
	static char text[256];

	return idset_format(s, text, sizeof(text)) < 0 ? "?" : text;
}

static void add_floating(struct plan *p, const char *knob, const char *target, const char *value, int floater)
{
	IS_INT(plan_add_setting(p, knob, target, STAGE_STARTED, value, "default", ""), 0);
	p->settings[p->n_settings - 1].floater = floater;
}

/*
 * Four vCPUs float over 0-7 with the emulator and I/O thread 1; I/O thread 2 has a list that happens to be the same,
 * and vCPU 3 a floater of its own.
 */
static void make_plan(struct plan *p)
{
	struct placement *pl = &p->placement;

	*p = (struct plan){.name = strdup("web1"), .profile = strdup("balanced"), .id = 3};
	(void)snprintf(p->uuid, sizeof(p->uuid), "%s", UUID);
	p->wrapper.emulator = strdup("");
	pl->policy = PLACE_SHARED;
	pl->n_vcpus = 4;
	pl->vcpus = calloc(4, sizeof(*pl->vcpus));
	for (unsigned int i = 0; i < 4; i++)
		pl->vcpus[i].cpus = set("0-7");
	pl->n_iothreads = 2;
	pl->iothreads = calloc(2, sizeof(*pl->iothreads));
	pl->iothreads[0] = (struct place_thread){.id = 1, .cpus = set("0-7")};
	pl->iothreads[1] = (struct place_thread){.id = 2, .cpus = set("0-7")};
	pl->emulator = set("0-7");
	pl->n_floaters = 2;
	pl->floaters = calloc(2, sizeof(*pl->floaters));
	pl->floaters[0] = (struct place_floater){set("0-7"), set("0-15"), set("0-15"), 3};
	pl->floaters[1] = (struct place_floater){set("0-7"), set("0-7"), set("0-15"), 1};
	add_floating(p, "cpu.policy", "", "0-7", 0);
	add_floating(p, "cpu.policy", "vcpu3", "0-7", 1);
	add_floating(p, "cpu.emulator", "", "0-7", 0);
	add_floating(p, "cpu.iothreads", "iothread2", "0-7", -1);
	add_floating(p, "cpu.weight", "", "200", -1);
}

static void create(struct root *r)
{
	_cleanup_(plan_fini) struct plan p = {0};

	(void)hostfs_mkdir(&r->fs, 0755, "%s", PATH_PLAN);
	(void)hostfs_mkdir(&r->fs, 0700, "%s", PATH_UNDO);
	make_plan(&p);
	IS_INT(undo_create(&r->fs, &p, 42, NULL), 0);
}

static void open_it(struct root *r, struct undo *u)
{
	struct err e = {0};

	if (undo_open(&r->fs, UUID, true, u, &e) < 0) {
		TAP_FAIL("%s", e.text);
		exit(2);
	}
}

static void reopen(struct root *r, struct undo *u)
{
	undo_fini(u);
	open_it(r, u);
	IS_INT(u->bad_lines, 0);
}

/* --- steps ------------------------------------------------------------------------------------------------------ */

static void is_step(struct undo *u, unsigned int number, enum undo_state state, const char *wanted,
		    const char *readback, const char *before)
{
	const struct undo_step *s = undo_find(u, number);

	OK(s != NULL);
	if (!s)
		return;
	IS_INT(s->state, state);
	IS_STR(s->original, "orig");
	IS_STR(s->wanted, wanted);
	IS_STR(s->readback, readback);
	IS_STR(s->before, before);
}

TEST(another_value_for_a_step)
{
	ROOT(r);
	struct undo u;

	create(&r);
	open_it(&r, &u);
	IS_INT(undo_intent(&u, "k", "", "file", "a", "orig", "one", false), 1);
	IS_INT(undo_intent_of(&u, 1, "k", "", "file", "b", "orig", "one"), 2);
	IS_INT(undo_intent(&u, "k", "", "file", "c", "orig", "one", true), 3);
	IS_INT(undo_done(&u, 1, "One"), 0);
	IS_INT(undo_rewant(&u, 1, "two"), 0);
	for (int again = 0; again < 2; again++) {
		is_step(&u, 1, UNDO_INTENT, "two", NULL, "One");
		reopen(&r, &u);
	}
	/* Not settled, and yet another one: what it said is still what it said. */
	IS_INT(undo_rewant(&u, 1, "three"), 0);
	is_step(&u, 1, UNDO_INTENT, "three", NULL, "One");
	IS_INT(undo_done(&u, 1, "Three"), 0);
	/* One that was never in force. */
	IS_INT(undo_rewant(&u, 2, "two"), 0);
	for (int again = 0; again < 2; again++) {
		is_step(&u, 1, UNDO_DONE, "three", "Three", NULL);
		is_step(&u, 2, UNDO_INTENT, "two", NULL, NULL);
		IS_INT(undo_find(&u, 2)->cause, 1);
		reopen(&r, &u);
	}
	IS_INT(undo_left(&u, 2, -EBUSY, "busy"), 0);
	IS_INT(undo_rewant(&u, 2, "three"), 0);
	is_step(&u, 2, UNDO_INTENT, "three", NULL, NULL);
	/* What is not ours to change. */
	IS_INT(undo_rewant(&u, 3, "two"), -EINVAL);
	IS_INT(undo_rewant(&u, 4, "two"), -EINVAL);
	IS_INT(undo_undone(&u, 1, "restored"), 0);
	IS_INT(undo_rewant(&u, 1, "four"), -EINVAL);
	reopen(&r, &u);
	is_step(&u, 1, UNDO_UNDONE, "three", "Three", NULL);
	IS_INT(u.n_steps, 3);
	IS_INT(undo_intent(&u, "k", "", "file", "d", "orig", "one", false), 4);
	undo_fini(&u);
}

/* They wait as intents do, and are as nothing had been said if they cannot be written. */
TEST(values_that_cannot_be_written)
{
	ROOT(r);
	struct undo u;
	uint64_t size;

	create(&r);
	open_it(&r, &u);
	IS_INT(undo_intent(&u, "k", "", "file", "a", "orig", "one", false), 1);
	IS_INT(undo_done(&u, 1, "One"), 0);
	IS_INT(undo_intent(&u, "k", "", "file", "b", "orig", "one", false), 2);
	IS_INT(undo_undoing(&u, 2), 0);
	undo_batch(&u);
	size = u.size;
	IS_INT(undo_rewant(&u, 1, "two"), 0);
	IS_INT(undo_rewant(&u, 1, "three"), 0);
	IS_INT(undo_rewant(&u, 2, "two"), 0);
	IS_INT(u.size, size);
	IS_INT(undo_commit(&u), 0);
	OK(u.size > size);
	IS_INT(undo_done(&u, 1, "Three"), 0);
	IS_INT(undo_flush(&u), 0);
	undo_batch(&u);
	IS_INT(undo_rewant(&u, 1, "four"), 0);
	IS_INT(undo_rewant(&u, 2, "four"), 0);
	IS_INT(undo_rewant(&u, 1, "five"), 0);
	IS_INT(undo_intent(&u, "k", "", "file", "c", "orig", "one", false), 3);
	close(u.fd);
	u.fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	IS_INT(undo_commit(&u), -ENOSPC);
	IS_INT(u.n_steps, 2);
	is_step(&u, 1, UNDO_DONE, "three", "Three", NULL);
	is_step(&u, 2, UNDO_INTENT, "two", NULL, NULL);
	IS_INT(undo_commit(&u), 0);
	reopen(&r, &u);
	is_step(&u, 1, UNDO_DONE, "three", "Three", NULL);
	is_step(&u, 2, UNDO_INTENT, "two", NULL, NULL);
	undo_fini(&u);
}

/* The first line of a step is lost: the second one says all of it. */
TEST(a_lost_first_intent)
{
	ROOT(r);
	struct undo u;
	char *text, *line;

	create(&r);
	open_it(&r, &u);
	for (int i = 1; i <= 3; i++) {
		IS_INT(undo_intent(&u, "k", "", "file", "a", "orig", "one", false), i);
		IS_INT(undo_done(&u, (unsigned int)i, "one"), 0);
	}
	IS_INT(undo_rewant(&u, 2, "two"), 0);
	undo_fini(&u);
	text = root_dup(&r, FILE_OF);
	line = strstr(text, "intent\t2\t");
	if (line)
		line[0] = 'I';
	root_put(&r, FILE_OF, text);
	free(text);
	open_it(&r, &u);
	OK(u.bad_lines > 0);
	IS_INT(u.n_steps, 3);
	for (unsigned int i = 0; i < u.n_steps; i++)
		IS_INT(u.steps[i].number, i + 1);
	is_step(&u, 2, UNDO_INTENT, "two", NULL, NULL);
	IS_INT(undo_intent(&u, "k", "", "file", "b", "orig", "one", false), 4);
	undo_fini(&u);
}

/* --- settings --------------------------------------------------------------------------------------------------- */

TEST(another_value_for_a_setting)
{
	ROOT(r);
	struct undo u;

	create(&r);
	open_it(&r, &u);
	IS_INT(undo_setting(&u, 99, "4-7"), -EINVAL);
	IS_INT(undo_setting(&u, 0, "4-7"), 0);
	for (int again = 0; again < 2; again++) {
		const struct placement *p = &u.plan.placement;

		IS_STR(u.plan.settings[0].value, "4-7");
		IS_STR(u.plan.settings[1].value, "0-7");
		IS_STR(text_of(&p->floaters[0].now), "4-7");
		IS_STR(text_of(&p->floaters[1].now), "0-7");
		IS_STR(text_of(&p->vcpus[0].cpus), "4-7");
		/* Those that have a setting of their own do not go along. */
		IS_STR(text_of(&p->vcpus[3].cpus), "0-7");
		IS_STR(text_of(&p->emulator), "0-7");
		IS_STR(text_of(&p->iothreads[0].cpus), "4-7");
		IS_STR(text_of(&p->iothreads[1].cpus), "0-7");
		reopen(&r, &u);
	}
	IS_INT(undo_setting(&u, 1, "12-15"), 0);
	IS_INT(undo_setting(&u, 2, "4-7"), 0);
	IS_INT(undo_setting(&u, 4, "300"), 0);
	reopen(&r, &u);
	IS_STR(text_of(&u.plan.placement.vcpus[3].cpus), "12-15");
	IS_STR(text_of(&u.plan.placement.floaters[1].now), "12-15");
	IS_STR(text_of(&u.plan.placement.emulator), "4-7");
	IS_STR(u.plan.settings[4].value, "300");
	/* A line that is about another plan's setting is none. */
	u.plan.settings[4].target[0] = '\0';
	free(u.plan.settings[4].knob);
	u.plan.settings[4].knob = strdup("cpu.quota");
	IS_INT(undo_setting(&u, 4, "1"), 0);
	undo_fini(&u);
	open_it(&r, &u);
	IS_INT(u.bad_lines, 1);
	IS_STR(u.plan.settings[4].value, "300");
	undo_fini(&u);
}

/* --- the whole file --------------------------------------------------------------------------------------------- */

/* A start in every state that a step can be in. */
static void write_all_states(struct undo *u)
{
	u->pid = 812;
	u->pid_start = 99;
	IS_INT(undo_set_phase(u, CLAIM_STARTED), 0);
	IS_INT(undo_intent(u, "k", "", "file", "a", "orig", "one", false), 1);
	IS_INT(undo_intent_of(u, 1, "k", "", "file", "b", "orig", "one"), 2);
	IS_INT(undo_intent(u, "k", "", "file", "c", "orig", "one", true), 3);
	IS_INT(undo_intent(u, "k", "", "file", "d", "orig", "one", false), 4);
	IS_INT(undo_intent(u, "k", "", "file", "e", "orig", "one", false), 5);
	IS_INT(undo_intent(u, "k", "", "file", "f", "orig", "one", false), 6);
	IS_INT(undo_done(u, 1, "One"), 0);
	IS_INT(undo_undoing(u, 2), 0);
	IS_INT(undo_done(u, 3, "One"), 0);
	IS_INT(undo_undone(u, 4, "restored"), 0);
	IS_INT(undo_left(u, 5, ERANGE, "no"), 0);
	IS_INT(undo_done(u, 6, "One"), 0);
	IS_INT(undo_rewant(u, 6, "two"), 0);
	IS_INT(undo_exec_result(u, "memory.pages", "node0", true, "2M", "so"), 0);
	IS_INT(undo_setting(u, 0, "4-7"), 0);
}

static void check_all_states(struct undo *u)
{
	IS_INT(u->generation, 42);
	IS_INT(u->phase, CLAIM_STARTED);
	IS_INT(u->pid, 812);
	IS_INT(u->pid_start, 99);
	is_step(u, 1, UNDO_DONE, "one", "One", NULL);
	is_step(u, 2, UNDO_INTENT, "one", NULL, NULL);
	OK(undo_find(u, 2) && undo_find(u, 2)->undoing && undo_find(u, 2)->cause == 1);
	is_step(u, 3, UNDO_DONE, "one", "One", NULL);
	OK(undo_find(u, 3) && undo_find(u, 3)->shared);
	is_step(u, 5, UNDO_LEFT, "one", NULL, NULL);
	OK(undo_find(u, 5) && undo_find(u, 5)->code == ERANGE && streq(undo_find(u, 5)->why, "no"));
	is_step(u, 6, UNDO_INTENT, "two", NULL, "One");
	IS_INT(u->n_execs, 1);
	OK(u->n_execs == 1 && u->execs[0].ok && streq(u->execs[0].why, "so"));
}

TEST(the_same_written_anew)
{
	ROOT(r);
	struct undo u;
	struct err e = {0};
	uint64_t since;

	create(&r);
	open_it(&r, &u);
	write_all_states(&u);
	since = u.since;
	IS_INT(undo_rewrite(&r.fs, &u, NULL, &e), 0);
	for (int again = 0; again < 2; again++) {
		check_all_states(&u);
		OK(undo_find(&u, 4) == NULL); /* what is undone need not be known any more */
		IS_INT(u.n_steps, 5);
		IS_INT(u.since, since);
		IS_STR(u.plan.settings[0].value, "4-7");
		IS_STR(text_of(&u.plan.placement.vcpus[0].cpus), "4-7");
		OK(undo_still_current(&u));
		reopen(&r, &u);
	}
	IS_INT(root_mode(&r, FILE_OF), 0600);
	IS_INT(undo_intent(&u, "k", "", "file", "g", "orig", "one", false), 7);
	undo_fini(&u);
	IS_INT(undo_open(&r.fs, UUID, false, &u, NULL), 0);
	IS_INT(undo_rewrite(&r.fs, &u, NULL, &e), -EBADF);
	IS_INT(u.fd, -1);
	undo_fini(&u);
}

TEST(another_plan)
{
	ROOT(r);
	_cleanup_(plan_fini) struct plan p = {0};
	struct undo u;
	struct err e = {0};

	create(&r);
	open_it(&r, &u);
	write_all_states(&u);
	make_plan(&p);
	p.profile[0] = 'B';
	IS_INT(plan_add_setting(&p, "cpu.quota", "", STAGE_STARTED, "100%", "annotation", ""), 0);
	IS_INT(undo_rewrite(&r.fs, &u, &p, &e), 0);
	for (int again = 0; again < 2; again++) {
		check_all_states(&u);
		IS_INT(u.plan.n_settings, 6);
		IS_STR(u.plan.profile, "Balanced");
		IS_STR(u.plan.settings[0].value, "0-7"); /* as the new plan has it */
		reopen(&r, &u);
	}
	undo_fini(&u);
}

/* Before and after the rename it says the same. */
TEST(killed_while_written_anew)
{
#if defined(DT_SAN) || defined(DT_TEST)
	for (int at = 1; at <= 3; at++) {
		ROOT(r);
		struct undo u;
		int status = 0;
		pid_t pid;

		create(&r);
		open_it(&r, &u);
		write_all_states(&u);
		undo_fini(&u);
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			char n[12];

			(void)snprintf(n, sizeof(n), "%d", at);
			setenv("DOMTUNE_CRASH_AT", n, 1);
			open_it(&r, &u);
			(void)undo_rewrite(&r.fs, &u, NULL, NULL);
			_exit(0);
		}
		IS_INT(waitpid(pid, &status, 0), pid);
		open_it(&r, &u);
		check_all_states(&u);
		IS_INT(u.bad_lines, 0);
		undo_fini(&u);
		if (!WIFSIGNALED(status))
			return;
		IS_INT(WTERMSIG(status), SIGKILL);
	}
	TAP_FAIL("it never came to its end");
#else
	SKIP("needs a build with SAN=1 or -DDT_TEST");
#endif
}

/* A guest that is moved for years: its file does not grow without end. */
TEST(many_moves_stay_short)
{
	ROOT(r);
	struct undo u;
	uint64_t first = 0, largest = 0;
	char value[16];

	create(&r);
	open_it(&r, &u);
	write_all_states(&u);
	IS_INT(undo_flush(&u), 0);
	first = u.size;
	for (int i = 0; i < 3000; i++) {
		(void)snprintf(value, sizeof(value), "%d-15", i % 8);
		IS_INT(undo_setting(&u, 0, value), 0);
		IS_INT(undo_rewant(&u, 1, value), 0);
		IS_INT(undo_done(&u, 1, value), 0);
		if (u.size > largest)
			largest = u.size;
		if (i % 50 == 0)
			reopen(&r, &u);
	}
	OK(largest > 10 * first);
	OK(largest < 300000); /* some 1024 stale lines and 50 moves */
	reopen(&r, &u);
	IS_STR(u.plan.settings[0].value, value);
	is_step(&u, 1, UNDO_DONE, value, value, NULL);
	is_step(&u, 6, UNDO_INTENT, "two", NULL, "One");
	undo_fini(&u);
}

/* What cannot be made shorter is used as it is. */
TEST(no_room_to_make_it_shorter)
{
#if defined(DT_SAN) || defined(DT_TEST)
	ROOT(r);
	struct undo u;

	create(&r);
	open_it(&r, &u);
	write_all_states(&u);
	undo_batch(&u);
	for (int i = 0; i < 2000; i++)
		IS_INT(undo_setting(&u, 0, i % 2 ? "1-7" : "2-7"), 0);
	IS_INT(undo_flush(&u), 0);
	undo_fini(&u);
	setenv("DOMTUNE_FAULT", UUID ":28*1", 1);
	open_it(&r, &u);
	OK(u.n_stale >= 2000);
	check_all_states(&u);
	undo_fini(&u);
	unsetenv("DOMTUNE_FAULT");
	open_it(&r, &u);
	OK(u.n_stale < 100);
	check_all_states(&u);
	undo_fini(&u);
#else
	SKIP("needs a build with SAN=1 or -DDT_TEST");
#endif
}

/* --- who may write ---------------------------------------------------------------------------------------------- */

TEST(one_writer_at_a_time)
{
	ROOT(r);
	struct undo u, other;
	struct err e = {0};

	create(&r);
	open_it(&r, &u);
	IS_INT(undo_open_within(&r.fs, UUID, 0, &other, &e), -ETIMEDOUT);
	OK(strstr(e.text, UUID) != NULL);
	IS_INT(undo_open_within(&r.fs, UUID, 5, &other, &e), -ETIMEDOUT);
	IS_INT(undo_open(&r.fs, UUID, false, &other, &e), 0); /* readers do not wait */
	undo_fini(&other);
	/* Written anew it is still his. */
	IS_INT(undo_rewrite(&r.fs, &u, NULL, &e), 0);
	IS_INT(undo_open_within(&r.fs, UUID, 0, &other, &e), -ETIMEDOUT);
	undo_fini(&u);
	IS_INT(undo_open_within(&r.fs, UUID, 0, &other, &e), 0);
	/* A new start has a file of its own: nobody waits for who has the old one. */
	create(&r);
	IS_INT(undo_open_within(&r.fs, UUID, 0, &u, &e), 0);
	OK(undo_still_current(&u));
	OK(!undo_still_current(&other));
	undo_fini(&u);
	undo_fini(&other);
}

/* While one waits the file is replaced, or removed: it takes what is there then. */
static void wait_while(struct root *r, bool removed)
{
	struct undo u;
	int ready[2], status = 0;
	char c = 'x';
	pid_t pid;

	create(r);
	open_it(r, &u);
	IS_INT(pipe(ready), 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct undo mine;
		int rc;

		cleanup_closep(&u.fd); /* the lock is the parent's, and goes with the last descriptor */
		if (write(ready[1], &c, 1) != 1)
			_exit(2);
		rc = undo_open_within(&r->fs, UUID, 20000, &mine, NULL);
		if (removed)
			_exit(rc != -ENOENT);
		_exit(rc < 0 || mine.generation != 7 || !undo_still_current(&mine));
	}
	IS_INT(read(ready[0], &c, 1), 1);
	(void)usleep(20000); /* whether it waits already or not: both ways are right */
	if (removed) {
		IS_INT(undo_remove(&r->fs, UUID), 0);
	} else {
		_cleanup_(plan_fini) struct plan p = {0};

		make_plan(&p);
		IS_INT(undo_create(&r->fs, &p, 7, NULL), 0);
	}
	undo_fini(&u);
	IS_INT(waitpid(pid, &status, 0), pid);
	IS_INT(status, 0);
	close(ready[0]);
	close(ready[1]);
}

TEST(replaced_while_waited_for)
{
	ROOT(r);

	wait_while(&r, false);
}

TEST(removed_while_waited_for)
{
	ROOT(r);

	wait_while(&r, true);
}

TAP_MAIN

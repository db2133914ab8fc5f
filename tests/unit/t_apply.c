/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Objects of a domain's own. */
#include "apply_host.h"

#include <inttypes.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "common/apply_priv.h"
#include "common/ioprio.h"

/* --- own objects ------------------------------------------------------------------------------------------------ */

TEST(there_and_back)
{
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/a", "1\n");
	root_put(&r, "sys/b", "x\n");
	begin(&r, UUID_A, false);
	c = APPLY(&r, UUID_A, make_step(&one, "file", "sys/a", "2"), make_step(&two, "file", "sys/b", "y"),
		  make_step(&three, "file", "sys/absent", "y"));
	IS_INT(c.in_force, 2);
	IS_INT(c.skipped, 1);
	IS_INT(c.failed, 0);
	IS_FILE(&r, "sys/a", "2");
	IS_FILE(&r, "sys/b", "y");
	c = release(&r, UUID_A, 1);
	IS_INT(c.in_force, 2);
	IS_FILE(&r, "sys/a", "1");
	IS_FILE(&r, "sys/b", "x");
	OK(!knows(&r, UUID_A));
	c = release(&r, UUID_A, 0);
	IS_INT(c.in_force, 0);
}

TEST(equal_and_not_ours_is_not_recorded)
{
	ROOT(r);
	struct apply_count c;
	_cleanup_free_ char *before = NULL;

	root_put(&r, "sys/a", "0007\n");
	begin(&r, UUID_A, false);
	before = root_dup(&r, PATH_UNDO "/" UUID_A);
	c = APPLY(&r, UUID_A, make_step(&one, "file", "sys/a", "7"));
	IS_INT(c.in_force, 1);
	IS_STR(root_get(&r, PATH_UNDO "/" UUID_A), before);
	root_put(&r, "sys/a", "9\n");
	release(&r, UUID_A, 1);
	IS_FILE(&r, "sys/a", "9");
}

TEST(an_objects_steps_make_one_setting)
{
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/a", "1\n");
	root_put(&r, "sys/b", "1\n");
	begin(&r, UUID_A, false);
	fail_code = -EINVAL;
	fail_times = 1;
	c = APPLY(&r, UUID_A, make_step(&one, "file", "sys/a", "2"), make_step(&two, "file", "sys/absent", "2"),
		  make_step(&one, "fail", "sys/b", "2"), make_step(&two, "file", "sys/b", "3"));
	IS_INT(c.in_force, 1);
	IS_INT(c.failed, 1);
	IS_INT(c.skipped, 0);
}

/* A step that needs another setting is made only where that is in force. */
TEST(what_a_step_needs)
{
	static const struct {
		int fail;
		bool absent;
		bool made;
	} rows[] = {{0, false, true}, {1, false, false}, {0, true, false}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		ROOT(r);
		struct step place = make_step(&one, "fail", rows[i].absent ? "sys/absent" : "sys/a", "2");
		struct step also = make_step(&one, "file", rows[i].absent ? "sys/absent2" : "sys/c", "2");
		struct step needs = make_step(&two, "file", "sys/b", "2"), after = make_step(&three, "file", "sys/d", "2");
		struct apply_count c;

		root_put(&r, "sys/a", "1\n");
		root_put(&r, "sys/b", "1\n");
		root_put(&r, "sys/c", "1\n");
		root_put(&r, "sys/d", "1\n");
		begin(&r, UUID_A, false);
		fail_code = -EINVAL;
		fail_times = rows[i].fail;
		needs.needs = &one;
		c = APPLY(&r, UUID_A, place, also, needs, after);
		IS_STR(root_get(&r, "sys/b"), rows[i].made ? "2\n" : "1\n");
		IS_FILE(&r, "sys/d", "2");
		IS_INT(c.in_force, rows[i].made ? 3 : 1);
		IS_INT(c.failed, !rows[i].made + rows[i].fail);
		release(&r, UUID_A, 1);
		IS_FILE(&r, "sys/b", "1");
		root_fini(&r);
	}
}

/* A setting that is part of another one's objects is worth what these are; and what they cannot do without is no luxury. */
TEST(parts_of_one_object)
{
	static const struct {
		const char *flow; /* what leads to the class */
		bool vital;
		unsigned int in_force, failed, skipped;
	} cases[] = {
		{"sys/flow", true, 3, 0, 0},
		{"sys/absent", true, 0, 3, 0},
		{"sys/absent", false, 3, 0, 0},
	};
	static const char *const knobs[] = {"interface.rate", "interface.ceil", "interface.priority", "interface.burst"};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ROOT(r);
		struct undo u;
		struct steps s = {0};
		struct apply_count c = {0};
		struct step steps[3];

		root_put(&r, "sys/class", "1\n");
		root_put(&r, "sys/flow", "1\n");
		root_put(&r, "sys/limit", "1\n");
		begin(&r, UUID_A, false);
		IS_INT(undo_open(&r.fs, UUID_A, true, &u, NULL), 0);
		for (size_t k = 0; k < ARRAY_SIZE(knobs); k++)
			IS_INT(plan_add_setting(&u.plan, knobs[k], k == 3 ? "other" : "mac", STAGE_STARTED, "2", "", ""), 0);
		steps[0] = make_step(&u.plan.settings[0], "file", "sys/class", "2");
		steps[1] = make_step(&u.plan.settings[0], "file", cases[i].flow, "2");
		steps[2] = make_step(&u.plan.settings[1], "file", "sys/limit", "2");
		steps[0].is_vital = steps[1].is_vital = cases[i].vital;
		s.s = steps;
		s.n = ARRAY_SIZE(steps);
		IS_INT(apply_steps(&r.fs, &u, &s, &c), 0);
		IS_INT(c.in_force, cases[i].in_force);
		IS_INT(c.failed, cases[i].failed);
		IS_INT(c.skipped, cases[i].skipped);
		IS_INT(u.steps[u.n_steps - 1].state == UNDO_LEFT, cases[i].failed > 0);
		for (size_t k = 0; k < ARRAY_SIZE(steps); k++) {
			free(steps[k].object);
			free(steps[k].value);
		}
		undo_fini(&u);
		c = release(&r, UUID_A, 1);
		IS_INT(c.failed, 0);
		IS_FILE(&r, "sys/class", "1");
		IS_FILE(&r, "sys/limit", "1");
	}
}

TEST(three_ways)
{
	static const struct {
		const char *since; /* what somebody made of it */
		const char *after;
		unsigned int restored, left;
	} cases[] = {
		{NULL, "1\n", 1, 0}, {"1\n", "1\n", 1, 0},   {"3\n", "3\n", 0, 1},
		{"", "", 0, 1},      {"+2\n", "+2\n", 0, 1}, {" 02\n", "1\n", 1, 0}, /* ours, spelled otherwise */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ROOT(r);
		struct apply_count c;

		root_put(&r, "sys/a", "1\n");
		begin(&r, UUID_A, false);
		APPLY(&r, UUID_A, make_step(&one, "file", "sys/a", "2"));
		if (cases[i].since)
			root_put(&r, "sys/a", cases[i].since);
		c = release(&r, UUID_A, 1);
		IS_STR(root_get(&r, "sys/a"), cases[i].after);
		IS_INT(c.in_force, cases[i].restored);
		IS_INT(c.skipped, cases[i].left);
		OK(!knows(&r, UUID_A));
	}
}

/* An intent without an end: by what the object says. */
TEST(unsettled_records)
{
	static const struct {
		const char *now, *after;
	} cases[] = {{"1\n", "1\n"}, {"2\n", "1\n"}, {"3\n", "3\n"}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ROOT(r);
		struct undo u;

		root_put(&r, "sys/a", "1\n");
		begin(&r, UUID_A, false);
		IS_INT(undo_open(&r.fs, UUID_A, true, &u, NULL), 0);
		OK(undo_intent(&u, "k", "", "file", "sys/a", "1", "2", false) > 0);
		undo_fini(&u);
		root_put(&r, "sys/a", cases[i].now);
		release(&r, UUID_A, 1);
		IS_STR(root_get(&r, "sys/a"), cases[i].after);
		OK(!knows(&r, UUID_A));
	}
}

TEST(gone_objects)
{
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/a", "1\n");
	root_put(&r, "sys/b", "4096\n");
	begin(&r, UUID_A, false);
	APPLY(&r, UUID_A, make_step(&one, "file", "sys/a", "2"), make_step(&two, "round", "sys/b", "8192"));
	root_remove(&r, "sys/a");
	root_remove(&r, "sys/b");
	c = release(&r, UUID_A, 1);
	IS_INT(c.in_force, 2);
	IS_INT(c.failed, 0);
	OK(!hostfs_exists(&r.fs, "sys/a"));
	OK(!knows(&r, UUID_A));
}

TEST(rounded_values_are_ours)
{
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/a", "4096\n");
	begin(&r, UUID_A, false);
	c = APPLY(&r, UUID_A, make_step(&one, "round", "sys/a", "10000"));
	IS_INT(c.in_force, 1);
	IS_FILE(&r, "sys/a", "8192");
	release(&r, UUID_A, 1);
	IS_FILE(&r, "sys/a", "4096");
}

TEST(answers_of_the_kernel)
{
	static const struct {
		int code, times;
		bool after;
		unsigned int in_force, failed, skipped;
		int asked;
		const char *value;
	} cases[] = {
		{-EINVAL, 99, false, 0, 1, 0, 1, "1\n"},
		{-EBUSY, 2, false, 1, 0, 0, 3, "2\n"},
		{-EBUSY, 99, false, 0, 1, 0, 3, "1\n"},
		{-EAGAIN, 1, false, 1, 0, 0, 2, "2\n"},
		{-EACCES, 99, false, 0, 1, 0, 1, "1\n"},
		{-EROFS, 99, false, 0, 1, 0, 1, "1\n"},
		{-ENOSPC, 99, false, 0, 1, 0, 1, "1\n"},
		{-ENODEV, 99, false, 0, 0, 1, 1, "1\n"},
		{-EIO, 99, false, 0, 1, 0, 1, "1\n"},
		{-EINVAL, 1, true, 1, 0, 0, 1, "2\n"}, /* an error, and yet it took the value */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ROOT(r);
		struct apply_count c;

		root_put(&r, "sys/a", "1\n");
		begin(&r, UUID_A, false);
		fail_code = cases[i].code;
		fail_times = cases[i].times;
		fail_after = cases[i].after;
		fail_asked = 0;
		c = APPLY(&r, UUID_A, make_step(&one, "fail", "sys/a", "2"));
		IS_INT(c.in_force, cases[i].in_force);
		IS_INT(c.failed, cases[i].failed);
		IS_INT(c.skipped, cases[i].skipped);
		IS_INT(fail_asked, cases[i].asked);
		IS_STR(root_get(&r, "sys/a"), cases[i].value);
		OK((*c.failure != 0) == (cases[i].failed != 0));
		if (cases[i].failed)
			OK(strstr(c.failure, "sys/a") && strstr(c.failure, "wanted 2") &&
			   strstr(c.failure, err_name(-cases[i].code)) && strstr(c.failure, "left as it was"));
		fail_times = 0;
		fail_after = false;
		release(&r, UUID_A, 1);
		IS_FILE(&r, "sys/a", "1");
	}
}

TEST(a_broken_back_end_is_not_asked_again)
{
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/a", "1\n");
	root_put(&r, "sys/b", "1\n");
	root_put(&r, "sys/c", "1\n");
	begin(&r, UUID_A, false);
	fail_code = -EIO;
	fail_times = 1;
	fail_asked = 0;
	c = APPLY(&r, UUID_A, make_step(&one, "fail", "sys/a", "2"), make_step(&two, "fail", "sys/b", "2"),
		  make_step(&three, "file", "sys/c", "2"));
	IS_INT(fail_asked, 1);
	IS_INT(c.in_force, 1);
	IS_FILE(&r, "sys/c", "2");
	release(&r, UUID_A, 1);
	IS_FILE(&r, "sys/c", "1");
}

TEST(what_cannot_be_put_back_is_reported_and_dropped)
{
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/a", "1\n");
	root_put(&r, "sys/b", "1\n");
	begin(&r, UUID_A, false);
	fail_times = 0;
	APPLY(&r, UUID_A, make_step(&one, "fail", "sys/a", "2"), make_step(&two, "fail", "sys/b", "2"));
	fail_code = -EIO;
	fail_times = 1;
	c = release(&r, UUID_A, 1);
	IS_INT(c.failed, 1);
	IS_INT(c.in_force, 1); /* the other one all the same */
	OK(strstr(c.failure, "not put back") != NULL);
	OK(!knows(&r, UUID_A));
	fail_times = 0;
}

/* What a retune could not put back in time is neither forgotten nor taken for somebody else's. */
TEST(what_was_not_answered_is_tried_again)
{
	static const unsigned int failed[] = {1, 0};
	ROOT(r);

	root_put(&r, "sys/a", "1\n");
	begin(&r, UUID_A, false);
	fail_times = 0;
	APPLY(&r, UUID_A, make_step(&one, "fail", "sys/a", "2"));
	fail_code = -ETIMEDOUT;
	fail_times = 1;
	for (size_t i = 0; i < ARRAY_SIZE(failed); i++) {
		struct apply_count back = {0};
		struct undo u;

		IS_INT(undo_open(&r.fs, UUID_A, true, &u, NULL), 0);
		IS_INT(apply_undo_others(&r.fs, &u, NULL, 0, &back, NULL), 0);
		undo_fini(&u);
		IS_INT(back.failed, failed[i]);
		IS_INT(back.in_force, !failed[i]);
		IS_STR(root_get(&r, "sys/a"), failed[i] ? "2\n" : "1\n");
	}
	fail_times = 0;
	release(&r, UUID_A, 1);
}

static struct step whole_step(const char *backend, const char *object, const char *value, enum fold fold)
{
	struct step s = make_step(&two, backend, object, value);

	s.all_or_none = true;
	s.fold = fold;
	return s;
}

/* A setting that is nothing by halves: what was done of it, own and shared, is taken back; others' stays. */
TEST(all_or_none)
{
	static const struct {
		const char *backend;
		bool absent;
	} cases[] = {{"deaf", false}, {"file", true}, {"file", false}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool fails = i < 2;
		ROOT(r);
		struct apply_count c;
		struct undo u;

		root_put(&r, "sys/own", "1\n");
		root_put(&r, "sys/chain", "0\n");
		root_put(&r, "sys/shared", "10\n");
		root_put(&r, "sys/a", "1\n");
		if (!cases[i].absent)
			root_put(&r, "sys/last", "1\n");
		begin(&r, UUID_A, false);
		begin(&r, UUID_B, false);
		APPLY(&r, UUID_B, whole_step("file", "sys/chain", "3", FOLD_UNION));
		IS_FILE(&r, "sys/chain", "0,3");
		c = APPLY(&r, UUID_A, make_step(&one, "file", "sys/own", "2"), shared_step(FOLD_MAX, NULL, "sys/shared", "20"),
			  whole_step("file", "sys/chain", "2", FOLD_UNION), whole_step("file", "sys/a", "2", FOLD_NONE),
			  whole_step(cases[i].backend, "sys/last", "2", FOLD_NONE));
		IS_INT(c.in_force, fails ? 1 : 2);
		IS_INT(c.failed, fails ? 1 : 0);
		IS_STR(root_get(&r, "sys/chain"), fails ? "0,3\n" : "0,2-3\n");
		IS_STR(root_get(&r, "sys/a"), fails ? "1\n" : "2\n");
		IS_FILE(&r, "sys/own", "2");
		IS_FILE(&r, "sys/shared", "20");
		/* on record as what was not done */
		IS_INT(undo_open(&r.fs, UUID_A, false, &u, NULL), 0);
		bool left = false;
		for (unsigned int k = 0; k < u.n_steps; k++)
			left |= u.steps[k].state == UNDO_LEFT && streq(u.steps[k].target, "b");
		IS_INT(left, fails);
		undo_fini(&u);
		/* and once more, as `reconnect` does */
		c = APPLY(&r, UUID_A, whole_step("file", "sys/chain", "2", FOLD_UNION), whole_step("file", "sys/a", "2", FOLD_NONE));
		IS_INT(c.in_force, 1);
		IS_FILE(&r, "sys/a", "2");
		release(&r, UUID_A, 1);
		IS_FILE(&r, "sys/a", "1");
		IS_FILE(&r, "sys/own", "1");
		IS_FILE(&r, "sys/shared", "10");
		IS_FILE(&r, "sys/chain", "0,3");
		release(&r, UUID_B, 1);
		IS_FILE(&r, "sys/chain", "0");
	}
}

TEST(ignored_writes_are_failures)
{
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/a", "1\n");
	begin(&r, UUID_A, false);
	c = APPLY(&r, UUID_A, make_step(&one, "deaf", "sys/a", "2"));
	IS_INT(c.failed, 1);
	IS_INT(c.in_force, 0);
	c = release(&r, UUID_A, 1);
	IS_INT(c.failed, 0);
}

TEST(no_such_back_end)
{
	ROOT(r);
	struct apply_count c;

	begin(&r, UUID_A, false);
	c = APPLY(&r, UUID_A, make_step(&one, "nothing", "sys/a", "2"));
	IS_INT(c.skipped, 1);
	release(&r, UUID_A, 1);
}

TEST(observe_writes_nothing)
{
	ROOT(r);
	struct apply_count c;
	struct step shared = make_step(&two, "file", "sys/b", "9");

	root_put(&r, "sys/a", "1\n");
	root_put(&r, "sys/b", "1\n");
	begin(&r, UUID_A, true);
	shared.fold = FOLD_MAX;
	c = APPLY(&r, UUID_A, make_step(&one, "file", "sys/a", "2"), shared);
	IS_INT(c.in_force, 2);
	IS_FILE(&r, "sys/a", "1");
	IS_FILE(&r, "sys/b", "1");
	OK(!strstr(root_get(&r, PATH_UNDO "/" UUID_A), "intent"));
	OK(!strstr(root_get(&r, PATH_LEDGER), "shared"));
	release(&r, UUID_A, 1);
	OK(!knows(&r, UUID_A));
}

/* A worker of a start that is over writes nothing more. */
TEST(late_workers_stop)
{
	ROOT(r);
	struct steps steps = {.n = 2};
	struct step s[2];
	struct apply_count c = {0};
	struct undo u;

	root_put(&r, "sys/a", "1\n");
	root_put(&r, "sys/b", "1\n");
	begin(&r, UUID_A, false);
	IS_INT(undo_open(&r.fs, UUID_A, true, &u, NULL), 0);
	s[0] = make_step(&one, "file", "sys/a", "2");
	s[1] = make_step(&two, "file", "sys/b", "2");
	s[1].fold = FOLD_MAX;
	steps.s = s;
	IS_INT(undo_tell_stopped(&r.fs, UUID_A), 0);
	IS_INT(apply_steps(&r.fs, &u, &steps, &c), 0);
	IS_INT(c.late, 2);
	IS_FILE(&r, "sys/a", "1");
	undo_fini(&u);

	IS_INT(undo_open(&r.fs, UUID_A, true, &u, NULL), 0);
	begin(&r, UUID_A, false);
	memset(&c, 0, sizeof(c));
	IS_INT(apply_steps(&r.fs, &u, &steps, &c), 0);
	IS_INT(c.late, 2);
	IS_FILE(&r, "sys/a", "1");
	IS_FILE(&r, "sys/b", "1");
	undo_fini(&u);
	for (int i = 0; i < 2; i++) {
		free(s[i].object);
		free(s[i].value);
	}
}

static void stop_it(const struct hostfs *fs)
{
	IS_INT(undo_tell_stopped(fs, UUID_A), 0);
}

/* The same when it happens between reading an object and writing it. */
TEST(late_at_the_last_moment)
{
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/a", "1\n");
	root_put(&r, "sys/b", "1\n");
	begin(&r, UUID_A, false);
	on_read = stop_it;
	c = APPLY(&r, UUID_A, make_step(&one, "reset", "sys/a", "2"), make_step(&two, "reset", "sys/b", "2"));
	on_read = NULL;
	IS_INT(c.late, 2);
	IS_FILE(&r, "sys/a", "1");
	IS_FILE(&r, "sys/b", "1");
	release(&r, UUID_A, 1);
	IS_FILE(&r, "sys/a", "1");
}

/* --- causes and dependants -------------------------------------------------------------------------------------- */

static void apply_one_group(struct root *r, bool restore_only, struct apply_count *ret)
{
	struct step cause = make_step(&one, "reset", "sys/sda/scheduler", "none");
	struct step requests = make_step(&two, "reset", "sys/sda/requests", restore_only ? NULL : "1024");

	cause.group = requests.group = 1;
	requests.is_dependant = true;
	requests.restore_only = restore_only;
	*ret = APPLY(r, UUID_A, make_step(&three, "file", "sys/other", "2"), cause, requests);
}

TEST(a_dependant_goes_back_to_what_it_was)
{
	for (int restore_only = 0; restore_only <= 1; restore_only++) {
		ROOT(r);
		struct apply_count c;

		put_disk(&r);
		begin(&r, UUID_A, false);
		apply_one_group(&r, restore_only, &c);
		IS_INT(c.in_force, 3);
		IS_FILE(&r, "sys/sda/scheduler", "none");
		IS_STR(root_get(&r, "sys/sda/requests"), restore_only ? "256\n" : "1024\n");
		release(&r, UUID_A, 1);
		is_disk(&r);
		OK(!knows(&r, UUID_A));
	}
}

TEST(a_dependant_that_somebody_changed)
{
	ROOT(r);
	struct apply_count c;

	put_disk(&r);
	begin(&r, UUID_A, false);
	apply_one_group(&r, false, &c);
	root_put(&r, "sys/sda/requests", "32\n");
	c = release(&r, UUID_A, 1);
	IS_INT(c.skipped, 1);
	IS_FILE(&r, "sys/sda/scheduler", "mq-deadline");
	/* The cause's way back reset it: what he chose is lost to the kernel, not to us; the original is not forced. */
	IS_FILE(&r, "sys/sda/requests", "64");
}

TEST(a_cause_that_somebody_changed)
{
	ROOT(r);
	struct apply_count c;

	put_disk(&r);
	begin(&r, UUID_A, false);
	apply_one_group(&r, false, &c);
	root_put(&r, "sys/sda/scheduler", "bfq\n");
	c = release(&r, UUID_A, 1);
	IS_INT(c.skipped, 1);
	IS_FILE(&r, "sys/sda/scheduler", "bfq");
	IS_FILE(&r, "sys/sda/requests", "256");
}

/* What is left of a value is ours: it is made whole again, and undone. */
TEST(a_part_of_a_value_is_ours)
{
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/flow", "none\n");
	begin(&r, UUID_A, false);
	c = APPLY(&r, UUID_A, make_step(&one, "parts", "sys/flow", "whole"));
	IS_INT(c.in_force, 1);
	root_put(&r, "sys/flow", "half whole\n");
	c = APPLY(&r, UUID_A, make_step(&one, "parts", "sys/flow", "whole"));
	IS_INT(c.in_force, 1);
	IS_FILE(&r, "sys/flow", "whole");
	root_put(&r, "sys/flow", "half whole\n");
	c = release(&r, UUID_A, 1);
	IS_INT(c.in_force, 1);
	IS_INT(c.skipped, 0);
	IS_FILE(&r, "sys/flow", "none");
}

TEST(a_cause_that_needs_no_write)
{
	ROOT(r);
	struct apply_count c;

	put_disk(&r);
	root_put(&r, "sys/sda/scheduler", "none\n");
	begin(&r, UUID_A, false);
	apply_one_group(&r, true, &c);
	IS_INT(c.in_force, 3);
	IS_FILE(&r, "sys/sda/requests", "256");
	release(&r, UUID_A, 1);
	IS_FILE(&r, "sys/sda/scheduler", "none");
	IS_FILE(&r, "sys/sda/requests", "256");
}

/* Killed between the cause's write and its own: whatever it says is the cause's doing. */
TEST(a_dependant_that_was_not_reached)
{
	ROOT(r);
	struct undo u;

	put_disk(&r);
	begin(&r, UUID_A, false);
	IS_INT(undo_open(&r.fs, UUID_A, true, &u, NULL), 0);
	IS_INT(undo_intent(&u, "k", "", "reset", "sys/sda/scheduler", "mq-deadline", "none", false), 1);
	IS_INT(undo_intent_of(&u, 1, "k", "", "reset", "sys/sda/requests", "256", "1024"), 2);
	undo_fini(&u);
	IS_INT(reset_write(&r.fs, "sys/sda/scheduler", "none"), 0);
	release(&r, UUID_A, 1);
	is_disk(&r);
}

/* Not a failure of the setting, whose other objects are in force, nor one that stays on record as if it were. */
TEST(a_dependant_that_ended)
{
	ROOT(r);
	struct step group = make_step(&one, "group", "sys/group", "2");
	struct step thread = make_step(&one, "group", "sys/thread", "2");
	struct apply_count c;
	struct undo u;

	r.fs.real = true; /* objects are not asked for before they are read there */
	root_put(&r, "sys/group", "1\n");
	root_put(&r, "sys/thread", "1\n");
	group.group = thread.group = 1;
	thread.is_dependant = true;
	begin(&r, UUID_A, false);
	c = APPLY(&r, UUID_A, group, thread);
	IS_INT(c.in_force, 1);
	IS_INT(c.failed, 0);
	OK(!hostfs_exists(&r.fs, "sys/thread"));
	IS_INT(undo_open(&r.fs, UUID_A, false, &u, NULL), 0);
	IS_INT(u.n_steps, 2);
	IS_INT(u.steps[0].state, UNDO_DONE);
	IS_INT(u.steps[1].state, UNDO_UNDONE);
	undo_fini(&u);
	c = release(&r, UUID_A, 1);
	IS_INT(c.failed, 0);
	IS_FILE(&r, "sys/group", "1");
	OK(!knows(&r, UUID_A));
}

/* What the process was started with by us is undone to what it would have had without us. */
TEST(started_with_the_value)
{
	ROOT(r);
	struct step s = make_step(&one, "file", "sys/x", "be:1");
	struct step other = make_step(&two, "file", "sys/y", "be:1");
	struct apply_count c;

	root_put(&r, "sys/x", "be:1\n");
	root_put(&r, "sys/y", "idle\n"); /* somebody's own choice: that is what it was */
	begin(&r, UUID_A, false);
	s.before = other.before = "none";
	c = APPLY(&r, UUID_A, s, other);
	IS_INT(c.in_force, 2);
	IS_FILE(&r, "sys/x", "be:1");
	IS_FILE(&r, "sys/y", "be:1");
	c = release(&r, UUID_A, 1);
	IS_INT(c.in_force, 2);
	IS_FILE(&r, "sys/x", "none");
	IS_FILE(&r, "sys/y", "idle");
}

/* --- threads that come later ------------------------------------------------------------------------------------ */

/* Threads of this process, whose priorities are real, in a proc of the test's own; the first one is the process. */
enum { MEMBERS = 4, PROCESS = 0 };

static struct member {
	pthread_t thread;
	pthread_barrier_t met;
	int tid;
} members[MEMBERS];

static void *live(void *data)
{
	struct member *m = data;

	m->tid = (int)syscall(SYS_gettid);
	(void)pthread_barrier_wait(&m->met);
	(void)pthread_barrier_wait(&m->met); /* until it is to end */
	return NULL;
}

static void show_member(struct root *r, int i)
{
	char path[64];

	root_put_stat(r, members[i].tid, 1000 + i);
	(void)snprintf(path, sizeof(path), "proc/%d/task/%d", members[PROCESS].tid, members[i].tid);
	root_mkdir(r, path);
}

/* It has its priority from this one (clone(2), without CLONE_IO). */
static void spawn_member(int i)
{
	(void)pthread_barrier_init(&members[i].met, NULL, 2);
	if (pthread_create(&members[i].thread, NULL, live, &members[i]) != 0)
		exit(2);
	(void)pthread_barrier_wait(&members[i].met);
}

static void make_member(struct root *r, int i)
{
	spawn_member(i);
	show_member(r, i);
}

static void end_members(void)
{
	for (int i = 1; i < MEMBERS; i++) {
		(void)pthread_barrier_wait(&members[i].met);
		(void)pthread_join(members[i].thread, NULL);
		(void)pthread_barrier_destroy(&members[i].met);
	}
	(void)ioprio_set_thread(0, 0);
}

/* One step for each of the first n of them. */
static struct apply_count prioritize(struct root *r, int n, const char *value, const char *before)
{
	struct step s[MEMBERS];

	for (int i = 0; i < n; i++) {
		char object[128];

		(void)snprintf(object, sizeof(object), "%d:1000/%d:%d/ioprio", members[PROCESS].tid, members[i].tid,
			       1000 + i);
		s[i] = make_step(&one, "thread", object, value);
		s[i].before = before;
	}
	return run_steps(r, UUID_A, s, (unsigned int)n);
}

static const char *priorities(void)
{
	static char text[MEMBERS * 16];
	size_t n = 0;

	for (int i = 0; i < MEMBERS; i++) {
		char one_of[16] = "?";

		(void)ioprio_format(ioprio_of_thread(members[i].tid), one_of, sizeof(one_of));
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? " " : "", one_of);
	}
	return text;
}

/*
 * Two threads are there when the first value is set; one comes after that, and is seen by what applies next; the last
 * one only by undo. retuned: what the others are given meanwhile.
 */
static void come_later(const char *started_with, const char *retuned, bool is_off)
{
	ROOT(r);
	struct apply_count back = {0};
	const char *now = retuned ? retuned : "be:1";
	char want[MEMBERS * 16];
	struct undo u;

	r.fs.real = true;
	members[PROCESS].tid = (int)getpid();
	show_member(&r, PROCESS);
	begin(&r, UUID_A, false);
	if (started_with)
		IS_INT(ioprio_set_thread(0, ioprio_parse(started_with)), 0);
	make_member(&r, 1);
	IS_INT(prioritize(&r, 2, "be:1", started_with ? "none" : NULL).in_force, 1);
	make_member(&r, 2);
	IS_INT(ioprio_of_thread(members[2].tid), ioprio_parse("be:1"));
	if (retuned)
		IS_INT(prioritize(&r, 3, retuned, NULL).in_force, 1);
	make_member(&r, 3);
	(void)snprintf(want, sizeof(want), "%s %s %s %s", now, now, now, now);
	IS_STR(priorities(), want);
	if (is_off) {
		IS_INT(undo_open(&r.fs, UUID_A, true, &u, NULL), 0);
		IS_INT(apply_undo_others(&r.fs, &u, NULL, 0, &back, NULL), 0);
		undo_fini(&u);
	} else {
		back = release(&r, UUID_A, 1);
	}
	IS_INT(back.in_force, 1);
	IS_INT(back.failed + back.skipped, 0);
	IS_STR(priorities(), "none none none none");
	end_members();
}

TEST(threads_that_come_later)
{
	if (ioprio_set_thread(0, 0) < 0 || ioprio_of_thread(0) != 0)
		SKIP("threads have no I/O priority of their own here");
	for (int i = 0; i < 8; i++)
		come_later(i & 1 ? "be:1" : NULL, i & 2 ? "be:2" : NULL, i & 4);
	come_later(NULL, "be:1", false); /* repair: nothing to be written, and yet ours */
}

/* One that is made between the list of threads and the writes has the value, too, and what it had before. */
TEST(threads_that_come_meanwhile)
{
	ROOT(r);

	if (ioprio_set_thread(0, 0) < 0 || ioprio_of_thread(0) != 0)
		SKIP("threads have no I/O priority of their own here");
	r.fs.real = true;
	members[PROCESS].tid = (int)getpid();
	show_member(&r, PROCESS);
	begin(&r, UUID_A, false);
	make_member(&r, 1);
	make_member(&r, 2);
	IS_INT(prioritize(&r, 2, "be:1", NULL).in_force, 1);
	IS_INT(ioprio_of_thread(members[2].tid), ioprio_parse("be:1"));
	IS_INT(ioprio_set_thread(members[2].tid, ioprio_parse("idle")), 0); /* from here on it is somebody's */
	make_member(&r, 3);
	IS_INT(prioritize(&r, 2, "be:2", NULL).in_force, 1);
	IS_STR(priorities(), "be:2 be:2 idle be:2");
	release(&r, UUID_A, 1);
	IS_STR(priorities(), "none none idle none");
	end_members();
}

/* What somebody gave a thread that came later is not from us. */
TEST(a_later_thread_that_somebody_changed)
{
	ROOT(r);

	if (ioprio_set_thread(0, 0) < 0 || ioprio_of_thread(0) != 0)
		SKIP("threads have no I/O priority of their own here");
	r.fs.real = true;
	members[PROCESS].tid = (int)getpid();
	show_member(&r, PROCESS);
	begin(&r, UUID_A, false);
	IS_INT(prioritize(&r, 1, "be:1", NULL).in_force, 1);
	for (int i = 1; i < MEMBERS; i++)
		make_member(&r, i);
	IS_INT(ioprio_set_thread(members[2].tid, ioprio_parse("be:6")), 0);
	release(&r, UUID_A, 1);
	IS_STR(priorities(), "none none be:6 none");
	end_members();
}

#if defined(DT_SAN) || defined(DT_TEST)
static void first_value(struct root *r)
{
	r->fs.real = true;
	show_member(r, PROCESS);
	show_member(r, 1);
	begin(r, UUID_A, false);
	(void)prioritize(r, 2, "be:1", NULL);
}

static void show_later(struct root *r)
{
	show_member(r, 2);
	show_member(r, 3);
}

static void second_value(struct root *r)
{
	r->fs.real = true;
	(void)prioritize(r, 3, "be:2", NULL);
}

static void no_value(struct root *r)
{
	struct apply_count c = {0};

	r->fs.real = true;
	(void)undo_all(&r->fs, UUID_A, &c, NULL);
}

/* Every point of a retune with every point of the undo after it; the last thread comes after its list was made. */
TEST(killed_with_threads_that_come_later)
{
	bool killed = true;
	int n;

	if (ioprio_set_thread(0, 0) < 0 || ioprio_of_thread(0) != 0)
		SKIP("threads have no I/O priority of their own here");
	members[PROCESS].tid = (int)getpid();
	for (n = 1; killed; n++) {
		bool again = true;

		for (int m = 1; again; m++) {
			ROOT(r);

			spawn_member(1);
			(void)killed_in(&r, first_value, 0);
			spawn_member(2);
			spawn_member(3);
			(void)killed_in(&r, show_later, 0);
			killed = killed_in(&r, second_value, n);
			again = killed_in(&r, no_value, m);
			(void)killed_in(&r, no_value, 0);
			IS_STR(priorities(), "none none none none");
			end_members();
		}
	}
	OK(n > 4);
}
#endif

TAP_MAIN

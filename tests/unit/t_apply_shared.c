/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Objects that several domains want. */
#include "apply_host.h"

TEST(claims_fold_in_any_order_of_ends)
{
	static const struct {
		enum fold fold;
		const char *order, *original, *a, *b, *both, *a_alone, *b_alone;
	} cases[] = {
		{FOLD_MAX, NULL, "10\n", "20", "30", "30\n", "20\n", "30\n"},
		{FOLD_MAX, NULL, "10\n", "20", "20", "20\n", "20\n", "20\n"},
		{FOLD_SUM, NULL, "10\n", "1", "2", "13\n", "11\n", "12\n"},
		{FOLD_UNION, NULL, "0\n", "2", "3-4", "0,2-4\n", "0,2\n", "0,3-4\n"},
		{FOLD_WITHOUT, NULL, "0-7\n", "2", "3-4", "0-1,5-7\n", "0-1,3-7\n", "0-2,5-7\n"},
		{FOLD_FIRST, NULL, "x\n", "p", "q", "p\n", "p\n", "q\n"},
		{FOLD_FIRST, NULL, "p\n", "p", "q", "p\n", "p\n", "q\n"},
		{FOLD_STRONGEST, "none bfq", "x\n", "bfq", "none", "none\n", "bfq\n", "none\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases) * 2; i++) {
		ROOT(r);
		size_t k = i / 2;
		bool a_first = i % 2;
		struct apply_count c;

		root_put(&r, "sys/s", cases[k].original);
		begin(&r, UUID_A, false);
		begin(&r, UUID_B, false);
		c = APPLY(&r, UUID_A, shared_step(cases[k].fold, cases[k].order, "sys/s", cases[k].a));
		IS_INT(c.in_force, 1);
		IS_STR(root_get(&r, "sys/s"), cases[k].a_alone);
		c = APPLY(&r, UUID_B, shared_step(cases[k].fold, cases[k].order, "sys/s", cases[k].b));
		IS_INT(c.in_force, 1);
		IS_STR(root_get(&r, "sys/s"), cases[k].both);
		release(&r, a_first ? UUID_A : UUID_B, 1);
		IS_STR(root_get(&r, "sys/s"), a_first ? cases[k].b_alone : cases[k].a_alone);
		release(&r, a_first ? UUID_B : UUID_A, 1);
		IS_STR(root_get(&r, "sys/s"), cases[k].original);
		OK(!knows(&r, UUID_A) && !knows(&r, UUID_B));
		OK(!strstr(root_get(&r, PATH_LEDGER), "sys/s"));
	}
}

TEST(satisfied_without_us)
{
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/s", "30\n");
	begin(&r, UUID_A, false);
	begin(&r, UUID_B, false);
	c = APPLY(&r, UUID_A, shared_step(FOLD_MAX, NULL, "sys/s", "20"));
	IS_INT(c.in_force, 1);
	OK(!strstr(root_get(&r, PATH_LEDGER), "sys/s"));
	APPLY(&r, UUID_B, shared_step(FOLD_MAX, NULL, "sys/s", "40"));
	APPLY(&r, UUID_A, shared_step(FOLD_MAX, NULL, "sys/s", "20")); /* joins now that it is owned */
	release(&r, UUID_B, 1);
	IS_FILE(&r, "sys/s", "30");
	OK(strstr(root_get(&r, PATH_LEDGER), "sys/s") != NULL);
	release(&r, UUID_A, 1);
	IS_FILE(&r, "sys/s", "30");
	OK(!strstr(root_get(&r, PATH_LEDGER), "sys/s"));
}

TEST(shared_and_changed_by_somebody_else)
{
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/s", "10\n");
	begin(&r, UUID_A, false);
	begin(&r, UUID_B, false);
	APPLY(&r, UUID_A, shared_step(FOLD_MAX, NULL, "sys/s", "20"));
	root_put(&r, "sys/s", "15\n");
	c = APPLY(&r, UUID_B, shared_step(FOLD_MAX, NULL, "sys/s", "30"));
	IS_INT(c.failed, 1);
	IS_FILE(&r, "sys/s", "15");
	c = release(&r, UUID_A, 1);
	IS_INT(c.skipped, 1);
	IS_FILE(&r, "sys/s", "15");
	c = release(&r, UUID_B, 1);
	IS_INT(c.skipped, 1);
	IS_FILE(&r, "sys/s", "15");
	OK(!strstr(root_get(&r, PATH_LEDGER), "sys/s"));
}

TEST(shared_and_put_back_by_somebody_else)
{
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/s", "10\n");
	begin(&r, UUID_A, false);
	APPLY(&r, UUID_A, shared_step(FOLD_MAX, NULL, "sys/s", "20"));
	root_put(&r, "sys/s", "10\n");
	c = release(&r, UUID_A, 1);
	IS_INT(c.skipped, 0);
	IS_INT(c.in_force, 1);
	IS_FILE(&r, "sys/s", "10");
}

TEST(shared_and_gone)
{
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/s", "10\n");
	begin(&r, UUID_A, false);
	c = APPLY(&r, UUID_A, shared_step(FOLD_MAX, NULL, "sys/none", "20"),
		  shared_step(FOLD_MAX, NULL, "sys/s", "20"));
	IS_INT(c.in_force, 1);
	root_remove(&r, "sys/s");
	c = release(&r, UUID_A, 1);
	IS_INT(c.failed, 0);
	OK(!knows(&r, UUID_A));
	OK(!strstr(root_get(&r, PATH_LEDGER), "sys/s"));
}

TEST(shared_values_that_do_not_fold)
{
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/s", "4096 87380 6291456\n");
	begin(&r, UUID_A, false);
	c = APPLY(&r, UUID_A, shared_step(FOLD_MAX, NULL, "sys/s", "20"));
	IS_INT(c.failed, 1);
	IS_FILE(&r, "sys/s", "4096 87380 6291456");
	release(&r, UUID_A, 1);
}

/* Two domains on one disk: one chose the scheduler, the other the depth of the queue that it resets. */
TEST(shared_dependants_of_others)
{
	for (int a_first = 0; a_first <= 1; a_first++) {
		ROOT(r);
		struct step cause, requests;

		put_disk(&r);
		begin(&r, UUID_A, false);
		begin(&r, UUID_B, false);
		cause = make_step(&one, "reset", "sys/sda/scheduler", "none");
		requests = make_step(&two, "reset", "sys/sda/requests", NULL);
		cause.fold = FOLD_STRONGEST;
		cause.order = "none bfq";
		requests.fold = FOLD_MAX;
		requests.is_dependant = requests.restore_only = true;
		cause.group = requests.group = 1;
		APPLY(&r, UUID_A, cause, requests);
		IS_FILE(&r, "sys/sda/requests", "256");
		cause = make_step(&one, "reset", "sys/sda/scheduler", "bfq");
		requests = make_step(&two, "reset", "sys/sda/requests", "1024");
		cause.fold = FOLD_STRONGEST;
		cause.order = "none bfq";
		requests.fold = FOLD_MAX;
		requests.is_dependant = true;
		cause.group = requests.group = 1;
		APPLY(&r, UUID_B, cause, requests);
		IS_FILE(&r, "sys/sda/scheduler", "none");
		IS_FILE(&r, "sys/sda/requests", "1024");
		release(&r, a_first ? UUID_A : UUID_B, 1);
		IS_STR(root_get(&r, "sys/sda/scheduler"), a_first ? "bfq\n" : "none\n");
		IS_STR(root_get(&r, "sys/sda/requests"), a_first ? "1024\n" : "256\n");
		release(&r, a_first ? UUID_B : UUID_A, 1);
		is_disk(&r);
		OK(!strstr(root_get(&r, PATH_LEDGER), "shared"));
	}
}

TEST(without_a_claim_nothing_shared_is_written)
{
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/s", "10\n");
	begin(&r, UUID_A, false);
	root_remove(&r, PATH_LEDGER);
	c = APPLY(&r, UUID_A, shared_step(FOLD_MAX, NULL, "sys/s", "20"));
	IS_INT(c.late, 1);
	IS_FILE(&r, "sys/s", "10");
	release(&r, UUID_A, 1);
}

/* What all guests want together, e.g. protection of a slice: down again with each, to what it was, 0 or no limit. */
TEST(sums_go_back)
{
	static const struct {
		const char *original, *one, *both;
	} cases[] = {{"0\n", "10\n", "30\n"}, {"5\n", "15\n", "35\n"}, {"unset\n", "unset\n", "unset\n"}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ROOT(r);

		root_put(&r, "sys/x", cases[i].original);
		begin(&r, UUID_A, false);
		begin(&r, UUID_B, false);
		IS_INT(APPLY(&r, UUID_A, shared_step(FOLD_SUM, NULL, "sys/x", "10")).failed, 0);
		IS_STR(root_get(&r, "sys/x"), cases[i].one);
		IS_INT(APPLY(&r, UUID_B, shared_step(FOLD_SUM, NULL, "sys/x", "20")).failed, 0);
		IS_STR(root_get(&r, "sys/x"), cases[i].both);
		release(&r, UUID_B, 1);
		IS_STR(root_get(&r, "sys/x"), cases[i].one);
		release(&r, UUID_A, 1);
		IS_STR(root_get(&r, "sys/x"), cases[i].original);
	}
}

TAP_MAIN

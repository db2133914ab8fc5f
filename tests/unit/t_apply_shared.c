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

/* What waits for the steps before it is left alone where one of them failed, whatever it is. */
TEST(steps_in_vain)
{
	for (int works = 0; works <= 1; works++) {
		ROOT(r);
		struct step first = make_step(&one, "file", works ? "sys/a" : "sys/none", "1"), narrowed, own, other;
		struct apply_count c;

		root_put(&r, "sys/a", "0\n");
		root_put(&r, "sys/s", "0-7\n");
		root_put(&r, "sys/own", "0\n");
		root_put(&r, "sys/other", "0\n");
		begin(&r, UUID_A, false);
		narrowed = shared_step(FOLD_RUN, NULL, "sys/s", "4-7");
		own = make_step(&one, "file", "sys/own", "1");
		other = make_step(&two, "file", "sys/other", "1");
		narrowed.needs = own.needs = &one;
		other.needs = &two;
		c = APPLY(&r, UUID_A, first, narrowed, own, other);
		IS_INT(c.in_force, works ? 2 : 1);
		IS_INT(c.skipped, works ? 0 : 1);
		IS_STR(root_get(&r, "sys/s"), works ? "0-3\n" : "0-7\n");
		IS_STR(root_get(&r, "sys/own"), works ? "1\n" : "0\n");
		IS_FILE(&r, "sys/other", "1"); /* of another setting */
		release(&r, UUID_A, 1);
		IS_FILE(&r, "sys/s", "0-7");
		IS_FILE(&r, "sys/own", "0");
	}
}

static struct step set_step(const char *value)
{
	struct step s = shared_step(FOLD_WITHOUT, NULL, "sys/set", value);

	s.backend = "set";
	return s;
}

/* What is taken away from a set that is empty is taken away from all that there is; and none comes back, in any order. */
TEST(taken_away_from_all_there_is)
{
	for (int i = 0; i < 2; i++) {
		ROOT(r);
		struct apply_count c;

		root_put(&r, "sys/online", "0-7\n");
		root_put(&r, "sys/set", "\n");
		begin(&r, UUID_A, false);
		begin(&r, UUID_B, false);
		c = APPLY(&r, UUID_A, set_step("2"));
		IS_INT(c.in_force, 1);
		IS_FILE(&r, "sys/set", "0-1,3-7");
		root_put(&r, "sys/online", "0-8\n"); /* what there was counts, whatever comes */
		c = APPLY(&r, UUID_B, set_step("3-4"));
		IS_INT(c.in_force, 1);
		IS_FILE(&r, "sys/set", "0-1,5-7");
		release(&r, i ? UUID_A : UUID_B, 1);
		IS_STR(root_get(&r, "sys/set"), i ? "0-2,5-7\n" : "0-1,3-7\n");
		release(&r, i ? UUID_B : UUID_A, 1);
		IS_STR(root_get(&r, "sys/set"), "\n");
	}
	/* somebody's own list is narrowed, unless nothing would be left of it */
	for (int i = 0; i < 2; i++) {
		ROOT(r);

		root_put(&r, "sys/online", "0-7\n");
		root_put(&r, "sys/set", "2-3\n");
		begin(&r, UUID_A, false);
		APPLY(&r, UUID_A, set_step(i ? "2-3" : "2"));
		IS_STR(root_get(&r, "sys/set"), i ? "2-3\n" : "3\n");
		release(&r, UUID_A, 1);
		IS_FILE(&r, "sys/set", "2-3");
	}
}

/* What says already what it should is written and claimed all the same, once; and left as it was. */
TEST(insisting)
{
	ROOT(r);
	struct step s = set_step("6");
	struct stat before, after;

	root_put(&r, "sys/online", "0-7\n");
	root_put(&r, "sys/set", "0-3\n");
	begin(&r, UUID_A, false);
	IS_INT(hostfs_stat(&r.fs, &before, "sys/set"), 0);
	APPLY(&r, UUID_A, s);
	IS_INT(hostfs_stat(&r.fs, &after, "sys/set"), 0);
	OK(memcmp(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim)) == 0);
	s = set_step("6");
	s.insists = true;
	APPLY(&r, UUID_A, s);
	IS_INT(hostfs_stat(&r.fs, &after, "sys/set"), 0);
	OK(memcmp(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim)) != 0);
	IS_FILE(&r, "sys/set", "0-3");
	OK(strstr(root_get(&r, PATH_LEDGER), "sys/set") != NULL);
	/* somebody else's value is seen as such */
	root_put(&r, "sys/set", "0-7\n");
	release(&r, UUID_A, 1);
	IS_FILE(&r, "sys/set", "0-7");
}

/* A manager that does not answer in time: what it has stays on record, and whoever comes next puts it right. */
TEST(not_answered)
{
	for (int i = 0; i < 3; i++) {
		ROOT(r);
		struct step a = shared_step(FOLD_SUM, NULL, "sys/s", "1"), b = shared_step(FOLD_SUM, NULL, "sys/s", "2");
		struct apply_count c;

		a.backend = b.backend = "silent";
		root_put(&r, "sys/s", "10\n");
		begin(&r, UUID_A, false);
		begin(&r, UUID_B, false);
		APPLY(&r, UUID_A, a);
		APPLY(&r, UUID_B, b);
		IS_FILE(&r, "sys/s", "13");
		silent = -ETIMEDOUT;
		if (i)
			release(&r, UUID_B, 1);
		c = release(&r, UUID_A, 1);
		silent = 0;
		OK(c.failed > 0);
		IS_FILE(&r, "sys/s", "13");
		OK(strstr(root_get(&r, PATH_LEDGER), "sys/s") != NULL);
		if (i == 2) {
			IS_INT(apply_sweep(&r.fs, true, true, UINT32_MAX, NULL), 0);
		} else if (i) {
			/* somebody else's release is enough */
			begin(&r, UUID_B, false);
			release(&r, UUID_B, 1);
		} else {
			/* and so is what somebody else does to anything shared */
			root_put(&r, "sys/other", "5\n");
			APPLY(&r, UUID_B, shared_step(FOLD_MAX, NULL, "sys/other", "6"));
			IS_FILE(&r, "sys/s", "12");
			release(&r, UUID_B, 1);
		}
		IS_FILE(&r, "sys/s", "10");
		OK(!strstr(root_get(&r, PATH_LEDGER), "sys/s"));
	}
}

/* What was cut from our value when it was written may come back: that is nobody's choice. */
TEST(cut_and_whole_again)
{
	ROOT(r);

	root_put(&r, "sys/online", "0-7\n");
	root_put(&r, "sys/set", "0-7\n");
	begin(&r, UUID_A, false);
	on_write_set = "0-1,4-5,7";
	APPLY(&r, UUID_A, set_step("2-3"));
	on_write_set = NULL;
	IS_FILE(&r, "sys/set", "0-1,4-5,7");
	root_put(&r, "sys/set", "0-1,4-7\n");
	release(&r, UUID_A, 1);
	IS_FILE(&r, "sys/set", "0-7");
}

static void take_set(struct root *r)
{
	APPLY(r, UUID_A, set_step("2"));
}

/* At every write, then recovered. */
TEST(killed_while_taking_away)
{
	bool killed = true;

	for (int n = 1; killed; n++) {
		ROOT(r);

		root_put(&r, "sys/online", "0-7\n");
		root_put(&r, "sys/set", "\n");
		begin(&r, UUID_A, false);
		killed = killed_in(&r, take_set, n);
		release(&r, UUID_A, 1);
		IS_STR(root_get(&r, "sys/set"), "\n");
		OK(n < 50);
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

/* What the kernel refuses to take back stays on record, with its original, for whoever releases or wants it next. */
TEST(shared_and_not_put_back)
{
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/s", "10\n");
	begin(&r, UUID_A, false);
	APPLY(&r, UUID_A, shared_step(FOLD_MAX, NULL, "sys/s", "20"));
	setenv("DOMTUNE_FAULT", "sys/s:22*9", 1);
	c = release(&r, UUID_A, 1);
	unsetenv("DOMTUNE_FAULT");
	IS_INT(c.failed, 1);
	IS_FILE(&r, "sys/s", "20");
	OK(!knows(&r, UUID_A) && strstr(root_get(&r, PATH_LEDGER), "sys/s"));
	begin(&r, UUID_B, false);
	APPLY(&r, UUID_B, shared_step(FOLD_MAX, NULL, "sys/s", "15"));
	release(&r, UUID_B, 1);
	IS_FILE(&r, "sys/s", "10");
	OK(!strstr(root_get(&r, PATH_LEDGER), "sys/s"));
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

/* --- queues of disks -------------------------------------------------------------------------------------------- */

/* What one domain wants of a queue; NULL: nothing. */
struct queue_wish {
	const char *scheduler, *requests, *wbt;
};

static struct step queue_step(const char *file, const char *value, enum fold fold, bool is_dependant)
{
	char object[64];
	struct step s;

	(void)snprintf(object, sizeof(object), "sys/sda/%s", file);
	s = make_step(&one, "queue", object, value);
	s.fold = fold;
	s.order = fold == FOLD_STRONGEST ? "bfq mq-deadline kyber none" : NULL;
	s.group = 1;
	s.is_dependant = is_dependant;
	return s;
}

/* The steps that step.c makes of it. */
static struct apply_count apply_queue(struct root *r, const char *uuid, const struct queue_wish *w)
{
	struct step s[3];
	unsigned int n = 0;

	if (w->scheduler)
		s[n++] = queue_step("scheduler", w->scheduler, FOLD_STRONGEST, false);
	if (w->scheduler || w->requests) {
		s[n] = queue_step("requests", w->requests, FOLD_LARGEST, w->scheduler);
		s[n].setting = w->requests ? &two : &one;
		s[n++].restore_only = !w->requests;
	}
	if (w->scheduler || w->wbt) {
		s[n] = queue_step("wbt", w->wbt, FOLD_SMALLEST, w->scheduler);
		s[n].setting = w->wbt ? &three : &one;
		s[n].follows = !w->wbt;
		s[n++].restore_only = !w->wbt;
	}
	for (unsigned int i = 0; i < n && !w->scheduler; i++)
		s[i].group = i + 1;
	return n ? run_steps(r, uuid, s, n) : (struct apply_count){0};
}

static unsigned int rank(const char *scheduler)
{
	static const char *const order[] = {"bfq", "mq-deadline", "kyber", "none"};
	unsigned int i = 0;

	while (i < ARRAY_SIZE(order) && !streq(order[i], scheduler))
		i++;
	return i;
}

/*
 * What is to be in force of these wishes: the strongest, the largest, the smallest, else what it was. gone: a domain that
 * came first and has ended; NULL.
 */
static void is_queue(struct root *r, const struct queue_wish *const *w, unsigned int n, const char *scheduler,
		     const char *requests, const char *what, const struct queue_wish *gone)
{
	const char *wbt = NULL, *wish = NULL, *best = NULL;
	char got[3][32], want[3][32];
	bool ok = true;

	for (unsigned int i = 0; i < n; i++) {
		if (w[i]->scheduler && (!best || rank(w[i]->scheduler) < rank(best)))
			best = w[i]->scheduler;
		if (w[i]->requests && (!wish || atoi(w[i]->requests) > atoi(wish)))
			wish = w[i]->requests;
		if (w[i]->wbt && (!wbt || atoi(w[i]->wbt) < atoi(wbt)))
			wbt = w[i]->wbt;
	}
	best = best ? best : scheduler;
	wish = wish ? wish : requests;
	(void)snprintf(want[0], 32, "%s", best);
	(void)snprintf(want[1], 32, "%s", wish);
	/* Chosen before bfq came, and given up before it goes: what bfq would have made of it nobody has seen. */
	(void)snprintf(want[2], 32, "%s", wbt ? wbt : streq(best, "bfq") && !(gone && gone->wbt) ? "0" : QUEUE_WBT);
	for (size_t i = 0; i < ARRAY_SIZE(got); i++) {
		static const char *const files[] = {"scheduler", "requests", "wbt"};

		IS_INT(hostfs_read(&r->fs, got[i], sizeof(got[i]), "sys/sda/%s", files[i]) > 0, true);
		/* what the scheduler refuses is as it was, or as the switch has made it */
		if (i == 1 && streq(best, "none") && atoi(wish) > QUEUE_HARDWARE)
			ok &= atoi(got[i]) <= QUEUE_HARDWARE;
		else
			ok &= streq(got[i], want[i]);
	}
	if (!ok)
		TAP_FAIL("%s: %s %s %s, not %s %s %s", what, got[0], got[1], got[2], want[0], want[1], want[2]);
}

/*
 * Two domains on one disk, whatever each of them wants, in any order of ends: the strongest wishes are in force as long
 * as they are wanted, and then the queue is what it was.
 */
TEST(queues_of_two_domains)
{
	static const struct queue_wish wishes[] = {
		{NULL, "64", NULL},   {NULL, "200", NULL}, {NULL, NULL, "500"}, {"none", NULL, NULL},
		{"bfq", "64", NULL}, {"bfq", NULL, NULL}, {"none", "200", "600"},
	};
	static const char *const originals[][2] = {{"none", "100"}, {"mq-deadline", "200"}};
	const unsigned int n = ARRAY_SIZE(wishes);

	for (unsigned int i = 0; i < n * n * ARRAY_SIZE(originals) * 2; i++) {
		ROOT(r);
		const struct queue_wish *a = &wishes[i % n], *b = &wishes[i / n % n], *both[] = {a, b};
		const char *const *original = originals[i / n / n % ARRAY_SIZE(originals)];
		bool a_first = i / n / n / ARRAY_SIZE(originals);
		char text[128];

		(void)snprintf(text, sizeof(text), "%s/%s/%s, then %s/%s/%s, on %s %s, %s ends first",
			       a->scheduler ? a->scheduler : "-", a->requests ? a->requests : "-", a->wbt ? a->wbt : "-",
			       b->scheduler ? b->scheduler : "-", b->requests ? b->requests : "-", b->wbt ? b->wbt : "-",
			       original[0], original[1], a_first ? "A" : "B");
		root_put(&r, "sys/sda/scheduler", original[0]);
		root_put(&r, "sys/sda/requests", original[1]);
		root_put(&r, "sys/sda/wbt", QUEUE_WBT);
		begin(&r, UUID_A, false);
		begin(&r, UUID_B, false);
		(void)apply_queue(&r, UUID_A, a);
		is_queue(&r, both, 1, original[0], original[1], text, NULL);
		(void)apply_queue(&r, UUID_B, b);
		is_queue(&r, both, 2, original[0], original[1], text, NULL);
		release(&r, a_first ? UUID_A : UUID_B, 1);
		is_queue(&r, a_first ? both + 1 : both, 1, original[0], original[1], text, a_first ? a : NULL);
		release(&r, a_first ? UUID_B : UUID_A, 1);
		is_queue(&r, both, 0, original[0], original[1], text, NULL);
		OK(!strstr(root_get(&r, PATH_LEDGER), "shared"));
		root_fini(&r);
	}
}

/* --- clocks ----------------------------------------------------------------------------------------------------- */

static struct step clock_step(const char *file, const char *value, bool is_dependant)
{
	char object[64];
	struct step s;

	(void)snprintf(object, sizeof(object), "sys/policy0/%s", file);
	s = make_step(&one, "pstate", object, value);
	s.fold = FOLD_STRONGEST;
	s.order = streq(file, "governor") ? PLAN_GOVERNORS : PLAN_PREFERENCES;
	s.group = 1;
	s.is_dependant = is_dependant;
	return s;
}

/* The steps of step_at_governor() and step_at_energy(). */
static struct apply_count apply_clock(struct root *r, const char *uuid, const char *governor, const char *preference)
{
	struct step s[2];
	unsigned int n = 0;

	if (governor)
		s[n++] = clock_step("governor", governor, false);
	s[n] = clock_step("preference", preference, governor);
	s[n].setting = preference ? &two : &one;
	s[n].follows = s[n].restore_only = !preference;
	return run_steps(r, uuid, s, n + 1);
}

static void is_clock(struct root *r, const char *governor, const char *preference, const char *what)
{
	char now[2][32];

	IS_INT(hostfs_read(&r->fs, now[0], sizeof(now[0]), "sys/policy0/governor") > 0, 1);
	IS_INT(hostfs_read(&r->fs, now[1], sizeof(now[1]), "sys/policy0/preference") > 0, 1);
	if (!streq(now[0], governor) || !streq(now[1], preference))
		TAP_FAIL("%s: %s, %s", what, now[0], now[1]);
}

/* A clock of two domains: one wants it fast, the other at a preference that the fast governor does not take. */
TEST(clocks_of_two_domains)
{
	for (int i = 0; i < 4; i++) {
		bool fast_first = i & 1, fast_ends_first = i & 2;
		ROOT(r);

		root_put(&r, "sys/policy0/governor", "powersave\n");
		root_put(&r, "sys/policy0/preference", "balance_performance\n");
		root_put(&r, "sys/policy0/kept", "?\n");
		begin(&r, UUID_A, false);
		begin(&r, UUID_B, false);
		for (int k = 0; k < 2; k++) {
			struct apply_count c;

			if (k == !fast_first) {
				c = apply_clock(&r, UUID_A, "performance", NULL);
				is_clock(&r, "performance", "performance", "fast");
				IS_INT(c.in_force, 1);
				IS_INT(c.failed, 0);
			} else {
				c = apply_clock(&r, UUID_B, NULL, "power");
				is_clock(&r, fast_first ? "performance" : "powersave", fast_first ? "performance" : "power",
					 "preference");
				IS_INT(c.failed, fast_first);
			}
		}
		release(&r, fast_ends_first ? UUID_A : UUID_B, 1);
		is_clock(&r, fast_ends_first ? "powersave" : "performance", fast_ends_first ? "power" : "performance",
			 "one is left");
		release(&r, fast_ends_first ? UUID_B : UUID_A, 1);
		is_clock(&r, "powersave", "balance_performance", "none is left");
		OK(!strstr(root_get(&r, PATH_LEDGER), "shared"));
		root_fini(&r);
	}
}

/* Decided again without the preference, which the governor that stays takes no other in place of. */
TEST(a_preference_that_ends_before_the_governor)
{
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/policy0/governor", "powersave\n");
	root_put(&r, "sys/policy0/preference", "balance_performance\n");
	root_put(&r, "sys/policy0/kept", "?\n");
	begin(&r, UUID_A, false);
	IS_INT(apply_clock(&r, UUID_A, "performance", "performance").in_force, 2);
	c = apply_clock(&r, UUID_A, "performance", NULL);
	IS_INT(c.in_force, 1);
	IS_INT(c.failed, 0);
	IS_STR(c.failure, "");
	is_clock(&r, "performance", "performance", "governor only");
	c = release(&r, UUID_A, 1);
	IS_INT(c.failed, 0);
	is_clock(&r, "powersave", "balance_performance", "none is left");
	OK(!strstr(root_get(&r, PATH_LEDGER), "shared"));
}

/* A setting answers for what it wants, not for what its write resets. */
TEST(dependants_of_others_are_not_our_failure)
{
	static const struct queue_wish deep = {NULL, "200", NULL}, none = {"none", NULL, NULL}, more = {"none", "200", NULL};
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/sda/scheduler", "mq-deadline\n");
	root_put(&r, "sys/sda/requests", "256\n");
	root_put(&r, "sys/sda/wbt", QUEUE_WBT "\n");
	begin(&r, UUID_A, false);
	begin(&r, UUID_B, false);
	c = apply_queue(&r, UUID_A, &deep);
	IS_INT(c.in_force, 1);
	IS_FILE(&r, "sys/sda/requests", "200");
	/* 200 requests are too many for none: A's wish waits */
	c = apply_queue(&r, UUID_B, &none);
	IS_INT(c.in_force, 1);
	IS_INT(c.failed, 0);
	IS_FILE(&r, "sys/sda/requests", "128");
	/* ... and is B's own failure where it wants them itself */
	c = apply_queue(&r, UUID_B, &more);
	IS_INT(c.in_force, 1);
	IS_INT(c.failed, 1);
	c = release(&r, UUID_B, 1);
	IS_INT(c.in_force, 2);
	IS_INT(c.failed, 0);
	IS_FILE(&r, "sys/sda/scheduler", "mq-deadline");
	IS_FILE(&r, "sys/sda/requests", "200");
	release(&r, UUID_A, 1);
	IS_FILE(&r, "sys/sda/requests", "256");
}

/* Somebody else switches the scheduler while a domain runs: all of it is his from there on. */
TEST(queue_taken_by_somebody_else)
{
	static const struct queue_wish bfq = {"bfq", "64", NULL};
	ROOT(r);
	struct apply_count c;

	root_put(&r, "sys/sda/scheduler", "none\n");
	root_put(&r, "sys/sda/requests", "100\n");
	root_put(&r, "sys/sda/wbt", QUEUE_WBT "\n");
	begin(&r, UUID_A, false);
	(void)apply_queue(&r, UUID_A, &bfq);
	IS_INT(queue_write(&r.fs, "sys/sda/scheduler", "kyber"), 0);
	c = release(&r, UUID_A, 1);
	IS_INT(c.skipped, 2);
	IS_FILE(&r, "sys/sda/scheduler", "kyber");
	IS_FILE(&r, "sys/sda/requests", "256");
	IS_FILE(&r, "sys/sda/wbt", QUEUE_WBT);
}

/* Decided again while it runs: the scheduler stays, the rest is not wanted any more. */
TEST(wishes_that_end_before_the_scheduler)
{
	static const struct queue_wish bfq = {"bfq", NULL, NULL}, all = {"bfq", "64", "500"};
	ROOT(r);

	root_put(&r, "sys/sda/scheduler", "none\n");
	root_put(&r, "sys/sda/requests", "100\n");
	root_put(&r, "sys/sda/wbt", QUEUE_WBT "\n");
	begin(&r, UUID_A, false);
	(void)apply_queue(&r, UUID_A, &bfq);
	IS_FILE(&r, "sys/sda/wbt", "0");
	IS_INT(apply_queue(&r, UUID_A, &all).in_force, 3);
	IS_FILE(&r, "sys/sda/requests", "64");
	IS_FILE(&r, "sys/sda/wbt", "500");
	IS_INT(apply_queue(&r, UUID_A, &bfq).failed, 0);
	IS_FILE(&r, "sys/sda/scheduler", "bfq");
	IS_FILE(&r, "sys/sda/requests", "100");
	IS_FILE(&r, "sys/sda/wbt", QUEUE_WBT); /* nobody is left to say what bfq had made of it: it is what it was */
	release(&r, UUID_A, 1);
	IS_FILE(&r, "sys/sda/scheduler", "none");
	IS_FILE(&r, "sys/sda/requests", "100");
	IS_FILE(&r, "sys/sda/wbt", QUEUE_WBT);
}

TAP_MAIN

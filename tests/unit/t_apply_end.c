/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ends of starts: with and without their files, by others' hands, and by kill -9 at every durable action. */
#include "apply_host.h"

TEST(undo_without_its_file)
{
	ROOT(r);

	root_put(&r, "sys/s", "10\n");
	begin(&r, UUID_A, false);
	APPLY(&r, UUID_A, shared_step(FOLD_MAX, NULL, "sys/s", "20"));
	root_remove(&r, PATH_UNDO "/" UUID_A);
	release(&r, UUID_A, 1);
	IS_FILE(&r, "sys/s", "10");
	OK(!knows(&r, UUID_A));
}

TEST(undo_without_the_ledger)
{
	ROOT(r);

	root_put(&r, "sys/a", "1\n");
	begin(&r, UUID_A, false);
	APPLY(&r, UUID_A, make_step(&one, "file", "sys/a", "2"));
	root_remove(&r, PATH_LEDGER);
	release(&r, UUID_A, 1);
	IS_FILE(&r, "sys/a", "1");
	OK(!hostfs_exists(&r.fs, PATH_UNDO "/" UUID_A));
}

TEST(undo_where_nothing_ever_was)
{
	ROOT(r);
	struct apply_count c = {0};
	struct err e = {0};

	IS_INT(undo_all(&r.fs, UUID_A, &c, &e), 0);
	OK(!hostfs_exists(&r.fs, PATH_STATE));
	IS_INT(undo_all(&r.fs, "../x", &c, &e), -EINVAL);
}

TEST(a_file_that_is_not_ours_is_removed_not_followed)
{
	ROOT(r);

	root_put(&r, "sys/a", "1\n");
	begin(&r, UUID_A, false);
	APPLY(&r, UUID_A, make_step(&one, "file", "sys/a", "2"));
	root_put(&r, PATH_UNDO "/" UUID_A, "intent\t1\t0\town\tk\tt\tfile\tsys/a\t9\t2\t00000000\n");
	release(&r, UUID_A, 1);
	IS_FILE(&r, "sys/a", "2");
	OK(!knows(&r, UUID_A));
}

/* The second start came while the first one's undo was looking. */
TEST(a_newer_start_is_not_undone)
{
	ROOT(r);
	struct ledger l = {0};
	struct apply_count c = {0};
	_cleanup_free_ char *old = NULL;

	root_put(&r, "sys/a", "1\n");
	begin(&r, UUID_A, false);
	old = root_dup(&r, PATH_UNDO "/" UUID_A);
	begin(&r, UUID_A, false);
	root_put(&r, PATH_UNDO "/" UUID_A, old); /* as it was when the undo opened it */
	IS_INT(undo_all(&r.fs, UUID_A, &c, NULL), 0);
	IS_INT(ledger_read(&r.fs, &l, NULL), 0);
	IS_INT(l.n_claims, 1);
	ledger_fini(&l);
	OK(hostfs_exists(&r.fs, PATH_UNDO "/" UUID_A));
}

TEST(sweep)
{
	ROOT(r);
	struct ledger l = {0};
	struct err e = {0};

	IS_INT(apply_sweep(&r.fs, true, true, 8, &e), 0); /* nothing there at all */
	root_put(&r, "sys/a", "1\n");
	root_put(&r, "sys/b", "1\n");
	begin(&r, UUID_A, false);
	begin(&r, UUID_B, false);
	APPLY(&r, UUID_A, make_step(&one, "file", "sys/a", "2"));
	APPLY(&r, UUID_B, make_step(&one, "file", "sys/b", "2"));
	IS_INT(ledger_read(&r.fs, &l, NULL), 0);
	ledger_find(&l, UUID_A)->pid = 811;
	ledger_find(&l, UUID_A)->pid_start = 5;
	ledger_find(&l, UUID_B)->pid = 812;
	ledger_find(&l, UUID_B)->pid_start = 5;
	IS_INT(ledger_write(&r.fs, &l, NULL), 0);
	ledger_fini(&l);
	root_put_stat(&r, 812, 5);
	IS_INT(apply_sweep(&r.fs, true, false, 8, &e), 0); /* another root: only recover judges */
	IS_FILE(&r, "sys/a", "2");
	IS_INT(apply_sweep(&r.fs, false, true, 8, &e), 1);
	IS_FILE(&r, "sys/a", "1");
	IS_FILE(&r, "sys/b", "2");
	OK(!knows(&r, UUID_A));
	root_put_stat(&r, 812, 6);
	IS_INT(apply_sweep(&r.fs, false, true, 8, &e), 1);
	IS_FILE(&r, "sys/b", "1");
	OK(!knows(&r, UUID_B));
}

TEST(sweep_of_leftovers)
{
	ROOT(r);
	struct undo u;
	struct err e = {0};

	root_put(&r, "sys/a", "1\n");
	root_put(&r, "sys/b", "1\n");
	begin(&r, UUID_A, false);
	begin(&r, UUID_B, false);
	APPLY(&r, UUID_A, make_step(&one, "file", "sys/a", "2"));
	APPLY(&r, UUID_B, make_step(&one, "file", "sys/b", "2"));
	IS_INT(undo_open(&r.fs, UUID_B, true, &u, NULL), 0);
	u.pid = 812;
	u.pid_start = 5;
	IS_INT(undo_set_phase(&u, CLAIM_STARTED), 0);
	undo_fini(&u);
	root_put_stat(&r, 812, 5);
	root_remove(&r, PATH_LEDGER);
	root_put(&r, PATH_PLAN "/" UUID_C, "");
	root_put(&r, PATH_UNDO "/not-a-uuid", "");
	IS_INT(apply_sweep(&r.fs, false, true, UINT32_MAX, &e), 0);
	IS_FILE(&r, "sys/a", "2");
	IS_INT(apply_sweep(&r.fs, true, true, 1, &e), 1);
	IS_INT(apply_sweep(&r.fs, true, true, UINT32_MAX, &e), 1);
	IS_FILE(&r, "sys/a", "1");
	OK(!hostfs_exists(&r.fs, PATH_PLAN "/" UUID_C));
	/* It runs: the ledger was lost, not the domain. */
	IS_FILE(&r, "sys/b", "2");
	OK(hostfs_exists(&r.fs, PATH_UNDO "/" UUID_B));
}

/* --- kill -9 ---------------------------------------------------------------------------------------------------- */

#if defined(DT_SAN) || defined(DT_TEST)
static const char *const host_files[] = {"sys/a",     "sys/s", "sys/sda/scheduler", "sys/sda/requests",
					 "sys/other", "sys/h"};

static void put_host(struct root *r)
{
	put_disk(r);
	root_put(r, "sys/a", "1\n");
	root_put(r, "sys/s", "10\n");
	root_put(r, "sys/h", "4096\n");
}

static void is_host(struct root *r, int n, int m)
{
	static const char *const want[] = {"1\n", "10\n", "mq-deadline\n", "256\n", "1\n", "4096\n"};

	for (size_t i = 0; i < ARRAY_SIZE(host_files); i++)
		if (!streq(root_get(r, host_files[i]), want[i]))
			TAP_FAIL("killed at %d, then at %d: %s is %s", n, m, host_files[i], root_get(r, host_files[i]));
	if (knows(r, UUID_A) || strstr(root_get(r, PATH_LEDGER), "shared"))
		TAP_FAIL("killed at %d, then at %d: something is left in " PATH_STATE, n, m);
}

static void whole_start(struct root *r)
{
	struct step cause = make_step(&one, "reset", "sys/sda/scheduler", "none");
	struct step requests = make_step(&two, "reset", "sys/sda/requests", "1024");

	begin(r, UUID_A, false);
	cause.group = requests.group = 1;
	requests.is_dependant = true;
	APPLY(r, UUID_A, make_step(&three, "file", "sys/a", "2"), shared_step(FOLD_MAX, NULL, "sys/s", "20"), cause,
	      requests, make_step(&one, "file", "sys/other", "2"), make_step(&one, "round", "sys/h", "8192"));
}

static void whole_undo(struct root *r)
{
	struct apply_count c = {0};

	(void)undo_all(&r->fs, UUID_A, &c, NULL);
}

/* A root whose preparation is not counted: hostfs_durable() counts per process. */
static void put_host_in_child(struct root *r)
{
	(void)killed_in(r, put_host, 0);
}

TEST(killed_at_every_action_forward)
{
	int n = 0;
	bool killed = true;

	while (killed) {
		ROOT(r);

		n++;
		put_host_in_child(&r);
		killed = killed_in(&r, whole_start, n);
		(void)killed_in(&r, whole_undo, 0);
		is_host(&r, n, 0);
	}
	printf("# %d durable actions in a start\n", n - 1);
	OK(n > 20);
}

TEST(killed_at_every_action_back)
{
	int n = 0;
	bool killed = true;

	while (killed) {
		ROOT(r);

		n++;
		put_host_in_child(&r);
		(void)killed_in(&r, whole_start, 0);
		killed = killed_in(&r, whole_undo, n);
		(void)killed_in(&r, whole_undo, 0);
		is_host(&r, 0, n);
	}
	printf("# %d durable actions in an undo\n", n - 1);
	OK(n > 10);
}

/* Every third point of one with every point of the other. */
TEST(killed_forward_and_back)
{
	bool killed = true;

	for (int n = 1; killed; n += 3) {
		bool again = true;

		for (int m = 1; again; m++) {
			ROOT(r);

			put_host_in_child(&r);
			killed = killed_in(&r, whole_start, n);
			again = killed_in(&r, whole_undo, m);
			(void)killed_in(&r, whole_undo, 0);
			is_host(&r, n, m);
		}
	}
}
#else
TEST(killed_at_every_action)
{
	SKIP("needs a build with SAN=1 or -DDT_TEST");
}
#endif

/* Who undoes a start that is over does not stop the worker of the next one. */
TEST(a_newer_start_is_not_told_to_stop)
{
	ROOT(r);
	struct apply_count count = {0};
	struct undo u;

	IS_INT(begin(&r, UUID_A, false), 0);
	IS_INT(undo_open(&r.fs, UUID_A, true, &u, NULL), 0);
	IS_INT(undo_start(&r.fs, UUID_A, u.generation - 1, &count, NULL), -ETIMEDOUT);
	OK(undo_still_current(&u));
	IS_INT(undo_start(&r.fs, UUID_A, u.generation, &count, NULL), -ETIMEDOUT);
	OK(!undo_still_current(&u));
	undo_fini(&u);
	release(&r, UUID_A, 1);
}

TAP_MAIN

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/undo.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "common/paths.h"
#include "root_state.h"
#include "tap.h"

#define UUID    "11111111-2222-3333-4444-555555555555"
#define FILE_OF PATH_UNDO "/" UUID

static char hostile[] = "a\tb\n\\c\x01\xff..//", long_value[20000];

static void make_plan(struct plan *p)
{
	*p = (struct plan){.name = strdup(hostile), .profile = strdup("latency"), .id = 7, .fail = true};
	p->wrapper.emulator = strdup("/usr/bin/qemu-system-x86_64");
	(void)snprintf(p->uuid, sizeof(p->uuid), "%s", UUID);
	OK(plan_add_setting(p, "cpu.policy", "vcpu0", STAGE_STARTED, "2", "annotation", "why not") == 0);
	OK(plan_add_setting(p, "cpu.weight", "", STAGE_STARTED, "200", "profile latency", "") == 0);
	OK(plan_add_skipped(p, "disk.scheduler", "vda", "not in this version") == 0);
}

static void create(struct root *r, uint64_t generation)
{
	_cleanup_(plan_fini) struct plan p = {0};
	struct err e = {0};

	(void)hostfs_mkdir(&r->fs, 0755, "%s", PATH_PLAN);
	(void)hostfs_mkdir(&r->fs, 0700, "%s", PATH_UNDO);
	make_plan(&p);
	IS_INT(undo_create(&r->fs, &p, generation, &e), 0);
}

/* Two steps done, one refused, one with its cause, one unsettled, one result of the wrapper. */
static void write_some(struct undo *u)
{
	memset(long_value, '1', sizeof(long_value) - 1);
	IS_INT(undo_intent(u, "sysctl", "x", "file", "proc/sys/x", "1", "2", true), 1);
	IS_INT(undo_done(u, 1, "2"), 0);
	IS_INT(undo_intent(u, "cpu.policy", "vcpu0", "cgroup", hostile, "0-3", "2", false), 2);
	IS_INT(undo_intent_of(u, 2, "cpu.policy", "vcpu0", "thread", "1:2/3:4/affinity", "0-3", long_value), 3);
	IS_INT(undo_done(u, 2, hostile), 0);
	IS_INT(undo_intent(u, "cpu.weight", "", "cgroup", "c", "", "200", false), 4);
	IS_INT(undo_left(u, 4, ERANGE, "Numerical result out of range"), 0);
	IS_INT(undo_exec_result(u, "memory.pages", "node0", true, "2M", ""), 0);
	IS_INT(undo_undoing(u, 3), 0);
	IS_INT(undo_intent(u, "cpu.quota", "", "cgroup", "d", "max", "100", false), 5);
	IS_INT(undo_undone(u, 1, "restored"), 0);
}

static void check_some(const struct undo *u)
{
	static const enum undo_state states[] = {UNDO_UNDONE, UNDO_DONE, UNDO_INTENT, UNDO_LEFT, UNDO_INTENT};

	IS_INT(u->n_steps, 5);
	for (unsigned int i = 0; i < u->n_steps && i < 5; i++) {
		IS_INT(u->steps[i].number, i + 1);
		IS_INT(u->steps[i].state, states[i]);
		IS_INT(u->steps[i].shared, i == 0);
		IS_INT(u->steps[i].cause, i == 2 ? 2 : 0);
		IS_INT(u->steps[i].undoing, i == 2);
	}
	if (u->n_steps != 5)
		return;
	IS_STR(u->steps[1].object, hostile);
	IS_STR(u->steps[1].readback, hostile);
	IS_STR(u->steps[2].wanted, long_value);
	IS_STR(u->steps[3].original, "");
	IS_INT(u->steps[3].code, ERANGE);
	IS_STR(u->steps[0].why, "restored");
	IS_INT(u->n_execs, 1);
	OK(u->n_execs == 1 && u->execs[0].ok && streq(u->execs[0].effective, "2M"));
}

TEST(comes_back_as_it_was_written)
{
	ROOT(r);
	struct undo u;
	struct err e = {0};

	create(&r, 42);
	IS_INT(root_mode(&r, FILE_OF), 0600);
	IS_INT(undo_open(&r.fs, UUID, true, &u, &e), 0);
	IS_INT(u.generation, 42);
	IS_STR(u.plan.name, hostile);
	IS_STR(u.plan.profile, "latency");
	OK(u.plan.fail);
	IS_INT(u.plan.n_settings, 2);
	IS_INT(u.plan.n_skipped, 1);
	IS_INT(u.phase, CLAIM_PREPARED);
	OK(u.since > 1600000000);
	u.pid = 812;
	u.pid_start = 99;
	IS_INT(undo_set_phase(&u, CLAIM_STARTED), 0);
	write_some(&u);
	check_some(&u);
	undo_fini(&u);
	IS_INT(undo_open(&r.fs, UUID, false, &u, &e), 0);
	IS_INT(u.bad_lines, 0);
	IS_INT(u.phase, CLAIM_STARTED);
	IS_INT(u.pid, 812);
	IS_INT(u.pid_start, 99);
	IS_INT(u.fd, -1);
	check_some(&u);
	/* Read only is that. */
	IS_INT(undo_done(&u, 5, "x"), -EBADF);
	OK(!undo_still_current(&u));
	undo_fini(&u);
}

/* What was skipped for want of an object may find one later, and lose it again. */
TEST(skipped_and_found)
{
	static char knob[] = "cpu.policy", target[] = "vcpu7";
	const struct setting s = {.knob = knob, .target = target};
	struct skipped skip = {.knob = knob, .target = target, .why = knob};
	struct undo u;
	size_t n;
	ROOT(r);

	create(&r, 42);
	IS_INT(undo_open(&r.fs, UUID, true, &u, NULL), 0);
	n = u.plan.n_skipped;
	IS_INT(undo_skipped(&u, &skip), 0);
	undo_fini(&u);
	IS_INT(undo_open(&r.fs, UUID, true, &u, NULL), 0);
	IS_INT(u.plan.n_skipped, n + 1);
	IS_INT(undo_found(&u, &s), 0);
	IS_INT(u.plan.n_skipped, n);
	undo_fini(&u);
	IS_INT(undo_open(&r.fs, UUID, true, &u, NULL), 0);
	IS_INT(u.plan.n_skipped, n);
	IS_INT(undo_skipped(&u, &skip), 0);
	undo_fini(&u);
	IS_INT(undo_open(&r.fs, UUID, true, &u, NULL), 0);
	IS_INT(u.plan.n_skipped, n + 1);
	IS_INT(u.bad_lines, 0);
	IS_INT(undo_found(&u, &s), 0);
	IS_INT(undo_rewrite(&r.fs, &u, NULL, NULL), 0);
	IS_INT(u.plan.n_skipped, n);
	undo_fini(&u);
}

/* What may wait is not in the file until it has to be; what has to be there takes it along, in order. */
TEST(records_that_wait)
{
	ROOT(r);
	struct undo u, now;
	size_t before;

	create(&r, 42);
	IS_INT(undo_open(&r.fs, UUID, true, &u, NULL), 0);
	undo_batch(&u);
	before = u.size;
	IS_INT(undo_intent(&u, "k", "", "file", "a", "1", "2", false), 1);
	IS_INT(undo_intent(&u, "k", "", "file", "b", "1", "2", false), 2);
	IS_INT(u.size, before);
	IS_INT(undo_commit(&u), 0);
	OK(u.size > before);
	before = u.size;
	OK(undo_still_current(&u));
	IS_INT(undo_done(&u, 1, "2"), 0); /* as wanted: the object says so, too */
	IS_INT(undo_commit(&u), 0);
	IS_INT(u.size, before);
	IS_INT(undo_open(&r.fs, UUID, false, &now, NULL), 0);
	IS_INT(now.n_steps, 2);
	IS_INT(now.steps[0].state, UNDO_INTENT);
	undo_fini(&now);
	IS_INT(undo_done(&u, 2, "3"), 0); /* only the record can say that */
	OK(u.size > before);
	IS_INT(undo_undone(&u, 2, "restored"), 0);
	IS_INT(undo_open(&r.fs, UUID, false, &now, NULL), 0);
	IS_INT(now.steps[0].state, UNDO_DONE);
	IS_INT(now.steps[1].state, UNDO_DONE);
	IS_STR(now.steps[1].readback, "3");
	undo_fini(&now);
	IS_INT(undo_flush(&u), 0);
	OK(undo_still_current(&u));
	IS_INT(undo_open(&r.fs, UUID, false, &now, NULL), 0);
	IS_INT(now.steps[1].state, UNDO_UNDONE);
	IS_INT(now.bad_lines, 0);
	undo_fini(&now);
	/* After it nothing waits. */
	before = u.size;
	IS_INT(undo_intent(&u, "k", "", "file", "c", "1", "2", false), 3);
	OK(u.size > before);
	undo_fini(&u);
}

/* Intents that cannot be written are forgotten, all that waited together. */
TEST(intents_that_cannot_be_written)
{
	ROOT(r);
	struct undo u;

	create(&r, 42);
	IS_INT(undo_open(&r.fs, UUID, true, &u, NULL), 0);
	IS_INT(undo_intent(&u, "k", "", "file", "a", "1", "2", false), 1);
	undo_batch(&u);
	IS_INT(undo_intent(&u, "k", "", "file", "b", "1", "2", false), 2);
	IS_INT(undo_intent(&u, "k", "", "file", "c", "1", "2", false), 3);
	close(u.fd);
	u.fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	IS_INT(undo_commit(&u), -ENOSPC);
	IS_INT(u.n_steps, 1);
	OK(undo_find(&u, 2) == NULL && undo_find(&u, 3) == NULL);
	IS_INT(undo_commit(&u), 0);
	undo_fini(&u);
}

TEST(what_cannot_be_used)
{
	ROOT(r);
	struct undo u;
	struct err e = {0};
	char path[256], *text;

	IS_INT(undo_open(&r.fs, UUID, true, &u, &e), -ENOENT);
	IS_INT(undo_open(&r.fs, "../../../etc/passwd", true, &u, &e), -EINVAL);
	IS_INT(undo_open(&r.fs, "", true, &u, &e), -EINVAL);
	root_put(&r, "proc/sys/kernel/random/boot_id", "aaaaaaaa-0000-0000-0000-000000000000\n");
	create(&r, 1);
	text = root_dup(&r, FILE_OF);
	root_put(&r, "proc/sys/kernel/random/boot_id", "bbbbbbbb-0000-0000-0000-000000000000\n");
	IS_INT(undo_open(&r.fs, UUID, true, &u, &e), -ESTALE);
	root_put(&r, "proc/sys/kernel/random/boot_id", "aaaaaaaa-0000-0000-0000-000000000000\n");
	IS_INT(undo_open(&r.fs, UUID, true, &u, &e), 0);
	undo_fini(&u);
	/* Another domain's file under this name. */
	root_put(&r, PATH_UNDO "/21111111-2222-3333-4444-555555555555", text);
	IS_INT(undo_open(&r.fs, "21111111-2222-3333-4444-555555555555", true, &u, &e), -EBADMSG);
	(void)snprintf(path, sizeof(path), "%s/" FILE_OF, r.dir);
	IS_INT(chmod(path, 0620), 0);
	IS_INT(undo_open(&r.fs, UUID, true, &u, &e), -EPERM);
	IS_INT(chmod(path, 0600), 0);
	if (geteuid() == 0) {
		IS_INT(chown(path, 1234, -1), 0);
		IS_INT(undo_open(&r.fs, UUID, true, &u, &e), -EPERM);
	}
	IS_INT(unlink(path), 0);
	IS_INT(symlink("21111111-2222-3333-4444-555555555555", path), 0);
	IS_INT(undo_open(&r.fs, UUID, true, &u, &e), -ELOOP);
	IS_INT(unlink(path), 0);
	IS_INT(mkfifo(path, 0600), 0);
	OK(undo_open(&r.fs, UUID, true, &u, &e) < 0);
	OK(undo_open(&r.fs, UUID, false, &u, &e) < 0);
	free(text);
}

/* At every byte: what was whole before it holds, and what is appended after it is read. */
TEST(torn_at_every_byte)
{
	ROOT(r);
	struct undo u;
	char *text;
	size_t len, head;
	unsigned int most = 0;

	create(&r, 1);
	memset(long_value, '1', 40);
	IS_INT(undo_open(&r.fs, UUID, true, &u, NULL), 0);
	IS_INT(undo_intent(&u, "k", "t", "file", "x", "1", "2", false), 1);
	IS_INT(undo_done(&u, 1, "2"), 0);
	IS_INT(undo_intent(&u, "k", "t", "file", "y", "1", "2", false), 2);
	IS_INT(undo_set_phase(&u, CLAIM_STOPPED), 0);
	undo_fini(&u);
	text = root_dup(&r, FILE_OF);
	len = strlen(text);
	head = (size_t)(strchr(text, '\n') - text);
	for (size_t cut = 0; cut <= len; cut++) {
		unsigned int before;
		int n;

		root_put_bytes(&r, FILE_OF, text, cut);
		n = undo_open(&r.fs, UUID, true, &u, NULL);
		IS_INT(n, cut < head ? -EBADMSG : 0);
		if (n < 0)
			continue;
		OK(u.bad_lines <= 1 && u.n_steps >= most);
		most = u.n_steps;
		before = u.n_steps;
		n = undo_intent(&u, "k", "t", "file", "z", "8", "9", false);
		OK(n > 0);
		OK(undo_still_current(&u));
		IS_INT(undo_done(&u, (unsigned int)n, "9"), 0);
		undo_fini(&u);
		IS_INT(undo_open(&r.fs, UUID, true, &u, NULL), 0);
		IS_INT(u.n_steps, before + 1);
		OK(u.n_steps && streq(u.steps[u.n_steps - 1].object, "z"));
		OK(u.n_steps && u.steps[u.n_steps - 1].state == UNDO_DONE);
		undo_fini(&u);
	}
	IS_INT(most, 2);
	free(text);
}

TEST(every_flipped_bit_costs_one_line)
{
	ROOT(r);
	struct undo u;
	char *text;
	size_t len;

	create(&r, 1);
	IS_INT(undo_open(&r.fs, UUID, true, &u, NULL), 0);
	IS_INT(undo_intent(&u, "k", "t", "file", "x", "1", "2", false), 1);
	IS_INT(undo_intent(&u, "k", "t", "file", "y", "1", "2", false), 2);
	undo_fini(&u);
	text = root_dup(&r, FILE_OF);
	len = strlen(text);
	for (size_t at = 0; at < len; at++) {
		text[at] = (char)(text[at] ^ 4);
		root_put_bytes(&r, FILE_OF, text, len);
		if (undo_open(&r.fs, UUID, true, &u, NULL) == 0) {
			OK(u.bad_lines >= 1 && u.bad_lines <= 2 && u.n_steps <= 2);
			undo_fini(&u);
		}
		text[at] = (char)(text[at] ^ 4);
	}
	free(text);
}

/* A step whose line was lost: its number is not given to another. */
TEST(numbers_after_a_lost_line)
{
	ROOT(r);
	struct undo u;
	char *text, *line;

	create(&r, 1);
	IS_INT(undo_open(&r.fs, UUID, true, &u, NULL), 0);
	for (int i = 1; i <= 3; i++)
		IS_INT(undo_intent(&u, "k", "t", "file", "x", "1", "2", false), i);
	undo_fini(&u);
	text = root_dup(&r, FILE_OF);
	line = strstr(text, "intent\t2\t");
	OK(line != NULL);
	if (line)
		line[0] = 'I';
	root_put(&r, FILE_OF, text);
	IS_INT(undo_open(&r.fs, UUID, true, &u, NULL), 0);
	IS_INT(u.n_steps, 2);
	OK(undo_find(&u, 2) == NULL);
	OK(undo_find(&u, 3) != NULL && undo_find(&u, 3)->number == 3);
	OK(undo_find(&u, 0) == NULL);
	IS_INT(undo_intent(&u, "k", "t", "file", "y", "1", "2", false), 4);
	undo_fini(&u);
	free(text);
}

/* Somebody who does not hold the lock. */
static void append_line(struct root *r, const char *type, const char *field)
{
	_cleanup_close_ int fd = openat(r->fs.fd, FILE_OF, O_WRONLY | O_APPEND | O_CLOEXEC);
	_cleanup_sbuf_ struct sbuf b = {0};

	record_add(&b, type, field, "1700000000", "0", "0", NULL);
	IS_INT(hostfs_append(fd, b.s, b.len), 0);
}

TEST(a_newer_start_or_a_later_phase_ends_it)
{
	ROOT(r);
	struct undo u;

	create(&r, 1);
	IS_INT(undo_open(&r.fs, UUID, true, &u, NULL), 0);
	OK(undo_still_current(&u));
	IS_INT(undo_set_phase(&u, CLAIM_STARTED), 0);
	OK(undo_still_current(&u));
	/* Lines of others that are no later phase do not matter, also in between ours. */
	append_line(&r, "skip", "x");
	OK(undo_intent(&u, "k", "t", "file", "y", "1", "2", false) > 0);
	OK(undo_still_current(&u));
	append_line(&r, "phase", "started");
	OK(undo_still_current(&u));
	IS_INT(undo_tell_stopped(&r.fs, UUID), 0);
	OK(undo_intent(&u, "k", "t", "file", "z", "1", "2", false) > 0);
	OK(!undo_still_current(&u));
	undo_fini(&u);
	IS_INT(undo_open(&r.fs, UUID, true, &u, NULL), 0);
	IS_INT(u.phase, CLAIM_STOPPED);
	IS_INT(u.n_steps, 2);
	IS_INT(u.bad_lines, 0);
	OK(undo_still_current(&u));
	create(&r, 2);
	OK(!undo_still_current(&u));
	undo_fini(&u);
	IS_INT(undo_open(&r.fs, UUID, true, &u, NULL), 0);
	IS_INT(u.generation, 2);
	IS_INT(undo_remove(&r.fs, UUID), 0);
	OK(!undo_still_current(&u));
	IS_INT(undo_remove(&r.fs, UUID), 0);
	IS_INT(undo_tell_stopped(&r.fs, UUID), -ENOENT);
	undo_fini(&u);
}

TEST(nothing_is_recorded_on_a_full_disk)
{
#if defined(DT_SAN) || defined(DT_TEST)
	ROOT(r);
	struct undo u;

	create(&r, 1);
	IS_INT(undo_open(&r.fs, UUID, true, &u, NULL), 0);
	setenv("DOMTUNE_FAULT", UUID ":28*1", 1);
	IS_INT(undo_intent(&u, "k", "t", "file", "x", "1", "2", false), -ENOSPC);
	IS_INT(u.n_steps, 0);
	IS_INT(undo_intent(&u, "k", "t", "file", "x", "1", "2", false), 1);
	undo_fini(&u);
	IS_INT(undo_open(&r.fs, UUID, true, &u, NULL), 0);
	IS_INT(u.n_steps, 1);
	IS_INT(u.bad_lines, 0);
	undo_fini(&u);
#else
	SKIP("needs a build with SAN=1 or -DDT_TEST");
#endif
}

TAP_MAIN

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Core scheduling without a kernel that has it: prctl(2) is replaced by one that keeps cookies as Linux 5.14 does
 * (kernel/sched/core_sched.c), for this process and one other.
 */
#include "tests/unit/tap.h"

#include <stdarg.h>

#include "common/core_sched.h"
#include "common/exec_result.h"
#include "root.h"

#include "wrapper/attr.c"
#include "wrapper/kept.c"
#include "wrapper/linked.c"
#include "wrapper/tryout.c"

static unsigned long cookies[2]; /* of this process, of the one with that pid */
static int other_pid, answer;    /* errno that the kernel gives, 0: it has core scheduling */
static int created;

int prctl(int option, ...)
{
	unsigned long a[4];
	va_list ap;

	va_start(ap, option);
	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	errno = option == PR_SCHED_CORE ? answer : EINVAL;
	if (option != PR_SCHED_CORE || answer)
		return -1;
	if (a[0] == PR_SCHED_CORE_CREATE && a[1] == 0 && a[2] == PR_SCHED_CORE_SCOPE_THREAD_GROUP && a[3] == 0) {
		cookies[0] = 0xabcd0000ul + (unsigned long)++created;
		return 0;
	}
	/* GET is of one thread only, and its place is 8 bytes that are aligned. */
	if (a[0] == PR_SCHED_CORE_GET && a[2] == PR_SCHED_CORE_SCOPE_THREAD && a[3] && a[3] % 8 == 0) {
		*(unsigned long *)a[3] = (int)a[1] == other_pid ? cookies[1] : cookies[0];
		return 0;
	}
	errno = EINVAL;
	return -1;
}

TEST(wrapper)
{
	static const struct {
		const char *value;
		int answer;
		const char *kept;
		int created;
	} rows[] = {
		{"yes", 0, "", 1},
		{"yes", EINVAL, "DOMTUNE_KEPT=cpu.core-scheduling: this kernel has no core scheduling (CONFIG_SCHED_CORE)", 0},
		{"yes", ENODEV, "DOMTUNE_KEPT=cpu.core-scheduling: the cores in use have one thread each", 0},
		{"yes", EPERM, "DOMTUNE_KEPT=cpu.core-scheduling: core-sched yes: Operation not permitted", 0},
		{"no", 0, "DOMTUNE_KEPT=cpu.core-scheduling: core-sched no: Invalid argument", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct wplan_attr attr = {(char *)(uintptr_t)"core-sched", (char *)(uintptr_t)rows[i].value};
		struct kept kept = {0};

		created = 0;
		answer = rows[i].answer;
		attr_apply(&attr, 1, &kept);
		IS_STR(kept.text, rows[i].kept);
		IS_INT(created, rows[i].created);
	}
}

TEST(what_became_of_it)
{
	static const struct {
		int answer;
		unsigned long cookie;
		bool ok;
		const char *effective, *why;
	} rows[] = {
		{0, 0xabcd, true, "yes", ""},
		{0, 0, false, "no", "the wrapper did not run (see the domain's log)"},
		{EINVAL, 0, false, "", "this kernel has no core scheduling (CONFIG_SCHED_CORE)"},
		{ENODEV, 0, false, "", "the cores in use have one thread each"},
		{EPERM, 0, false, "", "its cookie cannot be read"},
	};
	struct hostfs fs = HOSTFS_INIT;
	struct plan p = {.id = -1};
	struct exec_look *q;

	IS_INT(plan_add_setting(&p, "cpu.core-scheduling", "", STAGE_EXEC, "yes", "x", "x"), 0);
	IS_INT(hostfs_init(&fs, NULL, NULL), 0);
	other_pid = (int)getpid();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct exec_result a;

		answer = rows[i].answer;
		cookies[1] = rows[i].cookie;
		IS_INT(exec_look(&fs, &p, other_pid, false, &q), 0);
		exec_answer(q, &p.settings[0], &a);
		exec_look_free(q);
		IS_INT(a.ok, rows[i].ok);
		IS_STR(a.effective, rows[i].effective);
		IS_STR(a.why, rows[i].why);
	}
	hostfs_fini(&fs);
	plan_fini(&p);
}

TAP_MAIN

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TAP in 80 lines. Each TEST(name) { ... } runs in a child of its own with an alarm, so a crash or a hang is
 * one "not ok". Inside: ok(cond, fmt, ...) style checks; the first that fails is reported and the test goes on.
 *
 *     TEST(parses_lists) { IS_INT(idset_count(&s), 3); IS_STR(text, "0-2"); OK(x > y); }
 *     TAP_MAIN
 */
#pragma once

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct tap_test {
	const char *name;
	void (*run)(void);
	struct tap_test *next;
};

static struct tap_test *tap_first, **tap_last = &tap_first;
static int tap_failed;
static const char *tap_skip_why;

#define TEST(id)                                                                     \
	static void test_##id(void);                                                 \
	static struct tap_test tap_##id = { #id, test_##id, NULL };                  \
	__attribute__((constructor)) static void tap_register_##id(void)             \
	{                                                                            \
		*tap_last = &tap_##id;                                               \
		tap_last = &tap_##id.next;                                           \
	}                                                                            \
	static void test_##id(void)

#define TAP_FAIL(...)                                                                \
	do {                                                                         \
		tap_failed++;                                                        \
		if (tap_failed <= 20) {                                              \
			printf("# %s:%d: ", __FILE__, __LINE__);                     \
			printf(__VA_ARGS__);                                         \
			printf("\n");                                                \
		}                                                                    \
	} while (0)
#define OK(cond)                                                                     \
	do {                                                                         \
		if (!(cond))                                                         \
			TAP_FAIL("%s", #cond);                                       \
	} while (0)
#define IS_INT(got, want)                                                            \
	do {                                                                         \
		long long tap_g = (long long)(got), tap_w = (long long)(want);       \
		if (tap_g != tap_w)                                                  \
			TAP_FAIL("%s is %lld, not %lld", #got, tap_g, tap_w);        \
	} while (0)
#define IS_STR(got, want)                                                            \
	do {                                                                         \
		const char *tap_g = (got), *tap_w = (want);                          \
		if (!tap_g || !tap_w ? tap_g != tap_w : strcmp(tap_g, tap_w) != 0)   \
			TAP_FAIL("%s is '%s', not '%s'", #got, tap_g ? tap_g : "(null)", tap_w ? tap_w : "(null)"); \
	} while (0)
/* Leave the test as skipped. */
#define SKIP(why)                                                                    \
	do {                                                                         \
		tap_skip_why = (why);                                                \
		return;                                                              \
	} while (0)

static int tap_run_one(struct tap_test *t, int number)
{
	pid_t pid;
	int status = 0;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		alarm(120);
		t->run();
		if (tap_skip_why)
			printf("ok %d - %s # SKIP %s\n", number, t->name, tap_skip_why);
		else
			printf("%s %d - %s\n", tap_failed ? "not ok" : "ok", number, t->name);
		fflush(stdout);
		exit(tap_failed ? 1 : 0);
	}
	while (waitpid(pid, &status, 0) < 0)
		;
	if (WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) > 1))
		printf("not ok %d - %s # ended with wait status 0x%x\n", number, t->name, status);
	return status != 0;
}

#define TAP_MAIN                                                                     \
	int main(void)                                                               \
	{                                                                            \
		int n = 0, bad = 0;                                                  \
		for (struct tap_test *t = tap_first; t; t = t->next)                 \
			n++;                                                         \
		printf("1..%d\n", n);                                                \
		n = 0;                                                               \
		for (struct tap_test *t = tap_first; t; t = t->next)                 \
			bad += tap_run_one(t, ++n);                                  \
		return bad ? 1 : 0;                                                  \
	}

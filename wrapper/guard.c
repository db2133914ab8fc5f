/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The signal handler itself becomes QEMU: execve(2) is async-signal-safe and needs nothing of a damaged heap or
 * stack. A forked child that computes would do as well, but costs 150 us where this costs 3 (measured), has the
 * monitor's socket open, too, and one that hangs in the kernel would keep it open beside QEMU.
 *
 * execve(2) resets caught signals to their default and keeps ignored ones, blocked ones and timers: so those
 * that were ignored are ignored again, the mask is put back and the timer stopped. A word in the environment
 * tells `domtune status` what happened.
 */
#include "wrapper/guard.h"

#include <signal.h>
#include <sys/time.h>

#include "wrapper/kept.h"

static const int fatal[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGXFSZ, SIGALRM };

static struct guard *guard;
static struct sigaction inherited[ARRAY_SIZE(fatal)];
static sigset_t inherited_mask;
static volatile size_t caught; /* of fatal[], so far; 0: off */

static char ended[] = KEPT_NAME "=wrapper: ended early, the command line is as it was";

static void say(const char *text)
{
	ssize_t n = write(STDERR_FILENO, text, strlen(text));

	(void)n; /* there is nobody else to tell */
}

static void become_emulator(int sig)
{
	static const char lost[] = "domtune: real emulator: not found, and the wrapper ended early\n";
	static const char failed[] = "domtune: real emulator: cannot be executed, and the wrapper ended early\n";

	(void)sig;
	guard_off();
	if (guard->emulator) {
		*guard->env_end = ended;
		(void)execve(guard->emulator, guard->argv, guard->env); /* returns only if it failed */
		say(failed);
		_exit(126);
	}
	say(lost);
	_exit(127);
}

void guard_on(struct guard *g)
{
	static char stack[65536]; /* SIGSTKSZ is no constant any more; execve needs little */
	const stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };
	const struct itimerval clock = { .it_value = { .tv_sec = GUARD_SECONDS } };
	struct sigaction sa = { .sa_handler = become_emulator, .sa_flags = SA_ONSTACK };
	sigset_t set;

	guard = g;
	(void)sigaltstack(&alternate, NULL); /* without it only an overflowing stack would not be caught */
	(void)sigprocmask(SIG_SETMASK, NULL, &inherited_mask);
	(void)sigfillset(&sa.sa_mask);
	(void)sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++) {
		(void)sigaddset(&set, fatal[i]);
		(void)sigaction(fatal[i], NULL, &inherited[i]); /* these numbers are valid */
		caught = i + 1;
		(void)sigaction(fatal[i], &sa, NULL);
	}
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	(void)setitimer(ITIMER_REAL, &clock, NULL);
}

/* Caught signals stay caught: execve(2) resets them, so there is no moment without guard. */
void guard_off(void)
{
	static const struct itimerval stop;

	if (!caught)
		return;
	(void)setitimer(ITIMER_REAL, &stop, NULL);
	for (size_t i = 0; i < caught; i++) {
		if (inherited[i].sa_handler == SIG_IGN)
			(void)sigaction(fatal[i], &inherited[i], NULL);
	}
	(void)sigprocmask(SIG_SETMASK, &inherited_mask, NULL);
}

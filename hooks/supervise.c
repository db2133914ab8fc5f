/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fork(2), not vfork or posix_spawn: those wait until the program is loaded, which may hang just as well (a
 * dead file server below libexecdir). The end of the worker is learned from a pidfd (Linux 5.3), or from
 * SIGCHLD where there are none; never from the end of the report pipe, which a forgotten grandchild could hold.
 *
 * Guarantees: supervise() returns by its deadline plus WORKER_KILL_WAIT_MS whatever the worker does; the
 * worker's process group is killed while its leader is still a zombie, so that no other process can own the
 * number; a worker that outlives us holds none of our descriptors but its end of the report pipe.
 */
#include "supervise.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "common/patience.h"

/* All lines that the protocol has fit three times; what comes beyond is read and dropped. */
#define REPORT_SIZE 1536
#define SLICE_MS 20

struct supervised {
	pid_t pid;
	int pidfd;  /* -1: SIGCHLD is blocked and waited for */
	int report; /* reading end, -1 at its end */
	sigset_t old_mask;
	unsigned int deadline_ms, grow_ms; /* in force; 0: not to be corrected, and not to be put off */
	bool told, grown;                  /* it was corrected, and put off, or is not to be any more */
	char text[REPORT_SIZE + 1]; /* NUL-terminated */
	size_t len;
};

uint64_t supervise_now(void)
{
	struct timespec t = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int left_ms(uint64_t until)
{
	uint64_t now = supervise_now();

	return now >= until ? 0 : until - now > 600000 ? 600000 : (int)(until - now);
}

/* ---- in the child: async-signal-safe calls only ---- */

/* Handlers end with execve(2), "ignored" does not. Others than these are not ignored by any daemon. */
static void default_signals(void)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGALRM, SIGTERM, SIGCHLD };
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		(void)sigaction(signals[i], &dfl, NULL); /* cannot fail for these */
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void close_from(int first)
{
	struct rlimit limit;

#ifdef SYS_close_range
	if (syscall(SYS_close_range, first, ~0u, 0) == 0)
		return;
#endif
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > 65536)
		limit.rlim_cur = 65536;
	for (int fd = first; fd < (int)limit.rlim_cur; fd++)
		(void)close(fd);
}

/* Descriptors 0 to 3 as supervise.h has them. All sources are above 2; 3 may be any of them and is filled last. */
static int arrange_fds(int input, int report)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	if (dup2(input < 0 ? null : input, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		return -errno;
	if (report == WORKER_REPORT_FD ? fcntl(report, F_SETFD, 0) < 0 : dup2(report, WORKER_REPORT_FD) < 0)
		return -errno;
	close_from(WORKER_REPORT_FD + 1);
	return 0;
}

static void run_program(const char *const *argv, char *const *envp)
{
	_Static_assert(sizeof(char *const *) == sizeof(const char *const *), "execve takes our argv");
	union {
		const char *const *ours;
		char *const *execs;
	} args = { .ours = argv };

	(void)execve(argv[0], args.execs, envp);
}

static void become_worker(const struct worker *w, int report, char *const *envp, pid_t supervisor)
{
	/* Nobody would watch over the worker if the supervisor were killed; a kill is safe at any instruction. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != supervisor)
		_exit(WORKER_EXIT_NOT_RUN);
	(void)setsid(); /* cannot fail in a new child, which leads no group */
	(void)umask(022);
	default_signals();
	if (arrange_fds(w->input, report) == 0)
		run_program(w->argv, envp);
	_exit(WORKER_EXIT_NOT_RUN);
}

/* Nothing of ours stays open, before anything else: the caller may hold locks by descriptors that we share. */
static void become_left(const char *const *argv, char *const *envp)
{
	close_from(0);
	for (int fd = 0; fd <= 2; fd++)
		if (open("/dev/null", O_RDWR) != fd)
			_exit(WORKER_EXIT_NOT_RUN);
	(void)umask(022);
	default_signals();
	if (chdir("/") == 0)
		run_program(argv, envp);
	_exit(WORKER_EXIT_NOT_RUN);
}

/* ---- the supervisor ---- */

/* What the tests of killed and failing workers say to them (hostfs.h) goes on to the worker in builds for tests. */
static void pass_on_injections(char **envp, size_t room)
{
#if defined(DT_SAN) || defined(DT_TEST)
	static const char *const names[] = { "DOMTUNE_CRASH_AT=", "DOMTUNE_FAULT=", "DOMTUNE_LATE=" };
	size_t n = 0;

	while (envp[n])
		n++;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		for (char **e = environ; *e && n + 1 < room; e++)
			if (str_starts(*e, names[i]))
				envp[n++] = *e;
	envp[n] = NULL;
#else
	(void)envp;
	(void)room;
#endif
}

struct environment {
	char root[4096 + sizeof("DOMTUNE_ROOT=")];
	char deadline[sizeof(PATIENCE_ENV "=") + 24];
	char *envp[8];
};

/* w NULL: as ours. */
static int make_environment(const char *root, const struct worker *w, struct environment *e)
{
	static char locale[] = "LC_ALL=C", path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	const char *told = getenv(PATIENCE_ENV);
	char **next = &e->envp[2];
	int n;

	memset(e->envp, 0, sizeof(e->envp));
	e->envp[0] = locale;
	e->envp[1] = path;
	if (root) {
		n = snprintf(e->root, sizeof(e->root), "DOMTUNE_ROOT=%s", root);
		if (n < 0 || (size_t)n >= sizeof(e->root))
			return -ENAMETOOLONG;
		*next++ = e->root;
	}
	n = w && w->deadline_ms ? snprintf(e->deadline, sizeof(e->deadline), PATIENCE_ENV "=%u,%u", w->deadline_ms, w->grow_ms)
	    : told		? snprintf(e->deadline, sizeof(e->deadline), PATIENCE_ENV "=%s", told)
				: 0;
	if (n > 0 && (size_t)n < sizeof(e->deadline)) /* else it is no number */
		*next = e->deadline;
	pass_on_injections(e->envp, ARRAY_SIZE(e->envp));
	return 0;
}

static int start_worker(const struct worker *w, struct supervised *s)
{
	_cleanup_close_ int report = -1;
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	struct environment env;
	sigset_t chld;
	int fds[2], r;
	pid_t self = getpid();

	r = make_environment(w->root, w, &env);
	if (r < 0)
		return r;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	s->report = fds[0];
	report = fds[1];
	if (fcntl(s->report, F_SETFL, O_NONBLOCK) < 0)
		return -errno;

	/* An inherited SIG_IGN would let the kernel reap the worker unseen; blocked for the case without pidfd. */
	(void)sigaction(SIGCHLD, &dfl, NULL);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &chld, &s->old_mask);

	s->pid = fork();
	if (s->pid < 0)
		return -errno;
	if (s->pid == 0)
		become_worker(w, report, env.envp, self);
#ifdef SYS_pidfd_open
	s->pidfd = (int)syscall(SYS_pidfd_open, s->pid, 0);
#endif
	return 0;
}

/* So much at a time that a worker which never stops talking costs no more than its deadline. */
#define READS_MAX 16

static void read_report(struct supervised *s)
{
	char drop[512];

	for (int i = 0; i < READS_MAX && s->report >= 0; i++) {
		size_t room = REPORT_SIZE - s->len;
		ssize_t n = room ? read(s->report, s->text + s->len, room) : read(s->report, drop, sizeof(drop));

		if (n > 0 && room)
			s->len += (size_t)n;
		if (n > 0 || (n < 0 && errno == EINTR))
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		(void)close(s->report); /* the end, or not readable: the same to us */
		s->report = -1;
	}
}

/* One wait of at most ms; whether the worker has ended (it is then a zombie, not yet reaped). */
static bool wait_pidfd(struct supervised *s, int ms)
{
	struct pollfd p[] = { { .fd = s->pidfd, .events = POLLIN }, { .fd = s->report, .events = POLLIN } };
	int n = poll(p, ARRAY_SIZE(p), ms);

	if (n > 0 && p[1].revents)
		read_report(s);
	return n > 0 && p[0].revents;
}

/* The same by SIGCHLD, in slices, so that a worker that has much to say is listened to. */
static bool wait_sigchld(struct supervised *s, int ms)
{
	struct timespec slice = { .tv_nsec = (ms < SLICE_MS ? ms : SLICE_MS) * 1000000L };
	siginfo_t info = { 0 };
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	(void)sigtimedwait(&chld, NULL, &slice); /* woken or not: the next line knows */
	read_report(s);
	return waitid(P_PID, (id_t)s->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == s->pid;
}

/* What follows a word at the beginning of a line; NULL: it was not said, or the line's end has not come yet. */
static const char *said(const struct supervised *s, const char *word)
{
	const char *line = s->text, *end;

	for (; (end = strchr(line, '\n')); line = end + 1)
		if (str_starts(line, word))
			return line + strlen(word);
	return NULL;
}

/* The worker's word on the deadline, each once; whether there was one. */
static bool move_deadline(struct supervised *s, uint64_t *until)
{
	const char *text = s->deadline_ms && !s->told ? said(s, "deadline ") : NULL;
	unsigned int deadline, grow;

	if (text && sscanf(text, "%6u %6u", &deadline, &grow) == 2 && deadline) {
		*until = *until - s->deadline_ms + deadline;
		s->deadline_ms = deadline;
		s->grow_ms = grow;
		s->told = true;
		return true;
	}
	if (s->grow_ms && !s->grown && said(s, "growing\n")) {
		*until += s->grow_ms;
		s->grown = true;
		return true;
	}
	return false;
}

static bool wait_end(struct supervised *s, uint64_t until)
{
	for (;;) {
		int ms;

		(void)move_deadline(s, &until);
		ms = left_ms(until);
		if (s->pidfd >= 0 ? wait_pidfd(s, ms) : wait_sigchld(s, ms))
			return true;
		if (ms == 0 && !move_deadline(s, &until))
			return false;
	}
}

/* The last "refused" line counts; a line without its newline was cut off by a crash and does not. */
static void take_report(struct supervised *s, struct worker_report *ret)
{
	char *rest = s->text, *line;

	while (strchr(rest, '\n') && (line = strsep(&rest, "\n"))) {
		if (streq(line, "strict"))
			ret->strict = true;
		else if (streq(line, "growing"))
			ret->growing = true;
		else if (str_starts(line, "refused "))
			(void)snprintf(ret->refused, sizeof(ret->refused), "%s", line + strlen("refused "));
	}
}

static enum worker_end judge(const struct worker_report *r)
{
	int code = WIFEXITED(r->wait_status) ? WEXITSTATUS(r->wait_status) : -1;

	if (code == WORKER_EXIT_DONE)
		return WORKER_DONE;
	if (code == WORKER_EXIT_REFUSED && r->refused[0])
		return WORKER_REFUSED;
	return code == WORKER_EXIT_NOT_RUN ? WORKER_NOT_RUN : WORKER_FAILED;
}

void supervise(const struct worker *w, uint64_t until, struct worker_report *ret)
{
	struct supervised s = { .pid = -1, .pidfd = -1, .report = -1, .deadline_ms = w->deadline_ms,
				.grow_ms = w->grow_ms };
	bool ended;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = start_worker(w, &s);
	if (r < 0) {
		ret->end = WORKER_NOT_RUN;
		ret->code = -r;
		goto out;
	}

	ended = wait_end(&s, until);
	read_report(&s);
	(void)move_deadline(&s, &until); /* for whom our caller runs next */
	s.told = s.grown = true;
	if (!ended)
		ret->end = WORKER_LATE;
	/* The group even if the leader ended well: nothing of a worker is to stay. */
	if (kill(-s.pid, SIGKILL) < 0)
		(void)kill(s.pid, SIGKILL); /* it has not come to its setsid() yet */
	if (!ended)
		ret->stuck = !wait_end(&s, supervise_now() + WORKER_KILL_WAIT_MS);
	read_report(&s);
	take_report(&s, ret);
	if (!ret->stuck && waitpid(s.pid, &ret->wait_status, WNOHANG) != s.pid)
		ret->wait_status = WORKER_EXIT_FAILED << 8;
	if (ended)
		ret->end = judge(ret);
out:
	ret->deadline_ms = s.deadline_ms;
	ret->grow_ms = s.grow_ms;
	if (s.report >= 0)
		(void)close(s.report);
	if (s.pidfd >= 0)
		(void)close(s.pidfd);
	if (s.pid > 0)
		(void)sigprocmask(SIG_SETMASK, &s.old_mask, NULL);
}

int supervise_leave(const char *const *argv, const char *root)
{
	struct environment env;
	int r = make_environment(root, NULL, &env), status;
	pid_t pid;

	if (r < 0)
		return r;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		/* Out of our group, which is killed when we end; the second fork is nobody's child but init's. */
		if (setsid() < 0)
			_exit(WORKER_EXIT_NOT_RUN);
		pid = fork();
		if (pid == 0)
			become_left(argv, env.envp);
		_exit(pid < 0 ? WORKER_EXIT_NOT_RUN : 0);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return status == 0 ? 0 : -EAGAIN;
}

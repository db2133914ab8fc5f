/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "common/log.h"
#include "tests/unit/tap.h"

/* A root with a long name (sun_path has 108 bytes), with a socket at dev/log. */
struct sink {
	char top[64], root[512];
	struct hostfs fs;
	int fd;
};

static void sink_listen(struct sink *s, const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int cwd = open(".", O_RDONLY | O_CLOEXEC);

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", name);
	s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	IS_INT(chdir(s->root), 0);
	IS_INT(bind(s->fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	IS_INT(fchdir(cwd), 0);
	(void)close(cwd);
}

static void sink_init(struct sink *s)
{
	char command[1200];

	(void)snprintf(s->top, sizeof(s->top), "/tmp/t_log.XXXXXX");
	OK(mkdtemp(s->top) != NULL);
	(void)snprintf(s->root, sizeof(s->root), "%s/%0150d/%0150d", s->top, 1, 2);
	(void)snprintf(command, sizeof(command), "mkdir -p %s/dev %s/run/log", s->root, s->root);
	IS_INT(system(command), 0);
	IS_INT(hostfs_init(&s->fs, s->root, NULL), 0);
	s->fd = -1;
}

static void sink_fini(struct sink *s)
{
	char command[96];

	log_init(NULL, false);
	cleanup_closep(&s->fd);
	hostfs_fini(&s->fs);
	(void)snprintf(command, sizeof(command), "rm -rf %s", s->top);
	IS_INT(system(command), 0);
}

/* The next datagram, "" if there is none: sending to a socket of this machine is immediate. */
static void sink_next(struct sink *s, char *buf, size_t size)
{
	ssize_t n = recv(s->fd, buf, size - 1, MSG_DONTWAIT);

	buf[n < 0 ? 0 : n] = '\0';
}

TEST(frames)
{
	struct sink s;
	char buf[4096], want[128];

	sink_init(&s);
	sink_listen(&s, "dev/log");
	log_init(&s.fs, false);
	errno = EXDEV;
	log_notice("web1 %s: %d", "started", 38);
	IS_INT(errno, EXDEV);
	sink_next(&s, buf, sizeof(buf));
	(void)snprintf(want, sizeof(want), "<29>domtune[%d]: web1 started: 38", (int)getpid());
	IS_STR(buf, want);
	log_warning("w");
	sink_next(&s, buf, sizeof(buf));
	OK(str_starts(buf, "<28>"));
	log_debug("d");
	sink_next(&s, buf, sizeof(buf));
	OK(str_starts(buf, "<31>"));
	log_msg(LOG_LVL_ERR, "%s", "");
	sink_next(&s, buf, sizeof(buf));
	OK(str_starts(buf, "<27>") && streq(buf + strlen(buf) - 3, "]: "));
	sink_fini(&s);
}

TEST(shows_only_printable_text)
{
	static const struct {
		const char *text, *shown;
	} cases[] = {
		{ "a b~", "a b~" },
		{ "a\nb\tc\x1b[31m\x7f", "a?b?c?[31m?" },
		{ "gr\xc3\xbc\xc3\x9f \xe2\x82\xac", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac" },
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
		{ "\xc2\x9b", "??" },		      /* CSI, a control of 8 bits */
		{ "\xc0\xaf", "??" },		      /* overlong "/" */
		{ "\xe0\x80\xaf", "???" },	      /* the same in three */
		{ "\xed\xa0\x80", "???" },	      /* a surrogate */
		{ "\xf4\x90\x80\x80", "????" },	      /* over U+10FFFF */
		{ "\xff\xfe", "??" },
		{ "\xc3", "?" },
		{ "\xe2\x82", "??" },
		{ "\xf0\x9f\x98", "???" },
		{ "\x80x", "?x" },
		{ "\xe2\x28\xa1", "?(?" },
	};
	struct sink s;
	char buf[4096];

	sink_init(&s);
	sink_listen(&s, "dev/log");
	log_init(&s.fs, false);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text;

		log_notice("%s", cases[i].text);
		sink_next(&s, buf, sizeof(buf));
		text = strstr(buf, "]: ");
		IS_STR(text ? text + 3 : NULL, cases[i].shown);
	}
	sink_fini(&s);
}

TEST(long_lines_are_cut)
{
	struct sink s;
	char buf[8192], *huge = calloc(1, 100001);

	memset(huge, 'x', 100000);
	sink_init(&s);
	sink_listen(&s, "dev/log");
	log_init(&s.fs, false);
	log_notice("%s", huge);
	sink_next(&s, buf, sizeof(buf));
	OK(strlen(buf) < 2100 && strlen(buf) > 1900);
	IS_STR(buf + strlen(buf) - 4, "x...");
	free(huge);
	sink_fini(&s);
}

TEST(link_inside_the_root)
{
	struct sink s;
	char buf[4096], path[1024];

	sink_init(&s);
	sink_listen(&s, "run/log/dev-log");
	(void)snprintf(path, sizeof(path), "%s/dev/log", s.root);
	IS_INT(symlink("/run/log/dev-log", path), 0);
	log_init(&s.fs, false);
	log_notice("through the link");
	sink_next(&s, buf, sizeof(buf));
	OK(strstr(buf, "through the link") != NULL);
	sink_fini(&s);
}

TEST(nobody_listens)
{
	struct sink s;
	char buf[4096], path[1024];

	/* Before log_init, without a socket, with a plain file in its place, after a daemon is gone. */
	log_notice("lost");
	sink_init(&s);
	log_init(&s.fs, false);
	log_notice("lost");
	(void)snprintf(path, sizeof(path), "%s/dev/log", s.root);
	(void)close(open(path, O_CREAT | O_WRONLY, 0644));
	log_notice("lost");
	IS_INT(unlink(path), 0);
	/* It is there later, restarts, and is found again. */
	sink_listen(&s, "dev/log");
	log_notice("one");
	sink_next(&s, buf, sizeof(buf));
	OK(strstr(buf, "]: one") != NULL);
	(void)close(s.fd);
	IS_INT(unlink(path), 0);
	log_notice("lost");
	sink_listen(&s, "dev/log");
	log_notice("two");
	sink_next(&s, buf, sizeof(buf));
	OK(strstr(buf, "]: two") != NULL);
	sink_fini(&s);
}

TEST(never_blocks)
{
	struct sink s;

	sink_init(&s);
	sink_listen(&s, "dev/log");
	log_init(&s.fs, false);
	alarm(20);
	/* net.unix.max_dgram_qlen is 10 to 512: nobody reads. */
	for (int i = 0; i < 5000; i++)
		log_notice("message %d", i);
	sink_fini(&s);
}

/* In a child: read all that is queued as soon as the parent sleeps. Exit status 0: a notice was among it. */
static void read_when_parent_sleeps(struct sink *s)
{
	char path[64], text[512], buf[4096];
	bool sleeps = false, seen = false;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)getppid());
	for (int i = 0; i < 1000000 && !sleeps; i++) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = read(fd, text, sizeof(text) - 1);

		(void)close(fd);
		text[n < 0 ? 0 : n] = '\0';
		sleeps = strstr(text, ") S ") != NULL;
	}
	/* The parent sends the notice as soon as there is room; at its end, if not before, the socket has no writer. */
	for (int i = 0; i < 2000 && !seen; i++) {
		struct pollfd p = { .fd = s->fd, .events = POLLIN };

		if (poll(&p, 1, 1) > 0 && recv(s->fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
			seen = str_starts(buf, "<29>");
	}
	_exit(seen ? 0 : 1);
}

/* A queue full of debug lines: the notice waits for the reader. It may come too late for once on a busy machine. */
TEST(a_notice_waits)
{
	struct sink s;
	int status = 1;

	sink_init(&s);
	sink_listen(&s, "dev/log");
	for (int round = 0; round < 20 && status; round++) {
		char buf[4096];
		pid_t child;

		log_init(&s.fs, false);
		do
			sink_next(&s, buf, sizeof(buf));
		while (*buf);
		for (int i = 0; i < 1000; i++)
			log_debug("line %d", i);
		fflush(stdout);
		child = fork();
		if (child == 0)
			read_when_parent_sleeps(&s);
		log_notice("round %d", round);
		while (waitpid(child, &status, 0) < 0)
			;
	}
	IS_INT(status, 0);
	sink_fini(&s);
}

TEST(stderr_for_the_tool)
{
	struct sink s;
	char buf[4096];
	int pipe_fd[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	sink_init(&s);
	IS_INT(pipe2(pipe_fd, O_CLOEXEC | O_NONBLOCK), 0);
	(void)dup2(pipe_fd[1], STDERR_FILENO);
	log_init(&s.fs, true);
	log_notice("not shown");
	log_warning("irq 45\n: %s", "left as it was");
	log_msg(LOG_LVL_ERR, "error");
	log_init(NULL, true); /* without a root: stderr still works */
	log_warning("no root");
	(void)dup2(saved, STDERR_FILENO);
	n = read(pipe_fd[0], buf, sizeof(buf) - 1);
	buf[n < 0 ? 0 : n] = '\0';
	IS_STR(buf, "domtune: irq 45?: left as it was\ndomtune: error\ndomtune: no root\n");
	(void)close(saved);
	(void)close(pipe_fd[0]);
	(void)close(pipe_fd[1]);
	sink_fini(&s);
}

TAP_MAIN

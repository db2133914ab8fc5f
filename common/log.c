/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The socket is opened at the first message and kept. Messages are made in a buffer on the stack: the log works
 * without memory. A debug line that cannot be sent at once is lost; what a person is to read waits a little for room
 * (net.unix.max_dgram_qlen is 10 by default), within what one process may wait in all: libvirt waits for us.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "log.h"

#define LOG_FACILITY_DAEMON (3 << 3) /* RFC 3164, 4.1.1 */
#define LOG_TEXT_SIZE 2000           /* rsyslog cuts at 8 KiB, older syslogds at 2048 bytes */
#define LOG_WAIT_MS 20
#define LOG_WAITS_MAX 5

static const struct hostfs *log_fs;
static bool log_to_stderr;
static int log_fd = -1;
static bool log_absent; /* at the last try: a line per setting is then not worth another one */
static int log_waits;   /* how often this process has waited in vain */
static int log_pid;

void log_init(const struct hostfs *fs, bool to_stderr)
{
	cleanup_closep(&log_fd);
	log_fd = -1;
	log_fs = fs;
	log_to_stderr = to_stderr;
	log_absent = false;
	log_waits = 0;
	log_pid = (int)getpid();
}

/*
 * On the real host /dev/log is a link to journald's socket. Below another root the name is resolved inside it,
 * and the descriptor names it: sun_path has room for 107 bytes only.
 */
static bool log_address(struct sockaddr_un *sa, int *fd)
{
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (log_fs->real) {
		(void)snprintf(sa->sun_path, sizeof(sa->sun_path), "/dev/log");
		return true;
	}
	*fd = hostfs_open(log_fs, O_PATH, "dev/log");
	if (*fd < 0)
		return false;
	(void)snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d", *fd);
	return true;
}

static void log_connect(void)
{
	_cleanup_close_ int target = -1, fd = -1;
	struct sockaddr_un sa;

	if (!log_fs || log_fs->fd < 0 || !log_address(&sa, &target))
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0)
		log_fd = steal_fd(&fd);
}

/* Whether there is room in the reader's queue now. */
static bool log_wait(void)
{
	struct pollfd p = { .fd = log_fd, .events = POLLOUT };

	if (log_waits >= LOG_WAITS_MAX)
		return false;
	if (poll(&p, 1, LOG_WAIT_MS) == 1)
		return true;
	log_waits++;
	return false;
}

static void log_send(enum log_level level, const char *line, size_t len)
{
	for (int i = 0; i < 2; i++) {
		if (log_fd < 0) {
			log_connect();
			log_absent = log_fd < 0;
		}
		if (log_fd < 0 || send(log_fd, line, len, MSG_NOSIGNAL) >= 0)
			return;
		if (errno == EAGAIN && level <= LOG_LVL_NOTICE && log_wait() &&
		    send(log_fd, line, len, MSG_NOSIGNAL) >= 0)
			return;
		if (errno != ECONNREFUSED && errno != ENOTCONN && errno != ECONNRESET)
			return;
		/* The daemon was restarted and has a new socket. */
		cleanup_closep(&log_fd);
		log_fd = -1;
	}
}

/*
 * Length of the valid UTF-8 sequence at s (RFC 3629: shortest form, no surrogates, up to U+10FFFF) that is
 * not a control character; 0 if there is none.
 */
static size_t printable_length(const unsigned char *s)
{
	static const struct {
		unsigned char first, last; /* range of the first byte */
		unsigned char low, high;   /* range of the second */
		unsigned char len;
	} forms[] = {
		{ 0xc2, 0xc2, 0xa0, 0xbf, 2 }, /* U+0080..9F are controls */
		{ 0xc3, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	if (s[0] < 0x80)
		return s[0] >= 0x20 && s[0] != 0x7f;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		if (s[0] < forms[i].first || s[0] > forms[i].last || s[1] < forms[i].low || s[1] > forms[i].high)
			continue;
		for (size_t j = 2; j < forms[i].len; j++)
			if ((s[j] & 0xc0) != 0x80)
				return 0;
		return forms[i].len;
	}
	return 0;
}

/* Make a text one line that a terminal can show. A sequence cut at the end by the buffer becomes "?" too. */
static void make_printable(char *text)
{
	unsigned char *s = (unsigned char *)text;

	while (*s) {
		size_t n = printable_length(s);

		if (n == 0) {
			*s = '?';
			n = 1;
		}
		s += n;
	}
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	char line[LOG_TEXT_SIZE + 64], *text;
	int saved = errno, head, n;
	size_t room;
	va_list ap;

	if (log_absent && level == LOG_LVL_DEBUG)
		return;
	head = snprintf(line, sizeof(line), "<%d>domtune[%d]: ", LOG_FACILITY_DAEMON | (int)level, log_pid);
	text = line + head;
	room = sizeof(line) - (size_t)head - 1; /* a newline for stderr */
	va_start(ap, fmt);
	n = vsnprintf(text, room, fmt, ap);
	va_end(ap);
	if (n < 0)
		*text = '\0';
	make_printable(text);
	if (n >= 0 && (size_t)n >= room)
		memcpy(text + room - 4, "...", 4);
	n = (int)strlen(text);
	log_send(level, line, (size_t)head + (size_t)n);
	if (log_to_stderr && level <= LOG_LVL_WARNING) {
		static const char name[] = "domtune: ";

		text[n] = '\n';
		/* The head is longer than the name: the line on stderr is made in place. */
		memcpy(text - (sizeof(name) - 1), name, sizeof(name) - 1);
		if (write(STDERR_FILENO, text - (sizeof(name) - 1), (size_t)n + sizeof(name)) < 0)
			errno = 0; /* there is nobody left to tell */
	}
	errno = saved;
}

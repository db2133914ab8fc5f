/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Back end "irqbalance": what the daemon is told over its socket (irqbalance(1), "IRQBALANCE SOCKET"; sock_handle() in its
 * irqbalance.c, 1.9). Objects: "cpus", CPUs that it gives no interrupts; "irqs", interrupts that it leaves alone. Each
 * replaces the list before, so what is told is always the whole, which is why both are shared objects, a union with what it
 * had before us; of one that is longer than its buffer it is told the beginning. Nothing of its configuration is changed, and nothing is restarted.
 *
 * The socket is /run/irqbalance/irqbalancePID.sock. Of old it was an abstract one, where anybody may have such a name: these
 * are not asked. One command a connection, root's credentials with it. "setup" answers
 *
 *     SLEEP 10 IRQ 45 LOAD 0 DIFF 0 CLASS 0 IRQ 46 ... BANNED 00000000,0000003c
 *
 * of which BANNED is as of its last scan: what it was told it shows up to SLEEP seconds later.
 *
 * A daemon that does not answer within TIMEOUT_MS, connection and all, is not asked for the next SILENT_S, which is longer
 * than a hook lives: one thread does its socket and its scans. That is -ETIMEDOUT, and not BACKEND_AWAY: it may only be slow.
 */
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include "backend.h"
#include "num.h"
#include "sbuf.h"

#define DIRECTORY   "run/irqbalance"
#define TIMEOUT_MS  250
#define SILENT_S    60
#define COMMAND_MAX 500 /* of the daemon's buffer, with the NUL; some versions have more */
#define ANSWER_MAX  (1u << 20) /* some 40 bytes for each interrupt that is banned */

static bool is_socket_name(const char *name)
{
	size_t n = strlen(name);

	return str_starts(name, "irqbalance") && n > 5 && streq(name + n - 5, ".sock");
}

/* One deadline for all that is asked of it at a time. */
struct patience {
	uint64_t until_us;
};

static uint64_t now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* Of one that hangs each object would cost its time, with the ledger's lock held: it is not asked again for a while. */
static uint64_t silent_until_us;

static int start_waiting(struct patience *p)
{
	uint64_t now = now_us();

	if (now < silent_until_us)
		return -ETIMEDOUT;
	p->until_us = now + TIMEOUT_MS * 1000u;
	return 0;
}

/* What the next call on this socket may still take. */
static int limit(int fd, const struct patience *p)
{
	uint64_t now = now_us(), left = p->until_us > now ? p->until_us - now : 0;
	const struct timeval t = {0, (suseconds_t)left};

	if (!left) /* which to the kernel is for ever */
		return -ETIMEDOUT;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) < 0)
		return -errno;
	return 0;
}

/* Whoever listens is the daemon only if it is root; below another root, where tests have one, whom we are ourselves. */
static bool is_daemon(const struct hostfs *fs, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == 0 || (!fs->real && peer.uid == geteuid()));
}

static int connect_to(const struct hostfs *fs, const struct sockaddr_un *addr, const struct patience *p)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc = fd < 0 ? -errno : limit(fd, p);

	if (rc < 0)
		return rc;
	/* Its queue has room for one: a connection may have to wait, too. */
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return is_daemon(fs, fd) ? steal_fd(&fd) : -ECONNREFUSED;
}

/* A socket in an open directory: its path may be longer than an address, and is below our root. */
static int connect_in(const struct hostfs *fs, DIR *dir, const char *name, const struct patience *p)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int n = snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s", dirfd(dir), name);

	return n < 0 || (size_t)n >= sizeof(addr.sun_path) ? -ENAMETOOLONG : connect_to(fs, &addr, p);
}

static int connect_daemon(const struct hostfs *fs, const struct patience *p)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, DIRECTORY);
	const struct dirent *d;
	int rc = -ENOENT;

	while (dir && rc < 0 && rc != -ETIMEDOUT && (d = readdir(dir)))
		if (is_socket_name(d->d_name))
			rc = connect_in(fs, dir, d->d_name, p); /* one that died without removing it refuses */
	return rc;
}

/* The text with the NUL that the daemon's parser takes for granted, and who we are. */
static int send_command(int fd, const char *text, const struct patience *p)
{
	const struct ucred me = {getpid(), geteuid(), getegid()};
	union {
		char buf[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec iov = {(void *)(uintptr_t)text, strlen(text) + 1};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int rc = limit(fd, p);
	ssize_t n;

	if (rc < 0)
		return rc;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_CREDENTIALS;
	c->cmsg_len = CMSG_LEN(sizeof(me));
	memcpy(CMSG_DATA(c), &me, sizeof(me));
	n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return (size_t)n == iov.iov_len ? 0 : -EIO;
}

/* Until it closes. */
static int receive_all(int fd, struct sbuf *b, const struct patience *p)
{
	char part[4096];

	while (b->len < ANSWER_MAX && !b->failed) {
		int rc = limit(fd, p);
		ssize_t n = rc < 0 ? 0 : recv(fd, part, sizeof(part), 0);

		if (rc < 0)
			return rc;
		if (n == 0)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		sbuf_addn(b, part, (size_t)n);
	}
	return b->failed ? -ENOMEM : -EFBIG;
}

/* Tell it something, and have its answer where one is asked for. */
static int ask(const struct hostfs *fs, const char *command, struct sbuf *answer)
{
	struct patience p;
	_cleanup_close_ int fd = -1;
	int rc = start_waiting(&p);

	if (rc < 0)
		return rc;
	fd = connect_daemon(fs, &p);
	rc = fd < 0 ? fd : send_command(fd, command, &p);
	if (rc == 0 && answer)
		rc = receive_all(fd, answer, &p);
	if (rc == -ETIMEDOUT)
		silent_until_us = now_us() + SILENT_S * 1000000u;
	return rc;
}

/* The word behind each " KEY " of the answer. */
static const char *next_word(const char **at, const char *key, size_t *ret_len)
{
	size_t n = strlen(key);

	for (const char *p = *at; (p = strstr(p, key)); p += n) {
		if (p[n] != ' ')
			continue;
		p += n + 1;
		*ret_len = strcspn(p, " \n");
		*at = p + *ret_len;
		return p;
	}
	return NULL;
}

static int banned_cpus(const char *answer, struct idset *ret)
{
	size_t len;
	const char *word = next_word(&answer, "BANNED", &len);
	_cleanup_free_ char *mask = word ? strndup(word, len) : NULL;
	int rc = mask ? idset_parse_mask(mask, ret) : -EBADMSG;

	if (rc == -ENODATA)
		*ret = IDSET_EMPTY;
	return rc == -ENODATA ? 0 : rc;
}

static int banned_irqs(const char *answer, struct idset *ret)
{
	const char *word;
	size_t len;

	*ret = IDSET_EMPTY;
	while ((word = next_word(&answer, "IRQ", &len))) {
		char digits[16];
		uint64_t irq;

		if (len >= sizeof(digits))
			return -EBADMSG;
		memcpy(digits, word, len);
		digits[len] = '\0';
		if (num_parse_u64(digits, &irq) < 0)
			return -EBADMSG;
		if (irq < IDSET_MAX)
			idset_add(ret, (unsigned int)irq);
	}
	return 0;
}

static const struct {
	const char *object;
	int (*take)(const char *answer, struct idset *ret);
	const char *command, *nothing; /* what it is told where the list is empty */
	bool ranges; /* of a list; else its numbers with blanks between */
} objects[] = {
	{"cpus", banned_cpus, "settings cpus ", "NULL", true},
	{"irqs", banned_irqs, "settings ban irqs ", "NONE", false},
};

static int find_object(const char *object)
{
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
		if (streq(objects[i].object, object))
			return (int)i;
	return -EINVAL;
}

static int irqbalance_probe(const struct hostfs *fs, const char *object)
{
	int i = find_object(object);

	(void)fs; /* reading tells */
	return i < 0 ? i : 0;
}

/* None, and one that refuses. One that does not answer in time (-ETIMEDOUT) still has what it was told. */
static bool is_nobody(int rc)
{
	return rc == -ENOENT || rc == -ECONNREFUSED || rc == -ENOTSOCK || rc == -ECONNRESET || rc == -EPIPE;
}

static int irqbalance_read(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	_cleanup_sbuf_ struct sbuf answer = {0};
	int i = find_object(object), rc = i < 0 ? i : ask(fs, "setup", &answer);
	struct idset list;

	if (i < 0)
		return i;
	if (is_nobody(rc))
		return snprintf(buf, size, "%s", BACKEND_AWAY);
	if (rc == 0 && !answer.len)
		rc = -EACCES; /* it hangs up on those who are not root */
	if (rc == 0)
		rc = objects[i].take(answer.s, &list);
	return rc < 0 ? rc : idset_format(&list, buf, size);
}

/* False: with this part it would be longer than what the daemon reads. */
static bool add_part(struct sbuf *b, const char *part, size_t n)
{
	if (b->len + n + 1 > COMMAND_MAX)
		return false;
	sbuf_addn(b, part, n);
	return true;
}

static bool add_ranges(struct sbuf *b, const struct idset *list)
{
	_cleanup_free_ char *text = idset_text(list);
	const char *at = text;
	size_t n;

	for (n = 0; at && *at; at += n) {
		n = strcspn(at + 1, ",") + 1; /* with the comma before it */
		if (!add_part(b, at, n))
			break;
	}
	return text != NULL;
}

static void add_numbers(struct sbuf *b, const struct idset *list)
{
	IDSET_FOREACH (id, list) {
		char part[16];
		int n = snprintf(part, sizeof(part), "%d ", id);

		if (id && (n < 0 || !add_part(b, part, (size_t)n))) /* its list ends with a 0 */
			break;
	}
}

/* As much of the list as the daemon reads: what is cut off is left to it, but no number is cut to another one. */
static char *command_of(int i, const struct idset *list)
{
	_cleanup_sbuf_ struct sbuf b = {0};
	size_t len = strlen(objects[i].command);

	sbuf_addn(&b, objects[i].command, len);
	if (!objects[i].ranges)
		add_numbers(&b, list);
	else if (!add_ranges(&b, list))
		return NULL;
	if (b.len == len)
		sbuf_add(&b, objects[i].nothing);
	return b.failed ? NULL : sbuf_steal(&b);
}

static int parse_list(const char *text, struct idset *ret)
{
	*ret = IDSET_EMPTY;
	return *text ? idset_parse(text, ret) : 0;
}

static int irqbalance_write(const struct hostfs *fs, const char *object, const char *value)
{
	_cleanup_free_ char *command = NULL;
	int i = find_object(object), rc;
	struct idset list;

	if (i < 0 || (!streq(value, BACKEND_AWAY) && parse_list(value, &list) < 0))
		return -EINVAL;
	if (streq(value, BACKEND_AWAY))
		return 0;
	command = command_of(i, &list);
	if (!command)
		return -ENOMEM;
	hostfs_durable();
	rc = ask(fs, command, NULL);
	return is_nobody(rc) ? 0 : rc; /* it is told when it is there again */
}

/* A list is what the daemon hears of it. */
static bool irqbalance_same(const char *object, const char *a, const char *b)
{
	_cleanup_free_ char *x = NULL, *y = NULL;
	struct idset list;
	int i = find_object(object);

	if (i < 0 || streq(a, b))
		return streq(a, b);
	if (parse_list(a, &list) == 0)
		x = command_of(i, &list);
	if (x && parse_list(b, &list) == 0)
		y = command_of(i, &list);
	return x && y && streq(x, y);
}

/* Interrupts are where they should be before it may move them again. */
static unsigned int irqbalance_rank(const char *object)
{
	(void)object;
	return 3;
}

const struct backend be_irqbalance = {
	.name = "irqbalance",
	.probe = irqbalance_probe,
	.read = irqbalance_read,
	.write = irqbalance_write,
	.same = irqbalance_same,
	.is_each_its_own = true,
	.comes_and_goes = true,
	.rank = irqbalance_rank,
};

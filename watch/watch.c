/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * domtune-watch: does for all domains, as long as it runs, what the helper of `started` does for two minutes and an
 * administrator by `domtune retune`: it listens to libvirt's events (watch/virt.c) and has `apply late` or `domtune
 * retune` called. For what has no event (vCPUs that are plugged in, threads of pools) it compares lists every ten
 * seconds (common/late.h), a few reads for each domain that is tuned.
 *
 * Nothing depends on it. One program is called at a time, under a deadline; how often for one domain, whatever its guest
 * does, is in watch/queue.h. When libvirtd ends it waits for it to be there again; it never connects where there is none,
 * since systemd would start it.
 */
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "common/gate.h"
#include "common/late.h"
#include "common/log.h"
#include "common/num.h"
#include "common/paths.h"
#include "common/patience.h"
#include "hooks/supervise.h"
#include "watch/virt.h"

#define LOOK_MS       10000
#define CONNECT_MS    1000   /* after a connection has ended, doubled at each failure up to the next */
#define CONNECT_MAX_MS 30000
#define CHILD_MAX_MS  120000 /* a retune may move memory */
#define LOG_GAP_MS    60000  /* between complaints that there is no connection */

static struct {
	struct hostfs fs;
	struct queue queue;
	pid_t child; /* 0: none */
	uint64_t child_until;
	char child_uuid[37];
	enum want child_want;
	uint64_t look_due, connect_due, connect_wait, told;
	int wake[2]; /* a byte for each signal */
	bool stop;
} w = { .fs = HOSTFS_INIT };

/* ---- systemd ---- */

/* sd_notify(3) without its library: one datagram. */
static void notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;
	_cleanup_close_ int fd = -1;

	if (len == 0 || len >= sizeof(to.sun_path))
		return;
	memcpy(to.sun_path, path, len);
	if (*path == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&to,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		log_debug("watch: systemd is not told: %s", err_name(errno));
}

/* ---- signals: a byte each, so that the event loop wakes ---- */

static void on_signal(int signal)
{
	int saved = errno;
	char byte = (char)signal;

	if (write(w.wake[1], &byte, 1) < 0) {
		/* full: it wakes all the same */
	}
	errno = saved;
}

static void on_wake(int fd)
{
	char bytes[64];
	ssize_t n = read(fd, bytes, sizeof(bytes));

	for (ssize_t i = 0; i < n; i++)
		w.stop = w.stop || bytes[i] == SIGTERM || bytes[i] == SIGINT;
}

static int take_signals(void)
{
	static const int signals[] = { SIGCHLD, SIGTERM, SIGINT };
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	if (pipe2(w.wake, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (sigaction(signals[i], &act, NULL) < 0)
			return -errno;
	return watch_virt_add_fd(w.wake[0], on_wake);
}

/* ---- doing ---- */

static void become_child(const char *const *argv)
{
	static const int signals[] = { SIGCHLD, SIGTERM, SIGINT, SIGPIPE };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	union {
		const char *const *ours;
		char *const *execs;
	} args = { .ours = argv };

	(void)setsid(); /* so that it can be killed with all that it starts; cannot fail in a new child */
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		(void)signal(signals[i], SIG_DFL);
	/* What the tool complains about is for our journal; the rest is in the log. */
	if (null >= 0 && dup2(null, 0) == 0 && dup2(null, 1) == 1)
		(void)execv(argv[0], args.execs);
	_exit(127);
}

static void begin(const char *uuid, enum want want, uint64_t now)
{
	static const char apply[] = DT_HELPERS "/apply", tool[] = DT_SBINDIR "/domtune";
	const char *const late[] = { apply, "late", uuid, NULL }, *const retune[] = { tool, "retune", uuid, NULL };
	struct gate gate;

	if (gate_load(&w.fs, &gate) == 0)
		(void)patience_learn(gate.deadline_ms, gate.grow_deadline_ms);
	w.child = fork();
	if (w.child == 0)
		become_child(want == WANT_RETUNE ? retune : late);
	if (w.child < 0) {
		log_warning("watch: %s: %s", uuid, err_name(errno));
		w.child = 0;
		return;
	}
	w.child_until = now + CHILD_MAX_MS;
	w.child_want = want;
	memcpy(w.child_uuid, uuid, sizeof(w.child_uuid));
	log_debug("watch: %s: %s", uuid, want == WANT_RETUNE ? "retune" : "late");
}

static void reap(uint64_t now)
{
	int status;

	if (!w.child)
		return;
	if (now >= w.child_until) {
		/* Itself too: it may not have got as far as setsid(). Its end is a signal, so there is nothing to wait for. */
		(void)kill(-w.child, SIGKILL);
		(void)kill(w.child, SIGKILL);
		log_warning("watch: %s: not done after %d s, given up", w.child_uuid, CHILD_MAX_MS / 1000);
		w.child_until = UINT64_MAX;
	}
	if (waitpid(w.child, &status, WNOHANG) != w.child)
		return;
	w.child = 0;
	/* What a tuned domain lacks is in the log already; a retune that says "no" has done what it could. */
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		log_warning("watch: %s cannot be run", w.child_want == WANT_RETUNE ? DT_SBINDIR "/domtune" : DT_HELPERS "/apply");
}

static void on_event(const char *uuid, unsigned int wants)
{
	int r;

	if (wants == 0) {
		queue_drop(&w.queue, uuid);
		return;
	}
	/* Who is not tuned is not, whatever is plugged in; an annotation may change that. */
	if ((wants & WANT_LATE) && !hostfs_exists(&w.fs, PATH_UNDO "/%s", uuid))
		return;
	r = queue_event(&w.queue, uuid, (enum want)wants, supervise_now());
	if (r < 0)
		log_warning("watch: %s: %s", uuid, err_name(-r));
}

/* What no event tells. */
static void look_at_all(uint64_t now)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(&w.fs, PATH_UNDO);
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		struct late l;

		if (!uuid_is_valid(d->d_name))
			continue;
		if (late_read(&w.fs, d->d_name, &l) < 0 || late_look(&w.fs, d->d_name, &l) == LATE_NEWS)
			(void)queue_news(&w.queue, d->d_name, now); /* too many: at the next look */
		else
			queue_calm(&w.queue, d->d_name);
	}
}

/* ---- libvirtd ---- */

static bool daemon_runs(void)
{
	static const char *const files[] = { "run/libvirt/virtqemud.pid", "run/virtqemud.pid", "run/libvirtd.pid" };
	uint64_t pid;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (hostfs_read_u64(&w.fs, &pid, "%s", files[i]) == 0 && pid > 0 && pid <= INT32_MAX &&
		    hostfs_proc_start(&w.fs, (int)pid) != 0)
			return true;
	return false;
}

/* After a while without: what happened meanwhile nobody has told. */
static void connect_again(uint64_t now)
{
	struct err e = ERR_INIT;

	if (watch_virt_is_open() || now < w.connect_due)
		return;
	watch_virt_close();
	if (daemon_runs() && watch_virt_open(on_event, &e) == 0) {
		log_msg(LOG_LVL_INFO, "watch: connected to libvirt");
		notify("STATUS=Connected to libvirt");
		w.connect_wait = 0;
		w.connect_due = now + CONNECT_MS;
		w.look_due = now;
		return;
	}
	notify("STATUS=Waiting for libvirt");
	w.connect_wait = w.connect_wait ? w.connect_wait * 2 : CONNECT_MS;
	if (w.connect_wait > CONNECT_MAX_MS)
		w.connect_wait = CONNECT_MAX_MS;
	w.connect_due = now + w.connect_wait;
	if (*e.text && (w.told == 0 || now >= w.told + LOG_GAP_MS)) {
		log_warning("watch: no connection to libvirt: %s", e.text);
		w.told = now;
	}
}

/* ---- */

static void on_alarm(void)
{
	/* The loop looks at what is due after each turn. */
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void sleep_for_what_is_due(uint64_t now)
{
	const struct timespec pause = { .tv_sec = 1 };
	uint64_t due = w.look_due;

	if (!watch_virt_is_open())
		due = earlier(due, w.connect_due);
	due = earlier(due, w.child ? w.child_until : queue_due(&w.queue));
	watch_virt_alarm(due <= now ? 0 : (int)earlier(due - now, LOOK_MS), on_alarm);
	if (watch_virt_turn() == 0)
		return;
	/* Signals are not told either then. */
	(void)nanosleep(&pause, NULL); /* cut short by a signal: sooner */
	on_wake(w.wake[0]);
}

static void work(uint64_t now)
{
	char uuid[37];
	enum want want;
	bool off = gate_is_disabled(&w.fs);

	connect_again(now);
	reap(now);
	if (now >= w.look_due) {
		if (!off)
			look_at_all(now);
		w.look_due = now + LOOK_MS;
	}
	if (!w.child && queue_take(&w.queue, now, uuid, &want) && !off)
		begin(uuid, want, now);
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	int r;

	(void)argv;
	if (argc != 1) {
		(void)fputs("usage: watch (domtune-watch.service runs it)\n", stderr);
		return 2;
	}
	if (hostfs_init(&w.fs, NULL, &e) < 0 || watch_virt_init(&e) < 0) {
		(void)fprintf(stderr, "domtune: watch: %s\n", e.text);
		return 3;
	}
	log_init(&w.fs, false);
	r = take_signals();
	if (r < 0) {
		(void)fprintf(stderr, "domtune: watch: %s\n", err_name(-r));
		return 3;
	}
	notify("READY=1");
	work(supervise_now());
	while (!w.stop) {
		sleep_for_what_is_due(supervise_now());
		work(supervise_now());
	}
	notify("STOPPING=1");
	/* A child that is at work ends by itself: it is safe to be killed, too, which systemd does. */
	watch_virt_close();
	queue_fini(&w.queue);
	hostfs_fini(&w.fs);
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * irqbalance as a stand-in below a fake root, in a process of its own: it answers, reads BALANCER_READS bytes of a command as
 * the daemon does, shows banned CPUs as of its last scan, and hangs or drips where it is told to. What it was told last is
 * in files "told-cpus" and "told-irqs" of the root, how many connections there were is the size of "asked".
 */
#pragma once

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/backend.h"
#include "root_state.h"
#include "tap.h"

#define BALANCER_READS 500
#define BALANCER_DIR   "run/irqbalance"
#define BALANCER_MASK  BALANCER_DIR "/shown" /* BANNED; the test scans by writing to it */

enum balancer { ANSWERS, HANGS, DRIPS };

static inline void balancer_answer(struct root *r, int conn, enum balancer how)
{
	char text[BALANCER_READS + 1] = {0}, answer[1 << 15];
	ssize_t n = recv(conn, text, BALANCER_READS, 0);
	size_t len = 0;

	if (n > 0 && str_starts(text, "settings cpus ")) {
		root_put(r, "told-cpus", text + strlen("settings cpus "));
	} else if (n > 0 && str_starts(text, "settings ban irqs ")) {
		root_put(r, "told-irqs", text + strlen("settings ban irqs "));
	} else if (n > 0) {
		_cleanup_free_ char *irqs = root_dup(r, "told-irqs"), *mask = root_dup(r, BALANCER_MASK);

		for (char *at = irqs, *end; *at >= '0' && *at <= '9'; at = *end ? end + 1 : end) {
			(void)strtoul(at, &end, 10);
			len += (size_t)snprintf(answer + len, sizeof(answer) - len, "IRQ %.*s LOAD 0 DIFF 0 CLASS 0 ",
						(int)(end - at), at);
		}
		len += (size_t)snprintf(answer + len, sizeof(answer) - len, "BANNED %s", mask);
		for (size_t i = 0; how == DRIPS && i < len; i++) {
			(void)send(conn, answer + i, 1, MSG_NOSIGNAL);
			usleep(100 * 1000);
		}
		if (how != DRIPS)
			(void)send(conn, answer, len, MSG_NOSIGNAL);
	}
}

/* Its process; killed with the test. uid: as whom it listens. */
static inline pid_t balancer_start_as(struct root *r, enum balancer how, uid_t uid)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	if (!hostfs_exists(&r->fs, "told-irqs"))
		root_put(r, "told-irqs", "NONE");
	if (!hostfs_exists(&r->fs, BALANCER_MASK))
		root_put(r, BALANCER_MASK, "00");
	root_put(r, "asked", "");
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/" BALANCER_DIR "/irqbalance4711.sock", r->fs.fd);
	(void)unlinkat(r->fs.fd, BALANCER_DIR "/irqbalance4711.sock", 0);
	IS_INT(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	IS_INT(seteuid(uid), 0);
	IS_INT(listen(fd, 1), 0);
	IS_INT(seteuid(getuid()), 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int asked = openat(r->fs.fd, "asked", O_WRONLY | O_APPEND | O_CLOEXEC);

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			int conn = how == HANGS ? -1 : accept(fd, NULL, NULL);

			if (conn < 0) {
				pause();
				continue;
			}
			if (write(asked, "x", 1) == 1)
				balancer_answer(r, conn, how);
			close(conn);
		}
	}
	close(fd);
	return pid;
}

static inline pid_t balancer_start(struct root *r, enum balancer how)
{
	return balancer_start_as(r, how, geteuid());
}

static inline void balancer_end(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0)
		;
}

/* What it was told last of "cpus" or "irqs". A question is answered after what it was told before that. */
static inline const char *balancer_told(struct root *r, const char *object)
{
	char buf[BACKEND_VALUE_MAX];

	(void)be_irqbalance.read(&r->fs, object, buf, sizeof(buf));
	return root_get(r, streq(object, "cpus") ? "told-cpus" : "told-irqs");
}

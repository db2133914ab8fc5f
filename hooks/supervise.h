/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One worker process and its deadline: nothing that the worker does, or fails to do, reaches our caller.
 *
 * The worker is a session of its own with default signals, umask 022 and a fixed environment; of our
 * descriptors it has 0 (input), 1 and 2 (/dev/null) and 3, the report pipe, and nothing else. It may write
 * lines to descriptor 3:
 *
 *   strict         the owner asked for on-error="fail"
 *   deadline MS GROW-MS   the policy is newer than what worker.deadline_ms and worker.grow_ms were taken from
 *   growing        huge pages are being added: the deadline is put off, the first time by that
 *   refused TEXT   why the start is to be refused; then it exits with WORKER_EXIT_REFUSED
 */
#pragma once

#include "common/util.h"

#define WORKER_REPORT_FD 3
#define WORKER_EXIT_DONE 0
#define WORKER_EXIT_REFUSED 1
#define WORKER_EXIT_FAILED 2 /* and anything else: our failure, already logged */
#define WORKER_EXIT_NOT_RUN 127

/* How long a killed worker is waited for; one that cannot die (state D) is left behind after it. */
#define WORKER_KILL_WAIT_MS 100

#define WORKER_REFUSED_SIZE 400

enum worker_end {
	WORKER_DONE,
	WORKER_REFUSED,
	WORKER_FAILED,  /* exit status or signal in wait_status */
	WORKER_NOT_RUN, /* could not be started: errno in code */
	WORKER_LATE,    /* killed at the deadline */
};

struct worker {
	const char *const *argv; /* argv[0]: absolute path of the program; NULL-terminated */
	int input;               /* descriptor for its stdin, -1: /dev/null */
	const char *root;        /* DOMTUNE_ROOT of its environment, NULL: not set */
	unsigned int deadline_ms; /* the policy's, for its environment (patience.h); 0: ours goes on, if there is one */
	unsigned int grow_ms;    /* by which "growing" puts the deadline off, once */
};

struct worker_report {
	enum worker_end end;
	int wait_status;
	int code;
	bool strict;
	bool growing; /* the deadline was put off */
	unsigned int deadline_ms, grow_ms; /* in force at the end: as given, or what it has said */
	bool stuck; /* was killed and has not ended */
	char refused[WORKER_REFUSED_SIZE]; /* "" nothing said */
};

/* Milliseconds of CLOCK_MONOTONIC. */
uint64_t supervise_now(void);

/*
 * Run the worker until supervise_now() is `until` at most, or w->grow_ms after that if it says that it grows (and
 * WORKER_KILL_WAIT_MS longer if it must be killed). The caller's own descriptors 0 to 2 must be taken.
 */
void supervise(const struct worker *w, uint64_t until, struct worker_report *ret);

/*
 * Start a program that nobody waits for: a session of its own, nobody's child, default signals, the environment of a
 * worker, descriptors 0 to 2 /dev/null and no others, directory "/". 0, also if it cannot be executed; -errno.
 */
int supervise_leave(const char *const *argv, const char *root);

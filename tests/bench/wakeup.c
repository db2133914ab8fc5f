/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How late a thread wakes: it sleeps until an absolute time, again and again, and notes by how much it came late. Prints one
 * line, in microseconds: what cyclictest measures, with the quantiles of all wake-ups.
 *
 *   usage: wakeup [-c CPULIST] [-g DIRECTORY] [-f PRIORITY] [-i MICROSECONDS] [-n LOOPS] [-t SECONDS]
 *     -c  CPUs it may run on (those it has)              -g  control group to enter first (cgroup.procs or tasks)
 *     -f  SCHED_FIFO with that priority (SCHED_OTHER)    -i  time from one wake-up to the next (1000)
 *     -n  wake-ups (1000)                                -t  end after so long, with what there is (30)
 *
 * Exit status: 0; 1: it was not allowed what it was told to do, or never woke; 2: usage.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define LOOPS_MAX 10000000L
#define NS 1000000000L

static int fail(const char *what)
{
	fprintf(stderr, "wakeup: %s: %s\n", what, strerror(errno));
	return -1;
}

/* A whole number between these, or -1. */
static long number(const char *text, long min, long max)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	return errno || end == text || *end || n < min || n > max ? -1 : n;
}

static int run_on(const char *list)
{
	cpu_set_t set;
	const char *p = list;

	CPU_ZERO(&set);
	while (*p) {
		char *end;
		unsigned long first = strtoul(p, &end, 10), last = first;

		if (end == p)
			break;
		if (*end == '-') {
			p = end + 1;
			last = strtoul(p, &end, 10);
		}
		if (end == p || (*end && *end != ',') || last < first || last >= CPU_SETSIZE)
			break;
		for (; first <= last; first++)
			CPU_SET(first, &set);
		p = *end ? end + 1 : end;
	}
	if (*p || !CPU_COUNT(&set)) {
		fprintf(stderr, "wakeup: '%s' is no list of CPUs\n", list);
		return -1;
	}
	return sched_setaffinity(0, sizeof(set), &set) ? fail(list) : 0;
}

/* Version 2 takes the whole process by cgroup.procs, below a threaded domain too; version 1 has `tasks` in each tree. */
static int enter(const char *dir)
{
	const char *names[] = {"cgroup.procs", "tasks"};
	char path[4096], pid[24];
	int len = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int fd, bad;

		if (snprintf(path, sizeof(path), "%s/%s", dir, names[i]) >= (int)sizeof(path))
			break;
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		bad = write(fd, pid, (size_t)len) != len;
		if (bad)
			(void)fail(path);
		close(fd);
		return bad ? -1 : 0;
	}
	return fail(dir);
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * NS + t.tv_nsec;
}

/*
 * Number of wake-ups measured. Who slept through further times does not wake for each of them afterwards: the next sleep
 * ends at the next multiple of the interval, and *ret_missed counts what was left out.
 */
static long measure(int64_t *late, long loops, int64_t interval, int64_t until, long *ret_missed)
{
	int64_t next = now() + interval;
	long n = 0;

	*ret_missed = 0;
	while (n < loops) {
		struct timespec at = {.tv_sec = (time_t)(next / NS), .tv_nsec = (long)(next % NS)};
		int64_t woken;

		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
			;
		woken = now();
		late[n++] = woken - next;
		if (woken >= until)
			break;
		for (next += interval; next <= woken; next += interval)
			++*ret_missed;
	}
	return n;
}

static int by_value(const void *a, const void *b)
{
	int64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return (x > y) - (x < y);
}

/* The least of the values that at least this part of them does not exceed. */
static double quantile(const int64_t *sorted, long n, double part)
{
	long i = (long)((double)n * part);

	if ((double)i >= (double)n * part && i > 0)
		i--;
	return (double)sorted[i] / 1000.0;
}

int main(int argc, char **argv)
{
	const char *cpus = NULL, *group = NULL;
	long priority = 0, interval_us = 1000, loops = 1000, seconds = 30, n, missed;
	int64_t *late;
	int c;

	while ((c = getopt(argc, argv, "c:g:f:i:n:t:")) != -1) {
		switch (c) {
		case 'c': cpus = optarg; break;
		case 'g': group = optarg; break;
		case 'f': priority = number(optarg, 1, 99); break;
		case 'i': interval_us = number(optarg, 10, 10000000); break;
		case 'n': loops = number(optarg, 1, LOOPS_MAX); break;
		case 't': seconds = number(optarg, 1, 86400); break;
		default: return 2;
		}
	}
	if (optind != argc || priority < 0 || interval_us < 0 || loops < 0 || seconds < 0) {
		fprintf(stderr, "usage: wakeup [-c CPULIST] [-g DIRECTORY] [-f PRIORITY] [-i MICROSECONDS] [-n LOOPS] [-t SECONDS]\n");
		return 2;
	}
	late = calloc((size_t)loops, sizeof(*late));
	if (!late)
		return fail("memory"), 1;
	memset(late, 1, (size_t)loops * sizeof(*late)); /* no page fault while it measures */
	/* The group first: CPUs that it does not have cannot be asked for. */
	if ((group && enter(group)) || (cpus && run_on(cpus)))
		return 1;
	if (priority) {
		struct sched_param p = {.sched_priority = (int)priority};

		if (sched_setscheduler(0, SCHED_FIFO, &p))
			return fail("SCHED_FIFO"), 1;
	}
	(void)mlockall(MCL_CURRENT | MCL_FUTURE);    /* what is not allowed costs a page fault at most */
	(void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); /* else 50 us for SCHED_OTHER */
	n = measure(late, loops, interval_us * 1000, now() + seconds * NS, &missed);
	qsort(late, (size_t)n, sizeof(*late), by_value);
	printf("policy=%s interval=%ld loops=%ld missed=%ld min=%.1f median=%.1f p99=%.1f p999=%.1f max=%.1f\n",
	       priority ? "fifo" : "other", interval_us, n, missed, (double)late[0] / 1000.0, quantile(late, n, 0.5),
	       quantile(late, n, 0.99), quantile(late, n, 0.999), (double)late[n - 1] / 1000.0);
	free(late);
	return fflush(stdout) ? 1 : 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Late arrivals. No hook is called for them, and a daemon for two minutes of each guest's life is too much: `started`
 * leaves a helper behind, `apply linger UUID HELPER`, which looks again at growing intervals and then ends. It belongs to
 * nobody: a session of its own, a child of init, none of libvirt's descriptors, no lock while it sleeps. It ends with the
 * guest (pidfd), when the record is gone or another helper was started, when the host switch is off, and after the last
 * look. Killed, it leaves nothing but what the record says of every other process that is.
 *
 * It stays in the control group of whoever called the hook, libvirtd.service: with KillMode=process, which libvirt's
 * units have, a restart of the daemon passes it by.
 *
 * A look is a few reads (late.h). Only where something has come are the record opened and the steps made again. A vCPU
 * that the plan has no CPUs for is decided anew, by `domtune retune`.
 */
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

#include "apply.h"
#include "common/gate.h"
#include "common/late.h"
#include "common/log.h"
#include "common/num.h"
#include "common/paths.h"
#include "supervise.h"

/* When it looks, ms after it was started: a guest's drivers load within seconds, slow ones within two minutes. */
static const unsigned int looks_ms[] = {500, 1000, 2000, 4000, 8000, 16000, 30000, 60000, 120000};
#define LOOKS_MAX 16
/* Others hold the record for one phase or one move; whoever is too busy is asked again at the next look. */
#define RECORD_WAIT_MS 300
#define RETUNE_MAX_MS 60000 /* half of it may be spent on moving memory (common/migrate.h) */
#define NICE 5 /* not less: it holds the record while it works, and others wait for that */

/* For tests, in builds with DT_SAN or DT_TEST: DOMTUNE_LATE="MS,MS,..." are the looks, also below another root than "/". */
static const char *test_looks(void)
{
#if defined(DT_SAN) || defined(DT_TEST)
	return getenv("DOMTUNE_LATE");
#else
	return NULL;
#endif
}

static unsigned int take_looks(unsigned int ret[LOOKS_MAX])
{
	_cleanup_free_ char *text = test_looks() ? strdup(test_looks()) : NULL;
	char *pos = text, *word;
	unsigned int n = 0;
	uint64_t ms;

	while (n < LOOKS_MAX && (word = strsep(&pos, ",")))
		if (num_parse_range(word, 1, UINT32_MAX, &ms) == 0)
			ret[n++] = (unsigned int)ms;
	if (text)
		return n;
	memcpy(ret, looks_ms, sizeof(looks_ms));
	return ARRAY_SIZE(looks_ms);
}

/* ---- starting it ---- */

uint64_t late_note(const struct call *c, const struct undo *u, const struct run *run)
{
	struct timespec now = {0};
	struct late l = {0};
	int rc;

	if (u->plan.observe || !steps_come_late(&u->plan) || (!c->fs.real && !test_looks()) ||
	    gate_is_disabled(&c->fs))
		return 0;
	(void)clock_gettime(CLOCK_BOOTTIME, &now); /* cannot fail: the clock exists */
	late_take(&c->fs, u, run, &l); /* interrupts and queues may have come since: they are not seen */
	l.helper = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	rc = late_write(&c->fs, c->uuid, &l);
	if (rc < 0)
		log_warning("%s: nobody will see what comes late (domtune retune): %s", u->plan.name, err_name(-rc));
	return rc < 0 ? 0 : l.helper;
}

void late_leave(const struct call *c, uint64_t helper)
{
	static const char program[] = DT_HELPERS "/apply";
	char number[24];
	const char *const argv[] = {program, "linger", c->uuid, number, NULL};
	int rc;

	if (!helper)
		return;
	(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)helper); /* 20 digits fit */
	rc = supervise_leave(argv, c->fs.real ? NULL : c->fs.root);
	if (rc < 0)
		log_warning("%s: nobody will see what comes late (domtune retune): %s", c->uuid, err_name(-rc));
}

/* ---- one look, with something to do ---- */

/*
 * Another plan for the running domain, as an administrator would ask for it: which annotation counts by now is for
 * libvirt to say. Libvirt answers: the hook that left us behind is long over, or it will be. Its failures are in the log.
 */
static void retune(const struct call *c, const char *name)
{
	static const char program[] = DT_SBINDIR "/domtune";
	const char *const argv[] = {program, "retune", c->uuid, NULL};
	struct worker w = {.argv = argv, .input = -1, .root = c->fs.real ? NULL : c->fs.root};
	struct worker_report report = {0};

	supervise(&w, supervise_now() + RETUNE_MAX_MS, &report);
	if (report.end != WORKER_DONE)
		log_warning("%s: a vCPU was plugged in, and not all could be done for it (domtune retune %s)", name, name);
}

/*
 * Make up for what has come. l: what was seen last, with pid 0 if nothing was. LATE_OVER: the domain is no more what it
 * was; LATE_NEWS: not done, the next look will.
 */
static enum late_news catch_up(const struct call *c, struct late *l)
{
	_cleanup_(undo_fini) struct undo u = {.fd = -1};
	_cleanup_(run_fini) struct run run = {0};
	struct apply_count count = {0};
	_cleanup_free_ char *name = NULL;
	struct late seen = *l, noted;
	struct err e = {0};
	bool lacks_vcpu;
	int rc;

	rc = undo_open_within(&c->fs, c->uuid, RECORD_WAIT_MS, &u, &e);
	if (rc == -ETIMEDOUT)
		return LATE_NEWS;
	if (rc < 0 || u.phase != CLAIM_STARTED || (l->pid && (u.generation != l->generation || u.pid != l->pid)))
		return LATE_OVER;
	seen.watch_irqs = steps_watch_irqs(&u.plan);
	late_look_around(&c->fs, &seen);
	rc = run_find_groups(&c->fs, u.plan.name, &run, &e);
	if (rc < 0 || run.pid != u.pid || run.start != u.pid_start)
		return LATE_OVER;
	rc = apply_late(&c->fs, &u, &run, &count);
	if (rc < 0)
		log_warning("%s: what came late: %s", u.plan.name, err_name(-rc));
	else if (rc > 0)
		log_notice("%s: %d object%s came late and %s tuned", u.plan.name, rc, rc == 1 ? "" : "s",
			   rc == 1 ? "is" : "are");
	if (count.late)
		return LATE_OVER;
	lacks_vcpu = apply_lacks_vcpu(&u, &run);
	name = strdup(u.plan.name);
	/* Who watches is for the note to say that is there now. */
	seen.helper = late_read(&c->fs, c->uuid, &noted) == 0 ? noted.helper : 0;
	late_take(&c->fs, &u, &run, &seen);
	rc = late_write(&c->fs, c->uuid, &seen);
	if (rc < 0)
		log_debug("%s: what was seen cannot be noted: %s", u.plan.name, err_name(-rc));
	*l = seen;
	undo_fini(&u); /* decide opens it itself */
	if (lacks_vcpu && name)
		retune(c, name);
	return LATE_NOTHING;
}

int do_late(struct call *c)
{
	struct late l = {0};
	enum late_news news = LATE_NEWS;

	if (gate_is_disabled(&c->fs))
		return DONE;
	if (late_read(&c->fs, c->uuid, &l) == 0)
		news = late_look(&c->fs, c->uuid, &l);
	else
		memset(&l, 0, sizeof(l));
	if (news == LATE_NEWS)
		news = catch_up(c, &l);
	return news == LATE_NEWS ? FAILED : DONE;
}

/* ---- the helper ---- */

static int left_ms(uint64_t until)
{
	uint64_t now = supervise_now();

	return now >= until ? 0 : (int)(until - now);
}

/* False: QEMU has ended. */
static bool sleep_until(uint64_t until, int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int ms;

	while ((ms = left_ms(until)) > 0)
		if (poll(&p, 1, ms) > 0)
			return false;
	return true;
}

/* Out of the way: where the domain's own lesser threads are, and behind whoever wants to run there. */
static void step_aside(const struct call *c, const struct late *l)
{
	_cleanup_(undo_fini) struct undo u = {.fd = -1};
	const struct idset *cpus = &u.plan.placement.emulator;
	cpu_set_t *set;
	size_t size = CPU_ALLOC_SIZE(IDSET_MAX);

	(void)setpriority(PRIO_PROCESS, 0, NICE); /* it only matters on a busy host */
	if (undo_open(&c->fs, c->uuid, false, &u, NULL) < 0 || u.generation != l->generation || idset_is_empty(cpus))
		return;
	set = CPU_ALLOC(IDSET_MAX);
	if (!set)
		return;
	CPU_ZERO_S(size, set);
	IDSET_FOREACH (cpu, cpus)
		CPU_SET_S((size_t)cpu, size, set);
	(void)sched_setaffinity(0, size, set); /* a cpuset may forbid it: then it says where we are */
	CPU_FREE(set);
}

static int open_process(const struct call *c, const struct late *l)
{
	int fd = -1;

	if (!c->fs.real)
		return -1;
#ifdef SYS_pidfd_open
	fd = (int)syscall(SYS_pidfd_open, l->pid, 0);
#endif
	/* The number may be another process's by now: looks tell, by its start time. */
	return fd;
}

static bool is_mine(const struct call *c, uint64_t helper, struct late *ret)
{
	return late_read(&c->fs, c->uuid, ret) == 0 && ret->helper == helper;
}

int do_linger(struct call *c)
{
	_cleanup_close_ int pidfd = -1;
	unsigned int looks[LOOKS_MAX], n = take_looks(looks);
	uint64_t begin = supervise_now(), helper;
	struct late l;

	if (num_parse_u64(c->argument, &helper) < 0 || !is_mine(c, helper, &l))
		return DONE;
	step_aside(c, &l);
	pidfd = open_process(c, &l);
	for (unsigned int i = 0; i < n && sleep_until(begin + looks[i], pidfd); i++) {
		enum late_news news;

		if (gate_is_disabled(&c->fs) || !is_mine(c, helper, &l))
			break;
		news = late_look(&c->fs, c->uuid, &l);
		if (news == LATE_NEWS)
			news = catch_up(c, &l);
		if (news == LATE_OVER)
			break;
	}
	return DONE;
}

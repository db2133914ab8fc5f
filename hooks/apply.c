/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * apply prepare|started|stopped|release|reconnect|retune|late UUID, apply linger UUID HELPER, apply sweep
 *
 * Carries out what `decide` wrote into undo/UUID, and takes it back; and moves running guests of the shared pool where
 * a claim that came or went has left them no room, or more of it. Started by the hook's supervisor (or exec'd by
 * `decide`) with nothing of libvirt's left open: whatever becomes of this process, the domain goes on. Links libc only.
 *
 * Exit status: 0 done, or nothing to do; 1 prepare refused (on-error="fail", everything undone, the line on
 * descriptor 3); 2 our failure, which is in the log.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "apply.h"
#include "common/irq.h"
#include "common/log.h"
#include "common/num.h"

#define REPORT_FD 3
#define SWEEP_MAX 64 /* dead domains per call, well below the deadline; the next call takes up the rest */

/* Only a pipe that was there before we opened anything can be the supervisor's. */
static int find_report(void)
{
	struct stat st;

	if (fstat(REPORT_FD, &st) < 0 || !(S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
		return -1;
	(void)fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC); /* nothing is exec'd; it is a habit */
	return REPORT_FD;
}

static void report_refused(const struct call *c, const char *text)
{
	char line[ERR_TEXT_SIZE + 16];
	int n = snprintf(line, sizeof(line), "refused %s\n", text);

	if (c->report < 0 || n < 0)
		return;
	if ((size_t)n >= sizeof(line))
		n = (int)sizeof(line) - 1;
	for (int i = 0; i + 1 < n; i++)
		if ((unsigned char)line[i] < ' ')
			line[i] = '?'; /* a name from outside must not make a second line */
	if (write(c->report, line, (size_t)n) < 0)
		log_debug("nobody listens on the report pipe");
}

static void log_failure(const struct call *c, const char *what, const struct err *e)
{
	log_warning("%s: %s: %s", c->uuid, what, e->text);
}

/* The plan of this start; FAILED is already logged. 1: opened, 0: there is none. */
static int open_undo(const struct call *c, struct undo *ret)
{
	struct err e = {0};
	int rc = undo_open(&c->fs, c->uuid, true, ret, &e);

	if (rc == 0)
		return 1;
	if (rc == -ENOENT || rc == -ESTALE)
		return 0;
	log_failure(c, "its plan cannot be read, it stays untuned", &e);
	return rc;
}

static void log_warnings(const struct undo *u, const struct steps *s)
{
	char line[512];

	for (size_t i = 0; i < s->warnings.n; i++) {
		(void)msg_format(&s->warnings.m[i], line, sizeof(line));
		log_warning("%s: %s", u->plan.name, line);
	}
}

/* Expand and apply one stage. What found no object is recorded for `status`. */
static int apply_stage(const struct call *c, struct undo *u, enum stage stage, struct run *run,
		       struct apply_count *count)
{
	_cleanup_(steps_fini) struct steps s = {0};
	size_t n_before = u->plan.n_skipped;
	int rc;

	if (run && steps_need_starts(&u->plan, run))
		run_read_starts(&c->fs, run);
	if (run)
		run_read_more(&c->fs, run, &u->plan, true); /* the stages before have none */
	rc = stage == STAGE_PREPARE ? irq_refresh(&c->fs, &u->plan) : 0;
	if (rc == 0)
		rc = steps_make(&u->plan, stage, run, &s);
	for (size_t i = n_before; i < u->plan.n_skipped && rc == 0; i++)
		(void)undo_skipped(u, &u->plan.skipped[i]); /* for show only */
	if (rc == 0)
		rc = apply_steps(&c->fs, u, &s, count);
	if (rc < 0) {
		log_warning("%s: %s", u->plan.name, err_name(-rc));
		return rc;
	}
	log_warnings(u, &s);
	return 0;
}

/*
 * What was moved and what was not is in the log already. except: a domain whose undo file is open; NULL: none.
 * Whether all could be moved.
 */
static bool move_guests(const struct call *c, const char *except)
{
	struct apply_count count = {0};
	struct err e = {0};
	int rc = apply_moves(&c->fs, except, &count, &e);

	if (rc < 0)
		log_warning("moves of shared guests: %s", e.text);
	return rc == 0 && count.failed == 0;
}

/* Whether this start is to have CPUs alone. */
static bool has_own_cpus(const struct undo *u)
{
	enum place_policy policy = u->plan.placement.policy;

	return policy == PLACE_DEDICATED || policy == PLACE_ISOLATED;
}

static int do_prepare(struct call *c)
{
	_cleanup_(undo_fini) struct undo u = {.fd = -1};
	struct apply_count count = {0}, undone = {0};
	struct err e = {0};
	bool alone;
	int rc;

	/* First: the CPUs are to be free before QEMU runs. */
	alone = !ledger_has_moves(&c->fs) || move_guests(c, NULL);
	rc = open_undo(c, &u);
	if (rc <= 0)
		return rc < 0 ? FAILED : DONE;
	if (!alone && u.plan.fail && has_own_cpus(&u))
		(void)snprintf(count.failure, sizeof(count.failure),
			       "its CPUs are not free: a guest that shares them could not be moved away, the log says why");
	else
		rc = apply_stage(c, &u, STAGE_PREPARE, NULL, &count);
	if (rc == 0 && count.failed == 0 && !*count.failure)
		return DONE;
	if (!u.plan.fail)
		return rc < 0 ? FAILED : DONE;
	undo_fini(&u);
	(void)undo_all(&c->fs, c->uuid, &undone, &e); /* what stays is in undo/UUID for the next call */
	if (undone.moves)
		move_guests(c, NULL);
	report_refused(c, *count.failure ? count.failure : "a setting could not be applied: see the log");
	return REFUSED;
}

/* The process that runs now is what the claim's life hangs on; and what it shares is where the ledger says by now. */
static int record_process(const struct call *c, struct undo *u, struct err *e)
{
	_cleanup_(ledger_fini) struct ledger l = {0};
	_cleanup_close_ int lock = ledger_lock(&c->fs, e);
	struct claim *claim;
	int rc;

	if (lock < 0)
		return lock;
	rc = ledger_read_claim(&c->fs, c->uuid, &l, e);
	if (rc < 0)
		return rc;
	claim = ledger_find(&l, c->uuid);
	if (!claim || claim->generation != u->generation)
		return err_set(e, ESTALE, "its claim is gone");
	if (u->phase == CLAIM_STARTED && (rc = apply_follow(u, claim)) < 0)
		return err_set(e, -rc, "%s", err_name(-rc));
	if (claim->pid == u->pid && claim->pid_start == u->pid_start && claim->phase == u->phase)
		return 0;
	claim->pid = u->pid;
	claim->pid_start = u->pid_start;
	claim->phase = u->phase;
	return ledger_write(&c->fs, &l, e);
}

/* Phase and process in both files. -ESTALE: no claim. Other failures: it stays tuned, death is found out later. */
static int record_phase(const struct call *c, struct undo *u, enum claim_phase phase)
{
	struct err e = {0};
	int rc = undo_set_phase(u, phase);

	if (rc < 0)
		(void)err_set(&e, -rc, "%s", err_name(-rc));
	else
		rc = record_process(c, u, &e);
	if (rc < 0 && rc != -ESTALE)
		log_warning("%s: cannot record that it is %s: %s", u->plan.name, claim_phase_name(phase), e.text);
	return rc;
}

/*
 * Without a claim nothing is placed: `decide` was killed before it was made (hooks/decide.c), or the ledger is lost,
 * and the CPUs may be others'. What the start did before is put back; a newer start's, if there is one, is not touched.
 */
static int give_up(const struct call *c, struct undo *u, const char *phase)
{
	struct apply_count count = {0};
	struct err e = {0};
	char undone[128];
	uint64_t generation = u->generation;
	int rc;

	undo_fini(u); /* undo opens it itself */
	rc = undo_start(&c->fs, c->uuid, generation, &count, &e);
	if (rc < 0) {
		log_warning("%s %s: it has no claim, and not all is undone: %s",
			    *count.name ? count.name : c->uuid, phase, e.text);
		return FAILED;
	}
	if (rc == 0)
		return DONE;
	(void)apply_format_undone(&count, undone, sizeof(undone));
	log_warning("%s %s: it has no claim (a crash, or the ledger was lost): untuned, %s", count.name, phase, undone);
	return DONE;
}

/* What the wrapper made of its settings is on record. */
static void count_execs(const struct undo *u, struct apply_count *count)
{
	for (unsigned int i = 0; i < u->n_execs; i++)
		if (u->execs[i].ok)
			count->in_force++;
		else
			count->skipped++;
}

/* Settings that `prepare` applied: it has logged its failures. */
static void count_prepared(const struct undo *u, struct apply_count *count)
{
	for (size_t i = 0; i < u->plan.n_settings; i++) {
		const struct setting *s = &u->plan.settings[i];
		bool failed = false;

		if (s->stage != STAGE_PREPARE)
			continue;
		for (unsigned int j = 0; j < u->n_steps && !failed; j++)
			failed = u->steps[j].state == UNDO_LEFT && streq(u->steps[j].knob, s->knob) &&
				 streq(u->steps[j].target, s->target);
		if (failed)
			count->failed++;
		else
			count->in_force++;
	}
}

/* "profile latency, CPUs 2-5, node 0, 38 settings in force, 2 skipped" */
static void log_running(const struct undo *u, const char *phase, const struct apply_count *count)
{
	const struct placement *p = &u->plan.placement;
	_cleanup_sbuf_ struct sbuf b = {0};
	struct idset cpus = IDSET_EMPTY;
	_cleanup_free_ char *cpu_text = NULL, *node_text = NULL;
	unsigned int skipped = count->skipped + (unsigned int)u->plan.n_skipped;

	for (unsigned int i = 0; i < p->n_vcpus; i++)
		idset_or(&cpus, &p->vcpus[i].cpus);
	cpu_text = idset_text(&cpus);
	node_text = idset_text(&p->nodes);
	if (*u->plan.profile)
		sbuf_addf(&b, "profile %s, ", u->plan.profile);
	if (cpu_text && *cpu_text)
		sbuf_addf(&b, "CPUs %s, ", cpu_text);
	if (node_text && *node_text)
		sbuf_addf(&b, "node%s %s, ", idset_count(&p->nodes) > 1 ? "s" : "", node_text);
	sbuf_addf(&b, "%u setting%s %s", count->in_force, count->in_force == 1 ? "" : "s",
		  u->plan.observe ? "would be in force (observe)" : "in force");
	if (skipped)
		sbuf_addf(&b, ", %u skipped", skipped);
	if (count->failed)
		sbuf_addf(&b, ", %u failed", count->failed);
	if (count->late)
		sbuf_addf(&b, ", %u late", count->late);
	log_notice("%s %s: %s", u->plan.name, phase, b.s ? b.s : "");
}

/* Domain of a call that is about a running one. */
struct running {
	struct undo undo;
	struct run run;
};

static void running_fini(struct running *r)
{
	undo_fini(&r->undo);
	run_fini(&r->run);
}

/*
 * Open its record, find its process, note both. True: go on; else *status is how the call ends. The phase comes before
 * anything else is done: a worker of an earlier one that is still about sees it and stops.
 */
static bool begin_running(const struct call *c, const char *phase, struct running *r, int *status)
{
	struct err e = {0};
	int rc = open_undo(c, &r->undo);

	*status = rc < 0 ? FAILED : DONE;
	if (rc <= 0)
		return false;
	rc = run_find_groups(&c->fs, r->undo.plan.name, &r->run, &e);
	if (rc < 0) {
		log_warning("%s %s: %s; its threads are left as they are", r->undo.plan.name, phase, e.text);
		*status = FAILED;
		return false;
	}
	r->undo.pid = r->run.pid;
	r->undo.pid_start = r->run.start;
	if (record_phase(c, &r->undo, CLAIM_STARTED) != -ESTALE) /* else logged; the threads are there all the same */
		return true;
	*status = give_up(c, &r->undo, phase);
	return false;
}

/* The shared pool may have changed while its settings were applied. */
static void end_running(const struct call *c, struct running *r)
{
	int rc = apply_settle(&c->fs, &r->undo);

	if (rc < 0)
		log_warning("%s: it could not follow the shared CPUs: %s", r->undo.plan.name, err_name(-rc));
}

static int do_started(struct call *c)
{
	_cleanup_(running_fini) struct running r = {.undo = {.fd = -1}};
	struct apply_count count = {0};
	uint64_t helper;
	int rc, status;

	if (!begin_running(c, "started", &r, &status)) {
		if (r.undo.fd >= 0)
			(void)record_phase(c, &r.undo, CLAIM_STARTED); /* it was not found; logged */
		return status;
	}
	rc = apply_stage(c, &r.undo, STAGE_STARTED, &r.run, &count);
	if (apply_read_exec(&c->fs, &r.undo, &r.run) < 0)
		log_debug("%s: what the wrapper made of it cannot be read", r.undo.plan.name);
	end_running(c, &r);
	count_prepared(&r.undo, &count);
	count_execs(&r.undo, &count);
	if (plan_n_acting(&r.undo.plan)) /* else it occupies what its own definition says, no more */
		log_running(&r.undo, "started", &count);
	helper = late_note(c, &r.undo, &r.run);
	undo_fini(&r.undo); /* what is left behind does not hold it for a moment */
	late_leave(c, helper);
	return rc < 0 ? FAILED : DONE;
}

static int do_stopped(struct call *c)
{
	_cleanup_(undo_fini) struct undo u = {.fd = -1};
	int rc = open_undo(c, &u);

	if (rc <= 0)
		return rc < 0 ? FAILED : DONE;
	rc = record_phase(c, &u, CLAIM_STOPPED);
	return rc < 0 && rc != -ESTALE ? FAILED : DONE; /* without a claim release still has all there is to do */
}

static int do_release(struct call *c)
{
	struct apply_count count = {0};
	struct err e = {0};
	char undone[128];
	int rc = undo_all(&c->fs, c->uuid, &count, &e);

	if (rc < 0) {
		log_warning("%s: not all is undone, `domtune recover` will: %s", *count.name ? count.name : c->uuid,
			    e.text);
		return FAILED;
	}
	if (rc == 0)
		return DONE;
	if (count.moves)
		move_guests(c, NULL);
	(void)apply_format_undone(&count, undone, sizeof(undone));
	log_msg(apply_undone_any(&count) ? LOG_LVL_NOTICE : LOG_LVL_DEBUG, "%s released: %s",
		*count.name ? count.name : c->uuid, undone);
	return DONE;
}

static int do_reconnect(struct call *c)
{
	_cleanup_(running_fini) struct running r = {.undo = {.fd = -1}};
	struct apply_count count = {0};
	int rc, status;

	if (!begin_running(c, "reconnect", &r, &status))
		return status;
	rc = apply_repair(&c->fs, &r.undo, &count);
	if (rc < 0)
		log_warning("%s reconnect: %s", r.undo.plan.name, err_name(-rc));
	end_running(c, &r);
	if (ledger_has_moves(&c->fs))
		move_guests(c, c->uuid);
	return rc < 0 ? FAILED : DONE;
}

/* `decide` has given a running domain another plan, and its claim is changed accordingly. */
static int do_retune(struct call *c)
{
	_cleanup_(running_fini) struct running r = {.undo = {.fd = -1}};
	struct apply_count count = {0}, back = {0};
	struct err e = {0};
	char undone[128] = "";
	int rc, status;

	if (!begin_running(c, "retune", &r, &status))
		return status;
	rc = apply_retune(&c->fs, &r.undo, &r.run, &count, &back, &e);
	if (rc < 0)
		log_warning("%s retune: %s", r.undo.plan.name, e.text);
	end_running(c, &r);
	move_guests(c, c->uuid); /* also those that could not be moved before */
	count_execs(&r.undo, &count);
	if (rc == 0 && plan_n_acting(&r.undo.plan) > 0) {
		log_running(&r.undo, "retuned", &count);
		return DONE;
	}
	if (rc == 0) {
		(void)apply_format_undone(&back, undone, sizeof(undone));
		log_notice("%s retuned: nothing is asked for it any more, %s", r.undo.plan.name, undone);
	}
	return rc < 0 ? FAILED : DONE;
}

static int do_sweep(struct call *c)
{
	struct err e = {0};

	/* What was undone and what was not is in the log already. */
	return apply_sweep(&c->fs, true, false, SWEEP_MAX, &e) < 0 ? FAILED : DONE;
}

static const struct verb {
	const char *name;
	int (*run)(struct call *);
	int n_arguments; /* the first one is a UUID */
} verbs[] = {
	{"prepare", do_prepare, 1}, {"started", do_started, 1},     {"stopped", do_stopped, 1},
	{"release", do_release, 1}, {"reconnect", do_reconnect, 1}, {"retune", do_retune, 1},
	{"late", do_late, 1},       {"linger", do_linger, 2},       {"sweep", do_sweep, 0},
};

static const struct verb *find_verb(int argc, char **argv)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs) && argc >= 2; i++)
		if (streq(verbs[i].name, argv[1]) && argc == 2 + verbs[i].n_arguments)
			return &verbs[i];
	return NULL;
}

int main(int argc, char **argv)
{
	struct call c = {.fs = HOSTFS_INIT, .report = find_report()};
	const struct verb *verb = find_verb(argc, argv);
	struct err e = {0};
	int status;

	if (!verb || (verb->n_arguments && !uuid_is_valid(argv[2]))) {
		(void)fputs("usage: apply prepare|started|stopped|release|reconnect|retune|late UUID | "
			    "apply linger UUID HELPER | apply sweep\n", stderr);
		return FAILED;
	}
	/* Supervisor or reader gone: the work is done all the same. */
	(void)signal(SIGPIPE, SIG_IGN);
	c.uuid = verb->n_arguments ? argv[2] : "";
	c.argument = verb->n_arguments > 1 ? argv[3] : "";
	if (hostfs_init(&c.fs, getenv("DOMTUNE_ROOT"), &e) < 0) {
		(void)fprintf(stderr, "domtune: %s\n", e.text);
		return FAILED;
	}
	log_init(&c.fs, false);
	status = verb->run(&c);
	hostfs_fini(&c.fs);
	return status;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Back: what a start changed is put back newest first, three-way. An object that says what we read back after our
 * write (or, where that record is missing, what we meant to write) gets its original again; one that says the original
 * already is done; anything else is somebody else's choice and stays.
 *
 * A cause goes before its dependants, and putting it back may reset them, after which they could no longer be told
 * from somebody else's choice. So they are judged first, and that is on record ("undoing") before the cause is
 * written. Each step can be repeated; a kill anywhere leaves work for the next call: own objects, then under the lock
 * shared ones and the claim, then plan/UUID, and undo/UUID last, since the hook takes that one for the sign that
 * something is left to do.
 *
 * With a claim that held CPUs the shared pool grows: floaters are computed anew in the same write of the ledger, and
 * whoever called carries the moves out (apply_moves()).
 */
#include "apply_priv.h"
#include "hugepool.h"
#include "lines.h"
#include "log.h"
#include "num.h"
#include "paths.h"
#include "place_share.h"

enum verdict { BACK, OURS, FOREIGN, GONE, UNREADABLE };

struct judged {
	struct undo_step *step;
	const struct backend *be;
	char *now;
	enum verdict verdict;
};

static void judged_fini(struct judged *j)
{
	free(j->now);
}

static struct apply_object object_of(const struct undo_step *s)
{
	return (struct apply_object){s->knob, s->target, s->backend, s->object};
}

static bool is_open(const struct undo_step *s)
{
	return !s->shared && (s->state == UNDO_INTENT || s->state == UNDO_DONE);
}

static struct judged judge(struct apply_run *a, struct undo_step *s)
{
	struct judged j = {.step = s, .verdict = GONE};
	int rc = 0;

	j.be = apply_backend(a, s->backend, s->object, &rc);
	if (j.be)
		rc = apply_read(a, j.be, s->object, &j.now);
	if (rc < 0 || !j.be) {
		if (err_classify(-rc) != ERR_ABSENT)
			j.verdict = UNREADABLE;
		return j;
	}
	if (j.be->same(s->object, j.now, s->original))
		j.verdict = BACK;
	else if (s->undoing || (s->cause && s->state == UNDO_INTENT))
		j.verdict = OURS; /* its cause was written, whatever that made of it */
	else if (j.be->same(s->object, j.now, s->state == UNDO_DONE ? s->readback : s->wanted) ||
		 (s->before && j.be->same(s->object, j.now, s->before)) || apply_remains(j.be, s, j.now))
		j.verdict = OURS;
	else
		j.verdict = FOREIGN;
	return j;
}

static void conclude(struct apply_run *a, struct undo_step *s, const char *result)
{
	(void)undo_undone(a->undo, s->number, result); /* unrecorded it is found as it is now, and done again */
}

/*
 * An original that was the empty set, of a group that has tasks in it (a running domain): the kernel does not empty
 * that, and the back end has written what means the same (be_cgroup.c).
 */
static bool is_stand_in(const struct judged *j, const char *now)
{
	const char *original = j->step->original;

	return !original[strspn(original, " ")] && !j->be->same(j->step->object, now, original);
}

static void conclude_stand_in(struct apply_run *a, struct undo_step *s, const char *now)
{
	char result[160];

	(void)snprintf(result, sizeof(result), "the kernel empties no group with tasks in it: %.80s instead", now);
	conclude(a, s, result);
	log_msg(a->stand_in_told ? LOG_LVL_DEBUG : LOG_LVL_NOTICE, "%s: %s: %s %s: %s, which is as wide", a->name,
		s->knob, s->backend, s->object, result);
	a->stand_in_told = true;
}

/* Write the original and say how that went. */
static enum apply_outcome put_back(struct apply_run *a, struct judged *j)
{
	const struct apply_object o = object_of(j->step);
	_cleanup_free_ char *now = NULL;
	int rc = apply_write(a, j->be, o.object, j->step->original, &now);

	if (rc == 0 && now && is_stand_in(j, now)) {
		conclude_stand_in(a, j->step, now);
		return APPLY_IN_FORCE;
	}
	if (rc == 0 || (now && j->be->same(o.object, now, j->step->original))) {
		conclude(a, j->step, "restored");
		return APPLY_IN_FORCE;
	}
	if (err_classify(-rc) == ERR_ABSENT) {
		conclude(a, j->step, "gone");
		return APPLY_IN_FORCE;
	}
	/* Nobody has refused it: as long as the record is there it is tried again. */
	if (rc != -ETIMEDOUT)
		conclude(a, j->step, err_name(-rc));
	return apply_failure(a, &o, j->step->original, rc, "not put back");
}

static enum apply_outcome undo_judged(struct apply_run *a, struct judged *j)
{
	const struct apply_object o = object_of(j->step);
	char result[160];

	switch (j->verdict) {
	case OURS:
		return put_back(a, j);
	case FOREIGN:
		(void)snprintf(result, sizeof(result), "changed by somebody else (%.100s), left", j->now);
		apply_log_foreign(a, &o, j->now, "left");
		conclude(a, j->step, result);
		return APPLY_ABSENT;
	case UNREADABLE:
		return apply_failure(a, &o, j->step->original, -EIO, "not put back");
	case GONE: /* what ends with the domain is the usual case and needs no record each */
		if (!j->be || !j->be->ends_with_domain)
			conclude(a, j->step, "gone");
		break;
	case BACK:
		conclude(a, j->step, "restored");
		break;
	}
	return APPLY_IN_FORCE;
}

static enum apply_outcome undo_one(struct apply_run *a, struct undo_step *s)
{
	_cleanup_(judged_fini) struct judged j = judge(a, s);

	return undo_judged(a, &j);
}

/*
 * An object and those that have their value from it, which go first (apply_heirs.c). Until it is back itself there may
 * be more of them, so they are looked for once more; what comes after that has it from objects that are all back.
 */
static enum apply_outcome undo_with_heirs(struct apply_run *a, struct undo_step *s)
{
	enum apply_outcome before = apply_undo_heirs(a, s), own = undo_one(a, s), after = apply_undo_heirs(a, s);
	enum apply_outcome worst = before > after ? before : after;

	return own > worst ? own : worst;
}

/* Once the cause is back: what it made of a dependant does not matter. */
static enum apply_outcome undo_reset(struct apply_run *a, struct undo_step *s)
{
	_cleanup_(judged_fini) struct judged j = judge(a, s);

	if (j.verdict == FOREIGN)
		j.verdict = OURS;
	return undo_judged(a, &j);
}

/* The last look: whatever is not the original gets it once more. */
static void look_again(struct apply_run *a, const struct undo_step *s)
{
	_cleanup_free_ char *now = NULL, *again = NULL;
	int rc = 0;
	const struct backend *be = apply_backend(a, s->backend, s->object, &rc);

	if (be && apply_read(a, be, s->object, &now) == 0 && !be->same(s->object, now, s->original))
		(void)apply_write(a, be, s->object, s->original, &again); /* the first try was reported */
}

/*
 * steps[cause] and the steps that name it as their cause. outcome[] is by index of the step. reset[i]: its value was
 * ours before the cause was put back.
 */
static void undo_group(struct apply_run *a, unsigned int cause, enum apply_outcome *outcome)
{
	struct undo *u = a->undo;
	struct undo_step *c = &u->steps[cause];
	_cleanup_(judged_fini) struct judged first = judge(a, c);
	_cleanup_free_ bool *reset = calloc(u->n_steps, sizeof(*reset));

	for (unsigned int i = 0; i < u->n_steps && first.verdict == OURS && reset; i++) {
		struct undo_step *s = &u->steps[i];
		_cleanup_(judged_fini) struct judged j = {0};

		if (s->cause != c->number || !is_open(s))
			continue;
		j = judge(a, s);
		reset[i] = j.verdict == OURS || j.verdict == BACK;
		if (reset[i] && !s->undoing)
			(void)undo_undoing(u, s->number); /* without it a kill now leaves this one as it is then */
	}
	outcome[cause] = undo_judged(a, &first);
	for (unsigned int i = 0; i < u->n_steps; i++) {
		struct undo_step *s = &u->steps[i];

		if (s->cause == c->number && is_open(s))
			outcome[i] = reset && reset[i] ? undo_reset(a, s) : undo_one(a, s);
	}
	if (!reset || first.verdict != OURS || outcome[cause] != APPLY_IN_FORCE)
		return;
	look_again(a, c);
	for (unsigned int i = 0; i < u->n_steps; i++)
		if (reset[i])
			look_again(a, &u->steps[i]);
}

static bool has_dependants(const struct undo *u, const struct undo_step *c)
{
	for (unsigned int i = 0; i < u->n_steps; i++)
		if (u->steps[i].cause == c->number && is_open(&u->steps[i]))
			return true;
	return false;
}

static bool is_named(const struct undo_step *s, const struct steps *keep, unsigned int n_keep)
{
	for (unsigned int i = 0; i < n_keep; i++)
		for (unsigned int j = 0; j < keep[i].n; j++)
			if (keep[i].s[j].fold == FOLD_NONE && streq(keep[i].s[j].object, s->object) &&
			    streq(keep[i].s[j].backend, s->backend))
				return true;
	return false;
}

static struct undo_step *open_cause(struct undo *u, const struct undo_step *s)
{
	struct undo_step *c = s->cause ? undo_find(u, s->cause) : NULL;

	return c && is_open(c) ? c : NULL;
}

/* What steps of keep[] are about is kept; a dependant shares its cause's lot. */
static bool is_kept(struct undo *u, const struct undo_step *s, const struct steps *keep, unsigned int n_keep)
{
	const struct undo_step *c = open_cause(u, s);

	return is_named(c ? c : s, keep, n_keep);
}

/* A step that was to be undone, and how that went. */
struct ended {
	const struct undo_step *step;
	enum apply_outcome outcome;
};

static int compare_settings(const void *a, const void *b)
{
	const struct undo_step *x = ((const struct ended *)a)->step, *y = ((const struct ended *)b)->step;
	int order = strcmp(x->knob, y->knob);

	return order ? order : strcmp(x->target, y->target);
}

/* Settings, not steps, are counted: by the worst of their steps. Those of one need not follow each other (repair). */
static void count_ended(const struct apply_run *a, struct ended *e, unsigned int n, struct apply_count *count)
{
	const struct {
		unsigned int *counter;
		const char *word;
	} rows[] = {
		[APPLY_IN_FORCE] = {&count->in_force, "put back"},
		[APPLY_ABSENT] = {&count->skipped, "left"},
		[APPLY_FAILED] = {&count->failed, "not put back"},
		[APPLY_LATE] = {&count->late, "too late"},
	};

	qsort(e, n, sizeof(*e), compare_settings);
	for (unsigned int i = 0, end; i < n; i = end) {
		const struct undo_step *s = e[i].step;
		enum apply_outcome worst = APPLY_IN_FORCE;

		for (end = i; end < n && compare_settings(&e[end], &e[i]) == 0; end++)
			if (e[end].outcome > worst)
				worst = e[end].outcome;
		(*rows[worst].counter)++;
		log_debug("%s: %s%s%s: %s (%u object%s, one is %s %s)", a->name, s->knob, *s->target ? " " : "",
			  s->target, rows[worst].word, end - i, end - i == 1 ? "" : "s", s->backend, s->object);
	}
}

/* Newest first, but for what is_kept(). */
static int undo_own(struct apply_run *a, const struct steps *keep, unsigned int n_keep, struct apply_count *count)
{
	struct undo *u = a->undo;
	_cleanup_free_ enum apply_outcome *outcome = calloc(u->n_steps + 1, sizeof(*outcome));
	_cleanup_free_ struct ended *ended = calloc(u->n_steps + 1, sizeof(*ended));
	unsigned int n = 0;

	if (!outcome || !ended)
		return -ENOMEM;
	for (unsigned int i = 0; i < u->n_steps; i++)
		if (is_open(&u->steps[i]) && !is_kept(u, &u->steps[i], keep, n_keep))
			ended[n++].step = &u->steps[i];
	undo_batch(u);
	for (unsigned int i = u->n_steps; i-- > 0;) {
		struct undo_step *s = &u->steps[i];

		if (!is_open(s) || open_cause(u, s) || is_kept(u, s, keep, n_keep))
			continue;
		/* A newer start has unlinked the file: what is there now is its. */
		if (!undo_still_current(u))
			return -ESTALE;
		if (has_dependants(u, s))
			undo_group(a, i, outcome);
		else
			outcome[i] = undo_with_heirs(a, s);
	}
	(void)undo_flush(u); /* what is lost is found as it is now, and done again */
	for (unsigned int i = 0; i < n; i++)
		ended[i].outcome = outcome[ended[i].step - u->steps];
	count_ended(a, ended, n, count);
	return 0;
}

/* Below here: the ledger's part, under the lock. ------------------------------------------------------------------ */

static bool is_in_ledger(struct ledger *l, const char *uuid)
{
	if (ledger_find(l, uuid))
		return true;
	for (unsigned int i = 0; i < l->n_shared; i++) {
		if (l->shared[i].n_claims == 0)
			return true;
		for (unsigned int j = 0; j < l->shared[i].n_claims; j++)
			if (streq(l->shared[i].claims[j].uuid, uuid))
				return true;
	}
	return false;
}

/* The state a call is about: what it found when it began. */
struct subject {
	const char *uuid;
	bool has_undo;
	uint64_t generation;    /* of the undo file, or of the claim where there is none; UINT64_MAX: none of both */
	const uint64_t *expect; /* sweep: only this generation */
};

static bool has_grown_pools(const struct ledger *l)
{
	for (unsigned int i = 0; i < l->n_pools; i++)
		if (l->pools[i].grown || l->pools[i].adopted || l->pools[i].pending || l->pools[i].leaving)
			return true;
	return false;
}

/* The claim goes, and what follows from that; written. All claims must be in l if there is anything to follow. */
static int drop_claim(struct apply_run *a, struct ledger *l, const char *uuid, bool all, struct apply_count *count,
		      struct err *e)
{
	int64_t freed = 0;
	int rc;

	ledger_remove(l, uuid);
	if (all && place_share_update(l) < 0)
		return err_set(e, ENOMEM, "%s", err_name(ENOMEM));
	count->moves = l->moves;
	rc = ledger_write(a->fs, l, e);
	if (rc < 0 || !all || !has_grown_pools(l))
		return rc;
	freed = hugepool_shrink(a->fs, l);
	if (freed < 0)
		log_warning("%s: huge pages that were added for it cannot be given back now: %s", a->name,
			    err_name((int)-freed));
	count->shrinks = freed > 0;
	return ledger_write(a->fs, l, e);
}

/* Everything that the ledger has of the domain. Where others are concerned all of it is read, else the one claim. */
static int leave_ledger(struct apply_run *a, struct ledger *l, const struct subject *s, struct apply_count *count,
			struct err *e)
{
	const struct claim *c = ledger_find(l, s->uuid);
	bool all = (c && c->kind != CLAIM_OBSERVE && !idset_is_empty(c->cpus)) || has_grown_pools(l);
	int rc = 0;

	if (all) {
		ledger_fini(l);
		rc = ledger_read(a->fs, l, e);
	}
	if (rc == 0)
		rc = apply_release_shared(a, l, s->uuid, NULL, 0, count, e);
	return rc < 0 ? rc : drop_claim(a, l, s->uuid, all, count, e);
}

static int finish(struct apply_run *a, const struct subject *s, struct apply_count *count, struct err *e)
{
	_cleanup_(ledger_fini) struct ledger l = {0};
	_cleanup_close_ int lock = ledger_lock(a->fs, e);
	const struct claim *c;
	bool known;
	int rc;

	if (lock < 0)
		return lock == -ENOENT && !s->has_undo ? 0 : lock;
	rc = ledger_read_one(a->fs, s->uuid, &l, e);
	if (rc < 0)
		return rc;
	c = ledger_find(&l, s->uuid);
	/* decide makes claim and undo/UUID under this lock: here both are of one start, or of a crashed one. */
	if (c && (s->expect ? c->generation != *s->expect : s->has_undo && c->generation > s->generation))
		return 0;
	if (s->has_undo && !undo_still_current(a->undo))
		return 0;
	known = is_in_ledger(&l, s->uuid);
	if (c && !*count->name) {
		(void)snprintf(count->name, sizeof(count->name), "%s", c->name);
		a->name = count->name;
	}
	/* decide may have been killed when it had taken its claim back, but not all pages that were added for it. */
	rc = known || has_grown_pools(&l) ? leave_ledger(a, &l, s, count, e) : 0;
	if (rc < 0)
		return rc;
	rc = undo_remove(a->fs, s->uuid);
	return rc < 0 ? err_set(e, -rc, "/%s/%s: %s", PATH_UNDO, s->uuid, err_name(-rc)) : known || s->has_undo;
}

/* A huge pool is shrunk in pieces, each under a hold of the lock of its own. */
static void shrink_on(const struct hostfs *fs)
{
	int64_t freed;

	do {
		_cleanup_(ledger_fini) struct ledger l = {0};
		_cleanup_close_ int lock = ledger_lock(fs, NULL);

		if (lock < 0 || ledger_read(fs, &l, NULL) < 0)
			return; /* the next one that ends goes on */
		freed = hugepool_shrink(fs, &l);
		if (ledger_write(fs, &l, NULL) < 0)
			return;
	} while (freed > 0);
}

/*
 * To write, and thus alone. A worker of an earlier phase, or a move, that is about: it is told to stop, by the one
 * record that is appended without the lock, and waited for. expect: one of another start is left alone.
 */
static int open_for_undo(const struct hostfs *fs, const char *uuid, const uint64_t *expect, struct undo *ret,
			 struct err *e)
{
	_cleanup_(undo_fini) struct undo now = {.fd = -1};
	int rc = undo_open_within(fs, uuid, 0, ret, e);

	if (rc != -ETIMEDOUT)
		return rc;
	if (!expect || (undo_open(fs, uuid, false, &now, NULL) == 0 && now.generation == *expect))
		(void)undo_tell_stopped(fs, uuid); /* else it goes on to its end */
	return undo_open(fs, uuid, true, ret, e);
}

static int undo_domain(const struct hostfs *fs, const char *uuid, const uint64_t *expect, struct apply_count *ret,
		       struct err *e)
{
	_cleanup_(undo_fini) struct undo u = {.fd = -1};
	struct subject s = {.uuid = uuid, .expect = expect};
	struct apply_run a = {.fs = fs, .name = uuid, .undoing = true};
	/* The file may be good all the same; any other error is the file's own. */
	static const int passing[] = {ENOMEM, EMFILE, ENFILE, EACCES, EIO, ETIMEDOUT};
	struct err why = {0};
	int rc = open_for_undo(fs, uuid, expect, &u, &why);

	if (rc == -EINVAL && !uuid_is_valid(uuid))
		return err_set(e, EINVAL, "'%s' is no UUID", uuid);
	for (size_t i = 0; i < ARRAY_SIZE(passing); i++)
		if (rc == -passing[i])
			return err_set(e, passing[i], "%s", why.text);
	if (rc < 0 && rc != -ENOENT && rc != -ESTALE)
		log_warning("%s: what was changed for it cannot be read, so it stays: %s", uuid, why.text);
	s.has_undo = rc == 0;
	if (s.has_undo) {
		s.generation = u.generation;
		if (expect && u.generation != *expect)
			return 0;
		a.undo = &u;
		a.name = u.plan.name;
		(void)snprintf(ret->name, sizeof(ret->name), "%s", a.name);
		/* Void from here on; on a full /run it also makes room for the ledger. */
		(void)hostfs_unlink(fs, "%s/%s", PATH_PLAN, uuid);
		/* Whoever opens it next knows that it ends. */
		if (u.phase != CLAIM_STOPPED)
			(void)undo_set_phase(&u, CLAIM_STOPPED);
		rc = undo_own(&a, NULL, 0, ret);
		if (rc < 0)
			return rc == -ESTALE ? 0 : err_set(e, -rc, "%s", err_name(-rc));
	}
	rc = finish(&a, &s, ret, e);
	if (ret->shrinks)
		shrink_on(fs);
	if (!*ret->failure)
		(void)snprintf(ret->failure, sizeof(ret->failure), "%s", a.failure);
	return rc;
}

/* What is not the plan's any more: its class is gone by now. */
static void drop_links(struct claim *c, const struct plan *p)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < c->n_links; i++) {
		bool wanted = false;

		for (unsigned int k = 0; k < p->n_links && !wanted; k++)
			wanted = p->links[k].number == c->links[i].number && streq(p->links[k].uplink, c->links[i].device);
		if (wanted)
			c->links[n++] = c->links[i];
	}
	c->n_links = n;
}

/* Likewise ways of a class. */
static int drop_ways(struct claim *c, const struct plan *p)
{
	c->has_class = false;
	c->n_ways = 0;
	return plan_fill_class(p, c);
}

int apply_undo_others(const struct hostfs *fs, struct undo *u, const struct steps *keep, unsigned int n_keep,
		      struct apply_count *count, struct err *e)
{
	struct apply_run a = {.fs = fs, .name = u->plan.name, .undo = u, .undoing = true};
	_cleanup_(ledger_fini) struct ledger l = {0};
	_cleanup_close_ int lock = -1;
	struct claim *c;
	int rc = undo_own(&a, keep, n_keep, count);

	if (rc < 0)
		return err_set(e, -rc, "%s", err_name(-rc));
	lock = ledger_lock(fs, e);
	rc = lock < 0 ? lock : ledger_read_one(fs, u->plan.uuid, &l, e);
	if (rc < 0)
		return rc;
	c = ledger_find(&l, u->plan.uuid);
	if (!c || c->generation != u->generation)
		return err_set(e, ESTALE, "its claim is gone");
	rc = apply_release_shared(&a, &l, u->plan.uuid, keep, n_keep, count, e);
	if (rc == 0) {
		drop_links(c, &u->plan);
		rc = drop_ways(c, &u->plan);
	}
	if (rc == 0)
		rc = ledger_write(fs, &l, e);
	if (!*count->failure)
		(void)snprintf(count->failure, sizeof(count->failure), "%s", a.failure);
	return rc;
}

static int keep_object(struct steps *keep, const char *backend, const char *object, enum fold fold)
{
	struct step *s = GROW(keep->s, keep->n);

	if (!s)
		return -ENOMEM;
	/* Borrowed: they are only compared. */
	*s = (struct step){.backend = backend, .object = (char *)(uintptr_t)object, .fold = fold};
	keep->n++;
	return 0;
}

static bool is_about(const struct setting *s, const char *knob, const char *target)
{
	return streq(s->knob, knob) && streq(s->target, target);
}

/* All but this setting's stays: own objects. */
static int take_back_own(struct apply_run *a, const struct setting *s)
{
	struct apply_count count = {0};
	struct steps keep = {0};
	int rc = 0;

	for (unsigned int i = 0; i < a->undo->n_steps && rc == 0; i++) {
		const struct undo_step *r = &a->undo->steps[i];

		if (is_open(r) && !is_about(s, r->knob, r->target))
			rc = keep_object(&keep, r->backend, r->object, FOLD_NONE);
	}
	if (rc == 0)
		rc = undo_own(a, &keep, 1, &count);
	free(keep.s);
	return rc;
}

/* The same with shared ones. */
static int take_back_shared(struct apply_run *a, const struct setting *s, struct err *e)
{
	_cleanup_(ledger_fini) struct ledger l = {0};
	_cleanup_close_ int lock = ledger_lock(a->fs, e);
	struct apply_count count = {0};
	struct steps keep = {0};
	int rc = lock < 0 ? lock : ledger_read_one(a->fs, a->undo->plan.uuid, &l, e);

	for (unsigned int i = 0; i < l.n_shared && rc == 0; i++)
		if (!is_about(s, l.shared[i].knob, l.shared[i].target))
			rc = keep_object(&keep, l.shared[i].backend, l.shared[i].object, FOLD_FIRST);
	if (rc == 0)
		rc = apply_release_shared(a, &l, a->undo->plan.uuid, &keep, 1, &count, e);
	if (rc == 0)
		rc = ledger_write(a->fs, &l, e);
	free(keep.s);
	return rc;
}

int apply_take_back(struct apply_run *a, const struct setting *s, struct err *e)
{
	bool undoing = a->undoing;
	int rc;

	a->undoing = true;
	rc = take_back_own(a, s);
	if (rc < 0)
		(void)err_set(e, -rc, "%s", err_name(-rc));
	else
		rc = take_back_shared(a, s, e);
	a->undoing = undoing;
	return rc;
}

int undo_all(const struct hostfs *fs, const char *uuid, struct apply_count *ret, struct err *e)
{
	return undo_domain(fs, uuid, NULL, ret, e);
}

int undo_start(const struct hostfs *fs, const char *uuid, uint64_t generation, struct apply_count *ret, struct err *e)
{
	return undo_domain(fs, uuid, &generation, ret, e);
}

bool apply_undone_any(const struct apply_count *c)
{
	return c->in_force || c->skipped || c->failed;
}

int apply_format_undone(const struct apply_count *c, char *buf, size_t size)
{
	char left[64] = "", failed[32] = "";

	if (c->skipped)
		(void)snprintf(left, sizeof(left), ", %u left as somebody else has set %s", c->skipped,
			       c->skipped == 1 ? "it" : "them");
	if (c->failed)
		(void)snprintf(failed, sizeof(failed), ", %u failed", c->failed);
	return snprintf(buf, size, "%u setting%s put back%s%s", c->in_force, c->in_force == 1 ? "" : "s", left, failed);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Forward, the domain's own objects. One that this start has changed already keeps its record, and its original: it is
 * written again where it does not say what it should (repair), or gets another value under the same number (a move of the
 * shared pool, retune).
 *
 * Guarantee: an object is written only after its intent record was, and only while the start is the current one. A
 * failed write leaves a "left" record, or, of another value, the intent as it is; a kill at any point leaves a record
 * that reading the object settles.
 */
#include "apply_priv.h"
#include "irq.h"
#include "log.h"

static struct apply_object object_of(const struct step *s)
{
	return (struct apply_object){s->setting->knob, step_target(s), s->backend, s->object};
}

/* What this start recorded about an object before this run; NULL: nothing that is in force or unsettled. */
static struct undo_step *recorded(struct undo *u, unsigned int n_before, const struct step *s)
{
	for (unsigned int i = n_before; i-- > 0;) {
		struct undo_step *r = &u->steps[i];

		if (!r->shared && (r->state == UNDO_INTENT || r->state == UNDO_DONE) && streq(r->object, s->object) &&
		    streq(r->backend, s->backend))
			return r;
	}
	return NULL;
}

/* A write that was made but cannot be recorded is kept only if undo would recognise it by the intent alone. */
static void record_done(struct apply_run *a, const struct backend *be, unsigned int number, const char *now)
{
	_cleanup_free_ char *again = NULL;
	int rc = undo_done(a->undo, number, now);
	struct undo_step *r = undo_find(a->undo, number);

	if (rc == 0 || !r)
		return;
	log_warning("%s: %s: what %s %s says now cannot be recorded: %s", a->name, r->knob, r->backend, r->object,
		    err_name(-rc));
	if (!be->same(r->object, now, r->wanted))
		(void)apply_write(a, be, r->object, r->original, &again); /* as far as it goes */
}

static enum apply_outcome not_recorded(struct apply_run *a, const struct apply_object *o, int rc)
{
	struct err e = {0};

	(void)err_set(&e, -rc, "%s: %s: cannot be recorded: %s, left as it was", a->name, o->knob, err_name(-rc));
	if (!*a->failure) {
		(void)snprintf(a->failure, sizeof(a->failure), "%s", e.text);
		log_msg(a->quiet ? LOG_LVL_DEBUG : LOG_LVL_WARNING, "%s", e.text);
	}
	return APPLY_FAILED;
}

/* It was not written. A step that was to get another value stays unsettled: what it said before is still ours. */
static void record_left(struct apply_run *a, const struct undo_step *r, int rc)
{
	if (!r->before)
		(void)undo_left(a->undo, r->number, -rc, err_name(-rc)); /* without it the object settles the record */
}

static bool is_as_before(const struct backend *be, const struct undo_step *r, const char *value)
{
	return be->same(r->object, value, r->before ? r->before : r->original);
}

/* The write itself, its intent having been made under `number`. */
static enum apply_outcome write_recorded(struct apply_run *a, const struct step *s, const struct backend *be,
					 unsigned int number)
{
	const struct apply_object o = object_of(s);
	_cleanup_free_ char *now = NULL;
	int rc = undo_commit(a->undo);
	const struct undo_step *r = undo_find(a->undo, number);
	char took[128];

	if (rc < 0)
		return not_recorded(a, &o, rc);
	if (!r)
		return APPLY_FAILED; /* forgotten when the intents before it could not be recorded, which was told */
	if (!undo_still_current(a->undo))
		return APPLY_LATE;
	rc = apply_write(a, be, s->object, s->value, &now);
	if (rc == 0 && now && is_as_before(be, r, now) && !is_as_before(be, r, s->value))
		rc = -EINVAL; /* accepted and ignored */
	if (rc < 0 && (!now || is_as_before(be, r, now))) {
		record_left(a, r, rc);
		return apply_failure(a, &o, s->value, rc, "left as it was");
	}
	/* Failed, and yet not what it was: what it says now is what has to be undone. */
	record_done(a, be, number, now ? now : s->value);
	if (rc == 0)
		return APPLY_IN_FORCE;
	(void)snprintf(took, sizeof(took), "it says '%.96s' now", now ? now : s->value); /* cut at 96 */
	return apply_failure(a, &o, s->value, rc, took);
}

/*
 * Record an intent, then write. original: what it was before us. ret_number: the caller writes later, by
 * write_recorded() with that number; may be NULL.
 */
static enum apply_outcome set_object(struct apply_run *a, const struct step *s, const struct backend *be,
				     unsigned int cause, const char *original, unsigned int *ret_number)
{
	const struct apply_object o = object_of(s);
	int n = cause ? undo_intent_of(a->undo, cause, o.knob, o.target, s->backend, s->object, original, s->value)
		      : undo_intent(a->undo, o.knob, o.target, s->backend, s->object, original, s->value, false);

	if (n < 0)
		return not_recorded(a, &o, n);
	if (ret_number) {
		*ret_number = (unsigned int)n;
		return APPLY_IN_FORCE;
	}
	return write_recorded(a, s, be, (unsigned int)n);
}

/* Whether an object's value is one that this start gave it, or its original. */
static bool is_known_value(const struct backend *be, const struct undo_step *r, const char *now)
{
	return (r->state == UNDO_DONE && be->same(r->object, now, r->readback)) ||
	       (r->before && be->same(r->object, now, r->before)) || be->same(r->object, now, r->original) ||
	       be->same(r->object, now, r->wanted) || apply_remains(be, r, now);
}

/* Give a dependant the value on record. Where its cause leaves nothing of it (-EINVAL) what is there now is right. */
static enum apply_outcome keep_value(struct apply_run *a, const struct apply_object *o, const struct backend *be,
				     unsigned int number)
{
	const struct undo_step *r = undo_find(a->undo, number);
	_cleanup_free_ char *now = NULL, *wanted = r ? strdup(r->wanted) : NULL;
	int rc;

	if (!wanted)
		return APPLY_FAILED;
	if (!undo_still_current(a->undo))
		return APPLY_LATE;
	rc = apply_write(a, be, o->object, wanted, &now);
	if (now)
		record_done(a, be, number, now);
	if (rc == 0 || rc == -EINVAL)
		return APPLY_IN_FORCE;
	return apply_failure(a, o, wanted, rc, "its cause has changed it");
}

/* An object that this start has changed before: repair, or another value for it. ret_number: as in set_object(). */
static enum apply_outcome set_again(struct apply_run *a, const struct step *s, const struct backend *be,
				    struct undo_step *r, const char *now, unsigned int *ret_number)
{
	const struct apply_object o = object_of(s);
	bool is_same = be->same(s->object, s->value, r->wanted);
	bool was_reset = r->cause && r->state == UNDO_INTENT; /* killed between the cause's write and its own */
	int rc;

	if (r->state == UNDO_INTENT && be->same(s->object, now, r->wanted))
		record_done(a, be, r->number, now);
	if (is_same && (be->same(s->object, now, r->wanted) ||
			(r->state == UNDO_DONE && be->same(s->object, now, r->readback) &&
			 !(be->remains && be->remains(s->object, now, r->wanted)))))
		return APPLY_IN_FORCE;
	if (!was_reset && !is_known_value(be, r, now)) {
		apply_log_foreign(a, &o, now, "left as it is");
		return APPLY_FAILED;
	}
	rc = is_same ? 0 : undo_rewant(a->undo, r->number, s->value);
	if (rc < 0)
		return not_recorded(a, &o, rc);
	if (be->same(s->object, now, s->value)) {
		record_done(a, be, r->number, now);
		return APPLY_IN_FORCE;
	}
	if (ret_number) {
		*ret_number = r->number;
		return APPLY_IN_FORCE;
	}
	return s->restore_only ? keep_value(a, &o, be, r->number) : write_recorded(a, s, be, r->number);
}

/* Whether the setting's value is a floater's: it will have another one some day. */
static bool follows_pool(const struct apply_run *a, const struct step *s)
{
	return s->setting->floater >= 0 && (unsigned int)s->setting->floater < a->undo->plan.placement.n_floaters;
}

/*
 * Nothing to be written. It is ours all the same if it is to follow the shared pool: moves know only what is on record;
 * or if the process was started with it by us.
 */
static enum apply_outcome record_as_is(struct apply_run *a, const struct step *s, const struct backend *be,
				       const char *now)
{
	const struct apply_object o = object_of(s);
	int n;

	if (!follows_pool(a, s) && !s->before)
		return APPLY_IN_FORCE;
	n = undo_intent(a->undo, o.knob, o.target, s->backend, s->object, s->before ? s->before : now, s->value,
			false);
	if (n < 0)
		return not_recorded(a, &o, n);
	record_done(a, be, (unsigned int)n, now);
	return APPLY_IN_FORCE;
}

/*
 * What came after its kind was recorded goes on record as if it had come before: with the original of what it has its
 * value from, and as ours with the value that it has now. The step's number; 0: it has nothing from there; or -errno.
 */
static int record_heir(struct apply_run *a, const struct step *s, const struct backend *be, unsigned int n_before,
		       const char *now)
{
	const struct undo_step *source = apply_source(a->undo, n_before, be, s->object);
	int n;

	if (!source || be->same(s->object, now, source->original))
		return 0;
	n = undo_intent(a->undo, s->setting->knob, s->setting->target, s->backend, s->object, source->original, now,
			false);
	if (n > 0)
		record_done(a, be, (unsigned int)n, now);
	return n;
}

/* What was refused is tried once more: only the last answer counts. */
static void forget_refused(struct undo *u, unsigned int n_before, const struct step *s)
{
	for (unsigned int i = 0; i < n_before; i++)
		if (u->steps[i].state == UNDO_LEFT && streq(u->steps[i].object, s->object) &&
		    streq(u->steps[i].backend, s->backend))
			(void)undo_undone(u, u->steps[i].number, "tried again"); /* for show only */
}

static bool was_refused(const struct undo *u, unsigned int n_before, const struct step *s)
{
	for (unsigned int i = 0; i < n_before; i++)
		if (u->steps[i].state == UNDO_LEFT && streq(u->steps[i].object, s->object) &&
		    streq(u->steps[i].backend, s->backend))
			return true;
	return false;
}

/* ret_number: as in set_object(); stays as it is where nothing is left to be written. */
static enum apply_outcome apply_one(struct apply_run *a, const struct step *given, unsigned int n_before,
				    unsigned int *ret_number)
{
	struct undo_step *r = recorded(a->undo, n_before, given);
	_cleanup_free_ char *now = NULL, *kept = NULL;
	struct step copy = *given, *s = &copy;
	const struct apply_object o = object_of(s);
	int rc = 0, n;
	const struct backend *be = apply_backend(a, s->backend, s->object, &rc);

	/* What is only to keep its value has none to be set to unless it was on record. */
	if (s->restore_only && !r)
		return APPLY_IN_FORCE;
	if (a->late && !r && was_refused(a->undo, n_before, s))
		return APPLY_FAILED;
	if (s->restore_only)
		s->value = kept = strdup(r->wanted);
	if (!s->value)
		return APPLY_FAILED;
	if (be)
		rc = apply_read(a, be, s->object, &now);
	if (rc < 0 || !be)
		return apply_failure(a, &o, s->value, rc, "left as it was");
	if (a->undo->plan.observe)
		return APPLY_IN_FORCE;
	if (r)
		return set_again(a, s, be, r, now, ret_number);
	forget_refused(a->undo, n_before, s);
	n = record_heir(a, s, be, n_before, now);
	if (n < 0)
		return not_recorded(a, &o, n);
	r = n ? undo_find(a->undo, (unsigned int)n) : NULL;
	if (r)
		return set_again(a, s, be, r, now, ret_number);
	if (be->same(s->object, now, s->value))
		return record_as_is(a, s, be, now);
	return set_object(a, s, be, 0, now, ret_number);
}

struct late {
	struct apply_run *a;
	const struct step *s;
	enum apply_outcome worst;
};

static void apply_to_heir(void *data, const char *object)
{
	struct late *l = data;
	struct step heir = *l->s;
	enum apply_outcome outcome;

	heir.object = (char *)(uintptr_t)object; /* only read */
	if (recorded(l->a->undo, l->a->undo->n_steps, &heir))
		return;
	outcome = apply_one(l->a, &heir, l->a->undo->n_steps, NULL);
	if (outcome != APPLY_ABSENT && outcome > l->worst)
		l->worst = outcome;
}

/*
 * What has come since the steps were made: it has its value from objects that had not got theirs. Those have it now, so
 * that what comes after this has it from them, and undo knows it (apply_heirs.c).
 */
static enum apply_outcome apply_to_heirs(struct apply_run *a, const struct step *s)
{
	struct late l = {.a = a, .s = s, .worst = APPLY_IN_FORCE};
	int rc = 0;
	const struct backend *be = apply_backend(a, s->backend, s->object, &rc);

	if (be && be->heirs)
		(void)be->heirs(a->fs, s->object, apply_to_heir, &l); /* not listed, they are the next run's */
	return l.worst;
}

void apply_singles(struct apply_run *a, const struct step *s, unsigned int n, unsigned int n_before,
		   enum apply_outcome *outcome)
{
	_cleanup_free_ unsigned int *numbers = calloc(n, sizeof(*numbers));

	for (unsigned int i = 0; i < n; i++)
		outcome[i] = numbers ? apply_one(a, &s[i], n_before, &numbers[i]) : APPLY_FAILED;
	for (unsigned int i = 0; i < n && numbers; i++) {
		const struct apply_object o = object_of(&s[i]);
		const struct undo_step *r;
		const struct backend *be;
		int rc = 0;

		if (!numbers[i])
			continue;
		be = apply_backend(a, s[i].backend, s[i].object, &rc); /* it may have broken since */
		if (be) {
			outcome[i] = write_recorded(a, &s[i], be, numbers[i]);
			continue;
		}
		r = undo_find(a->undo, numbers[i]);
		if (r)
			record_left(a, r, rc);
		outcome[i] = apply_failure(a, &o, s[i].value, rc, "left as it was");
	}
	for (unsigned int i = 0; i < n && numbers; i++)
		if (numbers[i] && outcome[i] == APPLY_IN_FORCE)
			outcome[i] = apply_to_heirs(a, &s[i]);
}

/* One dependant after its cause was written. */
static enum apply_outcome settle_dependant(struct apply_run *a, const struct step *s, unsigned int number)
{
	_cleanup_free_ char *now = NULL;
	int rc = 0;
	const struct backend *be = apply_backend(a, s->backend, s->object, &rc);
	struct undo_step *r = undo_find(a->undo, number);
	const struct apply_object o = object_of(s);

	if (!r)
		return APPLY_FAILED; /* as in write_recorded() */
	if (!be)
		return APPLY_ABSENT;
	rc = apply_read(a, be, s->object, &now);
	if (rc < 0) {
		/* A thread that has ended is no failure of its setting; that a device is gone undo finds out, too. */
		if (rc == -ENOENT && be->ends_with_domain)
			(void)undo_undone(a->undo, number, "gone"); /* unrecorded it is found out again */
		else
			record_left(a, r, rc);
		return apply_failure(a, &o, s->value, rc, "left as it was");
	}
	/* What somebody else had given it is on record in the place of the step's own value, see record_again(). */
	if (!be->same(s->object, now, r->wanted))
		return s->restore_only || !be->same(s->object, s->value, r->wanted) ? keep_value(a, &o, be, number)
										     : write_recorded(a, s, be, number);
	record_done(a, be, number, now);
	return APPLY_IN_FORCE;
}

/*
 * A dependant on record whose cause is written once more: its intent is made again, so that whatever becomes of it is
 * ours. One that somebody else has changed since is from here on a thing to be kept as it is.
 */
static enum apply_outcome record_again(struct apply_run *a, const struct step *s, const struct backend *be,
				       struct undo_step *r, unsigned int cause, const char *now,
				       unsigned int *ret_number)
{
	const struct apply_object o = object_of(s);
	struct step kept = *s;
	char result[160];
	int rc;

	if ((r->cause && r->state == UNDO_INTENT) || is_known_value(be, r, now)) {
		rc = undo_rewant(a->undo, r->number, s->restore_only ? r->wanted : s->value);
		if (rc < 0)
			return not_recorded(a, &o, rc);
		*ret_number = r->number;
		return APPLY_IN_FORCE;
	}
	(void)snprintf(result, sizeof(result), "changed by somebody else (%.100s), left", now);
	(void)undo_undone(a->undo, r->number, result); /* unrecorded it is found out again */
	kept.value = (char *)(uintptr_t)now; /* only read */
	return set_object(a, &kept, be, cause, now, ret_number);
}

/* Originals of a cause's dependants, on record before the cause is written. */
static void record_dependants(struct apply_run *a, const struct step *s, unsigned int n, unsigned int n_before,
			      unsigned int cause, unsigned int *numbers, enum apply_outcome *outcome)
{
	for (unsigned int i = 0; i < n; i++) {
		struct undo_step *r = recorded(a->undo, n_before, &s[i]);
		_cleanup_free_ char *now = NULL;
		struct step kept = s[i];
		int rc = 0;
		const struct backend *be = apply_backend(a, kept.backend, kept.object, &rc);
		const struct apply_object o = object_of(&kept);

		numbers[i] = 0;
		if (be)
			rc = apply_read(a, be, kept.object, &now);
		if (rc < 0 || !be) {
			outcome[i] = apply_failure(a, &o, kept.value ? kept.value : "", rc, "left as it was");
			continue;
		}
		if (kept.restore_only)
			kept.value = now;
		if (!r)
			forget_refused(a->undo, n_before, &kept);
		outcome[i] = r ? record_again(a, &s[i], be, r, cause, now, &numbers[i])
			       : set_object(a, &kept, be, cause, now, &numbers[i]);
	}
}

/* The cause says already what it should: it is put on record as it is, with its dependants, and not written. */
static enum apply_outcome settle_cause(struct apply_run *a, const struct step *s, const struct backend *be,
				       unsigned int number, const char *now)
{
	const struct apply_object o = object_of(s);
	int rc = undo_commit(a->undo);

	if (rc < 0)
		return not_recorded(a, &o, rc);
	record_done(a, be, number, now);
	return APPLY_IN_FORCE;
}

void apply_group(struct apply_run *a, const struct step *s, unsigned int n, unsigned int n_before,
		 enum apply_outcome *outcome)
{
	_cleanup_free_ unsigned int *numbers = calloc(n, sizeof(*numbers));
	struct undo_step *r = recorded(a->undo, n_before, s);
	_cleanup_free_ char *now = NULL;
	unsigned int cause = 0;
	int rc = 0;
	const struct backend *be = apply_backend(a, s->backend, s->object, &rc);
	bool is_set, one_by_one;

	if (be && apply_read(a, be, s->object, &now) < 0)
		be = NULL;
	is_set = be && be->same(s->object, now, s->value);
	/* Nothing resets the dependants of a cause that is not written. */
	one_by_one = a->undo->plan.observe || !be || !numbers || (r && !is_known_value(be, r, now)) ||
		     (is_set && (r || !follows_pool(a, s)));
	if (one_by_one) {
		for (unsigned int i = 0; i < n; i++)
			outcome[i] = apply_one(a, &s[i], n_before, NULL);
		return;
	}
	if (!r)
		forget_refused(a->undo, n_before, s);
	outcome[0] = r ? set_again(a, s, be, r, now, &cause) : set_object(a, s, be, 0, now, &cause);
	if (!cause) {
		/* In force, or it cannot be recorded. */
		for (unsigned int i = 1; i < n; i++)
			outcome[i] = outcome[0] == APPLY_IN_FORCE ? apply_one(a, &s[i], n_before, NULL) : outcome[0];
		return;
	}
	record_dependants(a, s + 1, n - 1, n_before, cause, numbers + 1, outcome + 1);
	outcome[0] = is_set ? settle_cause(a, s, be, cause, now) : write_recorded(a, s, be, cause);
	for (unsigned int i = 1; i < n; i++)
		if (numbers[i])
			outcome[i] = outcome[0] == APPLY_LATE ? APPLY_LATE : settle_dependant(a, &s[i], numbers[i]);
}

/* An unsettled record whose object has the wanted value was carried out; the rest is for apply_steps() to judge. */
static void settle(struct apply_run *a, struct undo_step *r)
{
	_cleanup_free_ char *now = NULL;
	int rc = 0;
	const struct backend *be = apply_backend(a, r->backend, r->object, &rc);

	if (be && apply_read(a, be, r->object, &now) == 0 && be->same(r->object, now, r->wanted))
		record_done(a, be, r->number, now);
}

int apply_repair(const struct hostfs *fs, struct undo *u, struct apply_count *ret)
{
	struct apply_run a = {.fs = fs, .name = u->plan.name, .undo = u};
	_cleanup_(run_fini) struct run run = {0};
	struct steps s[2] = {{0}, {0}}; /* of both stages */
	struct err e = {0};
	int rc, found;

	for (unsigned int i = 0; i < u->n_steps && !u->plan.observe; i++)
		if (u->steps[i].state == UNDO_INTENT && !u->steps[i].shared)
			settle(&a, &u->steps[i]);
	found = run_find(fs, u->plan.name, &run, &e);
	if (found < 0) {
		log_debug("%s: %s", a.name, e.text);
	} else {
		run_read_more(fs, &run, &u->plan, false);
	}
	rc = irq_refresh(fs, &u->plan);
	if (rc == 0)
		rc = steps_make(&u->plan, STAGE_PREPARE, NULL, &s[0]);
	if (rc == 0 && found == 0)
		rc = steps_make(&u->plan, STAGE_STARTED, &run, &s[1]);
	if (rc == 0 && found == 0 && !u->plan.observe && apply_undo_forgotten(fs, u, s, &e) < 0)
		log_warning("%s: not all that a retune has ended is undone: %s", a.name, e.text);
	apply_order_burst(u, &s[1]);
	for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
		if (rc == 0)
			rc = apply_steps(fs, u, &s[i], ret);
		steps_fini(&s[i]);
	}
	return rc < 0 ? rc : found;
}

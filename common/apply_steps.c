/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Forward: a run over steps in their order, so that undo in reverse meets the host as it was. Steps in a row go
 * together: those that stand alone (their originals are read and recorded in one write, then each is written), a cause
 * with its dependants (the originals of all are on record before the cause is written), and shared objects (one hold
 * of the lock). What needs another one waits for it; a setting is worth its worst step.
 */
#include "apply_priv.h"
#include "log.h"

static bool has_dependant(const struct steps *s, unsigned int at)
{
	return at + 1 < s->n && s->s[at + 1].is_dependant && s->s[at + 1].group == s->s[at].group &&
	       s->s[at + 1].fold == FOLD_NONE;
}

/* How many steps from here on are handled together. */
static unsigned int run_length(const struct steps *s, unsigned int at)
{
	bool is_shared = s->s[at].fold != FOLD_NONE, is_group = has_dependant(s, at);
	unsigned int n = 1;

	while (at + n < s->n && s->s[at + n].needs == s->s[at].needs &&
	       (s->s[at + n].fold != FOLD_NONE) == is_shared &&
	       (is_shared || (is_group ? has_dependant(s, at + n - 1) : !has_dependant(s, at + n))))
		n++;
	return n;
}

/* Nearly always the steps of a setting follow each other. */
static bool is_first(const struct steps *s, unsigned int at)
{
	const struct setting *setting = s->s[at].setting;

	if (at > 0 && s->s[at - 1].setting == setting)
		return false;
	for (unsigned int i = 0; i < at; i++)
		if (s->s[i].setting == setting)
			return false;
	return true;
}

/*
 * A setting is worth its worst step, and of those that it is a part of (step_lead()); objects that are not there count
 * only where there is no other.
 */
static enum apply_outcome outcome_of(const struct steps *s, const enum apply_outcome *outcome,
				     const struct setting *setting, unsigned int *ret_n)
{
	enum apply_outcome worst = APPLY_IN_FORCE;
	unsigned int n = 0, absent = 0;

	for (unsigned int i = 0; i < s->n; i++) {
		if (!step_is_about(s->s[i].setting, setting))
			continue;
		n++;
		absent += outcome[i] == APPLY_ABSENT;
		if (outcome[i] != APPLY_ABSENT && outcome[i] > worst)
			worst = outcome[i];
	}
	*ret_n = n;
	return absent == n ? APPLY_ABSENT : worst;
}

static const struct step *first_step(const struct steps *s, const struct setting *setting)
{
	for (unsigned int i = 0; i < s->n; i++)
		if (step_is_about(s->s[i].setting, setting))
			return &s->s[i];
	return NULL;
}

static void count_outcome(const struct apply_run *a, const struct steps *s, const enum apply_outcome *outcome,
			  const struct setting *setting, const struct step *first, struct apply_count *ret)
{
	const struct {
		unsigned int *counter;
		const char *word;
	} rows[] = {
		[APPLY_IN_FORCE] = {&ret->in_force, a->undo->plan.observe ? "would be in force" : "in force"},
		[APPLY_ABSENT] = {&ret->skipped, "not there"},
		[APPLY_FAILED] = {&ret->failed, "failed"},
		[APPLY_LATE] = {&ret->late, "too late"},
	};

	unsigned int n;
	enum apply_outcome worst = outcome_of(s, outcome, setting, &n);

	(*rows[worst].counter)++;
	if (a->late)
		return; /* again and again */
	log_debug("%s: %s%s%s %.64s: %s (%u object%s, the first is %s %s)", a->name, setting->knob,
		  *setting->target ? " " : "", setting->target, setting->value, rows[worst].word, n, n == 1 ? "" : "s",
		  first->backend, first->object);
}

static bool has_own_step(const struct steps *s, const struct setting *setting)
{
	for (unsigned int i = 0; i < s->n; i++)
		if (s->s[i].setting == setting)
			return true;
	return false;
}

static void count_outcomes(const struct apply_run *a, const struct steps *s, const enum apply_outcome *outcome,
			   struct apply_count *ret)
{
	const struct plan *p = &a->undo->plan;

	for (unsigned int i = 0; i < s->n; i++)
		if (is_first(s, i))
			count_outcome(a, s, outcome, s->s[i].setting, &s->s[i], ret);
	/* Those that are only a part of what another one's steps do. */
	for (size_t i = 0; i < p->n_settings; i++) {
		const struct setting *setting = &p->settings[i];
		const struct step *first =
			step_lead(setting->knob) && !has_own_step(s, setting) ? first_step(s, setting) : NULL;

		if (first)
			count_outcome(a, s, outcome, setting, first, ret);
	}
}

static bool has_outcome(const struct steps *s, const enum apply_outcome *outcome, const struct setting *setting,
			enum apply_outcome which)
{
	for (unsigned int i = 0; i < s->n; i++)
		if (s->s[i].setting == setting && outcome[i] == which)
			return true;
	return false;
}

/*
 * A part that its setting is nothing without (step.h, is_vital) is not there, the others are: that is a failure, and on
 * record, where an absent object is not. One is enough, and so is a part that was refused.
 */
static void record_missing(struct apply_run *a, const struct steps *s, enum apply_outcome *outcome)
{
	for (unsigned int i = 0; i < s->n; i++) {
		const struct step *x = &s->s[i];
		int n;

		if (!x->is_vital || outcome[i] != APPLY_ABSENT || !has_outcome(s, outcome, x->setting, APPLY_IN_FORCE) ||
		    has_outcome(s, outcome, x->setting, APPLY_FAILED))
			continue;
		outcome[i] = APPLY_FAILED;
		log_warning("%s: %s %s: %s %s is not possible here (wanted: %s): it has no effect", a->name,
			    x->setting->knob, x->setting->target, x->backend, x->object, x->value);
		if (a->undo->plan.observe)
			continue;
		n = undo_intent(a->undo, x->setting->knob, x->setting->target, x->backend, x->object, "", x->value,
				false);
		if (n > 0)
			(void)undo_left(a->undo, (unsigned int)n, EOPNOTSUPP, "not possible here"); /* for show only */
	}
}

/*
 * What becomes of a step that has not got what it needs (step.h); APPLY_IN_FORCE: it has. Of another setting a part that is
 * not there does not count; what is in the way of the rest of its own was told.
 */
static enum apply_outcome without_needed(const struct apply_run *a, const struct steps *s, const enum apply_outcome *outcome,
					 unsigned int at)
{
	const struct step *x = &s->s[at];
	bool own = x->needs == x->setting, is_made = own || !x->needs;

	for (unsigned int i = 0; i < at && x->needs; i++) {
		if (s->s[i].setting != x->needs || (outcome[i] == APPLY_ABSENT && !own))
			continue;
		is_made = outcome[i] == APPLY_IN_FORCE;
		if (!is_made)
			break;
	}
	if (is_made || own)
		return is_made ? APPLY_IN_FORCE : APPLY_ABSENT;
	log_warning("%s: %s %s: left as it was, since its %s is not in force", a->name, x->setting->knob,
		    step_target(x), x->needs->knob);
	return APPLY_FAILED;
}

/* The first step of a setting that is nothing by halves (step.h, all_or_none), where not all of it is in force. */
static bool is_half(const struct steps *s, const enum apply_outcome *outcome, unsigned int at)
{
	const struct setting *setting = s->s[at].setting;
	bool failed = false;

	for (unsigned int i = 0; s->s[at].all_or_none && i < s->n; i++) {
		if (s->s[i].setting != setting || !s->s[i].all_or_none)
			continue;
		if (i < at)
			return false;
		failed |= outcome[i] == APPLY_FAILED || outcome[i] == APPLY_ABSENT;
	}
	return failed;
}

static const struct step *first_failed(const struct steps *s, const enum apply_outcome *outcome, const struct setting *of)
{
	for (unsigned int i = 0; i < s->n; i++)
		if (s->s[i].setting == of && (outcome[i] == APPLY_FAILED || outcome[i] == APPLY_ABSENT))
			return &s->s[i];
	return NULL;
}

/* For `status`: what has failed may have taken something else, which is taken back as well. */
static void record_taken_back(struct apply_run *a, const struct step *x)
{
	int n = undo_intent(a->undo, x->setting->knob, x->setting->target, x->backend, x->object, "", x->value, false);

	if (n > 0)
		(void)undo_left(a->undo, (unsigned int)n, EINVAL, "not all of it could be done: taken back"); /* as above */
}

/* What is in force of such a setting is taken back. */
static void take_back_halves(struct apply_run *a, const struct steps *s, enum apply_outcome *outcome)
{
	for (unsigned int i = 0; i < s->n; i++) {
		const struct setting *setting = s->s[i].setting;
		const struct step *failed;
		struct err e = {0};

		if (!is_half(s, outcome, i))
			continue;
		failed = first_failed(s, outcome, setting);
		for (unsigned int j = 0; j < s->n; j++)
			if (s->s[j].setting == setting)
				outcome[j] = APPLY_FAILED;
		if (a->undo->plan.observe)
			continue;
		if (apply_take_back(a, setting, &e) < 0)
			log_warning("%s: %s %s: not all of it could be done, nor be taken back: %s", a->name, setting->knob,
				    setting->target, e.text);
		else
			log_warning("%s: %s %s: not all of it could be done: taken back", a->name, setting->knob,
				    setting->target);
		if (failed)
			record_taken_back(a, failed);
	}
}

int apply_run_steps(struct apply_run *a, const struct steps *s, struct apply_count *ret)
{
	struct undo *u = a->undo;
	_cleanup_free_ enum apply_outcome *outcome = calloc(s->n ? s->n : 1, sizeof(*outcome));
	unsigned int n_before = u->n_steps, n;
	enum apply_outcome lacks;
	bool late;

	if (!outcome)
		return -ENOMEM;
	late = !u->plan.observe && !undo_still_current(u);
	undo_batch(u);
	for (unsigned int i = 0; i < s->n; i += n) {
		const struct step *first = &s->s[i];

		n = run_length(s, i);
		if (late)
			for (unsigned int j = i; j < i + n; j++)
				outcome[j] = APPLY_LATE;
		else if ((lacks = without_needed(a, s, outcome, i)) != APPLY_IN_FORCE)
			for (unsigned int j = i; j < i + n; j++)
				outcome[j] = lacks;
		else if (first->fold != FOLD_NONE && !u->plan.observe)
			apply_shared(a, first, n, outcome + i);
		else if (has_dependant(s, i))
			apply_group(a, first, n, n_before, outcome + i);
		else
			apply_singles(a, first, n, n_before, outcome + i);
		late = late || outcome[i + n - 1] == APPLY_LATE;
	}
	record_missing(a, s, outcome);
	apply_tell_many(a, "irq.policy");
	take_back_halves(a, s, outcome);
	(void)undo_flush(u); /* what is lost says no more than the objects */
	count_outcomes(a, s, outcome, ret);
	if (!*ret->failure)
		(void)snprintf(ret->failure, sizeof(ret->failure), "%s", a->failure);
	return 0;
}

int apply_steps(const struct hostfs *fs, struct undo *u, const struct steps *s, struct apply_count *ret)
{
	struct apply_run a = {.fs = fs, .name = u->plan.name, .undo = u};

	return apply_run_steps(&a, s, ret);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared objects: one value for what several domains want, kept in the host ledger. A batch is decided in memory,
 * written ahead in one piece, carried out, read back, and written once more; all under one hold of the lock, which
 * takes no longer than the writes do. A kill in between leaves entries whose read-back is missing: reading the object
 * says whether the write was made (it is `written`), or not (it is `before`).
 *
 * Whose value it is: ours, if it is what we read back after our last write. Where somebody else has changed it since
 * it is left alone and reported; the claim is still recorded, so that the last one to go finds out the same. An entry
 * without claims is one that is being put back; whoever comes next finishes it.
 */
#include "apply_priv.h"
#include "lines.h"
#include "log.h"

struct work {
	struct shared *s;
	const struct backend *be;
	char *now;       /* NULL: the object is gone or cannot be read */
	char *target;    /* NULL: leave it */
	bool is_ours;
	bool is_reset;   /* its cause is going to be written, and what that makes of it is right */
	bool wish_ended; /* this domain wanted a value of its own until now */
	bool is_stuck;   /* back: it could not be put back, though it is there */
	bool insists;    /* it is written even if it says already what it should */
	bool is_counted; /* back: it is this domain's, and not only as what a cause may reset */
	int rc;
};

struct batch {
	struct apply_run *a;
	struct ledger *l;
	struct work *w;
	unsigned int n;
};

static void batch_fini(struct batch *b)
{
	for (unsigned int i = 0; i < b->n; i++) {
		free(b->w[i].now);
		free(b->w[i].target);
	}
	free(b->w);
}

static struct apply_object object_of(const struct shared *s)
{
	return (struct apply_object){s->knob, s->target, s->backend, s->object};
}

static bool is_dependant(const struct shared *s)
{
	return s->cause && *s->cause;
}

/* Whether the object still has what we gave it, and settle a write that was recorded ahead. */
static bool settle(struct work *w)
{
	struct shared *s = w->s;

	/* What we meant counts as well: what the kernel had cut from it (CPUs of a partition that has gone) may have come back. */
	if (s->readback)
		return w->be->same(s->object, w->now, s->readback) || w->be->same(s->object, w->now, s->written);
	/* Of a dependant the cause's write may have made anything. */
	if (!is_dependant(s) && !w->be->same(s->object, w->now, s->written) &&
	    !w->be->same(s->object, w->now, s->before))
		return false;
	return replace_text(&s->readback, w->now) == 0;
}

/* What a domain claims that leaves an object to its cause; no value begins so. */
static bool is_follower(const char *wanted)
{
	return *wanted == '-';
}

/* Whether this domain wants a value of its own for it; uuid NULL: whether any does. */
static bool has_wish(const struct shared *s, const char *uuid)
{
	for (unsigned int i = 0; i < s->n_claims; i++)
		if ((!uuid || streq(s->claims[i].uuid, uuid)) && shared_is_wish(s->claims[i].wanted))
			return true;
	return false;
}

/* Nobody wants a value, nor that it keeps the one it had: the cause decides. */
static bool only_followers(const struct shared *s)
{
	for (unsigned int i = 0; i < s->n_claims; i++)
		if (!is_follower(s->claims[i].wanted))
			return false;
	return s->n_claims > 0;
}

/* What the cause had made of the object before somebody wished for another value; "" not known. */
static const char *followed_value(const struct shared *s)
{
	for (unsigned int i = 0; i < s->n_claims; i++)
		if (is_follower(s->claims[i].wanted) && s->claims[i].wanted[1])
			return s->claims[i].wanted + 1;
	return "";
}

static int note_followed(struct shared *s, const char *value)
{
	for (unsigned int i = 0; i < s->n_claims; i++) {
		char *wanted = NULL;

		if (!is_follower(s->claims[i].wanted))
			continue;
		if (asprintf(&wanted, "-%s", value) < 0)
			return -ENOMEM;
		free(s->claims[i].wanted);
		s->claims[i].wanted = wanted;
	}
	return 0;
}

/*
 * What all claims make of it. NULL: what it is, since the cause decides; but what a wish has made of it, which has ended
 * now, goes.
 */
static int fold_claims(const struct work *w, char **ret)
{
	const struct shared *s = w->s;
	_cleanup_free_ const char **values = calloc(s->n_claims ? s->n_claims : 1, sizeof(*values));
	unsigned int n = 0;

	if (!values)
		return -ENOMEM;
	*ret = NULL;
	if (only_followers(s) && !w->wish_ended)
		return 0;
	if (only_followers(s) && *followed_value(s)) {
		*ret = strdup(followed_value(s));
		return *ret ? 0 : -ENOMEM;
	}
	for (unsigned int i = 0; i < s->n_claims; i++)
		if (shared_is_wish(s->claims[i].wanted))
			values[n++] = s->claims[i].wanted;
	return fold_values(s->fold, s->order, s->original, values, n, ret);
}

/* Take an entry into the batch; its object was read by the caller (taken over) or is read here. */
static struct work *add_work(struct batch *b, struct shared *s, const struct backend *be, char *now)
{
	struct work *w;

	for (unsigned int i = 0; i < b->n; i++)
		if (b->w[i].s == s) {
			free(now);
			return &b->w[i];
		}
	w = &b->w[b->n];
	*w = (struct work){.s = s, .be = be, .now = now};
	if (!w->now)
		w->rc = be ? apply_read(b->a, be, s->object, &w->now) : -EOPNOTSUPP;
	if (w->now)
		w->is_ours = settle(w);
	b->n++;
	return w;
}

/*
 * A write that was recorded ahead by somebody who was killed then, and that no claim of ours is about: it is made now. The
 * claims are as they were then, so `written` is what they make together.
 */
static void add_unsettled(struct batch *b)
{
	for (unsigned int i = 0; i < b->l->n_shared; i++) {
		struct shared *s = &b->l->shared[i];
		struct work *w;
		int rc = 0;

		if (s->readback || !s->n_claims)
			continue;
		w = add_work(b, s, apply_backend(b->a, s->backend, s->object, &rc), NULL);
		if (w->target || !w->is_ours || w->be->same(s->object, w->now, s->written))
			continue;
		/* Recorded because its cause was to reset it, see write_ahead(): whatever came of that is right. */
		if (only_followers(s) && w->be->same(s->object, s->written, s->before))
			continue;
		w->target = strdup(s->written);
		w->rc = w->target ? 0 : -ENOMEM;
	}
}

/* What a cause that is going to be written may reset, whoever claims it, is written again after it. */
static void add_dependants(struct batch *b)
{
	for (unsigned int i = 0; i < b->n; i++) {
		const struct work *cause = &b->w[i];

		for (unsigned int j = 0; cause->target && j < b->l->n_shared; j++) {
			struct shared *s = &b->l->shared[j];
			struct work *w;
			int rc = 0;

			if (!is_dependant(s) || !streq(s->cause, cause->s->object) ||
			    !streq(s->backend, cause->s->backend))
				continue;
			w = add_work(b, s, apply_backend(b->a, s->backend, s->object, &rc), NULL);
			if (w->target || !w->is_ours)
				continue;
			w->rc = fold_claims(w, &w->target);
			w->is_reset = w->rc == 0 && !w->target;
			/* The kernel leaves alone what was chosen: what it would make of it otherwise is not known any more. */
			if (w->rc == 0 && !w->is_reset)
				w->rc = note_followed(s, "");
		}
	}
}

/* Everything that is to be written, on record before it is. */
static int write_ahead(struct batch *b, struct err *e)
{
	for (unsigned int i = 0; i < b->n; i++) {
		struct work *w = &b->w[i];

		if (!w->target && !w->is_reset)
			continue;
		if (replace_text(&w->s->written, w->target ? w->target : w->now) < 0 ||
		    replace_text(&w->s->before, w->now) < 0)
			return err_set(e, ENOMEM, "%s", err_name(ENOMEM));
		free(w->s->readback);
		w->s->readback = NULL;
	}
	return ledger_write(b->a->fs, b->l, e);
}

static void write_one(struct batch *b, struct work *w)
{
	char *now = NULL;

	/* Its cause may have changed it, or not. */
	if (is_dependant(w->s))
		w->rc = apply_read(b->a, w->be, w->s->object, &now);
	if (w->rc == 0 && w->target && (!now || !w->be->same(w->s->object, now, w->target))) {
		free(now);
		w->rc = apply_write(b->a, w->be, w->s->object, w->target, &now);
		/* It was only to keep its value, of which the cause leaves nothing. */
		if (w->rc == -EINVAL && now && w->s->n_claims && !has_wish(w->s, NULL))
			w->rc = 0;
	}
	if (!now)
		return;
	free(w->now);
	w->now = now;
	/* Also after a failure: what it says now is what it was, or what we made of it. */
	if (replace_text(&w->s->readback, now) < 0 || (w->is_reset && note_followed(w->s, now) < 0))
		w->rc = -ENOMEM;
}

/* Causes first; then their dependants, from what the causes left of them. */
static void carry_out(struct batch *b)
{
	for (int dependants = 0; dependants <= 1; dependants++)
		for (unsigned int i = 0; i < b->n; i++) {
			struct work *w = &b->w[i];

			if ((w->target || w->is_reset) && is_dependant(w->s) == (dependants == 1))
				write_one(b, w);
		}
	/* Once more: a dependant's write may have moved another (a maximum below a minimum, and the like). */
	for (unsigned int i = 0; i < b->n; i++) {
		struct work *w = &b->w[i];
		char *now = NULL;

		if (!w->target || !is_dependant(w->s) || w->rc < 0 || apply_read(b->a, w->be, w->s->object, &now) < 0)
			continue;
		free(w->now);
		w->now = now;
		if (w->s->readback && !w->be->same(w->s->object, now, w->s->readback))
			write_one(b, w);
	}
}

static int commit(struct batch *b, struct err *e)
{
	int rc = write_ahead(b, e);

	if (rc == 0)
		carry_out(b);
	return rc;
}

/* What an empty original of this object stands for; *ret stays as it is where nothing is asked or known. */
static int read_whole(const struct apply_run *a, const struct backend *be, const struct step *st, const char *now,
		      char **ret)
{
	_cleanup_free_ char *buf = NULL;

	if (st->fold != FOLD_WITHOUT || !be->whole || now[strspn(now, " ")])
		return 0;
	buf = malloc(BACKEND_VALUE_MAX);
	if (!buf)
		return -ENOMEM;
	if (be->whole(a->fs, st->object, buf, BACKEND_VALUE_MAX) < 0)
		return 0;
	*ret = strdup(buf);
	return *ret ? 0 : -ENOMEM;
}

/* --- forward ---------------------------------------------------------------------------------------------------- */

/* Join the claims of an object, or make it a shared one. Sets *outcome where that is already clear. */
static int claim_object(struct batch *b, const struct step *st, const char *cause, struct work **ret,
			enum apply_outcome *outcome)
{
	struct apply_run *a = b->a;
	const struct apply_object o = {st->setting->knob, st->setting->target, st->backend, st->object};
	const char *wanted = st->restore_only ? (st->follows ? "-" : "") : st->value ? st->value : "";
	bool had_wish;
	struct shared *s = ledger_find_shared(b->l, st->backend, st->object);
	_cleanup_free_ char *now = NULL, *alone = NULL, *followed = NULL, *whole = NULL;
	const char *order = st->order ? st->order : "";
	int rc = 0;
	const struct backend *be = apply_backend(a, st->backend, st->object, &rc);

	*ret = NULL;
	if (be)
		rc = apply_read(a, be, st->object, &now);
	if (rc < 0 || !be) {
		/* What is not there (a queue without writeback throttling) is not reset either. */
		*outcome = st->restore_only ? APPLY_ABSENT : apply_failure(a, &o, wanted, rc, "left as it was");
		return 0;
	}
	if (!s) {
		rc = read_whole(a, be, st, now, &whole);
		if (whole)
			order = whole;
		if (rc == 0)
			rc = fold_values(st->fold, order, now, &wanted, shared_is_wish(wanted), &alone);
		if (rc < 0) {
			*outcome = apply_failure(a, &o, wanted, rc, "left as it was");
			return 0;
		}
		/* Satisfied without us. Where the original has no say the wish is on record all the same: later ones meet it. */
		if (be->same(st->object, now, alone) && !cause && !st->insists && !fold_forgets_original(st->fold))
			return 0;
		s = ledger_add_shared(b->l, st->backend, st->object);
		if (!s || replace_text(&s->knob, o.knob) < 0 || replace_text(&s->target, o.target) < 0 ||
		    replace_text(&s->order, order) < 0 || replace_text(&s->cause, "") < 0 ||
		    replace_text(&s->original, now) < 0 ||
		    replace_text(&s->written, now) < 0 || replace_text(&s->before, now) < 0 ||
		    replace_text(&s->readback, now) < 0)
			return -ENOMEM;
		s->fold = st->fold;
	}
	/* An object that one domain wants something of is another's dependant, whoever came first. */
	if (cause && !is_dependant(s) && replace_text(&s->cause, cause) < 0)
		return -ENOMEM;
	if (shared_is_wish(wanted) && !has_wish(s, NULL) &&
	    (replace_text(&s->knob, o.knob) < 0 || replace_text(&s->target, o.target) < 0))
		return -ENOMEM;
	had_wish = has_wish(s, a->undo->plan.uuid);
	followed = strdup(followed_value(s)); /* what is true of one is of all */
	rc = followed ? shared_set_claim(s, a->undo->plan.uuid, wanted) : -ENOMEM;
	if (rc == 0)
		rc = note_followed(s, followed);
	if (rc < 0)
		return rc;
	*ret = add_work(b, s, be, steal_ptr(&now));
	(*ret)->wish_ended = had_wish && !shared_is_wish(wanted);
	(*ret)->insists = st->insists && !had_wish;
	return 0;
}

/* The object has already what became of this value, which the kernel has rounded. */
static bool is_rounded(const struct work *w, const char *target)
{
	const struct shared *s = w->s;

	return !is_dependant(s) && s->readback && w->be->same(s->object, s->written, target) &&
	       w->be->same(s->object, s->readback, w->now) && !w->be->same(s->object, s->before, w->now);
}

/* Decide what an object is to be set to, now that all claims of the batch are in. */
static void decide(struct batch *b, struct work *w, enum apply_outcome *outcome)
{
	const struct apply_object o = object_of(w->s);
	_cleanup_free_ char *target = NULL;
	int rc;

	if (!w->is_ours) {
		apply_log_foreign(b->a, &o, w->now, "left as it is, the wish is kept");
		*outcome = APPLY_FAILED;
		return;
	}
	rc = fold_claims(w, &target);
	if (rc < 0)
		*outcome = apply_failure(b->a, &o, "", rc, "left as it was");
	else if (target && !w->target && (w->insists || !w->be->same(w->s->object, w->now, target)) &&
		 !is_rounded(w, target))
		w->target = steal_ptr(&target);
}

/* What an earlier run of this start has recorded about an object: from now on the new record speaks for it. */
static void forget_records(struct undo *u, const char *backend, const char *object, const char *result)
{
	for (unsigned int i = 0; i < u->n_steps; i++) {
		const struct undo_step *s = &u->steps[i];

		if (s->shared && s->state != UNDO_UNDONE && streq(s->object, object) && streq(s->backend, backend))
			(void)undo_undone(u, s->number, result); /* for show only */
	}
}

/*
 * In the domain's own file what `status` shows of it: of what it wants itself, not of what is only written again because
 * a cause has reset it. What is undone is the ledger's business.
 */
static int record_intents(struct batch *b, unsigned int *numbers)
{
	for (unsigned int i = 0; i < b->n; i++) {
		const struct shared *s = b->w[i].s;
		int n;

		numbers[i] = 0;
		if (!b->w[i].target || !has_wish(s, b->a->undo->plan.uuid))
			continue;
		forget_records(b->a->undo, s->backend, s->object, "superseded");
		n = undo_intent(b->a->undo, s->knob, s->target, s->backend, s->object, s->original, b->w[i].target,
				true);
		if (n < 0)
			return n;
		numbers[i] = (unsigned int)n;
	}
	return undo_commit(b->a->undo);
}

static enum apply_outcome conclude(struct batch *b, struct work *w, unsigned int number)
{
	const struct apply_object o = object_of(w->s);

	if (w->rc < 0) {
		if (number)
			(void)undo_left(b->a->undo, number, -w->rc, err_name(-w->rc)); /* the ledger has what counts */
		return apply_failure(b->a, &o, w->target, w->rc,
				     number ? "left as it was" : "which another setting has reset");
	}
	if (number)
		(void)undo_done(b->a->undo, number, w->now); /* the ledger has what counts */
	return APPLY_IN_FORCE;
}

/* A domain whose claim is gone, or is another start's, has no say. */
static bool is_claimant(struct ledger *l, const struct undo *u)
{
	const struct claim *c = ledger_find(l, u->plan.uuid);

	return c && c->generation == u->generation;
}

static int claim_all(struct batch *b, const struct step *s, unsigned int n, struct work **of_step,
		     enum apply_outcome *outcome)
{
	for (unsigned int i = 0; i < n; i++) {
		const char *cause = NULL;
		int rc;

		for (unsigned int j = i; j-- > 0 && s[i].is_dependant && !cause;)
			if (s[j].group == s[i].group && !s[j].is_dependant)
				cause = s[j].object;
		rc = claim_object(b, &s[i], cause, &of_step[i], &outcome[i]);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int apply_locked(struct apply_run *a, struct ledger *l, const struct step *s, unsigned int n,
			enum apply_outcome *outcome, struct err *e)
{
	_cleanup_(batch_fini) struct batch b = {.a = a, .l = l};
	unsigned int room = l->n_shared + n;
	_cleanup_free_ struct work **of_step = calloc(n, sizeof(struct work *));
	_cleanup_free_ unsigned int *numbers = calloc(room, sizeof(*numbers));
	int rc;

	b.w = calloc(room, sizeof(*b.w));
	/* Entries are pointed to: the array must not move while the batch is made. */
	if (!b.w || !of_step || !numbers || ledger_reserve_shared(l, room) < 0)
		return -ENOMEM;
	rc = claim_all(&b, s, n, of_step, outcome);
	if (rc < 0)
		return rc;
	for (unsigned int i = 0; i < n; i++)
		if (of_step[i])
			decide(&b, of_step[i], &outcome[i]);
	add_unsettled(&b);
	add_dependants(&b);
	rc = b.n ? record_intents(&b, numbers) : 0;
	if (rc == 0 && b.n && !undo_still_current(a->undo))
		rc = -ESTALE;
	if (rc == 0 && b.n)
		rc = commit(&b, e);
	if (rc < 0 || !b.n)
		return rc;
	for (unsigned int i = 0; i < b.n; i++) {
		enum apply_outcome out = b.w[i].target ? conclude(&b, &b.w[i], numbers[i]) : APPLY_IN_FORCE;

		/* What becomes of a dependant that others want is not this setting's failure. */
		for (unsigned int j = 0; j < n; j++)
			if (of_step[j] == &b.w[i] && !s[j].restore_only && out > outcome[j])
				outcome[j] = out;
	}
	return ledger_write(a->fs, l, e);
}

void apply_shared(struct apply_run *a, const struct step *s, unsigned int n, enum apply_outcome *outcome)
{
	_cleanup_(ledger_fini) struct ledger l = {0};
	struct err e = {0};
	_cleanup_close_ int lock = ledger_lock(a->fs, &e);
	int rc = lock;

	if (rc >= 0)
		rc = ledger_read_one(a->fs, a->undo->plan.uuid, &l, &e);
	if (rc == 0 && !is_claimant(&l, a->undo))
		rc = -ESTALE;
	if (rc == 0)
		rc = apply_locked(a, &l, s, n, outcome, &e);
	if (rc == 0)
		return;
	for (unsigned int i = 0; i < n; i++)
		outcome[i] = rc == -ESTALE ? APPLY_LATE : APPLY_FAILED;
	if (rc == -ESTALE)
		return;
	if (!e.code)
		(void)err_set(&e, -rc, "%s", err_name(-rc));
	(void)err_wrap(&e, "%s: %s", a->name, s->setting->knob);
	if (!*a->failure)
		(void)snprintf(a->failure, sizeof(a->failure), "%s", e.text);
	log_warning("%s, left as it was, and %u more", e.text, n - 1);
}

/* --- back ------------------------------------------------------------------------------------------------------- */

static bool has_claim(const struct shared *s, const char *uuid)
{
	for (unsigned int i = 0; i < s->n_claims; i++)
		if (streq(s->claims[i].uuid, uuid))
			return true;
	return false;
}

/*
 * Nobody has refused it, and it is there: it stays on record as a write that was not made, for whoever comes next
 * (add_unsettled(), or, without claims, apply_release_shared()).
 */
static void put_off(struct work *w)
{
	char *target = NULL;

	if (fold_claims(w, &target) < 0 || !target)
		return;
	if (w->s->readback && replace_text(&w->s->before, w->s->readback) < 0) {
		free(target);
		return;
	}
	free(w->s->written);
	w->s->written = target;
	free(w->s->readback);
	w->s->readback = NULL;
	w->is_stuck = true;
}

/* Drop the claim and decide what remains. */
static void unclaim(struct batch *b, struct shared *s, const char *uuid, struct apply_count *count)
{
	const struct apply_object o = object_of(s);
	_cleanup_free_ char *target = NULL;
	struct work *w;
	int rc = 0;

	w = add_work(b, s, apply_backend(b->a, s->backend, s->object, &rc), NULL);
	w->wish_ended = has_wish(s, uuid);
	w->is_counted = w->wish_ended || !s->n_claims;
	shared_drop_claim(s, uuid);
	if (!w->now) {
		if (w->rc == -ETIMEDOUT)
			put_off(w);
		/* Gone with its value; or it cannot be read, then it cannot be put back either. */
		if (apply_failure(b->a, &o, s->original, w->rc, "not put back") == APPLY_ABSENT)
			count->in_force += w->is_counted;
		else
			count->failed++;
		return;
	}
	/* What somebody else put back is back; with claims left it would have to be taken from him again. */
	if (!w->is_ours && (s->n_claims || !w->be->same(s->object, w->now, s->original))) {
		apply_log_foreign(b->a, &o, w->now, "left");
		count->skipped++;
		return;
	}
	rc = fold_claims(w, &target);
	if (rc == 0 && target && !w->be->same(s->object, w->now, target))
		w->target = steal_ptr(&target);
	else
		count->in_force += w->is_counted;
}

/* What could not be put back stays on record, for the next release or the next who wants it. */
static void drop_finished(struct ledger *l, const struct batch *b)
{
	for (unsigned int i = l->n_shared; i-- > 0;) {
		bool failed = false;

		for (unsigned int k = 0; k < b->n; k++)
			failed |= b->w[k].s == &l->shared[i] && b->w[k].is_stuck;
		if (l->shared[i].n_claims == 0 && !failed)
			ledger_remove_shared(l, &l->shared[i]);
	}
}

static bool is_wanted(const struct shared *s, const struct steps *keep, unsigned int n_keep)
{
	for (unsigned int i = 0; i < n_keep; i++)
		for (unsigned int j = 0; j < keep[i].n; j++)
			if (keep[i].s[j].fold != FOLD_NONE && streq(keep[i].s[j].object, s->object) &&
			    streq(keep[i].s[j].backend, s->backend))
				return true;
	return false;
}

int apply_release_shared(struct apply_run *a, struct ledger *l, const char *uuid, const struct steps *keep,
			 unsigned int n_keep, struct apply_count *count, struct err *e)
{
	_cleanup_(batch_fini) struct batch b = {.a = a, .l = l};
	bool any = false;
	int rc = 0;

	b.w = calloc(l->n_shared ? l->n_shared : 1, sizeof(*b.w));
	if (!b.w)
		return err_set(e, ENOMEM, "%s", err_name(ENOMEM));
	for (unsigned int i = 0; i < l->n_shared; i++) {
		struct shared *s = &l->shared[i];

		if (s->n_claims && (!has_claim(s, uuid) || is_wanted(s, keep, n_keep)))
			continue;
		unclaim(&b, s, uuid, count);
		if (n_keep) /* else the whole record goes */
			forget_records(a->undo, s->backend, s->object, "unclaimed");
	}
	add_unsettled(&b);
	add_dependants(&b);
	for (unsigned int i = 0; i < b.n; i++)
		any |= b.w[i].target != NULL;
	if (any)
		rc = commit(&b, e);
	for (unsigned int i = 0; i < b.n && any && rc == 0; i++) {
		struct work *w = &b.w[i];
		const struct apply_object o = object_of(w->s);

		if (!w->target)
			continue;
		if (w->s->n_claims && !w->wish_ended && w->rc < 0) /* others', which a cause has reset */
			(void)apply_failure(a, &o, w->target, w->rc, "which another setting has reset");
		else if (w->rc < 0 && apply_failure(a, &o, w->target, w->rc, "not put back") != APPLY_ABSENT)
			w->is_stuck = true;
		else
			count->in_force += w->is_counted;
		count->failed += w->is_stuck;
	}
	if (rc == 0)
		drop_finished(l, &b);
	return rc;
}

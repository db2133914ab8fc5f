/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared objects: a domain's claims come (apply_batch.h). */
#include "apply_batch.h"
#include "lines.h"
#include "log.h"

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

/* What an object of the batch said when it was taken in. NULL: it is not in it. */
static const char *seen_in(const struct batch *b, const struct shared *s)
{
	unsigned int w = s ? b->of_shared[s - b->l->shared] : 0;

	return w ? b->w[w - 1].now : NULL;
}

/* One of many that was refused before. */
static bool was_given_up(const struct batch *b, const struct step *st)
{
	uint32_t hash = strindex_hash(st->backend, st->object);
	const struct backend *be = backend_find(st->backend);
	const struct undo_step *s;
	unsigned int at = 0;

	while (be && be->is_many && (s = batch_next_record(b, st->backend, st->object, hash, &at)))
		if (s->state == UNDO_LEFT)
			return true;
	return false;
}

/*
 * Of many an object that somebody else has moved is set from there, and that is what it goes back to; an interrupt that has
 * gone and come back is like a new one.
 */
static int set_base(struct batch *b, struct work *w)
{
	struct shared *s = w->s;

	if (shared_set(s, &s->original, w->now) < 0 ||
	    (s->fold == FOLD_IRQ && batch_settle_born(b, s, w->now, b->a->undo->plan.uuid) < 0) || shared_set(s, &s->readback, w->now) < 0 || shared_set(s, &s->written, w->now) < 0)
		return -ENOMEM;
	w->is_ours = true;
	return 0;
}

/* Join the claims of an object, or make it a shared one. Sets *outcome where that is already clear. */
static int claim_object(struct batch *b, const struct step *st, const char *cause, struct work **ret,
			enum apply_outcome *outcome)
{
	struct apply_run *a = b->a;
	const struct apply_object o = {st->setting->knob, step_target(st), st->backend, st->object};
	const char *wanted = st->restore_only ? (st->follows ? "-" : "") : st->value ? st->value : "";
	bool had_wish;
	struct shared *s = ledger_find_shared(b->l, st->backend, st->object);
	_cleanup_free_ char *now = NULL, *alone = NULL, *followed = NULL, *whole = NULL;
	const char *order = st->order ? st->order : "";
	int rc = 0;
	const struct backend *be = apply_backend(a, st->backend, st->object, &rc);
	const char *seen = seen_in(b, s);

	*ret = NULL;
	if (was_given_up(b, st)) {
		*outcome = APPLY_ABSENT;
		return 0;
	}
	if (be && seen && !(now = strdup(seen)))
		return -ENOMEM;
	if (be && !now)
		rc = apply_read(a, be, st->object, &now);
	/* It is told by the next phase. */
	if (be && be->comes_and_goes && rc == -ETIMEDOUT) {
		now = strdup(BACKEND_AWAY);
		rc = now ? 0 : -ENOMEM;
	}
	if (rc < 0 || !be) {
		/* What is not there (a queue without writeback throttling) is not reset either. */
		*outcome = st->restore_only ? APPLY_ABSENT : apply_failure(a, &o, wanted, rc, "left as it was");
		return 0;
	}
	if (st->fold == FOLD_IRQ && !st->is_held &&
	    !batch_concerns(b, s, st->object, now, wanted, s && shared_claim_of(s, a->undo->plan.uuid)))
		return 0;
	if (!s && st->fold != FOLD_IRQ && !st->is_held && !is_away(be, now)) {
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
	}
	if (!s) {
		const struct shared like = {.knob = o.knob, .target = o.target, .backend = st->backend, .order = order,
					    .fold = st->fold};

		s = batch_new_entry(b->l, &like, st->object, now, now);
		if (!s)
			return -ENOMEM;
		if (st->fold == FOLD_IRQ && batch_settle_born(b, s, now, a->undo->plan.uuid) < 0)
			return -ENOMEM;
	}
	if (s->fold == FOLD_IRQ && st->order && !streq(s->order, st->order) && shared_set(s, &s->order, st->order) < 0)
		return -ENOMEM; /* CPUs have come or gone */
	/* An object that one domain wants something of is another's dependant, whoever came first. */
	if (cause && !is_dependant(s) && shared_set(s, &s->cause, cause) < 0)
		return -ENOMEM;
	if (shared_is_wish(wanted) && !shared_has_wish(s, NULL) &&
	    (shared_set(s, &s->knob, o.knob) < 0 || shared_set(s, &s->target, o.target) < 0))
		return -ENOMEM;
	had_wish = shared_has_wish(s, a->undo->plan.uuid);
	followed = strdup(shared_followed(s)); /* what is true of one is of all */
	rc = followed ? shared_set_claim(s, a->undo->plan.uuid, wanted) : -ENOMEM;
	if (rc == 0)
		rc = shared_note_followed(s, followed);
	if (rc < 0)
		return rc;
	*ret = batch_add(b, s, be, steal_ptr(&now));
	(*ret)->wish_ended = had_wish && !shared_is_wish(wanted);
	(*ret)->insists = st->insists && !had_wish;
	return 0;
}

/* A daemon's object may not show yet what was told last (backend.h): that counts, whatever it says. */
static bool must_tell(const struct work *w, const char *target)
{
	return w->be->comes_and_goes && (!w->s->readback || !w->be->same(w->s->object, w->s->written, target));
}

/* The object has already what became of this value, which the kernel has rounded. */
static bool is_rounded(const struct work *w, const char *target)
{
	const struct shared *s = w->s;

	return !is_dependant(s) && s->readback && !w->be->same(s->object, s->before, w->now) &&
	       w->be->same(s->object, s->readback, w->now) && w->be->same(s->object, s->written, target);
}

/* Decide what an object is to be set to, now that all claims of the batch are in. */
static void decide(struct batch *b, struct work *w, enum apply_outcome *outcome)
{
	const struct apply_object o = object_of(w->s);
	_cleanup_free_ char *target = NULL;
	int rc;

	if (!w->is_ours && w->be->is_many && set_base(b, w) < 0) {
		*outcome = APPLY_FAILED;
		return;
	}
	if (is_away(w->be, w->now)) {
		if (shared_set(w->s, &w->s->readback, w->now) < 0 || shared_set(w->s, &w->s->written, w->now) < 0)
			*outcome = APPLY_FAILED;
		else
			*outcome = APPLY_ABSENT;
		return;
	}
	if (!w->is_ours) {
		apply_log_foreign(b->a, &o, w->now, "left as it is, the wish is kept");
		*outcome = APPLY_FAILED;
		return;
	}
	rc = batch_fold(b, w, &target);
	if (rc < 0)
		*outcome = apply_failure(b->a, &o, "", rc, "left as it was");
	else if (target && !w->target &&
		 (must_tell(w, target) ||
		  ((w->insists || !w->be->same(w->s->object, w->now, target)) && !is_rounded(w, target))))
		w->target = steal_ptr(&target);
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
		if (!b->w[i].target || !shared_has_wish(s, b->a->undo->plan.uuid))
			continue;
		batch_forget_records(b, s->backend, s->object, "superseded");
		n = undo_intent(b->a->undo, s->knob, s->target, s->backend, s->object, s->original, b->w[i].target,
				true);
		if (n < 0)
			return n;
		numbers[i] = (unsigned int)n;
	}
	return undo_commit(b->a->undo);
}

/*
 * One of many that the kernel did not move: nothing is claimed of it, nobody tries again, and all such are told together.
 * What it is now is what others' claims have made of it.
 */
static enum apply_outcome give_up(struct batch *b, struct work *w, unsigned int number)
{
	const struct apply_object o = object_of(w->s);

	apply_note_many(b->a, &o, -w->rc, w->now, w->target);
	/* What has vanished may come back under its name. Without the record it is tried once more. */
	if (number && w->rc == -ENOENT)
		(void)undo_undone(b->a->undo, number, "gone");
	else if (number)
		(void)undo_left(b->a->undo, number, -w->rc, err_name(-w->rc));
	shared_drop_claim(w->s, b->a->undo->plan.uuid);
	w->is_given_up = true;
	if (w->now && (shared_set(w->s, &w->s->written, w->now) < 0 || shared_set(w->s, &w->s->readback, w->now) < 0))
		return APPLY_FAILED;
	return APPLY_ABSENT;
}

static enum apply_outcome conclude(struct batch *b, struct work *w, unsigned int number)
{
	const struct apply_object o = object_of(w->s);

	if (w->be->is_many && w->rc < 0)
		return give_up(b, w, number);
	if (w->be->is_many && !w->be->same(w->s->object, w->now, w->target))
		apply_note_many(b->a, &o, 0, w->now, w->target);
	if (w->s->fold == FOLD_IRQ && batch_is_kept_off(b, w))
		apply_note_many(b->a, &o, APPLY_KEPT_OFF, w->now, w->target);
	if (w->rc < 0) {
		if (number)
			(void)undo_left(b->a->undo, number, -w->rc, err_name(-w->rc)); /* the ledger has what counts */
		return apply_failure(b->a, &o, w->target, w->rc,
				     number ? "left as it was" : "which another setting has reset");
	}
	/* A set of CPUs is no number that the kernel rounds. */
	if (w->s->fold == FOLD_WITHOUT && !streq(w->be->name, "thread") && w->now && !w->be->same(w->s->object, w->now, w->target))
		log_msg(b->a->quiet || b->a->late ? LOG_LVL_DEBUG : LOG_LVL_WARNING,
			"%s: %s %s: %s %s: the kernel has narrowed what was written: wanted %.64s, is %.64s", b->a->name, o.knob,
			o.target, o.backend, o.object, w->target, w->now);
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

static bool is_given_up(const void *data, unsigned int i)
{
	const struct batch *b = data;
	unsigned int w = b->of_shared[i];

	return w && b->w[w - 1].is_given_up && b->l->shared[i].n_claims == 0;
}

static int apply_locked(struct apply_run *a, struct ledger *l, const struct step *s, unsigned int n,
			enum apply_outcome *outcome, struct err *e)
{
	_cleanup_(batch_fini) struct batch b = {.a = a, .l = l};
	unsigned int room = l->n_shared + n;
	_cleanup_free_ struct work **of_step = calloc(n, sizeof(struct work *));
	_cleanup_free_ unsigned int *numbers = calloc(room, sizeof(*numbers));
	bool any = false;
	_cleanup_free_ enum apply_outcome *out = calloc(room, sizeof(*out));
	bool any_given_up = false;
	int rc;

	/* Entries are pointed to: the array must not move while the batch is made. */
	if (!of_step || !numbers || !out || batch_init(&b, room) < 0)
		return -ENOMEM;
	rc = claim_all(&b, s, n, of_step, outcome);
	if (rc == 0)
		rc = batch_find_keepers(&b);
	if (rc < 0)
		return rc;
	for (unsigned int i = 0; i < n; i++)
		if (of_step[i])
			decide(&b, of_step[i], &outcome[i]);
	batch_add_unsettled(&b);
	batch_add_dependants(&b);
	rc = b.n ? record_intents(&b, numbers) : 0;
	if (rc == 0 && b.n && !undo_still_current(a->undo))
		rc = -ESTALE;
	for (unsigned int i = 0; i < b.n; i++)
		any |= b.w[i].target || b.w[i].is_reset;
	if (rc == 0 && any) /* else the write below is all there is to say */
		rc = batch_commit(&b, e);
	if (rc < 0 || !b.n)
		return rc;
	for (unsigned int i = 0; i < b.n; i++) {
		out[i] = b.w[i].target ? conclude(&b, &b.w[i], numbers[i]) : APPLY_IN_FORCE;
		any_given_up |= b.w[i].is_given_up;
	}
	/* What becomes of a dependant that others want is not this setting's failure. */
	for (unsigned int j = 0; j < n; j++)
		if (of_step[j] && !s[j].restore_only && out[of_step[j] - b.w] > outcome[j])
			outcome[j] = out[of_step[j] - b.w];
	if (any_given_up)
		ledger_prune_shared(l, is_given_up, &b);
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

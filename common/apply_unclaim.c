/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared objects: a domain's claims go (apply_batch.h). */
#include "apply_batch.h"
#include "irq.h"
#include "lines.h"

static void count_back(struct batch *b, const struct work *w, struct apply_count *count)
{
	bool is_many = w->be && (w->be->is_many || w->be->comes_and_goes); /* the same setting's */

	if (w->is_counted && !(is_many && b->back_counted))
		count->in_force++;
	b->back_counted |= is_many && w->is_counted;
}

/* Somebody else has changed it since. */
static void leave(struct batch *b, const struct work *w, struct apply_count *count)
{
	const struct apply_object o = object_of(w->s);

	if (w->be->is_many)
		apply_note_many(b->a, &o, APPLY_MOVED, w->now, w->s->original);
	else
		apply_log_foreign(b->a, &o, w->now, "left");
	if (!(w->be->is_many && b->left_counted))
		count->skipped++;
	b->left_counted |= w->be->is_many;
}

/*
 * Nobody has refused it, and it is there: it stays on record as a write that was not made, for whoever comes next
 * (batch_add_unsettled(), or, without claims, apply_release_shared()).
 */
static void put_off(struct batch *b, struct work *w)
{
	_cleanup_free_ char *target = NULL;

	if (batch_fold(b, w, &target) < 0 || !target ||
	    (w->s->readback && shared_set(w->s, &w->s->before, w->s->readback) < 0) ||
	    shared_set(w->s, &w->s->written, target) < 0)
		return;
	shared_unsettle(w->s);
	w->is_stuck = true;
}

/* Drop the claim and decide what remains. */
static void unclaim(struct batch *b, struct shared *s, const char *uuid, struct apply_count *count)
{
	const struct apply_object o = object_of(s);
	_cleanup_free_ char *target = NULL;
	struct work *w;
	int rc = 0;

	w = batch_add(b, s, apply_backend(b->a, s->backend, s->object, &rc), NULL);
	w->wish_ended = shared_has_wish(s, uuid);
	w->is_counted = w->wish_ended || !s->n_claims;
	shared_drop_claim(s, uuid);
	if (batch_keep_preset(b, s, uuid) < 0)
		w->rc = -ENOMEM; /* it goes back, and may be taken for a new one later */
	/* Put back by somebody else, and kept for those who stay. */
	if (w->now && !w->is_ours && s->n_claims && s->fold == FOLD_IRQ && w->be->same(s->object, w->now, s->original))
		w->is_ours = shared_set(s, &s->written, w->now) == 0 && shared_set(s, &s->readback, w->now) == 0;
	/* Gone and come back meanwhile. */
	if (w->now && !w->is_ours && s->fold == FOLD_IRQ && batch_settle_born(b, s, w->now, uuid) > 0)
		w->is_ours = true;
	if (!w->now) {
		/* It has answered nobody yet, and was told nothing. */
		if (w->rc == -ETIMEDOUT && w->be->comes_and_goes && streq(s->original, BACKEND_AWAY)) {
			count_back(b, w, count);
			return;
		}
		if (w->rc == -ETIMEDOUT)
			put_off(b, w);
		/* Gone with its value; or it cannot be read, then it cannot be put back either. */
		if (apply_failure(b->a, &o, s->original, w->rc, "not put back") == APPLY_ABSENT)
			count_back(b, w, count);
		else
			count->failed++;
		return;
	}
	/* What somebody else put back is back; with claims left it would have to be taken from him again. */
	if (!w->is_ours && (s->n_claims || !w->be->same(s->object, w->now, s->original))) {
		leave(b, w, count);
		return;
	}
	rc = batch_fold(b, w, &target);
	/* A daemon may show what it had before it was told, which it still takes up then. */
	if (rc == 0 && target && (w->be->comes_and_goes || !w->be->same(s->object, w->now, target)))
		w->target = steal_ptr(&target);
	else
		count_back(b, w, count);
}

/* One of many that the kernel does not move back (its CPUs are offline, no vector is left): nor will it later. */
static bool is_refused(const struct work *w)
{
	return w->be->is_many && (w->rc == -EINVAL || w->rc == -ENOSPC || w->rc == -EIO || w->rc == -EPERM);
}

static void abandon(struct batch *b, const struct work *w, struct apply_count *count)
{
	const struct apply_object o = object_of(w->s);

	apply_note_many(b->a, &o, -w->rc, w->now, w->target);
	/* The kernel's own choice: nobody who stays is to try, and to say it, again. */
	if ((w->rc == -EPERM || w->rc == -EIO) && w->now && shared_set(w->s, &w->s->original, w->now) == 0)
		(void)shared_set(w->s, &w->s->written, w->now);
	if (!b->left_counted)
		count->skipped++;
	b->left_counted = true;
}

/* What could not be put back stays on record, for the next release or the next who wants it. */
static bool is_finished(const void *data, unsigned int i)
{
	const struct batch *b = data;
	unsigned int w = b->of_shared[i];

	return b->l->shared[i].n_claims == 0 && !(w && b->w[w - 1].is_stuck);
}

/* Whether a step of keep[] is about what new interrupts get. */
static bool keeps_default(const struct steps *keep, unsigned int n_keep)
{
	for (unsigned int i = 0; i < n_keep; i++)
		for (unsigned int j = 0; j < keep[i].n; j++)
			if (keep[i].s[j].fold != FOLD_NONE && streq(keep[i].s[j].object, IRQ_DEFAULT))
				return true;
	return false;
}

/* Which entries steps of keep[] are about, by their index. NULL: no memory. */
static bool *find_wanted(struct ledger *l, const struct steps *keep, unsigned int n_keep)
{
	bool *wanted = calloc(l->n_shared ? l->n_shared : 1, sizeof(*wanted));

	for (unsigned int i = 0; i < n_keep && wanted; i++)
		for (unsigned int j = 0; j < keep[i].n; j++) {
			const struct step *k = &keep[i].s[j];
			const struct shared *s = k->fold == FOLD_NONE ? NULL : ledger_find_shared(l, k->backend, k->object);

			if (s)
				wanted[s - l->shared] = true;
		}
	return wanted;
}

int apply_release_shared(struct apply_run *a, struct ledger *l, const char *uuid, const struct steps *keep,
			 unsigned int n_keep, struct apply_count *count, struct err *e)
{
	_cleanup_(batch_fini) struct batch b = {.a = a, .l = l};
	int adopted = keeps_default(keep, n_keep) ? 0 : batch_adopt_born(a, l, uuid);
	_cleanup_free_ bool *wanted = find_wanted(l, keep, n_keep);
	const struct shared *keepers = ledger_find_shared(l, "irq", IRQ_DEFAULT);
	bool any = false, kept = keepers && shared_claim_of(keepers, uuid) && !(wanted && wanted[keepers - l->shared]);
	int rc = 0;

	if (adopted < 0 || !wanted || batch_init(&b, l->n_shared) < 0 || batch_find_keepers(&b) < 0)
		return err_set(e, ENOMEM, "%s", err_name(ENOMEM));
	if (kept)
		batch_drop_keeper(&b, uuid);
	for (unsigned int i = 0; i < l->n_shared; i++) {
		struct shared *s = &l->shared[i];

		if (s->n_claims && (!shared_claim_of(s, uuid) || wanted[i]))
			continue;
		unclaim(&b, s, uuid, count);
		if (n_keep) /* else the whole record goes */
			batch_forget_records(&b, s->backend, s->object, "unclaimed");
	}
	if (kept && batch_settle_interrupts(&b) < 0)
		return err_set(e, ENOMEM, "%s", err_name(ENOMEM));
	batch_add_unsettled(&b);
	batch_add_dependants(&b);
	for (unsigned int i = 0; i < b.n; i++)
		any |= b.w[i].target != NULL;
	if (any)
		rc = batch_commit(&b, e);
	for (unsigned int i = 0; i < b.n && any && rc == 0; i++) {
		struct work *w = &b.w[i];
		const struct apply_object o = object_of(w->s);

		if (!w->target)
			continue;
		if (is_refused(w))
			abandon(&b, w, count);
		else if (w->s->n_claims && !w->wish_ended && w->rc < 0) /* others', which a cause has reset */
			(void)apply_failure(a, &o, w->target, w->rc, "which another setting has reset");
		else if (w->rc < 0 && apply_failure(a, &o, w->target, w->rc, "not put back") != APPLY_ABSENT)
			w->is_stuck = true;
		else
			count_back(&b, w, count);
		count->failed += w->is_stuck;
	}
	apply_tell_many(a, NULL);
	if (rc == 0)
		ledger_prune_shared(l, is_finished, &b);
	return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared objects: a batch of them, from what is wanted to what is read back (apply_batch.h). */
#include "apply_batch.h"
#include "lines.h"

void batch_fini(struct batch *b)
{
	for (unsigned int i = 0; i < b->n; i++) {
		free(b->w[i].now);
		free(b->w[i].target);
	}
	free(b->w);
	free(b->of_shared);
	free(b->keepers);
	free(b->alike_order);
	free(b->alike_result);
	strindex_fini(&b->records);
}

/* Which of the domain's own records are about shared objects. */
static int index_records(struct batch *b)
{
	const struct undo *u = b->a->undo;

	for (unsigned int i = 0; u && i < u->n_steps; i++)
		if (u->steps[i].shared && u->steps[i].state != UNDO_UNDONE &&
		    strindex_add(&b->records, strindex_hash(u->steps[i].backend, u->steps[i].object), i) < 0)
			return -ENOMEM;
	return 0;
}

int batch_init(struct batch *b, unsigned int room)
{
	b->w = calloc(room ? room : 1, sizeof(*b->w));
	b->of_shared = calloc(room ? room : 1, sizeof(*b->of_shared));
	if (!b->w || !b->of_shared || index_records(b) < 0)
		return -ENOMEM;
	batch_begin_interrupts(b);
	return ledger_reserve_shared(b->l, room);
}

/*
 * A daemon's object. It was not there when we last looked: what it says now is its original. It may still say what it did
 * before our last word, or, begun anew, what it did at first: then it is told again.
 */
static bool settle_guest(struct work *w)
{
	struct shared *s = w->s;

	if (is_away(w->be, w->now))
		return true;
	if (streq(s->original, BACKEND_AWAY) && shared_set(s, &s->original, w->now) < 0)
		return false;
	return !s->readback || streq(s->readback, BACKEND_AWAY) || w->be->same(s->object, w->now, s->readback) ||
	       w->be->same(s->object, w->now, s->before) || w->be->same(s->object, w->now, s->original);
}

/* Whether the object still has what we gave it, and settle a write that was recorded ahead. */
static bool settle(struct work *w)
{
	struct shared *s = w->s;

	if (w->be->comes_and_goes)
		return settle_guest(w);
	/* What we meant counts as well: what the kernel had cut from it (CPUs of a partition that has gone) may have come back. */
	if (s->readback)
		return w->be->same(s->object, w->now, s->readback) || w->be->same(s->object, w->now, s->written);
	/* Of a dependant the cause's write may have made anything. */
	if (!is_dependant(s) && !w->be->same(s->object, w->now, s->written) &&
	    !w->be->same(s->object, w->now, s->before))
		return false;
	return shared_set(s, &s->readback, w->now) == 0;
}

/* What a domain claims that leaves an object to its cause; no value begins so. */
static bool is_follower(const char *wanted)
{
	return *wanted == '-';
}

bool shared_has_wish(const struct shared *s, const char *uuid)
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

const char *shared_followed(const struct shared *s)
{
	for (unsigned int i = 0; i < s->n_claims; i++)
		if (is_follower(s->claims[i].wanted) && s->claims[i].wanted[1])
			return s->claims[i].wanted + 1;
	return "";
}

int shared_note_followed(struct shared *s, const char *value)
{
	for (unsigned int i = 0; i < s->n_claims; i++) {
		_cleanup_free_ char *wanted = NULL;
		int rc;

		if (!is_follower(s->claims[i].wanted))
			continue;
		if (asprintf(&wanted, "-%s", value) < 0) {
			wanted = NULL;
			return -ENOMEM;
		}
		rc = shared_set_claim(s, s->claims[i].uuid, wanted);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int batch_fold(struct batch *b, const struct work *w, char **ret)
{
	const struct shared *s = w->s;
	_cleanup_free_ const char **values = calloc(s->n_claims ? s->n_claims : 1, sizeof(*values));
	unsigned int n = 0;

	if (!values)
		return -ENOMEM;
	*ret = NULL;
	if (is_away(w->be, w->now))
		return 0; /* it is told when it comes */
	if (only_followers(s) && !w->wish_ended)
		return 0;
	if (only_followers(s) && *shared_followed(s)) {
		*ret = strdup(shared_followed(s));
		return *ret ? 0 : -ENOMEM;
	}
	for (unsigned int i = 0; i < s->n_claims; i++)
		if (shared_is_wish(s->claims[i].wanted))
			values[n++] = s->claims[i].wanted;
	return s->fold == FOLD_IRQ ? batch_fold_interrupt(b, s, values, n, ret)
				   : fold_values(s->fold, s->order, s->original, values, n, ret);
}

struct shared *batch_new_entry(struct ledger *l, const struct shared *like, const char *object, const char *original,
			       const char *now)
{
	struct shared *s = ledger_add_shared(l, like->backend, object);

	if (!s || shared_set(s, &s->knob, like->knob) < 0 || shared_set(s, &s->target, like->target) < 0 ||
	    shared_set(s, &s->order, like->order) < 0 || shared_set(s, &s->cause, "") < 0 ||
	    shared_set(s, &s->original, original) < 0 || shared_set(s, &s->written, now) < 0 ||
	    shared_set(s, &s->before, now) < 0 || shared_set(s, &s->readback, now) < 0)
		return NULL;
	s->fold = like->fold;
	return s;
}

struct work *batch_add(struct batch *b, struct shared *s, const struct backend *be, char *now)
{
	unsigned int *known = &b->of_shared[s - b->l->shared];
	struct work *w;

	if (*known) {
		free(now);
		return &b->w[*known - 1];
	}
	w = &b->w[b->n];
	*known = b->n + 1;
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
void batch_add_unsettled(struct batch *b)
{
	for (unsigned int i = 0; i < b->l->n_shared; i++) {
		struct shared *s = &b->l->shared[i];
		struct work *w;
		int rc = 0;

		if (s->readback || !s->n_claims)
			continue;
		w = batch_add(b, s, apply_backend(b->a, s->backend, s->object, &rc), NULL);
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
void batch_add_dependants(struct batch *b)
{
	bool any = false;

	for (unsigned int i = 0; i < b->l->n_shared && !any; i++)
		any = is_dependant(&b->l->shared[i]);
	for (unsigned int i = 0; i < b->n && any; i++) {
		const struct work *cause = &b->w[i];

		for (unsigned int j = 0; cause->target && j < b->l->n_shared; j++) {
			struct shared *s = &b->l->shared[j];
			struct work *w;
			int rc = 0;

			if (!is_dependant(s) || !streq(s->cause, cause->s->object) ||
			    !streq(s->backend, cause->s->backend))
				continue;
			w = batch_add(b, s, apply_backend(b->a, s->backend, s->object, &rc), NULL);
			if (w->target || !w->is_ours)
				continue;
			w->rc = batch_fold(b, w, &w->target);
			w->is_reset = w->rc == 0 && !w->target;
			/* The kernel leaves alone what was chosen: what it would make of it otherwise is not known any more. */
			if (w->rc == 0 && !w->is_reset)
				w->rc = shared_note_followed(s, "");
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
		if (shared_set(w->s, &w->s->written, w->target ? w->target : w->now) < 0 ||
		    shared_set(w->s, &w->s->before, w->now) < 0)
			return err_set(e, ENOMEM, "%s", err_name(ENOMEM));
		shared_unsettle(w->s);
	}
	return ledger_write(b->a->fs, b->l, e);
}

/* As if it had not been there: whoever comes next tells it. */
static void tell_later(struct work *w)
{
	w->rc = shared_set(w->s, &w->s->written, BACKEND_AWAY) < 0 || shared_set(w->s, &w->s->readback, BACKEND_AWAY) < 0 ||
				replace_text(&w->now, BACKEND_AWAY) < 0
			? -ENOMEM
			: 0;
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
		/* It was only to keep its value, of which the cause leaves nothing, or for which it has no use now. */
		if ((w->rc == -EINVAL || w->rc == -EBUSY) && now && w->s->n_claims && !shared_has_wish(w->s, NULL))
			w->rc = 0;
		/* It is there a little later. */
		if (w->rc == 0 && w->be->comes_and_goes) {
			free(now);
			now = strdup(w->target);
		}
		if (w->rc == -ETIMEDOUT && w->be->comes_and_goes && w->s->n_claims) {
			tell_later(w);
			free(now);
			return;
		}
	}
	if (!now)
		return;
	free(w->now);
	w->now = now;
	/* Also after a failure: what it says now is what it was, or what we made of it. */
	if (shared_set(w->s, &w->s->readback, now) < 0 || (w->is_reset && shared_note_followed(w->s, now) < 0))
		w->rc = -ENOMEM;
}

/* By rank, then dependants after all causes. */
static unsigned int turn_of(const struct work *w)
{
	return is_dependant(w->s) ? BACKEND_RANK_MAX + 1 : w->be && w->be->rank ? w->be->rank(w->s->object) : 1;
}

/* Causes first; then their dependants, from what the causes left of them. */
static void carry_out(struct batch *b)
{
	for (unsigned int turn = 0; turn <= BACKEND_RANK_MAX + 1; turn++)
		for (unsigned int i = 0; i < b->n; i++) {
			struct work *w = &b->w[i];

			if ((w->target || w->is_reset) && turn_of(w) == turn)
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

int batch_commit(struct batch *b, struct err *e)
{
	int rc = write_ahead(b, e);

	if (rc == 0)
		carry_out(b);
	return rc;
}

struct undo_step *batch_next_record(const struct batch *b, const char *backend, const char *object, uint32_t hash,
				     unsigned int *at)
{
	unsigned int i;

	while (strindex_next(&b->records, hash, at, &i)) {
		struct undo_step *s = &b->a->undo->steps[i];

		if (s->state != UNDO_UNDONE && streq(s->object, object) && streq(s->backend, backend))
			return s;
	}
	return NULL;
}

void batch_forget_records(struct batch *b, const char *backend, const char *object, const char *result)
{
	uint32_t hash = strindex_hash(backend, object);
	const struct undo_step *s;
	unsigned int at = 0;

	while ((s = batch_next_record(b, backend, object, hash, &at)))
		(void)undo_undone(b->a->undo, s->number, result); /* for show only */
}

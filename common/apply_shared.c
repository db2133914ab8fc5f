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
#include "irq.h"
#include "lines.h"
#include "log.h"
#include "strindex.h"

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
	bool is_given_up; /* of many: it was refused, and is left as it was */
	int rc;
};

/* What a domain keeps interrupts off. */
struct keeper {
	char uuid[37];
	struct idset off;
};

struct batch {
	struct apply_run *a;
	struct ledger *l;
	struct work *w;
	unsigned int n;
	unsigned int *of_shared; /* index of its work + 1, by index of the ledger's entry; 0: none */
	struct strindex records; /* of the domain's own record: its shared steps, by back end and object */
	struct keeper *keepers; unsigned int n_keepers;
	/* The last interrupt that was folded, and what came of it: most of them are alike. */
	const struct shared *alike;
	char *alike_order, *alike_result;
	const char *off_text;    /* what `off` was made of; borrowed from a step */
	struct idset off;
	bool back_counted, left_counted; /* back: many objects count as one */
};

static void batch_fini(struct batch *b)
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

/* Room for so many objects of the ledger, and its entries may be pointed to. 0 or -ENOMEM. */
static int batch_init(struct batch *b, unsigned int room)
{
	b->w = calloc(room ? room : 1, sizeof(*b->w));
	b->of_shared = calloc(room ? room : 1, sizeof(*b->of_shared));
	return b->w && b->of_shared ? ledger_reserve_shared(b->l, room) : -ENOMEM;
}

static bool is_away(const struct backend *be, const char *now)
{
	return be && be->comes_and_goes && now && streq(now, BACKEND_AWAY);
}

static struct apply_object object_of(const struct shared *s)
{
	return (struct apply_object){s->knob, s->target, s->backend, s->object};
}

static bool is_dependant(const struct shared *s)
{
	return s->cause && *s->cause;
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
	if (streq(s->original, BACKEND_AWAY) && replace_text(&s->original, w->now) < 0)
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

/* --- interrupts ------------------------------------------------------------------------------------------------- */

/* What each domain keeps interrupts off is in its claim on what new ones get. */
static int find_keepers(struct batch *b)
{
	const struct shared *s = ledger_find_shared(b->l, "irq", IRQ_DEFAULT);

	free(b->keepers);
	b->n_keepers = 0;
	b->keepers = s && s->n_claims ? calloc(s->n_claims, sizeof(*b->keepers)) : NULL;
	if (s && s->n_claims && !b->keepers)
		return -ENOMEM;
	for (unsigned int i = 0; s && i < s->n_claims; i++) {
		struct keeper *k = &b->keepers[b->n_keepers];

		memcpy(k->uuid, s->claims[i].uuid, sizeof(k->uuid));
		if (s->claims[i].wanted[0] == '!' && idset_parse(s->claims[i].wanted + 1, &k->off) == 0)
			b->n_keepers++;
	}
	return 0;
}

static void drop_keeper(struct batch *b, const char *uuid)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < b->n_keepers; i++)
		if (!streq(b->keepers[i].uuid, uuid))
			b->keepers[n++] = b->keepers[i];
	b->n_keepers = n;
}

static bool has_claim(const struct shared *s, const char *uuid)
{
	for (unsigned int i = 0; i < s->n_claims; i++)
		if (streq(s->claims[i].uuid, uuid))
			return true;
	return false;
}

static bool is_alike(const struct shared *a, const struct shared *b)
{
	if (!a || a->n_claims != b->n_claims || !streq(a->original, b->original))
		return false;
	for (unsigned int i = 0; i < a->n_claims; i++)
		if (!streq(a->claims[i].wanted, b->claims[i].wanted))
			return false;
	return true;
}

/* With what the fold has to know of those who claim nothing of this interrupt: they are not to get it either. */
static int fold_interrupt(struct batch *b, const struct shared *s, const char *const *values, unsigned int n,
			  char **ret)
{
	struct idset off = IDSET_EMPTY;
	_cleanup_free_ char *not = NULL, *order = NULL;
	bool any = false;
	int rc;

	for (unsigned int i = 0; i < b->n_keepers && n; i++)
		if (!has_claim(s, b->keepers[i].uuid)) {
			idset_or(&off, &b->keepers[i].off);
			any = true;
		}
	order = any ? NULL : strdup(s->order ? s->order : "");
	not = any ? idset_text(&off) : NULL;
	if (any && (!not || asprintf(&order, "%s!%s", s->order ? s->order : "", not) < 0))
		order = NULL;
	if (!order)
		return -ENOMEM;
	if (is_alike(b->alike, s) && streq(b->alike_order, order)) {
		*ret = strdup(b->alike_result);
		return *ret ? 0 : -ENOMEM;
	}
	rc = fold_values(s->fold, order, s->original, values, n, ret);
	if (rc < 0)
		return rc;
	b->alike = replace_text(&b->alike_result, *ret) == 0 && replace_text(&b->alike_order, order) == 0 ? s : NULL;
	return 0;
}

/*
 * What all claims make of it. NULL: what it is, since the cause decides; but what a wish has made of it, which has ended
 * now, goes.
 */
static int fold_claims(struct batch *b, const struct work *w, char **ret)
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
	if (only_followers(s) && *followed_value(s)) {
		*ret = strdup(followed_value(s));
		return *ret ? 0 : -ENOMEM;
	}
	for (unsigned int i = 0; i < s->n_claims; i++)
		if (shared_is_wish(s->claims[i].wanted))
			values[n++] = s->claims[i].wanted;
	return s->fold == FOLD_IRQ ? fold_interrupt(b, s, values, n, ret)
				   : fold_values(s->fold, s->order, s->original, values, n, ret);
}

/* Take an entry into the batch; its object was read by the caller (taken over) or is read here. */
static struct work *add_work(struct batch *b, struct shared *s, const struct backend *be, char *now)
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
			w = add_work(b, s, apply_backend(b->a, s->backend, s->object, &rc), NULL);
			if (w->target || !w->is_ours)
				continue;
			w->rc = fold_claims(b, w, &w->target);
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

/* As if it had not been there: whoever comes next tells it. */
static void tell_later(struct work *w)
{
	w->rc = replace_text(&w->s->written, BACKEND_AWAY) < 0 || replace_text(&w->s->readback, BACKEND_AWAY) < 0 ||
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
		if ((w->rc == -EINVAL || w->rc == -EBUSY) && now && w->s->n_claims && !has_wish(w->s, NULL))
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
	if (replace_text(&w->s->readback, now) < 0 || (w->is_reset && note_followed(w->s, now) < 0))
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

/* What an object of the batch said when it was taken in. NULL: it is not in it. */
static const char *seen_in(const struct batch *b, const struct shared *s)
{
	unsigned int w = s ? b->of_shared[s - b->l->shared] : 0;

	return w ? b->w[w - 1].now : NULL;
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

static struct undo_step *next_record(const struct batch *b, const char *backend, const char *object, uint32_t hash,
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

/* One of many that was refused before. */
static bool was_given_up(const struct batch *b, const struct step *st)
{
	uint32_t hash = strindex_hash(st->backend, st->object);
	const struct backend *be = backend_find(st->backend);
	const struct undo_step *s;
	unsigned int at = 0;

	while (be && be->is_many && (s = next_record(b, st->backend, st->object, hash, &at)))
		if (s->state == UNDO_LEFT)
			return true;
	return false;
}

/* Of many an object that somebody else has moved is set from there, and that is what it goes back to. */
static int set_base(struct work *w)
{
	struct shared *s = w->s;

	if (replace_text(&s->original, w->now) < 0 || replace_text(&s->readback, w->now) < 0 ||
	    replace_text(&s->written, w->now) < 0)
		return -ENOMEM;
	w->is_ours = true;
	return 0;
}

/*
 * Whether a claim has anything to say of an interrupt that others claim: it is to come somewhere, or it is or would be
 * where it must not. Who had a claim keeps it.
 */
static bool concerns(struct batch *b, const struct shared *s, const char *now, const char *wanted, bool is_claimed)
{
	struct idset cpus;

	if (is_claimed || wanted[0] != '!')
		return true;
	/* It is the same one for all interrupts of a domain. */
	if (!b->off_text || !streq(b->off_text, wanted)) {
		if (idset_parse(wanted + 1, &b->off) < 0)
			return true;
		b->off_text = wanted;
	}
	return (idset_parse(now, &cpus) == 0 && idset_intersects(&cpus, &b->off)) ||
	       (s && idset_parse(s->original, &cpus) == 0 && idset_intersects(&cpus, &b->off));
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
	    !concerns(b, s, now, wanted, s && has_claim(s, a->undo->plan.uuid)))
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
		s = ledger_add_shared(b->l, st->backend, st->object);
		if (!s || replace_text(&s->knob, o.knob) < 0 || replace_text(&s->target, o.target) < 0 ||
		    replace_text(&s->order, order) < 0 || replace_text(&s->cause, "") < 0 ||
		    replace_text(&s->original, now) < 0 ||
		    replace_text(&s->written, now) < 0 || replace_text(&s->before, now) < 0 ||
		    replace_text(&s->readback, now) < 0)
			return -ENOMEM;
		s->fold = st->fold;
	}
	if (s->fold == FOLD_IRQ && st->order && !streq(s->order, st->order) && replace_text(&s->order, st->order) < 0)
		return -ENOMEM; /* CPUs have come or gone */
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

/* A daemon's object may not show yet what was told last (backend.h): that counts, whatever it says. */
static bool must_tell(const struct work *w, const char *target)
{
	return w->be->comes_and_goes && (!w->s->readback || !w->be->same(w->s->object, w->s->written, target));
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

	if (!w->is_ours && w->be->is_many && set_base(w) < 0) {
		*outcome = APPLY_FAILED;
		return;
	}
	if (is_away(w->be, w->now)) {
		if (replace_text(&w->s->readback, w->now) < 0 || replace_text(&w->s->written, w->now) < 0)
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
	rc = fold_claims(b, w, &target);
	if (rc < 0)
		*outcome = apply_failure(b->a, &o, "", rc, "left as it was");
	else if (target && !w->target &&
		 (must_tell(w, target) ||
		  ((w->insists || !w->be->same(w->s->object, w->now, target)) && !is_rounded(w, target))))
		w->target = steal_ptr(&target);
}

/* What an earlier run of this start has recorded about an object: from now on the new record speaks for it. */
static void forget_records(struct batch *b, const char *backend, const char *object, const char *result)
{
	uint32_t hash = strindex_hash(backend, object);
	const struct undo_step *s;
	unsigned int at = 0;

	while ((s = next_record(b, backend, object, hash, &at)))
		(void)undo_undone(b->a->undo, s->number, result); /* for show only */
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
		forget_records(b, s->backend, s->object, "superseded");
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
	if (number)
		(void)undo_left(b->a->undo, number, -w->rc, err_name(-w->rc)); /* without it it is tried once more */
	shared_drop_claim(w->s, b->a->undo->plan.uuid);
	w->is_given_up = true;
	if (w->now && (replace_text(&w->s->written, w->now) < 0 || replace_text(&w->s->readback, w->now) < 0))
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
	if (!of_step || !numbers || !out || batch_init(&b, room) < 0 || index_records(&b) < 0)
		return -ENOMEM;
	rc = claim_all(&b, s, n, of_step, outcome);
	if (rc == 0)
		rc = find_keepers(&b);
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
	for (unsigned int i = 0; i < b.n; i++)
		any |= b.w[i].target || b.w[i].is_reset;
	if (rc == 0 && any) /* else the write below is all there is to say */
		rc = commit(&b, e);
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

/* --- back ------------------------------------------------------------------------------------------------------- */

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
 * (add_unsettled(), or, without claims, apply_release_shared()).
 */
static void put_off(struct batch *b, struct work *w)
{
	char *target = NULL;

	if (fold_claims(b, w, &target) < 0 || !target)
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
	rc = fold_claims(b, w, &target);
	/* A daemon may show what it had before it was told, which it still takes up then. */
	if (rc == 0 && target && (w->be->comes_and_goes || !w->be->same(s->object, w->now, target)))
		w->target = steal_ptr(&target);
	else
		count_back(b, w, count);
}

/*
 * Who keeps interrupts off some CPUs goes: an interrupt that had to make do with what he left, without being his claim, has
 * its own choice again.
 */
static int settle_interrupts(struct batch *b)
{
	for (unsigned int i = 0; i < b->l->n_shared; i++) {
		struct shared *s = &b->l->shared[i];
		struct work probe = {.s = s, .be = backend_find(s->backend)}, *w;
		_cleanup_free_ char *target = NULL;
		int rc = 0;

		if (s->fold != FOLD_IRQ || !s->n_claims || b->of_shared[i] || !probe.be)
			continue;
		rc = fold_claims(b, &probe, &target);
		if (rc < 0)
			return rc;
		if (!target || probe.be->same(s->object, target, s->written))
			continue;
		w = add_work(b, s, apply_backend(b->a, s->backend, s->object, &rc), NULL);
		if (w->is_ours)
			w->target = steal_ptr(&target);
	}
	return 0;
}

/* One of many that the kernel does not move back (its CPUs are offline, no vector is left): nor will it later. */
static bool is_refused(const struct work *w)
{
	return w->be->is_many && (w->rc == -EINVAL || w->rc == -ENOSPC || w->rc == -EIO);
}

static void abandon(struct batch *b, const struct work *w, struct apply_count *count)
{
	const struct apply_object o = object_of(w->s);

	apply_note_many(b->a, &o, -w->rc, w->now, w->target);
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
	_cleanup_free_ bool *wanted = find_wanted(l, keep, n_keep);
	const struct shared *keepers = ledger_find_shared(l, "irq", IRQ_DEFAULT);
	bool any = false, kept = keepers && has_claim(keepers, uuid) && !(wanted && wanted[keepers - l->shared]);
	int rc = 0;

	if (!wanted || batch_init(&b, l->n_shared) < 0 || index_records(&b) < 0 || find_keepers(&b) < 0)
		return err_set(e, ENOMEM, "%s", err_name(ENOMEM));
	if (kept)
		drop_keeper(&b, uuid);
	for (unsigned int i = 0; i < l->n_shared; i++) {
		struct shared *s = &l->shared[i];

		if (s->n_claims && (!has_claim(s, uuid) || wanted[i]))
			continue;
		unclaim(&b, s, uuid, count);
		if (n_keep) /* else the whole record goes */
			forget_records(&b, s->backend, s->object, "unclaimed");
	}
	if (kept && settle_interrupts(&b) < 0)
		return err_set(e, ENOMEM, "%s", err_name(ENOMEM));
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

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared objects: what is special of interrupts (apply_batch.h). */
#include "apply_batch.h"
#include "irq.h"
#include "lines.h"

int batch_find_keepers(struct batch *b)
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

/* What new interrupts get, by the claims on it; false: it is not narrowed. */
static bool narrowed(const struct shared *d, struct idset *ret)
{
	struct idset original, off;

	if (!d || idset_parse(d->original, &original) < 0)
		return false;
	*ret = original;
	for (unsigned int i = 0; i < d->n_claims; i++)
		if (d->claims[i].wanted[0] == '!' && idset_parse(d->claims[i].wanted + 1, &off) == 0)
			idset_andnot(ret, &off);
	return !idset_is_empty(ret) && !idset_equal(ret, &original);
}

void batch_begin_interrupts(struct batch *b)
{
	b->was_narrow = narrowed(ledger_find_shared(b->l, "irq", IRQ_DEFAULT), &b->narrow);
}

static bool says(const char *now, const struct idset *cpus)
{
	struct idset set;

	return idset_parse(now, &set) == 0 && idset_equal(&set, cpus);
}

bool batch_is_born(const struct batch *b, const char *now)
{
	return b->was_narrow && says(now, &b->narrow);
}

/* The claim on what new ones get is the first of a domain's. */
static bool is_as_new(struct batch *b, const char *now)
{
	if (b->was_narrow && says(now, &b->narrow))
		return true;
	if (!b->narrow_known)
		b->is_narrow = narrowed(ledger_find_shared(b->l, "irq", IRQ_DEFAULT), &b->narrow_next);
	b->narrow_known = true;
	return b->is_narrow && says(now, &b->narrow_next);
}

/* Whoever keeps interrupts off has a say in one that goes back to what new ones got before him; but for one domain. */
static int claim_for_all(struct shared *s, const struct shared *d, const char *but)
{
	int rc = 0;

	for (unsigned int i = 0; i < d->n_claims && rc == 0; i++)
		if (!streq(d->claims[i].uuid, but) && !shared_has_claim(s, d->claims[i].uuid))
			rc = shared_set_claim(s, d->claims[i].uuid, d->claims[i].wanted);
	return rc;
}

int batch_set_born(struct batch *b, struct shared *s)
{
	const struct shared *d = ledger_find_shared(b->l, "irq", IRQ_DEFAULT);

	return shared_set(s, &s->original, d->original) < 0 ? -ENOMEM : claim_for_all(s, d, b->a->undo->plan.uuid);
}

static int adopt(struct ledger *l, const struct shared *d, const char *uuid, unsigned int irq, const char *object,
		 const char *now)
{
	struct shared *s = ledger_add_shared(l, "irq", object);
	char target[24];

	(void)snprintf(target, sizeof(target), "irq%u", irq); /* fits */
	if (!s || shared_set(s, &s->knob, d->knob) < 0 || shared_set(s, &s->target, target) < 0 ||
	    shared_set(s, &s->order, d->order) < 0 || shared_set(s, &s->cause, "") < 0 ||
	    shared_set(s, &s->original, d->original) < 0 || shared_set(s, &s->written, now) < 0 ||
	    shared_set(s, &s->before, now) < 0 || shared_set(s, &s->readback, now) < 0)
		return -ENOMEM;
	s->fold = FOLD_IRQ;
	return claim_for_all(s, d, uuid);
}

int batch_adopt_born(struct apply_run *a, struct ledger *l, const char *uuid)
{
	const struct backend *be = backend_find("irq");
	struct irq_set all = {0};
	const struct shared *d;
	struct idset narrow;
	int rc = 0;

	d = ledger_find_shared(l, "irq", IRQ_DEFAULT);
	if (!be || !d || !shared_has_claim(d, uuid) || !narrowed(d, &narrow) || irq_find_all(a->fs, &all) < 0)
		return 0;
	if (ledger_reserve_shared(l, l->n_shared + all.n) < 0)
		rc = -ENOMEM;
	d = ledger_find_shared(l, "irq", IRQ_DEFAULT);
	for (unsigned int i = 0; i < all.n && rc == 0; i++) {
		_cleanup_free_ char *now = NULL;
		char object[64];

		(void)snprintf(object, sizeof(object), IRQ_DIR "/%u/smp_affinity_list", all.irq[i]); /* fits */
		if (!ledger_find_shared(l, "irq", object) && apply_read(a, be, object, &now) == 0 && says(now, &narrow))
			rc = adopt(l, d, uuid, all.irq[i], object, now);
	}
	free(all.irq);
	return rc;
}

void batch_drop_keeper(struct batch *b, const char *uuid)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < b->n_keepers; i++)
		if (!streq(b->keepers[i].uuid, uuid))
			b->keepers[n++] = b->keepers[i];
	b->n_keepers = n;
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

int batch_fold_interrupt(struct batch *b, const struct shared *s, const char *const *values, unsigned int n,
			  char **ret)
{
	struct idset off = IDSET_EMPTY;
	_cleanup_free_ char *not = NULL, *order = NULL;
	bool any = false;
	int rc;

	for (unsigned int i = 0; i < b->n_keepers && n; i++)
		if (!shared_has_claim(s, b->keepers[i].uuid)) {
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

bool batch_concerns(struct batch *b, const struct shared *s, const char *now, const char *wanted, bool is_claimed)
{
	struct idset cpus;

	if (is_claimed || wanted[0] != '!' || (!s && is_as_new(b, now)))
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

bool batch_is_kept_off(const struct batch *b, const struct work *w)
{
	struct idset asked, given;

	for (unsigned int i = 0; i < w->s->n_claims; i++)
		if (streq(w->s->claims[i].uuid, b->a->undo->plan.uuid))
			return irq_asked(w->s->claims[i].wanted, &asked) && idset_parse(w->target, &given) == 0 &&
			       !idset_intersects(&asked, &given);
	return false;
}

int batch_settle_interrupts(struct batch *b)
{
	for (unsigned int i = 0; i < b->l->n_shared; i++) {
		struct shared *s = &b->l->shared[i];
		struct work probe = {.s = s, .be = backend_find(s->backend)}, *w;
		_cleanup_free_ char *target = NULL;
		int rc = 0;

		if (s->fold != FOLD_IRQ || !s->n_claims || b->of_shared[i] || !probe.be)
			continue;
		rc = batch_fold(b, &probe, &target);
		if (rc < 0)
			return rc;
		if (!target || probe.be->same(s->object, target, s->written))
			continue;
		w = batch_add(b, s, apply_backend(b->a, s->backend, s->object, &rc), NULL);
		if (w->is_ours)
			w->target = steal_ptr(&target);
	}
	return 0;
}

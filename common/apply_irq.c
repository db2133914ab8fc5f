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
		b->n_keepers += irq_kept_clear(s->claims[i].wanted, &k->off);
	}
	return 0;
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
		if (!shared_claim_of(s, b->keepers[i].uuid)) {
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

bool batch_concerns(struct batch *b, const struct shared *s, const char *object, const char *now, const char *wanted,
		    bool is_claimed)
{
	struct idset cpus;

	if (is_claimed || wanted[0] != '!' || (!s && batch_is_as_new(b, object, now)))
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
	const char *wanted = shared_claim_of(w->s, b->a->undo->plan.uuid);

	return wanted && irq_is_kept_off(wanted, w->target);
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

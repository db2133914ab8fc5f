/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Objects that were not there when their kind was recorded, and have their value from one that was (backend.h, source):
 * threads that a QEMU makes while it runs. What they would have without us is what their source had before us.
 *
 * Back, they need no record of their own. They are known by their source's, which stays open until they have been put
 * back, so a kill in between leaves it to the next undo to find them again.
 */
#include "apply_priv.h"

static bool is_open(const struct undo_step *s)
{
	return !s->shared && (s->state == UNDO_INTENT || s->state == UNDO_DONE);
}

static const struct undo_step *find_open(const struct undo *u, unsigned int n, const char *backend, const char *object)
{
	for (unsigned int i = n; i-- > 0;)
		if (is_open(&u->steps[i]) && streq(u->steps[i].object, object) && streq(u->steps[i].backend, backend))
			return &u->steps[i];
	return NULL;
}

const struct undo_step *apply_source(const struct undo *u, unsigned int n_before, const struct backend *be,
				     const char *object)
{
	char source[256];

	if (!be->source || !be->source(object, source, sizeof(source)))
		return NULL;
	return find_open(u, n_before, be->name, source);
}

struct heirs {
	struct apply_run *a;
	const struct undo_step *source;
	const struct backend *be;
	enum apply_outcome worst;
};

/* Whether it says what we gave its source. */
static bool is_inherited(const struct heirs *h, const char *object, const char *now)
{
	const struct undo_step *s = h->source;

	if (h->be->same(object, now, s->original))
		return false;
	return (s->readback && h->be->same(object, now, s->readback)) || h->be->same(object, now, s->wanted) ||
	       (s->before && h->be->same(object, now, s->before));
}

static void undo_heir(void *data, const char *object)
{
	struct heirs *h = data;
	const struct apply_object o = {h->source->knob, h->source->target, h->source->backend, object};
	_cleanup_free_ char *now = NULL, *again = NULL;
	enum apply_outcome outcome;
	int rc;

	if (find_open(h->a->undo, h->a->undo->n_steps, h->be->name, object) ||
	    apply_read(h->a, h->be, object, &now) < 0 || !is_inherited(h, object, now))
		return;
	rc = apply_write(h->a, h->be, object, h->source->original, &again);
	if (rc == 0 || err_classify(-rc) == ERR_ABSENT)
		return;
	outcome = apply_failure(h->a, &o, h->source->original, rc, "not put back");
	h->worst = outcome > h->worst ? outcome : h->worst;
}

enum apply_outcome apply_undo_heirs(struct apply_run *a, const struct undo_step *s)
{
	int rc = 0;
	const struct backend *be = apply_backend(a, s->backend, s->object, &rc);
	struct heirs h = {.a = a, .source = s, .be = be, .worst = APPLY_IN_FORCE};

	if (be && be->heirs)
		(void)be->heirs(a->fs, s->object, undo_heir, &h); /* its own object tells why they are not there */
	return h.worst;
}

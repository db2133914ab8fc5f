/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan_priv.h"

/* Annotation before profile; in each a name before "*". Less is nearer. */
static unsigned int distance(const struct tune_target *t, enum knob_id id)
{
	bool annotation = t->v[id].source && streq(t->v[id].source, "annotation");

	return (annotation ? 0u : 2u) + (streq(t->target, "*") ? 1u : 0u);
}

const struct value *plan_target_value(const struct intent *in, enum knob_id id, const char *name)
{
	const struct tune_target *best = NULL;

	for (size_t i = 0; i < in->n_targets; i++) {
		const struct tune_target *t = &in->targets[i];

		if (t->element != knob_table[id].element || !t->v[id].text ||
		    (!streq(t->target, name) && !streq(t->target, "*")))
			continue;
		if (!best || distance(t, id) < distance(best, id))
			best = t;
	}
	return best ? &best->v[id] : NULL;
}

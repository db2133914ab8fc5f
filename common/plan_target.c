/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Attributes of disks and interfaces: which of several that are meant for one counts, and what is meant for none.
 * The annotation's word comes before the profile's, and in each a name before "*".
 */
#include "plan_priv.h"

#include <strings.h>

#define OF_ALL "*"

static unsigned int distance(const struct tune_target *t, enum knob_id id)
{
	bool annotation = t->v[id].source && streq(t->v[id].source, "annotation");

	return (annotation ? 0u : 2u) + (streq(t->target, OF_ALL) ? 1u : 0u);
}

static bool is_disk(const void *object, const char *target)
{
	const struct domain_disk *k = object;

	return k && streq(target, k->target);
}

/* Alias, host device or MAC; the owner may have written the MAC in capitals. */
static bool is_interface(const void *object, const char *target)
{
	const struct domain_interface *i = object;

	return *target && (streq(target, i->alias) || streq(target, i->target) || strcasecmp(target, i->mac) == 0);
}

static const struct value *value_of(const struct intent *in, enum knob_id id,
				    bool (*is)(const void *object, const char *target), const void *object, bool of_all)
{
	const struct tune_target *best = NULL;

	for (size_t i = 0; i < in->n_targets; i++) {
		const struct tune_target *t = &in->targets[i];

		if (t->element != knob_table[id].element || !t->v[id].text ||
		    (streq(t->target, OF_ALL) ? !of_all : !is(object, t->target)))
			continue;
		if (!best || distance(t, id) < distance(best, id))
			best = t;
	}
	return best ? &best->v[id] : NULL;
}

/* What is said of all disks is not said of removable media, which come and go. */
const struct value *plan_disk_value(const struct intent *in, enum knob_id id, const struct domain_disk *disk)
{
	return value_of(in, id, is_disk, disk, !disk || !(disk->has & DISK_IS_REMOVABLE));
}

const struct value *plan_interface_value(const struct intent *in, enum knob_id id,
					 const struct domain_interface *interface)
{
	return value_of(in, id, is_interface, interface, true);
}

static bool is_any(const struct domain *d, enum knob_element element, const char *target)
{
	bool all = streq(target, OF_ALL);

	for (unsigned int i = 0; element == KNOB_ELEMENT_DISK && i < d->n_disks; i++)
		if (all || is_disk(&d->disks[i], target))
			return true;
	for (unsigned int i = 0; element == KNOB_ELEMENT_INTERFACE && i < d->n_interfaces; i++)
		if (all || is_interface(&d->interfaces[i], target))
			return true;
	return false;
}

/* An attribute that an earlier entry of the same target has said already: the annotation's come first. */
static bool is_said_before(const struct intent *in, size_t n, enum knob_id id)
{
	for (size_t i = 0; i < n; i++)
		if (in->targets[i].element == in->targets[n].element && in->targets[i].v[id].text &&
		    streq(in->targets[i].target, in->targets[n].target))
			return true;
	return false;
}

void plan_skip_targets(struct maker *m)
{
	const struct intent *in = m->in->intent;

	for (size_t i = 0; i < in->n_targets; i++) {
		const struct tune_target *t = &in->targets[i];
		bool there = is_any(m->in->domain, t->element, t->target);
		const char *what = knob_element_name(t->element);
		char shown[KNOB_SHOW_SIZE], none[KNOB_SHOW_SIZE + 48];

		(void)knob_show(t->target, shown);
		if (streq(t->target, OF_ALL))
			(void)snprintf(none, sizeof(none), "the domain has no %s", what); /* fits */
		else
			(void)snprintf(none, sizeof(none), "the domain has no %s '%s'", what, shown); /* fits */
		for (enum knob_id id = 0; id < KNOB_ID_MAX; id++) {
			const char *why = !there ? none : plan_not_yet(id);

			if (t->v[id].text && why && !is_said_before(in, i, id))
				plan_skip(m, id, shown, why);
		}
	}
}

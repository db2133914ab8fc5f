/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the objects of a class of service are (be_resctrl.c): its group, the default group that gives up ways for it, its
 * lines, and the threads that are in it.
 *
 * In this order, each only where what comes before it is in force: a class that cannot be made takes no ways from
 * anybody, and one that has its ways with everybody else is not narrowed to them.
 */
#include "step_priv.h"

#include <inttypes.h>

#include "resctrl.h"

/* A class is made by the first setting that asks for one. */
static bool makes_class(const struct expansion *x)
{
	for (size_t i = 0; i < x->plan->n_settings; i++) {
		const struct setting *s = &x->plan->settings[i];

		if (s->stage == x->setting->stage && (streq(s->knob, "cpu.cache") || streq(s->knob, "memory.bandwidth")))
			return s == x->setting;
	}
	return false;
}

static int add_line(struct expansion *x, const char *group, const struct resctrl_item *item, bool is_shared)
{
	char object[128];
	struct step *s;
	int r;

	(void)snprintf(object, sizeof(object), RESCTRL_DIR "/%s%sschemata %s:%u", group, *group ? "/" : "",
		       item->resource, item->id); /* fits */
	r = step_add(x, "resctrl", object, item->value, &s);
	if (r < 0)
		return r;
	s->fold = is_shared ? FOLD_RUN : FOLD_NONE;
	s->needs = s->setting;
	return 0;
}

int step_at_class(struct expansion *x)
{
	char group[sizeof(RESCTRL_PREFIX) + sizeof(x->plan->uuid)], object[128];
	int r = 0;

	(void)snprintf(group, sizeof(group), RESCTRL_PREFIX "%s", x->plan->uuid); /* fits */
	(void)snprintf(object, sizeof(object), RESCTRL_DIR "/%s", group);         /* fits */
	(void)snprintf(x->why, sizeof(x->why), "its value names no cache");       /* fits */
	if (makes_class(x))
		r = step_add(x, "resctrl", object, "there", NULL);
	/* The default group's lines, then those of the class. */
	for (int shared = 1; shared >= 0 && r == 0; shared--) {
		struct resctrl_item item = {.id = 0};
		const char *pos = x->value;

		while (r == 0 && resctrl_next(&pos, &item) > 0)
			if (!shared || resctrl_is_cache(item.resource))
				r = add_line(x, shared ? "" : group, &item, shared);
	}
	return r;
}

/* Threads to come are where the one is that makes them. */
int step_at_class_threads(struct expansion *x)
{
	char object[128];
	int r = 0;

	(void)snprintf(x->why, sizeof(x->why), "no thread of this QEMU can be told apart"); /* fits */
	for (unsigned int i = 0; i < x->run->n_threads && r == 0; i++) {
		const struct run_thread *t = &x->run->threads[i];

		/* A worker of vhost may be a process of its own, whose maker is not QEMU. */
		(void)snprintf(object, sizeof(object), RESCTRL_DIR "/tasks %d:%" PRIu64 "/%d:%" PRIu64,
			       t->is_process ? t->tid : x->run->pid, t->is_process ? t->start : x->run->start, t->tid,
			       t->start); /* four numbers fit */
		r = step_add(x, "resctrl", object, x->value, NULL);
	}
	return r;
}

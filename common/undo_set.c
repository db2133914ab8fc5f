/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A setting that is given another value while its domain runs, because the shared pool has changed. The plan has to
 * stay whole: what it says of threads and floaters is what `status` shows, and what steps of a later repair are
 * made of. A thread follows a setting of its own, or, without one, that of the whole domain if it was where that is.
 */
#include "lines.h"
#include "num.h"
#include "undo_priv.h"

static bool has_setting(const struct plan *p, const char *knob, const char *target)
{
	for (size_t i = 0; i < p->n_settings; i++)
		if (streq(p->settings[i].knob, knob) && streq(p->settings[i].target, target))
			return true;
	return false;
}

/* A thread without a setting of its own. */
static void move_with(const struct plan *p, const char *knob, const char *target, const struct idset *was,
		      const struct idset *now, struct idset *cpus)
{
	if (idset_equal(cpus, was) && !has_setting(p, knob, target))
		*cpus = *now;
}

static void move_domain(struct plan *p, const struct idset *was, const struct idset *now)
{
	struct placement *pl = &p->placement;
	char target[32];

	for (unsigned int i = 0; i < pl->n_vcpus; i++) {
		(void)snprintf(target, sizeof(target), "vcpu%u", i); /* fits */
		move_with(p, "cpu.policy", target, was, now, &pl->vcpus[i].cpus);
	}
	for (unsigned int i = 0; i < pl->n_iothreads; i++) {
		(void)snprintf(target, sizeof(target), "iothread%u", pl->iothreads[i].id); /* fits */
		move_with(p, "cpu.iothreads", target, was, now, &pl->iothreads[i].cpus);
	}
	move_with(p, "cpu.emulator", "", was, now, &pl->emulator);
}

/* The number behind a word: "vcpu3". UINT64_MAX: it is none. */
static uint64_t number_of(const char *target, const char *word)
{
	uint64_t n;

	return str_starts(target, word) && num_parse_u64(target + strlen(word), &n) == 0 ? n : UINT64_MAX;
}

static void move_thread(struct plan *p, const struct setting *s, const struct idset *now)
{
	struct placement *pl = &p->placement;
	uint64_t vcpu = streq(s->knob, "cpu.policy") ? number_of(s->target, "vcpu") : UINT64_MAX;
	uint64_t iothread = streq(s->knob, "cpu.iothreads") ? number_of(s->target, "iothread") : UINT64_MAX;

	if (streq(s->knob, "cpu.emulator"))
		pl->emulator = *now;
	if (vcpu < pl->n_vcpus)
		pl->vcpus[vcpu].cpus = *now;
	for (unsigned int i = 0; i < pl->n_iothreads; i++)
		if (pl->iothreads[i].id == iothread)
			pl->iothreads[i].cpus = *now;
}

static int set_value(struct plan *p, size_t i, const char *value)
{
	struct setting *s = &p->settings[i];
	struct idset was, now;
	bool moves = s->floater >= 0 && idset_parse(s->value, &was) == 0 && idset_parse(value, &now) == 0;
	int rc = replace_text(&s->value, value);

	if (rc < 0 || !moves)
		return rc;
	if ((unsigned int)s->floater < p->placement.n_floaters)
		p->placement.floaters[s->floater].now = now;
	if (streq(s->knob, "cpu.policy") && !*s->target)
		move_domain(p, &was, &now);
	else
		move_thread(p, s, &now);
	return 0;
}

int undo_take_value(struct undo *u, const struct record *r)
{
	uint64_t i = record_u64(r, 1, UINT64_MAX);

	if (r->n < 5 || i >= u->plan.n_settings || !streq(u->plan.settings[i].knob, r->f[2]) ||
	    !streq(u->plan.settings[i].target, r->f[3]))
		return -EINVAL;
	u->n_stale++;
	return set_value(&u->plan, (size_t)i, r->f[4]);
}

int undo_setting(struct undo *u, size_t i, const char *value)
{
	_cleanup_sbuf_ struct sbuf b = {0};
	const struct setting *s;
	struct number n;
	int rc;

	if (i >= u->plan.n_settings)
		return -EINVAL;
	s = &u->plan.settings[i];
	record_add(&b, "value", number(&n, i), s->knob, s->target, value, NULL);
	rc = undo_append(u, &b, true);
	return rc < 0 ? rc : set_value(&u->plan, i, value);
}

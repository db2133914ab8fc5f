/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A running domain whose plan was replaced: from what was done for the old one to what the new one says. What no
 * setting is about any more goes first, so that groups which are to be free again do not hold back what follows. Then
 * the new plan's steps are applied as for a start: those on record already keep their originals.
 *
 * The record is the same before and after, so a kill in between leaves a domain that `reconnect`, another `retune` or
 * `release` understands: the first two undo what is forgotten and apply what is missing.
 */
#include "apply_priv.h"
#include "irq.h"
#include "lines.h"
#include "log.h"
#include "num.h"

static void log_warnings(const struct undo *u, const struct steps *s)
{
	char line[ERR_TEXT_SIZE];

	for (size_t i = 0; i < s->warnings.n; i++) {
		(void)msg_format(&s->warnings.m[i], line, sizeof(line));
		log_warning("%s: %s", u->plan.name, line);
	}
}

/* Steps of both stages that `apply` carries out; what found no object is in the plan. */
static int make_steps(const struct hostfs *fs, struct undo *u, struct run *run, struct steps s[2])
{
	size_t n_before = u->plan.n_skipped;
	int rc;

	if (u->plan.observe)
		return 0;
	if (steps_need_starts(&u->plan, run))
		run_read_starts(fs, run);
	run_read_more(fs, run, &u->plan, false);
	rc = irq_refresh(fs, &u->plan);
	if (rc == 0)
		rc = steps_make(&u->plan, STAGE_PREPARE, NULL, &s[0]);
	if (rc == 0)
		rc = steps_make(&u->plan, STAGE_STARTED, run, &s[1]);
	for (size_t i = n_before; i < u->plan.n_skipped && rc == 0; i++)
		(void)undo_skipped(u, &u->plan.skipped[i]); /* for show only */
	return rc;
}

/*
 * The kernel refuses a quota below the burst (tg_set_cfs_bandwidth(), kernel/sched/core.c), and the new burst is never
 * above the new quota (step.c): so a burst that gets smaller goes first.
 */
void apply_order_burst(const struct undo *u, struct steps *s)
{
	unsigned int burst = s->n, quota = s->n;
	uint64_t had, wanted;
	struct step first;

	for (unsigned int i = 0; i < s->n; i++) {
		burst = streq(s->s[i].setting->knob, "cpu.burst") ? i : burst;
		quota = streq(s->s[i].setting->knob, "cpu.quota") ? i : quota;
	}
	if (burst == s->n || quota == s->n || burst < quota || num_parse_u64(s->s[burst].value, &wanted) < 0)
		return;
	for (unsigned int i = 0; i < u->n_steps; i++) {
		const struct undo_step *r = &u->steps[i];

		if ((r->state != UNDO_DONE && r->state != UNDO_INTENT) || !streq(r->object, s->s[burst].object) ||
		    num_parse_u64(r->state == UNDO_DONE ? r->readback : r->wanted, &had) < 0 || had <= wanted)
			continue;
		first = s->s[burst];
		s->s[burst] = s->s[quota];
		s->s[quota] = first;
		return;
	}
}

/* --- what is forgotten ------------------------------------------------------------------------------------------ */

static bool is_in_force(const struct undo_step *r)
{
	return r->state == UNDO_INTENT || r->state == UNDO_DONE;
}

static const struct setting *setting_of(const struct plan *p, const struct undo_step *r)
{
	for (size_t i = 0; i < p->n_settings; i++)
		if (streq(p->settings[i].knob, r->knob) && streq(p->settings[i].target, r->target))
			return &p->settings[i];
	return NULL;
}

static bool has_steps(const struct steps *s, unsigned int n, const struct setting *setting)
{
	for (unsigned int i = 0; i < n; i++)
		for (unsigned int j = 0; j < s[i].n; j++)
			if (s[i].s[j].setting == setting)
				return true;
	return false;
}

/* Objects of all steps, by index over s[0], s[1], ... in a row: there may be a thousand, and as many records. */
static int index_steps(const struct steps *s, unsigned int n, struct strindex *ret)
{
	unsigned int number = 0;

	for (unsigned int i = 0; i < n; i++)
		for (unsigned int j = 0; j < s[i].n; j++)
			if (strindex_add(ret, strindex_hash(s[i].s[j].backend, s[i].s[j].object), number++) < 0)
				return -ENOMEM;
	return 0;
}

/* Whether a step is about this object. */
static bool is_named(const struct steps *s, const struct strindex *x, const struct undo_step *r)
{
	uint32_t hash = strindex_hash(r->backend, r->object);
	unsigned int i, at = 0;

	while (strindex_next(x, hash, &at, &i)) {
		const struct steps *of = s;

		for (; i >= of->n; of++)
			i -= of->n;
		if (streq(of->s[i].object, r->object) && streq(of->s[i].backend, r->backend))
			return true;
	}
	return false;
}

/*
 * A setting that found none of its objects now is not forgotten: what is on record of it is kept, as steps in *ret.
 * 1: something is neither named nor kept; 0; -ENOMEM.
 */
static int find_forgotten(struct undo *u, const struct steps *s, unsigned int n, struct steps *ret)
{
	_cleanup_(strindex_fini) struct strindex objects = {0};
	bool any = false;

	if (index_steps(s, n, &objects) < 0)
		return -ENOMEM;
	for (unsigned int i = 0; i < u->n_steps; i++) {
		struct undo_step *r = &u->steps[i];
		const struct undo_step *cause = r->cause ? undo_find(u, r->cause) : NULL;
		const struct setting *setting = setting_of(&u->plan, r);
		struct step *kept;

		if (!is_in_force(r) || is_named(s, &objects, cause ? cause : r))
			continue;
		if (!setting || has_steps(s, n, setting)) {
			any = true;
			continue;
		}
		kept = GROW(ret->s, ret->n);
		if (!kept)
			return -ENOMEM;
		*kept = (struct step){.setting = setting, .backend = r->backend, .object = strdup(r->object),
				      .fold = r->shared ? FOLD_SUM : FOLD_NONE};
		ret->n++;
		if (!kept->object)
			return -ENOMEM;
	}
	return any;
}

int apply_undo_forgotten(const struct hostfs *fs, struct undo *u, const struct steps s[2], struct err *e)
{
	struct steps keep[3] = {s[0], s[1], {0}}; /* the last one is ours */
	struct apply_count back = {0};
	int rc = find_forgotten(u, s, 2, &keep[2]);
	char undone[128];

	if (rc > 0)
		rc = apply_undo_others(fs, u, keep, ARRAY_SIZE(keep), &back, e);
	else if (rc < 0)
		(void)err_set(e, -rc, "%s", err_name(-rc));
	steps_fini(&keep[2]);
	if (!apply_undone_any(&back))
		return rc;
	(void)apply_format_undone(&back, undone, sizeof(undone));
	log_notice("%s: of what was asked for before a retune, %s", u->plan.name, undone);
	return rc;
}

/* ---------------------------------------------------------------------------------------------------------------- */

int apply_retune(const struct hostfs *fs, struct undo *u, struct run *run, struct apply_count *ret,
		 struct apply_count *back, struct err *e)
{
	struct steps s[2] = {{0}, {0}};
	int rc = make_steps(fs, u, run, s);

	if (rc < 0)
		(void)err_set(e, -rc, "%s", err_name(-rc));
	if (rc == 0)
		rc = apply_undo_others(fs, u, s, ARRAY_SIZE(s), back, e);
	if (rc == 0)
		apply_order_burst(u, &s[1]);
	for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
		if (rc == 0 && (rc = apply_steps(fs, u, &s[i], ret)) < 0)
			(void)err_set(e, -rc, "%s", err_name(-rc));
		if (rc == 0)
			log_warnings(u, &s[i]);
		steps_fini(&s[i]);
	}
	return rc;
}

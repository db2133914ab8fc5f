/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A running domain whose plan was replaced: from what was done for the old one to what the new one says. What no
 * setting is about any more goes first, so that groups which are to be free again do not hold back what follows. Then
 * the new plan's steps are applied as for a start: those on record already keep their originals.
 *
 * The record is the same before and after, so a kill in between leaves a domain that `reconnect`, another `retune` or
 * `release` understands.
 */
#include "apply_priv.h"
#include "log.h"

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
	rc = steps_make(&u->plan, STAGE_PREPARE, NULL, &s[0]);
	if (rc == 0)
		rc = steps_make(&u->plan, STAGE_STARTED, run, &s[1]);
	for (size_t i = n_before; i < u->plan.n_skipped && rc == 0; i++)
		(void)undo_skipped(u, &u->plan.skipped[i]); /* for show only */
	return rc;
}

int apply_retune(const struct hostfs *fs, struct undo *u, struct run *run, struct apply_count *ret,
		 struct apply_count *back, struct err *e)
{
	struct steps s[2] = {{0}, {0}};
	int rc = make_steps(fs, u, run, s);

	if (rc < 0)
		(void)err_set(e, -rc, "%s", err_name(-rc));
	if (rc == 0)
		rc = apply_undo_others(fs, u, s, ARRAY_SIZE(s), back, e);
	for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
		if (rc == 0 && (rc = apply_steps(fs, u, &s[i], ret)) < 0)
			(void)err_set(e, -rc, "%s", err_name(-rc));
		if (rc == 0)
			log_warnings(u, &s[i]);
		steps_fini(&s[i]);
	}
	return rc;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/exec_result.h"
#include "tool/view.h"

static int take_answer(struct view_setting *v, const struct exec_result *a)
{
	char *effective = strdup(a->effective), *note = a->ok ? NULL : strdup(a->why);

	if (!effective || (!a->ok && !note)) {
		free(effective);
		free(note);
		return -ENOMEM;
	}
	free(v->effective);
	free(v->note);
	v->effective = effective;
	v->note = note;
	v->ok = a->ok;
	return 0;
}

int view_look(const struct hostfs *fs, struct view *v)
{
	const struct undo *u = &v->undo;
	struct exec_look *q = NULL;
	struct exec_result a;
	int r = 0;

	if (!v->has_record || u->plan.observe || u->phase != CLAIM_STARTED || u->pid == 0 ||
	    hostfs_proc_start(fs, u->pid) != u->pid_start)
		return 0;
	/* Gone meanwhile, or not ours to read: what is on record stays. */
	if (exec_look(fs, &u->plan, u->pid, true, &q) < 0)
		return 0;
	for (size_t i = 0; i < v->n_settings && r == 0; i++) {
		const struct setting *s = v->settings[i].setting;

		/* QEMU's CPUs follow the shared pool from then on: another setting's business. */
		if (s->stage != STAGE_EXEC || !str_starts(s->knob, "memory."))
			continue;
		exec_answer(q, s, &a);
		r = take_answer(&v->settings[i], &a);
	}
	exec_look_free(q);
	return r;
}

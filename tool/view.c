/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tool/view.h"

#include <strings.h>
#include <time.h>

#include "common/backend.h"
#include "common/num.h"
#include "common/sbuf.h"
#include "common/step.h"

/* What an object says now. text NULL: nothing can be said; gone: it ended with the domain. */
struct now {
	char *text;
	bool gone, not_here;
	int code;
};

/* One object of a setting. */
struct object {
	const char *backend, *name;
	const char *due;                /* what it should say */
	const char *wanted;             /* the setting's value as it is spelled there; due may be what became of it */
	const struct undo_step *record; /* NULL: it was not touched */
	bool shared;                    /* with other domains */
};

static int read_now(const struct hostfs *fs, const struct object *o, struct now *ret)
{
	const struct backend *be = backend_find(o->backend);
	char buf[BACKEND_VALUE_MAX];
	int r;

	*ret = (struct now){ 0 };
	if (!be) {
		ret->not_here = true;
		return 0;
	}
	/* Below another root a thread's number would name a stranger: the back end says so. */
	r = be->probe(fs, o->name);
	if (r == 0)
		r = be->read(fs, o->name, buf, sizeof(buf));
	if (r == -EACCES || r == -EPERM)
		return r;
	ret->not_here = r == -EOPNOTSUPP;
	ret->gone = r == -ENOENT && be->ends_with_domain;
	ret->code = r < 0 ? -r : 0;
	if (r >= 0)
		ret->text = strdup(buf);
	return r >= 0 && !ret->text ? -ENOMEM : 0;
}

static int put_text(char **to, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(*to);
	*to = copy;
	return 0;
}

static int note_drift(struct view_setting *v, const struct object *o, const struct now *now)
{
	const struct undo_step *s = o->record;
	char text[512];

	v->ok = false;
	if (s && s->state == UNDO_LEFT)
		(void)snprintf(text, sizeof(text), "%s", s->why && *s->why ? s->why : err_name(s->code));
	else if (s && s->state == UNDO_INTENT)
		(void)snprintf(text, sizeof(text), "interrupted before it was done");
	else if (now->text)
		(void)snprintf(text, sizeof(text), "changed by somebody else (%s)", o->name);
	else
		(void)snprintf(text, sizeof(text), "%s: %s", o->name, err_name(now->code));
	return v->note ? 0 : put_text(&v->note, text);
}

/*
 * Protection of a group counts only as far as each group above it has it (cgroup-v2.rst, memory.min): of the chain that
 * such a setting is made of, the least is what is in force. What is no number ("max", "unset") is no limit.
 */
static bool is_less_protection(const struct view_setting *v, const char *now)
{
	uint64_t a, b;

	return num_parse_u64(now, &a) == 0 && (num_parse_u64(v->effective, &b) < 0 || a <= b);
}

static bool is_chain(const struct setting *s)
{
	return streq(s->knob, "memory.min") || streq(s->knob, "memory.low");
}

/*
 * Whether an object's value stands for the setting: the first that is not as it should be, else the last (of a class
 * below a tree of all domains: the class, which is what the setting says, before what leads to it). A thread's affinity
 * that a group's write resets is checked, but does not stand for the setting.
 */
static bool stands_for(const struct object *o, const struct view_setting *v, bool drifts)
{
	if (!v->effective || is_chain(v->setting))
		return true;
	if ((o->record && o->record->cause) || v->drifts)
		return false;
	return drifts || v->only_shared || (!o->shared && !step_is_led(v->setting->knob));
}

static int join_object(const struct hostfs *fs, const struct object *o, struct view_setting *v)
{
	const struct backend *be = backend_find(o->backend);
	bool drifts, is_left = o->record && o->record->state == UNDO_LEFT;
	struct now now;
	int r = read_now(fs, o, &now);

	if (r < 0)
		return r;
	drifts = (is_left || (!now.not_here && !now.gone)) && !(be && now.text && be->same(o->name, o->due, now.text));
	if (drifts)
		r = note_drift(v, o, &now);
	if (now.text && !(o->record && o->record->cause) && !(be && be->same(o->name, o->wanted, now.text)))
		v->exact = false;
	if (now.text && v->effective && is_chain(v->setting) && !is_less_protection(v, now.text)) {
		free(now.text);
		return r;
	}
	if (r == 0 && now.text && stands_for(o, v, drifts)) {
		const char *slash = strrchr(o->name, '/');

		r = put_text(&v->effective, now.text);
		if (r == 0)
			r = put_text(&v->where, slash ? slash + 1 : o->name);
		if (r == 0 && o->record && o->record->state == UNDO_DONE && o->record->readback)
			r = put_text(&v->written, o->due);
		v->only_shared = o->shared;
		v->drifts = drifts;
	}
	free(now.text);
	return r;
}

/* A domain's own wish of a shared object; NULL: it has none. */
static const char *wish_of(const struct shared *s, const char *uuid)
{
	const char *wanted = s ? shared_claim_of(s, uuid) : NULL;

	return wanted && shared_is_wish(wanted) ? wanted : NULL;
}

static int join_step(const struct hostfs *fs, struct ledger *l, const char *uuid, const struct undo_step *s,
		     struct view_setting *v)
{
	struct object o = { .backend = s->backend, .name = s->object, .due = s->wanted,
			    .wanted = s->wanted, .record = s, .shared = s->shared };
	const struct shared *shared = s->shared ? ledger_find_shared(l, s->backend, s->object) : NULL;
	const char *original = shared && shared->original ? shared->original : s->original;
	int r = 0;

	if (shared)
		v->shared = shared;
	/* What is on record is what all claims made together. */
	if (wish_of(shared, uuid))
		o.wanted = wish_of(shared, uuid);
	if (!v->original)
		r = put_text(&v->original, original);
	if (s->state == UNDO_UNDONE || r < 0)
		return r;
	if (shared && (shared->readback || shared->written))
		o.due = shared->readback ? shared->readback : shared->written;
	else if (s->state == UNDO_DONE && s->readback)
		o.due = s->readback;
	if (s->state == UNDO_DONE && s->readback && !v->written)
		r = put_text(&v->written, o.due);
	return r < 0 ? r : join_object(fs, &o, v);
}

static int join_exec(const struct undo_exec *x, struct view_setting *v)
{
	int r = put_text(&v->effective, x->effective ? x->effective : "");

	v->ok = x->ok;
	if (r == 0 && x->ok)
		r = put_text(&v->written, v->setting->value);
	if (r == 0 && x->why && *x->why)
		r = put_text(&v->note, x->why);
	return r;
}

static bool is_skipped(const struct plan *p, const struct setting *s)
{
	for (size_t i = 0; i < p->n_skipped; i++)
		if (s->stage != STAGE_EXEC && streq(p->skipped[i].knob, s->knob) &&
		    streq(p->skipped[i].target, s->target))
			return true;
	return false;
}

/* Has the phase come in which settings of this stage are made? */
static bool is_due(enum stage stage, enum claim_phase phase)
{
	return stage == STAGE_PREPARE || (stage != STAGE_DEFINITION && phase != CLAIM_PREPARED);
}

/* One knob may have two settings, one that the wrapper makes and one for the running threads. */
static int join(const struct hostfs *fs, struct ledger *l, const struct undo *u, struct view_setting *v)
{
	bool exec = v->setting->stage == STAGE_EXEC, found = false;
	const char *lead = step_lead(v->setting->knob);
	int r = 0;

	v->ok = true;
	/* What QEMU made of it is in the setting's words anyway; the groups above a chain's own hold sums. */
	v->exact = !exec && !is_chain(v->setting);
	for (unsigned int i = 0; i < u->n_steps && r == 0 && !exec; i++) {
		const struct undo_step *s = &u->steps[i];

		if ((streq(s->knob, v->setting->knob) || (lead && streq(s->knob, lead))) &&
		    streq(s->target, v->setting->target)) {
			found = true;
			r = join_step(fs, l, u->plan.uuid, s, v);
		}
	}
	for (unsigned int i = 0; i < u->n_execs && r == 0 && exec; i++) {
		const struct undo_exec *x = &u->execs[i];

		if (streq(x->knob, v->setting->knob) && streq(x->target, v->setting->target)) {
			found = true;
			r = join_exec(x, v);
		}
	}
	if (r < 0)
		return r;
	found |= view_is_of_interrupts(v->setting) && !u->plan.observe;
	v->recorded = found;
	if (!found)
		v->pending = u->plan.observe || !is_due(v->setting->stage, u->phase) || u->phase == CLAIM_STOPPED;
	/* QEMU was looked at once it ran: no answer means that it could not be. */
	if (!found && !v->pending && v->setting->stage == STAGE_EXEC) {
		r = put_text(&v->note, "what QEMU made of it is not known");
		v->ok = false;
	}
	return r;
}

/* Settings that found no object are among the skipped ones of the record. */
static int join_all(const struct hostfs *fs, struct ledger *l, struct view *v)
{
	const struct plan *p = &v->undo.plan;
	int r = 0;

	v->settings = calloc(p->n_settings + 1, sizeof(*v->settings));
	if (!v->settings)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_settings && r == 0; i++) {
		if (is_skipped(p, &p->settings[i]))
			continue;
		v->settings[v->n_settings].setting = &p->settings[i];
		r = join(fs, l, &v->undo, &v->settings[v->n_settings++]);
	}
	return r;
}

/*
 * A shared object that nobody claims says what it should if this domain's wish would make no difference: CPUs are taken
 * away that it does not have. *ret: what it says then, NULL: it would.
 */
static int due_alone(const struct hostfs *fs, const struct step *step, char **ret)
{
	const struct backend *be = backend_find(step->backend);
	_cleanup_free_ char *now = malloc(BACKEND_VALUE_MAX), *whole = malloc(BACKEND_VALUE_MAX), *folded = NULL;
	const char *value = step->value, *order = step->order;
	int r;

	*ret = NULL;
	if (!now || !whole)
		return -ENOMEM;
	if (step->fold != FOLD_WITHOUT || !be || be->probe(fs, step->object) < 0 ||
	    be->read(fs, step->object, now, BACKEND_VALUE_MAX) < 0)
		return 0;
	if (be->whole && be->whole(fs, step->object, whole, BACKEND_VALUE_MAX) >= 0)
		order = whole;
	r = fold_values(step->fold, order, now, &value, 1, &folded);
	if (r == 0 && be->same(step->object, now, folded))
		*ret = steal_ptr(&now);
	return r == -ENOMEM ? r : 0;
}

/*
 * An object that said what we wanted before we came was not written and has no record; in observe mode none has.
 * They are looked up as `apply` would.
 */
static int join_unrecorded(const struct hostfs *fs, struct ledger *l, struct view *v, const struct steps *steps)
{
	int r = 0;

	for (size_t k = 0; k < v->n_settings && r == 0; k++) {
		struct view_setting *s = &v->settings[k];

		if (s->recorded || (s->pending && !v->undo.plan.observe))
			continue;
		for (unsigned int i = 0; i < steps->n && r == 0; i++) {
			const struct step *step = &steps->s[i];
			struct object o = { .backend = step->backend, .name = step->object, .due = step->value,
					    .wanted = step->value, .shared = step->fold != FOLD_NONE };
			_cleanup_free_ char *alone = NULL;
			const struct shared *shared;

			if (*step->target || !step_is_about(step->setting, s->setting) || (step->is_dependant && step->fold == FOLD_NONE) ||
			    step->restore_only)
				continue;
			shared = step->fold == FOLD_NONE ? NULL : ledger_find_shared(l, o.backend, o.name);
			if (wish_of(shared, v->undo.plan.uuid) && (shared->readback || shared->written)) {
				/* In force was already what another domain wants. */
				o.due = shared->readback ? shared->readback : shared->written;
				s->shared = shared;
				r = s->original ? 0 : put_text(&s->original, shared->original);
			} else if (o.shared && !shared) {
				r = due_alone(fs, step, &alone);
				if (alone)
					o.due = alone;
			}
			if (r == 0)
				r = join_object(fs, &o, s);
		}
		if (!s->pending)
			continue;
		free(s->note); /* in observe mode nothing was to be as wanted */
		s->note = NULL;
		s->ok = true;
	}
	return r;
}

static bool has_unrecorded(const struct view *v)
{
	for (size_t i = 0; i < v->n_settings; i++)
		if (!v->settings[i].recorded && (!v->settings[i].pending || v->undo.plan.observe) &&
		    v->settings[i].setting->stage != STAGE_EXEC)
			return true;
	return false;
}

static int look_up_unrecorded(const struct hostfs *fs, struct ledger *l, struct view *v)
{
	static const enum stage stages[] = { STAGE_PREPARE, STAGE_STARTED };
	struct run run;
	bool runs;
	int r = 0;

	if (!has_unrecorded(v))
		return 0;
	runs = run_find(fs, v->claim->name, &run, NULL) == 0;
	if (runs)
		run_read_more(fs, &run, &v->undo.plan, false);
	for (size_t i = 0; i < ARRAY_SIZE(stages) && r == 0; i++) {
		struct steps steps = { 0 };

		if (stages[i] == STAGE_STARTED && !runs)
			continue;
		r = steps_make(&v->undo.plan, stages[i], runs ? &run : NULL, &steps);
		if (r == 0)
			r = join_unrecorded(fs, l, v, &steps);
		steps_fini(&steps);
	}
	if (runs)
		run_fini(&run);
	return r;
}

static const char *name_of(const struct ledger *l, const char *uuid)
{
	const struct claim *c = ledger_see(l, uuid);

	return c ? c->name : uuid;
}

#define OTHERS_SAID 4 /* by name; what others want beyond that is counted */

/*
 * Where one of the wishes is in force, who wants which other one: "bfq is in force for web2", "web1 wants none". Sums are
 * everybody's.
 */
static int say_others(const struct ledger *l, const struct view *v, struct view_setting *s)
{
	const struct shared *shared = s->shared;
	const char *mine = wish_of(shared, v->undo.plan.uuid), *now = shared ? shared->written : NULL;
	unsigned int n = 0, more = 0;
	bool mine_wins;
	struct sbuf b = { 0 };

	if (!mine || !now || shared->fold == FOLD_SUM || s->is_part)
		return 0;
	mine_wins = streq(mine, now);
	for (unsigned int i = 0; i < shared->n_claims; i++) {
		const char *wanted = shared->claims[i].wanted;

		/* Who loses is told who wins, who wins is told who loses. */
		if (streq(shared->claims[i].uuid, v->undo.plan.uuid) || !shared_is_wish(wanted) ||
		    streq(wanted, mine) || (!mine_wins && !streq(wanted, now)))
			continue;
		if (n++ >= OTHERS_SAID)
			more++;
		else if (mine_wins)
			sbuf_addf(&b, "%s%s wants %s", b.len ? ", " : "", name_of(l, shared->claims[i].uuid), wanted);
		else
			sbuf_addf(&b, b.len ? ", %s%s" : "%s is in force for %s", b.len ? "" : now,
				  name_of(l, shared->claims[i].uuid));
	}
	if (more)
		sbuf_addf(&b, " and %u more", more);
	if (b.len == 0)
		return 0;
	s->others = sbuf_steal(&b);
	return s->others ? 0 : -ENOMEM;
}

const char *view_effective(const struct view_setting *s)
{
	return s->effective && s->where && s->exact ? s->setting->value : s->effective;
}

const char *view_state(const struct hostfs *fs, const struct claim *c)
{
	static const char *const phase[] = {
		[CLAIM_PREPARED] = "prepared",
		[CLAIM_STARTED] = "started",
		[CLAIM_STOPPED] = "stopped",
	};

	if (claim_is_dead(fs, c, true, false))
		return "dead";
	if (c->kind == CLAIM_FOREIGN)
		return "foreign";
	return c->kind == CLAIM_OBSERVE ? "observed" : phase[c->phase];
}

int view_make(const struct hostfs *fs, struct ledger *l, const struct claim *c, struct view *ret, struct err *e)
{
	struct view v = { .claim = c, .state = view_state(fs, c), .undo.fd = -1 };
	int r = undo_open(fs, c->uuid, false, &v.undo, e);

	if (r == -ENOENT || r == -ESTALE || r == -EBADMSG) {
		*ret = v;
		return 0;
	}
	if (r < 0)
		return r;
	v.has_record = true;
	r = join_all(fs, l, &v);
	if (r == 0)
		r = look_up_unrecorded(fs, l, &v);
	if (r == 0 && !v.undo.plan.observe)
		r = view_interrupts(fs, l, &v);
	for (size_t i = 0; i < v.n_settings && r == 0; i++)
		r = say_others(l, &v, &v.settings[i]);
	if (r < 0) {
		view_fini(&v);
		return err_set(e, -r, "%s",
			       r == -EACCES || r == -EPERM ? "only root can read its values" : err_name(-r));
	}
	*ret = v;
	return 0;
}

void view_fini(struct view *v)
{
	for (size_t i = 0; i < v->n_settings; i++) {
		free(v->settings[i].written);
		free(v->settings[i].effective);
		free(v->settings[i].where);
		free(v->settings[i].original);
		free(v->settings[i].note);
		free(v->settings[i].others);
	}
	for (size_t i = 0; i < v->n_later; i++)
		free(v->later[i].target);
	for (size_t i = 0; i < v->n_parts; i++) {
		free(v->parts[i].target);
		free(v->parts[i].value);
	}
	free(v->parts);
	free(v->settings);
	free(v->later);
	if (v->has_record)
		undo_fini(&v->undo);
	*v = (struct view){ .undo.fd = -1 };
}

static int by_name(const void *a, const void *b)
{
	const struct claim *x = *(const struct claim *const *)a, *y = *(const struct claim *const *)b;
	int r = strcmp(x->name, y->name);

	return r ? r : strcmp(x->uuid, y->uuid);
}

const struct claim **view_claims(const struct ledger *l)
{
	const struct claim **list = calloc((size_t)l->n_claims + 1, sizeof(*list));

	for (unsigned int i = 0; list && i < l->n_claims; i++)
		list[i] = &l->claims[i];
	if (list)
		qsort(list, l->n_claims, sizeof(*list), by_name);
	return list;
}

bool view_is_named(const struct claim *c, const char *operand)
{
	return streq(c->name, operand) || strcasecmp(c->uuid, operand) == 0;
}

const char *view_time(uint64_t when, char *buf, size_t size)
{
	time_t t = (time_t)when;
	struct tm tm;

	if (!when || !gmtime_r(&t, &tm) || !strftime(buf, size, "%Y-%m-%dT%H:%M:%SZ", &tm))
		buf[0] = '\0';
	return buf;
}

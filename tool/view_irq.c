/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Interrupts as status and verify see them: a row for each that the domain has a claim on, with where it really goes. One
 * that must stay off some CPUs is as it should be wherever else it is; one that is to come near, if it is there.
 *
 * Most interrupts move when the next one comes (kernel/irq/migration.c): until then their mask says the new place and the
 * effective one the old. That is no drift: what does not come disturbs nobody. It is said.
 */
#include "tool/view.h"

#include "common/backend.h"
#include "common/irq.h"
#include "common/num.h"
#include "common/sbuf.h"

/* What is said of a setting's interrupts together. */
struct sum {
	unsigned int n, bad, waiting, refused, kept_off;
};

bool view_is_of_interrupts(const struct setting *s)
{
	return streq(s->knob, "irq.policy");
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

static bool number_of(const char *target, unsigned int *ret)
{
	uint64_t irq;

	if (!str_starts(target, "irq") || num_parse_range(target + 3, 0, IRQ_MAX - 1, &irq) < 0)
		return false;
	*ret = (unsigned int)irq;
	return true;
}

static bool is_device_with(const struct plan *p, const struct setting *s, unsigned int irq)
{
	for (unsigned int i = 0; p->irqs && i < p->irqs->n_devices; i++)
		if (streq(p->irqs->devices[i].name, s->target) && irq_set_has(&p->irqs->devices[i].set, irq))
			return true;
	return false;
}

/* Index of the setting that an object belongs to; n_settings of the view: none of them is left. */
static size_t setting_of(const struct view *v, const char *target, bool is_local)
{
	size_t general = v->n_settings, device = v->n_settings;
	unsigned int irq;

	for (size_t i = 0; i < v->n_settings; i++) {
		const struct setting *s = v->settings[i].setting;

		if (!view_is_of_interrupts(s) || v->settings[i].is_part)
			continue;
		if (!*s->target) {
			general = i;
		} else if (number_of(target, &irq) && is_device_with(&v->undo.plan, s, irq)) {
			return i;
		} else if (device == v->n_settings) {
			device = i;
		}
	}
	return is_local || general == v->n_settings ? device : general;
}

/* Where it goes: by the file beside it; where there is none, as its mask says. "" not known. */
static int read_effective(const struct hostfs *fs, const struct shared *s, const char *now, char *buf, size_t size)
{
	unsigned int irq;

	if (number_of(s->target, &irq) &&
	    hostfs_read(fs, buf, size, IRQ_DIR "/%u/effective_affinity_list", irq) > 0)
		return 0;
	return snprintf(buf, size, "%s", now) < 0 ? -EINVAL : 0;
}

/* Whether that is where the domain wants it, whatever others want beside. */
static bool is_right(const struct shared *s, const char *wanted, const char *cpus)
{
	const char *mark = strchr(wanted, '!'), *due = s->readback ? s->readback : s->written;
	struct idset is, set;

	if (!mark || idset_parse(cpus, &is) < 0)
		return false;
	if (mark > wanted)
		return idset_parse(due, &set) == 0 && idset_is_subset(&is, &set);
	return idset_parse(mark + 1, &set) < 0 || !idset_intersects(&is, &set);
}

static int judge_interrupt(const struct hostfs *fs, const struct shared *s, const char *wanted, const char *now,
			   struct view_setting *row, struct sum *sum)
{
	char cpus[BACKEND_VALUE_MAX];
	int r = read_effective(fs, s, now, cpus, sizeof(cpus));

	if (r == 0)
		r = put_text(&row->effective, cpus);
	if (r < 0)
		return r;
	row->ok = is_right(s, wanted, cpus);
	sum->n++;
	if (!row->ok && is_right(s, wanted, now)) {
		row->ok = true;
		sum->waiting++;
		return put_text(&row->note, "the kernel moves it when the next one comes");
	}
	sum->bad += !row->ok;
	if (row->ok && irq_is_kept_off(wanted, s->written)) {
		sum->kept_off++;
		return put_text(&row->note, "another domain keeps interrupts off where this one wants it");
	}
	return row->ok ? 0 : put_text(&row->note, "moved by somebody else, or by the kernel");
}

static int judge_told(const struct backend *be, const struct shared *s, const char *now, struct view_setting *row)
{
	const char *due = s->readback ? s->readback : s->written;
	int r = put_text(&row->effective, now);

	if (r < 0 || be->same(s->object, now, due))
		return r;
	if (streq(due, BACKEND_AWAY)) {
		row->ok = false;
		return put_text(&row->note, "irqbalance was started since, and is told by the next phase, or by retune");
	}
	if (s->before && be->same(s->object, now, s->before))
		return put_text(&row->note, "irqbalance was told, and takes it up at its next scan");
	row->ok = false;
	return put_text(&row->note, "irqbalance was started anew, or somebody else has told it something");
}

/* Takes nothing; 1: a row was added, 0: there is nothing to show (irqbalance does not run), -errno. */
static int add_row(const struct hostfs *fs, const struct shared *s, const char *wanted, const struct setting *of,
		   struct setting *part, struct view_setting *row, struct sum *sum)
{
	const struct backend *be = backend_find(s->backend);
	char now[BACKEND_VALUE_MAX];
	int r = be ? be->read(fs, s->object, now, sizeof(now)) : -EOPNOTSUPP;

	*part = (struct setting){0};
	*row = (struct view_setting){.setting = of};
	if (r == -EACCES || r == -EPERM)
		return r;
	if (r < 0 || (be->comes_and_goes && streq(now, BACKEND_AWAY)))
		return 0; /* gone, with its value */
	*part = *of;
	part->target = strdup(s->target);
	part->value = strdup(s->written);
	part->current = NULL;
	*row = (struct view_setting){.setting = part, .shared = s, .ok = true, .recorded = true, .is_part = true};
	r = part->target && part->value ? put_text(&row->original, s->original) : -ENOMEM;
	if (r == 0 && s->readback)
		r = put_text(&row->written, s->readback);
	if (r == 0 && be->comes_and_goes)
		r = judge_told(be, s, now, row);
	else if (r == 0 && !be->same(s->object, now, s->readback ? s->readback : s->written) && streq(s->target, "default"))
		row->ok = false;
	if (r == 0 && !row->effective && s->fold == FOLD_IRQ && !streq(s->target, "default"))
		r = judge_interrupt(fs, s, wanted, now, row, sum);
	if (r == 0 && !row->effective)
		r = put_text(&row->effective, now);
	if (r == 0 && !row->ok && !row->note)
		r = put_text(&row->note, "changed by somebody else");
	return r < 0 ? r : 1;
}

static int say_sum(struct view_setting *v, const struct sum *sum)
{
	_cleanup_sbuf_ struct sbuf b = {0};
	int r;

	v->ok = sum->bad == 0;
	if (sum->n == 0 && sum->refused == 0 && *v->setting->target) {
		v->pending = true; /* its interrupts are still to come */
		return 0;
	}
	sbuf_addf(&b, "%u interrupt%s moved", sum->n, sum->n == 1 ? "" : "s");
	if (sum->bad)
		sbuf_addf(&b, ", %u of them %s elsewhere now", sum->bad, sum->bad == 1 ? "is" : "are");
	if (sum->waiting)
		sbuf_addf(&b, ", %u when the next one comes", sum->waiting);
	if (sum->kept_off)
		sbuf_addf(&b, ", %u kept off by another domain", sum->kept_off);
	if (sum->refused)
		sbuf_addf(&b, ", %u cannot be moved", sum->refused);
	r = b.failed ? -ENOMEM : put_text(&v->note, b.s);
	if (r == 0)
		r = put_text(&v->written, v->setting->value);
	if (r == 0)
		r = put_text(&v->effective, v->ok ? v->setting->value : "not as wanted");
	return r;
}

static void count_refused(const struct view *v, struct sum *sums)
{
	for (unsigned int i = 0; i < v->undo.n_steps; i++) {
		const struct undo_step *s = &v->undo.steps[i];
		unsigned int irq;
		size_t of;

		if (s->state != UNDO_LEFT || !streq(s->knob, "irq.policy") || !number_of(s->target, &irq))
			continue;
		of = setting_of(v, s->target, false);
		if (of < v->n_settings)
			sums[of].refused++;
	}
}

static bool has_any(const struct view *v)
{
	for (size_t i = 0; i < v->n_settings; i++)
		if (view_is_of_interrupts(v->settings[i].setting))
			return true;
	return false;
}

int view_interrupts(const struct hostfs *fs, struct ledger *l, struct view *v)
{
	const char *uuid = v->undo.plan.uuid;
	size_t n = v->n_settings;
	struct view_setting *rows;
	_cleanup_free_ struct sum *sums = calloc(n + 1, sizeof(*sums));
	int r = has_any(v) ? irq_refresh(fs, &v->undo.plan) : 0;

	if (!sums || r < 0)
		return -ENOMEM;
	if (!has_any(v))
		return 0;
	rows = reallocarray(v->settings, n + l->n_shared + 1, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	v->settings = rows;
	v->parts = calloc((size_t)l->n_shared + 1, sizeof(*v->parts));
	if (!v->parts)
		return -ENOMEM;
	for (unsigned int i = 0; i < l->n_shared && r >= 0; i++) {
		const struct shared *s = &l->shared[i];
		const char *wanted = shared_claim_of(s, uuid);
		size_t of = n;

		if (!wanted || !streq(s->knob, "irq.policy"))
			continue;
		v->n_settings = n; /* rows that were added are none to belong to */
		of = setting_of(v, s->target, wanted[0] != '!' && s->fold == FOLD_IRQ);
		v->n_settings = n + v->n_parts;
		if (of == n)
			continue;
		r = add_row(fs, s, wanted, v->settings[of].setting, &v->parts[v->n_parts], &rows[n + v->n_parts], &sums[of]);
		if (r != 0) /* also where it failed half-way: it is to be freed */
			v->n_parts++;
		v->n_settings = n + v->n_parts;
	}
	v->n_settings = n;
	count_refused(v, sums);
	for (size_t i = 0; i < n && r >= 0; i++)
		if (view_is_of_interrupts(rows[i].setting) && !rows[i].pending)
			r = say_sum(&rows[i], &sums[i]);
	v->n_settings = n + v->n_parts;
	return r < 0 ? r : 0;
}

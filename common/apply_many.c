/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What became of interrupts that did not go where they should, told together: one line for each kind of answer, with
 * numbers and the names of their handlers. A kind that nobody can do anything about is a notice. One that nobody has asked
 * for (it has no handler, though it is there) is not worth a word.
 */
#include "apply_priv.h"
#include "irq.h"
#include "lines.h"
#include "log.h"
#include "num.h"
#include "sbuf.h"

#define NAMES_SAID 6
#define VALUES_SAID 4

#define MANAGED "managed by the kernel, or bound to a CPU: left where they are"

static const struct {
	int code;
	enum log_level level;
	const char *words;
	bool skips; /* it is never done, so that `status` says it too */
} answers[] = {
	{EIO, LOG_LVL_NOTICE, MANAGED, true},
	{EPERM, LOG_LVL_NOTICE, MANAGED, true},
	{ENOSPC, LOG_LVL_WARNING, "no interrupt vector is left on the CPUs they should come to: left where they are", true},
	{EINVAL, LOG_LVL_WARNING, "the kernel refuses the CPUs they should come to: left where they are", true},
	{ENOENT, LOG_LVL_NOTICE, "vanished meanwhile", false},
	{APPLY_KEPT_OFF, LOG_LVL_NOTICE, "another domain keeps interrupts off the CPUs they should come to", false},
	{APPLY_MOVED, LOG_LVL_NOTICE, "moved by somebody else since: left", false},
};

void apply_note_many(struct apply_run *a, const struct apply_object *o, int code, const char *now, const char *wanted)
{
	struct apply_many *m = GROW(a->many, a->n_many);
	char *target = strdup(o->target);

	log_debug("%s: %s: %s %s: wanted %.64s, is %.64s: %s", a->name, o->target, o->backend, o->object,
		  wanted ? wanted : "", now ? now : "",
		  code == APPLY_MOVED      ? "moved by somebody else"
		  : code == APPLY_KEPT_OFF ? "kept off"
		  : code		   ? err_name(code)
					   : "narrowed");
	if (!m || !target) {
		free(target);
		return;
	}
	*m = (struct apply_many){target, now ? strdup(now) : NULL, wanted ? strdup(wanted) : NULL, code};
	a->n_many++;
}

/* "nvme0q7": its number begins behind the q; at its end where it has none. */
static size_t number_at(const char *name)
{
	size_t n = strlen(name);

	while (n && name[n - 1] >= '0' && name[n - 1] <= '9')
		n--;
	return n;
}

/* Names in a row: "nvme0q1..8, eth0-rx-0". */
struct names {
	struct sbuf b;
	char last[IRQ_NAME_MAX];
	unsigned int n, more;
	bool open; /* last is the end of a row that is not said yet */
};

static void close_row(struct names *n)
{
	if (n->open)
		sbuf_addf(&n->b, "..%s", n->last + number_at(n->last));
	n->open = false;
}

static void add_name(struct names *n, const char *name)
{
	size_t at = number_at(name);

	if (n->n && name[at] && number_at(n->last) == at && strncmp(n->last, name, at) == 0) {
		n->open = true;
	} else {
		close_row(n);
		if (n->n >= NAMES_SAID) {
			n->more++;
			return;
		}
		sbuf_addf(&n->b, "%s%s", n->n ? ", " : "", name);
		n->n++;
	}
	(void)snprintf(n->last, sizeof(n->last), "%s", name); /* cut: it is for people */
}

/* "irq 24-31 (nvme0q1..8)" of all with this answer; NULL: of none, or of such as nobody uses. */
static char *say_group(const struct apply_run *a, int code, struct idset *ret)
{
	struct names names = {0};
	_cleanup_sbuf_ struct sbuf b = {0};
	_cleanup_free_ char *numbers = NULL;
	bool is_default = false;

	*ret = IDSET_EMPTY;
	for (unsigned int i = 0; i < a->n_many; i++) {
		const struct apply_many *m = &a->many[i];
		char name[IRQ_NAME_MAX];
		uint64_t irq;

		if (m->code != code)
			continue;
		if (!str_starts(m->target, "irq") || num_parse_range(m->target + 3, 0, IRQ_MAX - 1, &irq) < 0) {
			is_default = true;
			continue;
		}
		irq_names(a->fs, (unsigned int)irq, name, sizeof(name));
		if (!*name && code != APPLY_MOVED && code != ENOENT)
			continue;
		idset_add(ret, (unsigned int)irq);
		if (*name)
			add_name(&names, name);
	}
	close_row(&names);
	numbers = idset_text(ret);
	if (numbers && *numbers)
		sbuf_addf(&b, "irq %s%s%s", numbers, names.n ? " (" : "", names.n ? names.b.s : "");
	if (names.more)
		sbuf_addf(&b, " and %u more", names.more);
	if (names.n)
		sbuf_add(&b, ")");
	if (is_default)
		sbuf_addf(&b, "%sthe default of new interrupts", b.len ? ", " : "");
	sbuf_fini(&names.b);
	return b.len ? sbuf_steal(&b) : NULL;
}

/* What `status` shows: for show only, so that nothing is lost if it cannot be recorded. */
static void record_skipped(struct apply_run *a, const char *knob, const char *group, const struct idset *irqs,
			   const char *words)
{
	_cleanup_free_ char *numbers = idset_text(irqs), *target = NULL, *why = NULL;
	const char *names = strchr(group, '(');

	if (!numbers || asprintf(&target, "irq%s", numbers) < 0) {
		target = NULL;
		return;
	}
	if (asprintf(&why, "%s%s%s", names ? names : "", names ? ": " : "", words) < 0) {
		why = NULL;
		return;
	}
	if (plan_add_skipped(&a->undo->plan, knob, target, why) == 0)
		(void)undo_skipped(a->undo, &a->undo->plan.skipped[a->undo->plan.n_skipped - 1]);
}

static void tell_narrowed(const struct apply_run *a)
{
	_cleanup_sbuf_ struct sbuf b = {0};
	unsigned int n = 0;

	for (unsigned int i = 0; i < a->n_many; i++) {
		const struct apply_many *m = &a->many[i];

		if (m->code || n++ >= VALUES_SAID)
			continue;
		sbuf_addf(&b, "%s%s wanted %.64s, is %.64s", b.len ? "; " : "", m->target, m->wanted ? m->wanted : "?",
			  m->now ? m->now : "?");
	}
	if (n > VALUES_SAID)
		sbuf_addf(&b, "; and %u more", n - VALUES_SAID);
	if (n)
		log_warning("%s: irq.policy: the kernel has narrowed what was written: %s", a->name, b.s ? b.s : "");
}

static const char *words_of(int code, enum log_level *ret_level, bool *ret_skips)
{
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		if (answers[i].code == code) {
			*ret_level = answers[i].level;
			*ret_skips = answers[i].skips;
			return answers[i].words;
		}
	*ret_level = LOG_LVL_WARNING;
	*ret_skips = true;
	return err_name(code);
}

static void tell_code(struct apply_run *a, const char *knob, int code)
{
	enum log_level level;
	bool skips;
	const char *words = words_of(code, &level, &skips);
	struct idset irqs;
	_cleanup_free_ char *group = say_group(a, code, &irqs);

	if (!group)
		return;
	log_msg(a->quiet ? LOG_LVL_DEBUG : level, "%s: irq.policy: %s: %s", a->name, group, words);
	if (knob && a->undo && skips && !idset_is_empty(&irqs))
		record_skipped(a, knob, group, &irqs, words);
}

void apply_tell_many(struct apply_run *a, const char *knob)
{
	if (!a->n_many)
		return;
	tell_narrowed(a);
	for (unsigned int i = 0; i < a->n_many; i++) {
		bool was_told = a->many[i].code == 0;

		for (unsigned int k = 0; k < i && !was_told; k++) /* of the same answer nearly always the first */
			was_told = a->many[k].code == a->many[i].code;
		if (!was_told)
			tell_code(a, knob, a->many[i].code);
	}
	for (unsigned int i = 0; i < a->n_many; i++) {
		free(a->many[i].target);
		free(a->many[i].now);
		free(a->many[i].wanted);
	}
	free(a->many);
	a->many = NULL;
	a->n_many = 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tool/site.h"

#include "common/backend.h"
#include "common/facts.h"
#include "common/foreign.h"
#include "common/paths.h"
#include "common/num.h"
#include "common/qemucaps.h"
#include "common/step.h"
#include "common/tasks.h"
#include "common/undo.h"
#include "tool/out.h"

int site_drop_dead(const struct hostfs *fs, struct ledger *l, bool judge_root)
{
	for (unsigned int i = 0; i < l->n_claims;) {
		char uuid[sizeof(l->claims[i].uuid)];

		if (!claim_is_dead(fs, &l->claims[i], true, judge_root)) {
			i++;
			continue;
		}
		memcpy(uuid, l->claims[i].uuid, sizeof(uuid)); /* removal moves the claims */
		ledger_remove(l, uuid);
	}
	return 0;
}

int site_load(struct tool *t, struct site *ret)
{
	struct ledger found = { 0 };
	struct err e = ERR_INIT;
	int r;

	*ret = (struct site){ 0 };
	r = host_read(&t->fs, &ret->host, &e);
	if (r < 0)
		return tool_fail_err(t->root ? t->root : "host", r, &e);
	r = policy_load(&t->fs, &ret->policy);
	if (r < 0) {
		(void)tool_fail_err(tool_path(t, PATH_POLICY), r, NULL);
		goto fail;
	}
	r = ledger_read(&t->fs, &ret->ledger, &e);
	if (r == -EACCES || r == -EPERM) {
		tool_note(tool_path(t, PATH_LEDGER), "cannot be read, claims of other domains are not known");
	} else if (r < 0) {
		(void)tool_fail_err(tool_path(t, PATH_LEDGER), r, &e);
		goto fail;
	}
	(void)site_drop_dead(&t->fs, &ret->ledger, false);
	/* What the next start would find: domains that ran before the first one. Only root can see them. */
	if (!ret->ledger.foreign_read &&
	    (foreign_scan(&t->fs, &ret->ledger, &ret->host.online, &found) < 0 ||
	     foreign_merge(&ret->ledger, &found) < 0)) {
		ledger_fini(&found);
		(void)tool_fail_err(tool_path(t, PATH_LIBVIRT_RUN), -ENOMEM, NULL);
		goto fail;
	}
	ledger_fini(&found);
	place_update_pools(&ret->ledger, &ret->host); /* of our copy */
	return 0;
fail:
	site_fini(ret);
	return TOOL_CANNOT;
}

void site_fini(struct site *s)
{
	ledger_fini(&s->ledger);
	policy_fini(&s->policy);
	host_fini(&s->host);
}

/* Which emulator is behind the domain's, and which QEMU that is. emulator holds 4096 bytes. */
static struct plan_wrapper look_up_wrapper(const struct hostfs *fs, const struct domain *d, bool assume, char *emulator)
{
	struct plan_wrapper w = { .present = qemucaps_is_wrapper(d->emulator), .emulator = emulator };

	emulator[0] = '\0';
	if (!w.present && !assume)
		return w;
	if (!w.present)
		(void)snprintf(emulator, 4096, "%s", d->emulator);
	else if (qemucaps_real_emulator(fs, d->uuid, d->emulator, emulator, 4096) < 0)
		emulator[0] = '\0';
	/* libvirt's cache has a file per path it probed: the wrapper's own, or that of the emulator behind it. */
	w.qemu = qemucaps_version(fs, d->emulator);
	if (!w.qemu)
		w.qemu = qemucaps_version(fs, emulator);
	w.present |= assume;
	return w;
}

static int add_current_of(const struct hostfs *fs, const struct steps *steps, struct plan *p)
{
	for (unsigned int i = 0; i < steps->n; i++) {
		const struct step *step = &steps->s[i];
		struct setting *s = &p->settings[step->setting - p->settings];
		const struct backend *be = backend_find(step->backend);
		char buf[BACKEND_VALUE_MAX];
		char *copy;

		/*
		 * A dependant of the domain's own is no more than what its cause may reset; what others share of a vital one
		 * says nothing about its own part; what a daemon was told is no value of the host.
		 */
		if (*s->current || step->restore_only || (step->is_dependant && step->fold == FOLD_NONE) ||
		    (step->is_vital && step->fold != FOLD_NONE) || !be || be->comes_and_goes ||
		    be->probe(fs, step->object) < 0 || be->read(fs, step->object, buf, sizeof(buf)) < 0)
			continue;
		copy = strdup(buf);
		if (!copy)
			return -ENOMEM;
		free(s->current);
		s->current = copy;
	}
	return 0;
}

/* What the objects of settings say now, as far as there are objects yet: all of a running domain's, else the host's. */
static int add_current(const struct hostfs *fs, bool running, struct plan *p)
{
	static const enum stage stages[] = { STAGE_PREPARE, STAGE_STARTED };
	struct run run;
	bool runs = running && run_find(fs, p->name, &run, NULL) == 0;
	int r = 0;

	if (runs)
		run_read_more(fs, &run, p, false);
	for (size_t i = 0; i < ARRAY_SIZE(stages) && r == 0; i++) {
		struct steps steps = { 0 };

		if (stages[i] == STAGE_STARTED && !runs)
			continue;
		r = stages[i] == STAGE_PREPARE ? irq_refresh(fs, p) : 0;
		if (r == 0)
			r = steps_make(p, stages[i], runs ? &run : NULL, &steps);
		if (r == 0)
			r = add_current_of(fs, &steps, p);
		steps_fini(&steps);
	}
	if (runs)
		run_fini(&run);
	return r;
}

int site_plan(struct tool *t, const struct site *s, const char *label, const char *xml, size_t len,
	      const struct plan_options *o, struct planned *ret)
{
	struct planned p = { 0 };
	struct undo was = { .fd = -1 };
	_cleanup_free_ struct facts *facts = calloc(1, sizeof(*facts));
	struct plan_inputs in;
	struct err e = ERR_INIT;
	char emulator[4096];
	int r;

	r = domain_parse(xml, len, &p.domain, &e);
	if (r < 0)
		return tool_fail_err(label, r, &e);
	r = intent_make(&t->fs, &s->policy, &p.domain, o->profile, o->sets, &p.intent, &e);
	if (r == -EINVAL) {
		planned_fini(&p);
		return tool_fail(TOOL_USAGE, "--set", "%s", e.text);
	}
	if (r < 0) {
		planned_fini(&p);
		return tool_fail_err(label, r, &e);
	}
	in = (struct plan_inputs){
		.domain = &p.domain,
		.intent = &p.intent,
		.policy = &s->policy,
		.host = &s->host,
		.ledger = &s->ledger,
		.wrapper = look_up_wrapper(&t->fs, &p.domain, o->assume_wrapper, emulator),
		.running = o->running,
	};
	r = facts ? facts_learn(&t->fs, &p.domain, &p.intent, &s->host, facts, &e) : -ENOMEM;
	if (r < 0) {
		if (facts)
			facts_fini(facts);
		planned_fini(&p);
		return tool_fail_err(label, r, facts ? &e : NULL);
	}
	facts_fill(facts, &in);
	/* What it was started with, as `retune` sees it; others than root see its CPUs only. */
	if (o->running && uuid_is_valid(p.domain.uuid) && undo_open(&t->fs, p.domain.uuid, false, &was, NULL) == 0)
		in.was = &was.plan;
	r = plan_make(&in, &p.plan);
	facts_fini(facts);
	if (in.was)
		undo_fini(&was);
	if (r == 0)
		r = add_current(&t->fs, o->running, &p.plan);
	if (r < 0) {
		planned_fini(&p);
		return tool_fail_err(label, r, NULL);
	}
	/* `decide` logs these when the file has changed; here they belong to the plan that they have shaped. */
	for (size_t i = 0; i < s->policy.msgs.n; i++) {
		const struct msg *m = &s->policy.msgs.m[i];

		msgs_add(&p.plan.warnings, m->level, m->file, m->line, m->column, "%s", m->text);
	}
	*ret = p;
	return 0;
}

void planned_fini(struct planned *p)
{
	plan_fini(&p->plan);
	intent_fini(&p->intent);
	domain_fini(&p->domain);
}

const char *site_source_name(enum profile_source s)
{
	static const char *const name[] = {
		[PROFILE_ANNOTATION] = "annotation",
		[PROFILE_RULE] = "rule",
		[PROFILE_DEFAULT] = "default",
		[PROFILE_NONE] = "none",
	};

	return name[s];
}

char *site_set_text(const struct idset *s)
{
	return idset_is_empty(s) ? strdup("-") : idset_text(s);
}

static void json_set(struct json *j, const char *key, const struct idset *s)
{
	_cleanup_free_ char *text = idset_text(s);

	json_str(j, key, text);
}

void site_json_placement(struct json *j, const struct placement *p)
{
	json_object(j, "placement");
	json_str(j, "policy", place_policy_name(p->policy));
	json_set(j, "nodes", &p->nodes);
	json_set(j, "memory_nodes", &p->memory_nodes);
	json_str(j, "memory_policy", place_memory_name(p->memory_policy));
	json_list(j, "vcpus");
	for (unsigned int i = 0; i < p->n_vcpus; i++) {
		if (idset_is_empty(&p->vcpus[i].cpus)) /* offline */
			continue;
		json_object_line(j, NULL);
		json_u64(j, "vcpu", i);
		json_set(j, "cpus", &p->vcpus[i].cpus);
		json_close(j);
	}
	json_close(j);
	json_set(j, "emulator", &p->emulator);
	json_list(j, "iothreads");
	for (unsigned int i = 0; i < p->n_iothreads; i++) {
		json_object_line(j, NULL);
		json_u64(j, "iothread", p->iothreads[i].id);
		json_set(j, "cpus", &p->iothreads[i].cpus);
		json_close(j);
	}
	json_close(j);
	json_close(j);
}

void site_json_skipped(struct json *j, const struct plan *p)
{
	json_list(j, "skipped");
	for (size_t i = 0; i < p->n_skipped; i++) {
		json_object_line(j, NULL);
		json_str(j, "knob", p->skipped[i].knob);
		json_str(j, "target", p->skipped[i].target);
		json_str(j, "why", p->skipped[i].why);
		json_close(j);
	}
	json_close(j);
}

void site_json_warnings(struct json *j, const struct msgs *m)
{
	json_list(j, "warnings");
	for (size_t i = 0; i < m->n; i++) {
		char text[1024];

		(void)msg_format(&m->m[i], text, sizeof(text));
		json_str(j, NULL, text);
	}
	json_close(j);
}

char *site_knob_text(const char *knob, const char *target)
{
	const char *dot = strchr(knob, '.');
	struct sbuf b = { 0 };

	if (dot && *target && (str_starts(knob, "disk.") || str_starts(knob, "interface.")))
		sbuf_addf(&b, "%.*s[%s]%s", (int)(dot - knob), knob, target, dot);
	else
		sbuf_addf(&b, "%s%s%s", knob, *target ? " " : "", target);
	return sbuf_steal(&b);
}

/* The reason that many attributes share is said once. */
void site_print_skipped(const struct plan *p)
{
	static const struct out_column columns[] = { { "KNOB", true, false }, { "WHY", true, false } };
	struct out_table t;

	if (!p->n_skipped)
		return;
	out_section("Skipped");
	out_table_init(&t, columns, ARRAY_SIZE(columns), 2);
	for (size_t i = 0; i < p->n_skipped; i++) {
		struct sbuf b = { 0 };
		_cleanup_free_ char *knobs = NULL;
		bool said = false;

		for (size_t k = 0; k < i && !said; k++)
			said = streq(p->skipped[k].why, p->skipped[i].why);
		if (said)
			continue;
		for (size_t k = i; k < p->n_skipped; k++) {
			const struct skipped *s = &p->skipped[k];
			_cleanup_free_ char *knob = site_knob_text(s->knob, s->target);

			if (streq(s->why, p->skipped[i].why))
				sbuf_addf(&b, "%s%s", b.len ? ", " : "", knob ? knob : "?");
		}
		knobs = sbuf_steal(&b);
		out_cell_str(&t, knobs);
		out_cell_str(&t, p->skipped[i].why);
	}
	out_table_print(&t);
}

void site_print_warnings(const struct msgs *m)
{
	if (!m->n)
		return;
	out_section("Warnings");
	for (size_t i = 0; i < m->n; i++) {
		char text[1024];

		(void)msg_format(&m->m[i], text, sizeof(text));
		out_line(OUT_WARN, 2, "%s", text);
	}
}

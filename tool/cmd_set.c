/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * domtune set, unset, enable, disable: the annotation, and the host switch. `set` does what the plain
 * `virsh metadata` command of the manual does, but keeps what it was not told to change, checks every value
 * first, and says what the change waits for.
 *
 * `disable DOMAIN` puts the annotation it replaces, and whether the wrapper was in, into a record that `enable`
 * reads: profile off with attributes beside it would not be off.
 */
#include "common/gate.h"
#include "common/ledger.h"
#include "common/paths.h"
#include "common/record.h"
#include "tool/annot.h"
#include "tool/emulator.h"
#include "tool/out.h"
#include "tool/site.h"

#define KEPT_ANNOTATION PATH_KEPT "/annotation"

static void say_when(struct tool *t, const struct virt_domain *d)
{
	if (!virt_domain_is_persistent(d))
		out_line(OUT_PLAIN, 2,
			 "the domain is transient: only the running one was changed, its XML has to carry the "
			 "annotation for the next");
	else if (virt_domain_has_managed_save(d))
		out_line(OUT_PLAIN, 2,
			 "it will be restored from its saved state, which has the annotation of that time: takes "
			 "effect at the first start after that one");
	else if (virt_domain_is_active(d))
		out_line(OUT_PLAIN, 2, "it is running: takes effect at the next start, or now with domtune retune");
	if (gate_is_disabled(&t->fs))
		out_line(OUT_WARN, 2, "domtune is disabled on this host: nothing takes effect before domtune enable");
}

/* Settings that only the wrapper can make, each knob once; "" none. */
static char *wrapper_knobs(const struct plan *p)
{
	struct sbuf b = { 0 };

	for (size_t i = 0; i < p->n_settings; i++) {
		bool said = p->settings[i].stage != STAGE_EXEC;

		for (size_t k = 0; k < i && !said; k++)
			said = p->settings[k].stage == STAGE_EXEC && streq(p->settings[k].knob, p->settings[i].knob);
		if (!said)
			sbuf_addf(&b, "%s%s", b.len ? ", " : "", p->settings[i].knob);
	}
	return sbuf_steal(&b);
}

/* What of the next start has to wait, from its plan. */
static void say_what_waits(struct tool *t, struct virt_domain *d)
{
	struct plan_options o = { .assume_wrapper = true };
	_cleanup_free_ char *xml = NULL, *knobs = NULL;
	const char *name = virt_domain_name(d);
	struct planned p;
	struct site site;

	if (virt_domain_xml(d, VIRT_XML_NEXT, &xml, NULL) < 0 || site_load(t, &site) != 0)
		return;
	if (site_plan(t, &site, name, xml, strlen(xml), &o, &p) != 0) {
		site_fini(&site);
		return;
	}
	knobs = wrapper_knobs(&p.plan);
	if (knobs && *knobs && emulator_is_wrapped(d, NULL) == 0)
		out_line(OUT_WARN, 2, "%s: needs the wrapper, domtune wrap %s", knobs, name);
	if (p.plan.refused)
		out_line(OUT_BAD, 2, "as the host is now, the start would be refused: %s", p.plan.refused);
	site_print_skipped(&p.plan);
	site_print_warnings(&p.plan.warnings);
	planned_fini(&p);
	site_fini(&site);
}

static int unknown_profile(struct tool *t, const char *name)
{
	char **names = profile_names(&t->fs);
	struct sbuf b = { 0 };
	_cleanup_free_ char *list = NULL;

	for (char **n = names; n && *n; n++) {
		sbuf_addf(&b, "%s%s", b.len ? ", " : "", *n);
		free(*n);
	}
	free(names);
	list = sbuf_steal(&b);
	return tool_fail(TOOL_USAGE, name, "there is no such profile, only %s", list && *list ? list : "none at all");
}

static int check_profile(struct tool *t, const char *name)
{
	struct msgs msgs = { 0 };
	struct tune tune = { 0 };
	struct err e = ERR_INIT;
	int r;

	r = profile_load(&t->fs, name, &tune, &msgs, &e);
	msgs_fini(&msgs);
	if (r == 0)
		tune_fini(&tune);
	if (r == -ENOENT)
		return unknown_profile(t, name);
	return r < 0 ? tool_fail_err(name, r, &e) : 0;
}

/* Find a domain over a connection that may write. 0, or an exit status. */
static int open_domain(struct tool *t, const char *name, struct virt **ret_v, struct virt_domain **ret, struct err *e)
{
	int r = virt_open(t->uri, false, ret_v, e);

	if (r < 0)
		return tool_fail_err("libvirt", r, e);
	r = virt_find(*ret_v, name, ret, e);
	return r < 0 ? tool_fail_err(name, r, e) : 0;
}

static int set_annotation(struct virt_domain *d, const char *profile, const struct annot_edit *edits, size_t n,
			  char **ret, struct err *e)
{
	_cleanup_free_ char *old = NULL;
	int r;

	r = virt_domain_annotation(d, &old, e);
	if (r == 0)
		r = annot_merge(old, profile, edits, n, ret, e);
	return r < 0 ? r : virt_domain_annotate(d, *ret, e);
}

static int set_one(struct tool *t, struct virt *v, struct virt_domain *d, const struct annot_edit *edits, size_t n)
{
	const char *name = virt_domain_name(d);
	_cleanup_free_ char *text = NULL;
	struct err e = ERR_INIT;
	int r, status = TOOL_OK;

	r = set_annotation(d, t->args[1], edits, n, &text, &e);
	if (r < 0)
		return tool_fail_err(name, r, &e);
	out_line(OUT_PLAIN, 0, "%s: %s", name, text);
	say_when(t, d);
	if (tool_has(t, TOOL_OPT_WRAP)) {
		r = emulator_wrap(t, v, d, &e);
		if (r < 0)
			status = tool_fail_err(name, r, &e);
		else
			out_line(OUT_PLAIN, 2, r ? "wrapped" : "is wrapped already");
	}
	say_what_waits(t, d);
	return status;
}

int cmd_set(struct tool *t)
{
	size_t n = (size_t)t->n_args - 2;
	_cleanup_free_ struct annot_edit *edits = calloc(n + 1, sizeof(*edits));
	struct virt_domain *d = NULL;
	struct virt *v = NULL;
	struct err e = ERR_INIT;
	int r;

	if (!edits)
		return tool_fail_err("set", ENOMEM, NULL);
	for (size_t i = 0; i < n; i++)
		if (annot_parse_edit(t->args[i + 2], &edits[i], &e) < 0)
			return tool_fail(TOOL_USAGE, "set", "%s", e.text);
	r = check_profile(t, t->args[1]);
	if (r == 0)
		r = open_domain(t, t->args[0], &v, &d, &e);
	if (r == 0)
		r = set_one(t, v, d, edits, n);
	virt_domain_free(d);
	virt_close(v);
	return r;
}

int cmd_unset(struct tool *t)
{
	_cleanup_free_ char *old = NULL;
	struct virt_domain *d = NULL;
	struct virt *v = NULL;
	struct err e = ERR_INIT;
	int r;

	r = open_domain(t, t->args[0], &v, &d, &e);
	if (r)
		goto out;
	r = virt_domain_annotation(d, &old, &e);
	if (r == 0 && old)
		r = virt_domain_annotate(d, NULL, &e);
	if (r < 0) {
		r = tool_fail_err(virt_domain_name(d), r, &e);
		goto out;
	}
	out_line(OUT_PLAIN, 0, "%s: %s", virt_domain_name(d), old ? "no longer annotated" : "has no annotation");
	if (old)
		say_when(t, d);
out:
	virt_domain_free(d);
	virt_close(v);
	return r;
}

static int keep_annotation(struct tool *t, const char *uuid, const char *old, bool wrapped, struct err *e)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	int r;

	record_add(&b, "disabled", wrapped ? "wrapped" : "plain", old ? old : "", NULL);
	if (b.failed || b.len > RECORD_MAX)
		return err_set(e, EFBIG, "its annotation is too large to be kept");
	r = hostfs_mkdir(&t->fs, 0700, PATH_KEPT);
	if (r == 0)
		r = hostfs_mkdir(&t->fs, 0700, KEPT_ANNOTATION);
	if (r == 0)
		r = hostfs_replace(&t->fs, b.s, b.len, 0600, KEPT_ANNOTATION "/%s", uuid);
	return r < 0 ? err_set(e, -r, "%s: %s", tool_path(t, KEPT_ANNOTATION), err_name(-r)) : 0;
}

/* What `disable` kept: *ret_old malloc'ed, NULL where there was no annotation. -ENOENT: nothing is kept. */
static int kept_annotation(struct tool *t, const char *uuid, char **ret_old, bool *ret_wrapped)
{
	_cleanup_free_ char *text = NULL;
	struct record rec;
	char *pos;
	int r;

	r = hostfs_read_all(&t->fs, RECORD_MAX, &text, NULL, KEPT_ANNOTATION "/%s", uuid);
	if (r < 0)
		return r;
	pos = text;
	if (record_next(&pos, &rec, NULL) != 1 || !streq(record_str(&rec, 0), "disabled"))
		return -ENOENT;
	*ret_wrapped = streq(record_str(&rec, 1), "wrapped");
	*ret_old = *record_str(&rec, 2) ? strdup(record_str(&rec, 2)) : NULL;
	return *record_str(&rec, 2) && !*ret_old ? -ENOMEM : 0;
}

static int disable_one(struct tool *t, struct virt *v, struct virt_domain *d, struct err *e)
{
	_cleanup_free_ char *old = NULL;
	int r, wrapped;

	wrapped = emulator_is_wrapped(d, NULL) == 1; /* where that cannot be told there is nothing to unwrap */
	r = virt_domain_annotation(d, &old, e);
	if (r < 0)
		return r;
	if (!old || !annot_is_off(old)) {
		r = keep_annotation(t, virt_domain_uuid(d), old, wrapped, e);
		if (r == 0)
			r = virt_domain_annotate(d, ANNOT_OFF, e);
		if (r < 0)
			return r;
	}
	if (wrapped && virt_domain_is_persistent(d))
		r = emulator_unwrap(t, v, d, e);
	if (r < 0)
		return r;
	out_line(OUT_PLAIN, 0, "%s: profile off%s", virt_domain_name(d), r ? ", unwrapped" : "");
	say_when(t, d);
	return 0;
}

static int enable_one(struct tool *t, struct virt *v, struct virt_domain *d, struct err *e)
{
	_cleanup_free_ char *now = NULL, *old = NULL;
	bool wrapped = false;
	int r;

	r = virt_domain_annotation(d, &now, e);
	if (r < 0)
		return r;
	if (!now || !annot_is_off(now)) {
		out_line(OUT_PLAIN, 0, "%s: is not disabled", virt_domain_name(d));
		return 0;
	}
	r = kept_annotation(t, virt_domain_uuid(d), &old, &wrapped);
	if (r < 0 && r != -ENOENT)
		return err_set(e, -r, "%s: %s", tool_path(t, KEPT_ANNOTATION), err_name(-r));
	r = virt_domain_annotate(d, old, e);
	if (r == 0 && wrapped)
		r = emulator_wrap(t, v, d, e);
	if (r < 0)
		return r;
	out_line(OUT_PLAIN, 0, "%s: %s%s", virt_domain_name(d), old ? old : "profile off taken out",
		 wrapped ? ", wrapped" : "");
	say_when(t, d);
	(void)hostfs_unlink(&t->fs, KEPT_ANNOTATION "/%s", virt_domain_uuid(d)); /* a later disable replaces it */
	return 0;
}

static int switch_domains(struct tool *t, int (*one)(struct tool *, struct virt *, struct virt_domain *, struct err *))
{
	struct virt *v = NULL;
	struct err e = ERR_INIT;
	int r, worst = TOOL_OK;

	r = virt_open(t->uri, false, &v, &e);
	if (r < 0)
		return tool_fail_err("libvirt", r, &e);
	for (char **name = t->args; *name; name++) {
		struct virt_domain *d = NULL;
		struct err why = ERR_INIT;

		r = virt_find(v, *name, &d, &why);
		if (r == 0)
			r = one(t, v, d, &why);
		if (r < 0)
			worst = tool_fail_err(*name, r, &why);
		virt_domain_free(d);
	}
	virt_close(v);
	return worst;
}

int cmd_disable(struct tool *t)
{
	static const char text[] = "While this file exists domtune starts nothing new. `domtune enable` removes it.\n";
	int r;

	if (t->n_args)
		return switch_domains(t, disable_one);
	r = hostfs_mkdir(&t->fs, 0755, PATH_ETC);
	if (r == 0)
		r = hostfs_replace(&t->fs, text, sizeof(text) - 1, 0644, PATH_DISABLED);
	if (r < 0)
		return tool_fail_err(tool_path(t, PATH_DISABLED), r, NULL);
	out_line(OUT_PLAIN, 0, "disabled: no domain is tuned at its start; what is in force is undone as domains stop");
	return TOOL_OK;
}

/* Guests that started while the switch was off are unknown: the next start looks at the running ones again. */
static void forget_foreign(const struct hostfs *fs)
{
	_cleanup_close_ int lock = ledger_lock(fs, NULL);
	struct ledger l;

	if (lock < 0 || ledger_read(fs, &l, NULL) < 0)
		return; /* no state yet: then they are looked for anyway */
	l.foreign_read = false;
	(void)ledger_write(fs, &l, NULL); /* best effort: a start does not depend on it */
	ledger_fini(&l);
}

int cmd_enable(struct tool *t)
{
	int r;

	if (t->n_args)
		return switch_domains(t, enable_one);
	if (gate_is_disabled(&t->fs))
		forget_foreign(&t->fs);
	r = hostfs_unlink(&t->fs, PATH_DISABLED);
	if (r < 0)
		return tool_fail_err(tool_path(t, PATH_DISABLED), r, NULL);
	out_line(OUT_PLAIN, 0, "enabled: domains are tuned as they start");
	return TOOL_OK;
}

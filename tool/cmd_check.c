/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * domtune check: an annotation, profile, policy or domain XML, told apart by its root element, read by the same
 * parsers as at a start. What they only warn about at a start (the rest applies) is a reason to say no here.
 */
#include <libxml/tree.h>

#include "common/policy.h"
#include "common/xml.h"
#include "tool/json.h"
#include "tool/out.h"
#include "tool/tool.h"

#define XS(text) ((const xmlChar *)(text))

struct file {
	struct tool *t;
	const char *name;
	const char *text;
	size_t len;
	xmlNode *root;
	struct msgs msgs;
};

/* A profile that is named somewhere has to exist. */
static void check_profile_name(struct file *f, const char *name, int line, int column, const char *who)
{
	struct msgs msgs = { 0 };
	struct tune p = { 0 };
	struct err e = ERR_INIT;
	int r = profile_load(&f->t->fs, name, &p, &msgs, &e);

	if (r == 0)
		tune_fini(&p);
	else
		msgs_add(&f->msgs, MSG_WARNING, f->name, line, column, "%s '%s': %s", who, name,
			 r == -ENOENT ? "no such profile" : e.text);
	msgs_fini(&msgs);
}

/* The same, at the attribute that names it. */
static void check_named_by(struct file *f, const xmlNode *node, const char *attribute, const char *name)
{
	const xmlAttr *a = xmlHasProp(node, XS(attribute));

	if (name)
		check_profile_name(f, name, a ? xml_line(xml_attr_node(a)) : 0, a ? xml_column(xml_attr_node(a)) : 0,
				   attribute);
}

static int check_tune(struct file *f)
{
	char shown[KNOB_SHOW_SIZE];
	struct tune tune = { 0 };
	int r;

	/* libvirt wants the annotation without a namespace and adds ours (virDomainSetMetadata): both are checked. */
	if (!f->root->ns)
		f->root->ns = xmlNewNs(f->root, XS(TUNE_NS), NULL);
	for (xmlNode *n = f->root->children; n; n = n->next)
		if (n->type == XML_ELEMENT_NODE && !n->ns)
			n->ns = f->root->ns;
	r = tune_parse(f->root, f->name, &tune, &f->msgs);
	if (r == 0 && xml_is(f->root, TUNE_NS, "tune"))
		check_named_by(f, f->root, "profile", tune.name);
	if (r == 0)
		check_named_by(f, f->root, "inherits", tune.inherits);
	if (r == 0 && xml_is(f->root, TUNE_NS, "profile") && tune.name && !profile_is_name(tune.name)) {
		const xmlNode *at = xml_attr_node(xmlHasProp(f->root, XS("name")));

		xml_warn(&f->msgs, f->name, at, "name: '%s' is not a profile's name", knob_show(tune.name, shown));
	}
	tune_fini(&tune);
	return r;
}

/* A name that can be none was told by the parser. */
static int check_names_profile(struct file *f, const xmlNode *n)
{
	const xmlAttr *a = xmlHasProp(n, XS("profile"));
	_cleanup_free_ char *name = a ? xml_attr_value(a) : NULL;

	if (a && !name)
		return -ENOMEM;
	if (name && profile_is_name(name))
		check_named_by(f, n, "profile", name);
	return 0;
}

static int check_policy(struct file *f)
{
	struct policy p = { 0 };
	int r = policy_parse(f->text, f->len, f->name, &p);

	if (r < 0)
		return r;
	for (size_t i = 0; i < p.msgs.n; i++) {
		const struct msg *m = &p.msgs.m[i];

		msgs_add(&f->msgs, m->level, m->file, m->line, m->column, "%s", m->text);
	}
	for (const xmlNode *n = p.builtin ? NULL : xml_first_element(f->root); n && r == 0; n = xml_next_element(n))
		if (xml_is(n, TUNE_NS, "rule") || xml_is(n, TUNE_NS, "default"))
			r = check_names_profile(f, n);
	policy_fini(&p);
	return r;
}

static int check_domain(struct file *f)
{
	struct tune tune = { 0 };
	struct domain d = { 0 };
	struct err e = ERR_INIT;
	int r = domain_parse(f->text, f->len, &d, &e);

	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		msgs_add(&f->msgs, MSG_ERROR, f->name, e.line, e.column, "%s", e.text);
		return 0;
	}
	if (d.tune) {
		r = tune_parse(d.tune, f->name, &tune, &f->msgs);
		if (r == 0)
			check_named_by(f, d.tune, "profile", tune.name);
		tune_fini(&tune);
	}
	domain_fini(&d);
	return r;
}

static const struct kind {
	const char *root;
	bool own_namespace; /* must be in ours */
	int (*check)(struct file *f);
} kinds[] = {
	{ "tune", false, check_tune },
	{ "profile", true, check_tune },
	{ "policy", true, check_policy },
	{ "domain", false, check_domain },
};

static int check_root(struct file *f)
{
	bool ours = f->root->ns && xmlStrEqual(f->root->ns->href, XS(TUNE_NS));

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!xmlStrEqual(f->root->name, XS(kinds[i].root)))
			continue;
		if (ours || !kinds[i].own_namespace)
			return kinds[i].check(f);
		msgs_add(&f->msgs, MSG_ERROR, f->name, xml_line(f->root), xml_column(f->root),
			 "the root element is not in the namespace " TUNE_NS);
		return 0;
	}
	msgs_add(&f->msgs, MSG_ERROR, f->name, xml_line(f->root), xml_column(f->root),
		 "neither a tune, a profile, a policy nor a domain");
	return 0;
}

static void report(const struct file *f, struct json *j)
{
	static const char *const level[] = { [MSG_WARNING] = "warning", [MSG_ERROR] = "error",
					     [MSG_ADVICE] = "advice" };

	for (size_t i = 0; i < f->msgs.n; i++) {
		const struct msg *m = &f->msgs.m[i];
		char place[64] = "";

		if (j) {
			json_object_line(j, NULL);
			json_str(j, "file", *m->file ? m->file : f->name);
			json_u64(j, "line", (uint64_t)m->line);
			json_u64(j, "column", (uint64_t)m->column);
			json_str(j, "level", level[m->level]);
			json_str(j, "message", m->text);
			json_close(j);
			continue;
		}
		if (m->line && m->column)
			(void)snprintf(place, sizeof(place), ":%d:%d", m->line, m->column);
		else if (m->line)
			(void)snprintf(place, sizeof(place), ":%d", m->line);
		out_line(m->level == MSG_ERROR ? OUT_BAD : OUT_WARN, 0, "%s%s: %s: %s", *m->file ? m->file : f->name,
			 place, level[m->level], m->text);
	}
}

static int check_file(struct tool *t, const char *name, struct json *j)
{
	struct file f = { .t = t, .name = streq(name, "-") ? "stdin" : name };
	_cleanup_free_ char *text = NULL;
	struct err e = ERR_INIT;
	xmlDoc *doc;
	int r;

	r = tool_read_input(name, DOMAIN_XML_MAX, &text, &f.len, &e);
	if (r < 0)
		return tool_fail_err(f.name, r, &e);
	f.text = text;
	doc = xml_parse(f.text, f.len, DOMAIN_XML_MAX, &e);
	f.root = doc ? xmlDocGetRootElement(doc) : NULL;
	if (f.root)
		r = check_root(&f);
	else
		msgs_add(&f.msgs, MSG_ERROR, f.name, e.line, e.column, "%s", e.text);
	xmlFreeDoc(doc);
	report(&f, j);
	if (r < 0 || f.msgs.failed)
		r = tool_fail_err(f.name, ENOMEM, NULL);
	else
		r = f.msgs.n ? TOOL_NO : TOOL_OK;
	msgs_fini(&f.msgs);
	return r;
}

int cmd_check(struct tool *t)
{
	struct json json = JSON_INIT(stdout), *j = tool_has(t, TOOL_OPT_JSON) ? &json : NULL;
	int worst = TOOL_OK;

	if (j) {
		json_object(j, NULL);
		json_u64(j, "version", 1);
		json_list(j, "messages");
	}
	for (char **name = t->args; *name; name++)
		worst = tool_worse(worst, check_file(t, *name, j));
	if (j) {
		json_close(j);
		json_close(j);
	}
	return worst;
}

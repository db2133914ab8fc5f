/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * <tune> and <profile>: the same elements and attributes, all from the knob table. A tenant may have written
 * the text: whatever is wrong with one attribute costs a message and that attribute, never the rest, and the
 * number of targets is bounded. Namespace and local name decide; an element in another namespace, or in none
 * (easily written below a prefixed <x:tune>), is not ours and is said to be so.
 */
#include "policy.h"

struct reader {
	const char *file;
	struct tune *t;
	struct msgs *msgs;
};

static const char *text_of(const xmlChar *s)
{
	return (const char *)s;
}

static void warn_unknown(const struct reader *in, const xmlNode *at, const char *what, const xmlNode *of)
{
	char name[KNOB_SHOW_SIZE];

	knob_show(text_of(at->name), name);
	if (of)
		xml_warn(in->msgs, in->file, at, "unknown %s '%s' of <%s>", what, name, text_of(of->name));
	else
		xml_warn(in->msgs, in->file, at, "unknown %s '%s'", what, name);
}

/* Values of one element. `skip`: an attribute that is no knob ("target"), or NULL. */
static int take_values(const struct reader *in, const xmlNode *n, struct value *values, const char *skip)
{
	for (const xmlAttr *a = n->properties; a; a = a->next) {
		const xmlNode *at = xml_attr_node(a);
		_cleanup_free_ char *text = NULL;
		struct err e = ERR_INIT;
		enum knob_id id;
		int r;

		if (skip && !a->ns && streq(text_of(a->name), skip))
			continue;
		id = a->ns ? KNOB_ID_MAX : knob_find(text_of(n->name), text_of(a->name));
		if (id == KNOB_ID_MAX) {
			warn_unknown(in, at, "attribute", n);
			continue;
		}
		if (values[id].text) {
			xml_warn(in->msgs, in->file, at, "%s is given twice, the first counts", knob_table[id].name);
			continue;
		}
		text = xml_attr_value(a);
		if (!text)
			return -ENOMEM;
		r = knob_parse_value(id, text, &values[id], &e);
		if (r == -ENOMEM)
			return r;
		if (r < 0)
			xml_warn(in->msgs, in->file, at, "%s", e.text);
	}
	return 0;
}

static void warn_content(const struct reader *in, const xmlNode *n)
{
	const xmlNode *child = xml_first_element(n);

	if (child)
		warn_unknown(in, child, "element", n);
	for (const xmlNode *c = n->children; c; c = c->next) {
		if (c->type == XML_TEXT_NODE && !xmlIsBlankNode(c)) {
			xml_warn(in->msgs, in->file, n, "text in <%s> means nothing", text_of(n->name));
			return;
		}
	}
}

static struct tune_target *find_target(const struct tune *t, enum knob_element element, const char *target)
{
	for (size_t i = 0; i < t->n_targets; i++)
		if (t->targets[i].element == element && streq(t->targets[i].target, target))
			return &t->targets[i];
	return NULL;
}

struct tune_target *tune_add_target(struct tune *t, enum knob_element element, const char *target)
{
	struct tune_target *found = find_target(t, element, target), *grown;

	if (found || t->n_targets >= TUNE_TARGETS_MAX)
		return found;
	grown = reallocarray(t->targets, t->n_targets + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	t->targets = grown;
	found = memset(&grown[t->n_targets], 0, sizeof(*grown));
	found->element = element;
	found->target = strdup(target);
	if (!found->target)
		return NULL;
	t->n_targets++;
	return found;
}

static int take_target(const struct reader *in, const xmlNode *n, enum knob_element element)
{
	_cleanup_free_ char *target = xml_attr(n, "target");
	struct tune_target *t;

	if (target && !target[0]) {
		xml_warn(in->msgs, in->file, n, "<%s> with an empty target", text_of(n->name));
		return 0;
	}
	if (in->t->n_targets >= TUNE_TARGETS_MAX && !find_target(in->t, element, target ? target : "*")) {
		xml_warn(in->msgs, in->file, n, "more than %d targets, the rest is ignored", TUNE_TARGETS_MAX);
		return 0;
	}
	t = tune_add_target(in->t, element, target ? target : "*");
	return t ? take_values(in, n, t->v, "target") : -ENOMEM;
}

static int take_elements(const struct reader *in, const xmlNode *root)
{
	bool seen[KNOB_ELEMENT_MAX] = { false };

	for (const xmlNode *n = xml_first_element(root); n; n = xml_next_element(n)) {
		enum knob_element element = knob_find_element(text_of(n->name));
		int r;

		if (!xml_is(n, TUNE_NS, text_of(n->name)) || element == KNOB_ELEMENT_MAX) {
			if (element != KNOB_ELEMENT_MAX)
				xml_warn(in->msgs, in->file, n, "<%s> is not in the namespace %s", text_of(n->name),
					 TUNE_NS);
			else
				warn_unknown(in, n, "element", NULL);
			continue;
		}
		if (seen[element] && !knob_element_is_repeatable(element)) {
			xml_warn(in->msgs, in->file, n, "a second <%s>, the first counts", text_of(n->name));
			continue;
		}
		seen[element] = true;
		warn_content(in, n);
		r = knob_element_is_repeatable(element) ? take_target(in, n, element) :
							   take_values(in, n, in->t->v, NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Attributes of <tune> and <profile> themselves. The setters take the text. */
static void set_name(struct tune *t, char *text)
{
	t->name = text;
}

static void set_inherits(struct tune *t, char *text)
{
	t->inherits = text;
}

static void set_tenant(struct tune *t, char *text)
{
	t->tenant = streq(text, "yes");
	free(text);
}

static void set_on_error(struct tune *t, char *text)
{
	t->fail = streq(text, "fail");
	free(text);
}

static const struct root_attr {
	const char *element, *attribute;
	const char *words[2]; /* NULL: any text */
	void (*set)(struct tune *t, char *text);
} root_attrs[] = {
	{ "tune", "profile", { NULL }, set_name },
	{ "tune", "on-error", { "warn", "fail" }, set_on_error },
	{ "profile", "name", { NULL }, set_name },
	{ "profile", "inherits", { NULL }, set_inherits },
	{ "profile", "tenant", { "yes", "no" }, set_tenant },
};

static const struct root_attr *find_root_attr(const xmlNode *root, const xmlAttr *a)
{
	for (size_t i = 0; !a->ns && i < ARRAY_SIZE(root_attrs); i++)
		if (streq(root_attrs[i].element, text_of(root->name)) &&
		    streq(root_attrs[i].attribute, text_of(a->name)))
			return &root_attrs[i];
	return NULL;
}

static int take_root(const struct reader *in, const xmlNode *root)
{
	for (const xmlAttr *a = root->properties; a; a = a->next) {
		const struct root_attr *row = find_root_attr(root, a);
		char shown[KNOB_SHOW_SIZE];
		char *text;

		if (!row) {
			warn_unknown(in, xml_attr_node(a), "attribute", root);
			continue;
		}
		text = xml_attr_value(a);
		if (!text)
			return -ENOMEM;
		if (!row->words[0] || streq(text, row->words[0]) || streq(text, row->words[1])) {
			row->set(in->t, text);
			continue;
		}
		xml_warn(in->msgs, in->file, xml_attr_node(a), "%s: '%s' is not one of %s, %s", row->attribute,
			 knob_show(text, shown), row->words[0], row->words[1]);
		free(text);
	}
	return 0;
}

int tune_parse(xmlNode *node, const char *file, struct tune *ret, struct msgs *msgs)
{
	struct tune t = { 0 };
	struct reader in = { file, &t, msgs };
	int r = take_root(&in, node);

	if (!r)
		r = take_elements(&in, node);
	if (r < 0) {
		tune_fini(&t);
		return r;
	}
	*ret = t;
	return 0;
}

static int set_source(struct value *values, const char *source)
{
	for (enum knob_id id = 0; id < KNOB_ID_MAX; id++) {
		if (!values[id].text)
			continue;
		free(values[id].source);
		values[id].source = strdup(source);
		if (!values[id].source)
			return -ENOMEM;
	}
	return 0;
}

int tune_set_source(struct tune *t, const char *source)
{
	int r = set_source(t->v, source);

	for (size_t i = 0; !r && i < t->n_targets; i++)
		r = set_source(t->targets[i].v, source);
	return r;
}

void tune_fini(struct tune *t)
{
	if (!t)
		return;
	free(t->name);
	free(t->inherits);
	for (enum knob_id id = 0; id < KNOB_ID_MAX; id++)
		value_fini(&t->v[id]);
	for (size_t i = 0; i < t->n_targets; i++) {
		free(t->targets[i].target);
		for (enum knob_id id = 0; id < KNOB_ID_MAX; id++)
			value_fini(&t->targets[i].v[id]);
	}
	free(t->targets);
	memset(t, 0, sizeof(*t));
}

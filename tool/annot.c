/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tool/annot.h"

#include <libxml/tree.h>

#include "common/policy.h"
#include "common/xml.h"

#define ANNOT_MAX (1u << 20)
#define XS(text)  ((const xmlChar *)(text))

int annot_parse_edit(const char *text, struct annot_edit *ret, struct err *e)
{
	const char *eq = strchr(text, '='), *bracket = strchr(text, '['), *close = NULL;
	struct value v = { 0 };
	char name[128];
	bool repeatable;
	int r;

	if (!eq)
		return err_set(e, EINVAL, "'%s' is not ELEM.ATTR=VALUE", text);
	*ret = (struct annot_edit){ .value = eq + 1 };
	if (bracket && bracket < eq) {
		close = memchr(bracket, ']', (size_t)(eq - bracket));
		if (!close || close == bracket + 1 || (size_t)(close - bracket) > sizeof(ret->target))
			return err_set(e, EINVAL, "'%s': a target stands in brackets, as in disk[vda].scheduler=none",
				       text);
		memcpy(ret->target, bracket + 1, (size_t)(close - bracket - 1));
		(void)snprintf(name, sizeof(name), "%.*s%.*s", (int)(bracket - text), text, (int)(eq - close - 1),
			       close + 1);
	} else {
		(void)snprintf(name, sizeof(name), "%.*s", (int)(eq - text), text);
	}
	ret->id = knob_find_dotted(name);
	if (ret->id == KNOB_ID_MAX)
		return err_set(e, EINVAL, "'%s': there is no attribute of that name", name);
	repeatable = knob_element_is_repeatable(knob_table[ret->id].element);
	if (close && !repeatable)
		return err_set(e, EINVAL, "%s: only disk and interface have a target", name);
	if (!close && repeatable)
		ret->target[0] = '*';
	if (!*ret->value)
		return 0;
	r = knob_parse_value(ret->id, ret->value, &v, e);
	value_fini(&v);
	return r;
}

/*
 * libvirt leaves namespaces out of what it gives and wants none in what it takes; other people's stay. Blank text
 * is libvirt's indentation, which it makes anew.
 */
static void simplify(xmlNode *node)
{
	for (xmlNode *next; node; node = next) {
		next = node->next;
		if (xmlIsBlankNode(node)) {
			xmlUnlinkNode(node);
			xmlFreeNode(node);
		} else if (node->type == XML_ELEMENT_NODE) {
			if (node->ns && xmlStrEqual(node->ns->href, XS(TUNE_NS)))
				node->ns = NULL;
			simplify(node->children);
		}
	}
}

static bool is_element(const xmlNode *node, const char *name)
{
	return node->type == XML_ELEMENT_NODE && !node->ns && xmlStrEqual(node->name, XS(name));
}

/* The element of an edit; made if it is missing and `make`. NULL: not there (or no memory, with make). */
static xmlNode *find_element(xmlNode *tune, const struct annot_edit *edit, bool make)
{
	const char *name = knob_element_name(knob_table[edit->id].element);
	xmlNode *node;

	for (node = tune->children; node; node = node->next) {
		xmlChar *target;
		bool same;

		if (!is_element(node, name))
			continue;
		if (!*edit->target)
			return node;
		target = xmlGetNoNsProp(node, XS("target"));
		same = xmlStrEqual(target, XS(edit->target)) || (!target && streq(edit->target, "*"));
		xmlFree(target);
		if (same)
			return node;
	}
	if (!make)
		return NULL;
	node = xmlNewChild(tune, NULL, XS(name), NULL);
	if (node && *edit->target && !xmlNewProp(node, XS("target"), XS(edit->target)))
		return NULL;
	return node;
}

static int apply_edit(xmlNode *tune, const struct annot_edit *edit)
{
	const char *attribute = knob_table[edit->id].attribute;
	xmlNode *node = find_element(tune, edit, *edit->value);
	xmlAttr *a;

	if (*edit->value)
		return node && xmlSetProp(node, XS(attribute), XS(edit->value)) ? 0 : -ENOMEM;
	if (!node)
		return 0;
	(void)xmlUnsetProp(node, XS(attribute)); /* fails where it was not there, which is what is wanted */
	a = node->properties;
	if (!node->children && (!a || (!a->next && xmlStrEqual(a->name, XS("target"))))) {
		xmlUnlinkNode(node);
		xmlFreeNode(node);
	}
	return 0;
}

static xmlDoc *open_annotation(const char *text, struct err *e)
{
	xmlDoc *doc = xml_parse(text, strlen(text), ANNOT_MAX, e);
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;

	if (!doc)
		return NULL;
	simplify(root);
	if (!is_element(root, "tune")) {
		(void)err_set(e, EBADMSG, "the annotation that is there is not a <tune>");
		xmlFreeDoc(doc);
		return NULL;
	}
	return doc;
}

/* The element alone, without an XML declaration and without a declaration of our namespace. */
static char *print_element(xmlDoc *doc, xmlNode *node)
{
	xmlBuffer *b = xmlBufferCreate();
	xmlNs **link = &node->nsDef;
	char *text = NULL;

	while (*link) {
		xmlNs *ns = *link;

		if (xmlStrEqual(ns->href, XS(TUNE_NS))) {
			*link = ns->next;
			xmlFreeNs(ns);
		} else {
			link = &ns->next;
		}
	}
	if (b && xmlNodeDump(b, doc, node, 0, 0) >= 0)
		text = strdup((const char *)xmlBufferContent(b));
	xmlBufferFree(b);
	return text;
}

int annot_merge(const char *old, const char *profile, const struct annot_edit *edits, size_t n, char **ret,
		struct err *e)
{
	struct err why = ERR_INIT;
	xmlDoc *doc = open_annotation(old ? old : "<tune/>", &why);
	xmlNode *tune;
	int r = 0;

	if (!doc) {
		if (e)
			*e = why;
		return why.code ? -why.code : -EBADMSG;
	}
	tune = xmlDocGetRootElement(doc);
	if (profile && !xmlSetProp(tune, XS("profile"), XS(profile)))
		r = -ENOMEM;
	for (size_t i = 0; i < n && r == 0; i++)
		r = apply_edit(tune, &edits[i]);
	*ret = r == 0 ? print_element(doc, tune) : NULL;
	xmlFreeDoc(doc);
	return *ret ? 0 : err_set(e, ENOMEM, "%s", err_name(ENOMEM));
}

bool annot_is_off(const char *text)
{
	xmlDoc *doc = open_annotation(text, NULL);
	bool off = false;

	if (doc) {
		const xmlNode *tune = xmlDocGetRootElement(doc);
		const xmlAttr *a = tune->properties;

		off = a && !a->next && !xmlFirstElementChild(xmlDocGetRootElement(doc)) &&
		      xmlStrEqual(a->name, XS("profile")) && a->children &&
		      xmlStrEqual(a->children->content, XS("off"));
		xmlFreeDoc(doc);
	}
	return off;
}

static void set_namespace(xmlNode *node, xmlNs *ns)
{
	for (; node; node = node->next)
		if (node->type == XML_ELEMENT_NODE && !node->ns) {
			node->ns = ns;
			set_namespace(node->children, ns);
		}
}

/* -ENOMEM or 0. */
static int add_annotation(xmlDoc *doc, const xmlDoc *annotation)
{
	xmlNode *root = xmlDocGetRootElement(doc), *metadata = xml_child(root, NULL, "metadata"), *copy;
	xmlNs *ns;

	if (!metadata)
		metadata = xmlNewChild(root, NULL, XS("metadata"), NULL);
	copy = metadata ? xmlDocCopyNode(xmlDocGetRootElement(annotation), doc, 1) : NULL;
	if (!copy)
		return -ENOMEM;
	(void)xmlAddChild(metadata, copy); /* an element is never merged into another */
	ns = copy->ns ? copy->ns : xmlNewNs(copy, XS(TUNE_NS), NULL);
	if (!ns)
		return -ENOMEM;
	copy->ns = ns;
	set_namespace(copy->children, ns);
	return 0;
}

int annot_splice(const char *domain, const char *annotation, char **ret, struct err *e)
{
	_cleanup_xmldoc_ xmlDoc *doc = xml_parse(domain, strlen(domain), DOMAIN_XML_MAX, e), *other = NULL;
	xmlNode *old;
	xmlChar *text = NULL;
	int len = 0;

	if (!doc)
		return err_wrap(e, "domain XML");
	other = annotation ? xml_parse(annotation, strlen(annotation), ANNOT_MAX, e) : NULL;
	if (annotation && !other)
		return err_wrap(e, "annotation");
	while ((old = xml_child(xml_child(xmlDocGetRootElement(doc), NULL, "metadata"), TUNE_NS, "tune"))) {
		xmlUnlinkNode(old);
		xmlFreeNode(old);
	}
	if (other && add_annotation(doc, other) < 0)
		return err_set(e, ENOMEM, "%s", err_name(ENOMEM));
	xmlDocDumpMemory(doc, &text, &len);
	*ret = text ? strdup((const char *)text) : NULL;
	xmlFree(text);
	return *ret ? 0 : err_set(e, ENOMEM, "%s", err_name(ENOMEM));
}

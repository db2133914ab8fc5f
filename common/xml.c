/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libxml2 with everything dangerous off, and with places.
 *
 * Entities exist only through a DTD, so a DOCTYPE ends the parse where it begins, before one declaration is read:
 * no expansion, no fetching, no amplification. Depth (256) and text sizes are libxml2's own limits, which hold
 * because XML_PARSE_HUGE is never given.
 *
 * libxml2 remembers the line of a start tag's end, up to 65535, and no column; of attributes nothing. So each start
 * tag is looked at once more, right after libxml2 made its node: the parser says how many bytes it has read
 * (the tag's end), the tag's "<" is the last one before (a well-formed tag holds no other), and from there the
 * attributes follow in the order of the node's list. Places are packed into the _private fields, which
 * belong to the application. Where any of this does not fit (a converted encoding), the place is unknown and
 * libxml2's line has to do.
 */
#include "xml.h"

#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <limits.h>
#include <stdarg.h>

/* libxml2 2.12 made the error const in its callback. */
#if LIBXML_VERSION >= 21200
typedef const xmlError *xml_error_arg;
#else
typedef xmlError *xml_error_arg;
#endif

struct parse {
	const char *text;
	size_t len;
	size_t at;   /* everything before has been counted into line */
	size_t bol;  /* where that line begins */
	int line;
	bool dtd;
	struct err e; /* the first error */
};

/*
 * Places: line in the upper half of a pointer, column in the lower, both saturated. On 32-bit hosts that is
 * 16 bits each, on 64-bit ones more than a text of DOMAIN_XML_MAX can have.
 */
#define PLACE_BITS (sizeof(uintptr_t) * CHAR_BIT / 2)
#define PLACE_MAX (((uintptr_t)1 << (PLACE_BITS - 1)) - 1)

static void *place_pack(size_t line, size_t column)
{
	if (line > PLACE_MAX || column > PLACE_MAX)
		return NULL;
	return (void *)((uintptr_t)line << PLACE_BITS | column);
}

/* The place of an offset; offsets come in ascending order. */
static void *place_of(struct parse *p, size_t offset)
{
	const char *nl;

	if (offset < p->at || offset >= p->len)
		return NULL;
	while ((nl = memchr(p->text + p->at, '\n', offset - p->at))) {
		p->line++;
		p->at = p->bol = (size_t)(nl - p->text) + 1;
	}
	p->at = offset;
	return place_pack((size_t)p->line, offset - p->bol + 1);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Whether the name written at s (length n, perhaps with a prefix) is the local name `name`. */
static bool is_name_of(const char *s, size_t n, const xmlChar *name)
{
	const char *colon = memchr(s, ':', n);
	size_t skip = colon ? (size_t)(colon - s) + 1 : 0;

	return strlen((const char *)name) == n - skip && memcmp(s + skip, name, n - skip) == 0;
}

/* Give the attributes of a start tag their places. s: behind the element's name; end: the tag's ">". */
static void place_attributes(struct parse *p, const xmlNode *node, const char *s, const char *end)
{
	xmlAttr *a = node->properties;

	while (a && s < end) {
		const char *name, *value;
		size_t n;

		while (s < end && is_blank(*s))
			s++;
		name = s;
		while (s < end && *s != '=' && !is_blank(*s))
			s++;
		n = (size_t)(s - name);
		while (s < end && *s != '"' && *s != '\'')
			s++;
		if (s >= end)
			return;
		value = s + 1;
		s = memchr(value, *s, (size_t)(end - value));
		if (!s)
			return;
		s++;
		if (n >= 5 && memcmp(name, "xmlns", 5) == 0 && (n == 5 || name[5] == ':'))
			continue;
		if (!is_name_of(name, n, a->name))
			return;
		a->_private = place_of(p, (size_t)(name - p->text));
		a = a->next;
	}
}

/* node was just made from the start tag that ends at the parser's position. */
static void place_element(struct parse *p, xmlParserCtxt *ctxt, xmlNode *node)
{
	const xmlParserInput *in = ctxt->input;
	const char *end, *lt, *s;
	long consumed;

	/* With a converter the offset is not in our text, and xmlByteConsumed() converts all the rest to find out. */
	if (!in || !in->buf || in->buf->encoder)
		return;
	consumed = xmlByteConsumed(ctxt);
	if (consumed <= 0 || (size_t)consumed >= p->len || (size_t)consumed <= p->at)
		return;
	end = p->text + consumed;
	if (*end != '>' && *end != '/')
		return;
	lt = memrchr(p->text + p->at, '<', (size_t)consumed - p->at);
	if (!lt)
		return;
	for (s = lt + 1; s < end && !is_blank(*s); s++)
		;
	if (!is_name_of(lt + 1, (size_t)(s - lt - 1), node->name))
		return;
	node->_private = place_of(p, (size_t)(lt - p->text));
	place_attributes(p, node, s, end);
}

static void on_start_element(void *user, const xmlChar *localname, const xmlChar *prefix, const xmlChar *uri,
			     int nb_namespaces, const xmlChar **namespaces, int nb_attributes, int nb_defaulted,
			     const xmlChar **attributes)
{
	xmlParserCtxt *ctxt = user;
	xmlNode *was = ctxt->node;

	xmlSAX2StartElementNs(user, localname, prefix, uri, nb_namespaces, namespaces, nb_attributes, nb_defaulted,
			      attributes);
	if (ctxt->node && ctxt->node != was)
		place_element(ctxt->_private, ctxt, ctxt->node);
}

/* Called at "<!DOCTYPE NAME", before anything in it is read. */
static void on_doctype(void *user, const xmlChar *name, const xmlChar *external, const xmlChar *system_id)
{
	xmlParserCtxt *ctxt = user;
	struct parse *p = ctxt->_private;

	(void)name, (void)external, (void)system_id;
	p->dtd = true;
	err_set(&p->e, EBADMSG, "has a DOCTYPE");
	p->e.line = ctxt->input ? ctxt->input->line : 0;
	xmlStopParser(ctxt);
}

/* libxml2's parser reports here; user is the parser context, as for every other handler. */
static void on_error(void *user, xml_error_arg x)
{
	xmlParserCtxt *ctxt = user;
	struct parse *p = ctxt->_private;
	size_t n;

	if (p->e.code || x->level < XML_ERR_FATAL)
		return;
	n = x->message ? strlen(x->message) : 0;
	while (n && is_blank(x->message[n - 1]))
		n--;
	err_set(&p->e, x->code == XML_ERR_NO_MEMORY ? ENOMEM : EBADMSG, "%.*s", (int)n, n ? x->message : "");
	p->e.line = x->line;
	p->e.column = x->int2;
}

/* Errors of character converters come without a parser, and would go to stderr. */
static void on_other_error(void *user, xml_error_arg x)
{
	(void)user, (void)x; /* the parser has its own error about it */
}

static xmlDoc *read_document(xmlParserCtxt *ctxt, const struct parse *p)
{
	xmlStructuredErrorFunc handler = xmlStructuredError;
	void *user = xmlStructuredErrorContext;
	xmlDoc *doc;

	xmlSetStructuredErrorFunc(NULL, on_other_error);
	doc = xmlCtxtReadMemory(ctxt, p->text, (int)p->len, NULL, NULL,
				XML_PARSE_NONET | XML_PARSE_BIG_LINES | XML_PARSE_NOCDATA);
	xmlSetStructuredErrorFunc(user, handler);
	return doc;
}

static xmlDoc *parse(struct parse *p)
{
	xmlParserCtxt *ctxt = xmlNewParserCtxt();
	xmlDoc *doc;

	if (!ctxt) {
		err_set(&p->e, ENOMEM, "out of memory");
		return NULL;
	}
	ctxt->_private = p;
	ctxt->sax->internalSubset = on_doctype;
	ctxt->sax->startElementNs = on_start_element;
	ctxt->sax->serror = on_error;
	doc = read_document(ctxt, p);
	if (doc && (p->dtd || !xmlDocGetRootElement(doc))) {
		xmlFreeDoc(doc);
		doc = NULL;
	}
	if (!doc && !p->e.code)
		err_set(&p->e, ctxt->errNo == XML_ERR_NO_MEMORY ? ENOMEM : EBADMSG, "is not well-formed XML");
	xmlFreeParserCtxt(ctxt);
	return doc;
}

xmlDoc *xml_parse(const char *text, size_t len, size_t limit, struct err *e)
{
	struct parse p = { .text = text, .len = len, .line = 1 };
	xmlDoc *doc;

	if (len > limit || len > INT_MAX) {
		err_set(e, EFBIG, "has %zu bytes, more than %zu", len, limit);
		return NULL;
	}
	/* A byte order mark would only shift the columns. */
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		p.text += 3;
		p.len -= 3;
	}
	for (size_t i = 0; i < p.len && is_blank(p.text[i]); i++)
		if (i + 1 == p.len)
			p.len = 0;
	if (!p.len) {
		err_set(e, EBADMSG, "is empty");
		return NULL;
	}
	doc = parse(&p);
	if (!doc && e)
		*e = p.e;
	return doc;
}

/* Only nodes of these two kinds carry places. */
static uintptr_t place_get(const xmlNode *n)
{
	return n && (n->type == XML_ELEMENT_NODE || n->type == XML_ATTRIBUTE_NODE) ? (uintptr_t)n->_private : 0;
}

int xml_line(const xmlNode *n)
{
	uintptr_t place = place_get(n);
	long line;

	if (place)
		return (int)(place >> PLACE_BITS);
	if (n && n->type == XML_ATTRIBUTE_NODE)
		n = n->parent;
	line = n ? xmlGetLineNo(n) : 0;
	return line > 0 && line <= INT_MAX ? (int)line : 0;
}

int xml_column(const xmlNode *n)
{
	return (int)(place_get(n) & PLACE_MAX);
}

bool xml_is(const xmlNode *n, const char *ns, const char *name)
{
	if (n->type != XML_ELEMENT_NODE || !streq((const char *)n->name, name))
		return false;
	return ns ? n->ns && n->ns->href && streq((const char *)n->ns->href, ns) : !n->ns;
}

xmlNode *xml_child(const xmlNode *parent, const char *ns, const char *name)
{
	for (xmlNode *n = parent ? parent->children : NULL; n; n = n->next)
		if (xml_is(n, ns, name))
			return n;
	return NULL;
}

xmlNode *xml_next(const xmlNode *n, const char *ns, const char *name)
{
	for (xmlNode *next = n->next; next; next = next->next)
		if (xml_is(next, ns, name))
			return next;
	return NULL;
}

xmlNode *xml_first_element(const xmlNode *parent)
{
	xmlNode *n = parent ? parent->children : NULL;

	while (n && n->type != XML_ELEMENT_NODE)
		n = n->next;
	return n;
}

xmlNode *xml_next_element(const xmlNode *n)
{
	xmlNode *next = n->next;

	while (next && next->type != XML_ELEMENT_NODE)
		next = next->next;
	return next;
}

/* libxml2's strings are its allocator's; ours are free()'s. */
static char *own(xmlChar *s)
{
	char *copy = s ? strdup((const char *)s) : NULL;

	xmlFree(s);
	return copy;
}

char *xml_attr(const xmlNode *n, const char *name)
{
	return n ? own(xmlGetNoNsProp(n, (const xmlChar *)name)) : NULL;
}

char *xml_attr_value(const xmlAttr *a)
{
	return own(xmlNodeGetContent(xml_attr_node(a)));
}

char *xml_text(const xmlNode *n)
{
	return n ? own(xmlNodeGetContent(n)) : NULL;
}

void xml_warn(struct msgs *msgs, const char *file, const xmlNode *at, const char *fmt, ...)
{
	char text[ERR_TEXT_SIZE];
	va_list ap;

	if (msgs->n > MSGS_MAX)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut where it is too long */
	va_end(ap);
	msgs_add(msgs, MSG_WARNING, file, at ? xml_line(at) : 0, at ? xml_column(at) : 0, "%s", text);
}

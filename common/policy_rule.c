/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rules: an XPath, true or not on the domain element.
 *
 * The expression is the administrator's, the document in part a tenant's. libxml2 counts operations when told to
 * (opLimit), so neither can make an evaluation long. XPath reports an unbound prefix or an unknown function
 * only when it comes to evaluate that part, perhaps never; a rule must not depend on luck, so the
 * expression's tokens are looked through once when the policy is read.
 *
 * Other managers change the version in their namespace while the elements stay the same. A prefix can be bound to
 * one URI only, so in a copy of the document older URIs are replaced by the current one.
 */
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>

#include "policy.h"

#if LIBXML_VERSION >= 21200
typedef const xmlError *xml_error_arg;
#else
typedef xmlError *xml_error_arg;
#endif

/*
 * Operations for one rule. A visit of every node of a 1 MiB domain with a predicate takes a quarter of it. Measured
 * with libxml2 2.9.14: 30 ms for most that exceed it, half a second for the worst (node sets that have to be merged).
 * The hook's deadline stands behind this.
 */
#define RULE_OP_LIMIT 1000000
#define RULE_LENGTH_MAX 4096

#define NOVA_NS "http://openstack.org/xmlns/libvirt/nova/1.1"
#define OVIRT_NS "http://ovirt.org/vm/1.0"

static const struct {
	const char *prefix, *uri;
} bound[] = {
	{ "domtune", TUNE_NS },
	{ "nova", NOVA_NS },
	{ "ovirt", OVIRT_NS },
	{ "ovirt-vm", OVIRT_NS }, /* as VDSM itself writes them */
	{ "ovirt-tune", OVIRT_NS },
	{ "libosinfo", "http://libosinfo.org/xmlns/libvirt/domain/1.0" },
};

static const struct {
	const char *uri, *current;
} older[] = {
	{ "http://openstack.org/xmlns/libvirt/nova/1.0", NOVA_NS },
	{ "http://ovirt.org/vm/tune/1.0", OVIRT_NS }, /* VDSM's quality of service, "ovirt:" before 4.2 */
};

struct rule_context {
	xmlXPathContext *xpath;
	struct err e; /* the first error of an evaluation */
};

/* libxml2 hands over a code without a text here. */
static const char *error_text(int code)
{
	static const struct {
		int code;
		const char *text;
	} texts[] = {
		{ XML_XPATH_UNKNOWN_FUNC_ERROR, "there is no such function" },
		{ XML_XPATH_INVALID_ARITY, "a function has too many or too few arguments" },
		{ XML_XPATH_INVALID_TYPE, "a value is of the wrong type" },
		{ XML_XPATH_UNDEF_PREFIX_ERROR, "a prefix is not bound" },
		{ XML_XPATH_EXPRESSION_OK + XPATH_OP_LIMIT_EXCEEDED, "takes too long" },
		{ XML_XPATH_EXPRESSION_OK + XPATH_RECURSION_LIMIT_EXCEEDED, "is nested too deeply" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i].code == code)
			return texts[i].text;
	return "is not an XPath";
}

static void on_error(void *user, xml_error_arg x)
{
	struct rule_context *c = user;

	if (c->e.code)
		return;
	if (x->code == XML_XPATH_MEMORY_ERROR || x->code == XML_ERR_NO_MEMORY)
		err_set(&c->e, ENOMEM, "out of memory");
	else
		err_set(&c->e, EINVAL, "%s", error_text(x->code));
}

static int context_init(struct rule_context *c, xmlDoc *doc)
{
	*c = (struct rule_context){ .xpath = xmlXPathNewContext(doc) };
	if (!c->xpath)
		return -ENOMEM;
	c->xpath->error = on_error;
	c->xpath->userData = c;
	c->xpath->opLimit = RULE_OP_LIMIT;
	c->xpath->node = xmlDocGetRootElement(doc);
	for (size_t i = 0; i < ARRAY_SIZE(bound); i++)
		if (xmlXPathRegisterNs(c->xpath, (const xmlChar *)bound[i].prefix, (const xmlChar *)bound[i].uri) != 0)
			return -ENOMEM;
	return 0;
}

static void context_fini(struct rule_context *c)
{
	xmlXPathFreeContext(c->xpath);
}

/* 1, 0, -EINVAL with c->e filled, -ENOMEM. */
static int evaluate(struct rule_context *c, const char *match)
{
	xmlXPathCompExpr *comp;
	int r;

	c->e = ERR_INIT;
	c->xpath->opCount = 0;
	comp = xmlXPathCtxtCompile(c->xpath, (const xmlChar *)match);
	r = comp ? xmlXPathCompiledEvalToBoolean(comp, c->xpath) : -1;
	xmlXPathFreeCompExpr(comp);
	if (r >= 0 && !c->e.code)
		return r;
	if (c->e.code == ENOMEM)
		return -ENOMEM;
	if (!c->e.code)
		err_set(&c->e, EINVAL, "cannot be evaluated");
	return -EINVAL;
}

/* XPath 1.0, 3.7 "Lexical Structure". Bytes above ASCII are taken as letters; the compiler knows better. */
static size_t ncname_length(const char *s)
{
	size_t n = 0;

	if (!((*s | 0x20) >= 'a' && (*s | 0x20) <= 'z') && *s != '_' && !((unsigned char)*s & 0x80))
		return 0;
	for (; s[n]; n++) {
		bool letter = (s[n] | 0x20) >= 'a' && (s[n] | 0x20) <= 'z';

		if (!letter && !(s[n] >= '0' && s[n] <= '9') && !strchr("._-", s[n]) && !((unsigned char)s[n] & 0x80))
			break;
	}
	return n;
}

static bool is_bound(const char *prefix, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(bound); i++)
		if (strlen(bound[i].prefix) == n && memcmp(bound[i].prefix, prefix, n) == 0)
			return true;
	return false;
}

/* A name before "(": a function, a kind of node, or an operator before a parenthesis. */
static bool is_known_function(xmlXPathContext *xpath, const char *name, size_t n)
{
	static const char *const others[] = { "node", "text", "comment", "processing-instruction", "and", "or", "div",
					      "mod" };
	_cleanup_free_ char *text = strndup(name, n);

	if (!text)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (streq(others[i], text))
			return true;
	return xmlXPathFunctionLookup(xpath, (const xmlChar *)text) != NULL;
}

/* Looks at one name and what follows it; returns where to go on, NULL with e filled. */
static const char *check_name(xmlXPathContext *xpath, const char *s, size_t n, struct err *e)
{
	const char *after = s + n;
	char shown[KNOB_SHOW_SIZE];
	size_t local;

	if (after[0] == ':' && after[1] != ':') {
		if (!is_bound(s, n)) {
			err_set(e, EINVAL, "the prefix '%.*s' is not bound", (int)(n > 40 ? 40 : n), s);
			return NULL;
		}
		local = ncname_length(after + 1);
		s = after + 1 + local + (after[1] == '*');
		if (local && s[strspn(s, " \t\r\n")] == '(') {
			err_set(e, EINVAL, "there are no functions with a prefix");
			return NULL;
		}
		return s;
	}
	after += strspn(after, " \t\r\n");
	if (*after == '(' && !is_known_function(xpath, s, n)) {
		err_set(e, EINVAL, "there is no function '%.*s'", (int)(n > 40 ? 40 : n), knob_show(s, shown));
		return NULL;
	}
	return *after == ':' && after[1] == ':' ? after + 2 : s + n;
}

static int check_tokens(xmlXPathContext *xpath, const char *match, struct err *e)
{
	const char *s = match;

	while (s && *s) {
		size_t n = ncname_length(s);

		if (n) {
			s = check_name(xpath, s, n, e);
		} else if (*s == '"' || *s == '\'') {
			s = strchr(s + 1, *s);
			if (!s)
				return err_set(e, EINVAL, "a text has no end");
			s++;
		} else if (*s == '$') {
			return err_set(e, EINVAL, "there are no variables");
		} else {
			s++;
		}
	}
	return s ? 0 : -EINVAL;
}

int policy_check_xpath(const char *match, struct err *e)
{
	static const char tiny[] = "<domain type='kvm' id='1'><name>x</name><metadata/></domain>";
	_cleanup_xmldoc_ xmlDoc *doc = xml_parse(tiny, sizeof(tiny) - 1, sizeof(tiny), NULL);
	_cleanup_(context_fini) struct rule_context c = { 0 };
	int r = doc ? context_init(&c, doc) : -ENOMEM;

	if (!r && strlen(match) > RULE_LENGTH_MAX)
		r = err_set(&c.e, EINVAL, "has more than %d characters", RULE_LENGTH_MAX);
	if (!r)
		r = check_tokens(c.xpath, match, &c.e);
	if (!r) {
		r = evaluate(&c, match);
		r = r > 0 ? 0 : r;
	}
	if (r == -ENOMEM)
		return err_set(e, ENOMEM, "out of memory");
	return r < 0 ? err_set(e, EINVAL, "match: %s; the rule is disabled", c.e.text) : 0;
}

/* The next node in document order within `top`; NULL: that was the last. */
static xmlNode *next_node(const xmlNode *n, const xmlNode *top)
{
	if (n->type == XML_ELEMENT_NODE && n->children)
		return n->children;
	while (n != top && !n->next)
		n = n->parent;
	return n == top ? NULL : n->next;
}

static const char *current_uri(const xmlNs *ns)
{
	for (size_t i = 0; ns->href && i < ARRAY_SIZE(older); i++)
		if (streq((const char *)ns->href, older[i].uri))
			return older[i].current;
	return NULL;
}

/* Number of declarations of an older URI; with `replace` they are replaced. -ENOMEM. */
static int older_uris(xmlNode *top, bool replace)
{
	int found = 0;

	for (xmlNode *n = top; n; n = next_node(n, top)) {
		for (xmlNs *ns = n->type == XML_ELEMENT_NODE ? n->nsDef : NULL; ns; ns = ns->next) {
			const char *uri = current_uri(ns);
			xmlChar *copy;

			if (!uri)
				continue;
			found++;
			if (!replace)
				continue;
			copy = xmlStrdup((const xmlChar *)uri);
			if (!copy)
				return -ENOMEM;
			xmlFree((void *)(uintptr_t)ns->href);
			ns->href = copy;
		}
	}
	return found;
}

static int match_rules(const struct policy *p, struct rule_context *c, struct msgs *msgs)
{
	for (size_t i = 0; i < p->n_rules; i++) {
		int r = p->rules[i].disabled ? 0 : evaluate(c, p->rules[i].match);

		if (r == -ENOMEM)
			return r;
		if (r > 0)
			return (int)i + 1;
		if (r < 0 && msgs)
			msgs_warn(msgs, "rule %zu (line %d of policy.xml) does not count: %s", i + 1, p->rules[i].line,
				  c->e.text);
	}
	return 0;
}

static int match_document(const struct policy *p, xmlDoc *doc, struct msgs *msgs)
{
	_cleanup_(context_fini) struct rule_context c = { 0 };
	int r = context_init(&c, doc);

	return r < 0 ? r : match_rules(p, &c, msgs);
}

int policy_match_why(const struct policy *p, const struct domain *d, struct msgs *msgs)
{
	_cleanup_xmldoc_ xmlDoc *copy = NULL;
	xmlNode *root = d->doc ? xmlDocGetRootElement(d->doc) : NULL;

	if (!root || !p->n_rules)
		return 0;
	if (older_uris(root, false) > 0) {
		copy = xmlCopyDoc(d->doc, 1);
		root = copy ? xmlDocGetRootElement(copy) : NULL;
		if (!root || older_uris(root, true) < 0)
			return -ENOMEM;
	}
	return match_document(p, copy ? copy : d->doc, msgs);
}

unsigned int policy_match(const struct policy *p, const struct domain *d)
{
	int r = policy_match_why(p, d, NULL);

	return r > 0 ? (unsigned int)r : 0;
}

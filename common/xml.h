/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * XML as it comes from outside: libvirt's stdin (metadata written by tenants), the administrator's policy and
 * profiles. One way in, xml_parse(), and the few things we need of a tree, by namespace and local name only.
 */
#pragma once

#include <libxml/tree.h>

#include "err.h"
#include "msgs.h"

/*
 * Parse an XML text of ours or libvirt's into a document: limit bytes at most, no network, no DTD, no entity
 * expansion, nothing on stderr, errors (first one, with line and column) in e. NULL on error with *e filled
 * (EFBIG, EBADMSG, ENOMEM); the caller frees with xmlFreeDoc(). The text is not needed afterwards. Uses the
 * _private field of elements and attributes for their places.
 */
xmlDoc *xml_parse(const char *text, size_t len, size_t limit, struct err *e);

/*
 * Where an element's "<" or an attribute's name begins in the text given to xml_parse(); 1.., bytes count as
 * columns. Right for UTF-8 (and any text that libxml2 need not convert), whatever the number of lines. 0: unknown.
 */
int xml_line(const xmlNode *n);
int xml_column(const xmlNode *n);
#define xml_attr_node(attr) ((const xmlNode *)(attr)) /* libxml2: xmlAttr begins like xmlNode */

/* An element of this local name in this namespace; ns NULL: in none. */
bool xml_is(const xmlNode *n, const char *ns, const char *name);
/* First such child of an element; the next sibling like it. NULL: none. */
xmlNode *xml_child(const xmlNode *parent, const char *ns, const char *name);
xmlNode *xml_next(const xmlNode *n, const char *ns, const char *name);
/* First child, next sibling, that is an element at all. */
xmlNode *xml_first_element(const xmlNode *parent);
xmlNode *xml_next_element(const xmlNode *n);

/* An attribute's value (no namespace), an element's text; malloc'ed. NULL: absent (or no memory). */
char *xml_attr(const xmlNode *n, const char *name);
char *xml_attr_value(const xmlAttr *a);
char *xml_text(const xmlNode *n);

/* A warning about a node or attribute. Cheap when the list is full: hostile inputs have a hundred thousand faults. */
void xml_warn(struct msgs *msgs, const char *file, const xmlNode *at, const char *fmt, ...) PRINTF(4, 5);

static inline void cleanup_xml_doc(xmlDoc **doc)
{
	if (*doc)
		xmlFreeDoc(*doc);
}
#define _cleanup_xmldoc_ _cleanup_(cleanup_xml_doc)

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the hook itself looks at in a domain XML, without an XML parser. Pure, libc only. */
#pragma once

#include "util.h"

struct domhead {
	char uuid[37]; /* lower case */
	int id;        /* libvirt's running number, -1 absent */
};

/*
 * The fixed head that libvirt prints: "<domain type='kvm' id='3'>\n  <name>web1</name>\n  <uuid>...</uuid>".
 * libvirt escapes "<" in the name, so the first "<uuid>" is the element. -EBADMSG if the text does not begin
 * like that (then libxml2 decides what it is).
 */
int domhead_parse(const char *text, size_t len, struct domhead *ret);

/*
 * Whether the XML could concern us whatever the policy says: it names our namespace, or it pins vCPUs
 * (occupied CPUs). Errs on the side of true.
 */
bool domhead_may_concern(const char *text, size_t len);

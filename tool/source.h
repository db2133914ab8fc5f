/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the XML of an operand comes from: a file, stdin, libvirt, or etc/libvirt/qemu below --root. With --root
 * and without --connect libvirt is not asked: it knows the domains of this host only.
 */
#pragma once

#include "tool/tool.h"
#include "tool/virt.h"

struct source {
	struct tool *t;
	struct virt *virt; /* opened when first needed, read-only */
};

struct source_xml {
	char *text;
	size_t len;
	bool running; /* of a running domain (live) */
};

/* operand: FILE, "-" or a domain's name. 0, or an exit status; what is wrong has then been said. */
int source_read(struct source *s, const char *operand, bool live, struct source_xml *ret);

/* Names of all domains. NULL-terminated; free with virt_free_names(). 0, or an exit status. */
int source_names(struct source *s, char ***ret);

/* Whether a domain of that name (or UUID) exists. 1, 0, or -errno with *e filled where it cannot be found out. */
int source_knows(struct source *s, const char *name, struct err *e);

/*
 * For status and verify of a domain that is not in the ledger: says so, as an answer if there is such a domain
 * (TOOL_OK), else as an error.
 */
int source_nothing_in_force(struct tool *t, const char *name);

void source_fini(struct source *s);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt, loaded when a command needs a live connection and not before: linking it costs 16 ms and 14 MiB per
 * start (measured), and plan, check and status of files need none of it. Its own error printing is switched off;
 * its messages come back in struct err, one line each.
 */
#pragma once

#include "common/err.h"

struct virt;
struct virt_domain;

/*
 * uri: NULL for $LIBVIRT_DEFAULT_URI or qemu:///system. read_only suffices for names and XML, and is open to
 * everybody on a stock host. -ENOENT: no libvirt.so.0; -ECONNREFUSED: e has libvirt's reason.
 */
int virt_open(const char *uri, bool read_only, struct virt **ret, struct err *e);
void virt_close(struct virt *v);

/* Names of all domains, running or not, sorted. NULL-terminated, malloc'ed; free with virt_free_names(). */
int virt_names(struct virt *v, char ***ret, struct err *e);
void virt_free_names(char **names);

/* By name, else by UUID. -ENOENT: no such domain. The domain must be freed before the connection is closed. */
int virt_find(struct virt *v, const char *name, struct virt_domain **ret, struct err *e);
void virt_domain_free(struct virt_domain *d);

const char *virt_domain_name(const struct virt_domain *d);
const char *virt_domain_uuid(const struct virt_domain *d);
bool virt_domain_is_active(const struct virt_domain *d);
bool virt_domain_is_persistent(const struct virt_domain *d);
bool virt_domain_has_managed_save(const struct virt_domain *d);

enum virt_xml {
	VIRT_XML_NEXT,       /* what the next start gets (of a transient domain: what runs) */
	VIRT_XML_LIVE,       /* of a running domain */
	VIRT_XML_DEFINITION, /* complete, with secrets, to define it again; not over a read-only connection */
};
int virt_domain_xml(struct virt_domain *d, enum virt_xml what, char **ret, struct err *e);

/*
 * Our annotation of the next start (of a transient domain: of this run), without namespace declarations. *ret is
 * malloc'ed; NULL where there is none.
 */
int virt_domain_annotation(struct virt_domain *d, char **ret, struct err *e);
/* xml NULL: take it out. xml must not declare our namespace: libvirt adds it, with key "domtune". */
int virt_domain_annotate(struct virt_domain *d, const char *xml, struct err *e);

/* Replace the definition. */
int virt_define(struct virt *v, const char *xml, struct err *e);

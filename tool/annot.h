/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text of an annotation as `set` changes it: what is there, with a profile and some attributes replaced.
 * libvirt hands annotations out and takes them without our namespace; that is how the texts here look. What we do
 * not know (elements of a later version) stays as it is. Pure.
 */
#pragma once

#include "common/knob.h"

/* The annotation that `disable` writes. */
#define ANNOT_OFF "<tune profile='off'/>"

/* One ELEM.ATTR=VALUE: "cpu.weight=200", "disk[vda].scheduler=none"; an empty value takes the attribute out. */
struct annot_edit {
	enum knob_id id;
	char target[256];  /* of repeatable elements, "*" if none was named; "" for others */
	const char *value; /* borrowed from the text */
};

/* -EINVAL with what is wrong in e. The value is checked too. */
int annot_parse_edit(const char *text, struct annot_edit *ret, struct err *e);

/*
 * old: NULL for none. profile: NULL to keep the one that is there. *ret is malloc'ed text of one <tune>.
 * -EBADMSG: old is not a <tune>.
 */
int annot_merge(const char *old, const char *profile, const struct annot_edit *edits, size_t n, char **ret,
		struct err *e);

/* Whether an annotation is what `disable` writes: profile off and nothing else. */
bool annot_is_off(const char *text);

/*
 * A domain XML with this annotation in the place of its own; NULL: with none. *ret is malloc'ed. -EBADMSG: one of the
 * two is not what it should be.
 */
int annot_splice(const char *domain, const char *annotation, char **ret, struct err *e);

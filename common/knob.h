/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The knob table (knobs.def) and the values of its rows. Pure. */
#pragma once

#include "err.h"
#include "idset.h"

enum knob_form {
	KNOB_FORM_NONE,           /* words only */
	KNOB_FORM_INT,            /* decimal, within min..max */
	KNOB_FORM_PERCENT,        /* "N%", N within min..max; num is N */
	KNOB_FORM_INT_OR_PERCENT, /* either; a percentage is within 1..100 and sets is_percent */
	KNOB_FORM_SIZE,           /* num_parse_size: bytes */
	KNOB_FORM_TC_SIZE,        /* tc(8) sizes: b, k|kb, m|mb, g|gb, kbit, mbit, gbit; num is bytes */
	KNOB_FORM_RATE,           /* num_parse_rate: bits per second */
	KNOB_FORM_CPULIST,        /* idset_parse */
	KNOB_FORM_NODESET,        /* idset_parse */
	KNOB_FORM_NAME,           /* [A-Za-z0-9_-]+, at most 63 */
};

/* PLANNED: seen by the guest, so `plan` says what it would be, and nothing brings it into force. */
enum knob_since { KNOB_SINCE_NOW, KNOB_SINCE_LATER, KNOB_SINCE_PLANNED, KNOB_SINCE_DEFINITION };

enum knob_id {
#define KNOB(id, element, attribute, words, form, min, max, since, doc) KNOB_##id,
#include "knobs.def"
#undef KNOB
	KNOB_ID_MAX
};

/* Elements, in the order of the contract. disk and interface are repeatable and have `target`. */
enum knob_element {
	KNOB_ELEMENT_CPU,
	KNOB_ELEMENT_MEMORY,
	KNOB_ELEMENT_IO,
	KNOB_ELEMENT_IRQ,
	KNOB_ELEMENT_DISK,
	KNOB_ELEMENT_INTERFACE,
	KNOB_ELEMENT_GUEST,
	KNOB_ELEMENT_MAX
};

struct knob {
	const char *name;      /* "cpu.policy": how plan, status and --set name it */
	const char *attribute; /* "policy" */
	const char *words;
	const char *doc;
	enum knob_element element;
	enum knob_form form;
	enum knob_since since;
	uint64_t min, max;
};

extern const struct knob knob_table[KNOB_ID_MAX];

const char *knob_element_name(enum knob_element element);
bool knob_element_is_repeatable(enum knob_element element);

/* By element and attribute name; by "element.attribute". KNOB_ID_MAX if there is none. */
enum knob_id knob_find(const char *element, const char *attribute);
enum knob_id knob_find_dotted(const char *name);
/* KNOB_ELEMENT_MAX if there is none. */
enum knob_element knob_find_element(const char *name);

/*
 * A validated value. `text` is canonical: words after mapping old names, lists and numbers re-printed
 * (sizes and rates as plain bytes and bits).
 */
struct value {
	char *text;     /* malloc'ed; NULL: absent */
	char *source;   /* malloc'ed: "annotation", "profile NAME", "limit", ... */
	uint64_t num;   /* of the numeric forms */
	struct idset set; /* of CPULIST and NODESET; empty if the value is a word */
	bool is_percent;
};

/*
 * Parse one value of a knob. On error (-EINVAL, -ERANGE, -ENODATA, -ENOMEM) the text of e says what is
 * allowed: "cpu.policy: 'dedicate' is not one of none, shared, dedicated, isolated". source is not set.
 */
int knob_parse_value(enum knob_id id, const char *text, struct value *ret, struct err *e);
void value_fini(struct value *v);
/* Deep copy over *to (finished first). Returns 0 or -ENOMEM. */
int value_copy(struct value *to, const struct value *from);

/*
 * "none, shared, dedicated, isolated" or "1..10000" or "share, isolate or a CPU list": for messages and docs.
 * Old names that are merely understood are left out. Returns snprintf's value; KNOB_ALLOWED_SIZE always suffices.
 */
#define KNOB_ALLOWED_SIZE 256
int knob_allowed(enum knob_id id, char *buf, size_t size);

#define KNOB_NAME_MAX 63 /* of KNOB_FORM_NAME */

/* Text from outside as a message may quote it: control characters as "?", cut with "..." between characters. */
#define KNOB_SHOW_SIZE 84
const char *knob_show(const char *text, char buf[KNOB_SHOW_SIZE]);

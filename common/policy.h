/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Host policy and profiles: /etc/domtune/policy.xml, profiles/NAME.xml. A broken policy file is one warning
 * and the built-in policy (the contract's defaults, default profile balanced). Parsed with the same care as
 * domain XML: size cap, no network, no DTD, no entities.
 */
#pragma once

#include <libxml/xpath.h>

#include "domain.h"
#include "hostfs.h"
#include "knob.h"
#include "msgs.h"
#include "xml.h"

enum policy_mode { POLICY_ENFORCE, POLICY_OBSERVE };
enum policy_annotations { POLICY_ANNOTATIONS_ALL, POLICY_ANNOTATIONS_PROFILES, POLICY_ANNOTATIONS_IGNORE };

/* A limit that is a count or a share. */
struct policy_limit {
	uint64_t num;
	bool is_percent;
};

struct policy_rule {
	char *match;          /* XPath; boolean() of it decides; "" in a disabled rule that had none */
	char *profile;        /* "" in a rule that only takes */
	char *take;           /* "" or "nova", "ovirt": parsed and kept for the definitions issue */
	int line;             /* in policy.xml */
	bool disabled;        /* it does not compile or names an unbound prefix: one warning was given */
};

struct policy_sysctl {
	char *name;       /* "net.core.rmem_max": [A-Za-z0-9_-] components joined by "." (or "/") */
	uint64_t at_least;
};

struct policy_uplink {
	char *device;
	uint64_t rate;   /* bit/s, 0 absent */
	bool replace_mq;
	uint32_t mark_mask; /* 0 absent */
};

struct policy {
	enum policy_mode mode;
	enum policy_annotations annotations;
	bool reserved_given;
	struct idset reserved;          /* as written; the default is computed from the host (place.h) */
	struct policy_limit max_dedicated; /* CPUs, of the online ones (75%) */
	struct policy_limit max_hugepages; /* bytes, of a node's memory (80%) */
	struct policy_limit max_memory;    /* bytes, of a node's memory (95%) */
	struct policy_limit max_protection; /* 50% */
	uint64_t max_vcpus_per_cpu;     /* 8 */
	uint64_t max_rt_priority;       /* 10 */
	uint64_t deadline_ms;           /* 2000 */
	uint64_t grow_deadline_ms;      /* 5000 */
	struct policy_rule *rules; size_t n_rules;
	struct policy_sysctl *sysctls; size_t n_sysctls;
	struct policy_uplink *uplinks; size_t n_uplinks;
	char *default_profile;          /* "balanced" */
	struct msgs msgs;               /* about the file */
	bool builtin;                   /* no usable file */
};

#define POLICY_XML_MAX (1u << 20) /* of a policy or profile file */
#define POLICY_ROWS_MAX 256       /* rules, sysctls, uplinks each */

/* Reads etc/domtune/policy.xml below fs. Never fails but for -ENOMEM: what is wrong is in ret->msgs. */
int policy_load(const struct hostfs *fs, struct policy *ret);
/* The same from text (`domtune check`); file is for messages. */
int policy_parse(const char *text, size_t len, const char *file, struct policy *ret);
void policy_fini(struct policy *p);

/*
 * First rule whose XPath is true on the domain element; its number 1.., 0: none. Needs d->doc. A rule whose
 * evaluation fails or costs too much does not match; msgs (may be NULL) gets a warning. -ENOMEM.
 */
int policy_match_why(const struct policy *p, const struct domain *d, struct msgs *msgs);
/* The same without messages, 0 also without memory. */
unsigned int policy_match(const struct policy *p, const struct domain *d);

/* Whether an XPath can be a rule: compiles, names only bound prefixes and known functions. -EINVAL, text in e. */
int policy_check_xpath(const char *match, struct err *e);

/*
 * The vocabulary of policy.xml: one row per attribute. Makes the parser and, with knob_table, domtune.rng.
 * Numbers are within min..max; a share of a LIMIT is 0%..100%.
 */
enum policy_form {
	POLICY_FORM_WORDS,    /* words, as in knobs.def */
	POLICY_FORM_CPULIST,
	POLICY_FORM_COUNT_OR_SHARE,
	POLICY_FORM_SIZE_OR_SHARE,
	POLICY_FORM_INT,
	POLICY_FORM_DURATION, /* "2s", "500ms"; in ms */
	POLICY_FORM_RATE,
	POLICY_FORM_MASK,     /* 0x and hexadecimal digits, or decimal */
	POLICY_FORM_DEVICE,   /* a network device's name */
	POLICY_FORM_SYSCTL,
	POLICY_FORM_PROFILE,
	POLICY_FORM_XPATH,
};

enum policy_attr_id {
	POLICY_HOST_MODE,
	POLICY_HOST_ANNOTATIONS,
	POLICY_HOST_RESERVED,
	POLICY_HOST_MAX_DEDICATED,
	POLICY_HOST_MAX_HUGEPAGES,
	POLICY_HOST_MAX_MEMORY,
	POLICY_HOST_MAX_PROTECTION,
	POLICY_HOST_MAX_VCPUS,
	POLICY_HOST_MAX_RT,
	POLICY_HOST_DEADLINE,
	POLICY_HOST_GROW_DEADLINE,
	POLICY_UPLINK_DEVICE,
	POLICY_UPLINK_RATE,
	POLICY_UPLINK_REPLACE_MQ,
	POLICY_UPLINK_MARK_MASK,
	POLICY_SYSCTL_NAME,
	POLICY_SYSCTL_AT_LEAST,
	POLICY_RULE_MATCH,
	POLICY_RULE_PROFILE,
	POLICY_RULE_TAKE,
	POLICY_DEFAULT_PROFILE,
	POLICY_ATTR_MAX
};

struct policy_attr {
	const char *element, *attribute, *words;
	enum policy_form form;
	bool required; /* the element is skipped without it */
	uint64_t min, max;
};

extern const struct policy_attr policy_attrs[POLICY_ATTR_MAX];
/* value->text is as written. On error the text of e says what is allowed. */
int policy_parse_value(enum policy_attr_id id, const char *text, struct value *ret, struct err *e);

/* One <profile> or <tune> element as written: values of cpu, memory, io, irq, guest, and per-target sets. */
struct tune_target {
	enum knob_element element; /* KNOB_ELEMENT_DISK or _INTERFACE */
	char *target;              /* "vda", "*", ... */
	struct value v[KNOB_ID_MAX];
};

struct tune {
	char *name;      /* profile: its name; annotation: the profile asked for; NULL absent */
	char *inherits;  /* profiles only; NULL absent */
	bool tenant;     /* profiles only */
	bool fail;       /* annotation only: on-error="fail" */
	struct value v[KNOB_ID_MAX];
	struct tune_target *targets; size_t n_targets;
};

/*
 * Parse a <tune> or <profile> element. Unknown or malformed parts are one message each (with file, line and
 * column) and skipped. Only -ENOMEM is an error.
 */
int tune_parse(xmlNode *node, const char *file, struct tune *ret, struct msgs *msgs);
void tune_fini(struct tune *t);
/* Give every value of it this source. 0 or -ENOMEM. */
int tune_set_source(struct tune *t, const char *source);
/* The set of a target, made if there is none yet. NULL: no memory, or TUNE_TARGETS_MAX are there. */
struct tune_target *tune_add_target(struct tune *t, enum knob_element element, const char *target);
#define TUNE_TARGETS_MAX 256 /* a set has room for every knob: 60 KiB */

/*
 * A profile with everything it inherits resolved; own values win. Looked up in etc/domtune/profiles, then
 * usr/share/domtune/profiles below fs, then in the installed directory. Every value's source is
 * "profile NAME", NAME being the profile that wrote it. -ENOENT: no such profile (or a bad name);
 * -ELOOP: it inherits itself, or too deeply; -EBADMSG: not a profile. A parent that cannot be had is a message,
 * and the rest applies. tenant is never inherited. ret->inherits stays the direct parent's name.
 */
int profile_load(const struct hostfs *fs, const char *name, struct tune *ret, struct msgs *msgs, struct err *e);

/* Names of all profiles, sorted, NULL-terminated; free each and the list. NULL without memory. */
char **profile_names(const struct hostfs *fs);
/* Whether a text can name a profile: [A-Za-z0-9._-], not a "." first, 1..63 characters. */
bool profile_is_name(const char *name);

#define TUNE_NS "urn:domtune:1"

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is wanted for one domain: annotation over profile, per attribute, with the source of each value; the
 * policy's limits applied to values (limits that depend on the host are the placement's). Pure given its
 * inputs (profiles were loaded from the host files).
 */
#pragma once

#include "policy.h"

enum profile_source { PROFILE_ANNOTATION, PROFILE_RULE, PROFILE_DEFAULT, PROFILE_NONE };

struct intent {
	char *profile;               /* "" none */
	enum profile_source source;
	unsigned int rule;           /* with PROFILE_RULE, 1.. */
	bool fail;                   /* on-error="fail" */
	struct value v[KNOB_ID_MAX]; /* absent: text NULL */
	struct tune_target *targets; size_t n_targets; /* as written, annotation first, then profile */
	struct msgs msgs;            /* warnings: unknown names, bad values, limits */
};

/*
 * Decide it. override_profile (may be NULL) stands for the annotation's profile; overrides are "ELEM.ATTR=VALUE"
 * (disk and interface: "disk[TARGET].ATTR=VALUE", without [TARGET] for "*"), taken as annotation values; bad ones
 * are -EINVAL with e filled (a usage error of the tool).
 * With policy annotations=profiles or ignore the annotation is cut down as the contract says.
 */
int intent_make(const struct hostfs *fs, const struct policy *p, const struct domain *d, const char *override_profile,
		char *const *overrides, struct intent *ret, struct err *e);
void intent_fini(struct intent *i);

/* Whether anything is asked for that depends on the devices below its disks: some disk.*, or io.priority. */
bool intent_asks_disks(const struct intent *i);
/* Whether a class of resctrl is asked for. */
bool intent_asks_class(const struct intent *i);
/* Whether CPUs are to be kept free of the host's own work (cpu.policy isolated). */
bool intent_asks_isolation(const struct intent *i);
/* Whether anything is asked for of an element that has targets (disk, interface). */
bool intent_names(const struct intent *i, enum knob_element element);

/* The word of an enum-like knob, or `fallback` if it is absent. */
const char *intent_word(const struct intent *i, enum knob_id id, const char *fallback);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Folding: what one shared object is set to when several domains want different values, and what it was
 * before counts too. Pure.
 */
#pragma once

#include "idset.h"

enum fold {
	FOLD_NONE,   /* not shared: one domain's own object */
	FOLD_MAX,    /* numbers: the largest of all claims and the original ("at least") */
	FOLD_SUM,    /* numbers: original plus the sum of claims */
	FOLD_UNION,  /* sets: original plus all claims */
	FOLD_WITHOUT,/* sets: original (empty: `order`) minus all claims; if that is empty, the original */
	FOLD_FIRST,  /* the first claim's value; later ones that differ are reported */
	FOLD_STRONGEST, /* words: the strongest by the order given with the step (step.h), else as FOLD_FIRST */
	FOLD_LARGEST,   /* numbers: the largest of all claims, whatever it was before */
	FOLD_SMALLEST,  /* numbers: the smallest of all claims, where 0 is "off", which only all together get */
	FOLD_KINDS,
};

/*
 * values[n], in the order the claims were made. order: blank-separated words, strongest first (FOLD_STRONGEST); the
 * set that an empty original stands for (FOLD_WITHOUT; "": the empty set).
 * Returns malloc'ed text in *ret; -EINVAL where a value is not a number or set; -ENOMEM. With n == 0 the original.
 */
int fold_values(enum fold how, const char *order, const char *original, const char *const *values, unsigned int n,
		char **ret);

/* Whether the original does not matter once there is a claim. */
bool fold_forgets_original(enum fold how);

const char *fold_name(enum fold how);                 /* "none", "max", ... */
int fold_parse(const char *text, enum fold *ret);     /* -EINVAL */

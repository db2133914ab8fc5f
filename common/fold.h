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
	FOLD_WITHOUT,/* sets: original (empty: `order`) minus claims, in their order, those left out that would leave nothing */
	FOLD_FIRST,  /* the first claim's value; later ones that differ are reported */
	FOLD_STRONGEST, /* words: the strongest by the order given with the step (step.h), else as FOLD_FIRST */
	FOLD_LARGEST,   /* numbers: the largest of all claims, whatever it was before */
	FOLD_RUN,       /* sets: original minus all claims, of that the longest run of successive numbers, of equally long
	                   ones the lowest; the original if nothing is left */
	FOLD_SMALLEST,  /* numbers: the smallest of all claims, where 0 is "off", which only all together get */
	/*
	 * CPUs of an interrupt. A claim is "TO!NOT", either may be empty: it is to come to some of TO, and stays off NOT.
	 * All TO together, or the original, less all NOT. Where that leaves no CPU that is online, all that are less all NOT.
	 * order: "ONLINE" or "ONLINE!NOT", what is online (empty: not known), and what those who have no claim want it to stay off.
	 */
	FOLD_IRQ,
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

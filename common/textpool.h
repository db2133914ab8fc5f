/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Texts that live as long as one thing and go with it: copies in few large pieces. A ledger of a thousand interrupts has ten
 * thousand, each of which malloc(3) and free(3) would take four times as long for as for copying it.
 */
#pragma once

#include "util.h"

struct textpool {
	struct textpool_piece *pieces; /* the first is the one that has room */
};

/* A copy that is valid until textpool_fini(); NULL: no memory. */
const char *textpool_add(struct textpool *p, const char *text);
void textpool_fini(struct textpool *p);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between apply.c (verbs of the hook's phases) and apply_late.c (what comes after `started`). */
#pragma once

#include "common/apply.h"

enum { DONE = 0, REFUSED = 1, FAILED = 2 };

struct call {
	struct hostfs fs;
	const char *uuid;
	const char *argument; /* "" none */
	int report;           /* -1: nobody listens */
};

/*
 * A domain was started, run is what was found of it: note what was seen, and have it watched for what comes late, if
 * anything of its plan can. u is still open, and has to be closed before late_leave(), which starts the helper; its
 * number, 0: none is needed.
 */
uint64_t late_note(const struct call *c, const struct undo *u, const struct run *run);
void late_leave(const struct call *c, uint64_t helper);

/* apply late UUID: once, now. */
int do_late(struct call *c);
/* apply linger UUID HELPER: the helper. */
int do_linger(struct call *c);

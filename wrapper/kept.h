/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What was left as it was, and why: one line "KNOB: why; KNOB: why" of printable ASCII, handed to QEMU in its
 * environment as DOMTUNE_KEPT, where `started` and `domtune status` read it (/proc/PID/environ).
 */
#pragma once

#include "common/util.h"

#define KEPT_NAME "DOMTUNE_KEPT"
#define KEPT_MAX 4096 /* bytes of the value: one long reason for each of some twenty disks */

struct kept {
	char text[sizeof(KEPT_NAME "=") + KEPT_MAX]; /* "DOMTUNE_KEPT=..." */
	size_t len;                                  /* of the value; 0: nothing was left */
	bool full;
};

/* A reason that does not fit any more is left out whole; the line then ends with "; ...". */
void kept_add(struct kept *k, const char *knob, const char *fmt, ...) PRINTF(3, 4);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * While the wrapper computes, nothing that goes wrong in it may cost the guest: a crash, an abort or a hang
 * ends in the real emulator with the original command line.
 */
#pragma once

#include "common/util.h"

#define GUARD_SECONDS 2 /* the policy's default deadline for a hook */

/* What to become. Everything is borrowed; `env` has room for one more word at env_end, its final NULL. */
struct guard {
	const char *volatile emulator; /* path; NULL: not found, then 127 */
	char *const *argv;             /* the original command line */
	char **env, **env_end;
};

/* Take over the fatal signals and start the clock. */
void guard_on(struct guard *g);

/* Clock off, signals so that the next program inherits what this one did. To be called before every execve(2). */
void guard_off(void);

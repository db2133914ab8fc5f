/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The gate: what the hook must know of the policy without parsing XML. `decide` writes it to
 * /run/domtune/cache/gate after each reading of policy.xml; it is valid while boot id and the file's device,
 * inode, size, mtime and ctime (and those of the directory etc/domtune/profiles) are as recorded. An invalid
 * gate means: ask `decide`.
 */
#pragma once

#include "hostfs.h"

#define GATE_STAMP_SIZE 128

struct gate {
	bool idle_untouched; /* no rules, and the default profile is off: a domain without annotation gets nothing */
	bool observe;
	unsigned int deadline_ms; /* 1..600000 */
	unsigned int grow_deadline_ms;
	char policy[GATE_STAMP_SIZE], profiles[GATE_STAMP_SIZE]; /* gate_stamp()'s, "" not taken yet */
};

#define GATE_DEFAULT ((struct gate){ .deadline_ms = 2000, .grow_deadline_ms = 5000 })

/*
 * Note which files are there. To be called before the policy is read, so that a policy replaced meanwhile does
 * not pass for the one that was read; gate_save() does it where it was not done.
 */
void gate_stamp(const struct hostfs *fs, struct gate *g);
/* -ESTALE: there is none that is valid; ret is then GATE_DEFAULT with a stamp or without. */
int gate_load(const struct hostfs *fs, struct gate *ret);
int gate_save(const struct hostfs *fs, const struct gate *g);
/* The host switch, the file etc/domtune/disabled. */
bool gate_is_disabled(const struct hostfs *fs);

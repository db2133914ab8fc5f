/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Carrying out: read, record intent, write, read back, record done; and undo, newest first. The only caller
 * of back ends' write. Each setting is logged once, failures with object, wanted value, the kernel's answer
 * and the consequence; a failure never stops the rest.
 */
#pragma once

#include "step.h"
#include "undo.h"

struct apply_count {
	unsigned int in_force, failed, skipped, late;
};

/*
 * Own objects: read old; equal and not ours: no write, no record; else intent, write, read back, done.
 * Shared objects: the same under the ledger's lock, claims folded, in the host ledger.
 * Stops at once, without a further write, when undo_still_current() says no (ret->late counts what was left).
 */
int apply_steps(const struct hostfs *fs, struct undo *u, const struct steps *s, struct apply_count *ret);

/*
 * Undo all of a domain's steps and its shared claims, newest first, each group cause first. An object is
 * restored only if its value is still our read-back (or, for an unsettled record, the wanted value); otherwise
 * it is left and the log says who has what. Gone objects count as restored. Repeatable: what is done is
 * recorded as undone. Finishes with the removal of plan/, undo/ and the claim. Works without an undo file.
 */
int undo_all(const struct hostfs *fs, const char *uuid, struct apply_count *ret, struct err *e);

/*
 * Undo every dead claim (claim_is_dead), at most `max` of them; leftovers without a claim (a crash between
 * the two) too if thorough. Returns how many were undone, or -errno.
 */
int apply_sweep(const struct hostfs *fs, bool thorough, bool judge_root, unsigned int max, struct err *e);

/* Settle records of a running domain that have neither done nor left, and apply what is missing (reconnect). */
int apply_repair(const struct hostfs *fs, struct undo *u, struct apply_count *ret);

/* After QEMU started: read what became of exec-stage settings (argv, smaps, DOMTUNE_KEPT in its environment). */
int apply_read_exec(const struct hostfs *fs, struct undo *u, const struct run *run);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Carrying out: read, record intent, write, read back, record done; and undo, newest first. The only caller
 * of back ends' write. Each setting is logged once, failures with object, wanted value, the kernel's answer
 * and the consequence; a failure never stops the rest.
 */
#pragma once

#include "step.h"
#include "undo.h"

/* Settings (not steps): one of several objects counts by the worst of them. Added to, never reset. */
struct apply_count {
	unsigned int in_force; /* undo: put back, or gone with the domain */
	unsigned int failed;
	unsigned int skipped;  /* no such object; undo: changed by somebody else, left */
	unsigned int late;     /* a newer start or a later phase came first */
	char failure[ERR_TEXT_SIZE]; /* the first failure's line, "" none */
	char name[256];        /* undo: the domain's, cut, for the log; "" not known */
	bool moves;            /* undo: the shared pool has grown: apply_moves() has something to do */
	bool shrinks;          /* undo: more huge pages were to be given back than one hold of the lock allows */
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
 * recorded as undone. Finishes with the removal of the claim, plan/ and undo/. Works without an undo file, and
 * takes the lock itself. A newer start of the same UUID, made meanwhile, is not touched. With the claim go the pages
 * that were added for it (hugepool_shrink()); floaters that have more room now are marked, no more (ret->moves). No
 * undo file of this domain may be open for writing.
 * Returns 1 if there was something, 0 if the UUID is not known, or -errno.
 */
int undo_all(const struct hostfs *fs, const char *uuid, struct apply_count *ret, struct err *e);
/* The same for one start: where undo file or claim are another one's, nothing is touched and 0 is returned. */
int undo_start(const struct hostfs *fs, const char *uuid, uint64_t generation, struct apply_count *ret, struct err *e);

/* Whether there is anything to say. */
bool apply_undone_any(const struct apply_count *c);
/* "12 settings put back, 1 left as somebody else has set it, 1 failed": what the log says of it. Returns snprintf's. */
int apply_format_undone(const struct apply_count *c, char *buf, size_t size);

/*
 * Undo every dead claim (claim_is_dead), at most `max` of them (UINT32_MAX: all); if thorough also leftovers without
 * a claim (a crash between the two) and temporary files of killed writers, shared objects that nobody claims any more are put
 * back, and all moves that wait are carried out (apply_moves()). Returns how many were undone, or -errno.
 */
int apply_sweep(const struct hostfs *fs, bool thorough, bool judge_root, unsigned int max, struct err *e);

/*
 * Carry out what place_share_update() has marked: every running domain with a moved floater but `except` (a uuid whose
 * undo file the caller has open; NULL: none). From its own record alone: one write for each group that floats, and
 * what that resets. The lock must not be held. A domain that is busy stays marked, and so does one that cannot be
 * moved, which is one warning with both sides' names; one notice says how many were moved. ret: in_force counts domains
 * moved, failed those that were not, late those that were busy. 0, or -errno where nothing could be looked at.
 */
int apply_moves(const struct hostfs *fs, const char *except, struct apply_count *ret, struct err *e);

/*
 * A domain's own part in that, for the one whose undo file is open. apply_follow(), the lock held: settings take the
 * values of the floaters of c. apply_settle(), without it, after they were applied: moves that came meanwhile are
 * applied, then the marks taken away. Both: 0 or -errno.
 */
int apply_follow(struct undo *u, const struct claim *c);
int apply_settle(const struct hostfs *fs, struct undo *u);

/*
 * A running domain with another plan than it was started with (undo_rewrite()): steps that the plan has no longer are
 * undone, changed ones get their new value, new ones are applied. back counts what was undone.
 */
int apply_retune(const struct hostfs *fs, struct undo *u, struct run *run, struct apply_count *ret,
		 struct apply_count *back, struct err *e);

/* Settle records of a running domain that have neither done nor left, and apply what is missing (reconnect). */
int apply_repair(const struct hostfs *fs, struct undo *u, struct apply_count *ret);

/*
 * Apply what has come since the steps of a running domain were made, and what was lost; nothing that was refused or that
 * somebody else has changed is tried or told again. What is on record of threads that have ended is closed. Returns how
 * many objects came and have another value now, or -errno. run: by run_find_groups().
 */
int apply_late(const struct hostfs *fs, struct undo *u, struct run *run, struct apply_count *ret);
/* Whether a vCPU was plugged in that the plan has no CPUs for: it is to be decided again. */
bool apply_lacks_vcpu(const struct undo *u, const struct run *run);

/* After QEMU started: read what became of exec-stage settings (argv, smaps, DOMTUNE_KEPT in its environment). */
int apply_read_exec(const struct hostfs *fs, struct undo *u, const struct run *run);

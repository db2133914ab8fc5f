/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The domain's ledger, /run/domtune/undo/UUID (0600): the plan of this start and, appended line by line, what
 * was done of it. Written whole by `decide` (rename), then appended to, whole lines per write(2), by the process that
 * acts, and written whole again where the plan is replaced or too much of it has been said twice (undo_rewrite());
 * removed after release.
 *
 *   head    format version, boot id, generation, uuid, name, profile, mode, ...
 *   place, vcpu, iothread, set, skip, warn     the plan (plan.h), for apply and `status`
 *   phase   prepared | started | stopped, since, pid and start time of QEMU (0: not known)
 *   intent  step number, its cause's number or 0, own | shared, knob, target, backend, object, original, wanted
 *                                              before the object is touched; a number that is known already: the step
 *                                              is to get another value (undo_rewant())
 *   value   index of a `set` line, knob, target, value    it is that from here on (undo_setting())
 *   done    step number, read-back
 *   left    step number, errno, why            refused or failed: the object is as it was
 *   exec    ok | kept, knob, target, effective, why    what the wrapper made of it, read from the running QEMU
 *   found   knob, target                       a setting that was skipped has found objects later
 *   undoing step number                        the cause that may reset it is about to be put back
 *   undone  step number, result                "restored", "gone", "changed by somebody else (VALUE), left"
 *
 * A record without done or left is settled by reading the object. So those of them that say no more than reading
 * does may wait (undo_batch()), as may intents until their objects are touched.
 *
 * Generation: `decide` replaces the file for a new start, so a worker that outlived its start finds its open
 * descriptor unlinked (st_nlink 0) or a later phase record behind its own: undo_still_current().
 *
 * One writer at a time: whoever opens it for writing holds an flock(2) on it until undo_fini(). Order of locks: this
 * one, then the ledger's; never those of two domains.
 */
#pragma once

#include "ledger.h"
#include "plan.h"

enum undo_state { UNDO_INTENT, UNDO_DONE, UNDO_LEFT, UNDO_UNDONE };

struct undo_step {
	unsigned int number;     /* 1.. in the order written */
	const char *knob, *target; /* these and the texts below are of struct undo's `texts` */
	const char *backend, *object;
	const char *original, *wanted;
	const char *readback;    /* UNDO_DONE: what the object said after the write */
	const char *before;      /* UNDO_INTENT by undo_rewant(): what the object said until then; else NULL */
	const char *why;         /* UNDO_LEFT, UNDO_UNDONE */
	int code;                /* UNDO_LEFT: errno */
	enum undo_state state;
	unsigned int cause;      /* number of the step whose write may reset this one (step.h: dependant), 0 none */
	bool undoing;            /* judged to be ours, then its cause was put back: any value is ours */
	bool shared;             /* original and restore are the host ledger's business */
};

struct undo_exec {
	char *knob, *target, *effective, *why;
	bool ok;
};

struct undo {
	int fd;                  /* open for appending, -1: read only */
	char boot_id[BOOT_ID_SIZE];
	uint64_t generation;
	struct plan plan;        /* as decided */
	enum claim_phase phase;
	uint64_t since;          /* of the phase CLAIM_STARTED, else of prepare */
	struct undo_step *steps; unsigned int n_steps;
	struct textpool texts;
	struct undo_exec *execs; unsigned int n_execs;
	unsigned int bad_lines;
	int pid; uint64_t pid_start; /* QEMU; 0 not known. Written by undo_set_phase() */
	uint64_t size;           /* the file's, if nobody else has appended to it */
	uint64_t seen;           /* so much of it was read, or is known to be ours */
	bool torn;               /* its last line has no end: the next record begins with one */
	bool batching;           /* see undo_batch() */
	struct sbuf waiting;     /* records that are not in the file yet */
	unsigned int n_recorded; /* steps whose intent is in the file */
	struct undo_rewanted *rewanted; unsigned int n_rewanted; /* what a step was before a rewant that still waits */
	unsigned int n_lines, n_stale; /* lines that were read; those of them that later ones have replaced */
};

/* Write the file anew for a start. generation from the ledger. */
int undo_create(const struct hostfs *fs, const struct plan *p, uint64_t generation, struct err *e);

/*
 * Read it; writable: keep it open for appending, and locked; waits up to patience_lock_ms() for another writer (-ETIMEDOUT).
 * -ENOENT: none; -ESTALE: of another boot; -EBADMSG: no head.
 */
int undo_open(const struct hostfs *fs, const char *uuid, bool writable, struct undo *ret, struct err *e);
/* The same, writable, for those who must not wait so long. */
int undo_open_within(const struct hostfs *fs, const char *uuid, unsigned int ms, struct undo *ret, struct err *e);
void undo_fini(struct undo *u);

/* Whether this start is still the current one; to be asked before each write to the host. */
bool undo_still_current(struct undo *u);

/*
 * From here to undo_flush() records may wait in memory: intents until undo_commit(), which the caller calls before it
 * touches an object; a done that says what the intent wanted, and undone, until any later write. A kill in between
 * loses only what reading the objects tells as well.
 */
void undo_batch(struct undo *u);
/*
 * Write the intents that wait, if any, in one write(2). On failure none of them is on record: their steps are
 * forgotten, and those that were to get another value are as they were.
 */
int undo_commit(struct undo *u);
/* Write all that waits, and let nothing wait any more. */
int undo_flush(struct undo *u);

int undo_set_phase(struct undo *u, enum claim_phase phase);
/* Tell whoever writes to it now that the domain ends: undo_still_current() says no from here on. 0 or -errno. */
int undo_tell_stopped(const struct hostfs *fs, const char *uuid);
/* Write-ahead; returns the step's number (> 0). The step is added to u->steps. */
int undo_intent(struct undo *u, const char *knob, const char *target, const char *backend, const char *object,
		const char *original, const char *wanted, bool shared);
/* The same for a step that a cause's write may reset; cause: number of the cause's intent. */
int undo_intent_of(struct undo *u, unsigned int cause, const char *knob, const char *target, const char *backend,
		   const char *object, const char *original, const char *wanted);
/*
 * A step that is in force, unsettled or was refused is to get another value: write-ahead as undo_intent(), and waits as
 * that does. Number and original stay. Until undo_done() its object says `wanted` (done), `before` or the original
 * (not done yet); anything else is somebody else's. -EINVAL: it is shared or undone. An unsettled one must be settled
 * first where its object says what was wanted, since only one value is remembered.
 */
int undo_rewant(struct undo *u, unsigned int number, const char *wanted);
int undo_done(struct undo *u, unsigned int number, const char *readback);
int undo_left(struct undo *u, unsigned int number, int code, const char *why);
int undo_exec_result(struct undo *u, const char *knob, const char *target, bool ok, const char *effective,
		     const char *why);
int undo_undoing(struct undo *u, unsigned int number);
int undo_undone(struct undo *u, unsigned int number, const char *result);
/*
 * Setting i of u->plan has another value from here on. What the placement says of the threads and the floater that it
 * is about follows. 0, -EINVAL, -ENOMEM or the write's -errno.
 */
int undo_setting(struct undo *u, size_t i, const char *value);
/*
 * Write the file anew, by rename, with this plan (NULL: u's own), every step that is not undone under its number, what
 * became of the exec stage, phase and process. Then *u is read again from the new file: nothing that pointed into it is
 * valid any more. u must be writable, and be flushed. -errno: the file is as it was, or, if it cannot be opened again
 * (-ETIMEDOUT), new; u is then closed in either case.
 */
int undo_rewrite(const struct hostfs *fs, struct undo *u, const struct plan *p, struct err *e);
/*
 * The same without opening it again, *u is closed: for who holds the ledger's lock, under which nobody may wait for
 * this one. -errno: the file is as it was.
 */
int undo_replace(const struct hostfs *fs, struct undo *u, const struct plan *p, struct err *e);
/* A setting of the plan that found no object after all; p->skipped has it already (steps_make()). */
int undo_skipped(struct undo *u, const struct skipped *s);
/* Setting s has objects by now. What p->skipped said of it is taken out of u->plan, too. 0 or -errno. */
int undo_found(struct undo *u, const struct setting *s);
struct undo_step *undo_find(struct undo *u, unsigned int number); /* NULL: none */
int undo_remove(const struct hostfs *fs, const char *uuid); /* undo/UUID and plan/UUID */

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between the parts of apply: apply_steps.c a run over steps, apply.c their objects, apply_batch.h shared ones, apply_undo.c
 * back, apply_heirs.c objects that came later, apply_host.c host.
 */
#pragma once

#include "apply.h"
#include "backend.h"

/* What a message was about. */
struct apply_told {
	char setting[128]; /* knob and target, cut where that is too long to matter */
	int code;
};

/* One of many objects (struct backend, is_many) of which something has to be said. */
struct apply_many {
	char *target;        /* "irq45" */
	char *now, *wanted;  /* NULL: they do not matter */
	int code;            /* what the kernel answered; 0: it made something else of it; below that: see there */
};
#define APPLY_MOVED (-1)
#define APPLY_KEPT_OFF (-2) /* another domain keeps them off where this one wants them */

/* One run over a domain's steps: what was already said, and which back ends are not asked again. */
struct apply_run {
	const struct hostfs *fs;
	const char *name;       /* the domain's, for the log */
	struct undo *undo;      /* NULL: release without an undo file */
	const char *broken[16];  /* more than there are back ends (backend.c) */
	bool undoing;           /* one object that cannot be put back does not keep the others from it */
	bool quiet;             /* failures are for the caller to tell (`failure`) */
	bool late;              /* what was refused or left before is not tried, nor told, again */
	bool foreign;           /* something was left because somebody else has changed it */
	bool denied_told, stand_in_told;
	struct apply_told told[2]; /* the last failure that was logged, and the last absent object */
	struct apply_many *many; unsigned int n_many;
	char failure[ERR_TEXT_SIZE];
};

/* What became of a step; worse ones last. */
enum apply_outcome { APPLY_IN_FORCE, APPLY_ABSENT, APPLY_FAILED, APPLY_LATE };

/* Who is spoken of in a message. */
struct apply_object {
	const char *knob, *target, *backend, *object;
};

/* Read an object into malloc'ed memory. 0 or -errno; *ret is then untouched. */
int apply_read(const struct apply_run *a, const struct backend *be, const char *object, char **ret);

/*
 * Write, with a few bounded retries while it is busy, and read back. 0: the object took a value; a failed write that
 * left the wanted value there is none. *ret_now: what the object says now, NULL if that cannot be read.
 */
int apply_write(const struct apply_run *a, const struct backend *be, const char *object, const char *value,
		char **ret_now);

/* Whether the object says now what is left of a value that this start gave it (backend.h). */
bool apply_remains(const struct backend *be, const struct undo_step *r, const char *now);

/* The back end; NULL (and *ret_code): there is none, it was broken before, or it cannot act on this object here. */
const struct backend *apply_backend(struct apply_run *a, const char *name, const char *object, int *ret_code);

/*
 * Log a failure by its class (err.h), each once, and say what it means for the step. consequence: "left as it was".
 * Absent objects are APPLY_ABSENT, all else APPLY_FAILED.
 */
enum apply_outcome apply_failure(struct apply_run *a, const struct apply_object *o, const char *wanted, int code,
				 const char *consequence);

/* The steps of one run in their order: apply_steps() with what the caller wants to know of it in *a. */
int apply_run_steps(struct apply_run *a, const struct steps *s, struct apply_count *ret);

/* The object holds something that is neither ours nor the original. */
void apply_log_foreign(struct apply_run *a, const struct apply_object *o, const char *value, const char *consequence);

/*
 * The open record, among the first n_before, of the object that this one has had its value from if it came later; NULL:
 * there is none. apply_heirs.c.
 */
const struct undo_step *apply_source(const struct undo *u, unsigned int n_before, const struct backend *be,
				     const char *object);

/*
 * Put back what came after s was recorded and has its value from there: objects without a record that say what s says.
 * s is still open, or its object was put back just now.
 */
enum apply_outcome apply_undo_heirs(struct apply_run *a, const struct undo_step *s);

/*
 * Apply steps s[0..n) that stand alone; and a cause, s[0], with its dependants. n_before: how many records there were before
 * this run. outcome[i] is set for each.
 */
void apply_singles(struct apply_run *a, const struct step *s, unsigned int n, unsigned int n_before,
		   enum apply_outcome *outcome);
void apply_group(struct apply_run *a, const struct step *s, unsigned int n, unsigned int n_before,
		 enum apply_outcome *outcome);

/* Apply shared steps s[0..n), all under one hold of the lock; outcome[i] is set for each. */
void apply_shared(struct apply_run *a, const struct step *s, unsigned int n, enum apply_outcome *outcome);

/*
 * Drop a domain's claims on shared objects, those of steps in keep[0..n_keep) excepted: the lock is held, l was read
 * under it. Everything is decided, l is written ahead, objects are written, read back. l itself still has to be written
 * once more by the caller, which then drops the domain's claim too. Returns 0, or -errno if the write-ahead failed:
 * then nothing was touched.
 */
int apply_release_shared(struct apply_run *a, struct ledger *l, const char *uuid, const struct steps *keep,
			 unsigned int n_keep, struct apply_count *count, struct err *e);

/*
 * Undo what this start did to objects that no step of keep[0..n_keep) is about, own and shared ones. 0 or -errno;
 * -ESTALE: a newer start came first.
 */
int apply_undo_others(const struct hostfs *fs, struct undo *u, const struct steps *keep, unsigned int n_keep,
		      struct apply_count *count, struct err *e);

/* Undo what this start did for one setting of its plan, own and shared objects, while a run of its steps goes on. 0 or -errno. */
int apply_take_back(struct apply_run *a, const struct setting *s, struct err *e);

/*
 * The same with what no setting of the plan is about any more, as a retune that was killed leaves it; s: the steps of
 * both stages. A setting that finds no objects just now keeps those on record.
 */
int apply_undo_forgotten(const struct hostfs *fs, struct undo *u, const struct steps s[2], struct err *e);

/* apply_many.c: remember it; without memory it is said in the debug log only. */
void apply_note_many(struct apply_run *a, const struct apply_object *o, int code, const char *now, const char *wanted);
/*
 * Say all that was remembered, a line for each kind of answer, and forget it. Forward it is on record for `status` too, as
 * what was skipped of `knob`.
 */
void apply_tell_many(struct apply_run *a, const char *knob);

/* Steps of quota and burst in the order that the kernel takes, coming from what is on record. */
void apply_order_burst(const struct undo *u, struct steps *s);

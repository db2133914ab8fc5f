/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One domain as status and verify see it: its claim, its record (undo/UUID), and what the host says now. Several
 * steps of one setting (a group's CPUs, then each thread's; the class, then what leads to it) are joined: the value in
 * force is that of the step that stands for it, or of the first that is not as it should be, the original that of the
 * first; it is as wanted if all steps are. Reads only; no
 * lock is needed, since the ledger is replaced by rename and a record is only appended to.
 */
#pragma once

#include "common/ledger.h"
#include "common/undo.h"

struct view_setting {
	const struct setting *setting; /* as decided; borrowed from the record */
	const struct shared *shared;   /* of a shared object; borrowed from the ledger; NULL */
	char *written;                 /* read back after the write; NULL: was not, or not yet */
	char *effective;               /* now; NULL: not known, gone */
	char *where;                   /* the file or property that effective is read from; NULL */
	char *original;                /* before our first change; NULL: nothing was changed */
	char *note;                    /* why it is not as wanted; NULL */
	char *others;                  /* what other domains want of a shared object; NULL: none, or the same */
	bool ok;                       /* effective is what was written */
	bool drifts;                   /* effective is of an object that is not as it should be */
	bool only_shared;              /* it is of one that is shared with other domains */
	bool exact;                    /* the objects say just what the value means there */
	bool pending;                  /* its time has not come, or (observe) never will */
	bool is_part;                  /* one of many objects of a setting (an interrupt), whose row stands for all */
	bool recorded;                 /* something was written, or tried */
};

struct view {
	const struct claim *claim; /* borrowed from the ledger */
	const char *state;         /* "prepared", "started", "stopped", "foreign", "observed", "dead" */
	bool has_record;
	struct undo undo; /* with has_record */
	struct view_setting *settings;
	size_t n_settings;
	struct setting *later; /* of view_look(): what is asked of disks that came since, by settings that were never made */
	size_t n_later;
	struct setting *parts; /* what the rows of interrupts are settings of (view_irq.c); knob, source and why are borrowed */
	size_t n_parts;
};

/*
 * Rows of interrupts, and what is said of all of them in the rows of the settings they belong to. Where an interrupt
 * really goes counts (effective_affinity_list).
 */
int view_interrupts(const struct hostfs *fs, struct ledger *l, struct view *v);
/* Whether a setting is one of those. */
bool view_is_of_interrupts(const struct setting *s);

/* -EACCES: only root can read it; -ENOMEM; other errors: e has the object. A damaged record is no error. */
int view_make(const struct hostfs *fs, struct ledger *l, const struct claim *c, struct view *ret, struct err *e);
void view_fini(struct view *v);

/*
 * What the running QEMU has of the wrapper's settings now, in place of what it had when it started: for verify, since it
 * reads page tables (exec_result.h). Where it cannot be read the record stays. Only -ENOMEM is an error.
 */
int view_look(const struct hostfs *fs, struct view *v);

/*
 * The value in force in the setting's own words where the objects say just that ("150%", though cpu.max says
 * "150000 100000"), so that it compares with the value; else the object's. NULL: not known, gone.
 */
const char *view_effective(const struct view_setting *s);

const char *view_state(const struct hostfs *fs, const struct claim *c);

/* Claims by name, then UUID; NULL-terminated, free the list. NULL without memory. */
const struct claim **view_claims(const struct ledger *l);

/* Whether an operand (name or UUID) means this claim. */
bool view_is_named(const struct claim *c, const char *operand);

/* Seconds since the epoch as "2024-11-23T02:50:00Z"; "" for 0. */
const char *view_time(uint64_t when, char *buf, size_t size);

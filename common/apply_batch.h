/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared objects: one value for what several domains want, kept in the host ledger. A batch is decided in memory,
 * written ahead in one piece, carried out, read back, and written once more; all under one hold of the lock, which
 * takes no longer than the writes do. A kill in between leaves entries whose read-back is missing: reading the object
 * says whether the write was made (it is `written`), or not (it is `before`).
 *
 * Whose value it is: ours, if it is what we read back after our last write. Where somebody else has changed it since
 * it is left alone and reported; the claim is still recorded, so that the last one to go finds out the same. An entry
 * without claims is one that is being put back; whoever comes next finishes it.
 *
 * apply_batch.c holds a batch, apply_irq.c and apply_born.c know what is special of interrupts; apply_shared.c fills it with claims,
 * apply_unclaim.c with what is left when they go.
 */
#pragma once

#include "apply_priv.h"
#include "strindex.h"

/* An object of the ledger that the batch is about. */
struct work {
	struct shared *s;
	const struct backend *be;
	char *now;       /* NULL: the object is gone or cannot be read */
	char *target;    /* NULL: leave it */
	bool is_ours;
	bool is_reset;   /* its cause is going to be written, and what that makes of it is right */
	bool wish_ended; /* this domain wanted a value of its own until now */
	bool is_stuck;   /* back: it could not be put back, though it is there */
	bool insists;    /* it is written even if it says already what it should */
	bool is_counted; /* back: it is this domain's, and not only as what a cause may reset */
	bool is_given_up; /* of many: it was refused, and is left as it was */
	int rc;
};

/* What a domain keeps interrupts off. */
struct keeper {
	char uuid[37];
	struct idset off;
};

struct batch {
	struct apply_run *a;
	struct ledger *l;
	struct work *w;
	unsigned int n;
	unsigned int *of_shared; /* index of its work + 1, by index of the ledger's entry; 0: none */
	struct strindex records; /* of the domain's own record: its shared steps, by back end and object */
	struct keeper *keepers; unsigned int n_keepers;
	/* The last interrupt that was folded, and what came of it: most of them are alike. */
	const struct shared *alike;
	char *alike_order, *alike_result;
	const char *off_text;    /* what `off` was made of; borrowed from a step */
	struct idset off;
	/* What new interrupts got before this batch, and get by its claims, where that is not what they got before us. */
	struct idset narrow, narrow_next;
	bool was_narrow, is_narrow, narrow_known;
	bool back_counted, left_counted; /* back: many objects count as one */
};

static inline bool is_away(const struct backend *be, const char *now)
{
	return be && be->comes_and_goes && now && streq(now, BACKEND_AWAY);
}

static inline struct apply_object object_of(const struct shared *s)
{
	return (struct apply_object){s->knob, s->target, s->backend, s->object};
}

static inline bool is_dependant(const struct shared *s)
{
	return s->cause && *s->cause;
}

/*
 * An empty batch over b->l, which was read under the lock, with room for so many of its entries: these may be pointed
 * to from then on. b->a and b->l are borrowed. 0 or -ENOMEM.
 */
int batch_init(struct batch *b, unsigned int room);
void batch_fini(struct batch *b);

/*
 * Take an entry in, once; its object was read by the caller (`now` is taken over), or is read here (NULL). be NULL: it cannot
 * be read. Never fails: what was answered is in `rc`.
 */
struct work *batch_add(struct batch *b, struct shared *s, const struct backend *be, char *now);

/* Entries that a killed run has recorded and not written, and what a write of this batch resets of others'. */
void batch_add_unsettled(struct batch *b);
void batch_add_dependants(struct batch *b);

/*
 * An entry more in the ledger, about an object that says `now`, which is no change of ours; its other texts and its fold as of
 * `like`, the object and its original apart. NULL: no memory.
 */
struct shared *batch_new_entry(struct ledger *l, const struct shared *like, const char *object, const char *original,
			       const char *now);

/*
 * The value that all claims make of it, malloc'ed. NULL: what it is, since the cause decides; but what a wish has made of
 * it, which has ended now, goes. 0 or -errno of the fold.
 */
int batch_fold(struct batch *b, const struct work *w, char **ret);

/*
 * Write the ledger ahead, then every object with a target, causes before dependants, and read them back into the ledger (in
 * memory). -errno: the write-ahead failed, nothing was touched; else 0, and each work's rc says what became of it.
 */
int batch_commit(struct batch *b, struct err *e);

/* The domain's own records of a shared object that are not undone; *at begins as 0, hash is strindex_hash() of both. */
struct undo_step *batch_next_record(const struct batch *b, const char *backend, const char *object, uint32_t hash,
				    unsigned int *at);
/* What an earlier run of this start has recorded about an object: something else speaks for it from now on. */
void batch_forget_records(struct batch *b, const char *backend, const char *object, const char *result);

/* Whether this domain wants a value of its own for it; uuid NULL: whether any does. */
bool shared_has_wish(const struct shared *s, const char *uuid);

/* What the cause had made of the object before somebody wished for another value; "" not known. Borrowed. */
const char *shared_followed(const struct shared *s);
int shared_note_followed(struct shared *s, const char *value);

/* --- apply_irq.c ------------------------------------------------------------------------------------------------ */

/* Find out what each domain keeps interrupts off, from its claim on what new ones get; and leave one out. */
int batch_find_keepers(struct batch *b);
void batch_drop_keeper(struct batch *b, const char *uuid);

/* fold_values() with what it has to know of those who claim nothing of this interrupt: they are not to get it either. */
int batch_fold_interrupt(struct batch *b, const struct shared *s, const char *const *values, unsigned int n, char **ret);

/*
 * Whether a claim has anything to say of an interrupt that others claim: it is to come somewhere, or it is or would be
 * where it must not. Who had a claim keeps it. One that has what new ones get is claimed as well: if it has just come, that
 * is not what it goes back to; and if it had that before us, who comes later can tell.
 */
bool batch_concerns(struct batch *b, const struct shared *s, const char *object, const char *now, const char *wanted,
		    bool is_claimed);

/* Whether this domain wants an interrupt somewhere, and gets it nowhere there. */
bool batch_is_kept_off(const struct batch *b, const struct work *w);

/*
 * Who keeps interrupts off some CPUs goes: an interrupt that had to make do with what he left, without being his claim, has
 * its own choice again.
 */
int batch_settle_interrupts(struct batch *b);

/* --- apply_born.c ----------------------------------------------------------------------------------------------- */

/* Note what new interrupts get before anything is claimed. */
void batch_begin_interrupts(struct batch *b);

/*
 * An interrupt that nobody has moved and that has what new ones got before this batch, narrowed, has come since: its original
 * is what it would have got without us, and all have a say in it who keep interrupts off (uuid's claim is the caller's). 1: it
 * is such a one, 0: it is not, or -ENOMEM.
 */
int batch_settle_born(struct batch *b, struct shared *s, const char *now, const char *uuid);

/* Whether an interrupt has what new ones got before this batch, or get by its claims. */
bool batch_is_as_new(struct batch *b, const char *object, const char *now);

/* An entry that nobody claims any more stays on record if it says what new ones get when uuid has gone. 0 or -ENOMEM. */
int batch_keep_preset(struct batch *b, struct shared *s, const char *uuid);

/*
 * Put interrupts that nobody has claimed on record in l, now that uuid goes, which keeps interrupts off: those that have come,
 * and those that say what new ones get from then on. Before batch_init(). 0 or -ENOMEM.
 */
int batch_adopt_born(struct apply_run *a, struct ledger *l, const char *uuid);

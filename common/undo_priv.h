/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between undo.c (reading, opening), undo_write.c (writing) and undo_set.c (a setting that has another value). */
#pragma once

#include "sbuf.h"
#include "undo.h"

#define UNDO_FORMAT "1"

/*
 * So many lines of a file may be replaced by later ones before it is written anew, which happens when they are most of
 * it, too. A line is read in about a microsecond: a thousand cost a hook call no more than a process start.
 */
#define UNDO_STALE_MAX 1024

/* How a step was before undo_rewant(), until that is in the file. */
struct undo_rewanted {
	unsigned int number;
	enum undo_state state;
	bool undoing;
	const char *wanted, *readback, *before; /* struct undo's */
};

/* Take over what a line says: 0, -EINVAL for one that cannot be used, -ENOMEM. undo_take_value(): a `value` line. */
int undo_take_line(struct undo *u, const struct record *r);
int undo_take_value(struct undo *u, const struct record *r);

/* One record behind those that wait. may_wait: if the caller lets records wait at all. */
int undo_append(struct undo *u, const struct sbuf *b, bool may_wait);

/* The file, anew, with this plan. Returns 0 or -errno. */
int undo_write_whole(const struct hostfs *fs, const struct undo *u, const struct plan *p);

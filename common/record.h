/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The line format of all our run-time files (ledger, plan/UUID, undo/UUID, cache/...): tab-separated fields,
 * first the record's type, last a CRC-32 of everything before it in 8 hex digits:
 *
 *     type TAB field TAB field ... TAB crc NEWLINE
 *
 * Tab, newline, carriage return, backslash and NUL-adjacent control bytes in a field are written as \t \n \r
 * \\ \xHH. A line that is torn, edited or longer than RECORD_MAX is ignored by the reader and counted; an empty
 * line means nothing (who appends to a file with a torn end begins with a newline). A record that the reader
 * would not take (too many fields, too long) sets `failed` of the buffer.
 */
#pragma once

#include "sbuf.h"

#define RECORD_FIELDS 32
#define RECORD_MAX 65536

struct record {
	unsigned int n;              /* fields, the type included */
	char *f[RECORD_FIELDS];      /* unescaped, point into the line (which was modified in place) */
	size_t len;                  /* of the line, which begins at f[0]; 0: it is not as it was but for its tabs */
};

/* Append one line. Fields are strings; the list ends with NULL. */
void record_add(struct sbuf *b, const char *type, ...) __attribute__((sentinel));

/* Append a line once more that record_next() has taken: f[0] and len of its record. */
void record_add_line(struct sbuf *b, const char *line, size_t len);

/*
 * Take the next good record from *pos (a NUL-terminated text that may be modified); advances *pos.
 * Returns 1, or 0 at the end. Bad lines are skipped and added to *bad (may be NULL).
 */
int record_next(char **pos, struct record *ret, unsigned int *bad);

/* Field i as text ("" if absent) and as number (fallback if absent or not a number). */
const char *record_str(const struct record *r, unsigned int i);
uint64_t record_u64(const struct record *r, unsigned int i, uint64_t fallback);

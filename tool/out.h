/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a person reads on stdout: headings, lines and aligned tables, fitted to the terminal. Colour only on a
 * terminal, and not with NO_COLOR (no-color.org) or TERM=dumb. Off a terminal nothing is wrapped, so that a line
 * can be found with grep(1); $COLUMNS, where set, is taken as the width in both cases.
 *
 * Everything shown goes through out_clean(): names come from domain definitions, and control characters in them
 * would be obeyed by the terminal.
 */
#pragma once

#include "common/util.h"

enum out_style { OUT_PLAIN, OUT_HEAD, OUT_GOOD, OUT_WARN, OUT_BAD, OUT_DIM, OUT_STYLE_MAX };

/* Looks at stdout and the environment; to be called once. */
void out_init(void);

/*
 * Next code point of UTF-8 text, *s advances past it; -1 for a byte that is not UTF-8 (surrogates and overlong
 * forms are not), *s advances by one. *s must not be at the end.
 */
int out_utf8(const char **s);

/*
 * A copy in which control characters (C0, DEL, C1), bytes that are not UTF-8 and the characters that reorder
 * text (U+200E, U+200F, U+202A..E, U+2066..9) are "?"; newlines are blanks. NULL only without memory.
 */
char *out_clean(const char *text);

/* Columns that clean text takes on a terminal. */
unsigned int out_width(const char *text);

/* One line, cleaned and wrapped with the given indent for what follows. */
void out_line(enum out_style style, unsigned int indent, const char *fmt, ...) PRINTF(3, 4);
/* An empty line, then the title of a section. */
void out_section(const char *title);

#define OUT_COLUMNS_MAX 12

struct out_column {
	const char *head; /* NULL in every column: no heading line */
	bool wrap;        /* may be broken into lines where the table is too wide */
	bool right;
};

struct out_cell {
	char *text;
	enum out_style style;
};

struct out_table {
	const struct out_column *columns;
	unsigned int n_columns;
	unsigned int indent;
	struct out_cell *cells;
	size_t n_cells;
	bool failed;
};

/* columns is borrowed. Cells are given row by row. */
void out_table_init(struct out_table *t, const struct out_column *columns, unsigned int n_columns, unsigned int indent);
void out_cell(struct out_table *t, enum out_style style, const char *fmt, ...) PRINTF(3, 4);
void out_cell_str(struct out_table *t, const char *text);
/* Prints and frees. An empty table prints nothing. */
void out_table_print(struct out_table *t);

/* "4 GiB", "1.5 GiB", "512 KiB", "17 B" into buf. */
const char *out_size(uint64_t bytes, char *buf, size_t size);

/* A page size as the vocabulary has it: "2M", "1G", "64K". */
const char *out_page_size(uint64_t bytes, char *buf, size_t size);

/* Whether everything written to stdout got there: 0 or -errno. */
int out_flush(void);

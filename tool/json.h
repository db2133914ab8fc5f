/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON on stdout, written as it goes: keys in the order of the calls, two blanks per level, objects of a list
 * on one line each, so that two plans can be compared with diff(1). Bytes depend on nothing but the calls (no
 * locale, no library version): "the same input gives the same bytes" is a promise of the tool.
 *
 * key is NULL for members of a list and for the outermost value. Text that is not UTF-8 is written with U+FFFD
 * in place of the bad bytes.
 */
#pragma once

#include "common/util.h"

#define JSON_DEPTH 12

struct json {
	FILE *f;
	unsigned int depth;
	struct {
		char close; /* '}' or ']' */
		bool any;   /* has a member already */
		bool one_line;
	} at[JSON_DEPTH];
};

#define JSON_INIT(file) ((struct json){ .f = (file) })

void json_object(struct json *j, const char *key);
void json_object_line(struct json *j, const char *key); /* with all its members on one line */
void json_list(struct json *j, const char *key);
void json_close(struct json *j); /* the innermost; the outermost ends with a newline */

void json_str(struct json *j, const char *key, const char *value); /* NULL is "" */
void json_str_or_null(struct json *j, const char *key, const char *value);
void json_u64(struct json *j, const char *key, uint64_t value);
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);

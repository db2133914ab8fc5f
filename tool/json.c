/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tool/json.h"

#include <assert.h>
#include <inttypes.h>

#include "tool/out.h"

static void put_text(struct json *j, const char *s)
{
	(void)fputc('"', j->f);
	while (*s) {
		const char *from = s;
		int c = out_utf8(&s);

		if (c < 0)
			(void)fputs("\\ufffd", j->f);
		else if (c == '"' || c == '\\')
			(void)fprintf(j->f, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			(void)fprintf(j->f, "\\u%04x", (unsigned int)c);
		else
			(void)fwrite(from, 1, (size_t)(s - from), j->f);
	}
	(void)fputc('"', j->f);
}

static void indent(struct json *j)
{
	(void)fputc('\n', j->f);
	for (unsigned int i = 0; i < j->depth; i++)
		(void)fputs("  ", j->f);
}

/* What comes before a member: comma, line, key. */
static void begin(struct json *j, const char *key)
{
	if (j->depth) {
		__typeof__(&j->at[0]) in = &j->at[j->depth - 1];

		assert(!key == (in->close == ']'));
		if (in->any)
			(void)fputc(',', j->f);
		if (!in->one_line)
			indent(j);
		else if (in->any)
			(void)fputc(' ', j->f);
		in->any = true;
	}
	if (key) {
		put_text(j, key);
		(void)fputs(": ", j->f);
	}
}

static void open_value(struct json *j, const char *key, char bracket, bool one_line)
{
	bool inherited = j->depth && j->at[j->depth - 1].one_line;

	begin(j, key);
	assert(j->depth < JSON_DEPTH);
	(void)fputc(bracket, j->f);
	j->at[j->depth].close = bracket == '{' ? '}' : ']';
	j->at[j->depth].any = false;
	j->at[j->depth].one_line = one_line || inherited;
	j->depth++;
}

void json_object(struct json *j, const char *key)
{
	open_value(j, key, '{', false);
}

void json_object_line(struct json *j, const char *key)
{
	open_value(j, key, '{', true);
}

void json_list(struct json *j, const char *key)
{
	open_value(j, key, '[', false);
}

void json_close(struct json *j)
{
	bool any, one_line;

	assert(j->depth);
	j->depth--;
	any = j->at[j->depth].any;
	one_line = j->at[j->depth].one_line;
	if (any && !one_line)
		indent(j);
	(void)fputc(j->at[j->depth].close, j->f);
	if (!j->depth)
		(void)fputc('\n', j->f);
}

void json_str(struct json *j, const char *key, const char *value)
{
	begin(j, key);
	put_text(j, value ? value : "");
}

void json_str_or_null(struct json *j, const char *key, const char *value)
{
	if (value)
		json_str(j, key, value);
	else
		json_null(j, key);
}

void json_u64(struct json *j, const char *key, uint64_t value)
{
	begin(j, key);
	(void)fprintf(j->f, "%" PRIu64, value);
}

void json_bool(struct json *j, const char *key, bool value)
{
	begin(j, key);
	(void)fputs(value ? "true" : "false", j->f);
}

void json_null(struct json *j, const char *key)
{
	begin(j, key);
	(void)fputs("null", j->f);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>

#include "err.h"

/* Overwrite the end of a text that did not fit with "...", without cutting a UTF-8 sequence in two. */
static void mark_truncated(char *text, size_t size)
{
	size_t at = size - 4;

	while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80)
		at--;
	memcpy(text + at, "...", 4);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (code <= 0)
		code = EINVAL;
	if (!e)
		return -code;
	e->code = code;
	e->line = 0;
	e->column = 0;
	va_start(ap, fmt);
	n = vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	if (n < 0)
		e->text[0] = '\0';
	else if ((size_t)n >= sizeof(e->text))
		mark_truncated(e->text, sizeof(e->text));
	return -code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char was[ERR_TEXT_SIZE];
	va_list ap;
	int n, m;

	if (!e)
		return -EINVAL;
	if (e->code <= 0)
		e->code = EINVAL;
	memcpy(was, e->text, sizeof(was));
	was[sizeof(was) - 1] = '\0';
	va_start(ap, fmt);
	n = vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	if (n < 0)
		n = 0;
	if ((size_t)n >= sizeof(e->text)) {
		mark_truncated(e->text, sizeof(e->text));
		return -e->code;
	}
	m = snprintf(e->text + n, sizeof(e->text) - (size_t)n, ": %s", was);
	if (m >= 0 && (size_t)n + (size_t)m >= sizeof(e->text))
		mark_truncated(e->text, sizeof(e->text));
	return -e->code;
}

const char *err_name(int code)
{
	/* strerrordesc_np(3), glibc 2.32: never localised, NULL for an unknown number. */
	const char *text = strerrordesc_np(code < 0 ? -code : code);

	return text ? text : "Unknown error";
}

enum err_class err_classify(int code)
{
	static const struct {
		int code;
		enum err_class class;
	} table[] = {
		{ ENOENT, ERR_ABSENT },	    { ENOTDIR, ERR_ABSENT },  { ESRCH, ERR_ABSENT },   { ENODEV, ERR_ABSENT },
		{ ENXIO, ERR_ABSENT },	    { EOPNOTSUPP, ERR_ABSENT }, { EACCES, ERR_DENIED }, { EPERM, ERR_DENIED },
		{ EROFS, ERR_DENIED },	    { EAGAIN, ERR_BUSY },     { EBUSY, ERR_BUSY },     { EINTR, ERR_BUSY },
		{ EINVAL, ERR_REFUSED },    { ERANGE, ERR_REFUSED },  { ENOSPC, ERR_REFUSED }, { EDOM, ERR_REFUSED },
		{ EOVERFLOW, ERR_REFUSED }, { E2BIG, ERR_REFUSED },
	};

	if (code < 0)
		code = -code;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].code == code)
			return table[i].class;
	return ERR_BROKEN;
}

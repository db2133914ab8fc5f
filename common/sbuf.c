/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>

#include "sbuf.h"

/* Room for `more` bytes and a NUL. */
static bool sbuf_grow(struct sbuf *b, size_t more)
{
	size_t need, size = b->size ? b->size : 256;
	char *s;

	if (b->failed)
		return false;
	if (__builtin_add_overflow(b->len, more, &need) || __builtin_add_overflow(need, 1u, &need) ||
	    need > SIZE_MAX / 4) {
		b->failed = true;
		return false;
	}
	if (b->s && need <= b->size)
		return true;
	while (size < need)
		size *= 2;
	s = realloc(b->s, size);
	if (!s) {
		b->failed = true;
		return false;
	}
	b->s = s;
	b->size = size;
	return true;
}

char *sbuf_room(struct sbuf *b, size_t more)
{
	return sbuf_grow(b, more) ? b->s + b->len : NULL;
}

void sbuf_addn(struct sbuf *b, const char *text, size_t n)
{
	if (!sbuf_grow(b, n))
		return;
	if (n)
		memcpy(b->s + b->len, text, n);
	b->len += n;
	b->s[b->len] = '\0';
}

void sbuf_add(struct sbuf *b, const char *text)
{
	sbuf_addn(b, text, strlen(text));
}

void sbuf_addf(struct sbuf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	/* Most texts are short: one pass where they fit in what is there. */
	if (!sbuf_grow(b, 80))
		return;
	va_start(ap, fmt);
	n = vsnprintf(b->s + b->len, b->size - b->len, fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n >= b->size - b->len) {
		b->s[b->len] = '\0';
		if (!sbuf_grow(b, (size_t)n))
			return;
		va_start(ap, fmt);
		n = vsnprintf(b->s + b->len, b->size - b->len, fmt, ap);
		va_end(ap);
	}
	if (n < 0) {
		b->s[b->len] = '\0';
		b->failed = true;
		return;
	}
	b->len += (size_t)n;
}

void sbuf_fini(struct sbuf *b)
{
	free(b->s);
	*b = (struct sbuf){ 0 };
}

char *sbuf_steal(struct sbuf *b)
{
	char *s;

	if (!b->s)
		sbuf_addn(b, "", 0);
	if (b->failed) {
		sbuf_fini(b);
		return NULL;
	}
	s = steal_ptr(&b->s);
	*b = (struct sbuf){ 0 };
	return s;
}

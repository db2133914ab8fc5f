/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A growing text. After any failed allocation it stays failed: check once, at the end. */
#pragma once

#include "util.h"

struct sbuf {
	char *s;    /* NUL-terminated once anything was added; NULL before */
	size_t len; /* without the NUL */
	size_t size;
	bool failed;
};

/* Where `more` bytes may be written, behind which is room for a NUL; len and the NUL are the caller's. NULL: failed. */
char *sbuf_room(struct sbuf *b, size_t more);

void sbuf_add(struct sbuf *b, const char *text);
void sbuf_addn(struct sbuf *b, const char *text, size_t n);
void sbuf_addf(struct sbuf *b, const char *fmt, ...) PRINTF(2, 3);
void sbuf_fini(struct sbuf *b);

/* Takes the text out; the caller frees it. "" if nothing was added, NULL if an allocation failed. */
char *sbuf_steal(struct sbuf *b);

#define _cleanup_sbuf_ _cleanup_(sbuf_fini)

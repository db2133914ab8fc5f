/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The error object: what a person has to read when something failed.
 *
 * Fallible functions return 0 (or a positive result) for success and a negative errno for
 * failure. Those where a person needs the context take a `struct err *` last; it is untouched
 * on success, may be NULL, never allocates, and marks a truncated text with "...".
 */
#pragma once

#include "util.h"

#define ERR_TEXT_SIZE 400

struct err {
	int code;   /* positive errno, 0: none */
	int line;   /* of an input text, 1.., 0: not about a place in a text */
	int column; /* 1.., 0: unknown */
	char text[ERR_TEXT_SIZE];
};

#define ERR_INIT ((struct err){ 0 })

/* Set code and text. code: positive errno. Returns -code, so that `return err_set(...)` works. */
int err_set(struct err *e, int code, const char *fmt, ...) PRINTF(3, 4);

/* Put "fmt: " in front of what is there; keeps code and place. Returns -e->code (-EINVAL if e is NULL). */
int err_wrap(struct err *e, const char *fmt, ...) PRINTF(2, 3);

/* Name of an errno in the kernel's words, e.g. "No space left on device"; never NULL, not localised. */
const char *err_name(int code);

/*
 * How an errno of a host file is to be taken; one table for every back end.
 *   absent: the object is not there (debug)       denied: we may not (notice, once)
 *   busy: worth a bounded retry                   refused: the kernel does not take this value (warning)
 *   broken: anything else (warning; the back end is not asked again)
 */
enum err_class { ERR_ABSENT, ERR_DENIED, ERR_BUSY, ERR_REFUSED, ERR_BROKEN };
enum err_class err_classify(int code);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Strict number parsing: the whole text is the number, or it is an error. No locale, no sign, no blanks. */
#pragma once

#include "util.h"

/* Decimal, 0..UINT64_MAX. -EINVAL: not a number; -ERANGE: too large. ret untouched on error. */
int num_parse_u64(const char *text, uint64_t *ret);

/* The same, within [min, max], else -ERANGE. */
int num_parse_range(const char *text, uint64_t min, uint64_t max, uint64_t *ret);

/* Hexadecimal without 0x, at most 16 digits. */
int num_parse_hex(const char *text, uint64_t *ret);

/*
 * Size in bytes as the contract has it: integer with optional B, KiB, MiB, GiB, TiB, no blank; none means
 * bytes. -EINVAL, -ERANGE (over UINT64_MAX).
 */
int num_parse_size(const char *text, uint64_t *ret);

/*
 * Rate as tc(8) has it, in bits per second: integer with optional bit, kbit, mbit, gbit, tbit (1000), kibit,
 * mibit, gibit, tibit (1024), bps, kbps, mbps, gbps, tbps (bytes); none means bits. Case-insensitive as in tc.
 */
int num_parse_rate(const char *text, uint64_t *ret);

/* "N%" with 0 <= N. ret is N. -EINVAL, -ERANGE. */
int num_parse_percent(const char *text, uint64_t *ret);

/* Whether text is a canonical lower- or upper-case UUID (8-4-4-4-12 hex digits). */
bool uuid_is_valid(const char *text);

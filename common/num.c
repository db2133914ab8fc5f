/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <strings.h>

#include "num.h"

/* Digits at the start of text. *end: behind them. -EINVAL: none; -ERANGE: over UINT64_MAX. */
static int take_decimal(const char *text, uint64_t *ret, const char **end)
{
	const char *p = text;
	uint64_t v = 0;
	bool over = false;

	for (; *p >= '0' && *p <= '9'; p++)
		over = over || __builtin_mul_overflow(v, 10u, &v) ||
		       __builtin_add_overflow(v, (unsigned int)(*p - '0'), &v);
	if (p == text)
		return -EINVAL;
	*end = p;
	*ret = v;
	return over ? -ERANGE : 0;
}

int num_parse_u64(const char *text, uint64_t *ret)
{
	const char *end = NULL;
	uint64_t v = 0;
	int r = take_decimal(text, &v, &end);

	if (r == -EINVAL || *end)
		return -EINVAL;
	if (r == 0)
		*ret = v;
	return r;
}

int num_parse_range(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;
	int r = num_parse_u64(text, &v);

	if (r < 0)
		return r;
	if (v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int num_parse_hex(const char *text, uint64_t *ret)
{
	uint64_t v = 0;
	size_t n = 0;

	for (; text[n]; n++) {
		int d = hex_digit(text[n]);

		if (d < 0)
			return -EINVAL;
		v = v << 4 | (uint64_t)d;
	}
	if (n == 0)
		return -EINVAL;
	if (n > 16)
		return -ERANGE;
	*ret = v;
	return 0;
}

struct unit {
	const char *name;
	uint64_t factor;
};

/* A number and one of the units; NULL-named row: end of table. fold: upper case is the same as lower. */
static int parse_with_unit(const char *text, const struct unit *units, bool fold, uint64_t *ret)
{
	const char *end = NULL;
	uint64_t v = 0;
	int r = take_decimal(text, &v, &end);

	if (r == -EINVAL)
		return r;
	for (; units->name; units++) {
		if (fold ? strcasecmp(end, units->name) != 0 : strcmp(end, units->name) != 0)
			continue;
		if (r < 0 || __builtin_mul_overflow(v, units->factor, &v))
			return -ERANGE;
		*ret = v;
		return 0;
	}
	return -EINVAL;
}

int num_parse_size(const char *text, uint64_t *ret)
{
	static const struct unit units[] = {
		{ "", 1 },
		{ "B", 1 },
		{ "KiB", UINT64_C(1) << 10 },
		{ "MiB", UINT64_C(1) << 20 },
		{ "GiB", UINT64_C(1) << 30 },
		{ "TiB", UINT64_C(1) << 40 },
		{ NULL, 0 },
	};

	return parse_with_unit(text, units, false, ret);
}

int num_parse_rate(const char *text, uint64_t *ret)
{
	/* tc(8), "Rates": bit/s; SI prefixes are powers of 1000, IEC ones of 1024; "bps" is bytes per second. */
	static const struct unit units[] = {
		{ "", 1 },
		{ "bit", 1 },
		{ "kbit", 1000 },
		{ "mbit", 1000000 },
		{ "gbit", UINT64_C(1000000000) },
		{ "tbit", UINT64_C(1000000000000) },
		{ "kibit", UINT64_C(1) << 10 },
		{ "mibit", UINT64_C(1) << 20 },
		{ "gibit", UINT64_C(1) << 30 },
		{ "tibit", UINT64_C(1) << 40 },
		{ "bps", 8 },
		{ "kbps", 8 * 1000 },
		{ "mbps", 8 * 1000000 },
		{ "gbps", 8 * UINT64_C(1000000000) },
		{ "tbps", 8 * UINT64_C(1000000000000) },
		{ "kibps", UINT64_C(8) << 10 },
		{ "mibps", UINT64_C(8) << 20 },
		{ "gibps", UINT64_C(8) << 30 },
		{ "tibps", UINT64_C(8) << 40 },
		{ NULL, 0 },
	};

	return parse_with_unit(text, units, true, ret);
}

int num_parse_percent(const char *text, uint64_t *ret)
{
	static const struct unit units[] = { { "%", 1 }, { NULL, 0 } };

	return parse_with_unit(text, units, false, ret);
}

bool uuid_is_valid(const char *text)
{
	for (unsigned int i = 0; i < 36; i++) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (text[i] != '-')
				return false;
		} else if (hex_digit(text[i]) < 0) {
			return false;
		}
	}
	return text[36] == '\0';
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/num.h"
#include "tests/unit/tap.h"

struct num_case {
	const char *text;
	int r;
	uint64_t v;
};

/* On error the result must stay as it was. */
static void check(const char *what, int (*parse)(const char *, uint64_t *), const struct num_case *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t v = 4711;
		int r = parse(c[i].text, &v);

		if (r != c[i].r || v != (r ? 4711 : c[i].v))
			TAP_FAIL("%s '%s': %d, %llu", what, c[i].text, r, (unsigned long long)v);
	}
}
#define CHECK(parse, cases) check(#parse, parse, cases, ARRAY_SIZE(cases))

TEST(decimal)
{
	static const struct num_case cases[] = {
		{ "0", 0, 0 },
		{ "007", 0, 7 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "18446744073709551620", -ERANGE, 0 },
		{ "99999999999999999999999999999", -ERANGE, 0 },
		{ "99999999999999999999999999999x", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "1\n", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
		{ "1e3", -EINVAL, 0 },
		{ "1.0", -EINVAL, 0 },
		{ "\xd9\xa1", -EINVAL, 0 }, /* an Arabic one */
	};

	CHECK(num_parse_u64, cases);
}

TEST(range)
{
	uint64_t v = 3;

	IS_INT(num_parse_range("5", 5, 5, &v), 0);
	IS_INT(v, 5);
	IS_INT(num_parse_range("4", 5, 9, &v), -ERANGE);
	IS_INT(num_parse_range("10", 5, 9, &v), -ERANGE);
	IS_INT(num_parse_range("x", 0, UINT64_MAX, &v), -EINVAL);
	IS_INT(v, 5);
}

TEST(hexadecimal)
{
	static const struct num_case cases[] = {
		{ "0", 0, 0 },
		{ "fF", 0, 255 },
		{ "ffffffffffffffff", 0, UINT64_MAX },
		{ "00000000000000001", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "0x1", -EINVAL, 0 },
		{ "fg", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
	};

	CHECK(num_parse_hex, cases);
}

TEST(size)
{
	static const struct num_case cases[] = {
		{ "0", 0, 0 },
		{ "512", 0, 512 },
		{ "1B", 0, 1 },
		{ "3KiB", 0, 3072 },
		{ "2MiB", 0, 2097152 },
		{ "1GiB", 0, 1073741824 },
		{ "16777215TiB", 0, UINT64_C(18446742974197923840) },
		{ "16777216TiB", -ERANGE, 0 },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "99999999999999999999GiB", -ERANGE, 0 },
		{ "99999999999999999999GB", -EINVAL, 0 },
		{ "1 GiB", -EINVAL, 0 },
		{ "1gib", -EINVAL, 0 },
		{ "1G", -EINVAL, 0 },
		{ "1KB", -EINVAL, 0 },
		{ "GiB", -EINVAL, 0 },
		{ "1.5GiB", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
	};

	CHECK(num_parse_size, cases);
}

TEST(rate)
{
	static const struct num_case cases[] = {
		{ "8", 0, 8 },
		{ "9bit", 0, 9 },
		{ "10kbit", 0, 10000 },
		{ "10Mbit", 0, 10000000 },
		{ "10GBIT", 0, UINT64_C(10000000000) },
		{ "1tbit", 0, UINT64_C(1000000000000) },
		{ "1kibit", 0, 1024 },
		{ "1gibit", 0, 1073741824 },
		{ "1bps", 0, 8 },
		{ "1kbps", 0, 8000 },
		{ "1mbps", 0, 8000000 },
		{ "1gbps", 0, UINT64_C(8000000000) },
		{ "1tbps", 0, UINT64_C(8000000000000) },
		{ "18446745tbit", -ERANGE, 0 },
		{ "1m", -EINVAL, 0 },
		{ "1 mbit", -EINVAL, 0 },
		{ "10%", -EINVAL, 0 },
		{ "mbit", -EINVAL, 0 },
	};

	CHECK(num_parse_rate, cases);
}

TEST(percent)
{
	static const struct num_case cases[] = {
		{ "0%", 0, 0 },
		{ "250%", 0, 250 },
		{ "18446744073709551615%", 0, UINT64_MAX },
		{ "18446744073709551616%", -ERANGE, 0 },
		{ "5", -EINVAL, 0 },
		{ "%", -EINVAL, 0 },
		{ "5 %", -EINVAL, 0 },
		{ "5%%", -EINVAL, 0 },
		{ "-5%", -EINVAL, 0 },
	};

	CHECK(num_parse_percent, cases);
}

TEST(uuid)
{
	OK(uuid_is_valid("4dea22b3-1d52-d8f3-2516-782e98ab3fa0"));
	OK(uuid_is_valid("4DEA22B3-1D52-D8F3-2516-782E98AB3FA0"));
	OK(!uuid_is_valid(""));
	OK(!uuid_is_valid("4dea22b31d52d8f32516782e98ab3fa0"));
	OK(!uuid_is_valid("4dea22b3-1d52-d8f3-2516-782e98ab3fa"));
	OK(!uuid_is_valid("4dea22b3-1d52-d8f3-2516-782e98ab3fa00"));
	OK(!uuid_is_valid("4dea22b3-1d52-d8f3-2516-782e98ab3fa0\n"));
	OK(!uuid_is_valid("4dea22b3-1d52-d8f3-2516-782e98ab3f/."));
	OK(!uuid_is_valid("../../../../../../../etc/passwd-----"));
}

TAP_MAIN

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/idset.h"
#include "tests/unit/tap.h"

TEST(parses_lists)
{
	static const struct {
		const char *text;
		int r;
		const char *canonical;
	} cases[] = {
		{ "0", 0, "0" },
		{ "0-3,8", 0, "0-3,8" },
		{ "8,0-3", 0, "0-3,8" },
		{ "0-3,^2,8", 0, "0-1,3,8" },
		{ "0-3,^2,2", 0, "0-3" },
		{ "^2,0-3", 0, "0-3" }, /* in order, as virBitmapParse */
		{ "0-1,2-3,3", 0, "0-3" },
		{ " 0 , 2 - 3 ,\t5\n", 0, "0,2-3,5" },
		{ "1,3,", 0, "1,3" },
		{ "0-31:1/2", 0, "0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30" },
		{ "0-10:2/4", 0, "0-1,4-5,8-9" },
		{ "0-9:2/4,3", 0, "0-1,3-5,8-9" },
		{ "0-8:2/4", 0, "0-1,4-5,8" },
		{ "5-5", 0, "5" },
		{ "8191", 0, "8191" },
		{ "0-8191", 0, "0-8191" },
		{ "8192", -ERANGE, NULL },
		{ "0-8192", -ERANGE, NULL },
		{ "99999999999999999999", -ERANGE, NULL },
		{ "4294967296", -ERANGE, NULL },
		{ "0,^8192", -ERANGE, NULL },
		{ "0-9:1/9000", -ERANGE, NULL },
		{ "99999,x", -EINVAL, NULL },
		{ "", -ENODATA, NULL },
		{ "\n", -ENODATA, NULL },
		{ "^3", -ENODATA, NULL },
		{ "3,^3", -ENODATA, NULL },
		{ ",", -EINVAL, NULL },
		{ "1,,2", -EINVAL, NULL },
		{ "1 2", -EINVAL, NULL },
		{ "3-1", -EINVAL, NULL },
		{ "1-", -EINVAL, NULL },
		{ "-1", -EINVAL, NULL },
		{ "1-2-3", -EINVAL, NULL },
		{ "0-3,^1-2", -EINVAL, NULL },
		{ "^", -EINVAL, NULL },
		{ "^^1", -EINVAL, NULL },
		{ "0-3:0/2", -EINVAL, NULL },
		{ "0-3:3/2", -EINVAL, NULL },
		{ "0-3:1", -EINVAL, NULL },
		{ "0-3:/2", -EINVAL, NULL },
		{ "0x1", -EINVAL, NULL },
		{ "all", -EINVAL, NULL },
		{ "1;2", -EINVAL, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct idset s = IDSET_EMPTY;
		char *text;
		int r;

		idset_add(&s, 77);
		r = idset_parse(cases[i].text, &s);
		if (r != cases[i].r)
			TAP_FAIL("'%s': %d, not %d", cases[i].text, r, cases[i].r);
		text = idset_text(&s);
		IS_STR(text, r ? "77" : cases[i].canonical);
		free(text);
	}
}

TEST(parses_masks)
{
	static const struct {
		const char *text;
		int r;
		const char *canonical;
	} cases[] = {
		{ "1", 0, "0" },
		{ "f", 0, "0-3" },
		{ "ff,00000003", 0, "0-1,32-39" },
		{ "00000000,00000101\n", 0, "0,8" },
		{ "80000000,00000000", 0, "63" },
		{ "F0", 0, "4-7" },
		{ "1,1", 0, "0,32" },
		{ "0", -ENODATA, NULL },
		{ "00000000,00000000", -ENODATA, NULL },
		{ "", -ENODATA, NULL },
		{ ",1", -EINVAL, NULL },
		{ "1,", -EINVAL, NULL },
		{ "1,,1", -EINVAL, NULL },
		{ "123456789", -EINVAL, NULL },
		{ "0x1", -EINVAL, NULL },
		{ "0-3", -EINVAL, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct idset s = IDSET_EMPTY;
		char *text;
		int r;

		idset_add(&s, 77);
		r = idset_parse_mask(cases[i].text, &s);
		if (r != cases[i].r)
			TAP_FAIL("'%s': %d, not %d", cases[i].text, r, cases[i].r);
		text = idset_text(&s);
		IS_STR(text, r ? "77" : cases[i].canonical);
		free(text);
	}
}

TEST(mask_limit)
{
	/* 257 words: the highest bit that fits, and the one that does not; leading zeros are no CPUs. */
	char text[257 * 9 + 1], *p = text;
	struct idset s;

	for (int i = 0; i < 257; i++)
		p += snprintf(p, 10, "%s%08x", i ? "," : "", i == 1 ? 0x80000000u : 0u);
	IS_INT(idset_parse_mask(text, &s), 0);
	IS_INT(idset_first(&s), 8191);
	text[7] = '1';
	IS_INT(idset_parse_mask(text, &s), -ERANGE);
}

TEST(members)
{
	struct idset s = IDSET_EMPTY;

	OK(idset_is_empty(&s));
	IS_INT(idset_first(&s), -1);
	idset_add(&s, 0);
	idset_add(&s, 63);
	idset_add(&s, 64);
	idset_add(&s, 8191);
	idset_add(&s, 8192); /* ignored */
	idset_add(&s, UINT32_MAX);
	IS_INT(idset_count(&s), 4);
	OK(idset_has(&s, 63) && idset_has(&s, 64) && !idset_has(&s, 65) && !idset_has(&s, 8192));
	IS_INT(idset_first(&s), 0);
	IS_INT(idset_next(&s, 0), 63);
	IS_INT(idset_next(&s, 63), 64);
	IS_INT(idset_next(&s, 64), 8191);
	IS_INT(idset_next(&s, 8191), -1);
	IS_INT(idset_next(&s, INT32_MAX), -1);
	IS_INT(idset_next(&s, -5), 0);
	idset_del(&s, 64);
	idset_del(&s, 8192);
	IS_INT(idset_count(&s), 3);
	IS_INT(idset_next(&s, 63), 8191);
}

TEST(algebra)
{
	struct idset a = IDSET_EMPTY, b = IDSET_EMPTY, c;

	IS_INT(idset_parse("0-3,100", &a), 0);
	IS_INT(idset_parse("2-5,8000", &b), 0);
	OK(idset_intersects(&a, &b) && !idset_equal(&a, &b) && !idset_is_subset(&a, &b));
	c = a;
	idset_and(&c, &b);
	OK(idset_is_subset(&c, &a) && idset_is_subset(&c, &b));
	IS_INT(idset_count(&c), 2);
	c = a;
	idset_or(&c, &b);
	IS_INT(idset_count(&c), 8);
	idset_andnot(&c, &b);
	IS_INT(idset_count(&c), 3);
	OK(!idset_intersects(&c, &b));
	c = IDSET_EMPTY;
	OK(idset_is_subset(&c, &a) && !idset_intersects(&c, &a));
}

TEST(formats_into_buffers)
{
	struct idset s = IDSET_EMPTY;
	char buf[16], *text;

	IS_INT(idset_format(&s, buf, sizeof(buf)), 0);
	IS_STR(buf, "");
	IS_INT(idset_parse("0-3,8,10-11", &s), 0);
	IS_INT(idset_format(&s, buf, 12), 11);
	IS_STR(buf, "0-3,8,10-11");
	IS_INT(idset_format(&s, buf, 11), -E2BIG);
	IS_STR(buf, "");
	IS_INT(idset_format(&s, buf, 1), -E2BIG);
	IS_INT(idset_format(&s, buf, 0), -E2BIG);

	/* The longest possible text. */
	s = IDSET_EMPTY;
	for (unsigned int i = 1; i < IDSET_MAX; i += 2)
		idset_add(&s, i);
	text = idset_text(&s);
	OK(text != NULL);
	if (text) {
		struct idset again = IDSET_EMPTY;

		IS_INT(idset_parse(text, &again), 0);
		OK(idset_equal(&s, &again));
	}
	free(text);
}

TEST(iterates)
{
	struct idset s = IDSET_EMPTY;
	int n = 0, sum = 0;

	IS_INT(idset_parse("5,64-66,8190", &s), 0);
	IDSET_FOREACH(id, &s)
	{
		n++;
		sum += id;
	}
	IS_INT(n, 5);
	IS_INT(sum, 5 + 64 + 65 + 66 + 8190);
}

TAP_MAIN

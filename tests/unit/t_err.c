/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <locale.h>

#include "common/err.h"
#include "tests/unit/tap.h"

TEST(set_fills_and_returns_code)
{
	struct err e = { .line = 7, .column = 8 };

	IS_INT(err_set(&e, ENOSPC, "disk %s: %d", "sda", 5), -ENOSPC);
	IS_INT(e.code, ENOSPC);
	IS_INT(e.line, 0);
	IS_INT(e.column, 0);
	IS_STR(e.text, "disk sda: 5");
	IS_INT(err_set(NULL, EACCES, "nobody reads this"), -EACCES);
	/* A caller that has no errno must not return success. */
	IS_INT(err_set(&e, 0, "x"), -EINVAL);
}

TEST(wrap_keeps_code_and_place)
{
	struct err e = ERR_INIT;

	(void)err_set(&e, ENOENT, "no such file");
	e.line = 3;
	e.column = 9;
	IS_INT(err_wrap(&e, "policy %s", "p.xml"), -ENOENT);
	IS_STR(e.text, "policy p.xml: no such file");
	IS_INT(e.line, 3);
	IS_INT(e.column, 9);
	IS_INT(err_wrap(NULL, "x"), -EINVAL);
}

TEST(long_texts_are_marked)
{
	char huge[2 * ERR_TEXT_SIZE];
	struct err e = ERR_INIT;

	memset(huge, 'a', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	(void)err_set(&e, EINVAL, "%s", huge);
	IS_INT(strlen(e.text), ERR_TEXT_SIZE - 1);
	IS_STR(e.text + ERR_TEXT_SIZE - 5, "a...");
	(void)err_set(&e, EINVAL, "short");
	(void)err_wrap(&e, "%s", huge);
	IS_STR(e.text + ERR_TEXT_SIZE - 5, "a...");
	/* Exactly full is not cut. */
	huge[ERR_TEXT_SIZE - 1] = '\0';
	(void)err_set(&e, EINVAL, "%s", huge);
	IS_STR(e.text, huge);
	/* The wrapped text is what is cut when the prefix is short. */
	(void)err_wrap(&e, "object");
	OK(str_starts(e.text, "object: aaa"));
	IS_STR(e.text + strlen(e.text) - 4, "a...");
}

TEST(truncation_keeps_utf8_whole)
{
	/* Whatever the alignment, no byte of a two-byte character is left alone before the mark. */
	for (int shift = 0; shift < 4; shift++) {
		char huge[2 * ERR_TEXT_SIZE];
		struct err e = ERR_INIT;
		size_t n = 0;

		while (n < (size_t)shift)
			huge[n++] = 'x';
		for (; n + 2 < sizeof(huge); n += 2)
			memcpy(huge + n, "\xc3\xa9", 2);
		huge[n] = '\0';
		(void)err_set(&e, EINVAL, "%s", huge);
		n = strlen(e.text);
		IS_STR(e.text + n - 3, "...");
		IS_INT((n - 3 - (size_t)shift) % 2, 0);
	}
}

TEST(names)
{
	(void)setlocale(LC_ALL, "");
	IS_STR(err_name(ENOSPC), "No space left on device");
	IS_STR(err_name(-ENOSPC), "No space left on device");
	IS_STR(err_name(99999), "Unknown error");
}

TEST(classes)
{
	static const struct {
		int code;
		enum err_class class;
	} cases[] = {
		{ ENOENT, ERR_ABSENT },	 { ESRCH, ERR_ABSENT },	  { EOPNOTSUPP, ERR_ABSENT }, { ENODEV, ERR_ABSENT },
		{ EACCES, ERR_DENIED },	 { EPERM, ERR_DENIED },	  { EROFS, ERR_DENIED },      { EBUSY, ERR_BUSY },
		{ EAGAIN, ERR_BUSY },	 { EINTR, ERR_BUSY },	  { EINVAL, ERR_REFUSED },    { ERANGE, ERR_REFUSED },
		{ ENOSPC, ERR_REFUSED }, { EIO, ERR_BROKEN },	  { ENOMEM, ERR_BROKEN },     { 0, ERR_BROKEN },
		{ -EBUSY, ERR_BUSY },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (err_classify(cases[i].code) != cases[i].class)
			TAP_FAIL("errno %d is class %d", cases[i].code, (int)err_classify(cases[i].code));
}

TAP_MAIN

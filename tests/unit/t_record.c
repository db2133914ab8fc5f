/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/record.h"
#include "tests/unit/tap.h"

TEST(round_trip)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	char every[256];
	struct record r;
	unsigned int bad = 0;
	char *pos;

	for (int i = 1; i < 256; i++)
		every[i - 1] = (char)i;
	every[255] = '\0';
	record_add(&b, "type", "plain", "", "tab\tnl\ncr\rbs\\x41", every, "42", "-1", NULL);
	record_add(&b, "lone", NULL);
	OK(!b.failed);
	pos = b.s;
	IS_INT(record_next(&pos, &r, &bad), 1);
	IS_INT(r.n, 7);
	IS_STR(record_str(&r, 0), "type");
	IS_STR(record_str(&r, 1), "plain");
	IS_STR(record_str(&r, 2), "");
	IS_STR(record_str(&r, 3), "tab\tnl\ncr\rbs\\x41");
	IS_STR(record_str(&r, 4), every);
	IS_INT(record_u64(&r, 5, 7), 42);
	IS_INT(record_u64(&r, 6, 7), 7);
	IS_INT(record_u64(&r, 2, 7), 7);
	IS_STR(record_str(&r, 7), "");
	IS_INT(record_u64(&r, 99, 9), 9);
	IS_INT(record_next(&pos, &r, &bad), 1);
	IS_INT(r.n, 1);
	IS_INT(record_next(&pos, &r, &bad), 0);
	IS_INT(record_next(&pos, &r, &bad), 0);
	IS_INT(bad, 0);
}

TEST(format_is_stable)
{
	/* crc32("a\tb\t") as zlib has it: files of one version are read by the next. */
	_cleanup_sbuf_ struct sbuf b = { 0 };

	record_add(&b, "a", "b", NULL);
	IS_STR(b.s, "a\tb\t8318c574\n");
}

/* Good lines around one that is `line`; it must be skipped and counted. */
static void check_bad(const char *name, const char *line)
{
	struct sbuf b = { 0 };
	unsigned int bad = 0;
	struct record r;
	char *pos;

	record_add(&b, "before", "1", NULL);
	sbuf_addf(&b, "%s\n", line);
	record_add(&b, "after", "2", NULL);
	pos = b.s;
	if (record_next(&pos, &r, &bad) != 1 || !streq(record_str(&r, 0), "before") || bad != 0)
		TAP_FAIL("%s: the line before it is lost", name);
	if (record_next(&pos, &r, &bad) != 1 || !streq(record_str(&r, 0), "after") || bad != 1)
		TAP_FAIL("%s: not skipped (bad %u)", name, bad);
	IS_INT(record_next(&pos, &r, NULL), 0);
	sbuf_fini(&b);
}

TEST(bad_lines_are_skipped)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	char *good;

	record_add(&b, "set", "cpu.weight", "200", NULL);
	b.s[b.len - 1] = '\0'; /* without its newline */
	good = b.s;
	/* Every cut, and every single changed byte. */
	for (size_t n = 1; n < strlen(good); n++) {
		char *cut = strndup(good, n);

		check_bad("cut", cut);
		free(cut);
	}
	for (size_t i = 0; good[i]; i++) {
		char *edited = strdup(good);

		edited[i] ^= 1;
		if (edited[i] != '\n')
			check_bad("edited", edited);
		free(edited);
	}
	check_bad("text", "hello");
	check_bad("crc only", "00000000");
	check_bad("blank", " ");
	check_bad("empty type", "\t5a8f8f0e");
}

/* A line with a right CRC, whatever it says: record_add() makes the CRC of text that needs no escapes. */
TEST(right_crc_wrong_content)
{
	static const char *const bodies[] = {
		"\\", "a\\", "a\\q", "a\\x", "a\\x1", "a\\x1\tb", "a\\xzz", "a\\x00", "",
	};

	/* crc32 by the bit, to be independent of the module. */
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		char body[64], line[96];
		uint32_t c = 0xffffffffu;

		(void)snprintf(body, sizeof(body), "%s\t", bodies[i]);
		for (const char *p = body; *p; p++) {
			c ^= (unsigned char)*p;
			for (int bit = 0; bit < 8; bit++)
				c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
		}
		(void)snprintf(line, sizeof(line), "%s%08x", body, ~c);
		check_bad(bodies[i], line);
	}
}

TEST(torn_end_and_empty_lines)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	unsigned int bad = 0;
	struct record r;
	char *pos;

	/* What an appender does after a torn end: a newline first. */
	record_add(&b, "a", NULL);
	sbuf_add(&b, "intent\t1\tcpu");
	sbuf_add(&b, "\n\n");
	record_add(&b, "b", NULL);
	b.s[--b.len] = '\0'; /* hostfs_read_all() cuts newlines at the end */
	pos = b.s;
	IS_INT(record_next(&pos, &r, &bad), 1);
	IS_STR(record_str(&r, 0), "a");
	IS_INT(record_next(&pos, &r, &bad), 1);
	IS_STR(record_str(&r, 0), "b");
	IS_INT(record_next(&pos, &r, &bad), 0);
	IS_INT(bad, 1);
	pos = b.s + b.len;
	IS_INT(record_next(&pos, &r, NULL), 0);
}

TEST(limits)
{
	char *huge = malloc(RECORD_MAX + 1);
	struct sbuf b = { 0 };
	struct record r;
	char *pos;

	memset(huge, 'x', RECORD_MAX);
	huge[RECORD_MAX] = '\0';
	record_add(&b, "t", huge, NULL);
	OK(b.failed);
	sbuf_fini(&b);
	/* The longest that fits: "t", two tabs, eight digits and the newline are the rest. */
	huge[RECORD_MAX - 12] = '\0';
	record_add(&b, "t", huge, NULL);
	OK(!b.failed);
	IS_INT(b.len, RECORD_MAX);
	pos = b.s;
	IS_INT(record_next(&pos, &r, NULL), 1);
	sbuf_fini(&b);
	huge[RECORD_MAX - 12] = 'x';
	huge[RECORD_MAX - 11] = '\0';
	record_add(&b, "t", huge, NULL);
	OK(b.failed);
	sbuf_fini(&b);
	free(huge);

	record_add(&b, "", "no type", NULL);
	OK(b.failed);
	sbuf_fini(&b);
	/* 31 fields and the type fit, 32 do not. */
	record_add(&b, "t", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17",
		   "18", "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31", NULL);
	OK(!b.failed);
	pos = b.s;
	IS_INT(record_next(&pos, &r, NULL), 1);
	IS_INT(r.n, RECORD_FIELDS);
	sbuf_fini(&b);
	record_add(&b, "t", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17",
		   "18", "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31", "32", NULL);
	OK(b.failed);
	sbuf_fini(&b);
}

TAP_MAIN

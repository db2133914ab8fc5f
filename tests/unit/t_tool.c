/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tool's pure parts: text for terminals, JSON, annotations, tar names. */
#include "tap.h"

#include "tool/annot.h"
#include "tool/json.h"
#include "tool/out.h"
#include "tool/tar.h"

/* They are not in the library: no other program needs them. */
#include "tool/annot.c"
#include "tool/json.c"
#include "tool/out.c"
#include "tool/tar.c"

TEST(utf8)
{
	static const struct {
		const char *text;
		int first;
		unsigned int length;
	} cases[] = {
		{ "a", 'a', 1 },
		{ "\xc3\xa9", 0xe9, 2 },
		{ "\xe2\x82\xac", 0x20ac, 3 },
		{ "\xf0\x9f\x98\x80", 0x1f600, 4 },
		{ "\xf4\x8f\xbf\xbf", 0x10ffff, 4 },
		{ "\x80", -1, 1 },
		{ "\xc3", -1, 1 },
		{ "\xc3(", -1, 1 },
		{ "\xe2\x82", -1, 1 },
		{ "\xff", -1, 1 },
		{ "\xc0\x80", -1, 1 },
		{ "\xc1\xbf", -1, 1 },
		{ "\xe0\x80\xaf", -1, 1 },
		{ "\xf0\x80\x80\xaf", -1, 1 },
		{ "\xed\xa0\x80", -1, 1 },
		{ "\xf4\x90\x80\x80", -1, 1 },
		{ "\xf8\x88\x80\x80\x80", -1, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *s = cases[i].text;

		IS_INT(out_utf8(&s), cases[i].first);
		IS_INT(s - cases[i].text, cases[i].length);
	}
}

TEST(cleaning)
{
	static const struct {
		const char *text, *clean;
	} cases[] = {
		{ "", "" },
		{ "web1", "web1" },
		{ "a\nb\tc", "a b c" },
		{ "\033[31m", "?[31m" },
		{ "a\177b", "a?b" },
		{ "\xc2\x9b"
		  "31m",
		  "?31m" },
		{ "\xe2\x80\xae"
		  "x",
		  "?x" },
		{ "\xe2\x81\xa6", "?" },
		{ "\xff\xfe", "??" },
		{ "\xc3\xa9\xe2\x82\xac", "\xc3\xa9\xe2\x82\xac" },
		{ "\r\b\a", "???" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *clean = out_clean(cases[i].text);

		IS_STR(clean, cases[i].clean);
	}
}

TEST(breaking_lines)
{
	static const struct {
		const char *text;
		unsigned int width;
		size_t n, skip;
	} cases[] = {
		{ "", 5, 0, 0 },         { "abc", 0, 3, 0 },       { "abc", 3, 3, 0 },
		{ "abcdef", 3, 3, 0 },   { "ab cd", 3, 2, 1 },     { "ab  cd", 4, 2, 2 },
		{ "0-3,8,10", 5, 4, 0 }, { "abc def", 3, 3, 1 },   { "\xc3\xa9\xc3\xa9\xc3\xa9", 2, 4, 0 },
		{ "x", 1, 1, 0 },        { "\xc3\xa9x", 1, 2, 0 },
	};

	(void)setlocale(LC_CTYPE, "C.UTF-8");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t skip;

		IS_INT(fit(cases[i].text, cases[i].width, &skip), cases[i].n);
		IS_INT(skip, cases[i].skip);
	}
}

TEST(sizes)
{
	char text[32];

	IS_STR(out_size(0, text, sizeof(text)), "0 B");
	IS_STR(out_size(1023, text, sizeof(text)), "1023 B");
	IS_STR(out_size(1536, text, sizeof(text)), "1.5 KiB");
	IS_STR(out_size(4ULL << 30, text, sizeof(text)), "4 GiB");
	IS_STR(out_size(UINT64_MAX, text, sizeof(text)), "16777215 TiB");
	IS_STR(out_page_size(65536, text, sizeof(text)), "64K");
	IS_STR(out_page_size(2 << 20, text, sizeof(text)), "2M");
	IS_STR(out_page_size(16ULL << 30, text, sizeof(text)), "16G");
}

TEST(json)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	struct json j = JSON_INIT(f);

	json_object(&j, NULL);
	json_str(&j, "a", "q\" b\\ t\t \xff \xc3\xa9 \177");
	json_list(&j, "empty");
	json_close(&j);
	json_list(&j, "l");
	json_object_line(&j, NULL);
	json_u64(&j, "n", UINT64_MAX);
	json_list(&j, "in");
	json_str(&j, NULL, "x");
	json_str(&j, NULL, NULL);
	json_close(&j);
	json_bool(&j, "b", false);
	json_str_or_null(&j, "z", NULL);
	json_close(&j);
	json_close(&j);
	json_close(&j);
	fclose(f);
	IS_STR(text, "{\n"
		     "  \"a\": \"q\\\" b\\\\ t\\u0009 \\ufffd \xc3\xa9 \\u007f\",\n"
		     "  \"empty\": [],\n"
		     "  \"l\": [\n"
		     "    {\"n\": 18446744073709551615, \"in\": [\"x\", \"\"], \"b\": false, \"z\": null}\n"
		     "  ]\n"
		     "}\n");
}

TEST(edits_are_checked)
{
	static const struct {
		const char *text;
		int code;
		enum knob_id id;
		const char *target, *value;
	} cases[] = {
		{ "cpu.weight=5", 0, KNOB_CPU_WEIGHT, "", "5" },
		{ "cpu.weight=", 0, KNOB_CPU_WEIGHT, "", "" },
		{ "disk.io=native", 0, KNOB_DISK_IO, "*", "native" },
		{ "disk[vda].io=native", 0, KNOB_DISK_IO, "vda", "native" },
		{ "interface[52:54:00:00:00:01].rate=1mbit", 0, KNOB_NET_RATE, "52:54:00:00:00:01", "1mbit" },
		{ "cpu.weight", -EINVAL, 0, 0, 0 },
		{ "=5", -EINVAL, 0, 0, 0 },
		{ "", -EINVAL, 0, 0, 0 },
		{ "cpu[0].weight=5", -EINVAL, 0, 0, 0 },
		{ "disk[].io=native", -EINVAL, 0, 0, 0 },
		{ "disk[vda.io=native", -EINVAL, 0, 0, 0 },
		{ "disk]vda[.io=native", -EINVAL, 0, 0, 0 },
		{ "nosuch.weight=5", -EINVAL, 0, 0, 0 },
		{ "cpu.nosuch=5", -EINVAL, 0, 0, 0 },
		{ "cpu.policy=dedicate", -EINVAL, 0, 0, 0 },
		{ "cpu.weight=0", -ERANGE, 0, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = ERR_INIT;
		struct annot_edit edit;
		int r = annot_parse_edit(cases[i].text, &edit, &e);

		if (r != cases[i].code)
			TAP_FAIL("%s: %d, not %d (%s)", cases[i].text, r, cases[i].code, e.text);
		if (r < 0) {
			OK(e.text[0]);
			continue;
		}
		IS_INT(edit.id, cases[i].id);
		IS_STR(edit.target, cases[i].target);
		IS_STR(edit.value, cases[i].value);
	}
}

TEST(annotations_merge)
{
	static const struct {
		const char *old, *profile, *edit, *want; /* want NULL: refused */
	} cases[] = {
		{ NULL, "latency", NULL, "<tune profile=\"latency\"/>" },
		{ NULL, "off", "cpu.weight=5", "<tune profile=\"off\"><cpu weight=\"5\"/></tune>" },
		{ "<tune profile='off' on-error='fail'/>", "latency", NULL,
		  "<tune profile=\"latency\" on-error=\"fail\"/>" },
		{ "<tune>\n  <cpu weight='1' quota='5%'/>\n</tune>", "a", "cpu.weight=2",
		  "<tune profile=\"a\"><cpu weight=\"2\" quota=\"5%\"/></tune>" },
		{ "<tune><cpu weight='1'/></tune>", "a", "cpu.weight=", "<tune profile=\"a\"/>" },
		{ "<tune><cpu/></tune>", "a", "cpu.quota=", "<tune profile=\"a\"/>" },
		{ "<tune/>", "a", "cpu.quota=", "<tune profile=\"a\"/>" },
		{ "<tune><disk target='vda' io='native'/></tune>", "a", "disk[vda].io=", "<tune profile=\"a\"/>" },
		{ "<tune><disk target='vda' io='native'/></tune>", "a", "disk[vdb].io=threads",
		  "<tune profile=\"a\"><disk target=\"vda\" io=\"native\"/>"
		  "<disk target=\"vdb\" io=\"threads\"/></tune>" },
		{ "<tune><disk io='native'/></tune>", "a", "disk.io=threads",
		  "<tune profile=\"a\"><disk io=\"threads\"/></tune>" },
		{ "<x:tune xmlns:x='urn:domtune:1'><x:cpu weight='1'/></x:tune>", "a", "cpu.weight=2",
		  "<tune profile=\"a\"><cpu weight=\"2\"/></tune>" },
		{ "<tune xmlns='urn:domtune:1'><cpu weight='1'/></tune>", "a", "cpu.weight=2",
		  "<tune profile=\"a\"><cpu weight=\"2\"/></tune>" },
		{ "<tune><later z='1'>t</later><!--c--></tune>", "a", NULL,
		  "<tune profile=\"a\"><later z=\"1\">t</later><!--c--></tune>" },
		{ "<tune><y:cpu xmlns:y='urn:other' weight='1'/></tune>", "a", "cpu.weight=2",
		  "<tune profile=\"a\"><y:cpu xmlns:y=\"urn:other\" weight=\"1\"/><cpu weight=\"2\"/></tune>" },
		{ "<tune profile='&quot;&lt;'/>", NULL, "cpu.cpus=0-3,^2",
		  "<tune profile=\"&quot;&lt;\"><cpu cpus=\"0-3,^2\"/></tune>" },
		{ "<other/>", "a", NULL, NULL },
		{ "", "a", NULL, NULL },
		{ "<tune", "a", NULL, NULL },
		{ "<!DOCTYPE tune [<!ENTITY x 'y'>]><tune/>", "a", NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = NULL;
		struct err e = ERR_INIT;
		struct annot_edit edit;
		int r;

		if (cases[i].edit)
			IS_INT(annot_parse_edit(cases[i].edit, &edit, &e), 0);
		r = annot_merge(cases[i].old, cases[i].profile, &edit, cases[i].edit ? 1 : 0, &text, &e);
		OK((r == 0) == (cases[i].want != NULL));
		OK(r == 0 || e.text[0]);
		if (cases[i].want)
			IS_STR(text, cases[i].want);
	}
}

TEST(off_is_off)
{
	OK(annot_is_off(ANNOT_OFF));
	OK(annot_is_off("<d:tune xmlns:d='urn:domtune:1' profile='off'/>"));
	OK(annot_is_off("<tune profile='off'>\n</tune>"));
	OK(!annot_is_off("<tune profile='latency'/>"));
	OK(!annot_is_off("<tune/>"));
	OK(!annot_is_off("<tune profile=''/>"));
	OK(!annot_is_off("<tune profile='off' on-error='fail'/>"));
	OK(!annot_is_off("<tune profile='off'><cpu weight='1'/></tune>"));
	OK(!annot_is_off("<tune"));
}

TEST(tar_names)
{
	char name[400];
	static const struct {
		unsigned int directory, rest; /* lengths; directory 0: none */
		int code;
	} cases[] = {
		{ 0, 1, 0 },
		{ 0, 100, 0 },
		{ 0, 101, -ENAMETOOLONG },
		{ 155, 100, 0 },
		{ 156, 100, -ENAMETOOLONG },
		{ 155, 101, -ENAMETOOLONG },
		{ 10, 89, 0 },
		{ 10, 100, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *archive = NULL;
		size_t len, n = 0;
		FILE *f = open_memstream(&archive, &len);

		if (cases[i].directory) {
			memset(name, 'd', cases[i].directory);
			n = cases[i].directory;
			name[n++] = '/';
		}
		memset(name + n, 'f', cases[i].rest);
		name[n + cases[i].rest] = '\0';
		IS_INT(tar_add(f, name, 0644, "x", 1), cases[i].code);
		fclose(f);
		IS_INT(len, cases[i].code ? 0 : 1024);
	}
}

/* A link that is longer than ustar's field is said by a pax header before it. */
TEST(tar_links)
{
	static const struct {
		size_t target;
		int code;
		const char *record; /* begins so */
	} cases[] = {
		{ 1, 0, NULL },
		{ 100, 0, NULL },
		{ 101, 0, "115 linkpath=t" },
		{ 900, 0, "914 linkpath=t" },
		{ 985, 0, "999 linkpath=t" },
		{ 986, 0, "1001 linkpath=t" }, /* the length counts itself */
		{ 1023, 0, "1038 linkpath=t" },
		{ 1024, -ENAMETOOLONG, NULL },
	};
	char target[2000], at[32];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *archive = NULL;
		size_t len, record = cases[i].record ? strtoul(cases[i].record, NULL, 10) : 0;
		FILE *f = open_memstream(&archive, &len);

		memset(target, 't', sizeof(target));
		target[cases[i].target] = '\0';
		IS_INT(tar_link(f, "a/b", target), cases[i].code);
		fclose(f);
		if (cases[i].code < 0) {
			IS_INT(len, 0);
			continue;
		}
		IS_INT(len, record ? 1024 + (record + 511) / 512 * 512 : 512);
		IS_INT(archive[len - 512 + 156], '2');
		IS_INT(archive[156], cases[i].record ? 'x' : '2');
		if (!cases[i].record) {
			OK(strncmp(archive + 157, target, cases[i].target) == 0);
			continue;
		}
		(void)snprintf(at, sizeof(at), "%.*s", (int)strlen(cases[i].record), archive + 512);
		IS_STR(at, cases[i].record);
		IS_INT(archive[512 + record - 1], '\n');
	}
}

TAP_MAIN

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The knob table and its values: every row parses its own words and bounds, and refuses what is beside them. */
#include <inttypes.h>

#include "common/knob.h"
#include "tests/unit/tap.h"

TEST(names_are_found)
{
	IS_INT(knob_find("cpu", "policy"), KNOB_CPU_POLICY);
	IS_INT(knob_find("irq", "policy"), KNOB_IRQ_POLICY);
	IS_INT(knob_find("cpu", "core-scheduling"), KNOB_CPU_CORE_SCHED);
	IS_INT(knob_find("cpu", "Policy"), KNOB_ID_MAX);
	IS_INT(knob_find("cpu", ""), KNOB_ID_MAX);
	IS_INT(knob_find("", "policy"), KNOB_ID_MAX);
	IS_INT(knob_find("nosuch", "policy"), KNOB_ID_MAX);
	IS_INT(knob_find("disk", "target"), KNOB_ID_MAX); /* a target is no knob */
	IS_INT(knob_find_dotted("interface.rx-ring"), KNOB_NET_RX_RING);
	IS_INT(knob_find_dotted("interface"), KNOB_ID_MAX);
	IS_INT(knob_find_element("guest"), KNOB_ELEMENT_GUEST);
	IS_INT(knob_find_element("Guest"), KNOB_ELEMENT_MAX);
	IS_STR(knob_element_name(KNOB_ELEMENT_INTERFACE), "interface");
	IS_STR(knob_element_name(KNOB_ELEMENT_MAX), "");
	OK(knob_element_is_repeatable(KNOB_ELEMENT_DISK));
	OK(!knob_element_is_repeatable(KNOB_ELEMENT_CPU));
}

TEST(every_row_is_complete_and_found_by_its_name)
{
	for (enum knob_id id = 0; id < KNOB_ID_MAX; id++) {
		const struct knob *k = &knob_table[id];
		char allowed[KNOB_ALLOWED_SIZE];

		IS_INT(knob_find_dotted(k->name), id);
		IS_INT(knob_find(knob_element_name(k->element), k->attribute), id);
		OK(k->doc && k->doc[0]);
		OK(k->words[0] || k->form != KNOB_FORM_NONE);
		OK(k->min <= k->max);
		OK(knob_allowed(id, allowed, sizeof(allowed)) < (int)sizeof(allowed));
		OK(allowed[0]);
	}
}

/* The text that a value becomes, "" when it is refused. */
static const char *parsed(enum knob_id id, const char *text, int *ret_code)
{
	static char buf[256];
	struct value v = { 0 };
	struct err e = ERR_INIT;

	*ret_code = knob_parse_value(id, text, &v, &e);
	snprintf(buf, sizeof(buf), "%s", v.text ? v.text : "");
	if (*ret_code < 0) {
		OK(e.code == -*ret_code && e.text[0]);
		OK(!v.text);
	}
	value_fini(&v);
	return buf;
}

TEST(every_word_is_accepted_and_no_neighbour_of_it)
{
	for (enum knob_id id = 0; id < KNOB_ID_MAX; id++) {
		char words[512], other[128];
		char *rest = words, *word;
		int code;

		snprintf(words, sizeof(words), "%s", knob_table[id].words);
		while ((word = strsep(&rest, " ")) && *word) {
			char *meaning = strchr(word, '>');

			if (meaning)
				*meaning++ = '\0';
			IS_STR(parsed(id, word, &code), meaning ? meaning : word);
			IS_INT(code, 0);
			if (knob_table[id].form == KNOB_FORM_NAME)
				continue;
			snprintf(other, sizeof(other), "%s ", word);
			parsed(id, other, &code);
			OK(code < 0);
			snprintf(other, sizeof(other), "%c%s", word[0] - 32, word + 1);
			if (word[0] >= 'a') {
				parsed(id, other, &code);
				OK(code < 0);
			}
			snprintf(other, sizeof(other), "%.*s", (int)strlen(word) - 1, word);
			if (!(word[0] == 'b' && word[1] == 'e') && strlen(word) > 3) {
				parsed(id, other, &code);
				OK(code < 0);
			}
		}
	}
}

TEST(bounds_are_part_of_the_range)
{
	for (enum knob_id id = 0; id < KNOB_ID_MAX; id++) {
		const struct knob *k = &knob_table[id];
		const char *unit = k->form == KNOB_FORM_PERCENT ? "%" : "";
		char text[64];
		int code;

		if (k->form == KNOB_FORM_NONE || k->form >= KNOB_FORM_CPULIST)
			continue;
		snprintf(text, sizeof(text), "%" PRIu64 "%s", k->min, unit);
		IS_STR(parsed(id, text, &code), text);
		snprintf(text, sizeof(text), "%" PRIu64 "%s", k->max, unit);
		IS_STR(parsed(id, text, &code), text);
		if (k->min) {
			snprintf(text, sizeof(text), "%" PRIu64 "%s", k->min - 1, unit);
			parsed(id, text, &code);
			IS_INT(code, -ERANGE);
		}
		if (k->max < UINT64_MAX) {
			snprintf(text, sizeof(text), "%" PRIu64 "%s", k->max + 1, unit);
			parsed(id, text, &code);
			IS_INT(code, -ERANGE);
		}
	}
}

TEST(values_are_canonical)
{
	static const struct {
		enum knob_id id;
		const char *text, *want; /* want NULL: refused */
		int code;
	} cases[] = {
		{ KNOB_CPU_POLICY, "dedicate", NULL, -EINVAL },
		{ KNOB_CPU_POLICY, "", NULL, -EINVAL },
		{ KNOB_CPU_POLICY, "none shared", NULL, -EINVAL },
		{ KNOB_CPU_EMULATOR, "share", "share", 0 },
		{ KNOB_CPU_EMULATOR, "0,1,2,3,^2,8", "0-1,3,8", 0 },
		{ KNOB_CPU_EMULATOR, "shared", NULL, -EINVAL },
		{ KNOB_CPU_CPUS, "3-1", NULL, -EINVAL },
		{ KNOB_CPU_CPUS, "^1", NULL, -ENODATA },
		{ KNOB_CPU_CPUS, "8192", NULL, -ERANGE },
		{ KNOB_CPU_CPUS, "99999999999999999999", NULL, -ERANGE },
		{ KNOB_CPU_CPUS, "none", NULL, -EINVAL },
		{ KNOB_CPU_WEIGHT, "0200", "200", 0 },
		{ KNOB_CPU_WEIGHT, "+1", NULL, -EINVAL },
		{ KNOB_CPU_WEIGHT, "1.5", NULL, -EINVAL },
		{ KNOB_CPU_WEIGHT, "99999999999999999999", NULL, -ERANGE },
		{ KNOB_CPU_QUOTA, "150%", "150%", 0 },
		{ KNOB_CPU_QUOTA, "150", NULL, -EINVAL },
		{ KNOB_CPU_QUOTA, "150 %", NULL, -EINVAL },
		{ KNOB_CPU_CACHE, "4", "4", 0 },
		{ KNOB_CPU_CACHE, "100%", "100%", 0 },
		{ KNOB_CPU_CACHE, "101%", NULL, -ERANGE },
		{ KNOB_CPU_CACHE, "0%", NULL, -ERANGE },
		{ KNOB_CPU_CACHE, "65", NULL, -ERANGE },
		{ KNOB_CPU_GOVERNOR, "performance", "performance", 0 },
		{ KNOB_CPU_GOVERNOR, "../x", NULL, -EINVAL },
		{ KNOB_CPU_GOVERNOR, "", NULL, -EINVAL },
		{ KNOB_MEM_PAGES, "2M", "2M", 0 },
		{ KNOB_MEM_PAGES, "2m", NULL, -EINVAL },
		{ KNOB_MEM_MIN, "1GiB", "1073741824", 0 },
		{ KNOB_MEM_MIN, "1G", NULL, -EINVAL },
		{ KNOB_MEM_MIN, "16777216TiB", NULL, -ERANGE },
		{ KNOB_MEM_NODES, "auto", "auto", 0 },
		{ KNOB_MEM_NODES, "0-1", "0-1", 0 },
		{ KNOB_MEM_PREALLOC, "true", NULL, -EINVAL },
		{ KNOB_IO_PRIORITY, "be:7", "be:7", 0 },
		{ KNOB_IO_PRIORITY, "be:8", NULL, -EINVAL },
		{ KNOB_DISK_SCHEDULER, "cfq", "bfq", 0 },
		{ KNOB_DISK_SCHEDULER, "deadline", "mq-deadline", 0 },
		{ KNOB_DISK_SCHEDULER, "noop", "none", 0 },
		{ KNOB_DISK_SCHEDULER, "cfq>bfq", NULL, -EINVAL },
		{ KNOB_DISK_METADATA, "auto", "auto", 0 },
		{ KNOB_DISK_METADATA, "4MiB", "4194304", 0 },
		{ KNOB_NET_RATE, "1gbit", "1000000000", 0 },
		{ KNOB_NET_RATE, "1mbps", "8000000", 0 },
		{ KNOB_NET_RATE, "1parsec", NULL, -EINVAL },
		{ KNOB_NET_BURST, "15k", "15360", 0 },
		{ KNOB_NET_BURST, "15KB", "15360", 0 },
		{ KNOB_NET_BURST, "8kbit", "1024", 0 },
		{ KNOB_NET_BURST, "1mbit", "131072", 0 },
		{ KNOB_NET_BURST, "1600b", "1600", 0 },
		{ KNOB_NET_BURST, "1600", "1600", 0 },
		{ KNOB_NET_BURST, "k", NULL, -EINVAL },
		{ KNOB_NET_BURST, "1kk", NULL, -EINVAL },
		{ KNOB_NET_BURST, "4g", NULL, -ERANGE },
		{ KNOB_NET_BURST, "18446744073709551615g", NULL, -ERANGE },
		{ KNOB_NET_BURST, "1000000000000000000000000000000", NULL, -ERANGE },
		{ KNOB_NET_RX_RING, "max", "max", 0 },
		{ KNOB_GUEST_CHANGES, "allow", "allow", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int code;
		const char *got = parsed(cases[i].id, cases[i].text, &code);

		IS_STR(got, cases[i].want ? cases[i].want : "");
		if (code != cases[i].code)
			TAP_FAIL("%s '%s': %d, not %d", knob_table[cases[i].id].name, cases[i].text, code,
				cases[i].code);
	}
}

TEST(numbers_and_sets_come_along)
{
	struct value v = { 0 };

	IS_INT(knob_parse_value(KNOB_MEM_HIGH, "2KiB", &v, NULL), 0);
	IS_INT(v.num, 2048);
	value_fini(&v);
	IS_INT(knob_parse_value(KNOB_CPU_CACHE, "30%", &v, NULL), 0);
	OK(v.is_percent);
	IS_INT(v.num, 30);
	value_fini(&v);
	IS_INT(knob_parse_value(KNOB_CPU_IOTHREADS, "4-5", &v, NULL), 0);
	IS_INT(idset_count(&v.set), 2);
	value_fini(&v);
	IS_INT(knob_parse_value(KNOB_CPU_IOTHREADS, "isolate", &v, NULL), 0);
	OK(idset_is_empty(&v.set));
	value_fini(&v);
	OK(!v.text && !v.source);
}

TEST(refusals_say_what_is_allowed)
{
	static const struct {
		enum knob_id id;
		const char *text, *want;
	} cases[] = {
		{ KNOB_CPU_POLICY, "dedicate", "cpu.policy: 'dedicate' is not one of none, shared, dedicated, "
		  "isolated" },
		{ KNOB_CPU_EMULATOR, "x", "cpu.emulator: 'x' is not share, isolate or a CPU list" },
		{ KNOB_CPU_WEIGHT, "0", "cpu.weight: '0' is not 1..10000" },
		{ KNOB_CPU_CPUS, "0,^0", "cpu.cpus: '0,^0' names no CPU" },
		{ KNOB_MEM_NODES, "0,^0", "memory.nodes: '0,^0' names no node" },
		{ KNOB_CPU_CACHE, "0%", "cpu.cache: '0%' is not 1..64 or 1%..100%" },
		{ KNOB_DISK_QUEUES, "2000", "disk.queues: '2000' is not auto or 1..1024" },
		{ KNOB_NET_BURST, "0", "interface.burst: '0' is not within 1..4294967295" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = ERR_INIT;
		struct value v;

		OK(knob_parse_value(cases[i].id, cases[i].text, &v, &e) < 0);
		IS_STR(e.text, cases[i].want);
	}
}

TEST(hostile_text_is_shown_short_and_harmless)
{
	char buf[KNOB_SHOW_SIZE], big[300];
	struct value v;
	struct err e = ERR_INIT;

	IS_STR(knob_show("a\nb\x1b[31m", buf), "a?b?[31m");
	IS_STR(knob_show("", buf), "");
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	knob_show(big, buf);
	IS_INT(strlen(buf), KNOB_SHOW_SIZE - 1);
	OK(strcmp(buf + KNOB_SHOW_SIZE - 4, "...") == 0);
	/* "é" across the cut goes as a whole. */
	big[KNOB_SHOW_SIZE - 5] = '\xc3';
	big[KNOB_SHOW_SIZE - 4] = '\xa9';
	knob_show(big, buf);
	IS_INT(strlen(buf), KNOB_SHOW_SIZE - 2);
	/* Nothing but continuation bytes: still ends. */
	memset(big, 0x80, sizeof(big) - 1);
	IS_STR(knob_show(big, buf), "...");
	IS_INT(knob_parse_value(KNOB_CPU_POLICY, big, &v, &e), -EINVAL);
	OK(strlen(e.text) < 200);
}

TEST(copies_are_deep)
{
	struct value a = { 0 }, b = { 0 };

	IS_INT(knob_parse_value(KNOB_CPU_CPUS, "1-2", &a, NULL), 0);
	a.source = strdup("annotation");
	IS_INT(value_copy(&b, &a), 0);
	IS_INT(value_copy(&b, &a), 0);
	OK(a.text != b.text && a.source != b.source);
	value_fini(&a);
	IS_STR(b.text, "1-2");
	IS_STR(b.source, "annotation");
	OK(idset_has(&b.set, 2));
	value_fini(&b);
	value_fini(&b);
	value_fini(NULL);
}

TAP_MAIN

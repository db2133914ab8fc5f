/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Build-time generator: what is written about the vocabulary comes from the tables that parse it.
 *
 *   gen rng   domtune.rng: RELAX NG for <tune>, <profile> and <policy>
 *   gen man   domtune-knobs.7: the knobs, as mdoc(7)
 *
 * The schema is stricter than the program: an unknown attribute, which costs a warning there, is invalid here. It is
 * looser where RELAX NG cannot look into a value (a list that names nothing, an XPath).
 */
#include <inttypes.h>

#include "common/policy.h"

#define NUMBER_PATTERN "0*[0-9]{1,4}" /* below IDSET_MAX, nearly */
#define RANGE_PATTERN "\\^?" NUMBER_PATTERN "(-" NUMBER_PATTERN ")?"
#define CPULIST_PATTERN RANGE_PATTERN "( *, *" RANGE_PATTERN ")*,?"
#define SIZE_PATTERN "[0-9]+(B|KiB|MiB|GiB|TiB)?"
#define RATE_PATTERN "[0-9]+(([kKmMgGtT][iI]?)?[bB]([iI][tT]|[pP][sS]))?"
#define SHARE_PATTERN "0*([0-9][0-9]?|100)%"
#define PROFILE_PATTERN "[A-Za-z0-9_\\-][A-Za-z0-9._\\-]{0,62}"

/* XML's special characters as references; the patterns and words hold none but these. */
static void put_xml(const char *s)
{
	for (; *s; s++) {
		if (*s == '<')
			fputs("&lt;", stdout);
		else if (*s == '&')
			fputs("&amp;", stdout);
		else
			putchar(*s);
	}
}

static void put_pattern(int indent, const char *pattern)
{
	printf("%*s<data type=\"string\"><param name=\"pattern\">", indent, "");
	put_xml(pattern);
	printf("</param></data>\n");
}

/* "a b old>new": all of what may be written, old names too. */
static void put_words(int indent, const char *words)
{
	for (; *words; words += strcspn(words, " "), words += strspn(words, " ")) {
		printf("%*s<value type=\"string\">", indent, "");
		(void)fwrite(words, 1, strcspn(words, " >"), stdout); /* main() asks ferror() */
		printf("</value>\n");
	}
}

static void put_number(int indent, uint64_t min, uint64_t max)
{
	printf("%*s<data type=\"unsignedLong\"><param name=\"pattern\">[0-9]+</param>", indent, "");
	printf("<param name=\"minInclusive\">%" PRIu64 "</param>", min);
	if (max < UINT64_MAX)
		printf("<param name=\"maxInclusive\">%" PRIu64 "</param>", max);
	printf("</data>\n");
}

/* The largest percentages are 100 or have a maximum that only its length can tell. */
static void put_percent(int indent, uint64_t max)
{
	char pattern[64];
	int digits = snprintf(NULL, 0, "%" PRIu64, max);

	if (max == 100)
		(void)snprintf(pattern, sizeof(pattern), "0*([1-9][0-9]?|100)%%");
	else
		(void)snprintf(pattern, sizeof(pattern), "0*[1-9][0-9]{0,%d}%%", digits - 1);
	put_pattern(indent, pattern);
}

static void put_knob_value(int indent, const struct knob *k)
{
	static const char *const patterns[] = {
		[KNOB_FORM_SIZE] = SIZE_PATTERN,
		[KNOB_FORM_TC_SIZE] = "[0-9]+([bB]|[kKmMgG]([bB]([iI][tT])?)?)?",
		[KNOB_FORM_RATE] = RATE_PATTERN,
		[KNOB_FORM_CPULIST] = CPULIST_PATTERN,
		[KNOB_FORM_NODESET] = CPULIST_PATTERN,
		[KNOB_FORM_NAME] = "[A-Za-z0-9_\\-]{1,63}",
	};

	put_words(indent, k->words);
	if (k->form == KNOB_FORM_INT || k->form == KNOB_FORM_INT_OR_PERCENT)
		put_number(indent, k->min, k->max);
	if (k->form == KNOB_FORM_PERCENT || k->form == KNOB_FORM_INT_OR_PERCENT)
		put_percent(indent, k->form == KNOB_FORM_PERCENT ? k->max : 100);
	if (k->form < ARRAY_SIZE(patterns) && patterns[k->form])
		put_pattern(indent, patterns[k->form]);
}

static void put_policy_value(int indent, const struct policy_attr *a)
{
	static const char *const patterns[] = {
		[POLICY_FORM_CPULIST] = CPULIST_PATTERN,
		[POLICY_FORM_COUNT_OR_SHARE] = SHARE_PATTERN,
		[POLICY_FORM_SIZE_OR_SHARE] = SHARE_PATTERN "|" SIZE_PATTERN,
		[POLICY_FORM_DURATION] = "[0-9]+(ms|s|min)",
		[POLICY_FORM_RATE] = RATE_PATTERN,
		[POLICY_FORM_MASK] = "0x[0-9a-fA-F]{1,8}|[0-9]+",
		[POLICY_FORM_DEVICE] = "[^/:\\s]{1,15}",
		[POLICY_FORM_SYSCTL] = "[A-Za-z0-9_\\-]+((\\.[A-Za-z0-9_\\-]+)+|(/[A-Za-z0-9_\\-]+)+)",
		[POLICY_FORM_PROFILE] = PROFILE_PATTERN,
		[POLICY_FORM_XPATH] = "[\\s\\S]+",
	};

	put_words(indent, a->words);
	if (a->form == POLICY_FORM_INT || a->form == POLICY_FORM_COUNT_OR_SHARE)
		put_number(indent, a->min, a->max);
	if (a->form < ARRAY_SIZE(patterns) && patterns[a->form])
		put_pattern(indent, patterns[a->form]);
}

static void open_attribute(int indent, const char *name, bool required)
{
	if (!required)
		printf("%*s<optional>\n", indent, "");
	printf("%*s<attribute name=\"%s\">\n%*s<choice>\n", indent + 2, "", name, indent + 4, "");
}

static void close_attribute(int indent, bool required)
{
	printf("%*s</choice>\n%*s</attribute>\n", indent + 4, "", indent + 2, "");
	if (!required)
		printf("%*s</optional>\n", indent, "");
}

static void put_plain_attribute(int indent, const char *name, const char *words, const char *pattern)
{
	open_attribute(indent, name, false);
	put_words(indent + 6, words);
	if (pattern)
		put_pattern(indent + 6, pattern);
	close_attribute(indent, false);
}

/* <define name="element.cpu"> and its like. */
static void put_knob_element(enum knob_element el)
{
	const char *name = knob_element_name(el);

	printf("  <define name=\"element.%s\">\n    <element name=\"%s\">\n", name, name);
	if (knob_element_is_repeatable(el))
		put_plain_attribute(6, "target", "", "[\\s\\S]+");
	for (size_t i = 0; i < KNOB_ID_MAX; i++) {
		if (knob_table[i].element != el)
			continue;
		open_attribute(6, knob_table[i].attribute, false);
		put_knob_value(12, &knob_table[i]);
		close_attribute(6, false);
	}
	printf("      <empty/>\n    </element>\n  </define>\n");
}

static void put_knob_elements(void)
{
	for (enum knob_element el = 0; el < KNOB_ELEMENT_MAX; el++)
		put_knob_element(el);
	printf("  <define name=\"knobs\">\n    <interleave>\n");
	for (enum knob_element el = 0; el < KNOB_ELEMENT_MAX; el++) {
		const char *how = knob_element_is_repeatable(el) ? "zeroOrMore" : "optional";

		printf("      <%s><ref name=\"element.%s\"/></%s>\n", how, knob_element_name(el), how);
	}
	printf("    </interleave>\n  </define>\n");
}

static void put_policy_element(const char *element, const char *how)
{
	printf("        <%s>\n          <element name=\"%s\">\n", how, element);
	for (size_t i = 0; i < POLICY_ATTR_MAX; i++) {
		const struct policy_attr *a = &policy_attrs[i];

		if (!streq(a->element, element))
			continue;
		open_attribute(12, a->attribute, a->required);
		put_policy_value(18, a);
		close_attribute(12, a->required);
	}
	printf("            <empty/>\n          </element>\n        </%s>\n", how);
}

static void put_policy(void)
{
	printf("  <define name=\"policy\">\n    <element name=\"policy\">\n      <interleave>\n");
	put_policy_element("host", "optional");
	put_policy_element("uplink", "zeroOrMore");
	put_policy_element("sysctl", "zeroOrMore");
	put_policy_element("rule", "zeroOrMore");
	put_policy_element("default", "optional");
	printf("      </interleave>\n    </element>\n  </define>\n");
}

static void put_rng(void)
{
	printf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	       "<!-- SPDX-License-Identifier: LGPL-2.1-or-later -->\n"
	       "<!-- Made by install/gen.c from the tables of common/. -->\n"
	       "<grammar xmlns=\"http://relaxng.org/ns/structure/1.0\" ns=\"" TUNE_NS "\"\n"
	       "         datatypeLibrary=\"http://www.w3.org/2001/XMLSchema-datatypes\">\n"
	       "  <start>\n    <choice>\n      <ref name=\"tune\"/>\n      <ref name=\"profile\"/>\n"
	       "      <ref name=\"policy\"/>\n    </choice>\n  </start>\n"
	       "  <define name=\"tune\">\n    <element name=\"tune\">\n");
	put_plain_attribute(6, "profile", "", PROFILE_PATTERN);
	put_plain_attribute(6, "on-error", "warn fail", NULL);
	printf("      <ref name=\"knobs\"/>\n    </element>\n  </define>\n"
	       "  <define name=\"profile\">\n    <element name=\"profile\">\n");
	put_plain_attribute(6, "name", "", PROFILE_PATTERN);
	put_plain_attribute(6, "inherits", "", PROFILE_PATTERN);
	put_plain_attribute(6, "tenant", "yes no", NULL);
	printf("      <ref name=\"knobs\"/>\n    </element>\n  </define>\n");
	put_knob_elements();
	put_policy();
	printf("</grammar>\n");
}

/* Text of a manual page: nothing of it is a request, backslashes are themselves. */
static void put_roff(const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", stdout);
	for (; *s; s++) {
		if (*s == '\\')
			fputs("\\e", stdout);
		else
			putchar(*s);
	}
}

/* "cfq is understood as bfq, ...": the old names of a row. */
static void put_old_words(const char *words)
{
	const char *separator = "";

	for (; *words; words += strcspn(words, " "), words += strspn(words, " ")) {
		int n = (int)strcspn(words, " "), old = (int)strcspn(words, " >");

		if (old == n)
			continue;
		printf("%s%.*s is understood as %.*s", separator, old, words, n - old - 1, words + old + 1);
		separator = ", ";
	}
	if (*separator)
		printf(".\n");
}

static void put_knob_entry(enum knob_id id)
{
	static const char *const notes[] = {
		[KNOB_SINCE_NOW] = NULL,
		[KNOB_SINCE_LATER] = "Checked, but not in force in this version.",
		[KNOB_SINCE_PLANNED] = "Seen by the guest: for the definition only.\n"
				       "Planned, but not in force in this version.",
		[KNOB_SINCE_DEFINITION] = "Seen by the guest: for the definition only.\n"
					    "Checked, but not in force in this version.",
	};
	const struct knob *k = &knob_table[id];
	char allowed[KNOB_ALLOWED_SIZE];

	knob_allowed(id, allowed, sizeof(allowed));
	printf(".It Cm %s\n", k->attribute);
	put_roff(k->doc);
	printf(".\n.br\nValues: ");
	put_roff(allowed);
	printf(".\n");
	put_old_words(k->words);
	if (notes[k->since])
		printf("%s\n", notes[k->since]);
}

static void put_man_element(enum knob_element el)
{
	printf(".Ss %s\n", knob_element_name(el));
	if (knob_element_is_repeatable(el))
		printf("May be there several times, with different targets.\n");
	printf(".Bl -tag -width Ds\n");
	if (el == KNOB_ELEMENT_DISK)
		printf(".It Cm target\nthe disk's target device, as vda, or * for all: the default.\n"
		       "A named one wins over *, attribute by attribute.\n");
	if (el == KNOB_ELEMENT_INTERFACE)
		printf(".It Cm target\nthe interface's alias, host device or MAC address, or * for all: the default.\n"
		       "A named one wins over *, attribute by attribute.\n");
	for (enum knob_id id = 0; id < KNOB_ID_MAX; id++)
		if (knob_table[id].element == el)
			put_knob_entry(id);
	printf(".El\n");
}

static void put_man(void)
{
	printf(".\\\" SPDX-License-Identifier: LGPL-2.1-or-later\n"
	       ".\\\" Made by install/gen.c from common/knobs.def.\n"
	       ".Dd November 23, 2026\n.Dt DOMTUNE-KNOBS 7\n.Os\n"
	       ".Sh NAME\n.Nm domtune-knobs\n.Nd what can be tuned for a domain\n"
	       ".Sh SYNOPSIS\n.Bd -literal\n"
	       "<tune xmlns=\"" TUNE_NS "\" profile=\"NAME\" on-error=\"warn|fail\">\n"
	       "  <ELEMENT ATTRIBUTE=\"VALUE\" ...>\n</tune>\n\n"
	       "<profile xmlns=\"" TUNE_NS "\" name=\"NAME\" inherits=\"NAME\" tenant=\"yes|no\">\n"
	       "  <ELEMENT ATTRIBUTE=\"VALUE\" ...>\n</profile>\n.Ed\n"
	       ".Sh DESCRIPTION\n"
	       "The same elements serve the annotation in a domain's metadata, written by its owner, and profiles,\n"
	       "written by the administrator of the host.\n"
	       "Every attribute is optional; what is absent is left untouched.\n"
	       "A value of the annotation wins over the profile's, the profile's own over an inherited one, and what the\n"
	       "domain's XML says explicitly wins over both.\n"
	       "Names and values are case-sensitive.\n"
	       "What is unknown or malformed costs one warning and is skipped.\n"
	       ".Pp\n"
	       "CPU and node lists are written as in libvirt, as 0-3,^2,8.\n"
	       "Sizes are integers with B, KiB, MiB, GiB or TiB; without a unit they are bytes.\n"
	       ".Pp\n"
	       "With\n.Cm on-error Ns =fail\n"
	       "the start is refused when a reservation or a precondition known at its beginning cannot be met.\n"
	       "It counts in the annotation only.\n"
	       ".Sh ELEMENTS\n");
	for (enum knob_element el = 0; el < KNOB_ELEMENT_MAX; el++)
		put_man_element(el);
	printf(".Sh SEE ALSO\n.Xr virsh 1 ,\n.Xr domtune 8\n");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*put)(void);
	} outputs[] = { { "rng", put_rng }, { "man", put_man } };

	for (size_t i = 0; argc == 2 && i < ARRAY_SIZE(outputs); i++) {
		if (!streq(argv[1], outputs[i].name))
			continue;
		outputs[i].put();
		return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
	}
	fprintf(stderr, "usage: gen rng|man\n");
	return 2;
}

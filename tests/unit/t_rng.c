/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* domtune.rng: made from the tables, it takes what the parsers take and refuses what they refuse. */
#include <libxml/relaxng.h>

/* The generator is a program of one file; its main() is called with stdout sent elsewhere. */
int gen_main(int argc, char **argv);
#define main gen_main
#include "install/gen.c"
#undef main

#include "tests/unit/tap.h"

#define NS " xmlns='urn:domtune:1'"

static void quiet(void *user, const char *fmt, ...) PRINTF(2, 3);
static void quiet(void *user, const char *fmt, ...)
{
	(void)user, (void)fmt;
}

static xmlRelaxNG *schema;

static void load(void)
{
	char path[] = "/tmp/t_rng.XXXXXX";
	char *argv[] = { (char[]){ "gen" }, (char[]){ "rng" }, NULL };
	int fd = mkstemp(path), saved;
	xmlRelaxNGParserCtxt *ctxt;

	fflush(stdout);
	saved = dup(1);
	dup2(fd, 1);
	IS_INT(gen_main(2, argv), 0);
	dup2(saved, 1);
	close(saved);
	close(fd);
	ctxt = xmlRelaxNGNewParserCtxt(path);
	schema = xmlRelaxNGParse(ctxt);
	xmlRelaxNGFreeParserCtxt(ctxt);
	unlink(path);
	OK(schema);
}

static void unload(void)
{
	xmlRelaxNGFree(schema);
	xmlRelaxNGCleanupTypes();
}

static bool is_valid(xmlDoc *doc)
{
	xmlRelaxNGValidCtxt *ctxt = xmlRelaxNGNewValidCtxt(schema);
	int r;

	xmlRelaxNGSetValidErrors(ctxt, quiet, quiet, NULL);
	r = xmlRelaxNGValidateDoc(ctxt, doc);
	xmlRelaxNGFreeValidCtxt(ctxt);
	return r == 0;
}

static bool text_is_valid(const char *text)
{
	xmlDoc *doc = xml_parse(text, strlen(text), 1 << 20, NULL);
	bool valid = doc && is_valid(doc);

	OK(doc);
	xmlFreeDoc(doc);
	return valid;
}

TEST(shipped_files_are_valid)
{
	static const char *const files[] = {
		"install/policy.xml",		 "install/profiles/balanced.xml", "install/profiles/throughput.xml",
		"install/profiles/latency.xml",	 "install/profiles/gaming.xml",	  "install/profiles/realtime.xml",
		"install/profiles/density.xml",	 "install/profiles/off.xml",
	};

	load();
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		xmlDoc *doc = xmlReadFile(files[i], NULL, XML_PARSE_NONET);

		OK(doc);
		if (!doc || !is_valid(doc))
			TAP_FAIL("%s is not valid", files[i]);
		xmlFreeDoc(doc);
	}
	unload();
}

/* Schema and parser on each knob's words, bounds and what is beside them: the same verdict. */
static void compare(enum knob_id id, const char *value)
{
	const struct knob *k = &knob_table[id];
	struct value v = { 0 };
	char text[256];
	bool parsed = knob_parse_value(id, value, &v, NULL) == 0;

	value_fini(&v);
	snprintf(text, sizeof(text), "<tune" NS "><%s %s='%s'/></tune>", knob_element_name(k->element), k->attribute,
		value);
	if (text_is_valid(text) != parsed)
		TAP_FAIL("%s: the parser says %s", text, parsed ? "yes" : "no");
}

TEST(schema_and_parser_agree)
{
	static const char *const values[] = {
		"", "auto", "none", "yes", "YES", "no no", "x", "max", "cfq", "be:7", "0", "1", "65", "100", "10001", "-1",
		"1.5", "99999999999999999999999", "%", "0%", "50%", "100%", "101%", "2M", "1GiB", "1GB", "10b", "10k",
		"10Mbit", "10kbps", "10kibit", "0-3", "0-3,^2,8", "0-3, 8", "3,", "a-b",
	};

	load();
	for (enum knob_id id = 0; id < KNOB_ID_MAX; id++) {
		const struct knob *k = &knob_table[id];
		const char *unit = k->form == KNOB_FORM_PERCENT ? "%" : "";
		char text[64];

		for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
			/* A size's and a rate's bounds are beyond a pattern, and so is a percentage's exact maximum. */
			if (k->form == KNOB_FORM_TC_SIZE || k->form == KNOB_FORM_RATE || k->form == KNOB_FORM_SIZE)
				if (streq(values[i], "0") || streq(values[i], "1") || strlen(values[i]) > 20)
					continue;
			compare(id, values[i]);
		}
		if (k->form != KNOB_FORM_INT && k->form != KNOB_FORM_INT_OR_PERCENT)
			continue;
		snprintf(text, sizeof(text), "%" PRIu64 "%s", k->max, unit);
		compare(id, text);
		snprintf(text, sizeof(text), "%" PRIu64 "%s", k->max + 1, unit);
		compare(id, text);
		snprintf(text, sizeof(text), "%" PRIu64 "%s", k->min, unit);
		compare(id, text);
	}
	unload();
}

TEST(good_and_bad_documents)
{
	static const struct {
		const char *text;
		bool want;
	} cases[] = {
		{ "<tune" NS "/>", true },
		{ "<x:tune xmlns:x='urn:domtune:1' profile='latency' on-error='fail'/>", true },
		{ "<tune/>", false },
		{ "<tune xmlns='urn:domtune:2'/>", false },
		{ "<tune" NS " on-error='no'/>", false },
		{ "<tune" NS " profile='../x'/>", false },
		{ "<tune" NS " profile='.x'/>", false },
		{ "<tune" NS " tenant='yes'/>", false },
		{ "<tune" NS "><disk io='native'/><cpu weight='5'/><disk target='vda'/><interface/></tune>", true },
		{ "<tune" NS "><cpu/><cpu/></tune>", false },
		{ "<tune" NS "><cpus/></tune>", false },
		{ "<tune" NS "><cpu><core/></cpu></tune>", false },
		{ "<tune" NS "><cpu target='x'/></tune>", false },
		{ "<tune" NS "><cpu>fast</cpu></tune>", false },
		{ "<x:tune xmlns:x='urn:domtune:1'><cpu/></x:tune>", false },
		{ "<profile" NS " name='a' inherits='b' tenant='no'><memory lock='yes'/></profile>", true },
		{ "<profile" NS " on-error='fail'/>", false },
		{ "<policy" NS "/>", true },
		{ "<policy" NS "><default profile='off'/><sysctl name='net.core.rmem_max' at-least='1'/><host "
		  "deadline='2s'/></policy>", true },
		{ "<policy" NS "><host/><host/></policy>", false },
		{ "<policy" NS "><default/></policy>", false },
		{ "<policy" NS "><host mode='on'/></policy>", false },
		{ "<policy" NS "><host max-dedicated-cpus='6'/></policy>", true },
		{ "<policy" NS "><host max-dedicated-cpus='101%'/></policy>", false },
		{ "<policy" NS "><host max-memory='8GiB'/></policy>", true },
		{ "<policy" NS "><host deadline='2'/></policy>", false },
		{ "<policy" NS "><sysctl name='../x' at-least='1'/></policy>", false },
		{ "<policy" NS "><sysctl name='net.core.rmem_max'/></policy>", false },
		{ "<policy" NS "><uplink device='eth0' rate='10gbit' replace-mq='no' mark-mask='0xff00'/></policy>",
		  true },
		{ "<policy" NS "><uplink device='a/b'/></policy>", false },
		{ "<policy" NS "><rule match='x' profile='a' take='nova'/><rule match='y' take='ovirt'/></policy>",
		  true },
		{ "<policy" NS "><rule profile='a'/></policy>", false },
	};

	load();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (text_is_valid(cases[i].text) != cases[i].want)
			TAP_FAIL("%s", cases[i].text);
	unload();
}

TAP_MAIN

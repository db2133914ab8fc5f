/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <tune> and <profile>: what is wrong costs its own message, the rest applies; profiles by name, with inheritance. */
#include <fcntl.h>
#include <sys/stat.h>

#include "common/policy.h"
#include "common/sbuf.h"
#include "tests/unit/tap.h"

#define NS " xmlns='urn:domtune:1'"

static xmlDoc *parse(const char *text, struct tune *t, struct msgs *msgs)
{
	xmlDoc *doc = xml_parse(text, strlen(text), POLICY_XML_MAX, NULL);

	OK(doc);
	*t = (struct tune){ 0 };
	if (doc)
		IS_INT(tune_parse(xmlDocGetRootElement(doc), "f.xml", t, msgs), 0);
	return doc;
}

static const char *text_of(const struct value *v)
{
	return v->text ? v->text : "";
}

static const char *target_value(const struct tune *t, enum knob_element el, const char *target, enum knob_id id)
{
	for (size_t i = 0; i < t->n_targets; i++)
		if (t->targets[i].element == el && streq(t->targets[i].target, target))
			return text_of(&t->targets[i].v[id]);
	return "no such target";
}

TEST(a_whole_annotation)
{
	static const char text[] = "<d:tune xmlns:d='urn:domtune:1' profile='latency' on-error='fail'>"
				   "<d:cpu policy='dedicated' emulator='2-3'/><d:memory pages='2M'/>"
				   "<d:disk target='vda' io='native'/><d:disk cache='none'/><d:disk target='vda' "
				   "discard='unmap'/>"
				   "<d:interface target='52:54:00:00:00:01' rate='1gbit'/></d:tune>";
	struct msgs msgs = { 0 };
	struct tune t;
	xmlDoc *doc = parse(text, &t, &msgs);

	xmlFreeDoc(doc); /* nothing is borrowed from it */
	IS_INT(msgs.n, 0);
	IS_STR(t.name, "latency");
	OK(t.fail);
	IS_STR(text_of(&t.v[KNOB_CPU_POLICY]), "dedicated");
	IS_STR(text_of(&t.v[KNOB_CPU_EMULATOR]), "2-3");
	IS_STR(text_of(&t.v[KNOB_MEM_PAGES]), "2M");
	IS_INT(t.n_targets, 3);
	IS_STR(target_value(&t, KNOB_ELEMENT_DISK, "vda", KNOB_DISK_IO), "native");
	IS_STR(target_value(&t, KNOB_ELEMENT_DISK, "vda", KNOB_DISK_DISCARD), "unmap");
	IS_STR(target_value(&t, KNOB_ELEMENT_DISK, "*", KNOB_DISK_CACHE), "none");
	IS_STR(target_value(&t, KNOB_ELEMENT_INTERFACE, "52:54:00:00:00:01", KNOB_NET_RATE), "1000000000");
	tune_fini(&t);
	tune_fini(&t);
}

/* Each case: one message at a place, and cpu.weight=5 of the rest applies. */
TEST(one_message_each_and_the_rest_applies)
{
	static const struct {
		const char *text;
		int line, column;
		const char *want;
	} cases[] = {
		{ "<tune" NS " profle='x'><cpu weight='5'/></tune>", 1, 29, "unknown attribute 'profle' of <tune>" },
		{ "<tune" NS " tenant='yes'><cpu weight='5'/></tune>", 1, 29, "unknown attribute 'tenant' of <tune>" },
		{ "<tune" NS " inherits='x'><cpu weight='5'/></tune>", 1, 29,
		  "unknown attribute 'inherits' of <tune>" },
		{ "<profile" NS " on-error='fail'><cpu weight='5'/></profile>", 1, 32,
		  "unknown attribute 'on-error' of <profile>" },
		{ "<profile" NS " profile='x'><cpu weight='5'/></profile>", 1, 32,
		  "unknown attribute 'profile' of <profile>" },
		{ "<tune" NS " on-error='abort'><cpu weight='5'/></tune>", 1, 29,
		  "on-error: 'abort' is not one of warn, fail" },
		{ "<tune" NS " on-error='Fail'><cpu weight='5'/></tune>", 1, 29,
		  "on-error: 'Fail' is not one of warn, fail" },
		{ "<profile" NS " tenant='true'><cpu weight='5'/></profile>", 1, 32,
		  "tenant: 'true' is not one of yes, no" },
		{ "<tune" NS ">\n <cpu weight='5' polcy='shared'/></tune>", 2, 18,
		  "unknown attribute 'polcy' of <cpu>" },
		{ "<tune" NS ">\n <cpu\n  policy='dedicate'\n  weight='5'/></tune>", 3, 3,
		  "cpu.policy: 'dedicate' is not one of none, shared, dedicated, isolated" },
		{ "<tune" NS ">\n <cpu weight='5' target='x'/></tune>", 2, 18, "unknown attribute 'target' of <cpu>" },
		{ "<tune" NS " xmlns:o='urn:o'>\n <cpu weight='5' o:policy='shared'/></tune>", 2, 18,
		  "unknown attribute 'policy' of <cpu>" },
		{ "<tune" NS ">\n <cpus weight='6'/><cpu weight='5'/></tune>", 2, 2, "unknown element 'cpus'" },
		{ "<tune" NS ">\n <CPU weight='6'/><cpu weight='5'/></tune>", 2, 2, "unknown element 'CPU'" },
		{ "<t:tune xmlns:t='urn:domtune:1'>\n <cpu weight='6'/><t:cpu weight='5'/></t:tune>", 2, 2,
		  "<cpu> is not in the namespace urn:domtune:1" },
		{ "<tune" NS ">\n <cpu weight='5'/><cpu weight='6' policy='shared'/></tune>", 2, 19,
		  "a second <cpu>, the first counts" },
		{ "<tune" NS "><cpu weight='5'>\n <core/></cpu></tune>", 2, 2, "unknown element 'core' of <cpu>" },
		{ "<tune" NS "><cpu weight='5'>fast</cpu></tune>", 1, 29, "text in <cpu> means nothing" },
		{ "<tune" NS "><cpu weight='5'/><disk target=''/></tune>", 1, 46, "<disk> with an empty target" },
		{ "<tune" NS "><cpu weight='5'/><disk io='native'/><disk target='*' io='threads'/></tune>", 1, 82,
		  "disk.io is given twice, the first counts" },
		{ "<tune" NS "><memory lock='1'/><cpu weight='5'/></tune>", 1, 37,
		  "memory.lock: '1' is not one of yes, no" },
		{ "<tune" NS "><cpu cpus='^1' weight='5'/></tune>", 1, 34, "cpu.cpus: '^1' names no CPU" },
		{ "<tune" NS "><cpu weight='5' cpus='a&#10;&#9;b'/></tune>", 1, 45,
		  "cpu.cpus: 'a??b' is not a CPU list" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct msgs msgs = { 0 };
		struct tune t;
		xmlDoc *doc = parse(cases[i].text, &t, &msgs);

		IS_INT(msgs.n, 1);
		if (msgs.n) {
			const struct msg *m = &msgs.m[0];

			IS_STR(m->text, cases[i].want);
			IS_STR(m->file, "f.xml");
			if (m->line != cases[i].line || m->column != cases[i].column)
				TAP_FAIL("%s: %d:%d", cases[i].text, m->line, m->column);
		}
		OK(!t.fail && !t.tenant);
		IS_STR(text_of(&t.v[KNOB_CPU_WEIGHT]), "5");
		msgs_fini(&msgs);
		tune_fini(&t);
		xmlFreeDoc(doc);
	}
}

/* Four megabytes of faults and of targets: bounded room, bounded messages, and it ends soon (tap.h's alarm). */
TEST(a_flood)
{
	struct sbuf b = { 0 };
	struct msgs msgs = { 0 };
	struct tune t = { 0 };
	xmlDoc *doc;

	sbuf_add(&b, "<tune" NS ">");
	for (unsigned int i = 0; b.len < DOMAIN_XML_MAX - 200; i++)
		sbuf_addf(&b, "<disk target='d%u' x='1'/>\n<y/>", i);
	sbuf_add(&b, "<cpu weight='5'/></tune>");
	doc = xml_parse(b.s, b.len, DOMAIN_XML_MAX, NULL);
	OK(doc);
	IS_INT(tune_parse(xmlDocGetRootElement(doc), "", &t, &msgs), 0);
	IS_INT(t.n_targets, TUNE_TARGETS_MAX);
	OK(msgs.n <= MSGS_MAX + 1);
	IS_STR(text_of(&t.v[KNOB_CPU_WEIGHT]), "5");
	tune_fini(&t);
	msgs_fini(&msgs);
	xmlFreeDoc(doc);
	sbuf_fini(&b);
}

/*
 * Profiles below a root of our own.
 */
static char root[] = "/tmp/t_tune.XXXXXX";
static struct hostfs fs = HOSTFS_INIT;

static void put(const char *path, const char *text)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", root, path);
	f = fopen(full, "w");
	fputs(text, f);
	fclose(f);
}

static void make_root(void)
{
	OK(mkdtemp(root));
	IS_INT(hostfs_init(&fs, root, NULL), 0);
	IS_INT(hostfs_mkdir(&fs, 0755, "etc/domtune/profiles"), 0);
	IS_INT(hostfs_mkdir(&fs, 0755, "usr/share/domtune/profiles"), 0);
}

static void remove_root(void)
{
	char command[128];

	hostfs_fini(&fs);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	IS_INT(system(command), 0);
}

/* The shipped profiles, from the source tree (the tests run at its top). */
static void put_shipped(void)
{
	static const char *const names[] = { "balanced", "throughput", "latency", "gaming", "realtime", "density",
		"off" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[128], text[8192];
		FILE *f;
		size_t n;

		snprintf(path, sizeof(path), "install/profiles/%s.xml", names[i]);
		f = fopen(path, "r");
		OK(f);
		if (!f)
			return;
		n = fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
		text[n] = '\0';
		snprintf(path, sizeof(path), "usr/share/domtune/profiles/%s.xml", names[i]);
		put(path, text);
	}
}

/* "cpu.policy=shared memory.placement=preferred disk[*].io=auto ": all values in table order, targets last. */
static void flatten(const struct tune *t, struct sbuf *b)
{
	for (enum knob_id id = 0; id < KNOB_ID_MAX; id++)
		if (t->v[id].text)
			sbuf_addf(b, "%s=%s ", knob_table[id].name, t->v[id].text);
	for (size_t i = 0; i < t->n_targets; i++)
		for (enum knob_id id = 0; id < KNOB_ID_MAX; id++)
			if (t->targets[i].v[id].text)
				sbuf_addf(b, "%s[%s]=%s ", knob_table[id].name, t->targets[i].target,
					t->targets[i].v[id].text);
}

#define DEVICES "disk.scheduler[*]=auto disk.io[*]=auto disk.metadata-cache[*]=auto interface.steering[*]=auto "
#define LATENCY_MEMORY "memory.pages=auto memory.placement=strict memory.prealloc=yes "

TEST(shipped_profiles_are_the_contracts)
{
	static const struct {
		const char *name, *want;
		bool tenant;
	} cases[] = {
		{ "balanced", "cpu.policy=shared memory.placement=preferred ", true },
		{ "throughput", "cpu.policy=shared cpu.weight=200 memory.pages=thp memory.placement=preferred "
		  "irq.policy=local "
		  DEVICES, false },
		{ "latency", "cpu.policy=dedicated cpu.governor=performance "
		  LATENCY_MEMORY "memory.merge=no irq.policy=all "
		  DEVICES, false },
		{ "gaming", "cpu.policy=isolated cpu.governor=performance cpu.wakeup=0 cpu.halt-poll=500000 "
		  LATENCY_MEMORY
		  "memory.merge=no irq.policy=all " DEVICES, false },
		{ "realtime", "cpu.policy=isolated cpu.threads=isolate cpu.emulator=isolate cpu.scheduler=fifo "
		  "cpu.priority=1 "
		  "cpu.governor=performance cpu.wakeup=0 "
		  LATENCY_MEMORY "memory.lock=yes memory.merge=no irq.policy=all "
		  DEVICES, false },
		{ "density", "cpu.policy=shared memory.placement=preferred memory.merge=yes ", true },
		{ "off", "cpu.policy=none ", true },
	};

	make_root();
	put_shipped();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct msgs msgs = { 0 };
		struct sbuf b = { 0 };
		struct tune t = { 0 };

		IS_INT(profile_load(&fs, cases[i].name, &t, &msgs, NULL), 0);
		flatten(&t, &b);
		IS_STR(b.s, cases[i].want);
		IS_INT(t.tenant, cases[i].tenant);
		IS_STR(t.name, cases[i].name);
		IS_INT(msgs.n, 0);
		sbuf_fini(&b);
		msgs_fini(&msgs);
		tune_fini(&t);
	}
	remove_root();
}

TEST(inheritance_and_sources)
{
	struct msgs msgs = { 0 };
	struct tune t = { 0 };
	struct sbuf b = { 0 };

	make_root();
	put("usr/share/domtune/profiles/a.xml", "<profile"
		NS " tenant='yes'><cpu policy='shared' weight='1' quota='10%'/>"
						"<disk target='vda' io='native' cache='none'/><disk "
						"io='threads'/></profile>");
	put("usr/share/domtune/profiles/b.xml", "<profile"
		NS " name='b' inherits='a'><cpu weight='2' threads='isolate'/></profile>");
	put("etc/domtune/profiles/c.xml", "<profile" NS " name='c' inherits='b'><cpu threads='prefer'/>"
					  "<disk target='vda' io='io_uring'/></profile>");
	IS_INT(profile_load(&fs, "c", &t, &msgs, NULL), 0);
	flatten(&t, &b);
	IS_STR(b.s, "cpu.policy=shared cpu.threads=prefer cpu.weight=2 cpu.quota=10% disk.io[vda]=io_uring "
		"disk.cache[vda]=none "
		    "disk.io[*]=threads ");
	IS_STR(t.v[KNOB_CPU_THREADS].source, "profile c");
	IS_STR(t.v[KNOB_CPU_WEIGHT].source, "profile b");
	IS_STR(t.v[KNOB_CPU_POLICY].source, "profile a");
	IS_STR(t.targets[0].v[KNOB_DISK_IO].source, "profile c");
	IS_STR(t.targets[0].v[KNOB_DISK_CACHE].source, "profile a");
	IS_STR(t.inherits, "b");
	OK(!t.tenant); /* being open to tenants is not inherited */
	IS_INT(msgs.n, 0);
	sbuf_fini(&b);
	tune_fini(&t);
	remove_root();
}

TEST(the_administrators_file_hides_the_shipped_one)
{
	struct msgs msgs = { 0 };
	struct err e = ERR_INIT;
	struct tune t = { 0 };

	make_root();
	put_shipped();
	put("etc/domtune/profiles/latency.xml", "<profile" NS " name='latency'><cpu policy='shared'/></profile>");
	IS_INT(profile_load(&fs, "gaming", &t, &msgs, NULL), 0);
	IS_STR(text_of(&t.v[KNOB_MEM_PAGES]), "");
	IS_STR(text_of(&t.v[KNOB_CPU_POLICY]), "isolated");
	tune_fini(&t);
	/* Also when it is broken. */
	put("etc/domtune/profiles/latency.xml", "<profile" NS " name='latency'>\n <cpu</profile>");
	IS_INT(profile_load(&fs, "latency", &t, &msgs, &e), -EBADMSG);
	IS_INT(e.line, 2);
	OK(strstr(e.text, "/etc/domtune/profiles/latency.xml"));
	/* A heir keeps its own values and says what is wrong. */
	IS_INT(profile_load(&fs, "gaming", &t, &msgs, NULL), 0);
	IS_STR(text_of(&t.v[KNOB_CPU_POLICY]), "isolated");
	IS_INT(msgs.n, 1);
	tune_fini(&t);
	msgs_fini(&msgs);
	remove_root();
}

TEST(profiles_that_cannot_be_had)
{
	static const struct {
		const char *name, *text;
		int code;
	} cases[] = {
		{ "loop", "<profile" NS " inherits='loop2'/>", -ELOOP },
		{ "loop2", "<profile" NS " inherits='loop'/>", -ELOOP },
		{ "self", "<profile" NS " inherits='self'/>", -ELOOP },
		{ "empty", "", -EBADMSG },
		{ "tune", "<tune" NS "/>", -EBADMSG },
		{ "plain", "<profile name='plain'/>", -EBADMSG },
		{ "dtd", "<!DOCTYPE profile><profile" NS "/>", -EBADMSG },
	};
	static const char *const no_names[] = { "", ".", "..", "../passwd", "a/b", ".hidden", "a b", "x\n",
						"0123456789012345678901234567890123456789012345678901234567890123" };
	struct msgs msgs = { 0 };
	struct tune t = { 0 };

	make_root();
	put("etc/domtune/profiles/.hidden.xml", "<profile" NS "/>");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char path[128];

		snprintf(path, sizeof(path), "etc/domtune/profiles/%s.xml", cases[i].name);
		put(path, cases[i].text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = ERR_INIT;

		IS_INT(profile_load(&fs, cases[i].name, &t, &msgs, &e), cases[i].code);
		IS_INT(e.code, -cases[i].code);
	}
	for (size_t i = 0; i < ARRAY_SIZE(no_names); i++)
		IS_INT(profile_load(&fs, no_names[i], &t, &msgs, NULL), -ENOENT);
	IS_INT(msgs.n, 0);
	/* An unknown parent is a message; the rest applies. */
	put("etc/domtune/profiles/orphan.xml", "<profile"
		NS " name='other' inherits='nobody'><cpu weight='5'/></profile>");
	IS_INT(profile_load(&fs, "orphan", &t, &msgs, NULL), 0);
	IS_STR(text_of(&t.v[KNOB_CPU_WEIGHT]), "5");
	IS_STR(t.name, "orphan");
	IS_INT(msgs.n, 2);
	IS_STR(msgs.m[0].text, "calls itself 'other'");
	IS_STR(msgs.m[1].text, "inherits nothing: no profile 'nobody'");
	tune_fini(&t);
	msgs_fini(&msgs);
	remove_root();
}

TEST(deep_chains_end)
{
	struct msgs msgs = { 0 };
	struct tune t = { 0 };

	make_root();
	for (unsigned int i = 0; i < 9; i++) {
		char path[128], text[128];

		snprintf(path, sizeof(path), "etc/domtune/profiles/p%u.xml", i);
		snprintf(text, sizeof(text), "<profile" NS " inherits='p%u'><cpu weight='%u'/></profile>", i + 1,
			i + 1);
		put(path, text);
	}
	put("etc/domtune/profiles/p9.xml", "<profile" NS "/>");
	IS_INT(profile_load(&fs, "p0", &t, &msgs, NULL), -ELOOP);
	IS_INT(profile_load(&fs, "p2", &t, &msgs, NULL), 0);
	tune_fini(&t);
	msgs_fini(&msgs);
	remove_root();
}

TEST(names_are_sorted_and_once)
{
	static const char *const want[] = { "balanced", "density", "gaming", "latency", "mine", "off", "realtime",
		"throughput" };
	char **names;
	size_t found = 0;

	make_root();
	put_shipped();
	put("etc/domtune/profiles/mine.xml", "");
	put("etc/domtune/profiles/latency.xml", "");
	put("etc/domtune/profiles/no.xml~", "");
	put("etc/domtune/profiles/.xml", "");
	put("etc/domtune/profiles/.h.xml", "");
	put("etc/domtune/profiles/README", "");
	names = profile_names(&fs);
	OK(names);
	for (size_t i = 0; names && names[i]; i++) {
		if (i)
			OK(strcmp(names[i - 1], names[i]) < 0);
		OK(profile_is_name(names[i]));
		for (size_t w = 0; w < ARRAY_SIZE(want); w++)
			found += streq(names[i], want[w]);
	}
	for (size_t i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
	IS_INT(found, ARRAY_SIZE(want));
	remove_root();
}

TAP_MAIN

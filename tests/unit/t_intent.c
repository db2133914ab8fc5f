/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which value: annotation, rule, default, profile; what the policy cuts; the limits; the tool's overrides. */
#include "common/intent.h"
#include "common/sbuf.h"
#include "tests/unit/tap.h"

#define NS " xmlns='urn:domtune:1'"

static char root[] = "/tmp/t_intent.XXXXXX";
static struct hostfs fs = HOSTFS_INIT;

static void put(const char *name, const char *content)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/etc/domtune/profiles/%s.xml", root, name);
	f = fopen(path, "w");
	fprintf(f, "<profile" NS " %s</profile>", content);
	fclose(f);
}

static void make_root(void)
{
	OK(mkdtemp(root));
	IS_INT(hostfs_init(&fs, root, NULL), 0);
	IS_INT(hostfs_mkdir(&fs, 0755, "etc/domtune/profiles"), 0);
	put("open", "tenant='yes'><cpu policy='shared' weight='10'/>");
	put("closed", "tenant='no'><cpu policy='dedicated'/>");
	put("usual", "><cpu policy='shared' weight='20' quota='100%'/><disk io='auto' cache='none'/>");
	put("ruled", "><cpu policy='shared' weight='30'/>");
	put("rt", "><cpu scheduler='fifo' priority='50'/>");
	put("quiet", "inherits='usual'><cpu policy='isolated'/>");
	put("quieter", "inherits='usual'><cpu policy='isolated'/><irq policy='none'/>");
	put("broken", "><cpu");
}

static void remove_root(void)
{
	char command[128];

	hostfs_fini(&fs);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	IS_INT(system(command), 0);
}

struct asked {
	const char *policy;     /* inside <policy> */
	const char *annotation; /* the <tune> element, "" none */
	const char *profile;    /* override */
	char set[3][64]; /* overrides, "" none */
};

static int make(const struct asked *a, struct intent *i, struct err *e)
{
	char text[1024];
	struct policy p;
	struct domain d;
	char set[ARRAY_SIZE(a->set)][sizeof(a->set[0])], *overrides[ARRAY_SIZE(a->set) + 1] = { NULL };
	int r;

	memcpy(set, a->set, sizeof(set));
	for (size_t n = 0; n < ARRAY_SIZE(set) && set[n][0]; n++)
		overrides[n] = set[n];
	snprintf(text, sizeof(text), "<policy" NS ">%s</policy>", a->policy ? a->policy : "<default profile='usual'/>");
	IS_INT(policy_parse(text, strlen(text), "p.xml", &p), 0);
	IS_INT(p.msgs.n, 0);
	snprintf(text, sizeof(text), "<domain>\n<name>web1</name>\n<metadata>%s</metadata></domain>",
		 a->annotation ? a->annotation : "");
	IS_INT(domain_parse(text, strlen(text), &d, NULL), 0);
	r = intent_make(&fs, &p, &d, a->profile, overrides, i, e);
	domain_fini(&d);
	policy_fini(&p);
	return r;
}

/* "usual/default: cpu.policy=shared(profile usual) ... disk.io[*]=auto(profile usual) | message | message" */
static char *describe(const struct intent *i)
{
	static const char *const sources[] = { "annotation", "rule", "default", "none" };
	struct sbuf b = { 0 };

	sbuf_addf(&b, "%s/%s%s", i->profile, sources[i->source], i->fail ? "!" : "");
	if (i->rule)
		sbuf_addf(&b, "%u", i->rule);
	sbuf_add(&b, ":");
	for (enum knob_id id = 0; id < KNOB_ID_MAX; id++)
		if (i->v[id].text)
			sbuf_addf(&b, " %s=%s(%s)", knob_table[id].name, i->v[id].text, i->v[id].source);
	for (size_t t = 0; t < i->n_targets; t++)
		for (enum knob_id id = 0; id < KNOB_ID_MAX; id++)
			if (i->targets[t].v[id].text)
				sbuf_addf(&b, " %s[%s]=%s(%s)", knob_table[id].name, i->targets[t].target,
					  i->targets[t].v[id].text, i->targets[t].v[id].source);
	for (size_t m = 0; m < i->msgs.n; m++)
		sbuf_addf(&b, " | %s", i->msgs.m[m].text);
	return sbuf_steal(&b);
}

#define USUAL "cpu.policy=shared(profile usual) cpu.weight=20(profile usual) cpu.quota=100%(profile usual)"
#define USUAL_DISK " disk.io[*]=auto(profile usual) disk.cache[*]=none(profile usual)"
#define RULE "<rule match=\"name='x'\" profile='open'/><rule match=\"name='web1'\" profile='ruled'/><default " \
	"profile='usual'/>"
#define PROFILES "<host annotations='profiles'/><default profile='usual'/>"
#define IGNORE "<host annotations='ignore'/><default profile='usual'/>"
#define CUT "the policy lets annotations only name a profile: the rest of this one is ignored"

TEST(which_profile_and_which_value)
{
	static const struct {
		struct asked asked;
		const char *want;
	} cases[] = {
		{ { 0 }, "usual/default: " USUAL USUAL_DISK },
		{ { .annotation = "<tune" NS "/>" }, "usual/default: " USUAL USUAL_DISK },
		{ { .annotation = "<x:tune xmlns:x='urn:domtune:1' profile='open'/>" },
		  "open/annotation: cpu.policy=shared(profile open) cpu.weight=10(profile open)" },
		{ { .annotation = "<tune" NS " profile='open' on-error='fail'><cpu weight='5'/><disk target='vda' "
		  "io='native'/></tune>" },
		  "open/annotation!: cpu.policy=shared(profile open) cpu.weight=5(annotation) "
		  "disk.io[vda]=native(annotation)" },
		{ { .annotation = "<tune" NS "><cpu weight='5'/><disk target='vda' io='native'/></tune>" },
		  "usual/default: cpu.policy=shared(profile usual) cpu.weight=5(annotation) cpu.quota=100%"
		  "(profile usual) disk.io[vda]=native(annotation)" USUAL_DISK },
		/* A rule where the annotation names no profile; attributes still count. */
		{ { .policy = RULE }, "ruled/rule2: cpu.policy=shared(profile ruled) cpu.weight=30(profile ruled)" },
		{ { .policy = RULE, .annotation = "<tune" NS " profile='open'/>" },
		  "open/annotation: cpu.policy=shared(profile open) cpu.weight=10(profile open)" },
		{ { .policy = RULE, .annotation = "<tune" NS "><cpu weight='7'/></tune>" },
		  "ruled/rule2: cpu.policy=shared(profile ruled) cpu.weight=7(annotation)" },
		/* A name that does not exist is one warning and counts as absent: then the rule, then the default. */
		{ { .policy = RULE, .annotation = "<tune" NS " profile='nosuch'/>" },
		  "ruled/rule2: cpu.policy=shared(profile ruled) cpu.weight=30(profile ruled) | no profile 'nosuch'" },
		{ { .annotation = "<tune" NS " profile=''/>" }, "usual/default: " USUAL USUAL_DISK " | no profile ''" },
		{ { .annotation = "<tune" NS " profile='../open'/>" },
		  "usual/default: " USUAL USUAL_DISK " | no profile '../open'" },
		{ { .annotation = "<tune" NS " profile='Open'/>" },
		  "usual/default: " USUAL USUAL_DISK " | no profile 'Open'" },
		{ { .policy = "<rule match='true()' profile='gone'/><rule match='true()' profile='open'/><default "
		  "profile='usual'/>" },
		  "usual/default: " USUAL USUAL_DISK " | no profile 'gone'" },
		{ { .policy = "<rule match='true()' take='nova'/><default profile='usual'/>" },
		  "usual/default: " USUAL USUAL_DISK },
		{ { .policy = "<default profile='gone'/>",
		    .annotation = "<tune" NS " on-error='fail'><cpu weight='5'/></tune>" },
		  "/none!: cpu.weight=5(annotation) | no profile 'gone'" },
		/* What is wrong in the annotation is one warning each. */
		{ { .annotation = "<tune" NS " profile='open'><cpu weight='0' wight='1'/><cpu quota='5%'/></tune>" },
		  "open/annotation: cpu.policy=shared(profile open) cpu.weight=10(profile open) | cpu.weight: '0' is "
		  "not 1..10000"
		  " | unknown attribute 'wight' of <cpu> | a second <cpu>, the first counts" },
		/* annotations="profiles": the name only, and only of profiles open to tenants. */
		{ { .policy = PROFILES, .annotation = "<tune" NS " profile='open'/>" },
		  "open/annotation: cpu.policy=shared(profile open) cpu.weight=10(profile open)" },
		{ { .policy = PROFILES, .annotation = "<tune" NS " profile='open' on-error='fail'/>" },
		  "open/annotation: cpu.policy=shared(profile open) cpu.weight=10(profile open) | " CUT },
		{ { .policy = PROFILES, .annotation = "<tune"
		  NS " profile='open' bad='x'><cpu weight='9999'/><disk io='native'/></tune>" },
		  "open/annotation: cpu.policy=shared(profile open) cpu.weight=10(profile open) | " CUT },
		{ { .policy = PROFILES, .annotation = "<tune" NS " profile='closed'/>" },
		  "usual/default: " USUAL USUAL_DISK
		  " | profile 'closed' is not open to annotations (tenant=\"yes\"), as the policy demands" },
		{ { .policy = PROFILES, .annotation = "<tune" NS "><cpu weight='9'/></tune>" },
		  "usual/default: " USUAL USUAL_DISK " | " CUT },
		{ { .policy = IGNORE, .annotation = "<tune"
		  NS " profile='open' on-error='fail'><cpu weight='9'/></tune>" },
		  "usual/default: " USUAL USUAL_DISK " | the policy ignores annotations" },
		{ { .policy = IGNORE }, "usual/default: " USUAL USUAL_DISK },
		/* isolated implies irq policy avoid unless that is written. */
		{ { .annotation = "<tune" NS " profile='quiet'/>" },
		  "quiet/annotation: cpu.policy=isolated(profile quiet) cpu.weight=20(profile usual) "
		  "cpu.quota=100%(profile usual)"
		  " irq.policy=avoid(profile quiet)" USUAL_DISK },
		{ { .annotation = "<tune" NS " profile='quieter'/>" },
		  "quieter/annotation: cpu.policy=isolated(profile quieter) cpu.weight=20(profile usual)"
		  " cpu.quota=100%(profile usual) irq.policy=none(profile quieter)" USUAL_DISK },
		/* Limits. */
		{ { .annotation = "<tune" NS " profile='rt'/>" },
		  "rt/annotation: cpu.scheduler=fifo(profile rt) cpu.priority=10(limit)"
		  " | cpu.priority 50 is over the policy's max-rt-priority, 10 it is" },
		{ { .policy = "<host max-rt-priority='60'/>", .annotation = "<tune" NS " profile='rt'/>" },
		  "rt/annotation: cpu.scheduler=fifo(profile rt) cpu.priority=50(profile rt)" },
		{ { .policy = "<host max-rt-priority='0'/>", .annotation = "<tune" NS " profile='rt'/>" },
		  "rt/annotation: cpu.scheduler=other(limit)"
		  " | cpu.scheduler fifo: the policy allows no real-time scheduling (max-rt-priority 0)" },
		/* The tool's overrides. */
		{ { .profile = "open", .annotation = "<tune"
		  NS " profile='closed' on-error='fail'><cpu weight='5'/></tune>" },
		  "open/annotation!: cpu.policy=shared(profile open) cpu.weight=5(annotation)" },
		{ { .profile = "nosuch" }, "usual/default: " USUAL USUAL_DISK " | no profile 'nosuch'" },
		{ { .profile = "closed", .policy = PROFILES },
		  "usual/default: " USUAL USUAL_DISK
		  " | profile 'closed' is not open to annotations (tenant=\"yes\"), as the policy demands" },
		{ { .profile = "open", .set = { "cpu.weight=6", "disk[vd.a].io=native",
						      "interface.queues=4" } },
		  "open/annotation: cpu.policy=shared(profile open) cpu.weight=6(annotation) "
		  "disk.io[vd.a]=native(annotation)"
		  " interface.queues[*]=4(annotation)" },
		{ { .set = { "interface[52:54:00:00:00:01].rate=8bit", "cpu.cpus=0-3,^2" } },
		  "usual/default: cpu.policy=shared(profile usual) cpu.cpus=0-1,3(annotation) cpu.weight=20(profile "
		  "usual)"
		  " cpu.quota=100%(profile usual) interface.rate[52:54:00:00:00:01]=8(annotation)" USUAL_DISK },
		{ { .annotation = "<tune" NS "><cpu weight='5'/></tune>", .set = { "cpu.weight=6" } },
		  "usual/default: cpu.policy=shared(profile usual) cpu.weight=6(annotation) cpu.quota=100%(profile "
		  "usual)" USUAL_DISK },
	};

	make_root();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct intent in;
		char *text;

		IS_INT(make(&cases[i].asked, &in, NULL), 0);
		text = describe(&in);
		IS_INT(in.rule != 0, in.source == PROFILE_RULE);
		IS_STR(text, cases[i].want);
		free(text);
		intent_fini(&in);
	}
	remove_root();
}

TEST(messages_have_places)
{
	struct asked a = { .annotation = "<tune" NS ">\n  <cpu polcy='x'/></tune>" };
	struct intent i;

	make_root();
	IS_INT(make(&a, &i, NULL), 0);
	IS_INT(i.msgs.n, 1);
	if (i.msgs.n) {
		IS_STR(i.msgs.m[0].file, "");
		IS_INT(i.msgs.m[0].line, 4);
		IS_INT(i.msgs.m[0].column, 8);
	}
	IS_STR(intent_word(&i, KNOB_CPU_POLICY, "none"), "shared");
	IS_STR(intent_word(&i, KNOB_CPU_THREADS, "prefer"), "prefer");
	intent_fini(&i);
	intent_fini(&i);
	remove_root();
}

TEST(broken_profiles_count_as_absent)
{
	struct asked a = { .annotation = "<tune" NS " profile='broken'/>" };
	struct intent i;

	make_root();
	IS_INT(make(&a, &i, NULL), 0);
	IS_STR(i.profile, "usual");
	IS_INT(i.msgs.n, 1);
	OK(i.msgs.n && strstr(i.msgs.m[0].text, "/etc/domtune/profiles/broken.xml"));
	intent_fini(&i);
	remove_root();
}

TEST(bad_overrides_are_usage_errors)
{
	static const struct {
		char text[64];
		const char *want;
	} cases[] = {
		{ " ", "' ' is not ELEMENT.ATTRIBUTE=VALUE" },
		{ "cpu", "'cpu' is not ELEMENT.ATTRIBUTE=VALUE" },
		{ "cpu.policy", "'cpu.policy' is not ELEMENT.ATTRIBUTE=VALUE" },
		{ "cpu=shared", "'cpu=shared' is not ELEMENT.ATTRIBUTE=VALUE" },
		{ "cpu.polcy=shared", "'cpu.polcy=shared': there is no cpu.polcy" },
		{ "cpu.policy=Shared", "cpu.policy: 'Shared' is not one of none, shared, dedicated, isolated" },
		{ "cpu[0].policy=shared", "'cpu[0].policy=shared': cpu has no targets" },
		{ "disk[vda.io=native", "'disk[vda.io=native' is not ELEMENT[TARGET].ATTRIBUTE=VALUE" },
		{ "disk[].io=native", "'disk[].io=native' is not ELEMENT[TARGET].ATTRIBUTE=VALUE" },
		{ "disk[vda]io=native", "'disk[vda]io=native' is not ELEMENT.ATTRIBUTE=VALUE" },
		{ "disk.target=vda", "'disk.target=vda': there is no disk.target" },
		{ ".=", "'.=': there is no ." },
		{ "cpu.cpus=^1", "cpu.cpus: '^1' names no CPU" },
	};

	make_root();
	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		struct asked a = { 0 };
		struct err e = ERR_INIT;
		struct intent i = { 0 };

		memcpy(a.set[0], cases[c].text, sizeof(a.set[0]));
		IS_INT(make(&a, &i, &e), -EINVAL);
		IS_STR(e.text, cases[c].want);
		intent_fini(&i);
	}
	remove_root();
}

/* What decides whether the devices below the disks are looked at. */
TEST(what_asks_for_disks)
{
	static const struct {
		const char *annotation;
		bool asks;
	} cases[] = {
		{ "<tune" NS "><cpu policy='shared'/><memory pages='thp'/></tune>", false },
		{ "<tune" NS "><interface target='*' rate='1mbit'/></tune>", false },
		{ "<tune" NS "><disk target='*'/></tune>", false },
		{ "<tune" NS "><disk target='vda' scheduler='wrong'/></tune>", false },
		{ "<tune" NS "><disk target='vda' scheduler='auto'/></tune>", true },
		{ "<tune" NS "><interface target='*' rate='1mbit'/><disk target='*' weight='5'/></tune>", true },
		{ "<tune" NS "><io priority='be:2'/></tune>", true },
		{ "<tune" NS " profile='usual'/>", true },
	};
	struct intent i;

	make_root();
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		const struct asked a = { .policy = "", .annotation = cases[k].annotation };

		IS_INT(make(&a, &i, NULL), 0);
		if (intent_asks_disks(&i) != cases[k].asks)
			TAP_FAIL("%s", cases[k].annotation);
		intent_fini(&i);
	}
	remove_root();
}

TAP_MAIN

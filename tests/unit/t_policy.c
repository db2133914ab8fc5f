/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* policy.xml: defaults, every attribute's bounds, rules. */
#include <sys/stat.h>

#include "common/policy.h"
#include "common/sbuf.h"
#include "tests/unit/tap.h"

#define NS " xmlns='urn:domtune:1'"

static void parse(const char *text, struct policy *p)
{
	IS_INT(policy_parse(text, strlen(text), "p.xml", p), 0);
}

static bool same_limit(struct policy_limit a, uint64_t num, bool is_percent)
{
	return a.num == num && a.is_percent == is_percent;
}

static void is_builtin_in_effect(const struct policy *p)
{
	IS_INT(p->mode, POLICY_ENFORCE);
	IS_INT(p->annotations, POLICY_ANNOTATIONS_ALL);
	OK(!p->reserved_given && idset_is_empty(&p->reserved));
	OK(same_limit(p->max_dedicated, 75, true));
	OK(same_limit(p->max_hugepages, 80, true));
	OK(same_limit(p->max_memory, 95, true));
	OK(same_limit(p->max_protection, 50, true));
	IS_INT(p->max_vcpus_per_cpu, 8);
	IS_INT(p->max_rt_priority, 10);
	IS_INT(p->deadline_ms, 2000);
	IS_INT(p->grow_deadline_ms, 5000);
	IS_INT(p->n_rules, 0);
	IS_INT(p->n_sysctls, 0);
	IS_INT(p->n_uplinks, 0);
	IS_STR(p->default_profile, "balanced");
}

TEST(the_shipped_file_says_what_holds_without_it)
{
	FILE *f = fopen("install/policy.xml", "r");
	char text[16384];
	struct policy p;
	size_t n;

	OK(f);
	if (!f)
		return;
	n = fread(text, 1, sizeof(text), f);
	fclose(f);
	IS_INT(policy_parse(text, n, "p.xml", &p), 0);
	is_builtin_in_effect(&p);
	IS_INT(p.msgs.n, 0);
	OK(!p.builtin);
	policy_fini(&p);
	policy_fini(&p);
}

TEST(nothing_usable)
{
	static const char *const cases[] = { "", "junk", "<policy/>", "<policy xmlns='urn:domtune:2'/>", "<profile"
		NS "/>",
					     "<!DOCTYPE policy><policy" NS "/>", "<policy" NS "><host></policy>" };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct policy p;

		parse(cases[i], &p);
		OK(p.builtin);
		is_builtin_in_effect(&p);
		IS_INT(p.msgs.n, 1);
		OK(msgs_have(&p.msgs, MSG_ERROR));
		OK(strstr(p.msgs.m[0].text, "the built-in policy is used"));
		policy_fini(&p);
	}
}

TEST(a_whole_policy)
{
	static const char text[] =
		"<x:policy xmlns:x='urn:domtune:1'>"
		"<x:host mode='observe' annotations='profiles' reserved-cpus='0-1,^1' max-dedicated-cpus='6' "
		"max-hugepages='8GiB'"
		" max-memory='100%' max-memory-protection='0' max-vcpus-per-cpu='4' max-rt-priority='0' "
		"deadline='500ms'"
		" grow-deadline='2min'/>"
		"<x:uplink device='eth0.100' rate='10gbit' replace-mq='yes' mark-mask='0xff00'/><x:uplink device='b'/>"
		"<x:sysctl name='net.core.rmem_max' at-least='16777216'/><x:sysctl name='vm/max_map_count' "
		"at-least='0'/>"
		"<x:rule match=\"name='a'\" profile='latency'/><x:rule match='true()' take='nova'/>"
		"<x:default profile='off'/></x:policy>";
	struct policy p;

	parse(text, &p);
	IS_INT(p.msgs.n, 0);
	IS_INT(p.mode, POLICY_OBSERVE);
	IS_INT(p.annotations, POLICY_ANNOTATIONS_PROFILES);
	OK(p.reserved_given && idset_count(&p.reserved) == 1 && idset_has(&p.reserved, 0));
	OK(same_limit(p.max_dedicated, 6, false));
	OK(same_limit(p.max_hugepages, 8ull << 30, false));
	OK(same_limit(p.max_memory, 100, true));
	OK(same_limit(p.max_protection, 0, false));
	IS_INT(p.max_vcpus_per_cpu, 4);
	IS_INT(p.max_rt_priority, 0);
	IS_INT(p.deadline_ms, 500);
	IS_INT(p.grow_deadline_ms, 120000);
	IS_INT(p.n_uplinks, 2);
	IS_STR(p.uplinks[0].device, "eth0.100");
	IS_INT(p.uplinks[0].rate, 10000000000);
	OK(p.uplinks[0].replace_mq && !p.uplinks[1].replace_mq);
	IS_INT(p.uplinks[0].mark_mask, 0xff00);
	IS_INT(p.n_sysctls, 2);
	IS_STR(p.sysctls[0].name, "net.core.rmem_max");
	IS_INT(p.sysctls[0].at_least, 16777216);
	IS_INT(p.n_rules, 2);
	IS_STR(p.rules[0].match, "name='a'");
	IS_STR(p.rules[0].profile, "latency");
	IS_STR(p.rules[1].profile, "");
	IS_STR(p.rules[1].take, "nova");
	OK(!p.rules[0].disabled && !p.rules[1].disabled);
	IS_STR(p.default_profile, "off");
	policy_fini(&p);
}

/* One message each; the default stays, the element goes, the rest of the file holds (deadline 3s). */
TEST(one_message_each)
{
	static const struct {
		const char *xml;
		int column; /* in line 2; 0: not looked at */
		const char *want;
	} cases[] = {
		{ "<host mode='on' deadline='3s'/>", 7, "mode: 'on' is not one of enforce, observe" },
		{ "<host Mode='observe' deadline='3s'/>", 7, "unknown attribute 'Mode' of <host>" },
		{ "<host annotations='none' deadline='3s'/>", 7,
		  "annotations: 'none' is not one of all, profiles, ignore" },
		{ "<host reserved-cpus='' deadline='3s'/>", 7, "reserved-cpus: ''" },
		{ "<host reserved-cpus='none' deadline='3s'/>", 7, "reserved-cpus: 'none' is not a CPU list" },
		{ "<host reserved-cpus='1,^1' deadline='3s'/>", 7, "reserved-cpus: '1,^1' names no CPU" },
		{ "<host max-dedicated-cpus='101%' deadline='3s'/>", 7, "max-dedicated-cpus: '101%' is not" },
		{ "<host max-dedicated-cpus='8193' deadline='3s'/>", 7,
		  "max-dedicated-cpus: '8193' is not within 0..8192" },
		{ "<host max-dedicated-cpus='%' deadline='3s'/>", 7,
		  "max-dedicated-cpus: '%' is not a count, or 0%..100%" },
		{ "<host max-memory='1GB' deadline='3s'/>", 7, "max-memory: '1GB' is not a size" },
		{ "<host max-vcpus-per-cpu='0' deadline='3s'/>", 7, "max-vcpus-per-cpu: '0' is not within 1..4096" },
		{ "<host max-rt-priority='100' deadline='3s'/>", 7, "max-rt-priority: '100' is not within 0..99" },
		{ "<host grow-deadline='5' deadline='3s'/>", 7, "grow-deadline: '5' is not a time with ms, s or min" },
		{ "<host grow-deadline='99ms' deadline='3s'/>", 7,
		  "grow-deadline: '99ms' is not within 100ms..600000ms" },
		{ "<host grow-deadline='11min' deadline='3s'/>", 7, "is not within" },
		{ "<host grow-deadline='18446744073709551615s' deadline='3s'/>", 7, "is not within" },
		{ "<host deadline='3s'/><host mode='observe'/>", 22, "a second <host>, the first counts" },
		{ "<host deadline='3s'/><hots/>", 22, "unknown element 'hots'" },
		{ "<host deadline='3s'/><o:rule xmlns:o='urn:o'/>", 22, "unknown element 'rule'" },
		{ "<host deadline='3s'/><default/>", 22, "<default> without profile" },
		{ "<host deadline='3s'/><default profile='../x'/>", 31, "profile: '../x' is not a profile's name" },
		{ "<host deadline='3s'/><uplink rate='1gbit'/>", 22, "<uplink> without device" },
		{ "<host deadline='3s'/><uplink device='a/b'/>", 30, "device: 'a/b' is not a network device's name" },
		{ "<host deadline='3s'/><uplink device='0123456789abcdef'/>", 30, "is not a network device's name" },
		{ "<host deadline='3s'/><sysctl name='..' at-least='1'/>", 30, "name: '..' is not a sysctl's name" },
		{ "<host deadline='3s'/><sysctl name='../../etc/passwd' at-least='1'/>", 30, "is not a sysctl's name" },
		{ "<host deadline='3s'/><sysctl name='/net/core/x' at-least='1'/>", 30, "is not a sysctl's name" },
		{ "<host deadline='3s'/><sysctl name='.net.core' at-least='1'/>", 30, "is not a sysctl's name" },
		{ "<host deadline='3s'/><sysctl name='net..core' at-least='1'/>", 30, "is not a sysctl's name" },
		{ "<host deadline='3s'/><sysctl name='net.core.' at-least='1'/>", 30, "is not a sysctl's name" },
		{ "<host deadline='3s'/><sysctl name='net.core/x' at-least='1'/>", 30, "is not a sysctl's name" },
		{ "<host deadline='3s'/><sysctl name='net' at-least='1'/>", 30, "is not a sysctl's name" },
		{ "<host deadline='3s'/><sysctl name='net.x' at-least='1 2 3'/>", 43,
		  "at-least: '1 2 3' is not a number" },
		{ "<host deadline='3s'/><sysctl name='net.x'/>", 22, "<sysctl> without at-least" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[512];
		struct policy p;

		snprintf(text, sizeof(text), "<policy" NS ">\n%s</policy>", cases[i].xml);
		parse(text, &p);
		IS_INT(p.msgs.n, 1);
		if (p.msgs.n && (!strstr(p.msgs.m[0].text, cases[i].want) || p.msgs.m[0].line != 2 ||
				 p.msgs.m[0].column != cases[i].column))
			TAP_FAIL("%s: %d:%d: %s", cases[i].xml, p.msgs.m[0].line, p.msgs.m[0].column, p.msgs.m[0].text);
		OK(!p.builtin);
		IS_INT(p.deadline_ms, 3000);
		p.deadline_ms = 2000;
		is_builtin_in_effect(&p);
		policy_fini(&p);
	}
}

TEST(the_same_again)
{
	struct policy p;

	parse("<policy" NS "><sysctl name='a.b' at-least='1'/><sysctl name='a/b' at-least='2'/>"
	      "<uplink device='e'/><uplink device='e' rate='1gbit'/><rule match='1' profile='a'/><rule match='1' "
	      "profile='a'/></policy>", &p);
	IS_INT(p.n_sysctls, 1);
	IS_INT(p.sysctls[0].at_least, 1);
	IS_INT(p.n_uplinks, 1);
	IS_INT(p.n_rules, 2);
	IS_INT(p.msgs.n, 2);
	policy_fini(&p);
}

TEST(too_many)
{
	struct sbuf b = { 0 };
	struct policy p;

	sbuf_add(&b, "<policy" NS ">");
	for (unsigned int i = 0; i < POLICY_ROWS_MAX + 2; i++)
		sbuf_add(&b, "<rule match='false()' profile='x'/>");
	sbuf_add(&b, "</policy>");
	parse(b.s, &p);
	IS_INT(p.n_rules, POLICY_ROWS_MAX);
	IS_INT(p.msgs.n, 2);
	policy_fini(&p);
	sbuf_fini(&b);
}

TEST(which_xpaths_can_be_rules)
{
	static const struct {
		const char *match;
		const char *want; /* part of the refusal; NULL: it can */
	} cases[] = {
		{ "true()", NULL },
		{ "name='a'", NULL },
		{ "starts-with(name, 'db-')", NULL },
		{ "metadata/libosinfo:libosinfo/libosinfo:os[contains(@id, 'microsoft.com/win/11')]", NULL },
		{ "metadata/nova:instance/nova:flavor[@name='rt.small']", NULL },
		{ "metadata/ovirt:qos or metadata/ovirt-vm:vm or metadata/ovirt-tune:qos", NULL },
		{ "metadata/domtune:tune[@profile='x']", NULL },
		{ "not(metadata/*) and (vcpu > 4 or vcpu div 2 = 1)", NULL },
		{ "descendant-or-self::node()/self::disk[position() = last()]", NULL },
		{ "//disk[@type = 'a:b(' and .//text() = \"it's $x\"]", NULL },
		{ "/domain/devices/*[1]", NULL },
		{ "name[. = 'x' ] | uuid", NULL },
		{ "", "match:" },
		{ "name=", "is not an XPath" },
		{ "count()", "too many or too few arguments" },
		{ "count('x')", "of the wrong type" },
		{ "name='x", "a text has no end" },
		{ "][", "is not an XPath" },
		{ "foo:bar", "the prefix 'foo' is not bound" },
		{ "false() and foo:bar", "the prefix 'foo' is not bound" },
		{ "nosuch[foo:bar]", "the prefix 'foo' is not bound" },
		{ "nosuch/foo:*", "the prefix 'foo' is not bound" },
		{ "@foo:bar", "the prefix 'foo' is not bound" },
		{ "true() or Nova:instance", "the prefix 'Nova' is not bound" },
		{ "true() or document('/etc/passwd')", "there is no function 'document'" },
		{ "true() or nova:f (1)", "there are no functions with a prefix" },
		{ "nosuch[matches(., 'x')]", "there is no function 'matches'" },
		{ "true() or $x", "there are no variables" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = ERR_INIT;
		int r = policy_check_xpath(cases[i].match, &e);

		if (r != (cases[i].want ? -EINVAL : 0) || (cases[i].want && !strstr(e.text, cases[i].want)))
			TAP_FAIL("%s: %d %s", cases[i].match, r, e.text);
	}
}

static void domain_of(const char *text, struct domain *d)
{
	IS_INT(domain_parse(text, strlen(text), d, NULL), 0);
}

TEST(the_first_match_wins_and_keeps_its_number)
{
	struct policy p;
	struct domain d;

	parse("<policy" NS "><rule match='foo:x' profile='a'/><rule profile='a'/><rule match='1'/><rule match='1' "
		"profile='/'/>"
	      "<rule match=\"name='b'\" profile='c'/><rule match='true()' profile='d'/></policy>", &p);
	IS_INT(p.n_rules, 6);
	IS_INT(p.msgs.n, 4);
	for (size_t i = 0; i < 4; i++) {
		OK(p.rules[i].disabled);
		OK(p.rules[i].match && p.rules[i].profile && p.rules[i].take);
	}
	OK(strstr(p.msgs.m[0].text, "'foo' is not bound; the rule is disabled"));
	IS_STR(p.msgs.m[1].text, "<rule> without match");
	IS_STR(p.msgs.m[2].text, "<rule> without profile or take");
	domain_of("<domain><name>b</name></domain>", &d);
	IS_INT(policy_match(&p, &d), 5);
	domain_fini(&d);
	domain_of("<domain><name>x</name></domain>", &d);
	IS_INT(policy_match(&p, &d), 6);
	domain_fini(&d);
	policy_fini(&p);
}

TEST(other_managers_namespaces)
{
	static const struct {
		const char *match, *metadata;
	} cases[] = {
		{ "metadata/nova:instance", "<n:instance xmlns:n='http://openstack.org/xmlns/libvirt/nova/1.0'/>" },
		{ "metadata/nova:instance", "<n:instance xmlns:n='http://openstack.org/xmlns/libvirt/nova/1.1'/>" },
		{ "metadata/nova:instance/nova:flavor/@name='x'",
		  "<o:o xmlns:o='urn:o'/><instance xmlns='http://openstack.org/xmlns/libvirt/nova/1.0'><flavor "
		  "name='x'/></instance>" },
		{ "metadata/ovirt:qos", "<o:qos xmlns:o='http://ovirt.org/vm/tune/1.0'/>" },
		{ "metadata/ovirt-tune:qos", "<o:qos xmlns:o='http://ovirt.org/vm/tune/1.0'/>" },
		{ "metadata/ovirt-vm:vm", "<o:vm xmlns:o='http://ovirt.org/vm/1.0'/>" },
		{ "metadata/ovirt:vm", "<o:vm xmlns:o='http://ovirt.org/vm/1.0'/>" },
		{ "metadata/libosinfo:libosinfo", "<l:libosinfo "
		  "xmlns:l='http://libosinfo.org/xmlns/libvirt/domain/1.0'/>" },
		{ "metadata/domtune:tune", "<tune" NS "/>" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[512];
		struct policy p;
		struct domain d;

		snprintf(text, sizeof(text), "<policy" NS "><rule match=\"%s\" profile='a'/></policy>", cases[i].match);
		parse(text, &p);
		snprintf(text, sizeof(text), "<domain><metadata>%s</metadata></domain>", cases[i].metadata);
		domain_of(text, &d);
		if (policy_match(&p, &d) != 1)
			TAP_FAIL("%s does not match %s", cases[i].match, cases[i].metadata);
		domain_fini(&d);
		/* The document itself is not touched, and another namespace is another. */
		domain_of("<domain><metadata><instance xmlns='urn:x'/><qos/><vm/><tune/></metadata></domain>", &d);
		IS_INT(policy_match(&p, &d), 0);
		domain_fini(&d);
		policy_fini(&p);
	}
}

TEST(the_document_is_not_changed)
{
	static const char text[] = "<domain><metadata><n:i "
		"xmlns:n='http://openstack.org/xmlns/libvirt/nova/1.0'/></metadata></domain>";
	struct policy p;
	struct domain d;
	const xmlNode *n;

	parse("<policy" NS "><rule match='metadata/nova:i' profile='a'/></policy>", &p);
	domain_of(text, &d);
	IS_INT(policy_match(&p, &d), 1);
	n = xml_first_element(xml_first_element(xmlDocGetRootElement(d.doc)));
	IS_STR((const char *)n->ns->href, "http://openstack.org/xmlns/libvirt/nova/1.0");
	domain_fini(&d);
	policy_fini(&p);
}

/* A rule that costs too much does not count, says so, and does not keep the start waiting (tap.h's alarm). */
TEST(costly_rules_end)
{
	struct sbuf b = { 0 };
	struct msgs msgs = { 0 };
	struct policy p;
	struct domain d;

	sbuf_add(&b, "<domain><name>x</name><devices>");
	for (unsigned int i = 0; i < 3000; i++)
		sbuf_addf(&b, "<disk n='%u'><target dev='vd%u'/></disk>", i, i);
	sbuf_add(&b, "</devices></domain>");
	domain_of(b.s, &d);
	sbuf_fini(&b);
	parse("<policy" NS "><rule match='//*[//*[//*[//*[//*[@q]]]]]' profile='a'/><rule match=\"name='x'\" "
		"profile='b'/></policy>", &p);
	IS_INT(p.msgs.n, 0);
	IS_INT(policy_match_why(&p, &d, &msgs), 2); /* the next one is not affected */
	IS_INT(msgs.n, 1);
	if (msgs.n)
		OK(strstr(msgs.m[0].text, "rule 1 (line 1 of policy.xml) does not count: takes too long"));
	msgs_fini(&msgs);
	domain_fini(&d);
	policy_fini(&p);
}

TEST(from_files)
{
	char root[] = "/tmp/t_policy.XXXXXX", path[256];
	struct hostfs fs = HOSTFS_INIT;
	struct policy p;
	FILE *f;

	OK(mkdtemp(root));
	IS_INT(hostfs_init(&fs, root, NULL), 0);
	IS_INT(policy_load(&fs, &p), 0);
	OK(p.builtin);
	IS_INT(p.msgs.n, 0); /* no file is no fault */
	is_builtin_in_effect(&p);
	policy_fini(&p);
	IS_INT(hostfs_mkdir(&fs, 0755, "etc/domtune"), 0);
	snprintf(path, sizeof(path), "%s/etc/domtune/policy.xml", root);
	IS_INT(mkdir(path, 0755), 0);
	IS_INT(policy_load(&fs, &p), 0);
	OK(p.builtin && p.msgs.n == 1);
	policy_fini(&p);
	(void)rmdir(path);
	f = fopen(path, "w");
	fputs("<policy" NS "><default profile='off'/><bad/></policy>", f);
	fclose(f);
	IS_INT(policy_load(&fs, &p), 0);
	IS_STR(p.default_profile, "off");
	IS_INT(p.msgs.n, 1);
	IS_STR(p.msgs.m[0].file, "/etc/domtune/policy.xml");
	policy_fini(&p);
	(void)unlink(path);
	hostfs_fini(&fs);
	snprintf(path, sizeof(path), "rm -rf %s", root);
	IS_INT(system(path), 0);
}

TAP_MAIN

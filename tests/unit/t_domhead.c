/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The hook's look at the head: right on what libvirt prints, silent on everything else. */
#include "common/domhead.h"
#include "tests/unit/tap.h"

#define UUID "3f2a9a1c-6b1f-4d0c-9a54-0123456789ab"

static int head(const char *text, struct domhead *h)
{
	*h = (struct domhead){ "untouched", 77 };
	return domhead_parse(text, strlen(text), h);
}

TEST(what_libvirt_prints)
{
	static const struct {
		const char *text;
		int id;
	} cases[] = {
		{ "<domain type='kvm' id='3'>\n  <name>web1</name>\n  <uuid>" UUID "</uuid>\n", 3 },
		{ "<domain type='kvm'>\n  <name>web1</name>\n  <uuid>" UUID "</uuid>", -1 },
		{ "<domain type='qemu' id='2147483647' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
		  "  <name>a/b - .. &lt;uuid&gt;x</name>\n  <uuid>" UUID "</uuid>", 2147483647 },
		{ "<domain type=\"kvm\" id=\"0\"><name>\xc3\xa9</name><uuid>" UUID "</uuid>", 0 },
		{ "<domain xmlns:x='id=&apos;9&apos;' type='kvm' id='4'>\n<name>'>\"</name>\n<uuid>" UUID "</uuid>",
		  4 },
		{ "<domain>\n  <name></name>\n  <uuid>" UUID "</uuid>", -1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct domhead h;

		IS_INT(head(cases[i].text, &h), 0);
		IS_STR(h.uuid, UUID);
		IS_INT(h.id, cases[i].id);
	}
}

TEST(upper_case_becomes_lower)
{
	struct domhead h;

	IS_INT(head("<domain type='kvm'><name>x</name><uuid>3F2A9A1C-6B1F-4D0C-9A54-0123456789AB</uuid>", &h), 0);
	IS_STR(h.uuid, UUID);
}

TEST(anything_else_is_declined)
{
	static const char *const cases[] = {
		"",
		"<",
		"<domain",
		"<domain ",
		"<domain>",
		"<domains><name>x</name><uuid>" UUID "</uuid>",
		"<domainx type='kvm'><name>x</name><uuid>" UUID "</uuid>",
		"<?xml version='1.0'?><domain type='kvm'><name>x</name><uuid>" UUID "</uuid>",
		" <domain type='kvm'><name>x</name><uuid>" UUID "</uuid>",
		"<!-- <domain> --><domain type='kvm'><name>x</name><uuid>" UUID "</uuid>",
		"<domain type='kvm'><uuid>" UUID "</uuid><name>x</name>",
		"<domain type='kvm'><!-- c --><name>x</name><uuid>" UUID "</uuid>",
		"<domain type='kvm'><name>x<uuid>" UUID "</uuid></name>",
		"<domain type='kvm'><name>x</name><title/><uuid>" UUID "</uuid>",
		"<domain type='kvm'><name>x</name><uuid>" UUID,
		"<domain type='kvm'><name>x</name><uuid>" UUID "<",
		"<domain type='kvm'><name>x</name><uuid>" UUID "</uui",
		"<domain type='kvm'><name>x</name><uuid> " UUID "</uuid>",
		"<domain type='kvm'><name>x</name><uuid>../../../../../../etc/passwd/0000000</uuid>",
		"<domain type='kvm'><name>x</name><uuid></uuid>",
		"<domain type='kvm' id='x'><name>x</name><uuid>" UUID "</uuid>",
		"<domain type='kvm' id='-1'><name>x</name><uuid>" UUID "</uuid>",
		"<domain type='kvm' id='2147483648'><name>x</name><uuid>" UUID "</uuid>",
		"<domain type='kvm' id='99999999999999999999999999'><name>x</name><uuid>" UUID "</uuid>",
		"<domain type='kvm' id=''><name>x</name><uuid>" UUID "</uuid>",
		"<domain type='kvm' id=3><name>x</name><uuid>" UUID "</uuid>",
		"<domain type='kvm' id><name>x</name><uuid>" UUID "</uuid>",
		"<domain type='kvm",
		"<domain type=",
		"<domain type='a<b'><name>x</name><uuid>" UUID "</uuid>",
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct domhead h;

		if (head(cases[i], &h) != -EBADMSG)
			TAP_FAIL("accepted: %s", cases[i]);
		IS_STR(h.uuid, "untouched");
	}
}

/* Every prefix of a good head, in memory that ends there: nothing is read beyond. */
TEST(truncated_anywhere)
{
	static const char full[] = "<domain type='kvm' id='3'>\n  <name>web1</name>\n  <uuid>" UUID "</uuid>";

	for (size_t n = 0; n < sizeof(full) - 1; n++) {
		char *part = malloc(n ? n : 1);
		struct domhead h;

		memcpy(part, full, n);
		IS_INT(domhead_parse(part, n, &h), -EBADMSG);
		OK(!domhead_may_concern(part, n));
		free(part);
	}
}

TEST(bytes_of_zero_are_no_end)
{
	static const char text[] = "<domain type='kvm'>\0<name>x</name><uuid>" UUID "</uuid>";
	static const char late[] = "<domain>\0\0\0<metadata>urn:domtune:1";
	struct domhead h;

	IS_INT(domhead_parse(text, sizeof(text) - 1, &h), -EBADMSG);
	OK(domhead_may_concern(late, sizeof(late) - 1));
}

TEST(what_may_concern)
{
	static const struct {
		const char *text;
		bool want;
	} cases[] = {
		{ "<domain><metadata><a:b xmlns:a='urn:other'/></metadata></domain>", false },
		{ "<domain><metadata><a:tune xmlns:a=\"urn:domtune:1\"/></metadata></domain>", true },
		{ "<domain><cputune><vcpupin vcpu='0' cpuset='1'/></cputune></domain>", true },
		{ "<domain><description>&lt;vcpupin vcpu='0'/&gt;</description></domain>", false },
		{ "<domain><description>urn:domtune:1</description></domain>", true }, /* errs on this side */
		{ "urn:domtune:", false },
		{ "", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		IS_INT(domhead_may_concern(cases[i].text, strlen(cases[i].text)), cases[i].want);
}

TAP_MAIN

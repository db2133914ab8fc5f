/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A look at the first bytes of what libvirt prints, so that the hook needs no XML parser for an untouched guest.
 *
 * This is no parser: it accepts exactly the head that libvirt's formatter makes (virDomainDefFormatInternal:
 * the start tag, <name>, <uuid>, in this order and with nothing else between) and declines everything else. What
 * a person chose there, the name, cannot imitate markup: libvirt writes "<" in it as "&lt;". Metadata comes later.
 */
#include "domhead.h"

#include <limits.h>

#include "num.h"

struct cursor {
	const char *s, *end;
};

static bool take(struct cursor *c, const char *text)
{
	size_t n = strlen(text);

	if ((size_t)(c->end - c->s) < n || memcmp(c->s, text, n) != 0)
		return false;
	c->s += n;
	return true;
}

static bool take_blanks(struct cursor *c)
{
	const char *from = c->s;

	while (c->s < c->end && (*c->s == ' ' || *c->s == '\t' || *c->s == '\n' || *c->s == '\r'))
		c->s++;
	return c->s > from;
}

/* Everything up to a character, which is taken too. Length in *ret_len, NULL if the text ends before. */
static const char *take_until(struct cursor *c, char stop, size_t *ret_len)
{
	const char *from = c->s, *at = memchr(c->s, stop, (size_t)(c->end - c->s));

	if (!at)
		return NULL;
	*ret_len = (size_t)(at - from);
	c->s = at + 1;
	return from;
}

static int parse_id(const char *value, size_t len, int *ret)
{
	char buf[16];
	uint64_t id;

	if (len >= sizeof(buf))
		return -EBADMSG;
	memcpy(buf, value, len);
	buf[len] = '\0';
	if (num_parse_range(buf, 0, INT_MAX, &id) < 0)
		return -EBADMSG;
	*ret = (int)id;
	return 0;
}

/* " type='kvm' id='3' xmlns:qemu='...'>" */
static int parse_attributes(struct cursor *c, int *ret_id)
{
	const char *name, *value;
	size_t name_len, len;
	char quote;

	while (take_blanks(c) && c->s < c->end && *c->s != '>') {
		name = take_until(c, '=', &name_len);
		if (!name || !name_len || memchr(name, '<', name_len) || memchr(name, '>', name_len) || c->s >= c->end)
			return -EBADMSG;
		quote = *c->s++;
		if (quote != '\'' && quote != '"')
			return -EBADMSG;
		value = take_until(c, quote, &len);
		if (!value || memchr(value, '<', len))
			return -EBADMSG;
		if (name_len == 2 && memcmp(name, "id", 2) == 0 && parse_id(value, len, ret_id) < 0)
			return -EBADMSG;
	}
	return take(c, ">") ? 0 : -EBADMSG;
}

int domhead_parse(const char *text, size_t len, struct domhead *ret)
{
	struct cursor c = { text, text + len };
	struct domhead h = { .id = -1 };
	const char *uuid;
	size_t n;

	if (!take(&c, "<domain") || parse_attributes(&c, &h.id) < 0)
		return -EBADMSG;
	take_blanks(&c);
	if (!take(&c, "<name>") || !take_until(&c, '<', &n) || !take(&c, "/name>"))
		return -EBADMSG;
	take_blanks(&c);
	if (!take(&c, "<uuid>"))
		return -EBADMSG;
	uuid = take_until(&c, '<', &n);
	if (!uuid || n != sizeof(h.uuid) - 1 || !take(&c, "/uuid>"))
		return -EBADMSG;
	for (size_t i = 0; i < n; i++)
		h.uuid[i] = (char)(uuid[i] >= 'A' && uuid[i] <= 'F' ? uuid[i] - 'A' + 'a' : uuid[i]);
	if (!uuid_is_valid(h.uuid))
		return -EBADMSG;
	*ret = h;
	return 0;
}

bool domhead_may_concern(const char *text, size_t len)
{
	/*
	 * Both are always there literally: element names cannot be written otherwise, and libxml2, with which
	 * libvirt prints the metadata, writes a namespace's name without character references whatever the owner
	 * typed (seen: "urn&#58;domtune:1" comes out plain).
	 */
	static const char *const needles[] = { "urn:domtune:1", "<vcpupin" };

	for (size_t i = 0; i < ARRAY_SIZE(needles); i++)
		if (memmem(text, len, needles[i], strlen(needles[i])))
			return true;
	return false;
}

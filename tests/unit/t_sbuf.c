/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/msgs.h"
#include "common/sbuf.h"
#include "tests/unit/tap.h"

TEST(empty)
{
	struct sbuf b = { 0 };
	char *s = sbuf_steal(&b);

	IS_STR(s, "");
	free(s);
	sbuf_add(&b, "");
	IS_STR(b.s, "");
	sbuf_fini(&b);
	OK(b.s == NULL && b.len == 0);
	sbuf_fini(&b);
}

TEST(grows)
{
	_cleanup_sbuf_ struct sbuf b = { 0 };
	char *s;

	for (int i = 0; i < 1000; i++) {
		sbuf_add(&b, "ab");
		sbuf_addn(&b, "cdef", 1);
		sbuf_addf(&b, "%03d", i);
	}
	IS_INT(b.len, 6000);
	OK(!b.failed);
	IS_INT(strlen(b.s), 6000);
	OK(str_starts(b.s + 5994, "abc999"));
	s = sbuf_steal(&b);
	OK(s && b.s == NULL && b.len == 0);
	free(s);
}

TEST(formats_across_the_end)
{
	/* Every length around the size of the first allocation. */
	for (int n = 150; n < 600; n++) {
		struct sbuf b = { 0 };

		sbuf_addf(&b, "%*s", n, "x");
		sbuf_addf(&b, "%*s|", n, "y");
		IS_INT(b.len, 2 * n + 1);
		OK(b.s && b.s[n - 1] == 'x' && b.s[2 * n - 1] == 'y' && b.s[2 * n] == '|' && b.s[2 * n + 1] == '\0');
		sbuf_fini(&b);
	}
}

TEST(stays_failed)
{
	struct sbuf b = { 0 };

	sbuf_add(&b, "text");
	sbuf_addn(&b, "", SIZE_MAX); /* cannot be had */
	OK(b.failed);
	sbuf_add(&b, "more");
	OK(b.failed);
	IS_INT(b.len, 4);
	OK(sbuf_steal(&b) == NULL);
	/* Stealing finishes it: it can be used again. */
	OK(!b.failed && b.s == NULL);
}

TEST(messages)
{
	struct msgs l = { 0 };
	char buf[64];

	OK(!msgs_have(&l, MSG_WARNING));
	msgs_warn(&l, "plain %d", 1);
	msgs_add(&l, MSG_ERROR, "p.xml", 3, 4, "bad");
	msgs_add(&l, MSG_ERROR, "p.xml", 3, 0, "bad");
	msgs_add(&l, MSG_ERROR, "p.xml", 0, 0, "bad");
	msgs_add(&l, MSG_ERROR, "", 5, 6, "bad");
	IS_INT(l.n, 5);
	OK(msgs_have(&l, MSG_WARNING) && msgs_have(&l, MSG_ERROR));
	IS_INT(msg_format(&l.m[0], buf, sizeof(buf)), 7);
	IS_STR(buf, "plain 1");
	(void)msg_format(&l.m[1], buf, sizeof(buf));
	IS_STR(buf, "p.xml:3:4: bad");
	(void)msg_format(&l.m[2], buf, sizeof(buf));
	IS_STR(buf, "p.xml:3: bad");
	(void)msg_format(&l.m[3], buf, sizeof(buf));
	IS_STR(buf, "p.xml: bad");
	(void)msg_format(&l.m[4], buf, sizeof(buf));
	IS_STR(buf, "5:6: bad");
	/* snprintf's contract */
	IS_INT(msg_format(&l.m[1], buf, 4), 14);
	IS_STR(buf, "p.x");
	msgs_fini(&l);
	OK(l.m == NULL && l.n == 0);
}

TEST(messages_are_capped)
{
	struct msgs l = { 0 };

	for (int i = 0; i < 100000; i++)
		msgs_warn(&l, "number %d", i);
	IS_INT(l.n, MSGS_MAX + 1);
	IS_STR(l.m[MSGS_MAX - 1].text, "number 63");
	OK(strstr(l.m[MSGS_MAX].text, "left out") != NULL);
	msgs_fini(&l);
}

TAP_MAIN

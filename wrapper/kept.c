/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wrapper/kept.h"

#include <stdarg.h>

static const char prefix[] = KEPT_NAME "=", more[] = "; ...";

static void append(struct kept *k, const char *text)
{
	char *to;

	if (k->len == 0)
		memcpy(k->text, prefix, sizeof(prefix));
	to = k->text + sizeof(prefix) - 1 + k->len;
	for (; *text; text++, k->len++)
		*to++ = *text >= ' ' && *text <= '~' ? *text : '?';
	*to = '\0';
}

void kept_add(struct kept *k, const char *knob, const char *fmt, ...)
{
	char why[256], item[320];
	va_list ap;

	if (k->full)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap); /* cut where it is too long */
	va_end(ap);
	for (char *p = why; (p = strchr(p, ';'));)
		*p = ','; /* it separates reasons */
	(void)snprintf(item, sizeof(item), "%s%s: %s", k->len ? "; " : "", knob, why);
	k->full = k->len + strlen(item) + sizeof(more) - 1 > KEPT_MAX;
	append(k, k->full ? more : item);
}

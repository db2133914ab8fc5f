/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>

#include "msgs.h"

static void msg_fini(struct msg *m)
{
	free(m->file);
	free(m->text);
}

static void msgs_append(struct msgs *l, enum msg_level level, const char *file, int line, int column, char *text)
{
	struct msg m = { .level = level, .line = line, .column = column, .text = text };
	struct msg *grown;

	m.file = strdup(file ? file : "");
	/* Powers of two from 8: the list grows when its count is one. */
	if (m.file && m.text && (l->n == 0 || (l->n >= 8 && (l->n & (l->n - 1)) == 0))) {
		grown = reallocarray(l->m, l->n ? l->n * 2 : 8, sizeof(*grown));
		if (grown)
			l->m = grown;
		else
			l->failed = true;
	} else if (!m.file || !m.text) {
		l->failed = true;
	}
	if (l->failed) {
		msg_fini(&m);
		return;
	}
	l->m[l->n++] = m;
}

void msgs_add(struct msgs *l, enum msg_level level, const char *file, int line, int column, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	if (l->failed || l->n > MSGS_MAX)
		return;
	if (l->n == MSGS_MAX) {
		msgs_append(l, level, "", 0, 0, strdup("further messages were left out"));
		return;
	}
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	msgs_append(l, level, file, line, column, text);
}

int msg_format(const struct msg *m, char *buf, size_t size)
{
	if (!m->file[0] && m->line <= 0)
		return snprintf(buf, size, "%s", m->text);
	if (m->line <= 0)
		return snprintf(buf, size, "%s: %s", m->file, m->text);
	if (m->column <= 0)
		return snprintf(buf, size, "%s%s%d: %s", m->file, m->file[0] ? ":" : "", m->line, m->text);
	return snprintf(buf, size, "%s%s%d:%d: %s", m->file, m->file[0] ? ":" : "", m->line, m->column, m->text);
}

bool msgs_have(const struct msgs *l, enum msg_level level)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->m[i].level == level)
			return true;
	return false;
}

void msgs_fini(struct msgs *l)
{
	for (size_t i = 0; i < l->n; i++)
		msg_fini(&l->m[i]);
	free(l->m);
	*l = (struct msgs){ 0 };
}

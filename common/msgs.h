/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A list of messages about inputs and decisions, in the order they arose. */
#pragma once

#include "util.h"

/* Advice is about the host, not about this start: shown with the plan, not logged at each start. */
enum msg_level { MSG_WARNING, MSG_ERROR, MSG_ADVICE };

struct msg {
	enum msg_level level;
	char *file; /* "" when not about a file */
	int line, column; /* 1.., 0: unknown */
	char *text;
};

struct msgs {
	struct msg *m;
	size_t n;
	bool failed; /* an allocation failed: the list is short */
};

/* At most MSGS_MAX messages are kept; one more says that others were left out. A hostile input makes many. */
#define MSGS_MAX 64

void msgs_add(struct msgs *l, enum msg_level level, const char *file, int line, int column, const char *fmt, ...)
	PRINTF(6, 7);
#define msgs_warn(l, ...) msgs_add((l), MSG_WARNING, "", 0, 0, __VA_ARGS__)
#define msgs_advise(l, ...) msgs_add((l), MSG_ADVICE, "", 0, 0, __VA_ARGS__)
/* "FILE:LINE:COLUMN: text", parts that are unknown left out. Returns snprintf's value. */
int msg_format(const struct msg *m, char *buf, size_t size);
bool msgs_have(const struct msgs *l, enum msg_level level);
void msgs_fini(struct msgs *l);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of the admin tool share: the command line as parsed, the command table's row, exit statuses
 * and the one form of error. One file per group of commands (cmd_*.c); each command returns its exit status
 * and prints what a person or a script reads through out.h or json.h.
 */
#pragma once

#include "common/hostfs.h"

/* The contract's exit statuses. */
enum tool_exit {
	TOOL_OK = 0,
	TOOL_NO = 1, /* drift, invalid file, `plan` would refuse */
	TOOL_USAGE = 2,
	TOOL_CANNOT = 3, /* could not be done or found out */
};

enum tool_option {
	TOOL_OPT_ROOT = 1 << 0,
	TOOL_OPT_HELP = 1 << 1,
	TOOL_OPT_VERSION = 1 << 2,
	TOOL_OPT_JSON = 1 << 3,
	TOOL_OPT_PROFILE = 1 << 4,
	TOOL_OPT_SET = 1 << 5,
	TOOL_OPT_LIVE = 1 << 6,
	TOOL_OPT_ALL = 1 << 7,
	TOOL_OPT_WRAP = 1 << 8,
	TOOL_OPT_CONNECT = 1 << 9,
	TOOL_OPT_OFF = 1 << 10,
};

struct tool {
	struct hostfs fs;
	unsigned int options; /* enum tool_option: those given */
	const char *root;     /* --root, NULL: the host itself */
	const char *uri;      /* --connect, NULL: libvirt's usual choice */
	const char *profile;  /* --profile, NULL absent */
	char **sets;          /* --set, in the order given, NULL-terminated */
	char **args;          /* operands, NULL-terminated */
	int n_args;
};

struct tool_command {
	const char *name;
	int (*run)(struct tool *t);
	const char *operands;   /* for the usage line */
	const char *doc;        /* one line, for the list */
	const char *more;       /* a paragraph for --help; "" none */
	unsigned int options;   /* enum tool_option: those it takes, --root and --help not named */
	int min_args, max_args; /* max_args < 0: no limit */
};

static inline bool tool_has(const struct tool *t, enum tool_option o)
{
	return (t->options & o) != 0;
}

/* "domtune: OBJECT: text" in one line on stderr, whatever is in the text. Returns status. */
int tool_fail(enum tool_exit status, const char *object, const char *fmt, ...) PRINTF(3, 4);

/* The same as a remark on stderr, for what is worth knowing but fails nothing. */
void tool_note(const char *object, const char *fmt, ...) PRINTF(2, 3);

/* Of a failure of the library: TOOL_CANNOT, with e's text, or the errno's words if it has none. */
int tool_fail_err(const char *object, int code, const struct err *e);

/* The worse of two statuses: CANNOT over USAGE over NO over OK. */
static inline int tool_worse(int a, int b)
{
	return a > b ? a : b;
}

/*
 * Read a file the user named (relative to the working directory, never below --root), "-" is stdin, whole, at
 * most limit bytes. ret is malloc'ed and NUL-terminated. 0, or a negative errno with *e filled.
 */
int tool_read_input(const char *name, size_t limit, char **ret, size_t *ret_len, struct err *e);

/* Whether an operand names a file: "-" does not; a regular file or fifo of that name exists, or it has a "/". */
bool tool_is_file(const char *operand);

/* A path of ours ("run/domtune/ledger") as a person knows it, the root in front. Points to a static buffer. */
const char *tool_path(const struct tool *t, const char *path);

int cmd_summary(struct tool *t);
int cmd_plan(struct tool *t);
int cmd_profiles(struct tool *t);
int cmd_set(struct tool *t);
int cmd_unset(struct tool *t);
int cmd_wrap(struct tool *t);
int cmd_unwrap(struct tool *t);
int cmd_enable(struct tool *t);
int cmd_disable(struct tool *t);
int cmd_status(struct tool *t);
int cmd_verify(struct tool *t);
int cmd_recover(struct tool *t);
int cmd_retune(struct tool *t);
int cmd_check(struct tool *t);
int cmd_capture(struct tool *t);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The admin tool: command line to command. One table of commands and one of options make the parser, the check
 * of what goes with what, and the help. Options may stand before or after the command; "--" ends them, for
 * domains whose names begin with a dash.
 */
#include <getopt.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <libxml/parser.h>

#include "common/gate.h"
#include "common/log.h"
#include "common/paths.h"
#include "common/patience.h"
#include "tool/out.h"
#include "tool/tool.h"

#define O(name) TOOL_OPT_##name

/* clang-format off */
static const struct tool_command commands[] = {
	{ "", cmd_summary, "", "the host in one screen", "", 0, 0, 0 },
	{ "plan", cmd_plan, "FILE|DOMAIN|-|--all", "what would be done for a domain and why; changes nothing",
	  "Exit status 1 when the start would be refused. Needs no root. A FILE is a domain XML, - is stdin; a DOMAIN "
	  "is asked of libvirt, or looked up in etc/libvirt/qemu below --root.",
	  O(JSON) | O(PROFILE) | O(SET) | O(LIVE) | O(ALL) | O(CONNECT), 0, 1 },
	{ "profiles", cmd_profiles, "[NAME]", "the profiles, or one with its effective values",
	  "Each value is shown with the profile that wrote it.", 0, 0, 1 },
	{ "set", cmd_set, "DOMAIN PROFILE [ELEM.ATTR=VALUE ...]", "write the annotation; says what waits for what",
	  "Merges with the annotation that is there; ELEM.ATTR= without a value takes the attribute out. Disks and "
	  "interfaces are named as in disk[vda].scheduler=none; without [..] all of them are meant.",
	  O(WRAP) | O(CONNECT), 2, -1 },
	{ "unset", cmd_unset, "DOMAIN", "take the annotation out", "", O(CONNECT), 1, 1 },
	{ "wrap", cmd_wrap, "DOMAIN...|--all", "put the wrapper into <emulator>", "Takes effect at the next start.",
	  O(ALL) | O(CONNECT), 0, -1 },
	{ "unwrap", cmd_unwrap, "DOMAIN...|--all", "put the real emulator back", "Takes effect at the next start.",
	  O(ALL) | O(CONNECT), 0, -1 },
	{ "enable", cmd_enable, "[DOMAIN...]", "undo what disable did, for the host or for domains", "",
	  O(CONNECT), 0, -1 },
	{ "disable", cmd_disable, "[DOMAIN...]", "start nothing new on this host; with names: profile off, unwrapped",
	  "What is in force stays until its domain stops.", O(CONNECT), 0, -1 },
	{ "status", cmd_status, "[DOMAIN]", "what is in force, since when, for whom, and what it was before", "",
	  O(JSON) | O(CONNECT), 0, 1 },
	{ "verify", cmd_verify, "[DOMAIN]", "wanted, written and effective now; is the host back",
	  "Exit status 1 where something is not as wanted, or was left behind.", O(JSON) | O(CONNECT), 0, 1 },
	{ "retune", cmd_retune, "DOMAIN...|--all", "decide again for a running domain, and apply it now",
	  "For a changed annotation, policy or host. What QEMU was started with (huge pages, preallocation, the "
	  "wrapper's part) stays until its next start; memory of a guest that is not wrapped is moved to its nodes. "
	  "With --off guest and host are put back. Exit status 1 where something is not in force.",
	  O(OFF) | O(ALL) | O(CONNECT), 0, -1 },
	{ "recover", cmd_recover, "", "undo what dead domains left behind", "", 0, 0, 0 },
	{ "check", cmd_check, "FILE...", "validate an annotation, a profile, a policy or a domain XML",
	  "Exit status 1 if there is anything to say about a file. - is stdin.", O(JSON), 1, -1 },
	{ "capture", cmd_capture, "", "this host's topology and knobs as a tar on stdout, for --root elsewhere",
	  "Holds no definitions and no secrets; names and UUIDs of tuned domains are in the ledger it takes along.",
	  0, 0, 0 },
};
/* clang-format on */

/* The contract has them; they come with later versions. */
static const char *const later[] = { "rewrite", "apply", "revert", "resize", "doctor" };

static const struct tool_option_row {
	const char *name;
	const char *value; /* NULL: takes none */
	enum tool_option option;
	const char *doc;
} options[] = {
	{ "root", "DIR", O(ROOT), "every host path is below DIR, e.g. an unpacked capture" },
	{ "json", NULL, O(JSON), "JSON on stdout" },
	{ "profile", "NAME", O(PROFILE), "as if the annotation asked for this profile" },
	{ "set", "ELEM.ATTR=VALUE", O(SET), "as if the annotation said so; repeatable" },
	{ "live", NULL, O(LIVE), "for the running domain: its live XML, and what can still be changed" },
	{ "all", NULL, O(ALL), "all domains" },
	{ "wrap", NULL, O(WRAP), "put the wrapper in as well" },
	{ "off", NULL, O(OFF), "undo instead" },
	{ "connect", "URI", O(CONNECT), "libvirt connection; else $LIBVIRT_DEFAULT_URI, else qemu:///system" },
	{ "help", NULL, O(HELP), "this text; after a command, its own" },
	{ "version", NULL, O(VERSION), "the version" },
};

#define OPT_BASE 256 /* getopt's value of options[0]; below it are characters */

PRINTF(2, 0) static void remark(const char *object, const char *fmt, va_list ap)
{
	_cleanup_free_ char *text = NULL, *clean_text = NULL, *clean_object = out_clean(object);

	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	clean_text = text ? out_clean(text) : NULL;
	(void)fflush(stdout);
	(void)fprintf(stderr, "domtune: %s: %s\n", clean_object ? clean_object : "?",
		      clean_text ? clean_text : "no memory");
}

int tool_fail(enum tool_exit status, const char *object, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	remark(object, fmt, ap);
	va_end(ap);
	return status;
}

void tool_note(const char *object, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	remark(object, fmt, ap);
	va_end(ap);
}

int tool_fail_err(const char *object, int code, const struct err *e)
{
	if (e && e->text[0] && e->line)
		return tool_fail(TOOL_CANNOT, object, "line %d: %s", e->line, e->text);
	if (e && e->text[0])
		return tool_fail(TOOL_CANNOT, object, "%s", e->text);
	return tool_fail(TOOL_CANNOT, object, "%s", err_name(code < 0 ? -code : code));
}

int tool_read_input(const char *name, size_t limit, char **ret, size_t *ret_len, struct err *e)
{
	_cleanup_fclose_ FILE *opened = NULL;
	_cleanup_free_ char *buf = NULL;
	size_t len = 0, size = 0;
	FILE *f = stdin;

	if (!streq(name, "-")) {
		struct stat st;

		opened = f = fopen(name, "re");
		if (!f)
			return err_set(e, errno, "%s", err_name(errno));
		if (fstat(fileno(f), &st) == 0 && S_ISDIR(st.st_mode))
			return err_set(e, EISDIR, "%s", err_name(EISDIR));
	}
	for (;;) {
		size_t n;

		if (size - len < 2) {
			char *more = realloc(buf, size += 65536);

			if (!more)
				return err_set(e, ENOMEM, "%s", err_name(ENOMEM));
			buf = more;
		}
		n = fread(buf + len, 1, size - len - 1, f);
		len += n;
		if (len > limit)
			return err_set(e, EFBIG, "larger than %zu MiB", limit >> 20);
		if (!n)
			break;
	}
	if (ferror(f))
		return err_set(e, EIO, "cannot be read");
	buf[len] = '\0';
	*ret = steal_ptr(&buf);
	*ret_len = len;
	return 0;
}

bool tool_is_file(const char *operand)
{
	struct stat st;

	if (streq(operand, "-"))
		return false;
	if (strchr(operand, '/'))
		return true;
	return stat(operand, &st) == 0 && (S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode));
}

const char *tool_path(const struct tool *t, const char *path)
{
	static char text[sizeof(t->fs.root) + 256];

	(void)snprintf(text, sizeof(text), "%s/%s", t->root ? t->fs.root : "", path);
	return text;
}

static const struct tool_command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (streq(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static unsigned int taken_by(const struct tool_command *c)
{
	return c->options | O(ROOT) | O(HELP) | (*c->name ? 0 : O(VERSION));
}

static void print_options(unsigned int which)
{
	static const struct out_column columns[] = { { NULL, false, false }, { NULL, true, false } };
	struct out_table t;

	out_table_init(&t, columns, ARRAY_SIZE(columns), 2);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (!(which & options[i].option))
			continue;
		out_cell(&t, OUT_PLAIN, "--%s%s%s", options[i].name, options[i].value ? " " : "",
			 options[i].value ? options[i].value : "");
		out_cell(&t, OUT_PLAIN, "%s", options[i].doc);
	}
	out_section("Options");
	out_table_print(&t);
}

static void help(const struct tool_command *c)
{
	static const struct out_column columns[] = { { NULL, true, false }, { NULL, true, false } };
	struct out_table t;

	if (*c->name) {
		out_line(OUT_HEAD, 0, "domtune %s %s", c->name, c->operands);
		out_line(OUT_PLAIN, 2, "%s.", c->doc);
		if (*c->more)
			out_line(OUT_PLAIN, 2, "%s", c->more);
		print_options(taken_by(c));
		return;
	}
	out_line(OUT_HEAD, 0, "domtune [COMMAND] [OPTION ...]");
	out_line(OUT_PLAIN, 2,
		 "tunes QEMU domains of a plain libvirt host at every start, and puts the host back at every stop.");
	out_section("Commands");
	out_table_init(&t, columns, ARRAY_SIZE(columns), 2);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		out_cell(&t, OUT_PLAIN, "%s%s%s", *commands[i].name ? commands[i].name : "(none)",
			 *commands[i].operands ? " " : "", commands[i].operands);
		out_cell(&t, OUT_PLAIN, "%s", commands[i].doc);
	}
	out_table_print(&t);
	print_options(~0u);
	out_section("Exit status");
	out_line(OUT_PLAIN, 2,
		 "0 done or yes; 1 no: drift, an invalid file, a start that would be refused; 2 wrong usage; "
		 "3 could not be done or found out");
}

/*
 * Fills t and *ret_words (the operands, the command still among them; NULL-terminated). 0, or an exit status.
 * getopt's "-" form hands out operands in order whatever $POSIXLY_CORRECT says, so options may come last.
 */
static int parse(int argc, char **argv, struct tool *t, char **words, int *ret_n)
{
	struct option longs[ARRAY_SIZE(options) + 1] = { 0 };
	int c, n = 0, n_sets = 0;

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		longs[i] = (struct option){ options[i].name, options[i].value ? required_argument : no_argument, NULL,
					    OPT_BASE + (int)i };
	opterr = 0;
	while ((c = getopt_long(argc, argv, "-:hV", longs, NULL)) != -1) {
		if (c == 1) {
			words[n++] = optarg;
			continue;
		}
		if (c == ':')
			return tool_fail(TOOL_USAGE, argv[optind - 1], "needs a value");
		if (c == 'h' || c == 'V') {
			t->options |= c == 'h' ? O(HELP) : O(VERSION);
			continue;
		}
		if (c < OPT_BASE) {
			char letter[] = { '-', (char)optopt, '\0' };

			return tool_fail(TOOL_USAGE, optopt && optopt < OPT_BASE ? letter : argv[optind - 1],
					 optopt < OPT_BASE ? "no such option" : "takes no value");
		}
		t->options |= options[c - OPT_BASE].option;
		switch ((unsigned int)options[c - OPT_BASE].option) {
		case O(ROOT):
			t->root = optarg;
			break;
		case O(PROFILE):
			t->profile = optarg;
			break;
		case O(CONNECT):
			t->uri = optarg;
			break;
		case O(SET):
			t->sets[n_sets++] = optarg;
			break;
		default:
			break;
		}
	}
	while (optind < argc)
		words[n++] = argv[optind++];
	*ret_n = n;
	return 0;
}

/* What goes with the command: options, number of operands. */
static int check_usage(const struct tool *t, const struct tool_command *c)
{
	const char *name = *c->name ? c->name : "usage";

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if ((t->options & options[i].option) && !(taken_by(c) & options[i].option))
			return tool_fail(TOOL_USAGE, name, "--%s does not go with it, see domtune%s%s --help",
					 options[i].name, *c->name ? " " : "", c->name);
	if (t->n_args < c->min_args)
		return tool_fail(TOOL_USAGE, name, "needs %s, see domtune %s --help", c->operands, c->name);
	if (c->max_args >= 0 && t->n_args > c->max_args)
		return tool_fail(TOOL_USAGE, name, "'%s' is one operand too many, see domtune %s --help",
				 t->args[c->max_args], c->name);
	if (c->options & O(ALL)) {
		if (tool_has(t, O(ALL)) && t->n_args)
			return tool_fail(TOOL_USAGE, name, "either --all or names, not both");
		if (!tool_has(t, O(ALL)) && !t->n_args)
			return tool_fail(TOOL_USAGE, name, "needs %s, see domtune %s --help", c->operands, c->name);
	}
	return 0;
}

static int run(struct tool *t, const struct tool_command *c)
{
	struct err e = ERR_INIT;
	struct gate gate;
	int r;

	r = hostfs_init(&t->fs, t->root, &e);
	if (r < 0)
		return tool_fail_err(t->root ? t->root : "/", r, &e);
	log_init(&t->fs, false);
	if (gate_load(&t->fs, &gate) == 0)
		(void)patience_learn(gate.deadline_ms, gate.grow_deadline_ms);
	r = c->run(t);
	hostfs_fini(&t->fs);
	return r;
}

static int dispatch(struct tool *t, char **words, int n)
{
	const struct tool_command *c = find_command(n ? words[0] : "");
	int r;

	if (!c || (n && !*words[0]))
		return tool_fail(TOOL_USAGE, words[0], "no such command, see domtune --help");
	t->args = words + (n ? 1 : 0);
	t->n_args = n ? n - 1 : 0;
	if (tool_has(t, O(HELP))) {
		help(c);
		return TOOL_OK;
	}
	if (tool_has(t, O(VERSION)) && !n) {
		out_line(OUT_PLAIN, 0, "domtune %s", DT_VERSION);
		return TOOL_OK;
	}
	r = check_usage(t, c);
	return r ? r : run(t, c);
}

/* The command, if it is one of a later version: asked before options are read, since its own are not known yet. */
static const char *find_later(int argc, char **argv)
{
	for (int a = 1; a < argc && !streq(argv[a], "--"); a++) {
		if (streq(argv[a], "--root") || streq(argv[a], "--connect")) {
			a++;
			continue;
		}
		if (argv[a][0] == '-')
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(later); i++)
			if (streq(argv[a], later[i]))
				return later[i];
		break;
	}
	return NULL;
}

/* libxml2 would print its errors as they come, libvirt's too, which uses the same copy of it. */
static void print_nothing(void *context, const char *fmt, ...)
{
	(void)context;
	(void)fmt;
}

int main(int argc, char **argv)
{
	struct tool t = { .fs = HOSTFS_INIT };
	_cleanup_free_ char **words = calloc((size_t)argc + 1, sizeof(*words));
	_cleanup_free_ char **sets = calloc((size_t)argc + 1, sizeof(*sets));
	int r, n = 0;

	if (!words || !sets)
		return tool_fail(TOOL_CANNOT, "domtune", "%s", err_name(ENOMEM));
	if (find_later(argc, argv))
		return tool_fail(TOOL_CANNOT, find_later(argc, argv), "not in this version");
	out_init();
	xmlSetGenericErrorFunc(NULL, print_nothing);
	t.sets = sets;
	r = parse(argc, argv, &t, words, &n);
	if (!r)
		r = dispatch(&t, words, n);
	if (out_flush() < 0)
		r = tool_fail(TOOL_CANNOT, "stdout", "not everything could be written");
	xmlCleanupParser();
	return r;
}

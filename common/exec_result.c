/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What became of the settings that only the wrapper can bring into force: QEMU's final command line, its policy and
 * affinity are read from /proc, so that the answer is the kernel's and QEMU's, not the plan's. The command line is
 * scanned, not parsed: the objects in question are written by libvirt or by our wrapper, as JSON or as key=value.
 *
 * Where a setting is not in force, the wrapper's own reason is used: it leaves them in its environment, as
 * DOMTUNE_KEPT="KNOB: REASON; KNOB: REASON", where "wrapper" in a knob's place speaks for all of them. QEMU could
 * write anything there; it is text for people, nothing else.
 */
#include "apply.h"

#include <fcntl.h>

#include "num.h"

#define PROC_TEXT_MAX (4u << 20)
#define VALUE_MAX     1024

/* NUL-separated strings, as in /proc/PID/cmdline and environ; a NUL is behind the last one too. */
struct strings {
	char *text;
	size_t len;
};

struct qemu {
	const struct hostfs *fs;
	const struct undo *undo;
	const struct run *run;
	struct strings argv, env;
	int env_error;       /* negative errno */
	const char *backend; /* -object of guest RAM, NULL: none is named */
};

/* One setting's answer. */
struct answer {
	bool ok;
	char effective[VALUE_MAX];
	char why[256]; /* where it is not in force; "": the wrapper's reason */
};

static const char *next_string(const struct strings *s, const char *p)
{
	p = p ? p + strlen(p) + 1 : s->text;
	return p && p < s->text + s->len ? p : NULL;
}

static int read_strings(const struct qemu *q, const char *file, struct strings *ret)
{
	return hostfs_read_all(q->fs, PROC_TEXT_MAX, &ret->text, &ret->len, "proc/%d/%s", q->run->pid, file);
}

static void append(char *buf, size_t size, const char *text, size_t n)
{
	size_t len = strlen(buf);

	if (len && len + 1 < size) {
		buf[len++] = ',';
		buf[len] = '\0';
	}
	if (n >= size - len)
		n = size - len - 1;
	memcpy(buf + len, text, n);
	buf[len + n] = '\0';
}

/* "key":VALUE anywhere in a JSON text: a string, a number, a word, or the inside of a list. */
static bool json_value(const char *arg, const char *key, char *buf, size_t size)
{
	size_t n = strlen(key);

	for (const char *p = strchr(arg, '"'); p; p = strchr(p + 1, '"')) {
		const char *ends = ",} ";

		if (strncmp(p + 1, key, n) != 0 || p[1 + n] != '"')
			continue;
		p += n + 2;
		p += strspn(p, " ");
		if (*p != ':')
			continue;
		p += 1 + strspn(p + 1, " ");
		if (*p == '"' || *p == '[')
			ends = *p++ == '"' ? "\"" : "]";
		append(buf, size, p, strcspn(p, ends));
		return true;
	}
	return false;
}

/* key=VALUE between commas; a list is written by repeating the key, or as key.0=, key.1=. */
static bool plain_value(const char *arg, const char *key, char *buf, size_t size)
{
	size_t n = strlen(key);
	bool found = false;

	for (const char *p = arg; *p;) {
		size_t len = strcspn(p, ",");
		const char *equals = memchr(p, '=', len);

		if (equals && strncmp(p, key, n) == 0 && (p + n == equals || p[n] == '.')) {
			append(buf, size, equals + 1, len - (size_t)(equals + 1 - p));
			found = true;
		} else if (!equals && p == arg && streq(key, "qom-type")) {
			append(buf, size, p, len);
			found = true;
		}
		p += len;
		p += *p == ',';
	}
	return found;
}

/* A property of an -object or -machine argument, "" if it is not there. */
static bool object_value(const char *arg, const char *key, char *buf, size_t size)
{
	buf[0] = '\0';
	if (!arg)
		return false;
	return arg[0] == '{' ? json_value(arg, key, buf, size) : plain_value(arg, key, buf, size);
}

static bool object_says_yes(const char *arg, const char *key)
{
	char value[16];

	return object_value(arg, key, value, sizeof(value)) &&
	       (streq(value, "true") || streq(value, "on") || streq(value, "yes"));
}

/* The -object that `-machine memory-backend=` names. */
static const char *find_backend(const struct strings *argv)
{
	char id[VALUE_MAX] = "", value[VALUE_MAX];

	for (const char *p = next_string(argv, NULL); p; p = next_string(argv, p)) {
		const char *arg = streq(p, "-machine") ? next_string(argv, p) : NULL;

		if (arg && object_value(arg, "memory-backend", value, sizeof(value)))
			memcpy(id, value, sizeof(id));
	}
	for (const char *p = next_string(argv, NULL); p && id[0]; p = next_string(argv, p)) {
		const char *arg = streq(p, "-object") ? next_string(argv, p) : NULL;

		if (arg && object_value(arg, "id", value, sizeof(value)) && streq(value, id))
			return arg;
	}
	return NULL;
}

/* QEMU's sizes: bytes, or with a suffix (util/cutils.c, qemu_strtosz). */
static uint64_t qemu_size(const char *text)
{
	static const char suffixes[] = "kMG";
	char digits[24];
	size_t n = strspn(text, "0123456789");
	const char *suffix;
	uint64_t size;

	if (n == 0 || n >= sizeof(digits))
		return 0;
	memcpy(digits, text, n);
	digits[n] = '\0';
	if (num_parse_u64(digits, &size) < 0)
		return 0;
	if (!text[n])
		return size;
	suffix = strchr(suffixes, text[n] == 'K' ? 'k' : text[n]);
	return suffix && !text[n + 1] && size < UINT32_MAX ? size << (10 * (suffix - suffixes + 1)) : 0;
}

static void say(struct answer *a, const char *text)
{
	(void)snprintf(a->effective, sizeof(a->effective), "%s", text); /* cut is fine: for people */
}

/* Transparent huge pages: QEMU advises them for all of guest RAM, the host's mode decides. */
static void answer_thp(const struct qemu *q, struct answer *a)
{
	char modes[128];

	if (hostfs_read(q->fs, modes, sizeof(modes), "sys/kernel/mm/transparent_hugepage/enabled") < 0)
		modes[0] = '\0';
	a->ok = strstr(modes, "[always]") || strstr(modes, "[madvise]");
	say(a, a->ok ? "thp" : "default");
	if (!a->ok)
		(void)snprintf(a->why, sizeof(a->why),
			       "transparent huge pages are switched off on this host"); /* fits */
}

static void answer_pages(const struct qemu *q, const struct setting *s, struct answer *a)
{
	char type[64], size[32];

	if (streq(s->value, "thp")) {
		answer_thp(q, a);
		return;
	}
	(void)object_value(q->backend, "qom-type", type, sizeof(type));
	(void)object_value(q->backend, "hugetlbsize", size, sizeof(size));
	if (!streq(type, "memory-backend-memfd") || !object_says_yes(q->backend, "hugetlb")) {
		say(a, "default");
		a->ok = streq(s->value, "default");
		return;
	}
	switch (qemu_size(size)) {
	case 2u << 20:
		say(a, "2M");
		break;
	case 1u << 30:
		say(a, "1G");
		break;
	default:
		say(a, size[0] ? size : "hugetlb");
		break;
	}
	a->ok = streq(a->effective, s->value);
}

/*
 * Policy of the process: the second word of its first numa_maps lines is the task's own where a mapping has none
 * (fs/proc/task_mmu.c, show_numa_map). One short read: the file walks the page tables of what it prints, and
 * printing guest RAM takes seconds per TiB.
 */
static void process_policy(const struct qemu *q, char *ret_policy, size_t size, char *ret_nodes, size_t nodes_size)
{
	_cleanup_close_ int fd = hostfs_open(q->fs, O_RDONLY, "proc/%d/numa_maps", q->run->pid);
	char text[512], *word, *colon, *end;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	ret_policy[0] = ret_nodes[0] = '\0';
	if (n <= 0)
		return;
	text[n] = '\0';
	word = strchr(text, ' ');
	if (!word)
		return;
	word++;
	end = word + strcspn(word, " \n");
	if (str_starts(word, "prefer (many)"))
		end = word + strcspn(word + 8, " \n") + 8;
	*end = '\0';
	colon = strrchr(word, ':');
	if (colon)
		append(ret_nodes, nodes_size, colon + 1, strlen(colon + 1));
	word[strcspn(word, " :=")] = '\0';
	append(ret_policy, size, word, strlen(word));
}

/* Words for one policy: the contract's, QEMU's (qapi, HostMemPolicy), the kernel's (mm/mempolicy.c). */
static const struct {
	const char *value, *qemu, *kernel;
} policies[] = {
	{"strict", "bind", "bind"},
	{"preferred", "preferred", "prefer"},
	{"interleave", "interleave", "interleave"},
};

/* Policy of guest RAM, in the contract's words, and its nodes: the back end's own, else the process's. */
static const char *memory_policy(const struct qemu *q, char nodes[VALUE_MAX])
{
	char policy[VALUE_MAX];
	bool own = object_value(q->backend, "policy", policy, sizeof(policy)) && !streq(policy, "default");

	if (own)
		(void)object_value(q->backend, "host-nodes", nodes, VALUE_MAX);
	else
		process_policy(q, policy, sizeof(policy), nodes, VALUE_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
		if (streq(policy, own ? policies[i].qemu : policies[i].kernel))
			return policies[i].value;
	return "none";
}

/* The value is "POLICY:NODES". */
static void answer_placement(const struct qemu *q, const struct setting *s, struct answer *a)
{
	const char *colon = strchr(s->value, ':'), *policy;
	struct idset want, have;
	char nodes[VALUE_MAX];

	policy = memory_policy(q, nodes);
	if (streq(policy, "none")) {
		say(a, policy);
		return;
	}
	if (idset_parse(nodes, &have) < 0 || idset_format(&have, nodes, sizeof(nodes)) < 0)
		have = IDSET_EMPTY;
	(void)snprintf(a->effective, sizeof(a->effective), "%s:%.*s", policy, VALUE_MAX / 2, nodes); /* cut */
	a->ok = colon && strlen(policy) == (size_t)(colon - s->value) && str_starts(s->value, policy) &&
		idset_parse(colon + 1, &want) == 0 && idset_equal(&want, &have);
}

static void answer_prealloc(const struct qemu *q, const struct setting *s, struct answer *a)
{
	say(a, object_says_yes(q->backend, "prealloc") ? "yes" : "no");
	a->ok = streq(a->effective, s->value);
}

/* Affinity of QEMU's first thread, from /proc/PID/status (proc(5)). */
static void answer_affinity(const struct qemu *q, const struct setting *s, struct answer *a)
{
	static const char key[] = "Cpus_allowed_list:";
	char text[16384];
	struct idset want, have;
	char *p = NULL;

	if (hostfs_read(q->fs, text, sizeof(text), "proc/%d/status", q->run->pid) >= 0)
		p = strstr(text, key);
	if (!p) {
		(void)snprintf(a->why, sizeof(a->why), "its affinity cannot be read"); /* fits */
		return;
	}
	p += strlen(key);
	p += strspn(p, " \t");
	p[strcspn(p, "\n")] = '\0';
	say(a, p);
	a->ok = idset_parse(s->value, &want) == 0 && idset_parse(p, &have) == 0 && idset_is_subset(&have, &want);
}

static const struct {
	const char *knob;
	void (*answer)(const struct qemu *q, const struct setting *s, struct answer *a);
} answers[] = {
	{"memory.pages", answer_pages},
	{"memory.placement", answer_placement},
	{"memory.prealloc", answer_prealloc},
	{"cpu.emulator", answer_affinity},
};

static void copy_printable(char *buf, size_t size, const char *text, size_t n)
{
	if (n >= size)
		n = size - 1;
	for (size_t i = 0; i < n; i++)
		buf[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i];
	buf[n] = '\0';
}

/* What the wrapper left as it was, and why; NULL: nothing, so either it changed all that was wanted or did not run. */
static const char *kept_list(const struct qemu *q)
{
	static const char name[] = "DOMTUNE_KEPT=";

	for (const char *p = next_string(&q->env, NULL); p; p = next_string(&q->env, p))
		if (str_starts(p, name))
			return p + strlen(name);
	return NULL;
}

/* The reason in that list for one knob, cut and made printable. */
static bool kept_reason(const char *list, const char *knob, char *buf, size_t size)
{
	size_t n = strlen(knob);

	while (list && *list) {
		size_t len = strcspn(list, ";");

		if (strncmp(list, knob, n) == 0 && list[n] == ':') {
			const char *why = list + n + 1 + strspn(list + n + 1, " ");

			if (why < list + len)
				copy_printable(buf, size, why, (size_t)(list + len - why));
			return why < list + len;
		}
		list += len;
		list += strspn(list, "; ");
	}
	return false;
}

/* A knob that the wrapper has no reason of its own for. */
static const struct {
	const char *knob, *told_as;
} told_together[] = {
	{"memory.nodes", "memory.placement"},
};

static void explain(const struct qemu *q, const struct setting *s, struct answer *a)
{
	const char *list = kept_list(q), *knob = s->knob, *text;

	for (size_t i = 0; i < ARRAY_SIZE(told_together); i++)
		if (streq(told_together[i].knob, knob))
			knob = told_together[i].told_as;
	if (kept_reason(list, knob, a->why, sizeof(a->why)) || a->why[0] ||
	    kept_reason(list, "wrapper", a->why, sizeof(a->why)))
		return;
	if (list)
		text = "the wrapper left it as it was"; /* its line had no room for the reason */
	else if (q->env_error)
		text = "QEMU has it otherwise, and its environment cannot be read";
	else
		text = "the wrapper did not run (see the domain's log)";
	(void)snprintf(a->why, sizeof(a->why), "%s", text); /* fits */
}

static int answer_setting(const struct qemu *q, struct undo *u, const struct setting *s)
{
	struct answer a = {0};

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		if (streq(answers[i].knob, s->knob)) {
			answers[i].answer(q, s, &a);
			break;
		}
	if (!a.ok)
		explain(q, s, &a);
	return undo_exec_result(u, s->knob, s->target, a.ok, a.effective, a.ok ? "" : a.why);
}

static bool is_answered(const struct undo *u, const struct setting *s)
{
	for (unsigned int i = 0; i < u->n_execs; i++)
		if (streq(u->execs[i].knob, s->knob) && streq(u->execs[i].target, s->target))
			return true;
	return false;
}

static bool is_open(const struct undo *u, const struct setting *s)
{
	return s->stage == STAGE_EXEC && !is_answered(u, s);
}

int apply_read_exec(const struct hostfs *fs, struct undo *u, const struct run *run)
{
	struct qemu q = {.fs = fs, .undo = u, .run = run};
	bool any = false;
	int r = 0;

	for (size_t i = 0; i < u->plan.n_settings && !any; i++)
		any = is_open(u, &u->plan.settings[i]);
	if (!any)
		return 0;
	r = read_strings(&q, "cmdline", &q.argv);
	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	q.env_error = read_strings(&q, "environ", &q.env);
	if (q.env_error > 0)
		q.env_error = 0;
	q.backend = find_backend(&q.argv);
	for (size_t i = 0; i < u->plan.n_settings && r >= 0; i++)
		if (is_open(u, &u->plan.settings[i]))
			r = answer_setting(&q, u, &u->plan.settings[i]);
	free(q.argv.text);
	free(q.env.text);
	return r < 0 ? r : 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The nodes are found as wrapper/blk_find.c finds them, but by the scanner of qemuram.h: `apply` parses no JSON. */
#include "exec_disk.h"

#include "num.h"

#define NODES_MAX 512

struct chain {
	const char *arg[NODES_MAX]; /* of -blockdev */
	unsigned int n, n_active;   /* the active image's come first */
};

/* The argument of this option whose `key` is `value`. */
static const char *find_option(const struct strings *argv, const char *option, const char *key, const char *value)
{
	char buf[QEMURAM_VALUE];

	for (const char *p = strings_next(argv, NULL); p && *value; p = strings_next(argv, p)) {
		const char *arg = streq(p, option) ? strings_next(argv, p) : NULL;

		if (arg && qemu_value(arg, key, buf) && streq(buf, value))
			return arg;
	}
	return NULL;
}

static bool has_value(const char *arg, const char *key, const char *value)
{
	char buf[QEMURAM_VALUE];

	return qemu_value(arg, key, buf) && streq(buf, value);
}

static bool is_file(const char *arg)
{
	return has_value(arg, "driver", "file") || has_value(arg, "driver", "host_device");
}

static bool is_filter(const char *arg)
{
	return has_value(arg, "driver", "copy-on-read") || has_value(arg, "driver", "throttle");
}

static void take_image(const struct strings *argv, struct chain *c, char name[QEMURAM_VALUE],
		       char backing[QEMURAM_VALUE])
{
	char value[QEMURAM_VALUE];
	const char *arg;

	backing[0] = '\0';
	while (c->n < NODES_MAX && (arg = find_option(argv, "-blockdev", "node-name", name))) {
		c->arg[c->n++] = arg;
		if (is_file(arg) || !qemu_value(arg, "file", name))
			break;
		if (qemu_value(arg, "backing", value) && !streq(value, "null"))
			memcpy(backing, value, sizeof(value));
	}
}

/* False: it is not on the command line, or not as libvirt names it. */
static bool find_chain(const struct strings *argv, const struct plan_disk *disk, struct chain *c)
{
	const char *device = disk ? find_option(argv, "-device", "id", disk->alias) : NULL;
	char name[QEMURAM_VALUE], backing[QEMURAM_VALUE];

	*c = (struct chain){.n = 0};
	if (!qemu_value(device, "drive", name))
		return false;
	take_image(argv, c, name, backing);
	c->n_active = c->n;
	while (backing[0] && c->n < NODES_MAX) {
		memcpy(name, backing, sizeof(name));
		take_image(argv, c, name, backing);
	}
	return c->n > 0;
}

/* One answer of several nodes: those that differ are all said, "io_uring, threads". */
static void say_value(struct exec_result *a, const char *value)
{
	size_t len = strlen(a->effective), n = strlen(value);
	const char *have = strstr(a->effective, value);

	if (have && (have[n] == ',' || !have[n]) && (have == a->effective || have[-1] == ' '))
		return;
	(void)snprintf(a->effective + len, sizeof(a->effective) - len, "%s%s", len ? ", " : "",
		       value); /* cut is fine */
}

static void answer_io(const struct chain *c, const struct setting *s, struct exec_result *a)
{
	char value[QEMURAM_VALUE];
	bool said = true;

	for (unsigned int i = 0; i < c->n; i++) {
		if (!is_file(c->arg[i]))
			continue;
		said &= qemu_value(c->arg[i], "aio", value);
		say_value(a, *value ? value : "threads");
	}
	/* The wrapper writes whatever it comes to, threads as well. */
	a->ok = streq(s->value, "auto") ? said && *a->effective : streq(a->effective, s->value);
}

static bool has_cache(const char *arg)
{
	char value[QEMURAM_VALUE];

	return !is_filter(arg) && (is_file(arg) || qemu_value(arg, "file", value));
}

static void answer_cache(const struct chain *c, const struct setting *s, struct exec_result *a)
{
	for (unsigned int i = 0; i < c->n; i++) {
		bool direct = qemu_says_yes(c->arg[i], "direct"), no_flush = qemu_says_yes(c->arg[i], "no-flush");

		if (has_cache(c->arg[i]))
			say_value(a, direct ? "none" : no_flush ? "unsafe" : "writeback");
	}
	a->ok = streq(a->effective, s->value);
}

/* The uppermost node that is no filter. */
static const char *top_of(const struct chain *c)
{
	unsigned int i = 0;

	while (i + 1 < c->n_active && is_filter(c->arg[i]))
		i++;
	return c->arg[i];
}

static void answer_property(const struct chain *c, const char *key, const char *by_default, const struct setting *s,
			    struct exec_result *a)
{
	char value[QEMURAM_VALUE];

	say_value(a, qemu_value(top_of(c), key, value) ? value : by_default);
	a->ok = streq(a->effective, s->value);
}

static void answer_discard(const struct chain *c, const struct setting *s, struct exec_result *a)
{
	answer_property(c, "discard", "ignore", s, a);
}

static void answer_zeroes(const struct chain *c, const struct setting *s, struct exec_result *a)
{
	answer_property(c, "detect-zeroes", "off", s, a);
}

static void answer_metadata(const struct chain *c, const struct setting *s, struct exec_result *a)
{
	char value[QEMURAM_VALUE];

	for (unsigned int i = 0; i < c->n; i++)
		if (has_value(c->arg[i], "driver", "qcow2"))
			say_value(a, qemu_value(c->arg[i], "l2-cache-size", value) ? value : "default");
	a->ok = streq(a->effective, s->value);
}

static const struct {
	const char *knob;
	void (*answer)(const struct chain *c, const struct setting *s, struct exec_result *a);
} answers[] = {
	{"disk.io", answer_io},
	{"disk.cache", answer_cache},
	{"disk.discard", answer_discard},
	{"disk.detect-zeroes", answer_zeroes},
	{"disk.metadata-cache", answer_metadata},
};

bool exec_disk_knows(const char *knob)
{
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		if (streq(answers[i].knob, knob))
			return true;
	return false;
}

void exec_disk_answer(const struct strings *argv, const struct plan_disk *disk, const struct setting *s,
		      struct exec_result *ret)
{
	struct chain c;

	if (!find_chain(argv, disk, &c)) {
		(void)snprintf(ret->why, sizeof(ret->why), "its block nodes are not on QEMU's command line"); /* fits */
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		if (streq(answers[i].knob, s->knob))
			answers[i].answer(&c, s, ret);
}

unsigned int exec_disk_index(const struct strings *argv, const struct plan_disk *disk)
{
	static const char prefix[] = "libvirt-";
	char name[QEMURAM_VALUE], *end;
	struct chain c;
	uint64_t n;

	if (!find_chain(argv, disk, &c) || !qemu_value(top_of(&c), "node-name", name) || !str_starts(name, prefix))
		return 0;
	end = name + strlen(prefix) + strspn(name + strlen(prefix), "0123456789");
	if (!streq(end, "-format") && !streq(end, "-storage"))
		return 0;
	*end = '\0';
	return num_parse_range(name + strlen(prefix), 1, UINT32_MAX, &n) == 0 ? (unsigned int)n : 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The only caller of back ends' write, and the words for what the kernel answered. */
#include <time.h>

#include "apply_priv.h"
#include "log.h"

#define BUSY_TRIES    3
#define BUSY_PAUSE_MS 10 /* a cpuset whose hotplug work is pending, a device in a switch: settled in some ms */
#define SHOWN         64 /* bytes of a value in a log line: a CPU list may have 30,000 */

int apply_read(const struct apply_run *a, const struct backend *be, const char *object, char **ret)
{
	/* Not on the stack: there the compiler would clear 32 KiB for each of a thousand objects. */
	_cleanup_free_ char *buf = malloc(BACKEND_VALUE_MAX);
	int len = buf ? be->read(a->fs, object, buf, BACKEND_VALUE_MAX) : -ENOMEM;

	if (len < 0)
		return len;
	*ret = strdup(buf);
	return *ret ? 0 : -ENOMEM;
}

static int write_patiently(const struct apply_run *a, const struct backend *be, const char *object, const char *value)
{
	const struct timespec pause = {0, BUSY_PAUSE_MS * 1000000};
	int rc = 0;

	for (int i = 0; i < BUSY_TRIES; i++) {
		rc = be->write(a->fs, object, value);
		if (rc == 0 || err_classify(-rc) != ERR_BUSY)
			return rc;
		if (i + 1 < BUSY_TRIES)
			(void)nanosleep(&pause, NULL); /* cut short by a signal: asked again sooner */
	}
	return rc;
}

int apply_write(const struct apply_run *a, const struct backend *be, const char *object, const char *value,
		char **ret_now)
{
	int rc = write_patiently(a, be, object, value);

	*ret_now = NULL;
	if (apply_read(a, be, object, ret_now) < 0)
		return rc;
	return rc < 0 && be->same(object, *ret_now, value) ? 0 : rc;
}

bool apply_remains(const struct backend *be, const struct undo_step *r, const char *now)
{
	const char *made = r->state == UNDO_DONE ? r->readback : r->wanted;

	return be->remains && made && be->remains(r->object, now, made);
}

const struct backend *apply_backend(struct apply_run *a, const char *name, const char *object, int *ret_code)
{
	const struct backend *be = backend_find(name);
	int rc;

	*ret_code = -EOPNOTSUPP;
	for (size_t i = 0; i < ARRAY_SIZE(a->broken); i++)
		if (!a->undoing && a->broken[i] && streq(a->broken[i], name))
			be = NULL;
	if (!be)
		return NULL;
	/* On the real host reading tells the same; below another root a thread's number would name a stranger. */
	rc = a->fs->real ? 0 : be->probe(a->fs, object);
	if (rc < 0) {
		*ret_code = rc;
		return NULL;
	}
	return be;
}

static void mark_broken(struct apply_run *a, const char *name)
{
	const struct backend *be = backend_find(name);

	if (be && be->is_each_its_own)
		return;
	for (size_t i = 0; be && i < ARRAY_SIZE(a->broken); i++)
		if (!a->broken[i] || streq(a->broken[i], be->name)) {
			a->broken[i] = be->name;
			return;
		}
}

static const char *separator(const char *target)
{
	return *target ? " " : "";
}

/* Whether the last message of its kind was about this setting and answer; from now on it is. */
static bool was_told(struct apply_told *t, const struct apply_object *o, int code)
{
	struct apply_told now = {.code = code};
	bool was;

	(void)snprintf(now.setting, sizeof(now.setting), "%s %s", o->knob, o->target);
	was = t->code == code && streq(t->setting, now.setting);
	*t = now;
	return was;
}

enum apply_outcome apply_failure(struct apply_run *a, const struct apply_object *o, const char *wanted, int code,
				 const char *consequence)
{
	static const enum log_level levels[] = {
		[ERR_ABSENT] = LOG_LVL_DEBUG,    [ERR_DENIED] = LOG_LVL_NOTICE,  [ERR_BUSY] = LOG_LVL_WARNING,
		[ERR_REFUSED] = LOG_LVL_WARNING, [ERR_BROKEN] = LOG_LVL_WARNING,
	};
	enum err_class class = err_classify(-code);
	enum log_level level = levels[class];
	struct err line = {0};
	bool is_told;

	(void)err_set(&line, -code, "%s: %s%s%s: %s %s, wanted %.*s: %s, %s", a->name, o->knob, separator(o->target),
		      o->target, o->backend, o->object, SHOWN, wanted, err_name(-code), consequence);
	if (class != ERR_ABSENT && !*a->failure)
		(void)snprintf(a->failure, sizeof(a->failure), "%s", line.text);
	/* One object of a setting speaks for its others, one denial for all. */
	is_told = was_told(&a->told[class == ERR_ABSENT], o, code);
	if (is_told && class == ERR_ABSENT)
		return APPLY_ABSENT;
	if (is_told || a->quiet || (class == ERR_DENIED && a->denied_told))
		level = LOG_LVL_DEBUG;
	if (class == ERR_DENIED)
		a->denied_told = true;
	if (class == ERR_BROKEN)
		mark_broken(a, o->backend);
	log_msg(level, "%s", line.text);
	return class == ERR_ABSENT ? APPLY_ABSENT : APPLY_FAILED;
}

void apply_log_foreign(struct apply_run *a, const struct apply_object *o, const char *value, const char *consequence)
{
	a->foreign = true;
	log_warning("%s: %s%s%s: %s %s is %.*s, changed by somebody else since: %s", a->name, o->knob,
		    separator(o->target), o->target, o->backend, o->object, SHOWN, value, consequence);
}

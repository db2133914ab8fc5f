/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Back end "resctrl": classes of service (resctrl.h). Objects, all below sys/fs/resctrl/:
 *
 *   domtune-UUID                     the group: "there", "" not there
 *   domtune-UUID/schemata L3:0       its ways of a cache as a list, or its percentage of bandwidth; "": no restriction
 *   schemata L3:0                    ways of the default group, as a list
 *   tasks PID:START/TID:START        the group that a thread is in: "/" the default group, "/MON" a monitoring group of
 *                                    that, "GROUP", "GROUP/MON"
 *
 * A line of a group that is not there has no restriction either, so it can be read and recorded before the group is
 * made, and what is undone first is its line, then the group. No restriction is what the kernel gives a new group: all
 * ways that no exclusive group has, or 100 %. Removing a group moves its threads to the default group.
 *
 * Only groups of ours are made and removed. Writers take the lock that the kernel's document gives them, flock(2) on the
 * root. Whoever holds that for long is waited for once in a process: then each write fails at once while he has it, with
 * -ETIMEDOUT, which is not tried again and puts off an undo. What the kernel says of a refusal in info/last_cmd_status is
 * read at once, and kept for reason().
 *
 * A tree of plain files is no resctrl: a directory made there has no files in it. Then it is taken away again.
 */
#include <fcntl.h>

#include <inttypes.h>

#include "backend.h"
#include "ledger_priv.h"
#include "num.h"
#include "resctrl.h"

#define LOCK_MS  100 /* others hold it for a few writes */
#define TEXT_MAX 32768

enum kind { GROUP, LINE, DEFAULT_LINE, THREAD };

struct object {
	enum kind kind;
	char group[sizeof(RESCTRL_PREFIX) + 36];
	char resource[16];
	unsigned int id;
	int pid, tid;
	uint64_t pid_start, tid_start;
};

/* ---- objects ---- */

/* "NUMBER:START", all of text. */
static int parse_identity(const char *text, size_t len, int *ret_id, uint64_t *ret_start)
{
	char copy[48], *colon;
	uint64_t id;

	if (len >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	colon = strchr(copy, ':');
	if (!colon)
		return -EINVAL;
	*colon = '\0';
	if (num_parse_range(copy, 1, INT32_MAX, &id) < 0 || num_parse_u64(colon + 1, ret_start) < 0)
		return -EINVAL;
	*ret_id = (int)id;
	return 0;
}

static int parse_thread(const char *text, struct object *ret)
{
	const char *slash = strchr(text, '/');

	ret->kind = THREAD;
	if (!slash || parse_identity(text, (size_t)(slash - text), &ret->pid, &ret->pid_start) < 0)
		return -EINVAL;
	return parse_identity(slash + 1, strlen(slash + 1), &ret->tid, &ret->tid_start);
}

/* "L3:0", "MB:1" */
static int parse_line(const char *text, struct object *ret)
{
	const char *colon = strchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : 0;
	uint64_t id;

	if (n == 0 || n >= sizeof(ret->resource) || num_parse_range(colon + 1, 0, UINT32_MAX, &id) < 0)
		return -EINVAL;
	memcpy(ret->resource, text, n);
	ret->resource[n] = '\0';
	ret->id = (unsigned int)id;
	if (resctrl_is_cache(ret->resource))
		return 0;
	return streq(ret->resource, "MB") && ret->kind == LINE ? 0 : -EINVAL;
}

static int parse_object(const char *object, struct object *ret)
{
	static const char dir[] = RESCTRL_DIR "/", tasks[] = "tasks ", schemata[] = "schemata ";
	size_t n;

	memset(ret, 0, sizeof(*ret));
	if (!str_starts(object, dir))
		return -EINVAL;
	object += strlen(dir);
	if (str_starts(object, tasks))
		return parse_thread(object + strlen(tasks), ret);
	if (str_starts(object, schemata)) {
		ret->kind = DEFAULT_LINE;
		return parse_line(object + strlen(schemata), ret);
	}
	n = strcspn(object, "/");
	if (n >= sizeof(ret->group))
		return -EINVAL;
	memcpy(ret->group, object, n);
	ret->group[n] = '\0';
	if (!resctrl_is_ours(ret->group))
		return -EINVAL;
	if (!object[n])
		return 0;
	ret->kind = LINE;
	object += n + 1;
	return str_starts(object, schemata) ? parse_line(object + strlen(schemata), ret) : -EINVAL;
}

static bool is_mounted(const struct hostfs *fs)
{
	return hostfs_exists(fs, RESCTRL_DIR "/schemata");
}

static bool has_group(const struct hostfs *fs, const char *group)
{
	return hostfs_exists(fs, RESCTRL_DIR "/%s/schemata", group);
}

/* Whether it still is that thread. */
static int find_thread(const struct hostfs *fs, const struct object *o)
{
	return hostfs_proc_start(fs, o->pid) == o->pid_start &&
			       hostfs_thread_start(fs, o->pid, o->tid) == o->tid_start
		       ? 0
		       : -ENOENT;
}

static int resctrl_probe(const struct hostfs *fs, const char *object)
{
	struct object o;
	int r = parse_object(object, &o);

	if (r == 0 && !is_mounted(fs))
		r = -ENOENT;
	return r == 0 && o.kind == THREAD ? find_thread(fs, &o) : r;
}

/* ---- what the kernel says ---- */

static struct {
	char object[128], text[96];
} refusals[8];
static unsigned int n_refusals;

/* One line ends its text: what is in brackets of a log line has none. */
static void note_refusal(const struct hostfs *fs, const char *object, bool locked)
{
	unsigned int at = n_refusals++ % ARRAY_SIZE(refusals);
	int len = locked ? snprintf(refusals[at].text, sizeof(refusals[at].text), "somebody holds the lock of resctrl")
			 : hostfs_read(fs, refusals[at].text, sizeof(refusals[at].text),
				       RESCTRL_DIR "/info/last_cmd_status");

	(void)snprintf(refusals[at].object, sizeof(refusals[at].object), "%s", object); /* fits */
	if (len <= 0 || streq(refusals[at].text, "ok"))
		refusals[at].text[0] = '\0';
	for (char *c = refusals[at].text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
}

static void resctrl_reason(const char *object, char *buf, size_t size)
{
	*buf = '\0';
	for (unsigned int i = 0; i < ARRAY_SIZE(refusals); i++)
		if (streq(refusals[i].object, object))
			(void)snprintf(buf, size, "%s", refusals[i].text); /* cut */
}

/* ---- lines ---- */

static int read_schemata(const struct hostfs *fs, const char *group, char **ret)
{
	return hostfs_read_all(fs, TEXT_MAX, ret, NULL, RESCTRL_DIR "/%s%sschemata", group, *group ? "/" : "");
}

static uint64_t all_ways(const struct hostfs *fs, const char *resource)
{
	char text[32];
	uint64_t mask;

	if (hostfs_read(fs, text, sizeof(text), RESCTRL_DIR "/info/%s/cbm_mask", resource) <= 0 ||
	    num_parse_hex(text, &mask) < 0)
		return 0;
	return mask;
}

/* Of the other of code and data as well: exclusive is both. */
static uint64_t ways_of(const char *schemata, const char *resource, unsigned int id)
{
	const char *const names[] = {resource, streq(resource, "L3CODE") ? "L3DATA" : "L3CODE"};
	uint64_t all = 0, bits;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (resctrl_value(schemata, names[i], id, &bits) == 0)
			all |= bits;
	return all;
}

static uint64_t exclusive_ways(const struct hostfs *fs, const struct object *o)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, RESCTRL_DIR);
	struct dirent *d;
	uint64_t taken = 0;

	while (dir && (d = readdir(dir))) {
		_cleanup_free_ char *schemata = NULL;
		char mode[32];

		if (!hostfs_is_name(d->d_name) || streq(d->d_name, o->group) ||
		    hostfs_read(fs, mode, sizeof(mode), RESCTRL_DIR "/%s/mode", d->d_name) <= 0 ||
		    streq(mode, "shareable") || read_schemata(fs, d->d_name, &schemata) < 0)
			continue;
		taken |= ways_of(schemata, o->resource, o->id);
	}
	return taken;
}

/* What the kernel gives a new group: the first run of what nobody has for himself (cbm_ensure_valid()). */
static uint64_t no_restriction(const struct hostfs *fs, const struct object *o)
{
	uint64_t left = all_ways(fs, o->resource) & ~exclusive_ways(fs, o), from = left & ~(left - 1);

	return left & ~(left + from);
}

static int format_value(const struct hostfs *fs, const struct object *o, uint64_t value, char *buf, size_t size)
{
	char list[256];
	int n;

	if (o->kind == LINE && streq(o->resource, "MB"))
		n = value == 100 ? 0 : snprintf(buf, size, "%" PRIu64, value);
	else if (o->kind == LINE && (value == all_ways(fs, o->resource) || value == no_restriction(fs, o)))
		n = 0;
	else
		n = snprintf(buf, size, "%s", resctrl_list(value, list));
	if (n == 0)
		*buf = '\0';
	return n < 0 || (size_t)n >= size ? -EFBIG : n;
}

static int read_line(const struct hostfs *fs, const struct object *o, char *buf, size_t size)
{
	_cleanup_free_ char *schemata = NULL;
	uint64_t value;
	int r = read_schemata(fs, o->group, &schemata);

	*buf = '\0';
	if (r == -ENOENT && o->kind == LINE && is_mounted(fs))
		return 0;
	if (r == 0)
		r = resctrl_value(schemata, o->resource, o->id, &value);
	return r < 0 ? r : format_value(fs, o, value, buf, size);
}

static int write_line(const struct hostfs *fs, const struct object *o, const char *value)
{
	char line[64];
	uint64_t number;

	if (!*value && o->kind != LINE)
		return -EINVAL;
	if (!*value && !has_group(fs, o->group))
		return is_mounted(fs) ? 0 : -ENOENT;
	if (streq(o->resource, "MB")) {
		number = 100;
		if (*value && num_parse_range(value, 1, 100, &number) < 0)
			return -EINVAL;
		(void)snprintf(line, sizeof(line), "MB:%u=%" PRIu64, o->id, number); /* fits */
	} else {
		number = *value ? resctrl_bits(value) : no_restriction(fs, o);
		if (number == 0)
			return -EINVAL;
		(void)snprintf(line, sizeof(line), "%s:%u=%" PRIx64, o->resource, o->id, number); /* fits */
	}
	return hostfs_write(fs, line, RESCTRL_DIR "/%s%sschemata", o->group, *o->group ? "/" : "");
}

/* ---- groups ---- */

static int read_group(const struct hostfs *fs, const struct object *o, char *buf, size_t size)
{
	bool is_there = has_group(fs, o->group);

	if (!is_there && !is_mounted(fs))
		return -ENOENT;
	return snprintf(buf, size, "%s", is_there ? "there" : "");
}

static int write_group(const struct hostfs *fs, const struct object *o, const char *value)
{
	int r;

	if (!*value) {
		r = hostfs_remove_dir(fs, RESCTRL_DIR "/%s", o->group);
		return r == -ENOENT ? 0 : r;
	}
	if (!streq(value, "there"))
		return -EINVAL;
	r = hostfs_make_dir(fs, RESCTRL_DIR "/%s", o->group);
	if (r == -EEXIST)
		r = 0;
	if (r < 0 || has_group(fs, o->group))
		return r;
	(void)hostfs_remove_dir(fs, RESCTRL_DIR "/%s", o->group); /* what cannot be removed has something in it */
	return -EOPNOTSUPP;
}

/* ---- threads ---- */

/* "res:GROUP" and "mon:GROUP", a line each (since Linux 5.6). -ENOENT: this kernel does not say it. */
static int read_own_words(const struct hostfs *fs, const struct object *o, char *buf, size_t size)
{
	char text[2 * RESCTRL_NAME + 16], *res, *mon;
	int r = hostfs_read(fs, text, sizeof(text), "proc/%d/task/%d/cpu_resctrl_groups", o->pid, o->tid);

	if (r < 0)
		return r;
	res = strstr(text, "res:");
	mon = res ? strstr(res, "\nmon:") : NULL;
	if (!res || !mon)
		return -ENOENT;
	*mon = '\0';
	res += strlen("res:");
	mon += strlen("\nmon:");
	mon[strcspn(mon, "\n")] = '\0';
	if (!*res)
		return -ENOENT;
	return snprintf(buf, size, "%s%s%s", res, *mon && !streq(res, "/") ? "/" : "", mon);
}

static bool lists_thread(const char *tasks, int tid)
{
	char text[16];
	size_t n = (size_t)snprintf(text, sizeof(text), "%d", tid);

	for (const char *p = tasks; *p;) {
		size_t len = strcspn(p, "\n");

		if (len == n && memcmp(p, text, n) == 0)
			return true;
		p += len;
		p += *p == '\n';
	}
	return false;
}

/* Looks through the groups: whoever is in none is in the default group. */
static int find_in_groups(const struct hostfs *fs, const struct object *o, char *buf, size_t size)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, RESCTRL_DIR);
	struct dirent *d;

	if (!dir)
		return -errno;
	while ((d = readdir(dir))) {
		_cleanup_free_ char *tasks = NULL;

		if (hostfs_is_name(d->d_name) &&
		    hostfs_read_all(fs, 4u << 20, &tasks, NULL, RESCTRL_DIR "/%s/tasks", d->d_name) == 0 &&
		    lists_thread(tasks, o->tid))
			return snprintf(buf, size, "%s", d->d_name);
	}
	return snprintf(buf, size, "/");
}

static int read_thread(const struct hostfs *fs, const struct object *o, char *buf, size_t size)
{
	int r = find_thread(fs, o);

	if (r == 0 && !is_mounted(fs))
		r = -ENOENT;
	if (r == 0)
		r = read_own_words(fs, o, buf, size);
	if (r == -ENOENT && find_thread(fs, o) == 0 && is_mounted(fs))
		r = find_in_groups(fs, o, buf, size);
	return r >= 0 && (size_t)r >= size ? -EFBIG : r;
}

/* "GROUP/MON" in its parts; the default group is "". False: no such value. */
static bool split_group(const char *value, char group[RESCTRL_NAME], char mon[RESCTRL_NAME])
{
	size_t n = strcspn(value, "/");

	*mon = '\0';
	if (n >= RESCTRL_NAME || strlen(value + n) > RESCTRL_NAME)
		return false;
	memcpy(group, value, n);
	group[n] = '\0';
	if (value[n] == '/')
		(void)snprintf(mon, RESCTRL_NAME, "%s", value + n + 1); /* fits */
	return *value && (!*group || hostfs_is_name(group)) && (!*mon || hostfs_is_name(mon));
}

static int write_thread(const struct hostfs *fs, const struct object *o, const char *value)
{
	char group[RESCTRL_NAME], mon[RESCTRL_NAME], tid[16];
	int r = find_thread(fs, o);

	if (r < 0)
		return r;
	if (!split_group(value, group, mon))
		return -EINVAL;
	(void)snprintf(tid, sizeof(tid), "%d", o->tid);
	r = hostfs_write(fs, tid, RESCTRL_DIR "/%s%stasks", group, *group ? "/" : "");
	if (r < 0 || !*mon)
		return r == -ESRCH ? -ENOENT : r;
	r = hostfs_write(fs, tid, RESCTRL_DIR "/%s%smon_groups/%s/tasks", group, *group ? "/" : "", mon);
	return r == -ENOENT || r == -ESRCH ? 0 : r; /* whoever has watched it has ended that */
}

static void format_thread(const struct object *o, char *buf, size_t size)
{
	(void)snprintf(buf, size, RESCTRL_DIR "/tasks %d:%" PRIu64 "/%d:%" PRIu64, o->pid, o->pid_start, o->tid,
		       o->tid_start); /* four numbers fit in 128 */
}

/* New threads are in the group of the one that makes them; the process's first thread speaks for all (be_thread.c). */
static bool resctrl_source(const char *object, char *buf, size_t size)
{
	struct object o;

	if (parse_object(object, &o) < 0 || o.kind != THREAD || o.tid == o.pid)
		return false;
	o.tid = o.pid;
	o.tid_start = o.pid_start;
	format_thread(&o, buf, size);
	return true;
}

static int resctrl_heirs(const struct hostfs *fs, const char *object, void (*found)(void *data, const char *object),
			 void *data)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct object o;
	struct dirent *d;
	char heir[128];
	int r = parse_object(object, &o);

	if (r < 0 || o.kind != THREAD || o.tid != o.pid)
		return r < 0 ? r : 0;
	r = find_thread(fs, &o);
	dir = r < 0 ? NULL : hostfs_opendir(fs, "proc/%d/task", o.pid);
	if (!dir)
		return r < 0 ? r : -errno;
	while ((d = readdir(dir))) {
		uint64_t tid;

		if (num_parse_range(d->d_name, 1, INT32_MAX, &tid) < 0 || (int)tid == o.pid)
			continue;
		o.tid = (int)tid;
		o.tid_start = hostfs_thread_start(fs, o.pid, o.tid);
		if (o.tid_start == 0)
			continue; /* it has ended */
		format_thread(&o, heir, sizeof(heir));
		found(data, heir);
	}
	return 0;
}

/* ---- all ---- */

static int resctrl_get(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	static int (*const of_kind[])(const struct hostfs *, const struct object *, char *, size_t) = {
		[GROUP] = read_group, [LINE] = read_line, [DEFAULT_LINE] = read_line, [THREAD] = read_thread,
	};
	struct object o;
	int r = parse_object(object, &o);

	return r < 0 ? r : of_kind[o.kind](fs, &o, buf, size);
}

static int resctrl_set(const struct hostfs *fs, const char *object, const char *value)
{
	static int (*const of_kind[])(const struct hostfs *, const struct object *, const char *) = {
		[GROUP] = write_group, [LINE] = write_line, [DEFAULT_LINE] = write_line, [THREAD] = write_thread,
	};
	static bool has_waited;
	_cleanup_close_ int lock = -1;
	struct object o;
	int r = parse_object(object, &o);

	if (r < 0)
		return r;
	lock = hostfs_open(fs, O_RDONLY | O_DIRECTORY, RESCTRL_DIR);
	if (lock < 0)
		return lock;
	r = ledger_flock(lock, has_waited ? 0 : LOCK_MS);
	has_waited |= r == -ETIMEDOUT;
	if (r != -ETIMEDOUT)
		r = of_kind[o.kind](fs, &o, value);
	if (r < 0)
		note_refusal(fs, object, r == -ETIMEDOUT);
	return r;
}

static bool same_group(const char *a, const char *b)
{
	size_t n = strcspn(a, "/");

	/* Who watches a part of our threads has not taken them from us. */
	return streq(a, b) || (str_starts(a, RESCTRL_PREFIX) && strcspn(b, "/") == n && memcmp(a, b, n) == 0);
}

static bool resctrl_same(const char *object, const char *a, const char *b)
{
	struct object o;
	uint64_t x, y;

	if (parse_object(object, &o) < 0 || o.kind == GROUP || !*a || !*b)
		return streq(a, b);
	if (o.kind == THREAD)
		return same_group(a, b);
	if (streq(o.resource, "MB"))
		return num_parse_u64(a, &x) == 0 && num_parse_u64(b, &y) == 0 && x == y;
	return resctrl_bits(a) && resctrl_bits(a) == resctrl_bits(b);
}

const struct backend be_resctrl = {
	.name = "resctrl",
	.probe = resctrl_probe,
	.read = resctrl_get,
	.write = resctrl_set,
	.same = resctrl_same,
	.reason = resctrl_reason,
	.source = resctrl_source,
	.heirs = resctrl_heirs,
	.ends_with_domain = true,
	.is_each_its_own = true,
};

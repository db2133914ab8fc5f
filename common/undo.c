/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file is replayed line by line into struct undo: a table row per kind of line, lines of the plan go to
 * plan_take_record(). Whatever the last writer was killed in, the lines before it hold: each is one write(2), and a
 * line without its end is closed before the next one is appended.
 *
 * Moves make a file longer all the time: three lines for each object of each move, of which one replaces another.
 * Once most of what is read has been replaced, the file is written anew when it is opened for writing. That is a
 * rename, so a kill leaves one or the other, and both say the same.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "ledger_priv.h"
#include "lines.h"
#include "num.h"
#include "paths.h"
#include "patience.h"
#include "undo_priv.h"

#define UNDO_MAX    (64u << 20) /* 8192 threads of two steps, each with two full CPU lists, stay below it in practice */

/* Where the step of this number is, or would be: they are kept in the order of their numbers. */
static unsigned int place_of(const struct undo *u, unsigned int id)
{
	unsigned int low = 0, high = u->n_steps;

	/* Nearly always none is missing. */
	if (id > 0 && id <= u->n_steps && u->steps[id - 1].number == id)
		return id - 1;
	while (low < high) {
		unsigned int middle = low + (high - low) / 2;

		if (u->steps[middle].number < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct undo_step *undo_find(struct undo *u, unsigned int id)
{
	unsigned int i = place_of(u, id);

	return i < u->n_steps && u->steps[i].number == id ? &u->steps[i] : NULL;
}

static void exec_fini(struct undo_exec *x)
{
	free(x->knob);
	free(x->target);
	free(x->effective);
	free(x->why);
}

void undo_fini(struct undo *u)
{
	if (!u)
		return;
	cleanup_closep(&u->fd);
	for (unsigned int i = 0; i < u->n_execs; i++)
		exec_fini(&u->execs[i]);
	free(u->rewanted);
	free(u->steps);
	textpool_fini(&u->texts);
	free(u->execs);
	sbuf_fini(&u->waiting);
	plan_fini(&u->plan);
	memset(u, 0, sizeof(*u));
	u->fd = -1;
}

/* --- reading: each of these returns 0, -EINVAL for a line that cannot be used, -ENOMEM --------------------------- */

static int take_phase(struct undo *u, const struct record *r)
{
	uint64_t pid = record_u64(r, 3, 0);

	if (claim_phase_parse(record_str(r, 1), &u->phase) < 0)
		return -EINVAL;
	if (u->phase != CLAIM_STOPPED)
		u->since = record_u64(r, 2, u->since);
	u->pid = pid <= INT32_MAX ? (int)pid : 0;
	u->pid_start = record_u64(r, 4, 0);
	return 0;
}

/* An empty step in its place: nearly always the end. */
static struct undo_step *insert_step(struct undo *u, unsigned int number)
{
	struct undo_step *last = GROW(u->steps, u->n_steps);
	unsigned int at = place_of(u, number);
	struct undo_step *s = &u->steps[at];

	if (!last)
		return NULL;
	memmove(s + 1, s, (u->n_steps - at) * sizeof(*s));
	memset(s, 0, sizeof(*s));
	s->number = number;
	return s;
}

/* A known step is to get another value. */
static int take_rewant(struct undo *u, struct undo_step *s, const struct record *r)
{
	const char *wanted;

	if (s->shared || s->state == UNDO_UNDONE || !streq(s->object, r->f[7]) || !streq(s->backend, r->f[6]))
		return -EINVAL;
	wanted = textpool_add(&u->texts, r->f[9]);
	if (!wanted)
		return -ENOMEM;
	s->wanted = wanted;
	if (s->state != UNDO_INTENT) {
		s->before = s->state == UNDO_DONE ? s->readback : NULL;
		if (s->state == UNDO_DONE)
			s->readback = NULL;
	}
	s->state = UNDO_INTENT;
	s->undoing = false;
	u->n_stale += 2; /* its former intent, and what became of that */
	return 0;
}

static int take_intent(struct undo *u, const struct record *r)
{
	uint64_t n = record_u64(r, 1, 0), cause = record_u64(r, 2, 0);
	struct undo_step *s;

	if (r->n < 10 || n == 0 || n > INT32_MAX || cause > INT32_MAX)
		return -EINVAL;
	s = undo_find(u, (unsigned int)n);
	if (s)
		return take_rewant(u, s, r);
	s = insert_step(u, (unsigned int)n);
	if (!s)
		return -ENOMEM;
	s->cause = (unsigned int)cause;
	s->shared = streq(r->f[3], "shared");
	s->state = UNDO_INTENT;
	s->knob = textpool_add(&u->texts, r->f[4]);
	s->target = textpool_add(&u->texts, r->f[5]);
	s->backend = textpool_add(&u->texts, r->f[6]);
	s->object = textpool_add(&u->texts, r->f[7]);
	s->original = textpool_add(&u->texts, r->f[8]);
	s->wanted = textpool_add(&u->texts, r->f[9]);
	u->n_steps++;
	return s->knob && s->target && s->backend && s->object && s->original && s->wanted ? 0 : -ENOMEM;
}

static struct undo_step *step_of(struct undo *u, const struct record *r)
{
	uint64_t n = record_u64(r, 1, 0);

	return n && n <= INT32_MAX ? undo_find(u, (unsigned int)n) : NULL;
}

/* Without memory it keeps the one it had. */
static int set_text(struct undo *u, const char **to, const char *text)
{
	const char *copy = textpool_add(&u->texts, text);

	if (!copy)
		return -ENOMEM;
	*to = copy;
	return 0;
}

static int take_done(struct undo *u, const struct record *r)
{
	struct undo_step *s = step_of(u, r);

	if (!s || r->n < 3)
		return -EINVAL;
	u->n_stale += s->state == UNDO_DONE;
	s->state = UNDO_DONE;
	s->before = NULL;
	return set_text(u, &s->readback, r->f[2]);
}

static int take_left(struct undo *u, const struct record *r)
{
	struct undo_step *s = step_of(u, r);

	if (!s)
		return -EINVAL;
	s->state = UNDO_LEFT;
	s->before = NULL;
	s->code = (int)(record_u64(r, 2, 0) & INT32_MAX);
	return set_text(u, &s->why, record_str(r, 3));
}

static int take_exec(struct undo *u, const struct record *r)
{
	struct undo_exec *x = GROW(u->execs, u->n_execs);

	if (!x)
		return -ENOMEM;
	x->ok = streq(record_str(r, 1), "ok");
	x->knob = strdup(record_str(r, 2));
	x->target = strdup(record_str(r, 3));
	x->effective = strdup(record_str(r, 4));
	x->why = strdup(record_str(r, 5));
	if (!x->knob || !x->target || !x->effective || !x->why) {
		exec_fini(x);
		return -ENOMEM;
	}
	u->n_execs++;
	return 0;
}

static int take_undoing(struct undo *u, const struct record *r)
{
	struct undo_step *s = step_of(u, r);

	if (!s)
		return -EINVAL;
	s->undoing = true;
	return 0;
}

static int take_undone(struct undo *u, const struct record *r)
{
	struct undo_step *s = step_of(u, r);

	if (!s)
		return -EINVAL;
	s->state = UNDO_UNDONE;
	u->n_stale += 3; /* with it goes all that was said of the step */
	return set_text(u, &s->why, record_str(r, 2));
}

static int take_found(struct undo *u, const struct record *r)
{
	plan_drop_skipped(&u->plan, record_str(r, 1), record_str(r, 2));
	u->n_stale += 2; /* the skip, and this */
	return 0;
}

static const struct {
	const char *type;
	int (*take)(struct undo *, const struct record *);
} lines[] = {
	{"phase", take_phase}, {"intent", take_intent},   {"done", take_done},     {"left", take_left},
	{"exec", take_exec},   {"undoing", take_undoing}, {"undone", take_undone}, {"value", undo_take_value},
	{"found", take_found},
};

int undo_take_line(struct undo *u, const struct record *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (streq(lines[i].type, r->f[0]))
			return lines[i].take(u, r);
	/* A kind of line that a later version writes is none of ours either. */
	return plan_take_record(&u->plan, r) < 0 ? -ENOMEM : 0;
}

static int take_head(struct undo *u, const struct record *r, const char *uuid)
{
	if (!streq(r->f[0], "head") || !streq(record_str(r, 1), UNDO_FORMAT) || !streq(record_str(r, 4), uuid))
		return -EBADMSG;
	(void)snprintf(u->boot_id, sizeof(u->boot_id), "%s", record_str(r, 2));
	u->generation = record_u64(r, 3, 0);
	u->since = record_u64(r, 5, 0);
	return 0;
}

static int read_file(int fd, char **ret, struct undo *u)
{
	_cleanup_free_ char *text = NULL;
	size_t have = 0;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size > UNDO_MAX)
		return -EFBIG;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	while (have < (size_t)st.st_size && (n = pread(fd, text + have, (size_t)st.st_size - have, (off_t)have)) != 0) {
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			have += (size_t)n;
	}
	text[have] = '\0';
	u->size = u->seen = have;
	u->torn = have && text[have - 1] != '\n';
	*ret = steal_ptr(&text);
	return 0;
}

static int replay(const struct hostfs *fs, char *text, const char *uuid, struct undo *u)
{
	char boot_id[BOOT_ID_SIZE];
	struct record r;
	int rc;

	/* The head is in the first write: if that line is not it, nothing in the file can be believed. */
	rc = record_next(&text, &r, &u->bad_lines) == 1 ? take_head(u, &r, uuid) : -EBADMSG;
	if (rc < 0)
		return rc;
	hostfs_boot_id(fs, boot_id);
	if (!streq(boot_id, u->boot_id))
		return -ESTALE;
	while (record_next(&text, &r, &u->bad_lines) == 1) {
		rc = undo_take_line(u, &r);
		if (rc == -ENOMEM)
			return rc;
		if (rc < 0)
			u->bad_lines++;
		u->n_lines++;
	}
	if (!u->plan.name && !(u->plan.name = strdup(uuid)))
		return -ENOMEM;
	if (!u->plan.profile && !(u->plan.profile = strdup("")))
		return -ENOMEM;
	(void)snprintf(u->plan.uuid, sizeof(u->plan.uuid), "%s", uuid);
	u->n_recorded = u->n_steps;
	return 0;
}

/* Open for writing, and nobody else has: the file that is under its name once the lock is held. */
static int open_locked(const struct hostfs *fs, const char *uuid, unsigned int ms)
{
	struct stat st;
	int rc;

	for (;;) {
		_cleanup_close_ int fd = hostfs_open(fs, O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK, "%s/%s",
						     PATH_UNDO, uuid);

		if (fd < 0)
			return fd;
		rc = ledger_check_file(fd);
		if (rc == 0)
			rc = ledger_flock(fd, ms);
		if (rc == 0 && fstat(fd, &st) < 0)
			rc = -errno;
		if (rc < 0)
			return rc;
		/* Replaced or removed while we waited. */
		if (st.st_nlink > 0)
			return steal_fd(&fd);
	}
}

static int open_to_read(const struct hostfs *fs, const char *uuid)
{
	_cleanup_close_ int fd = hostfs_open(fs, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, "%s/%s", PATH_UNDO, uuid);
	int rc = fd < 0 ? fd : ledger_check_file(fd);

	return rc < 0 ? rc : steal_fd(&fd);
}

/* ms: NULL to read only. */
static int open_undo(const struct hostfs *fs, const char *uuid, const unsigned int *ms, struct undo *ret,
		     struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct undo u = {.fd = -1};
	int rc;

	if (!uuid_is_valid(uuid))
		return err_set(e, EINVAL, "not a UUID");
	u.fd = ms ? open_locked(fs, uuid, *ms) : open_to_read(fs, uuid);
	if (u.fd == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "/%s/%s: somebody has held it for %u ms", PATH_UNDO, uuid, *ms);
	rc = u.fd < 0 ? u.fd : read_file(u.fd, &text, &u);
	if (rc == 0)
		rc = replay(fs, text, uuid, &u);
	if (rc < 0) {
		undo_fini(&u);
		return err_set(e, -rc, "/%s/%s: %s", PATH_UNDO, uuid, err_name(-rc));
	}
	if (!ms)
		cleanup_closep(&u.fd);
	if (!ms)
		u.fd = -1;
	*ret = u;
	return 0;
}

int undo_open_within(const struct hostfs *fs, const char *uuid, unsigned int ms, struct undo *ret, struct err *e)
{
	int rc = open_undo(fs, uuid, &ms, ret, e);

	/* What cannot be made shorter is as good as it was. */
	if (rc < 0 || ret->n_stale <= UNDO_STALE_MAX || ret->n_stale <= ret->n_lines / 2 ||
	    undo_write_whole(fs, ret, &ret->plan) < 0)
		return rc;
	undo_fini(ret);
	return open_undo(fs, uuid, &ms, ret, e);
}

int undo_open(const struct hostfs *fs, const char *uuid, bool writable, struct undo *ret, struct err *e)
{
	return writable ? undo_open_within(fs, uuid, patience_lock_ms(), ret, e) : open_undo(fs, uuid, NULL, ret, e);
}

int undo_replace(const struct hostfs *fs, struct undo *u, const struct plan *p, struct err *e)
{
	int rc = u->fd < 0 ? -EBADF : undo_write_whole(fs, u, p ? p : &u->plan);

	if (rc < 0)
		(void)err_set(e, -rc, "/%s/%s: %s", PATH_UNDO, u->plan.uuid, err_name(-rc));
	undo_fini(u);
	return rc;
}

int undo_rewrite(const struct hostfs *fs, struct undo *u, const struct plan *p, struct err *e)
{
	unsigned int ms = patience_lock_ms();
	char uuid[37];
	int rc;

	(void)snprintf(uuid, sizeof(uuid), "%s", u->plan.uuid);
	rc = undo_replace(fs, u, p, e);
	return rc < 0 ? rc : open_undo(fs, uuid, &ms, u, e);
}

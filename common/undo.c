/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file is replayed line by line into struct undo: a table row per kind of line, lines of the plan go to
 * plan_take_record(). Whatever the last writer was killed in, the lines before it hold: each is one write(2), and a
 * line without its end is closed before the next one is appended.
 *
 * Whether a start is still the current one is asked before each write to the host, so it costs one fstat(2): a new
 * start unlinks the file (rename), a later phase makes it longer than what was read.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "ledger_priv.h"
#include "lines.h"
#include "num.h"
#include "paths.h"
#include "undo.h"

#define UNDO_FORMAT "1"
#define UNDO_MAX    (64u << 20) /* 8192 threads of two steps, each with two full CPU lists, stay below it in practice */

struct undo_step *undo_find(struct undo *u, unsigned int id)
{
	/* Without a bad line in between, the n-th step is in its place. */
	if (id > 0 && id <= u->n_steps && u->steps[id - 1].number == id)
		return &u->steps[id - 1];
	for (unsigned int i = 0; i < u->n_steps; i++)
		if (u->steps[i].number == id)
			return &u->steps[i];
	return NULL;
}

static void step_fini(struct undo_step *s)
{
	char *const texts[] = {s->knob, s->target, s->backend, s->object, s->original, s->wanted, s->readback, s->why};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free(texts[i]);
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
	for (unsigned int i = 0; i < u->n_steps; i++)
		step_fini(&u->steps[i]);
	for (unsigned int i = 0; i < u->n_execs; i++)
		exec_fini(&u->execs[i]);
	free(u->steps);
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

static int take_intent(struct undo *u, const struct record *r)
{
	uint64_t n = record_u64(r, 1, 0), cause = record_u64(r, 2, 0);
	struct undo_step *s;

	if (r->n < 10 || n == 0 || n > INT32_MAX || cause > INT32_MAX)
		return -EINVAL;
	s = GROW(u->steps, u->n_steps);
	if (!s)
		return -ENOMEM;
	s->number = (unsigned int)n;
	s->cause = (unsigned int)cause;
	s->shared = streq(r->f[3], "shared");
	s->state = UNDO_INTENT;
	s->knob = strdup(r->f[4]);
	s->target = strdup(r->f[5]);
	s->backend = strdup(r->f[6]);
	s->object = strdup(r->f[7]);
	s->original = strdup(r->f[8]);
	s->wanted = strdup(r->f[9]);
	if (!s->knob || !s->target || !s->backend || !s->object || !s->original || !s->wanted) {
		step_fini(s);
		return -ENOMEM;
	}
	u->n_steps++;
	return 0;
}

static void forget_unrecorded(struct undo *u)
{
	while (u->n_steps > u->n_recorded)
		step_fini(&u->steps[--u->n_steps]);
}

static struct undo_step *step_of(struct undo *u, const struct record *r)
{
	uint64_t n = record_u64(r, 1, 0);

	return n && n <= INT32_MAX ? undo_find(u, (unsigned int)n) : NULL;
}

static int take_done(struct undo *u, const struct record *r)
{
	struct undo_step *s = step_of(u, r);

	if (!s || r->n < 3)
		return -EINVAL;
	s->state = UNDO_DONE;
	return replace_text(&s->readback, r->f[2]);
}

static int take_left(struct undo *u, const struct record *r)
{
	struct undo_step *s = step_of(u, r);

	if (!s)
		return -EINVAL;
	s->state = UNDO_LEFT;
	s->code = (int)(record_u64(r, 2, 0) & INT32_MAX);
	return replace_text(&s->why, record_str(r, 3));
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
	return replace_text(&s->why, record_str(r, 2));
}

static const struct {
	const char *type;
	int (*take)(struct undo *, const struct record *);
} lines[] = {
	{"phase", take_phase}, {"intent", take_intent},   {"done", take_done},     {"left", take_left},
	{"exec", take_exec},   {"undoing", take_undoing}, {"undone", take_undone},
};

static int take_line(struct undo *u, const struct record *r)
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
		rc = take_line(u, &r);
		if (rc == -ENOMEM)
			return rc;
		if (rc < 0)
			u->bad_lines++;
	}
	if (!u->plan.name && !(u->plan.name = strdup(uuid)))
		return -ENOMEM;
	if (!u->plan.profile && !(u->plan.profile = strdup("")))
		return -ENOMEM;
	(void)snprintf(u->plan.uuid, sizeof(u->plan.uuid), "%s", uuid);
	u->n_recorded = u->n_steps;
	return 0;
}

int undo_open(const struct hostfs *fs, const char *uuid, bool writable, struct undo *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct undo u = {.fd = -1};
	int rc = -EINVAL;

	if (!uuid_is_valid(uuid))
		return err_set(e, EINVAL, "not a UUID");
	u.fd = hostfs_open(fs, (writable ? O_RDWR | O_APPEND : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK, "%s/%s", PATH_UNDO,
			   uuid);
	if (u.fd < 0)
		return err_set(e, -u.fd, "/%s/%s: %s", PATH_UNDO, uuid, err_name(-u.fd));
	rc = ledger_check_file(u.fd);
	if (rc == 0)
		rc = read_file(u.fd, &text, &u);
	if (rc == 0)
		rc = replay(fs, text, uuid, &u);
	if (rc < 0) {
		undo_fini(&u);
		return err_set(e, -rc, "/%s/%s: %s", PATH_UNDO, uuid, err_name(-rc));
	}
	if (!writable)
		cleanup_closep(&u.fd);
	if (!writable)
		u.fd = -1;
	*ret = u;
	return 0;
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

static uint64_t now(void)
{
	return (uint64_t)time(NULL);
}

int undo_create(const struct hostfs *fs, const struct plan *p, uint64_t generation, struct err *e)
{
	_cleanup_sbuf_ struct sbuf b = {0};
	char boot_id[BOOT_ID_SIZE];
	struct number gen, since;
	int rc;

	if (!uuid_is_valid(p->uuid))
		return err_set(e, EINVAL, "not a UUID");
	hostfs_boot_id(fs, boot_id);
	record_add(&b, "head", UNDO_FORMAT, boot_id, number(&gen, generation), p->uuid, number(&since, now()), NULL);
	plan_put_records(p, &b);
	record_add(&b, "phase", claim_phase_name(CLAIM_PREPARED), since.text, "0", "0", NULL);
	rc = b.failed ? -ENOMEM : hostfs_replace(fs, b.s, b.len, 0600, "%s/%s", PATH_UNDO, p->uuid);
	return rc < 0 ? err_set(e, -rc, "/%s/%s: %s", PATH_UNDO, p->uuid, err_name(-rc)) : 0;
}

/* All that waits, in one write. Failed, it is as if it had never been said. */
static int write_waiting(struct undo *u)
{
	_cleanup_sbuf_ struct sbuf b = u->waiting;
	int rc = 0;

	u->waiting = (struct sbuf){0};
	if (u->fd < 0)
		rc = -EBADF;
	else if (b.failed)
		rc = -ENOMEM;
	else if (b.len)
		rc = hostfs_append(u->fd, b.s, b.len);
	if (rc < 0) {
		forget_unrecorded(u);
		return rc;
	}
	u->n_recorded = u->n_steps;
	u->torn = u->torn && !b.len;
	u->size += b.len;
	return 0;
}

/* One record behind those that wait. may_wait: if the caller lets records wait at all. */
static int append(struct undo *u, const struct sbuf *b, bool may_wait)
{
	if (b->failed)
		return -ENOMEM;
	if (u->torn && !u->waiting.len)
		sbuf_add(&u->waiting, "\n");
	sbuf_addn(&u->waiting, b->s, b->len);
	return may_wait && u->batching ? 0 : write_waiting(u);
}

void undo_batch(struct undo *u)
{
	u->batching = true;
}

int undo_commit(struct undo *u)
{
	return u->n_recorded < u->n_steps ? write_waiting(u) : 0;
}

int undo_flush(struct undo *u)
{
	u->batching = false;
	return u->waiting.len ? write_waiting(u) : 0;
}

/* Whether the lines that others appended hold a phase after ours. */
static bool has_later_phase(struct undo *u, uint64_t end)
{
	size_t len = (size_t)(end - u->seen);
	_cleanup_free_ char *tail = malloc(len + 1);
	char *pos = tail;
	enum claim_phase phase;
	struct record r;
	ssize_t n;

	if (!tail)
		return true;
	n = pread(u->fd, tail, len, (off_t)u->seen);
	if (n < 0)
		return true;
	tail[n] = '\0';
	while (record_next(&pos, &r, NULL) == 1)
		if (streq(r.f[0], "phase") && claim_phase_parse(record_str(&r, 1), &phase) == 0 && phase > u->phase)
			return true;
	u->seen += (uint64_t)n;
	u->size = u->seen;
	return false;
}

bool undo_still_current(struct undo *u)
{
	struct stat st;

	if (u->fd < 0 || fstat(u->fd, &st) < 0 || st.st_nlink == 0)
		return false;
	/* As long as what we appended is. In what others did our own lines between theirs do no harm. */
	if ((uint64_t)st.st_size == u->size) {
		u->seen = u->size;
		return true;
	}
	return (uint64_t)st.st_size > u->seen && !has_later_phase(u, (uint64_t)st.st_size);
}

int undo_set_phase(struct undo *u, enum claim_phase phase)
{
	_cleanup_sbuf_ struct sbuf b = {0};
	struct number since, pid, start;
	int rc;

	if (phase != CLAIM_STOPPED)
		u->since = now();
	record_add(&b, "phase", claim_phase_name(phase), number(&since, now()), number(&pid, (uint64_t)u->pid),
		   number(&start, u->pid_start), NULL);
	rc = append(u, &b, false);
	if (rc == 0)
		u->phase = phase;
	return rc;
}

static int add_intent(struct undo *u, unsigned int cause, bool shared, const char *const texts[6])
{
	_cleanup_sbuf_ struct sbuf b = {0};
	unsigned int n = u->n_steps ? u->steps[u->n_steps - 1].number + 1 : 1;
	char *f[10], first[] = "intent", own[] = "own", common[] = "shared";
	struct number numbers[2];
	struct record r;
	int rc;

	record_add(&b, "intent", number(&numbers[0], n), number(&numbers[1], cause), shared ? common : own, texts[0],
		   texts[1], texts[2], texts[3], texts[4], texts[5], NULL);
	/* In memory first: what cannot be kept there must not be done either. */
	f[0] = first;
	f[1] = numbers[0].text;
	f[2] = numbers[1].text;
	f[3] = shared ? common : own;
	for (unsigned int i = 0; i < 6; i++)
		f[4 + i] = (char *)(uintptr_t)texts[i]; /* take_intent() copies */
	r.n = ARRAY_SIZE(f);
	memcpy(r.f, f, sizeof(f));
	rc = take_intent(u, &r);
	if (rc == 0)
		rc = append(u, &b, true);
	if (rc < 0)
		forget_unrecorded(u);
	return rc < 0 ? rc : (int)n;
}

int undo_intent(struct undo *u, const char *knob, const char *target, const char *backend, const char *object,
		const char *original, const char *wanted, bool shared)
{
	return add_intent(u, 0, shared, (const char *[]){knob, target, backend, object, original, wanted});
}

int undo_intent_of(struct undo *u, unsigned int cause, const char *knob, const char *target, const char *backend,
		   const char *object, const char *original, const char *wanted)
{
	return add_intent(u, cause, false, (const char *[]){knob, target, backend, object, original, wanted});
}

/* Append a record about one step and take over what it says. */
static int append_about(struct undo *u, bool may_wait, const char *type, unsigned int id, const char *a, const char *b_)
{
	_cleanup_sbuf_ struct sbuf b = {0};
	const char *texts[4] = {type, NULL, a, b_};
	struct record r = {.n = 0};
	struct number n;
	int rc;

	texts[1] = number(&n, id);
	record_add(&b, type, n.text, a, b_, NULL);
	rc = append(u, &b, may_wait);
	for (; r.n < ARRAY_SIZE(texts) && texts[r.n]; r.n++)
		r.f[r.n] = (char *)(uintptr_t)texts[r.n]; /* take_line() copies */
	return rc < 0 ? rc : take_line(u, &r);
}

int undo_done(struct undo *u, unsigned int id, const char *readback)
{
	const struct undo_step *s = undo_find(u, id);

	return append_about(u, s && streq(s->wanted, readback), "done", id, readback, NULL);
}

int undo_left(struct undo *u, unsigned int id, int code, const char *why)
{
	struct number n;

	return append_about(u, false, "left", id, number(&n, (uint64_t)(code < 0 ? -code : code)), why);
}

int undo_undoing(struct undo *u, unsigned int id)
{
	return append_about(u, false, "undoing", id, NULL, NULL);
}

int undo_undone(struct undo *u, unsigned int id, const char *result)
{
	return append_about(u, true, "undone", id, result, NULL);
}

int undo_exec_result(struct undo *u, const char *knob, const char *target, bool ok, const char *effective,
		     const char *why)
{
	_cleanup_sbuf_ struct sbuf b = {0};
	_cleanup_free_ char *copy = NULL;
	struct record r;
	char *pos;
	int rc;

	record_add(&b, "exec", ok ? "ok" : "kept", knob, target, effective, why, NULL);
	rc = append(u, &b, false);
	if (rc < 0)
		return rc;
	copy = strndup(b.s, b.len);
	pos = copy;
	return copy && record_next(&pos, &r, NULL) == 1 ? take_line(u, &r) : -ENOMEM;
}

int undo_skipped(struct undo *u, const struct skipped *s)
{
	_cleanup_sbuf_ struct sbuf b = {0};

	record_add(&b, "skip", s->knob, s->target, s->why, NULL);
	return append(u, &b, false);
}

int undo_remove(const struct hostfs *fs, const char *uuid)
{
	int plan, undo;

	if (!uuid_is_valid(uuid))
		return -EINVAL;
	/* undo/ last: as long as it is there the hook knows that something is left to do. */
	plan = hostfs_unlink(fs, "%s/%s", PATH_PLAN, uuid);
	undo = hostfs_unlink(fs, "%s/%s", PATH_UNDO, uuid);
	return undo < 0 ? undo : plan;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is said of a start, on file: whole by rename, or a record at the end in one write(2), both before struct undo
 * says so. Records that may wait do so in memory, in their order, and go out in one piece.
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
#include "undo_priv.h"

static uint64_t now(void)
{
	return (uint64_t)time(NULL);
}

/* --- whole ------------------------------------------------------------------------------------------------------ */

static void put_step(struct sbuf *b, const struct undo_step *s)
{
	struct number n, cause, code;
	/* One that is to get another value has two intents: what it had is read back between them. */
	const char *first = s->before ? s->before : s->wanted;

	(void)number(&n, s->number);
	record_add(b, "intent", n.text, number(&cause, s->cause), s->shared ? "shared" : "own", s->knob, s->target,
		   s->backend, s->object, s->original, first, NULL);
	if (s->before) {
		record_add(b, "done", n.text, s->before, NULL);
		record_add(b, "intent", n.text, cause.text, "own", s->knob, s->target, s->backend, s->object,
			   s->original, s->wanted, NULL);
	}
	if (s->undoing)
		record_add(b, "undoing", n.text, NULL);
	if (s->state == UNDO_DONE)
		record_add(b, "done", n.text, s->readback, NULL);
	if (s->state == UNDO_LEFT)
		record_add(b, "left", n.text, number(&code, (uint64_t)s->code), s->why, NULL);
}

static void put_exec(struct sbuf *b, const struct undo_exec *x)
{
	record_add(b, "exec", x->ok ? "ok" : "kept", x->knob, x->target, x->effective, x->why, NULL);
}

static void put_phase(struct sbuf *b, const struct undo *u, enum claim_phase phase, uint64_t when)
{
	struct number since, pid, start;

	record_add(b, "phase", claim_phase_name(phase), number(&since, when), number(&pid, (uint64_t)u->pid),
		   number(&start, u->pid_start), NULL);
}

int undo_write_whole(const struct hostfs *fs, const struct undo *u, const struct plan *p)
{
	_cleanup_sbuf_ struct sbuf b = {0};
	char boot_id[BOOT_ID_SIZE];
	struct number gen, since;

	hostfs_boot_id(fs, boot_id);
	record_add(&b, "head", UNDO_FORMAT, boot_id, number(&gen, u->generation), p->uuid, number(&since, u->since),
		   NULL);
	plan_put_records(p, &b);
	put_phase(&b, u, u->phase, u->since);
	for (unsigned int i = 0; i < u->n_steps; i++)
		if (u->steps[i].state != UNDO_UNDONE)
			put_step(&b, &u->steps[i]);
	for (unsigned int i = 0; i < u->n_execs; i++)
		put_exec(&b, &u->execs[i]);
	return b.failed ? -ENOMEM : hostfs_replace(fs, b.s, b.len, 0600, "%s/%s", PATH_UNDO, p->uuid);
}

int undo_create(const struct hostfs *fs, const struct plan *p, uint64_t generation, struct err *e)
{
	const struct undo u = {.fd = -1, .generation = generation, .since = now(), .phase = CLAIM_PREPARED};
	int rc;

	if (!uuid_is_valid(p->uuid))
		return err_set(e, EINVAL, "not a UUID");
	rc = undo_write_whole(fs, &u, p);
	return rc < 0 ? err_set(e, -rc, "/%s/%s: %s", PATH_UNDO, p->uuid, err_name(-rc)) : 0;
}

/* --- line by line ----------------------------------------------------------------------------------------------- */

/* What was not written has not been said: steps as they were. */
static void forget_waiting(struct undo *u)
{
	for (unsigned int i = u->n_rewanted; i-- > 0;) {
		struct undo_rewanted *was = &u->rewanted[i];
		struct undo_step *s = undo_find(u, was->number);

		if (!s)
			continue;
		s->wanted = was->wanted;
		s->readback = was->readback;
		s->before = was->before;
		s->state = was->state;
		s->undoing = was->undoing;
	}
	u->n_rewanted = 0;
	if (u->n_steps > u->n_recorded)
		u->n_steps = u->n_recorded;
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
		forget_waiting(u);
		return rc;
	}
	u->n_rewanted = 0;
	u->n_recorded = u->n_steps;
	u->torn = u->torn && !b.len;
	u->size += b.len;
	return 0;
}

int undo_append(struct undo *u, const struct sbuf *b, bool may_wait)
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
	return u->n_recorded < u->n_steps || u->n_rewanted ? write_waiting(u) : 0;
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
	int rc;

	/* Said once more (reconnect, retune), it is still since then. */
	if (phase != CLAIM_STOPPED && phase != u->phase)
		u->since = now();
	put_phase(&b, u, phase, phase == CLAIM_STOPPED ? now() : u->since);
	rc = undo_append(u, &b, false);
	if (rc == 0)
		u->phase = phase;
	return rc;
}

int undo_tell_stopped(const struct hostfs *fs, const char *uuid)
{
	_cleanup_close_ int fd = hostfs_open(fs, O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK, "%s/%s", PATH_UNDO,
					     uuid);
	const struct undo nobody = {.fd = -1};
	_cleanup_sbuf_ struct sbuf b = {0};
	int rc = fd < 0 ? fd : ledger_check_file(fd);

	sbuf_add(&b, "\n"); /* should the last line have no end */
	put_phase(&b, &nobody, CLAIM_STOPPED, now());
	if (rc == 0)
		rc = b.failed ? -ENOMEM : hostfs_append(fd, b.s, b.len);
	return rc;
}

/* An intent as a record, of a step that is new (texts are its six) or known. */
static int say_intent(struct undo *u, unsigned int n, unsigned int cause, bool shared, const char *const texts[6])
{
	_cleanup_sbuf_ struct sbuf b = {0};
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
		f[4 + i] = (char *)(uintptr_t)texts[i]; /* undo_take_line() copies */
	r.n = ARRAY_SIZE(f);
	r.len = 0;
	memcpy(r.f, f, sizeof(f));
	rc = undo_take_line(u, &r);
	if (rc == 0)
		rc = undo_append(u, &b, true);
	if (rc < 0)
		forget_waiting(u);
	return rc;
}

static int add_intent(struct undo *u, unsigned int cause, bool shared, const char *const texts[6])
{
	unsigned int n = u->n_steps ? u->steps[u->n_steps - 1].number + 1 : 1;
	int rc = say_intent(u, n, cause, shared, texts);

	return rc < 0 ? rc : (int)n;
}

/* How a step is now, should its rewant not come into the file. */
static int keep_step(struct undo *u, const struct undo_step *s)
{
	struct undo_rewanted *was = GROW(u->rewanted, u->n_rewanted);

	if (!was)
		return -ENOMEM;
	u->n_rewanted++;
	*was = (struct undo_rewanted){.number = s->number, .state = s->state, .undoing = s->undoing, .wanted = s->wanted,
				      .readback = s->readback, .before = s->before};
	return 0;
}

int undo_rewant(struct undo *u, unsigned int number, const char *wanted)
{
	const struct undo_step *s = undo_find(u, number);
	int rc;

	if (!s || s->shared || s->state == UNDO_UNDONE)
		return -EINVAL;
	rc = keep_step(u, s);
	if (rc < 0)
		return rc;
	return say_intent(u, number, s->cause, false,
			  (const char *[]){s->knob, s->target, s->backend, s->object, s->original, wanted});
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
	rc = undo_append(u, &b, may_wait);
	for (; r.n < ARRAY_SIZE(texts) && texts[r.n]; r.n++)
		r.f[r.n] = (char *)(uintptr_t)texts[r.n]; /* undo_take_line() copies */
	return rc < 0 ? rc : undo_take_line(u, &r);
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
	rc = undo_append(u, &b, false);
	if (rc < 0)
		return rc;
	copy = strndup(b.s, b.len);
	pos = copy;
	return copy && record_next(&pos, &r, NULL) == 1 ? undo_take_line(u, &r) : -ENOMEM;
}

int undo_skipped(struct undo *u, const struct skipped *s)
{
	_cleanup_sbuf_ struct sbuf b = {0};

	record_add(&b, "skip", s->knob, s->target, s->why, NULL);
	return undo_append(u, &b, false);
}

int undo_found(struct undo *u, const struct setting *s)
{
	_cleanup_sbuf_ struct sbuf b = {0};

	plan_drop_skipped(&u->plan, s->knob, s->target);
	record_add(&b, "found", s->knob, s->target, NULL);
	return undo_append(u, &b, false);
}

int undo_remove(const struct hostfs *fs, const char *uuid)
{
	int plan, undo;

	if (!uuid_is_valid(uuid))
		return -EINVAL;
	(void)hostfs_unlink(fs, "%s/%s", PATH_LATE, uuid); /* what stays says nothing of another start */
	/* undo/ last: as long as it is there the hook knows that something is left to do. */
	plan = hostfs_unlink(fs, "%s/%s", PATH_PLAN, uuid);
	undo = hostfs_unlink(fs, "%s/%s", PATH_UNDO, uuid);
	return undo < 0 ? undo : plan;
}

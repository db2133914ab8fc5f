/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What comes after `started`: threads of QEMU's pools and of the kernel (vhost, io_uring), vCPUs that are plugged in,
 * queues, interrupts. The steps of the settings that can have such objects are made again. Those of the domain's own
 * objects are all looked at, since a group may have been made anew under its name. Shared objects that are on record are
 * not, since there may be a thousand, and looking at them takes the ledger's lock; but vectors of the domain's devices, which
 * a guest that boots again gives back and asks for, are.
 */
#include <limits.h>

#include "apply_priv.h"
#include "irq.h"
#include "log.h"
#include "num.h"
#include "strindex.h"

/* What a start has on record, by back end and object. */
struct records {
	const struct hostfs *fs;
	const struct undo *u;
	struct strindex x;
};

static int index_records(struct records *r)
{
	for (unsigned int i = 0; i < r->u->n_steps; i++) {
		const struct undo_step *s = &r->u->steps[i];

		if (s->state != UNDO_UNDONE && strindex_add(&r->x, strindex_hash(s->backend, s->object), i) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* The newest; NULL: there is none. */
static const struct undo_step *record_of(const struct records *r, const struct step *s)
{
	const struct undo_step *found = NULL;
	unsigned int at = 0, i;

	while (strindex_next(&r->x, strindex_hash(s->backend, s->object), &at, &i)) {
		const struct undo_step *u = &r->u->steps[i];

		if (streq(u->object, s->object) && streq(u->backend, s->backend) && (!found || u->number > found->number))
			found = u;
	}
	return found;
}

/* A daemon is told all in one: what has come since is in the same object's value, and it may have begun anew. */
static bool is_guest(const struct step *s)
{
	const struct backend *be = backend_find(s->backend);

	return be && be->comes_and_goes;
}

/* A vector of one of its devices that has gone and come back under its number, or that the driver has set again. */
static bool is_set_again(const struct records *r, const struct step *s)
{
	const struct undo_step *known = s->fold == FOLD_IRQ && *s->setting->target ? record_of(r, s) : NULL;
	const struct backend *be = backend_find(s->backend);
	char now[512];

	return known && known->state == UNDO_DONE && be && be->read(r->fs, s->object, now, sizeof(now)) >= 0 &&
	       !be->same(s->object, now, known->readback);
}

/* A dependant's cause stays with it. */
static bool is_wanted(const struct records *r, const struct steps *s, unsigned int at)
{
	if (!step_comes_late(s->s[at].setting))
		return false;
	if (is_guest(&s->s[at]))
		return true;
	if (s->s[at].fold == FOLD_NONE || !record_of(r, &s->s[at]) || is_set_again(r, &s->s[at]))
		return true;
	for (unsigned int i = at + 1; i < s->n && s->s[i].group == s->s[at].group && !s->s[at].is_dependant; i++)
		if (!record_of(r, &s->s[i]))
			return true;
	return false;
}

static int keep_wanted(const struct hostfs *fs, const struct undo *u, struct steps *s)
{
	struct records r = {.fs = fs, .u = u};
	unsigned int n = 0, n_all = s->n;
	int rc = index_records(&r);

	for (unsigned int i = 0; i < n_all && rc == 0; i++) {
		if (is_wanted(&r, s, i)) {
			struct step kept = s->s[i];

			/* What is dropped goes to the end, where nobody asks for its group. */
			s->s[i] = s->s[n];
			s->s[n++] = kept;
		}
	}
	strindex_fini(&r.x);
	if (rc < 0)
		return rc;
	for (unsigned int i = n; i < n_all; i++) {
		free(s->s[i].object);
		free(s->s[i].value);
	}
	s->n = n;
	return 0;
}

static int compare_ints(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

/* The thread of a back end "thread" object; 0: it is none. */
static int thread_of(const struct undo_step *r)
{
	const char *at = streq(r->backend, "thread") ? strchr(r->object, '/') : NULL;
	char digits[12];
	uint64_t tid;
	size_t n;

	if (!at)
		return 0;
	n = strspn(++at, "0123456789");
	if (n == 0 || n >= sizeof(digits))
		return 0;
	memcpy(digits, at, n);
	digits[n] = '\0';
	return num_parse_range(digits, 1, INT_MAX, &tid) == 0 ? (int)tid : 0;
}

static bool is_gone(const struct hostfs *fs, const char *object)
{
	int r = backend_find("thread")->probe(fs, object);

	return r == -ENOENT || r == -EOPNOTSUPP; /* below another root nobody can be asked */
}

/*
 * Threads come and go as long as a domain runs: what is on record of those that have gone must not pile up. Not those of
 * the kernel that are not among the domain's (run_kthread.c): they are asked for one by one.
 */
static void close_ended(const struct hostfs *fs, struct undo *u, const struct run *run)
{
	_cleanup_free_ int *tids = calloc(run->n_threads ? run->n_threads : 1, sizeof(*tids));

	if (!tids)
		return;
	for (unsigned int i = 0; i < run->n_threads; i++)
		tids[i] = run->threads[i].tid;
	qsort(tids, run->n_threads, sizeof(*tids), compare_ints);
	undo_batch(u);
	for (unsigned int i = 0; i < u->n_steps; i++) {
		const struct undo_step *r = &u->steps[i];
		int tid = r->state == UNDO_UNDONE || r->shared ? 0 : thread_of(r);

		if (tid && !bsearch(&tid, tids, run->n_threads, sizeof(*tids), compare_ints) && is_gone(fs, r->object))
			(void)undo_undone(u, r->number, "gone"); /* else the next look does it */
	}
	(void)undo_flush(u);
}

/* Settings that were skipped for want of objects and have some now. */
static void tell_found(struct undo *u, const struct steps *s)
{
	for (unsigned int i = 0; i < s->n; i++) {
		const struct setting *setting = s->s[i].setting;

		for (size_t k = 0; k < u->plan.n_skipped; k++)
			if (streq(u->plan.skipped[k].knob, setting->knob) &&
			    streq(u->plan.skipped[k].target, setting->target)) {
				(void)undo_found(u, setting); /* for show only */
				break;
			}
	}
}

/* Objects that were given another value. What had it already is on record for later moves only. */
static int count_changed(const struct undo *u, unsigned int n_before)
{
	int n = 0;

	for (unsigned int i = n_before; i < u->n_steps; i++)
		n += u->steps[i].state == UNDO_DONE && !streq(u->steps[i].original, u->steps[i].readback);
	return n;
}

int apply_late(const struct hostfs *fs, struct undo *u, struct run *run, struct apply_count *ret)
{
	static const enum stage stages[] = {STAGE_PREPARE, STAGE_STARTED};
	struct apply_run a = {.fs = fs, .name = u->plan.name, .undo = u, .late = true};
	unsigned int n_before;
	int rc = 0;

	if (u->plan.observe)
		return 0;
	if (steps_need_starts(&u->plan, run))
		run_read_starts(fs, run);
	run_read_more(fs, run, &u->plan, false);
	close_ended(fs, u, run);
	n_before = u->n_steps;
	rc = irq_refresh(fs, &u->plan);
	for (size_t i = 0; i < ARRAY_SIZE(stages) && rc == 0; i++) {
		struct steps s = {0};

		rc = steps_make(&u->plan, stages[i], stages[i] == STAGE_PREPARE ? NULL : run, &s);
		if (rc == 0)
			rc = keep_wanted(fs, u, &s);
		if (rc == 0) {
			tell_found(u, &s);
			rc = apply_run_steps(&a, &s, ret);
		}
		steps_fini(&s);
	}
	return rc < 0 ? rc : count_changed(u, n_before);
}

bool apply_lacks_vcpu(const struct undo *u, const struct run *run)
{
	const struct placement *p = &u->plan.placement;
	char target[32];

	if (p->policy == PLACE_NONE || u->plan.observe)
		return false;
	for (size_t i = 0; i < u->plan.n_settings; i++)
		if (streq(u->plan.settings[i].knob, "cpu.policy") && !*u->plan.settings[i].target)
			return false; /* they float along with the others */
	for (unsigned int i = 0; i < run->n_threads; i++) {
		const struct run_thread *t = &run->threads[i];
		bool is_told = false;

		if (t->kind != RUN_VCPU || (t->number < p->n_vcpus && !idset_is_empty(&p->vcpus[t->number].cpus)))
			continue;
		(void)snprintf(target, sizeof(target), "vcpu%u", t->number); /* fits */
		for (size_t k = 0; k < u->plan.n_skipped && !is_told; k++)
			is_told = streq(u->plan.skipped[k].knob, "cpu.policy") &&
				  streq(u->plan.skipped[k].target, target);
		if (!is_told)
			return true;
	}
	return false;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The shared pool in action: domains that float give way when a dedicated one comes and spread again when it goes.
 * place_share_update() has said where to, in the ledger; here it is carried out, for domains that run.
 *
 * What a domain's threads float by is on record in its undo file, so nothing is looked up: the settings of a moved
 * floater get the new value, and their steps are applied again. On v2 that is one write, to the domain's own group. On
 * v1 it is one for each group of threads that floats; their parent, which has to be a superset of each (cpusets.rst,
 * section 1.6), is never narrowed by us, so that any order does. Each write replaces one set that is not empty by
 * another, which the kernel moves the tasks to before it returns: nobody is without a CPU at any time. What the write
 * resets (thread affinities, before Linux 6.2) is given back as for a start (apply.c).
 *
 * Several may move the same domain at once, for claims that came one after the other. Who has its record open applies
 * what the ledger says then, not what it said when the domain was picked; and whoever finds, at his end, that it says
 * something else than what he applied, marks the domain again and takes it once more.
 *
 * The order against kills: setting and intents on file, objects, then the mark away. A mark outlives whoever was to
 * carry it out; a move that is done already costs a read. Domains are taken in batches, so that marks of those that
 * are done are away before the deadline ends a long list of them; each hold of the lock ends one batch and makes the
 * next.
 */
#include <sys/stat.h>

#include "apply_priv.h"
#include "lines.h"
#include "log.h"
#include "paths.h"

#define BATCH     64
#define WAIT_MS   300 /* for a domain's undo file: whoever has it looks for moves itself before it lets go */
#define SETTLE_MAX 8 /* times that others may move a domain while it starts */
#define SHOWN_SETS 3

enum fate {
	FATE_MOVED,
	FATE_THERE,  /* nothing was to be done, or somebody else has decided otherwise */
	FATE_FAILED,
	FATE_BUSY,   /* somebody else writes its record: he looks for moves himself before he is done */
	FATE_OVER,   /* it ends, or this record is of another start */
};

/* A running domain with a moved floater. */
struct guest {
	char uuid[37];
	char *name;
	uint64_t generation;
	struct idset *now; /* of each floater */
	unsigned int n;
	bool has_vcpus;    /* float; else only its other threads do */
	enum fate fate;
};

struct mover {
	const struct hostfs *fs;
	const char *except;
	struct guest guests[BATCH];
	unsigned int n;
	struct stat ledger;       /* as it was when they were picked */
	char (*tried)[37];        /* those that stay marked */
	unsigned int n_tried;
	char *sets[SHOWN_SETS];   /* where domains were moved to */
	unsigned int n_sets;
	unsigned int n_shared, n_other, n_failed, n_busy;
};

static void drop_guests(struct mover *m)
{
	for (unsigned int i = 0; i < m->n; i++) {
		free(m->guests[i].name);
		free(m->guests[i].now);
	}
	m->n = 0;
}

static void mover_fini(struct mover *m)
{
	drop_guests(m);
	free(m->tried);
	for (unsigned int i = 0; i < m->n_sets && i < SHOWN_SETS; i++)
		free(m->sets[i]);
}

/* --- one domain ------------------------------------------------------------------------------------------------- */

static bool is_there(const struct setting *s, const struct idset *now)
{
	struct idset value;

	return idset_parse(s->value, &value) == 0 && idset_equal(&value, now);
}

/* Settings of floater f take its set. 1: one of them changed; 0; -errno. */
static int follow(struct undo *u, unsigned int f, const struct idset *now)
{
	_cleanup_free_ char *text = NULL;
	int changed = 0, rc;

	for (size_t i = 0; i < u->plan.n_settings; i++) {
		const struct setting *s = &u->plan.settings[i];

		if (s->floater != (int)f || is_there(s, now))
			continue;
		if (!text && !(text = idset_text(now)))
			return -ENOMEM;
		rc = undo_setting(u, i, text);
		if (rc < 0)
			return rc;
		changed = 1;
	}
	return changed;
}

static bool is_of(const struct undo_step *r, const struct setting *s)
{
	return !r->shared && streq(r->knob, s->knob) && streq(r->target, s->target);
}

/* In force, to be settled, or refused: what would be tried again. */
static bool is_live(const struct undo_step *r)
{
	return r->state != UNDO_UNDONE;
}

static int add_step(struct steps *s, const struct setting *setting, const struct undo_step *r, const char *value)
{
	struct step *st = GROW(s->s, s->n);

	if (!st)
		return -ENOMEM;
	*st = (struct step){.setting = setting, .backend = r->backend, .group = r->cause ? r->cause : r->number};
	st->object = strdup(r->object);
	st->value = strdup(value);
	s->n++;
	return st->object && st->value ? 0 : -ENOMEM;
}

/* A recorded object and what its write resets. A dependant that had its cause's value goes along, others keep theirs. */
static int add_steps_of(struct undo *u, const struct setting *setting, const struct undo_step *cause, struct steps *s)
{
	int rc = add_step(s, setting, cause, setting->value);

	for (unsigned int i = 0; i < u->n_steps && rc == 0; i++) {
		const struct undo_step *r = &u->steps[i];
		bool goes_along = streq(r->wanted, cause->wanted);

		if (r->cause != cause->number || !is_live(r))
			continue;
		rc = add_step(s, setting, r, goes_along ? setting->value : "");
		if (rc < 0)
			break;
		s->s[s->n - 1].is_dependant = true;
		s->s[s->n - 1].restore_only = !goes_along;
	}
	return rc;
}

/* Steps of the settings of these floaters, from the record. */
static int recorded_steps(struct undo *u, const bool *floaters, unsigned int n, struct steps *ret)
{
	int rc = 0;

	for (size_t i = 0; i < u->plan.n_settings && rc == 0; i++) {
		const struct setting *s = &u->plan.settings[i];

		if (s->floater < 0 || (unsigned int)s->floater >= n || !floaters[s->floater])
			continue;
		for (unsigned int j = 0; j < u->n_steps && rc == 0; j++)
			if (!u->steps[j].cause && is_live(&u->steps[j]) && is_of(&u->steps[j], s))
				rc = add_steps_of(u, s, &u->steps[j], ret);
	}
	return rc;
}

/* Whether any of them still has to get its value. */
static bool is_pending(struct undo *u, const struct steps *s)
{
	for (unsigned int i = 0; i < s->n; i++)
		for (unsigned int j = 0; j < u->n_steps && !s->s[i].is_dependant; j++) {
			const struct undo_step *r = &u->steps[j];

			if (is_live(r) && streq(r->object, s->s[i].object) && streq(r->backend, s->s[i].backend) &&
			    (r->state != UNDO_DONE || !streq(r->wanted, s->s[i].value)))
				return true;
		}
	return false;
}

/* Give the floaters their sets, and apply what is on record of them. *ret_pending: there was something to do. */
static int move_floaters(struct apply_run *a, const struct idset *now, const bool *moved, unsigned int n,
			 bool *ret_pending, struct apply_count *count)
{
	_cleanup_(steps_fini) struct steps s = {0};
	int rc = 0;

	*ret_pending = false;
	undo_batch(a->undo);
	for (unsigned int i = 0; i < n && rc >= 0; i++) {
		rc = moved[i] ? follow(a->undo, i, &now[i]) : 0;
		*ret_pending |= rc > 0;
	}
	if (rc >= 0)
		rc = recorded_steps(a->undo, moved, n, &s);
	if (rc == 0) {
		*ret_pending |= is_pending(a->undo, &s);
		rc = apply_run_steps(a, &s, count);
	}
	if (rc == 0)
		rc = undo_flush(a->undo);
	return rc;
}

/* --- for the domain that is being started or adopted ------------------------------------------------------------ */

int apply_follow(struct undo *u, const struct claim *c)
{
	int rc = 0;

	if (c->kind != CLAIM_OURS || u->plan.observe)
		return 0;
	undo_batch(u);
	for (unsigned int i = 0; i < c->n_floats && rc >= 0; i++)
		rc = follow(u, i, c->floats[i].now);
	if (rc >= 0)
		rc = undo_flush(u);
	return rc < 0 ? rc : 0;
}

/* Floaters of the claim that the settings do not follow yet; moved[] has room for all. True: there are some. */
static bool find_moved(const struct undo *u, const struct claim *c, bool *moved)
{
	bool any = false;

	for (size_t i = 0; i < u->plan.n_settings; i++) {
		int f = u->plan.settings[i].floater;

		if (f >= 0 && (unsigned int)f < c->n_floats && !is_there(&u->plan.settings[i], c->floats[f].now))
			any = moved[f] = true;
	}
	return any;
}

static bool is_marked(const struct claim *c)
{
	for (unsigned int i = 0; i < c->n_floats; i++)
		if (c->floats[i].moved)
			return true;
	return false;
}

/* This start's own claim; NULL: it has none. */
static struct claim *own_claim(struct ledger *l, const struct undo *u)
{
	struct claim *c = ledger_find(l, u->plan.uuid);

	return c && c->generation == u->generation && c->kind == CLAIM_OURS ? c : NULL;
}

/* 1: others have moved it since, that is done now; 0: it is where it should be, and no mark says otherwise. */
static int settle_once(const struct hostfs *fs, struct undo *u)
{
	struct apply_run a = {.fs = fs, .name = u->plan.name, .undo = u};
	_cleanup_(ledger_fini) struct ledger l = {0};
	struct apply_count count = {0};
	_cleanup_close_ int lock = ledger_lock(fs, NULL);
	_cleanup_free_ struct idset *now = NULL;
	_cleanup_free_ bool *moved = NULL;
	struct claim *c;
	bool pending;
	int rc = lock < 0 ? lock : ledger_read_claim(fs, u->plan.uuid, &l, NULL);

	if (rc < 0)
		return rc;
	c = own_claim(&l, u);
	if (!c || !c->n_floats)
		return 0;
	moved = calloc(c->n_floats, sizeof(*moved));
	now = calloc(c->n_floats, sizeof(*now));
	if (!moved || !now)
		return -ENOMEM;
	if (!find_moved(u, c, moved)) {
		for (unsigned int i = 0; i < c->n_floats; i++)
			c->floats[i].moved = false;
		return ledger_write(fs, &l, NULL);
	}
	for (unsigned int i = 0; i < c->n_floats; i++)
		now[i] = *c->floats[i].now;
	cleanup_closep(&lock);
	lock = -1;
	rc = move_floaters(&a, now, moved, c->n_floats, &pending, &count);
	return rc < 0 ? rc : 1;
}

int apply_settle(const struct hostfs *fs, struct undo *u)
{
	_cleanup_(ledger_fini) struct ledger l = {0};
	const struct claim *c;
	int rc;

	if (!u->plan.placement.n_floaters || u->plan.observe)
		return 0;
	/* Nearly always nothing has happened meanwhile; one whole state can be read without the lock. */
	rc = ledger_read_claim(fs, u->plan.uuid, &l, NULL);
	if (rc < 0)
		return rc;
	c = own_claim(&l, u);
	rc = c && is_marked(c);
	for (unsigned int i = 0; i < SETTLE_MAX && rc > 0; i++)
		rc = settle_once(fs, u);
	return rc < 0 ? rc : 0;
}

/* --- all others ------------------------------------------------------------------------------------------------- */

/* "db1 and web2 hold CPUs 2-3 of them": those who claim what the domain should have left. */
static void name_holders(const struct hostfs *fs, const struct idset *left, char *buf, size_t size)
{
	_cleanup_(ledger_fini) struct ledger l = {0};
	unsigned int n = 0, len;

	(void)snprintf(buf, size, "somebody");
	if (ledger_read(fs, &l, NULL) < 0)
		return;
	for (unsigned int i = 0; i < l.n_claims && n < 3; i++) {
		const struct claim *c = &l.claims[i];

		if (c->kind == CLAIM_OBSERVE || !idset_intersects(c->cpus, left))
			continue;
		len = n ? (unsigned int)strlen(buf) : 0;
		(void)snprintf(buf + len, size - len, "%s%.80s", n ? ", " : "", c->name); /* three names, cut */
		n++;
	}
}

/* One warning, which names both sides. was: where it floats still, empty: nobody knows. */
static void log_not_moved(const struct mover *m, const struct guest *g, const struct idset *was, const char *failure)
{
	struct idset left = *was;
	char holders[256], text[128];

	for (unsigned int i = 0; i < g->n; i++)
		idset_andnot(&left, &g->now[i]);
	if (idset_is_empty(&left)) {
		log_warning("%s; it floats where it did", failure);
		return;
	}
	name_holders(m->fs, &left, holders, sizeof(holders));
	if (idset_format(&left, text, sizeof(text)) < 0)
		(void)snprintf(text, sizeof(text), "of %u", idset_count(&left));
	log_warning("%s; it still floats over CPUs %s, which %s should have alone", failure, text, holders);
}

/* What its floating threads are on, as far as that is on record. */
static struct idset recorded_cpus(const struct undo *u)
{
	struct idset all = IDSET_EMPTY, set;

	for (unsigned int i = 0; i < u->n_steps; i++) {
		const struct undo_step *r = &u->steps[i];
		const char *said = r->state == UNDO_DONE ? r->readback : r->before;
		bool floats = false;

		for (size_t j = 0; said && !r->cause && j < u->plan.n_settings && !floats; j++)
			floats = u->plan.settings[j].floater >= 0 && is_of(r, &u->plan.settings[j]);
		if (floats && idset_parse(said, &set) == 0)
			idset_or(&all, &set);
	}
	return all;
}

static enum fate fate_of(const struct apply_run *a, const struct apply_count *count, int rc, bool pending)
{
	if (rc < 0)
		return FATE_FAILED;
	if (count->late)
		return FATE_OVER;
	/* What somebody else has set is his, and was told. */
	if (count->failed && !(a->foreign && !*a->failure))
		return FATE_FAILED;
	return pending && !count->failed ? FATE_MOVED : FATE_THERE;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Where it is to float by now: others may have moved it on since it was picked. False: it is not that start any more. */
static bool look_again(const struct mover *m, struct guest *g)
{
	_cleanup_(ledger_fini) struct ledger l = {0};
	const struct claim *c;
	struct stat st;

	if (hostfs_stat(m->fs, &st, "%s", PATH_LEDGER) == 0 && is_same_file(&st, &m->ledger))
		return true;
	/* One whole state can be read without the lock. */
	if (ledger_read_one(m->fs, g->uuid, &l, NULL) < 0)
		return false;
	c = ledger_find(&l, g->uuid);
	if (!c || c->generation != g->generation || c->n_floats != g->n)
		return false;
	for (unsigned int i = 0; i < g->n; i++)
		g->now[i] = *c->floats[i].now;
	return true;
}

static void move_opened(const struct mover *m, struct guest *g, struct undo *u)
{
	struct apply_run a = {.fs = m->fs, .name = g->name, .undo = u, .quiet = true};
	_cleanup_free_ bool *moved = calloc(g->n, sizeof(*moved));
	struct idset was = recorded_cpus(u);
	struct apply_count count = {0};
	bool pending = false;
	int rc = -ENOMEM;

	if (moved) {
		memset(moved, true, g->n * sizeof(*moved));
		rc = move_floaters(&a, g->now, moved, g->n, &pending, &count);
	}
	g->fate = fate_of(&a, &count, rc, pending);
	if (g->fate != FATE_FAILED)
		return;
	if (!*count.failure)
		(void)snprintf(count.failure, sizeof(count.failure), "%s: its CPUs cannot be changed: %s", g->name,
			       err_name(rc < 0 ? -rc : EIO));
	log_not_moved(m, g, &was, count.failure);
}

static void move_guest(const struct mover *m, struct guest *g)
{
	static const struct idset unknown;
	_cleanup_(undo_fini) struct undo u = {.fd = -1};
	struct err e = {0};
	int rc = undo_open_within(m->fs, g->uuid, WAIT_MS, &u, &e);

	if (rc == -ETIMEDOUT) {
		g->fate = FATE_BUSY;
	} else if (rc < 0) {
		g->fate = FATE_FAILED;
		(void)err_wrap(&e, "%s: its CPUs cannot be changed", g->name);
		log_not_moved(m, g, &unknown, e.text);
	} else if (u.generation != g->generation || u.phase != CLAIM_STARTED || u.plan.observe ||
		   !look_again(m, g)) {
		g->fate = FATE_OVER;
	} else {
		move_opened(m, g, &u);
	}
}

static bool was_tried(const struct mover *m, const char *uuid)
{
	for (unsigned int i = 0; i < m->n_tried; i++)
		if (streq(m->tried[i], uuid))
			return true;
	return false;
}

static int add_guest(struct mover *m, const struct claim *c)
{
	struct guest *g = &m->guests[m->n];

	*g = (struct guest){.generation = c->generation, .n = c->n_floats};
	memcpy(g->uuid, c->uuid, sizeof(g->uuid));
	g->name = strdup(c->name);
	g->now = calloc(c->n_floats, sizeof(*g->now));
	m->n++;
	if (!g->name || !g->now)
		return -ENOMEM;
	for (unsigned int i = 0; i < c->n_floats; i++) {
		g->now[i] = *c->floats[i].now;
		g->has_vcpus |= c->floats[i].vcpus > 0;
	}
	return 0;
}

/*
 * Marks of those that are where the ledger says go away; those that could not be moved are not tried again by this
 * call.
 */
static int settle_marks(struct mover *m, struct ledger *l, bool *changed)
{
	for (unsigned int i = 0; i < m->n; i++) {
		const struct guest *g = &m->guests[i];
		struct claim *c = ledger_find(l, g->uuid);

		if (!c || c->generation != g->generation || c->n_floats != g->n)
			continue;
		if (g->fate != FATE_MOVED && g->fate != FATE_THERE) {
			if (!GROW(m->tried, m->n_tried))
				return -ENOMEM;
			memcpy(m->tried[m->n_tried++], g->uuid, sizeof(g->uuid));
			continue;
		}
		*changed = true;
		for (unsigned int j = 0; j < g->n; j++) {
			/* Whoever has taken the mark away meanwhile may have done so before our write. */
			c->floats[j].moved = !idset_equal(c->floats[j].now, &g->now[j]);
			l->moves |= c->floats[j].moved;
		}
	}
	return 0;
}

static int pick_guests(struct mover *m, const struct ledger *l)
{
	int rc = 0;

	for (unsigned int i = 0; i < l->n_claims && m->n < BATCH && rc == 0; i++) {
		const struct claim *c = &l->claims[i];

		if (c->kind == CLAIM_OURS && c->phase == CLAIM_STARTED && is_marked(c) && !was_tried(m, c->uuid) &&
		    (!m->except || !streq(c->uuid, m->except)))
			rc = add_guest(m, c);
	}
	return rc;
}

/* Under one hold of the lock: the end of the last batch, and the next one. */
static int next_batch(struct mover *m, struct err *e)
{
	_cleanup_(ledger_fini) struct ledger l = {0};
	_cleanup_close_ int lock = ledger_lock(m->fs, e);
	bool changed = false;
	int rc = lock < 0 ? lock : ledger_read(m->fs, &l, e);

	if (rc < 0)
		return rc;
	rc = settle_marks(m, &l, &changed);
	drop_guests(m);
	if (rc == 0)
		rc = pick_guests(m, &l);
	if (rc < 0)
		return err_set(e, -rc, "%s", err_name(-rc));
	/* Everybody was tried; after those that were busy the next call looks once more. */
	if (!m->n && l.moves != (m->n_busy > 0)) {
		l.moves = m->n_busy > 0;
		changed = true;
	}
	rc = changed ? ledger_write(m->fs, &l, e) : 0;
	if (rc == 0 && hostfs_stat(m->fs, &m->ledger, "%s", PATH_LEDGER) < 0)
		memset(&m->ledger, 0, sizeof(m->ledger)); /* it is read once more for each */
	return rc;
}

static void note_moved(struct mover *m, const struct guest *g)
{
	for (unsigned int i = 0; i < g->n; i++) {
		_cleanup_free_ char *text = idset_text(&g->now[i]);
		bool known = !text;

		for (unsigned int j = 0; j < m->n_sets && j < SHOWN_SETS && !known; j++)
			known = streq(m->sets[j], text);
		if (known)
			continue;
		if (m->n_sets < SHOWN_SETS)
			m->sets[m->n_sets] = steal_ptr(&text);
		m->n_sets++;
	}
}

static void count_guest(struct mover *m, const struct guest *g)
{
	m->n_shared += g->fate == FATE_MOVED && g->has_vcpus;
	m->n_other += g->fate == FATE_MOVED && !g->has_vcpus;
	m->n_failed += g->fate == FATE_FAILED;
	m->n_busy += g->fate == FATE_BUSY;
	if (g->fate == FATE_MOVED)
		note_moved(m, g);
}

/* "3 shared guests moved to CPUs 4-7" */
static void log_moved(const struct mover *m)
{
	_cleanup_sbuf_ struct sbuf b = {0};

	if (m->n_shared)
		sbuf_addf(&b, "%u shared guest%s", m->n_shared, m->n_shared == 1 ? "" : "s");
	if (m->n_other)
		sbuf_addf(&b, "%semulator and I/O threads of %u dedicated guest%s", m->n_shared ? ", " : "", m->n_other,
			  m->n_other == 1 ? "" : "s");
	if (!b.len)
		return;
	sbuf_add(&b, " moved to ");
	if (m->n_sets > SHOWN_SETS)
		sbuf_addf(&b, "%u sets of CPUs", m->n_sets);
	for (unsigned int i = 0; i < m->n_sets && m->n_sets <= SHOWN_SETS; i++)
		sbuf_addf(&b, "%s%s", i ? " or " : "CPUs ", m->sets[i]);
	log_notice("%s", b.s);
}

int apply_moves(const struct hostfs *fs, const char *except, struct apply_count *ret, struct err *e)
{
	_cleanup_free_ struct mover *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return err_set(e, ENOMEM, "%s", err_name(ENOMEM));
	m->fs = fs;
	m->except = except;
	while ((rc = next_batch(m, e)) == 0 && m->n)
		for (unsigned int i = 0; i < m->n; i++) {
			move_guest(m, &m->guests[i]);
			count_guest(m, &m->guests[i]);
		}
	log_moved(m);
	ret->in_force += m->n_shared + m->n_other;
	ret->failed += m->n_failed;
	ret->late += m->n_busy;
	mover_fini(m);
	return rc == -ENOENT ? 0 : rc;
}

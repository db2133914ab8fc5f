/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What guests left that ended unseen: found by the ledger, their records and their processes, and undone (apply_undo.c). */
#include "apply_priv.h"
#include "lines.h"
#include "log.h"
#include "num.h"
#include "paths.h"
#include "resctrl.h"

struct remains {
	char uuid[37];
	char name[256]; /* for the log; libvirt's file names end there, too */
	uint64_t generation;
	bool has_claim;
};

struct sweep {
	const struct hostfs *fs;
	struct remains *r;
	unsigned int n, max;
	int n_classes; /* without a claim, that were removed */
};

/* 0, also where it is known or there are enough; -ENOMEM. */
static int add_remains(struct sweep *w, const char *uuid, const char *name, uint64_t generation, bool has_claim)
{
	struct remains *r;

	for (unsigned int i = 0; i < w->n; i++)
		if (streq(w->r[i].uuid, uuid))
			return 0;
	if (w->n == w->max)
		return 0;
	r = GROW(w->r, w->n);
	if (!r)
		return -ENOMEM;
	r->generation = generation;
	r->has_claim = has_claim;
	(void)snprintf(r->uuid, sizeof(r->uuid), "%s", uuid);
	(void)snprintf(r->name, sizeof(r->name), "%s", name);
	w->n++;
	return 0;
}

/* A file without a claim. It may be a running domain's whose ledger was lost: then it is left alone. */
static int add_leftover(struct sweep *w, struct ledger *l, const char *uuid, bool judge_root)
{
	_cleanup_(undo_fini) struct undo u = {.fd = -1};
	struct claim c = {0};

	if (!uuid_is_valid(uuid) || ledger_find(l, uuid))
		return 0;
	if (undo_open(w->fs, uuid, false, &u, NULL) == 0 && u.pid > 0) {
		c.pid = u.pid;
		c.pid_start = u.pid_start;
		if (!claim_is_dead(w->fs, &c, true, judge_root))
			return 0;
	}
	return add_remains(w, uuid, u.plan.name ? u.plan.name : uuid, u.generation, false);
}

static int add_leftovers(struct sweep *w, struct ledger *l, bool judge_root)
{
	static const char *const dirs[] = {PATH_UNDO, PATH_PLAN, PATH_LATE};
	int rc = 0;

	for (size_t i = 0; i < ARRAY_SIZE(dirs) && rc == 0; i++) {
		_cleanup_closedir_ DIR *d = hostfs_opendir(w->fs, "%s", dirs[i]);
		struct dirent *entry;

		while (d && rc == 0 && (entry = readdir(d)))
			rc = add_leftover(w, l, entry->d_name, judge_root);
	}
	return rc;
}

/* Of killed writers. What stays is never read. */
static void clean_temps(const struct hostfs *fs)
{
	static const char *const dirs[] = {PATH_STATE, PATH_CACHE, PATH_PLAN, PATH_UNDO, PATH_LATE};

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		(void)hostfs_clean_temps(fs, "%s", dirs[i]);
}

/* Whether some thread is in a class: then its guest runs, whatever became of our records. */
static bool is_in_use(const struct hostfs *fs, const char *group)
{
	char tasks[16];

	return hostfs_read(fs, tasks, sizeof(tasks), RESCTRL_DIR "/%s/tasks", group) != 0;
}

/* Classes of service that neither a claim nor a record knows: those were lost. */
static void clean_classes(struct sweep *w, struct ledger *l)
{
	_cleanup_closedir_ DIR *d = hostfs_opendir(w->fs, RESCTRL_DIR);
	const struct backend *be = backend_find("resctrl");
	struct dirent *entry;

	while (d && be && (entry = readdir(d))) {
		const char *uuid = entry->d_name + strlen(RESCTRL_PREFIX);
		char object[sizeof(RESCTRL_DIR) + RESCTRL_NAME];
		int rc;

		if (!resctrl_is_ours(entry->d_name) || ledger_find(l, uuid) ||
		    hostfs_exists(w->fs, "%s/%s", PATH_UNDO, uuid) || is_in_use(w->fs, entry->d_name))
			continue;
		(void)snprintf(object, sizeof(object), RESCTRL_DIR "/%s", entry->d_name); /* fits */
		rc = be->write(w->fs, object, "");
		if (rc < 0) {
			log_warning("%s: nobody claims it, and it cannot be removed: %s", object, err_name(-rc));
			continue;
		}
		log_notice("%s: nobody claims it: removed", object);
		w->n_classes++;
	}
}

/* Under the lock: who is dead, and what nobody claims. */
static int find_remains(struct sweep *w, bool thorough, bool judge_root, struct err *e)
{
	_cleanup_(ledger_fini) struct ledger l = {0};
	_cleanup_close_ int lock = ledger_lock(w->fs, e);
	int rc = lock < 0 ? lock : ledger_read(w->fs, &l, e);

	if (rc < 0)
		return rc;
	for (unsigned int i = 0; i < l.n_claims && rc == 0; i++)
		if (claim_is_dead(w->fs, &l.claims[i], true, judge_root))
			rc = add_remains(w, l.claims[i].uuid, l.claims[i].name, l.claims[i].generation, true);
	if (rc < 0)
		return err_set(e, -rc, "%s", err_name(-rc));
	/* Removes what is of another boot, too. */
	if (l.other_boot || l.older)
		rc = ledger_write(w->fs, &l, e);
	if (!thorough || rc < 0)
		return rc;
	clean_temps(w->fs);
	clean_classes(w, &l);
	rc = add_leftovers(w, &l, judge_root);
	return rc < 0 ? err_set(e, -rc, "%s", err_name(-rc)) : 0;
}

static void log_swept(const struct remains *r, const struct apply_count *c)
{
	char undone[128];

	(void)apply_format_undone(c, undone, sizeof(undone));
	log_msg(apply_undone_any(c) ? LOG_LVL_NOTICE : LOG_LVL_DEBUG, "%s %s: %s", r->name,
		r->has_claim ? "has ended unnoticed" : "left over from a crash", undone);
}

/* Shared objects that somebody could not put back, or was killed before he did: nobody claims them any more. */
static void finish_shared(const struct hostfs *fs)
{
	struct apply_run a = {.fs = fs, .name = "host", .undoing = true};
	_cleanup_(ledger_fini) struct ledger l = {0};
	_cleanup_close_ int lock = ledger_lock(fs, NULL);
	struct apply_count count = {0};
	struct err e = {0};
	bool any = false;

	if (lock < 0 || ledger_read(fs, &l, NULL) < 0)
		return;
	for (unsigned int i = 0; i < l.n_shared && !any; i++)
		any = l.shared[i].n_claims == 0 || !l.shared[i].readback;
	if (any && (apply_release_shared(&a, &l, "", NULL, 0, &count, &e) < 0 || ledger_write(fs, &l, &e) < 0))
		log_warning("what several guests shared is not put back: %s", e.text);
}

int apply_sweep(const struct hostfs *fs, bool thorough, bool judge_root, unsigned int max, struct err *e)
{
	struct sweep w = {.fs = fs, .max = max};
	struct apply_count moved = {0};
	struct err moves = {0};
	int rc = find_remains(&w, thorough, judge_root, e), done = w.n_classes, failed = 0;

	for (unsigned int i = 0; i < w.n && rc >= 0; i++) {
		const struct remains *r = &w.r[i];
		struct apply_count count = {0};
		struct err why = {0};
		bool any_generation = !r->has_claim && r->generation == 0; /* an unreadable file, a plan/ alone */
		int undone = any_generation ? undo_all(fs, r->uuid, &count, &why)
					    : undo_start(fs, r->uuid, r->generation, &count, &why);

		if (undone < 0) {
			log_warning("%s: not undone: %s", r->name, why.text);
			failed = undone;
			continue;
		}
		log_swept(r, &count);
		done++;
	}
	free(w.r);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	if (thorough)
		finish_shared(fs);
	if (thorough && apply_moves(fs, NULL, &moved, &moves) < 0)
		log_warning("moves of shared guests: %s", moves.text);
	return failed < 0 && done == 0 ? err_set(e, -failed, "%s", err_name(-failed)) : done;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * domtune verify: is everything as it was left, and, without a domain, is nothing left of domains that are gone.
 * domtune recover: undo what is.
 */
#include <inttypes.h>
#include <stdarg.h>

#include "common/apply.h"
#include "common/hugepool.h"
#include "common/log.h"
#include "common/num.h"
#include "common/paths.h"
#include "common/resctrl.h"
#include "tool/json.h"
#include "tool/out.h"
#include "tool/source.h"
#include "tool/view.h"

struct leftovers {
	char **text;
	size_t n;
	bool failed;
};

PRINTF(2, 3) static void leave(struct leftovers *l, const char *fmt, ...)
{
	char **more = l->failed ? NULL : reallocarray(l->text, l->n + 1, sizeof(*more));
	va_list ap;

	if (!more) {
		l->failed = true;
		return;
	}
	l->text = more;
	va_start(ap, fmt);
	if (vasprintf(&l->text[l->n], fmt, ap) < 0)
		l->failed = true;
	else
		l->n++;
	va_end(ap);
}

static void leftovers_fini(struct leftovers *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->text[i]);
	free(l->text);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Files named by domains that have no claim. */
static int find_files(const struct hostfs *fs, struct ledger *l, const char *dir_path, struct leftovers *ret)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, "%s", dir_path);
	size_t from = ret->n;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	for (const struct dirent *d = readdir(dir); d; d = readdir(dir)) {
		if (streq(d->d_name, ".") || streq(d->d_name, ".."))
			continue;
		if (!uuid_is_valid(d->d_name))
			leave(ret, "%s/%s: not a file of ours", dir_path, d->d_name);
		else if (!ledger_find(l, d->d_name))
			leave(ret, "%s/%s: its domain has no claim", dir_path, d->d_name);
	}
	if (ret->n > from)
		qsort(ret->text + from, ret->n - from, sizeof(*ret->text), by_text);
	return 0;
}

/* Pages that were added to a pool and that no claim needs any more. */
static void find_pages(const struct ledger *l, struct leftovers *ret)
{
	for (unsigned int i = 0; i < l->n_pools; i++) {
		uint64_t pages = hugepool_surplus(l, &l->pools[i]);
		char size[32];

		if (pages)
			leave(ret, "node %d: %" PRIu64 " huge pages of %s that we added, nobody claims them",
			      l->pools[i].node, pages, out_page_size(l->pools[i].size, size, sizeof(size)));
	}
}

/* Domains that were to give way, or to come back, and did not yet. */
static void find_moves(const struct ledger *l, struct leftovers *ret)
{
	for (unsigned int i = 0; i < l->n_claims; i++)
		for (unsigned int k = 0; l->claims[i].phase == CLAIM_STARTED && k < l->claims[i].n_floats; k++) {
			const struct floater *f = &l->claims[i].floats[k];
			_cleanup_free_ char *cpus = idset_text(f->now);

			if (f->moved)
				leave(ret, "%s (%s): was to be moved to CPUs %s", l->claims[i].name, l->claims[i].uuid,
				      cpus ? cpus : "?");
		}
}

/* Classes of service of domains that have no claim. */
static void find_classes(const struct hostfs *fs, struct ledger *l, struct leftovers *ret)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, RESCTRL_DIR);
	size_t from = ret->n;

	for (const struct dirent *d = dir ? readdir(dir) : NULL; d; d = readdir(dir))
		if (resctrl_is_ours(d->d_name) && !ledger_find(l, d->d_name + strlen(RESCTRL_PREFIX)))
			leave(ret, RESCTRL_DIR "/%s: its domain has no claim", d->d_name);
	if (ret->n > from)
		qsort(ret->text + from, ret->n - from, sizeof(*ret->text), by_text);
}

static int find_leftovers(const struct hostfs *fs, struct ledger *l, struct leftovers *ret, struct err *e)
{
	static const char *const dirs[] = { PATH_UNDO, PATH_PLAN, PATH_LATE };

	for (unsigned int i = 0; i < l->n_claims; i++)
		if (claim_is_dead(fs, &l->claims[i], true, false))
			leave(ret, "%s (%s): its process is gone, its claim is not", l->claims[i].name,
			      l->claims[i].uuid);
	for (unsigned int i = 0; i < l->n_shared; i++)
		if (!l->shared[i].n_claims)
			leave(ret, "%s %s: %s is still set by us, nobody claims it", l->shared[i].knob,
			      l->shared[i].target, l->shared[i].object);
	find_pages(l, ret);
	find_moves(l, ret);
	find_classes(fs, l, ret);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		int r = find_files(fs, l, dirs[i], ret);

		if (r < 0)
			return err_set(e, -r, "%s: %s", dirs[i], err_name(-r));
	}
	if (l->bad_lines)
		leave(ret, PATH_LEDGER ": %u damaged lines are ignored", l->bad_lines);
	return ret->failed ? err_set(e, ENOMEM, "%s", err_name(ENOMEM)) : 0;
}

static bool is_shown(const struct view_setting *s)
{
	return !s->pending && (s->effective || s->written || s->note);
}

static void json_domain(struct json *j, const struct view *v)
{
	json_object(j, NULL);
	json_str(j, "name", v->claim->name);
	json_str(j, "uuid", v->claim->uuid);
	json_list(j, "settings");
	for (size_t i = 0; i < v->n_settings; i++) {
		const struct view_setting *s = &v->settings[i];

		if (!is_shown(s))
			continue;
		json_object_line(j, NULL);
		json_str(j, "knob", s->setting->knob);
		json_str(j, "target", s->setting->target);
		json_str(j, "wanted", s->setting->value);
		json_str(j, "written", s->written);
		json_str(j, "effective", s->effective);
		json_bool(j, "ok", s->ok);
		json_str(j, "why", s->note);
		json_close(j);
	}
	json_close(j);
	json_close(j);
}

static void print_domain(const struct view *v)
{
	static const struct out_column columns[] = {
		{ "", false, false },      { "KNOB", false, false },   { "TARGET", false, false },
		{ "WANTED", true, false }, { "WRITTEN", true, false }, { "EFFECTIVE", true, false },
		{ "WHY", true, false },
	};
	struct out_table table;

	out_line(OUT_HEAD, 0, "%s: %s", v->claim->name, v->state);
	out_table_init(&table, columns, ARRAY_SIZE(columns), 2);
	for (size_t i = 0; i < v->n_settings; i++) {
		const struct view_setting *s = &v->settings[i];

		if (!is_shown(s) || (s->is_part && s->ok))
			continue;
		out_cell(&table, s->ok ? OUT_GOOD : OUT_BAD, s->ok ? "ok" : "NO");
		out_cell_str(&table, s->setting->knob);
		out_cell_str(&table, s->setting->target);
		out_cell_str(&table, s->setting->value);
		out_cell_str(&table, s->written);
		out_cell_str(&table, s->effective);
		out_cell(&table, OUT_PLAIN, "%s", s->note ? s->note : "");
	}
	out_table_print(&table);
}

/* Shows one domain. TOOL_NO if anything is not as wanted. */
static int verify_one(struct tool *t, struct ledger *l, const struct claim *c, struct json *j)
{
	struct err e = ERR_INIT;
	int status = TOOL_OK;
	struct view v;
	int r = view_make(&t->fs, l, c, &v, &e);

	if (r < 0)
		return tool_fail_err(c->name, r, &e);
	r = view_look(&t->fs, &v);
	if (r < 0) {
		view_fini(&v);
		return tool_fail_err(c->name, r, NULL);
	}
	for (size_t i = 0; i < v.n_settings; i++)
		if (is_shown(&v.settings[i]) && !v.settings[i].ok)
			status = TOOL_NO;
	if (j)
		json_domain(j, &v);
	else
		print_domain(&v);
	view_fini(&v);
	return status;
}

static int verify_domains(struct tool *t, struct ledger *l, struct json *j)
{
	const struct claim **claims = view_claims(l);
	bool found = !t->n_args;
	int worst = TOOL_OK;

	if (!claims)
		return tool_fail_err("verify", ENOMEM, NULL);
	for (const struct claim **c = claims; *c; c++) {
		if (t->n_args && !view_is_named(*c, t->args[0]))
			continue;
		found = true;
		worst = tool_worse(worst, verify_one(t, l, *c, j));
	}
	free(claims);
	return found ? worst : source_nothing_in_force(t, t->args[0]);
}

static int verify_leftovers(struct tool *t, struct ledger *l, struct json *j)
{
	struct leftovers left = { 0 };
	struct err e = ERR_INIT;
	int status = TOOL_OK;

	if (!t->n_args && find_leftovers(&t->fs, l, &left, &e) < 0)
		status = tool_fail_err("verify", e.code, &e);
	if (left.n)
		status = tool_worse(status, TOOL_NO);
	if (j) {
		json_list(j, "leftovers");
		for (size_t i = 0; i < left.n; i++)
			json_str(j, NULL, left.text[i]);
		json_close(j);
	} else if (left.n) {
		out_section("Left behind (domtune recover)");
		for (size_t i = 0; i < left.n; i++)
			out_line(OUT_BAD, 2, "%s", left.text[i]);
	} else if (!t->n_args && status == TOOL_OK && !l->n_claims) {
		out_line(OUT_GOOD, 0, "nothing is in force, nothing was left behind");
	}
	leftovers_fini(&left);
	return status;
}

int cmd_verify(struct tool *t)
{
	struct json json = JSON_INIT(stdout), *j = tool_has(t, TOOL_OPT_JSON) ? &json : NULL;
	struct err e = ERR_INIT;
	struct ledger l;
	int r = ledger_read(&t->fs, &l, &e);

	if (r < 0)
		return tool_fail_err(tool_path(t, PATH_LEDGER), r, &e);
	if (j) {
		json_object(j, NULL);
		json_u64(j, "version", 1);
		json_list(j, "domains");
	}
	r = verify_domains(t, &l, j);
	if (j)
		json_close(j);
	r = tool_worse(r, verify_leftovers(t, &l, j));
	if (j)
		json_close(j);
	ledger_fini(&l);
	return r;
}

#define SWEEP_AT_ONCE 4096 /* domains per round: room for all of them is made at its start */

static int say_dead(struct tool *t)
{
	struct err e = ERR_INIT;
	struct ledger l;
	int r = ledger_read(&t->fs, &l, &e);

	if (r < 0)
		return tool_fail_err(tool_path(t, PATH_LEDGER), r, &e);
	for (unsigned int i = 0; i < l.n_claims; i++)
		if (claim_is_dead(&t->fs, &l.claims[i], true, t->root != NULL))
			out_line(OUT_PLAIN, 0, "%s (%s) is gone", l.claims[i].name, l.claims[i].uuid);
	ledger_fini(&l);
	return 0;
}

/* One round under the lock: pages taken away (more may be left then), or -errno. */
static int64_t shrink_once(const struct hostfs *fs, struct err *e)
{
	_cleanup_close_ int lock = ledger_lock(fs, e);
	struct ledger l;
	int64_t pages;
	int r;

	if (lock < 0)
		return lock;
	r = ledger_read(fs, &l, e);
	if (r < 0)
		return r;
	pages = l.n_pools ? hugepool_shrink(fs, &l) : 0;
	r = l.n_pools ? ledger_write(fs, &l, e) : 0;
	ledger_fini(&l);
	if (pages < 0)
		return err_set(e, (int)-pages, "huge pages that nobody claims: %s", err_name((int)-pages));
	return r < 0 ? r : pages;
}

/* A host without state has nothing to shrink, and must not get any by being asked. */
static int shrink_pools(struct tool *t, uint64_t *ret)
{
	struct err e = ERR_INIT;
	int64_t pages;

	*ret = 0;
	if (!hostfs_exists(&t->fs, PATH_LEDGER))
		return 0;
	while ((pages = shrink_once(&t->fs, &e)) > 0)
		*ret += (uint64_t)pages;
	return pages < 0 ? tool_fail_err("recover", (int)pages, &e) : 0;
}

int cmd_recover(struct tool *t)
{
	struct err e = ERR_INIT;
	int r = say_dead(t), undone = 0;
	struct apply_count moves = { 0 };
	uint64_t pages = 0;

	if (r)
		return r;
	log_init(&t->fs, true); /* what could not be put back is said by who tried */
	do {
		r = apply_sweep(&t->fs, true, t->root != NULL, SWEEP_AT_ONCE, &e);
		if (r < 0)
			return tool_fail_err("recover", r, &e);
		undone += r;
	} while (r == SWEEP_AT_ONCE);
	r = shrink_pools(t, &pages);
	if (r == 0 && apply_moves(&t->fs, NULL, &moves, &e) < 0)
		r = tool_fail_err("recover", e.code, &e);
	if (undone)
		out_line(OUT_PLAIN, 0, "undone: what %d dead domain%s left behind", undone, undone == 1 ? "" : "s");
	if (pages)
		out_line(OUT_PLAIN, 0, "given back: %" PRIu64 " huge pages", pages);
	if (moves.in_force)
		out_line(OUT_PLAIN, 0, "moved: %u running domain%s", moves.in_force, moves.in_force == 1 ? "" : "s");
	if (!undone && !pages && !moves.in_force && !r)
		out_line(OUT_PLAIN, 0, "nothing was left behind");
	return r ? r : moves.failed ? TOOL_NO : TOOL_OK;
}

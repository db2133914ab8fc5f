/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* domtune profiles: which there are, and what one comes to with everything it inherits. */
#include "common/paths.h"
#include "common/policy.h"
#include "tool/out.h"
#include "tool/site.h"
#include "tool/tool.h"

static size_t count_values(const struct tune *p)
{
	size_t n = 0;

	for (unsigned int id = 0; id < KNOB_ID_MAX; id++)
		n += p->v[id].text != NULL;
	for (size_t i = 0; i < p->n_targets; i++)
		for (unsigned int id = 0; id < KNOB_ID_MAX; id++)
			n += p->targets[i].v[id].text != NULL;
	return n;
}

static int list_profiles(struct tool *t)
{
	static const struct out_column columns[] = {
		{ "PROFILE", false, false },
		{ "INHERITS", false, false },
		{ "TENANTS", false, false },
		{ "VALUES", false, true },
	};
	char **names = profile_names(&t->fs);
	struct out_table table;
	int worst = TOOL_OK;

	if (!names)
		return tool_fail_err("profiles", ENOMEM, NULL);
	out_table_init(&table, columns, ARRAY_SIZE(columns), 0);
	for (char **n = names; *n; n++) {
		struct msgs msgs = { 0 };
		struct tune p = { 0 };
		struct err e = ERR_INIT;
		int r = profile_load(&t->fs, *n, &p, &msgs, &e);

		if (r < 0) {
			worst = tool_fail_err(*n, r, &e);
		} else {
			out_cell_str(&table, *n);
			out_cell_str(&table, p.inherits);
			out_cell_str(&table, p.tenant ? "yes" : "no");
			out_cell(&table, OUT_PLAIN, "%zu", count_values(&p));
			tune_fini(&p);
		}
		msgs_fini(&msgs);
		free(*n);
	}
	free(names);
	if (!table.n_cells && worst == TOOL_OK)
		worst = tool_fail(TOOL_CANNOT, "profiles", "there are none, neither %s nor %s has any",
				  tool_path(t, PATH_ETC "/profiles"), DT_DATADIR "/domtune/profiles");
	out_table_print(&table);
	return worst;
}

static void add_value(struct out_table *table, enum knob_id id, const char *target, const struct value *v)
{
	static const char *const since[] = {
		[KNOB_SINCE_NOW] = "now",
		[KNOB_SINCE_LATER] = "later",
		[KNOB_SINCE_PLANNED] = "later",
		[KNOB_SINCE_DEFINITION] = "later",
	};
	_cleanup_free_ char *knob = site_knob_text(knob_table[id].name, target);
	const char *doc = knob_table[id].doc;
	int clause = (int)strcspn(doc, ":;");

	/* What single words mean follows a colon: the first clause will do here, unless it is such a word itself. */
	if (!memchr(doc, ' ', (size_t)clause))
		clause = (int)strlen(doc);
	out_cell_str(table, knob);
	out_cell_str(table, v->text);
	out_cell_str(table,
		     v->source && str_starts(v->source, "profile ") ? v->source + strlen("profile ") : v->source);
	out_cell(table, OUT_DIM, "%s", since[knob_table[id].since]);
	out_cell(table, OUT_PLAIN, "%.*s", clause, doc);
}

static void show_profile(const char *name, const struct tune *p)
{
	static const struct out_column columns[] = {
		{ "KNOB", false, false },    { "VALUE", true, false },   { "PROFILE", false, false },
		{ "IN FORCE", true, false }, { "MEANING", true, false },
	};
	struct out_table table;
	bool later = false;

	out_line(OUT_HEAD, 0, "%s%s%s%s", name, p->inherits ? ", inherits " : "", p->inherits ? p->inherits : "",
		 p->tenant ? ", open to tenants" : "");
	out_table_init(&table, columns, ARRAY_SIZE(columns), 2);
	for (unsigned int id = 0; id < KNOB_ID_MAX; id++) {
		size_t before = table.n_cells;

		if (p->v[id].text)
			add_value(&table, (enum knob_id)id, "", &p->v[id]);
		for (size_t i = 0; i < p->n_targets; i++)
			if (p->targets[i].v[id].text)
				add_value(&table, (enum knob_id)id, p->targets[i].target, &p->targets[i].v[id]);
		later |= table.n_cells > before && knob_table[id].since != KNOB_SINCE_NOW;
	}
	if (!table.n_cells)
		out_line(OUT_PLAIN, 2, "sets nothing");
	out_table_print(&table);
	if (later)
		out_line(OUT_DIM, 2, "later: read and checked, but this version does nothing about it");
}

int cmd_profiles(struct tool *t)
{
	struct msgs msgs = { 0 };
	struct tune p = { 0 };
	struct err e = ERR_INIT;
	int r;

	if (!t->n_args)
		return list_profiles(t);
	r = profile_load(&t->fs, t->args[0], &p, &msgs, &e);
	for (size_t i = 0; i < msgs.n; i++) {
		char text[1024];

		(void)msg_format(&msgs.m[i], text, sizeof(text));
		tool_note(t->args[0], "%s", text);
	}
	msgs_fini(&msgs);
	if (r == -ENOENT)
		return tool_fail(TOOL_CANNOT, t->args[0], "no such profile");
	if (r < 0)
		return tool_fail_err(t->args[0], r, &e);
	show_profile(t->args[0], &p);
	tune_fini(&p);
	return TOOL_OK;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* domtune without a command, and domtune status: the host in one screen; what is in force and what it was before. */
#include <sys/utsname.h>

#include "common/gate.h"
#include "common/paths.h"
#include "tool/out.h"
#include "tool/site.h"
#include "tool/source.h"
#include "tool/view.h"

/* The division of the CPUs, and what there is of pages. */
struct host_view {
	struct idset reserved, claimed, shared;
	bool enabled;
	const char *mode;
};

static struct host_view host_view(const struct tool *t, const struct site *s)
{
	struct host_view h = { .reserved = place_reserved(&s->host, &s->policy),
			       .claimed = place_claimed(&s->ledger, "") };

	/* A foreign pin may lie on reserved CPUs; the three sets are shown disjoint, as they are used. */
	idset_and(&h.claimed, &s->host.online);
	h.shared = place_shared(&s->host, &h.reserved, &h.claimed);
	idset_andnot(&h.claimed, &h.reserved);
	h.enabled = !gate_is_disabled(&t->fs);
	h.mode = s->policy.mode == POLICY_OBSERVE ? "observe" : "enforce";
	return h;
}

static uint64_t pages_claimed(const struct ledger *l, int node, uint64_t size)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < l->n_claims; i++)
		for (unsigned int k = 0; k < l->claims[i].n_pages; k++) {
			const struct claim_pages *p = &l->claims[i].pages[k];

			if (p->node == node && p->size == size)
				n += p->count;
		}
	return n;
}

/* Of the pages that are there, those that we added. */
static uint64_t pages_grown(const struct ledger *l, int node, uint64_t size)
{
	for (unsigned int i = 0; i < l->n_pools; i++)
		if (l->pools[i].node == node && l->pools[i].size == size)
			return l->pools[i].grown;
	return 0;
}

static void json_set(struct json *j, const char *key, const struct idset *s)
{
	_cleanup_free_ char *text = idset_text(s);

	json_str(j, key, text);
}

static void json_known(struct json *j, const char *key, uint64_t n)
{
	if (n == HOST_UNKNOWN)
		json_null(j, key);
	else
		json_u64(j, key, n);
}

static void json_host(struct json *j, const struct tool *t, const struct site *s)
{
	struct host_view h = host_view(t, s);

	json_object(j, "host");
	json_str(j, "mode", h.mode);
	json_bool(j, "enabled", h.enabled);
	json_set(j, "reserved", &h.reserved);
	json_set(j, "claimed", &h.claimed);
	json_set(j, "shared", &h.shared);
	json_list(j, "pools");
	for (unsigned int i = 0; i < s->host.n_nodes; i++) {
		const struct host_node *n = &s->host.nodes[i];

		for (unsigned int k = 0; k < n->n_pools; k++) {
			json_object_line(j, NULL);
			json_u64(j, "node", (uint64_t)n->id);
			json_u64(j, "size", n->pools[k].size);
			json_known(j, "total", n->pools[k].total);
			json_known(j, "free", n->pools[k].free);
			json_u64(j, "claimed", pages_claimed(&s->ledger, n->id, n->pools[k].size));
			json_close(j);
		}
	}
	json_close(j);
	json_close(j);
}

static void json_why(struct json *j, const struct view_setting *s)
{
	const char *why = s->note ? s->note : s->setting->why;
	_cleanup_free_ char *text = NULL;

	if (s->others && asprintf(&text, "%s; %s", why, s->others) < 0)
		text = NULL;
	json_str(j, "why", text ? text : why);
}

static void json_settings(struct json *j, const struct view *v)
{
	json_list(j, "settings");
	for (size_t i = 0; i < v->n_settings; i++) {
		const struct view_setting *s = &v->settings[i];

		json_object_line(j, NULL);
		json_str(j, "knob", s->setting->knob);
		json_str(j, "target", s->setting->target);
		json_str(j, "value", s->setting->value);
		json_str(j, "effective", view_effective(s));
		json_str(j, "original", s->original);
		json_list(j, "claims");
		for (unsigned int k = 0; s->shared && k < s->shared->n_claims; k++)
			json_str(j, NULL, s->shared->claims[k].uuid);
		json_close(j);
		json_str(j, "source", s->setting->source);
		json_why(j, s);
		json_close(j);
	}
	json_close(j);
}

static void json_domain(struct json *j, const struct view *v)
{
	static const struct plan nothing;
	const struct plan *p = v->has_record ? &v->undo.plan : &nothing;
	char since[32];

	json_object(j, NULL);
	json_str(j, "name", v->claim->name);
	json_str(j, "uuid", v->claim->uuid);
	json_str(j, "state", v->state);
	json_str(j, "profile", p->profile);
	json_bool(j, "wrapper", p->wrapper.present);
	json_str(j, "since", view_time(v->has_record ? v->undo.since : v->claim->since, since, sizeof(since)));
	site_json_placement(j, &p->placement);
	json_settings(j, v);
	site_json_skipped(j, p);
	site_json_warnings(j, &p->warnings);
	json_close(j);
}

static void add_cpus(struct out_table *table, const char *what, const struct idset *s)
{
	_cleanup_free_ char *text = site_set_text(s);

	out_cell(table, OUT_DIM, "%s", what);
	out_cell(table, OUT_PLAIN, "%u", idset_count(s));
	out_cell_str(table, text);
}

static void print_host(const struct tool *t, const struct site *s)
{
	static const struct out_column columns[] = { { NULL, false, false },
						     { NULL, false, true },
						     { NULL, true, false } };
	struct host_view h = host_view(t, s);
	struct utsname u;
	struct out_table table;

	out_line(OUT_HEAD, 0, "domtune %s on %s: %s%s", DT_VERSION,
		 t->root          ? t->root
		 : uname(&u) == 0 ? u.nodename
				  : "this host",
		 h.enabled ? "enabled" : "disabled", s->policy.mode == POLICY_OBSERVE ? ", only observing" : "");
	if (!h.enabled)
		out_line(OUT_WARN, 2, "%s exists: nothing new is tuned; domtune enable", tool_path(t, PATH_DISABLED));
	if (s->policy.msgs.n)
		out_line(OUT_WARN, 2, "%s: %zu messages%s, see domtune check", tool_path(t, PATH_POLICY),
			 s->policy.msgs.n, s->policy.builtin ? ", the built-in policy is in force" : "");
	out_section("CPUs");
	out_table_init(&table, columns, ARRAY_SIZE(columns), 2);
	add_cpus(&table, "online", &s->host.online);
	add_cpus(&table, "reserved", &h.reserved);
	add_cpus(&table, "claimed", &h.claimed);
	add_cpus(&table, "shared", &h.shared);
	if (!idset_is_empty(&s->host.exclusive))
		add_cpus(&table, "kept by others", &s->host.exclusive);
	out_table_print(&table);
	if (!idset_is_empty(&s->host.exclusive))
		out_line(OUT_PLAIN, 2, "kept by others: an exclusive cpuset, %s", s->host.exclusive_name);
}

/* "2M: 1020 free of 1024 (4 claimed, 2 added by us)" per size. */
static char *pools_text(const struct site *s, const struct host_node *n)
{
	struct sbuf b = { 0 };

	for (unsigned int k = 0; k < n->n_pools; k++) {
		const struct host_pool *p = &n->pools[k];
		uint64_t claimed = pages_claimed(&s->ledger, n->id, p->size);
		uint64_t grown = pages_grown(&s->ledger, n->id, p->size);
		char size[32];

		if (!p->total && !claimed && !grown)
			continue;
		sbuf_addf(&b, "%s%s: ", b.len ? ", " : "", out_page_size(p->size, size, sizeof(size)));
		if (p->total == HOST_UNKNOWN || p->free == HOST_UNKNOWN)
			sbuf_add(&b, "unknown");
		else
			sbuf_addf(&b, "%llu free of %llu", (unsigned long long)p->free, (unsigned long long)p->total);
		if (claimed || grown)
			sbuf_addf(&b, " (%llu claimed", (unsigned long long)claimed);
		if (grown)
			sbuf_addf(&b, ", %llu added by us", (unsigned long long)grown);
		if (claimed || grown)
			sbuf_add(&b, ")");
	}
	return sbuf_steal(&b);
}

static void cell_size(struct out_table *table, uint64_t bytes)
{
	char text[32];

	out_cell(table, OUT_PLAIN, "%s", bytes == HOST_UNKNOWN ? "?" : out_size(bytes, text, sizeof(text)));
}

static void print_nodes(const struct site *s)
{
	static const struct out_column columns[] = {
		{ "NODE", false, true }, { "CPUS", true, false },       { "MEMORY", false, true },
		{ "FREE", false, true }, { "HUGE PAGES", true, false },
	};
	struct out_table table;

	out_section("Memory");
	out_table_init(&table, columns, ARRAY_SIZE(columns), 2);
	for (unsigned int i = 0; i < s->host.n_nodes; i++) {
		const struct host_node *n = &s->host.nodes[i];
		_cleanup_free_ char *cpus = site_set_text(&n->cpus), *pools = pools_text(s, n);

		out_cell(&table, OUT_PLAIN, "%d", n->id);
		out_cell_str(&table, cpus);
		cell_size(&table, n->mem_total);
		cell_size(&table, n->mem_free);
		out_cell_str(&table, pools);
	}
	out_table_print(&table);
}

/* "4 on 0-3,8, others on 0-7" (others: threads that are no vCPUs); "" for a domain that floats nowhere. */
static char *floats_text(const struct claim *c)
{
	struct sbuf b = { 0 };

	for (unsigned int i = 0; i < c->n_floats; i++) {
		_cleanup_free_ char *cpus = site_set_text(c->floats[i].now);

		if (c->floats[i].vcpus)
			sbuf_addf(&b, "%s%u", b.len ? ", " : "", c->floats[i].vcpus);
		else
			sbuf_addf(&b, "%sothers", b.len ? ", " : "");
		sbuf_addf(&b, " on %s%s", cpus ? cpus : "?", c->floats[i].moved ? " (soon)" : "");
	}
	return sbuf_steal(&b);
}

static enum out_style state_style(const char *state)
{
	return streq(state, "started") ? OUT_GOOD : streq(state, "dead") ? OUT_BAD : OUT_PLAIN;
}

static void print_domains(const struct tool *t, const struct site *s, const struct claim *const *claims)
{
	static const struct out_column columns[] = {
		{ "NAME", true, false },     { "STATE", false, false },     { "CPUS", true, false },
		{ "FLOATING", true, false }, { "HUGE PAGES", true, false }, { "SINCE", false, false },
	};
	struct out_table table;
	char text[32];

	out_section("Domains");
	if (!*claims)
		out_line(OUT_PLAIN, 2, "none is tuned%s", s->ledger.foreign_read ? "" : " since this host was started");
	out_table_init(&table, columns, ARRAY_SIZE(columns), 2);
	for (; *claims; claims++) {
		const struct claim *c = *claims;
		_cleanup_free_ char *cpus = site_set_text(c->cpus), *floats = floats_text(c);
		struct sbuf pages = { 0 };
		_cleanup_free_ char *pages_text = NULL;
		const char *state = view_state(&t->fs, c);

		for (unsigned int i = 0; i < c->n_pages; i++)
			if (c->pages[i].size)
				sbuf_addf(&pages, "%s%llu x %s on node %d", pages.len ? ", " : "",
					  (unsigned long long)c->pages[i].count,
					  out_page_size(c->pages[i].size, text, sizeof(text)), c->pages[i].node);
		pages_text = sbuf_steal(&pages);
		out_cell_str(&table, c->name);
		out_cell(&table, state_style(state), "%s", state);
		out_cell_str(&table, cpus);
		out_cell_str(&table, floats);
		out_cell_str(&table, pages_text);
		out_cell_str(&table, view_time(c->since, text, sizeof(text)));
	}
	out_table_print(&table);
}

/* Status and summary show dead claims too: they hold what they hold until somebody undoes them. */
static int load(struct tool *t, struct site *s)
{
	struct err e = ERR_INIT;
	int r = site_load(t, s);

	if (r)
		return r;
	ledger_fini(&s->ledger);
	r = ledger_read(&t->fs, &s->ledger, &e);
	if (r == 0)
		return 0;
	s->ledger = (struct ledger){ 0 };
	site_fini(s);
	return tool_fail_err(tool_path(t, PATH_LEDGER), r, &e);
}

int cmd_summary(struct tool *t)
{
	const struct claim **claims;
	struct site s;
	int r = load(t, &s);

	if (r)
		return r;
	claims = view_claims(&s.ledger);
	if (claims) {
		print_host(t, &s);
		print_nodes(&s);
		print_domains(t, &s, claims);
	} else {
		r = tool_fail_err("status", ENOMEM, NULL);
	}
	free(claims);
	site_fini(&s);
	return r;
}

/* A value that the kernel has in other words (a weight as cpu.shares) needs to say so. */
static void add_effective(struct out_table *table, const struct view_setting *s)
{
	enum out_style style = s->pending ? OUT_DIM : s->ok ? OUT_GOOD : OUT_BAD;

	if (!s->effective)
		out_cell(table, style, "%s", s->pending ? "not yet" : "-");
	else if (!streq(s->effective, view_effective(s)))
		out_cell(table, style, "%s (%s %s)", view_effective(s), s->where, s->effective);
	else if (s->ok && s->where && !streq(s->effective, s->setting->value))
		out_cell(table, style, "%s (%s)", s->effective, s->where);
	else
		out_cell(table, style, "%s", s->effective);
}

static void print_settings(const struct view *v)
{
	static const struct out_column columns[] = {
		{ "KNOB", false, false },     { "TARGET", false, false },  { "VALUE", true, false },
		{ "EFFECTIVE", true, false }, { "ORIGINAL", true, false }, { "SOURCE", true, false },
		{ "WHY", true, false },
	};
	struct out_table table;

	out_table_init(&table, columns, ARRAY_SIZE(columns), 2);
	for (size_t i = 0; i < v->n_settings; i++) {
		const struct view_setting *s = &v->settings[i];

		if (s->is_part && s->ok)
			continue; /* their setting says how many */
		out_cell_str(&table, s->setting->knob);
		out_cell_str(&table, s->setting->target);
		out_cell_str(&table, s->setting->value);
		add_effective(&table, s);
		out_cell_str(&table, s->original);
		out_cell_str(&table, s->setting->source);
		if (s->others)
			out_cell(&table, OUT_PLAIN, "%s; %s", s->note ? s->note : s->setting->why, s->others);
		else if (s->shared && s->shared->n_claims > 1)
			out_cell(&table, OUT_PLAIN, "%s; %u domains want it", s->note ? s->note : s->setting->why,
				 s->shared->n_claims);
		else
			out_cell(&table, OUT_PLAIN, "%s", s->note ? s->note : s->setting->why);
	}
	out_table_print(&table);
}

static void print_domain(const struct view *v)
{
	const struct plan *p = &v->undo.plan;
	_cleanup_free_ char *cpus = site_set_text(v->claim->cpus);
	char since[32];

	(void)putchar('\n');
	out_line(OUT_HEAD, 0, "%s: %s since %s%s%s%s", v->claim->name, v->state,
		 view_time(v->has_record ? v->undo.since : v->claim->since, since, sizeof(since)),
		 v->has_record && p->profile && *p->profile ? ", profile " : "",
		 v->has_record && p->profile ? p->profile : "", v->has_record && p->wrapper.present ? ", wrapped" : "");
	if (!idset_is_empty(v->claim->cpus) && cpus)
		out_line(OUT_PLAIN, 2, "%s CPUs %s", v->claim->kind == CLAIM_FOREIGN ? "occupies" : "claims", cpus);
	if (v->claim->n_floats) {
		_cleanup_free_ char *floats = floats_text(v->claim);

		out_line(OUT_PLAIN, 2, "floats, by number of vCPUs: %s", floats ? floats : "?");
	}
	if (v->undo.bad_lines)
		out_line(OUT_WARN, 2, "%u lines of its record are damaged", v->undo.bad_lines);
	if (!v->has_record)
		return;
	print_settings(v);
	site_print_skipped(p);
	site_print_warnings(&p->warnings);
}

static int show_domains(struct tool *t, struct site *s, const struct claim *const *claims, struct json *j)
{
	bool found = !t->n_args;
	int worst = TOOL_OK;

	for (; *claims; claims++) {
		struct err e = ERR_INIT;
		struct view v;
		int r;

		if (t->n_args && !view_is_named(*claims, t->args[0]))
			continue;
		found = true;
		r = view_make(&t->fs, &s->ledger, *claims, &v, &e);
		if (r < 0) {
			worst = tool_fail_err((*claims)->name, r, &e);
			continue;
		}
		if (j)
			json_domain(j, &v);
		else
			print_domain(&v);
		view_fini(&v);
	}
	return found ? worst : source_nothing_in_force(t, t->args[0]);
}

int cmd_status(struct tool *t)
{
	struct json json = JSON_INIT(stdout), *j = tool_has(t, TOOL_OPT_JSON) ? &json : NULL;
	const struct claim **claims;
	struct site s;
	int r = load(t, &s);

	if (r)
		return r;
	claims = view_claims(&s.ledger);
	if (!claims) {
		site_fini(&s);
		return tool_fail_err("status", ENOMEM, NULL);
	}
	if (j) {
		json_object(j, NULL);
		json_u64(j, "version", 1);
		json_host(j, t, &s);
		json_list(j, "domains");
	} else if (!t->n_args) {
		print_host(t, &s);
		if (!*claims)
			print_domains(t, &s, claims);
	}
	r = show_domains(t, &s, claims, j);
	if (j) {
		json_close(j);
		json_close(j);
	}
	free(claims);
	site_fini(&s);
	return r;
}

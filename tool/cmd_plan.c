/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * domtune plan: the plan of a start, made as `decide` makes it, and shown. Nothing is locked and nothing written:
 * what is claimed a moment later is another plan.
 */
#include "tool/out.h"
#include "tool/site.h"
#include "tool/source.h"

static void show_json(struct json *j, const struct planned *p)
{
	const struct plan *plan = &p->plan;

	json_object(j, NULL);
	json_u64(j, "version", 1);
	json_object_line(j, "domain");
	json_str(j, "name", plan->name);
	json_str(j, "uuid", plan->uuid);
	json_close(j);
	json_str(j, "profile", plan->profile);
	json_str(j, "profile_source", site_source_name(plan->profile_source));
	json_str(j, "on_error", plan->fail ? "fail" : "warn");
	json_bool(j, "wrapper", plan->wrapper.present);
	json_str_or_null(j, "refused", plan->refused);
	site_json_placement(j, &plan->placement);
	json_list(j, "settings");
	for (size_t i = 0; i < plan->n_settings; i++) {
		const struct setting *s = &plan->settings[i];

		json_object_line(j, NULL);
		json_str(j, "knob", s->knob);
		json_str(j, "target", s->target);
		json_str(j, "stage", stage_name(s->stage));
		json_str(j, "value", s->value);
		json_str(j, "current", s->current);
		json_str(j, "source", s->source);
		json_str(j, "why", s->why);
		json_close(j);
	}
	json_close(j);
	site_json_skipped(j, plan);
	site_json_warnings(j, &plan->warnings);
	json_close(j);
}

/* One line per source of values: "profile latency   cpu.policy=dedicated memory.pages=auto". */
static void show_asked(const struct intent *in)
{
	static const struct out_column columns[] = { { NULL, false, false }, { NULL, true, false } };
	struct ask {
		const char *source;
		const char *knob, *value, *target;
	};
	_cleanup_free_ struct ask *asks = calloc(KNOB_ID_MAX * (in->n_targets + 1), sizeof(*asks));
	struct out_table t;
	size_t n = 0;

	if (!asks)
		return;
	for (size_t set = 0; set <= in->n_targets; set++) {
		const struct value *v = set ? in->targets[set - 1].v : in->v;

		for (unsigned int id = 0; id < KNOB_ID_MAX; id++)
			if (v[id].text)
				asks[n++] = (struct ask){ v[id].source ? v[id].source : "", knob_table[id].name,
							  v[id].text, set ? in->targets[set - 1].target : "" };
	}
	out_table_init(&t, columns, ARRAY_SIZE(columns), 2);
	for (size_t i = 0; i < n; i++) {
		struct sbuf b = { 0 };
		_cleanup_free_ char *text = NULL;
		const char *source = asks[i].source;

		if (!source)
			continue; /* said with an earlier one */
		for (size_t k = i; k < n; k++) {
			_cleanup_free_ char *knob = NULL;

			if (!asks[k].source || !streq(asks[k].source, source))
				continue;
			knob = site_knob_text(asks[k].knob, asks[k].target);
			sbuf_addf(&b, "%s%s=%s", b.len ? " " : "", knob ? knob : "?", asks[k].value);
			if (k > i)
				asks[k].source = NULL;
		}
		text = sbuf_steal(&b);
		out_cell_str(&t, source);
		out_cell_str(&t, text);
	}
	if (n)
		out_section("Asked");
	out_table_print(&t);
}

static void add_place_row(struct out_table *t, const char *what, const char *value, const char *why)
{
	out_cell(t, OUT_DIM, "%s", what);
	out_cell_str(t, value);
	out_cell(t, OUT_PLAIN, "%s", why);
}

/* "0 on 2, 1 on 3", or "0-7 on 4-11" for neighbours with the same CPUs. */
static char *vcpus_text(const struct placement *p)
{
	struct sbuf b = { 0 };

	for (unsigned int i = 0; i < p->n_vcpus;) {
		_cleanup_free_ char *cpus = site_set_text(&p->vcpus[i].cpus);
		unsigned int to = i;

		if (idset_is_empty(&p->vcpus[i].cpus)) { /* offline */
			i++;
			continue;
		}
		while (to + 1 < p->n_vcpus && idset_equal(&p->vcpus[to + 1].cpus, &p->vcpus[i].cpus))
			to++;
		sbuf_addf(&b, "%s%u", b.len ? ", " : "", i);
		if (to > i)
			sbuf_addf(&b, "-%u", to);
		sbuf_addf(&b, " on %s", cpus ? cpus : "?");
		i = to + 1;
	}
	return sbuf_steal(&b);
}

/* What the pools lack, and each guest cell's place. */
static void show_memory_parts(struct out_table *t, const struct placement *p)
{
	for (unsigned int i = 0; i < p->n_cells; i++) {
		_cleanup_free_ char *nodes = site_set_text(&p->cells[i].nodes);
		char what[32], text[128], size[32];

		(void)snprintf(what, sizeof(what), "guest cell %u", p->cells[i].id); /* fits */
		(void)snprintf(text, sizeof(text), "%s%s%s%s", place_node_word(&p->cells[i].nodes), nodes ? nodes : "?",
			       p->cells[i].page_size ? ", pages of " : "",
			       p->cells[i].page_size ? out_page_size(p->cells[i].page_size, size, sizeof(size))
						     : ""); /* cut is fine: it has one node */
		add_place_row(t, what, text, "");
	}
	for (unsigned int i = 0; i < p->n_pages; i++) {
		char text[96], size[32];

		if (p->pages[i].size == 0 || p->pages[i].grow == 0)
			continue;
		(void)snprintf(text, sizeof(text), "%llu x %s on node %d", (unsigned long long)p->pages[i].grow,
			       out_page_size(p->pages[i].size, size, sizeof(size)), p->pages[i].node); /* fits */
		add_place_row(t, "added", text, "to the pool before it starts, taken away when it stops");
	}
}

/* Where what floats will be once others give back what they hold; not there with CPUs that this domain has itself. */
static void show_homes(struct out_table *t, const struct placement *p)
{
	for (unsigned int i = 0; i < p->n_floaters; i++) {
		const struct place_floater *f = &p->floaters[i];
		struct idset own_home = f->home;
		_cleanup_free_ char *home = NULL;

		idset_andnot(&own_home, &p->claimed);
		if (idset_is_empty(&own_home) || idset_equal(&own_home, &f->now))
			continue;
		home = site_set_text(&own_home);
		add_place_row(t, f->vcpus ? "vCPUs later" : "others later", home,
			      "when no other guest holds any of these CPUs");
	}
}

/* Huge pages of the definition's own. */
static void show_own_pages(struct out_table *t, const struct placement *p)
{
	for (unsigned int i = 0; i < p->n_pages; i++) {
		char text[96], size[32];

		if (p->pages[i].size == 0)
			continue;
		(void)snprintf(text, sizeof(text), "%llu x %s on node %d", (unsigned long long)p->pages[i].count,
			       out_page_size(p->pages[i].size, size, sizeof(size)), p->pages[i].node); /* fits */
		add_place_row(t, "pages", text, p->why_pages);
	}
}

static void show_placement(const struct plan *plan)
{
	static const struct out_column columns[] = { { NULL, false, false },
						     { NULL, true, false },
						     { NULL, true, false } };
	const struct placement *p = &plan->placement;
	_cleanup_free_ char *vcpus = vcpus_text(p), *nodes = site_set_text(&p->nodes);
	_cleanup_free_ char *memory = site_set_text(&p->memory_nodes), *emulator = site_set_text(&p->emulator);
	struct out_table t;
	char ram[32], text[128];

	if (!vcpus || !nodes || !memory || !emulator)
		return;
	out_section("Placement");
	out_table_init(&t, columns, ARRAY_SIZE(columns), 2);
	(void)snprintf(text, sizeof(text), "%s%s%s%s", place_policy_name(p->policy),
		       idset_is_empty(&p->nodes) ? "" : ", ",
		       idset_is_empty(&p->nodes) ? "" : place_node_word(&p->nodes),
		       idset_is_empty(&p->nodes) ? "" : nodes);
	add_place_row(&t, "CPUs", text, p->why_cpus);
	if (p->n_vcpus)
		add_place_row(&t, "vCPUs", vcpus, "");
	if (!idset_is_empty(&p->claimed)) {
		_cleanup_free_ char *claimed = site_set_text(&p->claimed);

		add_place_row(&t, "claimed", claimed, "taken from everybody else while it runs");
	}
	show_homes(&t, p);
	if (!idset_is_empty(&p->emulator))
		add_place_row(&t, "emulator", emulator, p->why_emulator);
	for (unsigned int i = 0; i < p->n_iothreads; i++) {
		_cleanup_free_ char *cpus = site_set_text(&p->iothreads[i].cpus);
		char what[32];

		(void)snprintf(what, sizeof(what), "I/O thread %u", p->iothreads[i].id);
		if (!idset_is_empty(&p->iothreads[i].cpus))
			add_place_row(&t, what, cpus, p->why_iothreads);
	}
	if (!idset_is_empty(&p->memory_nodes)) {
		(void)snprintf(text, sizeof(text), "%s, %s %s", out_size(plan->memory, ram, sizeof(ram)),
			       place_memory_name(p->memory_policy), place_node_word(&p->memory_nodes));
		out_cell(&t, OUT_DIM, "memory");
		out_cell(&t, OUT_PLAIN, "%s%s", text, memory);
		out_cell(&t, OUT_PLAIN, "%s", p->why_nodes);
	}
	if (p->page_size || p->thp) {
		(void)snprintf(text, sizeof(text), "%s",
			       p->page_size ? out_page_size(p->page_size, ram, sizeof(ram)) : "THP");
		add_place_row(&t, "pages", text, p->why_pages);
	} else {
		show_own_pages(&t, p);
	}
	show_memory_parts(&t, p);
	out_table_print(&t);
}

/* Neighbours that differ in the number of their target and in value only are one row: 64 vCPUs are not 64 rows. */
static bool same_row(const struct setting *a, const struct setting *b)
{
	size_t word = strcspn(a->target, "0123456789");

	return word && a->target[word] && strncmp(a->target, b->target, word) == 0 && a->stage == b->stage &&
	       streq(a->knob, b->knob) && streq(a->source, b->source) && streq(a->why, b->why) && !*a->current &&
	       !*b->current;
}

static void add_values(struct out_table *t, const struct setting *s, size_t n)
{
	struct sbuf values = { 0 };
	_cleanup_free_ char *text = NULL;
	bool equal = true;

	for (size_t i = 1; i < n; i++)
		equal &= streq(s[i].value, s[0].value);
	for (size_t i = 0; i < (equal ? 1 : n); i++)
		sbuf_addf(&values, "%s%s", i ? " " : "", s[i].value);
	if (*s->current)
		sbuf_addf(&values, " (now %s)", s->current);
	text = sbuf_steal(&values);
	out_cell_str(t, text);
}

static void show_settings(const struct plan *p)
{
	static const struct out_column columns[] = {
		{ "KNOB", false, false }, { "TARGET", true, false }, { "VALUE", true, false },
		{ "WHEN", false, false }, { "SOURCE", true, false }, { "WHY", true, false },
	};
	struct out_table t;

	if (!p->n_settings)
		return;
	out_section(p->observe ? "Settings that would be made (observe mode)" : "Settings");
	out_table_init(&t, columns, ARRAY_SIZE(columns), 2);
	for (size_t i = 0; i < p->n_settings;) {
		const struct setting *s = &p->settings[i];
		size_t n = 1;

		while (i + n < p->n_settings && same_row(&s[n], s))
			n++;
		out_cell_str(&t, s->knob);
		if (n > 1)
			out_cell(&t, OUT_PLAIN, "%s..%s", s->target,
				 s[n - 1].target + strcspn(s[n - 1].target, "0123456789"));
		else
			out_cell_str(&t, s->target);
		add_values(&t, s, n);
		out_cell_str(&t, stage_name(s->stage));
		out_cell_str(&t, s->source);
		out_cell_str(&t, s->why);
		i += n;
	}
	out_table_print(&t);
}

static void show_text(const struct planned *p)
{
	const struct plan *plan = &p->plan;
	char from[64] = "";

	if (plan->profile_source == PROFILE_RULE)
		(void)snprintf(from, sizeof(from), " (rule %u)", p->intent.rule);
	else if (plan->profile_source != PROFILE_NONE)
		(void)snprintf(from, sizeof(from), " (%s)", site_source_name(plan->profile_source));
	out_line(OUT_HEAD, 0, "%s: %s%s%s, %s%s", plan->name, *plan->profile ? "profile " : "no profile", plan->profile,
		 from, plan->wrapper.present ? "wrapped" : "without the wrapper", plan->fail ? ", on-error fail" : "");
	if (plan->refused)
		out_line(OUT_BAD, 0, "refused: %s", plan->refused);
	show_asked(&p->intent);
	if (plan_is_empty(plan)) {
		out_section("Nothing would be done.");
	} else {
		show_placement(plan);
		show_settings(plan);
	}
	site_print_skipped(plan);
	site_print_warnings(&plan->warnings);
}

/* One domain. 0, TOOL_NO (refused), or why not. */
static int plan_one(struct tool *t, const struct site *site, struct source *source, const char *operand, struct json *j)
{
	struct source_xml xml = { 0 };
	struct plan_options o = { .profile = t->profile, .sets = t->sets };
	struct planned p = { 0 };
	int r;

	r = source_read(source, operand, tool_has(t, TOOL_OPT_LIVE), &xml);
	if (r)
		return r;
	o.running = xml.running;
	r = site_plan(t, site, streq(operand, "-") ? "stdin" : operand, xml.text, xml.len, &o, &p);
	free(xml.text);
	if (r)
		return r;
	if (j)
		show_json(j, &p);
	else
		show_text(&p);
	r = p.plan.refused ? TOOL_NO : TOOL_OK;
	planned_fini(&p);
	return r;
}

static int plan_all(struct tool *t, const struct site *site, struct source *source, struct json *j)
{
	char **names = NULL;
	int r, worst = TOOL_OK;

	r = source_names(source, &names);
	if (r)
		return r;
	if (j)
		json_list(j, NULL);
	for (char **n = names; *n; n++) {
		if (!j && n > names)
			out_line(OUT_PLAIN, 0, "%s", "");
		worst = tool_worse(worst, plan_one(t, site, source, *n, j));
	}
	if (j)
		json_close(j);
	virt_free_names(names);
	return worst;
}

int cmd_plan(struct tool *t)
{
	struct json json = JSON_INIT(stdout), *j = tool_has(t, TOOL_OPT_JSON) ? &json : NULL;
	struct source source = { .t = t };
	struct site site;
	int r;

	r = site_load(t, &site);
	if (r)
		return r;
	r = t->n_args ? plan_one(t, &site, &source, t->args[0], j) : plan_all(t, &site, &source, j);
	source_fini(&source);
	site_fini(&site);
	return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who wants what, and who may. The annotation is read first and cut down to what the policy lets it say; then the
 * profile is found (annotation, rule, default; one that cannot be had counts as absent); then values are
 * laid over each other; then the policy's limits. Each value keeps the name of who set it.
 */
#include "intent.h"

#include <inttypes.h>

#define SOURCE_ANNOTATION "annotation"
#define SOURCE_LIMIT "limit"

/*
 * "cpu.policy=shared", "disk[vda].io=native", "disk.io=native" into an annotation. A target may hold anything
 * but "]" (a MAC address has colons, a device name dots).
 */
static int parse_override(struct tune *a, const char *text, struct err *e)
{
	const char *bracket = text + strcspn(text, "[.="), *rest = bracket, *equals;
	_cleanup_free_ char *element = strndup(text, (size_t)(bracket - text)), *target = NULL, *attribute = NULL;
	char shown[KNOB_SHOW_SIZE];
	struct value value = { 0 };
	enum knob_element el;
	enum knob_id id;
	struct value *values = a->v;
	int r;

	knob_show(text, shown);
	if (*bracket == '[') {
		rest = strchr(bracket, ']');
		if (!rest || rest == bracket + 1)
			return err_set(e, EINVAL, "'%s' is not ELEMENT[TARGET].ATTRIBUTE=VALUE", shown);
		target = strndup(bracket + 1, (size_t)(rest - bracket - 1));
		rest++;
	}
	equals = *rest == '.' ? strchr(rest, '=') : NULL;
	if (!equals)
		return err_set(e, EINVAL, "'%s' is not ELEMENT.ATTRIBUTE=VALUE", shown);
	attribute = strndup(rest + 1, (size_t)(equals - rest - 1));
	if (!element || !attribute || (*bracket == '[' && !target))
		return err_set(e, ENOMEM, "out of memory");
	id = knob_find(element, attribute);
	if (id == KNOB_ID_MAX)
		return err_set(e, EINVAL, "'%s': there is no %s.%s", shown, element, attribute);
	el = knob_table[id].element;
	if (target && !knob_element_is_repeatable(el))
		return err_set(e, EINVAL, "'%s': %s has no targets", shown, element);
	r = knob_parse_value(id, equals + 1, &value, e);
	if (r < 0)
		return r == -ENOMEM ? r : -EINVAL;
	if (knob_element_is_repeatable(el)) {
		struct tune_target *t = tune_add_target(a, el, target ? target : "*");

		if (!t) {
			value_fini(&value);
			return err_set(e, ENOMEM, "out of memory");
		}
		values = t->v;
	}
	value_fini(&values[id]);
	values[id] = value;
	return 0;
}

static bool has_values(const struct tune *t)
{
	for (enum knob_id id = 0; id < KNOB_ID_MAX; id++)
		if (t->v[id].text)
			return true;
	return t->n_targets > 0;
}

/* Keep of an annotation what the policy lets it say; what is cut is one warning. */
static void cut_down(const struct policy *p, struct tune *a, struct msgs *msgs)
{
	_cleanup_free_ char *name = NULL;

	if (p->annotations == POLICY_ANNOTATIONS_ALL)
		return;
	if (p->annotations == POLICY_ANNOTATIONS_PROFILES) {
		name = steal_ptr(&a->name);
		if (has_values(a) || a->fail)
			msgs_warn(msgs, "the policy lets annotations only name a profile: "
					"the rest of this one is ignored");
	} else if (a->name || has_values(a) || a->fail) {
		msgs_warn(msgs, "the policy ignores annotations");
	}
	tune_fini(a);
	a->name = steal_ptr(&name);
}

/* The annotation with what was given on the command line over it. */
static int read_annotation(const struct policy *p, const struct domain *d, const char *profile, char *const *overrides,
			   struct tune *ret, struct msgs *msgs, struct err *e)
{
	/* What is wrong with ignored parts is nobody's business. */
	bool quiet = p->annotations != POLICY_ANNOTATIONS_ALL;
	struct msgs unheard = { 0 };
	int r = d->tune ? tune_parse(d->tune, "", ret, quiet ? &unheard : msgs) : 0;

	msgs_fini(&unheard);
	if (!r && profile) {
		free(ret->name);
		ret->name = strdup(profile);
		r = ret->name ? 0 : -ENOMEM;
	}
	for (; !r && overrides && *overrides; overrides++)
		r = parse_override(ret, *overrides, e);
	if (!r) {
		cut_down(p, ret, msgs);
		r = tune_set_source(ret, SOURCE_ANNOTATION);
	}
	return r;
}

/* An annotation, a rule and the default may name the same missing profile: that is one warning. */
static bool is_said(const struct msgs *msgs, const char *text)
{
	for (size_t i = 0; i < msgs->n; i++)
		if (streq(msgs->m[i].text, text))
			return true;
	return false;
}

/*
 * 1: loaded; 0: it cannot be had, which is in msgs; -ENOMEM. Profiles' own messages (a shipped file edited badly)
 * count as well.
 */
static int try_profile(const struct hostfs *fs, const char *name, bool must_be_tenant, struct tune *ret,
		       struct msgs *msgs)
{
	struct err why = ERR_INIT;
	int r = profile_load(fs, name, ret, msgs, &why);

	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		if (!is_said(msgs, why.text))
			msgs_warn(msgs, "%s", why.text);
		return 0;
	}
	if (must_be_tenant && !ret->tenant) {
		msgs_warn(msgs, "profile '%s' is not open to annotations (tenant=\"yes\"), as the policy demands",
			  name);
		tune_fini(ret);
		return 0;
	}
	return 1;
}

static int find_profile(const struct hostfs *fs, const struct policy *p, const struct domain *d, const char *asked,
			struct intent *i, struct tune *ret)
{
	int r = 0, rule;

	if (asked) {
		i->source = PROFILE_ANNOTATION;
		r = try_profile(fs, asked, p->annotations == POLICY_ANNOTATIONS_PROFILES, ret, &i->msgs);
		if (r)
			return r;
	}
	rule = policy_match_why(p, d, &i->msgs);
	if (rule < 0)
		return rule;
	if (rule > 0 && p->rules[rule - 1].profile[0]) {
		i->source = PROFILE_RULE;
		i->rule = (unsigned int)rule;
		r = try_profile(fs, p->rules[rule - 1].profile, false, ret, &i->msgs);
		if (r)
			return r;
		i->rule = 0;
	}
	if (p->default_profile && p->default_profile[0]) {
		i->source = PROFILE_DEFAULT;
		r = try_profile(fs, p->default_profile, false, ret, &i->msgs);
		if (r)
			return r;
	}
	i->source = PROFILE_NONE;
	return 0;
}

/* Values and targets of both move into the intent, the annotation's first. */
static int lay_over(struct intent *i, struct tune *annotation, struct tune *profile)
{
	size_t n = annotation->n_targets + profile->n_targets;

	for (enum knob_id id = 0; id < KNOB_ID_MAX; id++) {
		struct value *from = annotation->v[id].text ? &annotation->v[id] : &profile->v[id];

		i->v[id] = *from;
		*from = (struct value){ 0 };
	}
	if (!n)
		return 0;
	i->targets = calloc(n, sizeof(*i->targets));
	if (!i->targets)
		return -ENOMEM;
	if (annotation->n_targets)
		memcpy(i->targets, annotation->targets, annotation->n_targets * sizeof(*i->targets));
	if (profile->n_targets)
		memcpy(i->targets + annotation->n_targets, profile->targets, profile->n_targets * sizeof(*i->targets));
	i->n_targets = n;
	annotation->n_targets = profile->n_targets = 0;
	return 0;
}

/* Another value for a knob, said to come from `source`. */
static int replace(struct value *v, const char *text, uint64_t num, const char *source)
{
	struct value to = { .text = strdup(text), .source = strdup(source), .num = num };

	if (!to.text || !to.source) {
		value_fini(&to);
		return -ENOMEM;
	}
	value_fini(v);
	*v = to;
	return 0;
}

/* fifo and rr within the policy's cap; a cap of 0 allows neither. */
static int limit_realtime(struct intent *i, const struct policy *p)
{
	struct value *scheduler = &i->v[KNOB_CPU_SCHEDULER], *priority = &i->v[KNOB_CPU_PRIORITY];
	bool realtime = scheduler->text && (streq(scheduler->text, "fifo") || streq(scheduler->text, "rr"));
	char text[24];

	if (realtime && !p->max_rt_priority) {
		msgs_warn(&i->msgs, "cpu.scheduler %s: the policy allows no real-time scheduling (max-rt-priority 0)",
			  scheduler->text);
		value_fini(priority);
		return replace(scheduler, "other", 0, SOURCE_LIMIT);
	}
	if (!priority->text || priority->num <= p->max_rt_priority || !p->max_rt_priority)
		return 0;
	(void)snprintf(text, sizeof(text), "%" PRIu64, p->max_rt_priority);
	msgs_warn(&i->msgs, "cpu.priority %s is over the policy's max-rt-priority, %s it is", priority->text, text);
	return replace(priority, text, p->max_rt_priority, SOURCE_LIMIT);
}

/* isolated implies irq policy avoid unless that is written. */
static int imply(struct intent *i)
{
	const struct value *policy = &i->v[KNOB_CPU_POLICY];

	if (!policy->text || !streq(policy->text, "isolated") || i->v[KNOB_IRQ_POLICY].text)
		return 0;
	return replace(&i->v[KNOB_IRQ_POLICY], "avoid", 0, policy->source ? policy->source : "");
}

static int decide(const struct hostfs *fs, const struct policy *p, const struct domain *d, struct tune *annotation,
		  struct intent *i)
{
	struct tune profile = { 0 };
	int r = find_profile(fs, p, d, annotation->name, i, &profile);

	if (r >= 0) {
		i->fail = annotation->fail;
		i->profile = r > 0 ? steal_ptr(&profile.name) : strdup("");
		r = i->profile ? lay_over(i, annotation, &profile) : -ENOMEM;
	}
	if (!r)
		r = imply(i);
	if (!r)
		r = limit_realtime(i, p);
	tune_fini(&profile);
	return r;
}

int intent_make(const struct hostfs *fs, const struct policy *p, const struct domain *d, const char *override_profile,
		char *const *overrides, struct intent *ret, struct err *e)
{
	struct intent i = { .source = PROFILE_NONE };
	struct tune annotation = { 0 };
	int r = read_annotation(p, d, override_profile, overrides, &annotation, &i.msgs, e);

	if (!r)
		r = decide(fs, p, d, &annotation, &i);
	tune_fini(&annotation);
	if (r < 0) {
		intent_fini(&i);
		return r == -ENOMEM ? err_set(e, ENOMEM, "out of memory") : r;
	}
	*ret = i;
	return 0;
}

void intent_fini(struct intent *i)
{
	struct tune t;

	if (!i)
		return;
	free(i->profile);
	t = (struct tune){ .targets = i->targets, .n_targets = i->n_targets };
	memcpy(t.v, i->v, sizeof(t.v));
	tune_fini(&t);
	msgs_fini(&i->msgs);
	memset(i, 0, sizeof(*i));
}

bool intent_asks_isolation(const struct intent *i)
{
	return streq(intent_word(i, KNOB_CPU_POLICY, ""), "isolated");
}

bool intent_asks_disks(const struct intent *i)
{
	return i->v[KNOB_IO_PRIORITY].text || intent_names(i, KNOB_ELEMENT_DISK);
}

bool intent_asks_class(const struct intent *i)
{
	return i->v[KNOB_CPU_CACHE].text || i->v[KNOB_MEM_BANDWIDTH].text;
}

bool intent_names(const struct intent *i, enum knob_element element)
{
	for (size_t k = 0; k < i->n_targets; k++)
		for (unsigned int id = 0; id < KNOB_ID_MAX; id++)
			if (i->targets[k].element == element && i->targets[k].v[id].text)
				return true;
	return false;
}

const char *intent_word(const struct intent *i, enum knob_id id, const char *fallback)
{
	return i->v[id].text ? i->v[id].text : fallback;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * policy.xml. One table of attributes parses and validates all values; an element's handler then only puts them
 * into place. A bad value costs a message and that value (the default stays), a missing required one its
 * element; a text that is no policy at all leaves the built-in policy. Rules keep their number in the file, so that
 * "rule 3" is the third <rule> whatever became of the first two. What rules mean is in policy_rule.c.
 */
#include "policy.h"

#include <inttypes.h>
#include <net/if.h>

#include "num.h"
#include "paths.h"

const struct policy_attr policy_attrs[POLICY_ATTR_MAX] = {
	[POLICY_HOST_MODE] = { "host", "mode", "enforce observe", POLICY_FORM_WORDS, false, 0, 0 },
	[POLICY_HOST_ANNOTATIONS] = { "host", "annotations", "all profiles ignore", POLICY_FORM_WORDS, false, 0, 0 },
	[POLICY_HOST_RESERVED] = { "host", "reserved-cpus", "", POLICY_FORM_CPULIST, false, 0, 0 },
	[POLICY_HOST_MAX_DEDICATED] = { "host", "max-dedicated-cpus", "", POLICY_FORM_COUNT_OR_SHARE, false, 0,
					IDSET_MAX },
	[POLICY_HOST_MAX_HUGEPAGES] = { "host", "max-hugepages", "", POLICY_FORM_SIZE_OR_SHARE, false, 0, UINT64_MAX },
	[POLICY_HOST_MAX_MEMORY] = { "host", "max-memory", "", POLICY_FORM_SIZE_OR_SHARE, false, 0, UINT64_MAX },
	[POLICY_HOST_MAX_PROTECTION] = { "host", "max-memory-protection", "", POLICY_FORM_SIZE_OR_SHARE, false, 0,
					 UINT64_MAX },
	[POLICY_HOST_MAX_VCPUS] = { "host", "max-vcpus-per-cpu", "", POLICY_FORM_INT, false, 1, DOMAIN_VCPUS_MAX },
	/* 0: no real-time scheduling at all. 99 is the kernel's highest, sched(7). */
	[POLICY_HOST_MAX_RT] = { "host", "max-rt-priority", "", POLICY_FORM_INT, false, 0, 99 },
	[POLICY_HOST_DEADLINE] = { "host", "deadline", "", POLICY_FORM_DURATION, false, 100, 600000 },
	[POLICY_HOST_GROW_DEADLINE] = { "host", "grow-deadline", "", POLICY_FORM_DURATION, false, 100, 600000 },
	[POLICY_UPLINK_DEVICE] = { "uplink", "device", "", POLICY_FORM_DEVICE, true, 0, 0 },
	[POLICY_UPLINK_RATE] = { "uplink", "rate", "", POLICY_FORM_RATE, false, 8, UINT64_MAX },
	[POLICY_UPLINK_REPLACE_MQ] = { "uplink", "replace-mq", "yes no", POLICY_FORM_WORDS, false, 0, 0 },
	[POLICY_UPLINK_MARK_MASK] = { "uplink", "mark-mask", "", POLICY_FORM_MASK, false, 1, UINT32_MAX },
	[POLICY_SYSCTL_NAME] = { "sysctl", "name", "", POLICY_FORM_SYSCTL, true, 0, 0 },
	[POLICY_SYSCTL_AT_LEAST] = { "sysctl", "at-least", "", POLICY_FORM_INT, true, 0, UINT64_MAX },
	[POLICY_RULE_MATCH] = { "rule", "match", "", POLICY_FORM_XPATH, true, 0, 0 },
	[POLICY_RULE_PROFILE] = { "rule", "profile", "", POLICY_FORM_PROFILE, false, 0, 0 },
	[POLICY_RULE_TAKE] = { "rule", "take", "nova ovirt", POLICY_FORM_WORDS, false, 0, 0 },
	[POLICY_DEFAULT_PROFILE] = { "default", "profile", "", POLICY_FORM_PROFILE, true, 0, 0 },
};

/* The contract's defaults. Strings are filled in by builtin(). */
#define POLICY_BUILTIN                            \
	((struct policy){                         \
		.max_dedicated = { 75, true },    \
		.max_hugepages = { 80, true },    \
		.max_memory = { 95, true },       \
		.max_protection = { 50, true },   \
		.max_vcpus_per_cpu = 8,           \
		.max_rt_priority = 10,            \
		.deadline_ms = 2000,              \
		.grow_deadline_ms = 5000,         \
	})

/*
 * Values of one form each: 0, -EINVAL, -ERANGE, -ENODATA.
 */

/* The number of a word in a list, from 0; -EINVAL. */
static int word_index(const char *words, const char *text, uint64_t *ret)
{
	size_t len = strlen(text);

	*ret = 0;
	for (const char *w = words; len && *w; w += strcspn(w, " "), w += strspn(w, " "), (*ret)++)
		if (strcspn(w, " ") == len && memcmp(w, text, len) == 0)
			return 0;
	return -EINVAL;
}

static int parse_duration(const char *text, uint64_t *ret)
{
	static const struct {
		const char *suffix;
		uint64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "min", 60000 } };
	size_t n = strspn(text, "0123456789");
	char digits[24];
	uint64_t v;

	if (!n || n >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, text, n);
	digits[n] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (!streq(text + n, units[i].suffix))
			continue;
		if (num_parse_u64(digits, &v) < 0 || __builtin_mul_overflow(v, units[i].ms, ret))
			return -ERANGE;
		return 0;
	}
	return -EINVAL;
}

static int parse_mask(const char *text, uint64_t *ret)
{
	return str_starts(text, "0x") ? num_parse_hex(text + 2, ret) : num_parse_u64(text, ret);
}

/* One kind of separator; no component may be empty, so ".." and a leading "." or "/" cannot occur. */
static int check_sysctl(const char *name)
{
	static const char component[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	char separator = '\0';

	if (strlen(name) > 255)
		return -EINVAL;
	for (const char *s = name;; s++) {
		size_t n = strspn(s, component);

		s += n;
		if (!n || (*s && *s != '.' && *s != '/') || (*s && separator && *s != separator))
			return -EINVAL;
		if (!*s)
			return separator ? 0 : -EINVAL; /* there is no sysctl at the top */
		separator = *s;
	}
}

/* dev_valid_name() of the kernel (net/core/dev.c). */
static int check_device(const char *name)
{
	if (!hostfs_is_name(name) || strlen(name) >= IFNAMSIZ || strpbrk(name, ": \t\n\v\f\r"))
		return -EINVAL;
	return 0;
}

static int parse_limit(const char *text, int (*parse)(const char *, uint64_t *), struct value *v)
{
	v->is_percent = strchr(text, '%');
	if (!v->is_percent)
		return parse(text, &v->num);
	if (num_parse_percent(text, &v->num) < 0)
		return -EINVAL;
	return v->num > 100 ? -ERANGE : 0;
}

static int parse_form(const struct policy_attr *a, const char *text, struct value *v, struct err *e)
{
	switch (a->form) {
	case POLICY_FORM_WORDS:
		return word_index(a->words, text, &v->num);
	case POLICY_FORM_CPULIST:
		return idset_parse(text, &v->set);
	case POLICY_FORM_COUNT_OR_SHARE:
		return parse_limit(text, num_parse_u64, v);
	case POLICY_FORM_SIZE_OR_SHARE:
		return parse_limit(text, num_parse_size, v);
	case POLICY_FORM_INT:
		return num_parse_u64(text, &v->num);
	case POLICY_FORM_DURATION:
		return parse_duration(text, &v->num);
	case POLICY_FORM_RATE:
		return num_parse_rate(text, &v->num);
	case POLICY_FORM_MASK:
		return parse_mask(text, &v->num);
	case POLICY_FORM_DEVICE:
		return check_device(text);
	case POLICY_FORM_SYSCTL:
		return check_sysctl(text);
	case POLICY_FORM_PROFILE:
		return profile_is_name(text) ? 0 : -EINVAL;
	case POLICY_FORM_XPATH:
		return policy_check_xpath(text, e);
	}
	return -EINVAL;
}

static const char *const expected[] = {
	[POLICY_FORM_WORDS] = "one of",
	[POLICY_FORM_CPULIST] = "a CPU list",
	[POLICY_FORM_COUNT_OR_SHARE] = "a count, or 0%..100%",
	[POLICY_FORM_SIZE_OR_SHARE] = "a size (bytes, or with B, KiB, MiB, GiB, TiB), or 0%..100%",
	[POLICY_FORM_INT] = "a number",
	[POLICY_FORM_DURATION] = "a time with ms, s or min",
	[POLICY_FORM_RATE] = "a rate as in tc(8) (bit/s, or with kbit, mbit, gbit, kbps, mbps, gbps)",
	[POLICY_FORM_MASK] = "a mask (0x and hexadecimal digits)",
	[POLICY_FORM_DEVICE] = "a network device's name",
	[POLICY_FORM_SYSCTL] = "a sysctl's name",
	[POLICY_FORM_PROFILE] = "a profile's name",
	[POLICY_FORM_XPATH] = "an XPath",
};

/* "a b" as "a, b" */
static const char *list_words(const char *words, char *buf, size_t size)
{
	size_t at = 0;

	for (; *words && at + 2 < size; words++) {
		if (*words == ' ')
			buf[at++] = ',';
		buf[at++] = *words;
	}
	buf[at] = '\0';
	return buf;
}

static int refuse(const struct policy_attr *a, const char *text, int code, struct err *e)
{
	char shown[KNOB_SHOW_SIZE], words[64];

	knob_show(text, shown);
	if (a->form == POLICY_FORM_XPATH)
		return -code; /* e says it */
	if (code == ENODATA)
		return err_set(e, code, "%s: '%s' names no CPU", a->attribute, shown);
	if (code == ERANGE && a->form == POLICY_FORM_DURATION)
		return err_set(e, code, "%s: '%s' is not within %" PRIu64 "ms..%" PRIu64 "ms", a->attribute, shown,
			       a->min, a->max);
	if (code == ERANGE && a->max)
		return err_set(e, code, "%s: '%s' is not within %" PRIu64 "..%" PRIu64, a->attribute, shown, a->min,
			       a->max);
	return err_set(e, code, "%s: '%s' is not %s%s%s", a->attribute, shown, expected[a->form],
		       a->form == POLICY_FORM_WORDS ? " " : "", list_words(a->words, words, sizeof(words)));
}

int policy_parse_value(enum policy_attr_id id, const char *text, struct value *ret, struct err *e)
{
	const struct policy_attr *a = &policy_attrs[id];
	struct value v = { 0 };
	int r = parse_form(a, text, &v, e);

	if (!r && a->max && !v.is_percent && (v.num < a->min || v.num > a->max))
		r = -ERANGE;
	if (r == -ENOMEM)
		return err_set(e, ENOMEM, "out of memory");
	if (r < 0)
		return refuse(a, text, -r, e);
	v.text = strdup(text);
	if (!v.text)
		return err_set(e, ENOMEM, "out of memory");
	*ret = v;
	return 0;
}

/* One element's values by id; those without text are absent. */
struct values {
	struct value v[POLICY_ATTR_MAX];
};

static void values_fini(struct values *values)
{
	for (enum policy_attr_id id = 0; id < POLICY_ATTR_MAX; id++)
		value_fini(&values->v[id]);
}

static struct policy_limit limit_of(const struct value *v)
{
	return (struct policy_limit){ v->num, v->is_percent };
}

static int on_host(struct policy *p, struct value *v, int line)
{
	const struct {
		enum policy_attr_id id;
		uint64_t *num;
		struct policy_limit *limit;
	} numbers[] = {
		{ POLICY_HOST_MAX_DEDICATED, NULL, &p->max_dedicated },
		{ POLICY_HOST_MAX_HUGEPAGES, NULL, &p->max_hugepages },
		{ POLICY_HOST_MAX_MEMORY, NULL, &p->max_memory },
		{ POLICY_HOST_MAX_PROTECTION, NULL, &p->max_protection },
		{ POLICY_HOST_MAX_VCPUS, &p->max_vcpus_per_cpu, NULL },
		{ POLICY_HOST_MAX_RT, &p->max_rt_priority, NULL },
		{ POLICY_HOST_DEADLINE, &p->deadline_ms, NULL },
		{ POLICY_HOST_GROW_DEADLINE, &p->grow_deadline_ms, NULL },
	};

	(void)line;
	/* The order of the words in the table is that of the enums. */
	if (v[POLICY_HOST_MODE].text)
		p->mode = (enum policy_mode)v[POLICY_HOST_MODE].num;
	if (v[POLICY_HOST_ANNOTATIONS].text)
		p->annotations = (enum policy_annotations)v[POLICY_HOST_ANNOTATIONS].num;
	if (v[POLICY_HOST_RESERVED].text) {
		p->reserved_given = true;
		p->reserved = v[POLICY_HOST_RESERVED].set;
	}
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		if (!v[numbers[i].id].text)
			continue;
		if (numbers[i].num)
			*numbers[i].num = v[numbers[i].id].num;
		else
			*numbers[i].limit = limit_of(&v[numbers[i].id]);
	}
	return 0;
}

/* The handlers below take what they keep out of the values. 0, -EEXIST (the same thing again), -ENOMEM. */
static int on_uplink(struct policy *p, struct value *v, int line)
{
	struct policy_uplink *rows;

	(void)line;
	for (size_t i = 0; i < p->n_uplinks; i++)
		if (streq(p->uplinks[i].device, v[POLICY_UPLINK_DEVICE].text))
			return -EEXIST;
	rows = reallocarray(p->uplinks, p->n_uplinks + 1, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	p->uplinks = rows;
	rows[p->n_uplinks++] = (struct policy_uplink){
		.device = steal_ptr(&v[POLICY_UPLINK_DEVICE].text),
		.rate = v[POLICY_UPLINK_RATE].num,
		.replace_mq = v[POLICY_UPLINK_REPLACE_MQ].text && streq(v[POLICY_UPLINK_REPLACE_MQ].text, "yes"),
		.mark_mask = (uint32_t)v[POLICY_UPLINK_MARK_MASK].num,
	};
	return 0;
}

/* "net.core.x" and "net/core/x" are the same. */
static bool sysctl_equal(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if (*a != *b && !(strchr("./", *a) && strchr("./", *b)))
			return false;
	return *a == *b;
}

static int on_sysctl(struct policy *p, struct value *v, int line)
{
	struct policy_sysctl *rows;

	(void)line;
	for (size_t i = 0; i < p->n_sysctls; i++)
		if (sysctl_equal(p->sysctls[i].name, v[POLICY_SYSCTL_NAME].text))
			return -EEXIST;
	rows = reallocarray(p->sysctls, p->n_sysctls + 1, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	p->sysctls = rows;
	rows[p->n_sysctls++] = (struct policy_sysctl){
		.name = steal_ptr(&v[POLICY_SYSCTL_NAME].text),
		.at_least = v[POLICY_SYSCTL_AT_LEAST].num,
	};
	return 0;
}

/* Also called for a rule that cannot be used, which then is a disabled one. */
static int on_rule(struct policy *p, struct value *v, int line)
{
	struct policy_rule *rows, *rule;

	rows = reallocarray(p->rules, p->n_rules + 1, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	p->rules = rows;
	rule = &rows[p->n_rules++];
	*rule = (struct policy_rule){
		.match = steal_ptr(&v[POLICY_RULE_MATCH].text),
		.profile = steal_ptr(&v[POLICY_RULE_PROFILE].text),
		.take = steal_ptr(&v[POLICY_RULE_TAKE].text),
		.line = line,
	};
	rule->disabled = !rule->match || (!rule->profile && !rule->take);
	if (!rule->match)
		rule->match = strdup("");
	if (!rule->profile)
		rule->profile = strdup("");
	if (!rule->take)
		rule->take = strdup("");
	return rule->match && rule->profile && rule->take ? 0 : -ENOMEM;
}

static int on_default(struct policy *p, struct value *v, int line)
{
	(void)line;
	free(p->default_profile);
	p->default_profile = steal_ptr(&v[POLICY_DEFAULT_PROFILE].text);
	return 0;
}

static const struct row {
	const char *element;
	int (*put)(struct policy *p, struct value *v, int line);
	bool once;
} rows_table[] = {
	{ "host", on_host, true },
	{ "uplink", on_uplink, false },
	{ "sysctl", on_sysctl, false },
	{ "rule", on_rule, false },
	{ "default", on_default, true },
};

static enum policy_attr_id find_attr(const char *element, const char *attribute)
{
	enum policy_attr_id id = 0;

	while (id < POLICY_ATTR_MAX && !(streq(policy_attrs[id].element, element) &&
					 streq(policy_attrs[id].attribute, attribute)))
		id++;
	return id;
}

struct reader {
	struct policy *p;
	const char *file;
	unsigned int seen[ARRAY_SIZE(rows_table)];
};

static int take_values(const struct reader *in, const xmlNode *n, struct values *values)
{
	char shown[KNOB_SHOW_SIZE];

	for (const xmlAttr *a = n->properties; a; a = a->next) {
		const xmlNode *at = xml_attr_node(a);
		enum policy_attr_id id =
			a->ns ? POLICY_ATTR_MAX : find_attr((const char *)n->name, (const char *)a->name);
		_cleanup_free_ char *text = NULL;
		struct err e = ERR_INIT;
		int r;

		if (id == POLICY_ATTR_MAX) {
			xml_warn(&in->p->msgs, in->file, at, "unknown attribute '%s' of <%s>",
				 knob_show((const char *)a->name, shown), (const char *)n->name);
			continue;
		}
		text = xml_attr_value(a);
		r = text ? policy_parse_value(id, text, &values->v[id], &e) : -ENOMEM;
		if (r == -ENOMEM)
			return r;
		if (r < 0)
			xml_warn(&in->p->msgs, in->file, at, "%s", e.text);
	}
	return 0;
}

/* The first required attribute that is not there; NULL: none is missing. (A bad value had its message already.) */
static const char *find_missing(const xmlNode *n, const struct values *values, bool *ret_silent)
{
	for (enum policy_attr_id id = 0; id < POLICY_ATTR_MAX; id++) {
		if (!policy_attrs[id].required || values->v[id].text ||
		    !streq(policy_attrs[id].element, (const char *)n->name))
			continue;
		*ret_silent = xmlHasProp(n, (const xmlChar *)policy_attrs[id].attribute);
		return policy_attrs[id].attribute;
	}
	return NULL;
}

static int take_element(struct reader *in, const xmlNode *n, const struct row *row)
{
	_cleanup_(values_fini) struct values values = { 0 };
	const char *missing;
	bool silent = false;
	int r = take_values(in, n, &values);

	if (r < 0)
		return r;
	missing = find_missing(n, &values, &silent);
	if (missing && !silent)
		xml_warn(&in->p->msgs, in->file, n, "<%s> without %s", row->element, missing);
	else if (!missing && row->put == on_rule && !values.v[POLICY_RULE_PROFILE].text &&
		 !values.v[POLICY_RULE_TAKE].text && !xmlHasProp(n, (const xmlChar *)"profile"))
		xml_warn(&in->p->msgs, in->file, n, "<rule> without profile or take");
	if (missing && row->put != on_rule)
		return 0;
	r = row->put(in->p, values.v, xml_line(n));
	if (r == -EEXIST) {
		xml_warn(&in->p->msgs, in->file, n, "a second <%s> of the same name, the first counts", row->element);
		r = 0;
	}
	return r;
}

static int take_elements(struct reader *in, const xmlNode *root)
{
	char shown[KNOB_SHOW_SIZE];
	int r = 0;

	for (const xmlNode *n = xml_first_element(root); !r && n; n = xml_next_element(n)) {
		size_t i = 0;

		while (i < ARRAY_SIZE(rows_table) && !xml_is(n, TUNE_NS, rows_table[i].element))
			i++;
		if (i == ARRAY_SIZE(rows_table))
			xml_warn(&in->p->msgs, in->file, n, "unknown element '%s'",
				 knob_show((const char *)n->name, shown));
		else if (in->seen[i]++ && rows_table[i].once)
			xml_warn(&in->p->msgs, in->file, n, "a second <%s>, the first counts", rows_table[i].element);
		else if (in->seen[i] > POLICY_ROWS_MAX)
			xml_warn(&in->p->msgs, in->file, n, "more than %d <%s>, ignored", POLICY_ROWS_MAX,
				 rows_table[i].element);
		else
			r = take_element(in, n, &rows_table[i]);
	}
	return r;
}

static int builtin(struct policy *p)
{
	*p = POLICY_BUILTIN;
	p->builtin = true;
	p->default_profile = strdup("balanced");
	return p->default_profile ? 0 : -ENOMEM;
}

int policy_parse(const char *text, size_t len, const char *file, struct policy *ret)
{
	_cleanup_xmldoc_ xmlDoc *doc = NULL;
	struct reader in = { .file = file };
	struct err why = ERR_INIT;
	struct policy p;
	xmlNode *root;
	int r = builtin(&p);

	if (r < 0)
		return r;
	in.p = &p;
	doc = xml_parse(text, len, POLICY_XML_MAX, &why);
	root = doc ? xmlDocGetRootElement(doc) : NULL;
	if (root && !xml_is(root, TUNE_NS, "policy")) {
		err_set(&why, EBADMSG, "is not a <policy> of %s", TUNE_NS);
		why.line = xml_line(root);
		why.column = xml_column(root);
	}
	if (why.code == ENOMEM)
		r = -ENOMEM;
	else if (why.code)
		msgs_add(&p.msgs, MSG_ERROR, file, why.line, why.column, "%s; the built-in policy is used", why.text);
	else {
		p.builtin = false;
		for (const xmlAttr *a = root->properties; a; a = a->next)
			xml_warn(&p.msgs, file, xml_attr_node(a), "unknown attribute of <policy>");
		r = take_elements(&in, root);
	}
	if (r < 0) {
		policy_fini(&p);
		return r;
	}
	*ret = p;
	return 0;
}

int policy_load(const struct hostfs *fs, struct policy *ret)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r = hostfs_read_all(fs, POLICY_XML_MAX, &text, &len, "%s", PATH_POLICY);

	if (r >= 0)
		return policy_parse(text, len, "/" PATH_POLICY, ret);
	if (r == -ENOMEM)
		return r;
	if (builtin(ret) < 0)
		return -ENOMEM;
	if (r != -ENOENT)
		msgs_add(&ret->msgs, MSG_ERROR, "/" PATH_POLICY, 0, 0, "%s; the built-in policy is used", err_name(-r));
	return 0;
}

void policy_fini(struct policy *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_rules; i++) {
		free(p->rules[i].match);
		free(p->rules[i].profile);
		free(p->rules[i].take);
	}
	for (size_t i = 0; i < p->n_sysctls; i++)
		free(p->sysctls[i].name);
	for (size_t i = 0; i < p->n_uplinks; i++)
		free(p->uplinks[i].device);
	free(p->rules);
	free(p->sysctls);
	free(p->uplinks);
	free(p->default_profile);
	msgs_fini(&p->msgs);
	memset(p, 0, sizeof(*p));
}

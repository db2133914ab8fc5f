/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The knob table and its values. Everything known about a row comes from knobs.def; one row of `forms` per
 * kind of value parses it and prints it back canonically. A value is either one of the row's words (exact, case
 * counts) or whatever its form takes; there is no third way in.
 */
#include "knob.h"

#include <inttypes.h>

#include "num.h"
#include "sbuf.h"

static const struct {
	const char *name;
	bool repeatable;
} elements[KNOB_ELEMENT_MAX] = {
	[KNOB_ELEMENT_CPU] = { "cpu", false },
	[KNOB_ELEMENT_MEMORY] = { "memory", false },
	[KNOB_ELEMENT_IO] = { "io", false },
	[KNOB_ELEMENT_IRQ] = { "irq", false },
	[KNOB_ELEMENT_DISK] = { "disk", true },
	[KNOB_ELEMENT_INTERFACE] = { "interface", true },
	[KNOB_ELEMENT_GUEST] = { "guest", false },
};

/* knobs.def writes elements as the XML does. */
#define ELEMENT_cpu KNOB_ELEMENT_CPU
#define ELEMENT_memory KNOB_ELEMENT_MEMORY
#define ELEMENT_io KNOB_ELEMENT_IO
#define ELEMENT_irq KNOB_ELEMENT_IRQ
#define ELEMENT_disk KNOB_ELEMENT_DISK
#define ELEMENT_interface KNOB_ELEMENT_INTERFACE
#define ELEMENT_guest KNOB_ELEMENT_GUEST

const struct knob knob_table[KNOB_ID_MAX] = {
#define KNOB(id, element_, attribute_, words_, form_, min_, max_, since_, doc_) \
	[KNOB_##id] = {                                                         \
		.name = #element_ "." #attribute_,                              \
		.attribute = #attribute_,                                       \
		.words = (words_),                                              \
		.doc = (doc_),                                                  \
		.element = ELEMENT_##element_,                                  \
		.form = KNOB_FORM_##form_,                                      \
		.since = KNOB_SINCE_##since_,                                   \
		.min = (min_),                                                  \
		.max = (max_),                                                  \
	},
#include "knobs.def"
#undef KNOB
};

const char *knob_element_name(enum knob_element element)
{
	return element < KNOB_ELEMENT_MAX ? elements[element].name : "";
}

bool knob_element_is_repeatable(enum knob_element element)
{
	return element < KNOB_ELEMENT_MAX && elements[element].repeatable;
}

enum knob_element knob_find_element(const char *name)
{
	enum knob_element el = 0;

	while (el < KNOB_ELEMENT_MAX && !streq(elements[el].name, name))
		el++;
	return el;
}

enum knob_id knob_find(const char *element, const char *attribute)
{
	enum knob_element el = knob_find_element(element);
	enum knob_id id = 0;

	while (id < KNOB_ID_MAX && !(knob_table[id].element == el && streq(knob_table[id].attribute, attribute)))
		id++;
	return id;
}

enum knob_id knob_find_dotted(const char *name)
{
	enum knob_id id = 0;

	while (id < KNOB_ID_MAX && !streq(knob_table[id].name, name))
		id++;
	return id;
}

/*
 * Words. A word list is "a b old>new": `next_word` yields the parts of one entry and moves on.
 */
struct word {
	const char *name;    /* what is written */
	size_t len;
	const char *meaning; /* what it stands for: the same, or what follows ">" */
	size_t meaning_len;
};

static bool next_word(const char **words, struct word *w)
{
	const char *s = *words + strspn(*words, " "), *arrow;
	size_t n = strcspn(s, " ");

	if (!n)
		return false;
	*words = s + n;
	*w = (struct word){ s, n, s, n };
	arrow = memchr(s, '>', n);
	if (arrow) {
		w->len = (size_t)(arrow - s);
		w->meaning = arrow + 1;
		w->meaning_len = n - w->len - 1;
	}
	return true;
}

static bool word_is_old(const struct word *w)
{
	return w->meaning != w->name;
}

/* 1: found, *ret is malloc'ed; 0: not one of them; -ENOMEM. */
static int find_word(const char *words, const char *text, char **ret)
{
	struct word w;

	while (next_word(&words, &w)) {
		if (strlen(text) != w.len || memcmp(text, w.name, w.len) != 0)
			continue;
		*ret = strndup(w.meaning, w.meaning_len);
		return *ret ? 1 : -ENOMEM;
	}
	return 0;
}

/*
 * tc(8), "UNITS": sizes are bytes, k, m and g are powers of 1024 with or without "b", and the "bit" units an
 * eighth of that; letter case does not matter (iproute2 lib/utils.c get_size() compares so too).
 */
static int parse_tc_size(const char *text, uint64_t *ret)
{
	static const struct {
		const char *suffix;
		uint64_t factor;
	} units[] = {
		{ "", 1 }, { "b", 1 },
		{ "k", 1024 }, { "kb", 1024 }, { "kbit", 1024 / 8 },
		{ "m", 1024 << 10 }, { "mb", 1024 << 10 }, { "mbit", (1024 << 10) / 8 },
		{ "g", 1024 << 20 }, { "gb", 1024 << 20 }, { "gbit", (1024 << 20) / 8 },
	};
	size_t n = strspn(text, "0123456789");
	char digits[24];
	uint64_t v;
	int r;

	if (!n || n >= sizeof(digits))
		return n ? -ERANGE : -EINVAL;
	memcpy(digits, text, n);
	digits[n] = '\0';
	r = num_parse_u64(digits, &v);
	for (size_t i = 0; !r && i < ARRAY_SIZE(units); i++) {
		if (strcasecmp(text + n, units[i].suffix) != 0)
			continue;
		return __builtin_mul_overflow(v, units[i].factor, ret) ? -ERANGE : 0;
	}
	return r ? r : -EINVAL;
}

static int within(const struct knob *k, uint64_t v)
{
	return v < k->min || v > k->max ? -ERANGE : 0;
}

static int printed(char **ret, uint64_t v, const char *unit)
{
	return asprintf(ret, "%" PRIu64 "%s", v, unit) < 0 ? (*ret = NULL, -ENOMEM) : 0;
}

static int parse_number(const struct knob *k, const char *text, struct value *v, const char *unit,
			int (*parse)(const char *, uint64_t *))
{
	int r = parse(text, &v->num);

	if (!r)
		r = within(k, v->num);
	return r ? r : printed(&v->text, v->num, unit);
}

static int form_none(const struct knob *k, const char *text, struct value *v)
{
	(void)k, (void)text, (void)v;
	return -EINVAL; /* words only, and it was none of them */
}

static int form_int(const struct knob *k, const char *text, struct value *v)
{
	return parse_number(k, text, v, "", num_parse_u64);
}

static int form_percent(const struct knob *k, const char *text, struct value *v)
{
	return parse_number(k, text, v, "%", num_parse_percent);
}

static int form_int_or_percent(const struct knob *k, const char *text, struct value *v)
{
	const struct knob share = { .min = 1, .max = 100 };

	if (!strchr(text, '%'))
		return form_int(k, text, v);
	v->is_percent = true;
	return form_percent(&share, text, v);
}

static int form_size(const struct knob *k, const char *text, struct value *v)
{
	return parse_number(k, text, v, "", num_parse_size);
}

static int form_tc_size(const struct knob *k, const char *text, struct value *v)
{
	return parse_number(k, text, v, "", parse_tc_size);
}

static int form_rate(const struct knob *k, const char *text, struct value *v)
{
	return parse_number(k, text, v, "", num_parse_rate);
}

static int form_set(const struct knob *k, const char *text, struct value *v)
{
	int r = idset_parse(text, &v->set);

	(void)k;
	if (r)
		return r;
	v->text = idset_text(&v->set);
	return v->text ? 0 : -ENOMEM;
}

static int form_name(const struct knob *k, const char *text, struct value *v)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	size_t n = strlen(text);

	(void)k;
	if (!n || n > KNOB_NAME_MAX || strspn(text, allowed) != n)
		return -EINVAL;
	v->text = strdup(text);
	return v->text ? 0 : -ENOMEM;
}

static const struct {
	int (*parse)(const struct knob *k, const char *text, struct value *v);
	const char *what; /* for people; NULL: the range is said */
} forms[] = {
	[KNOB_FORM_NONE] = { form_none, "" },
	[KNOB_FORM_INT] = { form_int, NULL },
	[KNOB_FORM_PERCENT] = { form_percent, NULL },
	[KNOB_FORM_INT_OR_PERCENT] = { form_int_or_percent, NULL },
	[KNOB_FORM_SIZE] = { form_size, "a size (bytes, or with B, KiB, MiB, GiB, TiB)" },
	[KNOB_FORM_TC_SIZE] = { form_tc_size, "a size as in tc(8) (bytes, or with k, m, g, kbit, mbit, gbit)" },
	[KNOB_FORM_RATE] = { form_rate, "a rate as in tc(8) (bit/s, or with kbit, mbit, gbit, kbps, mbps, gbps)" },
	[KNOB_FORM_CPULIST] = { form_set, "a CPU list" },
	[KNOB_FORM_NODESET] = { form_set, "a node list" },
	[KNOB_FORM_NAME] = { form_name, "a name of letters, digits, \"_\" and \"-\"" },
};

static void add_range(struct sbuf *b, const struct knob *k)
{
	const char *unit = k->form == KNOB_FORM_PERCENT ? "%" : "";

	sbuf_addf(b, "%" PRIu64 "%s..%" PRIu64 "%s", k->min, unit, k->max, unit);
	if (k->form == KNOB_FORM_INT_OR_PERCENT)
		sbuf_add(b, " or 1%..100%");
}

int knob_allowed(enum knob_id id, char *buf, size_t size)
{
	const struct knob *k = &knob_table[id];
	_cleanup_sbuf_ struct sbuf b = { 0 };
	const char *words = k->words;
	struct word w;

	while (next_word(&words, &w)) {
		if (word_is_old(&w))
			continue;
		sbuf_addf(&b, "%s%.*s", b.len ? ", " : "", (int)w.len, w.name);
	}
	if (k->form != KNOB_FORM_NONE) {
		if (b.len)
			sbuf_add(&b, " or ");
		if (forms[k->form].what)
			sbuf_add(&b, forms[k->form].what);
		else
			add_range(&b, k);
	}
	return snprintf(buf, size, "%s", b.s && !b.failed ? b.s : "");
}

const char *knob_show(const char *text, char buf[KNOB_SHOW_SIZE])
{
	size_t n = strlen(text), max = KNOB_SHOW_SIZE - 4, i;

	if (n > max) {
		/* Cut before a UTF-8 sequence, not within: continuation bytes are 10xxxxxx. */
		for (n = max; n && ((unsigned char)text[n] & 0xc0) == 0x80; n--)
			;
	}
	for (i = 0; i < n; i++)
		buf[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
	memcpy(buf + n, text[n] ? "..." : "", text[n] ? 4 : 1);
	return buf;
}

/* One sentence for a person: the value, and what would have been right. */
static int refuse(const struct knob *k, const char *text, int code, struct err *e)
{
	char shown[KNOB_SHOW_SIZE], allowed[KNOB_ALLOWED_SIZE];

	if (code == -ENOMEM)
		return err_set(e, ENOMEM, "%s: out of memory", k->name);
	knob_show(text, shown);
	knob_allowed((enum knob_id)(k - knob_table), allowed, sizeof(allowed));
	if (code == -ENODATA)
		return err_set(e, ENODATA, "%s: '%s' names no %s", k->name, shown,
			       k->form == KNOB_FORM_NODESET ? "node" : "CPU");
	if (code == -ERANGE && (k->form == KNOB_FORM_CPULIST || k->form == KNOB_FORM_NODESET))
		return err_set(e, ERANGE, "%s: '%s' has a number over %d", k->name, shown, IDSET_MAX - 1);
	if (code == -ERANGE && forms[k->form].what)
		return err_set(e, ERANGE, "%s: '%s' is not within %" PRIu64 "..%" PRIu64, k->name, shown, k->min,
			       k->max);
	if (k->form == KNOB_FORM_NONE)
		return err_set(e, -code, "%s: '%s' is not one of %s", k->name, shown, allowed);
	return err_set(e, -code, "%s: '%s' is not %s", k->name, shown, allowed);
}

int knob_parse_value(enum knob_id id, const char *text, struct value *ret, struct err *e)
{
	const struct knob *k = &knob_table[id];
	struct value v = { 0 };
	int r = find_word(k->words, text, &v.text);

	if (!r)
		r = forms[k->form].parse(k, text, &v);
	if (r < 0) {
		value_fini(&v);
		return refuse(k, text, r, e);
	}
	*ret = v;
	return 0;
}

void value_fini(struct value *v)
{
	if (!v)
		return;
	free(v->text);
	free(v->source);
	*v = (struct value){ 0 };
}

int value_copy(struct value *to, const struct value *from)
{
	struct value v = *from;

	v.text = from->text ? strdup(from->text) : NULL;
	v.source = from->source ? strdup(from->source) : NULL;
	if ((from->text && !v.text) || (from->source && !v.source)) {
		free(v.text);
		free(v.source);
		return -ENOMEM;
	}
	value_fini(to);
	*to = v;
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One row per fold: what it starts from and how one more claim is taken in. The order of the claims matters only
 * where the name says so (first, strongest among equals).
 */
#include "fold.h"

#include "num.h"

static const char *const names[FOLD_KINDS] = {
	[FOLD_NONE] = "none",           [FOLD_MAX] = "max",         [FOLD_SUM] = "sum",
	[FOLD_UNION] = "union",         [FOLD_WITHOUT] = "without", [FOLD_FIRST] = "first",
	[FOLD_STRONGEST] = "strongest", [FOLD_LARGEST] = "largest", [FOLD_SMALLEST] = "smallest",
	[FOLD_RUN] = "run",
	[FOLD_IRQ] = "irq",
};

const char *fold_name(enum fold how)
{
	return (unsigned int)how < FOLD_KINDS ? names[how] : "none";
}

int fold_parse(const char *text, enum fold *ret)
{
	for (unsigned int i = 0; i < FOLD_KINDS; i++)
		if (streq(text, names[i])) {
			*ret = (enum fold)i;
			return 0;
		}
	return -EINVAL;
}

bool fold_forgets_original(enum fold how)
{
	return how == FOLD_FIRST || how == FOLD_STRONGEST || how == FOLD_LARGEST || how == FOLD_SMALLEST;
}

struct fold_input {
	const char *order, *original;
	const char *const *values;
	unsigned int n;
};

static int give(char *text, char **ret)
{
	if (!text)
		return -ENOMEM;
	*ret = text;
	return 0;
}

static int give_number(uint64_t number, char **ret)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
	return give(strdup(text), ret);
}

static int fold_max(const struct fold_input *in, char **ret)
{
	uint64_t most, v;

	if (num_parse_u64(in->original, &most) < 0)
		return -EINVAL;
	for (unsigned int i = 0; i < in->n; i++) {
		if (num_parse_u64(in->values[i], &v) < 0)
			return -EINVAL;
		if (v > most)
			most = v;
	}
	return give_number(most, ret);
}

/* No limit at all, as a cgroup file and systemd's properties (be_unit.c) say it: nothing can be added to that. */
static bool is_unlimited(const char *text)
{
	return streq(text, "max") || streq(text, "unset");
}

static int fold_sum(const struct fold_input *in, char **ret)
{
	uint64_t sum, v;

	if (is_unlimited(in->original))
		return give(strdup(in->original), ret);
	if (num_parse_u64(in->original, &sum) < 0)
		return -EINVAL;
	for (unsigned int i = 0; i < in->n; i++) {
		if (num_parse_u64(in->values[i], &v) < 0)
			return -EINVAL;
		if (__builtin_add_overflow(sum, v, &sum))
			sum = UINT64_MAX;
	}
	return give_number(sum, ret);
}

/* An empty list is a set like any other here: a cpuset file without a value reads so. */
static int parse_set(const char *text, struct idset *ret)
{
	int rc = idset_parse(text, ret);

	if (rc == -ENODATA) {
		*ret = IDSET_EMPTY;
		return 0;
	}
	return rc < 0 ? -EINVAL : 0;
}

static int fold_sets(const struct fold_input *in, void (*take)(struct idset *, const struct idset *), struct idset *ret)
{
	struct idset v;

	if (parse_set(in->original, ret) < 0)
		return -EINVAL;
	for (unsigned int i = 0; i < in->n; i++) {
		if (parse_set(in->values[i], &v) < 0)
			return -EINVAL;
		take(ret, &v);
	}
	return 0;
}

static int fold_union(const struct fold_input *in, char **ret)
{
	struct idset all;
	int rc = fold_sets(in, idset_or, &all);

	return rc < 0 ? rc : give(idset_text(&all), ret);
}

static int fold_without(const struct fold_input *in, char **ret)
{
	const char *from = in->original[strspn(in->original, " ")] ? in->original : in->order;
	struct idset left, claim, rest;
	int rc = parse_set(from, &left);
	bool taken = false;

	for (unsigned int i = 0; i < in->n && rc == 0; i++) {
		rc = parse_set(in->values[i], &claim);
		rest = left;
		idset_andnot(&rest, &claim);
		if (rc < 0 || idset_is_empty(&rest))
			continue;
		left = rest;
		taken = true;
	}
	if (rc < 0)
		return rc;
	return give(taken ? idset_text(&left) : strdup(in->original), ret);
}

/* Ways of a cache: a mask of them has no gap (Documentation/arch/x86/resctrl.rst, "Cache Bit Masks"). */
static int fold_run(const struct fold_input *in, char **ret)
{
	struct idset left, run = IDSET_EMPTY, best = IDSET_EMPTY;
	int rc = fold_sets(in, idset_andnot, &left), last = -1;

	if (rc < 0)
		return rc;
	if (idset_is_empty(&left))
		return give(strdup(in->original), ret);
	IDSET_FOREACH (id, &left) {
		if (id != last + 1)
			run = IDSET_EMPTY;
		idset_add(&run, (unsigned int)id);
		last = id;
		if (idset_count(&run) > idset_count(&best))
			best = run;
	}
	return give(idset_text(&best), ret);
}

static int fold_first(const struct fold_input *in, char **ret)
{
	return give(strdup(in->values[0]), ret);
}

/* Place of a word in a blank-separated list, 0..; UINT_MAX if it is not there. */
static unsigned int place_of(const char *order, const char *word)
{
	size_t len = strlen(word), n;
	unsigned int place = 0;

	for (; *(order += strspn(order, " ")); order += n, place++) {
		n = strcspn(order, " ");
		if (n == len && memcmp(order, word, n) == 0)
			return place;
	}
	return UINT32_MAX;
}

static int fold_strongest(const struct fold_input *in, char **ret)
{
	unsigned int best = 0, best_place = place_of(in->order, in->values[0]);

	for (unsigned int i = 1; i < in->n; i++) {
		unsigned int place = place_of(in->order, in->values[i]);

		if (place < best_place) {
			best = i;
			best_place = place;
		}
	}
	return give(strdup(in->values[best]), ret);
}

static int fold_largest(const struct fold_input *in, char **ret)
{
	uint64_t most = 0, v;

	for (unsigned int i = 0; i < in->n; i++) {
		if (num_parse_u64(in->values[i], &v) < 0)
			return -EINVAL;
		if (v > most)
			most = v;
	}
	return give_number(most, ret);
}

static int fold_smallest(const struct fold_input *in, char **ret)
{
	uint64_t least = 0, v;

	for (unsigned int i = 0; i < in->n; i++) {
		if (num_parse_u64(in->values[i], &v) < 0)
			return -EINVAL;
		if (v > 0 && (least == 0 || v < least))
			least = v;
	}
	return give_number(least, ret);
}

static int add_set(const char *text, size_t len, struct idset *to)
{
	_cleanup_free_ char *copy = len ? strndup(text, len) : NULL;
	struct idset set;

	if (len == 0)
		return 0;
	if (!copy)
		return -ENOMEM;
	if (parse_set(copy, &set) < 0)
		return -EINVAL;
	idset_or(to, &set);
	return 0;
}

/* "TO!NOT", or "TO/ELSE!NOT": where it is to come, else, and where not; sets are added to. */
static int take_irq(const char *text, struct idset *to, struct idset *otherwise, struct idset *not)
{
	const char *mark = strchr(text, '!'), *slash = strchr(text, '/');
	int rc;

	if (!mark)
		return -EINVAL;
	if (!slash || slash > mark)
		slash = mark;
	rc = add_set(text, (size_t)(slash - text), to);
	if (rc == 0 && slash < mark)
		rc = add_set(slash + 1, (size_t)(mark - slash - 1), otherwise);
	return rc < 0 ? rc : add_set(mark + 1, strlen(mark + 1), not);
}

/* of without not, if a CPU is left of it that can take an interrupt. */
static bool leaves(const struct idset *of, const struct idset *not, const struct idset *online, struct idset *ret)
{
	*ret = *of;
	idset_andnot(ret, not);
	return idset_is_empty(online) ? !idset_is_empty(ret) : idset_intersects(ret, online);
}

static int fold_irq(const struct fold_input *in, char **ret)
{
	struct idset online = IDSET_EMPTY, to = IDSET_EMPTY, otherwise = IDSET_EMPTY, not = IDSET_EMPTY, original, left;
	int rc = strchr(in->order, '!') ? take_irq(in->order, &online, &online, &not) : parse_set(in->order, &online);

	if (parse_set(in->original, &original) < 0)
		rc = -EINVAL;
	for (unsigned int i = 0; i < in->n && rc == 0; i++)
		rc = take_irq(in->values[i], &to, &otherwise, &not);
	if (rc < 0)
		return rc;
	if ((leaves(&to, &not, &online, &left) || leaves(&otherwise, &not, &online, &left) ||
	     leaves(&original, &not, &online, &left) || leaves(&online, &not, &online, &left)) && !idset_equal(&left, &original))
		return give(idset_text(&left), ret);
	return give(strdup(in->original), ret);
}

static int (*const folds[FOLD_KINDS])(const struct fold_input *, char **) = {
	[FOLD_NONE] = fold_first, /* one claim: its value */
	[FOLD_MAX] = fold_max,         [FOLD_SUM] = fold_sum,     [FOLD_UNION] = fold_union,
	[FOLD_WITHOUT] = fold_without, [FOLD_FIRST] = fold_first, [FOLD_STRONGEST] = fold_strongest,
	[FOLD_LARGEST] = fold_largest, [FOLD_SMALLEST] = fold_smallest,
	[FOLD_RUN] = fold_run,
	[FOLD_IRQ] = fold_irq,
};

int fold_values(enum fold how, const char *order, const char *original, const char *const *values, unsigned int n,
		char **ret)
{
	const struct fold_input in = {order ? order : "", original, values, n};

	if ((unsigned int)how >= FOLD_KINDS)
		return -EINVAL;
	if (n == 0)
		return give(strdup(original), ret);
	return folds[how](&in, ret);
}

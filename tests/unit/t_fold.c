/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/fold.h"

#include "tap.h"

struct fold_case {
	enum fold how;
	const char *order, *original;
	const char *values[4];
	const char *want; /* NULL: -EINVAL */
};

static void run_cases(const struct fold_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct fold_case *c = &cases[i];
		unsigned int n_values = 0;
		char *got = NULL;
		int rc;

		while (n_values < 4 && c->values[n_values])
			n_values++;
		rc = fold_values(c->how, c->order, c->original, c->values, n_values, &got);
		IS_INT(rc, c->want ? 0 : -EINVAL);
		IS_STR(got, c->want);
		free(got);
	}
}
#define RUN(cases) run_cases(cases, ARRAY_SIZE(cases))

TEST(numbers)
{
	static const struct fold_case cases[] = {
		{FOLD_MAX, NULL, "5", {NULL}, "5"},
		{FOLD_MAX, NULL, "5", {"7"}, "7"},
		{FOLD_MAX, NULL, "5", {"4", "6", "2"}, "6"},
		{FOLD_MAX, NULL, "9", {"4", "6"}, "9"}, /* at least: the host had more already */
		{FOLD_MAX, NULL, "0", {"18446744073709551615"}, "18446744073709551615"},
		{FOLD_MAX, NULL, "", {"4"}, NULL},
		{FOLD_MAX, NULL, "4096 87380 6291456", {"4"}, NULL},
		{FOLD_MAX, NULL, "5", {"-1"}, NULL},
		{FOLD_MAX, NULL, "5", {"18446744073709551616"}, NULL},
		{FOLD_SUM, NULL, "5", {"7", "1"}, "13"},
		{FOLD_SUM, NULL, "0", {"18446744073709551615", "1"}, "18446744073709551615"},
		{FOLD_SUM, NULL, "max", {"7"}, "max"},
		{FOLD_SUM, NULL, "unset", {"7", "1"}, "unset"},
		{FOLD_SUM, NULL, "x", {"7"}, NULL},
		{FOLD_SUM, NULL, "x", {NULL}, "x"}, /* nobody wants anything: it stays as it is */
		{FOLD_LARGEST, NULL, "9", {"4", "6", "2"}, "6"}, /* the original has no say */
		{FOLD_LARGEST, NULL, "x", {"0"}, "0"},
		{FOLD_LARGEST, NULL, "9", {NULL}, "9"},
		{FOLD_LARGEST, NULL, "9", {"4", "x"}, NULL},
		{FOLD_SMALLEST, NULL, "1", {"4", "6", "2"}, "2"},
		{FOLD_SMALLEST, NULL, "1", {"0", "6", "0"}, "6"}, /* who wants none at all gives way */
		{FOLD_SMALLEST, NULL, "1", {"0", "0"}, "0"},
		{FOLD_SMALLEST, NULL, "1", {NULL}, "1"},
		{FOLD_SMALLEST, NULL, "1", {"-1"}, NULL},
	};

	RUN(cases);
}

TEST(sets)
{
	static const struct fold_case cases[] = {
		{FOLD_UNION, NULL, "0-1", {"3", "4-5"}, "0-1,3-5"},
		{FOLD_UNION, NULL, "", {"3"}, "3"},
		{FOLD_UNION, NULL, "0-1", {"x"}, NULL},
		{FOLD_UNION, NULL, "ff", {"1"}, NULL},
		{FOLD_WITHOUT, NULL, "0-7", {"2-3", "6"}, "0-1,4-5,7"},
		{FOLD_WITHOUT, NULL, "0-3", {"0-1", "2-3"}, "2-3"}, /* nothing would be left: the first one keeps what it has */
		{FOLD_WITHOUT, NULL, "0-3", {"0-1", "2-3", "2"}, "3"},
		{FOLD_WITHOUT, NULL, "0-3", {"8"}, "0-3"},
		{FOLD_WITHOUT, NULL, "0-3", {"99999"}, NULL},
		{FOLD_RUN, NULL, "0-10", {"8-10"}, "0-7"},
		{FOLD_RUN, NULL, "0-10", {"8-10", "6-7"}, "0-5"},
		{FOLD_RUN, NULL, "0-10", {"6-7"}, "0-5"}, /* with one gone there is a gap */
		{FOLD_RUN, NULL, "0-10", {"2-3"}, "4-10"},
		{FOLD_RUN, NULL, "0-9", {"4-5"}, "0-3"}, /* as long as the other one */
		{FOLD_RUN, NULL, "0-3", {"8-9"}, "0-3"},
		{FOLD_RUN, NULL, "0-3", {"0-1", "2-3"}, "0-3"},
		{FOLD_RUN, NULL, "0-10", {NULL}, "0-10"},
		{FOLD_RUN, NULL, "0-10", {"x"}, NULL},
		/* an empty original is what the order says */
		{FOLD_WITHOUT, "0-7", "", {"2-3", "6"}, "0-1,4-5,7"},
		{FOLD_WITHOUT, "0-7", " ", {"2"}, "0-1,3-7"},
		{FOLD_WITHOUT, "0-7", "4-7", {"6"}, "4-5,7"},
		{FOLD_WITHOUT, "0-1", "", {"0-1"}, ""},
		{FOLD_WITHOUT, "0-1", "", {NULL}, ""},
		{FOLD_WITHOUT, NULL, "", {"2"}, ""},
	};

	RUN(cases);
}

TEST(words)
{
	static const char order[] = "none kyber  mq-deadline bfq";
	static const struct fold_case cases[] = {
		{FOLD_FIRST, NULL, "a", {"b", "c"}, "b"},
		{FOLD_FIRST, NULL, "a", {NULL}, "a"},
		{FOLD_NONE, NULL, "a", {"b"}, "b"},
		{FOLD_STRONGEST, order, "bfq", {"mq-deadline", "none", "kyber"}, "none"},
		{FOLD_STRONGEST, order, "none", {"mq-deadline"}, "mq-deadline"},
		{FOLD_STRONGEST, order, "none", {"other", "bfq"}, "bfq"},
		{FOLD_STRONGEST, order, "none", {"other", "another"}, "other"},
		{FOLD_STRONGEST, order, "none", {"mq", "deadline", "bfq"}, "bfq"}, /* whole words only */
		{FOLD_STRONGEST, NULL, "none", {"x", "y"}, "x"},
		{FOLD_STRONGEST, "", "none", {""}, ""},
	};

	RUN(cases);
}

TEST(order_of_claims_matters_only_for_first)
{
	static const enum fold kinds[] = {FOLD_MAX, FOLD_SUM, FOLD_UNION, FOLD_WITHOUT, FOLD_STRONGEST,
					  FOLD_LARGEST, FOLD_SMALLEST, FOLD_RUN};
	const char *values[] = {"4", "2", "3"}, *turned[] = {"3", "4", "2"};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		char *a = NULL, *b = NULL;

		IS_INT(fold_values(kinds[i], "2 3", "1", values, 3, &a), 0);
		IS_INT(fold_values(kinds[i], "2 3", "1", turned, 3, &b), 0);
		IS_STR(a, b);
		free(a);
		free(b);
	}
}

TEST(names)
{
	enum fold f = FOLD_NONE;

	for (unsigned int i = 0; i < FOLD_KINDS; i++) {
		IS_INT(fold_parse(fold_name((enum fold)i), &f), 0);
		IS_INT(f, i);
	}
	IS_INT(fold_parse("", &f), -EINVAL);
	IS_INT(fold_parse("Max", &f), -EINVAL);
	IS_STR(fold_name(FOLD_KINDS), "none");
}

TEST(cpus_of_interrupts)
{
	static const struct fold_case cases[] = {
		{FOLD_IRQ, "0-7", "0-7", {NULL}, "0-7"},
		{FOLD_IRQ, "0-7", "0-7", {"!2-3"}, "0-1,4-7"},
		{FOLD_IRQ, "0-7", "0-7", {"!2-3", "!4-5"}, "0-1,6-7"},
		{FOLD_IRQ, "0-7", "2", {"!2-3"}, "0-1,4-7"},       /* nothing is left: all that are online */
		{FOLD_IRQ, "0-7!4-5", "2", {"!2-3"}, "0-1,6-7"},   /* but those of who claims nothing here */
		{FOLD_IRQ, "0-7", "0-7", {"6!", "1!"}, "1,6"},
		{FOLD_IRQ, "0-7", "0-7", {"2!", "!2-3"}, "0-1,4-7"}, /* no wish is left: as it was, less those */
		{FOLD_IRQ, "0-7", "0-7", {"5!2-4", "!6"}, "5"},
		{FOLD_IRQ, "0-7", "0-7", {"5/4-6!2-3"}, "5"},
		{FOLD_IRQ, "0-7", "0-7", {"5/4-6!2-3", "!5"}, "4,6"}, /* another of those that serve it */
		{FOLD_IRQ, "0-7", "0-7", {"5/4-6!2-3", "!4-6"}, "0-1,7"},
		{FOLD_IRQ, "0-7", "0-7", {"5/4-6!2-3", "1/0-1!", "!5"}, "1"},
		{FOLD_IRQ, "0-7", "0-7", {"5/x!2"}, NULL},
		{FOLD_IRQ, "0-3", "0-7", {"!0-3"}, "0-7"},         /* all that are online: nothing can be done */
		{FOLD_IRQ, "0-1", "0-7", {"!0"}, "1-7"},	   /* offline ones stay in the mask */
		{FOLD_IRQ, "0-1", "0,6-7", {"!0"}, "1"},	   /* but are not enough */
		{FOLD_IRQ, NULL, "0-7", {"!2"}, "0-1,3-7"},        /* what is online is not known */
		{FOLD_IRQ, "", "2", {"!2"}, "2"},
		{FOLD_IRQ, "0-7", "0-7", {"2-3"}, NULL},
		{FOLD_IRQ, "0-7", "x", {"!2"}, NULL},
		{FOLD_IRQ, "0-7", "0-7", {"x!2"}, NULL},
	};

	RUN(cases);
}

TAP_MAIN

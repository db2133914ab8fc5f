/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/backend.h"

#include "root_state.h"
#include "tap.h"

TEST(reads_the_value_in_force)
{
	static const struct {
		const char *file, *value;
	} cases[] = {
		{"5\n", "5"},
		{"", ""},
		{"\n", ""},
		{"none [mq-deadline] kyber\n", "mq-deadline"},
		{"[none]\n", "none"},
		{"always madvise [never]\n", "never"},
		{"4096\t87380\t6291456\n", "4096\t87380\t6291456"},
		{"a[0] b\n", "a[0] b"}, /* part of a word */
		{"[two words] b\n", "[two words] b"},
		{"[]\n", "[]"},
		{"x [y\n", "x [y"},
		{"one [two]\nthree\n", "one [two]\nthree"},
	};
	char buf[64];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ROOT(r);

		root_put(&r, "sys/x", cases[i].file);
		IS_INT(be_file.read(&r.fs, "sys/x", buf, sizeof(buf)), strlen(cases[i].value));
		IS_STR(buf, cases[i].value);
	}
}

TEST(compares_what_is_meant)
{
	static const struct {
		const char *a, *b;
		bool same;
	} cases[] = {
		{"1", "1", true},
		{"1", "01", true},
		{"1", "2", false},
		{"1", "Y", true},
		{"N", "0", true},
		{"Y", "N", false},
		{"4096 87380 6291456", "4096\t87380\t6291456", true},
		{"4096 87380", "4096 87380 6291456", false},
		{"", "", true},
		{" ", "", true},
		{"", "0", false},
		{"none", "none\n", true},
		{"none", "None", false},
		{"18446744073709551616", "18446744073709551616", true},
		{"18446744073709551616", "0", false},
		{"-1", "1", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		IS_INT(be_file.same("x", cases[i].a, cases[i].b), cases[i].same);
		IS_INT(be_file.same("x", cases[i].b, cases[i].a), cases[i].same);
	}
}

TEST(writes_only_what_is_there_and_below)
{
	ROOT(r);
	char buf[64];

	IS_INT(be_file.probe(&r.fs, "sys/x"), -ENOENT);
	IS_INT(be_file.write(&r.fs, "sys/x", "1"), -ENOENT);
	IS_INT(be_file.read(&r.fs, "sys/x", buf, sizeof(buf)), -ENOENT);
	root_put(&r, "sys/x", "a longer value\n");
	IS_INT(be_file.probe(&r.fs, "sys/x"), 0);
	IS_INT(be_file.write(&r.fs, "sys/x", "1"), 0);
	IS_STR(root_get(&r, "sys/x"), "1\n");
	root_put(&r, "etc/x", "1\n");
	IS_INT(be_file.write(&r.fs, "../../../../sys/../etc/x", "2"), 0); /* ".." ends at the root */
	IS_STR(root_get(&r, "etc/x"), "2\n");
}

/* In a made-up tree a list of choices stays one, and what is put back is the same file again. */
TEST(choices_stay_a_list)
{
	static const struct {
		const char *file, *value, *after;
	} cases[] = {
		{"none [mq-deadline] kyber bfq\n", "bfq", "none mq-deadline kyber [bfq]\n"},
		{"none [mq-deadline] kyber bfq\n", "none", "[none] mq-deadline kyber bfq\n"},
		{"[none]\n", "none", "[none]\n"},
		{"none [mq-deadline]\n", "bfq", "bfq\n"},
		{"none\n", "bfq", "bfq\n"},
		{"5\n", "7", "7\n"},
		{"", "7", "7\n"},
	};
	char original[64];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ROOT(r);

		root_put(&r, "sys/x", cases[i].file);
		OK(be_file.read(&r.fs, "sys/x", original, sizeof(original)) >= 0);
		IS_INT(be_file.write(&r.fs, "sys/x", cases[i].value), 0);
		IS_STR(root_get(&r, "sys/x"), cases[i].after);
		if (!strchr(cases[i].after, '['))
			continue;
		IS_INT(be_file.write(&r.fs, "sys/x", original), 0);
		IS_STR(root_get(&r, "sys/x"), cases[i].file);
	}
}

TAP_MAIN

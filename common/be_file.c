/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Back end "file": one value in one file of sysfs or procfs. The object is the file's path below the root.
 *
 * Canonical value: the text without its trailing newline; where the kernel shows all choices with the one in force
 * in brackets ("none [mq-deadline]": block/elevator.c, mm/huge_memory.c), that one word, which is what it takes back.
 */
#include "backend.h"
#include "num.h"
#include "sbuf.h"

static int file_probe(const struct hostfs *fs, const char *object)
{
	return hostfs_exists(fs, "%s", object) ? 0 : -ENOENT;
}

/* Cut a list of choices down to the one in brackets, in place. A text that is none stays. */
static size_t take_choice(char *text, size_t len)
{
	char *open = strchr(text, '['), *close = open ? strchr(open, ']') : NULL;
	size_t n;

	if (!close || strchr(text, '\n') || (open > text && open[-1] != ' ') || (close[1] && close[1] != ' '))
		return len;
	n = (size_t)(close - open) - 1;
	if (n == 0 || memchr(open + 1, ' ', n))
		return len;
	memmove(text, open + 1, n);
	text[n] = '\0';
	return n;
}

static int file_read(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	int len = hostfs_read(fs, buf, size, "%s", object);

	return len <= 0 ? len : (int)take_choice(buf, (size_t)len);
}

/* The list of choices with this one in brackets, as the kernel would show it. NULL: value is none of them. */
static char *choose(char *list, const char *value)
{
	_cleanup_sbuf_ struct sbuf b = {0};
	bool found = false;
	char *save = NULL;

	if (!strchr(list, '['))
		return NULL;
	for (char *word = strtok_r(list, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		size_t n = strlen(word);
		bool is_it;

		if (n > 2 && word[0] == '[' && word[n - 1] == ']') {
			word[n - 1] = '\0';
			word++;
		}
		is_it = streq(word, value);
		found |= is_it;
		sbuf_addf(&b, is_it ? "%s[%s]" : "%s%s", b.len ? " " : "", word);
	}
	return found ? sbuf_steal(&b) : NULL;
}

/* In a tree that is no kernel's a list of choices is to stay one: who reads it next finds what there is to choose. */
static int file_write(const struct hostfs *fs, const char *object, const char *value)
{
	_cleanup_free_ char *chosen = NULL;
	char list[256];

	if (!fs->real && hostfs_read(fs, list, sizeof(list), "%s", object) > 0)
		chosen = choose(list, value);
	return hostfs_write(fs, chosen ? chosen : value, "%s", object);
}

/* A boolean module parameter is written as 1 and reads as Y (kernel/params.c, param_get_bool). */
static const char *plain_bool(const char *word)
{
	return streq(word, "Y") ? "1" : streq(word, "N") ? "0" : word;
}

/* One word of each, compared as numbers where both are. */
static bool same_word(const char *a, size_t a_len, const char *b, size_t b_len)
{
	char one[24], other[24];
	uint64_t x, y;

	if (a_len == b_len && memcmp(a, b, a_len) == 0)
		return true;
	if (a_len >= sizeof(one) || b_len >= sizeof(other))
		return false;
	memcpy(one, a, a_len);
	one[a_len] = '\0';
	memcpy(other, b, b_len);
	other[b_len] = '\0';
	return num_parse_u64(plain_bool(one), &x) == 0 && num_parse_u64(plain_bool(other), &y) == 0 && x == y;
}

/* Word by word: vectors (net.ipv4.tcp_rmem) are written with blanks and read back with tabs. */
static bool file_same(const char *object, const char *a, const char *b)
{
	static const char blanks[] = " \t\n";

	(void)object; /* all files compare alike */
	for (;;) {
		size_t a_len, b_len;

		a += strspn(a, blanks);
		b += strspn(b, blanks);
		if (!*a || !*b)
			return !*a && !*b;
		a_len = strcspn(a, blanks);
		b_len = strcspn(b, blanks);
		if (!same_word(a, a_len, b, b_len))
			return false;
		a += a_len;
		b += b_len;
	}
}

const struct backend be_file = {
	.name = "file",
	.probe = file_probe,
	.read = file_read,
	.write = file_write,
	.same = file_same,
	.is_each_its_own = true,
};

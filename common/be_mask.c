/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Back end "mask": a file of sysfs or procfs that holds a CPU mask. The object is the file's path below the root.
 *
 * Canonical value: the CPU list ("0-3,8", "" for none). The kernel prints 32-bit words in hexadecimal with commas
 * between, and takes as many words as it has CPUs, or fewer (bitmap_parse(), lib/bitmap-str.c): no more are written
 * than hold CPUs, since too many are refused.
 */
#include "backend.h"

#define WORDS     (IDSET_MAX / 32)
#define MASK_SIZE (WORDS * 9 + 1) /* 8 digits and a comma each */

static int mask_probe(const struct hostfs *fs, const char *object)
{
	return hostfs_exists(fs, "%s", object) ? 0 : -ENOENT;
}

static int mask_read(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	char text[MASK_SIZE];
	struct idset cpus;
	int r = hostfs_read(fs, text, sizeof(text), "%s", object);

	if (r < 0)
		return r;
	r = idset_parse_mask(text, &cpus);
	if (r == -ENODATA)
		cpus = IDSET_EMPTY;
	return r < 0 && r != -ENODATA ? r : idset_format(&cpus, buf, size);
}

static uint32_t word_of(const struct idset *s, unsigned int i)
{
	return (uint32_t)(s->w[i / 2] >> (i % 2 * 32));
}

static void format_mask(const struct idset *s, char text[MASK_SIZE])
{
	unsigned int i = WORDS - 1;
	int n;

	while (i > 0 && word_of(s, i) == 0)
		i--;
	n = snprintf(text, MASK_SIZE, "%x", word_of(s, i)); /* all words fit */
	while (i-- > 0)
		n += snprintf(text + n, MASK_SIZE - (size_t)n, ",%08x", word_of(s, i));
}

/* "" is the empty set here, which idset_parse() takes for a mistake. */
static int parse_list(const char *text, struct idset *ret)
{
	*ret = IDSET_EMPTY;
	return text[strspn(text, " \t\n")] ? idset_parse(text, ret) : 0;
}

static int mask_write(const struct hostfs *fs, const char *object, const char *value)
{
	char text[MASK_SIZE];
	struct idset cpus;
	int r = parse_list(value, &cpus);

	if (r < 0)
		return r;
	format_mask(&cpus, text);
	return hostfs_write(fs, text, "%s", object);
}

static bool mask_same(const char *object, const char *a, const char *b)
{
	struct idset x, y;

	(void)object; /* all masks compare alike */
	if (parse_list(a, &x) < 0 || parse_list(b, &y) < 0)
		return strcmp(a, b) == 0;
	return idset_equal(&x, &y);
}

const struct backend be_mask = {
	.name = "mask",
	.probe = mask_probe,
	.read = mask_read,
	.write = mask_write,
	.same = mask_same,
};

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Back end "mask": a file of sysfs or procfs that holds a CPU mask. The object is the file's path below the root; one of
 * a network device has the device's index behind its name, "sys/class/net/vnet0:17/queues/rx-0/rps_cpus", since a name
 * may be another guest's by the time it is put back.
 *
 * Canonical value: the CPU list ("0-3,8", "" for none). The kernel prints 32-bit words in hexadecimal with commas
 * between, and takes as many words as it has CPUs, or fewer (bitmap_parse(), lib/bitmap-str.c): no more are written
 * than hold CPUs, since too many are refused.
 */
#include "backend.h"

#include <limits.h>

#include "netdev.h"
#include "num.h"

#define WORDS     (IDSET_MAX / 32)
#define MASK_SIZE (WORDS * 9 + 1) /* 8 digits and a comma each */

#define NET_DIRECTORY "sys/class/net/"

/* The path of an object, if its device is still that one. 0, -ENOENT, -EINVAL. */
static int find_path(const struct hostfs *fs, const char *object, char path[PATH_MAX])
{
	const char *colon = str_starts(object, NET_DIRECTORY) ? strchr(object, ':') : NULL;
	const char *slash = colon ? strchr(colon, '/') : NULL;
	char digits[12], device[NETDEV_NAME];
	uint64_t wanted;
	int n;

	n = slash ? snprintf(path, PATH_MAX, "%.*s%s", (int)(colon - object), object, slash)
		  : snprintf(path, PATH_MAX, "%s", object);
	if (n < 0 || n >= PATH_MAX)
		return -EINVAL;
	if (!slash)
		return 0;
	n = snprintf(digits, sizeof(digits), "%.*s", (int)(slash - colon) - 1, colon + 1);
	if (n < 0 || (size_t)n >= sizeof(digits) || num_parse_range(digits, 1, INT32_MAX, &wanted) < 0)
		return -EINVAL;
	n = snprintf(device, sizeof(device), "%.*s", (int)(colon - object) - (int)strlen(NET_DIRECTORY),
		     object + strlen(NET_DIRECTORY));
	if (n < 0 || (size_t)n >= sizeof(device) || !hostfs_is_name(device))
		return -EINVAL;
	return netdev_index(fs, device) == wanted ? 0 : -ENOENT;
}

static int mask_probe(const struct hostfs *fs, const char *object)
{
	char path[PATH_MAX];
	int r = find_path(fs, object, path);

	return r < 0 || hostfs_exists(fs, "%s", path) ? r : -ENOENT;
}

static int mask_read(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	char text[MASK_SIZE], path[PATH_MAX];
	struct idset cpus;
	int r = find_path(fs, object, path);

	if (r == 0)
		r = hostfs_read(fs, text, sizeof(text), "%s", path);
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
	char text[MASK_SIZE], path[PATH_MAX];
	struct idset cpus;
	int r = parse_list(value, &cpus);

	if (r == 0)
		r = find_path(fs, object, path);
	if (r < 0)
		return r;
	format_mask(&cpus, text);
	return hostfs_write(fs, text, "%s", path);
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
	.is_each_its_own = true,
};

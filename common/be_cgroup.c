/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Back end "cgroup": one control file of a group that libvirt made. The object is the file's path below the root;
 * the value is the file's text without the trailing newline.
 *
 * An empty cpuset.cpus means "as the parent" on v2 (Documentation/admin-guide/cgroup-v2.rst, "Cpuset Interface
 * Files") and is restored by an empty line. While tasks are inside the kernel refuses to empty what was not empty
 * (ENOSPC, validate_change() in kernel/cgroup/cpuset.c, seen with 6.1). Then the largest set that the hierarchy has
 * says the same, now and when the parent gets another set: what a group wants beyond its parent has no effect. On v1 a
 * group with tasks never is empty in the first place.
 *
 * A real control file reads as "\n" when it is empty. A file of no bytes exists in made-up trees only; it reads
 * as NOTHING, which equals the empty set, so that restoring it gives the same file again.
 */
#include "backend.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "num.h"

#define NOTHING " "

static int cgroup_probe(const struct hostfs *fs, const char *object)
{
	struct stat st;
	int r = hostfs_stat(fs, &st, "%s", object);

	if (r < 0)
		return r == -ENOTDIR ? -ENOENT : r;
	return S_ISREG(st.st_mode) ? 0 : -ENOENT;
}

static int cgroup_read(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	int len = hostfs_read(fs, buf, size, "%s", object);
	struct stat st;

	if (len != 0 || fs->real || hostfs_stat(fs, &st, "%s", object) < 0 || st.st_size > 0)
		return len == -ENODEV ? -ENOENT : len; /* ENODEV: the group was removed while the file was open */
	if (size < sizeof(NOTHING))
		return -EFBIG;
	memcpy(buf, NOTHING, sizeof(NOTHING));
	return (int)strlen(NOTHING);
}

/* Text of the object's file with ".effective", of the highest group above it that has one. Length or -errno. */
static int read_widest(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	const char *file = strrchr(object, '/');
	_cleanup_free_ char *dir = file ? strndup(object, (size_t)(file - object)) : NULL;
	size_t highest = 0;

	if (!dir)
		return -ENOENT;
	/* Above the mount point there is none. */
	for (char *end; (end = strrchr(dir, '/'));) {
		*end = '\0';
		if (!hostfs_exists(fs, "%s%s.effective", dir, file))
			break;
		highest = (size_t)(end - dir);
	}
	return highest ? hostfs_read(fs, buf, size, "%.*s%s.effective", (int)highest, object, file) : -ENOENT;
}

/* The files of which an empty set means the parent's. */
static bool is_inherited(const char *object, const char *value)
{
	const char *file = strrchr(object, '/');

	return !value[strspn(value, " ")] && file && (streq(file, "/cpuset.cpus") || streq(file, "/cpuset.mems"));
}

/*
 * A partition that cannot be one is no error of write(2): the file says "isolated invalid (REASON)" then
 * (cgroup-v2.rst, cpuset.cpus.partition).
 */
static int check_partition(const struct hostfs *fs, const char *object)
{
	const char *file = strrchr(object, '/');
	char text[256];

	if (!file || !streq(file, "/cpuset.cpus.partition") || hostfs_read(fs, text, sizeof(text), "%s", object) < 0)
		return 0;
	return strstr(text, " invalid") ? -EINVAL : 0;
}

static int cgroup_write(const struct hostfs *fs, const char *object, const char *value)
{
	_cleanup_free_ char *widest = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	if (fs->real || !streq(value, NOTHING)) {
		r = hostfs_write(fs, value, "%s", object);
		if (r == -ENOSPC && is_inherited(object, value) && (widest = malloc(BACKEND_VALUE_MAX)) &&
		    read_widest(fs, object, widest, BACKEND_VALUE_MAX) > 0)
			r = hostfs_write(fs, widest, "%s", object);
		if (r == 0)
			r = check_partition(fs, object);
		return r == -ENODEV ? -ENOENT : r;
	}
	fd = hostfs_open(fs, O_WRONLY | O_TRUNC, "%s", object);
	return fd < 0 ? fd : 0;
}

/* "0-3,8" and "8,0-3"; the empty set has no text. */
static bool same_set(const char *a, const char *b)
{
	struct idset x, y;
	int r = idset_parse(a, &x), s = idset_parse(b, &y);

	if (r == -ENODATA || s == -ENODATA)
		return r == s;
	return r == 0 && s == 0 && idset_equal(&x, &y);
}

/* cpu.max: "MAX PERIOD", where MAX may be the word "max"; one without a period equals any. */
static bool same_max(const char *a, const char *b)
{
	size_t n = strcspn(a, " "), m = strcspn(b, " ");

	if (n != m || strncmp(a, b, n) != 0)
		return false;
	return !a[n] || !b[m] || streq(a + n + 1, b + m + 1);
}

static bool same_number(const char *a, const char *b)
{
	uint64_t x, y;

	if (num_parse_u64(a, &x) < 0 || num_parse_u64(b, &y) < 0)
		return streq(a, b);
	return x == y;
}

static const struct {
	const char *file;
	bool (*same)(const char *a, const char *b);
} comparisons[] = {
	{"cpuset.cpus", same_set},
	{"cpuset.mems", same_set},
	{"cpuset.cpus.exclusive", same_set},
	{"cpu.max", same_max},
};

/* A partition of ours that the kernel has made invalid since (a CPU of it went offline, the set above it shrank). */
static bool cgroup_remains(const char *object, const char *now, const char *made)
{
	const char *file = strrchr(object, '/');
	size_t n = strlen(made);

	return file && streq(file, "/cpuset.cpus.partition") && n > 0 && strncmp(now, made, n) == 0 &&
	       str_starts(now + n, " invalid");
}

static bool cgroup_same(const char *object, const char *a, const char *b)
{
	const char *file = strrchr(object, '/');

	file = file ? file + 1 : object;
	for (size_t i = 0; i < ARRAY_SIZE(comparisons); i++)
		if (streq(file, comparisons[i].file))
			return comparisons[i].same(a, b);
	return same_number(a, b);
}

/* cpuset.cpus without a value is all that there is above; the groups whose CPUs are shared objects are top-level ones. */
static int cgroup_whole(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	struct idset online;
	int r = is_inherited(object, "") ? hostfs_read_idset(fs, &online, "sys/devices/system/cpu/online") : -EOPNOTSUPP;

	return r < 0 ? r : idset_format(&online, buf, size);
}

const struct backend be_cgroup = {
	.name = "cgroup",
	.probe = cgroup_probe,
	.read = cgroup_read,
	.write = cgroup_write,
	.same = cgroup_same,
	.remains = cgroup_remains,
	.whole = cgroup_whole,
	.ends_with_domain = true,
};

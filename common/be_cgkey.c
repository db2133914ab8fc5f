/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Back end "cgkey": what a control file of a group says of one block device. The object is the file's path below the
 * root, a blank, the device's number, and, where the file has several values per device, a blank and the key:
 *
 *   sys/fs/cgroup/machine.slice/.../libvirt/io.max 8:0 rbps
 *   sys/fs/cgroup/blkio/machine/qemu-1-x/blkio.throttle.read_bps_device 8:0
 *
 * A device without a line has what the file means by that: no limit, or the group's own weight. Each kind of file is
 * one row of kinds[]. The other devices and keys of a file are not touched: the kernel takes one line, and of io.max
 * one key, at a time (Documentation/admin-guide/cgroup-v2.rst, "Interface Files"; block/blk-throttle.c;
 * block/bfq-cgroup.c).
 *
 * In a tree that is no kernel's the file is rewritten as the kernel would show it, so that what is put back is back.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "backend.h"
#include "num.h"
#include "sbuf.h"

#define FILE_LIMIT (1u << 20) /* a line for each of thousands of devices */
#define KEYS_MAX   4

static const struct kind {
	const char *file;
	const char *nothing;        /* value of a device without a line, and what takes the line away */
	const char *keys[KEYS_MAX]; /* in the kernel's order; none: one value per device */
} kinds[] = {
	{"io.max", "max", {"rbps", "wbps", "riops", "wiops"}},
	{"io.weight", "default", {NULL}},
	{"io.bfq.weight", "default", {NULL}},
	{"blkio.throttle.read_bps_device", "0", {NULL}},
	{"blkio.throttle.write_bps_device", "0", {NULL}},
	{"blkio.throttle.read_iops_device", "0", {NULL}},
	{"blkio.throttle.write_iops_device", "0", {NULL}},
	{"blkio.bfq.weight_device", "default", {NULL}},
	{"blkio.weight_device", "0", {NULL}}, /* cfq, before Linux 5.0 */
};

struct place {
	char path[1100]; /* a group's 1023 bytes and a file name */
	char device[32];
	const struct kind *kind;
	int key; /* index into kind->keys, -1: the file has none */
};

static bool is_device(const char *text)
{
	const char *colon = strchr(text, ':');
	char major[16];
	uint64_t n;

	if (!colon || colon == text || (size_t)(colon - text) >= sizeof(major))
		return false;
	memcpy(major, text, (size_t)(colon - text));
	major[colon - text] = '\0';
	return num_parse_range(major, 0, 4095, &n) == 0 && num_parse_range(colon + 1, 0, (1u << 20) - 1, &n) == 0;
}

static int parse_object(const char *object, struct place *ret)
{
	char copy[sizeof(ret->path) + sizeof(ret->device) + 16];
	char *device, *key, *file;

	if (strlen(object) >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, object, strlen(object) + 1);
	file = strrchr(copy, '/');
	device = file ? strchr(file, ' ') : NULL; /* a group's name may have blanks, a control file's has none */
	if (!device)
		return -EINVAL;
	*device++ = '\0';
	key = strchr(device, ' ');
	if (key)
		*key++ = '\0';
	if (!is_device(device) || strlen(device) >= sizeof(ret->device) || strlen(copy) >= sizeof(ret->path))
		return -EINVAL;
	memcpy(ret->path, copy, strlen(copy) + 1);
	memcpy(ret->device, device, strlen(device) + 1);
	ret->kind = NULL;
	ret->key = -1;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (streq(kinds[i].file, file + 1))
			ret->kind = &kinds[i];
	if (!ret->kind)
		return -EOPNOTSUPP;
	for (int i = 0; key && i < KEYS_MAX && ret->kind->keys[i]; i++)
		if (streq(ret->kind->keys[i], key))
			ret->key = i;
	return (ret->key >= 0) == (ret->kind->keys[0] != NULL) && (ret->key >= 0) == (key != NULL) ? 0 : -EINVAL;
}

static int gone(int r)
{
	return r == -ENODEV || r == -ENOTDIR ? -ENOENT : r; /* ENODEV: the group was removed while the file was open */
}

/* What follows the device's number on its line, up to the line's end; NULL: it has no line. */
static const char *find_line(const struct place *p, const char *text, size_t *ret_len)
{
	size_t n = strlen(p->device);

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
		if (strncmp(line, p->device, n) == 0 && line[n] == ' ') {
			*ret_len = strcspn(line + n + 1, "\n");
			return line + n + 1;
		}
	return NULL;
}

/* "rbps=max wbps=1048576 ...": the value of one key; of a line without keys the line itself. */
static const char *find_value(const struct place *p, const char *line, size_t len, size_t *ret_len)
{
	const char *end = line + len, *key = p->key < 0 ? NULL : p->kind->keys[p->key];

	if (!key) {
		*ret_len = len;
		return line;
	}
	while (line < end) {
		size_t word = strcspn(line, " \n"), n = strlen(key);

		if (strncmp(line, key, n) == 0 && line[n] == '=') {
			*ret_len = word - n - 1;
			return line + n + 1;
		}
		line += word;
		line += strspn(line, " ");
	}
	return NULL;
}

static int read_text(const struct hostfs *fs, const struct place *p, char **ret)
{
	return gone(hostfs_read_all(fs, FILE_LIMIT, ret, NULL, "%s", p->path));
}

static int cgkey_probe(const struct hostfs *fs, const char *object)
{
	struct place p;
	struct stat st;
	int r = parse_object(object, &p);

	if (r == 0)
		r = gone(hostfs_stat(fs, &st, "%s", p.path));
	if (r < 0)
		return r;
	return S_ISREG(st.st_mode) ? 0 : -ENOENT;
}

static int cgkey_read(const struct hostfs *fs, const char *object, char *buf, size_t size)
{
	_cleanup_free_ char *text = NULL;
	const char *line, *value = NULL;
	struct place p;
	size_t len = 0, n = 0;
	int r = parse_object(object, &p);

	if (r == 0)
		r = read_text(fs, &p, &text);
	if (r < 0)
		return r;
	line = find_line(&p, text, &len);
	if (line)
		value = find_value(&p, line, len, &n);
	r = value ? snprintf(buf, size, "%.*s", (int)n, value) : snprintf(buf, size, "%s", p.kind->nothing);
	return r < 0 || (size_t)r >= size ? -EFBIG : r;
}

/* The device's new line, without its number; NULL: it has none any more. */
static char *new_line(const struct place *p, const char *old, size_t old_len, const char *value)
{
	_cleanup_sbuf_ struct sbuf b = {0};
	bool any = false;

	if (p->key < 0)
		return streq(value, p->kind->nothing) ? NULL : strdup(value);
	for (int i = 0; i < KEYS_MAX && p->kind->keys[i]; i++) {
		const struct place other = {.kind = p->kind, .key = i};
		size_t n = 0;
		const char *kept = i == p->key || !old ? NULL : find_value(&other, old, old_len, &n);
		const char *now = i == p->key ? value : kept ? kept : p->kind->nothing;

		if (now != kept)
			n = strlen(now);
		any |= n != strlen(p->kind->nothing) || strncmp(now, p->kind->nothing, n) != 0;
		sbuf_addf(&b, "%s%s=%.*s", i ? " " : "", p->kind->keys[i], (int)n, now);
	}
	return any ? sbuf_steal(&b) : NULL;
}

/* The whole file, as the kernel would have it afterwards. */
static int write_made_up(const struct hostfs *fs, const struct place *p, const char *value)
{
	_cleanup_free_ char *text = NULL, *line = NULL;
	_cleanup_sbuf_ struct sbuf b = {0};
	size_t len = 0, device = strlen(p->device);
	const char *old;
	int fd, r = read_text(fs, p, &text);

	if (r < 0)
		return r;
	old = find_line(p, text, &len);
	line = new_line(p, old, len, value);
	for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n')
		if (!old || at + device + 1 != old)
			sbuf_addf(&b, "%s%.*s", b.len ? "\n" : "", (int)strcspn(at, "\n"), at);
		else if (line)
			sbuf_addf(&b, "%s%s %s", b.len ? "\n" : "", p->device, line);
	if (!old && line)
		sbuf_addf(&b, "%s%s %s", b.len ? "\n" : "", p->device, line);
	if (b.failed)
		return -ENOMEM;
	if (b.len)
		return hostfs_write(fs, b.s, "%s", p->path);
	/* No line at all is an empty file, as it was. */
	fd = hostfs_open(fs, O_WRONLY | O_TRUNC, "%s", p->path);
	if (fd < 0)
		return fd;
	(void)close(fd); /* nothing was written that could be lost */
	return 0;
}

static int cgkey_write(const struct hostfs *fs, const char *object, const char *value)
{
	struct place p;
	char line[128];
	int n, r = parse_object(object, &p);

	if (r < 0)
		return r;
	if (!fs->real)
		return write_made_up(fs, &p, value);
	n = p.key < 0 ? snprintf(line, sizeof(line), "%s %s", p.device, value)
		      : snprintf(line, sizeof(line), "%s %s=%s", p.device, p.kind->keys[p.key], value);
	if (n < 0 || (size_t)n >= sizeof(line))
		return -EINVAL;
	return gone(hostfs_write(fs, line, "%s", p.path));
}

static bool cgkey_same(const char *object, const char *a, const char *b)
{
	uint64_t x, y;

	(void)object; /* all files compare alike */
	if (num_parse_u64(a, &x) < 0 || num_parse_u64(b, &y) < 0)
		return streq(a, b);
	return x == y;
}

const struct backend be_cgkey = {
	.name = "cgkey",
	.probe = cgkey_probe,
	.read = cgkey_read,
	.write = cgkey_write,
	.same = cgkey_same,
	.is_each_its_own = true,
	.ends_with_domain = true,
};

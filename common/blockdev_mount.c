/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a path to block devices: device nodes by their number, files by that of their file system. Where that is none of
 * a block device (btrfs, NFS, overlay), the mount says what there is: mountinfo, proc(5), by the mount's number, which
 * is right for subvolumes and bind mounts too. Of a btrfs on several devices the mount names one; sysfs has them all.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "blockdev_walk.h"
#include "knob.h"
#include "num.h"

#define MOUNTS_MAX (4u << 20) /* bytes of mountinfo; a host of ten thousand containers has some MiB */

/* --- mounts */

/* proc(5): blank, tab, newline and backslash are octal escapes. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' && from[2] <= '7' &&
		    from[3] >= '0' && from[3] <= '7') {
			*to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

static bool parse_device(char *text, struct walk_mount *m)
{
	char *minor_text = text ? strchr(text, ':') : NULL;
	uint64_t a, b;

	if (!minor_text)
		return false;
	*minor_text++ = '\0';
	if (num_parse_range(text, 0, UINT32_MAX, &a) < 0 || num_parse_range(minor_text, 0, UINT32_MAX, &b) < 0)
		return false;
	m->major = (unsigned int)a;
	m->minor = (unsigned int)b;
	return true;
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue"; cuts the line up. */
static bool parse_mount(char *line, struct walk_mount *m)
{
	char *end = strstr(line, " - "), *field, *point, *type, *source;

	if (!end)
		return false;
	*end = '\0';
	end += 3;
	type = strsep(&end, " ");
	source = strsep(&end, " ");
	field = strsep(&line, " ");
	if (!source || num_parse_u64(field, &m->id) < 0)
		return false;
	(void)strsep(&line, " "); /* the parent */
	field = strsep(&line, " ");
	if (!parse_device(field, m))
		return false;
	(void)strsep(&line, " "); /* the root within the file system */
	point = strsep(&line, " ");
	if (!point)
		return false;
	unescape(point);
	unescape(source);
	m->point = point;
	m->type = type;
	m->source = source;
	return true;
}

static void read_mounts(struct walk *w)
{
	size_t lines = 1;
	char *rest, *line;

	if (w->mount_text)
		return;
	if (hostfs_read_all(w->fs, MOUNTS_MAX, &w->mount_text, NULL, "proc/self/mountinfo") < 0)
		w->mount_text = strdup("");
	if (!w->mount_text)
		return;
	for (const char *c = w->mount_text; *c; c++)
		lines += *c == '\n';
	w->mounts = calloc(lines, sizeof(*w->mounts));
	rest = w->mount_text;
	while (w->mounts && (line = strsep(&rest, "\n")))
		w->n_mounts += parse_mount(line, &w->mounts[w->n_mounts]);
}

static const struct walk_mount *mount_with_id(struct walk *w, uint64_t id)
{
	for (size_t i = 0; i < w->n_mounts; i++)
		if (w->mounts[i].id == id)
			return &w->mounts[i];
	return NULL;
}

/* The last one of the longest path: what is mounted over another comes later. */
static const struct walk_mount *mount_above(struct walk *w, const char *path)
{
	const struct walk_mount *best = NULL;
	size_t best_len = 0;

	for (size_t i = 0; i < w->n_mounts; i++) {
		const char *point = w->mounts[i].point;
		size_t len = strlen(point);

		if (len > 1 && (!str_starts(path, point) || (path[len] && path[len] != '/')))
			continue;
		if (!best || len >= best_len) {
			best = &w->mounts[i];
			best_len = len;
		}
	}
	return best;
}

/* Before Linux 5.8 statx(2) has no number of the mount; fdinfo has, proc(5). */
static bool mount_id(const struct hostfs *fs, int fd, uint64_t *ret)
{
	char text[512], *rest = text, *line;
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) == 0 && (st.stx_mask & STATX_MNT_ID)) {
		*ret = st.stx_mnt_id;
		return true;
	}
	if (hostfs_read(fs, text, sizeof(text), "proc/self/fdinfo/%d", fd) < 0)
		return false;
	while ((line = strsep(&rest, "\n")))
		if (str_starts(line, "mnt_id:"))
			return num_parse_u64(line + 7 + strspn(line + 7, "\t "), ret) == 0;
	return false;
}

/* --- what a file system lies on */

static void add_node(const struct walk *w, int i, unsigned int *n, struct walk_found *ret)
{
	if (i < 0)
		return;
	ret->leaves |= w->nodes[i].leaves;
	ret->node = *n == 0 || ret->node == i ? i : -1;
	if (w->nodes[i].why)
		(void)snprintf(ret->why, sizeof(ret->why), "not applicable: it is on %s", w->nodes[i].why);
	(*n)++;
}

/* sys/fs/btrfs/UUID/devices has a link for each; all are looked at if one is known. */
static void btrfs_devices(struct walk *w, const char *one, int depth, unsigned int *n, struct walk_found *ret)
{
	_cleanup_closedir_ DIR *all = hostfs_opendir(w->fs, "sys/fs/btrfs");
	_cleanup_closedir_ DIR *devices = NULL;
	struct dirent *entry;

	while (all && !devices && (entry = readdir(all)))
		if (entry->d_name[0] != '.' && hostfs_exists(w->fs, "sys/fs/btrfs/%s/devices/%s", entry->d_name, one))
			devices = hostfs_opendir(w->fs, "sys/fs/btrfs/%s/devices", entry->d_name);
	while (devices && w->n_leaves < WALK_LEAVES && (entry = readdir(devices)))
		if (entry->d_name[0] != '.' && !streq(entry->d_name, one))
			add_node(w, walk_name(w, entry->d_name, depth + 1), n, ret);
}

/* bcachefs names all its devices: "/dev/sda:/dev/sdb". */
static void sources(struct walk *w, const struct walk_mount *m, int depth, struct walk_found *ret)
{
	_cleanup_free_ char *copy = strdup(m->source);
	char *rest = copy, *source;
	unsigned int n = 0;

	while (rest && (source = strsep(&rest, ":"))) {
		struct walk_found found;

		if (!str_starts(source, "/dev/"))
			continue;
		walk_path_at(w, source, depth + 1, &found);
		if (!found.is_block)
			continue;
		add_node(w, found.node, &n, ret);
		if (streq(m->type, "btrfs") && found.node >= 0)
			btrfs_devices(w, w->nodes[found.node].name, depth, &n, ret);
	}
}

static const char *fs_name(const char *type)
{
	static const struct {
		const char *prefix, *name;
	} rows[] = {
		{"nfs", "NFS"},
		{"ceph", "Ceph"},
		{"zfs", "ZFS"},
		{"fuse", "FUSE"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (str_starts(type, rows[i].prefix))
			return rows[i].name;
	return type;
}

static void on_mount(struct walk *w, const struct walk_mount *m, int depth, struct walk_found *ret)
{
	if (!m) {
		(void)snprintf(ret->why, sizeof(ret->why), "it is not known what its file system is on");
		return;
	}
	sources(w, m, depth, ret);
	if (!ret->leaves && !*ret->why)
		(void)snprintf(ret->why, sizeof(ret->why), "not applicable: it is on %s", fs_name(m->type));
}

static void on_number(struct walk *w, unsigned int major, unsigned int minor, int depth, struct walk_found *ret)
{
	unsigned int n = 0;

	add_node(w, walk_number(w, major, minor, depth + 1), &n, ret);
	if (!ret->leaves && !*ret->why)
		(void)snprintf(ret->why, sizeof(ret->why), "nothing is known of block device %u:%u", major, minor);
}

static void on_file_system(struct walk *w, int fd, dev_t dev, int depth, struct walk_found *ret)
{
	const struct walk_mount *m;
	uint64_t id;

	if (major(dev) == 0) {
		m = NULL;
		if (mount_id(w->fs, fd, &id)) {
			read_mounts(w);
			m = mount_with_id(w, id);
		}
		on_mount(w, m, depth, ret);
		return;
	}
	on_number(w, major(dev), minor(dev), depth, ret);
}

/* --- paths */

/* path: within the captured root. */
static void captured(struct walk *w, const char *path, int depth, struct walk_found *ret)
{
	char name[WALK_NAME];
	const struct walk_mount *m;
	unsigned int n = 0;

	if (str_starts(path, "/dev/") && strlen(path + 5) < sizeof(name)) {
		memcpy(name, path + 5, strlen(path + 5) + 1);
		for (char *c = strchr(name, '/'); c; c = strchr(c, '/'))
			*c = '!';
		ret->is_block = true;
		add_node(w, walk_name(w, name, depth + 1), &n, ret);
		if (!ret->leaves && !*ret->why)
			(void)snprintf(ret->why, sizeof(ret->why), "nothing is known of this block device");
		return;
	}
	read_mounts(w);
	m = mount_above(w, path);
	if (!m || m->major == 0) {
		on_mount(w, m, depth, ret);
		return;
	}
	on_number(w, m->major, m->minor, depth, ret);
}

/* "/a//b/../c" as "/a/c": what is not there has no links. */
static void clean_path(const char *path, char to[WALK_PATH])
{
	size_t len = 0;

	for (const char *p = path + strspn(path, "/"); *p; p += strspn(p, "/")) {
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.') {
			while (len && to[--len] != '/')
				;
		} else if ((n != 1 || p[0] != '.') && len + n + 2 <= WALK_PATH) {
			to[len++] = '/';
			memcpy(to + len, p, n);
			len += n;
		}
		p += n;
	}
	if (!len)
		to[len++] = '/';
	to[len] = '\0';
}

/* Where an open file is, as seen from the captured root; the path as given if that cannot be told. */
static void captured_fd(struct walk *w, int fd, const char *path, int depth, struct walk_found *ret)
{
	char link[64], real[WALK_PATH], clean[WALK_PATH];
	size_t len = strlen(w->fs->root);
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd); /* fits */
	n = fd >= 0 ? readlink(link, real, sizeof(real) - 1) : -1;
	if (n > 0) {
		real[n] = '\0';
		if (str_starts(real, w->fs->root) && real[len] == '/') {
			captured(w, real + len, depth, ret);
			return;
		}
	}
	clean_path(path, clean);
	captured(w, clean, depth, ret);
}

void walk_path_at(struct walk *w, const char *path, int depth, struct walk_found *ret)
{
	_cleanup_close_ int fd = -1;
	char shown[KNOB_SHOW_SIZE];
	struct stat st;

	*ret = (struct walk_found){.node = -1};
	if (depth > WALK_DEPTH) {
		w->cut = true;
		(void)snprintf(ret->why, sizeof(ret->why), "its devices are stacked deeper than %d", WALK_DEPTH);
		return;
	}
	fd = hostfs_open(w->fs, O_PATH, "%s", path + strspn(path, "/"));
	if (fd < 0 && w->fs->real) {
		(void)snprintf(ret->why, sizeof(ret->why), "%s: %s", knob_show(path, shown), err_name(-fd));
		return;
	}
	if (fd >= 0 && fstat(fd, &st) == 0)
		ret->mode = st.st_mode;
	if (S_ISBLK(ret->mode)) {
		ret->is_block = true;
		on_number(w, major(st.st_rdev), minor(st.st_rdev), depth, ret);
	} else if (!w->fs->real) {
		captured_fd(w, fd, path, depth, ret);
	} else if (!S_ISREG(ret->mode) && !S_ISDIR(ret->mode)) {
		(void)snprintf(ret->why, sizeof(ret->why), "%s is neither a file nor a block device",
			       knob_show(path, shown));
	} else {
		on_file_system(w, fd, st.st_dev, depth, ret);
	}
}

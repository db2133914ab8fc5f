/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How it works: the layout is four mount points (and the v2 one), found once per boot by cgroup_find.c or, where
 * the cache is gone, by reading proc/mounts here. A thread's group is its line in /proc/TID/cgroup put behind
 * the controller's mount point. Nothing is computed from a domain's name: libvirt shortens and systemd escapes it.
 *
 * What it guarantees: a path that is handed out lies below a mount point that this layout names and has no ".."
 * in it; a group outside of our cgroup namespace ("/../x", cgroup_namespaces(7)) counts as not mounted.
 */
#include "cgroup.h"

#include <mntent.h>

#include "paths.h"
#include "record.h"

#define PATH_CGROUP_CACHE PATH_CACHE "/cgroup"
#define LAYOUT_FORMAT     "1"

/* A thread is in at most a dozen hierarchies, each with a path below 4096 bytes. */
#define PROC_CGROUP_MAX 65536
#define MOUNTS_MAX      (4u << 20)

static const struct {
	const char *v1, *v2;
} controller_names[CGROUP_CONTROLLER_MAX] = {
	[CGROUP_CPU] = {"cpu", "cpu"},
	[CGROUP_CPUSET] = {"cpuset", "cpuset"},
	[CGROUP_MEMORY] = {"memory", "memory"},
	[CGROUP_IO] = {"blkio", "io"},
};

const char *cgroup_controller_name(enum cgroup_which c)
{
	return (unsigned int)c < CGROUP_CONTROLLER_MAX ? controller_names[c].v2 : "?";
}

/* Whether `word` is one of the words of `list`, which are separated by any of `separators`. */
static bool list_has(const char *list, const char *separators, const char *word)
{
	size_t want = strlen(word);

	for (const char *p = list; *p;) {
		size_t n = strcspn(p, separators);

		if (n == want && strncmp(p, word, n) == 0)
			return true;
		p += n;
		p += strspn(p, separators);
	}
	return false;
}

/* Keep a mount point; the first one of a controller counts, as for libcgroup. */
static void take_mount(char to[256], const char *dir)
{
	if (to[0] != '\0' || dir[0] != '/')
		return;
	while (*dir == '/')
		dir++;
	if (strlen(dir) < 256)
		memcpy(to, dir, strlen(dir) + 1);
}

static void take_v1(struct cgroup_layout *l, const struct mntent *m)
{
	for (unsigned int c = 0; c < CGROUP_CONTROLLER_MAX; c++) {
		if (!hasmntopt(m, controller_names[c].v1))
			continue;
		take_mount(l->at[c].path, m->mnt_dir);
		if (l->at[c].path[0])
			l->at[c].version = 1;
	}
}

/* Controllers of the unified hierarchy; those that a v1 mount has are not in cgroup.controllers. */
static void take_v2(const struct hostfs *fs, struct cgroup_layout *l)
{
	char list[4096];

	if (hostfs_read(fs, list, sizeof(list), "%s/cgroup.controllers", l->unified) < 0)
		return;
	for (unsigned int c = 0; c < CGROUP_CONTROLLER_MAX; c++) {
		if (l->at[c].version || !list_has(list, " \n", controller_names[c].v2))
			continue;
		l->at[c].version = 2;
		memcpy(l->at[c].path, l->unified, sizeof(l->at[c].path));
	}
}

int cgroup_layout_mounts(const struct hostfs *fs, struct cgroup_layout *ret)
{
	struct cgroup_layout l = {0};
	_cleanup_free_ char *text = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	bool found = false;
	char buf[8192]; /* longer lines are cut by getmntent_r, those are no cgroup mounts */
	struct mntent m;
	size_t len;
	int r;

	r = hostfs_read_all(fs, MOUNTS_MAX, &text, &len, "proc/mounts");
	if (r < 0)
		return r == -ENOMEM ? r : -ENOENT;
	if (len == 0)
		return -ENOENT;
	f = fmemopen(text, len, "r");
	if (!f)
		return -errno;
	while (getmntent_r(f, &m, buf, sizeof(buf))) {
		if (streq(m.mnt_type, "cgroup"))
			take_v1(&l, &m);
		else if (streq(m.mnt_type, "cgroup2"))
			take_mount(l.unified, m.mnt_dir);
		else
			continue;
		found = true;
	}
	if (!found)
		return -ENOENT;
	if (l.unified[0])
		take_v2(fs, &l);
	*ret = l;
	return 0;
}

/* One record, so that a torn file has no layout at all: format, boot id, unified, then version and path of each. */
int cgroup_layout_save(const struct hostfs *fs, const struct cgroup_layout *l)
{
	_cleanup_sbuf_ struct sbuf b = {0};
	char version[CGROUP_CONTROLLER_MAX][2];
	char boot[BOOT_ID_SIZE];

	for (unsigned int c = 0; c < CGROUP_CONTROLLER_MAX; c++) {
		version[c][0] = (char)('0' + l->at[c].version);
		version[c][1] = '\0';
	}
	hostfs_boot_id(fs, boot);
	record_add(&b, "cgroup", LAYOUT_FORMAT, boot, l->unified, version[0], l->at[0].path, version[1], l->at[1].path,
		   version[2], l->at[2].path, version[3], l->at[3].path, NULL);
	_Static_assert(CGROUP_CONTROLLER_MAX == 4, "the record above has one pair per controller");
	if (b.failed)
		return -ENOMEM;
	return hostfs_replace(fs, b.s, b.len, 0644, PATH_CGROUP_CACHE);
}

static bool take_path(const struct hostfs *fs, char to[256], const char *path)
{
	if (strlen(path) >= 256 || (path[0] && !hostfs_exists(fs, "%s", path)))
		return false;
	memcpy(to, path, strlen(path) + 1);
	return true;
}

int cgroup_layout_load(const struct hostfs *fs, struct cgroup_layout *ret)
{
	struct cgroup_layout l = {0};
	char text[4096], boot[BOOT_ID_SIZE];
	struct record r;
	char *pos = text;

	if (hostfs_read(fs, text, sizeof(text), PATH_CGROUP_CACHE) < 0 || record_next(&pos, &r, NULL) != 1)
		return -ENOENT;
	hostfs_boot_id(fs, boot);
	if (r.n != 4 + 2 * CGROUP_CONTROLLER_MAX || !streq(r.f[0], "cgroup") || !streq(r.f[1], LAYOUT_FORMAT) ||
	    !streq(r.f[2], boot) || !take_path(fs, l.unified, r.f[3]))
		return -ENOENT;
	for (unsigned int c = 0; c < CGROUP_CONTROLLER_MAX; c++) {
		uint64_t version = record_u64(&r, 4 + 2 * c, UINT64_MAX);

		if (version > 2 || (version > 0) != (r.f[5 + 2 * c][0] != '\0') ||
		    !take_path(fs, l.at[c].path, r.f[5 + 2 * c]))
			return -ENOENT;
		l.at[c].version = (int)version;
	}
	*ret = l;
	return 0;
}

static bool has_dotdot(const char *path)
{
	for (const char *p = strstr(path, ".."); p; p = strstr(p + 1, ".."))
		if ((p == path || p[-1] == '/') && (p[2] == '/' || p[2] == '\0'))
			return true;
	return false;
}

/* One line of /proc/TID/cgroup: "ID:CONTROLLERS:PATH", on v2 "0::PATH"; the path may have colons of its own. */
static int take_line(const struct cgroup_layout *l, char *line, struct cgroup_paths *ret)
{
	char *controllers = strchr(line, ':');
	char *path = controllers ? strchr(controllers + 1, ':') : NULL;

	if (!path || path[1] != '/')
		return 0;
	*controllers++ = '\0';
	*path++ = '\0';
	if (has_dotdot(path))
		return 0;
	if (streq(path, "/"))
		path++;
	for (unsigned int c = 0; c < CGROUP_CONTROLLER_MAX; c++) {
		bool mine = l->at[c].version == 2
				    ? streq(line, "0") && !*controllers
				    : l->at[c].version == 1 && list_has(controllers, ",", controller_names[c].v1);
		int n;

		if (!mine)
			continue;
		n = snprintf(ret->at[c], sizeof(ret->at[c]), "%s%s", l->at[c].path, path);
		if (n < 0 || (size_t)n >= sizeof(ret->at[c]))
			return -E2BIG;
	}
	return 0;
}

int cgroup_paths_parse(char *text, const struct cgroup_layout *l, struct cgroup_paths *ret)
{
	struct cgroup_paths *paths = ret;
	char *line, *save = NULL;

	memset(paths, 0, sizeof(*paths));
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		int r = take_line(l, line, paths);

		if (r < 0)
			return r;
	}
	return 0;
}

static int paths_from(int r, char *text, const struct cgroup_layout *l, struct cgroup_paths *ret)
{
	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	return cgroup_paths_parse(text, l, ret);
}

int cgroup_paths_of(const struct hostfs *fs, const struct cgroup_layout *l, int tid, struct cgroup_paths *ret)
{
	_cleanup_free_ char *text = NULL;
	int r = hostfs_read_all(fs, PROC_CGROUP_MAX, &text, NULL, "proc/%d/cgroup", tid);

	return paths_from(r, text, l, ret);
}

int cgroup_paths_of_thread(const struct hostfs *fs, const struct cgroup_layout *l, int pid, int tid,
			   struct cgroup_paths *ret)
{
	_cleanup_free_ char *text = NULL;
	int r = hostfs_read_all(fs, PROC_CGROUP_MAX, &text, NULL, "proc/%d/task/%d/cgroup", pid, tid);

	return paths_from(r, text, l, ret);
}

/* "vcpu" or "iothread" with a number, or "emulator" (libvirt, src/util/vircgroup.c, virCgroupNewThread). */
bool cgroup_is_thread_group(const char *group)
{
	static const char *const numbered[] = {"vcpu", "iothread"};
	const char *name = strrchr(group, '/');

	if (!name)
		return false;
	name++;
	if (streq(name, "emulator"))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(numbered); i++) {
		const char *number = name + strlen(numbered[i]);

		if (str_starts(name, numbered[i]) && *number && strspn(number, "0123456789") == strlen(number))
			return true;
	}
	return false;
}

void cgroup_domain_group(const char *thread_group, char *ret_group, char *ret_scope)
{
	size_t len = strlen(thread_group);
	const char *slash;

	if (cgroup_is_thread_group(thread_group))
		len = (size_t)(strrchr(thread_group, '/') - thread_group);
	if (len > 1023)
		len = 1023; /* cgroup_paths_of() hands out none that long */
	memmove(ret_group, thread_group, len);
	ret_group[len] = '\0';

	/* The scope is the innermost component of that kind; libvirt's own group may lie below it. */
	ret_scope[0] = '\0';
	for (size_t end = len; end > 0; end = slash ? (size_t)(slash - ret_group) : 0) {
		const char *name;
		size_t n;

		slash = memrchr(ret_group, '/', end);
		name = slash ? slash + 1 : ret_group;
		n = end - (size_t)(name - ret_group);
		if (n > 6 && strncmp(name + n - 6, ".scope", 6) == 0) {
			memcpy(ret_scope, name, n);
			ret_scope[n] = '\0';
			return;
		}
	}
}

/*
 * systemd, src/basic/cgroup-util.h: cgroup_cpu_weight_to_shares(); the range of cpu.shares is that of the
 * kernel's MIN_SHARES and MAX_SHARES (kernel/sched/sched.h).
 */
uint64_t cgroup_shares_of_weight(uint64_t weight)
{
	uint64_t shares = weight > 10000 ? 262144 : weight * 1024 / 100;

	if (shares < 2)
		return 2;
	return shares > 262144 ? 262144 : shares;
}

#define BFQ_MAX 1000 /* BFQ_MAX_WEIGHT, block/bfq-iosched.h */

uint64_t cgroup_bfq_of_weight(uint64_t weight)
{
	if (weight < 1)
		return 1;
	return weight < BFQ_MAX ? weight : BFQ_MAX;
}

uint64_t cgroup_unit_of_bfq(uint64_t weight)
{
	uint64_t bfq = cgroup_bfq_of_weight(weight);

	return bfq <= 100 ? bfq : 100 + (bfq - 100) * (10000 - 100) / (BFQ_MAX - 100);
}

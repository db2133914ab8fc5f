/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPUs and their groupings. The files' names and forms changed with time; each class lists them.
 *
 * Kinds of cores: capacities are the kernel's own measure and the maximum frequency costs nothing to ask; reading
 * acpi_cppc may send a message to firmware, so it comes last. Neighbouring values in descending order that differ
 * by less than 10 % of the maximum are one kind: Intel's favoured cores are up to 5 % faster than their peers, AMD's
 * preferred cores are ranked in steps of 2 % over a wide range, while the smallest known step between two kinds
 * is 11.5 % (5.2 and 4.6 GHz on Arrow Lake), and 16 % between Cortex-X3 and A715.
 */
#include "host_priv.h"
#include "num.h"

#define KIND_STEP_PERCENT 10

void host_groups_fini(struct host_groups *g)
{
	free(g->of);
	free(g->claims);
}

int host_groups_init(struct host_groups *g, const struct host *h, unsigned int max)
{
	*g = (struct host_groups){ 0 };
	g->of = malloc(h->n_cpus * sizeof(*g->of));
	g->claims = calloc(max, sizeof(*g->claims));
	if (!g->of || !g->claims)
		return -ENOMEM;
	for (unsigned int i = 0; i < h->n_cpus; i++)
		g->of[i] = -1;
	return 0;
}

void host_groups_add(struct host_reader *rd, struct host_groups *g, const struct idset *cpus)
{
	struct idset set = *cpus;
	unsigned int group = g->n++;

	idset_and(&set, &rd->h->online);
	g->claims[group] = idset_count(&set);
	IDSET_FOREACH(id, &set)
	{
		int *of = &g->of[host_cpu_index(rd->h, id)];

		if (*of >= 0)
			host_warn_once(rd, HOST_WARN_CONTRADICTION);
		if (*of < 0 || g->claims[group] < g->claims[*of])
			*of = (int)group;
	}
}

/* Number the groups 0.. by their lowest CPU; a group that lost all its CPUs has no number. Returns how many. */
static int groups_renumber(const struct host *h, struct host_groups *g)
{
	_cleanup_free_ int *number = malloc((g->n ? g->n : 1) * sizeof(*number));
	int n = 0;

	if (!number)
		return -ENOMEM;
	for (unsigned int i = 0; i < g->n; i++)
		number[i] = -1;
	for (unsigned int i = 0; i < h->n_cpus; i++) {
		if (g->of[i] < 0)
			continue;
		if (number[g->of[i]] < 0)
			number[g->of[i]] = n++;
		g->of[i] = number[g->of[i]];
	}
	return n;
}

/* Lists came with 2.6.25, core_cpus, package_cpus and die_cpus with 5.3; all the old names are still there. */
struct set_class {
	const char *names[3]; /* "_list" is appended for the list, nothing for the mask */
	bool optional;        /* do not ask every CPU of a host that does not have it */
	bool single_is_none;  /* a group of one CPU means that the kernel knows no such groups */
};

enum { SET_CORE, SET_PACKAGE, SET_DIE, SET_CLUSTER, SET_MAX };

static const struct set_class set_classes[SET_MAX] = {
	[SET_CORE] = { .names = { "thread_siblings", "core_cpus" } },
	[SET_PACKAGE] = { .names = { "core_siblings", "package_cpus" }, .optional = true },
	/* include/linux/topology.h: topology_die_cpumask() is cpumask_of() where the architecture has none. */
	[SET_DIE] = { .names = { "die_cpus" }, .optional = true, .single_is_none = true },
	/* The same default, but next to clusters of several cores there are cores with a cluster to themselves. */
	[SET_CLUSTER] = { .names = { "cluster_cpus" }, .optional = true },
};

#define MISSES_MAX 4

/* The list PATH+list, or else the mask PATH+mask. 0 only with at least one CPU in it. */
static int read_set(const struct hostfs *fs, const char *path, const char *list, const char *mask, struct idset *ret)
{
	char text[4096];
	int r = hostfs_read_idset(fs, ret, "%s%s", path, list);

	if (r == 0 && !idset_is_empty(ret))
		return 0;
	r = hostfs_read(fs, text, sizeof(text), "%s%s", path, mask);
	return r < 0 ? r : idset_parse_mask(text, ret);
}

static int read_topology_set(const struct hostfs *fs, const struct set_class *class, int cpu, struct idset *ret)
{
	char path[128];
	int r = -ENOENT;

	for (unsigned int i = 0; class->names[i] && r < 0; i++) {
		(void)snprintf(path, sizeof(path), HOST_CPU_DIR "/cpu%d/topology/%s", cpu, class->names[i]);
		r = read_set(fs, path, "_list", "", ret);
	}
	return r;
}

/* Which cache/indexN the L3 is; -ENOENT: none. It differs: 3 on x86 with split L1, 2 with unified L1. */
static int find_l3(const struct hostfs *fs, int cpu)
{
	static const int order[] = { 3, 2, 4, 1, 5, 0 };
	uint64_t level;

	for (unsigned int i = 0; i < ARRAY_SIZE(order); i++) {
		int r = hostfs_read_u64(fs, &level, HOST_CPU_DIR "/cpu%d/cache/index%d/level", cpu, order[i]);

		if (r == 0 && level == 3)
			return order[i];
		/* No index2 either: there are fewer than three caches. */
		if (r == -ENOENT && order[i] == 2)
			break;
	}
	return -ENOENT;
}

static int read_l3_set(const struct hostfs *fs, int cpu, struct idset *ret)
{
	int index = find_l3(fs, cpu);
	char path[128];

	if (index < 0)
		return index;
	(void)snprintf(path, sizeof(path), HOST_CPU_DIR "/cpu%d/cache/index%d/", cpu, index);
	return read_set(fs, path, "shared_cpu_list", "shared_cpu_map", ret);
}

static int read_class(const struct hostfs *fs, const struct set_class *class, int cpu, struct idset *ret)
{
	int r = class ? read_topology_set(fs, class, cpu, ret) : read_l3_set(fs, cpu, ret);

	return r == 0 && class && class->single_is_none && idset_count(ret) == 1 ? -ENOENT : r;
}

/* class NULL: L3 caches. Groups end up numbered; returns how many. */
static int read_groups(struct host_reader *rd, const struct set_class *class, struct host_groups *g)
{
	const struct host *h = rd->h;
	unsigned int misses = 0;
	int r = host_groups_init(g, h, h->n_cpus);

	for (unsigned int i = 0; r == 0 && i < h->n_cpus; i++) {
		struct idset set;
		int id = h->cpus[i].id;

		if (g->of[i] >= 0)
			continue;
		if (read_class(rd->fs, class, id, &set) < 0) {
			if (++misses == MISSES_MAX && g->n == 0 && (!class || class->optional))
				break;
			continue;
		}
		if (!idset_has(&set, (unsigned int)id))
			host_warn_once(rd, HOST_WARN_CONTRADICTION);
		idset_add(&set, (unsigned int)id);
		host_groups_add(rd, g, &set);
	}
	return r < 0 ? r : groups_renumber(h, g);
}

/* "cpu12" with prefix "cpu" is 12; -1: another name. */
static int numbered_name(const char *name, const char *prefix, unsigned int limit)
{
	uint64_t id;

	if (!str_starts(name, prefix) || num_parse_range(name + strlen(prefix), 0, limit - 1, &id) < 0)
		return -1;
	return (int)id;
}

int host_read_numbered(const struct hostfs *fs, const char *path, const char *prefix, unsigned int limit,
		       struct idset *ret)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, "%s", path);
	struct dirent *d;

	*ret = IDSET_EMPTY;
	if (!dir)
		return -errno;
	while ((d = readdir(dir))) {
		int id = numbered_name(d->d_name, prefix, limit);

		if (id >= 0)
			idset_add(ret, (unsigned int)id);
	}
	return 0;
}

/*
 * Without a list (kernels before 2.6.26): a CPU says itself whether it is online; the ones that cannot be switched
 * off have no such file, but a topology, if anyone has.
 */
static void find_online(const struct hostfs *fs, struct idset *ret)
{
	struct idset all, silent = IDSET_EMPTY, with_topology = IDSET_EMPTY;

	*ret = IDSET_EMPTY;
	if (host_read_numbered(fs, HOST_CPU_DIR, "cpu", IDSET_MAX, &all) < 0)
		return;
	IDSET_FOREACH(id, &all)
	{
		uint64_t on;

		if (hostfs_exists(fs, HOST_CPU_DIR "/cpu%d/topology", id))
			idset_add(&with_topology, (unsigned int)id);
		if (hostfs_read_u64(fs, &on, HOST_CPU_DIR "/cpu%d/online", id) < 0)
			idset_add(&silent, (unsigned int)id);
		else if (on)
			idset_add(ret, (unsigned int)id);
	}
	if (!idset_is_empty(&with_topology))
		idset_and(&silent, &with_topology);
	idset_or(ret, &silent);
}

int host_read_online(struct host_reader *rd, struct err *e)
{
	struct host *h = rd->h;

	if (hostfs_read_idset(rd->fs, &h->online, HOST_CPU_DIR "/online") < 0 || idset_is_empty(&h->online)) {
		find_online(rd->fs, &h->online);
		if (idset_is_empty(&h->online))
			return err_set(e, ENODEV, "%s/" HOST_CPU_DIR ": no online CPU can be found",
				       rd->fs->real ? "" : rd->fs->root);
		host_warn_once(rd, HOST_WARN_ONLINE);
	}
	h->cpus = calloc(idset_count(&h->online), sizeof(*h->cpus));
	if (!h->cpus)
		return -ENOMEM;
	IDSET_FOREACH(id, &h->online)
	{
		struct host_cpu *c = &h->cpus[h->n_cpus++];

		*c = (struct host_cpu){ .id = id, .node = -1, .package = -1, .die = -1, .cluster = -1, .l3 = -1 };
	}
	return 0;
}

/* POWER says -1, which is unknown. */
static int read_package_id(const struct hostfs *fs, int cpu)
{
	uint64_t id;

	if (hostfs_read_u64(fs, &id, HOST_CPU_DIR "/cpu%d/topology/physical_package_id", cpu) < 0 || id > INT32_MAX)
		return -1;
	return (int)id;
}

/* Package numbers, one file per package. */
static int read_packages(struct host_reader *rd)
{
	_cleanup_(host_groups_fini) struct host_groups g = { 0 };
	struct host *h = rd->h;
	int n = read_groups(rd, &set_classes[SET_PACKAGE], &g);
	_cleanup_free_ int *id_of = NULL;

	if (n < 0)
		return n;
	id_of = malloc(((unsigned int)n + 1) * sizeof(*id_of));
	if (!id_of)
		return -ENOMEM;
	for (int i = 0; i < n; i++)
		id_of[i] = -2; /* not read yet */
	for (unsigned int i = 0; i < h->n_cpus; i++) {
		struct host_cpu *c = &h->cpus[i];
		int *known = &id_of[g.of[i] >= 0 ? g.of[i] : n];

		if (g.of[i] < 0 || *known == -2)
			*known = read_package_id(rd->fs, c->id);
		c->package = *known;
	}
	return 0;
}

/* Every CPU is in a core: those that no file covers are alone. */
int host_read_cores(struct host_reader *rd)
{
	_cleanup_(host_groups_fini) struct host_groups g = { 0 };
	struct host *h = rd->h;
	int n = read_groups(rd, &set_classes[SET_CORE], &g);

	if (n < 0)
		return n;
	for (unsigned int i = 0; i < h->n_cpus; i++) {
		if (g.of[i] >= 0)
			continue;
		host_warn_once(rd, HOST_WARN_SIBLINGS);
		g.of[i] = n++;
	}
	g.n = (unsigned int)n;
	n = groups_renumber(h, &g);
	for (unsigned int i = 0; n >= 0 && i < h->n_cpus; i++)
		h->cpus[i].core = g.of[i];
	h->n_cores = (unsigned int)n;
	return n < 0 ? n : 0;
}

/* "32768K" (drivers/base/cacheinfo.c: size_show()); other letters in case somebody writes them. 0: not known. */
static uint64_t parse_cache_size(char *text)
{
	static const char letters[] = "KMG";
	char *unit = text + strspn(text, "0123456789");
	const char *letter = *unit ? strchr(letters, *unit) : NULL;
	unsigned int shift = letter ? 10 * (unsigned int)(letter - letters + 1) : 0;
	uint64_t n;

	unit[strcspn(unit, "\n")] = '\0';
	if (letter && unit[1] == '\0')
		*unit = '\0';
	return num_parse_range(text, 1, UINT64_C(1) << 32, &n) < 0 ? 0 : n << shift;
}

static uint64_t read_l3_size(const struct hostfs *fs, int cpu)
{
	int index = find_l3(fs, cpu);
	char text[32];

	if (index < 0 || hostfs_read(fs, text, sizeof(text), HOST_CPU_DIR "/cpu%d/cache/index%d/size", cpu, index) < 0)
		return 0;
	return parse_cache_size(text);
}

/* The size of each L3 cache, asked once per cache. */
static int read_l3_sizes(struct host_reader *rd)
{
	struct host *h = rd->h;
	_cleanup_free_ uint64_t *sizes = calloc(h->n_cpus, sizeof(*sizes));
	int known = 0; /* groups are numbered by their lowest CPU */

	if (!sizes)
		return -ENOMEM;
	for (unsigned int i = 0; i < h->n_cpus; i++) {
		struct host_cpu *c = &h->cpus[i];

		if (c->l3 < 0)
			continue;
		if (c->l3 == known) {
			known++;
			sizes[c->l3] = read_l3_size(rd->fs, c->id);
		}
		c->l3_size = sizes[c->l3];
	}
	return 0;
}

int host_read_groups(struct host_reader *rd)
{
	const struct {
		const struct set_class *class;
		size_t offset; /* of the group's number in struct host_cpu */
	} kinds[] = {
		{ &set_classes[SET_DIE], offsetof(struct host_cpu, die) },
		{ &set_classes[SET_CLUSTER], offsetof(struct host_cpu, cluster) },
		{ NULL, offsetof(struct host_cpu, l3) },
	};
	struct host *h = rd->h;

	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		_cleanup_(host_groups_fini) struct host_groups g = { 0 };
		int n = read_groups(rd, kinds[k].class, &g);

		if (n < 0)
			return n;
		if (kinds[k].class == &set_classes[SET_CLUSTER] && (unsigned int)n == h->n_cpus)
			continue; /* only single CPUs: there are no clusters */
		for (unsigned int i = 0; i < h->n_cpus; i++)
			memcpy((char *)&h->cpus[i] + kinds[k].offset, &g.of[i], sizeof(int));
	}
	if (read_l3_sizes(rd) < 0)
		return -ENOMEM;
	return read_packages(rd);
}

/* One value per core in speed[]; false if the file is missing for one of them. */
static bool read_speeds(const struct host_reader *rd, const char *file, uint64_t *speed)
{
	unsigned int cores = 0;

	for (unsigned int i = 0; i < rd->h->n_cpus && cores < rd->h->n_cores; i++) {
		const struct host_cpu *c = &rd->h->cpus[i];

		/* Cores are numbered by their lowest CPU. */
		if ((unsigned int)c->core < cores)
			continue;
		if (hostfs_read_u64(rd->fs, &speed[cores], HOST_CPU_DIR "/cpu%d/%s", c->id, file) < 0 || !speed[cores])
			return false;
		cores++;
	}
	return true;
}

static int compare_descending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

int host_read_kinds(struct host_reader *rd)
{
	static const char *const files[] = { "cpu_capacity", "cpufreq/cpuinfo_max_freq", "acpi_cppc/highest_perf" };
	struct host *h = rd->h;
	_cleanup_free_ uint64_t *speed = calloc(h->n_cores, sizeof(*speed));
	_cleanup_free_ uint64_t *sorted = calloc(h->n_cores, sizeof(*sorted));
	unsigned int f = 0;

	h->n_kinds = 1;
	if (!speed || !sorted)
		return -ENOMEM;
	while (f < ARRAY_SIZE(files) && !read_speeds(rd, files[f], speed))
		f++;
	if (f == ARRAY_SIZE(files))
		return 0;
	memcpy(sorted, speed, h->n_cores * sizeof(*sorted));
	qsort(sorted, h->n_cores, sizeof(*sorted), compare_descending);
	for (unsigned int i = 1; i < h->n_cores; i++) {
		if (sorted[i - 1] - sorted[i] < (sorted[0] + 99) / 100 * KIND_STEP_PERCENT)
			continue;
		/* Everything from here down is at least one kind slower. */
		for (unsigned int j = 0; j < h->n_cpus; j++)
			if (speed[h->cpus[j].core] <= sorted[i])
				h->cpus[j].kind++;
		h->n_kinds++;
	}
	return 0;
}

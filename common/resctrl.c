/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Read once, for a domain that asks for a class: a few small files for the hardware, two for each group. A cache is known
 * by its id, which sysfs says for each CPU; one CPU of each group of the host model is asked.
 */
#include "resctrl.h"

#include "lines.h"
#include "num.h"

#define SCHEMATA_MAX 32768 /* 256 caches of two resources and one of bandwidth make 8 KiB */

/* ---- words ---- */

bool resctrl_is_ours(const char *name)
{
	return str_starts(name, RESCTRL_PREFIX) && uuid_is_valid(name + strlen(RESCTRL_PREFIX));
}

bool resctrl_is_cache(const char *resource)
{
	return streq(resource, "L3") || streq(resource, "L3CODE") || streq(resource, "L3DATA");
}

/* The line of a resource, behind its colon. NULL: there is none. The kernel pads names with blanks in front. */
static const char *find_line(const char *schemata, const char *resource)
{
	size_t n = strlen(resource);

	for (const char *p = schemata; *p;) {
		p += strspn(p, " \t");
		if (strncmp(p, resource, n) == 0 && p[n] == ':')
			return p + n + 1;
		p += strcspn(p, "\n");
		p += *p == '\n';
	}
	return NULL;
}

/* "0=ff0;" at *p, which is moved behind it. False: the line ends, or is none ("L3:uninitialized"). */
static bool next_value(const char **p, unsigned int *ret_id, char value[32])
{
	char id[16];
	size_t n = strcspn(*p, "=;\n"), len;
	uint64_t number;

	if ((*p)[n] != '=' || n == 0 || n >= sizeof(id))
		return false;
	memcpy(id, *p, n);
	id[n] = '\0';
	*p += n + 1;
	*p += strspn(*p, " "); /* numbers are padded, too */
	len = strcspn(*p, ";\n ");
	if (num_parse_range(id, 0, UINT32_MAX, &number) < 0 || len == 0 || len >= 32)
		return false;
	memcpy(value, *p, len);
	value[len] = '\0';
	*p += len;
	*p += strspn(*p, " ");
	*p += **p == ';';
	*ret_id = (unsigned int)number;
	return true;
}

int resctrl_value(const char *schemata, const char *resource, unsigned int id, uint64_t *ret)
{
	const char *p = find_line(schemata, resource);
	unsigned int at;
	char value[32];

	while (p && next_value(&p, &at, value))
		if (at == id)
			return (streq(resource, "MB") ? num_parse_u64(value, ret) : num_parse_hex(value, ret)) < 0
				       ? -ENOENT
				       : 0;
	return -ENOENT;
}

int resctrl_next(const char **pos, struct resctrl_item *ret)
{
	const char *p = *pos + strspn(*pos, " ;"), *name = p;
	struct resctrl_item item = *ret;
	size_t n = strcspn(p, ":= "), len;
	char value[32];

	if (!*p)
		return 0;
	if (p[n] == ':') {
		if (n == 0 || n >= sizeof(item.resource))
			return -EINVAL;
		memcpy(item.resource, name, n);
		item.resource[n] = '\0';
		p += n + 1;
	} else if (!item.resource[0]) {
		return -EINVAL; /* the first one names its resource */
	}
	if (!next_value(&p, &item.id, value))
		return -EINVAL;
	len = strlen(value);
	memcpy(item.value, value, len + 1);
	*ret = item;
	*pos = p;
	return 1;
}

const char *resctrl_list(uint64_t bits, char buf[256])
{
	struct idset ways = {.w = {bits}};

	(void)idset_format(&ways, buf, 256); /* 32 separate numbers fit */
	return buf;
}

uint64_t resctrl_bits(const char *list)
{
	struct idset ways;

	if (idset_parse(list, &ways) < 0 || idset_next(&ways, 63) >= 0)
		return 0;
	return ways.w[0];
}

uint64_t resctrl_run(uint64_t bits)
{
	uint64_t best = 0;

	while (bits) {
		uint64_t from = bits & ~(bits - 1), run = bits & ~(bits + from); /* the lowest run */

		if (__builtin_popcountll(run) > __builtin_popcountll(best))
			best = run;
		bits &= ~run;
	}
	return best;
}

/* ---- facts ---- */

static uint64_t read_mask(const struct hostfs *fs, const char *resource, const char *file)
{
	char text[32];
	uint64_t v;

	if (hostfs_read(fs, text, sizeof(text), RESCTRL_DIR "/info/%s/%s", resource, file) <= 0 ||
	    num_parse_hex(text, &v) < 0)
		return 0;
	return v;
}

static unsigned int read_number(const struct hostfs *fs, const char *resource, const char *file)
{
	uint64_t v;

	if (hostfs_read_u64(fs, &v, RESCTRL_DIR "/info/%s/%s", resource, file) < 0 || v > UINT32_MAX)
		return 0;
	return (unsigned int)v;
}

/* The kernel takes the least of all resources, those that are not ours to use included. */
static void read_classes(const struct hostfs *fs, struct resctrl_facts *f)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, RESCTRL_DIR "/info");
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		unsigned int n = hostfs_is_name(d->d_name) ? read_number(fs, d->d_name, "num_closids") : 0;

		if (n && (!f->n_classes || n < f->n_classes))
			f->n_classes = n;
	}
}

/* The id of the L3 cache of a CPU; -1: not known. */
static int64_t cache_of_cpu(const struct hostfs *fs, int cpu)
{
	static const unsigned int indices[] = {3, 2, 4, 1, 5, 0}; /* nearly always 3 */
	uint64_t level, id;

	for (size_t i = 0; i < ARRAY_SIZE(indices); i++)
		if (hostfs_read_u64(fs, &level, "sys/devices/system/cpu/cpu%d/cache/index%u/level", cpu,
				    indices[i]) == 0 &&
		    level == 3)
			return hostfs_read_u64(fs, &id, "sys/devices/system/cpu/cpu%d/cache/index%u/id", cpu,
					       indices[i]) == 0 &&
					       id <= UINT32_MAX
				       ? (int64_t)id
				       : -1;
	return -1;
}

static void add_cpus(struct resctrl_facts *f, const struct host *h, int64_t id, int group)
{
	for (unsigned int i = 0; i < f->n_caches; i++)
		for (unsigned int k = 0; f->caches[i].id == id && k < h->n_cpus; k++)
			if (h->cpus[k].l3 == group)
				idset_add(&f->caches[i].cpus, (unsigned int)h->cpus[k].id);
}

static void find_cpus(const struct hostfs *fs, const struct host *h, struct resctrl_facts *f)
{
	for (unsigned int i = 0; i < h->n_cpus; i++) {
		bool is_first = h->cpus[i].l3 >= 0;

		for (unsigned int k = 0; k < i && is_first; k++)
			is_first = h->cpus[k].l3 != h->cpus[i].l3;
		if (is_first)
			add_cpus(f, h, cache_of_cpu(fs, h->cpus[i].id), h->cpus[i].l3);
	}
}

/* What the root's schemata names: caches, and what bandwidth is counted for. */
static int find_caches(struct resctrl_facts *f, const char *schemata)
{
	const char *p = find_line(schemata, f->has_cdp ? "L3CODE" : "L3");
	char value[32];
	unsigned int id;

	while (f->has_l3 && p && f->n_caches < RESCTRL_MAX && next_value(&p, &id, value)) {
		struct resctrl_cache *c = GROW(f->caches, f->n_caches);

		if (!c)
			return -ENOMEM;
		*c = (struct resctrl_cache){.id = id};
		f->n_caches++;
	}
	p = find_line(schemata, "MB");
	while (f->has_mb && p && f->n_mb < RESCTRL_MAX && next_value(&p, &id, value)) {
		unsigned int *mb = GROW(f->mb_ids, f->n_mb);
		uint64_t now;

		if (!mb)
			return -ENOMEM;
		*mb = id;
		f->n_mb++;
		f->mb_is_percent &= num_parse_u64(value, &now) == 0 && now <= 100;
	}
	f->has_l3 &= f->n_caches > 0;
	f->has_mb &= f->n_mb > 0;
	return 0;
}

static int add_group(const struct hostfs *fs, struct resctrl_facts *f, const char *name, const char *schemata)
{
	const char *resources[] = {f->has_cdp ? "L3CODE" : "L3", f->has_cdp ? "L3DATA" : NULL};
	struct resctrl_group *g;
	char mode[32];

	g = GROW(f->groups, f->n_groups);
	if (!g)
		return -ENOMEM;
	memset(g, 0, sizeof(*g));
	(void)snprintf(g->name, sizeof(g->name), "%s", name); /* fits: a name has 255 bytes */
	g->bits = calloc(f->n_caches ? f->n_caches : 1, sizeof(*g->bits));
	if (!g->bits)
		return -ENOMEM;
	f->n_groups++;
	for (unsigned int i = 0; i < f->n_caches; i++)
		for (size_t k = 0; k < ARRAY_SIZE(resources); k++) {
			uint64_t bits;

			if (resources[k] && resctrl_value(schemata, resources[k], f->caches[i].id, &bits) == 0)
				g->bits[i] |= bits;
		}
	g->is_exclusive = hostfs_read(fs, mode, sizeof(mode), RESCTRL_DIR "/%s%smode", name, *name ? "/" : "") > 0 &&
			  !streq(mode, "shareable");
	return 0;
}

static int add_groups(const struct hostfs *fs, struct resctrl_facts *f)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(fs, RESCTRL_DIR);
	struct dirent *d;
	int r = 0;

	while (dir && r == 0 && f->n_groups < RESCTRL_MAX && (d = readdir(dir))) {
		_cleanup_free_ char *schemata = NULL;

		/* info and the like have no schemata */
		if (hostfs_is_name(d->d_name) &&
		    hostfs_read_all(fs, SCHEMATA_MAX, &schemata, NULL, RESCTRL_DIR "/%s/schemata", d->d_name) == 0)
			r = add_group(fs, f, d->d_name, schemata);
	}
	return r;
}

/* The directory has its own order: that of its hash. */
static int by_name(const void *a, const void *b)
{
	const struct resctrl_group *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int read_mounted(const struct hostfs *fs, const struct host *h, struct resctrl_facts *f, const char *schemata)
{
	const char *cache;
	int r;

	f->has_cdp = find_line(schemata, "L3CODE") != NULL;
	cache = f->has_cdp ? "L3CODE" : "L3";
	f->mask = read_mask(fs, cache, "cbm_mask");
	f->shareable = read_mask(fs, cache, "shareable_bits");
	f->min_bits = read_number(fs, cache, "min_cbm_bits");
	f->has_l3 = f->mask != 0;
	if (f->min_bits == 0)
		f->min_bits = 1;
	f->mb_min = read_number(fs, "MB", "min_bandwidth");
	f->mb_step = read_number(fs, "MB", "bandwidth_gran");
	f->has_mb = f->mb_step > 0;
	f->mb_is_percent = f->mb_min > 0; /* AMD's least is 0 */
	read_classes(fs, f);
	r = find_caches(f, schemata);
	if (r == 0)
		r = add_group(fs, f, "", schemata);
	if (r == 0)
		r = add_groups(fs, f);
	if (r < 0)
		return r;
	qsort(f->groups, f->n_groups, sizeof(*f->groups), by_name);
	find_cpus(fs, h, f);
	return 0;
}

int resctrl_read(const struct hostfs *fs, const struct host *h, struct resctrl_facts *ret)
{
	_cleanup_free_ char *schemata = NULL;
	int r = hostfs_read_all(fs, SCHEMATA_MAX, &schemata, NULL, RESCTRL_DIR "/schemata");

	memset(ret, 0, sizeof(*ret));
	if (r == -ENOMEM)
		return r;
	/* Mounted for monitoring alone there is no schemata. */
	if (r == 0 || hostfs_exists(fs, RESCTRL_DIR "/info"))
		ret->state = RESCTRL_MOUNTED;
	else if (hostfs_exists(fs, RESCTRL_DIR))
		ret->state = RESCTRL_UNMOUNTED;
	if (r < 0)
		return 0;
	r = read_mounted(fs, h, ret, schemata);
	if (r < 0)
		resctrl_fini(ret);
	return r;
}

void resctrl_fini(struct resctrl_facts *f)
{
	for (unsigned int i = 0; i < f->n_groups; i++)
		free(f->groups[i].bits);
	free(f->groups);
	free(f->caches);
	free(f->mb_ids);
	memset(f, 0, sizeof(*f));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Nodes: their CPUs, memory, distances and huge page pools. A node is what has a directory; what is listed as
 * online without one is nothing that could be used.
 */
#include "host_priv.h"
#include "num.h"

#define ABOVE_PATH 1024
#define ABOVE_LEVELS 16 /* from a disk behind a SAS expander up to its PCI function: 11 */

/* "MemTotal:   16772456 kB" after the key. */
static uint64_t parse_kib(const char *text)
{
	char number[24];
	size_t n;
	uint64_t v;

	text += strspn(text, " \t");
	n = strspn(text, "0123456789");
	if (n >= sizeof(number) || !str_starts(text + n, " kB"))
		return HOST_UNKNOWN;
	memcpy(number, text, n);
	number[n] = '\0';
	return num_parse_range(number, 0, UINT64_MAX >> 11, &v) < 0 ? HOST_UNKNOWN : v << 10;
}

/* Of a node's meminfo ("Node 0 MemTotal: ...") or /proc/meminfo. Whatever is not found stays unknown. */
static void read_memory(const struct hostfs *fs, const char *path, struct host_node *node)
{
	struct {
		const char *key;
		uint64_t bytes;
	} want[] = {
		{ "MemTotal:", HOST_UNKNOWN },
		{ "MemFree:", HOST_UNKNOWN },
		{ "Inactive(file):", HOST_UNKNOWN },
		{ "SReclaimable:", HOST_UNKNOWN },
	};
	char text[8192], *rest = text, *line;

	if (hostfs_read(fs, text, sizeof(text), "%s", path) < 0)
		return;
	while ((line = strsep(&rest, "\n"))) {
		if (str_starts(line, "Node ")) {
			line += strlen("Node ");
			line += strspn(line, "0123456789 ");
		}
		for (unsigned int i = 0; i < ARRAY_SIZE(want); i++)
			if (str_starts(line, want[i].key))
				want[i].bytes = parse_kib(line + strlen(want[i].key));
	}
	node->mem_total = want[0].bytes;
	node->mem_free = want[1].bytes;
	/* What the two others would add is little, and lacking on old kernels: without them it is a lower bound. */
	for (unsigned int i = 2; i < ARRAY_SIZE(want) && node->mem_free != HOST_UNKNOWN; i++)
		if (want[i].bytes != HOST_UNKNOWN)
			node->mem_free += want[i].bytes;
	if (node->mem_free != HOST_UNKNOWN && node->mem_free > node->mem_total)
		node->mem_free = node->mem_total;
}

static int compare_pools(const void *a, const void *b)
{
	const struct host_pool *x = a, *y = b;

	return x->size > y->size ? 1 : x->size < y->size ? -1 : 0;
}

/* Directory of "hugepages-2048kB" and its like. None is normal: no such kernel, or a node without memory. */
static void read_pools(struct host_reader *rd, const char *path, struct host_node *node)
{
	_cleanup_closedir_ DIR *dir = hostfs_opendir(rd->fs, "%s", path);
	struct dirent *d;

	while (dir && node->n_pools < HOST_POOLS_MAX && (d = readdir(dir))) {
		struct host_pool *p = &node->pools[node->n_pools];
		char number[24];
		uint64_t kib;
		size_t n;

		if (!str_starts(d->d_name, "hugepages-"))
			continue;
		n = strspn(d->d_name + strlen("hugepages-"), "0123456789");
		if (n >= sizeof(number) || !streq(d->d_name + strlen("hugepages-") + n, "kB"))
			continue;
		memcpy(number, d->d_name + strlen("hugepages-"), n);
		number[n] = '\0';
		if (num_parse_range(number, 1, UINT64_MAX >> 10, &kib) < 0)
			continue;
		*p = (struct host_pool){ .size = kib << 10, .total = HOST_UNKNOWN, .free = HOST_UNKNOWN };
		if (hostfs_read_u64(rd->fs, &p->total, "%s/%s/nr_hugepages", path, d->d_name) < 0 ||
		    hostfs_read_u64(rd->fs, &p->free, "%s/%s/free_hugepages", path, d->d_name) < 0)
			host_warn_once(rd, HOST_WARN_POOLS);
		/* The kernel changes the two one after the other while a pool shrinks. */
		if (p->free != HOST_UNKNOWN && p->free > p->total)
			p->free = p->total;
		node->n_pools++;
	}
	qsort(node->pools, node->n_pools, sizeof(node->pools[0]), compare_pools);
}

/* cpulist, cpumap (all that kernels before 2.6.25 have), or the links to the CPUs. */
static int read_node_cpus(const struct hostfs *fs, int id, struct idset *ret)
{
	char text[4096];

	if (hostfs_read_idset(fs, ret, HOST_NODE_DIR "/node%d/cpulist", id) == 0)
		return 0;
	if (hostfs_read(fs, text, sizeof(text), HOST_NODE_DIR "/node%d/cpumap", id) >= 0) {
		int r = idset_parse_mask(text, ret);

		if (r == 0 || r == -ENODATA) {
			if (r < 0)
				*ret = IDSET_EMPTY;
			return 0;
		}
	}
	(void)snprintf(text, sizeof(text), HOST_NODE_DIR "/node%d", id);
	return host_read_numbered(fs, text, "cpu", IDSET_MAX, ret) == 0 && !idset_is_empty(ret) ? 0 : -ENOENT;
}

/* Numbers of one line into ret; false if there are not exactly n. */
static bool parse_distances(char *text, unsigned int *ret, unsigned int n)
{
	unsigned int got = 0;
	char *word;

	while ((word = strsep(&text, " \t"))) {
		uint64_t v;

		if (!*word)
			continue;
		/* ACPI SLIT: one byte, 255 is "unreachable". */
		if (got == n || num_parse_range(word, 1, 255, &v) < 0)
			return false;
		ret[got++] = (unsigned int)v;
	}
	return got == n;
}

/* columns: the nodes that the kernel knew when it printed, in its order; nodes we keep are among them. */
static int read_distances(struct host_reader *rd, struct host_node *node, const struct idset *columns)
{
	const struct host *h = rd->h;
	unsigned int n = idset_count(columns), column = 0, kept = 0;
	_cleanup_free_ unsigned int *line = calloc(n, sizeof(*line));
	_cleanup_free_ char *text = NULL;
	bool known = false;

	node->distance = calloc(h->n_nodes, sizeof(*node->distance));
	if (!line || !node->distance)
		return -ENOMEM;
	if (hostfs_read_all(rd->fs, 4 * HOST_NODES_MAX, &text, NULL, HOST_NODE_DIR "/node%d/distance", node->id) == 0)
		known = parse_distances(text, line, n);
	if (!known && h->n_nodes > 1)
		host_warn_once(rd, HOST_WARN_DISTANCE);
	for (unsigned int i = 0; i < h->n_nodes; i++)
		node->distance[i] = &h->nodes[i] == node ? 10 : 20;
	if (!known)
		return 0;
	IDSET_FOREACH(id, columns)
	{
		if (kept < h->n_nodes && h->nodes[kept].id == id)
			node->distance[kept++] = line[column];
		column++;
	}
	return 0;
}

/* A kernel without CONFIG_NUMA has no node directory: the host is one node, and the global files are the node's. */
static int make_only_node(struct host_reader *rd)
{
	struct host *h = rd->h;

	h->nodes = calloc(1, sizeof(*h->nodes));
	if (!h->nodes)
		return -ENOMEM;
	h->n_nodes = 1;
	h->nodes[0] = (struct host_node){ .cpus = h->online, .mem_total = HOST_UNKNOWN, .mem_free = HOST_UNKNOWN };
	read_pools(rd, "sys/kernel/mm/hugepages", &h->nodes[0]);
	h->nodes[0].distance = calloc(1, sizeof(*h->nodes[0].distance));
	if (!h->nodes[0].distance)
		return -ENOMEM;
	h->nodes[0].distance[0] = 10;
	for (unsigned int i = 0; i < h->n_cpus; i++)
		h->cpus[i].node = 0;
	return 0;
}

/* The nodes that exist, with what their CPU lists say. Their CPUs are claims until settle_node_cpus(). */
static int make_nodes(struct host_reader *rd, const struct idset *listed, struct host_groups *g)
{
	struct host *h = rd->h;
	unsigned int n = idset_count(listed) < HOST_NODES_MAX ? idset_count(listed) : HOST_NODES_MAX;
	int r = host_groups_init(g, h, n);

	h->nodes = calloc(n, sizeof(*h->nodes));
	if (r < 0 || !h->nodes)
		return -ENOMEM;
	IDSET_FOREACH(id, listed)
	{
		struct host_node *node = &h->nodes[h->n_nodes];
		struct idset cpus = IDSET_EMPTY;

		if (h->n_nodes == HOST_NODES_MAX)
			break;
		if (read_node_cpus(rd->fs, id, &cpus) < 0 && !hostfs_exists(rd->fs, HOST_NODE_DIR "/node%d", id)) {
			host_warn_once(rd, HOST_WARN_CONTRADICTION);
			continue;
		}
		*node = (struct host_node){ .id = id, .mem_total = HOST_UNKNOWN, .mem_free = HOST_UNKNOWN };
		host_groups_add(rd, g, &cpus);
		h->n_nodes++;
	}
	return 0;
}

static void settle_node_cpus(struct host_reader *rd, const struct host_groups *g)
{
	struct host *h = rd->h;

	for (unsigned int i = 0; i < h->n_cpus; i++) {
		struct host_node *node = g->of[i] >= 0 ? &h->nodes[g->of[i]] : h->n_nodes == 1 ? &h->nodes[0] : NULL;

		if (!node) {
			host_warn_once(rd, HOST_WARN_NODE_CPUS);
			continue;
		}
		h->cpus[i].node = node->id;
		idset_add(&node->cpus, (unsigned int)h->cpus[i].id);
	}
}

/* Memory of one node; has_memory is for those without meminfo, empty if it could not be read. */
static void settle_memory(struct host_reader *rd, struct host_node *node, const struct idset *has_memory)
{
	if (node->mem_total == HOST_UNKNOWN && rd->h->n_nodes == 1)
		read_memory(rd->fs, "proc/meminfo", node);
	if (node->mem_total == HOST_UNKNOWN && !idset_is_empty(has_memory) &&
	    !idset_has(has_memory, (unsigned int)node->id)) {
		node->mem_total = 0;
		node->mem_free = 0;
	}
	if (node->mem_total == HOST_UNKNOWN)
		host_warn_once(rd, HOST_WARN_MEMORY);
	node->holds_guests = !idset_is_empty(&node->cpus) && node->mem_total != 0;
}

int host_read_nodes(struct host_reader *rd)
{
	_cleanup_(host_groups_fini) struct host_groups g = { 0 };
	struct host *h = rd->h;
	struct idset listed, has_memory = IDSET_EMPTY;
	int r = 0;

	if (hostfs_read_idset(rd->fs, &listed, HOST_NODE_DIR "/online") < 0 || idset_is_empty(&listed))
		(void)host_read_numbered(rd->fs, HOST_NODE_DIR, "node", HOST_NODES_MAX, &listed); /* none: one node */
	if (!idset_is_empty(&listed))
		r = make_nodes(rd, &listed, &g);
	if (r == 0 && h->n_nodes == 0) {
		free(steal_ptr(&h->nodes));
		r = make_only_node(rd);
	} else if (r == 0) {
		settle_node_cpus(rd, &g);
	}
	for (unsigned int i = 0; r == 0 && i < h->n_nodes; i++) {
		struct host_node *node = &h->nodes[i];
		char path[64];

		(void)snprintf(path, sizeof(path), HOST_NODE_DIR "/node%d/meminfo", node->id);
		read_memory(rd->fs, path, node);
		if (node->mem_total == HOST_UNKNOWN && idset_is_empty(&has_memory) &&
		    hostfs_read_idset(rd->fs, &has_memory, HOST_NODE_DIR "/has_memory") < 0)
			has_memory = IDSET_EMPTY;
		settle_memory(rd, node, &has_memory);
		if (node->distance)
			continue;
		(void)snprintf(path, sizeof(path), HOST_NODE_DIR "/node%d/hugepages", node->id);
		read_pools(rd, path, node);
		r = read_distances(rd, node, &listed);
	}
	return r;
}

int host_node_above(const struct hostfs *fs, const char *dir)
{
	char path[ABOVE_PATH + ABOVE_LEVELS * 3];
	size_t len = (size_t)snprintf(path, ABOVE_PATH, "%s", dir);

	if (len >= ABOVE_PATH)
		return -1;
	for (int i = 0; i < ABOVE_LEVELS; i++) {
		uint64_t node;

		/* "-1" is no number here. */
		if (hostfs_read_u64(fs, &node, "%s/numa_node", path) == 0 && node < HOST_NODES_MAX)
			return (int)node;
		memcpy(path + len, "/..", sizeof("/.."));
		len += 3;
	}
	return -1;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the host is read: the list of online CPUs, then for each grouping of them (cores, packages, dies, clusters,
 * L3 caches) the file of the lowest CPU that no earlier file covered (host_cpu.c), then each node's files
 * (host_node.c). A host of 80 CPUs, 40 cores and 4 nodes costs 97 openat2(2) calls, 13 of them for files that are
 * not there, and 0.2 to 0.3 ms (counted and measured on the tree of a two-socket Xeon 6230 with SNC); 128 cores
 * without SMT cost 356 and 0.7 ms, most of it for siblings and capacity of each core.
 *
 * What is guaranteed: every online CPU is in exactly one core, in at most one group of every other kind, and in
 * at most one node; each node's CPUs are online. Where two files claim a CPU, the one that names fewer CPUs has
 * it, the earlier one among equals. Offline CPUs in a list are dropped silently: old kernels print them.
 */
#include "host_priv.h"
#include "num.h"

static const char *const warning_text[HOST_WARN_MAX] = {
	[HOST_WARN_ONLINE] = "the host has no usable list of online CPUs: each CPU's own files were taken",
	[HOST_WARN_SIBLINGS] = "SMT siblings of some CPUs are not known: each of these counts as a core of its own",
	[HOST_WARN_CONTRADICTION] = "the host's topology files contradict each other: the smaller groups were taken",
	[HOST_WARN_NODE_CPUS] = "the NUMA node of some CPUs is not known: no node is preferred for them",
	[HOST_WARN_MEMORY] = "the memory of some NUMA nodes is not known: it does not limit the placement",
	[HOST_WARN_DISTANCE] = "NUMA distances are not known: 10 within a node and 20 between nodes were taken",
	[HOST_WARN_POOLS] = "some huge page pools cannot be read: their pages are not known",
};

void host_warn_once(struct host_reader *rd, enum host_warning w)
{
	if (rd->warned & 1u << w)
		return;
	rd->warned |= 1u << w;
	msgs_warn(&rd->h->warnings, "%s", warning_text[w]);
}

int host_cpu_index(const struct host *h, int id)
{
	int low = 0, high = (int)h->n_cpus - 1;

	while (low <= high) {
		int mid = low + (high - low) / 2;

		if (h->cpus[mid].id == id)
			return mid;
		if (h->cpus[mid].id < id)
			low = mid + 1;
		else
			high = mid - 1;
	}
	return -1;
}

/* "always [madvise] never": the word in brackets. */
static void read_thp(struct host_reader *rd)
{
	char text[128], *word, *end;

	if (hostfs_read(rd->fs, text, sizeof(text), "sys/kernel/mm/transparent_hugepage/enabled") < 0)
		return;
	word = strchr(text, '[');
	end = word ? strchr(word, ']') : NULL;
	if (!end || (size_t)(end - word) > sizeof(rd->h->thp))
		return;
	*end = '\0';
	memcpy(rd->h->thp, word + 1, (size_t)(end - word));
}

/* "6.1.0-18-amd64" is 601. */
static void read_kernel(struct host_reader *rd)
{
	char text[128], *rest = text, *part;
	uint64_t major, minor;

	if (hostfs_read(rd->fs, text, sizeof(text), "proc/sys/kernel/osrelease") < 0)
		return;
	part = strsep(&rest, ".");
	if (!rest || num_parse_range(part, 1, 1000, &major) < 0)
		return;
	rest[strspn(rest, "0123456789")] = '\0';
	if (num_parse_range(rest, 0, 99, &minor) == 0)
		rd->h->kernel = (unsigned int)(major * 100 + minor);
}

/* 1 is running; 0 and 2 are not (Documentation/admin-guide/mm/ksm.rst). */
static void read_ksm(struct host_reader *rd)
{
	uint64_t run;

	rd->h->ksm_off = hostfs_read_u64(rd->fs, &run, "sys/kernel/mm/ksm/run") == 0 && run != 1;
}

int host_read(const struct hostfs *fs, struct host *ret, struct err *e)
{
	struct host h = { 0 };
	struct host_reader rd = { .fs = fs, .h = &h };
	int r = host_read_online(&rd, e);

	if (r == 0)
		r = host_read_cores(&rd);
	if (r == 0)
		r = host_read_groups(&rd);
	if (r == 0)
		r = host_read_kinds(&rd);
	if (r == 0)
		r = host_read_nodes(&rd);
	if (r == 0)
		r = host_read_exclusive(&rd);
	if (r == -ENOMEM)
		(void)err_set(e, ENOMEM, "host: %s", err_name(ENOMEM));
	if (r < 0) {
		host_fini(&h);
		return r;
	}
	read_thp(&rd);
	read_kernel(&rd);
	read_ksm(&rd);
	*ret = h;
	return 0;
}

void host_fini(struct host *h)
{
	for (unsigned int i = 0; i < h->n_nodes; i++)
		free(h->nodes[i].distance);
	free(h->nodes);
	free(h->cpus);
	msgs_fini(&h->warnings);
	*h = (struct host){ 0 };
}

const struct host_cpu *host_cpu(const struct host *h, int id)
{
	int i = host_cpu_index(h, id);

	return i < 0 ? NULL : &h->cpus[i];
}

struct host_node *host_node(const struct host *h, int id)
{
	for (unsigned int i = 0; i < h->n_nodes; i++)
		if (h->nodes[i].id == id)
			return &h->nodes[i];
	return NULL;
}

struct idset host_siblings(const struct host *h, int id)
{
	const struct host_cpu *c = host_cpu(h, id);
	struct idset set = IDSET_EMPTY;

	for (unsigned int i = 0; c && i < h->n_cpus; i++)
		if (h->cpus[i].core == c->core)
			idset_add(&set, (unsigned int)h->cpus[i].id);
	return set;
}

struct idset host_node_cpus(const struct host *h, const struct idset *nodes)
{
	struct idset set = IDSET_EMPTY;

	for (unsigned int i = 0; i < h->n_cpus; i++)
		if (h->cpus[i].node < 0 || idset_has(nodes, (unsigned int)h->cpus[i].node))
			idset_add(&set, (unsigned int)h->cpus[i].id);
	return set;
}

struct host_pool *host_pool(const struct host_node *n, uint64_t size)
{
	for (unsigned int i = 0; i < n->n_pools; i++)
		if (n->pools[i].size == size)
			return (struct host_pool *)(uintptr_t)&n->pools[i];
	return NULL;
}

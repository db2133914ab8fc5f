/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Generated trees come from tests/mkroot.py (relative: run in the checkout's top directory); trees of real machines
 * from the directory that DOMTUNE_TOPOLOGIES names.
 */
#include "common/host.h"
#include "tests/unit/tap.h"

#define UNKNOWN (-1)

/* Trees are made in one run: python3 takes longer to start than to make one. */
struct trees {
	char top[64];
};

static bool trees_make(struct trees *t, const char *const *options, size_t n)
{
	char command[256];
	FILE *f;

	(void)snprintf(t->top, sizeof(t->top), "/tmp/t_host.XXXXXX");
	OK(mkdtemp(t->top) != NULL);
	f = popen("python3 -c '' 2>/dev/null && exec python3 tests/mkroot.py --batch", "w");
	for (size_t i = 0; f && i < n; i++)
		(void)fprintf(f, "%s/%zu %s\n", t->top, i, options[i]);
	if (f && pclose(f) == 0)
		return true;
	(void)snprintf(command, sizeof(command), "rm -rf %s", t->top);
	IS_INT(system(command), 0);
	OK(system("python3 -c '' 2>/dev/null") != 0); /* else it is our fault */
	return false;
}

static int trees_read(const struct trees *t, size_t i, struct host *ret)
{
	struct hostfs fs = HOSTFS_INIT;
	struct err e = ERR_INIT;
	char root[128];
	int r;

	*ret = (struct host){ 0 };
	(void)snprintf(root, sizeof(root), "%s/%zu", t->top, i);
	IS_INT(hostfs_init(&fs, root, &e), 0);
	r = host_read(&fs, ret, &e);
	OK(r == 0 ? e.code == 0 : e.code == -r);
	hostfs_fini(&fs);
	return r;
}

static void trees_fini(struct trees *t)
{
	char command[96];

	(void)snprintf(command, sizeof(command), "rm -rf %s", t->top);
	IS_INT(system(command), 0);
}

/* What holds whatever the files say. */
static void check_model(const char *name, const struct host *h)
{
	struct idset of_nodes = IDSET_EMPTY;
	int before = tap_failed, next_core = 0;

	OK(h->n_cpus == idset_count(&h->online) && h->n_cpus > 0);
	OK(h->n_nodes > 0 && h->n_kinds > 0 && h->n_cores > 0 && h->n_cores <= h->n_cpus);
	for (unsigned int i = 0; i < h->n_cpus; i++) {
		const struct host_cpu *c = &h->cpus[i];
		const struct host_node *node = host_node(h, c->node);
		struct idset siblings = host_siblings(h, c->id);

		OK(i == 0 || c->id > h->cpus[i - 1].id);
		OK(host_cpu(h, c->id) == c);
		OK(idset_has(&h->online, (unsigned int)c->id));
		OK(c->core >= 0 && (unsigned int)c->core < h->n_cores && c->core <= next_core);
		next_core += c->core == next_core;
		OK(c->kind >= 0 && (unsigned int)c->kind < h->n_kinds);
		OK(idset_has(&siblings, (unsigned int)c->id) && idset_is_subset(&siblings, &h->online));
		OK(c->node < 0 || (node && idset_has(&node->cpus, (unsigned int)c->id)));
		OK(c->die >= -1 && c->cluster >= -1 && c->l3 >= -1 && c->package >= -1);
		OK(c->l3 >= 0 || c->l3_size == 0);
		for (unsigned int j = 0; j < i; j++)
			OK(h->cpus[j].l3 != c->l3 || h->cpus[j].l3_size == c->l3_size);
	}
	IS_INT(next_core, h->n_cores);
	OK(idset_is_subset(&h->exclusive, &h->online) && idset_is_empty(&h->exclusive) == !h->exclusive_name[0]);
	for (unsigned int i = 0; i < h->n_nodes; i++) {
		const struct host_node *n = &h->nodes[i];

		OK(i == 0 || n->id > h->nodes[i - 1].id);
		OK(!idset_intersects(&of_nodes, &n->cpus) && idset_is_subset(&n->cpus, &h->online));
		idset_or(&of_nodes, &n->cpus);
		OK(!n->holds_guests || (!idset_is_empty(&n->cpus) && n->mem_total != 0));
		OK(n->mem_free == HOST_UNKNOWN || n->mem_total == HOST_UNKNOWN || n->mem_free <= n->mem_total);
		for (unsigned int j = 0; j < h->n_nodes; j++)
			OK(n->distance && n->distance[j] > 0);
		for (unsigned int j = 0; j < n->n_pools; j++) {
			OK(n->pools[j].size > 0 && (j == 0 || n->pools[j].size > n->pools[j - 1].size));
			OK(n->pools[j].free == HOST_UNKNOWN || n->pools[j].free <= n->pools[j].total);
		}
	}
	OK(h->warnings.n <= 7 && !h->warnings.failed);
	for (size_t i = 0; i < h->warnings.n; i++)
		for (size_t j = 0; j < i; j++)
			OK(!streq(h->warnings.m[i].text, h->warnings.m[j].text));
	if (tap_failed > before)
		printf("# in %s\n", name);
}

static int groups(const struct host *h, size_t offset)
{
	int max = UNKNOWN;

	for (unsigned int i = 0; i < h->n_cpus; i++) {
		int v;

		memcpy(&v, (const char *)&h->cpus[i] + offset, sizeof(v));
		if (v > max)
			max = v;
	}
	return max + 1;
}
#define GROUPS(h, what) groups(h, offsetof(struct host_cpu, what))

static bool warned(const struct host *h, const char *part)
{
	for (size_t i = 0; i < h->warnings.n; i++)
		if (strstr(h->warnings.m[i].text, part))
			return true;
	return false;
}

static void is_set(const struct idset *s, const char *want)
{
	char *text = idset_text(s);

	IS_STR(text, want);
	free(text);
}

struct shape {
	const char *name; /* options of mkroot.py, or a tree's name */
	unsigned int cpus, cores, nodes;
	int dies, clusters, l3;
	unsigned int kinds;
	size_t warnings;
};

static void check_shape(const struct host *h, const struct shape *s)
{
	int before = tap_failed;

	IS_INT(h->n_cpus, s->cpus);
	IS_INT(h->n_cores, s->cores);
	IS_INT(h->n_nodes, s->nodes);
	IS_INT(GROUPS(h, die), s->dies);
	IS_INT(GROUPS(h, cluster), s->clusters);
	IS_INT(GROUPS(h, l3), s->l3);
	IS_INT(h->n_kinds, s->kinds);
	IS_INT(h->warnings.n, s->warnings);
	check_model(s->name, h);
	if (tap_failed > before)
		printf("# in %s\n", s->name);
}

#define CPU "sys/devices/system/cpu"
#define NODE "sys/devices/system/node"

/* Every kind of hole and contradiction that a kernel, a hypervisor or a trimmed copy has. */
TEST(generated_shapes)
{
	static const struct shape shapes[] = {
		{ "", 8, 8, 1, 1, 0, 1, 1, 0 },
		{ "--cpus 1", 1, 1, 1, 0, 0, 1, 1, 0 },
		{ "--cpus 16 --smt 2 --nodes 2 --l3-cpus 4", 16, 8, 2, 2, 0, 4, 1, 0 },
		{ "--cpus 16 --smt 4 --numbering adjacent --packages 2", 16, 4, 1, 2, 0, 2, 1, 0 },
		{ "--cpus 80 --smt 2 --nodes 4 --packages 2", 80, 40, 4, 2, 0, 2, 1, 0 },
		/* offline: the lowest CPU, a whole core, one sibling of another */
		{ "--cpus 16 --smt 2 --nodes 2 --offline 0,3,11,4", 12, 7, 2, 2, 0, 2, 1, 0 },
		{ "--cpus 8 --nodes 0,2-3 --memory-per-node 64G,0,16G --cpuless 3", 8, 8, 3, 2, 0, 2, 1, 0 },
		/* the online list is gone; some CPUs cannot be switched off, one is off */
		{ "--offline 3 --drop " CPU "/online", 7, 7, 1, 1, 0, 1, 1, 1 },
		{ "--set " CPU "/online=none", 8, 8, 1, 1, 0, 1, 1, 1 },
		{ "--set " CPU "/online=", 8, 8, 1, 1, 0, 1, 1, 1 },
		{ "--set " CPU "/online=0-8192", 8, 8, 1, 1, 0, 1, 1, 1 },
		{ "--drop " CPU "/online --drop " CPU "/cpu*/topology", 8, 8, 1, 0, 0, 1, 1, 2 },
		/* online wins over directories: CPUs 8-9 exist for it, and their core and node are their own */
		{ "--set " CPU "/online=0-9", 10, 10, 1, 1, 0, 1, 1, 1 },
		{ "--nodes 2 --set " CPU "/online=0-9", 10, 10, 2, 2, 0, 2, 1, 2 },
		{ "--set " CPU "/online=2-3", 2, 2, 1, 1, 0, 1, 1, 0 },
		/* only masks, as before 2.6.25 */
		{ "--cpus 40 --smt 2 --nodes 2 --l3-cpus 10 --drop *_list --drop *cpulist", 40, 20, 2, 2, 0, 4, 1, 0 },
		{ "--smt 2 --drop *thread_siblings*", 8, 4, 1, 1, 0, 1, 1, 0 },
		{ "--smt 2 --drop *thread_siblings* --drop *core_cpus*", 8, 8, 1, 1, 0, 1, 1, 1 },
		{ "--smt 2 --drop " CPU "/cpu1/topology", 8, 4, 1, 1, 0, 1, 1, 0 },
		{ "--smt 2 --drop " CPU "/cpu*/topology", 8, 8, 1, 0, 0, 1, 1, 1 },
		{ "--drop " CPU "/cpu*/cache", 8, 8, 1, 1, 0, 0, 1, 0 },
		{ "--drop *die_cpus* --drop *index3", 8, 8, 1, 0, 0, 0, 1, 0 },
		/* siblings are asymmetric: 4 has gone from 0's list; 5 is in 1's core and in 2's */
		{ "--smt 2 --set " CPU "/cpu0/topology/thread_siblings_list=0", 8, 5, 1, 1, 0, 1, 1, 1 },
		{ "--smt 2 --set " CPU "/cpu2/topology/thread_siblings_list=2,5", 8, 5, 1, 1, 0, 1, 1, 1 },
		{ "--smt 2 --set " CPU "/cpu0/topology/thread_siblings_list=0-7", 8, 1, 1, 1, 0, 1, 1, 0 },
		{ "--smt 2 --set " CPU "/cpu0/topology/thread_siblings_list=1,5", 8, 4, 1, 1, 0, 1, 1, 1 },
		{ "--smt 2 --set " CPU "/cpu0/topology/thread_siblings_list=9000", 8, 4, 1, 1, 0, 1, 1, 0 },
		{ "--smt 2 --set " CPU "/cpu0/topology/thread_siblings_list=x", 8, 4, 1, 1, 0, 1, 1, 0 },
		/* L3 lists overlap: 0-3 and 3-7 (the first keeps 3), and one for all plus a small one */
		{ "--l3-cpus 4 --set " CPU "/cpu4/cache/index3/shared_cpu_list=3-7", 8, 8, 1, 1, 0, 2, 1, 1 },
		{ "--l3-cpus 4 --set " CPU "/cpu4/cache/index3/shared_cpu_list=2,4", 8, 8, 1, 1, 0, 3, 1, 1 },
		/* nodes: no directory, no list, a hole, a listed one that does not exist, no CPU list, links only */
		{ "--nodes 2 --drop " NODE, 8, 8, 1, 2, 0, 2, 1, 0 },
		{ "--nodes 0,5 --drop " NODE "/online", 8, 8, 2, 2, 0, 2, 1, 0 },
		{ "--nodes 2 --set " NODE "/online=0-2", 8, 8, 2, 2, 0, 2, 1, 2 },
		{ "--nodes 2 --set " NODE "/online=7", 8, 8, 1, 2, 0, 2, 1, 1 },
		{ "--nodes 2 --drop " NODE "/node*/cpu*", 8, 8, 2, 2, 0, 2, 1, 1 },
		{ "--nodes 1 --drop " NODE "/node*/cpu*", 8, 8, 1, 1, 0, 1, 1, 0 },
		{ "--nodes 2 --drop " NODE "/node*/cpu* --set " NODE "/node0/cpu0/x= --set " NODE "/node1/cpu7/x=",
		  8, 8, 2, 2, 0, 2, 1, 1 },
		{ "--nodes 2 --set " NODE "/node1/cpulist=3-7", 8, 8, 2, 2, 0, 2, 1, 1 },
		{ "--nodes 2 --offline 7 --set " NODE "/node1/cpulist=4-7", 7, 7, 2, 2, 0, 2, 1, 0 },
		{ "--nodes 2 --drop */meminfo", 8, 8, 2, 2, 0, 2, 1, 1 },
		{ "--nodes 2 --drop */distance", 8, 8, 2, 2, 0, 2, 1, 1 },
		{ "--nodes 2 --set " NODE "/node0/distance=10", 8, 8, 2, 2, 0, 2, 1, 1 },
		{ "--nodes 2 --set '" NODE "/node0/distance=10 20 30'", 8, 8, 2, 2, 0, 2, 1, 1 },
		{ "--nodes 2 --set '" NODE "/node0/distance=10 0'", 8, 8, 2, 2, 0, 2, 1, 1 },
		{ "--nodes 2 --drop */nr_hugepages", 8, 8, 2, 2, 0, 2, 1, 1 },
		{ "--nodes 2 --drop */hugepages", 8, 8, 2, 2, 0, 2, 1, 0 },
		/* kinds: by capacity, by frequency; favoured cores are no kind; one value missing: not known */
		{ "--capacity 0-1:280 --capacity 2-6:855 --capacity 7:1024", 8, 8, 1, 1, 0, 1, 3, 0 },
		{ "--max-freq 0-3:5000000 --max-freq 4-7:3900000", 8, 8, 1, 1, 0, 1, 2, 0 },
		{ "--max-freq 0-3:5200000 --max-freq 4-7:4600000", 8, 8, 1, 1, 0, 1, 2, 0 },
		{ "--max-freq 0-3:5000000 --max-freq 4-5:5200000 --max-freq 6-7:5100000", 8, 8, 1, 1, 0, 1, 1, 0 },
		{ "--max-freq 0-6:5000000", 8, 8, 1, 1, 0, 1, 1, 0 },
		{ "--capacity 0-3:1024 --capacity 4-7:0", 8, 8, 1, 1, 0, 1, 1, 0 },
	};
	const char *options[ARRAY_SIZE(shapes)];
	struct trees t;

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
		options[i] = shapes[i].name;
	if (!trees_make(&t, options, ARRAY_SIZE(options)))
		SKIP("python3 is missing");
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct host h;

		if (trees_read(&t, i, &h) < 0)
			TAP_FAIL("%s: not read", shapes[i].name);
		else
			check_shape(&h, &shapes[i]);
		host_fini(&h);
	}
	trees_fini(&t);
}

TEST(facts_of_a_server)
{
	static const char *const options[] = {
		"--cpus 16 --smt 2 --nodes 2 --l3-cpus 4 --memory-per-node 32G,8G --thp always "
		"--kernel 5.10.0-30-amd64 --hugepages 1:2048:512:100 --hugepages 1:64:3 --offline 5",
	};
	struct trees t;
	struct idset s, nodes = IDSET_EMPTY;
	struct host h;

	if (!trees_make(&t, options, ARRAY_SIZE(options)))
		SKIP("python3 is missing");
	IS_INT(trees_read(&t, 0, &h), 0);
	IS_INT(h.kernel, 510);
	IS_STR(h.thp, "always");
	is_set(&h.online, "0-4,6-15");
	OK(host_cpu(&h, 5) == NULL && host_cpu(&h, 16) == NULL && host_cpu(&h, -1) == NULL);
	s = host_siblings(&h, 1);
	is_set(&s, "1,9");
	s = host_siblings(&h, 13);
	is_set(&s, "13");
	s = host_siblings(&h, 5);
	is_set(&s, "");
	is_set(&host_node(&h, 0)->cpus, "0-3,8-11");
	is_set(&host_node(&h, 1)->cpus, "4,6-7,12-15");
	IS_INT(host_cpu(&h, 12)->node, 1);
	IS_INT(host_cpu(&h, 12)->package, 1);
	/* Numbered by the lowest CPU: 0-1, 2-3, 4, 6-7 with their siblings. */
	IS_INT(host_cpu(&h, 0)->l3, 0);
	IS_INT(host_cpu(&h, 11)->l3, 1);
	IS_INT(host_cpu(&h, 13)->l3, 2);
	IS_INT(host_cpu(&h, 6)->l3, 3);
	IS_INT(host_node(&h, 0)->mem_total, UINT64_C(32) << 30);
	IS_INT(host_node(&h, 1)->mem_total, UINT64_C(8) << 30);
	OK(host_node(&h, 1)->mem_free < UINT64_C(8) << 30 && host_node(&h, 1)->mem_free > UINT64_C(6) << 30);
	IS_INT(h.nodes[0].distance[0], 10);
	IS_INT(h.nodes[0].distance[1], 20);
	IS_INT(host_pool(&h.nodes[1], 2 << 20)->total, 512);
	IS_INT(host_pool(&h.nodes[1], 2 << 20)->free, 100);
	IS_INT(host_pool(&h.nodes[1], 64 << 10)->free, 3);
	IS_INT(host_pool(&h.nodes[0], 1 << 30)->total, 0);
	OK(host_pool(&h.nodes[0], 4096) == NULL);
	idset_add(&nodes, 1);
	s = host_node_cpus(&h, &nodes);
	is_set(&s, "4,6-7,12-15");
	OK(host_node(&h, 2) == NULL);
	host_fini(&h);
	host_fini(&h); /* may be repeated */
	trees_fini(&t);
}

TEST(unknown_is_not_zero)
{
	static const char *const options[] = {
		"--nodes 2 --drop */meminfo --drop */free_hugepages --drop sys/kernel --drop proc/sys "
		"--drop " NODE "/has_memory",
		"--nodes 2 --drop " NODE "/*/meminfo --set " NODE "/has_memory=1",
		"--nodes 3 --cpuless 2 --memory-per-node 8G,0,8G",
		"--memory-per-node 4G --hugepages 0:2048:10:9 --drop " NODE,
		"--nodes 2 --set " NODE "/node1/cpulist=6",
	};
	struct trees t;
	struct host h;
	struct idset s, nodes = IDSET_EMPTY;

	if (!trees_make(&t, options, ARRAY_SIZE(options)))
		SKIP("python3 is missing");
	IS_INT(trees_read(&t, 0, &h), 0);
	IS_STR(h.thp, "");
	IS_INT(h.kernel, 0);
	OK(h.nodes[0].mem_total == HOST_UNKNOWN && h.nodes[0].mem_free == HOST_UNKNOWN && h.nodes[0].holds_guests);
	OK(host_pool(&h.nodes[0], 2 << 20)->free == HOST_UNKNOWN && host_pool(&h.nodes[0], 2 << 20)->total == 0);
	OK(warned(&h, "memory of some NUMA nodes") && warned(&h, "huge page pools"));
	host_fini(&h);

	/* No meminfo, but the kernel lists which nodes have memory. */
	IS_INT(trees_read(&t, 1, &h), 0);
	IS_INT(h.nodes[0].mem_total, 0);
	OK(!h.nodes[0].holds_guests && h.nodes[1].mem_total == HOST_UNKNOWN && h.nodes[1].holds_guests);
	host_fini(&h);

	/* Nodes without CPUs, without memory. */
	IS_INT(trees_read(&t, 2, &h), 0);
	OK(h.nodes[0].holds_guests && !h.nodes[1].holds_guests && !h.nodes[2].holds_guests);
	IS_INT(h.nodes[1].mem_total, 0);
	OK(idset_is_empty(&h.nodes[2].cpus));
	IS_INT(h.warnings.n, 0);
	host_fini(&h);

	/* Without CONFIG_NUMA the global files speak for the one node. */
	IS_INT(trees_read(&t, 3, &h), 0);
	IS_INT(h.nodes[0].mem_total, UINT64_C(4) << 30);
	IS_INT(h.nodes[0].mem_free, UINT64_C(2) << 30);
	IS_INT(host_pool(&h.nodes[0], 2 << 20)->free, 9);
	is_set(&h.nodes[0].cpus, "0-7");
	host_fini(&h);

	/* CPUs of unknown node belong to every node when asked for the CPUs of nodes. */
	IS_INT(trees_read(&t, 4, &h), 0);
	IS_INT(host_cpu(&h, 5)->node, -1);
	OK(warned(&h, "NUMA node of some CPUs"));
	idset_add(&nodes, 0);
	s = host_node_cpus(&h, &nodes);
	is_set(&s, "0-5,7");
	host_fini(&h);
	trees_fini(&t);
}

TEST(the_smaller_group_wins)
{
	static const char *const options[] = {
		"--cpus 8 --numbering adjacent --smt 4 "
		"--set " CPU "/cpu0/topology/thread_siblings_list=0-3,5 "
		"--set " CPU "/cpu4/topology/thread_siblings_list=4-5",
		"--nodes 2 --set " NODE "/node0/cpulist=0-7 --set " NODE "/node1/cpulist=2,6",
	};
	struct trees t;
	struct idset s;
	struct host h;

	if (!trees_make(&t, options, ARRAY_SIZE(options)))
		SKIP("python3 is missing");
	IS_INT(trees_read(&t, 0, &h), 0);
	s = host_siblings(&h, 0);
	is_set(&s, "0-3");
	s = host_siblings(&h, 5);
	is_set(&s, "4-5");
	OK(warned(&h, "contradict"));
	check_model("the_smaller_group_wins", &h);
	host_fini(&h);
	/* Of node 0 (eight CPUs claimed) and node 1 (two), node 1 has them. */
	IS_INT(trees_read(&t, 1, &h), 0);
	is_set(&h.nodes[0].cpus, "0-1,3-5,7");
	is_set(&h.nodes[1].cpus, "2,6");
	host_fini(&h);
	trees_fini(&t);
}

TEST(cache_sizes)
{
	static const struct {
		const char *options;
		uint64_t kib[2]; /* of CPUs 0-3 and 4-7 */
	} cases[] = {
		{ "--l3-cpus 4", { 32768, 32768 } },
		{ "--l3-cpus 4 --set " CPU "/cpu4/cache/index3/size=98304K", { 32768, 98304 } },
		{ "--l3-cpus 4 --set " CPU "/cpu4/cache/index3/size=96M", { 32768, 98304 } },
		{ "--l3-cpus 4 --set " CPU "/cpu0/cache/index3/size=1G", { 1048576, 32768 } },
		{ "--l3-cpus 4 --set " CPU "/cpu0/cache/index3/size=16777216", { 16384, 32768 } },
		/* of one CPU per group it is asked, of the lowest */
		{ "--l3-cpus 4 --set " CPU "/cpu5/cache/index3/size=1K", { 32768, 32768 } },
		{ "--l3-cpus 4 --offline 4 --set " CPU "/cpu5/cache/index3/size=1K", { 32768, 1 } },
		{ "--l3-cpus 4 --drop " CPU "/cpu0/cache/index3/size", { 0, 32768 } },
		{ "--l3-cpus 4 --set " CPU "/cpu0/cache/index3/size=0K", { 0, 32768 } },
		{ "--l3-cpus 4 --set " CPU "/cpu0/cache/index3/size=K", { 0, 32768 } },
		{ "--l3-cpus 4 --set " CPU "/cpu0/cache/index3/size=12KB", { 0, 32768 } },
		{ "--l3-cpus 4 --set " CPU "/cpu0/cache/index3/size=-3K", { 0, 32768 } },
		{ "--l3-cpus 4 --set " CPU "/cpu0/cache/index3/size=99999999999999999999K", { 0, 32768 } },
		{ "--drop " CPU "/cpu*/cache", { 0, 0 } },
	};
	const char *options[ARRAY_SIZE(cases)];
	struct trees t;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		options[i] = cases[i].options;
	if (!trees_make(&t, options, ARRAY_SIZE(options)))
		SKIP("python3 is missing");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int before = tap_failed;
		struct host h;

		IS_INT(trees_read(&t, i, &h), 0);
		IS_INT(host_cpu(&h, 1)->l3_size, cases[i].kib[0] << 10);
		IS_INT(host_cpu(&h, 5)->l3_size, cases[i].kib[1] << 10);
		check_model(cases[i].options, &h);
		if (tap_failed > before)
			printf("# in %s\n", cases[i].options);
		host_fini(&h);
	}
	trees_fini(&t);
}

#define V2 "sys/fs/cgroup"
#define V1 "sys/fs/cgroup/cpuset"
#define RT V2 "/rt/cpuset.cpus"

/* CPUs that are somebody else's by way of cpusets. */
TEST(exclusive_cpusets)
{
	static const struct {
		const char *options, *cpus, *name;
	} cases[] = {
		{ "--cgroup v2", "", "" },
		{ "--cgroup v2 --set " V2 "/rt.slice/cpuset.cpus.partition=root "
		  "--set " V2 "/rt.slice/cpuset.cpus.effective=2-3", "2-3", "rt.slice" },
		{ "--cgroup v2 --set " RT ".partition=isolated --set " RT ".effective=2-3",
		  "2-3", "rt" },
		{ "--cgroup v2 --set " RT ".partition=member --set " RT ".effective=2-3", "", "" },
		{ "--cgroup v2 --set '" RT ".partition=root invalid (Cpu list in cpuset.cpus not exclusive)' "
		  "--set " RT "=2-3 --set " RT ".effective=2-3", "", "" },
		/* CPU 3 was handed on to a partition below: before 6.7, and since */
		{ "--cgroup v2 --set " RT ".partition=root --set " RT "=2-3 "
		  "--set " RT ".effective=2", "2-3", "rt" },
		{ "--cgroup v2 --set " RT ".partition=root --set " RT "=1-3 "
		  "--set " RT ".exclusive.effective=2-3 --set " RT ".effective=2", "2-3", "rt" },
		/* two of them, the first name counts; guests' own; offline CPUs */
		{ "--cgroup v2 --set " V2 "/b/cpuset.cpus.partition=root --set " V2 "/b/cpuset.cpus.effective=2 "
		  "--set " V2 "/a/cpuset.cpus.partition=isolated --set " V2 "/a/cpuset.cpus.effective=5", "2,5", "a" },
		{ "--cgroup v2 --set " V2 "/machine.slice/cpuset.cpus.partition=root "
		  "--set " V2 "/machine.slice/cpuset.cpus.effective=2-7", "", "" },
		{ "--cgroup v2 --set " V2 "/machine/cpuset.cpus.partition=root "
		  "--set " V2 "/machine/cpuset.cpus.effective=2-7", "", "" },
		{ "--cgroup v2 --offline 3 --set " RT ".partition=root --set " RT "=2-3", "2", "rt" },
		{ "--cgroup v2 --set " RT ".partition=root --set " RT ".effective=", "", "" },
		{ "--cgroup v2 --set " RT ".partition=root --set " RT ".effective=x-y", "", "" },
		/* the cpuset controller's own hierarchy */
		{ "--cgroup v1 --set " V1 "/rt/cpuset.cpu_exclusive=1 --set " V1 "/rt/cpuset.cpus=4-5", "4-5", "rt" },
		{ "--cgroup v1 --set " V1 "/rt/cpuset.cpu_exclusive=0 --set " V1 "/rt/cpuset.cpus=4-5", "", "" },
		{ "--cgroup v1 --set " V1 "/machine/cpuset.cpu_exclusive=1 "
		  "--set " V1 "/machine/cpuset.cpus=4-5", "", "" },
		{ "--cgroup hybrid --set " V1 "/rt/cpuset.cpu_exclusive=1 --set " V1 "/rt/cpuset.cpus=6", "6", "rt" },
		{ "--cgroup v2 --drop proc/mounts --set " RT ".partition=root "
		  "--set " RT ".effective=2-3", "", "" },
	};
	const char *options[ARRAY_SIZE(cases)];
	struct trees t;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		options[i] = cases[i].options;
	if (!trees_make(&t, options, ARRAY_SIZE(options)))
		SKIP("python3 is missing");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int before = tap_failed;
		struct host h;

		IS_INT(trees_read(&t, i, &h), 0);
		is_set(&h.exclusive, cases[i].cpus);
		IS_STR(h.exclusive_name, cases[i].name);
		check_model(cases[i].options, &h);
		IS_INT(h.warnings.n, 0);
		if (tap_failed > before)
			printf("# in %s\n", cases[i].options);
		host_fini(&h);
	}
	trees_fini(&t);
}

TEST(package_numbers)
{
	static const char *const options[] = {
		"--nodes 2 --set " CPU "/cpu0/topology/physical_package_id=36 "
		"--set " CPU "/cpu4/topology/physical_package_id=-1",
		"--nodes 2 --drop *core_siblings* --drop *package_cpus*",
	};
	struct trees t;
	struct host h;

	if (!trees_make(&t, options, ARRAY_SIZE(options)))
		SKIP("python3 is missing");
	IS_INT(trees_read(&t, 0, &h), 0);
	IS_INT(host_cpu(&h, 3)->package, 36);
	IS_INT(host_cpu(&h, 7)->package, -1);
	IS_INT(h.warnings.n, 0);
	host_fini(&h);
	/* No lists: each CPU is asked. */
	IS_INT(trees_read(&t, 1, &h), 0);
	IS_INT(host_cpu(&h, 3)->package, 0);
	IS_INT(host_cpu(&h, 7)->package, 1);
	host_fini(&h);
	trees_fini(&t);
}

TEST(kinds_are_ordered)
{
	static const char *const options[] = {
		"--capacity 0:236 --capacity 1:221 --capacity 2:206 --capacity 3:191 --capacity 4:176 "
		"--capacity 5:166 --capacity 6-7:160",
		"--smt 2 --capacity 0,4:500 --capacity 1,5:1024 --capacity 2,6:200 --capacity 3,7:1000",
	};
	struct trees t;
	struct host h;

	if (!trees_make(&t, options, ARRAY_SIZE(options)))
		SKIP("python3 is missing");
	/* AMD ranks preferred cores in small steps over a wide range: one kind. */
	IS_INT(trees_read(&t, 0, &h), 0);
	IS_INT(h.n_kinds, 1);
	host_fini(&h);
	IS_INT(trees_read(&t, 1, &h), 0);
	IS_INT(h.n_kinds, 3);
	IS_INT(host_cpu(&h, 4)->kind, 1);
	IS_INT(host_cpu(&h, 5)->kind, 0);
	IS_INT(host_cpu(&h, 6)->kind, 2);
	IS_INT(host_cpu(&h, 3)->kind, 0);
	host_fini(&h);
	trees_fini(&t);
}

TEST(kernel_and_thp_spellings)
{
	static const struct {
		const char *options;
		unsigned int kernel;
		const char *thp;
	} cases[] = {
		{ "--kernel 6.1", 601, "madvise" },
		{ "--kernel 6.12+deb13-amd64", 612, "madvise" },
		{ "--kernel 2.6.32-754.el6.x86_64", 206, "madvise" },
		{ "--kernel 7.0-rc1", 700, "madvise" },
		{ "--kernel 6", 0, "madvise" },
		{ "--kernel Linux", 0, "madvise" },
		{ "--kernel 6.x", 0, "madvise" },
		{ "--set 'sys/kernel/mm/transparent_hugepage/enabled=always madvise never'", 601, "" },
		{ "--set 'sys/kernel/mm/transparent_hugepage/enabled=[neverneverneverx]'", 601, "" },
		{ "--set 'sys/kernel/mm/transparent_hugepage/enabled=[never'", 601, "" },
		{ "--thp never", 601, "never" },
	};
	const char *options[ARRAY_SIZE(cases)];
	struct trees t;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		options[i] = cases[i].options;
	if (!trees_make(&t, options, ARRAY_SIZE(options)))
		SKIP("python3 is missing");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct host h;

		IS_INT(trees_read(&t, i, &h), 0);
		IS_INT(h.kernel, cases[i].kernel);
		IS_STR(h.thp, cases[i].thp);
		host_fini(&h);
	}
	trees_fini(&t);
}

TEST(no_cpus_is_an_error)
{
	static const char *const options[] = {
		"--drop " CPU,
		"--drop 'sys*'",
		"--drop " CPU "/online --drop '" CPU "/cpu[0-9]*'",
	};
	struct trees t;
	struct host h = { 0 };

	if (!trees_make(&t, options, ARRAY_SIZE(options)))
		SKIP("python3 is missing");
	IS_INT(trees_read(&t, 0, &h), -ENODEV);
	OK(h.cpus == NULL);
	IS_INT(trees_read(&t, 1, &h), -ENODEV);
	IS_INT(trees_read(&t, 2, &h), -ENODEV);
	trees_fini(&t);
}

/* The trees that tests are run with must be the machines they say. */
TEST(real_machines)
{
	static const struct shape shapes[] = {
		{ "epyc7451-2s-96c-8n", 96, 48, 8, 0, 0, 16, 1, 2 },
		{ "i7-1165g7-8c", 8, 4, 1, 1, 4, 1, 1, 1 },
		{ "i7-1370p-hybrid-20c", 20, 14, 1, 1, 8, 1, 2, 0 },
		{ "kunpeng920-2s-128c-4n", 128, 128, 4, 0, 32, 4, 1, 0 },
		{ "opteron6276-4s-64c-8n", 64, 32, 8, 0, 0, 8, 1, 0 },
		{ "phone-x3-a715-a710-a510-8c", 8, 8, 1, 0, 0, 1, 3, 1 },
		{ "power7-256c-8n-sparse", 256, 64, 8, 0, 0, 64, 1, 1 },
		{ "power8-deconfigured-160c-4n", 10, 10, 4, 0, 0, 0, 1, 1 },
		{ "xeon-netburst-4s-16c-offline", 12, 7, 1, 0, 0, 4, 1, 1 },
		{ "xeon4108-2s-32c-2n", 32, 16, 2, 2, 0, 2, 1, 0 },
		{ "xeon6230-2s-snc2-80c-4n", 80, 40, 4, 2, 0, 2, 1, 0 },
		{ "xeon7550-4s-64c-3n", 64, 32, 3, 0, 0, 4, 1, 2 },
	};
	const char *dir = getenv("DOMTUNE_TOPOLOGIES");
	unsigned int read = 0;

	if (!dir)
		SKIP("DOMTUNE_TOPOLOGIES names no directory with trees of real machines");
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct hostfs fs = HOSTFS_INIT;
		struct err e = ERR_INIT;
		struct host h = { 0 };
		char root[512];

		(void)snprintf(root, sizeof(root), "%s/%s", dir, shapes[i].name);
		if (access(root, F_OK) < 0)
			continue;
		IS_INT(hostfs_init(&fs, root, &e), 0);
		if (host_read(&fs, &h, &e) < 0)
			TAP_FAIL("%s: %s", shapes[i].name, e.text);
		else
			check_shape(&h, &shapes[i]);
		read++;
		host_fini(&h);
		hostfs_fini(&fs);
	}
	if (read == 0)
		SKIP("DOMTUNE_TOPOLOGIES has none of the known trees");
}

static int read_machine(const char *name, struct host *ret)
{
	const char *dir = getenv("DOMTUNE_TOPOLOGIES");
	struct hostfs fs = HOSTFS_INIT;
	char root[512];
	int r;

	if (!dir)
		return -ENOENT;
	(void)snprintf(root, sizeof(root), "%s/%s", dir, name);
	r = hostfs_init(&fs, root, NULL);
	if (r == 0)
		r = host_read(&fs, ret, NULL);
	hostfs_fini(&fs);
	return r;
}

TEST(real_details)
{
	struct idset s;
	struct host h;

	if (read_machine("power7-256c-8n-sparse", &h) < 0)
		SKIP("DOMTUNE_TOPOLOGIES does not have these trees");
	OK(host_node(&h, 13) && !host_node(&h, 2));
	is_set(&host_node(&h, 12)->cpus, "192-223");
	IS_INT(host_cpu(&h, 7)->package, -1);
	host_fini(&h);

	IS_INT(read_machine("xeon-netburst-4s-16c-offline", &h), 0);
	is_set(&h.online, "0-1,3-4,6-12,15");
	s = host_siblings(&h, 10);
	is_set(&s, "10");
	s = host_siblings(&h, 9);
	is_set(&s, "1,9");
	host_fini(&h);

	IS_INT(read_machine("kunpeng920-2s-128c-4n", &h), 0);
	IS_INT(h.nodes[0].n_pools, 4);
	IS_INT(h.nodes[0].distance[3], 33);
	IS_INT(host_cpu(&h, 64)->package, 8442);
	IS_INT(host_cpu(&h, 64)->l3_size, 32 << 20);
	host_fini(&h);

	IS_INT(read_machine("phone-x3-a715-a710-a510-8c", &h), 0);
	IS_INT(host_cpu(&h, 7)->kind, 0);
	IS_INT(host_cpu(&h, 3)->kind, 1);
	IS_INT(host_cpu(&h, 0)->kind, 2);
	host_fini(&h);

	IS_INT(read_machine("i7-1370p-hybrid-20c", &h), 0);
	IS_INT(host_cpu(&h, 11)->kind, 0);
	IS_INT(host_cpu(&h, 12)->kind, 1);
	IS_INT(host_cpu(&h, 15)->cluster, host_cpu(&h, 12)->cluster);
	host_fini(&h);

	IS_INT(read_machine("xeon7550-4s-64c-3n", &h), 0);
	is_set(&host_node(&h, 2)->cpus, "1,5,9,13,17,21,25,29,33,37,41,45,49,53,57,61");
	IS_INT(idset_count(&host_node(&h, 0)->cpus), 32);
	host_fini(&h);

	IS_INT(read_machine("xeon4108-2s-32c-2n", &h), 0);
	IS_INT(host_pool(&h.nodes[1], 2 << 20)->total, 2048);
	IS_INT(h.nodes[1].distance[0], 21);
	host_fini(&h);
}

/* Whatever machine the tests run on. */
TEST(this_host)
{
	struct hostfs fs = HOSTFS_INIT;
	struct err e = ERR_INIT;
	struct host h;

	IS_INT(hostfs_init(&fs, "/", &e), 0);
	if (!hostfs_exists(&fs, CPU "/online"))
		SKIP("no sysfs here");
	IS_INT(host_read(&fs, &h, &e), 0);
	check_model("this host", &h);
	IS_INT(h.n_cpus, sysconf(_SC_NPROCESSORS_ONLN));
	host_fini(&h);
	hostfs_fini(&fs);
}

TAP_MAIN

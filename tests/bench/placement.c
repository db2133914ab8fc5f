/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The placement bench; `make bench-placement` runs it (placement.sh), `make check` its smoke test.
 *
 *   usage: placement table [DIR]            the table of packing; DIR: sysfs trees of real hosts, one directory each
 *          placement smoke [DIR]            TAP: small fleets, and the bounds below
 *          placement plan ROOT CPUS DOMAINS small|large|cells [ROUNDS]   one plan of such a guest, for such a host with so many
 *                                           claims in the ledger; with ROUNDS the median time in us is printed. ROOT: an
 *                                           empty directory
 */
#include "tests/bench/fleet.h"

#include <dirent.h>
#include <sys/param.h>
#include <time.h>

#include "common/place_share.h"
#include "common/plan.h"
#include "tests/unit/placehost.h"

/* A host of the table. */
struct bench_host {
	const char *name;
	struct host_spec spec;
};

/* Memory is set by add_memory(). */
static const struct bench_host hosts[] = {
	{ "8 CPUs, 1 node, SMT", { .nodes = 1, .cores = 4, .threads = 2 } },
	{ "8 CPUs, 2 nodes", { .nodes = 2, .cores = 4, .threads = 1 } },
	{ "80 CPUs, 2 nodes, SMT", { .nodes = 2, .cores = 20, .threads = 2 } },
	{ "80 CPUs, 4 nodes, SMT", { .nodes = 4, .cores = 10, .threads = 2, .l3 = 5 } },
	{ "256 CPUs, 2 nodes, SMT, 16 L3", { .nodes = 2, .cores = 64, .threads = 2, .l3 = 8 } },
	{ "256 CPUs, 8 nodes, SMT, 16 L3", { .nodes = 8, .cores = 16, .threads = 2, .l3 = 8 } },
	{ "256 CPUs, 4 nodes, SMT4", { .nodes = 4, .cores = 16, .threads = 4, .l3 = 4 } },
	{ "512 CPUs, 2 nodes, SMT, 32 L3", { .nodes = 2, .cores = 128, .threads = 2, .l3 = 8 } },
	{ "512 CPUs, 16 nodes, SMT, 64 L3", { .nodes = 16, .cores = 16, .threads = 2, .l3 = 4 } },
	{ "512 CPUs, 16 nodes", { .nodes = 16, .cores = 32, .threads = 1, .l3 = 8 } },
};

/* How much is played. */
struct effort {
	unsigned int fleets, starts, rounds;
};

/* Shares of what the omniscient packer reaches that the smoke test demands of every host, in per cent. */
#define SMOKE_NODE_PERCENT 80
#define SMOKE_L3_PERCENT 80

enum packer_id { PACKER_OMNISCIENT, PACKER_OURS, PACKER_NODE_FIT, PACKER_FIRST_FIT, PACKERS };

struct score {
	unsigned int starts, dedicated; /* of all fleets */
	unsigned int node[PACKERS], l3[PACKERS], unmet[PACKERS];
	bool has_l3; /* more than one group, or there would be nothing to see */
};

/* 4 GiB per CPU, a quarter of it as 2M pages, where the host does not say that it has less. */
static void add_memory(struct host *h)
{
	for (unsigned int i = 0; i < h->n_nodes; i++) {
		struct host_node *n = &h->nodes[i];
		uint64_t all = idset_count(&n->cpus) * 4 * GIB, pages = all / 4 / PAGE_2M;

		if (n->mem_total != HOST_UNKNOWN && n->mem_total < all) { /* its own, but all free */
			n->mem_free = n->mem_total;
			continue;
		}
		n->holds_guests = !idset_is_empty(&n->cpus);
		n->mem_total = n->mem_free = n->holds_guests ? all : 0;
		n->n_pools = n->holds_guests ? 1 : 0;
		n->pools[0] = (struct host_pool){ .size = PAGE_2M, .total = pages, .free = pages };
	}
}

static unsigned int count(const bool *flags, unsigned int n)
{
	unsigned int sum = 0;

	for (unsigned int i = 0; i < n; i++)
		sum += flags[i];
	return sum;
}

/* What a packer that knew less has reached, the omniscient one could have done too. */
static void score_fleet(const struct fleet *f, const struct outcome *o, struct score *ret)
{
	unsigned int most_node = 0, most_l3 = 0;

	for (unsigned int k = 0; k < PACKERS; k++) {
		unsigned int node = count(o[k].one_node, f->n_guests), l3 = count(o[k].one_l3, f->n_guests);

		ret->node[k] += node;
		ret->l3[k] += l3;
		most_node = MAX(most_node, node);
		most_l3 = MAX(most_l3, l3);
	}
	ret->node[PACKER_OMNISCIENT] += most_node - count(o[PACKER_OMNISCIENT].one_node, f->n_guests);
	ret->l3[PACKER_OMNISCIENT] += most_l3 - count(o[PACKER_OMNISCIENT].one_l3, f->n_guests);
}

static void play(const struct host *h, unsigned int percent, const struct effort *e, struct score *ret)
{
	int groups = 0;

	*ret = (struct score){ 0 };
	for (unsigned int i = 0; i < h->n_cpus; i++)
		groups = h->cpus[i].l3 >= groups ? h->cpus[i].l3 + 1 : groups;
	ret->has_l3 = groups > 1;
	for (unsigned int seed = 1; seed <= e->fleets; seed++) {
		struct outcome o[PACKERS];
		struct fleet f;

		fleet_make(h, seed, percent, e->starts, &f);
		for (unsigned int k = 0; k < PACKERS; k++)
			outcome_init(&o[k], &f);
		play_omniscient(h, &f, e->rounds, &o[PACKER_OMNISCIENT]);
		play_ours(h, &f, &o[PACKER_OURS]);
		play_first_fit(h, &f, true, &o[PACKER_NODE_FIT]);
		play_first_fit(h, &f, false, &o[PACKER_FIRST_FIT]);
		for (unsigned int i = 0; i < f.n_guests; i++)
			ret->dedicated += f.guests[i].need > 0;
		ret->starts += f.n_guests;
		score_fleet(&f, o, ret);
		for (unsigned int k = 0; k < PACKERS; k++) {
			ret->unmet[k] += o[k].unmet;
			outcome_fini(&o[k]);
		}
		fleet_fini(&f);
	}
}

/* Call for each host: the generated ones, then the real ones below dir, by name. */
typedef void (*host_fn)(const char *name, struct host *h, void *arg);

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void each_tree(const char *dir, host_fn fn, void *arg)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	char *names[64];
	unsigned int n = 0;

	for (struct dirent *e; d && n < ARRAY_SIZE(names) && (e = readdir(d));)
		if (e->d_name[0] != '.')
			names[n++] = strdup(e->d_name);
	qsort(names, n, sizeof(*names), compare_names);
	for (unsigned int i = 0; i < n; i++) {
		struct hostfs fs = HOSTFS_INIT;
		char path[4096];
		struct host h;

		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		if (hostfs_init(&fs, path, NULL) == 0 && host_read(&fs, &h, NULL) == 0) {
			add_memory(&h);
			fn(names[i], &h, arg);
			host_fini(&h);
		}
		hostfs_fini(&fs);
		free(names[i]);
	}
}

static void each_host(const char *dir, host_fn fn, void *arg)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(hosts); i++) {
		struct host_spec spec = hosts[i].spec;
		struct host h;

		spec.memory_unknown = true;
		host_make(&h, &spec);
		add_memory(&h);
		fn(hosts[i].name, &h, arg);
		host_free(&h);
	}
	if (dir && *dir)
		each_tree(dir, fn, arg);
}

/* --- the table --- */

struct table {
	struct effort effort;
	struct score sum[2]; /* of all hosts; l3 of those with several */
};

/* Shares of a table; fill: how much of the CPUs dedicated guests hold. */
static const unsigned int fills[] = { 75, 100 };

static double percent(unsigned int n, unsigned int of)
{
	return of ? 100.0 * n / of : 0;
}

static void print_shares(const unsigned int n[PACKERS], unsigned int of, bool known)
{
	if (!known || !n[PACKER_OMNISCIENT]) {
		printf("  %7s %7s %7s %7s", "-", "-", "-", "-");
		return;
	}
	printf("  %6.1f%%", percent(n[PACKER_OMNISCIENT], of));
	for (unsigned int k = PACKER_OURS; k < PACKERS; k++)
		printf(" %6.1f%%", percent(n[k], n[PACKER_OMNISCIENT]));
}

static void print_score(const char *name, unsigned int fill, const struct score *s)
{
	printf("%-31s %3u%%", name, fill);
	print_shares(s->node, s->starts, true);
	print_shares(s->l3, s->dedicated, s->has_l3);
	printf(" %5u %5u %5u\n", s->unmet[PACKER_OURS], s->unmet[PACKER_NODE_FIT], s->unmet[PACKER_FIRST_FIT]);
	fflush(stdout);
}

static void add_row(const char *name, struct host *h, void *arg)
{
	struct table *t = arg;

	for (unsigned int i = 0; i < ARRAY_SIZE(fills); i++) {
		struct score s, *sum = &t->sum[i];

		play(h, fills[i], &t->effort, &s);
		print_score(i ? "" : name, fills[i], &s);
		sum->starts += s.starts;
		sum->dedicated += s.has_l3 ? s.dedicated : 0;
		sum->has_l3 |= s.has_l3;
		for (unsigned int k = 0; k < PACKERS; k++) {
			sum->node[k] += s.node[k];
			sum->l3[k] += s.has_l3 ? s.l3[k] : 0;
			sum->unmet[k] += s.unmet[k];
		}
	}
}

static const char heading[] =
	"Guests of 1 to 64 vCPUs (at most half the host) come and go in random order, %u starts in each of %u fleets.\n"
	"  full      so much of the host's CPUs dedicated guests may hold: 75%%, beside as many shared ones, or 100%%\n"
	"  could     per cent of all starts that an omniscient packer, who knows all starts and stops beforehand and may tear\n"
	"            cores apart, gets into one node with CPUs and memory; of dedicated ones, into one L3 group of a node. It is the\n"
	"            best of 4 orders x %u rounds; nodes and L3 groups are two packings, each the best of its own\n"
	"and per cent of that for those who see one start after the other:\n"
	"  ours      domtune\n"
	"  node-fit  the first node with room for all of it, its lowest free CPUs; else as lowest\n"
	"  lowest    first-fit: the lowest free CPUs\n"
	"  unmet     dedicated guests that got no CPUs of their own, as no whole cores were left: ours, node-fit, lowest\n\n";

static int table(const char *dir)
{
	struct table t = { .effort = { .fleets = 3, .starts = 300, .rounds = 150 } };

	printf(heading, t.effort.starts, t.effort.fleets, t.effort.rounds);
	printf("%-31s %4s  %-31s  %-31s %17s\n", "", "", "within one node", "within one L3", "unmet");
	printf("%-31s %4s", "host", "full");
	for (int i = 0; i < 2; i++)
		printf("  %7s %7s %7s %7s", "could", "ours", "nodefit", "lowest");
	printf(" %5s %5s %5s\n", "ours", "nodef", "low");
	each_host(dir, add_row, &t);
	for (unsigned int i = 0; i < ARRAY_SIZE(fills); i++)
		print_score(i ? "" : "all", fills[i], &t.sum[i]);
	return 0;
}

/* --- the smoke test --- */

struct smoke {
	unsigned int n, failed;
};

static void check(struct smoke *s, const char *name, const char *what, unsigned int got, unsigned int least)
{
	bool good = got >= least;

	s->failed += !good;
	printf("%s %u - %s: %s\n", good ? "ok" : "not ok", ++s->n, name, what);
	if (!good)
		printf("# %u, and at least %u are demanded\n", got, least);
}

static void smoke_host(const char *name, struct host *h, void *arg)
{
	static const struct effort e = { .fleets = 1, .starts = 100, .rounds = 5 };
	struct score s;

	play(h, 75, &e, &s);
	check(arg, name, "within one node as often as first-fit", s.node[PACKER_OURS], s.node[PACKER_FIRST_FIT]);
	check(arg, name, "within one L3 as often as first-fit", s.l3[PACKER_OURS], s.l3[PACKER_FIRST_FIT]);
	check(arg, name, "within one node, measured against the omniscient packer", s.node[PACKER_OURS] * 100,
	      s.node[PACKER_OMNISCIENT] * SMOKE_NODE_PERCENT);
	check(arg, name, "within one L3, measured against the omniscient packer", s.l3[PACKER_OURS] * 100,
	      s.l3[PACKER_OMNISCIENT] * SMOKE_L3_PERCENT);
}

static int smoke(const char *dir)
{
	struct smoke s = { 0 };

	each_host(dir, smoke_host, &s);
	printf("1..%u\n", s.n);
	return s.failed ? 1 : 0;
}

/* --- one plan --- */

/* large: what a node has free, or more, once half of the CPUs are claimed. */
static const struct plan_host {
	struct host_spec spec;
	unsigned int small, large; /* vCPUs */
} plan_hosts[] = {
	{ { .nodes = 1, .cores = 4, .threads = 2 }, 2, 0 },
	{ { .nodes = 2, .cores = 20, .threads = 2 }, 8, 20 },
	{ { .nodes = 4, .cores = 32, .threads = 2, .l3 = 8 }, 8, 48 },
	{ { .nodes = 16, .cores = 16, .threads = 2, .l3 = 8 }, 8, 80 },
};

/* Dedicated claims of 1 to 8 CPUs on half of the CPUs, every other hole of odd size; the rest float over a node. */
static void fill_ledger(const struct host *h, unsigned int domains, struct ledger *l)
{
	unsigned int next = 2;

	for (unsigned int i = 0; i < domains; i++) {
		struct claim *c = claim_make(l, "other", "");
		const struct host_node *n = &h->nodes[i % h->n_nodes];
		unsigned int size = 1 + i * 5 % 8;
		struct idset cpus = IDSET_EMPTY;

		c->kind = CLAIM_OURS;
		c->phase = CLAIM_STARTED;
		if (next + 2 * size < h->n_cpus) {
			for (unsigned int k = 0; k < size; k++)
				idset_add(&cpus, next + k);
			next += 2 * size;
			c->cpus = ledger_set(l, &cpus);
		} else if (claim_add_floater(l, c, &n->cpus, &n->cpus, &h->online, size)) {
			exit(2);
		}
		if (claim_add_pages(c, n->id, 0, n->mem_total / 4 / (domains + 1)))
			exit(2);
	}
}

/*
 * What is counted: valgrind --tool=callgrind --toggle-collect=make_plan. Under valgrind nothing of the host can be
 * read (it has no openat2(2)), hence the annotation that needs no profile.
 */
static __attribute__((noinline)) int make_plan(const struct plan_inputs *in, struct plan *p)
{
	return plan_make(in, p);
}

static int compare_us(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void run_plans(const struct plan_inputs *in, unsigned int rounds)
{
	double *us = bench_alloc(rounds + 1, sizeof(*us));

	for (unsigned int i = 0; i < MAX(rounds, 1u); i++) {
		double begin = now_us();
		struct plan p;

		if (make_plan(in, &p))
			exit(2);
		us[i] = now_us() - begin;
		if (i == 0 && p.placement.policy != PLACE_DEDICATED)
			exit(3); /* that would measure something else */
		plan_fini(&p);
	}
	if (rounds) {
		qsort(us, rounds, sizeof(*us), compare_us);
		printf("%.0f\n", us[rounds / 2]);
	}
	free(us);
}

/* 2 GiB per vCPU; cells: four of them. */
static char *guest_xml(unsigned int vcpus, bool cells)
{
	struct sbuf b = { 0 };

	sbuf_addf(&b, "<domain type='kvm'><name>bench</name><uuid>4dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid><metadata>"
		  "<tune xmlns='urn:domtune:1'><cpu policy='dedicated'/><memory placement='strict' pages='auto' prealloc='yes'/>"
		  "</tune></metadata><memory unit='GiB'>%u</memory><vcpu>%u</vcpu><os><type arch='x86_64'>hvm</type></os>",
		  vcpus * 2, vcpus);
	for (unsigned int i = 0; cells && i < 4; i++)
		sbuf_addf(&b, "%s<cell id='%u' cpus='%u-%u' memory='%u' unit='GiB'/>%s", i ? "" : "<cpu><numa>", i,
			  i * vcpus / 4, (i + 1) * vcpus / 4 - 1, vcpus / 2, i < 3 ? "" : "</numa></cpu>");
	sbuf_add(&b, "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices></domain>");
	return sbuf_steal(&b);
}

static int plan(const char *root, const struct plan_host *ph, unsigned int domains, const char *kind, unsigned int rounds)
{
	_cleanup_free_ char *xml = guest_xml(streq(kind, "small") ? ph->small : ph->large, streq(kind, "cells"));
	struct hostfs fs = HOSTFS_INIT;
	struct policy policy = { 0 };
	struct intent intent = { 0 };
	struct domain d = { 0 };
	struct ledger l = { 0 };
	struct host h = { 0 };
	struct err e = ERR_INIT;
	struct idset reserved;

	host_make(&h, &ph->spec);
	for (unsigned int i = 0; i < h.n_nodes; i++)
		h.nodes[i].mem_total = HOST_UNKNOWN;
	add_memory(&h);
	reserved = fleet_reserved(&h);
	fill_ledger(&h, domains, &l);
	if (!xml || hostfs_init(&fs, root, &e) || policy_load(&fs, &policy) || domain_parse(xml, strlen(xml), &d, &e) ||
	    intent_make(&fs, &policy, &d, NULL, NULL, &intent, &e) || place_share_note(&l, &h, &reserved)) {
		fprintf(stderr, "placement: %s\n", e.text);
		return 2;
	}
	run_plans(&(struct plan_inputs){ .domain = &d, .intent = &intent, .policy = &policy, .host = &h, .ledger = &l },
		  rounds);
	intent_fini(&intent);
	policy_fini(&policy);
	domain_fini(&d);
	ledger_fini(&l);
	host_free(&h);
	hostfs_fini(&fs);
	return 0;
}

static const struct plan_host *find_plan_host(const char *cpus)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(plan_hosts); i++) {
		const struct host_spec *s = &plan_hosts[i].spec;

		if (s->nodes * s->cores * s->threads == strtoul(cpus, NULL, 10))
			return &plan_hosts[i];
	}
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc >= 2 && streq(argv[1], "table"))
		return table(argv[2]);
	if (argc >= 2 && streq(argv[1], "smoke"))
		return smoke(argv[2]);
	if (argc >= 6 && streq(argv[1], "plan") && find_plan_host(argv[3]))
		return plan(argv[2], find_plan_host(argv[3]), (unsigned int)strtoul(argv[4], NULL, 10), argv[5],
			    argc > 6 ? (unsigned int)strtoul(argv[6], NULL, 10) : 0);
	fprintf(stderr, "usage: placement table|smoke [DIR] | plan ROOT CPUS DOMAINS small|large|cells [ROUNDS]\n");
	return 2;
}

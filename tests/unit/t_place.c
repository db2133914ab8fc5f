/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Placement: tables of hosts, claims and requests; then properties over random ones, and over real topologies. */
#include "tap.h"

#include "common/place_share.h"

#include "placehost.h"

#define SMT2 { .nodes = 2, .cores = 4, .threads = 2 }

struct held {
	const char *name, *cpus, *floating;
	unsigned int vcpus;
	enum claim_kind kind;
	enum claim_phase phase;
	struct claim_pages pages;
};

struct tcase {
	const char *name;
	struct host_spec host;
	const char *reserved;     /* NULL: the default */
	unsigned int max;         /* dedicated CPUs; 0: all */
	struct held held[4];
	enum place_policy policy;
	enum place_threads threads;
	enum place_where emulator, iothreads;
	const char *emulator_list, *iothreads_list, *cpus, *online;
	unsigned int n;
	const char *pins[4];      /* of vCPU 0..3 */
	const char *emulatorpin, *iothreadpin; /* of I/O thread 2 */
	unsigned int n_iothreads; /* ids 2, 1 */
	uint64_t memory;
	enum place_memory memory_policy;
	const char *nodes;
	bool numatune;
	enum place_pages pages;
	uint64_t page_size;
	struct place_backing backing[2];
	unsigned int max_vcpus_per_cpu;
	unsigned int limit;       /* max-memory and max-hugepages, in percent; 0: 100 */
	const char *cells;        /* "0-3:2048 4-7:2048": vCPUs and MiB of each */
	unsigned int guest_threads; /* 0: 1 */
	bool no_topology;
	bool latency, no_growth;
	struct place_device devices[2];
	struct place_cap caps[2];
	const char *current, *home, *exclusive;
	const char *want;
};

static unsigned int make_cells(const char *text, struct place_cell cells[4])
{
	char *copy = strdup(text ? text : ""), *save = NULL;
	unsigned int n = 0;

	for (char *w = strtok_r(copy, " ", &save); w && n < 4; w = strtok_r(NULL, " ", &save), n++) {
		char *colon = strchr(w, ':');

		*colon = '\0';
		cells[n] = (struct place_cell){ .id = n, .vcpus = set_of(w) };
		cells[n].memory = strtoull(colon + 1, NULL, 10) * MIB;
	}
	free(copy);
	return n;
}

/* What place() says of floating threads is what place_share_update() will say. */
static void check_floaters(const struct host *h, const struct place_request *q, const struct ledger *l,
			   const struct placement *p)
{
	struct idset claimed = place_claimed(l, ""), online = h->online, now;

	idset_or(&claimed, &p->claimed);
	idset_andnot(&online, &h->exclusive);
	for (unsigned int i = 0; i < p->n_floaters; i++) {
		const struct place_floater *f = &p->floaters[i];

		place_share_set(&online, &q->reserved, &claimed, &f->home, &f->limit, f->vcpus, &now);
		OK(!idset_is_empty(&f->now) && (idset_is_empty(&now) || idset_equal(&now, &f->now)));
		OK(idset_is_subset(&f->home, &f->limit));
		for (unsigned int j = 0; j < i; j++)
			OK(!idset_equal(&f->now, &p->floaters[j].now));
	}
}

static void fill_ledger(struct ledger *l, const struct held *held, size_t n)
{
	memset(l, 0, sizeof(*l));
	for (size_t i = 0; i < n && held[i].name; i++) {
		struct claim *c = claim_make(l, held[i].name, held[i].cpus);

		c->kind = held[i].kind;
		c->phase = held[i].phase;
		claim_float(l, c, held[i].floating ? held[i].floating : "", held[i].vcpus);
		if (held[i].pages.count &&
		    claim_add_pages(c, held[i].pages.node, held[i].pages.size, held[i].pages.count))
			exit(2);
		if (held[i].pages.count)
			c->pages[0].grow = held[i].pages.grow;
	}
}

/* Most cases are not about what guests see: whether their vCPUs share cores is guest_cases' matter. */
static void drop_sibling_notes(struct msgs *notes)
{
	size_t kept = 0;

	for (size_t i = 0; i < notes->n; i++)
		if (strstr(notes->m[i].text, "share a core") == NULL) {
			notes->m[kept++] = notes->m[i];
		} else {
			free(notes->m[i].text);
			free(notes->m[i].file);
		}
	notes->n = kept;
}

static void run_case(const struct tcase *t, bool guest)
{
	static const unsigned int iothreads[] = { 2, 1 };
	struct domain_pin pins[4], iothreadpin = { .id = 2, .cpus = set_of(t->iothreadpin) };
	struct place_request q = { 0 };
	struct policy policy = { .reserved_given = t->reserved, .reserved = set_of(t->reserved) };
	struct place_cell cells[4];
	struct placement p;
	struct ledger l;
	struct host h;
	char *text;

	host_make(&h, &t->host);
	h.exclusive = set_of(t->exclusive);
	(void)snprintf(h.exclusive_name, sizeof(h.exclusive_name), "%s", t->exclusive ? "rt" : "");
	fill_ledger(&l, t->held, ARRAY_SIZE(t->held));
	for (unsigned int i = 0; i < ARRAY_SIZE(pins); i++)
		if (t->pins[i])
			pins[q.n_pins++] = (struct domain_pin){ .id = i, .cpus = set_of(t->pins[i]) };
	q.policy = t->policy;
	q.threads = t->threads;
	q.emulator_where = t->emulator;
	q.iothreads_where = t->iothreads;
	q.emulator_list = set_of(t->emulator_list);
	q.iothreads_list = set_of(t->iothreads_list);
	q.cpus = set_of(t->cpus);
	q.n_vcpus = t->n;
	q.vcpus = set_of(t->online);
	q.pins = pins;
	q.emulatorpin = set_of(t->emulatorpin);
	q.iothreadpins = &iothreadpin;
	q.n_iothreadpins = t->iothreadpin ? 1 : 0;
	q.iothreads = iothreads;
	q.n_iothreads = t->n_iothreads;
	q.memory = t->memory;
	q.memory_policy = t->memory_policy;
	q.memory_given = t->numatune;
	q.nodes = set_of(t->nodes);
	q.pages = t->pages;
	q.page_size = t->page_size;
	for (; q.n_backing < 2 && t->backing[q.n_backing].bytes; q.n_backing++)
		q.backing[q.n_backing] = t->backing[q.n_backing];
	q.reserved = place_reserved(&h, &policy);
	q.max_dedicated = t->max ? t->max : h.n_cpus;
	q.max_memory = q.max_hugepages = (struct policy_limit){ .num = t->limit ? t->limit : 100, .is_percent = true };
	q.max_vcpus_per_cpu = t->max_vcpus_per_cpu;
	q.cells = cells;
	q.n_cells = make_cells(t->cells, cells);
	q.guest_threads = t->no_topology ? 0 : t->guest_threads ? t->guest_threads : 1;
	q.latency = t->latency;
	q.no_growth = t->no_growth;
	q.devices = t->devices;
	for (; q.n_devices < 2 && t->devices[q.n_devices].name;)
		q.n_devices++;
	q.caps = t->caps;
	for (; q.n_caps < 2 && t->caps[q.n_caps].size;)
		q.n_caps++;
	q.current = set_of(t->current);
	q.home = set_of(t->home);

	IS_INT(place(&h, &q, &l, "", &p), 0);
	check_floaters(&h, &q, &l, &p);
	if (!guest)
		drop_sibling_notes(&p.notes);
	text = placement_text(&p);
	if (!text || strcmp(text, t->want) != 0)
		TAP_FAIL("%s:\n--- got\n%s\n--- want\n%s", t->name, text, t->want);
	free(text);
	placement_fini(&p);
	ledger_fini(&l);
	host_free(&h);
}

/* Two nodes of four cores with two threads: node 0 is 0-3,8-11, node 1 is 4-7,12-15; 0 and 8 are reserved. */
/* clang-format off */
static const struct tcase cpu_cases[] = {
	{ .name = "none", .host = SMT2, .n = 2, .memory = GIB, .want = "none" },
	{ .name = "shared", .host = SMT2, .policy = PLACE_SHARED, .n = 2,
	  .want = "shared nodes=1 vcpus=4-7,12-15*2 emu=4-7,12-15" },
	{ .name = "shared, the less loaded node", .host = SMT2, .policy = PLACE_SHARED, .n = 2,
	  .held = { { .name = "a", .floating = "1-3,9-11", .vcpus = 1 } },
	  .want = "shared nodes=1 vcpus=4-7,12-15*2 emu=4-7,12-15" },
	{ .name = "shared, load per CPU", .host = SMT2, .policy = PLACE_SHARED, .n = 2,
	  .held = { { .name = "a", .floating = "1-3,9-11", .vcpus = 6 }, { .name = "b", .floating = "4-7,12-15",
	  .vcpus = 7 } },
	  .want = "shared nodes=1 vcpus=4-7,12-15*2 emu=4-7,12-15" },
	{ .name = "shared, an observed domain is no load", .host = SMT2, .policy = PLACE_SHARED, .n = 2,
	  .held = { { .name = "a", .floating = "1-3,9-11", .vcpus = 9, .kind = CLAIM_OBSERVE } },
	  .want = "shared nodes=1 vcpus=4-7,12-15*2 emu=4-7,12-15" },
	{ .name = "shared, two nodes", .host = SMT2, .policy = PLACE_SHARED, .n = 10,
	  .want = "shared nodes=0-1 vcpus=1-7,9-15*10 emu=1-7,9-15\n"
		  "note: the guest is split over nodes 0-1 and cannot see it: 2 <cell>s in its "
		  "<cpu><numa>, or a guest that fits on one" },
	{ .name = "shared, more than there are", .host = SMT2, .policy = PLACE_SHARED, .n = 20,
	  .want = "shared nodes=0-1 vcpus=1-7,9-15*20 emu=1-7,9-15" },
	{ .name = "shared, too many", .host = SMT2, .policy = PLACE_SHARED, .n = 20, .max_vcpus_per_cpu = 1,
	  .want = "shared nodes=0-1 vcpus=1-7,9-15*20 emu=1-7,9-15\n"
		  "note: 1.5 vCPUs per CPU on CPUs 1-7,9-15, over the policy's max-vcpus-per-cpu 1" },
	{ .name = "shared within cpus", .host = SMT2, .policy = PLACE_SHARED, .n = 2, .cpus = "2-5",
	  .want = "shared nodes=0 vcpus=2-3*2 emu=2-3" },
	{ .name = "shared, cpus of node 1", .host = SMT2, .policy = PLACE_SHARED, .n = 2, .cpus = "5-6",
	  .want = "shared nodes=1 vcpus=5-6*2 emu=5-6" },
	{ .name = "shared, cpus partly offline", .host = SMT2, .policy = PLACE_SHARED, .n = 1, .cpus = "15-20",
	  .want = "shared nodes=1 vcpus=15 emu=15\n"
		  "note: CPUs 16-20 of the CPU list are not online, left out" },
	{ .name = "shared, cpus all offline", .host = SMT2, .policy = PLACE_SHARED, .n = 1, .cpus = "16-20",
	  .want = "shared nodes=1 vcpus=4-7,12-15 emu=4-7,12-15\n"
		  "unmet: CPUs 16-20 asked, none of them is online: a list of online CPUs" },
	{ .name = "shared, cpus reserved or held", .host = SMT2, .policy = PLACE_SHARED, .n = 1, .cpus = "0,4",
	  .held = { { .name = "db1", .cpus = "4-5" } },
	  .want = "shared nodes=1 vcpus=1-3,6-7,9-15 emu=1-3,6-7,9-15\n"
		  "unmet: CPUs 0,4 asked, none of them is shared (1 held by db1, 1 reserved): a list with "
		  "other CPUs" },
	{ .name = "shared, none left", .host = SMT2, .policy = PLACE_SHARED, .n = 1,
	  .held = { { .name = "db1", .cpus = "1-7" }, { .name = "db2", .cpus = "9-15" } },
	  .want = "shared nodes=1 vcpus=0,8 emu=0,8\n"
		  "unmet: shared CPUs asked, none is left and the vCPUs are on the reserved ones (7 held "
		  "by db1, 7 held by db2, 2 reserved): fewer dedicated CPUs, a lower max-dedicated-cpus" },
	{ .name = "shared, none left at all", .host = SMT2, .policy = PLACE_SHARED, .n = 1, .reserved = "",
	  .held = { { .name = "db1", .cpus = "0-15" } },
	  .want = "none\n"
		  "unmet: shared CPUs asked, none is left and none is reserved (16 held by db1): reserve "
		  "CPUs in the policy, or a lower max-dedicated-cpus" },
	{ .name = "shared, emulator isolated", .host = SMT2, .policy = PLACE_SHARED, .n = 2,
	  .emulator = PLACE_WHERE_ISOLATE,
	  .n_iothreads = 2,
	  .want = "shared nodes=1 vcpus=5-7,12-15*2 emu=4 io1=5-7,12-15 io2=5-7,12-15 claim=4" },

	{ .name = "dedicated, tightest node", .host = SMT2, .policy = PLACE_DEDICATED, .n = 4,
	  .want = "dedicated nodes=0 vcpus=1 9 2 10 emu=3,11 claim=1-2,9-10" },
	{ .name = "dedicated, the one node that holds it", .host = SMT2, .policy = PLACE_DEDICATED, .n = 8,
	  .want = "dedicated nodes=1 vcpus=4 12 5 13 6 14 7 15 emu=0,8 claim=4-7,12-15" },
	{ .name = "dedicated, two nodes", .host = SMT2, .policy = PLACE_DEDICATED, .n = 10,
	  .want = "dedicated nodes=0-1 vcpus=1 9 2 10 3 11 4 12 5 13 emu=6-7,14-15 claim=1-5,9-13\n"
		  "note: the guest is split over nodes 0-1 and cannot see it: 2 <cell>s in its "
		  "<cpu><numa>, or a guest that fits on one" },
	{ .name = "dedicated, odd", .host = SMT2, .policy = PLACE_DEDICATED, .n = 3,
	  .want = "dedicated nodes=0 vcpus=1 9 2 emu=3,10-11 claim=1-2,9" },
	{ .name = "dedicated, one goes to a broken core", .host = SMT2, .policy = PLACE_DEDICATED, .n = 1,
	  .held = { { .name = "a", .cpus = "2" } },
	  .want = "dedicated nodes=0 vcpus=10 emu=1,3,9,11 claim=10" },
	{ .name = "dedicated, whole cores before tightness", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2,
	  .held = { { .name = "a", .cpus = "1-3" } },
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12" },
	{ .name = "dedicated, an observed claim holds nothing", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2,
	  .held = { { .name = "a", .cpus = "1-3", .kind = CLAIM_OBSERVE } },
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9" },
	{ .name = "dedicated, a foreign claim holds", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2,
	  .held = { { .name = "a", .cpus = "1-3,9-11", .kind = CLAIM_FOREIGN } },
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12" },
	{ .name = "dedicated, too many", .host = SMT2, .policy = PLACE_DEDICATED, .n = 12,
	  .held = { { .name = "db1", .cpus = "4-7" } },
	  .want = "shared nodes=0-1 vcpus=1-3,9-15*12 emu=1-3,9-15\n"
		  "unmet: 12 dedicated CPUs asked, 6 free on node 0, 4 on node 1 (4 held by db1, 2 "
		  "reserved): fewer vCPUs, cpu policy shared, or stop db1" },
	{ .name = "dedicated, none at all", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2, .reserved = "0-15",
	  .want = "shared nodes=0-1 vcpus=0-15*2 emu=0-15\n"
		  "unmet: 2 dedicated CPUs asked, none free (16 reserved): fewer vCPUs or cpu policy "
		  "shared\n"
		  "unmet: shared CPUs asked, none is left and the vCPUs are on the reserved ones (16 "
		  "reserved): fewer dedicated CPUs, a lower max-dedicated-cpus" },
	{ .name = "dedicated, limit", .host = SMT2, .policy = PLACE_DEDICATED, .n = 4, .max = 6,
	  .held = { { .name = "db1", .cpus = "4-7" } },
	  .want = "shared nodes=0 vcpus=1-3,9-11*4 emu=1-3,9-11\n"
		  "unmet: 4 dedicated CPUs asked, the policy's max-dedicated-cpus is 6 of 16 and 4 are "
		  "claimed: a higher limit, fewer vCPUs, cpu policy shared, or stop db1" },
	{ .name = "dedicated within cpus", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2, .cpus = "2,5-7",
	  .want = "dedicated nodes=1 vcpus=5 6 emu=7 claim=5-6" },
	{ .name = "dedicated, offline vCPUs", .host = SMT2, .policy = PLACE_DEDICATED, .n = 4, .online = "0,3",
	  .want = "dedicated nodes=0 vcpus=1 -*2 9 emu=2-3,10-11 claim=1,9" },
	{ .name = "dedicated, L3", .host = { .cores = 8, .l3 = 2 }, .policy = PLACE_DEDICATED, .n = 2,
	  .want = "dedicated nodes=0 vcpus=2 3 emu=1,4-7 claim=2-3" },
	{ .name = "dedicated, roomiest L3 first", .host = { .cores = 8, .l3 = 2 }, .policy = PLACE_DEDICATED, .n = 3,
	  .want = "dedicated nodes=0 vcpus=1 2 3 emu=4-7 claim=1-3" },
	{ .name = "dedicated, fast cores", .host = { .cores = 8, .slow = 4 }, .policy = PLACE_DEDICATED, .n = 3,
	  .want = "dedicated nodes=0 vcpus=1 2 3 emu=4-7 claim=1-3" },
	{ .name = "dedicated, one kind", .host = { .cores = 8, .slow = 4 }, .policy = PLACE_DEDICATED, .n = 4,
	  .want = "dedicated nodes=0 vcpus=4 5 6 7 emu=1-3 claim=4-7" },
	{ .name = "dedicated, all kinds", .host = { .cores = 8, .slow = 4 }, .policy = PLACE_DEDICATED, .n = 6,
	  .want = "dedicated nodes=0 vcpus=1 2 3 4 5 6 emu=7 claim=1-6" },
	{ .name = "isolated", .host = SMT2, .policy = PLACE_ISOLATED, .n = 2,
	  .want = "isolated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9" },
	{ .name = "one CPU", .host = { .cores = 1 }, .policy = PLACE_DEDICATED, .n = 1,
	  .want = "dedicated nodes=0 vcpus=0 emu=0 claim=0" },

	{ .name = "isolate", .host = SMT2, .policy = PLACE_DEDICATED, .threads = PLACE_THREADS_ISOLATE, .n = 3,
	  .want = "dedicated nodes=0 vcpus=1 2 3 emu=0,8 claim=1-3,9-11" },
	{ .name = "isolate, no half cores", .host = SMT2, .policy = PLACE_DEDICATED, .threads = PLACE_THREADS_ISOLATE,
	  .n = 3,
	  .held = { { .name = "a", .cpus = "9" } },
	  .want = "dedicated nodes=1 vcpus=4 5 6 emu=7,15 claim=4-6,12-14" },
	{ .name = "isolate, impossible", .host = SMT2, .policy = PLACE_DEDICATED, .threads = PLACE_THREADS_ISOLATE,
	  .n = 8,
	  .want = "shared nodes=1 vcpus=4-7,12-15*8 emu=4-7,12-15\n"
		  "unmet: 8 whole cores asked, 3 free on node 0, 4 on node 1 (2 reserved): fewer vCPUs or "
		  "cpu policy shared" },
	{ .name = "isolate within cpus", .host = SMT2, .policy = PLACE_DEDICATED, .threads = PLACE_THREADS_ISOLATE,
	  .n = 2,
	  .cpus = "9-10",
	  .want = "dedicated nodes=0 vcpus=9 10 emu=3,11 claim=1-2,9-10" },
	{ .name = "require", .host = SMT2, .policy = PLACE_DEDICATED, .threads = PLACE_THREADS_REQUIRE, .n = 4,
	  .want = "dedicated nodes=0 vcpus=1 9 2 10 emu=3,11 claim=1-2,9-10" },
	{ .name = "require, odd", .host = SMT2, .policy = PLACE_DEDICATED, .threads = PLACE_THREADS_REQUIRE, .n = 3,
	  .want = "shared nodes=1 vcpus=4-7,12-15*3 emu=4-7,12-15\n"
		  "unmet: 3 dedicated CPUs with their siblings asked, 6 free on node 0, 8 on node 1, but "
		  "that leaves one without a sibling: an even number of vCPUs, or threads prefer" },
	{ .name = "require, odd with four threads", .host = { .cores = 4, .threads = 4 }, .policy = PLACE_DEDICATED,
	  .threads = PLACE_THREADS_REQUIRE, .n = 5,
	  .want = "dedicated nodes=0 vcpus=1 5 9 2 6 emu=3,7,10-11,13-15 claim=1-2,5-6,9" },
	{ .name = "require, half cores", .host = SMT2, .policy = PLACE_DEDICATED, .threads = PLACE_THREADS_REQUIRE,
	  .n = 4,
	  .held = { { .name = "a", .cpus = "1-3,5-7" } },
	  .want = "shared nodes=1 vcpus=4,12-15*4 emu=4,12-15\n"
		  "unmet: 4 dedicated CPUs with their siblings asked, 2 free on node 1 (6 held by a, 2 "
		  "reserved): fewer vCPUs, cpu policy shared, or stop a" },
	{ .name = "require, no SMT", .host = { .cores = 4 }, .policy = PLACE_DEDICATED,
	  .threads = PLACE_THREADS_REQUIRE, .n = 2,
	  .want = "shared nodes=0 vcpus=1-3*2 emu=1-3\n"
		  "unmet: 2 dedicated CPUs with their siblings asked, this host has no SMT siblings: "
		  "threads prefer" },

	{ .name = "emulator isolated", .host = SMT2, .policy = PLACE_DEDICATED, .n = 4,
	  .emulator = PLACE_WHERE_ISOLATE,
	  .n_iothreads = 2,
	  .want = "dedicated nodes=0 vcpus=1 9 2 10 emu=3 io1=11 io2=11 claim=1-3,9-10" },
	{ .name = "both isolated: one CPU", .host = SMT2, .policy = PLACE_DEDICATED, .n = 4,
	  .emulator = PLACE_WHERE_ISOLATE,
	  .iothreads = PLACE_WHERE_ISOLATE, .n_iothreads = 2,
	  .want = "dedicated nodes=0 vcpus=1 9 2 10 emu=3 io1=3 io2=3 claim=1-3,9-10" },
	{ .name = "emulator isolated, node with room for it", .host = SMT2, .policy = PLACE_DEDICATED, .n = 6,
	  .emulator = PLACE_WHERE_ISOLATE,
	  .want = "dedicated nodes=1 vcpus=4 12 5 13 6 14 emu=7 claim=4-7,12-14" },
	{ .name = "emulator isolated, impossible", .host = { .cores = 3 }, .policy = PLACE_DEDICATED, .n = 2,
	  .emulator = PLACE_WHERE_ISOLATE,
	  .want = "dedicated nodes=0 vcpus=1 2 emu=0 claim=1-2\n"
		  "unmet: one further CPU asked for the emulator or I/O threads, none is free: fewer "
		  "vCPUs, or share" },
	{ .name = "emulator isolated, over the limit", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2, .max = 2,
	  .emulator = PLACE_WHERE_ISOLATE,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9\n"
		  "unmet: one further CPU asked for the emulator or I/O threads, the policy's "
		  "max-dedicated-cpus is 2: fewer vCPUs, or share" },
	{ .name = "emulator list", .host = SMT2, .policy = PLACE_DEDICATED, .n = 4, .emulator = PLACE_WHERE_LIST,
	  .emulator_list = "1-2",
	  .want = "dedicated nodes=1 vcpus=4 12 5 13 emu=1-2 claim=4-5,12-13" },
	{ .name = "emulator list, held", .host = SMT2, .policy = PLACE_SHARED, .n = 1, .emulator = PLACE_WHERE_LIST,
	  .emulator_list = "4-6", .held = { { .name = "db1", .cpus = "4-5" } },
	  .want = "shared nodes=0 vcpus=1-3,9-11 emu=6\n"
		  "note: CPUs 4-5 asked for the emulator are offline, held, or the vCPUs' own "
		  "(2 held by db1), left out" },
	{ .name = "emulator list, all held", .host = SMT2, .policy = PLACE_SHARED, .n = 1,
	  .emulator = PLACE_WHERE_LIST,
	  .emulator_list = "4", .held = { { .name = "db1", .cpus = "4-5" } },
	  .want = "shared nodes=0 vcpus=1-3,9-11 emu=1-3,9-11\n"
		  "unmet: CPUs 4 asked for the emulator are offline, held, or the vCPUs' own "
		  "(1 held by db1): a list with "
		  "other CPUs, or share" },
	{ .name = "emulator list over the dedicated CPUs", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2,
	  .cpus = "2-3",
	  .emulator = PLACE_WHERE_LIST, .emulator_list = "2-3",
	  .want = "dedicated nodes=0 vcpus=2 3 emu=2-3 claim=2-3" },
	{ .name = "I/O threads: a list, one pinned", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2,
	  .n_iothreads = 2,
	  .iothreads = PLACE_WHERE_LIST, .iothreads_list = "0", .iothreadpin = "5",
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 io1=0 claim=1,9" },
	{ .name = "emulator pinned", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2, .emulatorpin = "7",
	  .want = "dedicated nodes=0 vcpus=1 9 claim=1,9" },
	{ .name = "emulator on reserved CPUs", .host = { .cores = 4 }, .policy = PLACE_DEDICATED, .n = 3,
	  .want = "dedicated nodes=0 vcpus=1 2 3 emu=0 claim=1-3" },

	{ .name = "pins", .host = SMT2, .policy = PLACE_DEDICATED, .n = 4, .pins = { "4", NULL, "5,13" },
	  .want = "dedicated nodes=1 vcpus=4 6 5,13 14 emu=7,12,15 claim=4-6,13-14" },
	{ .name = "all pinned", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2, .pins = { "4", "12" },
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12" },
	{ .name = "pins, shared", .host = SMT2, .policy = PLACE_SHARED, .n = 3, .pins = { "4", "5" },
	  .want = "shared nodes=1 vcpus=4 5 6-7,12-15 emu=6-7,12-15 claim=4-5" },
	{ .name = "pins, none", .host = SMT2, .n = 2, .pins = { "4", "5" }, .memory = GIB,
	  .want = "none claim=4-5 1024M@1" },
	{ .name = "pins on others' CPUs", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2, .pins = { "4" },
	  .held = { { .name = "db1", .cpus = "4-5" } },
	  .want = "dedicated nodes=1 vcpus=4 12 emu=6-7,13-15 claim=4,12\n"
		  "note: vCPU 0 is pinned by the definition to CPUs 4, not its own alone (1 held by db1)" },
	{ .name = "pin on a reserved CPU", .host = SMT2, .policy = PLACE_DEDICATED, .n = 1, .pins = { "0" },
	  .want = "dedicated nodes=0 vcpus=0 emu=1-3,9-11\n"
		  "note: vCPU 0 is pinned by the definition to CPUs 0, not its own alone (1 reserved)" },
	{ .name = "pins offline", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2, .pins = { "20", "15-16" },
	  .want = "dedicated nodes=1 vcpus=7 15 emu=4-6,12-14 claim=7,15\n"
		  "note: vCPU 0 is pinned to CPUs 20 by the definition, not all of them are online\n"
		  "note: vCPU 1 is pinned to CPUs 15-16 by the definition, not all of them are online" },
	{ .name = "a pin to everything", .host = SMT2, .policy = PLACE_SHARED, .n = 2, .pins = { "0-15", "0-15" },
	  .want = "shared nodes=0-1 vcpus=0-15*2 emu=1-7,9-15" },
};

#define PAIR(...) { .nodes = 2, .cores = 4, .threads = 2, __VA_ARGS__ }
#define TWO .policy = PLACE_DEDICATED, .n = 2
#define GROW_2M .pages = PLACE_PAGES_HUGE, .page_size = PAGE_2M
#define GROW_1G .pages = PLACE_PAGES_HUGE, .page_size = PAGE_1G
#define HUGE_2M GROW_2M, .no_growth = true
#define HUGE_1G GROW_1G, .no_growth = true
#define AUTO .pages = PLACE_PAGES_AUTO, .no_growth = true

static const struct tcase memory_cases[] = {
	{ .name = "claims where it runs", .host = SMT2, TWO, .memory = GIB,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 1024M@0" },
	{ .name = "preferred", .host = SMT2, TWO, .memory = GIB, .memory_policy = PLACE_MEMORY_PREFERRED,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 preferred=0 1024M@0" },
	{ .name = "memory decides the node", .host = PAIR(.free_gib = { 2 }), TWO, .memory = 4 * GIB,
	  .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12 strict=1 4096M@1" },
	{ .name = "memory of the tightest fit", .host = { .nodes = 2, .cores = 4, .free_gib = { 64, 5 } },
	  .reserved = "0,4",
	  TWO, .memory = 4 * GIB,
	  .want = "dedicated nodes=1 vcpus=5 6 emu=7 claim=5-6 4096M@1" },
	{ .name = "memory needs two nodes", .host = PAIR(.free_gib = { 5, 5 }), TWO, .memory = 8 * GIB,
	  .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "dedicated nodes=0-1 vcpus=1 9 emu=2-7,10-15 claim=1,9 strict=0-1 4096M@0 4096M@1\n"
		  "note: the guest is split over nodes 0-1 and cannot see it: 2 <cell>s in its "
		  "<cpu><numa>, or a guest that fits on one" },
	{ .name = "memory nowhere, strict", .host = PAIR(.free_gib = { 2, 3 }), TWO, .memory = 8 * GIB,
	  .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 preferred=0 8192M@0\n"
		  "unmet: strict placement of 8 GiB asked, 2 GiB left on node 0: a smaller guest, memory "
		  "placement preferred, or fewer guests there" },
	{ .name = "memory nowhere, shared", .host = PAIR(.free_gib = { 2, 3 }), .policy = PLACE_SHARED, .n = 2,
	  .memory = 8 * GIB, .memory_policy = PLACE_MEMORY_PREFERRED,
	  .want = "shared nodes=0-1 vcpus=1-7,9-15*2 emu=1-7,9-15 4096M@0 4096M@1" },
	{ .name = "shared, memory on the other node", .host = PAIR(.free_gib = { 2, 30 }), .policy = PLACE_SHARED,
	  .n = 2,
	  .memory = 8 * GIB, .memory_policy = PLACE_MEMORY_PREFERRED,
	  .want = "shared nodes=1 vcpus=4-7,12-15*2 emu=4-7,12-15 preferred=1 8192M@1" },
	{ .name = "unknown memory does not limit", .host = PAIR(.memory_unknown = true), TWO, .memory = 800 * GIB,
	  .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 strict=0 819200M@0" },
	{ .name = "claims of guests in preparation", .host = PAIR(.free_gib = { 5, 50 }), TWO, .memory = 4 * GIB,
	  .held = { { .name = "a", .pages = { 0, 0, 2 * GIB } } },
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12 4096M@1" },
	{ .name = "started guests have their memory", .host = PAIR(.free_gib = { 5, 50 }), TWO, .memory = 4 * GIB,
	  .held = { { .name = "a", .phase = CLAIM_STARTED, .pages = { 0, 0, 2 * GIB } } },
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 4096M@0" },
	{ .name = "max-memory", .host = SMT2, TWO, .memory = 16 * GIB, .limit = 50,
	  .held = { { .name = "a", .phase = CLAIM_STARTED, .pages = { 0, 0, 20 * GIB } } },
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12 16384M@1" },
	{ .name = "nodes given", .host = SMT2, TWO, .memory = GIB, .memory_policy = PLACE_MEMORY_STRICT, .nodes = "1",
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12 strict=1 1024M@1" },
	{ .name = "nodes given, one is not there", .host = SMT2, TWO, .memory = GIB,
	  .memory_policy = PLACE_MEMORY_STRICT,
	  .nodes = "1-2",
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12 strict=1 1024M@1\n"
		  "note: memory nodes 2 are not there or have no memory, left out" },
	{ .name = "nodes given, none is there", .host = SMT2, TWO, .memory = GIB,
	  .memory_policy = PLACE_MEMORY_STRICT,
	  .nodes = "2",
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 strict=0 1024M@0\n"
		  "unmet: memory nodes 2 asked, this host has no such node with memory: other nodes, or "
		  "auto" },
	{ .name = "interleave", .host = SMT2, TWO, .memory = GIB, .memory_policy = PLACE_MEMORY_INTERLEAVE,
	  .nodes = "0-1",
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 interleave=0-1 512M@0 512M@1" },
	{ .name = "numatune", .host = SMT2, TWO, .memory = GIB, .numatune = true, .nodes = "1",
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12 1024M@1" },
	{ .name = "not placed, nodes given", .host = SMT2, .n = 2, .memory = GIB,
	  .memory_policy = PLACE_MEMORY_STRICT,
	  .nodes = "1",
	  .want = "none strict=1 1024M@1" },
	{ .name = "not placed, nodes auto", .host = SMT2, .n = 2, .memory = GIB, .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "none" },
	{ .name = "preferred on all nodes is nothing", .host = SMT2, .policy = PLACE_DEDICATED, .n = 12,
	  .memory = GIB,
	  .memory_policy = PLACE_MEMORY_PREFERRED,
	  .want = "dedicated nodes=0-1 vcpus=1 9 2 10 3 11 4 12 5 13 6 14 emu=7,15 claim=1-6,9-14 512M@0 "
		  "512M@1\n"
		  "note: the guest is split over nodes 0-1 and cannot see it: 2 <cell>s in its "
		  "<cpu><numa>, or a guest that fits on one" },

	{ .name = "2M", .host = PAIR(.pages_2m = { 600, 600 }), TWO, .memory = GIB, HUGE_2M,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 512x2M@0 pages=2M" },
	{ .name = "2M decides the node", .host = PAIR(.pages_2m = { 500, 600 }), TWO, .memory = GIB, HUGE_2M,
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12 512x2M@1 pages=2M" },
	{ .name = "2M needs two nodes", .host = PAIR(.pages_2m = { 300, 300 }), TWO, .memory = GIB, HUGE_2M,
	  .want = "dedicated nodes=0-1 vcpus=1 9 emu=2-7,10-15 claim=1,9 256x2M@0 256x2M@1 pages=2M\n"
		  "note: the guest is split over nodes 0-1 and cannot see it: 2 <cell>s in its "
		  "<cpu><numa>, or a guest that fits on one" },
	{ .name = "2M, odd over two nodes", .host = PAIR(.pages_2m = { 300, 300 }), TWO,
	  .memory = GIB + PAGE_2M, HUGE_2M,
	  .want = "dedicated nodes=0-1 vcpus=1 9 emu=2-7,10-15 claim=1,9 257x2M@0 256x2M@1 pages=2M\n"
		  "note: the guest is split over nodes 0-1 and cannot see it: 2 <cell>s in its "
		  "<cpu><numa>, or a guest that fits on one" },
	{ .name = "2M claimed", .host = PAIR(.pages_2m = { 600, 600 }), TWO, .memory = GIB, HUGE_2M,
	  .held = { { .name = "a", .pages = { 0, PAGE_2M, 100 } } },
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12 512x2M@1 pages=2M" },
	{ .name = "2M used by others", .host = PAIR(.pages_2m = { 600, 600 }, .used_2m = { 100 }), TWO,
	  .memory = GIB, HUGE_2M,
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12 512x2M@1 pages=2M" },
	{ .name = "2M used by their claim", .host = PAIR(.pages_2m = { 612, 612 }, .used_2m = { 100 }), TWO,
	  .memory = GIB,
	  HUGE_2M, .held = { { .name = "a", .phase = CLAIM_STARTED, .pages = { 0, PAGE_2M, 100 } } },
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 512x2M@0 pages=2M" },
	{ .name = "2M, too few", .host = PAIR(.pages_2m = { 100, 50 }), TWO, .memory = GIB, HUGE_2M,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 1024M@0 thp\n"
		  "unmet: 512 pages of 2M asked, 100 free on node 0, 50 free on node 1: a larger pool, "
		  "more free memory, or a guest of at most 200 MiB" },
	{ .name = "2M, no pool", .host = PAIR(.no_pools = true), TWO, .memory = GIB, HUGE_2M,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 1024M@0 thp\n"
		  "unmet: 512 pages of 2M asked, no such pool on node 0, no such pool on node 1: pages of "
		  "another size" },
	{ .name = "2M, pool unknown", .host = PAIR(.pools_unknown = true), TWO, .memory = GIB, HUGE_2M,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 512x2M@0 pages=2M" },
	{ .name = "2M, odd memory", .host = PAIR(.pages_2m = { 600 }), TWO, .memory = GIB + MIB, HUGE_2M,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 1025M@0 thp\n"
		  "unmet: 2M pages asked, but the guest's 1025 MiB are no multiple of that: another amount "
		  "of memory, or smaller pages" },
	{ .name = "2M, max-hugepages", .host = { .gib = 2, .pages_2m = { 1000 } }, TWO, .memory = GIB, HUGE_2M,
	  .limit = 40,
	  .want = "dedicated nodes=0 vcpus=1 2 emu=3 claim=1-2 1024M@0 thp\n"
		  "unmet: 512 pages of 2M asked, 409 of 1000 free ones allowed on node 0 by max-hugepages "
		  "or max-memory: a larger pool, more free memory, or a guest of at most 818 MiB" },
	{ .name = "2M, memory unknown", .host = PAIR(.pages_2m = { 600 }), TWO, HUGE_2M,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 thp\n"
		  "unmet: 2M pages asked, but the definition does not say how much memory the guest has" },
	{ .name = "1G", .host = PAIR(.pages_1g = { 4, 4 }), TWO, .memory = 4 * GIB, HUGE_1G,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 4x1024M@0 pages=1024M" },
	{ .name = "1G, too few, THP off", .host = PAIR(.pages_1g = { 1 }, .thp = "never"), TWO,
	  .memory = 4 * GIB, HUGE_1G,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 4096M@0 thp\n"
		  "unmet: 4 pages of 1G asked, 1 free on node 0, 0 free on node 1: a larger pool, more "
		  "free memory, or a guest of at most 1 GiB\n"
		  "note: transparent huge pages are switched off on this host (enable: echo madvise "
		  ">/sys/kernel/mm/transparent_hugepage/enabled)" },
	{ .name = "auto: 1G", .host = PAIR(.pages_1g = { 4, 4 }, .pages_2m = { 2048, 2048 }), TWO, .memory = 4 * GIB,
	  AUTO,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 4x1024M@0 pages=1024M" },
	{ .name = "auto: one node of 2M before two of 1G", .host = PAIR(.pages_1g = { 2, 2 },
	  .pages_2m = { 0, 2048 }), TWO,
	  .memory = 4 * GIB, AUTO,
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12 2048x2M@1 pages=2M" },
	{ .name = "auto: no multiple of 1G", .host = PAIR(.pages_1g = { 4, 4 }, .pages_2m = { 2048, 2048 }), TWO,
	  .memory = 3 * GIB + PAGE_2M, AUTO,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 1537x2M@0 pages=2M" },
	{ .name = "auto: THP", .host = PAIR(.pages_2m = { 20, 20 }), TWO, .memory = GIB, AUTO,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 1024M@0 thp" },
	{ .name = "auto: pools unknown", .host = PAIR(.pools_unknown = true), TWO, .memory = GIB,
	  AUTO,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 1024M@0 thp" },
	{ .name = "thp, never", .host = PAIR(.thp = "never"), TWO, .memory = GIB, .pages = PLACE_PAGES_THP,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 1024M@0 thp\n"
		  "note: transparent huge pages are switched off on this host (enable: echo madvise "
		  ">/sys/kernel/mm/transparent_hugepage/enabled)" },
	{ .name = "2M, vCPUs not placed", .host = PAIR(.pages_2m = { 600, 520 }), .n = 2, .memory = GIB, HUGE_2M,
	  .want = "none 512x2M@1 pages=2M" },
	{ .name = "2M, not placed, too few", .host = PAIR(.pages_2m = { 6, 5 }), .n = 2, .memory = GIB, HUGE_2M,
	  .want = "none thp\n"
		  "unmet: 512 pages of 2M asked, 6 free on node 0, 5 free on node 1: a larger pool, more "
		  "free memory, or a guest of at most 20 MiB" },

	{ .name = "<hugepages>", .host = PAIR(.pages_2m = { 600, 600 }), TWO, .memory = GIB,
	  .no_growth = true, .backing = { { PAGE_2M, GIB } },
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 512x2M@0" },
	{ .name = "<hugepages>, default size, odd", .host = PAIR(.pages_2m = { 600, 600 }), TWO, .memory = GIB + MIB,
	  .no_growth = true, .backing = { { 0, GIB + MIB } },
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 513x2M@0" },
	{ .name = "<hugepages>, wherever there are", .host = PAIR(.pages_2m = { 100, 450 }), TWO, .memory = GIB,
	  .no_growth = true, .backing = { { PAGE_2M, GIB } },
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 100x2M@0 412x2M@1" },
	{ .name = "<hugepages>, too few", .host = PAIR(.pages_2m = { 100, 50 }), TWO, .memory = GIB,
	  .no_growth = true, .backing = { { PAGE_2M, GIB } },
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 100x2M@0 50x2M@1\n"
		  "unmet: 512 pages of 2M asked by the definition's <hugepages>, 150 free or to be added: "
		  "a larger pool, more free memory, or a smaller guest" },
	{ .name = "<hugepages>, no pool seen", .host = PAIR(.no_pools = true), TWO, .memory = GIB,
	  .no_growth = true, .backing = { { PAGE_2M, GIB } },
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9" },
	{ .name = "<hugepages> and numatune", .host = PAIR(.pages_2m = { 600, 100 }), TWO, .memory = GIB,
	  .numatune = true,
	  .nodes = "1", .no_growth = true, .backing = { { PAGE_2M, GIB } },
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12 100x2M@1\n"
		  "unmet: 512 pages of 2M asked by the definition's <hugepages>, 100 free or to be added: "
		  "a larger pool, more free memory, or a smaller guest" },
	{ .name = "<hugepages>, two sizes", .host = PAIR(.pages_2m = { 600, 600 }, .pages_1g = { 2, 2 }), .n = 2,
	  .memory = 2 * GIB, .no_growth = true, .backing = { { PAGE_2M, GIB }, { PAGE_1G, GIB } },
	  .want = "none 512x2M@0 1x1024M@0" },
};

/* Two nodes of eight CPUs without SMT: 0 is reserved. */
#define FLAT .host = { .nodes = 2, .cores = 8 }
#define FOUR .host = { .nodes = 4, .cores = 4, .threads = 2 }
#define TWO_CELLS .cells = "0-3:2048 4-7:2048"

static const struct tcase guest_cases[] = {
	{ .name = "cells on one node", .host = { .nodes = 2, .cores = 16 }, .policy = PLACE_DEDICATED,
	  .n = 8, TWO_CELLS,
	  .memory = 4 * GIB, .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "dedicated nodes=0 vcpus=1 2 3 4 5 6 7 8 emu=9-15 claim=1-8 strict=0 4096M@0 cell0=0 "
		  "cell1=0" },
	{ .name = "cells on two nodes", FLAT, .policy = PLACE_DEDICATED, .n = 8, TWO_CELLS, .reserved = "0,8",
	  .memory = 4 * GIB, .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "dedicated nodes=0-1 vcpus=1 2 3 4 9 10 11 12 emu=5-7,13-15 claim=1-4,9-12 strict=0-1 "
		  "2048M@0 2048M@1 cell0=0 cell1=1" },
	{ .name = "cells on two nodes, preferred", FLAT, .policy = PLACE_DEDICATED, .n = 8, TWO_CELLS,
	  .reserved = "0,8",
	  .memory = 4 * GIB, .memory_policy = PLACE_MEMORY_PREFERRED,
	  .want = "dedicated nodes=0-1 vcpus=1 2 3 4 9 10 11 12 emu=5-7,13-15 claim=1-4,9-12 preferred=0-1 "
		  "2048M@0 2048M@1 cell0=0 cell1=1" },
	{ .name = "cells, interleaved", FLAT, .policy = PLACE_DEDICATED, .n = 8, TWO_CELLS, .reserved = "0,8",
	  .memory = 4 * GIB, .memory_policy = PLACE_MEMORY_INTERLEAVE,
	  .want = "dedicated nodes=0-1 vcpus=1 2 3 4 9 10 11 12 emu=5-7,13-15 claim=1-4,9-12 "
		  "interleave=0-1 2048M@0 2048M@1 cell0=0-1 cell1=0-1" },
	{ .name = "cells of different sizes", FLAT, .policy = PLACE_DEDICATED, .n = 10, .cells = "0-6:1024 7-9:3072",
	  .memory = 4 * GIB, .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "dedicated nodes=0-1 vcpus=8 9 10 11 12 13 14 1 2 3 emu=4-7,15 claim=1-3,8-14 strict=0-1 "
		  "3072M@0 1024M@1 cell0=1 cell1=0" },
	{ .name = "cells: memory decides where", FLAT, .policy = PLACE_DEDICATED, .n = 8,
	  .cells = "0-3:1024 4-7:40960",
	  .reserved = "0,8", .memory = 41 * GIB, .memory_policy = PLACE_MEMORY_STRICT,
	  .held = { { .name = "a", .phase = CLAIM_STARTED, .pages = { 1, 0, 40 * GIB } } },
	  .want = "dedicated nodes=0-1 vcpus=9 10 11 12 1 2 3 4 emu=5-7,13-15 claim=1-4,9-12 strict=0-1 "
		  "40960M@0 1024M@1 cell0=1 cell1=0" },
	{ .name = "cells with huge pages", .host = { .nodes = 2, .cores = 8, .pages_2m = { 1100, 900 } }, .n = 8,
	  .policy = PLACE_DEDICATED, .reserved = "0,8", TWO_CELLS, .memory = 4 * GIB, GROW_2M,
	  .want = "dedicated nodes=0-1 vcpus=1 2 3 4 9 10 11 12 emu=5-7,13-15 claim=1-4,9-12 1024x2M@0 "
		  "1024x2M@1(+124) cell0=0 cell1=1 pages=2M" },
	{ .name = "three cells on two nodes", FLAT, .policy = PLACE_DEDICATED, .n = 12,
	  .cells = "0-3:1024 4-7:1024 8-11:1024", .memory = 3 * GIB, .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "dedicated nodes=0-1 vcpus=1 2 3 4 8 9 10 11 12 13 14 15 emu=5-7 claim=1-4,8-15 "
		  "strict=0-1 1024M@0 2048M@1 cell0=0 cell1=1 cell2=1" },
	{ .name = "a cell that no node holds", FLAT, .policy = PLACE_DEDICATED, .n = 12,
	  .cells = "0-8:1024 9-11:1024",
	  .memory = 2 * GIB, .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "dedicated nodes=0-1 vcpus=1 2 3 4 5 6 8 9 10 11 12 13 emu=7,14-15 claim=1-6,8-13 "
		  "strict=0-1 512M@0 1536M@1 cell0=0-1 cell1=1\n"
		  "note: guest cell 0 is larger than any node here (8 CPUs for guests, 64 GiB), its cells "
		  "are not kept together: smaller <cell>s" },
	{ .name = "cells that do not fit now", FLAT, .policy = PLACE_DEDICATED, .n = 10, .cells = "0-4:1024 5-9:1024",
	  .held = { { .name = "a", .cpus = "1-3" } },
	  .memory = 2 * GIB, .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "dedicated nodes=0-1 vcpus=4 5 6 7 8 9 10 11 12 13 emu=14-15 claim=4-13 strict=0-1 "
		  "512M@0 1536M@1 cell0=0-1 cell1=1\n"
		  "note: the guest's cells do not fit on nodes as they are used now, so they are not kept "
		  "together: fewer guests here, or smaller <cell>s" },
	{ .name = "cells, shared", FLAT, .policy = PLACE_SHARED, .n = 12, .cells = "0-5:1024 6-11:1024",
	  .memory = 2 * GIB,
	  .memory_policy = PLACE_MEMORY_PREFERRED,
	  .want = "shared nodes=0-1 vcpus=1-7*6 8-15*6 emu=1-15 preferred=0-1 1024M@0 1024M@1 cell0=0 "
		  "cell1=1" },
	{ .name = "cells, shared, on one node", FLAT, .policy = PLACE_SHARED, .n = 4, .cells = "0-1:1024 2-3:1024",
	  .memory = 2 * GIB, .memory_policy = PLACE_MEMORY_PREFERRED,
	  .want = "shared nodes=1 vcpus=8-15*4 emu=8-15 preferred=1 2048M@1 cell0=1 cell1=1" },
	{ .name = "cells, shared, emulator isolated", FLAT, .policy = PLACE_SHARED, .n = 12,
	  .cells = "0-5:1024 6-11:1024",
	  .memory = 2 * GIB, .emulator = PLACE_WHERE_ISOLATE, .n_iothreads = 1,
	  .want = "shared nodes=0-1 vcpus=2-7*6 8-15*6 emu=1 io2=2-15 claim=1 1024M@0 1024M@1" },
	{ .name = "cells and pins", FLAT, .policy = PLACE_DEDICATED, .n = 4, .cells = "0-1:1024 2-3:1024",
	  .pins = { "4", "5", "12", "13" }, .memory = 2 * GIB, .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "dedicated nodes=0-1 vcpus=4 5 12 13 emu=1-3,6-11,14-15 claim=4-5,12-13 strict=0-1 "
		  "1024M@0 1024M@1 cell0=0 cell1=1" },
	{ .name = "cells, memory nodes given", FLAT, .policy = PLACE_DEDICATED, .n = 4, .cells = "0-1:1024 2-3:1024",
	  .nodes = "1", .memory = 2 * GIB, .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "dedicated nodes=1 vcpus=8 9 10 11 emu=12-15 claim=8-11 strict=1 2048M@1 cell0=1 cell1=1" },
	{ .name = "cells, policy none, pages", .host = { .nodes = 2, .cores = 8, .pages_2m = { 600, 600 } }, .n = 4,
	  .cells = "0-1:1024 2-3:1024", .memory = 2 * GIB, HUGE_2M,
	  .want = "none 512x2M@0 512x2M@1 cell0=0 cell1=1 pages=2M" },
	{ .name = "without cells over two nodes", FLAT, .policy = PLACE_DEDICATED, .n = 10, .memory = 2 * GIB,
	  .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "dedicated nodes=0-1 vcpus=1 2 3 4 5 8 9 10 11 12 emu=6-7,13-15 claim=1-5,8-12 "
		  "strict=0-1 1024M@0 1024M@1\n"
		  "note: the guest is split over nodes 0-1 and cannot see it: 2 <cell>s in its "
		  "<cpu><numa>, or a guest that fits on one" },
	{ .name = "a cell of odd memory", .host = { .nodes = 2, .cores = 8, .pages_2m = { 1100, 1100 } }, .n = 2,
	  .policy = PLACE_DEDICATED, .cells = "0:1025 1:1023", .memory = 2 * GIB, HUGE_2M,
	  .want = "dedicated nodes=0 vcpus=1 2 emu=3-7 claim=1-2 2048M@0 thp\n"
		  "unmet: 2M pages asked, but the guest's 2 GiB are no multiple of that in each cell: "
		  "another amount of memory, or smaller pages" },

	{ .name = "guest threads", .host = SMT2, .policy = PLACE_DEDICATED, .n = 4, .guest_threads = 2,
	  .want = "dedicated nodes=0 vcpus=1 9 2 10 emu=3,11 claim=1-2,9-10" },
	{ .name = "guest threads, torn", .host = SMT2, .policy = PLACE_DEDICATED, .n = 4, .guest_threads = 2,
	  .held = { { .name = "a", .cpus = "1-3,5-7" } },
	  .want = "dedicated nodes=1 vcpus=4 12 13 14 emu=15 claim=4,12-14\n"
		  "note: vCPUs 2 and 3 are threads of one core to the guest, but not on one core here: "
		  "threads='1' in its <topology>, or fewer guests here, so that whole cores are free" },
	{ .name = "guest threads, no SMT", .host = { .cores = 8 }, .policy = PLACE_DEDICATED, .n = 4,
	  .guest_threads = 2,
	  .want = "dedicated nodes=0 vcpus=1 2 3 4 emu=5-7 claim=1-4\n"
		  "note: vCPUs 0 and 1 are threads of one core to the guest, but not on one core here: "
		  "threads='1' in its <topology>" },
	{ .name = "guest threads, isolate", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2, .guest_threads = 2,
	  .threads = PLACE_THREADS_ISOLATE,
	  .want = "dedicated nodes=0 vcpus=1 2 emu=3,11 claim=1-2,9-10\n"
		  "note: vCPUs 0 and 1 are threads of one core to the guest, but not on one core here: "
		  "threads='1' in its <topology>, or cpu threads prefer" },
	{ .name = "guest threads, one vCPU offline", .host = SMT2, .policy = PLACE_DEDICATED, .n = 4,
	  .guest_threads = 2,
	  .online = "0,2-3",
	  .want = "dedicated nodes=0 vcpus=2 - 1 9 emu=3,10-11 claim=1-2,9" },
	{ .name = "no guest threads, isolate", .host = SMT2, .policy = PLACE_DEDICATED, .n = 3, .guest_threads = 1,
	  .threads = PLACE_THREADS_ISOLATE,
	  .want = "dedicated nodes=0 vcpus=1 2 3 emu=0,8 claim=1-3,9-11" },
	{ .name = "guest threads float", .host = SMT2, .policy = PLACE_SHARED, .n = 4, .guest_threads = 2,
	  .want = "shared nodes=1 vcpus=4-7,12-15*4 emu=4-7,12-15" },

	{ .name = "latency: the node with enough fast cores", .latency = true, .policy = PLACE_DEDICATED,
	  .host = { .nodes = 2, .cores = 8, .slow = 4 }, .n = 4,
	  .want = "dedicated nodes=1 vcpus=8 9 10 11 emu=12-15 claim=8-11" },
	{ .name = "not for latency", .policy = PLACE_DEDICATED, .host = { .cores = 8, .slow = 4 }, .n = 2,
	  .want = "dedicated nodes=0 vcpus=1 2 emu=3-7 claim=1-2" },
	{ .name = "for latency", .latency = true, .policy = PLACE_DEDICATED, .host = { .cores = 8, .slow = 4 },
	  .n = 2,
	  .want = "dedicated nodes=0 vcpus=1 2 emu=3-7 claim=1-2" },

	{ .name = "no topology to be wrong", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2, .no_topology = true,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9" },
	{ .name = "a device", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2, .devices = { { "0000:3b:00.0", 1 } },
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12\n"
		  "note: vCPUs 0 and 1 share a core and the guest cannot see it: threads='2' in its "
		  "<topology>, or cpu threads isolate" },
	{ .name = "a device, shared", .host = SMT2, .policy = PLACE_SHARED, .n = 2,
	  .devices = { { "eth0", 1 }, { "nvme0n1",
	  -1 } },
	  .want = "shared nodes=1 vcpus=4-7,12-15*2 emu=4-7,12-15" },
	{ .name = "a device, its node full", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2,
	  .devices = { { "0000:3b:00.0", 1 } }, .held = { { .name = "a", .cpus = "4-7,12-15" } },
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9\n"
		  "note: vCPUs 0 and 1 share a core and the guest cannot see it: threads='2' in its "
		  "<topology>, or cpu threads isolate" },
	{ .name = "a device next door", FOUR, .policy = PLACE_DEDICATED, .n = 2, .devices = { { "0000:3b:00.0", 3 } },
	  .held = { { .name = "a", .cpus = "12-15,28-31" } },
	  .want = "dedicated nodes=2 vcpus=8 24 emu=9-11,25-27 claim=8,24\n"
		  "note: vCPUs 0 and 1 share a core and the guest cannot see it: threads='2' in its "
		  "<topology>, or cpu threads isolate" },

	{ .name = "exclusive CPUs", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2, .exclusive = "1-3,9-11",
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12\n"
		  "note: vCPUs 0 and 1 share a core and the guest cannot see it: threads='2' in its "
		  "<topology>, or cpu threads isolate" },
	{ .name = "exclusive CPUs, shared", .host = SMT2, .policy = PLACE_SHARED, .n = 2, .exclusive = "4-6",
	  .devices = { { "eth0", 1 } },
	  .want = "shared nodes=1 vcpus=7,12-15*2 emu=7,12-15" },
	{ .name = "exclusive CPUs, in the way", .host = SMT2, .policy = PLACE_DEDICATED, .n = 8, .exclusive = "1-6",
	  .want = "dedicated nodes=0-1 vcpus=9 10 11 12 13 14 7 15 emu=0,8 claim=7,9-15\n"
		  "note: the guest is split over nodes 0-1 and cannot see it: 2 <cell>s in its "
		  "<cpu><numa>, or a guest that fits on one\n"
		  "note: vCPUs 6 and 7 share a core and the guest cannot see it: threads='2' in its "
		  "<topology>, or cpu threads isolate" },
	{ .name = "exclusive CPUs, pinned to", .host = SMT2, .policy = PLACE_DEDICATED, .n = 1, .exclusive = "4",
	  .pins = { "4" },
	  .want = "dedicated nodes=1 vcpus=4 emu=5-7,12-15 claim=4\n"
		  "note: vCPU 0 is pinned by the definition to CPUs 4, not its own alone (1 in the "
		  "exclusive cpuset rt)" },

	{ .name = "nothing reserved: a core stays", .host = SMT2, .reserved = "", .policy = PLACE_DEDICATED, .n = 8,
	  .held = { { .name = "a", .cpus = "4-7,12-15" } },
	  .want = "shared nodes=0 vcpus=0-3,8-11*8 emu=0-3,8-11\n"
		  "unmet: 8 dedicated CPUs asked, 6 free on node 0 (8 held by a, 2 kept for the host): "
		  "fewer vCPUs, cpu policy shared, or stop a" },
	{ .name = "nothing reserved: another core can stay", .host = { .cores = 4 }, .reserved = "", .n = 2,
	  .cpus = "0-1",
	  .policy = PLACE_DEDICATED,
	  .want = "dedicated nodes=0 vcpus=0 1 emu=2-3 claim=0-1" },
	{ .name = "half a core reserved: its sibling stays", .host = { .cores = 2, .threads = 2 }, .reserved = "0",
	  .policy = PLACE_DEDICATED, .n = 2,
	  .want = "dedicated nodes=0 vcpus=1 3 emu=2 claim=1,3\n"
		  "note: vCPUs 0 and 1 share a core and the guest cannot see it: threads='2' in its "
		  "<topology>, or cpu threads isolate" },
	{ .name = "half a core reserved, all the rest asked", .host = { .cores = 2, .threads = 2 }, .reserved = "0",
	  .policy = PLACE_DEDICATED, .n = 3,
	  .want = "shared nodes=0 vcpus=1-3*3 emu=1-3\n"
		  "unmet: 3 dedicated CPUs asked, 2 free on node 0 (1 reserved, 1 kept for the host): "
		  "fewer vCPUs or cpu policy shared" },
	{ .name = "pins in every core: the last CPU stays", .host = { .cores = 2, .threads = 2 }, .reserved = "",
	  .held = { { .name = "a", .cpus = "0-1", .kind = CLAIM_FOREIGN } }, .policy = PLACE_DEDICATED, .n = 2,
	  .want = "shared nodes=0 vcpus=2-3*2 emu=2-3\n"
		  "unmet: 2 dedicated CPUs asked, 1 free on node 0 (2 held by a, 1 kept for the host): "
		  "fewer vCPUs, cpu policy shared, or stop a" },
	{ .name = "one core", .host = { .cores = 1, .threads = 2 }, .policy = PLACE_DEDICATED, .n = 2,
	  .want = "dedicated nodes=0 vcpus=0 1 emu=0-1 claim=0-1\n"
		  "note: vCPUs 0 and 1 share a core and the guest cannot see it: threads='2' in its "
		  "<topology>, or cpu threads isolate" },
	{ .name = "the further CPU leaves a core too", .host = { .cores = 3 }, .reserved = "",
	  .policy = PLACE_DEDICATED,
	  .n = 2, .emulator = PLACE_WHERE_ISOLATE,
	  .want = "dedicated nodes=0 vcpus=1 2 emu=0 claim=1-2\n"
		  "unmet: one further CPU asked for the emulator or I/O threads, none is free: fewer "
		  "vCPUs, or share" },

	{ .name = "retune: stays where it is", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2, .current = "6,14",
	  .home = "1", .memory = GIB, .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "dedicated nodes=1 vcpus=6 14 emu=4-5,7,12-13,15 claim=6,14 strict=1 1024M@1\n"
		  "note: vCPUs 0 and 1 share a core and the guest cannot see it: threads='2' in its "
		  "<topology>, or cpu threads isolate" },
	{ .name = "retune: to its memory", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2, .current = "1,9",
	  .home = "1", .memory = GIB, .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12 strict=1 1024M@1\n"
		  "note: vCPUs 0 and 1 share a core and the guest cannot see it: threads='2' in its "
		  "<topology>, or cpu threads isolate" },
	{ .name = "retune: memory elsewhere, no room there", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2,
	  .home = "1",
	  .held = { { .name = "a", .cpus = "4-7,12-15" } }, .memory = GIB, .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 strict=1 1024M@1\n"
		  "note: vCPUs 0 and 1 share a core and the guest cannot see it: threads='2' in its "
		  "<topology>, or cpu threads isolate" },
	{ .name = "retune: memory is not asked for", .host = PAIR(.free_gib = { 1, 1 }), .policy = PLACE_SHARED,
	  .n = 2,
	  .home = "1", .memory = 32 * GIB, GROW_2M, .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "shared nodes=1 vcpus=4-7,12-15*2 emu=4-7,12-15 strict=1 32768M@1" },
	{ .name = "retune: better than where it is", .host = SMT2, .policy = PLACE_DEDICATED, .n = 2,
	  .current = "1,10",
	  .home = "0",
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9\n"
		  "note: vCPUs 0 and 1 share a core and the guest cannot see it: threads='2' in its "
		  "<topology>, or cpu threads isolate" },
};

static const struct tcase growth_cases[] = {
	{ .name = "grow", .host = PAIR(.pages_2m = { 100, 50 }), TWO, .memory = GIB, GROW_2M,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 512x2M@0(+412) pages=2M" },
	{ .name = "auto, by its device rather than where pages are free", .host = PAIR(.pages_2m = { 600, 0 }), TWO,
	  .memory = GIB + PAGE_2M * 2, .pages = PLACE_PAGES_AUTO, .devices = { { "0000:3b:00.0", 1 } },
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12 514x2M@1(+514) pages=2M" },
	{ .name = "auto, by its device, which is where none can be added", .host = PAIR(.pages_2m = { 600, 0 }), TWO,
	  .memory = GIB + PAGE_2M * 2, .pages = PLACE_PAGES_AUTO, .devices = { { "0000:3b:00.0", 1 } },
	  .caps = { { 1, PAGE_2M, 0 } },
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 514x2M@0 pages=2M" },
	{ .name = "free ones first", .host = PAIR(.pages_2m = { 100, 512 }), TWO, .memory = GIB, GROW_2M,
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12 512x2M@1 pages=2M" },
	{ .name = "no pool yet", .host = SMT2, TWO, .memory = GIB, GROW_2M,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 512x2M@0(+512) pages=2M" },
	{ .name = "no such size", .host = PAIR(.no_pools = true), TWO, .memory = GIB, GROW_2M,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 1024M@0 thp\n"
		  "unmet: 512 pages of 2M asked, no such pool on node 0, no such pool on node 1: pages of "
		  "another size" },
	{ .name = "free memory and its reserve", .host = { .cores = 4, .gib = 16, .free_gib = { 3 } }, TWO,
	  .memory = 2 * GIB,
	  GROW_2M,
	  .want = "dedicated nodes=0 vcpus=1 2 emu=3 claim=1-2 1024x2M@0(+1024) pages=2M" },
	{ .name = "the reserve is in the way", .host = { .cores = 4, .gib = 16, .free_gib = { 3 } }, TWO,
	  .memory = 2 * GIB + PAGE_2M, GROW_2M,
	  .want = "dedicated nodes=0 vcpus=1 2 emu=3 claim=1-2 2050M@0 thp\n"
		  "unmet: 1025 pages of 2M asked, 0 free and 1024 more possible on node 0: a larger pool, "
		  "more free memory, or a guest of at most 2 GiB" },
	{ .name = "max-hugepages", .host = { .cores = 4, .gib = 4, .pages_2m = { 500 } }, TWO,
	  .memory = 2 * GIB, GROW_2M,
	  .limit = 40,
	  .want = "dedicated nodes=0 vcpus=1 2 emu=3 claim=1-2 2048M@0 thp\n"
		  "unmet: 1024 pages of 2M asked, 500 free and 319 more possible on node 0: a larger pool, "
		  "more free memory, or a guest of at most 1638 MiB" },
	{ .name = "a guest that is growing", .host = { .cores = 4, .gib = 4, .free_gib = { 3 } }, TWO,
	  .memory = GIB, GROW_2M,
	  .held = { { .name = "a", .pages = { 0, PAGE_2M, 800, 800 } } },
	  .want = "dedicated nodes=0 vcpus=1 2 emu=3 claim=1-2 512x2M@0(+512) pages=2M" },
	{ .name = "a cap", .host = PAIR(.pages_2m = { 100, 50 }), TWO, .memory = GIB, GROW_2M,
	  .caps = { { 0, PAGE_2M, 300 } },
	  .want = "dedicated nodes=1 vcpus=4 12 emu=5-7,13-15 claim=4,12 512x2M@1(+462) pages=2M" },
	{ .name = "caps on both", .host = PAIR(.pages_2m = { 100, 50 }), TWO, .memory = GIB, GROW_2M,
	  .caps = { { 0, PAGE_2M, 300 }, { 1, PAGE_2M, 300 } },
	  .want = "dedicated nodes=0-1 vcpus=1 9 emu=2-7,10-15 claim=1,9 256x2M@0(+156) 256x2M@1(+206) "
		  "pages=2M\n"
		  "note: the guest is split over nodes 0-1 and cannot see it: 2 <cell>s in its "
		  "<cpu><numa>, or a guest that fits on one" },
	{ .name = "caps, too few", .host = PAIR(.pages_2m = { 100, 50 }), TWO, .memory = GIB, GROW_2M,
	  .held = { { .name = "db1", .cpus = "4", .pages = { 0, PAGE_2M, 40 } } },
	  .caps = { { 0, PAGE_2M, 300 }, { 1, PAGE_2M, 100 } },
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 1024M@0 thp\n"
		  "unmet: 512 pages of 2M asked, 60 free and 240 more possible on node 0, 50 free and 50 "
		  "more possible on node 1 (40 claimed by db1): a larger pool, more free memory, or a "
		  "guest of at most 600 MiB" },
	{ .name = "no growth", .host = PAIR(.pages_2m = { 100, 50 }), TWO, .memory = GIB, HUGE_2M,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 1024M@0 thp\n"
		  "unmet: 512 pages of 2M asked, 100 free on node 0, 50 free on node 1: a larger pool, "
		  "more free memory, or a guest of at most 200 MiB" },
	{ .name = "auto grows 1G on a young host", .host = SMT2, TWO, .memory = 4 * GIB, .pages = PLACE_PAGES_AUTO,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 4x1024M@0(+4) pages=1024M" },
	{ .name = "auto: not on a used one", .host = PAIR(.free_gib = { 30, 30 }), TWO, .memory = 4 * GIB,
	  .pages = PLACE_PAGES_AUTO,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 2048x2M@0(+2048) pages=2M" },
	{ .name = "1G asked by name is tried", .host = PAIR(.free_gib = { 30, 30 }), TWO, .memory = 4 * GIB, GROW_1G,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 4x1024M@0(+4) pages=1024M" },
	{ .name = "auto after 1G failed", .host = SMT2, TWO, .memory = 4 * GIB, .pages = PLACE_PAGES_AUTO,
	  .caps = { { 0, PAGE_1G, 1 }, { 1, PAGE_1G, 0 } },
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 2048x2M@0(+2048) pages=2M" },
	{ .name = "auto after all failed", .host = { .cores = 4 }, TWO, .memory = 4 * GIB, .pages = PLACE_PAGES_AUTO,
	  .caps = { { 0, PAGE_1G, 1 }, { 0, PAGE_2M, 9 } },
	  .want = "dedicated nodes=0 vcpus=1 2 emu=3 claim=1-2 4096M@0 thp" },
	{ .name = "two nodes", .host = { .nodes = 2, .cores = 4, .gib = 4 }, .policy = PLACE_DEDICATED, .n = 6,
	  .memory = 5 * GIB, GROW_2M, .memory_policy = PLACE_MEMORY_STRICT,
	  .want = "dedicated nodes=0-1 vcpus=1 2 3 4 5 6 emu=7 claim=1-6 strict=0-1 1280x2M@0(+1280) "
		  "1280x2M@1(+1280) pages=2M\n"
		  "note: the guest is split over nodes 0-1 and cannot see it: 2 <cell>s in its "
		  "<cpu><numa>, or a guest that fits on one" },
	{ .name = "memory free unknown: nothing grows", .host = PAIR(.memory_unknown = true,
	  .pages_2m = { 100, 50 }), TWO,
	  .memory = GIB, GROW_2M,
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 1024M@0 thp\n"
		  "unmet: 512 pages of 2M asked, 100 free on node 0, 50 free on node 1: a larger pool, "
		  "more free memory, or a guest of at most 200 MiB" },
	{ .name = "<hugepages> grow", .host = PAIR(.pages_2m = { 100, 50 }), TWO, .memory = GIB,
	  .backing = { { PAGE_2M, GIB } },
	  .want = "dedicated nodes=0 vcpus=1 9 emu=2-3,10-11 claim=1,9 512x2M@0(+412)" },
	{ .name = "<hugepages> of two sizes grow out of the same memory", .host = { .cores = 4, .gib = 16,
	  .free_gib = { 5 } },
	  TWO, .memory = 5 * GIB, .backing = { { PAGE_2M, 3 * GIB }, { PAGE_1G, 2 * GIB } },
	  .want = "dedicated nodes=0 vcpus=1 2 emu=3 claim=1-2 1536x2M@0(+1536) 1x1024M@0(+1)\n"
		  "unmet: 2 pages of 1G asked by the definition's <hugepages>, 1 free or to be added: a "
		  "larger pool, more free memory, or a smaller guest" },
	{ .name = "cells grow each on its node", .host = { .nodes = 2, .cores = 8, .pages_2m = { 200, 100 } },
	  .reserved = "0,8", .policy = PLACE_DEDICATED, .n = 8, TWO_CELLS, .memory = 4 * GIB, GROW_2M,
	  .want = "dedicated nodes=0-1 vcpus=1 2 3 4 9 10 11 12 emu=5-7,13-15 claim=1-4,9-12 "
		  "1024x2M@0(+824) 1024x2M@1(+924) cell0=0 cell1=1 pages=2M" },
	{ .name = "a node without CPUs is nobody's choice", .host = { .nodes = 2, .cores = 4, .cpuless = 1,
	  .pages_2m = { 10, 4000 }, .free_gib = { 1 } }, TWO, .memory = 4 * GIB, GROW_2M,
	  .want = "dedicated nodes=0 vcpus=1 2 emu=3 claim=1-2 4096M@0 thp\n"
		  "unmet: 2048 pages of 2M asked, 10 free on node 0: a larger pool, more free memory, or a "
		  "guest of at most 20 MiB" },
};

/* clang-format on */

TEST(cpus)
{
	for (size_t i = 0; i < ARRAY_SIZE(cpu_cases); i++)
		run_case(&cpu_cases[i], false);
}

TEST(memory)
{
	for (size_t i = 0; i < ARRAY_SIZE(memory_cases); i++)
		run_case(&memory_cases[i], false);
}

TEST(guests)
{
	for (size_t i = 0; i < ARRAY_SIZE(guest_cases); i++)
		run_case(&guest_cases[i], true);
}

TEST(growth)
{
	for (size_t i = 0; i < ARRAY_SIZE(growth_cases); i++)
		run_case(&growth_cases[i], false);
}

/* Why `auto` did not step up. */
TEST(stepped_down)
{
	static const struct {
		struct host_spec host;
		uint64_t memory;
		const char *want;
		bool grow;
	} steps[] = {
		{ { .pages_2m = { 20 } }, GIB, "auto, no 1G: 0 of 1 pages free; no 2M: 20 of 512 pages free", false },
		{ { .no_pools = true }, GIB + PAGE_2M,
		  "auto, no 1G: memory is no multiple; no 2M: there is no pool", false },
		{ { .pools_unknown = true }, GIB + MIB,
		  "auto, no 1G: memory is no multiple; no 2M: memory is no multiple", false },
		{ { .pools_unknown = true }, GIB,
		  "auto, no 1G: the pool cannot be read; no 2M: the pool cannot be read", false },
		{ { .pages_2m = { 600 } }, GIB, "512 pages of 2M are free", false },
		{ { .pages_2m = { 100 } }, GIB + PAGE_2M,
		  "513 pages of 2M: 100 free, 413 to be added on node 0", true },
		{ { .pages_1g = { 1 } }, GIB, "1 page of 1G is free", true },
		{ { .free_gib = { 5 } }, 5 * GIB, "auto, no 1G: 0 of 5 pages free; no 2M: 0 of 2560 pages free, "
		  "2048 more possible", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		const struct policy_limit all = { .num = 100, .is_percent = true };
		const struct place_request q = { .policy = PLACE_SHARED, .n_vcpus = 1, .memory = steps[i].memory,
						 .pages = PLACE_PAGES_AUTO, .no_growth = !steps[i].grow,
						 .max_memory = all, .max_hugepages = all };
		struct ledger l = { 0 };
		struct placement p;
		struct host h;

		host_make(&h, &steps[i].host);
		IS_INT(place(&h, &q, &l, "", &p), 0);
		IS_STR(p.why_pages, steps[i].want);
		placement_fini(&p);
		host_free(&h);
	}
}

/* A pool of 100 pages through the life of one claim of 40, with 10 that others use; `used` as the kernel says it. */
static const struct {
	const char *name;
	uint64_t used;
	bool claimed;
	enum claim_phase phase;
	uint64_t others, free; /* for a new domain; UINT64_MAX: there is no record */
} pool_steps[] = {
	{ "nobody", 10, false, 0, 10, 90 },
	{ "prepared", 10, true, CLAIM_PREPARED, 10, 50 },
	{ "prepared, QEMU has taken some", 30, true, CLAIM_PREPARED, 10, 50 },
	{ "prepared, QEMU has taken all", 50, true, CLAIM_PREPARED, 10, 50 },
	{ "prepared, others take more", 60, true, CLAIM_PREPARED, 10, 40 },
	{ "started", 50, true, CLAIM_STARTED, 10, 50 },
	{ "started, others took more", 60, true, CLAIM_STARTED, 20, 40 },
	{ "started, others have less", 45, true, CLAIM_STARTED, 5, 55 },
	{ "stopped, still in use", 45, true, CLAIM_STOPPED, 5, 55 },
	{ "stopped, given back", 5, true, CLAIM_STOPPED, 5, 55 },
	{ "released", 5, false, 0, 5, 95 },
};

TEST(pools)
{
	const struct host_spec spec = { .cores = 1, .pages_2m = { 100 } };
	struct ledger l = { 0 };
	struct host h;
	struct claim *c = NULL;
	char uuid[37];

	host_make(&h, &spec);
	for (size_t i = 0; i < ARRAY_SIZE(pool_steps); i++) {
		h.nodes[0].pools[0].free = 100 - pool_steps[i].used;
		if (pool_steps[i].claimed && !c) {
			c = claim_make(&l, "a", "");
			memcpy(uuid, c->uuid, sizeof(uuid));
			IS_INT(claim_add_pages(c, 0, PAGE_2M, 40), 0);
		} else if (!pool_steps[i].claimed && c) {
			ledger_remove(&l, uuid);
			c = NULL;
		}
		if (c)
			c->phase = pool_steps[i].phase;
		place_update_pools(&l, &h);
		IS_INT(l.n_pools, 1);
		if (l.pools[0].others != pool_steps[i].others ||
		    place_free_pages(&h.nodes[0], PAGE_2M, &l, "") != pool_steps[i].free)
			TAP_FAIL("%s: others %" PRIu64 ", free %" PRIu64, pool_steps[i].name, l.pools[0].others,
				 place_free_pages(&h.nodes[0], PAGE_2M, &l, ""));
		if (c) /* its own claim does not stand in its way */
			OK(place_free_pages(&h.nodes[0], PAGE_2M, &l, uuid) >= 40);
	}
	IS_INT(place_free_pages(&h.nodes[0], PAGE_1G, &l, ""), 0);
	h.nodes[0].pools[0].size = PAGE_1G; /* a size that has gone is forgotten */
	place_update_pools(&l, &h);
	IS_INT(l.n_pools, 1);
	OK(l.pools[0].size == PAGE_1G);
	IS_INT(place_free_pages(&h.nodes[0], PAGE_2M, &l, ""), 0);
	h.nodes[0].pools[0].size = PAGE_2M;
	h.nodes[0].pools[0].free = HOST_UNKNOWN;
	OK(place_free_pages(&h.nodes[0], PAGE_2M, &l, "") == HOST_UNKNOWN);
	ledger_fini(&l);
	host_free(&h);
}

TEST(reserved)
{
	static const struct {
		struct host_spec host;
		const char *given, *want;
	} cases[] = {
		{ SMT2, NULL, "0,8" }, { SMT2, "", "" },	    { SMT2, "2-3", "2-3" },
		{ SMT2, "14-20", "14-15" }, { SMT2, "16-20", "0,8" }, { { .cores = 1 }, NULL, "" },
		{ { .cores = 1, .threads = 2 }, NULL, "" },
		{ { .cores = 2 }, NULL, "0" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct policy p = { .reserved_given = cases[i].given, .reserved = set_of(cases[i].given) };
		struct host h;
		struct idset s;
		char text[64];

		host_make(&h, &cases[i].host);
		s = place_reserved(&h, &p);
		(void)idset_format(&s, text, sizeof(text));
		IS_STR(text, cases[i].want);
		host_free(&h);
	}
}

TEST(limits)
{
	const struct policy_limit count = { .num = 7 }, share = { .num = 75, .is_percent = true };
	const struct policy_limit huge = { .num = 1000, .is_percent = true };

	IS_INT(place_limit(count, 3), 7);
	IS_INT(place_limit(share, 10), 7);
	IS_INT(place_limit(share, 0), 0);
	OK(place_limit(share, HOST_UNKNOWN) == HOST_UNKNOWN);
	IS_INT(place_limit(count, HOST_UNKNOWN), 7);
	OK(place_limit(share, UINT64_MAX - 1) == (UINT64_MAX - 1) / 100 * 75 + (UINT64_MAX - 1) % 100 * 75 / 100);
	OK(place_limit(huge, UINT64_MAX - 1) == HOST_UNKNOWN);
}

/* Names and lists that others chose stay one line of bearable length. */
TEST(hostile_names)
{
	const struct host_spec spec = { .nodes = 8, .cores = 64 };
	struct place_request q = { .policy = PLACE_DEDICATED, .n_vcpus = 4000, .max_dedicated = 1000 };
	struct ledger l = { 0 };
	struct placement p;
	struct host h;
	char name[3000];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	name[1] = '\n';
	name[2] = '\t';
	host_make(&h, &spec);
	for (unsigned int i = 0; i < 200; i++) {
		char cpu[16];

		(void)snprintf(cpu, sizeof(cpu), "%u", i * 2);
		(void)claim_make(&l, name, cpu);
	}
	for (unsigned int i = 0; i < 500; i += 2)
		idset_add(&q.emulator_list, i);
	q.emulator_where = PLACE_WHERE_LIST;
	IS_INT(place(&h, &q, &l, "", &p), 0);
	OK(p.unmet.n > 0 && p.notes.n > 0);
	for (size_t i = 0; i < p.unmet.n + p.notes.n; i++) {
		const char *text = i < p.unmet.n ? p.unmet.m[i].text : p.notes.m[i - p.unmet.n].text;

		OK(strlen(text) < 700 && !strpbrk(text, "\n\t"));
	}
	placement_fini(&p);
	ledger_fini(&l);
	host_free(&h);
}

TAP_MAIN

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Classes of service in plans: attributes, hardware, groups and others' claims in; ways and reasons out. */
#include "tap.h"

#include "common/plan.h"
#include "common/resctrl.h"

#include "placehost.h"

#define UUID "11111111-2222-4333-8444-555555555555"

/* "NAME=L3MASK", "!NAME=L3MASK" exclusive; the same in both caches */
struct ccase {
	const char *name;
	const char *cache, *bandwidth;
	const char *groups;          /* the default group is "=MASK" */
	const char *holders;         /* "db1:0:f00 db2:1:0f0", "mb1::" has a class without ways */
	const char *policy;          /* of cpu; NULL: dedicated */
	unsigned int has;            /* of the definition */
	uint64_t mask, shareable;    /* 0: 7ff, none */
	unsigned int min_bits, classes, vcpus;
	const char *was;             /* of cpu.cache */
	const char *original;        /* of the default group, where claims have changed it; bits as a list */
	bool fail, cdp, no_l3, no_mb, units, not_looked_at, watch_only;
	enum resctrl_state state;    /* ABSENT: mounted, see below */
	bool absent;
	const char *want;
};

static void add_group(struct resctrl_facts *f, const char *name, uint64_t bits, bool is_exclusive)
{
	struct resctrl_group *g;

	f->groups = reallocarray(f->groups, f->n_groups + 1, sizeof(*f->groups));
	g = &f->groups[f->n_groups++];
	memset(g, 0, sizeof(*g));
	(void)snprintf(g->name, sizeof(g->name), "%s", name);
	g->is_exclusive = is_exclusive;
	g->bits = must_alloc(f->n_caches, sizeof(*g->bits));
	for (unsigned int i = 0; i < f->n_caches; i++)
		g->bits[i] = bits;
}

/* Two caches, four CPUs each. */
static void make_facts(struct resctrl_facts *f, const struct ccase *t)
{
	char *copy = strdup(t->groups ? t->groups : ""), *save = NULL;

	memset(f, 0, sizeof(*f));
	f->state = t->absent ? RESCTRL_ABSENT : t->state == RESCTRL_ABSENT ? RESCTRL_MOUNTED : t->state;
	f->has_l3 = !t->no_l3;
	f->has_mb = !t->no_mb;
	f->has_cdp = t->cdp;
	f->mask = t->mask ? t->mask : 0x7ff;
	f->shareable = t->shareable;
	f->min_bits = t->min_bits ? t->min_bits : 1;
	f->mb_is_percent = !t->units;
	f->mb_min = f->mb_step = 10;
	f->n_classes = t->classes ? t->classes : 16;
	f->n_caches = f->n_mb = 2;
	f->caches = must_alloc(2, sizeof(*f->caches));
	f->mb_ids = must_alloc(2, sizeof(*f->mb_ids));
	f->caches[1].id = f->mb_ids[1] = 1;
	f->caches[0].cpus = set_of("0-3");
	f->caches[1].cpus = set_of("4-7");
	if (!strstr(copy, " =") && *copy != '=')
		add_group(f, "", f->mask, false);
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		char *equals = strchr(w, '=');

		*equals = '\0';
		add_group(f, w + (*w == '!'), strtoull(equals + 1, NULL, 16), *w == '!');
	}
	free(copy);
}

static void hold(struct ledger *l, const char *text)
{
	char *copy = strdup(text), *save = NULL;

	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		char *cache = strchr(w, ':'), *bits = strchr(cache + 1, ':');
		struct claim *c;

		*cache = *bits = '\0';
		c = claim_make(l, w, "");
		c->has_class = true;
		if (*bits != '\0' || bits[1])
			IS_INT(claim_add_ways(c, (unsigned int)atoi(cache + 1), strtoull(bits + 1, NULL, 16)), 0);
	}
	free(copy);
}

static void wish(struct intent *in, enum knob_id id, const char *text)
{
	struct err e = ERR_INIT;

	if (!text)
		return;
	if (knob_parse_value(id, text, &in->v[id], &e)) {
		fprintf(stderr, "%s\n", e.text);
		exit(2);
	}
	in->v[id].source = strdup("annotation");
}

static struct policy all_of_it(void)
{
	const struct policy_limit all = {.num = 100, .is_percent = true};

	return (struct policy){.max_dedicated = all, .max_hugepages = all, .max_memory = all};
}

static void show(struct sbuf *b, const struct plan *p)
{
	if (p->refused)
		sbuf_addf(b, "refused: %s\n", p->refused);
	for (size_t i = 0; i < p->n_settings; i++) {
		const struct setting *s = &p->settings[i];

		if (str_starts(s->knob, "cpu.cache") || str_starts(s->knob, "memory.bandwidth"))
			sbuf_addf(b, "%s%s%s = %s (%s) %s\n", s->knob, *s->target ? " " : "", s->target, s->value,
				  s->source, *s->target ? "" : s->why);
	}
	for (size_t i = 0; i < p->n_skipped; i++)
		if (str_starts(p->skipped[i].knob, "cpu.cache") || str_starts(p->skipped[i].knob, "memory.bandwidth"))
			sbuf_addf(b, "not %s: %s\n", p->skipped[i].knob, p->skipped[i].why);
}

static void run_case(const struct ccase *t)
{
	struct domain d = {.name = strdup("web1"), .vcpus = t->vcpus ? t->vcpus : 2, .vcpus_max = 8, .memory = GIB,
			   .has = t->has, .id = -1};
	const struct host_spec spec = {.cores = 8, .l3 = 4};
	struct setting was_setting = {.knob = strdup("cpu.cache"), .target = strdup(""), .stage = STAGE_PREPARE,
				      .value = strdup(t->was ? t->was : "")};
	struct plan was = {.settings = &was_setting, .n_settings = 1}, p;
	struct intent in = {.profile = strdup("p"), .fail = t->fail};
	struct policy policy;
	struct host h;
	struct ledger l = {0};
	struct resctrl_facts f;
	struct sbuf b = {0};
	struct plan_inputs inputs;

	memcpy(d.uuid, UUID, sizeof(d.uuid));
	for (unsigned int i = 0; i < d.vcpus; i++)
		idset_add(&d.vcpus_online, i);
	policy = all_of_it();
	host_make(&h, &spec);
	make_facts(&f, t);
	hold(&l, t->holders ? t->holders : "");
	if (t->original) {
		struct shared *s = ledger_add_shared(&l, "resctrl", RESCTRL_DIR "/schemata L3:0");

		(void)shared_set(s, &s->original, t->original);
	}
	wish(&in, KNOB_CPU_POLICY, t->policy ? t->policy : "dedicated");
	wish(&in, KNOB_CPU_CACHE, t->cache);
	wish(&in, KNOB_MEM_BANDWIDTH, t->bandwidth);
	inputs = (struct plan_inputs){.domain = &d, .intent = &in, .policy = &policy, .host = &h, .ledger = &l,
				      .resctrl = t->not_looked_at ? NULL : &f, .running = t->was != NULL,
				      .was = t->was ? &was : NULL};
	IS_INT(plan_make(&inputs, &p), 0);
	show(&b, &p);
	if (strcmp(b.s ? b.s : "", t->want) != 0)
		TAP_FAIL("%s:\n# got\n%s# want\n%s", t->name, b.s ? b.s : "", t->want);
	sbuf_fini(&b);
	plan_fini(&p);
	resctrl_fini(&f);
	ledger_fini(&l);
	host_free(&h);
	for (unsigned int i = 0; i < KNOB_ID_MAX; i++)
		value_fini(&in.v[i]);
	free(in.profile);
	free(d.name);
	free(was_setting.knob);
	free(was_setting.target);
	free(was_setting.value);
}

#define THREADS "cpu.cache threads = domtune-" UUID " (annotation) \n"

static const struct ccase ways[] = {
	{ "ways", .cache = "4",
	  .want = "cpu.cache = L3:0=7-10 (annotation) 4 of the 11 ways of L3 cache 0 for it alone\n" THREADS },
	{ "percent is rounded up", .cache = "25%",
	  .want = "cpu.cache = L3:0=8-10 (annotation) 3 of the 11 ways of L3 cache 0 for it alone; 25% are 3 of them, "
		  "rounded up\n" THREADS },
	{ "two caches", .cache = "2", .vcpus = 5,
	  .want = "cpu.cache = L3:0=9-10;1=9-10 (annotation) 2 of the 11 ways of L3 caches 0, 1 for it alone\n" THREADS },
	{ "code and data", .cache = "2", .vcpus = 5, .cdp = true,
	  .want = "cpu.cache = L3CODE:0=9-10;1=9-10 L3DATA:0=9-10;1=9-10 (annotation) 2 of the 11 ways of L3 caches 0, 1 "
		  "for it alone\n" THREADS },
	{ "fewer than the hardware gives", .cache = "1", .min_bits = 2,
	  .want = "cpu.cache = L3:0=9-10 (annotation) 2 of the 11 ways of L3 cache 0 for it alone; 1 asked: the hardware "
		  "gives 2 at least\n" THREADS },
	{ "not those that devices write to", .cache = "4", .shareable = 0x600,
	  .want = "cpu.cache = L3:0=0-3 (annotation) 4 of the 11 ways of L3 cache 0 for it alone\n" THREADS },
	{ "the host keeps two", .cache = "64",
	  .want = "cpu.cache = L3:0=2-10 (limit) 9 of the 11 ways of L3 cache 0 for it alone; 64 asked; 11 asked: of the 11 "
		  "ways of L3 cache 0 2 stay for the host\n" THREADS },
	{ "or what the hardware gives at least", .cache = "9", .min_bits = 4,
	  .want = "cpu.cache = L3:0=4-10 (limit) 7 of the 11 ways of L3 cache 0 for it alone; 9 asked: of the 11 ways of L3 "
		  "cache 0 4 stay for the host\n" THREADS },
	{ "beside others", .cache = "6", .holders = "db1:0:700 db2:0:0f0 db3:1:7ff", .original = "0-10",
	  .groups = "=00f", .want = "cpu.cache = L3:0=2-3 (limit) 2 of the 11 ways of L3 cache 0 for it alone; 6 asked: of the 11 "
		  "ways of L3 cache 0 db1 3, db2 4, 2 stay for the host\n" THREADS },
	{ "what another left behind is taken first", .cache = "2", .holders = "db1:0:0f0", .original = "0-10", .groups = "=00f",
	  .want = "cpu.cache = L3:0=9-10 (annotation) 2 of the 11 ways of L3 cache 0 for it alone\n" THREADS },
	{ "nothing is left", .cache = "1", .holders = "db1:0:7fc", .original = "0-10", .groups = "=003",
	  .want = "not cpu.cache: 1 asked: of the 11 ways of L3 cache 0 db1 9, 2 stay for the host\n" },
	{ "which refuses the start", .cache = "1", .holders = "db1:0:7fc", .original = "0-10", .groups = "=003", .fail = true,
	  .want = "refused: cpu.cache 1 asked, but of the 11 ways of L3 cache 0 0 can be had (db1 9, 2 stay for the host): fewer "
		  "ways\nnot cpu.cache: 1 asked: of the 11 ways of L3 cache 0 db1 9, 2 stay for the host\n" },
	{ "others' groups", .cache = "7", .groups = "=0ff !p0=700 p1=0c0 p2=0ff",
	  .want = "cpu.cache = L3:0=0-5 (limit) 6 of the 11 ways of L3 cache 0 for it alone; 7 asked: of the 11 ways of L3 cache "
		  "0 group 'p0' 3, group 'p1' 2, 2 stay for the host; not kept from group 'p2', which has all ways\n" THREADS },
	{ "as the kernel makes one beside an exclusive group", .cache = "2", .groups = "=0ff !p0=700 p2=0ff",
	  .want = "cpu.cache = L3:0=6-7 (annotation) 2 of the 11 ways of L3 cache 0 for it alone; not kept from group 'p2', which "
		  "has all ways\n" THREADS },
	{ "a default group that somebody has narrowed", .cache = "4", .groups = "=001",
	  .want = "cpu.cache = L3:0=7-10 (annotation) 4 of the 11 ways of L3 cache 0 for it alone\n" THREADS },
	{ "a running domain keeps its ways", .cache = "3", .was = "L3:0=4-6", .groups = "=00f domtune-" UUID "=070",
	  .original = "0-10",
	  .want = "cpu.cache = L3:0=4-6 (annotation) 3 of the 11 ways of L3 cache 0 for it alone\n" THREADS },
	{ "no CPUs of its own", .cache = "3", .policy = "shared",
	  .want = "not cpu.cache: it has no CPUs of its own (cpu policy dedicated or isolated): it would take ways of every cache "
		  "that it may come to\n" },
	{ "no class is left", .cache = "3", .bandwidth = "50%", .classes = 3, .groups = "=7ff p0=7ff", .holders = "mb1::",
	  .want = "not cpu.cache: all 3 classes of service of this hardware are taken\nnot memory.bandwidth: all 3 classes of "
		  "service of this hardware are taken\n" },
	{ "its own is there", .cache = "3", .classes = 2, .groups = "=7ff domtune-" UUID "=7ff",
	  .want = "cpu.cache = L3:0=8-10 (annotation) 3 of the 11 ways of L3 cache 0 for it alone\n" THREADS },
	{ "only bandwidth", .cache = "3", .no_l3 = true,
	  .want = "not cpu.cache: the L3 caches of this host cannot be shared out\n" },
	{ "only to be watched", .cache = "3", .no_l3 = true, .no_mb = true, .fail = true,
	  .want = "refused: cpu.cache 3 asked, but resctrl can only watch on this host, not share out\n"
		  "not cpu.cache: resctrl can only watch on this host, not share out\n" },
	{ "not mounted", .cache = "3", .state = RESCTRL_UNMOUNTED,
	  .want = "not cpu.cache: resctrl is not mounted: mount -t resctrl resctrl /sys/fs/resctrl\n" },
	{ "not there", .cache = "3", .absent = true,
	  .want = "not cpu.cache: this host has no resctrl: its CPUs or its kernel lack it\n" },
	{ "not looked at", .cache = "3", .not_looked_at = true, .want = "not cpu.cache: resctrl was not looked at\n" },
	{ "cachetune", .cache = "3", .bandwidth = "50%", .has = DOMAIN_HAS_CACHETUNE,
	  .want = "not cpu.cache: the definition has <cachetune>\nnot memory.bandwidth: the definition has <cachetune>, whose group "
		  "its threads are in\n" },
	{ "memorytune", .cache = "3", .bandwidth = "50%", .has = DOMAIN_HAS_MEMORYTUNE,
	  .want = "not cpu.cache: the definition has <memorytune>, whose group its threads are in\nnot memory.bandwidth: the "
		  "definition has <memorytune>\n" },
};

#define THROTTLED "throttled to about this part of what its cores can transfer"
#define MB_THREADS "memory.bandwidth threads = domtune-" UUID " (annotation) \n"

static const struct ccase bandwidths[] = {
	{ "bandwidth", .bandwidth = "50%", .policy = "none",
	  .want = "memory.bandwidth = MB:0=50;1=50 (annotation) " THROTTLED "\n" MB_THREADS },
	{ "in steps", .bandwidth = "41%",
	  .want = "memory.bandwidth = MB:0=50;1=50 (limit) " THROTTLED "; 41% asked: the hardware has 10% and steps of 10% above "
		  "that\n" MB_THREADS },
	{ "at least", .bandwidth = "1%",
	  .want = "memory.bandwidth = MB:0=10;1=10 (limit) " THROTTLED "; 1% asked: the hardware has 10% and steps of 10% above "
		  "that\n" MB_THREADS },
	{ "all", .bandwidth = "100%", .want = "not memory.bandwidth: 100% is no limit\n" },
	{ "nearly all", .bandwidth = "91%",
	  .want = "not memory.bandwidth: the next step of the hardware is 100%: no limit\n" },
	{ "with ways", .bandwidth = "50%", .cache = "4",
	  .want = "cpu.cache = L3:0=7-10 (annotation) 4 of the 11 ways of L3 cache 0 for it alone\n" THREADS
		  "memory.bandwidth = MB:0=50;1=50 (annotation) " THROTTLED "\n" },
	{ "in units", .bandwidth = "50%", .units = true,
	  .want = "not memory.bandwidth: bandwidth is counted in units here, not in percent (AMD, or the mount option mba_MBps)\n" },
	{ "none", .bandwidth = "50%", .no_mb = true,
	  .want = "not memory.bandwidth: memory bandwidth cannot be limited on this host\n" },
};

TEST(ways_of_caches)
{
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		run_case(&ways[i]);
}

TEST(bandwidth)
{
	for (size_t i = 0; i < ARRAY_SIZE(bandwidths); i++)
		run_case(&bandwidths[i]);
}

/* ---- starts and ends in any order ---- */

static uint64_t state = 88172645463325252u;

static unsigned int random_below(unsigned int n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned int)(state % n);
}

#define GUESTS 6

struct guest {
	char uuid[37];
	uint64_t bits; /* 0: it is off */
};

/* What the default group has, as apply makes it. */
static uint64_t fold_default(const struct guest *guests, uint64_t original)
{
	char lists[GUESTS][256], first[256], *got = NULL;
	const char *values[GUESTS];
	unsigned int n = 0;
	uint64_t bits;

	for (unsigned int i = 0; i < GUESTS; i++)
		if (guests[i].bits)
			values[n++] = resctrl_list(guests[i].bits, lists[i]);
	IS_INT(fold_values(FOLD_RUN, NULL, resctrl_list(original, first), values, n, &got), 0);
	bits = resctrl_bits(got ? got : "");
	free(got);
	return bits;
}

static uint64_t start(const struct guest *guests, unsigned int who, const struct ccase *t, uint64_t original)
{
	struct domain d = {.name = strdup("x"), .vcpus = 1, .vcpus_max = 1, .memory = GIB, .id = -1};
	const struct host_spec spec = {.cores = 8, .l3 = 4};
	struct intent in = {.profile = strdup("p")};
	struct resctrl_facts f;
	struct policy policy;
	struct host h;
	struct ledger l = {0};
	struct plan_inputs inputs;
	struct plan p;
	struct shared *s = ledger_add_shared(&l, "resctrl", RESCTRL_DIR "/schemata L3:0");
	uint64_t bits = 0;
	char list[256];

	(void)shared_set(s, &s->original, resctrl_list(original, list));
	memcpy(d.uuid, guests[who].uuid, sizeof(d.uuid));
	idset_add(&d.vcpus_online, 0);
	policy = all_of_it();
	host_make(&h, &spec);
	make_facts(&f, t);
	f.groups[0].bits[0] = fold_default(guests, original);
	for (unsigned int i = 0; i < GUESTS; i++)
		if (guests[i].bits) {
			struct claim *c = ledger_add(&l, guests[i].uuid, "g");

			IS_INT(claim_add_ways(c, 0, guests[i].bits), 0);
		}
	wish(&in, KNOB_CPU_POLICY, "dedicated");
	wish(&in, KNOB_CPU_CPUS, "1-3");
	wish(&in, KNOB_CPU_CACHE, t->cache);
	inputs = (struct plan_inputs){.domain = &d, .intent = &in, .policy = &policy, .host = &h, .ledger = &l, .resctrl = &f};
	IS_INT(plan_make(&inputs, &p), 0);
	for (size_t i = 0; i < p.n_settings; i++)
		if (streq(p.settings[i].knob, "cpu.cache") && p.settings[i].stage == STAGE_PREPARE)
			bits = resctrl_bits(strchr(p.settings[i].value, '=') + 1);
	plan_fini(&p);
	resctrl_fini(&f);
	ledger_fini(&l);
	host_free(&h);
	for (unsigned int i = 0; i < KNOB_ID_MAX; i++)
		value_fini(&in.v[i]);
	free(in.profile);
	free(d.name);
	return bits;
}

TEST(random_orders)
{
	static const uint64_t shareables[] = {0, 0x600, 0x3};
	struct guest guests[GUESTS] = {{{0}, 0}};
	unsigned int given = 0, refused = 0;

	for (unsigned int i = 0; i < GUESTS; i++)
		(void)snprintf(guests[i].uuid, sizeof(guests[i].uuid), "%08x-2222-4333-8444-555555555555", i);
	for (unsigned int round = 0; round < 3000; round++) {
		unsigned int who = random_below(GUESTS), phase = round / 1000;
		uint64_t original = phase == 2 ? 0x0ff : 0x7ff, others = 0, before;
		char cache[8];
		struct ccase t = {.cache = cache, .shareable = shareables[phase]};

		if (round % 1000 == 0)
			for (unsigned int i = 0; i < GUESTS; i++)
				guests[i].bits = 0;
		if (guests[who].bits) {
			guests[who].bits = 0;
			continue;
		}
		for (unsigned int i = 0; i < GUESTS; i++)
			others |= guests[i].bits;
		before = fold_default(guests, original);
		(void)snprintf(cache, sizeof(cache), "%u", 1 + random_below(6));
		guests[who].bits = start(guests, who, &t, original);
		if (!guests[who].bits) {
			/* No way is free, but for those that the host needs. */
			uint64_t free_ways = 0x7ff & ~others & ~t.shareable;

			refused++;
			OK(free_ways == 0 || (free_ways & ~before) == 0);
			continue;
		}
		given++;
		OK(resctrl_run(guests[who].bits) == guests[who].bits);
		OK((guests[who].bits & (others | t.shareable | ~UINT64_C(0x7ff))) == 0);
		OK(__builtin_popcountll(guests[who].bits) <= atoi(cache));
		OK(__builtin_popcountll(fold_default(guests, original)) >= 2);
		OK((fold_default(guests, original) & (others | guests[who].bits)) == 0);
		if (!tap_failed)
			continue;
		TAP_FAIL("round %u: %s asked, %llx given, %llx others", round, cache,
			 (unsigned long long)guests[who].bits, (unsigned long long)others);
		break;
	}
	OK(given > 800 && refused > 50);
}

TAP_MAIN

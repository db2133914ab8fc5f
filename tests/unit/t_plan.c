/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plans: intent, definition, policy and host in, the plan as text out; and its way through records and claims. */
#include "tap.h"

#include "common/plan.h"

#include "placehost.h"

#define UUID "11111111-2222-4333-8444-555555555555"
#define SMT2 { .nodes = 2, .cores = 4, .threads = 2 }
#define SMT2_2M { .nodes = 2, .cores = 4, .threads = 2, .pages_2m = { 600, 600 } }

struct pcase {
	const char *name;
	struct host_spec host;
	const char *intent;    /* "cpu.policy=dedicated disk[vda].weight=5", all from profile p */
	const char *cpus_held; /* by db1 */
	unsigned int has;      /* of the definition */
	unsigned int vcpus;    /* 0: 2 */
	const char *pin0, *iothreadpin, *vcpu_cpuset, *numatune;
	unsigned int n_iothreads, n_cells;
	uint64_t memory;       /* 0: 1 GiB */
	struct domain_hugepage hugepages[2];
	bool wrapper, running, fail, observe;
	const char *domain;    /* NULL: web1 */
	const char *sysctl;    /* at least 5 */
	const char *host_gap;
	const char *want;
};

static void add_value(struct value *v, enum knob_id id, const char *text)
{
	struct err e = ERR_INIT;

	if (v->text)
		return; /* what comes first has been written nearer */
	if (knob_parse_value(id, text, v, &e)) {
		fprintf(stderr, "%s\n", e.text);
		exit(2);
	}
	v->source = strdup("profile p");
}

static void make_intent(struct intent *in, const char *text)
{
	char *copy = strdup(text ? text : ""), *save = NULL;

	memset(in, 0, sizeof(*in));
	in->profile = strdup("p");
	in->source = PROFILE_ANNOTATION;
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		char *equals = strchr(w, '='), *bracket = strchr(w, '['), *end = strchr(w, ']');
		enum knob_id id;

		*equals = '\0';
		if (bracket) {
			struct tune_target *t;

			in->targets = reallocarray(in->targets, in->n_targets + 1, sizeof(*in->targets));
			t = &in->targets[in->n_targets++];
			memset(t, 0, sizeof(*t));
			*bracket = *end = '\0';
			t->element = knob_find_element(w);
			t->target = strdup(bracket + 1);
			id = knob_find(w, end + 2);
			add_value(&t->v[id], id, equals + 1);
		} else {
			id = knob_find_dotted(w);
			add_value(&in->v[id], id, equals + 1);
		}
	}
	free(copy);
}

static void free_intent(struct intent *in)
{
	for (unsigned int i = 0; i < KNOB_ID_MAX; i++)
		value_fini(&in->v[i]);
	for (size_t t = 0; t < in->n_targets; t++) {
		for (unsigned int i = 0; i < KNOB_ID_MAX; i++)
			value_fini(&in->targets[t].v[i]);
		free(in->targets[t].target);
	}
	free(in->targets);
	free(in->profile);
	msgs_fini(&in->msgs);
}

static char *plan_text(const struct plan *p, bool whys)
{
	struct sbuf b = { 0 };

	for (size_t i = 0; i < p->n_settings; i++) {
		const struct setting *s = &p->settings[i];

		sbuf_addf(&b, "%s[%s] %s %s", s->knob, s->target, stage_name(s->stage), s->value);
		if (whys)
			sbuf_addf(&b, " %s %s: %s", s->current, s->source, s->why);
		sbuf_add(&b, "\n");
	}
	for (size_t i = 0; i < p->n_skipped; i++)
		sbuf_addf(&b, "skip %s[%s]: %s\n", p->skipped[i].knob, p->skipped[i].target, p->skipped[i].why);
	for (size_t i = 0; i < p->warnings.n; i++)
		sbuf_addf(&b, "warn %s\n", p->warnings.m[i].text);
	if (p->refused)
		sbuf_addf(&b, "refused %s\n", p->refused);
	return sbuf_steal(&b);
}

struct world {
	struct domain domain;
	struct intent intent;
	struct policy policy;
	struct policy_sysctl sysctl;
	struct host host;
	struct ledger ledger;
	struct domain_pin pin, iothreadpin;
	struct domain_cell cell;
	char name[64], empty[1], sysctl_name[64];
};

static struct plan_inputs make_world(struct world *w, const struct pcase *t)
{
	static unsigned int iothreads[] = { 1, 2 };
	struct domain *d = &w->domain;

	memset(w, 0, sizeof(*w));
	host_make(&w->host, &t->host);
	if (t->host_gap)
		msgs_warn(&w->host.warnings, "%s", t->host_gap);
	make_intent(&w->intent, t->intent);
	w->intent.fail = t->fail;
	if (t->cpus_held)
		claim_make(&w->ledger, "db1", t->cpus_held);
	w->policy.mode = t->observe ? POLICY_OBSERVE : POLICY_ENFORCE;
	w->policy.max_dedicated = w->policy.max_hugepages = w->policy.max_memory =
		(struct policy_limit){ .num = 100, .is_percent = true };
	if (t->sysctl) {
		(void)snprintf(w->sysctl_name, sizeof(w->sysctl_name), "%s", t->sysctl);
		w->sysctl = (struct policy_sysctl){ .name = w->sysctl_name, .at_least = 5 };
		w->policy.sysctls = &w->sysctl;
		w->policy.n_sysctls = 1;
	}
	(void)snprintf(w->name, sizeof(w->name), "%s", t->domain ? t->domain : "web1");
	(void)snprintf(d->uuid, sizeof(d->uuid), "%s", UUID);
	d->name = w->name;
	d->id = 3;
	d->vcpus = d->vcpus_max = t->vcpus ? t->vcpus : 2;
	for (unsigned int i = 0; i < d->vcpus; i++)
		idset_add(&d->vcpus_online, i);
	d->memory = t->memory ? t->memory : GIB;
	d->has = t->has;
	d->vcpu_cpuset = set_of(t->vcpu_cpuset);
	d->numatune_nodes = set_of(t->numatune);
	w->pin = (struct domain_pin){ .id = 0, .cpus = set_of(t->pin0) };
	d->vcpupin = &w->pin;
	d->n_vcpupin = t->pin0 ? 1 : 0;
	w->iothreadpin = (struct domain_pin){ .id = 1, .cpus = set_of(t->iothreadpin) };
	d->iothreadpin = &w->iothreadpin;
	d->n_iothreadpin = t->iothreadpin ? 1 : 0;
	if (t->has & DOMAIN_HAS_EMULATORPIN)
		d->emulatorpin = set_of("7");
	d->iothreads = iothreads;
	d->n_iothreads = t->n_iothreads;
	w->cell = (struct domain_cell){ .id = 0, .memory = d->memory };
	d->cells = &w->cell;
	d->n_cells = t->n_cells;
	d->hugepages = (struct domain_hugepage *)(uintptr_t)t->hugepages;
	while (d->n_hugepages < 2 && t->hugepages[d->n_hugepages].size)
		d->n_hugepages++;
	return (struct plan_inputs){
		.domain = d, .intent = &w->intent, .policy = &w->policy, .host = &w->host, .ledger = &w->ledger,
		.wrapper = { .present = t->wrapper, .emulator = w->empty, .qemu = 7002022 }, .running = t->running,
	};
}

static void free_world(struct world *w)
{
	free_intent(&w->intent);
	ledger_fini(&w->ledger);
	host_free(&w->host);
}

/* clang-format off */
static const struct pcase cases[] = {
	{ .name = "nothing", .host = SMT2,
	  .want = "" },
	{ .name = "balanced, no wrapper", .host = SMT2, .intent = "cpu.policy=shared memory.placement=preferred",
	  .want = "cpu.policy[] started 1-3,9-11\n"
		  "skip memory.placement[]: the emulator is not the wrapper: domtune wrap web1\n" },
	{ .name = "balanced, one node", .host = { .cores = 4 },
	  .intent = "cpu.policy=shared memory.placement=preferred",
	  .wrapper = true,
	  .want = "cpu.policy[] started 1-3\n"
		  "cpu.emulator[] exec 1-3\n"
		  "skip memory.placement[]: the host has one node\n" },
	{ .name = "balanced", .host = SMT2, .intent = "cpu.policy=shared memory.placement=preferred", .wrapper = true,
	  .n_iothreads = 2,
	  .want = "cpu.policy[] started 1-3,9-11\n"
		  "cpu.emulator[] exec 1-3,9-11\n"
		  "memory.placement[] exec preferred:0\n" },
	{ .name = "dedicated", .host = SMT2_2M,
	  .intent = "cpu.policy=dedicated memory.pages=2M memory.placement=strict memory.prealloc=yes", .wrapper = true,
	  .n_iothreads = 1,
	  .want = "cpu.policy[vcpu0] started 1\n"
		  "cpu.policy[vcpu1] started 9\n"
		  "cpu.emulator[] exec 2-3,10-11\n"
		  "cpu.emulator[] started 2-3,10-11\n"
		  "cpu.iothreads[iothread1] started 2-3,10-11\n"
		  "memory.placement[] exec strict:0\n"
		  "memory.pages[] exec 2M\n"
		  "memory.prealloc[] exec yes\n" },
	{ .name = "dedicated, no wrapper", .host = SMT2_2M,
	  .intent = "cpu.policy=dedicated memory.pages=2M memory.placement=strict memory.prealloc=yes",
	  .want = "cpu.policy[vcpu0] started 1\n"
		  "cpu.policy[vcpu1] started 9\n"
		  "cpu.emulator[] started 2-3,10-11\n"
		  "skip memory.pages[]: the emulator is not the wrapper: domtune wrap web1\n"
		  "skip memory.placement[]: the emulator is not the wrapper: domtune wrap web1\n"
		  "skip memory.prealloc[]: the emulator is not the wrapper: domtune wrap web1\n" },
	{ .name = "a name of many kinds of bytes", .host = SMT2, .intent = "memory.placement=preferred",
	  .domain = "a b\n/../\033",
	  .want = "skip memory.placement[]: the emulator is not the wrapper: domtune wrap a b?/../?\n" },
	{ .name = "dedicated, no wrapper, fail", .host = SMT2_2M, .fail = true,
	  .intent = "cpu.policy=dedicated memory.pages=2M memory.placement=strict",
	  .want = "cpu.policy[vcpu0] started 1\n"
		  "cpu.policy[vcpu1] started 9\n"
		  "cpu.emulator[] started 2-3,10-11\n"
		  "skip memory.pages[]: the emulator is not the wrapper: domtune wrap web1\n"
		  "skip memory.placement[]: the emulator is not the wrapper: domtune wrap web1\n"
		  "refused memory.pages 2M asked, but the emulator is not the wrapper: domtune "
		  "wrap web1\n" },
	{ .name = "auto without wrapper is no refusal", .host = SMT2_2M, .fail = true,
	  .intent = "memory.pages=auto memory.placement=preferred",
	  .want = "skip memory.pages[]: the emulator is not the wrapper: domtune wrap web1\n"
		  "skip memory.placement[]: the emulator is not the wrapper: domtune wrap web1\n" },
	{ .name = "strict on one node is met", .host = { .cores = 4 }, .fail = true,
	  .intent = "memory.placement=strict",
	  .want = "skip memory.placement[]: the host has one node\n" },
	{ .name = "running", .host = SMT2_2M, .intent = "cpu.policy=dedicated memory.pages=2M memory.placement=strict",
	  .wrapper = true, .running = true, .fail = true,
	  .want = "cpu.policy[vcpu0] started 1\n"
		  "cpu.policy[vcpu1] started 9\n"
		  "cpu.emulator[] started 2-3,10-11\n"
		  "skip memory.pages[]: the guest runs already: at its next start\n"
		  "skip memory.placement[]: the guest runs already: at its next start\n" },
	{ .name = "isolated", .host = SMT2, .intent = "cpu.policy=isolated cpu.threads=isolate",
	  .want = "cpu.policy[vcpu0] started 1\n"
		  "cpu.policy[vcpu1] started 2\n"
		  "cpu.emulator[] started 3,11\n"
		  "skip cpu.policy[]: isolated is dedicated in this version: host tasks may still run on its "
		  "CPUs\n"
		  "skip irq.policy[]: avoid, which isolated implies: not in this version\n" },
	{ .name = "isolated, irq written", .host = SMT2, .intent = "cpu.policy=isolated irq.policy=local",
	  .want = "cpu.policy[vcpu0] started 1\n"
		  "cpu.policy[vcpu1] started 9\n"
		  "cpu.emulator[] started 2-3,10-11\n"
		  "skip irq.policy[]: not in this version\n"
		  "skip cpu.policy[]: isolated is dedicated in this version: host tasks may still run on its "
		  "CPUs\n" },
	{ .name = "weight and quota", .host = SMT2, .intent = "cpu.weight=150 cpu.quota=200%",
	  .want = "cpu.weight[] started 150\n"
		  "cpu.quota[] started 200%\n" },
	{ .name = "sysctl", .host = SMT2, .intent = "cpu.weight=150", .sysctl = "net.core.rmem_max",
	  .want = "cpu.weight[] started 150\n"
		  "sysctl[net.core.rmem_max] prepare 5\n" },
	{ .name = "sysctl, untouched domain", .host = SMT2, .sysctl = "net.core.rmem_max",
	  .want = "" },
	{ .name = "shares and quota in the definition", .host = SMT2, .has = DOMAIN_HAS_SHARES | DOMAIN_HAS_QUOTA,
	  .intent = "cpu.weight=150 cpu.quota=200% cpu.burst=5",
	  .want = "skip cpu.weight[]: the definition has <shares>\n"
		  "skip cpu.quota[]: the definition has a quota\n"
		  "skip cpu.burst[]: the definition has a quota\n" },
	{ .name = "later", .host = SMT2,
	  .intent = "cpu.governor=performance memory.lock=yes io.priority=be:3 guest.cells=yes disk[vda].weight=5 "
		    "disk[*].weight=7 disk[vda].weight=9 interface[52:54:00:00:00:01].queues=4",
	  .want = "skip cpu.governor[]: not in this version\n"
		  "skip memory.lock[]: not in this version\n"
		  "skip io.priority[]: not in this version\n"
		  "skip guest.cells[]: not in this version, and later by `rewrite` and `apply` only\n"
		  "skip disk.weight[vda]: not in this version\n"
		  "skip disk.weight[*]: not in this version\n"
		  "skip interface.queues[52:54:00:00:00:01]: not in this version, and later by `rewrite` and "
		  "`apply` only\n" },
	{ .name = "a pin, dedicated", .host = SMT2, .intent = "cpu.policy=dedicated", .pin0 = "4",
	  .want = "cpu.policy[vcpu1] started 12\n"
		  "cpu.emulator[] started 5-7,13-15\n"
		  "skip cpu.policy[vcpu0]: the definition has <vcpupin>\n" },
	{ .name = "a pin, shared", .host = SMT2, .intent = "cpu.policy=shared", .pin0 = "4",
	  .want = "cpu.policy[vcpu1] started 5-7,12-15\n"
		  "cpu.emulator[] started 5-7,12-15\n"
		  "skip cpu.policy[vcpu0]: the definition has <vcpupin>\n" },
	{ .name = "a pin only", .host = SMT2, .pin0 = "4",
	  .want = "" },
	{ .name = "pins of others", .host = SMT2,
	  .intent = "cpu.policy=dedicated cpu.emulator=isolate cpu.iothreads=isolate",
	  .has = DOMAIN_HAS_EMULATORPIN | DOMAIN_HAS_IOTHREADPIN, .iothreadpin = "5", .n_iothreads = 2, .wrapper = true,
	  .want = "cpu.policy[vcpu0] started 1\n"
		  "cpu.policy[vcpu1] started 9\n"
		  "cpu.iothreads[iothread2] started 2\n"
		  "skip cpu.emulator[]: the definition has <emulatorpin>\n"
		  "skip cpu.iothreads[iothread1]: the definition has <iothreadpin>\n" },
	{ .name = "vcpu cpuset", .host = SMT2, .intent = "cpu.policy=dedicated cpu.cpus=1-3", .vcpu_cpuset = "6-7",
	  .has = DOMAIN_HAS_VCPU_CPUSET,
	  .want = "cpu.policy[vcpu0] started 6\n"
		  "cpu.policy[vcpu1] started 7\n"
		  "cpu.emulator[] started 4-5,12-15\n"
		  "skip cpu.cpus[]: the definition has <vcpu cpuset>\n" },
	{ .name = "numatune", .host = SMT2, .intent = "cpu.policy=dedicated memory.placement=strict memory.nodes=0",
	  .numatune = "1", .has = DOMAIN_HAS_NUMATUNE, .wrapper = true,
	  .want = "cpu.policy[vcpu0] started 4\n"
		  "cpu.policy[vcpu1] started 12\n"
		  "cpu.emulator[] exec 5-7,13-15\n"
		  "cpu.emulator[] started 5-7,13-15\n"
		  "skip memory.placement[]: the definition has <numatune>\n"
		  "skip memory.nodes[]: the definition has <numatune>\n" },
	{ .name = "placement auto", .host = SMT2, .intent = "memory.placement=strict memory.nodes=1 cpu.policy=shared",
	  .has = DOMAIN_HAS_PLACEMENT_AUTO, .wrapper = true,
	  .want = "cpu.policy[] started 1-3,9-11\n"
		  "cpu.emulator[] exec 1-3,9-11\n"
		  "memory.placement[] exec strict:0\n"
		  "skip memory.nodes[]: the definition has placement='auto'\n" },
	{ .name = "hugepages in the definition", .host = SMT2_2M,
	  .intent = "cpu.policy=dedicated memory.pages=1G memory.placement=strict memory.prealloc=yes", .wrapper = true,
	  .has = DOMAIN_HAS_HUGEPAGES, .hugepages = { { .size = PAGE_2M } },
	  .want = "cpu.policy[vcpu0] started 1\n"
		  "cpu.policy[vcpu1] started 9\n"
		  "cpu.emulator[] exec 2-3,10-11\n"
		  "cpu.emulator[] started 2-3,10-11\n"
		  "memory.placement[] exec preferred:0\n"
		  "skip memory.pages[]: the definition has <hugepages>\n"
		  "skip memory.prealloc[]: the definition has <hugepages>\n" },
	{ .name = "memory source", .host = SMT2_2M,
	  .intent = "memory.pages=2M memory.placement=strict memory.prealloc=yes",
	  .wrapper = true, .has = DOMAIN_HAS_MEMSOURCE,
	  .want = "skip memory.pages[]: the definition has a memory <source> or <access>\n"
		  "skip memory.prealloc[]: the definition has a memory <source> or <access>\n"
		  "skip memory.placement[]: its vCPUs are not placed\n" },
	{ .name = "memory source, strict, fail", .host = SMT2, .intent = "cpu.policy=shared memory.placement=strict",
	  .wrapper = true, .has = DOMAIN_HAS_MEMSOURCE, .fail = true,
	  .want = "cpu.policy[] started 1-3,9-11\n"
		  "cpu.emulator[] exec 1-3,9-11\n"
		  "memory.placement[] exec preferred:0\n"
		  "refused memory.placement strict asked, but the definition has a memory <source> or "
		  "<access>, which is not bound: <numatune>, or memory.placement preferred\n" },
	{ .name = "hugepages, interleave", .host = SMT2_2M, .intent = "cpu.policy=shared memory.placement=interleave "
								      "memory.nodes=0-1",
	  .wrapper = true, .has = DOMAIN_HAS_HUGEPAGES, .fail = true,
	  .want = "cpu.policy[] started 1-3,9-11\n"
		  "cpu.emulator[] exec 1-3,9-11\n"
		  "memory.placement[] exec interleave:0-1\n" },
	{ .name = "strict for vCPUs that are not placed, fail", .host = SMT2, .intent = "memory.placement=strict",
	  .wrapper = true, .fail = true,
	  .want = "skip memory.placement[]: its vCPUs are not placed\n"
		  "refused memory.placement strict asked, but its vCPUs are not placed: memory.nodes, or a "
		  "cpu policy\n" },
	{ .name = "cells", .host = SMT2_2M, .intent = "cpu.policy=shared memory.pages=thp memory.placement=preferred",
	  .wrapper = true, .n_cells = 1,
	  .want = "cpu.policy[] started 1-3,9-11\n"
		  "cpu.emulator[] exec 1-3,9-11\n"
		  "memory.pages[] exec thp\n"
		  "skip memory.placement[]: guest cells: not in this version\n" },
	{ .name = "cells, 2M", .host = SMT2_2M, .intent = "memory.pages=2M", .wrapper = true, .n_cells = 1,
	  .want = "skip memory.pages[]: guest cells: not in this version\n" },
	{ .name = "confidential", .host = SMT2_2M, .intent = "memory.pages=thp memory.prealloc=yes", .wrapper = true,
	  .has = DOMAIN_HAS_LAUNCH_SECURITY,
	  .want = "skip memory.pages[]: confidential guest\n"
		  "skip memory.prealloc[]: confidential guest\n" },
	{ .name = "allocation, locked", .host = SMT2, .intent = "memory.prealloc=yes memory.lock=yes", .wrapper = true,
	  .has = DOMAIN_HAS_ALLOCATION | DOMAIN_HAS_LOCKED,
	  .want = "skip memory.prealloc[]: the definition has <allocation>\n"
		  "skip memory.lock[]: the definition has <locked>\n" },
	{ .name = "prealloc no", .host = SMT2_2M, .intent = "memory.prealloc=no memory.pages=2M", .wrapper = true,
	  .want = "memory.pages[] exec 2M\n"
		  "skip memory.prealloc[]: huge pages are populated at start: one that is missing later ends "
		  "the guest\n" },
	{ .name = "prealloc alone", .host = SMT2, .intent = "memory.prealloc=yes", .wrapper = true,
	  .want = "memory.prealloc[] exec yes\n" },
	{ .name = "auto: THP", .host = SMT2, .intent = "memory.pages=auto", .wrapper = true,
	  .want = "memory.pages[] exec thp\n" },
	{ .name = "thp without wrapper", .host = SMT2, .intent = "memory.pages=thp",
	  .want = "memory.pages[] exec thp\n" },
	{ .name = "impossible", .host = SMT2, .intent = "cpu.policy=dedicated", .vcpus = 15, .cpus_held = "3",
	  .want = "cpu.policy[] started 1-2,4-7,9-15\n"
		  "warn 15 dedicated CPUs asked, 5 free on node 0, 8 on node 1 (1 held by db1, 2 reserved): "
		  "fewer vCPUs, cpu policy shared, or stop db1\n" },
	{ .name = "impossible, fail", .host = SMT2, .intent = "cpu.policy=dedicated", .vcpus = 15, .cpus_held = "3",
	  .fail = true,
	  .want = "cpu.policy[] started 1-2,4-7,9-15\n"
		  "refused 15 dedicated CPUs asked, 5 free on node 0, 8 on node 1 (1 held "
		  "by db1, 2 reserved): fewer vCPUs, cpu policy shared, or stop db1\n" },
	{ .name = "impossible, fail, observe", .host = SMT2, .intent = "cpu.policy=dedicated", .vcpus = 15,
	  .fail = true,
	  .observe = true,
	  .want = "cpu.policy[] started 1-7,9-15\n"
		  "warn 15 dedicated CPUs asked, 6 free on node 0, 8 on node 1 (2 reserved): "
		  "fewer vCPUs or cpu policy shared\n" },
	{ .name = "policy none with emulator", .host = SMT2, .intent = "cpu.policy=none cpu.emulator=isolate",
	  .want = "skip cpu.emulator[]: nothing is placed with cpu policy none\n" },
	{ .name = "gaps", .host = { .cores = 2 }, .intent = "cpu.policy=shared", .host_gap = "no cache is known",
	  .want = "cpu.policy[] started 1\n"
		  "warn the host model has gaps: no cache is known\n" },
};
/* clang-format on */

TEST(plans)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct plan p, again;
		struct world w;
		struct plan_inputs in = make_world(&w, &cases[i]);
		char *text, *full, *full2;

		IS_INT(plan_make(&in, &p), 0);
		IS_INT(plan_make(&in, &again), 0);
		text = plan_text(&p, false);
		full = plan_text(&p, true);
		full2 = plan_text(&again, true);
		if (!text || strcmp(text, cases[i].want) != 0)
			TAP_FAIL("%s:\n--- got\n%s--- want\n%s", cases[i].name, text, cases[i].want);
		IS_STR(full2, full);
		IS_INT(p.observe, cases[i].observe);
		IS_INT(p.id, 3);
		for (size_t j = 0; j < p.n_settings; j++)
			OK(*p.settings[j].why && *p.settings[j].source && !strchr(p.settings[j].why, '\n'));
		free(text);
		free(full);
		free(full2);
		plan_fini(&p);
		plan_fini(&again);
		free_world(&w);
	}
}

/* Records and back: the same plan, whatever is in its texts. */
TEST(records)
{
	const struct pcase t = {
		.host = SMT2_2M, .wrapper = true, .n_iothreads = 2, .vcpus = 4, .pin0 = "4",
		.sysctl = "net.core.rmem_max",
		.intent = "cpu.policy=dedicated memory.pages=2M memory.placement=strict cpu.emulator=isolate "
			  "disk[va\tb\nc\\].weight=3 cpu.governor=x",
		.domain = "a b\n\t\\x/..", .host_gap = "tab\there",
	};
	struct plan p, q = { 0 };
	struct world w;
	struct plan_inputs in = make_world(&w, &t);
	_cleanup_sbuf_ struct sbuf b = { 0 };
	char *text, *text2, *pos;
	struct record r;
	unsigned int bad = 0;

	IS_INT(plan_make(&in, &p), 0);
	p.refused = strdup("no\nroom");
	plan_put_records(&p, &b);
	OK(!b.failed);
	pos = b.s;
	while (record_next(&pos, &r, &bad))
		IS_INT(plan_take_record(&q, &r), 1);
	IS_INT(bad, 0);
	text = plan_text(&p, true);
	text2 = plan_text(&q, true);
	IS_STR(text2, text);
	free(text);
	free(text2);
	text = placement_text(&p.placement);
	msgs_fini(&p.placement.unmet); /* they are in the warnings */
	msgs_fini(&p.placement.notes);
	free(text);
	text = placement_text(&p.placement);
	text2 = placement_text(&q.placement);
	IS_STR(text2, text);
	IS_STR(q.placement.why_cpus, p.placement.why_cpus);
	IS_STR(q.placement.why_pages, p.placement.why_pages);
	IS_STR(q.uuid, p.uuid);
	IS_STR(q.name, p.name);
	IS_STR(q.profile, p.profile);
	IS_STR(q.refused, p.refused);
	IS_INT(q.id, p.id);
	IS_INT(q.profile_source, p.profile_source);
	IS_INT(q.wrapper.present, true);
	IS_INT(q.wrapper.qemu, p.wrapper.qemu);
	IS_INT(q.memory, p.memory);
	free(text);
	free(text2);
	plan_fini(&p);
	plan_fini(&q);
	free_world(&w);
}

/* Records that nobody of ours wrote: ignored or cut, never a crash. */
TEST(bad_records)
{
	static const char *const lines[][8] = {
		{ "place", "shared", "strict", "x", "y", "99999999999", NULL },
		{ "place", "what", "ever", "1", "1", "2", NULL },
		{ "place", "dedicated", "none", "0", "0", "4000", NULL }, /* a second one: the vCPUs stay */
		{ "vcpu", "0", "18446744073709551615", "0-3", NULL },
		{ "vcpu", "7", "3", "0-3", NULL },
		{ "vcpu", "0", NULL },
		{ "vcpu", "1", "1", "a-b", NULL },
		{ "iothread", "99999999999", "1", NULL },
		{ "iothread", "3", "", NULL },
		{ "pages", "-1", "0", "5", NULL },
		{ "pages", "1", "0", "5", NULL },
		{ "cpus", "claimed", "9999999", NULL },
		{ "cpus", "nobody", "1", NULL },
		{ "why", "nothing", "x", NULL },
		{ "set", "k", NULL },
		{ "skip", NULL },
		{ "plan", "too-long-to-be-a-uuid-of-ours-as-it-goes-on", "n", "99999999999", "p", "77", "1", NULL },
		{ "warn", NULL },
	};
	struct plan p = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct record r = { 0 };

		for (; lines[i][r.n]; r.n++)
			r.f[r.n] = (char *)(uintptr_t)lines[i][r.n];
		IS_INT(plan_take_record(&p, &r), 1);
	}
	IS_INT(p.placement.n_vcpus, 2);
	IS_INT(idset_count(&p.placement.vcpus[1].cpus), 4);
	IS_INT(p.placement.n_iothreads, 1);
	IS_INT(p.placement.n_pages, 1);
	IS_INT(p.id, -1);
	IS_INT(p.profile_source, PROFILE_NONE);
	IS_INT(strlen(p.uuid), 36);
	IS_INT(p.settings[0].stage, STAGE_DEFINITION);
	plan_fini(&p);
	{
		struct record r = { .n = 1, .f = { (char *)(uintptr_t)"intent" } };

		IS_INT(plan_take_record(&p, &r), 0);
	}
}

/* What the ledger gets to know. */
TEST(claims)
{
	static const struct {
		struct pcase plan;
		const char *cpus, *floating;
		unsigned int vcpus, n_pages;
		bool empty;
	} claims[] = {
		{ { .host = SMT2 }, "", "", 0, 0, true },
		{ { .host = SMT2, .pin0 = "4" }, "4", "", 0, 1, false },
		{ { .host = SMT2, .intent = "cpu.weight=3" }, "", "", 0, 0, false },
		{ { .host = SMT2, .intent = "cpu.policy=shared" }, "", "1-3,9-11", 2, 1, false },
		{ { .host = SMT2, .intent = "cpu.policy=shared", .pin0 = "4", .vcpus = 3 },
		  "4", "5-7,12-15", 2, 1, false },
		{ { .host = SMT2, .intent = "cpu.policy=dedicated" }, "1,9", "", 0, 1, false },
		{ { .host = SMT2, .intent = "cpu.policy=dedicated cpu.threads=isolate" }, "1-2,9-10", "", 0, 1, false },
		{ { .host = SMT2_2M, .intent = "memory.pages=2M", .wrapper = true }, "", "", 0, 1, false },
		{ { .host = SMT2_2M, .has = DOMAIN_HAS_HUGEPAGES }, "", "", 0, 1, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(claims); i++) {
		struct ledger l = { 0 };
		struct claim *c = ledger_add(&l, "", "");
		struct plan p;
		struct world w;
		struct plan_inputs in = make_world(&w, &claims[i].plan);
		struct idset cpus = set_of(claims[i].cpus), floating = set_of(claims[i].floating), floats = IDSET_EMPTY;
		unsigned int vcpus = 0;

		IS_INT(plan_make(&in, &p), 0);
		IS_INT(plan_is_empty(&p), claims[i].empty);
		IS_INT(c && plan_fill_claim(&p, &l, c), 0);
		for (unsigned int j = 0; c && j < c->n_floats; j++) {
			vcpus += c->floats[j].vcpus;
			if (c->floats[j].vcpus)
				idset_or(&floats, c->floats[j].now);
		}
		if (!c || !idset_equal(c->cpus, &cpus) || !idset_equal(&floats, &floating) ||
		    vcpus != claims[i].vcpus || c->n_pages != claims[i].n_pages)
			TAP_FAIL("claim %zu: %u vCPUs float, %u pages", i, vcpus, c ? c->n_pages : 0);
		ledger_fini(&l);
		plan_fini(&p);
		free_world(&w);
	}
}

/* <hugepages> with cells: each cell's size; what no <page> names takes the one that names none. */
TEST(hugepages_of_cells)
{
	struct domain_cell cells[3] = { { .id = 0, .memory = GIB }, { .id = 1, .memory = GIB },
					{ .id = 2, .memory = 2 * GIB } };
	struct domain_hugepage pages[2] = { { .size = PAGE_1G, .cells = set_of("2") }, { .size = PAGE_2M } };
	const struct pcase t = { .host = { .pages_2m = { 2000 }, .pages_1g = { 9 } }, .has = DOMAIN_HAS_HUGEPAGES,
				 .memory = 4 * GIB };
	struct plan p;
	struct world w;
	struct plan_inputs in = make_world(&w, &t);
	char *text;

	w.domain.cells = cells;
	w.domain.n_cells = 3;
	w.domain.hugepages = pages;
	w.domain.n_hugepages = 2;
	IS_INT(plan_make(&in, &p), 0);
	text = placement_text(&p.placement);
	IS_STR(text, "none 1024x2M@0 2x1024M@0");
	free(text);
	plan_fini(&p);
	free_world(&w);
}

TAP_MAIN

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plans: intent, definition, policy and host in, the plan as text out; and its way through records and claims. */
#include "common/irq_facts.h"
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
	unsigned int threads;  /* that the guest sees per core; 0: 2 */
	uint64_t protected;    /* memory.min of db1, in bytes */
	int device_node;       /* + 1: of the guest's device */
	bool wrapper, running, fail, observe, ksm_off;
	const char *domain;    /* NULL: web1 */
	const struct irq_facts *irqs;
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
	struct domain_cell cells[2];
	struct place_device device;
	char name[64], empty[1], sysctl_name[64];
};

/* db1's protection: the same bytes as min and as low, in two slices, and once more its own, which does not count. */
static void protect(struct ledger *l, uint64_t bytes)
{
	static const char *const objects[][2] = {
		{ "memory.min", "machine.slice/MemoryMin" },
		{ "memory.min", "machine-gold.slice/MemoryMin" },
		{ "memory.low", "machine.slice/MemoryLow" },
		{ "sysctl", "proc/sys/net/core/rmem_max" },
	};
	static const char *const uuids[] = { "00000000-0000-4000-8000-000000000001", UUID };
	char wanted[24];

	(void)snprintf(wanted, sizeof(wanted), "%" PRIu64, bytes);
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		struct shared *s = ledger_add_shared(l, "unit", objects[i][1]);

		if (!s || shared_set(s, &s->knob, objects[i][0]))
			exit(2);
		for (size_t k = 0; k < ARRAY_SIZE(uuids); k++)
			if (shared_set_claim(s, uuids[k], wanted))
				exit(2);
	}
}

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
	w->host.ksm_off = t->ksm_off;
	if (t->cpus_held)
		claim_make(&w->ledger, "db1", t->cpus_held);
	if (t->protected)
		protect(&w->ledger, t->protected);
	w->policy.mode = t->observe ? POLICY_OBSERVE : POLICY_ENFORCE;
	w->policy.max_dedicated = w->policy.max_hugepages = w->policy.max_memory =
		(struct policy_limit){ .num = 100, .is_percent = true };
	w->policy.max_protection = (struct policy_limit){ .num = 50, .is_percent = true };
	if (t->sysctl) {
		(void)snprintf(w->sysctl_name, sizeof(w->sysctl_name), "%s", t->sysctl);
		w->sysctl = (struct policy_sysctl){ .name = w->sysctl_name, .at_least = 5 };
		w->policy.sysctls = &w->sysctl;
		w->policy.n_sysctls = 1;
	}
	w->device = (struct place_device){ .name = "eth0", .node = t->device_node - 1 };
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
	for (unsigned int i = 0; i < t->n_cells; i++) {
		w->cells[i] = (struct domain_cell){ .id = i, .memory = d->memory / t->n_cells };
		for (unsigned int v = 0; v < d->vcpus; v++)
			if (v * t->n_cells / d->vcpus == i)
				idset_add(&w->cells[i].vcpus, v);
	}
	d->cells = w->cells;
	d->n_cells = t->n_cells;
	d->threads = t->threads ? t->threads : 2;
	d->hugepages = (struct domain_hugepage *)(uintptr_t)t->hugepages;
	while (d->n_hugepages < 2 && t->hugepages[d->n_hugepages].size)
		d->n_hugepages++;
	return (struct plan_inputs){
		.domain = d, .intent = &w->intent, .policy = &w->policy, .host = &w->host, .ledger = &w->ledger,
		.wrapper = { .present = t->wrapper, .emulator = w->empty, .qemu = 7002022 }, .running = t->running,
		.devices = &w->device, .n_devices = t->device_node ? 1 : 0, .irqs = t->irqs,
	};
}

static const struct irq_facts irq_facts = {
	.n_all = 40, .n = 2,
	.d = { { .name = "eth0", .use = IRQ_USE_UPLINK, .n = 3, .node = 0 },
	       { .name = "0000:81:00.0", .use = IRQ_USE_PASSED, .node = 1 } },
};
#define IRQS &irq_facts

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
	  .want = "cpu.policy[] started 4-7,12-15\n"
		  "skip memory.placement[]: the emulator is not the wrapper: domtune wrap web1\n" },
	{ .name = "balanced, one node", .host = { .cores = 4 },
	  .intent = "cpu.policy=shared memory.placement=preferred",
	  .wrapper = true,
	  .want = "cpu.policy[] started 1-3\n"
		  "cpu.emulator[] exec 1-3\n"
		  "skip memory.placement[]: the host has one node\n" },
	{ .name = "balanced", .host = SMT2, .intent = "cpu.policy=shared memory.placement=preferred", .wrapper = true,
	  .n_iothreads = 2,
	  .want = "cpu.policy[] started 4-7,12-15\n"
		  "cpu.emulator[] exec 4-7,12-15\n"
		  "memory.placement[] exec preferred:1\n" },
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
		  "skip memory.placement[]: the emulator is not the wrapper: domtune wrap web1, or, "
		  "while it runs, domtune retune: it moves up to 1024 MiB, 2048 pages at a time, for "
		  "at most 30 s a call\n"
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
		  "skip memory.placement[]: the emulator is not the wrapper: domtune wrap web1, or, "
		  "while it runs, domtune retune: it moves up to 1024 MiB, 2048 pages at a time, for "
		  "at most 30 s a call\n"
		  "refused memory.pages 2M asked, but the emulator is not the wrapper: domtune wrap "
		  "web1\n" },
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
		  "skip cpu.policy[]: where the host's tasks are is not known\n"
		  "skip irq.policy[]: interrupts were not looked at\n"
		  "warn vCPUs 0 and 1 are threads of one core to the guest, but not on one core here: "
		  "threads='1' in its <topology>, or cpu threads prefer\n" },
	{ .name = "isolated, irq written", .host = SMT2, .intent = "cpu.policy=isolated irq.policy=local",
	  .want = "cpu.policy[vcpu0] started 1\n"
		  "cpu.policy[vcpu1] started 9\n"
		  "cpu.emulator[] started 2-3,10-11\n"
		  "skip cpu.policy[]: where the host's tasks are is not known\n"
		  "skip irq.policy[]: interrupts were not looked at\n" },
	{ .name = "interrupts of an isolated one", .host = SMT2, .irqs = IRQS, .intent = "cpu.policy=isolated cpu.threads=isolate",
	  .want = "cpu.policy[vcpu0] started 1\n"
		  "cpu.policy[vcpu1] started 2\n"
		  "cpu.emulator[] started 3,11\n"
		  "irq.policy[] prepare avoid:1-2,9-10\n"
		  "skip cpu.policy[]: where the host's tasks are is not known\n"
		  "warn vCPUs 0 and 1 are threads of one core to the guest, but not on one core here: "
		  "threads='1' in its <topology>, or cpu threads prefer\n" },
	{ .name = "interrupts of an isolated one, none written", .host = SMT2, .irqs = IRQS,
	  .intent = "cpu.policy=isolated irq.policy=none",
	  .want = "cpu.policy[vcpu0] started 1\n"
		  "cpu.policy[vcpu1] started 9\n"
		  "cpu.emulator[] started 2-3,10-11\n"
		  "skip cpu.policy[]: where the host's tasks are is not known\n" },
	{ .name = "interrupts, all", .host = SMT2, .irqs = IRQS, .intent = "cpu.policy=dedicated irq.policy=all",
	  .want = "cpu.policy[vcpu0] started 1\n"
		  "cpu.policy[vcpu1] started 9\n"
		  "cpu.emulator[] started 2-3,10-11\n"
		  "irq.policy[] prepare avoid:1,9\n"
		  "irq.policy[eth0] prepare local:2-3,10-11\n"
		  "irq.policy[0000:81:00.0] prepare local:2-3,10-11\n" },
	{ .name = "interrupts, to an emulator of its own", .host = SMT2, .irqs = IRQS,
	  .intent = "cpu.policy=dedicated cpu.emulator=isolate irq.policy=all",
	  .want = "cpu.policy[vcpu0] started 1\n"
		  "cpu.policy[vcpu1] started 9\n"
		  "cpu.emulator[] started 2\n"
		  "irq.policy[] prepare avoid:1-2,9\n"
		  "irq.policy[eth0] prepare local:2\n"
		  "irq.policy[0000:81:00.0] prepare local:2\n" },
	{ .name = "interrupts of one that shares", .host = SMT2, .irqs = IRQS, .intent = "cpu.policy=shared irq.policy=all",
	  .want = "cpu.policy[] started 4-7,12-15\n"
		  "irq.policy[eth0] prepare local:4-7,12-15\n"
		  "irq.policy[0000:81:00.0] prepare local:4-7,12-15\n"
		  "skip irq.policy[]: it shares its CPUs: only those that it has to itself can be kept clear\n" },
	{ .name = "interrupts of one that is not placed", .host = SMT2, .irqs = IRQS, .intent = "irq.policy=all",
	  .want = "skip irq.policy[]: it has no CPUs of its own that could be kept clear\n"
		  "skip irq.policy[local]: it is not placed, so no CPUs are nearer to it than others\n" },
	{ .name = "interrupts, no device", .host = SMT2, .irqs = &(struct irq_facts){ .n_all = 5 },
	  .intent = "cpu.policy=dedicated irq.policy=local",
	  .want = "cpu.policy[vcpu0] started 1\n"
		  "cpu.policy[vcpu1] started 9\n"
		  "cpu.emulator[] started 2-3,10-11\n"
		  "skip irq.policy[local]: no device of the host is known that it uses\n" },
	{ .name = "interrupts, none there", .host = SMT2, .irqs = &(struct irq_facts){ .n_all = 0 }, .intent = "cpu.policy=isolated",
	  .want = "cpu.policy[vcpu0] started 1\n"
		  "cpu.policy[vcpu1] started 9\n"
		  "cpu.emulator[] started 2-3,10-11\n"
		  "skip cpu.policy[]: where the host's tasks are is not known\n"
		  "skip irq.policy[]: there are no interrupts to be seen here (/proc/irq)\n" },
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
	  .intent = "cpu.governor=performance memory.lock=yes io.priority=be:3 guest.cells=yes disk[vda].queues=5 "
		    "disk[*].queues=7 disk[vda].queues=9 interface[52:54:00:00:00:01].queues=4",
	  .want = "io.priority[] started be:3\n"
		  "skip guest.cells[]: not in this version, and later by `rewrite` and `apply` only\n"
		  "skip disk.queues[vda]: the domain has no disk 'vda'\n"
		  "skip disk.queues[*]: the domain has no disk\n"
		  "skip interface.queues[52:54:00:00:00:01]: the domain has no interface '52:54:00:00:00:01'\n"
		  "skip memory.lock[]: the emulator is not the wrapper: domtune wrap web1\n"
		  "skip cpu.governor[]: states of CPUs were not looked at\n" },
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
		  "skip cpu.cpus[]: the definition has <vcpu cpuset>\n"
		  "warn vCPUs 0 and 1 are threads of one core to the guest, but not on one core here: "
		  "threads='1' in its <topology>, or fewer guests here, so that whole cores are free\n" },
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
	  .want = "cpu.policy[] started 4-7,12-15\n"
		  "cpu.emulator[] exec 4-7,12-15\n"
		  "memory.placement[] exec strict:1\n"
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
	  .want = "cpu.policy[] started 4-7,12-15\n"
		  "cpu.emulator[] exec 4-7,12-15\n"
		  "memory.placement[] exec preferred:1\n"
		  "refused memory.placement strict asked, but the definition has a memory <source> or "
		  "<access>, which is not bound: <numatune>, or memory.placement preferred\n" },
	{ .name = "hugepages, interleave", .host = SMT2_2M, .intent = "cpu.policy=shared memory.placement=interleave "
								      "memory.nodes=0-1",
	  .wrapper = true, .has = DOMAIN_HAS_HUGEPAGES, .fail = true,
	  .want = "cpu.policy[] started 4-7,12-15\n"
		  "cpu.emulator[] exec 4-7,12-15\n"
		  "memory.placement[] exec interleave:0-1\n" },
	{ .name = "strict for vCPUs that are not placed, fail", .host = SMT2, .intent = "memory.placement=strict",
	  .wrapper = true, .fail = true,
	  .want = "skip memory.placement[]: its vCPUs are not placed\n"
		  "refused memory.placement strict asked, but its vCPUs are not placed: memory.nodes, or a "
		  "cpu policy\n" },
	{ .name = "isolated threads", .host = SMT2, .intent = "cpu.policy=dedicated cpu.threads=isolate", .threads = 1,
	  .want = "cpu.policy[vcpu0] started 1\n"
		  "cpu.policy[vcpu1] started 2\n"
		  "cpu.emulator[] started 3,11\n" },
	{ .name = "a device", .host = SMT2, .intent = "cpu.policy=dedicated", .device_node = 2,
	  .want = "cpu.policy[vcpu0] started 4\n"
		  "cpu.policy[vcpu1] started 12\n"
		  "cpu.emulator[] started 5-7,13-15\n" },
	{ .name = "burst", .host = SMT2, .intent = "cpu.quota=200% cpu.burst=150",
	  .want = "cpu.quota[] started 200%\n"
		  "cpu.burst[] started 150\n" },
	{ .name = "burst over the quota", .host = SMT2, .intent = "cpu.quota=200% cpu.burst=500",
	  .want = "cpu.quota[] started 200%\n"
		  "cpu.burst[] started 200\n" },
	{ .name = "burst without a quota", .host = SMT2, .intent = "cpu.burst=500",
	  .want = "skip cpu.burst[]: there is no cpu.quota that it could exceed\n" },
	{ .name = "no burst", .host = SMT2, .intent = "cpu.quota=200% cpu.burst=0",
	  .want = "cpu.quota[] started 200%\n" },
	{ .name = "lock and merge", .host = SMT2, .intent = "memory.lock=yes memory.merge=yes", .wrapper = true,
	  .want = "memory.lock[] exec yes\n"
		  "memory.merge[] exec yes\n" },
	{ .name = "not locked, not merged", .host = SMT2, .intent = "memory.lock=no memory.merge=no", .wrapper = true,
	  .want = "memory.merge[] exec no\n" },
	{ .name = "merge, nothing merges", .host = SMT2, .intent = "memory.merge=yes", .wrapper = true, .ksm_off = true,
	  .want = "memory.merge[] exec yes\n"
		  "warn memory.merge yes asked, but the host merges nothing now: echo 1 > "
		  "/sys/kernel/mm/ksm/run\n" },
	{ .name = "lock and merge of huge pages", .host = SMT2_2M, .wrapper = true, .ksm_off = true,
	  .intent = "memory.pages=2M memory.lock=yes memory.merge=yes",
	  .want = "memory.pages[] exec 2M\n"
		  "memory.lock[] exec yes\n"
		  "skip memory.merge[]: the kernel merges no huge pages\n" },
	{ .name = "lock and merge, no wrapper", .host = SMT2, .intent = "memory.lock=yes memory.merge=no",
	  .want = "skip memory.lock[]: the emulator is not the wrapper: domtune wrap web1\n"
		  "skip memory.merge[]: the emulator is not the wrapper: domtune wrap web1\n" },
	{ .name = "lock and merge, said by the definition", .host = SMT2, .wrapper = true,
	  .intent = "memory.lock=yes memory.merge=yes memory.min=1GiB memory.low=1GiB memory.high=2GiB",
	  .has = DOMAIN_HAS_LOCKED | DOMAIN_HAS_NOSHAREPAGES | DOMAIN_HAS_SOFT_LIMIT | DOMAIN_HAS_MIN_GUARANTEE,
	  .want = "memory.low[] started 1073741824\n"
		  "skip memory.lock[]: the definition has <locked>\n"
		  "skip memory.merge[]: the definition has <nosharepages>\n"
		  "skip memory.min[]: the definition has <min_guarantee>\n"
		  "skip memory.high[]: the definition has <soft_limit>\n" },
	{ .name = "protection", .host = SMT2, .intent = "memory.min=1GiB memory.low=2GiB memory.high=3GiB",
	  .want = "memory.min[] started 1073741824\n"
		  "memory.low[] started 2147483648\n"
		  "memory.high[] started 3221225472\n" },
	{ .name = "none", .host = SMT2, .intent = "memory.min=0 memory.low=0 memory.high=0",
	  .want = "skip memory.high[]: 0 would stop the guest: it could not use a page without being "
		  "throttled\n" },
	{ .name = "throttled", .host = SMT2, .intent = "memory.high=512MiB",
	  .want = "memory.high[] started 536870912\n"
		  "warn memory.high of 536870912 bytes is less than the guest's memory of 1073741824: "
		  "what it uses beyond is swapped out while it waits\n" },
	/* 128 GiB of memory, half of it may be protected, db1 has 60 GiB */
	{ .name = "protection, some left", .host = SMT2, .intent = "memory.min=3GiB memory.low=5GiB",
	  .protected = 60 * GIB,
	  .want = "memory.min[] started 3221225472\n"
		  "memory.low[] started 4294967296\n" },
	{ .name = "protection, none left", .host = SMT2, .intent = "memory.min=1GiB", .protected = 64 * GIB,
	  .want = "skip memory.min[]: 1073741824 asked: no more is left of the policy's "
		  "max-memory-protection\n" },
	{ .name = "protection of unknown memory", .host = { .nodes = 2, .memory_unknown = true },
	  .intent = "memory.min=1GiB", .protected = 64 * GIB,
	  .want = "memory.min[] started 1073741824\n" },
	{ .name = "two cells, shared", .host = SMT2_2M, .vcpus = 4, .n_cells = 2, .wrapper = true,
	  .intent = "cpu.policy=shared memory.placement=preferred",
	  .want = "cpu.policy[] started 4-7,12-15\n"
		  "cpu.emulator[] exec 4-7,12-15\n"
		  "memory.placement[] exec preferred:1\n" },
	{ .name = "two cells over two nodes", .host = SMT2, .vcpus = 10, .n_cells = 2, .wrapper = true,
	  .intent = "cpu.policy=dedicated memory.placement=strict",
	  .want = "cpu.policy[vcpu0] started 1\n"
		  "cpu.policy[vcpu1] started 9\n"
		  "cpu.policy[vcpu2] started 2\n"
		  "cpu.policy[vcpu3] started 10\n"
		  "cpu.policy[vcpu4] started 3\n"
		  "cpu.policy[vcpu5] started 6\n"
		  "cpu.policy[vcpu6] started 4\n"
		  "cpu.policy[vcpu7] started 12\n"
		  "cpu.policy[vcpu8] started 5\n"
		  "cpu.policy[vcpu9] started 13\n"
		  "cpu.emulator[] exec 7,11,14-15\n"
		  "cpu.emulator[] started 7,11,14-15\n"
		  "memory.placement[] exec strict:0-1\n" },
	{ .name = "two cells that float apart", .host = SMT2, .vcpus = 12, .n_cells = 2, .wrapper = true,
	  .memory = 100 * GIB, .intent = "cpu.policy=shared memory.placement=strict", .threads = 1,
	  .want = "cpu.policy[vcpu0] started 1-3,9-11\n"
		  "cpu.policy[vcpu1] started 1-3,9-11\n"
		  "cpu.policy[vcpu2] started 1-3,9-11\n"
		  "cpu.policy[vcpu3] started 1-3,9-11\n"
		  "cpu.policy[vcpu4] started 1-3,9-11\n"
		  "cpu.policy[vcpu5] started 1-3,9-11\n"
		  "cpu.policy[vcpu6] started 4-7,12-15\n"
		  "cpu.policy[vcpu7] started 4-7,12-15\n"
		  "cpu.policy[vcpu8] started 4-7,12-15\n"
		  "cpu.policy[vcpu9] started 4-7,12-15\n"
		  "cpu.policy[vcpu10] started 4-7,12-15\n"
		  "cpu.policy[vcpu11] started 4-7,12-15\n"
		  "cpu.emulator[] exec 1-7,9-15\n"
		  "cpu.emulator[] started 1-7,9-15\n"
		  "memory.placement[] exec strict:0-1\n" },
	{ .name = "cells, no wrapper", .host = SMT2, .n_cells = 2,
	  .intent = "memory.placement=interleave memory.pages=2M",
	  .want = "skip memory.pages[]: the emulator is not the wrapper: domtune wrap web1\n"
		  "skip memory.placement[]: the emulator is not the wrapper: domtune wrap web1, or, "
		  "while it runs, domtune retune: it moves up to 1024 MiB, 2048 pages at a time, for "
		  "at most 30 s a call\n" },
	{ .name = "cells", .host = SMT2_2M, .intent = "cpu.policy=shared memory.pages=thp memory.placement=preferred",
	  .wrapper = true, .n_cells = 1,
	  .want = "cpu.policy[] started 4-7,12-15\n"
		  "cpu.emulator[] exec 4-7,12-15\n"
		  "memory.placement[] exec preferred:1\n"
		  "memory.pages[] exec thp\n" },
	{ .name = "cells, 2M", .host = SMT2_2M, .intent = "memory.pages=2M", .wrapper = true, .n_cells = 1,
	  .want = "memory.pages[] exec 2M\n" },
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
	  .want = "memory.pages[] exec 1G\n" },
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
		{ { .host = SMT2, .intent = "cpu.policy=shared" }, "", "4-7,12-15", 2, 1, false },
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

/* "KNOB[TARGET]=FLOATER" of settings that belong to one. */
static char *floaters_text(const struct plan *p)
{
	struct sbuf b = { 0 };

	for (size_t i = 0; i < p->n_settings; i++) {
		const struct setting *s = &p->settings[i];
		struct idset now;

		if (s->floater < 0)
			continue;
		sbuf_addf(&b, "%s%s[%s]=%d", b.len ? " " : "", s->knob, s->target, s->floater);
		OK(s->floater < (int)p->placement.n_floaters);
		if (idset_parse(s->value, &now) || !idset_equal(&now, &p->placement.floaters[s->floater].now))
			TAP_FAIL("%s[%s] is %s, not where its floater is", s->knob, s->target, s->value);
	}
	return sbuf_steal(&b);
}

/* Whose CPUs follow the shared pool; the owner's lists and claimed CPUs do not. */
TEST(floaters)
{
	static const struct {
		struct pcase plan;
		const char *want;
		unsigned int n;
	} cases_of[] = {
		{{.host = SMT2, .intent = "cpu.policy=shared", .wrapper = true, .n_iothreads = 2},
		 "cpu.policy[]=0 cpu.emulator[]=0",
		 1},
		{{.host = SMT2, .intent = "cpu.policy=shared cpu.emulator=4-7,12-15 cpu.iothreads=5", .n_iothreads = 1},
		 "cpu.policy[]=0",
		 1},
		{{.host = SMT2, .intent = "cpu.policy=dedicated", .n_iothreads = 1},
		 "cpu.emulator[]=0 cpu.iothreads[iothread1]=0",
		 1},
		{{.host = SMT2, .intent = "cpu.policy=dedicated cpu.emulator=isolate", .n_iothreads = 1},
		 "cpu.iothreads[iothread1]=0",
		 1},
		{{.host = SMT2, .intent = "cpu.policy=dedicated cpu.emulator=isolate cpu.iothreads=isolate"}, "", 0},
		{{.host = SMT2, .intent = "cpu.policy=shared", .pin0 = "4"}, "cpu.policy[vcpu1]=0 cpu.emulator[]=0", 1},
		{{.host = SMT2,
		  .vcpus = 12,
		  .n_cells = 2,
		  .wrapper = true,
		  .memory = 100 * GIB,
		  .threads = 1,
		  .intent = "cpu.policy=shared memory.placement=strict cpu.emulator=0"},
		 "cpu.policy[vcpu0]=0 cpu.policy[vcpu1]=0 cpu.policy[vcpu2]=0 cpu.policy[vcpu3]=0 cpu.policy[vcpu4]=0 "
		 "cpu.policy[vcpu5]=0 cpu.policy[vcpu6]=1 cpu.policy[vcpu7]=1 cpu.policy[vcpu8]=1 cpu.policy[vcpu9]=1 "
		 "cpu.policy[vcpu10]=1 cpu.policy[vcpu11]=1",
		 2},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases_of); i++) {
		struct plan p;
		struct world w;
		struct plan_inputs in = make_world(&w, &cases_of[i].plan);
		char *text;

		IS_INT(plan_make(&in, &p), 0);
		text = floaters_text(&p);
		if (!text || strcmp(text, cases_of[i].want) != 0 || p.placement.n_floaters != cases_of[i].n)
			TAP_FAIL("case %zu: %u floaters, '%s', not '%s'", i, p.placement.n_floaters, text,
				 cases_of[i].want);
		free(text);
		plan_fini(&p);
		free_world(&w);
	}
}

/* Where each guest cell's memory goes is in the reason of the one setting. */
TEST(cells_are_named)
{
	static const struct pcase t = { .host = SMT2, .vcpus = 12, .n_cells = 2, .wrapper = true, .memory = 100 * GIB,
					.threads = 1, .intent = "cpu.policy=shared memory.placement=strict" };
	struct plan p;
	struct world w;
	struct plan_inputs in = make_world(&w, &t);
	bool said = false;

	IS_INT(plan_make(&in, &p), 0);
	for (size_t i = 0; i < p.n_settings; i++)
		said |= streq(p.settings[i].knob, "memory.placement") &&
			strstr(p.settings[i].why, "; guest cells 0 on node 0, 1 on node 1");
	OK(said);
	plan_fini(&p);
	free_world(&w);
}

/*
 * A running domain is decided again. What its process was started with stays, whatever is asked now; what can be done
 * to it is planned anew. first: as it was started; then: what is asked for now.
 */
TEST(retune)
{
	static const struct {
		const char *first, *then, *want, *placement;
		bool empty;
	} steps[] = {
		/* the same again */
		{"cpu.policy=dedicated memory.pages=2M memory.placement=strict memory.prealloc=yes",
		 "cpu.policy=dedicated memory.pages=2M memory.placement=strict memory.prealloc=yes",
		 "cpu.policy[vcpu0] started 1\ncpu.policy[vcpu1] started 9\ncpu.emulator[] started 2-3,10-11\n"
		 "memory.placement[] exec strict:0\nmemory.pages[] exec 2M\nmemory.prealloc[] exec yes\n",
		 "512x2M@0", false},
		/* other CPUs, the memory as it is */
		{"cpu.policy=dedicated memory.pages=2M memory.placement=strict",
		 "cpu.policy=shared cpu.weight=50 memory.pages=auto memory.placement=strict",
		 "cpu.policy[] started 1-3,9-11\ncpu.weight[] started 50\nmemory.placement[] exec strict:0\n"
		 "memory.pages[] exec 2M\n",
		 "512x2M@0", false},
		/* what would need another process */
		{"cpu.policy=shared memory.placement=preferred memory.nodes=0",
		 "cpu.policy=shared memory.placement=strict memory.pages=2M memory.lock=yes",
		 "cpu.policy[] started 1-3,9-11\nmemory.placement[] exec preferred:0\n"
		 "skip memory.pages[]: the guest runs already: at its next start\n"
		 "skip memory.placement[]: the guest runs already: at its next start\n"
		 "skip memory.lock[]: the guest runs already: at its next start\n",
		 "1024M@0", false},
		{"cpu.policy=shared memory.placement=strict memory.nodes=0",
		 "cpu.policy=shared memory.placement=strict memory.nodes=1",
		 "cpu.policy[] started 1-3,9-11\nmemory.placement[] exec strict:0\n"
		 "skip memory.placement[]: the guest runs already: at its next start\n",
		 "1024M@0", false},
		/* off: nothing but the pages that it uses */
		{"cpu.policy=dedicated memory.pages=2M memory.placement=strict", "cpu.policy=none", "", "512x2M@0",
		 false},
		{"cpu.policy=dedicated memory.placement=strict", "cpu.policy=none", "", "", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct pcase t = { .host = SMT2_2M, .wrapper = true, .intent = steps[i].first };
		struct plan was, p;
		struct world w;
		struct plan_inputs in = make_world(&w, &t);
		_cleanup_sbuf_ struct sbuf pages = { 0 };
		char *text;

		IS_INT(plan_make(&in, &was), 0);
		free_world(&w);
		t.intent = steps[i].then;
		t.running = true;
		in = make_world(&w, &t);
		in.was = &was;
		IS_INT(plan_make(&in, &p), 0);
		text = plan_text(&p, false);
		IS_STR(text, steps[i].want);
		IS_INT(plan_is_empty(&p), steps[i].empty);
		for (unsigned int k = 0; k < p.placement.n_pages; k++) {
			const struct claim_pages *g = &p.placement.pages[k];

			IS_INT(g->grow, 0);
			sbuf_addf(&pages, "%" PRIu64 "%s@%d", g->size ? g->count : g->count / MIB,
				  g->size ? "x2M" : "M", g->node);
		}
		IS_STR(pages.s ? pages.s : "", steps[i].placement);
		free(text);
		plan_fini(&was);
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

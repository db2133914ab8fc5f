/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* States of CPUs, scheduling of vCPUs, core scheduling: what the host says and what is wanted in, the plan as text out. */
#include "tap.h"

#include "common/cpu_facts.h"
#include "common/plan.h"
#include "common/sbuf.h"

#include "placehost.h"

#define UUID  "11111111-2222-4333-8444-555555555555"
#define OTHER "99999999-2222-4333-8444-555555555555"

#define EPP "default performance balance_performance balance_power power"

/* The kernel's real-time threads, "CPU:PRIORITY" of rcuc. */
struct ccase {
	const char *name, *intent, *type;
	unsigned int threads;        /* per core of the 4 cores; 0: 1 */
	unsigned int per_policy;     /* CPUs; 0: no cpufreq */
	const char *driver, *governors, *preferences, *governor; /* NULL: intel_pstate's */
	const char *held, *mine;     /* governor of policy 1 in the ledger, another's and our own claim */
	bool no_wakeup, no_halt_poll, not_looked;
	bool unthrottled;
	const char *free_at_boot;    /* isolcpus, nohz_full, rcu_nocbs */
	const char *isolated_only, *unserved, *rcuc;
	unsigned int kernel;         /* 0: 6.1 */
	bool preempts, swaps, merges;
	const char *sched_core;
	unsigned int has;
	const char *pin0, *pin1, *emulatorpin, *iothreadpin;
	bool wrapper, running, fail;
	const char *was;             /* cpu.core-scheduling that it was started with */
	const char *want;
};

struct world {
	struct domain domain;
	struct domain_pin pins[2], iothreadpin;
	struct intent intent;
	struct policy policy;
	struct host host;
	struct ledger ledger;
	struct cpu_facts facts;
	struct plan was;
	int policy_of[64];
	char governor[64][32];
	struct cpu_kthread rcuc;
	char empty[1], name[8], type[8];
};

static void make_intent(struct intent *in, const char *text)
{
	char *copy = strdup(text), *save = NULL;
	struct err e = ERR_INIT;

	in->profile = strdup("p");
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		char *equals = strchr(w, '=');
		bool limit = *w == '!';
		enum knob_id id;

		*equals = '\0';
		id = knob_find_dotted(w + limit);
		if (id == KNOB_ID_MAX || knob_parse_value(id, equals + 1, &in->v[id], &e)) {
			fprintf(stderr, "%s: %s\n", w, e.text);
			exit(2);
		}
		in->v[id].source = strdup(limit ? "limit" : "profile p");
	}
	free(copy);
}

static void claim_governor(struct ledger *l, const char *governor, const char *uuid)
{
	static const char object[] = "sys/devices/system/cpu/cpufreq/policy1/scaling_governor";
	struct shared *s = ledger_find_shared(l, "file", object);

	if (!governor)
		return;
	if (!s) {
		s = ledger_add_shared(l, "file", object);
		(void)shared_set(s, &s->original, "powersave");
	}
	IS_INT(shared_set_claim(s, uuid, governor), 0);
}

static void make_facts(struct world *w, const struct ccase *c)
{
	struct cpu_facts *f = &w->facts;
	unsigned int cpu = 0, priority = 0;

	f->n_policy = c->per_policy ? w->host.n_cpus : 0;
	f->policy = w->policy_of;
	f->governor = w->governor;
	for (unsigned int i = 0; i < f->n_policy; i++) {
		w->policy_of[i] = (int)(i / c->per_policy * c->per_policy);
		(void)snprintf(w->governor[i], sizeof(w->governor[i]), "%s", c->governor ? c->governor : "powersave");
	}
	(void)snprintf(f->driver, sizeof(f->driver), "%s", c->driver ? c->driver : "intel_pstate");
	(void)snprintf(f->governors, sizeof(f->governors), "%s", c->governors ? c->governors : "performance powersave");
	(void)snprintf(f->preferences, sizeof(f->preferences), "%s", c->preferences ? c->preferences : EPP);
	f->has_wakeup = !c->no_wakeup;
	f->has_halt_poll = !c->no_halt_poll;
	f->rt_known = true;
	f->throttles = !c->unthrottled;
	f->left = c->unthrottled ? 0 : 5;
	f->unserved = set_of(c->unserved);
	f->isolated = f->nohz_full = f->nocbs = set_of(c->free_at_boot);
	if (c->isolated_only)
		f->isolated = set_of(c->isolated_only);
	f->preempts = c->preempts;
	f->swaps = c->swaps;
	f->merges = c->merges;
	if (c->rcuc && sscanf(c->rcuc, "%u:%u", &cpu, &priority) == 2) {
		w->rcuc = (struct cpu_kthread){.cpu = cpu, .priority = priority, .name = "rcuc"};
		f->kthreads = &w->rcuc;
		f->n_kthreads = 1;
	}
	(void)snprintf(f->sched_core, sizeof(f->sched_core), "%s", c->sched_core ? c->sched_core : "none");
}

static struct plan_inputs make_world(struct world *w, const struct ccase *c)
{
	struct host_spec spec = {.nodes = 1, .cores = 4, .threads = c->threads};
	struct domain *d = &w->domain;

	memset(w, 0, sizeof(*w));
	host_make(&w->host, &spec);
	w->host.kernel = c->kernel ? c->kernel : 601;
	make_intent(&w->intent, c->intent);
	w->intent.fail = c->fail;
	w->policy.max_dedicated = w->policy.max_hugepages = w->policy.max_memory =
		(struct policy_limit){.num = 100, .is_percent = true};
	(void)snprintf(d->uuid, sizeof(d->uuid), "%s", UUID);
	(void)snprintf(w->name, sizeof(w->name), "web1");
	(void)snprintf(w->type, sizeof(w->type), "%s", c->type ? c->type : "kvm");
	d->name = w->name;
	d->type = w->type;
	d->id = 3;
	d->vcpus = d->vcpus_max = 2;
	d->vcpus_online = set_of("0-1");
	d->memory = GIB;
	d->threads = 1;
	d->has = c->has;
	d->vcpupin = w->pins;
	if (c->pin0)
		w->pins[d->n_vcpupin++] = (struct domain_pin){.id = 0, .cpus = set_of(c->pin0)};
	if (c->pin1)
		w->pins[d->n_vcpupin++] = (struct domain_pin){.id = 1, .cpus = set_of(c->pin1)};
	d->emulatorpin = set_of(c->emulatorpin);
	w->iothreadpin = (struct domain_pin){.id = 1, .cpus = set_of(c->iothreadpin)};
	d->iothreadpin = &w->iothreadpin;
	d->n_iothreadpin = c->iothreadpin ? 1 : 0;
	make_facts(w, c);
	claim_governor(&w->ledger, c->held, OTHER);
	claim_governor(&w->ledger, c->mine, UUID);
	if (c->was)
		IS_INT(plan_add_setting(&w->was, "cpu.core-scheduling", "", STAGE_EXEC, c->was, "x", "as it was"), 0);
	return (struct plan_inputs){
		.domain = d, .intent = &w->intent, .policy = &w->policy, .host = &w->host, .ledger = &w->ledger,
		.wrapper = {.present = c->wrapper, .emulator = w->empty, .qemu = 7002022}, .running = c->running || c->was,
		.cpus = c->not_looked ? NULL : &w->facts, .was = c->was ? &w->was : NULL,
	};
}

/* Placement and memory are others' tests. */
static bool is_ours(const char *knob)
{
	return str_starts(knob, "cpu.") && !streq(knob, "cpu.policy") && !streq(knob, "cpu.emulator") &&
	       !streq(knob, "cpu.iothreads");
}

static char *plan_text(const struct plan *p)
{
	struct sbuf b = {0};

	for (size_t i = 0; i < p->n_settings; i++) {
		const struct setting *s = &p->settings[i];

		if (is_ours(s->knob))
			sbuf_addf(&b, "%s[%s] %s %s%s%s\n", s->knob, s->target, stage_name(s->stage), s->value,
				  streq(s->source, "limit") ? " limit: " : "", streq(s->source, "limit") ? s->why : "");
	}
	for (size_t i = 0; i < p->n_skipped; i++)
		if (is_ours(p->skipped[i].knob))
			sbuf_addf(&b, "skip %s[%s]: %s\n", p->skipped[i].knob, p->skipped[i].target, p->skipped[i].why);
	for (size_t i = 0; i < p->warnings.n; i++)
		if (p->warnings.m[i].level == MSG_ADVICE)
			sbuf_addf(&b, "advice %s\n", p->warnings.m[i].text);
	if (p->refused)
		sbuf_addf(&b, "refused %s\n", p->refused);
	return sbuf_steal(&b);
}

static void free_world(struct world *w)
{
	for (unsigned int i = 0; i < KNOB_ID_MAX; i++)
		value_fini(&w->intent.v[i]);
	free(w->intent.profile);
	plan_fini(&w->was);
	ledger_fini(&w->ledger);
	host_free(&w->host);
}

#define DEDICATED "cpu.policy=dedicated "
#define NOT_MADE "advice the host or the guest is not made for realtime: "
#define NOT_BOOTED "no isolcpus, nohz_full, rcu_nocbs at boot for CPUs 1-2"
#define FIFO_1_2 \
	"cpu.scheduler[vcpu0] started fifo\ncpu.priority[vcpu0] started 1\n" \
	"cpu.scheduler[vcpu1] started fifo\ncpu.priority[vcpu1] started 1\n"

/* clang-format off */
static const struct ccase cases[] = {
	/* clock */
	{ "a policy for each CPU", DEDICATED "cpu.governor=performance", .per_policy = 1,
	  .want = "cpu.governor[cpu1] prepare performance\ncpu.governor[cpu2] prepare performance\n" },
	{ "one policy for all", DEDICATED "cpu.governor=performance", .per_policy = 4,
	  .want = "cpu.governor[cpu0] prepare performance\n" },
	{ "no cpufreq", DEDICATED "cpu.governor=performance cpu.energy=power cpu.wakeup=3",
	  .want = "cpu.wakeup[cpu1] prepare 3\ncpu.wakeup[cpu2] prepare 3\n"
		  "skip cpu.governor[]: the host has no cpufreq\nskip cpu.energy[]: the host has no cpufreq\n" },
	{ "nothing claimed", "cpu.policy=shared cpu.governor=performance cpu.energy=power cpu.wakeup=3", .per_policy = 1,
	  .want = "skip cpu.governor[]: only of claimed CPUs, and it claims none (cpu policy dedicated or isolated)\n"
		  "skip cpu.energy[]: only of claimed CPUs, and it claims none (cpu policy dedicated or isolated)\n"
		  "skip cpu.wakeup[]: only of claimed CPUs, and it claims none (cpu policy dedicated or isolated)\n" },
	{ "not looked at", DEDICATED "cpu.governor=performance cpu.halt-poll=9", .per_policy = 1, .not_looked = true,
	  .want = "skip cpu.governor[]: states of CPUs were not looked at\nskip cpu.halt-poll[]: it was not looked at\n" },
	{ "a governor that is not there", DEDICATED "cpu.governor=perform", .per_policy = 1,
	  .want = "skip cpu.governor[]: the host has no such governor: performance powersave\n" },
	{ "governors are not known", DEDICATED "cpu.governor=performance", .per_policy = 1, .governors = "",
	  .want = "skip cpu.governor[]: the host's cpufreq driver has no governor\n" },
	{ "no preferences", DEDICATED "cpu.energy=performance", .per_policy = 1, .preferences = "",
	  .want = "skip cpu.energy[]: the host's cpufreq driver has no energy preference\n" },
	{ "a preference", DEDICATED "cpu.energy=balance_power", .per_policy = 1,
	  .want = "cpu.energy[cpu1] prepare balance_power\ncpu.energy[cpu2] prepare balance_power\n" },
	{ "a preference beside performance", DEDICATED "cpu.energy=power cpu.governor=performance", .per_policy = 1,
	  .want = "cpu.governor[cpu1] prepare performance\ncpu.governor[cpu2] prepare performance\n"
		  "skip cpu.energy[]: with the governor performance intel_pstate takes performance only\n" },
	{ "performance beside performance", DEDICATED "cpu.energy=performance cpu.governor=performance", .per_policy = 1,
	  .want = "cpu.governor[cpu1] prepare performance\ncpu.governor[cpu2] prepare performance\n"
		  "cpu.energy[cpu1] prepare performance\ncpu.energy[cpu2] prepare performance\n" },
	{ "passive drivers take any", DEDICATED "cpu.energy=power cpu.governor=performance", .per_policy = 1,
	  .driver = "intel_cpufreq", .want = "cpu.governor[cpu1] prepare performance\ncpu.governor[cpu2] prepare performance\n"
		  "cpu.energy[cpu1] prepare power\ncpu.energy[cpu2] prepare power\n" },
	{ "it has performance already", DEDICATED "cpu.energy=power", .per_policy = 1, .governor = "performance",
	  .driver = "amd-pstate-epp",
	  .want = "skip cpu.energy[cpu1]: its governor is performance, with which amd-pstate-epp takes performance only\n"
		  "skip cpu.energy[cpu2]: its governor is performance, with which amd-pstate-epp takes performance only\n" },
	{ "another domain's performance", DEDICATED "cpu.energy=power", .per_policy = 1, .held = "performance",
	  .want = "cpu.energy[cpu2] prepare power\n"
		  "skip cpu.energy[cpu1]: its governor is performance, with which intel_pstate takes performance only\n" },
	{ "our own performance, which goes", DEDICATED "cpu.energy=power", .per_policy = 1, .mine = "performance",
	  .governor = "performance",
	  .want = "cpu.energy[cpu1] prepare power\n"
		  "skip cpu.energy[cpu2]: its governor is performance, with which intel_pstate takes performance only\n" },
	/* sleep */
	{ "no sleep", DEDICATED "cpu.wakeup=0", .want = "cpu.wakeup[cpu1] prepare n/a\ncpu.wakeup[cpu2] prepare n/a\n" },
	{ "idle siblings may sleep", DEDICATED "cpu.threads=isolate cpu.wakeup=0 cpu.governor=performance", .threads = 2,
	  .per_policy = 1,
	  .want = "cpu.governor[cpu1] prepare performance\ncpu.governor[cpu2] prepare performance\n"
		  "cpu.governor[cpu5] prepare performance\ncpu.governor[cpu6] prepare performance\n"
		  "cpu.wakeup[cpu1] prepare n/a\ncpu.wakeup[cpu2] prepare n/a\n" },
	{ "a CPU of the emulator's own too", DEDICATED "cpu.emulator=isolate cpu.wakeup=5",
	  .want = "cpu.wakeup[cpu1] prepare 5\ncpu.wakeup[cpu2] prepare 5\ncpu.wakeup[cpu3] prepare 5\n" },
	{ "no such file", DEDICATED "cpu.wakeup=5", .no_wakeup = true,
	  .want = "skip cpu.wakeup[]: the host's CPUs have no pm_qos_resume_latency_us\n" },
	{ "polling", "cpu.halt-poll=500000", .want = "cpu.halt-poll[] prepare 500000\n" },
	{ "polling without kvm", "cpu.halt-poll=500000", .no_halt_poll = true,
	  .want = "skip cpu.halt-poll[]: the host's kvm has no halt_poll_ns\n" },
	{ "polling of an emulated guest", "cpu.halt-poll=500000", .type = "qemu",
	  .want = "skip cpu.halt-poll[]: type='qemu' is not KVM's: its vCPUs do not halt there\n" },
	/* scheduling */
	{ "batch", "cpu.scheduler=batch", .want = "cpu.scheduler[] started batch\n" },
	{ "other, with a priority", "cpu.scheduler=other cpu.priority=5",
	  .want = "cpu.scheduler[] started other\nskip cpu.priority[]: only fifo and rr have priorities\n" },
	{ "a priority alone", "cpu.priority=5", .want = "skip cpu.priority[]: only fifo and rr have priorities\n" },
	{ "fifo", DEDICATED "cpu.scheduler=fifo", .want = FIFO_1_2 NOT_MADE NOT_BOOTED "; the kernel is not PREEMPT_RT\n" },
	{ "rr, capped", DEDICATED "cpu.scheduler=rr !cpu.priority=10", .preempts = true, .free_at_boot = "1-2",
	  .want = "cpu.scheduler[vcpu0] started rr\n"
		  "cpu.priority[vcpu0] started 10 limit: no more within the policy's max-rt-priority\n"
		  "cpu.scheduler[vcpu1] started rr\n"
		  "cpu.priority[vcpu1] started 10 limit: no more within the policy's max-rt-priority\n" },
	{ "fifo, shared", "cpu.policy=shared cpu.scheduler=fifo cpu.priority=2",
	  .want = "skip cpu.scheduler[]: only on claimed CPUs, and it claims none (cpu policy dedicated or isolated)\n"
		  "skip cpu.priority[]: no vCPU is scheduled by it\n" },
	{ "fifo, shared, fail", "cpu.policy=shared cpu.scheduler=fifo", .fail = true,
	  .want = "skip cpu.scheduler[]: only on claimed CPUs, and it claims none (cpu policy dedicated or isolated)\n"
		  "refused cpu.scheduler fifo asked, but only on claimed CPUs, and it claims none (cpu policy dedicated or "
		  "isolated)\n" },
	{ "fifo, not looked at", DEDICATED "cpu.scheduler=fifo", .not_looked = true,
	  .want = "skip cpu.scheduler[]: what the host's kernel leaves to others was not looked at\n" },
	{ "<vcpusched>", DEDICATED "cpu.scheduler=fifo cpu.priority=2", .has = DOMAIN_HAS_SCHED,
	  .want = "skip cpu.scheduler[]: the definition has <vcpusched> or the like\n"
		  "skip cpu.priority[]: the definition has <vcpusched> or the like\n" },
	{ "two vCPUs on one CPU", DEDICATED "cpu.scheduler=fifo", .pin0 = "2", .pin1 = "2",
	  .want = "skip cpu.scheduler[]: another vCPU is on the same CPU, which one that never sleeps would stop\n" },
	{ "the emulator with a vCPU", DEDICATED "cpu.scheduler=fifo", .pin0 = "2", .pin1 = "3", .emulatorpin = "2",
	  .has = DOMAIN_HAS_EMULATORPIN,
	  .want = "skip cpu.scheduler[]: QEMU's other threads have only the CPUs of vCPUs, which one that never sleeps would "
		  "stop: cpu emulator, iothreads share or isolate\n" },
	{ "the emulator may be elsewhere", DEDICATED "cpu.scheduler=fifo", .pin0 = "2", .pin1 = "3", .emulatorpin = "0-2",
	  .has = DOMAIN_HAS_EMULATORPIN, .preempts = true, .free_at_boot = "0-3", .want = FIFO_1_2 },
	{ "an I/O thread with a vCPU", DEDICATED "cpu.scheduler=fifo", .pin0 = "2", .pin1 = "3", .iothreadpin = "3",
	  .want = "skip cpu.scheduler[]: QEMU's other threads have only the CPUs of vCPUs, which one that never sleeps would "
		  "stop: cpu emulator, iothreads share or isolate\n" },
	{ "the kernel's thread is as high", DEDICATED "cpu.scheduler=fifo cpu.priority=2", .rcuc = "1:2", .fail = true,
	  .want = "cpu.scheduler[vcpu1] started fifo\ncpu.priority[vcpu1] started 2\n"
		  "skip cpu.scheduler[vcpu0]: the kernel's rcuc there has priority 2, and a vCPU of 2 could stop it: it has "
		  "to be higher (chrt -f -p, rcutree.kthread_prio at boot)\n"
		  NOT_MADE NOT_BOOTED "; the kernel is not PREEMPT_RT\n"
		  "refused cpu.scheduler fifo asked for vcpu0, but the kernel's rcuc there has priority 2, and a vCPU of 2 "
		  "could stop it: it has to be higher (chrt -f -p, rcutree.kthread_prio at boot)\n" },
	{ "the kernel's thread is higher", DEDICATED "cpu.scheduler=fifo", .rcuc = "1:2", .preempts = true,
	  .free_at_boot = "0-3", .want = FIFO_1_2 },
	{ "on another CPU", DEDICATED "cpu.scheduler=fifo", .rcuc = "3:1", .preempts = true, .free_at_boot = "0-3",
	  .want = FIFO_1_2 },
	{ "nothing is left to others", DEDICATED "cpu.scheduler=fifo", .unthrottled = true,
	  .want = "skip cpu.scheduler[]: a guest that never sleeps would lock up the host: kernel.sched_rt_runtime_us lets it "
		  "take all of a CPU, and its CPUs are not kept free of the kernel's work (isolcpus, nohz_full, rcu_nocbs)\n" },
	{ "nothing is left, and only isolated", DEDICATED "cpu.scheduler=fifo", .unthrottled = true, .isolated_only = "1-3",
	  .want = "skip cpu.scheduler[]: a guest that never sleeps would lock up the host: kernel.sched_rt_runtime_us lets it "
		  "take all of a CPU, and its CPUs are not kept free of the kernel's work (isolcpus, nohz_full, rcu_nocbs)\n" },
	{ "nothing is left, and none needs it", DEDICATED "cpu.scheduler=fifo", .unthrottled = true, .free_at_boot = "1-3",
	  .preempts = true, .want = FIFO_1_2 },
	{ "a fair server is off", DEDICATED "cpu.scheduler=fifo", .kernel = 612, .unserved = "2", .preempts = true,
	  .free_at_boot = "1",
	  .want = "cpu.scheduler[vcpu0] started fifo\ncpu.priority[vcpu0] started 1\n"
		  "skip cpu.scheduler[vcpu1]: a guest that never sleeps would lock up the host: the fair server of its CPUs is "
		  "off (debugfs sched/fair_server), and its CPUs are not kept free of the kernel's work (isolcpus, nohz_full, "
		  "rcu_nocbs)\n"
		  NOT_MADE NOT_BOOTED "\n" },
	{ "all that can lack", DEDICATED "cpu.scheduler=fifo", .swaps = true, .merges = true, .has = DOMAIN_HAS_BALLOON,
	  .want = FIFO_1_2 NOT_MADE NOT_BOOTED "; the kernel is not PREEMPT_RT; there is swap, and its memory is not locked; "
		  "KSM runs, and may merge its memory; it has a balloon (<memballoon model='none'/>)\n" },
	{ "locked and not merged", DEDICATED "cpu.scheduler=fifo memory.lock=yes memory.merge=no", .swaps = true,
	  .merges = true, .preempts = true, .free_at_boot = "1-2", .wrapper = true, .want = FIFO_1_2 },
	{ "locked, with a balloon that shrinks", "memory.lock=yes", .wrapper = true,
	  .has = DOMAIN_HAS_BALLOON | DOMAIN_BALLOON_SHRINKS,
	  .want = "advice its memory is locked, but the balloon gives pages back on its own (autodeflate, "
		  "freePageReporting): they are missing until the guest touches them again\n" },
	{ "a balloon that shrinks", "memory.lock=no", .wrapper = true, .has = DOMAIN_HAS_BALLOON | DOMAIN_BALLOON_SHRINKS,
	  .want = "" },
	/* core scheduling */
	{ "cores", "cpu.core-scheduling=yes", .threads = 2, .wrapper = true,
	  .want = "cpu.core-scheduling[] exec yes\n" },
	{ "cores, no", "cpu.core-scheduling=no", .threads = 2, .wrapper = true, .want = "" },
	{ "cores of one thread", "cpu.core-scheduling=yes", .wrapper = true,
	  .want = "skip cpu.core-scheduling[]: the host's cores have one thread each\n" },
	{ "cores, libvirt's", "cpu.core-scheduling=yes", .threads = 2, .wrapper = true, .sched_core = "vcpus",
	  .want = "skip cpu.core-scheduling[]: libvirt does it: sched_core is vcpus in its qemu.conf\n" },
	{ "cores, no wrapper", "cpu.core-scheduling=yes", .threads = 2,
	  .want = "skip cpu.core-scheduling[]: the emulator is not the wrapper: domtune wrap web1\n" },
	{ "cores, running", "cpu.core-scheduling=yes", .threads = 2, .wrapper = true, .running = true,
	  .want = "skip cpu.core-scheduling[]: the guest runs already: at its next start\n" },
	{ "cores, as it was started", "cpu.core-scheduling=yes", .threads = 2, .wrapper = true, .was = "yes",
	  .want = "cpu.core-scheduling[] exec yes\n" },
	{ "cores, no longer", "cpu.core-scheduling=no", .threads = 2, .wrapper = true, .was = "yes",
	  .want = "cpu.core-scheduling[] exec yes\n"
		  "skip cpu.core-scheduling[]: the guest runs already: at its next start\n" },
};
/* clang-format on */

TEST(plans)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = NULL;
		struct plan_inputs in;
		struct plan p;
		struct world w;

		in = make_world(&w, &cases[i]);
		IS_INT(plan_make(&in, &p), 0);
		text = plan_text(&p);
		if (!text || !streq(text, cases[i].want))
			TAP_FAIL("%s: %s instead of %s", cases[i].name, text, cases[i].want);
		plan_fini(&p);
		free_world(&w);
	}
}

/* What full load costs is in the reason. */
TEST(reasons)
{
	static const struct {
		unsigned int kernel;
		bool unthrottled;
		const char *why;
	} rows[] = {
		{601, false, "first in, first out, before every ordinary thread on its CPU; one that never sleeps is stopped 5% "
			     "of the time (kernel.sched_rt_runtime_us)"},
		{612, false, "first in, first out, before every ordinary thread on its CPU, but for 5% of it for those that wait"},
		{601, true, "first in, first out, before every ordinary thread on its CPU, of which there should be none "
			    "(isolcpus, nohz_full)"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ccase c = {.intent = DEDICATED "cpu.scheduler=fifo", .kernel = rows[i].kernel,
				  .unthrottled = rows[i].unthrottled, .free_at_boot = rows[i].unthrottled ? "1-2" : NULL};
		struct plan_inputs in;
		struct plan p;
		struct world w;
		const char *why = "";

		in = make_world(&w, &c);
		IS_INT(plan_make(&in, &p), 0);
		for (size_t k = 0; k < p.n_settings; k++)
			if (streq(p.settings[k].knob, "cpu.scheduler"))
				why = p.settings[k].why;
		IS_STR(why, rows[i].why);
		plan_fini(&p);
		free_world(&w);
	}
}

TAP_MAIN

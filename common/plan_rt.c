/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Scheduling of vCPU threads, and core scheduling.
 *
 * A vCPU that never sleeps keeps a real-time thread's CPU from everybody of lower priority, so fifo and rr are given
 * only where that harms nobody: on a CPU that the domain has claimed and that its other threads do not need, below the
 * kernel's own threads of that CPU (rcuc, ktimers, ksoftirqd where they run at a real-time priority; who waits for these
 * may be anywhere), and not where the kernel would leave ordinary threads no time at all (kernel.sched_rt_runtime_us -1,
 * before Linux 6.12; a fair server that is switched off, since then), unless boot arguments keep the kernel's work away
 * from that CPU. What else the host lacks is advice.
 */
#include "plan_priv.h"

#include <inttypes.h>

#include "cpu_facts.h"
#include "sbuf.h"

#define NOBODY_ELSE "only on claimed CPUs, and it claims none (cpu policy dedicated or isolated)"

static const char *source_of(const struct value *v, const char *fallback)
{
	return v && v->source ? v->source : fallback;
}

static bool is_realtime(const char *word)
{
	return streq(word, "fifo") || streq(word, "rr");
}

/* --- fifo and rr ------------------------------------------------------------------------------------------------ */

struct realtime {
	struct maker *m;
	const struct cpu_facts *f;
	struct plan_isolation set;
	struct idset vcpus;    /* CPUs of all vCPUs */
	const char *word;
	uint64_t priority;
};

/* Some of its other threads can be nowhere else than with the vCPUs. */
static bool others_depend(const struct realtime *x)
{
	const struct placement *pl = &x->m->p->placement;
	const struct domain *d = x->m->in->domain;
	bool depend = !idset_is_empty(&pl->emulator) && idset_is_subset(&pl->emulator, &x->vcpus);

	depend |= !idset_is_empty(&d->emulatorpin) && idset_is_subset(&d->emulatorpin, &x->vcpus);
	for (unsigned int i = 0; i < pl->n_iothreads; i++)
		depend |= !idset_is_empty(&pl->iothreads[i].cpus) && idset_is_subset(&pl->iothreads[i].cpus, &x->vcpus);
	for (unsigned int i = 0; i < d->n_iothreadpin; i++)
		depend |= !idset_is_empty(&d->iothreadpin[i].cpus) &&
			  idset_is_subset(&d->iothreadpin[i].cpus, &x->vcpus);
	return depend;
}

static bool is_alone(const struct realtime *x, unsigned int vcpu)
{
	const struct placement *pl = &x->m->p->placement;

	for (unsigned int i = 0; i < pl->n_vcpus; i++)
		if (i != vcpu && idset_intersects(&pl->vcpus[i].cpus, &pl->vcpus[vcpu].cpus))
			return false;
	return true;
}

/* Ordinary threads get some time there, whatever real-time ones do. */
static bool is_throttled(const struct realtime *x, const struct idset *cpus)
{
	return x->f->throttles && !idset_intersects(cpus, &x->f->unserved);
}

/* Nothing of the kernel's comes to these CPUs, as far as boot arguments can do that. */
static bool is_kept_free(const struct realtime *x, const struct idset *cpus)
{
	return idset_is_subset(cpus, &x->f->isolated) && idset_is_subset(cpus, &x->f->nohz_full) &&
	       idset_is_subset(cpus, &x->f->nocbs);
}

/* The first of the kernel's threads on these CPUs that it would not be below; NULL: none. */
static const struct cpu_kthread *find_rival(const struct realtime *x, const struct idset *cpus)
{
	for (unsigned int i = 0; i < x->f->n_kthreads; i++)
		if (idset_has(cpus, x->f->kthreads[i].cpu) && x->f->kthreads[i].priority <= x->priority)
			return &x->f->kthreads[i];
	return NULL;
}

/* Why a vCPU is not given it; false: it is. The same reason for all vCPUs is the same text. */
static bool why_not(const struct realtime *x, unsigned int vcpu, char *buf, size_t size)
{
	const struct idset *cpus = &x->m->p->placement.vcpus[vcpu].cpus;
	const struct cpu_kthread *rival = find_rival(x, cpus);

	if (!idset_is_subset(cpus, &x->set.claimed))
		(void)snprintf(buf, size, "only on claimed CPUs, and it is not on one"); /* fits */
	else if (!is_alone(x, vcpu))
		(void)snprintf(buf, size, "another vCPU is on the same CPU, which one that never sleeps would stop"); /* fits */
	else if (others_depend(x))
		(void)snprintf(buf, size,
			       "QEMU's other threads have only the CPUs of vCPUs, which one that never sleeps would stop: "
			       "cpu emulator, iothreads share or isolate"); /* fits */
	else if (rival)
		(void)snprintf(buf, size,
			       "the kernel's %s there has priority %u, and a vCPU of %" PRIu64
			       " could stop it: it has to be higher (chrt -f -p%s)",
			       rival->name, rival->priority, x->priority,
			       streq(rival->name, "rcuc") ? ", rcutree.kthread_prio at boot" : ""); /* fits */
	else if (!is_throttled(x, cpus) && !is_kept_free(x, cpus))
		(void)snprintf(buf, size,
			       "a guest that never sleeps would lock up the host: %s, and its CPUs are not kept free of the "
			       "kernel's work (isolcpus, nohz_full, rcu_nocbs)",
			       x->f->throttles ? "the fair server of its CPUs is off (debugfs sched/fair_server)"
					       : "kernel.sched_rt_runtime_us lets it take all of a CPU"); /* fits */
	else
		return false;
	return true;
}

/* "a CPU of its own, above every ordinary thread; ..." what that costs at full load. */
static void say_realtime(const struct realtime *x, const struct idset *cpus, char *buf, size_t size)
{
	int n = snprintf(buf, size, "%s, before every ordinary thread on its CPU",
			 streq(x->word, "fifo") ? "first in, first out" : "in turns"); /* fits */

	if (n < 0 || (size_t)n >= size)
		return;
	if (!is_throttled(x, cpus))
		(void)snprintf(buf + n, size - (size_t)n, ", of which there should be none (isolcpus, nohz_full)"); /* fits */
	else if (x->m->in->host->kernel >= 612 && x->f->left)
		(void)snprintf(buf + n, size - (size_t)n, ", but for %u%% of it for those that wait", x->f->left); /* fits */
	else if (x->f->left)
		(void)snprintf(buf + n, size - (size_t)n,
			       "; one that never sleeps is stopped %u%% of the time (kernel.sched_rt_runtime_us)",
			       x->f->left); /* fits */
}

static void set_vcpu(const struct realtime *x, unsigned int vcpu)
{
	struct maker *m = x->m;
	const struct value *scheduler = plan_wanted(m, KNOB_CPU_SCHEDULER), *priority = plan_wanted(m, KNOB_CPU_PRIORITY);
	char target[32], number[24], why[WHY_SIZE];
	const char *source = source_of(priority, source_of(scheduler, "default"));

	(void)snprintf(target, sizeof(target), "vcpu%u", vcpu);	      /* fits */
	(void)snprintf(number, sizeof(number), "%" PRIu64, x->priority); /* fits */
	say_realtime(x, &m->p->placement.vcpus[vcpu].cpus, why, sizeof(why));
	m->failed |= plan_add_setting(m->p, knob_table[KNOB_CPU_SCHEDULER].name, target, STAGE_STARTED, x->word,
				      source_of(scheduler, "default"), why) < 0;
	m->failed |= plan_add_setting(m->p, knob_table[KNOB_CPU_PRIORITY].name, target, STAGE_STARTED, number, source,
				      streq(source, "limit") ? "no more within the policy's max-rt-priority"
				      : priority	     ? "below the kernel's own threads"
							     : "the lowest") < 0;
}

/* Not given to one vCPU, or (target "") to none. A demand. */
static void refuse(const struct realtime *x, const char *target, const char *why)
{
	plan_skip(x->m, KNOB_CPU_SCHEDULER, target, why);
	msgs_warn(&x->m->impossible, "cpu.scheduler %s asked%s%s, but %s", x->word, *target ? " for " : "", target, why);
}

static void plan_realtime(struct realtime *x)
{
	const struct placement *pl = &x->m->p->placement;
	unsigned int n = 0, n_refused = 0;
	char why[WHY_SIZE], first[WHY_SIZE], target[32];
	bool alike = true;

	for (unsigned int i = 0; i < pl->n_vcpus; i++)
		idset_or(&x->vcpus, &pl->vcpus[i].cpus);
	for (unsigned int i = 0; i < pl->n_vcpus; i++) {
		if (idset_is_empty(&pl->vcpus[i].cpus))
			continue;
		n++;
		if (!why_not(x, i, why, sizeof(why)))
			continue;
		if (n_refused++ == 0)
			memcpy(first, why, sizeof(first));
		alike &= streq(first, why);
	}
	if (n > 0 && n_refused == n && alike) {
		refuse(x, "", first);
		return;
	}
	for (unsigned int i = 0; i < pl->n_vcpus; i++) {
		if (idset_is_empty(&pl->vcpus[i].cpus))
			continue;
		(void)snprintf(target, sizeof(target), "vcpu%u", i); /* fits */
		if (why_not(x, i, why, sizeof(why)))
			refuse(x, target, why);
		else
			set_vcpu(x, i);
	}
}

static void plan_scheduler(struct maker *m)
{
	const struct value *v = plan_wanted(m, KNOB_CPU_SCHEDULER), *priority = plan_wanted(m, KNOB_CPU_PRIORITY);
	struct realtime x = { .m = m, .f = m->in->cpus, .word = plan_word(m, KNOB_CPU_SCHEDULER) };

	if (priority && !is_realtime(x.word))
		plan_skip(m, KNOB_CPU_PRIORITY, "", "only fifo and rr have priorities");
	if (!v)
		return;
	if (!is_realtime(x.word)) {
		m->failed |= plan_add_setting(m->p, knob_table[KNOB_CPU_SCHEDULER].name, "", STAGE_STARTED, x.word,
					      source_of(v, "default"), "of all its vCPU threads") < 0;
		return;
	}
	x.priority = priority ? priority->num : 1;
	plan_isolation(m, &x.set);
	if (idset_is_empty(&x.set.claimed))
		refuse(&x, "", NOBODY_ELSE);
	else if (!x.f || !x.f->rt_known)
		refuse(&x, "", "what the host's kernel leaves to others was not looked at");
	else
		plan_realtime(&x);
	if (priority && m->p->n_settings &&
	    !streq(m->p->settings[m->p->n_settings - 1].knob, knob_table[KNOB_CPU_PRIORITY].name))
		plan_skip(m, KNOB_CPU_PRIORITY, "", "no vCPU is scheduled by it");
}

/* --- core scheduling -------------------------------------------------------------------------------------------- */

/* Why the wrapper does not ask for it. NULL: it does. */
static const char *why_no_cookie(const struct maker *m, char *buf, size_t size)
{
	const struct cpu_facts *f = m->in->cpus;
	const struct host *h = m->in->host;

	if (f && *f->sched_core && !streq(f->sched_core, "none")) {
		(void)snprintf(buf, size, "libvirt does it: sched_core is %s in its qemu.conf", f->sched_core); /* fits */
		return buf;
	}
	if (h->n_cores >= h->n_cpus)
		return "the host's cores have one thread each";
	if (!m->in->wrapper.present) {
		(void)snprintf(buf, size, "the emulator is not the wrapper: domtune wrap %.200s", m->p->name); /* fits */
		for (char *c = buf; *c; c++)
			*c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
		return buf;
	}
	return m->in->running ? "the guest runs already: at its next start" : NULL;
}

static void plan_core(struct maker *m)
{
	const struct value *v = plan_wanted(m, KNOB_CPU_CORE_SCHED);
	const struct setting *was = plan_carried(m, KNOB_CPU_CORE_SCHED);
	char buf[256];
	const char *why;

	if (!v || (was && streq(v->text, was->value)))
		return;
	if (streq(v->text, "no") && !was)
		return; /* as it is without us */
	why = why_no_cookie(m, buf, sizeof(buf));
	if (why)
		plan_skip(m, KNOB_CPU_CORE_SCHED, "", why);
	else
		m->failed |= plan_add_setting(m->p, knob_table[KNOB_CPU_CORE_SCHED].name, "", STAGE_EXEC, v->text,
					      source_of(v, "default"),
					      "a core's threads run this guest only, or something else only") < 0;
}

void plan_schedulers(struct maker *m)
{
	plan_scheduler(m);
	plan_core(m);
}

/* --- what the host lacks ---------------------------------------------------------------------------------------- */

/* "no isolcpus, nohz_full for CPUs 4-7" */
static void lack_arguments(struct sbuf *b, const struct cpu_facts *f, const struct idset *cpus)
{
	const struct {
		const char *name;
		const struct idset *has;
	} arguments[] = { { "isolcpus", &f->isolated }, { "nohz_full", &f->nohz_full }, { "rcu_nocbs", &f->nocbs } };
	_cleanup_free_ char *list = idset_text(cpus);

	for (size_t i = 0; i < ARRAY_SIZE(arguments); i++)
		if (!idset_is_subset(cpus, arguments[i].has))
			sbuf_addf(b, "%s%s", b->len ? ", " : "no ", arguments[i].name);
	if (!list)
		b->failed = true;
	else if (b->len)
		sbuf_addf(b, " at boot for CPUs %s", list);
}

static void lack(struct sbuf *b, bool lacks, const char *what)
{
	if (lacks)
		sbuf_addf(b, "%s%s", b->len ? "; " : "", what);
}

/* Whether the plan sets something so, in whatever stage. */
static bool sets(const struct plan *p, enum knob_id id, const char *value)
{
	for (size_t i = 0; i < p->n_settings; i++)
		if (streq(p->settings[i].knob, knob_table[id].name) && streq(p->settings[i].value, value))
			return true;
	return false;
}

/* Once a plan, in one sentence: it is read by people, and a start does not depend on it. */
void plan_realtime_advice(struct maker *m)
{
	const struct placement *pl = &m->p->placement;
	const struct cpu_facts *f = m->in->cpus;
	const struct domain *d = m->in->domain;
	bool is_locked = sets(m->p, KNOB_MEM_LOCK, "yes") || (d->has & DOMAIN_HAS_LOCKED) || pl->page_size > 0;
	bool is_merged = !sets(m->p, KNOB_MEM_MERGE, "no") && !(d->has & DOMAIN_HAS_NOSHAREPAGES) && pl->page_size == 0;
	_cleanup_sbuf_ struct sbuf b = { 0 };
	struct idset cpus = IDSET_EMPTY;

	if (is_locked && (d->has & DOMAIN_BALLOON_SHRINKS))
		msgs_advise(&m->p->warnings,
			    "its memory is locked, but the balloon gives pages back on its own (autodeflate, "
			    "freePageReporting): they are missing until the guest touches them again");
	for (unsigned int i = 0; i < pl->n_vcpus; i++)
		idset_or(&cpus, &pl->vcpus[i].cpus);
	if (!f || !f->rt_known || (!sets(m->p, KNOB_CPU_SCHEDULER, "fifo") && !sets(m->p, KNOB_CPU_SCHEDULER, "rr")))
		return;
	lack_arguments(&b, f, &cpus);
	lack(&b, !f->preempts, "the kernel is not PREEMPT_RT");
	lack(&b, f->swaps && !is_locked, "there is swap, and its memory is not locked");
	lack(&b, f->merges && is_merged, "KSM runs, and may merge its memory");
	lack(&b, d->has & DOMAIN_HAS_BALLOON, "it has a balloon (<memballoon model='none'/>)");
	if (b.len)
		msgs_advise(&m->p->warnings, "the host or the guest is not made for realtime: %s", b.s);
	m->failed |= b.failed;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the host says about states of its CPUs and about real-time scheduling, for plan_cpu_state.c and plan_rt.c. Read
 * only as far as something is asked for that depends on it; what cannot be read is not known, and then not objected to.
 */
#pragma once

#include "host.h"
#include "intent.h"

/* A kernel thread of one CPU that runs at a real-time priority and serves whoever is on that CPU. */
struct cpu_kthread {
	unsigned int cpu, priority;
	char name[16]; /* "rcuc", "ktimers", "ksoftirqd" */
};

struct cpu_facts {
	/* cpufreq: admin-guide/pm/cpufreq.rst. policy[CPU] is the number of the CPU's policy, -1: it has none. */
	int *policy;
	unsigned int n_policy;    /* entries of both arrays */
	char (*governor)[32];     /* in force, by the policy's number; NULL: not looked at */
	char driver[32];
	char governors[256];      /* names that can be chosen, "" not known */
	char preferences[256];    /* likewise of energy_performance_preference, "": there is none */
	bool has_wakeup;          /* CPUs have pm_qos_resume_latency_us */
	bool has_halt_poll;       /* kvm.halt_poll_ns */

	/* Real-time scheduling. */
	bool rt_known;            /* the following were looked at */
	bool throttles;           /* real-time threads are not given all of a CPU: kernel.sched_rt_runtime_us; or not known */
	unsigned int left;        /* percent of a CPU that is left to others then; 0 not known */
	struct idset unserved;    /* CPUs without a fair server (Linux 6.12, which has these in place of that) */
	struct idset isolated, nohz_full, nocbs; /* boot arguments */
	bool preempts;            /* PREEMPT_RT */
	bool swaps, merges;       /* there is swap; KSM is running */
	struct cpu_kthread *kthreads; unsigned int n_kthreads; /* the lowest priority of each CPU */

	char sched_core[16];      /* of libvirt's qemu.conf: "none" or what it is set to; "": not looked at */
};

/* Whether anything is asked for that needs these. */
bool cpu_facts_are_asked(const struct intent *in);
/* 0 or -ENOMEM. */
int cpu_facts_read(const struct hostfs *fs, const struct intent *in, const struct host *h, struct cpu_facts *ret);
void cpu_facts_fini(struct cpu_facts *f);

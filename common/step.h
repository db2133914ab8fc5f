/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Steps: which host objects a setting is made of. One table (step.c) maps a setting's knob to rows of (back
 * end, object template, fold, what it resets); expansion needs the running domain's threads and groups, which
 * the caller has looked up, and is otherwise pure. Later issues add rows.
 */
#pragma once

#include "cgroup.h"
#include "fold.h"
#include "plan.h"

#define STEP_RUN_THREADS_MAX 8192

enum run_thread_kind { RUN_VCPU, RUN_IOTHREAD, RUN_EMULATOR };

struct run_thread {
	int tid;
	uint64_t start;              /* 0: not read, see run_find_groups() */
	enum run_thread_kind kind;
	unsigned int number; /* of the vCPU or I/O thread */
	struct cgroup_paths *groups; /* of this kind and number; shared between threads, owned by struct run */
	bool no_budget;      /* its group of v1 has no time for real-time threads, see run_read_budgets() */
	bool is_process; /* a thread of the kernel's own that works for the domain: a process by itself (run_worker.c) */
	bool is_fixed;   /* the kernel refuses it another affinity, its group moves it all the same; known with `start` */
};

/* A network device that the running QEMU holds open, and how many queues it has. */
struct run_tap {
	struct netdev_tap tap;
	unsigned int n_rxq, n_txq; /* 0: not known */
};

/* A thread of the kernel, as far as one may be moved: child of kthreadd, without PF_NO_SETAFFINITY. */
struct run_kthread {
	int tid;
	uint64_t start;
	bool is_ours;   /* it works for this guest */
};

/* A running domain, looked up from /run/libvirt/qemu/NAME.pid and /proc (run.c). */
struct run {
	int pid;
	uint64_t start;
	struct run_thread *threads; unsigned int n_threads;
	struct cgroup_paths **groups; unsigned int n_groups;
	struct run_tap *taps; unsigned int n_taps; /* see run_read_taps() */
	/* Who was there when they were listed, as one number, to see whether others have come since; see run_look(). */
	uint64_t tasks;
	char workers[1024 + 32];      /* the file that lists who else is in the emulator's group; "" it is not looked at */
	struct run_kthread *kthreads; unsigned int n_kthreads; /* see run_read_kthreads() */
	/* See cgroup_domain_group(); "" also where libvirt made no group for the domain: what its threads are in
	   then is somebody else's. */
	char domain_group[CGROUP_CONTROLLER_MAX][1024];
	char scope[1024];             /* systemd scope, "" none */
	struct cgroup_layout layout;
	unsigned int kernel;          /* as host.kernel */
	bool has_io_max;              /* the domain's own group has the io controller of v2 */
	bool has_exclusive;           /* and cpuset.cpus.exclusive */
	uint64_t period_us;           /* CPU bandwidth period of the domain's group; 100000 where it is not known */
};

/* -ESRCH: no pid file or no such process; -EINVAL: its threads cannot be told apart (no debug-threads). */
int run_find(const struct hostfs *fs, const char *name, struct run *ret, struct err *e);
/* The same without the start times of threads that can be told apart by their group: half of the files to be read. */
int run_find_groups(const struct hostfs *fs, const char *name, struct run *ret, struct err *e);
/* Read those that are missing; threads that have gone are left out. steps_need_starts() says if it is necessary. */
void run_read_starts(const struct hostfs *fs, struct run *r);
/*
 * Its network devices, if steps of this plan may be about them (steps_need_taps()). What cannot be read is not there.
 * starts: it has just been started, so that nothing was plugged in yet, which is cheaper to look up.
 */
void run_read_taps(const struct hostfs *fs, struct run *r, const struct plan *p, bool starts);
/*
 * Whether vCPU threads may be real-time ones, if steps of this plan make them so: with CONFIG_RT_GROUP_SCHED a group of
 * v1 has a budget of its own (cpu.rt_runtime_us), which is 0 in a new one, and then the kernel answers EPERM.
 */
void run_read_budgets(const struct hostfs *fs, struct run *r, const struct plan *p);
/* run.tasks as it is now: equal, unless a thread has come or gone. A list and a file are read, no thread is. */
int run_look(const struct hostfs *fs, int pid, const char *workers, uint64_t *ret);
/*
 * The kernel's threads, if steps of this plan may be about them. Those of other guests (vhost, KVM's) are left out. One file
 * for each thread that the kernel has.
 */
void run_read_kthreads(const struct hostfs *fs, struct run *r, const struct plan *p);
/* All three of them. */
void run_read_more(const struct hostfs *fs, struct run *r, const struct plan *p, bool starts);
void run_fini(struct run *r);

struct step {
	const struct setting *setting; /* borrowed */
	const char *backend;
	char *object;
	char *value;          /* in the back end's spelling */
	enum fold fold;       /* FOLD_NONE: the domain's own object */
	const char *order;    /* with FOLD_STRONGEST */
	unsigned int group;   /* steps of one group belong together: the cause is first, its dependants follow */
	bool is_dependant;    /* the cause's write may reset it: original read before the cause is written,
	                         written after it; undo: cause, then dependants, then all are read once more */
	bool is_vital;        /* the setting's other objects do nothing without this one */
	const struct setting *needs; /* is made only if all objects of this setting are as they should be, or, of its own
	                                setting, those before it; NULL: none */
	bool restore_only;    /* a dependant that is to keep its present value (a thread affinity that a cpuset
	                         write would erase before Linux 6.2); value is "", what is written is the original;
	                         -EINVAL then means that the cause leaves nothing of it, which is no failure */
	bool insists;         /* of a shared object: claimed and written though it says already what it should; see
	                         step_tasks.c */
	bool all_or_none;     /* if one of the setting's steps fails or has no object, the others are taken back */
	const char *before;   /* what the object said before the process was started with what it says; NULL: as now */
	bool is_held;         /* shared: claimed also where the object says what it should already */
	char target[24];      /* what this object is, where a setting has many ("irq45"); "" the setting's own */
	bool follows;         /* restore_only, of a shared object: what the cause makes of it is not written over; the
	                         original comes back with the cause's */
};

/* As in records and messages. */
static inline const char *step_target(const struct step *s)
{
	return *s->target ? s->target : s->setting->target;
}

struct steps {
	struct step *s; unsigned int n;
	struct msgs warnings;
};

/* Whether a step of this plan may be about a network device of the running domain. */
bool steps_need_taps(const struct plan *p);
/* Whether a step of this plan may be about a thread of the kernel. */
bool steps_need_kthreads(const struct plan *p);
/*
 * The setting of the same target whose objects a setting is a part of: "interface.rate" has the class that ceil, burst
 * and priority are values of. NULL: it has its own objects only. It may have some beside those, as ceil does.
 */
const char *step_lead(const char *knob);
bool step_is_led(const char *knob); /* or leads others */
/* Whether a setting is about what another one's steps do: itself, or the one that leads it. */
bool step_is_about(const struct setting *of_step, const struct setting *s);

/* Whether a step of this plan may name a vCPU's or I/O thread: then their start times are needed. */
bool steps_need_starts(const struct plan *p, const struct run *run);
/*
 * Whether objects of a setting can come while the domain runs: threads that QEMU or the kernel makes when there is work
 * for them, vCPUs that are plugged in, queues that the guest's driver switches on, interrupts that it asks for.
 */
bool step_comes_late(const struct setting *s);
bool steps_come_late(const struct plan *p);
/* Which lists have to be looked at for them, beside that of threads. */
bool steps_watch_irqs(const struct plan *p);
bool steps_watch_queues(const struct plan *p);
/*
 * Expand the settings of one stage, shared objects first. run may be NULL (STAGE_PREPARE). Settings that find no object (no such
 * controller, thread gone) are added to p->skipped with the reason. Returns 0 or -ENOMEM.
 */
int steps_make(struct plan *p, enum stage stage, const struct run *run, struct steps *ret);
void steps_fini(struct steps *s);

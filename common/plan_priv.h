/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of plan.c share (plan_ask.c: from intent to request; plan_settle.c: from placement to settings). */
#pragma once

#include "plan.h"

#define SIZE_2M  (UINT64_C(2) << 20)
#define SIZE_1G  (UINT64_C(1) << 30)
#define WHY_SIZE 640 /* two reasons of the placement and a few words */

struct maker {
	const struct plan_inputs *in;
	struct plan *p;
	struct place_request q;
	struct place_cell cells[DOMAIN_CELLS_MAX]; /* what q.cells points to */
	bool suppressed[KNOB_ID_MAX]; /* skipped already, or not asked for */
	const char *not_bound;        /* the part of the definition for which strict became preferred; NULL: none */
	struct msgs impossible;       /* demands that are not met whatever the placement says */
	bool failed;                  /* out of memory */
};

/* plan.c */

/* The value of an attribute; NULL if it is absent or suppressed. Its word: "" then. */
const struct value *plan_wanted(const struct maker *m, enum knob_id id);
const char *plan_word(const struct maker *m, enum knob_id id);
void plan_skip(struct maker *m, enum knob_id id, const char *target, const char *why);
/* Why this version does nothing about an attribute; NULL: it does. */
const char *plan_not_yet(enum knob_id id);
/* A demand (not a wish: auto and preferred are content with less) that cannot be met. */
bool plan_is_demand(enum knob_id id, const char *value);
/* The setting of the exec stage that a running domain's process was started with; NULL: none. */
const struct setting *plan_carried(const struct maker *m, enum knob_id id);

/* plan_net.c */

/* Settings of interfaces: classes, steering, rings of uplinks. */
void plan_net(struct maker *m);

/*
 * plan_target.c: the value of an attribute for one disk (NULL: for one that is not there yet) or interface. NULL: nobody
 * asks for it.
 */
const struct value *plan_disk_value(const struct intent *in, enum knob_id id, const struct domain_disk *disk);
const struct value *plan_interface_value(const struct intent *in, enum knob_id id,
					 const struct domain_interface *interface);
/* What is asked for targets that the domain does not have, and what nothing of this version does. */
void plan_skip_targets(struct maker *m);

/* plan_queues.c: what the guest sees of them, for the definition. */
void plan_queues(struct maker *m);

/* plan_node.c: what the wrapper does to the block nodes of disks. */
void plan_nodes(struct maker *m);

/* plan_ask.c */
void plan_ask(struct maker *m);

/* plan_settle.c */
void plan_settle(struct maker *m);
/* The floater whose CPUs are those of QEMU's other threads; -1: they are the owner's, claimed, or not placed. */
int plan_floater_of_emulator(const struct maker *m);
/* Retune: what of the placement the process has for good is taken from its old plan. 0 or -ENOMEM. */
int plan_carry(struct maker *m);

/* plan_class.c: classes of service, after placement */
void plan_cache(struct maker *m);
void plan_bandwidth(struct maker *m); /* after plan_cache() */
/* plan_irq.c: where interrupts are not to be, and where those of its devices are to come. */
void plan_irq(struct maker *m);

/* plan_disk.c: settings of the devices behind the domain's disks, I/O priority */
void plan_disks(struct maker *m);

/* plan_rt.c: scheduling of vCPU threads, core scheduling; and, of the whole plan, what the host lacks for realtime */
void plan_schedulers(struct maker *m);
void plan_realtime_advice(struct maker *m);

/* plan_cpu_state.c: clock and sleep of claimed CPUs, KVM's polling */
void plan_cpu_states(struct maker *m);

/* plan_tasks.c: cpu.policy isolated: the host's own work leaves the domain's CPUs. */
void plan_tasks(struct maker *m);

/*
 * plan_isolate.c: CPUs of this domain and of the host, after placement.
 *
 * Everything that is kept off a guest's CPUs is planned from these: interrupts from `claimed` and `quiet` together, host
 * tasks from `quiet`, states of CPUs for `claimed`.
 */
struct plan_isolation {
	struct idset claimed;      /* the domain's own CPUs (dedicated, isolated); empty: it has none */
	struct idset quiet;        /* cpu.policy isolated: these and the rest of their cores, but for reserved CPUs, and for
	                              others' unless they keep them clear as well; else empty */
	struct idset housekeeping; /* online CPUs that no domain has claimed, without `quiet`: where host work can go */
	bool boot_cpu;             /* the lowest online CPU is one of them */
	bool whole_core;           /* and so is a whole core at least */
};
void plan_isolation(const struct maker *m, struct plan_isolation *ret);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between step.c (what a setting is made of) and step_place.c (where that is). */
#pragma once

#include "backend.h"
#include "step.h"

#define KERNEL_KEEPS_AFFINITY 602 /* 8f9ea86fdf99 "sched: Always preserve the user requested cpumask" */

struct expansion;

/* What becomes of the affinity of threads in a group whose CPUs are written. */
enum affinity { AFFINITY_NONE, AFFINITY_SET, AFFINITY_KEEP };

struct row {
	const char *knob;
	const char *target; /* "" none, "vcpu" and "iothread" with a number, "*" any text */
	enum stage stage;
	bool (*when)(const struct expansion *x);                         /* NULL: always */
	int (*place)(struct expansion *x);                               /* adds the steps; 0 or -ENOMEM */
	int (*value)(const struct expansion *x, char *buf, size_t size); /* 0, or -EINVAL: no such value */
	const char *name; /* control file, property, directory: what the place needs; with a device: "FILE KEY" */
	enum cgroup_which controller;
	enum affinity affinity;
	enum fold fold;
	const char *order;
};

struct expansion {
	struct plan *plan;
	const struct run *run; /* NULL: not running yet */
	const struct setting *setting;
	const struct row *row;
	char value[BACKEND_VALUE_MAX];
	struct steps *steps;
	unsigned int last_group;
	bool elsewhere; /* its steps are among those of another setting */
	char why[160]; /* why there is no object */
};

/* Places: add the steps of x->setting, with x->value; 0 or -ENOMEM. Without an object x->why says why. */
int step_at_target_group(struct expansion *x);
int step_at_domain_group(struct expansion *x);
int step_at_floating_groups(struct expansion *x);
int step_at_scope(struct expansion *x);
int step_at_ancestors(struct expansion *x);
int step_at_nothing(struct expansion *x);
int step_at_sysctl(struct expansion *x);
int step_at_scheduler(struct expansion *x);
int step_at_queue(struct expansion *x);
int step_at_threads(struct expansion *x);
int step_at_group_device(struct expansion *x);
int step_at_scope_device(struct expansion *x);

/* step_cpu.c */
int step_at_governor(struct expansion *x);
int step_at_energy(struct expansion *x);
int step_at_cpu(struct expansion *x);
int step_at_file(struct expansion *x); /* the row's name is its path */
int step_at_vcpu_threads(struct expansion *x);
/* "fifo:1": the policy, with the priority of the setting beside it. */
int step_sched_value(const struct expansion *x, char *buf, size_t size);

/* The first row of a knob; NULL: none. */
const struct row *step_find_row(const char *knob);
int step_at_trees(struct expansion *x);
int step_at_classes(struct expansion *x);
int step_at_flows(struct expansion *x);
int step_at_limit(struct expansion *x);
int step_at_queues(struct expansion *x);
int step_at_ring(struct expansion *x);
int step_at_class(struct expansion *x);
int step_at_class_threads(struct expansion *x);
int step_at_interrupts(struct expansion *x);
int step_at_device_interrupts(struct expansion *x);
/* step_tasks.c: the host's own work */
int step_at_host_group(struct expansion *x);
int step_at_mask(struct expansion *x);
int step_at_kthreads(struct expansion *x);
int step_at_own_kthreads(struct expansion *x);
int step_at_partition(struct expansion *x);

/* One more step of x->setting with the row's fold; *ret (may be NULL) is it. 0 or -ENOMEM. */
int step_add(struct expansion *x, const char *backend, const char *object, const char *value, struct step **ret);

/* Whether cpu.policy without a target is one write to the domain's own group; see there. */
bool step_whole_domain_floats(const struct expansion *x);
/* Whether the domain's own group is the scope itself: libvirt made none below it. */
bool step_domain_is_scope(const struct expansion *x);

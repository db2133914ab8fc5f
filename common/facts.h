/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What has to be known of the host for the plan of one domain, beside its CPUs and memory (host.h): everything that an
 * attribute of the intent depends on, and nothing else is looked at.
 */
#pragma once

#include "blockdev.h"
#include "cpu_facts.h"
#include "device.h"
#include "irq_facts.h"
#include "net_facts.h"
#include "plan.h"
#include "resctrl.h"
#include "tasks.h"

struct facts {
	struct netdev_facts nets;
	struct plan_nic nics[NETDEV_MAX]; /* of nets.devices, by index */
	struct device_nodes devices;
	struct blockdev_facts blocks;
	struct cpu_facts cpus;
	struct resctrl_facts resctrl;
	struct irq_facts irqs;
	struct tasks_facts tasks;
	bool has_nets, has_blocks, has_cpus, has_resctrl, has_irqs, has_tasks; /* were looked at */
};

/*
 * Reads sysfs, /proc and netlink, below fs's root; writes nothing. *ret is to be given to facts_fini() also after an error:
 * -ENOMEM, or one of the modules', each said in *e by what it was about.
 */
int facts_learn(const struct hostfs *fs, const struct domain *d, const struct intent *in, const struct host *h,
		struct facts *ret, struct err *e);
/* Let a plan be made of them. f must live as long as in. */
void facts_fill(const struct facts *f, struct plan_inputs *in);
void facts_fini(struct facts *f);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What of the host's interrupts a domain's plan needs: the devices it uses and how many vectors each has now. Uplinks of
 * its interfaces, controllers behind its disks, functions passed through to it. Read only where irq.policy asks for it.
 */
#pragma once

#include "domain.h"
#include "intent.h"
#include "irq.h"
#include "netdev.h"

#define IRQ_FACTS_MAX 64 /* devices of one domain */

enum irq_use { IRQ_USE_UPLINK, IRQ_USE_DISK, IRQ_USE_PASSED };

struct irq_fact {
	char name[IRQ_NAME_MAX]; /* as irq_find_device() knows it */
	enum irq_use use;
	unsigned int n;          /* vectors now; 0: none yet */
	unsigned int others;     /* further devices of the domain that are the same function's */
	int node;                /* -1 not known */
};

struct irq_facts {
	struct irq_fact d[IRQ_FACTS_MAX]; unsigned int n;
	unsigned int n_all;      /* interrupts of the host; 0: none are to be seen */
};

/* What irq.policy is for this intent: its word, or the one that cpu.policy isolated implies; "none". */
const char *irq_policy_of(const struct intent *in);

/* Only -ENOMEM is an error. */
int irq_facts_find(const struct hostfs *fs, const struct domain *d, const struct netdev_facts *nets,
		   struct irq_facts *ret);

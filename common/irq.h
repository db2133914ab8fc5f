/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Interrupts of the host as they are now: their numbers (/proc/irq), and which of them are a device's. Both change while
 * domains run (a driver is loaded, a guest's driver asks for vectors), so steps are made of what is there then.
 *
 * A device is named as the host has it: a network device ("eth0"), a disk or NVMe controller ("sda", "nvme0"), a PCI
 * function ("0000:01:00.0"). From its directory in sysfs the way is up to the PCI function, whose vectors are listed
 * (msi_irqs/; without them `irq`: Documentation/ABI/testing/sysfs-bus-pci). What hangs on no PCI bus is found by the
 * names of its handlers, which are directories of /proc/irq/N: "virtio1-req.0", "eth0-rx-0", "nvme0q1".
 */
#pragma once

#include "hostfs.h"

#define IRQ_MAX      65536 /* numbers above are no interrupt of any host that was seen: garbage of a root */
#define IRQ_NAME_MAX 64
#define IRQ_DIR      "proc/irq"
#define IRQ_DEFAULT  IRQ_DIR "/default_smp_affinity"

struct irq_set {
	unsigned int *irq; /* ascending */
	unsigned int n;
};

struct irq_device {
	char name[IRQ_NAME_MAX];
	struct irq_set set;
	uint64_t dev, ino; /* of the PCI function's directory: two disks of one controller have the same; 0: none was found */
	int node;          /* its NUMA node, -1 not known */
};

struct irq_list {
	struct irq_set all;
	struct irq_device *devices; unsigned int n_devices;
	char online[512];  /* CPUs, as a list; "" not known */
};

/* All interrupts that there are. 0, -ENOENT: nothing is known of interrupts here; -ENOMEM. */
int irq_find_all(const struct hostfs *fs, struct irq_set *ret);
/*
 * A device's. 0 also if it has none now; -ENOENT: there is no such device; -ENOMEM. *ret is to be given to
 * irq_device_fini() on success.
 */
int irq_find_device(const struct hostfs *fs, const char *name, struct irq_device *ret);
void irq_device_fini(struct irq_device *d);
bool irq_set_has(const struct irq_set *s, unsigned int irq);
void irq_list_free(struct irq_list *l);

/*
 * What a claim wants an interrupt to come to, of "TO!NOT" or "TO/ELSE!NOT" (fold.c): all of it. False: nothing, or no such
 * claim.
 */
bool irq_asked(const char *wanted, struct idset *ret);
/* Whether a value is nowhere there, though it asks for something. */
bool irq_is_kept_off(const char *wanted, const char *value);
/* What a claim on what new interrupts get, "!NOT", keeps clear; false: it is none. */
bool irq_kept_clear(const char *wanted, struct idset *ret);

/* The names of an interrupt's handlers, "a, b"; "" none: nobody has asked for it. */
void irq_names(const struct hostfs *fs, unsigned int irq, char *buf, size_t size);

struct plan;
/*
 * What this plan's steps about interrupts are made of, read now into plan.irqs; nothing is read where it has none. 0 or
 * -ENOMEM.
 */
int irq_refresh(const struct hostfs *fs, struct plan *p);

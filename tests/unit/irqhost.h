/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A host with interrupts, and domains that start and stop there with what irq.policy has planned for them. */
#pragma once

#include "apply_host.h"
#include "common/irq.h"

static inline const char *irq_file(unsigned int irq)
{
	static char path[64];

	(void)snprintf(path, sizeof(path), IRQ_DIR "/%u/smp_affinity_list", irq);
	return path;
}

static inline void put_irq(struct root *r, unsigned int irq, const char *cpus, const char *action)
{
	root_putf(r, irq_file(irq), "%s\n", cpus);
	if (!*action)
		return;
	{
		char dir[128];

		(void)snprintf(dir, sizeof(dir), IRQ_DIR "/%u/%s", irq, action);
		root_mkdir(r, dir);
	}
}

/* A PCI function with vectors first..first+n-1; class "net" or "block": that device of it, else only the function. */
static inline void put_function(struct root *r, const char *address, unsigned int first, unsigned int n, int node,
				const char *class_path)
{
	char path[256], target[256];

	(void)snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/numa_node", address);
	root_putf(r, path, "%d\n", node);
	(void)snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/irq", address);
	root_putf(r, path, "%u\n", n ? 0 : first);
	for (unsigned int i = 0; i < n; i++) {
		(void)snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/msi_irqs/%u", address, first + i);
		root_put(r, path, "msix\n");
	}
	if (!*class_path)
		return;
	root_mkdir(r, class_path);
	(void)snprintf(path, sizeof(path), "%s/device", class_path);
	(void)snprintf(target, sizeof(target), "/sys/bus/pci/devices/%s", address);
	if (symlinkat(target, r->fs.fd, path) < 0)
		TAP_FAIL("link %s", path);
}

/* As decide does: undo file and claim of a new start. policy: "avoid:2-5" or "local:0-1" of a target. */
struct want {
	const char *target, *value;
};

static inline void start_with(struct root *r, const char *uuid, const struct want *w, unsigned int n)
{
	struct ledger l = {0};
	struct plan p = {.id = -1};
	struct claim *c;
	int lock;

	IS_INT(ledger_make_dirs(&r->fs, NULL), 0);
	lock = ledger_lock(&r->fs, NULL);
	(void)snprintf(p.uuid, sizeof(p.uuid), "%s", uuid);
	p.name = strdup("guest");
	p.profile = strdup("latency");
	for (unsigned int i = 0; i < n; i++)
		IS_INT(plan_add_setting(&p, "irq.policy", w[i].target, STAGE_PREPARE, w[i].value, "profile x", "a test"), 0);
	IS_INT(ledger_read(&r->fs, &l, NULL), 0);
	ledger_remove(&l, uuid);
	c = ledger_add(&l, uuid, "guest");
	IS_INT(undo_create(&r->fs, &p, c->generation, NULL), 0);
	IS_INT(ledger_write(&r->fs, &l, NULL), 0);
	ledger_fini(&l);
	plan_fini(&p);
	close(lock);
}

/* As `apply prepare` does. */
static inline struct apply_count prepare(struct root *r, const char *uuid)
{
	struct apply_count count = {0};
	struct steps steps = {0};
	struct undo u;

	IS_INT(undo_open(&r->fs, uuid, true, &u, NULL), 0);
	IS_INT(irq_refresh(&r->fs, &u.plan), 0);
	IS_INT(steps_make(&u.plan, STAGE_PREPARE, NULL, &steps), 0);
	IS_INT(apply_steps(&r->fs, &u, &steps, &count), 0);
	steps_fini(&steps);
	undo_fini(&u);
	return count;
}

#define START(r, uuid, ...)                                                                                            \
	(start_with(r, uuid, (struct want[]){__VA_ARGS__}, sizeof((struct want[]){__VA_ARGS__}) / sizeof(struct want)), \
	 prepare(r, uuid))

/* What is recorded as skipped of a domain: "TARGET: WHY", the n-th. */
static inline const char *skipped_of(struct root *r, const char *uuid, size_t n)
{
	static char text[1024];
	struct undo u;

	IS_INT(undo_open(&r->fs, uuid, false, &u, NULL), 0);
	(void)snprintf(text, sizeof(text), "%s", "(none)");
	if (n < u.plan.n_skipped)
		(void)snprintf(text, sizeof(text), "%s: %s", u.plan.skipped[n].target, u.plan.skipped[n].why);
	undo_fini(&u);
	return text;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Queues of disks and interfaces. The guest sees them, and a saved image or a migration stream with another number is
 * refused, so they are planned only, for the definition (stage definition): nothing here comes into force by itself.
 *
 * auto is one queue for each vCPU, since more of them than CPUs that use them only cost memory and vectors; of an
 * interface no more than AUTO_MAX, as each queue pair takes a vhost thread and three vectors, and guests with many lost
 * their network (KubeVirt, CNV-16107). QEMU has given disks on virtio-blk-pci one for each vCPU by itself since 5.2
 * (hw/virtio/virtio-pci.c, virtio_pci_optimal_num_queues()).
 */
#include "plan_priv.h"

#include <inttypes.h>

#define AUTO_MAX 8

struct queues {
	struct maker *m;
	enum knob_id id;
	const char *target;
	uint64_t most; /* for auto */
	bool is_virtio, is_said;
	const char *what; /* "its bus scsi", for messages: why it has no such number */
};

static void settle(const struct queues *q, const struct value *v)
{
	char value[24], why[192];
	uint64_t n = streq(v->text, "auto") ? q->most : v->num;

	if (q->is_said) {
		plan_skip(q->m, q->id, q->target, "the definition has <driver queues>");
		return;
	}
	if (!q->is_virtio) {
		(void)snprintf(why, sizeof(why), "%.60s has no number of queues", q->what); /* cut is fine */
		plan_skip(q->m, q->id, q->target, why);
		return;
	}
	(void)snprintf(value, sizeof(value), "%" PRIu64, n); /* fits */
	(void)snprintf(why, sizeof(why), "%s; the guest sees it: for the definition, nothing is done in this version",
		       n > q->m->in->domain->vcpus_max ? "more than its vCPUs can use" : "one for each vCPU at most"); /* fits */
	q->m->failed |= plan_add_setting(q->m->p, knob_table[q->id].name, q->target, STAGE_DEFINITION, value,
					 v->source ? v->source : "default", why) < 0;
}

static uint64_t at_most(uint64_t n, uint64_t most)
{
	return n < most ? n : most;
}

static void settle_disk(struct maker *m, const struct domain_disk *k)
{
	const struct value *v = plan_disk_value(m->in->intent, KNOB_DISK_QUEUES, k);
	char what[80];
	const struct queues q = {
		.m = m,
		.id = KNOB_DISK_QUEUES,
		.target = k->target,
		.most = at_most(m->in->domain->vcpus_max, knob_table[KNOB_DISK_QUEUES].max),
		.is_virtio = k->bus && streq(k->bus, "virtio"),
		.is_said = k->has & DISK_HAS_QUEUES,
		.what = what,
	};

	(void)snprintf(what, sizeof(what), "a disk on bus %.40s", k->bus && *k->bus ? k->bus : "?"); /* cut is fine */
	if (v)
		settle(&q, v);
}

static void settle_interface(struct maker *m, const struct domain_interface *i)
{
	const struct value *v = plan_interface_value(m->in->intent, KNOB_NET_QUEUES, i);
	char what[80];
	const struct queues q = {
		.m = m,
		.id = KNOB_NET_QUEUES,
		.target = i->mac,
		.most = at_most(m->in->domain->vcpus_max, AUTO_MAX),
		.is_virtio = i->model && str_starts(i->model, "virtio"),
		.is_said = i->has & INTERFACE_HAS_QUEUES,
		.what = what,
	};

	(void)snprintf(what, sizeof(what), "model %.40s", i->model && *i->model ? i->model : "?"); /* cut is fine */
	if (v)
		settle(&q, v);
}

void plan_queues(struct maker *m)
{
	const struct domain *d = m->in->domain;

	for (unsigned int i = 0; i < d->n_disks; i++)
		settle_disk(m, &d->disks[i]);
	for (unsigned int i = 0; i < d->n_interfaces; i++)
		settle_interface(m, &d->interfaces[i]);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Interfaces: from attributes to the steering of taps, to rings, and, in plan_net_rate.c, to classes on the uplinks. Pure.
 */
#include "plan_net_priv.h"

#include <inttypes.h>

static const enum knob_id ring_knobs[] = {KNOB_NET_RX_RING, KNOB_NET_TX_RING};

/* ---- what is asked ---- */

/* "52:54:00:12:34:56": it becomes part of objects. */
static bool is_mac(const char *text)
{
	if (strlen(text) != 17)
		return false;
	for (unsigned int i = 0; i < 17; i++)
		if (i % 3 == 2 ? text[i] != ':' : !strchr("0123456789abcdef", text[i]))
			return false;
	return true;
}

/* A MAC address stands for one interface. */
static bool is_repeated(const struct maker *m, const struct domain_interface *itf)
{
	for (const struct domain_interface *other = m->in->domain->interfaces; other < itf; other++)
		if (streq(other->mac, itf->mac))
			return true;
	return false;
}

/* Why nothing of this interface can be shared out or steered on this host. NULL: it can. */
const char *plan_net_why_not_ours(const struct maker *m, const struct domain_interface *itf, char *buf, size_t size)
{
	char shown[KNOB_SHOW_SIZE];

	if (itf->kind == DOMAIN_INTERFACE_HOSTDEV)
		return "it is passed through: its packets do not pass the host";
	if (itf->kind == DOMAIN_INTERFACE_OTHER) {
		(void)snprintf(buf, size, "type='%s' has no host device that packets pass",
			       knob_show(itf->type, shown)); /* fits */
		return buf;
	}
	if (!is_mac(itf->mac))
		return "its MAC address is not known: libvirt gives it one when it is defined";
	return is_repeated(m, itf) ? "another interface of the domain has its MAC address" : NULL;
}

const char *plan_net_source(const struct value *v)
{
	return v->source ? v->source : "default";
}

/* ---- steering ---- */

/* CPUs that serve the domain beside its vCPUs: where QEMU's other threads are. False: why says what there is none of.
 */
static bool serving_cpus(const struct maker *m, struct idset *ret, const char **why)
{
	const struct placement *pl = &m->p->placement;

	*ret = idset_is_empty(&pl->emulator) ? m->in->domain->emulatorpin : pl->emulator;
	idset_and(ret, &m->in->host->online);
	for (unsigned int i = 0; i < pl->n_vcpus && pl->policy >= PLACE_DEDICATED; i++)
		idset_andnot(ret, &pl->vcpus[i].cpus);
	*why = pl->policy == PLACE_NONE ? "nothing is placed with cpu policy none, so that it has no node"
					: "no CPU serves it beside its own";
	return !idset_is_empty(ret) && pl->policy != PLACE_NONE;
}

static const char *why_no_steering(const struct maker *m, const struct domain_interface *itf,
				   const struct netdev_interface *where, char *buf, size_t size)
{
	const char *why = plan_net_why_not_ours(m, itf, buf, size);
	bool direct = itf->kind == DOMAIN_INTERFACE_DIRECT || (where && where->way == NETDEV_DIRECT);

	return !why && direct ? "packets of a macvtap pass no receive queue of its own" : why;
}

static void settle_steering(struct maker *m, const struct domain_interface *itf, const struct netdev_interface *where,
			    const char *target)
{
	const struct value *v = plan_interface_value(m->in->intent, KNOB_NET_STEERING, itf);
	_cleanup_free_ char *list = NULL;
	struct idset cpus;
	const char *why;
	char buf[160];

	if (!v || streq(v->text, "none"))
		return;
	why = why_no_steering(m, itf, where, buf, sizeof(buf));
	if (why || !serving_cpus(m, &cpus, &why)) {
		plan_skip(m, KNOB_NET_STEERING, target, why);
		return;
	}
	list = idset_text(&cpus);
	if (!list ||
	    plan_add_setting(m->p, knob_table[KNOB_NET_STEERING].name, target, STAGE_STARTED, list, plan_net_source(v),
			     "its tap's packets are handled where QEMU's other threads run (RPS, and XPS if it "
			     "has several queues); vhost workers run with these threads anyway") < 0) {
		m->failed = true;
		return;
	}
	/* Where those CPUs are shared ones, they move with the pool; what a pin leaves of itself does not. */
	if (idset_equal(&cpus, &m->p->placement.emulator))
		m->p->settings[m->p->n_settings - 1].floater = plan_floater_of_emulator(m);
}

/* ---- rings ---- */

struct ring {
	const struct value *v; /* the largest wish; NULL: none */
	uint64_t frames;       /* of it, before the maximum is looked at */
};

/* `max` is what the device allows. */
static void want_ring(struct ring *r, const struct value *v)
{
	uint64_t frames = streq(v->text, "max") ? UINT64_MAX : v->num;

	if (r->v && r->frames >= frames)
		return;
	r->v = v;
	r->frames = frames;
}

static void settle_ring(struct maker *m, enum knob_id id, unsigned int at, const struct ring *r)
{
	const struct netdev *dev = &m->in->nets->devices[at];
	const struct plan_nic *nic = m->in->nics ? &m->in->nics[at] : NULL;
	unsigned int now = !nic ? 0 : id == KNOB_NET_RX_RING ? nic->rx : nic->tx;
	unsigned int max = !nic ? 0 : id == KNOB_NET_RX_RING ? nic->rx_max : nic->tx_max;
	uint64_t frames = r->frames < max ? r->frames : max;
	char value[24], why[192], asked[40] = "";

	if (max == 0) {
		(void)snprintf(why, sizeof(why), "%s has no such ring that can be set", dev->name); /* fits */
		plan_skip(m, id, dev->name, why);
		return;
	}
	if (r->frames > max && r->frames != UINT64_MAX)
		(void)snprintf(asked, sizeof(asked), "%" PRIu64 " asked, ", r->frames); /* fits */
	if (now >= frames)
		(void)snprintf(why, sizeof(why), "%sit has %u of at most %u already: nothing is written", asked, now,
			       max); /* fits */
	else
		(void)snprintf(why, sizeof(why),
			       "%sat most %u; now %u, and the change drops the link for a moment on many NICs", asked,
			       max, now);                         /* fits */
	(void)snprintf(value, sizeof(value), "%" PRIu64, frames); /* fits */
	m->failed |= !plan_add_uplink(m->p, dev->name, dev->ifindex) ||
		     plan_add_setting(m->p, knob_table[id].name, dev->name, STAGE_PREPARE, value,
				      r->frames > max && r->frames != UINT64_MAX ? "limit" : plan_net_source(r->v), why) < 0;
}

/* What an entry of `skipped` calls it, if it has no MAC address yet. */
static const char *name_of(const struct domain_interface *itf, char shown[KNOB_SHOW_SIZE])
{
	return knob_show(is_mac(itf->mac) || !*itf->alias ? itf->mac : itf->alias, shown);
}

static const char *why_no_rings(const struct maker *m, unsigned int i, char *buf, size_t size)
{
	const struct netdev_facts *nets = m->in->nets;
	const char *why = plan_net_why_not_ours(m, &m->in->domain->interfaces[i], buf, size);

	if (why)
		return why;
	if (!nets || i >= nets->n_interfaces)
		return "the host's network devices were not looked at";
	if (nets->interfaces[i].n > 0)
		return NULL;
	return *nets->interfaces[i].why ? nets->interfaces[i].why : "no uplink of it is known";
}

static void settle_rings(struct maker *m, enum knob_id id)
{
	struct ring rings[NETDEV_MAX] = {{NULL, 0}};
	const struct domain *d = m->in->domain;
	char buf[160], shown[KNOB_SHOW_SIZE];

	for (unsigned int i = 0; i < d->n_interfaces; i++) {
		const struct value *v = plan_interface_value(m->in->intent, id, &d->interfaces[i]);
		const char *why = v ? why_no_rings(m, i, buf, sizeof(buf)) : NULL;

		if (why)
			plan_skip(m, id, name_of(&d->interfaces[i], shown), why);
		for (unsigned int k = 0; v && !why && k < m->in->nets->interfaces[i].n; k++)
			if (m->in->nets->interfaces[i].uplinks[k] < m->in->nets->n_devices)
				want_ring(&rings[m->in->nets->interfaces[i].uplinks[k]], v);
	}
	for (unsigned int at = 0; at < NETDEV_MAX; at++)
		if (rings[at].v)
			settle_ring(m, id, at, &rings[at]);
}

void plan_net(struct maker *m)
{
	const struct domain *d = m->in->domain;
	const struct netdev_facts *nets = m->in->nets;
	char shown[KNOB_SHOW_SIZE];

	for (unsigned int i = 0; i < d->n_interfaces; i++) {
		const struct domain_interface *itf = &d->interfaces[i];
		const struct netdev_interface *where = nets && i < nets->n_interfaces ? &nets->interfaces[i] : NULL;
		const char *target = name_of(itf, shown);

		plan_net_class(m, itf, where, target);
		settle_steering(m, itf, where, target);
	}
	for (size_t k = 0; k < ARRAY_SIZE(ring_knobs); k++)
		settle_rings(m, ring_knobs[k]);
}

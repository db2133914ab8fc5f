/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "facts.h"

struct learner {
	const struct hostfs *fs;
	const struct domain *domain;
	const struct intent *intent;
	const struct host *host;
	struct facts *f;
};

static bool asks_nets(const struct learner *l)
{
	return intent_names(l->intent, KNOB_ELEMENT_INTERFACE);
}

static bool asks_blocks(const struct learner *l)
{
	return intent_asks_disks(l->intent);
}

static bool asks_cpus(const struct learner *l)
{
	return cpu_facts_are_asked(l->intent);
}

static bool asks_class(const struct learner *l)
{
	return intent_asks_class(l->intent);
}

static bool asks_irqs(const struct learner *l)
{
	return !streq(irq_policy_of(l->intent), "none");
}

static bool asks_tasks(const struct learner *l)
{
	return intent_asks_isolation(l->intent);
}

static int learn_nets(const struct learner *l)
{
	net_facts_read(l->fs, &l->f->nets, l->f->nics);
	l->f->has_nets = true;
	return 0;
}

static int learn_blocks(const struct learner *l)
{
	int r = blockdev_find(l->fs, l->domain, &l->f->blocks);

	l->f->has_blocks = r >= 0;
	return r;
}

static int learn_cpus(const struct learner *l)
{
	int r = cpu_facts_read(l->fs, l->intent, l->host, &l->f->cpus);

	l->f->has_cpus = r >= 0;
	return r;
}

static int learn_class(const struct learner *l)
{
	int r = resctrl_read(l->fs, l->host, &l->f->resctrl);

	l->f->has_resctrl = r >= 0;
	return r;
}

static int learn_irqs(const struct learner *l)
{
	int r = irq_facts_find(l->fs, l->domain, &l->f->nets, &l->f->irqs);

	l->f->has_irqs = r >= 0;
	return r;
}

static int learn_tasks(const struct learner *l)
{
	int r = tasks_read(l->fs, l->domain, &l->f->tasks);

	l->f->has_tasks = r >= 0;
	return r;
}

static const struct {
	const char *what; /* for messages */
	bool (*asks)(const struct learner *l);
	int (*learn)(const struct learner *l);
} kinds[] = {
	{"interfaces", asks_nets, learn_nets},
	{"CPUs", asks_cpus, learn_cpus},
	{"classes of service", asks_class, learn_class},
	{"interrupts", asks_irqs, learn_irqs},
	{"host tasks", asks_tasks, learn_tasks},
	{"disks", asks_blocks, learn_blocks},
};

int facts_learn(const struct hostfs *fs, const struct domain *d, const struct intent *in, const struct host *h,
		struct facts *ret, struct err *e)
{
	const struct learner l = {fs, d, in, h, ret};
	int r;

	memset(ret, 0, sizeof(*ret));
	/* Whatever is asked for: a guest is placed where its devices are. */
	r = netdev_find(fs, d, &ret->nets);
	if (r < 0)
		return err_set(e, -r, "interfaces: %s", err_name(-r));
	device_nodes_find(fs, d, &ret->nets, &ret->devices);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		r = kinds[i].asks(&l) ? kinds[i].learn(&l) : 0;
		if (r < 0)
			return err_set(e, -r, "%s: %s", kinds[i].what, err_name(-r));
	}
	return 0;
}

void facts_fill(const struct facts *f, struct plan_inputs *in)
{
	in->devices = f->devices.d;
	in->n_devices = f->devices.n;
	in->nets = f->has_nets ? &f->nets : NULL;
	in->nics = f->has_nets ? f->nics : NULL;
	in->blocks = f->has_blocks ? &f->blocks : NULL;
	in->cpus = f->has_cpus ? &f->cpus : NULL;
	in->resctrl = f->has_resctrl ? &f->resctrl : NULL;
	in->tasks = f->has_tasks ? &f->tasks : NULL;
	in->irqs = f->has_irqs ? &f->irqs : NULL;
}

void facts_fini(struct facts *f)
{
	cpu_facts_fini(&f->cpus);
	blockdev_fini(&f->blocks);
	resctrl_fini(&f->resctrl);
	netdev_fini(&f->nets);
}

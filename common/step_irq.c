/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the objects of irq.policy are: each interrupt that there is now (plan.irqs), what new ones get, and what irqbalance
 * is told. Settings are "avoid:SET" of the domain and "local:SET" of each device it uses; an interrupt has one claim of
 * the domain, "TO!NOT" (FOLD_IRQ), so that a device's setting speaks for the other one too. The domain's own serving CPUs
 * (an emulator that is isolated) are among those that all others' interrupts leave, and where its devices' come to.
 */
#include "irq.h"
#include "step_priv.h"

static const char *list_of(const struct setting *s, const char *prefix)
{
	return str_starts(s->value, prefix) ? s->value + strlen(prefix) : "";
}

static const struct setting *policy_setting(const struct plan *p, const char *target)
{
	for (size_t i = 0; i < p->n_settings; i++)
		if (streq(p->settings[i].knob, "irq.policy") && streq(p->settings[i].target, target))
			return &p->settings[i];
	return NULL;
}

static bool is_of_device(const struct irq_list *l, unsigned int irq, unsigned int n_devices)
{
	for (unsigned int i = 0; i < n_devices; i++)
		if (irq_set_has(&l->devices[i].set, irq))
			return true;
	return false;
}

static int add_object(struct expansion *x, const char *backend, const char *object, const char *target,
		      const char *value, struct step **ret)
{
	struct step *s;
	int r = step_add(x, backend, object, value, &s);

	if (r < 0)
		return r;
	(void)stpncpy(s->target, target, sizeof(s->target) - 1); /* fits: ours */
	s->order = x->plan->irqs->online;
	*ret = s;
	return 0;
}

/* Irqbalance is told the union of what domains want (be_irqbalance.c). */
static int add_told(struct expansion *x, const char *what, const char *value)
{
	struct step *s;
	char target[24];
	int r;

	(void)snprintf(target, sizeof(target), "irqbalance-%s", what); /* fits: two words */
	r = add_object(x, "irqbalance", what, target, value, &s);

	if (r < 0)
		return r;
	s->fold = FOLD_UNION;
	s->order = NULL;
	s->is_held = true;
	return 0;
}

/* Where in buf it is. Of a thousand interrupts snprintf() would be most of what their steps cost. */
static const char *number_text(unsigned int n, char buf[12])
{
	char *at = buf + 11;

	*at = '\0';
	do
		*--at = (char)('0' + n % 10);
	while (n /= 10);
	return at;
}

/* is_held: others' wishes are added to this one, also where it is there already. */
static int add_interrupt(struct expansion *x, unsigned int irq, const char *value, bool is_held)
{
	char object[64], target[24], digits[12];
	const char *number;
	struct step *s;
	int r;

	number = number_text(irq, digits);
	(void)stpcpy(stpcpy(stpcpy(object, IRQ_DIR "/"), number), "/smp_affinity_list"); /* ten digits fit */
	(void)stpcpy(stpcpy(target, "irq"), number);
	r = add_object(x, "irq", object, target, value, &s);

	if (r == 0)
		s->is_held = is_held;
	return r;
}

static bool has_interrupts(struct expansion *x)
{
	const struct irq_list *l = x->plan->irqs;

	if (l && l->all.n)
		return true;
	(void)snprintf(x->why, sizeof(x->why), "%s", l ? "there are no interrupts to be seen (/proc/irq)" : "interrupts were not looked at"); /* fits */
	return false;
}

int step_at_interrupts(struct expansion *x)
{
	const struct irq_list *l = x->plan->irqs;
	const char *list = list_of(x->setting, x->row->name);
	char value[BACKEND_VALUE_MAX + 1];
	struct step *s;
	int r;

	if (!has_interrupts(x) || !*list)
		return 0;
	(void)snprintf(value, sizeof(value), "!%s", list); /* a list has less */
	r = add_told(x, "cpus", list);
	if (r == 0)
		r = add_object(x, "irq", IRQ_DEFAULT, "default", value, &s);
	if (r < 0)
		return r;
	s->is_held = true; /* by it all others know what this domain keeps clear (apply_irq.c) */
	for (unsigned int i = 0; i < l->all.n && r == 0; i++)
		if (!is_of_device(l, l->all.irq[i], l->n_devices))
			r = add_interrupt(x, l->all.irq[i], value, false);
	return r;
}

/* All that the plan's devices have, once. */
static int tell_placed(struct expansion *x)
{
	const struct irq_list *l = x->plan->irqs;
	struct idset irqs = IDSET_EMPTY;
	_cleanup_free_ char *text = NULL;

	for (unsigned int i = 0; i < l->n_devices; i++)
		for (unsigned int k = 0; k < l->devices[i].set.n; k++)
			idset_add(&irqs, l->devices[i].set.irq[k]); /* above IDSET_MAX: irqbalance may move it */
	text = idset_text(&irqs);
	if (!text)
		return -ENOMEM;
	return *text ? add_told(x, "irqs", text) : 0;
}

static unsigned int index_of(const struct irq_list *l, const char *name)
{
	unsigned int i = 0;

	while (i < l->n_devices && !streq(l->devices[i].name, name))
		i++;
	return i;
}

/*
 * One queue per CPU where there are enough, and if another domain keeps interrupts off that one, any of them; else the kernel
 * chooses, which balances vectors (kernel/irq/matrix.c).
 */
static int queue_value(const struct idset *to, const char *list, unsigned int n, int *cpu, const char *not, char *buf,
		       size_t size)
{
	int len;

	if (idset_count(to) < n) {
		len = snprintf(buf, size, "%s!%s", list, not);
	} else {
		*cpu = idset_next(to, *cpu);
		len = snprintf(buf, size, "%d/%s!%s", *cpu, list, not);
	}
	return len < 0 || (size_t)len >= size ? -ENOMEM : 0;
}

int step_at_device_interrupts(struct expansion *x)
{
	const struct irq_list *l = x->plan->irqs;
	const char *list = list_of(x->setting, x->row->name);
	const struct setting *avoid = policy_setting(x->plan, "");
	_cleanup_free_ char *not = NULL, *value = malloc(3 * BACKEND_VALUE_MAX);
	const struct irq_device *d;
	struct idset to, off = IDSET_EMPTY;
	unsigned int at, n = 0;
	int r = 0, cpu = -1;

	if (!value)
		return -ENOMEM;
	if (!has_interrupts(x) || idset_parse(list, &to) < 0)
		return 0;
	at = index_of(l, x->setting->target);
	if (at == l->n_devices) {
		(void)snprintf(x->why, sizeof(x->why), "there is no such device now"); /* fits */
		return 0;
	}
	d = &l->devices[at];
	x->elsewhere = true; /* vectors may come later, or be another device's as well */
	if (avoid && idset_parse(list_of(avoid, "avoid:"), &off) == 0)
		idset_andnot(&off, &to);
	not = idset_text(&off);
	if (!not)
		return -ENOMEM;
	for (unsigned int i = 0; i < d->set.n; i++)
		n += !is_of_device(l, d->set.irq[i], at);
	for (unsigned int i = 0; i < d->set.n && r == 0; i++) {
		if (is_of_device(l, d->set.irq[i], at))
			continue;
		r = queue_value(&to, list, n, &cpu, not, value, 3 * BACKEND_VALUE_MAX);
		if (r == 0)
			r = add_interrupt(x, d->set.irq[i], value, true);
	}
	return r == 0 && at == 0 ? tell_placed(x) : r;
}

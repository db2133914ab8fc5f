/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A plan as a thing: adding to it, and its end. Apart from plan.c so that `apply` can read a plan without being linked to
 * what makes one.
 */
#include "plan.h"

#include "irq.h"

static void setting_fini(struct setting *s)
{
	free(s->knob);
	free(s->target);
	free(s->value);
	free(s->current);
	free(s->source);
	free(s->why);
}

static void skipped_fini(struct skipped *s)
{
	free(s->knob);
	free(s->target);
	free(s->why);
}

static void disk_fini(struct plan_disk *k)
{
	free(k->target);
	free(k->alias);
	free(k->path);
}

void plan_fini(struct plan *p)
{
	for (size_t i = 0; i < p->n_settings; i++)
		setting_fini(&p->settings[i]);
	for (size_t i = 0; i < p->n_skipped; i++)
		skipped_fini(&p->skipped[i]);
	for (size_t i = 0; i < p->n_block; i++)
		free(p->block[i].name);
	irq_list_free(p->irqs);
	free(p->settings);
	free(p->skipped);
	free(p->block);
	free(p->uplinks);
	free(p->links);
	for (size_t i = 0; i < p->n_disks; i++)
		disk_fini(&p->disks[i]);
	free(p->disks);
	free(p->name);
	free(p->profile);
	free(p->refused);
	free(p->wrapper.emulator);
	placement_fini(&p->placement);
	msgs_fini(&p->warnings);
	memset(p, 0, sizeof(*p));
}

size_t plan_n_acting(const struct plan *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_settings; i++)
		n += p->settings[i].stage != STAGE_DEFINITION;
	return n;
}

bool plan_is_empty(const struct plan *p)
{
	return plan_n_acting(p) == 0 && p->placement.n_pages == 0 && idset_is_empty(&p->placement.claimed);
}

int plan_add_setting(struct plan *p, const char *knob, const char *target, enum stage stage, const char *value,
		     const char *source, const char *why)
{
	struct setting *grown = reallocarray(p->settings, p->n_settings + 1, sizeof(*grown));
	struct setting *s;

	if (!grown)
		return -ENOMEM;
	p->settings = grown;
	s = &grown[p->n_settings];
	*s = (struct setting){
		.knob = strdup(knob),
		.target = strdup(target),
		.stage = stage,
		.value = strdup(value),
		.current = strdup(""),
		.source = strdup(source),
		.why = strdup(why),
		.floater = -1,
	};
	if (!s->knob || !s->target || !s->value || !s->current || !s->source || !s->why) {
		setting_fini(s);
		return -ENOMEM;
	}
	p->n_settings++;
	return 0;
}

const struct plan_device *plan_find_block(const struct plan *p, const char *name)
{
	for (size_t i = 0; i < p->n_block; i++)
		if (streq(p->block[i].name, name))
			return &p->block[i];
	return NULL;
}

int plan_add_block(struct plan *p, const char *name, unsigned int major, unsigned int minor, bool bfq)
{
	struct plan_device *grown, d = { .major = major, .minor = minor, .bfq = bfq };

	if (plan_find_block(p, name))
		return 0;
	grown = reallocarray(p->block, p->n_block + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	p->block = grown;
	d.name = strdup(name);
	if (!d.name)
		return -ENOMEM;
	grown[p->n_block++] = d;
	return 0;
}

int plan_add_skipped(struct plan *p, const char *knob, const char *target, const char *why)
{
	struct skipped *grown = reallocarray(p->skipped, p->n_skipped + 1, sizeof(*grown));
	struct skipped *s;

	if (!grown)
		return -ENOMEM;
	p->skipped = grown;
	s = &grown[p->n_skipped];
	*s = (struct skipped){ .knob = strdup(knob), .target = strdup(target), .why = strdup(why) };
	if (!s->knob || !s->target || !s->why) {
		skipped_fini(s);
		return -ENOMEM;
	}
	p->n_skipped++;
	return 0;
}

void plan_drop_skipped(struct plan *p, const char *knob, const char *target)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_skipped; i++)
		if (streq(p->skipped[i].knob, knob) && streq(p->skipped[i].target, target))
			skipped_fini(&p->skipped[i]);
		else
			p->skipped[n++] = p->skipped[i];
	p->n_skipped = n;
}

int plan_add_link(struct plan *p, const struct plan_link *link)
{
	struct plan_link *grown = reallocarray(p->links, p->n_links + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	p->links = grown;
	grown[p->n_links++] = *link;
	return 0;
}

const struct plan_uplink *plan_find_uplink(const struct plan *p, const char *name)
{
	for (unsigned int i = 0; i < p->n_uplinks; i++)
		if (streq(p->uplinks[i].name, name))
			return &p->uplinks[i];
	return NULL;
}

struct plan_uplink *plan_add_uplink(struct plan *p, const char *name, unsigned int ifindex)
{
	const struct plan_uplink *known = plan_find_uplink(p, name);
	struct plan_uplink *grown, *u;

	if (known)
		return &p->uplinks[known - p->uplinks];
	grown = reallocarray(p->uplinks, p->n_uplinks + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	p->uplinks = grown;
	u = &grown[p->n_uplinks++];
	*u = (struct plan_uplink){ .ifindex = ifindex };
	(void)snprintf(u->name, sizeof(u->name), "%s", name); /* a device's name */
	return u;
}

int plan_add_disk(struct plan *p, const char *target, const char *alias, const char *path)
{
	struct plan_disk *grown = reallocarray(p->disks, p->n_disks + 1, sizeof(*grown));
	struct plan_disk *k;

	if (!grown)
		return -ENOMEM;
	p->disks = grown;
	k = &grown[p->n_disks];
	*k = (struct plan_disk){.target = strdup(target), .alias = strdup(alias), .path = strdup(path)};
	if (!k->target || !k->alias || !k->path) {
		disk_fini(k);
		return -ENOMEM;
	}
	p->n_disks++;
	return 0;
}

const struct plan_disk *plan_find_disk(const struct plan *p, const char *target)
{
	for (size_t i = 0; i < p->n_disks; i++)
		if (streq(p->disks[i].target, target))
			return &p->disks[i];
	return NULL;
}

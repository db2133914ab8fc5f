/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The reason for a place, in words: what of the cost made it this one, as far as the host leaves a choice there. */
#include "place_search_priv.h"

#include <stdarg.h>

struct clause {
	char *buf;
	size_t size, len;
	bool full;
};

/* One more item of the list; the list ends before the first one that does not fit. */
PRINTF(2, 3)
static void item(struct clause *c, const char *fmt, ...)
{
	const char *comma = c->len > 0 ? ", " : "";
	char text[128];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->full |= c->len + strlen(comma) + strlen(text) >= c->size;
	if (!c->full)
		c->len += (size_t)snprintf(c->buf + c->len, c->size - c->len, "%s%s", comma, text);
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* What no node alone has. */
static const char *why_several(const struct search *s)
{
	unsigned int vcpus = 0;
	uint64_t units = 0;
	bool cpus = false, memory = false;

	for (unsigned int i = 0; i < s->n_parts; i++) {
		vcpus += s->parts[i].vcpus;
		units += s->parts[i].units;
	}
	for (unsigned int i = 0; i < s->h->n_nodes; i++) {
		struct idset free = s->h->nodes[i].cpus;

		idset_and(&free, &s->free);
		cpus |= place_search_capacity(s, &free) >= vcpus;
		memory |= !s->room || s->room[i] >= units;
	}
	if (cpus && memory)
		return "both its CPUs and its memory";
	return cpus ? "its memory" : "its CPUs";
}

static void say_nodes(struct clause *c, const struct search *s, const struct search_result *r)
{
	unsigned int n = idset_count(&r->nodes);
	bool choice = s->h->n_nodes > 1;

	if (n == 0)
		item(c, "no node is known for these CPUs");
	else if (n == 1)
		item(c, choice ? "one node is enough" : "the only node");
	else if (s->n_parts > 1)
		item(c, "%u guest cells on %u nodes, each whole", s->n_parts, n);
	else
		item(c, "%u nodes, none has room for %s", n, why_several(s));
	if (!choice || n == 0)
		return;
	if (!idset_is_empty(&s->anchor))
		item(c, "%s %s", idset_is_subset(&s->anchor, &r->nodes) ? "with" : "the nearest to",
		     s->anchor_is_pins ? "its pinned vCPUs" : "its memory");
	if (!idset_is_empty(&s->devices))
		item(c,
		     idset_is_subset(&s->devices, &r->nodes) ? "where its devices are" : "the nearest to its devices");
	if (n > 1 && n < s->h->n_nodes)
		item(c, "near each other");
	if (r->cost.v[COST_GROW] > 0)
		item(c, "%llu page%s to be added", (unsigned long long)r->cost.v[COST_GROW],
		     plural(r->cost.v[COST_GROW]));
	if (s->floating && !idset_is_empty(&s->current) && r->cost.v[COST_MOVED] == 0)
		item(c, "where it is");
	else if (s->floating && s->load && n < s->h->n_nodes)
		item(c, r->cost.v[COST_CROWD] > 0 ? "the least loaded" : "with a CPU for each vCPU");
}

struct choices {
	bool l3, die, cache, kind, smt;
};

/* What differs on this host. */
static struct choices choices_of(const struct host *h)
{
	struct choices has = {.smt = h->n_cores<h->n_cpus, .kind = h->n_kinds> 1};

	for (unsigned int i = 1; i < h->n_cpus; i++) {
		const struct host_cpu *a = &h->cpus[0], *b = &h->cpus[i];

		has.l3 |= a->l3 != b->l3;
		has.die |= a->die != b->die;
		has.cache |= a->l3_size > 0 && b->l3_size > 0 && a->l3_size != b->l3_size;
	}
	return has;
}

static void say_cpus(struct clause *c, const struct search *s, const struct search_result *r)
{
	const uint64_t *v = r->cost.v;
	struct choices has = choices_of(s->h);

	if (has.kind && v[COST_KINDS] > 0)
		item(c, "no kind of core has enough");
	else if (has.kind)
		item(c, v[COST_SLOWER] == 0 ? "fast cores" : "cores of one kind");
	if (has.l3 && v[COST_L3] > 0)
		item(c, v[COST_L3] == 1 ? "one L3 group" : "%llu L3 groups", (unsigned long long)v[COST_L3]);
	if (has.die && v[COST_DIES] > 1)
		item(c, "%llu dies", (unsigned long long)v[COST_DIES]);
	if (has.cache)
		item(c, v[COST_CACHE] == 0 ? "the large cache" : "%llu vCPU%s without the large cache",
		     (unsigned long long)v[COST_CACHE], plural(v[COST_CACHE]));
	/* With `isolate` that is the rule anyway. */
	has.smt &= s->threads != PLACE_THREADS_ISOLATE;
	if (has.smt && v[COST_SHARED] == 0)
		item(c, "whole cores");
	else if (has.smt && v[COST_SHARED] == idset_count(&r->cpus))
		item(c, "on cores that others use too");
	else if (has.smt)
		item(c, "whole cores but for %llu vCPU%s", (unsigned long long)v[COST_SHARED], plural(v[COST_SHARED]));
	if (has.smt && s->guest_threads > 1 && v[COST_TORN] == 0)
		item(c, "guest cores on host cores");
	if (!idset_is_empty(&s->current) && v[COST_MOVED] == 0)
		item(c, "where it is");
}

void place_search_why_nodes(const struct search *s, const struct search_result *r, char *buf, size_t size)
{
	struct clause c = {.buf = buf, .size = size};

	if (size > 0)
		buf[0] = '\0';
	say_nodes(&c, s, r);
}

void place_search_why_cpus(const struct search *s, const struct search_result *r, char *buf, size_t size)
{
	struct clause c = {.buf = buf, .size = size};

	if (size > 0)
		buf[0] = '\0';
	if (!s->floating && !idset_is_empty(&r->cpus))
		say_cpus(&c, s, r);
}

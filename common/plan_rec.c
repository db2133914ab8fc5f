/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A plan's records in undo/UUID, and its claim in the ledger. Apart from plan.c so that `apply` can read a plan without being
 * linked to what makes one.
 *
 * Records, each complete in itself, so that a line that is lost costs what it says and nothing else:
 *
 *   plan      uuid, name, id, profile, its source, fail, observe, wrapper?, emulator, QEMU, bytes of RAM, refused
 *   place     policy, memory policy, page size, THP?, vCPUs
 *   cpus      which set, list                 nodes, memory_nodes, emulator, claimed
 *   why       of what, clause
 *   vcpu      first, last, list               neighbours with the same CPUs are one record
 *   iothread  id, list
 *   pages     node, size, count, of them to be added
 *   float     now, home, limit, vCPUs                       in order: settings refer to them
 *   cell      guest cell, host nodes of its memory, page size
 *   uplink    name, ifindex, bit/s, of them for the rest, MTU
 *   link      MAC, uplink, way, class, rate, ceil, burst, priority, mark, mask, limit
 *   set       knob, target, stage, value, current, source, why, floater or ""
 *   disk      target, alias, path               of those with settings of the exec stage
 *   skip      knob, target, why
 *   block     name, major, minor, bfq?                      a device that settings of the started stage are about
 *   warn      text
 */
#include "plan.h"

#include <inttypes.h>

#include "resctrl.h"

#define VCPUS_MAX     DOMAIN_VCPUS_MAX
#define IOTHREADS_MAX DOMAIN_IOTHREADS_MAX
#define FLOATERS_MAX  DOMAIN_CELLS_MAX
#define NUMBER_MAX    24

_Static_assert(sizeof(((struct claim_link *)0)->device) == NETDEV_NAME, "the ledger repeats the length of names");

const char *stage_name(enum stage s)
{
	static const char *const names[] = {
		[STAGE_PREPARE] = "prepare",
		[STAGE_EXEC] = "exec",
		[STAGE_STARTED] = "started",
		[STAGE_DEFINITION] = "definition",
	};

	return (size_t)s < ARRAY_SIZE(names) ? names[s] : "definition";
}

/* writing */

static const char *number(char buf[NUMBER_MAX], uint64_t n)
{
	(void)snprintf(buf, NUMBER_MAX, "%" PRIu64, n); /* 20 digits fit */
	return buf;
}

static const char *flag(bool b)
{
	return b ? "1" : "0";
}

static void put_set(struct sbuf *b, const char *which, const struct idset *s)
{
	_cleanup_free_ char *list = idset_text(s);

	if (!list)
		b->failed = true;
	else if (*list)
		record_add(b, "cpus", which, list, NULL);
}

static void put_why(struct sbuf *b, const char *which, const char *text)
{
	if (*text)
		record_add(b, "why", which, text, NULL);
}

static void put_vcpus(struct sbuf *b, const struct placement *pl)
{
	char first[NUMBER_MAX], last[NUMBER_MAX];

	for (unsigned int i = 0, to; i < pl->n_vcpus; i = to + 1) {
		_cleanup_free_ char *list = idset_text(&pl->vcpus[i].cpus);

		for (to = i; to + 1 < pl->n_vcpus && idset_equal(&pl->vcpus[to + 1].cpus, &pl->vcpus[i].cpus);)
			to++;
		if (!list)
			b->failed = true;
		else
			record_add(b, "vcpu", number(first, i), number(last, to), list, NULL);
	}
}

static void put_floater(struct sbuf *b, const struct place_floater *f)
{
	_cleanup_free_ char *now = idset_text(&f->now), *home = idset_text(&f->home), *limit = idset_text(&f->limit);
	char vcpus[NUMBER_MAX];

	if (!now || !home || !limit)
		b->failed = true;
	else
		record_add(b, "float", now, home, limit, number(vcpus, f->vcpus), NULL);
}

static void put_cell(struct sbuf *b, const struct placed_cell *cell)
{
	_cleanup_free_ char *nodes = idset_text(&cell->nodes);
	char id[NUMBER_MAX], size[NUMBER_MAX];

	if (!nodes)
		b->failed = true;
	else
		record_add(b, "cell", number(id, cell->id), nodes, number(size, cell->page_size), NULL);
}

static void put_placement(struct sbuf *b, const struct placement *pl)
{
	char n1[NUMBER_MAX], n2[NUMBER_MAX], n3[NUMBER_MAX], n4[NUMBER_MAX];

	record_add(b, "place", place_policy_name(pl->policy), place_memory_name(pl->memory_policy),
		   number(n1, pl->page_size), flag(pl->thp), number(n2, pl->n_vcpus), NULL);
	put_set(b, "nodes", &pl->nodes);
	put_set(b, "memory_nodes", &pl->memory_nodes);
	put_set(b, "emulator", &pl->emulator);
	put_set(b, "claimed", &pl->claimed);
	put_why(b, "cpus", pl->why_cpus);
	put_why(b, "nodes", pl->why_nodes);
	put_why(b, "pages", pl->why_pages);
	put_why(b, "emulator", pl->why_emulator);
	put_why(b, "iothreads", pl->why_iothreads);
	put_vcpus(b, pl);
	for (unsigned int i = 0; i < pl->n_iothreads; i++) {
		_cleanup_free_ char *list = idset_text(&pl->iothreads[i].cpus);

		if (!list)
			b->failed = true;
		else
			record_add(b, "iothread", number(n1, pl->iothreads[i].id), list, NULL);
	}
	for (unsigned int i = 0; i < pl->n_pages; i++)
		record_add(b, "pages", number(n1, (uint64_t)pl->pages[i].node), number(n2, pl->pages[i].size),
			   number(n3, pl->pages[i].count), number(n4, pl->pages[i].grow), NULL);
	for (unsigned int i = 0; i < pl->n_floaters; i++)
		put_floater(b, &pl->floaters[i]);
	for (unsigned int i = 0; i < pl->n_cells; i++)
		put_cell(b, &pl->cells[i]);
}

static void put_block(struct sbuf *b, const struct plan_device *d)
{
	char major[NUMBER_MAX], minor[NUMBER_MAX];

	record_add(b, "block", d->name, number(major, d->major), number(minor, d->minor), flag(d->bfq), NULL);
}

static void put_uplink(struct sbuf *b, const struct plan_uplink *u)
{
	char n1[NUMBER_MAX], n2[NUMBER_MAX], n3[NUMBER_MAX], n4[NUMBER_MAX];

	record_add(b, "uplink", u->name, number(n1, u->ifindex), number(n2, u->link), number(n3, u->rest),
		   number(n4, u->mtu), NULL);
}

static void put_link(struct sbuf *b, const struct plan_link *l)
{
	char n[9][NUMBER_MAX];

	record_add(b, "link", l->mac, l->uplink, number(n[0], l->way), number(n[1], l->number), number(n[2], l->rate),
		   number(n[3], l->ceil), number(n[4], l->burst), number(n[5], l->priority), number(n[6], l->mark),
		   number(n[7], l->mask), number(n[8], l->limit), NULL);
}

void plan_put_records(const struct plan *p, struct sbuf *b)
{
	char id[NUMBER_MAX], source[NUMBER_MAX], qemu[NUMBER_MAX], memory[NUMBER_MAX];

	record_add(b, "plan", p->uuid, p->name ? p->name : "", p->id < 0 ? "" : number(id, (uint64_t)p->id),
		   p->profile ? p->profile : "", number(source, p->profile_source), flag(p->fail), flag(p->observe),
		   flag(p->wrapper.present), p->wrapper.emulator ? p->wrapper.emulator : "",
		   number(qemu, p->wrapper.qemu), number(memory, p->memory), p->refused ? p->refused : "", NULL);
	put_placement(b, &p->placement);
	for (unsigned int i = 0; i < p->n_uplinks; i++)
		put_uplink(b, &p->uplinks[i]);
	for (unsigned int i = 0; i < p->n_links; i++)
		put_link(b, &p->links[i]);
	for (size_t i = 0; i < p->n_settings; i++) {
		const struct setting *s = &p->settings[i];

		record_add(b, "set", s->knob, s->target, stage_name(s->stage), s->value, s->current, s->source, s->why,
			   s->floater < 0 ? "" : number(id, (uint64_t)s->floater), NULL);
	}
	for (size_t i = 0; i < p->n_disks; i++)
		record_add(b, "disk", p->disks[i].target, p->disks[i].alias, p->disks[i].path, NULL);
	for (size_t i = 0; i < p->n_skipped; i++)
		record_add(b, "skip", p->skipped[i].knob, p->skipped[i].target, p->skipped[i].why, NULL);
	for (size_t i = 0; i < p->n_block; i++)
		put_block(b, &p->block[i]);
	for (size_t i = 0; i < p->warnings.n; i++)
		record_add(b, "warn", p->warnings.m[i].text, NULL);
}

/* reading: what is out of range is left out, the file was complete when it was written */

static bool is_set(const struct record *r, unsigned int i)
{
	return streq(record_str(r, i), "1");
}

static int replace_text(char **to, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(*to);
	*to = copy;
	return 0;
}

/* The number of a word in a table of names by number; `max` if it is none of them. */
static unsigned int word_number(const char *word, const char *(*name)(unsigned int), unsigned int max)
{
	unsigned int i = 0;

	while (i < max && !streq(word, name(i)))
		i++;
	return i;
}

static const char *nth_stage(unsigned int i)
{
	return stage_name((enum stage)i);
}

static const char *nth_policy(unsigned int i)
{
	return place_policy_name((enum place_policy)i);
}

static const char *nth_memory(unsigned int i)
{
	return place_memory_name((enum place_memory)i);
}

static int take_plan(struct plan *p, const struct record *r)
{
	uint64_t id = record_u64(r, 3, UINT64_MAX), source = record_u64(r, 5, PROFILE_NONE);

	(void)snprintf(p->uuid, sizeof(p->uuid), "%s", record_str(r, 1)); /* a longer one is none of ours */
	p->id = id > INT32_MAX ? -1 : (int)id;
	p->profile_source = source <= PROFILE_NONE ? (enum profile_source)source : PROFILE_NONE;
	p->fail = is_set(r, 6);
	p->observe = is_set(r, 7);
	p->wrapper.present = is_set(r, 8);
	p->wrapper.qemu = (unsigned int)record_u64(r, 10, 0);
	p->memory = record_u64(r, 11, 0);
	if (replace_text(&p->name, record_str(r, 2)) || replace_text(&p->profile, record_str(r, 4)) ||
	    replace_text(&p->wrapper.emulator, record_str(r, 9)))
		return -ENOMEM;
	return *record_str(r, 12) ? replace_text(&p->refused, record_str(r, 12)) : 0;
}

static int take_place(struct plan *p, const struct record *r)
{
	struct placement *pl = &p->placement;
	uint64_t n = record_u64(r, 5, 0);
	unsigned int policy = word_number(record_str(r, 1), nth_policy, PLACE_ISOLATED + 1);
	unsigned int memory = word_number(record_str(r, 2), nth_memory, PLACE_MEMORY_INTERLEAVE + 1);

	pl->policy = policy <= PLACE_ISOLATED ? (enum place_policy)policy : PLACE_NONE;
	pl->memory_policy = memory <= PLACE_MEMORY_INTERLEAVE ? (enum place_memory)memory : PLACE_MEMORY_NONE;
	pl->page_size = record_u64(r, 3, 0);
	pl->thp = is_set(r, 4);
	if (pl->vcpus || n == 0 || n > VCPUS_MAX)
		return 0;
	pl->vcpus = calloc(n, sizeof(*pl->vcpus));
	if (!pl->vcpus)
		return -ENOMEM;
	pl->n_vcpus = (unsigned int)n;
	return 0;
}

static int take_cpus(struct plan *p, const struct record *r)
{
	const struct {
		const char *which;
		struct idset *set;
	} sets[] = {
		{ "nodes", &p->placement.nodes },
		{ "memory_nodes", &p->placement.memory_nodes },
		{ "emulator", &p->placement.emulator },
		{ "claimed", &p->placement.claimed },
	};
	struct idset set;

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		if (streq(record_str(r, 1), sets[i].which) && idset_parse(record_str(r, 2), &set) == 0)
			*sets[i].set = set;
	return 0;
}

static int take_why(struct plan *p, const struct record *r)
{
	const struct {
		const char *which;
		char *text;
	} whys[] = {
		{ "cpus", p->placement.why_cpus },
		{ "nodes", p->placement.why_nodes },
		{ "pages", p->placement.why_pages },
		{ "emulator", p->placement.why_emulator },
		{ "iothreads", p->placement.why_iothreads },
	};

	for (size_t i = 0; i < ARRAY_SIZE(whys); i++)
		if (streq(record_str(r, 1), whys[i].which))
			(void)snprintf(whys[i].text, sizeof(p->placement.why_cpus), "%s",
				       record_str(r, 2)); /* was cut so */
	return 0;
}

static int take_vcpu(struct plan *p, const struct record *r)
{
	uint64_t first = record_u64(r, 1, UINT64_MAX), last = record_u64(r, 2, 0);
	struct idset set;

	if (idset_parse(record_str(r, 3), &set))
		return 0;
	for (uint64_t i = first; i <= last && i < p->placement.n_vcpus; i++)
		p->placement.vcpus[i].cpus = set;
	return 0;
}

static int take_iothread(struct plan *p, const struct record *r)
{
	struct placement *pl = &p->placement;
	uint64_t id = record_u64(r, 1, UINT64_MAX);
	struct place_thread *grown;
	struct idset set;

	if (id > UINT32_MAX || pl->n_iothreads >= IOTHREADS_MAX)
		return 0;
	if (idset_parse(record_str(r, 2), &set))
		set = IDSET_EMPTY; /* untouched */
	grown = reallocarray(pl->iothreads, pl->n_iothreads + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	pl->iothreads = grown;
	grown[pl->n_iothreads++] = (struct place_thread){ .id = (unsigned int)id, .cpus = set };
	return 0;
}

static int take_pages(struct plan *p, const struct record *r)
{
	struct placement *pl = &p->placement;
	uint64_t node = record_u64(r, 1, UINT64_MAX);
	struct claim_pages *grown;

	if (node >= IDSET_MAX)
		return 0;
	grown = reallocarray(pl->pages, pl->n_pages + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	pl->pages = grown;
	grown[pl->n_pages++] = (struct claim_pages){
		.node = (int)node,
		.size = record_u64(r, 2, 0),
		.count = record_u64(r, 3, 0),
		.grow = record_u64(r, 4, 0),
	};
	return 0;
}

static int take_floater(struct plan *p, const struct record *r)
{
	struct placement *pl = &p->placement;
	struct place_floater *grown, *f;
	struct idset *sets[3];
	uint64_t vcpus = record_u64(r, 4, 0);

	if (pl->n_floaters >= FLOATERS_MAX)
		return 0;
	grown = reallocarray(pl->floaters, pl->n_floaters + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	pl->floaters = grown;
	f = &grown[pl->n_floaters++]; /* settings refer to it by index: one that is damaged has empty sets */
	sets[0] = &f->now;
	sets[1] = &f->home;
	sets[2] = &f->limit;
	for (unsigned int i = 0; i < ARRAY_SIZE(sets); i++)
		if (idset_parse(record_str(r, i + 1), sets[i]))
			*sets[i] = IDSET_EMPTY;
	f->vcpus = vcpus <= VCPUS_MAX ? (unsigned int)vcpus : 0;
	return 0;
}

static int take_cell(struct plan *p, const struct record *r)
{
	struct placement *pl = &p->placement;
	uint64_t id = record_u64(r, 1, UINT64_MAX);
	struct placed_cell *grown;
	struct idset nodes;

	if (id > UINT32_MAX || pl->n_cells >= DOMAIN_CELLS_MAX || idset_parse(record_str(r, 2), &nodes))
		return 0;
	grown = reallocarray(pl->cells, pl->n_cells + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	pl->cells = grown;
	grown[pl->n_cells++] = (struct placed_cell){
		.id = (unsigned int)id,
		.nodes = nodes,
		.page_size = record_u64(r, 3, 0),
	};
	return 0;
}

static int take_uplink(struct plan *p, const struct record *r)
{
	uint64_t ifindex = record_u64(r, 2, 0);
	struct plan_uplink *u;

	if (strlen(record_str(r, 1)) >= sizeof(u->name) || ifindex == 0 || ifindex > INT32_MAX ||
	    p->n_uplinks >= NETDEV_MAX)
		return 0;
	u = plan_add_uplink(p, record_str(r, 1), (unsigned int)ifindex);
	if (!u)
		return -ENOMEM;
	u->link = record_u64(r, 3, 0);
	u->rest = record_u64(r, 4, 0);
	u->mtu = (unsigned int)record_u64(r, 5, 0) & INT32_MAX;
	return 0;
}

static int take_link(struct plan *p, const struct record *r)
{
	uint64_t way = record_u64(r, 3, NETDEV_NONE), number = record_u64(r, 4, 0);
	struct plan_link l = {
		.way = way <= NETDEV_DIRECT ? (enum netdev_way)way : NETDEV_NONE,
		.rate = record_u64(r, 5, 0),
		.ceil = record_u64(r, 6, 0),
		.burst = record_u64(r, 7, 0),
		.priority = (unsigned int)record_u64(r, 8, 0),
		.mark = (uint32_t)record_u64(r, 9, 0),
		.mask = (uint32_t)record_u64(r, 10, 0),
		.limit = record_u64(r, 11, 0),
	};

	if (strlen(record_str(r, 1)) >= sizeof(l.mac) || strlen(record_str(r, 2)) >= sizeof(l.uplink) ||
	    (number == 0 ? *record_str(r, 2) || l.limit == 0 : number < PLAN_CLASS_MIN) || number > PLAN_CLASS_MAX ||
	    p->n_links >= CLAIM_LINKS_MAX)
		return 0;
	(void)snprintf(l.mac, sizeof(l.mac), "%s", record_str(r, 1)); /* fits */
	(void)snprintf(l.uplink, sizeof(l.uplink), "%s", record_str(r, 2)); /* fits */
	l.number = (unsigned int)number;
	return plan_add_link(p, &l);
}

static int take_setting(struct plan *p, const struct record *r)
{
	unsigned int stage = word_number(record_str(r, 3), nth_stage, STAGE_DEFINITION + 1);
	uint64_t floater = record_u64(r, 8, UINT64_MAX);
	struct setting *s;
	char *current = strdup(record_str(r, 5));
	int rc = current ? plan_add_setting(p, record_str(r, 1), record_str(r, 2),
					    stage <= STAGE_DEFINITION ? (enum stage)stage : STAGE_DEFINITION, record_str(r, 4),
					    record_str(r, 6), record_str(r, 7))
			 : -ENOMEM;

	if (rc < 0) {
		free(current);
		return rc;
	}
	s = &p->settings[p->n_settings - 1];
	free(s->current);
	s->current = current;
	s->floater = floater < FLOATERS_MAX ? (int)floater : -1;
	return 0;
}

static int take_skipped(struct plan *p, const struct record *r)
{
	return plan_add_skipped(p, record_str(r, 1), record_str(r, 2), record_str(r, 3));
}

static int take_block(struct plan *p, const struct record *r)
{
	uint64_t major = record_u64(r, 2, UINT64_MAX), minor = record_u64(r, 3, UINT64_MAX);

	if (!*record_str(r, 1) || major > UINT32_MAX || minor > UINT32_MAX)
		return 0;
	return plan_add_block(p, record_str(r, 1), (unsigned int)major, (unsigned int)minor, is_set(r, 4));
}

static int take_disk(struct plan *p, const struct record *r)
{
	return p->n_disks <= DOMAIN_DISKS_MAX /* and "*" */
		       ? plan_add_disk(p, record_str(r, 1), record_str(r, 2), record_str(r, 3))
		       : 0;
}

static int take_warning(struct plan *p, const struct record *r)
{
	msgs_warn(&p->warnings, "%s", record_str(r, 1));
	return p->warnings.failed ? -ENOMEM : 0;
}

int plan_take_record(struct plan *p, const struct record *r)
{
	static const struct {
		const char *type;
		int (*take)(struct plan *p, const struct record *r);
	} types[] = {
		{ "plan", take_plan },    { "place", take_place },  { "cpus", take_cpus },
		{ "why", take_why },      { "vcpu", take_vcpu },    { "pages", take_pages },
		{ "set", take_setting },  { "skip", take_skipped }, { "iothread", take_iothread },
		{ "warn", take_warning }, { "float", take_floater }, { "cell", take_cell },
		{ "block", take_block },
		{ "uplink", take_uplink }, { "link", take_link },
		{ "disk", take_disk },
	};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (streq(record_str(r, 0), types[i].type))
			return types[i].take(p, r) ? -ENOMEM : 1;
	return 0;
}

/* Code and data of a cache are one claim. */
int plan_fill_class(const struct plan *p, struct claim *c)
{
	for (size_t i = 0; i < p->n_settings; i++) {
		const struct setting *s = &p->settings[i];
		struct resctrl_item item = {.id = 0};
		const char *pos = s->value;

		if (s->stage != STAGE_PREPARE || !(streq(s->knob, "cpu.cache") || streq(s->knob, "memory.bandwidth")))
			continue;
		c->has_class = true;
		while (resctrl_next(&pos, &item) > 0)
			if (resctrl_is_cache(item.resource) &&
			    claim_add_ways(c, item.id, resctrl_bits(item.value)) == -ENOMEM)
				return -ENOMEM;
	}
	return 0;
}

int plan_fill_claim(const struct plan *p, struct ledger *l, struct claim *c)
{
	const struct placement *pl = &p->placement;

	c->cpus = ledger_set(l, &pl->claimed);
	if (!c->cpus)
		return -ENOMEM;
	for (unsigned int i = 0; i < pl->n_floaters; i++) {
		const struct place_floater *f = &pl->floaters[i];

		if (claim_add_floater(l, c, &f->now, &f->home, &f->limit, f->vcpus))
			return -ENOMEM;
	}
	for (unsigned int i = 0; i < pl->n_pages; i++) {
		if (claim_add_pages(c, pl->pages[i].node, pl->pages[i].size, pl->pages[i].count))
			return -ENOMEM;
		c->pages[c->n_pages - 1].grow = pl->pages[i].grow; /* a node and size is there once */
	}
	for (unsigned int i = 0; i < p->n_links; i++) {
		struct claim_link link = { .number = p->links[i].number, .rate = p->links[i].rate,
					   .mark = p->links[i].mark };

		if (!link.number)
			continue; /* nothing that others have to know of */
		memcpy(link.device, p->links[i].uplink, sizeof(link.device));
		if (claim_add_link(c, &link))
			return -ENOMEM;
	}
	return plan_fill_class(p, c);
}

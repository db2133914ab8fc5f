/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of a domain XML that come in numbers: vCPU list, I/O threads, pins, guest cells, huge pages.
 * An entry that libvirt would not have printed (no id, a list that is none) is left out; of two for the same
 * thread the first counts. Room grows by doubling and only up to the caps of domain.h.
 */
#include "domain_priv.h"
#include "xml.h"

void *domain_grow(void *array, unsigned int n, size_t size)
{
	if (n & (n - 1)) /* neither 0 nor a power of two: there still is room */
		return array;
	return reallocarray(array, n ? 2 * (size_t)n : 1, size);
}

int domain_on_vcpus(struct domain *d, const xmlNode *n, struct err *e)
{
	uint64_t id;

	(void)e;
	for (const xmlNode *v = xml_child(n, NULL, "vcpu"); v; v = xml_next(v, NULL, "vcpu"))
		if (domain_attr_is(v, "enabled", "yes") && d->vcpus_max &&
		    domain_attr_number(v, "id", d->vcpus_max - 1, &id) == 0)
			idset_add(&d->vcpus_online, (unsigned int)id);
	return 0;
}

/*
 * I/O threads: a count, and ids for some of them; the others get the lowest free ids (libvirt's
 * virDomainIOThreadIDArrayInit()).
 */
static int add_iothread(struct domain *d, uint64_t id, struct err *e)
{
	unsigned int at = d->n_iothreads;

	if (d->n_iothreads >= DOMAIN_IOTHREADS_MAX)
		return err_set(e, EBADMSG, "more than %d I/O threads", DOMAIN_IOTHREADS_MAX);
	for (unsigned int i = 0; i < d->n_iothreads; i++)
		if (d->iothreads[i] == id)
			return 0;
	if (!GROW(d->iothreads, d->n_iothreads))
		return -ENOMEM;
	for (; at > 0 && d->iothreads[at - 1] > id; at--)
		d->iothreads[at] = d->iothreads[at - 1];
	d->iothreads[at] = (unsigned int)id;
	d->n_iothreads++;
	return 0;
}

static int fill_iothreads(struct domain *d, unsigned int wanted, struct err *e)
{
	int r = 0;

	for (unsigned int id = 1; !r && d->n_iothreads < wanted; id++)
		r = add_iothread(d, id, e);
	return r;
}

int domain_on_iothreads(struct domain *d, const xmlNode *n, struct err *e)
{
	const xmlNode *ids = xml_child(n->parent, NULL, "iothreadids");
	_cleanup_free_ char *text = xml_text(n);
	uint64_t count;
	int r;

	if (domain_number(text, UINT32_MAX, &count) < 0)
		return 0;
	if (count > DOMAIN_IOTHREADS_MAX)
		return err_set(e, EBADMSG, "<iothreads>: more than %d", DOMAIN_IOTHREADS_MAX);
	r = ids ? domain_on_iothreadids(d, ids, e) : 0;
	return r ? r : fill_iothreads(d, (unsigned int)count, e);
}

int domain_on_iothreadids(struct domain *d, const xmlNode *n, struct err *e)
{
	uint64_t id;
	int r = 0;

	for (const xmlNode *t = xml_child(n, NULL, "iothread"); !r && t; t = xml_next(t, NULL, "iothread"))
		if (domain_attr_number(t, "id", UINT32_MAX, &id) == 0 && id)
			r = add_iothread(d, id, e);
	return r;
}

/* Pins are kept in ascending order; libvirt prints them so. */
static int add_pin(struct domain_pin **pins, unsigned int *n_pins, unsigned int id, const struct idset *cpus)
{
	unsigned int at = *n_pins;
	struct domain_pin *p = *pins;

	while (at > 0 && p[at - 1].id > id)
		at--;
	if (at > 0 && p[at - 1].id == id)
		return 0;
	if (!GROW(p, *n_pins))
		return -ENOMEM;
	*pins = p;
	memmove(p + at + 1, p + at, (*n_pins - at) * sizeof(*p));
	p[at].id = id;
	p[at].cpus = *cpus;
	(*n_pins)++;
	return 0;
}

static int take_vcpupin(struct domain *d, const xmlNode *n)
{
	struct idset cpus;
	uint64_t id;

	if (domain_attr_number(n, "vcpu", d->vcpus_max ? d->vcpus_max - 1 : 0, &id) < 0 ||
	    domain_attr_set(n, "cpuset", &cpus) < 0)
		return 0;
	return add_pin(&d->vcpupin, &d->n_vcpupin, (unsigned int)id, &cpus);
}

static bool has_iothread(const struct domain *d, uint64_t id)
{
	for (unsigned int i = 0; i < d->n_iothreads; i++)
		if (d->iothreads[i] == id)
			return true;
	return false;
}

static int take_iothreadpin(struct domain *d, const xmlNode *n)
{
	struct idset cpus;
	uint64_t id;

	if (domain_attr_number(n, "iothread", UINT32_MAX, &id) < 0 || !has_iothread(d, id) ||
	    domain_attr_set(n, "cpuset", &cpus) < 0)
		return 0;
	d->has |= DOMAIN_HAS_IOTHREADPIN;
	return add_pin(&d->iothreadpin, &d->n_iothreadpin, (unsigned int)id, &cpus);
}

static int take_emulatorpin(struct domain *d, const xmlNode *n)
{
	struct idset cpus;

	if ((d->has & DOMAIN_HAS_EMULATORPIN) || domain_attr_set(n, "cpuset", &cpus) < 0)
		return 0;
	d->has |= DOMAIN_HAS_EMULATORPIN;
	d->emulatorpin = cpus;
	return 0;
}

/* libvirt: a quota of 0 is none given, a negative one is no limit. Both leave ours. */
static int take_quota(struct domain *d, const xmlNode *n)
{
	_cleanup_free_ char *text = xml_text(n);
	uint64_t v;

	if (domain_number(text, UINT64_MAX, &v) == 0 && v)
		d->has |= DOMAIN_HAS_QUOTA;
	return 0;
}

static int take_shares(struct domain *d, const xmlNode *n)
{
	(void)n;
	d->has |= DOMAIN_HAS_SHARES;
	return 0;
}

static int take_sched(struct domain *d, const xmlNode *n)
{
	(void)n;
	d->has |= DOMAIN_HAS_SCHED;
	return 0;
}

static int take_cachetune(struct domain *d, const xmlNode *n)
{
	(void)n;
	d->has |= DOMAIN_HAS_CACHETUNE;
	return 0;
}

static int take_memorytune(struct domain *d, const xmlNode *n)
{
	(void)n;
	d->has |= DOMAIN_HAS_MEMORYTUNE;
	return 0;
}

int domain_on_cputune(struct domain *d, const xmlNode *n, struct err *e)
{
	static const struct {
		const char *name;
		int (*take)(struct domain *d, const xmlNode *n);
	} table[] = {
		{ "vcpupin", take_vcpupin },	     { "iothreadpin", take_iothreadpin },
		{ "emulatorpin", take_emulatorpin }, { "shares", take_shares },
		{ "quota", take_quota },	     { "global_quota", take_quota },
		{ "emulator_quota", take_quota },    { "iothread_quota", take_quota },
		{ "vcpusched", take_sched },	     { "emulatorsched", take_sched },
		{ "iothreadsched", take_sched },     { "cachetune", take_cachetune },
		{ "memorytune", take_memorytune },
	};

	(void)e;
	for (const xmlNode *c = xml_first_element(n); c; c = xml_next_element(c))
		for (size_t i = 0; i < ARRAY_SIZE(table); i++)
			if (xml_is(c, NULL, table[i].name) && table[i].take(d, c) < 0)
				return -ENOMEM;
	return 0;
}

static int take_mode(struct domain *d, const xmlNode *n)
{
	if (d->numatune_mode)
		return 0;
	d->numatune_mode = xml_attr(n, "mode");
	if (!d->numatune_mode)
		d->numatune_mode = strdup("strict");
	return d->numatune_mode ? 0 : -ENOMEM;
}

int domain_on_numatune(struct domain *d, const xmlNode *n, struct err *e)
{
	const xmlNode *memory = xml_child(n, NULL, "memory");
	struct idset nodes;
	bool of_cells = true;

	(void)e;
	if (memory) {
		d->has |= DOMAIN_HAS_NUMATUNE;
		if (take_mode(d, memory) < 0)
			return -ENOMEM;
		of_cells = domain_attr_set(memory, "nodeset", &d->numatune_nodes) < 0;
	}
	for (const xmlNode *m = xml_child(n, NULL, "memnode"); m; m = xml_next(m, NULL, "memnode")) {
		d->has |= DOMAIN_HAS_NUMATUNE;
		if (take_mode(d, m) < 0)
			return -ENOMEM;
		if (of_cells && domain_attr_set(m, "nodeset", &nodes) == 0)
			idset_or(&d->numatune_nodes, &nodes);
	}
	return 0;
}

static int add_hugepage(struct domain *d, uint64_t size, const struct idset *cells)
{
	if (d->n_hugepages >= DOMAIN_CELLS_MAX) /* libvirt: one per size and cell */
		return 0;
	if (!GROW(d->hugepages, d->n_hugepages))
		return -ENOMEM;
	d->hugepages[d->n_hugepages++] = (struct domain_hugepage){ size, *cells };
	return 0;
}

static int take_hugepages(struct domain *d, const xmlNode *n)
{
	d->has |= DOMAIN_HAS_HUGEPAGES;
	for (const xmlNode *p = xml_child(n, NULL, "page"); p; p = xml_next(p, NULL, "page")) {
		_cleanup_free_ char *text = xml_attr(p, "size"), *unit = xml_attr(p, "unit");
		struct idset cells = IDSET_EMPTY;
		uint64_t size;

		if (domain_scaled(text, unit, &size) < 0 || !size)
			continue;
		(void)domain_attr_set(p, "nodeset", &cells); /* absent: for all others */
		if (add_hugepage(d, size, &cells) < 0)
			return -ENOMEM;
	}
	return d->n_hugepages ? 0 : add_hugepage(d, 0, &IDSET_EMPTY);
}

int domain_on_memory_backing(struct domain *d, const xmlNode *n, struct err *e)
{
	static const struct {
		const char *element, *attribute, *value; /* value NULL: any */
		unsigned int has;
	} table[] = {
		{ "source", "type", "file", DOMAIN_HAS_MEMSOURCE },
		{ "source", "type", "memfd", DOMAIN_HAS_MEMSOURCE },
		{ "access", "mode", "shared", DOMAIN_HAS_MEMSOURCE },
		{ "allocation", "mode", "immediate", DOMAIN_HAS_ALLOCATION },
		{ "allocation", "mode", "ondemand", DOMAIN_HAS_ALLOCATION },
		{ "locked", NULL, NULL, DOMAIN_HAS_LOCKED },
		{ "nosharepages", NULL, NULL, DOMAIN_HAS_NOSHAREPAGES },
	};
	const xmlNode *hugepages = xml_child(n, NULL, "hugepages");

	(void)e;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const xmlNode *c = xml_child(n, NULL, table[i].element);

		if (c && (!table[i].attribute || domain_attr_is(c, table[i].attribute, table[i].value)))
			d->has |= table[i].has;
	}
	return hugepages ? take_hugepages(d, hugepages) : 0;
}

static int take_cell(struct domain *d, const xmlNode *n, struct err *e)
{
	_cleanup_free_ char *memory = xml_attr(n, "memory"), *unit = xml_attr(n, "unit");
	unsigned int at = d->n_cells;
	struct domain_cell cell = { 0 };
	uint64_t id = d->n_cells;

	if (d->n_cells >= DOMAIN_CELLS_MAX)
		return err_set(e, EBADMSG, "<numa>: more than %d cells", DOMAIN_CELLS_MAX);
	(void)domain_attr_number(n, "id", UINT32_MAX, &id); /* default: its position, as in libvirt */
	for (unsigned int i = 0; i < d->n_cells; i++)
		if (d->cells[i].id == id)
			return 0;
	cell.id = (unsigned int)id;
	(void)domain_attr_set(n, "cpus", &cell.vcpus); /* absent: a cell without vCPUs */
	(void)domain_scaled(memory, unit, &cell.memory);
	if (domain_attr_is(n, "memAccess", "shared"))
		d->has |= DOMAIN_HAS_MEMSOURCE;
	if (!GROW(d->cells, d->n_cells))
		return -ENOMEM;
	for (; at > 0 && d->cells[at - 1].id > cell.id; at--)
		d->cells[at] = d->cells[at - 1];
	d->cells[at] = cell;
	d->n_cells++;
	return 0;
}

int domain_on_cpu(struct domain *d, const xmlNode *n, struct err *e)
{
	const xmlNode *numa = xml_child(n, NULL, "numa");
	uint64_t threads;
	int r = 0;

	if (domain_attr_number(xml_child(n, NULL, "topology"), "threads", DOMAIN_VCPUS_MAX, &threads) == 0)
		d->threads = (unsigned int)threads;
	for (const xmlNode *c = xml_child(numa, NULL, "cell"); !r && c; c = xml_next(c, NULL, "cell"))
		r = take_cell(d, c, e);
	return r;
}

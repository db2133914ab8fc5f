/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From libvirt's domain XML to struct domain, as libvirt's own parser (src/conf/domain_conf.c) reads it: children by
 * name and without namespace, the first of each counts, numbers in the units it knows. One table row per element;
 * what is not in the table is not looked at. The big tables (pins, cells) are in domain_tune.c,
 * the devices in domain_devices.c.
 */
#include <inttypes.h>
#include <limits.h>

#include "domain_priv.h"
#include "num.h"
#include "policy.h"
#include "xml.h"

/* Numbers stand between blanks at most (libvirt reads them with XPath's number()). Trims in place. */
static char *trim(char *s)
{
	size_t n;

	s += strspn(s, " \t\r\n");
	n = strlen(s);
	while (n && strchr(" \t\r\n", s[n - 1]))
		n--;
	s[n] = '\0';
	return s;
}

int domain_number(char *text, uint64_t max, uint64_t *ret)
{
	return text ? num_parse_range(trim(text), 0, max, ret) : -ENOENT;
}

int domain_attr_number(const xmlNode *n, const char *name, uint64_t max, uint64_t *ret)
{
	_cleanup_free_ char *text = xml_attr(n, name);

	return domain_number(text, max, ret);
}

int domain_attr_set(const xmlNode *n, const char *name, struct idset *ret)
{
	_cleanup_free_ char *text = xml_attr(n, name);

	return text ? idset_parse(text, ret) : -ENOENT;
}

bool domain_attr_is(const xmlNode *n, const char *name, const char *value)
{
	_cleanup_free_ char *text = xml_attr(n, name);

	return text && streq(text, value);
}

/*
 * libvirt's virScaleInteger(): "b", "byte", "bytes", or a letter of kmgtpe alone or with "iB" for powers of 1024,
 * with "B" for powers of 1000; letter case does not matter. No unit: KiB.
 */
static int unit_factor(const char *unit, uint64_t *ret)
{
	static const char letters[] = "kmgtpe";
	uint64_t base, factor = 1;
	const char *letter;

	if (!unit || !unit[0]) {
		*ret = 1024;
		return 0;
	}
	if (strcasecmp(unit, "b") == 0 || strcasecmp(unit, "byte") == 0 || strcasecmp(unit, "bytes") == 0) {
		*ret = 1;
		return 0;
	}
	letter = strchr(letters, unit[0] | 0x20);
	if (!letter || !*letter)
		return -EINVAL;
	if (!unit[1] || strcasecmp(unit + 1, "ib") == 0)
		base = 1024;
	else if (strcasecmp(unit + 1, "b") == 0)
		base = 1000;
	else
		return -EINVAL;
	for (long i = letter - letters; i >= 0; i--)
		factor *= base;
	*ret = factor;
	return 0;
}

int domain_scaled(char *text, const char *unit, uint64_t *ret)
{
	uint64_t v, factor;

	if (domain_number(text, UINT64_MAX, &v) < 0 || unit_factor(unit, &factor) < 0 ||
	    __builtin_mul_overflow(v, factor, &v))
		return -EINVAL;
	*ret = v;
	return 0;
}

/* Element handlers: 0, -EBADMSG with e filled, -ENOMEM. */
typedef int handler(struct domain *d, const xmlNode *n, struct err *e);

static int take_text(char **to, const xmlNode *n)
{
	free(*to);
	*to = xml_text(n);
	return *to ? 0 : -ENOMEM;
}

static int take_attr(char **to, const xmlNode *n, const char *name)
{
	char *text = xml_attr(n, name);

	if (!text)
		return 0;
	free(*to);
	*to = text;
	return 0;
}

static int on_name(struct domain *d, const xmlNode *n, struct err *e)
{
	(void)e;
	return take_text(&d->name, n);
}

/* As virUUIDParse(): 32 hexadecimal digits, dashes and blanks between them as one likes. */
static int on_uuid(struct domain *d, const xmlNode *n, struct err *e)
{
	_cleanup_free_ char *text = xml_text(n);
	char uuid[37];
	size_t at = 0;

	(void)e;
	if (!text)
		return -ENOMEM;
	for (const char *s = text; *s && at < 36; s++) {
		if (strchr("- \t\r\n", *s))
			continue;
		if (at == 8 || at == 13 || at == 18 || at == 23)
			uuid[at++] = '-';
		uuid[at++] = (char)(*s >= 'A' && *s <= 'F' ? *s - 'A' + 'a' : *s);
		if (at == 36 && s[1 + strspn(s + 1, "- \t\r\n")])
			at = 0; /* more than 32: not a UUID */
		if (!at)
			break;
	}
	uuid[at] = '\0';
	if (at == 36 && uuid_is_valid(uuid))
		memcpy(d->uuid, uuid, sizeof(uuid));
	return 0;
}

static int on_memory(struct domain *d, const xmlNode *n, struct err *e)
{
	_cleanup_free_ char *text = xml_text(n), *unit = xml_attr(n, "unit");

	(void)e;
	if (domain_scaled(text, unit, &d->memory) < 0)
		d->memory = 0;
	return 0;
}

static int on_vcpu(struct domain *d, const xmlNode *n, struct err *e)
{
	_cleanup_free_ char *text = xml_text(n);
	uint64_t max = 1, current;

	(void)domain_number(text, UINT32_MAX, &max); /* 1 if it is not a number */
	if (max > DOMAIN_VCPUS_MAX)
		return err_set(e, EBADMSG, "<vcpu>: %" PRIu64 " vCPUs, more than %d", max, DOMAIN_VCPUS_MAX);
	d->vcpus_max = max ? (unsigned int)max : 1;
	d->vcpus = d->vcpus_max;
	if (domain_attr_number(n, "current", d->vcpus_max, &current) == 0 && current)
		d->vcpus = (unsigned int)current;
	if (domain_attr_set(n, "cpuset", &d->vcpu_cpuset) == 0)
		d->has |= DOMAIN_HAS_VCPU_CPUSET;
	if (domain_attr_is(n, "placement", "auto"))
		d->has |= DOMAIN_HAS_PLACEMENT_AUTO;
	return 0;
}

static int on_os(struct domain *d, const xmlNode *n, struct err *e)
{
	const xmlNode *type = xml_child(n, NULL, "type");

	(void)e;
	if (!type)
		return 0;
	return take_attr(&d->arch, type, "arch") < 0 || take_attr(&d->machine, type, "machine") < 0 ? -ENOMEM : 0;
}

static int on_launch_security(struct domain *d, const xmlNode *n, struct err *e)
{
	(void)n, (void)e;
	d->has |= DOMAIN_HAS_LAUNCH_SECURITY;
	return 0;
}

/* <hard_limit> (memory.max) and <swap_hard_limit> are limits of other things than any attribute of ours. */
static int on_memtune(struct domain *d, const xmlNode *n, struct err *e)
{
	(void)e;
	if (xml_child(n, NULL, "soft_limit"))
		d->has |= DOMAIN_HAS_SOFT_LIMIT;
	if (xml_child(n, NULL, "min_guarantee"))
		d->has |= DOMAIN_HAS_MIN_GUARANTEE;
	return 0;
}

static int on_metadata(struct domain *d, const xmlNode *n, struct err *e)
{
	(void)e;
	d->tune = xml_child(n, TUNE_NS, "tune");
	return 0;
}

static const struct {
	const char *name;
	handler *take;
} table[] = {
	{ "name", on_name },
	{ "uuid", on_uuid },
	{ "memory", on_memory },
	{ "vcpu", on_vcpu },
	{ "vcpus", domain_on_vcpus }, /* libvirt prints it behind <vcpu>, whose maximum it needs */
	{ "iothreads", domain_on_iothreads },
	{ "iothreadids", domain_on_iothreadids },
	{ "cputune", domain_on_cputune },
	{ "numatune", domain_on_numatune },
	{ "memoryBacking", domain_on_memory_backing },
	{ "memtune", on_memtune },
	{ "cpu", domain_on_cpu },
	{ "os", on_os },
	{ "devices", domain_on_devices },
	{ "blkiotune", domain_on_blkiotune },
	{ "launchSecurity", on_launch_security },
	{ "metadata", on_metadata },
};

/* In the table's order, not the text's: pins need the number of vCPUs, wherever that stands. */
static int take_elements(struct domain *d, const xmlNode *root, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const xmlNode *n = xml_child(root, NULL, table[i].name);
		int r = n ? table[i].take(d, n, e) : 0;

		if (r < 0) {
			if (r == -ENOMEM)
				err_set(e, ENOMEM, "out of memory");
			else if (e)
				e->line = xml_line(n), e->column = xml_column(n);
			return r;
		}
	}
	return 0;
}

/* Absent texts are "", never NULL. */
static int fill_absent(struct domain *d)
{
	char **const texts[] = { &d->name, &d->type, &d->arch, &d->machine, &d->emulator, &d->numatune_mode };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (!*texts[i] && !(*texts[i] = strdup("")))
			return -ENOMEM;
	return 0;
}

/* Cells are what is really given; libvirt sets <memory> from them (virDomainDefPostParseMemory). */
static void settle_memory(struct domain *d)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < d->n_cells; i++)
		if (__builtin_add_overflow(sum, d->cells[i].memory, &sum))
			return;
	if (sum > d->memory)
		d->memory = sum;
}

static void settle_vcpus(struct domain *d)
{
	if (!d->vcpus_max)
		d->vcpus_max = d->vcpus = 1;
	if (idset_is_empty(&d->vcpus_online)) {
		for (unsigned int i = 0; i < d->vcpus; i++)
			idset_add(&d->vcpus_online, i);
	}
	d->vcpus = idset_count(&d->vcpus_online);
}

static int parse_domain(struct domain *d, const xmlNode *root, struct err *e)
{
	uint64_t id;
	int r;

	d->id = domain_attr_number(root, "id", INT_MAX, &id) == 0 ? (int)id : -1;
	r = take_attr(&d->type, root, "type");
	if (!r)
		r = take_elements(d, root, e);
	if (!r)
		r = fill_absent(d);
	if (r)
		return r == -ENOMEM ? err_set(e, ENOMEM, "out of memory") : r;
	settle_vcpus(d);
	settle_memory(d);
	return 0;
}

/*
 * The <domain> of a document, made its root if it is within a <domstatus>, so that rules' paths mean the same for
 * both. NULL: neither.
 */
static xmlNode *find_domain(xmlDoc *doc, int *ret_pid)
{
	xmlNode *root = xmlDocGetRootElement(doc), *domain;
	uint64_t pid = 0;

	*ret_pid = 0;
	if (xml_is(root, NULL, "domain"))
		return root;
	domain = xml_is(root, NULL, "domstatus") ? xml_child(root, NULL, "domain") : NULL;
	if (!domain)
		return NULL;
	(void)domain_attr_number(root, "pid", INT_MAX, &pid); /* libvirt: 0 where it did not know yet */
	*ret_pid = (int)pid;
	xmlUnlinkNode(domain);
	xmlDocSetRootElement(doc, domain);
	(void)xmlReconciliateNs(doc, domain); /* libvirt declares nothing on domstatus */
	xmlFreeNode(root);
	return domain;
}

int domain_parse_status(const char *text, size_t len, struct domain *ret, int *ret_pid, struct err *e)
{
	struct err why = ERR_INIT;
	struct domain d = { .id = -1 };
	xmlNode *root;
	int r, pid;

	memset(ret, 0, sizeof(*ret));
	d.doc = xml_parse(text, len, DOMAIN_XML_MAX, &why);
	if (!d.doc) {
		if (e)
			*e = why;
		return -why.code;
	}
	root = find_domain(d.doc, &pid);
	if (!root)
		r = err_set(e, EBADMSG, "is not a <domain>");
	else
		r = parse_domain(&d, root, e);
	if (r < 0) {
		domain_fini(&d);
		return r;
	}
	*ret = d;
	*ret_pid = pid;
	return 0;
}

int domain_parse(const char *text, size_t len, struct domain *ret, struct err *e)
{
	int pid;

	return domain_parse_status(text, len, ret, &pid, e);
}

void domain_fini(struct domain *d)
{
	if (!d)
		return;
	free(d->name);
	free(d->type);
	free(d->arch);
	free(d->machine);
	free(d->emulator);
	free(d->numatune_mode);
	free(d->vcpupin);
	free(d->iothreadpin);
	free(d->iothreads);
	free(d->cells);
	free(d->hugepages);
	for (unsigned int i = 0; i < d->n_devices; i++) {
		free(d->devices[i].name);
		free(d->devices[i].more);
	}
	free(d->devices);
	domain_io_fini(d);
	if (d->doc)
		xmlFreeDoc(d->doc);
	memset(d, 0, sizeof(*d));
}

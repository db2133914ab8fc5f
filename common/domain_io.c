/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * <disk>, <interface> and <blkiotune> (formatdomain: "Hard drives", "Network interfaces", "Block I/O Tuning"): where
 * data comes from and goes to, and what the owner has said of it himself. Forms that are not known are kept with their
 * name, so that a plan can say why it leaves them alone.
 *
 * libvirt prints no aliases before a domain is started, but gives them by rule (src/qemu/qemu_alias.c); a user's own
 * ("ua-...") are in the definition. What is computed here is only used together with what QEMU was really given.
 */
#include "domain_priv.h"
#include "num.h"
#include "xml.h"

#include <inttypes.h>

/* An attribute's text, "" where it is absent. NULL: no memory. */
static char *text_of(const xmlNode *n, const char *attribute)
{
	char *text = n ? xml_attr(n, attribute) : NULL;

	return text ? text : strdup("");
}

static bool is_set(const xmlNode *n, const char *attribute)
{
	_cleanup_free_ char *text = n ? xml_attr(n, attribute) : NULL;

	return text && *text && !streq(text, "default");
}

/* A child element with a number over 0. */
static bool has_number(const xmlNode *n, const char *name)
{
	_cleanup_free_ char *text = xml_text(xml_child(n, NULL, name));
	uint64_t v;

	return text && domain_number(text, UINT64_MAX, &v) == 0 && v > 0;
}

/* --- disks */

static const struct {
	const char *type, *attribute;
	enum domain_disk_kind kind;
} disk_types[] = {
	{"file", "file", DOMAIN_DISK_FILE},
	{"block", "dev", DOMAIN_DISK_BLOCK},
	{"dir", "dir", DOMAIN_DISK_DIR},
	{"volume", "pool", DOMAIN_DISK_VOLUME},
	{"network", "protocol", DOMAIN_DISK_NETWORK},
	{"vhostuser", NULL, DOMAIN_DISK_VHOSTUSER},
};

/* The <source> of a <disk> or <backingStore>. */
static int image_source(struct domain_image *k, const xmlNode *n)
{
	const xmlNode *source = xml_child(n, NULL, "source");
	int r = 0;

	if (source && domain_attr_is(n, "type", "nvme")) {
		k->kind = DOMAIN_DISK_NVME;
		r = domain_pci_name(source, &k->source);
	}
	for (size_t i = 0; source && i < ARRAY_SIZE(disk_types); i++)
		if (domain_attr_is(n, "type", disk_types[i].type)) {
			k->kind = disk_types[i].kind;
			k->source = disk_types[i].attribute ? xml_attr(source, disk_types[i].attribute) : NULL;
		}
	if (!k->source && k->kind != DOMAIN_DISK_VHOSTUSER)
		k->kind = DOMAIN_DISK_NONE;
	if (k->kind == DOMAIN_DISK_FILE || k->kind == DOMAIN_DISK_BLOCK || k->kind == DOMAIN_DISK_DIR)
		k->kind = k->source[0] == '/' ? k->kind : DOMAIN_DISK_NONE;
	if (r == 0 && !k->source)
		k->source = strdup("");
	k->more = text_of(k->kind == DOMAIN_DISK_VOLUME ? source : NULL, "volume");
	return k->source && k->more ? r : -ENOMEM;
}

static int disk_source(struct domain_disk *k, const xmlNode *disk)
{
	const xmlNode *source = xml_child(disk, NULL, "source");
	struct domain_image image = {0};
	int r = image_source(&image, disk);
	uint64_t index;

	k->kind = image.kind;
	k->source = image.source;
	k->more = image.more;
	if (source && domain_attr_number(source, "index", UINT32_MAX, &index) == 0)
		k->index = (unsigned int)index;
	return r;
}

static void free_image(struct domain_image *k)
{
	free(k->source);
	free(k->more);
	free(k->format);
}

static int add_image(struct domain_disk *k, const xmlNode *n)
{
	struct domain_image image = {0};
	int r = image_source(&image, n);

	image.format = text_of(xml_child(n, NULL, "format"), "type");
	if (r == 0 && (!image.format || !GROW(k->chain, k->n_chain)))
		r = -ENOMEM;
	if (r < 0)
		free_image(&image);
	else
		k->chain[k->n_chain++] = image;
	return r;
}

/* Nested <backingStore>; one without a type ends the chain (src/conf/domain_conf.c, virDomainStorageSourceParseBacking). */
static int disk_chain(struct domain_disk *k, const xmlNode *disk)
{
	const xmlNode *n = xml_child(disk, NULL, "backingStore");
	int r = 0;

	for (; n && r == 0 && k->n_chain < DOMAIN_CHAIN_MAX; n = xml_child(n, NULL, "backingStore")) {
		_cleanup_free_ char *type = xml_attr(n, "type");

		if (!type) {
			k->has |= DISK_CHAIN_ENDS;
			break;
		}
		r = add_image(k, n);
	}
	return r;
}

static void disk_driver(struct domain_disk *k, const xmlNode *driver)
{
	static const struct {
		const char *attribute;
		enum domain_disk_explicit has;
	} rows[] = {
		{"cache", DISK_HAS_CACHE},
		{"io", DISK_HAS_IO},
		{"discard", DISK_HAS_DISCARD},
		{"detect_zeroes", DISK_HAS_ZEROES},
		{"queues", DISK_HAS_QUEUES},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (is_set(driver, rows[i].attribute))
			k->has |= rows[i].has;
	if (domain_attr_is(driver, "discard", "unmap"))
		k->has |= DISK_DISCARDS;
	if (xml_child(driver, NULL, "metadata_cache"))
		k->has |= DISK_HAS_METADATA;
}

static const struct {
	const char *name;
	unsigned int has;
} iotune_rows[] = {
	{"total_bytes_sec", DISK_HAS_READ_BPS | DISK_HAS_WRITE_BPS},
	{"read_bytes_sec", DISK_HAS_READ_BPS},
	{"write_bytes_sec", DISK_HAS_WRITE_BPS},
	{"total_iops_sec", DISK_HAS_READ_IOPS | DISK_HAS_WRITE_IOPS},
	{"read_iops_sec", DISK_HAS_READ_IOPS},
	{"write_iops_sec", DISK_HAS_WRITE_IOPS},
	{"weight", DISK_HAS_WEIGHT}, /* of <blkiotune><device> */
};

static unsigned int limits_of(const xmlNode *n)
{
	unsigned int has = 0;

	for (size_t i = 0; n && i < ARRAY_SIZE(iotune_rows); i++)
		if (has_number(n, iotune_rows[i].name))
			has |= iotune_rows[i].has;
	return has;
}

/* "vda" is 0, "vdaa" 26 (src/util/virutil.c, virDiskNameParse()); libvirt takes no partitions. False: no such name. */
static bool disk_number(const char *target, unsigned int *ret)
{
	static const char *const prefixes[] = {"fd", "hd", "vd", "sd", "xvd", "ubd"};
	uint64_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		const char *p = target + strlen(prefixes[i]);

		if (!str_starts(target, prefixes[i]))
			continue;
		for (; *p >= 'a' && *p <= 'z' && n < UINT32_MAX / 27; p++)
			n = n * 26 + (uint64_t)(*p - 'a') + 1;
		*ret = (unsigned int)n - 1;
		return n > 0 && !*p;
	}
	return false;
}

/* The <controller type='scsi'> of that index; it stands beside the disk. NULL: libvirt has not seen this XML. */
static const xmlNode *scsi_controller(const xmlNode *disk, uint64_t index)
{
	const xmlNode *c = xml_child(disk->parent, NULL, "controller");
	uint64_t v;

	while (c && (!domain_attr_is(c, "type", "scsi") || domain_attr_number(c, "index", UINT32_MAX, &v) < 0 || v != index))
		c = xml_next(c, NULL, "controller");
	return c;
}

/* <address type='drive'>; what is absent is 0 to libvirt. */
static int drive_alias(struct domain_disk *k, const xmlNode *disk, const xmlNode *address)
{
	static const char *const parts[] = {"controller", "bus", "target", "unit"};
	const xmlNode *controller;
	uint64_t v[ARRAY_SIZE(parts)] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int r = domain_attr_number(address, parts[i], UINT32_MAX, &v[i]);

		if (r < 0 && r != -ENOENT)
			return 0;
	}
	if (!streq(k->bus, "scsi"))
		return asprintf(&k->alias, "%s%" PRIu64 "-%" PRIu64 "-%" PRIu64, k->bus, v[0], v[1], v[3]);
	controller = scsi_controller(disk, v[0]);
	if (!controller)
		return 0; /* its model decides */
	if (domain_attr_is(controller, "model", "lsilogic"))
		return asprintf(&k->alias, "scsi%" PRIu64 "-%" PRIu64 "-%" PRIu64, v[0], v[1], v[3]);
	return asprintf(&k->alias, "scsi%" PRIu64 "-%" PRIu64 "-%" PRIu64 "-%" PRIu64, v[0], v[1], v[2], v[3]);
}

/* qemuAssignDeviceDiskAlias(). Buses of drives have an address in all XML that libvirt prints. */
static int disk_alias(struct domain_disk *k, const xmlNode *disk)
{
	const xmlNode *address = xml_child(disk, NULL, "address");
	bool on_drive_bus = streq(k->bus, "scsi") || streq(k->bus, "ide") || streq(k->bus, "sata") || streq(k->bus, "fdc");
	unsigned int number;
	int n = 0;

	if (domain_attr_is(address, "type", "drive"))
		n = drive_alias(k, disk, address);
	else if (*k->bus && !on_drive_bus && disk_number(k->target, &number))
		n = asprintf(&k->alias, "%s-disk%u", k->bus, number);
	if (n < 0)
		k->alias = NULL;
	else if (n == 0)
		k->alias = strdup("");
	return k->alias ? 0 : -ENOMEM;
}

static void free_disk(struct domain_disk *k)
{
	free(k->target);
	free(k->bus);
	free(k->alias);
	free(k->source);
	free(k->more);
	free(k->format);
	free(k->cache);
	for (unsigned int i = 0; i < k->n_chain; i++)
		free_image(&k->chain[i]);
	free(k->chain);
}

static int fill_disk(struct domain_disk *k, const xmlNode *n)
{
	const xmlNode *target = xml_child(n, NULL, "target"), *driver = xml_child(n, NULL, "driver");
	int r = disk_source(k, n);

	if (r == 0)
		r = disk_chain(k, n);
	k->target = text_of(target, "dev");
	k->bus = text_of(target, "bus");
	k->format = text_of(driver, "type");
	k->cache = is_set(driver, "cache") ? text_of(driver, "cache") : strdup("");
	if (r < 0 || !k->target || !k->bus || !k->format || !k->cache)
		return -ENOMEM;
	if (driver)
		disk_driver(k, driver);
	k->has |= limits_of(xml_child(n, NULL, "iotune"));
	if (xml_child(n, NULL, "readonly"))
		k->has |= DISK_IS_READ_ONLY;
	if (xml_child(n, NULL, "shareable"))
		k->has |= DISK_IS_SHARED;
	if (domain_attr_is(n, "device", "cdrom") || domain_attr_is(n, "device", "floppy"))
		k->has |= DISK_IS_REMOVABLE;
	if (domain_attr_is(n, "device", "lun"))
		k->has |= DISK_IS_LUN;
	k->alias = xml_attr(xml_child(n, NULL, "alias"), "name");
	return k->alias ? 0 : disk_alias(k, n);
}

int domain_take_disk(struct domain *d, const xmlNode *n)
{
	struct domain_disk k = {0};
	int r;

	if (d->n_disks >= DOMAIN_DISKS_MAX)
		return 0;
	r = fill_disk(&k, n);
	if (r == 0 && !GROW(d->disks, d->n_disks))
		r = -ENOMEM;
	if (r < 0 || !*k.target) {
		free_disk(&k);
		return r;
	}
	d->disks[d->n_disks++] = k;
	return 0;
}

int domain_on_blkiotune(struct domain *d, const xmlNode *n, struct err *e)
{
	(void)e;
	if (has_number(n, "weight"))
		d->has |= DOMAIN_HAS_BLKIO_WEIGHT;
	for (const xmlNode *i = xml_child(n, NULL, "device"); i; i = xml_next(i, NULL, "device")) {
		char *path = xml_text(xml_child(i, NULL, "path"));

		if (!path || *path != '/' || d->n_blkio >= DOMAIN_DISKS_MAX || !limits_of(i)) {
			free(path);
			continue;
		}
		if (!GROW(d->blkio, d->n_blkio)) {
			free(path);
			return -ENOMEM;
		}
		d->blkio[d->n_blkio++] = (struct domain_blkio){path, limits_of(i)};
	}
	return 0;
}

/* --- interfaces */

static const struct {
	const char *type, *attribute;
	enum domain_interface_kind kind;
} interface_types[] = {
	{"bridge", "bridge", DOMAIN_INTERFACE_BRIDGE},
	{"network", "network", DOMAIN_INTERFACE_NETWORK},
	{"direct", "dev", DOMAIN_INTERFACE_DIRECT},
	{"ethernet", NULL, DOMAIN_INTERFACE_ETHERNET},
};

static void free_interface(struct domain_interface *i)
{
	free(i->mac);
	free(i->alias);
	free(i->target);
	free(i->type);
	free(i->model);
	free(i->source);
	free(i->more);
}

static int interface_source(struct domain_interface *i, const xmlNode *n)
{
	const xmlNode *source = xml_child(n, NULL, "source");
	int r = 0;

	i->type = text_of(n, "type");
	if (!i->type)
		return -ENOMEM;
	if (source && streq(i->type, "hostdev")) {
		i->kind = DOMAIN_INTERFACE_HOSTDEV;
		r = domain_pci_name(source, &i->source);
	}
	for (size_t k = 0; k < ARRAY_SIZE(interface_types); k++)
		if (streq(i->type, interface_types[k].type)) {
			i->kind = interface_types[k].kind;
			i->source = interface_types[k].attribute ? text_of(source, interface_types[k].attribute) : NULL;
		}
	if (r == 0 && !i->source)
		i->source = strdup("");
	if (source && i->kind == DOMAIN_INTERFACE_NETWORK)
		i->more = xml_attr(source, "bridge");
	if (!i->more)
		i->more = text_of(i->kind == DOMAIN_INTERFACE_NETWORK ? source : NULL, "dev");
	return i->source && i->more ? r : -ENOMEM;
}

/* qemuAssignDeviceNetAlias(). number: the next one. A network whose functions are passed through is not known here. */
static int interface_alias(struct domain_interface *i, const xmlNode *n, unsigned int number)
{
	i->alias = xml_attr(xml_child(n, NULL, "alias"), "name");
	if (i->alias)
		return 0;
	if (i->kind == DOMAIN_INTERFACE_HOSTDEV)
		i->alias = strdup("");
	else if (asprintf(&i->alias, "net%u", number) < 0)
		i->alias = NULL;
	return i->alias ? 0 : -ENOMEM;
}

/* One more than the largest number so far; aliases of the owner's own ("ua-...") have none. */
static unsigned int next_net(const struct domain *d)
{
	unsigned int next = 0;

	for (unsigned int i = 0; i < d->n_interfaces; i++) {
		const char *alias = d->interfaces[i].alias;
		uint64_t n;

		if (str_starts(alias, "net") && num_parse_range(alias + 3, next, UINT32_MAX - 1, &n) == 0)
			next = (unsigned int)n + 1;
	}
	return next;
}

static int fill_interface(struct domain *d, struct domain_interface *i, const xmlNode *n)
{
	const xmlNode *bandwidth = xml_child(n, NULL, "bandwidth");
	int r = interface_source(i, n);

	i->mac = text_of(xml_child(n, NULL, "mac"), "address");
	i->target = text_of(xml_child(n, NULL, "target"), "dev");
	i->model = text_of(xml_child(n, NULL, "model"), "type");
	if (r == 0)
		r = interface_alias(i, n, next_net(d));
	if (r < 0 || !i->mac || !i->target || !i->model)
		return -ENOMEM;
	for (char *c = i->mac; *c; c++)
		if (*c >= 'A' && *c <= 'F')
			*c = (char)(*c + ('a' - 'A'));
	if (xml_child(bandwidth, NULL, "inbound"))
		i->has |= INTERFACE_HAS_INBOUND;
	if (xml_child(bandwidth, NULL, "outbound"))
		i->has |= INTERFACE_HAS_OUTBOUND;
	if (is_set(xml_child(n, NULL, "driver"), "queues"))
		i->has |= INTERFACE_HAS_QUEUES;
	if (domain_attr_is(xml_child(n, NULL, "virtualport"), "type", "openvswitch"))
		i->has |= INTERFACE_IS_OVS;
	return 0;
}

int domain_take_interface(struct domain *d, const xmlNode *n)
{
	struct domain_interface i = {0};
	int r;

	if (d->n_interfaces >= DOMAIN_INTERFACES_MAX)
		return 0;
	r = fill_interface(d, &i, n);
	if (r == 0 && !GROW(d->interfaces, d->n_interfaces))
		r = -ENOMEM;
	if (r < 0) {
		free_interface(&i);
		return r;
	}
	d->interfaces[d->n_interfaces++] = i;
	return 0;
}

void domain_io_fini(struct domain *d)
{
	for (unsigned int i = 0; i < d->n_disks; i++)
		free_disk(&d->disks[i]);
	for (unsigned int i = 0; i < d->n_interfaces; i++)
		free_interface(&d->interfaces[i]);
	for (unsigned int i = 0; i < d->n_blkio; i++)
		free(d->blkio[i].path);
	free(d->disks);
	free(d->interfaces);
	free(d->blkio);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * <devices>: the emulator, and what of the host's hardware the guest uses, for device.c. Of libvirt's many forms
 * (formatdomain: "Hard drives", "Network interfaces", "Host device assignment") those that can lie on a NUMA node;
 * USB and network storage do not. What libvirt would not have printed is left out.
 */
#include "domain_priv.h"
#include "num.h"
#include "xml.h"

#include <inttypes.h>

/* Takes name and more, even on failure. */
static int add_device(struct domain *d, enum domain_device_kind kind, char *name, char *more)
{
	bool wanted = name && *name && d->n_devices < DOMAIN_DEVICES_MAX;
	int r = 0;

	for (unsigned int i = 0; wanted && i < d->n_devices; i++)
		wanted = d->devices[i].kind != kind || !streq(d->devices[i].name, name) ||
			 (more && !streq(d->devices[i].more, more));
	if (wanted) {
		if (GROW(d->devices, d->n_devices)) {
			d->devices[d->n_devices++] = (struct domain_device){ kind, name, more };
			return 0;
		}
		r = -ENOMEM;
	}
	free(name);
	free(more);
	return r;
}

/* A part of a PCI address: "0x3b", or decimal (libvirt reads any base). */
static bool address_part(const xmlNode *n, const char *name, uint64_t max, uint64_t *ret)
{
	_cleanup_free_ char *text = xml_attr(n, name);
	uint64_t v = 0;
	int r;

	if (!text)
		r = 0; /* libvirt: 0 */
	else if (str_starts(text, "0x"))
		r = num_parse_hex(text + 2, &v);
	else
		r = num_parse_u64(text, &v);
	*ret = v;
	return r == 0 && v <= max;
}

int domain_pci_name(const xmlNode *source, char **ret)
{
	const xmlNode *a = xml_child(source, NULL, "address");
	uint64_t domain, bus, slot, function;

	*ret = NULL;
	if (!a || !address_part(a, "domain", UINT32_MAX, &domain) || !address_part(a, "bus", 0xff, &bus) ||
	    !address_part(a, "slot", 0x1f, &slot) || !address_part(a, "function", 7, &function))
		return 0;
	if (asprintf(ret, "%04" PRIx64 ":%02" PRIx64 ":%02" PRIx64 ".%" PRIx64, domain, bus, slot, function) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int add_pci(struct domain *d, const xmlNode *source)
{
	char *name;
	int r = domain_pci_name(source, &name);

	return r < 0 || !name ? r : add_device(d, DOMAIN_DEVICE_PCI, name, NULL);
}

/* The removable ones are not what a guest is placed for. */
static bool is_removable(const xmlNode *disk)
{
	return domain_attr_is(disk, "device", "cdrom") || domain_attr_is(disk, "device", "floppy");
}

static int take_disk(struct domain *d, const xmlNode *n)
{
	static const char *const paths[] = { "file", "dev", "dir" };
	const xmlNode *source = xml_child(n, NULL, "source");
	char *pool, *volume;
	int r = 0;

	if (!source || is_removable(n))
		return 0;
	if (domain_attr_is(n, "type", "nvme"))
		return add_pci(d, source);
	for (size_t i = 0; !r && i < ARRAY_SIZE(paths); i++) {
		char *path = xml_attr(source, paths[i]);

		if (path && path[0] == '/')
			r = add_device(d, DOMAIN_DEVICE_PATH, path, NULL);
		else
			free(path);
	}
	pool = xml_attr(source, "pool");
	volume = xml_attr(source, "volume");
	if (!r && pool && volume)
		return add_device(d, DOMAIN_DEVICE_VOLUME, pool, volume);
	free(pool);
	free(volume);
	return r;
}

/* The others are interfaces of domain_io.c, whose devices netdev.c finds. */
static int take_interface(struct domain *d, const xmlNode *n)
{
	const xmlNode *source = xml_child(n, NULL, "source");

	return source && domain_attr_is(n, "type", "hostdev") ? add_pci(d, source) : 0;
}

static int take_hostdev(struct domain *d, const xmlNode *n)
{
	const xmlNode *source = xml_child(n, NULL, "source");

	if (domain_attr_is(n, "type", "pci"))
		return add_pci(d, source);
	if (domain_attr_is(n, "type", "mdev"))
		return add_device(d, DOMAIN_DEVICE_MDEV, xml_attr(xml_child(source, NULL, "address"), "uuid"), NULL);
	return 0;
}

static int take_memory(struct domain *d, const xmlNode *n)
{
	(void)n;
	d->has |= DOMAIN_HAS_MEMORY_DEVICES;
	return 0;
}

static int take_memballoon(struct domain *d, const xmlNode *n)
{
	if (domain_attr_is(n, "model", "none"))
		return 0;
	d->has |= DOMAIN_HAS_BALLOON;
	if (domain_attr_is(n, "autodeflate", "on") || domain_attr_is(n, "freePageReporting", "on"))
		d->has |= DOMAIN_BALLOON_SHRINKS;
	return 0;
}

static int take_emulator(struct domain *d, const xmlNode *n)
{
	if (d->emulator)
		return 0;
	d->emulator = xml_text(n);
	return d->emulator ? 0 : -ENOMEM;
}

int domain_on_devices(struct domain *d, const xmlNode *n, struct err *e)
{
	static const struct {
		const char *name;
		int (*take)(struct domain *d, const xmlNode *n);
	} table[] = {
		{ "emulator", take_emulator },
		{ "disk", take_disk },
		{ "disk", domain_take_disk },
		{ "interface", take_interface },
		{ "interface", domain_take_interface },
		{ "hostdev", take_hostdev },
		{ "memory", take_memory },
		{ "memballoon", take_memballoon },
	};

	(void)e;
	for (const xmlNode *c = xml_first_element(n); c; c = xml_next_element(c))
		for (size_t i = 0; i < ARRAY_SIZE(table); i++)
			if (xml_is(c, NULL, table[i].name) && table[i].take(d, c) < 0)
				return -ENOMEM;
	return 0;
}

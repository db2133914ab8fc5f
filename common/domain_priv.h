/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between domain.c, domain_tune.c and domain_devices.c. */
#pragma once

#include "domain.h"

/* Values. -ENOENT: absent; -EINVAL, -ERANGE. Trims `text` in place. */
int domain_number(char *text, uint64_t max, uint64_t *ret);
int domain_attr_number(const xmlNode *n, const char *name, uint64_t max, uint64_t *ret);
int domain_attr_set(const xmlNode *n, const char *name, struct idset *ret);
bool domain_attr_is(const xmlNode *n, const char *name, const char *value);
/* A number in libvirt's units (NULL or "": KiB), in bytes. -EINVAL. */
int domain_scaled(char *text, const char *unit, uint64_t *ret);

/* Handlers of elements: 0, -EBADMSG with e filled, -ENOMEM. */
int domain_on_vcpus(struct domain *d, const xmlNode *n, struct err *e);
int domain_on_iothreads(struct domain *d, const xmlNode *n, struct err *e);
int domain_on_iothreadids(struct domain *d, const xmlNode *n, struct err *e);
int domain_on_cputune(struct domain *d, const xmlNode *n, struct err *e);
int domain_on_numatune(struct domain *d, const xmlNode *n, struct err *e);
int domain_on_memory_backing(struct domain *d, const xmlNode *n, struct err *e);
int domain_on_cpu(struct domain *d, const xmlNode *n, struct err *e);
int domain_on_devices(struct domain *d, const xmlNode *n, struct err *e);
int domain_on_blkiotune(struct domain *d, const xmlNode *n, struct err *e);

/* domain_io.c: one <disk>, one <interface> in full. 0 or -ENOMEM. */
int domain_take_disk(struct domain *d, const xmlNode *n);
int domain_take_interface(struct domain *d, const xmlNode *n);
void domain_io_fini(struct domain *d);
/* A PCI <address> as "0000:3b:00.0", malloc'ed in *ret, or NULL if it is none. 0 or -ENOMEM. */
int domain_pci_name(const xmlNode *source, char **ret);

/* Room for one more behind the n members of an array: its new address, NULL without memory. Doubles. */
void *domain_grow(void *array, unsigned int n, size_t size);
#define GROW(array, n)                                                          \
	({                                                                      \
		__typeof__(array) grown = domain_grow((array), (n), sizeof(*(array))); \
		if (grown)                                                      \
			(array) = grown;                                        \
		grown != NULL;                                                  \
	})

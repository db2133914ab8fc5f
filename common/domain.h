/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What one domain XML says, as far as we care. libvirt prints it (hook, virsh dumpxml); a tenant may have
 * written the metadata. The parser never fetches, expands entities or reads a DTD (a document with one is
 * refused), and takes at most DOMAIN_XML_MAX bytes.
 */
#pragma once

#include <libxml/tree.h>

#include "err.h"
#include "idset.h"

#define DOMAIN_XML_MAX (4u << 20)
#define DOMAIN_VCPUS_MAX 4096
#define DOMAIN_IOTHREADS_MAX 1024
#define DOMAIN_CELLS_MAX 64
#define DOMAIN_DEVICES_MAX 256 /* further ones are not looked at: they only say where the guest would best be */

/* Things the owner wrote that suppress an attribute of the same meaning (contract, "What the XML says"). */
enum domain_explicit {
	DOMAIN_HAS_SHARES = 1 << 0, /* <cputune><shares> */
	DOMAIN_HAS_QUOTA = 1 << 1,  /* <quota>, <global_quota>, <emulator_quota>, <iothread_quota> > 0 */
	DOMAIN_HAS_SCHED = 1 << 2,  /* <vcpusched>, <emulatorsched>, <iothreadsched> */
	DOMAIN_HAS_EMULATORPIN = 1 << 3,
	DOMAIN_HAS_IOTHREADPIN = 1 << 4,
	DOMAIN_HAS_HUGEPAGES = 1 << 5,  /* <memoryBacking><hugepages> */
	DOMAIN_HAS_MEMSOURCE = 1 << 6,  /* <source type=file|memfd>, <access mode=shared>, <cell memAccess=shared> */
	DOMAIN_HAS_ALLOCATION = 1 << 7, /* <allocation mode=...> */
	DOMAIN_HAS_NUMATUNE = 1 << 8,   /* <numatune> with <memory> or <memnode> */
	DOMAIN_HAS_VCPU_CPUSET = 1 << 9,
	DOMAIN_HAS_PLACEMENT_AUTO = 1 << 10,
	DOMAIN_HAS_SOFT_LIMIT = 1 << 11,      /* <memtune><soft_limit>: libvirt writes it to memory.high (v2) */
	DOMAIN_HAS_LAUNCH_SECURITY = 1 << 12, /* confidential guest */
	DOMAIN_HAS_MEMORY_DEVICES = 1 << 13,  /* dimm, nvdimm, virtio-mem, ... */
	DOMAIN_HAS_LOCKED = 1 << 14,
	DOMAIN_HAS_NOSHAREPAGES = 1 << 15,
	DOMAIN_HAS_MIN_GUARANTEE = 1 << 16, /* <memtune><min_guarantee>: memory.min by meaning; QEMU guests get none */
};

struct domain_hugepage {
	uint64_t size;      /* bytes, 0: the host's default size */
	struct idset cells; /* guest cells it is for; empty: all others */
};

struct domain_cell {
	unsigned int id;
	struct idset vcpus;
	uint64_t memory; /* bytes */
};

struct domain_pin {
	unsigned int id; /* vCPU or I/O thread */
	struct idset cpus;
};

/* What a domain uses of the host's devices, as its definition names it. */
enum domain_device_kind {
	DOMAIN_DEVICE_PCI,     /* "0000:3b:00.0": passed through, or QEMU's own NVMe driver */
	DOMAIN_DEVICE_MDEV,    /* UUID of a mediated device */
	DOMAIN_DEVICE_PATH,    /* absolute path of a disk's image or block device; not of CD-ROM and floppy */
	DOMAIN_DEVICE_VOLUME,  /* storage pool; `more` is the volume */
	DOMAIN_DEVICE_NET,     /* host network device: a bridge, or what a macvtap is on */
	DOMAIN_DEVICE_NETWORK, /* libvirt network whose bridge or device the XML does not say */
	DOMAIN_DEVICE_KIND_MAX
};

struct domain_device {
	enum domain_device_kind kind;
	char *name;
	char *more; /* NULL but for DOMAIN_DEVICE_VOLUME */
};

struct domain {
	char *name;
	char uuid[37];     /* lower case; "" if the XML has none (a file given to plan or check) */
	int id;            /* libvirt's running number; -1 absent */
	char *type;        /* "kvm", "qemu", ... */
	char *arch;        /* os/type@arch, "" absent */
	char *machine;
	char *emulator;    /* devices/emulator, "" absent */
	uint64_t memory;   /* bytes: <memory>, never <currentMemory>, since all is backed; 0 unknown */
	unsigned int vcpus;      /* current: online at start */
	unsigned int vcpus_max;
	struct idset vcpus_online; /* which: 0..vcpus-1, but for a <vcpus> list that says otherwise */
	struct idset vcpu_cpuset; /* <vcpu cpuset=> */
	struct domain_pin *vcpupin; unsigned int n_vcpupin;
	struct domain_pin *iothreadpin; unsigned int n_iothreadpin;
	struct idset emulatorpin;
	unsigned int *iothreads; unsigned int n_iothreads; /* ids, ascending */
	struct domain_cell *cells; unsigned int n_cells;
	struct domain_hugepage *hugepages; unsigned int n_hugepages;
	struct domain_device *devices; unsigned int n_devices; /* in the XML's order, each once */
	unsigned int threads;    /* guest topology threads per core, 0 absent */
	struct idset numatune_nodes; /* <numatune><memory nodeset>, without one the union of <memnode nodeset> */
	char *numatune_mode;     /* of <memory>, else of the first <memnode>; libvirt's default "strict"; "" absent */
	unsigned int has;        /* enum domain_explicit */
	xmlDoc *doc;             /* for rules' XPath; owned */
	xmlNode *tune;           /* our element in the metadata, NULL: none; borrowed from doc */
};

/*
 * text: len bytes. -EFBIG over DOMAIN_XML_MAX, -EBADMSG (place in e) if it is not a <domain> or exceeds one of
 * DOMAIN_*_MAX, -ENOMEM. On failure *ret is all zero. A list or number that libvirt would not have printed is
 * taken as absent. libvirt's status files (/run/libvirt/qemu/NAME.xml) are understood too.
 */
int domain_parse(const char *text, size_t len, struct domain *ret, struct err *e);
/* The same; *ret_pid is the process of a status file, 0 if the text is a plain domain. doc's root is the <domain>. */
int domain_parse_status(const char *text, size_t len, struct domain *ret, int *ret_pid, struct err *e);
void domain_fini(struct domain *d);

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
#define DOMAIN_DISKS_MAX 256      /* further ones are left as they are, with a warning by the plan */
#define DOMAIN_INTERFACES_MAX 256

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
	DOMAIN_HAS_BLKIO_WEIGHT = 1 << 17,  /* <blkiotune><weight> */
	DOMAIN_HAS_CACHETUNE = 1 << 18,  /* <cputune><cachetune>: libvirt makes resctrl groups of vCPUs, or watches them */
	DOMAIN_HAS_MEMORYTUNE = 1 << 19, /* <cputune><memorytune>: the same */
	DOMAIN_HAS_BALLOON = 1 << 20,       /* <memballoon> other than none; suppresses nothing */
	DOMAIN_BALLOON_SHRINKS = 1 << 19,   /* and it gives back memory of itself: autodeflate, freePageReporting */
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
	DOMAIN_DEVICE_KIND_MAX
};

struct domain_device {
	enum domain_device_kind kind;
	char *name;
	char *more; /* NULL but for DOMAIN_DEVICE_VOLUME */
};

/* Where a disk's data is, as its <disk type=> says. */
enum domain_disk_kind {
	DOMAIN_DISK_NONE,      /* an empty drive, or a form that is not known here */
	DOMAIN_DISK_FILE,      /* source: absolute path */
	DOMAIN_DISK_BLOCK,     /* source: absolute path of the device node */
	DOMAIN_DISK_DIR,       /* source: absolute path (a FAT directory) */
	DOMAIN_DISK_VOLUME,    /* source: storage pool, more: volume */
	DOMAIN_DISK_NETWORK,   /* source: protocol ("rbd", "nbd", ...) */
	DOMAIN_DISK_NVME,      /* source: PCI address of the controller, QEMU's own driver */
	DOMAIN_DISK_VHOSTUSER, /* source: "" */
};

/* What the definition says of one disk itself; the attribute of the same meaning gives way (contract). */
enum domain_disk_explicit {
	DISK_HAS_CACHE = 1 << 0, /* <driver cache=>, and the like; "default" says nothing */
	DISK_HAS_IO = 1 << 1,
	DISK_HAS_DISCARD = 1 << 2,
	DISK_HAS_ZEROES = 1 << 3,
	DISK_HAS_METADATA = 1 << 4,
	DISK_HAS_READ_BPS = 1 << 5, /* <iotune>: of this direction, or of both together */
	DISK_HAS_WRITE_BPS = 1 << 6,
	DISK_HAS_READ_IOPS = 1 << 7,
	DISK_HAS_WRITE_IOPS = 1 << 8,
	DISK_HAS_WEIGHT = 1 << 9,   /* only in <blkiotune><device> */
	DISK_IS_READ_ONLY = 1 << 10,
	DISK_IS_SHARED = 1 << 11,   /* <shareable/> */
	DISK_IS_REMOVABLE = 1 << 12, /* cdrom, floppy */
	DISK_IS_LUN = 1 << 13,
	DISK_DISCARDS = 1 << 14,     /* <driver discard='unmap'>, beside DISK_HAS_DISCARD */
	DISK_HAS_QUEUES = 1 << 15,
	DISK_CHAIN_ENDS = 1 << 16,   /* <backingStore/>: behind the last image of `chain` there is none, whatever headers say */
};

#define DOMAIN_CHAIN_MAX 16 /* <backingStore> of one disk that are kept; libvirt takes 200 (virstoragefile.c) */

/* A <backingStore type=>, as a disk has these. */
struct domain_image {
	enum domain_disk_kind kind;
	char *source, *more;
	char *format;
};

struct domain_disk {
	char *target;  /* "vda"; every disk has one, unique within the domain */
	char *bus;     /* "virtio", "scsi", ...; "" absent */
	char *alias;   /* libvirt's, or what libvirt will give it (qemu_alias.c); "" not known */
	enum domain_disk_kind kind;
	char *source, *more; /* see above; more is "" but for a volume */
	char *format;  /* <driver type=>; "" absent */
	char *cache;   /* <driver cache=>; "" absent or "default" */
	unsigned int has;   /* enum domain_disk_explicit */
	/* Images behind it, as far as they are said, the nearest first. libvirt finds out the rest, in the headers. */
	struct domain_image *chain; unsigned int n_chain;
	unsigned int index; /* <source index=> of a running domain, 0 none: QEMU's node is libvirt-INDEX-format */
};

/* <blkiotune><device>: limits of one host block device for the whole domain. */
struct domain_blkio {
	char *path;
	unsigned int has; /* enum domain_disk_explicit, of DISK_HAS_WEIGHT and limits */
};

enum domain_interface_kind {
	DOMAIN_INTERFACE_OTHER,     /* user, vhostuser, vdpa, server, ...: no host device that we could act on */
	DOMAIN_INTERFACE_BRIDGE,    /* source: host bridge */
	DOMAIN_INTERFACE_NETWORK,   /* source: libvirt network, more: its bridge, or the device below the macvtap, where
	                               the XML of a running domain says it ("" else) */
	DOMAIN_INTERFACE_DIRECT,    /* source: host device below the macvtap */
	DOMAIN_INTERFACE_ETHERNET,  /* a tap that somebody else connects */
	DOMAIN_INTERFACE_HOSTDEV,   /* source: PCI address */
};

enum domain_interface_explicit {
	INTERFACE_HAS_INBOUND = 1 << 0,  /* <bandwidth><inbound>: towards the guest */
	INTERFACE_HAS_OUTBOUND = 1 << 1,
	INTERFACE_IS_OVS = 1 << 2,       /* <virtualport type='openvswitch'> */
	INTERFACE_HAS_QUEUES = 1 << 3,
};

struct domain_interface {
	char *mac;    /* lower case, as libvirt prints it; unique in practice, "" in XML that libvirt has not seen */
	char *alias;  /* as for disks */
	char *target; /* host device: the owner's name for it, in a running domain libvirt's; "" not known yet */
	char *type;   /* <interface type=>, for messages */
	char *model;  /* <model type=>, "" absent */
	enum domain_interface_kind kind;
	char *source, *more;
	unsigned int has; /* enum domain_interface_explicit */
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
	struct domain_disk *disks; unsigned int n_disks;       /* in the XML's order */
	struct domain_interface *interfaces; unsigned int n_interfaces;
	struct domain_blkio *blkio; unsigned int n_blkio;
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

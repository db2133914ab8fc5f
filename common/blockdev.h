/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a disk's image to the whole physical devices behind it, as sysfs tells it: partitions, device mapper (LVM,
 * crypt, multipath), md, bcache, loop devices over files, file systems without a device number of their own (btrfs:
 * by the mount's source), bind mounts, backing chains of qcow2 images, volumes of libvirt's pools. Reads only; bounded
 * in depth, width and bytes. What cannot be followed has a reason that names it.
 *
 * Of a multipath device these are: the dm device itself where it is request-based (dm-mpath's default), since its
 * requests bypass the schedulers of its paths (blockdev_walk.h); the paths where it is bio-based; of an NVMe namespace
 * with native multipath the hidden path devices ("nvme0c1n1"), while limits count at the namespace.
 */
#pragma once

#include "domain.h"
#include "hostfs.h"

#define BLOCKDEV_NAME 64
#define BLOCKDEV_MAX 64   /* physical devices behind one domain */
#define BLOCKDEV_CHAIN DOMAIN_CHAIN_MAX /* images of one backing chain that are looked at */

/* One whole device with a request queue of its own: what scheduler, nr_requests and the like belong to. */
struct blockdev {
	char name[BLOCKDEV_NAME]; /* the kernel's: "sda", "nvme0n1", "vdb", "loop0" only if nothing is behind it */
	unsigned int major, minor; /* 0:0: a hidden path of an NVMe namespace */
	bool rotational;
	bool is_nvme, is_virtio;  /* by name, which the driver gives: the scheduler `auto` is none for both */
	char scheduler[32];       /* in force, "" not known */
	char schedulers[128];     /* available, modules that are not loaded yet included; blank-separated. "none" alone: it has
				     no others, or queues nothing; "" not known */
};

/* What a disk's data lies on. */
struct blockdev_disk {
	unsigned int devices[BLOCKDEV_MAX]; unsigned int n; /* indices of blockdev_facts.devices, of the whole chain */
	/*
	 * Where a limit counts once, of the active image: the only physical device, or, with several behind it, the device
	 * on which its file system (or the image itself) is, as a whole device. "" not known, or none (a btrfs on several).
	 */
	char limit[BLOCKDEV_NAME]; unsigned int limit_major, limit_minor;
	char path[1024];          /* active image as QEMU opens it, also of a volume; "" none */
	uint64_t size, cluster;   /* qcow2: virtual size and cluster size of the active image, 0 not known */
	uint64_t chain_bytes;     /* of L2 tables that would cover all qcow2 images of the chain, 0 none */
	unsigned int n_qcow2;     /* qcow2 images in the chain, the active one included */
	char why[160];            /* the active image has no devices: why; a clause ("not applicable: it is on NFS") */
	char chain_why[160];      /* the chain of images is known no further than this: why; "" it is known to its end */
};

struct blockdev_facts {
	struct blockdev devices[BLOCKDEV_MAX]; unsigned int n_devices;
	struct blockdev_disk *disks; unsigned int n_disks; /* as domain.disks, by index */
	/* As domain.blkio, by index: the whole device that the owner's path names; "" none. */
	char (*blkio)[BLOCKDEV_NAME]; unsigned int n_blkio;
	/* Per device: some mechanism heeds cgroup weights: bfq (before Linux 5.0 cfq) in force, or io.cost enabled for it. */
	bool cgroup_weight_acts[BLOCKDEV_MAX];
	bool cut;                 /* there are more devices than were looked at */
};

/* Look at all disks. Only -ENOMEM is an error; what is not there is said in `why`. *ret is zeroed on failure. */
int blockdev_find(const struct hostfs *fs, const struct domain *d, struct blockdev_facts *ret);
void blockdev_fini(struct blockdev_facts *f);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From images to devices, over generated hosts, real loop devices, and images as they should and should not be. */
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "common/blockdev.h"
#include "tests/unit/root_block.h"

#define SCSI "sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block"
#define NVME "sys/devices/pci0000:00/0000:01:00.0/nvme"
#define SUBSYSTEM "sys/devices/virtual/nvme-subsystem"

static void put_disks(struct root *r)
{
	static const struct {
		const char *dir, *number, *schedulers;
		int rotational;
	} rows[] = {
		{SCSI "/sda", "8:0", "none mq-deadline kyber [bfq]", 1},
		{SCSI "/sdb", "8:16", "[mq-deadline] kyber bfq none", 0},
		{SCSI "/sdc", "8:32", "[mq-deadline] none", 1},
		{SCSI "/sdd", "8:48", "[mq-deadline] none", 1},
		{"sys/devices/pci0000:00/0000:00:05.0/virtio2/block/vda", "254:0", "none [mq-deadline]", 1},
		{NVME "/nvme0/nvme0n1", "259:0", "[none] mq-deadline", 0},
		{"sys/devices/pci0000:00/0000:04:00.0/host2/cciss!c0d0", "104:0", "[mq-deadline] none", 1},
		{VIRTUAL "/loop0", "7:0", "[none] mq-deadline", 0},
		{VIRTUAL "/loop1", "7:1", "[none] mq-deadline", 0},
		{VIRTUAL "/loop2", "7:2", "[none] mq-deadline", 0},
		{VIRTUAL "/loop4", "7:4", "[none] mq-deadline", 0},
		{VIRTUAL "/md0", "9:0", "none", 1},
		{VIRTUAL "/zd0", "230:0", "none", 0},
		{VIRTUAL "/rbd1", "252:16", "[none] mq-deadline", 0},
		{VIRTUAL "/nbd0", "43:0", "[none] mq-deadline", 0},
		{VIRTUAL "/zram0", "251:0", "none", 0},
		{VIRTUAL "/bcache0", "250:0", "none", 1},
		{VIRTUAL "/dm-0", "253:0", "none", 1},
		{VIRTUAL "/dm-1", "253:1", "none", 1},
		{VIRTUAL "/dm-2", "253:2", "[mq-deadline] kyber bfq none", 1},
		{VIRTUAL "/dm-3", "253:3", "none", 1},
		{VIRTUAL "/dm-4", "253:4", "none", 1},
		{VIRTUAL "/dm-5", "253:5", "none", 1},
		{VIRTUAL "/dm-6", "253:6", "none", 1},
		{VIRTUAL "/dm-7", "253:7", "none", 1},
	};
	static const char *const parts[][2] = {
		{SCSI "/sda/sda1", "8:1"},
		{SCSI "/sda/sda2", "8:2"},
		{SCSI "/sdb/sdb1", "8:17"},
		{NVME "/nvme0/nvme0n1/nvme0n1p1", "259:1"},
		{"sys/devices/pci0000:00/0000:04:00.0/host2/cciss!c0d0/cciss!c0d0p1", "104:1"},
		{VIRTUAL "/md0/md0p1", "259:2"},
		{VIRTUAL "/loop0/loop0p1", "259:3"},
	};
	static const char *const slaves[][2] = {
		{"md0", "sda1"},    {"md0", "sdb1"}, {"dm-0", "md0p1"},                     /* crypt on md */
		{"dm-1", "dm-0"},                                                           /* LVM on that */
		{"dm-2", "sdc"},    {"dm-2", "sdd"}, {"dm-3", "dm-2"},                      /* multipath, a partition on it */
		{"dm-4", "sdc"},    {"dm-4", "sdd"},                                        /* bio-based */
		{"dm-5", "zd0"},    {"dm-6", "dm-7"}, {"dm-7", "dm-6"}, {"bcache0", "sda2"}, /* circles cannot be */
	};
	char path[128];

	root_init(r);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		put_block(r, rows[i].dir, rows[i].number);
		put_queue(r, strrchr(rows[i].dir, '/') + 1, rows[i].schedulers, rows[i].rotational);
	}
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		put_block(r, parts[i][0], parts[i][1]);
	for (size_t i = 0; i < ARRAY_SIZE(slaves); i++) {
		(void)snprintf(path, sizeof(path), VIRTUAL "/%s", slaves[i][0]);
		put_slave(r, path, slaves[i][1]);
	}
	root_put(r, VIRTUAL "/loop0/loop/backing_file", "/dev/nvme0n1p1\n");
	root_put(r, VIRTUAL "/loop1/loop/backing_file", "/dev/loop1\n");
	root_put(r, VIRTUAL "/loop2/loop/backing_file", "/var/lib/disk.img\n");
	root_link(r, "dev/vg/web1", "../dm-1");
	root_link(r, "dev/mapper/vg-web1", "../dm-1");
	root_link(r, "dev/disk/by-id/wwn-0x5", "../../sda");
}

/* Namespaces of subsystems: shared by two controllers, by one, and by one of an old kernel without path devices. */
static void put_shared_nvme(struct root *r)
{
	put_block(r, SUBSYSTEM "/nvme-subsys1/nvme1n1", "259:16");
	put_queue(r, "nvme1n1", "none", 0);
	put_block(r, NVME "/nvme1/nvme1c1n1", NULL);
	put_queue(r, "nvme1c1n1", "[none] mq-deadline", 0);
	put_block(r, NVME "/nvme7/nvme1c7n1", NULL);
	put_queue(r, "nvme1c7n1", "none [mq-deadline]", 0);
	root_link(r, SUBSYSTEM "/nvme-subsys1/nvme1", "../../../pci0000:00/0000:01:00.0/nvme/nvme1");
	root_link(r, SUBSYSTEM "/nvme-subsys1/nvme7", "../../../pci0000:00/0000:01:00.0/nvme/nvme7");
	put_block(r, SUBSYSTEM "/nvme-subsys2/nvme2n1", "259:17");
	put_block(r, SUBSYSTEM "/nvme-subsys2/nvme2n1/nvme2n1p1", "259:18");
	put_queue(r, "nvme2n1", "none", 0);
	put_block(r, NVME "/nvme2/nvme2c2n1", NULL);
	put_queue(r, "nvme2c2n1", "[none] mq-deadline", 0);
	root_link(r, SUBSYSTEM "/nvme-subsys2/nvme2", "../../../pci0000:00/0000:01:00.0/nvme/nvme2");
	put_block(r, SUBSYSTEM "/nvme-subsys3/nvme3n1", "259:19");
	put_queue(r, "nvme3n1", "none", 0);
	root_mkdir(r, NVME "/nvme3");
	root_link(r, SUBSYSTEM "/nvme-subsys3/nvme3", "../../../pci0000:00/0000:01:00.0/nvme/nvme3");
}

static void put_mounts(struct root *r)
{
	root_put(r, "proc/self/mountinfo",
		 "20 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw\n"
		 "21 20 0:30 /@images /srv/images rw - btrfs /dev/sdb1 rw,subvol=/@images\n"
		 "22 20 0:30 /@two /srv/two rw - btrfs /dev/sda1 rw,subvol=/@two\n"
		 "23 20 259:1 / /srv/fast rw shared:1 master:2 propagate_from:3 - xfs /dev/nvme0n1p1 rw\n"
		 "24 20 8:2 /var/lib /srv/bind rw - ext4 /dev/sda2 rw\n"
		 "25 20 0:31 / /srv/nfs rw - nfs4 host:/export rw\n"
		 "26 20 0:32 / /srv/ceph rw - ceph 10.0.0.1:/ rw\n"
		 "27 20 0:33 / /srv/zfs rw - zfs tank/images rw\n"
		 "28 20 0:34 / /srv/tmp rw - tmpfs tmpfs rw\n"
		 "29 20 0:35 / /srv/overlay rw - overlay overlay rw,lowerdir=/a,upperdir=/b\n"
		 "30 20 0:36 / /srv/gluster rw - fuse.glusterfs host:vol rw\n"
		 "31 20 0:37 / /srv/many rw - bcachefs /dev/sdc:/dev/sdd rw\n"
		 "32 20 252:16 / /srv/rbd rw - xfs /dev/rbd1 rw\n"
		 "33 20 253:1 / /srv/a\\040b rw - ext4 /dev/mapper/vg-web1 rw\n"
		 "34 20 8:99 / /srv/gone rw - ext4 /dev/sdz rw\n"
		 "35 20 0:38 / /srv/lost rw - btrfs /dev/sdz rw\n"
		 "36 20 0:39 / /srv/fast/over rw - tmpfs x rw\n"
		 "37 20 8:2 /other /srv/fast/over rw - ext4 /dev/sda2 rw\n"
		 "- - -\n\n99\n99 1\n99 1 x:y / / - a b\n99 1 8:0 / - ext4 /dev/sda\nx 1 8:0 / /srv rw - ext4 /dev/sda rw\n");
	root_mkdir(r, "sys/fs/btrfs/features");
	root_link(r, "sys/fs/btrfs/11111111-0000-0000-0000-000000000000/devices/sdb1", "../../../../class/block/sdb1");
	root_link(r, "sys/fs/btrfs/22222222-0000-0000-0000-000000000000/devices/sda1", "../../../../class/block/sda1");
	root_link(r, "sys/fs/btrfs/22222222-0000-0000-0000-000000000000/devices/dm-2", "../../../../class/block/dm-2");
}

static void make_host(struct root *r)
{
	put_disks(r);
	put_shared_nvme(r);
	put_mounts(r);
}

/* --- looking */

static struct domain domain;
static struct blockdev_facts facts;

static bool look(struct root *r, const char *devices)
{
	static char xml[65536];
	bool good;

	(void)snprintf(xml, sizeof(xml),
		       str_starts(devices, "<disk") ? "<domain><devices>%s</devices></domain>" : "<domain>%s</domain>",
		       devices);
	good = domain_parse(xml, strlen(xml), &domain, NULL) == 0 && blockdev_find(&r->fs, &domain, &facts) == 0;
	if (!good)
		TAP_FAIL("%s", devices);
	return good;
}

static void done(void)
{
	blockdev_fini(&facts);
	domain_fini(&domain);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "sda sdb @md0: WHY; CHAIN": what there is of it, names sorted. */
static const char *shown(unsigned int disk)
{
	static char text[1024];
	const struct blockdev_disk *k = &facts.disks[disk];
	char *names[BLOCKDEV_MAX];

	for (unsigned int i = 0; i < k->n; i++)
		names[i] = facts.devices[k->devices[i]].name;
	qsort(names, k->n, sizeof(names[0]), by_text);
	text[0] = '\0';
	for (unsigned int i = 0; i < k->n; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "", names[i]);
	(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s%s%s%s%s", *k->limit ? " @" : "",
		       k->limit, *k->why ? ": " : "", k->why, *k->chain_why ? "; " : "",
		       k->chain_why);
	return text;
}

static const char *found_for(struct root *r, const char *devices)
{
	static char text[1024];

	if (!look(r, devices))
		return "(error)";
	(void)snprintf(text, sizeof(text), "%s", facts.n_disks ? shown(0) : "(no disk)");
	done();
	return text;
}

#define DISK(type, attr, path) \
	"<disk type='" type "'><source " attr "='" path "'/><target dev='vda' bus='virtio'/></disk>"
#define BLOCK(path) DISK("block", "dev", path)
#define FILE_(path) DISK("file", "file", path)

TEST(stacks)
{
	static const struct {
		const char *devices, *want;
	} cases[] = {
		{BLOCK("/dev/sda"), "sda @sda"},
		{BLOCK("/dev/sda1"), "sda @sda"},
		{BLOCK("/dev/disk/by-id/wwn-0x5"), "sda @sda"},
		{BLOCK("/dev/vda"), "vda @vda"},
		{BLOCK("/dev/cciss/c0d0p1"), "cciss!c0d0 @cciss!c0d0"},
		{BLOCK("/dev/md0"), "sda sdb @md0"},
		{BLOCK("/dev/vg/web1"), "sda sdb @dm-1"},
		{BLOCK("/dev/mapper/vg-web1"), "sda sdb @dm-1"},
		{BLOCK("/dev/bcache0"), "sda @sda"},
		/* requests of request-based multipath bypass its paths' schedulers, those of bio-based do not */
		{BLOCK("/dev/dm-2"), "dm-2 @dm-2"},
		{BLOCK("/dev/dm-3"), "dm-2 @dm-2"},
		{BLOCK("/dev/dm-4"), "sdc sdd @dm-4"},
		{BLOCK("/dev/nvme0n1p1"), "nvme0n1 @nvme0n1"},
		{BLOCK("/dev/nvme1n1"), "nvme1c1n1 nvme1c7n1 @nvme1n1"},
		{BLOCK("/dev/nvme2n1p1"), "nvme2c2n1 @nvme2n1"},
		{BLOCK("/dev/nvme3n1"), "nvme3n1 @nvme3n1"},
		{BLOCK("/dev/loop0p1"), "nvme0n1 @nvme0n1"},
		{BLOCK("/dev/loop1"), "loop1 @loop1"}, /* lies on itself */
		{BLOCK("/dev/loop2"), "sda @sda"},
		{BLOCK("/dev/loop4"), "loop4 @loop4"}, /* has no file */
		{BLOCK("/dev/zd0"), ": not applicable: it is on a ZFS volume"},
		{BLOCK("/dev/dm-5"), ": not applicable: it is on a ZFS volume"},
		{BLOCK("/dev/rbd1"), ": not applicable: it is on a Ceph (rbd) device"},
		{BLOCK("/dev/nbd0"), ": not applicable: it is on a network block device (nbd)"},
		{BLOCK("/dev/zram0"), ": not applicable: it is on compressed memory (zram)"},
		{BLOCK("/dev/dm-6"), ": nothing is known of this block device"}, /* a circle */
		{BLOCK("/dev/nothing"), ": nothing is known of this block device"},
	};
	struct root r;

	make_host(&r);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		IS_STR(found_for(&r, cases[i].devices), cases[i].want);
	root_fini(&r);
}

TEST(file_systems)
{
	static const struct {
		const char *devices, *want;
	} cases[] = {
		{FILE_("/var/lib/a.img"), "sda @sda"},
		{FILE_("/srv/bind/a.img"), "sda @sda"},
		{FILE_("/srv/images/a.img"), "sdb @sdb"},
		{FILE_("/srv/imagesque"), "sda @sda"},
		{FILE_("/srv//tmp/./x/../../fast/a.img"), "nvme0n1 @nvme0n1"},
		{FILE_("/srv/fast/../../.."), "sda @sda"},
		{FILE_("/srv/two/a.img"), "dm-2 sda"}, /* on two devices: a limit would count twice */
		{FILE_("/srv/fast/a.img"), "nvme0n1 @nvme0n1"},
		{FILE_("/srv/fast/over/a.img"), "sda @sda"}, /* what is mounted later is above */
		{FILE_("/srv/many/a.img"), "sdc sdd"},
		{FILE_("/srv/a b/a.img"), "sda sdb @dm-1"},
		{DISK("dir", "dir", "/srv/fast"), "nvme0n1 @nvme0n1"},
		{FILE_("/srv/nfs/a.img"), ": not applicable: it is on NFS"},
		{FILE_("/srv/ceph/a.img"), ": not applicable: it is on Ceph"},
		{FILE_("/srv/zfs/a.img"), ": not applicable: it is on ZFS"},
		{FILE_("/srv/tmp/a.img"), ": not applicable: it is on tmpfs"},
		{FILE_("/srv/overlay/a.img"), ": not applicable: it is on overlay"},
		{FILE_("/srv/gluster/a.img"), ": not applicable: it is on FUSE"},
		{FILE_("/srv/rbd/a.img"), ": not applicable: it is on a Ceph (rbd) device"},
		{FILE_("/srv/gone/a.img"), ": nothing is known of block device 8:99"},
		{FILE_("/srv/lost/a.img"), ": not applicable: it is on btrfs"},
		{"<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>", ": it has no image"},
		{"<disk type='network'><source protocol='rbd' name='a/b'/><target dev='vda'/></disk>",
		 ": not applicable: a network disk (rbd)"},
		{"<disk type='nvme'><source type='pci'><address bus='1'/></source><target dev='vda'/></disk>",
		 ": not applicable: QEMU's own driver has the NVMe controller (0000:01:00.0)"},
		{"<disk type='vhostuser'><source type='unix' path='/x'/><target dev='vda'/></disk>",
		 ": not applicable: another process does its I/O (vhost-user)"},
		{"<disk type='network'><source protocol='a&#10;b'/><target dev='vda'/></disk>",
		 ": not applicable: a network disk (a?b)"},
	};
	struct root r;

	make_host(&r);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		IS_STR(found_for(&r, cases[i].devices), cases[i].want);
	root_remove(&r, "proc/self/mountinfo");
	IS_STR(found_for(&r, FILE_("/var/lib/a.img")), ": it is not known what its file system is on");
	root_fini(&r);
}

TEST(devices)
{
	static const struct {
		const char *name, *scheduler, *schedulers;
		unsigned int major, minor;
		bool rotational, is_nvme, is_virtio, weight;
	} want[] = {
		{"sda", "bfq", "none mq-deadline kyber bfq", 8, 0, true, false, false, true},
		{"sdb", "mq-deadline", "mq-deadline kyber bfq none", 8, 16, false, false, false, true}, /* io.cost */
		{"vda", "mq-deadline", "none mq-deadline", 254, 0, true, false, true, false},
		{"nvme0n1", "none", "none mq-deadline", 259, 0, false, true, false, false},
		{"nvme1c1n1", "none", "none mq-deadline", 0, 0, false, true, false, false},
		{"nvme1c7n1", "mq-deadline", "none mq-deadline", 0, 0, false, true, false, false},
		{"nvme3n1", "none", "none", 259, 19, false, true, false, false},
		{"sdc", "", "", 8, 32, false, false, false, false}, /* nothing can be read */
	};
	static const char disks[] = BLOCK("/dev/sda") BLOCK("/dev/sdb") BLOCK("/dev/vda") BLOCK("/dev/nvme0n1")
		BLOCK("/dev/nvme1n1") BLOCK("/dev/nvme3n1") BLOCK("/dev/sdc") BLOCK("/dev/sda1");
	struct root r;

	make_host(&r);
	root_put(&r, "sys/fs/cgroup/io.cost.qos",
		 "8:1 enable=1\n8:160 enable=1\n8:16 enable=1 ctrl=auto rpct=0.00\n254:0 enable=0 ctrl=user\n\n0:0 enable=1\n");
	root_remove(&r, "sys/class/block/sdc/queue/scheduler");
	root_remove(&r, "sys/class/block/sdc/queue/rotational");
	if (!look(&r, disks))
		return;
	IS_INT(facts.n_disks, 8);
	IS_INT(facts.n_devices, ARRAY_SIZE(want));
	for (unsigned int i = 0; i < ARRAY_SIZE(want); i++) {
		const struct blockdev *b = NULL;
		unsigned int at = 0;

		for (unsigned int k = 0; k < facts.n_devices; k++)
			if (streq(facts.devices[k].name, want[i].name)) {
				b = &facts.devices[k];
				at = k;
			}
		if (!b) {
			TAP_FAIL("%s is not found", want[i].name);
			continue;
		}
		IS_STR(b->scheduler, want[i].scheduler);
		IS_STR(b->schedulers, want[i].schedulers);
		IS_INT(b->major, want[i].major);
		IS_INT(b->minor, want[i].minor);
		IS_INT(b->rotational, want[i].rotational);
		IS_INT(b->is_nvme, want[i].is_nvme);
		IS_INT(b->is_virtio, want[i].is_virtio);
		IS_INT(facts.cgroup_weight_acts[at], want[i].weight);
	}
	IS_INT(facts.disks[7].devices[0], facts.disks[0].devices[0]);
	IS_INT(facts.disks[4].limit_major, 259);
	IS_INT(facts.disks[4].limit_minor, 16);
	IS_STR(facts.disks[7].path, "/dev/sda1");
	OK(!facts.cut);
	done();
	root_fini(&r);
}

/* A hybrid host has the version 2 tree elsewhere. */
TEST(io_cost_of_a_hybrid_host)
{
	struct root r;

	make_host(&r);
	root_put(&r, "sys/fs/cgroup/unified/io.cost.qos", "8:16 ctrl=auto enable=1\n");
	if (look(&r, BLOCK("/dev/sdb"))) {
		OK(facts.cgroup_weight_acts[0]);
		done();
	}
	root_fini(&r);
}

/* What is not loaded yet is there if its module is. */
TEST(schedulers_that_are_modules)
{
	static const struct {
		const char *module, *text, *schedulers;
	} cases[] = {
		{"bfq.ko", "[none] mq-deadline", "none mq-deadline bfq"},
		{"bfq.ko.xz", "none [mq-deadline]", "none mq-deadline bfq"},
		{"bfq.ko.zst", "none [bfq]", "none bfq"},
		{"kyber-iosched.ko", "[none] bfq", "none bfq kyber"},
		{"bfq.ko", "none", "none"}, /* it schedules nothing */
		{"bfq.o", "[none] mq-deadline", "none mq-deadline"},
		{"t10-pi.ko", "[none] mq-deadline", "none mq-deadline"},
	};
	char path[128];
	struct root r;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		make_host(&r);
		root_put(&r, "proc/sys/kernel/osrelease", "6.1.0-18-amd64\n");
		(void)snprintf(path, sizeof(path), "lib/modules/6.1.0-18-amd64/kernel/block/%s", cases[i].module);
		root_put(&r, path, "");
		put_queue(&r, "sdb", cases[i].text, 0);
		if (look(&r, BLOCK("/dev/sdb"))) {
			IS_STR(facts.devices[0].schedulers, cases[i].schedulers);
			done();
		}
		root_fini(&r);
	}
}

TEST(schedulers_of_any_text)
{
	static const struct {
		const char *text, *scheduler, *schedulers;
	} cases[] = {
		{"", "", ""},
		{"none", "none", "none"},
		{"[none]", "none", "none"},
		{"[]", "", "[]"},
		{"  [bfq]   none ", "bfq", "bfq none"},
		{"noop deadline [cfq]", "cfq", "noop deadline cfq"},
		{"[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa] none", "none", "none"},
	};
	char many[256] = "";
	struct root r;

	make_host(&r);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put_queue(&r, "sdb", cases[i].text, 0);
		if (!look(&r, BLOCK("/dev/sdb")))
			continue;
		IS_STR(facts.devices[0].scheduler, cases[i].scheduler);
		IS_STR(facts.devices[0].schedulers, cases[i].schedulers);
		done();
	}
	for (int i = 0; i < 40; i++)
		(void)strcat(many, i == 39 ? "[last]" : "sched ");
	put_queue(&r, "sdb", many, 0);
	if (look(&r, BLOCK("/dev/sdb"))) {
		IS_STR(facts.devices[0].scheduler, ""); /* what does not fit is not known */
		IS_INT(strlen(facts.devices[0].schedulers), 21 * 6 - 1);
		done();
	}
	root_fini(&r);
}

TEST(devices_that_the_owner_names)
{
	static const char blkio[] = "<blkiotune>"
				    "<device><path>/dev/sda2</path><weight>500</weight></device>"
				    "<device><path>/dev/vg/web1</path><read_iops_sec>5</read_iops_sec></device>"
				    "<device><path>/var/lib/file</path><weight>500</weight></device>"
				    "<device><path>/dev/absent</path><weight>500</weight></device></blkiotune>"
				    "<devices>" BLOCK("/dev/nvme0n1") "</devices>";
	struct root r;

	make_host(&r);
	if (look(&r, blkio)) {
		IS_INT(facts.n_blkio, 4);
		IS_STR(facts.blkio[0], "sda");
		IS_STR(facts.blkio[1], "dm-1");
		IS_STR(facts.blkio[2], "");
		IS_STR(facts.blkio[3], "");
		IS_INT(facts.n_devices, 1); /* of disks only */
		done();
	}
	root_fini(&r);
}

TEST(volumes)
{
	static const struct {
		const char *pool, *volume, *want;
	} cases[] = {
		{"images", "a.img", "nvme0n1 @nvme0n1"},
		{"vg", "web1", "sda sdb @dm-1"},
		{"disks", "sda1", "sda @sda"},
		{"paths", "dm-2", "dm-2 @dm-2"},
		{"both", "a.img", "sda @sda"}, /* as it runs now */
		{"nfs", "a.img", ": not applicable: it is on NFS"},
		{"rbd", "a", ": not applicable: volumes of a pool of type rbd have no path"},
		{"odd", "a", ": not applicable: volumes of a pool of type ? have no path"},
		{"relative", "a", ": not applicable: volumes of a pool of type dir have no path"},
		{"broken", "a", ": libvirt's files have no pool 'broken'"},
		{"none", "a", ": libvirt's files have no pool 'none'"},
		{"../storage/images", "a", ": libvirt's files have no pool '../storage/images'"},
		{"images", "../etc/passwd", ": '../etc/passwd' is no name of a volume"},
		{"images", "", ": '' is no name of a volume"},
	};
	char xml[512];
	struct root r;

	make_host(&r);
#define POOL(name, type, path) \
	root_put(&r, "etc/libvirt/storage/" name ".xml", \
		 "<pool type='" type "'><name>" name "</name><target><path>" path "</path></target></pool>")
	POOL("images", "dir", "/srv/fast");
	POOL("vg", "logical", "/dev/vg");
	POOL("disks", "disk", "/dev");
	POOL("paths", "mpath", "/dev/mapper");
	POOL("both", "dir", "/srv/fast");
	POOL("nfs", "netfs", "/srv/nfs");
	POOL("relative", "dir", "srv/fast");
	root_put(&r, "run/libvirt/storage/both.xml",
		 "<poolstate><pool type='dir'><target><path>/srv</path></target></pool></poolstate>");
	root_put(&r, "etc/libvirt/storage/rbd.xml", "<pool type='rbd'><source><name>x</name></source></pool>");
	root_put(&r, "etc/libvirt/storage/odd.xml", "<pool/>");
	root_put(&r, "etc/libvirt/storage/broken.xml", "<pool type='dir'><target>");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)snprintf(xml, sizeof(xml),
			       "<disk type='volume'><source pool='%s' volume='%s'/><target dev='vda'/></disk>",
			       cases[i].pool, cases[i].volume);
		IS_STR(found_for(&r, xml), cases[i].want);
	}
	if (look(&r, "<disk type='volume'><source pool='vg' volume='web1'/><target dev='vda'/></disk>")) {
		IS_STR(facts.disks[0].path, "/dev/vg/web1");
		done();
	}
	root_fini(&r);
}

/* --- images */

struct made {
	unsigned char bytes[4096];
	size_t len;
};

static void put32(struct made *m, size_t at, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		m->bytes[at + (size_t)i] = (unsigned char)(v >> (24 - 8 * i));
}

static void put64(struct made *m, size_t at, uint64_t v)
{
	put32(m, at, (uint32_t)(v >> 32));
	put32(m, at + 4, (uint32_t)v);
}

static void add_extension(struct made *m, uint32_t type, const char *text)
{
	put32(m, m->len, type);
	put32(m, m->len + 4, (uint32_t)strlen(text));
	memcpy(m->bytes + m->len + 8, text, strlen(text));
	m->len += 8 + (strlen(text) + 7) / 8 * 8;
}

/* As `qemu-img create` writes it; NULL: none. */
static struct made make_qcow2(uint64_t size, const char *backing, const char *format)
{
	struct made m = {.len = 104};

	put32(&m, 0, 0x514649fb);
	put32(&m, 4, 3);
	put32(&m, 20, 16);
	put64(&m, 24, size);
	put32(&m, 96, 4);
	put32(&m, 100, 104);
	if (format)
		add_extension(&m, 0xe2792aca, format);
	add_extension(&m, 0x6803f857, "feature names, which are nothing to us");
	add_extension(&m, 0, "");
	if (backing) {
		put64(&m, 8, m.len);
		put32(&m, 16, (uint32_t)strlen(backing));
		memcpy(m.bytes + m.len, backing, strlen(backing));
		m.len += strlen(backing);
	}
	return m;
}

static void put_image(struct root *r, const char *path, const struct made *m)
{
	root_put_bytes(r, path, m->bytes, m->len);
}

static void put_qcow2(struct root *r, const char *path, uint64_t size, const char *backing, const char *format)
{
	struct made m = make_qcow2(size, backing, format);

	put_image(r, path, &m);
}

#define QCOW2(path) \
	"<disk type='file'><driver name='qemu' type='qcow2'/><source file='" path "'/><target dev='vda'/></disk>"
#define GIB (UINT64_C(1) << 30)

/* "N images SIZE/CLUSTER L2: devices". */
static const char *chain_of(struct root *r, const char *devices)
{
	static char text[2048];
	const struct blockdev_disk *k;

	if (!look(r, devices))
		return "(error)";
	k = &facts.disks[0];
	(void)snprintf(text, sizeof(text), "%u %llu/%llu %llu: %s", k->n_qcow2, (unsigned long long)k->size,
		       (unsigned long long)k->cluster, (unsigned long long)k->chain_bytes, shown(0));
	done();
	return text;
}

TEST(backing_chains)
{
	static const struct {
		const char *devices, *want;
	} cases[] = {
		{QCOW2("/srv/fast/alone"), "1 1073741824/65536 131072: nvme0n1 @nvme0n1"},
		{FILE_("/srv/fast/alone"), "0 0/0 0: nvme0n1 @nvme0n1"}, /* the definition does not say qcow2 */
		{QCOW2("/srv/fast/top"), "3 2147483648/65536 1638400: nvme0n1 sda sdb @nvme0n1"},
		{QCOW2("/srv/fast/on-raw"), "1 1073741824/65536 131072: nvme0n1 sda @nvme0n1"},
		/* a path is looked at only if what is there is of a format that is followed */
		{QCOW2("/srv/fast/no-format"),
		 "1 1073741824/65536 131072: nvme0n1 @nvme0n1; /srv/images/middle: its format is not said"},
		{QCOW2("/srv/fast/on-vmdk"),
		 "1 1073741824/65536 131072: nvme0n1 @nvme0n1; /srv/images/middle: images of this format are not followed"},
		{QCOW2("/srv/fast/on-luks"), "1 1073741824/65536 131072: nvme0n1 sdb @nvme0n1"},
		{QCOW2("/srv/fast/on-lv"), "2 1073741824/65536 262144: nvme0n1 sda sdb @nvme0n1"},
		{QCOW2("/srv/fast/on-nbd"),
		 "1 1073741824/65536 131072: nvme0n1 @nvme0n1; nbd://10.0.0.1:10809/x: it is no file of this host (nbd:)"},
		{QCOW2("/srv/fast/on-json"),
		 "1 1073741824/65536 131072: nvme0n1 @nvme0n1; json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"nbd\"}}: "
		 "it is no file of this host (json:)"},
		{QCOW2("/srv/fast/on-rbd"),
		 "1 1073741824/65536 131072: nvme0n1 @nvme0n1; rbd:pool/image:conf=/etc/ceph.conf: it is no file of "
		 "this host (rbd:)"},
		{QCOW2("/srv/fast/on-absent"),
		 "1 1073741824/65536 131072: nvme0n1 sda @nvme0n1; /gone/base: No such file or directory"},
		{QCOW2("/srv/fast/itself"),
		 "1 1073741824/65536 131072: nvme0n1 @nvme0n1; /srv/fast/itself: it is its own backing file"},
		{QCOW2("/srv/fast/ring1"),
		 "2 1073741824/65536 262144: nvme0n1 @nvme0n1; /srv/fast/../fast/ring1: it is its own backing file"},
		{QCOW2("/srv/fast/linked"), "3 2147483648/65536 1638400: nvme0n1 sda sdb @nvme0n1"}, /* the owner's */
		{QCOW2("/srv/fast/on-link"),
		 "1 1073741824/65536 131072: nvme0n1 sda @nvme0n1; /var/link: it is a symbolic link, which is not followed"},
		{QCOW2("/srv/fast/on-fifo"),
		 "1 1073741824/65536 131072: nvme0n1 sda @nvme0n1; /var/fifo: it is neither a file nor a block device"},
		{QCOW2("/srv/fast/on-directory"),
		 "1 1073741824/65536 131072: nvme0n1 sda @nvme0n1; /var: it is neither a file nor a block device"},
		{QCOW2("/srv/fast/external"), "1 1073741824/65536 131072: nvme0n1 sda @nvme0n1"},
		{QCOW2("/srv/fast/strange"),
		 "1 1073741824/65536 131072: nvme0n1 @nvme0n1; /srv/fast/a?b: No such file or directory"},
		{QCOW2("/srv/fast/escape"),
		 "1 1073741824/65536 131072: nvme0n1 sda @nvme0n1; /srv/fast/../../../../../../../../../../etc/hosts: "
		 "No such file or directory"},
		{DISK("dir", "dir", "/srv/fast"), "0 0/0 0: nvme0n1 @nvme0n1"},
		{"<disk type='dir'><driver type='qcow2'/><source dir='/srv/fast'/><target dev='vda'/></disk>",
		 "0 0/0 0: nvme0n1 @nvme0n1"},
	};
	struct made m;
	struct root r;

	make_host(&r);
	put_qcow2(&r, "srv/fast/alone", GIB, NULL, NULL);
	put_qcow2(&r, "srv/fast/top", 2 * GIB, "../images/middle", "qcow2");
	put_qcow2(&r, "srv/images/middle", 10 * GIB, "/var/base", "qcow2");
	put_qcow2(&r, "var/base", GIB / 2, NULL, NULL);
	put_qcow2(&r, "srv/fast/on-raw", GIB, "/var/base", "raw");
	put_qcow2(&r, "srv/fast/no-format", GIB, "/srv/images/middle", NULL);
	put_qcow2(&r, "srv/fast/on-vmdk", GIB, "/srv/images/middle", "vmdk");
	put_qcow2(&r, "srv/fast/on-luks", GIB, "/srv/images/middle", "luks");
	put_qcow2(&r, "dev/dm-1", GIB, NULL, NULL); /* a plain file stands for the node */
	put_qcow2(&r, "srv/fast/on-lv", GIB, "/dev/dm-1", "qcow2");
	put_qcow2(&r, "srv/fast/on-nbd", GIB, "nbd://10.0.0.1:10809/x", "qcow2");
	put_qcow2(&r, "srv/fast/on-json", GIB, "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"nbd\"}}", "qcow2");
	put_qcow2(&r, "srv/fast/on-rbd", GIB, "rbd:pool/image:conf=/etc/ceph.conf", "raw");
	put_qcow2(&r, "srv/fast/on-absent", GIB, "/gone/base", "qcow2");
	put_qcow2(&r, "srv/fast/itself", GIB, "itself", "qcow2");
	put_qcow2(&r, "srv/fast/ring1", GIB, "ring2", "qcow2");
	put_qcow2(&r, "srv/fast/ring2", GIB, "../fast/ring1", "qcow2");
	put_qcow2(&r, "srv/fast/on-link", GIB, "/var/link", "qcow2");
	put_qcow2(&r, "srv/fast/on-fifo", GIB, "/var/fifo", "qcow2");
	put_qcow2(&r, "srv/fast/on-directory", GIB, "/var", "qcow2");
	put_qcow2(&r, "srv/fast/strange", GIB, "a\nb", "qcow2");
	put_qcow2(&r, "srv/fast/escape", GIB, "../../../../../../../../../../etc/hosts", "qcow2");
	root_link(&r, "srv/fast/linked", "top");
	root_link(&r, "var/link", "base");
	(void)mkfifoat(r.fs.fd, "var/fifo", 0600);
	m = make_qcow2(GIB, NULL, NULL);
	put64(&m, 72, 1 << 2);
	m.len -= 8; /* over the end mark */
	add_extension(&m, 0x44415441, "/var/data.raw");
	add_extension(&m, 0, "");
	put_image(&r, "srv/fast/external", &m);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		IS_STR(chain_of(&r, cases[i].devices), cases[i].want);
	root_fini(&r);
}

#define BACKED(format, path, more) \
	"<disk type='file'><driver type='" format "'/><source file='" path "'/>" more "<target dev='vda'/></disk>"
#define BEHIND(format, path, more) \
	"<backingStore type='file'><format type='" format "'/><source file='" path "'/>" more "</backingStore>"
#define ENDS "<backingStore/>"

/* The definition's word counts before that of headers. */
TEST(chains_of_the_definition)
{
	static const struct {
		const char *devices, *want;
	} cases[] = {
		{BACKED("qcow2", "/srv/fast/top", ENDS), "1 2147483648/65536 262144: nvme0n1 @nvme0n1"},
		{BACKED("qcow2", "/srv/fast/top", BEHIND("raw", "/srv/a b/raw", ENDS)),
		 "1 2147483648/65536 262144: nvme0n1 sda sdb @nvme0n1"},
		{BACKED("qcow2", "/srv/fast/top", BEHIND("raw", "/srv/images/middle", "")),
		 "1 2147483648/65536 262144: nvme0n1 sdb @nvme0n1"},
		{BACKED("qcow2", "/srv/fast/top", BEHIND("qcow2", "/srv/images/middle", ENDS)),
		 "2 2147483648/65536 1572864: nvme0n1 sdb @nvme0n1"},
		/* behind what it says last, headers */
		{BACKED("qcow2", "/srv/fast/top", BEHIND("qcow2", "/srv/images/middle", "")),
		 "3 2147483648/65536 1638400: nvme0n1 sda sdb @nvme0n1"},
		/* the owner's links are followed, the tenant's still not */
		{BACKED("qcow2", "/srv/fast/top", BEHIND("qcow2", "/var/link", "")),
		 "2 2147483648/65536 327680: nvme0n1 sda @nvme0n1"},
		{BACKED("qcow2", "/srv/fast/alone", BEHIND("qcow2", "/srv/fast/on-link", "")),
		 "2 1073741824/65536 262144: nvme0n1 sda @nvme0n1; /var/link: it is a symbolic link, which is not followed"},
		/* any format, where the definition goes on or ends */
		{BACKED("vmdk", "/srv/fast/x", ENDS), "0 0/0 0: nvme0n1 @nvme0n1"},
		{BACKED("vmdk", "/srv/fast/x", ""),
		 "0 0/0 0: nvme0n1 @nvme0n1; /srv/fast/x: what is behind a vmdk image is not looked for"},
		{BACKED("raw", "/srv/fast/x", ""), "0 0/0 0: nvme0n1 @nvme0n1"},
		{BACKED("qed", "/srv/fast/x", BEHIND("qcow2", "/srv/images/middle", "")),
		 "2 10737418240/65536 1376256: nvme0n1 sda sdb @nvme0n1"},
		{BACKED("qcow2", "/srv/fast/top", BEHIND("qed", "/srv/images/x", "")),
		 "1 2147483648/65536 262144: nvme0n1 sdb @nvme0n1; /srv/images/x: what is behind a qed image is not looked "
		 "for"},
		{BACKED("qcow2", "/srv/fast/top", "<backingStore type='block'><format type='raw'/><source dev='/dev/vda'/>" ENDS
		 "</backingStore>"), "1 2147483648/65536 262144: nvme0n1 vda @nvme0n1"},
		{BACKED("qcow2", "/srv/fast/top", "<backingStore type='volume'><format type='raw'/><source pool='vg' "
		 "volume='web1'/></backingStore>"), "1 2147483648/65536 262144: nvme0n1 sda sdb @nvme0n1"},
		{BACKED("qcow2", "/srv/fast/top", "<backingStore type='volume'><format type='raw'/><source pool='no' "
		 "volume='web1'/></backingStore>"),
		 "1 2147483648/65536 262144: nvme0n1 @nvme0n1; web1: libvirt's files have no pool 'no'"},
		{BACKED("qcow2", "/srv/fast/top", "<backingStore type='network'><format type='raw'/><source protocol='rbd' "
		 "name='a/b'/>" ENDS "</backingStore>"),
		 "1 2147483648/65536 262144: nvme0n1 @nvme0n1; rbd: it is no file of this host"},
		{BACKED("qcow2", "/srv/fast/top", "<backingStore type='new'/>"),
		 "1 2147483648/65536 262144: nvme0n1 @nvme0n1; <backingStore>: it is no file of this host"},
		{BACKED("qcow2", "/srv/fast/top", BEHIND("qcow2", "/srv/fast/top", "")),
		 "1 2147483648/65536 262144: nvme0n1 @nvme0n1; /srv/fast/top: it is its own backing file"},
		/* a data file is its image's, wherever the chain ends */
		{BACKED("qcow2", "/srv/fast/external", ENDS), "1 1073741824/65536 131072: nvme0n1 sda @nvme0n1"},
	};
	struct made m = make_qcow2(GIB, NULL, NULL);
	struct root r;

	make_host(&r);
	put_qcow2(&r, "srv/fast/alone", GIB, NULL, NULL);
	put_qcow2(&r, "srv/fast/top", 2 * GIB, "../images/middle", "qcow2");
	put_qcow2(&r, "srv/images/middle", 10 * GIB, "/var/base", "qcow2");
	put_qcow2(&r, "var/base", GIB / 2, NULL, NULL);
	put_qcow2(&r, "srv/fast/on-link", GIB, "/var/link", "qcow2");
	root_link(&r, "var/link", "base");
	root_put(&r, "etc/libvirt/storage/vg.xml",
		 "<pool type='logical'><name>vg</name><target><path>/dev/vg</path></target></pool>");
	put64(&m, 72, 1 << 2);
	m.len -= 8; /* over the end mark */
	add_extension(&m, 0x44415441, "/var/data.raw");
	add_extension(&m, 0, "");
	put_image(&r, "srv/fast/external", &m);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		IS_STR(chain_of(&r, cases[i].devices), cases[i].want);
	root_fini(&r);
}

/* More <backingStore> than are kept: said, whatever their formats. */
TEST(long_chains_of_the_definition)
{
	static char xml[8192];
	struct root r;

	make_host(&r);
	for (int n = 15; n <= 20; n += 5) {
		(void)snprintf(xml, sizeof(xml), "<disk type='file'><source file='/srv/fast/0'/><target dev='vda'/>");
		for (int i = 1; i <= n; i++)
			(void)snprintf(xml + strlen(xml), sizeof(xml) - strlen(xml),
				       "<backingStore type='file'><format type='raw'/><source file='/srv/fast/%d'/>", i);
		(void)snprintf(xml + strlen(xml), sizeof(xml) - strlen(xml), ENDS);
		for (int i = 1; i <= n; i++)
			(void)snprintf(xml + strlen(xml), sizeof(xml) - strlen(xml), "</backingStore>");
		(void)snprintf(xml + strlen(xml), sizeof(xml) - strlen(xml), "</disk>");
		IS_STR(chain_of(&r, xml), n == 15 ? "0 0/0 0: nvme0n1 @nvme0n1"
						  : "0 0/0 0: nvme0n1 @nvme0n1; /srv/fast/16: there are more than 16 "
						    "images before it");
	}
	root_fini(&r);
}

/* Below another root a node stands for a device of this host: it is looked up there, and never opened. */
TEST(nodes_of_another_root)
{
	struct root r;

	make_host(&r);
	root_mkdir(&r, "srv/fast");
	if (mknodat(r.fs.fd, "srv/fast/node", S_IFBLK | 0600, makedev(8, 0)) < 0) {
		root_fini(&r);
		SKIP("no device nodes can be made");
	}
	put_qcow2(&r, "srv/fast/on-node", GIB, "node", "qcow2");
	IS_STR(chain_of(&r, QCOW2("/srv/fast/node")),
	       "0 0/0 0: sda @sda; /srv/fast/node: it is a device node below another root, which is not opened");
	IS_STR(chain_of(&r, QCOW2("/srv/fast/on-node")),
	       "1 1073741824/65536 131072: nvme0n1 sda @nvme0n1; /srv/fast/node: it is a device node below another "
	       "root, which is not opened");
	root_fini(&r);
}

/* A name of a data file counts only where the header says that there is one (QEMU does likewise). */
TEST(names_that_do_not_count)
{
	struct made m = make_qcow2(GIB, NULL, NULL);
	struct root r;

	make_host(&r);
	m.len -= 8;
	add_extension(&m, 0x44415441, "/var/data.raw");
	put_image(&r, "srv/fast/a", &m);
	IS_STR(chain_of(&r, QCOW2("/srv/fast/a")), "1 1073741824/65536 131072: nvme0n1 @nvme0n1");
	m = make_qcow2(GIB, "/var/base", "qcow2");
	put64(&m, 8, 0);
	put_image(&r, "srv/fast/a", &m);
	IS_STR(chain_of(&r, QCOW2("/srv/fast/a")), "1 1073741824/65536 131072: nvme0n1 @nvme0n1");
	root_fini(&r);
}

/* More images than are looked at. */
TEST(long_chains)
{
	char path[64], backing[64];
	struct root r;

	make_host(&r);
	for (int i = 0; i < 40; i++) {
		(void)snprintf(path, sizeof(path), "srv/fast/%d", i);
		(void)snprintf(backing, sizeof(backing), "%d", i + 1);
		put_qcow2(&r, path, GIB, backing, "qcow2");
	}
	IS_STR(chain_of(&r, QCOW2("/srv/fast/0")), "16 1073741824/65536 2097152: nvme0n1 @nvme0n1; "
						   "/srv/fast/16: there are more than 16 images before it");
	IS_STR(chain_of(&r, QCOW2("/srv/fast/30")), "10 1073741824/65536 1310720: nvme0n1 @nvme0n1; "
						    "/srv/fast/40: No such file or directory");
	root_fini(&r);
}

/* Sizes as QEMU has them: the tables that cover the image, whole clusters of them. */
TEST(sizes)
{
	static const struct {
		uint64_t size;
		uint32_t bits, version, incompatible;
		const char *want;
	} cases[] = {
		{0, 16, 3, 0, "1 0/65536 0"},
		{1, 16, 3, 0, "1 1/65536 65536"},
		{512 << 20, 16, 3, 0, "1 536870912/65536 65536"},
		{(512 << 20) + 1, 16, 3, 0, "1 536870913/65536 131072"},
		{1 << 20, 9, 2, 0, "1 1048576/512 16384"},
		{GIB, 21, 3, 0, "1 1073741824/2097152 2097152"},
		{GIB, 16, 3, 1 << 4, "1 1073741824/65536 262144"}, /* extended L2 entries */
		{UINT64_MAX, 9, 3, 0, "1 18446744073709551615/512 288230376151711744"},
		{UINT64_MAX, 9, 3, 1 << 4, "1 18446744073709551615/512 576460752303423488"},
	};
	struct root r;

	make_host(&r);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct made m = make_qcow2(cases[i].size, NULL, NULL);
		char want[128];

		put32(&m, 4, cases[i].version);
		put32(&m, 20, cases[i].bits);
		put64(&m, 72, cases[i].version > 2 ? cases[i].incompatible : 0);
		if (cases[i].version == 2)
			memset(m.bytes + 72, 0, sizeof(m.bytes) - 72);
		put_image(&r, "srv/fast/a", &m);
		(void)snprintf(want, sizeof(want), "%s: nvme0n1 @nvme0n1", cases[i].want);
		IS_STR(chain_of(&r, QCOW2("/srv/fast/a")), want);
	}
	root_fini(&r);
}

static const char *why_not(struct root *r, const struct made *m)
{
	const char *text, *colon;

	put_image(r, "srv/fast/a", m);
	text = chain_of(r, QCOW2("/srv/fast/a"));
	colon = strstr(text, "; /srv/fast/a: ");
	return colon ? colon + strlen("; /srv/fast/a: ") : text;
}

TEST(hostile_headers)
{
	static const struct {
		size_t at;
		uint64_t value;
		int bytes;
		const char *want;
	} cases[] = {
		{0, 0x514649fa, 4, "it is not a qcow2 image"},
		{4, 1, 4, "it is not a qcow2 image of version 2 or 3"},
		{4, UINT32_MAX, 4, "it is not a qcow2 image of version 2 or 3"},
		{20, 8, 4, "its header has no valid cluster size"},
		{20, 22, 4, "its header has no valid cluster size"},
		{20, UINT32_MAX, 4, "its header has no valid cluster size"},
		{100, 0, 4, "its header has no valid length"},
		{100, UINT32_MAX, 4, "its header has no valid length"},
		{100, 4097, 4, "its header has no valid length"},
		{8, UINT64_MAX, 8, "the backing file's name lies outside its header"},
		{8, 65530, 8, "the backing file's name lies outside its header"},
		{8, 60000, 8, "the backing file's name cannot be read"}, /* behind the end of the file */
		{16, UINT32_MAX, 4, "the backing file's name lies outside its header"},
		{16, 1024, 4, "the backing file's name lies outside its header"},
		{16, 1023, 4, "the backing file's name cannot be read"},
		{108, UINT32_MAX, 4, "its header extensions do not end"},
		{108, 32, 4, "its header names no format of the backing file"},
		{112, 0, 4, "its header names no format of the backing file"}, /* a NUL in it */
	};
	struct made m;
	struct root r;

	make_host(&r);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		m = make_qcow2(GIB, "/var/base", "qcow2");
		if (cases[i].bytes == 4)
			put32(&m, cases[i].at, (uint32_t)cases[i].value);
		else
			put64(&m, cases[i].at, cases[i].value);
		IS_STR(why_not(&r, &m), cases[i].want);
	}
	m = make_qcow2(GIB, "/var/ba?e", "qcow2");
	m.bytes[m.len - 2] = '\0';
	IS_STR(why_not(&r, &m), "the backing file's name has a NUL in it");
	/* nothing but extensions of no bytes */
	m = make_qcow2(GIB, NULL, NULL);
	m.len = sizeof(m.bytes);
	for (size_t at = 104; at + 8 <= sizeof(m.bytes); at += 8)
		put32(&m, at, 0x12345678);
	IS_STR(why_not(&r, &m), "1 1073741824/65536 131072: nvme0n1 @nvme0n1");
	root_fini(&r);
}

/* Cut anywhere, every byte another: an answer, and nothing else. */
TEST(damaged_headers)
{
	const struct made good = make_qcow2(GIB, "base", "qcow2");
	struct made m;
	struct root r;

	make_host(&r);
	put_qcow2(&r, "srv/fast/base", GIB, NULL, NULL);
	for (size_t len = 0; len < good.len; len++) {
		m = good;
		m.len = len;
		(void)why_not(&r, &m);
	}
	m = good;
	m.len = 71;
	IS_STR(why_not(&r, &m), "it is not a qcow2 image");
	m.len = 103;
	IS_STR(why_not(&r, &m), "it is not a qcow2 image of version 2 or 3");
	m.len = good.len - 1;
	IS_STR(why_not(&r, &m), "the backing file's name cannot be read");
	for (size_t at = 0; at < good.len; at++)
		for (int bit = 0; bit < 8; bit += 7) {
			m = good;
			m.bytes[at] ^= (unsigned char)(1 << bit);
			(void)why_not(&r, &m);
		}
	root_fini(&r);
}

/* --- bounds */

TEST(wide_stacks)
{
	struct root r;

	root_init(&r);
	put_block(&r, VIRTUAL "/md0", "9:0");
	for (unsigned int i = 0; i < 1000; i++) {
		char dir[128], number[32];

		(void)snprintf(dir, sizeof(dir), "sys/devices/x/block/sd%c%c", 'a' + i / 26 % 26, 'a' + i % 26);
		if (i >= 676)
			(void)snprintf(dir, sizeof(dir), "sys/devices/x/block/sdz%c%c", 'a' + i / 26 % 26, 'a' + i % 26);
		(void)snprintf(number, sizeof(number), "8:%u", i * 16);
		put_block(&r, dir, number);
		put_slave(&r, VIRTUAL "/md0", strrchr(dir, '/') + 1);
	}
	if (look(&r, BLOCK("/dev/md0") BLOCK("/dev/md0") BLOCK("/dev/sdaa"))) {
		IS_INT(facts.n_devices, BLOCKDEV_MAX);
		IS_INT(facts.disks[0].n, BLOCKDEV_MAX);
		IS_INT(facts.disks[1].n, BLOCKDEV_MAX);
		IS_STR(facts.disks[0].limit, "md0");
		OK(facts.cut);
		done();
	}
	root_fini(&r);
}

TEST(deep_and_circular_stacks)
{
	char dir[64], number[32], name[32];
	struct root r;

	root_init(&r);
	put_block(&r, SCSI "/sda", "8:0");
	for (unsigned int i = 0; i < 40; i++) {
		(void)snprintf(dir, sizeof(dir), VIRTUAL "/dm-%u", i);
		(void)snprintf(number, sizeof(number), "253:%u", i);
		put_block(&r, dir, number);
		(void)snprintf(name, sizeof(name), "dm-%u", i - 1);
		put_slave(&r, dir, i ? name : "sda");
	}
	IS_STR(found_for(&r, BLOCK("/dev/dm-9")), "sda @sda");
	if (look(&r, BLOCK("/dev/dm-39"))) {
		IS_INT(facts.n_devices, 0);
		OK(facts.cut);
		done();
	}
	/* each on all */
	for (unsigned int i = 100; i < 130; i++) {
		(void)snprintf(dir, sizeof(dir), VIRTUAL "/dm-%u", i);
		(void)snprintf(number, sizeof(number), "253:%u", i);
		put_block(&r, dir, number);
		for (unsigned int k = 100; k < 130; k++) {
			(void)snprintf(name, sizeof(name), "dm-%u", k);
			put_slave(&r, dir, name);
		}
	}
	IS_STR(found_for(&r, BLOCK("/dev/dm-100")), ": nothing is known of this block device");
	root_fini(&r);
}

/* sysfs says no such things; a captured tree may. */
TEST(hostile_names)
{
	static const char *const names[] = {
		"",  ".", "..", "../sda", "a/../../../../etc/passwd", "\x01\x02",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};
	char dir[64], path[128], xml[300], shown_name[256];
	struct root r;

	make_host(&r);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(dir, sizeof(dir), VIRTUAL "/x%zu", i);
		(void)snprintf(path, sizeof(path), "1:%zu", i);
		put_block(&r, dir, path);
		(void)snprintf(path, sizeof(path), "%s/uevent", dir);
		root_putf(&r, path, "MAJOR=99999999999\nMINOR=-1\nDEVNAME=%s\nDEVTYPE=disk\n", names[i]);
		(void)snprintf(xml, sizeof(xml), BLOCK("/dev/x%zu"), i);
		(void)snprintf(shown_name, sizeof(shown_name), "%s", found_for(&r, xml));
		OK(!strchr(shown_name, '/'));
	}
	root_put(&r, VIRTUAL "/loop4/loop/backing_file", "relative/../../path\n");
	IS_STR(found_for(&r, BLOCK("/dev/loop4")), "sda @sda"); /* below the root, as any file that is not there */
	memset(xml, 'a', sizeof(xml));
	xml[sizeof(xml) - 1] = '\0';
	root_putf(&r, VIRTUAL "/sd/uevent", "DEVNAME=%s\n", xml);
	root_fini(&r);
}

/* --- this machine */

/* A file of this root lies on what the host's files lie on. */
TEST(files_of_this_machine)
{
	char number[64], line[256];
	struct stat st;
	struct root r;

	root_init(&r);
	root_put(&r, "images/a.img", "");
	r.fs.real = true;
	if (fstatat(r.fs.fd, "images/a.img", &st, 0) < 0 || major(st.st_dev) == 0) {
		root_fini(&r);
		SKIP("/tmp has no device of its own");
	}
	(void)snprintf(number, sizeof(number), "%u:%u", major(st.st_dev), minor(st.st_dev));
	put_block(&r, SCSI "/sdx/sdx7", number);
	put_block(&r, SCSI "/sdx", "77:7");
	(void)snprintf(line, sizeof(line), "1 0 %s / / rw - ext9 /dev/root rw\n", number);
	root_put(&r, "proc/self/mountinfo", line);
	IS_STR(found_for(&r, FILE_("/images/a.img")), "sdx @sdx");
	IS_STR(found_for(&r, FILE_("/images/absent")), ": /images/absent: No such file or directory");
	IS_STR(found_for(&r, FILE_("/images&#10;")), ": /images?: No such file or directory");
	IS_STR(found_for(&r, BLOCK("/images/a.img")), "sdx @sdx"); /* whatever the definition calls it */
	(void)mkfifoat(r.fs.fd, "images/fifo", 0600);
	IS_STR(found_for(&r, FILE_("/images/fifo")), ": /images/fifo is neither a file nor a block device");
	root_fini(&r);
}

/* tmpfs stands for btrfs: its files' st_dev is no block device's. */
TEST(file_systems_without_a_number)
{
	struct statx mount;
	struct root r = {.dir = "/dev/shm/domtune-unit-XXXXXX"};

	if (!mkdtemp(r.dir) || hostfs_init(&r.fs, r.dir, NULL) < 0)
		SKIP("no directory in /dev/shm");
	root_put(&r, "images/a.img", "");
	root_mkdir(&r, "dev");
	if (statx(r.fs.fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &mount) < 0 || !(mount.stx_mask & STATX_MNT_ID) ||
	    mount.stx_dev_major != 0 || mknodat(r.fs.fd, "dev/sdy", S_IFBLK | 0600, makedev(8, 99)) < 0) {
		root_fini(&r);
		SKIP("no device nodes, or no mount numbers");
	}
	put_block(&r, SCSI "/sdw", "8:98");
	root_remove(&r, "dev/sdw");
	root_put(&r, SCSI "/sdy/uevent", "MAJOR=8\nMINOR=99\nDEVNAME=sdy\nDEVTYPE=disk\n");
	root_link(&r, "sys/dev/block/8:99", "../../../" SCSI "/sdy");
	root_link(&r, "sys/class/block/sdy", "../../../" SCSI "/sdy");
	r.fs.real = true;
	root_putf(&r, "proc/self/mountinfo",
		  "1 0 0:1 / / rw - tmpfs none rw\n%llu 1 0:9 /@ /i rw shared:1 - btrfs /dev/sdy rw,x=y\n",
		  (unsigned long long)mount.stx_mnt_id);
	IS_STR(found_for(&r, FILE_("/images/a.img")), "sdy @sdy");
	root_link(&r, "sys/fs/btrfs/1/devices/sdy", "../../../../class/block/sdy");
	root_link(&r, "sys/fs/btrfs/1/devices/sdw", "../../../../class/block/sdw");
	IS_STR(found_for(&r, FILE_("/images/a.img")), "sdw sdy");
	root_putf(&r, "proc/self/mountinfo", "%llu 1 0:9 / /i rw - nfs host:/x rw\n",
		  (unsigned long long)mount.stx_mnt_id);
	IS_STR(found_for(&r, FILE_("/images/a.img")), ": not applicable: it is on NFS");
	root_remove(&r, "proc/self/mountinfo");
	IS_STR(found_for(&r, FILE_("/images/a.img")), ": it is not known what its file system is on");
	root_fini(&r);
}

/* A loop device of this machine on a file: its number in ret (-1: none to be had). */
static int attach_loop(const char *file)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd = open(file, O_RDWR | O_CLOEXEC), number = -1;
	char path[64];

	for (int i = 0; i < 8 && control >= 0 && fd >= 0 && number < 0; i++) {
		int loop, n = ioctl(control, LOOP_CTL_GET_FREE);

		(void)snprintf(path, sizeof(path), "/dev/loop%d", n);
		loop = n < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
		if (loop >= 0 && ioctl(loop, LOOP_SET_FD, fd) == 0) /* EBUSY: somebody was faster */
			number = n;
		if (loop >= 0)
			(void)close(loop);
	}
	if (fd >= 0)
		(void)close(fd);
	if (control >= 0)
		(void)close(control);
	return number;
}

static void detach_loop(int number)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "/dev/loop%d", number);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, LOOP_CLR_FD) < 0)
		TAP_FAIL("%s stays", path);
	if (fd >= 0)
		(void)close(fd);
}

/* What the loop device comes to is what its file comes to; on tmpfs it ends there itself. */
static void check_loop(struct root *real, const char *template, bool ends_here)
{
	char file[128], xml[512], want[1024], name[32];
	int fd, number;

	(void)snprintf(file, sizeof(file), "%s", template);
	fd = mkstemp(file);
	if (fd < 0 || ftruncate(fd, 1 << 20) < 0)
		TAP_FAIL("%s", file);
	(void)close(fd);
	number = attach_loop(file);
	if (number < 0) {
		(void)unlink(file);
		SKIP("no loop device can be attached");
	}
	(void)snprintf(name, sizeof(name), "loop%d", number);
	(void)snprintf(xml, sizeof(xml), FILE_("%s"), file);
	(void)snprintf(want, sizeof(want), "%s", found_for(real, xml));
	if (!strchr(want, '@'))
		*want = '\0'; /* it has no device */
	if (ends_here)
		(void)snprintf(want, sizeof(want), "%s @%s", name, name);
	(void)snprintf(xml, sizeof(xml), BLOCK("/dev/%s"), name);
	IS_STR(found_for(real, xml), want);
	OK(*want);
	detach_loop(number);
	(void)unlink(file);
}

TEST(real_loop_devices)
{
	struct root real = {.dir = "/"};
	struct stat st;

	if (geteuid() != 0)
		SKIP("only root can attach loop devices");
	if (hostfs_init(&real.fs, "/", NULL) < 0)
		SKIP("no root");
	if (stat("/tmp", &st) < 0 || major(st.st_dev) == 0)
		SKIP("/tmp has no device of its own");
	check_loop(&real, "/tmp/domtune-loop-XXXXXX", false);
	if (!tap_skip_why)
		check_loop(&real, "/dev/shm/domtune-loop-XXXXXX", true);
	hostfs_fini(&real.fs);
}

static bool shell(struct root *r, const char *command)
{
	char text[1024];

	(void)snprintf(text, sizeof(text), "cd %s/srv/fast && %s >/dev/null 2>&1", r->dir, command);
	return system(text) == 0;
}

TEST(images_by_qemu_img)
{
	struct root r;

	make_host(&r);
	root_mkdir(&r, "srv/fast");
	root_mkdir(&r, "srv/images");
	if (!shell(&r, "qemu-img --version")) {
		root_fini(&r);
		SKIP("missing: qemu-img");
	}
	OK(shell(&r, "qemu-img create -f qcow2 ../images/base 10G"));
	OK(shell(&r, "qemu-img create -f qcow2 -b ../images/base -F qcow2 middle"));
	OK(shell(&r, "qemu-img create -f qcow2 -o compat=0.10,cluster_size=4k -b middle -F qcow2 top 11G"));
	IS_STR(chain_of(&r, QCOW2("/srv/fast/top")), "3 11811160064/4096 25690112: nvme0n1 sdb @nvme0n1");
	OK(shell(&r, "qemu-img create -f raw raw 1G"));
	OK(shell(&r, "qemu-img create -f qcow2 -b $PWD/raw -F raw on-raw"));
	IS_STR(chain_of(&r, QCOW2("/srv/fast/raw")),
	       "0 0/0 0: nvme0n1 @nvme0n1; /srv/fast/raw: it is not a qcow2 image");
	OK(shell(&r, "qemu-img rebase -u -b /srv/fast/raw -F raw on-raw"));
	IS_STR(chain_of(&r, QCOW2("/srv/fast/on-raw")), "1 1073741824/65536 131072: nvme0n1 @nvme0n1");
	OK(shell(&r, "qemu-img create -f qcow2 -o extended_l2=on wide 1G"));
	IS_STR(chain_of(&r, QCOW2("/srv/fast/wide")), "1 1073741824/65536 262144: nvme0n1 @nvme0n1");
	OK(shell(&r, "qemu-img create -f qcow2 -o data_file=../images/data,data_file_raw=on external 1G"));
	IS_STR(chain_of(&r, QCOW2("/srv/fast/external")), "1 1073741824/65536 131072: nvme0n1 sdb @nvme0n1");
	root_fini(&r);
}

TEST(no_disks)
{
	struct root r;

	root_init(&r);
	if (look(&r, "<name>x</name>")) {
		IS_INT(facts.n_disks + facts.n_devices + facts.n_blkio, 0);
		done();
		blockdev_fini(&facts);
	}
	root_fini(&r);
}

TAP_MAIN

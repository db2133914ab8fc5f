/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Nodes of a domain's devices, over a sysfs made of directories and links as the kernel makes them. */
#include <fcntl.h>
#include <sys/sysmacros.h>

#include "common/device.h"
#include "tests/unit/root_block.h"

#define PCI "sys/devices/pci0000:80"

static void make_host(struct root *r)
{
	root_init(r);
	/* functions: one with a node, one whose bridge has it, one without */
	root_put(r, PCI "/0000:80:01.0/numa_node", "1\n");
	root_put(r, PCI "/0000:80:01.0/0000:81:00.0/numa_node", "1\n");
	root_put(r, PCI "/0000:80:01.0/0000:81:00.1/numa_node", "-1\n");
	root_put(r, PCI "/0000:80:01.0/0000:81:00.0/c0ffee00-0000-0000-0000-000000000000/name", "x\n");
	root_put(r, "sys/devices/pci0000:00/0000:00:1f.0/numa_node", "-1\n");
	root_link(r, "sys/bus/pci/devices/0000:81:00.0", "../../../devices/pci0000:80/0000:80:01.0/0000:81:00.0");
	root_link(r, "sys/bus/pci/devices/0000:81:00.1", "../../../devices/pci0000:80/0000:80:01.0/0000:81:00.1");
	root_link(r, "sys/bus/pci/devices/0000:00:1f.0", "../../../devices/pci0000:00/0000:00:1f.0");
	root_link(r, "sys/bus/mdev/devices/c0ffee00-0000-0000-0000-000000000000",
		  "../../../devices/pci0000:80/0000:80:01.0/0000:81:00.0/c0ffee00-0000-0000-0000-000000000000");
	/* a SCSI disk with a partition on node 1, an NVMe on node 0, one with native multipath on both */
	put_block(r, PCI "/0000:80:01.0/0000:81:00.0/host4/target4:0:0/4:0:0:0/block/sda", "8:0");
	put_block(r, PCI "/0000:80:01.0/0000:81:00.0/host4/target4:0:0/4:0:0:0/block/sda/sda1", "8:1");
	root_put(r, "sys/devices/pci0000:00/0000:02:00.0/numa_node", "0\n");
	put_block(r, "sys/devices/pci0000:00/0000:02:00.0/nvme/nvme0/nvme0n1", "259:0");
	root_put(r, PCI "/0000:82:00.0/nvme/nvme2/numa_node", "1\n");
	root_put(r, "sys/devices/pci0000:00/0000:03:00.0/nvme/nvme1/numa_node", "0\n");
	put_block(r, "sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme1n1", "259:1");
	root_link(r, "sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme1",
		  "../../../pci0000:00/0000:03:00.0/nvme/nvme1");
	root_link(r, "sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme2",
		  "../../../pci0000:80/0000:82:00.0/nvme/nvme2");
	/* LVM on a partition of md on two disks */
	put_block(r, VIRTUAL "/md0", "9:0");
	put_slave(r, VIRTUAL "/md0", "sda1");
	put_slave(r, VIRTUAL "/md0", "nvme0n1");
	put_block(r, VIRTUAL "/md0/md0p1", "259:2");
	put_block(r, VIRTUAL "/dm-0", "253:0");
	put_slave(r, VIRTUAL "/dm-0", "md0p1");
	root_link(r, "dev/mapper/vg-web1", "../dm-0");
	root_link(r, "dev/disk/by-id/wwn-0x5", "../../sda");
	put_block(r, VIRTUAL "/zram0", "252:0");
	/* a loop device on a block device, and two that lie on each other */
	put_block(r, VIRTUAL "/loop0", "7:0");
	root_put(r, VIRTUAL "/loop0/loop/backing_file", "/dev/nvme0n1\n");
	put_block(r, VIRTUAL "/loop1", "7:1");
	root_put(r, VIRTUAL "/loop1/loop/backing_file", "/dev/loop1\n");
}

static void put_net(struct root *r, const char *name, const char *device)
{
	char path[256], to[256];

	root_mkdir(r, (snprintf(path, sizeof(path), "sys/class/net/%s", name), path));
	if (!device)
		return;
	(void)snprintf(to, sizeof(to), "../../../devices/%s", device);
	root_link(r, (snprintf(path, sizeof(path), "sys/class/net/%s/device", name), path), to);
}

static void put_lower(struct root *r, const char *upper, const char *lower)
{
	char path[256], to[256];

	(void)snprintf(to, sizeof(to), "../%s", lower);
	root_link(r, (snprintf(path, sizeof(path), "sys/class/net/%s/lower_%s", upper, lower), path), to);
}

static void make_nets(struct root *r)
{
	put_net(r, "eth0", "pci0000:80/0000:80:01.0/0000:81:00.0");
	put_net(r, "eth1", "pci0000:00/0000:02:00.0");
	put_net(r, "eth2", "pci0000:00/0000:00:1f.0");
	put_net(r, "lo", NULL);
	put_net(r, "vnet0", NULL);
	put_net(r, "bond0", NULL);
	put_lower(r, "bond0", "eth0");
	put_lower(r, "bond0", "eth1");
	put_net(r, "bond0.7", NULL);
	put_lower(r, "bond0.7", "bond0");
	put_net(r, "br0", NULL);
	put_lower(r, "br0", "bond0.7");
	put_lower(r, "br0", "vnet0");
	/* as before Linux 3.14 */
	put_net(r, "bond1", NULL);
	root_put(r, "sys/class/net/bond1/bonding/slaves", "eth1 eth0\n");
	put_net(r, "br1", NULL);
	root_mkdir(r, "sys/class/net/br1/brif/vnet0");
	root_mkdir(r, "sys/class/net/br1/brif/eth0");
	put_net(r, "ring0", NULL);
	put_net(r, "ring1", NULL);
	put_lower(r, "ring0", "ring1");
	put_lower(r, "ring1", "ring0");
	root_put(r, "etc/libvirt/qemu/networks/lan.xml", "<network><name>lan</name><bridge name='br1'/></network>");
	root_put(r, "etc/libvirt/qemu/networks/direct.xml",
		 "<network><forward mode='bridge'><interface dev='eth1'/><interface dev='eth0'/></forward></network>");
	root_put(r, "etc/libvirt/qemu/networks/nat.xml",
		 "<network><forward mode='nat' dev='eth1'/><bridge name='virbr0'/></network>");
	root_put(r, "run/libvirt/network/nat.xml",
		 "<networkstatus><network><forward mode='nat' dev='eth0'/></network></networkstatus>");
	root_put(r, "etc/libvirt/qemu/networks/broken.xml", "<network><bridge name='br0'/>");
	root_put(r, "etc/libvirt/storage/vg.xml",
		 "<pool type='logical'><target><path>/dev/mapper</path></target></pool>");
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "eth0@1 eth1@0", sorted: the order of sysfs' directories says nothing. */
static const char *found_for(struct root *r, const char *devices)
{
	static char text[4096], entries[DEVICE_NODES_MAX][80];
	char *sorted[DEVICE_NODES_MAX], xml[4096];
	struct device_nodes l;
	struct domain d;

	(void)snprintf(xml, sizeof(xml), "<domain><name>x</name><devices>%s</devices></domain>", devices);
	if (domain_parse(xml, strlen(xml), &d, NULL) < 0)
		return "(parse)";
	device_nodes_find(&r->fs, &d, &l);
	domain_fini(&d);
	for (unsigned int i = 0; i < l.n; i++) {
		(void)snprintf(entries[i], sizeof(entries[i]), "%s@%d", l.d[i].name, l.d[i].node);
		sorted[i] = entries[i];
	}
	qsort(sorted, l.n, sizeof(sorted[0]), by_text);
	text[0] = '\0';
	for (unsigned int i = 0; i < l.n; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "", sorted[i]);
	return text;
}

#define HOSTDEV(bus, function)                                                                                        \
	"<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='" bus "' slot='0x00' function='" \
	function "'/></source></hostdev>"
#define BLOCK(path) "<disk type='block' device='disk'><source dev='" path "'/><target dev='vda'/></disk>"
#define NET(attr, name) "<interface type='bridge'><source " attr "='" name "'/></interface>"

TEST(nodes_are_found)
{
	static const struct {
		const char *devices, *want;
	} cases[] = {
		{"", ""},
		{HOSTDEV("0x81", "0x0"), "0000:81:00.0@1"},
		{HOSTDEV("0x81", "0x1"), "0000:81:00.1@1"},                                          /* its bridge's */
		{"<hostdev type='pci'><source><address bus='0' slot='31'/></source></hostdev>", ""}, /* none at all */
		{HOSTDEV("0x99", "0x0"), ""},                                     /* no such function */
		{HOSTDEV("0x81", "0x0") HOSTDEV("129", "0x0"), "0000:81:00.0@1"}, /* the same in decimal */
		{"<interface type='hostdev'><source><address type='pci' bus='0x81'/></source></interface>",
		 "0000:81:00.0@1"},
		{"<disk type='nvme' device='disk'><source type='pci'><address bus='0x81'/></source></disk>",
		 "0000:81:00.0@1"},
		{"<hostdev type='mdev'><source>"
		 "<address uuid='c0ffee00-0000-0000-0000-000000000000'/></source></hostdev>",
		 "c0ffee00-0000-0000-0000-000000000000@1"},
		{BLOCK("/dev/sda"), "sda@1"},
		{BLOCK("/dev/sda1"), "sda@1"},
		{BLOCK("/dev/disk/by-id/wwn-0x5"), "sda@1"},
		{BLOCK("/dev/nvme0n1"), "nvme0n1@0"},
		{BLOCK("/dev/nvme1n1"), "nvme1@0 nvme2@1"},
		{BLOCK("/dev/mapper/vg-web1"), "nvme0n1@0 sda@1"},
		{BLOCK("/dev/zram0"), ""},
		{BLOCK("/dev/loop0"), "nvme0n1@0"},
		{BLOCK("/dev/loop1"), ""},
		{BLOCK("/dev/nothing"), ""},
		{BLOCK("/dev/sda") BLOCK("/dev/sda1") BLOCK("/dev/nvme0n1"), "nvme0n1@0 sda@1"},
		{"<disk type='volume' device='disk'><source pool='vg' volume='vg-web1'/></disk>", "nvme0n1@0 sda@1"},
		{"<disk type='volume' device='disk'><source pool='none' volume='vg-web1'/></disk>", ""},
		{"<disk type='volume' device='disk'><source pool='vg' volume='../sda'/></disk>", ""},
		/* a file below a captured root lies on our disk, not on that host's */
		{"<disk type='file' device='disk'><source file='/etc/libvirt/storage/vg.xml'/></disk>", ""},
		{"<disk type='block' device='cdrom'><source dev='/dev/sda'/></disk>", ""},
		{"<disk type='network' device='disk'><source protocol='rbd' name='a/b'/></disk>", ""},
		{NET("bridge", "br0"), "eth0@1 eth1@0"},
		{NET("bridge", "br1"), "eth0@1"},
		{NET("bridge", "bond1"), "eth0@1 eth1@0"},
		{NET("dev", "eth1"), "eth1@0"},
		{NET("dev", "eth2"), ""},
		{NET("dev", "lo"), ""},
		{NET("dev", "ring0"), ""},
		{NET("dev", "../block/sda"), ""},
		{NET("network", "lan"), "eth0@1"},
		{NET("network", "direct"), "eth0@1 eth1@0"},
		{NET("network", "nat"), "eth0@1"},
		{NET("network", "broken"), ""},
		{NET("network", "../networks/lan"), ""},
		{"<interface type='network'><source network='lan' portid='x' bridge='bond1'/></interface>",
		 "eth0@1 eth1@0"},
		{"<interface type='vhostuser'><source type='unix' path='/x' mode='client'/></interface>", ""},
	};
	struct root r;

	make_host(&r);
	make_nets(&r);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		IS_STR(found_for(&r, cases[i].devices), cases[i].want);
	root_fini(&r);
}

/* An image on a file system: by the number of the file system's device. */
TEST(images_lie_on_the_device_of_their_file_system)
{
	char number[64];
	struct stat st;
	struct root r;

	make_host(&r);
	root_put(&r, "images/web1.qcow2", "");
	r.fs.real = true; /* what a file of this root lies on is what the host's files lie on */
	if (fstatat(r.fs.fd, "images/web1.qcow2", &st, 0) < 0 || major(st.st_dev) == 0) {
		root_fini(&r);
		SKIP("/tmp has no device of its own");
	}
	(void)snprintf(number, sizeof(number), "%u:%u", major(st.st_dev), minor(st.st_dev));
	put_block(&r, PCI "/0000:82:00.0/sdz", number);
	root_put(&r, PCI "/0000:82:00.0/numa_node", "1\n");
	IS_STR(found_for(&r, "<disk type='file'><source file='/images/web1.qcow2'/></disk>"), "sdz@1");
	IS_STR(found_for(&r, "<disk type='dir'><source dir='/images'/></disk>"), "sdz@1");
	IS_STR(found_for(&r, "<disk type='file'><source file='/images/absent.qcow2'/></disk>"), "");
	root_fini(&r);
}

/* tmpfs stands for btrfs: its files' st_dev is no block device's, so it is the mount's source. */
TEST(a_file_system_without_a_device_number)
{
	static const char image[] = "<disk type='file'><source file='/images/web1.qcow2'/></disk>";
	struct statx mount;
	struct root r = { .dir = "/dev/shm/domtune-unit-XXXXXX" };

	if (!mkdtemp(r.dir) || hostfs_init(&r.fs, r.dir, NULL) < 0)
		SKIP("no directory in /dev/shm");
	root_put(&r, "images/web1.qcow2", "");
	root_mkdir(&r, "dev");
	if (statx(r.fs.fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &mount) < 0 || !(mount.stx_mask & STATX_MNT_ID) ||
	    mount.stx_dev_major != 0 || mknodat(r.fs.fd, "dev/sdy", S_IFBLK | 0600, makedev(8, 99)) < 0) {
		root_fini(&r);
		SKIP("no device nodes, or no mount numbers");
	}
	r.fs.real = true;
	put_block(&r, PCI "/0000:82:00.0/block", "8:99");
	root_put(&r, PCI "/0000:82:00.0/numa_node", "1\n");
	IS_STR(found_for(&r, BLOCK("/dev/sdy")), "block@1");
	IS_STR(found_for(&r, image), ""); /* no mountinfo */
	root_putf(&r, "proc/self/mountinfo",
		  "1 0 0:1 / / rw - tmpfs none rw\n%llu 1 0:9 / /i rw shared:1 master:2 - btrfs /dev/sdy rw,x=y\n",
		  (unsigned long long)mount.stx_mnt_id);
	IS_STR(found_for(&r, image), "block@1");
	root_putf(&r, "proc/self/mountinfo", "\n - \n%llu - \n%llu 1 0:9 / /i rw - nfs host:/x rw",
		  (unsigned long long)mount.stx_mnt_id + 1, (unsigned long long)mount.stx_mnt_id);
	IS_STR(found_for(&r, image), "");
	root_fini(&r);
}

/* However much is stacked or plugged in, it ends, and the list holds what fits. */
TEST(wide_and_deep_stacks_are_bounded)
{
	struct device_nodes l;
	char path[128], xml[65536], *at = xml;
	struct domain d;
	struct root r;

	root_init(&r);
	at += snprintf(at, 256, "<domain><name>x</name><devices>");
	for (int i = 0; i < 300; i++) {
		(void)snprintf(path, sizeof(path), "sys/bus/pci/devices/0000:%02x:%02x.0/numa_node", i / 32, i % 32);
		root_put(&r, path, "0\n");
		at += snprintf(at, 256,
			       "<hostdev type='pci'><source><address bus='%d' slot='%d'/></source></hostdev>", i / 32,
			       i % 32);
	}
	(void)snprintf(at, 64, "</devices></domain>");
	IS_INT(domain_parse(xml, strlen(xml), &d, NULL), 0);
	IS_INT(d.n_devices, DOMAIN_DEVICES_MAX);
	device_nodes_find(&r.fs, &d, &l);
	IS_INT(l.n, DEVICE_NODES_MAX);
	IS_STR(l.d[DEVICE_NODES_MAX - 1].name, "0000:01:1f.0");
	domain_fini(&d);
	/* every bridge on every other */
	for (int i = 0; i < 12; i++)
		for (int k = 0; k < 12; k++) {
			char upper[16], lower[16];

			(void)snprintf(upper, sizeof(upper), "br%d", i);
			(void)snprintf(lower, sizeof(lower), "br%d", k);
			put_lower(&r, upper, lower);
		}
	IS_STR(found_for(&r, NET("bridge", "br0")), "");
	root_fini(&r);
}

TAP_MAIN

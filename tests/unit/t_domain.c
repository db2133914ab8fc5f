/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domain XML: what libvirt prints is read fully, what a hostile text holds is refused or left out. */
#include <fcntl.h>

#include "common/domain.h"
#include "common/policy.h"
#include "common/sbuf.h"
#include "tests/unit/tap.h"

#define UUID "3f2a9a1c-6b1f-4d0c-9a54-0123456789ab"

static int parse(const char *text, struct domain *d)
{
	return domain_parse(text, strlen(text), d, NULL);
}

static bool list_is(const struct idset *s, const char *want)
{
	char *text = idset_text(s);
	bool same = text && streq(text, want);

	if (!same)
		printf("# '%s', not '%s'\n", text, want);
	free(text);
	return same;
}

TEST(a_full_domain)
{
	static const char text[] =
		"<domain type='kvm' id='7' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
		"  <name>a/b &lt;x&gt;</name>\n"
		"  <uuid>3F2A9A1C-6B1F-4D0C-9A54-0123456789AB</uuid>\n"
		"  <metadata xmlns:d='urn:domtune:1'><d:tune profile='latency'/><o:x xmlns:o='urn:o'/></metadata>\n"
		"  <memory unit='KiB'>8388608</memory>\n"
		"  <currentMemory unit='KiB'>1024</currentMemory>\n"
		"  <memoryBacking>\n"
		"    <hugepages><page size='2048' unit='KiB' nodeset='0'/><page size='1' unit='G' "
		"nodeset='1'/></hugepages>\n"
		"    <nosharepages/><locked/><source type='memfd'/><allocation mode='immediate' threads='2'/>\n"
		"  </memoryBacking>\n"
		"  <vcpu placement='static' cpuset='0-7,^3' current='3'>8</vcpu>\n"
		"  <vcpus><vcpu id='0' enabled='yes' hotpluggable='no' order='1'/>\n"
		"    <vcpu id='1' enabled='no' hotpluggable='yes'/>\n"
		"    <vcpu id='2' enabled='yes' hotpluggable='yes' order='2'/>\n"
		"    <vcpu id='7' enabled='yes' hotpluggable='yes' order='3'/></vcpus>\n"
		"  <iothreads>3</iothreads>\n"
		"  <iothreadids><iothread id='4'/><iothread id='2' thread_pool_min='8'/></iothreadids>\n"
		"  <cputune>\n"
		"    <shares>2048</shares><period>100000</period><quota>-1</quota>\n"
		"    <emulator_quota>5000</emulator_quota>\n"
		"    <vcpupin vcpu='1' cpuset='5'/><vcpupin vcpu='0' cpuset='4,6-7'/>\n"
		"    <emulatorpin cpuset='1-2'/>\n"
		"    <iothreadpin iothread='4' cpuset='3'/><iothreadpin iothread='9' cpuset='3'/>\n"
		"    <vcpusched vcpus='0-1' scheduler='fifo' priority='1'/>\n"
		"  </cputune>\n"
		"  <memtune><hard_limit unit='KiB'>9000000</hard_limit><soft_limit>8000000</soft_limit></memtune>\n"
		"  <numatune><memory mode='preferred' nodeset='1'/><memnode cellid='0' mode='strict' "
		"nodeset='0'/></numatune>\n"
		"  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>\n"
		"  <cpu mode='host-passthrough'><topology sockets='1' dies='1' cores='4' threads='2'/>\n"
		"    <numa><cell id='0' cpus='0-3' memory='4' unit='GiB' memAccess='shared'/>\n"
		"      <cell id='1' cpus='4-7' memory='4194304'/></numa></cpu>\n"
		"  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>\n"
		"    <memory model='dimm'><target><size unit='KiB'>1</size></target></memory></devices>\n"
		"  <launchSecurity type='sev'/>\n"
		"</domain>\n";
	struct domain d;

	IS_INT(parse(text, &d), 0);
	IS_STR(d.name, "a/b <x>");
	IS_STR(d.uuid, UUID);
	IS_INT(d.id, 7);
	IS_STR(d.type, "kvm");
	IS_STR(d.arch, "x86_64");
	IS_STR(d.machine, "pc-q35-7.2");
	IS_STR(d.emulator, "/usr/bin/qemu-system-x86_64");
	IS_INT(d.memory, 8ull << 30);
	IS_INT(d.vcpus, 3);
	IS_INT(d.vcpus_max, 8);
	OK(list_is(&d.vcpus_online, "0,2,7"));
	OK(list_is(&d.vcpu_cpuset, "0-2,4-7"));
	IS_INT(d.n_vcpupin, 2);
	IS_INT(d.vcpupin[0].id, 0);
	OK(list_is(&d.vcpupin[0].cpus, "4,6-7"));
	IS_INT(d.vcpupin[1].id, 1);
	OK(list_is(&d.emulatorpin, "1-2"));
	IS_INT(d.n_iothreads, 3);
	IS_INT(d.iothreads[0], 1);
	IS_INT(d.iothreads[1], 2);
	IS_INT(d.iothreads[2], 4);
	IS_INT(d.n_iothreadpin, 1); /* there is no I/O thread 9 */
	IS_INT(d.iothreadpin[0].id, 4);
	IS_INT(d.n_cells, 2);
	IS_INT(d.cells[0].memory, 4ull << 30);
	IS_INT(d.cells[1].memory, 4ull << 30);
	OK(list_is(&d.cells[1].vcpus, "4-7"));
	IS_INT(d.n_hugepages, 2);
	IS_INT(d.hugepages[0].size, 2 << 20);
	OK(list_is(&d.hugepages[0].cells, "0"));
	IS_INT(d.hugepages[1].size, 1 << 30);
	IS_INT(d.threads, 2);
	OK(list_is(&d.numatune_nodes, "1"));
	IS_STR(d.numatune_mode, "preferred");
	IS_INT(d.has, DOMAIN_HAS_SHARES | DOMAIN_HAS_QUOTA | DOMAIN_HAS_SCHED | DOMAIN_HAS_EMULATORPIN |
			      DOMAIN_HAS_IOTHREADPIN | DOMAIN_HAS_HUGEPAGES | DOMAIN_HAS_MEMSOURCE |
			      DOMAIN_HAS_ALLOCATION | DOMAIN_HAS_NUMATUNE | DOMAIN_HAS_VCPU_CPUSET |
			      DOMAIN_HAS_SOFT_LIMIT | DOMAIN_HAS_LAUNCH_SECURITY | DOMAIN_HAS_MEMORY_DEVICES |
			      DOMAIN_HAS_LOCKED | DOMAIN_HAS_NOSHAREPAGES);
	OK(d.tune && xml_is(d.tune, TUNE_NS, "tune"));
	domain_fini(&d);
	domain_fini(&d);
}

TEST(balloons)
{
	static const struct {
		const char *xml;
		unsigned int has;
	} rows[] = {
		{"<memballoon model='none'/>", 0},
		{"<memballoon model='virtio'/>", DOMAIN_HAS_BALLOON},
		{"<memballoon model='virtio' autodeflate='off' freePageReporting='off'/>", DOMAIN_HAS_BALLOON},
		{"<memballoon model='virtio' autodeflate='on'/>", DOMAIN_HAS_BALLOON | DOMAIN_BALLOON_SHRINKS},
		{"<memballoon model='virtio' freePageReporting='on'/>", DOMAIN_HAS_BALLOON | DOMAIN_BALLOON_SHRINKS},
		{"<memballoon model='none' autodeflate='on'/>", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[256];
		struct domain d;

		(void)snprintf(text, sizeof(text), "<domain><devices>%s</devices></domain>", rows[i].xml);
		IS_INT(parse(text, &d), 0);
		IS_INT(d.has, rows[i].has);
		domain_fini(&d);
	}
}

TEST(a_bare_domain)
{
	struct domain d;

	IS_INT(parse("<domain/>", &d), 0);
	IS_STR(d.name, "");
	IS_STR(d.uuid, "");
	IS_INT(d.id, -1);
	IS_STR(d.type, "");
	IS_STR(d.emulator, "");
	IS_STR(d.numatune_mode, "");
	IS_INT(d.vcpus, 1);
	IS_INT(d.vcpus_max, 1);
	OK(list_is(&d.vcpus_online, "0"));
	IS_INT(d.memory, 0);
	IS_INT(d.has, 0);
	OK(!d.tune && !d.n_vcpupin && !d.n_cells && !d.n_iothreads && !d.n_hugepages);
	domain_fini(&d);
}

/* "TARGET BUS ALIAS KIND SOURCE[+MORE] FORMAT CACHE INDEX" of each, by commas, "-" for what is absent. */
static const char *shown_disks(const struct domain *d)
{
	static char text[4096];

#define OR_DASH(s) (*(s) ? (s) : "-")
	text[0] = '\0';
	for (unsigned int i = 0; i < d->n_disks; i++) {
		const struct domain_disk *k = &d->disks[i];

		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s %s %s %d %s%s%s %s %s %u",
			       i ? ", " : "", k->target, OR_DASH(k->bus), OR_DASH(k->alias), k->kind,
			       OR_DASH(k->source), *k->more ? "+" : "", k->more, OR_DASH(k->format), OR_DASH(k->cache),
			       k->index);
	}
	return text;
}

static bool parse_devices(const char *devices, struct domain *d)
{
	static char text[8192];

	(void)snprintf(text, sizeof(text), "<domain><devices>%s</devices></domain>", devices);
	return parse(text, d) == 0;
}

TEST(disks)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/>"
		  "<source file='/a b.qcow2' index='4'/><target dev='vda' bus='virtio'/></disk>",
		  "vda virtio virtio-disk0 1 /a b.qcow2 qcow2 none 4" },
		{ "<disk type='block' device='lun'><driver cache='default'/><source dev='/dev/sda'/><target dev='vdb' "
		  "bus='virtio'/></disk>",
		  "vdb virtio virtio-disk1 2 /dev/sda - - 0" },
		{ "<disk type='dir'><source dir='/fat'/><target dev='vdb' bus='virtio'/></disk>",
		  "vdb virtio virtio-disk1 3 /fat - - 0" },
		{ "<disk type='volume'><source pool='p' volume='v'/><target dev='vdb' bus='virtio'/></disk>",
		  "vdb virtio virtio-disk1 4 p+v - - 0" },
		{ "<disk type='volume'><source pool='p'/><target dev='vdb' bus='virtio'/></disk>",
		  "vdb virtio virtio-disk1 4 p - - 0" },
		{ "<disk type='network'><driver type='raw'/><source protocol='rbd' name='a/b'><host name='h'/></source>"
		  "<target dev='vdb' bus='virtio'/></disk>",
		  "vdb virtio virtio-disk1 5 rbd raw - 0" },
		{ "<disk type='nvme'><source type='pci' managed='yes' namespace='1'><address domain='0x0000' bus='0x01' "
		  "slot='0x00' function='0x0'/></source><target dev='vdb' bus='virtio'/></disk>",
		  "vdb virtio virtio-disk1 6 0000:01:00.0 - - 0" },
		{ "<disk type='nvme'><source type='pci'/><target dev='vdb' bus='virtio'/></disk>",
		  "vdb virtio virtio-disk1 0 - - - 0" },
		{ "<disk type='vhostuser'><source type='unix' path='/s'/><target dev='vdb' bus='virtio'/></disk>",
		  "vdb virtio virtio-disk1 7 - - - 0" },
		/* empty drives, and what is not known */
		{ "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='sdb' bus='sata'/><readonly/>"
		  "<address type='drive' controller='0' bus='0' target='0' unit='1'/></disk>",
		  "sdb sata sata0-0-1 0 - raw - 0" },
		{ "<disk type='file'><source startupPolicy='optional'/><target dev='sdb' bus='usb'/></disk>",
		  "sdb usb usb-disk1 0 - - - 0" },
		{ "<disk type='file'><source file=''/><target dev='vda'/></disk>", "vda - - 0 - - - 0" },
		{ "<disk type='file'><source file='relative'/><target dev='vda'/></disk>", "vda - - 0 relative - - 0" },
		{ "<disk type='tape'><source file='/a'/><target dev='vda' bus='virtio'/></disk>",
		  "vda virtio virtio-disk0 0 - - - 0" },
		{ "<disk type='file'><source file='/a' index='-1'/><target dev='vda' bus='virtio'/></disk>",
		  "vda virtio virtio-disk0 1 /a - - 0" },
		{ "<disk type='file'><source file='/a' index='99999999999'/><target dev='vda' bus='virtio'/></disk>",
		  "vda virtio virtio-disk0 1 /a - - 0" },
		/* without a name it cannot be meant */
		{ "<disk type='file'><source file='/a'/></disk>", "" },
		{ "<disk type='file'><source file='/a'/><target dev='' bus='virtio'/></disk>", "" },
		{ "<disk type='file'><source file='/a'/><target dev='../../x' bus='virtio'/></disk>",
		  "../../x virtio - 1 /a - - 0" },
		{ "<x:disk xmlns:x='urn:x' type='file'><source file='/a'/><target dev='vda'/></x:disk><disk/>", "" },
	};
	struct domain d;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (!parse_devices(cases[i].text, &d))
			TAP_FAIL("%s", cases[i].text);
		else
			IS_STR(shown_disks(&d), cases[i].want);
		domain_fini(&d);
	}
}

/* "KIND SOURCE[+MORE] FORMAT" of each image behind the disk, by commas, "." where there are no more. */
static const char *shown_chain(const struct domain_disk *k)
{
	static char text[4096];

	text[0] = '\0';
	for (unsigned int i = 0; i < k->n_chain; i++) {
		const struct domain_image *m = &k->chain[i];

		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%d %s%s%s %s", i ? ", " : "", m->kind,
			       OR_DASH(m->source), *m->more ? "+" : "", m->more, OR_DASH(m->format));
	}
	if (k->has & DISK_CHAIN_ENDS)
		(void)strcat(text, ".");
	return text;
}

TEST(images_behind_disks)
{
#define STORE(type, format, source, more) \
	"<backingStore type='" type "'><format type='" format "'/><source " source "/>" more "</backingStore>"
#define END "<backingStore/>"
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "", "" },
		{ END, "." },
		{ "<backingStore> </backingStore>", "." },
		{ STORE("file", "qcow2", "file='/a'", ""), "1 /a qcow2" },
		{ STORE("file", "qcow2", "file='/a' index='2'", STORE("block", "raw", "dev='/dev/b'", END)),
		  "1 /a qcow2, 2 /dev/b raw." },
		{ STORE("volume", "raw", "pool='p' volume='v'", ""), "4 p+v raw" },
		{ STORE("network", "raw", "protocol='nbd'", END), "5 nbd raw." },
		{ "<backingStore type='file'/>", "0 - -" },
		{ "<backingStore type='file'><source file='a'/></backingStore>", "0 a -" },
		{ STORE("nvme", "raw", "type='pci'", END), "0 - raw." },
		{ STORE("new", "raw", "file='/a'", END), "0 - raw." },
		{ END STORE("file", "raw", "file='/a'", ""), "." }, /* the first counts */
		{ "<mirror>" STORE("file", "raw", "file='/a'", "") "</mirror>", "" },
	};
	char text[1024];
	struct domain d;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)snprintf(text, sizeof(text),
			       "<disk type='file'><source file='/top'/><target dev='vda'/>%s</disk>", cases[i].text);
		if (!parse_devices(text, &d) || d.n_disks != 1)
			TAP_FAIL("%s", text);
		else
			IS_STR(shown_chain(&d.disks[0]), cases[i].want);
		domain_fini(&d);
	}
}

TEST(more_images_than_are_kept)
{
	static char text[4096];
	struct domain d;

	for (int n = DOMAIN_CHAIN_MAX - 1; n <= DOMAIN_CHAIN_MAX + 1; n++) {
		(void)snprintf(text, sizeof(text), "<disk type='file'><source file='/top'/><target dev='vda'/>");
		for (int i = 0; i < n; i++)
			(void)strcat(text, "<backingStore type='file'><source file='/a'/>");
		(void)strcat(text, END);
		for (int i = 0; i < n; i++)
			(void)strcat(text, "</backingStore>");
		(void)strcat(text, "</disk>");
		if (parse_devices(text, &d)) {
			IS_INT(d.disks[0].n_chain, n < DOMAIN_CHAIN_MAX ? n : DOMAIN_CHAIN_MAX);
			IS_INT(d.disks[0].has, n < DOMAIN_CHAIN_MAX ? DISK_CHAIN_ENDS : 0);
		} else {
			TAP_FAIL("%d", n);
		}
		domain_fini(&d);
	}
}

/* What libvirt 9.0 gave these devices in `virsh domxml-to-native qemu-argv`, as it had printed the definition. */
TEST(disk_aliases)
{
#define ON(bus, target, more) "<disk type='file'><target dev='" target "' bus='" bus "'/>" more "</disk>"
#define DRIVE(c, t, u) "<address type='drive' controller='" c "' bus='0' target='" t "' unit='" u "'/>"
#define CONTROLLERS                                                                       \
	"<controller type='sata' index='0' model='virtio-scsi'/>"                         \
	"<controller type='scsi' index='0' model='lsilogic'/>"                            \
	"<controller type='scsi' index='1' model='virtio-scsi'><address type='pci'/></controller>" \
	"<controller type='scsi' index='2' model='lsilogic'/>"
	static const struct {
		const char *disk, *alias;
	} cases[] = {
		{ ON("virtio", "vda", "<address type='pci' bus='0x08'/>"), "virtio-disk0" },
		{ ON("virtio", "vdaa", ""), "virtio-disk26" },
		{ ON("virtio", "sdg", ""), "virtio-disk6" },
		{ ON("virtio", "vdz", "<alias name='ua-mine'/>"), "ua-mine" },
		{ ON("sata", "sda", DRIVE("0", "0", "0")), "sata0-0-0" },
		{ ON("sata", "sdb", DRIVE("0", "0", "1")), "sata0-0-1" },
		{ ON("fdc", "fda", DRIVE("0", "0", "0")), "fdc0-0-0" },
		{ ON("scsi", "sdc", DRIVE("0", "0", "2")), "scsi0-0-2" },
		{ ON("scsi", "sdd", DRIVE("1", "2", "3")), "scsi1-0-2-3" },
		{ ON("scsi", "sdf", DRIVE("2", "0", "3")), "scsi2-0-3" },
		{ ON("usb", "sde", "<address type='usb' bus='0' port='1'/>"), "usb-disk4" },
		/* by the rule; not seen there */
		{ ON("ide", "hda", "<address type='drive' controller='0' bus='1' unit='0'/>"), "ide0-1-0" },
		{ ON("ide", "hda", "<address type='drive'/>"), "ide0-0-0" },
		{ ON("virtio", "xvdzz", ""), "virtio-disk701" },
		{ ON("virtio", "vdb", "<alias name='virtio-disk7'/>"), "virtio-disk7" }, /* it runs */
		/* not known */
		{ ON("scsi", "sdd", DRIVE("3", "2", "3")), "" },
		{ ON("scsi", "sdd", ""), "" },
		{ ON("ide", "hda", ""), "" },
		{ ON("sata", "sda", DRIVE("0", "0", "x")), "" },
		{ ON("sata", "sda", DRIVE("-1", "0", "0")), "" },
		{ ON("sata", "sda", DRIVE("99999999999", "0", "0")), "" },
		{ ON("virtio", "vda1", ""), "" },
		{ ON("virtio", "vd", ""), "" },
		{ ON("virtio", "vdA", ""), "" },
		{ ON("virtio", "nvme0", ""), "" },
		{ ON("virtio", "vdzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", ""), "" },
		{ "<disk type='file'><target dev='vda'/></disk>", "" },
	};
	struct domain d;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char devices[2048];

		(void)snprintf(devices, sizeof(devices), "%s" CONTROLLERS, cases[i].disk);
		if (!parse_devices(devices, &d) || d.n_disks != 1)
			TAP_FAIL("%s", cases[i].disk);
		else
			IS_STR(d.disks[0].alias, cases[i].alias);
		domain_fini(&d);
	}
}

TEST(what_the_owner_says_of_disks)
{
	static const struct {
		const char *text;
		unsigned int has;
	} cases[] = {
		{ "", 0 },
		{ "<driver name='qemu' type='raw' queues='4' iothread='1'/>", DISK_HAS_QUEUES },
		{ "<driver cache='none'/>", DISK_HAS_CACHE },
		{ "<driver cache='default' io='' discard='default' detect_zeroes='default'/>", 0 },
		{ "<driver io='native'/>", DISK_HAS_IO },
		{ "<driver discard='ignore'/>", DISK_HAS_DISCARD },
		{ "<driver discard='unmap'/>", DISK_HAS_DISCARD | DISK_DISCARDS },
		{ "<driver detect_zeroes='off'/>", DISK_HAS_ZEROES },
		{ "<driver type='qcow2'><metadata_cache><max_size unit='bytes'>1</max_size></metadata_cache></driver>",
		  DISK_HAS_METADATA },
		{ "<iotune/>", 0 },
		{ "<iotune><total_bytes_sec>5</total_bytes_sec></iotune>", DISK_HAS_READ_BPS | DISK_HAS_WRITE_BPS },
		{ "<iotune><read_bytes_sec>5</read_bytes_sec></iotune>", DISK_HAS_READ_BPS },
		{ "<iotune><write_bytes_sec>5</write_bytes_sec></iotune>", DISK_HAS_WRITE_BPS },
		{ "<iotune><total_iops_sec>5</total_iops_sec></iotune>", DISK_HAS_READ_IOPS | DISK_HAS_WRITE_IOPS },
		{ "<iotune><read_iops_sec> 5 </read_iops_sec><write_iops_sec>6</write_iops_sec></iotune>",
		  DISK_HAS_READ_IOPS | DISK_HAS_WRITE_IOPS },
		{ "<iotune><total_bytes_sec>0</total_bytes_sec><read_iops_sec>-1</read_iops_sec><write_iops_sec>"
		  "99999999999999999999999</write_iops_sec><read_bytes_sec>x</read_bytes_sec><write_bytes_sec/></iotune>",
		  0 },
		{ "<readonly/><shareable/>", DISK_IS_READ_ONLY | DISK_IS_SHARED },
	};
	struct domain d;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char devices[1024];

		(void)snprintf(devices, sizeof(devices),
			       "<disk type='file' device='%s'><source file='/a'/><target dev='vda' bus='virtio'/>%s</disk>",
			       i % 2 ? "lun" : "floppy", cases[i].text);
		if (!parse_devices(devices, &d) || d.n_disks != 1)
			TAP_FAIL("%s", cases[i].text);
		else
			IS_INT(d.disks[0].has, cases[i].has | (i % 2 ? DISK_IS_LUN : DISK_IS_REMOVABLE));
		domain_fini(&d);
	}
}

TEST(blkiotune)
{
	static const char text[] = "<domain><blkiotune><weight> 500 </weight>"
				   "<device><path>/dev/sda</path><weight>200</weight></device>"
				   "<device><path>/dev/sdb</path><read_bytes_sec>5</read_bytes_sec>"
				   "<write_iops_sec>5</write_iops_sec></device>"
				   "<device><path>/dev/sdc</path></device>"
				   "<device><path>/dev/sdd</path><weight>0</weight></device>"
				   "<device><path>relative</path><weight>200</weight></device>"
				   "<device><path/><weight>200</weight></device><device><weight>200</weight></device>"
				   "</blkiotune></domain>";
	struct domain d;

	IS_INT(parse(text, &d), 0);
	IS_INT(d.has, DOMAIN_HAS_BLKIO_WEIGHT);
	IS_INT(d.n_blkio, 2);
	IS_STR(d.blkio[0].path, "/dev/sda");
	IS_INT(d.blkio[0].has, DISK_HAS_WEIGHT);
	IS_STR(d.blkio[1].path, "/dev/sdb");
	IS_INT(d.blkio[1].has, DISK_HAS_READ_BPS | DISK_HAS_WRITE_IOPS);
	domain_fini(&d);
	IS_INT(parse("<domain><blkiotune><weight>0</weight></blkiotune></domain>", &d), 0);
	IS_INT(d.has, 0);
	domain_fini(&d);
}

TEST(very_many_disks)
{
	struct sbuf b = { 0 };
	struct domain d;

	sbuf_add(&b, "<domain><blkiotune>");
	for (unsigned int i = 0; i < 2000; i++)
		sbuf_addf(&b, "<device><path>/dev/x%u</path><weight>5</weight></device>", i);
	sbuf_add(&b, "</blkiotune><devices>");
	for (unsigned int i = 0; i < 2000; i++)
		sbuf_addf(&b, "<disk type='file'><source file='/%u'/><target dev='v%u'/></disk>", i, i);
	sbuf_add(&b, "</devices></domain>");
	IS_INT(parse(b.s, &d), 0);
	IS_INT(d.n_disks, DOMAIN_DISKS_MAX);
	IS_INT(d.n_blkio, DOMAIN_DISKS_MAX);
	IS_STR(d.disks[DOMAIN_DISKS_MAX - 1].source, "/255");
	domain_fini(&d);
	sbuf_fini(&b);
}

/* Only what means the same as an attribute of ours counts. */
TEST(memtune)
{
	static const struct {
		const char *text;
		unsigned int has;
	} cases[] = {
		{ "<memtune/>", 0 },
		{ "<memtune><hard_limit>5</hard_limit><swap_hard_limit>5</swap_hard_limit></memtune>", 0 },
		{ "<memtune><soft_limit>5</soft_limit></memtune>", DOMAIN_HAS_SOFT_LIMIT },
		{ "<memtune><min_guarantee>5</min_guarantee></memtune>", DOMAIN_HAS_MIN_GUARANTEE },
		{ "<cputune><cachetune vcpus='0-1'><cache id='0' level='3' type='both' size='3' unit='MiB'/></cachetune></cputune>",
		  DOMAIN_HAS_CACHETUNE },
		{ "<cputune><cachetune vcpus='0'><monitor level='3' vcpus='0'/></cachetune></cputune>", DOMAIN_HAS_CACHETUNE },
		{ "<cputune><memorytune vcpus='0'><node id='0' bandwidth='60'/></memorytune></cputune>",
		  DOMAIN_HAS_MEMORYTUNE },
	};
	char text[256];
	struct domain d;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)snprintf(text, sizeof(text), "<domain>%s</domain>", cases[i].text);
		IS_INT(parse(text, &d), 0);
		IS_INT(d.has, cases[i].has);
		domain_fini(&d);
	}
}

/* "KIND NAME[ MORE]" of each, by commas. What is done with them is t_device's. */
TEST(devices)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "<emulator>/bin/q</emulator><emulator>/bin/r</emulator>", "" },
		{ "<hostdev mode='subsystem' type='pci'><source><address domain='0x10000' bus='0xff' slot='0x1f' "
		  "function='0x7'/></source><address type='pci' bus='1'/></hostdev>",
		  "0 10000:ff:1f.7," },
		{ "<hostdev type='pci'><source><address bus='0x100'/></source></hostdev>", "" },
		{ "<hostdev type='pci'><source><address slot='-1'/></source></hostdev>", "" },
		{ "<hostdev type='pci'><source><address slot='0x'/></source></hostdev>", "" },
		{ "<hostdev type='pci'><source/></hostdev><hostdev type='pci'/>", "" },
		{ "<hostdev type='usb'><source><address bus='1' device='2'/></source></hostdev>", "" },
		{ "<hostdev type='mdev'><source><address uuid='u-1'/></source></hostdev>", "1 u-1," },
		{ "<disk type='file'><source file='/a b.qcow2'/></disk><disk><source file='/a b.qcow2'/></disk>",
		  "2 /a b.qcow2," },
		{ "<disk type='file'><source file='relative'/></disk><disk type='file'><source file=''/></disk>", "" },
		{ "<disk type='block' device='lun'><source dev='/dev/sda'/></disk>", "2 /dev/sda," },
		{ "<disk type='file' device='floppy'><source file='/a'/></disk><disk type='file'/>", "" },
		{ "<disk type='volume'><source pool='p' volume='v'/></disk><disk type='volume'><source pool='p' "
		  "volume='w'/></disk><disk type='volume'><source pool='p'/></disk>",
		  "3 p v,3 p w," },
		{ "<interface type='hostdev'><source><address type='pci' bus='2'/></source></interface>", "0 0000:02:00.0," },
		{ "<interface type='bridge'><source bridge='br0'/></interface><interface type='vdpa'><source "
		  "dev='/dev/vhost-vdpa-0'/></interface><interface type='user'/>",
		  "" },
		{ "<x:disk xmlns:x='urn:x' type='file'><source file='/a'/></x:disk>", "" },
	};
	char text[512];
	struct domain d;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char got[512] = "";

		(void)snprintf(text, sizeof(text), "<domain><devices>%s</devices></domain>", cases[i].text);
		IS_INT(parse(text, &d), 0);
		for (unsigned int k = 0; k < d.n_devices; k++)
			(void)snprintf(got + strlen(got), sizeof(got) - strlen(got), "%d %s%s%s,", d.devices[k].kind,
				       d.devices[k].name, d.devices[k].more ? " " : "",
				       d.devices[k].more ? d.devices[k].more : "");
		IS_STR(got, cases[i].want);
		domain_fini(&d);
	}
}

TEST(memory_units)
{
	static const struct {
		const char *memory;
		unsigned long long want;
	} cases[] = {
		{ "<memory>1</memory>", 1024 },
		{ "<memory unit=''>1</memory>", 1024 },
		{ "<memory unit='b'>5</memory>", 5 },
		{ "<memory unit='bytes'>5</memory>", 5 },
		{ "<memory unit='KB'>1</memory>", 1000 },
		{ "<memory unit='k'>1</memory>", 1024 },
		{ "<memory unit='KiB'>\n 2 \n</memory>", 2048 },
		{ "<memory unit='MB'>1</memory>", 1000000 },
		{ "<memory unit='M'>1</memory>", 1 << 20 },
		{ "<memory unit='mib'>1</memory>", 1 << 20 },
		{ "<memory unit='GB'>1</memory>", 1000000000 },
		{ "<memory unit='G'>1</memory>", 1 << 30 },
		{ "<memory unit='TiB'>1</memory>", 1ull << 40 },
		{ "<memory unit='TB'>1</memory>", 1000000000000 },
		{ "<memory unit='P'>1</memory>", 1ull << 50 },
		{ "<memory unit='EiB'>1</memory>", 1ull << 60 },
		{ "<memory unit='EiB'>16</memory>", 0 },
		{ "<memory unit='XiB'>1</memory>", 0 },
		{ "<memory unit='KiBB'>1</memory>", 0 },
		{ "<memory>-1</memory>", 0 },
		{ "<memory>1e6</memory>", 0 },
		{ "<memory/>", 0 },
		{ "<currentMemory>1</currentMemory>", 0 },
		{ "<memory>1</memory><memory>2</memory>", 1024 },
		{ "<cpu><numa><cell memory='3'/><cell memory='1' unit='M'/></numa></cpu>", 3072 + (1 << 20) },
		{ "<memory>1</memory><cpu><numa><cell memory='3'/></numa></cpu>", 3072 },
		{ "<memory>9</memory><cpu><numa><cell memory='3'/></numa></cpu>", 9216 }, /* and a DIMM */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[256];
		struct domain d;

		snprintf(text, sizeof(text), "<domain>%s</domain>", cases[i].memory);
		IS_INT(parse(text, &d), 0);
		if (d.memory != cases[i].want)
			TAP_FAIL("%s: %llu, not %llu", cases[i].memory, (unsigned long long)d.memory, cases[i].want);
		domain_fini(&d);
	}
}

TEST(vcpus_and_pins)
{
	static const struct {
		const char *xml;
		unsigned int vcpus, max, pins;
		const char *online;
	} cases[] = {
		{ "<vcpu>4</vcpu>", 4, 4, 0, "0-3" },
		{ "<vcpu current='2'>4</vcpu>", 2, 4, 0, "0-1" },
		{ "<vcpu current='9'>4</vcpu>", 4, 4, 0, "0-3" },
		{ "<vcpu current='0'>4</vcpu>", 4, 4, 0, "0-3" },
		{ "<vcpu> 4 </vcpu>", 4, 4, 0, "0-3" },
		{ "<vcpu>four</vcpu>", 1, 1, 0, "0" },
		{ "<vcpu>0</vcpu>", 1, 1, 0, "0" },
		{ "<vcpus><vcpu id='1' enabled='yes'/><vcpu id='9' enabled='yes'/></vcpus><vcpu>4</vcpu>", 1, 4, 0,
		  "1" },
		{ "<vcpus><vcpu id='1' enabled='no'/></vcpus><vcpu current='3'>4</vcpu>", 3, 4, 0, "0-2" },
		{ "<vcpu>4096</vcpu>", 4096, 4096, 0, "0-4095" },
		/* Wherever <vcpu> stands; beyond it, without a list, empty, twice: left out. */
		{ "<cputune><vcpupin vcpu='3' cpuset='1'/><vcpupin vcpu='4' cpuset='1'/><vcpupin vcpu='0'/>"
		  "<vcpupin vcpu='1' cpuset=''/><vcpupin vcpu='1' cpuset='x'/><vcpupin vcpu='1' cpuset='8192'/>"
		  "<vcpupin cpuset='1'/><vcpupin vcpu='-1' cpuset='1'/><vcpupin vcpu='3' "
		  "cpuset='2'/></cputune><vcpu>4</vcpu>",
		  4, 4, 1, "0-3" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[1024];
		struct domain d;

		snprintf(text, sizeof(text), "<domain>%s</domain>", cases[i].xml);
		IS_INT(parse(text, &d), 0);
		IS_INT(d.vcpus, cases[i].vcpus);
		IS_INT(d.vcpus_max, cases[i].max);
		OK(list_is(&d.vcpus_online, cases[i].online));
		IS_INT(d.n_vcpupin, cases[i].pins);
		if (d.n_vcpupin)
			OK(d.vcpupin[0].id == 3 && list_is(&d.vcpupin[0].cpus, "1"));
		domain_fini(&d);
	}
}

TEST(iothreads)
{
	static const struct {
		const char *xml, *want;
	} cases[] = {
		{ "<iothreads>2</iothreads>", "1-2" },
		{ "<iothreadids><iothread id='7'/><iothread id='5'/></iothreadids>", "5,7" },
		{ "<iothreads>1</iothreads><iothreadids><iothread id='7'/><iothread id='5'/></iothreadids>", "5,7" },
		{ "<iothreads>4</iothreads><iothreadids><iothread id='2'/><iothread id='2'/></iothreadids>", "1-4" },
		{ "<iothreadids><iothread id='0'/><iothread/><iothread id='x'/></iothreadids>", "" },
		{ "<iothreads>0</iothreads>", "" },
		{ "<iothreads>many</iothreads>", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct idset s = IDSET_EMPTY;
		char text[512];
		struct domain d;

		snprintf(text, sizeof(text), "<domain>%s</domain>", cases[i].xml);
		IS_INT(parse(text, &d), 0);
		for (unsigned int t = 0; t < d.n_iothreads; t++)
			idset_add(&s, d.iothreads[t]);
		OK(list_is(&s, cases[i].want));
		IS_INT(idset_count(&s), d.n_iothreads);
		domain_fini(&d);
	}
}

TEST(what_is_explicit)
{
	static const struct {
		const char *xml;
		unsigned int has;
	} cases[] = {
		{ "<cputune><quota>0</quota></cputune>", 0 },
		{ "<cputune><quota>-1</quota><period>1000</period></cputune>", 0 },
		{ "<cputune><global_quota>1000</global_quota></cputune>", DOMAIN_HAS_QUOTA },
		{ "<cputune><iothread_quota>1000</iothread_quota></cputune>", DOMAIN_HAS_QUOTA },
		{ "<cputune><emulatorsched scheduler='fifo' priority='1'/></cputune>", DOMAIN_HAS_SCHED },
		{ "<cputune><emulatorpin cpuset='1,^1'/></cputune>", 0 },
		{ "<x:cputune xmlns:x='urn:x'><x:shares>1</x:shares></x:cputune>", 0 },
		{ "<memtune/>", 0 },
		{ "<numatune/>", 0 },
		{ "<numatune><memory placement='auto'/></numatune>", DOMAIN_HAS_NUMATUNE },
		{ "<numatune><memnode cellid='0' nodeset='1'/></numatune>", DOMAIN_HAS_NUMATUNE },
		{ "<vcpu placement='auto'>2</vcpu>", DOMAIN_HAS_PLACEMENT_AUTO },
		{ "<vcpu cpuset='nonsense'>2</vcpu>", 0 },
		{ "<memoryBacking><source type='anonymous'/><access mode='private'/></memoryBacking>", 0 },
		{ "<memoryBacking><source type='file'/></memoryBacking>", DOMAIN_HAS_MEMSOURCE },
		{ "<memoryBacking><access mode='shared'/></memoryBacking>", DOMAIN_HAS_MEMSOURCE },
		{ "<memoryBacking><allocation threads='2'/></memoryBacking>", 0 },
		{ "<memoryBacking><hugepages/></memoryBacking>", DOMAIN_HAS_HUGEPAGES },
		{ "<memoryBacking><hugepages><page/></hugepages></memoryBacking>", DOMAIN_HAS_HUGEPAGES },
		{ "<devices/>", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[512];
		struct domain d;

		snprintf(text, sizeof(text), "<domain>%s</domain>", cases[i].xml);
		IS_INT(parse(text, &d), 0);
		if (d.has != cases[i].has)
			TAP_FAIL("%s: %x, not %x", cases[i].xml, d.has, cases[i].has);
		if (d.has & DOMAIN_HAS_HUGEPAGES)
			OK(d.n_hugepages == 1 && d.hugepages[0].size == 0 && idset_is_empty(&d.hugepages[0].cells));
		domain_fini(&d);
	}
}

TEST(numatune_of_cells)
{
	struct domain d;

	IS_INT(parse("<domain><numatune><memnode cellid='0' mode='preferred' nodeset='1'/>"
		     "<memnode cellid='1' nodeset='3'/></numatune></domain>", &d), 0);
	OK(list_is(&d.numatune_nodes, "1,3"));
	IS_STR(d.numatune_mode, "preferred");
	domain_fini(&d);
	IS_INT(parse("<domain><numatune><memory nodeset='0'/></numatune></domain>", &d), 0);
	IS_STR(d.numatune_mode, "strict");
	domain_fini(&d);
}

TEST(uuids)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ UUID, UUID },
		{ "3f2a9a1c6b1f4d0c9a540123456789ab", UUID },
		{ " 3F2A9A1C-6B1F-4D0C-9A54-0123456789AB\n", UUID },
		{ "3f2a9a1c-6b1f-4d0c-9a54-0123456789a", "" },
		{ "3f2a9a1c-6b1f-4d0c-9a54-0123456789abc", "" },
		{ "3f2a9a1c-6b1f-4d0c-9a54-0123456789ag", "" },
		{ "../../../../../../../../etc/passwd", "" },
		{ "", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[256];
		struct domain d;

		snprintf(text, sizeof(text), "<domain><uuid>%s</uuid></domain>", cases[i].text);
		IS_INT(parse(text, &d), 0);
		IS_STR(d.uuid, cases[i].want);
		domain_fini(&d);
	}
}

/* Only namespace and local name make it ours; inherited scopes count. */
TEST(our_metadata)
{
	static const struct {
		const char *metadata;
		bool want;
	} cases[] = {
		{ "<tune xmlns='urn:domtune:1'/>", true },
		{ "<x:tune xmlns:x='urn:domtune:1'/>", true },
		{ "<o:y xmlns:o='urn:o'/><x:tune xmlns:x='urn:domtune:1'/>", true },
		{ "<tune/>", false },
		{ "<domtune:tune xmlns:domtune='urn:domtune:2'/>", false },
		{ "<x:Tune xmlns:x='urn:domtune:1'/>", false },
		{ "<o:y xmlns:o='urn:o'><x:tune xmlns:x='urn:domtune:1'/></o:y>", false },
		{ "<x:tune xmlns:x='urn&#58;domtune:1'/>", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[256];
		struct domain d;

		snprintf(text, sizeof(text), "<domain><metadata>%s</metadata></domain>", cases[i].metadata);
		IS_INT(parse(text, &d), 0);
		IS_INT(d.tune != NULL, cases[i].want);
		domain_fini(&d);
	}
}

TEST(status_file)
{
	static const char text[] = "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE.\n-->\n"
				   "<domstatus state='running' reason='booted' pid='4711'>\n  <vcpus><vcpu id='0' "
				   "pid='1'/>"
				   "</vcpus>\n  <domain type='kvm' id='3'>\n    <name>web1</name>\n  "
				   "</domain>\n</domstatus>\n";
	struct domain d;
	int pid = -1;

	IS_INT(domain_parse_status(text, strlen(text), &d, &pid, NULL), 0);
	IS_INT(pid, 4711);
	IS_STR(d.name, "web1");
	IS_STR((const char *)xmlDocGetRootElement(d.doc)->name, "domain");
	domain_fini(&d);
	IS_INT(domain_parse_status("<domain/>", 9, &d, &pid, NULL), 0);
	IS_INT(pid, 0);
	domain_fini(&d);
	IS_INT(parse("<domstatus pid='1'/>", &d), -EBADMSG);
}

TEST(what_is_refused_and_where)
{
	static const struct {
		const char *text;
		int line, column;
		const char *want; /* part of the message */
	} cases[] = {
		{ "", 0, 0, "is empty" },
		{ " \n\t ", 0, 0, "is empty" },
		{ "\xef\xbb\xbf", 0, 0, "is empty" },
		{ "<network/>", 0, 0, "is not a <domain>" },
		{ "<x:domain xmlns:x='urn:x'/>", 0, 0, "is not a <domain>" },
		{ "<domain>\n  <name>x</nam>\n</domain>", 2, 16, "mismatch" },
		{ "<domain>\n<name>", 2, 7, "" },
		{ "junk", 1, 1, "" },
		{ "<domain/>junk", 1, 10, "" },
		{ "<domain>&bomb;</domain>", 1, 15, "bomb" },
		{ "<domain a='1' a='2'/>", 1, 0, "redefined" },
		{ "\n<!DOCTYPE domain>\n<domain/>", 2, 0, "DOCTYPE" },
		{ "<domain>\n  <vcpu>4097</vcpu></domain>", 2, 3, "4096" },
		{ "<domain>\n\n <iothreads>99999</iothreads></domain>", 3, 2, "1024" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = ERR_INIT;
		struct domain d;

		memset(&d, 1, sizeof(d));
		IS_INT(domain_parse(cases[i].text, strlen(cases[i].text), &d, &e), -EBADMSG);
		OK(!d.doc && !d.name);
		if (!strstr(e.text, cases[i].want) || e.line != cases[i].line ||
		    (cases[i].column && e.column != cases[i].column))
			TAP_FAIL("%s: %d:%d: %s", cases[i].text, e.line, e.column, e.text);
		domain_fini(&d);
	}
}

TEST(too_many_cells)
{
	struct sbuf b = { 0 };
	struct domain d;

	sbuf_add(&b, "<domain><cpu><numa>");
	for (unsigned int i = 0; i <= DOMAIN_CELLS_MAX; i++)
		sbuf_addf(&b, "<cell id='%u' cpus='%u' memory='1'/>", i, i);
	sbuf_add(&b, "</numa></cpu></domain>");
	IS_INT(parse(b.s, &d), -EBADMSG);
	sbuf_fini(&b);
}

/* A document with a DTD is gone before an entity exists. */
TEST(entity_bombs)
{
	static const char *const cases[] = {
		("<!DOCTYPE d [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'><!ENTITY c "
			"'&b;&b;&b;&b;&b;&b;&b;&b;'>"
		 "<!ENTITY d '&c;&c;&c;&c;&c;&c;&c;&c;'><!ENTITY e '&d;&d;&d;&d;&d;&d;&d;&d;'>]>"
		 "<domain x='&e;'><name>&e;</name></domain>"),
		"<!DOCTYPE domain SYSTEM 'file:///etc/passwd'><domain/>",
		"<!DOCTYPE domain [<!ENTITY x SYSTEM '/etc/passwd'>]><domain><name>&x;</name></domain>",
		"<!DOCTYPE domain [<!ENTITY % p SYSTEM 'http://192.0.2.1/x'> %p;]><domain/>",
		"<!DOCTYPE domain [<!ATTLIST domain type CDATA 'kvm'>]><domain/>",
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = ERR_INIT;
		struct domain d;

		IS_INT(domain_parse(cases[i], strlen(cases[i]), &d, &e), -EBADMSG);
		IS_STR(e.text, "has a DOCTYPE");
	}
}

TEST(sizes)
{
	size_t len = 100u << 20;
	char *text = malloc(len);
	struct err e = ERR_INIT;
	struct domain d;

	memset(text, ' ', len);
	memcpy(text, "<domain>", 8);
	memcpy(text + len - 9, "</domain>", 9);
	IS_INT(domain_parse(text, len, &d, &e), -EFBIG);
	IS_INT(e.code, EFBIG);
	IS_INT(domain_parse(text, DOMAIN_XML_MAX + 1, &d, &e), -EFBIG);
	memcpy(text + DOMAIN_XML_MAX - 9, "</domain>", 9);
	IS_INT(domain_parse(text, DOMAIN_XML_MAX, &d, &e), 0);
	domain_fini(&d);
	free(text);
}

TEST(depth)
{
	struct sbuf b = { 0 };
	struct domain d;

	sbuf_add(&b, "<domain>");
	for (unsigned int i = 0; i < 100000; i++)
		sbuf_add(&b, "<a>");
	IS_INT(parse(b.s, &d), -EBADMSG);
	for (unsigned int i = 0; i < 100000; i++)
		sbuf_add(&b, "</a>");
	sbuf_add(&b, "</domain>");
	IS_INT(parse(b.s, &d), -EBADMSG);
	sbuf_fini(&b);
}

/* Every prefix of a domain, and the whole with each byte replaced: an error or a domain, never a crash. */
TEST(damaged_anywhere)
{
	static const char text[] = "<?xml version='1.0' encoding='UTF-8'?><domain "
		"id='1'><name>a&amp;b</name><vcpu>4</vcpu>"
				   "<!-- c --><metadata><t:tune xmlns:t='urn:domtune:1' profile='x'/></metadata>"
				   "<cputune><vcpupin vcpu='0' cpuset='1-3'/></cputune><![CDATA[x]]></domain>";
	static const char bytes[] = { '\0', '<', '>', '&', '\'', '\xff', ' ' };
	size_t len = sizeof(text) - 1;
	struct domain d;

	for (size_t n = 0; n < len; n++) {
		char *part = malloc(n ? n : 1);

		memcpy(part, text, n);
		if (domain_parse(part, n, &d, NULL) == 0)
			domain_fini(&d);
		free(part);
		for (size_t i = 0; i < sizeof(bytes); i++) {
			part = malloc(len);
			memcpy(part, text, len);
			part[n] = bytes[i];
			if (domain_parse(part, len, &d, NULL) == 0)
				domain_fini(&d);
			free(part);
		}
	}
	IS_INT(domain_parse(text, len, &d, NULL), 0);
	IS_STR(d.name, "a&b");
	domain_fini(&d);
}

TEST(other_encodings)
{
	/* UTF-16 with a byte order mark: "<domain/>" */
	static const char utf16[] = "\xff\xfe<\0d\0o\0m\0a\0i\0n\0/\0>";
	static const char latin1[] = "<?xml version='1.0' encoding='ISO-8859-1'?>\n<domain>\n  "
		"<name>\xe9</name>\n</domain>";
	static const char nonsense[] = "<?xml version='1.0' encoding='KLINGON'?><domain/>";
	struct domain d;

	IS_INT(domain_parse(utf16, sizeof(utf16), &d, NULL), 0);
	domain_fini(&d);
	IS_INT(parse(latin1, &d), 0);
	IS_STR(d.name, "\xc3\xa9");
	domain_fini(&d);
	IS_INT(parse(nonsense, &d), -EBADMSG);
	/* Not UTF-8 without saying so. */
	IS_INT(parse("<domain><name>\xe9</name></domain>", &d), -EBADMSG);
}

/* Nothing may reach stderr: libvirt would show it to the user. */
TEST(silence)
{
	static const char *const cases[] = {
		"<domain",
		"<domain a='1' a='2'>",
		"<d:domain/>",
		"\xff\xff",
		"<domain>&x;</domain>",
		/* Errors of the converters, which know no parser. */
		"<?xml version='1.0' encoding='ISO-2022-JP'?><domain>\x1b$B\xff\xff\xff</domain>",
		"<?xml version='1.0' encoding='ASCII'?><domain>\xff\xff\xff</domain>",
		"<?xml version='1.0' encoding='EUC-JP'?><domain>\xff\xff\xff</domain>",
		"<?xml version='1.0' encoding='x'?><domain>",
	};
	char path[] = "/tmp/t_domain.XXXXXX", got[16];
	int fd = mkstemp(path), saved = dup(2);
	struct domain d;

	(void)unlink(path);
	dup2(fd, 2);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (parse(cases[i], &d) == 0)
			domain_fini(&d);
	fflush(stderr);
	dup2(saved, 2);
	IS_INT(pread(fd, got, sizeof(got), 0), 0);
	close(fd);
	close(saved);
}

/* Places: of an element its "<", of an attribute its name's first character; 1-based, tags over several lines. */
static const xmlNode *at(const xmlNode *n, const char *attribute)
{
	return attribute ? (const xmlNode *)xmlHasProp(n, (const xmlChar *)attribute) : n;
}

TEST(places)
{
	static const char text[] = "<?xml version='1.0' encoding='UTF-8'?>\n"
				   "<!-- <domain a='1'> -->\n"
				   "<domain\n"
				   "   type = \"kvm\"\n"
				   "\tid='3'>\n"
				   " text <a/><b x='>' y='&lt;/' z = 'a\n"
				   "b' xmlns:p='urn:p' p:q='1'/>\n"
				   "<![CDATA[<a q='1'>\n]]> <?pi <a>?> <p:c xmlns:p='urn:p'   d='1'/></domain>\n";
	static const struct {
		const char *element, *attribute;
		int line, column;
	} cases[] = {
		{ "domain", NULL, 3, 1 }, { "domain", "type", 4, 4 }, { "domain", "id", 5, 2 }, { "a", NULL, 6, 7 },
		{ "b", NULL, 6, 11 },	  { "b", "x", 6, 14 },	      { "b", "y", 6, 20 },	{ "b", "z", 6, 30 },
		{ "b", "q", 7, 20 },	  { "c", NULL, 9, 16 },	      { "c", "d", 9, 39 },
	};
	xmlDoc *doc = xml_parse(text, sizeof(text) - 1, 4096, NULL);

	for (size_t i = 0; doc && i < ARRAY_SIZE(cases); i++) {
		const xmlNode *n = xmlDocGetRootElement(doc);

		if (!streq(cases[i].element, "domain"))
			for (n = xml_first_element(n); n && !streq((const char *)n->name, cases[i].element);)
				n = xml_next_element(n);
		n = at(n, cases[i].attribute);
		if (!n || xml_line(n) != cases[i].line || xml_column(n) != cases[i].column)
			TAP_FAIL("%s %s: %d:%d", cases[i].element, cases[i].attribute ? cases[i].attribute : "",
				xml_line(n),
				 xml_column(n));
	}
	OK(doc);
	xmlFreeDoc(doc);
}

TEST(places_far_down)
{
	struct sbuf b = { 0 };
	struct err e = ERR_INIT;
	const xmlNode *n;
	xmlDoc *doc;

	sbuf_add(&b, "\xef\xbb\xbf<domain>");
	for (unsigned int i = 0; i < 70000; i++)
		sbuf_add(&b, i % 7 ? "\n" : "<x/>\n");
	sbuf_add(&b, "\n  <last\n\n a='1'/></domain>");
	doc = xml_parse(b.s, b.len, DOMAIN_XML_MAX, &e);
	OK(doc);
	n = xmlDocGetRootElement(doc)->last;
	IS_INT(xml_line(n), 70002);
	IS_INT(xml_column(n), 3);
	n = (const xmlNode *)n->properties;
	IS_INT(xml_line(n), 70004);
	IS_INT(xml_column(n), 2);
	xmlFreeDoc(doc);
	sbuf_add(&b, "<");
	OK(!xml_parse(b.s, b.len, DOMAIN_XML_MAX, &e));
	IS_INT(e.line, 70004);
	sbuf_fini(&b);
}

/* With a converter the columns are unknown, lines still are libxml2's. */
TEST(places_in_other_encodings)
{
	static const char latin1[] = "<?xml version='1.0' encoding='ISO-8859-1'?>\n<domain>\n  <name "
		"a='\xe9'/>\n</domain>";
	xmlDoc *doc = xml_parse(latin1, sizeof(latin1) - 1, 4096, NULL);
	const xmlNode *n = xml_first_element(xmlDocGetRootElement(doc));

	IS_INT(xml_line(n), 3);
	IS_INT(xml_column(n), 0);
	IS_INT(xml_line((const xmlNode *)n->properties), 3);
	xmlFreeDoc(doc);
}

/* KIND MAC ALIAS TARGET SOURCE MORE HAS, "-" for what is empty. */
static void show_interface(const struct domain_interface *i, char *buf, size_t size)
{
	const char *const fields[] = { i->mac, i->alias, i->target, i->source, i->more };
	int n = snprintf(buf, size, "%d", i->kind);

	for (size_t k = 0; k < ARRAY_SIZE(fields); k++)
		n += snprintf(buf + n, size - (size_t)n, " %s", *fields[k] ? fields[k] : "-");
	(void)snprintf(buf + n, size - (size_t)n, " %u,", i->has);
}

#define IFACE(type, rest) "<interface type='" type "'>" rest "</interface>"

/* Aliases as qemuAssignDeviceNetAlias() gives them: tests/e2e/t_net.sh has libvirt say so. */
TEST(interfaces)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ IFACE("bridge", "<mac address='52:54:00:AB:cd:EF'/><source bridge='br0'/><model type='virtio'/>"),
		  "1 52:54:00:ab:cd:ef net0 - br0 - 0," },
		{ IFACE("bridge", "<source bridge='br0'/><target dev='vnet3'/><alias name='net5'/>"),
		  "1 - net5 vnet3 br0 - 0," },
		{ IFACE("network", "<source network='a b' portgroup='x'/>"), "2 - net0 - a b - 0," },
		{ IFACE("network", "<source network='lan' portid='u' bridge='virbr0'/>"), "2 - net0 - lan virbr0 0," },
		{ IFACE("network", "<source network='pool' portid='u' dev='eth1' mode='bridge'/>"),
		  "2 - net0 - pool eth1 0," },
		{ IFACE("direct", "<source dev='eth0' mode='vepa'/>"), "3 - net0 - eth0 - 0," },
		{ IFACE("ethernet", "<target dev='tapr0' managed='no'/><script path='/x'/>"), "4 - net0 tapr0 - - 0," },
		/* a network function has the alias of a host device, and takes no number */
		{ IFACE("hostdev", "<source><address type='pci' domain='0' bus='0x81' slot='2' function='1'/></source>")
		  IFACE("bridge", "<source bridge='br0'/>"),
		  "5 - - - 0000:81:02.1 - 0,1 - net0 - br0 - 0," },
		/* kinds without a host device take one, an alias of the owner's own does not */
		{ IFACE("user", "") IFACE("vhostuser", "<source type='unix' path='/s' mode='client'/>")
		  IFACE("bridge", "<source bridge='br0'/><alias name='ua-lan'/>") IFACE("vdpa", "<source dev='/v'/>"),
		  "0 - net0 - - - 0,0 - net1 - - - 0,1 - ua-lan - br0 - 0,0 - net2 - - - 0," },
		/* nothing but a name of our own reads "ua-": what begins with net is libvirt's number */
		{ IFACE("bridge", "<source bridge='b'/><alias name='ua-net7'/>") IFACE("user", ""),
		  "1 - ua-net7 - b - 0,0 - net0 - - - 0," },
		{ IFACE("bridge", "<source bridge='b'/><alias name='net3'/>") IFACE("user", ""),
		  "1 - net3 - b - 0,0 - net4 - - - 0," },
		/* what the owner says himself */
		{ IFACE("bridge", "<source bridge='b'/><bandwidth><inbound average='1000'/></bandwidth>"),
		  "1 - net0 - b - 1," },
		{ IFACE("bridge", "<source bridge='b'/><bandwidth><outbound average='1'/></bandwidth>"),
		  "1 - net0 - b - 2," },
		{ IFACE("network", "<source network='n'/><bandwidth><inbound average='1' floor='2'/>"
				   "<outbound average='1'/></bandwidth>"),
		  "2 - net0 - n - 3," },
		{ IFACE("bridge", "<source bridge='ovs0'/><virtualport type='openvswitch'/>"), "1 - net0 - ovs0 - 4," },
		{ IFACE("direct", "<source dev='eth0'/><virtualport type='802.1Qbg'/>"), "3 - net0 - eth0 - 0," },
		/* what is missing, or not libvirt's */
		{ "<interface/>", "0 - net0 - - - 0," },
		{ IFACE("bridge", ""), "1 - net0 - - - 0," },
		{ IFACE("network", "<source/>"), "2 - net0 - - - 0," },
		{ IFACE("hostdev", "<source><address bus='0x100'/></source>"), "5 - - - - - 0," },
		{ IFACE("bridge", "<source bridge='../../etc'/><target dev='a/b'/><mac address='xyz'/>"),
		  "1 xyz net0 a/b ../../etc - 0," },
		{ "<x:interface xmlns:x='urn:x' type='bridge'><source bridge='b'/></x:interface>", "" },
	};
	char text[1024];
	struct domain d;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char got[1024] = "";

		(void)snprintf(text, sizeof(text), "<domain><devices>%s</devices></domain>", cases[i].text);
		IS_INT(parse(text, &d), 0);
		for (unsigned int k = 0; k < d.n_interfaces; k++)
			show_interface(&d.interfaces[k], got + strlen(got), sizeof(got) - strlen(got));
		IS_STR(got, cases[i].want);
		domain_fini(&d);
	}
}

TEST(interfaces_are_bounded)
{
	struct sbuf b = { 0 };
	struct domain d;
	char *text;

	sbuf_add(&b, "<domain><devices>");
	for (int i = 0; i < DOMAIN_INTERFACES_MAX + 10; i++)
		sbuf_add(&b, IFACE("bridge", "<source bridge='br0'/>"));
	sbuf_add(&b, "</devices></domain>");
	text = sbuf_steal(&b);
	IS_INT(parse(text, &d), 0);
	IS_INT(d.n_interfaces, DOMAIN_INTERFACES_MAX);
	IS_STR(d.interfaces[DOMAIN_INTERFACES_MAX - 1].alias, "net255");
	domain_fini(&d);
	free(text);
}

TAP_MAIN

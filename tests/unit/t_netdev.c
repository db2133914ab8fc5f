/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From interfaces to uplinks, over a sysfs made of directories and links as the kernel makes them, and over real
 * devices. */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "common/netdev.h"
#include "tests/unit/root_bytes.h"

#define NET "sys/class/net/"

static void root_link(struct root *r, const char *path, const char *to)
{
	char dir[256];

	(void)snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
	root_mkdir(r, dir);
	if (symlinkat(to, r->fs.fd, path) < 0)
		TAP_FAIL("link %s", path);
}

/* ---- devices, as their drivers show them ---- */

static unsigned int last_index;

static void put_attr(struct root *r, const char *name, const char *attr, const char *text)
{
	char path[512];

	root_put(r, (snprintf(path, sizeof(path), NET "%s/%s", name, attr), path), text);
}

/* type: DEVTYPE, NULL none. */
static void put_device(struct root *r, const char *name, const char *type)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "%s%s%sINTERFACE=%s\nIFINDEX=%u\n", type ? "DEVTYPE=" : "", type ? type : "",
		       type ? "\n" : "", name, ++last_index);
	put_attr(r, name, "uevent", text);
	(void)snprintf(text, sizeof(text), "%u\n", last_index);
	put_attr(r, name, "ifindex", text);
	put_attr(r, name, "iflink", text);
}

static void put_nic(struct root *r, const char *name, int node, const char *speed, int queues)
{
	char path[512], text[128];

	put_device(r, name, NULL);
	(void)snprintf(text, sizeof(text), "%d\n", node);
	root_put(r, (snprintf(path, sizeof(path), "sys/devices/pci0000:00/of-%s/numa_node", name), path), text);
	(void)snprintf(text, sizeof(text), "../../../devices/pci0000:00/of-%s", name);
	root_link(r, (snprintf(path, sizeof(path), NET "%s/device", name), path), text);
	put_attr(r, name, "speed", speed);
	for (int i = 0; i < queues; i++) {
		(void)snprintf(text, sizeof(text), "queues/tx-%d/tx_timeout", i);
		put_attr(r, name, text, "0\n");
	}
	put_attr(r, name, "queues/rx-0/rps_cpus", "0\n");
}

static void put_veth(struct root *r, const char *name, const char *peer)
{
	put_device(r, name, NULL);
	put_attr(r, name, "iflink", peer);
	put_attr(r, name, "speed", "10000\n");
	put_attr(r, name, "duplex", "full\n");
	put_attr(r, name, "queues/tx-0/tx_timeout", "0\n");
}

static void put_tap(struct root *r, const char *name)
{
	put_device(r, name, NULL);
	put_attr(r, name, "tun_flags", "0x1002\n");
	put_attr(r, name, "duplex", "full\n");
}

static void put_bridge(struct root *r, const char *name)
{
	put_device(r, name, "bridge");
	put_attr(r, name, "bridge/stp_state", "0\n");
	put_attr(r, name, "duplex", "unknown\n");
}

static void put_bond(struct root *r, const char *name, const char *slaves)
{
	put_device(r, name, "bond");
	put_attr(r, name, "bonding/slaves", slaves);
	put_attr(r, name, "duplex", "full\n");
}

static void stack(struct root *r, const char *upper, const char *lower)
{
	char path[512], to[256];

	(void)snprintf(to, sizeof(to), "../%s", lower);
	root_link(r, (snprintf(path, sizeof(path), NET "%s/lower_%s", upper, lower), path), to);
	(void)snprintf(to, sizeof(to), "../%s", upper);
	root_link(r, (snprintf(path, sizeof(path), NET "%s/upper_%s", lower, upper), path), to);
}

/* The upper device is the lower one's master. */
static void enslave(struct root *r, const char *upper, const char *lower)
{
	char path[512], to[256];

	stack(r, upper, lower);
	(void)snprintf(to, sizeof(to), "../%s", upper);
	root_link(r, (snprintf(path, sizeof(path), NET "%s/master", lower), path), to);
}

#define ROUTE_HEAD                          "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
#define ROUTE(dev, to, flags, metric, mask) dev "\t" to "\t0102A8C0\t" flags "\t0\t0\t" metric "\t" mask "\t0\t0\t0\n"
#define ZEROS                               "00000000000000000000000000000000"
#define ROUTE6(to, prefix, metric, flags, dev)                                                                         \
	to " " prefix " " ZEROS " 00 " ZEROS " " metric " 00000001 00000000 " flags "    " dev "\n"

static void put_stacks(struct root *r)
{
	put_nic(r, "eth0", 1, "10000\n", 4);
	put_nic(r, "eth1", 0, "25000\n", 8);
	put_nic(r, "eth2", -1, "-1\n", 1);
	put_device(r, "lo", NULL);
	put_device(r, "dummy0", NULL);
	put_device(r, "wg0", "wireguard");
	/* a bridge on a VLAN on a bond, with taps of guests and of a VPN, and a container's veth */
	put_bond(r, "bond0", "eth0 eth1\n");
	enslave(r, "bond0", "eth0");
	enslave(r, "bond0", "eth1");
	put_device(r, "bond0.7", "vlan");
	stack(r, "bond0.7", "bond0");
	put_bridge(r, "br0");
	enslave(r, "br0", "bond0.7");
	for (int i = 0; i < 3; i++) {
		char name[16];

		put_tap(r, (snprintf(name, sizeof(name), "vnet%d", i), name));
		enslave(r, "br0", name);
	}
	put_tap(r, "tapvpn");
	enslave(r, "br0", "tapvpn");
	put_veth(r, "vethc1", "2\n");
	enslave(r, "br0", "vethc1");
	/* bridges that a veth leads out of, one with the number of its peer in the other namespace; one of taps only */
	put_bridge(r, "br1");
	put_veth(r, "up1", "77\n");
	enslave(r, "br1", "up1");
	put_veth(r, "tapup", "78\n");
	put_bridge(r, "br2");
	enslave(r, "br2", "tapup");
	put_bridge(r, "br3");
	put_tap(r, "tap9");
	enslave(r, "br3", "tap9");
	put_bridge(r, "br4");
	put_bridge(r, "br5");
	enslave(r, "br5", "dummy0");
	/* a team and a bond without slaves, VLANs on a veth and on nothing, a tunnel */
	put_device(r, "team0", NULL);
	enslave(r, "team0", "eth2");
	put_bond(r, "bond1", "\n");
	put_device(r, "up1.9", "vlan");
	stack(r, "up1.9", "up1");
	put_device(r, "dummy0.9", "vlan");
	stack(r, "dummy0.9", "dummy0");
	put_device(r, "eth2.5", "vlan");
	stack(r, "eth2.5", "eth2");
	put_device(r, "vx5", "vxlan");
	stack(r, "vx5", "eth1");
	put_bridge(r, "br6");
	enslave(r, "br6", "vx5");
	put_bridge(r, "br7");
	enslave(r, "br7", "up1.9");
	put_device(r, "eth1.4", "vlan");
	stack(r, "eth1.4", "eth1");
	put_device(r, "avx", "vxlan");
	stack(r, "avx", "eth1.4");
	put_device(r, "zvx", "vxlan");
	stack(r, "zvx", "eth1.4");
	put_bridge(r, "br8");
	stack(r, "br8", "avx");
	stack(r, "br8", "eth1.4");
	stack(r, "br8", "zvx");
	put_bridge(r, "br9"); /* directories are read in any order: the other way round */
	stack(r, "br9", "zvx");
	stack(r, "br9", "eth1.4");
	stack(r, "br9", "avx");
	/* as before Linux 3.14 */
	put_bond(r, "oldbond", "eth1 eth0\n");
	put_bridge(r, "oldbr");
	root_mkdir(r, NET "oldbr/brif/vnet0");
	root_mkdir(r, NET "oldbr/brif/eth0");
	/* Open vSwitch: ports have its data path as their master, the bridge is a port without anything below */
	put_device(r, "ovs-system", NULL);
	put_device(r, "ovsbr", NULL);
	put_tap(r, "tapovs");
	enslave(r, "ovs-system", "tapovs");
}

static void put_networks(struct root *r)
{
	put_bridge(r, "virbr0");
	put_bridge(r, "lxdbr0");
	put_veth(r, "vethlxd", "2\n");
	enslave(r, "lxdbr0", "vethlxd");
	root_put(r, "proc/sys/net/ipv4/conf/virbr0/forwarding", "1\n");
	root_put(r, "proc/sys/net/ipv4/conf/lxdbr0/forwarding", "1\n");
	root_put(r, "proc/net/route",
		 ROUTE_HEAD ROUTE("wg0", "00000000", "0203", "0", "00000000")
			 ROUTE("eth2", "00000000", "0003", "100", "00000000")
				 ROUTE("bond0.7", "00000000", "0003", "50", "00000000")
					 ROUTE("eth1", "00000000", "0002", "1", "00000000")
						 ROUTE("virbr0", "007AA8C0", "0001", "0", "00FFFFFF")
							 ROUTE("lxdbr0", "007BA8C0", "0001", "0", "00FFFFFF"));
	root_put(r, "proc/net/ipv6_route",
		 ROUTE6("fd000000000000000000000000000000", "40", "00000100", "00000001", "eth1")
			 ROUTE6(ZEROS, "00", "00000400", "00000003", "eth2")
				 ROUTE6(ZEROS, "00", "ffffffff", "00200200", "lo"));
	root_put(r, "etc/libvirt/qemu/networks/nat.xml",
		 "<network><name>nat</name><forward mode='route' dev='eth0'/><bridge name='virbr0'/></network>");
	root_put(r, "run/libvirt/network/nat.xml",
		 "<networkstatus><class_id bitmap='0-2'/><floor sum='0'/><network><name>nat</name><forward mode='nat'>"
		 "<nat><port start='1024' end='65535'/></nat></forward><bridge name='virbr0'/>"
		 "<ip address='192.168.122.1' netmask='255.255.255.0'/></network></networkstatus>");
	root_put(
		r, "run/libvirt/network/natdev.xml",
		"<network><forward dev='eth0' mode='nat'><interface dev='eth0'/></forward><bridge name='virbr1'/></network>");
	root_put(
		r, "run/libvirt/network/routed6.xml",
		"<network><forward mode='route'/><bridge name='virbr2'/><ip family='ipv6' address='fd01::1'/></network>");
	root_put(
		r, "run/libvirt/network/both.xml",
		"<network><forward mode='open'/><ip address='10.0.0.1'/><ip family='ipv6' address='fd01::1'/></network>");
	root_put(r, "run/libvirt/network/alone.xml",
		 "<network><bridge name='virbr3'/><ip address='10.0.0.1'/></network>");
	root_put(r, "run/libvirt/network/lan.xml", "<network><forward mode='bridge'/><bridge name='br0'/></network>");
	root_put(r, "run/libvirt/network/pool.xml",
		 "<network><forward dev='eth1' mode='vepa'><interface dev='eth1' connections='1'/>"
		 "<interface dev='eth2.5'/></forward></network>");
	root_put(r, "run/libvirt/network/empty.xml", "<network><forward mode='private'/></network>");
	root_put(r, "run/libvirt/network/pf.xml",
		 "<network><forward mode='hostdev'><pf dev='eth0'/></forward></network>");
	root_put(r, "run/libvirt/network/ovs.xml",
		 "<network><forward mode='bridge'/><bridge name='ovsbr'/><virtualport type='openvswitch'/></network>");
	root_put(r, "run/libvirt/network/long.xml",
		 "<network><forward mode='bridge'/><bridge name='a-name-of-16-chr'/></network>");
	root_put(r, "run/libvirt/network/broken.xml", "<network><bridge name='br0'/>");
	root_put(r, "etc/libvirt/qemu/networks/broken.xml",
		 "<network><forward mode='bridge'/><bridge name='br0'/></network>");
	root_put(r, "run/libvirt/network/other.xml", "<pool/>");
	root_put(r, "run/libvirt/network/dtd.xml",
		 "<!DOCTYPE network [<!ENTITY e SYSTEM '/etc/passwd'>]><network><bridge name='&e;'/></network>");
}

/* ---- asking ---- */

static int find(struct root *r, const char *devices, struct netdev_facts *ret)
{
	static char xml[1 << 20];
	struct domain d;
	int n;

	(void)snprintf(xml, sizeof(xml), "<domain><name>x</name><devices>%s</devices></domain>", devices);
	if (domain_parse(xml, strlen(xml), &d, NULL) < 0)
		return -EINVAL;
	n = netdev_find(&r->fs, &d, ret);
	domain_fini(&d);
	return n;
}

/* "bridged br0: eth0 eth1", "routed: eth0", "none: WHY" */
static const char *show(const struct netdev_facts *f, unsigned int at)
{
	static const char *const ways[] = {"none", "bridged", "routed", "direct"};
	static char text[1024];
	const struct netdev_interface *i = &f->interfaces[at];
	int n = snprintf(text, sizeof(text), "%s%s%s:", ways[i->way], i->bridge[0] ? " " : "", i->bridge);

	for (unsigned int k = 0; k < i->n; k++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, " %s", f->devices[i->uplinks[k]].name);
	if (i->way == NETDEV_NONE)
		(void)snprintf(text + n, sizeof(text) - (size_t)n, " %s", i->why);
	return text;
}

static const char *found_for(struct root *r, const char *devices)
{
	static char text[1024];
	struct netdev_facts f;

	if (find(r, devices, &f) < 0 || f.n_interfaces < 1)
		return "(error)";
	(void)snprintf(text, sizeof(text), "%s", show(&f, 0));
	netdev_fini(&f);
	return text;
}

#define BRIDGE(name)     "<interface type='bridge'><source bridge='" name "'/></interface>"
#define NETWORK(name)    "<interface type='network'><source network='" name "'/></interface>"
#define LIVE(name, more) "<interface type='network'><source network='" name "' portid='x' " more "/></interface>"
#define DIRECT(name)     "<interface type='direct'><source dev='" name "' mode='bridge'/></interface>"
#define TAP(name)        "<interface type='ethernet'><target dev='" name "' managed='no'/></interface>"

struct wanted {
	const char *devices, *want;
};

static void check_all(struct root *r, const struct wanted *cases, size_t n)
{
	for (size_t i = 0; i < n; i++)
		IS_STR(found_for(r, cases[i].devices), cases[i].want);
}

TEST(stacks_are_followed)
{
	static const struct wanted cases[] = {
		{BRIDGE("br0"), "bridged br0: eth0 eth1"},
		{BRIDGE("br1"), "bridged br1: up1"},
		{BRIDGE("br2"), "none br2: no port of bridge 'br2' leads out of the host"}, /* its name says tap */
		{BRIDGE("br3"), "none br3: no port of bridge 'br3' leads out of the host"},
		{BRIDGE("br4"), "none br4: no port of bridge 'br4' leads out of the host"},
		{BRIDGE("br5"), "none br5: 'dummy0' (virtual) has no device below it"},
		{BRIDGE("br6"), "none br6: 'vx5' is a tunnel (vxlan): what leaves the host are packets of its own"},
		{BRIDGE("br7"), "bridged br7: up1"},
		{BRIDGE("br8"), "bridged br8: eth1"}, /* also below a tunnel */
		{BRIDGE("br9"), "bridged br9: eth1"},
		{BRIDGE("oldbr"), "bridged oldbr: eth0"},
		{BRIDGE("nothing"), "none nothing: there is no device 'nothing'"},
		{DIRECT("eth0"), "direct: eth0"},
		{DIRECT("eth2.5"), "direct: eth2"},
		{DIRECT("bond0.7"), "direct: eth0 eth1"},
		{DIRECT("team0"), "direct: eth2"},
		{DIRECT("br0"), "direct: eth0 eth1"},
		{DIRECT("up1.9"), "direct: up1"},
		{DIRECT("oldbond"), "direct: eth0 eth1"},
		{DIRECT("bond1"), "none: nothing below 'bond1' leads out of the host"},
		{DIRECT("dummy0.9"), "none: 'dummy0' (virtual) has no device below it"},
		{DIRECT("wg0"), "none: 'wg0' (wireguard) has no device below it"},
		{DIRECT("lo"), "none: 'lo' (virtual) has no device below it"},
		{DIRECT("tap9"), "none: 'tap9' is a tap"},
		/* others */
		{"<interface type='user'/>", "none: an interface of type 'user' has no tap"},
		{"<interface type='hostdev'><source><address bus='0x81'/></source></interface>",
		 "none: it is a PCI function of the guest's own (0000:81:00.0)"},
	};
	struct root r;

	root_init(&r);
	put_stacks(&r);
	check_all(&r, cases, ARRAY_SIZE(cases));
	root_fini(&r);
}

TEST(networks_are_followed)
{
	static const struct wanted cases[] = {
		{NETWORK("nat"),
		 "routed virbr0: eth0 eth1"}, /* the default route's bond, as it is now, not as defined */
		{NETWORK("natdev"), "routed virbr1: eth0"},
		{NETWORK("routed6"), "routed virbr2: eth2"},
		{NETWORK("both"), "routed: eth0 eth1 eth2"},
		{NETWORK("alone"), "none virbr3: network 'alone' is isolated"},
		{NETWORK("lan"), "bridged br0: eth0 eth1"},
		{NETWORK("pool"), "direct: eth1 eth2"},
		{LIVE("pool", "dev='eth2.5'"), "direct: eth2"},
		{NETWORK("empty"), "none: network 'empty' names no device"},
		{NETWORK("pf"), "none: network 'pf' gives each guest a PCI function"},
		{NETWORK("ovs"),
		 "none: it is a port of Open vSwitch bridge 'ovsbr', whose flows decide where traffic goes"},
		{NETWORK("absent"), "none: network 'absent' is not known here"},
		{LIVE("absent", "bridge='br0'"), "bridged br0: eth0 eth1"},
		{LIVE("absent", "dev='eth2'"), "direct: eth2"},
		{LIVE("nat", "bridge='virbr0'"), "routed virbr0: eth0 eth1"},
		{LIVE("lan", "bridge='br0'"), "bridged br0: eth0 eth1"},
		/* a libvirt network's bridge, or one of the host's own, without a port that leads out */
		{BRIDGE("virbr0"), "routed virbr0: eth0 eth1"},
		/* a bridge that containers share, whose subnet the host routes for */
		{BRIDGE("lxdbr0"), "routed lxdbr0: eth0 eth1"},
		/* hostile */
		{NETWORK("broken"), "none: network 'broken' is not known here"},
		{NETWORK("other"), "none: network 'other' is not known here"},
		{NETWORK("dtd"), "none: network 'dtd' is not known here"},
		{NETWORK("long"), "none: network 'long' names no device"}, /* none that there could be */
		{NETWORK("../network/lan"), "none: network '../network/lan' is not known here"},
		{NETWORK(""), "none: network '' is not known here"},
		{LIVE("absent", "bridge='../br0'"), "none: network 'absent' is not known here"},
	};
	struct root r;

	root_init(&r);
	put_stacks(&r);
	put_networks(&r);
	check_all(&r, cases, ARRAY_SIZE(cases));
	root_fini(&r);
}

TEST(taps_and_open_vswitch)
{
	static const struct wanted cases[] = {
		{TAP("vnet1"), "bridged br0: eth0 eth1"},
		{TAP("tapovs"),
		 "none: its tap 'tapovs' is a port of Open vSwitch, whose flows decide where traffic goes"},
		{TAP("tap8"), "none: its tap 'tap8' is not there yet, and others connect it"},
		{TAP("tapcalico"), "routed: eth0 eth1"},
		{TAP("taplone"), "none: its tap 'taplone' is connected to nothing"},
		{TAP("../lo"), "none: its tap '../lo' is not there yet, and others connect it"},
		{"<interface type='ethernet'/>", "none: its tap '' is not there yet, and others connect it"},
		{"<interface type='bridge'><source bridge='br0'/><virtualport type='openvswitch'/></interface>",
		 "none: it is a port of Open vSwitch bridge 'br0', whose flows decide where traffic goes"},
		{"<interface type='network'><source network='lan'/><virtualport type='openvswitch'/></interface>",
		 "none: it is a port of Open vSwitch bridge 'br0', whose flows decide where traffic goes"},
		{BRIDGE("ovsbr"), "none ovsbr: 'ovsbr' is no bridge of the kernel's, Open vSwitch decides"},
	};
	struct root r;

	root_init(&r);
	put_stacks(&r);
	put_networks(&r);
	put_tap(&r, "tapcalico");
	put_tap(&r, "taplone");
	root_put(&r, "proc/sys/net/ipv4/conf/tapcalico/forwarding", "1\n");
	root_put(&r, "proc/sys/net/ipv4/conf/taplone/forwarding", "1\n");
	root_put(&r, "proc/net/route",
		 ROUTE_HEAD ROUTE("bond0", "00000000", "0003", "0", "00000000")
			 ROUTE("taplone", "0500000A", "0201", "0", "FFFFFFFF")
				 ROUTE("tapcalico", "0500000A", "0005", "0", "FFFFFFFF"));
	check_all(&r, cases, ARRAY_SIZE(cases));
	root_fini(&r);
}

/* Which route is the default. */
TEST(routes)
{
	static const struct {
		const char *ipv4, *ipv6, *want;
	} cases[] = {
		{NULL, NULL, "none virbr0: the host routes its traffic, and has no default route"},
		{"", "", "none virbr0: the host routes its traffic, and has no default route"},
		{ROUTE_HEAD, NULL, "none virbr0: the host routes its traffic, and has no default route"},
		{ROUTE_HEAD ROUTE("eth1", "00000000", "0003", "10", "00000000")
			 ROUTE("eth0", "00000000", "0003", "9", "00000000"),
		 NULL, "routed virbr0: eth0"},
		{ROUTE_HEAD ROUTE("eth1", "00000000", "0003", "0", "00000000")
			 ROUTE("eth0", "00000000", "0003", "0", "00000000"),
		 NULL, "routed virbr0: eth1"},
		/* the half that a VPN puts over it */
		{ROUTE_HEAD ROUTE("eth1", "00000000", "0003", "0", "00000000")
			 ROUTE("eth0", "00000000", "0003", "9", "00000080"),
		 NULL, "routed virbr0: eth0"},
		{ROUTE_HEAD ROUTE("wg0", "00000000", "0001", "0", "00000000"), NULL,
		 "none virbr0: 'wg0' (wireguard) has no device below it"},
		{ROUTE_HEAD ROUTE("gone0", "00000000", "0001", "0", "00000000"), NULL,
		 "none virbr0: there is no device 'gone0'"},
		/* IPv6 only */
		{ROUTE_HEAD,
		 ROUTE6(ZEROS, "00", "00000400", "00000003", "eth1")
			 ROUTE6(ZEROS, "00", "00000100", "00000003", "eth0"),
		 "routed virbr0: eth0"},
		{NULL,
		 ROUTE6(ZEROS, "00", "00000400", "00200200", "lo") ROUTE6(ZEROS, "80", "00000000", "80200001", "lo"),
		 "none virbr0: the host routes its traffic, and has no default route"},
		/* hostile: no lines of a table, a name that is a path, a line without its end */
		{ROUTE_HEAD ROUTE("../../etc", "00000000", "0003", "0", "00000000"), NULL,
		 "none virbr0: the host routes its traffic, and has no default route"},
		{ROUTE_HEAD
		 "eth0\t00000000\n\n\t\t\neth0\teth0\teth0\teth0\teth0\teth0\teth0\teth0\neth0\t00000000\t0\t0003\t0\t0",
		 "x\n\n" ZEROS " 00 " ZEROS " 00 " ZEROS " zz 0 0 00000003 eth0\n",
		 "none virbr0: the host routes its traffic, and has no default route"},
		{ROUTE_HEAD ROUTE("a-name-of-16-chr", "00000000", "0003", "0", "00000000"), NULL,
		 "none virbr0: the host routes its traffic, and has no default route"},
	};

	struct root r;

	root_init(&r);
	put_stacks(&r);
	root_put(&r, "run/libvirt/network/n.xml", "<network><forward/><bridge name='virbr0'/></network>");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)hostfs_unlink(&r.fs, "proc/net/route");
		(void)hostfs_unlink(&r.fs, "proc/net/ipv6_route");
		if (cases[i].ipv4)
			root_put(&r, "proc/net/route", cases[i].ipv4);
		if (cases[i].ipv6)
			root_put(&r, "proc/net/ipv6_route", cases[i].ipv6);
		IS_STR(found_for(&r, NETWORK("n")), cases[i].want);
	}
	root_fini(&r);
}

/* Its own way out, by a veth: the host is in a container. */
TEST(a_bridge_with_the_default_route)
{
	struct root r;

	root_init(&r);
	put_stacks(&r);
	root_put(&r, "proc/sys/net/ipv4/conf/br1/forwarding", "1\n");
	root_put(&r, "proc/net/route",
		 ROUTE_HEAD ROUTE("br1", "00000000", "0003", "0", "00000000")
			 ROUTE("br1", "007AA8C0", "0001", "0", "00FFFFFF"));
	IS_STR(found_for(&r, BRIDGE("br1")), "bridged br1: up1");
	root_put(&r, "proc/net/route", ROUTE_HEAD ROUTE("br1", "007AA8C0", "0001", "0", "00FFFFFF"));
	IS_STR(found_for(&r, BRIDGE("br1")), "bridged br1: up1"); /* there is no other */
	root_put(&r, "proc/net/route",
		 ROUTE_HEAD ROUTE("eth0", "00000000", "0003", "0", "00000000")
			 ROUTE("br1", "007AA8C0", "0001", "0", "00FFFFFF"));
	IS_STR(found_for(&r, BRIDGE("br1")), "routed br1: eth0");
	root_fini(&r);
}

/* A router's table: the default routes come first. */
TEST(a_large_table_of_routes)
{
	static char text[1 << 20];
	struct root r;
	int n = snprintf(text, sizeof(text), "%s", ROUTE_HEAD ROUTE("eth0", "00000000", "0003", "0", "00000000"));

	root_init(&r);
	put_stacks(&r);
	for (int i = 0; i < 10000; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "eth1\t%08X\t0\t0003\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n",
			      i + 1);
	root_put(&r, "proc/net/route", text);
	root_put(&r, "run/libvirt/network/n.xml", "<network><forward/></network>");
	IS_STR(found_for(&r, NETWORK("n")), "routed: eth0");
	root_fini(&r);
}

TEST(what_is_said_of_devices)
{
	struct netdev_facts f;
	struct root r;

	root_init(&r);
	put_stacks(&r);
	IS_INT(find(&r, BRIDGE("br0") BRIDGE("br1") DIRECT("eth2") BRIDGE("br6") BRIDGE("br0") TAP("vnet0"), &f), 0);
	IS_INT(f.n_interfaces, 6);
	IS_INT(f.n_devices, 4);
	IS_STR(f.devices[0].name, "eth0");
	IS_INT(f.devices[0].ifindex, 1);
	IS_INT(f.devices[0].speed, 10000000000ull);
	IS_INT(f.devices[0].n_txq, 4);
	IS_INT(f.devices[0].node, 1);
	IS_INT(f.devices[1].speed, 25000000000ull);
	IS_INT(f.devices[1].n_txq, 8);
	IS_INT(f.devices[1].node, 0);
	IS_STR(f.devices[2].name, "up1"); /* what a veth says of its speed is made up */
	IS_INT(f.devices[2].speed, 0);
	IS_INT(f.devices[2].n_txq, 1);
	IS_INT(f.devices[2].node, -1);
	IS_STR(f.devices[3].name, "eth2"); /* no carrier, no node */
	IS_INT(f.devices[3].speed, 0);
	IS_INT(f.devices[3].node, -1);
	IS_STR(show(&f, 1), "bridged br1: up1");
	IS_STR(show(&f, 4), "bridged br0: eth0 eth1");
	IS_STR(show(&f, 5), "bridged br0: eth0 eth1");
	netdev_fini(&f);
	netdev_fini(&f);
	/* what a tunnel goes over is known, and nobody's uplink */
	IS_INT(find(&r, BRIDGE("br6"), &f), 0);
	IS_INT(f.n_devices, 1);
	IS_STR(f.devices[0].name, "eth1");
	IS_INT(f.interfaces[0].n, 0);
	netdev_fini(&f);
	IS_INT(find(&r, "", &f), 0);
	OK(!f.interfaces && !f.n_interfaces);
	netdev_fini(&f);
	root_fini(&r);
}

/* ---- bounds ---- */

/* read(2) calls of this process, as the kernel counts them (proc_pid_io(5)): each file that is looked at is some. */
static long long reads_so_far(void)
{
	FILE *io = fopen("/proc/self/io", "re");
	char line[64];
	long long n = -1;

	while (io && fgets(line, sizeof(line), io))
		if (sscanf(line, "syscr: %lld", &n) == 1)
			break;
	if (io)
		fclose(io);
	return n;
}

TEST(a_bridge_of_a_thousand_taps)
{
	long long before, after;
	struct root r;
	char name[16];

	root_init(&r);
	put_nic(&r, "eth0", 0, "1000\n", 1);
	put_bridge(&r, "br0");
	enslave(&r, "br0", "eth0");
	put_bridge(&r, "br1");
	for (int i = 0; i < 1000; i++) {
		char path[128];

		(void)snprintf(path, sizeof(path), NET "br0/lower_%s%d", i % 2 ? "vnet" : "tap", i);
		root_link(&r, path, "../eth0"); /* what it leads to does not matter: it is not looked at */
		if (i >= 150)
			continue;
		put_tap(&r, (snprintf(name, sizeof(name), "web%d", i), name));
		enslave(&r, "br1", name);
	}
	before = reads_so_far();
	IS_STR(found_for(&r, BRIDGE("br0")), "bridged br0: eth0");
	after = reads_so_far();
	if (before >= 0)
		OK(after - before < 40); /* none for a tap */
	/* with names that say nothing each is looked at, and more veths of containers than there is room for */
	IS_STR(found_for(&r, BRIDGE("br1")), "none br1: no port of bridge 'br1' leads out of the host");
	for (int i = 0; i < 40; i++) {
		put_veth(&r, (snprintf(name, sizeof(name), "veth%d", i), name), "999\n");
		enslave(&r, "br1", name);
	}
	OK(str_starts(found_for(&r, BRIDGE("br1")), "bridged br1: veth"));
	stack(&r, "br1", "eth0");
	IS_STR(found_for(&r, BRIDGE("br1")), "bridged br1: eth0");
	root_fini(&r);
}

TEST(circles_deep_and_wide_stacks_end)
{
	struct netdev_facts f;
	char name[16], next[16];
	struct root r;

	root_init(&r);
	put_device(&r, "ring0", "vlan");
	put_device(&r, "ring1", "vlan");
	stack(&r, "ring0", "ring1");
	stack(&r, "ring1", "ring0");
	IS_STR(found_for(&r, DIRECT("ring0")), "none: nothing below 'ring0' leads out of the host");
	put_device(&r, "self", "vlan");
	stack(&r, "self", "self");
	IS_STR(found_for(&r, DIRECT("self")), "none: nothing below 'self' leads out of the host");
	/* every bridge on every other */
	for (int i = 0; i < 12; i++)
		put_bridge(&r, (snprintf(name, sizeof(name), "br%d", i), name));
	for (int i = 0; i < 12; i++)
		for (int k = 0; k < 12; k++) {
			(void)snprintf(name, sizeof(name), "br%d", i);
			(void)snprintf(next, sizeof(next), "br%d", k);
			if (i != k)
				stack(&r, name, next);
		}
	OK(str_starts(found_for(&r, BRIDGE("br0")), "none br0: "));
	/* the kernel stacks 8; what is deeper is not of its making */
	for (int i = 0; i < 12; i++) {
		(void)snprintf(name, sizeof(name), "v%d", i);
		(void)snprintf(next, sizeof(next), "v%d", i + 1);
		put_device(&r, name, "vlan");
		stack(&r, name, next);
	}
	put_nic(&r, "v12", 0, "1000\n", 1);
	IS_STR(found_for(&r, DIRECT("v4")), "direct: v12");
	IS_STR(found_for(&r, DIRECT("v3")), "none: too many devices are stacked, 'v12' was not looked at");
	/* more uplinks than there is room for */
	put_bond(&r, "bond0", "\n");
	for (int i = 0; i < 40; i++) {
		put_nic(&r, (snprintf(name, sizeof(name), "eth%d", i), name), 0, "1000\n", 1);
		enslave(&r, "bond0", name);
	}
	IS_INT(find(&r, DIRECT("v4") DIRECT("bond0"), &f), 0);
	IS_INT(f.n_devices, NETDEV_MAX);
	IS_INT(f.interfaces[1].n, NETDEV_MAX - 1);
	netdev_fini(&f);
	root_fini(&r);
}

/* However many different sources a definition names, what is looked at for it is bounded, and it is said. */
TEST(many_interfaces)
{
	static char xml[1 << 17];
	struct netdev_facts f;
	char name[16];
	int n = 0, too_many = 0;
	struct root r;

	root_init(&r);
	for (int i = 0; i < 100; i++)
		put_device(&r, (snprintf(name, sizeof(name), "p%d", i), name), NULL);
	for (int i = 0; i < 24; i++) {
		put_bridge(&r, (snprintf(name, sizeof(name), "br%d", i), name));
		n += snprintf(xml + n, sizeof(xml) - (size_t)n,
			      "<interface type='bridge'><source bridge='br%d'/></interface>", i);
		for (int k = 0; k < 100; k++) {
			char path[128], to[64];

			(void)snprintf(path, sizeof(path), NET "br%d/lower_p%d", i, k);
			(void)snprintf(to, sizeof(to), "../p%d", k);
			root_link(&r, path, to);
		}
	}
	IS_INT(find(&r, xml, &f), 0);
	IS_INT(f.n_interfaces, 24);
	IS_STR(show(&f, 0) + strcspn(show(&f, 0), "("), "(virtual) has no device below it");
	for (unsigned int i = 0; i < f.n_interfaces; i++)
		too_many += strstr(f.interfaces[i].why, "too many devices") != NULL;
	OK(too_many >= 3 &&
	   too_many < 5); /* 101 devices each, 2,048 in all; one got so far that it had a reason already */
	netdev_fini(&f);
	root_fini(&r);
}

TEST(hostile_names)
{
	static const struct wanted cases[] = {
		{BRIDGE("../../../etc"), "none: '../../../etc' is no name of a device"},
		{BRIDGE(".."), "none: '..' is no name of a device"},
		{BRIDGE(""), "none: '' is no name of a device"},
		{"<interface type='bridge'/>", "none: '' is no name of a device"},
		{BRIDGE("a-name-of-16-chr"), "none: 'a-name-of-16-chr' is no name of a device"},
		{BRIDGE("&#10;&#9;x"), "none \n\tx: there is no device '??x'"},
		{BRIDGE("%s%n"), "none %s%n: there is no device '%s%n'"},
		{BRIDGE("odd"), "none odd: ''?[31m' (virtual) has no device below it"},
		{"<interface type='&#10;x'/>", "none: an interface of type '?x' has no tap"},
	};
	static char xml[4096];
	struct root r;
	int n;

	root_init(&r);
	put_bridge(&r, "odd");
	put_device(&r, "'\033[31m", NULL);
	stack(&r, "odd", "'\033[31m");
	check_all(&r, cases, ARRAY_SIZE(cases));
	/* a name of 3,000 characters, cut for people */
	n = snprintf(xml, sizeof(xml), "<interface type='bridge'><source bridge='");
	memset(xml + n, 'b', 3000);
	(void)snprintf(xml + n + 3000, sizeof(xml) - (size_t)n - 3000, "'/></interface>");
	OK(strlen(found_for(&r, xml)) < 160);
	OK(strstr(found_for(&r, xml), "...' is no name of a device") != NULL);
	root_fini(&r);
}

TEST(hostile_files)
{
	static char text[1 << 19];
	struct root r;

	root_init(&r);
	put_nic(&r, "eth0", 0, "99999999999999999999\n", 0);
	put_attr(&r, "eth0", "ifindex", "-1\n");
	put_bridge(&r, "br0");
	enslave(&r, "br0", "eth0");
	/* what is a file where a directory belongs, and the other way round */
	root_put(&r, NET "plain", "x");
	root_mkdir(&r, NET "vlan0/uevent");
	root_mkdir(&r, NET "br1/bridge");
	root_put(&r, NET "br1/lower_", "");
	root_put(&r, NET "br1/lower_.", "");
	root_put(&r, NET "br1/lower_..", "");
	memset(text, 'x', sizeof(text) - 1);
	put_attr(&r, "huge", "uevent", text);
	root_put(&r, "run/libvirt/network/huge.xml", text);
	IS_STR(found_for(&r, BRIDGE("br0")), "bridged br0: eth0");
	IS_STR(found_for(&r, BRIDGE("br1")), "none br1: no port of bridge 'br1' leads out of the host");
	IS_STR(found_for(&r, DIRECT("plain")), "none: there is no device 'plain'");
	IS_STR(found_for(&r, DIRECT("vlan0")), "none: 'vlan0' (virtual) has no device below it");
	IS_STR(found_for(&r, DIRECT("huge")), "none: 'huge' (virtual) has no device below it");
	IS_STR(found_for(&r, NETWORK("huge")), "none: network 'huge' is not known here");
	root_fini(&r);
}

/* ---- taps of a process ---- */

/* NUL-separated, as the kernel shows it. */
static void put_cmdline(struct root *r, const char *const *argv)
{
	char text[8192];
	size_t n = 0;

	for (; *argv; argv++) {
		memcpy(text + n, *argv, strlen(*argv) + 1);
		n += strlen(*argv) + 1;
	}
	root_put_bytes(r, "proc/77/cmdline", text, n);
}

static void put_fd(struct root *r, int fd, const char *link, const char *info)
{
	char path[128];

	root_link(r, (snprintf(path, sizeof(path), "proc/77/fd/%d", fd), path), link);
	root_put(r, (snprintf(path, sizeof(path), "proc/77/fdinfo/%d", fd), path), info);
}

static void put_tun(struct root *r, int fd, const char *name)
{
	char info[128];

	(void)snprintf(info, sizeof(info), "pos:\t0\nflags:\t0104002\nmnt_id:\t25\nino:\t9\niff:\t%s\n", name);
	put_fd(r, fd, "/dev/net/tun", info);
}

static void put_macvtap(struct root *r, const char *name)
{
	char path[128], to[128];

	put_device(r, name, "macvtap");
	(void)snprintf(path, sizeof(path), "sys/class/macvtap/tap%u/device", last_index);
	(void)snprintf(to, sizeof(to), "../../net/%s", name);
	root_link(r, path, to);
}

static int by_tap_name(const void *a, const void *b)
{
	return strcmp(((const struct netdev_tap *)a)->name, ((const struct netdev_tap *)b)->name);
}

/* "vnet0/INDEX ALIAS MAC," of each, by name. */
static const char *show_taps(struct netdev_tap *taps, int n)
{
	static char text[4096];
	int len = 0;

	if (n < 0)
		return n == -ESRCH ? "(gone)" : "(error)";
	if (n > 0)
		qsort(taps, (size_t)n, sizeof(taps[0]), by_tap_name);
	text[0] = '\0';
	for (int i = 0; i < n; i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "%s/%u %s %s,", taps[i].name, taps[i].ifindex,
				taps[i].alias[0] ? taps[i].alias : "-", taps[i].mac[0] ? taps[i].mac : "-");
	free(taps);
	return text;
}

static const char *taps_of(struct root *r)
{
	struct netdev_tap *taps = NULL;
	int n = netdev_taps(&r->fs, 77, &taps);

	return show_taps(taps, n);
}

static const char *taps_of_start(struct root *r)
{
	struct netdev_tap *taps = NULL;
	int n = netdev_taps_of_start(&r->fs, 77, &taps);

	return show_taps(taps, n);
}

/* The devices of a guest: two taps, one of them with two queues, a macvtap, one hot-plugged of each kind. */
static void put_guest_devices(struct root *r)
{
	root_init(r);
	last_index = 0;
	put_tap(r, "vnet0");
	put_attr(r, "vnet0", "address", "fe:54:00:00:00:01\n");
	put_tap(r, "vnet1");
	put_tap(r, "vnet2");
	put_attr(r, "vnet2", "address", "fe:54:00:00:00:03\n");
	put_macvtap(r, "macvtap0");
	put_macvtap(r, "macvtap1");
	put_attr(r, "macvtap1", "address", "52:54:00:00:00:05\n");
	put_fd(r, 0, "/dev/null", "pos:\t0\n");
	put_fd(r, 7, "socket:[1234]", "pos:\t0\n");
	put_fd(r, 9, "anon_inode:kvm-vcpu:0", "pos:\t0\n");
	put_fd(r, 10, "/tmp/tape", "iff:\tvnet2\n"); /* no tap, whatever it says */
	put_fd(r, 11, "/dev/tapestry", "");
	put_tun(r, 31, "vnet0");
	put_tun(r, 35, "vnet1");
	put_tun(r, 37, "vnet1");
	put_tun(r, 38, ""); /* not attached */
	put_tun(r, 50, "vnet2");
	put_fd(r, 40, "/dev/tap4", "pos:\t0\n");
	put_fd(r, 41, "/dev/tap4", "pos:\t0\n");
	put_fd(r, 51, "/dev/tap5", "pos:\t0\n");
	put_fd(r, 52, "/dev/tap99", "pos:\t0\n"); /* of another network namespace */
}

#define TAPS_OF_START                                                                                                  \
	"macvtap0/4 net2 52:54:00:00:00:04,vnet0/1 net0 52:54:00:00:00:01,vnet1/2 ua-lan 52:54:00:00:00:02,"
#define TAPS_FOUND                                                                                                     \
	"macvtap0/4 net2 52:54:00:00:00:04,macvtap1/5 - 52:54:00:00:00:05,vnet0/1 net0 52:54:00:00:00:01,"             \
	"vnet1/2 ua-lan 52:54:00:00:00:02,vnet2/3 - fe:54:00:00:00:03,"

TEST(taps_on_a_command_line)
{
	/* as libvirt 9.0 writes it for QEMU 7.2, as it did before QEMU 6.0, and by hand */
	static const char *const json[] = {
		"/usr/bin/qemu-system-x86_64",
		"-name",
		"guest=web1,debug-threads=on",
		"-netdev",
		"{\"type\":\"tap\",\"fd\":\"31\",\"vhost\":true,\"vhostfd\":\"33\",\"id\":\"hostnet0\"}",
		"-device",
		"{\"driver\":\"virtio-net-pci\",\"netdev\":\"hostnet0\",\"id\":\"net0\",\"mac\":\"52:54:00:00:00:01\","
		"\"bus\":\"pci.1\",\"addr\":\"0x0\"}",
		"-netdev",
		"{\"type\":\"tap\",\"fds\":\"35:37\",\"id\":\"hostua-lan\"}",
		"-device",
		"{\"driver\":\"virtio-net-pci\",\"mq\":true,\"vectors\":6,\"netdev\":\"hostua-lan\",\"id\":\"ua-lan\","
		"\"mac\":\"52:54:00:00:00:02\",\"bus\":\"pci.2\"}",
		"-netdev",
		"{\"type\":\"tap\",\"fds\":\"40:41\",\"id\":\"hostnet2\"}",
		"-device",
		"{\"driver\":\"e1000e\",\"netdev\":\"hostnet2\",\"id\":\"net2\",\"mac\":\"52:54:00:00:00:04\"}",
		"-netdev",
		"{\"type\":\"user\",\"id\":\"hostnet3\"}",
		"-device",
		"{\"driver\":\"rtl8139\",\"netdev\":\"hostnet3\",\"id\":\"net3\",\"mac\":\"52:54:00:00:00:09\"}",
		NULL,
	};
	static const char *const words[] = {
		"qemu",
		"-netdev",
		"tap,fd=31,id=hostnet0,vhost=on,vhostfd=33",
		"-device",
		"virtio-net-pci,netdev=hostnet0,id=net0,mac=52:54:00:00:00:01,bus=pci.1,addr=0x0",
		"-netdev",
		"tap,fds=35:37,id=hostua-lan,vhost=on,vhostfds=38:39",
		"-device",
		"virtio-net-pci,mq=on,vectors=6,netdev=hostua-lan,id=ua-lan,mac=52:54:00:00:00:02",
		"-netdev",
		"tap,fds=40:41,id=hostnet2",
		"-device",
		"e1000e,netdev=hostnet2,id=net2,mac=52:54:00:00:00:04",
		NULL,
	};
	static const char *const by_hand[] = {
		"qemu",
		"-device",
		"virtio-net,id=net0,netdev=a,mac=52:54:00:00:00:01",
		"-netdev",
		"tap,id=a,ifname=vnet0,script=no",
		"-netdev",
		"tap,id=ab,fd=35",
		"-device",
		"e1000,netdev=ab,id=ua-lan,mac=52:54:00:00:00:02",
		"-netdev",
		"tap,id=b,fd=40",
		"-device",
		"e1000,mac=52:54:00:00:00:0D,netdev=b,id=net2,mac=52:54:00:00:00:04",
		NULL,
	};
	struct root r;

	put_guest_devices(&r);
	put_cmdline(&r, json);
	IS_STR(taps_of(&r), TAPS_FOUND);
	IS_STR(taps_of_start(&r), TAPS_OF_START);
	put_cmdline(&r, words);
	IS_STR(taps_of(&r), TAPS_FOUND);
	IS_STR(taps_of_start(&r), TAPS_OF_START);
	put_cmdline(&r, by_hand);
	OK(strstr(taps_of(&r), "vnet0/1 net0 52:54:00:00:00:01,vnet1/2 ua-lan 52:54:00:00:00:02,") != NULL);
	root_fini(&r);
}

TEST(hostile_command_lines)
{
	static const char *const cases[][6] = {
		{"qemu", NULL},
		{"-netdev", NULL},
		{"qemu", "-device", NULL},
		{"qemu", "-netdev", "", "-device", "", NULL},
		{"qemu", "-netdev", "{", "-device", "{\"netdev\":\"", NULL},
		{"qemu", "-netdev", "tap,fd=../31,id=a", "-device", "x,netdev=a,id=net0", NULL},
		{"qemu", "-netdev", "tap,fd=-1,id=a", "-device", "x,netdev=a,id=net0", NULL},
		{"qemu", "-netdev", "tap,fds=:,id=a", "-device", "x,netdev=a,id=net0", NULL},
		{"qemu", "-netdev", "tap,fd=999,id=a", "-device", "x,netdev=a,id=net0", NULL},
		{"qemu", "-netdev", "tap,fd=7,id=a", "-device", "x,netdev=a,id=net0", NULL},
		{"qemu", "-netdev", "tap,fd=31,id=", "-device", "x,netdev=,id=net0", NULL},
		{"qemu", "-netdev", "tap,ifname=../../x,id=a", "-device", "x,netdev=a,id=net0", NULL},
	};
	static const char *const long_alias[] = {
		"qemu",
		"-netdev",
		"tap,fd=31,id=a",
		"-device",
		"x,netdev=a,mac=52:54:00:00:00:01:52:54:00:00:00:01,id=ua-"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		NULL,
	};
	struct netdev_tap *taps = NULL;
	struct root r;

	root_init(&r);
	IS_INT(netdev_taps(&r.fs, 77, &taps), -ESRCH);
	IS_INT(netdev_taps_of_start(&r.fs, 77, &taps), -ESRCH);
	OK(!taps);
	root_fini(&r);
	put_guest_devices(&r);
	root_put(&r, "proc/77/cmdline", "");
	IS_STR(taps_of(&r), "(gone)");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put_cmdline(&r, cases[i]);
		IS_STR(taps_of_start(&r), "");
		IS_STR(taps_of(&r),
		       "macvtap0/4 - -,macvtap1/5 - 52:54:00:00:00:05,vnet0/1 - fe:54:00:00:00:01,vnet1/2 - -,"
		       "vnet2/3 - fe:54:00:00:00:03,");
	}
	put_cmdline(&r, long_alias);
	OK(strstr(taps_of(&r), "vnet0/1 ua-aaaa") != NULL);
	root_fini(&r);
	/* what fdinfo and sysfs say is no name */
	root_init(&r);
	root_put(&r, "proc/77/cmdline", "qemu");
	put_tun(&r, 3, "../../../etc");
	put_tun(&r, 4, "a-name-of-16-chr");
	put_tun(&r, 5, "gone0");
	put_fd(&r, 6, "/dev/tap7", "");
	root_put(&r, "sys/class/macvtap/tap7/device/uevent", "INTERFACE=a/b\n");
	IS_STR(taps_of(&r), "gone0/0 - -,");
	root_fini(&r);
}

TEST(whose_tap_it_is)
{
	struct netdev_tap t = {.mac = "fe:54:00:00:00:03"};

	OK(netdev_tap_is(&t, "52:54:00:00:00:03"));
	OK(netdev_tap_is(&t, "fe:54:00:00:00:03"));
	OK(!netdev_tap_is(&t, "52:54:00:00:00:04"));
	OK(!netdev_tap_is(&t, ""));
	OK(!netdev_tap_is(&t, "5"));
	OK(!netdev_tap_is(&t, "52:54:00:00:00:03x"));
	(void)snprintf(t.alias, sizeof(t.alias), "net0"); /* then it is the guest's own */
	OK(!netdev_tap_is(&t, "52:54:00:00:00:03"));
	OK(netdev_tap_is(&t, "fe:54:00:00:00:03"));
}

/* ---- the kernel's own ---- */

/* A network namespace, with a sysfs that shows it. False: that is not for us to make. */
static bool enter_namespace(void)
{
	return unshare(CLONE_NEWNET | CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("sysfs", "/sys", "sysfs", 0, NULL) == 0;
}

static bool ip(const char *arguments)
{
	char command[256];

	(void)snprintf(command, sizeof(command), "PATH=/sbin:/usr/sbin:/bin:/usr/bin; ip %s >/dev/null 2>&1",
		       arguments);
	return system(command) == 0;
}

static int open_tap(const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (fd >= 0 && ioctl(fd, TUNSETIFF, &ifr) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Kinds that this kernel may lack; what it has is followed. */
static void check_optional_stacks(struct root *r)
{
	static const struct {
		const char *make[3], *devices, *want;
	} cases[] = {
		{{"link add link v0 name v0.7 type vlan id 7", "link set v0.7 up"}, DIRECT("v0.7"), "direct: v0"},
		{{"link add bond9 type bond", "link add w0 type veth peer name w1", "link set w0 master bond9"},
		 DIRECT("bond9"),
		 "direct: w0"},
		{{"link add team9 type team", "link add x0 type veth peer name x1", "link set x0 master team9"},
		 DIRECT("team9"),
		 "direct: x0"},
		{{"link add vx9 type vxlan id 5 dev u0 dstport 4789", "link add brx type bridge",
		  "link set vx9 master brx"},
		 BRIDGE("brx"),
		 "none brx: 'vx9' is a tunnel (vxlan): what leaves the host are packets of its own"},
		{{"link add dum9 type dummy"}, DIRECT("dum9"), "none: 'dum9' (virtual) has no device below it"},
		{{"link add link u1 name mv9 type macvlan mode bridge"}, DIRECT("mv9"), "direct: u1"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t k = 0;

		while (k < ARRAY_SIZE(cases[i].make) && cases[i].make[k] && ip(cases[i].make[k]))
			k++;
		if (k < ARRAY_SIZE(cases[i].make) && cases[i].make[k])
			printf("# this kernel cannot: %s\n", cases[i].make[k]);
		else
			IS_STR(found_for(r, cases[i].devices), cases[i].want);
	}
}

TEST(real_devices)
{
	static const struct wanted cases[] = {
		{BRIDGE("br0"), "bridged br0: v0"},
		{DIRECT("u0"), "direct: u0"},
		{TAP("tapdt0"), "bridged br0: v0"},
		{BRIDGE("br1"), "none br1: no port of bridge 'br1' leads out of the host"},
		{DIRECT("tapdt1"), "none: 'tapdt1' is a tap"},
		{DIRECT("lo"), "none: 'lo' (virtual) has no device below it"},
		{BRIDGE("br2"), "routed br2: u0"},
	};
	static const char *const setup[] = {
		"link add br0 type bridge",
		"link add v0 type veth peer name v1",
		"link set v0 master br0",
		"link set tapdt0 master br0",
		"link add br1 type bridge",
		"link set tapdt1 master br1",
		"link add u0 type veth peer name u1",
		"link set u0 up",
		"link set u1 up",
		"addr add 192.0.2.2/24 dev u0",
		"route add default via 192.0.2.1",
		"link add br2 type bridge",
		"link set br2 up",
		"addr add 198.51.100.1/24 dev br2",
	};
	struct root r = {.fs = HOSTFS_INIT};
	struct netdev_facts f;
	int taps[2], fd;

	if (getuid() != 0 || !enter_namespace())
		SKIP("only root can make a network namespace");
	taps[0] = open_tap("tapdt0");
	taps[1] = open_tap("tapdt1");
	if (!ip("link show lo") || taps[0] < 0 || taps[1] < 0)
		SKIP("no ip, or no /dev/net/tun");
	for (size_t i = 0; i < ARRAY_SIZE(setup); i++)
		if (!ip(setup[i]))
			TAP_FAIL("ip %s", setup[i]);
	fd = open("/proc/sys/net/ipv4/conf/br2/forwarding", O_WRONLY | O_CLOEXEC);
	OK(fd >= 0 && write(fd, "1", 1) == 1);
	(void)hostfs_init(&r.fs, "/", NULL);
	check_all(&r, cases, ARRAY_SIZE(cases));
	IS_INT(find(&r, BRIDGE("br0"), &f), 0);
	IS_INT(f.devices[0].ifindex, if_nametoindex("v0"));
	OK(f.devices[0].n_txq >= 1);
	IS_INT(f.devices[0].speed, 0);
	netdev_fini(&f);
	check_optional_stacks(&r);
	hostfs_fini(&r.fs);
	close(taps[0]);
	close(taps[1]);
	close(fd);
}

/* The taps that this process has open itself: hot-plugged ones, as its command line does not name them. */
TEST(real_taps)
{
	struct root r = {.fs = HOSTFS_INIT};
	struct netdev_tap *taps = NULL;
	int tun, macvtap = -1, n;
	unsigned int index;
	char path[64], number[32];
	bool has_macvtap;

	if (getuid() != 0 || !enter_namespace())
		SKIP("only root can make a network namespace");
	tun = open_tap("tapdt0");
	if (!ip("link set tapdt0 address fe:54:00:11:22:33") || tun < 0)
		SKIP("no ip, or no /dev/net/tun");
	has_macvtap = ip("link add v0 type veth peer name v1") &&
		      ip("link add link v0 name mvt0 address 52:54:00:44:55:66 type macvtap mode bridge");
	index = if_nametoindex("mvt0");
	(void)hostfs_init(&r.fs, "/", NULL);
	if (has_macvtap) {
		unsigned int major, minor;

		(void)snprintf(path, sizeof(path), "/tmp/domtune-unit-%d", getpid());
		OK(mkdir(path, 0700) == 0 && mount("none", path, "tmpfs", 0, NULL) == 0);
		OK(hostfs_read(&r.fs, number, sizeof(number), "sys/class/macvtap/tap%u/dev", index) > 0);
		IS_INT(sscanf(number, "%u:%u", &major, &minor), 2);
		(void)snprintf(path, sizeof(path), "/tmp/domtune-unit-%d/tap%u", getpid(), index);
		OK(mknod(path, S_IFCHR | 0600, makedev(major, minor)) == 0);
		macvtap = open(path, O_RDWR | O_CLOEXEC);
		OK(macvtap >= 0);
	} else {
		printf("# this kernel has no macvtap\n");
	}
	n = netdev_taps(&r.fs, getpid(), &taps);
	IS_INT(n, has_macvtap ? 2 : 1);
	if (n > 0)
		qsort(taps, (size_t)n, sizeof(taps[0]), by_tap_name);
	for (int i = 0; i < n; i++) {
		IS_STR(taps[i].name, n - i == 1 ? "tapdt0" : "mvt0");
		IS_INT(taps[i].ifindex, if_nametoindex(taps[i].name));
		IS_STR(taps[i].alias, "");
		OK(netdev_tap_is(&taps[i], n - i == 1 ? "52:54:00:11:22:33" : "52:54:00:44:55:66"));
	}
	free(taps);
	close(tun);
	if (macvtap >= 0)
		close(macvtap);
	if (has_macvtap) {
		(void)snprintf(path, sizeof(path), "/tmp/domtune-unit-%d", getpid());
		(void)umount2(path, MNT_DETACH);
		(void)rmdir(path);
	}
	hostfs_fini(&r.fs);
}

TAP_MAIN

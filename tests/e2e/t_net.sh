# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# From interfaces to uplinks and taps, as libvirt, QEMU and the kernel have them: a bridge, a libvirt network, a macvtap;
# taps of a start and of a hot-plug, aliases.

netdev=${DOMTUNE_BUILD:-}/netdev
PATH=$PATH:/usr/sbin:/sbin

iface() { # iface TYPE SOURCE MAC [MORE]
	echo "<interface type='$1'><mac address='52:54:00:d7:00:$3'/><source $2/><model type='virtio'/>${4:-}</interface>"
}
# What is found for an interface of the definition: "WAY BRIDGE ...".
uplink_of() { # uplink_of LINE [ROOT]
	"$netdev" find "${2:-/}" /tmp/net1.xml | sed -n "$1p" | cut -d ' ' -f 2-
}
number_of() { cat "/sys/class/net/$1/ifindex"; }
# Lines "NAME ALIAS MAC", sorted.
taps() { "$netdev" "${1:-taps}" "$(pid_of net1)" | awk '{ print $1, $3, $4 }' | sort; }
# The name that libvirt has given to the interface with this MAC, and its alias.
said() { virsh dumpxml net1 | python3 -c '
import sys, xml.etree.ElementTree as e
for i in e.parse(sys.stdin).iter("interface"):
    if i.get("type") != "user": print(i.find("target").get("dev"), i.find("alias").get("name"), i.find("mac").get("address"))' | sort; }
indices_are_right() {
	local name index _
	"$netdev" taps "$(pid_of net1)" | while read -r name index _; do
		[ "$(number_of "$name")" = "$index" ] || echo "$name"
	done
}
clean() {
	undefine net1
	virsh -q net-destroy dtnet
	virsh -q net-undefine dtnet
	ip link del dtbr
	ip link del dtup0
	ip link del dtmv0
	rm -rf /tmp/net1.xml /tmp/captured
} >/dev/null 2>&1

if [ ! -x "$netdev" ] || ! command -v ip >/dev/null; then
	skip 'uplinks and taps' 'no build with the program that shows them, or no ip'
	return 0
fi
# The lab's kernels have bonds, teams and VLANs.
if [ -x "$DOMTUNE_BUILD/t/t_netdev" ]; then
	out=$("$DOMTUNE_BUILD/t/t_netdev")
	is 'stacks of real devices, as far as this kernel has them' "$(grep -E '^not ok|^# ' <<<"$out" | grep -v 'this kernel')" ''
	like 'stacks of real devices: looked at' "$out" '^ok [0-9]+ - real_devices$'
fi
clean
if ! ip link add dtbr type bridge || ! ip link add dtup0 type veth peer name dtup1 ||
	! ip link add dtmv0 type veth peer name dtmv1; then
	skip 'uplinks and taps' 'this kernel has no bridges or no veths'
	clean
	return 0
fi
ip link set dtup0 master dtbr
for device in dtbr dtup0 dtup1 dtmv0 dtmv1; do ip link set "$device" up; done

cat >/tmp/dtnet.xml <<-'XML'
	<network><name>dtnet</name><forward mode='open'/><bridge name='dtbr1' stp='off'/><dns enable='no'/>
	<ip address='198.51.100.1' netmask='255.255.255.0'/></network>
XML
direct=
mkdir -p /var/lib/libvirt/dnsmasq # of libvirt's network driver, where that is not installed
if virsh -q net-define /tmp/dtnet.xml && virsh -q net-start dtnet 2>/tmp/dtnet.err; then
	network=$(iface network "network='dtnet'" 03)
else
	comment </tmp/dtnet.err
	network=
fi
if ip link add link dtmv0 name dtmv type macvtap 2>/dev/null; then
	direct=$(iface direct "dev='dtmv0' mode='bridge'" 04)
	# A private host has no udev: the node of the next macvtap, which will have this one's number, under all names that
	# it may have, since they go up by one with each device.
	index=$(number_of dtmv)
	number=$(cat "/sys/class/macvtap/tap$index/dev")
	ip link del dtmv
	if [ "${DOMTUNE_HOST:-}" = private ]; then
		for i in $(seq $((index + 1)) $((index + 32))); do mknod "/dev/tap$i" c "${number%:*}" "${number#*:}"; done
	fi
fi
define net1 wrap=no devices="<interface type='user'><mac address='52:54:00:d7:00:10'/></interface>$(
	iface bridge "bridge='dtbr'" 01)$(iface bridge "bridge='dtbr'" 02 \
	"<alias name='ua-net7'/><driver name='qemu' queues='2'/>")$network$direct"

# --- uplinks, before the start -------------------------------------------------------------------------------------------
virsh dumpxml net1 >/tmp/net1.xml
bridged="bridged dtbr dtup0/$(number_of dtup0)"
is 'user: none' "$(uplink_of 1)" "none - an interface of type 'user' has no tap"
is 'bridge: its veth port' "$(uplink_of 2)" "$bridged"
is 'bridge: the second interface on it' "$(uplink_of 3)" "$bridged"
if [ -n "$network" ]; then
	# A private host has no default route but this one.
	had=$(ip route show default)
	[ -n "$had" ] || { ip addr add 192.0.2.2/24 dev dtmv0 && ip route add default via 192.0.2.1; }
	like 'network: the default route' "$(uplink_of 4)" '^routed dtbr1 .'
	[ -n "$had" ] || is 'network: the veth that the default route goes over' "$(uplink_of 4)" \
		"routed dtbr1 dtmv0/$(number_of dtmv0)"
	like 'network: libvirt keeps what it knows where it is looked for' "$(cat /run/libvirt/network/dtnet.xml)" "mode='open'"
else
	skip 'network' 'libvirt starts none here'
fi
if [ -n "$direct" ]; then is 'macvtap: the device below' "$(uplink_of '$')" "direct - dtmv0/$(number_of dtmv0)"; fi
mkdir -p /tmp/captured
domtune capture | tar -C /tmp/captured -xf -
is 'capture: the same uplinks elsewhere' "$(uplink_of '' /tmp/captured)" "$(uplink_of '')"
aliases=$("$netdev" find / /tmp/net1.xml | cut -d ' ' -f 1)

# --- taps -----------------------------------------------------------------------------------------------------------------
ok 'start' start net1
is 'taps: as libvirt names them' "$(taps)" "$(said)"
is 'taps: the command line has them all' "$(taps taps-of-start)" "$(said)"
like 'taps: an alias of the owner' "$(taps)" '^vnet[0-9]+ ua-net7 52:54:00:d7:00:02$'
is 'taps: with the numbers that they have' "$(indices_are_right)" ''
virsh dumpxml net1 >/tmp/net1.xml
is 'running: the same uplinks' "$(uplink_of 2)" "$bridged"
is 'running: libvirt has given the aliases that were foretold' "$(grep -oE "<alias name='(ua-)?net" /tmp/net1.xml | wc -l) $(
	"$netdev" find / /tmp/net1.xml | cut -d ' ' -f 1)" "$(wc -l <<<"$aliases") $aliases"
before=$(taps)
ok 'hot-plug' virsh -q attach-interface net1 bridge dtbr --mac 52:54:00:d7:00:05 --model virtio --live
like 'hot-plug: a tap more, without an alias, with the host device'"'"'s MAC' \
	"$(comm -13 <(echo "$before") <(taps))" '^vnet[0-9]+ - fe:54:00:d7:00:05$'
is 'hot-plug: of the others nothing is lost' "$(comm -23 <(echo "$before") <(taps))" ''
is 'hot-plug: not on the command line' "$(taps taps-of-start)" "$before"
ok 'unplug' virsh -q detach-interface net1 bridge --mac 52:54:00:d7:00:01 --live
ok 'taps: of a process that is gone there are none' sh -c "! '$netdev' taps 4194304 2>/tmp/net1.err && grep -q 'No such process' /tmp/net1.err"
virsh -q destroy net1
rm -f /tmp/dtnet.xml /tmp/dtnet.err /tmp/net1.err
clean

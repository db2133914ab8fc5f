# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Guests on networks of libvirt that the host routes, by its default route, and that it masquerades (NAT), by a device of
# their own. Forwarding overwrites a packet's priority and its MAC address: a mark, set where packets come in at the tap
# (skbedit), leads to the class on the uplink (fw). The guests send IP packets to an address that the host has a route to.

if ! can_network; then
	skip 'routed networks' 'no tc, or no network devices can be made here'
	return 0
fi

up=up0
gateway=02:00:00:00:00:01 # whom payload `send` sends to
network() { # network FORWARD-ATTRIBUTES: started
	cat >/tmp/dtnet.xml <<-XML
		<network><name>dtnet</name><forward $1/><bridge name='dtbr0' stp='off'/><mac address='$gateway'/>
		<dns enable='no'/><ip address='192.0.2.1' netmask='255.255.255.0'/></network>
	XML
	virsh -q net-define /tmp/dtnet.xml && virsh -q net-start dtnet
}
network_gone() {
	virsh -q net-destroy dtnet
	virsh -q net-undefine dtnet
}
routed_guest() { # routed_guest NAME BYTE TUNE
	define "$1" payload=send wrap=no tune="$3" devices="<interface type='network'><source network='dtnet'/>
		<mac address='52:54:00:00:00:$2'/><model type='rtl8139'/></interface>"
}
at_tap() { tc filter show dev "$1" ingress 2>/dev/null | xargs; }
marks() { tc filter show dev up0 | grep -oE ' fw .*handle .*' | grep -oE '(0x[0-9a-f]+/0x[0-9a-f]+|d070:[0-9a-f]+)' | xargs; }
# Of this kernel, asked without domtune: skbedit at an ingress, and fw below HTB.
has_marks() {
	tc qdisc add dev up0 root handle 1: htb && tc filter add dev up0 parent 1: prio 1 handle 1 fw classid 1:1 &&
		tc qdisc add dev up0 ingress && tc filter add dev up0 ingress prio 1 u32 match u32 0 0 action skbedit mark 1
	set -- $?
	tc qdisc del dev up0 root
	tc qdisc del dev up0 ingress
	return "$1"
} >/dev/null 2>&1

mkdir -p /var/lib/libvirt/dnsmasq # of libvirt's network driver, where that is not installed
far_end
ip address add 198.51.100.2/24 dev up0
defaults=$(ip route show default)
if [ -n "$defaults" ] || ! ip route add default via 198.51.100.1 || ! network "mode='route'" 2>/tmp/dtnet.err; then
	if [ "${DOMTUNE_HOST:-}" = lab ]; then tap 1 'a routed network starts'; else
		skip 'routed networks' "libvirt starts none here, or there is a default route already"
	fi
	printf '%s\n' "$defaults" "$(cat /tmp/dtnet.err 2>/dev/null)" | comment
	uplink_gone
	network_gone >/dev/null 2>&1
	return 0
fi
marked=no
! has_marks || marked=yes
[ "${DOMTUNE_HOST:-}" != lab ] || is 'the lab has skbedit and fw' "$marked" yes
before=$(host_state)
root_before=$(root_of up0)
masked="<uplink device='up0' rate='100mbit' mark-mask='0xff00'/>"

# --- the policy gives no marks ------------------------------------------------------------------------------------------
routed_guest route1 a1 "<tune><interface target='*' rate='10mbit' ceil='50mbit'/></tune>"
routed_guest route2 b2 "<tune><interface target='*' rate='20mbit'/></tune>"
policy "<uplink device='up0' rate='100mbit'/>"
like 'without marks: skipped, and how they are had' "$(domtune plan --json route1 | json \
	'[s["why"] for s in d["skipped"] if s["knob"] == "interface.rate"]')" \
	"told apart by a mark only, and the policy gives none: <uplink device='up0' mark-mask="
policy "$masked"
like 'plan: why' "$(domtune plan --json route1 | json '[s["why"] for s in d["settings"] if s["knob"] == "interface.rate"]')" \
	'guaranteed on up0: class d001 of 100 Mbit/s \(the policy\).*, by mark 0x100/0xff00'

# --- a kernel without skbedit or fw -------------------------------------------------------------------------------------
without_marks() {
	ok 'no skbedit: starts' start route1
	is 'no skbedit: the rate is not in force' "$(setting route1 rate effective)" ''
	like 'no skbedit: status says why' "$(setting route1 rate why)" 'not supported'
	ok 'no skbedit: the log says what it means' wait_for logged \
		'route1: interface.rate .*/flow/d001 is not possible here .*: it has no effect'
	not_ok 'no skbedit: verify' domtune verify route1
	is 'no skbedit: nothing is at the tap' "$(tc qdisc show dev "$(tap_of route1)" | grep -c ingress)" 0
	ok 'no skbedit: ends' virsh -q destroy route1
	is 'no skbedit: the uplink is as it was' "$(root_of up0)" "$root_before"
	is 'no skbedit: nothing is left' "$(host_state)" "$before"
	skip 'routed guests: their classes' 'this kernel has no skbedit, or no classifier fw'
}

# --- two guests on a routed network -------------------------------------------------------------------------------------
routed() {
	local tap
	ok 'routed: starts' start route1
	tap=$(tap_of route1)
	is 'routed: the root of the uplink is ours' "$(root_of up0)" 'htb d070:'
	like 'routed: its class' "$(class_line d070:d001)" 'rate 10Mbit ceil 50Mbit'
	like 'routed: the mark at its tap' "$(at_tap "$tap")" 'pref 208 u32 .*skbedit .*mark 256/0xff00'
	is 'routed: what leads to the class' "$(marks)" '0x100/0xff00 d070:d001'
	like 'routed: the ceiling holds towards the guest as well' "$(root_of "$tap") $(tc class show dev "$tap")" \
		'^htb d071: .*rate 50Mbit'
	ok 'routed: sends' wait_for is_up route1
	ok 'routed: what the host forwards goes to its class' wait_for has_sent d070:d001
	for knob in rate ceil; do
		is "routed: status: $knob" "$(setting route1 $knob effective)" "$(setting route1 $knob value)"
	done
	ok 'routed: verify' domtune verify route1

	# Nobody else sends while the second one does.
	ok 'routed: the first one pauses' virsh -q suspend route1
	ok 'routed: a second one starts' start route2
	is 'routed: a class each' "$(classes)" 'd070:d001 d070:d002'
	is 'routed: a mark each' "$(marks)" '0x100/0xff00 d070:d001 0x200/0xff00 d070:d002'
	ok 'routed: its packets go to its class' wait_for has_sent d070:d002
	ok 'routed: verify: the second one' domtune verify route2
	is 'routed: claims of both' "$(claimed_links)" 2

	ok 'routed: other rates' annotate route1 "<tune><interface target='*' rate='30mbit'/></tune>"
	ok 'routed: retune' domtune retune route1
	like 'routed: retune: in place' "$(class_line d070:d001)" 'rate 30Mbit ceil 100Mbit'
	is 'routed: retune: the marks stay' "$(marks)" '0x100/0xff00 d070:d001 0x200/0xff00 d070:d002'
	ok 'routed: retune: verify' domtune verify route1

	ok 'routed: the first one ends' virsh -q destroy route1
	is 'routed: its class and its mark went' "$(classes) $(marks)" 'd070:d002 0x200/0xff00 d070:d002'
	ok 'routed: the second one ends' virsh -q destroy route2
	is 'routed: the uplink is as it was' "$(root_of up0)" "$root_before"
	is 'routed: nothing is left' "$(host_state)" "$before"
}

# --- a guest on a masqueraded network -----------------------------------------------------------------------------------
nat() {
	local tap mac
	ok 'NAT: a network with a device of its own' network "mode='nat' dev='up0'"
	annotate route1 "<tune><interface target='*' rate='10mbit' ceil='50mbit'/></tune>"
	ok 'NAT: starts' start route1
	tap=$(tap_of route1) mac=$(mac_of route1)
	is 'NAT: its class, and what leads there' "$(classes) $(marks)" 'd070:d001 0x100/0xff00 d070:d001'
	ok 'NAT: what the host forwards goes to its class' wait_for has_sent d070:d001
	ok 'NAT: it has the address of the uplink' masqueraded
	ok 'NAT: verify' domtune verify route1

	# libvirt makes the ingress anew, without the mark; half of the way is left.
	ok 'NAT: domiftune --outbound' virsh -q domiftune route1 "$mac" --outbound 1000 --live
	is 'NAT: domiftune: half of the way is left' "$(at_tap "$tap" | grep -c skbedit) $(marks)" '0 0x100/0xff00 d070:d001'
	not_ok 'NAT: domiftune: verify sees it' domtune verify route1
	ok 'NAT: domiftune: retune' domtune retune route1
	like 'NAT: domiftune: what the definition says wins' "$(skipped route1 rate)" 'outbound'
	is 'NAT: domiftune: nothing of ours is left on the uplink' "$(root_of up0)" "$root_before"
	ok 'NAT: domiftune: taken back' virsh -q domiftune route1 "$mac" --outbound 0 --live
	ok 'NAT: domiftune: retune after that' domtune retune route1
	is 'NAT: domiftune: the way is whole again' "$(at_tap "$tap" | grep -c 'mark 256/0xff00') $(marks)" '1 0x100/0xff00 d070:d001'
	ok 'NAT: domiftune: verify after that' domtune verify route1

	# While the tap is there.
	ok 'NAT: retune --off' domtune retune --off route1
	is 'NAT: off: nothing is at the tap' "$(tc qdisc show dev "$tap" | grep -c ingress)" 0
	is 'NAT: off: the uplink is as it was' "$(root_of up0)" "$root_before"
	ok 'NAT: ends' virsh -q destroy route1
	is 'NAT: nothing is left' "$(host_state)" "$before"
}
masqueraded() { # the far end sees a datagram from the uplink's address
	timeout 60 ip netns exec far python3 -c '
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
s.bind(("far0", 0))
while True:
    packet = s.recv(2048)
    if packet[9] == 17 and packet[16:20] == bytes((198, 51, 100, 1)):
        break
assert packet[12:16] == bytes((198, 51, 100, 2)), packet[12:16]'
}

if [ $marked = yes ]; then
	routed
	network_gone
	ip route del default via 198.51.100.1
	nat
else
	without_marks
fi

for name in route1 route2; do undefine $name; done
network_gone
uplink_gone
policy
rm -f /tmp/dtnet.xml /tmp/dtnet.err

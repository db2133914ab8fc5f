# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Guests on a bridge whose uplink is a veth into another network namespace: a class per guest on the uplink, steering
# and a limit on the tap; foreign roots; removal in any order; a hook that was killed. The guests' firmware asks for an
# address (DHCP), which is traffic enough to see counters move.

if ! command -v tc >/dev/null || ! ip link add dtprobe0 type veth peer name dtprobe1 2>/dev/null; then
	skip 'network' 'no tc, or no network devices can be made here'
	return 0
fi
ip link del dtprobe0

# The lab's kernels have skbedit, flower and fw: routed guests, too.
if [ -x "${DOMTUNE_BUILD:-}/t/t_be_net" ]; then
	out=$("$DOMTUNE_BUILD/t/t_be_net")
	is 'back end: on real devices, as far as this kernel has them' "$(grep '^not ok' <<<"$out")" ''
	[ "${DOMTUNE_HOST:-}" != lab ] || is 'back end: nothing was left out' "$(grep '# SKIP' <<<"$out")" ''
fi

policy() { # policy [UPLINK-XML]
	echo "<policy xmlns='urn:domtune:1'><host deadline='120s'/>${1:-}</policy>" >/etc/domtune/policy.xml
}
unshare --net sleep 100000 &
peer=$!
is_apart() { [ "$(readlink /proc/$peer/ns/net)" != "$(readlink /proc/self/ns/net)" ]; }
wait_for is_apart
ip link add dtbr0 type bridge
ip link add dtup0 type veth peer name dtpeer0 netns $peer
ip link set dtup0 master dtbr0 up
ip link set dtbr0 up
nsenter -t $peer -n ip link set dtpeer0 up
ip link add dtbr1 type bridge
ip link set dtbr1 up
policy '<uplink device="dtup0" rate="1gbit" replace-mq="yes"/>'

root_of() { tc qdisc show dev "$1" root | awk '{ print $2, $3 }'; }
classes() { tc class show dev dtup0 | awk '{ print $3 }' | grep -E ':d[0-9a-f]{3}$' | sort | xargs; }
class_line() { tc class show dev dtup0 | grep -E " $1 "; }
sent() { # sent CLASS: packets
	tc -s class show dev dtup0 | awk -v c="$1" '$1 == "class" { on = $3 == c } on && $1 == "Sent" { print $4; exit }'
}
has_sent() { [ "$(sent "$1")" -gt 0 ]; }
tap_of() { virsh domiflist "$1" | awk '/dtbr/ { print $1 }'; }
mac_of() { virsh domiflist "$1" | awk '/dtbr/ { print $5 }'; }
setting() { # setting NAME KNOB FIELD
	domtune status --json "$1" | json "[s['$3'] for s in d['domains'][0]['settings'] if s['knob'] == 'interface.$2'][0]"
}
claimed_links() { grep -E '^claim' /run/domtune/ledger | grep -cE 'dtup0:5[0-9]{4}:'; }
net_guest() { # net_guest NAME TUNE BRIDGE
	define "$1" tune="$2" wrap=no \
		devices="<interface type='bridge'><source bridge='$3'/><model type='virtio'/><boot order='1'/></interface>"
}
before=$(host_state)
root_before=$(root_of dtup0)

# --- two guests, a class each -------------------------------------------------------------------------------------------
net_guest net1 "<tune><cpu policy='shared'/><interface target='*' rate='600mbit' ceil='800mbit' priority='1' steering='auto'/></tune>" dtbr0
net_guest net2 "<tune><interface target='net0' rate='600mbit' burst='64kb'/></tune>" dtbr0
plan=$(domtune plan --json net1)
is 'plan: the rate' "$(json '[s["value"] for s in d["settings"] if s["knob"] == "interface.rate"]' <<<"$plan")" "['600000000']"
like 'plan: why' "$(json '[s["why"] for s in d["settings"] if s["knob"] == "interface.rate"]' <<<"$plan")" \
	'guaranteed on dtup0: class d001 of 1 Gbit/s \(the policy\)'
ok 'net1 starts' start net1
is 'the root of the uplink is ours' "$(root_of dtup0)" 'htb d070:'
is 'a class of it' "$(classes)" 'd070:d001'
like 'its rates' "$(class_line d070:d001)" 'prio 1 rate 600Mbit ceil 800Mbit'
like 'the default class has the rest' "$(class_line d070:2)" 'rate 50Mbit ceil 1Gbit'
ok 'its packets go to its class' wait_for has_sent d070:d001
ok 'net2 starts' start net2
is 'a class each' "$(classes)" 'd070:d001 d070:d002'
like 'net2: what was left' "$(class_line d070:d002)" 'rate 350Mbit ceil 1Gbit'
like 'net2: who has the rest' "$(setting net2 rate why)" \
	'600 Mbit/s asked: of the 950 Mbit/s that dtup0 can promise net1 holds 600 Mbit/s'
ok 'net2: its packets go to its class' wait_for has_sent d070:d002
is 'claims of both' "$(claimed_links)" 2
ok 'verify: net1' domtune verify net1
ok 'verify: net2' domtune verify net2
for knob in rate ceil priority steering; do
	is "status: net1 $knob" "$(setting net1 $knob effective)" "$(setting net1 $knob value)"
done
is 'status: net2 rate' "$(setting net2 rate effective)" 350000000
is 'status: net2 burst' "$(setting net2 burst effective)" 65536

# --- the tap ------------------------------------------------------------------------------------------------------------
tap1=$(tap_of net1)
like 'the ceiling holds towards the guest as well' "$(tc qdisc show dev "$tap1" root; tc class show dev "$tap1")" '800Mbit'
is 'steering: receive queues' "$(($((16#$(tr -d , <"/sys/class/net/$tap1/queues/rx-0/rps_cpus")))))" \
	"$(python3 -c 'import sys
print(sum(1 << c for a in sys.argv[1].split(",") for c in range(int(a.split("-")[0]), int(a.split("-")[-1]) + 1)))' "$(setting net1 steering value)")"

# --- libvirt changes the tap --------------------------------------------------------------------------------------------
# Where the kernel has skbedit, what leads to the class is a filter at the tap's ingress, which libvirt makes anew.
at_tap=$(tc filter show dev "$tap1" ingress 2>/dev/null)
if ! virsh -q domiftune net1 "$(mac_of net1)" --outbound 1000 --live 2>/tmp/domiftune.err; then
	skip 'domiftune --outbound' "$(grep -o 'Error:.*' /tmp/domiftune.err | head -n 1)"
elif [ -n "$at_tap" ]; then
	tap 0 'domiftune --outbound'
	not_ok 'domiftune: verify sees what it dropped' domtune verify net1
	is 'domiftune: nothing leads to the class any more' "$(setting net1 rate effective)" ''
	ok 'domiftune: retune' domtune retune net1
	is "domiftune: what the definition says wins" "$(domtune status --json net1 | json \
		'[s["why"] for s in d["domains"][0]["skipped"] if s["knob"] == "interface.rate"]' | grep -c outbound)" 1
	ok 'domiftune: verify after that' domtune verify net1
	ok 'domiftune: taken back' virsh -q domiftune net1 "$(mac_of net1)" --outbound 0 --live
	ok 'domiftune: retune after that' domtune retune net1
	is 'domiftune: the rate is ours again' "$(setting net1 rate effective)" "$(setting net1 rate value)"
	like 'domiftune: and there is one' "$(setting net1 rate value)" '^[1-9]'
	ok 'domiftune: verify at the end' domtune verify net1
else
	tap 0 'domiftune --outbound'
	ok 'domiftune: verify' domtune verify net1
fi

# --- retune: other rates, the same class --------------------------------------------------------------------------------
annotate() { # annotate NAME TUNE
	virsh -q metadata "$1" --uri urn:domtune:1 --key domtune --config --set "$2"
}
ok 'set' annotate net1 "<tune><interface target='*' rate='100mbit' ceil='200mbit'/></tune>"
ok 'retune' domtune retune net1
is 'retune: the class keeps its number' "$(classes)" 'd070:d001 d070:d002'
like 'retune: in place' "$(class_line d070:d001)" 'rate 100Mbit ceil 200Mbit'
like 'retune: the tap follows' "$(tc class show dev "$tap1")" 'rate 200Mbit'
is 'retune: the claim follows' "$(grep -cE '^claim.*dtup0:53249:100000000:' /run/domtune/ledger)" 1
ok 'retune: verify' domtune verify net1
is 'retune: steering went back' "$(tr -d 0, <"/sys/class/net/$tap1/queues/rx-0/rps_cpus")" ''

# --- they go in any order -----------------------------------------------------------------------------------------------
ok 'net1 ends' virsh -q destroy net1
is 'net1 ended: its class went' "$(classes)" 'd070:d002'
is 'net1 ended: the tree stays' "$(root_of dtup0)" 'htb d070:'
ok 'net1 starts again' start net1
is 'net1: the lowest free number' "$(classes)" 'd070:d001 d070:d002'
ok 'net2 ends' virsh -q destroy net2
is 'net2 ended: its class went' "$(classes)" 'd070:d001'
tap1=$(tap_of net1)
ok 'retune --off' domtune retune --off net1
like 'off: the tap has libvirt'"'"'s root again' "$(root_of "$tap1")" '^noqueue'
is 'off: the uplink is as it was' "$(root_of dtup0)" "$root_before"
ok 'net1 ends too' virsh -q destroy net1
is 'both ended: the uplink is as it was' "$(root_of dtup0)" "$root_before"
is 'both ended: nothing is left' "$(host_state)" "$before"

# --- two interfaces of one guest ------------------------------------------------------------------------------------------
nic="<interface type='bridge'><source bridge='dtbr0'/><model type='virtio'/></interface>"
define net4 wrap=no tune="<tune><interface target='*' rate='400mbit' ceil='500mbit'/></tune>" devices="$nic$nic$nic"
ok 'three interfaces: starts' start net4
is 'three interfaces: a class each' "$(classes)" 'd070:d001 d070:d002 d070:d003'
like 'three interfaces: the last one gets what is left' "$(class_line d070:d003)" 'rate 150Mbit ceil 500Mbit'
ok 'three interfaces: verify' domtune verify net4
ok 'three interfaces: end' virsh -q destroy net4
is 'three interfaces: the uplink is as it was' "$(root_of dtup0)" "$root_before"
is 'three interfaces: nothing is left' "$(host_state)" "$before"

# --- roots of somebody else ---------------------------------------------------------------------------------------------
tc qdisc add dev dtup0 root handle 5: pfifo limit 77
ok 'foreign root: starts' start net2
is 'foreign root: stays' "$(root_of dtup0)" 'pfifo 5:'
like 'foreign root: is told' "$(domtune plan --json net2 | json 'd["skipped"]')" 'the root of dtup0 is pfifo 5:'
ok 'foreign root: ends' virsh -q destroy net2
is 'foreign root: has survived' "$(tc qdisc show dev dtup0 root | grep -o 'pfifo 5: root refcnt [0-9]* limit 77p' | cut -d ' ' -f 1,2)" 'pfifo 5:'
tc qdisc del dev dtup0 root
tc qdisc add dev dtup0 root handle 7: htb default 1
tc class add dev dtup0 parent 7: classid 7:1 htb rate 500mbit quantum 3000
ok 'foreign HTB: starts' start net2
is 'foreign HTB: is joined' "$(root_of dtup0) $(classes)" 'htb 7: 7:d001'
ok 'foreign HTB: packets go to the class' wait_for has_sent 7:d001
ok 'foreign HTB: verify' domtune verify net2
ok 'foreign HTB: ends' virsh -q destroy net2
is 'foreign HTB: has survived' "$(root_of dtup0) $(tc class show dev dtup0 | awk '{ print $3 }' | xargs)" 'htb 7: 7:1'
tc qdisc del dev dtup0 root

# --- the hook is killed -------------------------------------------------------------------------------------------------
ok 'killed: starts' start net2
is 'killed: a class' "$(classes)" 'd070:d001'
mv /usr/libexec/domtune/apply /tmp/apply.away
printf '#!/bin/sh\nkill -9 $$\n' >/usr/libexec/domtune/apply
chmod 0755 /usr/libexec/domtune/apply
ok 'killed: ends' virsh -q destroy net2
is 'killed: the class is still there' "$(classes)" 'd070:d001'
mv /tmp/apply.away /usr/libexec/domtune/apply
ok 'killed: recover' domtune recover
is 'killed: recovered' "$(root_of dtup0)" "$root_before"
is 'killed: nothing is left' "$(host_state)" "$before"

# --- no uplink, no class ------------------------------------------------------------------------------------------------
net_guest net3 "<tune><interface target='*' rate='10mbit'/><interface target='../../x' rate='1mbit'/></tune>" dtbr1
skipped=$(domtune plan --json net3 | json '[s["knob"] + " " + s["target"] for s in d["skipped"]]')
like 'no uplink: skipped' "$skipped" "interface.rate 52:54:"
like 'no such interface: skipped' "$skipped" 'interface.rate ../../x'
ok 'no uplink: starts' start net3
ok 'no uplink: ends' virsh -q destroy net3
ok 'verify: nothing is left' domtune verify

# --- real cards, on the lab host ----------------------------------------------------------------------------------------
card() { # card DRIVER: the first one that is on no bridge and has no address
	local n driver
	for n in /sys/class/net/*; do
		driver=$(readlink "$n/device/driver" 2>/dev/null)
		[ "${driver##*/}" != "$1" ] || [ -e "$n/master" ] || { echo "${n##*/}" && return; }
	done
}
on_card() { # on_card NIC TUNE: a bridge with that card, and a guest on it
	ip link set "$1" master dtbr1 up
	net_guest net3 "$2" dtbr1
}
off_card() { undefine net3 && ip link set "$1" nomaster down; }
if [ "${DOMTUNE_HOST:-}" = lab ]; then
	nic=$(card vmxnet3)
	rings() { ethtool -g "$nic" | awk '/^Current/ { on = 1 } on && /^RX:/ { rx = $2 } on && /^TX:/ { tx = $2 } END { print rx, tx }'; }
	most=$(ethtool -g "$nic" | awk '/^RX:/ { print $2; exit }')
	on_card "$nic" "<tune><interface target='*' rx-ring='max' tx-ring='1024'/></tune>"
	rings_before=$(rings)
	ok "rings of $nic: starts" start net3
	is 'rings: in force' "$(rings)" "$most 1024"
	ok 'rings: verify' domtune verify net3
	ok 'rings: ends' virsh -q destroy net3
	is 'rings: as they were' "$(rings)" "$rings_before"
	off_card "$nic"

	nic=$(card virtio_net)
	on_card "$nic" "<tune><interface target='*' rate='10mbit'/></tune>"
	mq=$(tc qdisc show dev "$nic" | sort)
	like "many queues: $nic has them" "$mq" '^qdisc mq 0: root'
	like 'many queues: not without the policy' "$(domtune plan net3)" 'replace-mq'
	ok 'many queues: starts' start net3
	is 'many queues: nothing was replaced' "$(tc qdisc show dev "$nic" | sort)" "$mq"
	ok 'many queues: ends' virsh -q destroy net3
	policy "<uplink device='$nic' rate='1gbit' replace-mq='yes'/>"
	ok 'many queues: starts with the policy' start net3
	is 'many queues: one root' "$(root_of "$nic")" 'htb d070:'
	ok 'many queues: verify' domtune verify net3
	ok 'many queues: ends again' virsh -q destroy net3
	is 'many queues: they are back' "$(tc qdisc show dev "$nic" | sort)" "$mq"
	off_card "$nic"
fi

for name in net1 net2 net3 net4; do undefine $name; done
ip link del dtup0
ip link del dtbr0
ip link del dtbr1
kill $peer
policy

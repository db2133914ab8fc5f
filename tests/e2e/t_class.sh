# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Guests on a bridge whose uplink is a veth into another network namespace: a class per guest on the uplink, steering
# and a limit on the tap, other rates, libvirt's own; removal in any order. The guests' firmware asks for an address
# (DHCP), which is traffic enough to see counters move.

if ! can_network; then
	skip 'network' 'no tc, or no network devices can be made here'
	return 0
fi

# The lab's kernels have skbedit, flower and fw: routed guests, too.
if [ -x "${DOMTUNE_BUILD:-}/t/t_be_net" ]; then
	out=$("$DOMTUNE_BUILD/t/t_be_net")
	is 'back end: on real devices, as far as this kernel has them' "$(grep '^not ok' <<<"$out")" ''
	[ "${DOMTUNE_HOST:-}" != lab ] || is 'back end: nothing was left out' "$(grep '# SKIP' <<<"$out")" ''
fi

up=up0
uplink dtbr0
policy '<uplink device="up0" rate="1gbit" replace-mq="yes"/>'
before=$(host_state)
root_before=$(root_of up0)

# --- two guests, a class each -------------------------------------------------------------------------------------------
net_guest net1 "<tune><cpu policy='shared'/><interface target='*' rate='600mbit' ceil='800mbit' priority='1' steering='auto'/></tune>" dtbr0
net_guest net2 "<tune><interface target='net0' rate='600mbit' burst='64kb'/></tune>" dtbr0
plan=$(domtune plan --json net1)
is 'plan: the rate' "$(json '[s["value"] for s in d["settings"] if s["knob"] == "interface.rate"]' <<<"$plan")" "['600000000']"
like 'plan: why' "$(json '[s["why"] for s in d["settings"] if s["knob"] == "interface.rate"]' <<<"$plan")" \
	'guaranteed on up0: class d001 of 1 Gbit/s \(the policy\)'
ok 'net1 starts' start net1
is 'the root of the uplink is ours' "$(root_of up0)" 'htb d070:'
is 'a class of it' "$(classes)" 'd070:d001'
like 'its rates' "$(class_line d070:d001)" 'prio 1 rate 600Mbit ceil 800Mbit'
like 'the default class has the rest' "$(class_line d070:2)" 'rate 50Mbit ceil 1Gbit'
ok 'its packets go to its class' wait_for has_sent d070:d001
ok 'net2 starts' start net2
is 'a class each' "$(classes)" 'd070:d001 d070:d002'
like 'net2: what was left' "$(class_line d070:d002)" 'rate 350Mbit ceil 1Gbit'
like 'net2: who has the rest' "$(setting net2 rate why)" \
	'600 Mbit/s asked: of the 950 Mbit/s that up0 can promise net1 holds 600 Mbit/s'
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
ok 'set' annotate net1 "<tune><interface target='*' rate='100mbit' ceil='200mbit'/></tune>"
ok 'retune' domtune retune net1
is 'retune: the class keeps its number' "$(classes)" 'd070:d001 d070:d002'
like 'retune: in place' "$(class_line d070:d001)" 'rate 100Mbit ceil 200Mbit'
like 'retune: the tap follows' "$(tc class show dev "$tap1")" 'rate 200Mbit'
is 'retune: the claim follows' "$(grep -cE '^claim.*up0:53249:100000000:' /run/domtune/ledger)" 1
ok 'retune: verify' domtune verify net1
is 'retune: steering went back' "$(tr -d 0, <"/sys/class/net/$tap1/queues/rx-0/rps_cpus")" ''

# --- they go in any order -----------------------------------------------------------------------------------------------
ok 'net1 ends' virsh -q destroy net1
is 'net1 ended: its class went' "$(classes)" 'd070:d002'
is 'net1 ended: the tree stays' "$(root_of up0)" 'htb d070:'
ok 'net1 starts again' start net1
is 'net1: the lowest free number' "$(classes)" 'd070:d001 d070:d002'
ok 'net2 ends' virsh -q destroy net2
is 'net2 ended: its class went' "$(classes)" 'd070:d001'
tap1=$(tap_of net1)
ok 'retune --off' domtune retune --off net1
like 'off: the tap has libvirt'"'"'s root again' "$(root_of "$tap1")" '^noqueue'
is 'off: the uplink is as it was' "$(root_of up0)" "$root_before"
ok 'net1 ends too' virsh -q destroy net1
is 'both ended: the uplink is as it was' "$(root_of up0)" "$root_before"
is 'both ended: nothing is left' "$(host_state)" "$before"

# --- several interfaces of one guest -------------------------------------------------------------------------------------
nic="<interface type='bridge'><source bridge='dtbr0'/><model type='virtio'/></interface>"
define net4 wrap=no tune="<tune><interface target='*' rate='400mbit' ceil='500mbit'/></tune>" devices="$nic$nic$nic"
ok 'three interfaces: starts' start net4
is 'three interfaces: a class each' "$(classes)" 'd070:d001 d070:d002 d070:d003'
like 'three interfaces: the last one gets what is left' "$(class_line d070:d003)" 'rate 150Mbit ceil 500Mbit'
ok 'three interfaces: verify' domtune verify net4
ok 'three interfaces: end' virsh -q destroy net4
is 'three interfaces: the uplink is as it was' "$(root_of up0)" "$root_before"
is 'three interfaces: nothing is left' "$(host_state)" "$before"

for name in net1 net2 net4; do undefine $name; done
uplink_gone dtbr0
policy

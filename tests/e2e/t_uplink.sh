# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Uplinks that are not as the kernel made them: roots of somebody else, a class that a hook which was killed left behind,
# bridges without a way out; and real cards, with rings and many queues.

if ! can_network; then
	skip 'network' 'no tc, or no network devices can be made here'
	return 0
fi

up=up0
uplink dtbr0
ip link add dtbr1 type bridge
ip link set dtbr1 up
policy '<uplink device="up0" rate="1gbit" replace-mq="yes"/>'
before=$(host_state)
root_before=$(root_of up0)
net_guest net2 "<tune><interface target='net0' rate='600mbit' burst='64kb'/></tune>" dtbr0

# --- roots of somebody else ---------------------------------------------------------------------------------------------
tc qdisc add dev up0 root handle 5: pfifo limit 77
ok 'foreign root: starts' start net2
is 'foreign root: stays' "$(root_of up0)" 'pfifo 5:'
like 'foreign root: is told' "$(domtune plan --json net2 | json 'd["skipped"]')" 'the root of up0 is pfifo 5:'
ok 'foreign root: ends' virsh -q destroy net2
is 'foreign root: has survived' "$(tc qdisc show dev up0 root | grep -o 'pfifo 5: root refcnt [0-9]* limit 77p' | cut -d ' ' -f 1,2)" 'pfifo 5:'
tc qdisc del dev up0 root
tc qdisc add dev up0 root handle 7: htb default 1
tc class add dev up0 parent 7: classid 7:1 htb rate 500mbit quantum 3000
ok 'foreign HTB: starts' start net2
is 'foreign HTB: is joined' "$(root_of up0) $(classes)" 'htb 7: 7:d001'
ok 'foreign HTB: packets go to the class' wait_for has_sent 7:d001
ok 'foreign HTB: verify' domtune verify net2
ok 'foreign HTB: ends' virsh -q destroy net2
is 'foreign HTB: has survived' "$(root_of up0) $(tc class show dev up0 | awk '{ print $3 }' | xargs)" 'htb 7: 7:1'
tc qdisc del dev up0 root

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
is 'killed: recovered' "$(root_of up0)" "$root_before"
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

for name in net2 net3; do undefine $name; done
uplink_gone dtbr0
ip link del dtbr1
policy

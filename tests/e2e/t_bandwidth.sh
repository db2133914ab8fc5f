# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Guests whose definition has limits of its own, <bandwidth>: what is asked of us and means the same is left out, the rest
# is done beside them, and what libvirt has made at the tap is as without us.

if ! can_network; then
	skip 'bandwidth' 'no tc, or no network devices can be made here'
	return 0
fi

up=up0
uplink dtbr0
policy '<uplink device="up0" rate="1gbit"/>'
before=$(host_state)
root_before=$(root_of up0)
inbound="<inbound average='1000' peak='5000' burst='1024'/>"
outbound="<outbound average='2000' peak='4000' burst='1024'/>"
wishes="rate='100mbit' ceil='200mbit' burst='64kb'"

limited() { # limited BANDWIDTH [ATTRIBUTES]: a guest, and what is asked for its interface
	undefine limited
	net_guest limited "${2:+<tune><interface target='*' $2/></tune>}" dtbr0 "<bandwidth>$1</bandwidth>"
}
# What libvirt has made there, without counters and numbers that the kernel gives.
towards() {
	tc qdisc show dev "$1" root | sed 's/direct_packets_stat [0-9]*//'
	tc class show dev "$1"
	tc filter show dev "$1"
}
from() { tc filter show dev "$1" ingress | grep -oE 'police .*rate [^ ]+ burst [^ ]+' | sed 's/police [^ ]* /police /'; }
asked() { # the settings that a plan has: asked KIND FIELD
	domtune plan --json limited | json "sorted(s['$2'] for s in d['$1'] if s['knob'].startswith('interface.'))"
}

limited "$inbound$outbound"
if ! virsh -q start limited 2>/tmp/limited.err; then
	if [ "${DOMTUNE_HOST:-}" = lab ]; then tap 1 'limits of the definition'; else
		skip 'limits of the definition' "libvirt cannot make them: $(grep -o 'Error:.*' /tmp/limited.err | head -n 1)"
	fi
	comment </tmp/limited.err
	undefine limited
	uplink_gone dtbr0
	policy
	return 0
fi
towards_wanted=$(towards "$(tap_of limited)")
from_wanted=$(from "$(tap_of limited)")
like 'limits of the definition: towards the guest' "$towards_wanted" 'qdisc htb 1: root'
like 'limits of the definition: from the guest' "$from_wanted" 'police .*rate 16Mbit'

# --- towards the guest --------------------------------------------------------------------------------------------------
limited "$inbound" "$wishes"
ok 'inbound: starts' start limited
tap=$(tap_of limited)
is "inbound: what libvirt has made there stays" "$(towards "$tap")" "$towards_wanted"
like 'inbound: a class on the uplink' "$(class_line d070:d001)" 'rate 100Mbit ceil 200Mbit'
like 'inbound: whose limit it is towards the guest' "$(setting limited ceil why)" 'towards the guest is limited by <inbound>'
ok 'inbound: its packets go to its class' wait_for has_sent d070:d001
ok 'inbound: verify' domtune verify limited
ok 'inbound: retune --off' domtune retune --off limited
is 'inbound: off: what libvirt has made there stays' "$(towards "$tap")" "$towards_wanted"
is 'inbound: off: the uplink is as it was' "$(root_of up0)" "$root_before"
ok 'inbound: ends' virsh -q destroy limited

# --- from the guest -----------------------------------------------------------------------------------------------------
limited "$outbound" "$wishes"
is 'outbound: nothing of it is planned' "$(asked settings knob)" '[]'
is 'outbound: what is left out' "$(asked skipped knob)" "['interface.burst', 'interface.ceil', 'interface.rate']"
is 'outbound: and why' "$(asked skipped why | grep -o '<bandwidth><outbound>' | wc -l)" 3
ok 'outbound: starts' start limited
tap=$(tap_of limited)
is 'outbound: the uplink is as it was' "$(root_of up0)" "$root_before"
is 'outbound: what libvirt has made stays' "$(from "$tap")" "$from_wanted"
ok 'outbound: ends' virsh -q destroy limited

# --- both, and what has no such word ------------------------------------------------------------------------------------
limited "$inbound$outbound" "$wishes priority='1' steering='auto'"
ok 'both: starts' start limited
tap=$(tap_of limited)
is 'both: towards the guest' "$(towards "$tap")" "$towards_wanted"
is 'both: from the guest' "$(from "$tap")" "$from_wanted"
like 'both: a small class of the priority' "$(class_line d070:d001)" 'prio 1 rate 10Mbit ceil 1Gbit'
ok 'both: its packets go to its class' wait_for has_sent d070:d001
is 'both: status: priority' "$(setting limited priority effective)" 1
ok 'both: verify' domtune verify limited
ok 'both: retune --off' domtune retune --off limited
is 'both: off: towards the guest' "$(towards "$tap")" "$towards_wanted"
is 'both: off: from the guest' "$(from "$tap")" "$from_wanted"
is 'both: off: nothing of ours is there' "$(tc filter show dev "$tap" ingress | grep -c skbedit)" 0
is 'both: off: the uplink is as it was' "$(root_of up0)" "$root_before"
ok 'both: ends' virsh -q destroy limited
is 'both: nothing is left' "$(host_state)" "$before"

undefine limited
uplink_gone dtbr0
policy
rm -f /tmp/limited.err

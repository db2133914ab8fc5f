# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Memory protection is what the whole chain of groups gives: systemd's scope, the slice above it, libvirt's group below,
# by the sum of two guests; what is effective is told, and all of it goes with them.

before=$(host_state)
slice=/sys/fs/cgroup/machine.slice
scope_of() { grep -oE 'machine-qemu[^/]*\.scope' "/proc/$(pid_of "$1")/cgroup" | head -n 1; }
property() { systemctl show -p "$2" --value "$(scope_of "$1")"; }
bytes() { cat "$slice/${3:+$(scope_of "$1")/}${4:-}$2"; } # bytes GUEST FILE [scope [libvirt/]]
mib=1048576
tune() { echo "<tune profile='balanced'><memory min='$1MiB' low='$2MiB'/></tune>"; }

if is_v2 && command -v systemctl >/dev/null && systemctl is-active -q dbus 2>/dev/null; then
	define pr1 tune="$(tune 24 40)"
	define pr2 tune="$(tune 8 16)"
	had="$(cat $slice/memory.min 2>/dev/null || echo 0) $(cat $slice/memory.low 2>/dev/null || echo 0)"
	ok 'two guests start' sh -c 'virsh -q start pr1 && virsh -q start pr2'
	is 'scope: by systemd' "$(property pr1 MemoryMin) $(property pr1 MemoryLow)" "$((24 * mib)) $((40 * mib))"
	is 'scope: the kernel' "$(bytes pr1 memory.min scope) $(bytes pr1 memory.low scope)" "$((24 * mib)) $((40 * mib))"
	is "libvirt's group below it" "$(bytes pr2 memory.min scope libvirt/) $(bytes pr2 memory.low scope libvirt/)" "$((8 * mib)) $((16 * mib))"
	is 'slice: the sum' "$(bytes '' memory.min) $(bytes '' memory.low)" "$((32 * mib)) $((56 * mib))"
	ok 'verify agrees' domtune verify pr1
	systemctl daemon-reload
	is 'daemon-reload: scope' "$(bytes pr1 memory.min scope)" "$((24 * mib))"
	is 'daemon-reload: slice' "$(bytes '' memory.min)" "$((32 * mib))"
	# What is effective is no more than the groups above have.
	systemctl set-property --runtime machine.slice MemoryMin=$mib
	effective=$(domtune status --json pr1 | json '[s["effective"] for s in d["domains"][0]["settings"] if s["knob"] == "memory.min"][0]')
	is 'cut above: status shows what is left' "$effective" $mib
	not_ok 'cut above: verify says no' domtune verify pr1
	systemctl set-property --runtime machine.slice MemoryMin=$((32 * mib))
	ok 'one stops' virsh -q destroy pr1
	is 'slice: what the other asks for' "$(bytes '' memory.min) $(bytes '' memory.low)" "$((8 * mib)) $((16 * mib))"
	ok 'the other is put back while it runs' domtune retune --off pr2
	is 'slice: as it was' "$(cat $slice/memory.min) $(cat $slice/memory.low)" "$had"
	is 'scope: as it was' "$(bytes pr2 memory.min scope) $(bytes pr2 memory.low scope)" '0 0'
	undefine pr1
	undefine pr2
else
	skip 'memory protection' 'needs cgroup v2 and systemd'
fi
is 'at the end the host is as it was' "$(host_state)" "$before"

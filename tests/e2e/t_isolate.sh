# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Isolated guests: who may be on their CPUs and who is, several of them in any order, killed helpers, and all masks and slices
# afterwards byte for byte. Structure only: how late threads wake is what the bench measures.

. "${BASH_SOURCE[0]%/*}/isolation.sh"
cp /etc/domtune/policy.xml /tmp/policy.before-isolate
echo "<policy xmlns='urn:domtune:1'><host deadline='600s' max-dedicated-cpus='100%'/></policy>" >/etc/domtune/policy.xml
tune="<tune><cpu policy='isolated'/><irq policy='all'/></tune>"
inside() { [ -z "$(comm -23 <(expand "$1" | sort) <(expand "$2" | sort))" ]; } # inside LIST LIST
apart() { [ -z "$(comm -12 <(expand "$1" | sort) <(expand "$2" | sort))" ]; }
of_mask() { # of_mask HEX: the list
	python3 -c 'import sys; n = int(sys.argv[1].replace(",", ""), 16); print(",".join(str(i) for i in range(n.bit_length()) if n >> i & 1))' "$1"
}
cores_of() { # cores_of GUEST...: the CPUs that nobody else is to be on, whole cores
	local guest tid cpu
	for guest; do
		for tid in $(tids "$guest" 'CPU '); do
			cpu=$(affinity "$tid")
			expand "$(cat "/sys/devices/system/cpu/cpu$cpu/topology/thread_siblings_list")" | grep -vxF "$(expand "${reserved:-none}" 2>/dev/null)"
		done
	done | sort -nu | paste -sd,
}
vcpus_of() { # vcpus_of GUEST...: the CPUs of its vCPUs alone
	local guest tid
	for guest; do for tid in $(tids "$guest" 'CPU '); do affinity "$tid"; done; done | paste -sd,
}
# local_of GUEST...: where interrupts of its own devices come, which may be siblings of its vCPUs
local_of() {
	local guest
	for guest; do
		domtune plan --json "$guest" |
			json '",".join(s["value"][6:] for s in d["settings"] if s["knob"] == "irq.policy" and s["value"].startswith("local:"))'
	done | grep . | paste -sd,
}
# A NIC has interrupts when it is up.
[ "${DOMTUNE_HOST:-}" != lab ] || lab_nic
# An interrupt that takes its own mask can be moved; what the kernel manages says EIO or EPERM.
movable=
for irq in /proc/irq/[0-9]*; do
	where=$(cat "$irq/smp_affinity_list" 2>/dev/null)
	if [ -n "$where" ] && echo "$where" >"$irq/smp_affinity_list"; then movable+=" ${irq##*/}"; fi 2>/dev/null
done
interrupts_of() { # interrupts_of CPUS: movable ones that may come there
	local irq where
	for irq in $movable; do
		where=$(cat "/proc/irq/$irq/smp_affinity_list" 2>/dev/null) || continue
		apart "$where" "$1" || echo "$irq to $where"
	done
}
# count_on CPUS: "IRQ COUNT" of movable interrupts that have come there
count_on() {
	awk -v list="$(expand "$1" | paste -sd' ')" -v movable="$movable" '
		BEGIN { split(list, l, " "); for (i in l) want["CPU" l[i]]; split(movable, l, " "); for (i in l) wanted[l[i] ":"] }
		NR == 1 { for (i = 1; i <= NF; i++) if ($i in want) column[i + 1]; next }
		$1 in wanted { n = 0; for (i in column) n += $i; print $1, n }' /proc/interrupts | sort
}
# kept_off WHAT GUEST...: nobody who can be elsewhere may be on their cores
kept_off() {
	local slice pid what=$1 cores own irq where
	shift
	cores=$(cores_of "$@") own=$(local_of "$@")
	ok "$what: new interrupts go elsewhere" apart "$(of_mask "$(cat /proc/irq/default_smp_affinity)")" "$cores"
	is "$what: no movable interrupt on the CPUs of vCPUs" "$(interrupts_of "$(vcpus_of "$@")")" ''
	is "$what: on their siblings only those of its own devices" "$(interrupts_of "$cores" | while read -r irq _ where; do
		inside "$where" "${own:-none}" 2>/dev/null || echo "$irq to $where"
	done)" ''
	set -- "$what" "$cores"
	ok "$1: unbound workqueues are elsewhere" apart "$(of_mask "$(cat /sys/devices/virtual/workqueue/cpumask)")" "$2"
	if has_systemd; then
		for slice in $slices; do ok "$1: $slice is elsewhere" apart "$(cat "/sys/fs/cgroup/$slice/cpuset.cpus.effective")" "$2"; done
		for pid in $(noise_pids); do apart "$(affinity "$pid")" "$2" || echo "$pid $(affinity "$pid")"; done >/tmp/still-there
		is "$1: no busy process may run there" "$(cat /tmp/still-there)" ''
	else
		skip "$1: slices and busy processes" 'no systemd here'
	fi
}
nobody_there() { # nobody_there WHAT GUEST: for two seconds only what belongs to the CPU and the guest
	local seen counted vcpus
	vcpus=$(vcpus_of "$2") counted=$(count_on "$vcpus")
	if ! has_systemd; then
		sleep 2
		skip "$1: nobody else ran there" 'no systemd here, so no slices to narrow'
	elif watch_tasks "$(cores_of "$2")"; then
		sleep 2
		# Its own other threads may be on siblings.
		seen=$(tasks_seen | grep -vE "$bound_to_cpu" | grep -vxE "[0-9]+ ($(ls "/proc/$(pid_of "$2")/task" | paste -sd'|')) .*")
		is "$1: nobody else ran there" "$seen" ''
	else
		sleep 2
		skip "$1: nobody else ran there" 'the kernel cannot tell: no trace'
	fi
	if [ "${DOMTUNE_HOST:-}" = private ]; then
		skip "$1: no device interrupt came" 'the masks of interrupts are a copy here'
		return
	fi
	# Where interrupts are not remapped, one more comes to the old CPU and is moved by that (kernel/irq/migration.c).
	is "$1: no device interrupt came, but for a last one" \
		"$(join <(echo "$counted") <(count_on "$vcpus") | awk '$3 > $2 + 1 { print $1, $3 - $2 }')" ''
}

# --- the tool that the bench and the demonstration measure with ---------------------------------------------------------------
line=$("$wakeup" -i 500 -n 50 -c "$online")
is 'wakeup: as many as were asked for' "$(of loops "$line")" 50
ok 'wakeup: quantiles are in order' awk -v v="$(for f in min median p99 p999 max; do of $f "$line"; done | paste -sd' ')" \
	'BEGIN { n = split(v, a, " "); for (i = 2; i <= n; i++) if (a[i] < a[i - 1]) exit 1; exit n != 5 }'
not_ok 'wakeup: a CPU that there is not' "$wakeup" -c 1023 -n 1
not_ok 'wakeup: no list of CPUs' "$wakeup" -c 0- -n 1
ok 'wakeup: ends after so many seconds' test "$(of loops "$("$wakeup" -i 100000 -n 1000 -t 1)")" -lt 1000

before=$(host_state)
masks() { isolation_state; }
original=$(masks)
is 'to be put back first: default_smp_affinity' "$(head -n 1 <<<"$original" | cut -d' ' -f1)" default_smp_affinity
noise_start 2

# --- one -----------------------------------------------------------------------------------------------------------------
define iso1 tune="$tune"
ok 'one: starts' start iso1
# Everything below would fail of that. The line of `started` is the last one.
ok 'one: started' wait_for logged 'iso1 started: '
is 'one: all of it is in force' "$(domtune_log | grep -E 'iso1: .*(timed out|not done|left as it was|failed)' | grep -v 'No such file')" ''
cpus=$(cores_of iso1)
ok 'one: has CPUs of its own' test -n "$cpus"
kept_off 'one' iso1
nobody_there 'one' iso1
ok 'one: verify agrees' domtune verify iso1
like 'one: status shows what became of interrupts' "$(domtune status iso1)" '^ *irq\.policy +- +avoid:'
# Its effective CPUs are without those of partitions below it.
[ ! -e /sys/fs/cgroup/machine.slice/cpuset.cpus ] ||
	is 'one: the group of all guests is not narrowed' "$(cat /sys/fs/cgroup/machine.slice/cpuset.cpus)" ''
group=/sys/fs/cgroup/cpuset/machine
[ ! -d $group ] || ok 'one: the group of all guests is not narrowed' inside "$(affinity "$(vcpu_tid iso1 0)")" "$(cat $group/cpuset.cpus)"
define iso_web tune="<tune profile='balanced'/>"
ok 'one: a shared guest starts beside it' start iso_web
ok 'one: the shared guest is elsewhere' apart "$(affinity "$(vcpu_tid iso_web 0)")" "$cpus"
ok 'one: its emulator too' apart "$(affinity "$(pid_of iso_web)")" "$cpus"
define iso_off tune="<tune profile='off'/>"
ok 'one: an untouched guest starts beside it' start iso_off
virsh -q destroy iso_off
virsh -q destroy iso_web
if has_systemd; then
	systemctl daemon-reload
	kept_off 'daemon-reload' iso1
	is 'daemon-reload: the guest has its CPU' "$(affinity "$(vcpu_tid iso1 0)")" "$(domtune plan --json iso1 | json 'd["placement"]["vcpus"][0]["cpus"]')"
	ok 'daemon-reload: verify agrees' domtune verify iso1
else
	skip 'daemon-reload' 'no systemd here'
fi
restart_libvirtd
kept_off 'libvirtd restarted' iso1
virsh -q destroy iso1
is 'one: put back' "$(masks)" "$original"

# --- two -----------------------------------------------------------------------------------------------------------------
housekeeping=$(($(expand "$online" | wc -l) - $(expand "$reserved" | wc -l)))
if [ $housekeeping -ge 4 ]; then
	# Else it would get the sibling, where there is one: one CPU is all that each asks for.
	define iso2 tune="${tune/policy=/threads=\'isolate\' policy=}"
	for order in 'iso1 iso2' 'iso2 iso1'; do
		first=${order% *} last=${order#* }
		ok "$order: both start" sh -c 'virsh -q start iso1 && virsh -q start iso2'
		kept_off "$order: both" iso1 iso2
		ok "$order: they have different CPUs" apart "$(cores_of iso1)" "$(cores_of iso2)"
		gone=$(cores_of "$first")
		virsh -q destroy "$first"
		kept_off "$order: without $first" "$last"
		ok "$order: new interrupts may come to what $first had" inside "$gone" "$(of_mask "$(cat /proc/irq/default_smp_affinity)")"
		if has_systemd; then ok "$order: so may system.slice" inside "$gone" "$(cat /sys/fs/cgroup/system.slice/cpuset.cpus.effective)"; fi
		virsh -q destroy "$last"
		is "$order: put back" "$(masks)" "$original"
	done
	for guest in iso1 iso2; do start $guest & done
	wait
	kept_off 'at once' iso1 iso2
	for guest in iso1 iso2; do virsh -q destroy $guest & done
	wait
	is 'at once: put back' "$(masks)" "$original"
	undefine iso2
else
	skip 'two isolated guests in any order' "only $housekeeping CPUs are not reserved here"
	skip 'two isolated guests at once' "only $housekeeping CPUs are not reserved here"
fi

# --- killed ---------------------------------------------------------------------------------------------------------------
start iso1
kill -9 "$(pid_of iso1)"
ok 'kill -9 of QEMU: is off' wait_for is_off iso1
is 'kill -9 of QEMU: put back' "$(masks)" "$original"

# The helper that writes is killed after a moment, and no hook runs when the guest ends.
libexec=/usr/libexec/domtune
real=$libexec/qemu-system-apply # a name that AppArmor lets the hook run
for moment in 0.01 0.05 0.2; do
	mv $libexec/apply $real
	cat >$libexec/apply <<-SH
		#!/bin/sh
		$real "\$@" & helper=\$!
		sleep $moment
		kill -9 \$helper
	SH
	chmod 0755 $libexec/apply
	start iso1
	mv -f $real $libexec/apply
	mv /etc/libvirt/hooks/qemu /tmp/hook.away
	virsh -q destroy iso1
	mv /tmp/hook.away /etc/libvirt/hooks/qemu
	# A claim of a start that nobody has seen running is given up when that libvirtd has gone.
	restart_libvirtd
	ok "killed after $moment s: recover" domtune recover
	is "killed after $moment s: put back" "$(masks)" "$original"
	is "killed after $moment s: nothing claimed" "$(domtune status --json | json 'd["host"]["claimed"]')" ''
done

# --- an interrupt that appears while the guest runs ---------------------------------------------------------------------------
noise_stop
spare=$(ip -o link | awk '/52:54:00:1a:b0:02/ { sub(/[@:].*/, "", $2); print $2 }')
if [ "${DOMTUNE_HOST:-}" = lab ] && [ -n "$spare" ]; then
	device=$(basename "$(readlink "/sys/class/net/$spare/device")")
	driver=$(readlink -f "/sys/class/net/$spare/device/driver")
	start iso1
	cpus=$(cores_of iso1)
	echo "$device" >"$driver/unbind"
	echo "$device" >"$driver/bind"
	spare=$(ls "/sys/bus/pci/devices/$device/net")
	ip link set "$spare" up
	for irq in $(nic=$spare nic_irqs); do
		ok "new interrupt $irq is elsewhere" apart "$(cat "/proc/irq/$irq/smp_affinity_list")" "$cpus"
	done
	virsh -q destroy iso1
	ip link set "$spare" down
	echo "$device" >"$driver/unbind"
	echo "$device" >"$driver/bind"
else
	skip 'an interrupt that appears later is elsewhere' 'no device here that may be taken away and given back'
fi

for guest in iso1 iso_web iso_off; do undefine $guest; done
mv /tmp/policy.before-isolate /etc/domtune/policy.xml
[ -z "$(ls $tracing/instances 2>/dev/null | grep domtune-test)" ] || rmdir $tracing/instances/domtune-test
is 'at the end the host is as it was' "$(host_state | grep -v /proc/irq/)" "$(grep -v /proc/irq/ <<<"$before")"

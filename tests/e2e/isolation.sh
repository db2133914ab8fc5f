# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# A noisy host, and who comes to the CPUs of a guest: for demo-isolation, bench/isolation and t_isolate. Sourced after lib.sh.

wakeup=${DOMTUNE_BUILD:-${BASH_SOURCE[0]%/*}/../../build}/wakeup
tracing=/sys/kernel/tracing
slices='system.slice user.slice init.scope'
has_systemd() { [ -d /run/systemd/system ]; }

# --- noise -------------------------------------------------------------------------------------------------------------
# noise_start [BUSY]: until noise_stop: in system.slice and in user.slice BUSY processes each that never sleep (a half of the
# CPUs), and where there are some to be had (the lab's; those of a user are not for tests) readers of an NVMe disk with
# direct I/O and flooding pings through a NIC. Without systemd the processes are children of the shell.
noise=()
background() { # background SLICE COMMAND...
	local unit=noise-$RANDOM$RANDOM slice=$1
	shift
	if has_systemd; then
		systemd-run -q --collect --unit="$unit" --slice="$slice" -p StandardOutput=null -p StandardError=null -- "$@" &&
			noise+=("$unit.service")
	else
		"$@" >/dev/null 2>&1 &
		noise+=($!)
	fi
}
noise_start() {
	local n disk
	for n in $(seq "${1:-$((($(expand "$online" | wc -l) + 1) / 2))}"); do
		background system.slice sh -c 'while :; do :; done'
		background user.slice sh -c 'while :; do :; done'
	done
	[ "${DOMTUNE_HOST:-}" = lab ] || return 0
	for disk in /dev/nvme[0-9]n1; do
		background system.slice sh -c "while :; do dd if=$disk of=/dev/null bs=4k count=4096 iflag=direct; done"
	done
	lab_nic && background system.slice ping -q -f -I "$nic" 192.0.2.1
}
noise_stop() {
	[ ${#noise[@]} != 0 ] || return 0
	if has_systemd; then systemctl kill -s KILL "${noise[@]}"; else
		kill -9 "${noise[@]}"
		wait "${noise[@]}"
	fi 2>/dev/null
	noise=()
}
noise_pids() { # their processes, without the shells' children
	if has_systemd; then systemctl show -P MainPID "${noise[@]}" | grep .; else printf '%s\n' "${noise[@]}"; fi
}
# lab_nic: the lab's vmxnet3, up and with an address, is $nic.
lab_nic() {
	nic=$(ip -o link | awk '/52:54:00:1a:b0:01/ { sub(/[@:].*/, "", $2); print $2 }')
	[ -n "$nic" ] || return 1
	ip address show dev "$nic" | grep -q 'inet ' || { ip address add 192.0.2.77/24 dev "$nic" && ip link set "$nic" up; }
	wait_for ping -q -c 1 -W 1 -I "$nic" 192.0.2.1
}
nic_irqs() { ls "/sys/class/net/$nic/device/msi_irqs"; }

# --- who is there ------------------------------------------------------------------------------------------------------
# irqs_on CPUS: interrupts there since boot: of devices, and of all other kinds (timers, calls between CPUs, ...).
irqs_on() {
	awk -v list="$(expand "$1" | paste -sd' ')" '
		BEGIN { split(list, l, " "); for (i in l) want["CPU" l[i]] }
		NR == 1 { for (i = 1; i <= NF; i++) if ($i in want) column[i + 1]; width = NF; next }
		NF > width { for (i in column) if ($1 ~ /^[0-9]/) devices += $i; else others += $i }
		END { print devices + 0, others + 0 }' /proc/interrupts
}
# irq_names_on CPUS: COUNT NAME of every device interrupt that has ever come there.
irq_names_on() {
	awk -v list="$(expand "$1" | paste -sd' ')" '
		BEGIN { split(list, l, " "); for (i in l) want["CPU" l[i]] }
		NR == 1 { for (i = 1; i <= NF; i++) if ($i in want) column[i + 1]; next }
		$1 ~ /^[0-9]/ { n = 0; for (i in column) n += $i; if (n) print n, $1 $NF }' /proc/interrupts
}
# ran_on CPUS: ns that tasks have run there, and how often one was switched to (schedstat, Documentation/scheduler/sched-stats.rst).
ran_on() {
	awk -v list="$(expand "$1" | paste -sd' ')" 'BEGIN { split(list, l, " "); for (i in l) want["cpu" l[i]] }
		$1 in want { ns += $8; n += $10 } END { printf "%.0f %d\n", ns, n }' /proc/schedstat
}
# group_time TID: ns of CPU time of the thread's group, as version 1 or 2 has it.
group_time() {
	local file
	file=$(group_file "$1" cpuacct cpuacct.usage)
	if [ -r "$file" ]; then cat "$file"; else awk '$1 == "usage_usec" { printf "%.0f\n", $2 * 1000 }' "$(group_file "$1" cpu cpu.stat)"; fi
}
# last_on CPUS: "PID NAME" of every thread that wants to run and was on these CPUs last (field 39 of its stat).
last_on() {
	cat /proc/[0-9]*/task/[0-9]*/stat 2>/dev/null | awk -v list="$(expand "$1" | paste -sd' ')" '
		BEGIN { split(list, l, " "); for (i in l) want[l[i]] }
		{ pid = $1; name = $0; sub(/^[^(]*\(/, "", name); rest = name; sub(/\)[^)]*$/, "", name); sub(/.*\) /, "", rest)
		  split(rest, f, " "); if (f[1] == "R" && f[37] in want) print pid, name }'
}
# watch_tasks CPUS, then tasks_seen: "TIMES PID NAME" of who was switched to on these CPUs between the two: by an instance of
# the kernel's trace of its own; fails where there is no such thing.
watched=
watch_tasks() {
	local cpu word words=() mask=
	watched=$tracing/instances/domtune-test
	[ ! -d "$watched" ] || rmdir "$watched"
	mkdir "$watched" 2>/dev/null && [ -d "$watched/events/sched/sched_switch" ] || { rmdir "$watched" 2>/dev/null; watched=; return 1; }
	for cpu in $(expand "$1"); do
		words[cpu / 32]=$((words[cpu / 32] | 1 << cpu % 32))
		echo 8192 >"$watched/per_cpu/cpu$cpu/buffer_size_kb"
	done
	for word in $(seq 0 $((cpu / 32))); do mask=$(printf '%08x' "${words[word]:-0}")${mask:+,$mask}; done
	echo "$mask" >"$watched/tracing_cpumask"
	echo 1 >"$watched/events/sched/sched_switch/enable"
}
tasks_seen() {
	[ -n "$watched" ] || return 0
	echo 0 >"$watched/tracing_on"
	sed -n 's/.* ==> next_comm=\(.*\) next_pid=\([0-9]*\) .*/\2 \1/p' "$watched/trace" | sort | uniq -c | sed 's/^ *//'
	echo 0 >"$watched/events/sched/sched_switch/enable"
	rmdir "$watched"
}
# What belongs to each CPU alone and cannot be anywhere else: threads of the kernel that are bound to it, and its idle task.
bound_to_cpu='^[0-9]+ [0-9]+ (swapper/|cpuhp/|migration/|ksoftirqd/|kworker/[0-9]+:|idle_inject/|rcuc/|rcuop/|irq_work/|ktimers/)'

# --- in the guest's place ------------------------------------------------------------------------------------------------
# wakes_in GUEST CPUS [OPTION...]: how late a thread wakes in the group of the guest's vCPU 0, on these CPUs.
wakes_in() {
	local group
	group=$(dirname "$(group_file "$(vcpu_tid "$1" 0)" cpuset cgroup.procs)")
	"$wakeup" -g "$group" -c "$2" "${@:3}"
}
of() { sed -n "s/.*\<$1=\([0-9.]*\).*/\1/p" <<<"$2"; } # of FIELD LINE

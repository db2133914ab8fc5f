# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# cpu.policy isolated: the host's own work leaves the guest's core: systemd's slices, unbound kernel work, threads of the
# kernel; where the kernel can, the vCPU's group is a partition. All of it is back when the last guest is gone, in any
# order of stops.

cgroup=/sys/fs/cgroup
workqueue=/sys/devices/virtual/workqueue
units='system.slice user.slice init.scope'
siblings() { cat "/sys/devices/system/cpu/cpu$1/topology/thread_siblings_list"; }
# common LIST LIST: what they have in common, one a line
common() { comm -12 <(expand "$1" | sort) <(expand "$2" | sort); }
apart() { [ -z "$(common "$1" "$2")" ]; }
all_but() { comm -23 <(expand "$online" | sort) <(expand "$1" | sort) | sort -n; } # all_but LIST, one a line
allowed() { systemctl show -p AllowedCPUs --value "$1"; }
# A group without the controller has what there is.
effective() { cat "$cgroup/$1/cpuset.cpus.effective" 2>/dev/null || echo "$online"; }
mask() { # mask FILE: as one CPU a line
	python3 -c 'import sys
m = int(open(sys.argv[1]).read().replace(",", ""), 16)
print("\n".join(str(i) for i in range(m.bit_length()) if m >> i & 1))' "$1"
}
# Threads of the kernel that can be moved, "PID:START:NAME CPUS".
kthreads() {
	python3 - <<-'PY'
		import os
		for pid in sorted(int(p) for p in os.listdir("/proc") if p.isdigit()):
		    try:
		        head, rest = open(f"/proc/{pid}/stat").read().rsplit(")", 1)
		        field = rest.split()
		        if field[1] == "2" and not int(field[6]) & 0x04000000:
		            cpus = ",".join(str(c) for c in sorted(os.sched_getaffinity(pid)))
		            print(f"{pid}:{field[19]}:{head.split('(', 1)[1].replace(' ', '_')} {cpus}")
		    except OSError:
		        pass
	PY
}
# Interrupts' threads go where these go; and any partition, whoever makes it, sends them anywhere until they come again.
# Those that come later are the next start's, or retune's.
kthreads_on() { # kthreads_on LIST: those that may run there; what was bound to its CPU by hand stays
	local name cpus
	join <(cut -d' ' -f1 <<<"$kthreads_before" | sort) <(kthreads | sort) | while read -r name cpus; do
		case $name/$cpus in *:irq/*) ;; *,*) apart "$cpus" "$1" || echo "$name $cpus" ;; esac
	done
}
# Threads that were there before: where they are now.
same_kthreads() { # same_kthreads BEFORE
	local now
	now=$(kthreads | grep -v ':irq/')
	diff <(join <(sort <<<"$1") <(sort <<<"$now") | awk '{ print $1, $2 }') \
		<(join <(sort <<<"$1") <(sort <<<"$now") | awk '{ print $1, $3 }')
}
tasks_state() {
	local u
	for u in $units; do echo "$u '$(allowed $u)' $(effective $u)"; done
	grep -H . $workqueue/cpumask $workqueue/writeback/cpumask
	echo "exclusive '$(cat $cgroup/machine.slice/cpuset.cpus.exclusive 2>/dev/null)'"
}
is_free() { # is_free CPULIST: nothing of the host may run there
	local u
	for u in $units; do apart "$(effective $u)" "$1" || echo "$u: $(effective $u)"; done
	for u in $workqueue/cpumask $workqueue/writeback/cpumask; do
		apart "$(mask $u | paste -sd,)" "$1" || echo "$u: $(cat $u)"
	done
	kthreads_on "$1"
}
cpu_of() { sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f37; } # where it ran last
partition_of() { cat "$(group_file "$(vcpu_tid "$1" 0)" cpuset cpuset.cpus.partition)"; }
why_skipped() { domtune status --json "$1" | json "[s['why'] for s in d['domains'][0]['skipped'] if s['target'] == '$2'][0]"; }

if is_v2 && command -v systemctl >/dev/null && systemctl is-active -q dbus 2>/dev/null; then
	last=$(expand "$online" | tail -n 1)
	core1=$(siblings "$last")
	# shellcheck disable=SC2086
	core2=$(siblings "$(comm -23 <(all_but "$core1" | sort) <(expand "$reserved" | sort) | sort -n | head -n 1)")
	cpu1=$(expand "$core1" | head -n 1)
	define ts1 tune="<tune><cpu policy='isolated' cpus='$core1'/></tune>"
	define ts2 tune="<tune><cpu policy='isolated' cpus='$core2'/></tune>"
	# Once, so that systemd and libvirt have made what they keep.
	define ts0 tune="<tune profile='off'/>"
	start ts0
	undefine ts0
	before=$(host_state) tasks_before=$(tasks_state) kthreads_before=$(kthreads)
	comment <<<"$tasks_before"
	systemd-run -q --unit=dt-hog --slice=system.slice -p Nice=19 taskset -c "$cpu1" sh -c 'while :; do :; done'
	hog=$(systemctl show -p MainPID --value dt-hog)
	is_on() { [ "$(cpu_of "$1")" = "$2" ]; }
	wait_for is_on "$hog" "$cpu1"

	like 'plan: what leaves' "$(domtune plan ts1)" 'system\.slice'
	ok 'isolated guest starts' start ts1
	is 'nothing of the host may run on its core' "$(is_free "$core1")" ''
	for u in $units; do
		is "$u: by systemd" "$(expand "$(allowed $u | tr ' ' ,)")" "$(all_but "$core1")"
	done
	ok 'a busy process of system.slice may not run there' apart "$(affinity "$hog")" "$core1"
	ran=$(cpu_of "$hog")
	ok 'a busy process of system.slice has left' apart "$ran" "$core1"
	like "the guest's vCPU is there" "$(affinity "$(vcpu_tid ts1 0)")" '^[0-9]+$'
	not_ok "the guest's vCPU is of that core" apart "$(affinity "$(vcpu_tid ts1 0)")" "$core1"
	is 'machine.slice is not narrowed' "$(allowed machine.slice)" ''
	if [ -e "$(group_file "$(vcpu_tid ts1 0)" cpuset cpuset.cpus.exclusive)" ]; then
		is 'partition: isolated' "$(partition_of ts1)" isolated
		is 'partition: of the chain' "$(cat $cgroup/machine.slice/cpuset.cpus.exclusive)" "$(affinity "$(vcpu_tid ts1 0)")"
		partitions=1
	else
		like 'partition: why not' "$(why_skipped ts1 partition)" 'Linux 6\.7'
		partitions=
	fi
	ok 'verify agrees' domtune verify ts1
	systemctl daemon-reload
	is 'daemon-reload: nothing comes back' "$(is_free "$core1")" ''
	[ -z "$partitions" ] || is 'daemon-reload: partition' "$(partition_of ts1)" isolated
	ok 'daemon-reload: verify agrees' domtune verify ts1

	ok 'a second one starts' start ts2
	is 'both cores are free' "$(is_free "$core1,$core2")" ''
	[ -z "$partitions" ] || is 'partition: of both' "$(partition_of ts1) $(partition_of ts2)" 'isolated isolated'
	ok 'the first one stops' virsh -q destroy ts1
	is 'its core is back' "$(expand "$(effective system.slice)")" "$(all_but "$core2")"
	is "the second one's is free" "$(is_free "$core2")" ''
	[ -z "$partitions" ] || is 'partition: the second one is left' "$(partition_of ts2) $(cat $cgroup/machine.slice/cpuset.cpus.exclusive)" \
		"isolated $(affinity "$(vcpu_tid ts2 0)")"
	ok 'the first one starts again' start ts1
	is 'both cores are free again' "$(is_free "$core1,$core2")" ''
	ok 'the second one goes before it' virsh -q destroy ts2
	is "the first one's is free" "$(is_free "$core1")" ''
	kill -9 "$(pid_of ts1)"
	wait_for is_off ts1
	wait_for test -z "$(state_files ts1)"
	is 'killed: all is back' "$(tasks_state)" "$tasks_before"
	is 'killed: threads of the kernel' "$(same_kthreads "$kthreads_before")" ''

	ok 'once more' start ts1
	ok 'retune --off' domtune retune --off ts1
	is 'retune --off: all is back while it runs' "$(tasks_state)" "$tasks_before"
	is 'retune --off: threads of the kernel' "$(same_kthreads "$kthreads_before")" ''
	[ -z "$partitions" ] || is 'retune --off: no partition' "$(partition_of ts1)" member
	virsh -q destroy ts1
	systemctl stop dt-hog

	# What an administrator has set stays the limit, and comes back.
	systemctl set-property --runtime system.slice AllowedCPUs="0-$((last - 1))"
	theirs=$(allowed system.slice)
	ok 'beside an administrator' start ts1
	is 'his limit holds' "$(expand "$(effective system.slice)")" "$(all_but "$core1,$last")"
	like 'plan says so' "$(domtune status --json ts1)" 'somebody keeps it on'
	virsh -q destroy ts1
	is 'his limit is back' "$(allowed system.slice)" "$theirs"
	systemctl set-property --runtime system.slice AllowedCPUs=
	[ ! -e $cgroup/system.slice/cpuset.cpus ] || echo "$online" >$cgroup/system.slice/cpuset.cpus
	undefine ts1
	undefine ts2
	is 'at the end the tasks are as they were' "$(tasks_state)" "$tasks_before"
else
	before=$(host_state)
	skip 'host tasks' 'needs cgroup v2 and systemd'
fi
is 'at the end the host is as it was' "$(host_state)" "$before"

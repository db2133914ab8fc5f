# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Scheduling of vCPU threads: one real-time vCPU on a CPU of its own, never more, so that the host keeps the others.

sched_of() { chrt -p "$1" | awk -F': ' '{ print $2 }' | paste -sd' '; } # sched_of TID: "SCHED_FIFO 1"
why_skipped() { domtune status --json "$1" | json "[s['why'] for g in d['domains'] for s in g['skipped'] if s['knob'] == '$2']"; }
setting() { domtune status --json "$1" | json "[s['effective'] for g in d['domains'] for s in g['settings'] if s['knob'] == '$2']"; }
# What groups of v1 may use, where the kernel counts that (CONFIG_RT_GROUP_SCHED): the domain's and those above it.
budget() { group_file "$(vcpu_tid "$1" 0)" cpu cpu.rt_runtime_us "${2:-}"; }
machine_budget=/sys/fs/cgroup/cpu/machine/cpu.rt_runtime_us

if [ "$(expand "$online" | wc -l)" -lt 2 ]; then
	skip 'scheduling of vCPUs' 'one CPU only'
	return 0
fi
before=$(host_state)

# --- on any CPU: batch ----------------------------------------------------------------------------------------------------
define rt_batch vcpus=2 tune="<tune profile='balanced'><cpu scheduler='batch' priority='3'/></tune>"
ok 'batch: starts' start rt_batch
is 'batch: vCPU 0' "$(sched_of "$(vcpu_tid rt_batch 0)")" 'SCHED_BATCH 0'
is 'batch: vCPU 1' "$(sched_of "$(vcpu_tid rt_batch 1)")" 'SCHED_BATCH 0'
is 'batch: not the emulator' "$(sched_of "$(pid_of rt_batch)")" 'SCHED_OTHER 0'
like 'batch: has no priority' "$(why_skipped rt_batch cpu.priority)" 'only fifo and rr'
ok 'batch: verify agrees' domtune verify rt_batch
renice -n 5 -p "$(vcpu_tid rt_batch 0)" >/dev/null
ok 'batch: undone' domtune retune --off rt_batch
is 'batch: as it was' "$(sched_of "$(vcpu_tid rt_batch 0)")" 'SCHED_OTHER 0'
is 'batch: nice is its own' "$(ps -L -o tid=,ni= -p "$(pid_of rt_batch)" | awk -v tid="$(vcpu_tid rt_batch 0)" '$1 == tid { print $2 }')" 5
undefine rt_batch

# --- where nothing is claimed ---------------------------------------------------------------------------------------------
define rt_float tune="<tune profile='balanced'><cpu scheduler='fifo'/></tune>"
ok 'fifo on shared CPUs: starts' start rt_float
like 'fifo on shared CPUs: is not given' "$(why_skipped rt_float cpu.scheduler)" 'claims none'
is 'fifo on shared CPUs: stays ordinary' "$(sched_of "$(vcpu_tid rt_float 0)")" 'SCHED_OTHER 0'
undefine rt_float
define rt_float tune="<tune profile='balanced' on-error='fail'><cpu scheduler='fifo'/></tune>"
not_ok 'fifo on shared CPUs: on-error fail refuses' start rt_float
undefine rt_float

# --- on a claimed CPU -----------------------------------------------------------------------------------------------------
define rt_fifo tune="<tune><cpu policy='dedicated' scheduler='fifo' priority='2'/></tune>"
ok 'fifo: starts' start rt_fifo
cpu=$(affinity "$(vcpu_tid rt_fifo 0)")
like 'fifo: on one CPU' "$cpu" '^[0-9]+$'
if [ "$(cat "$(budget rt_fifo)" 2>/dev/null)" = 0 ]; then
	# Seen before the kernel refuses it, and said what helps.
	like 'fifo: its group has no budget' "$(why_skipped rt_fifo cpu.scheduler)" 'cpu\.rt_runtime_us 0'
	is 'fifo: stays ordinary' "$(sched_of "$(vcpu_tid rt_fifo 0)")" 'SCHED_OTHER 0'
	not_ok 'fifo: no line of an error' logged 'rt_fifo.*Operation not permitted'
	echo 200000 >"$machine_budget" && echo 150000 >"$(budget rt_fifo up)" && echo 100000 >"$(budget rt_fifo)"
	ok 'fifo: with a budget, by retune' domtune retune rt_fifo
fi
is 'fifo: vCPU' "$(sched_of "$(vcpu_tid rt_fifo 0)")" 'SCHED_FIFO 2'
is 'fifo: status' "$(setting rt_fifo cpu.scheduler)" "['fifo']"
is 'fifo: its emulator is ordinary' "$(sched_of "$(pid_of rt_fifo)")" 'SCHED_OTHER 0'
ok 'fifo: the guest is up' wait_for is_up rt_fifo
ok 'fifo: verify agrees' domtune verify rt_fifo
chrt -o -p 0 "$(vcpu_tid rt_fifo 0)"
not_ok 'fifo: verify sees that somebody has changed it' domtune verify rt_fifo
chrt -f -p 2 "$(vcpu_tid rt_fifo 0)"
restart_libvirtd
is 'fifo: libvirtd restarts' "$(sched_of "$(vcpu_tid rt_fifo 0)")" 'SCHED_FIFO 2'
like 'plan: what the host lacks' "$(domtune plan --live rt_fifo)" 'not made for realtime'
not_ok 'plan: which no start logs' logged 'rt_fifo.*not made for realtime'
ok 'fifo: undone' domtune retune --off rt_fifo
is 'fifo: as it was' "$(sched_of "$(vcpu_tid rt_fifo 0)")" 'SCHED_OTHER 0'
ok 'fifo: and on again' domtune retune rt_fifo
is 'fifo: again' "$(sched_of "$(vcpu_tid rt_fifo 0)")" 'SCHED_FIFO 2'
virsh -q metadata rt_fifo --uri urn:domtune:1 --key domtune --set "<tune><cpu policy='dedicated' scheduler='rr' priority='1'/></tune>" --config
ok 'rr: by retune' domtune retune rt_fifo
is 'rr: vCPU' "$(sched_of "$(vcpu_tid rt_fifo 0)")" 'SCHED_RR 1'
virsh -q metadata rt_fifo --uri urn:domtune:1 --key domtune --set "<tune profile='balanced'/>" --config
ok 'shared again' domtune retune rt_fifo
is 'shared again: ordinary' "$(sched_of "$(vcpu_tid rt_fifo 0)")" 'SCHED_OTHER 0'
undefine rt_fifo
[ ! -e "$machine_budget" ] || echo 0 >"$machine_budget"

# --- core scheduling: as far as this kernel has it -------------------------------------------------------------------------
define rt_core tune="<tune><cpu core-scheduling='yes'/></tune>"
ok 'core scheduling: starts' start rt_core
ok 'core scheduling: the guest is up' wait_for is_up rt_core
like 'core scheduling: in force, or why not' "$(domtune status rt_core)" \
	'core-scheduling +- +yes +yes|no core scheduling|one thread each'
undefine rt_core
is 'scheduling: the host is as it was' "$(host_state)" "$before"

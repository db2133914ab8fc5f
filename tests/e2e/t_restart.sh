# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# libvirtd restarts under running guests: reconnect.

before=$(host_state)

define rec1 tune="<tune profile='latency'/>"
start rec1
cpu=$(affinity "$(vcpu_tid rec1 0)")
restart_libvirtd
is 'restart: the guest is still there' "$(virsh domstate rec1 | head -n 1)" running
is 'restart: still placed' "$(affinity "$(vcpu_tid rec1 0)")" "$cpu"
ok 'restart: verify agrees' domtune verify rec1

# a setting that was lost, so that the value before ours is back, is repaired; any other value is somebody's choice
is 'restart: the cpuset is still ours' "$(cpuset_of "$(vcpu_tid rec1 0)")" "$cpu"
before_us=$online
if is_v2; then before_us=''; fi
if meddle rec1 "$before_us" 2>/dev/null; then
	restart_libvirtd
	is_repaired() { [ "$(cpuset_of "$(vcpu_tid rec1 0)")" = "$cpu" ]; }
	ok 'restart: what was lost is repaired' wait_for is_repaired
else
	skip 'restart: what was lost is repaired' "this kernel does not empty a cpuset with tasks"
fi
other=$(expand "$online" | grep -vx "$cpu" | head -n 1)
meddle rec1 "$other"
restart_libvirtd
# libvirtd answers before it has called the hook for each guest.
ok 'restart: what somebody else chose is told' wait_for logged "rec1.*cpuset.cpus.*$other"
is 'restart: and stays' "$(cpuset_of "$(vcpu_tid rec1 0)")" "$other"
ok 'destroy' virsh -q destroy rec1
is 'no state left' "$(state_files rec1)" ''

# a guest that was running before domtune was installed
mv /etc/libvirt/hooks/qemu /tmp/hook.away
restart_libvirtd
start rec1
is 'without the hook: not placed' "$(affinity "$(vcpu_tid rec1 0)")" "$online"
put_back() { mv /tmp/hook.away /etc/libvirt/hooks/qemu; }
restart_libvirtd put_back
is 'hook installed: the guest is still there' "$(virsh domstate rec1 | head -n 1)" running
has_state() { [ -n "$(state_files "$1")" ]; }
ok 'hook installed: adopted' wait_for has_state rec1
ok 'adopted: destroy' virsh -q destroy rec1
is 'adopted: no state left' "$(state_files rec1)" ''

# the guest ends while libvirtd is down: no release ever comes for it by itself
start rec1
ends() { kill -9 "$(pid_of rec1)"; sleep 0.5; }
restart_libvirtd ends
wait_for is_off rec1
define rec2
start rec2
is 'a guest that ended unseen: its claim is gone' "$(state_files rec1)" ''
virsh -q destroy rec2

undefine rec1
undefine rec2
is 'at the end the host is as it was' "$(host_state)" "$before"

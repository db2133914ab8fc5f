# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Every way a guest can end, at every stage: nothing is left behind.

before=$(host_state)
tune="<tune profile='latency'/>"
gone() { # gone WHAT NAME
	ok "$1: is off" wait_for is_off "$2"
	is "$1: no state left" "$(state_files "$2")" ''
	is "$1: nothing claimed" "$(domtune status --json | json 'd["host"]["claimed"]')" ''
}

define end1 tune="$tune"
start end1 && virsh -q destroy end1
gone 'destroy' end1

start end1 && wait_for is_up end1
ok 'power button' virsh -q shutdown end1
gone 'guest powers off' end1

start end1
kill -9 "$(pid_of end1)"
gone 'kill -9 of QEMU' end1

start end1
cpu=$(affinity "$(vcpu_tid end1 0)")
virsh -q reset end1
is 'reset: still tuned' "$(affinity "$(vcpu_tid end1 0)")" "$cpu"
virsh -q suspend end1 && virsh -q resume end1
is 'suspend and resume: still tuned' "$(affinity "$(vcpu_tid end1 0)")" "$cpu"
virsh -q destroy end1

ok 'paused start' virsh -q start --paused end1
is 'paused start: tuned' "$(affinity "$(vcpu_tid end1 0)")" "$cpu"
virsh -q destroy end1
gone 'destroy of a paused guest' end1

# --- failed starts ------------------------------------------------------------------------------------------------
mv "$images/end1.img" "$images/end1.away"
not_ok 'disk missing: does not start' start end1
gone 'disk missing' end1
mv "$images/end1.away" "$images/end1.img"

define end1 tune="$tune" devices="<memory model='dimm'/>" 2>/dev/null # refused by libvirt: the old definition stays
# An argument that QEMU refuses: it ends after exec, before `started`.
guest end1 tune="$tune" >/tmp/end1.xml
sed -i "s|<domain type='qemu'>|<domain type='qemu' xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>|;
	s|</domain>|<q:commandline><q:arg value='-no-such-option'/></q:commandline></domain>|" /tmp/end1.xml
virsh -q define /tmp/end1.xml
not_ok 'QEMU refuses its arguments: does not start' start end1
gone 'QEMU refuses its arguments' end1
define end1 tune="$tune"

# Another script in qemu.d fails at each stage, after us.
mkdir -p /etc/libvirt/hooks/qemu.d
for stage in prepare start started; do
	printf '#!/bin/sh\n[ "$2" != %s ] || { echo no >&2; exit 1; }\n' $stage >/etc/libvirt/hooks/qemu.d/90-fails
	chmod 0755 /etc/libvirt/hooks/qemu.d/90-fails
	not_ok "another hook fails in $stage: does not start" start end1
	gone "another hook fails in $stage" end1
done
rm -f /etc/libvirt/hooks/qemu.d/90-fails

# --- killed helpers -----------------------------------------------------------------------------------------------
# A prepare that was killed leaves a plan; the next start must not use it, and nobody else's CPUs are held for it.
mv /usr/libexec/domtune/apply /usr/libexec/domtune/apply.away
printf '#!/bin/sh\nkill -9 $$\n' >/usr/libexec/domtune/apply
chmod 0755 /usr/libexec/domtune/apply
ok 'apply is killed at once: the guest starts' start end1
mv -f /usr/libexec/domtune/apply.away /usr/libexec/domtune/apply
ok 'apply is back: destroy' virsh -q destroy end1
gone 'apply killed' end1

mv /usr/libexec/domtune/decide /usr/libexec/domtune/decide.away
printf '#!/bin/sh\nsleep 1000\n' >/usr/libexec/domtune/decide
chmod 0755 /usr/libexec/domtune/decide
cp /etc/domtune/policy.xml /tmp/policy.kept
echo '<policy xmlns="urn:domtune:1"><host deadline="500ms"/></policy>' >/etc/domtune/policy.xml
ok 'decide hangs: the guest starts' start end1
is 'decide hangs: not tuned' "$(affinity "$(vcpu_tid end1 0)")" "$online"
virsh -q destroy end1
mv -f /usr/libexec/domtune/decide.away /usr/libexec/domtune/decide
mv -f /tmp/policy.kept /etc/domtune/policy.xml
gone 'decide hung' end1

# The hook is not there at the end: the next domain's hook call finds the dead claim.
start end1
mv /etc/libvirt/hooks/qemu /tmp/hook.away
virsh -q destroy end1
ok 'hook missing at release: a claim is left' test -n "$(state_files end1)"
mv /tmp/hook.away /etc/libvirt/hooks/qemu
define end2
start end2
is 'the next hook call undoes a dead claim' "$(state_files end1)" ''
virsh -q destroy end2
undefine end2

start end1
mv /etc/libvirt/hooks/qemu /tmp/hook.away
virsh -q destroy end1
mv /tmp/hook.away /etc/libvirt/hooks/qemu
ok 'recover' domtune recover
gone 'recover' end1

undefine end1
is 'at the end the host is as it was' "$(host_state)" "$before"

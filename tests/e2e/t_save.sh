# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Saved images do not depend on us: the RAM stream fits in both directions.

before=$(host_state)
for node in /sys/devices/system/node/node[0-9]*; do set_pages "${node##*node}" 48; done
tune="<tune profile='latency'><memory pages='2M'/></tune>"
huge() { grep -c memfd:memory-backend-memfd /proc/"$(pid_of "$1")"/smaps; }
is_placed() { [ "$(affinity "$(vcpu_tid "$1" 0)" | tr -d 0-9)" = '' ]; }

define sav1 tune="$tune"
start sav1 && wait_for is_up sav1
is 'before: on huge pages' "$(huge sav1)" 1
ok 'managedsave' virsh -q managedsave sav1
is 'managedsave: no state left' "$(state_files sav1)" ''
ok 'start from it' start sav1
is 'start from it: on huge pages' "$(huge sav1)" 1
ok 'start from it: placed' is_placed sav1
virsh -q destroy sav1

# huge -> plain: without pages in the pool, and none may be added
start sav1 && wait_for is_up sav1
ok 'save with huge pages' virsh -q save sav1 /tmp/sav1.save
for node in /sys/devices/system/node/node[0-9]*; do set_pages "${node##*node}" 0; done
cp /etc/domtune/policy.xml /tmp/policy.kept
echo '<policy xmlns="urn:domtune:1"><host deadline="120s" max-hugepages="1MiB"/></policy>' >/etc/domtune/policy.xml
ok 'restore without' virsh -q restore /tmp/sav1.save
is 'restored on ordinary pages' "$(huge sav1)" 0
virsh -q shutdown sav1
ok 'the restored guest runs: it sees the power button' wait_for is_off sav1

# plain -> huge
start sav1 && wait_for is_up sav1
ok 'save with ordinary pages' virsh -q save sav1 /tmp/sav1.save
mv -f /tmp/policy.kept /etc/domtune/policy.xml
for node in /sys/devices/system/node/node[0-9]*; do set_pages "${node##*node}" 48; done
ok 'restore with huge pages' virsh -q restore /tmp/sav1.save
is 'restored on huge pages' "$(huge sav1)" 1
virsh -q shutdown sav1
ok 'the restored guest runs' wait_for is_off sav1

# saved under us, restored without us
start sav1 && wait_for is_up sav1
ok 'save' virsh -q save sav1 /tmp/sav1.save
domtune disable
ok 'restore while domtune is disabled' virsh -q restore /tmp/sav1.save
is 'disabled: ordinary pages' "$(huge sav1)" 0
domtune enable
virsh -q destroy sav1

# the filter prints nothing, so nothing is tainted
not_ok 'no taint by a hook script' grep -rq 'tainted: hook-script' /var/log/libvirt/

undefine sav1
rm -f /tmp/sav1.save
for node in /sys/devices/system/node/node[0-9]*; do set_pages "${node##*node}" 0; done
is 'at the end the host is as it was' "$(host_state)" "$before"

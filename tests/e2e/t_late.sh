# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What comes after a guest has started: vCPUs that are plugged in, threads that are made when there is work for them. A
# helper looks for them for two minutes, `domtune retune` at any time later.

before=$(host_state)
cp /etc/domtune/policy.xml /tmp/policy.before-late
echo "<policy xmlns='urn:domtune:1'><host deadline='120s' grow-deadline='60s' max-dedicated-cpus='100%'/></policy>" \
	>/etc/domtune/policy.xml

helpers() { pgrep -f "^/usr/libexec/domtune/apply linger $(uuid_of "$1") " || :; } # of a guest
has_helper() { [ -n "$(helpers "$1")" ]; }
has_none() { ! has_helper "$1"; }
two_vcpus() { # two_vcpus NAME WORD...: one vCPU, and room for another one
	local name=$1 xml
	define "$@" vcpus=2
	xml=$(mktemp)
	virsh dumpxml --inactive "$name" | sed -E "s#<vcpu [^>]*>2</vcpu>#<vcpu current='1'>2</vcpu>#" >"$xml"
	virsh -q define "$xml"
	rm -f "$xml"
}
has_vcpu() { [ -n "$(vcpu_tid "$1" "$2")" ]; }
is_at() { [ "$(affinity "$(vcpu_tid "$1" "$2")")" = "$3" ]; } # is_at NAME VCPU CPULIST
is_alone() { [ "$(expand "$(affinity "$(vcpu_tid "$1" "$2")")" | wc -l)" = 1 ]; }
recorded() { grep -q "/$2:[0-9]*/affinity" "/run/domtune/undo/$(uuid_of "$1")"; } # recorded NAME TID

# --- the helper itself ---------------------------------------------------------------------------------------------
two_vcpus late1 tune="<tune profile='latency'/>"
ok 'starts' start late1
ok 'a helper is left behind' wait_for has_helper late1
helper=$(helpers late1)
is 'one' "$(wc -w <<<"$helper")" 1
is 'it is nobody'\''s child' "$(awk '/^PPid/ { print $2 }' "/proc/$helper/status")" 1
not_ok 'its session is not libvirtd'\''s' \
	test "$(ps -o sid= -p "$helper")" = "$(ps -o sid= -p "$(cat /run/libvirtd.pid /run/libvirt/virtqemud.pid 2>/dev/null | head -n 1)")"
is 'it has nothing open but /dev/null and the process' \
	"$(for fd in /proc/"$helper"/fd/*; do readlink "$fd"; done | grep -vE 'anon_inode:.?pidfd' | sort | uniq -c | sed 's/^ *//')" "1 /
3 /dev/null"
is 'it runs where the emulator does' "$(affinity "$helper")" "$(affinity "$(pid_of late1)")"
ok 'its memory is small' test "$(awk '/^VmHWM/ { print $2 }' "/proc/$helper/status")" -lt 2560
awk '/^VmHWM|^RssAnon/' "/proc/$helper/status" | comment

# --- a vCPU of a dedicated guest --------------------------------------------------------------------------------------
ok 'dedicated: one CPU' is_alone late1 0
ok 'dedicated: a vCPU is plugged in' virsh -q setvcpus late1 2 --live
ok 'dedicated: it is there' wait_for has_vcpu late1 1
if [ $(($(expand "$online" | wc -l) - $(expand "$reserved" | wc -l))) -ge 2 ]; then
	ok 'dedicated: it gets a CPU of its own' wait_for is_alone late1 1
	not_ok 'dedicated: not that of the first one' is_at late1 1 "$(affinity "$(vcpu_tid late1 0)")"
	like 'dedicated: both are claimed' "$(domtune status --json | json 'len(d["domains"][0]["placement"]["vcpus"])')" 2
	ok 'dedicated: verify agrees' wait_for domtune verify late1
else
	# Decided again, it has no CPU of its own any more: both share what is there, which still is not the reserved one.
	on_one() { is_at late1 1 "$(affinity "$(vcpu_tid late1 0)")" && ! is_at late1 1 "$online"; }
	if [ "$reserved" ]; then ok 'dedicated: both share the CPU that is left' wait_for on_one; fi
	skip 'dedicated: it gets a CPU of its own' 'too few CPUs here'
fi
ok 'destroy' virsh -q destroy late1
ok 'the helper ends with its guest' wait_for has_none late1
is 'no state left' "$(state_files late1)" ''

# --- a vCPU of a guest that floats, and a worker of vhost's name -------------------------------------------------------
# The reserved CPUs are where a floating guest is not: what is plugged in comes up on all of them.
echo "<policy xmlns='urn:domtune:1'><host deadline='120s'/></policy>" >/etc/domtune/policy.xml
# Where AppArmor's profile of a guest lets libraries be.
library=/usr/lib/$(gcc -print-multiarch)/libdomtune-worker.so
gcc -D_GNU_SOURCE -Wall -shared -fPIC -O1 -o "$library" "${BASH_SOURCE[0]%/*}/worker.c" -lpthread
rm -f /tmp/worker.{1,2}
preload="<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\
<qemu:env name='LD_PRELOAD' value='$library'/><qemu:env name='DOMTUNE_WORKER' value='/tmp/worker'/></qemu:commandline>"
two_vcpus late2 tune="<tune profile='balanced'><cpu emulator='$online'/></tune>" top="$preload"
ok 'shared: starts' start late2
home=$(affinity "$(vcpu_tid late2 0)")
ok 'shared: a helper is left behind' wait_for has_helper late2
ok 'shared: a vCPU is plugged in' virsh -q setvcpus late2 2 --live
ok 'shared: it is there' wait_for has_vcpu late2 1
ok 'shared: it floats with the first one' wait_for is_at late2 1 "$home"
ok 'shared: verify agrees' wait_for domtune verify late2

# Of QEMU's threads it inherits where they are; who has it run elsewhere is put right with the next one that comes.
workers() { [ "$(tids late2 vhost- | wc -l)" = "$1" ]; }
one_cpu=${home%%[,-]*}
: >/tmp/worker.1
ok 'vhost: a worker comes' wait_for workers 1
worker=$(tids late2 vhost-)
taskset -pc "$one_cpu" "$worker" >/dev/null
is 'vhost: it is not where the emulator is' "$(affinity "$worker")" "$one_cpu"
: >/tmp/worker.2
is_released() { [ "$(affinity "$1")" = "$online" ]; }
ok 'vhost: another one comes' wait_for workers 2
ok 'vhost: both are where the emulator is' wait_for is_released "$worker"
[ "$one_cpu" = "$online" ] || ok 'vhost: it is on record' wait_for recorded late2 "$worker"
ok 'verify agrees with all that came' wait_for domtune verify late2

# --- killed, it costs nothing: retune does the same --------------------------------------------------------------------
kill -9 "$(helpers late2)"
ok 'killed: it is gone' wait_for has_none late2
virsh -q destroy late2
rm -f /tmp/worker.{1,2}
ok 'killed: the guest starts again' start late2
ok 'killed: with a new helper' wait_for has_helper late2
kill -9 "$(helpers late2)"
virsh -q setvcpus late2 2 --live
wait_for has_vcpu late2 1
: >/tmp/worker.1
wait_for workers 1
worker=$(tids late2 vhost-)
taskset -pc "$one_cpu" "$worker" >/dev/null
ok 'killed: retune' domtune retune late2
is 'killed: the vCPU is placed by it' "$(affinity "$(vcpu_tid late2 1)")" "$home"
is 'killed: and the worker' "$(affinity "$worker")" "$online"

# --- domtune-watch -----------------------------------------------------------------------------------------------------
# Started as its unit does, where there is no systemd by hand; the guest has no helper any more.
virsh -q destroy late2
rm -f /tmp/worker.{1,2}
start late2
wait_for has_helper late2
kill -9 "$(helpers late2)"
if [ "${DOMTUNE_HOST:-}" = private ]; then
	/usr/libexec/domtune/watch </dev/null >/tmp/watch.log 2>&1 &
	watch=$!
else
	ok 'watch: the unit starts' systemctl start domtune-watch.service
	watch=$(systemctl show -P MainPID domtune-watch.service)
fi
ok 'watch: connected' wait_for logged 'watch: connected'
ok 'watch: a vCPU is plugged in' virsh -q setvcpus late2 2 --live
ok 'watch: it is placed' wait_for is_at late2 1 "$home"
virsh -q metadata late2 urn:domtune:1 --key domtune --config \
	--set "<tune profile='off'/>" >/dev/null
is_free() { [ "$(affinity "$(vcpu_tid late2 0)")" = "$online" ]; }
ok 'watch: an annotation that says off is followed' wait_for is_free
virsh -q metadata late2 urn:domtune:1 --key domtune --config --set "<tune profile='balanced'/>" >/dev/null
ok 'watch: and one that says balanced' wait_for is_at late2 1 "$home"
# While there is no daemon it waits, and does not have it started.
restart_libvirtd
connections() { domtune_log | grep -c 'watch: connected'; }
again() { [ "$(connections)" -ge 2 ]; }
ok 'watch: connects again after a restart of libvirtd' wait_for again
ok 'watch: it is still the same process' kill -0 "$watch"
ticks() { awk '{ print $14 + $15 }' "/proc/$watch/stat"; }
used=$(ticks)
sleep 5
ok 'watch: it does next to nothing' test $(($(ticks) - used)) -le 10
if [ "${DOMTUNE_HOST:-}" = private ]; then kill "$watch" && wait "$watch"; else systemctl stop domtune-watch.service; fi
is 'watch: ends when told to' "$?" 0

# --- off --------------------------------------------------------------------------------------------------------------
virsh -q destroy late2
rm -f /tmp/worker.{1,2}
touch /etc/domtune/disabled
start late2
is 'host switch off: no helper' "$(helpers late2)" ''
rm /etc/domtune/disabled
virsh -q destroy late2

undefine late1
undefine late2
rm -f "$library" /tmp/worker.{1,2}
mv /tmp/policy.before-late /etc/domtune/policy.xml
is 'late: at the end the host is as it was' "$(host_state)" "$before"

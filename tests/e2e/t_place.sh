# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Placement while guests come and go: shared guests give way and come back, pools grow and shrink, memory is where the
# CPUs are, and what is contended is given once.

cp /etc/domtune/policy.xml /tmp/policy.before-place
policy() { # policy ATTRIBUTES of <host>; a slow machine must not make a test fail
	echo "<policy xmlns='urn:domtune:1'><host deadline='120s' grow-deadline='60s' $*/></policy>" >/etc/domtune/policy.xml
}
in_list() { expand "$2" | grep -qx "$1"; } # in_list CPU CPULIST
inside() { [ -z "$(comm -23 <(expand "$1" | sort) <(expand "$2" | sort))" ]; } # inside LIST LIST
apart() { [ -z "$(comm -12 <(expand "$1" | sort) <(expand "$2" | sort))" ]; }
node_of() { local n; n=$(echo /sys/devices/system/cpu/cpu"$1"/node*); echo "${n##*node}"; } # node_of CPU
nodes() { local n; for n in /sys/devices/system/node/node[0-9]*; do echo "${n##*node}"; done; }
all_pages() { local n; for n in $(nodes); do pages "$n" nr; done | paste -sd' '; } # of each node
free_everywhere() { local n; for n in $(nodes); do pages "$n" free; done | awk '{ s += $1 } END { print s }'; }
ram() { grep -E "${2:-memory-backend-memfd}" "/proc/$(pid_of "$1")/numa_maps"; } # guest RAM on huge pages
claimed() { domtune status --json | json 'd["host"]["claimed"]'; }
shares_of() { affinity "$(vcpu_tid "$1" 0)"; }
huge="<tune profile='latency'><memory pages='2M'/></tune>"

for n in $(nodes); do set_pages "$n" 0; done
before=$(host_state)

# --- a shared guest gives way before a dedicated one runs, and comes back -------------------------------------------------
policy "max-dedicated-cpus='100%'"
pinned=$(expand "$online" | head -n 1) # an I/O thread with a list of its own stays there whatever moves
define pl_web vcpus=2 iothreads=1 tune="<tune profile='balanced'><cpu iothreads='$pinned'/></tune>"
ok 'shared: starts' start pl_web
home=$(shares_of pl_web)
ok 'shared: not on reserved CPUs' apart "$home" "$reserved"
like 'shared: I/O thread on its list' "$(affinity "$(tids pl_web 'IO iothread1')")" "^$pinned\$"
at_home() { [ "$(shares_of pl_web)" = "$home" ] && [ "$(affinity "$(vcpu_tid pl_web 1)")" = "$home" ]; }

# Another script of the prepare phase, after ours: what the kernel says before there is a QEMU.
mkdir -p /etc/libvirt/hooks/qemu.d
cat >/etc/libvirt/hooks/qemu.d/90-look <<-SH
	#!/bin/sh
	[ "\$1 \$2" = 'pl_ded prepare' ] || exit 0
	awk '/^Cpus_allowed_list/ { print \$2 }' /proc/$(vcpu_tid pl_web 0)/status >/tmp/at-prepare
	exit 0
SH
chmod 0755 /etc/libvirt/hooks/qemu.d/90-look
define pl_ded iothreads=1 tune="<tune profile='latency'><cpu cpus='$home'/></tune>"
ok 'dedicated: starts beside it' start pl_ded
cpu=$(shares_of pl_ded)
like 'dedicated: one CPU' "$cpu" '^[0-9]+$'
ok 'dedicated: of those where the shared guest was' in_list "$cpu" "$home"
now=$(shares_of pl_web)
not_ok 'shared: has left that CPU' in_list "$cpu" "$now"
is 'shared: had left it before QEMU ran' "$(cat /tmp/at-prepare 2>/dev/null)" "$now"
is 'shared: all vCPUs' "$(affinity "$(vcpu_tid pl_web 1)")" "$now"
not_ok 'shared: the emulator too' in_list "$cpu" "$(affinity "$(pid_of pl_web)")"
is 'shared: cpuset and affinity agree' "$(cpuset_of "$(vcpu_tid pl_web 0)")" "$now"
if [ "$home" = "$cpu" ]; then is 'shared: nothing was left, it is on the reserved CPUs' "$now" "$reserved"; else
	ok 'shared: stays within what it had' inside "$now" "$home"
fi
is 'shared: the I/O thread is still on its list' "$(affinity "$(tids pl_web 'IO iothread1')")" "$pinned"
not_ok 'dedicated: its emulator is elsewhere' in_list "$cpu" "$(affinity "$(pid_of pl_ded)")"
ok 'verify agrees with both' sh -c 'domtune verify pl_web && domtune verify pl_ded'
is 'status: claimed' "$(claimed)" "$cpu"
ok 'dedicated: destroyed' virsh -q destroy pl_ded
is 'shared: is back' "$(shares_of pl_web)" "$home"
ok 'shared: with all vCPUs' at_home
is 'shared: the I/O thread is on its list' "$(affinity "$(tids pl_web 'IO iothread1')")" "$pinned"
ok 'shared: verify agrees' domtune verify pl_web

# --- a dedicated guest that dies ------------------------------------------------------------------------------------------
start pl_ded
not_ok 'dies: the shared guest has given way' at_home
kill -9 "$(pid_of pl_ded)"
ok 'dies: is off' wait_for is_off pl_ded
ok 'dies: the shared guest is back' wait_for at_home
start pl_ded
mv /etc/libvirt/hooks/qemu /tmp/hook.away
kill -9 "$(pid_of pl_ded)"
ok 'dies unseen: is off' wait_for is_off pl_ded
mv /tmp/hook.away /etc/libvirt/hooks/qemu
not_ok 'dies unseen: nobody has noticed yet' at_home
define pl_other tune="<tune profile='balanced'/>"
start pl_other
ok 'dies unseen: the next call brings the shared guest back' at_home
is 'dies unseen: no state left' "$(state_files pl_ded)" ''
virsh -q destroy pl_other
undefine pl_other
rm -f /etc/libvirt/hooks/qemu.d/90-look

# --- retune --------------------------------------------------------------------------------------------------------------
ok 'retune: nothing has changed' domtune retune pl_web
ok 'retune: nobody has moved' at_home
define pl_one tune="<tune profile='balanced'/>"
start pl_one
virsh -q metadata pl_one --uri urn:domtune:1 --key domtune --set "<tune profile='latency'/>" --config
ok 'retune: after a changed annotation' domtune retune pl_one
cpu=$(shares_of pl_one)
is 'retune: dedicated now' "$cpu" "$(claimed)"
not_ok 'retune: the shared guest has given way' in_list "$cpu" "$(shares_of pl_web)"
like 'retune: status knows' "$(domtune status pl_one)" latency
ok 'retune: verify agrees' domtune verify pl_one
virsh -q metadata pl_one --uri urn:domtune:1 --key domtune --set "<tune profile='balanced'/>" --config
ok 'retune: back to shared' domtune retune --all
is 'retune: nothing claimed' "$(claimed)" ''
ok 'retune: the shared guest is back' at_home
ok 'retune --off' domtune retune --off pl_web
is 'retune --off: all CPUs, as without us' "$(shares_of pl_web)" "$online"
is 'retune --off: no settings left' "$(domtune status --json pl_web | json '[s for g in d["domains"] for s in g["settings"]]')" '[]'
ok 'retune: and on again' domtune retune pl_web
ok 'retune: where it was' at_home
for name in pl_one pl_web; do virsh -q destroy $name; done
for name in pl_one pl_ded pl_web; do undefine $name; done
is 'retune: the host is as it was' "$(host_state)" "$before"

# --- a pool that grows and shrinks -------------------------------------------------------------------------------------------
define pl_huge memory=64 tune="$huge"
ok 'grows: starts' start pl_huge
node=$(node_of "$(shares_of pl_huge)")
is 'grows: 32 pages of 2M on its node' "$(pages "$node" nr)" 32
is 'grows: all in use' "$(pages "$node" free)" 0
for n in $(nodes); do
	[ "$n" = "$node" ] || is "grows: none on node $n" "$(pages "$n" nr)" 0
done
like 'grows: the guest is on them, and local' "$(ram pl_huge)" " N$node=32 "
is 'grows: nothing of it elsewhere' "$(ram pl_huge | grep -oE ' N[0-9]+=' | sort -u)" " N$node="
ok 'grows: verify agrees' domtune verify pl_huge
ok 'shrinks: destroyed' virsh -q destroy pl_huge
is 'shrinks: the pool is as it was' "$(host_state)" "$before"

for n in $(nodes); do set_pages "$n" 8; done
some=$(host_state)
start pl_huge
is 'grows by what is missing' "$(pages "$(node_of "$(shares_of pl_huge)")" nr)" 32
kill -9 "$(pid_of pl_huge)"
wait_for is_off pl_huge
shrunk() { [ "$(host_state)" = "$some" ]; }
ok 'shrinks after a kill' wait_for shrunk
is 'shrinks to what was there' "$(host_state)" "$some"
start pl_huge
node=$(node_of "$(shares_of pl_huge)")
set_pages "$node" 40
virsh -q destroy pl_huge
is 'a pool that somebody else has changed is left alone' "$(pages "$node" nr)" 40
for n in $(nodes); do set_pages "$n" 0; done
undefine pl_huge
define pl_auto memory=64 tune="<tune profile='latency'/>"
start pl_auto
is 'auto: no multiple of 1G, so 2M pages' "$(pages "$(node_of "$(shares_of pl_auto)")" nr)" 32
virsh -q destroy pl_auto
undefine pl_auto
is 'pools: as before' "$(host_state)" "$before"

# --- a pool that cannot grow -----------------------------------------------------------------------------------------------
# 24 pages in all, however many nodes that are: a guest may be split over them.
policy "max-dedicated-cpus='100%' max-hugepages='$((48 / $(nodes | wc -l)))MiB'"
define pl_huge memory=64 tune="$huge"
ok 'cannot grow: starts on ordinary pages' start pl_huge
is 'cannot grow: no pages' "$(ram pl_huge)" ''
like 'cannot grow: the reason is in status' "$(domtune status pl_huge; domtune plan pl_huge)" '32 pages of 2M'
virsh -q destroy pl_huge
define pl_huge memory=64 tune="<tune on-error='fail'${huge#<tune}"
out=$(start pl_huge 2>&1)
like 'cannot grow, on-error=fail: refused, with size and number' "$out" 'domtune: .*32 pages of 2M'
like 'cannot grow, on-error=fail: and what would fit' "$out" 'a guest of at most [0-9]+ MiB'
is 'refused: one line of ours' "$(grep -c 'domtune: ' <<<"$out")" 1
is 'refused: no state left' "$(state_files pl_huge)" ''
is 'refused: nothing was grown' "$(host_state)" "$before"
undefine pl_huge

# --- the last pages and the last CPU -------------------------------------------------------------------------------------------
# Room for two guests' pages on each node; five start at once, and take what there is or are refused.
policy "max-dedicated-cpus='100%' max-hugepages='80MiB'"
for i in 1 2 3 4 5; do define pl_page$i memory=32 tune="<tune profile='balanced' on-error='fail'><memory pages='2M'/></tune>"; done
for i in 1 2 3 4 5; do start pl_page$i >/dev/null 2>&1 & done
wait
running=$(virsh -q list --name | grep -c '^pl_page')
ok "last pages: $running of 5 run" test "$running" -ge 2
on_pages=0
for i in 1 2 3 4 5; do
	if [ -e "/run/libvirt/qemu/pl_page$i.pid" ] && ram pl_page$i >/dev/null; then on_pages=$((on_pages + 1)); fi
done
is 'last pages: all of those on huge pages' "$on_pages" "$running"
for n in $(nodes); do ok "last pages: node $n keeps the limit" test "$(pages "$n" nr)" -le 40; done
is 'last pages: no more grown than used' "$(free_everywhere)" 0
for i in 4 2 5 1 3; do virsh -q destroy pl_page$i >/dev/null 2>&1 & done
wait
for i in 1 2 3 4 5; do undefine pl_page$i; done
is 'last pages: the host is as it was' "$(host_state)" "$before"

# Two CPUs, or what there is, for four guests.
policy "max-dedicated-cpus='2'"
most=$(($(expand "$online" | wc -l) - $(expand "$reserved" | wc -l)))
most=$((most > 2 ? 2 : most))
for i in 1 2 3 4; do define pl_cpu$i memory=32 tune="<tune profile='latency' on-error='fail'><memory pages='default'/></tune>"; done
for i in 1 2 3 4; do start pl_cpu$i >/dev/null 2>&1 & done
wait
is 'last CPU: as many run as there are CPUs' "$(virsh -q list --name | grep -c '^pl_cpu')" "$most"
is 'last CPU: each has its own' "$(for i in 1 2 3 4; do
	[ ! -e "/run/libvirt/qemu/pl_cpu$i.pid" ] || shares_of pl_cpu$i
done | sort -n | uniq | paste -sd' ')" "$(expand "$(claimed)" | paste -sd' ')"
for i in 3 1 4 2; do virsh -q destroy pl_cpu$i >/dev/null 2>&1 & done
wait
for i in 1 2 3 4; do undefine pl_cpu$i; done
is 'last CPU: the host is as it was' "$(host_state)" "$before"

# --- two nodes -------------------------------------------------------------------------------------------------------------------
policy "max-dedicated-cpus='100%'"
if many_nodes; then
	for n in 0 1; do
		last=$(expand "$(cat /sys/devices/system/node/node$n/cpulist)" | tail -n 1)
		define pl_node$n memory=64 tune="<tune profile='latency'><cpu cpus='$last'/><memory pages='2M'/></tune>"
		start pl_node$n
		is "node $n: its CPU" "$(shares_of pl_node$n)" "$last"
		is "node $n: its memory, and only there" "$(ram pl_node$n | grep -oE ' N[0-9]+=[0-9]+' | paste -sd' ')" " N$n=32"
		is "node $n: its pool" "$(pages $n nr)" 32
	done
	virsh -q destroy pl_node0
	is 'the pool of node 0 has shrunk, that of node 1 not' "$(all_pages)" '0 32'
	virsh -q destroy pl_node1
	undefine pl_node0
	undefine pl_node1
	define pl_small memory=64 tune="<tune profile='latency'><memory pages='default'/></tune>"
	start pl_small
	node=$(node_of "$(shares_of pl_small)")
	is 'ordinary pages: local' "$(ram pl_small ' N[0-9]' | awk -v here="N$node" '
		{ for (i = 1; i <= NF; i++) if ($i ~ /^N[0-9]+=/) { split($i, a, "="); if (a[2] > most) { most = a[2]; at = a[1] } } }
		END { print at }')" "N$node"
	virsh -q destroy pl_small
	undefine pl_small

	# Each guest cell with its vCPUs and its memory: one CPU of each node is all that it may have.
	a=$(expand "$(cat /sys/devices/system/node/node0/cpulist)" | tail -n 1)
	b=$(expand "$(cat /sys/devices/system/node/node1/cpulist)" | tail -n 1)
	define pl_cells memory=128 vcpus=2 tune="<tune profile='latency'><cpu cpus='$a,$b'/><memory pages='2M'/></tune>" \
		top="<cpu><numa><cell id='0' cpus='0' memory='64' unit='MiB'/><cell id='1' cpus='1' memory='64' unit='MiB'/></numa></cpu>"
	ok 'cells: starts' start pl_cells
	pair="$(node_of "$(affinity "$(vcpu_tid pl_cells 0)")") $(node_of "$(affinity "$(vcpu_tid pl_cells 1)")")"
	like 'cells: each on a node of its own' "$pair" '^(0 1|1 0)$'
	is 'cells: pages on both nodes' "$(all_pages)" '32 32'
	is 'cells: one back end on each' "$(ram pl_cells | grep -oE ' N[0-9]+=[0-9]+' | sort | paste -sd' ')" ' N0=32  N1=32'
	cell=$(grep -oE 'memory-backend-memfd","id":"ram-node0"[^}]*"host-nodes":\[[0-9]+\]' <(tr '\0' '\n' <"/proc/$(pid_of pl_cells)/cmdline") |
		grep -oE '[0-9]+\]$' | tr -d ']')
	is 'cells: the first is where vCPU 0 is' "$cell" "${pair% *}"
	ok 'cells: verify agrees' domtune verify pl_cells
	virsh -q destroy pl_cells
	undefine pl_cells
else
	skip 'memory and pools of two nodes, guest cells' 'this host has one node'
fi

mv /tmp/policy.before-place /etc/domtune/policy.xml
is 'at the end the host is as it was' "$(host_state)" "$before"

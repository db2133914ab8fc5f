# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Ten starts at once: no CPU and no page is given twice, and the pool grows for those who find none left; stopped in another
# order, nothing is left.

before=$(host_state)
for node in /sys/devices/system/node/node[0-9]*; do set_pages "${node##*node}" 80; done
sum() { cat /sys/devices/system/node/node*/hugepages/hugepages-2048kB/"$1"_hugepages | awk '{ s += $1 } END { print s }'; }
pool=$(sum nr)
for i in 1 2 3 4 5 6 7 8 9 10; do
	define many$i memory=32 tune="<tune profile='latency'><memory pages='2M'/></tune>"
done
for i in 1 2 3 4 5 6 7 8 9 10; do start many$i & done
wait
is 'all ten run' "$(virsh -q list --name | grep -c '^many')" 10
cpus=$(for i in 1 2 3 4 5 6 7 8 9 10; do affinity "$(vcpu_tid many$i 0)"; done)
single=$(grep -E '^[0-9]+$' <<<"$cpus" | sort)
claimed=$(domtune status --json | json 'd["host"]["claimed"]')
# A guest that got no CPU of its own floats over what is left, which may be one CPU: only claims count.
is 'no CPU is claimed twice' "$(domtune status --json | json 'sorted(v["cpus"] for g in d["domains"] if g["placement"]["policy"]=="dedicated" for v in g["placement"]["vcpus"])' |
	tr -d "[]' " | tr , '\n' | sort | uniq -d)" ''
ok 'somebody has claimed CPUs' test -n "$claimed"
ok 'each claimed CPU is somebody'"'"'s affinity' sh -c 'for c in $1; do echo "$2" | grep -qx "$c" || exit 1; done' sh "$(expand "$claimed")" "$single"
huge=0
for i in 1 2 3 4 5 6 7 8 9 10; do
	if grep -q memfd:memory-backend-memfd /proc/"$(pid_of many$i)"/smaps; then huge=$((huge + 1)); fi
done
is 'no page is given twice' "$(($(sum nr) - $(sum free)))" "$((huge * 16))"
is 'all are on huge pages: the pools have grown' "$huge" 10
for i in 7 2 9 4 10 1 3 8 5 6; do virsh -q destroy many$i & done
wait
is 'the pools are as large as before' "$(sum nr)" "$pool"
is 'nothing claimed' "$(domtune status --json | json 'd["host"]["claimed"]')" ''
for i in 1 2 3 4 5 6 7 8 9 10; do
	[ -z "$(state_files many$i)" ] || echo "# many$i has left $(state_files many$i)"
	undefine many$i
done
for node in /sys/devices/system/node/node[0-9]*; do set_pages "${node##*node}" 0; done
is 'at the end the host is as it was' "$(host_state)" "$before"

# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Memory of a running guest that has no wrapper: `retune` brings it to the node of the vCPUs, in pieces.

before=$(host_state)
# The node with most pages of the largest mapping, and how many pages of it are elsewhere.
ram_node() {
	awk '{ sum = 0; here = ""; most = 0
	       for (i = 1; i <= NF; i++) if ($i ~ /^N[0-9]+=/) { split($i, a, "="); sum += a[2]; if (a[2] > most) { most = a[2]; here = substr(a[1], 2) } }
	       if (sum > largest) { largest = sum; node = here; rest = sum - most } }
	     END { print node, rest }' "/proc/$(pid_of "$1")/numa_maps"
}
last_cpu_of() { expand "$(cat "/sys/devices/system/node/node$1/cpulist")" | tail -n 1; }
tune_on() { echo "<tune profile='latency'><cpu cpus='$(last_cpu_of "$1")'/><memory pages='default'/></tune>"; }

if many_nodes; then
	define mv1 memory=192 wrap=no tune="$(tune_on 0)" top="<memoryBacking><allocation mode='immediate'/></memoryBacking>"
	start mv1 && wait_for is_up mv1
	for node in 1 0; do
		virsh -q metadata mv1 --uri urn:domtune:1 --key domtune --set "$(tune_on $node)" --config
		ok "retune to node $node" domtune retune mv1
		is "node $node: the vCPU" "$(affinity "$(vcpu_tid mv1 0)")" "$(last_cpu_of $node)"
		is "node $node: all of its memory" "$(ram_node mv1)" "$node 0"
	done
	virsh -q shutdown mv1
	ok 'it still runs: it sees the power button' wait_for is_off mv1
	undefine mv1
else
	skip 'memory moves between nodes' 'this host has one node'
fi
is 'at the end the host is as it was' "$(host_state)" "$before"

#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# `make bench-placement`: how well fleets are packed, on generated hosts and on real ones where their trees lie beside the
# checkout; and what one plan costs.
#
#   usage: placement.sh BUILD       TOPOLOGIES: the archive of trees
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
bench=$(cd "$1" && pwd)/bench-placement
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: "${TOPOLOGIES:=$top/../shared/topologies/topologies-open.tar.xz}"
if [ -f "$TOPOLOGIES" ]; then
	mkdir "$work/trees"
	tar -x -C "$work/trees" -f "$TOPOLOGIES"
fi

"$bench" table "$work/trees"

# Instructions are counted by callgrind: they do not depend on what else the machine does, and need no counters of the CPU.
instructions() { # instructions FUNCTION CPUS DOMAINS GUEST: millions, or nothing
	valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect="$1*" "$bench" plan "$work/root" "$2" "$3" "$4" 2>&1 |
		awk '/Collected : / { printf "%.3f", $NF / 1e6 }'
}

mkdir "$work/root"
cat <<-TEXT

	One plan, beside so many other domains, half of the CPUs claimed where they suffice for that. Guests are dedicated, with pages auto:
	  small  8 vCPUs (2 on 8 CPUs)
	  large  as much as one node has free or more: 20, 48, 80 vCPUs
	  cells  the same with four guest cells
	us: median of 51. M: million instructions, of the whole plan, and of the search in it (at most 10 on 512 CPUs).

TEXT
command -v valgrind >/dev/null || echo "Instructions are not counted: valgrind is not installed."
printf '%4s %5s %7s' CPUs nodes domains
printf '  | %5s %7s %7s %8s' small us 'plan M' 'search M' large us 'plan M' 'search M' cells us 'plan M' 'search M'
echo
status=0
for host in 8:1 80:2 256:4 512:16; do
	cpus=${host%:*}
	for domains in 1 100 1000; do
		printf '%4s %5s %7s' "$cpus" "${host#*:}" "$domains"
		for guest in small large cells; do
			us=- plan=- search=-
			if [ $guest = small ] || [ "$cpus" -gt 8 ]; then
				us=$("$bench" plan "$work/root" "$cpus" $domains $guest 51)
				if command -v valgrind >/dev/null; then
					plan=$(instructions make_plan "$cpus" $domains $guest)
					search=$(instructions place_search "$cpus" $domains $guest)
				fi
			fi
			printf '  | %5s %7s %7s %8s' '' "$us" "$plan" "$search"
			if awk -v n="$search" 'BEGIN { exit !(n > 10) }'; then status=1; fi
		done
		echo
	done
done
[ $status = 0 ] || echo "The search takes more than 10 M instructions."
exit $status

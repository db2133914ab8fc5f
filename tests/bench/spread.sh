# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Numbers of several runs, for the benches.

# spread WHAT UNIT <numbers, a line each: of one line "median (least to most)"
spread() {
	sort -g | awk -v what="$1" -v unit="$2" '{ v[NR] = $1 } END {
		m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
		printf "  %-44s %8.2f %s   (%.2f to %.2f, %d runs)\n", what, m, unit, v[1], v[NR], NR }'
}
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { print b ? a / b : 0 }'; }

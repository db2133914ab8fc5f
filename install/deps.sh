#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Install what building and testing need and is missing. Debian and its relatives only; elsewhere it lists it.
#
#   usage: deps.sh build|test|bench
set -eu

build='gcc make pkg-config libc6-dev libxml2-dev libcgroup-dev libnuma-dev libjson-c-dev libvirt-dev libsystemd-dev
	libnl-3-dev libnl-route-3-dev libnl-genl-3-dev'
test="$build libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils libxml2-utils python3 perl iproute2 numactl
	strace procps util-linux binutils e2fsprogs irqbalance"
bench="$test fio valgrind"
case ${1:-build} in
build) wanted=$build ;;
test) wanted=$test ;;
bench) wanted=$bench ;;
*) echo "usage: deps.sh build|test|bench" >&2 && exit 2 ;;
esac

missing=
for package in $wanted; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
	[ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
	echo "domtune needs what Debian calls:$missing" >&2
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	echo "domtune needs$missing: run this as root, or install them" >&2
	exit 1
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# shellcheck disable=SC2086 # words
apt-get -qq install --no-install-recommends $missing >/dev/null

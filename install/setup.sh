#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# What `make install` and `make uninstall` do beyond copying files: the hook's place, AppArmor, libvirtd's list
# of hooks. Everything here can be run again at any time.
#
#   usage: setup.sh install|uninstall HOOK-PROGRAM LIBEXECDIR SBINDIR SYSCONFDIR [DESTDIR]
#
# With DESTDIR only the hook file is placed: rules and daemons belong to the machine that unpacks the package.
set -eu

verb=$1 program=$2 libexec=$3 sbin=$4 sysconf=$5 dest=${6:-}
helpers=$libexec/domtune
hooks=$dest$sysconf/libvirt/hooks
begin='# domtune begin' end='# domtune end'
# hooks/hook.h has it in the program: tells our file from somebody else's.
marker='domtune libvirt hook, marker 7d1f9c52'

say() { echo "domtune: $*"; }
# A temporary file, $new, beside the one that it will replace; it does not outlive this (sub)shell.
temporary() {
	new=$(mktemp "$1.XXXXXX")
	trap 'rm -f "$new"' EXIT
}
is_ours() { [ -f "$1" ] && grep -qaF "$marker" "$1"; }

# The hook is `qemu` where that is free or ours, else one of the scripts in qemu.d; never over a foreign file.
install_hook() {
	is_ours "$program" || { say "$program has no marker" >&2 && return 1; }
	mkdir -p "$hooks"
	if [ ! -e "$hooks/qemu" ] && [ ! -L "$hooks/qemu" ] || is_ours "$hooks/qemu"; then
		place "$hooks/qemu"
		if is_ours "$hooks/qemu.d/50-domtune"; then rm -f "$hooks/qemu.d/50-domtune"; fi
	else
		mkdir -p "$hooks/qemu.d"
		if [ -e "$hooks/qemu.d/50-domtune" ] && ! is_ours "$hooks/qemu.d/50-domtune"; then
			say "$hooks/qemu.d/50-domtune is not ours: left, the hook is not installed" >&2
			return 1
		fi
		place "$hooks/qemu.d/50-domtune"
		say "$hooks/qemu is somebody else's: installed as $hooks/qemu.d/50-domtune"
	fi
}

# By rename, since libvirtd may be running the old one; from outside of qemu.d, where libvirt runs every executable file,
# half copied or not, and a hook that fails costs a guest.
place() {
	temporary "$hooks/.domtune"
	cp "$program" "$new"
	chmod 0755 "$new"
	mv -f "$new" "$1"
}

remove_hook() {
	for file in "$hooks/qemu" "$hooks/qemu.d/50-domtune"; do
		if is_ours "$file"; then rm -f "$file"; fi
	done
	rmdir "$hooks/qemu.d" 2>/dev/null || :
}

# Replace (or with empty standard input remove) our marked lines in an administrator's file. A begin without its end is
# not ours to judge, nor is what follows it; a last line may lack its newline.
marked_lines() {
	[ -e "$1" ] || [ "$verb" = install ] || return 0
	mkdir -p "${1%/*}"
	[ -e "$1" ] || : >"$1"
	temporary "$1"
	awk -v begin="$begin" -v end="$end" '
		$0 == begin { printf "%s", held; held = $0 "\n"; inside = 1; next }
		inside { held = held $0 "\n" }
		inside && $0 == end { held = ""; inside = 0; next }
		!inside { print }
		END { printf "%s", held }' "$1" >"$new"
	block=$(cat)
	if [ -n "$block" ]; then printf '%s\n%s\n%s\n' "$begin" "$block" "$end" >>"$new"; fi
	chmod --reference="$1" "$new"
	if cmp -s "$1" "$new"; then rm -f "$new"; else mv -f "$new" "$1"; fi
}

# libvirtd's own profile: it probes the wrapper, and the hook runs our helpers (the hook itself has a rule of
# libvirt's), of which one runs the tool: libvirt's own rules allow what is in /usr/sbin, and a second rule that says the
# same does no harm. The exact path of a wrapper beats the glob.
daemon_rules() {
	cat <<-RULES
	  $helpers/decide rix,
	  $helpers/apply rix,
	  $helpers/qemu-system-* PUxr,
	  $helpers/qemu-kvm PUxr,
	  $sbin/domtune PUx,
	RULES
}

# The guests' profiles: the wrapper becomes QEMU in the same profile, reads its plan, the boot it is of, the nodes' pools
# and the memory limits of its control groups; "/" is what AppArmor calls a hugetlb memfd, which is truncated to its size (seen on Debian 12 and 13).
guest_rules() {
	cat <<-RULES
	  $helpers/qemu-system-* rmix,
	  $helpers/qemu-kvm rmix,
	  /run/domtune/ r,
	  /run/domtune/** r,
	  /etc/domtune/ r,
	  /etc/domtune/** r,
	  @{PROC}/sys/kernel/random/boot_id r,
	  @{PROC}/meminfo r,
	  @{PROC}/@{pid}/cgroup r,
	  /sys/fs/cgroup/**/memory.{max,current,stat,limit_in_bytes,usage_in_bytes} r,
	  /sys/devices/system/node/ r,
	  /sys/devices/system/node/** r,
	  / rw,
	RULES
}

# Libvirt 10 and later have a directory for additions to the guests' profiles, before it was a file of the
# administrator's. What an earlier installation left in the one that is not used goes.
apparmor_guests() {
	abstraction=$1/abstractions/libvirt-qemu local=$1/local/abstractions/libvirt-qemu use=
	if [ "$verb" = install ] && [ -f "$abstraction" ]; then
		if grep -q 'libvirt-qemu\.d' "$abstraction"; then use='directory'
		elif grep -q 'local/abstractions/libvirt-qemu' "$abstraction"; then use='file'
		else say "$abstraction includes no local rules: see README, AppArmor" >&2; fi
	fi
	if [ "$use" = directory ]; then
		mkdir -p "$abstraction.d"
		guest_rules >"$abstraction.d/domtune"
	else rm -f "$abstraction.d/domtune"; fi
	if [ "$use" = file ]; then guest_rules | marked_lines "$local"
	elif [ -e "$local" ]; then marked_lines "$local" </dev/null; fi
}

apparmor() {
	base=$sysconf/apparmor.d
	[ -d "$base" ] || return 0
	for profile in usr.sbin.libvirtd usr.sbin.virtqemud; do
		[ -f "$base/$profile" ] || [ "$verb" = uninstall ] || continue
		{ [ "$verb" = uninstall ] || daemon_rules; } | marked_lines "$base/local/$profile"
	done
	apparmor_guests "$base"
	# A profile that is loaded is loaded anew; guests get theirs at their next start.
	if [ "$base" = /etc/apparmor.d ] && [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then
		for profile in usr.sbin.libvirtd usr.sbin.virtqemud; do
			name=${profile##*.}
			if [ -f "$base/$profile" ] && grep -q "^\(/usr/sbin/\)\?$name " /sys/kernel/security/apparmor/profiles 2>/dev/null; then
				apparmor_parser -r "$base/$profile" || say "cannot load $base/$profile" >&2
			fi
		done
	fi
}

# libvirtd looks for hooks when it starts and when it is told to reload.
reload() {
	[ "$sysconf" = /etc ] && [ -d /run/systemd/system ] || return 0
	for unit in libvirtd virtqemud; do
		if systemctl -q is-active "$unit.service" 2>/dev/null; then
			systemctl reload "$unit.service" || say "cannot reload $unit: reload it by hand" >&2
		fi
	done
}

case $verb in
install) install_hook ;;
uninstall) remove_hook ;;
*) echo "usage: setup.sh install|uninstall HOOK-PROGRAM LIBEXECDIR SBINDIR SYSCONFDIR [DESTDIR]" >&2 && exit 2 ;;
esac
if [ -z "$dest" ]; then
	apparmor
	reload
fi

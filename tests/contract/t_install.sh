#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What `make install` places, and that `make uninstall` takes it all away again; never over anybody else's file.
set -u
cd "$(dirname "$0")/../.." || exit 1
: "${DOMTUNE_BUILD:=$PWD/build}"
TAP_STATE=$(mktemp)
work=$(mktemp -d)
trap 'rm -rf "$work" "$TAP_STATE"' EXIT
. tests/e2e/lib.sh

run_make() { make -s PREBUILT=1 B="$DOMTUNE_BUILD" DESTDIR="$dest" "$@" >"$work/log" 2>&1; }
files() { (cd "$dest" && find . -type f | sort); }

# --- into an empty directory ---------------------------------------------------------------------------------------
dest=$work/empty
ok 'install' run_make install
for file in etc/libvirt/hooks/qemu usr/libexec/domtune/decide usr/libexec/domtune/apply usr/libexec/domtune/qemu-kvm \
	usr/libexec/domtune/qemu-system-x86_64 usr/libexec/domtune/watch usr/sbin/domtune; do
	ok "$file is a program" test -f "$dest/$file" -a -x "$dest/$file" -a ! -L "$dest/$file"
done
is 'one wrapper, many names' "$(stat -c %i "$dest/usr/libexec/domtune/qemu-kvm")" "$(stat -c %i "$dest/usr/libexec/domtune/qemu-system-x86_64")"
for file in usr/share/domtune/domtune.rng usr/share/domtune/profiles/balanced.xml usr/share/man/man8/domtune.8 \
	usr/share/man/man5/domtune-policy.5 usr/share/man/man7/domtune-knobs.7 etc/domtune/policy.xml \
	usr/lib/systemd/system/domtune-watch.service; do
	ok "$file is there" test -s "$dest/$file"
done
not_ok 'the hook links no library but libc' sh -c "ldd '$dest/etc/libvirt/hooks/qemu' '$dest/usr/libexec/domtune/apply' | grep -E '^\\s+lib(virt|xml|cgroup|numa|json)'"
not_ok 'nothing links libvirt' sh -c "ldd '$dest'/usr/libexec/domtune/* '$dest/usr/sbin/domtune' | grep -E '^\\s+libvirt'"
is 'the unit runs the watcher' "$(sed -n 's/^ExecStart=//p' "$dest/usr/lib/systemd/system/domtune-watch.service")" /usr/libexec/domtune/watch
not_ok 'which is not enabled' sh -c "find '$dest' -name '*.wants' | grep ."
first=$(files)
ok 'install again' run_make install
is 'the same files' "$(files)" "$first"
echo '<policy xmlns="urn:domtune:1"/>' >"$dest/etc/domtune/policy.xml"
ok 'install over an edited policy' run_make install
is 'the policy is the administrator'"'"'s' "$(cat "$dest/etc/domtune/policy.xml")" '<policy xmlns="urn:domtune:1"/>'
ok 'uninstall' run_make uninstall
is 'what is left: the edited policy' "$(files)" ./etc/domtune/policy.xml

# --- where another hook is -------------------------------------------------------------------------------------------
dest=$work/foreign
mkdir -p "$dest/etc/libvirt/hooks"
printf '#!/bin/sh\n' >"$dest/etc/libvirt/hooks/qemu"
ok 'install beside a foreign hook' run_make install
is 'the foreign hook is untouched' "$(cat "$dest/etc/libvirt/hooks/qemu")" '#!/bin/sh'
ok 'ours is in qemu.d' test -x "$dest/etc/libvirt/hooks/qemu.d/50-domtune"
ok 'uninstall' run_make uninstall
is 'only the foreign hook is left' "$(files)" ./etc/libvirt/hooks/qemu
printf '#!/bin/sh\n' >"$work/other"
mkdir -p "$dest/etc/libvirt/hooks/qemu.d"
cp "$work/other" "$dest/etc/libvirt/hooks/qemu.d/50-domtune"
not_ok 'both places are foreign: install fails' run_make install
is 'and overwrites nothing' "$(cat "$dest/etc/libvirt/hooks/qemu.d/50-domtune")" '#!/bin/sh'

# --- AppArmor: an administrator's files keep their own lines ----------------------------------------------------------
# Neither profiles nor daemons of this machine are touched.
mkdir "$work/bin"
for program in systemctl apparmor_parser; do
	printf '#!/bin/sh\n' >"$work/bin/$program" && chmod 0755 "$work/bin/$program"
done
setup() { PATH=$work/bin:$PATH install/setup.sh "$1" "$DOMTUNE_BUILD/qemu-hook" /usr/libexec /opt/sbin "$work/$2" >"$work/log" 2>&1; }
for style in local directory; do
	etc=$work/$style
	mkdir -p "$etc/apparmor.d/abstractions" "$etc/apparmor.d/local/abstractions"
	echo 'profile libvirtd { include <local/usr.sbin.libvirtd> }' >"$etc/apparmor.d/usr.sbin.libvirtd"
	echo '/their/own r,' | tee "$etc/apparmor.d/local/usr.sbin.libvirtd" >"$etc/apparmor.d/local/abstractions/libvirt-qemu"
	if [ $style = local ]; then echo '#include <local/abstractions/libvirt-qemu>'; else echo 'include if exists <abstractions/libvirt-qemu.d>'; fi \
		>"$etc/apparmor.d/abstractions/libvirt-qemu"
	before=$(cd "$etc" && find . -type f -exec grep -H . {} + | sort)
	ok "$style: rules in" setup install "$style"
	like "$style: the daemon may probe the wrapper" "$(cat "$etc/apparmor.d/local/usr.sbin.libvirtd")" '/usr/libexec/domtune/qemu-system-\* PUx'
	like "$style: and its helper may run the tool" "$(cat "$etc/apparmor.d/local/usr.sbin.libvirtd")" '^ */opt/sbin/domtune PUx,$'
	if [ $style = local ]; then guest=$etc/apparmor.d/local/abstractions/libvirt-qemu; else guest=$etc/apparmor.d/abstractions/libvirt-qemu.d/domtune; fi
	for rule in '/usr/libexec/domtune/qemu-system-\* rmix' '/run/domtune/\*\* r' '/etc/domtune/\*\* r' '/sys/devices/system/node/\*\* r' '^ */ rw,' 'boot_id r' \
		'/cgroup r' 'memory[.][{]max'; do
		like "$style: guests: $rule" "$(cat "$guest")" "$rule"
	done
	once=$(cat "$etc/apparmor.d/local/usr.sbin.libvirtd" "$guest")
	ok "$style: again" setup install "$style"
	is "$style: once is enough" "$(cat "$etc/apparmor.d/local/usr.sbin.libvirtd" "$guest")" "$once"
	ok "$style: rules out" setup uninstall "$style"
	is "$style: all is as it was" "$(cd "$etc" && find . -type f -exec grep -H . {} + | sort)" "$before"
done

# Odd files: no newline at the end, a mark without its end, rules of another release's place, nothing there at all.
etc=$work/odd local=$work/odd/apparmor.d/local
mkdir -p "$local/abstractions" "$etc/apparmor.d/abstractions"
touch "$etc/apparmor.d/usr.sbin.libvirtd"
printf '/their/own r,' >"$local/usr.sbin.libvirtd"
printf '# domtune begin\n/a r,\n/their/own r,\n' >"$local/abstractions/libvirt-qemu"
echo '#include <local/abstractions/libvirt-qemu>' >"$etc/apparmor.d/abstractions/libvirt-qemu"
ok 'odd files: install' setup install odd
is 'a last line without newline is none of ours' "$(head -n 2 "$local/usr.sbin.libvirtd")" "/their/own r,
# domtune begin"
once=$(cat "$local/usr.sbin.libvirtd" "$local/abstractions/libvirt-qemu")
ok 'odd files: again' setup install odd
is 'no second copy' "$(cat "$local/usr.sbin.libvirtd" "$local/abstractions/libvirt-qemu")" "$once"
echo 'include if exists <abstractions/libvirt-qemu.d>' >"$etc/apparmor.d/abstractions/libvirt-qemu"
ok 'after an upgrade of libvirt' setup install odd
ok 'the rules are in the new place' grep -q domtune "$etc/apparmor.d/abstractions/libvirt-qemu.d/domtune"
is 'and gone from the old one' "$(cat "$local/abstractions/libvirt-qemu")" "# domtune begin
/a r,
/their/own r,"
ok 'odd files: uninstall' setup uninstall odd
is 'the administrator has lost nothing' "$(cat "$local/usr.sbin.libvirtd" "$local/abstractions/libvirt-qemu")" "/their/own r,
# domtune begin
/a r,
/their/own r,"
mkdir -p "$work/bare/apparmor.d"
ok 'nothing there: uninstall' setup uninstall bare
is 'makes no files' "$(find "$work/bare/apparmor.d" -mindepth 1)" ''

# --- libvirt runs every executable file in qemu.d at any moment: none but the whole hook is ever there ----------------
dest=$work/moment
mkdir -p "$dest/etc/libvirt/hooks"
printf '#!/bin/sh\n' >"$dest/etc/libvirt/hooks/qemu"
cat >"$work/bin/mv" <<SH
#!/bin/sh
find "$dest/etc/libvirt/hooks/qemu.d" -type f >>"$work/seen"
exec /bin/mv "\$@"
SH
chmod 0755 "$work/bin/mv"
: >"$work/seen"
ok 'install, watched' env PATH="$work/bin:$PATH" install/setup.sh install "$DOMTUNE_BUILD/qemu-hook" /usr/libexec /usr/sbin /etc "$dest"
ok 'the hook got there' test -x "$dest/etc/libvirt/hooks/qemu.d/50-domtune"
is 'nothing half done lay in qemu.d' "$(cat "$work/seen")" ''
is 'nothing else is left' "$(cd "$dest" && find . -type f | sort)" "./etc/libvirt/hooks/qemu
./etc/libvirt/hooks/qemu.d/50-domtune"
echo "1..$(cat "$TAP_STATE")"

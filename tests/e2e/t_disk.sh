# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Block nodes of disks: what QEMU says of them, and that whatever libvirt does to a rewritten disk still works.

before=$(host_state)
# tmpfs has O_DIRECT from Linux 6.6 on, and a private host's images are on it.
touch "$images/probe"
if dd if="$images/probe" of=/dev/null iflag=direct status=none 2>/dev/null; then direct=1; else direct=0; fi
rm -f "$images/probe"
in_force=$([ $direct = 1 ] && echo 'True none' || echo 'False writeback')
tune="<tune profile='balanced'><disk io='io_uring' cache='none' discard='unmap' detect-zeroes='unmap' metadata-cache='1MiB'/></tune>"

# nodes NAME: name, driver, direct, no-flush, zeroes of each file and format node, as QEMU has them now.
nodes() {
	virsh -q qemu-monitor-command "$1" '{"execute":"query-named-block-nodes"}' | json '"\n".join(sorted("%s %s %d %d %s" % (
		n["node-name"], n["drv"], n["cache"]["direct"], n["cache"]["no-flush"], n["detect_zeroes"])
		for n in d["return"] if n["node-name"].startswith("libvirt-")))'
}
# node NAME TARGET: index of libvirt's node below this disk now.
node() { virsh -q dumpxml "$1" | python3 -c '
import sys, xml.etree.ElementTree as tree
for disk in tree.parse(sys.stdin).iter("disk"):
    if disk.find("target").get("dev") == sys.argv[1]: print(disk.find("source").get("index"))' "$2"; }
tuned() { # tuned INDEX: lines of nodes() of a qcow2 disk with all of the above
	printf '%s\n' "libvirt-$1-format qcow2 $direct 0 unmap" "libvirt-$1-storage file $direct 0 off"
}
rings() { # does the process have a ring beyond those of its event loops? compared with a guest that has aio=threads
	ls -l "/proc/$(pid_of "$1")/fd" | grep -c 'io_uring'
}
word() { tr '\0' '\n' </proc/"$(pid_of "$1")"/cmdline | grep -F "\"node-name\":\"$2\""; }
effective() { # effective NAME KNOB TARGET: as `verify` has it, "OK EFFECTIVE WHY"
	domtune verify --json "$1" | json '"\n".join("%s %s %s" % (s["ok"], s["effective"], s["why"]) for s in d["domains"][0]["settings"]
		if (s["knob"], s["target"]) == ("'"$2"'", "'"$3"'"))'
}
is_running() { [ "$(virsh domstate "$1")" = running ]; }

# --- a ring can be had here? what the wrapper says decides which value is looked for -------------------------------------
define pro1 tune="<tune profile='balanced'><disk io='auto'/></tune>"
start pro1
uring=$(effective pro1 disk.io vda)
virsh -q destroy pro1
undefine pro1
like 'auto: in force, with a reason where it is not io_uring' "$uring" '^True (io_uring|native|threads \(.+\)) *$'

# --- in force ------------------------------------------------------------------------------------------------------------
define dis1 tune="$tune"
ok 'starts' start dis1
is 'QEMU: cache and zeroes of both nodes' "$(nodes dis1)" "$(tuned 1)"
like 'argv: discard, L2 cache' "$(word dis1 libvirt-1-format)" '"discard":"unmap".*"l2-cache-size":1048576'
case $uring in
*' io_uring '*)
	like 'argv: io_uring' "$(word dis1 libvirt-1-storage)" '"aio":"io_uring"'
	[ $direct = 0 ] || ok 'verify agrees' domtune verify dis1
	define pla1 tune="<tune profile='off'/>"
	start pla1
	ok 'the process has a ring more than one without' test "$(rings dis1)" -gt "$(rings pla1)"
	virsh -q destroy pla1
	undefine pla1
	;;
*) skip 'io_uring' "$uring" ;;
esac
is 'the guest sees the same disk' "$(virsh -q dumpxml dis1 | grep -c "cache='none'")" 0
is 'status' "$(domtune status --json dis1 | json '[s["effective"] for s in d["domains"][0]["settings"] if s["knob"] == "disk.cache"]')" "['${in_force#* }']"

# --- what libvirt does to disks ------------------------------------------------------------------------------------------
ok 'domblkinfo' virsh -q domblkinfo dis1 vda
ok 'domblkstat' virsh -q domblkstat dis1 vda
ok 'blkdeviotune' virsh -q blkdeviotune dis1 vda --total-iops-sec 1000
ok 'blockresize' virsh -q blockresize dis1 vda 2M
is 'resized: still so' "$(nodes dis1)" "$(tuned 1)"

ok 'snapshot' virsh -q snapshot-create-as dis1 s1 --disk-only --no-metadata
like 'snapshot: the new node has nothing of it' "$(nodes dis1)" "^libvirt-$(node dis1 vda)-format qcow2 0 0 off"
like 'snapshot: the old one still has' "$(nodes dis1)" "^libvirt-1-format qcow2 $direct 0 unmap"
not_ok 'snapshot: verify sees it' domtune verify dis1
like 'snapshot: and says why' "$(effective dis1 disk.cache vda)" "^False .*new since the start.*libvirt-$(node dis1 vda), not libvirt-1"
ok 'commit' virsh -q blockcommit dis1 vda --active --pivot --wait
is 'commit: back on the old node' "$(node dis1 vda)" 1
is 'commit: which is as it was' "$(nodes dis1)" "$(tuned 1)"
like 'commit: verify agrees' "$(effective dis1 disk.cache vda)" "^$in_force"

ok 'copy' virsh -q blockcopy dis1 vda "$images/dis1-copy.img" --transient-job --wait --pivot
like 'copy: verify sees it' "$(effective dis1 disk.io vda)" '^False .*new since the start'
ok 'copy: the guest runs' is_running dis1

make_disk "$images/dis1-b.img"
ok 'attach' virsh -q attach-disk dis1 "$images/dis1-b.img" vdb --subdriver qcow2 --live
like 'attach: verify says that it is not tuned' "$(domtune verify dis1)" 'NO +disk +vdb .*plugged in since the start'
ok 'detach' virsh -q detach-disk dis1 vdb --live
wait_for is_up dis1
virsh -q destroy dis1
undefine dis1

# --- a disk that is unplugged, another in its place ------------------------------------------------------------------------
define dis2 tune="$tune" devices="<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='$images/dis2-b.img'/>
	<target dev='vdb' bus='virtio'/></disk>"
make_disk "$images/dis2-b.img"
ok 'two disks: start' start dis2
is 'two disks: both' "$(nodes dis2)" "$(tuned 1; tuned 2)"
wait_for is_up dis2
# The payload does not answer PCI hot-unplug, so the guest is asked, and libvirt may say that nothing happens.
virsh -q detach-disk dis2 vdb --live >/dev/null 2>&1
ok 'unplug: libvirt can still be asked' virsh -q domblklist dis2
ok 'libvirtd restarts' restart_libvirtd
ok 'restarted: it is still the same guest' is_running dis2
is 'restarted: the first disk' "$(nodes dis2 | grep libvirt-2)" "$(tuned 2)"
like 'restarted: verify' "$(effective dis2 disk.cache vda)" "^$in_force"
virsh -q destroy dis2
undefine dis2
rm -f "$images"/dis1-* "$images"/dis2-*

# --- saved and restored, with and without -----------------------------------------------------------------------------------
define dis3 tune="$tune"
start dis3 && wait_for is_up dis3
ok 'managedsave' virsh -q managedsave dis3
ok 'start from it' start dis3
is 'start from it: tuned' "$(nodes dis3)" "$(tuned 1)"
ok 'save' virsh -q save dis3 /tmp/dis3.save
domtune disable
ok 'restore without' virsh -q restore /tmp/dis3.save
is 'restored without: as libvirt has it' "$(nodes dis3)" "$(printf '%s\n' 'libvirt-1-format qcow2 0 0 off' 'libvirt-1-storage file 0 0 off')"
ok 'save without' virsh -q save dis3 /tmp/dis3.save
domtune enable
ok 'restore with' virsh -q restore /tmp/dis3.save
is 'restored with: tuned' "$(nodes dis3)" "$(tuned 1)"
virsh -q shutdown dis3
ok 'the restored guest runs: it sees the power button' wait_for is_off dis3
undefine dis3
rm -f /tmp/dis3.save

# --- a backing chain, the lowest image where the file system has no O_DIRECT ---------------------------------------------------
odd=$images/odd
mkdir -p "$odd" && mount -t ramfs domtune "$odd" && chmod 0755 "$odd" # which has none up to Linux 6.18
qemu-img convert -q -f raw -O qcow2 "$(payload boot)" "$odd/base.img"
chmod 0644 "$odd/base.img"
qemu-img create -q -f qcow2 -F qcow2 -b "$odd/base.img" "$images/dis4-chain.img"
chmod 0666 "$images/dis4-chain.img"
define dis4 tune="$tune" disk="$images/dis4-chain.img"
ok 'no O_DIRECT below: starts all the same' start dis4
is 'no O_DIRECT below: no node bypasses the page cache' "$(nodes dis4 | cut -d' ' -f1,3)" \
	"$(printf '%s\n' 'libvirt-1-format 0' 'libvirt-1-storage 0' 'libvirt-2-format 0' 'libvirt-2-storage 0')"
like 'no O_DIRECT below: the reason names the image' "$(domtune status dis4)" "O_DIRECT, $odd/base.img: Invalid argument"
like 'no O_DIRECT below: the rest is in force' "$(nodes dis4)" '^libvirt-1-format qcow2 0 0 unmap'
like 'both images of the chain have the limit' "$(word dis4 libvirt-2-format)" '"l2-cache-size":1048576'
virsh -q destroy dis4
undefine dis4
mv "$odd/base.img" "$images/dis4-base.img"
qemu-img rebase -q -u -F qcow2 -b "$images/dis4-base.img" "$images/dis4-chain.img"
define dis4 tune="$tune" disk="$images/dis4-chain.img"
ok 'O_DIRECT everywhere: starts' start dis4
is 'O_DIRECT everywhere: all four nodes' "$(nodes dis4 | cut -d' ' -f1,3)" \
	"$(printf "%s $direct\n" libvirt-1-format libvirt-1-storage libvirt-2-format libvirt-2-storage)"
wait_for is_up dis4
commit() { virsh -q blockcommit dis4 vda --active --pivot --wait; }
if out=$(commit 2>&1); then
	tap 0 'commit into the backing image'
	like 'committed: verify says that the image is another' "$(effective dis4 disk.cache vda)" '^False .*libvirt-2, not libvirt-1'
else
	# On Debian 13 with AppArmor QEMU may not write to its backing images (seen with libvirt 11.3), whoever starts it.
	undefine dis4
	define dis4 wrap=no disk="$images/dis4-chain.img"
	ok 'commit is refused: starts without us' start dis4
	wait_for is_up dis4
	not_ok 'commit is refused without us, too' commit
	skip 'committed: verify says that the image is another' "${out##*: }"
fi
virsh -q destroy dis4
undefine dis4
rm -f "$images"/dis4-*
umount "$odd" && rmdir "$odd"

# --- every bus, and an image whose L2 tables QEMU would not keep by itself ----------------------------------------------------
disk() { # disk FILE FORMAT TARGET BUS [ALIAS]
	echo "<disk type='file' device='disk'><driver name='qemu' type='$2'/><source file='$1'/><target dev='$3' bus='$4'/>${5:+<alias name='$5'/>}</disk>"
}
for name in sata own; do truncate -s 1M "$images/dis7-$name.raw"; done
qemu-img create -q -f qcow2 "$images/dis7-large.img" 512G
chmod 0666 "$images"/dis7-*
define dis7 iothreads=1 devices="<controller type='scsi' index='0' model='virtio-scsi'/>
	$(disk "$images/dis7-large.img" qcow2 sda scsi)$(disk "$images/dis7-sata.raw" raw sdb sata)$(disk "$images/dis7-own.raw" raw vdb virtio ua-own)
	<disk type='file' device='cdrom'><target dev='sdd' bus='sata'/><readonly/></disk>" \
	tune="<tune profile='balanced'><disk cache='none' metadata-cache='auto'/><disk target='sdd' cache='none'/></tune>"
ok 'buses: starts' start dis7
is 'buses: all nodes bypass the page cache' "$(nodes dis7 | cut -d' ' -f3 | sort -u)" $direct # raw ones: one or two each
like 'large image: covered' "$(word dis7 "libvirt-$(node dis7 sda)-format")" '"l2-cache-size":67108864'
out=$(domtune status dis7)
like 'large image: why' "$out" 'covers the L2 tables of 512 GiB, 64 MiB in 1 image'
like 'small image: left' "$out" 'the 32 MiB that QEMU uses by itself cover its image'
like 'raw image: none' "$out" 'its image is not qcow2 but raw'
like 'CD: asked for by name' "$out" 'disk\[sdd\].cache.* an empty drive'
[ $direct = 0 ] || ok 'buses: verify agrees' domtune verify dis7
virsh -q destroy dis7
undefine dis7
rm -f "$images"/dis7-*

# --- bad input -------------------------------------------------------------------------------------------------------------
define dis5 tune="<tune profile='balanced'><disk target='../../x' io='auto'/><disk target='vda' cache='writethrough' io='native'/></tune>"
ok 'bad input: starts' start dis5
out=$(domtune status dis5)
like 'bad input: no such disk' "$out" "the domain has no disk '../../x'"
like 'bad input: the write cache is the definition'"'"'s' "$out" "write cache away that the guest sees"
like 'bad input: native without cache none' "$out" "native needs the host's page cache bypassed"
is 'bad input: nodes are untouched' "$(nodes dis5)" "$(printf '%s\n' 'libvirt-1-format qcow2 0 0 off' 'libvirt-1-storage file 0 0 off')"
virsh -q destroy dis5
undefine dis5

# --- retune leaves them ----------------------------------------------------------------------------------------------------
define dis6 tune="$tune"
start dis6
ok 'retune' domtune retune dis6
like 'retuned: still in force' "$(effective dis6 disk.cache vda)" "^$in_force"
virsh -q destroy dis6
is 'no state left' "$(state_files dis6)" ''
undefine dis6
is 'at the end the host is as it was' "$(host_state)" "$before"

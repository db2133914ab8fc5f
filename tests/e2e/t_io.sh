# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Two guests whose images lie on one file system of one device, a loop device of our own: queue, I/O priority of every
# thread, weights and limits of their groups as the kernel has them; and the device as it was when the last one has gone.

# The lab's own disks, which nobody needs: NVMe and SCSI, with a file system or as they are.
real_disk() { # real_disk DEVICE SCHEDULER ON-IT: `file` or `block`
	local device=$1 queue=/sys/block/$1/queue directory=$images/real source before driver=raw
	# A module that was loaded for it stays, and in the list.
	state() { grep -o '\[.*\]' "$queue/scheduler" && grep -H . "$queue"/{nr_requests,read_ahead_kb,rq_affinity,nomerges}; }
	before=$(state)
	source="<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/$device'/><target dev='vdb' bus='virtio'/></disk>"
	if [ "$3" = file ]; then
		mkfs.ext4 -q -F "/dev/$device" && mkdir -p "$directory" && mount "/dev/$device" "$directory" && chmod 0777 "$directory"
		truncate -s 8M "$directory/x.raw" && chmod 0666 "$directory/x.raw"
		source="<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='$directory/x.raw'/><target dev='vdb' bus='virtio'/></disk>"
	fi
	define rd_a devices="$source" tune="<tune profile='off'><disk target='vdb' scheduler='$2' requests='48' read-ahead='256' weight='300' read-iops='400' cache='none' io='auto'/></tune>"
	ok "$device, $3: starts" start rd_a
	like "$device, $3: $2" "$(cat "$queue/scheduler")" "\\[$2\\]"
	is "$device, $3: requests, read-ahead" "$(cat "$queue/nr_requests") $(cat "$queue/read_ahead_kb")" '48 256'
	if is_v2; then like "$device, $3: limit" "$(cat "$(group_file "$(pid_of rd_a)" io io.max up)")" "^$(cat "/sys/block/$device/dev") .*riops=400"; fi
	ok "$device, $3: verify" domtune verify rd_a
	virsh -q destroy rd_a
	is "$device, $3: is what it was" "$(state)" "$before"
	undefine rd_a
	[ "$3" != file ] || umount "$directory"
}
if [ "${DOMTUNE_HOST:-}" = lab ]; then
	for name in nvme0n1 sda; do
		if [ ! -b /dev/$name ]; then skip "$name" 'not there'; else
			real_disk $name mq-deadline file
			real_disk $name bfq block
		fi
	done
	modprobe -q kyber-iosched
fi

disk_dir=$images/io
device=
[ ! -e /dev/loop-control ] || device=$(loop_disk 64 "$disk_dir")
queue=/sys/block/$device/queue
if [ -z "$device" ] || ! grep -q bfq "$queue/scheduler"; then
	skip 'disks' 'missing: a loop device with bfq'
	[ -z "$device" ] || umount "$disk_dir"
	return 0
fi
in_force() { sed -E 's/.*\[(.*)\].*/\1/' "$queue/scheduler"; }
device_state() { grep -H . "$queue"/{scheduler,nr_requests,read_ahead_kb,rq_affinity,nomerges,wbt_lat_usec}; }
number=$(cat "/sys/block/$device/dev")
define_on() { define "$1" disk="$disk_dir/$1.img" tune="$2" "${@:3}"; } # define_on NAME TUNE [wrap=no]
priorities() { # of all threads, each once; ioprio_get(2) by ionice
	local task
	for task in /proc/"$(pid_of "$1")"/task/*; do ionice -p "${task##*/}"; done | sort -u
}
line_of() { grep "^$number " "$(group_file "$(pid_of "$1")" "$2" "$3" "${4:-}")" 2>/dev/null; }
limits() { if is_v2; then line_of "$1" io io.max up; else line_of "$1" blkio blkio.throttle.read_bps_device; fi; }
weights() { # v2: of the scope, which is above libvirt's own group
	if is_v2; then grep "^$number " "$(dirname "$(dirname "$(group_file "$(pid_of "$1")" io x up)")")"/io.bfq.weight; else
		line_of "$1" blkio blkio.bfq.weight_device
	fi
}

echo mq-deadline >"$queue/scheduler"
echo 100 >"$queue/nr_requests"
before=$(device_state)

define_on dk_a "<tune profile='off'><disk target='vda' scheduler='bfq' requests='64' weight='300' read-bps='8388608'/><io priority='be:1'/></tune>"
define_on dk_b "<tune profile='off'><disk target='*' scheduler='none' merges='2'/><disk target='../../x' merges='1'/><io priority='rt:3'/></tune>"
like 'plan: names the device behind the image' "$(domtune plan dk_a)" "disk.scheduler +$device "
like 'plan: a disk that is none' "$(domtune plan dk_b)" "the domain has no disk '../../x'"
ok 'the first one starts' start dk_a
is 'its scheduler' "$(in_force)" bfq
is 'its requests' "$(cat "$queue/nr_requests")" 64
is 'I/O priority of all of its threads' "$(priorities dk_a)" 'best-effort: prio 1'
like 'its limit' "$(limits dk_a)" '8388608'
like 'its weight' "$(weights dk_a)" " 300\$"
like 'before exec, by the wrapper' "$(domtune status --json dk_a | json \
	'[s["effective"] for s in d["domains"][0]["settings"] if s["knob"] == "io.priority"]')" "'be:1', 'be:1'"
ok 'the second one starts' start dk_b
is 'the strongest scheduler stays' "$(in_force)" bfq
is 'merges of the second' "$(cat "$queue/nomerges")" 2
like 'the realtime class, by the hook' "$(priorities dk_b)" '^realtime: prio 3$'
like 'status: who loses sees who wins' "$(domtune status dk_b)" 'bfq is in force for dk_a'
like 'status: who wins sees who loses' "$(domtune status dk_a)" 'dk_b wants none'
ok 'verify agrees with both' sh -c 'domtune verify dk_a && domtune verify dk_b'
ok 'I/O priority goes live' domtune retune --off dk_b
is 'retune --off: no priority' "$(priorities dk_b)" 'none: prio 0'
is 'retune --off: merges go back' "$(cat "$queue/nomerges")" 0
ok 'retune' domtune retune dk_b
is 'retune: merges come again' "$(cat "$queue/nomerges")" 2
virsh -q destroy dk_a
wait_for test "$(in_force)" != bfq
is 'the first one has gone: what the second wants' "$(in_force)" none
is 'and the requests that were there' "$(cat "$queue/nr_requests")" 100
virsh -q destroy dk_b
is 'the device is what it was' "$(device_state)" "$before"

# Removed while a guest runs that has changed it: nothing fails, nothing is left.
define_on dk_a "<tune profile='off'><disk target='vda' scheduler='colour'/><disk target='vda' requests='60000'/></tune>"
ok 'a scheduler that there is not, and a number that cannot be: it starts' start dk_a
is 'nothing was changed' "$(device_state)" "$before"
for n in dk_a dk_b; do undefine "$n"; done
echo none >"$queue/scheduler"
umount "$disk_dir"

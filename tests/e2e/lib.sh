# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# For end-to-end tests: TAP, guests, and the kernel's own view of them. Runs on a host where domtune is installed and
# libvirtd runs: a private one (tests/private-host) or the lab's (tests/lab).
set -u

: "${TAP_STATE:=/tmp/tap-state}"
images=/var/lib/libvirt/images

# --- TAP ---------------------------------------------------------------------------------------------------------
tap() { # tap STATUS DESCRIPTION
	local n
	n=$(($(cat "$TAP_STATE" 2>/dev/null || echo 0) + 1))
	echo $n >"$TAP_STATE"
	[ "$1" = 0 ] && echo "ok $n - $2" || echo "not ok $n - $2"
}
comment() { sed 's/^/# /'; }
ok() { # ok DESCRIPTION COMMAND...
	local what=$1 out
	shift
	if out=$("$@" 2>&1); then tap 0 "$what"; else
		tap 1 "$what"
		printf '%s\n' "command: $*" "$out" | comment
	fi
}
not_ok() { # the command must fail
	local what=$1 out
	shift
	if out=$("$@" 2>&1); then
		tap 1 "$what"
		printf '%s\n' "succeeded: $*" "$out" | comment
	else tap 0 "$what"; fi
}
is() { # is DESCRIPTION GOT WANTED
	if [ "$2" = "$3" ]; then tap 0 "$1"; else
		tap 1 "$1"
		printf '%s\n' "     got: $2" "  wanted: $3" | comment
	fi
}
like() { # like DESCRIPTION GOT EXTENDED-REGULAR-EXPRESSION
	if grep -qE -- "$3" <<<"$2"; then tap 0 "$1"; else
		tap 1 "$1"
		printf '%s\n' "     got: $2" "    like: $3" | comment
	fi
}
skip() { # skip DESCRIPTION WHY
	tap 0 "$1 # SKIP $2"
}

# Wait until a command succeeds, for at most 60 s: a bound, not a measurement.
wait_for() {
	local _
	for _ in $(seq 600); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	echo "waited in vain for: $*" | comment
	return 1
}

# --- the host ----------------------------------------------------------------------------------------------------
domtune_log() { # what domtune has logged so far
	if [ "${DOMTUNE_HOST:-}" = private ]; then cat /var/log/syslog-private; else journalctl -q -o cat -t domtune; fi
}
logged() { domtune_log | grep -qE -- "$1"; } # the log's reader may be a moment behind: wait_for logged REGEX
pages() { # pages NODE nr|free [KIB]
	cat "/sys/devices/system/node/node$1/hugepages/hugepages-${3:-2048}kB/$2_hugepages"
}
set_pages() { echo "$2" >"/sys/devices/system/node/node$1/hugepages/hugepages-${3:-2048}kB/nr_hugepages"; }
expand() { # expand CPULIST: one number a line
	local part
	for part in ${1//,/ }; do seq "${part%-*}" "${part#*-}"; done
}
online=$(cat /sys/devices/system/cpu/online)
# The contract's default: the core of the lowest online CPU, none on a one-core host.
reserved=$(cat /sys/devices/system/cpu/cpu0/topology/thread_siblings_list)
[ "$(expand "$reserved" | wc -l)" != "$(expand "$online" | wc -l)" ] || reserved=

# libvirt makes these when its first guest starts, and keeps them.
machine_groups=$(ls -d /sys/fs/cgroup/machine.slice /sys/fs/cgroup/{cpuset,cpu}/machine 2>/dev/null || :)
cpusets=$(ls -d /sys/fs/cgroup/cpuset/*/ 2>/dev/null || :)

# Everything that domtune could have changed and must have put back.
host_state() {
	local dir file
	grep -H . /sys/devices/system/node/node*/hugepages/*/{nr,free}_hugepages
	grep -H . /proc/sys/net/core/{r,w}mem_max 2>/dev/null
	grep -H . /sys/devices/system/cpu/cpu*/power/pm_qos_resume_latency_us /sys/module/kvm/parameters/halt_poll_ns \
		/sys/devices/system/cpu/cpufreq/policy*/{scaling_governor,energy_performance_preference} 2>/dev/null
	find /run/domtune -type f ! -path '*/cache/*' ! -name lock ! -name pools ! -name ledger 2>/dev/null | sort
	# The ledger may exist, but holds nobody.
	echo "ledger: $(cat /run/domtune/ledger 2>/dev/null | grep -cE '^(claim|shared)')"
	for dir in $machine_groups; do
		for file in "$dir"/cpuset.{cpus,mems} "$dir"/cpu.{shares,weight,max,cfs_quota_us}; do
			if [ -r "$file" ]; then echo "$file $(cat "$file")"; fi
		done
	done
	isolation_state
	return 0
}
# What keeps CPUs free of the host's work. A slice has no cpuset.cpus before somebody asks for one: that is an empty one.
isolation_state() {
	local dir
	echo "default_smp_affinity $(cat /proc/irq/default_smp_affinity 2>/dev/null)"
	grep -H . /proc/irq/*/smp_affinity_list
	grep -sH . /sys/devices/virtual/workqueue/{,*/}cpumask
	grep -sH . /sys/module/kvm/parameters/halt_poll_ns /sys/devices/system/cpu/cpu[0-9]*/power/pm_qos_resume_latency_us \
		/sys/devices/system/cpu/cpufreq/policy[0-9]*/{scaling_governor,energy_performance_preference}
	! grep -qsx kthreadd /proc/2/comm || echo "kthreadd $(affinity 2)"
	for dir in /sys/fs/cgroup/{system.slice,user.slice,init.scope,machine.slice} $cpusets; do
		echo "$dir $(grep -shv '^member$' "$dir"/cpuset.cpus{,.exclusive,.partition} | paste -sd' ')"
	done
	[ ! -d /run/systemd/system ] || {
		systemctl show -p Id -p AllowedCPUs system.slice user.slice init.scope machine.slice
		# An emptied AllowedCPUs leaves a drop-in that says so until the next boot, domtune(8): it sets nothing.
		find /run/systemd/system.control -type f 2>/dev/null | sort | xargs -r grep -H . |
			grep -vE '/50-AllowedCPUs.conf:(#.*|\[(Slice|Scope)\]|AllowedCPUs=)$' || :
	}
}

# loop_disk MIB DIRECTORY: a disk of its own with a file system, mounted there; prints the kernel's name of the device,
# which goes when the last mount does: detaching one that is in use only says so to the kernel.
loop_disk() {
	local file device
	file=$(mktemp /var/tmp/loop.XXXXXX)
	truncate -s "$1M" "$file"
	device=$(losetup --find --show "$file") && mkfs.ext4 -q -F "$device" && mkdir -p "$2" && mount "$device" "$2" &&
		chmod 0777 "$2"
	losetup --detach "$device"
	rm -f "$file"
	echo "${device##*/}"
}

can_network() { # here is tc, and network devices can be made
	command -v tc >/dev/null && ip link add dtprobe0 type veth peer name dtprobe1 2>/dev/null && ip link del dtprobe0
}
# far_end: up0, a way out to far0 in a network namespace `far`, where what guests with payload `send` send arrives.
# uplink BRIDGE: the same as the port of a bridge; gone with uplink_gone [BRIDGE].
far_end() {
	ip link add up0 type veth peer name far0 && ip link set up0 up &&
		ip netns add far && ip link set far0 netns far &&
		ip -n far link set far0 address 02:00:00:00:00:01 up && ip -n far address add 198.51.100.1/24 dev far0
}
uplink() {
	ip link add "$1" type bridge && ip link set "$1" up && far_end && ip link set up0 master "$1"
}
uplink_gone() {
	ip link del up0
	ip netns del far
	[ -z "${1:-}" ] || ip link del "$1"
}
sends_to() { # sends_to BRIDGE BYTE: the <interface> of a guest with payload `send`; BYTE: the last one of its MAC address
	echo "<interface type='bridge'><mac address='52:54:00:00:00:$2'/><source bridge='$1'/><model type='rtl8139'/></interface>"
}
arrives() { ip netns exec far python3 "${BASH_SOURCE[0]%/*}/far-end" "$@"; } # arrives SECONDS BYTE...: bit/s of each

policy() { # policy [UPLINK-XML]
	echo "<policy xmlns='urn:domtune:1'><host deadline='120s'/>${1:-}</policy>" >/etc/domtune/policy.xml
}
# What tc says of a device, and of the uplink $up that a test is about.
root_of() { tc qdisc show dev "$1" root | awk '{ print $2, $3 }'; }
classes() { tc class show dev "$up" | awk '{ print $3 }' | grep -E ':d[0-9a-f]{3}$' | sort | xargs; }
class_line() { tc class show dev "$up" | grep -E " $1 "; }
sent() { # sent CLASS: packets
	tc -s class show dev "$up" | awk -v c="$1" '$1 == "class" { on = $3 == c } on && $1 == "Sent" { print $4; exit }'
}
has_sent() { [ "$(sent "$1")" -gt 0 ]; }
interface_of() { virsh domiflist "$1" | awk -v n="$2" 'NR > 2 && $n != "" { print $n; exit }'; }
tap_of() { interface_of "$1" 1; } # of its first interface
mac_of() { interface_of "$1" 5; }
setting() { # setting NAME KNOB FIELD
	domtune status --json "$1" | json "[s['$3'] for s in d['domains'][0]['settings'] if s['knob'] == 'interface.$2'][0]"
}
skipped() { # skipped NAME KNOB: why, of a running domain
	domtune status --json "$1" | json "[s['why'] for s in d['domains'][0]['skipped'] if s['knob'] == 'interface.$2']"
}
net_guest() { # net_guest NAME TUNE BRIDGE [MORE-XML]; its firmware asks for an address (DHCP)
	define "$1" tune="$2" wrap=no devices="<interface type='bridge'><source bridge='$3'/><model type='virtio'/>
		<boot order='1'/>${4:-}</interface>"
}
claimed_links() { grep -E '^claim' /run/domtune/ledger | grep -cE "$up:5[0-9]{4}:"; }
annotate() { # annotate NAME TUNE
	virsh -q metadata "$1" --uri urn:domtune:1 --key domtune --config --set "$2"
}

# restart_libvirtd [COMMAND]: COMMAND runs while there is none.
restart_libvirtd() {
	if [ "${DOMTUNE_HOST:-}" = private ]; then
		kill "$(cat /run/libvirtd.pid)"
		wait_for test ! -e /run/libvirtd.pid
		[ -z "${1:-}" ] || "$1"
		/usr/sbin/libvirtd -d -p /run/libvirtd.pid </dev/null
	else
		systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd.service 2>/dev/null
		[ -z "${1:-}" ] || "$1"
		systemctl start libvirtd.service
	fi
	wait_for virsh -q list
}

# --- guests ------------------------------------------------------------------------------------------------------
wrapper=/usr/libexec/domtune/qemu-system-x86_64
uuid_of() { echo -n "$1" | md5sum | sed -E 's/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/\1-\2-\3-\4-\5/'; }

# payload NAME: the boot image that is made of NAME.S.
payload() {
	local here=${BASH_SOURCE[0]%/*} image=/tmp/payload-$1.img object=/tmp/payload-$1.o
	if [ ! -e "$image" ]; then
		if [ -e "$here/$1.bin" ]; then cp "$here/$1.bin" "$image"; else
			gcc -m32 -c -o "$object" "$here/$1.S" &&
				ld -m elf_i386 --oformat=binary -Ttext=0x7c00 -e _start -o "$image" "$object" || return 1
		fi
		# What reads wants something to be there: an image's holes are no I/O.
		if [ "$1" = read ]; then head -c 32M /dev/urandom >>"$image"; fi
		truncate -s "%1M" "$image"
	fi
	echo "$image"
}
# guest NAME [vcpus=N] [memory=MIB] [tune=XML] [wrap=yes|no] [iothreads=N] [type=qemu|kvm] [top=XML] [devices=XML] [disk=PATH]
# [driver=ATTRIBUTES] [payload=boot|send|read]: print a definition. Every payload prints "guest up" on the serial port;
# `boot` then waits for the power button, the others work without end.
guest() {
	local name=$1 vcpus=1 memory=64 tune='' wrap=yes iothreads=0 type=qemu top='' devices='' disk=$images/$1.img driver='' payload=boot emulator
	shift
	[ $# = 0 ] || local "$@"
	emulator=$wrapper
	[ "$wrap" = yes ] || emulator=/usr/bin/qemu-system-x86_64
	[ -z "$tune" ] || tune="<metadata><tune xmlns='urn:domtune:1'${tune#<tune}</metadata>"
	cat <<-XML
		<domain type='$type'>
		  <name>$name</name>
		  <uuid>$(uuid_of "$name")</uuid>
		  $tune
		  <memory unit='MiB'>$memory</memory>
		  <vcpu>$vcpus</vcpu>
		  $([ "$iothreads" = 0 ] || echo "<iothreads>$iothreads</iothreads>")
		  $top
		  <os><type arch='x86_64' machine='q35'>hvm</type></os>
		  <features><acpi/></features>
		  <on_reboot>restart</on_reboot>
		  <devices>
		    <emulator>$emulator</emulator>
		    <disk type='file' device='disk'>
		      <driver name='qemu' type='qcow2' $driver/><source file='$disk'/><target dev='vda' bus='virtio'/>
		    </disk>
		    <controller type='usb' model='none'/>
		    <memballoon model='none'/>
		    <serial type='file'><source path='/var/log/libvirt/qemu/$name-serial.log'/></serial>
		    $devices
		  </devices>
		</domain>
	XML
}
# define the same, and make its disk.
define() {
	local xml word kind=boot path=$images/$1.img
	for word in "$@"; do
		case $word in
		payload=*) kind=${word#*=} ;;
		disk=*) path=${word#*=} ;;
		esac
	done
	xml=$(mktemp)
	guest "$@" >"$xml"
	make_disk "$path" "$kind"
	virsh -q define "$xml"
	rm -f "$xml"
}
make_disk() { # make_disk PATH [PAYLOAD]
	[ -e "$1" ] && return
	qemu-img convert -q -f raw -O qcow2 "$(payload "${2:-boot}")" "$1"
	chmod 0666 "$1"
}
undefine() {
	virsh -q destroy "$1" >/dev/null 2>&1
	virsh -q undefine --managed-save "$1" >/dev/null 2>&1
	rm -f "$images/$1.img" "/var/log/libvirt/qemu/$1-serial.log"
}
annotate() { # annotate GUEST XML, or none
	if [ -n "$2" ]; then virsh -q metadata "$1" --uri urn:domtune:1 --key domtune --set "$2" --config >/dev/null; else
		virsh -q metadata "$1" --uri urn:domtune:1 --remove --config >/dev/null 2>&1 || :
	fi
}
start() { virsh -q start "$1"; }
is_up() { grep -q 'guest up' "/var/log/libvirt/qemu/$1-serial.log"; }
is_off() { [ "$(virsh domstate "$1" 2>/dev/null | head -n 1)" = 'shut off' ]; }
pid_of() { cat "/run/libvirt/qemu/$1.pid"; }
tids() { # tids NAME COMM-PREFIX
	local task
	for task in /proc/"$(pid_of "$1")"/task/*; do
		case $(cat "$task/comm" 2>/dev/null) in "$2"*) echo "${task##*/}" ;; esac
	done
}
vcpu_tid() { tids "$1" "CPU $2/"; }
affinity() { awk '/^Cpus_allowed_list/ { print $2 }' "/proc/$1/status"; }
# The control file of a thread's group: group_file TID CONTROLLER FILE [up]; up: of the group above.
group_file() {
	local line path
	line=$(grep -E "^[0-9]+:([a-z_,]*,)?$2(,[a-z_,]*)?:" "/proc/$1/cgroup")
	if [ -n "$line" ]; then path=/sys/fs/cgroup/$2${line#*:*:}; else
		line=$(grep '^0::' "/proc/$1/cgroup")
		path=/sys/fs/cgroup${line#0::}
	fi
	[ "${4:-}" != up ] || path=${path%/*}
	echo "$path/$3"
}
many_nodes() { [ -d /sys/devices/system/node/node1 ]; }
cpuset_of() { # what the kernel lets the thread's group use
	local file
	file=$(group_file "$1" cpuset cpuset.cpus.effective)
	[ -r "$file" ] || file=$(group_file "$1" cpuset cpuset.effective_cpus)
	cat "$file"
}
# meddle NAME CPUS: somebody else changes what we set, the CPUs of the vCPU's group.
meddle() { echo "$2" >"$(group_file "$(vcpu_tid "$1" 0)" cpuset cpuset.cpus)"; }
is_v2() { [ -e /sys/fs/cgroup/cgroup.controllers ]; }
json() { # json PYTHON-EXPRESSION: of d, the JSON on standard input
	python3 -c 'import json,sys; d=json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"
}
state_files() { find /run/domtune -name "*$(uuid_of "$1")*"; }

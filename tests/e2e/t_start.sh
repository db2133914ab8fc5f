# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Starts: what was asked for is in force, read back from the kernel; then it is put back.

before=$(host_state)

# --- a domain that asks for nothing under a policy that gives nothing ---------------------------------------------
define plain1 tune="<tune profile='off'/>" wrap=no
ok 'profile off: starts' start plain1
is 'profile off: no state' "$(state_files plain1)" ''
is 'profile off: all CPUs' "$(affinity "$(vcpu_tid plain1 0)")" "$online"
undefine plain1

# --- dedicated, on huge pages --------------------------------------------------------------------------------------
for node in /sys/devices/system/node/node[0-9]*; do set_pages "${node##*node}" 48; done
with_pages=$(host_state)
define ded1 memory=64 iothreads=1 tune="<tune profile='latency'><memory pages='2M'/></tune>"
plan=$(domtune plan --json ded1)
is 'plan: dedicated' "$(json 'd["placement"]["policy"]' <<<"$plan")" dedicated
ok 'dedicated: starts' start ded1
pid=$(pid_of ded1)
vcpu=$(vcpu_tid ded1 0)
cpu=$(affinity "$vcpu")
like 'dedicated: one CPU' "$cpu" '^[0-9]+$'
not_ok 'dedicated: not a reserved one' grep -qx "$cpu" <(expand "$reserved")
is 'dedicated: the plan said so' "$(json 'd["placement"]["vcpus"][0]["cpus"]' <<<"$plan")" "$cpu"
is 'dedicated: cpuset of the vCPU' "$(cpuset_of "$vcpu")" "$cpu"
for tid in $pid $(tids ded1 'IO iothread1'); do
	not_ok "dedicated: $(cat /proc/"$pid"/task/"$tid"/comm) is elsewhere" grep -qx "$cpu" <(expand "$(affinity "$tid")")
done
node=$(basename /sys/devices/system/cpu/cpu"$cpu"/node*)
is 'dedicated: 2M pages of its node are used' "$(pages "${node#node}" free)" 16
like 'dedicated: guest RAM is a hugetlb memfd' "$(cat /proc/"$pid"/smaps)" 'memfd:memory-backend-memfd'
is 'dedicated: page size' "$(awk '/memory-backend-memfd/ { on = 1 } on && /^KernelPageSize/ { print $2; exit }' /proc/"$pid"/smaps)" 2048
policy=bind
many_nodes || policy=prefer # nothing to choose on one node: only the process's own preference
like 'dedicated: on the node, and bound to it' "$(grep memory-backend-memfd /proc/"$pid"/numa_maps)" "$policy:${node#node} .*N${node#node}=32 "
not_ok 'dedicated: the process itself is not bound' grep -q "^[0-9a-f]* bind:.*heap" /proc/"$pid"/numa_maps
ok 'dedicated: the guest runs' wait_for is_up ded1
ok 'dedicated: verify agrees' domtune verify ded1
status=$(domtune status --json ded1)
is 'status: started' "$(json 'd["domains"][0]["state"]' <<<"$status")" started
like 'status: names the pages' "$(json '[s for s in d["domains"][0]["settings"] if s["knob"]=="memory.pages"]' <<<"$status")" "'effective': '2M'"
is 'status: claimed CPUs' "$(json 'd["host"]["claimed"]' <<<"$status")" "$cpu"
ok 'log: one notice line' wait_for logged "ded1 started: profile latency, CPUs $cpu, node ${node#node}, [0-9]+ settings in force"

# --- drift is seen, and is not "restored" over somebody else's change --------------------------------------------------
meddle ded1 "$online"
not_ok 'verify: sees a changed cpuset' domtune verify ded1

ok 'dedicated: destroyed' virsh -q destroy ded1
is 'dedicated: no state left' "$(state_files ded1)" ''
is 'dedicated: the host is as it was' "$(host_state)" "$with_pages"
undefine ded1

# --- shared with weight and quota ----------------------------------------------------------------------------------
define sha1 vcpus=2 tune="<tune profile='balanced'><cpu weight='250' quota='150%'/></tune>"
ok 'shared: starts' start sha1
vcpu=$(vcpu_tid sha1 0)
allowed=$(affinity "$vcpu")
for cpu in $(expand "$reserved"); do
	not_ok "shared: not on reserved CPU $cpu" grep -qx "$cpu" <(expand "$allowed")
done
is 'shared: both vCPUs float' "$(affinity "$(vcpu_tid sha1 1)")" "$allowed"
if is_v2; then
	scope=$(grep -oE 'machine-qemu[^/]*\.scope' /proc/"$(pid_of sha1)"/cgroup)
	is 'shared: weight' "$(cat "/sys/fs/cgroup/machine.slice/$scope/cpu.weight")" 250
	systemctl daemon-reload
	is 'shared: weight survives daemon-reload' "$(cat "/sys/fs/cgroup/machine.slice/$scope/cpu.weight")" 250
	is 'shared: quota' "$(cat "/sys/fs/cgroup/machine.slice/$scope/libvirt/cpu.max")" '150000 100000'
else
	is 'shared: weight as shares' "$(cat "$(group_file "$vcpu" cpu cpu.shares up)")" 2560
	is 'shared: quota' "$(cat "$(group_file "$vcpu" cpu cpu.cfs_quota_us up)")" 150000
fi
ok 'shared: verify agrees' domtune verify sha1
ok 'shared: destroyed' virsh -q destroy sha1
undefine sha1

# --- without annotation: balanced ------------------------------------------------------------------------------------
define bal1
ok 'no annotation: starts' start bal1
like 'no annotation: balanced' "$(domtune status bal1)" balanced
ok 'no annotation: destroyed' virsh -q destroy bal1
undefine bal1

# --- hugetlb pages short: the argument stays, and the reason is told ---------------------------------------------------
cp /etc/domtune/policy.xml /tmp/policy.kept
echo '<policy xmlns="urn:domtune:1"><host deadline="120s" max-hugepages="1MiB"/></policy>' >/etc/domtune/policy.xml
for node in /sys/devices/system/node/node[0-9]*; do set_pages "${node##*node}" 0; done
define short1 tune="<tune><memory pages='2M'/></tune>"
ok 'no pages: starts all the same' start short1
like 'no pages: the reason is in status' "$(domtune status short1; domtune plan short1)" '2M'
like 'no pages: ordinary memory' "$(grep -c memfd:memory-backend-memfd /proc/"$(pid_of short1)"/smaps)" '^0$'
virsh -q destroy short1
define short1 tune="<tune on-error='fail'><memory pages='2M'/></tune>"
out=$(start short1 2>&1)
like 'no pages, on-error=fail: refused at prepare' "$out" 'domtune: .*2M'
is 'no pages, on-error=fail: one line of ours' "$(grep -c 'domtune: ' <<<"$out")" 1
is 'refused: no state left' "$(state_files short1)" ''
undefine short1
mv -f /tmp/policy.kept /etc/domtune/policy.xml

# --- explicit XML wins, and is seen as occupied -------------------------------------------------------------------------
last=$(expand "$online" | tail -n 1)
define pin1 wrap=no top="<cputune><vcpupin vcpu='0' cpuset='$last'/></cputune>" tune="<tune profile='off'/>"
ok 'own pins: starts' start pin1
define ded2 tune="<tune profile='latency'/>"
ok 'beside own pins: dedicated starts' start ded2
if [ "$(expand "$online" | wc -l)" -gt 3 ]; then
	not_ok 'beside own pins: not the pinned CPU' grep -qx "$last" <(expand "$(affinity "$(vcpu_tid ded2 0)")")
fi
virsh -q destroy ded2
virsh -q destroy pin1
is 'own pins: no state left' "$(state_files pin1)" ''
undefine ded2
undefine pin1

# --- a malformed annotation -----------------------------------------------------------------------------------------------
define bad1 tune="<tune profile='nosuch'><cpu weight='12x' quota='50%'/><nonsense/></tune>"
ok 'malformed annotation: starts' start bad1
vcpu=$(vcpu_tid bad1 0)
if is_v2; then quota=$(cat "$(group_file "$vcpu" cpu cpu.max up)"); else quota=$(cat "$(group_file "$vcpu" cpu cpu.cfs_quota_us up)"); fi
like 'malformed annotation: the rest applies' "$quota" '^50000'
ok 'malformed annotation: warned with the place' wait_for logged 'bad1.*(12x|weight)'
virsh -q destroy bad1
undefine bad1

# --- names ---------------------------------------------------------------------------------------------------------------
# libvirt itself refuses to define "..".
for name in 'a b' '-dash' '...' 'x;rm' 'é' '$(reboot)'; do
	define "$name" tune="<tune profile='latency'/>"
	ok "name '$name': starts" virsh -q start -- "$name"
	is "name '$name': placed" "$(affinity "$(vcpu_tid "$name" 0)" | tr -d 0-9)" ''
	virsh -q destroy -- "$name"
	is "name '$name': no state left" "$(state_files "$name")" ''
	virsh -q undefine -- "$name"
	rm -f "$images/$name.img"
done

# --- pinned guests that started while the switch was off are seen afterwards -------------------------------------------------
define pin2 wrap=no top="<cputune><vcpupin vcpu='0' cpuset='$last'/></cputune>" tune="<tune profile='off'/>"
domtune disable >/dev/null
start pin2
is 'disabled: a pinned guest is not known' "$(state_files pin2)" ''
domtune enable >/dev/null
define ded3 tune="<tune profile='latency'/>"
start ded3
like 'enabled: it is found, and its CPU is occupied' "$(domtune status --json | json 'd["host"]["claimed"]')" "(^|[,-])$last(\$|[,-])"
not_ok 'enabled: its CPU is nobody else'"'"'s' test "$(affinity "$(vcpu_tid ded3 0)")" = "$last"
virsh -q destroy ded3
virsh -q destroy pin2
undefine ded3
undefine pin2
ok 'enabled: nothing is left' domtune recover

# --- the switches ----------------------------------------------------------------------------------------------------------
define sw1 tune="<tune profile='latency'/>"
domtune disable
ok 'disabled: starts' start sw1
is 'disabled: nothing done' "$(state_files sw1)" ''
virsh -q destroy sw1
domtune enable
ok 'disable DOMAIN' domtune disable sw1
ok 'disable DOMAIN: starts' start sw1
is 'disable DOMAIN: nothing done' "$(state_files sw1)" ''
virsh -q destroy sw1
ok 'enable DOMAIN' domtune enable sw1
undefine sw1

is 'at the end the host is as it was' "$(host_state)" "$before"

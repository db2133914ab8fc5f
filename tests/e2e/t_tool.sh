# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# The admin tool against a real libvirt: the annotation as virsh and as the tool write it, the wrapper in and out of
# definitions, domains that are transient or annotated by somebody else, captures.

qemu=/usr/bin/qemu-system-x86_64
annotation() { virsh metadata "$1" --uri urn:domtune:1 "${2:---config}" 2>/dev/null; }
emulator_of() { virsh dumpxml --inactive "$1" | sed -n 's|.*<emulator>\(.*\)</emulator>.*|\1|p'; }
status_of() { # status_of COMMAND...: its exit status
	"$@" >/dev/null 2>&1
	echo $?
}

# --- set and the plain virsh command ---------------------------------------------------------------------------------
define tool1 vcpus=2 wrap=no
virsh -q metadata tool1 --uri http://example.org/other --key other --set "<note a='1'/>" --config
ok 'virsh: annotates as the contract says' \
	virsh -q metadata tool1 --uri urn:domtune:1 --key domtune --set "<tune profile='latency'/>" --config
by_virsh=$(domtune plan --json tool1)
is 'virsh: the plan follows it' "$(json '(d["profile"], d["profile_source"])' <<<"$by_virsh")" "('latency', 'annotation')"
ok 'unset' domtune unset tool1
not_ok 'unset: is gone' annotation tool1
is 'unset: the default again' "$(domtune plan --json tool1 | json 'd["profile_source"]')" default
like 'set: says what waits for the wrapper' "$(domtune set tool1 latency)" 'needs the wrapper, domtune wrap tool1'
is 'set: as virsh did it' "$(domtune plan --json tool1)" "$by_virsh"
like 'set: the other namespace stays' "$(virsh metadata tool1 --uri http://example.org/other --config)" "a=.1."
like 'set: virsh reads it' "$(annotation tool1)" "^<tune profile=.latency./>"
ok 'set: merges' domtune set tool1 balanced cpu.weight=250 'disk[vda].scheduler=none'
ok 'set: merges again' domtune set tool1 balanced cpu.quota=150% cpu.weight=
like 'set: what came of it' "$(annotation tool1 | tr -d '\n')" \
	"^<tune profile=.balanced.> *<cpu quota=.150%./> *<disk target=.vda. scheduler=.none./> *</tune>"
is 'set: one element of ours' "$(virsh dumpxml --inactive tool1 | grep -c urn:domtune:1)" 1
is 'set: no such profile' "$(status_of domtune set tool1 nosuch)" 2
is 'set: no such domain' "$(status_of domtune set nosuch latency)" 3
virsh dumpxml --inactive tool1 >/tmp/tool1.xml
ok 'check: a definition' domtune check /tmp/tool1.xml
is 'plan: definition by name and by file' "$(domtune plan --json tool1)" "$(domtune plan --json /tmp/tool1.xml)"

# --- another prefix ---------------------------------------------------------------------------------------------------
sed -e 's|<name>tool1|<name>tool2|' -e "s|$(uuid_of tool1)|$(uuid_of tool2)|" -e "s|$images/tool1|$images/tool2|" \
	-e 's|tool1-serial|tool2-serial|' -e '/<domtune:tune/,/<\/domtune:tune>/d' \
	-e "s|</metadata>|<foo:tune xmlns:foo='urn:domtune:1' profile='off'><foo:cpu weight='7'/></foo:tune></metadata>|" \
	/tmp/tool1.xml >/tmp/tool2.xml
make_disk "$images/tool2.img"
ok 'prefix: defined' virsh -q define /tmp/tool2.xml
is 'prefix: is read' "$(domtune plan --json tool2 | json 'd["profile"]')" off
ok 'prefix: set' domtune set tool2 balanced
is 'prefix: one element of ours' "$(virsh dumpxml --inactive tool2 | grep -c urn:domtune:1)" 1
like 'prefix: what was there is kept' "$(annotation tool2 | tr -d '\n')" "<cpu weight=.7./>"

# --- the wrapper in definitions ------------------------------------------------------------------------------------------
like 'wrap' "$(domtune wrap tool1)" '^tool1: wrapped$'
is 'wrap: in <emulator>' "$(emulator_of tool1)" "$wrapper"
is 'wrap: the plan knows' "$(domtune plan --json tool1 | json 'd["wrapper"]')" True
like 'wrap: twice' "$(domtune wrap tool1)" 'wrapped already'
like 'wrap: the annotation stays' "$(annotation tool1)" balanced
ok 'wrap --all' domtune wrap --all
is 'wrap --all: the other one too' "$(emulator_of tool2)" "$wrapper"
ok 'unwrap' domtune unwrap tool2
is 'unwrap: as it was' "$(emulator_of tool2)" "$qemu"

# --- off and on again, for a domain ---------------------------------------------------------------------------------------
had=$(annotation tool1)
ok 'disable DOMAIN' domtune disable tool1
like 'disable DOMAIN: profile off' "$(annotation tool1)" "^<tune profile=.off./>"
is 'disable DOMAIN: unwrapped' "$(emulator_of tool1)" "$qemu"
ok 'enable DOMAIN' domtune enable tool1
is 'enable DOMAIN: the annotation is back' "$(annotation tool1)" "$had"
is 'enable DOMAIN: wrapped again' "$(emulator_of tool1)" "$wrapper"
is 'plan --all: each domain' "$(domtune plan --all --json | json '[p["domain"]["name"] for p in d if p["domain"]["name"].startswith("tool")]')" \
	"['tool1', 'tool2']"

# --- a running one --------------------------------------------------------------------------------------------------------
ok 'started' start tool1
virsh dumpxml tool1 >/tmp/tool1-live.xml
ok 'check: a live XML' domtune check /tmp/tool1-live.xml
like 'set: waits for the next start' "$(domtune set tool1 density)" 'takes effect at the next start'
is 'plan --live: as it runs' "$(domtune plan --live --json tool1 | json 'd["profile"]')" balanced
is 'plan: as it will start' "$(domtune plan --json tool1 | json 'd["profile"]')" density
is 'status: value and effective compare' \
	"$(domtune status --json tool1 | json '[(s["value"], s["effective"]) for s in d["domains"][0]["settings"] if s["knob"]=="cpu.quota"]')" \
	"[('150%', '150%')]"
ok 'verify: all in force' domtune verify tool1
is 'plan --live: not running' "$(status_of domtune plan --live tool2)" 3

# --- transient -----------------------------------------------------------------------------------------------------------
sed -e 's|<name>tool2|<name>tool3|' -e "s|$(uuid_of tool2)|$(uuid_of tool3)|" -e "s|$images/tool2|$images/tool3|" \
	-e 's|tool2-serial|tool3-serial|' /tmp/tool2.xml >/tmp/tool3.xml
make_disk "$images/tool3.img"
ok 'transient: created' virsh -q create /tmp/tool3.xml
like 'transient: set changes the running one' "$(domtune set tool3 latency)" 'transient'
like 'transient: annotated' "$(annotation tool3 --live)" latency
is 'transient: cannot be wrapped' "$(status_of domtune wrap tool3)" 3
virsh -q destroy tool3
rm -f "$images/tool3.img"

# --- the host's switch ------------------------------------------------------------------------------------------------------
ok 'disable' domtune disable
is 'disable: status' "$(domtune status --json | json 'd["host"]["enabled"]')" False
ok 'disable: a guest starts' start tool2
is 'disable: untouched' "$(state_files tool2)" ''
ok 'disable: what is in force is undone' virsh -q destroy tool1
is 'disable: undone' "$(state_files tool1)" ''
virsh -q destroy tool2
ok 'enable' domtune enable
is 'enable: status' "$(domtune status --json | json 'd["host"]["enabled"]')" True

# --- elsewhere ---------------------------------------------------------------------------------------------------------------
mkdir -p /tmp/captured
domtune capture | tar -C /tmp/captured -xf -
here=$(domtune plan --json /tmp/tool1.xml)
is 'capture: the same plan elsewhere' "$(domtune plan --root /tmp/captured --json /tmp/tool1.xml)" "$here"
rm -rf /tmp/captured

undefine tool1
undefine tool2
ok 'nothing is left' domtune verify

#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Hook, decide and apply together below a fake root: what is claimed and written in each case, that nothing is left of
what failed or was refused, and that no input makes a call fail that did not ask for it.
"""
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hooklib import (BUILD, DECIDE, TOP, UUID, Log, Tap, build_with_helpers_in, call, can_inject, copies,  # noqa: E402
                     domain_xml, made_root, record)

tap = Tap()
work = tempfile.mkdtemp(prefix="domtune-decide-")
hook = os.path.join(work, "qemu")
helpers = os.path.join(work, "domtune")
decide = os.path.join(helpers, "decide")
PHASES = ["prepare", "start", "started", "stopped", "release", "reconnect", "migrate", "restore", "attach"]
UUID2 = "00000000-0000-4000-8000-000000000002"
OFF = "<policy xmlns='urn:domtune:1'><default profile='off'/></policy>\n"


def make_root(*options, policy=OFF):
    """8 CPUs on one node, of which 0 is reserved, unless the options say otherwise."""
    root = made_root(*options)
    for name in os.listdir(os.path.join(TOP, "install/profiles")):
        with open(os.path.join(TOP, "install/profiles", name), encoding="utf-8") as file:
            root.put("usr/share/domtune/profiles/" + name, file.read())
    if policy:
        root.put("etc/domtune/policy.xml", policy)
    return root


def tune(body="", attributes="", prefix="d"):
    return ("  <metadata>\n    <%s:tune xmlns:%s='urn:domtune:1' %s>%s</%s:tune>\n  </metadata>\n"
            % (prefix, prefix, attributes, body, prefix))


def dedicated(name="web1", uuid=UUID, attributes="", vcpus=2, more=""):
    xml = domain_xml(name, uuid, tune("<d:cpu policy='dedicated' %s/>" % more, attributes))
    return xml.replace(b">2</vcpu>", b">%d</vcpu>" % vcpus)


def wrapped():
    """A domain that has the wrapper and asks for something from each stage."""
    xml = domain_xml(body=tune("<d:cpu policy='dedicated'/><d:memory pages='2M'/>"))
    return xml.replace(b"/usr/bin/qemu-system-x86_64", os.path.join(helpers, "qemu-system-x86_64").encode())


def run(root, phase, xml, name="web1", **more):
    return call(hook, [name, phase, "begin", "-"], xml, root, **more)


def run_decide(root, xml, verb="prepare", **env):
    environ = {"DOMTUNE_ROOT": root.dir, "PATH": os.environ["PATH"], **env}
    return subprocess.run([decide, verb, str(os.getpid())], input=xml, env=environ, capture_output=True, timeout=60,
                          check=False)


def claims(root):
    """Claims of the ledger by UUID; a line whose checksum is wrong fails the test."""
    found = {}
    for line in (root.get("run/domtune/ledger") or "").splitlines():
        fields = line.split("\t")[:-1]
        assert record(*fields) == line + "\n", line
        if fields[0] == "claim":
            found[fields[1]] = {"kind": fields[2], "phase": fields[3], "generation": int(fields[4]), "pid": int(fields[5]),
                                "daemon": int(fields[7]), "name": fields[10], "cpus": cpu_set(fields[11])}
    return found


def cpu_set(text):
    cpus = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


def state(root):
    """What is named after a domain in our state, and who is in the ledger."""
    names = []
    for where in "undo", "plan":
        path = root.path("run/domtune/" + where)
        found = sorted(os.listdir(path)) if os.path.isdir(path) else []
        names += ["%s/%s" % (where, n) for n in found if not n.startswith(".tmp.")]  # cut off by kill -9, not named by it
    return names + sorted(claims(root))


# ---- what is written ----

def test_untouched():
    root = make_root()
    result = run(root, "prepare", domain_xml())
    tap.ok(result.is_silent() and state(root) == [], "a domain that asks for nothing under an idle policy leaves nothing",
           result, state(root))
    tap.ok(root.get("run/domtune/cache/gate"), "the gate was written", root.listing("run/domtune").keys())
    ledger = root.get("run/domtune/ledger")
    tap.ok(ledger and ledger.split("\t")[5] == "1", "running domains have been looked for", ledger)
    os.rename(helpers, helpers + ".away")
    result = run(root, "prepare", domain_xml())
    os.rename(helpers + ".away", helpers)
    tap.ok(result.is_silent(), "the next one is not even decided", result)
    root.remove()


def test_claim():
    root = make_root()
    before = root.outside()
    result = run(root, "prepare", dedicated())
    got = claims(root).get(UUID, {})
    tap.ok(result.is_silent() and got.get("kind") == "ours" and len(got["cpus"]) == 2 and 0 not in got["cpus"],
           "two dedicated CPUs are claimed, not the reserved one", result, got)
    tap.ok(got.get("phase") == "prepared" and got["pid"] == 0 and got["daemon"] == os.getpid(),
           "the claim hangs on libvirtd until the guest runs", got)
    tap.ok(state(root) == ["undo/" + UUID, UUID], "without the wrapper there is no plan file", state(root))
    tap.ok(oct(os.stat(root.path("run/domtune/undo/" + UUID)).st_mode & 0o777) == "0o600", "undo/UUID is root's alone")
    for phase in "stopped", "release":
        result = run(root, phase, domain_xml())
        tap.ok(result.is_silent(), "a failed start: " + phase, result)
    tap.ok(state(root) == [], "release leaves nothing named by the domain", state(root))
    tap.ok(root.outside() == before, "and nothing has changed outside our state")
    root.remove()


def test_second_prepare():
    """libvirtd was killed after prepare: the next start of the same domain begins anew."""
    root = make_root()
    run(root, "prepare", dedicated())
    first = claims(root)[UUID]
    result = run(root, "prepare", dedicated(vcpus=3))
    second = claims(root).get(UUID)
    tap.ok(result.is_silent() and second and len(second["cpus"]) == 3 and second["generation"] > first["generation"],
           "a second prepare replaces the first, with a new generation", result, first, second)
    result = run(root, "prepare", domain_xml())
    tap.ok(result.is_silent() and state(root) == [], "a prepare without annotation takes the old claim away", result,
           state(root))
    root.remove()


def test_wrapper():
    root = make_root("--hugepages", "0:2048:512")
    xml = wrapped()
    result = run(root, "prepare", xml)
    plan = root.get("run/domtune/plan/" + UUID) or ""
    tap.ok(result.is_silent() and plan.startswith("head\t") and "\nend\t" in plan, "the wrapper's plan is written", result,
           plan)
    tap.ok("/usr/bin/qemu-system-x86_64" in plan and "7002022" in plan, "it names the real emulator and its version", plan)
    run(root, "release", domain_xml())
    tap.ok(state(root) == [], "release removes it", state(root))
    run(root, "reconnect", xml)
    tap.ok(root.get("run/domtune/plan/" + UUID) is None, "adopting a running domain writes none", state(root))
    root.remove()


def test_observe():
    root_policy = "<policy xmlns='urn:domtune:1'><host mode='observe'/><default profile='latency'/></policy>"
    root = make_root(policy=root_policy)
    xml = domain_xml().replace(b"/usr/bin/qemu", helpers.encode() + b"/qemu")
    before = root.outside()
    result = run(root, "prepare", xml)
    got = claims(root).get(UUID, {})
    tap.ok(result.is_silent() and got.get("kind") == "observe", "observe: a claim that holds nothing", result, got)
    tap.ok(root.get("run/domtune/plan/" + UUID) is None and root.get("run/domtune/undo/" + UUID),
           "a plan to show, none for the wrapper", state(root))
    result = run(root, "prepare", dedicated("web2", UUID2, "on-error='fail'", vcpus=64), "web2")
    tap.ok(result.is_silent(), "observe: nothing is refused", result)
    tap.ok(root.outside() == before, "observe: nothing is written")
    root.remove()

    root = make_root("--domain", "web1:7:%s:2" % UUID, policy=root_policy)
    before = root.outside()
    results = [run(root, phase, xml) for phase in ("reconnect", "reconnect", "started")]
    tap.ok(all(r.is_silent() for r in results) and root.outside() == before, "observe: nor for a running domain", results,
           [k for k, v in root.outside().items() if before.get(k) != v])
    tap.ok(claims(root).get(UUID, {}).get("pid") == 20700, "but its process is known", claims(root))
    run(root, "release", domain_xml())
    tap.ok(state(root) == [] and root.outside() == before, "observe: release takes the plan away", state(root))
    root.remove()


# ---- refusals ----

def test_refused():
    root = make_root()
    result = run(root, "prepare", dedicated(attributes="on-error='fail'", vcpus=64))
    tap.ok(result.status == 1 and result.out == b"" and result.err.startswith(b"domtune: web1: ") and
           result.err.count(b"\n") == 1, "64 dedicated CPUs on a host of 8 with on-error=fail: one line", result)
    tap.ok(state(root) == [], "nothing is left of it", state(root))
    for phase in "stopped", "release":
        tap.ok(run(root, phase, domain_xml()).is_silent(), "libvirt's %s after it" % phase)
    result = run(root, "prepare", dedicated(vcpus=64))
    tap.ok(result.is_silent(), "the same without on-error starts", result)
    root.remove()


# ---- domains of others ----

def test_pins_of_others():
    root = make_root()
    pins = "  <cputune>\n    <vcpupin vcpu='0' cpuset='2'/>\n    <vcpupin vcpu='1' cpuset='3,5'/>\n" \
           "    <vcpupin vcpu='9' cpuset='7'/>\n  </cputune>\n"
    result = run(root, "prepare", domain_xml("other", UUID2, pins), "other")
    got = claims(root).get(UUID2, {})
    tap.ok(result.is_silent() and got.get("kind") == "foreign" and got["cpus"] == {2, 3, 5},
           "pins passing through prepare are occupied, not those of vCPUs that are not there", result, got)
    tap.ok(root.get("run/domtune/undo/" + UUID2), "later phases will know it", state(root))
    run(root, "prepare", dedicated())
    got = claims(root).get(UUID, {})
    tap.ok(got and not got["cpus"] & {2, 3, 5}, "nobody else gets them", got)
    run(root, "release", domain_xml("other", UUID2, pins), "other")
    tap.ok(UUID2 not in claims(root), "until it ends", claims(root))

    sparse = domain_xml("other", UUID2, "  <vcpus>\n" + "".join(
        "    <vcpu id='%d' enabled='%s' hotpluggable='%s'/>\n" % (i, on, "no" if i == 0 else "yes")
        for i, on in enumerate(["yes", "no", "no", "yes"])) + "  </vcpus>\n  <cputune>\n" + "".join(
            "    <vcpupin vcpu='%d' cpuset='%d'/>\n" % (i, i + 2) for i in range(4)) + "  </cputune>\n")
    sparse = sparse.replace(b"<vcpu placement='static'>2<", b"<vcpu placement='static' current='2'>4<")
    run(root, "prepare", sparse, "other")
    tap.ok(claims(root).get(UUID2, {}).get("cpus") == {2, 5}, "of vCPUs with gaps, those that are there", claims(root))
    run(root, "release", sparse, "other")
    wide = pins.replace("'2'", "'0-7'").replace("'3,5'", "'0-31'").replace("'7'", "'1'")
    run(root, "prepare", domain_xml("other", UUID2, wide), "other")
    tap.ok(not claims(root).get(UUID2, {}).get("cpus"), "who is pinned to every CPU holds none", claims(root))
    root.remove()


def test_running_before():
    by_hand = ["--set=proc/20300/task/%d/status=Name:\tCPU\\nCpus_allowed_list:\t%s" % (20303 + i, cpus)
               for i, cpus in enumerate(["4", "0-7"])]
    narrowed = ["--set=proc/20400/task/%d/status=Name:\tCPU\\nCpus_allowed_list:\t0-3" % (20403 + i) for i in range(2)]
    uuids = ["00000000-0000-4000-8000-00000000000%d" % i for i in range(5)]
    root = make_root("--domain", "float:1:%s:2" % uuids[1], "--domain", "pinned:2:%s:2" % uuids[2], "--vcpupin", "pinned:0:6",
                     "--vcpupin", "pinned:1:7", "--domain", "byhand:3:%s:2" % uuids[3], *by_hand, "--domain",
                     "narrow:4:%s:2" % uuids[4], *narrowed)
    root.put("run/libvirt/qemu/torn.xml", "<domstatus state='running' pid='20100'>\n  <domain type='kvm'")
    root.put("run/libvirt/qemu/gone.xml", root.get("run/libvirt/qemu/pinned.xml").replace("20200", "20999")
             .replace(uuids[2], UUID2))
    os.symlink("/etc/passwd", root.path("run/libvirt/qemu/link.xml"))
    os.mkdir(root.path("run/libvirt/qemu/dir.xml"))
    result = run(root, "prepare", dedicated(vcpus=4))
    got = claims(root)
    tap.ok(result.is_silent() and {u: (c["kind"], c["cpus"]) for u, c in got.items() if u != UUID} ==
           {uuids[2]: ("foreign", {6, 7}), uuids[3]: ("foreign", {4})},
           "domains running before us: pinned ones are occupied, by XML or by hand", result, got)
    tap.ok(got.get(uuids[2], {}).get("pid") == 20200, "their processes are known", got)
    tap.ok(UUID in got and not got[UUID]["cpus"] & {4, 6, 7}, "and their CPUs are not given away", got)
    root.put("run/libvirt/qemu/late.xml", root.get("run/libvirt/qemu/pinned.xml").replace(uuids[2], uuids[0]))
    run(root, "prepare", domain_xml("web2", UUID2, tune("<d:cpu policy='shared'/>")), "web2")
    tap.ok(uuids[0] not in claims(root), "they are looked for once per boot", claims(root))
    root.put("proc/sys/kernel/random/boot_id", "22222222-2222-3333-4444-555555555555\n")
    run(root, "prepare", dedicated())
    tap.ok(uuids[0] in claims(root) and UUID in claims(root), "and again in the next boot", claims(root))
    root.remove()


def put_threads(root, pid, comm, threads, flags=0x400100, start=1000):
    """A process with threads of (CPUs allowed, per cent of its CPU used since it began); it is now 100 s after boot."""
    root.put("proc/uptime", "100.00 700.00\n")
    for i, (cpus, percent) in enumerate(threads):
        ticks = (10000 - start) * percent // 100
        fields = [pid + i, "(%s)" % comm, "S", 1, pid, pid, 0, -1, flags, 0, 0, 0, 0, ticks, 0, 0, 0, 20, 0, len(threads), 0,
                  start] + [0] * 30
        root.put("proc/%d/task/%d/stat" % (pid, pid + i), " ".join(map(str, fields)) + "\n")
        root.put("proc/%d/task/%d/status" % (pid, pid + i), "Name:\t%s\nCpus_allowed_list:\t%s\n" % (comm, cpus))


def test_busy_programs():
    root = make_root()
    put_threads(root, 500, "ovs (x) pmd", [("0-7", 5), ("5", 99), ("6", 100), ("7", 3)])
    put_threads(root, 600, "nginx", [("1", 2), ("2", 2), ("3", 2), ("4", 2)])
    put_threads(root, 700, "kworker/4:1H", [("4", 100)], flags=0x4208060)
    put_threads(root, 800, "qemu-system-x86", [("0-7", 1), ("4", 100)])
    put_threads(root, 900, "late", [("4", 100)], start=9950)
    put_threads(root, 950, "wide", [("1-4", 100)])
    result = run(root, "prepare", dedicated(vcpus=2))
    got = claims(root)
    others = [(c["kind"], c["name"], c["pid"], c["cpus"]) for u, c in got.items() if u != UUID]
    tap.ok(result.is_silent() and others == [("foreign", "ovs (x) pmd", 500, {5, 6})],
           "CPUs that a pinned thread keeps busy are occupied, and no others", result, others)
    tap.ok(len(got.get(UUID, {}).get("cpus", ())) == 2 and not got[UUID]["cpus"] & {5, 6}, "nobody gets them", got)
    root.remove()
    root = make_root()
    put_threads(root, 500, "hpc", [(str(i), 100) for i in range(8)])
    run(root, "prepare", dedicated())
    tap.ok(list(claims(root)) == [UUID], "who uses all CPUs has set none aside", claims(root))
    root.remove()


def group_cpus(root, group):
    """CPUs of one of web1's groups."""
    return [cpu_set(d.decode().strip()) for n, d in root.outside().items() if "web1" in n and n.endswith(group + "/cpuset.cpus")]


def test_retune():
    root = make_root("--domain", "web1:7:%s:2" % UUID, "--domain", "web2:8:%s:2" % UUID2)
    before = root.outside()
    run(root, "reconnect", dedicated())
    first = claims(root)[UUID]
    result = run_decide(root, dedicated(), "retune")
    tap.ok(result.returncode == 0 and claims(root).get(UUID) == first, "retune for nothing changes nothing", result, first,
           claims(root))
    result = run_decide(root, dedicated(more="emulator='isolate'"), "retune")
    again = claims(root).get(UUID, {})
    mine = again["cpus"] - first["cpus"]
    tap.ok(result.returncode == 0 and again == {**first, "cpus": again["cpus"]} and again["cpus"] > first["cpus"] and
           len(mine) == 1, "retune keeps generation, process and, where it can, CPUs", result, first, again)
    tap.ok(group_cpus(root, "emulator") == [mine], "what is new is applied", group_cpus(root, "emulator"), mine)
    result = run_decide(root, domain_xml(body=tune("<d:cpu policy='shared'/>")), "retune")
    tap.ok(result.returncode == 0 and claims(root).get(UUID, {}).get("cpus") == set(), "from dedicated to shared: its CPUs are "
           "free again", result, claims(root))
    tap.ok(group_cpus(root, "emulator") == [set()] and group_cpus(root, "libvirt") == [set(range(1, 8))],
           "what has gone is put back, and its threads float", group_cpus(root, "emulator"), group_cpus(root, "libvirt"))
    result = run_decide(root, dedicated("web2", UUID2), "retune")
    tap.ok(result.returncode == 0 and UUID2 in claims(root), "one that has no claim is adopted", result, claims(root))
    run(root, "release", domain_xml("web2", UUID2), "web2")
    result = run_decide(root, dedicated(), "off")
    tap.ok(result.returncode == 0 and state(root) == [] and root.changed(before) == [], "off: claim and files go, and all is as "
           "it was", result, state(root), root.changed(before))
    result = run_decide(root, dedicated(), "off")
    tap.ok(result.returncode == 0 and state(root) == [], "off again: nothing to do", result, state(root))
    root.remove()

    root = make_root()
    run(root, "prepare", dedicated())
    before = claims(root)
    result = run_decide(root, domain_xml(), "retune")
    tap.ok(result.returncode == 2 and claims(root) == before, "one that is starting is left alone", result, claims(root))
    root.remove()


def test_off_with_pages():
    """A guest on pages that we added keeps them until it ends."""
    root = make_root("--domain", "web1:7:%s:2" % UUID)
    before = root.outside()
    run(root, "prepare", huge())
    run(root, "started", domain_xml())
    tap.ok(pages_of(root) == [(0, 2048, 128, 0)] and claims(root)[UUID]["phase"] == "started", "it runs", claims(root))
    result = run_decide(root, huge(), "off")
    tap.ok(result.returncode == 0 and pages_of(root) == [(0, 2048, 128, 0)] and pool(root)[0] == 128, "off: its pages stay "
           "claimed", result, pages_of(root), pool(root))
    run(root, "release", domain_xml())
    tap.ok(state(root) == [] and settled(root) and pool(root) == (0, 0, 0) and
           not [n for n in root.changed(before) if "cgroup" not in n], "and go when it ends", state(root), root.changed(before))
    root.remove()


def test_gives_way():
    """A guest that floats leaves the CPUs that another one is given, before that one runs, and comes back."""
    root = make_root("--domain", "web2:8:%s:2" % UUID2)
    run(root, "reconnect", domain_xml("web2", UUID2, tune("<d:cpu policy='shared'/>")), "web2")
    wide = {n: d for n, d in root.outside().items() if "qemu" in n and "web2" in n and n.endswith("cpuset.cpus")}
    run(root, "prepare", dedicated())
    mine = claims(root).get(UUID, {}).get("cpus", set())
    now = {n: root.get(n) for n in wide}
    narrow = [n for n in wide if now[n].encode() != wide[n]]
    tap.ok(len(mine) == 2 and narrow and all(not cpu_set(now[n].strip()) & mine for n in narrow),
           "a shared guest gives way in prepare of a dedicated one", mine, now)
    run(root, "release", domain_xml())
    tap.ok({n: root.get(n).encode() for n in wide} == wide, "and comes back at its release", wide,
           {n: root.get(n) for n in wide})
    root.remove()


def test_adopt():
    root = make_root("--domain", "web1:7:%s:2" % UUID)
    result = run(root, "reconnect", dedicated())
    got = claims(root).get(UUID, {})
    tap.ok(result.is_silent() and got.get("kind") == "ours" and got["pid"] == 20700 and got["phase"] == "started",
           "reconnect adopts a running domain, with its process", result, got)
    again = run(root, "reconnect", dedicated())
    tap.ok(again.is_silent() and claims(root).get(UUID) == got, "a second reconnect changes nothing", again, claims(root))
    result = run(root, "reconnect", dedicated("web2", UUID2, "on-error='fail'", vcpus=64), "web2")
    tap.ok(result.is_silent(), "reconnect never refuses", result)
    root.remove()


def test_ten_at_once():
    root = make_root("--cpus", "16", policy="<policy xmlns='urn:domtune:1'><host max-dedicated-cpus='100%'/>"
                     "<default profile='off'/></policy>")
    started = []
    for i in range(10):
        xml = root.path("xml%d" % i)
        root.put("xml%d" % i, dedicated("d%d" % i, "00000000-0000-4000-8000-0000000001%02d" % i))
        with open(xml, "rb") as file:
            started.append(subprocess.Popen([hook, "d%d" % i, "prepare", "begin", "-"], stdin=file, stdout=subprocess.PIPE,
                                            stderr=subprocess.PIPE, env={"DOMTUNE_ROOT": root.dir}))
    results = [(p.communicate(timeout=60), p.returncode) for p in started]
    given = [c["cpus"] for c in claims(root).values()]
    tap.ok(all(r == ((b"", b""), 0) for r in results), "ten starts at once end well", results)
    tap.ok(sum(map(len, given)) == len(set().union(*given)) and 0 not in set().union(*given),
           "no CPU is given twice", given)
    tap.ok(sum(1 for cpus in given if len(cpus) == 2) >= 7, "and as many get theirs as there are CPUs for", given)
    generations = [c["generation"] for c in claims(root).values()]
    tap.ok(len(set(generations)) == len(generations), "generations differ", generations)
    root.remove()


# ---- interfaces ----

RX = "proc/sys/net/core/rmem_max"
LINK = ("<policy xmlns='urn:domtune:1'><host deadline='60s'/><uplink device='eth0' rate='1gbit'/>"
        "<sysctl name='net.core.rmem_max' at-least='16777216'/><default profile='off'/></policy>")
NICS = ["%s=%s" % pair for pair in (
    ("sys/class/net/eth0/device/numa_node", 0), ("sys/class/net/eth0/ifindex", 2), ("sys/class/net/eth0/mtu", 1500),
    ("sys/class/net/eth0/queues/tx-0/xps_cpus", 0), ("sys/class/net/br0/bridge/stp_state", 0),
    ("sys/class/net/br0/ifindex", 3), ("sys/class/net/br0/brif/eth0/state", 3))]


def on_bridge(i, rate, more="", attributes=""):
    uuid = "00000000-0000-4000-8000-0000000002%02d" % i
    xml = domain_xml("n%d" % i, uuid, tune("<d:interface target='*' rate='%s' %s/>" % (rate, more), attributes))
    return uuid, xml.replace(b"</emulator>", b"</emulator><interface type='bridge'><mac address='52:54:00:00:00:%02x'/>"
                             b"<source bridge='br0'/></interface>" % i)


def links(root):
    """(device, class, rate, mark) of each claim, by UUID."""
    found = {}
    for line in (root.get("run/domtune/ledger") or "").splitlines():
        fields = line.split("\t")[:-1]
        if fields[0] == "claim" and len(fields) > 14:
            found[fields[1]] = [(d, int(n), int(r), int(m)) for d, n, r, m in
                                (link.split(":") for link in fields[14].split("/"))]
    return found


def link_root():
    return make_root(*[arg for nic in NICS for arg in ("--set", nic)], policy=LINK)


def test_last_rate():
    """Ten starts at once for a link that holds three: no class twice, and together no more than can be promised."""
    root = link_root()
    started = []
    for i in range(10):
        root.put("xml%d" % i, on_bridge(i, "300mbit")[1])
        with open(root.path("xml%d" % i), "rb") as file:
            started.append(subprocess.Popen([hook, "n%d" % i, "prepare", "begin", "-"], stdin=file, stdout=subprocess.PIPE,
                                            stderr=subprocess.PIPE, env={"DOMTUNE_ROOT": root.dir}))
    results = [(p.communicate(timeout=120), p.returncode) for p in started]
    tap.ok(all(r == ((b"", b""), 0) for r in results), "ten starts at once for one link end well", results)
    given = [link for one in links(root).values() for link in one]
    tap.ok(sorted(rate for _, _, rate, _ in given) == [50000000] + 3 * [300000000],
           "three get their rate, one what is left, the others none", given)
    tap.ok(sorted(number for _, number, _, _ in given) == [0xd001 + i for i in range(4)], "each has a class of its own", given)
    root.remove()


def test_rates():
    root = link_root()
    first, first_xml = on_bridge(1, "900mbit")
    second, second_xml = on_bridge(2, "200mbit", "ceil='300mbit'", "on-error='fail'")
    result = run(root, "prepare", first_xml, "n1")
    tap.ok(result.is_silent() and links(root) == {first: [("eth0", 0xd001, 900000000, 0)]}, "a rate is a claim", result, links(root))
    tap.ok(root.get(RX) == "16777216\n", "sysctl: raised for a domain that only has an interface", root.get(RX))
    result = run(root, "prepare", second_xml, "n2")
    tap.ok(result.status == 1 and b"200 Mbit/s asked" in result.err and b"50 Mbit/s are left (n1 holds 900 Mbit/s)" in result.err
           and result.err.count(b"\n") == 1 and second not in claims(root),
           "on-error=fail: what was asked, what is there, who has it", result)
    result = call(hook, ["n1", "release", "end", "-"], first_xml, root)
    tap.ok(result.is_silent() and not links(root) and root.get(RX) == "212992\n", "release gives rate and sysctl back",
           result, links(root), root.get(RX))
    result = run(root, "prepare", second_xml, "n2")
    tap.ok(result.is_silent() and links(root) == {second: [("eth0", 0xd001, 200000000, 0)]}, "and the next one gets it", result,
           links(root))
    root.remove()


# ---- huge pages ----

NODE = "sys/devices/system/node/node%d/"


def pool(root, node=0, kib=2048):
    """nr, free, surplus of one node's pool."""
    return tuple(int(root.get(NODE % node + "hugepages/hugepages-%dkB/%s_hugepages" % (kib, what)))
                 for what in ("nr", "free", "surplus"))


def huge(pages="2M", mib=256, name="web1", uuid=UUID, attributes="", wrapper=True, more=""):
    """A guest that floats and wants pages; with nodes= where they are to be."""
    xml = domain_xml(name, uuid, tune("<d:cpu policy='shared'/><d:memory pages='%s' placement='strict' %s/>"
                                      % (pages, more), attributes))
    xml = xml.replace(b">262144<", b">%d<" % (mib * 1024))
    if wrapper:
        xml = xml.replace(b"/usr/bin/qemu-system-x86_64", os.path.join(helpers, "qemu-system-x86_64").encode())
    return xml


def short_of(mib, total="16G", nodes=1):
    """
    Hosts whose page cache, as it looks, could be made free (MemFree + Inactive(file)), but that have only so much memory
    free: the model of a kernel that stands in for one below a fake root gives no more than that (common/hugepool_set.c).
    """
    options = ["--memory-per-node", total, "--nodes", str(nodes)]
    for node in range(nodes):
        options += ["--set", NODE % node + "meminfo=" + "\\n".join(
            "Node %d %-16s%10d kB" % (node, key + ":", kib) for key, kib in (
                ("MemTotal", 16 << 20), ("MemFree", mib << 10), ("Inactive(file)", 12 << 20), ("SReclaimable", 0)))]
    return options


def pages_of(root, uuid=UUID):
    """Of a claim: [(node, size in KiB, count, to be added)]."""
    for line in (root.get("run/domtune/ledger") or "").splitlines():
        fields = line.split("\t")
        if fields[0] == "claim" and fields[1] == uuid:
            found = [[int(n) for n in part.split(":")] for part in fields[13].split(",") if part]
            return [(node, size >> 10, count, grow) for node, size, count, grow in found if size]
    return None


def settled(root):
    """No pool has anything of ours, or anything open."""
    lines = [line.split("\t") for line in (root.get("run/domtune/ledger") or "").splitlines()]
    return all(line[4] == line[6] == line[7] == line[8] == "0" for line in lines if line[0] == "pool")


def test_growth():
    root = make_root("--nodes", "2", "--hugepages", "1:2048:20:10")
    before = root.outside()
    log = Log(root)
    result = run(root, "prepare", huge(more="nodes='1'"))
    tap.ok(result.is_silent() and pool(root, 1) == (138, 128, 0) and pool(root, 0) == (0, 0, 0),
           "a pool gets what it lacks, on the guest's node: 10 pages are free, 118 are added", result, pool(root, 1), log.read())
    tap.ok(pages_of(root) == [(1, 2048, 128, 0)], "they are claimed", pages_of(root))
    tap.ok(root.get("run/domtune/plan/" + UUID), "the wrapper may use them")
    result = run(root, "prepare", huge(more="nodes='1'", name="web2", uuid=UUID2), "web2")
    tap.ok(result.is_silent() and pool(root, 1) == (266, 256, 0), "the next one gets its own", result, pool(root, 1))
    run(root, "release", domain_xml())
    tap.ok(pool(root, 1) == (138, 128, 0), "a release takes away what the others do not need", pool(root, 1))
    run(root, "release", domain_xml("web2", UUID2), "web2")
    tap.ok(root.changed(before) == [] and state(root) == [] and settled(root), "the last one all of it", root.changed(before),
           state(root), root.get("run/domtune/ledger"))
    tap.ok(log.warnings() == [], "no warning")
    log.close()
    root.remove()


def test_growth_over_nodes():
    root = make_root(*short_of(300, nodes=2))
    before = root.outside()
    result = run(root, "prepare", huge(mib=512))
    got = pool(root, 0)[0], pool(root, 1)[0]
    tap.ok(result.is_silent() and got in ((128, 128), (0, 0)) and
           (pages_of(root) == [(0, 2048, 128, 0), (1, 2048, 128, 0)] or got == (0, 0)),
           "two nodes that have half of it each: both halves or none", result, got, pages_of(root))
    run(root, "release", domain_xml())
    tap.ok(root.changed(before) == [] and settled(root), "and back", root.changed(before))
    root.remove()


def test_too_few():
    root = make_root(*short_of(100))
    before = root.outside()
    log = Log(root)
    result = run(root, "prepare", huge())
    said = log.warnings()
    tap.ok(result.is_silent() and pool(root) == (0, 0, 0) and not pages_of(root), "50 of 128 pages: given back, "
           "the guest starts without", result, pool(root), pages_of(root))
    tap.ok(len(said) == 1 and "128 pages of 2M asked" in said[0], "with one warning", said)
    run(root, "release", domain_xml())
    result = run(root, "prepare", huge(attributes="on-error='fail'"))
    text = result.err.decode()
    tap.ok(result.status == 1 and text.count("\n") == 1 and "128 pages of 2M" in text and "node 0" in text and
           "50" in text and "100 MiB" in text, "with on-error=fail it is refused: node, size, wanted, had, and what would fit",
           result)
    tap.ok(root.changed(before) == [] and state(root) == [] and settled(root), "and nothing is left of it", root.changed(before),
           state(root))
    result = run(root, "prepare", huge(mib=100, attributes="on-error='fail'"))
    tap.ok(result.status == 0 and pool(root) == (50, 50, 0), "what would fit fits", result, pool(root))
    log.close()
    root.remove()


def test_step_down():
    """auto: what cannot be added is not waited for."""
    root = make_root(*short_of(3000))
    before = root.outside()
    run(root, "prepare", huge("auto", 2048))
    tap.ok(pages_of(root) == [(0, 1048576, 2, 0)] and pool(root, 0, 1048576) == (2, 2, 0), "auto: 1G where they can be added",
           pages_of(root))
    run(root, "release", domain_xml())
    tap.ok(root.changed(before) == [], "auto: and back", root.changed(before))
    root.remove()

    root = make_root(*short_of(500))
    before = root.outside()
    log = Log(root)
    result = run(root, "prepare", huge("auto", 2048))
    tap.ok(result.is_silent() and not pages_of(root) and root.changed(before) == [], "auto: neither 1G nor 2M, nothing stays",
           result, pages_of(root), root.changed(before))
    tap.ok(log.warnings() == [], "auto: that is no warning")
    plan = root.get("run/domtune/undo/" + UUID)
    tap.ok("\tmemory.pages\t" in plan and "\tthp\t" in plan, "auto: it is transparent huge pages then", plan)
    run(root, "release", domain_xml())
    log.close()
    root.remove()

    if not can_inject():
        tap.skip("auto: from 1G to 2M", "needs a build with fault injection (SAN=1)")
        return
    root = make_root(*short_of(3000))
    before = root.outside()
    run_decide(root, huge("auto", 2048), DOMTUNE_FAULT="hugepages-1048576kB/nr_hugepages:%d" % errno.EINVAL)
    tap.ok(pages_of(root) == [(0, 2048, 1024, 0)], "auto: from 1G to 2M where the kernel takes no number", pages_of(root))
    run(root, "release", domain_xml())
    tap.ok(root.changed(before) == [] and settled(root), "auto: from 1G to 2M and back", root.changed(before))
    root.remove()


def test_no_growth():
    """A guest that runs already has its pages, whatever they are; and observing is no growing."""
    root = make_root("--domain", "web1:7:%s:2" % UUID)
    before = root.outside()
    result = run(root, "reconnect", huge())
    tap.ok(result.is_silent() and pool(root) == (0, 0, 0) and not any(p[3] for p in pages_of(root) or []),
           "adopting adds no pages", result, pool(root), pages_of(root))
    root.remove()
    root = make_root(policy="<policy xmlns='urn:domtune:1'><host mode='observe'/></policy>")
    before = root.outside()
    result = run(root, "prepare", huge())
    tap.ok(result.is_silent() and root.changed(before) == [], "observe adds no pages", result, root.changed(before))
    root.remove()


def test_somebody_elses_pool():
    """Others change the pool while a guest of ours runs."""
    root = make_root()
    run(root, "prepare", huge())
    log = Log(root)
    root.put(NODE % 0 + "hugepages/hugepages-2048kB/nr_hugepages", "200\n")
    root.put(NODE % 0 + "hugepages/hugepages-2048kB/free_hugepages", "200\n")
    before = root.outside()
    result = run(root, "release", domain_xml())
    said = [text for level, text in log.read() if level <= 5]
    tap.ok(result.is_silent() and root.changed(before) == [] and settled(root) and any("200 pages" in t for t in said),
           "a pool that somebody else has set stays as it is, and the log says so", result, root.changed(before), said)
    log.close()
    root.remove()


def start_at_once(root, xmls):
    """Starts of d0, d1, ... at the same time. Their results, in order."""
    started = []
    for i, xml in enumerate(xmls):
        root.put("xml%d" % i, xml)
        with open(root.path("xml%d" % i), "rb") as file:
            started.append(subprocess.Popen([hook, "d%d" % i, "prepare", "begin", "-"], stdin=file, stdout=subprocess.PIPE,
                                            stderr=subprocess.PIPE, env={"DOMTUNE_ROOT": root.dir}))
    results = [(p.communicate(timeout=120)[1].decode(), p.returncode) for p in started]
    for i in range(len(xmls)):
        os.unlink(root.path("xml%d" % i))
    return results


def uuid_of(i):
    return "00000000-0000-4000-8000-0000000001%02d" % i


def test_last_pages():
    """Six guests of 256 MiB for 800 MiB, which look like more than 12 GiB: three get theirs, whoever comes first."""
    root = make_root(*short_of(800), policy="<policy xmlns='urn:domtune:1'><host deadline='60s' grow-deadline='60s'/>"
                     "<default profile='off'/></policy>")
    before = root.outside()
    run(root, "prepare", domain_xml())  # writes the gate: from here on the policy's deadlines count
    results = start_at_once(root, [huge(name="d%d" % i, uuid=uuid_of(i), attributes="on-error='fail'") for i in range(6)])
    well = [i for i, (_, status) in enumerate(results) if status == 0]
    tap.ok(1 <= len(well) <= 3 and all(pages_of(root, uuid_of(i)) == [(0, 2048, 128, 0)] for i in well),
           "six starts for the pages of three: whoever starts has all its pages", results)
    tap.ok(all("pages of 2M" in text for text, status in results if status), "the others are told why", results)
    tap.ok(pool(root)[0] == 128 * len(well), "no page is added for nobody", pool(root))
    tap.ok(len(well) == 3, "and none is refused for others that were refused", results)
    for i in range(6):
        run(root, "release", domain_xml("d%d" % i, uuid_of(i)), "d%d" % i)
    tap.ok(root.changed(before) == [] and state(root) == [] and settled(root), "after the last release all is back",
           root.changed(before), state(root), root.get("run/domtune/ledger"))
    root.remove()


def test_last_cpus():
    """Seven free CPUs, and starts of two each, as whole as they were asked for."""
    root = make_root(policy="<policy xmlns='urn:domtune:1'><host max-dedicated-cpus='100%' deadline='60s'/>"
                     "<default profile='off'/></policy>")
    run(root, "prepare", domain_xml())
    results = start_at_once(root, [dedicated("d%d" % i, uuid_of(i), "on-error='fail'") for i in range(6)])
    given = claims(root)
    well = [i for i, (_, status) in enumerate(results) if status == 0]
    tap.ok(sorted(given) == [uuid_of(i) for i in well] and all(len(c["cpus"]) == 2 for c in given.values()),
           "six starts for the CPUs of three: whoever starts has both", results, given)
    tap.ok(len(well) == 3, "three of them do", results, given)
    tap.ok(len(set().union(*(c["cpus"] for c in given.values()))) == 2 * len(well), "no CPU is given twice", given)
    tap.ok(all("dedicated CPUs" in text for text, status in results if status), "the others are told why", results)
    root.remove()


def recover(root):
    return subprocess.run([os.path.join(BUILD, "domtune"), "--root", root.dir, "recover"], capture_output=True, timeout=60,
                          check=False)


def test_killed_growing():
    """kill -9 at each durable action of a start that adds pages; what comes then puts all of it back."""
    if not can_inject():
        tap.skip("a growing start killed at each durable action", "needs a build with fault injection (SAN=1)")
        return
    xml = huge(mib=512)  # four pieces
    ways = {
        "released": lambda root: [run(root, p, domain_xml()) for p in ("stopped", "release")],
        "recovered": lambda root: [recover(root)],
        "started again and released": lambda root: [run(root, "prepare", xml), run(root, "release", domain_xml())],
    }
    for free, what, names in ((4000, "succeeds", ("recovered", "started again and released")),
                              (300, "falls short", ("released", "recovered"))):
        template = make_root(*short_of(free))
        for name in names:
            way = ways[name]
            bad, kills, in_growth = [], 0, 0
            before = template.outside()
            for at, root in enumerate(copies(template), 1):
                result = run_decide(root, xml, DOMTUNE_CRASH_AT="decide:%d" % at)
                if "plan/" + UUID in state(root) and (UUID not in state(root) or any(p[3] for p in pages_of(root))):
                    bad.append((at, "the wrapper may use pages that are not there", state(root)))
                in_growth += pool(root)[0] not in (0, 256)
                results = way(root)
                if state(root) != [] or root.changed(before) != [] or not settled(root):
                    bad.append((at, results, state(root), root.changed(before), root.get("run/domtune/ledger")))
                if result.returncode != -signal.SIGKILL:
                    break
                kills += 1
            tap.ok(not bad and kills >= 6 and in_growth >= 1, "a growing start that %s, killed at each of %d durable actions "
                   "(%d amid the pages), is %s" % (what, kills, in_growth, name), *bad)
        template.remove()


def test_killed_shrinking():
    if not can_inject():
        tap.skip("a shrinking release killed at each durable action", "needs a build with fault injection (SAN=1)")
        return
    template = make_root()
    before = template.outside()
    run(template, "prepare", huge())
    bad, kills = [], 0
    for at, root in enumerate(copies(template), 1):
        environ = {"DOMTUNE_ROOT": root.dir, "PATH": os.environ["PATH"], "DOMTUNE_CRASH_AT": "apply:%d" % at}
        result = subprocess.run([os.path.join(helpers, "apply"), "release", UUID], env=environ, capture_output=True, timeout=60,
                                check=False)
        recover(root)
        if state(root) != [] or root.changed(before) != [] or not settled(root):
            bad.append((at, state(root), root.changed(before), root.get("run/domtune/ledger")))
        if result.returncode != -signal.SIGKILL:
            break
        kills += 1
    tap.ok(not bad and kills >= 4, "a release that shrinks a pool, killed at each of %d durable actions" % kills, *bad)
    template.remove()


# ---- bad input and failures ----

def test_bad_input():
    good = dedicated()
    entities = b"<!DOCTYPE x [" + b"".join(
        b"<!ENTITY l%d '%s'>" % (i + 1, b"&l%d;" % i * 10) for i in range(9)) + b"]>\n"
    cases = [
        ("empty", b""), ("blank", b" \n"), ("garbage", bytes(range(256)) * 64), ("cut in the head", good[:60]),
        ("cut in the middle", good[:len(good) // 2]), ("cut before the end", good[:-3]), ("of another kind", b"<network/>"),
        ("laden with entities", entities + good.replace(b"<name>web1", b"<name>&l9;")),
        ("an external entity", b"<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>" + good.replace(b"web1", b"&x;")),
        ("full of NULs", good.replace(b"web1", b"we\0b1")), ("of a hostile UUID", domain_xml(uuid="../../../../etc/passwd")),
        ("without UUID", good.replace(b"uuid>", b"other>")), ("nested deep", b"<a>" * 100000),
        ("of a hostile name", dedicated(name="../../../../tmp/x\x01&lt;")), ("3 MB of metadata",
        domain_xml(body="<metadata><d:tune xmlns:d='urn:domtune:1'>%s</d:tune></metadata>" % ("<d:x/>" * 500000))),
        ("4096 vCPUs", dedicated(vcpus=4096)), ("a million vCPUs", dedicated(vcpus=1000000)),
    ]
    for what, xml in cases:
        bad = []
        root = make_root("--domain", "web1:7:%s:2" % UUID)
        before = root.outside()
        for phase in PHASES + ["release"]:
            result = run(root, phase, xml)
            if not result.is_silent():
                bad.append((phase, result))
        tap.ok(not bad, "XML %s: every operation" % what, bad)
        run(root, "release", domain_xml())
        changed = {k for k, v in root.outside().items() if before.get(k) != v} | (set(before) - set(root.outside()))
        tap.ok(state(root) == [] and not changed, "XML %s: all is back after release" % what, state(root), changed)
        root.remove()


def test_log():
    root = make_root(policy="<policy xmlns='urn:domtune:1'><default profile='off'/><rule/>\n<oops></policy>")
    log = Log(root)
    run(root, "prepare", b"<domain>")
    said = log.warnings()
    tap.ok(len([t for t in said if "policy" not in t]) == 1 and "untuned" in said[-1], "bad XML is one warning", said)
    run(root, "prepare", domain_xml())
    said = log.warnings()
    tap.ok(len([t for t in said if "policy.xml" in t]) == 1, "a broken policy is one warning", said)
    run(root, "prepare", dedicated("web2", UUID2), "web2")
    said = log.warnings()
    tap.ok(not [t for t in said if "policy.xml" in t], "not repeated at each start", said)
    root.put("etc/domtune/policy.xml", OFF)
    run(root, "prepare", dedicated(more="weight='9' colour='red'"))
    said = log.read()
    tap.ok(len([t for level, t in said if level == 4 and "colour" in t]) == 1, "a bad attribute is one warning", said)
    tap.ok(len([t for level, t in said if level == 5 and "web1 prepared" in t and "CPUs" in t]) == 1, "and one notice says "
           "what was decided", said)
    run(root, "prepare", domain_xml("web3", "00000000-0000-4000-8000-000000000003"), "web3")
    said = log.read()
    tap.ok(not [t for level, t in said if level <= 5], "an untouched domain is not mentioned", said)
    log.close()
    root.remove()


def test_names():
    for name in "-x", "a b", "..", "x;rm", "$(id)", "%s%n", "a\tb", "é":
        bad = []
        root = make_root()
        for phase in PHASES:
            result = run(root, phase, dedicated(name=name.replace("\t", "&#9;")), name)
            if not result.is_silent():
                bad.append((phase, result))
        tap.ok(not bad and all(n.split("/")[-1] == UUID for n in state(root)), "domain name %r" % name, bad, state(root))
        root.remove()


def test_state_in_the_way():
    def broken_ledger(root):
        root.put("run/domtune/ledger", b"\xff\0garbage\n" * 1000)

    def undo_is_a_link(root):
        os.makedirs(root.path("run/domtune/undo"))
        os.symlink("/etc/passwd", root.path("run/domtune/undo/" + UUID))

    cases = [
        ("run/domtune is a file", lambda root: root.put("run/domtune")),
        ("run/domtune is a link", lambda root: (os.makedirs(root.path("run"), exist_ok=True),
                                                os.symlink("/tmp", root.path("run/domtune")))),
        ("undo is a file", lambda root: root.put("run/domtune/undo")),
        ("undo/UUID is a link", undo_is_a_link),
        ("undo/UUID is a directory", lambda root: os.makedirs(root.path("run/domtune/undo/" + UUID))),
        ("undo/UUID is garbage", lambda root: root.put("run/domtune/undo/" + UUID, os.urandom(4096))),
        ("the ledger is a directory", lambda root: os.makedirs(root.path("run/domtune/ledger"))),
        ("the ledger is garbage", broken_ledger),
        ("the lock is a directory", lambda root: os.makedirs(root.path("run/domtune/lock"))),
        ("the policy is a directory", lambda root: (os.unlink(root.path("etc/domtune/policy.xml")),
                                                    os.mkdir(root.path("etc/domtune/policy.xml")))),
        ("the policy is garbage", lambda root: root.put("etc/domtune/policy.xml", os.urandom(4096))),
        ("no host files at all", lambda root: [shutil.rmtree(root.path(d), ignore_errors=True) for d in ("sys", "proc")]),
    ]
    for what, make in cases:
        bad = []
        root = make_root()
        make(root)
        for phase in PHASES:
            result = run(root, phase, dedicated())
            if not result.is_silent():
                bad.append((phase, result))
        tap.ok(not bad, what + ": every operation", bad)
        root.remove()


def test_no_room():
    if not can_inject():
        tap.skip("files that cannot be written", "needs a build with fault injection (SAN=1)")
        return
    xml = wrapped()
    strict = xml.replace(b"urn:domtune:1' ", b"urn:domtune:1' on-error='fail' ")
    for where in "run/domtune/undo/", "run/domtune/ledger", "run/domtune/plan/", "run/domtune":
        for code in errno.ENOSPC, errno.EROFS, errno.EACCES:
            root = make_root("--hugepages", "0:2048:512")
            result = run_decide(root, xml, DOMTUNE_FAULT="%s:%d" % (where, code))
            tap.ok(result.returncode == 2 and not result.stdout and state(root) == [],
                   "%s: %s: untuned, nothing left" % (where, errno.errorcode[code]), result, state(root))
            root.remove()
        root = make_root("--hugepages", "0:2048:512")
        result = run_decide(root, strict, DOMTUNE_FAULT="%s:%d" % (where, errno.ENOSPC))
        tap.ok(result.returncode == 1 and state(root) == [], "%s: full, on-error=fail: refused, nothing left" % where,
               result, state(root))
        root.remove()


def test_killed_anywhere():
    """kill -9 at each durable action of decide: never a plan without a claim, and release removes the rest."""
    if not can_inject():
        tap.skip("decide killed at each durable action", "needs a build with fault injection (SAN=1)")
        return
    xml = wrapped()
    bad, kills = [], 0
    for at in range(1, 100):
        root = make_root("--hugepages", "0:2048:512")
        before = root.outside()
        result = run_decide(root, xml, DOMTUNE_CRASH_AT="decide:%d" % at)
        left = state(root)
        if "plan/" + UUID in left and UUID not in left:
            bad.append((at, "a plan without a claim", left))
        for phase in "stopped", "release":
            answer = run(root, phase, domain_xml())
            if not answer.is_silent():
                bad.append((at, phase, answer))
        if state(root) != [] or root.outside() != before:
            bad.append((at, "left after release", state(root)))
        # Or libvirtd dies with it, and the next thing that happens is another start.
        run_decide(root, xml, DOMTUNE_CRASH_AT="decide:%d" % at)
        answer = run(root, "prepare", xml)
        if not answer.is_silent() or state(root) != ["undo/" + UUID, "plan/" + UUID, UUID]:
            bad.append((at, "next start", answer, state(root)))
        root.remove()
        if result.returncode != -signal.SIGKILL:
            break
        kills += 1
    tap.ok(not bad and kills >= 3, "decide killed at each of its %d durable actions" % kills, *bad)


def main():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        os.makedirs(helpers)
        build_with_helpers_in(work, [(hook, ["hooks/qemu.c", "hooks/supervise.c"], []),
                                     (decide, DECIDE + ["common/foreign.c", "common/qemucaps.c"],
                                      ["libxml-2.0", "libcgroup"])])
        shutil.copy(os.path.join(BUILD, "apply"), helpers)
        for name in "qemu-system-x86_64", "qemu-kvm":
            shutil.copy("/bin/true", os.path.join(helpers, name))
        for test in [value for name, value in sorted(globals().items()) if name.startswith("test_")]:
            test()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    tap.end()


if __name__ == "__main__":
    os.chdir(TOP)
    main()

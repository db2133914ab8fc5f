#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The apply program below fake roots: killed at every durable action of each phase, answered with errors, run out of
space, called wrongly. After release the host is byte for byte what it was, and nothing is left in our state.
"""
import ctypes
import errno
import os
import resource
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hooklib import (BUILD, DECIDE, TOP, UUID, Log, Root, Tap, build_with_helpers_in, can_inject, copies,  # noqa: E402
                     domain_xml, made_root)

tap = Tap()
work = tempfile.mkdtemp(prefix="domtune-crash-")
helpers = os.path.join(work, "domtune")
decide = os.path.join(helpers, "decide")
applier = os.path.join(helpers, "apply")
SYSCTL = "proc/sys/net/core/rmem_max"
POLICY = ("<policy xmlns='urn:domtune:1'><sysctl name='net.core.rmem_max' at-least='16777216'/>"
          "<default profile='off'/></policy>\n")
TUNE = ("  <metadata>\n    <d:tune xmlns:d='urn:domtune:1'%s>\n"
        "      <d:cpu policy='dedicated' weight='250' quota='150%%'/>\n    </d:tune>\n  </metadata>\n")
LAYOUTS = [("v1",), ("v2",), ("v2", "--machined", "no"), ("hybrid",)]


def make_room_for_bursts():
    """A socket that nobody reads meanwhile takes ten datagrams; that number belongs to the network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000) == 0:  # CLONE_NEWNET
        with open("/proc/sys/net/unix/max_dgram_qlen", "w", encoding="ascii") as limit:
            limit.write("1000")


def make_root(layout=("v2",)):
    """A host on which the domain is about to be seen running: its process and groups are there."""
    root = made_root("--domain", "web1:7:%s:2:1" % UUID, "--set", SYSCTL + "=212992", "--cgroup", *layout)
    root.put("etc/domtune/policy.xml", POLICY)
    return root


def prepared(layout=("v2",)):
    """The same after prepare, without what only prepare reads; and what it was before."""
    root = make_root(layout)
    before = {n: d for n, d in root.outside().items() if not n.startswith("sys/devices")}
    run_decide(root)
    shutil.rmtree(root.path("sys/devices"))
    return root, before


def copy_of(root):
    copy = Root()
    shutil.rmtree(copy.dir)
    shutil.copytree(root.dir, copy.dir, symlinks=True)
    return copy


def run_apply(root, *args, **env):
    environ = {"DOMTUNE_ROOT": root.dir, "PATH": os.environ["PATH"], **env}
    return subprocess.run([applier] + list(args), stdin=subprocess.DEVNULL, env=environ, capture_output=True, timeout=60,
                          check=False)


def run_decide(root, attributes="", verb="prepare", xml=None, **env):
    """decide, as the supervisor runs it: XML on 0, the report pipe on 3. Its exit status and the report."""
    environ = {"DOMTUNE_ROOT": root.dir, "PATH": os.environ["PATH"], **env}
    reader, writer = os.pipe()

    def prepare():
        os.dup2(writer, 3)
    result = subprocess.run([decide, verb, str(os.getpid())], input=xml or domain_xml(body=TUNE % attributes), env=environ,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=(3,) if writer != 3 else (writer,),
                            preexec_fn=prepare, timeout=60, check=False)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        return result.returncode, pipe.read().decode(errors="replace"), result.stderr


# ---- the straight way ----

def test_there_and_back():
    for layout in LAYOUTS:
        name = " ".join(layout)
        root = make_root(layout)
        before = root.outside()
        status = run_decide(root)
        tap.ok(status[0] == 0 and root.changed(before) == [SYSCTL], name + ": prepare sets what is for the host", status,
               root.changed(before))
        log = Log(root)
        results = [run_apply(root, "started", UUID)]
        said = log.read()
        mine = root.changed(before)
        tap.ok(results[0].returncode == 0 and len(mine) >= 4 and any("cpuset.cpus" in n for n in mine),
               name + ": started changes the domain's groups", results, mine)
        notices = [text for level, text in said if level == 5]
        tap.ok(len(notices) == 1 and notices[0].startswith("web1 started: ") and "settings in force" in notices[0],
               name + ": and says so in one line", said)
        tap.ok(not [text for level, text in said if level < 5], name + ": with no warning", said)
        ledger = root.get("run/domtune/ledger")
        tap.ok("\tstarted\t" in ledger and "\t20700\t107000\t" in ledger, name + ": the process is in the ledger", ledger)
        results.append(run_apply(root, "started", UUID))
        tap.ok(root.changed(before) == mine, name + ": a second started changes nothing more")
        results.append(run_apply(root, "reconnect", UUID))
        tap.ok(root.changed(before) == mine and results[-1].returncode == 0, name + ": nor does reconnect", results[-1])
        results.append(run_apply(root, "stopped", UUID))
        tap.ok(root.changed(before) == mine, name + ": stopped undoes nothing yet", root.changed(before))
        log.read()
        results.append(run_apply(root, "release", UUID))
        said = log.read()
        tap.ok(not any(r.returncode or r.stdout or r.stderr for r in results), name + ": no byte on stdout or stderr", results)
        tap.ok(root.changed(before) == [] and root.left([UUID]) == [], name + ": release puts all of it back",
               root.changed(before), root.left([UUID]))
        tap.ok(len(said) >= 1 and said[-1][1].startswith("web1 released: ") and "put back" in said[-1][1],
               name + ": and says so", said)
        result = run_apply(root, "release", UUID)
        tap.ok(result.returncode == 0 and log.read() == [], name + ": a second release has nothing to do or to say", result)
        log.close()
        root.remove()


def test_repair():
    """Killed in the middle of started; libvirtd comes back and reconnects."""
    root, before = prepared()
    whole = copy_of(root)
    run_apply(whole, "started", UUID)
    want = whole.outside()
    bad, n = [], 0
    for n, copy in enumerate(copies(root), 1):
        killed = run_apply(copy, "started", UUID, DOMTUNE_CRASH_AT="apply:%d" % n).returncode == -9
        result = run_apply(copy, "reconnect", UUID)
        if result.returncode or copy.outside() != want:
            bad.append((n, result, copy.changed(want)))
        run_apply(copy, "release", UUID)
        if copy.changed(before) or copy.left([UUID]):
            bad.append((n, "not back", copy.changed(before), copy.left([UUID])))
        if not killed:
            break
    if can_inject():
        tap.ok(not bad and n > 10, "reconnect finishes what a kill left undone, at each of %d points" % (n - 1), *bad)
    else:
        tap.skip("reconnect after a kill", "needs a build with SAN=1")
    for tree in root, whole:
        tree.remove()


# ---- kill -9 ----

def test_killed():
    if not can_inject():
        tap.skip("kill -9 at every durable action", "needs a build with SAN=1")
        return
    for layout in LAYOUTS[:2]:
        root, before = prepared(layout)
        bad = []
        for n, copy in enumerate(copies(root), 1):
            killed = run_apply(copy, "started", UUID, DOMTUNE_CRASH_AT="apply:%d" % n).returncode == -9
            if n % 2:
                run_apply(copy, "stopped", UUID)
            # Every third time the release is killed too, each time elsewhere.
            if n % 3 == 0:
                run_apply(copy, "release", UUID, DOMTUNE_CRASH_AT="apply:%d" % (n // 3))
            result = run_apply(copy, "release", UUID)
            if result.returncode or copy.changed(before) or copy.left([UUID]):
                bad.append((n, result, copy.changed(before), copy.left([UUID])))
            if not killed:
                break
        tap.ok(not bad and n > 10, "%s: killed at each of started's %d durable actions, then released"
               % (" ".join(layout), n - 1), *bad)
        run_apply(root, "started", UUID)
        bad = []
        for m, copy in enumerate(copies(root), 1):
            killed = run_apply(copy, "release", UUID, DOMTUNE_CRASH_AT="apply:%d" % m).returncode == -9
            held = UUID in (copy.get("run/domtune/ledger") or "")
            if killed and held and copy.get("run/domtune/undo/" + UUID) is None:
                bad.append((m, "the hook would not know that something is left"))
            result = run_apply(copy, "release", UUID)
            if result.returncode or copy.changed(before) or copy.left([UUID]):
                bad.append((m, result, copy.changed(before), copy.left([UUID])))
            if not killed:
                break
        tap.ok(not bad and m > 8, "%s: killed at each of release's %d durable actions, then released"
               % (" ".join(layout), m - 1), *bad)
        root.remove()


def test_killed_in_prepare():
    """decide execs apply: its part is killed, the next prepare begins anew."""
    if not can_inject():
        tap.skip("kill -9 in prepare", "needs a build with SAN=1")
        return
    template = make_root()
    before = template.outside()
    bad = []
    for n, root in enumerate(copies(template), 1):
        killed = run_decide(root, DOMTUNE_CRASH_AT="apply:%d" % n)[0] == -9
        status = run_decide(root)
        if status[0] or root.changed(before) != [SYSCTL]:
            bad.append((n, status, root.changed(before)))
        run_apply(root, "release", UUID)
        if root.changed(before) or root.left([UUID]):
            bad.append((n, root.changed(before), root.left([UUID])))
        if not killed:
            break
    template.remove()
    tap.ok(not bad and n > 3, "apply prepare killed at each of its %d durable actions" % (n - 1), *bad)


def test_without_a_claim():
    """decide is killed after undo/UUID, before the ledger: the domain is known, but nothing may be placed."""
    if not can_inject():
        tap.skip("a start without a claim", "needs a build with SAN=1")
        return
    template = make_root()
    before = template.outside()
    for phase in "started", "reconnect":
        seen = 0
        for n, root in enumerate(copies(template), 1):
            killed = run_decide(root, DOMTUNE_CRASH_AT="decide:%d" % n)[0] == -9
            undo, ledger = root.get("run/domtune/undo/" + UUID), root.get("run/domtune/ledger")
            if killed and undo and UUID not in (ledger or ""):
                seen += 1
                log = Log(root)
                result = run_apply(root, phase, UUID)
                said = [text for level, text in log.read() if level <= 4]
                tap.ok(result.returncode == 0 and root.changed(before) == [] and root.left([UUID]) == [] and len(said) == 1 and
                       "it has no claim" in said[0], "%s without a claim (killed at %d): nothing is placed, all is undone"
                       % (phase, n), result, root.changed(before), root.left([UUID]), said)
                log.close()
            if not killed:
                break
        tap.ok(seen > 0, "%s: decide was killed in between" % phase, n)
    template.remove()
    # A ledger that was lost is the same; a claim of a newer start is not touched.
    root, before = prepared()
    run_apply(root, "started", UUID)
    os.unlink(root.path("run/domtune/ledger"))
    result = run_apply(root, "reconnect", UUID)
    tap.ok(result.returncode == 0 and not any("cgroup" in n for n in root.changed(before)) and root.left([UUID]) == [],
           "a lost ledger: the domain's own settings are put back", result, root.changed(before), root.left([UUID]))
    root.remove()


def test_leftover_files():
    root, _ = prepared()
    dead = 4194304 - 1
    names = ["run/domtune/" + d + ".tmp.%d.1" % dead for d in ("", "cache/", "plan/", "undo/")]
    mine = "run/domtune/undo/.tmp.%d.1" % os.getpid()
    for name in names + [mine]:
        root.put(name, "x")
    run_apply(root, "sweep")
    tap.ok(not [n for n in names if os.path.exists(root.path(n))] and os.path.exists(root.path(mine)),
           "a sweep removes what killed writers left, and only that", root.listing("run/domtune").keys())
    root.remove()


# ---- what the kernel answers ----

def test_answers():
    if not can_inject():
        tap.skip("errors of the kernel", "needs a build with SAN=1")
        return
    for code, level, failed in ((errno.EINVAL, 4, True), (errno.EACCES, 5, True), (errno.EBUSY, 4, True),
                                (errno.ENOSPC, 4, True), (errno.EIO, 4, True), (errno.ENOENT, 7, False)):
        root, before = prepared()
        log = Log(root)
        result = run_apply(root, "started", UUID, DOMTUNE_FAULT="cpuset.cpus:%d" % code)
        said = log.read()
        mine = root.changed(before)
        # After an error that no table knows the back end is not asked again.
        tap.ok(result.returncode == 0 and (len(mine) > 1 or code == errno.EIO) and
               not any("cpuset.cpus" in n for n in mine), "%s: the rest is applied" % errno.errorcode[code], result, mine)
        lines = [(lv, text) for lv, text in said if "cpuset.cpus, wanted" in text and lv <= 5]
        if failed:
            tap.ok(lines and lines[0][0] == level and os.strerror(code) in lines[0][1] and "left as it was" in lines[0][1],
                   "%s: object, wanted value, answer and consequence are in one line" % errno.errorcode[code], said)
        else:
            tap.ok(not lines, "%s: what is not there is nobody's worry" % errno.errorcode[code], said)
        notice = [text for lv, text in said if text.startswith("web1 started: ")]
        tap.ok(len(notice) == 1 and ("failed" in notice[0]) == failed, "%s: the notice counts it" % errno.errorcode[code], said)
        run_apply(root, "release", UUID)
        tap.ok(root.changed(before) == [] and root.left([UUID]) == [], "%s: and all goes back" % errno.errorcode[code],
               root.changed(before), root.left([UUID]))
        log.close()
        root.remove()
    root, before = prepared()
    result = run_apply(root, "started", UUID, DOMTUNE_FAULT="cpuset.cpus:%d*2" % errno.EBUSY)
    tap.ok(result.returncode == 0 and "\nleft\t" not in root.get("run/domtune/undo/" + UUID) and
           any("vcpu0/cpuset.cpus" in n for n in root.changed(before)), "busy for a moment is not busy for good", result,
           root.get("run/domtune/undo/" + UUID))
    root.remove()


def test_full():
    if not can_inject():
        tap.skip("a full /run", "needs a build with SAN=1")
        return
    root, before = prepared()
    log = Log(root)
    result = run_apply(root, "started", UUID, DOMTUNE_FAULT="undo/%s:%d" % (UUID, errno.ENOSPC))
    tap.ok(result.returncode == 0 and root.changed(before) == [SYSCTL], "what cannot be recorded is not done", result,
           root.changed(before))
    said = [text for level, text in log.read() if "No space left" in text]
    tap.ok(1 <= len(said) <= 3, "and said once", said)
    result = run_apply(root, "release", UUID, DOMTUNE_FAULT="domtune/ledger:%d" % errno.ENOSPC)
    tap.ok(result.returncode == 2 and root.get("run/domtune/undo/" + UUID) is not None,
           "release keeps what it cannot finish", result, root.left([UUID]))
    result = run_apply(root, "release", UUID)
    tap.ok(result.returncode == 0 and root.changed(before) == [] and root.left([UUID]) == [], "and finishes it later", result,
           root.changed(before), root.left([UUID]))
    log.close()
    root.remove()


def test_refused():
    if not can_inject():
        tap.skip("a refusal at prepare", "needs a build with SAN=1")
        return
    for attributes, want in ((" on-error='fail'", True), ("", False)):
        root = make_root()
        before = root.outside()
        status, report, _ = run_decide(root, attributes, DOMTUNE_FAULT="rmem_max:%d" % errno.EINVAL)
        lines = [line for line in report.splitlines() if line.startswith("refused ")]
        if want:
            tap.ok(status == 1 and len(lines) == 1 and "rmem_max" in lines[0] and "Invalid argument" in lines[0],
                   "on-error=fail: a refusal that says what and why", status, report)
            tap.ok(root.changed(before) == [] and root.left([UUID]) == [], "and leaves nothing", root.changed(before), root.left([UUID]))
        else:
            tap.ok(status == 0 and not lines and root.left([UUID]), "else the guest starts", status, report)
        root.remove()


# ---- others ----

def test_somebody_else():
    root, before = prepared()
    run_apply(root, "started", UUID)
    name = next(n for n in root.changed(before) if n.endswith("/cpu.weight") or "vcpu0/cpuset.cpus" in n)
    root.put(name, "7\n")
    root.put(SYSCTL, "99\n")
    log = Log(root)
    run_apply(root, "release", UUID)
    said = [text for level, text in log.read() if level == 4]
    tap.ok(root.changed(before) == sorted([name, SYSCTL]) and root.get(name) == "7\n", "what somebody else changed is left",
           root.changed(before))
    tap.ok(len([t for t in said if "changed by somebody else" in t]) == 2, "and reported", said)
    tap.ok(root.left([UUID]) == [], "and forgotten", root.left([UUID]))
    log.close()
    root.remove()


def test_gone():
    """The usual release: libvirt has removed the groups, the process is gone."""
    root, before = prepared()
    run_apply(root, "started", UUID)
    shutil.rmtree(root.path("proc/20700"))
    for name in sorted(root.outside(), reverse=True):
        if name.startswith("sys/fs/cgroup") and name.count("scope") and os.path.isdir(root.path(name)):
            shutil.rmtree(root.path(name))
    log = Log(root)
    result = run_apply(root, "release", UUID)
    said = log.read()
    tap.ok(result.returncode == 0 and not [text for level, text in said if level <= 4], "groups that are gone are no failure", result, said)
    tap.ok(root.get(SYSCTL) == before[SYSCTL].decode() and root.left([UUID]) == [], "the rest is put back", root.left([UUID]))
    log.close()
    root.remove()


def test_no_process():
    root, before = prepared()
    shutil.rmtree(root.path("proc/20700"))
    log = Log(root)
    result = run_apply(root, "started", UUID)
    tap.ok(result.returncode == 2 and root.changed(before)[:1] and len([1 for level, text in log.read() if level == 4]) == 1,
           "started without a process: a warning, nothing more", result)
    run_apply(root, "release", UUID)
    tap.ok(root.left([UUID]) == [] and root.get(SYSCTL) == before[SYSCTL].decode(), "and released all the same", root.left([UUID]))
    log.close()
    root.remove()


def test_usage():
    root = make_root()
    before = root.listing()
    for args in ([], ["release"], ["release", "../../etc"], ["release", UUID, "x"], ["sweep", UUID], ["", UUID],
                 ["start", UUID], ["release", UUID + "0"], ["--help"]):
        result = run_apply(root, *args)
        tap.ok(result.returncode == 2 and result.stdout == b"", "no such call: %s" % args, result)
    for verb in "prepare", "started", "stopped", "release", "reconnect":
        result = run_apply(root, verb, UUID)
        tap.ok(result.returncode == 0, "%s of a domain that is not known" % verb, result)
    tap.ok(run_apply(root, "sweep").returncode == 0, "sweep where nothing is")
    tap.ok(root.listing() == before, "none of which leaves a trace", set(root.listing()) ^ set(before))
    result = subprocess.run([applier, "release", UUID], env={"DOMTUNE_ROOT": root.path("nowhere")}, capture_output=True,
                            timeout=60, check=False)
    tap.ok(result.returncode == 2 and result.stderr, "a root that is not there", result)
    root.remove()


def test_garbage():
    """Whatever is in our state: no crash, no hang, and nothing is done on its word."""
    root, before = prepared()
    good = {n: root.listing("run/domtune")[n] for n in ("run/domtune/ledger", "run/domtune/undo/" + UUID)}
    run_apply(root, "release", UUID)
    bad = []
    again = copies(root)
    for name, data in good.items():
        for junk in (b"", b"\0" * 100, b"\n" * 1000, os.urandom(5000), data[:-20], data.replace(b"\t", b" "),
                     data + b"intent\t9\t0\town\tk\tt\tfile\tetc/passwd\tx\ty\t00000000\n", b"x" * 200000):
            copy = next(again)
            for other, text in good.items():
                copy.put(other, junk if other == name else text, 0o600)
            for verb in "prepare", "started", "stopped", "reconnect", "release":
                result = run_apply(copy, verb, UUID)
                if result.returncode not in (0, 2) or result.stdout:
                    bad.append((name, junk[:40], verb, result))
            if name.endswith("ledger") and junk in (b"", b"x" * 200000):
                run_apply(copy, "sweep")
            if copy.get("run/domtune/undo/" + UUID) is not None:
                bad.append((name, junk[:40], copy.left([UUID])))
            if [n for n in copy.changed(before) if n != SYSCTL]:
                bad.append((name, junk[:40], copy.changed(before)))
    again.close()
    tap.ok(not bad, "garbage in the ledger or the undo file", *bad)
    root.remove()


# ---- the shared pool ----

UUID_OF = {"web1": UUID, "web2": "5dea22b3-1d52-d8f3-2516-782e98ab3fa0", "db1": "6dea22b3-1d52-d8f3-2516-782e98ab3fa0"}
SHARED = "<d:cpu policy='shared'/>"
DEDICATED = "<d:cpu policy='dedicated'/>"
LIMITED = "<d:cpu policy='dedicated' quota='150%' burst='20'/>"


def tuned(name, cpu):
    body = "  <metadata>\n    <d:tune xmlns:d='urn:domtune:1'>%s</d:tune>\n  </metadata>\n" % cpu
    return domain_xml(name=name, uuid=UUID_OF[name], body=body)


def pool_root(layout):
    """Two shared guests run; a third one is about to start. The tree before any of them, and the root."""
    domains = []
    for number, name in enumerate(UUID_OF):
        domains += ["--domain", "%s:%d:%s:2" % (name, 7 + number, UUID_OF[name])]
    root = made_root("--cpus", "8", "--cgroup", *layout, *domains)
    root.put("etc/domtune/policy.xml", "<policy xmlns='urn:domtune:1'><default profile='off'/></policy>\n")
    before = root.outside()
    for name in "web1", "web2":
        run_decide(root, xml=tuned(name, SHARED))
        run_apply(root, "started", UUID_OF[name])
    return root, before


def cpus_of(text):
    found = set()
    for part in text.strip().split(",") if text.strip() else []:
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def sets_of(root, changed, name):
    """The CPUs of the groups of this guest that are not as they were."""
    return {n: cpus_of(root.get(n)) for n in changed
            if n.endswith("cpuset.cpus") and ("x2d%s" % name in n or "-%s" % name in n)}


def own_files(root, changed, name):
    """Files of this guest's groups that are not as they were."""
    return {n: root.get(n).strip() for n in changed if "x2d%s" % name in n or "-%s" % name in n}


def claimed(root, name):
    for line in (root.get("run/domtune/ledger") or "").splitlines():
        fields = line.split("\t")
        if fields[0] == "claim" and fields[1] == UUID_OF[name]:
            return cpus_of(fields[11])
    return set()


def waits(root):
    """Marks of floaters in the ledger, and its flag."""
    lines = (root.get("run/domtune/ledger") or "").splitlines()
    return [n for n in lines if n.startswith("claim\t") and n.split("\t")[12].endswith("/1")] or \
        [n for n in lines[:1] if n.split("\t")[4] == "1"]


def warnings_of(said):
    """What is not about the profiles, which this root does not have."""
    return [text for level, text in said if level <= 4 and "no profile" not in text]


def release_all(root):
    for name in UUID_OF:
        run_apply(root, "release", UUID_OF[name])
    if waits(root):
        run_apply(root, "sweep")


def test_moves():
    """Shared guests give way before a dedicated one starts, and come back when it has gone."""
    for layout in LAYOUTS[:2]:
        name = " ".join(layout)
        root, before = pool_root(layout)
        home = sets_of(root, root.changed(before), "web1")
        log = Log(root)
        status = run_decide(root, xml=tuned("db1", DEDICATED))
        said = log.read()
        mine = claimed(root, "db1")
        now = [cpus for guest in ("web1", "web2") for cpus in sets_of(root, root.changed(before), guest).values()]
        tap.ok(layout == ("v1",) or len(now) == 2, name + ": one group of each is all that is written", now)
        tap.ok(status[0] == 0 and len(mine) == 2 and now and not any(cpus & mine or not cpus for cpus in now),
               name + ": after prepare nobody else is on its CPUs", status, mine, now)
        moved = [text for level, text in said if text.startswith("2 shared guests moved to CPUs ")]
        tap.ok(len(moved) == 1 and not warnings_of(said), name + ": one line says so", said)
        tap.ok(not waits(root), name + ": and nothing waits", waits(root))
        run_apply(root, "started", UUID_OF["db1"])
        log.read()
        result = run_apply(root, "release", UUID_OF["db1"])
        said = log.read()
        tap.ok(result.returncode == 0 and sets_of(root, root.changed(before), "web1") == home and not waits(root),
               name + ": after release they are back", result, sets_of(root, root.changed(before), "web1"), home)
        tap.ok([text for level, text in said if text.startswith("2 shared guests moved to CPUs ")], name + ": and say so", said)
        release_all(root)
        tap.ok(root.changed(before) == [], name + ": and all is as it was", root.changed(before))
        log.close()
        root.remove()


def test_moves_killed():
    if not can_inject():
        tap.skip("kill -9 while guests are moved", "needs a build with SAN=1")
        return
    for layout in LAYOUTS[:2]:
        for verb in "prepare", "release":
            root, before = pool_root(layout)
            if verb == "release":
                run_decide(root, xml=tuned("db1", DEDICATED))
                run_apply(root, "started", UUID_OF["db1"])
            bad = []
            for n, copy in enumerate(copies(root), 1):
                at = {"DOMTUNE_CRASH_AT": "apply:%d" % n}
                if verb == "prepare":
                    killed = run_decide(copy, xml=tuned("db1", DEDICATED), **at)[0] == -9
                else:
                    killed = run_apply(copy, "release", UUID_OF["db1"], **at).returncode == -9
                run_apply(copy, "sweep")
                mine, changed = claimed(copy, "db1"), copy.changed(before)
                now = [cpus for guest in ("web1", "web2") for cpus in sets_of(copy, changed, guest).values()]
                if waits(copy) or not now or any(cpus & mine or not cpus for cpus in now):
                    bad.append((n, mine, now, waits(copy)))
                release_all(copy)
                if copy.changed(before):
                    bad.append((n, copy.changed(before)))
                if not killed:
                    break
            tap.ok(not bad and n > 5, "%s: %s killed at each of its %d durable actions, then a sweep"
                   % (" ".join(layout), verb, n - 1), *bad)
            root.remove()


def test_moves_refused():
    if not can_inject():
        tap.skip("moves that the kernel refuses", "needs a build with SAN=1")
        return
    root, before = pool_root(("v2",))
    log = Log(root)
    status = run_decide(root, xml=tuned("db1", DEDICATED), DOMTUNE_FAULT="web1:%d*9" % errno.EINVAL)
    said = warnings_of(log.read())
    tap.ok(status[0] == 0 and len(said) == 1 and said[0].startswith("web1: ") and "db1 should have alone" in said[0],
           "a move that is refused: one warning names both", status, said)
    tap.ok(len(waits(root)) == 1, "it stays marked", waits(root))
    run_apply(root, "sweep")
    tap.ok(not waits(root) and not [c for c in sets_of(root, root.changed(before), "web1").values() if c & claimed(root, "db1")],
           "and a sweep tries it again", waits(root))
    release_all(root)
    tap.ok(root.changed(before) == [], "and all of it goes back", root.changed(before))
    log.close()
    root.remove()
    root, before = pool_root(("v2",))
    status, report, _ = run_decide(root, xml=tuned("db1", DEDICATED).replace(b"<d:tune ", b"<d:tune on-error='fail' "),
                                   DOMTUNE_FAULT="web1:%d*9" % errno.EINVAL)
    tap.ok(status == 1 and "refused its CPUs are not free" in report, "with on-error=fail the start is refused", status, report)
    run_apply(root, "sweep")
    tap.ok(not claimed(root, "db1") and not waits(root), "and nobody waits for it", waits(root))
    release_all(root)
    tap.ok(root.changed(before) == [], "all is as it was", root.changed(before))
    root.remove()


def test_retune():
    """From dedicated to shared and back, and left alone, while it runs."""
    for layout in LAYOUTS[:2]:
        name = " ".join(layout)
        root, before = pool_root(layout)
        run_decide(root, xml=tuned("db1", DEDICATED))
        run_apply(root, "started", UUID_OF["db1"])
        mine, was = claimed(root, "db1"), sets_of(root, root.changed(before), "db1")
        log = Log(root)
        status = run_decide(root, verb="retune", xml=tuned("db1", DEDICATED))
        tap.ok(status[0] == 0 and claimed(root, "db1") == mine and sets_of(root, root.changed(before), "db1") == was,
               name + ": retune with the same annotation changes nothing", status, mine, claimed(root, "db1"))
        said = [text for level, text in log.read() if "retuned: " in text]
        tap.ok(len(said) == 1 and said[0].startswith("db1 retuned: "), name + ": one line says that it was", said)
        status = run_decide(root, verb="retune", xml=tuned("db1", SHARED))
        groups = {guest: sets_of(root, root.changed(before), guest) for guest in UUID_OF}
        tap.ok(status[0] == 0 and not claimed(root, "db1") and all(groups.values()) and not waits(root) and
               len({frozenset(c) for sets in groups.values() for c in sets.values()}) == 1,
               name + ": shared, all float over the same CPUs", status, groups, log.read())
        status = run_decide(root, verb="retune", xml=tuned("db1", DEDICATED))
        now = [c for guest in ("web1", "web2") for c in sets_of(root, root.changed(before), guest).values()]
        tap.ok(status[0] == 0 and len(claimed(root, "db1")) == 2 and not any(c & claimed(root, "db1") for c in now),
               name + ": dedicated again, they have given way", status, claimed(root, "db1"), now)
        log.read()
        status = run_decide(root, verb="off", xml=tuned("db1", DEDICATED))
        tap.ok(status[0] == 0 and sets_of(root, root.changed(before), "db1") == {} and not claimed(root, "db1") and
               root.get("run/domtune/undo/" + UUID_OF["db1"]) is None, name + ": off, its groups are as they were",
               status, sets_of(root, root.changed(before), "db1"), log.read())
        release_all(root)
        tap.ok(root.changed(before) == [], name + ": and all is as it was", root.changed(before))
        log.close()
        root.remove()


def test_retune_killed():
    """
    Whatever a retune was killed in, after `reconnect` nobody is on CPUs that another one holds, and nothing is left of
    what the plan does not say; another retune makes it whole.
    """
    if not can_inject():
        tap.skip("kill -9 while a domain is retuned", "needs a build with SAN=1")
        return
    for layout in LAYOUTS[:2]:
        for before_cpu, after_cpu in (LIMITED, SHARED), (SHARED, LIMITED):
            root, before = pool_root(layout)
            run_decide(root, xml=tuned("db1", before_cpu))
            run_apply(root, "started", UUID_OF["db1"])
            # What it holds, and its files that are not as they were, after a retune that nobody kills.
            copy = copy_of(root)
            run_decide(copy, verb="retune", xml=tuned("db1", after_cpu))
            end = claimed(copy, "db1"), own_files(copy, copy.changed(before), "db1")
            copy.remove()
            for program in "decide", "apply":
                bad = []
                for n, copy in enumerate(copies(root), 1):
                    killed = run_decide(copy, verb="retune", xml=tuned("db1", after_cpu),
                                        DOMTUNE_CRASH_AT="%s:%d" % (program, n))[0] == -9
                    run_apply(copy, "reconnect", UUID_OF["db1"])
                    changed = copy.changed(before)
                    now = claimed(copy, "db1"), own_files(copy, changed, "db1")
                    theirs = [c for guest in ("web1", "web2") for c in sets_of(copy, changed, guest).values()]
                    mine = [c for n_, c in sets_of(copy, changed, "db1").items() if "vcpu" in n_ or "libvirt/cpuset" in n_]
                    if waits(copy) or any(c & now[0] for c in theirs) or not all(c <= now[0] or not c & now[0] for c in mine):
                        bad.append((n, now, theirs, waits(copy)))
                    if program == "apply" and now != end:
                        bad.append((n, now, end))
                    status = run_decide(copy, verb="retune", xml=tuned("db1", after_cpu))
                    now = claimed(copy, "db1"), own_files(copy, copy.changed(before), "db1")
                    # Other CPUs will do as well.
                    if status[0] != 0 or (len(now[0]), list(now[1])) != (len(end[0]), list(end[1])) or waits(copy):
                        bad.append((n, status, now, end))
                    release_all(copy)
                    if copy.changed(before):
                        bad.append((n, copy.changed(before)))
                    if not killed:
                        break
                tap.ok(not bad and n > 3, "%s: retune to %s: %s killed at each of its %d durable actions"
                       % (layout[0], "shared" if after_cpu == SHARED else "dedicated", program, n - 1), *bad)
            root.remove()


def test_groups_that_cannot_be_emptied():
    """What a group with tasks in it answers (ENOSPC): it gets what means the same, and that is said."""
    if not can_inject():
        tap.skip("groups that cannot be emptied", "needs a build with SAN=1")
        return
    root, before = pool_root(("v2",))
    log = Log(root)
    status = run_decide(root, verb="off", xml=tuned("web1", SHARED),
                        DOMTUNE_FAULT="web1.scope/libvirt/cpuset.cpus:%d*1" % errno.ENOSPC)
    said = [text for level, text in log.read() if level <= 5]
    now = list(sets_of(root, root.changed(before), "web1").values())
    tap.ok(status[0] == 0 and now == [cpus_of("0-7")], "a group that cannot be emptied gets all CPUs", status, now)
    tap.ok(len([text for text in said if "empties no group with tasks in it: 0-7 instead" in text]) == 1,
           "and one line says so", said)
    log.close()
    root.remove()


# ---- the host's own work leaves an isolated guest ----

ISOLATED = ("  <metadata>\n    <d:tune xmlns:d='urn:domtune:1'%s>\n"
            "      <d:cpu policy='isolated'/>\n    </d:tune>\n  </metadata>\n")
MASKS = ["sys/devices/virtual/workqueue/cpumask", "sys/devices/virtual/workqueue/writeback/cpumask"]


def isolated_root(layout):
    root = made_root("--kernel", "6.12.0-1", "--domain", "web1:7:%s:2:1" % UUID, "--cgroup", *layout)
    root.put("etc/domtune/policy.xml", "<policy xmlns='urn:domtune:1'><default profile='off'/></policy>\n")
    for mask in MASKS:
        root.put(mask, "ff\n")
    top = "sys/fs/cgroup/cpuset" if layout[0] == "v1" else "sys/fs/cgroup"
    root.put(top + "/docker/cpuset.cpus", "0-7\n" if layout[0] == "v1" else "\n")
    root.put(top + "/jobs/cpuset.cpus", "0-5\n")
    return root, top


def isolated_run(root, attributes="", **env):
    return run_decide(root, xml=domain_xml(body=ISOLATED % attributes), **env)


def test_isolated():
    for layout in (("v1",), ("v2",), ("v2", "--machined", "no")):
        name = "isolated, " + " ".join(layout)
        root, top = isolated_root(layout)
        before = root.outside()
        log = Log(root)
        status = isolated_run(root)
        wanted = sorted(MASKS + [top + "/docker/cpuset.cpus", top + "/jobs/cpuset.cpus"])
        tap.ok(status[0] == 0 and root.changed(before) == wanted, name + ": groups and masks before the guest runs", status,
               root.changed(before))
        said = [text for level, text in log.read() if level < 5]
        tap.ok(not [text for text in said if "no profile" not in text], name + ": with no warning", said)
        cpus = {n: cpus_of(root.get(n).strip()) for n in wanted if n.endswith("cpus")}
        taken = cpus_of("0-7") - cpus[top + "/docker/cpuset.cpus"]
        tap.ok(len(taken) >= 2 and 0 not in taken and cpus[top + "/jobs/cpuset.cpus"] == cpus_of("0-5") - taken,
               name + ": what somebody has narrowed stays as narrow", cpus)
        masks = [int(root.get(m), 16) for m in MASKS]
        tap.ok(masks == [0xff & ~sum(1 << c for c in taken)] * 2, name + ": unbound work of the kernel", masks)
        run_apply(root, "started", UUID)
        partitions = [n for n in root.changed(before) if n.endswith("cpuset.cpus.partition")]
        exclusive = [n for n in root.changed(before) if n.endswith("cpuset.cpus.exclusive")]
        if layout[0] == "v1":
            tap.ok(not partitions and not exclusive, name + ": no partition")
        else:
            chain = 5 if layout == ("v2",) else 4
            tap.ok([root.get(n) for n in partitions] == ["isolated\n"] * 2 and len(exclusive) == chain,
                   name + ": a partition for each vCPU, and the chain to it", partitions, exclusive)
        mine = root.changed(before)
        run_apply(root, "reconnect", UUID)
        tap.ok(root.changed(before) == mine, name + ": reconnect changes nothing more", root.changed(before))
        run_apply(root, "release", UUID)
        tap.ok(root.changed(before) == [] and root.left([UUID]) == [], name + ": all goes back", root.changed(before), root.left([UUID]))
        log.close()
        root.remove()


def end(root, by_recover):
    """The guest has gone: libvirt says so, or nobody does and the administrator cleans up."""
    if not by_recover:
        return run_apply(root, "release", UUID)
    shutil.rmtree(root.path("proc/20700"))
    os.unlink(root.path("run/libvirt/qemu/web1.pid"))
    return subprocess.run([os.path.join(BUILD, "domtune"), "--root", root.dir, "recover"], capture_output=True, timeout=60,
                          check=False)


def changed_but_for_the_guest(root, before):
    return [n for n in root.changed(before) if not n.startswith(("proc/20700", "run/libvirt/qemu/web1."))]


def test_isolated_killed():
    """At each write of each phase, then released by libvirt, or recovered."""
    if not can_inject():
        tap.skip("isolated, kill -9 at every durable action", "needs a build with SAN=1")
        return
    for layout in (("v1",), ("v2",)):
        name = "isolated, " + layout[0]
        root, _ = isolated_root(layout)
        before = root.outside()
        bad = []
        for n, copy in enumerate(copies(root), 1):
            killed = isolated_run(copy, DOMTUNE_CRASH_AT="apply:%d" % n)[0] == -9
            result = end(copy, n % 2)
            if result.returncode or changed_but_for_the_guest(copy, before) or copy.left([UUID]):
                bad.append((n, result, copy.changed(before), copy.left([UUID])))
            if not killed:
                break
        tap.ok(not bad and n > 6, "%s: prepare killed at each of its %d durable actions" % (name, n - 1), *bad)
        isolated_run(root)
        for phase in "started", "release":
            bad = []
            for n, copy in enumerate(copies(root), 1):
                killed = run_apply(copy, phase, UUID, DOMTUNE_CRASH_AT="apply:%d" % n).returncode == -9
                result = end(copy, n % 2)
                if result.returncode or changed_but_for_the_guest(copy, before) or copy.left([UUID]):
                    bad.append((n, result, copy.changed(before), copy.left([UUID])))
                if not killed:
                    break
            tap.ok(not bad and n > 8, "%s: %s killed at each of its %d durable actions" % (name, phase, n - 1), *bad)
            run_apply(root, "started", UUID)
        root.remove()


def test_isolated_by_halves():
    """A partition that one vCPU's group cannot be: the rest of it is taken back, all else stays."""
    if not can_inject():
        tap.skip("isolated, a partition that is refused", "needs a build with SAN=1")
        return
    root, top = isolated_root(("v2",))
    before = root.outside()
    isolated_run(root)
    log = Log(root)
    result = run_apply(root, "started", UUID, DOMTUNE_FAULT="vcpu1/cpuset.cpus.partition:%d" % errno.EINVAL)
    said = [text for level, text in log.read() if level <= 4]
    mine = root.changed(before)
    tap.ok(result.returncode == 0 and not [n for n in mine if "exclusive" in n or "partition" in n] and
           any("vcpu1/cpuset.cpus" in n for n in mine) and top + "/docker/cpuset.cpus" in mine,
           "a refused partition is taken back as a whole, the rest stays", result, mine)
    tap.ok(len([t for t in said if "partition" in t and "taken back" in t]) == 1, "and that is said", said)
    run_apply(root, "release", UUID)
    tap.ok(root.changed(before) == [] and root.left([UUID]) == [], "and all goes back", root.changed(before), root.left([UUID]))
    log.close()
    root.remove()


def test_isolated_too_much():
    """A host that would be left without CPUs is left alone; on-error="fail" refuses."""
    for attributes in "", " on-error='fail'":
        root = made_root("--cpus", "4", "--smt", "2", "--cgroup", "v2", "--domain", "web1:7:%s:1:0" % UUID)
        root.put("etc/domtune/policy.xml", "<policy xmlns='urn:domtune:1'><host reserved-cpus='2' max-dedicated-cpus='100%'/>"
                 "<default profile='off'/></policy>\n")
        for mask in MASKS:
            root.put(mask, "f\n")
        before = root.outside()
        log = Log(root)
        pinned = (ISOLATED % attributes) + "  <cputune><vcpupin vcpu='0' cpuset='0'/></cputune>\n"
        status = run_decide(root, xml=domain_xml(body=pinned).replace(b">2</vcpu>", b">1</vcpu>"))
        said = [text for level, text in log.read() if level <= 4]
        words = "the host would be left without CPUs"
        if attributes:
            tap.ok(status[0] == 1 and "refused" in status[1] and words in status[1], "too much isolation is refused", status)
        else:
            tap.ok(status[0] == 0 and len([t for t in said if words in t]) == 1, "too much isolation is one warning", status,
                   said)
        tap.ok(root.changed(before) == [], "and nothing is done by halves", root.changed(before))
        log.close()
        root.remove()


def main():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    make_room_for_bursts()
    try:
        os.makedirs(helpers)
        build_with_helpers_in(work, [(decide, DECIDE + ["common/foreign.c", "common/qemucaps.c"],
                                      ["libxml-2.0", "libcgroup"])])
        shutil.copy(os.path.join(BUILD, "apply"), helpers)
        for test in [value for name, value in sorted(globals().items()) if name.startswith("test_")]:
            test()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    tap.end()


if __name__ == "__main__":
    os.chdir(TOP)
    main()

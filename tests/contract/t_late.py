#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
What comes after `started`, below a fake root: the helper's life (it holds nothing of the hook's, the hook does not wait
for it, it ends by itself, at release, when another one is there, and costs nothing when it is killed), and `apply late`.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hooklib import (APPLY, DECIDE, TOP, UUID, Log, Tap, build_with_helpers_in, call, can_inject, domain_xml,  # noqa: E402
                     made_root)

tap = Tap()
work = tempfile.mkdtemp(prefix="domtune-late-")
hook = os.path.join(work, "qemu")
helpers_dir = os.path.join(work, "domtune")
applier = os.path.join(helpers_dir, "apply")
PID = 20700
GROUP = "sys/fs/cgroup/cpuset/machine/qemu-7-web1.libvirt-qemu"
NOTE = "run/domtune/late/" + UUID
UNDO = "run/domtune/undo/" + UUID
FOREVER = ",".join(str(200 * i) for i in range(1, 16)) + ",600000"  # a look every 0.2 s, the last one is never reached
WAIT = 60


def wait_for(what):
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.02)
    return False


def make_root(policy="<default profile='off'/>"):
    root = made_root("--cgroup", "v1", "--domain", "web1:7:%s:2:0" % UUID)
    root.put("etc/domtune/policy.xml", "<policy xmlns='urn:domtune:1'>%s</policy>\n" % policy)
    return root


def xml(cpu="<d:cpu policy='shared'/>"):
    return domain_xml(body="<metadata><d:tune xmlns:d='urn:domtune:1'>%s</d:tune></metadata>" % cpu)


def run(root, phase, looks=None, text=None):
    return call(hook, ["web1", phase, "begin", "-"], text or xml(), root, env={"DOMTUNE_LATE": looks} if looks else {})


def run_apply(root, *args, **env):
    environ = {"DOMTUNE_ROOT": root.dir, "PATH": os.environ["PATH"], **env}
    return subprocess.run([applier] + list(args), stdin=subprocess.DEVNULL, env=environ, capture_output=True, timeout=60,
                          check=False)


def helpers(root):
    """Of this root: ours is in its environment."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as file:
                words = file.read().split(b"\0")
            with open("/proc/%s/environ" % pid, "rb") as file:
                mine = b"DOMTUNE_ROOT=%s\0" % root.dir.encode() in file.read()
            if words[:3] == [applier.encode(), b"linger", UUID.encode()] and mine:
                found.append(int(pid))
        except OSError:
            pass
    return found


def started(root, looks=FOREVER):
    run(root, "prepare")
    return run(root, "started", looks)


def end(root):
    for pid in helpers(root):
        os.kill(pid, signal.SIGKILL)
    root.remove()


def plug(root, number, tid):
    """A vCPU as libvirt and QEMU make it: a thread, and a group with all CPUs."""
    task = "proc/%d/task/%d/" % (PID, tid)
    with open(root.path("proc/%d/task/%d/cgroup" % (PID, PID + 3)), encoding="ascii") as file:
        groups = file.read().replace("vcpu0", "vcpu%d" % number)
    root.put(task + "cgroup", groups)
    root.put(task + "stat", "%d (CPU %d/KVM) S 1 1 1 0 -1 64 0 0 0 0 0 0 0 0 20 0 1 0 %d 0\n" % (tid, number, 200000 + tid))
    shutil.copytree(root.path(GROUP + "/vcpu0"), root.path(GROUP + "/vcpu%d" % number))
    root.put(GROUP + "/vcpu%d/cpuset.cpus" % number, "0-7\n")


def cpus(root, number):
    return root.get(GROUP + "/vcpu%d/cpuset.cpus" % number)


# ---- the helper ----

def test_helper():
    root = make_root()
    log = Log(root)
    result = started(root)
    tap.ok(result.is_silent() and wait_for(lambda: helpers(root)), "started leaves a helper behind, and does not wait for it",
           result)
    mine = helpers(root)
    tap.ok(len(mine) == 1, "one", mine)
    pid = mine[0]
    fds = sorted((int(fd), os.readlink("/proc/%d/fd/%s" % (pid, fd))) for fd in os.listdir("/proc/%d/fd" % pid))
    tap.ok([name for fd, name in fds[:3]] == ["/dev/null"] * 3 and all(name == root.dir for fd, name in fds[3:]),
           "it has /dev/null and its root open, nothing of the hook's", fds)
    tap.ok(os.getsid(pid) not in (os.getsid(0), os.getpid()) and os.readlink("/proc/%d/cwd" % pid) == "/",
           "a session of its own, in /", os.getsid(pid))
    with open("/proc/%d/stat" % pid, encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    tap.ok(int(fields[1]) != os.getpid() and int(fields[16]) > 0, "nobody's child, and of low priority", fields)
    before = cpus(root, 0)
    plug(root, 2, 20790)
    tap.ok(before != "0-7\n" and wait_for(lambda: cpus(root, 2) == before), "a vCPU that is plugged in is placed", cpus(root, 2))
    tap.ok(wait_for(lambda: any("came late" in text for level, text in log.read() if level == 5)), "which is one notice")
    tap.ok(helpers(root) == [pid], "it watches on")
    run(root, "stopped")
    run(root, "release")
    tap.ok(wait_for(lambda: not helpers(root)), "it ends with the record")
    tap.ok(cpus(root, 2) == "0-7\n" and root.get(NOTE) is None, "all is put back, nothing is left", cpus(root, 2), root.get(NOTE))
    log.close()
    end(root)


def test_ends_by_itself():
    root = make_root()
    started(root, "50,100,150")
    tap.ok(wait_for(lambda: root.get(NOTE) and not helpers(root)), "it ends by itself after its last look")
    end(root)


def test_ends_with_the_guest():
    root = make_root()
    started(root)
    wait_for(lambda: helpers(root))
    shutil.rmtree(root.path("proc/%d" % PID))
    tap.ok(wait_for(lambda: not helpers(root)), "it ends with QEMU, though no hook has said so")
    end(root)


def test_newer():
    root = make_root()
    started(root)
    wait_for(lambda: helpers(root))
    first = helpers(root)
    run(root, "started", FOREVER)
    tap.ok(wait_for(lambda: len(helpers(root)) == 1 and helpers(root) != first), "a newer helper takes its place", first,
           helpers(root))
    end(root)


def test_switched_off():
    root = make_root()
    started(root)
    wait_for(lambda: helpers(root))
    root.put("etc/domtune/disabled")
    tap.ok(wait_for(lambda: not helpers(root)), "the host switch ends it")
    root.put(NOTE)
    os.unlink(root.path(NOTE))
    run(root, "started", FOREVER)
    tap.ok(root.get(NOTE) is None and not helpers(root), "and none is started")
    plug(root, 2, 20790)
    run_apply(root, "late", UUID)
    tap.ok(cpus(root, 2) == "0-7\n", "nor is anything done by hand")
    end(root)


def test_not_needed():
    cases = [("nothing that can come late", make_root(), xml("<d:cpu weight='200'/>")),
             ("observe", make_root("<host mode='observe'/><default profile='off'/>"), xml())]
    for name, root, text in cases:
        run(root, "prepare", text=text)
        run(root, "started", FOREVER, text)
        tap.ok(root.get(UNDO) and root.get(NOTE) is None and not helpers(root), name + ": no helper", root.get(UNDO))
        end(root)
    root = make_root()
    started(root, None)
    tap.ok(root.get(UNDO) and root.get(NOTE) is None and not helpers(root), "below another root none is started by itself")
    end(root)


def test_deadline():
    """The helper is none of the supervisor's: neither is it killed with the worker, nor waited for."""
    root = make_root("<host deadline='10s'/><default profile='off'/>")
    result = started(root)
    tap.ok(result.is_silent() and result.seconds < 9 and wait_for(lambda: helpers(root)), "the hook is back while it runs",
           result)
    time.sleep(0.5)
    tap.ok(len(helpers(root)) == 1, "and it is still there")
    end(root)


# ---- killed, and by hand ----

def test_killed():
    root = make_root()
    started(root)
    wait_for(lambda: helpers(root))
    os.kill(helpers(root)[0], signal.SIGKILL)
    wait_for(lambda: not helpers(root))
    want = cpus(root, 0)
    plug(root, 2, 20790)
    result = run_apply(root, "late", UUID)
    tap.ok(result.returncode == 0 and cpus(root, 2) == want, "killed: apply late does the same", result, cpus(root, 2))
    # plugged out and in again: the group is another one under the same name
    shutil.rmtree(root.path(GROUP + "/vcpu2"))
    shutil.rmtree(root.path("proc/%d/task/20790" % PID))
    run_apply(root, "late", UUID)
    plug(root, 2, 20791)
    run_apply(root, "late", UUID)
    tap.ok(cpus(root, 2) == want, "plugged in once more", cpus(root, 2))
    run(root, "release")
    tap.ok(cpus(root, 2) == "0-7\n" and root.get(UNDO) is None, "release puts all back", cpus(root, 2))
    end(root)


def test_killed_anywhere():
    """At each durable action: what is left is settled by release."""
    bad, n, killed = [], 0, True
    while killed and n < 100:
        n += 1
        root = make_root()
        started(root, None)
        plug(root, 2, 20790)
        killed = run_apply(root, "late", UUID, DOMTUNE_CRASH_AT="apply:%d" % n).returncode == -9
        run(root, "release")
        if cpus(root, 2) != "0-7\n" or root.get(UNDO) is not None or root.get(NOTE) is not None:
            bad.append((n, cpus(root, 2), root.get(UNDO), root.get(NOTE)))
        end(root)
    tap.ok(not bad and n > 4, "killed at each of its %d durable actions" % (n - 1), *bad)


def test_nothing_new():
    root = make_root()
    started(root, None)
    run_apply(root, "late", UUID)
    before = root.listing("run"), os.stat(root.path(NOTE)).st_ino
    log = Log(root)
    result = run_apply(root, "late", UUID)
    tap.ok(result.returncode == 0 and (root.listing("run"), os.stat(root.path(NOTE)).st_ino) == before and log.read() == [],
           "nothing new: nothing is written, nothing is said", result)
    trace = os.path.join(work, "trace")
    if shutil.which("strace"):
        subprocess.run(["strace", "-f", "-o", trace, applier, "late", UUID], check=False,
                       env={"DOMTUNE_ROOT": root.dir, "ASAN_OPTIONS": "detect_leaks=0"})
        with open(trace, encoding="utf-8", errors="replace") as file:
            opened = [line for line in file if "openat2(" in line and root.dir not in line]
        tap.ok(not any("/task/" in line or "cpuset.cpus" in line or "ledger" in line for line in opened) and len(opened) < 12,
               "and nobody's threads or groups are read", opened)
    else:
        tap.skip("and nobody's threads or groups are read", "missing: strace")
    # somebody else's change is told by reconnect, not each time that something comes
    root.put(GROUP + "/vcpu0/cpuset.cpus", "7\n")
    plug(root, 2, 20790)
    run_apply(root, "late", UUID)
    tap.ok(cpus(root, 0) == "7\n" and cpus(root, 2) != "0-7\n" and not [t for level, t in log.read() if level < 5],
           "what somebody else has changed is left, and not told", cpus(root, 0), cpus(root, 2))
    log.close()
    end(root)


def test_bad_note():
    root = make_root()
    started(root, None)
    for text in b"", b"late\n", b"x" * 10000, b"late\tx\t1\t1\t-1\t00000000\n":
        root.put(NOTE, text)
        result = run_apply(root, "late", UUID)
        tap.ok(result.returncode == 0 and (root.get(NOTE) or "").startswith("late\t"), "a damaged note is made anew",
               text[:20], result, root.get(NOTE))
    os.unlink(root.path(UNDO))
    result = run_apply(root, "late", UUID)
    tap.ok(result.returncode == 0 and not result.stderr, "a domain that is not ours is none of its business", result)
    for args in (["late"], ["late", "x"], ["linger", UUID], ["linger", UUID, "1", "2"]):
        tap.ok(run_apply(root, *args).returncode == 2, "usage: " + " ".join(args))
    tap.ok(run_apply(root, "linger", UUID, "x").returncode == 0, "a helper without a number ends at once")
    end(root)


def main():
    if not can_inject():
        tap.skip("late arrivals", "needs a build with SAN=1 or -DDT_TEST")
        tap.end()
    try:
        os.makedirs(helpers_dir)
        build_with_helpers_in(work, [(hook, ["hooks/qemu.c", "hooks/supervise.c"], []),
                                     (os.path.join(helpers_dir, "decide"), DECIDE, ["libxml-2.0", "libcgroup"]),
                                     (applier, APPLY, [])])
        only = sys.argv[1:]
        for name, test in sorted(globals().items()):
            if name.startswith("test_") and (not only or name in only):
                test()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    tap.end()


if __name__ == "__main__":
    os.chdir(TOP)
    main()

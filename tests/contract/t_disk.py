#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Two domains on one disk, below fake roots: what each wants of its queue and of their groups, in any order of ends, killed
at every durable action, answered with errors. After the last release the host is byte for byte what it was.
"""
import errno
import os
import resource
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hooklib import (BUILD, DECIDE, TOP, UUID, Log, Tap, build_with_helpers_in, can_inject, copies,  # noqa: E402
                     domain_xml, made_root)

tap = Tap()
work = tempfile.mkdtemp(prefix="domtune-disk-")
helpers = os.path.join(work, "domtune")
decide = os.path.join(helpers, "decide")
applier = os.path.join(helpers, "apply")
OTHER = "bbbbbbbb-2222-4333-8444-555555555555"
UUIDS = {"web1": UUID, "db1": OTHER}
QUEUE = "sys/block/sda/queue/"
TUNES = {
    "web1": "<d:disk target='*' scheduler='bfq' requests='64' weight='300' read-bps='1MiB' write-iops='50'/>"
            "<d:io priority='be:1'/>",
    "db1": "<d:disk target='vda' scheduler='none' requests='200' latency='500' read-ahead='64' merges='2'/>"
           "<d:disk target='../../x' merges='1'/>",
}
LAYOUTS = [("v2", "--machined", "no"), ("v1",)]


def xml(name, tune):
    text = domain_xml(name=name, uuid=UUIDS[name], head="<domain type='kvm' id='%d'>" % (7 if name == "web1" else 8), body=(
        "  <metadata>\n    <d:tune xmlns:d='urn:domtune:1'>%s</d:tune>\n  </metadata>\n" % tune)).decode()
    return text.replace("  </devices>", "    <disk type='block' device='disk'>\n      <source dev='/dev/sda'/>\n"
                        "      <target dev='vda' bus='virtio'/>\n    </disk>\n  </devices>").encode()


def make_root(layout):
    root = made_root("--disk", "sda:8:0:ssd", "--domain", "web1:7:%s:2:1" % UUID, "--domain", "db1:8:%s:2" % OTHER,
                     "--cgroup", *layout)
    root.put("etc/domtune/policy.xml", "<policy xmlns='urn:domtune:1'><default profile='off'/></policy>\n")
    return root


def run_decide(root, name, tune=None, **env):
    """prepare, with the apply that it becomes."""
    environ = {"DOMTUNE_ROOT": root.dir, "PATH": os.environ["PATH"], **env}
    with open(os.devnull, "wb") as report:
        def prepare():
            os.dup2(report.fileno(), 3)
        return subprocess.run([decide, "prepare", str(os.getpid())], input=xml(name, tune or TUNES[name]), env=environ,
                              capture_output=True, pass_fds=(3,) if report.fileno() != 3 else (report.fileno(),),
                              preexec_fn=prepare, timeout=60, check=False).returncode


def run_apply(root, verb, name, **env):
    environ = {"DOMTUNE_ROOT": root.dir, "PATH": os.environ["PATH"], **env}
    return subprocess.run([applier, verb, UUIDS[name]], stdin=subprocess.DEVNULL, env=environ, capture_output=True,
                          timeout=60, check=False).returncode


def tool(root, *args):
    return subprocess.run([os.path.join(BUILD, "domtune"), "--root", root.dir] + list(args), capture_output=True, text=True,
                          timeout=60, check=False)


def queue(root):
    return {name: (root.get(QUEUE + name) or "?").strip() for name in
            ("scheduler", "nr_requests", "read_ahead_kb", "wbt_lat_usec", "nomerges", "rq_affinity")}


ALONE = {
    "web1": {"scheduler": "none mq-deadline kyber [bfq]", "nr_requests": "64", "read_ahead_kb": "128", "wbt_lat_usec": "2000",
             "nomerges": "0", "rq_affinity": "1"},
    "db1": {"scheduler": "[none] mq-deadline kyber bfq", "nr_requests": "200", "read_ahead_kb": "64", "wbt_lat_usec": "500",
            "nomerges": "2", "rq_affinity": "1"},
}
BOTH = dict(ALONE["db1"], scheduler="none mq-deadline kyber [bfq]")


def groups(root, before):
    return {n.rsplit("/", 1)[1]: root.get(n) for n in root.changed(before) if "/cgroup/" in n}


def test_there_and_back():
    for layout in LAYOUTS:
        for first in UUIDS if layout[0] == "v2" else ["db1"]:
            second = [n for n in UUIDS if n != first][0]
            for ends in (first, second), (second, first):
                name = "%s, %s first, %s ends first" % (layout[0], first, ends[0])
                root = make_root(layout)
                before = root.outside()
                results = [run_decide(root, first)]
                alone = queue(root)
                results += [run_apply(root, "started", first), run_decide(root, second), run_apply(root, "started", second)]
                both, mine = queue(root), groups(root, before)
                results += [run_apply(root, "started", first), run_apply(root, "reconnect", second)]
                again = queue(root)
                results += [run_apply(root, "release", ends[0])]
                rest = queue(root)
                results += [run_apply(root, "release", ends[1])]
                tap.ok(alone == ALONE[first] and both == again == BOTH and rest == ALONE[ends[1]] and not any(results),
                       name + ": the strongest wish is in force", results, alone, both, again, rest)
                tap.ok(not root.changed(before) and not root.left(UUIDS.values()), name + ": and all goes back", root.changed(before),
                       root.left(UUIDS.values()))
                want = {"io.max": "8:0 rbps=1048576 wbps=max riops=max wiops=50\n",
                        "io.bfq.weight": "default 100\n8:0 300\n"} if layout[0] == "v2" else {
                            "blkio.throttle.read_bps_device": "8:0 1048576\n",
                            "blkio.throttle.write_iops_device": "8:0 50\n",
                            "blkio.bfq.weight_device": "default 100\n8:0 300\n"}
                tap.ok(mine == want, name + ": weights and limits are in the guest's group", mine, want)
                root.remove()


def test_status():
    """Both see who wants what; neither is told of a change by somebody else."""
    for first in UUIDS:
        second = [n for n in UUIDS if n != first][0]
        root = make_root(LAYOUTS[0])
        for name in first, second:
            run_decide(root, name)
            run_apply(root, "started", name)
        lines = {}
        for name in UUIDS:
            for line in tool(root, "status", name).stdout.splitlines():
                if line.split()[:2] in (["disk.scheduler", "sda"], ["disk.requests", "sda"]):
                    lines[name, line.split()[0]] = line
        tap.ok("web1" in str(lines.keys()) and "db1 wants none" in lines["web1", "disk.scheduler"] and
               "bfq is in force for web1" in lines["db1", "disk.scheduler"] and
               lines["db1", "disk.scheduler"].split()[2:4] == ["none", "bfq"] and
               "200 is in force for db1" in lines["web1", "disk.requests"] and
               "web1 wants 64" in lines["db1", "disk.requests"], first + " first: status shows who disagrees with whom",
               *lines.values())
        verify = tool(root, "verify")
        tap.ok("somebody else" not in verify.stdout and "interrupted" not in verify.stdout,
               first + " first: verify finds what it should be", verify.stdout, verify.stderr)
        for name in UUIDS:
            run_apply(root, "release", name)
        root.remove()


def test_killed():
    """One domain is in force; the other's prepare, or a release, is killed anywhere."""
    if not can_inject():
        tap.skip("kill -9 at every durable action", "needs a build with SAN=1")
        return
    for first in UUIDS:
        second = [n for n in UUIDS if n != first][0]
        root = make_root(LAYOUTS[0])
        before = root.outside()
        run_decide(root, first)
        run_apply(root, "started", first)
        bad = []
        for n, copy in enumerate(copies(root), 1):
            killed = run_decide(copy, second, DOMTUNE_CRASH_AT="apply:%d" % n) == -9
            order = (second, first) if n % 2 else (first, second)
            run_apply(copy, "release", order[0])
            rest = queue(copy)
            run_apply(copy, "release", order[1])
            if (order[0] == second and rest != ALONE[first]) or copy.changed(before) or copy.left(UUIDS.values()):
                bad.append((n, rest, copy.changed(before), copy.left(UUIDS.values())))
            if not killed:
                break
        tap.ok(not bad and n > 4, "%s beside %s, killed at each of prepare's %d durable actions" % (second, first, n - 1), *bad)
        run_decide(root, second)
        run_apply(root, "started", second)
        bad = []
        for n, copy in enumerate(copies(root), 1):
            killed = run_apply(copy, "release", first, DOMTUNE_CRASH_AT="apply:%d" % n) == -9
            if n % 2:
                run_apply(copy, "release", first)
                rest = queue(copy)
                run_apply(copy, "release", second)
            else:
                run_apply(copy, "release", second)
                run_apply(copy, "release", first)
                rest = ALONE[second]
            if rest != ALONE[second] or copy.changed(before) or copy.left(UUIDS.values()):
                bad.append((n, rest, copy.changed(before), copy.left(UUIDS.values())))
            if not killed:
                break
        tap.ok(not bad and n > 8, "%s beside %s, killed at each of release's %d durable actions" % (first, second, n - 1), *bad)
        root.remove()


def test_answers():
    """Each knob answers with each error: one line, the rest applies, and all goes back."""
    if not can_inject():
        tap.skip("errors of the kernel", "needs a build with SAN=1")
        return
    every = (errno.EIO, errno.EBUSY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV, errno.EACCES)
    for what, codes in (("queue/scheduler", every), ("nr_requests", every[:1]), ("wbt_lat_usec", every[3:4]),
                        ("nomerges", every[:2]), ("io.max", every[:4]), ("io.bfq.weight", every[2:3])):
        bad = []
        for code in codes:
            root = make_root(LAYOUTS[0])
            before = root.outside()
            tune = TUNES["web1"].replace("weight=", "merges='2' latency='500' weight=")
            log = Log(root)
            results = [run_decide(root, "web1", tune, DOMTUNE_FAULT="%s:%d" % (what, code)),
                       run_apply(root, "started", "web1", DOMTUNE_FAULT="%s:%d" % (what, code))]
            said = [text for level, text in log.read() if level <= 4 and what.rsplit("/", 1)[-1] in text]
            mine = root.changed(before)
            rest = [n for n in ("scheduler", "nr_requests", "wbt_lat_usec", "nomerges", "io.max", "io.bfq.weight")
                    if n != what.rsplit("/", 1)[-1]]
            # A limit is a setting each: io.max has two. What is absent or denied is no warning.
            lines = 0 if code in (errno.EOPNOTSUPP, errno.ENODEV, errno.EACCES) else 2 if what == "io.max" else 1
            results.append(run_apply(root, "release", "web1"))
            if any(results) or any(not [m for m in mine if m.endswith("/" + n)] for n in rest) or len(said) != lines or \
                    [m for m in mine if m.endswith("/" + what.rsplit("/", 1)[-1])] or root.changed(before) or root.left(UUIDS.values()):
                bad.append((errno.errorcode[code], results, mine, said, root.changed(before), root.left(UUIDS.values())))
            log.close()
            root.remove()
        tap.ok(not bad, what + ": an error costs that setting, and nothing else", *bad)


def test_vanished():
    """The disk is pulled while its domain runs."""
    root = make_root(LAYOUTS[0])
    run_decide(root, "web1")
    run_apply(root, "started", "web1")
    for link in "sys/block/sda", "sys/class/block/sda", "sys/dev/block/8:0":
        os.unlink(root.path(link))
    log = Log(root)
    status = run_apply(root, "release", "web1")
    said = [text for level, text in log.read() if level <= 4]
    tap.ok(status == 0 and not said and not root.left(UUIDS.values()), "a disk that is gone needs nothing put back", status, said, root.left(UUIDS.values()))
    log.close()
    root.remove()


def main():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        os.makedirs(helpers)
        build_with_helpers_in(work, [(decide, DECIDE + ["common/foreign.c", "common/qemucaps.c"],
                                      ["libxml-2.0", "libcgroup"])])
        shutil.copy(os.path.join(BUILD, "apply"), helpers)
        for test in test_there_and_back, test_status, test_killed, test_answers, test_vanished:
            test()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    tap.end()


if __name__ == "__main__":
    os.chdir(TOP)
    main()

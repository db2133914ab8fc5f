#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Classes of service below fake roots with a resctrl (tests/resctrlfs.py): two domains, in any order of ends, killed at every
durable action, refused by the kernel. After the last release resctrl is what it was, line by line.
"""
import ctypes
import os
import resource
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hooklib import BUILD, DECIDE, TOP, UUID, Log, Tap, build_with_helpers_in, can_inject, domain_xml, made_root  # noqa: E402

LIBC = ctypes.CDLL(None, use_errno=True)
tap = Tap()
work = tempfile.mkdtemp(prefix="domtune-class-")
helpers = os.path.join(work, "domtune")
decide = os.path.join(helpers, "decide")
applier = os.path.join(helpers, "apply")
OTHER = "bbbbbbbb-2222-4333-8444-555555555555"
UUIDS = {"web1": UUID, "db1": OTHER}
PIDS = {"web1": 20700, "db1": 20800}
FS = "sys/fs/resctrl/"
TUNES = {
    "web1": "<d:cpu policy='dedicated' cpus='0-5' cache='4'/><d:memory bandwidth='45%'/>",
    "db1": "<d:cpu policy='isolated' cpus='0-5' cache='25%'/>",
}


def xml(name, tune):
    return domain_xml(name=name, uuid=UUIDS[name], head="<domain type='kvm' id='%d'>" % (7 if name == "web1" else 8), body=(
        "  <metadata>\n    <d:tune xmlns:d='urn:domtune:1'%s</d:tune>\n  </metadata>\n" % (
            tune if tune.startswith(" ") else ">" + tune)))


class Host:
    """A fake root with two caches, and the file system that serves its resctrl."""

    def __init__(self, *options, mount=True):
        self.root = made_root("--cpus", "12", "--nodes", "2", "--memory-per-node", "8G", "--domain", "web1:7:%s:2:1" % UUID,
                              "--domain", "db1:8:%s:2" % OTHER)
        self.root.put("etc/domtune/policy.xml", "<policy xmlns='urn:domtune:1'><default profile='off'/></policy>\n")
        os.makedirs(self.root.path(FS))
        self.server = None
        if mount:
            self.server = subprocess.Popen([
                sys.executable, os.path.join(TOP, "tests/resctrlfs.py"), self.root.path(FS), "--caches", "0,6", "--proc",
                self.root.path("proc")] + list(options), stdout=subprocess.PIPE, text=True)
            assert self.server.stdout.readline() == "ready\n"
        self.before = self.state()

    def state(self):
        """All that resctrl says but for the last answer."""
        out = {}
        for path, dirs, files in os.walk(self.root.path(FS)):
            for name in dirs:
                out[os.path.relpath(os.path.join(path, name), self.root.path(FS))] = None
            for name in files:
                if name != "last_cmd_status":
                    with open(os.path.join(path, name), encoding="utf-8") as f:
                        out[os.path.relpath(os.path.join(path, name), self.root.path(FS))] = f.read()
        return out

    def line(self, group, which):
        """"L3:0" of a group's schemata; None: there is no such group."""
        text = self.root.get(FS + (group + "/" if group else "") + "schemata")
        resource, cache = which.split(":")
        for row in (text or "").splitlines():
            name, _, values = row.strip().partition(":")
            if name == resource:
                return dict(v.split("=") for v in values.split(";"))[cache].strip()
        return None

    def lines(self):
        """What the default group and both classes have."""
        return {n or "/": " ".join(str(self.line(n, w)) for w in ("L3:0", "L3:6", "MB:0", "MB:6"))
                for n in ["", group("web1"), group("db1")] if self.line(n, "L3:0")}

    def tasks(self, name):
        return {int(t) for t in (self.root.get(FS + (name + "/" if name else "") + "tasks") or "").split()}

    def write(self, path, text):
        with open(self.root.path(FS + path), "w", encoding="utf-8") as f:
            f.write(text)

    def add_thread(self, name, tid, in_group):
        """A thread that the guest's QEMU makes: where its maker is."""
        shutil.copytree(self.root.path("proc/%d/task/%d" % (PIDS[name], PIDS[name])),
                        self.root.path("proc/%d/task/%d" % (PIDS[name], tid)))
        stat = self.root.get("proc/%d/task/%d/stat" % (PIDS[name], PIDS[name])).replace(str(PIDS[name]), str(tid), 1)
        self.root.put("proc/%d/task/%d/stat" % (PIDS[name], tid), stat)
        self.write((in_group + "/" if in_group else "") + "tasks", "%d\n" % tid)

    def changed(self):
        now = self.state()
        return sorted(n for n in set(now) | set(self.before) if now.get(n, 0) != self.before.get(n, 0))

    def left(self):
        found = []
        for name, data in self.root.listing("run/domtune").items():
            if any(u in name for u in UUIDS.values()) and "/.tmp." not in name:
                found.append(name)
            if name == "run/domtune/ledger" and (b"shared\t" in data or any(u.encode() in data for u in UUIDS.values())):
                found.append(data)
        return found

    def decide(self, verb, name, tune=None, **env):
        environ = {"DOMTUNE_ROOT": self.root.dir, "PATH": os.environ["PATH"], **env}
        reading, writing = os.pipe()
        process = subprocess.Popen([decide, verb, str(os.getpid())], stdin=subprocess.PIPE, env=environ,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(writing, 3),
                                   preexec_fn=lambda: os.dup2(writing, 3))
        os.close(writing)
        process.communicate(xml(name, tune or TUNES[name]), timeout=60)
        with os.fdopen(reading, encoding="utf-8") as f:
            self.report = f.read()
        return process.returncode

    def apply(self, verb, name, **env):
        environ = {"DOMTUNE_ROOT": self.root.dir, "PATH": os.environ["PATH"], **env}
        return subprocess.run([applier, verb, UUIDS[name]], stdin=subprocess.DEVNULL, env=environ, capture_output=True,
                              timeout=60, check=False).returncode

    def start(self, name, tune=None):
        return [self.decide("prepare", name, tune), self.apply("started", name)]

    def tool(self, *args):
        return subprocess.run([os.path.join(BUILD, "domtune"), "--root", self.root.dir] + list(args), capture_output=True,
                              text=True, timeout=60, check=False)

    def end(self):
        if self.server:
            LIBC.umount2(os.fsencode(self.root.path(FS)), 2)
            self.server.wait(timeout=10)
            self.server.stdout.close()
        self.root.remove()


def group(name):
    return "domtune-" + UUIDS[name]


def threads(name):
    return set(range(PIDS[name], PIDS[name] + (7 if name == "web1" else 6)))


# Both are on node 0, whose cache is 0.
ALONE = {
    "web1": {"/": "07f 7ff 100 100", group("web1"): "780 7ff 50 50"},
    "db1": {"/": "0ff 7ff 100 100", group("db1"): "700 7ff 100 100"},
}


# The second one has the CPUs of node 0 that are left, and the ways below the first one's.
BESIDE = {
    "web1": {"/": "00f 7ff 100 100", group("web1"): "0f0 7ff 50 50"},
    "db1": {"/": "00f 7ff 100 100", group("db1"): "070 7ff 100 100"},
}


def test_there_and_back():
    for options in ((), ("--words",)):
        for first in UUIDS if not options else ["db1"]:
            second = [n for n in UUIDS if n != first][0]
            for ends in ((first, second), (second, first))[bool(options):]:
                name = "%s first, %s ends first%s" % (first, ends[0], ", words" if options else "")
                host = Host(*options)
                results = [host.decide("prepare", first)]
                prepared, early = host.lines(), host.tasks(group(first))
                results += [host.apply("started", first)]
                tap.ok(prepared == ALONE[first] and not early and host.tasks(group(first)) == threads(first) and
                       not any(results), name + ": a class with its ways, then its threads", results, prepared, early,
                       host.tasks(group(first)), host.root.get("run/domtune/ledger"))
                results = host.start(second)
                both = host.lines()
                want = dict(ALONE[first], **BESIDE[second])
                again = [host.apply("started", first), host.apply("reconnect", second)]
                tap.ok(both == want and not any(results + again) and host.lines() == both and
                       host.tasks(group(second)) == threads(second), name + ": both, apart from each other", results, both)
                verify = host.tool("verify")
                tap.ok(verify.returncode == 0 and "cpu.cache" in verify.stdout and "\n  NO" not in verify.stdout,
                       name + ": verify finds what it should be", verify.stdout, verify.stderr)
                results = [host.apply("release", ends[0])]
                rest = host.lines()
                tap.ok(group(ends[0]) not in rest and rest[group(ends[1])] == both[group(ends[1])] and
                       host.tasks("") >= threads(ends[0]), name + ": one is left", rest, host.tasks(""))
                results += [host.apply("release", ends[1])]
                tap.ok(not any(results) and not host.changed() and not host.left(), name + ": and all goes back", results,
                       host.changed(), host.left())
                host.end()


def test_killed():
    """One domain is in force; each phase of the other is killed anywhere. Whatever follows, all goes back."""
    if not can_inject():
        tap.skip("kill -9 at every durable action", "needs a build with SAN=1")
        return
    for phase in "prepare", "started", "release":
        bad, n, killed, host = [], 0, True, None
        while killed:
            n += 1
            host = host or Host() # the same one again as long as all has gone back
            host.start("db1")
            crash = {"DOMTUNE_CRASH_AT": "apply:%d" % n}
            if phase == "prepare":
                killed = host.decide("prepare", "web1", **crash) == -9
            else:
                host.decide("prepare", "web1")
                if phase == "release":
                    host.apply("started", "web1")
                killed = host.apply(phase, "web1", **crash) == -9
            alone = dict(host.lines())
            # As libvirt goes on, or the next start, or somebody who cleans up.
            if n % 3 == 0:
                host.decide("prepare", "web1")
                host.apply("started", "web1")
                if not host.tasks(group("web1")) == threads("web1"):
                    bad.append((n, "not started again", host.lines()))
            host.apply("release", "web1")
            if n % 3 == 1:
                host.apply("release", "web1")
            rest = host.lines()
            host.apply("release", "db1")
            if rest != ALONE["db1"] or host.changed() or host.left():
                bad.append((n, alone, rest, host.changed(), host.left()))
                host.end()
                host = None
        if host:
            host.end()
        tap.ok(not bad and n > 5, "killed at each of %s's %d durable actions" % (phase, n - 1), *bad)


def test_refused():
    """What cannot be had costs that, is one line with the kernel's words, and nothing is half done."""
    own, default = group("web1") + "/schemata", "resctrl/schemata"
    for name, options, env, want, words in (
            ("a group that cannot be made", ("--busy", "99"), {}, {"/": "7ff 7ff 100 100"}, "Out of RMIDs"),
            ("a group that can be made at the second try", ("--busy", "1"), {}, ALONE["web1"], None),
            ("a default group that gives up nothing", (), {"DOMTUNE_FAULT": default + ":22"},
             {"/": "7ff 7ff 100 100", group("web1"): "7ff 7ff 50 50"}, "Invalid argument"),
            ("a class that is not narrowed", (), {"DOMTUNE_FAULT": own + ":22"},
             {"/": "07f 7ff 100 100", group("web1"): "7ff 7ff 100 100"}, "Invalid argument")):
        if env and not can_inject():
            tap.skip(name, "needs a build with SAN=1")
            continue
        host = Host(*options)
        log = Log(host.root)
        results = [host.decide("prepare", "web1", **env), host.apply("started", "web1")]
        said = [text for level, text in log.read() if level <= 4 and "no profile" not in text]
        lines, tasks = host.lines(), host.tasks(group("web1"))
        results.append(host.apply("release", "web1"))
        ok = lines == want and not any(results) and tasks == (threads("web1") if len(want) > 1 else set())
        told = not said if words is None else said and all(words in t for t in said)
        tap.ok(ok and told and not host.changed() and not host.left(), name, results, lines, said, tasks, host.changed(),
               host.left())
        log.close()
        host.end()
    # With on-error="fail" the start is refused with that line.
    for options, words in ((("--busy", "99"), "Out of RMIDs"), (("--classes", "1"), "all 1 classes")):
        host = Host(*options)
        result = host.decide("prepare", "web1", " on-error='fail'>" + TUNES["web1"])
        tap.ok(result == 1 and words in host.report and not host.changed() and not host.left(),
               "refused: " + words, result, host.report, host.changed(), host.left())
        host.end()
    host = Host(mount=False)
    result = host.decide("prepare", "web1", " on-error='fail'>" + TUNES["web1"])
    tap.ok(result == 1 and "mount -t resctrl resctrl /sys/fs/resctrl" in host.report and not host.left(),
           "refused: not mounted", host.report)
    host.end()


def test_others():
    """Groups, masks and threads that somebody else has chosen."""
    host = Host("--words", "--watch", "m0")
    os.mkdir(host.root.path(FS + "p0"))
    host.write("schemata", "L3:0=3ff;6=3ff\n")
    host.write("p0/schemata", "L3:0=400;6=400\n")
    host.write("p0/mode", "exclusive\n")
    host.write("p0/tasks", "20701\n")
    host.write("mon_groups/m0/tasks", "20702\n")
    host.before = host.state()
    results = host.start("web1")
    lines, tasks = host.lines(), host.tasks(group("web1"))
    tap.ok(lines == {"/": "03f 3ff 100 100", group("web1"): "3c0 3ff 50 50"} and tasks == threads("web1") and
           not any(results), "ways of an exclusive group are not touched", results, lines, tasks)
    results = [host.decide("off", "web1")]
    tap.ok(not host.changed() and not any(results) and host.tasks("p0") == {20701},
           "left alone, each thread is where it was", results, host.changed(), host.tasks("p0"))
    host.end()

    host = Host()
    host.start("web1")
    host.write("schemata", "L3:0=03f\n")
    log = Log(host.root)
    host.apply("release", "web1")
    said = log.warnings()
    tap.ok(len(said) == 1 and "changed by somebody else" in said[0] and host.lines() == {"/": "03f 7ff 100 100"} and
           not host.left(), "what somebody else has set stays", said, host.lines())
    log.close()
    host.end()


def test_threads_to_come():
    for words in (), ("--words",):
        host = Host(*words)
        host.start("web1")
        host.add_thread("web1", 20790, group("web1"))
        host.add_thread("web1", 20791, None)
        results = [host.apply("reconnect", "web1")]
        tap.ok(host.tasks(group("web1")) == threads("web1") | {20790, 20791} and not any(results),
               "a later thread is in the class of its maker, or brought there", results, host.tasks(group("web1")))
        host.add_thread("web1", 20792, group("web1"))
        before = host.tasks("")
        results = [host.decide("off", "web1")]
        tap.ok(host.tasks("") == before | threads("web1") | {20790, 20791, 20792} and not any(results) and
               group("web1") not in host.lines(), "and all leave it", results, host.tasks(""))
        host.end()


def test_retune():
    steps = (
        ("more ways", "<d:cpu policy='dedicated' cache='6'/><d:memory bandwidth='45%'/>",
         {"/": "01f 7ff 100 100", group("web1"): "7e0 7ff 50 50"}),
        ("no bandwidth", "<d:cpu policy='dedicated' cache='6'/>", {"/": "01f 7ff 100 100", group("web1"): "7e0 7ff 100 100"}),
        ("no ways", "<d:cpu policy='dedicated'/><d:memory bandwidth='20%'/>",
         {"/": "7ff 7ff 100 100", group("web1"): "7ff 7ff 20 20"}),
        ("both again", TUNES["web1"], ALONE["web1"]),
        ("no class", "<d:cpu policy='dedicated'/>", {"/": "7ff 7ff 100 100"}),
    )
    host = Host()
    host.start("web1")
    for name, tune, want in steps:
        result = host.decide("retune", "web1", tune)
        tap.ok(result == 0 and host.lines() == want and (host.tasks(group("web1")) == threads("web1")) == (len(want) > 1),
               "retuned: " + name, result, host.lines(), want)
    host.apply("release", "web1")
    tap.ok(not host.changed() and not host.left(), "retuned, and all goes back", host.changed(), host.left())
    host.end()


def test_lost():
    """A group whose records are lost is named by verify, and removed by recover when nobody is in it any more."""
    host = Host()
    host.start("web1")
    for name in "ledger", "undo/" + UUID, "plan/" + UUID:
        if os.path.exists(host.root.path("run/domtune/" + name)):
            os.unlink(host.root.path("run/domtune/" + name))
    verify, recover = host.tool("verify"), host.tool("recover")
    tap.ok(verify.returncode == 1 and group("web1") in verify.stdout and group("web1") in host.lines(),
           "a class that nobody claims is named, and stays while its guest runs", verify, recover)
    shutil.rmtree(host.root.path("proc/20700"))
    recover, verify = host.tool("recover"), host.tool("verify")
    tap.ok(recover.returncode == 0 and group("web1") not in host.lines() and verify.returncode == 0, "and then goes", recover,
           verify)
    host.end()


def main():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        tap.skip("classes of service", "needs root and /dev/fuse")
        tap.end()
    # What is mounted here goes with us.
    if LIBC.unshare(0x20000) < 0 or LIBC.mount(None, b"/", None, 0x44000, None) < 0:
        tap.skip("classes of service", "needs a mount namespace")
        tap.end()
    try:
        os.makedirs(helpers)
        build_with_helpers_in(work, [(decide, DECIDE + ["common/foreign.c", "common/qemucaps.c"],
                                      ["libxml-2.0", "libcgroup"])])
        shutil.copy(os.path.join(BUILD, "apply"), helpers)
        for test in (test_there_and_back, test_refused, test_others, test_threads_to_come, test_retune, test_lost,
                     test_killed):
            test()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    tap.end()


if __name__ == "__main__":
    os.chdir(TOP)
    main()

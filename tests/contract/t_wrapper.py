#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The wrapper as a process: what it execs, with which words, environment, descriptors and attributes; which plans it
refuses; that a crash or a hang of it at any system call still ends in the emulator. The wrapper takes no root from
anybody, so it runs in a private mount namespace, in a root made for it: the machine's libraries, /proc, /sys and
/dev, and /usr/bin, /etc, /run of the test. The emulator there is a script that reports how it was started.

How command lines are rewritten in general is tests/unit/t_wrapper.c; QEMU itself is in t_wrapper_qemu.py.
"""
import ctypes
import json
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hooklib import BUILD, TOP, Tap, record  # noqa: E402

UUID = "6b3ee6a0-2c1d-4d0e-9a57-0c4f8a3b1d21"
WRAPPER = "/usr/libexec/domtune/qemu-system-x86_64"
EMULATOR = "/usr/bin/qemu-system-x86_64"
KEPT = "DOMTUNE_KEPT="
ENDED_EARLY = "wrapper: ended early, the command line is as it was"
BIND = ["keep", "0", "0", "bind", "", "0", ""]  # a plan's memory record: ordinary pages of node 0
ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/bin", "HOME": "/var/lib/libvirt/qemu/domain-3-web1"}
libc = ctypes.CDLL(None, use_errno=True)
tap = Tap()

REPORT = r'''#!/python -IS
import ctypes, json, os, signal
def read(name):
    with open("/proc/self/" + name, "rb") as file:
        return file.read()
status = dict(line.split(":\t", 1) for line in read("status").decode().splitlines() if ":\t" in line)
fds = {}
for fd in range(0, 300):
    try:
        fds[fd] = os.readlink("/proc/self/fd/%d" % fd)
    except OSError:
        pass
report = {
    "argv": read("cmdline").decode("latin-1").split("\0")[3:-1],
    "env": read("environ").decode("latin-1").split("\0")[:-1],
    "fds": fds, "uid": os.getuid(), "cwd": os.getcwd(), "umask": status["Umask"],
    "affinity": sorted(os.sched_getaffinity(0)), "policy": read("numa_maps").decode().split()[1],
    # ioprio_get(IOPRIO_WHO_PROCESS, this one), by the number it has on this architecture
    "ioprio": ctypes.CDLL(None).syscall(252, 1, 0) if os.uname().machine == "x86_64" else None,
    "blocked": status["SigBlk"], "ignored": status["SigIgn"], "timer": signal.getitimer(signal.ITIMER_REAL)[0],
}
os.write(1, json.dumps(report).encode())
'''


def mount(source, target, kind=None, flags=0, data=None):
    def text(s):
        return s.encode() if s else None
    if libc.mount(text(source), text(target), text(kind), flags, text(data)) != 0:
        raise OSError(ctypes.get_errno(), "mount on " + target)


def parse_report(text):
    try:
        report = json.loads(text)
    except ValueError:
        return None
    for fd in "012":  # the pipes of each run have other numbers
        if fd in report["fds"]:
            report["fds"][fd] = report["fds"][fd].partition(":")[0]
    return report


class World:
    """The root that the wrapper sees."""

    def __init__(self, base):
        self.base = base
        mount("tmpfs", base, "tmpfs", 0, "mode=0755")
        for name in "usr/bin", "usr/libexec/domtune", "etc/domtune", "run/domtune/plan", "tmp", "proc", "sys", "dev":
            os.makedirs(self.path(name))
        for name in "proc", "sys", "dev":
            mount("/" + name, self.path(name), None, 0x5000)  # MS_BIND | MS_REC
        for name in "lib", "lib32", "lib64", "libx32", "bin", "usr/lib", "usr/lib32", "usr/lib64", "usr/libx32":
            if os.path.islink("/" + name):
                os.symlink(os.readlink("/" + name), self.path(name))
            elif os.path.isdir("/" + name):
                os.makedirs(self.path(name), exist_ok=True)
                mount("/" + name, self.path(name), None, 0x1000)
        self.put("python", "", 0o755)
        mount(os.path.realpath(sys.executable), self.path("python"), None, 0x1000)
        with open(os.path.join(BUILD, "emulator"), "rb") as file:
            self.put(WRAPPER, file.read(), 0o755)
        self.put(EMULATOR, REPORT, 0o755)
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            self.boot_id = file.read().strip()

    def path(self, name):
        return os.path.join(self.base, name.lstrip("/"))

    def put(self, name, text, mode=0o644):
        self.remove(name)
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as out:
            out.write(text if isinstance(text, bytes) else text.encode())
        os.chmod(self.path(name), mode)

    def remove(self, name):
        try:
            os.unlink(self.path(name))
        except FileNotFoundError:
            pass
        except IsADirectoryError:
            os.rmdir(self.path(name))

    def plan_text(self, boot_id=None, uuid=UUID, number=3, emulator="", qemu=7002022, attrs=(), memory=None, more=(),
                  end=True):
        """As common/wplan.h has it."""
        text = record("head", "1", boot_id or self.boot_id, uuid, str(number), emulator, str(qemu))
        for name, value in attrs:
            text += record("attr", name, value)
        for one in ([["memory", *memory]] if memory else []) + list(more):
            text += record(*one)
        return text + (record("end") if end else "")

    def put_plan(self, mode=0o644, **how):
        self.put("run/domtune/plan/" + UUID, self.plan_text(**how), mode)

    def run(self, argv, env=None, prepare=None, program=WRAPPER, fds=()):
        """Start it. Returns (exit status, report or None, stderr)."""
        def enter():
            os.chroot(self.base)
            os.chdir("/")
            if prepare:
                prepare()
        done = subprocess.run(argv, executable=program, env=ENVIRONMENT if env is None else env, preexec_fn=enter,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=fds,
                              check=False, timeout=60)
        return done.returncode, parse_report(done.stdout), done.stderr.decode()


def words(name):
    with open(os.path.join(TOP, "tests/data/argv", name + ".args"), encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file if not line.startswith("#")]


PLAIN = words("json-plain")
RAM = '{"qom-type":"memory-backend-ram","id":"pc.ram","size":201326592}'


def kept(report):
    """The value of DOMTUNE_KEPT, None without; of two, that is an error."""
    found = [word[len(KEPT):] for word in report["env"] if word.startswith(KEPT)]
    return (found or [None])[0] if len(found) < 2 else found


def check_passes_through(w):
    for name in "none-probe-kvm", "none-probe-tcg", "none-version", "none-hand", "json-plain", "words-plain":
        argv = words(name)
        direct = w.run(argv, program=EMULATOR)
        through = w.run(argv)
        tap.ok(through == direct and through[1] and through[1]["argv"] == argv[1:], "%s without a plan: as without the "
               "wrapper" % name, through, direct)
    env = dict(ENVIRONMENT, DOMTUNE_KEPT="inherited", DOMTUNE_ROOT="/nowhere", DOMTUNE_KEPTX="stays")
    status, report, err = w.run(words("none-version"), env=env)
    want = sorted("%s=%s" % item for item in env.items() if item[0] != "DOMTUNE_KEPT")
    tap.ok(status == 0 and sorted(report["env"]) == want, "only an inherited DOMTUNE_KEPT leaves the environment",
           report)
    status, report, err = w.run(["", *PLAIN[1:]])
    tap.ok(status == 0 and report["argv"] == PLAIN[1:], "an empty argv[0] is no harm", err)


def check_follows(w):
    bind = RAM[:-1] + ',"host-nodes":[0],"policy":"bind"}'
    cpu = sorted(os.sched_getaffinity(0))[-1]
    w.put_plan(attrs=[("mempolicy", "preferred:0"), ("affinity", str(cpu)), ("ioprio", "be:1")], memory=BIND)
    status, report, err = w.run(PLAIN)
    tap.ok(status == 0 and report["argv"] == [bind if x == RAM else x for x in PLAIN[1:]], "guest RAM gets its nodes",
           err, report)
    tap.ok(report and report["affinity"] == [cpu] and report["policy"] == "prefer:0" and
           report["ioprio"] in (None, 2 << 13 | 1), "attributes are in force", report)
    tap.ok(report and kept(report) is None and err == "", "and nothing is said", err)
    plain = w.run(PLAIN, program=EMULATOR)[1]
    same = ("env", "fds", "umask", "cwd", "blocked", "ignored", "timer")
    tap.ok(report and all(report[key] == plain[key] for key in same),
           "environment, descriptors and signals are as without the wrapper", report, plain)

    w.put_plan(attrs=[("mempolicy", "bind:0"), ("affinity", "8191"), ("colour", "red"), ("ioprio", "rt:0x"),
                      ("mempolicy", "interleave:0")])
    status, report, err = w.run(PLAIN)
    tap.ok(status == 0 and report["policy"] == "interleave:0" and
           kept(report) == "memory.placement: mempolicy bind:0: Invalid argument; cpu.emulator: affinity 8191: Invalid "
           "argument; colour: not known to this wrapper; io.priority: ioprio rt:0x: Invalid argument", "one attribute that fails does not stop the others", report)

    w.put_plan(attrs=[("core-sched", "yes")])
    status, report, err = w.run(PLAIN)
    # PR_SCHED_CORE, PR_SCHED_CORE_GET: what this kernel says of a process without a cookie is what it says of one.
    ctypes.set_errno(0)
    cookie = ctypes.c_ulong(0)
    lacks = libc.prctl(62, 0, 0, 0, ctypes.byref(cookie)) < 0 and {22: "this kernel has no core scheduling "
        "(CONFIG_SCHED_CORE)", 19: "the cores in use have one thread each"}.get(ctypes.get_errno())
    tap.ok(status == 0 and report["argv"] == PLAIN[1:] and
           kept(report) == (lacks and "cpu.core-scheduling: " + lacks or None), "a core scheduling cookie, or why not", report,
           lacks)

    def as_nobody():
        os.setgroups([])
        os.setgid(64055)
        os.setuid(64055)
    w.put_plan(memory=BIND)
    status, report, err = w.run(PLAIN, prepare=as_nobody)
    tap.ok(status == 0 and report["uid"] == 64055 and bind in report["argv"], "the same as QEMU's user", err, report)
    status, report, err = w.run(PLAIN, env=dict(ENVIRONMENT, DOMTUNE_ROOT="/tmp", DOMTUNE_KEPT="x"))
    tap.ok(status == 0 and bind in report["argv"] and kept(report) is None, "whatever the environment says", report)


def check_tryouts(w):
    # 1 TiB in 2M pages: no machine that runs this test has them free.
    big = [x.replace("201326592", "1099511627776") for x in PLAIN]
    w.put_plan(memory=["huge", "2097152", "0", "bind", "yes", "2", "0"])
    status, report, err = w.run(big)
    good = status == 0 and report["argv"] == big[1:]
    if os.path.exists("/sys/kernel/mm/hugepages/hugepages-2048kB"):
        good = good and re.fullmatch(r"memory\.pages: no free 2M pages on node 0 \(want 524288, free \d+\); "
                                     r"memory\.placement: as memory\.pages; memory\.prealloc: as memory\.pages",
                                     kept(report) or "")
    tap.ok(good, "pages that are not there: the argument stays, the reason is told", err, report)
    w.put_plan(memory=["huge", "2097152", "", "", "yes", "2", ""])
    status, report, err = w.run(big)
    tap.ok(status == 0 and report["argv"] == big[1:] and
           (kept(report) or "").startswith("memory.pages: 524288 2M pages: "), "the same without nodes, by reservation",
           report)
    w.put_plan(memory=["huge", "12345", "", "", "", "0", ""])
    status, report, err = w.run(PLAIN)
    tap.ok(status == 0 and report["argv"] == PLAIN[1:] and "12345 pages" in kept(report), "a page size that is none",
           report)
    w.put_plan(memory=["keep", "0", "1023", "bind", "", "0", ""])
    status, report, err = w.run(PLAIN)
    tap.ok(status == 0 and report["argv"] == PLAIN[1:] and
           kept(report) == "memory.placement: node 1023 may not be used here", "a node that is not there", report)


def check_huge_pages(w):
    """With real pages, lent by the machine for a moment."""
    def pool(what, change=0):
        path = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/" + what
        with open(path, "r+" if change else "r", encoding="ascii") as file:
            number = int(file.read())
            if change:
                file.seek(0)
                file.write("%d\n" % (number + change))
        return number
    name = "huge pages that are there"
    try:
        pool("nr_hugepages", 4)
    except OSError as error:
        tap.skip(name, "no pool of 2M pages can be had: %s" % error.strerror)
        return
    try:
        free = pool("free_hugepages")
        if free < 4:
            tap.skip(name, "this machine has no memory for four 2M pages")
            return
        small = [x.replace("201326592", "8388608") for x in PLAIN]
        w.put_plan(memory=["huge", "2097152", "0", "bind", "", "0", "0"])
        status, report, err = w.run(small)
        want = ('{"qom-type":"memory-backend-memfd","id":"pc.ram","size":8388608,"hugetlb":true,"hugetlbsize":2097152,'
                '"share":false,"x-use-canonical-path-for-ramblock-id":false,"host-nodes":[0],"policy":"bind",'
                '"prealloc":true,"prealloc-context":"domtune-tc0"}')
        context = '{"qom-type":"thread-context","id":"domtune-tc0","cpu-affinity":[0]}'
        at = report["argv"].index(want) if report and want in report["argv"] else 3
        tap.ok(report and report["argv"][at - 3:at + 1] == ["-object", context, "-object", want] and
               kept(report) is None, name, err, report)
        tap.ok(pool("free_hugepages") == free, "the tryout gave its pages back")
    finally:
        pool("nr_hugepages", -4)


def backends(report):
    """The -object values of guest RAM, by id, as dictionaries."""
    found = [json.loads(word) for word in report["argv"] if word.startswith('{"qom-type":"memory-backend')]
    return {o["id"]: o for o in found}


def check_cells(w):
    """Recorded command lines of guests with cells. This machine may have one node: both cells are put on it."""
    for name, number in ("json-cells", 2), ("json-cells-4", 4), ("json-cells-10.0", 2):
        argv = words(name)
        uid = int(re.search(r"domain-(\d+)-", " ".join(argv)).group(1))
        cells = [["memory", "keep", "0", "0", "bind", "", "0", "", str(i)] for i in range(number)]
        w.put_plan(number=uid, more=cells)
        status, report, err = w.run(argv)
        own = name == "json-cells-4"  # one of its cells has nodes of the owner's
        ram = backends(report) if report else {}
        if own:
            tap.ok(status == 0 and report["argv"] == argv[1:] and
                   kept(report) == "memory.placement: the memory back end has nodes of its own", name, err, report)
            continue
        tap.ok(status == 0 and kept(report) is None and len(ram) == number and
               all(o["host-nodes"] == [0] and o["policy"] == "bind" for o in ram.values()), name, err, report)
        tap.ok(status == 0 and [x for x in report["argv"] if "memory-backend" not in x] ==
               [x for x in argv[1:] if "memory-backend" not in x], name + ": nothing else is changed", report)
    argv = words("json-cells")
    w.put_plan(number=15, more=[["memory", "keep", "0", "0", "bind", "", "0", "", "0"],
                                ["memory", "keep", "0", "1023", "bind", "", "0", "", "1"]])
    status, report, err = w.run(argv)
    tap.ok(status == 0 and report["argv"] == argv[1:] and
           kept(report) == "memory.placement: node 1023 may not be used here", "a node that one cell cannot have: none "
           "is placed", report)
    w.put_plan(number=15, more=[["memory", "keep", "0", "", "", "yes", "1", "0", "0"],
                                ["memory", "keep", "0", "", "", "yes", "1", "0", "1"]])
    status, report, err = w.run(argv)
    ram = backends(report) if report else {}
    tap.ok(status == 0 and kept(report) is None and len(ram) == 2 and
           all(o["prealloc"] and o["prealloc-context"] == "domtune-tc0" for o in ram.values()) and
           report["argv"].index('{"qom-type":"thread-context","id":"domtune-tc0","cpu-affinity":[0]}') <
           min(i for i, x in enumerate(report["argv"]) if "memory-backend-ram" in x),
           "cells are populated on their CPUs", report)


def check_cells_share_a_pool(w):
    """Pages for one of two cells on the same node, but not for both."""
    name = "cells that want the same pages"
    pool = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/"

    def number(what, change=0):
        with open(pool + what, "r+" if change else "r", encoding="ascii") as file:
            have = int(file.read())
            if change:
                file.seek(0)
                file.write("%d\n" % (have + change))
        return have
    try:
        number("nr_hugepages", 6)
    except OSError as error:
        tap.skip(name, "no pool of 2M pages can be had: %s" % error.strerror)
        return
    try:
        free = number("free_hugepages")
        if free < 6:
            tap.skip(name, "this machine has no memory for six 2M pages")
            return
        for pages, good in (free // 2, True), (free // 2 + 1, False):
            argv = [x.replace("100663296", str(pages << 21)) for x in words("json-cells")]
            w.put_plan(number=15, more=[["memory", "huge", "2097152", "0", "bind", "", "0", "", str(i)]
                                        for i in (0, 1)])
            status, report, err = w.run(argv)
            ram = backends(report) if report else {}
            if good:
                tap.ok(status == 0 and kept(report) is None and len(ram) == 2 and
                       all(o["qom-type"] == "memory-backend-memfd" and o["hugetlb"] for o in ram.values()),
                       "both cells get their pages", err, report)
            else:
                tap.ok(status == 0 and report["argv"] == argv[1:] and
                       kept(report) == "memory.pages: no free 2M pages on node 0 (want %d, free %d); memory.placement: "
                       "as memory.pages" % (2 * pages, free), "pages for one of two cells: neither is changed", report)
            tap.ok(number("free_hugepages") == free, "the tryout gave its pages back")
    finally:
        number("nr_hugepages", -6)


def check_lock_and_merge(w):
    def limit(value):
        def prepare():
            os.setgroups([])
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (value, value))
            os.setgid(64055)
            os.setuid(64055)
        return prepare
    on = ["mem-lock=on" if x == "mem-lock=off" else x for x in PLAIN[1:]]
    some = 1 << 22  # below what anybody has
    cases = [(some, some, on, None),
             (some + 1, some, PLAIN[1:], "memory.lock: RLIMIT_MEMLOCK is 4 MiB, QEMU may need 5: use <locked/>")]
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] == resource.RLIM_INFINITY:
        cases.append((1 << 40, resource.RLIM_INFINITY, on, None))
    for need, value, want, why in cases:
        w.put_plan(more=[["lock", str(need)]])
        status, report, err = w.run(PLAIN, prepare=limit(value))
        tap.ok(status == 0 and report["argv"] == want and kept(report) == why,
               "mem-lock, %d wanted of %d" % (need, value), err, report)
    # A limit that the tryout of pages would be ended by.
    w.put_plan(memory=["huge", "2097152", "0", "preferred", "yes", "1", ""])
    status, report, err = w.run(PLAIN, prepare=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)))
    tap.ok(status == 0 and report["argv"] == PLAIN[1:], "pages under RLIMIT_FSIZE", status, report, err)
    w.put_plan(more=[["merge", "no"]])
    status, report, err = w.run(PLAIN)
    machine = [x for x in report["argv"] if "memory-backend=pc.ram" in x]
    tap.ok(status == 0 and machine == ["pc-q35-7.2,usb=off,dump-guest-core=off,memory-backend=pc.ram,mem-merge=off"] and
           backends(report)["pc.ram"]["merge"] is False and kept(report) is None, "merge no", err, report)
    w.put_plan(more=[["merge", "yes"]])
    status, report, err = w.run(PLAIN)
    good = kept(report) is None and backends(report)["pc.ram"]["merge"] is True
    if not os.path.exists("/sys/kernel/mm/ksm"):
        good = report["argv"] == PLAIN[1:] and kept(report) == "memory.merge: KSM: Invalid argument"
    tap.ok(status == 0 and good, "merge yes", err, report)


def check_disks(w):
    """A recorded command line with many disks, of which the images of one are there."""
    argv = words("json-disks")
    chain = ["/srv/images/" + name for name in ("chain.qcow2", "middle.qcow2", "base.raw")]

    def nodes(report):
        found = [json.loads(word) for word in report["argv"] if '"node-name":' in word]
        return {o["node-name"]: o for o in found}

    def run(*fields):
        w.put_plan(number=25, more=[["disk", "vda", "virtio-disk0", chain[0], *fields]])
        return w.run(argv)
    others = [x for x in argv[1:] if not re.search(r"libvirt-(8|9|10)-", x) or x.startswith('{"driver":"virtio')]

    def rest(report):
        return [x for x in report["argv"] if not re.search(r"libvirt-(8|9|10)-", x) or x.startswith('{"driver":"virtio')]
    for name in chain:
        w.remove(name)
    status, report, err = run("", "none", "unmap", "unmap", "4194304")
    tap.ok(status == 0 and kept(report) == "disk.cache vda: O_DIRECT, /srv/images/chain.qcow2: No such file or directory",
           "disks: an image that is not there keeps its cache mode", err, report)
    have = nodes(report) if report else {}
    tap.ok(have and have["libvirt-8-format"]["discard"] == have["libvirt-8-format"]["detect-zeroes"] == "unmap" and
           all(have["libvirt-%d-format" % i]["l2-cache-size"] == 4194304 for i in (8, 9)) and
           not any("cache" in have["libvirt-%d-%s" % (i, kind)] for i in (8, 9, 10) for kind in ("format", "storage")),
           "disks: the rest of it is changed", have)
    tap.ok(have and rest(report) == others, "disks: nothing of other disks is", report)
    for name in chain:
        w.put(name, "x" * 4096, 0o600)

    def as_nobody():
        os.setgroups([])
        os.setgid(64055)
        os.setuid(64055)
    w.put_plan(number=25, more=[["disk", "vda", "virtio-disk0", chain[0], "", "none", "", "", ""]])
    status, report, err = w.run(argv, prepare=as_nobody)
    tap.ok(status == 0 and report["argv"] == argv[1:] and
           kept(report) == "disk.cache vda: O_DIRECT, /srv/images/chain.qcow2: Permission denied",
           "disks: tried with QEMU's own rights", err, report)
    try:
        os.close(os.open(w.path(chain[0]), os.O_RDONLY | os.O_DIRECT))
        direct = True
    except OSError:
        direct = False  # tmpfs before Linux 6.6
    status, report, err = run("", "none", "", "", "")
    have = nodes(report) if report else {}
    good = report and all(have["libvirt-%d-%s" % (i, kind)]["cache"] == {"direct": True, "no-flush": False}
                          for i in (8, 9, 10) for kind in ("format", "storage")) if direct else \
        report["argv"] == argv[1:] and kept(report).endswith("chain.qcow2: Invalid argument")
    tap.ok(status == 0 and good, "disks: cache none, all nodes or none", err, report)
    w.remove(chain[0])
    os.mkfifo(w.path(chain[0]))
    status, report, err = run("", "none", "", "", "")
    tap.ok(status == 0 and kept(report) == "disk.cache vda: O_DIRECT, /srv/images/chain.qcow2: Invalid argument",
           "disks: a pipe is not opened", err, report)
    # The emulator is a script here, of which nobody can tell what it was built with.
    status, report, err = run("auto", "", "", "", "")
    want = "disk.io vda: %s: cannot be seen whether it has liburing.so, native needs the host's page cache bypassed"
    tap.ok(status == 0 and kept(report) == want % EMULATOR and
           [nodes(report)["libvirt-%d-storage" % i]["aio"] for i in (8, 9, 10)] == ["threads"] * 3,
           "disks: io auto comes to threads where nothing is known", err, report)
    for fields, why in (("io_uring", "", "", "", ""), want.partition(", native")[0] % EMULATOR), \
                       (("native", "", "", "", ""), "disk.io vda: native needs the host's page cache bypassed"):
        status, report, err = run(*fields)
        tap.ok(status == 0 and report["argv"] == argv[1:] and kept(report) == why, "disks: io " + fields[0], err, report)
    w.put_plan(number=25, more=[["disk", "vda", "virtio-disk0", "/srv/images/other", "threads", "", "unmap", "", ""]])
    status, report, err = w.run(argv)
    tap.ok(status == 0 and report["argv"] == argv[1:] and kept(report) ==
           "disk vda: the plan has another image than QEMU, /srv/images/chain.qcow2", "disks: another image", report)
    # Beside memory: both are edits of one command line.
    w.put_plan(number=25, memory=BIND, more=[["disk", "sda", "scsi0-0-0-0", "/srv/images/device", "", "", "unmap", "", ""]])
    status, report, err = w.run(argv)
    tap.ok(status == 0 and kept(report) is None and nodes(report)["libvirt-4-format"]["discard"] == "unmap" and
           backends(report)["pc.ram"]["policy"] == "bind", "disks: beside memory", err, report)
    for name in chain:
        w.remove(name)


def check_refused_plans(w):
    plan = "run/domtune/plan/" + UUID
    good = {"memory": BIND, "attrs": [("mempolicy", "interleave:0")]}
    text = w.plan_text(**good)

    def write(content, mode=0o644):
        return lambda: w.put(plan, content, mode)

    def link():
        w.put("run/domtune/plan/other", text)
        os.symlink("other", w.path(plan))

    def owned():
        w.put(plan, text)
        os.chown(w.path(plan), 64055, 64055)

    cases = [
        ("of another boot", write(w.plan_text(boot_id=UUID, **good)), "of another boot"),
        ("of another start", write(w.plan_text(number=4, **good)), "of another start"),
        ("of no start", write(w.plan_text(number=0, **good)), ""),
        ("of another domain", write(w.plan_text(uuid=UUID.replace("6b", "6c"), **good)), ""),
        ("torn", write(w.plan_text(end=False, **good)), ""),
        ("cut", write(text[:-5]), ""),
        ("empty", write(""), ""),
        ("no text", write(bytes(range(256)) * 16), ""),
        ("huge", write(b"x" * (9 << 20)), ""),
        ("writable by its group", write(text, 0o664), "not root's alone"),
        ("writable by all", write(text, 0o646), "not root's alone"),
        ("QEMU's own", owned, "not root's alone"),
        ("a link", link, "Too many"),
        ("a pipe", lambda: os.mkfifo(w.path(plan)), "not root's alone"),
        ("a directory", lambda: os.mkdir(w.path(plan)), "not root's alone"),
    ]
    plain = w.run(PLAIN, program=EMULATOR)[1]
    for name, make, why in cases:
        w.remove(plan)
        make()
        status, report, err = w.run(PLAIN)
        tap.ok(status == 0 and report["argv"] == PLAIN[1:] and report["policy"] == plain["policy"] and
               (kept(report) or "").startswith("wrapper: ") and why in kept(report) and err == "",
               "a plan that is %s is not used" % name, err, report)
    w.remove(plan)
    w.put_plan(**good)
    w.put(plan, text.replace("interleave", "preferred"))
    status, report, err = w.run(PLAIN)
    tap.ok(status == 0 and report["policy"] == plain["policy"], "an edited line is not followed", report)
    w.put_plan(**good)
    w.put("etc/domtune/disabled", "")
    status, report, err = w.run(PLAIN)
    tap.ok(status == 0 and report["argv"] == PLAIN[1:] and kept(report) == "wrapper: switched off", "host switch",
           report)
    w.remove("etc/domtune/disabled")
    for name, argv in (("a second -uuid", PLAIN + ["-uuid", UUID]), ("a second -machine", PLAIN + ["-machine", "q35"]),
                       ("a word that is no option", PLAIN + ["disk.img"]),
                       ("contradicting domain ids", PLAIN + ["-chardev", "socket,id=charmonitor,path=/x/domain-4-web1/"
                                                             "monitor.sock"])):
        status, report, err = w.run(argv)
        tap.ok(status == 0 and report["argv"] == argv[1:] and report["policy"] == plain["policy"], name + ": untouched",
               report)
    status, report, err = w.run(PLAIN)
    tap.ok(status == 0 and report["policy"] == "interleave:0", "(the plan itself was good)", report)


def check_real_emulator(w):
    reporter = REPORT.replace('"uid"', '"kept": 1, "uid"')
    w.put("opt/own/qemu", reporter, 0o755)
    w.put_plan(emulator="/opt/own/qemu")
    status, report, err = w.run(PLAIN)
    tap.ok(status == 0 and report.get("kept") == 1, "the emulator that `wrap` replaced", err, report)
    w.put_plan(emulator="/opt/own/gone")
    status, report, err = w.run(PLAIN)
    tap.ok(status == 0 and "kept" not in report and kept(report) == "wrapper: /opt/own/gone is not there any more",
           "if that has gone, the one of our name", err, report)
    w.put_plan(emulator=WRAPPER)
    tap.ok(w.run(PLAIN)[0] == 0, "never itself by its path")
    os.link(w.path(WRAPPER), w.path("opt/own/alias"))
    w.put_plan(emulator="/opt/own/alias")
    tap.ok(w.run(PLAIN)[0] == 0, "nor by another name")

    os.rename(w.path(EMULATOR), w.path(EMULATOR + ".away"))
    w.put_plan(emulator="/opt/own/qemu")
    tap.ok(w.run(PLAIN)[0] == 0, "only `wrap`'s is there")
    w.put_plan()
    for name in "json-plain", "none-version":
        status, report, err = w.run(words(name))
        tap.ok(status == 127 and err.count("\n") == 1 and
               err.startswith("domtune: %s: real emulator not found" % WRAPPER),
               "%s, none is there: 127 and one line" % name, status, err)
    os.link(w.path(WRAPPER), w.path(EMULATOR))
    status, report, err = w.run(words("none-version"))
    tap.ok(status == 127, "nor itself as /usr/bin's", status, err)
    w.put("usr/libexec/qemu-system-x86_64", REPORT, 0o755)
    tap.ok(w.run(words("none-version"))[0] == 0, "then the one in /usr/libexec")
    w.remove("usr/libexec/qemu-system-x86_64")
    w.put(EMULATOR, "\x7fELF, but not really", 0o755)
    for name in "json-plain", "none-version":
        status, report, err = w.run(words(name))
        tap.ok(status == 126 and err == "domtune: %s: cannot be executed: Exec format error\n" % EMULATOR,
               "%s, not executable: 126 and one line" % name, status, err)
    w.put(EMULATOR, REPORT, 0o644)
    tap.ok(w.run(words("none-version"))[0] == 127, "a file that may not be executed is not one")
    os.rename(w.path(EMULATOR + ".away"), w.path(EMULATOR))
    os.link(w.path(WRAPPER), w.path("usr/libexec/domtune/qemu-kvm"))
    w.put("usr/libexec/qemu-kvm", reporter, 0o755)
    status, report, err = w.run(words("none-version"), program="/usr/libexec/domtune/qemu-kvm")
    tap.ok(status == 0 and report.get("kept") == 1, "each name has its emulator", err, report)


def check_descriptors(w):
    w.put_plan(memory=BIND, attrs=[("mempolicy", "interleave:0")])
    pipes = [os.pipe() for _ in range(3)]
    high = os.dup2(pipes[0][0], 255, inheritable=True)
    fds = [fd for pair in pipes for fd in pair] + [high]
    plain = w.run(PLAIN, program=EMULATOR, fds=fds)[1]
    report = w.run(PLAIN, fds=fds)[1]
    tap.ok(report and len(report["fds"]) >= 10, "(seven descriptors more than three)", report)
    tap.ok(report and all(report["fds"].get(str(fd)) == plain["fds"][str(fd)] for fd in fds) and
           list(report["fds"]) == list(plain["fds"]), "descriptors are kept, none is added", report, plain)
    for fd in fds:
        os.close(fd)

    def without_input():
        os.close(0)
        os.close(2)
    plain = w.run(PLAIN, program=EMULATOR, prepare=without_input)[1]
    report = w.run(PLAIN, prepare=without_input)[1]
    tap.ok(report and report["fds"].keys() == plain["fds"].keys() and report["policy"] == "interleave:0",
           "also without 0 and 2", report, plain)


def check_signals(w):
    w.put_plan(attrs=[("mempolicy", "interleave:0")])

    def odd():
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.signal(signal.SIGSYS, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGSEGV, signal.SIGALRM, signal.SIGUSR1})
    plain = w.run(PLAIN, program=EMULATOR, prepare=odd)[1]
    report = w.run(PLAIN, prepare=odd)[1]
    tap.ok(report and report["policy"] == "interleave:0" and plain["blocked"] != "0" * 16 and
           all(report[key] == plain[key] for key in ("blocked", "ignored", "timer")),
           "signals are inherited as they were", report, plain)


PTRACE_TRACEME, PTRACE_SYSCALL, PTRACE_DETACH, PTRACE_SETOPTIONS = 0, 24, 17, 0x4200
OPTIONS = 1 | 1 << 4 | 1 << 20  # TRACESYSGOOD, TRACEEXEC, EXITKILL


def ptrace(request, pid, data=0):
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(request, pid, None, data) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def catches_alarm(pid):
    """The guard is on: it alone catches SIGALRM."""
    with open("/proc/%d/status" % pid, encoding="ascii") as file:
        caught = int(re.search(r"^SigCgt:\t([0-9a-f]+)$", file.read(), re.M).group(1), 16)
    return caught >> (signal.SIGALRM - 1) & 1


def run_struck(w, strike, number, program=WRAPPER):
    """Deliver `strike` when the guarded wrapper enters or leaves a system call for the number-th time (0: never).
    Returns (report, how often it did)."""
    out = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(out[1], 1)
            os.closerange(3, 64)
            os.chroot(w.base)
            os.chdir("/")
            ptrace(PTRACE_TRACEME, 0)
            os.execve(program, PLAIN, ENVIRONMENT)
        finally:
            os._exit(99)
    os.close(out[1])
    os.waitpid(pid, 0)  # the trap of the first execve
    ptrace(PTRACE_SETOPTIONS, pid, OPTIONS)
    seen, deliver = 0, 0
    while True:
        ptrace(PTRACE_SYSCALL, pid, deliver)
        deliver = 0
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            break
        if status >> 16:  # the emulator's execve: seen enough
            ptrace(PTRACE_DETACH, pid)
            os.waitpid(pid, 0)
            break
        if os.WSTOPSIG(status) != signal.SIGTRAP | 0x80:
            deliver = os.WSTOPSIG(status)
        elif catches_alarm(pid):
            seen += 1
            if seen == number:
                deliver = strike
    with os.fdopen(out[0], "rb") as file:
        return parse_report(file.read()), seen


def check_crashes(w):
    bind = RAM[:-1] + ',"host-nodes":[0],"policy":"bind"}'
    tuned = [bind if x == RAM else x for x in PLAIN[1:]]
    w.put_plan(attrs=[("mempolicy", "interleave:0")], memory=BIND)
    plain = run_struck(w, 0, 0, EMULATOR)[0]
    stops = run_struck(w, 0, 0)[1]  # the last is the entry to execve: what comes then, comes to QEMU
    for strike in signal.SIGSEGV, signal.SIGABRT, signal.SIGALRM:
        wrong, early = [], 0
        for number in range(1, stops):
            report = run_struck(w, strike, number)[0]
            good = report and report["argv"] in (PLAIN[1:], tuned) and report["fds"].keys() == plain["fds"].keys() and \
                all(report[key] == plain[key] for key in ("blocked", "ignored", "timer"))
            if good and report["argv"] == PLAIN[1:] and kept(report) == ENDED_EARLY:
                early += 1
            if not good:
                wrong.append((number, report))
        tap.ok(not wrong and early > 20, "%s at each of %d system call stops: QEMU runs" % (strike.name, stops - 1),
               early, wrong[:3])


def main():
    if os.geteuid() != 0:
        tap.skip("the wrapper as a process", "only root can make a mount namespace and a root directory")
        tap.end()
    if os.environ.get("DOMTUNE_T_WRAPPER") is None:
        with tempfile.TemporaryDirectory(prefix="domtune-wrapper-") as base:
            env = dict(os.environ, DOMTUNE_T_WRAPPER=base)
            sys.exit(subprocess.call(["unshare", "--mount", "--propagation", "private", sys.executable, __file__],
                                     env=env))
    assert stat.S_ISDIR(os.stat(os.environ["DOMTUNE_T_WRAPPER"]).st_mode)
    world = World(os.environ["DOMTUNE_T_WRAPPER"])
    for check in (check_passes_through, check_follows, check_tryouts, check_huge_pages, check_cells,
                  check_cells_share_a_pool, check_lock_and_merge, check_disks, check_refused_plans,
                  check_real_emulator, check_descriptors, check_signals, check_crashes):
        check(world)
    tap.end()


main()

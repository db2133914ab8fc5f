#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Interrupts below fake roots, from the definition to the last byte: two isolated domains in any order of ends, what the
kernel keeps, verify and status; irqbalance as a stand-in that answers, hangs, ends and comes again, and as it is.
"""
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hooklib import APPLY, BUILD, DECIDE, UUID, Log, Tap, build_with_helpers_in, domain_xml, made_root  # noqa: E402

tap = Tap()
work = tempfile.mkdtemp(prefix="domtune-irq-")
helpers = os.path.join(work, "domtune")
decide = os.path.join(helpers, "decide")
applier = os.path.join(helpers, "apply")
OTHER = "bbbbbbbb-2222-4333-8444-555555555555"
UUIDS = {"web1": UUID, "db1": OTHER}
TUNES = {"web1": "<d:cpu policy='isolated'/><d:irq policy='all'/>", "db1": "<d:cpu policy='dedicated'/><d:irq policy='avoid'/>"}
EPERM, EIO, ENOSPC = 1, 5, 28


def xml(name):
    text = domain_xml(name=name, uuid=UUIDS[name], head="<domain type='kvm' id='%d'>" % (7 if name == "web1" else 8), body=(
        "  <metadata>\n    <d:tune xmlns:d='urn:domtune:1'>%s</d:tune>\n  </metadata>\n" % TUNES[name])).decode()
    return text.replace("  </devices>", "    <disk type='block' device='disk'>\n      <source dev='/dev/nvme0n1'/>\n"
                        "      <target dev='vda' bus='virtio'/>\n    </disk>\n  </devices>").encode()


def make_root(*more):
    root = made_root("--cpus", "8", "--disk", "nvme0n1:259:0:nvme", "--domain", "web1:7:%s:2" % UUID, "--domain",
                     "db1:8:%s:2" % OTHER, "--irqs", "0:all:timer", "--irqs", "9:6:acpi", "--irqs", "16-23:each:xhci_hcd*",
                     "--irqs", "24-26:all:eth0-rx-*", "--irqs", "40-44:all:nvme0q*:sys/block/nvme0n1/device", *more)
    root.put("etc/domtune/policy.xml", "<policy xmlns='urn:domtune:1'><default profile='off'/></policy>\n")
    return root


def environ(root, **env):
    return {"DOMTUNE_ROOT": root.dir, "PATH": os.environ["PATH"], **env}


def run_decide(root, name, **env):
    """prepare, with the apply that it becomes."""
    with open(os.devnull, "wb") as report:
        def prepare():
            os.dup2(report.fileno(), 3)
        return subprocess.run([decide, "prepare", str(os.getpid())], input=xml(name), env=environ(root, **env),
                              capture_output=True, pass_fds=(3,) if report.fileno() != 3 else (report.fileno(),),
                              preexec_fn=prepare, timeout=60, check=False).returncode


def run_apply(root, verb, name, **env):
    return subprocess.run([applier, verb, UUIDS[name]], stdin=subprocess.DEVNULL, env=environ(root, **env), capture_output=True,
                          timeout=60, check=False).returncode


def tool(root, *args):
    return subprocess.run([os.path.join(BUILD, "domtune"), "--root", root.dir] + list(args), capture_output=True, text=True,
                          timeout=60, check=False)


def irqs(root):
    """Everything below proc/irq."""
    return root.listing("proc/irq")


def cpus(root, irq):
    text = root.get("proc/irq/%s/smp_affinity_list" % irq).strip()
    found = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def claimed(root, name):
    rows = json.loads(tool(root, "status", "--json", name).stdout)["domains"][0]["settings"]
    return {int(r["value"]) for r in rows if r["knob"] == "cpu.policy" and r["target"].startswith("vcpu")}


def rows(root, verb, name):
    return {r["target"] or "-": r for r in json.loads(tool(root, verb, "--json", name).stdout)["domains"][0]["settings"]
            if r["knob"] == "irq.policy"}


def follow(root):
    """As a kernel does: the effective mask is within what was asked for."""
    for irq in os.listdir(root.path("proc/irq")):
        if irq.isdigit():
            root.put("proc/irq/%s/effective_affinity_list" % irq, "%d\n" % min(cpus(root, irq)))


# --- the tree -------------------------------------------------------------------------------------------------------

def two_domains():
    for last in "web1", "db1":
        root = make_root()
        before = irqs(root)
        good = run_decide(root, "web1") == 0
        web = claimed(root, "web1")
        good &= run_decide(root, "db1") == 0
        db = claimed(root, "db1")
        tap.ok(good and len(web) == 2 and len(db) == 2 and not web & db, "both have CPUs of their own", web, db)
        numbers = [n for n in os.listdir(root.path("proc/irq")) if n.isdigit()]
        tap.ok(not any(cpus(root, n) & (web | db) for n in numbers), "no interrupt is left on them",
               {n: cpus(root, n) for n in numbers})
        default = int(root.get("proc/irq/default_smp_affinity"), 16)
        tap.ok(default == 0xff & ~sum(1 << c for c in web | db), "new ones do not come there", hex(default))
        follow(root)
        verify = rows(root, "verify", "web1")
        tap.ok(all(r["ok"] for r in verify.values()) and "irq24" in verify and "default" in verify and "nvme0n1" in verify,
               "verify has a row for each, and all are as wanted", [r for r in verify.values() if not r["ok"]])
        root.put("proc/irq/24/effective_affinity_list", "%d\n" % min(web))
        tap.ok(rows(root, "verify", "web1")["irq24"]["ok"], "one that moves when the next comes is no drift")
        root.put("proc/irq/24/smp_affinity_list", "0-7\n")
        row = rows(root, "verify", "web1")
        tap.ok(not row["irq24"]["ok"] and not row["-"]["ok"] and tool(root, "verify", "web1").returncode == 1,
               "one that somebody has moved there is", row["irq24"], row["-"])
        good = run_apply(root, "reconnect", "web1") in (0, 2)
        tap.ok(good and not cpus(root, 24) & web, "reconnect moves it again", cpus(root, 24))
        first = "db1" if last == "web1" else "web1"
        good = run_apply(root, "release", first) == 0
        rest = web if last == "web1" else db
        tap.ok(good and not any(cpus(root, n) & rest for n in numbers), "the first one to go takes nothing from the other")
        good = run_apply(root, "release", last) == 0
        follow(root)
        after = {n: d for n, d in irqs(root).items() if not n.endswith("effective_affinity_list")}
        before = {n: d for n, d in before.items() if not n.endswith("effective_affinity_list")}
        tap.ok(good and after == before, "the last one restores every byte", [n for n in before if before[n] != after.get(n)])
        root.remove()


def what_the_kernel_keeps(managed):
    root = make_root()
    log = Log(root)
    fault = ";".join("irq/%d/smp:%d" % (n, managed) for n in (41, 42, 43, 44)) + ";irq/25/smp:%d" % ENOSPC
    good = run_decide(root, "web1", DOMTUNE_FAULT=fault) == 0
    said = [t for level, t in log.read() if "irq.policy" in t and level <= 5]
    if not said and good and cpus(root, 41) != set(range(8)):
        tap.skip("what the kernel keeps", "not a test build")
        return
    tap.ok(good and len(said) == 2, "one line for each kind of answer", said)
    tap.ok(any("irq 41-44 (nvme0q1..4)" in t and "managed" in t for t in said), "with numbers and names", said)
    status = tool(root, "status", "web1").stdout
    tap.ok("irq41-44" in status and "irq25" in status, "status has them among what was skipped", status)
    good = run_apply(root, "started", "web1", DOMTUNE_FAULT=fault) == 0
    good &= run_apply(root, "reconnect", "web1", DOMTUNE_FAULT=fault) == 0
    said = [t for level, t in log.read() if "irq.policy" in t and level <= 5]
    tap.ok(good and not said and cpus(root, 41) == set(range(8)), "they are not asked again", said)
    follow(root)
    verify = rows(root, "verify", "web1")
    tap.ok(verify["-"]["ok"] and "irq41" not in verify and "cannot be moved" in verify["nvme0n1"]["why"],
           "verify says how many, and that the rest is as wanted", verify.get("-"), verify.get("nvme0n1"))
    run_apply(root, "release", "web1")
    log.close()
    root.remove()


def three_file_operations():
    """Of each interrupt: read, written if it has to move, read back; by all processes of a start."""
    if not shutil.which("strace"):
        tap.skip("three file operations for each interrupt", "missing: strace")
        return
    root = make_root()
    trace = os.path.join(work, "operations")
    before = irqs(root)
    for program, args, text in ((decide, ["prepare", str(os.getpid())], xml("web1")), (applier, ["started", UUIDS["web1"]], b""),
                                (applier, ["release", UUIDS["web1"]], b"")):
        subprocess.run(["strace", "-f", "-o", trace, "-e", "trace=openat2,openat", program] + args, input=text,
                       env=environ(root, ASAN_OPTIONS="detect_leaks=0"), capture_output=True, timeout=120, check=False)
        counts = {}
        with open(trace, encoding="utf-8", errors="replace") as file:
            for line in file:
                found = re.search(r'"proc/irq/(\d+)/smp_affinity_list"', line)
                if found:
                    counts[int(found.group(1))] = counts.get(int(found.group(1)), 0) + 1
        moved = [n for n, text in irqs(root).items() if n.endswith("smp_affinity_list") and text != before[n]]
        tap.ok(max(counts.values(), default=0) <= 3 and (args[0] != "prepare" or (len(counts) >= 10 and len(moved) >= 4)),
               "three file operations for each interrupt at most: %s" % args[0], counts, moved)
    root.remove()


def nothing_is_read_in_vain():
    root = make_root()
    text = xml("db1").replace(b"<d:irq policy='avoid'/>", b"").replace(b"dedicated", b"shared")
    trace = os.path.join(work, "trace")
    if not shutil.which("strace"):
        tap.skip("nothing is read where nothing is asked", "missing: strace")
        return
    subprocess.run(["strace", "-f", "-o", trace, "-e", "trace=openat2,openat", decide, "prepare", str(os.getpid())], input=text,
                   env=environ(root, ASAN_OPTIONS="detect_leaks=0"), capture_output=True, timeout=120, check=False)
    with open(trace, encoding="utf-8", errors="replace") as file:
        seen = [line for line in file if "proc/irq" in line or "irqbalance" in line]
    tap.ok(not seen, "nothing is read where nothing is asked", seen[:3])
    root.remove()


# --- irqbalance -----------------------------------------------------------------------------------------------------

class StandIn:
    """Answers as irqbalance does. slow: what it was told it shows after scan()."""

    def __init__(self, root, cpus_mask=0, banned=(), hangs=False):
        self.path = root.path("run/irqbalance/irqbalance4711.sock")
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self.mask = self.shown = self.config = cpus_mask
        self.banned, self.hangs, self.heard = list(banned), hangs, []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(self.path)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.listen(1)
        if not hangs:
            self.thread = threading.Thread(target=self.serve, daemon=True)
            self.thread.start()

    def serve(self):
        while True:
            try:
                conn, _ = self.socket.accept()
            except OSError:
                return
            data, control, _, _ = conn.recvmsg(500, socket.CMSG_SPACE(12))
            uid = next((struct.unpack("iii", d)[1] for _, t, d in control if t == socket.SCM_CREDENTIALS), 1)
            text = data.rstrip(b"\0").decode()
            if text and text != "setup":
                self.heard.append(text)
            if uid == 0 and text == "setup":
                answer = "SLEEP 10 " + "".join("IRQ %d LOAD 0 DIFF 0 CLASS 0 " % n for n in self.banned)
                conn.sendall((answer + "BANNED %08x" % self.shown).encode())
            elif uid == 0 and text.startswith("settings cpus "):
                self.mask = self.config if "NULL" in text else sum(1 << c for c in parse(text.split()[-1]))
            elif uid == 0 and text.startswith("settings ban irqs "):
                self.banned = [int(n) for n in re.findall(r"\d+", text)]
            conn.close()

    def scan(self):
        self.shown = self.mask

    def end(self):
        # The kernel wakes accept() only by a connection or a shutdown.
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        os.unlink(self.path)


def parse(text):
    found = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def bits(mask):
    return {n for n in range(64) if mask >> n & 1}


def told_and_told_back():
    root = make_root()
    daemon = StandIn(root, cpus_mask=1 << 7, banned=[9])
    run_decide(root, "web1")
    web = claimed(root, "web1")
    tap.ok(bits(daemon.mask) == web | {7} and sorted(daemon.banned) == [9, 40, 41, 42, 43, 44],
           "irqbalance is told CPUs and interrupts, besides what it had", daemon.heard)
    tap.ok("takes it up" in json.dumps(rows(root, "verify", "web1")), "verify says that it takes it up later")
    run_decide(root, "db1") # before its scan: it still shows what it had
    db = claimed(root, "db1")
    tap.ok(bits(daemon.mask) == web | db | {7}, "two domains are told together", daemon.heard)
    daemon.scan()
    follow(root)
    tap.ok(all(r["ok"] for r in rows(root, "verify", "web1").values()), "verify reads it back")
    run_apply(root, "release", "web1")
    tap.ok(bits(daemon.mask) == db | {7} and daemon.banned == [9], "told back what was one's own", daemon.heard)
    run_apply(root, "release", "db1") # again before its scan
    daemon.scan()
    tap.ok(bits(daemon.mask) == {7} and daemon.banned == [9], "and at last all", daemon.heard)
    daemon.end()
    root.remove()


def comes_and_goes():
    root = make_root()
    run_decide(root, "web1")
    web = claimed(root, "web1")
    daemon = StandIn(root, cpus_mask=1 << 7)
    tap.ok(any("started since" in (r["why"] or "") for r in rows(root, "verify", "web1").values()),
           "verify sees one that was started later")
    run_decide(root, "db1")
    db = claimed(root, "db1")
    tap.ok(bits(daemon.mask) == web | db | {7}, "the next phase of any domain tells it for all", daemon.heard)
    daemon.end()
    daemon = StandIn(root, cpus_mask=1 << 7)
    run_apply(root, "reconnect", "web1")
    tap.ok(bits(daemon.mask) == web | db | {7} and daemon.banned, "started anew it is told again by reconnect", daemon.heard)
    daemon.end()
    good = run_apply(root, "release", "web1") == 0 and run_apply(root, "release", "db1") == 0
    tap.ok(good and "irqbalance" not in root.get("run/domtune/ledger"), "ended, it has nothing to be told back")
    root.remove()


def hangs():
    root = make_root()
    daemon = StandIn(root, hangs=True)
    begin = time.monotonic()
    good = run_decide(root, "web1") == 0
    took = time.monotonic() - begin
    tap.ok(good and not cpus(root, 24) & claimed(root, "web1"), "one that hangs keeps nobody from anything", took)
    tap.ok(took < 1.9, "nor for long", took)
    run_apply(root, "release", "web1")
    daemon.socket.close()
    root.remove()


def real_one():
    """The daemon itself, in a mount namespace where it finds our tree in the place of /proc/irq."""
    program = shutil.which("irqbalance")
    if not program:
        tap.skip("the real irqbalance", "missing: irqbalance")
        return
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        tap.skip("the real irqbalance", "no mount namespace can be made")
        return
    n_cpus = os.cpu_count()
    root = make_root()
    os.makedirs(root.path("run/irqbalance"))
    script = ("mount --make-rprivate / && mount -t tmpfs none /run && mkdir /run/irqbalance && "
              "mount --bind %s/run/irqbalance /run/irqbalance && mount --bind %s/proc/irq /proc/irq && exec %s --foreground "
              "--interval=1" % (root.dir, root.dir, program))
    environment = {"PATH": os.environ["PATH"], "IRQBALANCE_BANNED_CPULIST": "1"}
    daemon = subprocess.Popen(["unshare", "-m", "sh", "-ec", script], env=environment, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        if n_cpus < 2 or not wait_for(lambda: any(n.endswith(".sock") for n in os.listdir(root.path("run/irqbalance")))):
            tap.skip("the real irqbalance", "it does not run here: %s" % daemon.poll())
            return
        run_decide(root, "web1")
        web = claimed(root, "web1")
        # It knows the CPUs of this machine only, whatever it is told.
        known = {c for c in web | {1} if c < max(n_cpus, 32)}
        tap.ok(wait_for(lambda: setup(root)[0] == known), "the real irqbalance has banned our CPUs", setup(root), web)
        tap.ok(setup(root)[1] == {40, 41, 42, 43, 44}, "and leaves our interrupts alone", setup(root))
        follow(root)
        tap.ok(wait_for(lambda: all(r["ok"] for t, r in rows(root, "verify", "web1").items() if t.startswith("irqbalance"))),
               "verify reads it back")
        run_apply(root, "release", "web1")
        tap.ok(wait_for(lambda: setup(root) == ({1}, set())), "in the end it has what it had", setup(root))
        tap.ok(daemon.poll() is None, "it has run all the time")
    finally:
        daemon.terminate()
        daemon.wait()
        root.remove()


def setup(root):
    for name in os.listdir(root.path("run/irqbalance")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.connect(root.path("run/irqbalance/" + name))
            s.sendmsg([b"setup\0"], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS,
                                      struct.pack("iii", os.getpid(), os.getuid(), os.getgid()))])
            text = b""
            while part := s.recv(4096):
                text += part
        mask = re.search(r"BANNED ([0-9a-f,]+)", text.decode())[1].replace(",", "")
        return bits(int(mask, 16)), {int(n) for n in re.findall(r"IRQ (\d+)", text.decode())}
    return None, None


def wait_for(what, seconds=15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.2)
    return False


def main():
    os.makedirs(helpers)
    build_with_helpers_in(work, [(decide, DECIDE, ["libxml-2.0", "libcgroup"]), (applier, APPLY, [])])
    two_domains()
    for managed in EIO, EPERM:
        what_the_kernel_keeps(managed)
    three_file_operations()
    nothing_is_read_in_vain()
    told_and_told_back()
    comes_and_goes()
    hangs()
    real_one()
    shutil.rmtree(work)
    tap.end()


main()

#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
What the wrapper writes, read by QEMU itself: every rewritten command line is accepted, guest RAM is where the plan
wants it (QMP, smaps, numa_maps), and the migration stream fits in both directions, rewritten or not, also with
machine types that named their RAM blocks otherwise. Guests never run an instruction. 2M pages are borrowed from the
machine for as long as this runs.
"""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hooklib import BUILD, Tap, record  # noqa: E402

UUID = "6b3ee6a0-2c1d-4d0e-9a57-0c4f8a3b1d21"
MIB = 64
PAGES = MIB // 2
POOL = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/"
HUGE = ["huge", "2097152", "0", "bind", "yes", "2", "0"]
tap = Tap()


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def pool(what, change=0):
    """A number of the pool. Changed by a difference, as somebody else may be changing it, too."""
    number = int(read(POOL + what))
    if change:
        with open(POOL + what, "w", encoding="ascii") as file:
            file.write("%d\n" % max(number + change, 0))
    return number


def await_pages():
    """The kernel gives a process's last pages back some time after its end."""
    for _ in range(200):
        if pool("free_hugepages") >= PAGES:
            break
        time.sleep(0.05)


class Guest:
    """One QEMU behind the wrapper, stopped before its first instruction."""

    def __init__(self, work, memory=None, json_form=True, machine="q35", extra=(), qemu=None, attrs=(), cells=0,
                 more=()):
        """memory: fields of the plan's memory record; more: further records; cells: of the guest."""
        os.makedirs("/run/domtune/plan", exist_ok=True)
        plan = "/run/domtune/plan/" + UUID
        if os.path.exists(plan):
            os.unlink(plan)
        if memory or attrs or more:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                text = record("head", "1", file.read().strip(), UUID, "3", "", str(qemu or VERSION))
            text += "".join(record("attr", *attr) for attr in attrs)
            text += record("memory", *memory) if memory else ""
            text += "".join(record(*one) for one in more) + record("end")
            with open(plan, "w", encoding="ascii") as out:
                out.write(text)
        key = os.path.join(work, "domain-3-t", "master-key.aes")
        form = ('{"qom-type":"memory-backend-ram","id":"%s","size":%d}' if json_form else
                "memory-backend-ram,id=%s,size=%d")
        secret = ('{"qom-type":"secret","id":"masterKey0","format":"raw","file":"%s"}' if json_form else
                  "secret,id=masterKey0,format=raw,file=%s") % key
        if cells:
            ram = []
            for cell in range(cells):
                ram += ["-object", form % ("ram-node%d" % cell, (MIB << 20) // cells), "-numa",
                        "node,nodeid=%d,cpus=%d,memdev=ram-node%d" % (cell, cell, cell)]
        else:
            ram = ["-object", form % ("pc.ram", MIB << 20)]
            machine += ",memory-backend=pc.ram"
        self.socket = os.path.join(work, "qmp")
        self.err = open(os.path.join(work, "stderr"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [WRAPPER, "-name", "guest=t,debug-threads=on", "-S", "-object", secret, "-machine",
             machine + ",usb=off", "-accel", "tcg", "-m", str(MIB), *ram,
             "-overcommit", "mem-lock=off", "-smp", str(cells or 1), "-uuid", UUID, "-display", "none",
             "-no-user-config", "-nodefaults", "-chardev", "socket,id=charmonitor,path=%s,server=on,wait=off" % self.socket, "-mon",
             "chardev=charmonitor,id=monitor,mode=control", "-sandbox",
             "on,obsolete=deny,elevateprivileges=deny,spawn=allow,resourcecontrol=deny", *extra],
            stdin=subprocess.DEVNULL, stdout=self.err, stderr=self.err)
        self.channel = None
        for _ in range(600):
            if self.process.poll() is not None:
                break
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(self.socket)
            except OSError:
                connection.close()
                time.sleep(0.05)
                continue
            self.channel = connection.makefile("rw", encoding="utf-8")
            connection.close()
            self.channel.readline()
            self.ask("qmp_capabilities")
            break

    def ask(self, command, **arguments):
        self.channel.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.channel.flush()
        while True:
            answer = json.loads(self.channel.readline())
            if "return" in answer or "error" in answer:
                return answer.get("return", answer.get("error"))

    def proc(self, name):
        return read("/proc/%d/%s" % (self.process.pid, name))

    def kept(self):
        return re.findall("DOMTUNE_KEPT=([^\0]*)", self.proc("environ"))

    def ram(self, name="pc.ram"):
        return [m for m in self.ask("query-memdev") if m.get("id") == name][0]

    def huge_kib(self):
        return sum(int(n) for n in re.findall(r"Private_Hugetlb:\s+(\d+)", self.proc("smaps")))

    def blocks(self):
        return sorted(re.findall(r"^\s*(\S+)\s+\d+ [KMG]iB", self.ask("human-monitor-command", **{
            "command-line": "info ramblock"}), re.M))

    def migrated(self):
        while True:
            info = self.ask("query-migrate")
            if info.get("status") in ("completed", "failed"):
                return info["status"]
            if self.process.poll() is not None:
                return "ended"
            time.sleep(0.05)

    def word(self, at, count=8):
        name = self.socket + ".memory"
        self.ask("pmemsave", val=at, size=count, filename=name)
        with open(name, "rb") as file:
            return file.read()

    def end(self):
        if self.channel:
            try:
                self.ask("quit")
            except (OSError, ValueError):
                pass
            self.channel.close()
        self.process.wait(60)
        self.err.close()
        if os.path.exists(self.socket):
            os.unlink(self.socket)

    def said(self):
        return read(self.err.name)


def check_accepted(work):
    for name, how, json_form in (("JSON", {}, True), ("key=value", {}, False),
                                 ("JSON, of an old version", {"qemu": 5002000}, True)):
        await_pages()
        guest = Guest(work, HUGE, json_form, **how)
        good = guest.channel is not None
        tap.ok(good and guest.kept() == [], "%s: QEMU takes it" % name, guest.said())
        if good:
            ram = guest.ram()
            tap.ok(guest.huge_kib() == MIB << 10, "%s: all of guest RAM is in 2M pages" % name, guest.huge_kib())
            tap.ok(ram["prealloc"] and not ram["share"] and ram["host-nodes"] == [0] and ram["policy"] == "bind",
                   "%s: QMP agrees" % name, ram)
            lines = [line for line in guest.proc("numa_maps").splitlines() if "memfd" in line and "huge" in line]
            tap.ok(len(lines) == 1 and " bind" in lines[0] and "N0=%d" % PAGES in lines[0], "%s: on node 0" % name,
                   lines)
            contexts = [o["name"] for o in guest.ask("qom-list", path="/objects") if "thread-context" in o["type"]]
            want = ["domtune-tc0"] if VERSION >= 7002000 and not how else []
            tap.ok(contexts == want, "%s: thread-context" % name, contexts)
        guest.end()
    for name, json_form in (("JSON", True), ("key=value", False)):
        guest = Guest(work, ["keep", "0", "0", "preferred", "yes", "2", "0"], json_form,
                      attrs=[("mempolicy", "preferred:0")])
        ram = guest.ram() if guest.channel else {}
        tap.ok(ram.get("prealloc") and ram["host-nodes"] == [0] and ram["policy"] == "preferred" and
               guest.kept() == [] and guest.huge_kib() == 0, "%s: ordinary pages, placed and populated" % name, ram,
               guest.said())
        if guest.channel:
            policies = {line.split()[1] for line in guest.proc("numa_maps").splitlines()}
            tap.ok(all(p.startswith("prefer") for p in policies), "%s: the process prefers the node, too" % name,
                   policies)
        guest.end()


def two_cells(*fields):
    """Records for two cells on node 0, each with a CPU of its own to be populated on, if there are two."""
    cpus = sorted(os.sched_getaffinity(0))
    return [["memory", *fields, "yes", "1", str(cpus[cell % len(cpus)]), str(cell)] for cell in (0, 1)]


def check_cells(work):
    cpus = len(os.sched_getaffinity(0))
    for name, json_form, how in (("JSON", True, {}), ("key=value", False, {}),
                                 ("JSON, of an old version", True, {"qemu": 6000000})):
        await_pages()
        guest = Guest(work, None, json_form, cells=2, more=two_cells("huge", "2097152", "0", "bind"), **how)
        good = guest.channel is not None
        tap.ok(good and guest.kept() == [], "two cells, %s: QEMU takes it" % name, guest.said())
        if good:
            rams = [guest.ram("ram-node%d" % cell) for cell in (0, 1)]
            bound = [r["prealloc"] and r["host-nodes"] == [0] and r["policy"] == "bind" and not r["share"] for r in rams]
            tap.ok(guest.huge_kib() == MIB << 10 and all(bound),
                   "two cells, %s: each in 2M pages, bound" % name, guest.huge_kib(), rams)
            lines = [line for line in guest.proc("numa_maps").splitlines() if "memfd" in line and "huge" in line]
            tap.ok(len(lines) == 2 and all(" bind" in x and "N0=%d" % (PAGES // 2) in x for x in lines),
                   "two cells, %s: and there they are" % name, lines)
            objects = guest.ask("qom-list", path="/objects")
            contexts = sorted(o["name"] for o in objects if "thread-context" in o["type"])
            want = ["domtune-tc%d" % i for i in range(min(cpus, 2))] if VERSION >= 7002000 and not how else []
            tap.ok(contexts == want, "two cells, %s: thread-contexts" % name, contexts)
        guest.end()
    guest = Guest(work, cells=2, more=two_cells("keep", "0", "0", "preferred"))
    rams = [guest.ram("ram-node%d" % cell) for cell in (0, 1)] if guest.channel else []
    tap.ok(guest.kept() == [] and rams and all(r["prealloc"] and r["policy"] == "preferred" for r in rams),
           "two cells: ordinary pages, placed and populated", rams, guest.said())
    guest.end()


def check_lock_and_merge(work):
    def flags(guest):
        """VmFlags of the mappings of guest RAM, by their size."""
        maps = re.findall(r"^[0-9a-f]+-[0-9a-f]+ (\S+).*\n((?:[A-Z]\w+:.*\n)+)", guest.proc("smaps"), re.M)
        return [re.search("^VmFlags:(.*)", text, re.M).group(1).split() for rights, text in maps
                if rights == "rw-p" and re.search(r"^Size:\s+%d kB" % ((MIB << 10) // 2), text, re.M)]
    for merge, ksm in ("no", False), ("yes", True):
        guest = Guest(work, cells=2, more=[["merge", merge]])
        good = guest.channel is not None
        rams = [guest.ram("ram-node%d" % cell) for cell in (0, 1)] if good else []
        if merge == "yes" and not os.path.exists("/sys/kernel/mm/ksm"):
            tap.ok(good and guest.kept()[0].startswith("memory.merge: KSM"), "a kernel without KSM", guest.kept())
        else:
            tap.ok(good and guest.kept() == [] and [r["merge"] for r in rams] == [ksm, ksm],
                   "merge %s: QMP agrees" % merge, rams, guest.said())
            have = flags(guest) if good else []
            tap.ok(len(have) == 2 and all(("mg" in f) == (ksm and os.path.exists("/sys/kernel/mm/ksm")) for f in have),
                   "merge %s: and the kernel" % merge, have)
        guest.end()
    # The test is root, so it may lock whatever the limit says.
    guest = Guest(work, cells=2, more=[["lock", "1"], *two_cells("keep", "0", "0", "bind")])
    locked = re.findall(r"^VmLck:\s+(\d+) kB", guest.proc("status"), re.M) if guest.channel else []
    tap.ok(locked and int(locked[0]) >= MIB << 10 and guest.kept() == [], "lock: all of guest RAM is locked", locked,
           guest.said())
    guest.end()
    await_pages()
    guest = Guest(work, HUGE, more=[["lock", "1"]])
    locked = re.findall(r"^VmLck:\s+(\d+) kB", guest.proc("status"), re.M) if guest.channel else []
    tap.ok(locked == ["0"] and guest.kept() == [] and guest.huge_kib() == MIB << 10,
           "lock: huge pages are locked as they are", locked, guest.said())
    guest.end()


def check_short_pool(work):
    await_pages()
    surplus = pool("free_hugepages") - PAGES // 2
    pool("nr_hugepages", -surplus)
    guest = Guest(work, HUGE)
    tap.ok(guest.channel and guest.huge_kib() == 0 and
           guest.kept()[0].startswith("memory.pages: no free 2M pages on node 0"),
           "a pool that is short: the guest starts as it was", guest.said())
    guest.end()
    pool("nr_hugepages", surplus)


MARK = bytes.fromhex("efbeaddefeca0df0")


def migrate(work, name, machine, source, target, cells=0):
    """source, target: the plan's records, or None."""
    image = os.path.join(work, "image")
    await_pages()
    loader = ["-device", "loader,addr=0x100000,data=0xf00dcafedeadbeef,data-len=8"]
    guest = Guest(work, machine=machine, extra=loader, cells=cells, more=source or ())
    if not guest.channel:
        tap.ok(False, name, guest.said())
        return
    blocks = guest.blocks()
    huge, kept = [guest.huge_kib()], guest.kept()
    guest.ask("migrate", uri="exec:cat >" + image)
    status = guest.migrated()
    guest.end()
    await_pages()
    other = Guest(work, machine=machine, extra=["-incoming", "defer"], cells=cells, more=target or ())
    if other.channel:
        huge.append(other.huge_kib())
        kept += other.kept()
        other.ask("migrate-incoming", uri="exec:cat " + image)
        arrived = other.migrated()
        mark = other.word(0x100000) if arrived == "completed" else None
        same = blocks == other.blocks() if arrived == "completed" else None
        tap.ok(status == "completed" and mark == MARK and same and huge == [MIB << 10 if plan else 0 for plan in
               (source, target)], name, status, arrived, mark, blocks, huge, kept,
               other.said())
        other.end()
    else:
        tap.ok(False, name, other.said())


def check_streams(work):
    machines = ["q35"]
    have = subprocess.run([REAL, "-machine", "help"], capture_output=True, text=True, check=False).stdout
    # 3.1 and 4.0 have other defaults for block names.
    machines += [m for m in ("pc-q35-4.0", "pc-i440fx-3.1") if re.search("^%s " % re.escape(m), have, re.M)]
    one, two = [["memory", *HUGE]], two_cells("huge", "2097152", "0", "bind")
    for machine in machines:
        migrate(work, machine + ": from a plain to a rewritten guest", machine, None, one)
        migrate(work, machine + ": from a rewritten to a plain guest", machine, one, None)
        migrate(work, machine + ": from plain to rewritten cells", machine, None, two, 2)
        migrate(work, machine + ": from rewritten to plain cells", machine, two, None, 2)


def node_args(images, aio_file):
    """As libvirt writes a chain (the last image has none behind it), and a raw image without a format node."""
    args = ["-object", '{"qom-type":"iothread","id":"iothread1"}']
    for number, (path, driver) in reversed(list(enumerate(images, 1))):
        behind = "" if driver == "raw" else ',"backing":%s' % (
            '"libvirt-%d-format"' % (number + 1) if number < len(images) else "null")
        args += ["-blockdev", '{"driver":"file","filename":"%s","node-name":"libvirt-%d-storage","auto-read-only":true,'
                 '"discard":"unmap"}' % (path, number),
                 "-blockdev", '{"node-name":"libvirt-%d-format","read-only":%s,"driver":"%s","file":"libvirt-%d-storage"%s}'
                 % (number, "false" if number == 1 else "true", driver, number, behind)]
    return args + ["-device", '{"driver":"virtio-blk-pci","iothread":"iothread1","drive":"libvirt-1-format",'
                   '"id":"virtio-disk0"}',
                   "-blockdev", '{"driver":"file","filename":"%s","node-name":"libvirt-9-storage","read-only":false}' % aio_file,
                   "-device", '{"driver":"virtio-blk-pci","drive":"libvirt-9-storage","id":"virtio-disk1"}']


def check_disks(work):
    """What the wrapper makes of block nodes is taken by QEMU, and QEMU says that it has them so."""
    if not shutil.which("qemu-img"):
        tap.skip("disks", "missing: qemu-img")
        return
    images = [(os.path.join(work, name), driver) for name, driver in
              (("top.qcow2", "qcow2"), ("middle.qcow2", "qcow2"), ("base.raw", "raw"))]
    alone = os.path.join(work, "alone.raw")
    for path in images[2][0], alone:
        with open(path, "wb") as file:
            file.truncate(1 << 20)
    for n in 1, 0:
        subprocess.check_call(["qemu-img", "create", "-q", "-f", "qcow2", "-F", images[n + 1][1], "-b", images[n + 1][0],
                               images[n][0]])
    try:
        os.close(os.open(alone, os.O_RDONLY | os.O_DIRECT))
        direct = True
    except OSError:
        direct = False
    named = [["disk", "vda", "virtio-disk0", images[0][0]], ["disk", "vdb", "virtio-disk1", alone]]
    for fields in (["auto", "none", "unmap", "unmap", "1048576"], ["native", "none", "", "", ""],
                   ["io_uring", "", "unmap", "on", ""], ["threads", "unsafe", "ignore", "off", "0"],
                   ["auto", "writeback", "", "", "9223372036854775807"]):
        name = "disks, " + " ".join(fields)
        guest = Guest(work, more=[named[0] + fields, named[1] + fields[:4] + [""]], extra=node_args(images, alone))
        good = guest.channel is not None
        tap.ok(good, name + ": QEMU takes it", guest.said())
        if good:
            argv = guest.proc("cmdline").split("\0")
            asked = {o["node-name"]: o for o in (json.loads(word) for word in argv if '"node-name":' in word)}
            have = {n["node-name"]: n for n in guest.ask("query-named-block-nodes") if n["node-name"].startswith("libvirt-")}
            mode = fields[1] == "none" and direct, fields[1] == "unsafe"
            tap.ok(len(have) == 7 and all((n["cache"]["direct"], n["cache"]["no-flush"]) == mode for n in have.values()),
                   name + ": cache of all seven nodes", have)
            tap.ok(have["libvirt-1-format"]["detect_zeroes"] == have["libvirt-9-storage"]["detect_zeroes"] ==
                   (fields[3] or "off"), name + ": zeroes", have)
            how = {asked["libvirt-%d-storage" % n].get("aio", "threads") for n in (1, 2, 3, 9)}
            reasons = "".join(guest.kept())
            tap.ok(len(how) == 1 and (how == {fields[0]} or fields[0] == "auto" or "disk.io vda: " in reasons),
                   name + ": one kind of I/O, or a reason", how, reasons)
            tap.ok(all(("l2-cache-size" in asked["libvirt-%d-format" % n]) == bool(fields[4]) for n in (1, 2)),
                   name + ": limit of both qcow2 images", asked)
            tap.ok(guest.ask("human-monitor-command", **{"command-line": 'qemu-io virtio-disk0 "write -P 7 0 64k"'}) is not None
                   and "error" not in guest.ask("query-block"), name + ": and writes", guest.said())
        guest.end()


def inside(work):
    subprocess.check_call(["mount", "-t", "tmpfs", "tmpfs", "/run"])
    os.makedirs(os.path.join(work, "domain-3-t"))
    with open(os.path.join(work, "domain-3-t", "master-key.aes"), "wb") as out:
        out.write(bytes(32))
    check_accepted(work)
    check_cells(work)
    check_lock_and_merge(work)
    check_disks(work)
    check_short_pool(work)
    check_streams(work)
    tap.end()


def skip(why):
    tap.skip("the wrapper and QEMU", why)
    tap.end()


def lend_pages(work):
    """Enlarge the pool for the time of the test, which runs in a mount namespace with a /run of its own."""
    lent = PAGES + 4
    try:
        pool("nr_hugepages", lent)
    except OSError as error:
        return skip("no pool of 2M pages can be had: %s" % error.strerror)
    try:
        if pool("free_hugepages") < PAGES:
            return skip("this machine has no memory for %d pages of 2M" % PAGES)
        env = dict(os.environ, DOMTUNE_T_QEMU=work)
        return subprocess.call(["unshare", "--mount", "--propagation", "private", sys.executable, __file__], env=env)
    finally:
        pool("nr_hugepages", -lent)


REAL = shutil.which("qemu-system-x86_64")
if os.geteuid() != 0:
    skip("only root can borrow huge pages and make a mount namespace")
if not REAL:
    skip("missing: qemu-system-x86_64")
numbers = re.search(r"version (\d+)\.(\d+)\.(\d+)", subprocess.check_output([REAL, "-version"], text=True)).groups()
VERSION = int(numbers[0]) * 1000000 + int(numbers[1]) * 1000 + int(numbers[2])
if "DOMTUNE_T_QEMU" in os.environ:
    WRAPPER = os.path.join(os.environ["DOMTUNE_T_QEMU"], "qemu-system-x86_64")
    inside(os.environ["DOMTUNE_T_QEMU"])
with tempfile.TemporaryDirectory(prefix="domtune-qemu-") as directory:
    shutil.copy(os.path.join(BUILD, "emulator"), os.path.join(directory, "qemu-system-x86_64"))
    sys.exit(lend_pages(directory))

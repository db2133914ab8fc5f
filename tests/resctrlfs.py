#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
A file system that behaves as Linux's resctrl, for hosts without it: groups are made and removed as directories, masks are
judged and refused in the kernel's words, threads move. It answers /dev/fuse itself, so it needs root and nothing else.

    resctrlfs.py DIR [OPTION...]     mounts on DIR, says "ready", serves until it is unmounted or its caller ends

After arch/x86/kernel/cpu/resctrl of Linux 6.1 (rdtgroup.c, ctrlmondata.c) and Documentation/arch/x86/resctrl.rst. Threads are
the directories PROC/PID/task/TID of a fake root; with --words each has a file cpu_resctrl_groups there, which is up to
date before a write returns. What is not there: monitoring data, pseudo-locking, CPUs of groups, MB/s.
"""
import argparse
import ctypes
import errno
import os
import signal
import stat
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)


class Refusal(Exception):
    def __init__(self, code, text=""):
        super().__init__(text)
        self.code, self.text = code, text


class Group:
    def __init__(self):
        self.lines = {}       # resource: {cache id: number}
        self.mode = "shareable"
        self.tasks = set()
        self.watched = {}     # monitoring group: threads


class Resctrl:
    """State and rules, without a file system."""

    def __init__(self, opt):
        self.opt = opt
        self.ids = [int(i) for i in opt.caches.split(",")]
        self.kinds = ["L3CODE", "L3DATA"] if opt.cdp else ["L3"]
        self.status = "ok"
        self.busy = opt.busy
        root = Group()
        root.lines = {k: dict.fromkeys(self.ids, opt.mask) for k in self.kinds}
        root.lines["MB"] = dict.fromkeys(self.ids, 100)
        root.watched = {m: set() for m in opt.watch}
        self.groups = {"": root}
        for tid in self.all_tasks():
            self.write_words(tid)

    def all_tasks(self):
        found = {}
        for pid in os.listdir(self.opt.proc) if self.opt.proc else ():
            task = os.path.join(self.opt.proc, pid, "task")
            if pid.isdigit() and os.path.isdir(task):
                found.update({int(t): os.path.join(task, t) for t in os.listdir(task)})
        return found

    def group_of(self, tid):
        return next((n for n, g in self.groups.items() if tid in g.tasks), "")

    def write_words(self, tid):
        if not self.opt.words:
            return
        name = self.group_of(tid)
        watch = next((m for m, t in self.groups[name].watched.items() if tid in t), "")
        path = self.all_tasks()[tid]
        with open(os.path.join(path, "cpu_resctrl_groups"), "w", encoding="utf-8") as f:
            f.write(f"res:{name or '/'}\nmon:{watch}\n")

    # -- masks

    def others(self, name):
        return [g for n, g in self.groups.items() if n != name]

    def bits_of(self, group, cache):
        """Exclusive is code and data together."""
        bits = 0
        for kind in self.kinds:
            bits |= group.lines[kind][cache]
        return bits

    def check_mask(self, name, bits, cache):
        group = self.groups[name]
        if bits > self.opt.mask:
            raise Refusal(errno.EINVAL, "Mask out of range")
        run = bits // (bits & -bits) if bits else 0
        if run & (run + 1):
            raise Refusal(errno.EINVAL, f"The mask {bits:x} has non-consecutive 1-bits")
        if bits.bit_count() < self.opt.min:
            raise Refusal(errno.EINVAL, f"Need at least {self.opt.min} bits in the mask")
        for other in self.others(name):
            if other.mode == "exclusive" and bits & self.bits_of(other, cache):
                raise Refusal(errno.EINVAL, "Overlaps with exclusive group")
        if group.mode == "exclusive" and self.overlaps(name, bits, cache):
            raise Refusal(errno.EINVAL, "Overlaps with other group")

    def overlaps(self, name, bits, cache):
        return bits & self.opt.shareable or any(bits & self.bits_of(o, cache) for o in self.others(name))

    def write_schemata(self, name, text):
        if not text.endswith("\n"):
            raise Refusal(errno.EINVAL)
        staged = []
        for line in text.splitlines():
            resource, _, values = line.strip().partition(":")
            if resource not in self.groups[""].lines:
                raise Refusal(errno.EINVAL, f"Unknown or unsupported resource name '{resource}'")
            for part in values.split(";"):
                cache, _, value = part.partition("=")
                if not cache.strip().isdigit() or int(cache) not in self.ids:
                    raise Refusal(errno.EINVAL)
                number = int(value, 10 if resource == "MB" else 16)
                if resource == "MB":
                    if not self.opt.mb_min <= number <= 100:
                        raise Refusal(errno.EINVAL, f"MB value {number} out of range [{self.opt.mb_min},100]")
                    number = -(-number // self.opt.mb_step) * self.opt.mb_step
                else:
                    self.check_mask(name, number, int(cache))
                staged.append((resource, int(cache), number))
        for resource, cache, number in staged:
            self.groups[name].lines[resource][cache] = number

    def schemata(self, name):
        lines = self.groups[name].lines
        width = max(len(k) for k in lines)
        digits = len(f"{self.opt.mask:x}")
        out = []
        for kind, values in lines.items():
            form = (lambda v: f"{v:>{digits}}") if kind == "MB" else (lambda v: f"{v:0{digits}x}")
            out.append(f"{kind:>{width}}:" + ";".join(f"{c}={form(v)}" for c, v in values.items()) + "\n")
        return "".join(out)

    def write_mode(self, name, text):
        if text.strip() not in ("shareable", "exclusive"):
            raise Refusal(errno.EINVAL, "Unknown or unsupported mode")
        if text.strip() == "exclusive" and any(self.overlaps(name, self.bits_of(self.groups[name], c), c) for c in self.ids):
            raise Refusal(errno.EINVAL, "Schemata overlaps")
        self.groups[name].mode = text.strip()

    # -- groups and threads

    def mkdir(self, name):
        if self.busy:
            self.busy -= 1
            raise Refusal(errno.EBUSY, "Out of RMIDs")
        if name in self.groups:
            raise Refusal(errno.EEXIST)
        if len(self.groups) >= self.opt.classes:
            raise Refusal(errno.ENOSPC, "Out of CLOSIDs")
        group = Group()
        for kind in self.kinds:
            group.lines[kind] = {}
            for cache in self.ids:
                taken = 0
                for other in self.groups.values():
                    if other.mode == "exclusive":
                        taken |= self.bits_of(other, cache)
                left = self.opt.mask & ~taken
                first = left & -left
                run = left & ~(left + first)  # cbm_ensure_valid(): what is behind the first gap goes
                if run.bit_count() < self.opt.min:
                    raise Refusal(errno.ENOSPC, f"No space on {kind}:{cache}")
                group.lines[kind][cache] = run
        group.lines["MB"] = dict.fromkeys(self.ids, 100)
        self.groups[name] = group

    def rmdir(self, name):
        if not name or name not in self.groups:
            raise Refusal(errno.EPERM)
        tasks = self.groups.pop(name).tasks
        for tid in tasks & set(self.all_tasks()):
            self.write_words(tid)

    def tasks(self, name):
        live = set(self.all_tasks())
        inside = live - set().union(*(g.tasks for g in self.groups.values())) if not name else self.groups[name].tasks & live
        return "".join(f"{t}\n" for t in sorted(inside))

    def write_tasks(self, name, watch, text):
        tid = int(text)
        if tid not in self.all_tasks():
            raise Refusal(errno.ESRCH, f"No task {tid}")
        if watch is not None:
            if self.group_of(tid) != name:
                raise Refusal(errno.EINVAL, "Can't move task to different control group")
            for tids in self.groups[name].watched.values():
                tids.discard(tid)
            self.groups[name].watched[watch].add(tid)
        else:
            for group in self.groups.values():
                group.tasks.discard(tid)
                for tids in group.watched.values():
                    tids.discard(tid)
            if name:
                self.groups[name].tasks.add(tid)
        self.write_words(tid)

    # -- as a tree: path to None (a directory) or text

    def tree(self):
        o, out = self.opt, {"": None, "info": None, "info/last_cmd_status": self.status + "\n", "info/MB": None}
        for kind in self.kinds:
            out[f"info/{kind}"] = None
            out.update({f"info/{kind}/{n}": f"{v}\n" for n, v in {
                "cbm_mask": f"{o.mask:x}", "min_cbm_bits": o.min, "shareable_bits": f"{o.shareable:x}",
                "num_closids": o.classes}.items()})
        out.update({f"info/MB/{n}": f"{v}\n" for n, v in {
            "bandwidth_gran": o.mb_step, "min_bandwidth": o.mb_min, "delay_linear": 1, "num_closids": o.classes}.items()})
        for name, group in self.groups.items():
            base = f"{name}/" if name else ""
            if name:
                out[name] = None
            out.update({f"{base}schemata": self.schemata(name), f"{base}mode": group.mode + "\n",
                        f"{base}tasks": self.tasks(name), f"{base}mon_groups": None})
            for watch, tids in group.watched.items():
                out[f"{base}mon_groups/{watch}"] = None
                out[f"{base}mon_groups/{watch}/tasks"] = "".join(f"{t}\n" for t in sorted(tids))
        return out

    def write(self, path, text):
        parts = path.split("/")
        name = parts[0] if parts[0] in self.groups and len(parts) > 1 else ""
        if parts[-1] == "schemata":
            self.write_schemata(name, text)
        elif parts[-1] == "mode":
            self.write_mode(name, text)
        elif parts[-1] == "tasks":
            self.write_tasks(name, parts[-2] if "mon_groups" in parts else None, text)
        else:
            raise Refusal(errno.EACCES)

    def command(self, what, *args):
        """As the kernel does, each leaves its answer in last_cmd_status."""
        self.status = "ok"
        try:
            what(*args)
        except ValueError as e:
            raise Refusal(errno.EINVAL) from e
        except Refusal as e:
            self.status = e.text or "ok"
            raise


class Server:
    """The protocol of /dev/fuse, version 7.31 (include/uapi/linux/fuse.h): every answer is good for no time at all."""

    def __init__(self, fs, fd):
        self.fs, self.fd = fs, fd
        self.path_of, self.node_of = {1: ""}, {"": 1}
        self.open = {}

    def node(self, path):
        if path not in self.node_of:
            n = len(self.path_of) + 1
            self.path_of[n], self.node_of[path] = path, n
        return self.node_of[path]

    def attr(self, path):
        tree = self.fs.tree()
        if path not in tree:
            raise Refusal(errno.ENOENT)
        mode = stat.S_IFDIR | 0o755 if tree[path] is None else stat.S_IFREG | 0o644
        return struct.pack("<6Q10I", self.node(path), 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def entry(self, path):
        attr = self.attr(path)
        return struct.pack("<4Q2I", self.node(path), 0, 0, 0, 0, 0) + attr

    @staticmethod
    def child(path, name):
        name = name.rstrip(b"\0").decode()
        return f"{path}/{name}" if path else name

    def listing(self, path):
        prefix = f"{path}/" if path else ""
        names = [n[len(prefix):] for n in self.fs.tree() if n.startswith(prefix) and n != path and "/" not in n[len(prefix):]]
        out = b""
        for i, name in enumerate([".", ".."] + names, 1):
            data = name.encode()
            out += (struct.pack("<QQII", i, i, len(data), 0) + data).ljust(24 + (len(data) + 7) // 8 * 8, b"\0")
        return out

    def answer(self, opcode, path, body):
        if opcode == 26:  # INIT
            return struct.pack("<4I2H2I2HI28x", 7, 31, 65536, 0, 16, 12, 65536, 1, 0, 0, 0)
        if opcode == 1:
            return self.entry(self.child(path, body))
        if opcode in (3, 4):  # GETATTR, SETATTR: truncation is nothing
            return struct.pack("<QII", 0, 0, 0) + self.attr(path)
        if opcode in (14, 27):  # OPEN, OPENDIR
            self.attr(path)
            fh = max(self.open, default=0) + 1
            self.open[fh] = self.listing(path) if opcode == 27 else self.fs.tree()[path].encode()
            return struct.pack("<QIi", fh, 1 if opcode == 14 else 0, 0)
        if opcode in (15, 28):  # READ, READDIR
            fh, offset, size = struct.unpack("<QQI", body[:20])
            data = self.open[fh]
            if opcode == 15:
                return data[offset:offset + size]
            return data if offset == 0 else b""
        if opcode == 16:  # WRITE
            size, = struct.unpack("<I", body[16:20])
            self.fs.command(self.fs.write, path, body[40:40 + size].decode())
            return struct.pack("<II", size, 0)
        if opcode in (18, 29):
            self.open.pop(struct.unpack("<Q", body[:8])[0], None)
            return b""
        if opcode == 9:  # MKDIR
            self.fs.command(self.make, self.child(path, body[8:]))
            return self.entry(self.child(path, body[8:]))
        if opcode == 11:
            self.fs.command(self.fs.rmdir, self.child(path, body))
            return b""
        if opcode == 17:
            return struct.pack("<5Q4I24x", 0, 0, 0, 0, 0, 4096, 255, 4096, 0)
        if opcode in (20, 25, 34):
            return b""
        raise Refusal(errno.ENOSYS if opcode not in (6, 8, 10, 12, 35) else errno.EPERM)

    def make(self, path):
        if "/" in path:
            raise Refusal(errno.EPERM)
        self.fs.mkdir(path)

    def serve(self):
        while True:
            try:
                data = os.read(self.fd, 1 << 17)
            except OSError as e:
                if e.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return  # unmounted
            _, opcode, unique, node = struct.unpack("<IIQQ", data[:24])
            if opcode in (2, 36, 42):  # FORGET, INTERRUPT, BATCH_FORGET
                continue
            code, out = 0, b""
            try:
                out = self.answer(opcode, self.path_of.get(node, ""), data[40:])
            except Refusal as e:
                code = e.code
            try:
                os.write(self.fd, struct.pack("<IiQ", 16 + len(out), -code, unique) + out)
            except OSError as e:
                if e.errno != errno.ENOENT:  # whoever asked was killed
                    return


def options(args):
    p = argparse.ArgumentParser()
    p.add_argument("dir")
    p.add_argument("--caches", default="0", help="ids (0)")
    p.add_argument("--mask", type=lambda t: int(t, 16), default=0x7ff)
    p.add_argument("--min", type=int, default=1, help="bits of a mask")
    p.add_argument("--shareable", type=lambda t: int(t, 16), default=0)
    p.add_argument("--classes", type=int, default=16)
    p.add_argument("--cdp", action="store_true")
    p.add_argument("--mb-step", type=int, default=10)
    p.add_argument("--mb-min", type=int, default=10)
    p.add_argument("--busy", type=int, default=0, help="so many groups cannot be made yet")
    p.add_argument("--proc", help="where the threads are")
    p.add_argument("--words", action="store_true", help="cpu_resctrl_groups (since Linux 5.6)")
    p.add_argument("--watch", action="append", default=[], help="a monitoring group of the default group")
    return p.parse_args(args)


def main():
    LIBC.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    opt = options(sys.argv[1:])
    fd = os.open("/dev/fuse", os.O_RDWR)
    words = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if LIBC.mount(b"resctrl", os.fsencode(opt.dir), b"fuse", 0, words) < 0:
        sys.exit(f"resctrlfs.py: {opt.dir}: {os.strerror(ctypes.get_errno())}")
    print("ready", flush=True)
    Server(Resctrl(opt), fd).serve()


if __name__ == "__main__":
    main()

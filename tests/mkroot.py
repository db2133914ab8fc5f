#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Make a fake host root for tests: what domtune reads of /sys, /proc, /run, as plain files below one directory.

Every file ends with a newline and holds what a kernel prints, so that apply and undo can be compared byte by byte.
Deterministic: the same options give the same tree.
"""
import argparse
import fnmatch
import hashlib
import os
import re
import shlex
import sys

EPILOG = """\
lists are kernel lists ("0-3,8"); sizes take K, M, G, T (1024).

mkroot.py --batch makes many trees in one process: standard input has a line "DIR OPTION..." for each.

examples:
  mkroot.py DIR --cpus 16 --smt 2 --nodes 2 --memory-per-node 32G --hugepages 0:2048:1024
  mkroot.py DIR --nodes 0,2-3 --memory-per-node 64G,0,16G --cpuless 3 --offline 5,7
  mkroot.py DIR --cgroup v2 --domain web1:3:4dea22b3-1d52-d8f3-2516-782e98ab3fa0:2:1
  mkroot.py DIR --drop 'sys/devices/system/cpu/cpu*/cache' --set sys/devices/system/cpu/online=0-99
"""

CPU = "sys/devices/system/cpu"
NODE = "sys/devices/system/node"
# No real host has this boot id.
BOOT_ID = "b007b007-0000-4000-8000-000000000001"
UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


def parse_list(text):
    ids = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        ids.update(range(int(first), int(last or first) + 1))
    return ids


def list_text(ids):
    out, ids = [], sorted(ids)
    while ids:
        n = 1
        while n < len(ids) and ids[n] == ids[0] + n:
            n += 1
        out.append(str(ids[0]) if n == 1 else f"{ids[0]}-{ids[n - 1]}")
        ids = ids[n:]
    return ",".join(out)


def mask_text(ids, width):
    """lib/bitmap.c: 32-bit words, most significant first."""
    words = [0] * max(1, (width + 31) // 32)
    for i in ids:
        words[i // 32] |= 1 << i % 32
    return ",".join(f"{w:08x}" for w in reversed(words))


def parse_size(text):
    m = re.fullmatch(r"(\d+)([KMGT]?)(?:iB)?", text)
    if not m:
        raise argparse.ArgumentTypeError(f"not a size: {text}")
    return int(m[1]) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[m[2]]


class Root:
    def __init__(self, top):
        self.top = top
        self.made = set()

    def path(self, name):
        return os.path.join(self.top, name)

    def put(self, name, text, mode=0o644, newline=True):
        self.make_dir(os.path.dirname(name))
        data = f"{text}\n" if newline else text
        with open(self.path(name), "wb", buffering=0) as f:
            f.write(data.encode("utf-8", "surrogateescape"))
        if mode != 0o644:
            os.chmod(self.path(name), mode)

    def make_dir(self, name):
        if name not in self.made:
            os.makedirs(self.path(name), exist_ok=True)
            self.made.add(name)

    def put_all(self, directory, files):
        """A file that the kernel leaves empty, without even a newline, is None."""
        self.make_dir(directory)
        for name, text in files.items():
            self.put(f"{directory}/{name}", text if text is not None else "", newline=text is not None)


class Host:
    """Which CPU is where. Cores are dealt to nodes in equal runs; nodes to packages likewise."""

    def __init__(self, opt):
        self.opt = opt
        self.nodes = sorted(parse_list(opt.nodes)) if re.search("[,-]", opt.nodes) else list(range(int(opt.nodes)))
        self.offline = parse_list(opt.offline)
        self.all = set(range(opt.cpus))
        self.online = self.all - self.offline
        self.n_cores = (opt.cpus + opt.smt - 1) // opt.smt
        with_cpus = [n for n in self.nodes if n not in parse_list(opt.cpuless)]
        packages = opt.packages or len(with_cpus)
        self.core_of, self.node_of, self.package_of = {}, {}, {}
        for cpu in range(opt.cpus):
            core = cpu % self.n_cores if opt.numbering == "split" else cpu // opt.smt
            self.core_of[cpu] = core
            self.node_of[cpu] = with_cpus[core * len(with_cpus) // self.n_cores]
            self.package_of[cpu] = core * packages // self.n_cores
        memory = [parse_size(m) for m in opt.memory_per_node.split(",")]
        self.memory = {n: memory[min(i, len(memory) - 1)] for i, n in enumerate(self.nodes)}
        self.pools = self.read_pools()

    def read_pools(self):
        pools = {n: {2048: (0, 0), 1048576: (0, 0)} for n in self.nodes}
        for text in self.opt.hugepages:
            node, size, total, *free = (int(v) for v in text.split(":"))
            for n in self.nodes:
                pools[n].setdefault(size, (0, 0))
            pools[node][size] = (total, free[0] if free else total)
        return pools

    def same(self, of, cpu):
        return {c for c in self.online if of[c] == of[cpu]}

    def l3_group(self, cpu):
        """Runs of cores within a package."""
        if not self.opt.l3_cpus:
            return self.same(self.package_of, cpu)
        cores = max(1, self.opt.l3_cpus // self.opt.smt)
        package = [c for c in self.all if self.package_of[c] == self.package_of[cpu]]
        first = min(self.core_of[c] for c in package)
        which = {c: (self.core_of[c] - first) // cores for c in package}
        return {c for c in package if which[c] == which[cpu]} & self.online


def put_topology(root, host, cpu):
    width = host.opt.cpus
    groups = {
        "thread_siblings": host.same(host.core_of, cpu), "core_cpus": host.same(host.core_of, cpu),
        "core_siblings": host.same(host.package_of, cpu), "package_cpus": host.same(host.package_of, cpu),
        "die_cpus": host.same(host.package_of, cpu),
    }
    files = {"core_id": host.core_of[cpu], "physical_package_id": host.package_of[cpu], "die_id": 0}
    for name, cpus in groups.items():
        files[name] = mask_text(cpus, width)
        files[f"{name}_list"] = list_text(cpus)
    root.put_all(f"{CPU}/cpu{cpu}/topology", files)
    caches = [(1, "Data", "32K", groups["core_cpus"]), (1, "Instruction", "32K", groups["core_cpus"]),
              (2, "Unified", "1024K", groups["core_cpus"]), (3, "Unified", "32768K", host.l3_group(cpu))]
    for i, (level, kind, size, cpus) in enumerate(caches):
        root.put_all(f"{CPU}/cpu{cpu}/cache/index{i}", {
            "level": level, "type": kind, "size": size, "shared_cpu_list": list_text(cpus),
            "shared_cpu_map": mask_text(cpus, width), "id": min(cpus)})


def put_cpus(root, host):
    root.put_all(CPU, {
        "online": list_text(host.online), "offline": list_text(host.offline), "present": list_text(host.all),
        "possible": list_text(host.all), "kernel_max": 8191, "isolated": ""})
    smt = host.opt.smt > 1
    root.put_all(f"{CPU}/smt", {"active": int(smt), "control": "on" if smt else "notsupported"})
    for cpu in sorted(host.all):
        os.makedirs(root.path(f"{CPU}/cpu{cpu}"), exist_ok=True)
        if cpu:
            root.put(f"{CPU}/cpu{cpu}/online", int(cpu in host.online))
        root.put(f"{CPU}/cpu{cpu}/power/pm_qos_resume_latency_us", 0)
        if cpu in host.online:
            put_topology(root, host, cpu)
    for name, option in (("cpu_capacity", host.opt.capacity), ("cpufreq/cpuinfo_max_freq", host.opt.max_freq)):
        for text in option:
            cpus, value = text.rsplit(":", 1)
            for cpu in parse_list(cpus) & host.online:
                root.put(f"{CPU}/cpu{cpu}/{name}", value)


# What a policy has with each driver, the governor in force first.
CPUFREQ_DRIVERS = {
    "intel_pstate": ("powersave performance", "balance_performance"),
    "amd-pstate-epp": ("powersave performance", "balance_performance"),
    "acpi-cpufreq": ("schedutil conservative ondemand userspace powersave performance", None),
}


def put_cpufreq(root, host):
    """Policies of equal runs of CPUs, each named for its first; a CPU has a link to its own."""
    driver, _, per = host.opt.cpufreq.partition(":")
    governors, preference = CPUFREQ_DRIVERS[driver]
    per = int(per or 1)
    for first in range(0, host.opt.cpus, per):
        cpus = {c for c in range(first, first + per) if c in host.online}
        if not cpus:
            continue
        # show_available_governors() and cpufreq_show_cpus() end with a blank, or without one.
        files = {"scaling_driver": driver, "scaling_governor": governors.split()[0],
                 "scaling_available_governors": " ".join(sorted(governors.split())),
                 "related_cpus": " ".join(str(c) for c in range(first, min(first + per, host.opt.cpus))),
                 "affected_cpus": " ".join(map(str, sorted(cpus)))}
        if preference:
            files["energy_performance_preference"] = preference
            files["energy_performance_available_preferences"] = \
                "default performance balance_performance balance_power power "
        root.put_all(f"{CPU}/cpufreq/policy{first}", files)
        for cpu in cpus:
            link = root.path(f"{CPU}/cpu{cpu}/cpufreq")
            if not os.path.lexists(link):
                os.symlink(f"../cpufreq/policy{first}", link)


def put_nodes(root, host):
    with_memory = [n for n in host.nodes if host.memory[n]]
    with_cpus = sorted({host.node_of[c] for c in host.online})
    root.put_all(NODE, {"online": list_text(host.nodes), "possible": list_text(host.nodes),
                        "has_memory": list_text(with_memory), "has_normal_memory": list_text(with_memory),
                        "has_cpu": list_text(with_cpus)})
    for node in host.nodes:
        cpus = {c for c in host.online if host.node_of[c] == node}
        total = host.memory[node] >> 10
        huge = sum(size * pool[0] for size, pool in host.pools[node].items())
        free = max(0, (total - huge) * 3 // 4)
        meminfo = {"MemTotal": total, "MemFree": free, "MemUsed": total - free, "Active(file)": (total - huge) // 16,
                   "Inactive(file)": (total - huge) // 8, "SReclaimable": (total - huge) // 32}
        root.put_all(f"{NODE}/node{node}", {
            "cpulist": list_text(cpus), "cpumap": mask_text(cpus, host.opt.cpus),
            "distance": " ".join("10" if n == node else "20" for n in host.nodes),
            "meminfo": "\n".join(f"Node {node} {k + ':':<16}{max(0, v):>10} kB" for k, v in meminfo.items())})
        for size, (pages, unused) in host.pools[node].items():
            root.put_all(f"{NODE}/node{node}/hugepages/hugepages-{size}kB",
                         {"nr_hugepages": pages, "free_hugepages": unused, "surplus_hugepages": 0})


def put_kernel(root, host):
    opt = host.opt
    sizes = sorted({s for pools in host.pools.values() for s in pools})
    for size in sizes:
        root.put_all(f"sys/kernel/mm/hugepages/hugepages-{size}kB", {
            "nr_hugepages": sum(p[size][0] for p in host.pools.values()),
            "free_hugepages": sum(p[size][1] for p in host.pools.values()),
            "nr_overcommit_hugepages": 0, "resv_hugepages": 0, "surplus_hugepages": 0})
    modes = ("always", "madvise", "never")
    root.put_all("sys/kernel/mm/transparent_hugepage", {
        "enabled": " ".join(f"[{m}]" if m == opt.thp else m for m in modes),
        "defrag": "always defer defer+madvise [madvise] never"})
    root.put_all("sys/kernel/mm/ksm", {"run": 0})
    root.put_all("sys/module/kvm/parameters", {"halt_poll_ns": 200000})
    root.put_all("proc/sys/kernel", {"osrelease": opt.kernel, "sched_rt_runtime_us": 950000,
                                     "sched_rt_period_us": 1000000})
    root.put("proc/sys/kernel/random/boot_id", opt.boot_id)
    root.put_all("proc/sys/net/core", {"rmem_max": 212992, "wmem_max": 212992, "rmem_default": 212992,
                                       "netdev_max_backlog": 1000, "somaxconn": 4096})
    root.put_all("proc/sys/vm", {"swappiness": 60, "dirty_ratio": 20, "nr_hugepages": 0, "zone_reclaim_mode": 0})
    total = sum(host.memory.values()) >> 10
    root.put("proc/meminfo", f"MemTotal:       {total:>8} kB\nMemFree:        {total // 2:>8} kB\n"
                             f"MemAvailable:   {total * 3 // 4:>8} kB\nHugepagesize:       2048 kB")
    root.put("proc/version", f"Linux version {opt.kernel} (mkroot)")
    root.put("proc/cpuinfo", "\n".join(f"processor\t: {c}" for c in sorted(host.online)))


V1_MOUNTS = {"cpuset": ("cpuset",), "cpu,cpuacct": ("cpu", "cpuacct"), "memory": ("memory",), "blkio": ("blkio",),
             "freezer": ("freezer",), "devices": ("devices",)}
V2_CONTROLLERS = "cpuset cpu io memory hugetlb pids"


class Cgroups:
    """The mounts, and groups with the control files that a kernel of the day shows."""

    def __init__(self, root, host):
        self.root, self.host, self.layout = root, host, host.opt.cgroup
        self.cpus = list_text(host.online)
        self.mems = list_text(n for n in host.nodes if host.memory[n])
        self.unified = {"v1": None, "v2": "sys/fs/cgroup", "hybrid": "sys/fs/cgroup/unified"}[self.layout]

    def put_mounts(self):
        v1 = self.layout != "v2"
        lines = ["sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0", "proc /proc proc rw,relatime 0 0",
                 "tmpfs /run tmpfs rw,nosuid,nodev,noexec,relatime,mode=755 0 0",
                 "hugetlbfs /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0"]
        if v1:
            lines.append("tmpfs /sys/fs/cgroup tmpfs ro,nosuid,nodev,noexec,mode=755 0 0")
        if self.unified:
            lines.append(f"cgroup2 /{self.unified} cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate 0 0")
        proc = ["#subsys_name\thierarchy\tnum_cgroups\tenabled"]
        if v1:
            lines.append("cgroup /sys/fs/cgroup/systemd cgroup rw,nosuid,nodev,noexec,relatime,xattr,name=systemd 0 0")
        for i, (mount, controllers) in enumerate(V1_MOUNTS.items(), 2):
            proc += [f"{c}\t{i if v1 else 0}\t{1}\t1" for c in controllers]
            if v1:
                lines.append(f"cgroup /sys/fs/cgroup/{mount} cgroup "
                             f"rw,nosuid,nodev,noexec,relatime,{','.join(controllers)} 0 0")
        self.root.put("proc/mounts", "\n".join(lines))
        self.root.put("proc/cgroups", "\n".join(proc))
        if v1:
            for mount in V1_MOUNTS:
                self.put_v1(mount, "")
            for link in ("cpu", "cpuacct"):
                os.symlink("cpu,cpuacct", self.root.path(f"sys/fs/cgroup/{link}"))
            os.makedirs(self.root.path("sys/fs/cgroup/systemd"))
        if self.unified:
            self.put_v2("", "root")

    def put_v1(self, mount, group, tids=()):
        text = "\n".join(map(str, tids))
        files = {"tasks": text, "cgroup.procs": text, "notify_on_release": 0}
        files.update({
            "cpuset": {"cpuset.cpus": self.cpus, "cpuset.mems": self.mems, "cpuset.effective_cpus": self.cpus,
                       "cpuset.effective_mems": self.mems, "cpuset.memory_migrate": 0, "cpuset.cpu_exclusive": 0},
            "cpu,cpuacct": {"cpu.shares": 1024, "cpu.cfs_period_us": 100000, "cpu.cfs_quota_us": -1,
                            "cpu.cfs_burst_us": 0, "cpuacct.usage": 0},
            "memory": {"memory.limit_in_bytes": 9223372036854771712, "memory.soft_limit_in_bytes": 9223372036854771712},
            "blkio": {"blkio.bfq.weight": 100, "blkio.bfq.weight_device": "default 100",
                      **{f"blkio.throttle.{what}_device": None
                         for what in ("read_bps", "write_bps", "read_iops", "write_iops")}},
        }.get(mount, {}))
        self.root.put_all(f"sys/fs/cgroup/{mount}{group}", files)

    def put_v2(self, group, kind, tids=()):
        """kind: root, domain, delegated (domain threaded), threaded."""
        v2 = self.layout == "v2"
        text = "\n".join(map(str, tids))
        files = {"cgroup.procs": text if kind != "threaded" else "", "cgroup.threads": text,
                 "cgroup.controllers": {"threaded": "cpuset cpu pids"}.get(kind, V2_CONTROLLERS) if v2 else "",
                 "cgroup.subtree_control": "" if kind == "threaded" or not v2 else
                 "cpuset cpu pids" if kind == "delegated" else V2_CONTROLLERS}
        if kind != "root":
            files["cgroup.type"] = {"delegated": "domain threaded"}.get(kind, kind)
            files["cgroup.events"] = f"populated {int(bool(tids))}\nfrozen 0"
        if v2:
            files.update({"cpuset.cpus.effective": self.cpus, "cpuset.mems.effective": self.mems})
        if v2 and kind != "root":
            files.update({"cpuset.cpus": "", "cpuset.mems": "", "cpuset.cpus.partition": "member", "cpu.weight": 100,
                          "cpu.weight.nice": 0, "cpu.max": "max 100000", "cpu.max.burst": 0, "cpu.idle": 0})
        if v2 and kind != "root" and tuple(int(n) for n in re.findall(r"\d+", self.host.opt.kernel)[:2]) >= (6, 7):
            files.update({"cpuset.cpus.exclusive": "", "cpuset.cpus.exclusive.effective": ""})
        if v2 and kind in ("domain", "delegated"):
            files.update({"memory.min": 0, "memory.low": 0, "memory.high": "max", "memory.max": "max",
                          "io.weight": "default 100", "io.bfq.weight": "default 100", "io.max": None})
        self.root.put_all(f"{self.unified}{group}", files)

    def put_domain(self, domain):
        """libvirt's groups: below /machine, or in machined's scope, where v2 has libvirt/ between."""
        subs = domain.threads_by_group()
        every = [t for tids in subs.values() for t in tids]
        parent, group = "/machine", f"/machine/qemu-{domain.id}-{domain.machine_name()}.libvirt-qemu"
        machined = self.host.opt.machined or ("yes" if self.layout == "v2" else "no")
        if machined == "yes":
            parent = "/machine.slice"
            group = f"{parent}/machine-qemu\\x2d{domain.id}\\x2d{domain.escaped()}.scope"
        if self.layout == "v2":
            self.put_v2(parent, "domain")
            if machined == "yes":
                self.put_v2(group, "domain")
                group += "/libvirt"
            self.put_v2(group, "delegated", [domain.pid])
            for sub, tids in subs.items():
                self.put_v2(f"{group}/{sub}", "threaded", tids)
            return lambda sub: f"0::{group}/{sub}"
        for mount in V1_MOUNTS:
            split = mount in ("cpuset", "cpu,cpuacct")
            self.put_v1(mount, parent)
            self.put_v1(mount, group, () if split else every)
            for sub, tids in subs.items() if split else ():
                self.put_v1(mount, f"{group}/{sub}", tids)
        if self.unified:
            self.put_v2(parent, "domain")
            self.put_v2(group, "domain", every)

        def lines(sub):
            out = [f"{i}:{','.join(c)}:{group}" + (f"/{sub}" if m in ("cpuset", "cpu,cpuacct") else "")
                   for i, (m, c) in enumerate(V1_MOUNTS.items(), 2)]
            out.reverse()
            out.append(f"1:name=systemd:{group if machined == 'yes' else '/system.slice/libvirtd.service'}")
            return "\n".join(out + ([f"0::{group}"] if self.unified else []))
        return lines


class Domain:
    def __init__(self, text):
        m = re.fullmatch(rf"([^/]+):(\d+):({UUID}):(\d+)(?::(\d+))?", text, re.S)
        if not m:
            raise argparse.ArgumentTypeError(f"not NAME:ID:UUID:VCPUS[:IOTHREADS]: {text}")
        self.name, self.id, self.uuid, self.vcpus = m[1], int(m[2]), m[3].lower(), int(m[4])
        self.iothreads = int(m[5] or 0)
        self.pid = 20000 + self.id * 100
        self.start = 100000 + self.id * 1000
        # (name as QEMU's debug-threads gives it, libvirt's group)
        self.threads = [("qemu-system-x86", "emulator"), ("call_rcu", "emulator"), ("IO mon_iothread", "emulator")]
        self.threads += [(f"IO iothread{i + 1}", f"iothread{i + 1}") for i in range(self.iothreads)]
        self.threads += [(f"CPU {i}/KVM", f"vcpu{i}") for i in range(self.vcpus)]
        self.threads.append(("worker", "emulator"))

    def machine_name(self):
        """virDomainGenerateMachineName: what a host name may hold, at most 64 bytes."""
        return re.sub(r"[^a-zA-Z0-9.-]", "", self.name)[:64 - len(f"qemu-{self.id}-")]

    def escaped(self):
        """systemd-escape: the dash separates slices."""
        return re.sub(r"[^a-zA-Z0-9:_.]", lambda m: f"\\x{ord(m[0]):02x}", self.machine_name())

    def threads_by_group(self):
        groups = {}
        for i, (_, group) in enumerate(self.threads):
            groups.setdefault(group, []).append(self.pid + i)
        return groups


def stat_line(tid, comm, start):
    """proc(5): the start time is field 22."""
    fields = [tid, f"({comm[:15]})", "S", 1] + [0] * 17 + [start] + [0] * 30
    return " ".join(map(str, fields))


def put_process(root, domain, host, cgroup_lines):
    proc = f"proc/{domain.pid}"
    argv = ["/usr/bin/qemu-system-x86_64", "-name", f"guest={domain.name.replace(',', ',,')},debug-threads=on",
            "-S", "-machine", "pc-q35-7.2,memory-backend=pc.ram", "-uuid", domain.uuid, "-msg", "timestamp=on"]
    environ = ["LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
               f"HOME=/var/lib/libvirt/qemu/domain-{domain.id}-{domain.name[:20]}"]
    root.put(f"{proc}/cmdline", "".join(f"{a}\0" for a in argv), newline=False)
    root.put(f"{proc}/environ", "".join(f"{v}\0" for v in environ), mode=0o400, newline=False)
    for i, (comm, group) in enumerate(domain.threads):
        tid, start = domain.pid + i, domain.start + i
        files = {"comm": comm[:15], "cgroup": cgroup_lines(group), "stat": stat_line(tid, comm, start),
                 "status": f"Name:\t{comm[:15]}\nTgid:\t{domain.pid}\nPid:\t{tid}\n"
                           f"Cpus_allowed_list:\t{list_text(host.online)}"}
        root.put_all(f"{proc}/task/{tid}", files)
        if i == 0:
            root.put_all(proc, files)


def put_domain(root, domain, host, cgroups, pins):
    escape = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;"})
    tune = "".join(f"      <vcpupin vcpu='{v}' cpuset='{c}'/>\n" for n, v, c in pins if n == domain.name)
    root.put(f"run/libvirt/qemu/{domain.name}.pid", domain.pid)
    root.put(f"run/libvirt/qemu/{domain.name}.xml", f"""\
<domstatus state='running' reason='booted' pid='{domain.pid}'>
  <domain type='kvm' id='{domain.id}'>
    <name>{domain.name.translate(escape)}</name>
    <uuid>{domain.uuid}</uuid>
    <memory unit='KiB'>1048576</memory>
    <vcpu placement='static'>{domain.vcpus}</vcpu>
    <iothreads>{domain.iothreads}</iothreads>
    <cputune>
{tune}    </cputune>
    <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
    <devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices>
  </domain>
</domstatus>""", mode=0o600)
    put_process(root, domain, host, cgroups.put_domain(domain))


# What a queue has for each kind of disk: schedulers, the one in force in brackets, and whether it rotates.
DISK_KINDS = {"hdd": ("none [mq-deadline] kyber bfq", 1), "ssd": ("none [mq-deadline] kyber bfq", 0),
              "nvme": ("[none] mq-deadline kyber bfq", 0), "no-bfq": ("[mq-deadline] none", 1)}


def put_disk(root, text):
    """A whole disk as sysfs shows it, and its node, which below another root is a plain file."""
    name, major, minor, kind = text.split(":")
    schedulers, rotational = DISK_KINDS[kind]
    base = f"sys/devices/pci0000:00/0000:00:1f.2/host0/block/{name}"
    root.put_all(base, {"uevent": f"MAJOR={major}\nMINOR={minor}\nDEVNAME={name}\nDEVTYPE=disk\nDISKSEQ=1",
                        "dev": f"{major}:{minor}"})
    root.make_dir(f"{base}/slaves")
    root.put_all(f"{base}/queue", {
        "scheduler": schedulers, "rotational": rotational, "nr_requests": 100, "read_ahead_kb": 128, "rq_affinity": 1,
        "wbt_lat_usec": 75000 if rotational else 2000, "nomerges": 0})
    for link in f"sys/class/block/{name}", f"sys/dev/block/{major}:{minor}", f"sys/block/{name}":
        root.make_dir(os.path.dirname(link))
        os.symlink(os.path.relpath(root.path(base), root.path(os.path.dirname(link))), root.path(link))
    root.put(f"dev/{name}", "", newline=False)


def put_resctrl(root, host):
    """As Linux shows it right after it was mounted; plain files, so that only facts can be read of it."""
    words = dict(w.split("=", 1) for w in host.opt.resctrl.split(",") if "=" in w)
    base, mask = "sys/fs/resctrl", int(words.get("mask", "7ff"), 16)
    caches = sorted({min(host.l3_group(c)) for c in host.online})
    kinds = ["L3CODE", "L3DATA"] if words.get("cdp") else ["L3"]
    classes = int(words.get("classes", "16"))
    lines = [f"{k:>6}:" + ";".join(f"{c}={mask:x}" for c in caches) for k in (kinds if mask else [])]
    for kind in kinds if mask else []:
        root.put_all(f"{base}/info/{kind}", {
            "cbm_mask": f"{mask:x}", "min_cbm_bits": words.get("min", "1"), "shareable_bits": words.get("shared", "0"),
            "num_closids": classes, "bit_usage": ";".join(f"{c}={'S' * mask.bit_count()}" for c in caches)})
    if words.get("mb", "10") != "0":
        most = words.get("mbmax", "100")
        root.put_all(f"{base}/info/MB", {"bandwidth_gran": words.get("mb", "10"), "min_bandwidth": words.get("mbmin", "10"),
                                         "delay_linear": 1, "num_closids": min(classes, 8)})
        lines.append("    MB:" + ";".join(f"{c}={most:>3}" for c in caches))
    root.put(f"{base}/info/last_cmd_status", "ok")
    root.put_all(base, {"schemata": "\n".join(lines), "mode": "shareable", "tasks": "1", "cpus_list": list_text(host.online)})
def put_irqs(root, host, text):
    """Interrupts as /proc/irq shows them, and the vectors of the PCI function they belong to."""
    numbers, cpus, action, *device = text.split(":", 3)
    for n, irq in enumerate(sorted(parse_list(numbers))):
        online = sorted(host.online)
        mine = set(online) if cpus == "all" else {online[n % len(online)]} if cpus == "each" else parse_list(cpus)
        root.put_all(f"proc/irq/{irq}", {
            "smp_affinity_list": list_text(mine), "smp_affinity": mask_text(mine, host.opt.cpus),
            "effective_affinity_list": list_text({min(mine & host.online, default=0)}), "node": 0})
        if action:
            root.make_dir(f"proc/irq/{irq}/{action.replace('*', str(n))}")
        for directory in device:
            root.put_all(directory, {"irq": 0})
            root.put(f"{directory}/msi_irqs/{irq}", "msix")


def put_default_affinity(root, host):
    width, text = host.opt.cpus, mask_text(host.all, host.opt.cpus)
    # %*pb: as many digits as there are CPUs to be written.
    root.put("proc/irq/default_smp_affinity", text[8 - -(-(width % 32 or 32) // 4):])


def put_emulator(root, opt):
    """An emulator that can be found but not run, and libvirt's capability cache for it."""
    path = "/usr/bin/qemu-system-x86_64"
    root.put(path[1:], "#!/bin/false", mode=0o755)
    if opt.qemu_version:
        name = hashlib.sha256(path.encode()).hexdigest()
        root.put(f"var/cache/libvirt/qemu/capabilities/{name}.xml",
                 f"<qemuCaps>\n  <emulator>{path}</emulator>\n  <version>{opt.qemu_version}</version>\n</qemuCaps>")


def drop(root, pattern):
    """Remove what matches, directories with all below them."""
    for directory, dirs, files in os.walk(root.top, topdown=False):
        for name in files + dirs:
            path = os.path.join(directory, name)
            if not fnmatch.fnmatchcase(os.path.relpath(path, root.top), pattern):
                continue
            if os.path.isdir(path) and not os.path.islink(path):
                for d, subdirs, subfiles in os.walk(path, topdown=False):
                    for f in subfiles:
                        os.unlink(os.path.join(d, f))
                    for s in subdirs:
                        os.rmdir(os.path.join(d, s))
                os.rmdir(path)
            else:
                os.unlink(path)


def parser():
    p = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    add = p.add_argument
    add("dir", help="made if it does not exist; must be empty")
    add("--cpus", type=int, default=8, metavar="N", help="logical CPUs (8)")
    add("--smt", type=int, default=1, metavar="N", help="threads per core (1)")
    add("--numbering", choices=("split", "adjacent"), default="split",
        help="siblings of CPU 0 of 8: split 0,4 (as Intel and AMD firmware); adjacent 0,1 (as POWER)")
    add("--nodes", default="1", metavar="N|LIST", help="number of NUMA nodes, or their ids (1)")
    add("--cpuless", default="", metavar="LIST", help="nodes without CPUs")
    add("--packages", type=int, default=0, metavar="N", help="sockets (one per node with CPUs)")
    add("--l3-cpus", type=int, default=0, metavar="N", help="logical CPUs per L3 cache (a package's)")
    add("--memory-per-node", default="16G", metavar="SIZE[,SIZE...]",
        help="per node in order, the last one for the rest; 0: none (16G)")
    add("--hugepages", action="append", default=[], metavar="NODE:SIZE_KIB:TOTAL[:FREE]",
        help="pool of one node; 2048 and 1048576 are always there, with 0 pages")
    add("--offline", default="", metavar="LIST", help="CPUs that are offline")
    add("--capacity", action="append", default=[], metavar="LIST:N", help="cpu_capacity of these CPUs")
    add("--max-freq", action="append", default=[], metavar="LIST:KHZ", help="cpuinfo_max_freq of these CPUs")
    add("--cpufreq", default="", metavar="DRIVER[:CPUS]",
        help="a policy for each CPU, or for so many; drivers: " + ", ".join(CPUFREQ_DRIVERS))
    add("--cgroup", choices=("v1", "v2", "hybrid"), default="v2", help="layout (v2)")
    add("--machined", choices=("yes", "no"), help="domains in scopes of systemd-machined (v2: yes, else no)")
    add("--kernel", default="6.1.0", metavar="RELEASE", help="proc/sys/kernel/osrelease (6.1.0)")
    add("--thp", choices=("always", "madvise", "never"), default="madvise", help="mode in force (madvise)")
    add("--boot-id", default=BOOT_ID, metavar="UUID")
    add("--qemu-version", type=int, default=7002022, metavar="N", help="in libvirt's capability cache; 0: no cache")
    add("--domain", action="append", default=[], type=Domain, metavar="NAME:ID:UUID:VCPUS[:IOTHREADS]",
        help="a running domain: pid and status file, process with threads, cgroups. Its pid is 20000 + 100 * ID, its "
             "threads follow in the order: main, call_rcu, mon_iothread, I/O threads, vCPUs, worker")
    add("--vcpupin", action="append", default=[], metavar="NAME:VCPU:LIST", help="a pin in that domain's status file")
    add("--disk", action="append", default=[], metavar="NAME:MAJOR:MINOR:KIND",
        help="a block device, /dev/NAME; kinds: " + ", ".join(DISK_KINDS))
    add("--resctrl", nargs="?", const="", metavar="WORDS",
        help="resctrl is mounted; mask=7ff, min=1, shared=0 (ways), cdp=1, mb=10, mbmin=10, mbmax=100 (bandwidth, mb=0: none), "
             "classes=16")
    add("--irqs", action="append", default=[], metavar="LIST:CPUS:ACTION[:DIR]",
        help="interrupts; CPUs: a list, all, or each (one each, in turn); * in the name of the handler is a number from 0; "
             "DIR: the PCI function whose vectors they are, in sys/, may be below a class")
    add("--drop", action="append", default=[], metavar="GLOB", help="remove files and directories; * matches / too")
    add("--set", action="append", default=[], metavar="PATH=TEXT", help="write this file, last (\\n is a newline)")
    return p


def make(opt):
    os.makedirs(opt.dir, exist_ok=True)
    if os.listdir(opt.dir):
        sys.exit(f"mkroot.py: {opt.dir} is not empty")
    root, host = Root(opt.dir), Host(opt)
    for d in ("dev", "etc/domtune", "etc/libvirt/hooks", "run/libvirt/qemu", "var/lib", "var/log"):
        os.makedirs(root.path(d))
    put_cpus(root, host)
    if opt.cpufreq:
        put_cpufreq(root, host)
    put_nodes(root, host)
    put_kernel(root, host)
    put_emulator(root, opt)
    cgroups = Cgroups(root, host)
    cgroups.put_mounts()
    pins = [text.rsplit(":", 2) for text in opt.vcpupin]
    for domain in opt.domain:
        put_domain(root, domain, host, cgroups, pins)
    for disk in opt.disk:
        put_disk(root, disk)
    if opt.resctrl is not None:
        put_resctrl(root, host)
    for text in opt.irqs:
        put_irqs(root, host, text)
    if opt.irqs:
        put_default_affinity(root, host)
    for pattern in opt.drop:
        drop(root, pattern)
    root.made.clear()
    for text in opt.set:
        name, value = text.split("=", 1)
        root.put(name, value.replace("\\n", "\n"))


def main():
    os.umask(0o022)
    p = parser()
    if sys.argv[1:] != ["--batch"]:
        return make(p.parse_args())
    for line in sys.stdin:
        make(p.parse_args(shlex.split(line)))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Print the bench's table: ratios from the runner, processes and system calls by strace, instructions by callgrind.

usage: report.py TABLE RESULT [RESULT-OF-ONE-DOMAIN]
"""
import os
import re
import subprocess
import sys
import tempfile

PHASES = ("prepare", "start", "started")
commands = {}
for line in open(sys.argv[1], encoding="utf-8"):
    label, stdin, *words = line.rstrip("\n").split("|")
    env = {"PATH": os.environ["PATH"]}
    env.update(w[1:].split("=", 1) for w in words if w.startswith("="))
    commands[label] = (stdin, [w for w in words if not w.startswith("=")], env)


def run(prefix, label):
    stdin, argv, env = commands[label]
    with open(stdin, "rb") as f:
        subprocess.run(prefix + argv, stdin=f, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, check=False)


def trace(label):
    """(processes, system calls)"""
    with tempfile.NamedTemporaryFile("r") as out:
        run(["strace", "-f", "-qq", "-o", out.name], label)
        lines = [l for l in out.read().splitlines() if not re.search(r"<\.\.\. | resumed>|\+\+\+|---", l)]
    return len({l.split()[0] for l in lines}), len(lines)


def instructions(label):
    """
    Of all its processes. Below another root of the hook's worker alone (the hook gives it no environment of ours): valgrind
    has no openat2(2), so that one of our own is preloaded; 0 where there is none.
    """
    stdin, argv, env = commands[label]
    prefix = ["valgrind", "--tool=callgrind", "--trace-children=yes"]
    with tempfile.TemporaryDirectory() as d:
        prefix.append("--callgrind-out-file=%s/%%p" % d)
        if "DOMTUNE_ROOT" not in env:
            run(prefix, label)
        elif "OPENAT2" in os.environ:
            with open(stdin, "rb") as f:
                xml = f.read()
            uuid = re.search(rb"<uuid>(.*?)</uuid>", xml).group(1).decode()
            order = ["prepare", "started", "release"]
            for at, phase in enumerate(["release"] + order[:order.index(argv[2]) + 1]):
                worker = ["decide", "prepare", str(os.getpid())] if phase == "prepare" else ["apply", phase, uuid]
                worker[0] = "/usr/libexec/domtune/" + worker[0]
                more = {"LD_PRELOAD": os.environ["OPENAT2"]} if at and phase == argv[2] else {} # what comes before is not counted
                subprocess.run((prefix if more else []) + worker, input=xml, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env={**env, **more}, check=False)
        total = 0
        for name in os.listdir(d):
            for l in open(os.path.join(d, name), errors="replace"):
                if l.startswith(("summary:", "totals:")):
                    total += int(l.split()[1])
                    break
    return total


def read(path):
    rows = {}
    for l in open(path, encoding="utf-8"):
        name, *fields = l.rstrip("\n").split("|")
        rows[name] = fields
    return rows


def ratio(rows, name):
    return float(rows[name][0])


def whole(rows):
    """Three hook calls and what the wrapper adds to its emulator."""
    return sum(ratio(rows, "tuned " + p) for p in PHASES) + ratio(rows, "tuned wrapper + true") - 1


def aim(text, value, limit):
    print("%-68s %6.2f  aim %5.2f  %s" % (text, value, limit, "reached" if value <= limit else "not reached"))


def main():
    rows = read(sys.argv[2])
    have_valgrind = not subprocess.run(["sh", "-c", "command -v valgrind"], stdout=subprocess.DEVNULL, check=False).returncode
    counts = {}
    print("%-24s %8s %15s %8s %6s %9s %10s" % ("", "x true", "quartiles", "RSS KiB", "procs", "syscalls", "instr"))
    for name, (median, low, high, _us, rss) in rows.items():
        procs, calls = trace(name)
        count = counts[name] = instructions(name) if have_valgrind else 0
        print("%-24s %8s %15s %8s %6d %9d %10s" % (name, median, "%s - %s" % (low, high), rss, procs, calls,
                                                  "%.2f M" % (count / 1e6) if count else "-"))
    print()
    aim("untouched, the dearest phase", max(ratio(rows, n) for n in rows if n.startswith("untouched")), 1.3)
    for phase in "start", "started", "stopped", "release":
        aim("tuned " + phase, ratio(rows, "tuned " + phase), 2.5)
    for phase in "prepare", "started", "release":
        aim("8 disks and 4 interfaces add to " + phase, ratio(rows, "with devices " + phase) - ratio(rows, "tuned " + phase), 1)
    for phase in "prepare", "started", "release":
        aim("an isolated domain, 230 interrupts, " + phase, ratio(rows, "230 interrupts " + phase), 10)
        if counts["230 interrupts " + phase]:
            aim("the same, million instructions of the worker, file operations included", counts["230 interrupts " + phase] / 1e6, 5.5)
    aim("peak memory of a phase, MiB", max(int(f[4]) for n, f in rows.items() if "hook" not in n) / 1024, 8)
    if len(sys.argv) > 3:
        aim("a whole tuned start, to that without the others", whole(rows) / whole(read(sys.argv[3])), 1.5)
    else:
        aim("a whole tuned start, to the shell hook's three calls", whole(rows) / (3 * ratio(rows, "shell hook")), 1 / 3)
        aim("a whole tuned start, to the Python hook's three calls", whole(rows) / (3 * ratio(rows, "python hook")), 0.1)


main()

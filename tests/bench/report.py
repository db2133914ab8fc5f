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
    """Of all its processes; 0 where valgrind cannot run it (below another root: it has no openat2)."""
    with tempfile.TemporaryDirectory() as d:
        run(["valgrind", "--tool=callgrind", "--trace-children=yes", "--callgrind-out-file=%s/%%p" % d], label)
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
    print("%-24s %8s %15s %8s %6s %9s %10s" % ("", "x true", "quartiles", "RSS KiB", "procs", "syscalls", "instr"))
    for name, (median, low, high, _us, rss) in rows.items():
        procs, calls = trace(name)
        count = instructions(name) if have_valgrind and "DOMTUNE_ROOT" not in commands[name][2] else 0
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
    aim("peak memory of a phase, MiB", max(int(f[4]) for n, f in rows.items() if "hook" not in n) / 1024, 8)
    if len(sys.argv) > 3:
        aim("a whole tuned start, to that without the others", whole(rows) / whole(read(sys.argv[3])), 1.5)
    else:
        aim("a whole tuned start, to the shell hook's three calls", whole(rows) / (3 * ratio(rows, "shell hook")), 1 / 3)
        aim("a whole tuned start, to the Python hook's three calls", whole(rows) / (3 * ratio(rows, "python hook")), 0.1)


main()

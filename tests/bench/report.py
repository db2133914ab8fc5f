#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Print the bench's table: ratios from the runner, processes and system calls by strace, instructions by callgrind."""
import os
import re
import subprocess
import sys
import tempfile

table, result = sys.argv[1:3]
commands = {}
for line in open(table, encoding="utf-8"):
    label, stdin, *words = line.rstrip("\n").split("|")
    env = {"PATH": os.environ["PATH"]}
    env.update(w[1:].split("=", 1) for w in words if w.startswith("="))
    commands[label] = (stdin, [w for w in words if not w.startswith("=")], env)


def run(prefix, label):
    stdin, argv, env = commands[label]
    with open(stdin, "rb") as f:
        return subprocess.run(prefix + argv, stdin=f, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              env=env, check=False).stderr.decode("utf-8", "replace")


def trace(label):
    """(processes, system calls)"""
    with tempfile.NamedTemporaryFile("r") as out:
        run(["strace", "-f", "-qq", "-o", out.name], label)
        lines = [l for l in out.read().splitlines() if not re.search(r"<\.\.\. | resumed>|\+\+\+|---", l)]
    return len({l.split()[0] for l in lines}), len(lines)


def instructions(label):
    with tempfile.TemporaryDirectory() as d:
        run(["valgrind", "--tool=callgrind", "--trace-children=yes", "--callgrind-out-file=%s/%%p" % d], label)
        total = 0
        for name in os.listdir(d):
            for l in open(os.path.join(d, name), errors="replace"):
                if l.startswith(("summary:", "totals:")):
                    total += int(l.split()[1])
                    break
        return total


have_valgrind = subprocess.run(["sh", "-c", "command -v valgrind"], stdout=subprocess.DEVNULL, check=False).returncode == 0
rows = {}
print("%-24s %8s %15s %7s %6s %8s %10s" % ("", "x true", "quartiles", "RSS KiB", "procs", "syscalls", "instr"))
for line in open(result, encoding="utf-8"):
    label, ratio, low, high, _us, rss = line.rstrip("\n").split("|")
    rows[label] = float(ratio)
    procs, calls = trace(label)
    instr = "%.2f M" % (instructions(label) / 1e6) if have_valgrind else "-"
    print("%-24s %8s %15s %7s %6d %8d %10s" % (label, ratio, "%s - %s" % (low, high), rss, procs, calls, instr))


def aim(text, value, limit):
    print("%-68s %6.2f  aim %5.2f  %s" % (text, value, limit, "reached" if value <= limit else "not reached"))


def start(state):
    return sum(rows["tuned %s %s" % (state, p)] for p in ("prepare", "start", "started")) + rows["wrapper + true"] - 1


print()
aim("untouched, the dearest phase", max(v for k, v in rows.items() if k.startswith("untouched")), 1.3)
for phase in "start", "started", "stopped", "release":
    aim("tuned %s" % phase, rows["tuned one %s" % phase], 2.5)
whole = start("one")
aim("whole tuned start to shell hook (three calls)", whole / (3 * rows["shell hook"]), 1 / 3)
aim("whole tuned start to Python hook (three calls)", whole / (3 * rows["python hook"]), 0.1)
aim("whole tuned start with 1,000 domains to one with none", start("many") / whole, 1.5)

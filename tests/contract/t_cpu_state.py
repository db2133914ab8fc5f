#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
States of CPUs of several domains, below fake roots: governors of clocks that two domains have in common, preferences, sleep,
KVM's polling, in all orders of ends, killed at every durable action. After the last release the host is byte for byte what it
was.
"""
import errno
import itertools
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
work = tempfile.mkdtemp(prefix="domtune-cpu-state-")
helpers = os.path.join(work, "domtune")
decide = os.path.join(helpers, "decide")
applier = os.path.join(helpers, "apply")
UUIDS = {"web1": UUID, "db1": "bbbbbbbb-2222-4333-8444-555555555555", "app1": "cccccccc-2222-4333-8444-555555555555"}
# Reserved is CPU 0; CPUs go to web1, db1, app1 in the order in which they start.
TUNES = {
    "web1": "<d:cpu policy='dedicated' governor='performance' wakeup='0' halt-poll='400000'/>",
    "db1": "<d:cpu policy='dedicated' governor='ondemand' wakeup='30' halt-poll='300000'/>",
    "app1": "<d:cpu policy='dedicated' governor='performance' halt-poll='1000'/>",
}
CPU = "sys/devices/system/cpu/"
POLL = "sys/module/kvm/parameters/halt_poll_ns"


def xml(name, tune):
    return domain_xml(name=name, uuid=UUIDS[name], head="<domain type='kvm' id='%d'>" % (7 + list(UUIDS).index(name)), body=(
        "  <metadata>\n    <d:tune xmlns:d='urn:domtune:1'>%s</d:tune>\n  </metadata>\n" % tune))


def make_root(*options):
    domains = [w for i, (n, u) in enumerate(UUIDS.items()) for w in ("--domain", "%s:%d:%s:2" % (n, 7 + i, u))]
    root = made_root("--cpus", "8", *domains, *options)
    root.put("etc/domtune/policy.xml", "<policy xmlns='urn:domtune:1'><host max-dedicated-cpus='100%'/>"
             "<default profile='off'/></policy>\n")
    return root


def run_decide(root, name, tune=None, verb="prepare", **env):
    """With the apply that it becomes."""
    environ = {"DOMTUNE_ROOT": root.dir, "PATH": os.environ["PATH"], **env}
    with open(os.devnull, "wb") as report:
        def prepare():
            os.dup2(report.fileno(), 3)
        return subprocess.run([decide, verb, str(os.getpid())], input=xml(name, tune or TUNES[name]), env=environ,
                              capture_output=True, pass_fds=(3,) if report.fileno() != 3 else (report.fileno(),),
                              preexec_fn=prepare, timeout=60, check=False).returncode


def run_apply(root, verb, name, **env):
    environ = {"DOMTUNE_ROOT": root.dir, "PATH": os.environ["PATH"], **env}
    return subprocess.run([applier, verb, UUIDS[name]], stdin=subprocess.DEVNULL, env=environ, capture_output=True,
                          timeout=60, check=False).returncode


def start(root, name):
    return [run_decide(root, name), run_apply(root, "started", name)]


def state(root):
    """Governors by policy, sleep by CPU, polling."""
    governors = "".join((root.get(CPU + "cpufreq/policy%d/scaling_governor" % p) or "-")[0] for p in range(8))
    sleep = [(root.get(CPU + "cpu%d/power/pm_qos_resume_latency_us" % c) or "?").strip() for c in range(8)]
    return governors, " ".join(sleep), (root.get(POLL) or "?").strip()


def test_there_and_back():
    """One clock for four CPUs: web1 has 1-2, db1 3-4, app1 5-6, so db1 meets both others."""
    root = make_root("--cpufreq", "acpi-cpufreq:4")
    before = root.outside()
    # s(chedutil) p(erformance) o(ndemand)
    expected = {
        (): ("s---s---", "0 0 0 0 0 0 0 0", "200000"),
        ("web1",): ("p---s---", "0 n/a n/a 0 0 0 0 0", "400000"),
        ("db1",): ("o---o---", "0 0 0 30 30 0 0 0", "300000"),
        ("app1",): ("s---p---", "0 0 0 0 0 0 0 0", "200000"),
        ("web1", "db1"): ("p---o---", "0 n/a n/a 30 30 0 0 0", "400000"),
        ("web1", "app1"): ("p---p---", "0 n/a n/a 0 0 0 0 0", "400000"),
        ("db1", "app1"): ("o---p---", "0 0 0 30 30 0 0 0", "300000"),
        ("web1", "db1", "app1"): ("p---p---", "0 n/a n/a 30 30 0 0 0", "400000"),
    }
    results = [r for name in UUIDS for r in start(root, name)]
    bad = [] if state(root) == expected[tuple(UUIDS)] and not any(results) else [(results, state(root))]
    for order, copy in zip(itertools.permutations(UUIDS), copies(root)):
        rest = list(UUIDS)
        for name in order:
            run_apply(copy, "stopped", name)
            status = run_apply(copy, "release", name)
            rest.remove(name)
            if status or state(copy) != expected[tuple(rest)]:
                bad.append((order, name, state(copy), expected[tuple(rest)]))
        if copy.changed(before) or copy.left(UUIDS.values()):
            bad.append((order, copy.changed(before), copy.left(UUIDS.values())))
    tap.ok(not bad, "three domains, two clocks: the strongest governor of those that are left, and all goes back", *bad)
    again = [run_apply(root, "reconnect", name) for name in UUIDS]
    tap.ok(not any(again) and state(root) == expected[tuple(UUIDS)], "reconnect finds all as it is", again, state(root))
    root.remove()


def test_preference():
    root = make_root("--cpufreq", "intel_pstate")
    before = root.outside()
    epp = CPU + "cpufreq/policy%d/energy_performance_preference"
    tune = "<d:cpu policy='dedicated' energy='performance' governor='performance'/>"
    results = [run_decide(root, "web1", tune), run_apply(root, "started", "web1")]
    got = [(root.get(epp % c) or "?").strip() for c in range(4)]
    tap.ok(got == ["balance_performance", "performance", "performance", "balance_performance"] and not any(results),
           "preference and governor", results, got)
    names = [n.rsplit("/", 2)[1:] for n in root.changed(before) if "cpufreq" in n]
    tap.ok(names == [["policy1", "energy_performance_preference"], ["policy1", "scaling_governor"],
                     ["policy2", "energy_performance_preference"], ["policy2", "scaling_governor"]], "of its CPUs only", names)
    # Another governor for the running domain: the preference is its own now, and is written after it.
    status = run_decide(root, "web1", "<d:cpu policy='dedicated' energy='power'/>", verb="retune")
    if status == 0:
        status = run_apply(root, "retune", "web1")
    got = [(root.get(epp % c) or "?").strip() for c in range(4)]
    governors = [(root.get(CPU + "cpufreq/policy%d/scaling_governor" % c) or "?").strip() for c in range(4)]
    tap.ok(status == 0 and got[1:3] == ["power", "power"] and governors == ["powersave"] * 4,
           "retune: the preference without the governor", status, got, governors)
    results = [run_apply(root, "release", "web1")]
    tap.ok(not any(results) and not root.changed(before) and not root.left(UUIDS.values()), "and all goes back", results,
           root.changed(before), root.left(UUIDS.values()))
    root.remove()


def test_somebody_else():
    """What was changed since is left; the rest goes back."""
    root = make_root("--cpufreq", "acpi-cpufreq:4")
    before = root.outside()
    start(root, "web1")
    root.put(POLL, "7\n")
    log = Log(root)
    status = run_apply(root, "release", "web1")
    said = [text for level, text in log.read() if level <= 4]
    tap.ok(status == 0 and root.changed(before) == [POLL] and len(said) == 1 and "changed by somebody else" in said[0],
           "what somebody else has changed is left, with one line", status, root.changed(before), said)
    log.close()
    root.remove()


def test_absent():
    """A host without cpufreq and kvm: each is said in the plan, nothing is a warning, nothing is half done."""
    root = make_root("--drop", POLL, "--drop", CPU + "cpu*/power")
    before = root.outside()
    log = Log(root)
    results = start(root, "web1")
    said = [text for level, text in log.read() if level <= 4 and "no profile 'off'" not in text]
    run = subprocess.run([os.path.join(BUILD, "domtune"), "--root", root.dir, "status", "web1"], capture_output=True, text=True,
                         check=False)
    tap.ok(not any(results) and not said and all(t in run.stdout for t in (
        "no cpufreq", "no pm_qos_resume_latency_us", "no halt_poll_ns")), "what the host lacks is named", results, said,
        run.stdout)
    run_apply(root, "release", "web1")
    tap.ok(not [n for n in root.changed(before) if "cgroup" not in n], "and nothing is left", root.changed(before))
    log.close()
    root.remove()


def test_killed():
    """One domain is in force; the other's prepare, or its release, is killed anywhere."""
    if not can_inject():
        tap.skip("kill -9 at every durable action", "needs a build with SAN=1")
        return
    root = make_root("--cpufreq", "acpi-cpufreq:4")
    before = root.outside()
    start(root, "web1")
    alone = state(root)
    bad = []
    for n, copy in enumerate(copies(root), 1):
        killed = run_decide(copy, "db1", DOMTUNE_CRASH_AT="apply:%d" % n) == -9
        run_apply(copy, "release", "db1")
        if state(copy) != alone:
            bad.append((n, state(copy)))
        run_apply(copy, "release", "web1")
        if copy.changed(before) or copy.left(UUIDS.values()):
            bad.append((n, copy.changed(before), copy.left(UUIDS.values())))
        if not killed:
            break
    tap.ok(not bad and n > 4, "db1 beside web1, killed at each of prepare's %d durable actions" % (n - 1), *bad)
    start(root, "db1")
    bad = []
    for n, copy in enumerate(copies(root), 1):
        killed = run_apply(copy, "release", "db1", DOMTUNE_CRASH_AT="apply:%d" % n) == -9
        run_apply(copy, "release", "db1")
        if state(copy) != alone:
            bad.append((n, state(copy)))
        run_apply(copy, "release", "web1")
        if copy.changed(before) or copy.left(UUIDS.values()):
            bad.append((n, copy.changed(before), copy.left(UUIDS.values())))
        if not killed:
            break
    tap.ok(not bad and n > 4, "db1 beside web1, killed at each of release's %d durable actions" % (n - 1), *bad)
    root.remove()


def test_answers():
    """Each object answers with each error: one line, the rest applies, and all goes back."""
    if not can_inject():
        tap.skip("errors of the kernel", "needs a build with SAN=1")
        return
    bad = []
    for what, code in itertools.product(("scaling_governor", "pm_qos_resume_latency_us", "halt_poll_ns"),
                                        (errno.EBUSY, errno.EINVAL, errno.EIO, errno.EPERM)):
        root = make_root("--cpufreq", "acpi-cpufreq:4")
        before = root.outside()
        log = Log(root)
        results = [run_decide(root, "web1", DOMTUNE_FAULT="%s:%d" % (what, code)), run_apply(root, "started", "web1")]
        said = [text for level, text in log.read() if level <= 4 and what in text]
        mine = root.changed(before)
        others = [w for w in ("scaling_governor", "pm_qos_resume_latency_us", "halt_poll_ns") if w != what]
        results.append(run_apply(root, "release", "web1"))
        # Two CPUs are two settings; what is denied is no warning.
        most = 0 if code == errno.EPERM else 2 if what.startswith("pm_qos") else 1
        if any(results) or [m for m in mine if what in m] or any(not [m for m in mine if o in m] for o in others) or \
                len(said) > most or (most and not said) or root.changed(before) or root.left(UUIDS.values()):
            bad.append((what, errno.errorcode[code], results, mine, said, root.changed(before), root.left(UUIDS.values())))
        log.close()
        root.remove()
    tap.ok(not bad, "an error costs that setting, and nothing else", *bad)


def main():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        os.makedirs(helpers)
        build_with_helpers_in(work, [(decide, DECIDE + ["common/foreign.c", "common/qemucaps.c"],
                                      ["libxml-2.0", "libcgroup"])])
        shutil.copy(os.path.join(BUILD, "apply"), helpers)
        for test in test_there_and_back, test_preference, test_somebody_else, test_absent, test_killed, test_answers:
            test()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    tap.end()


if __name__ == "__main__":
    os.chdir(TOP)
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The hook against its contract, with workers made to fail: whatever they do, and whatever libvirt or a stranger
passes in, the exit status is 0, stdout and stderr stay empty, and the call ends by its deadline. Only a prepare
whose owner asked for on-error="fail" may say no.

The workers are scripts; most write down how they were called.
"""
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hooklib import (BOOT_ID, TOP, UUID, Log, Root, Tap, build_with_helpers_in, call, domain_xml,  # noqa: E402
                     record)

tap = Tap()
work = tempfile.mkdtemp(prefix="domtune-hook-")
hook = os.path.join(work, "qemu")
helpers = os.path.join(work, "domtune")
PHASES = ["prepare", "start", "started", "stopped", "release", "reconnect", "migrate", "restore", "attach"]
# How long a call may take that has a deadline of SHORT_MS and a worker that never ends. The margin is for busy machines:
# a hook that waits for its worker takes a minute.
SHORT_MS = 1500  # long enough for a shell to have begun on a loaded machine
BOUND = 20.0


def worker(name, script, mode=0o755):
    path = os.path.join(helpers, name)
    with open(path, "w", encoding="utf-8") as out:
        out.write("#!/bin/sh\n" + script)
    os.chmod(path, mode)


def workers(script):
    os.makedirs(helpers, exist_ok=True)
    for name in "decide", "apply":
        worker(name, script)


def note_calls():
    """Workers that write down how they were called and succeed."""
    workers('echo "${0##*/} $*" >>"%s/calls"\n' % work)


def calls():
    try:
        with open(os.path.join(work, "calls"), encoding="utf-8") as file:
            return file.read().split("\n")[:-1]
    except OSError:
        return []


def forget_calls():
    if os.path.exists(os.path.join(work, "calls")):
        os.unlink(os.path.join(work, "calls"))


def run(phase, root, stdin=None, name="web1", **more):
    return call(hook, [name, phase, "begin", "-"], domain_xml() if stdin is None else stdin, root, **more)


def with_undo(root):
    root.put("run/domtune/undo/" + UUID, "x")


# ---- which worker is called ----

def test_table():
    pid = os.getpid()
    cases = [
        ("prepare", False, ["decide prepare %d" % pid]),
        ("prepare", True, ["decide prepare %d" % pid]),
        ("start", True, []),
        ("started", False, []),
        ("started", True, ["apply started " + UUID]),
        ("stopped", False, []),
        ("stopped", True, ["apply stopped " + UUID]),
        ("release", False, []),
        ("release", True, ["apply release " + UUID]),
        ("reconnect", False, ["decide adopt %d" % pid]),
        ("reconnect", True, ["apply reconnect " + UUID]),
        ("migrate", True, []),
        ("restore", True, []),
        ("attach", True, []),
        ("", True, []),
        ("no-such-operation", True, []),
        ("prepare ", True, []),
    ]
    note_calls()
    for phase, undo, want in cases:
        root = Root()
        if undo:
            with_undo(root)
        forget_calls()
        result = run(phase, root)
        tap.ok(result.is_silent() and calls() == want,
               "%r %s undo file calls %s" % (phase, "with" if undo else "without", want or "nothing"), result, calls())
        root.remove()


def test_gate():
    mark = "<metadata><x:tune xmlns:x='urn:domtune:1' profile='latency'/></metadata>"
    pin = "<cputune><vcpupin vcpu='0' cpuset='1'/></cputune>"
    cases = [
        ("an idle policy and no annotation", True, domain_xml(), []),
        ("an idle policy and an annotation", True, domain_xml(body=mark), ["decide"]),
        ("an idle policy and pins", True, domain_xml(body=pin), ["decide"]),
        ("an idle policy and an annotation far down", True, domain_xml(body=" " * 200000 + mark), ["decide"]),
        ("a policy that gives something", False, domain_xml(), ["decide"]),
        ("an idle policy and no XML", True, b"", []),
    ]
    note_calls()
    for name, idle, xml, want in cases:
        for phase in "prepare", "reconnect":
            root = Root()
            root.put_gate(idle=idle)
            forget_calls()
            result = run(phase, root, xml)
            tap.ok(result.is_silent() and [c.split()[0] for c in calls()] == want, "%s: %s" % (phase, name), result, calls())
            root.remove()


def test_switch():
    note_calls()
    for phase, undo, want in [("prepare", False, []), ("prepare", True, ["apply release " + UUID]), ("reconnect", False, []),
                              ("release", True, ["apply release " + UUID])]:
        root = Root()
        root.put("etc/domtune/disabled")
        if undo:
            with_undo(root)
        forget_calls()
        result = run(phase, root)
        tap.ok(result.is_silent() and calls() == want, "disabled host: %s calls %s" % (phase, want or "nothing"), result,
               calls())
        root.remove()


# ---- bad input ----

def bad_inputs():
    good = domain_xml()
    entities = b"<!DOCTYPE x [" + b"".join(
        b"<!ENTITY l%d '%s'>" % (i + 1, b"&l%d;" % i * 10) for i in range(9)) + b"]>\n"
    return [
        ("empty", b""),
        ("blank", b" \n\t\n"),
        ("garbage", bytes(range(256)) * 64),
        ("cut in the head", good[:60]),
        ("cut in the middle", good[:len(good) // 2]),
        ("not a domain", b"<network><name>web1</name></network>"),
        ("entities", entities + good),
        ("NUL bytes", good.replace(b"web1", b"we\0b1")),
        ("a hostile UUID", domain_xml(uuid="../../../../etc/passwd")),
        ("a long UUID", domain_xml(uuid="4" * 100000)),
        ("a long name", domain_xml(name="n" * 300000)),
        ("deep nesting", b"<a>" * 100000),
    ]


def test_bad_input():
    note_calls()
    for what, xml in bad_inputs():
        bad = []
        for phase in PHASES:
            root = Root()
            result = run(phase, root, xml)
            if not result.is_silent():
                bad.append((phase, result))
            root.remove()
        tap.ok(not bad, "XML that is %s, every operation" % what, bad)


def huge():
    """100 MB of XML that begins well, without holding it twice."""
    return domain_xml()[:-len(b"</domain>\n")] + b"<!-- " + b"x" * (100 << 20) + b" --></domain>\n"


def test_huge():
    xml = huge()
    # The release of the earlier start is the place to look at the hook from: its parent.
    workers('grep VmHWM /proc/$PPID/status >>"%s/calls"; echo "${0##*/} $1" >>"%s/calls"\n' % (work, work))
    peak = {}
    for what, text in ("small", domain_xml()), ("100 MB", xml):
        root = Root()
        with_undo(root)
        root.put("etc/domtune/disabled")
        forget_calls()
        run("prepare", root, text)
        lines = calls()
        peak[what] = int(lines[0].split()[1]) if lines else 0
        root.remove()
    tap.ok(peak["small"] and peak["100 MB"] - peak["small"] < 8192, "100 MB do not grow the hook by more than 8 MiB", peak)

    note_calls()
    for phase in PHASES:
        root = Root()
        forget_calls()
        result = run(phase, root, xml)
        tap.ok(result.is_silent() and calls() == [] and result.seconds < BOUND, "100 MB of XML: %s does nothing" % phase,
               result, calls())
        root.remove()
    root = Root()
    with_undo(root)
    forget_calls()
    result = run("prepare", root, xml)
    tap.ok(result.is_silent() and calls() == ["apply release " + UUID], "100 MB of XML: what an earlier start left is undone",
           result, calls())
    root.remove()


def test_stdin_without_end():
    note_calls()
    for phase in PHASES:
        root = Root()
        root.put_gate(deadline_ms=SHORT_MS)
        reader, writer = os.pipe()
        os.write(writer, domain_xml()[:40])
        begin = time.monotonic()
        process = subprocess.Popen([hook, "web1", phase, "begin", "-"], stdin=reader, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env={"DOMTUNE_ROOT": root.dir})
        out, err = process.communicate(timeout=60)
        os.close(reader)
        os.close(writer)
        tap.ok(process.returncode == 0 and not out and not err and time.monotonic() - begin < BOUND,
               "stdin that never ends: " + phase, process.returncode, out, err)
        root.remove()


def test_names():
    note_calls()
    names = ["-x", "--help", "a b", "..", "x;rm -rf /", "", "/", "a/b", "$(id)", "%s%n%n", "\n", "\x1b[31m", "é", "\udcff",
             "n" * 100000]
    for name in names:
        bad = []
        for phase in PHASES:
            root = Root()
            before = set(os.listdir(root.dir))
            result = run(phase, root, name=name)
            if not result.is_silent() or set(os.listdir(root.dir)) != before:
                bad.append((phase, result))
            root.remove()
        tap.ok(not bad, "domain name %r" % name[:20], bad)


def test_usage():
    for args in [], ["web1"], ["web1", "prepare"], ["web1", "prepare", "begin"]:
        result = call(hook, args)
        tap.ok(result.status == 0 and not result.out and result.err.startswith(b"domtune: ") and
               result.err.count(b"\n") == 1, "%d arguments: exit 0 and one line" % len(args), result)
    note_calls()
    forget_calls()
    root = Root()
    result = call(hook, ["web1", "prepare", "begin", "shutdown", "and", "more"], domain_xml(), root)
    tap.ok(result.is_silent() and len(calls()) == 1, "any EXTRA and more arguments are taken", result, calls())
    root.remove()


# ---- descriptors, signals, environment ----

def closed(fds):
    def close():
        for fd in fds:
            os.close(fd)
    return close


def test_closed_fds():
    workers('ls -l /proc/self/fd >"%s/calls"\n' % work)
    for fds in [0], [1], [2], [0, 1, 2]:
        for phase in PHASES:
            root = Root()
            with_undo(root)
            process = subprocess.Popen([hook, "web1", phase, "begin", "-"], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       env={"DOMTUNE_ROOT": root.dir}, preexec_fn=closed(fds))
            status = process.wait(timeout=60)
            if status != 0:
                break
            root.remove()
        tap.ok(status == 0, "descriptors %s closed, every operation" % fds, phase, status)
    result = call(hook, [], prepare=closed([2]))
    tap.ok(result.status == 0, "usage with stderr closed", result)

    reader, writer = os.pipe()
    os.close(reader)
    status = subprocess.Popen([hook], stdout=writer, stderr=writer, stdin=subprocess.DEVNULL).wait(timeout=60)
    os.close(writer)
    tap.ok(status == 0, "usage when nobody reads stderr any more (SIGPIPE)", status)


def test_worker_environment():
    # Each line has its own redirection: one around them all, or a pipe, would itself take descriptors of the shell's.
    workers("".join(command + ' >>"%s/calls"\n' % work for command in (
        "ls -l /proc/$$/fd", "env", "grep -E '^(Sig(Blk|Ign)|NSpgid|NSsid):' /proc/self/status",
        'echo "self $$"', "umask", "wc -c")))

    def spoil():
        os.umask(0)
        for sig in signal.SIGPIPE, signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT:
            signal.signal(sig, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})
        os.dup2(1, 77)  # inheritable, as a careless daemon would leave it

    root = Root()
    forget_calls()
    xml = domain_xml()
    result = run("prepare", root, xml, prepare=spoil, env={"LD_LIBRARY_PATH": "/nowhere", "IFS": "x", "BASH_ENV": "/etc/x"})
    lines = calls()
    tap.ok(result.is_silent() and lines, "a worker runs though signals are ignored and blocked", result, lines)
    got = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    ids = {line.split()[0]: line.split()[1] for line in lines if line.startswith("self ")}
    tap.ok(int(got.get("SigBlk", "1"), 16) == 0, "no signal is blocked in the worker", got)
    # 32 and 33 are glibc's own (nptl): sigaction(3) refuses them, and a shell may have been started with them ignored.
    tap.ok(int(got.get("SigIgn", "1"), 16) & ~(3 << 31) == 0, "no signal is ignored in the worker", got)
    tap.ok(got.get("NSsid") == ids.get("self") == got.get("NSpgid"), "the worker leads a session of its own", got, ids)
    tap.ok("0022" in lines, "umask is 022", lines)
    tap.ok(str(len(xml)) in [line.strip() for line in lines], "the worker reads the XML on stdin", lines)
    names = {line.split(" -> ")[0].split()[-1]: line.split(" -> ")[1] for line in lines if " -> " in line}
    opened = {fd for fd in names if fd not in ("0", "1", "2", "3", "10", "11")}  # from 10 on dash keeps its own
    tap.ok(not opened, "no descriptor but 0 to 3", names)
    tap.ok(names.get("2") == "/dev/null" and names.get("3", "").startswith("pipe:"), "2 is /dev/null, 3 the report pipe",
           names)
    shells = ("PWD=", "OLDPWD=", "_=", "SHLVL=")
    environ = sorted(line for line in lines if "=" in line and not line.startswith(shells))
    tap.ok(environ == ["DOMTUNE_DEADLINE=2000,5000", "DOMTUNE_ROOT=" + root.dir, "LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
           "the environment is ours alone", environ)
    root.remove()


# ---- workers that misbehave ----

MISBEHAVIOURS = [
    ("crashes", "kill -SEGV $$"),
    ("aborts", "kill -ABRT $$"),
    ("ends with status 3", "exit 3"),
    ("ends with status 1 and no reason", "exit 1"),
    ("writes to stdout and stderr", "echo '<domain/>'; echo oops >&2"),
    ("reports garbage", "head -c 1000000 /dev/zero >&3; printf 'refused' >&3; exit 1"),
    ("hangs", "exec sleep 60"),
    ("hangs and ignores SIGTERM", "trap '' TERM HUP INT; while :; do sleep 1; done"),
    ("stops itself", "kill -STOP $$"),
    ("floods the report pipe", "exec yes strict-not >&3"),
    ("leaves a child behind", "sleep 60 & exit 0"),
    ("leaves a child in another session behind", "setsid sleep 60 & echo $! >\"$W/left\"; exit 0"),
    ("forks while it hangs", "sleep 60 & sleep 60 & wait"),
]


def remaining(pids):
    """Those of pids that do not go away. A killed process is seen until its new parent has reaped it, which may be late."""
    end = time.monotonic() + BOUND
    while pids and time.monotonic() < end:
        pids = [pid for pid in pids if os.path.exists("/proc/%s" % pid)]
        if pids:
            time.sleep(0.02)
    return pids


def test_misbehaviour():
    for what, script in MISBEHAVIOURS:
        workers('W="%s"\necho "$$" >>"%s/calls"\n%s\n' % (work, work, script))
        for phase in "prepare", "started", "release", "reconnect":
            root = Root()
            root.put_gate(deadline_ms=SHORT_MS)
            with_undo(root)
            forget_calls()
            result = run(phase, root)
            tap.ok(result.is_silent() and result.seconds < BOUND and calls(), "worker %s: %s" % (what, phase), result,
                   calls())
            groups = remaining(calls())
            tap.ok(not groups, "worker %s: %s leaves no worker" % (what, phase), groups)
            left = os.path.join(work, "left")
            if os.path.exists(left):
                with open(left, encoding="utf-8") as file:
                    try:
                        os.kill(int(file.read()), signal.SIGKILL)
                    except (ValueError, ProcessLookupError):
                        pass
                os.unlink(left)
            root.remove()


def test_missing_helpers():
    for what, make in [("missing", lambda: shutil.rmtree(helpers)),
                       ("not executable", lambda: [worker(n, "", 0o644) for n in ("decide", "apply")]),
                       ("not programs", lambda: [shutil.copy("/dev/null", os.path.join(helpers, n))
                                                 for n in ("decide", "apply")])]:
        workers("exit 0\n")
        make()
        for phase in "prepare", "started", "release", "reconnect":
            root = Root()
            with_undo(root)
            result = run(phase, root)
            tap.ok(result.is_silent(), "helpers %s: %s" % (what, phase), result)
            root.remove()
    workers("exit 0\n")


def test_without_pidfd():
    strace = shutil.which("strace")
    probe = strace and subprocess.run([strace, "-o", "/dev/null", "/bin/true"], capture_output=True, check=False)
    if not probe or probe.returncode != 0:
        tap.skip("kernels without pidfd", "missing: strace" if not strace else "strace may not trace here")
        return
    options = ["-o", "/dev/null", "-e", "trace=pidfd_open", "-e", "inject=pidfd_open:error=ENOSYS", hook]
    for what, script, want in [("ends well", "exit 0", 0), ("hangs", "exec sleep 60", 0),
                               ("refuses", "echo strict >&3; echo refused no room >&3; exit 1", 1),
                               ("grows and refuses", "echo growing >&3; sleep 2; echo refused no room >&3; exit 1", 1),
                               ("floods the report pipe", "exec yes >&3", 0)]:
        workers(script + "\n")
        root = Root()
        root.put_gate(deadline_ms=SHORT_MS)
        result = call(strace, options + ["web1", "prepare", "begin", "-"], domain_xml(), root,
                      {"ASAN_OPTIONS": "detect_leaks=0"})  # LeakSanitizer does not work under ptrace(2)
        tap.ok(result.status == want and not result.out and result.seconds < BOUND, "without pidfd: a worker that " + what,
               result)
        root.remove()


def test_log():
    """One warning per failure, with the consequence; what a worker has logged itself is not repeated."""
    cases = [
        ("crash", "kill -SEGV $$", "prepare", ["signal 11", "the guest starts untuned"]),
        ("hang", "exec sleep 60", "prepare", ["not done within %d ms" % SHORT_MS, "the guest starts untuned"]),
        ("hang", "exec sleep 60", "release", ["not done within %d ms" % SHORT_MS, "undone later"]),
        ("failure it logged", "exit 2", "prepare", None),
        ("success", "exit 0", "prepare", None),
    ]
    for what, script, phase, words in cases:
        workers(script + "\n")
        root = Root()
        root.put_gate(deadline_ms=SHORT_MS)
        with_undo(root)
        log = Log(root)
        run(phase, root)
        said = log.warnings()
        tap.ok(not said if words is None else len(said) == 1 and all(w in said[0] for w in words),
               "log: %s in %s" % (what, phase), said)
        log.close()
        root.remove()
    workers("exec sleep 60\n")
    root = Root()
    root.put_gate(deadline_ms=SHORT_MS)
    with_undo(root)
    root.put("run/domtune/ledger", record("ledger", "2", BOOT_ID, "7", "1", "1", "0-7", "0"))
    log = Log(root)
    run("prepare", root)
    said = log.warnings()
    tap.ok(len(said) == 1 and "shared ones may still be on its CPUs" in said[0], "log: late while guests are moved", said)
    log.close()
    root.remove()
    shutil.rmtree(helpers)
    root = Root()
    log = Log(root)
    run("prepare", root, name="a\nb")
    said = log.warnings()
    tap.ok(len(said) == 1 and "/decide could not be run" in said[0] and "\n" not in said[0].rstrip("\n"),
           "log: no helper", said)
    log.close()
    root.remove()


# ---- growing ----

def test_growing():
    """A worker that adds huge pages gets the time for it, once, and only if it says so in a whole line."""
    done = 'sleep 2; echo done >>"%s/calls"' % work
    cases = [
        ("does not say that it grows", done, SHORT_MS, 60000, False, SHORT_MS),
        ("says it without an end of line", "printf growing >&3; " + done, SHORT_MS, 60000, False, SHORT_MS),
        ("says it in another line", "echo not growing >&3; echo growing up >&3; " + done, SHORT_MS, 60000, False, SHORT_MS),
        ("grows", "echo growing >&3; " + done, SHORT_MS, 60000, True, None),
        ("grows and is strict", "echo strict >&3; echo growing >&3; " + done, SHORT_MS, 60000, True, None),
        ("grows too long", "echo growing >&3; exec sleep 60", SHORT_MS, 200, False, SHORT_MS + 200),
        ("knows of a longer deadline", "echo deadline 60000 200 >&3; " + done, SHORT_MS, 200, True, None),
        ("knows of a shorter one", "echo deadline 300 200 >&3; exec sleep 60", 60000, 200, False, 300),
        ("knows of a longer growth", "echo deadline %d 60000 >&3; echo growing >&3; %s" % (SHORT_MS, done), SHORT_MS, 200, True,
         None),
        ("says a deadline that is none", "echo deadline soon >&3; exec sleep 60", SHORT_MS, 200, False, SHORT_MS),
        ("grows twice", "echo growing >&3; sleep 0.8; echo growing >&3; exec sleep 60", SHORT_MS, 1500, False, SHORT_MS + 1500),
    ]
    for what, script, deadline, grow, ends, late in cases:
        workers(script + "\n")
        root = Root()
        root.put_gate(deadline_ms=deadline, grow_ms=grow)
        log = Log(root)
        forget_calls()
        result = run("prepare", root)
        said = log.warnings()
        tap.ok(result.is_silent() and (calls() == ["done"]) == ends, "a worker that %s %s" % (what, "goes on" if ends else
               "is ended"), result, calls())
        tap.ok(not said if late is None else len(said) == 1 and "not done within %d ms" % late in said[0],
               "a worker that %s: the log" % what, said)
        if what == "grows twice":
            tap.ok(2.9 < result.seconds < 4.4, "the deadline is put off once", result)
        log.close()
        root.remove()

    workers("echo strict >&3; echo growing >&3; exec sleep 60\n")
    root = Root()
    root.put_gate(deadline_ms=SHORT_MS, grow_ms=200)
    result = run("prepare", root)
    tap.ok(result.status == 1 and b"not done within %d ms" % (SHORT_MS + 200) in result.err, "strict, and it grows too long: refused", result)
    root.remove()


# ---- on-error="fail" ----

def test_strict():
    cases = [
        ("a refusal", "echo strict >&3; echo 'refused 3 dedicated CPUs asked, 1 free' >&3; exit 1", 1,
         b"domtune: web1: 3 dedicated CPUs asked, 1 free\n"),
        ("a crash after strict", "echo strict >&3; kill -SEGV $$", 1, None),
        ("a hang after strict", "echo strict >&3; exec sleep 60", 1, None),
        ("status 2 after strict", "echo strict >&3; exit 2", 1, None),
        ("success after strict", "echo strict >&3", 0, b""),
        ("a hang without strict", "exec sleep 60", 0, b""),
        ("half a line of strict", "printf stric >&3; exit 2", 0, b""),
        ("control characters", "printf 'refused a\\033[31mb\\r\\tc\\177\\n' >&3; exit 1", 1,
         b"domtune: web1: a?[31mb??c?\n"),
        ("a very long reason", "printf 'refused %01000d\\n' 0 >&3; exit 1", 1, None),
    ]
    for what, script, status, line in cases:
        os.makedirs(helpers, exist_ok=True)
        worker("decide", script + "\n")
        worker("apply", 'echo "apply $*" >>"%s/calls"\n' % work)
        root = Root()
        root.put_gate(deadline_ms=SHORT_MS)
        with_undo(root)
        forget_calls()
        result = run("prepare", root)
        good = result.status == status and not result.out and result.seconds < BOUND
        if line is not None:
            good = good and result.err == line
        else:
            good = good and result.err.startswith(b"domtune: web1: ") and result.err.count(b"\n") == 1
        tap.ok(good and calls() == (["apply release " + UUID] if status else []), "prepare: " + what, result, calls())
        root.remove()
    workers("echo strict >&3; echo refused no >&3; exit 1\n")
    for phase in "started", "stopped", "release", "reconnect":
        root = Root()
        with_undo(root)
        result = run(phase, root)
        tap.ok(result.is_silent(), "%s never refuses" % phase, result)
        root.remove()


# ---- beside another hook ----

def test_second():
    cases = [
        ("ours as qemu", lambda root: shutil.copy(hook, root.path("etc/libvirt/hooks/qemu")), []),
        ("ours as qemu, not executable", lambda root: (shutil.copy(hook, root.path("etc/libvirt/hooks/qemu")), os.chmod(
            root.path("etc/libvirt/hooks/qemu"), 0o644)), ["decide"]),
        ("somebody else's qemu", lambda root: root.put("etc/libvirt/hooks/qemu", "#!/bin/sh\n", 0o755), ["decide"]),
        ("no qemu", lambda root: None, ["decide"]),
        ("a directory as qemu", lambda root: os.mkdir(root.path("etc/libvirt/hooks/qemu")), ["decide"]),
    ]
    note_calls()
    for what, make, want in cases:
        root = Root()
        os.makedirs(root.path("etc/libvirt/hooks/qemu.d"))
        make(root)
        second = root.path("etc/libvirt/hooks/qemu.d/50-domtune")
        shutil.copy(hook, second)
        forget_calls()
        result = call(second, ["web1", "prepare", "begin", "-"], domain_xml(), root)
        tap.ok(result.is_silent() and [c.split()[0] for c in calls()] == want, "as the second hook beside " + what, result,
               calls())
        root.remove()


def test_root():
    note_calls()
    for what, value in ("absent", "/nonexistent/root"), ("a file", "/etc/passwd"), ("too long", "/x" * 5000):
        forget_calls()
        result = call(hook, ["web1", "prepare", "begin", "-"], domain_xml(), env={"DOMTUNE_ROOT": value})
        tap.ok(result.is_silent() and calls() == [], "DOMTUNE_ROOT is %s: nothing is done" % what, result, calls())


def main():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        build_with_helpers_in(work, [(hook, ["hooks/qemu.c", "hooks/supervise.c"], [])])
        for test in [value for name, value in sorted(globals().items()) if name.startswith("test_")]:
            test()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    tap.end()


if __name__ == "__main__":
    os.chdir(TOP)
    main()

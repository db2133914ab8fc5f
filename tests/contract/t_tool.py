#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The admin tool against its contract: exit statuses, one line per error, the shapes of JSON, what a terminal gets to
see, and that showing changes nothing. Hosts are fake roots, libvirt is its own test driver.
"""
import fcntl
import glob
import json
import os
import pty
import re
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import termios

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hooklib import APPLY, BUILD, DECIDE, TOP, UUID, Tap, build_with_helpers_in, domain_xml  # noqa: E402

tap = Tap()
work = tempfile.mkdtemp(prefix="domtune-tool-")
# A copy, since "nobody" may not reach a build below /root.
tool = shutil.copy(os.path.join(BUILD, "domtune"), work)
TUNE = "  <metadata>\n    <d:tune xmlns:d='urn:domtune:1' profile='%s'%s>%s</d:tune>\n  </metadata>\n"
WRAPPER = "/usr/libexec/domtune/qemu-system-x86_64"
with open(os.path.join(BUILD, "config.stamp"), encoding="utf-8") as stamp:
    found = re.search(r'-DDT_LIBEXECDIR="?\'?"?([^"\' ]+)', stamp.read().replace("'", ""))
    if found:
        WRAPPER = found.group(1) + "/domtune/qemu-system-x86_64"


def run(*args, stdin=b"", env=None, user=None):
    environ = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": work}
    for name in "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS":
        if name in os.environ:
            environ[name] = os.environ[name]
    environ.update(env or {})
    return subprocess.run([tool] + list(args), input=stdin, capture_output=True, env=environ, check=False, user=user,
                          group=user, extra_groups=[] if user else None)


def make_root(name, *options):
    root = os.path.join(work, name)
    subprocess.run([sys.executable, os.path.join(TOP, "tests/mkroot.py"), root] + list(options), check=True)
    shutil.copytree(os.path.join(TOP, "install/profiles"), os.path.join(root, "usr/share/domtune/profiles"))
    os.makedirs(os.path.join(root, "etc/domtune"), exist_ok=True)
    return root


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    os.chmod(path, mode)
    return path


def tree(root):
    """All files with their content and modes."""
    files = {}
    for directory, names, leaves in os.walk(root):
        for name in names + leaves:
            path = os.path.join(directory, name)
            st = os.lstat(path)
            content = b""
            if stat.S_ISREG(st.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            files[os.path.relpath(path, root)] = (st.st_mode, content)
    return files


def one_line(done):
    text = done.stderr.decode()
    return text.startswith("domtune: ") and text.count("\n") == 1 and text.count(": ") >= 2


def fails(status, pattern, *args, **more):
    done = run(*args, **more)
    shown = " ".join(a if len(a) < 60 else "..." for a in args) or "(nothing)"
    tap.ok(done.returncode == status and one_line(done) and re.search(pattern, done.stderr.decode()),
           "%s: %d, %s" % (ascii(shown.replace(work, ""))[1:-1], status, pattern.replace(work, "")), done)


def says(pattern, *args, status=0, quiet=True, **more):
    done = run(*args, **more)
    shown = " ".join(args).replace(work, "") or "(nothing)"
    tap.ok(done.returncode == status and re.search(pattern, done.stdout.decode(), re.S | re.M) and
           (not quiet or not done.stderr), "%s: says %s" % (shown, pattern), done)
    return done


def with_terminal(*args, env=None):
    """What the tool writes when stdout is a terminal of 90 columns."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 90, 0, 0))
    environ = {"PATH": "/usr/bin:/bin", "TERM": "xterm", "HOME": work}
    environ.update(env or {})
    with subprocess.Popen([tool] + list(args), stdin=subprocess.DEVNULL, stdout=follower, stderr=subprocess.PIPE,
                          env=environ) as process:
        os.close(follower)
        out = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:
                break
            if not piece:
                break
            out += piece
        err = process.stderr.read()
    os.close(leader)
    return process.returncode, out.decode(errors="surrogateescape"), err.decode()


def keys(value):
    """The shape of JSON: keys in their order, one member for a list."""
    if isinstance(value, dict):
        return {k: keys(v) for k, v in value.items()}
    if isinstance(value, list):
        return [keys(value[0])] if value else []
    return type(value).__name__


def usage(root):
    for args in [["rewrite", "--pin", "-"], ["apply", "--diff", "web1"], ["doctor", "--install"],
                 ["resize", "web1", "--vcpus", "2"], ["--root", root, "revert", "x"]]:
        done = run(*args)
        word = [a for a in args if a in ("rewrite", "apply", "doctor", "resize", "revert")][0]
        tap.ok(done.returncode == 3 and done.stderr.decode() == "domtune: %s: not in this version\n" % word,
               "%s comes later, whatever its options" % word, done)
    for args, pattern in [
        (["frobnicate"], "no such command"), ([""], "no such command"),
        (["--frobnicate"], "--frobnicate: no such option"), (["-x"], "-x: no such option"),
        (["plan"], "needs FILE"), (["plan", "a", "b"], "one operand too many"), (["plan", "--all", "a"], "not both"),
        (["--root"], "--root: needs a value"), (["plan", "--set"], "--set: needs a value"),
        (["plan", "--json=yes", "x"], "takes no value"), (["recover", "--json"], "does not go with it"),
        (["--json"], "does not go with it"), (["set", "web1"], "needs DOMAIN PROFILE"), (["unset"], "needs DOMAIN"),
        (["wrap"], "needs DOMAIN"), (["wrap", "--all", "x"], "not both"),
        (["retune"], "needs DOMAIN"), (["retune", "--all", "x"], "not both"), (["retune", "--json", "x"], "does not go with it"),
        (["wrap", "--off", "x"], "does not go with it"), (["check"], "needs FILE"),
        (["plan", "--version"], "does not go with it"), (["profiles", "a", "b"], "too many"),
    ]:
        fails(2, pattern, *args)
    fails(3, "/nonexistent", "--root", "/nonexistent")
    fails(3, "no such profile", "--root", root, "profiles", "nosuch")
    fails(3, "", "--root", root, "profiles", "../latency")
    says(r"^domtune \d+\.\d+", "--version")
    for command in ("", "plan", "profiles", "set", "unset", "wrap", "unwrap", "enable", "disable", "status", "verify",
                    "retune", "recover", "check", "capture"):
        done = says(r"--root DIR", *([command] if command else []), "--help")
        tap.ok(not re.search(b"rewrite|revert|resize|doctor", done.stdout), "help %s: nothing of later versions" % command)


def planning_lists(root):
    """CPUs that are not there: in the policy's list, in the domain's."""
    path = write(os.path.join(work, "holes.xml"), domain_xml().replace(
        b"<vcpu placement='static'>2</vcpu>", b"<vcpu current='2'>4</vcpu><vcpus><vcpu id='0' enabled='yes'/><vcpu id='1' enabled='no'/>"
        b"<vcpu id='2' enabled='no'/><vcpu id='3' enabled='yes'/></vcpus>"))
    plan = json.loads(run("plan", "--json", "--root", root, "--set", "cpu.policy=dedicated", path).stdout)
    tap.ok([v["vcpu"] for v in plan["placement"]["vcpus"]] == [0, 3] and plan["placement"]["vcpus"][0]["cpus"],
           "vCPUs that are offline are not placed", plan["placement"])
    done = says("vCPUs +0 on [0-9]+, 3 on [0-9]+ *$", "plan", "--root", root, "--set", "cpu.policy=dedicated", path)
    policy = os.path.join(root, "etc/domtune/policy.xml")
    for reserved, want, said in [("2-3,200", "2-3", "reserved-cpus: CPUs 200 are not online, left out"),
                                 ("200-201", "0,8", "reserved-cpus: none of 200-201 is online, the default is used"),
                                 ("2-3", "2-3", None)]:
        write(policy, "<policy xmlns='urn:domtune:1'><host reserved-cpus='%s'/></policy>" % reserved)
        done = json.loads(run("plan", "--json", "--root", root, path).stdout)
        host = json.loads(run("status", "--json", "--root", root).stdout)["host"]
        tap.ok(host["reserved"] == want and [w for w in done["warnings"] if "reserved" in w] == ([said] if said else []),
               "reserved-cpus %s" % reserved, (host, done["warnings"]))
    write(policy, "<policy xmlns='urn:domtune:1'><default profile='nosuch'/></policy>")
    done = json.loads(run("plan", "--json", "--root", root, "--profile", "nosuch", path).stdout)
    tap.ok(done["warnings"] == ["no profile 'nosuch'"] and done["profile_source"] == "none", "one name, one warning", done)
    os.unlink(policy)


def planning(root):
    xml = domain_xml(body=TUNE % ("latency", "", "<d:cpu weight='200'/>"))
    path = write(os.path.join(work, "web1.xml"), xml)
    before = tree(root)
    plain = run("--root", root, "plan", "--json", path).stdout
    tap.ok(plain and plain == run("plan", path, "--json", "--root", root).stdout == run(
        "plan", "--root=" + root, "--json", "-", stdin=xml).stdout, "options anywhere, file and stdin: the same bytes")
    tap.ok(plain == run("plan", "--json", "--root", root, path, env={"LC_ALL": "de_DE.UTF-8", "COLUMNS": "40"}).stdout,
           "neither locale nor width changes JSON")
    plan = json.loads(plain)
    tap.ok(list(plan) == ["version", "domain", "profile", "profile_source", "on_error", "wrapper", "refused", "placement",
                          "settings", "skipped", "warnings"], "plan: keys in the contract's order", list(plan))
    tap.ok(list(plan["placement"]) == ["policy", "nodes", "memory_nodes", "memory_policy", "vcpus", "emulator", "iothreads"],
           "placement: keys")
    tap.ok(all(list(s) == ["knob", "target", "stage", "value", "current", "source", "why"] and
               all(isinstance(v, str) for v in s.values()) for s in plan["settings"]) and plan["settings"], "settings: keys")
    tap.ok(plan["version"] == 1 and plan["wrapper"] is False and plan["refused"] is None and plan["on_error"] == "warn" and
           plan["placement"]["vcpus"][0]["vcpu"] == 0 and isinstance(plan["placement"]["vcpus"][0]["cpus"], str), "plan: types")
    says("profile balanced", "plan", "--root", root, "--profile", "balanced", path)
    says("cpu.weight .*900 .*annotation", "plan", "--root", root, "--set", "cpu.weight=200", "--set", "cpu.weight=900", path)
    fails(2, "cpu.weight: '0' is not 1..10000", "plan", "--root", root, "--set", "cpu.weight=0", path)
    fails(2, "--set: ", "plan", "--root", root, "--set", "cpu", path)
    fails(2, "--set: ", "plan", "--root", root, "--set", "gpu.weight=1", path)
    refused = write(os.path.join(work, "refused.xml"), domain_xml(body=TUNE % ("latency", " on-error='fail'", ""))
                    .replace(b">2</vcpu>", b">500</vcpu>"))
    done = says('"refused": "', "plan", "--json", "--root", root, refused, status=1)
    tap.ok("500 dedicated CPUs" in json.loads(done.stdout)["refused"], "refused: what was asked")
    says("^refused: .*500 dedicated", "plan", "--root", root, refused, status=1)
    for name, text, pattern in [
        ("empty", b"", "."), ("text", b"hello", "line 1"), ("other", b"<network/>", "."),
        ("cut", xml[:200], "line"), ("doctype", b"<!DOCTYPE domain [<!ENTITY a 'b'>]>" + xml, "."),
        ("large", b"<domain>" + b" " * (5 << 20) + b"</domain>", "larger than 4 MiB"), ("nul", xml[:90] + b"\0" + xml[90:], "."),
    ]:
        fails(3, pattern, "plan", "--root", root, write(os.path.join(work, name + ".xml"), text))
        fails(3, pattern, "plan", "--root", root, "-", stdin=text)
    fails(3, "No such file", "plan", "--root", root, os.path.join(work, "absent.xml"))
    fails(3, "directory", "plan", "--root", root, work + "/")
    tap.ok(tree(root) == before, "planning has changed nothing")
    write(os.path.join(root, "etc/libvirt/qemu/web1.xml"), xml)
    write(os.path.join(root, "etc/libvirt/qemu/-dash b.xml"), domain_xml(name="-dash b"))
    tap.ok(run("plan", "--json", "--root", root, "web1").stdout == plain, "a name is looked up below the root")
    says("^-dash b:", "plan", "--root", root, "--", "-dash b")
    plans = json.loads(run("plan", "--json", "--all", "--root", root).stdout)
    tap.ok([p["domain"]["name"] for p in plans] == ["-dash b", "web1"] and plans[1] == plan, "--all: a list", plans)
    for name in "nosuch", "..", "a b":
        fails(3, "no such domain", "plan", "--root", root, name)
    fails(3, "--live", "plan", "--live", "--root", root, "web1")
    shutil.rmtree(os.path.join(root, "etc/libvirt"))


def showing(root):
    evil = "w\u202eeb&#x85;&#x9b;31m&#x7f;\u2066<b>é".replace("<b>", "&lt;b&gt;")
    path = write(os.path.join(work, "evil.xml"), domain_xml(name=evil, body=TUNE % ("latency", "", "")))
    for args in [], ["--json"]:
        done = run("plan", "--root", root, *args, path)
        text = done.stdout.decode()
        if not args:
            tap.ok(not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]", text) and "é" in text,
                   "control characters do not reach the terminal", text[:80])
        else:
            tap.ok("\u202e" in json.loads(text)["domain"]["name"] and "\x7f" not in text, "JSON keeps the name", text[:200])
    fails(3, "no such domain", "plan", "--root", root, "x\x1b[31my\nz")
    lines = run("plan", "--root", root, os.path.join(work, "web1.xml"), env={"COLUMNS": "72"}).stdout.decode().splitlines()
    tap.ok(lines and max(len(line) for line in lines) <= 72, "tables are fitted to the width", *[x for x in lines if len(x) > 72])
    tap.ok(not any(line.endswith(" ") for line in lines), "no blanks at the ends of lines")
    status, text, err = with_terminal("plan", "--root", root, os.path.join(work, "web1.xml"))
    plain = re.sub("\033\\[[0-9]*m", "", text).replace("\r", "").splitlines()
    tap.ok(status == 0 and not err and "\033[1m" in text and max(len(x) for x in plain) <= 90, "colour and width of a terminal")
    for env in {"NO_COLOR": "1"}, {"TERM": "dumb"}:
        tap.ok("\033" not in with_terminal("plan", "--root", root, os.path.join(work, "web1.xml"), env=env)[1],
               "no colour with %s" % list(env)[0])
    tap.ok(b"\033" not in run("plan", "--root", root, os.path.join(work, "web1.xml"), env={"TERM": "xterm"}).stdout,
           "no colour off a terminal")
    says("reserved +2 +0,8.*NODE +CPUS.*none is tuned", "--root", root)
    says("^realtime, inherits latency.*cpu.policy +isolated +realtime +now.*memory.prealloc +yes +latency.*disk\\[\\*\\].scheduler",
         "--root", root, "profiles", "realtime")
    says("^PROFILE.*^balanced.*^gaming +latency", "--root", root, "profiles")
    full = subprocess.run("exec %s --root '%s' plan '%s/web1.xml' >/dev/full" % (tool, root, work), shell=True,
                          capture_output=True, check=False)
    tap.ok(full.returncode == 3 and one_line(full), "a full disk is an error", full)


def checking(root):
    ns = "xmlns='urn:domtune:1'"
    for name, text, messages in [
        ("good", "<tune %s profile='latency'><cpu weight='5'/></tune>" % ns, []),
        ("as-for-virsh", "<tune profile='latency'><memory pages='2M'/></tune>", []),
        ("unknown", "<tune %s>\n  <cpu colour='red'/>\n  <gpu/></tune>" % ns, [(2, 8, "warning"), (3, 3, "warning")]),
        ("value", "<tune><cpu\n policy='sharde'/></tune>", [(2, 2, "warning")]),
        ("no-profile", "<tune profile='nosuch'/>", [(1, 7, "warning")]),
        ("profile", "<profile %s name='x' inherits='nosuch'/>" % ns, [(1, 41, "warning")]),
        ("profile-name", "<profile %s name='a b'/>" % ns, [(1, 32, "warning")]),
        ("no-namespace", "<profile name='x'/>", [(1, 1, "error")]),
        ("policy", "<policy %s>\n<default profile='nosuch'/></policy>" % ns, [(2, 10, "warning")]),
        ("rules-profile", "<policy %s>\n<rule match='name' take='nova'/>\n<rule match='name'\n profile='nosuch'/></policy>" % ns,
         [(4, 2, "warning")]),
        ("rule", "<policy %s>\n<rule match='a:b' profile='off'/></policy>" % ns, [(2, 7, "warning")]),
        ("broken-policy", "<policy %s>\n<default></policy>" % ns, [(2, None, "error")]),
        ("what", "<what/>", [(1, 1, "error")]), ("nothing", "", [(0, 0, "error")]),
        ("domain", domain_xml().decode(), []),
        ("tuned-domain", domain_xml(body=TUNE % ("nosuch", "", "<d:cpu a='b'/>")).decode(), [(11, None, "warning")] * 2),
    ]:
        path = write(os.path.join(work, "check", name), text)
        done = run("check", "--json", "--root", root, path)
        got = json.loads(done.stdout)
        lines = [(m["line"], m["column"], m["level"]) for m in got["messages"]]
        tap.ok(done.returncode == (1 if messages else 0) and not done.stderr and list(got) == ["version", "messages"] and
               len(lines) == len(messages) and all(all(w is None or w == g for w, g in zip(want, have))
                                                   for want, have in zip(messages, lines)), "check %s" % name, got)
        tap.ok(all(m["file"] == path for m in got["messages"]), "check %s: the file's name" % name)
        done = run("check", "--root", root, "-", stdin=text.encode())
        tap.ok(done.returncode == (1 if messages else 0) and len(done.stdout.splitlines()) == len(messages) and
               all(re.match(r"stdin(:\d+(:\d+)?)?: (warning|error): ", x) for x in done.stdout.decode().splitlines()),
               "check %s from stdin" % name, done)
    shipped = [os.path.join(TOP, "install/profiles", p) for p in os.listdir(os.path.join(TOP, "install/profiles"))]
    done = run("check", "--root", root, os.path.join(TOP, "install/policy.xml"), *shipped)
    tap.ok(done.returncode == 0 and not done.stdout, "what is shipped is valid", done)
    good = os.path.join(work, "check/good")
    done = run("check", "--root", root, os.path.join(work, "absent"), os.path.join(work, "check/value"), good)
    tap.ok(done.returncode == 3 and one_line(done) and b"value:2:2: warning" in done.stdout, "the other files are checked", done)


def switching(root):
    before = tree(root)
    says("^disabled", "disable", "--root", root)
    tap.ok(os.path.exists(os.path.join(root, "etc/domtune/disabled")), "the file is there")
    says("^disabled", "--root", root, "disable")
    says("disabled.*domtune enable", "--root", root)
    tap.ok(json.loads(run("status", "--json", "--root", root).stdout)["host"]["enabled"] is False, "status: enabled is false")
    says("^enabled", "enable", "--root", root)
    says("^enabled", "enable", "--root", root)
    tap.ok(tree(root) == before, "enabled again: nothing is left")
    if os.geteuid() == 0:
        os.chmod(work, 0o755)
        fails(3, "etc/domtune/disabled: Permission denied", "disable", "--root", root, user=65534)


NODE = """<node>
  <domain type='test'>
    <name>web1</name>
    <uuid>%s</uuid>
    <memory unit='MiB'>512</memory>
    <vcpu>2</vcpu>
    <os><type arch='x86_64'>hvm</type></os>
    <devices><emulator>%s</emulator></devices>
    %s
  </domain>
</node>
"""


def with_libvirt(root):
    """The test driver keeps its domains for one connection: each call sees them as the file has them."""
    def uri(name, emulator="/usr/bin/qemu-system-x86_64", more=""):
        return "test://" + write(os.path.join(work, name + ".node"), NODE % (UUID, emulator, more))

    probe = run("plan", "--connect", "test:///default", "--root", root, "test")
    if b"libvirt.so.0" in probe.stderr:
        tap.skip("libvirt", "missing: libvirt0")
        return
    plain = ["--root", root, "--connect", uri("plain")]
    annotated = ["--root", root, "--connect", uri("annotated", more="<metadata><a:tune xmlns:a='urn:domtune:1' "
                 "profile='latency'>\n<a:cpu weight='7' quota='50%'/></a:tune></metadata>")]
    off = ["--root", root, "--connect", uri("off", more="<metadata><a:tune xmlns:a='urn:domtune:1' profile='off'/></metadata>")]
    wrapped = ["--root", root, "--connect", uri("wrapped", WRAPPER)]
    for emulator in "usr/bin/qemu-system-x86_64", "opt/qemu-mine", "usr/bin/qemu-system-sparc":
        write(os.path.join(root, emulator), emulator, 0o755)
    before = tree(root)

    says("profile balanced", "plan", "web1", *plain)
    says("profile balanced", "plan", UUID, *plain)
    fails(3, "no such domain", "plan", "nosuch", *plain)
    tap.ok(len(json.loads(run("plan", "--all", "--json", *plain).stdout)) == 1, "plan --all asks libvirt")
    fails(3, "web1: no such domain", "set", "web1", "latency", "--root", root, "--connect", "test:///default")
    fails(2, "latenzy: there is no such profile, only .*balanced", "set", "web1", "latenzy", *plain)
    fails(2, "cpu.weight: 'x' is not 1..10000", "set", "web1", "off", "cpu.weight=x", *plain)
    fails(2, "'cpu.wait': there is no attribute", "set", "web1", "off", "cpu.wait=1", *plain)
    fails(2, "is not ELEM.ATTR=VALUE", "set", "web1", "off", "cpu.weight", *plain)
    fails(2, "only disk and interface have a target", "set", "web1", "off", "cpu[0].weight=5", *plain)
    says('<tune profile="latency"><cpu weight="9"/><disk target="vda" scheduler="none" read-ahead="4"/>'
         '<disk target="\\*" io="native"/></tune>', "set", "web1", "latency", "cpu.weight=9", "disk[vda].scheduler=none",
         "disk.io=native", "disk[vda].read-ahead=4", *plain)
    says("memory.pages.*needs the wrapper, domtune wrap web1.*Skipped.*the domain has no", "set", "web1", "latency", *plain)
    says('<tune profile="off"><cpu quota="50%"/></tune>', "set", "web1", "off", "cpu.weight=", *annotated)
    says('<tune profile="off"/>', "set", "web1", "off", "cpu.weight=", "cpu.quota=", *annotated)
    says("takes effect at the next start", "set", "web1", "off", *plain)
    says("no longer annotated", "unset", "web1", *annotated)
    says("has no annotation", "unset", "web1", *plain)
    fails(3, "no such domain", "unset", "nosuch", *plain)
    tap.ok(tree(root) == before, "annotations are not kept in files of ours")

    fails(3, "there is no wrapper for its emulator /usr/bin/qemu-system-x86_64, %s is missing" % WRAPPER, "wrap", "web1", *plain)
    write(root + WRAPPER, "wrapper", 0o755)
    says("web1: wrapped", "wrap", "web1", *plain)
    kept = os.path.join(root, "var/lib/domtune/emulator", UUID)
    with open(kept, encoding="utf-8") as file:
        tap.ok(file.read() == "/usr/bin/qemu-system-x86_64\n", "the replaced emulator is kept")
    tap.ok(stat.S_IMODE(os.stat(os.path.join(root, "var/lib/domtune")).st_mode) == 0o700, "only root may look")
    says("web1: unwrapped", "unwrap", "--all", *wrapped)
    tap.ok(not os.path.exists(kept), "unwrapped: the record is gone")
    says("is wrapped already", "wrap", "web1", *wrapped)
    says("is not wrapped", "unwrap", "--all", *plain)
    fails(3, "self|not one that the wrapper would find.*work without the wrapper", "wrap", "web1", "--root", root, "--connect",
          uri("mine", "/opt/qemu-mine"))
    fails(3, "not one that the wrapper would find|no wrapper", "wrap", "web1", "--root", root, "--connect",
          uri("sparc", "/usr/bin/qemu-system-sparc"))
    says("wrapped", "set", "--wrap", "web1", "throughput", *plain)
    os.unlink(kept)
    os.unlink(os.path.join(root, "usr/bin/qemu-system-x86_64"))
    fails(3, "the emulator behind .* cannot be found", "unwrap", "web1", *wrapped)
    write(os.path.join(root, "usr/bin/qemu-system-x86_64"), "usr/bin/qemu-system-x86_64", 0o755)

    says("web1: profile off", "disable", "web1", *annotated)
    says(r'web1: <tune profile="latency">.*weight="7"', "enable", "web1", *off)
    says("web1: profile off taken out", "enable", "web1", *off)
    says("web1: is not disabled", "enable", "web1", *annotated)
    says("profile off, unwrapped", "disable", "web1", *wrapped)
    says("profile off taken out, wrapped", "enable", "web1", *off)
    done = run("disable", "nosuch", "web1", *annotated)
    tap.ok(done.returncode == 3 and one_line(done) and b"web1: profile off" in done.stdout, "the other names are done", done)
    fails(3, "libvirt: ", "unset", "web1", "--connect", "test:///nonexistent")
    fails(3, "libvirt: ", "plan", "web1", env={"LIBVIRT_DEFAULT_URI": "test:///nonexistent"})
    says("nothing is in force for it", "status", "web1", *plain)
    fails(3, "no such domain", "status", "nosuch", *plain)
    fails(3, "no such domain", "verify", "nosuch", *plain)


def in_force():
    """A start under a fake root, by hook, decide and apply; then what the tool sees of it."""
    libexec = os.path.join(work, "libexec")
    os.makedirs(os.path.join(libexec, "domtune"))
    hook = os.path.join(work, "qemu-hook")
    build_with_helpers_in(libexec, [
        (hook, ["hooks/qemu.c", "hooks/supervise.c"], []),
        (os.path.join(libexec, "domtune/decide"), DECIDE, ["libxml-2.0", "libcgroup"]),
        (os.path.join(libexec, "domtune/apply"), APPLY, []),
    ])
    root = make_root("host", "--cpus", "16", "--smt", "2", "--nodes", "2", "--cgroup", "v2", "--machined", "no", "--domain",
                     "web1:7:%s:2" % UUID)
    policy = "<policy xmlns='urn:domtune:1'><sysctl name='net.core.rmem_max' at-least='16777216'/></policy>"
    write(os.path.join(root, "etc/domtune/policy.xml"), policy)
    before = tree(root)
    xml = domain_xml(body=TUNE % ("latency", "", "<d:cpu weight='300' quota='150%'/>"))

    def call(phase):
        done = subprocess.run([hook, "web1", phase, "begin", "-"], input=xml, capture_output=True, check=False,
                              env={"DOMTUNE_ROOT": root, "LC_ALL": "C", "PATH": "/usr/bin:/bin"})
        tap.ok(done.returncode == 0 and not done.stdout, "hook %s" % phase, done)

    call("prepare")
    says("^ +web1 +prepared +1,9", "--root", root)
    says("web1: prepared.*cpu.weight .*not yet", "status", "--root", root)
    call("started")
    done = says("web1: started since \\d{4}-", "status", "--root", root)
    report = json.loads(run("status", "--json", "--root", root, "web1").stdout)
    tap.ok(list(report) == ["version", "host", "domains"] and
           list(report["host"]) == ["mode", "enabled", "reserved", "claimed", "shared", "pools"] and
           list(report["host"]["pools"][0]) == ["node", "size", "total", "free", "claimed"] and
           list(report["domains"][0]) == ["name", "uuid", "state", "profile", "wrapper", "since", "placement", "settings",
                                          "skipped", "warnings"] and
           list(report["domains"][0]["settings"][0]) == ["knob", "target", "value", "effective", "original", "claims", "source",
                                                         "why"], "status: keys in the contract's order", keys(report))
    host, domain = report["host"], report["domains"][0]
    tap.ok(host["claimed"] == "1,9" and host["reserved"] == "0,8" and host["shared"] == "2-7,10-15", "CPUs are divided", host)
    settings = {(s["knob"], s["target"]): s for s in domain["settings"]}
    tap.ok(domain["state"] == "started" and domain["profile"] == "latency", "status: the domain", domain)
    sysctl, weight = settings.get(("sysctl", "net.core.rmem_max")), settings.get(("cpu.weight", ""))
    tap.ok(sysctl and sysctl["effective"] == "16777216" and sysctl["original"] == "212992" and sysctl["claims"] == [UUID] and
           sysctl["source"] == "default", "status: a shared object has its claims", sysctl)
    tap.ok(weight and weight["effective"] == "300" and weight["original"] == "100" and not weight["claims"],
           "status: effective and original", weight)
    quota = settings.get(("cpu.quota", ""))
    tap.ok(quota and quota["value"] == quota["effective"] == "150%" and quota["original"] == "max 100000",
           "status: effective compares with the value, whatever the kernel's unit", quota)
    says(r"cpu.quota +- +150% +150% \(cpu.max 150000 100000\) +max 100000", "status", "--root", root)
    limit = [path for path in tree(root) if path.endswith("/cpu.max") and b"150000" in tree(root)[path][1]]
    write(os.path.join(root, limit[0]), "250000 100000\n")
    drift = json.loads(run("status", "--json", "--root", root, "web1").stdout)["domains"][0]["settings"]
    tap.ok([s["effective"] for s in drift if s["knob"] == "cpu.quota"] == ["250000 100000"], "status: what else it is, as it is")
    write(os.path.join(root, limit[0]), "150000 100000\n")
    verify = json.loads(run("verify", "--json", "--root", root).stdout)
    tap.ok(list(verify) == ["version", "domains", "leftovers"] and verify["leftovers"] == [] and
           list(verify["domains"][0]) == ["name", "uuid", "settings"] and
           list(verify["domains"][0]["settings"][0]) == ["knob", "target", "wanted", "written", "effective", "ok", "why"],
           "verify: keys in the contract's order", keys(verify))
    says("ok +cpu.weight +- +300 +300 +300", "verify", "--root", root, "web1")
    says("started", "verify", "--root", root)
    if os.geteuid() == 0:
        os.chmod(work, 0o755)
        fails(3, "Permission denied", "status", "--root", root, "web1", user=65534)
        says("^ +web1 +started", "--root", root, user=65534)

    captured = run("capture", "--root", root).stdout
    twin = os.path.join(work, "twin")
    write(os.path.join(work, "host.tar"), captured)
    with tarfile.open(os.path.join(work, "host.tar")) as archive:
        archive.extractall(twin)
    other = write(os.path.join(work, "web2.xml"), xml.replace(b"web1", b"web2").replace(UUID[:8].encode(), b"00000001"))
    here, there = (run("plan", "--json", "--root", r, other).stdout for r in (root, twin))
    tap.ok(here and here == there and b'"cpus": "1"' not in here, "capture: the same plan there, beside the same claims", here)
    tap.ok(captured == run("capture", "--root", root).stdout, "capture: the same bytes twice")

    sysctl_file = os.path.join(root, "proc/sys/net/core/rmem_max")
    write(sysctl_file, "4096\n")
    done = says("NO +sysctl .*16777216 +16777216 +4096 +changed by somebody else", "verify", "--root", root, status=1)
    verify = json.loads(run("verify", "--json", "--root", root, "web1").stdout)
    tap.ok([s["knob"] for s in verify["domains"][0]["settings"] if not s["ok"]] == ["sysctl"], "verify: only that one drifted",
           verify)
    write(sysctl_file, "16777216\n")
    says("started", "verify", "--root", root)

    says("nothing was left behind", "recover", "--root", root)  # its process is there
    shutil.rmtree(os.path.join(root, "proc/20700"))
    os.unlink(os.path.join(root, "run/libvirt/qemu/web1.pid"))
    says("web1 .* is gone.*undone: what 1 dead domain left behind", "recover", "--root", root, quiet=False)
    says("nothing is in force, nothing was left behind", "verify", "--root", root)
    gone = {n for n in before if n.startswith("proc/20700") or n == "run/libvirt/qemu/web1.pid"}
    after = {n: v for n, v in tree(root).items() if not n.startswith("run/domtune")}
    changed = [n for n in set(before) | set(after) if n not in gone and before.get(n) != after.get(n)]
    tap.ok(not changed, "recovered: the host is as it was", changed)
    write(os.path.join(root, "run/domtune/undo/rubbish"), "x")
    write(os.path.join(root, "run/domtune/plan", UUID), "x")
    says("undo/rubbish: not a file of ours.*plan/%s: its domain has no claim" % UUID, "verify", "--root", root, status=1)


def retuning():
    """A domain of the test driver that has a process under the fake root: started by the hook, then decided again."""
    if os.geteuid() != 0:
        fails(3, "only root can", "retune", "web1")
        return
    libexec = os.path.join(work, "libexec")
    mine = os.path.join(work, "domtune-retune")
    build_with_helpers_in(libexec, [(mine, sorted(glob.glob("tool/*.c", root_dir=TOP)) + ["hooks/supervise.c"],
                                     ["libxml-2.0", "libcgroup", "json-c", "numa"])])
    root = make_root("again", "--cpus", "16", "--smt", "2", "--nodes", "2", "--cgroup", "v2", "--machined", "no", "--domain",
                     "web1:7:%s:2" % UUID)
    write(os.path.join(root, "etc/domtune/policy.xml"),
          "<policy xmlns='urn:domtune:1'><sysctl name='net.core.rmem_max' at-least='16777216'/></policy>")
    group = [os.path.dirname(path) for path in tree(root) if path.endswith("/cpu.max") and "web1" in path][0]
    groups = [group]
    while os.path.dirname(groups[-1]) != "sys/fs/cgroup":
        groups.append(os.path.dirname(groups[-1]))
    for path in groups:
        write(os.path.join(root, path, "memory.min"), "0\n")
    before = tree(root)

    def uri(profile, more=""):
        return "test://" + write(os.path.join(work, "again.node"), NODE % (
            UUID, "/usr/bin/qemu-system-x86_64", "<metadata><a:tune xmlns:a='urn:domtune:1' profile='%s'>%s</a:tune></metadata>" %
            (profile, more)))

    def retune(status, pattern, *args, err=""):
        done = subprocess.run([mine, "--root", root, "retune"] + list(args), capture_output=True, check=False,
                              env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"})
        tap.ok(done.returncode == status and re.search(pattern, done.stdout.decode(), re.S) and
               re.search(err or "^$", done.stderr.decode()), "retune %s: %d, %s" % (" ".join(args).replace(work, ""), status,
                                                                                   pattern or err), done)

    def weights():
        domain = json.loads(run("status", "--json", "--root", root, "web1").stdout)["domains"]
        return {s["knob"]: s["effective"] for d in domain for s in d["settings"] if not s["target"]}

    retune(3, "^$", "web1", err="nothing runs below --root")
    if b"libvirt.so.0" in run("plan", "--connect", "test:///default", "--root", root, "test").stderr:
        tap.skip("retune", "missing: libvirt0")
        return
    retune(3, "^$", "nosuch", "--connect", uri("balanced"), err="nosuch: no such domain")
    xml = domain_xml(body=TUNE % ("latency", "", "<d:cpu weight='300' quota='150%'/>"))
    for phase in "prepare", "started":
        done = subprocess.run([os.path.join(work, "qemu-hook"), "web1", phase, "begin", "-"], input=xml, capture_output=True,
                              check=False, env={"DOMTUNE_ROOT": root, "LC_ALL": "C", "PATH": "/usr/bin:/bin"})
        tap.ok(done.returncode == 0, "hook %s" % phase, done)
    tap.ok(weights().get("cpu.weight") == "300" and weights().get("cpu.quota") == "150%", "started as annotated", weights())
    # test:///: its definition's <metadata> is what `domtune set` would have written
    retune(0, "web1: profile throughput, no CPUs of its own, .* in force", "web1", "--connect", uri("throughput", "<a:cpu weight='500'/>"))
    now = weights()
    tap.ok(now.get("cpu.weight") == "500" and "cpu.quota" not in now, "the new annotation is in force, the old one is not", now)
    says("ok +cpu.weight", "verify", "--root", root, "web1")
    retune(0, "web1: profile throughput", "--all", "--connect", uri("throughput", "<a:cpu weight='500'/>"))
    retune(0, "web1: profile balanced", "web1", "--connect", uri("balanced", "<a:memory min='64MiB'/>"))
    tap.ok(weights().get("memory.min") == "67108864" and all(tree(root)[path + "/memory.min"][1] == b"67108864\n" for path in groups),
           "protection: the group and all above it", weights(), groups)
    write(os.path.join(root, groups[-1], "memory.min"), "4096\n")
    tap.ok(weights().get("memory.min") == "4096", "protection: no more is effective than the groups above have", weights())
    says("NO +memory.min +- +67108864 +67108864 +4096 +changed by somebody else", "verify", "--root", root, "web1", status=1)
    write(os.path.join(root, groups[-1], "memory.min"), "67108864\n")
    write(os.path.join(root, "etc/domtune/disabled"), "")
    retune(3, "^$", "web1", "--connect", uri("latency"), err="disabled: exists, nothing new is tuned")
    os.unlink(os.path.join(root, "etc/domtune/disabled"))
    retune(0, "web1: put back, nothing is in force", "--off", "web1", "--connect", uri("latency"))
    after = {n: v for n, v in tree(root).items() if not n.startswith("run/domtune")}
    changed = [n for n in set(before) | set(after) if before.get(n) != after.get(n)]
    tap.ok(not changed, "off: the host is as it was", changed)
    says("nothing is in force, nothing was left behind", "verify", "--root", root)
    os.unlink(os.path.join(root, "run/libvirt/qemu/web1.pid"))
    retune(3, "^$", "web1", "--connect", uri("latency"), err="web1: it has no process on this host")


def capturing_disks():
    """LVM on a partition, a namespace of two controllers, names in /dev: what the links come to is the same in the copy."""
    root, twin = make_root("disks", "--cpus", "2"), os.path.join(work, "disks-twin")
    scsi = "sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/host0/port-0:0/expander-0:0/port-0:0:5/end_device-0:0:5/" \
        "target0:0:5/0:0:5:0/block/sda"
    files = {scsi + "/dev": "8:0", scsi + "/uevent": "MAJOR=8", scsi + "/queue/scheduler": "[none] bfq", scsi + "/sda1/dev": "8:1",
             scsi + "/sda1/uevent": "DEVTYPE=partition", "sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/numa_node": "1",
             "sys/devices/virtual/block/dm-0/uevent": "MAJOR=253", "sys/devices/virtual/block/dm-0/dev": "253:0",
             "sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/uevent": "x",
             "sys/devices/pci0000:00/0000:01:00.0/nvme/nvme3/numa_node": "0", "dev/sda": "", "dev/sda1": "", "dev/dm-0": "",
             "etc/libvirt/storage/vg.xml": "<pool/>", "sys/fs/cgroup/io.cost.qos": "8:0 enable=1",
             "proc/self/mountinfo": "20 1 8:1 / / rw - ext4 /dev/sda1 rw"}
    links = {"sys/class/block/sda": scsi, "sys/block/sda": scsi, "sys/class/block/sda1": scsi + "/sda1",
             "sys/dev/block/8:0": scsi, "sys/dev/block/8:1": scsi + "/sda1", "sys/dev/block/253:0": "sys/devices/virtual/block/dm-0",
             "sys/class/block/dm-0": "sys/devices/virtual/block/dm-0", "sys/devices/virtual/block/dm-0/slaves/sda1": scsi + "/sda1",
             "sys/class/block/nvme0n1": "sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1",
             "sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme3": "sys/devices/pci0000:00/0000:01:00.0/nvme/nvme3",
             "sys/fs/btrfs/1-2/devices/sda1": scsi + "/sda1", "dev/vg/web": "dev/dm-0", "dev/disk/by-id/wwn-5": "dev/sda"}
    for path, text in files.items():
        write(os.path.join(root, path), text and text + "\n")
    for path, to in links.items():
        os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
        os.symlink(os.path.relpath(to, os.path.dirname(path)), os.path.join(root, path))
    os.makedirs(os.path.join(root, "dev/bus"))
    os.symlink("/etc/passwd", os.path.join(root, "dev/bus/absolute"))
    os.symlink("../gone", os.path.join(root, "dev/bus/dangling"))
    write(os.path.join(work, "disks.tar"), run("capture", "--root", root).stdout)
    with tarfile.open(os.path.join(work, "disks.tar")) as archive:
        names = archive.getnames()
        archive.extractall(twin)
    wrong = [p for p in links if os.path.relpath(os.path.realpath(os.path.join(twin, p)), twin) != links[p]]
    wrong += [p for p, t in files.items() if not p.endswith("/dev") and
              open(os.path.join(twin, p), encoding="utf-8").read().strip() != t]
    tap.ok(not wrong, "capture: block devices, what they lie on, where they are", wrong, names)
    tap.ok(not [n for n in names if n.startswith("dev/bus")], "capture: no links to anything else", names)


def capturing():
    status, out, err = with_terminal("capture")
    tap.ok(status == 2 and not out and "terminal" in err, "capture: not to a terminal", out[:50], err)
    out = run("capture").stdout
    write(os.path.join(work, "this.tar"), out)
    twin = os.path.join(work, "this")
    with tarfile.open(os.path.join(work, "this.tar")) as archive:
        names = archive.getnames()
        archive.extractall(twin)
    tap.ok("sys/devices/system/cpu/online" in names and "proc/meminfo" in names and not any(
        n.startswith("/") or ".." in n or "libvirt/qemu/" in n.replace("qemu/capabilities", "").replace("qemu/networks", "")
        for n in names), "capture: what is in it")
    xml = os.path.join(work, "web1.xml")
    here, there = (json.loads(run("plan", "--json", "--profile", "latency", *where, xml).stdout)
                   for where in ([], ["--root", twin]))
    tap.ok(here == there, "capture of this machine: the same plan", here, there)
    capturing_disks()
    empty = os.path.join(work, "empty")
    os.makedirs(empty)
    fails(3, "nothing of a host", "capture", "--root", empty)
    fails(3, ".", "--root", empty)


try:
    host = make_root("root", "--cpus", "16", "--smt", "2", "--nodes", "2", "--memory-per-node", "32G", "--hugepages", "0:2048:1024")
    usage(host)
    planning(host)
    planning_lists(host)
    showing(host)
    checking(host)
    switching(host)
    with_libvirt(host)
    in_force()
    retuning()
    capturing()
finally:
    shutil.rmtree(work, ignore_errors=True)
tap.end()

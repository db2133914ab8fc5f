# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the hook's contract tests share: a build with helpers in a place of our own, fake roots, TAP."""
import glob
import os
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
import zlib

sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import mkroot  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("DOMTUNE_BUILD") or os.path.join(TOP, "build")
DECIDE = sorted(glob.glob("hooks/decide*.c", root_dir=TOP))
APPLY = sorted(glob.glob("hooks/apply*.c", root_dir=TOP)) + ["hooks/supervise.c"]


def is_roomy(path):
    if not os.path.ismount(path):
        return False
    about = os.statvfs(path)
    return about.f_bavail * about.f_frsize > 1 << 30 and not about.f_flag & (os.ST_NOEXEC | os.ST_RDONLY)


# Where fake roots are: ten thousands of small files are made and removed, in memory where there is room for them.
ROOTS = "/dev/shm" if is_roomy("/dev/shm") and os.access("/dev/shm", os.W_OK) else None
BOOT_ID = "11111111-2222-3333-4444-555555555555"
UUID = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"


class Tap:
    """Counts, prints, and remembers whether anything failed."""

    def __init__(self):
        self.number = 0
        self.failed = 0

    def ok(self, good, name, *why):
        self.number += 1
        print("%s %d - %s" % ("ok" if good else "not ok", self.number, name))
        if not good:
            self.failed += 1
            for text in why:
                print("#   %s" % repr(text)[:600])
        sys.stdout.flush()
        return good

    def skip(self, name, why):
        self.number += 1
        print("ok %d - %s # SKIP %s" % (self.number, name, why))

    def end(self):
        print("1..%d" % self.number)
        sys.exit(1 if self.failed else 0)


def build_with_helpers_in(libexec, programs):
    """The programs' own sources compiled as the build under test was, but for DT_LIBEXECDIR; linked with its library."""
    with open(os.path.join(BUILD, "config.stamp"), encoding="utf-8") as stamp:
        words = shlex.split(stamp.readline())
    words = [w for w in words if not w.startswith("-DDT_LIBEXECDIR=")]
    words.append('-DDT_LIBEXECDIR="%s"' % libexec)
    for output, sources, packages in programs:
        libs = subprocess.check_output(["pkg-config", "--libs"] + packages, text=True).split() if packages else []
        subprocess.check_call(words + ["-pie", "-o", output] + sources +
                              [os.path.join(BUILD, "libdomtune.a"), "-Wl,--as-needed"] + libs, cwd=TOP)


def can_inject():
    """Whether the build under test takes DOMTUNE_CRASH_AT and DOMTUNE_FAULT."""
    with open(os.path.join(BUILD, "config.stamp"), encoding="utf-8") as stamp:
        text = stamp.read()
    return "-DDT_SAN" in text or "-DDT_TEST" in text


def domain_xml(name="web1", uuid=UUID, body="", head="<domain type='kvm' id='7'>"):
    return ("%s\n  <name>%s</name>\n  <uuid>%s</uuid>\n  <memory unit='KiB'>262144</memory>\n"
            "  <currentMemory unit='KiB'>262144</currentMemory>\n  <vcpu placement='static'>2</vcpu>\n"
            "  <os>\n    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>\n  </os>\n%s"
            "  <devices>\n    <emulator>/usr/bin/qemu-system-x86_64</emulator>\n  </devices>\n</domain>\n"
            % (head, name, uuid, body)).encode()


def made_root(*options):
    """A fake root by tests/mkroot.py, in this process: another one would cost half of what it makes."""
    root = Root(empty=True)
    was = os.umask(0o022)
    try:
        mkroot.make(mkroot.parser().parse_args([root.dir] + list(options)))
    finally:
        os.umask(was)
    return root


def record(*fields):
    text = "\t".join(fields) + "\t"
    return "%s%08x\n" % (text, zlib.crc32(text.encode()) & 0xffffffff)


def walk(path):
    """Everything below, as os.scandir() has it; links are not followed."""
    pending = [path] if os.path.isdir(path) else []
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)


def content_of(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        text = b""
        while more := os.read(fd, 65536):
            text += more
        return text
    finally:
        os.close(fd)


def copies(root):
    """
    Copies of a root, one after the other, in one place: what was done to one is put right for the next. It ends with the
    loop that it is for.
    """
    copy = Root(empty=True)
    shutil.copytree(root.dir, copy.dir, symlinks=True, dirs_exist_ok=True)
    tree = copy.tree()
    try:
        while True:
            yield copy
            copy.make_again(tree)
    finally:
        copy.remove()


class Root:
    """A fake root that is removed at the end."""

    def __init__(self, empty=False):
        self.dir = tempfile.mkdtemp(prefix="domtune-contract-", dir=ROOTS)
        if not empty:
            self.put("proc/sys/kernel/random/boot_id", BOOT_ID + "\n")

    def path(self, name):
        return os.path.join(self.dir, name)

    def put(self, name, text="", mode=0o644):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as out:
            out.write(text if isinstance(text, bytes) else text.encode())
        os.chmod(self.path(name), mode)

    def get(self, name):
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return None

    def stat_text(self, name):
        """As common/gate.c tells files apart."""
        try:
            st = os.stat(self.path(name))
        except OSError:
            return "absent"
        return "%d:%d:%d:%d.%09d:%d.%09d" % (st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns // 10**9,
                                             st.st_mtime_ns % 10**9, st.st_ctime_ns // 10**9, st.st_ctime_ns % 10**9)

    def put_gate(self, idle=False, deadline_ms=2000, grow_ms=5000):
        self.put("run/domtune/cache/gate", record("gate", "1", BOOT_ID, self.stat_text("etc/domtune/policy.xml"),
                 self.stat_text("etc/domtune/profiles"), "1" if idle else "0", "0", str(deadline_ms), str(grow_ms)))

    def listing(self, below=""):
        """Every file with its content, to compare trees."""
        found = {}
        for entry in walk(self.path(below)):
            found[entry.path[len(self.dir) + 1:]] = content_of(entry.path) if entry.is_file() else None
        return found

    def tree(self):
        """All that is needed to make it again: (mode, content); of a link (None, target)."""
        return {e.path[len(self.dir) + 1:]: (None, os.readlink(e.path)) if e.is_symlink() else
                (e.stat(follow_symlinks=False).st_mode, content_of(e.path) if e.is_file() else None) for e in walk(self.dir)}

    def make_again(self, tree):
        """What has changed, appeared or gone since then is put right."""
        now = self.tree()
        for name in sorted(now, reverse=True):
            if now[name] != tree.get(name):
                if now[name][0] is not None and stat.S_ISDIR(now[name][0]):
                    if name not in tree or tree[name][0] is None or not stat.S_ISDIR(tree[name][0]):
                        os.rmdir(self.path(name))
                else:
                    os.unlink(self.path(name))
        for name in sorted(tree):
            mode, content = tree[name]
            if now.get(name) == tree[name]:
                continue
            if mode is None:
                os.symlink(content, self.path(name))
            elif stat.S_ISDIR(mode):
                os.makedirs(self.path(name), exist_ok=True)
                os.chmod(self.path(name), stat.S_IMODE(mode))
            else:
                self.put(name, content, stat.S_IMODE(mode))

    def outside(self):
        """The same of the host: without our state, and devices."""
        found = {}
        for below in os.listdir(self.dir):
            if below != "dev":
                found.update({n: d for n, d in self.listing(below).items() if not n.startswith("run/domtune")})
        return found

    def changed(self, before):
        """Names of what outside() does not find as it was."""
        now = self.outside()
        return sorted(name for name in set(now) | set(before) if now.get(name, 0) != before.get(name, 0))

    def left(self, uuids):
        """What is held for these domains, or shared, in our state."""
        found = []
        for name, data in self.listing("run/domtune").items():
            if any(u in name for u in uuids) and "/.tmp." not in name:
                found.append(name)
            if name == "run/domtune/ledger" and (b"shared\t" in data or any(u.encode() in data for u in uuids)):
                found.append(data)
        return found

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class Log:
    """The syslog of a fake root: what was said, as (level, text)."""

    def __init__(self, root):
        os.makedirs(root.path("dev"), exist_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(root.path("dev/log"))
        self.socket.setblocking(False)

    def read(self):
        lines = []
        while True:
            try:
                text = self.socket.recv(65536).decode(errors="replace")
            except BlockingIOError:
                return lines
            head, _, rest = text.partition(">")
            lines.append((int(head[1:]) & 7, rest.partition("]: ")[2]))

    def warnings(self):
        return [text for level, text in self.read() if level <= 4]

    def close(self):
        self.socket.close()


class Result:
    def __init__(self, status, out, err, seconds):
        self.status, self.out, self.err, self.seconds = status, out, err, seconds

    def __repr__(self):
        return "exit %s, %.1f s, stdout %r, stderr %r" % (self.status, self.seconds, self.out[:300], self.err[:300])

    def is_silent(self):
        return self.status == 0 and self.out == b"" and self.err == b""


def call(program, args, stdin=b"", root=None, env=None, prepare=None, timeout=60):
    """Run a hook as libvirt does: pipes on 0 to 2, three variables in the environment."""
    environ = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    if root:
        environ["DOMTUNE_ROOT"] = root.dir
    environ.update(env or {})
    begin = time.monotonic()
    process = subprocess.Popen([program] + list(args), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=environ, cwd="/", preexec_fn=prepare)
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Result("timeout", b"", b"", time.monotonic() - begin)
    return Result(process.returncode, out, err, time.monotonic() - begin)

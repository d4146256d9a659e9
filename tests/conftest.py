# SPDX-License-Identifier: Apache-2.0
"""A broker of its own for a test session, and a check that nothing is left behind.

The programs under test come from ADIT_BIN (default build/release/bin), the templates from
ADIT_TEMPLATES (default build/run/templates). Every path, port and process is the session's own. A
broker that is killed is started again by `Broker.start()` on the same state directory and port.
"""

import contextlib
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from internet import PUBLIC, Internet, Outside
from lab import Lab

REPO = Path(__file__).resolve().parents[1]
BIN = Path(os.environ.get("ADIT_BIN", REPO / "build/release/bin")).resolve()
TEMPLATES = Path(os.environ.get("ADIT_TEMPLATES", REPO / "build/run/templates"))
GUEST = Path(os.environ.get("ADIT_GUEST", REPO / "build/run/guest")).resolve()
# Whatever this host's KVM can do: what takes long enough with emulation takes long enough.
MACHINES = ["--guest-dir", str(GUEST), "--accel", "tcg"]
# "vm": what every sandbox of the tests runs in. Else containers, and no broker sees the images.
ISOLATION = os.environ.get("ADIT_ISOLATION", "")
# What a process says that is broken: sanitizers, assertions.
REPORT = re.compile(r"^.*(?:Sanitizer|: runtime error: |: Assertion `)", re.M)

OWN_BROKERS = itertools.count()

# The command line is in the process's memory. That of a process that forks and is throttled, as in
# a fork bomb of anybody's on this machine, can take a minute to read; the name cannot.
OUR_COMM = re.compile(r"broker|scheduler|adit-|crun|runsc|qemu|vsock-device")


def wait_for(condition, timeout, what):
    """Poll `condition` until it is true; the value that made it true is returned."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout} s")
        time.sleep(0.01)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def children_of(pid):
    out = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                out.append(int(entry.name))
    return out


class Broker:
    """One broker with its own scheduler, launcher, state directory and port."""

    def __init__(self, state, extra=()):
        self.state = Path(state)
        self.port = free_port()
        self.extra = list(extra)
        self.prefix = []
        self.mounts = "/proc/self/mountinfo"
        self.process = None
        self.log_path = self.state / "broker.log"
        self.checked = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def network(self):
        """Sockets made under it are of the network that the broker is in."""
        return contextlib.nullcontext()

    def start(self):
        self.state.mkdir(parents=True, exist_ok=True)
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [
                *self.prefix, str(BIN / "broker"),
                "--listen", f"127.0.0.1:{self.port}",
                "--state-dir", str(self.state / "state"),
                "--templates-dir", str(TEMPLATES),
                "--envd", os.environ.get("ADIT_ENVD", str(BIN / "envd")),
                "--scheduler-program", str(BIN / "scheduler"),
                *([*MACHINES, "--isolation", "vm"] if ISOLATION == "vm" else []),
                *self.extra,
            ],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
        )
        log.close()
        (self.state / "broker.pid").write_text(str(self.process.pid))
        wait_for(self.is_listening, 20, f"broker listening (log: {self.log_path})")
        wait_for(lambda: (self.state / "state/client.env").exists(), 20, "client.env")
        return self

    def is_listening(self):
        if self.process.poll() is not None:
            raise AssertionError(
                f"broker ended with {self.process.returncode}:\n{self.log()[-4000:]}"
            )
        try:
            with self.network(), \
                    socket.create_connection(("127.0.0.1", self.port), timeout=1) as s:
                s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return s.recv(64).startswith(b"HTTP/1.1 20")
        except OSError:
            return False

    def env(self):
        text = (self.state / "state/client.env").read_text()
        return dict(re.findall(r"^export (\w+)='?([^'\n]*)'?$", text, re.M))

    def log(self):
        return self.log_path.read_text(errors="replace")

    def call(self, method, path):
        """Status and body of a call of the control API with the first key."""
        with self.network():
            c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            c.request(method, path, headers={"X-API-Key": self.env()["E2B_API_KEY"]})
            answer = c.getresponse()
            return answer.status, answer.read()

    def check_reports(self):
        """Fail when a process reported itself as broken since the last check.

        The log has what broker, launcher, scheduler and, in a sanitizer build, each envd say.
        envd finds no symbolizer in its sandbox: llvm-symbolizer-14 --obj=$ADIT_BIN/envd knows the
        addresses.
        """
        with open(self.log_path, errors="replace") as f:
            f.seek(self.checked)
            news = f.read()
            self.checked = f.tell()
        found = REPORT.search(news)
        if found:
            print(news[found.start():][:8000], file=sys.stderr)
            raise AssertionError(f"a process is broken: {news[found.start():][:2000]}")

    def child(self, name, of=None):
        """Pid of a helper process by its program name ("scheduler") or process title: a child of the
        broker, or of the process `of`."""
        for pid in children_of(of or self.process.pid):
            try:
                cmdline = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                comm = Path(f"/proc/{pid}/comm").read_text()
            except OSError:
                continue
            if name in cmdline.split(" ")[0] or name in comm:
                return pid
        return None

    def ids(self):
        """User and group that the broker runs as."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return tuple(int(re.search(rf"^{name}:\s+(\d+)", status, re.M)[1])
                     for name in ("Uid", "Gid"))

    def limit(self, name, value):
        """Set a resource limit of the broker ("as", "nofile"; prlimit(1)) as its own user: root
        itself needs a capability for it that not every host gives."""
        uid, gid = self.ids()
        subprocess.run(["prlimit", "--pid", str(self.process.pid), f"--{name}={value}"],
                       user=uid, group=gid, extra_groups=[], check=True)

    def scheduler(self):
        """Pid of the broker's own scheduler, a child of its keeper."""
        keeper = self.child("adit-supervisor")
        return keeper and self.child("scheduler", of=keeper)

    def kill(self, sig=signal.SIGKILL):
        self.process.send_signal(sig)
        self.process.wait(30)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("broker did not stop within 40 s of SIGTERM")
            assert self.process.returncode == 0, (
                f"broker ended with {self.process.returncode}:\n{self.log()[-4000:]}")
        self.check_reports()


class LabBroker(Broker):
    """A broker in a lab, on the ports and under the names that clients know by themselves."""

    def __init__(self, state, lab):
        super().__init__(state)
        self.lab, self.port = lab, 3000
        subprocess.run([BIN / "broker", "dev-cert", "--domain", lab.domain, lab.directory],
                       check=True, capture_output=True)
        self.extra = ["--listen", "127.0.0.1:3000,tls:127.0.0.1:443", "--domain", lab.domain,
                      "--tls-cert", str(lab.directory / "tls.crt"),
                      "--tls-key", str(lab.directory / "tls.key")]
        self.prefix = lab.prefix
        self.mounts = f"/proc/{lab.inside.pid}/mountinfo"

    def network(self):
        return self.lab.network()

    def serves_debug(self):
        """Does debug mode's sandbox answer?"""
        with self.network(), contextlib.suppress(OSError):
            c = http.client.HTTPConnection("127.0.0.1", 49983, timeout=5)
            c.request("GET", "/health")
            return c.getresponse().status == 204

    def purge(self):
        """End the sandboxes that outlive the broker, as debug mode's does."""
        subprocess.run([BIN / "broker", "purge", "--state-dir", self.state / "state"], check=True,
                       capture_output=True, timeout=60)


class EgressBroker(Broker):
    """A broker whose host is in the network of internet.py."""

    def __init__(self, state, internet, extra=()):
        super().__init__(state, ["--dns-server", PUBLIC, *internet.broker_options, *extra])
        self.internet, self.prefix = internet, internet.prefix

    def network(self):
        return self.internet.network()


def cgroups():
    """Each control group that a sandbox may have, with its path; others' come and go meanwhile."""
    for at, names, _ in os.walk("/sys/fs/cgroup"):
        if Path(at).name.startswith("adit"):
            yield from ((name, Path(at) / name) for name in names if name.startswith("i"))


def leftovers(broker):
    """What of this broker's sandboxes still exists on the machine."""
    state = str(broker.state)
    ours = set(re.findall(r"sandbox=(i[a-z0-9]{20})\b", broker.log()))
    found = []
    for line in Path(broker.mounts).read_text().splitlines():
        if state in line:
            found.append("mount " + line.split(" ")[4])
    found += [f"cgroup {path}" for name, path in cgroups() if name in ours]
    sandboxes = broker.state / "state/sandboxes"
    if sandboxes.exists():
        found += [f"file {p}" for p in sandboxes.iterdir()]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if not OUR_COMM.match((entry / "comm").read_text()):
                    continue
                cmd = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if state in cmd or any(i in cmd for i in ours):
                found.append(f"process {entry.name} {cmd[:120]!r}")
    return found


def kill_everything(broker):
    """End what a failed test left, so that only its failure is reported."""
    if broker.process.poll() is not None:
        broker.start()
    killed = []
    while found := json.loads(broker.call("GET", "/v2/sandboxes")[1]):
        for sandbox in found:
            killed.append(sandbox["sandboxID"])
            broker.call("DELETE", f"/sandboxes/{killed[-1]}")
    return killed


def machines_lack():
    """What virtual machines need and this machine does not have."""
    return [what for what, is_there in [
        ("qemu-system-x86_64 (apt-get install qemu-system-x86)", shutil.which("qemu-system-x86_64")),
        (f"{GUEST}/vmlinux (make guest)", (GUEST / "vmlinux").exists()),
        (f"{GUEST}/initramfs (make guest)", (GUEST / "initramfs").exists()),
        ("disks of a template (make template)", any(TEMPLATES.glob("*/root.erofs"))),
    ] if not is_there]


def pytest_runtest_setup(item):
    marker = item.get_closest_marker("containers")
    if marker and ISOLATION == "vm":
        pytest.skip(f"for containers only: {marker.args[0]}")


def need_everything():
    missing = []
    if os.geteuid() != 0:
        missing.append("root (sandboxes are started as root)")
    for program in ("broker", "scheduler", "envd"):
        if not (BIN / program).exists():
            missing.append(f"{BIN / program} (make build)")
    if not TEMPLATES.exists() or not any(TEMPLATES.iterdir()):
        missing.append(f"a template in {TEMPLATES} (make template)")
    if ISOLATION == "vm":
        missing += machines_lack()
    if missing:
        pytest.exit("end-to-end tests need: " + "; ".join(missing), returncode=3)


def export(broker):
    for name, value in broker.env().items():
        os.environ[name] = value
    os.environ.pop("E2B_DEBUG", None)


@contextlib.contextmanager
def exported(broker):
    """The clients' variables lead to `broker`, and afterwards to where they led before."""
    before = dict(os.environ)
    export(broker)
    try:
        yield broker
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def scratch():
    path = Path(tempfile.mkdtemp(prefix="adit-e2e-"))
    # Tests that are killed clean up too: see guard.py.
    guard = subprocess.Popen(
        [sys.executable, REPO / "tests/guard.py", path, BIN / "broker"],
        stdin=subprocess.PIPE, start_new_session=True,
    )
    yield path
    guard.communicate(b"done")
    if "ADIT_KEEP" not in os.environ:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def broker(scratch):
    """The broker that most tests share. After the last test its sandboxes must all be gone."""
    need_everything()
    b = Broker(scratch / "main").start()
    export(b)
    yield b
    left = kill_everything(b)
    end(b, left)


def end(b, left):
    """Stop a session's broker; nothing may be left of it."""
    b.stop()
    # stderr, because an assertion in a fixture's end names no test
    remains = leftovers(b)
    if remains or left:
        print("left behind:", left, remains, b.log()[-3000:], file=sys.stderr)
    assert not left, "tests left sandboxes running"
    assert not remains, "resources left behind"


@pytest.fixture(scope="session")
def lab(scratch, broker):
    """Own namespaces with own names (tests/lab/lab.py), and the broker that they lead to."""
    lab = Lab(scratch / "names")
    b = LabBroker(scratch / "lab", lab)
    b.extra.append("--debug")
    b.start()
    lab.key = b.env()["E2B_API_KEY"]
    lab.broker = b
    wait_for(b.serves_debug, 30, "the debug sandbox")
    yield lab
    left = kill_everything(b)
    b.stop()
    b.purge()
    end(b, left)
    lab.stop()


@pytest.fixture(scope="session")
def internet(scratch, broker):
    net = Internet(scratch / "internet")
    yield net
    net.stop()


@pytest.fixture(scope="session")
def outside(scratch, internet):
    """Takes steps (egress_client.py) in a sandbox of a broker that is on that internet."""
    b = EgressBroker(scratch / "egress", internet).start()
    with Outside(internet, b) as steps:
        yield steps
    left = kill_everything(b)
    end(b, left)


@pytest.fixture(autouse=True)
def reports(broker):
    """The test after which a process is found broken fails."""
    yield
    broker.check_reports()


def lay_down(recorded, broker):
    """A recorded state directory becomes a broker's; where records say where it lay: @STATE@."""
    state = broker.state / "state"
    shutil.copytree(recorded, state)
    for record in state.glob("sandboxes/*/record.json"):
        record.write_text(record.read_text().replace("@STATE@", str(state)))


@pytest.fixture
def own_broker(scratch, request):
    """A broker for one test that kills or starves it; the shared one stays up meanwhile."""
    started = []
    with contextlib.ExitStack() as exports:
        def make(*extra, state=None):
            # the number is the session's: parameters and like names would meet in one directory
            b = Broker(scratch / f"{request.node.name[:20]}-{next(OWN_BROKERS)}", extra)
            if state:
                lay_down(state, b)
            b.start()
            wait_for(lambda: f":{b.port}" in b.env().get("E2B_API_URL", ""), 20, "its client.env")
            started.append(b)
            exports.enter_context(exported(b))
            return b

        yield make
        for b in started:
            kill_everything(b)
            b.stop()
            remains = leftovers(b)
            assert not remains, f"resources left behind: {remains}\n{b.log()[-3000:]}"


@pytest.fixture
def sandbox(broker):
    from e2b import Sandbox

    s = Sandbox.create(timeout=120)
    yield s
    s.kill()

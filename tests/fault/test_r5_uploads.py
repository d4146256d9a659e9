# SPDX-License-Identifier: Apache-2.0
"""R5: an upload that was answered 2xx is whole; any other leaves the old file, or none if it was new.

Uploads of sizes about every limit are cut at a random byte by the death of the client, of the broker
or of envd; calls of envd fail as a disk fails; two writers meet. ADIT_FAULT_SCALE=full: 5,000
uploads, up to 1 GiB. Where envd itself is killed it runs by itself in a root of its own, because the
files of a sandbox end with its first process.
"""

import contextlib
import itertools
import os
import random
import select
import socket
import struct
import subprocess
import threading

import pytest
from e2b import Sandbox

from conftest import BIN, wait_for
from support import http_request, routing
from uploads import content, judge

FULL = os.environ.get("ADIT_FAULT_SCALE") == "full"
SEED = int(os.environ.get("ADIT_SEED", "20261121"))
SIZES = [0, 1, 65535, 65536, 65537, 1 << 20, (1 << 20) + 1, 10 << 20] + ([1 << 30] if FULL else [])
CUTS, KILLS, FAILURES, MEETINGS = (400, 50, 1000, 500) if FULL else (4, 6, 60, 20)
PATH = "/home/user/up/file"
RESET = struct.pack("ii", 1, 0)


def request(size, headers=()):
    lines = [f"POST /files?path={PATH}&username=user HTTP/1.1", "Host: localhost", *headers,
             "Content-Type: application/octet-stream", f"Content-Length: {size}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def of_sandbox(sandbox):
    return [f"{k}: {v}" for k, v in routing(sandbox).items()] + [
        f"X-Access-Token: {sandbox._envd_access_token}"]


def read_back(sandbox):
    """The file, None if there is none; nothing else may lie beside it."""
    assert set(sandbox.commands.run("mkdir -p up; ls -A up").stdout.split()) <= {"file"}
    if not sandbox.files.exists(PATH):
        return None
    return bytes(sandbox.files.read(PATH, format="bytes"))


def upload_until(s, data, cut):
    """All of the request up to byte `cut`, or as much as the other side takes before it is gone."""
    with contextlib.suppress(ConnectionError):
        s.sendall(data[:cut])


def uploads(count):
    """(number, size, whether there is an old file) of each upload."""
    return [(n, size, old) for n, (size, old, _) in enumerate(
        itertools.product(SIZES, (False, True), range(count)), 1)]


def test_a_client_that_dies_changes_nothing(sandbox, broker):
    rng = random.Random(SEED)
    print(f"\nR5: seed {SEED}")
    before, changed = None, 0
    for n, size, keep in uploads(CUTS):
        if not keep and before is not None:
            sandbox.files.remove(PATH)
            before = None
        head = request(size, of_sandbox(sandbox))
        data = head + content(n, size)
        with socket.create_connection(("127.0.0.1", broker.port), timeout=30) as s:
            cut = rng.randrange(len(data))
            upload_until(s, data, cut)
            if rng.random() < 0.5:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        # an upload that was cut in its last byte is none either
        assert judge(read_back(sandbox), {before}) == before
        if rng.random() < 0.3:
            sandbox.files.write(PATH, content(n, size))
            before, changed = (n, size), changed + 1
    assert changed > 3, "no old file was ever there"


@pytest.mark.timeout(3600 if FULL else 240)
def test_a_broker_that_dies_leaves_old_or_new(own_broker):
    broker = own_broker()
    rng = random.Random(SEED)
    sandbox = Sandbox.create(timeout=3600)
    before, whole = None, 0
    for n in range(1, KILLS + 1):
        size = rng.choice(SIZES[1:])
        data = request(size, of_sandbox(sandbox)) + content(n, size)
        cut = rng.choice((rng.randrange(len(data)), len(data)))
        with socket.create_connection(("127.0.0.1", broker.port), timeout=30) as s:
            sender = threading.Thread(target=upload_until, args=(s, data, cut))
            sender.start()
            if cut == len(data):
                sender.join(30)
            select.select([s], [], [], rng.uniform(0, 0.01 + size / (1 << 28)))  # random on purpose
            broker.kill()
            sender.join(30)
            assert not sender.is_alive(), "the upload hangs"
            answer = b""
            with contextlib.suppress(ConnectionError):
                answer = s.recv(4096)
        broker.start()
        is_whole = answer.startswith(b"HTTP/1.1 2")
        whole += is_whole
        wait_for(lambda: sandbox.is_running(), 10, "the sandbox")
        before = judge(read_back(sandbox), {(n, size)} if is_whole else {before, (n, size)})
    print(f"\nR5: {KILLS} kills of the broker, {whole} uploads answered before; seed {SEED}")
    assert sandbox.kill()


class Agent:
    """envd by itself, in a root of its own that can be looked into."""

    def __init__(self, root):
        self.root, self.file = root, root / PATH[1:]
        for part in ("etc", "home/user/up", "tmp", "run", "proc"):
            (root / part).mkdir(parents=True)
        (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
        for at in ("home/user", "home/user/up"):
            os.chown(root / at, 1000, 1000)
        self.path = root.parent / "channel.sock"
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(self.path))
        self.listening.listen(64)
        subprocess.run(["cp", BIN / "envd", root / "envd"], check=True)

    def start(self):
        fd = self.listening.fileno()
        self.process = subprocess.Popen(
            ["unshare", "--mount", f"--root={self.root}", "/envd", "--channel-fd", str(fd)],
            pass_fds=[fd], stderr=subprocess.DEVNULL)
        with self.connect() as s:
            s.sendall(b"POST /init HTTP/1.1\r\nHost: envd\r\nContent-Type: application/json\r\n"
                      b"Content-Length: 2\r\n\r\n{}")
            assert b" 204 " in s.recv(4096)
        return self

    def connect(self):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30)
        s.connect(str(self.path))
        s.sendall(b"CONNECT 49983\n")
        line = b""
        while not line.endswith(b"\n"):
            line += s.recv(1)
        assert line.startswith(b"OK "), line
        return s

    def upload(self, data):
        """The status of the answer, None without one."""
        with self.connect() as s, contextlib.suppress(ConnectionError):
            s.sendall(data)
            if answer := s.recv(4096):
                return int(answer.split(b" ")[1])

    def look(self, roots):
        """The file or None; nothing else in its directory, nothing new in the root."""
        assert set(os.listdir(self.file.parent)) <= {"file"}
        assert set(os.listdir(self.root)) == roots
        return self.file.read_bytes() if self.file.exists() else None

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def agent(scratch, request):
    base = scratch / f"agent-{request.node.name[:30]}"
    base.mkdir()
    agent = Agent(base / "root").start()
    yield agent
    agent.kill()


def test_an_envd_that_dies_leaves_old_or_new(agent):
    """Small files are written over in place, which a kill of envd can cut short; as it ends the
    sandbox and its files with it, nobody sees that. So small ones are new here."""
    rng, before = random.Random(SEED), None
    roots = set(os.listdir(agent.root))
    outcomes = {"old": 0, "new": 0}
    for n, size, _ in uploads(KILLS):
        if size <= 1 << 20 and before is not None:
            agent.file.unlink()
            before = None
        data = request(size) + content(n, size)
        cut = rng.choice((rng.randrange(len(data)), len(data)))
        with agent.connect() as s:
            sender = threading.Thread(target=upload_until, args=(s, data, cut))
            sender.start()
            if cut == len(data):
                sender.join(30)
            # random on purpose, as long as all of the upload takes
            select.select([s], [], [], rng.uniform(0, 0.003 + size / (1 << 29)))
            agent.kill()
            sender.join(30)
            answer = b""
            with contextlib.suppress(ConnectionError):
                answer = s.recv(4096)
        is_whole = answer.startswith(b"HTTP/1.1 2")
        agent.start()
        now = judge(agent.look(roots), {(n, size)} if is_whole else {before, (n, size)})
        outcomes["new" if now == (n, size) else "old"] += 1
        before = now
    print(f"\nR5: kills of envd: {outcomes}, seed {SEED}")
    assert min(outcomes.values()) > 5, "killed too early or too late"


def failures():
    calls = ("pwrite64", "pread64", "linkat", "rename", "ftruncate", "fchown", "fchmod", "openat",
             "newfstatat", "statx", "fallocate", "flistxattr")
    every = list(itertools.product(calls, ("ENOSPC", "EIO", "EDQUOT"), ("1", "2", "1+", "3+"),
                                   (100, 65537, 2 << 20), (100, 2 << 20)))
    random.Random(SEED).shuffle(every)
    # once the end was cut off before the metadata failed, and could not be given back
    return [("flistxattr", "ENOSPC", "1", 65537, 100), *every[:FAILURES]]


@pytest.mark.timeout(3600 if FULL else 240)
def test_a_disk_that_fails_leaves_old_or_new(agent):
    """Written is what was answered: 2xx the new file, anything else the old one."""
    roots, refused = set(os.listdir(agent.root)), 0
    for n, (call, error, when, old, new) in enumerate(failures(), 1):
        before, after = (2 * n, old), (2 * n + 1, new)
        assert agent.upload(request(old) + content(*before)) == 200
        with failing(agent.process.pid, call, error, when):
            status = agent.upload(request(new) + content(*after))
        assert status is not None, f"{call}={error} when={when}: no answer"
        try:
            judge(agent.look(roots), {after if status == 200 else before})
        except AssertionError as e:
            raise AssertionError(f"{call}={error} when={when}, {old} to {new} bytes, "
                                 f"answered {status}: {e}") from e
        refused += status != 200
    print(f"\nR5: {FAILURES} failing calls, {refused} uploads refused, seed {SEED}")
    assert refused > FAILURES // 20, "hardly a failure was felt"


@contextlib.contextmanager
def failing(pid, call, error, when):
    strace = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid), "-e", f"trace={call}", "-e",
         f"inject={call}:error={error}:when={when}"], stderr=subprocess.DEVNULL)
    wait_for(lambda: "TracerPid:\t0" not in open(f"/proc/{pid}/status").read(), 5, "strace")
    yield
    strace.terminate()
    strace.wait(10)


def test_of_two_writers_one_is_last(sandbox, broker):
    for n in range(MEETINGS):
        pair = [(2 * n, 100 + n), (2 * n + 1, (2 << 20) - n)]
        if n % 2:
            pair.reverse()
        answers = []

        def write(generation, size):
            answers.append(http_request(broker, "POST", f"/files?path={PATH}", {
                **routing(sandbox), "X-Access-Token": sandbox._envd_access_token,
                "Content-Type": "application/octet-stream"}, content(generation, size)).status)

        writers = [threading.Thread(target=write, args=p) for p in pair]
        for w in writers:
            w.start()
        for w in writers:
            w.join(30)
        assert answers == [200, 200]
        judge(read_back(sandbox), set(pair))

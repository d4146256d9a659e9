# SPDX-License-Identifier: Apache-2.0
"""F15: clients that read a large download at next to no speed cost bounded memory and nobody else's time."""

import socket
import time
from pathlib import Path

import pytest
from e2b import Sandbox

READERS = 100
SIZE = 1 << 30


def rss_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def slow_download(broker, sandbox):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(("127.0.0.1", broker.port))
    s.sendall(
        (
            f"GET /files?path=/home/user/big HTTP/1.1\r\nHost: localhost\r\n"
            f"E2b-Sandbox-Id: {sandbox.sandbox_id}\r\nE2b-Sandbox-Port: 49983\r\n"
            f"X-Access-Token: {sandbox._envd_access_token}\r\n\r\n"
        ).encode()
    )
    assert s.recv(1) == b"H"
    return s


def small_requests_p99(sandbox, rounds=5, count=200):
    """The best of a few rounds, so that a busy moment of the machine is not taken for ours."""
    best = float("inf")
    for _ in range(rounds):
        took = []
        for _ in range(count):
            start = time.perf_counter()
            assert sandbox.is_running()
            took.append(time.perf_counter() - start)
        best = min(best, sorted(took)[int(count * 0.99)])
    return best


@pytest.mark.footprint
def test_slow_readers_are_bounded(own_broker):
    broker = own_broker()
    sandbox = Sandbox.create(timeout=300)
    sandbox.commands.run(f"truncate -s {SIZE} /home/user/big")
    alone = small_requests_p99(sandbox)
    before = rss_kib(broker.process.pid)
    readers = [slow_download(broker, sandbox) for _ in range(READERS)]
    for _ in range(5):  # a byte each, five rounds: as slow as a reader gets
        for s in readers:
            assert len(s.recv(1)) == 1
    crowded = small_requests_p99(sandbox)
    each = (rss_kib(broker.process.pid) - before) / READERS
    print(f"\nF15: {each:.0f} KiB a slow reader, p99 of others {alone * 1e3:.2f} ms alone, "
          f"{crowded * 1e3:.2f} ms beside them")
    assert each <= 512
    # 2 ms of slack: at these sizes one scheduling slice decides
    assert crowded <= 2 * alone + 0.002
    for s in readers:
        s.close()
    assert sandbox.kill()

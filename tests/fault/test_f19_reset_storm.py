# SPDX-License-Identifier: Apache-2.0
"""F19: storms of resets: connections broken with RST at every stage leave nothing behind.

Several thousand connections a second are opened and reset: before a byte, in a head, in a body, while
an answer streams. Descriptors come back, memory stays, nothing spins, others are served.
"""

import os
import random
import socket
import struct
import threading
import time

import pytest
from e2b import Sandbox

from conftest import wait_for
from test_f15_slow_reader import rss_kib
from test_f26_evil_guest import no_spin

CONNECTIONS = int(os.environ.get("ADIT_F19_CONNECTIONS", "10000"))
CLIENTS = 4
KEPT = 8  # channels that wait for a next request: as many as were in use at once
AT_ONCE = struct.pack("ii", 1, 0)


def fd_cnt(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def stages(sandbox):
    routing = (f"Host: localhost\r\nE2b-Sandbox-Id: {sandbox.sandbox_id}\r\n"
               f"E2b-Sandbox-Port: 49983\r\nX-Access-Token: {sandbox._envd_access_token}\r\n")
    return [
        b"",
        b"GET /hea",
        f"GET /health HTTP/1.1\r\n{routing}\r\n".encode(),
        f"GET /files?path=/home/user/big HTTP/1.1\r\n{routing}\r\n".encode(),
        (f"POST /files?path=/home/user/cut HTTP/1.1\r\n{routing}"
         "Content-Type: application/octet-stream\r\nContent-Length: 1000000\r\n\r\nabc").encode(),
        b"POST /sandboxes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
    ]


@pytest.mark.footprint
def test_resets_leave_nothing(own_broker):
    broker = own_broker()
    pid = broker.process.pid
    sandbox = Sandbox.create(timeout=300)
    sandbox.commands.run("truncate -s 1G big; echo old > cut")
    kinds = stages(sandbox)

    def storm(seed, count):
        rng = random.Random(seed)
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", broker.port)) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                kind = rng.choice(kinds)
                s.sendall(kind)
                if kind and rng.random() < 0.2 and kind.endswith(b"\r\n\r\n"):
                    s.recv(100)

    def all_storms(count):
        threads = [threading.Thread(target=storm, args=(n, count // CLIENTS)) for n in range(CLIENTS)]
        started = time.monotonic()
        for t in threads:
            t.start()
        while any(t.is_alive() for t in threads):
            assert sandbox.is_running()
        return count / (time.monotonic() - started)

    all_storms(1000)  # buffers and pools have their size
    fds = wait_for(lambda: fd_cnt(pid) if no_spin(pid) else 0, 10, "rest")
    before = rss_kib(pid)
    rate = all_storms(CONNECTIONS)
    wait_for(lambda: fd_cnt(pid) <= fds + KEPT, 10, "descriptors returned")
    wait_for(lambda: no_spin(pid), 10, "rest")
    grown = rss_kib(pid) - before
    print(f"\nF19: {CONNECTIONS} resets at {rate:.0f}/s, {grown:+} KiB, descriptors {fds} → {fd_cnt(pid)}")
    assert grown < 4 * 1024
    assert sandbox.files.read("/home/user/cut") == "old\n"
    assert sorted(e.name for e in sandbox.files.list("/home/user") if not e.name.startswith(".b")
                  and e.name not in (".profile", ".bash_logout")) == ["big", "cut"]
    assert sandbox.kill()

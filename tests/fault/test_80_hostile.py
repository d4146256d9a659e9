# SPDX-License-Identifier: Apache-2.0
"""Hostile clients and hostile guests: what they do stays theirs, and ends with them."""

import json
import re
import socket
import time
from pathlib import Path

import pytest
from e2b import Sandbox

from conftest import wait_for


def connect(broker):
    return socket.create_connection(("127.0.0.1", broker.port), timeout=10)


def memory_kib(broker):
    status = Path(f"/proc/{broker.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


@pytest.mark.footprint
def test_clients_that_never_read_do_not_fill_the_broker(own_broker):
    broker = own_broker()
    requests = b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
    clients = []
    before = memory_kib(broker)
    for _ in range(6):
        client = connect(broker)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(0.5)
        clients.append(client)
        try:
            for _ in range(1000):
                client.sendall(requests)
            raise AssertionError("40 MB of requests were taken, their answers unread")
        except TimeoutError:
            pass  # the broker reads no further
    grown = memory_kib(broker) - before
    print(f"\n6 connections that never read: {grown} KiB")
    assert grown < 6 * 1024
    for client in clients:
        client.close()
    assert broker.is_listening()


@pytest.mark.footprint
def test_bodies_without_a_key_do_not_fill_the_broker(own_broker):
    broker = own_broker("--relay-loops", "1")
    head = b"POST /sandboxes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048576\r\n\r\n"
    clients = []
    before = memory_kib(broker)
    for _ in range(100):
        client = connect(broker)
        try:
            client.sendall(head + b" " * 1048575)
        except OSError:
            pass  # refused already
        clients.append(client)
    assert broker.is_listening()
    grown = memory_kib(broker) - before
    print(f"\n100 bodies of 1 MiB without their last byte: {grown} KiB")
    assert grown < 48 * 1024
    for client in clients:
        client.close()


def test_a_request_to_the_root_in_absolute_form(broker, sandbox):
    sandbox.commands.run("python3 -m http.server 8000", background=True)
    host = f"8000-{sandbox.sandbox_id}.localhost"

    def ask():
        with connect(broker) as client:
            client.sendall(
                f"GET http://{host} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
            )
            return client.recv(65536).startswith(b"HTTP/1.1 200 ")

    wait_for(ask, 5, "the root of the sandbox's server")


ATTACK = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def outcome(result):
    return errno.errorcode[ctypes.get_errno()] if result < 0 else "done"
print("attach", outcome(libc.ptrace(16, 1, 0, 0)))
pidfd = libc.syscall(434, 1, 0)
print("descriptor", outcome(libc.syscall(438, pidfd, 3, 0)))
for name in ("mem", "environ"):
    try:
        open(f"/proc/1/{name}", "rb").close()
        print(name, "done")
    except OSError as e:
        print(name, errno.errorcode[e.errno])
"""


def test_root_of_a_sandbox_does_not_get_at_envd(sandbox):
    sandbox.files.write("/tmp/attack.py", ATTACK)
    out = sandbox.commands.run("python3 /tmp/attack.py", user="root").stdout
    assert out.splitlines() == ["attach EPERM", "descriptor EPERM", "mem EACCES", "environ EACCES"]
    assert sandbox.commands.run("echo alive").stdout == "alive\n"


def test_a_fork_bomb_is_deleted(own_broker):
    broker = own_broker("--max-pids", "1000")
    bomb = Sandbox.create(timeout=300)
    bystander = Sandbox.create(timeout=300)
    bomb.commands.run("bomb() { bomb | bomb & }; bomb", background=True)
    record = json.loads(
        (broker.state / f"state/sandboxes/{bomb.sandbox_id}/record.json").read_text()
    )
    groups = Path(f"/proc/{record['instance']['pid']}/cgroup").read_text()
    path = re.search(r":(?:pids)?:(/.*%s)$" % bomb.sandbox_id, groups, re.M)[1]
    current = next(
        p for p in (Path(f"/sys/fs/cgroup/pids{path}"), Path(f"/sys/fs/cgroup{path}")) if p.exists()
    ) / "pids.current"
    wait_for(lambda: int(current.read_text()) > 900, 30, "the bomb has filled its sandbox")
    assert bystander.commands.run("echo fine").stdout == "fine\n"
    begin = time.monotonic()
    assert bomb.kill()
    print(f"\na fork bomb of 1000 processes was deleted in {time.monotonic() - begin:.2f} s")
    assert time.monotonic() - begin < 5
    assert bystander.kill()

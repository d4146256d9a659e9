# SPDX-License-Identifier: Apache-2.0
"""F13: the broker is out of descriptors: it accepts and drops, does not spin, and recovers at once."""

import resource
import socket
import time

from e2b import Sandbox

from conftest import wait_for

LIMIT = 256


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def health(broker):
    try:
        with socket.create_connection(("127.0.0.1", broker.port), timeout=2) as s:
            s.settimeout(2)
            s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return s.recv(64).startswith(b"HTTP/1.1 20")
    except OSError:
        return False


def test_accepts_and_drops_without_spinning(own_broker):
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    broker = own_broker()
    sandbox = Sandbox.create(timeout=300)
    running = sandbox.commands.run("while :; do echo x; sleep 0.2; done", background=True)
    broker.limit("nofile", f"{LIMIT}:{LIMIT}")
    held = []
    for _ in range(LIMIT + 100):
        s = socket.socket()
        s.settimeout(5)
        s.connect(("127.0.0.1", broker.port))
        held.append(s)
    wait_for(lambda: not health(broker), 5, "the broker runs out of descriptors")

    before, at = cpu_seconds(broker.process.pid), time.monotonic()
    stream = iter(running)
    for _ in range(10):  # about two seconds of output over a connection from before
        next(stream)
    share = (cpu_seconds(broker.process.pid) - before) / (time.monotonic() - at)
    print(f"\nF13: {share:.1%} CPU while out of descriptors")
    assert share < 0.05

    for s in held:
        s.close()
    released = time.monotonic()
    wait_for(lambda: health(broker), 5, "normal again")
    print(f"F13: normal {time.monotonic() - released:.3f} s after the release")
    assert time.monotonic() - released < 1.0
    running.disconnect()
    assert sandbox.kill()

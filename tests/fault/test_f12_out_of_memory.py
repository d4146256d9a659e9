# SPDX-License-Identifier: Apache-2.0
"""F12: out of memory. In a sandbox the greedy process dies and envd lives.

A broker without memory refuses requests, each alone, and serves again when there is some.
"""

import os
import resource
import threading

import pytest
from e2b import CommandExitException, Sandbox

from conftest import BIN, wait_for
from support import http_request, routing

GREEDY = """
import mmap
kept = []
while True:
    kept.append(mmap.mmap(-1, 64 << 20))
    for at in range(0, 64 << 20, 4096):
        kept[-1][at] = 1
"""


def test_a_greedy_process_dies_alone(sandbox):
    sandbox.files.write("/home/user/greedy.py", GREEDY)
    bystander = sandbox.commands.run("sleep 1000", background=True)
    with pytest.raises(CommandExitException) as killed:
        sandbox.commands.run("exec python3 greedy.py", timeout=60)
    print(f"\nF12: the greedy process ended with {killed.value.exit_code} {killed.value.error!r}")
    assert killed.value.error == "signal: killed"
    assert [p.pid for p in sandbox.commands.list()] == [bystander.pid]
    assert sandbox.commands.run("echo alive").stdout == "alive\n"


@pytest.mark.skipif("asan" in str(BIN), reason="a sanitizer reserves terabytes: the address space cannot be limited")
def test_a_broker_without_memory_fails_requests_and_recovers(own_broker):
    broker = own_broker()
    sandbox = Sandbox.create(timeout=300)
    pid = broker.process.pid
    size = int(open(f"/proc/{pid}/statm").read().split()[0]) * resource.getpagesize()
    broker.limit("as", f"{size + (256 << 10)}:unlimited")
    statuses, lock = [], threading.Lock()

    def client(n):
        for i in range(40):
            try:
                if (n + i) % 2:
                    got = http_request(broker, "GET", "/health", routing(sandbox)).status
                else:
                    body = b'{"templateID":"base","metadata":{"a":"' + b"x" * 500_000 + b'"}}'
                    got = http_request(broker, "POST", "/sandboxes", {
                        "X-API-Key": os.environ["E2B_API_KEY"],
                        "Content-Type": "application/json"}, body).status
            except OSError:
                got = "closed"
            with lock:
                statuses.append(got)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert len(statuses) == 16 * 40, "a request hangs"
    counts = {s: statuses.count(s) for s in sorted(set(statuses), key=str)}
    print(f"\nF12: with 256 KiB to spare: {counts}")
    assert broker.process.poll() is None, "the broker ended"
    assert set(counts) <= {204, 400, 503, "closed"}  # 400: such metadata is too long with memory too
    broker.limit("as", "unlimited:unlimited")
    wait_for(lambda: http_request(broker, "GET", "/health", routing(sandbox)).status == 204, 5, "recovery")
    assert sandbox.commands.run("echo on").stdout == "on\n"
    assert Sandbox.create(timeout=60).kill() and sandbox.kill()

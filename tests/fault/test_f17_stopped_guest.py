# SPDX-License-Identifier: Apache-2.0
"""F17: a guest that stands still: connections time out at 2 s, streams stay, all goes on at its end.

The sandbox's first process, envd, is stopped with SIGSTOP. The kernel still completes connections to
its socket, so what times out is the channel's handshake.
"""

import os
import signal
import threading
import time

from e2b import Sandbox, SandboxException

from conftest import wait_for
from support import http_request, routing
from test_f05_envd_dies import envd_pid
from test_f15_slow_reader import rss_kib


def ask(broker, sandbox):
    """(status, seconds) of a request that needs a channel of its own."""
    started = time.monotonic()
    answer = http_request(broker, "GET", "/", routing(sandbox, 8000))
    return answer.status, time.monotonic() - started


def test_a_stopped_guest_answers_504_and_recovers(own_broker):
    broker = own_broker()
    sandbox = Sandbox.create(timeout=300)
    bystander = Sandbox.create(timeout=300)
    ticks = []
    handle = sandbox.commands.run(
        "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done", background=True, timeout=0
    )

    def follow():
        try:
            for out, _, _ in handle:
                ticks.extend(int(n) for n in (out or "").split())
        except SandboxException:
            pass  # killed at the end; what it delivered is what counts

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    wait_for(lambda: len(ticks) > 10, 10, "output")
    pid = envd_pid(broker, sandbox.sandbox_id)
    os.kill(pid, signal.SIGSTOP)
    try:
        before = rss_kib(broker.process.pid)
        status, took = ask(broker, sandbox)
        print(f"\nF17: {status} after {took:.2f} s")
        assert status == 504 and 1.9 <= took <= 3.0
        answers = []
        clients = [
            threading.Thread(target=lambda: answers.append(ask(broker, sandbox)))
            for _ in range(50)
        ]
        for c in clients:
            c.start()
        assert bystander.commands.run("echo fine").stdout == "fine\n"
        for c in clients:
            c.join(10)
        assert {a for a, _ in answers} == {504} and max(t for _, t in answers) <= 3.0
        assert rss_kib(broker.process.pid) - before < 16 * 1024
        assert reader.is_alive(), "the stream ended"
        seen = len(ticks)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: len(ticks) > seen + 10, 10, "output after the stop")
    assert ticks == list(range(1, len(ticks) + 1)), "output was lost or doubled"
    assert sandbox.commands.run("echo on").stdout == "on\n"
    assert sandbox.kill() and bystander.kill()


def test_deleting_a_stopped_guest_works(own_broker):
    broker = own_broker()
    sandbox = Sandbox.create(timeout=300)
    os.kill(envd_pid(broker, sandbox.sandbox_id), signal.SIGSTOP)
    started = time.monotonic()
    assert sandbox.kill()
    print(f"\nF17: a stopped guest was deleted in {time.monotonic() - started:.3f} s")
    assert time.monotonic() - started <= 3  # R3: 2 s, and the answer's way

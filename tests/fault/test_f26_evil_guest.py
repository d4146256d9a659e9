# SPDX-License-Identifier: Apache-2.0
"""F26: garbage from the guest: an agent that breaks every rule harms its own sandbox alone.

One broker runs sandboxes whose PID 1 is evil_envd.py; the shared broker beside it is not concerned.
Bounds are the relay's: nothing is gathered, so memory stays flat under any flood.
"""

import os
import socket
import time
from pathlib import Path

import pytest
from e2b import Sandbox

from conftest import wait_for
from support import http_request, routing
from test_f15_slow_reader import rss_kib

EVIL = Path(__file__).resolve().parent / "evil_envd.py"

# What a client sees: a status, "broken" after a head that was fine, or "hangs" until it leaves.
EXPECTED = {
    "endless-head": 502,
    "endless-line": 502,
    "interim-flood": 502,
    "unasked-101": 502,
    "two-replies": 200,
    "endless-chunk-size": "broken",
    "chunk-extensions": "broken",
    "endless-trailers": "broken",
    "short-body": "broken",
    "both-lengths": 502,
    "bare-cr": 502,
    "no-http": 502,
    "hang-up": 502,
    "silence": "hangs",
}
HANDSHAKES = {50001: 504, 50002: 502, 50003: 502, 50004: 502, 50005: 502}


@pytest.fixture(scope="module")
def evil(scratch):
    os.environ["ADIT_ENVD"] = str(EVIL)
    from conftest import Broker, exported, kill_everything, leftovers

    broker = Broker(scratch / "evil").start()
    del os.environ["ADIT_ENVD"]
    with exported(broker):
        yield broker
        kill_everything(broker)
        broker.stop()
        assert not leftovers(broker)


@pytest.fixture
def sandbox(evil):
    s = Sandbox.create(timeout=300)
    yield s
    assert s.kill()


def outcome(broker, path, headers, timeout=5):
    try:
        return http_request(broker, "GET", path, headers, timeout=timeout).status
    except TimeoutError:
        return "hangs"
    except (OSError, Exception) as e:
        return "broken" if "Incomplete" in type(e).__name__ or isinstance(e, OSError) else repr(e)


@pytest.mark.parametrize("kind", EXPECTED)
def test_an_evil_reply_breaks_that_request_alone(evil, sandbox, kind):
    before = rss_kib(evil.process.pid)
    assert outcome(evil, f"/evil/{kind}", routing(sandbox)) == EXPECTED[kind]
    assert rss_kib(evil.process.pid) - before < 4 * 1024
    # The next request of anybody has a connection without a rest of the last.
    answer = http_request(evil, "GET", "/health", routing(sandbox))
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize("port", HANDSHAKES)
def test_an_evil_handshake_is_an_error_in_time(evil, sandbox, port):
    started = time.monotonic()
    assert outcome(evil, "/", routing(sandbox, port)) == HANDSHAKES[port]
    assert time.monotonic() - started < 3.0  # 2 s to connect, R12: a second more
    assert http_request(evil, "GET", "/health", routing(sandbox)).status == 204


def test_an_endless_body_is_not_gathered_and_ends_with_its_reader(evil, sandbox):
    before = rss_kib(evil.process.pid)
    with socket.create_connection(("127.0.0.1", evil.port), timeout=10) as client:
        client.sendall(
            f"GET /evil/endless-body HTTP/1.1\r\nHost: localhost\r\nE2b-Sandbox-Id: "
            f"{sandbox.sandbox_id}\r\nE2b-Sandbox-Port: 49983\r\n\r\n".encode())
        taken = 0
        while taken < 64 << 20:
            taken += len(client.recv(1 << 20))
        assert rss_kib(evil.process.pid) - before < 4 * 1024
    wait_for(lambda: no_spin(evil.process.pid), 10, "the broker at rest")


def no_spin(pid):
    """Less than 5 % of a core over 0.2 s."""

    def ticks():
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before, at = ticks(), time.monotonic()
    deadline = at + 0.2
    while time.monotonic() < deadline:
        time.sleep(deadline - time.monotonic())  # the interval that is measured
    return (ticks() - before) / os.sysconf("SC_CLK_TCK") < 0.05 * (time.monotonic() - at) + 0.01


def test_other_sandboxes_do_not_notice(evil, broker, sandbox):
    victim = Sandbox.create(timeout=300)
    floods = []
    for kind in ("endless-head", "interim-flood", "endless-chunk-size", "endless-body") * 5:
        client = socket.create_connection(("127.0.0.1", evil.port), timeout=10)
        client.sendall(
            f"GET /evil/{kind} HTTP/1.1\r\nHost: localhost\r\nE2b-Sandbox-Id: "
            f"{sandbox.sandbox_id}\r\nE2b-Sandbox-Port: 49983\r\n\r\n".encode())
        floods.append(client)
    for _ in range(50):
        assert http_request(evil, "GET", "/health", routing(victim)).status == 204
    for client in floods:
        client.close()
    assert victim.kill()

# SPDX-License-Identifier: Apache-2.0
"""F4, F5, F17, F22 with virtual machines: one that stands still or is paused again and again under
traffic, a launcher that dies under it, and the end of its first process on the host.

The machine's monitor is stopped with SIGSTOP, so neither the guest nor its virtqueues move; the vsock
device runs on and must not wait for it, spin, or forget a channel.
"""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import wait_for
from e2b import SandboxException
from machines import (
    OPTIONS, create, ends_as_failed, is_untouched, need_machines, nothing_left, process, shepherd)
from test_f17_stopped_guest import ask
from support import http_request, routing

# Long enough for an emulated guest on a busy machine to answer CONNECTS at once, and shorter than
# what the vsock device grants it.
DIAL = "4s"
PAUSES = 10
CONNECTS = 32


@pytest.fixture
def machines(own_broker):
    need_machines()
    broker = own_broker(*OPTIONS, "--dial-timeout", DIAL)
    return broker, *create(2)


class Ticks:
    """Numbered output of a machine, followed all the time."""

    def __init__(self, sandbox):
        self.seen = []
        self.handle = sandbox.commands.run(
            "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done", background=True, timeout=0)
        threading.Thread(target=self.follow, daemon=True).start()
        self.go_on("output")

    def follow(self):
        try:
            for out, _, _ in self.handle:
                self.seen.extend(int(n) for n in (out or "").split())
        except SandboxException:
            pass  # killed at the end; what it delivered is what counts

    def go_on(self, what):
        before = len(self.seen)
        wait_for(lambda: len(self.seen) > before + 5, 30, what)
        assert self.seen == list(range(1, len(self.seen) + 1)), "output was lost or doubled"


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def answers_of(broker, sandbox):
    """Statuses of requests to a port where nobody listens, each on a channel of its own."""
    with ThreadPoolExecutor(CONNECTS) as pool:
        return list(pool.map(lambda _: http_request(broker, "GET", "/", routing(sandbox, 8000),
                                                    timeout=60).status, range(CONNECTS)))


def test_machines_that_stand_still_and_lose_their_keepers(machines):
    broker, sandbox, bystander = machines
    other = bystander.commands.run("sleep 1000", background=True, timeout=0)
    ticks = Ticks(sandbox)
    qemu, device = (process(broker, sandbox, name) for name in ("qemu", "vsock-device"))

    os.kill(qemu, signal.SIGSTOP)
    try:
        status, took = ask(broker, sandbox)
        assert status == 504 and 3.9 <= took <= 6.0, (status, took)
        used, begun = cpu_seconds(device), time.monotonic()
        is_untouched(bystander, other)
        time.sleep(1)
        share = (cpu_seconds(device) - used) / (time.monotonic() - begun)
        assert share < 0.05, f"the device of a machine that stands still takes {share:.0%} of a core"
    finally:
        os.kill(qemu, signal.SIGCONT)
    ticks.go_on("output after the stop")

    for _ in range(PAUSES):
        os.kill(qemu, signal.SIGSTOP)
        time.sleep(0.1)
        os.kill(qemu, signal.SIGCONT)
        assert set(answers_of(broker, sandbox)) == {502}, "the guest refuses, and does so itself"
    ticks.go_on("output after the pauses")

    keeper = broker.child("adit-keeper")
    os.kill(broker.child("adit-launcher", of=keeper), signal.SIGKILL)
    ticks.go_on("output without a launcher")
    wait_for(lambda: broker.child("adit-launcher", of=keeper), 10, "another launcher")

    # how, the launcher that is gone would have known
    ends_as_failed(broker, sandbox, lambda: os.kill(shepherd(broker, sandbox), signal.SIGKILL),
                   "reason=ended")
    nothing_left(broker, sandbox)
    is_untouched(bystander, other)
    assert bystander.kill()

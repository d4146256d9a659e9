# SPDX-License-Identifier: Apache-2.0
"""A sandbox that ends under an open stream: the SDK says that it was killed."""

import asyncio
import time

import httpx
import pytest
from e2b import AsyncSandbox, Sandbox, TimeoutException
from e2b.exceptions import SandboxNotRunningException

from support import KILLED

TICKS = "while :; do echo tick; sleep 0.05; done"


def follow(handle):
    for _ in handle:
        pass


def test_kill_under_a_stream(broker):
    sandbox = Sandbox.create(timeout=120)
    handle = sandbox.commands.run(TICKS, background=True)
    next(iter(handle))
    assert sandbox.kill()
    started = time.monotonic()
    with pytest.raises(SandboxNotRunningException, match=KILLED):
        follow(handle)
    assert time.monotonic() - started < 2
    assert not sandbox.is_running()


def test_kill_under_a_silent_stream(broker):
    sandbox = Sandbox.create(timeout=120)
    handle = sandbox.commands.run("sleep 1000", background=True)
    assert sandbox.kill()
    with pytest.raises(TimeoutException, match=KILLED):
        handle.wait()


def test_the_timeout_under_a_stream(broker):
    sandbox = Sandbox.create(timeout=1)
    handle = sandbox.commands.run(TICKS, background=True)
    with pytest.raises(TimeoutException, match=KILLED):
        follow(handle)
    assert not sandbox.is_running()


def test_kill_under_every_kind_of_stream(broker):
    """Output of a command, a terminal, input, a download: none ends as if it were whole."""
    sandbox = Sandbox.create(timeout=120)
    command = sandbox.commands.run("cat", background=True, stdin=True)
    second = sandbox.commands.connect(command.pid)
    sandbox.commands.run("truncate -s 4G /tmp/large")
    download = sandbox.files.read("/tmp/large", format="stream")
    assert next(download)

    def input_that_kills():
        yield "some\n"
        assert sandbox.kill()
        while True:
            yield "x" * 65536

    with pytest.raises((TimeoutException, httpx.TransportError)):
        sandbox.commands.stream_input(command.pid, input_that_kills())
    for handle in (command, second):
        with pytest.raises(TimeoutException, match=KILLED):
            handle.wait()
    with pytest.raises(httpx.TransportError):
        for _ in download:
            pass
    assert not sandbox.is_running()


def test_after_the_kill_every_call_says_so(broker):
    sandbox = Sandbox.create(timeout=120)
    assert sandbox.kill()
    for call in (
        lambda: sandbox.commands.run("true"),
        lambda: sandbox.commands.list(),
        lambda: sandbox.files.read("/etc/hostname"),
        lambda: sandbox.files.write("/tmp/x", "x"),
        lambda: sandbox.files.list("/"),
    ):
        with pytest.raises(SandboxNotRunningException):
            call()


async def test_kill_under_an_async_stream(broker):
    sandbox = await AsyncSandbox.create(timeout=120)
    first = asyncio.Event()
    handle = await sandbox.commands.run(TICKS, background=True, on_stdout=lambda _: first.set())
    await asyncio.wait_for(first.wait(), 20)
    assert await sandbox.kill()
    with pytest.raises(TimeoutException, match=KILLED):
        await asyncio.wait_for(handle.wait(), 10)
    assert not await sandbox.is_running()


async def test_kill_under_thirty_async_streams(broker):
    sandbox = await AsyncSandbox.create(timeout=120)
    handles = [await sandbox.commands.run("sleep 1000", background=True) for _ in range(30)]
    assert await sandbox.kill()
    ends = await asyncio.wait_for(
        asyncio.gather(*(h.wait() for h in handles), return_exceptions=True), 20)
    assert all(isinstance(e, TimeoutException) and KILLED.search(str(e)) for e in ends), ends

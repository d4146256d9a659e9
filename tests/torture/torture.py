# SPDX-License-Identifier: Apache-2.0
"""Torture: every allocation that a program makes for a request fails once, in one program that lives on.

What comes of that request is its own affair: an error, or a broken connection. The program answers
the next one, and in the end it holds as many blocks of memory as before. `failing_malloc.c` is
preloaded and says which allocations count.
"""

import http.client
import mmap
import time

import httpx
import pytest

from conftest import BIN, wait_for

LIBRARY = BIN.parent / "tests/torture/failing_malloc.so"
# More allocations than one request makes; the test asserts it.
FAILURES_MAX = 3000
ROUNDS = 4
SAME = 10
BROKEN = (OSError, http.client.HTTPException, httpx.HTTPError)


def preload(memory_path):
    """What a program is to be started with."""
    if "asan" in str(BIN):
        pytest.skip("needs a malloc of its own (release build, no sanitizer)")
    assert LIBRARY.exists(), "make torture builds it"
    return ["env", f"LD_PRELOAD={LIBRARY}", f"ADIT_TORTURE={memory_path}"]


class Memory:
    """The numbers that the broker shares with us."""

    def __init__(self, path):
        path.write_bytes(b"\0" * mmap.PAGESIZE)
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), mmap.PAGESIZE)
        self.numbers = memoryview(self.map).cast("q")

    def fail(self, n):
        self.numbers[0] = n

    @property
    def fired(self):
        return self.numbers[1]

    @property
    def live(self):
        return self.numbers[2]


def settled(w):
    """The blocks that there are once nothing of an earlier request is going on."""
    seen = []

    def is_same():
        seen.append(w.memory.live)
        time.sleep(0.005)
        return len(seen) > SAME and len(set(seen[-SAME:])) == 1

    wait_for(is_same, 20, "a broker at rest")
    return seen[-1]


def fail_each(w, request, status):
    """Return: how many allocations failed, each in its turn."""
    n, has_fired = 0, True
    while has_fired:
        n += 1
        assert n < FAILURES_MAX
        request.prepare()
        fired = w.memory.fired
        w.memory.fail(n)
        try:
            got = request.ask()
        except BROKEN:
            got = None
        w.memory.fail(0)
        has_fired = w.memory.fired != fired
        w.expect_alive()
        request.check(got)
        assert has_fired or got == status, f"{got} after {n} failures"
    return n - 1


def torture(w, request, status):
    """The same, and nothing is kept. Tables that grow once grow once: what leaks leaks each time."""
    for _ in range(2):
        request.prepare()
        assert request.ask() == status  # also makes what is made once
        request.check(status)
    more = []
    while not more or (more[-1] > 0 and len(more) < ROUNDS):
        before = settled(w)
        failed = fail_each(w, request, status)
        more.append(settled(w) - before)
    assert more[-1] <= 0, f"blocks more, each round: {more}"
    return failed


class Request:
    """One whose allocations fail; before and after it none does."""

    def __init__(self, ask):
        self.ask = ask

    def prepare(self):
        pass

    def check(self, got):
        pass

# SPDX-License-Identifier: Apache-2.0
"""R10: nothing is left of sandboxes that came and went; memory neither. ADIT_LEAK_CYCLES: how many."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import wait_for
from footprint import counts, memory, more
from history import History
from support import http_request

CYCLES = int(os.environ.get("ADIT_LEAK_CYCLES", "100"))
WARM_UP = 40
AT_ONCE = 4
# What one arena of the C library is worth: less is not seen as memory that stays.
GRAIN_KIB = 256


def cycle(broker, history, _=None):
    sandbox_id = history.create()
    headers = {"E2b-Sandbox-Id": sandbox_id, "E2b-Sandbox-Port": "49983"}
    assert http_request(broker, "GET", "/health", headers).status == 204
    assert history.kill(sandbox_id)


def settle(broker, before):
    """Wait until no count is above what it was; at the end of the patience say which is."""
    try:
        wait_for(lambda: not more(before, counts(broker)), 10, "all counts equal")
    except AssertionError:
        assert not more(before, counts(broker))


@pytest.mark.footprint
@pytest.mark.timeout(240 + CYCLES)
def test_nothing_is_left_of_what_came_and_went(own_broker):
    broker = own_broker()
    history = History(broker)
    # more at once than later: connections to the scheduler are made and kept
    with ThreadPoolExecutor(4 * AT_ONCE) as pool:
        list(pool.map(lambda n: cycle(broker, history, n), range(WARM_UP)))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        before, kib = counts(broker), memory(broker)
        started = time.monotonic()
        list(pool.map(lambda n: cycle(broker, history, n), range(CYCLES)))
        took = time.monotonic() - started
    settle(broker, before)
    after = memory(broker)
    assert history.violations() == []
    print(f"\nR10: {CYCLES} cycles, {CYCLES / took:.0f}/s; " + "; ".join(
        f"{name} {kib[name]} to {after[name]} KiB" for name in sorted(kib)))
    grown = {n: after[n] - kib[n] for n in kib if after[n] - kib[n] > max(GRAIN_KIB, kib[n] * 0.02)}
    assert not grown, f"memory in KiB: {grown}"

# SPDX-License-Identifier: Apache-2.0
"""F3: kill -9 of the scheduler at any moment: running sandboxes do not notice, nothing stays half made.

Creates run from several clients while the scheduler dies again and again at random moments; the
history of answers is then compared with what exists (R1, R3).
"""

import os
import random
import signal
import threading
import time

from e2b import Sandbox

from conftest import wait_for


def test_running_sandboxes_do_not_notice(own_broker):
    broker = own_broker()
    sandbox = Sandbox.create(timeout=300)
    os.kill(broker.scheduler(), signal.SIGKILL)
    for _ in range(20):
        assert sandbox.commands.run("echo on").stdout == "on\n"
    created = wait_for(lambda: try_create(), 30, "a create after the scheduler was restarted")
    assert Sandbox.kill(created) and sandbox.kill()


def try_create():
    try:
        return Sandbox.create(timeout=300, retries=0).sandbox_id
    except Exception:
        return None


def killed(sandbox_id):
    """(answer,) of the kill, or None while the key cannot be checked (503)."""
    try:
        return (Sandbox.kill(sandbox_id, retries=0),)
    except Exception:
        return None


def test_creates_and_kills_under_scheduler_deaths(own_broker):
    broker = own_broker()
    seed = int(os.environ.get("ADIT_SEED", "20261121"))
    rng = random.Random(seed)
    print(f"\nF3: seed {seed}")
    stop = threading.Event()
    alive, gone, failed, lock = set(), set(), [], threading.Lock()

    def client(n):
        mine = random.Random(seed + n)
        while not stop.is_set():
            sandbox_id = try_create()
            if sandbox_id is None:
                failed.append(n)
                continue
            with lock:
                assert sandbox_id not in alive | gone, "an id was given twice"
                alive.add(sandbox_id)
            if mine.random() < 0.8:
                assert wait_for(lambda: killed(sandbox_id), 30, "a kill's answer")[0], \
                    "a created sandbox was not there to kill"
                with lock:
                    alive.remove(sandbox_id)
                    gone.add(sandbox_id)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for _ in range(8):
        pid = wait_for(lambda: broker.scheduler(), 10, "scheduler restarted")
        deadline = time.monotonic() + rng.uniform(0.2, 1.2)
        # The moment is random on purpose: it falls into any of the state writes.
        stop.wait(deadline - time.monotonic())
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    wait_for(lambda: broker.scheduler(), 10, "scheduler restarted")
    stop.set()
    for t in threads:
        t.join(60)

    listed = set()
    pages = Sandbox.list()
    while pages.has_next:
        listed |= {s.sandbox_id for s in pages.next_items()}
    print(f"F3: {len(alive) + len(gone)} creates answered, {len(failed)} refused, "
          f"{len(gone)} killed")
    assert len(gone) > 5, "the test did next to nothing"
    assert alive <= listed, f"lost: {alive - listed}"
    assert not (gone & listed), f"back from the dead: {gone & listed}"
    assert listed == alive, f"half made: {listed - alive}"
    for sandbox_id in alive:
        assert Sandbox.connect(sandbox_id).commands.run("true").exit_code == 0
        assert Sandbox.kill(sandbox_id)

# SPDX-License-Identifier: Apache-2.0
"""R1, R3: what was answered with 201 is on record, what was answered with 204 is dead, for good.

Clients create and end sandboxes while the scheduler, the broker or both are killed at random moments,
which fall into any of the state writes; then the history of answers must be what exists.
ADIT_FAULT_SCALE=full: 10,000 creates over 200 kills of each.
"""

import os
import random
import signal
import threading

import pytest
from e2b import Sandbox

from conftest import wait_for
from history import History

FULL = os.environ.get("ADIT_FAULT_SCALE") == "full"
KILLS, CREATES = (200, 10_000) if FULL else (6, 20)
CLIENTS = 4


def kill_scheduler(broker):
    pid = broker.scheduler()
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def kill_broker(broker):
    broker.kill()
    broker.start()


def kill_both(broker):
    kill_scheduler(broker)
    kill_broker(broker)


def client(history, rng, stop, delays):
    while not stop.is_set():
        made = history.create()
        if made is None:
            delays.wait(0.1)  # the broker is down: not a thousand refused connections
        elif rng.random() < 0.8:
            wait_for(lambda: history.kill(made), 30, "a kill's answer")


@pytest.mark.timeout(7200 if FULL else 240)
@pytest.mark.parametrize("kill, warm", [(kill_scheduler, ""), (kill_broker, ""), (kill_both, ""),
                                        (kill_both, "base=4")])
def test_the_history_of_answers_is_what_exists(own_broker, kill, warm):
    """With a warm pool no sandbox is given to two clients, whenever the broker dies."""
    broker = own_broker("--warm", warm, "--max-sandboxes", "4000", "--cpu-overcommit", "10000",
                        "--memory-overcommit", "10000", "--disk-overcommit", "10000")
    seed = int(os.environ.get("ADIT_SEED", "20261121"))
    print(f"\nR1: seed {seed}")
    history, stop, rng = History(broker), threading.Event(), random.Random(seed)
    clients = [threading.Thread(target=client,
                                args=(history, random.Random(seed + n), stop, threading.Event()))
               for n in range(CLIENTS)]
    for t in clients:
        t.start()
    kills = 0
    while kills < KILLS or history.created < CREATES:
        wait_for(lambda: broker.scheduler(), 10, "scheduler restarted")
        stop.wait(rng.uniform(0.2, 1.2))
        kill(broker)
        kills += 1
    wait_for(lambda: broker.scheduler(), 10, "scheduler restarted")
    stop.set()
    for t in clients:
        t.join(60)
        assert not t.is_alive(), "a call hangs"
    print(f"R1: {kill.__name__}: {history} over {kills} kills")
    assert history.violations() == []
    listed = history.settled()
    assert len(history.gone) > 5, "the test did next to nothing"
    for sandbox_id in listed & history.alive:
        assert Sandbox.connect(sandbox_id).commands.run("true").exit_code == 0
    for sandbox_id in listed:
        history.kill(sandbox_id)
    assert history.settled() == set()

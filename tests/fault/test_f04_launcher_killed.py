# SPDX-License-Identifier: Apache-2.0
"""F4: kill -9 of the launcher and of its keeper: what runs goes on, and creating works again."""

import os
import signal

from conftest import wait_for
from e2b import Sandbox
from test_f03_scheduler_killed import try_create


def created(broker):
    return wait_for(try_create, 10, "a create")


def test_a_killed_launcher_is_replaced(own_broker):
    broker = own_broker()
    sandbox = Sandbox.create(timeout=300)
    keeper = broker.child("adit-keeper")
    launcher = broker.child("adit-launcher", of=keeper)
    os.kill(launcher, signal.SIGKILL)
    assert sandbox.commands.run("echo on").stdout == "on\n"
    fresh = created(broker)
    assert Sandbox.kill(fresh) and sandbox.kill()


def test_a_broker_without_a_keeper_ends_for_a_new_one(own_broker):
    broker = own_broker("--drain-timeout", "1s")
    sandbox = Sandbox.create(timeout=300)
    handle = sandbox.commands.run("sleep 1000", background=True)
    os.kill(broker.child("adit-keeper"), signal.SIGKILL)
    assert broker.process.wait(40) == 69
    broker.start()
    again = wait_for(lambda: Sandbox.connect(sandbox.sandbox_id), 10, "reconnect")
    assert [p.pid for p in again.commands.list()] == [handle.pid]
    fresh = created(broker)
    assert Sandbox.kill(fresh) and again.kill()

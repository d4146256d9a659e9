# SPDX-License-Identifier: Apache-2.0
"""F3: kill -9 of the scheduler: running sandboxes do not notice. Creates: test_r1_r3_records.py."""

import os
import signal

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

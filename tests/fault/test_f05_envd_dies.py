# SPDX-License-Identifier: Apache-2.0
"""F5: envd, PID 1 of the sandbox, dies: streams break (never a clean end), the sandbox is gone in 5 s."""

import json
import os
import signal
import time

import pytest
from e2b import Sandbox, SandboxException

from conftest import wait_for


def envd_pid(broker, sandbox_id):
    """The host's pid of a sandbox's first process, from the sandbox's record."""
    record = json.loads((broker.state / f"state/sandboxes/{sandbox_id}/record.json").read_text())
    return record["instance"]["pid"]


def test_streams_break_and_the_sandbox_ends(own_broker):
    broker = own_broker()
    sandbox = Sandbox.create(timeout=300)
    bystander = Sandbox.create(timeout=300)
    pid = envd_pid(broker, sandbox.sandbox_id)
    handle = sandbox.commands.run("sleep 1000", background=True)
    other = bystander.commands.run("sleep 1000", background=True)
    os.kill(pid, signal.SIGKILL)
    killed_at = time.monotonic()
    with pytest.raises(SandboxException) as broken:
        handle.wait()
    print(f"\nF5: stream ended after {time.monotonic() - killed_at:.3f} s with "
          f"{type(broken.value).__name__}")
    assert time.monotonic() - killed_at < 5
    wait_for(lambda: not sandbox.is_running(), 5, "is_running false")
    wait_for(lambda: f"sandbox={sandbox.sandbox_id} state=failed" in broker.log(), 5, "state failed on record")
    with pytest.raises(SandboxException):
        sandbox.get_info()
    assert bystander.commands.run("echo fine").stdout == "fine\n"
    assert [p.pid for p in bystander.commands.list()] == [other.pid]
    assert bystander.kill()
    assert not sandbox.kill()

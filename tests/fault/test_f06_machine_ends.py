# SPDX-License-Identifier: Apache-2.0
"""F6: kill -9 of a virtual machine's monitor, a guest that panics, one that reboots: as F5, each alone."""

import os
import signal

from e2b import Sandbox
from e2b.exceptions import SandboxException
from machines import OPTIONS, create, ends_as_failed, is_untouched, need_machines, nothing_left, process


def trigger(sandbox, key):
    """Have the guest's kernel do something at once; it cannot answer after that."""
    try:
        sandbox.commands.run(f"echo {key} > /proc/sysrq-trigger", user="root", timeout=10)
    except SandboxException:
        pass


def test_a_machine_that_ends_takes_its_sandbox_alone(own_broker):
    need_machines()
    broker = own_broker(*OPTIONS)
    killed, panics, bystander = create(3)
    other = bystander.commands.run("sleep 1000", background=True, timeout=0)
    ends_as_failed(broker, killed, lambda: os.kill(process(broker, killed, "qemu"), signal.SIGKILL),
                   "the VMM: signal: killed")
    ends_as_failed(broker, panics, lambda: trigger(panics, "c"), "panic")
    nothing_left(broker, killed)
    nothing_left(broker, panics)
    reboots = Sandbox.create(timeout=600, request_timeout=120)
    ends_as_failed(broker, reboots, lambda: trigger(reboots, "b"), "rebooted")
    nothing_left(broker, reboots)
    is_untouched(bystander, other)
    assert bystander.kill()

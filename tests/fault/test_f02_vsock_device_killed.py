# SPDX-License-Identifier: Apache-2.0
"""F2: kill -9 of one vsock-device: its sandbox fails within 5 s and says so; no other one notices."""

import os
import signal
from pathlib import Path

from machines import OPTIONS, create, ends_as_failed, is_untouched, need_machines, nothing_left, process


def test_a_killed_device_ends_its_sandbox_alone(own_broker):
    need_machines()
    broker = own_broker(*OPTIONS)
    victim, bystander = create(2)
    other = bystander.commands.run("sleep 1000", background=True, timeout=0)
    monitor = process(broker, victim, "qemu")
    ends_as_failed(broker, victim, lambda: os.kill(process(broker, victim, "vsock-device"), signal.SIGKILL),
                   "vsock-device: signal: killed")
    nothing_left(broker, victim)
    assert not Path(f"/proc/{monitor}").exists(), "the monitor goes with its device"
    is_untouched(bystander, other)
    assert bystander.kill()

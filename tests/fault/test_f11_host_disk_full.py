# SPDX-License-Identifier: Apache-2.0
"""F11: the host's disk is full: what runs is served on, creates are refused, and both recover.

The broker's state directory is a small ext4 image of the test's own, filled to its last block.
"""

import subprocess

import pytest
from e2b import Sandbox
from e2b.exceptions import SandboxException, ServiceBusyException

from conftest import Broker, exported, kill_everything, leftovers, wait_for


@pytest.fixture
def broker_on_small_disk(scratch):
    broker = Broker(scratch / "small", ["--disk-overcommit", "1000000"])
    image, disk = scratch / "small.img", broker.state / "state"
    disk.mkdir(parents=True)
    subprocess.run(["truncate", "-s", "32M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, disk], check=True)
    try:
        broker.start()
        with exported(broker):
            yield broker
        kill_everything(broker)
        broker.stop()
        subprocess.run(["umount", disk], check=True)
        assert not leftovers(broker)
    finally:
        subprocess.run(["umount", "-l", disk], check=False, stderr=subprocess.DEVNULL)


def fill(disk):
    """Every last byte; larger blocks first, because that is quick."""
    with open(disk / "filler", "wb", buffering=0) as f:
        for size in (1 << 20, 4096, 1):
            try:
                while f.write(b"\0" * size):
                    pass
            except OSError:
                pass


def test_what_runs_goes_on_and_creates_are_refused(broker_on_small_disk):
    broker = broker_on_small_disk
    disk = broker.state / "state"
    sandbox = Sandbox.create(timeout=300)
    handle = sandbox.commands.run("sleep 1000", background=True)
    fill(disk)
    for _ in range(5):
        assert sandbox.commands.run("echo on").stdout == "on\n"
        with pytest.raises(ServiceBusyException) as refused:
            Sandbox.create(timeout=60, retries=0)
    print(f"\nF11: a create on a full disk: {refused.value}")
    assert [p.pid for p in sandbox.commands.list()] == [handle.pid]
    pages = Sandbox.list()
    assert [s.sandbox_id for s in pages.next_items()] == [sandbox.sandbox_id], "half made"
    broker.check_reports()
    (disk / "filler").unlink()

    def created():
        try:
            return Sandbox.create(timeout=60, retries=0)
        except (SandboxException, ServiceBusyException):
            return None

    assert wait_for(created, 10, "a create with room again").kill()
    broker.kill()
    broker.start()
    again = wait_for(lambda: Sandbox.connect(sandbox.sandbox_id), 10, "reconnect")
    assert [p.pid for p in again.commands.list()] == [handle.pid]
    fill(disk)
    assert again.kill(), "a delete needs no room"
    assert not Sandbox.kill(sandbox.sandbox_id)
    (disk / "filler").unlink()

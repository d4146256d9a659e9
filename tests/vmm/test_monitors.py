# SPDX-License-Identifier: Apache-2.0
"""The Firecracker and Cloud Hypervisor drivers against stand-ins that check every request.

Neither program is there; docs/isolation.md says what that leaves unproven.
"""

import contextlib
import itertools
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from e2b import Sandbox

from conftest import BIN, Broker, end, exported, kill_everything, wait_for
from guests import Guests, make_stand_in
from support import api

# The stand-ins use no KVM, and this machine need have none: any node will do.
WITH_KVM = ["unshare", "--mount", "--propagation", "private", "sh", "-c", """
cd /dev && mount -t tmpfs dev /mnt && cp -a null zero full random urandom tty /mnt/ &&
mkdir /mnt/shm /mnt/pts && mknod /mnt/kvm c 1 3 && cd / && mount --move /mnt /dev && exec "$0" "$@"
"""]
NUMBERS = itertools.count()
KINDS = ("firecracker", "cloud-hypervisor")


@pytest.fixture
def guest_dir(scratch):
    """Files in the place of the images: the stand-ins only open them."""
    folder = scratch / "stand-in-guest"
    folder.mkdir(exist_ok=True)
    for name in ("vmlinux", "initramfs"):
        (folder / name).write_bytes(b"stand-in")
    return folder


@pytest.fixture
def start(broker, scratch, guest_dir):
    """A broker with a stand-in, and the guests of its machines."""
    with contextlib.ExitStack() as stack:
        def make(kind, way=""):
            program = make_stand_in(scratch / "stand-ins", kind, way)
            number = next(NUMBERS)
            b = Broker(scratch / f"monitor-{number}", (
                "--vmm", kind, "--accel", "kvm", "--isolation", "vm", f"--{kind}", str(program),
                "--guest-dir", str(guest_dir)))
            b.prefix = WITH_KVM
            b.start()
            guests = Guests(b.state / "state/sandboxes", scratch / f"guests-{number}")
            guests.start()
            stack.callback(finish, b, guests)
            stack.enter_context(exported(b))
            return b, guests

        yield make


def finish(broker, guests):
    kill_everything(broker)
    guests.stop()
    end(broker, [])


def monitors_of(place):
    """Processes whose API is at that place."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if words.startswith(b"python3\0-I\0") and str(place).encode() in words.split(b"\0", 5)[-1]:
            found.append(int(entry.name))
    return found


def create(**more):
    return Sandbox.create(timeout=120, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_a_machine_is_made_used_and_ended(start, kind):
    broker, guests = start(kind)
    sandbox = create(envs={"WORD": "told"})
    told = api(broker, "GET", f"/sandboxes/{sandbox.sandbox_id}").json()
    assert told["isolation"] == "vm"
    assert sandbox.commands.run("echo $WORD; id -un").stdout == "told\nuser\n"
    sandbox.files.write("/home/user/note", "kept")
    assert sandbox.files.read("/home/user/note") == "kept"
    parts = guests.told[0]
    if kind == "firecracker":
        assert list(parts) == ["/machine-config", "/boot-source", "/drives/root", "/drives/overlay",
                               "/vsock", "/balloon"]
        assert parts["/machine-config"]["mem_size_mib"] == told["memoryMB"]
        assert parts["/drives/root"]["is_read_only"] and parts["/vsock"]["guest_cid"] >= 3
        words = parts["/boot-source"]["boot_args"]
    else:
        assert parts["memory"]["size"] == told["memoryMB"] << 20
        assert [d["serial"] for d in parts["disks"]] == ["root", "overlay"]
        assert parts["landlock_enable"] is True
        words = parts["payload"]["cmdline"]
    assert words.endswith(f"-- --vm --hostname {sandbox.sandbox_id}") and "panic=-1" in words
    assert sandbox.kill()


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_of_a_monitor_is_the_end_of_its_sandbox(start, kind):
    broker, _ = start(kind)
    sandbox = create()
    os.kill(monitors_of(sandbox.sandbox_id)[0], signal.SIGKILL)
    wait_for(lambda: api(broker, "GET", f"/sandboxes/{sandbox.sandbox_id}").status == 404, 20,
             "the sandbox's end")
    assert re.search(r"signal: killed", broker.log())


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_broker_finds_the_machine_again(start, kind):
    broker, _ = start(kind)
    sandbox = create()
    broker.kill()
    broker.process.wait(10)
    broker.start()
    assert sandbox.commands.run("echo again").stdout == "again\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way, said", [
    ("-refuses", "refused .* with status 400: it is broken on purpose"),
    ("-dies", "stand-in: no KVM here"), ("-babbles", "the monitor's answer to "),
    ("-floods", "refused .* with status 400:  x x x"), ("-hangs", "did not answer .* in time")])
def test_what_does_not_start_is_said_and_leaves_nothing(start, kind, way, said):
    broker, _ = start(kind, way)
    made = api(broker, "POST", "/v2/sandboxes", {"templateID": "base"})  # once; clients try again
    assert made.status in (500, 504), made.text
    assert re.search(said, broker.log()), broker.log()[-2000:]
    assert "\x1b" not in broker.log()
    wait_for(lambda: not list((broker.state / "state/sandboxes").glob("i*")), 20, "its removal")
    assert not monitors_of(broker.state)


@pytest.mark.parametrize("version", ["Firecracker v1.16.0", "Firecracker v0.25.2", "QEMU 7", ""])
def test_an_old_firecracker_is_refused(scratch, guest_dir, version):
    program = make_stand_in(scratch / "old", "firecracker", version=version or " ")
    run = subprocess.run(
        [str(BIN / "broker"), "--listen", "127.0.0.1:0", "--state-dir", str(scratch / "old-state"),
         "--vmm", "firecracker", "--accel", "kvm", "--isolation", "vm", "--firecracker",
         str(program), "--guest-dir", str(guest_dir), "--scheduler-program", str(BIN / "scheduler"),
         "--envd", str(BIN / "envd")], capture_output=True, text=True, timeout=30)
    assert run.returncode != 0
    assert "is no Firecracker of 1.16.1 or later" in run.stderr + run.stdout

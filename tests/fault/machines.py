# SPDX-License-Identifier: Apache-2.0
"""What faults of virtual machines share: a broker that makes them, and their processes."""

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import BIN, REPO, children_of, wait_for
from e2b import Sandbox, SandboxException

GUEST = REPO / "build/run/guest"
OPTIONS = ("--isolation", "vm", "--accel", "tcg", "--guest-dir", str(GUEST), "--ready-timeout", "60s",
           "--create-timeout", "60s")


def need_machines():
    missing = [what for what, there in (
        ("qemu-system-x86", shutil.which("qemu-system-x86_64")),
        (f"{BIN / 'vsock-device'} (make build)", (BIN / "vsock-device").exists()),
        (f"{GUEST}/initramfs (make guest)", (GUEST / "initramfs").exists())) if not there]
    if missing:
        pytest.skip("needs " + ", ".join(missing))


def create(cnt):
    """That many machines, made at once."""
    with ThreadPoolExecutor(cnt) as pool:
        return list(pool.map(lambda _: Sandbox.create(timeout=600, request_timeout=120), range(cnt)))


def shepherd(broker, sandbox):
    """The sandbox's first process, as its record has it."""
    record = broker.state / f"state/sandboxes/{sandbox.sandbox_id}/record.json"
    return json.loads(record.read_text())["instance"]["pid"]


def process(broker, sandbox, name):
    """The sandbox's QEMU ("qemu") or device ("vsock-device")."""
    for pid in children_of(shepherd(broker, sandbox)):
        if Path(f"/proc/{pid}/comm").read_text().startswith(name):
            return pid
    raise AssertionError(f"{sandbox.sandbox_id} has no process {name}")


def ends_as_failed(broker, sandbox, fault, words):
    """`fault()` ends the sandbox: a stream that was open breaks, never cleanly, and within 5 s the record
    says why."""
    handle = sandbox.commands.run("sleep 1000", background=True, timeout=0)
    fault()
    begun = time.monotonic()
    with pytest.raises(SandboxException) as broken:
        handle.wait()
    print(f"\n{words}: stream ended after {time.monotonic() - begun:.3f} s with {type(broken.value).__name__}")
    failed = f"sandbox={sandbox.sandbox_id} state=failed"
    line = wait_for(lambda: next((li for li in broker.log().splitlines() if failed in li), None), 5, failed)
    assert words in line, line
    wait_for(lambda: not sandbox.is_running(), 5, "is_running false")
    assert not sandbox.kill()


def nothing_left(broker, sandbox):
    wait_for(lambda: not (broker.state / f"state/sandboxes/{sandbox.sandbox_id}").exists(), 10,
             "the sandbox's directory to go")


def is_untouched(sandbox, handle):
    assert sandbox.commands.run("echo fine").stdout == "fine\n"
    assert handle.pid in [p.pid for p in sandbox.commands.list()]

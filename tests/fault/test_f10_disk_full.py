# SPDX-License-Identifier: Apache-2.0
"""F10: the disk in the guest is full: 507, and the old file is untouched (R5).

The guest may not mount anything, so the 2 MiB file system is mounted into the sandbox's mount
namespace from outside.
"""

import subprocess
import sys

import pytest
import requests
from e2b import Sandbox, SandboxException

from test_f05_envd_dies import envd_pid


# The mount program of the sandbox's root would not be root out here, so the call is made directly.
MOUNT = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open(f"/proc/{sys.argv[1]}/ns/mnt", os.O_RDONLY)
failed = libc.setns(fd, 0x00020000) or libc.mount(
    b"tmpfs", b"/home/user/small", b"tmpfs", 0, b"size=2m,mode=777")
sys.exit(os.strerror(ctypes.get_errno()) if failed else 0)
"""


@pytest.fixture
def small_disk(broker):
    sandbox = Sandbox.create(timeout=300)
    pid = envd_pid(broker, sandbox.sandbox_id)
    sandbox.commands.run("mkdir -p /home/user/small")
    subprocess.run([sys.executable, "-c", MOUNT, str(pid)], check=True)
    yield sandbox
    assert sandbox.kill()


@pytest.mark.parametrize("size", [3 * 1024 * 1024, 512 * 1024 * 1024])
def test_upload_beyond_the_disk_is_507_and_leaves_nothing(small_disk, broker, size):
    body = b"x" * size
    answer = requests.post(
        f"{broker.url}/files",
        params={"path": "/home/user/small/new.bin"},
        data=body,
        headers={
            "E2b-Sandbox-Id": small_disk.sandbox_id,
            "E2b-Sandbox-Port": "49983",
            "X-Access-Token": small_disk._envd_access_token,
            "Content-Type": "application/octet-stream",
        },
        timeout=60,
    )
    assert answer.status_code == 507, answer.text
    assert answer.json()["code"] == 507
    assert small_disk.commands.run("ls -A /home/user/small").stdout == ""


@pytest.mark.parametrize("old_size", [100, 900 * 1024])
def test_overwrite_beyond_the_disk_keeps_the_old_file(small_disk, old_size):
    old = b"o" * old_size
    small_disk.files.write("/home/user/small/kept.bin", old)
    small_disk.commands.run(
        "head -c 1000000 /dev/zero > /home/user/small/filler; "
        "dd if=/dev/zero of=/home/user/small/filler2 bs=4096 2>/dev/null; true"
    )
    for size in (old_size + 200 * 1024, 3 * 1024 * 1024):
        with pytest.raises(SandboxException, match="not enough disk space"):
            small_disk.files.write("/home/user/small/kept.bin", b"n" * size)
        assert small_disk.files.read("/home/user/small/kept.bin", format="bytes") == old
    left = small_disk.commands.run("ls -A /home/user/small").stdout.split()
    assert sorted(left) == ["filler", "filler2", "kept.bin"]
    assert small_disk.commands.run("echo still works").stdout == "still works\n"

# SPDX-License-Identifier: Apache-2.0
"""vsock-device as a process: how it starts and ends, and what it has given up. No guest runs: this
file speaks as the VMM."""

import contextlib
import os
import re
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from guest import BIN, TIED

DEVICE = BIN / "vsock-device"
GET_FEATURES, SET_OWNER, SET_MEM_TABLE = 1, 3, 5
EX_PROTOCOL = 76
USER = 65534

pytestmark = pytest.mark.skipif(not DEVICE.exists(), reason=f"needs {DEVICE} (make build)")


def message(request, payload=b"", flags=1):
    return struct.pack("<III", request, flags, len(payload)) + payload


@contextlib.contextmanager
def started(tmp_path, *options, user=None):
    """The device, and the VMM's end of its socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "channel.sock"))
        listener.listen()
        fds = (theirs.fileno(), listener.fileno())
        tie = [*TIED, f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else TIED
        device = subprocess.Popen(
            [*tie, DEVICE, "--vhost-fd", str(fds[0]), "--listen-fd", str(fds[1]),
             "--guest-cid", "5", *options], pass_fds=fds, stderr=subprocess.PIPE, text=True)
        theirs.close()
        ours.settimeout(20)
        try:
            yield device, ours
        finally:
            device.kill()
            device.wait()
            device.stderr.close()


def serves(vmm):
    """It answers, so it has given up what it does not need."""
    vmm.sendall(message(GET_FEATURES))
    request, flags, length, features = struct.unpack("<IIIQ", vmm.recv(100))
    assert (request, flags, length) == (GET_FEATURES, 5, 8)
    return features


def test_it_leaves_in_order_when_the_vmm_does(tmp_path):
    with started(tmp_path) as (device, vmm):
        assert serves(vmm) & 1 << 32
        vmm.close()
        assert device.wait(20) == 0
        assert device.stderr.read() == ""


@pytest.mark.parametrize("breach, reason", [
    (message(99), "request 99 is not offered"),
    (message(SET_OWNER, flags=2), "another version"),
    (message(SET_MEM_TABLE, b"\xff" * 8), "descriptors"),
    (message(SET_OWNER, b"x" * 8), "request 3 of 8 bytes"),
    (os.urandom(12), "request"),
])
def test_a_broken_protocol_ends_it_with_a_reason(tmp_path, breach, reason):
    with started(tmp_path) as (device, vmm):
        vmm.sendall(breach)
        assert device.wait(20) == EX_PROTOCOL
        said = device.stderr.read()
        assert said.count("\n") == 1 and reason in said, said


def test_a_file_that_is_shorter_than_its_region_ends_it(tmp_path):
    with started(tmp_path) as (device, vmm):
        serves(vmm)
        memory = os.memfd_create("short")
        os.ftruncate(memory, 4096)
        table = struct.pack("<IIQQQQ", 1, 0, 0, 8192, 1 << 40, 0)
        socket.send_fds(vmm, [message(SET_MEM_TABLE, table)], [memory])
        os.close(memory)
        assert device.wait(20) == EX_PROTOCOL
        assert "shorter" in device.stderr.read()


@pytest.mark.parametrize("options, reason", [
    ([], "vhost-fd"),
    (["--vhost-fd", "9"], "listen-fd"),
    (["--vhost-fd", "9", "--listen-fd", "9", "--socket", "/x"], "listen-fd"),
    (["--vhost-fd", "99", "--listen-fd", "98"], "listen-fd"),
    (["--vhost-fd", "9", "--listen-fd", "9", "--guest-cid", "2"], "guest-cid"),
    (["--vhost-socket", "/nowhere/v", "--socket", "/nowhere/c"], "/nowhere/c"),
    (["word"], "word"),
    (["--seccomp", "maybe", "--vhost-fd", "0"], "vhost-fd"),
])
def test_what_cannot_be_started_says_why(options, reason):
    run = subprocess.run([DEVICE, *options], capture_output=True, text=True, timeout=20)
    assert run.returncode != 0
    assert reason in run.stderr and run.stderr.count("\n") == 1


def listening(device, path):
    while not path.exists():
        assert device.poll() is None
    return path


def test_by_hand_it_makes_its_own_sockets(tmp_path):
    """Twice: what an earlier run left behind is no obstacle."""
    vmm_path, client_path = tmp_path / "vhost.sock", tmp_path / "clients.sock"
    log = tmp_path / "log"
    for _ in range(2):
        with open(log, "wb") as out, subprocess.Popen(
                [*TIED, DEVICE, "--vhost-socket", vmm_path, "--socket", client_path,
                 "--log-level", "debug"], stderr=out) as device:
            for _ in range(1000):
                with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as vmm:
                    vmm.settimeout(20)
                    vmm.connect(str(vmm_path))
                    serves(vmm)
                    with socket.socket(socket.AF_UNIX) as client:
                        client.settimeout(20)
                        client.connect(str(client_path))
                        client.sendall(b"nonsense\n")
                        assert client.recv(1) == b""
                    break
            assert device.wait(20) == 0
        assert "connect_refused" in log.read_text()


def test_it_keeps_nothing_that_it_does_not_need(tmp_path):
    with started(tmp_path, user=USER) as (device, vmm):
        serves(vmm)
        proc = Path(f"/proc/{device.pid}")
        status = (proc / "status").read_text()
        for line in ("NoNewPrivs:\t1", f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}",
                     "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "Threads:\t1"):
            assert line in status
        if "asan" not in str(DEVICE):
            assert "Seccomp:\t2" in status
            assert (proc / "mem").stat().st_uid == 0  # not dumpable: no look into it
        limits = (proc / "limits").read_text()
        assert re.search(r"Max file size\s+0\s+0 ", limits)
        assert re.search(r"Max core file size\s+0\s+0 ", limits)
        assert re.search(r"Max open files\s+2048\s+2048 ", limits)
        # 0, 1, 2, the VMM, the listening socket, epoll
        assert len(list((proc / "fd").iterdir())) == 6

# SPDX-License-Identifier: Apache-2.0
"""A guest that keeps no rule harms nobody but itself: evil_guest.c on the bare virtual machine."""

import contextlib
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

import guest as vm

EX_PROTOCOL = 76
PORT = 1024
MEMORY_MIB = 64  # evil_guest.c knows it
END_S = 20

BREAKS = {
    "loop": "descriptor chain 0: longer than the ring, or a loop",
    "beyond": "descriptor chain 0: a descriptor beyond its table",
    "head_beyond": "descriptor chain 16: a descriptor beyond its table",
    "indirect_long": "longer than the ring, or a loop",
    "indirect_nested": "an indirect table within an indirect table",
    "indirect_outside": "an indirect table that is not within memory",
    "indirect_not_negotiated": "an indirect table that was not negotiated",
    "indirect_with_next": "an indirect table that is not the last descriptor",
    "empty": "a buffer that is empty or not within memory",
    "outside": "a buffer that is empty or not within memory",
    "wrapping": "a buffer that is empty or not within memory",
    "of_the_device": "a buffer that is empty or not within memory",
    "mixed": "a buffer of the wrong direction",
    "jump": "17 chains available in a ring of 16",
    "short_packet": "a packet of 43 bytes has no header",
    "long_packet": "a packet says 4294967295 bytes in a buffer for 4096",
    "no_room": "a receive buffer without room for a byte",
}


class EvilGuest(vm.Guest):
    def __init__(self, directory, program, case):
        super().__init__(directory, None, 1, memory=MEMORY_MIB, init=case)
        self.kernel = program


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    needs = [vm.BIN / "vsock-device", Path("/usr/bin/qemu-system-x86_64")]
    if missing := [str(p) for p in needs if not p.exists()]:
        pytest.skip("needs " + ", ".join(missing) + " (make build)")
    out = tmp_path_factory.mktemp("evil") / "evil"
    subprocess.run(
        ["gcc", "-std=gnu11", "-m32", "-march=i686", "-mno-sse", "-O1", "-ffreestanding", "-fno-pie",
         "-no-pie", "-fno-stack-protector", "-fcf-protection=none", "-static", "-nostdlib", "-Wall",
         "-Wextra", "-Werror", "-Wl,--build-id=none,-Ttext-segment=0x100000,-e,entry", "-o", out,
         vm.REPO / "tests/vm/evil_guest.c"], check=True)
    return out


@pytest.fixture
def evil(program):
    """evil(case): the guest, that has begun."""
    with contextlib.ExitStack() as stack:
        def make(case):
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="adit-vm-"))
            g = stack.enter_context(EvilGuest(directory, program, case))
            g.said("READY")
            return g
        yield make


def check_good(g):
    """The guest is as it should be again, and the device did not mind."""
    g.said("DONE")
    with g.connect(PORT) as s:
        assert vm.read_exactly(s, 6) == b"hello\n"
    assert g.device.poll() is None
    assert g.device_load(0.2) < 0.1


@pytest.mark.parametrize("case", BREAKS)
def test_a_broken_ring_ends_the_device_with_a_reason(evil, case):
    g = evil(case)
    assert g.device.wait(END_S) == EX_PROTOCOL
    last = g.device.stderr.read().decode().splitlines()[-1]
    assert f" ended error=" in last and BREAKS[case] in last


@pytest.mark.parametrize("case", ["flipping", "code_as_used_ring", "ring_outside"])
def test_what_a_guest_does_to_itself_crashes_no_device(evil, case):
    g = evil(case)
    g.until(lambda: "DONE" in g.console() or g.device.poll() is not None, "the end")
    assert g.device.poll() in (None, 0, EX_PROTOCOL)
    assert g.end()[0] in (0, EX_PROTOCOL)


@pytest.mark.parametrize("case", ["foreign", "unknown", "flood", "kicks", "restarts"])
def test_nonsense_is_survived(evil, case):
    g = evil(case)
    check_good(g)
    assert "ANSWERED" not in g.console()


def test_a_guest_that_never_reads_is_given_up(evil):
    g = evil("never_reading")
    g.said("DONE")
    waiting = [g.dial() for _ in range(50)]
    for s in waiting:
        s.sendall(b"CONNECT 1024\n")
    for s in waiting:
        assert s.recv(1) == b""
        s.close()
    assert g.device.poll() is None
    assert g.device_load(0.2) < 0.1


@pytest.mark.parametrize("case", ["data_first", "fwd_beyond", "over_credit", "data_after_end"])
def test_a_spoilt_connection_ends_alone(evil, case):
    g = evil(case)
    with contextlib.suppress(vm.Refused, ConnectionResetError), g.connect(PORT) as s:
        g.said("DONE")  # more than the credit comes only while nobody reads
        vm.read_all(s)
    check_good(g)


def test_a_connection_without_credit_holds_up_nobody(evil):
    g = evil("no_credit")
    with g.connect(PORT) as s:
        s.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                s.send(b"x" * 65536)
        check_good(g)


def test_resets_end_one_connection_each(evil):
    g = evil("resets_everywhere")
    with pytest.raises(vm.Refused):
        g.connect(PORT)
    g.said("REFUSED")
    with g.connect(PORT) as s:
        assert s.recv(1) == b""
    check_good(g)


def test_a_guest_that_ends_takes_its_device_along_and_no_more(evil):
    """Beside one that is ended for its breach another goes on."""
    good = evil("no_credit")
    with good.connect(PORT) as s:
        bad = evil("loop")
        assert bad.device.wait(END_S) == EX_PROTOCOL
        check_good(good)
        s.shutdown(socket.SHUT_WR)
    assert good.end()[0] == 0

# SPDX-License-Identifier: Apache-2.0
"""Tests of vsock-device with a real guest need no broker: they say so in place of its fixtures."""

import tempfile
from pathlib import Path

import pytest

import guest as vm


@pytest.fixture(scope="session", autouse=True)
def broker():
    return None


@pytest.fixture(autouse=True)
def reports():
    return None


@pytest.fixture(scope="session")
def peer_image(tmp_path_factory):
    """An initramfs with guest_peer.c."""
    if missing := vm.missing():
        pytest.skip("needs " + ", ".join(missing) + " (make build guest)")
    directory = tmp_path_factory.mktemp("peer")
    return vm.initramfs(vm.compile_program("guest_peer.c", directory / "peer"),
                        directory / "initramfs")


@pytest.fixture(scope="session")
def khz(tmp_path_factory):
    return vm.tsc_khz(tmp_path_factory.mktemp("khz"))


@pytest.fixture
def make_guest(peer_image, khz):
    """Guests with directories of their own, whose paths are short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="adit-vm-") as directory:
        count = iter(range(100))

        def make(**options):
            return vm.Guest(Path(directory) / str(next(count)), peer_image, khz, **options)
        yield make


@pytest.fixture(scope="module")
def guest(peer_image, khz):
    """One guest for the tests of a file that do it no harm."""
    with tempfile.TemporaryDirectory(prefix="adit-vm-") as directory, \
            vm.Guest(Path(directory), peer_image, khz) as g:
        yield g.ready()

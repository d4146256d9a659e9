# SPDX-License-Identifier: Apache-2.0
"""envd boots a virtual machine: real kernel, real images, under software emulation."""

import base64
import http.client
import re
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

import agent
import guest as vm

BASE = vm.REPO / "build/run/templates/wo0xl6ihm9qx7hmflral/root.erofs"


def need(*paths):
    if missing := vm.missing() + [str(p) for p in paths if not Path(p).exists()]:
        pytest.skip("needs " + ", ".join(missing) + " (make build guest template)")


@pytest.fixture(scope="module")
def directory():
    with tempfile.TemporaryDirectory(prefix="adit-vm-") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def loopback_image(directory):
    """The images' initramfs, and AF_VSOCK within the guest, which no sandbox has."""
    need()
    packages = sorted((vm.IMAGES / ".cache/packages").glob("linux-image-*.deb"))
    if not packages:
        pytest.skip(f"needs the package of the kernel in {vm.IMAGES}/.cache/packages (make guest)")
    module = subprocess.run(
        f"dpkg-deb --fsys-tarfile {packages[-1]} | tar -xO --wildcards '*/vsock_loopback.ko'",
        shell=True, check=True, stdout=subprocess.PIPE).stdout
    late = (vm.IMAGES / "modules/order.late").read_bytes()
    archive = (vm.IMAGES / "initramfs").read_bytes()
    archive += b"\0" * (-len(archive) % 4)
    archive += vm.cpio_entry("modules/vsock_loopback.ko", 0o100644, module)
    archive += vm.cpio_entry("modules/order.late", 0o100644, late + b"vsock_loopback.ko\n")
    image = directory / "initramfs"
    image.write_bytes(archive + vm.cpio_entry("TRAILER!!!", 0, b""))
    return image


@pytest.fixture(scope="module")
def base(directory, loopback_image, khz):
    """The base template with little memory and a small disk, where the clock is wrong."""
    need(BASE)
    disk = agent.ext4(64 << 20, directory / "disk")
    with agent.AgentGuest(directory / "base", khz, BASE, disk, "--hostname first",
                          image=loopback_image, memory=160,
                          qemu=["-rtc", "base=2020-01-01"]) as g:
        yield g.ready()


@pytest.fixture(scope="module")
def bare_root(directory):
    tree = directory / "tree"
    tree.mkdir()
    vm.compile_program("guest_bare.c", tree / "bare")
    return agent.erofs(tree, directory / "bare.erofs")


def test_a_machine_is_as_it_was_told(base):
    assert base.request("GET", "/health")[0] == 204
    assert base.sh("hostname").strip() == "first"
    assert int(base.sh("date +%Y")) == 2020
    assert base.tell(hostname="second", entropy=base64.b64encode(b"x" * 64).decode(),
                     timestamp=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())) == 204
    assert base.sh("hostname").strip() == "second"
    assert abs(int(base.sh("date +%s")) - time.time()) < 30
    assert base.tell(hostname="a/b") == 400


def test_its_parts_are_told(base):
    told = base.said(r"envd booted kernel_us=(\d+) modules_us=(\d+) root_us=(\d+)")
    assert all(int(us) > 0 for us in told.groups())


def test_it_has_the_loopback_device_only_and_its_egress(base):
    assert base.sh("ls /sys/class/net").split() == ["lo"]
    assert "LOOPBACK,UP" in base.sh("ip link")
    base.said("egress mode=transparent")
    assert base.sh("cat /etc/resolv.conf").split() == ["nameserver", "127.0.0.53"]


def test_nothing_can_be_loaded_into_its_kernel(base):
    assert base.sh("cat /proc/sys/kernel/modules_disabled").strip() == "1"
    assert base.sh("cat /proc/sys/kernel/panic /proc/sys/kernel/panic_on_oops").split() == [
        "-1", "1"]


def test_it_has_what_a_system_has(base):
    types = dict(line.split()[1:3] for line in base.sh("cat /proc/mounts").splitlines())
    assert types == {"/": "overlay", "/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs",
                     "/dev/pts": "devpts", "/dev/shm": "tmpfs", "/dev/mqueue": "mqueue",
                     "/sys/fs/cgroup": "cgroup2"}
    assert base.sh("echo ok >/dev/fd/1; test -c /dev/ptmx -a -d /dev/shm && ulimit -n") == \
        "ok\n65536\n"
    assert base.sh("cat /proc/self/cgroup", user="user").strip() == "0::/adit/user"


def test_what_is_written_stays_within_its_disk(base):
    assert base.sh("echo new >/etc/new && cat /etc/new && rm /usr/bin/less && ls /usr/bin/less "
                   "2>&1; true").startswith("new\n")
    said, status = base.run("/bin/sh", "-c", "cat /dev/zero >/tmp/full")
    assert "No space left" in said and status == "exit status 1"
    assert base.upload("/tmp/more", b"x" * (1 << 20)) == 507
    base.sh("rm /tmp/full && echo again >/tmp/again")


def test_programs_cannot_starve_envd(base):
    _, status = base.run("/usr/bin/tail", "/dev/zero")
    assert status == "signal: killed"
    assert base.request("GET", "/health")[0] == 204
    assert base.sh("cat /sys/fs/cgroup/adit/pids.max") != "max\n"


def test_its_doors_are_for_the_host(base):
    """From within the guest all of them are closed, over AF_VSOCK too."""
    said = base.sh("""python3 - <<'END'
import socket
for port in (49983, 49999, 1024, 1025, 1026, 1027):
    s = socket.socket(socket.AF_VSOCK)
    s.settimeout(5)
    try:
        s.connect((1, port))
        s.sendall(b"GET /health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        print(port, s.recv(100))
    except ConnectionError as e:
        print(port, type(e).__name__)
END""")
    for line in said.splitlines():
        assert re.fullmatch(r"\d+ (b''|ConnectionResetError|BrokenPipeError)", line), said
    assert len(said.splitlines()) == 6
    assert base.request("GET", "/health")[0] == 204


def test_init_is_not_ended_by_programs(base):
    base.sh("kill -9 1; kill -STOP 1; true")
    assert base.request("GET", "/health")[0] == 204


def test_it_stops_in_order(base):
    base.run("/bin/kill", "-TERM", "1")
    console = base.left()
    assert "envd stopping" in console and "envd stopped" in console
    assert "panic" not in console


def test_an_image_without_anything_runs_its_program(directory, bare_root, khz):
    """No shell, no /etc, no place to mount at; and no disk to write to but memory."""
    need()
    with agent.AgentGuest(directory / "bare", khz, bare_root) as g:
        g.ready()
        said, status = g.run("/bare")
        assert status == "exit status 0"
        assert said.splitlines()[0] == "hello"
        assert "/sys/class/net: lo" in said and "null 0 fd 0 pts 0 shm 0 cgroup 0" in said
        assert g.upload("/new/file", b"x") == 200
        assert g.request("GET", "/files?path=/new/file&username=root") == (200, b"x")
        with pytest.raises((OSError, http.client.HTTPException)):
            g.run("/bare", "panic")
        assert "Kernel panic" in g.left()


def test_a_machine_without_a_root_says_so_and_leaves(directory, khz):
    need()
    with agent.AgentGuest(directory / "none", khz) as g:
        assert "there is no disk with a root" in g.left()


def test_a_probe_leaves_at_once(directory, khz):
    need()
    with agent.AgentGuest(directory / "probe", khz, arguments="--probe") as g:
        console = g.left()
        assert "envd probed" in console and "listening" not in console

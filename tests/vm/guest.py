# SPDX-License-Identifier: Apache-2.0
"""A small guest under QEMU's software emulation, with the real vsock-device beside it.

Kernel and modules are those of `make guest`; the guest's program is a static C program that is put
beside them. Everything is ended with the Guest, also when the tests are killed.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
import zlib
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("ADIT_BIN", REPO / "build/release/bin")).resolve()
IMAGES = Path(os.environ.get("ADIT_GUEST", REPO / "build/run/guest"))
CID = 3

# Ports of guest_peer.c.
ECHO, SINK, SOURCE, TALKER, STUCK, SLOW, FICKLE, REBIND, CALLER, ORDER = range(5000, 5010)

BOOT_S = 60
# Of a whole sendall: an emulated guest on a busy host takes some MiB a second.
TRANSFER_S = 800
TIED = ["setpriv", "--pdeathsig", "KILL"]


def missing():
    """What these tests need and do not find."""
    needs = [IMAGES / "vmlinux", IMAGES / "initramfs", BIN / "vsock-device",
             Path("/usr/bin/qemu-system-x86_64")]
    return [str(p) for p in needs if not p.exists()]


def compile_program(source, out):
    subprocess.run(["gcc", "-std=gnu11", "-O2", "-static", "-Wall", "-Wextra", "-Werror", "-o", out,
                    REPO / "tests/vm" / source, "-lz", "-lpthread"], check=True)
    return out


def cpio_entry(name, mode, data):
    head = "070701" + "".join(f"{n:08x}" for n in (
        0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0))
    entry = head.encode() + name.encode() + b"\0"
    entry += b"\0" * (-len(entry) % 4) + data
    return entry + b"\0" * (-len(data) % 4)


def initramfs(program, out):
    """The images' own, and @program as /guest in it."""
    archive = (IMAGES / "initramfs").read_bytes()
    archive += b"\0" * (-len(archive) % 4)
    archive += cpio_entry("guest", 0o100755, Path(program).read_bytes())
    out.write_bytes(archive + cpio_entry("TRAILER!!!", 0, b""))
    return out


def tsc_khz(directory):
    """A guest that measures its clock by itself hangs on a busy host."""
    program = compile_program("tsc_khz.c", directory / "tsc_khz")
    return int(subprocess.check_output([program]))


class Refused(Exception):
    """The device closed the client's socket instead of saying OK."""


class Guest:
    """One virtual machine. @image: of initramfs(), or the images' own; @init: what runs first."""

    kernel = IMAGES / "vmlinux"

    def __init__(self, directory, image, khz, memory=256, device=(), qemu=(), init="/guest"):
        self.directory, self.image, self.khz, self.memory = Path(directory), image, khz, memory
        self.device_options, self.qemu_options, self.init = list(device), list(qemu), init
        self.device = self.qemu = self.monitor = None

    def __enter__(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.path = self.directory / "channel.sock"
        self.console_path = self.directory / "console"
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.start_device(ours)
            self.start_qemu(theirs)
        return self

    def start_device(self, vhost):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.path))
            listener.listen(1024)
            fds = (vhost.fileno(), listener.fileno())
            self.device = subprocess.Popen(
                [*TIED, BIN / "vsock-device", "--vhost-fd", str(fds[0]), "--listen-fd", str(fds[1]),
                 "--guest-cid", str(CID), *self.device_options],
                pass_fds=fds, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def start_qemu(self, vhost):
        fd = vhost.fileno()
        monitor = self.directory / "monitor.sock"
        with open(self.console_path, "wb") as console:
            self.qemu = subprocess.Popen(
                [*TIED, "qemu-system-x86_64", "-M", "microvm,memory-backend=mem", "-accel", "tcg",
                 "-cpu", "max", "-m", str(self.memory), "-smp", "1", "-nodefaults",
                 "-no-user-config", "-nographic", "-no-reboot",
                 "-global", "virtio-mmio.force-legacy=false",
                 "-kernel", self.kernel, *(["-initrd", self.image] if self.image else []),
                 "-append", "console=ttyS0 reboot=t panic=-1 quiet cryptomgr.notests "
                            f"tsc=reliable tsc_early_khz={self.khz} rdinit={self.init}",
                 "-serial", "stdio",
                 "-object", f"memory-backend-memfd,id=mem,size={self.memory}M,share=on",
                 "-chardev", f"socket,id=vs,fd={fd}",
                 "-device", "vhost-user-vsock-device,chardev=vs",
                 "-chardev", f"socket,id=qmp,path={monitor},server=on,wait=off",
                 "-mon", "chardev=qmp,mode=control", *self.qemu_options],
                pass_fds=(fd,), stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        self.until(monitor.exists, "the monitor's socket")
        self.monitor = socket.socket(socket.AF_UNIX)
        self.until(lambda: self.monitor.connect_ex(str(monitor)) == 0, "the monitor")
        self.answers = self.monitor.makefile("r")
        self.answers.readline()
        self.qmp("qmp_capabilities")

    def __exit__(self, *_):
        for process in (self.qemu, self.device):
            if process and process.poll() is None:
                process.kill()
            if process:
                process.wait()
        if self.monitor:
            self.monitor.close()
            self.answers.close()
        self.device.stderr.close()

    # ---- its life

    def console(self):
        return self.console_path.read_text(errors="replace")

    def until(self, condition, what, timeout=BOOT_S):
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            if time.monotonic() > deadline or (self.qemu and self.qemu.poll() is not None):
                raise AssertionError(f"{what}: not within {timeout} s\n{self.console()[-3000:]}")
            time.sleep(0.01)
        return value

    def said(self, pattern, timeout=BOOT_S):
        """What the guest's console has of @pattern, waited for."""
        return self.until(lambda: re.search(pattern, self.console()), pattern, timeout)

    def ready(self):
        self.said("READY")
        return self

    def qmp(self, command, **arguments):
        self.monitor.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            answer = json.loads(self.answers.readline())
            if "error" in answer:
                raise AssertionError(f"{command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]

    def end(self, timeout=20):
        """QEMU leaves; the device's exit status and what it said."""
        if self.qemu.poll() is None:
            self.qemu.send_signal(signal.SIGTERM)
        self.qemu.wait(timeout)
        said = self.device.communicate(timeout=timeout)[1].decode()
        return self.device.returncode, said

    # ---- channels

    def dial(self):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(60)
        s.connect(str(self.path))
        return s

    def connect(self, port):
        s = self.dial()
        try:
            s.sendall(f"CONNECT {port}\n".encode())
            line = b""
            while not line.endswith(b"\n"):
                byte = s.recv(1)
                if not byte:
                    raise Refused(port)
                line += byte
        except (ConnectionResetError, BrokenPipeError):
            s.close()
            raise Refused(port) from None
        except BaseException:
            s.close()
            raise
        assert re.fullmatch(rb"OK \d+\n", line), line
        s.settimeout(TRANSFER_S)
        return s

    def connect_soon(self, port, timeout=20):
        """As connect, for a guest that has to come back first."""
        def attempt():
            with contextlib.suppress(Refused):
                return self.connect(port)
        return self.until(attempt, f"a connection to port {port}", timeout)

    def ask(self, port, data):
        """Send @data and the end; everything that comes back."""
        with self.connect(port) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            return read_all(s)

    # ---- figures

    def cpu_s(self):
        """Processor time that the device has used."""
        fields = Path(f"/proc/{self.device.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def device_load(self, seconds):
        """The share of a core that the device uses during @seconds in which nothing is asked."""
        before = self.cpu_s()
        time.sleep(seconds)
        return (self.cpu_s() - before) / seconds

    def pss_kib(self):
        """The device's memory without the guest's, which it maps as files of the VMM's."""
        total = guest = 0
        for line in Path(f"/proc/{self.device.pid}/smaps").read_text().splitlines():
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                guest = "memfd" in line
            elif line.startswith("Pss:") and not guest:
                total += int(line.split()[1])
        return total


def read_exactly(s, count):
    data = bytearray()
    while len(data) < count:
        piece = s.recv(min(count - len(data), 1 << 18))
        if not piece:
            raise EOFError(f"{len(data)} bytes of {count}")
        data += piece
    return bytes(data)


def read_all(s):
    data = bytearray()
    while piece := s.recv(1 << 18):
        data += piece
    return bytes(data)


def receipt(data):
    """What the guest's sink says of @data."""
    return f"{len(data)} {zlib.crc32(data):08x}\n".encode()

# SPDX-License-Identifier: Apache-2.0
"""What vsock-device adds, beside a plain relay between two Unix sockets (the floor: no guest, no rings).

    build/venv/bin/python bench/bench_vsock_device.py

A guest under software emulation spends a hundred times as much on a packet as the device does, so
what is compared is the device's own processor time for each gibibyte, and round trips are shown as
they are. bench_vsock has the rings and the core without a guest.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from support import IS_FULL, REPO, cpu_s, figure, quantile

sys.path.append(str(REPO / "tests/vm"))
import guest as vm  # noqa: E402

MIB = 1 << 20
BULK = (1024 if IS_FULL else 128) * MIB
TRIPS = 2000
PSS_MAX_KIB = 3 * 1024

# Accepts, connects on, and moves bytes both ways with blocking calls: a thread a direction.
RELAY = """
import socket, sys, threading
listener = socket.socket(fileno=int(sys.argv[1]))
def pump(a, b):
    buffer = bytearray(65536)
    view = memoryview(buffer)
    while n := a.recv_into(buffer):
        b.sendall(view[:n])
    b.shutdown(socket.SHUT_WR)
while True:
    client, _ = listener.accept()
    server = socket.socket(socket.AF_UNIX)
    server.connect(sys.argv[2])
    for pair in ((client, server), (server, client)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""


def serve(listener, work):
    def loop():
        while True:
            client, _ = listener.accept()
            threading.Thread(target=work, args=(client,), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()


def listen(path):
    s = socket.socket(socket.AF_UNIX)
    s.bind(str(path))
    s.listen(16)
    return s


def swallow(client):
    while client.recv(MIB):
        pass
    client.sendall(b"done")
    client.close()


def echo(client):
    while data := client.recv(65536):
        client.sendall(data)


def send_bulk(s):
    """Seconds to send BULK bytes and hear that they arrived."""
    block = os.urandom(MIB)
    begin = time.perf_counter()
    for _ in range(BULK // MIB):
        s.sendall(block)
    s.shutdown(socket.SHUT_WR)
    vm.read_all(s)
    return time.perf_counter() - begin


def read_bulk(s):
    s.sendall(b"%d\n" % BULK)
    begin, left = time.perf_counter(), BULK
    while left:
        left -= len(s.recv(min(left, MIB)))
    return time.perf_counter() - begin


def trips_ms(s):
    times = []
    for _ in range(TRIPS):
        begin = time.perf_counter()
        s.sendall(b"x" * 64)
        vm.read_exactly(s, 64)
        times.append((time.perf_counter() - begin) * 1000)
    return times


class Relay:
    """The floor: a process between clients and servers on Unix sockets."""

    def __init__(self, directory):
        self.paths = {}
        self.processes = []
        for name, work in (("sink", swallow), ("echo", echo)):
            serve(listen(directory / f"{name}.there"), work)
            self.paths[name] = directory / name
            with listen(self.paths[name]) as here:
                self.processes.append(subprocess.Popen(
                    [*vm.TIED, sys.executable, "-c", RELAY, str(here.fileno()),
                     directory / f"{name}.there"], pass_fds=(here.fileno(),)))

    def connect(self, name):
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(self.paths[name]))
        return s

    def cpu_s(self, name):
        return cpu_s(self.processes[name == "echo"].pid)

    def stop(self):
        for p in self.processes:
            p.kill()
            p.wait()


def rate(seconds):
    return f"{BULK / MIB / seconds:.0f} MiB/s"


def per_gib(seconds):
    return seconds * 1024 * MIB / BULK


def bench_floor(directory):
    relay = Relay(directory)
    try:
        with relay.connect("sink") as s:
            before = relay.cpu_s("sink")
            took = send_bulk(s)
            used = per_gib(relay.cpu_s("sink") - before)
        figure(None, "plain relay: bulk", "floor", f"{rate(took)}, {used:.2f} s of a core a GiB")
        with relay.connect("echo") as s:
            times = trips_ms(s)
        figure(None, "plain relay: round trip of 64 bytes", "floor",
               f"p50 {statistics.median(times):.3f} ms, p99 {quantile(times, 0.99):.3f} ms")
    finally:
        relay.stop()
    return used


def bench_bulk(g, floor):
    for what, port, work in (("to the guest", vm.SINK, send_bulk),
                             ("from the guest", vm.SOURCE, read_bulk)):
        with g.connect(port) as s:
            before = g.cpu_s()
            took = work(s)
            used = per_gib(g.cpu_s() - before)
        figure(used <= 4 * floor, f"vsock-device: bulk {what}, its own time", "4 x the relay's",
               f"{used:.2f} s of a core a GiB ({rate(took)}, emulated guest)")


def bench_small(g):
    with g.connect(vm.ECHO) as s:
        times = trips_ms(s)
        before = g.cpu_s()
        trips_ms(s)
        used = (g.cpu_s() - before) / TRIPS * 1e6
    figure(None, "vsock-device: round trip of 64 bytes", "the guest's",
           f"p50 {statistics.median(times):.3f} ms, p99 {quantile(times, 0.99):.3f} ms, "
           f"{used:.0f} us of the device")
    opens = []
    for _ in range(100):
        begin = time.perf_counter()
        g.connect(vm.ECHO).close()
        opens.append((time.perf_counter() - begin) * 1000)
    figure(None, "vsock-device: CONNECT to OK", "the guest's",
           f"p50 {statistics.median(opens):.3f} ms")


def bench_rest(g):
    load = g.device_load(5)
    figure(load == 0, "vsock-device: processor time when idle, 5 s", "0 %", f"{load:.1%}")
    figure(g.pss_kib() <= PSS_MAX_KIB, "vsock-device: memory (PSS, without the guest's)",
           "3,072 KiB", f"{g.pss_kib()} KiB")


def main():
    if missing := vm.missing():
        sys.exit("bench_vsock_device needs: " + ", ".join(missing))
    with tempfile.TemporaryDirectory(prefix="adit-bench-") as scratch:
        directory = Path(scratch)
        floor = bench_floor(directory)
        image = vm.initramfs(vm.compile_program("guest_peer.c", directory / "peer"),
                             directory / "initramfs")
        with vm.Guest(directory / "vm", image, vm.tsc_khz(directory)) as g:
            g.ready()
            bench_small(g)
            bench_bulk(g, floor)
            bench_rest(g)


main()

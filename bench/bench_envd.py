# SPDX-License-Identifier: Apache-2.0
"""Figures of envd alone: size, time from start to the first answer on its channel, idle memory.

    build/venv/bin/python bench/bench_envd.py

The floor of the start is the same measurement with a static program that only says it is there.
"""

import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from support import figure

REPO = Path(__file__).resolve().parents[1]
BIN = Path(os.environ.get("ADIT_BIN", REPO / "build/release/bin"))
RUNS = 40
ARGUMENTS = ["--channel-fd", "3", "--log-level", "warn"]

FLOOR = r"""
#include <sys/socket.h>
#include <unistd.h>
int main(void)
{
    char line[64];
    int c = accept(3, 0, 0);
    if (c < 0 || read(c, line, sizeof(line)) < 0 || write(c, "OK 1\n", 5) < 0)
        return 1;
    return read(c, line, sizeof(line)) < 0;
}
"""


def start_to_ok(program, args, scratch):
    path = scratch / "channel.sock"
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(8)
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    client.sendall(b"CONNECT 49983\n")
    started = time.perf_counter()
    pid = os.posix_spawn(program, [str(program), *args], {"PATH": "/usr/bin:/bin"},
                         file_actions=[(os.POSIX_SPAWN_DUP2, listening.fileno(), 3)])
    assert client.recv(64).startswith(b"OK")
    took = (time.perf_counter() - started) * 1e3
    listening.close()
    return pid, client, took


def stop(pid, client):
    client.close()
    os.kill(pid, 9)
    os.waitpid(pid, 0)


def pss_kib(pid):
    return int(re.search(r"Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())[1])


def measure_memory(envd, scratch):
    """Alone, and as one of ten: sandboxes of a host share the pages of the program."""
    running = []
    for count in (1, 10):
        while len(running) < count:
            pid, client, _ = start_to_ok(envd, ARGUMENTS, scratch)
            client.sendall(b"GET /health HTTP/1.1\r\nHost: envd\r\n\r\n")
            assert b" 204 " in client.recv(4096)
            running.append((pid, client))
        each = statistics.median(pss_kib(pid) for pid, _ in running)
        figure(each <= 1024, f"envd: PSS when idle after one request, {count} running",
               "<= 1024 KiB each", f"{each:.0f} KiB each")
    for pid, client in running:
        stop(pid, client)


def main():
    scratch = Path(tempfile.mkdtemp(prefix="adit-bench-envd-"))
    try:
        envd = scratch / "envd"
        subprocess.run(["strip", "-o", envd, BIN / "envd"], check=True)
        size = envd.stat().st_size
        figure(size <= 1.5 * 2**20, "envd: size, stripped", "<= 1.5 MiB", f"{size / 2**20:.2f} MiB")
        floor = scratch / "floor"
        (scratch / "floor.c").write_text(FLOOR)
        subprocess.run(["gcc", "-O2", "-static", "-o", floor, scratch / "floor.c"], check=True)
        ours, theirs = [], []
        for _ in range(RUNS):  # in turns, so that a busy moment hits both
            pid, client, ms = start_to_ok(envd, ARGUMENTS, scratch)
            stop(pid, client)
            ours.append(ms)
            pid, client, ms = start_to_ok(floor, [], scratch)
            stop(pid, client)
            theirs.append(ms)
        p50 = statistics.median(ours)
        figure(p50 <= 5, f"envd: start to first answer, {RUNS} runs", "p50 <= 5 ms",
               f"p50 {p50:.2f} ms, max {max(ours):.2f} ms; a static program that only answers "
               f"{statistics.median(theirs):.2f} ms")
        measure_memory(envd, scratch)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()

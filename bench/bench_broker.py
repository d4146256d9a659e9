# SPDX-License-Identifier: Apache-2.0
"""Figures of a whole broker with a real sandbox (container driver), printed one a line.

    build/venv/bin/python bench/bench_broker.py

Create times are wall-clock from the POST to the 204 of the first /health through the data plane. The
round trip is measured by wrk with one connection. What many clients, sandboxes and streams cost is
in bench_load.py.
"""

import os
import re
import socket
import statistics
import subprocess
import tempfile
import threading
import time

from support import (REPO, Api, create, figure, kill, quantile, routing, rss_kib, running_broker,
                     wait_for, wrk)


def one_by_one(broker, runs=60):
    took = []
    for _ in range(runs):
        sandbox, ms = create(broker)
        took.append(ms)
        kill(broker, sandbox)
    p50 = statistics.median(took)
    figure(p50 < 30, f"create to first /health, {runs} one by one", "p50 < 30 ms",
           f"p50 {p50:.1f} ms, p95 {quantile(took, .95):.1f} ms, min {min(took):.1f} ms")


def at_once(broker, count=20, rounds=5):
    took = []
    for _ in range(rounds):
        made, lock = [], threading.Lock()
        gate = threading.Barrier(count)

        def one():
            gate.wait()
            sandbox, ms = create(broker)
            with lock:
                made.append(sandbox)
                took.append(ms)

        threads = [threading.Thread(target=one) for _ in range(count)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for sandbox in made:
            kill(broker, sandbox)
    p95 = quantile(took, .95)
    figure(p95 < 150, f"create to first /health, {count} at once, {rounds} rounds", "p95 < 150 ms",
           f"p50 {statistics.median(took):.1f} ms, p95 {p95:.1f} ms")


GUEST = REPO / "build/run/guest"
# No test machine has a KVM that runs a guest.
MACHINES = ("--isolation", "vm", "--accel", "tcg", "--guest-dir", str(GUEST), "--ready-timeout", "60s",
            "--create-timeout", "90s")


def from_the_pool(what, runs, *options):
    """Creates that take a sandbox that waits booted. A pause before each: the refill is over."""
    with running_broker("--warm", "base=2", "--warm-booting", "1", *options) as broker:
        api, took = Api(broker), []
        folders = broker.state / "state/sandboxes"
        for _ in range(runs):
            wait_for(lambda: sum(1 for p in folders.glob("*/claim.json")) == 2, 60, "a full pool")
            time.sleep(.1)
            started = time.perf_counter()
            sandbox = api.create()
            took.append((time.perf_counter() - started) * 1e3)
            assert (folders / sandbox["sandboxID"] / "claim.json").exists(), "it was made anew"
            api.kill(sandbox)
        api.close()
        at_broker = [int(us) / 1e3 for us in re.findall(
            r"method=POST path=/v2/sandboxes status=201 us=(\d+)", broker.log())]
    p50 = statistics.median(at_broker)
    figure(p50 < 2, f"create from the warm pool, {what}, at the broker", "p50 < 2 ms",
           f"p50 {p50:.2f} ms, p95 {quantile(at_broker, .95):.2f} ms, min {min(at_broker):.2f} ms")
    figure(None, f"create from the warm pool, {what}, at the client", "-",
           f"p50 {statistics.median(took):.2f} ms, p95 {quantile(took, .95):.2f} ms")


WRK_SCRIPT = """
wrk.method = "POST"
wrk.body = '{"process":{"tag":"no-such-process-of-sixty-four-bytes-total"}}'
wrk.path = "/process.Process/CloseStdin"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Connect-Protocol-Version"] = "1"
wrk.headers["E2b-Sandbox-Id"] = "%s"
wrk.headers["E2b-Sandbox-Port"] = "49983"
wrk.headers["X-Access-Token"] = "%s"
"""


def round_trip(broker, sandbox):
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(WRK_SCRIPT % (sandbox["sandboxID"], sandbox["envdAccessToken"]))
        script.flush()
        _, p50, p99 = wrk(broker, "/", "-c1", "-d4s", "-s", script.name, is_refused=True)
    figure(p50 < 150, "64-byte RPC: broker, channel, envd; one connection", "p50 < 150 us",
           f"p50 {p50:.0f} us, p99 {p99:.0f} us")


def start_true(broker, sandbox, runs=400):
    """process.Start of /bin/true over one kept connection, beside a bare spawn, in turns."""
    body = b'{"process":{"cmd":"/bin/true"},"stdin":false}'
    request = (
        f"POST /process.Process/Start HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/connect+json\r\nConnect-Protocol-Version: 1\r\n"
        f"E2b-Sandbox-Id: {sandbox['sandboxID']}\r\nE2b-Sandbox-Port: 49983\r\n"
        f"X-Access-Token: {sandbox['envdAccessToken']}\r\nContent-Length: {len(body) + 5}\r\n\r\n"
    ).encode() + b"\0" + len(body).to_bytes(4, "big") + body
    s = socket.create_connection(("127.0.0.1", broker.port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ours, bare = [], []
    for _ in range(runs):
        at = time.perf_counter()
        s.sendall(request)
        answer = b""
        while not answer.endswith(b"\r\n0\r\n\r\n"):
            piece = s.recv(65536)
            assert piece, answer
            answer += piece
        ours.append((time.perf_counter() - at) * 1e3)
        assert b"exit status 0" in answer
        at = time.perf_counter()
        os.waitpid(os.posix_spawn("/bin/true", ["/bin/true"], {}), 0)
        bare.append((time.perf_counter() - at) * 1e3)
    s.close()
    more = statistics.median(ours) - statistics.median(bare)
    figure(more < .3, "process.Start of /bin/true over a bare posix_spawn", "p50 < +0.30 ms",
           f"{more:+.2f} ms ({statistics.median(ours):.2f} and {statistics.median(bare):.2f} ms)")


def bodies(broker, sandbox, size=1 << 30):
    """1 GiB to and from a file of the sandbox; bench_edge has the same beside nginx."""
    common = ["curl", "-sS", "-o", "/dev/null", "-w", "%{time_total}"]
    for name, value in routing(sandbox).items():
        common += ["-H", f"{name}: {value}"]
    before = rss_kib(broker.process.pid)
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as body:
        body.truncate(size)
        up = float(subprocess.run(
            [*common, "-H", "Content-Type: application/octet-stream", "-T", body.name, "-X", "POST",
             f"{broker.url}/files?path=/tmp/big.bin"], capture_output=True, check=True).stdout)
    down = float(subprocess.run([*common, f"{broker.url}/files?path=/tmp/big.bin"],
                                capture_output=True, check=True).stdout)
    figure(None, "1 GiB file through broker and envd", "-",
           f"up {size / up / 2**20:.0f} MiB/s, down {size / down / 2**20:.0f} MiB/s; broker's RSS "
           f"{rss_kib(broker.process.pid) - before} KiB more")


def main():
    with running_broker() as broker:
        one_by_one(broker)
        at_once(broker)
        sandbox, _ = create(broker)
        round_trip(broker, sandbox)
        start_true(broker, sandbox)
        bodies(broker, sandbox)
    from_the_pool("containers", 40)
    if (GUEST / "initramfs").exists():
        from_the_pool("machines, emulated", 10, *MACHINES)
    else:
        print(f"skipped create from the warm pool, machines: no {GUEST}/initramfs (make guest)")


if __name__ == "__main__":
    main()

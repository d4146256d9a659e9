# SPDX-License-Identifier: Apache-2.0
"""Figures of a whole broker with real sandboxes (container driver), printed one a line.

    build/venv/bin/python bench/bench_broker.py

Create times are wall-clock from the POST to the 204 of the first /health through the data plane. The
round trip is measured by wrk with one connection. Memory is the broker's RSS before and after 1,000
connections that sent one request each and stay.
"""

import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPO / "tests"), str(REPO / "tests/lab")]
from conftest import Broker, wait_for  # noqa: E402


def api(broker, method, path, body=None):
    c = http.client.HTTPConnection("127.0.0.1", broker.port, timeout=60)
    headers = {"X-API-Key": broker.env()["E2B_API_KEY"], "Content-Type": "application/json"}
    c.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = c.getresponse()
    data = answer.read()
    c.close()
    assert answer.status < 300, (answer.status, data)
    return json.loads(data) if data else None


def health(broker, sandbox_id):
    c = http.client.HTTPConnection("127.0.0.1", broker.port, timeout=60)
    c.request("GET", "/health",
              headers={"E2b-Sandbox-Id": sandbox_id, "E2b-Sandbox-Port": "49983"})
    assert c.getresponse().status == 204
    c.close()


def create(broker):
    started = time.perf_counter()
    sandbox = api(broker, "POST", "/v2/sandboxes", {"templateID": "base", "timeout": 600})
    health(broker, sandbox["sandboxID"])
    return sandbox, (time.perf_counter() - started) * 1e3


def kill(broker, sandbox):
    api(broker, "DELETE", f"/sandboxes/{sandbox['sandboxID']}")


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


def one_by_one(broker, runs=60):
    took = []
    for _ in range(runs):
        sandbox, ms = create(broker)
        took.append(ms)
        kill(broker, sandbox)
    print(f"create to first /health, cold, {runs} runs: p50 {statistics.median(took):.1f} ms, "
          f"p95 {quantile(took, .95):.1f} ms, min {min(took):.1f} ms (aim: p50 < 30 ms)")


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
    print(f"create to first /health, {count} at once, {rounds} rounds: p50 "
          f"{statistics.median(took):.1f} ms, p95 {quantile(took, .95):.1f} ms "
          f"(aim: p95 < 150 ms)")


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
        out = subprocess.run(
            ["wrk", "-t1", "-c1", "-d4s", "--latency", "-s", script.name, broker.url],
            capture_output=True, text=True, check=True,
        ).stdout
    p50 = re.search(r"50%\s+([\d.]+)(us|ms)", out)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms)", out)
    print(f"64-byte RPC through broker, channel and envd, one connection: p50 {p50[1]} {p50[2]}, "
          f"p99 {p99[1]} {p99[2]} (aim: p50 < 0.15 ms)")


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
    print(f"process.Start of /bin/true through broker and channel: p50 {statistics.median(ours):.2f} ms; "
          f"a bare posix_spawn and wait: p50 {statistics.median(bare):.2f} ms; "
          f"{statistics.median(ours) - statistics.median(bare):+.2f} ms (aim: < +0.3 ms)")


def rss_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def idle_connections(broker, sandbox, count=1000):
    request = (f"GET /health HTTP/1.1\r\nHost: localhost\r\nE2b-Sandbox-Id: "
               f"{sandbox['sandboxID']}\r\nE2b-Sandbox-Port: 49983\r\n\r\n").encode()
    before = rss_kib(broker.process.pid)
    held = []
    for _ in range(count):
        s = socket.create_connection(("127.0.0.1", broker.port))
        s.sendall(request)
        assert s.recv(4096).startswith(b"HTTP/1.1 204")
        held.append(s)
    each = (rss_kib(broker.process.pid) - before) / count
    print(f"memory of {count} idle connections: {each:.2f} KiB each (aim: < 16 KiB)")
    for s in held:
        s.close()


def bodies(broker, sandbox, size=1 << 30):
    """1 GiB to and from a file of the sandbox, beside the same through the channel alone."""
    headers = {"E2b-Sandbox-Id": sandbox["sandboxID"], "E2b-Sandbox-Port": "49983",
               "X-Access-Token": sandbox["envdAccessToken"]}
    common = ["curl", "-sS", "-o", "/dev/null", "-w", "%{time_total}"]
    for name, value in headers.items():
        common += ["-H", f"{name}: {value}"]
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as body:
        body.truncate(size)
        up = float(subprocess.run(
            [*common, "-H", "Content-Type: application/octet-stream", "-T", body.name, "-X", "POST",
             f"{broker.url}/files?path=/tmp/big.bin"], capture_output=True, check=True).stdout)
    down = float(subprocess.run([*common, f"{broker.url}/files?path=/tmp/big.bin"],
                                capture_output=True, check=True).stdout)
    print(f"1 GiB file through broker and envd: up {size / up / 2**20:.0f} MiB/s, "
          f"down {size / down / 2**20:.0f} MiB/s (bench_edge has the floor)")


def main():
    with tempfile.TemporaryDirectory(prefix="adit-bench-") as scratch:
        broker = Broker(Path(scratch)).start()
        try:
            one_by_one(broker)
            at_once(broker)
            sandbox, _ = create(broker)
            round_trip(broker, sandbox)
            start_true(broker, sandbox)
            idle_connections(broker, sandbox)
            bodies(broker, sandbox)
            kill(broker, sandbox)
        finally:
            broker.stop()


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Many at once of everything: connections, streams, channels, sandboxes; printed one figure a line.

    build/venv/bin/python bench/bench_load.py [idle|streams|channels|sandboxes|cycles]...

Real sandboxes of the container driver. ADIT_BENCH_SCALE=full: streams of 10 minutes. What the
clients take of the machine is not taken out, so processor time says more than rates.
"""

import concurrent.futures
import contextlib
import http.client
import json
import resource
import selectors
import socket
import statistics
import sys
import time

from crun_floor import crun_rate
from output_streams import PROGRAM, OutputStream
from sandbox_programs import fields, head, start_stream, upload_source
from support import (IS_FULL, Api, cpu_s, create, envd_pid, figure, health, kill, quantile, routing,
                     rss_kib, running_broker, wrk)

IDLE = 10000
STREAMS, STREAM_SECONDS = 1000, 600 if IS_FULL else 15
LINE, LINES_PER_S, STARTS_AT_ONCE = 2500, 4, 20
CHANNELS, REFUSALS = 1024, 50
SANDBOXES = 500
AT_ONCE = 4


# ---- idle connections beside busy ones ----


def busy(broker, sandbox):
    """p99 in microseconds of 64 connections, the median of three runs."""
    runs = [wrk(broker, "/health", "-c64", "-d3s", *fields(sandbox)) for _ in range(3)]
    return statistics.median(p99 for _, _, p99 in runs)


def idle(broker):
    sandbox, _ = create(broker)
    request = head(sandbox, "GET", "/health")
    without = busy(broker, sandbox)
    before = rss_kib(broker.process.pid)
    with contextlib.ExitStack() as held:
        for _ in range(IDLE):
            s = held.enter_context(socket.create_connection(("127.0.0.1", broker.port)))
            s.sendall(request)
            assert s.recv(4096).startswith(b"HTTP/1.1 204")
        each = (rss_kib(broker.process.pid) - before) / IDLE
        beside = busy(broker, sandbox)
    figure(each <= 16, f"memory of {IDLE} idle connections", "<= 16 KiB each",
           f"{each:.2f} KiB each")
    figure(beside <= 2 * without, f"p99 of 64 busy connections beside {IDLE} idle ones",
           "<= 2 x without", f"{beside / without:.2f} x ({beside / 1e3:.2f} ms, without "
           f"{without / 1e3:.2f} ms)")
    kill(broker, sandbox)


# ---- streams of output ----


def read_streams(streams, watch):
    """Until all have ended. `watch` is called about once a second."""
    selector = selectors.DefaultSelector()
    for stream in streams:
        selector.register(stream.socket, selectors.EVENT_READ, stream)
    left, next_look = len(streams), time.monotonic() + 1
    while left:
        for key, _ in selector.select(timeout=30):
            if not key.data.read():
                selector.unregister(key.fileobj)
                left -= 1
        if time.monotonic() >= next_look:
            next_look += 1
            watch()
    selector.close()


def open_streams(broker, request):
    """Some at once: this is no storm of starts, which envd would answer one after the other."""
    opened = []
    while len(opened) < STREAMS:
        some = [OutputStream(broker.port, request, LINE) for _ in range(STARTS_AT_ONCE)]
        for stream in some:
            while not stream.has_head:
                stream.read()
        opened += some
    return opened


def streams(broker):
    sandbox, _ = create(broker)
    upload_source(broker, sandbox, PROGRAM, "/tmp/output")
    count = STREAM_SECONDS * LINES_PER_S
    process = {"cmd": "/tmp/output", "args": [str(LINE), str(1000 // LINES_PER_S), str(count)]}
    broker_pid, guest_pid = broker.process.pid, envd_pid(sandbox)
    rss = []
    began, broker_cpu, guest_cpu = time.monotonic(), cpu_s(broker_pid), cpu_s(guest_pid)
    running = open_streams(broker, start_stream(sandbox, "Start", process))
    read_streams(running, lambda: rss.append((rss_kib(broker_pid), rss_kib(guest_pid))))
    took = time.monotonic() - began
    whole = sum(s.is_whole(count) for s in running)
    cores = (cpu_s(broker_pid) - broker_cpu) / took, (cpu_s(guest_pid) - guest_cpu) / took
    settled = rss[len(rss) // 3:]
    growth = [max(x) - x[0] for x in zip(*settled)]
    figure(whole == STREAMS, f"{STREAMS} streams of 10 KB/s, {STREAM_SECONDS} s: whole, in order",
           f"{STREAMS}", f"{whole}, in {took:.1f} s")
    figure(sum(cores) <= 1, "  processor time of broker and envd", "<= 1 core",
           f"{cores[0]:.2f} + {cores[1]:.2f}")
    broker_max, guest_max = (max(x) / 1024 for x in zip(*rss))
    figure(max(growth) <= 2048, "  growth of memory once they run", "<= 2 MiB",
           f"broker {growth[0]} KiB (at most {broker_max:.1f} MiB), "
           f"envd {growth[1]} KiB (at most {guest_max:.1f} MiB)")
    kill(broker, sandbox)


# ---- channels of one sandbox ----


def channels(broker):
    """All its channels follow one process; the next request is refused, at once."""
    sandbox, _ = create(broker)
    request = start_stream(sandbox, "Start", {"cmd": "/bin/sleep", "args": ["900"]})
    with contextlib.ExitStack() as held:
        def hold(data):
            s = held.enter_context(socket.create_connection(("127.0.0.1", broker.port), timeout=30))
            s.sendall(data)
            answer = b""
            while b'"pid"' not in answer:
                piece = s.recv(65536)
                assert piece and b" 429 " not in piece, answer + piece
                answer += piece
            return answer

        pid = json.loads(hold(request).split(b'"pid":')[1].split(b"}")[0])
        follow = start_stream(sandbox, "Connect", {"pid": pid})
        began = time.monotonic()
        for _ in range(CHANNELS - 1):
            hold(follow)
        opened = time.monotonic() - began
        took = []
        c = http.client.HTTPConnection("127.0.0.1", broker.port, timeout=30)
        for _ in range(REFUSALS):
            at = time.perf_counter()
            c.request("GET", "/health", headers=routing(sandbox))
            answer = c.getresponse()
            answer.read()
            took.append((time.perf_counter() - at) * 1e3)
            assert answer.status == 429, answer.status
        c.close()
    figure(True, "channels of one sandbox at once", f"{CHANNELS}",
           f"{CHANNELS}, opened in {opened:.1f} s")
    p95 = quantile(took, .95)
    figure(p95 <= 10, f"  the next {REFUSALS} requests are refused: p95", "<= 10 ms",
           f"{p95:.2f} ms, p50 {statistics.median(took):.2f} ms")
    kill(broker, sandbox)


# ---- sandboxes ----


def in_parallel(broker, work, items):
    """work(api, item) for each by AT_ONCE clients; its results and the seconds it all took."""
    def client(share):
        api = Api(broker)
        try:
            return [work(api, item) for item in share]
        finally:
            api.close()

    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        shares = list(pool.map(client, (items[i::AT_ONCE] for i in range(AT_ONCE))))
    return [result for share in shares for result in share], time.monotonic() - began


def create_times(broker, runs=15):
    """p50 of milliseconds to the first answer of envd."""
    took = []
    for _ in range(runs):
        sandbox, ms = create(broker)
        took.append(ms)
        kill(broker, sandbox)
    return statistics.median(took)


def list_times(broker, runs=30):
    """Milliseconds of all pages together, and how many sandboxes they name."""
    api, took = Api(broker), []
    for _ in range(runs):
        found, cursor = 0, ""
        at = time.perf_counter()
        while cursor is not None:
            query = f"limit=100{cursor and '&nextToken=' + cursor}"
            page, cursor = api.ask("GET", f"/v2/sandboxes?{query}")
            found += len(page)
        took.append((time.perf_counter() - at) * 1e3)
    api.close()
    return statistics.median(took), found


def sandboxes(broker):
    alone = create_times(broker)
    before = rss_kib(broker.process.pid)
    made, took = in_parallel(broker, lambda api, _: api.create(), range(SANDBOXES))
    figure(len(made) == SANDBOXES, "real sandboxes at once", f"{SANDBOXES}",
           f"{len(made)}, made by {AT_ONCE} clients in {took:.1f} s: {SANDBOXES / took:.0f}/s")
    each = (rss_kib(broker.process.pid) - before) / SANDBOXES
    figure(each <= 100, "  the broker's memory", "<= 100 KiB each", f"{each:.1f} KiB each")
    p50, found = list_times(broker)
    figure(found == SANDBOXES and p50 <= 50, "  GET /v2/sandboxes, all pages of 100: p50",
           "<= 50 ms", f"{p50:.1f} ms, {found} sandboxes")
    beside = create_times(broker)
    figure(beside <= 2 * alone, "  create to first /health beside them: p50", "<= 2 x alone",
           f"{beside / alone:.2f} x ({beside:.1f} ms, alone {alone:.1f} ms)")
    for sandbox in (made[0], made[-1]):
        health(broker, sandbox)
    _, took = in_parallel(broker, lambda api, sandbox: api.kill(sandbox), made)
    figure(None, "  all deleted", "-", f"in {took:.1f} s: {SANDBOXES / took:.0f}/s")


def programs_cpu_s(broker):
    """Of the broker, its scheduler, its launcher and all that the launcher started."""
    launcher = broker.child("adit-launcher", of=broker.child("adit-keeper"))
    return sum(cpu_s(pid) for pid in (broker.process.pid, broker.scheduler(), launcher))


def cycles(broker, count=60, rounds=3):
    """Creates with deletes, beside the OCI runtime with a container that ends by itself."""
    ours, floor = [], []
    for _ in range(rounds):  # in turns, so that a busy moment hits both
        floor.append(crun_rate(count, AT_ONCE))
        before = programs_cpu_s(broker)
        _, took = in_parallel(broker, lambda api, _: api.kill(api.create()), range(count))
        ours.append((count / took, (programs_cpu_s(broker) - before) / count))
    (rate, cpu), (floor_rate, floor_cpu) = (map(statistics.median, zip(*x)) for x in (ours, floor))
    figure(None, f"create-delete cycles, {AT_ONCE} clients", "-",
           f"{rate:.0f}/s, {cpu * 1e3:.0f} ms CPU each; crun alone, with a program that ends: "
           f"{floor_rate:.0f}/s, {floor_cpu * 1e3:.0f} ms")


PARTS = {"idle": idle, "streams": streams, "channels": channels, "cycles": cycles,
         "sandboxes": sandboxes}


def main():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with running_broker("--max-sandboxes", str(SANDBOXES + 20), "--memory-overcommit", "100000",
                        "--disk-overcommit", "100000", "--cpu-overcommit", "1000000") as broker:
        for name in sys.argv[1:] or PARTS:
            PARTS[name](broker)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks of a whole broker share: its API, its sandboxes, how a figure is printed."""

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path += [str(REPO / "tests" / room) for room in ("", "e2e", "lab")]
from conftest import (Broker, EgressBroker, cgroups, kill_everything,  # noqa: E402
                      leftovers, wait_for)  # noqa: F401 (for the benchmarks)

# Every size and time of the aims; otherwise what takes minutes is cut short.
IS_FULL = os.environ.get("ADIT_BENCH_SCALE") == "full"


def figure(met, what, aim, seen):
    """A line: is the aim met (None: there is none), of what, the aim, what was seen."""
    word = {True: "ok", False: "missed", None: "-"}[met]
    print(f"{word:<7} {what:<52} aim {aim:<22} seen {seen}", flush=True)


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


def rss_kib(pid):
    """Exact, where /proc/PID/status may be behind by some pages a thread."""
    return int(re.search(r"Rss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())[1])


def cpu_s(pid, with_children=True):
    """Processor time of a process and of its children that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(n) for n in fields[11:15 if with_children else 13]) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running_broker(*extra, internet=None):
    """A broker with these options, in the network of an Internet (internet.py) if one is given; nothing
    of it is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="adit-bench-") as scratch:
        state = Path(scratch)
        broker = EgressBroker(state, internet, extra) if internet else Broker(state, extra)
        broker.start()
        try:
            yield broker
        finally:
            kill_everything(broker)
            broker.stop()
            remains = leftovers(broker)
        assert not remains, remains


# ---- the API ----


class Api:
    """The control API over one kept connection; of one thread."""

    def __init__(self, broker):
        self.connection = http.client.HTTPConnection("127.0.0.1", broker.port, timeout=60)
        self.key = broker.env()["E2B_API_KEY"]

    def ask(self, method, path, body=None):
        """The body, parsed, and the cursor of the next page, or None."""
        self.connection.request(method, path, json.dumps(body) if body is not None else None,
                                {"X-API-Key": self.key, "Content-Type": "application/json"})
        answer = self.connection.getresponse()
        data = answer.read()
        assert answer.status < 300, (method, path, answer.status, data)
        return json.loads(data) if data else None, answer.getheader("X-Next-Token")

    def create(self):
        return self.ask("POST", "/v2/sandboxes", {"templateID": "base", "timeout": 1800})[0]

    def kill(self, sandbox):
        self.ask("DELETE", f"/sandboxes/{sandbox['sandboxID']}")

    def close(self):
        self.connection.close()


def routing(sandbox):
    return {"E2b-Sandbox-Id": sandbox["sandboxID"], "E2b-Sandbox-Port": "49983",
            "X-Access-Token": sandbox["envdAccessToken"]}


def health(broker, sandbox):
    c = http.client.HTTPConnection("127.0.0.1", broker.port, timeout=60)
    c.request("GET", "/health", headers=routing(sandbox))
    assert c.getresponse().status == 204
    c.close()


def create(broker):
    """A sandbox whose envd has answered, and the milliseconds that it took."""
    started = time.perf_counter()
    api = Api(broker)
    sandbox = api.create()
    health(broker, sandbox)
    took = (time.perf_counter() - started) * 1e3
    api.close()
    return sandbox, took


def kill(broker, sandbox):
    api = Api(broker)
    api.kill(sandbox)
    api.close()


def pids_of(sandbox, command):
    """Of the sandbox's processes of that name, found by the control groups."""
    found = set()
    for name, path in cgroups():
        if name == sandbox["sandboxID"]:
            for at, _, files in os.walk(path):
                if "cgroup.procs" in files:
                    found.update((Path(at) / "cgroup.procs").read_text().split())
    return sorted(int(pid) for pid in found
                  if Path(f"/proc/{pid}/comm").read_text() == f"{command}\n")


def envd_pid(sandbox):
    [pid] = pids_of(sandbox, "envd")
    return pid


# ---- wrk ----


def wrk(broker, path, *arguments, is_refused=False):
    """Requests a second, p50 and p99 in microseconds. All answers are 2xx, or none (is_refused)."""
    out = subprocess.run(["wrk", "-t1", "--latency", *arguments, broker.url + path],
                         capture_output=True, text=True, check=True).stdout
    assert ("Non-2xx" in out) == is_refused and "Socket errors" not in out, out
    scale = {"us": 1, "ms": 1e3, "s": 1e6}

    def microseconds(q):
        number, unit = re.search(rf"{q}%\s+([\d.]+)(us|ms|s)", out).groups()
        return float(number) * scale[unit]

    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    return rate, microseconds(50), microseconds(99)

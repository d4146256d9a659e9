# SPDX-License-Identifier: Apache-2.0
"""Metrics and logs of sandboxes: the SDKs, the CLI, other teams, restarts."""

import asyncio
import json
import os
import re
import subprocess
import time
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from conftest import BIN, free_port, wait_for
from e2b import AsyncSandbox, Sandbox
from e2b.exceptions import SandboxNotFoundException

from support import add_key, api, http_request, routing
from test_cli import cli  # noqa: F401 (a fixture)

# In a sanitizer build envd's lines are in the broker's log, not in the sandbox's.
HAS_ENVD_LINES = "asan" not in str(BIN)


def lines(broker, sandbox_id, query=""):
    answer = api(broker, "GET", f"/sandboxes/{sandbox_id}/logs{query}")
    assert answer.status == 200, answer.text
    return [(entry["timestamp"], json.loads(entry["line"])) for entry in answer.json()["logs"]]


def messages(broker, sandbox_id, query=""):
    return [line["message"] for _, line in lines(broker, sandbox_id, query)]


# ---- metrics ----


def test_metrics_come_soon_and_go_on(sandbox):
    began = time.monotonic()
    first = wait_for(sandbox.get_metrics, 10, "a first sample")[0]
    assert time.monotonic() - began < 4
    given = sandbox.get_info()
    assert first.mem_total == given.memory_mb << 20 and first.cpu_count <= given.cpu_count
    assert first.cpu_count > 0 and 0 <= first.cpu_used_pct <= 100
    assert 0 < first.mem_used <= first.mem_total and first.mem_cache >= 0
    assert 0 < first.disk_used <= first.disk_total
    assert abs((datetime.now(timezone.utc) - first.timestamp).total_seconds()) < 30
    more = wait_for(lambda: sandbox.get_metrics()[1:], 12, "a second sample")
    assert 4 < (more[0].timestamp - first.timestamp).total_seconds() < 8


def load(sandbox):
    """Of the samples that the host corrected in time; it is 2 s late on a busy machine at times."""
    own = sandbox.get_info().memory_mb << 20
    return [m.cpu_used_pct for m in sandbox.get_metrics() if m.mem_total == own]


def test_a_sandbox_is_told_its_own_load_and_not_its_neighbours(sandbox):
    with Sandbox.create(timeout=60) as busy:
        busy.commands.run("while :; do :; done & while :; do :; done", background=True, timeout=0)
        # Of a machine that others keep busy it gets a small part.
        wait_for(lambda: max(load(busy), default=0) > 5, 60, "load")
        assert max(load(sandbox), default=0) < max(load(busy)) / 2 <= 50
        busy.kill()


def test_metrics_of_a_range(broker, sandbox):
    first = wait_for(sandbox.get_metrics, 10, "a first sample")[0]
    hour = timedelta(hours=1)
    assert sandbox.get_metrics(start=first.timestamp)
    assert sandbox.get_metrics(start=first.timestamp + hour) == []
    assert sandbox.get_metrics(end=first.timestamp - hour) == []
    path = f"/sandboxes/{sandbox.sandbox_id}/metrics"
    for query in ("?start=x", "?start=-1", "?start=2&end=1", "?end=1.5"):
        answer = api(broker, "GET", path + query)
        assert answer.status == 400 and answer.json()["code"] == 400, query
    sample = api(broker, "GET", path).json()[0]
    assert set(sample) == {"timestamp", "timestampUnix", "cpuCount", "cpuUsedPct", "memUsed",
                           "memTotal", "memCache", "diskUsed", "diskTotal"}


def test_metrics_of_many(broker, sandbox):
    wait_for(sandbox.get_metrics, 10, "a first sample")
    answer = api(broker, "GET", f"/sandboxes/metrics?sandbox_ids={sandbox.sandbox_id},nosuch")
    assert answer.status == 200
    assert list(answer.json()["sandboxes"]) == [sandbox.sandbox_id]
    assert answer.json()["sandboxes"][sandbox.sandbox_id]["cpuCount"] > 0
    many = "%2C".join(["ia"] * 100)
    assert api(broker, "GET", f"/sandboxes/metrics?sandbox_ids={many}").json() == {"sandboxes": {}}
    refused = api(broker, "GET", f"/sandboxes/metrics?sandbox_ids={many},ia")
    assert refused.status == 400
    assert refused.json()["message"] == "Too many sandboxes requested, maximum is 100"
    assert api(broker, "GET", "/sandboxes/metrics").status == 400
    assert api(broker, "GET", "/sandboxes/metrics?sandbox_ids=a/b").status == 400


def test_metrics_of_the_async_client_and_of_nobody():
    async def run():
        sandbox = await AsyncSandbox.create(timeout=60)
        try:
            for _ in range(300):
                if found := await sandbox.get_metrics():
                    return found
                await asyncio.sleep(0.1)
        finally:
            await sandbox.kill()
    assert asyncio.run(run())
    with pytest.raises(SandboxNotFoundException):
        Sandbox.get_metrics("nosuchsandbox")


def test_samples_survive_the_broker(own_broker):
    broker = own_broker()
    sandbox = Sandbox.create(timeout=120)
    before = wait_for(sandbox.get_metrics, 10, "a first sample")
    # its end counts by the clock of this boot, whatever happens to the wall clock
    record = broker.state / f"state/sandboxes/{sandbox.sandbox_id}/record.json"
    assert json.loads(record.read_text())["clock"]["bootID"] == Path(
        "/proc/sys/kernel/random/boot_id").read_text().strip()
    broker.kill()
    broker.start()
    wait_for(lambda: len(sandbox.get_metrics()) > len(before), 15, "a sample of the new broker")
    assert sandbox.get_metrics()[: len(before)] == before
    assert "sandbox goes on under a new broker" in messages(broker, sandbox.sandbox_id)
    # what envd says is still heard
    sandbox.kill()
    assert messages(broker, sandbox.sandbox_id)[-1] == "sandbox ended"


# ---- logs ----


def test_a_log_tells_the_life_of_its_sandbox(broker):
    sandbox = Sandbox.create(timeout=60)
    sandbox.kill()
    wait_for(lambda: "sandbox ended" in messages(broker, sandbox.sandbox_id), 5, "the end")
    told = [line for _, line in lines(broker, sandbox.sandbox_id)]
    assert [t["message"] for t in told if t["logger"] == "sandbox"] == [
        "sandbox is being created", "sandbox runs", "sandbox ended"]
    assert told[-1]["reason"] == "deleted by its owner" and told[-1]["level"] == "info"
    if HAS_ENVD_LINES:
        assert any(t["logger"] == "envd" and t["message"] == "listening" for t in told)


@pytest.mark.parametrize("end, reason", [("timeout", "timeout"), ("envd", "signal: killed")])
def test_the_reason_of_an_end_can_be_read_after_it(broker, end, reason):
    sandbox = Sandbox.create(timeout=60)
    if end == "timeout":
        sandbox.set_timeout(0)
    else:
        record = json.loads(
            (broker.state / f"state/sandboxes/{sandbox.sandbox_id}/record.json").read_text())
        os.kill(record["instance"]["pid"], 9)
    wait_for(lambda: not sandbox.is_running(), 10, "the end")
    told = wait_for(lambda: [line for _, line in lines(broker, sandbox.sandbox_id)
                             if "reason" in line], 5, "its reason")
    assert reason in told[-1]["reason"]


def test_pages_of_a_log(broker, sandbox):
    path = f"/v2/sandboxes/{sandbox.sandbox_id}/logs"
    every = wait_for(lambda: api(broker, "GET", path).json()["logs"], 5, "the log")
    assert set(every[0]) == {"timestamp", "message", "level", "fields"}
    back = api(broker, "GET", path + "?direction=backward&limit=1").json()["logs"]
    assert back == every[-1:]
    found = api(broker, "GET", path + "?search=being%20created").json()["logs"]
    assert [e["message"] for e in found] == ["sandbox is being created"]
    assert api(broker, "GET", path + "?level=error").json()["logs"] == []
    assert api(broker, "GET", path + "?direction=sideways").status == 400
    # following: from behind the last line that was seen there is nothing, and nothing is seen twice
    seen = lines(broker, sandbox.sandbox_id)
    stamps = [datetime.fromisoformat(t.replace("Z", "+00:00")) for t, _ in seen]
    assert stamps == sorted(set(stamps))
    after = round(stamps[0].timestamp() * 1000) + 1
    assert lines(broker, sandbox.sandbox_id, f"?start={after}") == seen[1:]


def test_a_sandbox_without_a_log_is_not_missing(broker):
    sandbox = Sandbox.create(timeout=60)
    file = broker.state / f"state/logs/{sandbox.sandbox_id}.log"
    wait_for(lambda: file.exists() and "sandbox runs" in file.read_text(), 5, "the log")
    file.unlink()  # as when the sweep makes room
    path = f"/sandboxes/{sandbox.sandbox_id}/logs"
    for version, members in (("", {"logs", "logEntries"}), ("/v2", {"logs"})):
        answer = api(broker, "GET", version + path)
        assert answer.status == 200 and set(answer.json()) == members
    sandbox.kill()


def test_a_log_is_its_teams_alone(broker, sandbox):
    other = add_key(broker, "logs", "another-team")
    for path in (f"/sandboxes/{sandbox.sandbox_id}/logs", f"/v2/sandboxes/{sandbox.sandbox_id}/logs",
                 f"/sandboxes/{sandbox.sandbox_id}/metrics"):
        foreign = api(broker, "GET", path, key=other)
        nobody = api(broker, "GET", path.replace(sandbox.sandbox_id, "i" + "0" * 20), key=other)
        assert foreign.status == nobody.status == 404
        assert foreign.text.replace(sandbox.sandbox_id, "i" + "0" * 20) == nobody.text
    answer = api(broker, "GET", f"/sandboxes/metrics?sandbox_ids={sandbox.sandbox_id}", key=other)
    assert answer.json() == {"sandboxes": {}}


# ---- the CLI ----


def test_cli_logs(cli, sandbox):  # noqa: F811
    shown = cli("sandbox", "logs", sandbox.sandbox_id, "--format", "json")
    assert shown.returncode == 0, shown.stderr
    told = [json.loads(text) for text in shown.stdout.splitlines() if text.startswith("{")]
    runs = [t for t in told if t["message"] == "sandbox runs"]
    assert len(runs) == 1 and runs[0]["timestamp"] and runs[0]["level"].upper() == "INFO"
    pretty = cli("sandbox", "logs", sandbox.sandbox_id)
    assert pretty.returncode == 0 and "sandbox runs" in pretty.stdout
    errors = cli("sandbox", "logs", sandbox.sandbox_id, "--level", "ERROR")
    assert errors.returncode == 0 and "sandbox runs" not in errors.stdout
    only = cli("sandbox", "logs", sandbox.sandbox_id, "--loggers", "envd")
    assert ("listening" in only.stdout) == HAS_ENVD_LINES and "sandbox runs" not in only.stdout


def test_cli_follows_a_log_to_its_end(cli):  # noqa: F811
    sandbox = Sandbox.create(timeout=4)
    shown = cli("sandbox", "logs", "-f", sandbox.sandbox_id)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("sandbox runs") == 1
    assert re.search(r"sandbox is .*closed", shown.stdout)


def test_cli_metrics(cli, sandbox):  # noqa: F811
    wait_for(sandbox.get_metrics, 10, "a first sample")
    shown = cli("sandbox", "metrics", sandbox.sandbox_id)
    assert shown.returncode == 0, shown.stderr
    assert "CPU" in shown.stdout and "MiB" in shown.stdout
    told = cli("sandbox", "metrics", sandbox.sandbox_id, "--format", "json")
    assert json.loads(told.stdout.splitlines()[-1])["memTotal"] > 0


# ---- request ids ----


def test_one_id_goes_through_all_logs(own_broker):
    broker = own_broker("--log-level", "debug")
    sandbox = Sandbox.create(timeout=60)
    mine = "mine.Req_-7"
    answer = http_request(broker, "GET", "/files?path=/etc/hostname",
                          {**routing(sandbox), "X-Access-Token": sandbox._envd_access_token,
                           "X-Request-Id": mine})
    assert answer.status == 200
    line = wait_for(lambda: re.search(rf"debug broker relayed request_id={mine} .*", broker.log()), 5,
                    "the broker's line")
    assert f"sandbox={sandbox.sandbox_id} port=49983 status=200" in line[0]
    shown = api(broker, "GET", f"/sandboxes/{sandbox.sandbox_id}", headers={"X-Request-Id": mine})
    assert shown.headers["X-Request-Id"] == shown.headers["X-E2B-Trace-ID"] == mine
    access = wait_for(lambda: re.search(rf"info broker api_request request_id={mine} .*", broker.log()), 5,
                      "the access line")
    assert f"method=GET path=/sandboxes/{sandbox.sandbox_id} status=200 us=" in access[0]
    assert "team=" in access[0] and "key=" in access[0]
    if HAS_ENVD_LINES:
        told = wait_for(lambda: [line for _, line in lines(broker, sandbox.sandbox_id)
                                 if line.get("request_id") == mine], 5, "the line of envd")
        assert [(t["logger"], t["message"], t["path"], t["status"]) for t in told] == [
            ("envd", "request", "/files", "200")]
    sandbox.kill()


@pytest.mark.parametrize("said", ["", "a" * 65, "a b", "a\"b", "ä".encode().decode("latin1"), "a/b"])
def test_an_id_that_is_none_is_replaced(broker, said):
    made = api(broker, "GET", "/sandboxes", headers={"X-Request-Id": said}).headers["X-Request-Id"]
    assert made != said and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", made)
    again = api(broker, "GET", "/sandboxes").headers["X-Request-Id"]
    assert again != made


def test_every_answer_of_ours_has_an_id(broker, sandbox):
    for path, headers in [("/nowhere", {}), ("/sandboxes", {}), ("/health", {}),
                          ("/", {"E2b-Sandbox-Id": "inosuch", "E2b-Sandbox-Port": "80"}),
                          ("/", routing(sandbox, 81)), ("/init", routing(sandbox)),
                          ("/", routing(sandbox, 1024))]:
        answer = http_request(broker, "GET", path, headers)
        assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+", answer.headers["X-Request-Id"]), path


def test_a_server_in_the_sandbox_gets_the_id(broker, sandbox):
    program = ("import http.server as h\n"
               "class H(h.BaseHTTPRequestHandler):\n"
               " def do_GET(self):\n"
               "  self.send_response(200); self.end_headers()\n"
               "  self.wfile.write(','.join(self.headers.get_all('X-Request-Id')).encode())\n"
               "h.HTTPServer(('127.0.0.1', 8000), H).serve_forever()\n")
    sandbox.files.write("/tmp/s.py", program)
    server = sandbox.commands.run("python3 /tmp/s.py", background=True)
    def ask(headers):
        return http_request(broker, "GET", "/", {**routing(sandbox, 8000), **headers})
    wait_for(lambda: ask({}).status == 200, 10, "the server")
    assert ask({"X-Request-Id": "abc"}).text == "abc"
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+", ask({"X-Request-Id": "a b"}).text)
    server.kill()


# ---- logs as JSON ----


def test_every_log_line_is_json_when_asked_for(own_broker):
    broker = own_broker("--log-json", "--log-level", "debug")
    sandbox = Sandbox.create(timeout=60, metadata={"a": "\"b\\\n"})
    sandbox.commands.run("true")
    api(broker, "GET", "/odd%22\\path?q=\"", headers={"User-Agent": "x"})
    sandbox.kill()
    broker.stop()
    own = [text for text in broker.log().splitlines() if text.startswith("{")]
    seen = [json.loads(text) for text in own]
    assert all({"timestamp", "level", "logger", "message"} <= set(line) for line in seen)
    assert {line["logger"] for line in seen} - {"envd"} == {"broker", "scheduler"}
    assert any(line["message"] == "api_request" and line["request_id"] for line in seen)
    # what is no JSON is the greeting of a broker that was started by hand, and nothing else
    rest = [text for text in broker.log().splitlines() if text and not text.startswith("{")]
    assert not [text for text in rest if re.match(r"\d{4}-\d\d-\d\dT", text)], rest


# ---- Prometheus ----


def scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        text = answer.read().decode()
    return check_exposition(text)


def check_exposition(text):
    """A strict reading of the text format: {(name, labels): value}, families whole and described."""
    assert text.endswith("\n")
    samples, family, kinds = {}, None, {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            assert family not in kinds and len(line.split(" ", 3)[3]) > 3, line
            kinds[family] = None
            continue
        if line.startswith("# TYPE "):
            assert line.split(" ")[2] == family and kinds[family] is None, line
            kinds[family] = line.split(" ")[3]
            assert kinds[family] in ("counter", "gauge", "histogram")
            assert (kinds[family] == "counter") == family.endswith("_total"), line
            continue
        m = re.fullmatch(r"([a-z_]+)(?:\{((?:[a-z_]+=\"(?:[^\"\\\n]|\\.)*\",?)+)\})? (\S+)", line)
        assert m, line
        name, labels, value = m[1], m[2] or "", float(m[3])
        base = re.sub(r"_(bucket|sum|count)$", "", name) if kinds[family] == "histogram" else name
        assert base == family, f"{name} is outside of its family"
        assert (name, labels) not in samples, line
        assert value >= 0, line
        samples[name, labels] = value
    for family, kind in kinds.items():
        if kind == "histogram":
            check_histogram(samples, family)
    return samples


def check_histogram(samples, family):
    series = {}
    for (name, labels), value in samples.items():
        if name == f"{family}_bucket":
            rest, bound = re.fullmatch(r"(.*?),?le=\"([^\"]+)\"", labels).groups()
            series.setdefault(rest, []).append((float(bound), value))
    assert series
    for labels, buckets in series.items():
        assert buckets == sorted(buckets) and [b[1] for b in buckets] == sorted(b[1] for b in buckets)
        assert buckets[-1][0] == float("inf")
        assert samples[f"{family}_count", labels] == buckets[-1][1]
        assert (f"{family}_sum", labels) in samples


def test_the_broker_tells_its_figures(own_broker):
    port = free_port()
    broker = own_broker("--metrics-listen", f"127.0.0.1:{port}")
    before = scrape(port)
    sandbox = Sandbox.create(timeout=60)
    sandbox.commands.run("echo hello")
    sandbox.files.write("f", "x" * 100000)
    wait_for(sandbox.get_metrics, 10, "a first sample")
    http_request(broker, "GET", "/", {"E2b-Sandbox-Id": "inosuch", "E2b-Sandbox-Port": "80"})
    api(broker, "GET", "/nowhere")
    after = scrape(port)

    def grew(name, labels=""):
        return after[name, labels] - before[name, labels]

    assert grew("adit_broker_creates_total", 'result="ok"') == 1
    assert after["adit_broker_sandboxes", 'state="running"'] == 1
    assert grew("adit_broker_requests_total", 'kind="api",class="2xx"') >= 2
    assert grew("adit_broker_requests_total", 'kind="api",class="4xx"') == 1
    assert grew("adit_broker_requests_total", 'kind="envd",class="2xx"') >= 2
    assert grew("adit_broker_requests_total", 'kind="port",class="5xx"') == 1
    assert grew("adit_broker_relayed_bytes_total", 'direction="up"') >= 100000
    assert grew("adit_broker_relayed_bytes_total", 'direction="down"') > 0
    assert grew("adit_broker_launcher_requests_total", 'result="ok"') >= 1
    assert grew("adit_broker_api_refusals_total", 'reason="unknown_path"') == 1
    assert grew("adit_broker_samples_total", 'result="taken"') >= 1
    assert after["adit_broker_channels", ""] >= 1
    own = [labels for name, labels in after if name == "adit_sandbox_memory_used_bytes"]
    assert len(own) == 1 and f'sandbox_id="{sandbox.sandbox_id}"' in own[0]
    assert after["process_open_fds", ""] > 5 and after["process_resident_memory_bytes", ""] > 2**20
    sandbox.kill()
    gone = scrape(port)
    assert gone["adit_broker_ends_total", 'state="killed"'] == 1
    assert not [labels for name, labels in gone if name.startswith("adit_sandbox_")]
    assert broker.process.poll() is None


def test_the_listener_for_figures_serves_nothing_else(own_broker):
    port = free_port()
    broker = own_broker("--metrics-listen", f"127.0.0.1:{port}")
    own_port, broker.port = broker.port, port
    try:
        assert http_request(broker, "GET", "/sandboxes", {"X-API-Key": "x"}).status == 404
        assert http_request(broker, "POST", "/metrics").status == 405
        assert http_request(broker, "GET", "/metrics?x=1").status == 200
    finally:
        broker.port = own_port
    assert http_request(broker, "GET", "/metrics").status == 404


def test_the_scheduler_tells_its_figures(scratch, own_broker):
    port, data = free_port(), scratch / "scheduler-figures"
    folder = scratch / "scheduler-socket"  # the broker is to come into it
    folder.mkdir(mode=0o755)
    address = f"unix:{folder}/s.sock"
    scheduler = subprocess.Popen([str(BIN / "scheduler"), "--listen", address, "--data-dir", str(data),
                                  "--metrics-listen", f"127.0.0.1:{port}"])
    try:
        wait_for(lambda: (folder / "s.sock").exists(), 10, "the scheduler")
        own_broker("--scheduler", address)
        Sandbox.create(timeout=60).kill()
        figures = scrape(port)
        assert figures["adit_scheduler_nodes", 'state="ready"'] == 1
        assert figures["adit_scheduler_placements_total", ""] == 1
        assert figures["adit_scheduler_keys", ""] == 1
        assert figures["adit_scheduler_templates", ""] >= 1
        assert figures["adit_scheduler_store_writes_total", 'result="ok"'] >= 4
        assert figures["adit_scheduler_store_writes_pending", ""] == 0
    finally:
        scheduler.terminate()
        assert scheduler.wait(20) == 0

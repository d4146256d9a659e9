# SPDX-License-Identifier: Apache-2.0
"""Metrics and logs of sandboxes: the SDKs, the CLI, other teams, restarts."""

import asyncio
import json
import re
import time
from datetime import datetime, timedelta, timezone

import pytest
from conftest import wait_for
from e2b import AsyncSandbox, Sandbox
from e2b.exceptions import SandboxNotFoundException

from support import add_key, api
from test_cli import cli  # noqa: F401 (a fixture)


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
    assert first.cpu_count > 0 and 0 <= first.cpu_used_pct <= 100
    assert 0 < first.mem_used <= first.mem_total and first.mem_cache >= 0
    assert 0 < first.disk_used <= first.disk_total
    assert abs((datetime.now(timezone.utc) - first.timestamp).total_seconds()) < 30
    more = wait_for(lambda: sandbox.get_metrics()[1:], 12, "a second sample")
    assert 4 < (more[0].timestamp - first.timestamp).total_seconds() < 8


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
    assert any(t["logger"] == "envd" and t["message"] == "listening" for t in told)


@pytest.mark.parametrize("end, reason", [("timeout", "timeout"), ("envd", "signal: killed")])
def test_the_reason_of_an_end_can_be_read_after_it(broker, end, reason):
    sandbox = Sandbox.create(timeout=60)
    if end == "timeout":
        sandbox.set_timeout(0)
    else:
        import os
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
    assert "listening" in only.stdout and "sandbox runs" not in only.stdout


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

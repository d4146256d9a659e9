# SPDX-License-Identifier: Apache-2.0
"""The warm pool: creates take sandboxes that wait booted, each its own, as if made for them."""

import json
import os
import re
import shutil
import statistics
import subprocess
import time
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

import pytest
from conftest import BIN, REPO, TEMPLATES, free_port, leftovers, wait_for
from e2b import Sandbox
from e2b_code_interpreter import Sandbox as Interpreter

from support import api, http_request

GUEST = REPO / "build/run/guest"
MACHINES = ("--accel", "tcg", "--guest-dir", str(GUEST), "--ready-timeout", "60s",
            "--create-timeout", "90s")


class Pool:
    """A broker with a pool, and what it says of it."""

    def __init__(self, own_broker, option, *extra):
        self.metrics_port = free_port()
        self.broker = own_broker("--warm", option, "--metrics-listen",
                                 f"127.0.0.1:{self.metrics_port}", *extra)

    def figures(self, template="base", isolation="container"):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as answer:
            text = answer.read().decode()
        found = {}
        row = rf'{{template="{template}",isolation="{isolation}"(?:,state="(\w+)")?}} (\d+)'
        for name, state, value in re.findall(rf"^adit_broker_warm_(\w+){row}$", text, re.M):
            found[state or name.removesuffix("_total")] = int(value)
        return found

    def await_ready(self, count, **kind):
        def is_ready():
            now = self.figures(**kind)
            return now["ready"] == count and now["booting"] == 0

        wait_for(is_ready, 60, f"{count} that wait")

    def folders(self):
        return {p.name for p in (self.broker.state / "state/sandboxes").iterdir()}

    def listed(self):
        return {s["sandboxID"] for s in json.loads(self.broker.call("GET", "/v2/sandboxes")[1])}

    def waiting(self):
        return self.folders() - self.listed()


def create(broker, path="/v2/sandboxes", **body):
    answer = api(broker, "POST", path, {"templateID": "base", "timeout": 120, **body})
    assert answer.status == 201, answer.text
    return answer.json()


def kill_all(broker, ids):
    for sandbox_id in ids:
        assert api(broker, "DELETE", f"/sandboxes/{sandbox_id}").status == 204


@pytest.fixture
def pool(own_broker):
    p = Pool(own_broker, "base=4")
    p.await_ready(4)
    return p


def test_fifty_creates_at_once_get_a_sandbox_each(pool):
    waiting = pool.waiting()
    with ThreadPoolExecutor(50) as clients:
        made = list(clients.map(lambda n: create(pool.broker, envVars={"NUMBER": str(n)}),
                                range(50)))
    ids = {s["sandboxID"] for s in made}
    assert len(ids) == 50 and waiting <= ids
    now = pool.figures()
    assert now["claims"] >= 4 and now["claims"] + now["misses"] == 50 and now["failures"] == 0
    for n in (0, 7, 23, 49):
        said = Sandbox.connect(made[n]["sandboxID"]).commands.run("echo $NUMBER $E2B_SANDBOX_ID")
        assert said.stdout == f"{n} {made[n]['sandboxID']}\n"
    kill_all(pool.broker, ids)
    pool.await_ready(4)
    assert pool.listed() == set()


def test_a_claimed_sandbox_is_as_one_that_was_made(pool):
    """What was asked for is there, by the SDK, and nothing of the time before."""
    before = datetime.now(timezone.utc)
    waiting = pool.waiting()
    with Sandbox.create(timeout=120, envs={"COLOUR": "blue"}, metadata={"who": "me"}) as s:
        assert s.sandbox_id in waiting
        info = s.get_info()
        assert info.metadata == {"who": "me"} and info.started_at >= before
        assert s.commands.run("echo $COLOUR; whoami; pwd").stdout == "blue\nuser\n/home/user\n"
        assert abs(float(s.commands.run("date +%s").stdout) - time.time()) < 5
        assert s.commands.run("cat /run/e2b/.E2B_SANDBOX_ID").stdout == s.sandbox_id
        s.files.write("/tmp/x", "there")
        assert s.files.read("/tmp/x") == "there"
        log = api(pool.broker, "GET", f"/sandboxes/{s.sandbox_id}/logs").json()["logs"]
        assert json.loads(log[0]["line"])["message"] == "sandbox is being created"
        assert all(datetime.fromisoformat(e["timestamp"].replace("Z", "+00:00")) >= before
                   for e in log)
    assert pool.figures()["claims"] == 1


@pytest.mark.parametrize("secure", [True, False])
def test_only_who_has_the_token_gets_in(pool, secure):
    made = create(pool.broker, "/v2/sandboxes" if secure else "/sandboxes", secure=secure)
    route = {"E2b-Sandbox-Id": made["sandboxID"], "E2b-Sandbox-Port": "49983"}
    assert http_request(pool.broker, "GET", "/envs", route).status == (401 if secure else 200)
    if secure:
        token = {**route, "X-Access-Token": made["envdAccessToken"]}
        assert http_request(pool.broker, "GET", "/envs", token).status == 200
        others = {**route, "X-Access-Token": "0" * len(made["envdAccessToken"])}
        assert http_request(pool.broker, "GET", "/envs", others).status == 401
    kill_all(pool.broker, [made["sandboxID"]])
    assert pool.figures()["claims"] == 1


def test_nobody_reaches_what_waits(pool):
    waiting = pool.waiting()
    assert len(waiting) == 4 and pool.listed() == set()
    admin = (pool.broker.state / "state/admin-token").read_text().strip()
    for sandbox_id in waiting:
        for method, path in [("GET", ""), ("DELETE", ""), ("GET", "/logs"), ("GET", "/metrics")]:
            answer = api(pool.broker, method, f"/sandboxes/{sandbox_id}{path}")
            assert answer.status == 404, (path, answer.text)
        for port in ("49983", "8080"):
            answer = http_request(pool.broker, "GET", "/health",
                                  {"E2b-Sandbox-Id": sandbox_id, "E2b-Sandbox-Port": port})
            assert answer.status in (404, 502), answer.text
            assert "not found" in answer.text
    [node] = http_request(pool.broker, "GET", "/nodes", {"X-Admin-Token": admin}).json()
    assert node["sandboxCount"] == 0 and node["sandboxStartingCount"] == 0
    node = wait_for(lambda: [n for n in http_request(pool.broker, "GET", "/nodes",
                                                     {"X-Admin-Token": admin}).json()
                             if n["sandboxWarmCount"] == 4], 10, "a heartbeat")[0]
    assert node["metrics"]["allocatedCPU"] >= 4 and node["sandboxCount"] == 0
    assert pool.waiting() == waiting


def test_an_idempotency_key_makes_its_own_sandbox(pool):
    key = str(uuid.uuid4())
    first = Sandbox.create(timeout=120, idempotency_key=key)
    assert Sandbox.create(timeout=120, idempotency_key=key).sandbox_id == first.sandbox_id
    assert first.kill()
    assert pool.figures()["claims"] == 0 and len(pool.waiting()) == 4


def copied_templates(scratch):
    """The templates directory with nothing but base, to be changed."""
    own = scratch / f"templates-{uuid.uuid4().hex[:8]}"
    own.mkdir()
    for entry in TEMPLATES.iterdir():
        info = json.loads((entry / "template.json").read_text())
        if "base" in info["aliases"]:
            made = own / info["template_id"]
            made.mkdir(mode=0o755)
            linked = subprocess.run(["cp", "-al", f"{entry.resolve()}/root", f"{made}/root"],
                                    stderr=subprocess.DEVNULL)
            if linked.returncode:  # another file system
                shutil.rmtree(made / "root", ignore_errors=True)
                subprocess.run(["cp", "-a", f"{entry.resolve()}/root", f"{made}/root"], check=True)
            (made / "template.json").write_text(json.dumps(info))
            return made
    raise AssertionError("no base template")


def build_again(template):
    info = json.loads((template / "template.json").read_text())
    info["build_id"] = str(uuid.uuid4())
    fresh = template / "template.json.new"
    fresh.write_text(json.dumps(info))
    os.rename(fresh, template / "template.json")


def test_a_new_build_empties_the_pool(own_broker, scratch):
    template = copied_templates(scratch)
    pool = Pool(own_broker, "base=2", "--templates-dir", str(template.parent))
    pool.await_ready(2)
    old = pool.waiting()
    build_again(template)
    made = create(pool.broker)["sandboxID"]
    assert made not in old  # at once, before the pool has been changed
    wait_for(lambda: not pool.waiting() & old, 30, "the end of the old build's")
    pool.await_ready(2)
    assert not pool.waiting() & old and pool.figures()["failures"] == 0
    shutil.move(template, template.parent / ".gone")
    wait_for(lambda: not pool.waiting(), 30, "the end of what has no template")
    kill_all(pool.broker, [made])
    shutil.rmtree(template.parent)


def test_a_killed_broker_leaves_its_pool_to_the_next(pool):
    waiting = pool.waiting()
    pool.broker.kill()
    pool.broker.start()
    pool.await_ready(4)
    assert pool.waiting() == waiting and pool.figures()["boots"] == 0
    with Sandbox.create(timeout=120) as s:
        assert s.sandbox_id in waiting
        pool.broker.kill()
        pool.broker.start()
        assert s.commands.run("echo still").stdout == "still\n"
    pool.broker.kill()
    pool.broker.extra[pool.broker.extra.index("--warm") + 1] = ""
    pool.broker.start()
    wait_for(lambda: not pool.folders(), 30, "the end of what is not wanted any more")


def test_what_dies_while_it_waits_is_replaced(pool):
    victim = sorted(pool.waiting())[0]
    record = json.loads(
        (pool.broker.state / "state/sandboxes" / victim / "record.json").read_text())
    assert record["state"] == "warm" and record["teamID"] == ""
    os.kill(record["instance"]["pid"], 9)
    wait_for(lambda: victim not in pool.folders(), 30, "its end")
    pool.await_ready(4)
    assert pool.figures()["failures"] == 1


def times(pool, count, **body):
    took = []
    for _ in range(count):
        pool.await_ready(4)
        began = time.perf_counter()
        made = create(pool.broker, **body)
        took.append(time.perf_counter() - began)
        kill_all(pool.broker, [made["sandboxID"]])
    return statistics.median(took)


def test_a_claim_is_faster_than_a_creation(pool):
    """How fast is bench_broker.py's business; here no create may go the long way unseen."""
    claimed = times(pool, 10)
    assert pool.figures()["claims"] == 10 and pool.figures()["misses"] == 0
    key = pool.broker.env()["E2B_API_KEY"]
    made_anew = []
    for _ in range(10):
        began = time.perf_counter()
        answer = http_request(pool.broker, "POST", "/v2/sandboxes",
                              {"X-API-Key": key, "Content-Type": "application/json",
                               "Idempotency-Key": str(uuid.uuid4())},
                              json.dumps({"templateID": "base", "timeout": 120}))
        made_anew.append(time.perf_counter() - began)
        kill_all(pool.broker, [answer.json()["sandboxID"]])
    print(f"claimed {claimed * 1e3:.1f} ms, made {statistics.median(made_anew) * 1e3:.1f} ms")
    assert claimed < statistics.median(made_anew)


def test_a_code_interpreter_comes_from_the_pool(own_broker):
    pool = Pool(own_broker, "code-interpreter-v1=1")
    kind = {"template": "code-interpreter-v1"}
    pool.await_ready(1, **kind)
    waiting = pool.waiting()
    with Interpreter.create(timeout=120, envs={"COLOUR": "blue"}) as s:
        assert {s.sandbox_id} == waiting
        assert s.run_code("import os; os.environ['COLOUR'] + '!'").text == "blue!"
    assert pool.figures(**kind)["claims"] == 1


def need_machines():
    missing = [str(f) for f in (GUEST / "vmlinux", GUEST / "initramfs", BIN / "vsock-device")
               if not f.exists()]
    if not shutil.which("qemu-system-x86_64"):
        missing.append("qemu-system-x86")
    if missing:
        pytest.skip("virtual machines need " + ", ".join(missing))


def test_a_stop_ends_what_still_boots(own_broker):
    """A machine's end comes long after the edge has drained, which nothing keeps busy."""
    need_machines()
    pool = Pool(own_broker, "base:vm=2", *MACHINES)
    wait_for(pool.folders, 30, "one that boots")
    pool.broker.stop()
    assert not leftovers(pool.broker) and "warm_sandboxes_left" not in pool.broker.log()


def test_a_virtual_machine_comes_from_the_pool(own_broker):
    """Beside a pool of containers of the same template; each create gets what it asks for."""
    need_machines()
    pool = Pool(own_broker, "base:vm=1,base:container=1", *MACHINES)
    pool.await_ready(1, isolation="vm")
    pool.await_ready(1)
    waiting = pool.waiting()
    machine = create(pool.broker, isolation="vm", envVars={"COLOUR": "blue"})
    container = create(pool.broker, isolation="container")
    assert {machine["sandboxID"], container["sandboxID"]} == waiting
    assert machine["isolation"] == "vm" and container["isolation"] == "container"
    s = Sandbox.connect(machine["sandboxID"])
    said = s.commands.run("echo $COLOUR; hostname; whoami; uname -r", timeout=60).stdout.split()
    assert said[:3] == ["blue", s.sandbox_id, "user"] and said[3] != os.uname().release
    assert abs(float(s.commands.run("date +%s", timeout=60).stdout) - time.time()) < 15
    route = {"E2b-Sandbox-Id": s.sandbox_id, "E2b-Sandbox-Port": "49983"}
    assert http_request(pool.broker, "GET", "/envs", route).status == 401
    assert pool.figures(isolation="vm")["claims"] == pool.figures()["claims"] == 1
    kill_all(pool.broker, [machine["sandboxID"], container["sandboxID"]])

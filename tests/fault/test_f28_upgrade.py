# SPDX-License-Identifier: Apache-2.0
"""F28: the state of an earlier version, whose programs were killed while sandboxes ran.

data/state-0.1.0 was left by broker and scheduler 0.1.0 (the database with its log folded in): two
sandboxes that ran, one that had ended; the default key, one more of team "green", and one of green's
that was revoked. (Restarts of both programs under load, with the history of answers:
test_r1_r3_records.py.)
"""

import json
from pathlib import Path

from e2b import Sandbox

from conftest import wait_for
from support import api

OLD = Path(__file__).parent / "data/state-0.1.0"
GREEN = "e2b_a5e12c9e58aedc218a40d5dd4d01ef4e774f9afa"
REVOKED = "e2b_8d5ea79106e8c95b3d8d01eb3bbfe7ae9e98495d"


def old_records():
    return [json.loads(p.read_text()) for p in OLD.glob("sandboxes/*/record.json")]


def test_keys_and_records_of_an_earlier_version_are_read(own_broker):
    broker = own_broker(state=OLD)
    assert broker.env()["E2B_API_KEY"] in (OLD / "client.env").read_text()
    assert api(broker, "GET", "/v2/sandboxes").status == 200
    assert api(broker, "GET", "/v2/sandboxes", key=GREEN).status == 200
    assert api(broker, "GET", "/v2/sandboxes", key=REVOKED).status == 401

    gone = {r["sandboxID"] for r in old_records()}
    assert len(gone) == 2
    folders = broker.state / "state/sandboxes"
    wait_for(lambda: not any((folders / i).exists() for i in gone), 20, "what is over is removed")
    ends = [json.loads(line) for line in
            (broker.state / "state/ended.jsonl").read_text().splitlines()]
    assert {e["sandboxID"] for e in ends} > gone  # the one that had ended is still there
    assert all(e["reason"] for e in ends)
    wait_for(lambda: api(broker, "GET", "/v2/sandboxes").json() == [], 20, "nothing runs")
    for sandbox_id in gone:
        assert api(broker, "DELETE", f"/sandboxes/{sandbox_id}").status == 404


def test_a_sandbox_with_a_record_of_an_earlier_version_goes_on(own_broker):
    broker = own_broker(state=OLD)
    sandbox = Sandbox.create(timeout=300, metadata={"kept": "yes"})
    broker.kill()
    path = broker.state / "state/sandboxes" / sandbox.sandbox_id / "record.json"
    old, new = old_records()[0], json.loads(path.read_text())
    assert old.keys() < new.keys(), "the record has changed since"
    record = {name: new.get(name) for name in old if name != "network"}
    record["version"] = old["version"]
    record["instance"] = {name: new["instance"][name] for name in old["instance"]}
    path.write_text(json.dumps(record))
    broker.start()
    again = Sandbox.connect(sandbox.sandbox_id)
    assert again.get_info().metadata == {"kept": "yes"}
    assert again.commands.run("echo on").stdout == "on\n"
    assert again.kill()

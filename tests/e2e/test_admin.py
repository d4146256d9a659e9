# SPDX-License-Identifier: Apache-2.0
"""The operator's part of the API: who may use it, nodes, keys, ends of whole teams."""

import json
import os
import re

import pytest

from conftest import wait_for
from support import add_key, api, http_request

BODY = {"templateID": "base", "timeout": 60}


@pytest.fixture(scope="module")
def token(broker):
    file = broker.state / "state/admin-token"
    assert file.stat().st_mode & 0o777 == 0o600
    return file.read_text().strip()


def admin(broker, token, method, path, body=None, team=None, **headers):
    if team:
        headers["X-Team-ID"] = team
    return http_request(broker, method, path, {"X-Admin-Token": token, **headers},
                        json.dumps(body) if body is not None else None)


ROUTES = [
    ("GET", "/nodes"), ("GET", "/nodes/n"), ("POST", "/nodes/n"),
    ("POST", "/admin/teams/t/sandboxes/kill"), ("GET", "/admin/sandboxes/running-counts"),
    ("POST", "/admin/teams/t/api-keys"), ("DELETE", "/admin/teams/t/api-keys/k"),
    ("GET", "/api-keys"), ("POST", "/api-keys"), ("PATCH", "/api-keys/k"), ("DELETE", "/api-keys/k"),
]


@pytest.mark.parametrize("method, path", ROUTES)
def test_only_the_operator_gets_in(broker, token, method, path):
    def status(**headers):
        return http_request(broker, method, path, headers).status

    key = broker.env()["E2B_API_KEY"]
    assert status() == 401
    assert status(**{"X-API-Key": key}) == 403
    assert status(**{"X-API-Key": "e2b_00"}) == 401
    assert status(**{"Authorization": f"Bearer {token}"}) == 401
    assert status(**{"X-API-Key": token}) == 401
    for wrong in ("", "x", token[:-1], token + "x", token.upper(), key):
        assert status(**{"X-Admin-Token": wrong}) == 401
        # a good key beside it changes nothing
        assert status(**{"X-Admin-Token": wrong, "X-API-Key": key}) == 401
    assert status(**{"X-Admin-Token": token}) not in (401, 403)


def test_all_that_the_operator_asks_is_in_the_log(broker, token):
    def lines():
        return len(re.findall(r" api_request .*path=/nodes/audit .*status=404 .*key=admin", broker.log()))

    before, asked = lines(), 120  # of strangers so many would not be
    for _ in range(asked):
        assert admin(broker, token, "GET", "/nodes/audit").status == 404
    wait_for(lambda: lines() == before + asked, 10, "a line for each request")


def test_the_operator_acts_as_any_team(broker, token):
    key = add_key(broker, "admin-a", "admin-team")
    assert admin(broker, token, "GET", "/v2/sandboxes").status == 400
    assert admin(broker, token, "GET", "/v2/sandboxes", team="no team").status == 400
    made = admin(broker, token, "POST", "/v2/sandboxes", BODY, team="admin-team")
    assert made.status == 201, made.text
    sandbox_id = made.json()["sandboxID"]
    path = f"/sandboxes/{sandbox_id}"
    assert sandbox_id in api(broker, "GET", "/v2/sandboxes", key=key).text
    assert sandbox_id in admin(broker, token, "GET", "/v2/sandboxes", team="admin-team").text
    assert sandbox_id not in admin(broker, token, "GET", "/v2/sandboxes", team="other").text
    assert admin(broker, token, "GET", path, team="other").status == 404
    assert admin(broker, token, "GET", path).status == 200
    assert admin(broker, token, "GET", "/sandboxes/i0").status == 404
    assert admin(broker, token, "GET", "/sandboxes/UPPER").status == 400
    assert admin(broker, token, "DELETE", path).status == 204
    assert api(broker, "GET", path, key=key).status == 404


def test_nodes_are_listed_and_drained(broker, token):
    nodes = admin(broker, token, "GET", "/nodes").json()
    assert len(nodes) == 1 and nodes[0]["status"] == "ready"
    assert nodes[0]["metrics"]["cpuCount"] > 0 and nodes[0]["version"]
    machine = nodes[0]["machineInfo"]
    assert set(machine) == {"cpuFamily", "cpuModel", "cpuModelName", "cpuArchitecture"}
    assert machine["cpuArchitecture"] == os.uname().machine
    path = f"/nodes/{nodes[0]['id']}"
    assert admin(broker, token, "GET", path).json()["id"] == nodes[0]["id"]
    assert admin(broker, token, "GET", "/nodes/nobody").status == 404
    assert admin(broker, token, "POST", "/nodes/nobody", {"status": "ready"}).status == 404
    assert admin(broker, token, "POST", path, {"status": "gone"}).status == 400
    assert admin(broker, token, "POST", path, {}).status == 400
    try:
        assert admin(broker, token, "POST", path, {"status": "draining"}).status == 204
        assert admin(broker, token, "GET", path).json()["status"] == "draining"
        refused = api(broker, "POST", "/v2/sandboxes", BODY)
        assert refused.status == 503 and "draining" in refused.json()["message"]
        os.kill(broker.scheduler(), 9)  # it is on record
        wait_for(lambda: admin(broker, token, "GET", path).status == 200, 20, "scheduler restarted")
        assert admin(broker, token, "GET", path).json()["status"] == "draining"
    finally:
        assert admin(broker, token, "POST", path, {"status": "ready"}).status == 204
    made = wait_for(lambda: api(broker, "POST", "/v2/sandboxes", BODY), 10, "a create")
    assert made.status == 201, made.text
    assert api(broker, "DELETE", f"/sandboxes/{made.json()['sandboxID']}").status == 204


def test_a_node_counts_its_creates(broker, token):
    def told():
        node = admin(broker, token, "GET", "/nodes").json()[0]
        return node["createSuccesses"], node["createFails"]

    ok, failed = told()
    made = api(broker, "POST", "/v2/sandboxes", BODY)
    assert made.status == 201
    wait_for(lambda: told()[0] > ok, 10, "a heartbeat with one more create")
    assert told()[1] == failed
    # the heartbeat that tells of it may have been written while its answer was
    wait_for(lambda: admin(broker, token, "GET", "/nodes").json()[0]["sandboxStartingCount"] == 0, 10,
             "a heartbeat without creates under way")
    assert api(broker, "DELETE", f"/sandboxes/{made.json()['sandboxID']}").status == 204


def test_a_teams_sandboxes_are_killed_at_once(broker, token):
    red, blue = add_key(broker, "red", "admin-red"), add_key(broker, "blue", "admin-blue")
    ids = [api(broker, "POST", "/v2/sandboxes", BODY, key=k).json()["sandboxID"]
           for k in (red, red, blue)]
    counts = admin(broker, token, "GET", "/admin/sandboxes/running-counts").json()
    assert counts["admin-red"] == 2 and counts["admin-blue"] == 1
    kill = "/admin/teams/{}/sandboxes/kill"
    assert admin(broker, token, "POST", kill.format("admin-red")).json() == {
        "killedCount": 2, "failedCount": 0}
    assert admin(broker, token, "POST", kill.format("admin-none")).json() == {
        "killedCount": 0, "failedCount": 0}
    assert [api(broker, "GET", f"/sandboxes/{i}", key=k).status
            for i, k in zip(ids, (red, red, blue))] == [404, 404, 200]
    assert admin(broker, token, "POST", kill.format("admin-blue")).json()["killedCount"] == 1
    assert "admin-red" not in admin(broker, token, "GET", "/admin/sandboxes/running-counts").json()


@pytest.mark.parametrize("base, team", [("/api-keys", "admin-k"),
                                        ("/admin/teams/admin-l/api-keys", None)])
def test_keys_are_made_and_revoked(broker, token, base, team):
    assert admin(broker, token, "POST", base, {}, team=team).status == 400
    made = admin(broker, token, "POST", base, {"name": "ci"}, team=team)
    assert made.status == 201, made.text
    key = made.json()
    assert re.fullmatch("e2b_[0-9a-f]{40}", key["key"])
    assert key["mask"] == {"prefix": "e2b_", "valueLength": 40,
                           "maskedValuePrefix": key["key"][4:6], "maskedValueSuffix": key["key"][-4:]}
    assert api(broker, "GET", "/sandboxes", key=key["key"]).status == 200
    if team:
        listed = admin(broker, token, "GET", base, team=team).json()
        assert [k["id"] for k in listed] == [key["id"]] and "key" not in listed[0]
        assert admin(broker, token, "GET", base).status == 400
        other = admin(broker, token, "DELETE", f"{base}/{key['id']}", team="other")
        assert other.status == 404
        assert admin(broker, token, "PATCH", f"{base}/{key['id']}", {"name": "new"},
                     team=team).status == 200
        assert admin(broker, token, "GET", base, team=team).json()[0]["name"] == "new"
    assert admin(broker, token, "DELETE", f"{base}/{key['id']}", team=team).status == 204
    assert admin(broker, token, "DELETE", f"{base}/{key['id']}", team=team).status == 404
    assert admin(broker, token, "DELETE", f"{base}/short", team=team).status == 404
    assert api(broker, "GET", "/sandboxes", key=key["key"]).status == 401

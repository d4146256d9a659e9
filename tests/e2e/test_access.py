# SPDX-License-Identifier: Apache-2.0
"""Secured and open sandboxes, network options, and tokens that are changed."""

import threading
import time

import pytest
from e2b import Sandbox

from conftest import wait_for
from support import add_key, api, http_request

ALL = "0.0.0.0/0"


def detail(broker, sandbox):
    return api(broker, "GET", f"/sandboxes/{sandbox.sandbox_id}").json()


def test_network_rules_are_kept_shown_and_replaced(own_broker):
    broker = own_broker()
    network = {"allow_out": ["*.example.com"], "deny_out": [ALL]}
    sandbox = Sandbox.create(timeout=120, network=network)
    kept = {"allowPublicTraffic": True, "allowOut": ["*.example.com"], "denyOut": [ALL]}
    assert detail(broker, sandbox)["network"] == kept
    broker.kill()
    broker.start()  # they are on record
    assert detail(broker, sandbox)["network"] == kept
    sandbox.update_network({"deny_out": ["10.0.0.0/8"]})
    assert detail(broker, sandbox)["network"] == {"allowPublicTraffic": True,
                                                  "denyOut": ["10.0.0.0/8"]}
    path = f"/sandboxes/{sandbox.sandbox_id}/network"
    body = {"egressProxy": {"address": "proxy:1080", "username": "u", "password": "secret"},
            "rules": {"a.com": [{"transform": {"headers": {"X-Key": "v"}}}]},
            "allow_internet_access": False}
    assert api(broker, "PUT", path, body).status == 204
    shown = detail(broker, sandbox)
    assert shown["network"] == {
        "allowPublicTraffic": True, "egressProxy": {"address": "proxy:1080", "username": "u"},
        "rules": body["rules"]}
    assert shown["allowInternetAccess"] is False
    assert api(broker, "PUT", path, {}).status == 204
    assert detail(broker, sandbox)["network"] == {"allowPublicTraffic": True}
    assert "allowInternetAccess" not in detail(broker, sandbox)
    for wrong in ({"denyOut": ["example.com"]}, {"allowOut": ["example.com"]}, {"rules": {"": []}}):
        answer = api(broker, "PUT", path, wrong)
        assert answer.status == 400 and answer.json()["message"]
    assert "secret" not in broker.log()
    sandbox.kill()
    assert api(broker, "PUT", path, {}).status == 404


def envd(broker, sandbox_id, token, path="/envs"):
    return http_request(broker, "GET", path, {
        "E2b-Sandbox-Id": sandbox_id, "E2b-Sandbox-Port": "49983", "X-Access-Token": token}).status


def rotate(broker, sandbox_id, key=None):
    return api(broker, "POST", f"/sandboxes/{sandbox_id}/rotate-tokens", key=key)


def test_rotated_tokens_replace_the_old_ones_everywhere(broker):
    made = api(broker, "POST", "/sandboxes", {
        "templateID": "base", "timeout": 120, "secure": True,
        "network": {"allowPublicTraffic": False}}).json()
    sandbox_id, old, old_traffic = (
        made["sandboxID"], made["envdAccessToken"], made["trafficAccessToken"])
    sandbox = Sandbox.connect(sandbox_id)
    handle = sandbox.commands.run("echo begun; sleep 100", background=True, timeout=100)
    sandbox.commands.run("python3 -m http.server 8000 >/dev/null 2>&1 &", background=False)

    def port(token):
        return http_request(broker, "GET", "/", {
            "E2b-Sandbox-Id": sandbox_id, "E2b-Sandbox-Port": "8000",
            "e2b-traffic-access-token": token}).status

    wait_for(lambda: port(old_traffic) == 200, 10, "the server inside")
    url = sandbox.download_url("/etc/hostname")
    answer = rotate(broker, sandbox_id)
    assert answer.status == 200, answer.text
    new = answer.json()
    assert new["sandboxID"] == sandbox_id and new["envdAccessToken"] != old
    assert new["trafficAccessToken"] != old_traffic
    for _ in range(20):  # on every relay loop
        assert envd(broker, sandbox_id, old) == 401
        assert envd(broker, sandbox_id, new["envdAccessToken"]) == 200
        assert port(old_traffic) == 403 and port(new["trafficAccessToken"]) == 200
        assert http_request(broker, "GET", url.removeprefix(broker.url)).status == 401
    begun = time.monotonic()
    with pytest.raises(Exception) as ended:  # the stream of the old token is closed
        handle.wait()
    assert time.monotonic() - begun < 5 and "reached its end of life" not in str(ended.value)
    again = Sandbox.connect(sandbox_id)
    assert any("sleep 100" in " ".join(p.args) for p in again.commands.list())
    assert again.commands.run("echo on").stdout == "on\n"
    assert api(broker, "GET", f"/sandboxes/{sandbox_id}").json()["envdAccessToken"] == (
        new["envdAccessToken"])
    third = rotate(broker, sandbox_id).json()["envdAccessToken"]
    assert third not in (old, new["envdAccessToken"]) and envd(broker, sandbox_id, third) == 200
    assert sandbox.kill()
    assert rotate(broker, sandbox_id).status == 404


def test_an_open_sandbox_says_so_and_has_no_tokens(broker):
    made = api(broker, "POST", "/sandboxes", {"templateID": "base", "timeout": 60}).json()
    try:
        assert "envdAccessToken" not in made
        assert "envdAccessToken" not in api(broker, "GET", f"/sandboxes/{made['sandboxID']}").json()
        assert envd(broker, made["sandboxID"], "anything") == 200
        answer = rotate(broker, made["sandboxID"])
        assert answer.status == 400 and "without 'secure'" in answer.json()["message"]
        assert rotate(broker, made["sandboxID"], add_key(broker, "rot", "rot")).status == 404
    finally:
        api(broker, "DELETE", f"/sandboxes/{made['sandboxID']}")


def test_rotation_survives_kills(own_broker):
    """Killed anywhere in it: the next broker and envd agree, and one token of the two is right."""
    broker = own_broker()
    sandbox_id = Sandbox.create(timeout=300).sandbox_id
    for i in range(8):
        before = api(broker, "GET", f"/sandboxes/{sandbox_id}").json()["envdAccessToken"]
        killer = threading.Timer(0.001 * i, broker.kill)
        killer.start()
        try:
            rotate(broker, sandbox_id)
        except OSError:
            pass
        killer.join()
        broker.start()
        assert envd_agrees(broker, sandbox_id), f"round {i}"
        token = api(broker, "GET", f"/sandboxes/{sandbox_id}").json()["envdAccessToken"]
        if token != before:
            assert envd(broker, sandbox_id, before) == 401
    assert Sandbox.kill(sandbox_id)


def envd_agrees(broker, sandbox_id):
    """Once a rotation that was broken off is completed, what is told is what envd takes."""
    def told():
        token = api(broker, "GET", f"/sandboxes/{sandbox_id}").json()["envdAccessToken"]
        return envd(broker, sandbox_id, token) == 200

    return wait_for(told, 10, "the token that is told")

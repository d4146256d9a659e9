# SPDX-License-Identifier: Apache-2.0
"""Secured and open sandboxes, network options, and tokens that are changed."""

import json
import time

import pytest
from e2b import Sandbox

from support import add_key, api, http_request, routing

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


def test_nothing_leaves_a_sandbox_whatever_the_rules_allow(broker):
    sandbox = Sandbox.create(timeout=60, network={"allow_out": ["1.1.1.1"]})
    try:
        done = sandbox.commands.run("timeout 3 bash -c '</dev/tcp/1.1.1.1/53' 2>&1; echo $?")
        assert done.stdout.strip().endswith(("1", "124"))
    finally:
        sandbox.kill()

# SPDX-License-Identifier: Apache-2.0
"""Network rules: each combination of options against each kind of target, through the broker and a
sandbox (policy_table.py says what has to come of it), and by the official SDKs' own way.
"""

import collections
import http.client
import json
import re
import sys
from pathlib import Path

import pytest

from conftest import REPO, EgressBroker, end, kill_everything
from internet import Outside
from policy_internet import PROBE, PolicyInternet, order
from policy_table import (ALLOW, DENY, EXACT, METADATA, NEEDS_ALL, OTHER, PRIVATE, PUBLIC,
                          PUBLIC6, WILD, Checker, Options, all_options, dials)
from support import JS, NODE

HERE = Path(__file__).resolve().parent
LANES = 4


@pytest.fixture(scope="module")
def internet(scratch):
    net = PolicyInternet(scratch)
    yield net
    net.stop()


@pytest.fixture(scope="module")
def outside(scratch, internet):
    b = EgressBroker(scratch / "policy", internet).start()
    with Outside(internet, b) as steps:
        yield steps
    left = kill_everything(b)
    end(b, left)


def group(options, turn, create=False, only=None):
    wanted = [d for d in dials(turn) if only is None or d[0] in only]
    return {"create": create, "internet": options.internet, "network": options.network,
            "order": order(dials=wanted), "dials": wanted}


def run_table(outside, argv, lanes):
    """@lanes: of each sandbox, pairs of options and groups. Return: what was checked."""
    said = outside.broker.internet.lanes(argv, outside.broker,
                                         [[g for _, g in lane] for lane in lanes])
    checked = []
    for lane, results in zip(lanes, said, strict=True):
        for (options, g), result in zip(lane, results, strict=True):
            if g["create"] or g is lane[0][1]:
                checked.append(Checker())
            checked[-1].check_result(options, result, g["dials"])
    wrong = [w for c in checked for w in c.wrong]
    rows = sum(c.cnt for c in checked)
    assert not wrong, f"{len(wrong)} of {rows} rows\n" + "\n".join(wrong[:40])
    return checked


def test_every_combination_of_rules_and_targets(outside):
    lanes = [[] for _ in range(LANES)]
    for turn, options in enumerate(all_options()):
        lane = lanes[turn % LANES]
        lane.append((options, group(options, turn)))
    checked = run_table(outside, [sys.executable, HERE / "policy_client.py", "sync"], lanes)
    rows = sum(c.cnt for c in checked)
    assert rows > 10000, f"the table has {rows} rows"
    # each target that may be reached was, and was not; and a name led to both of its addresses
    seen = collections.defaultdict(set)
    for target, outcome in (s for c in checked for s in c.seen):
        seen[target].add(outcome)
    for target in ("www.example.net", PUBLIC, OTHER, "rebind.example.net"):
        assert {"reached", "EHOSTUNREACH"} <= seen[target], (target, seen[target])
    assert seen[METADATA] == {"EHOSTUNREACH"}


# ---- the SDKs' own way ----

SDKS = {
    "python": [sys.executable, HERE / "policy_client.py", "sync"],
    "python, asynchronous": [sys.executable, HERE / "policy_client.py", "async"],
    "javascript": [NODE, JS / "policy_client.mjs"],
}
SOME = (PUBLIC, OTHER, METADATA, "::ffff:" + PRIVATE, "www.example.net", "api.example.net",
        "private.example.net")


@pytest.mark.parametrize("sdk", SDKS)
def test_rules_are_set_by_the_sdks(outside, sdk):
    """At create in one sandbox after another, and by updates of one."""
    some = [Options(internet, ALLOW[allow], DENY[deny]) for internet, allow, deny in (
        (None, "none", "none"), (False, "none", "none"), (True, "none", "address"),
        (None, "exact", "0.0.0.0/0"), (None, "exact", "none"), (False, "mixed", "0.0.0.0/0"),
        (False, "addresses", "none"), (None, "wild", "0.0.0.0/0"))]
    lanes = [[(options, group(options, turn, create, SOME)) for turn, options in enumerate(which)]
             for create, which in ((True, some[1:5] + some[7:]), (False, some))]
    run_table(outside, SDKS[sdk], lanes)


def test_the_examples_of_the_documentation_are_true(outside):
    text = (REPO / "docs/users.md").read_text().split("## Network rules")[1].split("\n## ")[0]
    (example,) = re.findall(r"```python\n(.*?)```", text, re.S)
    outside.broker.internet.client([sys.executable, "-"], outside.broker, example)


# ---- updates while connections are open ----

ALL = ["0.0.0.0/0"]
WWW, API, ELSE = (["http", n] for n in ("www.example.net", "api.example.net", "www.example.org"))
TLS, TLS_API, RAW = ["tls", "www.example.net"], ["tls", "api.example.net"], ["raw", None]


def probes(outside, lists, **network):
    """What the dials of each list come to, one list after the other in one sandbox."""
    seen = outside(PROBE, *(order(dials=dials) for dials in lists), network=network)
    assert all(s["status"] == 0 for s in seen), seen
    return [json.loads(s["out"])["dials"] for s in seen[1:]]


def test_an_update_resets_what_it_forbids_and_leaves_the_rest(outside):
    """Connections that have said their name and such that have not, as the rules change."""
    reset = "ECONNRESET"
    www = ["www.example.net", 443]
    rules = [{"allow_out": [*EXACT, "api.example.net", OTHER], "deny_out": ALL},
             {"allow_out": EXACT, "deny_out": ALL}, {}, {"allow_out": WILD, "deny_out": ALL},
             {"allow_internet_access": False}]
    orders = [
        {"open": {"tls": [*www, TLS], "http": ["www.example.net", 8080, WWW],
                  "api": ["api.example.net", 443, TLS_API], "other": [OTHER, 22, RAW],
                  "silent": [*www, None], "late": [*www, None]}},
        {"ask": {"tls": RAW, "http": WWW, "api": RAW, "other": RAW, "silent": TLS,
                 "late": TLS_API}},
        {"ask": {"tls": RAW, "http": ELSE}, "open": {"raw": [PUBLIC, 22, RAW]}},
        {"ask": {"tls": RAW, "http": WWW, "raw": RAW}},
        {"ask": {"http": ELSE, "tls": RAW, "silent": RAW}},
    ]
    here, there = f"{PUBLIC6} 443", f"{PUBLIC6} 8080"
    right = [
        {"tls": here, "http": there, "api": f"{PUBLIC} 443", "other": f"{OTHER} 22",
         "silent": "silent", "late": "silent"},
        {"tls": here, "http": there, "api": reset, "other": reset, "silent": here, "late": reset},
        {"raw": f"{PUBLIC} 22", "tls": here, "http": there},
        {"tls": here, "http": there, "raw": reset},
        {"http": reset, "tls": reset, "silent": reset},
    ]
    steps = [PROBE, order(**orders[0])]
    for update, words in zip(rules[1:], orders[1:]):
        steps += [update, order(**words)]
    seen = outside(*steps, network=rules[0])
    assert [json.loads(s["out"]) for s in seen[1::2]] == right


def test_later_requests_are_judged_by_rules_that_came_meanwhile(outside):
    """On a connection that could go anywhere when it was made."""
    to = {"http": ["www.example.net", 80, WWW]}
    seen = outside(
        PROBE, order(open=to), {"allow_out": WILD, "deny_out": ALL},
        order(ask={"http": WWW}), order(ask={"http": ELSE}),
        network={"rules": {"www.example.net": [{"transform": {"headers": {"X-Key": "1"}}}]}})
    assert [json.loads(s["out"])["http"] for s in (seen[1], *seen[3:])] == [
        f"{PUBLIC6} 80", f"{PUBLIC6} 80", "ECONNRESET"]


# ---- what no rule may be ----

def call(broker, method, path, body):
    with broker.network():
        c = http.client.HTTPConnection("127.0.0.1", broker.port, timeout=30)
        c.request(method, path, body if isinstance(body, bytes) else json.dumps(body),
                  {"X-API-Key": broker.env()["E2B_API_KEY"], "Content-Type": "application/json"})
        answer = c.getresponse()
        text = answer.read()
    return answer.status, json.loads(text) if text else {}


NAMED = {"denyOut": ALL}
DENIED, ALLOWED = "invalid denied CIDR ", "invalid allowed address or domain "
BODIES = [
    # taken
    ({}, None), ({"allowOut": None, "denyOut": None}, None),
    ({"allowOut": [], "denyOut": []}, None),
    ({"denyOut": ["10.1.2.3/8", "93.184.215.14/24", "fe80::1/10", "::ffff:1.2.3.4/97"]}, None),
    ({"denyOut": ["1.1.1.1"] * 1024}, None),
    *(({**NAMED, "allowOut": [name]}, None) for name in (
        "EXAMPLE.Net", "*.EXAMPLE.net", "*", "*.net", "localhost", "xn--bcher-kva.example",
        "_dmarc.example.net", "a-.example.net", "a" * 63 + ".example.net")),
    # refused
    ({"denyOut": ["1.1.1.1"] * 1025}, "validation error: denyOut: more than 1024 entries"),
    ({"allowOut": ["1.1.1.1"] * 1025}, "validation error: allowOut: more than 1024 entries"),
    ({"allowOut": "1.1.1.1"}, "validation error: allowOut must be"),
    ({"denyOut": {"0": "1.1.1.1"}}, "validation error: denyOut must be"),
    *(({"denyOut": [block]}, DENIED) for block in (
        "", " ", "1.1.1.1 ", "1.1.1", "1.1.1.1/33", "1.1.1.1/-1", "1.1.1.1/+8", "1.1.1.1/08",
        "1.1.1.1/8/8", "1.1.1.1/255.0.0.0", "0x1010101", "16843009", "01.1.1.1", "::1/129", "::g",
        "fe80::1%eth0", "fe80::1%1/64", "[::1]", "::ffff:1.2.3.4.5", "*", "example.net",
        "\uff11.1.1.1", "1" * 300, None, 1, True, ["1.1.1.1"], {})),
    *(({**NAMED, "allowOut": [name]}, ALLOWED) for name in (
        "", ".", "*.", "*.*", "**", "**.example.net", "*example.net", "w*.example.net",
        "www.*.net", "example.net.", "*.example.net.", ".example.net", "a..b", "a b", "a/b",
        "http://example.net", "example.net:443", "b\u00fccher.example", "\u0430.example",
        "example.net\n", "1.2.3.4.5", "1.2.3.256", "0x7f.1", "1.1.1.1/33",
        "[::1]", "fe80::1%eth0", "a" * 64 + ".net", "a." * 127, "a." * 200 + "net", None, 7, [])),
    *(({**deny, "allowOut": ["example.net"]}, NEEDS_ALL) for deny in (
        {}, {"denyOut": []}, {"denyOut": None}, {"denyOut": ["::/0"]}, {"denyOut": ["0.0.0.0/1"]},
        {"allow_internet_access": False})),
    ({"denyOut": ["1.1.1.1\u0000"]}, "Error when parsing request"),
    ({**NAMED, "allowOut": ["a\u0000.example"]}, "Error when parsing request"),
    ({"allow_internet_access": "no"}, "validation error: allow_internet_access must be"),
]


def test_rules_that_mean_nothing_are_refused_and_change_nothing(outside):
    status, sandbox = call(outside.broker, "POST", "/v2/sandboxes",
                           {"templateID": "base", "timeout": 120})
    assert status == 201, sandbox
    path = f"/sandboxes/{sandbox['sandboxID']}"
    wrong = []
    for body, message in BODIES:
        before = call(outside.broker, "GET", path, "")[1].get("network")
        status, answer = call(outside.broker, "PUT", path + "/network", body)
        after = call(outside.broker, "GET", path, "")[1].get("network")
        right = status == 204 if message is None else (
            status == 400 and answer["message"].startswith(message) and after == before)
        if not right:
            wrong.append((body, status, answer))
    assert not wrong, wrong
    for body in (b"{", b"[]", b"nonsense"):
        assert call(outside.broker, "PUT", path + "/network", body)[0] == 400
    assert call(outside.broker, "DELETE", path, "")[0] == 204
    assert call(outside.broker, "PUT", path + "/network", {})[0] == 404


# ---- headers ----

def test_no_header_of_a_rule_goes_where_its_name_does_not_lead(outside):
    """Whoever has the address of a program's choice would read the secret."""
    www, other = "www.example.net", [OTHER, 80, WWW]
    rules = {www: [{"transform": {"headers": {"X-Secret": "s3cret"}}}]}
    here = [[www, 80, WWW], ["api.example.net", 80, WWW], [PUBLIC, 80, WWW], [www, 80, ELSE]]
    seen = probes(outside, [[other], here, [other]], rules=rules)
    assert seen[0] == seen[2] == [[f"{OTHER} 80"]]
    assert seen[1] == [[f"{PUBLIC6} 80 secret", f"{PUBLIC} 80 secret"], [f"{PUBLIC} 80 secret"],
                       [f"{PUBLIC} 80 secret"], [f"{PUBLIC6} 80", f"{PUBLIC} 80"]]
    seen = probes(outside, [[[www, 80, WWW], other]], allow_out=[OTHER, *EXACT], deny_out=ALL,
                  rules=rules)
    assert seen == [[[f"{PUBLIC6} 80 secret", f"{PUBLIC} 80 secret"], [f"{OTHER} 80"]]]

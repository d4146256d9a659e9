# SPDX-License-Identifier: Apache-2.0
"""Plain HTTP: what no SDK shows. Refusals, later features, CORS, envd through the data plane."""

import base64
import hashlib
import json
import re
import struct

import pytest
from e2b import Sandbox

from support import NOBODY, add_key, api, host, http_request, raw_exchange, routing



@pytest.fixture(scope="module")
def box(broker):
    s = Sandbox.create(timeout=600)
    yield s
    s.kill()


@pytest.fixture
def token(broker, box):
    return api(broker, "GET", f"/sandboxes/{box.sandbox_id}").json()["envdAccessToken"]


@pytest.fixture
def domain(broker):
    return broker.env()["E2B_DOMAIN"].split(":")[0]


# ---- the control API ---------------------------------------------------------------------------


LATER = [
    ("POST", "/sandboxes/{id}/pause"), ("POST", "/sandboxes/{id}/snapshots"),
    ("POST", "/sandboxes/{id}/fork"), ("GET", "/snapshots"),
    ("POST", "/v3/templates"),
    ("POST", "/v2/templates"), ("POST", "/templates/tags"),
    ("DELETE", "/templates/tags"), ("DELETE", "/templates/some"), ("PATCH", "/v2/templates/some"),
    ("GET", "/templates/t/builds/b/status"), ("GET", "/volumes"), ("POST", "/volumes"),
    ("GET", "/secrets"), ("POST", "/secrets"), ("GET", "/teams/t/metrics"),
]


@pytest.mark.parametrize("method, path", LATER)
def test_a_later_feature_says_so(broker, box, method, path):
    body = {} if method in ("POST", "PUT", "PATCH") else None
    answer = api(broker, method, path.replace("{id}", box.sandbox_id), body)
    assert answer.status == 501
    assert answer.json()["code"] == 501 and "not available yet" in answer.json()["message"]


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/no/such/endpoint", 404), ("POST", "/v9/sandboxes", 404), ("GET", "/", 404),
    ("PUT", "/sandboxes", 405), ("DELETE", "/v2/sandboxes", 405), ("GET", f"/sandboxes/{NOBODY}", 404),
    ("DELETE", f"/sandboxes/{NOBODY}", 404), ("GET", "/sandboxes/no-such-id", 400),
    ("GET", "/sandboxes/UPPER", 400), ("GET", "/v2/sandboxes?limit=0", 400),
    ("GET", "/v2/sandboxes?limit=101", 400), ("GET", "/v2/sandboxes?order=sideways", 400),
    ("GET", "/v2/sandboxes?nextToken=rubbish", 400), ("GET", "/v2/sandboxes?state=flying", 400),
])
def test_what_is_refused_is_refused_in_the_contracts_form(broker, method, path, status):
    answer = api(broker, method, path)
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json()["code"] == status and answer.json()["message"]


@pytest.mark.parametrize("body, message", [
    ({}, "templateID"),
    ({"templateID": "base", "timeout": -1}, "Timeout"),
    ({"templateID": "base", "timeout": 10 ** 9}, "Timeout cannot be greater than"),
    ({"templateID": "base", "timeout": "soon"}, "timeout"),
    ({"templateID": 7}, "templateID"),
    ({"templateID": "base", "metadata": {"k": 1}}, "metadata"),
    ({"templateID": "base", "envVars": ["a"]}, "envVars"),
])
@pytest.mark.parametrize("path", ["/sandboxes", "/v2/sandboxes"])
def test_create_refuses(broker, path, body, message):
    answer = api(broker, "POST", path, body)
    assert answer.status == 400 and message in answer.json()["message"]


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', '{"templateID":"base","templateID":"x"}',
                                  "[" * 100000, '{"templateID":"base"} more'])
def test_create_refuses_what_is_not_an_object(broker, text):
    headers = {"X-API-Key": broker.env()["E2B_API_KEY"], "Content-Type": "application/json"}
    answer = http_request(broker, "POST", "/v2/sandboxes", headers, text)
    assert answer.status == 400 and answer.json()["code"] == 400


def test_create_of_both_versions(broker):
    made = []
    for path, body in (("/sandboxes", {"templateID": "base"}),
                       ("/sandboxes", {"templateID": "base", "secure": True}),
                       ("/v2/sandboxes", {"templateID": "base", "future": {"a": [1]}})):
        answer = api(broker, "POST", path, body)
        assert answer.status == 201, answer.text
        made.append(answer.json())
    assert all(re.fullmatch("i[a-z0-9]{20}", s["sandboxID"]) for s in made)
    assert {s["clientID"] for s in made} == {"6532622b"}
    assert ["envdAccessToken" in s for s in made] == [False, True, True]
    ends = [api(broker, "GET", f"/sandboxes/{s['sandboxID']}").json() for s in made]
    assert all({"templateID", "sandboxID", "clientID", "envdVersion", "startedAt", "endAt",
                "cpuCount", "memoryMB", "diskSizeMB", "state"} <= set(s) for s in ends)
    open_one = {"E2b-Sandbox-Id": made[0]["sandboxID"], "E2b-Sandbox-Port": "49983"}
    assert http_request(broker, "GET", "/envs", open_one).status == 200
    for s in made:
        old_form = f"/sandboxes/{s['sandboxID']}-{s['clientID']}"
        assert api(broker, "GET", old_form).status == 200
        resumed = api(broker, "POST", f"/sandboxes/{s['sandboxID']}/resume", {})
        assert resumed.status == 409 and "already running" in resumed.json()["message"]
        assert api(broker, "POST", f"/sandboxes/{s['sandboxID']}/refreshes", {}).status == 204
        killed = api(broker, "DELETE", old_form)
        assert (killed.status, killed.body) == (204, b"")


def test_a_key_is_needed_and_a_revoked_one_is_none(broker, box):
    assert http_request(broker, "GET", "/health").status in (200, 204)
    for headers, message in (({}, "authorization header is missing"),
                             ({"X-API-Key": "e2b_" + "1" * 40}, "Invalid API key"),
                             ({"Authorization": "Bearer sk_e2b_" + "1" * 40}, "")):
        answer = http_request(broker, "GET", "/v2/sandboxes", headers)
        assert answer.status == 401 and answer.json()["code"] == 401
        assert message in answer.json()["message"]
    other = add_key(broker, "strange", "strange-team")
    mine = api(broker, "GET", f"/sandboxes/{NOBODY}")
    theirs = api(broker, "GET", f"/sandboxes/{box.sandbox_id}", key=other)
    assert theirs.status == mine.status == 404
    assert theirs.text.replace(box.sandbox_id, NOBODY) == mine.text


def test_cors(broker):
    ask = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST",
           "Access-Control-Request-Headers": "x-api-key,content-type"}
    answer = http_request(broker, "OPTIONS", "/v2/sandboxes", ask)
    assert answer.status in (200, 204)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    allowed = {m.strip() for m in answer.headers["Access-Control-Allow-Methods"].split(",")}
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= allowed
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert allowed == "*" or {"x-api-key", "content-type"} <= set(re.split(", *", allowed))
    answer = api(broker, "GET", "/v2/sandboxes", headers={"Origin": "https://app.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "x-next-token" in answer.headers["Access-Control-Expose-Headers"].lower()
    refused = http_request(broker, "GET", "/v2/sandboxes", {"Origin": "https://app.example"})
    assert refused.status == 401 and refused.headers["Access-Control-Allow-Origin"] == "*"


def test_cors_of_the_sandbox(broker, box):
    ask = {**routing(box), "Origin": "https://app.example", "Access-Control-Request-Method": "POST",
           "Access-Control-Request-Headers": "e2b-sandbox-id,x-access-token,connect-timeout-ms"}
    answer = http_request(broker, "OPTIONS", "/process.Process/Start", ask)
    assert answer.status in (200, 204)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "x-access-token" in answer.headers["Access-Control-Allow-Headers"].lower() or \
        answer.headers["Access-Control-Allow-Headers"] == "*"


# ---- envd through the data plane ---------------------------------------------------------------


def test_envd_by_headers_and_by_host(broker, box, token, domain):
    assert http_request(broker, "GET", "/health", routing(box)).status == 204
    for name in (f"49983-{box.sandbox_id}.{domain}", f"49983-{box.sandbox_id}-6532622b.{domain}",
                 f"49983-{box.sandbox_id}.{domain}:{broker.port}",
                 f"49983-{box.sandbox_id}.{domain.upper()}"):
        answer = http_request(broker, "GET", "/health", {"Host": name})
        assert answer.status == 204, name
    metrics = http_request(broker, "GET", "/metrics", {**routing(box), "X-Access-Token": token})
    assert {"ts", "cpu_count", "mem_total", "disk_total"} <= set(metrics.json())


def test_envd_by_the_token_alone(broker, box, token):
    """As some Python clients ask after connect; a token of nobody is of a sandbox that is not there."""
    way = {"X-Access-Token": token}
    assert http_request(broker, "GET", "/health", way).status == 204
    http_request(broker, "POST", "/files?path=/tmp/by-token", {
        **way, "Content-Type": "application/octet-stream"}, b"words")
    assert http_request(broker, "GET", "/files?path=/tmp/by-token", way).body == b"words"
    wrong = {"X-Access-Token": token[:-1] + ("0" if token[-1] != "0" else "1")}
    for path in ("/health", "/files?path=/tmp/by-token", "/process.Process/List"):
        answer = http_request(broker, "GET", path, wrong)
        assert answer.status == 502 and answer.json()["message"] == "The sandbox was not found"
    assert http_request(broker, "POST", "/init", way).json()["message"] == "unknown endpoint"
    assert http_request(broker, "GET", "/files?path=/tmp/by-token").status in (401, 404)


def test_envd_asks_for_the_token(broker, box, token):
    for path in ("/envs", "/metrics", "/files?path=/etc/hostname"):
        for wrong in ({}, {"X-Access-Token": "x"}, {"X-Access-Token": token[:-1]}):
            answer = http_request(broker, "GET", path, {**routing(box), **wrong})
            assert answer.status == 401 and answer.json()["code"] == 401
    rpc = http_request(broker, "POST", "/process.Process/List",
                       {**routing(box), "Content-Type": "application/json"}, "{}")
    assert rpc.status == 401


def call(broker, box, token, method, message, **headers):
    return http_request(broker, "POST", f"/{method}", {
        **routing(box), "X-Access-Token": token, "Content-Type": "application/json", **headers,
    }, message if isinstance(message, (str, bytes)) else json.dumps(message))


@pytest.mark.parametrize("method, message, status, code", [
    ("process.Process/SendSignal", {"process": {"pid": 999999}, "signal": 9}, 404, "not_found"),
    ("process.Process/SendSignal", {"process": {"pid": 999999}, "signal": "SIGNAL_SIGTERM"},
     404, "not_found"),
    ("process.Process/Update", {"process": {"tag": "none"}}, 404, "not_found"),
    ("process.Process/List", "", 400, "invalid_argument"),
    ("process.Process/List", "{", 400, "invalid_argument"),
    ("filesystem.Filesystem/Stat", {"path": "/none"}, 404, "not_found"),
    ("filesystem.Filesystem/MakeDir", {"path": "/etc"}, 409, "already_exists"),
    ("filesystem.Filesystem/ListDir", {"path": "/etc/hostname"}, 400, "invalid_argument"),
])
def test_rpc_errors(broker, box, token, method, message, status, code):
    answer = call(broker, box, token, method, message)
    assert answer.status == status
    assert answer.json()["code"] == code and answer.json()["message"]


def envelopes(body):
    while body:
        flags, length = struct.unpack(">BI", body[:5])
        yield flags, json.loads(body[5:5 + length])
        body = body[5 + length:]


def start(broker, box, token, message, **headers):
    payload = json.dumps(message).encode()
    answer = http_request(broker, "POST", "/process.Process/Start", {
        **routing(box), "X-Access-Token": token, "Content-Type": "application/connect+json",
        "Connect-Protocol-Version": "1", **headers,
    }, struct.pack(">BI", 0, len(payload)) + payload)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/connect+json"
    return list(envelopes(answer.body))


def test_a_stream_as_it_is_on_the_wire(broker, box, token):
    events = start(broker, box, token,
                   {"process": {"cmd": "/bin/echo", "args": ["hi"]}, "unknown": [1, {"a": None}]})
    assert [flags for flags, _ in events[:-1]] == [0] * (len(events) - 1)
    kinds = [next(iter(e["event"])) for _, e in events[:-1]]
    assert kinds[0] == "start" and kinds[-1] == "end" and set(kinds[1:-1]) == {"data"}
    assert events[0][1]["event"]["start"]["pid"] > 1
    data = [e["event"]["data"]["stdout"] for _, e in events[1:-2]]
    assert b"".join(base64.b64decode(d) for d in data) == b"hi\n"
    assert events[-2][1]["event"]["end"]["status"] == "exit status 0"
    assert events[-1] == (2, {})


def test_a_missing_program_without_a_shell(broker, box, token):
    events = start(broker, box, token, {"process": {"cmd": "/no/such/program"}})
    assert "start" in events[0][1]["event"]
    assert events[-2][1]["event"]["end"]["exitCode"] == 127


def test_sigterm_and_its_words(broker, box, token):
    handle = box.commands.run("exec sleep 1000", background=True)
    answer = call(broker, box, token, "process.Process/SendSignal",
                  {"process": {"pid": handle.pid}, "signal": "SIGNAL_SIGTERM"})
    assert answer.status == 200
    with pytest.raises(Exception) as end:
        handle.wait()
    assert end.value.error == "signal: terminated"


def test_the_deadline_comes_before_the_end(broker, box, token):
    events = start(broker, box, token, {"process": {"cmd": "/bin/sleep", "args": ["1000"]}},
                   **{"Connect-Timeout-Ms": "300"})
    flags, end = events[-1]
    assert flags == 2 and end["error"]["code"] == "deadline_exceeded"
    assert ["end" in e["event"] for _, e in events[:-1]] == [False] * (len(events) - 1)


def test_ranges_and_conditions_of_downloads(broker, box, token):
    box.files.write("/tmp/range", "0123456789")
    ask = {**routing(box), "X-Access-Token": token}
    part = http_request(broker, "GET", "/files?path=/tmp/range", {**ask, "Range": "bytes=2-4"})
    assert (part.status, part.body) == (206, b"234")
    assert part.headers["Content-Range"] == "bytes 2-4/10"
    whole = http_request(broker, "GET", "/files?path=/tmp/range", ask)
    assert whole.headers["Accept-Ranges"] == "bytes"
    same = http_request(broker, "GET", "/files?path=/tmp/range",
                        {**ask, "If-Modified-Since": whole.headers["Last-Modified"]})
    assert same.status == 304
    zipped = http_request(broker, "GET", "/files?path=/tmp/range", {**ask, "Accept-Encoding": "gzip"})
    assert zipped.status == 200


def test_compose_joins_files_and_removes_the_parts(broker, box, token):
    """No client calls it yet."""
    headers = {**routing(box), "X-Access-Token": token, "Content-Type": "application/json"}

    def compose(*sources):
        body = json.dumps({"source_paths": sources, "destination": "/tmp/joined/c"})
        return http_request(broker, "POST", "/files/compose", headers, body)

    box.files.write("/tmp/joined/a", "one ")
    box.files.write("/tmp/joined/b", "two")
    assert compose("/tmp/joined/a", "/tmp/joined/no").status == 404
    answer = compose("/tmp/joined/a", "/tmp/joined/b")
    assert answer.status == 200 and answer.json()["path"] == "/tmp/joined/c"
    assert box.files.read("/tmp/joined/c") == "one two"
    assert [e.name for e in box.files.list("/tmp/joined")] == ["c"]
    assert compose().status == 400


def test_a_signed_address_opens_one_file_for_one_purpose(broker, box, token):
    box.files.write("/tmp/signed", "content")

    def ask(path, operation, username="", method="GET", expiration=None, secret=token):
        text = f"{path}:{operation}:{username}:{secret}"
        text += f":{expiration}" if expiration is not None else ""
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        query = f"path=/tmp/signed&signature=v1_{digest}".replace("+", "%2B")
        query += f"&signature_expiration={expiration}" if expiration is not None else ""
        return http_request(broker, method, f"/files?{query}", routing(box))

    assert ask("/tmp/signed", "read").body == b"content"
    assert ask("/tmp/signed", "read", expiration=4102444800).body == b"content"
    assert ask("/tmp/signed", "read", expiration=1).status == 401
    assert ask("/tmp/signed", "write").status == 401
    assert ask("/tmp/other", "read").status == 401
    assert ask("/tmp/signed", "read", secret="other").status == 401


# ---- what nobody may reach ---------------------------------------------------------------------


CONTROL = ["/init", "/freeze", "/unfreeze", "/collapse", "/fsfreeze", "/fsthaw", "/upgrade"]
SPELLINGS = ["//init", "/./init", "/x/../init", "/%69nit", "/%69%6e%69%74", "/init/", "/init?x=1",
             "/x/%2e%2e/init", "/../init", "/.//init", "//x/..//init/.", "/init//"]
ODD = ["/INIT", "/init;a", "/init%00", "/init%2f", "/init%20", "/init%3fx", "/init.", "/init\\"]


@pytest.mark.parametrize("path", CONTROL + SPELLINGS)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_control_routes_are_not_reachable(broker, box, token, domain, method, path):
    ask = {"X-Access-Token": token, "Content-Type": "application/json"}
    body = '{"accessToken":""}' if method == "POST" else None
    for way in (routing(box), host(box, 49983, domain)):
        answer = http_request(broker, method, path, {**way, **ask}, body)
        assert answer.status == 404, answer.text
        assert "reserved for the E2B control plane" in answer.json()["message"]
        assert answer.json()["code"] == 404


@pytest.mark.parametrize("path", ODD)
def test_odd_spellings_do_not_reach_them_either(broker, box, token, path):
    answer = http_request(broker, "POST", path, {**routing(box), "X-Access-Token": token,
                                                 "Content-Type": "application/json"},
                          '{"accessToken":""}')
    assert answer.status in (400, 404)
    # still secured: nobody cleared the token
    assert http_request(broker, "GET", "/envs", routing(box)).status == 401


def test_control_routes_in_absolute_form(broker, box, token):
    for target in (f"http://localhost/init", f"http://x@localhost/init"):
        answer = raw_exchange(broker, (
            f"POST {target} HTTP/1.1\r\nHost: localhost\r\nE2b-Sandbox-Id: {box.sandbox_id}\r\n"
            f"E2b-Sandbox-Port: 49983\r\nX-Access-Token: {token}\r\nContent-Length: 0\r\n"
            f"Connection: close\r\n\r\n").encode())
        assert answer.split()[1] in (b"400", b"404"), answer
    assert http_request(broker, "GET", "/envs", routing(box)).status == 401


@pytest.mark.parametrize("port", [1024, 1025, 1026])
def test_reserved_ports(broker, box, token, domain, port):
    for way in (routing(box, port), host(box, port, domain)):
        answer = http_request(broker, "GET", "/", {**way, "X-Access-Token": token})
        assert answer.status == 404
        upgrade = http_request(broker, "GET", "/", {**way, "Connection": "Upgrade",
                                                    "Upgrade": "websocket"})
        assert upgrade.status == 404


@pytest.mark.parametrize("port", ["049983", "+49983", "49983.0", "0xc33f", "-1", "0", "65536",
                                  "99999999999999999999", "", "4 9983", "49983,49983"])
def test_odd_ports_are_refused(broker, box, domain, port):
    by_header = http_request(broker, "GET", "/health", {"E2b-Sandbox-Id": box.sandbox_id,
                                                        "E2b-Sandbox-Port": port})
    assert by_header.status == 400
    by_host = http_request(broker, "GET", "/health",
                           {"Host": f"{port}-{box.sandbox_id}.{domain}"})
    assert by_host.status == 400


def test_header_and_host_must_agree(broker, box, domain):
    assert http_request(broker, "GET", "/health",
                        {**host(box, 49983, domain), **routing(box)}).status == 204
    for other in ({"E2b-Sandbox-Id": NOBODY}, {"E2b-Sandbox-Port": "8000"}):
        both = {**host(box, 49983, domain), **routing(box), **other}
        assert http_request(broker, "GET", "/health", both).status == 400
    for half in ("E2b-Sandbox-Id", "E2b-Sandbox-Port"):
        alone = {half: routing(box)[half]}
        answer = http_request(broker, "GET", "/health", alone)
        assert answer.status == 400 and "missing header" in answer.text


@pytest.mark.parametrize("way", ["two hosts", "two ids"])
def test_doubled_addresses_are_refused(broker, box, way):
    head = f"GET /health HTTP/1.1\r\nHost: localhost\r\nE2b-Sandbox-Id: {box.sandbox_id}\r\n" \
           f"E2b-Sandbox-Port: 49983\r\nConnection: close\r\n"
    head += "Host: other\r\n" if way == "two hosts" else f"E2b-Sandbox-Id: {NOBODY}\r\n"
    assert raw_exchange(broker, (head + "\r\n").encode()).split()[1] == b"400"

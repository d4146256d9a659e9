# SPDX-License-Identifier: Apache-2.0
"""gRPC-Web byte by byte, through the broker. The client of a browser is in js/grpc_web.test.mjs."""

import base64
import json
import struct

import pytest

from conftest import wait_for
from support import api, http_request, routing

JSON = "application/grpc-web+json"


def envelope(payload, flags=0):
    return struct.pack(">BI", flags, len(payload)) + payload


def envelopes(body):
    """[(flags, payload)] of a whole answer."""
    found = []
    while body:
        flags, length = struct.unpack(">BI", body[:5])
        assert len(body) >= 5 + length, "an envelope is cut"
        found.append((flags, body[5:5 + length]))
        body = body[5 + length:]
    return found


@pytest.fixture
def call(broker, sandbox):
    token = api(broker, "GET", f"/sandboxes/{sandbox.sandbox_id}").json()["envdAccessToken"]

    def post(path, message, **headers):
        all_headers = {
            "Content-Type": JSON, "X-Access-Token": token, **routing(sandbox),
            "Authorization": "Basic " + base64.b64encode(b"user:").decode(),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        body = message if isinstance(message, bytes) else envelope(json.dumps(message).encode())
        return http_request(broker, "POST", path, all_headers, body)

    return post


def test_a_unary_call_has_one_message_and_one_end(call):
    answer = call("/filesystem.Filesystem/Stat", {"path": "/etc/passwd"})
    assert (answer.status, answer.headers["Content-Type"]) == (200, JSON)
    (flags, message), end = envelopes(answer.body)
    assert flags == 0 and json.loads(message)["entry"]["path"] == "/etc/passwd"
    assert end == (0x80, b"grpc-status: 0\r\n")


def test_a_stream_has_its_messages_and_one_end(call):
    run = {"process": {"cmd": "/bin/sh", "args": ["-c", "echo hello"]}}
    answer = call("/process.Process/Start", run)
    *messages, end = envelopes(answer.body)
    events = [json.loads(m)["event"] for flags, m in messages]
    assert [next(iter(e)) for e in events] == ["start", "data", "end"]
    assert base64.b64decode(events[1]["data"]["stdout"]) == b"hello\n"
    assert end == (0x80, b"grpc-status: 0\r\n")


def test_silence_is_filled_with_keepalives(call):
    run = {"process": {"cmd": "/bin/sleep", "args": ["1.5"]}}
    answer = call("/process.Process/Start", run, Keepalive_Ping_Interval="1")
    events = [json.loads(m)["event"] for flags, m in envelopes(answer.body)[:-1]]
    assert [next(iter(e)) for e in events] == ["start", "keepalive", "end"]


def test_an_error_is_an_end_alone(call):
    answer = call("/filesystem.Filesystem/Stat", {"path": "/no/ä"})
    assert answer.status == 200
    assert envelopes(answer.body) == [(0x80, b"grpc-status: 5\r\ngrpc-message: "
                                       b"file not found: lstat /no/%C3%A4: "
                                       b"no such file or directory\r\n")]


def test_a_deadline_tells_and_kills(call):
    run = {"process": {"cmd": "/bin/sleep", "args": ["1000"]}}
    answer = call("/process.Process/Start", run, grpc_timeout="300m")
    *messages, end = envelopes(answer.body)
    assert [list(json.loads(m)["event"]) for flags, m in messages] == [["start"]]
    assert end == (0x80, b"grpc-status: 4\r\ngrpc-message: context deadline exceeded\r\n")
    wait_for(lambda: envelopes(call("/process.Process/List", {}).body)[0] == (0, b"{}"), 10,
             "the command gone")


def test_what_comes_before_the_protocol_is_plain_http(call):
    refused = call("/process.Process/List", {}, X_Access_Token="wrong")
    assert (refused.status, refused.json()["code"]) == (401, 401)
    native = call("/process.Process/List", {}, Content_Type="application/grpc")
    assert native.status == 415
    assert {JSON, "application/grpc-web", "application/json"} <= set(
        native.headers["Accept-Post"].split(", "))


def test_a_page_of_any_origin_may_call(broker, sandbox):
    wanted = "content-type,x-grpc-web,grpc-timeout,x-access-token,x-user-agent"
    asked = http_request(broker, "OPTIONS", "/process.Process/List", {
        **routing(sandbox), "Origin": "https://page.example",
        "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": wanted})
    assert asked.status == 204
    assert asked.headers["Access-Control-Allow-Headers"] == wanted
    assert asked.headers["Access-Control-Allow-Origin"] == "*"


def test_answers_show_their_grpc_headers_to_pages(call):
    answer = call("/process.Process/List", {}, Origin="https://page.example")
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"Grpc-Status", "Grpc-Message"} <= set(exposed)

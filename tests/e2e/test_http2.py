# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 at the broker's door: curl, nghttp, httpx, and frames that no proper client sends."""

import base64
import collections
import hashlib
import json
import shutil
import socket
import subprocess
import threading
import time

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
from e2b import Sandbox
from hyperframe.frame import ContinuationFrame, HeadersFrame, RstStreamFrame

from conftest import wait_for
from support import api, host, routing, serve

MIB = 1 << 20
ENHANCE_YOUR_CALM = 11


@pytest.fixture(scope="module")
def box(broker):
    """A sandbox with guest_server.py on port 8020."""
    s = Sandbox.create(timeout=600)
    server = serve(s, 8020)
    yield s
    server.kill()
    s.kill()


@pytest.fixture
def envd(broker, box):
    """Headers that reach envd."""
    token = api(broker, "GET", f"/sandboxes/{box.sandbox_id}").json()["envdAccessToken"]
    return {**routing(box), "x-access-token": token,
            "authorization": "Basic " + base64.b64encode(b"user:").decode()}


def curl(broker, path, *args, headers=None, version="--http2-prior-knowledge"):
    """(HTTP version, status, body)"""
    lines = [a for k, v in (headers or {}).items() for a in ("-H", f"{k}: {v}")]
    out = subprocess.run(["curl", "-sS", version, "-w", "\n%{http_version} %{http_code}",
                          *lines, *args, f"http://127.0.0.1:{broker.port}{path}"],
                         capture_output=True, timeout=120)
    assert out.returncode == 0, out.stderr
    body, _, end = out.stdout.rpartition(b"\n")
    spoken, status = end.decode().split()
    return spoken, int(status), body


def status_of(response):
    return int(dict(response.headers)[b":status"])


class Raw:
    """A connection of h2's client side that checks nothing of what it sends."""

    def __init__(self, port, timeout=30):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        config = h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.events, self.bodies = [], collections.defaultdict(bytes)
        self.flush()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def send(self, headers, end=True):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, headers, end_stream=end)
        self.flush()
        return stream

    def get(self, path, *more, authority="localhost"):
        return self.send([(":method", "GET"), (":scheme", "http"), (":path", path),
                          (":authority", authority), *more])

    def post(self, path, body, kind, headers):
        stream = self.send([(":method", "POST"), (":scheme", "http"), (":path", path),
                            (":authority", "localhost"), ("content-type", kind),
                            *((k.lower(), v) for k, v in headers.items())], end=False)
        self.h2.send_data(stream, body, end_stream=True)
        self.flush()
        return stream

    def wait(self, kind, stream=None):
        """The next event of that kind (and stream)."""
        while True:
            for e in self.events:
                if isinstance(e, kind) and stream in (None, getattr(e, "stream_id", None)):
                    self.events.remove(e)
                    return e
            self.read()

    def read(self):
        data = self.sock.recv(65536)
        assert data, "closed"
        for e in self.h2.receive_data(data):
            if isinstance(e, h2.events.DataReceived):
                self.h2.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
                self.bodies[e.stream_id] += e.data
            self.events.append(e)
        self.flush()

    def status(self, stream):
        return status_of(self.wait(h2.events.ResponseReceived, stream))


@pytest.fixture
def raw(broker):
    made = []

    def make():
        made.append(Raw(broker.port))
        return made[-1]

    yield make
    for r in made:
        r.sock.close()


# ---- both planes ---------------------------------------------------------------------------------


def test_a_sandbox_is_made_listed_and_killed(broker):
    key = {"X-API-Key": broker.env()["E2B_API_KEY"], "Content-Type": "application/json"}
    spoken, status, body = curl(broker, "/sandboxes", "-d",
                                json.dumps({"templateID": "base", "timeout": 60}), headers=key)
    assert (spoken, status) == ("2", 201)
    sandbox = json.loads(body)["sandboxID"]
    _, status, body = curl(broker, "/v2/sandboxes", headers=key)
    assert status == 200 and sandbox in {s["sandboxID"] for s in json.loads(body)}
    assert curl(broker, f"/sandboxes/{sandbox}", "-X", "DELETE", headers=key)[1] == 204
    assert curl(broker, f"/sandboxes/{sandbox}", headers=key)[1] == 404
    assert curl(broker, "/v2/sandboxes")[1] == 401


def test_a_port_sees_an_ordinary_request(broker, box):
    domain = broker.env()["E2B_DOMAIN"].split(":")[0]
    spoken, status, body = curl(broker, "/echo?a=b", "-d", "x" * 100_000, "-H", "Cookie: a=1",
                                headers=host(box, 8020, domain))
    seen = json.loads(body)
    headers = {k.lower(): v for k, v in seen["headers"]}
    assert (spoken, status, seen["method"], seen["path"]) == ("2", 200, "POST", "/echo?a=b")
    assert seen["length"] == 100_000 and seen["sha256"] == hashlib.sha256(b"x" * 100_000).hexdigest()
    assert headers["host"] == host(box, 8020, domain)["Host"] and headers["cookie"] == "a=1"
    assert not any(k.startswith(":") for k in headers)


def test_a_body_without_a_length_is_chunked_on(broker, box):
    def pieces():
        for n in range(50):
            yield bytes([n]) * 1000

    with httpx.Client(http1=False, http2=True) as c:
        r = c.post(f"http://127.0.0.1:{broker.port}/", content=pieces(), headers=routing(box, 8020))
    assert r.http_version == "HTTP/2"
    assert r.json()["sha256"] == hashlib.sha256(b"".join(pieces())).hexdigest()
    assert ["Transfer-Encoding", "chunked"] in [[k.title(), v] for k, v in r.json()["headers"]]


def test_an_upgrade_to_h2c_is_not_passed_on(broker, box):
    spoken, status, body = curl(broker, "/echo", headers=routing(box, 8020), version="--http2")
    names = {k.lower() for k, _ in json.loads(body)["headers"]}
    assert (spoken, status) == ("1.1", 200)
    assert not names & {"upgrade", "connection", "http2-settings"}


def test_nghttp_gets_an_answer(broker):
    out = subprocess.run(["nghttp", "-nv", f"http://127.0.0.1:{broker.port}/health"],
                         capture_output=True, text=True, timeout=30)
    assert out.returncode == 0 and ":status: 20" in out.stdout


def envelope(payload):
    body = json.dumps(payload).encode()
    return bytes(1) + len(body).to_bytes(4, "big") + body


def test_a_hundred_commands_share_a_connection(broker, box, envd, raw):
    """Started at once, they end when each is told to, the last first."""
    c = raw()
    streams = [c.post("/process.Process/Start", envelope({
        "process": {"cmd": "/bin/sh", "args": ["-c", f"echo {n}; read x; echo end-{n}"]},
        "tag": f"h{n}", "stdin": True}), "application/connect+json", envd) for n in range(100)]
    for s in streams:
        assert c.status(s) == 200
        while b'"stdout"' not in c.bodies[s]:
            c.read()
    for n in reversed(range(100)):
        told = c.post("/process.Process/SendInput", json.dumps({
            "process": {"tag": f"h{n}"}, "input": {"stdin": "Cg=="}}).encode(),
            "application/json", envd)
        assert c.status(told) == 200
        c.wait(h2.events.StreamEnded, streams[n])
    for n, s in enumerate(streams):
        outputs = [base64.b64decode(t.split(b'"')[0]) for t in c.bodies[s].split(b'"stdout":"')[1:]]
        assert b"".join(outputs).decode() == f"{n}\nend-{n}\n"


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 20 * MIB,
                                  pytest.param(1024 * MIB, marks=pytest.mark.heavy)])
def test_a_file_goes_up_and_comes_down(broker, box, envd, tmp_path, size):
    up, down = tmp_path / "up", tmp_path / "down"
    block = bytes(range(256)) * 4096
    digest = hashlib.sha256()
    with up.open("wb") as f:
        for at in range(0, size, MIB):
            part = (at.to_bytes(8, "big") + block[8:])[:size - at]
            f.write(part)
            digest.update(part)
    path = f"/files?path=/home/user/h2-{size}&username=user"
    headers = {**envd, "Content-Type": "application/octet-stream"}
    started = time.monotonic()
    spoken, status, body = curl(broker, path, "-X", "POST", "-T", str(up), headers=headers)
    assert (spoken, status) == ("2", 200), body
    uploaded = time.monotonic()
    spoken, status, _ = curl(broker, path, "-o", str(down), headers=envd)
    print(f"{size} bytes: up {uploaded - started:.2f} s, down {time.monotonic() - uploaded:.2f} s")
    assert (spoken, status) == ("2", 200)
    assert hashlib.file_digest(down.open("rb"), "sha256").hexdigest() == digest.hexdigest()
    box.commands.run(f"rm h2-{size}")


def test_a_websocket_through_http2(broker, box, raw):
    """Extended CONNECT (RFC 8441): the server in the sandbox sees an ordinary Upgrade."""
    c = raw()
    c.wait(h2.events.RemoteSettingsChanged)
    stream = c.send([(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                     (":path", "/upgrade"), (":authority", "localhost"),
                     ("sec-websocket-version", "13"),
                     *((k.lower(), v) for k, v in routing(box, 8020).items())], end=False)
    assert c.status(stream) == 200
    text = b"over two"
    mask = b"\1\2\3\4"
    frame = bytes([0x81, 0x80 | len(text)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text))
    c.h2.send_data(stream, frame)
    c.flush()
    assert c.wait(h2.events.DataReceived, stream).data == bytes([0x81, len(text)]) + text
    c.h2.end_stream(stream)
    c.flush()
    c.wait(h2.events.StreamEnded, stream)


def test_a_kill_resets_the_sandboxs_streams_alone(broker, box, envd, raw):
    doomed = Sandbox.create(timeout=60)
    c = raw()
    token = api(broker, "GET", f"/sandboxes/{doomed.sandbox_id}").json()["envdAccessToken"]
    body = envelope({"process": {"cmd": "/bin/sleep", "args": ["1000"]}})

    def start(headers):
        stream = c.post("/process.Process/Start", body, "application/connect+json", headers)
        assert c.status(stream) == 200
        return stream

    theirs = start({**envd, **routing(doomed), "x-access-token": token})
    ours = start(envd)
    threading.Thread(target=doomed.kill).start()
    assert c.wait(h2.events.StreamReset, theirs).error_code != 0
    again = c.get("/health", *((k.lower(), v) for k, v in routing(doomed).items()))
    assert c.status(again) == 502
    assert c.status(c.get("/health")) < 300
    assert not [e for e in c.events if getattr(e, "stream_id", 0) == ours
                and isinstance(e, (h2.events.StreamReset, h2.events.StreamEnded))]
    c.h2.reset_stream(ours)
    c.flush()


def test_a_broker_that_stops_says_so_and_finishes(own_broker, tmp_path):
    b = own_broker("--drain-timeout", "20s")
    s = Sandbox.create(timeout=60)
    token = api(b, "GET", f"/sandboxes/{s.sandbox_id}").json()["envdAccessToken"]
    message = tmp_path / "message"
    message.write_bytes(envelope({"process": {"cmd": "/bin/sh",
                                              "args": ["-c", "echo first; sleep 1; echo last"]}}))
    headers = {**routing(s), "x-access-token": token, "Content-Type": "application/connect+json",
               "Authorization": "Basic dXNlcjo="}
    lines = [a for k, v in headers.items() for a in ("-H", f"{k}: {v}")]
    client = subprocess.Popen(
        ["curl", "-sSvN", "--http2-prior-knowledge", *lines, "--data-binary", f"@{message}",
         f"{b.url}/process.Process/Start"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = base64.b64encode(b"first\n")
    text = b""
    while first not in text:
        text += client.stdout.read1()
    b.process.terminate()
    rest, log = client.communicate(timeout=30)
    assert base64.b64encode(b"last\n") in text + rest
    assert client.returncode == 0, log
    b.process.wait(30)


# ---- what nobody should send ---------------------------------------------------------------------

START = [(":method", "GET"), (":scheme", "http"), (":path", "/echo"), (":authority", "localhost")]


@pytest.mark.parametrize("headers", [
    START[1:], START[:1] + START[2:], START + [(":path", "/b")], [("x", "y"), *START],
    START + [("x", "a\r\nEvil: 1")], START + [("x", "a\x00b")], START + [("X", "a")],
    START + [("a b", "c")], START + [("a:b", "c")], START + [("", "c")],
    START + [("connection", "close")], START + [("transfer-encoding", "chunked")],
    START + [("upgrade", "websocket")], START + [("te", "gzip")], START + [("host", "other")],
    START + [("content-length", "1"), ("content-length", "1")], START + [("content-length", "+1")],
    [*START[:2], (":path", "/a b"), START[3]], [*START[:2], (":path", "http://other/"), START[3]],
    [*START[:2], (":path", "/ HTTP/1.1\r\nHost: x"), START[3]],
    [*START[:2], (":path", "/a#b"), START[3]], [*START[:2], (":path", ""), START[3]],
    [(":method", "GET / HTTP/1.1\r\nX"), *START[1:]], [(":method", "CONNECT"), START[3]],
], ids=str)
def test_what_has_two_readings_is_refused(broker, box, raw, headers):
    c = raw()
    stream = c.send([*headers, *((k.lower(), v) for k, v in routing(box, 8020).items())])
    event = c.wait((h2.events.StreamReset, h2.events.ResponseReceived), stream)
    if isinstance(event, h2.events.ResponseReceived):
        assert status_of(event) in (400, 501)
    assert c.status(c.get("/health")) < 300


def test_a_rapid_reset_ends_the_connection_alone(broker, box, raw):
    bystander, c = raw(), raw()
    headers = c.h2.encoder.encode([*START, *((k.lower(), v) for k, v in routing(box, 8020).items())])
    stream = 1
    ended = False
    try:
        for _ in range(40):
            batch = b""
            for _ in range(50):
                frame = HeadersFrame(stream, headers, flags=["END_HEADERS", "END_STREAM"])
                batch += frame.serialize() + RstStreamFrame(stream, 8).serialize()
                stream += 2
            c.sock.sendall(batch)
    except OSError:
        ended = True
    data = b""
    try:
        while chunk := c.sock.recv(65536):
            data += chunk
    except OSError:
        pass
    assert ended or ENHANCE_YOUR_CALM.to_bytes(4, "big") in data
    assert bystander.status(bystander.get("/health")) < 300


def test_an_endless_head_ends_the_connection_alone(broker, raw):
    bystander, c = raw(), raw()
    c.sock.sendall(HeadersFrame(1, b"\x82").serialize())
    with pytest.raises(OSError):
        for _ in range(10000):
            c.sock.sendall(ContinuationFrame(1, b"\x84").serialize())
            c.sock.settimeout(0.0005)
            try:
                if c.sock.recv(65536) == b"":
                    raise ConnectionResetError
            except (BlockingIOError, TimeoutError):
                pass
            c.sock.settimeout(30)
    assert bystander.status(bystander.get("/health")) < 300


def test_a_load_of_streams_gets_every_answer(broker, box):
    if not shutil.which("h2load"):
        pytest.fail("h2load is missing (package nghttp2-client)")
    headers = [a for k, v in routing(box, 49983).items() for a in ("-H", f"{k}: {v}")]
    out = subprocess.run(["h2load", "-n", "5000", "-c", "4", "-m", "100", *headers,
                          f"http://127.0.0.1:{broker.port}/health"],
                         capture_output=True, text=True, timeout=120)
    assert "5000 succeeded, 0 failed" in out.stdout, out.stdout

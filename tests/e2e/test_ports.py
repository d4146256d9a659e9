# SPDX-License-Identifier: Apache-2.0
"""Servers in sandboxes, reached by host name and by routing headers; what is answered without one."""

import hashlib
import http.client
import itertools
import json
import os
import socket
import threading

import pytest
from e2b import Sandbox
from websockets.sync.client import connect

from conftest import wait_for
from support import NOBODY, host, http_request, raw_exchange, routing, serve

BROWSER = {"User-Agent": "Mozilla/5.0", "Accept": "text/html,*/*"}
PART = bytes(range(256)) * 256


@pytest.fixture(scope="module")
def box(broker):
    s = Sandbox.create(timeout=600)
    yield s
    s.kill()


@pytest.fixture(scope="module")
def domain(broker):
    return broker.env()["E2B_DOMAIN"].split(":")[0]


@pytest.fixture(scope="module")
def served(box):
    """A port of `box` with guest_server.py behind it, on 127.0.0.1."""
    server = serve(box, 8010)
    yield 8010
    server.kill()


@pytest.fixture(params=["host name", "routing headers"])
def ask(request, box, domain, served):
    """The two ways to name a port: the headers that lead to the served one."""
    return host(box, served, domain) if request.param == "host name" else routing(box, served)


class Client:
    """One connection, read as it comes."""

    def __init__(self, broker, text):
        self.socket = socket.create_connection(("127.0.0.1", broker.port), timeout=20)
        self.socket.sendall(text.encode())
        self.stream = self.socket.makefile("rb")

    def head(self):
        return b"".join(iter(self.stream.readline, b"\r\n")).decode()

    def chunk(self):
        data = self.stream.read(int(self.stream.readline(), 16))
        self.stream.readline()
        return data

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()


def lines(fields):
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items())


# ---- unknown sandboxes and closed ports --------------------------------------------------------


def test_an_unknown_sandbox(broker, domain):
    way = {"E2b-Sandbox-Id": NOBODY, "E2b-Sandbox-Port": "49983"}
    by_host = {"Host": f"8000-{NOBODY}.{domain}"}
    for ask in (way, by_host):
        answer = http_request(broker, "GET", "/health", ask)
        assert answer.status == 502
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert answer.json() == {"sandboxId": NOBODY, "message": "The sandbox was not found",
                                 "code": 502}
    page = http_request(broker, "GET", "/", {**by_host, **BROWSER})
    assert page.status == 502 and page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.text.startswith("<html") and page.text.endswith("</html>")
    assert "Sandbox Not Found" in page.text and NOBODY in page.text


def test_a_closed_port(broker, box, domain, port=8099):
    ask = host(box, port, domain)
    answer = http_request(broker, "GET", "/", ask)
    assert answer.status == 502
    assert answer.json() == {"sandboxId": box.sandbox_id, "port": port, "code": 502,
                             "message": "The sandbox is running but port is not open"}
    page = http_request(broker, "GET", "/", {**ask, **BROWSER})
    assert page.status == 502 and page.text.startswith("<html") and page.text.endswith("</html>")
    assert "no service running on port" in page.text and str(port) in page.text
    for scripted in ({"Accept": "application/json"}, {"Sec-Fetch-Mode": "cors"},
                     {"X-Requested-With": "XMLHttpRequest"}):
        answer = http_request(broker, "GET", "/", {**ask, **BROWSER, **scripted})
        assert answer.json()["code"] == 502


# ---- user ports --------------------------------------------------------------------------------


@pytest.mark.parametrize("address, port", [("127.0.0.1", 8001), ("::1", 8002), ("0.0.0.0", 8003)])
def test_a_server_inside_is_reachable(broker, box, domain, address, port):
    box.files.write("/home/user/site/page.txt", "from inside")
    server = box.commands.run(f"exec python3 -m http.server --bind {address} {port}",
                              cwd="/home/user/site", background=True, timeout=0)
    try:
        ask = host(box, port, domain)
        answer = wait_for(
            lambda: (a := http_request(broker, "GET", "/page.txt?q=1", ask)).status == 200 and a,
            10, "the server")
        assert answer.body == b"from inside"
        by_headers = http_request(broker, "GET", "/page.txt", routing(box, port))
        assert by_headers.body == b"from inside"
        assert http_request(broker, "GET", "/none", ask).status == 404
        head = http_request(broker, "HEAD", "/page.txt", ask)
        assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", "11")
        control = http_request(broker, "GET", "/init", ask)
        assert control.status == 404 and "reserved" not in control.text  # the user's own /init
    finally:
        server.kill()


def test_what_the_guest_is_told(broker, box, domain, served):
    name = f"{served}-{box.sandbox_id}.{domain}"
    answer = http_request(broker, "GET", "/a%20b/../c?x=%2F", {
        "Host": name, "X-Custom": "kept", "X-Forwarded-For": "192.0.2.1",
        "Connection": "X-Hop", "X-Hop": "dropped"})
    seen = answer.json()
    assert answer.headers["X-Connection"]
    assert (seen["method"], seen["path"]) == ("GET", "/a%20b/../c?x=%2F")
    told = {name.lower(): value for name, value in seen["headers"]}
    assert (told["host"], told["x-custom"]) == (name, "kept")
    assert told["x-forwarded-for"] == "192.0.2.1, 127.0.0.1"
    assert told["x-forwarded-proto"] == "http"
    assert told["x-forwarded-host"] == name
    assert "x-hop" not in told


def test_private_traffic_needs_its_token(broker, domain):
    sandbox = Sandbox.create(timeout=60, network={"allow_public_traffic": False})
    try:
        assert sandbox.traffic_access_token
        assert sandbox.commands.run("echo ok").stdout == "ok\n"
        ask = host(sandbox, 8000, domain)
        missing = http_request(broker, "GET", "/", ask)
        assert missing.status == 403
        assert missing.json() == {
            "sandboxId": sandbox.sandbox_id, "code": 403,
            "message": "Sandbox is secured with traffic access token. "
                       "Token header 'e2b-traffic-access-token' is missing"}
        wrong = http_request(broker, "GET", "/", {**ask, "e2b-traffic-access-token": "x"})
        assert wrong.status == 403 and "is invalid" in wrong.json()["message"]
        page = http_request(broker, "GET", "/", {**ask, **BROWSER})
        assert page.status == 403 and "Missing Traffic Access Token" in page.text
        upgrade = http_request(broker, "GET", "/", {**ask, "Connection": "Upgrade",
                                                    "Upgrade": "websocket"})
        assert upgrade.status == 403
        right = {**ask, "E2B-Traffic-Access-Token": sandbox.traffic_access_token}
        assert http_request(broker, "GET", "/", right).status == 502  # open, but nobody listens
        assert http_request(broker, "GET", "/health", host(sandbox, 49983, domain)).status == 204
    finally:
        sandbox.kill()


def test_a_masked_host(broker, domain):
    sandbox = Sandbox.create(timeout=60, network={"mask_request_host": "masked.example:${PORT}"})
    try:
        serve(sandbox, 8010)
        for name in (host(sandbox, 8010, domain), routing(sandbox, 8010)):
            told = dict(http_request(broker, "GET", "/", name).json()["headers"])
            assert told["Host"] == "masked.example:8010"
        name = host(sandbox, 8010, domain)
        told = dict(http_request(broker, "GET", "/", name).json()["headers"])
        assert told["X-Forwarded-Host"] == name["Host"]
    finally:
        sandbox.kill()


# ---- methods, bodies, streams ------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_every_method_reaches_the_server(broker, ask, method):
    body = b"" if method in ("GET", "OPTIONS") else b"some body"
    answer = http_request(broker, method, "/p?q=1", ask, body)
    assert answer.status == 200, answer.text
    seen = answer.json()
    assert (seen["method"], seen["path"], seen["length"]) == (method, "/p?q=1", len(body))


def test_head_has_the_length_and_no_body(broker, ask):
    answer = http_request(broker, "HEAD", "/", ask)
    assert answer.status == 200 and answer.body == b""
    assert int(answer.headers["Content-Length"]) > 100


def test_a_method_of_nobody_is_refused_in_good_order(broker, ask):
    c = http.client.HTTPConnection("127.0.0.1", broker.port, timeout=20)
    c.request("NONSENSE", "/", headers=ask)
    first = c.getresponse()
    assert first.status in (400, 405, 501), first.status
    first.read()
    c.close()


def test_cors_is_the_servers_own_business(broker, ask):
    answer = http_request(broker, "OPTIONS", "/", {
        **ask, "Origin": "https://a.example", "Access-Control-Request-Method": "PUT"})
    assert answer.json()["method"] == "OPTIONS"
    assert not [h for h in answer.headers if h.lower().startswith("access-control-")]


def test_a_large_body_each_way(broker, ask):
    body = os.urandom(1 << 20) * 8
    seen = http_request(broker, "POST", "/", ask, body).json()
    assert (seen["length"], seen["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    answer = http_request(broker, "GET", "/chunks?n=128", ask)
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.body == PART * 128


def test_a_chunked_request(broker, ask):
    parts = [os.urandom(n) for n in (1, 100, 65536, 300000)]
    answer = http_request(broker, "PUT", "/", ask, iter(parts))
    seen = answer.json()
    assert seen["sha256"] == hashlib.sha256(b"".join(parts)).hexdigest()


def test_a_slow_request_and_its_answer_pass_byte_by_byte(broker, ask):
    """Each byte is sent when the one before it is known to be through."""
    text = f"GET / HTTP/1.1\r\n{lines({'Host': 'localhost', **ask})}" \
           "Connection: Upgrade\r\nUpgrade: bytes\r\n\r\n"
    with Client(broker, text) as c:
        assert c.head().startswith("HTTP/1.1 101 ")
        for byte in b"slowly":
            c.socket.sendall(bytes([byte]))
            assert c.stream.read(1)[0] == byte


def test_each_event_is_there_when_it_was_sent(broker, ask):
    """The server sends the next event only after it was told to, so none can be held back."""
    name = "by-host" if "Host" in ask else "by-headers"
    text = f"GET /sse?{name} HTTP/1.1\r\n{lines({'Host': 'localhost', **ask})}\r\n"
    with Client(broker, text) as c:
        head = c.head()
        assert head.startswith("HTTP/1.1 200 ") and "text/event-stream" in head
        for n in range(5):
            assert c.chunk() == b"data: %d\n\n" % n
            assert http_request(broker, "POST", f"/next?{name}", ask).status == 200


def test_a_connection_is_used_again(broker, ask):
    c = http.client.HTTPConnection("127.0.0.1", broker.port, timeout=20)
    try:
        for n in range(20):
            c.request("POST", f"/{n}", b"x" * n, ask)
            ours = c.sock
            answer = c.getresponse()
            assert json.loads(answer.read())["path"] == f"/{n}"
            assert c.sock is ours
    finally:
        c.close()


def test_many_at_once(broker, ask):
    failed = []

    def one(n):
        answer = http_request(broker, "POST", f"/{n}", ask, b"x" * n)
        if answer.status != 200 or answer.json()["path"] != f"/{n}":
            failed.append((n, answer.status))

    threads = [threading.Thread(target=one, args=(n,)) for n in range(50)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed


def test_websocket_messages(broker, ask):
    name = ask.pop("Host", "localhost")
    sock = socket.create_connection(("127.0.0.1", broker.port), timeout=20)
    with connect(f"ws://{name}/chat", sock=sock, additional_headers=ask, max_size=None) as ws:
        for message in ("ä text", b"\0bytes", "x" * 70000, b""):
            ws.send(message)
            assert ws.recv(timeout=20) == message


def test_a_server_that_starts_after_the_first_request(broker, box, domain):
    """Whoever asks too early is told so at once, and served as soon as the server listens."""
    way = host(box, 8020, domain)
    assert http_request(broker, "GET", "/", way).json()["message"].endswith("port is not open")
    server = serve(box, 8020)
    try:
        assert http_request(broker, "GET", "/", way).status == 200
    finally:
        server.kill()
    wait_for(lambda: http_request(broker, "GET", "/", way).status == 502, 10, "the port's end")


# ---- who is told in which form -----------------------------------------------------------------

AGENTS = [
    ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130 Safari/537.36", True),
    ("mozilla", True), ("SAFARI", True), ("Firefox/1", True), ("MSIE 6", True), ("opera", True),
    ("Edge/12", True), ("curl/8.5", False), ("python-requests/2.3", False), ("", False),
    ("e2b-js-sdk/2.51.0", False),
]
ACCEPTS = [(None, False), ("text/html,*/*", False), ("*/*", False), ("application/json", True),
           ("application/json, text/html", False), ("application/problem+JSON", True)]
FETCHES = [(None, False), ("navigate", False), ("cors", True), ("no-cors", True),
           ("same-origin", True), ("websocket", True)]
REQUESTED = [(None, False), ("XMLHttpRequest", True)]


@pytest.mark.parametrize("kind", ["unknown", "closed", "private"])
def test_the_form_of_a_refusal(broker, domain, box, private, kind):
    """Pages for people, JSON for programs: every combination of what tells them apart."""
    name = {"unknown": f"8000-{NOBODY}", "closed": f"8098-{box.sandbox_id}",
            "private": f"8000-{private.sandbox_id}"}[kind]
    wrong = []
    c = http.client.HTTPConnection("127.0.0.1", broker.port, timeout=20)
    for (agent, browser), (accept, a), (mode, f), (requested, r) in itertools.product(
            AGENTS, ACCEPTS, FETCHES, REQUESTED):
        said = {"Host": f"{name}.{domain}", "User-Agent": agent, "Accept": accept,
                "Sec-Fetch-Mode": mode, "X-Requested-With": requested}
        said = {k: v for k, v in said.items() if v is not None}
        c.request("GET", "/", headers=said)
        answer = c.getresponse()
        text, form = answer.read().decode(), answer.headers["Content-Type"]
        html = browser and not (a or f or r)
        good = form == ("text/html; charset=utf-8" if html else "application/json; charset=utf-8") \
            and (text.startswith("<html") and text.endswith("</html>") and name[5:] in text
                 if html else json.loads(text)["code"] == answer.status)
        if not good:
            wrong.append((said, form, text[:80]))
    c.close()
    assert not wrong, f"{len(wrong)} wrong, the first: {wrong[0]}"


# ---- private traffic and limits ----------------------------------------------------------------


@pytest.fixture(scope="module")
def private(broker):
    s = Sandbox.create(timeout=300, network={"allow_public_traffic": False})
    yield s
    s.kill()


def test_the_traffic_token_in_any_case_of_its_name(broker, private, domain):
    server = serve(private, 8010)
    way = host(private, 8010, domain)
    token = private.traffic_access_token
    for name in ("e2b-traffic-access-token", "E2B-Traffic-Access-Token", "E2B-TRAFFIC-ACCESS-TOKEN"):
        seen = http_request(broker, "GET", "/", {**way, name: token})
        assert seen.status == 200
        for wrong in (token[:-1], token + "0", token.upper(), "x"):
            assert http_request(broker, "GET", "/", {**way, name: wrong}).status == 403
    both = f"GET / HTTP/1.1\r\n{lines(way)}Connection: close\r\n" \
           f"e2b-traffic-access-token: x\r\ne2b-traffic-access-token: {token}\r\n\r\n"
    assert raw_exchange(broker, both.encode()).split()[1] in (b"400", b"403")
    upgrade = {**way, "Connection": "Upgrade", "Upgrade": "websocket"}
    assert http_request(broker, "GET", "/", upgrade).status == 403
    server.kill()


def test_too_many_connections(own_broker):
    broker = own_broker("--max-channels", "8")
    sandbox = Sandbox.create(timeout=60)
    domain = broker.env()["E2B_DOMAIN"].split(":")[0]
    server = serve(sandbox, 8010)
    way = host(sandbox, 8010, domain)
    held = []
    try:
        while True:
            c = Client(broker, f"GET / HTTP/1.1\r\n{lines(way)}Connection: Upgrade\r\n"
                               "Upgrade: bytes\r\n\r\n")
            held.append(c)
            status = c.stream.readline().split()[1]
            if status != b"101":
                break
            c.head()
            assert len(held) <= 8
        assert status == b"429"
        answer = http_request(broker, "GET", "/", way)
        assert answer.json() == {
            "sandboxId": sandbox.sandbox_id, "code": 429, "connectionLimit": 8,
            "message": "The sandbox has too many concurrent incoming connections (limit: 8)"}
        page = http_request(broker, "GET", "/", {**way, **BROWSER})
        assert page.status == 429 and sandbox.sandbox_id in page.text
        for c in held:
            c.__exit__()
        wait_for(lambda: http_request(broker, "GET", "/", way).status == 200, 10, "room again")
    finally:
        sandbox.kill()
    del server


# ---- the end of a sandbox ----------------------------------------------------------------------


def test_kill_breaks_what_is_open(broker, domain):
    """An open stream ends without its last chunk, an open WebSocket without a close frame."""
    sandbox = Sandbox.create(timeout=60)
    serve(sandbox, 8010)
    way = lines(host(sandbox, 8010, domain))
    events = Client(broker, f"GET /sse HTTP/1.1\r\n{way}\r\n")
    upgraded = Client(broker, f"GET / HTTP/1.1\r\n{way}Connection: Upgrade\r\nUpgrade: bytes\r\n\r\n")
    with events, upgraded:
        events.head()
        assert events.chunk() == b"data: 0\n\n"
        upgraded.head()
        upgraded.socket.sendall(b"x")
        assert upgraded.stream.read(1) == b"x"
        sandbox.kill()
        for c in (events, upgraded):
            try:
                rest = c.stream.read()
            except ConnectionResetError:
                rest = b""
            assert rest == b"", rest
    answer = http_request(broker, "GET", "/", host(sandbox, 8010, domain))
    assert answer.json()["message"] == "The sandbox was not found"

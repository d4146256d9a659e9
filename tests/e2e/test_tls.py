# SPDX-License-Identifier: Apache-2.0
"""TLS at the public door: API, SDK and ports over it, protocols, renewal under load, misuse."""

import contextlib
import hashlib
import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
from websockets.sync.client import connect

from conftest import BIN, Broker, free_port, leftovers, wait_for
from support import Answer, raw_exchange

DOMAIN = "adit.test"
HEADER_S = 2
SDK = """
from e2b import Sandbox
s = Sandbox.create(timeout=60)
s.files.write("big", "0123456789" * 300_000)
assert len(s.files.read("big")) == 3_000_000
assert s.commands.run("sleep 0.1; cat big | wc -c").stdout.strip() == "3000000"
handle = s.commands.run("cat", background=True, stdin=True)
s.commands.send_stdin(handle.pid, "over TLS\\n")
print(next(iter(handle))[0].strip())
s.kill()
"""


def dev_cert(directory, domain=DOMAIN):
    made = subprocess.run([BIN / "broker", "dev-cert", "--domain", domain, directory],
                          capture_output=True, text=True, timeout=20)
    assert made.returncode == 0, made.stderr
    return made.stdout


class TlsBroker(Broker):
    def __init__(self, state):
        super().__init__(state)
        self.tls_port = free_port()
        self.certs = self.state / "cert"
        dev_cert(self.certs)
        self.ca = self.certs / "ca.crt"
        self.extra = ["--listen", f"127.0.0.1:{self.port},tls:127.0.0.1:{self.tls_port}",
                      "--domain", DOMAIN, "--header-timeout", f"{HEADER_S}s",
                      "--tls-cert", str(self.certs / "tls.crt"),
                      "--tls-key", str(self.certs / "tls.key")]

    def context(self):
        return ssl.create_default_context(cafile=self.ca)

    def socket(self, name=f"api.{DOMAIN}", context=None, timeout=30):
        plain = socket.create_connection(("127.0.0.1", self.tls_port), timeout=timeout)
        return (context or self.context()).wrap_socket(plain, server_hostname=name)

    def connection(self, name=f"api.{DOMAIN}"):
        c = http.client.HTTPSConnection(name, self.tls_port)
        c.sock = self.socket(name)
        return c

    def request(self, method, path, body=None, headers=None, name=f"api.{DOMAIN}"):
        c = self.connection(name)
        try:
            c.request(method, path, body, headers or {})
            return Answer(c.getresponse())
        finally:
            c.close()

    def api(self, method, path, body=None):
        headers = {"X-API-Key": self.env()["E2B_API_KEY"], "Content-Type": "application/json"}
        return self.request(method, path, None if body is None else json.dumps(body), headers)

    def serial(self):
        with self.socket() as s:
            return s.getpeercert()["serialNumber"]

    def clients(self):
        """What SDKs on this machine, which has no name for the domain, need."""
        url = f"https://localhost:{self.tls_port}"
        env = self.env()
        trust = {n: env[n] for n in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE")}
        return {**os.environ, **trust, "E2B_API_URL": url, "E2B_SANDBOX_URL": url,
                "E2B_API_KEY": env["E2B_API_KEY"], "E2B_DOMAIN": DOMAIN}


@pytest.fixture(scope="module")
def tls(scratch):
    b = TlsBroker(scratch / "tls").start()
    yield b
    for s in b.api("GET", "/sandboxes").json():
        assert b.api("DELETE", f"/sandboxes/{s['sandboxID']}").status == 204
    b.stop()
    assert not leftovers(b)


@pytest.fixture(scope="module")
def box(tls):
    """A sandbox with guest_server.py on port 8010; its id."""
    made = tls.api("POST", "/sandboxes", {"templateID": "base", "timeout": 600, "secure": False})
    assert made.status == 201, made.text
    sandbox = made.json()["sandboxID"]
    start = f"""
import os
from e2b import Sandbox
s = Sandbox.connect("{sandbox}", timeout=600)
s.files.write("/home/user/guest_server.py", open("{os.path.dirname(__file__)}/guest_server.py").read())
h = s.commands.run("exec python3 guest_server.py 127.0.0.1 8010", background=True, timeout=0)
assert next(iter(h))[0] == "ready\\n"
"""
    done = subprocess.run([sys.executable, "-c", start], env=tls.clients(), timeout=60,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return sandbox


# ---- what works over it ------------------------------------------------------------------------


def test_http2_is_chosen_by_clients_that_speak_it(tls, box):
    name = f"8010-{box}.{DOMAIN}"
    out = subprocess.run(["curl", "-sS", "--http2", "--cacert", tls.ca, "-w", "\n%{http_version}",
                          "--resolve", f"{name}:{tls.tls_port}:127.0.0.1",
                          f"https://{name}:{tls.tls_port}/echo"],
                         capture_output=True, text=True, timeout=30)
    body, version = out.stdout.rsplit("\n", 1)
    assert (out.returncode, version) == (0, "2"), out.stderr
    assert ["X-Forwarded-Proto", "https"] in json.loads(body)["headers"]


def test_grpc_over_tls(tls, box):
    import grpc

    name = f"49983-{box}.{DOMAIN}"
    trust = grpc.ssl_channel_credentials(tls.ca.read_bytes())
    with grpc.secure_channel(f"127.0.0.1:{tls.tls_port}", trust,
                             [("grpc.ssl_target_name_override", name),
                              ("grpc.default_authority", name)]) as channel:
        answer = channel.unary_unary("/process.Process/List")(
            b"", timeout=20, metadata=[("authorization", "Basic dXNlcjo=")])
    assert b"guest_server.py" in answer


def test_the_python_sdk(tls):
    done = subprocess.run([sys.executable, "-c", SDK], env=tls.clients(), timeout=120,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "over TLS"


def test_the_printed_variables(tls):
    env = tls.env()
    assert env["E2B_API_URL"] == f"https://api.{DOMAIN}:{tls.tls_port}"
    assert env["E2B_SANDBOX_URL"] == f"https://sandbox.{DOMAIN}:{tls.tls_port}"
    assert env["E2B_DOMAIN"] == DOMAIN
    for name in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"):
        assert env[name] == str(tls.ca)


def curl(tls, name, path, *args):
    done = subprocess.run(
        ["curl", "-sS", "--cacert", tls.ca, "--resolve", f"{name}:{tls.tls_port}:127.0.0.1", *args,
         f"https://{name}:{tls.tls_port}{path}"], capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sandboxes_by_host_name(tls, box):
    assert curl(tls, f"49983-{box}.{DOMAIN}", "/health", "-o", "/dev/null", "-w",
                "%{http_code}") == b"204"
    seen = json.loads(curl(tls, f"8010-{box}.{DOMAIN}", "/x?y=1", "-d", "body"))
    headers = {name.lower(): value for name, value in seen["headers"]}
    assert (seen["method"], seen["path"], seen["length"]) == ("POST", "/x?y=1", 4)
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-for"] == "127.0.0.1"


def test_http2(tls, box):
    said = curl(tls, f"8010-{box}.{DOMAIN}", "/chunks?n=20", "--http2", "-o", "/dev/null", "-w",
                "%{http_version} %{http_code} %{size_download}")
    assert said == b"2 200 %d" % (20 * 65536)


def test_plain_connections_beside_it_are_told_apart(tls, box):
    c = http.client.HTTPConnection("127.0.0.1", tls.port)
    c.request("GET", "/x", headers={"Host": f"8010-{box}.{DOMAIN}"})
    headers = dict((n.lower(), v) for n, v in json.loads(c.getresponse().read())["headers"])
    assert headers["x-forwarded-proto"] == "http"
    c.close()


def test_websockets(tls, box):
    name = f"8010-{box}.{DOMAIN}"
    with connect(f"wss://{name}/upgrade", sock=socket.create_connection(
            ("127.0.0.1", tls.tls_port)), ssl=tls.context(), server_hostname=name,
            max_size=None) as ws:
        for message in ("hello", b"\0\1\2", "x" * 70000, os.urandom(300_000)):
            ws.send(message)
            assert ws.recv(timeout=20) == message


def upgraded(tls, box):
    s = tls.socket(f"8010-{box}.{DOMAIN}")
    s.sendall(f"GET /upgrade HTTP/1.1\r\nHost: 8010-{box}.{DOMAIN}\r\nConnection: Upgrade\r\n"
              "Upgrade: bytes\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += s.recv(1)
    assert head.startswith(b"HTTP/1.1 101")
    return s


def echo(s, data):
    """Send and receive at once, in one thread: two may not use one TLS connection (before Python 3.13)."""
    got, sent = bytearray(), 0
    s.setblocking(False)
    while len(got) < len(data):
        moved, wanted = False, []
        for what in ("send", "receive"):
            try:
                if what == "receive":
                    piece = s.recv(65536)
                    assert piece, f"ended after {len(got)} bytes"
                    got += piece
                elif sent < len(data):
                    sent += s.send(memoryview(data)[sent:sent + 65536])
                else:
                    continue
                moved = True
            except ssl.SSLWantReadError:
                wanted.append("read")
            except ssl.SSLWantWriteError:
                wanted.append("write")
        if not moved:
            ready = select.select([s] if "read" in wanted else [], [s] if "write" in wanted else [], [], 20)
            assert ready[0] or ready[1], f"nothing moves after {sent} out and {len(got)} in"
    s.setblocking(True)
    return bytes(got)


def test_raw_bytes_and_their_end(tls, box):
    """Much in both directions at once; our close_notify reaches the guest, its end comes back."""
    data = os.urandom(4 << 20)
    with upgraded(tls, box) as s:
        assert echo(s, data) == data
        s.unwrap()  # our close_notify; returns when the broker's has come


def test_a_long_answer_and_a_long_body(tls, box):
    name = f"8010-{box}.{DOMAIN}"
    answer = tls.request("GET", "/chunks?n=300", name=name)
    assert len(answer.body) == 300 * 65536
    body = os.urandom(8 << 20)
    seen = tls.request("POST", "/", body, name=name).json()
    assert seen["sha256"] == hashlib.sha256(body).hexdigest()


def test_a_slow_reader_gets_all(tls, box):
    with tls.socket(f"8010-{box}.{DOMAIN}") as s:
        s.sendall(f"GET /chunks?n=100 HTTP/1.1\r\nHost: 8010-{box}.{DOMAIN}\r\n"
                  "Connection: close\r\n\r\n".encode())
        got = 0
        while piece := s.recv(3000):
            got += len(piece)
    assert got > 100 * 65536


# ---- protocols ---------------------------------------------------------------------------------


def s_client(tls, *args):
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{tls.tls_port}", "-CAfile",
                           tls.ca, "-servername", f"api.{DOMAIN}", *args],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    return done.stdout + done.stderr


def test_protocols(tls):
    assert "New, TLSv1.3" in s_client(tls, "-verify_return_error")
    assert "New, TLSv1.2" in s_client(tls, "-tls1_2")
    for old in ("-tls1", "-tls1_1"):
        assert "Cipher is (NONE)" in s_client(tls, old, "-cipher", "ALL:@SECLEVEL=0")
    assert "Cipher is (NONE)" in s_client(tls, "-tls1_2", "-cipher", "AES128-SHA:AES256-GCM-SHA384")
    assert "ALPN protocol: http/1.1" in s_client(tls, "-alpn", "http/1.1")
    assert "ALPN protocol: h2" in s_client(tls, "-alpn", "http/1.1,h2")
    assert "no application protocol" in s_client(tls, "-alpn", "imap")


def test_tickets_are_resumed_on_every_loop(tls):
    context = tls.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with tls.socket(context=context) as s:
        session = s.session
    for _ in range(16):  # loops take turns
        plain = socket.create_connection(("127.0.0.1", tls.tls_port), timeout=20)
        with context.wrap_socket(plain, server_hostname=f"api.{DOMAIN}", session=session) as s:
            assert s.session_reused


# ---- misuse ------------------------------------------------------------------------------------


@contextlib.contextmanager
def quiet_client(tls):
    """Somebody else, whose requests must go on being answered: on one connection and on new ones."""
    stop, failures, count = threading.Event(), [], [0]

    def run(reuse):
        c = tls.connection()
        while not stop.is_set():
            try:
                if not reuse:
                    c.close()
                    c = tls.connection()
                c.request("GET", "/health")
                answer = c.getresponse()
                answer.read()
                if answer.status != 204:
                    failures.append(answer.status)
                count[0] += 1
            except Exception as e:
                failures.append(repr(e))
                return
        c.close()

    threads = [threading.Thread(target=run, args=(reuse,)) for reuse in (True, True, False, False)]
    for t in threads:
        t.start()
    yield failures
    stop.set()
    for t in threads:
        t.join()
    assert not failures, failures[:5]
    assert count[0] > 20


def test_plain_http_is_told_that_this_is_tls(tls):
    class Door:
        port = tls.tls_port

    answer = raw_exchange(Door, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n") and b"https://" in answer


def test_garbage_disturbs_nobody(tls):
    with quiet_client(tls):
        for n in range(60):
            with socket.create_connection(("127.0.0.1", tls.tls_port), timeout=20) as s:
                with contextlib.suppress(OSError):
                    s.sendall(os.urandom(n * 37) if n % 3 else b"\x16\x03\x01" + os.urandom(2000))
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(4096):
                        pass
            s = tls.socket()
            broken = s.detach()  # the TLS state is dropped; what follows is no record
            with socket.socket(fileno=broken) as s, contextlib.suppress(OSError):
                s.sendall(os.urandom(100))
                while s.recv(4096):
                    pass


def test_handshakes_that_stall_are_closed(tls):
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    with quiet_client(tls):
        begin = time.monotonic()
        stalled = [socket.create_connection(("127.0.0.1", tls.tls_port), timeout=20)
                   for _ in range(60)]
        for n, s in enumerate(stalled):
            if n % 2:
                s.sendall(hello[:1 + n % len(hello)])
        for s in stalled:
            with contextlib.suppress(ConnectionResetError):
                assert s.recv(100) == b""
            s.close()
        assert HEADER_S * 0.8 < time.monotonic() - begin < HEADER_S + 10


def test_a_head_that_stalls_inside_tls_is_answered(tls):
    with tls.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHo")
        assert s.recv(4096).startswith(b"HTTP/1.1 408")


# ---- renewal -----------------------------------------------------------------------------------


def publish(tls, made):
    """Replace the pair as certificate tools do: one file after the other. The broker is to read it."""
    os.chown(tls.certs, *tls.ids())
    for name in ("tls.crt", "tls.key"):
        os.chown(made / name, *tls.ids())
        os.replace(made / name, tls.certs / name)


def renew(tls, scratch):
    made = scratch / f"renewed-{time.monotonic_ns()}"
    made.mkdir()
    for name in ("ca.crt", "ca.key"):
        shutil.copy(tls.certs / name, made / name)
    dev_cert(made)
    publish(tls, made)


@pytest.mark.parametrize("way", ["change", "SIGHUP"])
def test_a_new_certificate_under_load(tls, scratch, way):
    before = tls.serial()
    old = tls.connection()
    old.request("GET", "/health")
    old.getresponse().read()
    with quiet_client(tls) as failures:
        for _ in range(2):
            renew(tls, scratch)
            if way == "SIGHUP":
                tls.process.send_signal(signal.SIGHUP)
            last = before
            before = wait_for(lambda: (s := tls.serial()) != last and s, 20, "the new certificate")
            # both relay loops, whichever takes the connection
            wait_for(lambda: all(tls.serial() != last for _ in range(8)), 10, "every loop")
        assert not failures
    old.request("GET", "/health")  # a connection of the first certificate goes on
    assert old.getresponse().status == 204
    old.close()


def test_a_broken_certificate_does_not_replace_a_good_one(tls, scratch):
    serial = tls.serial()
    key = (tls.certs / "tls.key").read_bytes()
    cases = {"no PEM private key": b"nonsense\n", "not the key of the certificate": None}
    other = scratch / "other-key"
    dev_cert(other)
    for text, content in cases.items():
        seen = len(tls.log())
        (tls.certs / "new.key").write_bytes(content or (other / "tls.key").read_bytes())
        os.replace(tls.certs / "new.key", tls.certs / "tls.key")
        wait_for(lambda: "certificate_not_loaded" in tls.log()[seen:], 20, "the refusal")
        line = re.search(r".*certificate_not_loaded.*", tls.log()[seen:])[0]
        assert " error " in line and text in line and str(tls.certs / "tls.key") in line
        assert tls.serial() == serial
    seen = len(tls.log())
    (tls.certs / "tls.key").unlink()
    tls.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "No such file" in tls.log()[seen:], 20, "the refusal")
    assert tls.serial() == serial
    (tls.certs / "new.key").write_bytes(key)
    (tls.certs / "new.key").chmod(0o600)  # root's alone
    os.replace(tls.certs / "new.key", tls.certs / "tls.key")
    wait_for(lambda: "Permission denied" in tls.log()[seen:], 20, "the refusal")
    (tls.certs / "tls.key").unlink()
    (tls.certs / "tls.key").write_bytes(key)
    wait_for(lambda: "certificate_loaded" in tls.log()[seen:], 20, "the old pair again")
    assert tls.serial() == serial


# ---- the start ---------------------------------------------------------------------------------


def start_error(scratch, *options):
    done = subprocess.run(
        [BIN / "broker", "--state-dir", scratch / "no-start", "--templates-dir",
         scratch / "no-start/t", "--listen", "tls:127.0.0.1:0", *options],
        capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    return re.search(r"^broker: (.*)", done.stderr, re.M)[1]


def test_a_start_without_a_usable_certificate_says_why(scratch):
    good, other = scratch / "good", scratch / "other"
    dev_cert(good)
    dev_cert(other)
    assert "needs tls-cert and tls-key" in (said := start_error(scratch)) and "dev-cert" in said
    said = start_error(scratch, "--tls-cert", scratch / "none.crt", "--tls-key", good / "tls.key")
    assert "none.crt" in said and "No such file" in said and "dev-cert" in said
    said = start_error(scratch, "--tls-cert", good / "tls.crt", "--tls-key", other / "tls.key")
    assert str(other / "tls.key") in said and "not the key of the certificate" in said
    said = start_error(scratch, "--tls-cert", good / "tls.key", "--tls-key", good / "tls.key")
    assert str(good / "tls.key") in said and "no PEM certificate" in said


# ---- dev-cert ----------------------------------------------------------------------------------


def test_dev_cert_keeps_its_authority(tmp_path):
    said = dev_cert(tmp_path, "one.test")
    ca, first = (tmp_path / "ca.crt").read_bytes(), (tmp_path / "tls.crt").read_bytes()
    assert str(tmp_path / "tls.crt") in said and "SSL_CERT_FILE" in said
    os.chown(tmp_path / "tls.key", 12345, 12346)
    dev_cert(tmp_path, "two.test")
    assert ((s := (tmp_path / "tls.key").stat()).st_uid, s.st_gid) == (12345, 12346)
    assert (tmp_path / "ca.crt").read_bytes() == ca
    assert (tmp_path / "tls.crt").read_bytes() != first
    for name in ("ca.key", "tls.key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    done = subprocess.run(["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile",
                           tmp_path / "ca.crt", "-verify_hostname", "49983-abc.two.test",
                           tmp_path / "tls.crt"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("change, said", [
    (lambda d: (d / "ca.key").unlink(), "one cannot be read"),
    (lambda d: (d / "ca.crt").unlink(), "one cannot be read"),
    (lambda d: (d / "ca.key").write_text("x"), "are no authority"),
    (lambda d: shutil.copy(d / "tls.crt", d / "ca.crt"), "are no authority"),
])
def test_dev_cert_touches_no_broken_authority(tmp_path, change, said):
    dev_cert(tmp_path)
    change(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    done = subprocess.run([BIN / "broker", "dev-cert", tmp_path], capture_output=True, text=True)
    assert done.returncode != 0 and said in done.stderr
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("domain", ["a,DNS:evil.test", "-x", ".x", "a b", "a/b", "ä"])
def test_dev_cert_refuses_what_is_no_domain(tmp_path, domain):
    done = subprocess.run([BIN / "broker", "dev-cert", f"--domain={domain}", tmp_path / "new"],
                          capture_output=True, text=True)
    assert done.returncode != 0 and "domain" in done.stderr
    assert not (tmp_path / "new").exists()

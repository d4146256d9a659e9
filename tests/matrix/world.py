# SPDX-License-Identifier: Apache-2.0
"""One broker with a scheduler that nobody restarts, two teams, sandboxes, and everybody who may ask."""

import base64
import hashlib
import json
import os
import signal
import ssl
import subprocess
import time

from client import Door
from conftest import BIN, Broker, free_port, wait_for
from support import add_key, api, http_request

DOMAIN = "adit.test"
PORT = 8000
PAGE = b"a-page-of-port-8000"
SERVER = f"mkdir -p /srv && printf {PAGE.decode()} >/srv/index.html && " \
         f"exec python3 -m http.server {PORT} --bind 127.0.0.1 --directory /srv"


class OwnScheduler:
    """The broker's scheduler as a process of the test: it can be stopped, and ended for good."""

    def __init__(self, directory, prefix=()):
        self.directory, self.address = directory, f"127.0.0.1:{free_port()}"
        self.prefix = prefix
        directory.mkdir(parents=True)
        self.start()

    def start(self):
        with open(self.directory / "scheduler.log", "ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, BIN / "scheduler", "--listen", self.address,
                 "--data-dir", self.directory / "data"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait()


class MatrixBroker(Broker):
    def __init__(self, state, scheduler):
        super().__init__(state)
        self.tls_port = free_port()
        self.scheduler = scheduler
        certs = self.state / "cert"
        made = subprocess.run([BIN / "broker", "dev-cert", "--domain", DOMAIN, certs],
                              capture_output=True, timeout=20)
        assert made.returncode == 0, made.stderr
        self.extra = ["--listen", f"127.0.0.1:{self.port},tls:127.0.0.1:{self.tls_port}",
                      "--domain", DOMAIN, "--scheduler", scheduler.address,
                      "--session-template", "nothing",
                      "--tls-cert", certs / "tls.crt", "--tls-key", certs / "tls.key"]
        self.context = ssl.create_default_context(cafile=certs / "ca.crt")

    def door(self):
        return Door(self.port, self.tls_port, self.context, f"api.{DOMAIN}")

    def keys(self, *words):
        done = subprocess.run([BIN / "broker", "keys", "--scheduler", self.scheduler.address, *words],
                              capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip(), done.stderr


class World:
    """
    Team A has @private (secured, its ports private), @public (secured) and @open (no tokens); team B
    has @foreign. @ended was team A's.
    """

    def __init__(self, broker):
        self.broker = broker
        self.key_a = broker.keys("add", "a", "team-a")[0]
        self.key_b = broker.keys("add", "b", "team-b")[0]
        self.key_revoked, said = broker.keys("add", "r", "team-a")
        broker.keys("revoke", said.split()[1])
        self.admin = (broker.state / "state/admin-token").read_text().strip()
        closed = {"network": {"allowPublicTraffic": False}}
        self.private = self.create(secure=True, **closed)
        self.public = self.create(secure=True)
        self.open = self.create()
        self.foreign = self.create(self.key_b, secure=True)
        self.ended = self.create()
        assert api(broker, "DELETE", f"/sandboxes/{self.ended['sandboxID']}",
                   key=self.key_a).status == 204
        for sandbox in (self.private, self.public, self.open):
            self.serve(sandbox)

    def create(self, key=None, **options):
        made = api(self.broker, "POST", "/sandboxes", {"templateID": "base", "timeout": 900, **options},
                   key=key or self.key_a)
        assert made.status == 201, made.text
        return made.json()

    def serve(self, sandbox):
        """A page on a port of it, and a file. Nobody has to read what the server says."""
        def envd(method, path, headers, body):
            return http_request(self.broker, method, path, {
                "E2b-Sandbox-Id": sandbox["sandboxID"], "E2b-Sandbox-Port": "49983",
                "X-Access-Token": sandbox.get("envdAccessToken", ""),
                "Authorization": "Basic " + base64.b64encode(b"root:").decode(), **headers}, body)

        start = json.dumps({"process": {"cmd": "/bin/sh", "args": [
            "-c", f"({SERVER}) >/dev/null 2>&1 &"]}}).encode()
        done = envd("POST", "/process.Process/Start", {"Content-Type": "application/connect+json"},
                    b"\0" + len(start).to_bytes(4, "big") + start)
        assert done.status == 200, done.text
        up = envd("POST", "/files?path=/tmp/file", {"Content-Type": "application/octet-stream"}, PAGE)
        assert up.status == 200, up.text
        ask = {"E2b-Sandbox-Id": sandbox["sandboxID"], "E2b-Sandbox-Port": str(PORT),
               "e2b-traffic-access-token": sandbox.get("trafficAccessToken") or ""}
        wait_for(lambda: http_request(self.broker, "GET", "/", ask).status == 200, 30, "the page")


def signature(sandbox, path, operation, expiration=None, user=""):
    """The query of a signed file request, made with a sandbox's token."""
    text = f"{path}:{operation}:{user}:{sandbox['envdAccessToken']}"
    text += f":{expiration}" if expiration is not None else ""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
    query = f"path={path}&signature=v1_{digest}".replace("+", "%2B")
    query += f"&username={user}" if user else ""
    return query + (f"&signature_expiration={expiration}" if expiration is not None else "")

# SPDX-License-Identifier: Apache-2.0
"""Debug mode: clients with E2B_DEBUG=true, whose addresses are fixed, in a network of their own."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from conftest import BIN, LabBroker, leftovers, wait_for
from lab import Lab

SDK = """
from e2b import Sandbox
s = Sandbox.create()
assert s.sandbox_id == "debug_sandbox_id" and s.is_running()
s.files.write("hello.txt", "from debug mode")
print(s.commands.run("cat hello.txt; echo; id -un").stdout)
h = s.commands.run("cat", background=True, stdin=True)
s.commands.send_stdin(h.pid, "again\\n")
assert next(iter(h))[0] == "again\\n"
s.set_timeout(1)
s.kill()
assert Sandbox.connect(s.sandbox_id).files.read("hello.txt") == "from debug mode"
"""


class DebugBroker(LabBroker):
    def __init__(self, state, lab):
        super().__init__(state, lab)
        self.extra.append("--debug")

    def named(self):
        """The debug sandboxes, in the order in which they were named."""
        return re.findall(r" warn broker debug_sandbox sandbox=(i[a-z0-9]{20})\b", self.log())

    def answers(self):
        """The debug sandbox, once it can be called."""
        wait_for(self.named, 30, "a debug sandbox")
        wait_for(lambda: self.ask(49983, "/health")[0] == 204, 30, "its envd")
        return self.named()[-1]

    def ask(self, port, path, headers=None, host="127.0.0.1"):
        with self.network():
            c = http.client.HTTPConnection(host, port, timeout=20)
            c.request("GET", path, headers=headers or {})
            answer = c.getresponse()
            body = answer.read()
            c.close()
            return answer.status, body

    def refuses(self, port):
        with self.network():
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture(scope="module")
def debug(scratch, broker):
    lab = Lab(scratch / "names-of-debug")
    plain = LabBroker(scratch / "debug", lab).start()
    lab.key = plain.env()["E2B_API_KEY"]
    off = DebugBroker.refuses(plain, 49983) and DebugBroker.refuses(plain, 49999)
    plain.stop()
    b = DebugBroker(scratch / "debug", lab).start()
    b.was_off = off
    yield b
    b.stop()
    subprocess.run([BIN / "broker", "purge", "--state-dir", b.state / "state"], check=True,
                   capture_output=True, timeout=60)
    remains = leftovers(b)
    lab.inside.communicate()
    lab.inside.wait(10)
    assert not remains


def run_sdk(debug, program):
    done = debug.lab.run([sys.executable, "-c", program], "debug")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_off_by_default(debug):
    assert debug.was_off


def test_the_newest_python_sdk(debug):
    debug.answers()
    assert run_sdk(debug, SDK) == "from debug mode\nuser\n\n"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("headers", [
    {},
    {"E2b-Sandbox-Id": "debug_sandbox_id", "E2b-Sandbox-Port": "49983"},
    {"E2b-Sandbox-Id": "../..", "E2b-Sandbox-Port": "22"},
    {"Host": "8000-i00000000000000000000.adit.test"},
    {"Host": "api.adit.test"},
])
def test_whatever_is_asked_is_for_the_debug_sandbox(debug, host, headers):
    debug.answers()
    assert debug.ask(49983, "/health", headers, host)[0] == 204
    assert debug.ask(49983, "/files?path=/etc/hostname", headers, host)[0] == 200


def test_the_interpreters_port_leads_to_the_same_sandbox(debug):
    debug.answers()
    status, body = debug.ask(49999, "/health", {"E2b-Sandbox-Port": "49983"})
    assert (status, json.loads(body)) == (200, "OK")


def test_what_nobody_may_call_nobody_may_call_here(debug):
    debug.answers()
    assert debug.ask(49983, "/init")[0] == 404
    assert debug.ask(49983, "//x/../init")[0] == 404


def test_the_control_api_stays_as_it_is(debug):
    debug.answers()
    assert debug.ask(3000, "/sandboxes")[0] == 401
    status, body = debug.ask(3000, "/sandboxes", {"X-API-Key": debug.env()["E2B_API_KEY"]})
    assert (status, json.loads(body)) == (200, [])


def test_a_debug_sandbox_that_ends_is_made_anew(debug):
    first = debug.answers()
    record = json.loads((debug.state / f"state/sandboxes/{first}/record.json").read_text())
    os.kill(record["instance"]["pid"], signal.SIGKILL)
    wait_for(lambda: debug.named()[-1] != first, 30, "another debug sandbox")
    assert debug.answers() != first
    assert run_sdk(debug, SDK) == "from debug mode\nuser\n\n"


def test_the_next_broker_takes_it_up(debug):
    sandbox = debug.answers()
    debug.kill()
    debug.start()
    wait_for(lambda: debug.ask(49983, "/health")[0] == 204, 30, "its envd")
    assert debug.named()[-2:] == [sandbox, sandbox]
    assert run_sdk(debug, "from e2b import Sandbox\n"
                          "print(Sandbox.create().files.read('hello.txt'))") == "from debug mode\n"


@pytest.mark.parametrize("address", ["0.0.0.0:49983", ":49983", "[::]:49983", "10.1.2.3:49983",
                                     "unix:/tmp/x", "tls:127.0.0.1:49983", "[::1%lo]:1"])
@pytest.mark.parametrize("option", ["debug-listen-envd", "debug-listen-interpreter"])
def test_only_this_machine_may_be_served(scratch, option, address):
    done = subprocess.run(
        [BIN / "broker", "--state-dir", scratch / "no-debug", "--templates-dir",
         scratch / "no-debug/t", "--listen", "127.0.0.1:0", "--debug", f"--{option}", address],
        capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    said = re.search(r"^broker: (.*)", done.stderr, re.M)[1]
    assert "no authentication" in said and address in said

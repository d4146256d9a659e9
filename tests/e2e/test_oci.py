# SPDX-License-Identifier: Apache-2.0
"""Sandboxes from OCI images of three userlands, made here: a C library, busybox, and nothing."""

import base64
import json
import struct

import pytest
from e2b import CommandExitException, Sandbox

import images
from builder import Builder, need_builder
from conftest import BIN, ISOLATION, Broker, end, exported, kill_everything
from support import api, http_request, routing

pytestmark = pytest.mark.skipif(
    "asan" in str(BIN), reason="an agent with sanitizers needs libraries that the images lack")


@pytest.fixture(scope="module")
def made(scratch, broker):
    """A broker whose templates are the three images."""
    need_builder()
    folder = scratch / "oci"
    folder.mkdir()
    images.glibc(folder / "glibc")
    images.musl(folder / "musl")
    images.empty(folder / "empty", folder)
    builder = Builder(folder / "templates")
    for name in ("glibc", "musl", "empty"):
        builder.made(folder / name, name, options=())
    b = Broker(scratch / "oci-broker", ("--templates-dir", str(builder.out))).start()
    with exported(b):
        yield b
        left = kill_everything(b)
        end(b, left)


@pytest.fixture
def create(made):
    """Creates a sandbox of a template, with the isolation that the tests run with."""
    started = []

    def make(template, **more):
        sandbox = Sandbox.create(template, timeout=120, **more)
        started.append(sandbox)
        told = api(made, "GET", f"/sandboxes/{sandbox.sandbox_id}").json()
        assert told["isolation"] == (ISOLATION or "container")
        return sandbox

    yield make
    for sandbox in started:
        sandbox.kill()


def start(broker, sandbox, *words):
    """process.Start of a program by its path, without a shell: its output and status."""
    message = json.dumps({"process": {"cmd": words[0], "args": words[1:]}}).encode()
    answer = http_request(broker, "POST", "/process.Process/Start", {
        **routing(sandbox), "X-Access-Token": sandbox._envd_access_token,
        "Content-Type": "application/connect+json", "Connect-Protocol-Version": "1",
    }, b"\0" + struct.pack(">I", len(message)) + message)
    said, status, body = b"", None, answer.body
    while body:
        size = struct.unpack(">I", body[1:5])[0]
        frame, body = json.loads(body[5:5 + size] or b"{}"), body[5 + size:]
        assert "error" not in frame, frame
        event = frame.get("event", {})
        said += base64.b64decode(event.get("data", {}).get("stdout", ""))
        status = event.get("end", {}).get("status", status)
    return said.decode(), status


def test_an_image_with_a_c_library(create):
    sandbox = create("glibc")
    assert sandbox.commands.run("greet").stdout == "large=er from /root\n"
    assert sandbox.commands.run("id -u").stdout == "0\n"
    with pytest.raises(CommandExitException):
        sandbox.commands.run("ls /etc/gone /var/old")
    sandbox.files.write("/tmp/new", "text")
    assert sandbox.commands.run("cat /tmp/new").stdout == "text"
    assert sandbox.commands.run("echo $WORD", envs={"WORD": "of the call"}).stdout == "of the call\n"


def test_an_image_of_busybox(made, create):
    sandbox = create("musl", envs={"WORD": "of the create"})
    out, status = start(made, sandbox, "/bin/sh", "-c", "id -u; id -g; echo $PATH,$WORD,$EMPTY; pwd")
    assert (out, status) == ("7000\n7000\n/bin,of the create,\n/home/app\n", "exit status 0")
    sandbox.files.write("note", "here")
    assert start(made, sandbox, "/bin/cat", "/home/app/note") == ("here", "exit status 0")
    assert [e.name for e in sandbox.files.list("/home/app")] == ["note"]


def test_an_image_with_one_static_program(made, create):
    sandbox = create("empty")
    assert start(made, sandbox, "/hello", "you") == ("empty 0 /data/work you\n", "exit status 7")
    assert sandbox.files.write("/made/here", "x").path == "/made/here"
    assert {e.name for e in sandbox.files.list("/")} >= {"hello", "data", "made"}

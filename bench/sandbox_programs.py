# SPDX-License-Identifier: Apache-2.0
"""Programs of the benchmarks in a sandbox: put there, started, heard."""

import json
import subprocess
import tempfile
from pathlib import Path

from output_streams import OutputStream
from support import routing


def fields(sandbox):
    """The routing headers as arguments of wrk and curl."""
    return [part for name, value in routing(sandbox).items() for part in ("-H", f"{name}: {value}")]


def head(sandbox, method, path, more=""):
    names = "".join(f"{name}: {value}\r\n" for name, value in routing(sandbox).items())
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{names}{more}\r\n".encode()


def start_stream(sandbox, method, process):
    body = json.dumps({"process": process}).encode()
    begin = head(sandbox, "POST", f"/process.Process/{method}",
                 "Content-Type: application/connect+json\r\nConnect-Protocol-Version: 1\r\n"
                 f"Content-Length: {len(body) + 5}\r\n")
    return begin + b"\0" + len(body).to_bytes(4, "big") + body


def start(broker, sandbox, cmd, *args):
    """A process whose output is not of numbered lines; read its stream to hear it."""
    process = {"cmd": str(cmd), "args": [str(a) for a in args]}
    return OutputStream(broker.port, start_stream(sandbox, "Start", process), line=1 << 30)


def run(broker, sandbox, cmd, *args):
    """A process to its end, which is a good one. Its output."""
    stream = start(broker, sandbox, cmd, *args)
    while stream.read():
        pass
    assert stream.end and stream.end.get("status") == "exit status 0", (stream.end, stream.output)
    return stream.output.decode()


def compile_program(source, binary):
    """To a static program, which runs in any sandbox."""
    subprocess.run(["gcc", "-O2", "-static", "-x", "c", "-o", binary, "-"], input=source,
                   text=True, check=True)


def upload(broker, sandbox, binary, path):
    subprocess.run(
        ["curl", "-sSf", "-o", "/dev/null", "-H", "Content-Type: application/octet-stream",
         *fields(sandbox), "-T", binary, "-X", "POST", f"{broker.url}/files?path={path}"],
        check=True)
    run(broker, sandbox, "/bin/chmod", "+x", path)


def upload_source(broker, sandbox, source, path):
    with tempfile.TemporaryDirectory() as scratch:
        binary = Path(scratch) / "program"
        compile_program(source, binary)
        upload(broker, sandbox, binary, path)

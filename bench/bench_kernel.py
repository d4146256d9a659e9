# SPDX-License-Identifier: Apache-2.0
"""What cells cost, beside a Jupyter server with ipykernel on the same machine.

    build/venv/bin/python bench/bench_kernel.py [first|context|cells|session|print|memory]...

Ours are run through broker, channel and envd: with IPython (template code-interpreter-v1), which
runs the cells of ipykernel too, and without (base). Jupyter's server is spoken to directly on the
loopback, by a client that lets it wait for nothing, so the comparison is in its favour. In turns,
so that a busy moment hits all.
"""

import contextlib
import http.client
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.uri import parse_uri

from sandbox_programs import start
from support import Api, figure, health, pids_of, quantile, routing, running_broker

from conftest import free_port, wait_for  # found by support's path

TEMPLATES = {"with IPython": "code-interpreter-v1", "plain": "base"}
ROUNDS, CELLS, CONTEXTS = 6, 100, 10
# "z" is nowhere in what is around the text.
PRINT_LINE, PRINT_LINES = 100, 1_000_000
PRINT = f"line = 'z' * {PRINT_LINE - 1}\nfor _ in range({PRINT_LINES}): print(line)"


def ms_of(call, *args):
    """The milliseconds that a call took, and what it returned."""
    at = time.perf_counter()
    value = call(*args)
    return (time.perf_counter() - at) * 1e3, value


class Ours:
    """A sandbox, and one kept connection to its interpreter."""

    def __init__(self, broker, template):
        self.broker = broker
        api = Api(broker)
        wanted = {"templateID": template, "timeout": 1800}
        self.sandbox = api.ask("POST", "/v2/sandboxes", wanted)[0]
        api.close()
        health(broker, self.sandbox)
        self.fields = "".join(f"{name}: {value}\r\n" for name, value in
                              {**routing(self.sandbox), "E2b-Sandbox-Port": "49999"}.items())
        self.socket = socket.create_connection(("127.0.0.1", broker.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, path, **members):
        body = json.dumps(members)
        self.socket.sendall(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"{self.fields}Content-Length: {len(body)}\r\n\r\n{body}".encode())

    def run(self, code, context=None):
        """A cell to its end. Return: how many "z" it printed."""
        self.post("/execute", code=code, **({"context_id": context} if context else {}))
        count, tail = 0, b""
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            piece = self.socket.recv(1 << 20)
            assert piece, tail
            count += piece.count(b"z")
            tail = (tail + piece)[-4096:]
        assert b'"error"' not in tail and b"end_of_execution" in tail, tail
        return count

    def new_context(self):
        self.post("/contexts", language="python")
        answer = b""
        while b"}" not in answer:
            answer += self.socket.recv(65536)
        return json.loads(answer[answer.index(b"{"):answer.index(b"}") + 1])["id"]

    def first_of_new_context(self):
        context = self.new_context()
        self.run("1+1", context)
        return context

    def drop(self, context):
        c = http.client.HTTPConnection("127.0.0.1", self.broker.port, timeout=60)
        c.request("DELETE", f"/contexts/{context}",
                  headers={**routing(self.sandbox), "E2b-Sandbox-Port": "49999"})
        assert c.getresponse().status == 200
        c.close()

    def kernels(self):
        """Pids of the Python processes in the sandbox, the spare kernel's too."""
        return pids_of(self.sandbox, "python3")

    def close(self):
        self.socket.close()
        api = Api(self.broker)
        api.kill(self.sandbox)
        api.close()


class Channel:
    """One Jupyter kernel's WebSocket."""

    def __init__(self, port, kernel):
        self.kernel, self.session = kernel, uuid.uuid4().hex
        self.protocol = ClientProtocol(
            parse_uri(f"ws://127.0.0.1:{port}/api/kernels/{kernel}/channels"), max_size=None)
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.protocol.send_request(self.protocol.connect())
        self.flush()
        self.pending = []
        while not self.protocol.events_received():
            self.protocol.receive_data(self.socket.recv(1 << 16))
        assert self.protocol.state.name == "OPEN", self.protocol.handshake_exc

    def flush(self):
        self.socket.sendall(b"".join(self.protocol.data_to_send()))

    def messages(self):
        """Whole messages, as they come."""
        parts = []
        while True:
            # its small messages wait for our acknowledgements, which the system would delay
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            piece = self.socket.recv(1 << 20)
            assert piece, "the server closed the connection"
            self.protocol.receive_data(piece)
            for frame in self.protocol.events_received():
                if frame.opcode in (Opcode.TEXT, Opcode.CONT):
                    parts.append(frame.data)
                    if frame.fin:
                        yield b"".join(parts)
                        parts.clear()
            self.flush()  # answers to pings

    def run(self, code):
        message = {
            "header": {"msg_id": uuid.uuid4().hex, "session": self.session, "username": "",
                       "msg_type": "execute_request", "version": "5.3"},
            "parent_header": {}, "metadata": {}, "channel": "shell",
            "content": {"code": code, "silent": False, "store_history": True,
                        "user_expressions": {}, "allow_stdin": False}}
        ours = message["header"]["msg_id"].encode()
        self.protocol.send_text(json.dumps(message).encode())
        self.flush()
        count, replied, idle = 0, False, False
        for data in self.messages():
            if b'"stream"' in data[:400]:
                count += data.count(b"z")
                continue
            if ours not in data:
                continue
            said = json.loads(data)
            assert said["msg_type"] != "error", said
            replied = replied or said["msg_type"] == "execute_reply"
            idle = idle or said["content"].get("execution_state") == "idle"
            if replied and idle:
                return count

    def close(self):
        self.socket.close()


class Jupyter:
    """A server of Debian's, without its limits of rates."""

    def __init__(self, scratch):
        self.port = free_port()
        self.log = open(Path(scratch) / "jupyter.log", "ab")
        self.process = subprocess.Popen(
            ["/usr/bin/jupyter-server", "--allow-root", "--no-browser", "--ServerApp.token=",
             "--ServerApp.password=", f"--port={self.port}", "--ServerApp.port_retries=0",
             "--ServerApp.iopub_data_rate_limit=0", "--ServerApp.iopub_msg_rate_limit=0",
             "--ServerApp.disable_check_xsrf=True", f"--ServerApp.root_dir={scratch}"],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(scratch)}, cwd=scratch,
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True)
        wait_for(self.is_ready, 60, "Jupyter's server")

    def is_ready(self):
        assert self.process.poll() is None, Path(self.log.name).read_text()
        with contextlib.suppress(OSError):
            return self.ask("GET", "/api") is not None

    def ask(self, method, path):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        c.request(method, path)
        answer = c.getresponse()
        body = answer.read()
        c.close()
        assert answer.status < 300, (method, path, answer.status, body)
        return json.loads(body) if body else None

    def first_of_new_context(self):
        channel = Channel(self.port, self.ask("POST", "/api/kernels")["id"])
        channel.run("1+1")
        return channel

    def drop(self, channel):
        channel.close()
        self.ask("DELETE", f"/api/kernels/{channel.kernel}")

    def kernels(self):
        """Pids of the server's kernels."""
        out = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True)
        return [int(pid) for pid in out.stdout.split()]

    def close(self):
        for kernel in self.ask("GET", "/api/kernels"):
            self.ask("DELETE", f"/api/kernels/{kernel['id']}")
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


@contextlib.contextmanager
def jupyter():
    with tempfile.TemporaryDirectory(prefix="adit-bench-jupyter-") as scratch:
        server = Jupyter(scratch)
        try:
            yield server
        finally:
            server.close()


@contextlib.contextmanager
def all_three(broker):
    """Sandboxes by name whose first cell was run, and a Jupyter server with a kernel."""
    with jupyter() as server:
        ours = {name: Ours(broker, template) for name, template in TEMPLATES.items()}
        for one in ours.values():
            one.run("1+1")
        yield ours, server
        for one in ours.values():
            one.close()


def median_by_name(rounds, measures):
    """Measure in turns. Return: the values of each, sorted."""
    seen = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            seen[name] += measure()
    return {name: sorted(values) for name, values in seen.items()}


def first(broker):
    """From a sandbox that is ready, and from the start of a Jupyter server, to the first result."""
    def of_ours(template):
        one = Ours(broker, template)
        took, _ = ms_of(one.run, "1+1")
        one.close()
        return [took]

    def of_jupyter():
        at = time.perf_counter()
        with jupyter() as server:
            ready = time.perf_counter()
            server.first_of_new_context()
            took = time.perf_counter()
        of_kernel.append((took - ready) * 1e3)
        return [(took - at) * 1e3]

    of_kernel = []
    measures = {name: lambda t=template: of_ours(t) for name, template in TEMPLATES.items()}
    seen = median_by_name(ROUNDS, {**measures, "Jupyter": of_jupyter})
    jupyter_ms = statistics.median(seen.pop("Jupyter"))
    for name, values in seen.items():
        p50 = statistics.median(values)
        figure(p50 < jupyter_ms, f"sandbox ready to first result, {name}", "less than Jupyter",
               f"p50 {p50:.0f} ms; Jupyter {jupyter_ms:.0f}, of which kernel "
               f"{statistics.median(of_kernel):.0f}")


def context(broker):
    """A new context and its first result. In the others' turns a spare kernel may start."""
    def measure(one):
        took, made = ms_of(one.first_of_new_context)
        one.drop(made)
        return [took]

    with all_three(broker) as (ours, server):
        subjects = {**ours, "Jupyter": server}
        seen = median_by_name(2 * ROUNDS, {n: lambda s=s: measure(s) for n, s in subjects.items()})
    jupyter_ms = statistics.median(seen.pop("Jupyter"))
    for name, values in seen.items():
        p50 = statistics.median(values)
        figure(jupyter_ms >= 5 * p50, f"new context and its first result, {name}",
               "a fifth of Jupyter", f"p50 {p50:.1f} ms, max {values[-1]:.0f}; Jupyter "
               f"{jupyter_ms:.0f}")


def cells(broker):
    """The round trip of a cell in a context that is there."""
    with all_three(broker) as (ours, server):
        subjects = {**ours, "Jupyter": server.first_of_new_context()}
        for one in subjects.values():
            one.run("1+1")
        seen = median_by_name(ROUNDS, {
            n: lambda s=s: [ms_of(s.run, "1+1")[0] for _ in range(CELLS)]
            for n, s in subjects.items()})
    least = seen["Jupyter"][0]
    theirs = statistics.median(seen.pop("Jupyter"))
    for name, values in seen.items():
        p50 = statistics.median(values)
        figure(p50 < 1 and theirs >= 5 * p50, f"round trip of 1+1, {name}",
               "p50 < 1 ms, 1/5 Jupyter",
               f"p50 {p50:.2f} ms, p99 {quantile(values, .99):.2f}, min {values[0]:.2f}; Jupyter "
               f"{theirs:.2f}, min {least:.2f}: {theirs / p50:.1f} x")


class Session:
    """A session, and one kept connection to its API."""

    def __init__(self, broker):
        self.path = f"/api/v1/session/{uuid.uuid4().hex}/sandbox/"
        self.headers = {"X-API-Key": broker.env()["E2B_API_KEY"], "Content-Type": "application/json"}
        self.connection = http.client.HTTPConnection("127.0.0.1", broker.port, timeout=60)

    def ask(self, verb, **members):
        self.connection.request("POST", self.path + verb, json.dumps(members), self.headers)
        answer = self.connection.getresponse()
        body = answer.read()
        assert answer.status in (200, 204), (answer.status, body)
        return json.loads(body) if body else None

    def run(self, code):
        result = self.ask("execute", code=code)
        assert result["success"] and result["error"] is None, result

    def close(self):
        self.ask("stop")
        self.connection.close()


def session(broker):
    """An execution of a session beside the same cell in a context: what the session adds."""
    subjects = {"cell": Ours(broker, TEMPLATES["with IPython"]), "session": Session(broker)}
    for one in subjects.values():
        one.run("1+1")
    seen = median_by_name(ROUNDS, {
        n: lambda s=s: [ms_of(s.run, "1+1")[0] for _ in range(CELLS)]
        for n, s in subjects.items()})
    cell, p50 = (statistics.median(seen[name]) for name in subjects)
    figure(p50 < 5, "execution of 1+1 in a session", "p50 < 5 ms",
           f"p50 {p50:.2f} ms, p99 {quantile(seen['session'], .99):.2f}, min "
           f"{seen['session'][0]:.2f}; the same cell in a context {cell:.2f}")
    for one in subjects.values():
        one.close()


def print_much(broker):
    """A million lines of a hundred bytes."""
    size, expected = PRINT_LINE * PRINT_LINES, (PRINT_LINE - 1) * PRINT_LINES
    with all_three(broker) as (ours, server):
        rates, words = {}, {}
        for name, one in {**ours, "Jupyter": server.first_of_new_context()}.items():
            took, count = ms_of(one.run, PRINT)
            rates[name] = size / took / 1e3
            words[name] = f"{rates[name]:.0f} MB/s, {expected - count} bytes lost"
    for name in ours:
        is_whole = words[name].endswith(" 0 bytes lost")
        figure(is_whole and rates[name] > rates["Jupyter"],
               f"a cell prints 100 MB in lines, {name}", "whole, above Jupyter",
               f"{words[name]}; Jupyter {words['Jupyter']}")


def private_kib(pid):
    """What no other process shares: what one more of its kind costs."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(n) for n in re.findall(r"Private_\w+:\s+(\d+)", rollup))


def idle_pythons(broker):
    """The memory of each of some that do nothing, in a sandbox that has run no cell."""
    one = Ours(broker, TEMPLATES["plain"])
    for _ in range(CONTEXTS):
        stream = start(broker, one.sandbox, "/usr/bin/python3", "-uc",
                       "import time; print('up'); time.sleep(1800)")
        while b"up" not in stream.output:
            assert stream.read(), stream.end
    each = statistics.median(map(private_kib, one.kernels()))
    one.close()
    return each


def memory(broker):
    """Of each of some contexts that have run a cell, beyond that of a Python that does nothing."""
    python = idle_pythons(broker)

    def more_mib(subject):
        for _ in range(CONTEXTS):
            subject.first_of_new_context()
        pids = subject.kernels()
        assert len(pids) >= CONTEXTS
        return (statistics.median(map(private_kib, pids)) - python) / 1024

    with all_three(broker) as (ours, server):
        theirs = more_mib(server)
        server_mib = private_kib(server.process.pid) / 1024
        for name, one in ours.items():
            aim = 2 if name == "plain" else None
            more = more_mib(one)
            figure(aim and more < aim, f"an idle context beyond Python, {name}",
                   f"< {aim} MiB" if aim else "-",
                   f"{more:.1f} MiB; Jupyter {theirs:.1f}, and its server {server_mib:.0f}; Python "
                   f"{python / 1024:.1f}")


PARTS = {"first": first, "context": context, "cells": cells, "session": session,
         "print": print_much, "memory": memory}


def main():
    with running_broker() as broker:
        for part in sys.argv[1:] or PARTS:
            PARTS[part](broker)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Figures of the code interpreter, beside jupyter-server with ipykernel on the same machine.

    build/venv/bin/python bench/bench_interpreter.py

The peer runs on the host itself and is asked over the loopback, without a broker and a sandbox in
between. Both run IPython: the template is that of `make template-interpreter`. The plain kernel, of
the base template, is told of beside it.
"""

import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import tempfile
import time
import uuid

from websockets.sync.client import connect

from support import Api, figure, kill, quantile, routing, running_broker

MEGABYTES = "for i in range(1_000_000): print(f'{i:099d}')"
ROUNDS = 200


def milliseconds(call):
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e3


class Ours:
    """Cells and contexts of a sandbox, over one kept connection."""

    def __init__(self, broker, template):
        self.broker = broker
        api = Api(broker)
        self.sandbox = api.ask("POST", "/v2/sandboxes", {"templateID": template, "timeout": 1800})[0]
        api.close()
        self.headers = {**routing(self.sandbox), "E2b-Sandbox-Port": "49999",
                        "Content-Type": "application/json",
                        "X-Access-Token": self.sandbox["envdAccessToken"]}
        self.connection = http.client.HTTPConnection("127.0.0.1", broker.port, timeout=120)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, path, body):
        self.connection.request("POST", path, json.dumps(body), self.headers)
        answer = self.connection.getresponse()
        data = answer.read()
        assert answer.status == 200, data
        return data

    def run(self, code, context=None):
        data = self.ask("/execute", {"code": code, "context_id": context})
        assert data.endswith(b'{"type":"end_of_execution"}\n'), data[-200:]
        return data

    def new_context(self):
        return json.loads(self.ask("/contexts", {}))["id"]

    def close(self):
        self.connection.close()
        kill(self.broker, self.sandbox)


class Jupyter:
    """The same of a Jupyter server: a kernel for each context, a WebSocket to it."""

    def __init__(self, port):
        self.port = port
        self.sockets = {}
        self.open = contextlib.ExitStack()

    def new_context(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", "/api/kernels", "{}", {"Content-Type": "application/json"})
        kernel = json.loads(connection.getresponse().read())["id"]
        connection.close()
        address = f"ws://127.0.0.1:{self.port}/api/kernels/{kernel}/channels"
        self.sockets[kernel] = self.open.enter_context(connect(address, max_size=None))
        return kernel

    def run(self, code, context):
        session, asked = self.sockets[context], uuid.uuid4().hex
        session.send(json.dumps({
            "channel": "shell", "parent_header": {}, "metadata": {},
            "header": {"msg_id": asked, "msg_type": "execute_request", "session": asked,
                       "username": "", "version": "5.3", "date": ""},
            "content": {"code": code, "silent": False, "store_history": True,
                        "user_expressions": {}, "allow_stdin": False, "stop_on_error": True}}))
        while True:
            message = json.loads(session.recv(timeout=120))
            if message["parent_header"].get("msg_id") == asked and \
                    message["content"].get("execution_state") == "idle":
                return

    def close(self):
        self.open.close()


@contextlib.contextmanager
def jupyter_server():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="adit-bench-") as scratch:
        server = subprocess.Popen(
            ["/usr/bin/jupyter-server", "--no-browser", "--allow-root", "--ip=127.0.0.1",
             f"--port={port}", "--ServerApp.token=", "--ServerApp.password=",
             "--ServerApp.disable_check_xsrf=True", "--ServerApp.iopub_data_rate_limit=1e12",
             "--ServerApp.iopub_msg_rate_limit=1e12"],
            cwd=scratch, env={**os.environ, "HOME": scratch, "PATH": "/usr/bin:/bin"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                assert server.poll() is None and time.monotonic() < until, "no Jupyter server"
                time.sleep(0.1)
            yield Jupyter(port)
        finally:
            server.terminate()
            server.wait(30)


def measure(side):
    """Milliseconds: the first context with its first cell, another, 1 + 1; seconds for 100 MB."""
    seen = {}
    first = []
    seen["first"] = milliseconds(lambda: (first.append(side.new_context()), side.run("1", first[0])))
    took = []
    for _ in range(3):
        time.sleep(4)  # a spare kernel starts meanwhile, if there is one
        took.append(milliseconds(lambda: side.run("1", side.new_context())))
    seen["context"] = statistics.median(took)
    took = sorted(milliseconds(lambda: side.run("1 + 1", first[0])) for _ in range(ROUNDS))
    seen["p50"], seen["p99"] = statistics.median(took), quantile(took, .99)
    seen["bulk"] = milliseconds(lambda: side.run(MEGABYTES, first[0])) / 1e3
    return seen


def anonymous_kib(data):
    return int(json.loads(data.splitlines()[1])["text"])


def memory(broker):
    """What an idle context has beyond a Python that only tells it."""
    tell = ("[int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('RssAnon')][0]")
    ours = Ours(broker, "base")
    bare = int(json.loads(ours.run(
        f"!python3 -c \"print({tell})\"").splitlines()[1])["text"])
    context = ours.new_context()
    kernel = anonymous_kib(ours.run(tell, context))
    ours.close()
    figure(kernel - bare < 2048, "memory of a context of the plain kernel beyond Python's", "< 2 MiB",
           f"{kernel - bare} KiB beyond {bare}")


def main():
    with running_broker() as broker:
        ours = Ours(broker, "code-interpreter-v1")
        seen = measure(ours)
        ours.close()
        plain_side = Ours(broker, "base")
        plain = measure(plain_side)
        plain_side.close()
        with jupyter_server() as jupyter:
            peer = measure(jupyter)
            jupyter.close()
        figure(seen["p50"] < 1 and seen["p50"] * 5 < peer["p50"], "1 + 1 through the broker",
               "p50 < 1 ms, a fifth of the peer's",
               f"p50 {seen['p50']:.2f} ms, p99 {seen['p99']:.2f} ms (plain {plain['p50']:.2f}, "
               f"{plain['p99']:.2f}; peer {peer['p50']:.2f}, {peer['p99']:.2f})")
        figure(seen["first"] < peer["first"], "a sandbox's first context and cell", "below the peer's",
               f"{seen['first']:.0f} ms (plain {plain['first']:.0f}, peer {peer['first']:.0f})")
        figure(seen["context"] * 5 < peer["context"], "another context and its first cell",
               "a fifth of the peer's",
               f"{seen['context']:.1f} ms (plain {plain['context']:.1f}, peer {peer['context']:.0f})")
        figure(seen["bulk"] < peer["bulk"], "a cell that prints 100 MB", "above the peer's",
               f"{100 / seen['bulk']:.0f} MB/s (plain {100 / plain['bulk']:.0f}, "
               f"peer {100 / peer['bulk']:.0f})")
        memory(broker)


if __name__ == "__main__":
    main()

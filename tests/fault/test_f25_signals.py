# SPDX-License-Identifier: Apache-2.0
"""F25: signals. A SIGHUP storm and SIGPIPE harm nothing; SIGTERM under load drains what runs."""

import contextlib
import os
import signal
import socket
import sys
import threading
import time

import requests
from e2b import Sandbox

from conftest import wait_for
from support import routing

SLOW_SERVER = """
import http.server, socketserver, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "20")
        self.end_headers()
        for _ in range(20):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.1)

    def log_message(self, *_):
        pass

class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    request_queue_size = 100

Server(("127.0.0.1", 8000), Handler).serve_forever()
"""
ANSWER = b"x" * 20
CLIENTS = 50
ASKING = 300  # more than a loop accepts in one turn


def test_a_sighup_storm_and_vanishing_readers_harm_nothing(own_broker):
    broker = own_broker()
    sandbox = Sandbox.create(timeout=300)
    stop = threading.Event()

    keeper = broker.child("adit-keeper")
    pids = [broker.process.pid, keeper, broker.child("adit-launcher", of=keeper),
            broker.scheduler()]
    assert all(pids), pids

    def storm():
        while not stop.wait(0.001):
            for pid in pids:
                os.kill(pid, signal.SIGHUP)
                os.kill(pid, signal.SIGPIPE)

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        for _ in range(20):
            assert sandbox.commands.run("echo on").stdout == "on\n"
        assert Sandbox.create(timeout=60).kill()
    finally:
        stop.set()
        thread.join()
    assert broker.process.poll() is None
    assert keeper == broker.child("adit-keeper") and pids[3] == broker.scheduler()
    assert sandbox.kill()


def slow_sandbox():
    """A sandbox with a server whose answers take two seconds."""
    sandbox = Sandbox.create(timeout=300)
    sandbox.files.write("/home/user/slow.py", SLOW_SERVER)
    sandbox.commands.run("exec python3 slow.py", background=True, timeout=0)
    wait_for(lambda: ":1F40 " in sandbox.files.read("/proc/net/tcp"), 10, "the slow server")
    return sandbox


def restarted(broker, sandbox):
    """A broker that was told to end ends well, and the next one goes on."""
    assert broker.process.wait(35) == 0
    broker.start()
    assert Sandbox.connect(sandbox.sandbox_id).commands.run("echo on").stdout == "on\n"
    return sandbox.kill()


def test_sigterm_under_load_lets_running_requests_finish(own_broker):
    broker = own_broker()
    sandbox = slow_sandbox()
    begun, results = threading.Semaphore(0), []

    def fetch():
        try:
            with requests.get(broker.url, headers=routing(sandbox, 8000), timeout=30,
                              stream=True) as answer:
                begun.release()
                results.append(answer.content)
        except requests.RequestException as e:
            begun.release()
            results.append(e)

    clients = [threading.Thread(target=fetch) for _ in range(CLIENTS)]
    for c in clients:
        c.start()
    for _ in clients:
        assert begun.acquire(timeout=20)
    time_of_term = time.monotonic()
    broker.process.send_signal(signal.SIGTERM)
    for c in clients:
        c.join(35)
    assert broker.process.wait(35) == 0
    print(f"\nF25: {results.count(ANSWER)} of {CLIENTS} finished; the broker ended "
          f"{time.monotonic() - time_of_term:.2f} s after SIGTERM", file=sys.stderr)
    assert results == [ANSWER] * CLIENTS
    assert restarted(broker, sandbox)


def test_sigterm_does_not_drop_who_has_connected_and_asked(own_broker):
    """The broker stands still while they do, so that it has accepted and read nothing of theirs."""
    broker = own_broker()
    sandbox = slow_sandbox()
    head = "".join(f"{k}: {v}\r\n" for k, v in routing(sandbox, 8000).items())
    broker.process.send_signal(signal.SIGSTOP)
    clients = [socket.create_connection(("127.0.0.1", broker.port), timeout=30)
               for _ in range(ASKING)]
    for c in clients:
        c.sendall(f"GET / HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode())
    broker.process.send_signal(signal.SIGTERM)
    broker.process.send_signal(signal.SIGCONT)
    answers = []
    for c in clients:
        with c, contextlib.suppress(ConnectionError):
            answers.append(b"".join(iter(lambda: c.recv(65536), b"")))  # noqa: B023
    assert [a.rpartition(b"\r\n\r\n")[2] for a in answers] == [ANSWER] * ASKING
    assert restarted(broker, sandbox)

# SPDX-License-Identifier: Apache-2.0
"""The server that test_ports.py and test_browser.py run in a sandbox: guest_server.py ADDRESS PORT.

GET /sse?NAME   one server-sent event at once, the next after each POST /next?NAME
GET /chunks?n=  n chunks of 64 KiB, chunked
GET /upgrade    a WebSocket that echoes messages; other upgrades echo bytes
GET /page       the page of test_browser.py, page.html beside this file
all others      what was asked, as JSON: method, path, headers, the body's length and SHA-256
"""

import base64
import collections
import hashlib
import json
import socket
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PART = bytes(range(256)) * 256
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
steps = collections.defaultdict(lambda: threading.Semaphore(0))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def body(self):
        """The body's length and hash; chunked or counted."""
        size, digest = 0, hashlib.sha256()
        if self.headers.get("Transfer-Encoding") == "chunked":
            while n := int(self.rfile.readline(), 16):
                data = self.rfile.read(n)
                self.rfile.readline()
                size += len(data)
                digest.update(data)
            self.rfile.readline()
            return size, digest.hexdigest()
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            data = self.rfile.read(min(left, 1 << 16))
            size, left = size + len(data), left - len(data)
            digest.update(data)
        return size, digest.hexdigest()

    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Connection", str(self.client_address[1]))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def echo(self):
        size, digest = self.body()
        if self.path.startswith("/next"):
            steps[urlsplit(self.path).query].release()
        seen = {"method": self.command, "path": self.path, "headers": self.headers.items(),
                "length": size, "sha256": digest}
        self.answer("application/json", json.dumps(seen).encode())

    def chunked(self, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def events(self):
        self.chunked("text/event-stream")
        for n in range(1000):
            self.chunk(b"data: %d\n\n" % n)
            steps[urlsplit(self.path).query].acquire()

    def many_chunks(self):
        self.chunked("application/octet-stream")
        for _ in range(int(parse_qs(urlsplit(self.path).query)["n"][0])):
            self.chunk(PART)
        self.chunk(b"")

    def upgrade(self):
        self.close_connection = True
        protocol = self.headers.get("Upgrade", "")
        self.send_response(101)
        self.send_header("Upgrade", protocol)
        self.send_header("Connection", "Upgrade")
        if protocol == "websocket":
            key = self.headers["Sec-WebSocket-Key"].encode() + GUID
            accept = base64.b64encode(hashlib.sha1(key).digest()).decode()
            self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.messages() if protocol == "websocket" else self.bytes_back()

    def bytes_back(self):
        while data := self.connection.recv(65536):
            self.connection.sendall(data)

    def messages(self):
        while head := self.rfile.read(2):
            length = head[1] & 127
            if length > 125:
                length = int.from_bytes(self.rfile.read(2 if length == 126 else 8), "big")
            mask = self.rfile.read(4)
            data = self.rfile.read(length)
            whole = int.from_bytes(data, "big") ^ int.from_bytes(
                (mask * (length // 4 + 1))[:length], "big")
            size = bytes([length]) if length < 126 else \
                b"\x7e" + struct.pack("!H", length) if length < 65536 else \
                b"\x7f" + struct.pack("!Q", length)
            self.wfile.write(head[:1] + size + whole.to_bytes(length, "big"))
            self.wfile.flush()
            if head[0] & 15 == 8:
                return

    def do_GET(self):
        path = urlsplit(self.path).path
        if "upgrade" in self.headers.get("Connection", "").lower():
            self.upgrade()
        elif path == "/sse":
            self.events()
        elif path == "/chunks":
            self.many_chunks()
        elif path == "/page":
            self.answer("text/html; charset=utf-8",
                        (Path(__file__).parent / "page.html").read_bytes())
        elif path.endswith(".js"):
            self.answer("text/javascript", (Path(__file__).parent / path[1:]).read_bytes())
        else:
            self.echo()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_PROPFIND = echo


class Server(ThreadingHTTPServer):
    daemon_threads = True
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
    request_queue_size = 128


if __name__ == "__main__":
    server = Server((sys.argv[1], int(sys.argv[2])), Handler)
    print("ready", flush=True)
    server.serve_forever()

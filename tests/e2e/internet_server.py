# SPDX-License-Identifier: Apache-2.0
"""The servers of internet.py: each answers with the address that it was asked at."""

import socket
import ssl
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BIG = 32 << 20


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        here = self.connection.getsockname()[0].encode()
        if self.path == "/secret":
            here = self.headers.get("X-Secret", "none").encode()
        if self.path == "/big":
            self.send_response(200)
            self.send_header("Content-Length", str(BIG))
            self.end_headers()
            for _ in range(BIG >> 16):
                self.wfile.write(b"x" * (1 << 16))
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(here)))
        self.end_headers()
        self.wfile.write(here)

    def do_POST(self):
        size = 0
        while size < int(self.headers["Content-Length"]):
            size += len(self.rfile.read(min(1 << 16, int(self.headers["Content-Length"]) - size)))
        self.send_response(200)
        body = str(size).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def echo():
    """Port 7: bytes back until the end, which is answered by one."""
    listener = socket.create_server(("0.0.0.0", 7))
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=serve_echo, args=(conn,), daemon=True).start()


def serve_echo(conn):
    with conn:
        while data := conn.recv(65536):
            conn.sendall(data)
        conn.sendall(b"END")


def names():
    """Port 53: a name server for names that are all of one address, as on a shared host."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((ADDRESS, 53))
    while True:
        query, peer = s.recvfrom(4096)
        end = query.index(b"\0", 12) + 5
        kind, known = query[end - 3], query[end - 17:].startswith(b"\x07example\x03net")
        answer = (b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(ADDRESS)
                  if known and kind == 1 else b"")
        flags = 0x8180 if known else 0x8183
        s.sendto(query[:2] + struct.pack(">HHHHH", flags, 1, bool(answer), 0, 0) + query[12:end]
                 + answer, peer)


ADDRESS, CERTIFICATE = sys.argv[1:]
print("here", flush=True)
sys.stdin.readline()
secure = ThreadingHTTPServer(("0.0.0.0", 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE)
secure.socket = context.wrap_socket(secure.socket, server_side=True)
threading.Thread(target=secure.serve_forever, daemon=True).start()
threading.Thread(target=names, daemon=True).start()
server = ThreadingHTTPServer(("0.0.0.0", 80), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
threading.Thread(target=echo, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An agent that has turned against its host: a sandbox's PID 1 in place of envd (test F26).

It answers /init and /health as envd does, so that the sandbox runs. A request's path names what it
does instead of answering; a channel to a guest port above 49999, or any tunnel, names it by port.
"""

import os
import socket
import sys
import threading

FOREVER = 1 << 40


def flood(s, piece, limit=FOREVER):
    for _ in range(0, limit, len(piece)):
        s.sendall(piece)


HEAD = b"HTTP/1.1 200 OK\r\n"
EVIL = {
    "endless-head": lambda s: (s.sendall(HEAD), flood(s, b"X-A: " + b"a" * 1000 + b"\r\n")),
    "endless-line": lambda s: flood(s, b"HTTP/1.1 200 " + b"O" * 65536),
    "interim-flood": lambda s: flood(s, b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "unasked-101": lambda s: s.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nraw"),
    "two-replies": lambda s: s.sendall(
        (HEAD + b"Content-Length: 2\r\n\r\nok") + HEAD + b"Content-Length: 4\r\n\r\nevil"),
    "endless-chunk-size": lambda s: (
        s.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n"), flood(s, b"0" * 4096)),
    "chunk-extensions": lambda s: (
        s.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
        flood(s, b"1;" + b"x" * 8000 + b"\r\na\r\n")),
    "endless-trailers": lambda s: (
        s.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"), flood(s, b"X-T: a\r\n" * 1000)),
    "short-body": lambda s: s.sendall(HEAD + b"Content-Length: 10\r\n\r\nabc"),
    "both-lengths": lambda s: s.sendall(
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    "bare-cr": lambda s: s.sendall(HEAD + b"X: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "no-http": lambda s: s.sendall(os.urandom(100_000)),
    "hang-up": lambda s: None,
    "endless-body": lambda s: (
        s.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
        flood(s, b"10000\r\n" + b"b" * 65536 + b"\r\n")),
    "silence": lambda s: s.recv(1),
}
HANDSHAKES = {
    50001: lambda s: s.recv(1),  # says nothing
    50002: lambda s: flood(s, b"OK " + b"1" * 4096),
    50003: lambda s: s.sendall(b"ERR \0\xff\x1b[31m\r\n"),
    50004: lambda s: s.sendall(os.urandom(64)),
    50005: lambda s: s.sendall(b"O"),
}


def line(s):
    text = b""
    while not text.endswith(b"\n"):
        byte = s.recv(1)
        if not byte:
            raise ConnectionError
        text += byte
    return text


def requests(s):
    while True:
        head, left = line(s), 0
        while (one := line(s)) != b"\r\n":
            if one.lower().startswith(b"content-length:"):
                left = int(one.split(b":")[1])
        path = head.split()[1].decode()
        while left:
            left -= len(s.recv(left))
        if path.startswith("/evil/"):
            EVIL[path[6:]](s)
            return
        s.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def serve(s):
    try:
        port = int(line(s).split()[1])
        if port == 1024:
            s.sendall(b"OK 1024\n")
            port = int(line(s).split()[1])
        if port in HANDSHAKES:
            HANDSHAKES[port](s)
            return
        s.sendall(b"OK 7\n")
        requests(s)
    except (OSError, ConnectionError):
        pass
    finally:
        s.close()


listener = socket.socket(fileno=int(sys.argv[sys.argv.index("--channel-fd") + 1]))
listener.setblocking(True)
while True:
    peer, _ = listener.accept()
    peer.setblocking(True)
    threading.Thread(target=serve, args=(peer,), daemon=True).start()

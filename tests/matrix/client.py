# SPDX-License-Identifier: Apache-2.0
"""Many small requests, exactly as they are given, over a few connections of each kind.

A request is a `Case`. Nothing is added to it but what its kind of connection needs: framing, the lines
of an Upgrade, pseudo-header fields. What a `Case` calls the host is the Host line or `:authority`.
"""

import asyncio
import ssl
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.events
import h2.exceptions

WORKERS = 4
ANSWER_S = 30
UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
           ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
# HTTP/1.1, the same as an Upgrade, HTTP/2, HTTP/2 with the extended CONNECT of WebSockets, over TLS
KINDS = ("h1", "upgrade", "h2", "h2-websocket", "tls-h1", "tls-h2")


@dataclass(frozen=True)
class Case:
    """`expected`: a status, or a set of those that are right."""
    name: str
    method: str
    target: str
    expected: object
    headers: tuple = ()
    host: str = "localhost"
    kind: str = "h1"


@dataclass
class Result:
    case: Case
    status: int = 0
    body: bytes = b""

    @property
    def is_right(self):
        expected = self.case.expected
        return self.status in (expected if isinstance(expected, (set, frozenset)) else {expected})

    def __str__(self):
        c = self.case
        return (f"{c.kind} {c.method} {c.target} host={c.host!r} {c.name}: {self.status}, "
                f"expected {c.expected}: {self.body[:120]!r}")


@dataclass
class Door:
    """Where to: `context` is for the kinds of TLS."""
    port: int
    tls_port: int = 0
    context: ssl.SSLContext = None
    name: str = ""

    async def open(self, kind):
        if not kind.startswith("tls"):
            return await asyncio.open_connection("127.0.0.1", self.port)
        self.context.set_alpn_protocols(["h2" if kind == "tls-h2" else "http/1.1"])
        return await asyncio.open_connection("127.0.0.1", self.tls_port, ssl=self.context,
                                             server_hostname=self.name)


class Http1:
    """One connection, one request at a time; opened again whenever the server closed it."""

    def __init__(self, door, kind):
        self.door, self.kind, self.reader, self.writer = door, kind, None, None

    def text(self, case):
        lines = [f"{case.method} {case.target} HTTP/1.1", f"Host: {case.host}"]
        lines += [f"{k}: {v}" for k, v in case.headers]
        if case.kind == "upgrade":
            lines += [f"{k}: {v}" for k, v in UPGRADE]
        elif case.method in ("POST", "PUT", "PATCH"):
            lines.append("Content-Length: 0")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    async def ask(self, case):
        fresh = self.writer is None
        if fresh:
            self.reader, self.writer = await self.door.open(self.kind)
        self.writer.write(self.text(case))
        try:
            return await asyncio.wait_for(self.answer(case), ANSWER_S)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.close()
            if fresh:
                raise
            return await self.ask(case)  # the server closed it after the request before

    async def answer(self, case):
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        if status == 101 or (status == 200 and case.method == "CONNECT"):
            self.close()
            return status, b""
        body = await self.body(case, status, headers)
        if headers.get("connection", "").lower() == "close":
            self.close()
        return status, body

    async def body(self, case, status, headers):
        if case.method == "HEAD" or status in (204, 304):
            return b""
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            self_closing = await self.reader.read()
            self.close()
            return self_closing
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return body

    def close(self):
        if self.writer:
            self.writer.close()
        self.writer = None


class Http2:
    """One connection, one stream at a time; what h2 would mend or refuse is sent as it is."""

    def __init__(self, door, kind):
        self.door, self.kind, self.writer = door, kind, None

    async def open(self):
        self.reader, self.writer = await self.door.open(self.kind)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False,
            validate_inbound_headers=False))
        self.h2.initiate_connection()
        self.writer.write(self.h2.data_to_send())

    def fields(self, case):
        is_websocket = case.kind == "h2-websocket"
        fields = [(":method", "CONNECT" if is_websocket else case.method), (":scheme", "http"),
                  (":path", case.target), (":authority", case.host)]
        if is_websocket:
            fields += [(":protocol", "websocket"), ("sec-websocket-version", "13")]
        elif case.method in ("POST", "PUT", "PATCH"):
            fields.append(("content-length", "0"))
        return fields + [(k.lower(), v) for k, v in case.headers]

    async def ask(self, case):
        fresh = self.writer is None
        if fresh:
            await self.open()
        try:
            return await asyncio.wait_for(self.exchange(case), ANSWER_S)
        except (ConnectionError, EOFError):
            self.close()
            if fresh:
                raise
            return await self.ask(case)

    async def exchange(self, case):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, self.fields(case), end_stream=case.kind != "h2-websocket")
        self.writer.write(self.h2.data_to_send())
        status, body = 0, b""
        while True:
            bytes_in = await self.reader.read(65536)
            if not bytes_in:
                raise EOFError
            for event in self.h2.receive_data(bytes_in):
                if getattr(event, "stream_id", stream) != stream:
                    continue
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[b":status"])
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    self.end(case, stream, event)
                    return status, body
            self.writer.write(self.h2.data_to_send())

    def end(self, case, stream, event):
        if case.kind == "h2-websocket" and isinstance(event, h2.events.StreamEnded):
            try:
                self.h2.end_stream(stream)
            except h2.exceptions.StreamClosedError:
                pass  # the server has reset our side too
        self.writer.write(self.h2.data_to_send())

    def close(self):
        if self.writer:
            self.writer.close()
        self.writer = None


async def ask_all(door, cases, workers=WORKERS):
    """Every case once, in any order: its `Result`s."""
    queues, results = {}, []
    for case in cases:
        base = {"upgrade": "h1", "h2-websocket": "h2"}.get(case.kind, case.kind)
        queues.setdefault(base, []).append(case)

    async def work(kind, queue):
        connection = (Http2 if kind.endswith("h2") else Http1)(door, kind)
        while queue:
            case = queue.pop()
            try:
                results.append(Result(case, *await connection.ask(case)))
            except (OSError, EOFError, TimeoutError) as e:
                connection.close()
                results.append(Result(case, 0, repr(e).encode()))
        connection.close()

    await asyncio.gather(*(work(kind, queue) for kind, queue in queues.items()
                           for _ in range(workers)))
    return results

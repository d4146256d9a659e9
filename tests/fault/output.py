# SPDX-License-Identifier: Apache-2.0
"""Numbered output of a process and what a reader may see of it (R6, R7)."""

import base64
import http.client
import json
import re

# $1: bytes of a line's padding; $2: seconds between two lines; $3: how many. "7 xxx" to both outputs.
PROGRAM = """
import sys, time
pad, pause, count = "x" * int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
for n in range(1, count + 1):
    for out in (sys.stdout, sys.stderr):
        out.write(f"{n} {pad}\\n")
        out.flush()
    time.sleep(pause)
"""


class Broken(Exception):
    """The stream ended in another way than well."""


class Stream:
    """The answer of a streaming call of envd, on a connection of its own."""

    def __init__(self, broker, routing, token, method, message, timeout=30, headers=()):
        self.connection = http.client.HTTPConnection("127.0.0.1", broker.port, timeout=timeout)
        body = json.dumps(message).encode()
        try:
            self.connection.request(
                "POST", f"/process.Process/{method}", b"\0" + len(body).to_bytes(4, "big") + body,
                {**routing, "X-Access-Token": token, "Content-Type": "application/connect+json",
                 "Connect-Protocol-Version": "1", **dict(headers)})
            self.answer = self.connection.getresponse()
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException) as e:
            raise Broken(e) from e
        if self.answer.status != 200:
            raise Broken(f"{self.answer.status} {self.answer.read()[:200]}")

    def events(self):
        """Each event of the process; the end of the generator is a clean end of the stream."""
        while True:
            flags, length = self.take(1)[0], int.from_bytes(self.take(4), "big")
            message = json.loads(self.take(length))
            if flags & 2:
                if "error" in message:
                    raise Broken(message["error"])
                return
            yield message["event"]

    def take(self, length):
        try:
            data = self.answer.read(length)
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException) as e:
            raise Broken(e) from e
        if len(data) < length:
            raise Broken("cut off")
        return data

    def close(self):
        self.connection.close()


class Sequence:
    """Checks one output over any number of connections.

    Within a connection the numbers go up by one. The first line of a connection may be a part of
    one. From one connection to the next numbers may be missing, never come again. A line is whole
    or, where a connection ends, a beginning of one.
    """

    LINE = re.compile(rb"([0-9]+) (x*)\Z")

    def __init__(self, pad):
        self.pad, self.last, self.missing, self.connections = pad, 0, 0, 0

    def connect(self, from_start=False):
        self.rest, self.expected, self.is_first = b"", 1 if from_start else None, not from_start
        self.connections += 1

    def feed(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            if self.is_first and not (self.LINE.match(line) and len(line) > self.pad):
                self.is_first = False  # came in the middle of a line: nothing to say about it
                continue
            self.is_first = False
            self.line(line)

    def line(self, line):
        found = self.LINE.match(line)
        assert found and len(found[2]) == self.pad, f"after {self.last}: torn line {line[:60]!r}"
        n = int(found[1])
        if self.expected is None:
            assert n > self.last, f"{n} after {self.last}: came again"
            if self.last:
                self.missing += n - self.last - 1
        else:
            assert n == self.expected, f"{n} where {self.expected} was to come"
        self.last, self.expected = n, n + 1


class Reader:
    """Reads both outputs of a process, told how far by its caller; ends are looked at as well."""

    def __init__(self, pad):
        self.outputs = {"stdout": Sequence(pad), "stderr": Sequence(pad)}
        self.end = None

    def read(self, stream, enough=lambda: False, from_start=False):
        """Until the process's end (true) or until the caller has enough (false)."""
        for s in self.outputs.values():
            s.connect(from_start)
        for event in stream.events():
            assert self.end is None, "an event after the end"
            for name, data in event.get("data", {}).items():
                self.outputs[name].feed(base64.b64decode(data))
            self.end = event.get("end")
            if self.end is None and enough():
                return False
        assert self.end is not None, "a clean end without an end event"
        return True

    def headers(self):
        return {}

    def last(self):
        return min(s.last for s in self.outputs.values())


class CountingReader:
    """Comes back with the number of bytes it has, so its outputs go on where they stopped."""

    def __init__(self, pad):
        self.outputs = {"stdout": Sequence(pad), "stderr": Sequence(pad)}
        for s in self.outputs.values():
            s.connect(from_start=True)
        self.at = self.connections = 0
        self.gaps = []

    def headers(self):
        return {"Adit-Output-Offset": str(self.at)}

    def read(self, stream, enough):
        self.connections += 1
        for event in stream.events():
            if "gap" in event:
                self.gaps.append(int(event["gap"]["bytes"]))
                self.at += self.gaps[-1]
            for name, data in event.get("data", {}).items():
                data = base64.b64decode(data)
                self.at += len(data)
                if not self.gaps:  # behind one, lines are no longer whole
                    self.outputs[name].feed(data)
            if enough():
                return

    def last(self):
        return min(s.last for s in self.outputs.values())

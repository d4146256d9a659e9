# SPDX-License-Identifier: Apache-2.0
"""A process that writes numbered lines at a pace, and a reader of its stream, one of a thousand."""

import base64
import json
import socket

# Arguments: bytes of a line, milliseconds between two, how many. "00000007xxx\n", each on time.
PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    static char line[65536];
    size_t len = argc == 4 ? (size_t)atoi(argv[1]) : 0;
    long pause_ns = argc == 4 ? atol(argv[2]) * 1000000 : 0, cnt = argc == 4 ? atol(argv[3]) : 0;
    struct timespec next;
    if (len < 16 || len > sizeof(line) || clock_gettime(CLOCK_MONOTONIC, &next))
        return 2;
    memset(line, 'x', len);
    for (long n = 1; n <= cnt; n++) {
        char number[9];
        snprintf(number, sizeof(number), "%08ld", n);
        memcpy(line, number, 8);
        line[len - 1] = '\n';
        for (size_t done = 0; done < len;) {
            ssize_t put = write(1, line + done, len - done);
            if (put <= 0)
                return 1;
            done += (size_t)put;
        }
        next.tv_nsec += pause_ns;
        next.tv_sec += next.tv_nsec / 1000000000;
        next.tv_nsec %= 1000000000;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    }
    return 0;
}
"""


class OutputStream:
    """A streaming answer of envd with such lines: chunks, envelopes, events, lines."""

    def __init__(self, port, request, line=1):
        self.line, self.lines, self.is_torn, self.end = line, 0, False, None
        self.in_chunks, self.in_envelopes, self.output = b"", b"", b""
        self.has_head = False
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.sendall(request)

    def read(self):
        """What is there. False: the answer is over."""
        data = self.socket.recv(1 << 18)
        self.in_chunks += data
        if not self.has_head:
            head, found, rest = self.in_chunks.partition(b"\r\n\r\n")
            assert data and head.startswith(b"HTTP/1.1 200"[:len(head)]), head
            if not found:
                return True
            self.has_head, self.in_chunks = True, rest
        if self.take_chunks() and data:
            return True
        self.socket.close()
        return False

    def take_chunks(self):
        """False: the last one was there."""
        while b"\r\n" in self.in_chunks:
            size, _, rest = self.in_chunks.partition(b"\r\n")
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            self.in_envelopes += rest[:length]
            self.in_chunks = rest[length + 2:]
            self.take_envelopes()
            if length == 0:
                return False
        return True

    def take_envelopes(self):
        while len(self.in_envelopes) >= 5:
            length = int.from_bytes(self.in_envelopes[1:5], "big")
            if len(self.in_envelopes) < 5 + length:
                break
            event = json.loads(self.in_envelopes[5:5 + length]).get("event", {})
            self.in_envelopes = self.in_envelopes[5 + length:]
            if "data" in event:
                self.take_output(base64.b64decode(event["data"]["stdout"]))
            self.end = event.get("end", self.end)

    def take_output(self, data):
        self.output += data
        while len(self.output) >= self.line:
            self.lines += 1
            line = self.output[:self.line]
            self.is_torn |= not (line.startswith(b"%08d" % self.lines) and line.endswith(b"\n"))
            self.output = self.output[self.line:]

    def is_whole(self, count):
        return (not self.is_torn and self.lines == count and not self.output
                and self.end is not None and self.end.get("status") == "exit status 0")

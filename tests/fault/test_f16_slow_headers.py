# SPDX-License-Identifier: Apache-2.0
"""F16: connections that drip a request head are closed at 10 s and do not slow others down.

The full figure (5,000 connections) is for `make fault-full`; here 500 show the same behaviour in the
time that a change may take.
"""

import os
import select
import socket
import time

from test_f15_slow_reader import small_requests_p99

from e2b import Sandbox

CONNECTIONS = int(os.environ.get("ADIT_F16_CONNECTIONS", "500"))


def test_slow_heads_are_closed_in_time(own_broker):
    broker = own_broker()
    sandbox = Sandbox.create(timeout=300)
    alone = small_requests_p99(sandbox)
    slow = {}
    for _ in range(CONNECTIONS):
        s = socket.create_connection(("127.0.0.1", broker.port))
        s.sendall(b"G")
        slow[s.fileno()] = [s, time.monotonic(), None]
    crowded = small_requests_p99(sandbox)
    poll = select.poll()
    for fd in slow:
        poll.register(fd, select.POLLIN)
    drip_at = time.monotonic() + 5
    open_cnt, answers = CONNECTIONS, set()
    deadline = time.monotonic() + 20
    while open_cnt and time.monotonic() < deadline:
        if time.monotonic() >= drip_at:
            drip_at = float("inf")
            for s, _, closed in slow.values():
                if closed is None:
                    try:
                        s.send(b"E")
                    except OSError:
                        pass
        for fd, _ in poll.poll(200):
            entry = slow[fd]
            try:
                data = entry[0].recv(4096)
            except OSError:
                data = b""
            if data:
                answers.add(data.split(b"\r\n")[0])
                continue
            entry[2] = time.monotonic()
            poll.unregister(fd)
            open_cnt -= 1
    assert open_cnt == 0, f"{open_cnt} of {CONNECTIONS} slow connections are still open"
    lives = sorted(closed - opened for _, opened, closed in slow.values())
    print(f"\nF16: {CONNECTIONS} closed between {lives[0]:.2f} and {lives[-1]:.2f} s, answers "
          f"{answers}; p99 of others {alone * 1e3:.2f} → {crowded * 1e3:.2f} ms")
    assert 9.5 <= lives[0] and lives[-1] <= 14  # the answer is followed by a lingering close
    assert answers <= {b"HTTP/1.1 408 Request Timeout"}
    assert crowded <= 2 * alone + 0.002
    for s, _, _ in slow.values():
        s.close()
    assert sandbox.kill()

# SPDX-License-Identifier: Apache-2.0
"""A program of a sandbox that uses its network: guest_network.py FUNCTION ARGUMENTS..., says JSON.

Standard library only. The servers of internet.py share what both ends of a stream must know.
"""

import asyncio
import errno
import json
import random
import select
import socket
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

BLOCK = 1 << 20
PATTERN = random.Random(7).randbytes(BLOCK - 8)


def send_blocks(sock, count):
    """`count` blocks, each with its number."""
    for n in range(count):
        sock.sendall(struct.pack(">Q", n) + PATTERN)


def check_blocks(sock, count):
    """Receive them; the number of those that came whole and in order."""
    block = bytearray(BLOCK)
    for n in range(count):
        if sock.recv_into(block, BLOCK, socket.MSG_WAITALL) != BLOCK:
            return n
        if block[:8] != struct.pack(">Q", n) or block[8:] != PATTERN:
            return n
    return count


def connect(*targets):
    """HOST:PORT...: the word of each connect(), and how long it took."""
    said = []
    for target in targets:
        host, port = target.rsplit(":", 1)
        begin = time.monotonic()
        try:
            socket.create_connection((host, int(port)), timeout=60).close()
            word = "connected"
        except OSError as e:
            word = errno.errorcode.get(e.errno, str(e))
        said.append([target, word, time.monotonic() - begin])
    return said


def others(host):
    """What is not TCP: the errno of each, and how long all took."""
    begin, said = time.monotonic(), {}
    for name, kind, protocol in (("udp", socket.SOCK_DGRAM, 0),
                                 ("icmp", socket.SOCK_RAW, socket.IPPROTO_ICMP)):
        with socket.socket(socket.AF_INET, kind, protocol) as s:
            try:
                s.sendto(b"\x08\0\xf7\xff\0\0\0\0", (host, 9))
                said[name] = "sent"
            except OSError as e:
                said[name] = errno.errorcode[e.errno]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        said["udp connect"] = errno.errorcode.get(s.connect_ex((host, 9)), "connected")
    return said, time.monotonic() - begin


def dial(host, port, count):
    """Many non-blocking connects on one epoll, as runtimes dial that have threads of their own."""
    poll, waiting, said = select.epoll(), {}, {}
    begin = time.monotonic()
    for _ in range(int(count)):
        s = socket.socket()
        s.setblocking(False)
        assert s.connect_ex((host, int(port))) == errno.EINPROGRESS
        poll.register(s, select.EPOLLOUT | select.EPOLLET)
        waiting[s.fileno()] = s
    open_now = []
    print("dialling", file=sys.stderr, flush=True)
    while waiting:
        for fd, _ in poll.poll():
            s = waiting.pop(fd)
            code = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            word = errno.errorcode.get(code, "connected")
            said[word] = said.get(word, 0) + 1
            open_now.append(s)
    return said, time.monotonic() - begin


async def echo_of(host, port, n, all_open):
    reader, writer = await asyncio.open_connection(host, port)
    await all_open.wait()
    writer.write(b"%d" % n)
    writer.write_eof()
    got = await reader.read()
    writer.close()
    return got == b"%dEND" % n


def parallel(host, port, count):
    """Connections that are all open at once, each with bytes of its own: how many got them back."""
    async def everything():
        all_open = asyncio.Barrier(int(count))
        return await asyncio.gather(*(echo_of(host, int(port), n, all_open)
                                      for n in range(int(count))))
    return sum(asyncio.run(everything()))


def eyeballs(host, port):
    """Dial both families, the second a quarter of a second later."""
    async def one():
        _, writer = await asyncio.open_connection(host, int(port), happy_eyeballs_delay=0.25)
        peer = writer.get_extra_info("peername")[0]
        writer.close()
        return peer
    begin = time.monotonic()
    return asyncio.run(one()), time.monotonic() - begin


def bulk(host, port, count):
    """Blocks both ways at once: how many came whole here, how many there."""
    with socket.create_connection((host, int(port))) as s:
        s.sendall(struct.pack(">Q", int(count)))
        sender = threading.Thread(target=send_blocks, args=(s, int(count)))
        sender.start()
        here = check_blocks(s, int(count))
        sender.join()
        return here, struct.unpack(">Q", s.recv(8, socket.MSG_WAITALL))[0]


def hold(host, port):
    """A connection that is used at its beginning and when a line of standard input says so."""
    with socket.create_connection((host, int(port))) as s:
        s.sendall(b"begin\n")
        print(s.recv(100).decode(), end="", flush=True)
        s.sendall(sys.stdin.readline().encode())
        print(s.recv(100).decode(), end="")
    return "end"


def skip_name(message, at):
    while message[at] and message[at] < 0xC0:
        at += 1 + message[at]
    return at + (2 if message[at] else 1)


def lookups(count):
    """Names that nobody has asked for, all at once: the addresses that they are of."""
    async def everything():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(int(count)))
        return await asyncio.gather(*(
            loop.getaddrinfo(f"n{n}.example.net", 80, family=socket.AF_INET,
                             type=socket.SOCK_STREAM) for n in range(int(count))))
    return sorted({found[0][4][0] for found in asyncio.run(everything())})


def query(name, kind, how="udp", server="127.0.0.53"):
    """A query as it is sent: its rcode, its truncation, its records (type, time to live, data)."""
    labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\0"
    asked = struct.pack(">6H", 4711, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">HH", int(kind), 1)
    if how == "udp":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(10)
            s.connect((server, 53))
            s.send(asked)
            message = s.recv(65535)
    else:
        with socket.create_connection((server, 53), timeout=10) as s:
            s.sendall(struct.pack(">H", len(asked)) + asked)
            size, = struct.unpack(">H", s.recv(2, socket.MSG_WAITALL))
            message = s.recv(size, socket.MSG_WAITALL)
    number, flags, _, count, _, _ = struct.unpack(">6H", message[:12])
    assert number == 4711 and flags & 0x8000
    at, records = len(asked), []
    for _ in range(count):
        at = skip_name(message, at)
        found, _, ttl, size = struct.unpack(">HHIH", message[at:at + 10])
        data = message[at + 10:at + 10 + size]
        records.append([found, ttl, socket.inet_ntop(
            socket.AF_INET if found == 1 else socket.AF_INET6, data) if found in (1, 28) else ""])
        at += 10 + size
    return {"rcode": flags & 15, "truncated": bool(flags & 0x0200), "records": records}


def queries(asked):
    """Each query of a JSON list."""
    return [query(*each) for each in json.loads(asked)]


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])), flush=True)

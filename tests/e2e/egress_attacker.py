# SPDX-License-Identifier: Apache-2.0
"""A hostile program of a sandbox: egress_attacker.py FUNCTION ARGUMENTS..., says JSON.

Standard library only. Run as root of the sandbox it tries what only envd may do.
"""

import ctypes
import errno
import json
import os
import random
import resource
import signal
import socket
import struct
import sys
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE, NLMSG_ERROR = 1, 4, 0x400, 2
NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
PTRACE_SEIZE, CLONE_NEWNET = 0x4206, 0x40000000
PIDFD_OPEN, PIDFD_GETFD, PROCESS_VM_READV = 434, 438, 310
RESOLVER = ("127.0.0.53", 53)


def word(number):
    return errno.errorcode.get(number, str(number)) if number else "done"


def asked(function):
    try:
        function()
    except OSError as e:
        return word(e.errno)
    return "done"


# ---- what only envd may do ----


def netlink(protocol, kind, flags, body):
    """The kernel's answer to one message."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as s:
        s.settimeout(10)
        s.send(struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST | NLM_F_ACK | flags, 1, 0)
               + body)
        answer = s.recv(8192)
    assert struct.unpack_from("=H", answer, 4)[0] == NLMSG_ERROR
    return word(-struct.unpack_from("=i", answer, 16)[0])


def rules(table):
    """Delete a table of nft's, in a batch."""
    name = table.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(name), 1) + name + b"\0" * (-len(name) % 4)
    begin, end = (struct.pack("=IHHII", 20, kind, NLM_F_REQUEST, 1, 0) + struct.pack(">BBH", 0, 0, 10)
                  for kind in (16, 17))
    delete = struct.pack("=IHHII", 20 + len(attribute), 10 << 8 | 2, NLM_F_REQUEST | NLM_F_ACK, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as s:
        s.settimeout(10)
        s.send(begin + delete + struct.pack(">BBH", 2, 0, 0) + attribute + end)
        return word(-struct.unpack_from("=i", s.recv(8192), 16)[0])


def call(number, *arguments):
    ctypes.set_errno(0)
    done = LIBC.syscall(number, *(ctypes.c_long(a) for a in arguments))
    return done, word(ctypes.get_errno()) if done < 0 else "done"


def write(path, text):
    def do():
        with open(path, "w") as f:
            f.write(text)
    return asked(do)


def in_a_network_of_its_own(host):
    """What connect() says there: a root of its own may make one, and it has no way out."""
    read, write_end = os.pipe()
    if os.fork() == 0:
        made = LIBC.unshare(CLONE_NEWNET)
        said = word(ctypes.get_errno()) if made else asked(
            lambda: socket.create_connection((host, 80), timeout=10).close())
        os.write(write_end, said.encode())
        os._exit(0)
    os.wait()
    return os.read(read, 100).decode()


def seize(host):
    link = struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, 1) + struct.pack("=HH4s", 8, 2, b"\x0a\1\1\1")
    route = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 100, 3, 253, 1, 0)
    unbind = struct.pack(">BBH", 0, 0, 0) + struct.pack("=HH", 8, 1) + struct.pack(">BBH", 2, 0, 2)
    pidfd, _ = call(PIDFD_OPEN, 1, 0)
    said = {
        "address": netlink(NETLINK_ROUTE, 20, NLM_F_CREATE, link),
        "route": netlink(NETLINK_ROUTE, 25, 0, route),
        "rules": rules("adit"),
        "queue": netlink(NETLINK_NETFILTER, 3 << 8 | 2, 0, unbind),
        "tracking": netlink(NETLINK_NETFILTER, 1 << 8 | 2, 0, struct.pack(">BBH", 2, 0, 0)),
        "times": netlink(NETLINK_NETFILTER, 8 << 8 | 3, 0, struct.pack(">BBH", 2, 0, 0)),
        "forwarding": write("/proc/sys/net/ipv4/ip_forward", "1"),
        "ports": write("/proc/sys/net/ipv4/ip_local_port_range", "1 2"),
        "trace": call(101, PTRACE_SEIZE, 1, 0, 0)[1],
        "memory": asked(lambda: open("/proc/1/mem", "rb").close()),
        "descriptors": asked(lambda: [os.readlink(f"/proc/1/fd/{n}")
                                      for n in os.listdir("/proc/1/fd")]),
        "its sockets": call(PIDFD_GETFD, pidfd, 5, 0)[1],
        "another network": in_a_network_of_its_own(host),
    }
    for each in (signal.SIGSTOP, signal.SIGKILL, signal.SIGSEGV):
        os.kill(1, each)  # of the first process of a namespace nothing from within is heard
    return said


def pretend(*ports):
    """Listen where the host's channels lead to, on TCP; who came while the network was used."""
    listeners = []
    for port in ports:
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setblocking(False)
        s.bind(("0.0.0.0", int(port)))
        s.listen()
        listeners.append(s)
    found = socket.getaddrinfo("www.example.net", 80, socket.AF_INET)[0][4]
    socket.create_connection(found, timeout=20).close()
    came = [s.getsockname()[1] for s in listeners if asked(lambda s=s: s.accept()) == "done"]
    return {"reached": found[0], "came": came}


# ---- floods ----


def queries(count):
    """Queries with a byte or more of each spoilt."""
    chance = random.Random(1)
    whole = b"\x12\x34\1\0\0\1\0\0\0\0\0\1\3www\7example\3net\0\0\1\0\1\0\0\x29\4\xd0\0\0\0\0\0\0"
    for i in range(int(count)):
        spoilt = bytearray(chance.randbytes(chance.randrange(600)) if i % 4 == 0 else whole)
        for _ in range(chance.randrange(1, 4)):
            if spoilt:
                spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        yield bytes(spoilt[:chance.randrange(len(spoilt) + 1)] if i % 8 == 1 else spoilt)


def spoil_names(count):
    """Spoilt queries by datagrams and streams; whether a name is found then."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for query in queries(count):
            asked(lambda: s.sendto(query, RESOLVER))
    for query in queries(int(count) // 20):
        with socket.create_connection(RESOLVER, timeout=10) as s:
            asked(lambda: s.sendall(struct.pack(">H", len(query)) + query))
    return socket.getaddrinfo("www.example.net", 80, socket.AF_INET)[0][4][0]


def until(end, work):
    count = 0
    while time.monotonic() < end:
        work()
        count += 1
    return count


def dial(address):
    asked(lambda: socket.create_connection((address, 80), timeout=5).close())


def ask(n=iter(range(1 << 40))):
    query = f"x{next(n)}".encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        asked(lambda: s.sendto(b"\1\1\1\0\0\1\0\0\0\0\0\0" + bytes([len(query)]) + query
                               + b"\7example\3org\0\0\1\0\1", RESOLVER))


def at_once(seconds, *works):
    """How often each could be done."""
    end, made = time.monotonic() + seconds, [0] * len(works)

    def run(i):
        made[i] = until(end, works[i])
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return made


def flood(address, silent, half_open, seconds):
    """Connections as fast as may be; then some that are never answered, and names."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    made = at_once(float(seconds), *[lambda: dial(address)] * 3)
    held = []
    for _ in range(int(half_open)):
        s = socket.socket()
        s.setblocking(False)
        begun = s.connect_ex((silent, 80))
        assert begun == errno.EINPROGRESS, word(begun)
        held.append(s)
    (names,) = at_once(float(seconds), ask)
    return {"half open": len(held), "dialled": sum(made), "asked": names}


def hoard(address, count):
    """Connections whose downloads are not read, until it is killed."""
    held = [socket.create_connection((address, 80), timeout=20) for _ in range(int(count))]
    for s in held:
        s.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        assert s.recv(1), "it has begun"
    print("ready", flush=True)
    signal.pause()


def measure(address, count):
    """How long connections take, in milliseconds, from the shortest to the longest."""
    took = []
    for _ in range(int(count)):
        begin = time.monotonic()
        with socket.create_connection((address, 80), timeout=20) as s:
            took.append((time.monotonic() - begin) * 1000)
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert b"200" in b"".join(iter(lambda: s.recv(1000), b""))
        time.sleep(0.01)
    return sorted(took)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))

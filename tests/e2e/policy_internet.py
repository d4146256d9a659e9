# SPDX-License-Identifier: Apache-2.0
"""The internet of test_egress_policy.py: internet.py's namespaces and wire, with other addresses.

Run as a program it is the servers there: on each port one that answers all that is said with the
address and port that it was said at, and whether there was a secret in it; and a name server.
"""

import asyncio
import ipaddress
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import policy_table as table
from internet_names import A, AAAA, ANSWER, CNAME, NXDOMAIN, pack_record

HERE = Path(__file__).resolve().parent
# A command that makes a sandbox ready for order().
PROBE = f"""cat > probe.py <<'END'
{(HERE / 'policy_probe.py').read_text()}
END
python3 probe.py probe > probe.log 2>&1 &
until [ -S probe ]; do sleep 0.01; done"""


def order(**words):
    """A command: policy_probe.py does this and says what it saw."""
    return f"nc -U probe <<'END'\n{json.dumps(words)}\nEND"


class Tell(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        address, port = transport.get_extra_info("sockname")[:2]
        self.where = f"{address.removeprefix('::ffff:')} {port}"

    def data_received(self, data):
        secret = " secret" if b"X-Secret: s3cret" in data else ""
        text = f"{self.where}{secret}\n"
        if b"User-Agent: curl" in data:
            text = f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}"
        self.transport.write(text.encode())


class Names(asyncio.DatagramProtocol):
    def __init__(self):
        # a client asks for A and AAAA, so each kind has its own turn
        self.turns = {(name, kind): itertools.cycle(lists) for name, lists in table.ZONE.items()
                      for kind in (A, AAAA)}

    def connection_made(self, transport):
        self.transport = transport

    def records(self, name, kind):
        alias = table.ALIASES.get(name)
        if alias:
            return [pack_record(name, CNAME, 0, alias), *self.records(alias, kind)]
        return [pack_record(name, kind, 0, address) for address in next(self.turns[name, kind])
                if ipaddress.ip_address(address).version == (4 if kind == A else 6)]

    def datagram_received(self, query, peer):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        name, (kind,) = ".".join(labels), struct.unpack(">H", query[at + 1:at + 3])
        known = table.is_name(name)
        found = self.records(name, kind) if known and kind in (A, AAAA) else []
        self.transport.sendto(
            query[:2] + struct.pack(">5H", ANSWER | (0 if known else NXDOMAIN), 1, len(found), 0, 0)
            + query[12:at + 5] + b"".join(found), peer)


async def serve():
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Names, local_addr=(table.PUBLIC, 53))
    for port in table.PORTS:
        listener = socket.socket(socket.AF_INET6)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::", port))
        await loop.create_server(Tell, sock=listener, backlog=1000)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    print("here", flush=True)
    sys.stdin.readline()
    asyncio.run(serve())
    sys.exit()

from internet import Internet  # noqa: E402 (the servers need no part of it)


class PolicyInternet(Internet):
    def __init__(self, directory):
        self.directory = directory
        self.broker_options = ["--egress-allow-private", table.OPEN_BLOCK]
        self.servers = self.enter([sys.executable, HERE / "policy_internet.py"])
        self.inside = self.enter(["cat"])
        self.servers.stdout.readline()
        self.prefix = ["nsenter", f"--net=/proc/{self.inside.pid}/ns/net", "--"]
        there = ["nsenter", f"--net=/proc/{self.servers.pid}/ns/net", "--"]
        self.ip(self.prefix, "link add wire0 type veth peer name wire1 netns", self.servers.pid)
        t = table
        for prefix, link, addresses in (
                (self.prefix, "wire0", (t.HOST_PUBLIC, t.HOST_PRIVATE, t.HOST_OPENED, t.HOST6)),
                (there, "wire1", (t.PUBLIC, t.OTHER, t.OPENED, t.PRIVATE, t.METADATA, t.PUBLIC6,
                                  t.OTHER6))):
            self.ip(prefix, "link set lo up")
            self.ip(prefix, "link set", link, "up")
            for address in addresses:
                self.ip(prefix, "address add", f"{address}/64 nodad" if ":" in address
                        else f"{address}/24", "dev", link)
        for prefix, to, to6 in ((self.prefix, t.PUBLIC, t.PUBLIC6),
                                (there, t.HOST_PUBLIC, t.HOST6)):
            self.ip(prefix, "route add default via", to)
            self.ip(prefix, "-6 route add default via", to6)
        self.servers.stdin.write("listen\n")
        self.servers.stdin.flush()
        assert self.servers.stdout.readline() == "ready\n"

    def client(self, argv, broker, said, timeout=200):
        """What a program prints that is a client of this broker."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.directory), **broker.env()}
        done = subprocess.run([*self.prefix, "setpriv", "--pdeathsig", "KILL", *map(str, argv)],
                              env=env, text=True, capture_output=True, timeout=timeout, input=said)
        assert done.returncode == 0, f"{done.returncode}: {done.stderr[-4000:]}"
        return done.stdout

    def lanes(self, argv, broker, lanes):
        """What a client with an official SDK sees: policy_client.py and its likes."""
        return json.loads(self.client(argv, broker, json.dumps({"probe": PROBE, "lanes": lanes})))

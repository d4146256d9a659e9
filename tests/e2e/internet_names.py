# SPDX-License-Identifier: Apache-2.0
"""The name server of internet.py: example.net and all below it, over UDP and TCP.

Every name of it is of one address, as on a shared host, but for those of zone(). It counts how
often it is asked for each, and over TCP.
"""

import collections
import ipaddress
import socket
import struct
import threading

A, CNAME, SOA, AAAA = 1, 5, 6, 28
TTL, NEGATIVE_TTL, UDP_MAX = 60, 60, 512
NXDOMAIN, TRUNCATED, ANSWER = 3, 0x0200, 0x8180

asked = collections.Counter()


def zone(public, public6, dead6):
    """What there is to say of names: records (type, time to live, data); None: no such name."""
    return {
        "alias.example.net": [(CNAME, TTL, "chain.example.net")],
        "chain.example.net": [(CNAME, TTL, "www.example.net")],
        "both.example.net": [(A, TTL, public), (AAAA, TTL, public6)],
        "six.example.net": [(AAAA, TTL, public6)],
        "lame.example.net": [(A, TTL, public), (AAAA, TTL, dead6)],
        "many.example.net": [(A, TTL, f"93.184.215.{n}") for n in range(100, 160)],
        "short.example.net": [(A, 1, public)],
        "missing.example.net": None,
    }


def pack_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def pack_record(name, kind, ttl, data):
    if kind == CNAME:
        data = pack_name(data)
    elif kind == SOA:
        data = pack_name("ns.example.net") * 2 + struct.pack(">5I", 1, 60, 60, 60, NEGATIVE_TTL)
    else:
        data = ipaddress.ip_address(data).packed
    return pack_name(name) + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


class Names:
    def __init__(self, address, public6, dead6):
        self.address = address
        self.zone = zone(address, public6, dead6)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((address, 53))
        tcp = socket.create_server((address, 53))
        threading.Thread(target=self.serve_udp, args=(udp,), daemon=True).start()
        threading.Thread(target=self.serve_tcp, args=(tcp,), daemon=True).start()

    def records(self, name, kind):
        """The records that lead from a name, or None: there is no such name."""
        if not (name + ".").endswith("example.net.") or self.zone.get(name, []) is None:
            return None
        own = self.zone.get(name, [(A, TTL, self.address)])
        found = [(name, *r) for r in own if r[0] in (kind, CNAME)]
        if own and own[0][0] == CNAME:
            found += self.records(own[0][2], kind)
        return found

    def answer(self, query, longest):
        end = query.index(b"\0", 12) + 5
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        name, (kind,) = ".".join(labels), struct.unpack(">H", query[end - 4:end - 2])
        asked[name] += 1
        found = self.records(name, kind)
        flags = ANSWER | (NXDOMAIN if found is None else 0)
        said = b"".join(pack_record(*r) for r in found or [])
        soa = b"" if found else pack_record("example.net", SOA, NEGATIVE_TTL, None)
        message = (query[:2] + struct.pack(">5H", flags, 1, len(found or []), bool(soa), 0)
                   + query[12:end] + said + soa)
        if len(message) <= longest:
            return message
        return query[:2] + struct.pack(">5H", flags | TRUNCATED, 1, 0, 0, 0) + query[12:end]

    def serve_udp(self, udp):
        while True:
            query, peer = udp.recvfrom(4096)
            udp.sendto(self.answer(query, UDP_MAX), peer)

    def serve_tcp(self, tcp):
        while True:
            conn, _ = tcp.accept()
            threading.Thread(target=self.serve_stream, args=(conn,), daemon=True).start()

    def serve_stream(self, conn):
        with conn, conn.makefile("rb") as f:
            while len(head := f.read(2)) == 2:
                asked["tcp"] += 1
                message = self.answer(f.read(struct.unpack(">H", head)[0]), 65535)
                conn.sendall(struct.pack(">H", len(message)) + message)

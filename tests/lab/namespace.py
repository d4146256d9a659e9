# SPDX-License-Identifier: Apache-2.0
"""The inside of a lab: run by lab.py as `unshare --net --mount namespace.py DOMAIN DIRECTORY`.

Its network is a loopback alone, its names are answered here (*.DOMAIN and DOMAIN: 127.0.0.1, all
others: no such name), and its resolver files are its own. It ends when its standard input does, that
is with the tests, and the namespaces end with the last process in them.
"""

import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

SERVER = "127.0.0.53"
TYPE_A, TYPE_ANY = 1, 255
NO_SUCH_NAME = 3

FILES = {
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "/etc/resolv.conf": f"nameserver {SERVER}\noptions timeout:2 attempts:2\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
}


def question(query):
    """The name, the type and the end of the one question of a DNS query."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]])
        at += 1 + query[at]
    kind, _ = struct.unpack_from("!HH", query, at + 1)
    return b".".join(labels).decode().lower(), kind, at + 5


def answer(query, domain):
    name, kind, end = question(query)
    ours = name == domain or name.endswith("." + domain)
    record = b""
    if ours and kind in (TYPE_A, TYPE_ANY):
        record = struct.pack("!HHHIH4s", 0xC00C, TYPE_A, 1, 60, 4, socket.inet_aton("127.0.0.1"))
    flags = 0x8580 | (0 if ours else NO_SUCH_NAME)
    head = query[:2] + struct.pack("!HHHHH", flags, 1, 1 if record else 0, 0, 0)
    return head + query[12:end] + record


def serve(server, domain):
    while True:
        query, peer = server.recvfrom(4096)
        try:
            reply = answer(query, domain)
        except (IndexError, struct.error, UnicodeDecodeError):
            continue
        server.sendto(reply, peer)


def main():
    domain, directory = sys.argv[1], Path(sys.argv[2])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for path, text in FILES.items():
        own = directory / Path(path).name
        own.write_text(text)
        subprocess.run(["mount", "--bind", own, path], check=True)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((SERVER, 53))
    threading.Thread(target=serve, args=(server, domain), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()

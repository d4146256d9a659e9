# SPDX-License-Identifier: Apache-2.0
"""An internet to test with: two network namespaces with a wire between them.

In one a broker runs; behind the other end are the servers of internet_server.py on public
addresses, on a private one and on that of the clouds' metadata, a name server that knows
example.net and all below it, an address that never answers and one that no route leads to. Nothing
of it shows on the host, and it ends with the tests.
"""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import internet_content
from lab import Lab

HERE = Path(__file__).resolve().parent
PUBLIC, OTHER, PRIVATE, METADATA = "93.184.215.14", "93.184.215.15", "10.77.0.1", "169.254.169.254"
HOST_PUBLIC, HOST_PRIVATE = "93.184.215.1", "10.77.0.2"
# Of public blocks that lead nowhere: packets vanish; a router says that there is no way.
SILENT, UNREACHABLE = "93.184.216.1", "93.184.217.1"
IPV6, HOST_IPV6, SILENT_IPV6 = "2606:2800:220:1::14", "2606:2800:220:1::1", "2606:2800:221::1"


class Internet:
    """
    @prefix: what a command begins with that runs where the broker is
    @broker_options: what a broker there is to know
    @www:    the folder that the web servers show
    """

    def __init__(self, directory):
        self.directory = Path(directory)
        self.www = self.directory / "www"
        internet_content.make(self.www)
        self.make_certificate()
        self.broker_options = ["--egress-ca-file", str(self.www / "internet.crt")]
        self.servers = self.enter([sys.executable, HERE / "internet_server.py", PUBLIC, IPV6,
                                   SILENT_IPV6, self.directory / "internet.pem", self.www])
        self.inside = self.enter(["cat"])
        self.servers.stdout.readline()
        self.prefix = ["nsenter", f"--net=/proc/{self.inside.pid}/ns/net", "--"]
        self.there = ["nsenter", f"--net=/proc/{self.servers.pid}/ns/net", "--"]
        self.ip(self.prefix, "link add wire0 type veth peer name wire1 netns", self.servers.pid)
        for prefix, link, addresses in (
                (self.prefix, "wire0", (HOST_PUBLIC, HOST_PRIVATE)),
                (self.there, "wire1", (PUBLIC, OTHER, PRIVATE, METADATA))):
            self.ip(prefix, "link set lo up")
            for address in addresses:
                self.ip(prefix, "address add", f"{address}/24", "dev", link)
            self.ip(prefix, "address add", f"{HOST_IPV6 if link == 'wire0' else IPV6}/64", "dev",
                    link, "nodad")
            self.ip(prefix, "link set", link, "up")
        self.ip(self.prefix, "route add default via", PUBLIC)
        self.ip(self.there, "route add default via", HOST_PUBLIC)
        self.ip(self.there, "route add blackhole", SILENT)
        self.ip(self.there, "route add unreachable", UNREACHABLE)
        subprocess.run([*self.there, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"],
                       check=True)
        self.servers.stdin.write("listen\n")
        self.servers.stdin.flush()
        assert self.servers.stdout.readline() == "ready\n"

    def make_certificate(self):
        """One of all names and addresses, its own authority; the guest's copy is on the web."""
        names = ["DNS:example.net", "DNS:*.example.net",
                 *(f"IP:{address}" for address in (PUBLIC, OTHER, IPV6))]
        key, certificate = self.directory / "internet.key", self.www / "internet.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=example.net", "-days",
                        "1", "-addext", f"subjectAltName={','.join(names)}", "-keyout", key, "-out",
                        certificate], check=True, capture_output=True)
        (self.directory / "internet.pem").write_text(key.read_text() + certificate.read_text())

    @staticmethod
    def enter(argv):
        inside = subprocess.Popen(["unshare", "--net", *map(str, argv)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True, start_new_session=True)
        if argv[0] == "cat":  # it is in its namespace when it answers
            inside.stdin.write("here\n")
            inside.stdin.flush()
            assert inside.stdout.readline() == "here\n"
        return inside

    @staticmethod
    def ip(prefix, *words):
        subprocess.run([*prefix, "ip", *" ".join(map(str, words)).split()], check=True)

    network = Lab.network

    @contextlib.contextmanager
    def ipv6(self):
        """The broker's host has IPv6 meanwhile."""
        self.ip(self.prefix, "-6 route add default via", IPV6)
        try:
            yield
        finally:
            self.ip(self.prefix, "-6 route del default via", IPV6)

    def stop(self):
        for process in (self.inside, self.servers):
            process.communicate()
            process.wait(10)


class Outside:
    """What a client in the broker's network sees: one egress_client.py, as long as it is open."""

    def __init__(self, internet, broker):
        env = {"PATH": os.environ["PATH"], "HOME": str(internet.directory), **broker.env()}
        self.broker = broker
        self.process = subprocess.Popen(
            [*internet.prefix, "setpriv", "--pdeathsig", "KILL", sys.executable,
             HERE / "egress_client.py"],
            env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def each(self, all_said):
        """What each asks for of egress_client.py, all at once."""
        self.process.stdin.write(json.dumps(all_said) + "\n")
        self.process.stdin.flush()
        seen = self.process.stdout.readline()
        assert seen, f"the client ended with {self.process.wait(10)}"
        return json.loads(seen)

    def __call__(self, *steps, sandbox=None, keep=False, **options):
        """Take steps in a new sandbox, or in one that was kept."""
        said = {"steps": steps, **({"sandbox": sandbox} if sandbox else {"options": options}),
                **({"keep": True} if keep else {})}
        return self.each([said])[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate()

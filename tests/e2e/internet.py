# SPDX-License-Identifier: Apache-2.0
"""An internet to test with: two network namespaces with a wire between them.

In one a broker runs; behind the other end are web servers on a public address, on a private one and
on that of the clouds' metadata, and a name server that knows example.net and all below it. Nothing of it shows on the host, and it ends with the tests.
"""

import json
import subprocess
import sys
from pathlib import Path

from lab import Lab

HERE = Path(__file__).resolve().parent
PUBLIC, OTHER, PRIVATE, METADATA = "93.184.215.14", "93.184.215.15", "10.77.0.1", "169.254.169.254"
HOST_PUBLIC, HOST_PRIVATE = "93.184.215.1", "10.77.0.2"


class Internet:
    """
    @prefix: what a command begins with that runs where the broker is
    """

    def __init__(self, directory):
        pem = Path(directory) / "internet.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=example.net", "-days",
                        "1", "-keyout", pem, "-out", f"{pem}.crt"], check=True, capture_output=True)
        pem.write_text(pem.read_text() + Path(f"{pem}.crt").read_text())
        self.servers = self.enter([sys.executable, HERE / "internet_server.py", PUBLIC, pem])
        self.inside = self.enter(["cat"])
        self.servers.stdout.readline()
        self.prefix = ["nsenter", f"--net=/proc/{self.inside.pid}/ns/net", "--"]
        there = ["nsenter", f"--net=/proc/{self.servers.pid}/ns/net", "--"]
        self.ip(self.prefix, "link add wire0 type veth peer name wire1 netns", self.servers.pid)
        for prefix, link, addresses in (
                (self.prefix, "wire0", (HOST_PUBLIC, HOST_PRIVATE)),
                (there, "wire1", (PUBLIC, OTHER, PRIVATE, METADATA))):
            self.ip(prefix, "link set lo up")
            for address in addresses:
                self.ip(prefix, "address add", f"{address}/24", "dev", link)
            self.ip(prefix, "link set", link, "up")
        self.ip(self.prefix, "route add default via", PUBLIC)
        self.ip(there, "route add default via", HOST_PUBLIC)
        self.servers.stdin.write("listen\n")
        self.servers.stdin.flush()
        assert self.servers.stdout.readline() == "ready\n"

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

    def run(self, env, steps, sandbox=None, keep=False, timeout=120, **options):
        """What a client in the broker's network sees: egress_client.py."""
        done = subprocess.run(
            [*self.prefix, "setpriv", "--pdeathsig", "KILL", sys.executable,
             HERE / "egress_client.py"],
            env=env, text=True, capture_output=True, timeout=timeout,
            input=json.dumps({"options": options, "steps": steps, "sandbox": sandbox, "keep": keep}))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def stop(self):
        for process in (self.inside, self.servers):
            process.communicate()
            process.wait(10)

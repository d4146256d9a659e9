# SPDX-License-Identifier: Apache-2.0
"""A lab: a network and mount namespace of its own, in which names under one domain lead to a broker.

Nothing of it shows on the host: the broker has the ports that clients have by default (443, 3000,
49983, 49999), the clients find it by DNS, and they trust its certificate by their environment. The
namespaces end with the tests, killed or not; a broker that a killed session left is ended by guard.py.
"""

import contextlib
import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path

CLONE_NEWNET = 0x40000000
HERE = Path(__file__).resolve().parent
DOMAIN = "adit.test"


class Lab:
    """
    @directory: its files
    @prefix:    what a command begins with that runs inside and may outlive the tests
    @key:       the broker's first API key
    """

    def __init__(self, directory):
        self.directory = Path(directory)
        self.domain = DOMAIN
        self.ca = self.directory / "ca.crt"
        self.directory.mkdir(parents=True)
        self.inside = subprocess.Popen(
            ["unshare", "--net", "--mount", sys.executable, HERE / "namespace.py", DOMAIN,
             self.directory],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )
        if self.inside.stdout.readline() != "ready\n":
            raise AssertionError(f"the lab's namespace ended with {self.inside.wait(10)}")
        self.prefix = ["nsenter", f"--net=/proc/{self.inside.pid}/ns/net",
                       f"--mount=/proc/{self.inside.pid}/ns/mnt", "--"]

    def env(self, mode):
        """The environment of a client: all that a user would set, for one of the three modes."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "E2B_API_KEY": self.key}
        if mode == "domain":
            env |= {"E2B_DOMAIN": DOMAIN, "SSL_CERT_FILE": str(self.ca),
                    "NODE_EXTRA_CA_CERTS": str(self.ca), "REQUESTS_CA_BUNDLE": str(self.ca)}
        elif mode == "url":
            env |= {"E2B_API_URL": "http://127.0.0.1:3000",
                    "E2B_SANDBOX_URL": "http://127.0.0.1:3000"}
        elif mode == "debug":
            env |= {"E2B_DEBUG": "true"}
        return env

    def command(self, argv):
        """A command that runs inside and ends with the tests."""
        return [*self.prefix, "setpriv", "--pdeathsig", "KILL", *map(str, argv)]

    def run(self, argv, mode, timeout=60, **kwargs):
        return subprocess.run(self.command(argv), env=self.env(mode), timeout=timeout, text=True,
                              capture_output=True, **{"stdin": subprocess.DEVNULL, **kwargs})

    def popen(self, argv, mode, **kwargs):
        return subprocess.Popen(self.command(argv), env=self.env(mode), start_new_session=True,
                                **kwargs)

    @contextlib.contextmanager
    def network(self):
        """Sockets that this thread makes meanwhile are of the lab's network."""
        libc = ctypes.CDLL(None, use_errno=True)
        back = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{self.inside.pid}/ns/net", os.O_RDONLY)
        try:
            if libc.setns(there, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            yield
        finally:
            libc.setns(back, CLONE_NEWNET)
            os.close(back)
            os.close(there)

    def stop(self):
        self.inside.communicate()
        self.inside.wait(10)

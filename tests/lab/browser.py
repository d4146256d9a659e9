# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium in a lab, driven over the DevTools protocol."""

import contextlib
import http.client
import itertools
import json
import subprocess
import time

from websockets.sync.client import connect

PORT = 9222
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--disable-background-networking", "--disable-component-update", "--no-first-run",
         f"--remote-debugging-port={PORT}"]


class Browser:
    """One browser with one page; its profile and its trusted authorities are the lab's."""

    def __init__(self, lab):
        self.lab = lab
        self.numbers = itertools.count(1)
        self.trust()
        with open(lab.directory / "chromium.log", "wb") as log:
            self.process = lab.popen(
                ["chromium", *FLAGS, f"--user-data-dir={lab.directory}/chromium", "about:blank"],
                "domain", stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.open_now = contextlib.ExitStack()
        self.page = self.open_now.enter_context(
            connect(self.page_address(), sock=self.connect(), max_size=None))
        self.call("Page.enable")

    def trust(self):
        """Chromium on Linux trusts what the user's NSS database does."""
        database = self.lab.directory / ".pki/nssdb"
        database.mkdir(parents=True)
        for command in (["-N", "--empty-password"], ["-A", "-n", "lab", "-t", "C,,",
                                                     "-i", str(self.lab.ca)]):
            subprocess.run(["certutil", "-d", f"sql:{database}", *command], check=True)

    def connect(self):
        with self.lab.network():
            c = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
            c.connect()
            return c.sock

    def page_address(self):
        deadline = time.monotonic() + 30
        while True:
            try:
                with self.lab.network():
                    c = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
                    c.request("GET", "/json/list")
                    pages = [t for t in json.loads(c.getresponse().read()) if t["type"] == "page"]
                if pages:
                    return pages[0]["webSocketDebuggerUrl"]
            except ConnectionRefusedError:
                pass
            log = (self.lab.directory / "chromium.log").read_text()
            assert self.process.poll() is None and time.monotonic() < deadline, log[-3000:]
            time.sleep(0.05)

    def call(self, method, timeout=60, **params):
        number = next(self.numbers)
        self.page.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self.page.recv(timeout=timeout))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, url):
        """Go to an address and wait until the page is there; its own failure is an error."""
        went = self.call("Page.navigate", url=url)
        assert "errorText" not in went, went
        while True:
            if json.loads(self.page.recv(timeout=60)).get("method") == "Page.loadEventFired":
                return

    def evaluate(self, expression, timeout=60):
        """The value of an expression, or what the promise that it is resolves to."""
        done = self.call("Runtime.evaluate", timeout, expression=expression, awaitPromise=True,
                         returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def close(self):
        self.open_now.close()
        self.process.kill()
        self.process.wait()

# SPDX-License-Identifier: Apache-2.0
"""A program that believes to be at a terminal."""

import os
import pty
import re
import select
import subprocess
import time


class Terminal:
    def __init__(self, argv, env=None, timeout=40):
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=env,
                                        start_new_session=True)
        os.close(theirs)
        self.output, self.deadline = b"", time.monotonic() + timeout

    def write(self, data):
        os.write(self.ours, data)

    def read_until(self, pattern):
        while not re.search(pattern, self.output):
            left = self.deadline - time.monotonic()
            assert left > 0 and select.select([self.ours], [], [], left)[0], self.output[-2000:]
            self.output += os.read(self.ours, 65536)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.ours)

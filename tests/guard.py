# SPDX-License-Identifier: Apache-2.0
"""Cleans up after a test session that was killed.

Started by conftest.py in a session of its own: guard.py SCRATCH BROKER. Its standard input is a pipe
from the tests. "done" means that they cleaned up themselves; the end of the pipe without it means that
they are gone: their brokers are ended, what those held is purged, the scratch directory removed.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path


def end_broker(pid_file, scratch):
    pid = int(pid_file.read_text())
    try:
        if str(scratch).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    except OSError:
        pass  # it has ended by itself


def main():
    scratch, broker = Path(sys.argv[1]), sys.argv[2]
    if sys.stdin.read() == "done":
        return
    for pid_file in scratch.glob("*/broker.pid"):
        end_broker(pid_file, scratch)
    for state in scratch.glob("*/state"):
        subprocess.run([broker, "purge", "--state-dir", state], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()

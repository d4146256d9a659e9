# SPDX-License-Identifier: Apache-2.0
"""One run of the CLI: cli_client.py NODE PROGRAM. A JSON line for each feature, as python_client.py."""

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import time

from features import Absent, run_features
from terminal import Terminal

CLI = sys.argv[1:3]
ID = re.compile(r"\b(i[a-z0-9]{20}|debug_sandbox_id)\b")
DEBUG = "E2B_DEBUG" in os.environ


def cli(*args, stdin=None):
    return subprocess.run([*CLI, *args], input=stdin, capture_output=True, text=True, timeout=60,
                          stdin=None if stdin else subprocess.DEVNULL)


def create(run):
    made = cli("sandbox", "create", "--detach", "base")
    assert made.returncode == 0, made
    run.sandbox = ID.search(made.stdout)[0]


def command(run):
    done = cli("sandbox", "exec", run.sandbox, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert done.returncode == 3 and "out\n" in done.stdout and "err\n" in done.stderr, done


def stream(run):
    text = "".join(f"line {n}\n" for n in range(20000))
    # A file: what waits in a full pipe is lost when the CLI exits.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run([*CLI, "sandbox", "exec", run.sandbox, "cat"], input=text, text=True,
                              stdout=output, stderr=subprocess.PIPE, timeout=60)
        output.seek(0)
        assert done.returncode == 0 and output.read() == text, done.stderr


def background(run):
    done = cli("sandbox", "exec", "-b", run.sandbox, "sleep 1000")
    assert done.returncode == 0, done


def terminal(run):
    with Terminal([*CLI, "sandbox", "connect", run.sandbox]) as t:
        t.read_until(rb"[$#] ")
        t.write(b"echo mark$((40 + 2))\n")
        t.read_until(rb"mark42")
        t.write(b"exit\n")
        t.read_until(rb"Closing terminal connection")
        assert t.process.wait(20) == 0


def listing(run):
    done = cli("sandbox", "list", "--format", "json")
    assert run.sandbox in [s["sandboxId"] for s in json.loads(done.stdout)], done


def info(run):
    done = cli("sandbox", "info", run.sandbox)
    assert done.returncode == 0 and run.sandbox in done.stdout, done


def metrics(run):
    deadline = time.monotonic() + 10
    while "Memory:" not in (done := cli("sandbox", "metrics", run.sandbox)).stdout:
        assert done.returncode == 0 and time.monotonic() < deadline, done
        time.sleep(0.1)


def logs(run):
    done = cli("sandbox", "logs", "--format", "json", run.sandbox)
    assert done.returncode == 0, done
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert "sandbox runs" in str(lines), done.stdout


def errors(run):
    done = cli("sandbox", "exec", "i" + "0" * 20, "true")
    assert done.returncode != 0 and "not found" in (done.stdout + done.stderr).lower(), done


def kill(run):
    done = cli("sandbox", "kill", run.sandbox)
    assert done.returncode == 0 and run.sandbox in done.stdout, done
    if not DEBUG:
        again = cli("sandbox", "kill", run.sandbox)
        assert "wasn't found" in again.stdout + again.stderr, again


def attempt(feature, run):
    if DEBUG and feature in (listing, info, metrics, logs, errors):
        raise Absent("debug mode knows one sandbox and asks no API for it")
    feature(run)


FEATURES = [("create", create), ("run", command), ("stream", stream), ("background", background),
            ("terminal", terminal), ("list", listing), ("info", info), ("metrics", metrics),
            ("logs", logs), ("errors", errors), ("kill", kill)]

if __name__ == "__main__":
    sys.exit(run_features([(name, functools.partial(attempt, f)) for name, f in FEATURES]))

# SPDX-License-Identifier: Apache-2.0
"""One run of the CLI: cli_client.py NODE PROGRAM. A JSON line for each feature, as python_client.py."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
import traceback

CLI = sys.argv[1:3]
ID = re.compile(r"\bi[a-z0-9]{20}\b")


def cli(*args, stdin=None):
    return subprocess.run([*CLI, *args], input=stdin, capture_output=True, text=True, timeout=60,
                          stdin=None if stdin else subprocess.DEVNULL)


class Run:
    sandbox = None


def create(run):
    made = cli("sandbox", "create", "--detach", "base")
    assert made.returncode == 0, made
    run.sandbox = ID.search(made.stdout)[0]


def command(run):
    done = cli("sandbox", "exec", run.sandbox, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert done.returncode == 3 and "out\n" in done.stdout and "err\n" in done.stderr, done


def stream(run):
    text = "".join(f"line {n}\n" for n in range(20000))
    done = cli("sandbox", "exec", run.sandbox, "cat", stdin=text)
    assert done.returncode == 0 and done.stdout == text, done.stderr


def background(run):
    done = cli("sandbox", "exec", "-b", run.sandbox, "sleep 1000")
    assert done.returncode == 0, done


def terminal(run):
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*CLI, "sandbox", "connect", run.sandbox], stdin=theirs,
                               stdout=theirs, stderr=theirs)
    os.close(theirs)
    output, deadline = b"", time.monotonic() + 30

    def read_until(pattern):
        nonlocal output
        while not re.search(pattern, output):
            assert time.monotonic() < deadline and select.select([ours], [], [], 20)[0], output
            output += os.read(ours, 65536)

    try:
        read_until(rb"[$#] ")
        os.write(ours, b"echo mark$((40 + 2))\n")
        read_until(rb"mark42")
        os.write(ours, b"exit\n")
        read_until(rb"Closing terminal connection")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def listing(run):
    done = cli("sandbox", "list", "--format", "json")
    assert run.sandbox in [s["sandboxId"] for s in json.loads(done.stdout)], done


def info(run):
    done = cli("sandbox", "info", run.sandbox)
    assert done.returncode == 0 and run.sandbox in done.stdout, done


def errors(run):
    done = cli("sandbox", "exec", "i" + "0" * 20, "true")
    assert done.returncode != 0 and "not found" in (done.stdout + done.stderr).lower(), done


def kill(run):
    done = cli("sandbox", "kill", run.sandbox)
    assert done.returncode == 0 and run.sandbox in done.stdout, done
    again = cli("sandbox", "kill", run.sandbox)
    assert "wasn't found" in again.stdout + again.stderr, again


FEATURES = [("create", create), ("run", command), ("stream", stream), ("background", background),
            ("terminal", terminal), ("list", listing), ("info", info), ("errors", errors),
            ("kill", kill)]


def main():
    run, failed = Run(), False
    for name, feature in FEATURES:
        line, start = {"feature": name}, time.monotonic()
        try:
            assert run.sandbox or feature is create, "there is no sandbox"
            feature(run)
        except BaseException as e:
            failed = True
            line["failed"] = f"{type(e).__name__}: {e}"[:600]
            traceback.print_exc()
        line["seconds"] = round(time.monotonic() - start, 2)
        print(json.dumps(line), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

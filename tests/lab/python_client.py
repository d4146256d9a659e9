# SPDX-License-Identifier: Apache-2.0
"""One run of a Python SDK of any version, in that version's own spelling: a feature after the other.

The connection is the environment's. For each feature one JSON line is printed: its name, and why it
failed or is not there, if so. The features are the columns of docs/compatibility.md.
"""

import asyncio
import functools
import importlib.metadata
import os
import sys
import time
import urllib.request

from e2b import (AsyncSandbox, AuthenticationException, CommandExitException, NotFoundException,
                 Sandbox, SandboxException, TimeoutException)
from features import Absent, raises, run_features

VERSION = tuple(int(n) for n in importlib.metadata.version("e2b").split(".")[:2])
DEBUG = os.environ.get("E2B_DEBUG", "").lower() == "true"
BY_NAME = "E2B_SANDBOX_URL" not in os.environ and not DEBUG
FIRST_GENERATION = VERSION < (2, 0)


def new_sandbox(**options):
    return Sandbox(**options) if FIRST_GENERATION else Sandbox.create(**options)


def all_sandboxes():
    if FIRST_GENERATION:
        return Sandbox.list()
    found, pages = [], Sandbox.list()
    while pages.has_next:
        found += pages.next_items()
    return found


def create(run):
    # The id of debug mode is fixed: whatever sandbox answers there is nobody's own.
    run.sandbox = new_sandbox(timeout=120, metadata={"who": "ä=&% +"}, envs={"WORD": "from create"})
    assert run.sandbox.is_running()


def command(run):
    result = run.sandbox.commands.run("echo out; echo err >&2; pwd; id -un")
    assert result.stdout == "out\n/home/user\nuser\n" and result.stderr == "err\n", result
    assert result.exit_code == 0
    result = run.sandbox.commands.run("echo $A; pwd; id -u", user="root", cwd="/tmp",
                                      envs={"A": "own"})
    assert result.stdout == "own\n/tmp\n0\n", result
    if not DEBUG:
        assert run.sandbox.commands.run("echo $WORD").stdout == "from create\n"


def stream(run):
    out, err, times = [], [], []

    def on_stdout(text):
        out.append(text)
        times.append(time.monotonic())

    result = run.sandbox.commands.run("echo one; echo two >&2; sleep 0.4; echo three",
                                      on_stdout=on_stdout, on_stderr=err.append)
    assert "".join(out) == "one\nthree\n" and "".join(err) == "two\n", (out, err)
    assert times[-1] - times[0] > 0.3, "the output came all at once"
    assert result.stdout == "one\nthree\n"


def background(run):
    options = {"stdin": True} if VERSION >= (2, 8) else {}
    handle = run.sandbox.commands.run("read line; echo got $line; exec sleep 100", background=True,
                                      **options)
    listed = {p.pid: p for p in run.sandbox.commands.list()}
    assert handle.pid in listed, (handle.pid, listed)
    run.sandbox.commands.send_stdin(handle.pid, "words\n")
    for stdout, _, _ in handle:
        assert stdout == "got words\n"
        break
    again = run.sandbox.commands.connect(handle.pid)
    assert run.sandbox.commands.kill(handle.pid) is True
    raises(CommandExitException, again.wait)
    assert run.sandbox.commands.kill(handle.pid) is False


def terminal(run):
    from e2b import PtySize

    output = b""
    handle = run.sandbox.pty.create(PtySize(rows=20, cols=70))
    run.sandbox.pty.resize(handle.pid, PtySize(rows=24, cols=80))
    run.sandbox.pty.send_stdin(handle.pid, b"stty size; exit\n")
    for _, _, data in handle:
        output += data or b""
    assert b"24 80" in output, output


def files(run):
    box = run.sandbox.files
    box.write("dir/ä b.txt", "text\n")
    assert box.read("/home/user/dir/ä b.txt") == "text\n"
    box.write("dir/bytes", bytes(range(256)) * 4096)
    assert bytes(box.read("dir/bytes", format="bytes")) == bytes(range(256)) * 4096
    assert sum(len(part) for part in box.read("dir/bytes", format="stream")) == 256 * 4096
    assert sorted(e.name for e in box.list("dir")) == ["bytes", "ä b.txt"]
    assert box.exists("dir/bytes") and not box.exists("dir/none")
    assert box.make_dir("dir/deep/er") is True
    assert box.make_dir("dir/deep/er") is False
    moved = box.rename("dir/bytes", "dir/deep/moved")
    assert moved.path == "/home/user/dir/deep/moved"
    box.remove("dir/deep")
    assert [e.name for e in box.list("dir")] == ["ä b.txt"]
    if VERSION >= (1, 5):
        written = box.write([{"path": f"many/{n}", "data": str(n)} for n in range(3)]) \
            if VERSION < (2, 0) else \
            box.write_files([{"path": f"many/{n}", "data": str(n)} for n in range(3)])
        assert [w.path for w in written] == [f"/home/user/many/{n}" for n in range(3)]
        assert box.read("many/2") == "2"


def watch(run):
    box = run.sandbox.files
    box.make_dir("watched/sub")
    watcher = box.watch_dir("watched")
    box.write("watched/new", "x")
    box.rename("watched/new", "watched/newer")
    box.remove("watched/newer")
    seen = [(e.name, e.type.value) for e in watcher.get_new_events()]
    watcher.stop()
    order = [("new", "create"), ("new", "write"), ("new", "rename"), ("newer", "create"),
             ("newer", "remove")]
    assert [e for e in seen if e in order] == order, seen
    if VERSION >= (1, 5):
        watcher = box.watch_dir("watched", recursive=True)
        box.write("watched/sub/deep", "x")
        assert "sub/deep" in [e.name for e in watcher.get_new_events()]
        watcher.stop()


def listing(run):
    mine = [s for s in all_sandboxes() if s.sandbox_id == run.sandbox.sandbox_id]
    assert len(mine) == 1, "the sandbox is not in the list"
    assert mine[0].metadata == {"who": "ä=&% +"} and mine[0].template_id


def info(run):
    if VERSION < (1, 5):
        raise Absent("not in this version")
    found = run.sandbox.get_info()
    assert found.sandbox_id == run.sandbox.sandbox_id
    assert 0 < (found.end_at - found.started_at).total_seconds() < 130


def metrics(run):
    if VERSION < (2, 0):
        raise Absent("not in this version")
    deadline = time.monotonic() + 10
    while not (samples := run.sandbox.get_metrics()):
        assert time.monotonic() < deadline, "no sample within 10 s"
        time.sleep(0.1)
    assert samples[0].cpu_count > 0 and samples[0].mem_total > 0


def connect(run):
    run.sandbox.files.write("/tmp/mark", "here")
    other = Sandbox.connect(run.sandbox.sandbox_id)
    assert other.sandbox_id == run.sandbox.sandbox_id
    assert other.files.read("/tmp/mark") == "here"
    assert other.commands.run("echo again").stdout == "again\n"


def timeout(run):
    run.sandbox.set_timeout(300)
    if VERSION >= (1, 5):
        found = run.sandbox.get_info()
        left = (found.end_at - found.started_at).total_seconds()
        assert 299 < left < 330, left
    short = new_sandbox(timeout=60)
    short.set_timeout(1)
    deadline = time.monotonic() + 10
    while short.is_running():
        assert time.monotonic() < deadline, "alive after its timeout"
        time.sleep(0.1)


def ports(run):
    handle = run.sandbox.commands.run(
        "cd /tmp && exec python3 -m http.server --bind 127.0.0.1 8000", background=True)
    url = f"https://{run.sandbox.get_host(8000)}/"
    deadline = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert b"Directory listing" in answer.read()
                break
        except urllib.error.HTTPError as e:
            assert e.code == 502 and time.monotonic() < deadline, e
            time.sleep(0.05)
    handle.kill()


def errors(run):
    failed = raises(CommandExitException, run.sandbox.commands.run, "echo why >&2; exit 3")
    assert (failed.exit_code, failed.stderr) == (3, "why\n")
    raises(NotFoundException, run.sandbox.files.read, "/none")
    raises(TimeoutException, run.sandbox.commands.run, "sleep 30", timeout=0.5)
    raises((AuthenticationException, SandboxException), run.sandbox.commands.run, "true",
           user="nobody-knows")
    if DEBUG:
        return
    raises((AuthenticationException, SandboxException), new_sandbox, api_key="e2b_" + "0" * 40)
    refused = raises(SandboxException, new_sandbox, template="no-such-template")
    assert "404" in str(refused) and "no-such-template" in str(refused), refused


async def asynchronous_journey():
    sandbox = await (AsyncSandbox.create(timeout=60))
    try:
        out = []
        result = await sandbox.commands.run("echo a; echo b", on_stdout=out.append)
        assert result.stdout == "a\nb\n" and "".join(out) == "a\nb\n"
        await sandbox.files.write("x", "y")
        assert await sandbox.files.read("x") == "y"
        try:
            await sandbox.commands.run("exit 4")
            raise AssertionError("exit 4 is no error")
        except CommandExitException as e:
            assert e.exit_code == 4
    finally:
        await sandbox.kill()


def asynchronous(run):
    asyncio.run(asynchronous_journey())


def kill(run):
    if DEBUG:
        assert run.sandbox.kill()
        return
    killed = run.sandbox.kill()
    assert killed is not False
    assert not run.sandbox.is_running()
    assert Sandbox.kill(run.sandbox.sandbox_id) is False
    kinds = (TimeoutException, SandboxException)
    if VERSION < (1, 5):
        kinds += (RuntimeError,)  # its own: it looks at an error's body before it has read it
    raises(kinds, run.sandbox.commands.run, "true")


def attempt(feature, run):
    if DEBUG and feature in NOT_IN_DEBUG:
        raise Absent("debug mode knows one sandbox and asks no API for it")
    if feature is ports and not BY_NAME:
        raise Absent("needs wildcard names")
    feature(run)


NOT_IN_DEBUG = (listing, info, metrics, timeout)
FEATURES = [("create", create), ("run", command), ("stream", stream), ("background", background),
            ("terminal", terminal), ("files", files), ("watch", watch), ("list", listing),
            ("info", info), ("metrics", metrics), ("connect", connect), ("timeout", timeout), ("ports", ports),
            ("errors", errors), ("async", asynchronous), ("kill", kill)]


if __name__ == "__main__":
    exit_status = run_features([(name, functools.partial(attempt, f)) for name, f in FEATURES])
    sys.stdout.flush()
    os._exit(exit_status)  # the asynchronous SDK's threads (2.63.0) at times abort when the interpreter ends

# SPDX-License-Identifier: Apache-2.0
"""The newest @e2b/cli, with nothing set but the variables that the broker prints."""

import json
import subprocess
import uuid

import pytest
from e2b import Sandbox

from support import CLI, NODE, client_env
from terminal import Terminal


@pytest.fixture
def cli(broker, tmp_path):
    def run(*args, stdin=subprocess.DEVNULL, **kwargs):
        if isinstance(stdin, str):
            kwargs["input"] = stdin
        else:
            kwargs["stdin"] = stdin
        return subprocess.run([str(NODE), str(CLI), *args], capture_output=True, text=True,
                              timeout=60, env=client_env(tmp_path), **kwargs)
    return run


def test_list(cli, sandbox):
    shown = cli("sandbox", "list", "--format", "json")
    assert shown.returncode == 0, shown.stderr
    listed = {s["sandboxId"]: s for s in json.loads(shown.stdout)}
    assert listed[sandbox.sandbox_id]["state"] == "running"
    table = cli("sandbox", "list")
    assert table.returncode == 0 and sandbox.sandbox_id in table.stdout


def test_list_with_a_filter(cli, broker):
    mark = uuid.uuid4().hex
    with Sandbox.create(timeout=60, metadata={"mark": mark}) as s:
        shown = cli("sandbox", "list", "--format", "json", "--metadata", f"mark={mark}")
        assert [x["sandboxId"] for x in json.loads(shown.stdout)] == [s.sandbox_id]


def test_kill(cli, broker):
    sandbox = Sandbox.create(timeout=60)
    killed = cli("sandbox", "kill", sandbox.sandbox_id)
    assert killed.returncode == 0 and sandbox.sandbox_id in killed.stdout
    assert not sandbox.is_running()
    again = cli("sandbox", "kill", sandbox.sandbox_id)
    assert "wasn't found" in again.stdout + again.stderr


def test_kill_all_with_a_filter(cli, broker):
    mark = uuid.uuid4().hex
    boxes = [Sandbox.create(timeout=60, metadata={"mark": mark}) for _ in range(3)]
    killed = cli("sandbox", "kill", "--all", "--metadata", f"mark={mark}")
    assert killed.returncode == 0, killed.stderr
    assert [b.is_running() for b in boxes] == [False] * 3


def test_exec(cli, sandbox):
    run = cli("sandbox", "exec", sandbox.sandbox_id, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert run.returncode == 3
    assert "out\n" in run.stdout and "err\n" in run.stderr
    as_root = cli("sandbox", "exec", "-u", "root", "-c", "/tmp", "-e", "WORD=text",
                  sandbox.sandbox_id, 'id -un; pwd; echo $WORD')
    assert as_root.returncode == 0, as_root.stderr
    assert as_root.stdout.split()[-3:] == ["root", "/tmp", "text"]


def test_exec_with_piped_input(sandbox, tmp_path):
    """To a file: the CLI exits without waiting for what it could not write into a full pipe."""
    text = "".join(f"line {n}\n" for n in range(50000))
    with open(tmp_path / "output", "w") as output:
        run = subprocess.run([NODE, CLI, "sandbox", "exec", sandbox.sandbox_id, "cat"], input=text,
                             env=client_env(tmp_path), stdout=output, stderr=subprocess.PIPE,
                             text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "output").read_text() == text


def test_exec_in_the_background(cli, sandbox):
    run = cli("sandbox", "exec", "-b", sandbox.sandbox_id, "sleep 1000")
    assert run.returncode == 0, run.stderr
    processes = sandbox.commands.list()
    assert len(processes) == 1 and "sleep 1000" in " ".join(processes[0].args)
    assert str(processes[0].pid) in run.stdout + run.stderr


def test_connect_is_a_terminal(sandbox, tmp_path):
    with Terminal([str(NODE), str(CLI), "sandbox", "connect", sandbox.sandbox_id],
                  client_env(tmp_path)) as t:
        t.read_until(rb"[$#] ")
        t.write(b"echo mark$((40 + 2)) $(id -un); tty\n")
        t.read_until(rb"mark42 user[\r\n]+/dev/pts/\d+")
        t.write(b"exit\n")
        t.read_until(rb"Closing terminal connection")
        assert t.process.wait(20) == 0
    assert sandbox.is_running()


def test_an_unknown_sandbox_is_an_error(cli, broker):
    run = cli("sandbox", "exec", "i" + "0" * 20, "true")
    assert run.returncode != 0
    assert "not found" in (run.stdout + run.stderr).lower()

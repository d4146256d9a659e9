# SPDX-License-Identifier: Apache-2.0
"""Programs as people write them, whole, each run as its own process with only the variables set."""

import re
import signal
import subprocess
import sys

import pytest

from support import client_env

SYNC = '''
from e2b import Sandbox

sandbox = Sandbox.create()
try:
    sandbox.files.write("/home/user/script.py", "print(sum(range(101)))")
    execution = sandbox.commands.run("python3 /home/user/script.py")
    print(execution.stdout)
    for entry in sandbox.files.list("/home/user"):
        if entry.name == "script.py":
            print(entry.path, entry.type.value)
finally:
    sandbox.kill()
'''

ASYNC = '''
import asyncio
from e2b import AsyncSandbox

async def main():
    sandbox = await AsyncSandbox.create()
    await sandbox.files.write("/tmp/hello.txt", "Hello World")
    print(await sandbox.files.read("/tmp/hello.txt"))
    result = await sandbox.commands.run("cat /tmp/hello.txt | wc -c")
    print(result.stdout.strip())
    await sandbox.kill()

asyncio.run(main())
'''

SEVERAL_AT_ONCE = '''
import asyncio
from e2b import AsyncSandbox

async def work(n):
    async with await AsyncSandbox.create(metadata={"n": str(n)}) as sandbox:
        result = await sandbox.commands.run(f"echo $(({n} * {n}))")
        return int(result.stdout)

async def main():
    print(await asyncio.gather(*[work(n) for n in range(8)]))

asyncio.run(main())
'''

THREADS = '''
from concurrent.futures import ThreadPoolExecutor
from e2b import Sandbox

def work(n):
    with Sandbox.create(timeout=60) as sandbox:
        sandbox.files.write("n", str(n))
        return int(sandbox.commands.run("cat n").stdout)

with ThreadPoolExecutor(max_workers=6) as pool:
    print(sorted(pool.map(work, range(12))))
'''

ENVIRONMENT = '''
from e2b import Sandbox

with Sandbox.create(envs={"API_TOKEN": "secret", "MODE": "global"}) as sandbox:
    print(sandbox.commands.run("echo $API_TOKEN $MODE").stdout, end="")
    print(sandbox.commands.run("echo $API_TOKEN $MODE", envs={"MODE": "local"}).stdout, end="")
    print(sandbox.commands.run("python3 -c 'import os; print(os.environ[\\"MODE\\"])'").stdout, end="")
'''

TIMEOUTS = '''
from datetime import datetime, timezone
from e2b import Sandbox, TimeoutException

with Sandbox.create(timeout=45, request_timeout=20) as sandbox:
    left = sandbox.get_info().end_at - datetime.now(timezone.utc)
    print(40 < left.total_seconds() <= 45)
    sandbox.set_timeout(600)
    left = sandbox.get_info().end_at - datetime.now(timezone.utc)
    print(590 < left.total_seconds() <= 600)
    try:
        sandbox.commands.run("sleep 20", timeout=1)
    except TimeoutException:
        print("too long")
    print(sandbox.commands.run("sleep 1.2; echo done", timeout=0).stdout, end="")
'''

ERRORS = '''
from e2b import (AuthenticationException, CommandExitException, FileNotFoundException, Sandbox,
                 SandboxException, SandboxNotFoundException)

with Sandbox.create() as sandbox:
    try:
        sandbox.commands.run("cat /no/such/file")
    except CommandExitException as e:
        print(e.exit_code, e.stderr.strip())
    try:
        sandbox.files.read("/no/such/file")
    except FileNotFoundException:
        print("no file")
    handle = sandbox.commands.run("sleep 100", background=True)
    print(handle.kill())
    sandbox_id = sandbox.sandbox_id

try:
    Sandbox.connect(sandbox_id)
except SandboxNotFoundException:
    print("gone")
try:
    Sandbox.create("no-such-template")
except SandboxException as e:
    print("404" in str(e))
try:
    Sandbox.create(api_key="e2b_" + "0" * 40)
except AuthenticationException:
    print("wrong key")
'''

STREAMS = '''
from e2b import Sandbox

with Sandbox.create() as sandbox:
    command = sandbox.commands.run("for i in 1 2 3; do echo line $i; sleep 0.1; done",
                                   background=True)
    for stdout, stderr, _ in command:
        if stdout:
            print(stdout, end="")
    print(command.wait().exit_code)
    sandbox.commands.run("echo to stderr >&2; echo to stdout",
                         on_stdout=lambda text: print("OUT", text, end=""),
                         on_stderr=lambda text: print("ERR", text, end=""))
'''

RECONNECT = '''
from e2b import Sandbox, SandboxQuery, SandboxState

first = Sandbox.create(metadata={"user": "u-17"}, timeout=120)
first.files.write("state.json", '{"step": 3}')

pages = Sandbox.list(query=SandboxQuery(metadata={"user": "u-17"}, state=[SandboxState.RUNNING]))
found = pages.next_items()
print(len(found), found[0].sandbox_id == first.sandbox_id)
again = Sandbox.connect(found[0].sandbox_id)
print(again.files.read("state.json"))
print(again.kill(), first.is_running())
'''

REST = '''
import os, requests

api, key = os.environ["E2B_API_URL"], {"X-API-Key": os.environ["E2B_API_KEY"]}
made = requests.post(f"{api}/sandboxes", headers=key, json={"templateID": "base", "timeout": 60})
sandbox = made.json()["sandboxID"]
print(made.status_code, [s["state"] for s in requests.get(f"{api}/v2/sandboxes", headers=key).json()
                         if s["sandboxID"] == sandbox])
print(requests.get(f"{api}/sandboxes/{sandbox}", headers=key).json()["templateID"] != "")
print(requests.delete(f"{api}/sandboxes/{sandbox}", headers=key).status_code,
      requests.get(f"{api}/sandboxes/{sandbox}", headers=key).status_code)
'''

SERVER = '''
import os, time, requests
from e2b import Sandbox

with Sandbox.create() as sandbox:
    sandbox.files.write("index.html", "<h1>hello</h1>")
    sandbox.commands.run("python3 -m http.server 8000", background=True)
    address = os.environ["E2B_SANDBOX_URL"]
    headers = {"Host": sandbox.get_host(8000)}
    for _ in range(50):
        answer = requests.get(address, headers=headers)
        if answer.ok:
            break
        time.sleep(0.1)
    print(answer.status_code, answer.text)
'''

PROGRAMS = {
    "sync": (SYNC, r"5050\n\n/home/user/script.py file\n"),
    "async": (ASYNC, "Hello World\n11\n"),
    "several at once": (SEVERAL_AT_ONCE, r"\[0, 1, 4, 9, 16, 25, 36, 49\]\n"),
    "threads": (THREADS, re.escape(str(list(range(12)))) + "\n"),
    "environment": (ENVIRONMENT, "secret global\nsecret local\nglobal\n"),
    "timeouts": (TIMEOUTS, "True\nTrue\ntoo long\ndone\n"),
    "errors": (ERRORS, "1 cat: /no/such/file: No such file or directory\nno file\nTrue\ngone\n"
                       "True\nwrong key\n"),
    "streams": (STREAMS, "line 1\nline 2\nline 3\n0\n(OUT to stdout\n|ERR to stderr\n){2}"),
    "reconnect": (RECONNECT, "1 True\n{\"step\": 3}\nTrue False\n"),
    "rest": (REST, r"201 \['running'\]\nTrue\n204 404\n"),
    "server": (SERVER, "200 <h1>hello</h1>\n"),
}


def run_program(path, expected):
    """The asynchronous SDK (2.63.0) now and then aborts in its own threads when the interpreter is already
    gone: no Python frame is left, and all was printed. Such a run says nothing about Adit and is repeated."""
    env = {**client_env(path.parent), "PYTHONFAULTHANDLER": "1"}
    for _ in range(5):
        run = subprocess.run([sys.executable, path], env=env, cwd=path.parent,
                             capture_output=True, text=True, timeout=60)
        if not (run.returncode == -signal.SIGABRT and "<no Python frame>" in run.stderr
                and re.fullmatch(expected, run.stdout)):
            break
        print("the client aborted behind its program's end; once more", file=sys.stderr)
    return run


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_a_user(broker, tmp_path, name):
    program, expected = PROGRAMS[name]
    path = tmp_path / "program.py"
    path.write_text(program)
    run = run_program(path, expected)
    assert run.returncode == 0, run.stderr
    assert re.fullmatch(expected, run.stdout), run.stdout
    assert run.stderr == ""


def test_an_unset_key_is_named(broker, tmp_path):
    env = client_env(tmp_path)
    del env["E2B_API_KEY"]
    run = subprocess.run([sys.executable, "-c", SYNC], env=env, capture_output=True, text=True,
                         timeout=60)
    assert run.returncode != 0 and "E2B_API_KEY" in run.stderr

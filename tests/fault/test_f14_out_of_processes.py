# SPDX-License-Identifier: Apache-2.0
"""F14: no more processes in the sandbox: Start answers resource_exhausted, envd lives on."""

import pytest
from e2b import RateLimitException, Sandbox

# As many sleeping children as there are, then tell and wait: the limit stays reached.
FILL = """
import os, sys, time
made = 0
while True:
    try:
        pid = os.fork()
    except OSError:
        break
    if pid == 0:
        time.sleep(1000)
        os._exit(0)
    made += 1
print(f"full {made}", flush=True)
time.sleep(1000)
"""


def test_start_is_refused_and_envd_lives(own_broker):
    own_broker("--max-pids", "64")
    sandbox = Sandbox.create(timeout=300)
    sandbox.files.write("/home/user/fill.py", FILL)
    filler = sandbox.commands.run("exec python3 fill.py", background=True, timeout=0)
    line = next(out for out, _, _ in filler if out)
    assert line.startswith("full ") and int(line.split()[1]) > 20, line
    with pytest.raises(RateLimitException):
        sandbox.commands.run("true")
    assert sandbox.is_running()
    assert sandbox.files.read("/home/user/fill.py") == FILL
    assert any(p.pid == filler.pid for p in sandbox.commands.list())
    assert sandbox.kill()

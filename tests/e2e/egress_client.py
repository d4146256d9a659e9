# SPDX-License-Identifier: Apache-2.0
"""A client of the tests of egress, in the broker's network: makes sandboxes, takes steps in them.

A line of standard input asks for the steps of sandboxes, which are taken at once; a line of
standard output says what came. A step is a command, or an update of the network options (an
object). A sandbox that is to be kept is named by what comes last; another line goes on in it.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from e2b import CommandExitException, Sandbox


def take(sandbox, step):
    if isinstance(step, dict):
        return sandbox.update_network(step)
    try:
        result = sandbox.commands.run(step, timeout=60)
    except CommandExitException as e:
        result = e
    except Exception as e:  # the test says what it thinks of it; the client goes on
        return {"status": None, "out": "", "err": repr(e)}
    return {"status": result.exit_code, "out": result.stdout, "err": result.stderr}


def serve(said):
    if "sandbox" in said:
        sandbox = Sandbox.connect(said["sandbox"])
    else:
        sandbox = Sandbox.create(timeout=300, **said.get("options", {}))
    try:
        seen = [take(sandbox, step) for step in said["steps"]]
    finally:
        if "keep" not in said:
            sandbox.kill()
    return [*seen, sandbox.sandbox_id] if "keep" in said else seen


with ThreadPoolExecutor(8) as pool:
    for line in sys.stdin:
        print(json.dumps(list(pool.map(serve, json.loads(line)))), flush=True)

# SPDX-License-Identifier: Apache-2.0
"""A client of test_egress.py, in the broker's network: makes a sandbox, takes steps, says what came.

A step is a command, or an update of the network options (an object). A sandbox that is to be kept is
named by what comes last; another client goes on in it.
"""

import json
import sys

from e2b import CommandExitException, Sandbox

said = json.load(sys.stdin)
seen = []
if said["sandbox"]:
    sandbox = Sandbox.connect(said["sandbox"])
else:
    sandbox = Sandbox.create(timeout=300, **said["options"])
try:
    for step in said["steps"]:
        if isinstance(step, dict):
            sandbox.update_network(step)
            seen.append(None)
            continue
        try:
            result = sandbox.commands.run(step, timeout=60)
        except CommandExitException as e:
            result = e
        seen.append({"status": result.exit_code, "out": result.stdout, "err": result.stderr})
finally:
    if not said["keep"]:
        sandbox.kill()
if said["keep"]:
    seen.append(sandbox.sandbox_id)
print(json.dumps(seen))

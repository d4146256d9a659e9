# SPDX-License-Identifier: Apache-2.0
"""A client of test_egress_policy.py: sandboxes side by side, each with one set of rules after the
other.

Reads {"probe": command, "lanes": [[group, ...], ...]}. A group is {"create", "internet", "network",
"order"}; said of each is what its order (a command) said, or that the rules were refused. The
argument is the SDK's kind: "sync" or "async".
"""

import asyncio
import inspect
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from e2b import AsyncSandbox, Sandbox, SandboxException


async def value(call):
    return await call if inspect.isawaitable(call) else call


class Lane:
    def __init__(self, kind, probe):
        self.kind, self.probe, self.sandbox = kind, probe, None

    async def end(self):
        if self.sandbox:
            await value(self.sandbox.kill())
        self.sandbox = None

    async def set_rules(self, group):
        access = {} if group["internet"] is None else {"allow_internet_access": group["internet"]}
        if group["create"] or not self.sandbox:
            await self.end()
            self.sandbox = await value(self.kind.create(timeout=300, network=group["network"],
                                                        **access))
            await value(self.sandbox.commands.run(self.probe))
        else:
            await value(self.sandbox.update_network({**group["network"], **access}))

    async def run(self, groups):
        said = []
        try:
            for group in groups:
                try:
                    await self.set_rules(group)
                except SandboxException as e:
                    said.append({"refused": str(e)})
                    continue
                done = await value(self.sandbox.commands.run(group["order"], timeout=100))
                said.append(json.loads(done.stdout))
        finally:
            await self.end()
        return said


async def all_lanes(job):
    return await asyncio.gather(*(Lane(AsyncSandbox, job["probe"]).run(g) for g in job["lanes"]))


def each_lane(job):
    with ThreadPoolExecutor(len(job["lanes"])) as pool:
        return list(pool.map(lambda g: asyncio.run(Lane(Sandbox, job["probe"]).run(g)),
                             job["lanes"]))


said = json.load(sys.stdin)
answer = asyncio.run(all_lanes(said)) if sys.argv[1] == "async" else each_lane(said)
print(json.dumps(answer), flush=True)
os._exit(0)  # threads of the asynchronous SDK now and then abort an interpreter that ends

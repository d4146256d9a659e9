# SPDX-License-Identifier: Apache-2.0
"""Torture of the scheduler, by what its broker asks it for.

When what was committed finds no memory in the working copy, the scheduler ends (75) and is started
anew, as its keeper does. Nothing else ends it.
"""

import json

import pytest

from conftest import Broker, end, kill_everything, wait_for
from support import http_request
from torture import Memory, Request, fail_each, preload
from world import OwnScheduler


LOST = "scheduler: the working copy was lost\n"


class World:
    def __init__(self, broker, scheduler, memory):
        self.broker, self.scheduler, self.memory = broker, scheduler, memory
        self.key = {"X-API-Key": broker.env()["E2B_API_KEY"]}
        self.admin = {"X-Admin-Token": (broker.state / "state/admin-token").read_text().strip()}

    def ask(self, method, path, body=None, key=None):
        return http_request(self.broker, method, path, key or self.key, body and json.dumps(body))

    def expect_alive(self):
        wait_for(self.is_online, 20, "a scheduler that knows its node")

    def is_online(self):
        """A heartbeat that failed makes the broker introduce itself again."""
        status = self.scheduler.process.poll()
        if status is not None:
            log = (self.scheduler.directory / "scheduler.log").read_text()
            assert status == 75 and log.endswith(LOST), f"it ended with {status}: {log[-3000:]}"
            self.scheduler.start()
        nodes = self.ask("GET", "/nodes", key=self.admin)
        return nodes.status == 200 and [node["status"] for node in nodes.json()] == ["ready"]


@pytest.fixture(scope="module")
def world(scratch):
    prefix = preload(scratch / "scheduler-memory")
    memory = Memory(scratch / "scheduler-memory")
    scheduler = OwnScheduler(scratch / "tortured-scheduler", prefix)
    broker = Broker(scratch / "its-broker", ["--scheduler", scheduler.address]).start()
    yield World(broker, scheduler, memory)
    memory.fail(0)
    kill_everything(broker)
    end(broker, [])
    scheduler.kill()


class Create(Request):
    """A sandbox that is there is one that was answered with 201."""

    def __init__(self, world):
        super().__init__(self.create)
        self.world = world

    def create(self):
        return self.world.ask("POST", "/sandboxes", {"templateID": "base", "timeout": 300}).status

    def check(self, got):
        listed = self.world.ask("GET", "/v2/sandboxes").json()
        assert len(listed) == (got == 201)
        for sandbox in listed:
            assert self.world.ask("DELETE", f"/sandboxes/{sandbox['sandboxID']}").status == 204


def test_each_allocation_for_a_create_fails_once(world):
    failed = fail_each(world, Create(world), 201)
    print("place and confirm", failed)
    assert failed > 10


def test_each_allocation_for_a_look_up_of_an_unknown_key_fails_once(world):
    wrong = {"X-API-Key": "e2b_" + "0" * 40}
    failed = fail_each(world, Request(lambda: world.ask("GET", "/sandboxes", key=wrong).status), 401)
    print("key", failed)
    assert failed > 1


def test_each_allocation_for_the_templates_fails_once(world):
    failed = fail_each(world, Request(lambda: world.ask("GET", "/templates").status), 200)
    print("templates", failed)
    assert failed > 1

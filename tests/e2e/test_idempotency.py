# SPDX-License-Identifier: Apache-2.0
"""A create with an Idempotency-Key makes one sandbox, however often it is repeated."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from e2b import Sandbox


def create(broker, key, api_key=None):
    return requests.post(
        f"{broker.url}/v2/sandboxes",
        json={"templateID": "base", "timeout": 120},
        headers={"X-API-Key": api_key or broker.env()["E2B_API_KEY"], "Idempotency-Key": key},
        timeout=60,
    )


def test_a_repeated_create_finds_the_same_sandbox(broker):
    key = str(uuid.uuid4())
    first = Sandbox.create(timeout=120, idempotency_key=key)
    again = Sandbox.create(timeout=120, idempotency_key=key)
    assert again.sandbox_id == first.sandbox_id
    assert again.commands.run("echo same").stdout == "same\n"
    other = Sandbox.create(timeout=120, idempotency_key=str(uuid.uuid4()))
    assert other.sandbox_id != first.sandbox_id
    assert other.kill() and first.kill()


@pytest.mark.parametrize("attempt", range(5))
def test_repetitions_at_once_make_one(broker, attempt):
    """They meet in a different step of the create each time."""
    key = str(uuid.uuid4())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: create(broker, key), range(8)))
    made = {a.json()["sandboxID"] for a in answers if a.status_code == 201}
    assert len(made) == 1
    (sandbox_id,) = made
    again = create(broker, key).json()["sandboxID"]
    assert Sandbox.kill(sandbox_id)
    assert again == sandbox_id
    refused = [a.json() for a in answers if a.status_code != 201]
    assert all(r["code"] == 409 for r in refused)
    assert all(r.get("error_code") == "sandbox_start_in_flight" for r in refused), refused


def test_the_key_is_remembered_over_a_restart(own_broker):
    broker = own_broker()
    first = create(broker, "a-restart").json()["sandboxID"]
    broker.kill()
    broker.start()
    assert create(broker, "a-restart").json()["sandboxID"] == first
    assert Sandbox.kill(first)


@pytest.mark.parametrize("key", ["", "UPPER", "with space", "x" * 256, "ünicode".encode()])
def test_a_malformed_key_is_refused(broker, key):
    answer = create(broker, key)
    assert answer.status_code == 400
    assert answer.json()["code"] == 400

# SPDX-License-Identifier: Apache-2.0
"""What teams and keys may have: sandboxes at once, creates a second, length of a life; and keys that
are revoked."""

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from e2b import RateLimitException, Sandbox, SandboxException

from conftest import BIN, wait_for
from support import JS, NODE, add_key, api, client_env

BODY = {"templateID": "base", "timeout": 60}
OVER = "you have reached the maximum number of concurrent E2B sandboxes"


def keys(broker, *words):
    """`broker keys`; what it prints."""
    done = subprocess.run(
        [str(BIN / "broker"), "keys", "--state-dir", str(broker.state / "state"), *words],
        capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def id_of(broker, name):
    return next(line.split()[0] for line in keys(broker, "list").splitlines() if f"  {name}" in line)


@pytest.fixture
def ended(broker):
    """Sandboxes that are ended when the test is over: (key, id)."""
    made = []
    yield made
    for key, sandbox_id in made:
        api(broker, "DELETE", f"/sandboxes/{sandbox_id}", key=key)


def create(broker, ended, key, body=None):
    answer = api(broker, "POST", "/sandboxes", body or BODY, key=key)
    if answer.status == 201:
        ended.append((key, answer.json()["sandboxID"]))
    return answer


def test_a_team_has_its_maximum_and_no_more(broker, ended):
    one, two = add_key(broker, "quota-1", "quota"), add_key(broker, "quota-2", "quota")
    assert "sandboxes=2" in keys(broker, "limit", "team:quota", "sandboxes=2")
    assert create(broker, ended, one).status == create(broker, ended, two).status == 201
    for path in ("/sandboxes", "/v2/sandboxes"):
        refused = api(broker, "POST", path, BODY, key=one)
        assert refused.status == 429 and refused.json()["code"] == 429
        assert refused.json()["message"].startswith(f"{OVER} (2)")
        assert refused.headers["Retry-After"] is None  # waiting helps only if somebody ends one
    with pytest.raises(RateLimitException, match=OVER):
        Sandbox.create(api_key=two, retries=0)
    assert create(broker, ended, add_key(broker, "quota-3", "quota-other")).status == 201
    assert "team quota, 2 sandboxes:  sandboxes=2" in keys(broker, "teams")
    assert api(broker, "DELETE", f"/sandboxes/{ended[0][1]}", key=two).status == 204
    assert create(broker, ended, two).status == 201
    keys(broker, "limit", "team:quota")
    assert create(broker, ended, two).status == 201


def test_creates_that_come_together_do_not_pass_the_maximum(broker, ended):
    key = keys(broker, "add", "quota-race", "quota-race", "sandboxes=2")
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: create(broker, ended, key).status, range(8)))
    assert sorted(seen) == [201] * 2 + [429] * 6


def test_the_javascript_sdk_waits_and_tries_again(broker, tmp_path):
    key = keys(broker, "add", "quota-js", "quota-js", "rate=1", "burst=1")
    program = """
        import { Sandbox } from 'e2b'
        for (let i = 0; i < 3; i++)
            await (await Sandbox.create({ timeoutMs: 60000 })).kill()
        console.log('done')
    """
    run = subprocess.run([str(NODE), "--input-type=module", "-e", program], cwd=JS,
                         env={**client_env(tmp_path), "E2B_API_KEY": key}, capture_output=True,
                         text=True, timeout=60)
    assert run.stdout == "done\n", run.stderr


def test_a_key_has_its_own_maximum(broker, ended):
    key = keys(broker, "add", "quota-own", "quota-k", "sandboxes=1")
    assert create(broker, ended, key).status == 201
    assert create(broker, ended, key).json()["message"].startswith(f"{OVER} (1)")
    assert create(broker, ended, add_key(broker, "quota-free", "quota-k")).status == 201


def test_creates_that_come_too_fast_are_told_when_to_come_again(broker, ended):
    key = keys(broker, "add", "quota-rate", "quota-r", "rate=1", "burst=2")
    with ThreadPoolExecutor(6) as pool:  # together: a bucket is refilled while one waits
        answers = list(pool.map(lambda _: create(broker, ended, key), range(6)))
    refused = [a for a in answers if a.status == 429]
    assert len(answers) - len(refused) >= 2
    assert refused and all(a.headers["Retry-After"].isdigit() for a in refused)
    assert "faster than this API key allows" in refused[0].json()["message"]
    begun = time.monotonic()
    while create(broker, ended, key).status == 429:
        assert time.monotonic() - begun < 5


def test_a_life_is_no_longer_than_allowed(broker, ended):
    key = keys(broker, "add", "quota-life", "quota-l", "timeout=1h")
    too_long = create(broker, ended, key, {"templateID": "base", "timeout": 3601})
    assert too_long.status == 400
    assert too_long.json()["message"] == "Timeout cannot be greater than 1 hours"
    made = create(broker, ended, key, {"templateID": "base", "timeout": 60}).json()["sandboxID"]
    for version in ("", "/v2"):
        answer = api(broker, "POST", f"{version}/sandboxes/{made}/connect", {"timeout": 3601}, key=key)
        assert (answer.status, answer.json()["message"]) == (
            400, "Timeout cannot be greater than 1 hours")
    assert api(broker, "POST", f"/sandboxes/{made}/timeout", {"timeout": 7200}, key=key).status == 204
    detail = api(broker, "GET", f"/sandboxes/{made}", key=key).json()
    assert detail["endAt"] <= time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))


def test_a_revoked_key_is_refused_from_that_moment(broker):
    key = add_key(broker, "quota-revoked", "quota-v")
    assert api(broker, "GET", "/sandboxes", key=key).status == 200
    keys(broker, "revoke", id_of(broker, "quota-revoked"))
    for method, path, body in (("GET", "/sandboxes", None), ("POST", "/sandboxes", BODY)):
        answer = api(broker, method, path, body, key=key)
        assert answer.status == 401 and answer.json()["message"].startswith("Invalid API key")


def test_a_wrong_limit_is_named(broker):
    done = subprocess.run(
        [str(BIN / "broker"), "keys", "--state-dir", str(broker.state / "state"), "limit",
         "team:quota", "sandboxes=many"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and "sandboxes=many: a limit is sandboxes=N" in done.stderr


def test_two_teams_do_not_see_each_other(broker, ended):
    mine, yours = add_key(broker, "mine", "team-m"), add_key(broker, "yours", "team-y")
    made = create(broker, ended, mine).json()["sandboxID"]
    nobody = "i" + "0" * 20
    for method, path, body in (
            ("GET", "", None), ("DELETE", "", None), ("POST", "/timeout", {"timeout": 9}),
            ("POST", "/connect", {"timeout": 9}), ("POST", "/resume", {}), ("POST", "/refreshes", {}),
            ("PUT", "/network", {}), ("POST", "/rotate-tokens", None)):
        theirs = api(broker, method, f"/sandboxes/{made}{path}", body, key=yours)
        absent = api(broker, method, f"/sandboxes/{nobody}{path}", body, key=yours)
        assert theirs.status == absent.status == 404, path
        assert theirs.text.replace(made, nobody) == absent.text
    assert made not in api(broker, "GET", "/v2/sandboxes", key=yours).text
    with pytest.raises(SandboxException):
        Sandbox.connect(made, api_key=yours)
    assert api(broker, "GET", f"/sandboxes/{made}", key=mine).status == 200


def test_a_teams_name_may_be_as_long_as_the_scheduler_allows(broker, ended):
    key = add_key(broker, "long", "t" * 64)
    made = create(broker, ended, key)
    assert made.status == 201, made.text
    path = f"/sandboxes/{made.json()['sandboxID']}"
    assert api(broker, "GET", path, key=key).status == 200
    assert api(broker, "GET", path + "/logs", key=key).status == 200


def test_without_the_scheduler_nobody_gets_in_who_would_not_have(own_broker):
    broker = own_broker()
    good, revoked, unused = (add_key(broker, n, "quota-s") for n in ("good", "revoked", "unused"))
    for key in (good, revoked):
        assert api(broker, "GET", "/sandboxes", key=key).status == 200
    keys(broker, "revoke", id_of(broker, "revoked"))
    assert api(broker, "GET", "/sandboxes", key=revoked).status == 401
    assert api(broker, "GET", "/sandboxes", key=good).status == 200
    scheduler = broker.scheduler()
    os.kill(scheduler, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(3) as pool:
            seen = list(pool.map(lambda k: api(broker, "GET", "/sandboxes", key=k).status,
                                 (good, revoked, unused)))
        assert seen == [200, 503, 503]  # the one that was vouched for a moment ago goes on
    finally:
        os.kill(scheduler, signal.SIGCONT)
    wait_for(lambda: api(broker, "GET", "/sandboxes", key=unused).status == 200, 10, "the scheduler")


def test_absent_and_not_yours_take_the_same_time(broker, ended):
    mine, yours = add_key(broker, "time-m", "time-m"), add_key(broker, "time-y", "time-y")
    made = create(broker, ended, mine).json()["sandboxID"]

    def difference():
        times = {made: [], "i" + "0" * 20: []}
        for _ in range(300):
            for sandbox_id, list_ in times.items():
                begun = time.perf_counter()
                assert api(broker, "GET", f"/sandboxes/{sandbox_id}", key=yours).status == 404
                list_.append(time.perf_counter() - begun)
        one, other = (sorted(t)[len(t) // 4] for t in times.values())
        print(f"\nnot yours {one * 1e6:.0f} us, absent {other * 1e6:.0f} us")
        return abs(one - other) / max(one, other)

    assert min(difference() for _ in range(3)) < 0.1  # the machine may have been busy once

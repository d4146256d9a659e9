# SPDX-License-Identifier: Apache-2.0
"""Sandboxes from create to their end, and who may see them."""

import datetime
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from e2b import (
    AuthenticationException,
    Sandbox,
    SandboxException,
    SandboxNotFoundException,
    SandboxQuery,
    SandboxState,
)
from packaging.version import Version

from conftest import wait_for
from support import add_key


def all_pages(**kwargs):
    pages, found = Sandbox.list(**kwargs), []
    while pages.has_next:
        found.append(pages.next_items())
    return found


def ids(pages):
    return [s.sandbox_id for page in pages for s in page]


def test_create_takes_envs_metadata_and_timeout(broker):
    metadata = {"name": "a test", "odd": "ä=&% +/", "empty": ""}
    before = datetime.datetime.now(datetime.timezone.utc)
    sandbox = Sandbox.create(timeout=77, envs={"A": "1", "B": "two words"}, metadata=metadata)
    try:
        assert sandbox.commands.run('echo "$A|$B"').stdout == "1|two words\n"
        info = sandbox.get_info()
        assert info.sandbox_id == sandbox.sandbox_id
        assert info.metadata == metadata
        assert info.state == SandboxState.RUNNING
        assert info.name == "base"
        assert info.cpu_count >= 1 and info.memory_mb >= 128
        assert Version("0.5.2") <= Version(info.envd_version)
        assert before < info.started_at < datetime.datetime.now(datetime.timezone.utc)
        assert (info.end_at - info.started_at).total_seconds() == pytest.approx(77, abs=1)
        assert info.lifecycle == {"on_timeout": "kill", "auto_resume": False}
    finally:
        assert sandbox.kill()


def test_kill_twice(broker):
    sandbox = Sandbox.create(timeout=60)
    assert sandbox.kill() is True
    assert sandbox.kill() is False
    assert Sandbox.kill(sandbox.sandbox_id) is False
    assert not sandbox.is_running()
    assert sandbox.sandbox_id not in ids(all_pages())
    with pytest.raises(SandboxNotFoundException):
        sandbox.get_info()
    with pytest.raises(SandboxNotFoundException):
        sandbox.set_timeout(10)
    with pytest.raises(SandboxNotFoundException):
        Sandbox.connect(sandbox.sandbox_id)


def test_connect_never_shortens_and_may_lengthen(sandbox):
    end = sandbox.get_info().end_at
    Sandbox.connect(sandbox.sandbox_id, timeout=5)
    assert sandbox.get_info().end_at == end
    Sandbox.connect(sandbox.sandbox_id, timeout=1000)
    assert (sandbox.get_info().end_at - end).total_seconds() > 800


def test_set_timeout_is_exact_both_ways(sandbox):
    for seconds in (600, 30):
        now = datetime.datetime.now(datetime.timezone.utc)
        sandbox.set_timeout(seconds)
        left = (sandbox.get_info().end_at - now).total_seconds()
        assert left == pytest.approx(seconds, abs=1)


def test_the_timeout_kills_within_a_second(broker):
    sandbox = Sandbox.create(timeout=60)
    sandbox.set_timeout(1)
    end = sandbox.get_info().end_at
    wait_for(lambda: not sandbox.is_running(), 10, "the end")
    late = (datetime.datetime.now(datetime.timezone.utc) - end).total_seconds()
    assert 0 <= late < 1
    assert sandbox.sandbox_id not in ids(all_pages())
    with pytest.raises(SandboxNotFoundException):
        sandbox.get_info()


def test_a_timeout_of_zero_ends_it_now(broker):
    sandbox = Sandbox.create(timeout=60)
    sandbox.set_timeout(0)
    wait_for(lambda: not sandbox.is_running(), 2, "the end")
    assert not sandbox.kill()


def test_list_pages_filters_orders_and_states(broker):
    mark = uuid.uuid4().hex
    with ThreadPoolExecutor(9) as pool:
        boxes = list(pool.map(
            lambda n: Sandbox.create(
                timeout=240, metadata={"mark": mark, "parity": "even" if n % 2 == 0 else "odd",
                                       "text": f"{n}&=% ä"}),
            range(27)))
    try:
        mine = SandboxQuery(metadata={"mark": mark})
        pages = all_pages(query=mine, limit=10)
        assert [len(p) for p in pages] == [10, 10, 7]
        found = ids(pages)
        assert sorted(found) == sorted(b.sandbox_id for b in boxes)
        starts = [s.started_at for page in pages for s in page]
        assert starts == sorted(starts, reverse=True)
        assert ids(all_pages(query=mine, limit=4, order="asc")) == found[::-1]

        even = SandboxQuery(metadata={"mark": mark, "parity": "even"})
        assert len(ids(all_pages(query=even))) == 14
        one = SandboxQuery(metadata={"mark": mark, "text": "7&=% ä"})
        assert ids(all_pages(query=one)) == [boxes[7].sandbox_id]
        nothing = SandboxQuery(metadata={"mark": mark, "parity": "neither"})
        assert all_pages(query=nothing) == [[]]

        running = SandboxQuery(metadata={"mark": mark}, state=[SandboxState.RUNNING])
        assert sorted(ids(all_pages(query=running))) == sorted(found)
        paused = SandboxQuery(metadata={"mark": mark}, state=[SandboxState.PAUSED])
        assert ids(all_pages(query=paused)) == []
        both = SandboxQuery(metadata={"mark": mark},
                            state=[SandboxState.RUNNING, SandboxState.PAUSED])
        assert len(ids(all_pages(query=both))) == 27

        middle = pages[1][3]
        later = SandboxQuery(metadata={"mark": mark}, started_after=middle.started_at)
        expected = [s.sandbox_id for page in pages for s in page
                    if s.started_at >= middle.started_at]
        assert sorted(ids(all_pages(query=later))) == sorted(expected)
        by_template = SandboxQuery(metadata={"mark": mark}, template="base")
        assert len(ids(all_pages(query=by_template))) == 27
        no_such = SandboxQuery(metadata={"mark": mark}, template="no-such-template")
        assert ids(all_pages(query=no_such)) == []
    finally:
        with ThreadPoolExecutor(9) as pool:
            assert all(pool.map(lambda b: b.kill(), boxes))
    assert ids(all_pages(query=SandboxQuery(metadata={"mark": mark}))) == []


def test_a_cursor_survives_what_comes_and_goes_between_pages(broker):
    mark = uuid.uuid4().hex
    boxes = [Sandbox.create(timeout=120, metadata={"mark": mark}) for _ in range(5)]
    query = SandboxQuery(metadata={"mark": mark})
    pages = Sandbox.list(query=query, limit=2)
    seen = [s.sandbox_id for s in pages.next_items()]
    boxes.append(Sandbox.create(timeout=120, metadata={"mark": mark}))  # newest: before the cursor
    assert Sandbox.kill(seen[-1])  # the one the cursor names
    while pages.has_next:
        seen += [s.sandbox_id for s in pages.next_items()]
    assert seen == [b.sandbox_id for b in boxes[4::-1]]
    for b in boxes:
        b.kill()


def test_thirty_at_once_from_one_client(broker):
    started = time.monotonic()
    with ThreadPoolExecutor(30) as pool:
        boxes = list(pool.map(lambda _: Sandbox.create(timeout=240), range(30)))
        took = time.monotonic() - started
        try:
            assert len({b.sandbox_id for b in boxes}) == 30
            outputs = list(pool.map(
                lambda n: boxes[n].commands.run(f"echo {n}; cat /proc/sys/kernel/random/uuid").stdout, range(30)))
            assert [o.split()[0] for o in outputs] == [str(n) for n in range(30)]
            assert len({o.split()[1] for o in outputs}) == 30
        finally:
            assert all(pool.map(lambda b: b.kill(), boxes))
    print(f"\n30 sandboxes at once: {took:.2f} s")


def test_sandboxes_do_not_see_one_another(broker):
    one, two = Sandbox.create(timeout=60), Sandbox.create(timeout=60)
    try:
        one.files.write("/tmp/secret", "one's")
        one.commands.run("exec python3 -m http.server 8000", background=True)
        assert "http.server" in one.commands.run("ps ax").stdout
        assert not two.files.exists("/tmp/secret")
        assert "http.server" not in two.commands.run("ps ax").stdout
    finally:
        one.kill()
        two.kill()


def test_an_unknown_template_is_named(broker):
    with pytest.raises(SandboxException, match="404.*template 'no-such-template' not found"):
        Sandbox.create("no-such-template", timeout=60)


def test_the_template_is_found_by_id_and_alias(sandbox):
    template_id = sandbox.get_info().template_id
    for ref in (template_id, "base", "BASE"):
        with Sandbox.create(ref, timeout=60) as s:
            assert s.get_info().template_id == template_id


@pytest.mark.parametrize("key", ["e2b_" + "0" * 40, "e2b_ab", "nonsense", "e2b_" + "g" * 40])
def test_a_wrong_key_is_refused(broker, key):
    with pytest.raises(AuthenticationException, match="Invalid API key"):
        Sandbox.create(timeout=60, api_key=key)
    with pytest.raises(AuthenticationException):
        Sandbox.list(api_key=key).next_items()


def test_two_teams_do_not_see_each_other(broker, sandbox):
    other = add_key(broker, "other", f"team-{uuid.uuid4().hex[:8]}")
    strange = Sandbox.create(timeout=60, api_key=other)
    try:
        assert ids([Sandbox.list(api_key=other).next_items()]) == [strange.sandbox_id]
        assert strange.sandbox_id not in ids(all_pages())
        for call in (
            lambda: Sandbox.get_info(sandbox.sandbox_id, api_key=other),
            lambda: Sandbox.connect(sandbox.sandbox_id, api_key=other),
            lambda: Sandbox.set_timeout(sandbox.sandbox_id, 10, api_key=other),
        ):
            with pytest.raises(SandboxNotFoundException):
                call()
        assert Sandbox.kill(sandbox.sandbox_id, api_key=other) is False
        assert sandbox.is_running()
    finally:
        assert strange.kill()


@pytest.mark.parametrize("options", [
    {"lifecycle": {"on_timeout": "pause"}},
    {"volume_mounts": {"/data": "some-volume"}},
])
def test_options_of_later_features_fail_loudly(broker, options):
    with pytest.raises(SandboxException, match="not available yet|not enabled"):
        Sandbox.create(timeout=60, **options)


def test_calls_of_later_features_fail_loudly(sandbox):
    for call in (sandbox.pause, sandbox.fork, sandbox.create_snapshot,
                 lambda: sandbox.list_snapshots().next_items()):
        with pytest.raises(SandboxException, match="501"):
            call()
    assert sandbox.is_running()

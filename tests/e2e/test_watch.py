# SPDX-License-Identifier: Apache-2.0
"""Watching directories with the newest Python SDK: stored watchers (sync) and streams (async)."""

import asyncio
import ctypes
import os
import time
import uuid

import pytest
from e2b import (
    AsyncSandbox,
    FileNotFoundException,
    FilesystemEventType as T,
    InvalidArgumentException,
    Sandbox,
    SandboxException,
    TimeoutException,
)


@pytest.fixture(scope="module")
def box(broker):
    s = Sandbox.create(timeout=1800)
    yield s
    s.kill()


@pytest.fixture
def folder(box):
    path = f"/home/user/{uuid.uuid4().hex[:8]}"
    box.files.make_dir(path)
    return path


def told(handle):
    return [(e.type, e.name) for e in handle.get_new_events()]


TAKE_ALL = """
import ctypes, sys, time
inotify_init = ctypes.CDLL(None).inotify_init
taken = 0
while taken < 5000 and inotify_init() >= 0:
    taken += 1
print(taken, flush=True)
time.sleep(60)
"""


def test_a_sandbox_that_takes_all_instances_takes_nobody_elses(box, folder):
    with Sandbox.create(timeout=60) as greedy:
        greedy.files.write("/tmp/take.py", TAKE_ALL)
        taken = greedy.commands.run("python3 /tmp/take.py", background=True)
        for out, _, _ in taken:
            if out:
                assert int(out) < 5000, "there is no limit"
                break
        handle = box.files.watch_dir(folder)
        box.files.write(f"{folder}/seen", "x")
        assert (T.WRITE, "seen") in told(handle)
        handle.stop()
        fds = [ctypes.CDLL(None).inotify_init() for _ in range(4)]
        assert all(fd >= 0 for fd in fds), "the host's own are gone"
        for fd in fds:
            os.close(fd)
        greedy.kill()


NEW = [T.CREATE, T.CHMOD, T.WRITE]


@pytest.mark.parametrize("size", [1, 1000, 1 << 20, (1 << 20) + 1, 5_000_000])
@pytest.mark.parametrize("way", [{}, {"use_octet_stream": True}, {"gzip": True}])
def test_a_new_file_makes_exactly_three_events(box, folder, size, way):
    watcher = box.files.watch_dir(folder)
    box.files.write(f"{folder}/f", b"x" * size, **way)
    assert told(watcher) == [(t, "f") for t in NEW]
    assert told(watcher) == []
    watcher.stop()


def test_overwriting_changes_owner_and_content(box, folder):
    box.files.write(f"{folder}/f", "old")
    watcher = box.files.watch_dir(folder)
    box.files.write(f"{folder}/f", "new")
    types = [t for t, name in told(watcher)]
    assert types in ([T.CHMOD, T.WRITE, T.WRITE], [T.CHMOD, T.WRITE])
    box.files.write(f"{folder}/f", b"x" * 2_000_000)
    assert told(watcher) == [(t, "f") for t in NEW]
    watcher.stop()


def test_each_kind_of_event(box, folder):
    box.files.write(f"{folder}/f", "x")
    watcher = box.files.watch_dir(folder)
    box.files.rename(f"{folder}/f", f"{folder}/g")
    assert told(watcher) == [(T.RENAME, "f"), (T.CREATE, "g")]
    box.commands.run(f"chmod 600 {folder}/g")
    assert told(watcher) == [(T.CHMOD, "g")]
    box.files.remove(f"{folder}/g")
    assert told(watcher) == [(T.REMOVE, "g")]
    box.files.make_dir(f"{folder}/d")
    # The directory is made, then given to its user.
    assert told(watcher) == [(T.CREATE, "d"), (T.CHMOD, "d")]
    box.files.write(f"{folder}/d/f", "x")
    assert told(watcher) == []
    watcher.stop()
    with pytest.raises(SandboxException):
        watcher.get_new_events()


def test_recursive(box, folder):
    box.files.make_dir(f"{folder}/there/deep")
    watcher = box.files.watch_dir(folder, recursive=True)
    box.files.write(f"{folder}/there/deep/f", "x")
    assert told(watcher) == [(t, "there/deep/f") for t in NEW]
    box.commands.run(f"mkdir -p {folder}/a/b/c && echo x > {folder}/a/b/c/f")
    names = [name for t, name in told(watcher) if t == T.CREATE]
    assert list(dict.fromkeys(names)) == ["a", "a/b", "a/b/c", "a/b/c/f"]
    box.commands.run(f"mv {folder}/a {folder}/n && echo y >> {folder}/n/b/c/f")
    events = told(watcher)
    assert events[:2] == [(T.RENAME, "a"), (T.CREATE, "n")]
    assert (T.WRITE, "n/b/c/f") in events
    box.files.write(f"{folder}/n/b/g", "x")
    assert told(watcher) == [(t, "n/b/g") for t in NEW]
    box.commands.run(f"mv {folder}/n /tmp/out{uuid.uuid4().hex[:6]}")
    assert told(watcher)[0] == (T.RENAME, "n")
    watcher.stop()


def test_entries(box, folder):
    watcher = box.files.watch_dir(folder, include_entry=True, allow_network_mounts=True)
    box.files.write(f"{folder}/f", "hello")
    events = watcher.get_new_events()
    assert [e.type for e in events] == NEW
    for e in events:
        assert (e.entry.name, e.entry.path, e.entry.size) == ("f", f"{folder}/f", 5)
    box.files.remove(f"{folder}/f")
    assert [(e.type, e.entry) for e in watcher.get_new_events()] == [(T.REMOVE, None)]
    watcher.stop()


def test_refusals(box, folder):
    with pytest.raises(FileNotFoundException, match="not found"):
        box.files.watch_dir(f"{folder}/no")
    box.files.write(f"{folder}/f", "x")
    with pytest.raises(InvalidArgumentException, match="not a directory"):
        box.files.watch_dir(f"{folder}/f")
    watchers = [box.files.watch_dir(folder) for _ in range(64)]
    with pytest.raises(SandboxException, match="64"):
        box.files.watch_dir(folder)
    for w in watchers:
        w.stop()


def test_a_watcher_outlives_its_client(box, folder):
    watcher = box.files.watch_dir(folder)
    other = Sandbox.connect(box.sandbox_id)
    other.files.write(f"{folder}/f", "x")
    watcher._rpc = other.files._rpc
    assert told(watcher) == [(t, "f") for t in NEW]
    watcher.stop()


STORM = """
import os
os.chdir({folder!r})
os.mkdir("d0")
for i in range({count}):
    os.rename(f"d{{i}}", f"d{{i + 1}}")
"""


def test_ten_thousand_renames_are_complete_or_said_to_be_lost(box, folder):
    """Each rename is numbered: both its events are there, in order, or the watcher says no."""
    watcher = box.files.watch_dir(folder)
    box.files.write("/tmp/storm.py", STORM.format(folder=folder, count=10_000))
    command = box.commands.run("python3 /tmp/storm.py", background=True)
    events, lost = [], False
    is_over = False
    try:
        while not is_over:
            is_over = not any(p.pid == command.pid for p in box.commands.list())
            events += told(watcher)
    except SandboxException as e:
        lost = True
        assert "events were" in str(e)
    command.wait()
    if not lost:
        want = [(T.CREATE, "d0")]
        for i in range(10_000):
            want += [(T.RENAME, f"d{i}"), (T.CREATE, f"d{i + 1}")]
        assert events == want
    watcher.stop()


FLOOD = """
import os
files = [os.open({folder!r} + "/" + str(i) + "x" * 200, os.O_WRONLY | os.O_CREAT) for i in range(9)]
for i in range(60_000):
    os.write(files[i % 9], b"x")
"""


def test_what_nobody_fetches_ends_the_watcher_with_an_error(box, folder):
    """20 MB of events: more than are kept. Others do not notice."""
    watcher = box.files.watch_dir(folder)
    box.files.write("/tmp/flood.py", FLOOD.format(folder=folder))
    box.commands.run("python3 /tmp/flood.py", timeout=60)
    for _ in range(2):
        with pytest.raises(SandboxException, match="watcher error: events were"):
            watcher.get_new_events()
    watcher.stop()
    watcher = box.files.watch_dir(folder)
    box.files.write(f"{folder}/f", "x")
    assert told(watcher) == [(t, "f") for t in NEW]
    watcher.stop()


# ---- streams ----


async def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_stream_tells_the_same(box, folder):
    s = await AsyncSandbox.connect(box.sandbox_id)
    seen = []
    handle = await s.files.watch_dir(folder, on_event=seen.append, recursive=True,
                                     include_entry=True)
    await s.files.write(f"{folder}/f", "hello")
    await wait_for(lambda: len(seen) >= 3)
    assert [(e.type, e.name, e.entry.size) for e in seen] == [(t, "f", 5) for t in NEW]
    del seen[:]
    await s.files.make_dir(f"{folder}/a/b")
    await s.files.write(f"{folder}/a/b/f", "x")
    await wait_for(lambda: (T.WRITE, "a/b/f") in [(e.type, e.name) for e in seen])
    await handle.stop()


async def test_a_stream_ends_at_its_timeout(box, folder):
    s = await AsyncSandbox.connect(box.sandbox_id)
    ends = []
    await s.files.watch_dir(folder, on_event=lambda e: None, on_exit=ends.append, timeout=1)
    await wait_for(lambda: ends)
    assert isinstance(ends[0], TimeoutException)


async def test_a_stream_of_ten_thousand_renames(box, folder):
    s = await AsyncSandbox.connect(box.sandbox_id)
    seen, ends = [], []
    handle = await s.files.watch_dir(folder, on_event=seen.append, on_exit=ends.append, timeout=0)
    await s.files.write("/tmp/storm.py", STORM.format(folder=folder, count=10_000))
    await s.commands.run("python3 /tmp/storm.py", timeout=60)
    await wait_for(lambda: len(seen) >= 20_001 or ends)
    if ends:
        assert "events were" in str(ends[0])
    else:
        assert [e.name for e in seen[1::2]] == [f"d{i}" for i in range(10_000)]
        await handle.stop()

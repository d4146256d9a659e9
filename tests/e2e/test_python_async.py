# SPDX-License-Identifier: Apache-2.0
"""The newest Python SDK, asynchronous."""

import asyncio
import hashlib
import uuid

import pytest
import pytest_asyncio
from e2b import (
    AsyncSandbox,
    CommandExitException,
    FileNotFoundException,
    InvalidArgumentException,
    NotFoundException,
    SandboxNotFoundException,
    SandboxQuery,
    TimeoutException,
)
from e2b.sandbox.commands.command_handle import PtySize

from support import Numbers


@pytest_asyncio.fixture
async def sandbox(broker):
    s = await AsyncSandbox.create(timeout=120)
    yield s
    await s.kill()


async def test_create_with_envs_metadata_and_timeout(broker):
    mark = uuid.uuid4().hex
    s = await AsyncSandbox.create(timeout=60, envs={"WHO": "me"}, metadata={"mark": mark})
    try:
        assert (await s.commands.run("echo $WHO")).stdout == "me\n"
        info = await s.get_info()
        assert info.metadata == {"mark": mark}
        assert 55 < (info.end_at - info.started_at).total_seconds() <= 61
        pages = AsyncSandbox.list(query=SandboxQuery(metadata={"mark": mark}))
        assert [i.sandbox_id for i in await pages.next_items()] == [s.sandbox_id]
        again = await AsyncSandbox.connect(s.sandbox_id, timeout=10)
        assert (await again.get_info()).end_at == info.end_at
    finally:
        assert await s.kill()
    assert not await s.kill()
    assert not await s.is_running()
    with pytest.raises(SandboxNotFoundException):
        await s.get_info()


@pytest.mark.containers("twenty machines that boot emulated on two cores take longer than clients wait")
async def test_twenty_at_once(broker):
    boxes = await asyncio.gather(*(AsyncSandbox.create(timeout=120) for _ in range(20)))
    try:
        assert len({s.sandbox_id for s in boxes}) == 20
        outputs = await asyncio.gather(
            *(s.commands.run(f"echo {i}") for i, s in enumerate(boxes)))
        assert [o.stdout for o in outputs] == [f"{i}\n" for i in range(20)]
    finally:
        assert all(await asyncio.gather(*(s.kill() for s in boxes)))


async def test_foreground_with_callbacks(sandbox):
    out, err = [], []
    result = await sandbox.commands.run(
        "for i in 1 2 3; do echo o$i; echo e$i >&2; done; exit 0",
        on_stdout=out.append, on_stderr=err.append)
    assert "".join(out) == result.stdout == "o1\no2\no3\n"
    assert "".join(err) == result.stderr == "e1\ne2\ne3\n"


async def test_background_kill_and_list(sandbox):
    handle = await sandbox.commands.run("sleep 1000", background=True)
    assert handle.pid in [p.pid for p in await sandbox.commands.list()]
    assert await handle.kill()
    with pytest.raises(CommandExitException) as end:
        await handle.wait()
    assert (end.value.exit_code, end.value.error) == (-1, "signal: killed")
    assert handle.pid not in [p.pid for p in await sandbox.commands.list()]
    assert not await sandbox.commands.kill(handle.pid)


async def test_stdin_by_messages_and_by_stream(sandbox):
    handle = await sandbox.commands.run("cat", background=True, stdin=True)
    await sandbox.commands.send_stdin(handle.pid, "one\n")
    async with sandbox.commands.stream_input(handle.pid) as stream:
        for n in range(100):
            await stream.send(f"{n}\n")
    await sandbox.commands.close_stdin(handle.pid)
    result = await handle.wait()
    assert result.stdout == "one\n" + "".join(f"{n}\n" for n in range(100))


async def test_streaming_input_to_nobody_is_not_found(sandbox):
    stream = sandbox.commands.stream_input(999999)
    with pytest.raises(NotFoundException):
        await stream.close()


async def test_pty(sandbox):
    output, seen = bytearray(), asyncio.Event()
    awaited = [b""]

    def on_data(data):
        output.extend(data)
        if awaited[0] in output:
            seen.set()

    async def say(text, answer):
        awaited[0] = answer
        seen.clear()
        await sandbox.pty.send_stdin(handle.pid, text)
        await asyncio.wait_for(seen.wait(), 20)

    handle = await sandbox.pty.create(PtySize(rows=24, cols=80), on_data=on_data, timeout=60)
    await say(b"stty size\n", b"24 80")
    await sandbox.pty.resize(handle.pid, PtySize(rows=40, cols=132))
    await say(b"stty size\n", b"40 132")
    await sandbox.pty.send_stdin(handle.pid, b"exit 7\n")
    with pytest.raises(CommandExitException) as end:
        await handle.wait()
    assert end.value.exit_code == 7


async def test_reconnect_and_several_subscribers(sandbox):
    first = await sandbox.commands.run("cat", background=True, stdin=True)
    others = [await sandbox.commands.connect(first.pid) for _ in range(4)]
    await first.disconnect()
    for n in range(50):
        await sandbox.commands.send_stdin(first.pid, f"line {n}\n")
    await sandbox.commands.close_stdin(first.pid)
    results = await asyncio.gather(*(o.wait() for o in others))
    expected = "".join(f"line {n}\n" for n in range(50))
    assert [r.stdout for r in results] == [expected] * 4
    with pytest.raises(NotFoundException):
        await sandbox.commands.connect(999999)


async def test_many_commands_at_once_keep_their_output_apart(sandbox):
    checks = [Numbers(n * 100000, n * 100000 + 20000) for n in range(8)]
    await asyncio.gather(*(
        sandbox.commands.run(f"seq {c.next} {c.last}", on_stdout=c.feed, retain_output=False)
        for c in checks))
    for c in checks:
        c.done()


async def test_a_command_that_outlives_its_timeout(sandbox):
    with pytest.raises(TimeoutException):
        await sandbox.commands.run("echo $$ > /tmp/pid; exec sleep 100", timeout=1)
    gone = "for i in $(seq 100); do kill -0 $(cat /tmp/pid) 2>/dev/null || exit 0; " \
           "sleep 0.02; done; exit 1"
    assert (await sandbox.commands.run(gone)).exit_code == 0


async def test_files(sandbox):
    data = bytes(range(256)) * 400
    await sandbox.files.write("dir/Ünïcode €.bin", data)
    assert bytes(await sandbox.files.read("dir/Ünïcode €.bin", format="bytes")) == data
    assert await sandbox.files.exists("dir")
    assert not await sandbox.files.make_dir("dir")
    await sandbox.files.rename("dir/Ünïcode €.bin", "moved.bin")
    assert (await sandbox.files.get_info("moved.bin")).size == len(data)
    await sandbox.files.remove("moved.bin")
    with pytest.raises(FileNotFoundException):
        await sandbox.files.read("moved.bin")
    with pytest.raises(InvalidArgumentException):
        await sandbox.files.read("dir")


async def test_streamed_upload_and_download(sandbox):
    block = bytes(range(256)) * 256
    up, down = hashlib.sha256(), hashlib.sha256()

    async def blocks():
        for n in range(512):
            data = n.to_bytes(8, "big") + block
            up.update(data)
            yield data

    await sandbox.files.write("big", blocks())
    async with await sandbox.files.read("big", format="stream") as stream:
        async for chunk in stream:
            down.update(chunk)
    assert up.hexdigest() == down.hexdigest()
    inside = (await sandbox.commands.run("sha256sum < big")).stdout.split()[0]
    assert inside == up.hexdigest()


async def test_many_files_in_one_write(sandbox):
    files = [{"path": f"many/{n}.txt", "data": f"content {n}"} for n in range(60)]
    written = await sandbox.files.write_files(files)
    assert [w.path for w in written] == [f"/home/user/many/{n}.txt" for n in range(60)]
    reads = await asyncio.gather(*(sandbox.files.read(f["path"]) for f in files))
    assert reads == [f["data"] for f in files]

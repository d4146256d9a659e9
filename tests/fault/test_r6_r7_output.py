# SPDX-License-Identifier: Apache-2.0
"""R6, R7: numbered lines on both outputs reach each reader in order, none missing, none twice.

Lines of 1 byte to 1 MiB; readers that are quick, slow, stopped for a while, that leave and come back,
or whose channels all break because the broker is killed. What was written while nobody read may be
missing, between two connections only; a reader that counts its bytes misses nothing that was kept. ADIT_FAULT_SCALE=full: 1,000 streams for 10 minutes.
"""

import os
import random
import threading
import time

import pytest
from e2b import Sandbox

from output import PROGRAM, Broken, CountingReader, Reader, Stream
from support import routing

FULL = os.environ.get("ADIT_FAULT_SCALE") == "full"
SEED = int(os.environ.get("ADIT_SEED", "20261121"))
# (bytes of a line, lines)
STEPS = [(1, 5_000), (100, 5_000), (65535, 200), (1 << 20, 20)]
KILLS, STREAMS, SECONDS = (50, 1000, 600) if FULL else (4, 40, 5)


def start(broker, sandbox, pad, pause, count):
    return Stream(broker, routing(sandbox), sandbox._envd_access_token, "Start", {
        "process": {"cmd": "python3", "args": ["-c", PROGRAM, str(pad), str(pause), str(count)]},
        "stdin": False})


def connect(broker, sandbox, pid, headers=()):
    return Stream(broker, routing(sandbox), sandbox._envd_access_token, "Connect",
                  {"process": {"pid": pid}}, headers=headers)


def whole(reader, count):
    assert reader.end["exited"] and reader.end.get("exitCode", 0) == 0, reader.end
    for name, s in reader.outputs.items():
        assert (s.last, s.missing, s.rest) == (count, 0, b""), f"{name} ends after {s.last}"


@pytest.mark.parametrize("pad,count", STEPS)
def test_every_line_arrives_once_whatever_its_length(sandbox, broker, pad, count):
    stream, reader = start(broker, sandbox, pad, 0, count), Reader(pad)
    assert reader.read(stream, from_start=True)
    whole(reader, count)


@pytest.mark.parametrize("pad,count", [(1, 10_000), (1 << 20, 20)])
def test_a_reader_that_stops_for_a_while_misses_nothing(sandbox, broker, pad, count):
    """Alone, it holds its program back, which so cannot end before it reads on."""
    stream, reader = start(broker, sandbox, pad, 0, count), Reader(pad)
    rng, rest = random.Random(SEED), threading.Event()
    stops = 5

    def pause():
        nonlocal stops
        if stops and rng.random() < 0.2:
            stops -= 1
            rest.wait(0.3)
        return False

    assert reader.read(stream, enough=pause, from_start=True)
    whole(reader, count)
    assert stops == 0


def follow(broker, sandbox, pid, reader, stop, failures, enough):
    """Come back as often as the stream ends; what a reader gets is judged as it comes."""
    try:
        while not stop.is_set():
            stream = None
            try:
                stream = connect(broker, sandbox, pid, reader.headers())
                reader.read(stream, enough=lambda: stop.is_set() or enough(reader))
            except Broken:
                stop.wait(0.02)  # the broker is down: not a thousand refused connections
            finally:
                if stream:
                    stream.close()
    except Exception as e:
        failures.append(e)


def run_readers(broker, sandbox, pid, enoughs, during, kind=Reader):
    stop, failures = threading.Event(), []
    readers = [kind(100) for _ in enoughs]
    threads = [threading.Thread(target=follow,
                                args=(broker, sandbox, pid, r, stop, failures, enough))
               for r, enough in zip(readers, enoughs)]
    for t in threads:
        t.start()
    during(stop)
    stop.set()
    for t in threads:
        t.join(30)
        assert not t.is_alive(), "a reader hangs"
    assert failures == []
    return readers


def kill_often(broker, rng):
    def kills(stop):
        for _ in range(KILLS):
            stop.wait(rng.uniform(0.5, 1.5))
            broker.kill()
            broker.start()
        stop.wait(1)

    return kills


@pytest.mark.timeout(1200)
def test_readers_come_back_after_every_break(own_broker):
    """The broker is killed again and again: every channel breaks, the program goes on."""
    broker, rng = own_broker(), random.Random(SEED)
    sandbox = Sandbox.create(timeout=7200)
    first = start(broker, sandbox, 100, 0.002, 10_000_000)
    pid = next(first.events())["start"]["pid"]
    first.close()
    print(f"\nR7: seed {SEED}")

    readers = run_readers(broker, sandbox, pid, [lambda r: False] * 5, kill_often(broker, rng))
    for r in readers:
        for s in r.outputs.values():
            assert s.connections > KILLS and s.last > 100
    print(f"R7: {readers[0].last()} lines, {readers[0].outputs['stdout'].missing} while nobody "
          f"could read, {readers[0].outputs['stdout'].connections} connections")
    assert sandbox.kill()


@pytest.mark.timeout(1200)
def test_a_reader_that_counts_misses_nothing(own_broker):
    """The same, and each comes back where it stopped: what it missed fits into what is kept."""
    broker, rng = own_broker(), random.Random(SEED)
    sandbox = Sandbox.create(timeout=7200)
    first = start(broker, sandbox, 100, 0.002, 10_000_000)
    pid = next(first.events())["start"]["pid"]
    first.close()

    readers = run_readers(broker, sandbox, pid, [lambda r: False] * 5, kill_often(broker, rng),
                          CountingReader)
    for r in readers:
        assert r.gaps == [] and r.connections > KILLS and r.last() > 100
        assert all(s.missing == 0 for s in r.outputs.values())
    print(f"\nR7: {readers[0].last()} lines, none missing, {readers[0].connections} connections")
    assert sandbox.kill()


def leaves_after(lines):
    until = lines

    def enough(reader):
        nonlocal until
        if reader.last() < until:
            return False
        until = reader.last() + lines
        return True

    return enough


@pytest.mark.timeout(SECONDS + 240)
def test_many_readers_that_leave_and_stay(sandbox, broker):
    """Every second one stays; the others leave after some lines and come back at once."""
    first = start(broker, sandbox, 100, 0.01, 10_000_000)
    pid = next(first.events())["start"]["pid"]
    first.close()
    began = time.monotonic()

    readers = run_readers(broker, sandbox, pid,
                          [leaves_after(50) if n % 2 else lambda r: False for n in range(STREAMS)],
                          lambda stop: stop.wait(SECONDS))
    stayed = [s for r in readers[::2] for s in r.outputs.values()]
    print(f"\nR6: {STREAMS} readers, {time.monotonic() - began:.0f} s, {stayed[0].last} lines, "
          f"up to {max(s.connections for r in readers for s in r.outputs.values())} connections")
    assert all(s.connections == 1 and s.missing == 0 for s in stayed)
    assert all(s.connections > 2 for r in readers[1::2] for s in r.outputs.values())
    sandbox.commands.kill(pid)

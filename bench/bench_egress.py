# SPDX-License-Identifier: Apache-2.0
"""What connections of a sandbox to the outside cost, beside direct ones and a plain relay.

    build/venv/bin/python bench/bench_egress.py [connects|storm|bulk|names|neighbour|idle]...

In network namespaces of its own (tests/e2e/internet.py): the broker's, and over a wire the servers'.
Direct ones are made from the broker's. Both run the same program, egress_probe.c, in turns, and the
best of some rounds is what counts: other work on the machine makes it only worse.
"""

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

from sandbox_programs import compile_program, run, start, upload
from support import IS_FULL, REPO, cpu_s, create, envd_pid, figure, kill, rss_kib, running_broker

from internet import PUBLIC, Internet  # found by support's path

PROBE = "/tmp/egress_probe"
SINK, SOURCE, RELAY = 7009, 7019, 7020
ROUNDS, CONNECTS, BULK_ROUNDS = 5, 200, 3
STORM_RATE, STORM_SECONDS = 1000, 60 if IS_FULL else 5
BULK = (10 if IS_FULL else 1) << 30
IDLE = 1000


class World:
    """A broker with its sandboxes and the servers, and how the probe is run in each part."""

    def __init__(self, scratch, internet, broker):
        self.broker = broker
        self.probe = Path(scratch) / "probe"
        compile_program((REPO / "bench/egress_probe.c").read_text(), self.probe)
        self.running = []
        self.run_on(internet.there, "serve")
        self.run_on(internet.prefix, "relay", RELAY, PUBLIC, SINK)
        self.run_on(internet.prefix, "relay", RELAY + 1, PUBLIC, SOURCE)

    def run_on(self, prefix, *args):
        p = subprocess.Popen([*prefix, self.probe, *map(str, args)], stdout=subprocess.PIPE)
        self.running.append(p)
        assert p.stdout.readline() == b"ready\n"

    def stop(self):
        for p in self.running:
            p.kill()
            p.communicate()

    def sandbox(self):
        sandbox, _ = create(self.broker)
        upload(self.broker, sandbox, self.probe, PROBE)
        return sandbox

    def inside(self, sandbox, *args):
        """The numbers that the probe says in a sandbox."""
        return [float(x) for x in run(self.broker, sandbox, PROBE, *args).split()]

    def direct(self, *args):
        """The same beside the broker."""
        out = subprocess.run([self.probe, *map(str, args)], stdout=subprocess.PIPE, check=True)
        return [float(x) for x in out.stdout.split()]

    def hold(self, sandbox, count):
        """A process of the sandbox that keeps so many connections."""
        stream = start(self.broker, sandbox, PROBE, "hold", PUBLIC, count)
        while b"held" not in stream.output:
            assert stream.read(), stream.end
        return stream

    def cpu_s(self, sandbox):
        """Of broker and envd, without the programs of the sandbox."""
        return [cpu_s(pid, with_children=False)
                for pid in (self.broker.process.pid, envd_pid(sandbox))]


def best(rounds, of=min):
    """Of each figure the best of the rounds."""
    return [of(x) for x in zip(*rounds)]


def timed(world, sandbox, *args):
    """p50 and p99 in microseconds in the sandbox, and direct ones."""
    both = []
    for _ in range(ROUNDS):
        both.append(world.inside(sandbox, *args) + world.direct(*args))
    return best(both)


def connects(world):
    sandbox = world.sandbox()
    p50, p99, direct_p50, direct_p99 = timed(world, sandbox, "connect", PUBLIC, CONNECTS)
    figure(p50 - direct_p50 < 300, "connect() of a sandbox over a direct one", "p50 < +300 us",
           f"{p50 - direct_p50:+.0f} us ({p50:.0f} and {direct_p50:.0f}), p99 "
           f"{p99 - direct_p99:+.0f} us ({p99:.0f} and {direct_p99:.0f})")
    stream = world.hold(sandbox, IDLE)
    beside_p50, beside_p99 = best([world.inside(sandbox, "connect", PUBLIC, CONNECTS)
                                   for _ in range(ROUNDS)])
    figure(beside_p99 <= 2 * p99, f"  beside {IDLE} idle ones: p99", "<= 2 x without",
           f"{beside_p99 / p99:.2f} x ({beside_p99:.0f} us), p50 {beside_p50:.0f} us")
    stream.socket.close()
    kill(world.broker, sandbox)


def storm(world):
    sandbox = world.sandbox()
    count = STORM_RATE * STORM_SECONDS
    before = world.cpu_s(sandbox)
    answered, lost, late, p50, p99 = world.inside(sandbox, "storm", PUBLIC, STORM_RATE,
                                                  STORM_SECONDS)
    cpu = [(a - b) / count * 1e6 for a, b in zip(world.cpu_s(sandbox), before)]
    figure(answered == count and late == 0,
           f"{STORM_RATE} short connections a second, {STORM_SECONDS} s", f"{count}, none late",
           f"{answered:.0f}, {lost:.0f} lost, {late:.0f} late; p50 {p50:.0f} us, p99 {p99:.0f} us")
    figure(None, "  processor time of broker and envd", "-",
           f"{cpu[0]:.0f} + {cpu[1]:.0f} us a connection")
    kill(world.broker, sandbox)


def bulk(world):
    sandbox = world.sandbox()
    for what, port, relay in (("send", SINK, RELAY), ("fetch", SOURCE, RELAY + 1)):
        seen, used = [], [0, 0]
        for _ in range(BULK_ROUNDS):
            before = world.cpu_s(sandbox)
            ours, = world.inside(sandbox, what, PUBLIC, port, BULK)
            used = [u + a - b for u, a, b in zip(used, world.cpu_s(sandbox), before)]
            theirs, = world.direct(what, "127.0.0.1", relay, BULK)
            seen.append((ours, theirs, world.direct(what, PUBLIC, port, BULK)[0]))
        ours, theirs, direct = best(seen, of=max)
        cpu = [u / BULK_ROUNDS / (BULK / 2**30) for u in used]
        figure(ours >= .8 * theirs, f"{what} {BULK >> 30} GiB over a plain relay", ">= 0.8 x",
               f"{ours / theirs:.2f} x ({ours / 2**20:.0f} and {theirs / 2**20:.0f} MiB/s; direct "
               f"{direct / 2**20:.0f}), {cpu[0]:.2f} + {cpu[1]:.2f} s CPU a GiB")
    kill(world.broker, sandbox)


def names(world):
    sandbox = world.sandbox()
    for what, name in (("known", "www.example.net"), ("new", "n%.example.net")):
        p50, p99, direct_p50, direct_p99 = best(
            [world.inside(sandbox, "lookup", "127.0.0.53", name, CONNECTS)
             + world.direct("lookup", PUBLIC, name, CONNECTS) for _ in range(ROUNDS)])
        figure(None, f"a {what} name over the name server itself", "-",
               f"{p50 - direct_p50:+.0f} us ({p50:.0f} and {direct_p50:.0f}), p99 {p99:.0f} us and "
               f"{direct_p99:.0f}")
    kill(world.broker, sandbox)


def neighbour(world):
    sandbox, busy = world.sandbox(), world.sandbox()
    alone, beside = [], []
    for _ in range(ROUNDS):
        alone.append(world.inside(sandbox, "connect", PUBLIC, CONNECTS))
        stream = start(world.broker, busy, PROBE, "fetch", PUBLIC, SOURCE, BULK * 1000)
        beside.append(world.inside(sandbox, "connect", PUBLIC, CONNECTS))
        run(world.broker, busy, "/bin/sh", "-c", "pkill egress_probe")
        while stream.read():
            pass
    (p50, p99), (alone_p50, alone_p99) = best(beside), best(alone)
    figure(None, "connect() beside another sandbox's bulk transfer", "-",
           f"p50 {p50:.0f} us (alone {alone_p50:.0f}), p99 {p99:.0f} us ({alone_p99:.0f})")
    kill(world.broker, busy)
    kill(world.broker, sandbox)


def idle(world):
    """In a broker and an envd that have had no other connection."""
    sandbox = world.sandbox()
    pids = world.broker.process.pid, envd_pid(sandbox)
    before = [rss_kib(pid) for pid in pids]
    stream = world.hold(sandbox, IDLE)
    broker, envd = ((rss_kib(pid) - b) / IDLE for pid, b in zip(pids, before))
    figure(broker <= 16 and envd <= 16, f"memory of {IDLE} idle connections", "<= 16 KiB each",
           f"broker {broker:.2f} KiB, envd {envd:.2f} KiB each")
    stream.socket.close()
    kill(world.broker, sandbox)


PARTS = {"idle": idle, "connects": connects, "storm": storm, "bulk": bulk, "names": names,
         "neighbour": neighbour}


def main():
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="adit-bench-egress-"))
        internet = Internet(scratch)
        stack.callback(internet.stop)
        broker = stack.enter_context(running_broker(internet=internet))
        stack.enter_context(internet.network())
        world = World(scratch, internet, broker)
        stack.callback(world.stop)
        for name in sys.argv[1:] or PARTS:
            PARTS[name](world)


if __name__ == "__main__":
    main()

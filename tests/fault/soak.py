# SPDX-License-Identifier: Apache-2.0
"""A mixed load for as long as one likes, with a fault every few minutes, and a report.

    soak.py MINUTES [REPORT]

Workers create and end sandboxes, run commands, move files, follow output, list, watch, and call over
HTTP/2 and TLS; each checks all that it is told. An error is explained when a fault was under way; a
broken promise (Violation, an assertion, a wait without end) never is. At the end: what was done, the
errors, memory over time, and counts of what the machine holds. The exit code is 1 if anything was
missed. ADIT_SEED chooses the order of faults, ADIT_SOAK_EVERY the seconds between two.
"""

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "e2e"), str(HERE.parent / "lab")]

from conftest import BIN, Broker, export, free_port, kill_everything, leftovers, wait_for  # noqa: E402
from e2b import Sandbox  # noqa: E402
from footprint import counts, memory, more, programs  # noqa: E402
from history import History  # noqa: E402
from output import PROGRAM, Broken, Reader, Stream  # noqa: E402
from support import http_request, routing  # noqa: E402
from test_f05_envd_dies import envd_pid  # noqa: E402
from test_f11_host_disk_full import fill  # noqa: E402
from uploads import content, judge  # noqa: E402

MINUTES = float(sys.argv[1]) if len(sys.argv) > 1 else 30
EVERY_S = float(os.environ.get("ADIT_SOAK_EVERY", "150"))
SEED = int(os.environ.get("ADIT_SEED", "20261121"))
# A client may see a fault this long after its end: a broken stream, a scheduler that starts again.
GRACE_S = 6.0
# Nothing that a client asks for takes longer; the longest timer in a step is the create's 30 s.
STEP_S = 45.0
SLOPE_KIB_PER_H, GRAIN_KIB = 1024, 256
# Of this program's clients to the broker, of the broker to its scheduler.
KEPT_CONNECTIONS = 16


class Violation(Exception):
    """A promise was broken; no fault explains it."""


class Report:
    def __init__(self):
        self.started, self.lock = time.monotonic(), threading.Lock()
        self.faults, self.errors, self.violations, self.samples = [], [], [], []

    def now(self):
        return time.monotonic() - self.started

    @contextlib.contextmanager
    def fault(self, name):
        entry = [name, self.now(), None]
        with self.lock:
            self.faults.append(entry)
        yield
        entry[2] = self.now()
        print(f"{entry[1]:7.0f} s  {name}: over after {entry[2] - entry[1]:.1f} s", flush=True)

    def failed(self, worker, since, error):
        """@since: when the step began that failed."""
        text = f"{worker}: {type(error).__name__}: {str(error)[:300]}"
        never = isinstance(error, (Violation, AssertionError, TimeoutError))
        with self.lock:
            if never:
                self.violations.append((self.now(), text, traceback.format_exc()))
                print(f"{self.now():7.0f} s  VIOLATION {text}", flush=True)
            else:
                self.errors.append((since, self.now(), text))

    def explained(self, since, until):
        return any(until >= start and since <= (end or self.now()) + GRACE_S
                   for _, start, end in self.faults)

    def unexplained(self):
        return [(at, text) for since, at, text in self.errors if not self.explained(since, at)]


class Worker(threading.Thread):
    """Repeats its step; what it needs is made by `begin`, again after each error."""

    def __init__(self, soak, name, begin, step, pause):
        super().__init__(name=name, daemon=True)
        self.soak, self.begin, self.step, self.pause = soak, begin, step, pause
        self.done = self.failures = 0
        self.longest = 0.0

    def run(self):
        tools = None
        while not self.soak.stop.wait(self.pause):
            since = self.soak.report.now()
            try:
                if tools is None:
                    tools = self.begin()
                self.step(tools)
                self.done += 1
            except Exception as e:
                tools = None
                self.failures += 1
                self.soak.report.failed(self.name, since, e)
            took = self.soak.report.now() - since
            self.longest = max(self.longest, took)
            if took > STEP_S:
                self.soak.report.failed(self.name, since, Violation(f"a step took {took:.0f} s"))


class Soak:
    def __init__(self, scratch):
        self.report, self.stop = Report(), threading.Event()
        self.rng = random.Random(SEED)
        self.broker = self.make_broker(scratch)
        self.history = History(self.broker)
        self.numbers = itertools.count(1)
        self.program = self.watcher = None
        # No create, kill or list of the history's may be under way while it is judged.
        self.calls = ReadersWriter()

    # ---- the broker, its disk, its door with TLS ----

    def make_broker(self, scratch):
        # Logs of the dead are swept while it runs: as many are there at the end as after minutes.
        broker = Broker(scratch / "b", ["--disk-overcommit", "1000000",
                                        "--sandbox-log-retention", "60s"])
        self.disk, self.image = broker.state / "state", scratch / "disk.img"
        self.disk.mkdir(parents=True)
        for command in (["truncate", "-s", "256M", self.image], ["mkfs.ext4", "-q", "-m", "0", self.image],
                        ["mount", "-o", "loop", self.image, self.disk]):
            subprocess.run(command, check=True)
        certs = scratch / "cert"
        subprocess.run([BIN / "broker", "dev-cert", "--domain", "soak.test", certs], check=True,
                       capture_output=True)
        self.tls_port, self.ca = free_port(), certs / "ca.crt"
        broker.extra += ["--listen", f"127.0.0.1:{broker.port},tls:127.0.0.1:{self.tls_port}",
                         "--domain", "soak.test", "--tls-cert", str(certs / "tls.crt"),
                         "--tls-key", str(certs / "tls.key")]
        return broker

    # ---- workers ----

    def home(self):
        """The sandbox that most workers share: it must live from the first minute to the last."""
        return Sandbox.connect(self.home_id, timeout=24 * 3600)

    def churn(self, _):
        with self.calls.reading():
            made = self.history.create()
            if made is None:
                raise Broken("create was not answered")
        answer = http_request(self.broker, "GET", "/health",
                              {"E2b-Sandbox-Id": made, "E2b-Sandbox-Port": "49983"})
        deadline = time.monotonic() + STEP_S
        while True:
            with self.calls.reading():
                if self.history.kill(made):
                    break
            if time.monotonic() > deadline:
                raise Violation(f"{made} cannot be killed")
            self.stop.wait(0.2)
        if answer.status != 204:
            raise Broken(f"/health of {made}: {answer.status}")

    def command(self, sandbox):
        n = next(self.numbers)
        got = sandbox.commands.run(f"echo {n}; echo {-n} >&2", timeout=20)
        if (got.stdout, got.stderr) != (f"{n}\n", f"{-n}\n"):
            raise Violation(f"echo {n} gave {got.stdout!r} {got.stderr!r}")

    def begin_files(self):
        return self.home()

    def files(self, sandbox):
        """Overwrite a file; whatever the answer, it is the old one or the new one."""
        size = self.rng.choice((0, 1, 65535, 65536, 65537, 1 << 20, 3 << 20))
        new, path = (next(self.numbers), size), "/home/user/file"
        allowed = {*self.maybe_files, new}
        try:
            sandbox.files.write(path, content(*new), request_timeout=30)
            allowed = {new}
        finally:
            self.maybe_files = allowed
        seen = judge(bytes(sandbox.files.read(path, format="bytes", request_timeout=30)), allowed)
        self.maybe_files = {seen}

    def begin_output(self):
        """The program is started once; after an error its reader comes back to it."""
        sandbox = self.home()
        if self.program is None:
            stream = Stream(self.broker, routing(sandbox), sandbox._envd_access_token, "Start", {
                "process": {"cmd": "python3", "args": ["-c", PROGRAM, "100", "0.02", "1000000"]},
                "stdin": False})
            self.program = next(stream.events())["start"]["pid"], Reader(100)
            stream.close()
        elif self.program[0] not in [p.pid for p in sandbox.commands.list()]:
            raise Violation("a program of the shared sandbox is lost")
        return sandbox, *self.program

    def output(self, tools):
        """Some hundred lines over a connection of its own, then another one."""
        sandbox, pid, reader = tools
        stream = Stream(self.broker, routing(sandbox), sandbox._envd_access_token, "Connect",
                        {"process": {"pid": pid}})
        until = reader.last() + 300
        try:
            if reader.read(stream, enough=lambda: reader.last() >= until):
                raise Violation("the program has ended")
        finally:
            stream.close()

    def lists(self, _):
        with self.calls.reading():
            if self.history.listed() is None:
                raise Broken("list was not answered")
        ids, pages = set(), Sandbox.list()
        while pages.has_next:
            ids |= {s.sandbox_id for s in pages.next_items()}
        if self.home_id not in ids:
            raise Violation("the shared sandbox is not listed")

    def begin_watch(self):
        """The watcher is the sandbox's and stays, whatever happens to those who ask it."""
        sandbox = self.home()
        if self.watcher is None:
            sandbox.commands.run("mkdir -p watched")
            self.watcher = sandbox.files.watch_dir("/home/user/watched")
        return sandbox, self.watcher

    def watch(self, tools):
        sandbox, handle = tools
        name, seen = f"w{next(self.numbers)}", []
        sandbox.files.write(f"/home/user/watched/{name}", "x")

        def told():
            seen.extend((e.name, e.type.value) for e in handle.get_new_events())
            return (name, "create") in seen

        wait_for(told, 10, f"event about {name}")
        sandbox.files.remove(f"/home/user/watched/{name}")
        if seen.count((name, "create")) != 1:
            raise Violation(f"events of {name}: {seen}")

    def http2(self, sandbox):
        """Ten requests over one connection with TLS; the file that is fetched must be whole."""
        url = f"https://localhost:{self.tls_port}"
        got = subprocess.run(
            ["curl", "-sS", "--http2", "--max-time", "30", "--cacert", self.ca,
             "-H", f"E2b-Sandbox-Id: {sandbox.sandbox_id}", "-H", "E2b-Sandbox-Port: 49983",
             "-H", f"X-Access-Token: {sandbox._envd_access_token}",
             "-w", " %{http_code}/%{http_version}", f"{url}/files?path=/home/user/fixed[1-10]"],
            capture_output=True)
        if got.returncode == 28:
            raise Violation("curl: a request over HTTP/2 hangs")
        if got.returncode or got.stdout != (content(1, 1000) + b" 200/2") * 10:
            raise Broken(f"curl: {got.returncode} {got.stderr[:200]} {got.stdout[:100]}")

    # ---- faults ----

    def restart(self):
        self.broker.start()
        self.recovered()

    def recovered(self):
        wait_for(self.is_whole, 30, "the broker serves again")

    def is_whole(self):
        try:
            sandbox = Sandbox.create(timeout=60, retries=0, request_timeout=20)
            return sandbox.kill()
        except Exception:
            return False

    def kill_broker(self):
        self.broker.kill()
        self.restart()

    def kill_program(self, name):
        os.kill(programs(self.broker)[name], signal.SIGKILL)
        self.recovered()

    def victim(self):
        sandbox = Sandbox.create(timeout=600)
        return sandbox, envd_pid(self.broker, sandbox.sandbox_id)

    def kill_envd(self):
        """Only the sandbox that it happens to fails, with its reason on record."""
        sandbox, pid = self.victim()
        os.kill(pid, signal.SIGKILL)
        failed = f"sandbox={sandbox.sandbox_id} state=failed"
        wait_for(lambda: failed in self.broker.log(), 5, "state failed")

    def stop_envd(self):
        sandbox, pid = self.victim()
        os.kill(pid, signal.SIGSTOP)
        at = time.monotonic()
        status = http_request(self.broker, "GET", "/", routing(sandbox, 8000)).status
        if status != 504 or time.monotonic() - at > 3:
            raise Violation(f"a stopped guest: {status} after {time.monotonic() - at:.1f} s")
        os.kill(pid, signal.SIGCONT)
        wait_for(lambda: sandbox.commands.run("echo on").stdout == "on\n", 10, "the guest goes on")
        sandbox.kill()

    def disk_full(self):
        fill(self.disk)
        self.stop.wait(10)
        (self.disk / "filler").unlink()
        self.recovered()

    # Those that must be felt by nobody else; the errors beside them are not explained.
    PRIVATE = {"kill -9 envd": kill_envd, "SIGSTOP of envd": stop_envd}
    PUBLIC = {
        "kill -9 broker": kill_broker,
        "kill -9 scheduler": lambda s: s.kill_program("scheduler"),
        "kill -9 launcher": lambda s: s.kill_program("launcher"),
        "disk full": disk_full,
    }

    def inject(self, name):
        since = self.report.now()
        try:
            if name in self.PRIVATE:
                self.PRIVATE[name](self)
                print(f"{since:7.0f} s  {name}: over after {self.report.now() - since:.1f} s", flush=True)
            else:
                with self.report.fault(name):
                    self.PUBLIC[name](self)
        except Exception as e:
            self.report.failed(f"fault {name}", since, Violation(f"{type(e).__name__}: {e}"))

    def judge(self):
        """With no call under way, the history must be what exists."""
        with self.calls.writing():
            for wrong in self.history.violations():
                self.report.failed("history", self.report.now(), Violation(wrong))
            self.history.wrong.clear()

    # ---- the run ----

    def sample(self):
        while not self.stop.wait(10):
            with contextlib.suppress(OSError, AssertionError):
                at, pids, kib = self.report.now(), programs(self.broker), memory(self.broker)
                self.report.samples += [(at, n, pids[n], kib[n]) for n in kib if n in pids]

    def run(self):
        self.broker.start()
        export(self.broker)
        # the names in the certificate are nobody's; HTTP/2 over TLS is curl's part
        os.environ["E2B_API_URL"] = os.environ["E2B_SANDBOX_URL"] = self.broker.url
        # What a first sandbox leaves (threads, connections that are kept) is not counted.
        Sandbox.create(timeout=60).kill()
        before = counts(self.broker)
        home = Sandbox.create(timeout=24 * 3600)
        self.home_id, self.maybe_files = home.sandbox_id, {(0, 0)}
        home.files.write("/home/user/file", b"")
        for n in range(1, 11):
            home.files.write(f"/home/user/fixed{n}", content(1, 1000))
        nothing = lambda: True  # noqa: E731
        self.workers = [
            Worker(self, "churn 1", nothing, self.churn, 0.3),
            Worker(self, "churn 2", nothing, self.churn, 0.5),
            Worker(self, "command", self.home, self.command, 0.1),
            Worker(self, "files", self.home, self.files, 0.2),
            Worker(self, "output", self.begin_output, self.output, 0.2),
            Worker(self, "lists", nothing, self.lists, 1.0),
            Worker(self, "watch", self.begin_watch, self.watch, 0.3),
            Worker(self, "http2", self.home, self.http2, 0.5),
        ]
        sampler = threading.Thread(target=self.sample, daemon=True)
        for t in (*self.workers, sampler):
            t.start()
        self.faults_until(MINUTES * 60)
        self.stop.set()
        for t in (*self.workers, sampler):
            t.join(STEP_S + 15)
            if t.is_alive():
                self.report.failed(t.name, self.report.now(), Violation("does not come to an end"))
        self.judge()
        self.finish(before)

    def faults_until(self, end):
        rest = []
        while self.report.now() < end:
            left = min(EVERY_S, end - self.report.now())
            self.stop.wait(max(left, 0))
            if self.report.now() >= end:
                return
            if not rest:
                rest = [*self.PUBLIC, *self.PRIVATE]
                self.rng.shuffle(rest)
                # Early in each round, so that its memory can be watched for long.
                rest.remove("kill -9 broker")
                rest.append("kill -9 broker")
            self.inject(rest.pop())
            self.judge()

    def finish(self, before):
        for i in self.history.alive | self.history.asked:
            self.history.kill(i)
        if self.home_id not in kill_everything(self.broker):
            self.report.failed("end", self.report.now(), Violation("the shared sandbox was lost"))
        try:
            wait_for(lambda: not self.more(before), 15, "equal counts")
        except AssertionError:
            for line in self.more(before):
                self.report.failed("counts", self.report.now(), Violation(line))
        self.broker.stop()
        for line in leftovers(self.broker):
            if line != f"mount {self.disk}":
                self.report.failed("leftovers", self.report.now(), Violation(line))

    def more(self, before):
        """What there is more of. Connections that are kept for the next call are not looked at."""
        after = counts(self.broker)
        for what in after:
            if what.startswith("descriptors") and abs(after[what] - before[what]) <= KEPT_CONNECTIONS:
                after[what] = before[what]
        return more(before, after)

    def close(self):
        if self.broker.process and self.broker.process.poll() is None:
            self.broker.process.kill()
            self.broker.process.wait()
            subprocess.run([BIN / "broker", "purge", "--state-dir", self.disk], check=False, timeout=120)
        subprocess.run(["umount", "-l", self.disk], check=False)


class ReadersWriter:
    """Many calls at once, or one judgement and no call."""

    def __init__(self):
        self.condition, self.readers, self.writers = threading.Condition(), 0, 0

    @contextlib.contextmanager
    def reading(self):
        with self.condition:
            self.condition.wait_for(lambda: not self.writers)
            self.readers += 1
        try:
            yield
        finally:
            with self.condition:
                self.readers -= 1
                self.condition.notify_all()

    @contextlib.contextmanager
    def writing(self):
        with self.condition:
            self.writers += 1
            self.condition.wait_for(lambda: not self.readers)
        try:
            yield
        finally:
            with self.condition:
                self.writers -= 1
                self.condition.notify_all()


def slope(points):
    """Least squares of (seconds, KiB): KiB an hour."""
    n = len(points)
    mean_t, mean_k = sum(t for t, _ in points) / n, sum(k for _, k in points) / n
    square = sum((t - mean_t) ** 2 for t, _ in points)
    return 3600 * sum((t - mean_t) * (k - mean_k) for t, k in points) / square


def memory_lines(samples):
    """For each program the later half of the longest life of one process, and how it came to it:
    heaps grow until they have met the load's largest moments, a leak goes on."""
    lines, missed = [], 0
    for name in sorted({n for _, n, _, _ in samples}):
        lives = {}
        for at, n, pid, kib in samples:
            if n == name:
                lives.setdefault(pid, []).append((at, kib))
        life = max(lives.values(), key=lambda p: p[-1][0] - p[0][0])
        points = [p for p in life if p[0] >= (life[0][0] + life[-1][0]) / 2]
        if len(points) < 6:
            lines.append(f"  {name}: too short a life to say")
            continue
        per_hour, grown = slope(points), points[-1][1] - points[0][1]
        ok = per_hour <= SLOPE_KIB_PER_H or grown <= GRAIN_KIB
        missed += not ok
        lines.append(f"  {name}: {points[0][1]} to {points[-1][1]} KiB in "
                     f"{(points[-1][0] - points[0][0]) / 60:.1f} min, {per_hour:+.0f} KiB/h "
                     f"(at most {SLOPE_KIB_PER_H}, or {GRAIN_KIB} in all): {'ok' if ok else 'MISSED'}")
        lines.append("    each minute: " + " ".join(str(kib) for _, kib in life[::6]))
    return lines, missed


def write_up(soak):
    r = soak.report
    lines = [f"soak: {r.now() / 60:.1f} minutes, seed {SEED}", "work:"]
    lines += [f"  {w.name}: {w.done} done, {w.failures} failed, longest {w.longest:.1f} s"
              for w in getattr(soak, "workers", [])]
    lines.append(f"  history: {soak.history}")
    if soak.program:
        lines += [f"  {name}: {o.last} lines in order over {o.connections} connections, {o.missing} "
                  "while nobody read" for name, o in soak.program[1].outputs.items()]
    lines.append("faults (beside those of a guest alone):")
    lines += [f"  {start:.0f} s {name}: {(end or r.now()) - start:.1f} s" for name, start, end in r.faults]
    unexplained = r.unexplained()
    lines.append(f"errors: {len(r.errors)}, of them {len(unexplained)} that no fault explains")
    lines += [f"  {at:.0f} s {text}" for at, text in unexplained]
    more, missed = memory_lines(r.samples)
    lines += ["memory:", *more, f"violations: {len(r.violations)}"]
    lines += [f"  {at:.0f} s {text}\n{trace}" for at, text, trace in r.violations]
    good = not (unexplained or missed or r.violations)
    lines.append("verdict: " + ("ok" if good else "MISSED"))
    return "\n".join(lines) + "\n", good


def main():
    scratch = Path(tempfile.mkdtemp(prefix="adit-soak-"))
    soak = Soak(scratch)
    print(f"soak: {MINUTES:g} minutes, seed {SEED}, state in {scratch}", flush=True)
    try:
        soak.run()
    except Exception as e:
        soak.report.failed("soak", soak.report.now(), Violation(f"{type(e).__name__}: {e}"))
    finally:
        soak.stop.set()
        soak.close()
    text, good = write_up(soak)
    print(text, flush=True)
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(text)
    if good:
        shutil.rmtree(scratch)
    else:
        print(f"the broker's log: {soak.broker.log_path}")
    sys.exit(not good)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""F23: system calls that fail. Whatever the kernel refuses, nobody crashes, hangs or leaks.

strace makes the n-th call of one kind fail in the broker, its scheduler or a sandbox's envd while a
script of requests runs. Requests may fail; the program may not end, and right afterwards the same
script must pass. ADIT_F23_CASES chooses how many of all cases run (0: all), ADIT_SEED which.
"""

import os
import random
import subprocess
import time
from pathlib import Path

import pytest
from e2b import Sandbox

from conftest import wait_for
from test_f05_envd_dies import envd_pid

CALLS = (
    "read readv write writev pread64 pwrite64 sendmsg recvmsg accept4 socket connect bind shutdown "
    "getsockopt setsockopt getpeername openat openat2 close fstat newfstatat statx lseek ftruncate "
    "fsync fdatasync rename renameat renameat2 unlink unlinkat mkdir mkdirat getdents64 readlink "
    "readlinkat fchown fchownat fchmod fchmodat utimensat mmap mremap brk madvise pipe2 dup dup3 "
    "fcntl ioctl vfork clone clone3 wait4 waitid kill getrandom eventfd2 timerfd_settime prlimit64 "
    "splice sendfile poll flock fgetxattr fsetxattr flistxattr getrusage sched_yield statfs fstatfs"
).split()
ERRORS = "EINTR EAGAIN ENOMEM EIO ENOSPC EMFILE".split()
# libuv ends the program when its own wake-up descriptor or epoll cannot be used, and glibc when a
# lock cannot be waited for: epoll_*, futex are not in CALLS. A "read" or "write" may be of that
# descriptor, and no kernel refuses random bytes; neither ever fails but by an interruption.
SURE = ("read", "write", "getrandom")
# What once left something behind: the folder of a sandbox.
FOUND = [("broker", "unlinkat", "EIO", 1), ("broker", "unlinkat", "EIO", 2)]
TARGETS = ("broker", "scheduler", "envd")
DEFAULT_CASES = 24


def cases():
    every = [(t, c, e, n) for t in TARGETS for c in CALLS for e in ERRORS
             for n in (1, 2, 3, 5, 8, 13, 20) if c not in SURE or e == "EINTR"]
    seed = int(os.environ.get("ADIT_SEED", "20261121"))
    count = int(os.environ.get("ADIT_F23_CASES", str(DEFAULT_CASES)))
    return seed, FOUND + (every if count == 0 else random.Random(seed).sample(every, count))


def script(sandbox):
    """What a client does; each step may fail, none may hang."""
    failed = 0
    for step in (
        lambda: sandbox.commands.run("echo hello; echo error >&2", timeout=5, request_timeout=5),
        lambda: sandbox.files.write("/home/user/a", "x" * 100, request_timeout=5),
        lambda: sandbox.files.write("/home/user/b", b"y" * 200_000, request_timeout=5),
        lambda: sandbox.files.read("/home/user/b", request_timeout=5),
        lambda: sandbox.files.list("/home/user", request_timeout=5),
        lambda: sandbox.files.remove("/home/user/b", request_timeout=5),
        lambda: sandbox.commands.list(request_timeout=5),
        lambda: sandbox.set_timeout(300, request_timeout=5),
        lambda: Sandbox.kill(Sandbox.create(timeout=60, request_timeout=8).sandbox_id, request_timeout=5),
        lambda: Sandbox.list().next_items(request_timeout=5),
    ):
        try:
            step()
        except Exception:
            failed += 1
    return failed


def inject(pid, call, error, when):
    strace = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid), "-e", f"trace={call}",
         "-e", f"inject={call}:error={error}:when={when}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )
    wait_for(lambda: strace.poll() is not None
             or "TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_text(), 5, "strace")
    return strace


def sandboxes(broker):
    return set(os.listdir(broker.state / "state/sandboxes"))


@pytest.mark.timeout(240 + 3 * len(cases()[1]))
def test_programs_survive_failing_calls(own_broker, monkeypatch):
    seed, chosen = cases()
    print(f"\nF23: {len(chosen)} cases, seed {seed}")
    # A call that fails in this way has no number, and a filter ends who makes it. The broker's own
    # scheduler reads its environment.
    monkeypatch.setenv("ADIT_SCHEDULER_SECCOMP", "off")
    broker = own_broker("--seccomp", "off")
    sandbox = Sandbox.create(timeout=3600)
    assert script(sandbox) == 0
    ended, odd = [], []
    for target, call, error, when in chosen:
        name = f"{target} {call}={error} when={when}"
        pid = {"broker": lambda: broker.process.pid,
               "scheduler": lambda: wait_for(broker.scheduler, 30, name),
               "envd": lambda: envd_pid(broker, sandbox.sandbox_id)}[target]()
        strace = inject(pid, call, error, when)
        started = time.monotonic()
        script(sandbox)
        took = time.monotonic() - started
        strace.terminate()
        message = strace.communicate(timeout=10)[1]
        if "invalid" in message:
            odd.append(f"{name}: {message.strip()}")
        if target == "broker" and broker.process.poll() is not None:
            ended.append(f"{name}: broker ended with {broker.process.returncode}")
            broker.start()
        elif target != "broker" and not Path(f"/proc/{pid}/exe").exists():
            ended.append(f"{name}: ended")
            if target == "envd":
                sandbox = Sandbox.create(timeout=3600)
        if took > 40:
            odd.append(f"{name}: the script took {took:.1f} s")
        try:
            wait_for(lambda: script(sandbox) == 0, 30, "the script passes again")
            wait_for(lambda: sandboxes(broker) == {sandbox.sandbox_id}, 30, "nothing is left")
        except AssertionError as e:
            odd.append(f"{name}: {e}: {sandboxes(broker)}")
    assert not ended, "\n".join(ended)
    assert not odd, "\n".join(odd)
    assert sandbox.kill()

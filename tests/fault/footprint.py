# SPDX-License-Identifier: Apache-2.0
"""What a broker and its helpers hold of the machine, in numbers that can be compared (R10)."""

import os
import re
from pathlib import Path

from conftest import cgroups, children_of
from test_f15_slow_reader import rss_kib


def programs(broker):
    """Pid of each long-lived program by its name."""
    keeper = broker.child("adit-keeper")
    found = {"broker": broker.process.pid, "supervisor": broker.child("adit-supervisor"),
             "scheduler": broker.scheduler(), "keeper": keeper,
             "launcher": keeper and broker.child("adit-launcher", of=keeper)}
    return {name: pid for name, pid in found.items() if pid}


def fd_cnt(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory(broker):
    """RSS of each program in KiB."""
    return {name: rss_kib(pid) for name, pid in programs(broker).items()}


def cgroup_cnt(broker):
    ours = set(re.findall(r"sandbox=(i[a-z0-9]{20})\b", broker.log()))
    return len({name for name, _ in cgroups()} & ours)


def counts(broker):
    """Descriptors, threads, processes, mounts, control groups, files: all equal, or something stays."""
    found, state = {}, str(broker.state / "state")
    for name, pid in programs(broker).items():
        found[f"descriptors of {name}"] = fd_cnt(pid)
        found[f"threads of {name}"] = len(os.listdir(f"/proc/{pid}/task"))
        found[f"children of {name}"] = len(children_of(pid))
        mounts = Path(f"/proc/{pid}/mountinfo").read_text()
        found[f"mounts seen by {name}"] = mounts.count(state)
    found["control groups"] = cgroup_cnt(broker)
    # logs stay after the end of their sandbox, as long as the broker is told to keep them
    found["files"] = sum(len(dirs) + len(files) for at, dirs, files in os.walk(state)
                         if not at.endswith("/logs"))
    return found


def more(before, after):
    """What there is more of. (Connections that are kept for the next call may be fewer.)"""
    return [f"{what}: {before.get(what, 0)} before, {n} after"
            for what, n in sorted(after.items()) if n > before.get(what, 0)]

# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for monitors that cannot be installed here, and agents in the place of their guests.

This is not a test of the monitors: they have never run with these drivers on this machine.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

from conftest import BIN, TEMPLATES, wait_for

HERE = Path(__file__).resolve().parent
VERSIONS = {"firecracker": "Firecracker v1.16.1", "cloud-hypervisor": "cloud-hypervisor v48.0"}
# The agent in a root of its own, with namespaces as a guest has a kernel.
GUEST = """
mount -t tmpfs guest "$1" && mkdir "$1/u" "$1/w" "$1/r" &&
mount -t overlay -o "lowerdir=$2,upperdir=$1/u,workdir=$1/w" guest "$1/r" &&
mount -t proc proc "$1/r/proc" && mount -t tmpfs dev "$1/r/dev" && mknod -m 666 "$1/r/dev/null" c 1 3 &&
mknod -m 444 "$1/r/dev/urandom" c 1 9 && cp "$3" "$1/r/envd" && ip link set lo up
exec chroot "$1/r" /envd --channel-fd 3
"""


def make_stand_in(folder, kind, way="", version=None):
    """A program in the place of a monitor's. `way`: how it fails, "-dies" for one."""
    folder.mkdir(exist_ok=True)
    script = (HERE / "stand_in.py").read_bytes()
    (folder / "stand_in.inc").write_text(",".join(map(str, script)))
    out = folder / (kind + way)
    subprocess.run(
        ["cc", "-O1", "-o", out, f'-DKIND="{kind}{way}"', f'-DVERSION="{version or VERSIONS[kind]}"',
         "-I", folder, HERE / "stand_in.c"], check=True, timeout=60)
    return out


class Guests(threading.Thread):
    """Takes the guest's part of every machine that a broker's stand-ins start."""

    def __init__(self, sandboxes, scratch):
        super().__init__(daemon=True)
        self.sandboxes, self.scratch = sandboxes, scratch
        self.told, self.agents, self.is_over = [], {}, threading.Event()

    def run(self):
        waiting = {}
        while not self.is_over.wait(0.02):
            for run in self.sandboxes.glob("*/vm/run"):
                if run not in waiting:
                    waiting[run] = threading.Thread(target=self.serve, args=(run,), daemon=True)
                    waiting[run].start()

    def serve(self, run):
        try:
            door = socket.socket(socket.AF_UNIX)
            door.bind(str(run / "guest"))
            os.chmod(run / "guest", 0o777)
            door.listen(1)
            door.settimeout(60)
            line, _ = door.accept()
            data, fds, _, _ = socket.recv_fds(line, 65536, 1)
        except OSError:
            return
        self.told.append(json.loads(data))
        agent = self.boot(run, fds[0])
        os.close(fds[0])
        while line.recv(1):  # until the monitor ends
            pass
        os.killpg(agent.pid, signal.SIGKILL)
        agent.wait()

    def boot(self, run, channel):
        name = run.parents[1].name
        folder = self.scratch / name
        folder.mkdir(parents=True)
        root = next(t / "root" for t in TEMPLATES.iterdir()
                    if not t.name.startswith(".")
                    and "base" in json.loads((t / "template.json").read_text())["aliases"])

        def hand_over():
            os.setsid()
            os.dup2(channel, 3)
            os.set_inheritable(3, True)

        agent = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--net", "--uts", "--ipc",
             "sh", "-c", GUEST, "sh", str(folder), str(root), str(BIN / "envd")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            close_fds=False, preexec_fn=hand_over)
        self.agents[name] = agent
        return agent

    def stop(self):
        self.is_over.set()
        self.join(10)
        wait_for(lambda: all(a.poll() is not None for a in self.agents.values()), 20,
                 "the ends of the guests")
        shutil.rmtree(self.scratch, ignore_errors=True)

# SPDX-License-Identifier: Apache-2.0
"""The floor of creating a sandbox: the OCI runtime alone with a container that ends by itself.

In a mount namespace of its own: crun wants unified control groups, which not all hosts have.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROGRAM = "int main(void) { return 0; }"


def make_bundle(bundle):
    root = bundle / "rootfs"
    root.mkdir()
    subprocess.run(["gcc", "-O2", "-static", "-x", "c", "-o", root / "end", "-"], input=PROGRAM,
                   text=True, check=True)
    subprocess.run(["crun", "spec"], cwd=bundle, check=True)
    path = bundle / "config.json"
    config = json.loads(path.read_text())
    config["process"] |= {"args": ["/end"], "terminal": False}
    path.write_text(json.dumps(config))


def run(bundle, name):
    argv = ["crun", f"--root={bundle}/state", "--cgroup-manager=disabled", "run",
            f"--bundle={bundle}", name]
    pid = os.posix_spawnp("crun", argv, dict(os.environ))
    assert os.waitpid(pid, 0)[1] == 0


def children_cpu_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def inside(count, at_once):
    subprocess.run(["mount", "-t", "cgroup2", "none", "/sys/fs/cgroup"], check=True)
    with tempfile.TemporaryDirectory(prefix="adit-crun-") as scratch:
        bundle = Path(scratch)
        make_bundle(bundle)
        run(bundle, "first")
        began, cpu_began = time.monotonic(), children_cpu_s()
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(lambda i: run(bundle, f"floor{i}"), range(count)))
        print(count / (time.monotonic() - began), (children_cpu_s() - cpu_began) / count)


def crun_rate(count, at_once):
    """Containers a second that `at_once` clients start and see end; processor seconds of each."""
    out = subprocess.run(["unshare", "--mount", sys.executable, __file__, str(count), str(at_once)],
                         capture_output=True, text=True, check=True).stdout
    rate, cpu = out.split()
    return float(rate), float(cpu)


if __name__ == "__main__":
    inside(int(sys.argv[1]), int(sys.argv[2]))

# SPDX-License-Identifier: Apache-2.0
"""What a sandbox with a kernel of its own costs, under software emulation: its boot in parts,
its processes, memory of the host. What a create from the warm pool takes is in bench_broker.py.

    build/venv/bin/python bench/bench_vm.py

The floor of a boot is the same kernel and initramfs in a bare QEMU whose first program leaves at
once. Under KVM all but QEMU's own start is ten times faster; what is ours stays.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from support import (IS_FULL, REPO, Api, cpu_s, create, figure, kill, pids_of, running_broker, wait_for)

sys.path.append(str(REPO / "tests/vm"))
from conftest import GUEST, MACHINES  # noqa: E402
from guest import tsc_khz  # noqa: E402

BOOTS = 10 if IS_FULL else 4
MACHINES_MORE = 8
IDLE_S = 10
DEVICE_PSS_MAX_KIB = 3 * 1024


def bare_boot(khz):
    """Seconds from QEMU's start until its guest, which does nothing, has left. It is told the clock's
    rate as machines are: on busy cores it may never find it out."""
    began = time.perf_counter()
    subprocess.run(
        ["qemu-system-x86_64", "-M", "microvm", "-accel", "tcg", "-cpu", "max", "-m", "512",
         "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
         "-kernel", GUEST / "vmlinux", "-initrd", GUEST / "initramfs",
         "-append", f"reboot=t panic=-1 quiet rdinit=/init tsc_early_khz={khz} -- --vm --probe"],
        check=True, timeout=120, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began


def log_of(api, sandbox):
    return api.ask("GET", f"/v2/sandboxes/{sandbox['sandboxID']}/logs")[0]["logs"]


def stamp(entry):
    return datetime.fromisoformat(entry["timestamp"].replace("Z", "+00:00")).timestamp()


def parts(api, sandbox):
    """Milliseconds of the kernel, of modules, of the root, and of envd until it listens."""
    def lines():
        log = log_of(api, sandbox)
        found = [[e for e in log if word in e["message"]] for word in ("booted", "listening")]
        return found if all(found) else None
    [booted, *_], [listening, *_] = wait_for(lines, 10, "envd's words")
    kernel, modules, root = (int(n) / 1e3 for n in re.findall(r"_us=(\d+)", str(booted)))
    return kernel, modules, root, (stamp(listening) - stamp(booted)) * 1e3


def boots(broker):
    with tempfile.TemporaryDirectory() as directory:
        khz = tsc_khz(Path(directory))
    bare = statistics.median(bare_boot(khz) for _ in range(3)) * 1e3
    api, took, seen = Api(broker), [], []
    for _ in range(BOOTS):
        sandbox, ms = create(broker)
        took.append(ms)
        seen.append(parts(api, sandbox))
        kill(broker, sandbox)
    api.close()
    whole = statistics.median(took)
    kernel, modules, root, envd = (statistics.median(p) for p in zip(*seen))
    rest = whole - kernel - modules - root - envd
    figure(None, "a bare QEMU boots the same kernel and leaves", "-", f"p50 {bare:.0f} ms")
    figure(None, f"create to first /health, a machine, {BOOTS} one by one", "-",
           f"p50 {whole:.0f} ms, max {max(took):.0f} ms, {whole / bare:.2f} of the bare boot")
    figure(None, "of it: VMM and broker / kernel / modules / root / envd", "-",
           f"{rest:.0f} / {kernel:.0f} / {modules:.0f} / {root:.0f} / {envd:.0f} ms")


def process(sandbox, prefix):
    """The sandbox's process of that name, which the kernel cuts at 15 characters."""
    found = pids_of(sandbox, prefix[:15])
    assert found, f"{sandbox['sandboxID']} has no {prefix}"
    return found[0]


def pss_kib(pid):
    """Its own memory; the guest's, which it maps, is a memfd."""
    own, is_guests = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-", line):
            is_guests = "/memfd:" in line
        elif line.startswith("Pss:") and not is_guests:
            own += int(line.split()[1])
    return own


def idle(sandbox):
    pids = [process(sandbox, name) for name in ("vsock-device", "qemu-system-x86_64")]
    before = [cpu_s(pid) for pid in pids]
    time.sleep(IDLE_S)  # the figure is that of so long a time
    device, vmm = (100 * (cpu_s(pid) - was) / IDLE_S for pid, was in zip(pids, before))
    own = pss_kib(pids[0])
    figure(own < DEVICE_PSS_MAX_KIB, "vsock-device, one machine, guest memory apart", "< 3 MiB PSS",
           f"{own} KiB")
    figure(device < 0.5, f"its processor time over {IDLE_S} idle seconds", "0 %",
           f"{device:.1f} %; of the emulator, whose guest's clock ticks: {vmm:.1f} %")
    figure(None, "QEMU, guest memory apart", "-", f"{pss_kib(pids[1]) / 1024:.1f} MiB PSS")


def available_mib():
    return int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) / 1024


def memory(broker):
    before, made = available_mib(), []
    for _ in range(MACHINES_MORE):
        made.append(create(broker)[0])
    each = (before - available_mib()) / MACHINES_MORE
    figure(None, f"host memory for each of {MACHINES_MORE} more machines of a template", "-",
           f"{each:.0f} MiB of the 512 that each may use")
    for sandbox in made:
        kill(broker, sandbox)


def main():
    with running_broker(*MACHINES, "--isolation", "vm") as broker:
        boots(broker)
        sandbox, _ = create(broker)
        idle(sandbox)
        memory(broker)


if __name__ == "__main__":
    main()

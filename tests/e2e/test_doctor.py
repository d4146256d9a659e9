# SPDX-License-Identifier: Apache-2.0
"""`broker doctor`: what a host has, what it lacks, and the command that adds it."""

import json
import subprocess
from pathlib import Path

from conftest import BIN, MACHINES, TEMPLATES


def doctor(state, *options):
    done = subprocess.run([BIN / "broker", "doctor", "--json", "--state-dir", state,
                           "--templates-dir", TEMPLATES, *options],
                          capture_output=True, text=True, timeout=60)
    said = json.loads(done.stdout)
    return done.returncode, said, {i["name"]: i for i in said["items"]}


def test_what_is_there_is_found(tmp_path):
    status, said, items = doctor(tmp_path, *MACHINES[:2])
    assert status == 0 and said["containers"] and said["machines"]
    assert {n for n, i in items.items() if i["verdict"] == "missing"} == set()
    assert items["QEMU"]["detail"].startswith("QEMU emulator version")
    # whatever KVM does here, it was found out, and an emulated guest is not taken for one
    assert items["KVM"]["verdict"] == ("ok" if said["kvm"] else "warning")
    assert "not tried" not in items["KVM"]["detail"]
    assert not list(Path("/tmp").glob("adit-doctor-*")), "its own directories are removed"


def test_what_is_missing_comes_with_the_command_that_adds_it(tmp_path):
    status, said, items = doctor(tmp_path, "--qemu", "no-such-qemu", "--runtime", "no-such-runtime")
    assert status == 1 and not said["containers"] and not said["machines"] and not said["kvm"]
    assert items["QEMU"]["verdict"] == "missing"
    assert items["QEMU"]["fix"] == "apt-get install qemu-system-x86"
    assert items["OCI runtime"]["fix"] == "apt-get install crun"
    assert items["guest images"]["fix"].startswith(f"rootfs-builder kernel --out {tmp_path}/guest")


def test_one_kind_is_enough(tmp_path):
    status, said, _ = doctor(tmp_path, "--qemu", "no-such-qemu")
    assert status == 0 and said["containers"] and not said["machines"]


def test_people_read_the_same(tmp_path):
    done = subprocess.run([BIN / "broker", "doctor", "--state-dir", tmp_path, "--qemu", "nothing"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "MISSING  QEMU" in done.stdout and "-> apt-get install qemu-system-x86" in done.stdout
    assert done.stdout.endswith("containers: yes\nvirtual machines: no\n")

# SPDX-License-Identifier: Apache-2.0
"""rootfs-builder oci, called by tests."""

import json
import os
import shutil
import subprocess

import pytest

from conftest import BIN

PROGRAM = BIN / "rootfs-builder"


def need_builder():
    missing = [name for name in ("skopeo", "umoci", "cc", "busybox") if not shutil.which(name)]
    if os.geteuid() != 0:
        missing.append("root (cells are made as root)")
    if not PROGRAM.exists():
        missing.append(f"{PROGRAM} (make build)")
    if missing:
        pytest.exit("tests of images need: " + "; ".join(missing), returncode=3)


class Builder:
    """A templates directory, and what is built into it."""

    def __init__(self, out):
        self.out = out

    def build(self, image, alias="made", options=(), env=None):
        return subprocess.run(
            [str(PROGRAM), "oci", "--alias", alias, "--out", str(self.out), *options, str(image)],
            capture_output=True, text=True, errors="replace", timeout=120,
            env={"PATH": os.environ["PATH"], **(env or {})},
        )

    def made(self, image, alias="made", options=("--no-image",)):
        """The folder of a template that is made without an error."""
        run = self.build(image, alias, options)
        assert run.returncode == 0, run.stderr
        return self.template(alias)

    def template(self, alias="made"):
        for folder in self.out.iterdir():
            if not folder.name.startswith(".") and alias in self.info(folder)["aliases"]:
                return folder
        raise AssertionError(f"there is no template {alias}")

    @staticmethod
    def info(folder):
        return json.loads((folder / "template.json").read_text())

    def names(self):
        """What is in the directory, without its lock."""
        return sorted(p.name for p in self.out.iterdir() if p.name != ".lock") \
            if self.out.exists() else []


@pytest.fixture
def builder(tmp_path):
    need_builder()
    yield Builder(tmp_path / "templates")
    # Python's own way to remove a tree ends at its own depth.
    subprocess.run(["rm", "-rf", str(tmp_path / "templates")], check=True)

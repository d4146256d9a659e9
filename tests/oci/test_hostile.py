# SPDX-License-Identifier: Apache-2.0
"""The hostile corpus (hostile.py), in full: what lies outside a template stays as it was."""

import hashlib
import os
import re
from pathlib import Path

import pytest

import hostile
from builder import builder  # noqa: F401 (a fixture)

# Where entries of the corpus would lead to, if they could. What else runs on the machine writes to
# other places; there, nothing may have the corpus's name.
STILL = ("/etc", "/usr/bin")
LIVELY = ("/", "/root", "/tmp", "/var/tmp", "/run")


def look(folder):
    """A digest of every name below a folder, with whatever a change of it changes."""
    found = hashlib.sha256()
    for at, dirs, files in os.walk(folder):
        dirs.sort()
        for name in [".", *sorted(files)]:
            path = os.path.join(at, name)
            st = os.lstat(path)
            found.update(f"{path} {st.st_mode} {st.st_uid} {st.st_gid} {st.st_size} "
                         f"{st.st_mtime_ns} {st.st_nlink}\n".encode(errors="surrogateescape"))
    return found.hexdigest()


def outside(neighbour):
    return {folder: look(folder) for folder in (*STILL, neighbour)}


@pytest.mark.parametrize("name", hostile.CASES)
def test_hostile(name, builder, tmp_path):
    make, refused, inside, options = hostile.CASES[name]
    image = tmp_path / "image"
    make(image)
    (tmp_path / "neighbour").mkdir()
    (tmp_path / "neighbour/file").write_text("as it was")
    before = outside(tmp_path / "neighbour")

    run = builder.build(image, options=[*options, "--no-image"])

    assert outside(tmp_path / "neighbour") == before
    for folder in LIVELY:
        assert not list(Path(folder).glob(hostile.ESCAPE + "*")), folder
    assert all(c.isprintable() for c in run.stderr.replace("\n", "")), run.stderr
    assert not re.search(r"root:[x*!$]", run.stderr), "a secret is shown"
    if refused is None:
        assert run.returncode == 0, run.stderr
        inside(builder.template() / "root")
    else:
        assert run.returncode in (1, 2), run.stderr
        assert re.search(refused, run.stderr), run.stderr
        assert builder.names() == [], "a part of it is left"

# SPDX-License-Identifier: Apache-2.0
"""What there is on the internet of internet.py: packages of two kinds, a project in git, a program.

Nothing is fetched for it. The wheels are those that the tests themselves run on, packed again; the
Debian package and the project are made here.
"""

import hashlib
import shutil
import subprocess
import zipfile
from importlib.metadata import distribution
from pathlib import Path

HERE = Path(__file__).resolve().parent
WHEELS = ("requests", "urllib3", "idna", "certifi", "charset_normalizer", "websockets")
CONTROL = """\
Package: adit-hello
Version: 1.0
Architecture: all
Maintainer: The tests <tests@example.net>
Description: says hello
"""
# What belongs to an installation, not to the package.
INSTALLED = ("INSTALLER", "REQUESTED", "direct_url.json")


def run(*argv, cwd=None, **kwargs):
    return subprocess.run(list(map(str, argv)), cwd=cwd, check=True, capture_output=True, text=True,
                          **kwargs).stdout


def wheel_name(package):
    """The tags of a wheel are written with dots where they differ in their platform only."""
    tags = [line.removeprefix("Tag: ").split("-")
            for line in package.read_text("WHEEL").splitlines() if line.startswith("Tag: ")]
    python, abi, _ = tags[0]
    platforms = ".".join(tag[2] for tag in tags)
    name = package.name.replace("-", "_")
    return f"{name}-{package.version}-{python}-{abi}-{platforms}.whl"


def make_index(at):
    """A package index: a page for each project, with links to files (PEP 503)."""
    for name in WHEELS:
        package = distribution(name)
        page = at / "simple" / name.replace("_", "-")
        page.mkdir(parents=True)
        wheel = page / wheel_name(package)
        with zipfile.ZipFile(wheel, "w") as z:
            for file in package.files:
                inside = ".." not in file.parts and file.suffix != ".pyc"
                if inside and file.name not in INSTALLED:
                    z.write(file.locate(), str(file))
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (page / "index.html").write_text(
            f'<!DOCTYPE html><a href="{wheel.name}#sha256={digest}">{wheel.name}</a>\n')


def make_apt(at):
    """An archive of one Debian package, without a signature."""
    root, archive = at / "package", at / "apt"
    program = root / "usr/bin/adit-hello"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho hello from a package\n")
    program.chmod(0o755)
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN/control").write_text(CONTROL)
    archive.mkdir()
    run("dpkg-deb", "--root-owner-group", "--build", root, archive)
    packages = run("dpkg-scanpackages", "--multiversion", ".", cwd=archive).encode()
    (archive / "Packages").write_bytes(packages)
    (archive / "Release").write_text(
        f"SHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n")
    shutil.rmtree(root)


def make_git(at):
    """A project of one commit, which may be fetched and pushed to."""
    bare, work = at / "git/project.git", at / "work"
    bare.parent.mkdir()
    run("git", "init", "--bare", "--initial-branch=main", bare)
    run("git", "-C", bare, "config", "http.receivepack", "true")
    run("git", "clone", bare, work)
    (work / "README").write_text("the project\n")
    run("git", "-C", work, "add", "README")
    run("git", "-C", work, "-c", "user.name=T", "-c", "user.email=t@example.net", "commit",
        "-m", "the first")
    run("git", "-C", work, "push", "origin", "HEAD:main")
    shutil.rmtree(work)


def make(at):
    """Everything, in folder @at, which a web server shows."""
    at.mkdir(parents=True)
    make_index(at)
    make_apt(at)
    make_git(at)
    shutil.copy(HERE / "guest_network.py", at)

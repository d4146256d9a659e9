# SPDX-License-Identifier: Apache-2.0
"""Files, by the Python SDK."""

import hashlib
import io
import os
import time

import pytest
from e2b import (
    FileNotFoundException,
    FileType,
    InvalidArgumentException,
    Sandbox,
    SandboxException,
    AuthenticationException,
)

KIB, GIB = 1024, 1024 ** 3
BLOCK = os.urandom(1024 * KIB)


@pytest.fixture(scope="module")
def box(broker):
    s = Sandbox.create(timeout=600)
    yield s
    s.kill()


@pytest.fixture
def folder(box, request):
    """A folder of the test's own, gone after it."""
    path = f"/home/user/{request.node.originalname}"
    box.files.make_dir(path)
    yield path
    box.files.remove(path)


def sum_inside(box, path):
    return box.commands.run(f"sha256sum < '{path}'", timeout=120).stdout.split()[0]


def pattern(size):
    return (BLOCK * (size // len(BLOCK) + 1))[:size]


# ---- content -----------------------------------------------------------------------------------


SIZES = [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 3 * 1024 * KIB + 7]
WAYS = {
    "multipart": {},
    "octet-stream": {"use_octet_stream": True},
    "gzip": {"gzip": True},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", SIZES)
def test_bytes_come_back_as_they_went(box, folder, size, way):
    data, path = pattern(size), f"{folder}/file"
    info = box.files.write(path, data, **WAYS[way])
    assert (info.path, info.name, info.type) == (path, "file", FileType.FILE)
    assert bytes(box.files.read(path, format="bytes")) == data
    assert bytes(box.files.read(path, format="bytes", gzip=True)) == data
    assert b"".join(box.files.read(path, format="stream")) == data
    assert box.files.get_info(path).size == size
    assert sum_inside(box, path) == hashlib.sha256(data).hexdigest()


def test_streams_and_file_objects(box, folder, tmp_path):
    data = pattern(5 * 64 * KIB + 3)
    local = tmp_path / "local"
    local.write_bytes(data)
    with local.open("rb") as f:
        box.files.write(f"{folder}/by-file", f)
    box.files.write(f"{folder}/by-bytesio", io.BytesIO(data))
    box.files.write(f"{folder}/by-iterator", (data[i:i + 1000] for i in range(0, len(data), 1000)))
    box.files.write(f"{folder}/gzipped", iter([data]), gzip=True)
    with local.open("rb") as f:
        box.files.write(f"{folder}/by-form", f, use_octet_stream=False)
    box.files.write(f"{folder}/text", io.StringIO("zeile ä\n"))
    for name in ("by-file", "by-bytesio", "by-iterator", "gzipped", "by-form"):
        assert bytes(box.files.read(f"{folder}/{name}", format="bytes")) == data, name
    assert box.files.read(f"{folder}/text") == "zeile ä\n"


@pytest.mark.heavy
@pytest.mark.containers("an emulated guest sums a gibibyte for minutes; tests/vm has the transfer")
@pytest.mark.timeout(240)
def test_one_gibibyte_both_ways(box, folder):
    path, up, down = f"{folder}/large", hashlib.sha256(), hashlib.sha256()

    def blocks():
        for n in range(1024):
            block = n.to_bytes(8, "big") + BLOCK[8:]
            up.update(block)
            yield block

    started = time.monotonic()
    box.files.write(path, blocks())
    uploaded = time.monotonic()
    assert box.files.get_info(path).size == GIB
    assert sum_inside(box, path) == up.hexdigest()
    summed = time.monotonic()
    length = 0
    for chunk in box.files.read(path, format="stream"):
        down.update(chunk)
        length += len(chunk)
    done = time.monotonic()
    box.files.remove(path)
    assert length == GIB
    assert down.hexdigest() == up.hexdigest()
    print(f"\n1 GiB with checksums: up {uploaded - started:.1f} s, down {done - summed:.1f} s")


def test_overwriting_replaces_the_whole_content(box, folder):
    path = f"{folder}/f"
    box.files.write(path, "long content, to be cut")
    box.files.write(path, "short")
    assert box.files.read(path) == "short"


def test_many_files_in_one_write(box, folder):
    files = [{"path": f"{folder}/{n % 7}/{n}", "data": pattern(n * 100)} for n in range(100)]
    written = box.files.write_files(files)
    assert [w.path for w in written] == [f["path"] for f in files]
    for f in files[::9]:
        assert bytes(box.files.read(f["path"], format="bytes")) == f["data"]
    assert box.files.write_files([]) == []


def test_the_same_path_twice_in_one_write_is_refused(box, folder):
    twice = [{"path": f"{folder}/same", "data": d} for d in ("1", "2")]
    with pytest.raises(InvalidArgumentException, match="multiple files to the same path"):
        box.files.write_files(twice)


def test_files_of_proc_are_read_to_their_end(box):
    inside = box.commands.run("cat /proc/sys/kernel/random/boot_id").stdout
    assert len(inside) == 37
    assert box.files.read("/proc/sys/kernel/random/boot_id") == inside


# ---- names and paths ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [
    "plain", "with space", "Ünïcödé-文件-😀", "percent%20", "quote\"and'", "semi;colon", "a&b=c#d?e+f",
    "back\\slash", "e\u0301 combining", "x" * 255, "new\nline", ".hidden", "-dash", "~tilde",
])
def test_any_name(box, folder, name):
    path = f"{folder}/{name}"
    assert box.files.write(path, name).path == path
    assert box.files.read(path) == name
    assert [e.name for e in box.files.list(folder)] == [name]
    assert box.files.get_info(path).path == path
    moved = box.files.rename(path, path[:-1] + "_")
    assert box.files.read(moved.path) == name
    box.files.remove(moved.path)
    assert not box.files.exists(moved.path)


def test_relative_paths_and_tilde_are_the_users_home(box):
    assert box.files.write("rel/a.txt", "a").path == "/home/user/rel/a.txt"
    assert box.files.read("~/rel/a.txt") == "a"
    assert box.files.read("rel/../rel/a.txt") == "a"
    assert box.files.write("b.txt", "b", user="root").path == "/root/b.txt"
    assert box.files.get_info("b.txt", user="root").owner == "root"
    with pytest.raises(InvalidArgumentException, match="user-specific home dir"):
        box.files.read("~root/b.txt")
    with pytest.raises(AuthenticationException, match="nobody-here"):
        box.files.read("a", user="nobody-here")
    box.files.remove("rel")


def test_missing_directories_are_made_and_belong_to_the_user(box, folder):
    box.files.write(f"{folder}/a/b/c/d.txt", "deep")
    for part in ("a", "a/b", "a/b/c"):
        info = box.files.get_info(f"{folder}/{part}")
        assert (info.type, info.owner, info.group) == (FileType.DIR, "user", "user")
        assert info.permissions == "drwxr-xr-x"


# ---- entries -----------------------------------------------------------------------------------


def test_get_info(box, folder):
    path = f"{folder}/f"
    box.files.write(path, "12345")
    info = box.files.get_info(path)
    assert (info.name, info.path, info.type, info.size) == ("f", path, FileType.FILE, 5)
    assert (info.mode, info.permissions) == (0o644, "-rw-r--r--")
    assert (info.owner, info.group, info.symlink_target) == ("user", "user", None)
    inside = float(box.commands.run(f"stat -c %.Y {path}").stdout)
    assert info.modified_time.timestamp() == pytest.approx(inside, abs=1e-3)
    with pytest.raises(FileNotFoundException):
        box.files.get_info(f"{folder}/none")


def test_permissions(box, folder):
    path = f"{folder}/p"
    box.files.write(path, "x")
    texts = {"0755": "-rwxr-xr-x", "0600": "-rw-------", "4755": "urwxr-xr-x",
             "2755": "grwxr-xr-x", "0000": "----------"}
    for mode, text in texts.items():
        box.commands.run(f"chmod {mode} {path}")
        info = box.files.get_info(path)
        assert (info.permissions, info.mode) == (text, int(mode, 8) & 0o777)
    assert box.files.read(path) == "x"
    assert box.files.get_info("/tmp").permissions == "dtrwxrwxrwx"


def test_root_gives_a_program_capabilities(box, folder):
    """As `setcap` does, which packages run when they are installed (ping)."""
    value = "struct.pack('<5I', 0x02000001, 1 << 13, 0, 0, 0)"  # effective, CAP_NET_RAW
    done = box.commands.run(
        f"cp /bin/cat {folder}/cat && python3 -c \"import os, struct; "
        f"os.setxattr('{folder}/cat', 'security.capability', {value})\" && "
        f"su user -s /bin/sh -c '{folder}/cat /proc/self/status' | grep CapEff", user="root")
    assert done.stdout.split() == ["CapEff:", "0000000000002000"]


def test_an_overwritten_file_keeps_its_mode_and_a_new_one_is_the_users(box, folder):
    path = f"{folder}/script"
    box.commands.run(f"echo old > {path}; chmod 755 {path}")
    box.files.write(path, "new")
    info = box.files.get_info(path)
    assert (info.mode, info.owner) == (0o755, "user")
    assert box.files.get_info(box.files.write("/root/r", "r", user="root").path).owner == "root"


def test_symlinks(box, folder):
    box.files.write(f"{folder}/real/f", "content")
    box.commands.run(f"cd {folder}; ln -s real/f link; ln -s real dirlink; ln -s none dangling; "
                     f"ln -s loop loop")
    link = box.files.get_info(f"{folder}/link")
    assert (link.type, link.symlink_target) == (FileType.FILE, f"{folder}/real/f")
    assert link.permissions == "Lrwxrwxrwx"
    assert box.files.get_info(f"{folder}/dirlink").type == FileType.DIR
    assert box.files.read(f"{folder}/link") == "content"
    box.files.write(f"{folder}/link", "through")
    assert box.files.read(f"{folder}/real/f") == "through"
    assert box.files.get_info(f"{folder}/link").symlink_target == f"{folder}/real/f"
    assert [e.path for e in box.files.list(f"{folder}/dirlink")] == [f"{folder}/dirlink/f"]
    assert box.files.exists(f"{folder}/dangling")
    with pytest.raises(SandboxException):
        box.files.list(f"{folder}/loop")
    box.files.remove(f"{folder}/dirlink")
    assert box.files.exists(f"{folder}/real/f")


def test_exists(box, folder):
    assert box.files.exists(folder)
    assert not box.files.exists(f"{folder}/none")
    assert not box.files.exists(f"{folder}/none/deeper")


def test_rename(box, folder):
    box.files.write(f"{folder}/old", "x")
    entry = box.files.rename(f"{folder}/old", f"{folder}/new/place/file")
    assert (entry.path, entry.name) == (f"{folder}/new/place/file", "file")
    assert not box.files.exists(f"{folder}/old")
    assert box.files.read(entry.path) == "x"
    with pytest.raises(FileNotFoundException):
        box.files.rename(f"{folder}/old", f"{folder}/other")


def test_make_dir(box, folder):
    assert box.files.make_dir(f"{folder}/a/b") is True
    assert box.files.make_dir(f"{folder}/a/b") is False
    assert box.files.get_info(f"{folder}/a").owner == "user"
    box.files.write(f"{folder}/file", "x")
    with pytest.raises(InvalidArgumentException, match="not a directory"):
        box.files.make_dir(f"{folder}/file")


def test_list_depth_and_order(box, folder):
    for path in ("b/2", "b/1/deep/er", "a", "c"):
        box.files.write(f"{folder}/{path}", "x")
    names = lambda depth: [e.path[len(folder) + 1:] for e in box.files.list(folder, depth=depth)]
    assert names(1) == ["a", "b", "c"]
    assert names(2) == ["a", "b", "b/1", "b/2", "c"]
    assert names(9) == ["a", "b", "b/1", "b/1/deep", "b/1/deep/er", "b/2", "c"]
    with pytest.raises(InvalidArgumentException):
        box.files.list(folder, depth=0)
    with pytest.raises(FileNotFoundException):
        box.files.list(f"{folder}/none")
    with pytest.raises(InvalidArgumentException, match="not a directory"):
        box.files.list(f"{folder}/a")


def test_a_directory_of_ten_thousand(box, folder):
    box.commands.run(f"cd {folder}; seq -w 10000 | xargs touch")
    assert [e.name for e in box.files.list(folder)] == [f"{n:05}" for n in range(1, 10001)]


def test_remove(box, folder):
    box.files.write(f"{folder}/tree/a/b", "x")
    box.commands.run(f"cd {folder}/tree; ln -s {folder}/kept out; chmod 500 a")
    box.files.write(f"{folder}/kept/f", "x")
    box.files.remove(f"{folder}/tree")
    assert not box.files.exists(f"{folder}/tree")
    assert box.files.exists(f"{folder}/kept/f")
    box.files.remove(f"{folder}/none")


# ---- metadata ----------------------------------------------------------------------------------


def test_metadata(box, folder):
    path = f"{folder}/f"
    info = box.files.write(path, "x", metadata={"Author": "somebody", "n": "1 2 3"})
    assert info.metadata == {"author": "somebody", "n": "1 2 3"}
    assert box.files.get_info(path).metadata == {"author": "somebody", "n": "1 2 3"}
    assert box.files.list(folder)[0].metadata == {"author": "somebody", "n": "1 2 3"}
    box.files.write(path, "x", metadata={"k": "v"}, use_octet_stream=True)
    assert box.files.get_info(path).metadata == {"k": "v"}
    assert box.files.write(path, "x").metadata is None
    assert box.files.get_info(path).metadata is None


# ---- errors ------------------------------------------------------------------------------------


def test_errors(box, folder):
    box.files.write(f"{folder}/file", "x")
    with pytest.raises(FileNotFoundException, match="does not exist"):
        box.files.read(f"{folder}/none")
    with pytest.raises(InvalidArgumentException, match="is a directory"):
        box.files.read(folder)
    with pytest.raises(InvalidArgumentException, match="is a directory"):
        box.files.write(folder, "x")
    with pytest.raises(SandboxException, match="path is a file"):
        box.files.write(f"{folder}/file/below", "x")
    with pytest.raises(SandboxException):
        box.files.write(f"{folder}/{'x' * 256}", "x")


def test_a_broken_upload_leaves_the_old_file(box, folder):
    """R5: what was not answered with success is not visible, and no temporary file stays."""
    path = f"{folder}/f"
    box.files.write(path, "the old content")

    def half():
        yield b"x" * 300000
        raise RuntimeError("the client is gone")

    with pytest.raises(Exception):
        box.files.write(path, half())
    assert box.files.read(path) == "the old content"
    with pytest.raises(Exception):
        box.files.write(f"{folder}/never", half())
    listing = box.commands.run(f"ls -A {folder}").stdout.split()
    assert listing == ["f"]

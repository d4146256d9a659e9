# SPDX-License-Identifier: Apache-2.0
"""A fixed corpus of images that try to harm who unpacks them.

Each case is a function of a folder to make a layout in. It says what may come out of it: "refused",
with a part of the message, or "contained", with a function that looks at the root that was made.
"""

import struct
import tarfile
import zlib

import images
from images import Layer, Layout, layout

CASES = {}
ESCAPE = "adit-hostile-escape"


def case(refused=None, inside=None, options=()):
    def keep(make):
        CASES[make.__name__] = (make, refused, inside, list(options))
        return make
    return keep


def nothing_outside(root):
    """Whatever an entry was called, it ended below the root."""


def is_inside(*names):
    def check(root):
        for name in names:
            assert (root / name).exists() or (root / name).is_symlink(), name
    return check


# ---- names ----

@case(inside=is_inside("tmp/" + ESCAPE))
def dots_lead_up(path):
    layout(path, [Layer().add(f"../../../../../../tmp/{ESCAPE}", b"x").bytes()])


@case(inside=is_inside("tmp/" + ESCAPE))
def an_absolute_name(path):
    layout(path, [Layer().add(f"/tmp/{ESCAPE}", b"x").bytes()])


@case(inside=is_inside("new\nline", "\x1b[31mred", "a b;c"))
def names_with_control_characters(path):
    layout(path, [Layer().add("new\nline").add("\x1b[31mred").add("a b;c").bytes()])


def raw_header(name, size=b"00000000000\0", kind=b"0", link=b"", mode=b"0000644\0"):
    """A header whose fields are not those of a library that knows better."""
    head = struct.pack("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x", name, mode, b"0000000\0",
                       b"0000000\0", size, b"00000000000\0", b" " * 8, kind, link,
                       b"ustar\x0000", b"", b"", b"0000000\0", b"0000000\0", b"")
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


END = bytes(1024)


@case(inside=is_inside("before"))
def a_name_with_nul(path):
    layout(path, [raw_header(b"before\0../../../tmp/" + ESCAPE.encode()) + END])


@case(refused="umoci")
def a_pax_name_with_nul(path):
    record = b"path=a\0b\n"
    record = b"%d %s" % (len(record) + 3, record)
    body = raw_header(b"pax", b"%011o\0" % len(record), b"x") + record.ljust(512, b"\0")
    layout(path, [body + raw_header(b"short") + END])


@case(refused="umoci")
def a_gnu_name_of_a_mebibyte(path):
    name = b"a/" * (1 << 19)
    body = raw_header(b"././@LongLink", b"%011o\0" % len(name), b"L") + name
    layout(path, [body + raw_header(b"short") + END])


@case(refused="umoci")
def a_pax_name_of_a_mebibyte(path):
    layout(path, [Layer().add("x", pax={"path": "a/" * (1 << 19)}).bytes()])


@case(refused="umoci")
def a_path_of_4096(path):
    layout(path, [Layer().add("d/" * 2048 + "f", b"x").bytes()])


@case(inside=is_inside("d/" * 1000 + "f"))
def a_deep_path(path):
    layout(path, [Layer().add("d/" * 1000 + "f", b"x").bytes()])


@case(inside=lambda root: (root / "twice").read_text() == "second" or fail("not the last one"))
def an_entry_twice(path):
    layout(path, [Layer().add("twice", b"first").add("twice", b"second").bytes()])


def fail(why):
    raise AssertionError(why)


# ---- links ----

@case(inside=nothing_outside)
def a_symlink_and_a_file_through_it(path):
    layer = Layer().symlink("out", "/tmp").add(f"out/{ESCAPE}", b"x")
    layer.symlink("up", "../../../../../tmp").add(f"up/{ESCAPE}", b"x")
    layout(path, [layer.bytes()])


@case(inside=nothing_outside)
def a_symlink_in_one_layer_and_a_file_in_the_next(path):
    layout(path, [Layer().symlink("out", "/tmp").bytes(),
                  Layer().add(f"out/{ESCAPE}", b"x").bytes()])


@case(inside=nothing_outside)
def a_directory_that_becomes_a_symlink(path):
    layer = Layer().dir("d").symlink("d/l", "..").symlink("d", "/tmp").add(f"d/{ESCAPE}", b"x")
    layout(path, [layer.bytes()])


@case(refused="umoci")
def a_hard_link_to_the_outside(path):
    layout(path, [Layer().hardlink("passwd", "/etc/passwd").bytes()])


@case(refused="umoci")
def a_hard_link_with_dots(path):
    layout(path, [Layer().hardlink("shadow", "../../../../../../etc/shadow").bytes()])


@case(refused="umoci")
def a_hard_link_through_a_symlink(path):
    layout(path, [Layer().symlink("etc", "/etc").hardlink("passwd", "etc/passwd").bytes()])


@case(refused="umoci")
def a_hard_link_to_the_builders_process(path):
    layout(path, [Layer().hardlink("x", "/proc/1/root/etc/passwd").bytes()])


@case(inside=lambda root: (root / "etc/passwd").is_symlink() or fail("the link is not kept"))
def a_symlinked_passwd(path):
    layout(path, [Layer().dir("etc").symlink("etc/passwd", "/etc/shadow").bytes()])


@case(refused="there is no user")
def a_user_from_behind_a_link(path):
    layout(path, [Layer().dir("etc").symlink("etc/passwd", "/usr/../../../etc/passwd").bytes()],
           {"User": "daemon"})


@case(refused="the root is no directory")
def a_symlinked_dev(path):
    layout(path, [Layer().symlink("dev", "/etc").bytes()])


@case(refused="the root is no directory")
def a_symlinked_proc(path):
    layout(path, [Layer().symlink("proc", "/etc").bytes()])


@case(refused="the root is no directory")
def a_file_for_sys(path):
    layout(path, [Layer().add("sys", b"x").bytes()])


@case(refused="umoci")
def a_root_that_is_a_symlink(path):
    layout(path, [Layer().symlink("./", "/tmp").bytes()])


@case(refused="there is no user")
def a_working_directory_through_a_link(path):
    layout(path, [Layer().symlink("out", "/tmp").dir("tmp").bytes()],
           {"WorkingDir": f"/out/{ESCAPE}", "User": "nobody"})


@case(inside=is_inside(f"tmp/{ESCAPE}"))
def a_working_directory_that_is_made_through_a_link(path):
    layout(path, [Layer().symlink("out", "/tmp").dir("tmp").bytes()],
           {"WorkingDir": f"/out/{ESCAPE}"})


@case(refused="make directory")
def a_working_directory_of_descriptors(path):
    layout(path, [Layer().add("proc/self", b"x").bytes()], {"WorkingDir": "/proc/self/fd/7"})


@case(inside=lambda root: not (root / ".e2b").is_symlink() or fail("the mark was written through"))
def a_symlink_where_the_mark_is_put(path):
    layout(path, [Layer().symlink(".e2b", f"/tmp/{ESCAPE}").bytes()])


# ---- whiteouts ----

# umoci 0.4.7 goes up there and removes what it finds: in a cell, nothing that matters.
@case(refused="umoci")
def a_whiteout_of_dots(path):
    layout(path, [Layer().add("kept", b"x").bytes(), Layer().add(".wh...").bytes()])


@case(inside=nothing_outside)
def a_whiteout_of_dots_below_one(path):
    layout(path, [Layer().dir("a").dir("a/b").bytes(), Layer().add("a/b/.wh.../.wh...").bytes()])


@case(inside=is_inside("kept"))
def whiteouts_with_dots_before(path):
    layout(path, [Layer().add("kept", b"x").bytes(),
                  Layer().add("../.wh.tmp").add("/.wh.tmp").add("../../.wh.etc").bytes()])


@case(inside=lambda root: not (root / "gone").exists() or fail("a file is still there"))
def an_opaque_root(path):
    layout(path, [Layer().add("gone", b"x").bytes(), Layer().add(".wh..wh..opq").bytes()])


@case(inside=nothing_outside)
def a_whiteout_through_a_symlink(path):
    layout(path, [Layer().symlink("out", "/tmp").bytes(),
                  Layer().add(f"out/.wh.{ESCAPE}-kept").bytes()])


# ---- devices, rights, attributes ----

def no_devices(root):
    for name in ("disk", "mem"):
        assert (root / name).is_file(), f"{name} is a device"
    assert not list((root / "dev").iterdir())


@case(inside=no_devices)
def device_nodes(path):
    layer = Layer().add("disk", kind=tarfile.BLKTYPE, dev=(254, 0), mode=0o666)
    layer.add("mem", kind=tarfile.CHRTYPE, dev=(1, 1), mode=0o666)
    layer.dir("dev").add("dev/disk", kind=tarfile.BLKTYPE, dev=(254, 0), mode=0o666)
    layout(path, [layer.add("pipe", kind=tarfile.FIFOTYPE).bytes()])


@case(inside=lambda root: (root / "su").stat().st_mode & 0o6000 == 0o6000 or fail("not kept"))
def set_user_id(path):
    layout(path, [Layer().add("su", b"x", mode=0o6755).bytes()])


def attributes(root):
    import os
    assert os.getxattr(root / "ping", "user.note") == b"kept"
    assert os.getxattr(root / "ping", "security.capability")[4:8] == b"\x00\x20\x00\x00"
    assert not [n for n in os.listxattr(root / "ping") if n.startswith("trusted.")]


# VFS_CAP_REVISION_2, cap_net_raw
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0).decode("latin-1")


@case(inside=attributes)
def extended_attributes(path):
    pax = {"SCHILY.xattr.user.note": "kept", "SCHILY.xattr.trusted.overlay.opaque": "y",
           "SCHILY.xattr.security.capability": CAPABILITY}
    layout(path, [Layer().add("ping", b"x", mode=0o755, pax=pax).bytes()])


@case(refused="umoci")
def an_owner_above_all_ids(path):
    layout(path, [Layer().add("x", uid=70000).bytes()])


# ---- sizes ----

@case(refused="umoci")
def a_negative_size(path):
    layout(path, [raw_header(b"x", b"-0000000001\0") + END])


@case(refused="umoci")
def a_size_of_2_to_63(path):
    layout(path, [raw_header(b"x", b"\x80\0\0\0" + struct.pack(">Q", 1 << 63)) + END])


@case(refused="", options=["--max-size", "16MiB"])
def a_sparse_file_of_8_exbibytes(path):
    pax = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "sparse",
           "GNU.sparse.realsize": str((1 << 63) - 1)}
    layout(path, [Layer().add("sparse", b"0\n".ljust(512, b"\0"), pax=pax).bytes()])


def zeros(size):
    """A layer with one file of zeros, packed some hundred to one, without its bytes in memory."""
    pack = zlib.compressobj(1, wbits=31)
    block = bytes(1 << 20)
    plain = __import__("hashlib").sha256()
    out = []
    for part in [raw_header(b"bomb", b"%011o\0" % size), *[block] * (size >> 20), END]:
        plain.update(part)
        out.append(pack.compress(part))
    return b"".join(out) + pack.flush(), "sha256:" + plain.hexdigest()


def packed_layer(path, data, diff_id):
    made = Layout(path)
    config = {"architecture": images.ARCHITECTURE, "os": "linux", "config": {},
              "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    manifest = {"schemaVersion": 2, "mediaType": images.MANIFEST,
                "config": made.json(config, images.CONFIG),
                "layers": [made.blob(data, images.LAYER + "+gzip")]}
    return made.tag(made.json(manifest, images.MANIFEST))


@case(refused="larger than 32 MiB", options=["--max-size", "32MiB"])
def a_bomb_of_one_file(path):
    packed_layer(path, *zeros(96 << 20))


@case(refused="larger than 32 MiB", options=["--max-size", "32MiB"])
def a_bomb_of_many_files(path):
    files = Layer()
    for i in range(64):
        files.add(f"f{i}", bytes(1 << 20))
    layout(path, [files.bytes()])


@case(refused="more than 1000 entries", options=["--max-entries", "1000"])
def many_entries(path):
    files = Layer()
    for i in range(3000):
        files.add(f"f{i}")
    layout(path, [files.bytes()])


# ---- content that is not what it is said to be ----

@case(refused="skopeo")
def a_layer_with_another_digest(path):
    made = layout(path, [Layer().add("a", b"x").bytes()])
    biggest = max((made.path / "blobs/sha256").iterdir(), key=lambda p: p.stat().st_size)
    for blob in (made.path / "blobs/sha256").iterdir():
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            blob.write_bytes(blob.read_bytes() + b"\0")
    assert biggest


@case(refused="umoci")
def a_layer_that_is_not_the_one_of_the_configuration(path):
    layout(path, [Layer().add("a", b"x").bytes()], diff_ids=["sha256:" + "0" * 64])


@case(refused="umoci")
def a_truncated_layer(path):
    data = Layer().add("a", b"x" * 100000).bytes()
    layout(path, [data[:50000]])


@case(refused="umoci")
def a_layer_that_is_no_archive(path):
    layout(path, [b"\xff" * 4096])


@case(refused="do not belong|does not belong")
def fewer_digests_than_layers(path):
    layer = Layer().add("a").bytes()
    layout(path, [layer, Layer().add("b").bytes()], diff_ids=["sha256:" + images.sha256(layer)])


@case(refused="skopeo")
def a_manifest_that_names_itself(path):
    made = Layout(path)
    digest = "0" * 64
    made.blob(b'{"schemaVersion":2,"mediaType":"%s","manifests":[{"mediaType":"%s","digest":'
              b'"sha256:%s","size":200,"platform":{"architecture":"%s","os":"linux"}}]}'
              % (images.INDEX.encode(), images.INDEX.encode(), digest.encode(),
                 images.ARCHITECTURE.encode()), images.INDEX, digest)
    made.tag({"mediaType": images.INDEX, "digest": f"sha256:{digest}", "size": 200})


@case(refused="skopeo")
def an_index_of_indices(path):
    made = Layout(path)
    platform = {"platform": {"architecture": images.ARCHITECTURE, "os": "linux"}}
    found = made.image([Layer().add("a").bytes()]) | platform
    for _ in range(64):
        found = made.index([found]) | platform
    made.tag(found)


@case(refused="skopeo")
def a_digest_that_is_a_path(path):
    made = Layout(path)
    made.tag({"mediaType": images.MANIFEST, "digest": "sha256:../../../../etc/passwd", "size": 7})


@case(refused="skopeo")
def a_blob_that_is_a_symlink_to_a_secret(path):
    made = Layout(path)
    digest = "1" * 64
    (made.path / "blobs/sha256" / digest).symlink_to("/etc/shadow")
    made.tag({"mediaType": images.MANIFEST, "digest": f"sha256:{digest}", "size": 7})


@case(refused="skopeo|for linux")
def another_architecture(path):
    made = Layout(path)
    made.tag(made.image([Layer().add("a").bytes()], architecture="s390x"))


@case(refused="skopeo")
def a_manifest_of_8_mebibytes(path):
    made = Layout(path)
    made.tag(made.blob(b'{"schemaVersion":2,"x":"' + b"a" * (8 << 20) + b'"}', images.MANIFEST))


@case(refused="skopeo|variables")
def variables_without_end(path):
    layout(path, [Layer().add("a").bytes()], {"Env": [f"V{i}=x" for i in range(5000)]})

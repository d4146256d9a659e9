# SPDX-License-Identifier: Apache-2.0
"""OCI images made by tests: layers from files, layouts from layers. No network, no other tool."""

import gzip
import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
from pathlib import Path

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Layer:
    """The bytes of a tar archive, written entry by entry; names are not looked at."""

    def __init__(self):
        self.stream = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.stream, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name, data=b"", mode=0o644, kind=tarfile.REGTYPE, link="", uid=0, gid=0,
            pax=None, dev=(0, 0)):
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.type, info.linkname = len(data), mode, kind, link
        info.uid, info.gid, info.pax_headers = uid, gid, pax or {}
        info.devmajor, info.devminor = dev
        self.tar.addfile(info, io.BytesIO(data))
        return self

    def dir(self, name, mode=0o755, **more):
        return self.add(name, mode=mode, kind=tarfile.DIRTYPE, **more)

    def symlink(self, name, to):
        return self.add(name, kind=tarfile.SYMTYPE, link=to, mode=0o777)

    def hardlink(self, name, to):
        return self.add(name, kind=tarfile.LNKTYPE, link=to)

    def file(self, name, path, mode=0o755):
        return self.add(name, Path(path).read_bytes(), mode=mode)

    def bytes(self):
        self.tar.close()
        return self.stream.getvalue()


class Layout:
    """An OCI image layout in a directory."""

    def __init__(self, path):
        self.path = Path(path)
        (self.path / "blobs/sha256").mkdir(parents=True)
        (self.path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self.manifests = []

    def blob(self, data, kind, digest=None):
        digest = digest or sha256(data)
        (self.path / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    def json(self, document, kind):
        return self.blob(json.dumps(document).encode(), kind)

    def layer(self, data, packed=True):
        if not packed:
            return self.blob(data, LAYER)
        return self.blob(gzip.compress(data, 1, mtime=0), LAYER + "+gzip")

    def image(self, layers, config=None, architecture=ARCHITECTURE, diff_ids=None, packed=True):
        """The descriptor of an image with these layers, bytes of tar archives each."""
        document = {
            "architecture": architecture, "os": "linux", "config": config or {},
            "rootfs": {"type": "layers",
                       "diff_ids": diff_ids or [f"sha256:{sha256(layer)}" for layer in layers]},
        }
        return self.json({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": self.json(document, CONFIG),
            "layers": [self.layer(layer, packed) for layer in layers]}, MANIFEST)

    def index(self, descriptors):
        return self.json({"schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors}, INDEX)

    def tag(self, descriptor, name="latest"):
        named = {"annotations": {"org.opencontainers.image.ref.name": name}}
        self.manifests.append(descriptor | named)
        (self.path / "index.json").write_text(
            json.dumps({"schemaVersion": 2, "manifests": self.manifests}))
        return self


def layout(path, layers, config=None, **more):
    """A layout with one image, under the tag "latest"."""
    made = Layout(path)
    return made.tag(made.image(layers, config, **more))


# ---- three userlands ----

def static_program(folder, name, source):
    """Compile a program that needs no file but itself."""
    out = Path(folder) / name
    subprocess.run(["cc", "-static", "-O1", "-o", out, "-x", "c", "-"], input=source.encode(),
                   check=True, timeout=60)
    return out


HELLO = """
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    const char *word = getenv("WORD");
    char where[4096];
    printf("%s %d %s %s\\n", word ? word : "-", (int)getuid(), getcwd(where, sizeof where),
           argc > 1 ? argv[1] : "-");
    return 7;
}
"""


def empty(path, scratch):
    """One static program, and nothing else: no shell, no /etc, no directory to mount over."""
    layer = Layer().file("hello", static_program(scratch, "hello", HELLO))
    return layout(path, [layer.bytes()],
                  {"Env": ["WORD=empty"], "Entrypoint": ["/hello"], "WorkingDir": "/data/work"})


def musl(path):
    """A shell and its tools in one static file, as small images have them."""
    busybox = shutil.which("busybox")
    layer = Layer().dir("bin").dir("etc").dir("tmp", 0o1777).dir("home").dir("home/app", uid=7000)
    layer.file("bin/busybox", busybox)
    for name in ("sh", "ls", "cat", "id", "echo", "env", "touch", "uname", "wc"):
        layer.symlink(f"bin/{name}", "busybox")
    layer.add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\napp:x:7000:7000::/home/app:/bin/sh\n")
    layer.add("etc/group", b"root:x:0:\napp:x:7000:\n")
    return layout(path, [layer.bytes()],
                  {"Env": ["PATH=/bin", "WORD=small", "EMPTY="], "User": "7000:7000",
                   "WorkingDir": "/home/app", "Cmd": ["sh"]}, packed=False)


def libraries(program):
    """The program and what it is linked with, as paths of this machine."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True, timeout=20)
    words = [w for line in listed.stdout.splitlines() for w in line.split() if w.startswith("/")]
    return [program, *words]


def glibc(path):
    """bash and a few programs with the C library of this machine, in two layers; the second one
    removes a file and a directory of the first."""
    first = Layer().dir("usr").dir("usr/bin").dir("etc").dir("root", 0o700).dir("tmp", 0o1777)
    first.add("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n").add("etc/gone", b"x")
    first.dir("var").dir("var/old").add("var/old/file", b"x").symlink("bin", "usr/bin")
    seen = set()
    for name in ("bash", "cat", "id", "ls", "env", "uname"):
        for file in libraries(shutil.which(name)):
            if file not in seen:
                seen.add(file)
                inside = "usr/bin/" + name if file.endswith("bin/" + name) else file.lstrip("/")
                first.file(inside, file)
    second = Layer().add("etc/.wh.gone").dir("var").add("var/.wh.old")
    second.add("usr/bin/greet", b"#!/bin/bash\necho $WORD from $PWD\n", mode=0o755)
    return layout(path, [first.bytes(), second.bytes()],
                  {"Env": ["PATH=/usr/bin", "WORD=large=er"], "Cmd": ["bash"]})

# SPDX-License-Identifier: Apache-2.0
"""An image that comes from a registry, which is a server of this test."""

import http.server
import json
import subprocess
import threading

import pytest

import images
from builder import PROGRAM, builder  # noqa: F401 (a fixture)
from images import Layer, Layout


class Registry(http.server.ThreadingHTTPServer):
    """Serves one layout as the repository "team/image", as the distribution specification says."""

    def __init__(self, layout):
        self.layout, self.asked = layout, []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *words):
        self.server.asked.append(self.path)

    def find(self):
        folder = self.server.layout.path / "blobs/sha256"
        kind, name = self.path.split("/")[-2:]
        if kind == "manifests" and not name.startswith("sha256:"):
            name = self.server.layout.manifests[0]["digest"]
        data = (folder / name.removeprefix("sha256:")).read_bytes()
        return data, name, images.MANIFEST if kind == "manifests" else "application/octet-stream"

    def do_GET(self):
        if self.path == "/v2/":
            data, name, kind = b"{}", "", "application/json"
        else:
            data, name, kind = self.find()
        self.send_response(200)
        for header, value in (("Content-Type", kind), ("Content-Length", len(data)),
                              ("Docker-Content-Digest", name)):
            self.send_header(header, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_HEAD = do_GET


@pytest.fixture
def registry(tmp_path):
    made = Layout(tmp_path / "served")
    made.tag(made.image([Layer().add("from", b"a registry").bytes()], {"Env": ["A=1"]}))
    server = Registry(made)
    yield server
    server.shutdown()


def build(builder, registry, tmp_path, name):  # noqa: F811
    """In a mount namespace in which skopeo is told that this registry has no certificate."""
    place = f"127.0.0.1:{registry.server_address[1]}"
    conf = tmp_path / "registries.conf"
    conf.write_text(f'[[registry]]\nlocation = "{place}"\ninsecure = true\n')
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c",
         'mount --bind "$0" /etc/containers/registries.conf && exec "$@"', str(conf),
         str(PROGRAM), "oci", "--alias", "made", "--no-image", "--out", str(builder.out),
         name.replace("REGISTRY", place)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", ["docker://REGISTRY/team/image:v1", "REGISTRY/team/image"])
def test_an_image_of_a_registry(builder, registry, tmp_path, name):  # noqa: F811
    run = build(builder, registry, tmp_path, name)
    assert run.returncode == 0, run.stderr
    folder = builder.template()
    assert (folder / "root/from").read_text() == "a registry"
    assert json.loads((folder / "template.json").read_text())["env"] == {"A": "1"}
    asked = len(registry.asked)
    run = build(builder, registry, tmp_path, name)
    assert "is up to date" in run.stderr, run.stderr
    assert not [path for path in registry.asked[asked:] if "/blobs/" in path]


def test_a_registry_that_sends_something_else(builder, registry, tmp_path):  # noqa: F811
    for blob in (registry.layout.path / "blobs/sha256").iterdir():
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    run = build(builder, registry, tmp_path, "docker://REGISTRY/team/image")
    assert run.returncode == 1 and "skopeo" in run.stderr, run.stderr
    assert builder.names() == []

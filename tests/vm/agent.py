# SPDX-License-Identifier: Apache-2.0
"""envd as the first process of a Guest: its HTTP API over the channel, and what images it needs."""

import base64
import http.client
import json
import struct
import subprocess

import guest as vm

ENVD, KERNELS, TUNNEL, CONTROL, ACCEPT = 49983, 49999, 1024, 1025, 1026


class Connection(http.client.HTTPConnection):
    def __init__(self, guest, port):
        super().__init__("guest")
        self.guest, self.guest_port = guest, port

    def connect(self):
        self.sock = self.guest.connect(self.guest_port)


def erofs(tree, out):
    subprocess.run(["mkfs.erofs", "--quiet", out, tree], check=True)
    return out


def ext4(size, out):
    with open(out, "wb") as f:
        f.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=1", out],
                   check=True)
    return out


def disks(root=None, overlay=None):
    """QEMU's options."""
    options = []
    for serial, path, more in (("root", root, ",read-only=on"), ("overlay", overlay, "")):
        if path:
            options += ["-blockdev", f"driver=file,node-name={serial},filename={path}{more}",
                        "-device", f"virtio-blk-device,drive={serial},serial={serial}"]
    return options


class AgentGuest(vm.Guest):
    """A machine that boots as a sandbox does."""

    def __init__(self, directory, khz, root=None, overlay=None, arguments="", image=None,
                 memory=256, qemu=()):
        super().__init__(directory, image or vm.IMAGES / "initramfs", khz, memory,
                         qemu=[*disks(root, overlay), *qemu], init="/init -- --vm " + arguments)

    def ready(self):
        self.said("envd listening")
        return self

    def left(self, timeout=vm.BOOT_S):
        """QEMU ended by itself; what the console has."""
        self.qemu.wait(timeout)
        return self.console()

    def request(self, method, path, body=None, headers=(), port=ENVD):
        connection = Connection(self, port)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def tell(self, **document):
        return self.request("POST", "/init", json.dumps(document))[0]

    def upload(self, path, content):
        body = (b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n"
                + content + b"\r\n--b--\r\n")
        return self.request("POST", f"/files?path={path}&username=root", body,
                            {"Content-Type": "multipart/form-data; boundary=b"})[0]

    def run(self, cmd, *args, user="root"):
        """process.Start: what it wrote, and its exit status."""
        message = json.dumps({"process": {"cmd": cmd, "args": args}}).encode()
        _, body = self.request(
            "POST", "/process.Process/Start", b"\0" + struct.pack(">I", len(message)) + message,
            {"Content-Type": "application/connect+json", "Connect-Protocol-Version": "1",
             "Authorization": "Basic " + base64.b64encode(f"{user}:".encode()).decode()})
        said, status = b"", None
        while body:
            size = struct.unpack(">I", body[1:5])[0]
            frame, body = json.loads(body[5:5 + size] or b"{}"), body[5 + size:]
            event = frame.get("event", {})
            for stream in ("stdout", "stderr"):
                said += base64.b64decode(event.get("data", {}).get(stream, ""))
            status = event.get("end", {}).get("status", status)
            assert "error" not in frame, frame
        return said.decode(errors="replace"), status

    def sh(self, script, user="root"):
        said, status = self.run("/bin/sh", "-c", script, user=user)
        assert status == "exit status 0", (script, said, status)
        return said

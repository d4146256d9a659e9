# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a virtual machine monitor: its API, checked, and no machine.

Every request is held against what the monitor's project has published of its API, as tables: the
method, the path, members that must be and may be there, their types and ranges, and the order. What
they do not allow is refused as the monitor would refuse it, and told on the console. When the
machine is started, the socket that the host's connections come to is handed to the test, which puts
an agent behind it.
"""

import array
import http.server
import json
import os
import socket
import socketserver
import sys
import time

KIND, ARGS = sys.argv[1], sys.argv[2:]

# A member's type: a Python type, a tuple of values, (low, high), a dict (a document), a list of one.
TEXT, FLAG, NUMBER = str, bool, int


class Document:
    def __init__(self, required, optional=None):
        self.required, self.optional = required, optional or {}


LIMITER = Document({}, {"bandwidth": dict, "ops": dict})
FIRECRACKER = {
    "/machine-config": Document(
        {"mem_size_mib": NUMBER, "vcpu_count": (1, 32)},
        {"smt": FLAG, "track_dirty_pages": FLAG, "cpu_template": TEXT,
         "huge_pages": ("None", "Transparent", "2M")}),
    "/boot-source": Document({"kernel_image_path": TEXT}, {"boot_args": TEXT, "initrd_path": TEXT}),
    "/drives/": Document(
        {"drive_id": TEXT, "is_root_device": FLAG},
        {"partuuid": TEXT, "cache_type": ("Unsafe", "Writeback"), "is_read_only": FLAG,
         "path_on_host": TEXT, "rate_limiter": LIMITER, "io_engine": ("Sync", "Async"),
         "socket": TEXT}),
    "/vsock": Document({"guest_cid": (3, 2**32 - 1), "uds_path": TEXT}, {"vsock_id": TEXT}),
    "/balloon": Document(
        {"amount_mib": NUMBER, "deflate_on_oom": FLAG},
        {"stats_polling_interval_s": NUMBER, "free_page_hinting": FLAG,
         "free_page_reporting": FLAG}),
    "/logger": Document(
        {}, {"level": ("Error", "Warning", "Info", "Debug", "Trace", "Off"), "log_path": TEXT,
             "show_level": FLAG, "show_log_origin": FLAG, "module": TEXT}),
    "/actions": Document({"action_type": ("FlushMetrics", "InstanceStart", "SendCtrlAltDel")}),
}
CONSOLE = {"mode": ("Off", "Pty", "Tty", "File", "Socket", "Null")}
PLACE = {"id": TEXT, "iommu": FLAG, "pci_segment": NUMBER, "pci_device_id": NUMBER}
VM_CONFIG = Document(
    {"payload": Document({}, {"firmware": TEXT, "kernel": TEXT, "cmdline": TEXT, "initramfs": TEXT,
                              "igvm": TEXT, "host_data": TEXT})},
    {"cpus": Document({"boot_vcpus": (1, 2**31), "max_vcpus": (1, 2**31)},
                      {"kvm_hyperv": FLAG, "max_phys_bits": NUMBER, "nested": FLAG}),
     "memory": Document({"size": NUMBER},
                        {"mergeable": FLAG, "shared": FLAG, "hugepages": FLAG, "prefault": FLAG,
                         "reserve": FLAG, "thp": FLAG, "hugepage_size": NUMBER}),
     "disks": [Document({}, {"path": TEXT, "readonly": FLAG, "direct": FLAG, "num_queues": NUMBER,
                             "queue_size": NUMBER, "serial": TEXT, "sparse": FLAG,
                             "image_type": ("FlatVmdk", "FixedVhd", "Qcow2", "Raw", "Vhdx",
                                            "Unknown"), **PLACE})],
     "vsock": Document({"cid": (3, 2**32 - 1), "socket": TEXT}, PLACE),
     "serial": Document(CONSOLE, {"file": TEXT, "socket": TEXT}),
     "console": Document(CONSOLE, {"file": TEXT, "socket": TEXT, **PLACE}),
     "balloon": Document({"size": NUMBER},
                         {"deflate_on_oom": FLAG, "free_page_reporting": FLAG, **PLACE}),
     "rng": Document({"src": TEXT}, PLACE),
     "landlock_enable": FLAG,
     "landlock_rules": [Document({"path": TEXT, "access": TEXT})],
     "watchdog": FLAG, "pvpanic": FLAG, "iommu": FLAG})


class Refusal(Exception):
    pass


def check(value, kind, where):
    if isinstance(kind, Document):
        if not isinstance(value, dict):
            raise Refusal(f"{where} is no document")
        known = kind.required | kind.optional
        for name in kind.required:
            if name not in value:
                raise Refusal(f"{where}: missing field `{name}`")
        for name in value:
            if name not in known:
                raise Refusal(f"{where}: unknown field `{name}`")
            check(value[name], known[name], f"{where}.{name}")
    elif isinstance(kind, list):
        if not isinstance(value, list):
            raise Refusal(f"{where} is no list")
        for one in value:
            check(one, kind[0], where)
    elif isinstance(kind, tuple) and isinstance(kind[0], str):
        if value not in kind:
            raise Refusal(f"{where}: unknown variant `{value}`")
    elif isinstance(kind, tuple):
        if type(value) is not int or not kind[0] <= value <= kind[1]:
            raise Refusal(f"{where}: {value} is out of range")
    elif type(value) is not kind or (kind is int and value < 0):
        raise Refusal(f"{where}: invalid type")


def listen(path):
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen(128)
    return s


def files_are_there(*paths, writable=()):
    for path in paths:
        with open(path, "rb") as f:
            f.read(1)
    for path in writable:
        with open(path, "r+b"):
            pass


class Machine:
    """What was configured, and whether it runs."""

    def __init__(self):
        self.parts, self.channel, self.is_started = {}, None, False

    def boot(self):
        """Hand the channel to the test: there an agent takes the guest's part."""
        place = os.path.dirname(self.channel.getsockname()) + "/guest"
        try:  # which would lead the broker to somebody else's channel
            os.symlink("/elsewhere", place + "-link")
            raise Refusal("a link can be made")
        except PermissionError:
            pass
        self.guest = socket.socket(socket.AF_UNIX)
        for _ in range(1000):
            try:
                self.guest.connect(place)
                break
            except OSError:
                time.sleep(0.01)
        else:
            raise Refusal("no test took the guest's part")
        fds = array.array("i", [self.channel.fileno()])
        self.guest.sendmsg([json.dumps(self.parts).encode()],
                           [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        self.channel.close()
        self.is_started = True
        print("stand-in: the machine runs", flush=True)


class Firecracker(Machine):
    def put(self, path, body):
        key = "/drives/" if path.startswith("/drives/") else path
        if key not in FIRECRACKER:
            raise Refusal(f"Invalid request method and/or path: PUT {path}")
        check(body, FIRECRACKER[key], path)
        if self.is_started:
            raise Refusal("The requested operation is not supported after starting the microVM.")
        if key == "/drives/" and path != "/drives/" + body["drive_id"]:
            raise Refusal("The id from the path does not match the id from the body!")
        if key == "/machine-config" and body["vcpu_count"] > 1 and body["vcpu_count"] % 2:
            raise Refusal("The vCPU number is invalid!")
        if key == "/vsock":
            self.channel = listen(body["uds_path"])
        if key == "/actions":
            self.start(body)
        self.parts[path] = body

    def start(self, body):
        if body["action_type"] != "InstanceStart":
            raise Refusal("not before the start")
        if "/boot-source" not in self.parts:
            raise Refusal("Cannot start microvm without kernel configuration.")
        boot = self.parts["/boot-source"]
        drives = [p for n, p in self.parts.items() if n.startswith("/drives/")]
        files_are_there(boot["kernel_image_path"], boot["initrd_path"],
                        *[d["path_on_host"] for d in drives],
                        writable=[d["path_on_host"] for d in drives if not d["is_read_only"]])
        self.boot()


class CloudHypervisor(Machine):
    def put(self, path, body):
        if path == "/api/v1/vm.create":
            check(body, VM_CONFIG, "VmConfig")
            if self.parts:
                raise Refusal("VM is already created")
            self.parts = body
        elif path == "/api/v1/vm.boot":
            if body is not None or not self.parts:
                raise Refusal("VM is not created")
            disks = self.parts["disks"]
            files_are_there(self.parts["payload"]["kernel"], self.parts["payload"]["initramfs"],
                            *[d["path"] for d in disks],
                            writable=[d["path"] for d in disks if not d["readonly"]])
            self.channel = listen(self.parts["vsock"]["socket"])
            self.boot()
        else:
            raise Refusal(f"no such endpoint {path}")


MACHINE = Firecracker() if KIND.startswith("firecracker") else CloudHypervisor()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "host"

    def do_PUT(self):
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if KIND.endswith("-hangs"):
            time.sleep(3600)
        if KIND.endswith("-babbles"):
            self.wfile.write(b"HTTP/9.9 \xff\r\n\0" * 100)
            return
        if KIND.endswith("-floods"):
            self.wfile.write(b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                self.wfile.write(b"1000\r\n" + b"\x1bx" * 0x800 + b"\r\n")
        try:
            if KIND.endswith("-refuses"):
                raise Refusal("it is broken on purpose\x1b[2J")
            if text and self.headers["Content-Type"] != "application/json":
                raise Refusal("not JSON")
            MACHINE.put(self.path, json.loads(text) if text else None)
        except (Refusal, OSError, ValueError) as e:
            print(f"stand-in: refused {self.path}: {e}", flush=True)
            said = json.dumps({"fault_message": str(e)}).encode()
            self.send_response(400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)
            return
        self.send_response(204)
        self.end_headers()


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


if KIND.startswith("firecracker"):
    assert ARGS[0] == "--api-sock" and ARGS[2] == "--id" and ARGS[3].isalnum(), ARGS
    place = ARGS[1]
else:
    assert ARGS[0] == "--api-socket" and ARGS[1].startswith("path=/"), ARGS
    place = ARGS[1][5:]
if KIND.endswith("-dies"):
    print("stand-in: no KVM here", flush=True)
    sys.exit(3)
Server(place, Handler).serve_forever()

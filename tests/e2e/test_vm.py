# SPDX-License-Identifier: Apache-2.0
"""Sandboxes that are virtual machines: the same clients, a kernel of their own. `make e2e-vm` runs
all end-to-end tests against machines; here a part of each runs against one of them, beside a
container of the same broker. Machines are emulated, so that the tests do not depend on KVM."""

import re
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from e2b import AsyncSandbox, NotEnoughSpaceException, Sandbox
from e2b_code_interpreter import Sandbox as Interpreter

from conftest import (
    MACHINES, Broker, end, exported, kill_everything, machines_lack, wait_for)
from support import api, host, http_request, serve

pytestmark = pytest.mark.heavy  # the images hold one build of envd, which is the release

QUESTIONS = ("ip link", "ip address", "ip rule", "ip route show table all", "nft list ruleset")
VM = {"Adit-Isolation": "vm"}


def host_network():
    return [re.sub(r"(valid_lft|preferred_lft) \S+", "",
                   subprocess.run(q.split(), capture_output=True, text=True, check=True).stdout)
            for q in QUESTIONS]


def own_address():
    """The address of this host that is not its loopback's; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("192.0.2.1", 9))
        return s.getsockname()[0]


@pytest.fixture(scope="module")
def hall(scratch):
    """A broker whose sandboxes are containers by default, and machines for who asks."""
    if lack := machines_lack():
        pytest.exit("tests of virtual machines need: " + "; ".join(lack), returncode=3)
    b = Broker(scratch / "vm", [*MACHINES, "--isolation", "container",
                                "--egress-allow-private", own_address()])
    b.network_before = host_network()
    b.start()
    with exported(b):
        yield b
        left = kill_everything(b)
        end(b, left)


@pytest.fixture(scope="module")
def made(hall):
    """Two machines, booted beside each other."""
    options = {"allow_out": [own_address()], "deny_out": ["0.0.0.0/0"]}
    with ThreadPoolExecutor() as pool:
        return list(pool.map(
            lambda _: Sandbox.create(timeout=600, api_headers=VM, network=options,
                                     envs={"MADE": "by a test"}, request_timeout=120), range(2)))


@pytest.fixture(scope="module")
def machine(made):
    return made[0]


def root(sandbox, command):
    return sandbox.commands.run(command, user="root", timeout=60).stdout


def test_details_list_and_log_name_the_isolation(hall, machine):
    assert api(hall, "GET", f"/sandboxes/{machine.sandbox_id}").json()["isolation"] == "vm"
    listed = {s["sandboxID"]: s["isolation"] for s in api(hall, "GET", "/v2/sandboxes").json()}
    assert listed[machine.sandbox_id] == "vm"
    log = api(hall, "GET", f"/v2/sandboxes/{machine.sandbox_id}/logs").json()["logs"]
    assert {"isolation": "vm"}.items() <= log[0]["fields"].items()


def test_a_machine_has_its_own_kernel_and_no_network_device(machine):
    seen = root(machine, "uname -r; hostname; ls /sys/class/net; ls -d /sys/bus/pci/devices/* | wc -l")
    release, name, *rest = seen.splitlines()
    assert release != subprocess.check_output(["uname", "-r"], text=True).strip()
    assert name == machine.sandbox_id
    assert rest == ["lo", "0"]
    links = root(machine, "ip -o link").splitlines()
    assert len(links) == 1 and links[0].startswith("1: lo:")


def test_its_clock_and_variables_are_right(machine):
    now = subprocess.check_output(["date", "+%s.%N"], text=True)
    assert abs(float(root(machine, "date +%s.%N")) - float(now)) <= 5  # a call takes seconds
    assert machine.commands.run("echo $MADE").stdout == "by a test\n"


def test_commands_and_files(machine):
    data = bytes(range(256)) * 4096
    machine.files.write("/home/user/bytes", data)
    assert bytes(machine.files.read("/home/user/bytes", format="bytes")) == data
    assert machine.commands.run("wc -c < bytes; id -un").stdout == f"{len(data)}\nuser\n"
    said = []
    process = machine.commands.run("read -r line; echo got $line; echo bad >&2; exit 3",
                                   background=True, stdin=True, timeout=60)
    machine.commands.send_stdin(process.pid, "this\n")
    with pytest.raises(Exception, match="exited with code 3") as raised:
        process.wait(on_stdout=said.append)
    assert said == ["got this\n"] and raised.value.stderr == "bad\n"


async def test_the_asynchronous_client(machine):
    s = await AsyncSandbox.connect(machine.sandbox_id)
    done = await s.commands.run("seq 1 20000 | tail -1", timeout=60)
    assert done.stdout == "20000\n"
    await s.files.write("a", "b")
    assert [e.name for e in await s.files.list("/home/user") if e.name == "a"] == ["a"]


def test_cells_keep_their_state(machine):
    s = Interpreter.connect(machine.sandbox_id)
    assert s.run_code("x = 6", request_timeout=120).error is None
    assert s.run_code("print(x); x * 7").text == "42"


def test_ports(hall, machine):
    server = serve(machine, 8123)
    try:
        answer = http_request(hall, "GET", "/", host(machine, 8123, "localhost"))
        assert answer.status == 200
    finally:
        server.kill()


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from outside\n")

    def log_message(self, *_):
        pass


def test_what_gets_out_goes_by_its_rules(hall, machine):
    """Through the broker: the machine has nothing that a packet could leave by."""
    outside = ThreadingHTTPServer((own_address(), 0), Hello)
    threading.Thread(target=outside.serve_forever, daemon=True).start()
    url = f"http://{own_address()}:{outside.server_port}/"
    try:
        assert machine.commands.run(f"curl -sS -m 20 {url}", timeout=60).stdout == "from outside\n"
        refused = machine.commands.run("curl -sS -m 20 http://192.0.2.7/ || true", timeout=60)
        assert "from outside" not in refused.stdout and refused.stderr
    finally:
        outside.shutdown()
    detail = api(hall, "GET", f"/sandboxes/{machine.sandbox_id}").json()
    assert detail["egressMode"] == "transparent"


def test_a_full_disk_is_answered_as_such(machine):
    root(machine, "fallocate -l $(df --output=avail -B1 / | tail -1) /full || true;"
                  "dd if=/dev/zero of=/full2 bs=64k status=none || true")
    try:
        with pytest.raises(NotEnoughSpaceException):
            machine.files.write("/home/user/more", b"x" * (4 << 20))
        assert machine.commands.run("echo still here").stdout == "still here\n"
    finally:
        root(machine, "rm -f /full /full2")
    machine.files.write("/home/user/more", b"x" * (4 << 20))


def test_a_container_beside_it(hall, machine):
    with Sandbox.create(timeout=120) as container:
        assert api(hall, "GET", f"/sandboxes/{container.sandbox_id}").json()["isolation"] == \
            "container"
        assert root(container, "uname -r") != root(machine, "uname -r")
        container.kill()


@pytest.mark.parametrize("body, headers, status, message", [
    ({"isolation": "jail"}, {}, 400, "isolation is one of vm, container, gvisor"),
    ({"isolation": 1}, {}, 400, "isolation must be a string"),
    ({}, {"Adit-Isolation": "VM"}, 400, "isolation is one of vm, container, gvisor"),
    ({"isolation": "vm"}, {"Adit-Isolation": "container"}, 400, "differ"),
    ({"isolation": "gvisor"}, {}, 503, "no isolation 'gvisor'"),
])
def test_what_a_host_does_not_have_is_refused(hall, body, headers, status, message):
    answer = api(hall, "POST", "/sandboxes", {"templateID": "base", **body}, headers=headers)
    assert answer.status == status and message in answer.json()["message"], answer.text


def test_the_host_is_as_it_was(hall, machine):
    assert machine.is_running()
    assert host_network() == hall.network_before


def test_a_killed_broker_finds_its_machines_again(hall, machine):
    process = machine.commands.run("read -r x; echo $x", background=True, stdin=True, timeout=0)
    hall.kill()
    hall.start()
    assert api(hall, "GET", f"/sandboxes/{machine.sandbox_id}").json()["isolation"] == "vm"
    again = Sandbox.connect(machine.sandbox_id)
    running = again.commands.connect(process.pid, timeout=60)
    again.commands.send_stdin(process.pid, "found again\n")
    assert running.wait().stdout == "found again\n"


def test_a_killed_machine_leaves_nothing(hall, made):
    assert made[1].kill()
    gone = api(hall, "GET", f"/sandboxes/{made[1].sandbox_id}")
    assert gone.status == 404
    wait_for(lambda: not list((hall.state / "state/sandboxes").glob(made[1].sandbox_id)), 10,
             "its folder is removed")


def test_a_panic_ends_it_and_its_last_words_are_in_the_log(hall, machine):
    """After the broker was killed: the monitor's new connection tells as the old one would."""
    with pytest.raises(Exception):
        machine.commands.run("echo c > /proc/sysrq-trigger", user="root", timeout=60)
    wait_for(lambda: api(hall, "GET", f"/sandboxes/{machine.sandbox_id}").status == 404, 15,
             "the broker notices")
    log = api(hall, "GET", f"/v2/sandboxes/{machine.sandbox_id}/logs?direction=backward").json()
    text = "\n".join(e["message"] for e in log["logs"])
    assert "Kernel panic - not syncing: sysrq triggered crash" in text
    last = next(e for e in log["logs"] if e["fields"].get("logger") == "sandbox")
    assert last["message"] == "sandbox failed"
    assert last["fields"]["reason"] == "the guest's kernel panicked: sysrq triggered crash"

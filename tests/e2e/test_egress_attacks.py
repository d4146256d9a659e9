# SPDX-License-Identifier: Apache-2.0
"""Programs of a sandbox that attack its way out: only their own sandbox suffers, within its limits."""

import json
import os
import re
import time
import urllib.request
from pathlib import Path

import pytest

from conftest import BIN, EgressBroker, end, free_port, kill_everything, wait_for
from internet import OTHER, PUBLIC, SILENT, Outside

ATTACKER = (Path(__file__).parent / "egress_attacker.py").read_text()
BANDWIDTH = 64 << 20
HALF_OPEN = 10_000
HOARDED = 50
# A sanitizer keeps freed memory for a while.
KEPT = 8 if "asan" in str(BIN) else 1
LATER = "93.184.218.9"


@pytest.fixture(scope="module")
def bounded(scratch, internet):
    """As `outside`, with figures, and a bandwidth a sandbox."""
    port = free_port()
    b = EgressBroker(scratch / "egress-attacks", internet,
                     ["--egress-bandwidth", f"{BANDWIDTH >> 20}MiB",
                      "--metrics-listen", f"127.0.0.1:{port}"])
    b.metrics = f"http://127.0.0.1:{port}/metrics"
    b.start()
    with Outside(internet, b) as steps:
        yield steps
    kill_everything(b)  # the sandboxes of all tests
    end(b, [])


@pytest.fixture(scope="module")
def sandboxes(bounded):
    """The attacker's, and its neighbour's."""
    put = f"cat > attacker.py <<'THERE'\n{ATTACKER}THERE"
    made = bounded.each([{"steps": [put], "keep": True}] * 2)
    assert all(seen[0]["status"] == 0 for seen in made), made
    return [seen[-1] for seen in made]


def attack(words, as_root=False):
    return f"{'sudo ' if as_root else ''}python3 attacker.py {words}"


def said(seen):
    assert seen["status"] == 0, seen
    return json.loads(seen["out"])


def figures(broker):
    with broker.network():
        text = urllib.request.urlopen(broker.metrics, timeout=10).read().decode()
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def figure(broker, name):
    return float(figures(broker).get(name, 0))


def descriptors(broker):
    return len(os.listdir(f"/proc/{broker.process.pid}/fd"))


def cpu_and_memory(broker):
    at = Path(f"/proc/{broker.process.pid}")
    ticks = sum(map(int, (at / "stat").read_text().rsplit(")", 1)[1].split()[11:13]))
    resident = int(re.search(r"VmRSS:\s+(\d+)", (at / "status").read_text())[1])
    return ticks / os.sysconf("SC_CLK_TCK"), resident / 1024


def test_root_of_a_sandbox_does_not_get_at_its_network(bounded, sandboxes):
    seen, fetch = bounded(attack(f"seize {PUBLIC}", as_root=True), f"curl -sS http://{PUBLIC}/",
                          sandbox=sandboxes[0], keep=True)[:2]
    for what, answer in said(seen).items():
        allowed = {"forwarding": {"EROFS", "EACCES"}, "ports": {"EROFS", "EACCES"},
                   "memory": {"EACCES", "EPERM"}, "descriptors": {"EACCES", "EPERM"},
                   "another network": {"EPERM", "ENETUNREACH"}}.get(what, {"EPERM"})
        assert answer in allowed, f"{what}: {answer}"
    assert fetch["out"] == PUBLIC, fetch


def test_who_listens_on_the_ports_of_channels_hears_nobody(bounded, sandboxes):
    seen = bounded(attack("pretend 1024 1025 1026 53 49999", as_root=True), sandbox=sandboxes[0],
                   keep=True)[0]
    assert said(seen) == {"reached": PUBLIC, "came": []}


def test_an_address_that_the_host_gets_later_is_closed_too(bounded, sandboxes, internet):
    internet.ip(internet.prefix, f"address add {LATER}/32 dev lo")
    seen = bounded(f"curl -sS --max-time 20 http://{LATER}:{bounded.broker.port}/health",
                   sandbox=sandboxes[0], keep=True)[0]
    assert seen["status"] == 7, seen
    assert re.search(rf"egress_refused .*address={LATER} .*why=host", bounded.broker.log())


def test_spoilt_queries_stop_no_names(bounded, sandboxes):
    seen = bounded(attack("spoil_names 3000"), sandbox=sandboxes[0], keep=True)[0]
    assert said(seen) == PUBLIC


def test_a_sandbox_moves_no_more_than_its_bandwidth(bounded, sandboxes):
    neighbour, path = sandboxes[1], f"curl -sS http://{OTHER}/big | wc -c"
    begin = time.monotonic()
    (seen, _) = bounded(f"{path} & {path} & wait", sandbox=neighbour, keep=True)
    took = time.monotonic() - begin
    assert seen["out"].split() == [str(32 << 20)] * 2, seen
    (moved,) = (float(value) for name, value in figures(bounded.broker).items()
                if name.startswith("adit_sandbox_egress_bytes_total") and neighbour in name
                and 'direction="in"' in name)
    assert 64 << 20 <= moved < 65 << 20
    assert took >= (moved - BANDWIDTH / 4) / BANDWIDTH


def test_downloads_that_are_not_read_are_not_gathered(bounded, sandboxes):
    _, memory = cpu_and_memory(bounded.broker)
    begin = (f"{attack(f'hoard {OTHER} {HOARDED}')} > hoarded 2>&1 < /dev/null & "
             "until grep -q 'ready\\|Error' hoarded; do sleep 0.05; done; cat hoarded")
    begun = bounded(begin, sandbox=sandboxes[0], keep=True)[0]
    moved = [-1.0]

    def is_still():
        moved.append(figure(bounded.broker, 'adit_broker_egress_bytes_total{direction="in"}'))
        time.sleep(0.2)
        return moved[-1] == moved[-2]
    wait_for(is_still, 20, "everything is full")
    _, meanwhile = cpu_and_memory(bounded.broker)
    ended = bounded("pkill -f 'attacker[.]py hoard'", sandbox=sandboxes[0], keep=True)[0]
    print(f"{meanwhile - memory:.1f} MiB for {HOARDED} downloads, {moved[-1] / 2**20:.0f} MiB moved")
    assert begun["out"] == "ready\n" and ended["status"] == 0, (begun, ended)
    assert meanwhile - memory < HOARDED * 0.25 * KEPT


def test_a_flood_harms_its_own_sandbox_alone(bounded, sandboxes):
    broker = bounded.broker
    attacker, neighbour = sandboxes
    before, (cpu, memory) = descriptors(broker), cpu_and_memory(broker)
    lost = figure(broker, "adit_broker_egress_channels_lost_total")
    begin = time.monotonic()
    flooded, measured = bounded.each([
        {"sandbox": attacker, "keep": True,
         "steps": [attack(f"flood {PUBLIC} {SILENT} {HALF_OPEN} 2")]},
        {"sandbox": neighbour, "keep": True, "steps": [attack(f"measure {PUBLIC} 200")]}])
    took = time.monotonic() - begin
    made, times = said(flooded[0]), said(measured[0])
    after_cpu, after_memory = cpu_and_memory(broker)
    print(f"{made}, neighbour {times[100]:.1f} ms, {times[-1]:.1f} ms; broker "
          f"{(after_cpu - cpu) / took:.2f} cores, {after_memory - memory:.1f} MiB more")
    assert made["half open"] == HALF_OPEN and made["dialled"] > 100 and made["asked"] > 1000
    assert times[100] < 50 and times[-1] < 900, "no first packet was lost, which comes again in 1 s"
    assert (after_cpu - cpu) / took < 0.7
    assert after_memory - memory < 16 * KEPT
    assert figure(broker, "adit_broker_egress_channels_lost_total") == lost
    assert figure(broker, "adit_broker_egress_connections") <= 1024
    bounded(sandbox=attacker)  # it ends
    wait_for(lambda: figure(broker, "adit_broker_egress_connections") == 0, 20, "no connections")
    wait_for(lambda: descriptors(broker) <= before, 20, "no more descriptors than before")

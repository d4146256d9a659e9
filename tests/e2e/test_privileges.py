# SPDX-License-Identifier: Apache-2.0
"""What broker, scheduler and their helpers may do once they serve, as the kernel sees it."""

import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from conftest import BIN, REPO, TEMPLATES, children_of, wait_for
from e2b import Sandbox
from support import api, http_request

SANITIZED = "asan" in str(BIN)
LAUNCHER_CAPS = {"chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setfcap", "mknod", "sys_admin",
                 "sys_resource"}
SUPERVISOR_CAPS = {"chown", "dac_override", "fowner", "kill", "setgid", "setuid", "setpcap", "sys_admin"}
CAPS = {0: "chown", 1: "dac_override", 3: "fowner", 4: "fsetid", 5: "kill", 6: "setgid", 7: "setuid", 8: "setpcap",
        21: "sys_admin", 24: "sys_resource", 27: "mknod", 31: "setfcap"}
# Allowed although clients' requests do not make them: each group says when they come.
RARELY = {
    # between the filter and the first request: loops, threads, files of the state directory
    "access", "brk", "clock_gettime", "epoll_create1", "eventfd2", "getpid", "gettid", "lseek",
    "mkdir", "pipe2", "rseq", "rt_sigaction", "rt_sigprocmask", "sched_getaffinity", "setsockopt",
    "set_robust_list", "sigaltstack", "statfs", "sysinfo", "exit", "exit_group", "getsockname",
    # at times: memory that grows or is given back, logs that roll over, a certificate or a figure
    # that is read, a large body, a lot that a sandbox sends or fetches, a passed-on signal
    "fdatasync", "fstat", "ftruncate", "getrusage", "madvise", "mmap", "mprotect", "mremap", "munmap",
    "readv", "recvfrom", "sendmsg", "statx", "unlink", "writev", "ioctl", "pread64", "pwrite64",
    "getpeername", "fchmod", "splice",
    # how another version of the C library or of libuv does the same
    "clock_nanosleep", "epoll_pwait", "gettimeofday", "membarrier", "restart_syscall",
    "sched_yield", "tgkill", "poll",
}


def status(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    return dict(re.findall(r"^(\w+):[ \t]*(.*)$", text, re.M))


def own_calls(program):
    """The table in the program's profile."""
    source = (REPO / program / f"{program}_profile.c").read_text()
    table = re.search(r"calls\[\] = \{(.*?)NULL\}", source, re.S)[1]
    return set(re.findall(r'"(\w+)"', table))


def helpers(broker):
    return {"broker": broker.process.pid, "scheduler": broker.scheduler(),
            "supervisor": broker.child("adit-supervisor"), "keeper": broker.child("adit-keeper"),
            "launcher": broker.child("adit-launcher", of=broker.child("adit-keeper"))}


def test_broker_and_scheduler_have_no_privileges(own_broker):
    broker = own_broker()
    pids = helpers(broker)
    assert all(pids.values()), pids
    ids = {}
    for name in ("broker", "scheduler"):
        s = status(pids[name])
        ids[name] = s["Uid"].split()
        assert "0" not in ids[name] and len(set(ids[name])) == 1, s["Uid"]
        assert "0" not in s["Gid"].split() and s["Groups"].strip() == "", s["Groups"]
        for caps in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(s[caps], 16) == 0, caps
        assert s["NoNewPrivs"] == "1"
        assert s["Seccomp"] == ("0" if SANITIZED else "2")
        limits = Path(f"/proc/{pids[name]}/limits").read_text()
        assert re.search(r"^Max core file size\s+0\s+0", limits, re.M)
        if not SANITIZED:  # not dumpable: /proc is root's
            assert os.stat(f"/proc/{pids[name]}/mem").st_uid == 0
    assert ids["broker"] != ids["scheduler"]


def caps_of(text):
    return {CAPS.get(n, n) for n in range(64) if int(text, 16) >> n & 1}


def test_the_helpers_keep_what_they_need(own_broker):
    broker = own_broker()
    pids = helpers(broker)
    assert caps_of(status(pids["supervisor"])["CapBnd"]) <= SUPERVISOR_CAPS
    for name in ("keeper", "launcher"):
        s = status(pids[name])
        for caps in ("CapPrm", "CapEff", "CapBnd"):
            assert caps_of(s[caps]) <= LAUNCHER_CAPS, (name, caps)
        assert int(s["CapInh"], 16) == int(s["CapAmb"], 16) == 0
        assert s["Seccomp"] == "2" and s["NoNewPrivs"] == "0"  # set-user-id programs work in sandboxes
        devices = Path(f"/proc/{pids[name]}/net/dev").read_text().splitlines()[2:]
        assert [d.split(":")[0].strip() for d in devices] == ["lo"]
        for ns in ("mnt", "net", "ipc", "uts"):
            assert os.readlink(f"/proc/{pids[name]}/ns/{ns}") != os.readlink(f"/proc/self/ns/{ns}")
        limits = Path(f"/proc/{pids[name]}/limits").read_text()
        assert re.search(r"^Max core file size\s+0\s+0", limits, re.M)


def test_the_root_holds_what_is_needed_and_nothing_else(own_broker):
    broker = own_broker()
    state = str(broker.state / "state")
    for name, writable in (("broker", state), ("scheduler", f"{state}/scheduler")):
        pid = helpers(broker)[name]
        mounts = {}
        for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
            fields = line.split(" ")
            mounts[fields[4]] = set(fields[5].split(","))
        extra = {"/proc"} if SANITIZED else set()
        allowed = {"/", writable, "/proc/self"} | extra
        if name == "broker":
            allowed |= {m for m in mounts if m.endswith("/templates")}
        assert {m for m in mounts if not m.startswith("/proc/")} | {"/proc/self"} == allowed, mounts
        for path, flags in mounts.items():
            assert {"nosuid", "nodev", "noexec"} <= flags, (path, flags)
            assert ("rw" in flags) == (path == writable), (path, flags)


def test_no_secret_in_arguments_or_environment(own_broker):
    broker = own_broker()
    secret = broker.env()["E2B_API_KEY"].encode()
    seed = (broker.state / "state/seed").read_bytes().strip()
    for name, pid in helpers(broker).items():
        for file in ("cmdline", "environ"):
            text = Path(f"/proc/{pid}/{file}").read_bytes()
            assert secret not in text and seed not in text, (name, file)


def test_no_descriptor_leads_out(own_broker):
    broker = own_broker()
    Sandbox.create(timeout=60).kill()
    state = str(broker.state / "state")
    for name in ("broker", "scheduler"):
        pid = helpers(broker)[name]
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(fd)
            ok = (re.match(r"(socket|pipe|anon_inode):", target) or target.startswith(state)
                  or target in ("/", "/dev/null") or target == str(broker.log_path))
            assert ok, f"{name}: descriptor {fd.name} is {target}"


def test_a_new_broker_gives_up_its_privileges_too(own_broker):
    broker = own_broker()
    sandbox = Sandbox.create(timeout=120)
    broker.kill(signal.SIGKILL)
    broker.start()
    assert "0" not in status(broker.process.pid)["Uid"].split()
    again = wait_for(lambda: Sandbox.connect(sandbox.sandbox_id), 10, "reconnect")
    assert again.commands.run("id -u").exit_code == 0
    assert again.kill()


def test_files_of_an_earlier_version_are_handed_over(own_broker):
    broker = own_broker()
    broker.stop()
    state = broker.state / "state"
    (state / "tls").mkdir()
    for name in ("ca.key", "tls.key"):
        (state / "tls" / name).write_text("root's")
    machine = state / "sandboxes/i0/vm"
    machine.mkdir(parents=True)
    (state / "guest").mkdir()
    kept = [machine / "overlay.ext4", state / "guest/vmlinux"]
    for path in kept:
        path.write_text("root's")
    for path in (state, *state.iterdir(), state / "sandboxes"):
        os.chown(path, 0, 0)
    outside = broker.state / "outside"
    outside.write_text("root's")
    (state / "planted").symlink_to(outside)
    os.link(outside, state / "twice")
    broker.start()
    uid, gid = broker.ids()
    assert (state / "seed").stat().st_uid == uid and (state / "client.env").stat().st_uid == uid
    assert state.stat().st_uid == 0 and state.stat().st_gid == gid
    assert oct(state.stat().st_mode)[-4:] == "1770"
    assert (state / "tls/tls.key").stat().st_uid == uid
    assert (state / "tls/ca.key").stat().st_uid == 0, "the broker does not need the authority's key"
    assert outside.stat().st_uid == 0, "what lies elsewhere was given away"
    assert not any(p.stat().st_uid for p in (kept[1], kept[1].parent)), "what machines boot"
    assert not any(p.stat().st_uid for p in (kept[0], kept[0].parent) if p.exists()), "a machine's disk"
    (state / "planted").unlink()
    (state / "twice").unlink()
    assert Sandbox.create(timeout=60).kill()


def test_what_the_broker_could_plant_moves_nothing_of_roots(own_broker, scratch):
    broker = own_broker()
    broker.stop()
    state, elsewhere = broker.state / "state", scratch / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("root's")
    env = (state / "client.env").read_text()
    (state / "client.env").write_text(env + f"touch {elsewhere}/done\n")
    said = subprocess.run([BIN / "broker", "env", "--state-dir", state], capture_output=True, text=True)
    assert said.returncode != 0 and said.stdout == "" and "client.env" in said.stderr
    (state / "client.env").write_text(env)
    for name, verb in (("sandboxes", "purge"), ("tls", "dev-cert")):
        kept = state / f"{name}.kept"
        if (state / name).exists():
            (state / name).rename(kept)
        (state / name).symlink_to(elsewhere)
        done = subprocess.run([BIN / "broker", verb, "--state-dir", state], capture_output=True,
                              text=True, timeout=60)
        assert done.returncode != 0 and name in done.stderr, done.stderr
        (state / name).unlink()
        if kept.exists():
            kept.rename(state / name)
    assert [p.name for p in elsewhere.iterdir()] == ["kept"]
    assert (elsewhere / "kept").stat().st_uid == 0 and elsewhere.stat().st_uid == 0
    broker.start()


def listing(directory):
    """Everything about what is in it but the time of the last access."""
    return {str(p): (s.st_mode, s.st_uid, s.st_gid, s.st_size, s.st_nlink, s.st_mtime_ns, s.st_ctime_ns)
            for p in (directory, *directory.rglob("*")) for s in [p.lstat()]}


def test_links_in_the_place_of_its_own_files_move_nothing(own_broker, scratch):
    """Each name in the state directory that the broker's user can replace, at a start, with keys and purge."""
    broker = own_broker()
    uid, _ = broker.ids()
    broker.stop()
    state, elsewhere = broker.state / "state", scratch / "elsewhere"
    (elsewhere / "dir").mkdir(parents=True)
    (elsewhere / "file").write_text("root's")
    before = listing(elsewhere)
    own = [p for p in state.iterdir() if p.lstat().st_uid == uid]
    assert {"sandboxes", "seed", "lock", "client.env"} <= {p.name for p in own}
    for path in own:
        kept = state / "kept"
        path.rename(kept)
        path.symlink_to(elsewhere / ("dir" if kept.is_dir() else "file"))
        os.chown(path, uid, uid, follow_symlinks=False)
        try:
            broker.start()
            broker.stop()
        except AssertionError as refused:  # fine as well, if it says so
            assert broker.process.poll() == 1, refused
        assert listing(elsewhere) == before, path
        for verb in (["keys", "list"], ["purge"]):
            subprocess.run([BIN / "broker", *verb, "--state-dir", state, "--templates-dir", TEMPLATES,
                            "--envd", BIN / "envd"], capture_output=True, timeout=60)
            assert listing(elsewhere) == before, (path, verb)
        if not path.is_dir() or path.is_symlink():
            path.unlink(missing_ok=True)
        if not path.exists():
            kept.rename(path)
    broker.start()


def traffic(broker):
    """What clients do, all kinds of it."""
    sandbox = Sandbox.create(timeout=120)
    assert sandbox.commands.run("seq 200000").exit_code == 0
    sandbox.files.write("big", "x" * 3_000_000)
    assert len(sandbox.files.read("big")) == 3_000_000
    api(broker, "GET", "/sandboxes")
    http_request(broker, "GET", "/nothing")
    sandbox.set_timeout(60)
    broker.process.send_signal(signal.SIGHUP)
    sandbox.kill()


@pytest.mark.skipif(SANITIZED, reason="a sanitizer makes calls of its own: there is no filter then")
def test_the_list_of_calls_is_what_a_run_makes(own_broker, scratch):
    broker = own_broker("--seccomp", "log")
    trace = scratch / "calls.trace"
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", trace, "-e", "signal=none", "-p",
                               f"{broker.process.pid}"], stdin=subprocess.DEVNULL)
    wait_for(lambda: "TracerPid:\t0" not in Path(f"/proc/{broker.process.pid}/status").read_text(), 10,
             "strace")
    threads = [threading.Thread(target=traffic, args=(broker,)) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    tracer.terminate()
    tracer.wait(20)
    seen = set(re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)[( ]", trace.read_text(errors="replace"), re.M))
    allowed = own_calls("broker")
    print(f"\nbroker: {len(seen)} calls made, {len(allowed)} allowed")
    assert seen - {"socket", "clone", "clone3", "resumed"} <= allowed, seen - allowed
    assert allowed - seen <= RARELY, f"allowed, but never made: {allowed - seen - RARELY}"
    assert RARELY <= allowed, f"refused, but listed here: {RARELY - allowed}"


def test_programs_of_a_sandbox_cannot_change_its_network(sandbox):
    """envd can, as long as it lives; what it starts cannot, be it root."""
    script = (
        "grep -h Cap /proc/1/status; echo; grep -h Cap /proc/self/status; "
        "ip addr add 10.1.1.1/32 dev lo; ip route del default dev lo table 100; ip rule del pref 100; "
        "python3 -c 'import socket; s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12); "
        "s.send(bytes.fromhex(\"14000000020a05000100000000000000\") + bytes(4)); "
        "print(s.recv(64)[16:20].hex())'")
    done = sandbox.commands.run(script + "; true", user="root")
    envd, program = done.stdout.split("\n\n", 1)
    assert "CapEff:\t00000000a80435fb" in envd and "CapInh:\t0000000000000000" in envd
    for line in ("CapPrm:\t00000000a80425fb", "CapBnd:\t00000000a80425fb"):
        assert line in program
    assert program.rstrip().endswith("ffffffff"), "EPERM of the rules' own interface"
    assert done.stderr.count("Operation not permitted") == 3
    assert sandbox.commands.run("ip -o addr show dev lo", user="root").stdout.count("10.0.2.15/32") == 1

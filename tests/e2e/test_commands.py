# SPDX-License-Identifier: Apache-2.0
"""Commands and terminals, by the Python SDK."""

import hashlib
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from e2b import (
    AuthenticationException,
    CommandExitException,
    InvalidArgumentException,
    NotFoundException,
    Sandbox,
    SandboxException,
    TimeoutException,
)
from e2b.sandbox.commands.command_handle import PtySize

from conftest import wait_for
from support import Numbers


@pytest.fixture(scope="module")
def box(broker):
    """One sandbox for the tests that leave nothing behind in it."""
    s = Sandbox.create(timeout=600, envs={"LEVEL": "sandbox", "ONLY": "sandbox"})
    yield s
    left = s.commands.list()
    s.kill()
    assert left == [], "a test left a process running"


def is_alive(sandbox, pid):
    return sandbox.commands.run(f"kill -0 {pid} 2>/dev/null && echo y || echo n").stdout == "y\n"


def exit_of(sandbox, command, **kwargs):
    """The exit of a command that fails."""
    with pytest.raises(CommandExitException) as e:
        sandbox.commands.run(command, **kwargs)
    return e.value


# ---- output ------------------------------------------------------------------------------------


def test_foreground(box):
    result = box.commands.run("echo out; echo err >&2")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")
    assert (result.exit_code, result.error) == (0, None)


def test_callbacks_get_output_while_the_command_runs(box):
    """The command goes on only after the callback has answered its first line."""
    box.commands.run("rm -f /tmp/go; mkfifo /tmp/go")
    out = []

    def on_stdout(data):
        out.append(data)
        if data == "first\n":
            box.files.write("/tmp/answer", "x")
            box.commands.run("echo go > /tmp/go")

    box.commands.run("echo first; read x < /tmp/go; echo second", on_stdout=on_stdout, timeout=20)
    assert out == ["first\n", "second\n"]


def test_stdout_and_stderr_stay_apart_and_whole(box):
    out, err = Numbers(100000, 160000), Numbers(500000, 560000)
    box.commands.run("seq 500000 560000 >&2 & seq 100000 160000; wait",
                     on_stdout=out.feed, on_stderr=err.feed, retain_output=False)
    out.done()
    err.done()


@pytest.mark.heavy
@pytest.mark.timeout(180)
def test_100_mb_of_output_arrive_whole_and_in_order(box):
    numbers, digest = Numbers(10000000, 21111111), hashlib.sha256()

    def feed(chunk):
        digest.update(chunk.encode())
        numbers.feed(chunk)

    started = time.monotonic()
    box.commands.run("seq 10000000 21111111 | tee >(sha256sum > /tmp/sum)", on_stdout=feed,
                     timeout=0, retain_output=False)
    took = time.monotonic() - started
    numbers.done()
    assert numbers.length == 100_000_008
    inside = wait_for(lambda: box.files.read("/tmp/sum"), 10, "the sum").split()[0]
    assert inside == digest.hexdigest()
    print(f"\n100 MB of output: {took:.1f} s")


def test_a_slow_reader_loses_nothing(box):
    """Nobody reads while the command writes far more than any buffer on the way holds."""
    handle = box.commands.run("seq 1000000 3000000; echo done >&2", background=True)
    wait_for(lambda: "S" in box.commands.run(f"ps -o stat= -p {handle.pid}").stdout, 10, "sleep")
    numbers = Numbers(1000000, 3000000)
    assert handle.wait(on_stdout=numbers.feed).stderr == "done\n"
    numbers.done()


def test_bytes_that_are_split_between_messages_stay_characters(box):
    text = "a" + "😀" * 50000 + "é" * 50000 + "€" * 50000
    program = "print('a' + '\\U0001f600' * 50000 + '\\xe9' * 50000 + '\\u20ac' * 50000, end='')"
    assert box.commands.run(f'python3 -c "{program}"').stdout == text
    one_by_one = "import os; [os.write(1, bytes([b])) for b in '€😀é'.encode() * 200]"
    assert box.commands.run(f'python3 -c "{one_by_one}"').stdout == "€😀é" * 200


def test_bytes_that_are_no_characters_become_replacements(box):
    assert box.commands.run(r"printf 'a\377b'").stdout == "a\ufffdb"


def test_a_grandchild_that_holds_the_output_is_waited_for(box):
    result = box.commands.run("(read x < /dev/stdin; sleep 0.3; echo late) & echo early")
    assert result.stdout == "early\nlate\n"


def test_a_grandchild_that_lets_go_is_not_waited_for(box):
    started = time.monotonic()
    result = box.commands.run("setsid sleep 300 >/dev/null 2>&1 < /dev/null & echo $!")
    assert time.monotonic() - started < 5
    pid = int(result.stdout)
    assert is_alive(box, pid)
    box.commands.run(f"kill {pid}")


def test_a_killed_command_ends_though_a_grandchild_holds_its_output(box):
    handle = box.commands.run("sleep 200 & echo $!; wait", background=True)
    pid = int(next(iter(handle))[0])
    assert handle.kill()
    started = time.monotonic()
    with pytest.raises(CommandExitException):
        handle.wait()
    assert time.monotonic() - started < 5
    box.commands.run(f"kill {pid}")


# ---- how commands end --------------------------------------------------------------------------


def test_exit_codes(box):
    codes = [1, 2, 3, 42, 64, 100, 126, 127, 128, 129, 130, 137, 143, 200, 254, 255]
    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(lambda n: exit_of(box, f"exit {n}"), codes))
    assert [e.exit_code for e in ends] == codes
    assert [e.error for e in ends] == [f"exit status {n}" for n in codes]
    assert box.commands.run("exit 256").exit_code == 0


SIGNALS = {
    1: "hangup", 2: "interrupt", 3: "quit", 4: "illegal instruction", 6: "aborted",
    7: "bus error", 8: "floating point exception", 9: "killed", 10: "user defined signal 1",
    11: "segmentation fault", 12: "user defined signal 2", 13: "broken pipe", 14: "alarm clock",
    15: "terminated",
}


def test_the_end_names_the_signal(box):
    def end(number):
        program = (f"import os, signal, resource; "
                   f"resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
                   f"{number} == 9 or signal.signal({number}, signal.SIG_DFL); "
                   f"os.kill(os.getpid(), {number})")
        return exit_of(box, f'exec python3 -c "{program}"')

    with ThreadPoolExecutor(4) as pool:
        ends = dict(zip(SIGNALS, pool.map(end, SIGNALS)))
    assert {n: e.error for n, e in ends.items()} == \
        {n: f"signal: {name}" for n, name in SIGNALS.items()}
    assert {e.exit_code for e in ends.values()} == {-1}


def test_background_and_kill(box):
    handle = box.commands.run("sleep 1000", background=True)
    listed = {p.pid: p for p in box.commands.list()}
    assert listed[handle.pid].cmd == "/bin/bash"
    assert listed[handle.pid].args == ["-l", "-c", "sleep 1000"]
    assert handle.kill() is True
    assert not is_alive(box, handle.pid)
    with pytest.raises(CommandExitException) as end:
        handle.wait()
    assert (end.value.exit_code, end.value.error) == (-1, "signal: killed")
    assert handle.kill() is False
    assert box.commands.kill(999999) is False
    assert box.commands.list() == []


def test_a_command_that_outlives_its_timeout_is_killed(box):
    started = time.monotonic()
    with pytest.raises(TimeoutException, match="timeout"):
        box.commands.run("echo $$ > /tmp/pid; exec sleep 1000", timeout=1)
    assert 0.9 < time.monotonic() - started < 3
    pid = int(box.files.read("/tmp/pid"))
    wait_for(lambda: not is_alive(box, pid), 1, "the process's end")
    assert box.commands.list() == []


def test_a_timeout_of_a_connection_does_not_kill(box):
    handle = box.commands.run("sleep 1000", background=True, timeout=0)
    with pytest.raises(TimeoutException):
        box.commands.connect(handle.pid, timeout=0.3).wait()
    assert is_alive(box, handle.pid)
    handle.kill()


def test_a_missing_program(box):
    end = exit_of(box, "/no/such/program")
    assert end.exit_code == 127 and "No such file or directory" in end.stderr
    box.files.write("/tmp/not-executable", "x")
    assert exit_of(box, "/tmp/not-executable").exit_code == 126


# ---- input -------------------------------------------------------------------------------------


def test_stdin_and_its_end(box):
    handle = box.commands.run("cat; echo after", background=True, stdin=True)
    handle.send_stdin("text ä\n")
    box.commands.send_stdin(handle.pid, b"bytes\n")
    box.commands.send_stdin(handle.pid, "")
    handle.close_stdin()
    assert handle.wait().stdout == "text ä\nbytes\nafter\n"
    with pytest.raises(NotFoundException):
        box.commands.send_stdin(999999, "x")


def test_without_stdin_a_command_reads_the_end_at_once(box):
    assert box.commands.run("cat; echo end").stdout == "end\n"
    handle = box.commands.run("sleep 1000", background=True)
    with pytest.raises(SandboxException, match="stdin not enabled or closed"):
        handle.send_stdin("x")
    handle.kill()


def test_stream_input_arrives_whole_and_in_order(box):
    handle = box.commands.run("sha256sum", background=True, stdin=True)
    digest = hashlib.sha256()

    def chunks():
        for n in range(160):
            data = n.to_bytes(4, "big") * 16384
            digest.update(data)
            yield data

    box.commands.stream_input(handle.pid, chunks())
    handle.close_stdin()
    assert handle.wait().stdout.split()[0] == digest.hexdigest()


def test_stream_input_is_delivered_while_the_stream_is_open(box):
    handle = box.commands.run("cat", background=True, stdin=True)
    echoed = iter(handle)

    def dialogue():
        for n in range(20):
            yield f"{n}\n"
            assert next(echoed)[0] == f"{n}\n"

    box.commands.stream_input(handle.pid, dialogue())
    handle.close_stdin()
    handle.wait()
    with pytest.raises(NotFoundException):
        box.commands.stream_input(999999, ["x"])


def test_a_large_input_in_one_message(box):
    data = b"0123456789abcdef" * 65536
    handle = box.commands.run("wc -c", background=True, stdin=True)
    handle.send_stdin(data)
    handle.close_stdin()
    assert handle.wait().stdout.strip() == str(len(data))


# ---- connecting again --------------------------------------------------------------------------


def test_reconnect_by_pid(box):
    handle = box.commands.run("while read x; do echo got $x; done; exit 5",
                              background=True, stdin=True)
    handle.disconnect()
    again = box.commands.connect(handle.pid)
    assert again.pid == handle.pid
    again.send_stdin("this\n")
    output = iter(again)
    assert next(output)[0] == "got this\n"
    box.commands.close_stdin(handle.pid)
    with pytest.raises(CommandExitException) as end:
        again.wait()
    assert end.value.exit_code == 5
    with pytest.raises(NotFoundException, match="not found"):
        box.commands.connect(999999)


def test_connect_just_after_the_end_still_tells_it(box):
    pid = box.commands.run("exit 0", background=True).pid
    wait_for(lambda: box.commands.list() == [], 5, "the end")
    assert box.commands.connect(pid).wait().exit_code == 0


def test_every_subscriber_gets_every_byte(box):
    handle = box.commands.run("read x; seq 1000000 1100000", background=True, stdin=True)
    others = [box.commands.connect(handle.pid) for _ in range(4)]
    checks = [Numbers(1000000, 1100000) for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        waits = [pool.submit(h.wait, on_stdout=c.feed)
                 for h, c in zip([handle, *others], checks)]
        handle.send_stdin("go\n")
        assert [w.result(60).exit_code for w in waits] == [0] * 5
    for c in checks:
        c.done()


def test_a_subscriber_that_leaves_harms_nobody(box):
    handle = box.commands.run("read x; seq 1000000 2500000", background=True, stdin=True)
    leaving = box.commands.connect(handle.pid)
    numbers = Numbers(1000000, 2500000)
    with ThreadPoolExecutor(1) as pool:
        # Read from the first byte: who does not read is dropped, and that is another test.
        staying = pool.submit(handle.wait, on_stdout=numbers.feed)
        handle.send_stdin("go\n")
        next(iter(leaving))
        leaving.disconnect()
        assert staying.result(60).exit_code == 0
    numbers.done()


# ---- who, where, with what ---------------------------------------------------------------------


def test_cwd(box):
    assert box.commands.run("pwd").stdout == "/home/user\n"
    assert box.commands.run("pwd", cwd="/tmp").stdout == "/tmp\n"
    box.files.make_dir("sub/dir")
    assert box.commands.run("pwd", cwd="sub/dir").stdout == "/home/user/sub/dir\n"
    assert box.commands.run("pwd", cwd="~/sub").stdout == "/home/user/sub\n"
    with pytest.raises(InvalidArgumentException, match="cwd '/no/such' does not exist"):
        box.commands.run("pwd", cwd="/no/such")


def test_user(box):
    who = "id -un; id -gn; echo $USER $LOGNAME $HOME; pwd"
    assert box.commands.run(who).stdout == "user\nuser\nuser user /home/user\n/home/user\n"
    as_root = box.commands.run("id -un; id -gn; echo $USER $LOGNAME $HOME", user="root").stdout
    assert as_root == "root\nroot\nroot root /root\n"
    assert "sudo" in box.commands.run("id -Gn").stdout.split() or \
        box.commands.run("sudo -n id -un").stdout == "root\n"
    for user in ("nobody-here", "0x0", "4294967295", " root", "root "):
        with pytest.raises(AuthenticationException, match="invalid username"):
            box.commands.run("true", user=user)


def test_envs_of_the_command_win_over_those_of_the_sandbox(box):
    show = 'echo "$LEVEL $ONLY"'
    assert box.commands.run(show).stdout == "sandbox sandbox\n"
    assert box.commands.run(show, envs={"LEVEL": "command"}).stdout == "command sandbox\n"
    assert box.commands.run("echo $HOME", envs={"HOME": "/tmp"}).stdout == "/tmp\n"
    assert box.commands.run("echo $E2B_SANDBOX").stdout == "true\n"
    odd = {"TEXT": "a 'b' \"c\" $d \\ ä\nline", "EMPTY": ""}
    assert box.commands.run('printf %s "$TEXT"; echo "${EMPTY-unset}"', envs=odd).stdout == \
        odd["TEXT"] + "\n"


def test_nothing_of_the_host_is_in_the_environment(box):
    names = set(box.commands.run("env -0 | cut -z -d= -f1 | tr '\\0' '\\n'").stdout.split())
    known = {"PATH", "HOME", "USER", "LOGNAME", "LEVEL", "ONLY", "PWD", "SHLVL", "_", "OLDPWD",
             "E2B_SANDBOX", "E2B_SANDBOX_ID", "E2B_TEMPLATE_ID", "LANG", "LC_ALL", "MAIL"}
    assert names <= known


def test_no_descriptor_leaks_into_commands(box):
    assert box.commands.run("exec ls /proc/self/fd").stdout.split() == ["0", "1", "2", "3"]


def test_sudo_does_not_pass_the_callers_environment(box):
    assert box.commands.run('sudo env', envs={"CALLER": "1"}).stdout.find("CALLER") == -1


def test_many_at_once(box):
    with ThreadPoolExecutor(16) as pool:
        outputs = list(pool.map(
            lambda n: box.commands.run(f"echo {n}; echo {n} >&2"), range(100)))
    assert [(o.stdout, o.stderr) for o in outputs] == [(f"{n}\n", f"{n}\n") for n in range(100)]


# ---- terminals ---------------------------------------------------------------------------------


class Terminal:
    """A terminal whose output is gathered by a thread, so that a test can wait for words."""

    def __init__(self, sandbox, **kwargs):
        self.sandbox, self.output, self.end = sandbox, bytearray(), None
        self.handle = sandbox.pty.create(PtySize(rows=24, cols=80), timeout=60, **kwargs)
        self.pid = self.handle.pid
        self.thread = threading.Thread(target=self.gather, daemon=True)
        self.thread.start()

    def gather(self):
        try:
            self.end = self.handle.wait(on_pty=self.output.extend)
        except Exception as e:
            self.end = e

    def say(self, text):
        self.sandbox.pty.send_stdin(self.pid, text)

    def hears(self, pattern, timeout=20):
        return wait_for(lambda: re.search(pattern, self.output), timeout, f"{pattern} in output")

    def leave(self):
        self.thread.join(20)
        assert not self.thread.is_alive(), "the terminal's stream does not end"
        return self.end


def test_pty_size_input_resize_and_exit(box):
    t = Terminal(box, cwd="/tmp", envs={"MARK": "mark"})
    t.say(b"echo $MARK$((40 + 2)) $TERM $PWD; tty; stty size\n")
    t.hears(rb"mark42 xterm-256color /tmp\r\n/dev/pts/\d+\r\n24 80\r\n")
    box.pty.resize(t.pid, PtySize(rows=50, cols=200))
    t.say(b"stty size\n")
    t.hears(rb"50 200\r\n")
    t.say(b"exit 9\n")
    end = t.leave()
    assert isinstance(end, CommandExitException) and end.exit_code == 9


def test_pty_control_c_interrupts(box):
    t = Terminal(box)
    t.say(b"echo begin; sleep 1000; echo end$?\n")
    t.hears(rb"begin\r\n")
    t.say(b"\x03")
    t.say(b"echo status $?\n")
    t.hears(rb"status 130\r\n")
    t.say(b"exit 0\n")
    assert t.leave().exit_code == 0


def test_pty_kill(box):
    t = Terminal(box)
    t.say(b"echo on$((1 + 1))\n")
    t.hears(rb"on2\r\n")
    assert box.pty.kill(t.pid) is True
    end = t.leave()
    assert isinstance(end, CommandExitException)
    assert (end.exit_code, end.error) == (-1, "signal: killed")
    assert box.pty.kill(t.pid) is False


def test_pty_stream_input_and_second_connection(box):
    t = Terminal(box)
    second = box.pty.connect(t.pid)
    box.pty.stream_input(t.pid, ["echo streamed$(", "(2 * 3))\n", "exit 0\n"])
    assert t.leave().exit_code == 0
    heard = bytearray()
    second.wait(on_pty=heard.extend)
    assert b"streamed6\r\n" in heard and b"streamed6\r\n" in t.output


def test_pty_and_command_refuse_each_others_calls(box):
    t = Terminal(box)
    with pytest.raises(SandboxException, match="tty assigned to process"):
        box.commands.send_stdin(t.pid, "x")
    with pytest.raises(SandboxException, match="Ctrl"):
        box.commands.close_stdin(t.pid)
    command = box.commands.run("sleep 1000", background=True)
    with pytest.raises(SandboxException, match="tty not assigned to process"):
        box.pty.send_stdin(command.pid, b"x")
    with pytest.raises(SandboxException, match="tty not assigned to process"):
        box.pty.resize(command.pid, PtySize(rows=1, cols=1))
    command.kill()
    box.pty.kill(t.pid)
    t.leave()

# SPDX-License-Identifier: Apache-2.0
"""The newest Python SDK, synchronous: one journey through everything a first user does."""

import pytest
from e2b import CommandExitException, Sandbox


def test_a_first_users_journey(broker):
    sandbox = Sandbox.create(timeout=120)
    try:
        assert sandbox.is_running()
        assert sandbox.commands.run("echo hello").stdout == "hello\n"
        sandbox.files.write("notes.txt", "first line\n")
        assert sandbox.files.read("/home/user/notes.txt") == "first line\n"
        assert "notes.txt" in [e.name for e in sandbox.files.list("/home/user")]
        assert sandbox.commands.run("cat notes.txt").stdout == "first line\n"
        running = Sandbox.list().next_items()
        assert sandbox.sandbox_id in [s.sandbox_id for s in running]
    finally:
        assert sandbox.kill()
    assert not sandbox.is_running()


def test_the_context_manager_kills_at_its_end(broker):
    with Sandbox.create(timeout=120) as sandbox:
        assert sandbox.commands.run("true").exit_code == 0
    assert not sandbox.is_running()


def test_the_example_that_the_broker_prints_works_when_pasted(broker, scratch):
    log = broker.log()
    lines = [line.strip() for line in log.splitlines()]
    start = next(i for i, line in enumerate(lines) if "import Sandbox" in line)
    example = "\n".join(lines[start:start + 5])
    printed = []
    exec(compile(example, "example", "exec"), {"print": lambda *a: printed.append(a)})
    assert printed, example


def test_a_second_client_finds_the_same_sandbox(sandbox):
    sandbox.files.write("/tmp/mark", "here")
    other = Sandbox.connect(sandbox.sandbox_id)
    assert other.sandbox_id == sandbox.sandbox_id
    assert other.files.read("/tmp/mark") == "here"


def test_python_git_and_sudo_are_in_the_base_template(sandbox):
    assert sandbox.commands.run("python3 -c 'print(6 * 7)'").stdout == "42\n"
    assert sandbox.commands.run("sudo id -u").stdout == "0\n"
    sandbox.git.init("/home/user/repo")
    sandbox.files.write("/home/user/repo/a.txt", "a")
    sandbox.git.configure_user("A User", "user@example.com")
    sandbox.git.add("/home/user/repo")
    sandbox.git.commit("/home/user/repo", "first")
    assert sandbox.git.status("/home/user/repo").is_clean
    for program in ("curl", "pip3", "ps", "ss", "tput", "sudo"):
        assert sandbox.commands.run(f"command -v {program}").exit_code == 0


@pytest.mark.containers("root of a machine may mount: its kernel is its own")
def test_root_owns_the_sandbox_and_nothing_else(sandbox):
    """apt-get and su work inside; outside, the sandbox's root is nobody."""
    assert sandbox.commands.run("apt-get --version | head -1", user="root").exit_code == 0
    assert sandbox.commands.run("su user -c 'id -un'", user="root").stdout == "user\n"
    assert sandbox.commands.run("touch /usr/local/mine && chown user /usr/local/mine",
                                user="root").exit_code == 0
    mapped = sandbox.commands.run("cat /proc/self/uid_map").stdout.split()
    assert mapped[0] == "0" and int(mapped[1]) > 0
    with pytest.raises(CommandExitException):
        sandbox.commands.run("mount -t tmpfs none /mnt && mknod /tmp/sda b 8 0", user="root")


def test_the_only_network_device_is_lo(sandbox):
    devices = sandbox.commands.run("ls /sys/class/net 2>/dev/null || "
                                   "tail -n +3 /proc/net/dev | cut -d: -f1").stdout.split()
    assert devices == ["lo"]

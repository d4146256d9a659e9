# SPDX-License-Identifier: Apache-2.0
"""Sandboxes with internet change nothing of the network of their host."""

import json
import re
import subprocess

from internet import PUBLIC

SANDBOXES = 50
# What of the sysctl tree is no setting: why it differs from one reading to the next.
CHANGES_BY_ITSELF = {
    r"fs/(dentry-state|inode-nr|inode-state|file-nr|aio-nr)": "counts what all programs use",
    r"fs/quota/.*": "counts what file systems did",
    r"kernel/ns_last_pid": "the last process that was made",
    r"kernel/random/(uuid|entropy_avail)": "another with each reading; the pool fills",
    r"kernel/pty/nr": "terminals that are open",
    r"kernel/perf_event_max_sample_rate": "the kernel lowers it under load",
    r"kernel/hung_task_detect_count": "counts",
    r"kernel/tainted": "what modules and warnings of the kernel left, of anybody",
    r"net/netfilter/nf_conntrack_count": "counts connections",
    r"vm/stat_refresh": "reading it does something",
}
LEFT_OUT = re.compile("|".join(CHANGES_BY_ITSELF))
# The life that an address has left, which runs down, and what a lease of an address renews.
RUNS_DOWN = re.compile(r"(?:valid_lft|preferred_lft|expires) \S+")
QUESTIONS = ("ip address", "ip -6 address", "ip link", "ip rule", "ip -6 rule",
             "ip route show table all", "ip -6 route show table all", "ip neighbour show proxy",
             "iptables-save", "ip6tables-save", "nft list ruleset")


def sysctls(prefix):
    """The tree as it is seen in a namespace, in one go; files that cannot be read are none."""
    text = subprocess.run([*prefix, "sh", "-c", "cd /proc/sys && grep -rIs '' ."], text=True,
                          stdout=subprocess.PIPE, errors="replace").stdout
    lines = (line.removeprefix("./").split(":", 1) for line in text.splitlines())
    return sorted((name, rest) for name, *rest in lines if not LEFT_OUT.fullmatch(name))


def picture(prefix):
    seen = {}
    for question in QUESTIONS:
        done = subprocess.run([*prefix, *question.split()], text=True, capture_output=True)
        assert done.returncode == 0, done
        seen[question] = [line for line in RUNS_DOWN.sub("", done.stdout).splitlines()
                          if not line.startswith("#")]  # iptables-save's date
    seen["sysctl"] = sysctls(prefix)
    assert len(seen["sysctl"]) > 500, "the tree was not read"
    return seen


def test_fifty_sandboxes_with_internet_leave_the_host_as_it_is(outside, internet):
    """The network that the broker is in, and that of the machine itself."""
    hosts = {"the broker's": internet.prefix, "the machine's": []}
    before = {name: picture(prefix) for name, prefix in hosts.items()}
    made = outside.each([{"steps": [f"curl -sS http://{PUBLIC}/"], "keep": True}] * SANDBOXES)
    assert [fetch["out"] for fetch, _ in made] == [PUBLIC] * SANDBOXES
    during = {name: picture(prefix) for name, prefix in hosts.items()}
    outside.each([{"steps": [], "sandbox": sandbox} for _, sandbox in made])
    after = {name: picture(prefix) for name, prefix in hosts.items()}
    for name in hosts:
        for question, said in before[name].items():
            assert during[name][question] == said, f"{name} {question}, during"
            assert after[name][question] == said, f"{name} {question}, after"

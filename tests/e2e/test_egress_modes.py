# SPDX-License-Identifier: Apache-2.0
"""Sandboxes whose kernel redirects nothing: a proxy stands in, and programs are told of it."""

import json
import subprocess
from pathlib import Path

import pytest

from conftest import EgressBroker, end, kill_everything
from internet import IPV6, METADATA, PRIVATE, PUBLIC, Outside

pytestmark = pytest.mark.containers("a machine's kernel is ours and redirects")

SETUP = f"""set -e
curl -sS -O http://{PUBLIC}/guest_network.py
curl -sS http://{PUBLIC}/internet.crt | sudo tee -a /etc/ssl/certs/ca-certificates.crt > trusted"""


@pytest.fixture(scope="module")
def proxied(scratch, internet):
    """As `outside`, but for the mode of its sandboxes."""
    runtime = scratch / "runtime"
    source = Path(__file__).with_name("runtime_without_net_admin.c")
    subprocess.run(["cc", "-O2", "-o", runtime, source], check=True)
    b = EgressBroker(scratch / "proxied", internet, ["--runtime", str(runtime)]).start()
    with Outside(internet, b) as steps:
        yield steps
    left = kill_everything(b)
    end(b, left)


@pytest.fixture(scope="module")
def inside(proxied):
    """Runs commands in the sandbox of this module; all must end well. What they wrote."""
    _, sandbox = proxied(SETUP, keep=True)

    def run(*commands):
        seen = proxied(*commands, sandbox=sandbox, keep=True)[:-1]
        assert [s["status"] for s in seen] == [0] * len(seen), seen
        return [s["out"] for s in seen]

    run.sandbox = sandbox
    yield run
    proxied(sandbox=sandbox)


def mode_of(steps, sandbox):
    status, body = steps.broker.call("GET", f"/sandboxes/{sandbox}")
    assert status == 200
    return json.loads(body).get("egressMode")


def test_details_say_the_mode(outside, proxied, inside):
    _, sandbox = outside(f"curl -sS http://{PUBLIC}/; env | grep -ic proxy", keep=True)
    assert mode_of(outside, sandbox) == "transparent"
    assert mode_of(proxied, inside.sandbox) == "proxy"
    (seen,) = outside("env | grep -ic proxy", sandbox=sandbox)
    assert seen["out"] == "0\n", "nobody is told of a proxy who needs none"


def test_curl_wget_and_urllib_take_the_proxy_from_the_environment(inside):
    assert inside(
        "curl -sS http://www.example.net/ https://www.example.net/",
        "curl -sS http://www.example.net/big http://example.net/big | wc -c",
        "curl -sS --socks5-hostname ${http_proxy#http://} https://www.example.net/",
        "curl -sS --socks5 ${http_proxy#http://} http://www.example.net/",
        "wget -nv -O - http://www.example.net/ && wget -nv -O - https://www.example.net/",
        "head -c 5000000 /dev/zero | curl -sS --data-binary @- http://www.example.net/",
        "python3 -c 'import urllib.request as r; print([r.urlopen(p + \"://www.example.net/\")"
        ".read().decode() for p in (\"http\", \"https\")])'",
    ) == [PUBLIC * 2, f"{64 << 20}\n", PUBLIC, PUBLIC, PUBLIC * 2, "5000000",
          f"{[PUBLIC, PUBLIC]}\n"]


def test_pip_git_and_apt_get_take_it_too(inside):
    out = inside(
        "PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_INDEX_URL=https://www.example.net/simple "
        "pip install -q requests 2>&1",
        "REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt python3 -c 'import requests as r; "
        "print(*(r.get(p + \"://www.example.net/\").text for p in (\"http\", \"https\")))'",
        "git clone -q https://www.example.net/git/project.git && cat project/README",
        "sudo rm /etc/apt/sources.list.d/*; "
        "echo 'deb [trusted=yes] http://www.example.net/apt ./' | "
        "sudo tee /etc/apt/sources.list.d/test.list",
        "sudo -E apt-get -q update && sudo -E apt-get -q install adit-hello && adit-hello")
    assert out[1] == f"{PUBLIC} {PUBLIC}\n"
    assert out[2] == "the project\n"
    assert out[4].endswith("hello from a package\n"), out


def test_a_hundred_at_once_through_the_proxy(inside):
    out, = inside("""python3 - <<'END'
import threading, urllib.request
got = []
def fetch():
    got.append(urllib.request.urlopen("http://www.example.net/", timeout=30).read())
threads = [threading.Thread(target=fetch) for _ in range(100)]
for t in threads: t.start()
for t in threads: t.join()
print(len(got), set(got))
END""")
    assert out == f"100 {{b'{PUBLIC}'}}\n", out


def test_what_is_refused_is_said(inside):
    get = "curl -sS -w %%{http_code} http://%s"
    tunnel = "curl -sS https://%s 2>&1 || true"
    out = inside(get % f"{PUBLIC}:81/", get % f"{PRIVATE}/", get % "missing.example.net/",
                 tunnel % f"{METADATA}/", tunnel % "missing.example.net/",
                 f"curl -sS --socks5 ${{http_proxy#http://}} http://{PUBLIC}:81/ 2>&1 || true")
    assert out[0] == f"{PUBLIC} port 81: connection refused\n502"
    assert out[1] == f"{PRIVATE} port 80: not allowed by the rules of this sandbox\n403"
    assert out[2] == "missing.example.net port 80: name not found\n502"
    assert "403" in out[3] and "502" in out[4] and "(5)" in out[5], out


def test_nothing_else_gets_out_and_names_are_found(inside):
    out = inside("getent hosts www.example.net; grep nameserver /etc/resolv.conf",
                 f"python3 guest_network.py connect {PUBLIC}:80 www.example.net:80")
    assert out[0].split() == [PUBLIC, "www.example.net", "nameserver", "127.0.0.53"], out
    said = json.loads(out[1])
    assert [word for _, word, _ in said] == ["ENETUNREACH"] * 2, said
    assert max(took for _, _, took in said) < 1, said


def test_rules_hold_as_without_a_proxy(proxied):
    code = "curl -sSk --max-time 20 -o /dev/null -w %%{http_connect}-%%{http_code} %s; true"
    seen = proxied(code % f"http://{PUBLIC}/",
                   code % "http://www.example.net/", code % "https://www.example.net/",
                   code % "http://other.example.net/", code % "https://other.example.net/",
                   code % "--connect-to ::www.example.net: https://other.example.net/",
                   {"deny_out": []}, code % "http://other.example.net/",
                   network={"allow_out": ["www.example.net"], "deny_out": ["0.0.0.0/0"]})
    assert [s and s["out"] for s in seen] == [
        "000-403", "000-200", "200-200", "000-403", "403-000", "200-000", None, "000-200"], seen


def test_a_users_own_variables_win(proxied):
    seen = proxied("env | grep -i proxy | sort", "unset http_proxy; env | grep -ci _proxy",
                   envs={"HTTP_PROXY": "http://mine:1", "no_proxy": ""})
    said = dict(line.split("=", 1) for line in seen[0]["out"].splitlines())
    assert said.pop("HTTP_PROXY") == "http://mine:1" and said.pop("no_proxy") == "", said
    assert set(said) == {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}
    assert len(set(said.values())) == 1 and said["all_proxy"].startswith("http://127.0.0.1:")


def test_ipv6_is_reached_where_the_host_has_it(proxied, internet):
    get = "curl -sS --max-time 20 -w ' %%{http_code}' '%s'"
    with internet.ipv6():
        name, literal = proxied(get % "http://six.example.net/", get % f"http://[{IPV6}]/")
    without, = proxied(get % "http://six.example.net/")
    assert name["out"] == literal["out"] == f"{IPV6} 200", (name, literal)
    assert without["out"].endswith("name not found\n 502"), without

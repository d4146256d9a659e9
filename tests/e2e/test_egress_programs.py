# SPDX-License-Identifier: Apache-2.0
"""Programs as they are, without a word about proxies, in a sandbox of a host on an internet."""

import json

import pytest

from internet import HOST_IPV6, HOST_PUBLIC, IPV6, METADATA, PUBLIC, SILENT, UNREACHABLE
from support import NODE

A, CNAME, TXT, AAAA, HTTPS = 1, 5, 16, 28, 65

# The sandbox trusts the internet's authority; what lasts longer than a test has begun.
SETUP = f"""set -e
curl -sS -O http://{PUBLIC}/guest_network.py
curl -sS http://{PUBLIC}/internet.crt | sudo tee -a /etc/ssl/certs/ca-certificates.crt > trusted
mkfifo go
python3 guest_network.py connect {SILENT}:80 < /dev/null > silent 2>&1 &
python3 guest_network.py hold {PUBLIC} 7 <> go > held 2>&1 &
until grep -q begin held; do sleep 0.01; done"""


@pytest.fixture(scope="module")
def inside(outside, internet):
    """Runs commands in the sandbox of this module; all must end well. What they wrote."""
    _, sandbox = outside(SETUP, keep=True)

    def run(*commands):
        seen = outside(*commands, sandbox=sandbox, keep=True)[:-1]
        assert [s["status"] for s in seen] == [0] * len(seen), seen
        return [s["out"] for s in seen]

    yield run
    outside(sandbox=sandbox)


def network(inside, function, *args):
    """What a function of guest_network.py says."""
    words = " ".join(map(str, (function, *args)))
    return json.loads(inside(f"python3 guest_network.py {words}")[0])


def test_curl_and_wget(inside):
    assert inside(
        "curl -sS http://www.example.net/",
        "curl -sS https://www.example.net/ && curl -sS --http1.1 https://example.net/",
        "wget -nv -O - http://www.example.net/ && wget -nv -O - https://www.example.net/",
        "wget -nv https://www.example.net/big && wc -c < big && rm big",
    ) == [PUBLIC, PUBLIC * 2, PUBLIC * 2, f"{32 << 20}\n"]


@pytest.fixture(scope="module")
def packages(inside):
    """Those of the index are installed, with what they need."""
    return inside("PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_INDEX_URL=https://www.example.net/simple "
                  "pip install -q requests websockets 2>&1", "pip list --format json")


def test_pip_installs_from_an_index_and_the_packages_work(inside, packages):
    assert {"requests", "urllib3", "websockets"} <= {p["name"] for p in json.loads(packages[1])}
    out, = inside("""export REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
python3 - <<'END'
import requests
print(requests.get("https://www.example.net/").text)
with requests.Session() as s:
    print({s.post("http://www.example.net/", data=b"x" * n).text == str(n) for n in range(1, 50)})
END""")
    assert out.splitlines() == [PUBLIC, "{True}"], out


def test_git_clones_and_pushes(inside):
    out = inside("git clone -q https://www.example.net/git/project.git && cat project/README",
                 "git clone -q git://www.example.net/project.git over-git && cat over-git/README",
                 """cd project && echo more > more && git add more &&
git -c user.name=U -c user.email=u@example.net commit -q -m more && git push -q origin HEAD:side &&
git ls-remote --heads origin""")
    assert out[:2] == ["the project\n"] * 2
    assert "refs/heads/side" in out[2]


def test_apt_get_installs_a_package(inside):
    assert inside("""sudo rm /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] http://www.example.net/apt ./' | sudo tee /etc/apt/sources.list.d/test.list
sudo apt-get -q update && sudo apt-get -q install adit-hello""",
                  "adit-hello")[1] == "hello from a package\n"


def test_node_fetches_and_speaks_over_a_websocket(inside, internet):
    assert NODE.exists(), f"{NODE} (make setup-test)"
    (internet.www / "node").symlink_to(NODE)
    out, = inside("""curl -sS -O http://www.example.net/node && chmod +x node
cat > fetch.mjs <<'END'
const text = async (url) => await (await fetch(url)).text()
console.log(await text('http://www.example.net/'), await text('https://www.example.net/'))
const all = await Promise.all(Array.from({length: 50}, () => text('http://www.example.net/')))
console.log(all.length, new Set(all).size)
const socket = new WebSocket('wss://www.example.net:8443/')
socket.onopen = () => socket.send('over a websocket')
socket.onmessage = (m) => { console.log(m.data); socket.close() }
END
NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt ./node fetch.mjs; rm node""")
    assert out.splitlines() == [f"{PUBLIC} {PUBLIC}", "50 1", "over a websocket"], out


def test_websockets(inside, packages):
    out, = inside("""python3 - <<'END'
from websockets.sync.client import connect
for url in "ws://www.example.net:8080/", "wss://www.example.net:8443/":
    with connect(url, max_size=None) as s:
        s.send("x" * 3000000)
        print(len(s.recv()), s.ping().wait(10))
END""")
    assert out.splitlines() == ["3000000 True"] * 2, (out, packages)


def test_netcat_both_ways(inside):
    assert inside(f"seq 200000 > there; nc -N {PUBLIC} 7 < there > back; "
                  "cmp -n $(wc -c < there) there back && tail -c 3 back",
                  f"nc {PUBLIC} 13 < /dev/null") == ["END", "a fine day\n"]


def test_two_hundred_connections_at_once(inside):
    assert network(inside, "parallel", "www.example.net", 7, 200) == 200


def test_many_are_dialled_without_waiting_for_one(inside):
    said, took = network(inside, "dial", PUBLIC, 80, 200)
    assert said == {"connected": 200}
    assert took < 5, took
    assert network(inside, "dial", PUBLIC, 81, 50)[0] == {"ECONNREFUSED": 50}


@pytest.mark.heavy
def test_a_gibibyte_both_ways_at_once_is_whole(inside):
    assert network(inside, "bulk", PUBLIC, 9, 1024) == [1024, 1024]


def test_what_is_not_there_fails_at_once_as_on_a_network(inside):
    said = network(inside, "connect", f"{PUBLIC}:80", f"{PUBLIC}:81", f"{UNREACHABLE}:80",
                   f"{METADATA}:80", f"{HOST_PUBLIC}:22", f"{IPV6}:80", "missing.example.net:80",
                   "name.invalid:80")
    assert [word for _, word, _ in said] == [
        "connected", "ECONNREFUSED", "EHOSTUNREACH", "EHOSTUNREACH", "EHOSTUNREACH", "ENETUNREACH",
        "[Errno -2] Name or service not known", "[Errno -2] Name or service not known"], said
    assert max(took for _, _, took in said) < 1, said


def test_who_never_answers_holds_up_nobody_else(inside):
    """More of them than are asked of the host at once."""
    inside(f"python3 guest_network.py dial {SILENT} 80 100 > silent-many 2>&1 < /dev/null & "
           "echo $! > dialler; until grep -q dialling silent-many; do sleep 0.01; done")
    said = network(inside, "connect", f"{PUBLIC}:80", f"{PUBLIC}:81")
    inside("kill $(cat dialler)")
    assert [word for _, word, _ in said] == ["connected", "ECONNREFUSED"], said
    assert max(took for _, _, took in said) < 1, said


def test_what_is_not_tcp_fails_at_once(inside):
    out, = inside(f"sudo python3 guest_network.py others {PUBLIC}")
    said, took = json.loads(out)
    assert said == dict.fromkeys(("udp", "icmp", "udp connect"), "ENETUNREACH")
    assert took < 0.5


def test_what_a_sandbox_says_to_itself_stays_in_it(outside):
    """Also over UDP, and where it may reach nothing else."""
    seen, = outside("""python3 - <<'END'
import socket
for family, address in ((2, "127.0.0.1"), (2, "10.0.2.15"), (2, "localhost"), (10, "::1")):
    with socket.create_server(("", 8000), family=family) as server:
        with socket.create_connection((address, 8000)) as s, server.accept()[0] as served:
            s.sendall(b"over TCP")
            print(served.recv(100))
    with socket.socket(family, socket.SOCK_DGRAM) as a, socket.socket(family, socket.SOCK_DGRAM) as b:
        a.bind((address, 0))
        b.sendto(b"over UDP", a.getsockname())
        print(a.recv(100))
END""", allow_internet_access=False)
    assert seen["out"].splitlines() == ["b'over TCP'", "b'over UDP'"] * 4, seen


def asked(inside, name):
    return int(inside(f"curl -sS http://{PUBLIC}/asked/{name}")[0])


def queries(inside, *asked):
    """What is answered to queries: a name, a type, perhaps "tcp", perhaps who is asked."""
    return network(inside, "queries", f"'{json.dumps(asked)}'")


def test_names_lead_to_addresses_by_aliases(inside):
    out = inside("getent ahostsv4 alias.example.net", "getent hosts www.example.net",
                 "python3 -c 'import socket as s; print(s.gethostbyname_ex(\"alias.example.net\"))'")
    assert out[0].split()[:3] == [PUBLIC, "STREAM", "www.example.net"], out
    assert out[1].split() == [PUBLIC, "www.example.net"], out
    assert "'chain.example.net'" in out[2] or "'alias.example.net'" in out[2], out
    found, = queries(inside, ("alias.example.net", A))
    assert [r[0] for r in found["records"]] == [CNAME, CNAME, A], found
    assert found["records"][2][2] == PUBLIC


def test_other_types_have_no_records_and_nobody_waits(inside):
    *there, missing = queries(inside, *(("www.example.net", kind) for kind in (TXT, HTTPS, AAAA)),
                              ("missing.example.net", A))
    assert there == [{"rcode": 0, "truncated": False, "records": []}] * 3
    assert missing["rcode"] == 3


def test_any_name_server_is_the_same_one(inside):
    """Programs that bring their own resolver's address are answered too."""
    found = queries(inside, *(("www.example.net", A, how, server) for how in ("udp", "tcp")
                              for server in (SILENT, PUBLIC, "8.8.8.8")))
    assert [each["records"][0][2] for each in found] == [PUBLIC] * 6


def test_three_hundred_names_at_once(inside):
    """More than are asked of the host at once."""
    assert network(inside, "lookups", 300) == [PUBLIC]


def test_long_answers_come_over_tcp(inside):
    """On both ways: from the name server to the broker, from envd to the program."""
    before = asked(inside, "tcp")
    out, = inside("getent ahostsv4 many.example.net | grep -c STREAM")
    assert int(out) == 60
    assert asked(inside, "tcp") > before
    short, whole = queries(inside, ("many.example.net", A), ("many.example.net", A, "tcp"))
    assert short["truncated"] and len(whole["records"]) == 60
    assert inside("RES_OPTIONS=use-vc getent hosts www.example.net")[0].split()[0] == PUBLIC


def test_search_domains_are_the_sandboxs(inside):
    out = inside("sudo sh -c 'echo search example.net >> /etc/resolv.conf'; getent hosts searched",
                 "sudo sed -i /^search/d /etc/resolv.conf; ! getent hosts searched")
    assert out[0].split() == [PUBLIC, "searched.example.net"], out


def test_answers_are_kept_as_long_as_they_live(inside):
    def ask(name, times):
        inside(*[f"getent ahostsv4 {name}; true"] * times)
        return asked(inside, name)

    assert ask("kept.example.net", 3) == 1
    kept, = queries(inside, ("kept.example.net", A))
    assert 0 < kept["records"][0][1] <= 60, "what is left of its life"
    missing = asked(inside, "missing.example.net")
    assert ask("missing.example.net", 3) <= missing + 1, "that there is none is kept too"
    before = ask("short.example.net", 1)
    inside("sleep 2")  # it lives a second: time is what this is about
    assert ask("short.example.net", 1) == before + 1


def test_without_ipv6_nobody_waits_for_it(inside):
    assert queries(inside, ("six.example.net", AAAA))[0]["records"] == []
    for name in ("both.example.net", "lame.example.net"):
        peer, took = network(inside, "eyeballs", name, 80)
        assert peer == PUBLIC and took < 0.2, (peer, took)
    out, = inside("curl -sS http://both.example.net/ && ! curl -sS http://six.example.net/ 2>&1")
    assert out.startswith(PUBLIC) and "Could not resolve host" in out, out


def test_with_ipv6_names_lead_to_it_and_it_connects(outside, internet):
    with internet.ipv6():
        fetch, literal, lame, six, happy, errors = outside(
            "curl -sS http://both.example.net/ && curl -sS -4 http://both.example.net/",
            f"curl -sS 'http://[{IPV6}]/'",
            "curl -sS -w ' %{time_total}' http://lame.example.net/",
            "getent ahosts six.example.net | head -1 && python3 -c "
            "'import urllib.request as r; print(r.urlopen(\"http://six.example.net/\").read())'",
            f"curl -sS -O http://{PUBLIC}/guest_network.py && "
            "python3 guest_network.py eyeballs lame.example.net 80",
            f"python3 guest_network.py connect {IPV6}:80 {IPV6}:81 {HOST_IPV6}:80 fd12::1:80")
    assert fetch["out"] == IPV6 + PUBLIC, fetch
    assert literal["status"] == 0 and literal["out"] == IPV6, literal
    assert [word for _, word, _ in json.loads(errors["out"])] == [
        "connected", "ECONNREFUSED", "EACCES", "EACCES"], errors
    address, took = lame["out"].split()
    assert address == PUBLIC and float(took) < 2, lame
    assert six["out"].startswith(IPV6) and f"b'{IPV6}'" in six["out"], six
    peer, took = json.loads(happy["out"])
    assert peer == PUBLIC and 0.2 < took < 1, happy


def test_a_connection_lives_as_long_as_both_ends_want(inside):
    """It was made before all that is above, and slept since."""
    out, = inside("echo on > go; until grep -q end held; do sleep 0.01; done; cat held")
    assert out.split() == ["begin", "on", '"end"'], out


def test_who_never_answers_is_given_up_after_half_a_minute(inside):
    out, = inside("until grep -q ':80' silent; do sleep 0.1; done; cat silent")
    (_, word, took), = json.loads(out)
    assert word == "EHOSTUNREACH" and 28 < took < 34, out

# SPDX-License-Identifier: Apache-2.0
"""What programs of a sandbox reach outside, through a broker in namespaces of the test's own."""

import json
import time

from internet import HOST_PRIVATE, HOST_PUBLIC, METADATA, OTHER, PRIVATE, PUBLIC

# What connect() says, and how long it took in tenths of a second.
CONNECT = """python3 - <<'END'
import errno, socket, time
def say(address, port):
    begin = time.monotonic()
    try:
        socket.create_connection((address, port), timeout=20).close()
        word = "connected"
    except OSError as e:
        word = errno.errorcode.get(e.errno, str(e))
    print(address, port, word, "at once" if time.monotonic() - begin < 0.9 else "late")
for address, port in %s:
    say(address, port)
END"""


def connects(outside, *targets, **options):
    """The words that connect() says, in order."""
    (seen,) = outside(CONNECT % json.dumps(targets), **options)
    assert seen["status"] == 0, seen
    lines = [line.split(" ", 3) for line in seen["out"].splitlines()]
    assert [line[0] for line in lines] == [t[0] for t in targets], seen
    assert all(line[3] == "at once" for line in lines), seen
    return [line[2] for line in lines]


def test_a_web_server_is_reached(outside):
    fetch, both = outside(
        f"curl -sS http://{PUBLIC}/",
        f"curl -sS http://{OTHER}/big | wc -c; "
        f"head -c 5000000 /dev/zero | curl -sS --data-binary @- http://{OTHER}/")
    assert fetch == {"status": 0, "out": PUBLIC, "err": ""}
    assert both["out"].split() == [str(32 << 20), "5000000"], both


def test_connect_fails_as_on_a_network(outside):
    assert connects(outside, (PUBLIC, 80), (PUBLIC, 81), (PRIVATE, 80), (METADATA, 80),
                    (HOST_PUBLIC, outside.broker.port), (HOST_PRIVATE, 80)) == [
        "connected", "ECONNREFUSED", "EHOSTUNREACH", "EHOSTUNREACH", "EHOSTUNREACH",
        "EHOSTUNREACH"]
    assert f"address={PRIVATE} port=80 why=private" in outside.broker.log()


def test_without_internet_access_nothing_is_reached(outside):
    assert connects(outside, (PUBLIC, 80), allow_internet_access=False) == ["EHOSTUNREACH"]


def test_an_update_is_in_force_at_once(outside):
    fetch = f"curl -sS --max-time 20 http://{PUBLIC}/"
    seen = outside(fetch, {"deny_out": [PUBLIC]}, fetch, {}, fetch)
    assert [s and s["status"] for s in seen] == [0, None, 7, None, 0], seen


def test_an_end_of_one_direction_is_an_end_of_one_direction(outside):
    (seen,) = outside(f"""python3 - <<'END'
import socket
s = socket.create_connection(("{PUBLIC}", 7))
s.sendall(b"hello")
s.shutdown(socket.SHUT_WR)
print(b"".join(iter(lambda: s.recv(100), b"")))
END""")
    assert seen["out"] == "b'helloEND'\n", seen


def test_hundred_connections_at_once(outside):
    (seen,) = outside(f"""python3 - <<'END'
import threading, urllib.request
got = []
def fetch():
    got.append(urllib.request.urlopen("http://{PUBLIC}/", timeout=30).read())
threads = [threading.Thread(target=fetch) for _ in range(100)]
for t in threads: t.start()
for t in threads: t.join()
print(len(got), set(got))
END""")
    assert seen["out"] == f"100 {{b'{PUBLIC}'}}\n", seen


def test_names_are_found(outside):
    found, missing = outside(
        "curl -sS http://www.example.net/ && curl -sSk https://example.net/",
        "python3 -c 'import socket; socket.getaddrinfo(\"example.org\", 80)'")
    assert found == {"status": 0, "out": PUBLIC * 2, "err": ""}
    assert "Name or service not known" in missing["err"], missing


def test_a_domain_is_a_name_that_was_looked_up_and_is_said(outside):
    """All names are of one address: it opens no door for the others."""
    seen = outside(
        f"curl -sS --max-time 20 http://{PUBLIC}/",
        "curl -sS http://www.example.net/ && curl -sSk https://www.example.net/",
        "curl -sS --max-time 20 http://other.example.net/",
        "curl -sS --max-time 20 -H 'Host: other.example.net' http://www.example.net/",
        "curl -sSk --max-time 20 --connect-to ::www.example.net: https://other.example.net/",
        f"curl -sSk --max-time 20 https://{PUBLIC}/",
        f"echo nothing | timeout 20 nc {PUBLIC} 7",
        network={"allow_out": ["www.example.net"], "deny_out": ["0.0.0.0/0"]})
    assert [s["status"] for s in seen[:5]] == [7, 0, 6, 56, 35], seen
    assert seen[1]["out"] == PUBLIC * 2
    assert seen[5]["status"] == 35 and "END" not in seen[6]["out"], seen


def test_every_request_of_a_connection_is_for_a_host_that_is_allowed(outside):
    (seen,) = outside("""python3 - <<'END'
import socket
def ask(*hosts):
    s = socket.create_connection(("www.example.net", 80))
    s.sendall(b"".join(b"GET / HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n" % h for h in hosts))
    s.shutdown(socket.SHUT_WR)
    try:
        got = b"".join(iter(lambda: s.recv(65536), b""))
    except ConnectionResetError:
        return "reset"
    return got.count(b"200 OK")
print(ask(b"www.example.net", b"www.example.net"))
print(ask(b"www.example.net", b"other.example.net"))
END""", network={"allow_out": ["www.example.net"], "deny_out": ["0.0.0.0/0"]})
    assert seen["out"].split() == ["2", "reset"], seen


def test_headers_are_set_that_no_program_of_the_sandbox_knows(outside):
    fetch = "curl -sS http://%s.example.net/secret http://%s.example.net/secret"
    seen = outside(fetch % ("www", "www"), fetch % ("other", "other"), fetch % ("www", "other"),
                   network={"rules": {"www.example.net": [
                       {"transform": {"headers": {"X-Secret": "s3cret"}}}]}})
    assert [s["out"] for s in seen] == ["s3crets3cret", "nonenone", "s3cretnone"], seen


# Keeps a connection until it breaks, makes another, and says what it saw, and when.
KEEP = """cat > keep.py <<'END'
import errno, socket, time
s = socket.create_connection(("%s", 7))
s.sendall(b"here")
print(s.recv(4).decode(), flush=True)
try:
    print(s.recv(4))
except OSError as e:
    print(errno.errorcode[e.errno])
broken = time.monotonic()
while True:  # a broker that takes longer than a connection waits for it is not what is measured
    try:
        socket.create_connection(("%s", 80), timeout=20).close()
        break
    except OSError as e:
        assert e.errno == errno.ENETUNREACH
print(broken, time.monotonic(), "end", flush=True)
END
python3 keep.py > seen 2>&1 < /dev/null &
until grep -q here seen; do sleep 0.01; done"""


def test_a_killed_broker_breaks_connections_and_the_next_one_makes_new_ones(outside):
    _, sandbox = outside(KEEP % (PUBLIC, PUBLIC), keep=True)
    killed = time.monotonic()
    outside.broker.kill()
    outside.broker.start()
    up = time.monotonic()  # the clock that programs of sandboxes read too
    seen, _ = outside("until grep -q end seen; do sleep 0.01; done; cat seen", sandbox=sandbox,
                      keep=True)
    here, how, broken, made, _ = seen["out"].split()
    assert (here, how) == ("here", "ECONNRESET"), seen
    assert float(broken) < killed + 2 and float(made) < up + 2, (killed, up, seen)
    assert connects(outside, (PUBLIC, 80), sandbox=sandbox) == ["connected"]

# SPDX-License-Identifier: Apache-2.0
"""Headers set over https: what programs of a sandbox see of it, and what they never see."""

from internet import PUBLIC
from support import NODE

SECRET = "s3cret-of-the-owner"
RULES = {"rules": {"www.example.net": [{"transform": {"headers": {"X-Secret": SECRET}}}]}}
URL = "https://www.example.net/secret"
FETCH = f"curl -sS --max-time 20 {URL}"
# Who signed what a program is shown.
ISSUER = """python3 - <<'END'
import socket, ssl
context = ssl._create_unverified_context()
s = context.wrap_socket(socket.create_connection(("%s", 443)), server_hostname="%s")
der = s.getpeercert(True)
print("sandbox" if b"Adit sandbox authority" in der else "its own")
END"""


def test_a_secret_reaches_its_server_and_nobody_else(outside):
    seen = outside(
        FETCH,
        "curl -sS http://www.example.net/secret",
        "curl -sSk https://other.example.net/secret",
        # a server that has no right to it, by a name that has
        f"curl -sSk --connect-to ::{PUBLIC}: https://www.example.net/secret",
        f"curl -sS --connect-to ::{PUBLIC}:80 http://www.example.net/secret",
        "curl -sSk -H 'Host: www.example.net' https://other.example.net/secret",
        ISSUER % ("www.example.net", "www.example.net"),
        ISSUER % ("other.example.net", "other.example.net"),
        # nowhere in the sandbox
        f"sudo grep -rslE '{SECRET[:6]}{SECRET[6:]}|BEGIN.*PRIVATE KEY' /etc /run /usr/local "
        "/home /root /tmp /var/tmp; sudo sh -c 'cat /proc/[0-9]*/environ' | tr '\\0' '\\n' | "
        f"grep {SECRET}; echo searched",
        network=RULES)
    assert [s["out"] for s in seen[:6]] == [SECRET, SECRET, "none", SECRET, SECRET, "none"], seen
    assert [s["out"].strip() for s in seen[6:]] == ["sandbox", "its own", "searched"], seen


def test_programs_trust_the_authority(outside, internet):
    """Each in its own way: the file of all, OpenSSL's directory, a variable."""
    (internet.www / "node-for-tls").symlink_to(NODE)
    python = f"import urllib.request; print(urllib.request.urlopen('{URL}').read().decode())"
    index = "PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_INDEX_URL=https://www.example.net/simple"
    seen = outside(
        f"python3 -c \"{python}\"",
        f"env -i /usr/bin/python3 -c \"{python}\"",
        f"env -i /usr/bin/curl -sS {URL}",
        f"/usr/lib/apt/apt-helper download-file {URL} got > /dev/null && cat got",
        f"sudo update-ca-certificates > /dev/null 2>&1; env -i /usr/bin/curl -sS {URL}",
        f"{index} pip install -q requests websockets 2>&1 && "
        f"python3 -c \"import requests; print(requests.get('{URL}').text)\"",
        f"""curl -sS -o node http://www.example.net/node-for-tls && chmod +x node
cat > fetch.mjs <<'END'
console.log(await (await fetch('{URL}')).text())
END
./node fetch.mjs; rm node""",
        "git clone -q https://www.example.net/git/project.git && cat project/README",
        """python3 - <<'END'
from websockets.sync.client import connect
with connect("wss://www.example.net:8443/", max_size=None) as s:
    s.send("x" * 3000000)
    print(len(s.recv()))
END""",
        "test -f $NODE_EXTRA_CA_CERTS && cmp $SSL_CERT_FILE $REQUESTS_CA_BUNDLE && "
        "grep -c BEGIN $SSL_CERT_FILE",
        network=RULES)
    assert [s["out"].strip() for s in seen[:7]] == [SECRET] * 7, seen
    assert [s["out"] for s in seen[7:9]] == ["the project\n", "3000000\n"], str(seen[7:9])
    assert int(seen[9]["out"]) > 100, seen


def test_a_server_that_cannot_prove_its_name_gets_no_secret(outside):
    """Its certificate is for names of one label less."""
    (seen,) = outside("curl -sSk --max-time 20 https://a.b.example.net/secret", network={
        "rules": {"*.b.example.net": [{"transform": {"headers": {"X-Secret": SECRET}}}]}})
    assert seen["status"] == 35 and "certificate" in seen["err"], seen
    assert 'why="certificate: hostname mismatch" name=a.b.example.net' in outside.broker.log()


def test_an_update_adds_rules_and_takes_them_away(outside):
    issuer = ISSUER % ("www.example.net", "www.example.net")
    seen = outside(FETCH + " -k", RULES, FETCH, issuer, {}, FETCH + " -k", issuer)
    assert [s and s["out"].strip() for s in seen] == [
        "none", None, SECRET, "sandbox", None, "none", "its own"], seen


def test_only_the_names_that_are_allowed_get_out(outside):
    seen = outside(FETCH, "curl -sSk --max-time 20 -H 'Host: other.example.net' "
                   "https://www.example.net/", network={
                       **RULES, "allow_out": ["www.example.net"], "deny_out": ["0.0.0.0/0"]})
    assert seen[0]["out"] == SECRET and seen[1]["status"] == 56, seen


def test_a_killed_broker_leaves_the_authority_to_the_next(outside):
    _, sandbox = outside(FETCH, keep=True, network=RULES)
    outside.broker.kill()
    outside.broker.start()
    record = outside.broker.state / f"state/sandboxes/{sandbox}/record.json"
    assert record.stat().st_mode & 0o077 == 0 and "PRIVATE KEY" in record.read_text()
    (seen,) = outside(FETCH, sandbox=sandbox)
    assert seen["out"] == SECRET, seen
    assert not record.parent.exists()

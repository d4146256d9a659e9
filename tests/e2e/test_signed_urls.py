# SPDX-License-Identifier: Apache-2.0
"""Signed file URLs through the one address of all sandboxes: any HTTP program uses them as they are."""

import json
import subprocess
import urllib.request

import pytest
from e2b import Sandbox

from support import JS, NODE, client_env, http_request

CONTENT = b"signed \0 and sealed\n" * 1000


@pytest.fixture(scope="module")
def box(broker):
    s = Sandbox.create(timeout=300)
    yield s
    s.kill()


def curl(*args):
    done = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", *args], capture_output=True,
                          timeout=30)
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


def test_urls_of_the_python_sdk(broker, box, tmp_path):
    up = box.upload_url("python file.bin", use_signature_expiration=60)
    down = box.download_url("python file.bin", use_signature_expiration=60)
    assert up.startswith(broker.url) and box.sandbox_id not in up
    file = tmp_path / "f"
    file.write_bytes(CONTENT)
    status, body = curl("-F", f"file=@{file}", up)
    assert status == 200 and json.loads(body)[0]["path"] == "/home/user/python file.bin"
    assert curl(down) == (200, CONTENT)
    assert urllib.request.urlopen(down).read() == CONTENT
    assert curl(box.download_url("python file.bin")) == (200, CONTENT)
    assert curl(box.download_url("/home/user/python file.bin", user="user")) == (200, CONTENT)


def test_every_sandbox_has_its_own(box):
    other = Sandbox.create(timeout=120)
    try:
        box.files.write("whose", "first")
        other.files.write("whose", "second")
        assert curl(box.download_url("whose")) == (200, b"first")
        assert curl(other.download_url("whose")) == (200, b"second")
        url = other.download_url("whose")
    finally:
        other.kill()
    status, body = curl(url)
    assert status == 401 and json.loads(body)["message"] == "invalid signature"


def test_what_is_refused(broker, box):
    box.files.write("secret", "s")
    url = box.download_url("secret", use_signature_expiration=60)
    status, body = curl(box.download_url("secret", use_signature_expiration=-60))
    assert status == 401 and json.loads(body)["message"] == "signature is already expired"
    invalid = (401, "invalid signature")
    for wrong in (url.replace("path=secret", "path=other"), url + "0",
                  url.replace("signature=v1_", "signature=v1_A"), f"{broker.url}/files?signature="):
        status, body = curl(wrong)
        assert (status, json.loads(body)["message"]) == invalid, wrong
    status, body = curl("-F", "file=x", url)  # made for reading
    assert (status, json.loads(body)["message"]) == invalid
    # nothing but /files, and no other spelling of it
    path = url.removeprefix(broker.url)
    for odd in (path.replace("/files", "/init"), path.replace("/files", "/files/"),
                path.replace("/files", "//files"), path.replace("/files", "/x/../files"),
                path.replace("/files", "/files/compose")):
        assert http_request(broker, "GET", odd).status == 404
    assert http_request(broker, "GET", "/files?path=secret").status == 404


def test_a_browser_may_use_them(broker, box):
    url = box.upload_url("from-a-browser").removeprefix(broker.url)
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "content-type"}
    answer = http_request(broker, "OPTIONS", url, asked)
    assert answer.status == 204 and answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    form = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nhello\r\n--b--\r\n'
    headers = {"Origin": "https://app.example", "Content-Type": "multipart/form-data; boundary=b"}
    answer = http_request(broker, "POST", url, headers, form)
    assert answer.status == 200 and answer.headers["Access-Control-Allow-Origin"] == "*"
    assert box.files.read("from-a-browser") == "hello"
    refused = http_request(broker, "POST", url.replace("v1_", "v1_x"), headers, form)
    assert refused.status == 401 and refused.headers["Access-Control-Allow-Origin"] == "*"


def test_urls_of_the_javascript_sdk(broker, tmp_path):
    program = """
        import { Sandbox } from 'e2b'
        const s = await Sandbox.create({ timeoutMs: 60000 })
        const up = await s.uploadUrl('js.txt', { useSignatureExpiration: 60 })
        const form = new FormData()
        form.append('file', new Blob(['from js']))
        const put = await fetch(up, { method: 'POST', body: form })
        const got = await fetch(await s.downloadUrl('js.txt', { useSignatureExpiration: 60 }))
        console.log(JSON.stringify({ up, put: put.status, got: got.status, text: await got.text() }))
        await s.kill()
    """
    run = subprocess.run([str(NODE), "--input-type=module", "-e", program], cwd=JS,
                         env=client_env(tmp_path), capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert said["up"].startswith(broker.url)
    assert (said["put"], said["got"], said["text"]) == (200, 200, "from js")


def test_guessing_is_limited(own_broker):
    broker = own_broker()
    sandbox = Sandbox.create(timeout=120)
    sandbox.files.write("x", "y")
    guess = "/files?path=x&signature=v1_" + "A" * 43
    seen = [http_request(broker, "GET", guess) for _ in range(200)]
    assert {a.status for a in seen} == {401, 429}
    assert all(a.headers["Retry-After"] == "1" for a in seen if a.status == 429)
    sandbox.kill()

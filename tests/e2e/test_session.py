# SPDX-License-Identifier: Apache-2.0
"""The session API: sandboxes of user sessions, over plain HTTP and JSON (docs/session-api.md)."""

import concurrent.futures
import contextlib
import datetime
import hashlib
import http.client
import io
import json
import os
import re
import signal
import subprocess
import zipfile
from pathlib import Path

import pytest

from conftest import REPO, Broker, end, kill_everything, wait_for
from support import NODE, add_key, api, http_request

IDLE = 4
MEBIBYTE = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def sessions(scratch, broker):
    """A broker whose sessions have the template that is there."""
    b = Broker(scratch / "sessions", ["--session-template", "base", "--session-open",
                                      "--session-custom-template", "base"])
    b.start()
    b.key = b.env()["E2B_API_KEY"]
    b.other = add_key(b, "other", "")
    yield b
    end(b, kill_everything(b))


@pytest.fixture(autouse=True)
def session_reports(sessions):
    yield
    sessions.check_reports()


def call(b, method, session, verb, body=None, headers=None, key=None):
    """One call with the broker's first key, or another; "" for none."""
    h = {} if key == "" else {"X-API-Key": key or b.key}
    if isinstance(body, dict):
        body, h["Content-Type"] = json.dumps(body), "application/json"
    return http_request(b, method, f"/api/v1/session/{session}/sandbox/{verb}",
                        {**h, **(headers or {})}, body)


def start(b, session, **body):
    answer = call(b, "POST", session, "start", body or None)
    assert answer.status == 200, answer.text
    return answer.json()


def status(b, session):
    answer = call(b, "GET", session, "status")
    assert answer.status == 200, answer.text
    return answer.json()


def stop(b, session):
    answer = call(b, "POST", session, "stop")
    assert answer.status == 204 and answer.body == b"", answer.text


def detail(answer, expected):
    """The words of a refusal, which has the API's form and nothing else."""
    assert answer.status == expected, answer.text
    assert list(answer.json()) == ["detail"], answer.text
    return answer.json()["detail"]


def form(data, filename="data.csv", name="file", before=b""):
    """A multipart body, and its type."""
    head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
    body = (before + b"--edge\r\n" + head.encode() + b"Content-Type: text/csv\r\n\r\n" + data
            + b"\r\n--edge--\r\n")
    return body, {"Content-Type": "multipart/form-data; boundary=edge"}


def upload(b, session, data, query="", **part):
    body, headers = form(data, **part)
    return call(b, "POST", session, "upload" + query, body, headers)


def download(b, session, path):
    return call(b, "GET", session, "download?path=" + path)


@pytest.fixture(scope="module")
def running(sessions):
    """A session that several tests use."""
    start(sessions, "shared")
    yield "shared"
    stop(sessions, "shared")


# ---- the life of a session ----


def test_a_session_starts_once_and_anew_after_its_stop(sessions):
    assert status(sessions, "life") is None
    first = start(sessions, "life", sandbox_type="code_interpreter")
    assert first["status"] == "running" and first["session_id"] == "life"
    assert first["sandbox_type"] == "code_interpreter"
    for name in ("created_at", "last_activity"):
        moment = datetime.datetime.fromisoformat(first[name])
        assert moment.utcoffset() is not None
        assert abs(datetime.datetime.now(datetime.timezone.utc) - moment).total_seconds() < 60
    assert first["last_activity"] >= first["created_at"]
    again = start(sessions, "life")
    assert again["sandbox_id"] == first["sandbox_id"]
    assert again["last_activity"] > first["last_activity"]
    assert status(sessions, "life")["sandbox_id"] == first["sandbox_id"]
    stop(sessions, "life")
    assert status(sessions, "life") is None
    stop(sessions, "life")
    assert start(sessions, "life")["sandbox_id"] != first["sandbox_id"]
    stop(sessions, "life")


def test_concurrent_starts_of_a_session_share_one_sandbox(sessions):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ids = {i["sandbox_id"] for i in pool.map(lambda _: start(sessions, "many"), range(8))}
    assert len(ids) == 1
    stop(sessions, "many")
    assert api(sessions, "GET", f"/sandboxes/{ids.pop()}").status == 404


def test_a_custom_sandbox_has_the_configured_template(sessions):
    info = start(sessions, "custom", sandbox_type="custom", template_id="base")
    assert info["sandbox_type"] == "custom"
    stop(sessions, "custom")
    refused = call(sessions, "POST", "custom", "start",
                   {"sandbox_type": "custom", "template_id": "other"})
    assert "template_id" in detail(refused, 400)


def test_a_sandbox_that_dies_leaves_a_session_that_can_begin_anew(sessions):
    first = start(sessions, "dies")
    assert api(sessions, "DELETE", f"/sandboxes/{first['sandbox_id']}").status == 204
    assert status(sessions, "dies") is None
    assert start(sessions, "dies")["sandbox_id"] != first["sandbox_id"]
    stop(sessions, "dies")


def begin_endless(pool, b, session):
    """An execution that runs, and does not end by itself."""
    asked = pool.submit(call, b, "POST", session, "execute",
                        {"code": "open('begun', 'w').close()\nwhile True: pass"})
    begun = {"path": "/home/user/begun", "size": 0, "is_directory": False}
    wait_for(lambda: begun in call(b, "GET", session, "files?path=/home/user").json(), 20,
             "an execution that runs")
    return asked


def test_a_sandbox_that_is_killed_while_it_executes_is_replaced_for_those_who_wait(sessions):
    first = start(sessions, "killed")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        endless = begin_endless(pool, sessions, "killed")
        waiting = [pool.submit(execute, sessions, "killed", "print(7)") for _ in range(3)]
        assert api(sessions, "DELETE", f"/sandboxes/{first['sandbox_id']}").status == 204
        assert "could not be executed" in detail(endless.result(), 500)
        assert [w.result()["output"] for w in waiting] == ["7\n"] * 3
    assert status(sessions, "killed")["sandbox_id"] != first["sandbox_id"]
    stop(sessions, "killed")


def test_code_that_waits_leaves_room_for_that_of_others(sessions):
    start(sessions, "hoards")
    with concurrent.futures.ThreadPoolExecutor(13) as pool:
        begin_endless(pool, sessions, "hoards")
        asked = [pool.submit(call, sessions, "POST", "hoards", "execute", {"code": "#" * 1_000_000})
                 for _ in range(12)]
        wait_for(lambda: sum(a.done() for a in asked) == 4, 20, "those that have no room")
        assert all("bytes of code" in detail(a.result(), 500) for a in asked if a.done())
        assert call(sessions, "POST", "hoards", "execute", {"code": "#" * 1_000_000}).status == 500
        stop(sessions, "hoards")
    assert execute(sessions, "hoards", "#" * 1_000_000)["success"]
    stop(sessions, "hoards")


# ---- files ----


def test_an_uploaded_file_is_listed_and_comes_back(sessions, running):
    data = os.urandom(3000)
    answer = upload(sessions, running, data)
    assert answer.status == 200 and answer.json() == {"path": "/home/user/upload/data.csv"}
    back = download(sessions, running, "/home/user/upload/data.csv")
    assert back.status == 200 and back.body == data
    assert back.headers["Content-Type"] == "application/octet-stream"
    assert back.headers["Content-Disposition"] == 'attachment; filename="data.csv"'
    listed = call(sessions, "GET", running, "files?path=/home/user/upload").json()
    assert {"path": "/home/user/upload/data.csv", "size": 3000, "is_directory": False} in listed


def test_the_default_directory_of_a_listing_is_the_root(sessions, running):
    listed = call(sessions, "GET", running, "files").json()
    assert {"path": "/home", "is_directory": True} in [
        {k: f[k] for k in ("path", "is_directory")} for f in listed]


@pytest.mark.parametrize("filename,stored", [
    ("../../etc/passwd", "passwd"), ("C:\\Users\\me\\a b.txt", "a b.txt"), ("d/e.txt", "e.txt"),
    ("größe.csv", "größe.csv")])
def test_a_file_keeps_the_last_part_of_its_name_only(sessions, running, filename, stored):
    answer = upload(sessions, running, b"x", "?path=/home/user/names/", filename=filename)
    assert answer.json() == {"path": f"/home/user/names/{stored}"}, answer.text


def test_a_name_that_is_not_ascii_is_told_whole(sessions, running):
    assert upload(sessions, running, b"x", filename="größe.csv").status == 200
    back = download(sessions, running, "/home/user/upload/gr%C3%B6%C3%9Fe.csv")
    assert back.headers["Content-Disposition"] == (
        'attachment; filename="gr____e.csv"; filename*=UTF-8\'\'gr%C3%B6%C3%9Fe.csv')


def test_parts_before_the_file_are_skipped(sessions, running):
    before = b'--edge\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
    assert upload(sessions, running, b"after", filename="n.txt", before=before).status == 200
    assert download(sessions, running, "/home/user/upload/n.txt").body == b"after"


def test_an_empty_file_is_a_file(sessions, running):
    assert upload(sessions, running, b"", filename="empty").status == 200
    assert download(sessions, running, "/home/user/upload/empty").body == b""


def test_large_files_pass_without_filling_the_broker(sessions, running):
    count = 64

    def parts():
        head, tail = form(b"", "large")[0].split(b"\r\n\r\n", 1)
        yield head + b"\r\n\r\n"
        for _ in range(count):
            yield MEBIBYTE
        yield tail

    def memory():
        return int(open(f"/proc/{sessions.process.pid}/statm").read().split()[1]) * 4096

    before = memory()
    sent = call(sessions, "POST", running, "upload", parts(), form(b"")[1])
    assert sent.status == 200, sent.text
    c = http.client.HTTPConnection("127.0.0.1", sessions.port, timeout=60)
    c.request("GET", f"/api/v1/session/{running}/sandbox/download?path=/home/user/upload/large",
              headers={"X-API-Key": sessions.key})
    answer, digest, length = c.getresponse(), hashlib.sha256(), 0
    while chunk := answer.read(1 << 20):
        digest.update(chunk)
        length += len(chunk)
    c.close()
    assert length == count * len(MEBIBYTE)
    assert digest.digest() == hashlib.sha256(MEBIBYTE * count).digest()
    if "asan" not in os.environ.get("ADIT_BIN", ""):
        assert memory() - before < 16 << 20


@pytest.mark.parametrize("body,headers", [
    form(b"x", name="other"), form(b"x", filename=".."), form(b"x", filename=""),
    (b"no form", {"Content-Type": "application/json"}), (b"", {}),
    (form(b"x")[0][:-20], form(b"x")[1])])
def test_what_is_no_form_with_a_file_is_refused(sessions, running, body, headers):
    detail(call(sessions, "POST", running, "upload", body, headers), 400)


@pytest.mark.parametrize("path", ["relative", "/a/../b", "/a/./b", "/%00", "/%0a", "/%ff",
                                  "/" + "a" * 4095])
def test_paths_that_mean_several_things_are_refused(sessions, running, path):
    for verb in ("files", "download"):
        detail(call(sessions, "GET", running, f"{verb}?path={path}"), 400)
    detail(upload(sessions, running, b"x", f"?path={path}"), 400)


def test_what_is_not_there_is_not_found(sessions, running):
    assert "path is missing" in detail(call(sessions, "GET", running, "download"), 400)
    assert "/none" in detail(download(sessions, running, "/none"), 404)
    assert "/none" in detail(call(sessions, "GET", running, "files?path=/none"), 404)
    detail(download(sessions, running, "/home"), 400)
    detail(call(sessions, "GET", running, "files?path=/etc/passwd"), 400)
    for answer in (call(sessions, "GET", "nobody", "files"), download(sessions, "nobody", "/etc"),
                   upload(sessions, "nobody", b"x")):
        assert "no running sandbox" in detail(answer, 404)


def uploads_of(b, sandbox):
    """The files without a name that a sandbox's envd writes."""
    record = b.state / "state/sandboxes" / sandbox / "record.json"
    names = []
    for fd in Path(f"/proc/{json.loads(record.read_text())['instance']['pid']}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            names.append(os.readlink(fd))
    return [name for name in names if re.match(r"(/.*)?/#\d", name)]


def test_an_upload_that_breaks_off_leaves_what_was_there(sessions, running):
    assert upload(sessions, running, b"whole", filename="torn").status == 200
    body, headers = form(MEBIBYTE * 16, "torn")
    headers |= {"X-API-Key": sessions.key, "Content-Length": str(len(body))}
    c = http.client.HTTPConnection("127.0.0.1", sessions.port, timeout=30)
    c.putrequest("POST", f"/api/v1/session/{running}/sandbox/upload")
    for name, value in headers.items():
        c.putheader(name, value)
    c.endheaders(body[: len(body) // 2])
    sandbox = status(sessions, running)["sandbox_id"]
    wait_for(lambda: uploads_of(sessions, sandbox), 10, "the upload")
    c.close()
    wait_for(lambda: not uploads_of(sessions, sandbox), 10, "its end")
    assert download(sessions, running, "/home/user/upload/torn").body == b"whole"


def test_a_download_breaks_when_its_sandbox_is_stopped(sessions):
    assert execute(sessions, "broken", "open('big', 'wb').truncate(8 << 30)")["success"]
    c = http.client.HTTPConnection("127.0.0.1", sessions.port, timeout=30)
    c.request("GET", "/api/v1/session/broken/sandbox/download?path=/home/user/big",
              headers={"X-API-Key": sessions.key})
    answer = c.getresponse()
    assert answer.status == 200 and answer.read(1 << 20) == bytes(1 << 20)
    stop(sessions, "broken")
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        while answer.read(1 << 20):
            pass
    c.close()
    assert status(sessions, "broken") is None


# ---- executing ----

PNG = ("import base64\n"
       "class Picture:\n"
       "    def _repr_png_(self):\n"
       "        return base64.b64decode('iVBORw0KGgo=') * 100000\n"
       "Picture()")


def execute(b, session, code):
    answer = call(b, "POST", session, "execute", {"code": code})
    assert answer.status == 200, answer.text
    return answer.json()


def test_state_is_kept_between_executions(sessions, running):
    first = execute(sessions, running, "x = 41\nprint('hello', 'ä😀')")
    assert first == {"success": True, "output": "hello ä😀\n", "error": None, "artifacts": [],
                     "execution_time_ms": first["execution_time_ms"]}
    assert 0 < first["execution_time_ms"] < 60_000
    assert execute(sessions, running, "print(x + 1)")["output"] == "42\n"


def test_failing_code_is_told_with_its_traceback(sessions, running):
    failed = execute(sessions, running, "print('before')\nraise ValueError('no such thing')")
    assert failed["success"] is False and failed["output"] == "before\n"
    assert "Traceback" in failed["error"] and "ValueError: no such thing" in failed["error"]
    warned = execute(sessions, running, "import sys\nprint('careful', file=sys.stderr)")
    assert warned["success"] is True and warned["error"] == "careful\n"


def test_an_execution_starts_the_sandbox_that_is_missing(sessions):
    assert execute(sessions, "begun", "print('here')")["output"] == "here\n"
    assert status(sessions, "begun")["status"] == "running"
    stop(sessions, "begun")
    assert status(sessions, "begun") is None


def test_executions_of_a_session_are_served_in_order(sessions, running):
    execute(sessions, running, "seen = []")
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        asked = []
        for i in range(12):
            slow = "import time; time.sleep(0.3)" if i == 0 else ""
            asked.append(pool.submit(execute, sessions, running,
                                     f"{slow}\nseen.append({i}); print(seen)"))
            if i == 0:  # the others come while it runs
                wait_for(lambda: status(sessions, running), 5, "the session")
        results = [a.result() for a in asked]
    assert all(r["success"] for r in results)
    lengths = sorted(len(json.loads(r["output"])) for r in results)
    assert lengths == list(range(1, 13)), "two executions ran at once"


def test_a_picture_becomes_a_url_that_its_owner_can_fetch(sessions, running):
    shown = execute(sessions, running, PNG)
    assert shown["success"] and len(shown["artifacts"]) == 1, shown
    url = shown["artifacts"][0]
    prefix = f"http://127.0.0.1:{sessions.port}"
    assert url.startswith(prefix + f"/api/v1/session/{running}/sandbox/download?path=")
    picture = http_request(sessions, "GET", url[len(prefix):], {"X-API-Key": sessions.key})
    assert picture.body == b"\x89PNG\r\n\x1a\n" * 100_000
    assert picture.headers["Content-Disposition"].endswith('.png"')
    stranger = http_request(sessions, "GET", url[len(prefix):], {"X-API-Key": sessions.other})
    assert stranger.status == 404


def test_files_that_the_code_leaves_become_urls(sessions, running):
    code = ("import os\n"
            "open('report.csv', 'w').write('a,b\\n')\n"
            "open('gone', 'w').close()\nos.remove('gone')\n"
            "os.makedirs('deep', exist_ok=True)\nopen('deep/file', 'w').close()\n"
            "open('.hidden', 'w').close()\nopen('r\u00e9sum\u00e9 1.txt', 'w').write('x')")
    left = execute(sessions, running, code)["artifacts"]
    assert [url.split("?path=")[1] for url in left] == [
        "/home/user/report.csv", "/home/user/r%C3%A9sum%C3%A9%201.txt"]
    assert download(sessions, running, left[0].split("?path=")[1]).body == b"a,b\n"
    assert execute(sessions, running, "open('report.csv').read()")["artifacts"] == []
    again = execute(sessions, running, "open('report.csv', 'a').write('c,d\\n')")["artifacts"]
    assert again == left[:1]


def test_output_beyond_what_is_kept_is_counted(sessions, running):
    much = execute(sessions, running, "print('x' * 20_000_000)")
    assert much["success"] and much["output"].startswith("x" * 1000)
    assert much["output"].endswith("bytes more were not kept]\n") and len(much["output"]) < 9 << 20


def wheel(name, version):
    """A package, as pip installs it."""
    info, data = f"{name}-{version}.dist-info", io.BytesIO()
    files = {f"{name}.py": f"answer = {version!r}\n",
             f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
             f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(data, "w") as z:
        for path, text in files.items():
            z.writestr(path, text)
    return data.getvalue()


INDEX = """
import os, subprocess, sys, time, urllib.request
index = subprocess.Popen([sys.executable, "-m", "http.server", "8099", "--bind", "127.0.0.1",
                          "--directory", "/home/user/index"],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
os.environ["PIP_INDEX_URL"] = "http://127.0.0.1:8099/simple"
while True:
    try:
        urllib.request.urlopen("http://127.0.0.1:8099/simple/").read()
        break
    except OSError:
        time.sleep(0.05)
"""


def test_what_is_installed_can_be_imported(sessions, running):
    served = "?path=/home/user/index/simple/sessionpkg"
    assert upload(sessions, running, wheel("sessionpkg", "1.2"), served,
                  filename="sessionpkg-1.2-py3-none-any.whl").status == 200
    assert execute(sessions, running, INDEX)["success"]
    missing = execute(sessions, running, "import sessionpkg")
    assert "ModuleNotFoundError" in missing["error"]
    installed = call(sessions, "POST", running, "install", {"packages": ["sessionpkg>=1.0"]}).json()
    assert installed["success"], installed
    assert "Successfully installed sessionpkg-1.2" in installed["output"]
    imported = execute(sessions, running, "import sessionpkg; print(sessionpkg.answer)")
    assert imported["output"] == "1.2\n"
    failed = call(sessions, "POST", running, "install", {"packages": ["sessionnone"]}).json()
    assert failed["success"] is False and "sessionnone" in failed["error"] + failed["output"]
    execute(sessions, running, "index.kill()")


def test_a_client_that_goes_interrupts_its_execution(sessions, running):
    execute(sessions, running, "begun = 0")
    c = http.client.HTTPConnection("127.0.0.1", sessions.port, timeout=30)
    c.request("POST", f"/api/v1/session/{running}/sandbox/execute",
              json.dumps({"code": "open('/tmp/begun', 'w').close()\nwhile True: pass"}),
              {"X-API-Key": sessions.key})
    wait_for(lambda: download(sessions, running, "/tmp/begun").status == 200, 10, "the execution")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        behind = pool.submit(execute, sessions, running, "print(begun)")
        c.close()
        assert behind.result(timeout=30)["output"] == "0\n"


def test_fifty_sessions_execute_side_by_side(sessions):
    """While one is busy, none of the others waits for it."""
    names = [f"many-{i}" for i in range(50)]
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        busy = pool.submit(execute, sessions, "busy", "import time; time.sleep(20)")
        try:
            code = "me = {!r}; print(me)"
            results = list(pool.map(lambda n: execute(sessions, n, code.format(n)), names))
            assert [r["output"] for r in results] == [n + "\n" for n in names]
            again = list(pool.map(lambda n: execute(sessions, n, "print(me)"), names))
            assert [r["output"] for r in again] == [n + "\n" for n in names]
            assert not busy.done()
        finally:
            list(pool.map(lambda n: stop(sessions, n), [*names, "busy"]))
        with pytest.raises(AssertionError, match="was stopped"):
            busy.result()


# ---- who may ----


def test_a_key_sees_its_own_sessions_only(sessions, running):
    """Also a key of the same team, which sees the sandbox itself in the control API."""
    for method, verb in (("GET", "status"), ("POST", "stop"), ("GET", "files"),
                         ("GET", "download?path=/etc/passwd")):
        answer = call(sessions, method, running, verb, key=sessions.other)
        assert answer.status in (404, 204) or answer.body == b"null", answer.text
    mine = call(sessions, "POST", running, "start", key=sessions.other).json()
    assert mine["sandbox_id"] != status(sessions, running)["sandbox_id"]
    assert call(sessions, "POST", running, "stop", key=sessions.other).status == 204
    assert status(sessions, running) is not None


@pytest.mark.parametrize("session", ["a" * 129, "a/b", "a%2Fb", ".", "..", "-x", "a%20b", "a%00",
                                     "%ff", "a%"])
def test_session_ids_are_checked(sessions, session):
    answer = call(sessions, "GET", session, "status")
    assert answer.status in (400, 404) and "detail" in answer.json(), answer.text
    if "/" not in session:
        assert answer.status == 400


def test_without_a_key_there_is_nothing(broker):
    """The development switch is off by default."""
    for headers in ({}, {"X-API-Key": "e2b_" + "0" * 40}, {"X-Admin-Token": "x"}):
        answer = http_request(broker, "GET", "/api/v1/session/x/sandbox/status", headers)
        detail(answer, 401)


@pytest.mark.parametrize("headers", [
    {"X-Forwarded-For": "203.0.113.9"}, {"Forwarded": "for=203.0.113.9"}, {"Via": "1.1 proxy"},
    {"Origin": "https://example.com"}, {"Origin": "null"}, {"Host": "rebound.example:80"},
    {"Origin": "http://localhost.example.com"}])
def test_the_development_switch_is_for_this_machine_alone(sessions, headers):
    assert call(sessions, "GET", "dev", "status", key="").status == 200
    detail(call(sessions, "GET", "dev", "status", headers=headers, key=""), 401)


def test_sessions_without_a_key_are_nobody_elses(sessions):
    local = {"Origin": "http://localhost:5173"}
    made = call(sessions, "POST", "dev", "start", headers=local, key="").json()
    assert status(sessions, "dev") is None
    assert call(sessions, "GET", "dev", "status", key="").json()["sandbox_id"] == made["sandbox_id"]
    assert call(sessions, "POST", "dev", "stop", key="").status == 204


# ---- the form of it ----


def test_refusals_have_the_form_of_the_session_api(sessions):
    detail(call(sessions, "GET", "form", "nothing"), 404)
    detail(call(sessions, "GET", "form", "start"), 405)
    detail(call(sessions, "POST", "form", "start", {"sandbox_type": "other"}), 400)
    detail(call(sessions, "POST", "form", "start", b"{"), 400)
    for body in ({}, {"code": 1}, {"code": None}):
        assert "code" in detail(call(sessions, "POST", "form", "execute", body), 400)
    for packages in (None, [], [1], ["-e ."], ["a'b"], ["x"] * 65):
        refused = call(sessions, "POST", "form", "install", {"packages": packages})
        assert "packages" in detail(refused, 400)
    assert "1 MiB" in detail(call(sessions, "POST", "form", "execute", b" " * (2 << 20)), 413)
    assert status(sessions, "form") is None


def test_pages_of_other_origins_may_call(sessions, running):
    page = {"Origin": "https://app.example"}
    asked = call(sessions, "OPTIONS", "x", "upload",
                 headers={**page, "Access-Control-Request-Method": "POST",
                          "Access-Control-Request-Headers": "x-api-key"}, key="")
    assert asked.status == 204 and asked.headers["Access-Control-Allow-Headers"] == "x-api-key"
    body, kind = form(b"x")
    for answer in (call(sessions, "GET", running, "status", headers=page),
                   call(sessions, "POST", running, "upload", body, {**kind, **page}),
                   call(sessions, "GET", running, "download?path=/home/user/upload/data.csv",
                        headers=page)):
        assert answer.status == 200 and answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Content-Disposition" in answer.headers["Access-Control-Expose-Headers"]


# ---- the documentation ----


def example(language):
    text = (REPO / "docs/session-api.md").read_text()
    return re.search(rf"^```{language}\n(.*?)^```", text, re.M | re.S)[1]


def run_example(b, directory, *command):
    env = {"PATH": os.environ["PATH"], "HOME": str(directory), "ADIT_URL": b.url, "ADIT_KEY": b.key}
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_examples_with_curl_work(sessions, tmp_path):
    said = run_example(sessions, tmp_path, "sh", "-e", "-c", example("sh"))
    assert '"output":"7\\n"' in said and said.endswith("null"), said
    assert '{"path":"/home/user/sum.txt","size":1,"is_directory":false}' in said
    assert (tmp_path / "sum.txt").read_text() == "7"


def test_the_examples_in_typescript_work(sessions, tmp_path):
    (tmp_path / "example.mts").write_text(example("ts"))
    said = run_example(sessions, tmp_path, NODE, "--experimental-strip-types", "--no-warnings",
                       "example.mts").splitlines()
    assert said[0] == "7 null" and said[2] == "null", said
    assert re.fullmatch(r'attachment; filename="\w+-1\.svg" 61', said[1]), said


# ---- time ----


def test_sessions_survive_their_broker_and_end_when_idle(own_broker):
    b = own_broker("--session-template", "base", "--session-idle-timeout", f"{IDLE}s")
    b.key = b.env()["E2B_API_KEY"]
    first = start(b, "kept")
    assert upload(b, "kept", b"still here").status == 200
    execute(b, "kept", "x = 5")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        endless = begin_endless(pool, b, "kept")
        waiting = pool.submit(call, b, "POST", "kept", "execute", {"code": "x = 6"})
        starting = pool.submit(call, b, "POST", "half", "start")
        wait_for(lambda: status(b, "half"), 10, "a session that starts")
        b.kill(signal.SIGKILL)
        for asked in (endless, waiting):
            with pytest.raises((OSError, http.client.HTTPException)):
                asked.result()
        starting.exception()  # it may have been answered
    b.start()
    start(b, "half")
    assert execute(b, "kept", "print(x)")["output"] == "5\n"
    after = wait_for(lambda: status(b, "kept"), 10, "the session")
    assert after["sandbox_id"] == first["sandbox_id"]
    assert after["created_at"] == first["created_at"]
    assert download(b, "kept", "/home/user/upload/data.csv").body == b"still here"
    used = datetime.datetime.fromisoformat(status(b, "kept")["last_activity"])
    wait_for(lambda: status(b, "kept") is None, IDLE + 20, "the idle session's end")
    idle = (datetime.datetime.now(datetime.timezone.utc) - used).total_seconds()
    assert IDLE - 1 < idle


def test_an_execution_that_takes_too_long_is_given_up(own_broker):
    b = own_broker("--session-template", "base", "--session-execute-timeout", "2s",
                   "--session-idle-timeout", "5s")
    b.key = b.env()["E2B_API_KEY"]
    execute(b, "slow", "x = 1")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        # the second never gets its turn: its wait counts as well
        asked = [pool.submit(call, b, "POST", "slow", "execute", {"code": "while True: pass"})
                 for _ in range(2)]
        for a in asked:
            assert "in time" in detail(a.result(), 408)
    assert execute(b, "slow", "print(x)")["output"] == "1\n"


def test_a_session_ends_with_its_longest_life(own_broker):
    b = own_broker("--session-template", "base", "--session-max-life", "4s")
    b.key = b.env()["E2B_API_KEY"]
    start(b, "short")

    def ended():
        call(b, "GET", "short", "files")  # it is used all the time
        return status(b, "short") is None

    wait_for(ended, 30, "the end of its life")

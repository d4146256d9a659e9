# SPDX-License-Identifier: Apache-2.0
"""Torture of the broker. (envd's is in tests/unit/envd/test_request_torture.c.)"""

import json
import ssl

import httpx
import pytest

from conftest import Broker, end, kill_everything, wait_for
from support import NOBODY, http_request
from torture import Memory, Request, preload, torture
from world import signature


class World:
    def __init__(self, broker, memory):
        self.broker, self.memory = broker, memory
        self.key = {"X-API-Key": broker.env()["E2B_API_KEY"]}
        self.admin = {"X-Admin-Token": (broker.state / "state/admin-token").read_text().strip()}
        self.box = self.create({"secure": True, "network": {"allowPublicTraffic": False}})
        self.mine = f"/sandboxes/{self.box['sandboxID']}"
        self.tls = ssl.create_default_context()
        self.session = "/api/v1/session/torture/sandbox"
        started = http_request(broker, "POST", f"{self.session}/start", self.key)
        assert started.status == 200, started.text

    def expect_alive(self):
        status = self.broker.process.poll()
        assert status is None, f"the broker ended with {status}: {self.broker.log()[-3000:]}"
        assert over_http1(self, "GET", "/health", {}, None) == 204

    def create(self, options):
        made = http_request(self.broker, "POST", "/sandboxes", self.key,
                            json.dumps({"templateID": "base", "timeout": 900, **options}))
        assert made.status == 201, made.text
        return made.json()

    def leads_to(self, port=49983):
        return {"E2b-Sandbox-Id": self.box["sandboxID"], "E2b-Sandbox-Port": str(port)}

    @property
    def envd(self):
        return {**self.leads_to(), "X-Access-Token": self.box["envdAccessToken"]}


@pytest.fixture(scope="module")
def world(scratch):
    prefix = preload(scratch / "torture-memory")
    memory = Memory(scratch / "torture-memory")
    broker = Broker(scratch / "torture", ["--relay-loops", "1", "--session-template", "base"])
    broker.prefix = prefix
    broker.start()
    yield World(broker, memory)
    memory.fail(0)
    kill_everything(broker)
    end(broker, [])


# name: method, target, headers, body, status when nothing fails; %s is the sandbox's id
def scenarios(w):
    traffic = {"e2b-traffic-access-token": w.box["trafficAccessToken"]}
    browser = {"User-Agent": "Mozilla/5.0", "Accept": "text/html"}
    rpc = {**w.envd, "Content-Type": "application/json"}
    octets = {**w.envd, "Content-Type": "application/octet-stream"}
    ask = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST",
           "Access-Control-Request-Headers": "x-api-key"}
    form = {**w.key, "Content-Type": "multipart/form-data; boundary=b"}
    file = ('--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
            + "x" * 100_000 + "\r\n--b--\r\n")
    shown = json.dumps({"code": "class P:\n  def _repr_svg_(self): return 'x' * 100000\n"
                                "print(open('f', 'w').write('y'))\nP()"})
    return {
        "health": ("GET", "/health", {}, None, 204),
        "preflight": ("OPTIONS", "/sandboxes", ask, None, 204),
        "no key": ("GET", "/sandboxes", {}, None, 401),
        "unknown path": ("GET", "/nothing", w.key, None, 404),
        "list": ("GET", "/v2/sandboxes?metadata=a%3Db&limit=5", w.key, None, 200),
        "list v1": ("GET", "/sandboxes", {**w.key, "Origin": "https://a.example"}, None, 200),
        "get": ("GET", w.mine, w.key, None, 200),
        "not there": ("GET", f"/sandboxes/{NOBODY}", w.key, None, 404),
        "bad create": ("POST", "/sandboxes", w.key, '{"templateID": 7, "metadata": {"a": "b"}}', 400),
        "unknown template": ("POST", "/v2/sandboxes", w.key, '{"templateID": "none"}', 404),
        "large body": ("POST", "/sandboxes", w.key, "{" + " " * 200_000 + "}", 400),
        "timeout": ("POST", f"{w.mine}/timeout", w.key, '{"timeout": 900}', 204),
        "connect": ("POST", f"{w.mine}/connect", w.key, '{"timeout": 900}', 200),
        "network": ("PUT", f"{w.mine}/network", w.key, '{"denyOut": ["10.0.0.0/8"]}', 204),
        "metrics": ("GET", f"{w.mine}/metrics", w.key, None, 200),
        "logs": ("GET", f"/v2{w.mine}/logs?level=info&search=x", w.key, None, 200),
        "templates": ("GET", "/templates", w.key, None, 200),
        "nodes": ("GET", "/nodes", w.admin, None, 200),
        "counts": ("GET", "/admin/sandboxes/running-counts", w.admin, None, 200),
        "envs": ("GET", "/envs", w.envd, None, 200),
        "envd refuses": ("GET", "/envs", w.leads_to(), None, 401),
        "control route": ("POST", "/init", w.envd, "{}", 404),
        "upload": ("POST", "/files?path=/tmp/a", octets, "x" * 100_000, 200),
        "download": ("GET", "/files?path=/tmp/a", w.envd, None, 200),
        "signed": ("GET", f"/files?{signature(w.box, '/tmp/a', 'read')}", {}, None, 200),
        "by token": ("GET", "/files?path=/tmp/a",
                     {"X-Access-Token": w.box["envdAccessToken"]}, None, 200),
        "rpc": ("POST", "/process.Process/List", rpc, "{}", 200),
        "closed port": ("GET", "/", {**w.leads_to(9), **traffic}, None, 502),
        "closed port, page": ("GET", "/", {**w.leads_to(9), **traffic, **browser}, None, 502),
        "private port": ("GET", "/", w.leads_to(9), None, 403),
        "nobody's": ("GET", "/", {"E2b-Sandbox-Id": NOBODY, "E2b-Sandbox-Port": "80"}, None, 502),
        "reserved port": ("GET", "/", w.leads_to(1024), None, 404),
        "bad port": ("GET", "/", w.leads_to("x"), None, 400),
        "session status": ("GET", f"{w.session}/status", w.key, None, 200),
        "session start": ("POST", f"{w.session}/start", w.key, None, 200),
        "session files": ("GET", f"{w.session}/files?path=/etc", w.key, None, 200),
        "session upload": ("POST", f"{w.session}/upload", form, file, 200),
        "session download": ("GET", f"{w.session}/download?path=/etc/passwd", w.key, None, 200),
        "session refuses": ("GET", f"{w.session}/download?path=/etc", w.key, None, 400),
        "session execute": ("POST", f"{w.session}/execute", w.key, shown, 200),
    }


NAMES = ["health", "preflight", "no key", "unknown path", "list", "list v1", "get", "not there",
         "bad create", "unknown template", "large body", "timeout", "connect", "network", "metrics",
         "logs", "templates", "nodes", "counts", "envs", "envd refuses", "control route", "upload",
         "download", "signed", "by token", "rpc", "closed port", "closed port, page", "private port",
         "nobody's", "reserved port", "bad port", "session status", "session start", "session files",
         "session upload", "session download", "session refuses", "session execute"]
OVER_HTTP2 = ["no key", "get", "bad create", "envs", "upload", "download", "rpc", "private port",
              "unknown path", "session upload"]


def over_http1(w, method, target, headers, body):
    return http_request(w.broker, method, target, headers, body, timeout=20).status


def over_http2(w, method, target, headers, body):
    with httpx.Client(http1=False, http2=True, verify=w.tls, timeout=20, trust_env=False) as client:
        return client.request(method, w.broker.url + target, headers=headers,
                              content=body).status_code


@pytest.mark.parametrize("name", NAMES)
def test_each_allocation_of_a_request_fails_once(world, name):
    *request, status = scenarios(world)[name]
    failed = torture(world, Request(lambda: over_http1(world, *request)), status)
    print(name, failed)
    assert failed > 1


@pytest.mark.parametrize("name", OVER_HTTP2)
def test_each_allocation_of_an_http2_request_fails_once(world, name):
    *request, status = scenarios(world)[name]
    failed = torture(world, Request(lambda: over_http2(world, *request)), status)
    print(name, "HTTP/2", failed)
    assert failed > 1


class Create(Request):
    """What was answered with 201 is there and reachable until it is killed; what was refused is
    not. An answer that was lost says neither."""

    def __init__(self, world):
        super().__init__(self.create)
        self.world = world

    def create(self):
        self.made = None
        answer = http_request(self.world.broker, "POST", "/sandboxes", self.world.key,
                              json.dumps({"templateID": "base", "timeout": 300, "secure": True,
                                          "metadata": {"torture": "yes"}}))
        self.made = answer.json() if answer.status == 201 else None
        return answer.status

    def ids(self):
        listed = http_request(self.world.broker, "GET", "/v2/sandboxes?metadata=torture%3Dyes",
                              self.world.key)
        return [sandbox["sandboxID"] for sandbox in listed.json()]

    def kill(self, sandbox_id):
        return http_request(self.world.broker, "DELETE", f"/sandboxes/{sandbox_id}",
                            self.world.key).status

    def reach(self, sandbox):
        way = {"E2b-Sandbox-Id": sandbox["sandboxID"], "E2b-Sandbox-Port": "49983",
               "X-Access-Token": sandbox["envdAccessToken"]}
        return http_request(self.world.broker, "GET", "/envs", way).status

    def check(self, got):
        ids = self.ids()
        if got == 201:
            assert ids == [self.made["sandboxID"]]
            assert self.reach(self.made) == 200
        elif got is not None:
            assert ids == []
        for sandbox_id in ids:
            assert self.kill(sandbox_id) == 204


class Kill(Create):
    """Answered or not: it is gone, or there to be killed again."""

    def __init__(self, world):
        super().__init__(world)
        self.ask = lambda: self.kill(self.made["sandboxID"])

    def prepare(self):
        assert self.create() == 201

    def check(self, got):
        if got != 204:
            wait_for(lambda: self.kill(self.made["sandboxID"]) == 404, 20, "killed again")
        assert self.ids() == []
        assert self.reach(self.made) == 502


def test_each_allocation_of_a_create_fails_once(world):
    failed = torture(world, Create(world), 201)
    print("create", failed)
    assert failed > 100


def test_each_allocation_of_a_kill_fails_once(world):
    failed = torture(world, Kill(world), 204)
    print("kill", failed)
    assert failed > 30

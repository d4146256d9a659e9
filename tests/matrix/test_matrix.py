# SPDX-License-Identifier: Apache-2.0
"""Who gets what: every route, everybody, every way to ask, and again without the scheduler.

Cases are generated (below, by group); each asserts one exact status. A group's cases are asked over a
few connections at once, so the whole takes seconds. `routes.py` says which routes there are and what is
expected; a route of the product that is missing there fails `test_every_route_has_its_row`.

Principals, as in docs/spec.md: P0 nothing, P1 malformed credentials, P2 a key of the owner's team, P3 of
another team, P4 a revoked key, P5 the sandbox's token, P6 another sandbox's, P7 a signature, P8 one that
is wrong in some way, P9 the traffic token, P10 the operator, P12 a process inside the sandbox. (There is
no credential of a node yet, P11.)
"""

import asyncio
import os
import random
import statistics
import time
from dataclasses import replace

import pytest

import routes
from client import KINDS, WORKERS, Case, Http1, ask_all
from conftest import end, wait_for
from routes import ADMIN, API, BEARER, CONTROL, DESTRUCTIVE, ENVD, HOST_ONLY, KEY, NONE, OPEN, SESSION
from support import NOBODY, api, http_request
from world import DOMAIN, PAGE, PORT, MatrixBroker, OwnScheduler, World, signature

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@pytest.fixture(scope="module")
def world(scratch):
    scheduler = OwnScheduler(scratch / "scheduler-of-matrix")
    broker = MatrixBroker(scratch / "matrix", scheduler).start()
    w = World(broker)
    yield w
    for team in ("team-a", "team-b"):
        killed = http_request(broker, "POST", f"/admin/teams/{team}/sandboxes/kill",
                              {"X-Admin-Token": w.admin})
        assert killed.status == 200, killed.text
    end(broker, [])
    scheduler.kill()


def check(world, group, cases, workers=WORKERS):
    """Ask, and fail with every answer that is not the expected one."""
    cases = list(cases)
    random.Random(len(cases)).shuffle(cases)
    begun = time.monotonic()
    results = asyncio.run(ask_all(world.broker.door(), cases, workers))
    assert len(results) == len(cases)
    wrong = [str(r) for r in results if not r.is_right]
    print(f"{group}: {len(cases)} requests, {len(wrong)} mismatches, "
          f"{time.monotonic() - begun:.1f} s")
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(sorted(wrong)[:60])
    return results


# ---- the control API ---------------------------------------------------------------------------


def fill(path, sandbox_id):
    """A path for a pattern; all its parameters but the sandbox name what does not exist."""
    out = path.replace("{sandboxID}", sandbox_id)
    while "{" in out:
        out = out[:out.index("{")] + "nobody" + out[out.index("}") + 1:]
    return out + ("?sandbox_ids=" + sandbox_id if out == "/sandboxes/metrics" else "")


def api_principals(w):
    """name: credentials"""
    key, token = w.key_a, w.private["envdAccessToken"]
    many = {
        "P0": (),
        "P1 empty": (("X-API-Key", ""),),
        "P1 short": (("X-API-Key", key[:-1]),),
        "P1 long": (("X-API-Key", key + "0"),),
        "P1 upper case": (("X-API-Key", key.upper()),),
        "P1 no prefix": (("X-API-Key", key[4:]),),
        "P1 bearer": (("Authorization", f"Bearer {key}"),),
        "P1 in the path": (("Cookie", f"X-API-Key={key}"),),
        "P1 false operator": (("X-Admin-Token", w.admin[:-1]), ("X-API-Key", key)),
        "P1 operator's as a key": (("X-API-Key", w.admin),),
        "P2": (("X-API-Key", key),),
        "P3": (("X-API-Key", w.key_b),),
        "P3 with a team's name": (("X-API-Key", w.key_b), ("X-Team-ID", "team-a")),
        "P4": (("X-API-Key", w.key_revoked),),
        "P5": (("X-Access-Token", token),),
        "P5 as a key": (("X-API-Key", token),),
        "P6": (("X-Access-Token", w.foreign["envdAccessToken"]),),
        "P9": (("e2b-traffic-access-token", w.private["trafficAccessToken"]),),
        "P10": (("X-Admin-Token", w.admin),),
        "P10 for its team": (("X-Admin-Token", w.admin), ("X-Team-ID", "team-a")),
        "P10 for another": (("X-Admin-Token", w.admin), ("X-Team-ID", "team-b")),
    }
    return many


def api_expected(method, path, who):
    """The status that `who` is to get for a sandbox of team A, or for what does not exist."""
    auth, status, *early = API[method, path]
    foreign = early[0] if early else 404 if "{sandboxID}" in path else status
    if auth == NONE:
        return status
    if auth == SESSION:  # each key has its own, and the operator none
        return status if who[:2] in ("P2", "P3") else 401
    if who.startswith("P10"):
        return operator_expected(path, auth, status, foreign, who)
    if auth == BEARER or who[:2] not in ("P2", "P3"):
        return 401
    if auth == ADMIN:
        return 403
    return status if who == "P2" else foreign


def operator_expected(path, auth, status, foreign, who):
    needs_team = auth in (KEY, BEARER) and "{sandboxID}" not in path or path.startswith("/api-keys")
    if who == "P10" and needs_team:
        return 400
    return foreign if who == "P10 for another" else status


def is_allowed(expected):
    return expected not in (401, 403, 404)


def api_cases(w, kinds=KINDS[:4], principals=None):
    for (method, path) in API:
        for who, headers in api_principals(w).items():
            if principals and who not in principals:
                continue
            expected = api_expected(method, path, who)
            if (method, path) in DESTRUCTIVE and is_allowed(expected):
                continue
            for kind in kinds:
                if kind == "h2-websocket" and method != "GET":
                    continue
                yield Case(who, method, fill(path, w.private["sandboxID"]), expected, headers,
                           kind=kind)


def test_every_route_has_its_row():
    there = routes.api_routes()
    assert len(there) > 60
    assert there == {route: row[0] for route, row in API.items()}
    assert routes.envd_routes() == set(ENVD)
    assert routes.control_paths() == CONTROL


def test_api_routes_by_principal_and_kind(world):
    check(world, "API", api_cases(world))


def test_api_over_tls(world):
    check(world, "API over TLS", api_cases(world, ("tls-h1", "tls-h2"), ("P0", "P2", "P3", "P4")))


def api_spellings(path):
    first, _, rest = path[1:].partition("/")
    behind = f"/{rest}" if rest else ""
    return (f"/{path}", f"/.{path}", f"/x/..{path}", f"/%{ord(first[0]):02x}{first[1:]}{behind}",
            f"{path}/", f"/{first.upper()}{behind}", f"{path};a", f"{path}%00", f"{path}%2f",
            f"{path}?x=%6e", f"{path}?", f"http://localhost{path}", f"http://localhost/{path}")


def spelled_expected(w, method, spelling, who):
    """Nothing is decoded or cleaned: a spelling is of another path, or in a parameter another value."""
    path = spelling.removeprefix("http://localhost").partition("?")[0]
    row = routes.row_of(method, path)
    if isinstance(row, int):
        return row
    expected = api_expected(method, row, who)
    is_known = expected in (401, 403)
    if "{sandboxID}" in row and w.private["sandboxID"] not in path.split("/") and not is_known:
        return 400
    return 400 if row == "/sandboxes/metrics" and not is_known else expected  # it is without ids


def api_spelling_cases(w):
    for (method, path) in API:
        plain = fill(path, w.private["sandboxID"]).partition("?")[0]
        for spelling in api_spellings(plain):
            for who in ("P0", "P2", "P3"):
                expected = spelled_expected(w, method, spelling, who)
                if (method, path) in DESTRUCTIVE and expected in (200, 204):
                    continue
                yield Case(f"{who} spelled", method, spelling, expected, api_principals(w)[who])


def test_api_spellings(world):
    check(world, "API spellings", api_spelling_cases(world))


def api_method_cases(w):
    """A method that a path does not have is not allowed to anybody."""
    paths = {path for _, path in API}
    for path in paths:
        mine = fill(path, w.private["sandboxID"])
        for method in METHODS:
            if routes.row_of(method, mine.partition("?")[0]) != 405:
                continue
            for who in ("P0", "P2", "P10"):
                yield Case(who, method, mine, 405, api_principals(w)[who])


def test_api_methods(world):
    check(world, "API methods", api_method_cases(world))


def host_cases(w):
    """Ways to name the API's own host."""
    mine = f"/sandboxes/{w.private['sandboxID']}"
    hosts = {f"api.{DOMAIN}": True, f"API.{DOMAIN.upper()}": True, f"api.{DOMAIN}.": True,
             f"api.{DOMAIN}:{w.broker.port}": True, f"x@api.{DOMAIN}": False, DOMAIN: True,
             f"api.{DOMAIN}\r\nHost: api.{DOMAIN}": False, "": True, f"api.{DOMAIN}:0x1": False,
             f"api.{DOMAIN}:": False, f"api..{DOMAIN}": False, f"api-x.{DOMAIN}": False}
    for host, is_good in hosts.items():
        for who, status in (("P0", 401), ("P2", 200), ("P3", 404)):
            yield Case(f"{who} by host", "GET", mine, status if is_good else 400,
                       api_principals(w)[who], host)
    for target, is_good in ((f"http://api.{DOMAIN}{mine}", True), (f"http://other{mine}", False),
                            (f"http://x@api.{DOMAIN}{mine}", False), (f"ftp://api.{DOMAIN}{mine}", False)):
        for who, status in (("P0", 401), ("P2", 200), ("P3", 404)):
            yield Case(f"{who} absolute", "GET", target, status if is_good else 400,
                       api_principals(w)[who], f"api.{DOMAIN}")


def test_api_hosts(world):
    check(world, "API hosts", host_cases(world))


def test_nothing_else_is_behind_the_door(world):
    """The scheduler's own services and envd's are no paths of the control API."""
    paths = ["/scheduler.Scheduler/Authenticate", "/scheduler.Scheduler/CreateKey", "/metrics", "/envs",
             "/init", "/files/compose", "/process.Process", "/v2/nodes", "/admin", "/api/v1/session", "/"]
    check(world, "no such paths", (
        Case(who, method, path, 404, headers, kind=kind)
        for path in paths for method in ("GET", "POST")
        for who, headers in api_principals(world).items() for kind in ("h1", "h2")))


def test_destructive_routes_serve_those_who_may(world):
    """In this order, on a sandbox for each: its tokens are changed, it is killed, it is gone."""
    for kind in ("h1", "upgrade", "h2", "tls-h1", "tls-h2"):
        for who in ("P2", "P10", "P10 for its team"):
            mine = f"/sandboxes/{world.create(secure=True)['sandboxID']}"
            for method, path, status in (("POST", f"{mine}/rotate-tokens", 200),
                                         ("DELETE", mine, 204), ("GET", mine, 404)):
                check(world, f"{who} {method}", [Case(who, method, path, status,
                                                      api_principals(world)[who], kind=kind)])


# ---- not yours, and not there ------------------------------------------------------------------


def test_not_yours_reads_like_not_there(world):
    """In status and body, for each route and each kind of absence; nothing of A's is told to B."""
    ids = {"not yours": world.private["sandboxID"], "open, not yours": world.open["sandboxID"],
           "ended": world.ended["sandboxID"], "never": NOBODY,
           "client id": f"{world.private['sandboxID']}-{world.private['clientID']}"}
    cases = [Case(f"P3 {what}", method, fill(path, i), api_expected(method, path, "P3"),
                  api_principals(world)["P3"], kind=kind)
             for (method, path) in API if "{sandboxID}" in path
             for what, i in ids.items() for kind in ("h1", "upgrade", "h2")]
    bodies = {}
    for r in check(world, "not yours", cases):
        body = r.body.decode()
        for i in sorted(ids.values(), key=len, reverse=True):
            body = body.replace(i, "ID")
            r.case = replace(r.case, target=r.case.target.replace(i, "ID"))
        bodies.setdefault((r.case.method, r.case.target), set()).add((r.status, body))
    assert {k: v for k, v in bodies.items() if len(v) > 1} == {}


def test_lists_of_a_team_are_its_own(world):
    cases = [Case("P3", method, fill(path, world.private["sandboxID"]),
                  api_expected(method, path, "P3"), api_principals(world)["P3"])
             for (method, path), row in API.items() if row[0] == KEY and method == "GET"
             and "{sandboxID}" not in path]
    for r in check(world, "lists of B", cases):
        for box in (world.private, world.public, world.open):
            assert box["sandboxID"].encode() not in r.body, r


async def sample(door, cases, rounds):
    """Seconds of each case, asked in turn and in changing order on one connection."""
    times = [[] for _ in cases]
    connection = Http1(door, "h1")
    for _ in range(rounds):
        for i in random.sample(range(len(cases)), len(cases)):
            begun = time.perf_counter()
            status, _ = await connection.ask(cases[i])
            times[i].append(time.perf_counter() - begun)
            assert status == cases[i].expected
    connection.close()
    return times


def quick(times):
    """The median of the quicker half: what the machine does beside only makes times longer."""
    return statistics.median(sorted(times)[:len(times) // 2])


@pytest.mark.parametrize("method, path", [("GET", "/sandboxes/{sandboxID}"),
                                          ("DELETE", "/sandboxes/{sandboxID}"),
                                          ("GET", "/v2/sandboxes/{sandboxID}/logs"),
                                          ("GET", "/sandboxes/{sandboxID}/metrics")])
def test_not_yours_takes_as_long_as_not_there(world, method, path):
    """A difference that is there is there each time: one round within the bound refutes it."""
    cases = [Case("P3", method, fill(path, i), 404, api_principals(world)["P3"])
             for i in (world.private["sandboxID"], NOBODY)]
    seen = []
    for _ in range(6):
        yours, nobodys = map(quick, asyncio.run(sample(world.broker.door(), cases, 250)))
        seen.append(abs(yours - nobodys) / min(yours, nobodys))
        if seen[-1] < 0.10:
            break
    print(f"{method} {path}: not yours {yours * 1e6:.0f} us, not there {nobodys * 1e6:.0f} us")
    assert min(seen) < 0.10, seen


# ---- the data plane: envd's port ---------------------------------------------------------------


def leads_to(sandbox, port=49983):
    return (("E2b-Sandbox-Id", sandbox["sandboxID"]), ("E2b-Sandbox-Port", str(port)))


def host_of(sandbox, port=49983):
    return f"{port}-{sandbox['sandboxID']}.{DOMAIN}"


def envd_principals(w, sandbox):
    """name: credentials, for envd of @sandbox"""
    token = sandbox.get("envdAccessToken", "no token")
    return {
        "P0": (),
        "P1 empty": (("X-Access-Token", ""),),
        "P1 short": (("X-Access-Token", token[:-1]),),
        "P1 long": (("X-Access-Token", token + "0"),),
        "P1 upper case": (("X-Access-Token", token.swapcase()),),
        "P1 twice": (("X-Access-Token", token), ("X-Access-Token", token)),
        "P1 false and right": (("X-Access-Token", "x"), ("X-Access-Token", token)),
        "P1 bearer": (("Authorization", f"Bearer {token}"),),
        "P2": (("X-API-Key", w.key_a),),
        "P2 as a token": (("X-Access-Token", w.key_a),),
        "P3": (("X-API-Key", w.key_b),),
        "P4": (("X-API-Key", w.key_revoked),),
        "P5": (("X-Access-Token", token),),
        "P6": (("X-Access-Token", w.foreign["envdAccessToken"]),),
        "P9": (("e2b-traffic-access-token", w.private["trafficAccessToken"]),),
        "P9 as a token": (("X-Access-Token", w.private["trafficAccessToken"]),),
        "P10": (("X-Admin-Token", w.admin),),
        "P10 as a token": (("X-Access-Token", w.admin),),
    }


def envd_expected(row, who, is_open):
    auth, status = row
    if auth in (OPEN, HOST_ONLY) or is_open or who == "P5":
        return status
    return 401


def envd_target(path):
    return path + ("?path=/tmp/file" if path == "/files" else "")


def envd_cases(w, sandboxes, kinds=KINDS[:4]):
    for sandbox in sandboxes:
        is_open = "envdAccessToken" not in sandbox
        for (method, path), row in ENVD.items():
            for who, headers in envd_principals(w, sandbox).items():
                for kind in kinds:
                    if kind == "h2-websocket" and method != "GET":
                        continue
                    yield Case(who, method, envd_target(path), envd_expected(row, who, is_open),
                               headers + leads_to(sandbox), kind=kind)


def test_envd_routes_by_principal_and_kind(world):
    check(world, "envd", envd_cases(world, [world.private, world.open]))


def test_envd_over_tls(world):
    check(world, "envd over TLS", envd_cases(world, [world.public], ("tls-h1", "tls-h2")))


def envd_method_cases(w):
    for path in sorted({path for _, path in ENVD} | {"/nothing", "/process.Process/Nothing"}):
        for method in METHODS:
            if (method, path) in ENVD:
                continue
            for who in ("P0", "P2", "P5", "P6"):
                status = 401 if who != "P5" else 404 if "othing" in path else 405
                yield Case(who, method, envd_target(path), 404 if path in CONTROL else status,
                           envd_principals(w, w.public)[who] + leads_to(w.public))


def test_envd_methods(world):
    check(world, "envd methods", envd_method_cases(world))


def control_spellings(path):
    """Spellings of a control path (refused by the broker), and those of another path (envd's)."""
    name = path[1:]
    encoded = f"%{ord(name[0]):02x}{name[1:]}"
    same = [path, f"/{path}", f"/.{path}", f"/x/..{path}", f"/{encoded}", f"{path}/", f"{path}?x",
            f"/..{path}", f"/x/%2e%2e{path}", f"{path}/.", f"//x/..{path}//", f"{path}%2f",
            f"%2f{name}" and f"/%2f{name}", f"http://localhost{path}"]
    malformed = [f"{path}%00", f"{path}%", f"{path}%zz", f"http://x@localhost{path}",
                 f"http://other{path}"]
    other = [path.upper(), f"{path};a", f"{path}%20", f"{path}.", f"{path}%3fx", f"{path}%5c"]
    return same, malformed, other


def control_cases(w):
    for path in CONTROL:
        same, malformed, other = control_spellings(path)
        for who in ("P0", "P1 twice", "P2", "P3", "P5", "P6", "P9", "P10"):
            for sandbox in (w.private, w.open):
                credentials = envd_principals(w, sandbox)[who] + leads_to(sandbox)
                missing = 404 if who == "P5" or sandbox is w.open else 401
                for kind in ("h1", "upgrade", "h2"):
                    for status, targets in ((404, same), (400, malformed), (missing, other)):
                        for target in targets:
                            if kind != "h2" or target.startswith("/"):
                                yield Case(who, "POST", target, status, credentials, kind=kind)


def test_control_routes_are_nobodys(world):
    check(world, "envd control routes", control_cases(world))
    check(world, "still secured", [Case("P0", "GET", "/envs", 401, leads_to(world.private))])


def spelled_cases(w):
    """/envs in other spellings is /envs, with what that asks for."""
    targets = ["//envs", "/./envs", "/x/../envs", "/%65nvs", "/envs/", "/envs?x", "/envs%2f"]
    for target in targets:
        for who in ("P0", "P2", "P5", "P6", "P10"):
            for kind in ("h1", "upgrade", "h2"):
                yield Case(who, "GET", target, 200 if who == "P5" else 401,
                           envd_principals(w, w.private)[who] + leads_to(w.private), kind=kind)


def test_envd_spellings(world):
    check(world, "envd spellings", spelled_cases(world))


# ---- the data plane: hosts and ports -----------------------------------------------------------


ODD_PORTS = ["049983", "+49983", "49983.0", "0xc33f", "-49983", "115519", "0", "65536", "49983,49983",
             "4 9983", "49983;", "49_983", "99999999999999999999", "%34%399983", "49983e0", "\xb2"]


def port_cases(w):
    for port in ODD_PORTS:
        for who in ("P0", "P2", "P5", "P10"):
            credentials = envd_principals(w, w.private)[who]
            for method, path in (("GET", "/envs"), ("POST", "/init")):
                yield Case(who, method, path, 400, credentials + leads_to(w.private, port))
                yield Case(who, method, path, 400, credentials, host_of(w.private, port))
                if port.isascii() and " " not in port:
                    yield Case(who, method, path, 400, credentials + leads_to(w.private, port),
                               kind="h2")
                    yield Case(who, method, path, 400, credentials, host_of(w.private, port), "h2")


def test_ports_are_spelled_in_one_way(world):
    check(world, "port spellings", port_cases(world))


def address_cases(w):
    """Ways to name a sandbox: expected are whether it is reached, or refused with 400."""
    box, name = w.private["sandboxID"], host_of(w.private)
    good = [name, name.upper().replace(box.upper(), box), f"{name}.", f"{name}:{w.broker.port}",
            name.replace(box, f"{box}-{w.private['clientID']}")]
    bad = [f"x@{name}", name.replace(box, box.upper()), f"{name}\r\nHost: {name}",
           f"{name}\r\nHost: localhost", f"a.{name}", f"-{box}.{DOMAIN}", f"49983-.{DOMAIN}",
           f"49983--{box}.{DOMAIN}", f"49983-{box}..{DOMAIN}", f"[{name}]", f"{name}:", f"{name} x",
           name.replace(box, box + "%00")]
    for who, status in (("P0", 401), ("P2", 401), ("P5", 200), ("P6", 401), ("P10", 401)):
        credentials = envd_principals(w, w.private)[who]
        for host in good + bad:
            yield Case(who, "GET", "/envs", status if host in good else 400, credentials, host)
        for target, is_good in ((f"http://{name}/envs", True), ("http://localhost/envs", False),
                                (f"http://{host_of(w.open)}/envs", False)):
            yield Case(who, "GET", target, status if is_good else 400, credentials, name)
        for more, is_good in ((leads_to(w.private), True), (leads_to(w.open), False),
                              (leads_to(w.private, PORT), False),
                              (leads_to(w.private) + leads_to(w.private), False)):
            yield Case(who, "GET", "/envs", status if is_good else 400, credentials + more, name)
        for half in leads_to(w.private):
            yield Case(who, "GET", "/envs", 400, credentials + (half,))
        twice = leads_to(w.private) + leads_to(w.open)
        yield Case(who, "GET", "/envs", 400, credentials + twice)
        yield Case(who, "GET", "/envs", 400, credentials + twice, kind="h2")


def test_hosts_and_headers_name_one_sandbox(world):
    check(world, "addresses", address_cases(world))


def port_expected(sandbox, port, has_traffic_token):
    """User ports: closed to strangers where they are private, else what is behind them."""
    if port in (1024, 1025, 1026):
        return 404
    if sandbox.get("trafficAccessToken") and not has_traffic_token:
        return 403
    if port == 49999:
        return 404  # the code interpreter, which has nothing at "/"
    return 200 if port == PORT else 502


def user_port_cases(w, kinds=KINDS[:3]):
    for sandbox in (w.private, w.public, w.open):
        principals = dict(envd_principals(w, sandbox))
        principals["P1 traffic"] = (("e2b-traffic-access-token", "x"),)
        principals["P1 traffic, empty"] = (("e2b-traffic-access-token", ""),)
        principals["P5 as traffic"] = (("e2b-traffic-access-token",
                                        sandbox.get("envdAccessToken", "x")),)
        for who, headers in principals.items():
            for port in (PORT, PORT + 1, 49999, 1024, 1025, 1026):
                expected = port_expected(sandbox, port, who == "P9")
                for kind in kinds:
                    yield Case(who, "GET", "/", expected, headers + leads_to(sandbox, port), kind=kind)
                yield Case(who, "GET", "/", expected, headers, host_of(sandbox, port))


def test_user_ports_and_reserved_ports(world):
    for r in check(world, "ports", user_port_cases(world)):
        assert r.status != 200 or r.body == PAGE
        assert PAGE not in r.body or r.status == 200


def test_sandboxes_that_are_not_there(world):
    """Nobody's id, an ended one's, on every port: one answer to everybody."""
    cases = []
    for i in (NOBODY, world.ended["sandboxID"]):
        for who, headers in envd_principals(world, world.private).items():
            for port in (49983, PORT, 49999):
                for kind in ("h1", "upgrade", "h2"):
                    cases.append(Case(who, "GET", "/envs", 502,
                                      headers + leads_to({"sandboxID": i}, port), kind=kind))
    bodies = {r.body.replace(world.ended["sandboxID"].encode(), NOBODY.encode())
              for r in check(world, "not there", cases)}
    assert len(bodies) == 1


# ---- signatures --------------------------------------------------------------------------------


def signature_cases(w, kinds=("h1", "upgrade", "h2")):
    """P7 and P8, addressed to the sandbox, so that envd decides."""
    soon, long_ago = int(time.time()) + 600, int(time.time()) - 600
    read = signature(w.private, "/tmp/file", "read")
    timed = signature(w.private, "/tmp/file", "read", soon)
    good = [read, timed, signature(w.private, "/tmp/file", "read", user="root")]
    bad = [signature(w.private, "/tmp/file", "write"), read.replace("/tmp/file", "/tmp/other"),
           signature(w.private, "/tmp/file", "read", long_ago), read[:-1] + "!", read[:-4],
           timed.replace(str(soon), str(soon + 1)), timed.partition("&signature_expiration")[0],
           read + f"&signature_expiration={soon}", read + "&username=root",
           signature(w.foreign, "/tmp/file", "read"), signature(w.public, "/tmp/file", "read"),
           read.replace("v1_", "v2_"), read.replace("v1_", ""), "path=/tmp/file&signature=",
           timed.replace(str(soon), f"{soon}x"), f"path=/tmp/other&{read}"]
    to = leads_to(w.private)
    for kind in kinds:
        for query in good:
            yield Case("P7", "GET", f"/files?{query}", 200, to, kind=kind)
            yield Case("P7 with a token", "GET", f"/files?{query}", 200,
                       to + envd_principals(w, w.private)["P5"], kind=kind)
            for path in ("/envs", "/metrics", "/files/compose", "/process.Process/List", "/files/x"):
                method = "GET" if path in ("/envs", "/metrics") else "POST"
                yield Case("P7 elsewhere", method, f"{path}?{query}", 401, to, kind=kind)
            yield Case("P7 writes", "POST", f"/files?{query}", 401, to, kind=kind)
            yield Case("P7 control", "POST", f"/init?{query}", 404, to, kind=kind)
            yield Case("P7 at another", "GET", f"/files?{query}", 401, leads_to(w.public), kind=kind)
            yield Case("P7 at the API", "GET", f"/v2/sandboxes?{query}", 401, kind=kind)
        for query in bad:
            yield Case("P8", "GET", f"/files?{query}", 401, to, kind=kind)
        # the first of two is the one that counts
        yield Case("P7 and another", "GET", f"/files?{read}&path=/tmp/other", 200, to, kind=kind)


def test_signatures(world):
    for r in check(world, "signatures", signature_cases(world)):
        assert r.status != 200 or r.body == PAGE, r


def test_signatures_without_an_address(world):
    """Found by the signature alone; wrong ones are few here, as guessing is limited."""
    read = signature(world.private, "/tmp/file", "read")
    cases = [Case("P7", "GET", f"/files?{read}", 200, kind=kind) for kind in KINDS]
    cases += [Case("P8", "GET", f"/files?{q}", 401) for q in (
        signature(world.private, "/tmp/file", "write"), read.replace("file", "other"),
        signature(world.private, "/tmp/file", "read", 1), "signature=", read.replace("v1_", "v2_"))]
    cases += [Case("P8", method, f"{path}?{read}", 404) for method, path in (
        ("GET", "//files"), ("GET", "/files/"), ("GET", "/%66iles"), ("GET", "/init"),
        ("PUT", "/files"), ("DELETE", "/files"), ("GET", "/envs"))]
    check(world, "signatures alone", cases)


# ---- tokens without an address -----------------------------------------------------------------


def by_token_expected(w, method, path, headers):
    """Older clients name the sandbox by its token alone: for services, files and health, only with
    exactly one. Otherwise the control API answers, which has none of these paths but /health."""
    tokens = [value for name, value in headers if name == "X-Access-Token"]
    if len(tokens) != 1 or not tokens[0] or not path.startswith(
            ("/process.Process/", "/filesystem.Filesystem/", "/files?", "/health")):
        return 204 if path == "/health" else 404
    if tokens[0] == w.foreign["envdAccessToken"]:
        return 404 if path.startswith("/files?") and method == "GET" else ENVD_BARE[method, path]
    return ENVD_BARE[method, path] if tokens[0] == w.private["envdAccessToken"] else 502


ENVD_BARE = {(method, envd_target(path)): row[1] for (method, path), row in ENVD.items()}


def test_tokens_without_an_address(world):
    """P5 and P6 reach each their own sandbox."""
    results = check(world, "tokens alone", (
        Case(who, method, target, by_token_expected(world, method, target, headers), headers,
             kind=kind)
        for method, target in ENVD_BARE
        for who, headers in envd_principals(world, world.private).items()
        for kind in ("h1", "upgrade", "h2", "tls-h1", "tls-h2")))
    for r in results:
        assert PAGE not in r.body or r.case.name == "P5", r


# ---- from inside -------------------------------------------------------------------------------


INSIDE = """
import glob, os, socket
for port in (49983, 49999, 1024, 1025, 1026, {broker}, {tls}):
    for address in ("127.0.0.1", "::1"):
        try:
            socket.create_connection((address, port), timeout=2).close()
            print("reached", address, port)
        except OSError:
            pass
for line in open("/proc/net/unix"):
    path = line.split()[-1]
    if path.startswith("/") and os.path.exists(path):
        print("socket", path)
print("done")
"""


def test_a_process_inside_reaches_nothing(world):
    """P12: envd listens on no port and no path that is seen inside, and the broker is not there."""
    from e2b import Sandbox
    script = INSIDE.format(broker=world.broker.port, tls=world.broker.tls_port)
    box = Sandbox.connect(world.public["sandboxID"], api_key=world.key_a,
                          api_url=world.broker.url, sandbox_url=world.broker.url)
    box.files.write("/tmp/inside.py", script)
    for user in ("user", "root"):
        assert box.commands.run("python3 /tmp/inside.py", user=user).stdout == "done\n"


def test_an_own_scheduler_is_behind_a_socket_of_its_owner(broker):
    [socket] = (broker.state / "state").glob("**/scheduler.sock")
    assert os.stat(socket).st_mode & 0o777 == 0o600


# ---- without the scheduler ---------------------------------------------------------------------


def softened(cases):
    """The same, or 503 for what has to ask the scheduler: nothing else, nothing more."""
    for case in cases:
        right = case.expected if isinstance(case.expected, (set, frozenset)) else {case.expected}
        unavailable = 500 if case.target.startswith("/api/v1/session/") else 503
        yield replace(case, expected=frozenset(right | {unavailable}))


def data_plane_cases(w):
    yield from envd_cases(w, [w.private], ("h1", "h2"))
    yield from user_port_cases(w, ("h1", "upgrade"))
    yield from signature_cases(w, ("h1",))


NOT_ASKING = ("P0", "P1 short", "P1 upper case", "P1 false operator", "P5", "P5 as a key", "P9")


def without_scheduler(w):
    check(w, "data plane, no scheduler", data_plane_cases(w))
    check(w, "API, no scheduler", api_cases(w, ("h1", "upgrade", "h2"), NOT_ASKING))
    check(w, "API, no scheduler", softened(api_cases(
        w, ("h1", "h2"), ("P2", "P3", "P4", "P10", "P10 for another"))), workers=60)
    revoked = Case("P4", "GET", "/v2/sandboxes", 503, api_principals(w)["P4"])
    check(w, "revoked, no scheduler", [revoked])


def test_nothing_opens_while_the_scheduler_is_stopped(world):
    world.broker.scheduler.stop()
    try:
        without_scheduler(world)
    finally:
        world.broker.scheduler.go_on()
    as_before(world)


def test_nothing_opens_when_the_scheduler_is_gone(world):
    world.broker.scheduler.kill()
    try:
        without_scheduler(world)
    finally:
        world.broker.scheduler.start()
    as_before(world)


def as_before(w):
    wait_for(lambda: api(w.broker, "GET", "/v2/sandboxes", key=w.key_revoked).status == 401, 20,
             "the scheduler's answer")
    check(w, "API, again", api_cases(w, ("h1",), ("P0", "P2", "P3", "P4")))

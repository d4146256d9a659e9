# SPDX-License-Identifier: Apache-2.0
"""The routes that there are, from the product's own tables, and what each is to answer to whom.

`broker/api/api_routes.c`, `envd/routes.c` and `proto/*.proto` say which routes exist. What they are to
answer stands here, once more and independently: a route without a row here, or a row without a route,
fails the test.
"""

import re
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
NONE, KEY, BEARER, ADMIN, SESSION = "none", "key", "bearer", "admin", "session"
NOT_BUILT = 501

# (method, path): who may call it, and the answer to a request without a body of those who may.
# A path with {sandboxID} speaks of a sandbox of the caller's; other parameters name nothing there is.
# A third figure: what is said before the sandbox is looked for, so to another team as well.
API = {
    ("GET", "/health"): (NONE, 204),
    ("POST", "/sandboxes"): (KEY, 400),
    ("POST", "/v2/sandboxes"): (KEY, 400),
    ("GET", "/sandboxes"): (KEY, 200),
    ("GET", "/v2/sandboxes"): (KEY, 200),
    ("GET", "/sandboxes/metrics"): (KEY, 200),
    ("GET", "/sandboxes/{sandboxID}"): (KEY, 200),
    ("DELETE", "/sandboxes/{sandboxID}"): (KEY, 204),
    ("POST", "/sandboxes/{sandboxID}/connect"): (KEY, 400, 400),
    ("POST", "/v2/sandboxes/{sandboxID}/connect"): (KEY, 200),
    ("POST", "/sandboxes/{sandboxID}/resume"): (KEY, 409),
    ("POST", "/sandboxes/{sandboxID}/timeout"): (KEY, 400, 400),
    ("POST", "/sandboxes/{sandboxID}/refreshes"): (KEY, 204),
    ("GET", "/sandboxes/{sandboxID}/metrics"): (KEY, 200),
    ("GET", "/sandboxes/{sandboxID}/logs"): (KEY, 200),
    ("GET", "/v2/sandboxes/{sandboxID}/logs"): (KEY, 200),
    ("POST", "/sandboxes/{sandboxID}/pause"): (KEY, NOT_BUILT, NOT_BUILT),
    ("PUT", "/sandboxes/{sandboxID}/network"): (KEY, 204),
    ("POST", "/sandboxes/{sandboxID}/rotate-tokens"): (KEY, 200),
    ("POST", "/sandboxes/{sandboxID}/snapshots"): (KEY, NOT_BUILT, NOT_BUILT),
    ("GET", "/snapshots"): (KEY, NOT_BUILT),
    ("POST", "/sandboxes/{sandboxID}/fork"): (KEY, NOT_BUILT, NOT_BUILT),
    ("POST", "/templates"): (KEY, NOT_BUILT),
    ("POST", "/v2/templates"): (KEY, NOT_BUILT),
    ("POST", "/v3/templates"): (KEY, NOT_BUILT),
    ("GET", "/templates"): (KEY, 200),
    ("GET", "/v2/templates"): (KEY, 200),
    ("POST", "/templates/tags"): (KEY, NOT_BUILT),
    ("DELETE", "/templates/tags"): (KEY, NOT_BUILT),
    ("GET", "/templates/aliases/{alias}"): (KEY, 404),
    ("GET", "/templates/{templateID}"): (KEY, 404),
    ("POST", "/templates/{templateID}"): (KEY, NOT_BUILT),
    ("PATCH", "/templates/{templateID}"): (KEY, NOT_BUILT),
    ("PATCH", "/v2/templates/{templateID}"): (KEY, NOT_BUILT),
    ("DELETE", "/templates/{templateID}"): (KEY, NOT_BUILT),
    ("GET", "/templates/{templateID}/tags"): (KEY, NOT_BUILT),
    ("GET", "/templates/{templateID}/files/{hash}"): (KEY, NOT_BUILT),
    ("POST", "/templates/{templateID}/builds/{buildID}"): (KEY, NOT_BUILT),
    ("POST", "/v2/templates/{templateID}/builds/{buildID}"): (KEY, NOT_BUILT),
    ("GET", "/templates/{templateID}/builds/{buildID}/status"): (KEY, NOT_BUILT),
    ("GET", "/templates/{templateID}/builds/{buildID}/logs"): (KEY, NOT_BUILT),
    ("GET", "/teams"): (BEARER, NOT_BUILT),
    ("GET", "/teams/{teamID}/metrics"): (KEY, NOT_BUILT),
    ("GET", "/teams/{teamID}/metrics/max"): (KEY, NOT_BUILT),
    ("GET", "/api-keys"): (ADMIN, 200),
    ("POST", "/api-keys"): (ADMIN, 400),
    ("PATCH", "/api-keys/{id}"): (ADMIN, 404),
    ("DELETE", "/api-keys/{id}"): (ADMIN, 404),
    ("POST", "/access-tokens"): (BEARER, NOT_BUILT),
    ("DELETE", "/access-tokens/{id}"): (BEARER, NOT_BUILT),
    ("GET", "/volumes"): (KEY, NOT_BUILT),
    ("POST", "/volumes"): (KEY, NOT_BUILT),
    ("GET", "/volumes/{id}"): (KEY, NOT_BUILT),
    ("DELETE", "/volumes/{id}"): (KEY, NOT_BUILT),
    ("GET", "/volumecontent/{id}/path"): (BEARER, NOT_BUILT),
    ("PATCH", "/volumecontent/{id}/path"): (BEARER, NOT_BUILT),
    ("DELETE", "/volumecontent/{id}/path"): (BEARER, NOT_BUILT),
    ("GET", "/volumecontent/{id}/dir"): (BEARER, NOT_BUILT),
    ("POST", "/volumecontent/{id}/dir"): (BEARER, NOT_BUILT),
    ("GET", "/volumecontent/{id}/file"): (BEARER, NOT_BUILT),
    ("PUT", "/volumecontent/{id}/file"): (BEARER, NOT_BUILT),
    ("GET", "/secrets"): (KEY, NOT_BUILT),
    ("POST", "/secrets"): (KEY, NOT_BUILT),
    ("GET", "/secrets/{id}"): (KEY, NOT_BUILT),
    ("POST", "/secrets/{id}"): (KEY, NOT_BUILT),
    ("DELETE", "/secrets/{id}"): (KEY, NOT_BUILT),
    # the broker of the matrix has no template for sessions
    ("POST", "/api/v1/session/{sessionID}/sandbox/start"): (SESSION, 500),
    ("POST", "/api/v1/session/{sessionID}/sandbox/stop"): (SESSION, 204),
    ("GET", "/api/v1/session/{sessionID}/sandbox/status"): (SESSION, 200),
    ("POST", "/api/v1/session/{sessionID}/sandbox/execute"): (SESSION, 400),
    ("POST", "/api/v1/session/{sessionID}/sandbox/install"): (SESSION, 400),
    ("POST", "/api/v1/session/{sessionID}/sandbox/upload"): (SESSION, 404),
    ("GET", "/api/v1/session/{sessionID}/sandbox/download"): (SESSION, 404),
    ("GET", "/api/v1/session/{sessionID}/sandbox/files"): (SESSION, 404),
    ("GET", "/nodes"): (ADMIN, 200),
    ("GET", "/nodes/{id}"): (ADMIN, 404),
    ("POST", "/nodes/{id}"): (ADMIN, 400),
    ("GET", "/admin/sandboxes/running-counts"): (ADMIN, 200),
    ("POST", "/admin/teams/{id}/sandboxes/kill"): (ADMIN, 200),
    ("POST", "/admin/teams/{id}/builds/cancel"): (ADMIN, NOT_BUILT),
    ("POST", "/admin/teams/{id}/api-keys"): (ADMIN, 400),
    ("DELETE", "/admin/teams/{id}/api-keys/{keyID}"): (ADMIN, 404),
}
# They end or change the sandbox: those who may are tried on sandboxes of their own.
DESTRUCTIVE = {("DELETE", "/sandboxes/{sandboxID}"), ("POST", "/sandboxes/{sandboxID}/rotate-tokens")}

OPEN, TOKEN, SIGNATURE, HOST_ONLY = "open", "token", "signature", "host"

# The same for envd's port. `{file}` is a file that there is.
ENVD = {
    ("GET", "/health"): (OPEN, 204),
    ("GET", "/metrics"): (TOKEN, 200),
    ("GET", "/envs"): (TOKEN, 200),
    ("POST", "/init"): (HOST_ONLY, 404),
    ("GET", "/files"): (SIGNATURE, 200),
    ("POST", "/files"): (SIGNATURE, 400),
    ("POST", "/files/compose"): (TOKEN, 400),
}
RPC = (TOKEN, 415)
SERVICES = {
    "process.Process": ["List", "Connect", "Start", "Update", "StreamInput", "SendInput",
                        "SendSignal", "CloseStdin"],
    "filesystem.Filesystem": ["Stat", "MakeDir", "Move", "ListDir", "Remove", "WatchDir",
                              "CreateWatcher", "GetWatcherEvents", "RemoveWatcher"],
}
ENVD.update({("POST", f"/{s}/{m}"): RPC for s, methods in SERVICES.items() for m in methods})
# Of the contract; envd has only the first of them.
CONTROL = ["/init", "/freeze", "/unfreeze", "/collapse", "/fsfreeze", "/fsthaw", "/upgrade"]


def rows(path, pattern):
    return re.findall(pattern, (REPO / path).read_text(), re.M)


def api_routes():
    """{(method, path): class} as the broker has them."""
    found = rows("broker/api/api_routes.c", r'^    (?:ROUTE|LATER)\((\w+), "([^"]+)", (\w+),')
    return {(method, path): auth.lower() for method, path, auth in found}


def envd_routes():
    """{(method, path)} as envd has them, each method of a service by its own path."""
    found = rows("envd/routes.c", r'^    \{"([^"]+)", HTTP_(\w+), AUTH_\w+, (\w+),')
    plain = {(method, path) for path, method, handler in found if handler != "NULL"}
    services = [path.strip("/") for path, _, handler in found if handler == "NULL"]
    for service in services:
        package, name = service.split(".")
        plain |= {("POST", f"/{service}/{m}")
                  for m in rows(f"proto/{package}.proto", r"^  rpc (\w+)\(")}
    return plain


def row_of(method, path):
    """The row's path for a path as it is sent: the one with most of it literal. A parameter is any one
    segment, nothing is decoded. Without a row for the method: 405 or 404."""
    segments = path.split("/")

    def fits(pattern):
        parts = pattern.split("/")
        return len(parts) == len(segments) and all(
            segment if part.startswith("{") else part == segment
            for part, segment in zip(parts[1:], segments[1:]))

    found = sorted(((p.count("{"), m, p) for m, p in API if fits(p)))
    mine = [p for _, m, p in found if m == method]
    return mine[0] if mine else 405 if found else 404


def control_paths():
    text = (REPO / "broker/edge/edge_target.c").read_text()
    body = re.search(r"envd_control_paths\[\] = \{(.*?)\}", text, re.S)[1]
    return re.findall(r'"([^"]+)"', body)

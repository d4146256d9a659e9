# SPDX-License-Identifier: Apache-2.0
"""Every answer of the control API, member by member, against the newest SDK's generated models."""

import datetime
import enum
import types
import typing
import urllib.parse
import uuid

import attrs
import pytest
from dateutil.parser import isoparse
from e2b.api.client import models
from e2b.api.client.types import Unset

from conftest import wait_for
from support import NOBODY, api

# Members that we add to the contract's.
OUR_OWN = {"isolation", "egressMode", "sandboxWarmCount"}
NETWORK = {"allowOut": ["example.com", "10.1.0.0/16"], "denyOut": ["0.0.0.0/0"],
           "allowPublicTraffic": False, "maskRequestHost": "a.example.com:${PORT}",
           "rules": {"example.com": [{"transform": {"headers": {"X-One": "1"}}}]}}
NEW = {"templateID": "base", "timeout": 120, "secure": True, "metadata": {"a": "b"},
       "envVars": {"A": "1"}, "allow_internet_access": False, "network": NETWORK}


def check_value(value, kind, where):
    """@value, of JSON, may stand where the SDK's model says @kind."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        kinds = [k for k in typing.get_args(kind) if k is not Unset]
        if value is None and type(None) in kinds:
            return
        failures = []
        for k in kinds:
            try:
                return check_value(value, k, where)
            except AssertionError as e:
                failures.append(str(e))
        raise AssertionError("; ".join(failures))
    if typing.get_origin(kind) is list:
        assert isinstance(value, list), f"{where}: {value!r} is no list"
        for i, item in enumerate(value):
            check_value(item, typing.get_args(kind)[0], f"{where}[{i}]")
    elif kind is datetime.datetime:
        assert isinstance(value, str) and value.endswith("Z"), f"{where}: {value!r}"
        assert isoparse(value).tzinfo is not None, f"{where}: {value!r}"
    elif kind is uuid.UUID:
        uuid.UUID(value)
    elif kind is float:
        assert isinstance(value, (int, float)) and not isinstance(value, bool), f"{where}: {value!r}"
    elif attrs.has(kind):
        check_model(value, kind, where)
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        assert value in [k.value for k in kind], f"{where}: {value!r} is no {kind.__name__}"
    elif kind is not typing.Any:
        assert type(value) is kind, f"{where}: {value!r} is no {kind.__name__}"


def member(field):
    """A field's name in JSON: cpu_count is cpuCount, template_id is templateID."""
    special = {"template_id": "templateID", "sandbox_id": "sandboxID", "client_id": "clientID",
               "build_id": "buildID", "memory_mb": "memoryMB", "disk_size_mb": "diskSizeMB",
               "disk_size_m_b": "diskSizeMB", "allow_internet_access": "allowInternetAccess"}
    first, *rest = field.split("_")
    return special.get(field, first + "".join(word.capitalize() for word in rest))


def check_model(doc, model, where=""):
    """@doc has every required member of @model, each member with its type, and no stranger."""
    where = where or model.__name__
    assert isinstance(doc, dict), f"{where}: {doc!r} is no object"
    hints = typing.get_type_hints(model, {**vars(models), "datetime": datetime, "UUID": uuid.UUID,
                                          "Unset": Unset})
    known = {member(f.name): f for f in attrs.fields(model) if f.name != "additional_properties"}
    if not known:  # a map: what its values are the model's own parser says
        model.from_dict(doc)
        return
    assert set(doc) - set(known) <= OUR_OWN, f"{where}: {set(doc) - set(known)} is not known"
    for name, f in known.items():
        if name in doc:
            check_value(doc[name], hints[f.name], f"{where}.{name}")
        else:
            assert f.default is not attrs.NOTHING, f"{where}.{name} is missing"
    model.from_dict(doc)


def ask(broker, method, path, body=None, status=200):
    answer = api(broker, method, path, body)
    assert answer.status == status, (method, path, answer.status, answer.text)
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    return answer.json()


@pytest.fixture(scope="module")
def made(broker):
    doc = ask(broker, "POST", "/sandboxes", NEW, 201)
    yield doc
    assert api(broker, "DELETE", f"/sandboxes/{doc['sandboxID']}").status == 204


@pytest.fixture(scope="module")
def path(made):
    return f"/sandboxes/{made['sandboxID']}"


def test_create_and_connect(broker, made, path):
    check_model(made, models.Sandbox)
    assert {"envdAccessToken", "trafficAccessToken", "domain", "alias"} <= set(made)
    for version, body in (("", {"timeout": 60}), ("/v2", {})):
        again = ask(broker, "POST", f"{version}{path}/connect", body)
        check_model(again, models.Sandbox)
        assert again == made
    v2 = ask(broker, "POST", "/v2/sandboxes", {"templateID": "base"}, 201)
    check_model(v2, models.Sandbox)
    assert "envdAccessToken" in v2
    assert api(broker, "DELETE", f"/sandboxes/{v2['sandboxID']}").status == 204


def test_detail(broker, made, path):
    doc = ask(broker, "GET", path)
    check_model(doc, models.SandboxDetail)
    assert doc["network"] == NETWORK
    assert doc["allowInternetAccess"] is False and doc["metadata"] == {"a": "b"}
    assert doc["lifecycle"] == {"autoResume": False, "onTimeout": "kill"}
    assert doc["volumeMounts"] == [] and doc["envdAccessToken"] == made["envdAccessToken"]
    assert "trafficAccessToken" not in doc
    plain = ask(broker, "POST", "/sandboxes", {"templateID": "base", "timeout": 60}, 201)
    doc = ask(broker, "GET", f"/sandboxes/{plain['sandboxID']}")
    check_model(doc, models.SandboxDetail)
    assert not {"network", "envdAccessToken", "allowInternetAccess"} & set(doc)
    assert doc["metadata"] == {}
    assert api(broker, "DELETE", f"/sandboxes/{plain['sandboxID']}").status == 204


@pytest.mark.parametrize("version", ["", "/v2"])
def test_list(broker, made, version):
    found = ask(broker, "GET", f"{version}/sandboxes?metadata=a%3Db")
    assert made["sandboxID"] in [doc["sandboxID"] for doc in found]
    for doc in found:
        check_model(doc, models.ListedSandbox)
        assert "envdAccessToken" not in doc and "network" not in doc


def test_metrics(broker, made, path):
    samples = wait_for(lambda: ask(broker, "GET", f"{path}/metrics"), 20, "a sample")
    for doc in samples:
        check_model(doc, models.SandboxMetric)
        assert int(isoparse(doc["timestamp"]).timestamp()) == doc["timestampUnix"]
    many = ask(broker, "GET", f"/sandboxes/metrics?sandbox_ids={made['sandboxID']},{NOBODY}")
    assert set(many) == {"sandboxes"} and set(many["sandboxes"]) == {made["sandboxID"]}
    check_model(many["sandboxes"][made["sandboxID"]], models.SandboxMetric)
    models.SandboxesWithMetrics.from_dict(many)


def test_logs(broker, path):
    doc = ask(broker, "GET", f"{path}/logs")
    check_model(doc, models.SandboxLogs)
    assert doc["logs"] and len(doc["logs"]) == len(doc["logEntries"])
    check_model(ask(broker, "GET", f"/v2{path}/logs"), models.SandboxLogsV2Response)


def test_templates(broker):
    for version in ("", "/v2"):
        found = ask(broker, "GET", f"{version}/templates")
        assert "base" in [alias for doc in found for alias in doc["aliases"]]
        for doc in found:
            check_model(doc, models.Template)
    check_model(ask(broker, "GET", "/templates/base"), models.TemplateWithBuilds)
    check_model(ask(broker, "GET", "/templates/aliases/base"), models.TemplateAliasResponse)


@pytest.mark.parametrize("method, path, body, status", [
    ("GET", f"/sandboxes/{NOBODY}", None, 404),
    ("DELETE", f"/sandboxes/{NOBODY}", None, 404),
    ("POST", f"/sandboxes/{NOBODY}/connect", {"timeout": 60}, 404),
    ("POST", f"/v2/sandboxes/{NOBODY}/connect", {}, 404),
    ("POST", f"/sandboxes/{NOBODY}/timeout", {"timeout": 60}, 404),
    ("POST", f"/sandboxes/{NOBODY}/refreshes", {}, 404),
    ("GET", f"/sandboxes/{NOBODY}/metrics", None, 404),
    ("GET", f"/sandboxes/{NOBODY}/logs", None, 404),
    ("PUT", f"/sandboxes/{NOBODY}/network", {}, 404),
    ("POST", "/sandboxes", {}, 400),
    ("POST", "/sandboxes", {"templateID": "none"}, 404),
    ("GET", "/v2/sandboxes?limit=0", None, 400),
    ("GET", "/templates/none", None, 404),
    ("GET", "/templates/aliases/none", None, 404),
    ("POST", f"/sandboxes/{NOBODY}/pause", {}, 501),
    ("GET", "/no/such/route", None, 404),
])
def test_errors(broker, method, path, body, status):
    doc = ask(broker, method, path, body, status)
    assert doc["code"] == status and doc["message"]
    models.Error.from_dict(doc)
    assert set(doc) <= {"code", "message", "error_code"}


ODD = ["", " ", "%", "%25", "%2", "+", "a+b", "a b", "a=b", "a==b", "a&b=c", "/", "\\", "\"", "'", "#?;,",
       "ä€😀", "%C3%A4", "\t\n\r", "\x7f", "\u2028", "{}", "[]", "null", "__", "a" * 1000]


def quoted(metadata):
    """As the SDKs write a filter: each key and value, their list, the query parameter."""
    q = urllib.parse.quote
    pairs = urllib.parse.urlencode({q(k, safe=""): q(v, safe="") for k, v in metadata.items()})
    return q(pairs, safe="")


def test_a_filter_means_exactly_what_was_given(broker):
    metadata = {f"{text}{i}": text for i, text in enumerate(ODD)}
    made = ask(broker, "POST", "/sandboxes",
               {"templateID": "base", "timeout": 60, "metadata": metadata}, 201)

    def found(pairs):
        return [doc["sandboxID"] for doc in
                ask(broker, "GET", "/v2/sandboxes?metadata=" + quoted(pairs))]

    assert ask(broker, "GET", f"/sandboxes/{made['sandboxID']}")["metadata"] == metadata
    for key, value in metadata.items():
        assert found({key: value}) == [made["sandboxID"]], (key, value)
        assert found({key: value + "x"}) == [], (key, value)
        for nul in ({key + "\0": value}, {key: value + "\0"}):  # no text of JSON has one
            assert ask(broker, "GET", "/v2/sandboxes?metadata=" + quoted(nul), status=400)
    assert found(dict(list(metadata.items())[:20])) == [made["sandboxID"]]
    assert api(broker, "DELETE", f"/sandboxes/{made['sandboxID']}").status == 204

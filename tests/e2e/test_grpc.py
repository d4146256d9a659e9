# SPDX-License-Identifier: Apache-2.0
"""gRPC itself: stubs generated from proto/, grpc's own client, HTTP/2 to the broker, cleartext."""

import base64
import importlib
import sys
import threading

import grpc
import pytest
from grpc_tools import protoc

from conftest import REPO, wait_for
from support import api, http_request


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    """(process_pb2, process_pb2_grpc, filesystem_pb2, filesystem_pb2_grpc)"""
    out = tmp_path_factory.mktemp("stubs")
    include = protoc.__file__.rsplit("/", 1)[0] + "/_proto"
    for name in ("process", "filesystem"):
        assert protoc.main(["protoc", f"-I{REPO}/proto", f"-I{include}", f"--python_out={out}",
                            f"--grpc_python_out={out}", f"{name}.proto"]) == 0
    sys.path.insert(0, str(out))
    yield [importlib.import_module(m) for m in ("process_pb2", "process_pb2_grpc",
                                                "filesystem_pb2", "filesystem_pb2_grpc")]
    sys.path.remove(str(out))


class Services:
    """The stubs of one sandbox, reached by its name as a gRPC client is told it."""

    def __init__(self, broker, stubs, sandbox_id, token, by_name=True, port=49983):
        domain = broker.env()["E2B_DOMAIN"].split(":")[0]
        options = [("grpc.enable_retries", 0)]
        self.metadata = [("x-access-token", token),
                         ("authorization", "Basic " + base64.b64encode(b"user:").decode())]
        if by_name:
            options.append(("grpc.default_authority", f"{port}-{sandbox_id}.{domain}"))
        else:
            self.metadata += [("e2b-sandbox-id", sandbox_id), ("e2b-sandbox-port", str(port))]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{broker.port}", options)
        self.p, process_grpc, self.f, filesystem_grpc = stubs
        self.process = process_grpc.ProcessStub(self.channel)
        self.files = filesystem_grpc.FilesystemStub(self.channel)

    def start(self, script, timeout=60, **more):
        config = self.p.ProcessConfig(cmd="/bin/sh", args=["-c", script])
        return self.process.Start(self.p.StartRequest(process=config, **more),
                                  metadata=self.metadata, timeout=timeout)

    def call(self, method, request, timeout=30):
        return method(request, metadata=self.metadata, timeout=timeout)


@pytest.fixture
def token(broker, sandbox):
    return api(broker, "GET", f"/sandboxes/{sandbox.sandbox_id}").json()["envdAccessToken"]


@pytest.fixture(params=["name", "metadata"])
def services(request, broker, stubs, sandbox, token):
    s = Services(broker, stubs, sandbox.sandbox_id, token, request.param == "name")
    yield s
    s.channel.close()


def refused(call):
    """(code, details) of a call that fails."""
    with pytest.raises(grpc.RpcError) as e:
        result = call()
        if not hasattr(result, "DESCRIPTOR"):
            list(result)
    return e.value.code(), e.value.details()


def test_a_command_with_its_output_and_end(services):
    events = [r.event for r in services.start("echo out; echo err >&2; exit 3")]
    assert [e.WhichOneof("event") for e in events][0] == "start"
    assert b"".join(e.data.stdout for e in events if e.HasField("data")) == b"out\n"
    assert b"".join(e.data.stderr for e in events if e.HasField("data")) == b"err\n"
    assert events[-1].end.exit_code == 3 and events[-1].end.exited


def test_much_output_comes_whole_and_in_order(services):
    lines = b"".join(r.event.data.stdout for r in services.start("seq 1 300000"))
    assert lines == b"".join(b"%d\n" % n for n in range(1, 300001))


def test_output_comes_when_it_is_written(services):
    events = iter(services.start("echo first; read line; echo $line", stdin=True, tag="talk"))
    assert next(events).event.HasField("start")
    assert next(events).event.data.stdout == b"first\n"
    p = services.p
    services.call(services.process.SendInput, p.SendInputRequest(
        process=p.ProcessSelector(tag="talk"), input=p.ProcessInput(stdin=b"second\n")))
    assert next(events).event.data.stdout == b"second\n"
    assert next(events).event.end.exit_code == 0
    assert list(events) == []


def test_processes_are_listed_and_killed(services):
    p = services.p
    events = services.start("sleep 1000", tag="sleeper")
    pid = next(iter(events)).event.start.pid
    found = services.call(services.process.List, p.ListRequest()).processes
    assert [(x.pid, x.tag) for x in found if x.tag == "sleeper"] == [(pid, "sleeper")]
    services.call(services.process.SendSignal, p.SendSignalRequest(
        process=p.ProcessSelector(pid=pid), signal=p.SIGNAL_SIGKILL))
    assert list(events)[-1].event.HasField("end")


def test_a_stream_of_input_reaches_a_command(services):
    p = services.p
    events = services.start("wc -c", stdin=True, tag="count")
    assert next(iter(events)).event.HasField("start")

    def pieces():
        R = p.StreamInputRequest
        yield R(start=R.StartEvent(process=p.ProcessSelector(tag="count")))
        for _ in range(100):
            yield R(data=R.DataEvent(input=p.ProcessInput(stdin=b"x" * 10000)))

    services.call(services.process.StreamInput, pieces())
    services.call(services.process.CloseStdin,
                  p.CloseStdinRequest(process=p.ProcessSelector(tag="count")))
    assert b"".join(r.event.data.stdout for r in events).strip() == b"1000000"


def test_files_and_folders(services):
    f = services.f
    made = services.call(services.files.MakeDir, f.MakeDirRequest(path="/tmp/grpc/dir"))
    assert made.entry.type == f.FILE_TYPE_DIRECTORY
    stat = services.call(services.files.Stat, f.StatRequest(path="/tmp/grpc/dir"))
    assert stat.entry.path == "/tmp/grpc/dir" and stat.entry.modified_time.seconds > 1_700_000_000
    names = [e.name for e in services.call(services.files.ListDir,
                                           f.ListDirRequest(path="/tmp/grpc", depth=1)).entries]
    assert names == ["dir"]
    services.call(services.files.Remove, f.RemoveRequest(path="/tmp/grpc"))
    assert refused(lambda: services.call(services.files.Stat, f.StatRequest(path="/tmp/grpc")))[0] \
        == grpc.StatusCode.NOT_FOUND


def watch(services, path, **more):
    """A stream of events about @path that has begun."""
    stream = services.files.WatchDir(services.f.WatchDirRequest(path=path, **more),
                                     metadata=services.metadata, timeout=60)
    assert next(stream).HasField("start")
    return stream


def test_a_watch_streams_what_happens(services):
    f = services.f
    services.call(services.files.MakeDir, f.MakeDirRequest(path="/tmp/watched/deep"))
    stream = watch(services, "/tmp/watched", recursive=True, include_entry=True)
    list(services.start("cd /tmp/watched && echo x >deep/new && mv deep/new moved && rm moved"))
    seen = []
    while ("moved", f.EVENT_TYPE_REMOVE) not in seen:
        event = next(stream).filesystem
        seen.append((event.name, event.type))
        if seen[-1] == ("deep/new", f.EVENT_TYPE_CREATE):
            assert event.entry.path in ("", "/tmp/watched/deep/new")  # it may be gone by now
    assert seen.index(("deep/new", f.EVENT_TYPE_CREATE)) \
        < seen.index(("deep/new", f.EVENT_TYPE_WRITE)) \
        < seen.index(("deep/new", f.EVENT_TYPE_RENAME)) \
        < seen.index(("moved", f.EVENT_TYPE_REMOVE))
    stream.cancel()
    services.call(services.files.Remove, f.RemoveRequest(path="/tmp/watched"))


def test_a_watch_of_nothing_is_refused(services):
    f = services.f
    assert refused(lambda: services.files.WatchDir(
        f.WatchDirRequest(path="/no/dir"), metadata=services.metadata, timeout=30))[0] \
        == grpc.StatusCode.NOT_FOUND


def test_a_watch_that_is_given_up_is_over(services):
    """Else its place, one of WATCHERS_MAX, would stay taken."""
    streams = [watch(services, "/tmp") for _ in range(64)]

    def one_more():
        try:
            return watch(services, "/tmp")
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            return None

    assert one_more() is None
    for s in streams:
        s.cancel()
    last = wait_for(one_more, 10, "a place for one more watch")
    list(services.start("touch /tmp/seen"))
    assert next(last).filesystem.name == "seen"
    last.cancel()


def test_errors_are_codes_with_their_text(services):
    f, p = services.f, services.p
    code, text = refused(lambda: services.call(services.files.Stat, f.StatRequest(path="/no/ä")))
    assert code == grpc.StatusCode.NOT_FOUND and "/no/ä" in text
    assert refused(lambda: services.call(
        services.files.MakeDir, f.MakeDirRequest(path="/etc")))[0] \
        == grpc.StatusCode.ALREADY_EXISTS
    assert refused(lambda: services.call(services.process.SendSignal, p.SendSignalRequest(
        process=p.ProcessSelector(pid=99999), signal=p.SIGNAL_SIGKILL)))[0] \
        == grpc.StatusCode.NOT_FOUND
    unknown = services.channel.unary_unary("/process.Process/Nothing")
    assert refused(lambda: unknown(b"", metadata=services.metadata))[0] \
        == grpc.StatusCode.UNIMPLEMENTED


def test_a_deadline_ends_the_call_and_the_command(services):
    assert refused(lambda: services.start("sleep 1000", timeout=0.5))[0] \
        == grpc.StatusCode.DEADLINE_EXCEEDED
    wait_for(lambda: not services.call(services.process.List, services.p.ListRequest()).processes,
             10, "the command gone")


def test_a_hundred_calls_share_a_connection(services):
    streams = [services.start(f"read x; echo {n}", stdin=True, tag=f"n{n}") for n in range(100)]
    p = services.p
    for s in streams:
        assert next(iter(s)).event.HasField("start")
    for n in range(100):
        services.call(services.process.SendInput, p.SendInputRequest(
            process=p.ProcessSelector(tag=f"n{n}"), input=p.ProcessInput(stdin=b"\n")))
    for n, s in enumerate(streams):
        assert b"".join(r.event.data.stdout for r in s) == b"%d\n" % n


def test_a_call_that_is_given_up_leaves_the_others(services):
    p = services.p
    events, kept = services.start("sleep 1000", tag="left"), services.start("read x; echo kept", stdin=True,
                                                                            tag="kept")
    pid = next(iter(events)).event.start.pid
    assert next(iter(kept)).event.HasField("start")
    events.cancel()
    services.call(services.process.SendInput, p.SendInputRequest(
        process=p.ProcessSelector(tag="kept"), input=p.ProcessInput(stdin=b"\n")))
    assert b"".join(r.event.data.stdout for r in kept) == b"kept\n"
    services.call(services.process.SendSignal, p.SendSignalRequest(
        process=p.ProcessSelector(pid=pid), signal=p.SIGNAL_SIGKILL))


def test_the_brokers_refusals_are_codes(broker, stubs, sandbox, token):
    def code(sandbox_id=sandbox.sandbox_id, token=token, port=49983, by_name=True):
        s = Services(broker, stubs, sandbox_id, token, by_name, port)
        try:
            return refused(lambda: s.call(s.process.List, s.p.ListRequest()))
        finally:
            s.channel.close()

    nobody = "i" + "0" * 20
    assert code(sandbox_id=nobody) == (grpc.StatusCode.UNAVAILABLE, "The sandbox was not found")
    assert code(sandbox_id=nobody, by_name=False)[0] == grpc.StatusCode.UNAVAILABLE
    assert code(token="wrong")[0] == grpc.StatusCode.UNAUTHENTICATED
    assert code(port=1025) == (grpc.StatusCode.NOT_FOUND, "This port is reserved and is not reachable")
    assert code(port=8000)[0] == grpc.StatusCode.UNIMPLEMENTED


def test_control_routes_are_reserved_here_too(services):
    call = services.channel.unary_unary("/init")
    assert refused(lambda: call(b"", metadata=services.metadata))[0] == grpc.StatusCode.NOT_FOUND


def test_grpc_over_http1_is_refused(broker, sandbox, token):
    answer = http_request(broker, "POST", "/process.Process/List", {
        "Content-Type": "application/grpc", "X-Access-Token": token,
        "E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "49983"}, b"\0\0\0\0\0")
    assert answer.status == 415


def test_a_kill_breaks_its_streams_and_no_other(broker, stubs, sandbox, token):
    from e2b import Sandbox

    other = Sandbox.create(timeout=60)
    other_token = api(broker, "GET", f"/sandboxes/{other.sandbox_id}").json()["envdAccessToken"]
    mine = Services(broker, stubs, sandbox.sandbox_id, token, by_name=False)
    # The same connection: metadata chooses the sandbox.
    theirs = [("e2b-sandbox-id", other.sandbox_id) if k == "e2b-sandbox-id" else
              ("x-access-token", other_token) if k == "x-access-token" else (k, v)
              for k, v in mine.metadata]
    sleeper = mine.p.StartRequest(process=mine.p.ProcessConfig(cmd="/bin/sleep", args=["1000"]))
    doomed = mine.process.Start(sleeper, metadata=theirs, timeout=60)
    lasting = mine.start("sleep 3; echo done")
    assert next(iter(doomed)).event.HasField("start")
    threading.Thread(target=other.kill).start()
    with pytest.raises(grpc.RpcError) as e:
        list(doomed)
    assert e.value.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE)
    assert b"".join(r.event.data.stdout for r in lasting) == b"done\n"
    mine.channel.close()

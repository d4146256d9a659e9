# SPDX-License-Identifier: Apache-2.0
"""The code-interpreter client: cells, contexts, streams and errors, with the plain Python kernel.

The base template has no IPython, so what is seen here is what every image with a python3 gives.
"""

import asyncio
import json
import socket
import threading
import time

import pytest
from e2b_code_interpreter import AsyncSandbox, Sandbox
from support import http_request, routing

from conftest import wait_for

PORT = 49999


@pytest.fixture(scope="module")
def box(broker):
    made = Sandbox.create(template="base", timeout=1800, envs={"GLOBAL": "from create"})
    yield made
    made.kill()


def text_of(execution):
    assert execution.error is None, execution.error
    return execution.text


def stdout_of(execution):
    return "".join(execution.logs.stdout)


def test_health_and_the_default_contexts(broker, box):
    answer = http_request(broker, "GET", "/health?source=test", routing(box, PORT))
    assert (answer.status, answer.json()) == (200, "OK")
    assert "python" in [c.language for c in box.list_code_contexts()]


def test_state_is_kept_between_cells(box):
    first = box.run_code("kept = 20\nkept + 1")
    second = box.run_code("kept += 1; kept")
    assert (text_of(first), text_of(second)) == ("21", "21")
    assert second.execution_count == first.execution_count + 1
    assert first.results[0].is_main_result


def test_what_has_no_result(box):
    for code in ("x = 1", "x;", "None", "", "import os", "x; # why\n"):
        assert box.run_code(code).results == [], code


def test_indented_cells_and_top_level_await(box):
    assert text_of(box.run_code("\n\n    a = [i for i in range(3)]\n    sum(a)\n")) == "3"
    assert text_of(box.run_code(
        "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    return 'slept'\nawait f()"
    )) == "slept"


def test_streams_come_while_the_cell_runs(box):
    seen = []
    execution = box.run_code(
        "import sys, time\nprint(1)\ntime.sleep(0.3)\nprint('no', file=sys.stderr)\ntime.sleep(0.3)\n'end'",
        on_stdout=lambda m: seen.append((time.monotonic(), m.line, m.error)),
        on_stderr=lambda m: seen.append((time.monotonic(), m.line, m.error)),
        on_result=lambda r: seen.append((time.monotonic(), r.text, None)))
    assert [(line, error) for _, line, error in seen] == [("1\n", False), ("no\n", True),
                                                          ("end", None)]
    assert seen[1][0] - seen[0][0] > 0.2 and seen[2][0] - seen[1][0] > 0.2
    assert execution.logs.stdout == ["1\n"] and execution.logs.stderr == ["no\n"]


def test_output_of_programs_is_in_order_with_that_of_python(box):
    execution = box.run_code(
        "import os, subprocess\nfor i in range(20):\n    print('python', i)\n"
        "    os.system(f'echo shell {i}')\n    subprocess.run(['echo', 'child', str(i)])\n")
    assert stdout_of(execution) == "".join(f"python {i}\nshell {i}\nchild {i}\n" for i in range(20))


def test_output_is_in_order_while_another_program_writes_without_end(box):
    """The pipes are never empty then: envd is told to empty them, and may be late."""
    execution = box.run_code(
        "import os, subprocess\nflood = subprocess.Popen(['yes'], stdout=2)\n"
        "for i in range(20):\n    print('python', i)\n    os.system(f'echo shell {i}')\n"
        "flood.kill()\nflood.wait()")
    assert stdout_of(execution) == "".join(f"python {i}\nshell {i}\n" for i in range(20))


def test_a_hundred_megabytes_come_whole(box):
    lines = 0

    def count(message):
        nonlocal lines
        for line in (rest[0] + message.line).split("\n")[:-1]:
            assert line == f"{lines:099d}"
            lines += 1
        rest[0] = (rest[0] + message.line).rpartition("\n")[2]

    rest = [""]
    box.run_code("for i in range(1_000_000): print(f'{i:099d}')", on_stdout=count, timeout=120)
    assert lines == 1_000_000 and rest == [""]


def test_errors_have_name_value_and_traceback(box):
    error = box.run_code("def f():\n    return 1 / 0\n\nf()").error
    assert (error.name, error.value) == ("ZeroDivisionError", "division by zero")
    assert "in f" in error.traceback and "return 1 / 0" in error.traceback
    assert "<kernel>" not in error.traceback and "\x1b" not in error.traceback
    assert box.run_code("def f(:").error.name == "SyntaxError"
    assert box.run_code("undefined").error.value == "name 'undefined' is not defined"
    assert box.run_code("import sys; sys.exit(3)").error.name == "SystemExit"
    assert "input()" in box.run_code("input('name? ')").error.value
    assert text_of(box.run_code("'goes on'")) == "goes on"


def test_results_in_every_format(box):
    code = """
class Shown:
    def __repr__(self): return "plain"
    def _repr_html_(self): return "<b>html</b>"
    def _repr_markdown_(self): return "*md*"
    def _repr_svg_(self): return "<svg/>"
    def _repr_png_(self): return b"\\x89PNG"
    def _repr_jpeg_(self): return b"\\xff\\xd8"
    def _repr_pdf_(self): return b"%PDF"
    def _repr_latex_(self): return "$x$"
    def _repr_javascript_(self): return "alert()"
    def _repr_json_(self): return {"a": [1, float("nan")]}
    def _repr_mimebundle_(self, **_): return {"application/x-own": {"own": 1}}
display(Shown())
Shown()"""
    execution = box.run_code(code)
    assert execution.error is None
    assert [r.is_main_result for r in execution.results] == [False, True]
    for result in execution.results:
        assert (result.text, result.html, result.markdown, result.svg) == (
            "plain", "<b>html</b>", "*md*", "<svg/>")
        assert (result.png, result.jpeg, result.pdf) == ("iVBORw==", "/9g=", "JVBERg==")
        assert (result.latex, result.javascript, result.json) == ("$x$", "alert()", {"a": [1, None]})
        assert result.extra == {"application/x-own": {"own": 1}}
    assert box.run_code("{1: [2]}").results[0].json == {"1": [2]}
    [latex] = box.run_code("display({'text/latex': '$y$'}, raw=True)").results
    assert list(latex.formats()) == ["latex"]


def test_lines_that_are_not_python(box):
    assert stdout_of(box.run_code("!pwd")) == "/home/user\n"
    assert text_of(box.run_code("names = !printf 'a\\nb\\n'\nnames")) == "['a', 'b']"
    assert text_of(box.run_code("if True:\n    !true\n    x = '''\n!not a command\n'''\nx.strip()")) \
        == "!not a command"
    assert "pip" in stdout_of(box.run_code("%pip --version"))
    assert stdout_of(box.run_code("%%bash\nfor i in 1 2; do echo $i; done")) == "1\n2\n"
    assert "IPython" in box.run_code("%timeit 1").error.value


def test_variables_of_the_sandbox_and_of_a_call(box):
    code = "import os; os.environ.get('GLOBAL'), os.environ.get('CALL')"
    assert text_of(box.run_code(code)) == "('from create', None)"
    assert text_of(box.run_code(code, envs={"GLOBAL": "other", "CALL": "é"})) == "('other', 'é')"
    assert text_of(box.run_code(code)) == "('from create', None)"


def test_contexts_are_apart(box):
    context = box.create_code_context(cwd="/tmp")
    assert (context.cwd, context.language) == ("/tmp", "python")
    assert box.list_code_contexts()[-1].id == context.id
    box.run_code("apart = 1")
    assert text_of(box.run_code("import os; os.getcwd()", context=context)) == "/tmp"
    assert box.run_code("apart", context=context).error.name == "NameError"
    box.run_code("apart = 2", context=context)
    box.restart_code_context(context)
    assert box.run_code("apart", context=context).error.value == "name 'apart' is not defined"
    box.remove_code_context(context)
    assert context.id not in [c.id for c in box.list_code_contexts()]
    with pytest.raises(Exception, match="not found"):
        box.run_code("1", context=context)
    with pytest.raises(Exception, match="not found"):
        box.remove_code_context(context.id)
    assert text_of(box.run_code("apart")) == "1"


def test_a_language_that_cannot_run_here_says_why(box):
    with pytest.raises(Exception, match="Failed to create context: .*cobol"):
        box.run_code("1", language="cobol")
    with pytest.raises(Exception, match="Failed to set working directory"):
        box.create_code_context(cwd="/none")


def test_a_context_that_is_restarted_ends_its_cell(box):
    context = box.create_code_context()
    seen = threading.Event()
    done = []
    cell = threading.Thread(target=lambda: done.append(box.run_code(
        "print('runs')\nwhile True: pass", context=context, on_stdout=lambda _: seen.set())))
    cell.start()
    assert seen.wait(20)
    box.restart_code_context(context)
    cell.join(20)
    assert done[0].error.name == "UnexpectedEndOfExecution"
    assert text_of(box.run_code("1", context=context)) == "1"
    box.remove_code_context(context)


@pytest.mark.parametrize("code", ["while True: pass", "import time; time.sleep(100)",
                                  "import os; os.system('sleep 100')"])
def test_a_client_that_gives_up_interrupts_its_cell(box, code):
    context = box.create_code_context()
    box.run_code("before = 1", context=context)
    with pytest.raises(Exception, match="timed out|timeout"):
        box.run_code(code, context=context, timeout=1)
    assert text_of(box.run_code("before", context=context, timeout=20)) == "1"
    box.remove_code_context(context)


def test_a_cell_that_cannot_be_interrupted_is_ended(box):
    context = box.create_code_context()
    with pytest.raises(Exception, match="timed out|timeout"):
        box.run_code("import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
                     context=context, timeout=1)
    execution = box.run_code("1", context=context, timeout=20)
    assert text_of(execution) == "1"
    assert "did not end when it was interrupted" in "".join(execution.logs.stderr)
    box.remove_code_context(context)


# ---- cells that do harm ------------------------------------------------------------------------

DEADLY = {
    "exit": ("import os; os._exit(3)", "exit status 3"),
    "fault": ("import os; os.kill(os.getpid(), 11)", "segmentation fault"),
    "killed": ("import os; os.kill(os.getpid(), 9)", "signal: killed"),
    "garbage": ("import os\nfor fd in range(3, 300):\n    try: os.write(fd, b'garbage\\n')\n"
                "    except OSError: pass\nimport time; time.sleep(20)", "channel"),
    "closed": ("import os; os.closerange(3, 1000)", "The kernel ended"),
    "memory": ("held = []\nwhile True: held.append(bytearray(64 << 20))", "for want of memory"),
}


@pytest.mark.parametrize("kind", DEADLY)
def test_a_kernel_that_dies_is_told_and_replaced(box, kind):
    code, how = DEADLY[kind]
    context = box.create_code_context()
    error = box.run_code(code, context=context).error
    assert (error.name, error.value) == ("ContextRestarting", "Context was restarted")
    assert how in error.traceback
    after = box.run_code("1 + 1", context=context)
    assert text_of(after) == "2" and "what earlier cells defined is gone" in after.logs.stderr[0]
    assert box.run_code("2", context=context).logs.stderr == []
    box.remove_code_context(context)


HARMLESS = {
    "closes its descriptors": ("import os; os.close(1); os.close(2); print('out')", "out\n"),
    "closes its streams": ("import sys; sys.stdout.close(); sys.stderr = None; print('out')", "out\n"),
    "forks": ("import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\nprint('parent' if pid else 'child')",
              "child\nparent\n"),
    "forks and comes to the end": ("import os\nif os.fork():\n    os.wait()", ""),
    "takes the signals": ("import signal\nfor s in (2, 15, 10): signal.signal(s, signal.SIG_IGN)", ""),
    "breaks the builtins": ("import builtins; builtins.len = builtins.print = builtins.str = None", ""),
    "leaves a program that floods": ("import subprocess; p = subprocess.Popen(['yes'], "
                                     "stdout=subprocess.DEVNULL)", ""),
    "bytes that are no text": ("import os; os.write(1, b'\\xff\\xe2\\x82'); print('x')", "\ufffd\ufffd\ufffdx\n"),
    "characters beyond the first plane": ("print('\U0001f600', end='')", "\U0001f600"),
    "lone surrogates": ("print('\\ud800')", "\\ud800\n"),
    "pools": ("from multiprocessing import Pool\ndef sq(x): return x * x\n"
              "with Pool(2) as p: print(p.map(sq, [2, 3]))", "[4, 9]\n"),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_a_cell_that_misbehaves_harms_no_other(box, kind):
    code, output = HARMLESS[kind]
    context = box.create_code_context()
    execution = box.run_code(f"kept = 7\n{code}", context=context)
    assert execution.error is None, execution.error
    if kind == "bytes that are no text":
        assert stdout_of(execution).endswith("x\n") and "\ufffd" in stdout_of(execution)
    else:
        assert stdout_of(execution) == output
    after = box.run_code("import os; os.system('echo still'); print('here'); kept", context=context)
    assert (text_of(after), stdout_of(after)) == ("7", "still\nhere\n")
    box.remove_code_context(context)


def test_threads_that_print_later_reach_the_next_cell_or_nobody(box):
    context = box.create_code_context()
    box.run_code("import threading, time\nt = threading.Timer(0.3, lambda: print('late'))\nt.start()",
                 context=context)
    assert stdout_of(box.run_code("t.join()", context=context)) == "late\n"
    box.run_code("def late():\n    print('late', flush=True)\n    open('/tmp/printed', 'w').close()\n"
                 "t = threading.Timer(0.1, late)\nt.start()", context=context)
    wait_for(lambda: box.files.exists("/tmp/printed"), 20, "the thread, between cells")
    assert stdout_of(box.run_code("t.join()", context=context)) == ""
    box.remove_code_context(context)


# ---- several at once ---------------------------------------------------------------------------


def test_cells_of_a_context_run_one_after_the_other(box):
    context = box.create_code_context()
    box.run_code("order = []", context=context)
    threads = [threading.Thread(target=box.run_code, args=(f"import time; time.sleep(0.05); "
                                                           f"order.append({i})",),
                                kwargs={"context": context}) for i in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(20)
    assert text_of(box.run_code("sorted(order)", context=context)) == "[0, 1, 2, 3, 4]"
    box.remove_code_context(context)


def test_the_asynchronous_client(broker):
    async def run():
        sandbox = await AsyncSandbox.create(template="base", timeout=120)
        try:
            contexts = [await sandbox.create_code_context() for _ in range(3)]
            answers = await asyncio.gather(*(
                sandbox.run_code(f"print({i})\n{i} * 2", context=c) for i, c in enumerate(contexts)))
            assert [a.text for a in answers] == ["0", "2", "4"]
            assert [a.logs.stdout for a in answers] == [["0\n"], ["1\n"], ["2\n"]]
            assert (await sandbox.run_code("1/0")).error.name == "ZeroDivisionError"
            with pytest.raises(Exception, match="timed out|timeout"):
                await sandbox.run_code("while True: pass", timeout=1)
            assert (await sandbox.run_code("'again'")).text == "again"
        finally:
            await sandbox.kill()

    asyncio.run(run())


def test_a_sandbox_that_is_killed_while_a_cell_runs(broker):
    made = Sandbox.create(template="base", timeout=120)
    seen = threading.Event()
    failed = []

    def run():
        try:
            made.run_code("print('runs')\nimport time; time.sleep(60)", on_stdout=lambda _: seen.set())
        except Exception as e:
            failed.append(str(e))

    cell = threading.Thread(target=run)
    cell.start()
    assert seen.wait(20)
    made.kill()
    cell.join(20)
    assert failed and "killed" in failed[0], failed


# ---- the wire ----------------------------------------------------------------------------------


def execute(broker, box, body, token=True):
    headers = {**routing(box, PORT), "Content-Type": "application/json"}
    if token:
        headers["X-Access-Token"] = box._envd_access_token
    return http_request(broker, "POST", "/execute", headers, body)


def test_the_stream_is_lines_of_ascii(broker, box):
    answer = execute(broker, box, json.dumps({"code": "print('é')\n'\U0001f600'", "language": None}))
    assert answer.status == 200
    assert answer.body.isascii() and answer.body.endswith(b'{"type":"end_of_execution"}\n')
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert [line["type"] for line in lines] == ["number_of_executions", "stdout", "result",
                                                "end_of_execution"]
    assert lines[1]["text"] == "é\n" and lines[1]["timestamp"].endswith("Z")
    assert lines[2] == {"type": "result", "is_main_result": True, "text": "\U0001f600", "extra": {}}


def test_the_head_comes_before_any_output(broker, box):
    body = json.dumps({"code": "import time; time.sleep(1)"}).encode()
    with socket.create_connection(("127.0.0.1", broker.port), timeout=20) as s:
        s.sendall((f"POST /execute HTTP/1.1\r\nHost: x\r\nE2b-Sandbox-Id: {box.sandbox_id}\r\n"
                   f"E2b-Sandbox-Port: {PORT}\r\nX-Access-Token: {box._envd_access_token}\r\n"
                   f"Content-Length: {len(body)}\r\n\r\n").encode() + body)
        start = time.monotonic()
        assert s.recv(12) == b"HTTP/1.1 200"
        assert time.monotonic() - start < 0.8


def test_requests_that_are_refused(broker, box):
    assert execute(broker, box, "{}").status == 422
    assert execute(broker, box, "{}").json()["detail"][0]["loc"] == ["body", "code"]
    assert execute(broker, box, "nonsense").status == 422
    both = execute(broker, box, json.dumps({"code": "1", "context_id": "x", "language": "python"}))
    assert (both.status, both.text) == (400, "Only one of context_id or language can be provided")
    none = execute(broker, box, json.dumps({"code": "1", "context_id": "nobody"}))
    assert (none.status, none.text) == (404, "Context nobody not found")
    assert execute(broker, box, json.dumps({"code": "1" * (4 << 20)})).status == 413
    assert execute(broker, box, json.dumps({"code": "1"}), token=False).status == 401
    for method, path, status in (("GET", "/execute", 405), ("PUT", "/contexts", 405),
                                 ("GET", "/", 404), ("POST", "/contexts/x/restart", 404),
                                 ("DELETE", "/contexts/x", 404)):
        assert http_request(broker, method, path, routing(box, PORT)).status == status, path


def test_pages_may_call(broker, box):
    asked = {**routing(box, PORT), "Origin": "http://page.test"}
    answer = http_request(broker, "OPTIONS", "/execute", {
        **asked, "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-access-token"})
    assert answer.status == 204 and answer.headers["Access-Control-Allow-Origin"] == "*"
    assert http_request(broker, "GET", "/contexts", asked).headers["Access-Control-Allow-Origin"] == "*"


def test_kernels_end_with_their_context(box):
    context = box.create_code_context()
    pid = text_of(box.run_code("import os; os.getpid()", context=context))
    box.remove_code_context(context)
    wait_for(lambda: box.commands.run(f"test -d /proc/{pid} || echo gone").stdout == "gone\n", 10,
             "the end of the kernel")

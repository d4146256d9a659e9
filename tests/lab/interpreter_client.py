# SPDX-License-Identifier: Apache-2.0
"""One run of an old Python code interpreter (1.0), as python_client.py is one of an SDK.

It creates what it asks for by itself, the template code-interpreter-v1, and knows each sandbox by name.
"""

import asyncio
import base64
import sys
import time

from e2b_code_interpreter import (AsyncSandbox, NotFoundException, Sandbox, SandboxException,
                                  TimeoutException)
from e2b_code_interpreter.charts import BarChart
from features import raises, run_features

FIGURE = """
    import matplotlib.pyplot as plt
    plt.bar(['a', 'b'], [1, 2], label='series')
    plt.title('Bars')
    plt.xlabel('Time (s)')
    plt.show()
"""


def text_of(execution):
    assert execution.error is None, execution.error
    return execution.text


def create(run):
    run.sandbox = Sandbox(timeout=120, envs={"WORD": "from create"})
    assert text_of(run.sandbox.run_code("__import__('IPython').__name__")) == "IPython"


def cells(run):
    first = run.sandbox.run_code("kept = 20")
    second = run.sandbox.run_code("kept += 1; kept")
    assert first.results == [] and text_of(second) == "21"
    assert second.execution_count == first.execution_count + 1
    words = "import os; os.environ['WORD'] + os.environ.get('OWN', '')"
    assert text_of(run.sandbox.run_code(words, envs={"OWN": " and é"})) == "from create and é"
    assert text_of(run.sandbox.run_code(words)) == "from create"
    assert text_of(run.sandbox.run_code("await (async () => 'js')()", language="js")) == "js"


def stream(run):
    seen, times = [], []

    def on_output(message):
        seen.append((message.line, message.error))
        times.append(time.monotonic())

    execution = run.sandbox.run_code(
        "import sys, time; print('ä'); time.sleep(0.4); print('two', file=sys.stderr); 3",
        on_stdout=on_output, on_stderr=on_output, on_result=lambda r: seen.append((r.text, None)))
    assert seen == [("ä\n", False), ("two\n", True), ("3", None)], seen
    assert times[1] - times[0] > 0.3, "the output came all at once"
    assert execution.logs.stdout == ["ä\n"] and execution.logs.stderr == ["two\n"]


def results(run):
    [shown] = run.sandbox.run_code(FIGURE).results
    assert base64.b64decode(shown.png).startswith(b"\x89PNG") and not shown.is_main_result
    assert isinstance(shown.chart, BarChart) and shown.chart.title == "Bars"
    assert (shown.chart.x_unit, [(e.label, e.value) for e in shown.chart.elements]) \
        == ("s", [("a", 1), ("b", 2)])
    [frame] = run.sandbox.run_code("import pandas; pandas.DataFrame({'a': [1, 2]})").results
    assert "<table" in frame.html and frame.data == {"a": [1, 2]} and frame.is_main_result


def contexts(run):
    context = run.sandbox.create_code_context(cwd="/tmp", language="python")
    assert (context.cwd, context.language) == ("/tmp", "python")
    assert text_of(run.sandbox.run_code("import os; os.getcwd()", context=context)) == "/tmp"
    assert run.sandbox.run_code("kept", context=context).error.name == "NameError"
    assert text_of(run.sandbox.run_code("kept")) == "21"


def timeout(run):
    raises(TimeoutException, run.sandbox.run_code, "while True: pass", timeout=0.5)
    assert text_of(run.sandbox.run_code("kept", timeout=20)) == "21"


def errors(run):
    failures = []
    error = run.sandbox.run_code("def f():\n    return 1 / 0\nf()", on_error=failures.append).error
    assert (error.name, error.value) == ("ZeroDivisionError", "division by zero")
    assert "return 1 / 0" in error.traceback and failures == [error]
    raises(SandboxException, run.sandbox.run_code, "1", language="cobol")
    context = run.sandbox.create_code_context()
    context.id = "none"
    raises(NotFoundException, run.sandbox.run_code, "1", context=context)


async def asynchronous_journey(sandbox_id):
    sandbox = await AsyncSandbox.connect(sandbox_id)
    out = []
    execution = await sandbox.run_code("print('again'); kept", on_stdout=lambda m: out.append(m.line))
    assert text_of(execution) == "21" and out == ["again\n"], out


def asynchronous(run):
    asyncio.run(asynchronous_journey(run.sandbox.sandbox_id))


def kill(run):
    assert run.sandbox.kill() is not False
    raises((TimeoutException, NotFoundException), run.sandbox.run_code, "1")


FEATURES = [("create", create), ("run", cells), ("stream", stream), ("results", results),
            ("contexts", contexts), ("timeout", timeout), ("errors", errors),
            ("async", asynchronous), ("kill", kill)]

if __name__ == "__main__":
    sys.exit(run_features(FEATURES))

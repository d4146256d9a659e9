# SPDX-License-Identifier: Apache-2.0
"""The code-interpreter template: IPython, results in every format, figures and charts, Node.

`Sandbox.create()` of the client names no template, so it gets the one of the alias that the client
expects (make template-interpreter).
"""

import base64
import io
from xml.etree import ElementTree

import pytest
from e2b_code_interpreter import Sandbox
from PIL import Image

from support import api


@pytest.fixture(scope="module")
def box(broker):
    aliases = [a for t in api(broker, "GET", "/templates").json() for a in t["aliases"]]
    assert "code-interpreter-v1" in aliases, "the template is missing: make template-interpreter"
    made = Sandbox.create(timeout=1800)
    yield made
    made.kill()


def run(box, code, **options):
    execution = box.run_code(code, **options)
    assert execution.error is None, execution.error.traceback
    return execution


def chart_of(box, code):
    [result] = run(box, f"import matplotlib.pyplot as plt\n{code}\nplt.show()").results
    assert result.png and not result.extra and not result.is_main_result
    return result.chart


def image_of(png):
    image = Image.open(io.BytesIO(base64.b64decode(png)))
    image.load()
    assert image.format == "PNG"
    return image


def test_it_is_ipython(box):
    assert run(box, "get_ipython().__class__.__mro__[1].__name__").text == "InteractiveShell"
    assert "loop" in "".join(run(box, "%timeit -n1 -r1 1 + 1").logs.stdout)
    assert run(box, "!pwd").logs.stdout == ["/home/user\n"]
    assert run(box, "%%bash\necho from bash").logs.stdout == ["from bash\n"]
    assert run(box, "x = !echo a b\nx[0].split()").text == "['a', 'b']"
    assert run(box, "print(1)").logs.stdout == ["1\n"]


def test_cells_are_as_in_the_plain_kernel(box):
    run(box, "kept = 20")
    assert run(box, "\n\n    kept += 1\n    kept\n").text == "21"
    assert run(box, "import asyncio\nawait asyncio.sleep(0, 'slept')").text == "slept"
    for code in ("kept;", "None", "y = 1"):
        assert run(box, code).results == []
    error = box.run_code("def f():\n    return 1 / 0\nf()").error
    assert (error.name, error.value) == ("ZeroDivisionError", "division by zero")
    assert "---->" in error.traceback and "\x1b" not in error.traceback
    assert box.run_code("def f(:").error.name == "SyntaxError"
    assert "input()" in box.run_code("input()").error.value
    with pytest.raises(Exception, match="timed out|timeout"):
        box.run_code("while True: pass", timeout=1)
    assert run(box, "kept").text == "21"
    assert len(run(box, "list(range(2000))").text) > 8000


def test_data_frames_come_as_text_html_and_data(box):
    [result] = run(box, "import pandas as pd\npd.DataFrame({'a': [1, 2], 'b': ['x', None],"
                        " 'when': pd.to_datetime(['2024-01-02', '2024-01-03'])})").results
    assert "<table" in result.html and "2024-01-02" in result.text
    assert result.data == {"a": [1, 2], "b": ["x", None],
                           "when": ["2024-01-02T00:00:00", "2024-01-03T00:00:00"]}


def test_displays_and_formats(box):
    results = run(box, "from IPython.display import HTML, Latex, Markdown, JSON, Javascript, SVG\n"
                       "display(HTML('<b>x</b>'), Latex('$x$'), Markdown('*x*'), JSON({'a': 1}),\n"
                       "        Javascript('1'), SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>'))\n"
                       "{'last': [1]}").results
    assert [sorted(set(r.formats()) - {"text"}) for r in results] == [
        ["html"], ["latex"], ["markdown"], ["json"], ["javascript"], ["svg"], ["json"]]
    assert [r.is_main_result for r in results] == [False] * 6 + [True]
    [latex] = run(box, "display({'text/latex': '$y$'}, raw=True)").results
    assert list(latex.formats()) == ["latex"]
    assert run(box, "import sympy\nsympy.sqrt(sympy.Symbol('x'))").results[0].latex


def test_a_figure_and_a_value_are_two_results(box):
    execution = run(box, "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()\n40 + 2")
    figure, value = execution.results
    assert figure.png and not figure.is_main_result and list(figure.extra or {}) == []
    assert (value.text, value.is_main_result, execution.text) == ("42", True, "42")
    image = image_of(figure.png)
    assert image.width > 400 and image.height > 300
    assert len(image.convert("RGB").getcolors(1 << 24)) > 10


def test_figures_come_as_svg_where_asked(box):
    plot = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()"
    use = "from matplotlib_inline.backend_inline import set_matplotlib_formats as use\nuse"
    for ask, formats in (("%config InlineBackend.figure_formats = ['svg']", {"svg"}),
                         (f"{use}('png', 'svg')", {"png", "svg"}), (f"{use}('png')", {"png"})):
        run(box, ask)
        [figure] = run(box, plot).results
        assert set(figure.formats()) == {"text", "chart"} | formats
        assert figure.chart.type.value == "line"
        if figure.svg:
            assert ElementTree.fromstring(figure.svg).tag == "{http://www.w3.org/2000/svg}svg"
        if figure.png:
            assert image_of(figure.png).width > 400


def test_figures_without_ipython():
    box = Sandbox.create(timeout=120)
    try:
        box.commands.run("mv /usr/lib/python3/dist-packages/IPython /opt", user="root")
        assert run(box, "'get_ipython' in dir(__builtins__) + dir()").text == "False"
        plot = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3], label='a')\nplt.title('T')\n"
        for code in (plot + "None", plot + "plt.show()"):
            [figure] = run(box, code).results
            assert set(figure.formats()) == {"text", "png", "chart"} and not figure.is_main_result
            assert image_of(figure.png).width > 400
            assert (figure.chart.type.value, figure.chart.title) == ("line", "T")
        failed = box.run_code(plot + "plt.figure()\nplt.bar(['x'], [1])\n1 / 0")
        assert [r.chart.type.value for r in failed.results] == ["line", "bar"]
        assert failed.error.name == "ZeroDivisionError"
        value, again = run(box, plot + "plt.gcf()").results
        assert value.is_main_result and value.png and again.png and not again.is_main_result
        assert run(box, "plt.get_fignums()").text == "[]"
        [empty] = run(box, "plt.figure()").results[1:]
        assert empty.png is None and empty.chart is None
    finally:
        box.kill()


def test_the_packages_of_the_template_are_there(box):
    code = ("import openpyxl, pandas, sklearn.linear_model\n"
            "book = openpyxl.Workbook()\nbook.active.append(['x', 'y'])\n"
            "for x in range(4): book.active.append([x, 2 * x + 1])\nbook.save('/tmp/book.xlsx')\n"
            "frame = pandas.read_excel('/tmp/book.xlsx')\n"
            "model = sklearn.linear_model.LinearRegression().fit(frame[['x']], frame['y'])\n"
            "[round(float(model.coef_[0]), 6), round(float(model.intercept_), 6)]")
    assert run(box, code).results[0].json == [2, 1]


def test_images_of_pil_are_shown(box):
    code = "from PIL import Image\nimage = Image.new('RGB', (20, 10), 'red')\n"
    [last] = run(box, code + "image").results
    [shown] = run(box, "image.show()").results
    [saved] = run(box, "image.save('/tmp/image.png')").results
    for result in (last, shown, saved):
        assert image_of(result.png).size == (20, 10)
    assert run(box, "with open('/tmp/other.png', 'wb') as f: image.save(f, 'PNG')").results == []


def test_a_line_chart(box):
    chart = chart_of(box, "plt.plot([1, 2, 3], [4, 5, 6], label='first')\nplt.plot([1, 2], [1, 4])\n"
                          "plt.xlabel('Time (s)'); plt.ylabel('Amplitude [V]'); plt.title('Lines')\n"
                          "plt.grid(True)")
    assert (chart.type.value, chart.title) == ("line", "Lines")
    assert (chart.x_label, chart.x_unit, chart.y_label, chart.y_unit) == (
        "Time (s)", "s", "Amplitude [V]", "V")
    assert (chart.x_scale, chart.y_scale) == ("linear", "linear")
    assert [(e.label, [tuple(p) for p in e.points]) for e in chart.elements] == [
        ("first", [(1, 4), (2, 5), (3, 6)]), ("Line 1", [(1, 1), (2, 4)])]
    assert all(isinstance(t, float) for t in chart.x_ticks) and len(chart.x_tick_labels) > 2


def test_scales_of_axes(box):
    chart = chart_of(box, "plt.plot([1, 2, 3], [1, 10, 100])\nplt.yscale('log')\n"
                          "plt.ylabel('Y-axis (log scale)')")
    assert (chart.y_scale, chart.y_unit) == ("log", "log scale")
    chart = chart_of(box, "import datetime\nplt.plot([datetime.date(2024, 1, d) for d in (1, 2, 3)],"
                          " [1, 2, 3])")
    assert chart.x_scale == "datetime"
    assert chart.elements[0].points[0] == ["2024-01-01", 1.0] or \
        tuple(chart.elements[0].points[0]) == ("2024-01-01", 1.0)
    chart = chart_of(box, "plt.scatter(['a', 'b', 'c'], [1, 2, 3])")
    assert (chart.type.value, chart.x_scale, chart.x_tick_labels) == ("scatter", "categorical",
                                                                       ["a", "b", "c"])


def test_a_scatter_chart(box):
    chart = chart_of(box, "plt.scatter([1, 2], [3, 4], label='dots')\nplt.scatter([5], [6])\n"
                          "plt.axhline(2)")
    assert chart.type.value == "scatter"
    assert [tuple(p) for p in chart.elements[0].points] == [(1, 3), (2, 4)]
    assert chart.elements[0].label == "dots" and len(chart.elements) == 2


def test_a_bar_chart(box):
    chart = chart_of(box, "plt.bar(['A', 'B'], [1, 2.5], label='Books')\nplt.bar(['A', 'B'], [3, 4],"
                          " bottom=[1, 2.5], label='Films')\nplt.xlabel('Author'); plt.title('Sold')")
    assert (chart.type.value, chart.title, chart.x_label, chart.y_label) == ("bar", "Sold", "Author",
                                                                              None)
    assert [(e.label, e.group, e.value) for e in chart.elements] == [
        ("A", "Books", 1), ("B", "Books", 2.5), ("A", "Films", 3), ("B", "Films", 4)]
    level = chart_of(box, "plt.barh(['A', 'B'], [1, 2])\nplt.xlabel('Pieces (n)'); plt.ylabel('What')")
    assert [(e.label, e.value) for e in level.elements] == [("A", 1), ("B", 2)]
    assert (level.x_label, level.y_label, level.y_unit) == ("What", "Pieces (n)", "n")


def test_a_pie_chart(box):
    chart = chart_of(box, "plt.pie([90, 10], labels=['yes', 'no'])")
    assert [(e.label, e.angle, e.radius) for e in chart.elements] == [("yes", 324, 1), ("no", 36, 1)]


def test_a_box_chart(box):
    code = ("plt.boxplot([(85, 90, 78, 92, 88), (95, 89, 76, 91, 84, 87), (75, 82, 88, 79, 86)],"
            " labels=['A', 'B', 'C'], patch_artist=True{})")
    for options in ("", ", vert=False"):
        chart = chart_of(box, code.format(options))
        assert chart.type.value == "box_and_whisker"
        columns = {name: [getattr(e, name) for e in chart.elements] for name in (
            "label", "min", "first_quartile", "median", "third_quartile", "max", "outliers")}
        assert columns == {
            "label": ["A", "B", "C"], "min": [78, 84, 75], "first_quartile": [85, 84.75, 79],
            "median": [88, 88, 82], "third_quartile": [90, 90.5, 86], "max": [92, 95, 88],
            "outliers": [[], [76], []]}


def test_several_charts_in_one_figure(box):
    chart = chart_of(box, "figure, (a, b) = plt.subplots(1, 2)\na.plot([1, 2])\nb.bar(['x'], [3])\n"
                          "figure.suptitle('Both')")
    assert (chart.type.value, chart.title) == ("superchart", "Both")
    assert [c.type.value for c in chart.elements] == ["line", "bar"]


def test_what_is_no_known_chart(box):
    assert chart_of(box, "plt.imshow([[1, 2], [3, 4]])").type.value == "unknown"
    [empty] = run(box, "plt.figure()\nplt.show()").results
    assert empty.chart is None


# ---- other languages ---------------------------------------------------------------------------


def test_javascript_cells(box):
    def js(code, **options):
        return box.run_code(code, language="js", **options)

    js("const a = 1; let b = 2; function add(x, y) { return x + y }")
    assert js("add(a, b)").text == "3"
    assert js("'text'").text == "text" and js("undefined").results == []
    assert js("await new Promise((done) => setTimeout(() => done('later'), 20))").text == "later"
    assert js("const kept = await Promise.resolve(7)\nkept * 2").text == "14" and js("kept").text == "7"
    assert js("import fs, { readFileSync as read } from 'node:fs'\nimport * as path from 'path'\n"
              "[typeof fs.existsSync, typeof read, path.join('a', 'b')].join()").text == \
        "function,function,a/b"
    out = js("console.log('one', { x: 1 }); console.error('two'); console.log('\U0001f600')")
    assert out.logs.stdout == ["one { x: 1 }\n", "\U0001f600\n"] and out.logs.stderr == ["two\n"]
    error = js("function f() { throw new TypeError('bad') }\nf()").error
    assert (error.name, error.value) == ("TypeError", "bad")
    assert "cell-" in error.traceback and "adit" not in error.traceback
    assert js("let x = ;").error.name == "SyntaxError"
    assert js("process.env.CALL", envs={"CALL": "é"}).text == "é" and js("process.env.CALL").results == []
    assert js("display({ 'text/html': '<b>' })").results[0].html == "<b>"
    for endless in ("while (true) {}", "await new Promise(() => {})"):
        with pytest.raises(Exception, match="timed out|timeout"):
            js(endless, timeout=1)
        assert js("a").text == "1"
    assert js("process.exit(3)").error.name == "Exit" and js("a").text == "1"


def test_typescript_cells(box):
    execution = box.run_code("enum E { P, Q }\nconst a: number = E.Q; a", language="ts")
    if box.commands.run("type esbuild || true").stdout:
        assert execution.text == "1"
        assert box.run_code("import { join } from 'path'", language="ts").error is None
        assert box.run_code("join('a', 'b') as string", language="ts").text == "a/b"
    else:
        assert "needs the package esbuild" in execution.error.value


def test_bash_cells(box):
    def sh(code, **options):
        return box.run_code(code, language="bash", **options)

    def out(code, **options):
        return "".join(sh(code, **options).logs.stdout)

    sh("x=5; f() { echo \"f $1\"; }; declare -A m=([a]=1); cd /tmp")
    assert out("echo $x ${m[a]} $PWD; f é") == "5 1 /tmp\nf é\n"
    assert (sh("false").error.name, sh("(exit 3)").error.value) == ("ExitStatus", "3")
    assert sh("echo err >&2").logs.stderr == ["err\n"]
    assert "syntax error" in "".join(sh("if").logs.stderr)
    assert out("printf %s \"$CALL\"", envs={"CALL": "a b\nc"}) == "a b\nc"
    assert out("echo [$CALL]") == "[]\n"
    for endless in ("while :; do :; done", "sleep 100; echo no", "for i in 1 2; do sleep 50; done"):
        with pytest.raises(Exception, match="timed out|timeout"):
            sh(endless, timeout=1)
        assert out("echo still $x") == "still 5\n"
    assert sh("exit 4").error.value == "4" and out("echo [$x]") == "[5]\n"


def test_the_default_contexts(box):
    languages = [c.language for c in box.list_code_contexts()]
    assert {"python", "javascript"} <= set(languages)

# SPDX-License-Identifier: Apache-2.0
"""A whole conversation about data, as a user has it with the code-interpreter client.

A table is uploaded, nothing is installed; every cell builds on those before it. The template is the
one that the client asks for by itself (make template-interpreter).
"""

import io
import re
import zipfile
from base64 import b64decode
from datetime import date, timedelta
from statistics import fmean

import pytest
from e2b_code_interpreter import AsyncSandbox, Sandbox
from PIL import Image

DAYS, REGIONS = 60, ("north", "south", "west")
FIRST = date(2024, 1, 1)
# Units rise by two a day; one price is missing.
ROWS = [(FIRST + timedelta(days=day), region, 10 * at + 2 * day, 2.5 * (at + 1))
        for day in range(DAYS) for at, region in enumerate(REGIONS)]
TABLE = "day,region,units,price\n" + "".join(
    f"{day},{region},{units},{price if at else ''}\n"
    for at, (day, region, units, price) in enumerate(ROWS))


@pytest.fixture(scope="module")
def talk():
    """Runs the next cell of the conversation, which must not fail."""
    sandbox = Sandbox.create(timeout=1800)
    sandbox.files.write("/home/user/data/sales.csv", TABLE)

    def say(code):
        execution = sandbox.run_code(code)
        assert execution.error is None, execution.error.traceback
        return execution

    say.sandbox = sandbox
    say("import pandas as pd\nimport matplotlib.pyplot as plt\n"
        "sales = pd.read_csv('data/sales.csv', parse_dates=['day'])")
    yield say
    sandbox.kill()


def picture(data):
    """An image of an answer (base64) or of a file, whole and in some colours."""
    image = Image.open(io.BytesIO(b64decode(data) if isinstance(data, str) else data))
    image.load()
    assert image.format == "PNG" and len(image.convert("RGB").getcolors(1 << 24)) > 10
    return image


def points(element):
    return [tuple(p) for p in element.points]


def test_the_table_is_looked_at(talk):
    assert talk("sales.shape").text == f"({len(ROWS)}, 4)"
    assert "datetime64" in "".join(talk("sales.info()").logs.stdout)
    [head] = talk("sales.head(2)").results
    assert head.is_main_result and head.html.count("<tr") == 3 and "2024-01-01" in head.text
    assert head.data == {"day": ["2024-01-01T00:00:00"] * 2, "region": ["north", "south"],
                         "units": [0, 10], "price": [None, 5.0]}


def test_it_is_described(talk):
    described = talk("sales.describe(include='number')").results[0]
    units = [u for _, _, u, _ in ROWS]
    assert described.data["units"][:2] == [len(ROWS), pytest.approx(fmean(units))]
    assert described.data["price"][0] == len(ROWS) - 1
    assert "<table" in described.html and "count" in described.text
    assert talk("int(sales['price'].isna().sum())").text == "1"


def test_a_mistake_is_told_and_mended(talk):
    error = talk.sandbox.run_code("sales['price'] = sales['prize'].ffill()").error
    assert (error.name, error.value) == ("KeyError", "'prize'") and "prize" in error.traceback
    talk("sales['price'] = sales.groupby('region')['price'].bfill()")
    assert talk("float(sales['price'].iloc[0])").text == "2.5"


def test_two_figures_are_plotted(talk):
    lines, bars = talk(
        "wide = sales.pivot(index='day', columns='region', values='units')\n"
        "figure, axes = plt.subplots(figsize=(8, 4), dpi=100)\n"
        "for region in wide:\n    axes.plot(wide.index, wide[region], label=region)\n"
        "axes.set(title='Units a day', xlabel='Day', ylabel='Units (pieces)')\naxes.legend()\n"
        "figure.savefig('units.png')\nplt.show()\n"
        "takings = (sales['units'] * sales['price']).groupby(sales['region']).sum()\n"
        "plt.figure(figsize=(6, 3), dpi=100)\nplt.bar(takings.index, takings, label='takings')\n"
        "plt.title('Takings')\nplt.ylabel('Money [EUR]')\n"
        "plt.savefig('takings.png', dpi=200)\nplt.show()").results
    assert not lines.is_main_result and not bars.is_main_result
    for result in (lines, bars):  # without what is white around them
        width, height = picture(result.png).size
        assert 400 < width <= 800 and 200 < height <= 400

    chart = lines.chart
    assert (chart.type.value, chart.title, chart.x_label) == ("line", "Units a day", "Day")
    assert (chart.y_unit, chart.x_scale, chart.y_scale) == ("pieces", "datetime", "linear")
    assert [e.label for e in chart.elements] == list(REGIONS)
    for at, element in enumerate(chart.elements):
        assert [y for _, y in points(element)] == [10 * at + 2 * day for day in range(DAYS)]
        assert points(element)[0][0].startswith("2024-01-01")

    chart = bars.chart
    assert (chart.type.value, chart.title, chart.y_unit) == ("bar", "Takings", "EUR")
    expected = {r: sum(u * p for _, s, u, p in ROWS if s == r) for r in REGIONS}
    assert {e.label: e.value for e in chart.elements} == pytest.approx(expected)
    assert {e.group for e in chart.elements} == {"takings"}


def test_the_saved_figures_are_downloaded(talk):
    files = talk.sandbox.files
    assert picture(bytes(files.read("units.png", format="bytes"))).size == (800, 400)
    assert picture(bytes(files.read("takings.png", format="bytes"))).size == (1200, 600)
    assert {f.name for f in files.list("/home/user")} >= {"units.png", "takings.png", "data"}


def test_it_is_fitted_and_predicted(talk):
    fit = talk("from scipy import stats\nnorth = sales[sales.region == 'north']\n"
               "fit = stats.linregress(range(len(north)), north['units'])\n"
               "print(f'{fit.slope:.3f} a day')\nround(fit.rvalue, 6)")
    assert (fit.logs.stdout, float(fit.text)) == (["2.000 a day\n"], 1.0)
    assert talk("from sklearn.linear_model import LinearRegression\nimport numpy as np\n"
                "model = LinearRegression().fit(np.arange(len(north))[:, None], north['units'])\n"
                "round(float(model.predict([[100]])[0]))").text == "200"
    [formula] = talk("import sympy\nd = sympy.Symbol('d')\nsympy.integrate(2 * d, d)").results
    assert (formula.text, formula.latex) == ("d**2", r"$\displaystyle d^{2}$")


def test_the_answer_is_a_spreadsheet(talk):
    talk("takings.rename('takings').to_frame().to_excel('takings.xlsx')")
    book = zipfile.ZipFile(io.BytesIO(bytes(talk.sandbox.files.read("takings.xlsx",
                                                                    format="bytes"))))
    sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert len(re.findall("<row ", sheet)) == 1 + len(REGIONS)
    back = talk("pd.read_excel('takings.xlsx', index_col=0)").results[0]
    assert back.data["takings"] == pytest.approx(
        [sum(u * p for _, s, u, p in ROWS if s == r) for r in REGIONS])


async def test_two_conversations_at_once_keep_their_tables():
    sandbox = await AsyncSandbox.create(timeout=120)
    try:
        await sandbox.files.write("/home/user/sales.csv", TABLE)
        contexts = [await sandbox.create_code_context() for _ in range(2)]
        for region, context in zip(REGIONS, contexts):
            done = await sandbox.run_code(
                "import pandas as pd\nmine = pd.read_csv('sales.csv')\n"
                f"mine = mine[mine.region == {region!r}]", context=context)
            assert done.error is None, done.error.traceback
        means = [float((await sandbox.run_code("mine.units.mean()", context=c)).text)
                 for c in contexts]
        assert means == [fmean(u for _, s, u, _ in ROWS if s == r) for r in REGIONS[:2]]
    finally:
        await sandbox.kill()

# SPDX-License-Identifier: Apache-2.0
"""What a matplotlib figure shows, as data: the chart payload of results.

Part of the Python kernel, compiled when the first figure is shown. A figure is read, never changed.
What the axes have drawn decides the kind: lines, box plots, points, wedges, bars, or unknown.
"""
import datetime
import re

import numpy
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer
from matplotlib.dates import num2date
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch, Rectangle, Wedge
from matplotlib.text import Text

UNIT = re.compile(r"\s\((.*?)\)|\[(.*?)\]")


def chart_of(figure):
    """The payload, or None where there is nothing to tell."""
    all_axes = [a for a in figure.axes if a.has_data()]
    if not all_axes:
        return None
    if len(all_axes) == 1:
        return axes_chart(all_axes[0])
    title = figure._suptitle.get_text() if figure._suptitle else ""
    return {"type": "superchart", "title": title.strip() or None,
            "elements": [axes_chart(a) for a in all_axes]}


def axes_chart(axes):
    kind = kind_of(axes)
    chart = {"type": kind, "title": axes.get_title().strip() or None}
    if kind in ("line", "scatter", "bar", "box_and_whisker"):
        chart.update(labels_of(axes))
    if kind in ("line", "scatter"):
        chart.update(ticks_of(axes.xaxis, "x"))
        chart.update(ticks_of(axes.yaxis, "y"))
    chart["elements"] = ELEMENTS[kind](axes, chart)
    return chart


def kind_of(axes):
    drawn = [c for c in axes._children if not isinstance(c, Text)]
    if all(isinstance(c, Line2D) for c in drawn):
        return "line"
    if all(isinstance(c, (Line2D, PathPatch)) for c in drawn):
        return "box_and_whisker"
    drawn = [c for c in drawn if not is_grid_line(c)]
    for kind, shape in (("scatter", PathCollection), ("pie", Wedge), ("bar", Rectangle)):
        if all(isinstance(c, shape) for c in drawn):
            return kind
    return "unknown"


def is_grid_line(artist):
    """A line between two points, level or upright."""
    if not isinstance(artist, Line2D):
        return False
    x, y = artist.get_xdata(orig=False), artist.get_ydata(orig=False)
    return len(x) == 2 and (x[0] == x[1] or y[0] == y[1])


# ---- what axes say ----------------------------------------------------------------------------


def unit_of(label):
    found = UNIT.search(label)
    return (found[1] or found[2] or None) if found else None


def labels_of(axes):
    x, y = axes.get_xlabel().strip(), axes.get_ylabel().strip()
    return {"x_label": x or None, "y_label": y or None, "x_unit": unit_of(x), "y_unit": unit_of(y)}


def is_dates(axis):
    return "Date" in type(getattr(axis, "converter", None)).__name__


def tick_labels(axis):
    return [str(label) for label in axis.get_major_formatter().format_ticks(axis.get_majorticklocs())]


def scale_of(axis, ticks, labels):
    if is_dates(axis):
        return "datetime"
    if axis.get_scale() != "linear":
        return axis.get_scale()
    counted = [float(i) for i in range(len(ticks))]
    is_named = list(map(float, ticks)) == counted and not all(is_number(text) for text in labels)
    return "categorical" if is_named else "linear"


def is_number(text):
    try:
        float(text.replace("\N{MINUS SIGN}", "-"))
        return True
    except ValueError:
        return False


def ticks_of(axis, name):
    ticks, labels = axis.get_majorticklocs(), tick_labels(axis)
    shown = [point(t, axis) for t in ticks]
    return {f"{name}_ticks": shown, f"{name}_tick_labels": labels,
            f"{name}_scale": scale_of(axis, ticks, labels)}


def point(value, axis):
    """One coordinate: a number, or a time as text."""
    if isinstance(value, numpy.datetime64):
        return str(numpy.datetime_as_string(value, unit="s"))
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, str):
        return value
    if is_dates(axis):
        return num2date(float(value)).replace(tzinfo=None).isoformat()
    return float(value)


def name_of(artist, prefix, word):
    """Its label, or a name where matplotlib made one up ("_child3")."""
    label = str(artist.get_label())
    return f"{word} {label[len(prefix):]}" if label.startswith(prefix) else label


# ---- elements ---------------------------------------------------------------------------------


def line_elements(axes, _):
    out = []
    for line in axes.lines:
        if is_grid_line(line):
            continue
        points = [[point(x, axes.xaxis), point(y, axes.yaxis)]
                  for x, y in zip(line.get_xdata(), line.get_ydata())]
        out.append({"label": name_of(line, "_child", "Line"), "points": points})
    return out


def scatter_elements(axes, _):
    return [{"label": name_of(c, "_child", "Scatter"),
             "points": [[point(x, axes.xaxis), point(y, axes.yaxis)] for x, y in c.get_offsets()]}
            for c in axes.collections]


def bar_elements(axes, chart):
    groups = [c for c in axes.containers if isinstance(c, BarContainer)]
    bars = [bar for group in groups for bar in group]
    is_level = len(bars) > 1 and len({bar.get_height() for bar in bars}) == 1 \
        and len({bar.get_width() for bar in bars}) > 1
    names = tick_labels(axes.yaxis if is_level else axes.xaxis)
    if is_level:
        swap_labels(chart)
    out = []
    for group in groups:
        for i, bar in enumerate(group):
            at = bar.get_y() + bar.get_height() / 2 if is_level else bar.get_x() + bar.get_width() / 2
            out.append({"label": names[i] if len(names) == len(group) else f"{at:g}",
                        "group": name_of(group, "_container", "Group"),
                        "value": float(bar.get_width() if is_level else bar.get_height())})
    return out


def swap_labels(chart):
    for part in ("label", "unit"):
        chart[f"x_{part}"], chart[f"y_{part}"] = chart[f"y_{part}"], chart[f"x_{part}"]


def pie_elements(axes, _):
    """Angles are computed in single precision."""
    return [{"label": str(w.get_label()), "angle": float(f"{abs(w.theta2 - w.theta1):.6g}"),
             "radius": float(w.r)} for w in axes.patches if isinstance(w, Wedge)]


def rounded(value):
    return float(f"{value:.8g}")


def box_elements(axes, chart):
    """Each box with the lines that stand on its middle: whiskers, median, outliers."""
    shapes = [p.get_path().get_extents(p.get_patch_transform()) for p in axes.patches]
    lines = [(line, numpy.column_stack([line.get_xdata(orig=False), line.get_ydata(orig=False)])
              .astype(float)) for line in axes.lines]
    is_level = len(shapes) > 0 and not any(is_whisker(p, shapes[0], 0) for _, p in lines)
    along = 0 if is_level else 1  # the coordinate that has the values
    names = tick_labels(axes.yaxis if is_level else axes.xaxis)
    if is_level:
        swap_labels(chart)
    return [box_element(shape, lines, along, names[i] if i < len(names) else str(i + 1))
            for i, shape in enumerate(shapes)]


def middle(shape, across):
    return (shape.min[across] + shape.max[across]) / 2


def is_whisker(points, shape, across):
    return len(points) == 2 and numpy.allclose(points[:, across], middle(shape, across))


def box_element(shape, lines, along, name):
    across = 1 - along
    first, third = float(shape.min[along]), float(shape.max[along])
    values, median, outliers = [first, third], None, []
    for line, points in lines:
        if line.get_linestyle() == "None":
            outliers += [rounded(p[along]) for p in points
                         if numpy.isclose(p[across], middle(shape, across))]
        elif is_whisker(points, shape, across):
            values += [float(v) for v in points[:, along]]
        elif len(points) == 2 and numpy.allclose(sorted(points[:, across]),
                                                 [shape.min[across], shape.max[across]]):
            median = rounded(points[0][along])
    return {"label": name, "min": rounded(min(values)), "first_quartile": rounded(first),
            "median": median, "third_quartile": rounded(third), "max": rounded(max(values)),
            "outliers": outliers}


ELEMENTS = {
    "line": line_elements,
    "scatter": scatter_elements,
    "bar": bar_elements,
    "pie": pie_elements,
    "box_and_whisker": box_elements,
    "unknown": lambda axes, chart: [],
}

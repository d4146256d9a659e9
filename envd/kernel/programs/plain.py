# SPDX-License-Identifier: Apache-2.0
"""The Python kernel's cells where the image has no IPython: the standard library alone.

Part of python.py, in whose names it is run. Lines that are not Python ("!ls", "%pip") are found by
the parser: it says which line it does not understand.
"""


def shell_line(command):
    run_shell(command)


def shell_lines(command):
    import subprocess
    done = subprocess.run(command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    return done.stdout.decode("utf-8", "replace").splitlines()


def magic(name, rest):
    """The few %magics that need no IPython."""
    if name == "pip":
        import shlex
        run_shell(f"{shlex.quote(sys.executable)} -m pip {rest}")
        return None
    if name == "cd":
        os.chdir(os.path.expanduser(rest.strip("'\"") or "~"))
        print(os.getcwd())
        return None
    if name == "pwd":
        return os.getcwd()
    if name == "env":
        key, is_set, value = rest.partition("=")
        if is_set:
            os.environ[key.strip()] = value.strip()
            return None
        return os.environ.get(key, "") if key else dict(os.environ)
    raise NameError(f"%{name} needs IPython, which is not installed in this sandbox "
                    "(package ipython3, or pip install ipython)")


def python_line(line):
    """The Python for a line like "!ls" or "%pip install x"; None if it is neither."""
    import re
    if m := re.match(r"^(\s*)(?:([A-Za-z_]\w*)\s*=\s*)?!(.*)$", line):
        call = "__adit_lines__" if m[2] else "__adit_shell__"
        return f"{m[1]}{m[2] + ' = ' if m[2] else ''}{call}({m[3]!r})"
    if m := re.match(r"^(\s*)%([A-Za-z]\w*)\s*(.*)$", line):
        return f"{m[1]}__adit_magic__({m[2]!r}, {m[3].strip()!r})"
    return None


def parse(code, name):
    """The cell's tree. The parser says which line is not Python; such a line may be ours."""
    while True:
        try:
            return compile(code, name, "exec", _ast.PyCF_ONLY_AST | _ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
                           dont_inherit=True), code
        except SyntaxError as e:
            lines = code.split("\n")
            at = (e.lineno or 0) - 1
            ours = python_line(lines[at]) if 0 <= at < len(lines) else None
            if ours is None:
                raise
            lines[at] = ours
            code = "\n".join(lines)


def split_cell_magic(code):
    """"%%bash" and the rest of the cell, as a command for it; else None."""
    first, _, rest = code.partition("\n")
    return rest if first.rstrip() in ("%%bash", "%%sh") else None


# ---- figures of matplotlib ----------------------------------------------------------------------


def png_of(figure):
    """None: nothing is drawn."""
    if not figure.axes and not figure.lines:
        return None
    data = io.BytesIO()
    figure.savefig(data, format="png", bbox_inches="tight")
    return data.getvalue()


def show_figures(*_, **__):
    """Have the open figures be results, as with IPython. They are closed then."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None or channel.is_forked:
        return
    try:
        display(*map(pyplot.figure, pyplot.get_fignums()))
    finally:
        pyplot.close("all")


class Plain:
    """Cells by the standard library alone."""

    def __init__(self, names):
        self.names = names
        self.flags = 0
        self.count = 0
        self.sources = {}
        self.loop = None
        names.update(display=display, __adit_lines__=shell_lines, __adit_magic__=magic,
                     __adit_shell__=shell_line)
        sys.displayhook = self.show
        os.environ.setdefault("MPLBACKEND", "agg")
        Patch("matplotlib.figure", lambda m: setattr(m.Figure, "_repr_png_", png_of))
        Patch("matplotlib.pyplot", lambda m: setattr(m, "show", show_figures))

    def show(self, value):
        if value is None:
            return
        self.names["_"] = value
        send_result({**bundle_of(value), **extras_of(value)}, True)

    def run(self, code):
        try:
            self.run_cell(code)
        finally:
            show_figures()

    def run_cell(self, code):
        code = outdented(code)
        script = split_cell_magic(code)
        if script is not None:
            run_shell(script)
            return
        self.count += 1
        name = f"<cell {self.count}>"
        tree, code = parse(code, name)
        self.sources[name] = code
        self.show_sources()
        last = None
        if tree.body and isinstance(tree.body[-1], _ast.Expr) and not ends_quietly(code, tree.body[-1]):
            last = _ast.Expression(tree.body.pop().value)
        self.run_part(tree, name, "exec")
        if last:
            sys.displayhook(self.run_part(last, name, "eval"))

    def show_sources(self):
        """Have tracebacks and inspect find the cells, once they are there."""
        if "linecache" not in sys.modules:
            return
        cache = sys.modules["linecache"].cache
        while self.sources:
            name, code = self.sources.popitem()
            cache[name] = (len(code), None, code.splitlines(True), name)

    def run_part(self, tree, name, mode):
        made = compile(tree, name, mode, self.flags | _ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
                       dont_inherit=True)
        self.flags |= made.co_flags & FUTURE_FLAGS
        value = eval(made, self.names)
        return self.wait_for(value) if made.co_flags & CO_COROUTINE else value

    def wait_for(self, coroutine):
        import asyncio
        if self.loop is None or self.loop.is_closed():
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        task = self.loop.create_task(coroutine)
        try:
            return self.loop.run_until_complete(task)
        except KeyboardInterrupt:
            task.cancel()
            try:
                self.loop.run_until_complete(task)
            except BaseException:
                pass  # it was told to end
            raise


CO_COROUTINE = 0x80
FUTURE_FLAGS = 0x1FE0000  # what "from __future__ import" sets holds for the cells that follow


def ends_quietly(code, last):
    """Does a semicolon follow the cell's last statement?"""
    line = code.split("\n")[last.end_lineno - 1].encode()
    return line[last.end_col_offset:].lstrip().startswith(b";")

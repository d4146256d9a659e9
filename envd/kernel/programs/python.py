# SPDX-License-Identifier: Apache-2.0
"""The Python kernel: runs the cells of one context.

envd starts it with the guest's own python3 and gives it this text over the channel. Frames are
"<letter> <length>\n<bytes>" (envd/kernel/kernel_message.h). The user's names live in a fresh
__main__; nothing of the kernel is in it. Only the main thread runs cells: by IPython where the
image has it, else by the standard library alone.

Output of Python itself (sys.stdout, sys.stderr, results) goes through one queue to the channel, so
that its order is exact. What programs and C code write to descriptors 1 and 2 is read by envd from
the pipes: a frame is sent when they are empty, or after an "F", which has envd empty them first.
Before a program is started after an "F", "W" waits until envd has come to it: else it would take
what that program writes for earlier output.

A SIGINT becomes KeyboardInterrupt in the cell. It and the signals that a cell handles itself are
handled in cells only: inside a frame they wait for its end, between cells they are passed over.

Modules of the standard library that cost memory (re, json, traceback and their kin) are imported
when a cell first needs them: an idle context is little more than Python itself.
"""
import _ast
import _signal
import _thread
import builtins
import codecs
import fcntl
import io
import os
import struct
import sys
import time
from _collections import deque
from _json import encode_basestring_ascii

# Of one frame's text; of a result; after so long a text waits no more.
TEXT_MAX = 32 * 1024
RESULT_MAX = 8 * 1024 * 1024
DELAY_S = 0.02
PATIENCE_S = 0.1
DEPTH_MAX = 40
FRAMES_MAX = 300
FIONREAD = 0x541B

# A cell may replace what it finds in modules: the kernel has names of its own.
BUILTINS = __builtins__ = dict(vars(builtins))
MAIN_THREAD = _thread.get_ident()
monotonic, sleep, get_ident = time.monotonic, time.sleep, _thread.get_ident
write, getpid, dup2, is_same_file = os.write, os.getpid, os.dup2, os.path.sameopenfile
set_handler, get_handler = _signal.signal, _signal.getsignal
KERNEL_PID = getpid()


class Channel:
    """The queue of frames to envd. Any thread may put; whoever holds the lock writes."""

    def __init__(self, fd):
        self.fd = fd
        self.items = deque()
        self.lock = _thread.allocate_lock()
        self.writer = None
        self.size = 0
        self.sent_at = 0.0
        self.timer = None
        self.is_armed = False
        self.signals = {}  # number → handler and frame, until a frame is written
        self.is_forked = False
        self.patience = PATIENCE_S
        self.is_ahead = False  # envd may not have emptied the pipes that an "F" told it to

    def put(self, kind, text):
        self.items.append((kind, text))
        self.pump()

    def put_text(self, kind, text):
        """The first line leaves at once, what follows it closely waits for more."""
        self.items.append((kind, text))
        self.size += len(text)
        if self.size >= TEXT_MAX:
            self.pump()
        elif self.is_armed:
            pass  # it leaves soon
        elif text.endswith("\n") and monotonic() - self.sent_at > DELAY_S:
            self.pump()
        else:
            self.arm()

    def arm(self):
        """Have what waits sent soon."""
        self.is_armed = True
        if self.timer is None:
            self.timer = _thread.allocate_lock()
            self.timer.acquire()
            _thread.start_new_thread(self.send_late, (self.timer,))
        try:
            self.timer.release()
        except RuntimeError:
            pass  # another thread was as quick

    def send_late(self, timer):
        while True:
            timer.acquire()
            sleep(DELAY_S)
            self.is_armed = False
            self.pump()

    def pump(self):
        """Write all that waits. Inside itself (a signal handler or finalizer prints) it only waits."""
        if self.writer == get_ident():
            return
        with self.lock:
            self.writer = get_ident()
            try:
                while self.items:
                    self.write(self.frames())
            finally:
                self.writer = None
        self.handle_signals()

    def handle_signals(self):
        while self.signals and get_ident() == MAIN_THREAD:
            number, (handle, frame) = self.signals.popitem()
            handle(number, frame)

    def settle(self, source):
        """Have envd take all that came before. The main thread alone reads what it answers."""
        self.pump()
        if not self.is_ahead or get_ident() != MAIN_THREAD or self.writer == MAIN_THREAD:
            return
        with self.lock:
            self.writer = MAIN_THREAD
            try:
                self.is_ahead = False
                self.write(b"W 0\n")
                if not source.readline():
                    os._exit(0)
            finally:
                self.writer = None
        self.handle_signals()

    def frames(self):
        out = []
        if not self.pipes_are_empty():
            out.append(b"F 0\n")
            self.is_ahead = True
        last, texts = None, []
        self.size = 0
        for _ in range(len(self.items)):
            kind, text = self.items.popleft()
            if kind != last or kind not in "OE":
                self.add_frames(out, last, texts)
                last, texts = kind, []
            texts.append(text)
        self.add_frames(out, last, texts)
        return b"".join(out)

    @staticmethod
    def add_frames(out, kind, texts):
        if kind is None:
            return
        text = "".join(texts)
        step = TEXT_MAX if kind in "OE" else len(text) or 1
        for at in range(0, len(text) or 1, step):
            body = text[at:at + step].encode("utf-8", "backslashreplace")
            out.append(b"%s %d\n" % (kind.encode(), len(body)))
            out.append(body)

    @staticmethod
    def lies_in(fd):
        try:
            return struct.unpack("i", fcntl.ioctl(fd, FIONREAD, b"\0\0\0\0"))[0]
        except OSError:
            return 0  # the cell closed it

    def pipes_are_empty(self):
        """Give envd the time to read what programs wrote before; not for ever: one may not end."""
        until = None
        while self.lies_in(1) or self.lies_in(2):
            now = monotonic()
            until = until or now + self.patience
            if now >= until:
                self.patience = 0  # somebody writes without end: this cell waits no more
                return False
            sleep(0.0001)
        return True

    def write(self, data):
        view = memoryview(data)
        try:
            while view:
                view = view[write(self.fd, view):]
        except OSError:
            os._exit(1)  # envd is gone, or the cell closed the channel
        self.sent_at = monotonic()

    def after_fork(self):
        """In a child of a cell: the channel is the parent's; the child writes to the pipes."""
        self.items.clear()
        self.lock = _thread.allocate_lock()
        self.writer = self.timer = None
        self.is_armed = False
        self.signals.clear()
        self.is_forked = True
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


class Bytes(io.RawIOBase):
    """sys.stdout.buffer: bytes join the text."""

    def __init__(self, text):
        self.text = text
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def writable(self):
        return True

    def write(self, data):
        data = bytes(data)
        self.text.write(self.decoder.decode(data))
        return len(data)

    def flush(self):
        self.text.flush()

    def fileno(self):
        return self.text.fileno()


class Text(io.TextIOBase):
    """sys.stdout or sys.stderr. In a forked child it writes to its descriptor."""

    encoding, errors, newlines, line_buffering = "utf-8", "backslashreplace", None, True

    def __init__(self, channel, kind, fd, name):
        self.channel, self.kind, self.fd, self.name, self.mode = channel, kind, fd, name, "w"
        self.buffer = Bytes(self)

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self.channel.is_forked:
            write_all(self.fd, text.encode("utf-8", "backslashreplace"))
        elif text:
            self.channel.put_text(self.kind, text)
        return len(text)

    def flush(self):
        if not self.channel.is_forked:
            self.channel.pump()

    def writable(self):
        return True

    def fileno(self):
        return self.fd

    def isatty(self):
        return False

    def close(self):
        self.flush()  # other cells need it

    def reconfigure(self, **_):
        self.flush()


def write_all(fd, data):
    while data:
        data = data[write(fd, data):]


# ---- results ----------------------------------------------------------------------------------

FIELDS = {
    "text/plain": "text",
    "text/html": "html",
    "text/markdown": "markdown",
    "image/svg+xml": "svg",
    "image/png": "png",
    "image/jpeg": "jpeg",
    "application/pdf": "pdf",
    "text/latex": "latex",
    "application/json": "json",
    "application/javascript": "javascript",
    "e2b/data": "data",
    "e2b/chart": "chart",
}
METHODS = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_pdf_": "application/pdf",
    "_repr_latex_": "text/latex",
    "_repr_json_": "application/json",
    "_repr_javascript_": "application/javascript",
}


def plain(value, depth=0):
    """A copy of `value` that is JSON: other numbers as numbers, other keys and values as text."""
    if value is None or isinstance(value, (bool, str)):
        return value if type(value) in (bool, str, type(None)) else str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        number = float(value)
        return number if number - number == 0 else None
    if depth > DEPTH_MAX:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        return {str(k): plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v, depth + 1) for v in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return plain(value.tolist(), depth + 1)
    return str(value)


def as_text(value):
    """Binary formats as base64 without line ends, text as it is."""
    if isinstance(value, (bytes, bytearray)):
        import base64
        return base64.b64encode(value).decode()
    return value.replace("\n", "") if isinstance(value, str) else plain(value)


def unquoted(text):
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text


def data_of(frame):
    return {str(k): [plain(v) for v in column] for k, column in frame.to_dict(orient="list").items()}


def is_a(value, module, name):
    """isinstance() without importing what the cell has not imported."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def call_repr(value, name):
    """What a _repr_…_ method says, or None. One that fails is passed over, as if it were missing."""
    method = getattr(type(value), name, None)
    if method is None or isinstance(value, type):
        return None
    try:
        return method(value)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None


def bundle_of(value):
    """MIME type → content, of anything."""
    bundle = {"text/plain": repr(value)}
    for name, mime in METHODS.items():
        said = call_repr(value, name)
        said = said[0] if isinstance(said, tuple) and said else said
        if said is not None:
            bundle[mime] = said
    said = call_repr(value, "_repr_mimebundle_")
    said = said[0] if isinstance(said, tuple) and said else said
    if isinstance(said, dict):
        bundle.update(said)
    return bundle


charts = {}


def chart_of(figure):
    """What a figure shows, as data; {} if it cannot be told. None: nothing."""
    try:
        if not charts:
            exec(compile(kernel.sources["charts"], "<kernel>", "exec"), charts)
        return charts["chart_of"](figure)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return {}  # a figure of a kind that nobody thought of


def extras_of(value):
    """MIME types that clients get beyond the value's own."""
    try:
        if is_a(value, "pandas", "DataFrame"):
            return {"e2b/data": data_of(value)}
        if is_a(value, "matplotlib.figure", "Figure"):
            chart = chart_of(value)
            return {} if chart is None else {"e2b/chart": plain(chart)}
        if type(value) in (list, dict):
            return {"application/json": plain(value)}
    except (ValueError, TypeError, RecursionError):
        pass  # it has no such form
    return {}


def members_of(bundle, is_main):
    out = {"is_main_result": is_main}
    extra = {}
    for mime, content in bundle.items():
        field = FIELDS.get(mime)
        if field in ("json", "data", "chart"):
            out[field] = plain(content)
        elif field in ("png", "jpeg", "pdf"):
            out[field] = as_text(content)
        elif field:
            out[field] = content if isinstance(content, str) else str(content)
        else:
            extra[str(mime)] = as_text(content) if isinstance(content, bytes) else plain(content)
    if "text" in out:
        out["text"] = unquoted(out["text"])
    out["extra"] = extra
    return out


def as_json(value):
    """JSON of what members_of() makes; most of it is text."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if type(value) is bool:
        return "true" if value else "false"
    if value == {}:
        return "{}"
    import json
    return json.dumps(value, allow_nan=False)


def object_of(members):
    return "{%s}" % ",".join(f"{as_json(k)}:{v}" for k, v in members.items())


def send_result(bundle, is_main):
    members = {k: as_json(v) for k, v in members_of(bundle, is_main).items()}
    if sum(map(len, members.values())) > RESULT_MAX:
        big = [k for k, v in members.items() if len(v) > RESULT_MAX // 16]
        print(f"result too large: {', '.join(big)} left out", file=sys.stderr)
        members = {k: v for k, v in members.items() if k not in big}
    channel.put("P", object_of(members))


def display(*values, **options):
    """Show values as results, each in all its formats; with raw=True dictionaries of formats."""
    for value in values:
        bundle = dict(value) if options.get("raw") else bundle_of(value)
        if not options.get("raw"):
            bundle.update(extras_of(value))
        send_result(bundle, False)


# ---- errors -----------------------------------------------------------------------------------


def without_kernel(shown):
    """The cell's frames alone, also in the exceptions that led to this one."""
    rest, seen = [shown], set()
    while rest:
        one = rest.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.stack[:] = [f for f in one.stack if f.filename != "<kernel>"]
        rest += [one.__cause__, one.__context__, *(getattr(one, "exceptions", None) or ())]
    return shown


def depth_of(frames):
    depth = 0
    while frames is not None:
        depth, frames = depth + 1, frames.tb_next
    return depth


def send_error(error):
    try:
        import traceback
        kernel.shell.show_sources()
        limit = -FRAMES_MAX if depth_of(error.__traceback__) > FRAMES_MAX else None
        shown = traceback.TracebackException(type(error), error, error.__traceback__, limit=limit,
                                             compact=True)
        text = "".join(without_kernel(shown).format())
        value = str(error)
    except Exception:
        text = value = "<the exception cannot be shown>"
    put_error(type(error).__name__, value, text)


def put_error(name, value, text):
    members = {"name": name, "value": value, "traceback": text}
    channel.put("X", object_of({k: as_json(str(v)[:RESULT_MAX // 16]) for k, v in members.items()}))


def no_input(prompt=""):
    raise RuntimeError("input() is not possible here: nobody can answer; pass values in the code")


# ---- cells ------------------------------------------------------------------------------------


def run_shell(command):
    """Run a command; its output is the cell's. Return: its exit code."""
    import subprocess
    channel.pump()
    with subprocess.Popen(command, shell=True, executable="/bin/bash" if os.path.exists("/bin/bash")
                          else None, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as child:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while piece := os.read(child.stdout.fileno(), TEXT_MAX):
            sys.stdout.write(decoder.decode(piece))
    return child.returncode


def outdented(code):
    """Without the empty lines at the start, and without the first line's indentation in all."""
    lines = code.lstrip("\n").split("\n")
    while lines and not lines[0].strip():
        lines.pop(0)
    if not lines:
        return ""
    indent = lines[0][:len(lines[0]) - len(lines[0].lstrip(" \t"))]
    return "\n".join(line[len(indent):] if line.startswith(indent) else line for line in lines)


def load(source):
    """Run a part of the kernel. A child compiles: what that needs of memory would stay."""
    import marshal
    reading, writing = os.pipe()
    if not os.fork():
        with open(writing, "wb") as pipe:
            pipe.write(marshal.dumps(compile(source, "<kernel>", "exec")))
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        code = marshal.load(pipe)
    os.wait()
    exec(code, globals())


def is_installed(name):
    return any(finder.find_spec(name, None) for finder in sys.meta_path)


class Patch:
    """A finder that has a module changed once it is imported."""

    def __init__(self, name, change):
        self.name, self.change = name, change
        sys.meta_path.insert(0, self)

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        import importlib.util
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_change(module):
            load(module)
            self.change(module)

        spec.loader.exec_module = load_and_change
        return spec


def show_images(module):
    """Images of PIL are shown as results, by show() and when they are saved."""
    image, save = module.Image, module.Image.save

    def save_and_show(self, fp, *args, **options):
        save(self, fp, *args, **options)
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if isinstance(fp, str) and not caller.startswith("matplotlib"):  # its figures are shown
            show(self)

    def show(self, *_, **__):
        data = io.BytesIO()
        save(self, data, "PNG")
        send_result({"text/plain": repr(self), "image/png": data.getvalue()}, False)

    image.save, image.show = save_and_show, show


class Variables:
    """The environment: what holds for good, and what a cell alone has."""

    def __init__(self):
        self.cell = {}

    @staticmethod
    def pairs(body):
        text = body.decode("utf-8", "surrogateescape")
        return dict(p.split("=", 1) for p in text.split("\0") if p)

    def set_cell(self, body):
        for name, value in self.pairs(body).items():
            self.cell[name] = os.environ.get(name)
            os.environ[name] = value

    def restore(self):
        while self.cell:
            name, value = self.cell.popitem()
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# ---- signals ----------------------------------------------------------------------------------


def guarded(handler):
    """`handler`, called when a cell runs and no frame is being written: it may raise."""
    if not callable(handler):
        return handler

    def handle(number, frame):
        if channel.writer == MAIN_THREAD:
            channel.signals[number] = (handle, frame)
        elif kernel.is_running:
            handler(number, frame)

    handle.handler = handler
    return handle


def unguarded(handler):
    return getattr(handler, "handler", handler)


def set_guarded_handler(number, handler):
    return unguarded(set_handler(number, guarded(handler)))


def get_unguarded_handler(number):
    return unguarded(get_handler(number))


def is_open_as(fd, kept):
    try:
        return is_same_file(fd, kept)
    except OSError:
        return False


class Kernel:
    def __init__(self, source):
        self.source = source
        self.sources = {name: self.read()[1] for name in ("charts", "plain", "ipython")}
        self.is_running = False
        self.variables = Variables()
        self.streams = (Text(channel, "O", 1, "<stdout>"), Text(channel, "E", 2, "<stderr>"))
        self.kept = tuple(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200) for fd in (1, 2))
        main = type(sys)("__main__")
        main.__builtins__ = builtins
        sys.modules["__main__"] = main
        sys.argv = [""]
        builtins.input = no_input
        if is_installed("IPython"):
            load(self.sources["ipython"])
            self.shell = interactive(main)
        else:
            load(self.sources["plain"])
            self.shell = Plain(main.__dict__)
        Patch("PIL.Image", show_images)
        os.register_at_fork(before=self.before_fork, after_in_child=channel.after_fork)
        sys.addaudithook(self.on_audit)

    def before_fork(self):
        if getpid() == KERNEL_PID:
            channel.settle(self.source)

    def on_audit(self, event, _):
        """What was printed leaves before a program can print."""
        if event in ("os.system", "subprocess.Popen", "os.posix_spawn"):
            self.before_fork()

    def prepare(self):
        """What an earlier cell may have broken. What can still be called was meant so."""
        for name, value in BUILTINS.items():
            if callable(value) and not callable(builtins.__dict__.get(name)):
                builtins.__dict__[name] = value
        channel.patience = PATIENCE_S
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = self.streams
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
        for fd, kept in zip((1, 2), self.kept):
            try:
                if not is_open_as(fd, kept):
                    dup2(kept, fd)
            except OSError:
                pass  # the cell closed what was kept

    def run(self, code):
        self.prepare()
        try:
            try:
                self.is_running = True
                self.shell.run(code)
            finally:
                self.is_running = False
        except BaseException as error:
            self.is_running = False  # an interrupt may have come before it was
            if getpid() == KERNEL_PID:
                send_error(error)
            elif not isinstance(error, SystemExit):
                import traceback
                traceback.print_exc()
        if getpid() != KERNEL_PID:
            os._exit(0)  # a child that the cell forked came to the cell's end
        self.variables.restore()
        channel.put("D", "")

    def read(self):
        head = self.source.readline()
        if not head:
            os._exit(0)
        kind, size = head.split()
        return kind, self.source.read(int(size))

    def serve(self):
        channel.put("R", "")
        while True:
            kind, body = self.read()
            if kind == b"X":
                self.run(body.decode("utf-8", "replace"))
            elif kind == b"G":
                os.environ.update(self.variables.pairs(body))
            elif kind == b"V":
                self.variables.set_cell(body)
            elif kind == b"D":
                try:
                    os.chdir(body)
                except OSError as error:
                    channel.put("E", f"cannot enter the directory: {error}\n")


channel = Channel(channel_fd)
_signal.signal, _signal.getsignal = set_guarded_handler, get_unguarded_handler
_signal.signal(_signal.SIGINT, _signal.SIG_IGN)
kernel = Kernel(channel_source)
kernel.serve()

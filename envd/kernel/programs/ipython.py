# SPDX-License-Identifier: Apache-2.0
"""The Python kernel's cells where the image has IPython: its shell, with what it shows sent by us.

Part of python.py, in whose names it is run.
"""


def interactive(main):
    """Cells by IPython, with results and errors sent by us."""
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets import Type
    from traitlets.config import Config

    class Hook(DisplayHook):
        def write_output_prompt(self):
            pass

        def write_format_data(self, format_dict, md_dict=None):
            send_result(format_dict, True)

        def finish_displayhook(self):
            self._is_active = False

    class Publisher(DisplayPublisher):
        def publish(self, data, *_, **__):
            send_result(data, False)

        def clear_output(self, wait=False):
            pass  # what was sent cannot be taken back

    class Shell(InteractiveShell):
        displayhook_class = Type(Hook)
        display_pub_class = Type(Publisher)

        def _showtraceback(self, etype, evalue, stb):
            lines = stb if isinstance(stb, list) else [str(stb)]
            put_error(etype.__name__, evalue, "\n".join(lines))

        def system(self, cmd):
            self.user_ns["_exit_code"] = run_shell(self.var_expand(cmd, depth=1))

        def enable_gui(self, gui=None):
            pass  # there is no screen

        def show_sources(self):
            pass  # IPython does it

        def run(self, code):
            self.run_cell(outdented(code), store_history=True)

    config = Config()
    config.HistoryManager.enabled = False
    config.PlainTextFormatter.max_seq_length = 0
    config.InteractiveShell.update(colors="NoColor", autoawait=True, history_length=0)
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    shell = Shell.instance(config=config, user_module=main)
    formatter = shell.display_formatter
    for module, name in (("pandas.core.frame", "DataFrame"), ("matplotlib.figure", "Figure")):
        formatter.mimebundle_formatter.for_type_by_name(module, name, lambda v, **_: extras_of(v))
    for kind in (list, dict):
        formatter.formatters["application/json"].for_type(
            kind, lambda v: extras_of(v).get("application/json"))
    return shell

# SPDX-License-Identifier: Apache-2.0
"""Cells in JavaScript, TypeScript and Bash, by the code-interpreter client.

The base template has Bash; the tests bring a Node along. test_interpreter_rich.py runs the Node of
the code-interpreter template.
"""

import os
import threading
import time

import pytest
from e2b_code_interpreter import Sandbox
from support import NODE

from conftest import wait_for


@pytest.fixture(scope="module")
def box(broker):
    made = Sandbox.create(template="base", timeout=1800, envs={"GLOBAL": "from create"})
    with pytest.raises(Exception, match="needs the package nodejs"):
        made.run_code("1", language="javascript")
    made.files.write("/usr/local/bin/node", NODE.read_bytes(), user="root")
    made.commands.run("chmod 755 /usr/local/bin/node", user="root")
    yield made
    made.kill()


@pytest.fixture(scope="module")
def js(box):
    return lambda code, **options: box.run_code(code, language="javascript", **options)


@pytest.fixture(scope="module")
def sh(box):
    return lambda code, **options: box.run_code(code, language="bash", **options)


def text_of(execution):
    assert execution.error is None, execution.error
    return execution.text


def stdout_of(execution):
    return "".join(execution.logs.stdout)


# ---- JavaScript --------------------------------------------------------------------------------


def test_what_a_cell_declares_may_be_declared_again(js):
    for i in range(2):
        assert text_of(js(f"const a = {i}; let b = 2, c; class D {{ m() {{ return {i} }} }}\n"
                          "function f() { return a + b }\nf()")) == str(i + 2)
    assert text_of(js("[a, b, c, new D().m(), f()]")) == "[ 1, 2, undefined, 1, 3 ]"
    assert text_of(js("const f = () => 'now an arrow'; f()")) == "now an arrow"
    assert text_of(js("function a() { return 'now a function' }\na()")) == "now a function"
    assert text_of(js("function g() { return h() }\nfunction h() { return 1 }\ng()")) == "1"
    assert text_of(js("function h() { return 2 }\ng()")) == "2"


def test_cells_may_wait(js):
    assert text_of(js("await new Promise((done) => setTimeout(done, 20, 'slept'))")) == "slept"
    code = ("const {a1, b1: {c1 = 4}, ...rest} = {a1: 1, b1: {}, d: 5}, [e1, , f1] = [1, 2, 3]; await 0\n"
            "function h1() { return h2() }\nfunction h2() { return c1 }\nclass K1 {}; let u1\n"
            "for (var i1 = 0; i1 < 3; i1++) await i1\nfor (var j1 of [7]) { var k1 = 1 }\nh1() + i1 + j1")
    assert text_of(js(code)) == "14"
    assert text_of(js("[a1, c1, rest.d, e1, f1, i1, j1, k1, u1, new K1().constructor.name].join()")) == \
        "1,4,5,1,3,3,7,1,,K1"
    assert text_of(js("await 1; function h2() { return 9 }; h1()")) == "9"
    assert text_of(js("async function* g1() { yield 1 }\nlet sum = 0\n"
                      "for await (const i of g1()) sum += i\nsum")) == "1"
    assert text_of(js("(async () => { await 0; return 'a promise is waited for' })()")) == \
        "a promise is waited for"
    assert js("await 0; if (true) { 5 }").results == []


def test_modules(box, js):
    box.files.write("/home/user/own.mjs", "export const x = 1; export default 2")
    assert text_of(js("import fs, {readFileSync as read} from 'fs'\nimport * as path from 'node:path'\n"
                      "[typeof fs.stat, typeof read, path.join('a', 'b')].join()")) == "function,function,a/b"
    assert text_of(js("typeof read")) == "function"
    assert text_of(js("isNaN(1)\nimport two, {x} from './own.mjs'\nx + two")) == "3"
    assert text_of(js("(await import('./own.mjs')).default + require('os').EOL.length")) == "3"
    assert text_of(js("process.chdir('/tmp'); import.meta.url")) == "file:///tmp/cell.mjs"
    assert text_of(js("(await import('../home/user/own.mjs')).x")) == "1"
    assert js("import {none} from 'fs'").error.name == "SyntaxError"
    assert "Cannot find module 'nothere'" in js("import 'nothere'").error.value
    assert text_of(js("process.chdir('/home/user')\nexport const y = 1\nexport default y + 1")) == "2"


def test_values_and_formats(js):
    for code, text in (("'text'", "text"), ("null", "null"), ("10n ** 20n", "100000000000000000000n"),
                       ("NaN", "NaN"), ("Symbol('é\U0001f600')", "Symbol(é\U0001f600)"),
                       ("new Map([[1, {a: 2}]])", "Map(1) { 1 => { a: 2 } }")):
        assert text_of(js(code)) == text
    for code in ("undefined", "const q = 1", "if (1) 5", ""):
        assert js(code).results == [], code
    [result] = js("{a: [1, 'b']}").results
    assert (result.text, result.json, result.is_main_result) == (
        "{ a: [ 1, 'b' ] }", {"a": [1, "b"]}, True)
    shown = js("display({'text/html': '<b>', 'a/b': 1}); $$.png(Buffer.from('x')); $$.markdown('*x*')\n"
               "display({_toHtml: () => '<i>'}); ({[Symbol.for('Jupyter.display')]: () => ({'image/svg+xml': '<svg/>'})})")
    assert shown.error is None, shown.error
    assert [sorted(set(r.formats()) - {"text", "json"}) for r in shown.results] == [
        ["a/b", "html"], ["png"], ["markdown"], ["html"], ["svg"]]
    assert shown.results[0].extra == {"a/b": 1} and shown.results[1].png == "eA=="
    assert [r.is_main_result for r in shown.results] == [False] * 4 + [True]


def test_streams_in_order_with_those_of_programs(js):
    seen = []
    js("console.log('one', {x: 1}); console.error('two')\n"
       "for (let i = 0; i < 10; i++) {\n  console.log('node', i)\n"
       "  require('child_process').execSync(`echo child ${i}`, {stdio: 'inherit'})\n}\n"
       "process.stdout.end('end'); console.log('\U0001f600')",
       on_stdout=lambda m: seen.append(m.line), on_stderr=lambda m: seen.append("err " + m.line))
    assert seen[:2] == ["one { x: 1 }\n", "err two\n"]
    assert "".join(seen[2:]) == "".join(f"node {i}\nchild {i}\n" for i in range(10)) + "end\U0001f600\n"
    out = stdout_of(js("for (let i = 0; i < 100000; i++) console.log(String(i).padStart(99, '0'))"))
    assert out == "".join(f"{i:099d}\n" for i in range(100000))


def test_errors(js):
    error = js("function f() {\n  throw new TypeError('bad')\n}\nf()").error
    assert (error.name, error.value) == ("TypeError", "bad")
    assert ":2" in error.traceback and "at f (cell-" in error.traceback
    assert "node:" not in error.traceback and "adit" not in error.traceback
    assert "let x = ;\n        ^" in js("\nlet x = ;").error.traceback
    assert js("throw 'text'").error.value == "text"
    assert js("await Promise.reject(new Error('refused'))").error.value == "refused"
    left = js("Promise.reject(new Error('nobody waits')); 1")
    assert (left.text, left.error.value) == ("1", "nobody waits")
    assert js("setTimeout(() => { throw new Error('later') }, 10); await new Promise(() => {})"
              ).error.value == "later"
    assert js("setTimeout(() => process.exit(2), 5); await new Promise(() => {})").error.value == "2"
    ended = js("try { process.exit(3) } catch { console.log('no') } finally { console.log('no') }")
    assert (ended.error.name, ended.error.value, ended.logs.stdout) == ("Exit", "3", [])
    js("setTimeout(() => { globalThis.told = 1; throw new Error('between cells') }, 1)")
    wait_for(lambda: js("globalThis.told").text == "1", 10, "the timer")


def test_variables_and_directories(box, js):
    context = box.create_code_context(language="js", cwd="/tmp")
    assert context.language == "javascript"
    assert text_of(box.run_code("process.cwd() + process.env.GLOBAL", context=context)) == "/tmpfrom create"
    assert text_of(js("process.env.GLOBAL + process.env.CALL", envs={"GLOBAL": "x", "CALL": "é"})) == "xé"
    assert text_of(js("process.env.GLOBAL + process.env.CALL")) == "from createundefined"
    box.remove_code_context(context)


@pytest.mark.parametrize("code", [
    "while (true);", "await 0; for (;;);", "for (;;) console.log('flood')", "await new Promise(() => {})", "/(a+)+b/.test('a'.repeat(50))",
    "setImmediate(() => { for (;;); }); await new Promise(() => {})",
    "(function f() { Promise.resolve().then(f) })(); await new Promise(() => {})",
    "require('child_process').execSync('sleep 100')",
    "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)"])
def test_a_client_that_gives_up_interrupts_javascript(js, code):
    js("before = 1")
    with pytest.raises(Exception, match="timed out|timeout"):
        js(code, timeout=0.5)
    assert text_of(js("before", timeout=20)) == "1"


MISCHIEF = {
    "builtins": "JSON = console.log = Object.keys = Array.prototype.flat = null; require = 1; 1",
    "prototypes": "Object.prototype.type = 'x'; Array.prototype.own = 1; delete Object.prototype.type; 1",
    "streams": "process.stdout.destroy(); process.stderr.end(); 1",
    "descriptors": "require('fs').closeSync(1); require('fs').closeSync(2); 1",
    "signals": "process.on('SIGINT', () => process.exit(1)); process.on('exit', () => {}); 1",
}


@pytest.mark.parametrize("kind", MISCHIEF)
def test_mischief_in_javascript_harms_no_other_cell(box, kind):
    context = box.create_code_context(language="javascript")
    assert text_of(box.run_code(MISCHIEF[kind], context=context)) == "1"
    after = box.run_code("console.log('here'); [1, [2]].flat().length", context=context)
    assert (text_of(after), stdout_of(after)) == ("2", "here\n")
    box.remove_code_context(context)


@pytest.mark.parametrize("code, how", [
    ("process.kill(process.pid, 'SIGKILL')", "killed"), ("process.abort()", "signal"),
    ("require('fs').writeSync(3, 'garbage\\n'); await new Promise(() => {})", "channel")])
def test_a_node_that_dies_is_told_and_replaced(box, code, how):
    context = box.create_code_context(language="javascript")
    error = box.run_code(code, context=context).error
    assert error.name == "ContextRestarting" and how in error.traceback
    after = box.run_code("1 + 1", context=context)
    assert text_of(after) == "2" and "is gone" in after.logs.stderr[0]
    box.remove_code_context(context)


def test_typescript(box):
    def ts(code):
        return box.run_code(code, language="ts")

    assert text_of(ts("type A = { x: number }\ninterface B<T> { y: T }\nconst a: A & B<string> = { x: 1, y: 's' }\n"
                      "function f<T>(v: T): T { return v }\nf<number>(a.x) + 1")) == "2"
    assert text_of(ts("enum E { P, Q }\nclass C { constructor(private x: number) {} get() { return this.x } }\n"
                      "new C(E.Q).get() as number")) == "1"
    assert ts("import { join } from 'path'").error is None
    assert text_of(ts("await Promise.resolve(join('a', 'b') satisfies string)")) == "a/b"
    failed = ts("const x: = 5")
    assert failed.error.name == "SyntaxError" and failed.logs.stderr == []


# ---- Bash --------------------------------------------------------------------------------------


def test_the_state_of_a_shell(sh):
    sh("x=5; f() { echo \"f $1\"; }; declare -A m=(['a b']=$'1\\n2'); cd /tmp; alias ll='echo aliased'\n"
       "shopt -s nullglob; declare -i number=3; set -o pipefail; umask 027; trap 'echo usr1' USR1")
    look = ("echo $x ${m[a b]@Q} $PWD $(umask); f é; ll; echo none* $number; number+=1; echo $number\n"
            "set -o | grep -c 'pipefail.*on'; kill -USR1 $$")
    out = "5 $'1\\n2' /tmp 0027\nf é\naliased\n3\n4\n1\nusr1\n"
    assert stdout_of(sh(look)) == out
    sh("number=3; exit 4")
    assert stdout_of(sh(look)) == out  # of the shell that took over
    sh("set +o pipefail; shopt -u nullglob; cd; trap - USR1; umask 022")


def test_the_end_of_a_cell_is_its_status(sh):
    assert (sh("false").error.name, sh("(exit 3)").error.value) == ("ExitStatus", "3")
    assert (sh("exit 4").error.name, sh("exit 4").error.value) == ("ExitStatus", "4")
    assert sh("exit").error is None and sh("false; true").error is None
    assert stdout_of(sh("g() { local v=1; exit 7; echo no; }\ng; echo no")) == ""
    strict = sh("set -eu; trap 'echo cleaned $?' EXIT\necho $undefined; echo no")
    assert strict.error.name == "ExitStatus" and stdout_of(strict).startswith("cleaned")
    assert stdout_of(sh("echo a; false; echo no")) == "a\n"
    assert stdout_of(sh("set +eu; trap - EXIT; false; echo yes")) == "yes\n"
    assert stdout_of(sh("break; echo no")) == "" and stdout_of(sh("echo goes on")) == "goes on\n"
    assert "syntax error" in "".join(sh("if").logs.stderr)


def test_streams_and_descriptors_of_a_shell(sh):
    both = sh("echo out; echo err >&2")
    assert (both.logs.stdout, both.logs.stderr) == (["out\n"], ["err\n"])
    sh("exec >/tmp/hidden; echo hidden")
    assert stdout_of(sh("echo seen; cat /tmp/hidden")) == "seen\nhidden\n"
    sh("exec 1>&- 2>&-")
    assert stdout_of(sh("echo seen; read line || echo no input")) == "seen\nno input\n"
    assert sh("set -x; echo traced; set +x").logs.stderr[0].startswith("++ echo traced\n")
    assert sh("echo quiet").logs.stderr == []
    assert len(stdout_of(sh("yes | head -c 10000000"))) == 10_000_000
    assert stdout_of(sh("ls -l /proc/self/fd | grep -c socket")) == "0\n"


def test_variables_and_programs_of_a_shell(box, sh):
    context = box.create_code_context(language="bash", cwd="/tmp")
    assert stdout_of(box.run_code("echo $PWD $GLOBAL", context=context)) == "/tmp from create\n"
    box.remove_code_context(context)
    assert stdout_of(sh('echo "$GLOBAL $CALL"', envs={"GLOBAL": "x", "CALL": "a b\nc", "no-name": "1"})) == \
        "x a b\nc\n"
    assert stdout_of(sh('echo "$GLOBAL [$CALL]"')) == "from create []\n"
    sh("sleep 0.2 && touch /tmp/done & echo")
    assert stdout_of(sh("wait; ls /tmp/done")) == "/tmp/done\n"


@pytest.mark.parametrize("code", ["while :; do :; done", "f() { sleep 100; echo no; }; f; echo no",
                                  "(while :; do :; done); echo no", "yes", "sleep 100 & wait", "yes >/dev/null | cat"])
def test_a_client_that_gives_up_interrupts_a_shell(sh, code):
    sh("kept=7")
    with pytest.raises(Exception, match="timed out|timeout"):
        sh(code, timeout=0.5)
    assert stdout_of(sh("echo $kept", timeout=20)) == "7\n"


def test_a_shell_that_dies_is_told_and_replaced(sh):
    sh("kept=1")
    error = sh("kill -9 $$").error
    assert error.name == "ContextRestarting" and "killed" in error.traceback
    assert stdout_of(sh("exec true")) == ""
    assert stdout_of(sh("echo [$kept]")) == "[]\n"


# ---- R and Java --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large_box(broker):
    template = os.environ.get("LANGUAGES_TEMPLATE")
    if not template:
        pytest.skip("LANGUAGES_TEMPLATE names no template with r-base-core and default-jdk-headless")
    made = Sandbox.create(template=template, timeout=1800)
    yield made
    made.kill()


def test_a_language_that_is_not_in_the_image_says_what_to_add(box):
    for language, package in (("r", "r-base-core"), ("java", "default-jdk-headless")):
        with pytest.raises(Exception, match=f"needs the package {package}"):
            box.run_code("1", language=language)


def test_r(large_box):
    def r(code, **options):
        return large_box.run_code(code, language="r", **options)

    r("x <- 5; f <- function(y) y * x")
    results = r("f(2)\n'é😀'").results
    assert [(x.text, x.is_main_result) for x in results] == [("[1] 10", False), ('[1] "é😀"', True)]
    assert r('print("x")').logs.stdout == ['[1] "x"\n'] and r("message('m')").logs.stderr == ["m\n"]
    assert r("invisible(3)").results == [] and r("y <- 1").results == []
    error = r("f('a')").error
    assert (error.name, error.traceback.split(":")[0]) == ("simpleError", "Error in y * x")
    assert "unexpected end of input" in r("x <- ").error.value
    assert [p.png[:11] for p in r("plot(1:3); hist(c(1, 2, 2))").results] == ["iVBORw0KGgo"] * 2
    assert r("Sys.getenv('CALL')", envs={"CALL": "a=b"}).text == '[1] "a=b"'
    assert r("Sys.getenv('CALL')").text == '[1] ""' and r("getwd()").text == '[1] "/home/user"'
    for endless in ("while (TRUE) {}", "Sys.sleep(100)"):
        with pytest.raises(Exception, match="timed out|timeout"):
            r(endless, timeout=1)
        assert r("x").text == "[1] 5"
    assert len(stdout_of(r("for (i in 1:100000) cat('line', i, '\\n')")).splitlines()) == 100_000
    assert r("quit(status = 3)").error.name == "ContextRestarting" and r("1").text == "[1] 1"


def test_java(large_box):
    def java(code, **options):
        return large_box.run_code(code, language="java", **options)

    assert "".join(java('System.out.println("Hello, World!");').logs.stdout) == "Hello, World!\n"
    assert java('int x = 5; String s = "é\\n";').results == []
    assert (java("x * 2").text, java("s").text, java("List.of(1, 2)").text) == ("10", "é\n", "[1, 2]")
    assert java("class A { int m() { return x; } }\nint f(int y) { return y + 1; }\nf(new A().m())").text == "6"
    assert java("int x = 7;").error is None and java("f(new A().m())").text == "8"
    error = java('throw new IllegalStateException("bad");').error
    assert (error.name, error.value) == ("java.lang.IllegalStateException", "bad")
    assert "cannot find symbol" in java("nope").error.value and java("int z = ;").error.name == "CompilationError"
    assert java('System.getProperty("CALL")', envs={"CALL": "é"}).text == "é"
    assert java('System.getProperty("CALL")').text == "null"
    assert java('new ProcessBuilder("echo", "child").inheritIO().start().waitFor()').logs.stdout == ["child\n"]
    for endless in ("while (true);", "Thread.sleep(100000)"):
        with pytest.raises(Exception, match="timed out|timeout"):
            java(endless, timeout=1)
        assert java("x").text == "7"
    assert java("System.exit(3)").error.name == "ContextRestarting" and java("1").text == "1"


# ---- all ---------------------------------------------------------------------------------------


def test_languages_run_side_by_side(box, js, sh):
    done = []
    cells = [threading.Thread(target=lambda run=run, code=code: done.append(run(code)))
             for run, code in ((js, "await new Promise((d) => setTimeout(d, 1500)); 'js'"), (sh, "sleep 1.5; echo sh"))]
    start = time.monotonic()
    for cell in cells:
        cell.start()
    assert text_of(box.run_code("40 + 2")) == "42" and time.monotonic() - start < 1.5
    for cell in cells:
        cell.join(20)
    assert {d.text or stdout_of(d) for d in done} == {"js", "sh\n"}

// SPDX-License-Identifier: Apache-2.0
/*
 * The JavaScript and TypeScript kernel: runs the cells of one context.
 *
 * envd starts it with the guest's own node and gives it this text over the channel, and behind it
 * javascript_translation.js: together they are the body of a function of (require, importModule,
 * language). Frames are "<letter> <length>\n<bytes>" (envd/kernel/kernel_message.h).
 *
 * The main thread may be busy without end, so another one reads the channel. For an interrupt it
 * first asks the main thread; one that does not answer is in a loop, and V8 is told to leave it.
 *
 * Output is written to the channel when it is made; "F" before it tells envd that what programs
 * wrote to descriptors 1 and 2 until then comes first. Before a program is started, "W" waits until
 * envd has taken all that: else "F" would include what that program writes.
 */
'use strict';
const fs = require('fs');
const path = require('path');
const util = require('util');
const { createRequire } = require('module');
const { pathToFileURL } = require('url');
const { Console } = require('console');
const { Session } = require('inspector');
const { runInThisContext } = require('vm');
const { Writable } = require('stream');
const { Worker } = require('worker_threads');
const internal = require('internal/child_process');

// Cells may replace what is global.
const { process, Buffer, JSON, Object, String, Array, Atomics, setImmediate } = globalThis;
const { env } = process;

const CHANNEL = 3;
const TEXT_MAX = 32 * 1024;
const RESULT_MAX = 8 * 1024 * 1024;
const ANSWER_MS = 200;
const LATE_MAX = 16 * 1024;

// ---- the channel --------------------------------------------------------------------------------

function writeAll(data) {
    try {
        for (let at = 0; at < data.length;)
            at += fs.writeSync(CHANNEL, data, at);
    } catch {
        process.reallyExit(1); // envd is gone, or the cell closed the channel
    }
}

function put(kind, body) {
    writeAll(Buffer.concat([Buffer.from(`F 0\n${kind} ${body.length}\n`), body]));
}

/* JSON in ASCII. */
function putObject(kind, members) {
    const escape = (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0');
    put(kind, Buffer.from(JSON.stringify(members).replace(/[\u007f-\uffff]/g, escape)));
}

/* process.stdout and process.stderr. No cell may end them for the others. */
class Output extends Writable {
    constructor(kind, fd) {
        super();
        this.kind = kind;
        this.fd = fd;
    }

    _write(bytes, _, done) {
        for (let at = 0; at < bytes.length; at += TEXT_MAX)
            put(this.kind, bytes.subarray(at, at + TEXT_MAX));
        done();
    }

    end(...args) {
        if (args.length > 0 && typeof args[0] !== 'function')
            this.write(args[0], typeof args[1] === 'string' ? args[1] : undefined);
        const done = args.find((a) => typeof a === 'function');
        if (done)
            process.nextTick(done);
        return this;
    }

    destroy() {
        return this;
    }
}

/* The body of the thread that reads. It alone may wait. */
function readChannel() {
    const fs = require('fs');
    const { Session } = require('inspector');
    const { parentPort, workerData } = require('worker_threads');
    const answers = new Int32Array(workerData.answers);

    function read(length) {
        const bytes = Buffer.alloc(length);
        for (let at = 0, n; at < length; at += n) {
            n = fs.readSync(workerData.channel, bytes, at, length - at);
            if (n === 0)
                process.kill(process.pid, 'SIGKILL'); // envd is gone
        }
        return bytes;
    }

    function readHead() {
        let head = '', c;
        while ((c = read(1).latin1Slice()) !== '\n')
            head += c;
        return [head[0], Number(head.slice(2))];
    }

    function countAnswer(which) {
        Atomics.add(answers, which, 1);
        Atomics.notify(answers, which);
    }

    function interrupt() {
        const before = Atomics.load(answers, 0);
        const session = new Session();
        parentPort.postMessage({ kind: 'I' });
        while (Atomics.wait(answers, 0, before, workerData.answerMs) === 'timed-out') {
            session.connectToMainThread();
            session.post('Runtime.terminateExecution');
            parentPort.postMessage({ kind: 'I' }); // what is run next may be lost: not a cell
            Atomics.wait(answers, 0, before, workerData.answerMs);
            session.disconnect();
        }
    }

    for (;;) {
        const [kind, length] = readHead();
        const body = read(length);
        if (kind === 'I')
            interrupt();
        else if (kind === 'W')
            countAnswer(1);
        else
            parentPort.postMessage({ kind, body });
    }
}

// ---- results ------------------------------------------------------------------------------------

const FIELDS = {
    'text/plain': 'text', 'text/html': 'html', 'text/markdown': 'markdown',
    'image/svg+xml': 'svg', 'image/png': 'png', 'image/jpeg': 'jpeg', 'application/pdf': 'pdf',
    'text/latex': 'latex', 'application/json': 'json', 'application/javascript': 'javascript',
    'e2b/data': 'data', 'e2b/chart': 'chart',
};
const METHODS = {
    _toHtml: 'text/html', _toSvg: 'image/svg+xml', _toPng: 'image/png', _toJpeg: 'image/jpeg',
    _toMarkdown: 'text/markdown', _toLatex: 'text/latex',
};

function isPlain(value) {
    const prototype = Object.getPrototypeOf(value);
    return Array.isArray(value) || prototype === Object.prototype || prototype === null;
}

/* What a method of the value's says. One that fails is passed over, as if it were missing. */
function ask(value, name) {
    try {
        return typeof value[name] === 'function' ? value[name]() : undefined;
    } catch {
        return undefined;
    }
}

function jsonOf(value) {
    try {
        return JSON.parse(JSON.stringify(value));
    } catch {
        return undefined; // it refers to itself, or holds what JSON has not
    }
}

function textOf(value) {
    if (typeof value === 'string')
        return value;
    const text = util.inspect(value);
    return util.types.isNativeError(value) ? withoutKernel(text) : text;
}

/* MIME type -> content, of anything. */
function bundleOf(value) {
    const bundle = { 'text/plain': textOf(value) };
    if (value === null || typeof value !== 'object' && typeof value !== 'function')
        return bundle;
    for (const [name, mime] of Object.entries(METHODS))
        bundle[mime] = ask(value, name);
    Object.assign(bundle, ask(value, '_toMime'), ask(value, Symbol.for('Jupyter.display')));
    if (typeof value === 'object' && isPlain(value))
        bundle['application/json'] ??= jsonOf(value);
    return bundle;
}

function contentOf(mime, content) {
    if (mime === 'application/json' || mime.startsWith('e2b/'))
        return jsonOf(content);
    if (content instanceof Uint8Array)
        return Buffer.from(content).toString('base64');
    return FIELDS[mime] ? String(content) : content;
}

function sendResult(bundle, isMain) {
    const members = { is_main_result: isMain }, extra = {};
    for (const [mime, content] of Object.entries(bundle)) {
        if (content !== undefined && content !== null)
            (FIELDS[mime] ? members : extra)[FIELDS[mime] ?? mime] = contentOf(mime, content);
    }
    members.extra = jsonOf(extra) ?? {};
    for (const part of [members, members.extra]) {
        for (const [name, content] of Object.entries(part)) {
            if (name === 'extra' || (JSON.stringify(content) ?? '').length <= RESULT_MAX / 8)
                continue;
            process.stderr.write(`result too large: ${name} left out\n`);
            delete part[name];
        }
    }
    putObject('P', members);
}

/* Does it say itself what it is, by MIME types? */
function isBundle(value) {
    const names = value !== null && typeof value === 'object' ? Object.keys(value) : [];
    return names.length > 0 && names.every((name) => /^[a-z0-9]+\/[\w.+-]+$/.test(name));
}

/* Show values as results. */
function display(...values) {
    for (const value of values)
        sendResult(isBundle(value) ? value : bundleOf(value), false);
}

const shortcuts = { mime: (bundle) => sendResult(bundle, false) };
for (const [mime, name] of Object.entries(FIELDS))
    shortcuts[name] = (content) => sendResult({ [mime]: content }, false);
Object.assign(display, shortcuts);

// ---- errors -------------------------------------------------------------------------------------

const KERNEL_FRAME = /^\s+at .*(adit:kernel|node:internal|node:vm|Worker\.emit|\[eval\])/;

function withoutKernel(stack) {
    return stack.split('\n').filter((line) => !KERNEL_FRAME.test(line)).join('\n');
}

function describe(error) {
    try {
        if (error !== null && typeof error === 'object' && typeof error.stack === 'string')
            return [String(error.name), String(error.message), withoutKernel(util.inspect(error))];
        return ['Error', typeof error === 'string' ? error : util.inspect(error),
                `Uncaught ${util.inspect(error)}`];
    } catch {
        return ['Error', '<the error cannot be shown>', '<the error cannot be shown>'];
    }
}

// ---- what cells find ----------------------------------------------------------------------------

function fileUrl(name) {
    return pathToFileURL(path.resolve(process.cwd(), name)).href;
}

/* import(), from the directory that the kernel is in now. */
async function load(specifier, options) {
    specifier = String(specifier);
    if (/^\.{0,2}\//.test(specifier))
        return importModule(fileUrl(specifier), options);
    try {
        return await importModule(specifier, options);
    } catch (error) {
        if (error?.code !== 'ERR_MODULE_NOT_FOUND' || process.cwd() === kernel.start)
            throw error;
        return importModule(pathToFileURL(kernel.require.resolve(specifier)).href, options);
    }
}

const hooks = {
    load,
    async take(specifier, names, options) {
        const module = await load(specifier, options ?? undefined);
        for (const name of names) {
            if (!(name in module))
                throw new SyntaxError(`The requested module '${specifier}' does not provide an ` +
                                      `export named '${name}'`);
        }
        return module;
    },
    get meta() {
        const filename = path.join(process.cwd(), 'cell.mjs');
        return { url: fileUrl(filename), filename, dirname: process.cwd(),
                 resolve: (name) => fileUrl(kernel.require.resolve(name)) };
    },
};

/* Functions that a cell may replace by what cannot be called, and that everybody needs. */
function findBuiltins() {
    const found = [[globalThis, 'console', globalThis.console]];
    const owners = [Object, Array, String, Function, Promise, RegExp, Map, Set, Number, Error];
    const prototypes = owners.map((o) => o.prototype);
    for (const one of [console, JSON, Math, Reflect, ...owners, ...prototypes]) {
        for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(one))) {
            if (typeof value === 'function')
                found.push([one, name, value]);
        }
    }
    return found;
}

function mendBuiltins(builtins) {
    for (let i = 0; i < builtins.length; i++) {
        const one = builtins[i][0], name = builtins[i][1], value = builtins[i][2];
        if (typeof one[name] !== typeof value || one[name] === null)
            one[name] = value; // what can still be called was meant so
    }
}

// ---- cells --------------------------------------------------------------------------------------

class Kernel {
    constructor() {
        this.start = process.cwd();
        this.cell = null;
        this.count = 0;
        this.saved = new Map(); // of the environment, while a cell has other values
        this.late = '';
        this.require = null;
        this.builtins = findBuiltins();
        this.answers = new Int32Array(new SharedArrayBuffer(8));
        this.reader = new Worker(`(${readChannel})()`, {
            eval: true, execArgv: [], stdin: false,
            workerData: { answers: this.answers.buffer, answerMs: ANSWER_MS, channel: CHANNEL },
        });
        this.reader.on('message', (m) => this.take(m));
    }

    take({ kind, body }) {
        if (kind === 'X')
            this.run(Buffer.from(body).toString());
        else if (kind === 'G')
            this.setVariables(body, false);
        else if (kind === 'V')
            this.setVariables(body, true);
        else if (kind === 'D')
            this.enter(Buffer.from(body).toString());
        else if (kind === 'I')
            this.interrupt();
    }

    enter(directory) {
        try {
            process.chdir(directory);
        } catch (error) {
            process.stderr.write(`cannot enter the directory: ${error.message}\n`);
        }
    }

    setVariables(body, isForCell) {
        for (const pair of Buffer.from(body).toString().split('\0').filter(Boolean)) {
            const at = pair.indexOf('='), name = pair.slice(0, at);
            if (isForCell && !this.saved.has(name))
                this.saved.set(name, env[name]);
            env[name] = pair.slice(at + 1);
        }
    }

    restoreVariables() {
        for (const [name, value] of this.saved) {
            if (value === undefined)
                delete env[name];
            else
                env[name] = value;
        }
        this.saved.clear();
    }

    /* What an earlier cell may have changed. */
    prepare() {
        const before = this.require;
        mendBuiltins(this.builtins);
        if (process.cwd() !== this.requireFrom) {
            this.requireFrom = process.cwd();
            this.require = createRequire(path.join(this.requireFrom, 'cell.js'));
        }
        if (before === null || globalThis.require === before)
            globalThis.require = this.require;
        process.exit = exit;
        if (this.late)
            process.stderr.write(this.late);
        this.late = '';
    }

    run(code) {
        const cell = this.cell = { name: `cell-${++this.count}` };
        let value;
        try {
            this.prepare();
            Object.assign(cell, translate(language === 'typescript' ? withoutTypes(code) : code));
            value = this.evaluate(cell);
        } catch (error) {
            this.failAndFinish(cell, error);
            return;
        }
        if (util.types.isPromise(value))
            value.then((v) => this.succeed(cell, v), (e) => this.failAndFinish(cell, e));
        else
            this.succeed(cell, value);
    }

    evaluate({ name, head, source }) {
        if (!source.startsWith(ASYNC_BEGIN))
            return runInThisContext(source, { filename: name });
        runInThisContext(head, { filename: name });
        return runInThisContext(source, { filename: name, columnOffset: -ASYNC_BEGIN.length });
    }

    succeed(cell, value) {
        if (this.cell !== cell)
            return;
        try {
            if (cell.hasValue && value !== undefined)
                sendResult(bundleOf(value), true);
        } catch (error) {
            this.fail(cell, error); // of the value's own inspection
        }
        this.finish(cell);
    }

    failAndFinish(cell, error) {
        this.fail(cell, error);
        this.finish(cell);
    }

    fail(cell, error) {
        const [name, value, traceback] = describe(error);
        this.failWith(cell, name, value, traceback);
    }

    failWith(cell, name, value, traceback) {
        if (this.cell !== cell)
            return;
        const limit = (text) => text.slice(0, RESULT_MAX / 16);
        putObject('X', { name: limit(name), value: limit(value), traceback: limit(traceback) });
    }

    /* After the promises that nobody waited for have been told of. */
    finish(cell) {
        setImmediate(() => this.end(cell));
    }

    end(cell) {
        if (!cell || this.cell !== cell)
            return;
        this.cell = null;
        this.restoreVariables();
        put('D', Buffer.alloc(0));
    }

    /* An error that nothing in the cell waited for. Between cells it is kept for the next one. */
    onUncaught(error) {
        if (this.cell) {
            this.failAndFinish(this.cell, error);
        } else if (this.late.length < LATE_MAX) {
            this.late += `Uncaught after the end of its cell: ${describe(error)[2]}\n`;
        }
    }

    interrupt() {
        Atomics.add(this.answers, 0, 1);
        Atomics.notify(this.answers, 0);
        if (!this.cell)
            return;
        this.failWith(this.cell, 'KeyboardInterrupt', '', 'interrupted');
        this.end(this.cell);
    }
}

/* Programs write after what was written before them. */
function watchPrograms() {
    const { answers } = kernel;
    const wait = () => {
        const before = Atomics.load(answers, 1);
        put('W', Buffer.alloc(0));
        Atomics.wait(answers, 1, before);
    };
    const { prototype } = internal.ChildProcess;
    for (const [owner, name] of [[internal, 'spawnSync'], [prototype, 'spawn']]) {
        const start = owner[name];
        owner[name] = function (...args) {
            wait();
            return start.apply(this, args);
        };
    }
}

/* process.exit(): the cell is over, wherever it is; the kernel is not. */
function exit(code = process.exitCode ?? 0) {
    const { cell } = kernel;
    const session = new Session();
    process.exitCode = undefined;
    session.connect();
    setImmediate(() => {
        session.disconnect();
        if (cell)
            kernel.failWith(cell, 'Exit', String(code), `process.exit(${code})\n`);
        kernel.end(cell);
    });
    session.post('Runtime.terminateExecution');
    for (;;); // until it is
}

function define(name, value, target = globalThis) {
    Object.defineProperty(target, name, { value, writable: true, configurable: true });
}

Object.defineProperty(globalThis, '__adit__', { value: hooks });
for (const [name, kind, fd] of [['stdout', 'O', 1], ['stderr', 'E', 2]]) {
    const stream = new Output(kind, fd);
    Object.defineProperty(process, name, { get: () => stream, configurable: true });
}
/* Node's own has its streams from the start, before they were ours. */
define('console', new Console({ stdout: process.stdout, stderr: process.stderr }));
define('display', display);
define('$$', shortcuts);
process.execArgv = [];
process.argv = [process.argv0];
process.on('SIGINT', () => {}); // programs of the cell get it; the kernel is told by envd
const kernel = new Kernel();
watchPrograms();
process.on('uncaughtException', (error) => kernel.onUncaught(error));
put('R', Buffer.alloc(0));

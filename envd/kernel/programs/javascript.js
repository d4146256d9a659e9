// SPDX-License-Identifier: Apache-2.0
/*
 * The JavaScript and TypeScript kernel: runs the cells of one context.
 *
 * envd starts it with the guest's own node and gives it this text over the channel, as the body of
 * a function of (require, importModule, language). Frames are "<letter> <length>\n<bytes>"
 * (envd/kernel/kernel_message.h).
 *
 * A cell is a script in the global scope. Node's own parser (acorn) finds what is to be changed
 * before: const, let and class at the top level become "var", so that cells may be run again and
 * share what they declare; imports become calls; await needs a function around it (Translation).
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
const { createRequire, stripTypeScriptTypes } = require('module');
const { pathToFileURL } = require('url');
const { Console } = require('console');
const { Session } = require('inspector');
const { runInThisContext } = require('vm');
const { Writable } = require('stream');
const { Worker } = require('worker_threads');
const { spawnSync } = require('child_process');
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

// ---- from a cell's text to a script -------------------------------------------------------------

function findParser() {
    try {
        return require('internal/deps/acorn/acorn/dist/acorn');
    } catch {
        return null; // cells run as they are: declared once, without imports
    }
}
const acorn = findParser();
const PARSING = {
    ecmaVersion: 'latest', sourceType: 'script', allowAwaitOutsideFunction: true,
    allowImportExportEverywhere: true, allowHashBang: true,
};

/* null: V8 says what is wrong with it. */
function parse(code) {
    try {
        return acorn ? acorn.parse(code, PARSING) : null;
    } catch {
        return null;
    }
}

/* Replaced pieces of a text, in any order; lines keep their numbers. What lies inside of a piece
 * is gone with it. */
class Edits {
    constructor(code) {
        this.code = code;
        this.pieces = [];
    }

    replace(start, end, text) {
        const lines = this.code.slice(start, end).split('\n').length - text.split('\n').length;
        this.pieces.push([start, end, text + '\n'.repeat(Math.max(lines, 0))]);
    }

    blank(start, end) {
        this.pieces.push([start, end, this.code.slice(start, end).replace(/[^\n]/g, ' ')]);
    }

    result() {
        let out = '', at = 0;
        for (const [start, end, text] of this.pieces.sort((a, b) => a[0] - b[0] || a[1] - b[1])) {
            if (start < at)
                continue;
            out += this.code.slice(at, start) + text;
            at = end;
        }
        return out + this.code.slice(at);
    }
}

/* Calls visit for a tree and what is in it; it returns true to have what is in a node left out. */
function eachNode(tree, visit) {
    const rest = [tree];
    while (rest.length > 0) {
        const node = rest.pop();
        if (visit(node))
            continue;
        for (const child of Object.values(node).flat()) {
            if (typeof child?.type === 'string')
                rest.push(child);
        }
    }
}

const isScope = ({ type }) => /Function/.test(type) || type === 'ClassBody';
const nameOf = (node) => node.name ?? node.value;

/* The names that a pattern declares. */
function namesOf(pattern) {
    const names = [], rest = [pattern];
    while (rest.length > 0) {
        const node = rest.pop();
        if (node?.type === 'Identifier')
            names.push(node.name);
        else if (node)
            rest.push(...node.properties ?? node.elements ??
                      [node.value ?? node.left ?? node.argument]);
    }
    return names;
}

/*
 * What a cell becomes. Without await it is a script, in which what is declared at the top level is
 * a "var". With await it is the body of an async function, in which the same is assigned to names
 * that a script before it declares; that script has the functions, too.
 */
class Translation {
    constructor(code, tree) {
        this.tree = tree;
        this.body = new Edits(code);
        this.head = new Edits(code);
        this.names = [];
        this.loopHeads = new Set();
        this.isAsync = this.hasAwait();
    }

    hasAwait() {
        let found = false;
        eachNode(this.tree, (node) => {
            found ||= node.type === 'AwaitExpression' || node.type === 'ImportDeclaration' ||
                      node.type === 'ForOfStatement' && node.await ||
                      node.type.startsWith('Export') && Boolean(node.source);
            return isScope(node);
        });
        return found;
    }

    result() {
        this.editImports();
        let done = 0;
        for (const node of this.tree.body)
            done = this.editStatement(node, done);
        if (this.isAsync)
            this.editVariables();
        const hasValue = this.editLast();
        this.head.blank(done, this.head.code.length);
        const source = this.body.result();
        if (!this.isAsync)
            return { head: '', source, hasValue };
        const names = this.names.length > 0 ? `\nvar ${this.names.join(', ')};` : '';
        const head = this.head.result() + names;
        return { head, source: `${ASYNC_BEGIN}${source}\n})()`, hasValue };
    }

    editImports() {
        eachNode(this.tree, (node) => {
            for (const edits of [this.body, this.head]) {
                if (node.type === 'ImportExpression')
                    edits.replace(node.start, node.start + 'import'.length, '__adit__.load');
                else if (node.type === 'MetaProperty' && node.meta.name === 'import')
                    edits.replace(node.start, node.end, '__adit__.meta');
            }
        });
    }

    /* @done: up to here the head has what it gets. Return: the same, after this statement. */
    editStatement(node, done) {
        if (node.type === 'ImportDeclaration')
            this.editImport(node);
        else if (node.type.startsWith('Export'))
            return this.editExport(node, done);
        else if (this.isAsync && node.type === 'FunctionDeclaration')
            return this.hoist(node, done);
        else
            this.editDeclaration(node);
        return done;
    }

    hoist(node, done) {
        this.head.blank(done, node.start);
        this.body.blank(node.start, node.end);
        return node.end;
    }

    editDeclaration(node) {
        if (node.type === 'ClassDeclaration' && node.id) {
            const { name } = node.id;
            this.body.replace(node.start, node.start, `${this.declare([name])}${name} = `);
            this.body.replace(node.end, node.end, ';');
        } else if (node.type === 'VariableDeclaration' && node.kind !== 'var') {
            for (const d of node.declarations.filter((one) => !one.init))
                this.body.replace(d.end, d.end, ' = undefined');
            if (this.isAsync)
                this.assign(node);
            else
                this.body.replace(node.start, node.start + node.kind.length, 'var');
        }
    }

    declare(names) {
        this.names.push(...names);
        return this.isAsync ? '' : 'var ';
    }

    assign(node) {
        this.declare(node.declarations.flatMap((d) => namesOf(d.id)));
        const isInHead = this.loopHeads.has(node);
        this.body.replace(node.start, node.start + node.kind.length, isInHead ? '' : 'void (');
        if (!isInHead)
            this.body.replace(node.declarations.at(-1).end, node.end, ');');
    }

    /* "var" anywhere but in functions. */
    editVariables() {
        eachNode(this.tree, (node) => {
            if (/^For(In|Of)?Statement$/.test(node.type))
                this.loopHeads.add(node.init ?? node.left);
            if (node.type === 'VariableDeclaration' && node.kind === 'var')
                this.assign(node);
            return isScope(node);
        });
    }

    importCall(node) {
        const attributes = (node.attributes ?? []).map((a) => [nameOf(a.key), a.value.value]);
        const options = attributes.length > 0 ? { with: Object.fromEntries(attributes) } : null;
        const named = (node.specifiers ?? []).filter((s) => s.imported);
        const args = [node.source.value, named.map((s) => nameOf(s.imported)), options];
        return `await __adit__.take(${args.map((a) => JSON.stringify(a)).join(', ')})`;
    }

    editImport(node) {
        const call = this.importCall(node), parts = [];
        let whole = '';
        for (const s of node.specifiers) {
            this.declare([s.local.name]);
            if (s.type === 'ImportNamespaceSpecifier')
                whole = `${s.local.name} = `;
            else
                parts.push(`${JSON.stringify(s.imported ? nameOf(s.imported) : 'default')}: ` +
                           s.local.name);
        }
        const value = `${whole}${call}`;
        this.body.replace(node.start, node.end,
                          parts.length > 0 ? `;({${parts.join(', ')}} = ${value});` : `${value};`);
    }

    editExport(node, done) {
        const inner = node.declaration;
        if (!inner) {
            const text = node.source ? `${this.importCall(node)};` : ';';
            this.body.replace(node.start, node.end, text);
            return done;
        }
        this.body.blank(node.start, inner.start);
        if (node.type === 'ExportNamedDeclaration' || inner.id)
            return this.editStatement(inner, done);
        const isLast = this.tree.body.at(-1) === node;
        this.body.replace(inner.start, inner.start, isLast && this.isAsync ? 'return (' : ';(');
        this.body.replace(inner.end, inner.end, ')');
        return done;
    }

    /* Return: does the cell have a value? */
    editLast() {
        const last = this.tree.body.at(-1);
        if (last?.type !== 'ExpressionStatement')
            return last?.type === 'ExportDefaultDeclaration' && !last.declaration.id;
        if (this.isAsync) {
            this.body.replace(last.start, last.start, 'return (');
            this.body.replace(last.expression.end, last.end, ');');
        }
        return true;
    }
}
const ASYNC_BEGIN = '(async () => {';

/* {head, source, hasValue} of a cell. */
function translate(code) {
    const tree = parse(code);
    if (!tree)
        return { head: '', source: code, hasValue: true };
    const isBlock = tree.body.length === 1 && tree.body[0].type === 'BlockStatement';
    const asObject = isBlock ? parse(`(${code}\n)`) : null;
    return asObject ? new Translation(`(${code}\n)`, asObject).result()
        : new Translation(code, tree).result();
}

/* Node tells on stderr that it may change this; no cell wants to know. */
function stripByNode(code) {
    const { emitWarning } = process;
    process.emitWarning = () => {};
    try {
        return stripTypeScriptTypes(code);
    } catch (error) {
        if (error.code !== 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX')
            throw error;
        return stripTypeScriptTypes(code, { mode: 'transform' });
    } finally {
        process.emitWarning = emitWarning;
    }
}

/* An import that this cell does not use may be for the next one. */
const KEEP_IMPORTS = JSON.stringify({ compilerOptions: { preserveValueImports: true,
                                                         verbatimModuleSyntax: true } });

function withoutTypes(code) {
    if (stripTypeScriptTypes)
        return stripByNode(code);
    const made = spawnSync('esbuild', ['--loader=ts', '--log-level=error', '--charset=utf8',
                                       `--tsconfig-raw=${KEEP_IMPORTS}`],
                           { input: code, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
    if (made.error?.code === 'ENOENT')
        throw new Error(`TypeScript needs Node.js 22.13 or newer (this is ${process.version}), ` +
                        'or esbuild; the template needs the package esbuild');
    if (made.error || made.status !== 0)
        throw new SyntaxError(made.error?.message ?? made.stderr.trim().replace(/^.*?\] /, ''));
    return made.stdout;
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

// SPDX-License-Identifier: Apache-2.0
/*
 * From a cell's text to a script: the second part of javascript.js, in the same function.
 *
 * A cell is a script in the global scope. Node's own parser (acorn) finds what is to be changed
 * before: const, let and class at the top level become "var", so that cells may be run again and
 * share what they declare; imports become calls; await needs a function around it (Translation).
 * Of TypeScript the types are taken out first, by Node or by esbuild.
 */
const { stripTypeScriptTypes } = require('module');
const { spawnSync } = require('child_process');

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

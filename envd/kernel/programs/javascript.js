// SPDX-License-Identifier: Apache-2.0
// The JavaScript kernel: cells run in Node's own REPL, so that top-level await, import() and what a
// cell declares work as they do there. Frames are "<letter> <length>\n<bytes>" on descriptor 3
// (envd/kernel/kernel_message.h). `typescript`, given by whoever evaluates this text, says that types
// are taken out of cells first. Output goes through the channel as it is written; "F" before it has
// envd look at what child processes wrote to descriptors 1 and 2.

const fs = require('node:fs')
const net = require('node:net')
const repl = require('node:repl')
const util = require('node:util')
const { Writable, PassThrough } = require('node:stream')

const RESULT_MAX = 8 * 1024 * 1024
const TEXT_MAX = 32 * 1024
const FIELDS = {
  'text/plain': 'text', 'text/html': 'html', 'text/markdown': 'markdown', 'image/svg+xml': 'svg',
  'image/png': 'png', 'image/jpeg': 'jpeg', 'application/pdf': 'pdf', 'text/latex': 'latex',
  'application/json': 'json', 'application/javascript': 'javascript',
}

// ---- the channel ----

const pause = new Int32Array(new SharedArrayBuffer(4))

// The descriptor does not block, since the loop reads it too.
function writeAll(bytes) {
  for (let at = 0; at < bytes.length;) {
    try {
      at += fs.writeSync(3, bytes, at)
    } catch (error) {
      if (error.code !== 'EAGAIN') process.reallyExit(1)
      Atomics.wait(pause, 0, 0, 1)
    }
  }
}

function send(kind, text) {
  const body = Buffer.from(text)
  writeAll(Buffer.concat([Buffer.from(`F 0\n${kind} ${body.length}\n`), body]))
}

function ascii(value) {
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g,
    (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'))
}

function stream(kind) {
  return (chunk, encoding, done) => {
    const text = typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString()
    for (let at = 0; at < text.length; at += TEXT_MAX) send(kind, text.slice(at, at + TEXT_MAX))
    const callback = typeof encoding === 'function' ? encoding : done
    if (callback) process.nextTick(callback)
    return true
  }
}

// ---- results and errors ----

function sendResult(bundle, isMain) {
  const members = { is_main_result: isMain, extra: {} }
  for (const [mime, content] of Object.entries(bundle)) {
    const value = Buffer.isBuffer(content) ? content.toString('base64') : content
    if (FIELDS[mime]) members[FIELDS[mime]] = value
    else members.extra[mime] = value
  }
  let text = ascii(members)
  if (text.length > RESULT_MAX) {
    send('E', 'result too large\n')
    text = ascii({ is_main_result: isMain, extra: {} })
  }
  send('P', text)
}

function bundleOf(value) {
  return { 'text/plain': typeof value === 'string' ? value : util.inspect(value) }
}

// Show values; an object whose keys are MIME types is shown as what it says.
globalThis.display = (...values) => {
  for (const value of values) {
    const isBundle = value && typeof value === 'object' && Object.keys(value).length > 0 &&
      Object.keys(value).every((key) => /^[a-z]+\/[\w.+-]+$/.test(key))
    sendResult(isBundle ? value : bundleOf(value), false)
  }
}

function sendError(error) {
  const isError = util.types.isNativeError(error) || error instanceof Error
  const stack = isError && typeof error.stack === 'string' ? error.stack : util.inspect(error)
  const lines = stack.split('\n').filter((l) => !/\(node:|at node:|adit-kernel|at REPLServer|new Promise \(<an/.test(l))
  send('X', ascii({
    name: isError ? String(error.name) : 'Error',
    value: isError ? String(error.message) : String(util.inspect(error)),
    traceback: lines.join('\n').slice(0, RESULT_MAX / 16),
  }))
}

// ---- cells ----

const NAMES = '[\\w$]+'
const IMPORT = new RegExp('^([ \\t]*)import\\s+(?:(' + NAMES + ')\\s*,?\\s*)?' +
  '(?:\\*\\s*as\\s+(' + NAMES + ')\\s*|\\{([^}]*)\\}\\s*)?(?:from\\s*)?([\'"][^\'"]+[\'"])\\s*;?', 'gm')

// The REPL knows import() only. Declared by var, so that a cell can be run again.
function withoutImports(code) {
  return code.replace(IMPORT, (all, indent, whole, space, names, from) => {
    const parts = []
    if (whole) parts.push(`default: ${whole}`)
    if (names) parts.push(names.replace(/\s+as\s+/g, ': '))
    const call = `await import(${from});`
    if (space) return `${indent}var ${space} = ${call}${whole ? ` var ${whole} = ${space}.default;` : ''}`
    return parts.length ? `${indent}var { ${parts.join(', ')} } = ${call}` : `${indent}${call}`
  })
}

function withoutTypes(code) {
  const strip = require('node:module').stripTypeScriptTypes
  if (strip) return strip(code, { mode: 'transform' })
  for (const place of ['typescript', '/usr/share/nodejs/typescript', '/usr/lib/node_modules/typescript']) {
    let compiler
    try {
      compiler = require(place)
    } catch {
      continue
    }
    return compiler.transpileModule(code, { compilerOptions: { target: 'es2022', module: 'esnext' } }).outputText
  }
  throw new Error('TypeScript needs Node.js 22.13 or the package node-typescript')
}

const shell = repl.start({
  prompt: '', input: new PassThrough(), terminal: false, useGlobal: true, breakEvalOnSigint: true,
  output: new Writable({ write(chunk, _, done) { stream('E')(chunk); done() } }),
})

let finish = null // of the running cell

function onInterrupt() {
  finish?.(Object.assign(new Error('interrupted'), { name: 'KeyboardInterrupt' }))
}

// Where the REPL has what a cell throws; also what its timers throw later.
shell._domain.removeAllListeners('error')
shell._domain.on('error', uncaught)

function uncaught(error) {
  if (finish) finish(error)
  else send('E', `Uncaught ${util.inspect(error)}\n`)
}

function run(code) {
  return new Promise((resolve) => {
    finish = (error, value) => {
      if (!finish) return // interrupted before
      finish = null
      if (error) sendError(error instanceof repl.Recoverable ? error.err : error)
      else if (value !== undefined) sendResult(bundleOf(value), true)
      resolve()
    }
    try {
      const plain = withoutImports(typescript ? withoutTypes(code) : code)
      process.off('SIGINT', onInterrupt) // while the cell computes, the REPL itself listens
      shell.eval(plain + '\n', shell.context, 'cell', (error, value) => finish?.(error, value))
    } catch (error) {
      finish?.(error)
    } finally {
      process.on('SIGINT', onInterrupt)
    }
  })
}

const old = new Map() // what a cell's variables hide

function setVariables(text, isForCell) {
  for (const pair of text.split('\0')) {
    const at = pair.indexOf('=')
    if (at < 1) continue
    const name = pair.slice(0, at)
    if (isForCell) old.set(name, process.env[name])
    process.env[name] = pair.slice(at + 1)
  }
}

function restoreVariables() {
  for (const [name, value] of old) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
  old.clear()
}

async function take(kind, text) {
  if (kind === 'G') setVariables(text, false)
  else if (kind === 'V') setVariables(text, true)
  else if (kind === 'D') process.chdir(text)
  else if (kind === 'X') {
    await run(text)
    restoreVariables()
    send('D', '')
  }
}

// ---- the loop ----

process.stdout.write = stream('O')
process.stderr.write = stream('E')
process.on('SIGINT', onInterrupt)
process.on('uncaughtException', uncaught)
process.on('unhandledRejection', (error) => send('E', `Uncaught (in promise) ${util.inspect(error)}\n`))

let input = Buffer.alloc(0)
let busy = false

async function serve() {
  if (busy) return
  busy = true
  for (;;) {
    const end = input.indexOf(10)
    const length = end < 0 ? 0 : Number(input.subarray(2, end).toString())
    if (end < 0 || input.length < end + 1 + length) break
    const kind = String.fromCharCode(input[0])
    const text = input.subarray(end + 1, end + 1 + length).toString()
    input = input.subarray(end + 1 + length)
    await take(kind, text)
  }
  busy = false
}

const socket = new net.Socket({ fd: 3, readable: true, writable: false })
socket.on('data', (bytes) => {
  input = Buffer.concat([input, bytes])
  void serve()
})
socket.on('close', () => process.reallyExit(0))
send('R', '')

//# sourceURL=adit-kernel

// SPDX-License-Identifier: Apache-2.0
// What runs in the page of test_browser.py. `run(options)` resolves to a list of features as the
// clients beside this file print it.
import { CommandExitError, NotFoundError, Sandbox } from 'e2b'

function equal(actual, expected) {
  if (JSON.stringify(actual) !== JSON.stringify(expected))
    throw new Error(`${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`)
}

async function rejects(promise, kind) {
  try {
    await promise
  } catch (e) {
    if (e instanceof kind) return e
    throw e
  }
  throw new Error(`no ${kind.name}`)
}

let options
let sandbox

const features = {
  async fetch() {
    const answer = await fetch('/some?q=1', { method: 'PUT', body: 'words' })
    const seen = await answer.json()
    equal([seen.method, seen.path, seen.length], ['PUT', '/some?q=1', 5])
    const text = await (await fetch('/chunks?n=16')).arrayBuffer()
    equal(text.byteLength, 16 * 65536)
    equal(performance.getEntriesByType('resource').at(-1).nextHopProtocol, 'h2')
  },

  websocket() {
    const socket = new WebSocket(`wss://${location.host}/chat`)
    const sent = ['ä text', 'x'.repeat(70_000)]
    const got = []
    return new Promise((resolve, reject) => {
      socket.onopen = () => sent.forEach((text) => socket.send(text))
      socket.onerror = () => reject(new Error('the WebSocket failed'))
      socket.onmessage = ({ data }) => {
        got.push(data)
        if (got.length === sent.length) socket.close(1000)
      }
      socket.onclose = ({ code, wasClean }) => {
        equal(got, sent)
        equal([code, wasClean], [1000, true])
        resolve()
      }
    })
  },

  events() {
    const source = new EventSource('/sse?page')
    return new Promise((resolve, reject) => {
      source.onerror = () => reject(new Error('the stream of events failed'))
      source.onmessage = async ({ data }) => {
        if (data === '3') {
          source.close()
          resolve()
        } else await fetch('/next?page', { method: 'POST' })
      }
    })
  },

  async create() {
    sandbox = await Sandbox.create({ ...options, timeoutMs: 60_000, metadata: { from: 'a page' } })
    equal(await sandbox.isRunning(), true)
  },

  async run() {
    const result = await sandbox.commands.run('echo out; echo err >&2')
    equal([result.stdout, result.stderr, result.exitCode], ['out\n', 'err\n', 0])
  },

  async stream() {
    const out = []
    const times = []
    await sandbox.commands.run('echo one; sleep 0.4; echo two', {
      onStdout: (text) => {
        out.push(text)
        times.push(performance.now())
      },
    })
    equal(out.join(''), 'one\ntwo\n')
    if (times.at(-1) - times[0] < 300) throw new Error('the output came all at once')
  },

  async files() {
    await sandbox.files.write('dir/ä b.txt', 'text\n')
    equal(await sandbox.files.read('dir/ä b.txt'), 'text\n')
    await sandbox.files.write('blob', new Blob([new Uint8Array(100_000)]))
    equal((await sandbox.files.read('blob', { format: 'blob' })).size, 100_000)
    equal((await sandbox.files.list('dir')).map((e) => e.name), ['ä b.txt'])
    await sandbox.files.remove('dir')
    equal(await sandbox.files.exists('dir'), false)
  },

  async watch() {
    await sandbox.files.makeDir('watched')
    let watcher
    const first = new Promise((resolve) => {
      watcher = sandbox.files.watchDir('watched', resolve)
    })
    await watcher
    await sandbox.files.write('watched/new', 'x')
    equal((await first).name, 'new')
    await (await watcher).stop()
  },

  async list() {
    const pages = Sandbox.list(options)
    const found = []
    while (pages.hasNext) found.push(...(await pages.nextItems()))
    equal(found.filter((s) => s.sandboxId === sandbox.sandboxId).length, 1)
  },

  async timeout() {
    await sandbox.setTimeout(300_000)
    const { startedAt, endAt } = await sandbox.getInfo()
    if (endAt - startedAt < 299_000) throw new Error(`${endAt - startedAt} ms`)
  },

  async errors() {
    equal((await rejects(sandbox.commands.run('exit 3'), CommandExitError)).exitCode, 3)
    await rejects(sandbox.files.read('/none'), NotFoundError)
    await rejects(Sandbox.create('no-such-template', options), Error)
  },

  async kill() {
    equal(await sandbox.kill(), true)
    equal(await Sandbox.kill(sandbox.sandboxId, options), false)
    // Answers of the proxy itself carry no CORS headers, so a page cannot read them.
    await rejects(sandbox.isRunning(), TypeError)
  },
}

globalThis.run = async (given) => {
  options = given
  const lines = []
  for (const [feature, body] of Object.entries(features)) {
    const line = { feature }
    try {
      await body()
    } catch (e) {
      line.failed = `${e.name}: ${e.message}`.slice(0, 600)
    }
    lines.push(line)
  }
  return lines
}

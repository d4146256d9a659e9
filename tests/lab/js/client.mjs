// SPDX-License-Identifier: Apache-2.0
// One run of a JavaScript SDK of any version, in that version's own spelling: a feature after the
// other. `node client.mjs PACKAGE`; the connection is the environment's. For each feature one JSON
// line is printed: its name, and why it failed or is not there, if so. The features are the columns
// of docs/compatibility.md, as in ../python_client.py.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { Absent, runFeatures } from './features.mjs'

const name = process.argv[2]
const sdk = await import(name)
const { CommandExitError, NotFoundError, Sandbox, SandboxError, TimeoutError } = sdk
const version = JSON.parse(
  readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url)),
).version
const [major, minor] = version.split('.').map(Number)
const since = (a, b) => major > a || (major === a && minor >= b)

const debug = process.env.E2B_DEBUG === 'true'
const byName = !process.env.E2B_SANDBOX_URL && !debug
const firstGeneration = major === 1

/** Wait for `condition`, at most ten seconds. */
async function until(condition, what) {
  const deadline = Date.now() + 10_000
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within 10 s`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function allSandboxes() {
  if (firstGeneration) return Sandbox.list()
  const found = []
  const pages = Sandbox.list()
  while (pages.hasNext) found.push(...(await pages.nextItems()))
  return found
}

let sandbox

const features = {
  async create() {
    sandbox = await Sandbox.create({
      timeoutMs: 120_000,
      metadata: { who: 'ä=&% +' },
      envs: { WORD: 'from create' },
    })
    assert.equal(await sandbox.isRunning(), true)
  },

  async run() {
    let result = await sandbox.commands.run('echo out; echo err >&2; pwd; id -un')
    assert.equal(result.stdout, 'out\n/home/user\nuser\n')
    assert.equal(result.stderr, 'err\n')
    assert.equal(result.exitCode, 0)
    const options = { user: 'root', cwd: '/tmp', envs: { A: 'own' } }
    result = await sandbox.commands.run('echo $A; pwd; id -u', options)
    assert.equal(result.stdout, 'own\n/tmp\n0\n')
    if (!debug) assert.equal((await sandbox.commands.run('echo $WORD')).stdout, 'from create\n')
  },

  async stream() {
    const out = []
    const err = []
    const times = []
    const result = await sandbox.commands.run('echo one; echo two >&2; sleep 0.4; echo three', {
      onStdout: (text) => {
        out.push(text)
        times.push(Date.now())
      },
      onStderr: (text) => err.push(text),
    })
    assert.equal(out.join(''), 'one\nthree\n')
    assert.equal(err.join(''), 'two\n')
    assert.ok(times.at(-1) - times[0] > 300, 'the output came all at once')
    assert.equal(result.stdout, 'one\nthree\n')
  },

  async background() {
    let first
    const got = new Promise((resolve) => (first = resolve))
    const handle = await sandbox.commands.run('read line; echo got $line; exec sleep 100', {
      background: true,
      onStdout: first,
      ...(since(2, 2) ? { stdin: true } : {}),
    })
    assert.ok((await sandbox.commands.list()).some((p) => p.pid === handle.pid))
    await sandbox.commands.sendStdin(handle.pid, 'words\n')
    assert.equal(await got, 'got words\n')
    const again = await sandbox.commands.connect(handle.pid)
    const ends = [handle, again].map((h) => assert.rejects(h.wait(), CommandExitError))
    assert.equal(await sandbox.commands.kill(handle.pid), true)
    await Promise.all(ends)
    assert.equal(await sandbox.commands.kill(handle.pid), false)
  },

  async terminal() {
    const output = []
    const onData = (data) => output.push(Buffer.from(data))
    const terminal = await sandbox.pty.create({ rows: 20, cols: 70, onData, timeoutMs: 20_000 })
    await sandbox.pty.resize(terminal.pid, { rows: 24, cols: 80 })
    await sandbox.pty.sendInput(terminal.pid, Buffer.from('stty size; exit\n'))
    await terminal.wait()
    assert.match(Buffer.concat(output).toString(), /24 80/)
  },

  async files() {
    const box = sandbox.files
    await box.write('dir/ä b.txt', 'text\n')
    assert.equal(await box.read('/home/user/dir/ä b.txt'), 'text\n')
    const bytes = Uint8Array.from({ length: 1 << 20 }, (_, n) => n % 251)
    await box.write('dir/bytes', bytes.buffer)
    assert.deepEqual(await box.read('dir/bytes', { format: 'bytes' }), bytes)
    let length = 0
    for await (const part of await box.read('dir/bytes', { format: 'stream' })) length += part.length
    assert.equal(length, bytes.length)
    assert.deepEqual((await box.list('dir')).map((e) => e.name).sort(), ['bytes', 'ä b.txt'])
    assert.equal(await box.exists('dir/bytes'), true)
    assert.equal(await box.exists('dir/none'), false)
    assert.equal(await box.makeDir('dir/deep/er'), true)
    assert.equal(await box.makeDir('dir/deep/er'), false)
    assert.equal((await box.rename('dir/bytes', 'dir/deep/moved')).path, '/home/user/dir/deep/moved')
    await box.remove('dir/deep')
    assert.deepEqual((await box.list('dir')).map((e) => e.name), ['ä b.txt'])
    if (since(1, 5)) {
      const many = [0, 1, 2].map((n) => ({ path: `many/${n}`, data: String(n) }))
      const written = await (since(2, 10) ? box.writeFiles(many) : box.write(many))
      assert.deepEqual(written.map((w) => w.path), many.map((m) => `/home/user/${m.path}`))
    }
  },

  async watch() {
    const box = sandbox.files
    await box.makeDir('watched/sub')
    const seen = []
    const watcher = await box.watchDir('watched', ({ name, type }) => seen.push(`${type} ${name}`))
    await box.write('watched/new', 'x')
    await box.rename('watched/new', 'watched/newer')
    await box.remove('watched/newer')
    await until(() => seen.includes('remove newer'), 'the events')
    await watcher.stop()
    const order = ['create new', 'write new', 'rename new', 'create newer', 'remove newer']
    assert.deepEqual(seen.filter((e) => order.includes(e)), order)
    if (!since(1, 5)) return
    const deep = []
    const all = await box.watchDir('watched', ({ name }) => deep.push(name), { recursive: true })
    await box.write('watched/sub/deep', 'x')
    await until(() => deep.includes('sub/deep'), 'the events of the tree')
    await all.stop()
  },

  async list() {
    const mine = (await allSandboxes()).filter((s) => s.sandboxId === sandbox.sandboxId)
    assert.equal(mine.length, 1)
    assert.deepEqual(mine[0].metadata, { who: 'ä=&% +' })
  },

  async info() {
    if (!since(1, 5)) throw new Absent('not in this version')
    const info = await sandbox.getInfo()
    assert.equal(info.sandboxId, sandbox.sandboxId)
    const seconds = (info.endAt - info.startedAt) / 1000
    assert.ok(seconds > 115 && seconds < 130, `${seconds} s`)
  },

  async metrics() {
    if (!since(2, 0)) throw new Absent('not in this version')
    let samples = []
    await until(async () => (samples = await sandbox.getMetrics()).length, 'a sample')
    assert.ok(samples[0].cpuCount > 0 && samples[0].memTotal > 0)
  },

  async connect() {
    await sandbox.files.write('/tmp/mark', 'here')
    const other = await Sandbox.connect(sandbox.sandboxId)
    assert.equal(other.sandboxId, sandbox.sandboxId)
    assert.equal(await other.files.read('/tmp/mark'), 'here')
    assert.equal((await other.commands.run('echo again')).stdout, 'again\n')
  },

  async timeout() {
    await sandbox.setTimeout(300_000)
    if (since(1, 5)) {
      const info = await sandbox.getInfo()
      const seconds = (info.endAt - info.startedAt) / 1000
      assert.ok(seconds > 299 && seconds < 330, `${seconds} s`)
    }
    const short = await Sandbox.create({ timeoutMs: 60_000 })
    await short.setTimeout(1000)
    await until(async () => !(await short.isRunning()), 'the end of its time')
  },

  async ports() {
    if (!byName) throw new Absent('needs wildcard names')
    const server = await sandbox.commands.run(
      'cd /tmp && exec python3 -m http.server --bind 127.0.0.1 8000', { background: true })
    const ended = server.wait().catch(() => {})
    const url = `https://${sandbox.getHost(8000)}/`
    await until(async () => {
      const answer = await fetch(url)
      const text = await answer.text()
      if (answer.status !== 502) assert.match(text, /Directory listing/)
      return answer.status === 200
    }, 'the server in the sandbox')
    await server.kill()
    await ended
  },

  async errors() {
    await assert.rejects(sandbox.commands.run('echo why >&2; exit 3'), (e) =>
      e instanceof CommandExitError && e.exitCode === 3 && e.stderr === 'why\n')
    await assert.rejects(sandbox.files.read('/none'), NotFoundError)
    await assert.rejects(sandbox.commands.run('sleep 30', { timeoutMs: 500 }), TimeoutError)
    await assert.rejects(sandbox.commands.run('true', { user: 'nobody-knows' }), Error)
    if (debug) return
    await assert.rejects(Sandbox.create({ apiKey: `e2b_${'0'.repeat(40)}` }), /401|[Ii]nvalid API key/)
    await assert.rejects(Sandbox.create('no-such-template'), (e) =>
      e instanceof SandboxError && /404.*no-such-template/.test(e.message))
  },

  async kill() {
    const killed = await sandbox.kill()
    if (debug) return
    assert.notEqual(killed, false)
    assert.equal(await sandbox.isRunning(), false)
    assert.equal(await Sandbox.kill(sandbox.sandboxId), false)
    await assert.rejects(sandbox.commands.run('true'), SandboxError)
  },
}

const notInDebug = ['list', 'info', 'metrics', 'timeout']
if (debug) {
  for (const feature of notInDebug) {
    features[feature] = () => {
      throw new Absent('debug mode knows one sandbox and asks no API for it')
    }
  }
}
await runFeatures(features)

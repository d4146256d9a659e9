// SPDX-License-Identifier: Apache-2.0
// Sandboxes from create to their end.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { AuthenticationError, Sandbox, SandboxError, SandboxNotFoundError, TimeoutError } from 'e2b'
import { deferred, withSandbox } from './support.mjs'

const KILLED = /sandbox was killed or reached its end of life/

async function allIds(options) {
  const pages = Sandbox.list(options)
  const found = []
  while (pages.hasNext) found.push((await pages.nextItems()).map((s) => s.sandboxId))
  return found
}

test('create takes envs, metadata and timeout', () =>
  withSandbox(
    async (sandbox) => {
      assert.equal((await sandbox.commands.run('echo $A')).stdout, 'one\n')
      const info = await sandbox.getInfo()
      assert.deepEqual(info.metadata, { k: 'ä=&% +' })
      assert.equal(info.state, 'running')
      const seconds = (info.endAt - info.startedAt) / 1000
      assert.ok(seconds > 75 && seconds < 79, `${seconds} s`)
    },
    { envs: { A: 'one' }, metadata: { k: 'ä=&% +' }, timeoutMs: 77_000 },
  ))

test('connect never shortens, setTimeout is exact', () =>
  withSandbox(async (sandbox) => {
    const { endAt } = await sandbox.getInfo()
    const other = await Sandbox.connect(sandbox.sandboxId, { timeoutMs: 5_000 })
    assert.deepEqual((await other.getInfo()).endAt, endAt)
    await other.setTimeout(30_000)
    const left = (await sandbox.getInfo()).endAt - Date.now()
    assert.ok(left > 28_000 && left < 31_000, `${left} ms`)
  }))

test('kill twice', async () => {
  const sandbox = await Sandbox.create()
  assert.equal(await sandbox.kill(), true)
  assert.equal(await sandbox.kill(), false)
  assert.equal(await sandbox.isRunning(), false)
  await assert.rejects(sandbox.getInfo(), SandboxNotFoundError)
  await assert.rejects(Sandbox.connect(sandbox.sandboxId), SandboxNotFoundError)
  await assert.rejects(sandbox.commands.run('true'), /not running anymore/)
})

test('list over 26 sandboxes with filters and pages', async () => {
  const mark = randomUUID()
  const boxes = await Promise.all(
    Array.from({ length: 26 }, (_, n) =>
      Sandbox.create({ timeoutMs: 120_000, metadata: { mark, odd: String(n % 2 === 1) } })),
  )
  try {
    const pages = await allIds({ query: { metadata: { mark } }, limit: 10 })
    assert.deepEqual(pages.map((p) => p.length), [10, 10, 6])
    assert.deepEqual(pages.flat().sort(), boxes.map((b) => b.sandboxId).sort())
    const odd = await allIds({ query: { metadata: { mark, odd: 'true' }, state: ['running'] } })
    assert.equal(odd.flat().length, 13)
    const paused = await allIds({ query: { metadata: { mark }, state: ['paused'] } })
    assert.equal(paused.flat().length, 0)
  } finally {
    assert.ok((await Promise.all(boxes.map((b) => b.kill()))).every((killed) => killed))
  }
})

test('kill under a stream', async () => {
  const sandbox = await Sandbox.create()
  const first = deferred()
  const handle = await sandbox.commands.run('while :; do echo tick; sleep 0.05; done', {
    background: true,
    onStdout: () => first.resolve(),
  })
  const ended = assert.rejects(handle.wait(), (e) => e instanceof TimeoutError && KILLED.test(e.message))
  await first.promise
  assert.equal(await sandbox.kill(), true)
  await ended
  assert.equal(await sandbox.isRunning(), false)
})

test('kill under a silent stream', async () => {
  const sandbox = await Sandbox.create()
  const handle = await sandbox.commands.run('sleep 1000', { background: true })
  const ended = assert.rejects(handle.wait(), KILLED)
  await sandbox.kill()
  await ended
})

test('an unknown template and a wrong key', async () => {
  await assert.rejects(Sandbox.create('no-such-template'), /404.*template 'no-such-template' not found/)
  await assert.rejects(Sandbox.create({ apiKey: `e2b_${'0'.repeat(40)}` }), AuthenticationError)
})

test('metrics', () =>
  withSandbox(async (sandbox) => {
    let metrics = []
    for (const begin = Date.now(); metrics.length === 0 && Date.now() - begin < 30_000; )
      metrics = await sandbox.getMetrics()
    assert.ok(metrics[0].timestamp instanceof Date)
    for (const name of ['cpuCount', 'memTotal', 'memUsed', 'diskTotal', 'diskUsed'])
      assert.ok(metrics[0][name] > 0, name)
    assert.deepEqual(await sandbox.getMetrics({ end: new Date(0) }), [])
    await assert.rejects(Sandbox.getMetrics('nosuchsandbox'), SandboxNotFoundError)
  }))

test('features that come later fail loudly', () =>
  withSandbox(async (sandbox) => {
    await assert.rejects(sandbox.pause(), SandboxError)
    await assert.rejects(sandbox.fork(), SandboxError)
    await assert.rejects(sandbox.createSnapshot(), /501/)
    assert.equal(await sandbox.isRunning(), true)
  }))

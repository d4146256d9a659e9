// SPDX-License-Identifier: Apache-2.0
// Watching directories.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { FileNotFoundError, FilesystemEventType as T, Sandbox } from 'e2b'
import { deferred } from './support.mjs'

let box
before(async () => {
  box = await Sandbox.create({ timeoutMs: 300_000 })
})
after(() => box.kill())

/** Watch, and resolve `enough` when the events satisfy the condition. */
async function watch(path, isEnough, options = {}) {
  const events = []
  const enough = deferred()
  const handle = await box.files.watchDir(path, (e) => {
    events.push(e)
    if (isEnough(events)) enough.resolve(events)
  }, { onExit: (e) => e && enough.reject(e), ...options })
  return { handle, enough: enough.promise, events }
}

test('a new file makes three events', async () => {
  await box.files.makeDir('one')
  const w = await watch('one', (e) => e.length === 3)
  await box.files.write('one/f', 'x')
  const events = await w.enough
  assert.deepEqual(events.map((e) => [e.type, e.name]),
    [[T.CREATE, 'f'], [T.CHMOD, 'f'], [T.WRITE, 'f']])
  assert.equal(events[0].entry, undefined)
  await w.handle.stop()
})

test('recursive, with entries, after a rename', async () => {
  await box.files.makeDir('deep/a')
  const w = await watch('deep', (e) => e.some((x) => x.name === 'n/b/f' && x.type === T.WRITE),
    { recursive: true, includeEntry: true })
  await box.commands.run('cd deep && mv a n && mkdir n/b && echo x > n/b/f')
  const events = await w.enough
  assert.deepEqual(events.slice(0, 2).map((e) => [e.type, e.name]), [[T.RENAME, 'a'], [T.CREATE, 'n']])
  assert.equal(events.find((e) => e.type === T.WRITE).entry.path, '/home/user/deep/n/b/f')
  await w.handle.stop()
})

test('ten thousand renames', async () => {
  await box.files.makeDir('storm')
  const w = await watch('storm', (e) => e.length === 20_001)
  await box.commands.run(
    `cd storm && python3 -c "
import os
os.mkdir('d0')
for i in range(10000): os.rename(f'd{i}', f'd{i + 1}')"`)
  try {
    const events = await w.enough
    events.forEach((e, i) => assert.equal(e.name, `d${Math.floor(i / 2)}`))
    await w.handle.stop()
  } catch (e) {
    assert.match(String(e), /events were/)
  }
})

test('what cannot be watched; the end by a timeout', async () => {
  await assert.rejects(box.files.watchDir('no/such', () => {}), FileNotFoundError)
  const end = deferred()
  await box.files.watchDir('one', () => {}, { timeoutMs: 500, onExit: end.resolve })
  assert.match(String(await end.promise), /[Tt]imeout/)
})

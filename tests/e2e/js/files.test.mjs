// SPDX-License-Identifier: Apache-2.0
// Files.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import { FileNotFoundError, FileType, InvalidArgumentError, Sandbox } from 'e2b'

let box
before(async () => {
  box = await Sandbox.create({ timeoutMs: 300_000 })
})
after(() => box.kill())

const sha256 = (data) => createHash('sha256').update(data).digest('hex')

for (const size of [0, 1, 65535, 65536, 65537, 3_000_000]) {
  for (const way of [{}, { useOctetStream: true }, { gzip: true }]) {
    test(`${size} bytes, ${JSON.stringify(way)}`, async () => {
      const data = randomBytes(size)
      const info = await box.files.write('/tmp/f', new Blob([data]), way)
      assert.deepEqual([info.path, info.name, info.type], ['/tmp/f', 'f', 'file'])
      assert.equal(sha256(await box.files.read('/tmp/f', { format: 'bytes' })), sha256(data))
      assert.equal((await box.files.getInfo('/tmp/f')).size, size)
    })
  }
}

test('many files in one write, Unicode names, missing directories', async () => {
  const files = Array.from({ length: 40 }, (_, n) => ({ path: `many/Ünï 文件 ${n}/f`, data: `${n}` }))
  const written = await box.files.write(files)
  assert.deepEqual(written.map((w) => w.path), files.map((f) => `/home/user/${f.path}`))
  for (const f of files.slice(0, 5)) assert.equal(await box.files.read(f.path), f.data)
  assert.equal((await box.files.list('many')).length, 40)
})

test('entries: list with depth, info, rename, make, remove', async () => {
  await box.files.write('tree/a/b', 'x')
  const paths = async (depth) => (await box.files.list('tree', { depth })).map((e) => e.path)
  assert.deepEqual(await paths(1), ['/home/user/tree/a'])
  assert.deepEqual(await paths(2), ['/home/user/tree/a', '/home/user/tree/a/b'])
  const info = await box.files.getInfo('tree/a/b')
  assert.deepEqual([info.permissions, info.owner, info.type], ['-rw-r--r--', 'user', FileType.FILE])
  assert.equal(await box.files.makeDir('tree/new'), true)
  assert.equal(await box.files.makeDir('tree/new'), false)
  assert.equal((await box.files.rename('tree/a/b', 'tree/new/c')).path, '/home/user/tree/new/c')
  assert.equal(await box.files.exists('tree/a/b'), false)
  await box.commands.run('ln -s /home/user/tree/new/c link')
  assert.equal((await box.files.getInfo('link')).symlinkTarget, '/home/user/tree/new/c')
  await box.files.remove('tree')
  assert.equal(await box.files.exists('tree'), false)
})

test('metadata', async () => {
  await box.files.write('/tmp/m', 'x', { metadata: { Author: 'me' } })
  assert.deepEqual((await box.files.getInfo('/tmp/m')).metadata, { author: 'me' })
})

test('errors', async () => {
  await assert.rejects(box.files.read('/no/such'), FileNotFoundError)
  await assert.rejects(box.files.read('/tmp'), InvalidArgumentError)
  await assert.rejects(box.files.write('/tmp', 'x'), InvalidArgumentError)
  await assert.rejects(box.files.list('/no/such'), FileNotFoundError)
})

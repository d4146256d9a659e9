// SPDX-License-Identifier: Apache-2.0
// Long transfers.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import { Sandbox } from 'e2b'
import { Numbers } from './support.mjs'

let box
before(async () => {
  box = await Sandbox.create({ timeoutMs: 300_000 })
})
after(() => box.kill())

test('output of 100 MB arrives whole and in order', async () => {
  const numbers = new Numbers(10000000, 21111111)
  const hash = createHash('sha256')
  const handle = await box.commands.run('seq 10000000 21111111 | tee >(sha256sum > /tmp/sum)', {
    background: true,
    timeoutMs: 0,
    onStdout: (s) => {
      hash.update(s)
      numbers.feed(s)
    },
  })
  await handle.wait()
  numbers.done()
  assert.equal(numbers.length, 100_000_008)
  const inside = (await box.commands.run('until [ -s /tmp/sum ]; do :; done; cat /tmp/sum')).stdout
  assert.equal(inside.split(' ')[0], hash.digest('hex'))
})

test('256 MiB both ways, streamed', async () => {
  const up = createHash('sha256')
  const down = createHash('sha256')
  const block = randomBytes(1 << 20)
  let n = 0
  const source = new ReadableStream({
    pull(controller) {
      if (n === 256) return controller.close()
      block.writeUInt32BE(n++, 0)
      up.update(block)
      controller.enqueue(Uint8Array.from(block))
    },
  })
  await box.files.write('/tmp/large', source)
  const expected = up.digest('hex')
  const inside = await box.commands.run('sha256sum < /tmp/large', { timeoutMs: 120_000 })
  assert.equal(inside.stdout.split(' ')[0], expected)
  let length = 0
  for await (const chunk of await box.files.read('/tmp/large', { format: 'stream' })) {
    down.update(chunk)
    length += chunk.length
  }
  await box.files.remove('/tmp/large')
  assert.equal(length, 2 ** 28)
  assert.equal(down.digest('hex'), expected)
})

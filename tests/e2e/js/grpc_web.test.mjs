// SPDX-License-Identifier: Apache-2.0
// The services in gRPC-Web: connect-web's client, made from our own .proto files.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError, createClient } from '@connectrpc/connect'
import { createGrpcWebTransport } from '@connectrpc/connect-web'
import { Sandbox } from 'e2b'

const PROTO = new URL('../../../proto/', import.meta.url).pathname
const FILES = ['process.proto', 'filesystem.proto']

let box, token
before(async () => {
  box = await Sandbox.create({ timeoutMs: 120_000 })
  const info = await fetch(`${process.env.E2B_API_URL}/sandboxes/${box.sandboxId}`,
    { headers: { 'X-API-Key': process.env.E2B_API_KEY } })
  token = (await info.json()).envdAccessToken
})
after(async () => { await box.kill() })

function services(options) {
  const set = `${process.env.HOME}/services.pb`
  execFileSync('protoc', ['--include_imports', `--descriptor_set_out=${set}`, `-I${PROTO}`, '-I/usr/include', ...FILES])
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(set)))
  const headers = {
    'E2b-Sandbox-Id': box.sandboxId, 'E2b-Sandbox-Port': '49983', 'X-Access-Token': token,
    Authorization: `Basic ${btoa('user:')}`,
  }
  const transport = createGrpcWebTransport({
    baseUrl: process.env.E2B_SANDBOX_URL,
    interceptors: [(next) => (req) => {
      for (const name in headers) req.header.set(name, headers[name])
      return next(req)
    }],
    ...options,
  })
  return ['process.Process', 'filesystem.Filesystem'].map((s) => createClient(registry.getService(s), transport))
}

async function output(stream) {
  let text = ''
  let end
  for await (const { event } of stream) {
    if (event.event.case === 'data') text += new TextDecoder().decode(event.event.value.output.value)
    if (event.event.case === 'end') end = event.event.value
  }
  return [text, end.exitCode]
}

for (const useBinaryFormat of [true, false]) {
  test(`unary calls and streams, ${useBinaryFormat ? 'protobuf' : 'JSON'}`, async () => {
    const [processes, files] = services({ useBinaryFormat })
    await files.makeDir({ path: `/tmp/new-${useBinaryFormat}` })
    const { entry } = await files.stat({ path: `/tmp/new-${useBinaryFormat}` })
    assert.deepEqual([entry.name, entry.owner], [`new-${useBinaryFormat}`, 'user'])
    const run = processes.start({ process: { cmd: '/bin/bash', args: ['-c', 'seq 1000; exit 3'] } })
    const lines = Array.from({ length: 1000 }, (_, n) => `${n + 1}\n`).join('')
    assert.deepEqual(await output(run), [lines, 3])
    assert.equal((await processes.list({})).processes.length, 0)
  })
}

test('errors keep their code and text', async () => {
  const [processes, files] = services({ useBinaryFormat: true })
  await assert.rejects(files.stat({ path: '/no/such/ä' }),
    (e) => e instanceof ConnectError && e.code === Code.NotFound && e.rawMessage.includes('/no/such/ä'))
  const stream = processes.connect({ process: { selector: { case: 'pid', value: 999999 } } })
  await assert.rejects(output(stream), (e) => e.code === Code.NotFound)
})

test('a deadline ends the call and the command', async () => {
  const [processes] = services({ useBinaryFormat: true })
  const script = 'echo $$ > /tmp/pid; exec sleep 1000'
  const run = processes.start({ process: { cmd: '/bin/sh', args: ['-c', script] } }, { timeoutMs: 700 })
  await assert.rejects(output(run), (e) => e.code === Code.DeadlineExceeded)
  const gone = 'for i in $(seq 100); do kill -0 $(cat /tmp/pid) 2>/dev/null || exit 0; sleep 0.02; done; exit 1'
  assert.equal((await box.commands.run(gone)).exitCode, 0)
})

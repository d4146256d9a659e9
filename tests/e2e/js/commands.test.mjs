// SPDX-License-Identifier: Apache-2.0
// Commands and terminals.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import {
  AuthenticationError, CommandExitError, InvalidArgumentError, NotFoundError, Sandbox, TimeoutError,
} from 'e2b'
import { deferred, Numbers } from './support.mjs'

let box
before(async () => {
  box = await Sandbox.create({ timeoutMs: 300_000, envs: { LEVEL: 'sandbox', ONLY: 'sandbox' } })
})
after(async () => {
  const left = await box.commands.list()
  await box.kill()
  assert.deepEqual(left, [])
})

test('foreground with callbacks', async () => {
  let out = ''
  let err = ''
  const result = await box.commands.run('echo out; echo err >&2', {
    onStdout: (s) => { out += s },
    onStderr: (s) => { err += s },
  })
  assert.deepEqual([result.stdout, result.stderr, result.exitCode], ['out\n', 'err\n', 0])
  assert.deepEqual([out, err], ['out\n', 'err\n'])
})

test('background, list, kill', async () => {
  const handle = await box.commands.run('sleep 1000', { background: true })
  assert.ok((await box.commands.list()).some((p) => p.pid === handle.pid))
  assert.equal(await handle.kill(), true)
  await assert.rejects(handle.wait(), (e) => e instanceof CommandExitError && e.exitCode === -1 &&
    e.error === 'signal: killed')
  assert.equal(await box.commands.kill(handle.pid), false)
})

test('exit codes', async () => {
  for (const code of [1, 2, 42, 126, 127, 255]) {
    await assert.rejects(box.commands.run(`exit ${code}`), (e) => e.exitCode === code)
  }
})

test('stdin and its end', async () => {
  const handle = await box.commands.run('cat', { background: true, stdin: true })
  await box.commands.sendStdin(handle.pid, 'text ä\n')
  await handle.sendStdin(new TextEncoder().encode('bytes\n'))
  await box.commands.closeStdin(handle.pid)
  assert.equal((await handle.wait()).stdout, 'text ä\nbytes\n')
})

test('reconnect by pid, several subscribers', async () => {
  const handle = await box.commands.run('read x; seq 100000 150000; exit 4', { background: true, stdin: true })
  const checks = [1, 2, 3].map(() => new Numbers(100000, 150000))
  const others = []
  for (const c of checks) others.push(await box.commands.connect(handle.pid, { onStdout: (s) => c.feed(s) }))
  await handle.disconnect()
  await box.commands.sendStdin(handle.pid, 'go\n')
  for (const o of others) await assert.rejects(o.wait(), (e) => e.exitCode === 4)
  checks.forEach((c) => c.done())
  await assert.rejects(box.commands.connect(999999), NotFoundError)
})

test('characters split between messages', async () => {
  const result = await box.commands.run(`python3 -c "print('a' + '\\U0001f600' * 50000, end='')"`)
  assert.equal(result.stdout, 'a' + '😀'.repeat(50000))
})

test('a command that outlives its timeout is killed', async () => {
  await assert.rejects(box.commands.run('echo $$ > /tmp/pid; exec sleep 1000', { timeoutMs: 1000 }), TimeoutError)
  const gone = 'for i in $(seq 50); do kill -0 $(cat /tmp/pid) 2>/dev/null || exit 0; sleep 0.02; done; exit 1'
  assert.equal((await box.commands.run(gone)).exitCode, 0)
})

test('user, cwd, envs', async () => {
  assert.equal((await box.commands.run('id -un', { user: 'root' })).stdout, 'root\n')
  assert.equal((await box.commands.run('id -un; pwd')).stdout, 'user\n/home/user\n')
  assert.equal((await box.commands.run('pwd', { cwd: '/tmp' })).stdout, '/tmp\n')
  const envs = { LEVEL: 'command' }
  assert.equal((await box.commands.run('echo $LEVEL $ONLY', { envs })).stdout, 'command sandbox\n')
  await assert.rejects(box.commands.run('true', { user: 'nobody-here' }), AuthenticationError)
  await assert.rejects(box.commands.run('true', { cwd: '/no/such' }), InvalidArgumentError)
})

test('a terminal: size, resize, input, kill', async () => {
  let output = ''
  let awaited = { text: '', seen: deferred() }
  const say = async (text, answer) => {
    awaited = { text: answer, seen: deferred() }
    await box.pty.sendInput(terminal.pid, new TextEncoder().encode(text))
    if (!output.includes(answer)) await awaited.seen.promise
  }
  const terminal = await box.pty.create({
    cols: 80,
    rows: 24,
    onData: (data) => {
      output += new TextDecoder().decode(data)
      if (output.includes(awaited.text)) awaited.seen.resolve()
    },
  })
  await say('stty size\n', '24 80')
  await box.pty.resize(terminal.pid, { cols: 120, rows: 33 })
  await say('stty size\n', '33 120')
  assert.equal(await box.pty.kill(terminal.pid), true)
  await assert.rejects(terminal.wait(), (e) => e.error === 'signal: killed')
})

test('fifty at once', async () => {
  const results = await Promise.all(Array.from({ length: 50 }, (_, n) => box.commands.run(`echo ${n}`)))
  assert.deepEqual(results.map((r) => r.stdout), results.map((_, n) => `${n}\n`))
})

// SPDX-License-Identifier: Apache-2.0
// The JavaScript code-interpreter client: cells, streams, errors, contexts.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'

import { Sandbox } from '@e2b/code-interpreter'

let box

before(async () => {
  box = await Sandbox.create('base', { timeoutMs: 120_000 })
})

after(() => box.kill())

test('state is kept between cells', async () => {
  await box.runCode('x = 20')
  const execution = await box.runCode('x + 1')
  assert.equal(execution.text, '21')
  assert.equal(execution.results[0].isMainResult, true)
})

test('streams come in order, in any alphabet', async () => {
  const seen = []
  const execution = await box.runCode(
    'import sys\nprint("é😀")\nprint("no", file=sys.stderr)\n{"a": [1]}',
    {
      onStdout: (m) => seen.push(['out', m.line]),
      onStderr: (m) => seen.push(['err', m.line]),
      onResult: (r) => seen.push(['result', r.json]),
    }
  )
  assert.deepEqual(seen, [['out', 'é😀\n'], ['err', 'no\n'], ['result', { a: [1] }]])
  assert.deepEqual(execution.logs.stdout, ['é😀\n'])
})

test('errors have name, value and traceback', async () => {
  const { error } = await box.runCode('1 / 0')
  assert.equal(error.name, 'ZeroDivisionError')
  assert.equal(error.value, 'division by zero')
  assert.match(error.traceback, /1 \/ 0/)
})

test('contexts are made, listed, restarted and removed', async () => {
  const context = await box.createCodeContext({ cwd: '/tmp' })
  assert.equal((await box.runCode('import os; x = 1; os.getcwd()', { context })).text, '/tmp')
  assert.equal((await box.listCodeContexts()).at(-1).id, context.id)
  await box.restartCodeContext(context)
  assert.equal((await box.runCode('x', { context })).error.name, 'NameError')
  await box.removeCodeContext(context)
  await assert.rejects(box.runCode('1', { context }), /not found/)
})

test('a timeout interrupts the cell', async () => {
  await assert.rejects(box.runCode('while True: pass', { timeoutMs: 1000 }), /timed out|timeout/i)
  assert.equal((await box.runCode('x + 2')).text, '22')
})

test('variables of a call', async () => {
  const code = 'import os; os.environ.get("CALL")'
  assert.equal((await box.runCode(code, { envs: { CALL: 'yes' } })).text, 'yes')
  assert.equal((await box.runCode(code)).text, undefined)
})

test('cells of a shell', async () => {
  await box.runCode('kept=20; f() { echo "$1$((kept + 1))"; }', { language: 'bash' })
  const execution = await box.runCode('f é; exit 3', { language: 'bash' })
  assert.deepEqual(execution.logs.stdout, ['é21\n'])
  assert.equal(execution.error.value, '3')
  assert.deepEqual((await box.runCode('f x', { language: 'bash' })).logs.stdout, ['x21\n'])
})

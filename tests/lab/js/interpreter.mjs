// SPDX-License-Identifier: Apache-2.0
// One run of the old JavaScript code interpreter (1.0), as client.mjs is one of an SDK. It creates
// what it asks for by itself, the template code-interpreter-v1, and knows each sandbox by name.
import assert from 'node:assert/strict'
import { NotFoundError, Sandbox, SandboxError, TimeoutError } from '@e2b/code-interpreter'
import { runFeatures } from './features.mjs'

const figure = `
    import matplotlib.pyplot as plt
    plt.bar(['a', 'b'], [1, 2], label='series')
    plt.title('Bars')
    plt.xlabel('Time (s)')
    plt.show()
`

let sandbox

async function textOf(code, options) {
  const execution = await sandbox.runCode(code, options)
  assert.equal(execution.error, undefined)
  return execution.text
}

await runFeatures({
  async create() {
    sandbox = await Sandbox.create({ timeoutMs: 120_000, envs: { WORD: 'from create' } })
    assert.equal(await textOf("__import__('IPython').__name__"), 'IPython')
  },

  async run() {
    const first = await sandbox.runCode('kept = 20')
    const second = await sandbox.runCode('kept += 1; kept')
    assert.deepEqual([first.results, second.text], [[], '21'])
    assert.equal(second.executionCount, first.executionCount + 1)
    const words = "import os; os.environ['WORD'] + os.environ.get('OWN', '')"
    assert.equal(await textOf(words, { envs: { OWN: ' and é' } }), 'from create and é')
    assert.equal(await textOf(words), 'from create')
    assert.equal(await textOf("await (async () => 'js')()", { language: 'js' }), 'js')
  },

  async stream() {
    const seen = []
    const times = []
    const onOutput = (message) => {
      seen.push([message.line, message.error])
      times.push(Date.now())
    }
    const execution = await sandbox.runCode(
      "import sys, time; print('ä'); time.sleep(0.4); print('two', file=sys.stderr); 3",
      { onStdout: onOutput, onStderr: onOutput, onResult: (r) => seen.push([r.text, null]) })
    assert.deepEqual(seen, [['ä\n', false], ['two\n', true], ['3', null]])
    assert.ok(times[1] - times[0] > 300, 'the output came all at once')
    assert.deepEqual(execution.logs, { stdout: ['ä\n'], stderr: ['two\n'] })
  },

  async results() {
    const [shown] = (await sandbox.runCode(figure)).results
    assert.equal(Buffer.from(shown.png, 'base64').toString('latin1', 1, 4), 'PNG')
    const { type, title, x_unit: unit, elements } = shown.chart
    assert.deepEqual([type, title, unit], ['bar', 'Bars', 's'])
    assert.deepEqual(elements.map((e) => [e.label, e.value]), [['a', 1], ['b', 2]])
    const [frame] = (await sandbox.runCode("import pandas; pandas.DataFrame({'a': [1, 2]})")).results
    assert.match(frame.html, /<table/)
    assert.deepEqual([frame.data, frame.isMainResult], [{ a: [1, 2] }, true])
  },

  async contexts() {
    const context = await sandbox.createCodeContext({ cwd: '/tmp', language: 'python' })
    assert.deepEqual([context.cwd, context.language], ['/tmp', 'python'])
    assert.equal(await textOf('import os; os.getcwd()', { context }), '/tmp')
    assert.equal((await sandbox.runCode('kept', { context })).error.name, 'NameError')
    assert.equal(await textOf('kept'), '21')
  },

  async timeout() {
    await assert.rejects(sandbox.runCode('while True: pass', { timeoutMs: 500 }), TimeoutError)
    assert.equal(await textOf('kept', { timeoutMs: 20_000 }), '21')
  },

  async errors() {
    const failures = []
    const { error } = await sandbox.runCode('def f():\n    return 1 / 0\nf()', {
      onError: (e) => failures.push(e),
    })
    assert.deepEqual([error.name, error.value], ['ZeroDivisionError', 'division by zero'])
    assert.match(error.traceback, /return 1 \/ 0/)
    assert.deepEqual(failures, [error])
    await assert.rejects(sandbox.runCode('1', { language: 'cobol' }), SandboxError)
    await assert.rejects(sandbox.runCode('1', { context: { id: 'none' } }), NotFoundError)
  },

  async kill() {
    await sandbox.kill()
    assert.equal(await sandbox.isRunning(), false)
    await assert.rejects(sandbox.runCode('1'), TimeoutError)
  },
})

// SPDX-License-Identifier: Apache-2.0
// What the JavaScript tests share.
import { Sandbox } from 'e2b'

/** Run `body` with a sandbox that is gone afterwards, whatever happened. */
export async function withSandbox(body, options = {}) {
  const sandbox = await Sandbox.create({ timeoutMs: 120_000, ...options })
  try {
    return await body(sandbox)
  } finally {
    await sandbox.kill()
  }
}

/** A promise with its handles outside. */
export function deferred() {
  const d = {}
  d.promise = new Promise((resolve, reject) => Object.assign(d, { resolve, reject }))
  return d
}

/** Checks that chunks are the lines first..last, each once and in order. */
export class Numbers {
  constructor(first, last) {
    Object.assign(this, { next: first, last, rest: '', length: 0 })
  }

  feed(chunk) {
    this.length += chunk.length
    const lines = (this.rest + chunk).split('\n')
    this.rest = lines.pop()
    for (const line of lines) {
      if (line !== String(this.next)) throw new Error(`${line} instead of ${this.next}`)
      this.next++
    }
  }

  done() {
    if (this.rest !== '' || this.next !== this.last + 1)
      throw new Error(`ended at ${this.next} of ${this.last}`)
  }
}
